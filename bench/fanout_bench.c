/* Fan-out, in one process: the real service (streams, tips, HTTP) over the real store and engine, with a crew that holds every task until it
 * is told to let one go. Readers are a process of their own (fanout_crowd.c).
 *
 * Usage: fanout_bench ratio N [ROUNDS]     one event at a time and 20 pending, against a bare epoll and writev loop in the same run
 *        fanout_bench idle N               memory of an idle subscriber
 *        fanout_bench stalled DIR          20 readers that read nothing, 5,000 events a second for 6 s, on the log on disk
 *        fanout_bench mixed N              every tenth reader slow, every hundredth dead: when the others have an event
 *        fanout_bench latency DIR          100 jobs with a stream each, on the log on disk: from the outcome to the byte at the client
 *        fanout_bench crowd PORT PATH N    only the readers, of any server; a number of frames on standard input waits
 *                                          until so many have come, a ? does not; both answer how many there are
 * Each prints one line of JSON. */
#include "base/mem.h"
#include "engine/engine_loop.h"
#include "fanout_crowd.h"
#include "server/stream/stream.h"
#include "store/memory.h"
#include "store/sqlite.h"

#include <errno.h>
#include <malloc.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* 300 bytes in all with what the frame has around it. */
#define RESULT "{\"text\":\"012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901234\"}"

enum { PENDING = 20, STALLED = 20, RATE = 5000, SECONDS = 6, BUSY = 100, CHUNK = 4096 };

/* ---- the server under test ---- */

struct rig {
    struct crew crew;             /* first; holds all tasks */
    struct token *tasks;
    size_t first, count, room;
    struct loop *loop;
    struct store *store;
    struct log *log;
    struct memory_disk *disk;     /* NULL: the log is on the real one */
    struct engine_loop *engine;
    struct shelf shelf;
    struct service *service;
    int jobs;
};

static size_t slots_free(struct crew *crew)
{
    return ((struct rig *)crew)->room - ((struct rig *)crew)->count;
}

static void start(struct crew *crew, const struct task *task)
{
    struct rig *rig = (struct rig *)crew;
    rig->tasks[rig->count++] = task->token;
}

static void stop(struct crew *crew, struct token token, bool for_good)
{
}

static const struct crew_ops ops = {slots_free, start, stop};

static void name_job(void *data, char ret[33])
{
    snprintf(ret, 33, "%032d", ((struct rig *)data)->jobs++);
}

static void post(void *loop, void (*call)(void *data), void *data)
{
    loop_post(loop, call, data);
}

static void must(int failed, const struct problem *problem)
{
    if (failed) {
        fprintf(stderr, "%s\n", problem->text);
        exit(1);
    }
}

static void open_rig(struct rig *rig, size_t items, const char *dir)
{
    struct problem problem = {0};
    *rig = (struct rig){.crew.ops = &ops, .tasks = mem_new(items * sizeof(struct token)), .room = items};
    must(loop_open(&rig->loop, &problem), &problem);
    struct store_world world = engine_loop_store_world(rig->loop);
    world.id = name_job;
    world.id_data = rig;
    rig->store = store_new(&world);
    if (dir) {
        mkdir(dir, 0700);
        must(sqlite_open(dir, (struct log_door){rig->loop, post}, store_opening(rig->store), NULL, &rig->log, &problem), &problem);
    } else {
        rig->disk = memory_disk_new();
        rig->log = memory_open(rig->disk, 1000000000, store_opening(rig->store));
        memory_auto(rig->log, true);
    }
    must(store_start(rig->store, rig->log, &problem), &problem);
    rig->engine = engine_loop_new(rig->loop, rig->store, (struct crew *const[ROOM_COUNT]){&rig->crew}, NULL, 0);
    must(shelf_fill_one(&rig->shelf, BYTES("noop"), NULL, &problem), &problem);
    struct service_settings settings = {.shelf = &rig->shelf};
    must(service_open(rig->loop, rig->store, engine_loop_engine(rig->engine), NULL, &settings, &rig->service, &problem), &problem);
}

