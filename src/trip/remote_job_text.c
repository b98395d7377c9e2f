#include "trip/remote_job.h"

#include "base/text.h"

#include <ctype.h>

struct bytes remote_job_text(struct json_object *of, const char *name)
{
    return of ? json_get_bytes(of, name) : (struct bytes){0};
}

/* The common programs take no worker: a poll of a thousand jobs costs none, and an id is told before anything can come between. */
bool remote_job_walk(struct json_object *tree, struct bytes program, struct json_object **ret)
{
    char name[64];
    program = bytes_trim(program);
    if (program.count < 2 || program.at[0] != '.')
        return false;
    struct json_object *at = tree;
    for (size_t i = 0; i < program.count;) {
        size_t count = 0;
        if (program.at[i++] != '.' || i == program.count || isdigit((unsigned char)program.at[i]))
            return false;
        while (i < program.count && (isalnum((unsigned char)program.at[i]) || program.at[i] == '_') && count < sizeof name - 1)
            name[count++] = program.at[i++];
        if (!count || (i < program.count && program.at[i] != '.'))
            return false;
        name[count] = '\0';
        at = at && json_object_is_type(at, json_type_object) ? json_get(at, name) : NULL;
    }
    *ret = at;
    return true;
}

static void encode(struct buf *buf, struct bytes value)
{
    for (size_t i = 0; i < value.count; i++) {
        unsigned char byte = (unsigned char)value.at[i];
        if (isalnum(byte) || (byte && strchr("-._~", byte)))
            buf_byte(buf, (char)byte);
        else
            buf_print(buf, "%%%02X", byte);
    }
}

void remote_job_param(struct buf *url, struct bytes name, struct bytes value)
{
    buf_byte(url, url->count && memchr(url->at, '?', url->count) ? '&' : '?');
    encode(url, name);
    buf_byte(url, '=');
    encode(url, value);
}

void remote_job_fill(struct bytes text, struct bytes mark, struct bytes id, struct buf *ret)
{
    bool quoted = id.count >= 2 && id.at[0] == '"';
    struct bytes plain = quoted ? (struct bytes){id.at + 1, id.count - 2} : id;
    const char *found = memmem(text.at, text.count, mark.at, mark.count);
    if (!found)
        return;
    buf_add(ret, text.at, (size_t)(found - text.at));
    encode(ret, plain);
    buf_add(ret, found + mark.count, (size_t)(text.at + text.count - found) - mark.count);
}

void remote_job_json_of(struct bytes body, struct buf *ret)
{
    struct problem problem = {0};
    JSON_OWNED struct json_object *tree = json_parse(body, &problem);
    if (tree)
        json_tree(ret, tree);
    else if (bytes_equal(bytes_trim(body), BYTES("null")))
        json_null(ret);
    else
        json_bytes(ret, body);
}

bool remote_job_among(struct json_object *list, struct json_object *value)
{
    if (!list || !json_object_is_type(list, json_type_array))
        return list && value && json_object_equal(list, value);
    for (size_t i = 0; i < json_object_array_length(list); i++)
        if (value && json_object_equal(json_object_array_get_idx(list, i), value))
            return true;
    return false;
}

void remote_job_value(struct json_object *value, struct buf *ret)
{
    if (value)
        json_tree(ret, value);
    else
        json_null(ret);
}
