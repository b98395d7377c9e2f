/* Batches over a crew that runs the stage jq here and now, a loop, and the store's test machine for the cache. */
#include "store/store_test.h"

#include "base/json.h"
#include "engine/batches.h"
#include "stage/stage.h"

static struct {
    struct crew crew;
    struct loop *loop;
    struct asker *asker;
    struct pipeline *pipeline;
    struct batches *batches;
    void *jq;
    struct token token;
    char *stages, *variables, *value;      /* of the task under way; owned, NULL = there is none */
    int answers;
    size_t count;                          /* items told */
    char told[4096];                       /* their names, keys and values */
    struct problem problem;
} here;

static size_t slots_free(struct crew *crew)
{
    return here.stages ? 0 : 1;
}

static void start(struct crew *crew, const struct task *task)
{
    here.token = task->token;
    here.stages = mem_copy(task->stages.at, task->stages.count);
    here.variables = mem_copy(task->variables.at, task->variables.count);
    here.value = mem_copy(task->value.at, task->value.count);
}

static void stop(struct crew *crew, struct token token, bool for_good)
{
}

static const struct crew_ops ops = {slots_free, start, stop};

/* What a worker would have said by now. */
static void answer(void)
{
    struct json_object *stages JSON_OWNED = json_parse(bytes_of(here.stages), NULL);
    struct json_object *with = json_get(json_object_array_get_idx(stages, 0), "with");
    struct stage_outcome outcome;
    struct stage_task task = {.input_fd = -1, .value = bytes_of(here.value), .variables = bytes_of(here.variables),
                              .settings = bytes_of(json_object_to_json_string(with))};
    stage_outcome_init(&outcome);
    stage_kind_find(BYTES("jq"))->run(here.jq, &task, &outcome);
    here.answers++;
    char *owned[] = {here.stages, here.variables, here.value};
    here.stages = NULL;
    struct outcome told = {.verdict = outcome.verdict == STAGE_DONE ? VERDICT_DONE : VERDICT_FAIL, .value = buf_bytes(&outcome.value),
                           .error = bytes_of(outcome.error.text)};
    here.crew.client.outcome(here.crew.client.data, here.token, &told, false);
    for (size_t i = 0; i < 3; i++)
        free(owned[i]);
    stage_outcome_done(&outcome);
}

static void begin_batches(const char *members)
{
    struct stage_outfit outfit = STAGE_OUTFIT_EMPTY;
    struct problem problem = {0};
    struct buf text BUF_OWNED;
    buf_init(&text, 8192);
    buf_print(&text, "{\"name\":\"p\",%s}", members);
    begin();
    memory_auto(bench.log, true);
    memset(&here, 0, sizeof here);
    here.crew.ops = &ops;
    CHECK_INT(loop_open(&here.loop, &problem), 0);
    CHECK_INT(stage_kind_find(BYTES("jq"))->open(&outfit, &here.jq, &problem), 0);
    here.asker = asker_new(&here.crew, NULL);
    here.pipeline = pipeline_parse(buf_bytes(&text), &problem);
    CHECK_TEXT(problem.text, "");
    struct batches_world world = {here.loop, bench.store, NULL, here.asker};
    here.batches = batches_new(&world, here.pipeline, BYTES("{\"least\":2}"), 0);
}

static void end_batches(void)
{
    batches_free(here.batches);
    asker_free(here.asker);
    stage_kind_find(BYTES("jq"))->close(here.jq);
    loop_close(here.loop);
    pipeline_free(here.pipeline);
    end();
}

static bool got_it;

static void got(void *data, const struct item_spec *items, size_t count, const struct problem *problem)
{
    got_it = true;
    here.count += count;
    if (problem)
        here.problem = *problem;
    for (size_t i = 0; i < count; i++) {
        size_t used = strlen(here.told);
        struct bytes word = items[i].reject_error.count ? items[i].reject_error : items[i].value;
        snprintf(here.told + used, sizeof here.told - used, "%.*s|%.*s|%.*s\n", BYTES_ARG(items[i].name), BYTES_ARG(items[i].key), BYTES_ARG(word));
    }
}

