/* How processes come and go, and what they say. */
#include "engine/workers_test.h"

TEST(a_task_goes_to_a_worker_and_its_outcome_comes_back)
{
    int before = lowest_free();
    open_crew(2, "noop", NULL);
    UNTIL(workers_ready(seen.crew) == 2);
    CHECK_INT(seen.readies, 2);
    CHECK_INT(seen.frees, 2);
    CHECK_TEXT(workers_loaded(seen.crew).at, "{\"noop\":{}}");
    CHECK_INT(seen.crew->ops->slots_free(seen.crew), 2);
    start_item(0, "{\"a\":[1,\"\xe6\x98\x93\"],\"noop\":{\"accuracy\":97.5}}", -1, 10000000);
    CHECK_INT(seen.crew->ops->slots_free(seen.crew), 1);
    UNTIL(seen.outcomes[0]);
    CHECK_INT(seen.verdict, VERDICT_DONE);
    CHECK_TEXT(seen.value, "{\"a\":[1,\"\xe6\x98\x93\"],\"noop\":{\"accuracy\":97.5}}");
    CHECK_TEXT(seen.stats, "{\"accuracy\":97.5}");
    CHECK_INT(seen.crew->ops->slots_free(seen.crew), 2);
    close_crew();
    CHECK_INT(lowest_free(), before);
}

TEST(an_input_travels_as_a_descriptor_and_is_closed_here)
{
    open_crew(1, "noop", NULL);
    UNTIL(workers_ready(seen.crew));
    int fd = memfd_create("x", MFD_CLOEXEC);
    CHECK_INT(write(fd, "12345", 5), 5);
    start_item(0, "", fd, 10000000);
    CHECK(fcntl(fd, F_GETFD) < 0);
    UNTIL(seen.outcomes[0]);
    CHECK_TEXT(seen.value, "{\"bytes\":5}");
    close_crew();
}

TEST(what_a_stage_says_is_wrong_comes_through)
{
    open_crew(1, "noop", NULL);
    UNTIL(workers_ready(seen.crew));
    start_item(0, "{\"noop\":{\"fail\":\"This is no image.\",\"error_type\":\"validation\"}}", -1, 10000000);
    UNTIL(seen.outcomes[0]);
    CHECK_INT(seen.verdict, VERDICT_FAIL);
    CHECK_TEXT(seen.error, "This is no image.");
    CHECK_TEXT(seen.type, "validation");
    CHECK_TEXT(seen.stage, "noop");
    close_crew();
}

TEST(a_worker_killed_in_mid_task_costs_that_task_one_outcome)
{
    open_crew(2, "noop", NULL);
    UNTIL(workers_ready(seen.crew) == 2);
    start_item(0, "{\"noop\":{\"hang\":true}}", -1, 10000000);
    start_item(1, "{\"noop\":{\"sleep_ms\":100}}", -1, 10000000);
    pid_t victim = workers_pid(seen.crew, 0);
    kill(victim, SIGKILL);
    UNTIL(seen.outcomes[0]);
    CHECK_INT(seen.verdict, VERDICT_RETRY);
    CHECK_TEXT(seen.type, "crash");
    CHECK_TEXT(seen.error, "The worker ended by signal SIGKILL at stage noop.");
    UNTIL(seen.outcomes[1]);
    CHECK_INT(seen.verdict, VERDICT_DONE);
    UNTIL(workers_ready(seen.crew) == 2);
    CHECK(workers_pid(seen.crew, 0) != victim);
    start_item(2, "{}", -1, 10000000);
    UNTIL(seen.outcomes[2]);
    CHECK_INT(seen.verdict, VERDICT_DONE);
    close_crew();
    CHECK_INT(seen.outcomes[0] + seen.outcomes[1] + seen.outcomes[2] + seen.lates, 3);
}

