#include "expr/expr.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/test.h"

#include <pthread.h>
#include <stdlib.h>

static struct problem problem;

static struct expr *compiled(const char *program)
{
    problem = (struct problem){0};
    struct expr *expr = expr_compile(bytes_of(program), NULL, &problem);
    test_note("%s: %s", program, problem.text);
    return expr;
}

/* What a program makes of an input, as text; on a failure the problem's. */
static const char *run(const char *program, const char *input, const char *variables)
{
    static char text[4096];
    BUF_OWNED struct buf out;
    buf_init(&out, sizeof text - 1);
    struct expr *expr = compiled(program);
    CHECK(expr != NULL);
    int rc = expr_run(expr, bytes_of(input), bytes_of(variables), 0, &out, &problem);
    expr_free(expr);
    snprintf(text, sizeof text, "%s", rc == EXPR_NOTHING ? "nothing" : rc ? problem.text : buf_z(&out));
    return text;
}

TEST_SLOW(a_program_sees_its_input_and_the_variables)
{
    CHECK_TEXT(run(".a", "{\"a\":[1,\"x\"]}", ""), "[1,\"x\"]");
    CHECK_TEXT(run("$params.top + $now", "null", "{\"params\":{\"top\":50},\"now\":2}"), "52");
    CHECK_TEXT(run("[$params,$vars,$batch,$job,$item,$now,$id,$start,$poll,$response,$usage]|length", "1", "{}"), "11");
    CHECK_TEXT(run("$vars", "1", ""), "null");
    CHECK_TEXT(run("", "{\"a\":1}", ""), "{\"a\":1}");
    CHECK_TEXT(run("def f: . + 1; f # said so", "1", ""), "2");
    CHECK_TEXT(run("empty", "1", ""), "nothing");
    CHECK_TEXT(run(".[]", "[7,8]", ""), "7");
    CHECK_TEXT(run(".s", "{\"s\":\"a\\nb\\u2028\"}", ""), "\"a\\nb\xe2\x80\xa8\"");
}

TEST(halves_of_a_surrogate_pair_are_no_reason_to_refuse_a_text)
{
    CHECK_TEXT(run(".", "[\"a\\ud83d\",\"\\udc00\\ud800\",\"\\ud83d\\ude00\",\"\\\\ud83d\"]", ""), "[\"a\xef\xbf\xbd\",\"\xef\xbf\xbd\xef\xbf\xbd\",\"\xf0\x9f\x98\x80\",\"\\\\ud83d\"]");
    CHECK_TEXT(run(".[\"\\ufffd\"]", "{\"\\ud83d\":1}", ""), "1");
    CHECK_TEXT(run(".", "\"\\ud83d\\u0041\"", ""), "\"\xef\xbf\xbd" "A\"");
}

TEST(a_program_runs_many_times)
{
    BUF_OWNED struct buf out;
    buf_init(&out, 64);
    struct expr *expr = compiled(".[]");
    CHECK_INT(expr_run(expr, BYTES("[7,[8]]"), BYTES(""), 0, &out, &problem), 0);
    CHECK_INT(expr_run(expr, BYTES("[]"), BYTES(""), 0, &out, &problem), EXPR_NOTHING);
    CHECK_INT(expr_run(expr, BYTES("{\"a\":\"b\"}"), BYTES(""), 0, &out, &problem), 0);
    CHECK_BYTES(buf_bytes(&out), BYTES("7\"b\""));
    expr_free(expr);
}

TEST_SLOW(what_lies_outside_is_out_of_reach)
{
    setenv("RIVULET_TEST_SECRET", "hush", 1);
    CHECK_TEXT(run("[$ENV, env]", "1", ""), "[{},{}]");
    CHECK_TEXT(run("input", "1", ""), "there is no other input");
    CHECK_TEXT(run("[inputs]", "1", ""), "[]");
    CHECK_TEXT(run("halt", "1", ""), "halt cannot be had here");
    CHECK_TEXT(run("halt_error", "\"x\"", ""), "x");
    CHECK_TEXT(run("debug | stderr", "1", ""), "1");
    CHECK_TEXT(run("\"/etc/a\" | modulemeta", "1", ""), "modulemeta cannot be had here");
    CHECK(!compiled("include \"a\"; .") && problem_is(&problem));
    CHECK(!compiled("import \"a\" as a; .") && problem_is(&problem));
}

