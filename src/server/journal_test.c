#include "server/journal.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PIPE_BYTES = 4096, LINES = 20000 };

/* What the lines say when standard error is a pipe that nobody reads for a while. */
TEST_SLOW(a_journal_never_waits_and_says_how_much_it_dropped)
{
    int ends[2], kept = dup(STDERR_FILENO);
    struct loop *loop;
    struct problem problem = {0};
    CHECK(!pipe2(ends, O_CLOEXEC) && !fcntl(ends[0], F_SETFL, O_NONBLOCK) && fcntl(ends[1], F_SETPIPE_SZ, PIPE_BYTES) > 0 && !loop_open(&loop, &problem));
    dup2(ends[1], STDERR_FILENO);
    struct journal *journal = journal_new(loop, JOURNAL_JSON);
    for (int i = 0; i < LINES; i++) {
        json_put_text(journal_begin(journal, JOURNAL_INFO, "one more"), "what", "a text \"in quotes\"\nand a line");
        journal_end(journal);
        loop_turn(loop, false);
    }
    int64_t dropped = (int64_t)journal_dropped(journal);
    struct buf all BUF_OWNED;
    char piece[65536];
    buf_init(&all, 16 * LIMIT_JOURNAL_BYTES);
    for (bool told = false; !told;) {
        ssize_t count = read(ends[0], piece, sizeof piece);
        if (count > 0)
            buf_add(&all, piece, (size_t)count);
        loop_turn(loop, count <= 0);
        told = all.count && strstr(buf_z(&all), "lines were dropped") && all.at[all.count - 1] == '\n';
    }
    journal_free(journal);
    loop_close(loop);
    dup2(kept, STDERR_FILENO);
    close(kept);
    close(ends[0]);
    close(ends[1]);
    CHECK(dropped > 0 && dropped < LINES);
    int64_t whole = 0, told = 0;
    struct bytes left = buf_bytes(&all);
    while (left.count) {
        struct json_object *line = json_parse(bytes_cut(&left, '\n'), &problem);
        CHECK(line);
        whole += bytes_equal(json_get_bytes(line, "msg"), BYTES("one more"));
        told += json_get_int(line, "count", 0);
        json_object_put(line);
    }
    CHECK_INT(told, dropped);
    CHECK_INT(whole + dropped, LINES);
}