TEST(crashes_and_exits_name_their_cause)
{
    open_crew(1, "noop", NULL);
    UNTIL(workers_ready(seen.crew));
    start_item(0, "{\"noop\":{\"exit\":4}}", -1, 10000000);
    UNTIL(seen.outcomes[0]);
    CHECK_TEXT(seen.error, "The worker ended with exit status 4 at stage noop.");
    UNTIL(workers_ready(seen.crew));
    start_item(1, "{\"noop\":{\"crash\":true}}", -1, 10000000);
    UNTIL(seen.outcomes[1]);
    CHECK_TEXT(seen.type, "crash");
    CHECK(strstr(seen.error, "at stage noop."));
    close_crew();
}

TEST(a_stopped_worker_is_killed_at_its_deadline)
{
    open_crew(1, "noop", NULL);
    UNTIL(workers_ready(seen.crew));
    pid_t victim = workers_pid(seen.crew, 0);
    start_item(0, "{\"noop\":{\"sleep_ms\":20}}", -1, 150000);
    kill(victim, SIGSTOP);
    UNTIL(seen.outcomes[0]);
    CHECK_INT(seen.verdict, VERDICT_RETRY);
    CHECK_TEXT(seen.type, "timeout");
    CHECK_TEXT(seen.error, "The stage noop took longer than its limit of 0.15 seconds.");
    UNTIL(workers_ready(seen.crew));
    CHECK(workers_pid(seen.crew, 0) != victim);
    CHECK_INT(seen.outcomes[0], 1);
    close_crew();
}

TEST(what_a_killed_worker_had_said_is_offered_as_late)
{
    open_crew(1, "rogue-flood", NULL);
    UNTIL(workers_ready(seen.crew));
    start_item(0, "{}", -1, 100000);
    usleep(200000);      /* the deadline passes while the loop does not look, and the outcome lies behind a hundred hints */
    UNTIL(seen.outcomes[0]);
    CHECK_TEXT(seen.type, "timeout");
    UNTIL(seen.lates);
    UNTIL(workers_ready(seen.crew));
    CHECK_INT(seen.outcomes[0], 1);
    CHECK_INT(seen.lates, 1);
    CHECK(seen.hints <= 2);
    close_crew();
}

TEST(outcomes_at_the_deadline_come_exactly_once)
{
    open_crew(2, "noop", NULL);
    for (int i = 0; i < ITEMS; i++) {
        UNTIL(seen.crew->ops->slots_free(seen.crew));
        start_item(i, "{\"noop\":{\"sleep_ms\":5}}", -1, 4800 + i * 10);
    }
    UNTIL(workers_ready(seen.crew) == 2 && seen.crew->ops->slots_free(seen.crew) == 2);
    close_crew();
    for (int i = 0; i < ITEMS; i++)
        CHECK_INT(seen.outcomes[i], 1);
}

TEST(a_stopped_task_has_no_outcome)
{
    open_crew(1, "noop", NULL);
    UNTIL(workers_ready(seen.crew));
    start_item(0, "{\"noop\":{\"hang\":true}}", -1, 10000000);
    seen.crew->ops->stop(seen.crew, (struct token){1, 0, 2, 5}, true);      /* another attempt: not ours */
    CHECK_INT(workers_ready(seen.crew), 1);
    seen.crew->ops->stop(seen.crew, (struct token){1, 0, 1, 5}, true);
    int frees = seen.frees;
    UNTIL(seen.frees > frees);
    start_item(1, "{}", -1, 10000000);
    UNTIL(seen.outcomes[1]);
    CHECK_INT(seen.outcomes[0] + seen.lates, 0);
    close_crew();
}

TEST(what_a_stopped_task_had_said_is_offered_as_late)
{
    open_crew(1, "noop", NULL);
    UNTIL(workers_ready(seen.crew));
    start_item(0, "{}", -1, 10000000);
    struct pollfd said = {.fd = ((struct workers *)seen.crew)->slots[0].socket, .events = POLLIN};
    CHECK_INT(poll(&said, 1, 20000), 1);      /* its outcome lies in the socket, and nobody has looked */
    seen.crew->ops->stop(seen.crew, (struct token){1, 0, 1, 5}, true);
    UNTIL(seen.lates);
    UNTIL(seen.crew->ops->slots_free(seen.crew));
    start_item(1, "{}", -1, 10000000);
    UNTIL(seen.outcomes[1]);
    CHECK_INT(seen.outcomes[0], 0);
    CHECK_INT(seen.lates, 1);
    close_crew();
}

