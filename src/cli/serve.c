/* `rivulet serve`: the engine behind HTTP. The first line on standard output says where it listens; SIGTERM or SIGINT drains: no new
 * work is taken, streams are told, what runs may finish for a while, everything accepted is on disk. A second one stops at once. */
#include "cli/host.h"

#include "base/json.h"
#include "base/mem.h"
#include "cli/manual.h"
#include "http/cors.h"
#include "http/http.h"
#include "os/manager.h"
#include "os/privilege.h"
#include "readers/mirror.h"
#include "readers/webhook.h"
#include "server/journal.h"
#include "server/service.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

struct serve {
    struct host host;
    struct manager manager;           /* whoever started us, if it is one */
    int listening;                    /* the socket that it handed over; 0 = none */
    struct settings settings;
    struct service *service;
    struct cursor_world world;        /* of the readers that go outwards */
    struct fetch *receivers;          /* their calls: never from fixtures */
    struct webhooks *webhooks;
    struct mirror *mirror;
    struct timer grace, calls_grace, tidy;
    uint64_t tidy_events;             /* those that there were at its last look */
    bool is_tidy;                     /* nothing has happened since what bursts took was given back */
    struct json_object *loaded;       /* what the workers said of themselves; before that, what the catalogue holds */
    bool learned;                     /* it was a worker that said it */
    char *engine_name;
    int draining;                     /* signals so far */
    bool engine_idle, service_idle;
};

/* What runs may finish for this long; the rest is found interrupted by the next start. Calls are given less: they may take minutes anyway. */
enum { GRACE_US = 10 * 1000 * 1000, CALLS_GRACE_US = 3 * 1000 * 1000 };

/* Where no event came for so long it rests, and gives back to the system what bursts took. */
enum { TIDY_EVERY_US = 5 * 1000 * 1000 };

/* ---- facts for /health and /stats ---- */

static struct json_object *first_stage(struct json_object *loaded)
{
    if (json_object_is_type(loaded, json_type_object)) {
        json_object_object_foreach(loaded, name, stage)
            return name[0] ? stage : NULL;
    }
    return NULL;
}

static void learn(struct serve *serve)
{
    bool ready = workers_ready(serve->host.crew) > 0;
    if (serve->learned || (serve->loaded && !ready))
        return;
    serve->learned = ready;
    if (ready && serve->settings.debug)
        fprintf(stderr, "rivulet serve: workers loaded %.*s\n", BYTES_ARG(workers_loaded(serve->host.crew)));
    json_drop(&serve->loaded);
    free(serve->engine_name);
    struct json_object *told = json_parse(ready ? workers_loaded(serve->host.crew) : bytes_of(serve->host.catalogue_facts), NULL);
    serve->loaded = told && ready ? json_object_get(first_stage(told)) : told;
    if (ready)
        json_object_put(told);
    struct bytes name = json_get_bytes(serve->loaded, "engine");
    serve->engine_name = name.count ? mem_copy(name.at, name.count) : NULL;
}

static void facts(void *data, struct service_facts *ret)
{
    struct serve *serve = data;
    learn(serve);
    *ret = (struct service_facts){.workers = (int)serve->settings.max_workers, .workers_ready = (int)workers_ready(serve->host.crew),
                                  .workers_busy = (int)engine_running(serve->host.engine), .notice = serve->host.notice};
    ret->programs_awaited = workers_awaited(serve->host.crew) + workers_awaited(serve->host.exec) + workers_awaited(serve->host.expressions);
    struct workers_walls walls = workers_walls(serve->host.crew);
    ret->walls_told = walls.told, ret->network_wall = walls.network, ret->files_wall = walls.files, ret->calls_wall = walls.calls;
    ret->ready = ret->workers_ready > 0;
    ret->total_cards = json_get_int(serve->loaded, "cards", 0);
    ret->base_names = json_get_int(serve->loaded, "base_names", 0);
    ret->matcher_loaded = ret->total_cards > 0;
    ret->engine = serve->engine_name;
}

/* ---- the end ---- */

static void stop_if_idle(struct serve *serve)
{
    if (serve->engine_idle && serve->service_idle)
        loop_stop(serve->host.loop);
}

