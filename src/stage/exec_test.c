/* Programs, started from this process: the group that a worker leads is tested with the crew. */
#include "base/json.h"
#include "base/test.h"
#include "stage/stage.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static struct stage_outcome outcome;

static const char *run_task(struct stage_task task)
{
    static char error[4096];
    void *state = NULL;
    struct stage_outfit outfit = STAGE_OUTFIT_EMPTY;
    const struct stage_kind *kind = stage_kind_find(BYTES("exec"));
    CHECK(kind && !kind->open(&outfit, &state, NULL));
    stage_outcome_done(&outcome);
    stage_outcome_init(&outcome);
    signal(SIGPIPE, SIG_IGN);
    task.variables = BYTES("{\"item\":{\"name\":\"a b\"}}");
    kind->run(state, &task, &outcome);
    kind->close(state);
    if (outcome.verdict == STAGE_DONE)
        return buf_z(&outcome.value);
    snprintf(error, sizeof error, "%s%s", outcome.error.text, buf_z(&outcome.error_more));
    return error;
}

static const char *run(const char *settings, const char *value)
{
    return run_task((struct stage_task){.input_fd = -1, .value = bytes_of(value), .settings = bytes_of(settings)});
}

TEST(a_program_gets_the_value_and_gives_the_result)
{
    CHECK_TEXT(run("{\"argv\":[\"cat\"]}", "{\"a\":[1,2]}"), "{\"a\":[1,2]}");
    CHECK_TEXT(run("{\"argv\":[\"true\"]}", "1"), "{}");
    CHECK_TEXT(run("{\"argv\":[\"cat\"],\"stdin\":\"none\",\"stdout\":\"text\"}", "1"), "\"\"");
    CHECK_TEXT(run("{\"argv\":[\"printf\",\"a\\\\n\\\"b\\\"\\\\r\\\\n\\\\nc\"],\"stdout\":\"lines\"}", "1"), "[\"a\",\"\\\"b\\\"\",\"\",\"c\"]");
    CHECK_TEXT(run("{\"argv\":[\"printf\",\"[1,\\\\n2]\\\\n\"]}", "1"), "[1, 2]");
    CHECK_TEXT(run("{\"argv\":[\"printf\",\"[1]\\n\\n2\"],\"stdout\":\"jsonl\"}", "1"), "[[1],2]");
    CHECK_TEXT(run("{\"argv\":[\"printf\",\"[1]\\n2}\"],\"stdout\":\"jsonl\"}", "1"),
               "Line 2 of what the program wrote to its standard output is no JSON value at byte 1.");
    CHECK_TEXT(run("{\"argv\":[\"echo\",\"hi\"],\"stdout\":\"none\"}", "1"), "{}");
    CHECK_TEXT(run("{\"argv\":[\"echo\",\"hello\"],\"limits\":{\"output_bytes\":4}}", "1"), "The program echo wrote more than the 4 bytes that a result may have.");
    CHECK_TEXT(run("{\"argv\":[\"echo\",\"hi\"]}", "1"),
               "What the program wrote to its standard output is no JSON value at byte 0 (stdout may be text too).");
}

TEST_SLOW(no_shell_looks_at_arguments)
{
    CHECK_TEXT(run("{\"argv\":[\"echo\",\"$HOME; *\",7,{\"expr\":\"$item.name\"},{\"expr\":\".x\"}],\"stdout\":\"text\"}", "{\"x\":\"`ls`\"}"),
               "\"$HOME; * 7 a b `ls`\\n\"");
    CHECK_TEXT(run("{\"argv\":[\"echo\",{\"expr\":\".y\"}]}", "{}"), "What stands for an argument is null, not a text.");
    CHECK_TEXT(run("{\"argv\":[]}", "{}"), "The stage has 0 arguments; 1 to 256 are taken, the first is the program.");
}

TEST(a_file_is_standard_input_from_its_beginning)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    CHECK(fd >= 0 && write(fd, "\xffPNG", 4) == 4);
    CHECK_TEXT(run_task((struct stage_task){.input_fd = fd, .settings = BYTES("{\"argv\":[\"wc\",\"-c\"],\"stdin\":\"input\"}")}), "4");
    CHECK_TEXT(run_task((struct stage_task){.input_fd = fd, .settings = BYTES("{\"argv\":[\"echo\",{\"expr\":\". == null\"}]}")}), "true");
    close(fd);
}

