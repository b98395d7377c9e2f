#include "base/json.h"

#include "base/json_grammar.h"
#include "base/mem.h"
#include "base/text.h"

#include <assert.h>
#include <json-c/json_tokener.h>
#include <math.h>
#include <stdio.h>

void json_drop(struct json_object **object)
{
    json_object_put(*object);
    *object = NULL;
}

/* The grammar was found good. json-c does not always say when it had no memory for a part, so it is not to get into that. */
static struct json_object *tree_of(struct bytes text, struct problem *problem)
{
    json_tokener *tokener = json_tokener_new_ex(JSON_DEPTH_MAX + 2);    /* the grammar has decided about depth */
    assert(tokener);
    struct json_object *object = json_tokener_parse_ex(tokener, text.at, (int)text.count);
    enum json_tokener_error error = json_tokener_get_error(tokener);
    if (error == json_tokener_continue) {    /* a bare number ends only with the text */
        object = json_tokener_parse_ex(tokener, "", 1);
        error = json_tokener_get_error(tokener);
    }
    if (!object)
        problem_set(problem, "not valid JSON: %s", error == json_tokener_success ? "a bare null" : json_tokener_error_desc(error));
    json_tokener_free(tokener);
    return object;
}

struct json_object *json_parse(struct bytes text, struct problem *problem)
{
    size_t at = 0;
    if (text.count > INT32_MAX - 1) {
        problem_set(problem, "JSON of %zu bytes is too long", text.count);
        return NULL;
    }
    switch (json_grammar(text, JSON_DEPTH_MAX, &at)) {
    case JSON_GRAMMAR_GOOD:
        break;
    case JSON_GRAMMAR_DEEP:
        problem_set(problem, "JSON nested deeper than %d levels at byte %zu", JSON_DEPTH_MAX, at);
        return NULL;
    case JSON_GRAMMAR_WRONG:
        problem_set(problem, "not valid JSON at byte %zu", at);
        return NULL;
    }
    mem_firm(true);
    struct json_object *object = tree_of(text, problem);
    mem_firm(false);
    return object;
}

struct json_object *json_get(struct json_object *object, const char *key)
{
    struct json_object *value = NULL;
    if (json_object_is_type(object, json_type_object))
        json_object_object_get_ex(object, key, &value);
    return value;
}

struct bytes json_get_bytes(struct json_object *object, const char *key)
{
    struct json_object *value = json_get(object, key);
    if (!json_object_is_type(value, json_type_string))
        return (struct bytes){0};
    return (struct bytes){json_object_get_string(value), (size_t)json_object_get_string_len(value)};
}

int64_t json_get_int(struct json_object *object, const char *key, int64_t fallback)
{
    struct json_object *value = json_get(object, key);
    return json_object_is_type(value, json_type_int) ? json_object_get_int64(value) : fallback;
}

double json_get_real(struct json_object *object, const char *key, double fallback)
{
    struct json_object *value = json_get(object, key);
    bool number = json_object_is_type(value, json_type_double) || json_object_is_type(value, json_type_int);
    return number ? json_object_get_double(value) : fallback;
}