/* A job of which all items are at work. */
static void submit(struct rig *rig, size_t items)
{
    struct engine *engine = engine_loop_engine(rig->engine);
    struct store_job job = {.owner = BYTES("local"), .pipeline = rig->shelf.entries[0].pipeline, .in_flight = (uint32_t)items};
    struct item_spec *specs = mem_new(items * sizeof *specs);
    struct problem problem = {0};
    size_t want = rig->count + items;
    bool busy;
    for (size_t i = 0; i < items; i++)
        specs[i] = (struct item_spec){.name = BYTES("item"), .bytes = 2, .value = BYTES("{}")};
    must(!engine_submit(engine, &job, specs, items, &busy, &problem), &problem);
    while (rig->count < want)
        loop_turn(rig->loop, true);
    free(specs);
}

static void let_go(struct rig *rig, struct token token)
{
    struct outcome outcome = {.verdict = VERDICT_DONE, .value = BYTES(RESULT)};
    rig->crew.client.outcome(rig->crew.client.data, token, &outcome, false);
}

static void emit(struct rig *rig, int events)
{
    for (int i = 0; i < events; i++)
        let_go(rig, rig->tasks[rig->first++]);
}

static void turn(void *data)
{
    loop_turn(((struct rig *)data)->loop, false);
}

static void until_all_stand(struct rig *rig, int count)
{
    struct stream_numbers numbers;
    while (numbers = stream_numbers(rig->service), numbers.open < count || numbers.behind > 0)
        loop_turn(rig->loop, false);
}

static void told(void *data, int events)
{
    char byte;
    if (read(*(int *)data, &byte, 1) != 1)
        exit(1);
    *(int *)data = -1;
}

/* Serve until the crowd has spoken. */
static void wait_for(struct rig *rig, struct crowd *crowd)
{
    struct watch *watch;
    int line = crowd->line;
    watch_open(rig->loop, crowd->line, told, &line, &watch);
    watch_want(watch, LOOP_READ);
    while (line >= 0)
        loop_turn(rig->loop, true);
    watch_close(watch);
    loop_turn(rig->loop, false);
}

static double cpu_us(void)
{
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (double)used.tv_sec * 1e6 + (double)used.tv_nsec / 1e3;
}

static int64_t rss_bytes(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%*d %ld", &pages) != 1)
        exit(1);
    fclose(file);
    return pages * sysconf(_SC_PAGESIZE);
}

static int ascending(const void *a, const void *b)
{
    double one = *(const double *)a, other = *(const double *)b;
    return (one > other) - (one < other);
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, ascending);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

static int ascending_times(const void *a, const void *b)
{
    return (*(const uint32_t *)a > *(const uint32_t *)b) - (*(const uint32_t *)a < *(const uint32_t *)b);
}

static double time_ms(struct crowd_shared *shared, double share)
{
    uint32_t count = shared->times_count;
    return count ? shared->times_us[(uint32_t)((count - 1) * share)] / 1e3 : -1;
}

/* ---- the bare loop ---- */

struct bare {
    int listening, poll, count, *fds;
    struct crowd crowd;
    uint64_t frames;
    char content[CHUNK];
};

static void bare_accept(void *data)
{
    struct bare *bare = data;
    int fd = accept4(bare->listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP, .data.fd = fd};
    epoll_ctl(bare->poll, EPOLL_CTL_ADD, fd, &event);
    bare->fds[bare->count++] = fd;
}

static void bare_open(struct bare *bare, int count)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int on = 1, notsent = LIMIT_STREAM_NOTSENT_BYTES;
    bare->poll = epoll_create1(EPOLL_CLOEXEC);
    bare->fds = mem_new((size_t)count * sizeof(int));
    bare->listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(bare->listening, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(bare->listening, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &notsent, sizeof notsent);
    if (bind(bare->listening, (struct sockaddr *)&address, size) || listen(bare->listening, 1024) ||
        getsockname(bare->listening, (struct sockaddr *)&address, &size))
        exit(1);
    bare->crowd = crowd_start(&(struct crowd_order){.port = ntohs(address.sin_port), .count = count, .times = true}, bare_accept, bare);
    while (bare->count < count)
        bare_accept(bare);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = bare->crowd.line};
    epoll_ctl(bare->poll, EPOLL_CTL_ADD, bare->crowd.line, &event);
}

