/* A program is compiled inside a frame of our own:
 *
 *     def env: {}; …  . as $__in | $__in.v.params as $params | … | $__in.i | (
 *     the user's text, beginning on line 2
 *     )
 *
 * so that variables are given anew with each run (jq's own are fixed when a program is compiled), what reaches outside is out of the way, imports are
 * syntax errors, and lines of errors map by taking one off. */
#include "expr/expr.h"
#include "expr/watchdog.h"

#include "base/json.h"
#include "base/json_grammar.h"
#include "base/mem.h"
#include "base/text.h"

#include <jq.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { PROGRAM_BYTES_MAX = 256 << 10, MESSAGE_BYTES_MAX = 4096 };

struct expr {
    jq_state *jq;
};

static const char *const names[] = {EXPR_VARIABLES};
enum { NAMES = sizeof names / sizeof *names };

/* Nothing here may halt: the watchdog alone does. */
static const char guard[] = "def env: {}; def debug: .; def stderr: .; def input_filename: null; def modulemeta: error(\"modulemeta cannot be had here\"); "
                            "def input: error(\"there is no other input\"); def inputs: empty; "
                            "def halt: error(\"halt cannot be had here\"); def halt_error: error; def halt_error($code): error; {} as $ENV | ";

/* ---- compiling ---- */

static void wrap(struct bytes program, struct buf *ret)
{
    buf_text(ret, guard);
    buf_text(ret, ". as $__in | ");
    for (size_t i = 0; i < NAMES; i++)
        buf_print(ret, "$__in.v.%s as $%s | ", names[i], names[i]);
    buf_text(ret, "$__in.i | (\n");
    buf_put(ret, program);
    buf_text(ret, "\n)");
}

static void message_keep(void *data, jv message)
{
    struct buf *first = data;
    message = jv_get_kind(message) == JV_KIND_STRING ? message : jv_dump_string(message, 0);
    if (!first->count)
        buf_add(first, jv_string_value(message), (size_t)jv_string_length_bytes(jv_copy(message)));
    jv_free(message);
}

static struct bytes cut_before(struct bytes text, const char *mark)
{
    const char *at = memmem(text.at, text.count, mark, strlen(mark));
    return at ? (struct bytes){text.at, (size_t)(at - text.at)} : text;
}

static struct bytes line_of(struct bytes text, int line)
{
    while (--line > 0)
        bytes_cut(&text, '\n');
    return bytes_cut(&text, '\n');
}

static int lines_of(struct bytes text)
{
    int lines = 1;
    for (size_t i = 0; i < text.count; i++)
        lines += text.at[i] == '\n';
    return lines;
}

/* jq tells no column; a name that is not defined and stands once in its line has only one. */
static int column_of(struct bytes line, struct bytes sentence)
{
    struct bytes name = cut_before(cut_before(sentence, " is not defined"), "/");
    if (name.count == sentence.count || !name.count)
        return 0;
    const char *first = memmem(line.at, line.count, name.at, name.count);
    if (!first)
        return 0;
    size_t at = (size_t)(first - line.at), after = at + name.count;
    return memmem(line.at + after, line.count - after, name.at, name.count) ? 0 : (int)at + 1;
}

static int number_at(struct bytes text)
{
    int number = 0;
    for (size_t i = 0; i < text.count && text.at[i] >= '0' && text.at[i] <= '9' && number < 100000000; i++)
        number = 10 * number + text.at[i] - '0';
    return number;
}