TEST_SLOW(the_environment_is_what_the_stage_names)
{
    setenv("RIVULET_TEST_SECRET", "hush", 1);
    CHECK_TEXT(run("{\"argv\":[\"sh\",\"-c\",\"env | cut -d= -f1 | grep -v -e ^_ -e PWD -e SHLVL | sort\"],\"stdout\":\"lines\",\"env\":{\"A\":\"1\"}}", "1"),
               "[\"A\",\"HOME\",\"LANG\",\"PATH\"]");
    CHECK_TEXT(run("{\"argv\":[\"sh\",\"-c\",\"echo $A-$B >&2; echo $A; exit 3\"],\"env\":{\"A\":{\"$secret\":\"sesame-open\"},\"B\":\".b\"}}", "{\"b\":4}"),
               "The program sh ended with status 3: ****-4");
    CHECK_TEXT(run("{\"argv\":[\"true\"],\"env\":{\"A\":{\"$unset\":\"KEY\"}}}", "1"),
               "The variable KEY, which A needs, is not in the server's environment.");
}

static enum stage_verdict ended(const char *script, const char *retry_on)
{
    char settings[256];
    snprintf(settings, sizeof settings, "{\"argv\":[\"sh\",\"-c\",\"%s\"]}", script);
    run_task((struct stage_task){.input_fd = -1, .value = BYTES("1"), .settings = bytes_of(settings), .retry_on = bytes_of(retry_on)});
    return outcome.verdict;
}

TEST(how_a_program_ends_decides_whether_it_is_tried_again)
{
    CHECK_INT(ended("exit 7", ""), STAGE_FAIL);
    CHECK_INT(ended("exit 7", "[\"exit:8\",\"timeout\"]"), STAGE_FAIL);
    CHECK_INT(ended("exit 7", "[\"exit:7\"]"), STAGE_RETRY);
    CHECK_INT(ended("exit 7", "[\"exit\"]"), STAGE_RETRY);
    CHECK_INT(ended("kill -9 $$", "[\"exit\"]"), STAGE_FAIL);
    CHECK_TEXT(outcome.error.text, "The program sh was ended by the signal KILL.");
    CHECK_INT(ended("kill -9 $$", "[\"crash\"]"), STAGE_RETRY);
    CHECK_INT(ended("kill -9 $$", ""), STAGE_RETRY);
    CHECK_TEXT(run("{\"argv\":[\"no-such-program\"]}", "1"), "The program no-such-program cannot be started: No such file or directory.");
    CHECK_TEXT(run("{\"argv\":[\"/etc/passwd\"]}", "1"), "The program /etc/passwd cannot be started: Permission denied.");
    CHECK_TEXT(run("{\"argv\":[\"pwd\"],\"cwd\":\"/nowhere\"}", "1"), "The program pwd cannot be started: No such file or directory.");
    CHECK_TEXT(run("{\"argv\":[\"pwd\"],\"cwd\":\"/\",\"stdout\":\"text\"}", "1"), "\"/\\n\"");
}

TEST_SLOW(much_on_every_pipe_does_not_lock_up)
{
    char *value = malloc(1 << 20);
    memset(value, '1', (1 << 20) - 1);
    value[(1 << 20) - 1] = 0;
    CHECK_INT(strlen(run("{\"argv\":[\"cat\"],\"stdout\":\"text\"}", value)), (1 << 20) + 1);
    CHECK_TEXT(run("{\"argv\":[\"sh\",\"-c\",\"head -c 300000 /dev/zero | tr '\\\\\\\\0' e >&2; echo 5\"]}", value), "5");
    CHECK(strlen(run("{\"argv\":[\"sh\",\"-c\",\"head -c 300000 /dev/zero | tr '\\\\\\\\0' e >&2; exit 1\"]}", value)) > 1900);
    free(value);
    CHECK_TEXT(run("{\"argv\":[\"cat\",\"/dev/zero\"],\"stdout\":\"text\"}", "1"),
               "The program cat wrote more than the 67108864 bytes that a result may have.");
}

TEST(limits_are_the_programs_own)
{
    CHECK_TEXT(run("{\"argv\":[\"sh\",\"-c\",\"ulimit -n; ulimit -t; ulimit -v\"],\"stdout\":\"lines\",\"limits\":{\"cpu_us\":8500000,\"memory_bytes\":104857600,\"files\":20}}", "1"),
               "[\"20\",\"9\",\"102400\"]");
    CHECK_TEXT(run("{\"argv\":[\"sh\",\"-c\",\"sleep 2 & echo 1\"]}", "1"), "1");      /* who holds the pipe open longer is not waited for */
    stage_outcome_done(&outcome);
}