static void engine_idle(void *data)
{
    struct serve *serve = data;
    serve->engine_idle = true;
    stop_if_idle(serve);
}

static void service_idle(void *data)
{
    struct serve *serve = data;
    serve->service_idle = true;
    stop_if_idle(serve);
}

static void grace_over(struct timer *timer)
{
    loop_stop(TIMER_OF(timer, struct serve, grace)->host.loop);
}

static void calls_grace_over(struct timer *timer)
{
    engine_leave_calls(TIMER_OF(timer, struct serve, calls_grace)->host.engine);
}

static void told_to_end(void *data, int number)
{
    struct serve *serve = data;
    if (serve->draining++) {
        loop_stop(serve->host.loop);
        return;
    }
    manager_stopping(&serve->manager);
    timer_start(serve->host.loop, &serve->grace, GRACE_US, grace_over);
    timer_start(serve->host.loop, &serve->calls_grace, CALLS_GRACE_US, calls_grace_over);
    engine_drain(serve->host.engine, engine_idle, serve);
    service_drain(serve->service, service_idle, serve);
}

static void told_to_reload(void *data, int number)
{
    struct serve *serve = data;
    struct problem problem = {0};
    struct buf said BUF_OWNED;
    buf_init(&said, 2048);
    if (!serve->settings.keys_file)
        buf_text(&said, "there is no file of keys to read again");
    else if (service_reload(serve->service, &problem))
        buf_print(&said, "the keys stay as they were: %s", problem.text);
    else
        buf_text(&said, "the keys were read again");
    service_say(serve->service, problem_is(&problem), buf_z(&said));
}

/* ---- readers that go outwards ---- */

static void reader_said(void *data, const char *sentence)
{
    struct serve *serve = data;
    if (serve->service)
        service_say(serve->service, true, sentence);
    else
        journal_say(journal_mode_of(serve->settings.log), JOURNAL_WARN, sentence);
}

static int open_readers(struct serve *serve, struct problem *problem)
{
    struct fetch_options fetch = {.allow = serve->settings.net_allow};
    serve->world = (struct cursor_world){serve->host.loop, serve->host.store, serve->host.blobs};
    if (fetch_open(serve->host.loop, &fetch, &serve->receivers, problem))
        return -1;
    struct webhook_options options = {.fetch = serve->receivers, .secret = serve->settings.webhook_secret, .tell = reader_said, .data = serve};
    for (size_t i = 0; i < serve->host.shelf.count; i++)
        if (mirror_check(serve->host.shelf.entries[i].pipeline, problem))
            return -1;
    serve->mirror = mirror_open(&(struct mirror_options){.world = &serve->world, .fetch = serve->receivers, .tell = reader_said, .data = serve});
    return webhooks_open(&serve->world, &options, &serve->webhooks, problem);
}

static void close_readers(struct serve *serve)
{
    webhooks_close(serve->webhooks);
    mirror_close(serve->mirror);
    fetch_close(serve->receivers);
}

/* ---- the beginning ---- */

static int open_service(struct serve *serve, struct problem *problem)
{
    const struct settings *settings = &serve->settings;
    struct service_settings options = {
        .host = settings->host, .port = (int)settings->port, .listening = serve->listening, .version = RIVULET_VERSION, .shelf = &serve->host.shelf, .scratch = serve->host.dir,
        .trips = serve->host.trips, .asker = serve->host.asker, .webhooks = serve->webhooks, .mirror = serve->mirror,
        .max_body_bytes = settings->max_body_mb << 20, .max_file_bytes = settings->max_file_mb << 20, .max_batch = (int)settings->max_batch,
        .enable_parallel = settings->enable_parallel, .max_workers = (int)settings->max_workers, .use_gpu = settings->use_gpu,
        .accept_text = settings->accept_text, .keys_file = settings->keys_file, .keys = settings->keys, .origins = settings->origins,
        .log = settings->log, .facts = facts, .facts_data = serve};
    if (settings->accept_text)
        options.params = BYTES("{\"text\":true}");
    if (settings->heartbeat_s < 15)
        options.heartbeat_us = settings->heartbeat_s * 1000000;
    return service_open(serve->host.loop, serve->host.store, serve->host.engine, serve->host.blobs, &options, &serve->service, problem);
}

