/* Any text as a pipeline file: there is either a canonical text, which is JSON and comes to itself again, or at least one mistake, and all mistakes lie in
 * their source and can be printed. jq is left out: what it takes is its own matter, and each program would cost 30 ms. */
#include "fuzz.h"

#include "config/compile.h"
#include "base/json.h"
#include "core/pipeline.h"
#include "engine/terms.h"

static void check_mistakes(struct mistakes *mistakes)
{
    struct buf told BUF_OWNED;
    buf_init(&told, 1 << 20);
    mistakes_print(mistakes, &told);
    fuzz_must(told.count > 0, "mistakes can be told");
    for (size_t i = 0; i < mistakes->count; i++) {
        const struct mistake *one = &mistakes->list[i];
        fuzz_must(one->source && one->line > 0 && one->column > 0 && one->sentence[0], "a mistake has a place and a sentence");
        fuzz_must(one->line <= (int)one->source->count + 2, "its line is in the file");
    }
}

/* It is a pipeline, or its mistake is told: of what was canonical already, and of numbers that only it knows. Then it makes terms. */
static void check_pipeline(struct bytes text)
{
    struct problem problem = {0};
    struct pipeline *pipeline = pipeline_parse(text, &problem);
    fuzz_check_problem(&problem, !pipeline);
    struct terms terms = {0};
    struct store_job job = {0};
    struct problem why = {0};
    if (pipeline)
        fuzz_check_problem(&why, terms_make(pipeline, BYTES("{\"top\":3,\"campaign\":\"a\",\"urls\":[]}"), BYTES("{\"url\":\"http://h/\"}"), &terms, &job, &why) != 0);
    terms_done(&terms);
    pipeline_free(pipeline);
}

FUZZ_TARGET(pipeline)
{
    struct mistakes mistakes = {0}, again = {0};
    struct buf text BUF_OWNED = {0}, twice BUF_OWNED = {0};
    if (memmem(input.at, input.count, "!file", 5))      /* the machine's files are not the input's */
        return;
    fuzz_stand_ins.jq = true;
    buf_init(&text, 1 << 20);
    buf_init(&twice, 1 << 20);
    if (!compile_pipeline("p.yaml", input, &mistakes, &text)) {
        check_mistakes(&mistakes);
    } else {
        struct json_object *tree JSON_OWNED = json_parse(buf_bytes(&text), NULL);
        fuzz_must(tree && json_object_object_get_ex(tree, "legs", NULL), "a canonical text is JSON with legs");
        check_pipeline(buf_bytes(&text));
        fuzz_must(compile_pipeline("p.json", buf_bytes(&text), &again, &twice), "a canonical text is taken");
        fuzz_must(bytes_equal(buf_bytes(&text), buf_bytes(&twice)), "a canonical text comes to itself");
    }
    mistakes_done(&mistakes);
    mistakes_done(&again);
}
