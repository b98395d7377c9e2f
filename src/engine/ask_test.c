#include "engine/ask.h"

#include "base/limits.h"
#include "base/test.h"

/* A crew of one place that keeps what it was given until it is told to answer. */
static struct {
    struct crew crew;
    bool busy;
    struct token token;
    int started, stopped, told;
    char value[64], heard[64];
} bench;

static size_t slots_free(struct crew *crew)
{
    return bench.busy ? 0 : 1;
}

static void start(struct crew *crew, const struct task *task)
{
    CHECK(!bench.busy);
    bench.busy = true;
    bench.token = task->token;
    bench.started++;
    snprintf(bench.value, sizeof bench.value, "%.*s", BYTES_ARG(task->value));
}

static void stop(struct crew *crew, struct token token, bool for_good)
{
    bench.stopped++;
    bench.busy = false;
}

static const struct crew_ops ops = {.slots_free = slots_free, .start = start, .stop = stop};

static void heard(void *data, const struct outcome *outcome)
{
    bench.told++;
    snprintf(bench.heard, sizeof bench.heard, "%s %.*s", (const char *)data, BYTES_ARG(outcome->value));
}

static struct asker *open_bench(void)
{
    memset(&bench, 0, sizeof bench);
    bench.crew.ops = &ops;
    return asker_new(&bench.crew, NULL);
}

static void answer(const char *value)
{
    bench.busy = false;
    bench.crew.client.outcome(bench.crew.client.data, bench.token, &(struct outcome){.value = bytes_of(value)}, false);
}

static struct ask *ask(struct asker *asker, const char *name)
{
    return ask_start(asker, &(struct ask_want){.value = bytes_of(name), .input_fd = -1}, heard, (void *)name);
}

TEST(questions_stand_in_one_line_and_each_gets_its_own_answer)
{
    struct asker *asker = open_bench();
    ask(asker, "first");
    ask(asker, "second");
    CHECK_INT(bench.started, 1);
    CHECK_TEXT(bench.value, "first");
    answer("1");
    CHECK_TEXT(bench.heard, "first 1");
    CHECK_TEXT(bench.value, "second");
    answer("2");
    CHECK_TEXT(bench.heard, "second 2");
    asker_free(asker);
}

TEST(what_leads_goes_first_and_what_has_begun_before_what_has_not)
{
    static const struct { const char *name; enum ask_turn turn; } wants[] = {
        {"at work", ASK_BEGINS}, {"begins", ASK_BEGINS}, {"goes on", ASK_GOES_ON}, {"leads", ASK_LEADS}, {"goes on too", ASK_GOES_ON}};
    static const char *const order[] = {"leads", "goes on", "goes on too", "begins"};
    struct asker *asker = open_bench();
    for (size_t i = 0; i < sizeof wants / sizeof *wants; i++)
        ask_start(asker, &(struct ask_want){.value = bytes_of(wants[i].name), .input_fd = -1, .turn = wants[i].turn}, heard, "");
    for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
        answer("1");
        CHECK_TEXT(bench.value, order[i]);
    }
    asker_free(asker);
}

TEST(a_dropped_question_is_not_answered_and_kills_no_worker)
{
    struct asker *asker = open_bench();
    struct ask *going = ask(asker, "going"), *waiting = ask(asker, "waiting");
    ask(asker, "last");
    ask_drop(waiting);
    ask_drop(going);
    CHECK_INT(bench.stopped, 0);
    answer("1");
    CHECK_INT(bench.told, 0);
    CHECK_TEXT(bench.value, "last");
    answer("2");
    CHECK_INT(bench.told, 1);
    asker_free(asker);
}

TEST(a_full_line_takes_no_more_and_an_end_tells_nobody)
{
    struct asker *asker = open_bench();
    CHECK(ask(asker, "going"));
    for (int i = 0; i < LIMIT_ASKS; i++)
        CHECK(ask(asker, "waits"));
    CHECK(!ask(asker, "too much"));
    asker_free(asker);
    CHECK_INT(bench.told, 0);
    CHECK_INT(bench.stopped, 1);
}