static void say_ready(struct serve *serve)
{
    const char *host = serve->settings.host;
    bool six = strchr(host, ':') != NULL;
    printf("rivulet ready on http://%s%s%s:%d\n", six ? "[" : "", host, six ? "]" : "", service_port(serve->service));
    fflush(stdout);
    if (privilege_is_root())
        service_say(serve->service, true, "this server runs as root, which it has no need of: --user NAME gives that up");
    if (serve->host.notice)
        service_say(serve->service, true, serve->host.notice);
    if (serve->host.missing)
        service_say(serve->service, true, serve->host.missing);
    if (serve->settings.debug) {
        struct store_numbers numbers = store_numbers(serve->host.store);
        fprintf(stderr, "rivulet serve: opened \"%s\" as epoch %lld with %zu open jobs, %llu events so far\n", serve->host.dir,
                (long long)store_epoch(serve->host.store), numbers.jobs_open, (unsigned long long)store_pos(serve->host.store));
    }
}

/* A wall that this system does not permit is told once. Sockets of their own are refused twice, so one of both is enough. */
static void first_worker_ready(void *data)
{
    struct serve *serve = data;
    struct workers_walls walls = workers_walls(serve->host.crew);
    if (!walls.told || !serve->service || (walls.files && walls.calls))
        return;
    struct buf said BUF_OWNED;
    buf_init(&said, 1024);
    buf_text(&said, "workers are not locked as they could be:");
    if (!walls.files)
        buf_text(&said, " this kernel has no landlock, so files are refused by the list of calls only;");
    if (!walls.calls)
        buf_text(&said, " this kernel takes no list of calls (seccomp), so a worker that is taken over may call it all;");
    buf_text(&said, " see docs/decisions/016-sandbox.md");
    service_say(serve->service, true, buf_z(&said));
}

/* As root: the socket first, because its port may be below 1024; then the data directory is the user's, and so are we. */
static int give_up_root(struct serve *serve, const char *dir, struct problem *problem)
{
    const struct settings *settings = &serve->settings;
    struct http_settings where = {.host = settings->host, .port = (int)settings->port};
    if (!settings->user)
        return 0;
    if (!privilege_is_root())
        return privilege_become(settings->user, problem);
    if (!serve->listening && http_listen(&where, &serve->listening, problem))
        return -1;
    return privilege_give(dir, settings->user, problem) || privilege_become(settings->user, problem) ? -1 : 0;
}

/* What `systemctl status` shows. */
static void status_line(void *data, char ret[MANAGER_STATUS_SIZE])
{
    struct serve *serve = data;
    size_t open = store_numbers(serve->host.store).jobs_open;
    if (serve->draining)
        snprintf(ret, MANAGER_STATUS_SIZE, "Draining: %d running, %zu jobs open", (int)engine_running(serve->host.engine), open);
    else
        snprintf(ret, MANAGER_STATUS_SIZE, "Listening on %s port %d; %d of %d workers ready, %d busy, %zu jobs open", serve->settings.host,
                 service_port(serve->service), (int)workers_ready(serve->host.crew), (int)serve->settings.max_workers,
                 (int)engine_running(serve->host.engine), open);
}

/* Where there is a service manager the socket that it hands over goes before --listen: its address is checked as if we had been told it. */
static int take_socket(struct serve *serve, struct problem *problem)
{
    char host[INET6_ADDRSTRLEN];
    int port, answer = manager_listener(&serve->manager, &serve->listening, host, &port, problem);
    if (answer)
        return answer < 0 ? -1 : 0;
    free(serve->settings.host);
    serve->settings.host = mem_text(host);
    serve->settings.port = port;
    return 0;
}

/* Ten thousand readers are ten thousand descriptors: take as many as we may have. */
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur == limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* A library that gives up, an assertion, or a service manager whose patience with a hanging loop has ended: whoever looks after the server reads one
 * sentence at least. Then it ends, and whoever collects cores gets one; abort() would go on by itself, a signal from outside would not. */
static void say_abort(int number)
{
    static const char said[] = "rivulet: ended by itself (SIGABRT), because a part of it could not go on; start it again, and it goes on with what the log holds.\n";
    ssize_t told = write(STDERR_FILENO, said, sizeof said - 1);
    (void)told;
    signal(number, SIG_DFL);
    raise(number);
}