/* CPU µs of so many events of `bytes` to all, one at a time. */
static double bare_round(struct bare *bare, int events, int bytes)
{
    char head[16], byte;
    int size = snprintf(head, sizeof head, "%x\r\n", (unsigned)bytes);
    memset(bare->content, 'x', (size_t)bytes);
    memcpy(bare->content + bytes - 2, "\n\n", 2);
    struct iovec parts[3] = {{head, (size_t)size}, {bare->content, (size_t)bytes}, {(char *)"\r\n", 2}};
    double cpu = cpu_us();
    for (int i = 0; i < events; i++) {
        struct epoll_event event;
        crowd_expect(&bare->crowd, bare->frames += (uint64_t)bare->count);
        for (int n = 0; n < bare->count; n++)
            if (writev(bare->fds[n], parts, 3) != size + bytes + 2)
                exit(1);
        while (epoll_wait(bare->poll, &event, 1, -1) != 1 || event.data.fd != bare->crowd.line)
            ;
        if (read(bare->crowd.line, &byte, 1) != 1)
            exit(1);
    }
    return cpu_us() - cpu;
}

struct bare_order {
    int events, bytes, every_us;
};

struct bare_answer {
    double cpu_us, p50_ms, p99_ms;
};

static struct bare_answer bare_obey(struct bare *bare, const struct bare_order *order)
{
    struct bare_answer answer = {0};
    bare->crowd.shared->times_count = 0;
    if (!order->every_us) {
        answer.cpu_us = bare_round(bare, order->events, order->bytes);
        return answer;
    }
    for (int i = 0; i < order->events; i++) {
        bare->crowd.shared->sent_us[bare->frames / (uint64_t)bare->count % CROWD_STAMPS] = loop_now_us(NULL);
        bare_round(bare, 1, order->bytes);
        usleep((useconds_t)order->every_us);
    }
    qsort(bare->crowd.shared->times_us, bare->crowd.shared->times_count, sizeof(uint32_t), ascending_times);
    answer.p50_ms = time_ms(bare->crowd.shared, .5);
    answer.p99_ms = time_ms(bare->crowd.shared, .99);
    return answer;
}

/* In a process of its own, so that each server has its descriptors and its CPU to itself. */
static int bare_start(int count)
{
    int lines[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, lines))
        exit(1);
    if (fork()) {
        close(lines[1]);
        return lines[0];
    }
    close(lines[0]);
    struct bare bare = {0};
    struct bare_order order;
    bare_open(&bare, count);
    while (read(lines[1], &order, sizeof order) == sizeof order) {
        struct bare_answer answer = bare_obey(&bare, &order);
        if (write(lines[1], &answer, sizeof answer) != sizeof answer)
            break;
    }
    crowd_end(&bare.crowd);
    exit(0);
}

static struct bare_answer ask_bare(int line, struct bare_order order)
{
    struct bare_answer answer;
    if (write(line, &order, sizeof order) != sizeof order || read(line, &answer, sizeof answer) != sizeof answer)
        exit(1);
    return answer;
}

/* ---- measurements ---- */

static struct crowd join(struct rig *rig, struct crowd_order order)
{
    order.port = service_port(rig->service);
    struct crowd crowd = crowd_start(&order, turn, rig);
    until_all_stand(rig, order.count);
    return crowd;
}

#define EVENTS "/v1/jobs/00000000000000000000000000000000/events?after=end"

/* CPU µs of so many events to all: `pending` of them become durable at a time. */
static double our_round(struct rig *rig, struct crowd *crowd, uint64_t *frames, int readers, int events, int pending)
{
    double cpu = cpu_us();
    for (int i = 0; i < events; i += pending) {
        *frames += (uint64_t)pending * (uint64_t)readers;
        crowd_expect(crowd, *frames);
        memory_auto(rig->log, false);
        emit(rig, pending);
        memory_auto(rig->log, true);
        memory_sync(rig->log, (size_t)pending);
        wait_for(rig, crowd);
    }
    return cpu_us() - cpu;
}