TEST(an_outcome_may_start_the_next_task)
{
    open_crew(1, "noop", NULL);
    UNTIL(workers_ready(seen.crew));
    seen.again = true;
    seen.next = 1;
    start_item(0, "{}", -1, 10000000);
    UNTIL(seen.outcomes[ITEMS - 1]);
    for (int i = 0; i < ITEMS; i++)
        CHECK_INT(seen.outcomes[i], 1);
    close_crew();
}

static void one_rogue(const char *name, const char *sentence)
{
    open_crew(1, name, NULL);
    UNTIL(workers_ready(seen.crew));
    pid_t victim = workers_pid(seen.crew, 0);
    start_item(0, "{}", -1, 10000000);
    UNTIL(seen.outcomes[0]);
    test_note("%s: %s", name, seen.error);
    CHECK_INT(seen.verdict, VERDICT_RETRY);
    CHECK(!strncmp(seen.error, sentence, strlen(sentence)));
    UNTIL(workers_ready(seen.crew));
    CHECK(workers_pid(seen.crew, 0) != victim);
    close_crew();
    CHECK_INT(seen.outcomes[0] + seen.lates, 1);
}

TEST(nonsense_from_a_worker_is_one_retry_and_a_new_worker)
{
    one_rogue("rogue-nonsense", "The worker gave no usable outcome at stage noop: not valid JSON");
    one_rogue("rogue-value", "The worker gave no usable outcome at stage noop: not valid JSON");
    one_rogue("rogue-other", "The worker gave no usable outcome at stage noop: the outcome of another task.");
}

TEST(a_second_outcome_is_not_heard_and_values_are_one_line)
{
    open_crew(1, "rogue-twice", NULL);
    UNTIL(workers_ready(seen.crew));
    pid_t victim = workers_pid(seen.crew, 0);
    start_item(0, "{}", -1, 10000000);
    UNTIL(seen.outcomes[0]);
    CHECK_TEXT(seen.value, "{ \"first\":1 }");
    UNTIL(workers_pid(seen.crew, 0) != victim && workers_ready(seen.crew));
    CHECK_INT(seen.outcomes[0] + seen.lates, 1);
    close_crew();
}

TEST(a_worker_that_dies_while_loading_breaks_the_crew_after_three)
{
    open_crew(1, "rogue-dies", NULL);
    UNTIL(problem_is(&seen.broken));
    CHECK_TEXT(seen.broken.text, "A worker ended by signal SIGKILL while it loaded its stages.");
    CHECK(workers_problem(seen.crew));
    close_crew();
    open_crew(1, "rogue-exits", NULL);
    UNTIL(problem_is(&seen.broken));
    CHECK_TEXT(seen.broken.text, "A worker ended with exit status 3 while it loaded its stages.");
    close_crew();
}

TEST(a_worker_that_says_why_it_cannot_load_breaks_the_crew_at_once)
{
    open_crew(1, "no-such-stage", NULL);
    UNTIL(problem_is(&seen.broken));
    CHECK_TEXT(seen.broken.text, "There is no stage \"no-such-stage\".");
    close_crew();
}

TEST(a_task_too_long_for_a_frame_fails_with_a_sentence)
{
    open_crew(1, "noop", NULL);
    UNTIL(workers_ready(seen.crew));
    char *value = mem_new(LIMIT_FRAME_BYTES + 3);
    memset(value, '1', LIMIT_FRAME_BYTES + 2);
    start_item(0, value, -1, 10000000);
    free(value);
    CHECK_INT(seen.outcomes[0], 0);      /* never from inside start */
    UNTIL(seen.outcomes[0]);
    CHECK_INT(seen.verdict, VERDICT_FAIL);
    CHECK_TEXT(seen.type, "validation");
    start_item(1, "{}", -1, 10000000);
    UNTIL(seen.outcomes[1]);
    CHECK_INT(seen.verdict, VERDICT_DONE);
    close_crew();
}

