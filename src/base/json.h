/* JSON, in and out. Reading goes through json-c, made strict: UTF-8, one value, no NaN, no single quotes, no comments,
 * bounded depth. Writing goes straight into a buf: the writer needs no state, it looks at the last byte to know whether
 * a comma is due, so values, keys and whole spliced objects follow one another in any order that is JSON. */
#pragma once
#include "base/buf.h"
#include "base/problem.h"

#include <json-c/json_object.h>
#include <json-c/linkhash.h>

enum { JSON_DEPTH_MAX = 32 };

#define JSON_OWNED __attribute__((cleanup(json_drop)))

/* NULL and a problem ("… at byte 12") when it is not strict JSON. The caller puts it (json_object_put / JSON_OWNED). A bare
 * `null` is refused too: nobody sends one, and it would be indistinguishable. Any thread. */
struct json_object *json_parse(struct bytes text, struct problem *problem);
void json_drop(struct json_object **object);

/* Fields of an object. Missing or of another type: the fallback. Views are borrowed from the object. */
struct json_object *json_get(struct json_object *object, const char *key);      /* NULL when missing */
struct bytes json_get_bytes(struct json_object *object, const char *key);       /* {NULL, 0} when missing or no string */
int64_t json_get_int(struct json_object *object, const char *key, int64_t fallback);
double json_get_real(struct json_object *object, const char *key, double fallback);
bool json_get_bool(struct json_object *object, const char *key, bool fallback);

/* The raw text of one field of an object's text, spliced out without parsing the rest: {NULL, 0} when it is not there. Only for
 * JSON that was checked before (a row's body): on anything else the answer is meaningless, but never outside `object`. */
struct bytes json_span(struct bytes object, const char *key);
/* The same for all fields, one after the other: begin with *rest = the object. The key as it stands there, escapes and all. */
bool json_member(struct bytes *rest, struct bytes *ret_key, struct bytes *ret_value);
/* The same for the elements of an array: begin with *rest = the array. */
bool json_element(struct bytes *rest, struct bytes *ret_value);

void json_open(struct buf *buf, char bracket);       /* '{' or '[', with a comma before it if one is due */
void json_close(struct buf *buf, char bracket);      /* '}' or ']' */
void json_key(struct buf *buf, const char *key);     /* a plain key that needs no escape */
void json_key_bytes(struct buf *buf, struct bytes key);      /* any key */
void json_bytes(struct buf *buf, struct bytes text);         /* a string; invalid UTF-8 becomes U+FFFD */
void json_text(struct buf *buf, const char *text);           /* a string, or null for NULL */
void json_int(struct buf *buf, int64_t value);
void json_real(struct buf *buf, double value);               /* shortest of up to 15 digits; null for NaN and infinities */
void json_flag(struct buf *buf, bool value);
void json_null(struct buf *buf);
void json_raw(struct buf *buf, struct bytes json);           /* splice ready JSON, without the space around it */
/* A key and its value at once. */
void json_put_bytes(struct buf *buf, const char *key, struct bytes text);
void json_put_text(struct buf *buf, const char *key, const char *text);
void json_put_int(struct buf *buf, const char *key, int64_t value);
void json_put_real(struct buf *buf, const char *key, double value);
void json_put_flag(struct buf *buf, const char *key, bool value);
void json_put_raw(struct buf *buf, const char *key, struct bytes json);
void json_tree(struct buf *buf, struct json_object *object);    /* a json-c tree, plain, UTF-8, slashes not escaped */