static int ratio(int readers, int rounds)
{
    int events = readers >= 5000 ? 5 : 20, bare = bare_start(readers);
    struct rig rig;
    open_rig(&rig, (size_t)(events + PENDING) * (size_t)(rounds + 1) + 100, NULL);
    submit(&rig, rig.room);
    struct crowd crowd = join(&rig, (struct crowd_order){.path = EVENTS, .count = readers});
    uint64_t frames = 0;
    our_round(&rig, &crowd, &frames, readers, events, 1);    /* warm */
    int bytes = (int)(crowd.shared->bytes / frames) - 7;      /* less what frames a chunk */
    ask_bare(bare, (struct bare_order){events, bytes, 0});
    double ratios[64], ours[64], bares[64], many[64];
    for (int i = 0; i < rounds; i++) {
        ours[i] = our_round(&rig, &crowd, &frames, readers, events, 1) / events / readers;
        bares[i] = ask_bare(bare, (struct bare_order){events, bytes, 0}).cpu_us / events / readers;
        many[i] = our_round(&rig, &crowd, &frames, readers, PENDING, PENDING) / PENDING / readers;
        ratios[i] = bares[i] / ours[i];
    }
    crowd_end(&crowd);
    double one = median(ours, rounds), twenty = median(many, rounds);
    printf("{\"readers\":%d,\"bytes\":%d,\"us\":%.2f,\"bare_us\":%.2f,\"ratio\":%.3f,\"pending_us\":%.3f,\"pending_times\":%.2f}\n", readers, bytes, one,
           median(bares, rounds), median(ratios, rounds), twenty, one / twenty);
    return 0;
}

static size_t taken(void)
{
    struct mallinfo2 memory = mallinfo2();
    return memory.uordblks + memory.hblkhd;
}

static int idle(int readers)
{
    struct rig rig;
    open_rig(&rig, 100, NULL);
    submit(&rig, 100);
    struct crowd few = join(&rig, (struct crowd_order){.path = EVENTS, .count = 10});
    crowd_end(&few);
    until_all_stand(&rig, 0);
    while (stream_numbers(rig.service).open)
        loop_turn(rig.loop, true);
    size_t before = taken();
    int64_t rss = rss_bytes();
    struct crowd crowd = join(&rig, (struct crowd_order){.path = EVENTS, .count = readers});
    printf("{\"readers\":%d,\"bytes\":%.0f,\"rss_bytes\":%.0f}\n", readers, (double)(taken() - before) / readers,
           (double)(rss_bytes() - rss) / readers);
    crowd_end(&crowd);
    return 0;
}

/* So many events a second for a while, in steps of a few ms; answers the highest RSS. */
static int64_t pour(struct rig *rig, int seconds)
{
    int64_t began = loop_now_us(rig->loop), highest = 0;
    for (int sent = 0; sent < RATE * seconds;) {
        int64_t due = (loop_now_us(rig->loop) - began) * RATE / 1000000 - sent;
        if (sent + due > RATE * seconds)
            due = RATE * seconds - sent;
        emit(rig, (int)due);
        sent += (int)due;
        for (int i = 0; i < 10; i++)
            loop_turn(rig->loop, false);
        usleep(1000);
        highest = rss_bytes() > highest ? rss_bytes() : highest;
    }
    return highest;
}

static int stalled(const char *dir)
{
    struct rig rig;
    size_t each = (size_t)RATE * SECONDS;
    open_rig(&rig, 3 * each, dir);
    submit(&rig, 3 * each);
    struct crowd fast = join(&rig, (struct crowd_order){.path = EVENTS, .count = 1});
    int64_t before = pour(&rig, SECONDS);    /* the tail and the disk's caches have their size now */
    int64_t without = pour(&rig, SECONDS);
    struct crowd crowd = join(&rig, (struct crowd_order){.path = EVENTS, .count = STALLED, .dead_each = 1});
    int64_t highest = pour(&rig, SECONDS);
    struct stream_numbers numbers = stream_numbers(rig.service);
    printf("{\"stalled\":%d,\"grew_bytes\":%lld,\"grew_without_bytes\":%lld,\"behind\":%lld,\"lag_events\":%llu}\n", STALLED,
           (long long)(highest - without), (long long)(without - before), (long long)numbers.behind, (unsigned long long)numbers.lag_events);
    crowd_end(&crowd);
    crowd_end(&fast);
    return 0;
}

