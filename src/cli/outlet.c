#include "cli/outlet.h"

#include "base/json.h"

#include <stdio.h>

enum { LOOK_US = 50 * 1000 };

static void said(void *data, const char *sentence)
{
    fprintf(stderr, "rivulet run: %s\n", sentence);
}

int outlet_open(struct outlet *outlet, struct host *host, const struct settings *settings, struct problem *problem)
{
    struct fetch_options calls = {.allow = settings->net_allow, .spool_dir = host->dir};
    *outlet = (struct outlet){.host = host, .world = {host->loop, host->store, host->blobs}};
    if (!json_get(json_get(host->pipeline->tree, "mirror"), "firestore"))
        return 0;
    if (settings->fixtures && !settings->record) {
        fprintf(stderr, "rivulet run: Firestore is left out, because answers come from %s\n", settings->fixtures);
        return 0;
    }
    if (mirror_check(host->pipeline, problem) || fetch_open(host->loop, &calls, &outlet->fetch, problem))
        return -1;
    outlet->mirror = mirror_open(&(struct mirror_options){.world = &outlet->world, .fetch = outlet->fetch, .tell = said});
    return 0;
}

static size_t behind(const struct outlet *outlet)
{
    struct mirror_numbers numbers = mirror_numbers(outlet->mirror);
    return numbers.idle + numbers.line + numbers.work + numbers.later;
}

static void look(struct timer *timer)
{
    struct outlet *outlet = TIMER_OF(timer, struct outlet, tick);
    int64_t now = loop_now_us(outlet->host->loop);
    uint64_t writes = mirror_numbers(outlet->mirror).writes;
    if (writes != outlet->writes)
        outlet->since_us = now;
    outlet->writes = writes;
    outlet->late = behind(outlet) && now - outlet->since_us > OUTLET_PATIENCE_US;
    if (!behind(outlet) || outlet->late || outlet->host->given_up)
        loop_stop(outlet->host->loop);
    else
        timer_start(outlet->host->loop, &outlet->tick, LOOK_US, look);
}

bool outlet_finish(struct outlet *outlet)
{
    if (!outlet->mirror)
        return true;
    outlet->since_us = loop_now_us(outlet->host->loop);
    timer_start(outlet->host->loop, &outlet->tick, 0, look);
    while (behind(outlet) && !outlet->late && !outlet->host->given_up)
        loop_run(outlet->host->loop);
    timer_stop(outlet->host->loop, &outlet->tick);
    if (behind(outlet))
        fprintf(stderr, "rivulet run: not all of it is in Firestore%s\n", outlet->host->temporary ? "" : "; the same command goes on from here");
    return !behind(outlet);
}

void outlet_close(struct outlet *outlet)
{
    mirror_close(outlet->mirror);
    fetch_close(outlet->fetch);
    *outlet = (struct outlet){0};
}