/* {"text":"xxx…"} of about `bytes` bytes; free() it. */
static char *long_value(size_t bytes)
{
    char *value = mem_new(bytes + 16);
    memcpy(value, "{\"text\":\"", 9);
    memset(value + 9, 'x', bytes);
    memcpy(value + 9 + bytes, "\"}", 3);
    return value;
}

TEST(a_long_result_becomes_a_blob)
{
    char dir[] = "/tmp/rivulet-test-XXXXXX", rest[sizeof seen.value];
    struct problem problem = {0};
    struct blobs *blobs;
    CHECK(mkdtemp(dir));
    CHECK_INT(blobs_open(dir, &blobs, &problem), 0);
    open_crew(1, "noop", blobs);
    UNTIL(workers_ready(seen.crew));
    char *value MEM_OWNED = long_value(100000);
    start_item(0, value, -1, 10000000);
    UNTIL(seen.outcomes[0]);
    test_note("%s", seen.error);
    CHECK_INT(seen.verdict, VERDICT_DONE);
    CHECK(seen.blob);
    struct sha sha = sha_of(bytes_of(value));
    char hex[SHA_HEX_SIZE];
    sha_hex(&sha, hex);
    snprintf(rest, sizeof rest, "{\"blob\":\"%s\",\"bytes\":%zu,\"type\":\"application/json\"}", hex, strlen(value));
    CHECK_TEXT(seen.value, rest);
    int fd = blob_open(blobs, &seen.sha);
    CHECK(fd >= 0);
    struct stat about;
    CHECK_INT(fstat(fd, &about), 0);
    CHECK_INT(about.st_size, strlen(value));
    close(fd);
    CHECK_INT(blob_remove(blobs, &sha), 1);      /* pinned for the client */
    start_item(1, value, -1, 10000000);          /* the same worker, a new output; its outcome is given up */
    while (seen.crew->ops->slots_free(seen.crew) == 0 && workers_ready(seen.crew)) {
        loop_turn(seen.loop, true);
        seen.crew->ops->stop(seen.crew, (struct token){1, 1, 1, 5}, true);
    }
    UNTIL(seen.crew->ops->slots_free(seen.crew));
    close_crew();
    CHECK_INT(seen.outcomes[1], 0);
    CHECK(seen.late_blobs <= 1);
    for (int i = 0; i <= seen.late_blobs; i++)   /* a late one brings its pin with it */
        blob_unpin(blobs, &sha);
    CHECK_INT(blob_remove(blobs, &sha), 0);      /* no other pin was left behind */
    blobs_close(blobs);
    char *command[] = {"/bin/rm", "-r", dir, NULL};
    pid_t pid = fork();
    if (!pid)
        execv(command[0], command);
    waitpid(pid, NULL, 0);
}

TEST(a_long_result_that_cannot_be_kept_is_a_sentence)
{
    open_crew(1, "noop", NULL);
    UNTIL(workers_ready(seen.crew));
    char *value MEM_OWNED = long_value(100000);
    start_item(0, value, -1, 10000000);
    UNTIL(seen.outcomes[0]);
    CHECK_INT(seen.verdict, VERDICT_RETRY);
    CHECK_TEXT(seen.error, "The result of 100011 bytes could not be stored: Operation not supported.");
    CHECK(seen.unsaid);
    start_item(1, "{\"noop\":{\"pad\":70000000}}", -1, 60000000);
    UNTIL(seen.outcomes[1]);
    CHECK_INT(seen.verdict, VERDICT_FAIL);
    CHECK_TEXT(seen.error, "The result of noop has more than the 67108864 bytes that a result may have.");
    close_crew();
    open_crew(1, "rogue-output", NULL);
    UNTIL(workers_ready(seen.crew));
    start_item(0, "{}", -1, 10000000);
    UNTIL(seen.outcomes[0]);
    CHECK_INT(seen.verdict, VERDICT_RETRY);
    close_crew();
}