/* "jq: error: SENTENCE (Unix shell quoting issues?) at <top-level>, line N:\n…" */
static void message_read(struct bytes message, struct bytes program, struct expr_place *ret_place, struct problem *problem)
{
    struct expr_place place = {0};
    bool at_end = false;
    const char *mark = memmem(message.at, message.count, ", line ", 7);
    struct bytes sentence = cut_before(cut_before(message, " at <top-level>"), " (Unix shell");
    if (bytes_start(sentence, BYTES("jq: error: ")))
        sentence = (struct bytes){sentence.at + 11, sentence.count - 11};
    sentence = bytes_trim(bytes_cut(&sentence, '\n'));
    if (mark) {
        int last = lines_of(program), line = number_at((struct bytes){mark + 7, message.count - (size_t)(mark + 7 - message.at)}) - 1;
        at_end = line > last;
        place.line = line < 1 ? 1 : at_end ? last : line;
        place.column = at_end ? 0 : column_of(line_of(program, place.line), sentence);
    }
    if (at_end && memmem(sentence.at, sentence.count, "unexpected ')'", 14))
        sentence = BYTES("syntax error, unexpected end of the program");
    problem_set(problem, "%.*s", sentence.count ? (int)sentence.count : 27, sentence.count ? sentence.at : "jq does not take the program");
    if (ret_place)
        *ret_place = place;
}

static int text_check(struct bytes program, struct problem *problem)
{
    if (program.count > PROGRAM_BYTES_MAX)
        return problem_set(problem, "the program has %zu bytes, at most %d are taken", program.count, PROGRAM_BYTES_MAX);
    if (memchr(program.at ? program.at : "", 0, program.count) || !text_is_utf8(program))
        return problem_set(problem, "the program is no text in UTF-8");
    return 0;
}

static atomic_uint_fast64_t compiled;

uint64_t expr_compiled(void)
{
    return compiled;
}

struct expr *expr_compile(struct bytes program, struct expr_place *ret_place, struct problem *problem)
{
    BUF_OWNED struct buf text, message;
    buf_init(&text, PROGRAM_BYTES_MAX + 4096);
    buf_init(&message, MESSAGE_BYTES_MAX + PROGRAM_BYTES_MAX);
    if (ret_place)
        *ret_place = (struct expr_place){0};
    if (text_check(program, problem))
        return NULL;
    jq_state *jq = jq_init();
    if (!jq) {
        problem_set(problem, "no memory for a program");
        return NULL;
    }
    wrap(bytes_trim(program).count ? program : BYTES("."), &text);
    jq_set_error_cb(jq, message_keep, &message);
    compiled++;
    int good = jq_compile(jq, buf_z(&text));
    jq_set_error_cb(jq, NULL, NULL);
    if (!good) {
        message_read(buf_bytes(&message), program, ret_place, problem);
        jq_teardown(&jq);
        return NULL;
    }
    struct expr *expr = MEM_NEW(struct expr);
    expr->jq = jq;
    return expr;
}

void expr_free(struct expr *expr)
{
    if (!expr)
        return;
    jq_teardown(&expr->jq);
    free(expr);
}

/* ---- running ---- */

static unsigned unit_of(const char *at)
{
    char digits[5] = {at[2], at[3], at[4], at[5], 0};
    return (unsigned)strtoul(digits, NULL, 16);
}

static bool is_escape(const char *at, const char *end)
{
    return end - at >= 6 && at[0] == '\\' && at[1] == 'u';
}

/* JSON may hold half of a surrogate pair, as what cuts texts by UTF-16 leaves of an emoji, and jq takes no such text at all. Each half becomes U+FFFD, which
 * is written as long. */
static jv parse_mended(struct bytes text)
{
    char *copy MEM_OWNED = mem_copy(text.at, text.count);
    for (char *at = copy, *end = copy + text.count; at < end; at++) {
        if (*at != '\\')
            continue;
        unsigned unit = is_escape(at, end) ? unit_of(at) : 0, next = unit && is_escape(at + 6, end) ? unit_of(at + 6) : 0;
        bool pair = unit >= 0xd800 && unit < 0xdc00 && next >= 0xdc00 && next < 0xe000;
        if (!pair && unit >= 0xd800 && unit < 0xe000)
            memcpy(at + 2, "fffd", 4);
        at += pair ? 11 : 1;
    }
    return jv_parse_sized(copy, (int)text.count);
}

