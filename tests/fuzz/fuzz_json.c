/* JSON: our grammar against RFC 8259 written down once more as a machine with a stack, json-c as the third opinion, and values that go round: read,
 * written, read again, and cut out of their text. The first byte says how the rest is taken: as a text, or as choices of what to write. */
#include "fuzz.h"

#include "base/json.h"
#include "base/json_grammar.h"
#include "base/text.h"

#include <json-c/json_tokener.h>
#include <math.h>

enum { DEPTH = 12 };

/* ---- the paper once more: one state and a stack of brackets ---- */

enum state { VALUE, AFTER, FIRST_KEY, KEY, COLON, FIRST_VALUE };

static bool is_digit(struct bytes text)
{
    return text.count && text.at[0] >= '0' && text.at[0] <= '9';
}

static void skip(struct bytes *text, size_t count)
{
    *text = (struct bytes){text->at + count, text->count - count};
}

static bool take(struct bytes *text, const char *any)
{
    if (!text->count || !text->at[0] || !strchr(any, text->at[0]))
        return false;
    skip(text, 1);
    return true;
}

static bool take_digits(struct bytes *text)
{
    bool some = is_digit(*text);
    while (is_digit(*text))
        skip(text, 1);
    return some;
}

static bool take_number(struct bytes *text)
{
    take(text, "-");
    if (!take(text, "0") && !take_digits(text))
        return false;
    if (take(text, ".") && !take_digits(text))
        return false;
    if (take(text, "eE")) {
        take(text, "+-");
        return take_digits(text);
    }
    return true;
}

static bool take_string(struct bytes *text)
{
    skip(text, 1);
    while (text->count && text->at[0] != '"') {
        if ((unsigned char)text->at[0] < ' ')
            return false;
        if (!take(text, "\\")) {
            size_t count;
            if (text_decode(*text, &count) < 0)
                return false;
            skip(text, count);
        } else if (take(text, "u")) {
            for (int i = 0; i < 4; i++)
                if (!take(text, "0123456789abcdefABCDEF"))
                    return false;
        } else if (!take(text, "\"\\/bfnrt")) {
            return false;
        }
    }
    return take(text, "\"");
}

static bool take_scalar(struct bytes *text)
{
    static const char *const words[] = {"true", "false", "null"};
    if (text->at[0] == '"')
        return take_string(text);
    for (int i = 0; i < 3; i++)
        if (bytes_start(*text, bytes_of(words[i]))) {
            skip(text, strlen(words[i]));
            return true;
        }
    return take_number(text);
}

/* 0 good, 1 wrong, 2 too deep first. */
static int machine(struct bytes text, unsigned depth_max)
{
    char stack[64];
    unsigned depth = 0;
    enum state state = VALUE;
    for (;;) {
        while (take(&text, " \t\r\n"))
            ;
        if (!text.count)
            return state == AFTER && !depth ? 0 : 1;
        char c = text.at[0];
        if (state == AFTER) {
            if (!depth)
                return 1;
            if (c == ',')
                state = stack[depth - 1] == '{' ? KEY : VALUE;
            else if (c == (stack[depth - 1] == '{' ? '}' : ']'))
                depth--;
            else
                return 1;
            skip(&text, 1);
        } else if ((state == FIRST_KEY && c == '}') || (state == FIRST_VALUE && c == ']')) {
            depth--;
            state = AFTER;
            skip(&text, 1);
        } else if (state == COLON) {
            if (!take(&text, ":"))
                return 1;
            state = VALUE;
        } else if (state == KEY || state == FIRST_KEY) {
            if (c != '"' || !take_string(&text))
                return 1;
            state = COLON;
        } else if (c == '{' || c == '[') {
            if (depth == depth_max)
                return 2;
            stack[depth++] = c;
            state = c == '{' ? FIRST_KEY : FIRST_VALUE;
            skip(&text, 1);
        } else {
            if (!take_scalar(&text))
                return 1;
            state = AFTER;
        }
    }
}

/* ---- values go round ---- */

