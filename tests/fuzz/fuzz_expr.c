/* Expressions: programs that pipeline files use, over any input; templates; and, for a few inputs, any program at all (each costs its compiling, so most runs
 * do without). What comes out is JSON on one line, or there is a sentence; nothing runs on. */
#include "fuzz.h"

#include "base/json.h"
#include "base/json_grammar.h"
#include "base/text.h"
#include "expr/expr.h"

#include <stdio.h>
#include <time.h>

enum { LIMIT_US = 20000, OUTPUT_BYTES = 1 << 16 };

static const char *const PROGRAMS[] = {
    ".", ".a.b", ".[]", "{id: .id, n: (.n | tonumber)}", "map(select(.score > 0.5)) | sort_by(.score) | .[0:3]", "[.[] | {key: .k, value: .v}] | from_entries",
    "tostring | ascii_downcase | rtrimstr(\"/\") | sub(\"//www\\\\.\"; \"//\")", "if type == \"object\" then .urls[] else . end", "to_entries | group_by(.value)", "@uri \"http://h/\\(.a)?q=\\($params.q)\"",
    "[$params, $vars.x, $item.name, $job.id] | tojson", "tojson | fromjson", "reduce .[] as $x (0; . + ($x | length))", "split(\",\") | join(\"|\")", "[limit(5; .. | scalars)]",
    "explode | implode", "@base64 | @base64d", "test(\"^a+b\")", "[paths] | length", "last(range(1000))", "def f: f; f", "[recurse(if . < 1e3 then . + 1 else empty end)] | length",
    "strptime(\"%Y-%m-%d\") | mktime", "todate", "splits(\"a\")", "error", "ltrimstr(1) + {}", "flatten | unique | min", "input", "$__loc__ | .line", "env | length", "@html + @csv",
};
enum { PROGRAMS_COUNT = sizeof PROGRAMS / sizeof *PROGRAMS };

static double seconds(void)
{
    struct timespec at;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static void run(struct expr *expr, struct bytes input, struct bytes variables)
{
    struct buf text BUF_OWNED, again BUF_OWNED;
    struct problem problem = {0};
    size_t at;
    buf_init(&text, OUTPUT_BYTES);
    buf_init(&again, OUTPUT_BYTES);
    double began = seconds();
    int answer = expr_run(expr, input, variables, LIMIT_US, &text, &problem);
    fuzz_must(seconds() - began < 5, "a program is halted");
    fuzz_check_problem(&problem, answer < 0);
    if (!answer) {
        fuzz_must(json_grammar(buf_bytes(&text), 1000, &at) == JSON_GRAMMAR_GOOD, "an output is JSON");
        fuzz_must(!memchr(text.at, '\n', text.count), "on one line");
    }
    if (!expr_run(expr, input, variables, LIMIT_US, &again, &problem))
        fuzz_must(json_grammar(buf_bytes(&again), 1000, &at) == JSON_GRAMMAR_GOOD, "and when it runs again");
}

static void fixed(struct bytes *input)
{
    static struct expr *exprs[PROGRAMS_COUNT];
    struct problem problem = {0};
    size_t which = fuzz_below(input, PROGRAMS_COUNT);
    struct bytes variables = bytes_cut(input, '\n');
    if (!exprs[which])
        exprs[which] = expr_compile(bytes_of(PROGRAMS[which]), NULL, &problem);
    if (!exprs[which])
        fprintf(stderr, "%s: %s\n", PROGRAMS[which], problem.text);
    fuzz_must(exprs[which], "the programs here are good");
    run(exprs[which], *input, variables);
}

static void any(struct bytes *input)
{
    struct bytes program = bytes_cut(input, '\n');
    struct expr_place place = {0};
    struct problem problem = {0};
    if (program.count > 200)
        return;
    struct expr *expr = expr_compile(program, &place, &problem);
    fuzz_check_problem(&problem, !expr);
    fuzz_must(place.line >= 0 && place.column >= 0, "a mistake has a place");
    if (expr)
        run(expr, *input, BYTES("{}"));
    expr_free(expr);
}

/* A text without \( comes to a program that is a JSON string of that text, so it can be read without jq. */
static void template(struct bytes text)
{
    struct buf program BUF_OWNED;
    struct problem problem = {0};
    buf_init(&program, 1 << 20);
    int failed = expr_template(text, false, &program, &problem);
    fuzz_check_problem(&problem, failed != 0);
    if (failed || !text_is_utf8(text) || memmem(text.at, text.count, "\\(", 2) || memchr(text.at ? text.at : "", 0, text.count))
        return;
    struct json_object *string JSON_OWNED = json_parse(buf_bytes(&program), NULL);
    fuzz_must(string && json_object_is_type(string, json_type_string), "a plain template is a string");
    fuzz_must(bytes_equal(bytes_of(json_object_get_string(string)), text), "of its text");
}

FUZZ_TARGET(expr)
{
    unsigned which = fuzz_byte(&input);
    if (which < 64)
        fixed(&input);
    else if (which < 254)
        template(input);
    else
        any(&input);
}