static int mixed(int readers)
{
    enum { WARM = 20, WARM_EVENTS = 20, TIMED = 40, EVERY_US = 100000 };
    int fast = readers - readers / 10 - readers / 100, bare = bare_start(fast);
    struct rig rig;
    open_rig(&rig, WARM * WARM_EVENTS + TIMED + 1, NULL);
    submit(&rig, rig.room);
    struct crowd crowd = join(&rig, (struct crowd_order){.path = EVENTS, .count = readers, .slow_each = 10, .dead_each = 100, .times = true});
    uint64_t frames = 0;
    for (int i = 0; i < WARM; i++)    /* until the slow and the dead have full sockets */
        our_round(&rig, &crowd, &frames, fast, WARM_EVENTS, WARM_EVENTS);
    for (int i = 0; i < TIMED; i++) {
        int64_t due = loop_now_us(rig.loop) + EVERY_US;
        while (loop_now_us(rig.loop) < due) {
            loop_turn(rig.loop, false);
            usleep(500);
        }
        crowd.shared->sent_us[(WARM * WARM_EVENTS + i) % CROWD_STAMPS] = loop_now_us(rig.loop);
        our_round(&rig, &crowd, &frames, fast, 1, 1);
    }
    struct stream_numbers numbers = stream_numbers(rig.service);
    qsort(crowd.shared->times_us, crowd.shared->times_count, sizeof(uint32_t), ascending_times);
    struct bare_answer alone = ask_bare(bare, (struct bare_order){TIMED, 300, EVERY_US});
    printf("{\"readers\":%d,\"fast\":%d,\"behind\":%lld,\"p50_ms\":%.1f,\"p99_ms\":%.1f,\"bare_p50_ms\":%.1f,\"bare_p99_ms\":%.1f}\n", readers, fast,
           (long long)numbers.behind, time_ms(crowd.shared, .5), time_ms(crowd.shared, .99), alone.p50_ms, alone.p99_ms);
    crowd_end(&crowd);
    return 0;
}

static int latency(const char *dir)
{
    enum { EACH = 40, EVERY_US = 1000 };    /* 1,000 outcomes a second over all */
    struct rig rig;
    open_rig(&rig, (size_t)BUSY * EACH, dir);
    for (int i = 0; i < BUSY; i++)
        submit(&rig, EACH);
    struct crowd crowd = join(&rig, (struct crowd_order){.path = "/v1/jobs/", .count = BUSY, .jobs = BUSY, .times = true});
    int64_t began = loop_now_us(rig.loop);
    for (int i = 0; i < BUSY * (EACH - 1); i++) {
        int n = i % BUSY, k = i / BUSY;
        while (loop_now_us(rig.loop) < began + (int64_t)i * EVERY_US)
            loop_turn(rig.loop, false);
        crowd.shared->sent_us[n] = loop_now_us(rig.loop);
        let_go(&rig, rig.tasks[n * EACH + k]);
    }
    int64_t ended = loop_now_us(rig.loop);
    while (loop_now_us(rig.loop) < ended + 200000)
        loop_turn(rig.loop, false);
    qsort(crowd.shared->times_us, crowd.shared->times_count, sizeof(uint32_t), ascending_times);
    printf("{\"streams\":%d,\"frames\":%u,\"p50_ms\":%.2f,\"p99_ms\":%.2f,\"worst_ms\":%.2f}\n", BUSY, crowd.shared->times_count,
           time_ms(crowd.shared, .5), time_ms(crowd.shared, .99), time_ms(crowd.shared, 1));
    crowd_end(&crowd);
    return 0;
}

static void nothing(void *data)
{
    usleep(1000);
}

static int crowd_alone(int port, const char *path, int readers)
{
    char word[32], byte;
    struct crowd crowd = crowd_start(&(struct crowd_order){.port = port, .path = path, .count = readers, .any = true}, nothing, NULL);
    printf("there\n");
    fflush(stdout);
    while (scanf("%31s", word) == 1) {
        if (word[0] != '?') {
            crowd_expect(&crowd, strtoull(word, NULL, 10));
            if (read(crowd.line, &byte, 1) != 1)
                return 1;
        }
        printf("%llu\n", (unsigned long long)crowd.shared->frames);
        fflush(stdout);
    }
    crowd_end(&crowd);
    return 0;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    int number = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 0;
    if (!strcmp(what, "ratio") && number > 0)
        return ratio(number, argc > 3 ? (int)strtol(argv[3], NULL, 10) : 11);
    if (!strcmp(what, "idle") && number > 0)
        return idle(number);
    if (!strcmp(what, "mixed") && number > 0)
        return mixed(number);
    if (!strcmp(what, "stalled") && argc > 2)
        return stalled(argv[2]);
    if (!strcmp(what, "latency") && argc > 2)
        return latency(argv[2]);
    if (!strcmp(what, "crowd") && argc > 4)
        return crowd_alone(number, argv[3], (int)strtol(argv[4], NULL, 10));
    fprintf(stderr, "usage: fanout_bench ratio|idle|mixed N, stalled|latency DIR, crowd PORT PATH N\n");
    return 2;
}