static void wait_for_got(void)
{
    while (!got_it) {
        if (here.stages)
            answer();
        else
            loop_turn(here.loop, true);
        store_tick(bench.store);
    }
    got_it = false;
}

static void feed(const char *const *values, size_t count)
{
    struct item_spec specs[600] = {0};
    for (size_t i = 0; i < count; i++)
        specs[i].value = bytes_of(values[i]);
    batches_feed(here.batches, specs, count, got, NULL);
    wait_for_got();
}

static void flush(void)
{
    size_t before;
    do {
        before = here.count;
        batches_flush(here.batches, got, NULL);
        wait_for_got();
    } while (here.count > before);
}

#define LEGS "\"legs\":[{\"stages\":[\"noop\"]}]"

TEST(inputs_of_one_group_are_put_together_and_duplicates_left_out)
{
    begin_batches("\"input\":{\"items\":\".urls[]\",\"key\":\"ascii_downcase\",\"dedupe\":true},"
                  "\"batch\":{\"by\":\"if test(\\\"tok\\\") then \\\"tok\\\" else \\\"gram\\\" end\",\"size\":2}," LEGS);
    feed((const char *const[]){"{\"urls\":[\"gram/a\",\"tok/b\",\"gram/A\"]}", "{\"urls\":[\"gram/c\",\"gram/d\"]}"}, 2);
    CHECK_TEXT(here.told, "gram 1|gram|[\"gram/a\",\"gram/c\"]\n");
    flush();
    CHECK_INT(here.count, 3);
    CHECK(strstr(here.told, "|tok|[\"tok/b\"]\n") && strstr(here.told, "|gram|[\"gram/d\"]\n"));
    CHECK_INT(here.answers, 1);
    end_batches();
}

TEST(an_input_that_the_program_fails_on_harms_no_other)
{
    begin_batches("\"input\":{\"items\":\".urls[]\"}," LEGS);
    feed((const char *const[]){"{\"urls\":[1]}", "7", "{\"urls\":[2,3]}"}, 3);
    flush();
    CHECK_INT(here.count, 4);
    test_note("%s", here.told);
    CHECK(strstr(here.told, "Cannot index number with") != NULL);
    CHECK(strstr(here.told, "|1\n") && strstr(here.told, "|2\n") && strstr(here.told, "|3\n"));
    end_batches();
}

TEST(without_programs_nobody_is_asked_and_many_inputs_keep_their_order)
{
    static const char *values[500];
    static char texts[500][8];
    for (int i = 0; i < 500; i++)
        snprintf(texts[i], sizeof texts[i], "%d", i), values[i] = texts[i];
    begin_batches("\"batch\":{\"size\":200}," LEGS);
    feed(values, 500);
    CHECK_INT(here.count, 2);
    CHECK(!strncmp(here.told, "batch 1||[0,1,2,", 16));
    flush();
    CHECK_INT(here.count, 3);
    CHECK_INT(here.answers, 0);
    end_batches();
}

TEST(what_the_cache_knows_comes_first)
{
    begin_batches("\"batch\":{\"size\":2},\"legs\":[{\"stages\":[{\"stage\":\"remote_job\",\"name\":\"collect\",\"with\":{},"
                  "\"cache\":{\"row_key\":\".url\",\"ttl_us\":1000000}}]}]");
    struct json_object *known JSON_OWNED = json_object_new_string("c");
    struct sha key = pipeline_row_name(here.pipeline, json_object_array_get_idx(pipeline_stages(here.pipeline, 0), 0), known);
    store_cache_put(bench.store, &key, BYTES("{\"row\":1}"), 1000 * SECOND);
    store_tick(bench.store);
    feed((const char *const[]){"\"a\"", "\"b\"", "\"c\"", "\"d\""}, 4);
    CHECK_TEXT(here.told, "");
    flush();
    CHECK_TEXT(here.told, "batch 1||[\"c\"]\nbatch 2||[\"a\",\"b\"]\nbatch 3||[\"d\"]\n");
    end_batches();
}
