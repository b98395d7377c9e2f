/* Any text as a pipeline file: there is either a canonical text, which is JSON and comes to itself again, or at least one mistake, and all mistakes lie in
 * their source and can be printed. jq is left out: what it takes is its own matter, and each program would cost 30 ms. */
#include "config/compile.h"
#include "base/json.h"
#include "base/mem.h"
#include "expr/expr.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count);

static void must(bool truth, const char *what)
{
    if (truth)
        return;
    fprintf(stderr, "broken: %s\n", what);
    abort();
}

/* ---- in the place of jq ---- */

struct expr {
    char nothing;
};

struct expr *expr_compile(struct bytes program, struct expr_place *ret_place, struct problem *problem)
{
    const char *bad = memmem(program.at, program.count, "wrong", 5);
    if (!bad)
        return MEM_NEW(struct expr);
    *ret_place = (struct expr_place){1, (int)(bad - program.at) + 1};
    for (const char *at = program.at; at < bad; at++)
        if (*at == '\n')
            *ret_place = (struct expr_place){ret_place->line + 1, (int)(bad - at)};
    problem_set(problem, "it is wrong");
    return NULL;
}

void expr_free(struct expr *expr)
{
    free(expr);
}

/* ---- what must hold ---- */

static void check_mistakes(struct mistakes *mistakes)
{
    struct buf told BUF_OWNED;
    buf_init(&told, 1 << 20);
    mistakes_print(mistakes, &told);
    must(told.count > 0, "mistakes can be told");
    for (size_t i = 0; i < mistakes->count; i++) {
        const struct mistake *one = &mistakes->list[i];
        must(one->source && one->line > 0 && one->column > 0 && one->sentence[0], "a mistake has a place and a sentence");
        must(one->line <= (int)one->source->count + 2, "its line is in the file");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
    struct mistakes mistakes = {0}, again = {0};
    struct buf text BUF_OWNED = {0}, twice BUF_OWNED = {0};
    struct bytes file = {(const char *)data, count};
    if (memmem(data, count, "!file", 5))      /* the machine's files are not the input's */
        return 0;
    buf_init(&text, 1 << 20);
    buf_init(&twice, 1 << 20);
    if (!compile_pipeline("p.yaml", file, &mistakes, &text)) {
        check_mistakes(&mistakes);
    } else {
        struct json_object *tree JSON_OWNED = json_parse(buf_bytes(&text), NULL);
        must(tree && json_get(tree, "legs"), "a canonical text is JSON with legs");
        must(compile_pipeline("p.json", buf_bytes(&text), &again, &twice), "a canonical text is taken");
        must(bytes_equal(buf_bytes(&text), buf_bytes(&twice)), "a canonical text comes to itself");
    }
    mistakes_done(&mistakes);
    mistakes_done(&again);
    return 0;
}