bool json_get_bool(struct json_object *object, const char *key, bool fallback)
{
    struct json_object *value = json_get(object, key);
    return json_object_is_type(value, json_type_boolean) ? json_object_get_boolean(value) : fallback;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static struct bytes without_space(struct bytes text)
{
    while (text.count && is_space(*text.at))
        text.at++, text.count--;
    while (text.count && is_space(text.at[text.count - 1]))
        text.count--;
    return text;
}

/* The end of the value that starts at `i`. */
static size_t value_end(struct bytes text, size_t i)
{
    size_t depth = 0;
    for (; i < text.count; i++) {
        char c = text.at[i];
        if (c == '"') {
            for (i++; i < text.count && text.at[i] != '"'; i++)
                i += text.at[i] == '\\';
        } else if (c == '{' || c == '[') {
            depth++;
        } else if (c == '}' || c == ']') {
            if (!depth--)
                break;
        } else if (c == ',' && !depth) {
            break;
        }
    }
    return i < text.count ? i : text.count;
}

struct bytes json_span(struct bytes object, const char *key)
{
    size_t length = strlen(key);
    for (size_t i = 1; i + 1 < object.count;) {
        size_t name = i + 1;
        for (i = name; i < object.count && object.at[i] != '"'; i++)
            i += object.at[i] == '\\';
        size_t start = i + 2, end = value_end(object, start);
        if (start > end)
            break;
        if (i - name == length && !memcmp(object.at + name, key, length))
            return (struct bytes){object.at + start, end - start};
        i = end + 1;
    }
    return (struct bytes){0};
}

bool json_member(struct bytes *rest, struct bytes *ret_key, struct bytes *ret_value)
{
    size_t i = 0, name, end;
    while (i < rest->count && rest->at[i] != '"')
        i++;
    for (name = ++i; i < rest->count && rest->at[i] != '"'; i++)
        i += rest->at[i] == '\\';
    if (i >= rest->count)
        return false;
    *ret_key = (struct bytes){rest->at + name, i - name};
    while (i < rest->count && rest->at[i] != ':')
        i++;
    end = value_end(*rest, i < rest->count ? i + 1 : i);
    if (i >= end)
        return false;
    *ret_value = bytes_trim((struct bytes){rest->at + i + 1, end - i - 1});
    rest->at += end;
    rest->count -= end;
    return true;
}

bool json_element(struct bytes *rest, struct bytes *ret_value)
{
    size_t i = 0, end;
    while (i < rest->count && is_space(rest->at[i]))
        i++;
    if (i >= rest->count || (rest->at[i] != '[' && rest->at[i] != ','))      /* it opens the array, or parts the last element from this */
        return false;
    end = value_end(*rest, i + 1);
    *ret_value = without_space((struct bytes){rest->at + i + 1, end - i - 1});
    rest->at += end;
    rest->count -= end;
    return ret_value->count > 0;
}

static void comma(struct buf *buf)
{
    char last = buf->count ? buf->at[buf->count - 1] : '{';
    if (last == '"' || last == '}' || last == ']' || (last >= '0' && last <= '9') || (last >= 'a' && last <= 'z'))
        buf_byte(buf, ',');
}

void json_open(struct buf *buf, char bracket)
{
    comma(buf);
    buf_byte(buf, bracket);
}

void json_close(struct buf *buf, char bracket)
{
    buf_byte(buf, bracket);
}

void json_key(struct buf *buf, const char *key)
{
    comma(buf);
    buf_byte(buf, '"');
    buf_text(buf, key);
    buf_text(buf, "\":");
}

static void escape(struct buf *buf, unsigned char c)
{
    static const char *const names[] = {['\b'] = "\\b", ['\t'] = "\\t", ['\n'] = "\\n", ['\f'] = "\\f", ['\r'] = "\\r"};
    if (c < sizeof names / sizeof *names && names[c])
        buf_text(buf, names[c]);
    else if (c < ' ' || c == 0x7f)
        buf_print(buf, "\\u%04x", c);
    else {
        buf_byte(buf, '\\');
        buf_byte(buf, (char)c);
    }
}

static void string(struct buf *buf, struct bytes text)
{
    buf_byte(buf, '"');
    while (text.count) {
        size_t plain = 0, count;
        int32_t code = 0;
        while (plain < text.count) {
            unsigned char c = (unsigned char)text.at[plain];
            if (c >= ' ' && c < 0x7f && c != '"' && c != '\\') {
                plain++;
                continue;
            }
            code = text_decode((struct bytes){text.at + plain, text.count - plain}, &count);
            if (code < ' ' || code == '"' || code == '\\' || code == 0x7f)
                break;
            plain += count;
        }
        buf_add(buf, text.at, plain);
        text.at += plain;
        text.count -= plain;
        if (!text.count)
            break;
        if (code < 0)
            buf_text(buf, "\xef\xbf\xbd");
        else
            escape(buf, (unsigned char)code);
        text.at++;
        text.count--;
    }
    buf_byte(buf, '"');
}

void json_key_bytes(struct buf *buf, struct bytes key)
{
    comma(buf);
    string(buf, key);
    buf_byte(buf, ':');
}

void json_bytes(struct buf *buf, struct bytes text)
{
    comma(buf);
    string(buf, text);
}

void json_text(struct buf *buf, const char *text)
{
    if (text)
        json_bytes(buf, bytes_of(text));
    else
        json_null(buf);
}

void json_int(struct buf *buf, int64_t value)
{
    char digits[24], *at = digits + sizeof digits;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do
        *--at = (char)('0' + rest % 10);
    while (rest /= 10);
    if (value < 0)
        *--at = '-';
    comma(buf);
    buf_add(buf, at, (size_t)(digits + sizeof digits - at));
}

void json_real(struct buf *buf, double value)
{
    if (!isfinite(value)) {
        json_null(buf);
        return;
    }
    comma(buf);
    buf_print(buf, "%.15g", value);
}

void json_flag(struct buf *buf, bool value)
{
    comma(buf);
    buf_text(buf, value ? "true" : "false");
}

void json_null(struct buf *buf)
{
    comma(buf);
    buf_text(buf, "null");
}

void json_raw(struct buf *buf, struct bytes json)
{
    comma(buf);
    buf_put(buf, without_space(json));      /* the last byte is what the next comma goes by */
}

void json_tree(struct buf *buf, struct json_object *object)
{
    comma(buf);
    buf_text(buf, json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
}

void json_put_bytes(struct buf *buf, const char *key, struct bytes text)
{
    json_key(buf, key);
    json_bytes(buf, text);
}

void json_put_text(struct buf *buf, const char *key, const char *text)
{
    json_key(buf, key);
    json_text(buf, text);
}

void json_put_int(struct buf *buf, const char *key, int64_t value)
{
    json_key(buf, key);
    json_int(buf, value);
}

void json_put_real(struct buf *buf, const char *key, double value)
{
    json_key(buf, key);
    json_real(buf, value);
}

void json_put_flag(struct buf *buf, const char *key, bool value)
{
    json_key(buf, key);
    json_flag(buf, value);
}

void json_put_raw(struct buf *buf, const char *key, struct bytes json)
{
    json_key(buf, key);
    json_raw(buf, json);
}