TEST(a_crew_can_be_stopped_at_any_moment)
{
    open_crew(2, "noop", NULL);
    close_crew();      /* nothing started */
    open_crew(2, "noop", NULL);
    loop_turn(seen.loop, false);
    close_crew();      /* in the pool */
    open_crew(2, "noop", NULL);
    UNTIL(workers_ready(seen.crew) >= 1);
    start_item(0, "{\"noop\":{\"hang\":true}}", -1, 10000000);
    close_crew();      /* one busy, one loading or idle */
    CHECK_INT(seen.outcomes[0], 0);
}

/* ---- workers that start programs ---- */

static void start_program(int item, const char *script, int64_t timeout_us)
{
    static char stages[1024];
    snprintf(stages, sizeof stages, "[{\"stage\":\"exec\",\"name\":\"mine\",\"with\":{\"argv\":[\"sh\",\"-c\",\"%s\"],"
             "\"env\":{\"KEY\":{\"$env\":\"RIVULET_TEST_KEY\"}},\"stdout\":\"text\"}}]", script);
    struct task task = {.token = {1, item, 1, 5}, .stages = bytes_of(stages), .variables = BYTES("{}"), .value = BYTES("{\"a\":1}"),
                        .input_fd = -1, .timeout_us = timeout_us};
    seen.crew->ops->start(seen.crew, &task);
}

TEST(a_program_has_the_secret_that_its_stage_names_and_tells_it_to_nobody)
{
    setenv("RIVULET_TEST_KEY", "sesame-open", 1);
    open_crew(1, "exec", NULL);
    UNTIL(workers_ready(seen.crew));
    start_program(0, "cat; test $KEY = sesame-open && echo $KEY", 10000000);
    UNTIL(seen.outcomes[0]);
    CHECK_TEXT(seen.value, "\"{\\\"a\\\":1}****\\n\"");
    unsetenv("RIVULET_TEST_KEY");
    start_program(1, "true", 10000000);
    UNTIL(seen.outcomes[1]);
    CHECK_TEXT(seen.error, "The variable RIVULET_TEST_KEY, which KEY needs, is not in the server's environment.");
    close_crew();
}

/* The reading end of a pipe that a program and what it left running hold open. */
static int program_up(char path[64], int item, bool leaves, const char *rest, int64_t timeout_us)
{
    char script[256], byte;
    snprintf(path, 64, "/tmp/rivulet-exec-%d", (int)getpid());
    unlink(path);
    CHECK_INT(mkfifo(path, 0600), 0);
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    snprintf(script, sizeof script, "exec 9>%s; echo up >&9; sleep 100 & %s%s", path, leaves ? "setsid sleep 100 & " : "", rest);
    start_program(item, script, timeout_us);
    UNTIL(read(fd, &byte, 1) == 1);
    unlink(path);
    return fd;
}

static void all_down(int fd)
{
    char bytes[16];
    UNTIL(read(fd, bytes, sizeof bytes) == 0);
    close(fd);
}

TEST(a_program_and_all_that_it_started_end_with_its_task)
{
    char path[64];
    setenv("RIVULET_TEST_KEY", "sesame-open", 1);
    open_crew(1, "exec", NULL);
    UNTIL(workers_ready(seen.crew));
    int fd = program_up(path, 0, true, "sleep 100", 100000);
    UNTIL(seen.outcomes[0]);
    CHECK_TEXT(seen.error, "The stage mine took longer than its limit of 0.1 seconds.");
    all_down(fd);
    UNTIL(workers_ready(seen.crew));
    fd = program_up(path, 1, true, "sleep 100", 10000000);
    seen.crew->ops->stop(seen.crew, (struct token){1, 1, 1, 5}, true);
    all_down(fd);
    UNTIL(workers_ready(seen.crew));
    fd = program_up(path, 2, false, "sleep 100", 10000000);
    kill(workers_pid(seen.crew, 0), SIGKILL);
    all_down(fd);
    UNTIL(workers_ready(seen.crew));
    fd = program_up(path, 3, true, "sleep 0.1; echo done", 10000000);
    UNTIL(seen.outcomes[3]);
    CHECK_TEXT(seen.value, "\"done\\n\"");
    all_down(fd);
    close_crew();
}