static int json_read(struct bytes text, const char *what, jv *ret, struct problem *problem)
{
    size_t at = 0;
    enum json_grammar grammar = json_grammar(text, JSON_DEPTH_MAX, &at);
    if (grammar == JSON_GRAMMAR_DEEP)
        return problem_set(problem, "the %s is nested more than %d deep", what, JSON_DEPTH_MAX);
    if (grammar != JSON_GRAMMAR_GOOD || text.count > INT_MAX)
        return problem_set(problem, "the %s is no JSON at byte %zu", what, at);
    jv value = jv_parse_sized(text.at, (int)text.count);
    if (!jv_is_valid(value)) {
        jv_free(value);
        value = parse_mended(text);
    }
    if (!jv_is_valid(value)) {
        jv_free(value);
        return problem_set(problem, "the %s cannot be read as JSON", what);
    }
    *ret = value;
    return 0;
}

/* {"i": the input, "v": the variables} */
static int world_make(struct bytes input, struct bytes variables, jv *ret, struct problem *problem)
{
    jv in, given = jv_object();
    if (json_read(input, "input", &in, problem)) {
        jv_free(given);
        return -1;
    }
    if (variables.count) {
        jv_free(given);
        if (json_read(variables, "object of variables", &given, problem)) {
            jv_free(in);
            return -1;
        }
    }
    if (jv_get_kind(given) != JV_KIND_OBJECT) {
        jv_free(given);
        given = jv_object();
    }
    *ret = jv_object_set(jv_object_set(jv_object(), jv_string("i"), in), jv_string("v"), given);
    return 0;
}

/* jq's message, whatever it is, as a sentence's text. Takes `outcome`. False: there is none, the outputs are at their end. */
static bool failure(jv outcome, struct problem *problem)
{
    if (!jv_invalid_has_msg(jv_copy(outcome))) {
        jv_free(outcome);
        return false;
    }
    jv message = jv_invalid_get_msg(outcome);
    bool text = jv_get_kind(message) == JV_KIND_STRING;
    if (!text)
        message = jv_dump_string(message, 0);
    BUF_OWNED struct buf clean;
    buf_init(&clean, 8 * MESSAGE_BYTES_MAX);
    struct bytes view = {jv_string_value(message), (size_t)jv_string_length_bytes(jv_copy(message))};
    view.count = text_cut(view, MESSAGE_BYTES_MAX);
    text_clean(&clean, view);
    problem_set(problem, "%s%s", text ? "" : "error: ", clean.count ? buf_z(&clean) : "an error without a text");
    jv_free(message);
    return true;
}

static int output_put(jv value, struct buf *ret, struct problem *problem)
{
    jv text = jv_dump_string(value, 0);
    struct bytes view = {jv_string_value(text), (size_t)jv_string_length_bytes(jv_copy(text))};
    size_t at, before = ret->count, count = view.count;
    enum json_grammar grammar = json_grammar(view, JSON_DEPTH_MAX, &at);
    if (grammar == JSON_GRAMMAR_GOOD)
        buf_put(ret, view);
    jv_free(text);
    if (grammar != JSON_GRAMMAR_GOOD)
        return problem_set(problem, "the output is nested more than %d deep", JSON_DEPTH_MAX);
    if (!buf_ok(ret))
        return problem_set(problem, "the output has more than the %zu bytes that there is room for", ret->max);
    return ret->count == before + count ? 0 : -1;
}

static int output(struct expr *expr, struct buf *ret, struct problem *problem)
{
    jv value = jq_next(expr->jq);
    if (jv_is_valid(value))
        return output_put(value, ret, problem);
    return failure(value, problem) ? -1 : EXPR_NOTHING;
}

int expr_run(struct expr *expr, struct bytes input, struct bytes variables, int64_t limit_us, struct buf *ret, struct problem *problem)
{
    jv world;
    struct watch_run watch;
    if (world_make(input, variables, &world, problem))
        return -1;
    if (!limit_us)
        limit_us = EXPR_TIME_US;
    jq_start(expr->jq, world, 0);
    watch_begin(&watch, expr->jq, limit_us);
    int answer = output(expr, ret, problem);
    if (watch_end(&watch) && answer) {
        if (problem)
            *problem = (struct problem){0};
        answer = problem_set(problem, "the program took longer than its limit of %.3g s", (double)limit_us / 1e6);
    }
    /* What the program still holds would stay until its next run: a large input must not. */
    jq_start(expr->jq, jv_null(), 0);
    return answer;
}