TEST_SLOW(a_wrong_program_is_told_with_its_line)
{
    struct expr_place place;
    struct { const char *program, *sentence; int line, column; } wrong[] = {
        {".a +", "syntax error, unexpected end of the program", 1, 0},
        {".a\n| foo(1)\n| .b", "foo/1 is not defined", 2, 3},
        {".a |\n  $nobody", "$nobody is not defined", 2, 3},
        {"bar + bar", "bar/0 is not defined", 1, 0},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        problem = (struct problem){0};
        CHECK(!expr_compile(bytes_of(wrong[i].program), &place, &problem));
        test_note("%s at %d:%d", wrong[i].program, place.line, place.column);
        CHECK_TEXT(problem.text, wrong[i].sentence);
        CHECK_INT(place.line, wrong[i].line);
        CHECK_INT(place.column, wrong[i].column);
    }
    problem = (struct problem){0};
    CHECK(!expr_compile(BYTES(".\0."), NULL, &problem) && problem_is(&problem));
    CHECK(!compiled("\"\xff\"") && problem_is(&problem));
    CHECK(!compiled(".a\n| ]\n| .b") && strstr(problem.text, "unexpected"));
}

TEST_SLOW(errors_of_any_kind_become_a_sentence)
{
    CHECK_TEXT(run(".a", "1", ""), "Cannot index number with string \"a\"");
    CHECK_TEXT(run("error(\"no \" + .)", "\"x\"", ""), "no x");
    CHECK_TEXT(run("error({a: 1})", "1", ""), "error: {\"a\":1}");
    CHECK_TEXT(run("error(\"\")", "1", ""), "an error without a text");
    const char *null = run("error(null)", "1", "");
    CHECK(!strcmp(null, "nothing") || !strcmp(null, "error: null"));      /* jq 1.6, 1.7 */
    CHECK_TEXT(run(".", "{'a':1}", ""), "the input is no JSON at byte 1");
    CHECK_TEXT(run(".", "", ""), "the input is no JSON at byte 0");
    CHECK_TEXT(run(".", "1", "[1"), "the object of variables is no JSON at byte 2");
}

TEST_SLOW(deep_input_and_deep_output_are_refused)
{
    char deep[2 * 100000 + 1];
    memset(deep, '[', 100000);
    memset(deep + 100000, ']', 100000);
    deep[200000] = 0;
    CHECK_TEXT(run(".", deep, ""), "the input is nested more than 32 deep");
    CHECK_TEXT(run("reduce range(100) as $i (1; [.])", "1", ""), "the output is nested more than 32 deep");
}

TEST_SLOW(an_endless_program_is_ended_and_can_run_again)
{
    BUF_OWNED struct buf out;
    buf_init(&out, 1 << 14);
    struct expr *expr = compiled("if . then (def f: f; f) else 1 end");
    for (int i = 0; i < 3; i++) {
        problem = (struct problem){0};
        CHECK_INT(expr_run(expr, BYTES("true"), BYTES(""), 20000, &out, &problem), -1);
        CHECK_TEXT(problem.text, "the program took longer than its limit of 0.02 s");
        CHECK_INT(expr_run(expr, BYTES("false"), BYTES(""), 20000, &out, &problem), 0);
    }
    expr_free(expr);
}

TEST(an_output_beyond_its_room_is_refused)
{
    BUF_OWNED struct buf out;
    buf_init(&out, 1000);
    struct expr *expr = compiled("[range(1000)]");
    problem = (struct problem){0};
    CHECK_INT(expr_run(expr, BYTES("1"), BYTES(""), 0, &out, &problem), -1);
    CHECK_TEXT(problem.text, "the output has more than the 1000 bytes that there is room for");
    expr_free(expr);
}