static int give_back(void *data)
{
    mem_give_back();
    return 0;
}

static void given_back(void *data, int result)
{
}

/* Once in each rest: at work the next burst would have it again at once. In the pool, because the loop waits for nobody. */
static void tidy(struct timer *timer)
{
    struct serve *serve = TIMER_OF(timer, struct serve, tidy);
    uint64_t events = store_numbers(serve->host.store).accepted;
    bool rests = events == serve->tidy_events;
    if (rests && !serve->is_tidy)
        loop_pool(serve->host.loop, give_back, given_back, NULL);
    serve->tidy_events = events;
    serve->is_tidy = rests;
    timer_start(serve->host.loop, timer, TIDY_EVERY_US, tidy);
}

/* What has to hold between settings before anything is opened. */
static int check_settings(const struct settings *settings, struct problem *problem)
{
    struct buf note BUF_OWNED;
    buf_init(&note, 1024);
    if (settings_check_reach(settings, &note, problem) || (settings->origins && cors_check(settings->origins, problem)))
        return -1;
    if (note.count)
        journal_say(journal_mode_of(settings->log), JOURNAL_WARN, buf_z(&note));
    return 0;
}

static int serve_until_told(struct serve *serve, struct problem *problem)
{
    const char *dir = serve->settings.data ? serve->settings.data : "rivulet-data";
    struct host_options options = {.settings = &serve->settings, .dir = dir, .ready = first_worker_ready, .ready_data = serve};
    int status = EXIT_USAGE;
    raise_descriptors();
    signal(SIGABRT, say_abort);
    if (give_up_root(serve, dir, problem))
        return status;
    privilege_shut();
    if (!host_open(&serve->host, &options, problem) && !open_readers(serve, problem) && !open_service(serve, problem)) {
        loop_on_signal(serve->host.loop, SIGTERM, told_to_end, serve);
        loop_on_signal(serve->host.loop, SIGINT, told_to_end, serve);
        if (serve->settings.keys_file || serve->manager.fd >= 0)
            loop_on_signal(serve->host.loop, SIGHUP, told_to_reload, serve);
        say_ready(serve);
        manager_ready(&serve->manager, serve->host.loop, status_line, serve);
        timer_start(serve->host.loop, &serve->tidy, TIDY_EVERY_US, tidy);
        loop_run(serve->host.loop);
        timer_stop(serve->host.loop, &serve->tidy);
        timer_stop(serve->host.loop, &serve->grace);
        timer_stop(serve->host.loop, &serve->calls_grace);
        const struct problem *broken = serve->draining ? NULL : workers_problem(serve->host.crew);
        status = broken ? problem_set(problem, "%s", broken->text), EXIT_USAGE : EXIT_WELL;
        manager_close(&serve->manager);
        service_close(serve->service);
        serve->service = NULL;
    }
    close_readers(serve);
    host_close(&serve->host);
    json_drop(&serve->loaded);
    free(serve->engine_name);
    return status;
}

int command_serve(const struct command *command, int argc, char **argv)
{
    struct serve serve = {0};
    struct arguments arguments;
    struct problem problem = {0};
    struct buf note BUF_OWNED;
    buf_init(&note, 1024);
    int status = EXIT_USAGE;
    manager_open(&serve.manager);
    if (!settings_init(&serve.settings, &problem) && !command_parse(command, argc, argv, &serve.settings, &arguments, &problem)) {
        settings_finish(&serve.settings, &note);
        if (note.count)
            journal_say(journal_mode_of(serve.settings.log), JOURNAL_WARN, buf_z(&note));
        if (arguments.help) {
            status = manual_print(command);
        } else if (arguments.count) {
            problem_set(&problem, "\"%s\" is not understood: serve takes flags only", arguments.words[0]);
        } else if (!take_socket(&serve, &problem) && !check_settings(&serve.settings, &problem)) {
            status = serve_until_told(&serve, &problem);
        }
    }
    if (problem_is(&problem))
        status = command_refuse(command, &problem);
    manager_close(&serve.manager);
    settings_done(&serve.settings);
    return status;
}