/* Members as json_member finds them are those of the tree, in their order. */
static void check_members(struct bytes text, struct json_object *tree)
{
    struct bytes rest = text, key, value;
    json_object_object_foreach(tree, name, member)
    {
        size_t at;
        fuzz_must(json_member(&rest, &key, &value), "each member is found");
        fuzz_must(json_grammar(value, 64, &at) == JSON_GRAMMAR_GOOD, "the text of a member is JSON");
        struct json_object *again JSON_OWNED = json_parse(value, NULL);
        fuzz_must(json_object_equal(again, member), "and is that member");
        if (!memchr(key.at, '\\', key.count)) {
            fuzz_must(bytes_equal(key, bytes_of(name)) || strlen(name) < key.count, "under its key");
            struct bytes span = json_span(text, name);
            if (strlen(name) == key.count)
                fuzz_must(span.at == value.at && span.count == value.count, "which finds it alone too");
        }
    }
    fuzz_must(!json_member(&rest, &key, &value), "there are no more");
    json_span(text, "no such member");
}

/* Whether a key is in an object twice, or holds a NUL, where trees and texts part. */
static bool is_odd(struct bytes text)
{
    return memmem(text.at, text.count, "\\u0000", 6) != NULL;
}

static void check_round(struct json_object *tree, struct bytes source)
{
    struct buf text BUF_OWNED;
    size_t at;
    buf_init(&text, 1 << 20);
    json_tree(&text, tree);
    struct problem problem = {0};
    fuzz_must(json_grammar(buf_bytes(&text), DEPTH + 40, &at) == JSON_GRAMMAR_GOOD, "what is written is JSON");
    fuzz_must(!memchr(text.at, '\n', text.count), "on one line");
    struct json_object *again JSON_OWNED = json_parse(buf_bytes(&text), &problem);
    fuzz_must(again && json_object_equal(tree, again), "read again it is the same");
    if (json_object_is_type(tree, json_type_object) && !is_odd(source))
        check_members(buf_bytes(&text), tree);
}

static bool json_c_takes(struct bytes text)
{
    json_tokener *tokener = json_tokener_new_ex(64);
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
    struct json_object *object JSON_OWNED = json_tokener_parse_ex(tokener, text.at, (int)text.count);
    enum json_tokener_error error = json_tokener_get_error(tokener);
    if (error == json_tokener_continue) {
        json_drop(&object);
        object = json_tokener_parse_ex(tokener, "", 1);
        error = json_tokener_get_error(tokener);
    }
    json_tokener_free(tokener);
    return error == json_tokener_success;
}

static void check_text(struct bytes text)
{
    size_t at = 0;
    enum json_grammar answer = json_grammar(text, DEPTH, &at);
    int want = machine(text, DEPTH);
    fuzz_must(at <= text.count, "the place of a mistake is in the text");
    fuzz_must((int)answer == want, "the grammar is the paper's");
    struct problem problem = {0};
    struct json_object *tree JSON_OWNED = json_parse(text, &problem);
    struct bytes bare = bytes_trim(text);
    fuzz_check_problem(&problem, !tree);
    if (answer == JSON_GRAMMAR_GOOD) {
        bool null = !tree && memmem(bare.at, bare.count, "null", 4);
        fuzz_must(tree || null, "what is JSON is read");
        fuzz_must(json_c_takes(text) || memchr(text.at, 0x7f, text.count) || !tree, "and json-c reads it too");
    } else if (answer == JSON_GRAMMAR_WRONG) {
        fuzz_must(!tree, "what is no JSON is not read");
    }
    if (tree)
        check_round(tree, text);
    struct bytes rest = text, key, value;              /* on anything else: no answer, but nothing outside */
    for (int i = 0; i < 100 && json_member(&rest, &key, &value); i++)
        fuzz_must(value.at >= text.at && value.at + value.count <= text.at + text.count, "a member lies in its text");
    value = json_span(text, "a");
    fuzz_must(!value.at || (value.at >= text.at && value.at + value.count <= text.at + text.count), "a span lies in its text");
}

/* ---- writing ---- */

