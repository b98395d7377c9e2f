#include "server/journal.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    LINE_BYTES_MAX = 16 * 1024,
    AGAIN_US = 20000,          /* until the next try when standard error is full */
    PIECE_BYTES = 4096,        /* what a pipe that polls as writable takes without blocking */
    LAST_TRIES = 5, LAST_WAIT_MS = 40,
};

enum door { DOOR_OWN, DOOR_SHARED, DOOR_SOCKET };

struct journal {
    struct loop *loop;
    enum journal_mode mode;
    int fd;
    enum door door;            /* OWN: ours alone, so it can be made not to block; SHARED: standard error itself, asked before each piece */
    struct buf line, waiting;
    uint64_t dropped, told;    /* lines; as of the last line about it */
    struct timer timer;
};

enum journal_mode journal_mode_of(const char *name)
{
    return !strcmp(name, "json") ? JOURNAL_JSON : !strcmp(name, "off") ? JOURNAL_OFF : JOURNAL_TEXT;
}

static void begin_line(struct buf *line, int64_t wall_us, enum journal_level level, const char *msg)
{
    static const char *const names[] = {"info", "warn"};
    char time[TEXT_TIME_SIZE];
    text_time(wall_us, time);
    json_open(line, '{');
    json_put_text(line, "time", time);
    json_put_text(line, "level", names[level]);
    json_put_text(line, "msg", msg);
}

void journal_say(enum journal_mode mode, enum journal_level level, const char *sentence)
{
    struct buf line BUF_OWNED;
    buf_init(&line, LINE_BYTES_MAX);
    if (mode == JOURNAL_OFF)
        return;
    if (mode == JOURNAL_TEXT) {
        buf_print(&line, "rivulet serve: %s", sentence);
    } else {
        begin_line(&line, loop_wall_us(NULL), level, sentence);
        json_close(&line, '}');
    }
    fprintf(stderr, "%s\n", buf_z(&line));
}

/* ---- writing ---- */

/* Pipes and terminals are opened anew, so that only our own writes do not block: the description of standard error belongs to
 * whoever else has it, too. */
static void find_door(struct journal *journal)
{
    struct stat status;
    journal->fd = STDERR_FILENO;
    journal->door = DOOR_SHARED;
    if (fstat(STDERR_FILENO, &status))
        return;
    if (S_ISSOCK(status.st_mode)) {
        journal->door = DOOR_SOCKET;
        return;
    }
    int fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_APPEND | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return;
    journal->fd = fd;
    journal->door = DOOR_OWN;
}

static ssize_t write_some(struct journal *journal, struct bytes bytes)
{
    struct pollfd one = {.fd = journal->fd, .events = POLLOUT};
    switch (journal->door) {
    case DOOR_OWN: return write(journal->fd, bytes.at, bytes.count);
    case DOOR_SOCKET: return send(journal->fd, bytes.at, bytes.count, MSG_DONTWAIT | MSG_NOSIGNAL);
    case DOOR_SHARED: break;
    }
    if (poll(&one, 1, 0) != 1) {
        errno = EAGAIN;
        return -1;
    }
    return write(journal->fd, bytes.at, bytes.count < PIECE_BYTES ? bytes.count : PIECE_BYTES);
}

static uint64_t lines_in(struct bytes bytes)
{
    uint64_t count = 0;
    for (size_t i = 0; i < bytes.count; i++)
        count += bytes.at[i] == '\n';
    return count;
}

/* False when standard error takes no more for now. */
static bool write_out(struct journal *journal)
{
    while (journal->waiting.count) {
        ssize_t count = write_some(journal, buf_bytes(&journal->waiting));
        if (count >= 0) {
            buf_eat(&journal->waiting, (size_t)count);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) {
            return false;
        } else {
            journal->dropped += lines_in(buf_bytes(&journal->waiting));
            buf_clear(&journal->waiting);
        }
    }
    return true;
}

static void tell_dropped(struct journal *journal)
{
    uint64_t count = journal->dropped - journal->told;
    if (!count)
        return;
    journal->told = journal->dropped;
    json_put_int(journal_begin(journal, JOURNAL_WARN, "lines were dropped"), "count", (int64_t)count);
    journal_end(journal);
}

static void write_on(struct timer *timer)
{
    struct journal *journal = TIMER_OF(timer, struct journal, timer);
    bool empty = write_out(journal);
    if (empty)
        tell_dropped(journal);
    if (!empty)
        timer_start(journal->loop, &journal->timer, AGAIN_US, write_on);
}

/* ---- lines ---- */

struct buf *journal_begin(struct journal *journal, enum journal_level level, const char *msg)
{
    buf_clear(&journal->line);
    begin_line(&journal->line, loop_wall_us(journal->loop), level, msg);
    return &journal->line;
}

void journal_end(struct journal *journal)
{
    struct buf *line = &journal->line, *waiting = &journal->waiting;
    json_close(line, '}');
    buf_byte(line, '\n');
    if (!buf_ok(line) || waiting->count + line->count > LIMIT_JOURNAL_BYTES) {
        journal->dropped++;
        return;
    }
    buf_put(waiting, buf_bytes(line));
    if (!timer_runs(&journal->timer))
        timer_start(journal->loop, &journal->timer, 0, write_on);
}

void journal_tell(struct journal *journal, enum journal_level level, const char *sentence)
{
    if (journal->mode != JOURNAL_JSON) {
        journal_say(journal->mode, level, sentence);
        return;
    }
    journal_begin(journal, level, sentence);
    journal_end(journal);
}

/* ---- life ---- */

bool journal_is_json(const struct journal *journal)
{
    return journal->mode == JOURNAL_JSON;
}

uint64_t journal_dropped(const struct journal *journal)
{
    return journal->dropped;
}

struct journal *journal_new(struct loop *loop, enum journal_mode mode)
{
    struct journal *journal = MEM_NEW(struct journal);
    journal->loop = loop;
    journal->mode = mode;
    buf_init(&journal->line, LINE_BYTES_MAX);
    buf_init(&journal->waiting, LIMIT_JOURNAL_BYTES);
    if (mode == JOURNAL_JSON)
        find_door(journal);
    return journal;
}

void journal_free(struct journal *journal)
{
    if (!journal)
        return;
    timer_stop(journal->loop, &journal->timer);
    struct pollfd one = {.fd = journal->fd, .events = POLLOUT};
    for (int i = 0; i < LAST_TRIES && !write_out(journal); i++)
        poll(&one, 1, LAST_WAIT_MS);
    if (journal->mode == JOURNAL_JSON && journal->door == DOOR_OWN)
        close(journal->fd);
    buf_done(&journal->line);
    buf_done(&journal->waiting);
    free(journal);
}
