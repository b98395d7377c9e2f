#include "client/watching.h"

#include "base/mem.h"
#include "os/loop.h"

#include <stdio.h>
#include <stdlib.h>

enum { PAUSE_MIN_US = 250000, PAUSE_MAX_US = 5000000, TURN_MS = 1000 };

static void heard(struct watching *watching)
{
    watching->silent_since_us = 0;
    watching->pause_us = PAUSE_MIN_US;
}

/* {"id":"…","event":"…","data":{…}}; what is no event is a sign of life. */
static void line(void *data, struct bytes text)
{
    struct watching *watching = data;
    heard(watching);
    if (!text.count)
        return;
    struct json_object *tree JSON_OWNED = json_parse(text, NULL);
    struct bytes name = json_get_bytes(tree, "event"), id = json_get_bytes(tree, "id");
    if (!name.count || bytes_equal(name, BYTES("heartbeat")))
        return;
    if (bytes_equal(name, BYTES("gap"))) {
        watching->place[0] = 0;
        watching->gap(watching->data);
        return;
    }
    watching->event(watching->data, name, json_get(tree, "data"), text);
    if (id.count && id.count < sizeof watching->place)
        snprintf(watching->place, sizeof watching->place, "%.*s", BYTES_ARG(id));
    watching->over |= bytes_equal(name, BYTES("complete")) || bytes_equal(name, BYTES("cancelled"));
}

static void refused(struct watching *watching, int status, struct bytes refusal)
{
    struct client_answer answer = {.status = status};
    buf_init(&answer.body, CLIENT_LINE_BYTES);
    buf_put(&answer.body, refusal);
    client_refusal(&answer, &watching->lost);
    client_answer_done(&answer);
}

static void ended(void *data, int status, struct bytes refusal, const char *broken)
{
    struct watching *watching = data;
    int64_t now = loop_now_us(NULL);
    if (status == 204)
        watching->over = true;
    if (status == 200)
        heard(watching);
    else if (status >= 400 && status != 429 && status < 500)
        refused(watching, status, refusal);
    if (watching->over || problem_is(&watching->lost))
        return;
    if (!watching->silent_since_us)
        watching->silent_since_us = now;
    if (now - watching->silent_since_us > watching->patience_us)
        problem_set(&watching->lost, "%s does not answer any more%s%s", client_base(watching->client), broken ? ": " : "", broken ? broken : "");
    watching->again_at_us = now + watching->pause_us;
    watching->pause_us = watching->pause_us * 2 < PAUSE_MAX_US ? watching->pause_us * 2 : PAUSE_MAX_US;
}

static void ask(struct watching *watching)
{
    char path[160], last[96];
    const char *headers[] = {"Accept: application/x-ndjson", NULL, NULL};
    struct client_listening listening = {watching, line, ended};
    snprintf(path, sizeof path, "/v1/jobs/%.64s/events", watching->job);
    snprintf(last, sizeof last, "Last-Event-ID: %s", watching->place);
    if (watching->place[0])
        headers[1] = last;
    client_listen(watching->client, path, headers, &listening);
}

void watching_begin(struct watching *watching, struct client *client, const char *job, int64_t patience_s)
{
    watching->client = client;
    watching->job = mem_text(job);
    watching->pause_us = PAUSE_MIN_US;
    watching->patience_us = patience_s * 1000000;
    ask(watching);
}

int watching_tend(struct watching *watching)
{
    if (watching->over || problem_is(&watching->lost) || client_listens(watching->client))
        return TURN_MS;
    int64_t left_us = watching->again_at_us - loop_now_us(NULL);
    if (left_us <= 0) {
        ask(watching);
        return TURN_MS;
    }
    return (int)(left_us / 1000) + 1;
}

void watching_end(struct watching *watching)
{
    if (watching->client)
        client_stop_listening(watching->client);
    free(watching->job);
    watching->job = NULL;
}