static void write_value(struct bytes *input, struct buf *text, int depth, struct json_object **ret)
{
    double real;
    uint64_t bits;
    switch (fuzz_below(input, depth < 5 ? 8 : 6)) {
    case 0: json_null(text); *ret = NULL; return;
    case 1: json_flag(text, (bits = fuzz_byte(input) & 1) != 0); *ret = json_object_new_boolean((int)bits); return;
    case 2: json_int(text, (int64_t)(bits = fuzz_number(input, 8))); *ret = json_object_new_int64((int64_t)bits); return;
    case 3:
        bits = fuzz_number(input, 8);
        memcpy(&real, &bits, sizeof real);
        json_real(text, real);
        *ret = isfinite(real) ? json_object_new_double(real) : NULL;
        return;
    case 4: json_int(text, (int8_t)(bits = fuzz_byte(input))); *ret = json_object_new_int64((int8_t)bits); return;
    case 5: {
        struct bytes piece = fuzz_piece(input, 40);
        json_bytes(text, piece);
        *ret = text_is_utf8(piece) ? json_object_new_string_len(piece.at, (int)piece.count) : json_object_new_string("?");
        return;
    }
    case 6:
        *ret = json_object_new_array();
        json_open(text, '[');
        for (uint64_t left = fuzz_below(input, 5); left; left--) {
            struct json_object *inner;
            write_value(input, text, depth + 1, &inner);
            json_object_array_add(*ret, inner);
        }
        json_close(text, ']');
        return;
    default:
        *ret = json_object_new_object();
        json_open(text, '{');
        for (uint64_t left = fuzz_below(input, 5); left; left--) {
            struct json_object *inner;
            char key[16] = {(char)('a' + left), 0};
            struct bytes tail = fuzz_piece(input, 8);
            if (text_is_utf8(tail) && !memchr(tail.at ? tail.at : "", 0, tail.count))
                memcpy(key + 1, tail.at ? tail.at : "", tail.count);
            json_key_bytes(text, bytes_of(key));
            write_value(input, text, depth + 1, &inner);
            json_object_object_add(*ret, key, inner);
        }
        json_close(text, '}');
    }
}

static bool same(struct json_object *have, struct json_object *want)
{
    if (json_object_is_type(want, json_type_string) && !strcmp(json_object_get_string(want), "?"))
        return json_object_is_type(have, json_type_string);
    if (json_object_is_type(want, json_type_double)) {
        double a = json_object_get_double(have), b = json_object_get_double(want);
        return fabs(a - b) <= fabs(b) * 1e-14 || (fabs(b) > 1.7e308 && isinf(a));
    }
    if (json_object_is_type(want, json_type_array)) {
        size_t count = json_object_array_length(want);
        bool good = json_object_is_type(have, json_type_array) && json_object_array_length(have) == count;
        for (size_t i = 0; good && i < count; i++)
            good = same(json_object_array_get_idx(have, i), json_object_array_get_idx(want, i));
        return good;
    }
    if (json_object_is_type(want, json_type_object)) {
        bool good = json_object_is_type(have, json_type_object) && json_object_object_length(have) == json_object_object_length(want);
        json_object_object_foreach(want, key, value)
            good = good && same(json_get(have, key), value);
        return good;
    }
    return json_object_equal(have, want);
}

static void check_writing(struct bytes *input)
{
    struct buf text BUF_OWNED;
    struct json_object *want JSON_OWNED = NULL;
    struct problem problem = {0};
    size_t at;
    buf_init(&text, 1 << 20);
    write_value(input, &text, 0, &want);
    fuzz_must(json_grammar(buf_bytes(&text), JSON_DEPTH_MAX, &at) == JSON_GRAMMAR_GOOD, "what is written is JSON");
    fuzz_must(machine(buf_bytes(&text), JSON_DEPTH_MAX) == 0, "by the paper too");
    for (size_t i = 0; i < text.count; i++)
        fuzz_must((unsigned char)text.at[i] >= ' ' && text.at[i] != 0x7f, "no control character goes out as it is");
    if (!want)
        return;
    struct json_object *have JSON_OWNED = json_parse(buf_bytes(&text), &problem);
    fuzz_must(have && same(have, want), "what was written is read");
}

FUZZ_TARGET(json)
{
    if (fuzz_byte(&input) & 1)
        check_writing(&input);
    else
        check_text(input);
}