TEST_SLOW(numbers_are_doubles)
{
    CHECK_TEXT(run(".", "9007199254740991", ""), "9007199254740991");
    CHECK_TEXT(run(". + 1", "12345678901234567890", ""), "12345678901234567000");
    CHECK_TEXT(run("nan", "1", ""), "null");
}

/* Runs for a while beside others; its input comes back changed as it must be. */
static void *crowd(void *data)
{
    BUF_OWNED struct buf out;
    buf_init(&out, 1000);
    struct problem own = {0};
    struct expr *expr = expr_compile(BYTES("$params.n + ."), NULL, &own);
    bool good = expr != NULL;
    for (int i = 0; good && i < 500; i++) {
        buf_clear(&out);
        good = !expr_run(expr, BYTES("40"), BYTES("{\"params\":{\"n\":2}}"), 1000000, &out, &own) && bytes_equal(buf_bytes(&out), BYTES("42"));
    }
    expr_free(expr);
    return good ? data : NULL;
}

TEST_SLOW(many_threads_run_programs_of_their_own)
{
    pthread_t threads[6];
    for (size_t i = 0; i < 6; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, crowd, threads), 0);
    for (size_t i = 0; i < 6; i++) {
        void *good;
        pthread_join(threads[i], &good);
        CHECK(good == threads);
    }
}

static const char *rendered(const char *text, bool url, const char *input)
{
    BUF_OWNED struct buf program;
    buf_init(&program, 4096);
    problem = (struct problem){0};
    CHECK_INT(expr_template(bytes_of(text), url, &program, &problem), 0);
    return run(buf_z(&program), input, "{\"id\":\"s/1\"}");
}

TEST_SLOW(a_template_is_a_string_with_programs_in_it)
{
    CHECK_TEXT(rendered("plain \"text\"\\n \t", false, "1"), "\"plain \\\"text\\\"\\\\n \\t\"");
    CHECK_TEXT(rendered("a \\(.x) b \\($id)", false, "{\"x\":[1]}"), "\"a [1] b s/1\"");
    CHECK_TEXT(rendered("\\(\"(\" + \"\\(.x + (1))\" + \")\" # :)\n)!", false, "{\"x\":1}"), "\"(2)!\"");
    CHECK_TEXT(rendered("\\\\(not)", false, "1"), "\"\\\\(not)\"");
    CHECK_TEXT(rendered("", false, "1"), "\"\"");
    CHECK_TEXT(rendered("/s?id=\\(.x)&a=b c", true, "{\"x\":\"a&b ü\"}"), "\"/s?id=a%26b%20%C3%BC&a=b c\"");
    CHECK_TEXT(rendered("\\(.u)/x/\\(.x)", true, "{\"u\":\"http://h/?a\",\"x\":\"/\"}"), "\"http://h/?a/x/%2F\"");
    BUF_OWNED struct buf program;
    buf_init(&program, 4096);
    problem = (struct problem){0};
    CHECK_INT(expr_template(BYTES("ab\\(.x \" )"), false, &program, &problem), -1);
    CHECK_TEXT(problem.text, "the \\( at byte 3 of the template has no ) that ends it");
}

TEST_SLOW(a_shelf_keeps_what_was_used_last)
{
    char program[32];
    struct expr_shelf *shelf = expr_shelf_new();
    problem = (struct problem){0};
    struct expr *first = expr_shelf_get(shelf, BYTES(".a"), &problem);
    CHECK(first && expr_shelf_get(shelf, BYTES(".b"), &problem));
    CHECK(!expr_shelf_get(shelf, BYTES(".a +"), &problem));
    for (int i = 0; i < EXPR_SHELF_MAX - 1; i++) {
        CHECK(expr_shelf_get(shelf, (struct bytes){program, (size_t)snprintf(program, sizeof program, "%d", i)}, &problem));
        CHECK(expr_shelf_get(shelf, BYTES(".a"), &problem) == first);
    }
    expr_shelf_free(shelf);
}
