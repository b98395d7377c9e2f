#include "readers/firestore.h"

#include "base/mem.h"
#include "base/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { ANSWER_BYTES = 4 * 1024 * 1024, CALL_TIMEOUT_US = 60000000, SCAFFOLD_BYTES = 4096 };

/* ---- values ---- */

static int64_t put_value(struct buf *buf, struct json_object *value, int depth, bool in_array);

static int64_t put_typed(struct buf *buf, const char *type, struct bytes text)
{
    json_open(buf, '{');
    json_put_bytes(buf, type, text);
    json_close(buf, '}');
    return (int64_t)text.count + 1;
}

static int64_t put_whole(struct buf *buf, int64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)value);
    put_typed(buf, "integerValue", bytes_of(text));
    return 8;
}

static int64_t put_real(struct buf *buf, double value)
{
    char text[40];
    snprintf(text, sizeof text, "%.17g", isfinite(value) ? value : 0);
    json_open(buf, '{');
    json_put_raw(buf, "doubleValue", bytes_of(text));
    json_close(buf, '}');
    return 8;
}

static int64_t put_flag(struct buf *buf, bool value)
{
    json_open(buf, '{');
    json_put_flag(buf, "booleanValue", value);
    json_close(buf, '}');
    return 1;
}

static int64_t put_null(struct buf *buf)
{
    json_open(buf, '{');
    json_key(buf, "nullValue");
    json_null(buf);
    json_close(buf, '}');
    return 1;
}

/* Firestore wants a name, and keeps __…__ for itself. */
static int64_t put_name(struct buf *buf, const char *name)
{
    size_t count = strlen(name);
    char other[1024];
    bool kept = count >= 4 && !strncmp(name, "__", 2) && !strcmp(name + count - 2, "__");
    if (!count || kept) {
        snprintf(other, sizeof other, "field%s", count < sizeof other - 8 ? name : "");
        name = other;
    }
    json_key_bytes(buf, bytes_of(name));
    return (int64_t)strlen(name) + 1;
}

static int64_t put_map(struct buf *buf, struct json_object *value, int depth)
{
    int64_t size = 0;
    json_open(buf, '{');
    json_key(buf, "mapValue");
    json_open(buf, '{');
    json_key(buf, "fields");
    json_open(buf, '{');
    json_object_object_foreach(value, name, member) {
        size += put_name(buf, name);
        size += put_value(buf, member, depth + 1, false);
    }
    json_close(buf, '}');
    json_close(buf, '}');
    json_close(buf, '}');
    return size;
}

static int64_t put_slice(struct buf *buf, struct json_object *array, size_t from, size_t to, int depth)
{
    int64_t size = 0;
    json_open(buf, '{');
    json_key(buf, "arrayValue");
    json_open(buf, '{');
    json_key(buf, "values");
    json_open(buf, '[');
    for (size_t i = from; i < to; i++)
        size += put_value(buf, json_object_array_get_idx(array, i), depth + 1, true);
    json_close(buf, ']');
    json_close(buf, '}');
    json_close(buf, '}');
    return size;
}

static int64_t put_wrapped(struct buf *buf, struct json_object *array, int depth)
{
    json_open(buf, '{');
    json_key(buf, "mapValue");
    json_open(buf, '{');
    json_key(buf, "fields");
    json_open(buf, '{');
    json_key(buf, "values");
    int64_t size = put_slice(buf, array, 0, json_object_array_length(array), depth + 1);
    json_close(buf, '}');
    json_close(buf, '}');
    json_close(buf, '}');
    return size + 7;
}

static bool is_nested(enum json_type type)
{
    return type == json_type_array || type == json_type_object;
}

static int64_t put_value(struct buf *buf, struct json_object *value, int depth, bool in_array)
{
    enum json_type type = value ? json_object_get_type(value) : json_type_null;
    if (is_nested(type) && depth + 2 > FIRESTORE_DEPTH) {
        const char *text = json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
        return put_typed(buf, "stringValue", bytes_of(text));
    }
    switch (type) {
    case json_type_boolean: return put_flag(buf, json_object_get_boolean(value));
    case json_type_int: return put_whole(buf, json_object_get_int64(value));
    case json_type_double: return put_real(buf, json_object_get_double(value));
    case json_type_string:
        return put_typed(buf, "stringValue", (struct bytes){json_object_get_string(value), json_object_get_string_len(value)});
    case json_type_object: return put_map(buf, value, depth);
    case json_type_array:
        return in_array ? put_wrapped(buf, value, depth) : put_slice(buf, value, 0, json_object_array_length(value), depth);
    case json_type_null: break;
    }
    return put_null(buf);
}

static int64_t size_of(struct json_object *value, int depth, bool in_array)
{
    enum json_type type = value ? json_object_get_type(value) : json_type_null;
    int64_t size = 0;
    if (is_nested(type) && depth + 2 > FIRESTORE_DEPTH)
        return (int64_t)strlen(json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)) + 1;
    if (type == json_type_string)
        return json_object_get_string_len(value) + 1;
    if (type == json_type_int || type == json_type_double)
        return 8;
    if (type == json_type_object) {
        json_object_object_foreach(value, name, member)
            size += (int64_t)strlen(name) + 8 + size_of(member, depth + 1, false);
        return size;
    }
    if (type == json_type_array) {
        int inner = in_array ? depth + 2 : depth + 1;
        for (size_t i = 0; i < json_object_array_length(value); i++)
            size += size_of(json_object_array_get_idx(value, i), inner, true);
        return size + (in_array ? 7 : 0);
    }
    return 1;
}

int64_t firestore_size(struct json_object *value)
{
    return size_of(value, 1, true);
}

/* ---- documents ---- */

void firestore_doc_init(struct firestore_doc *doc, size_t max)
{
    buf_init(&doc->fields, max);
    buf_init(&doc->mask, SCAFFOLD_BYTES);
    buf_init(&doc->transforms, max);
    doc->size = 0;
}

void firestore_doc_done(struct firestore_doc *doc)
{
    buf_done(&doc->fields);
    buf_done(&doc->mask);
    buf_done(&doc->transforms);
}

bool firestore_doc_ok(const struct firestore_doc *doc)
{
    return buf_ok(&doc->fields) && buf_ok(&doc->mask) && buf_ok(&doc->transforms);
}

struct firestore_mark firestore_mark(const struct firestore_doc *doc)
{
    return (struct firestore_mark){doc->fields.count, doc->mask.count, doc->size};
}

void firestore_rewind(struct firestore_doc *doc, struct firestore_mark mark)
{
    doc->fields.count = mark.fields;
    doc->mask.count = mark.mask;
    doc->fields.failed = doc->mask.failed = false;      /* what is left was written before anything failed */
    doc->size = mark.size;
}

static void begin_field(struct firestore_doc *doc, const char *name)
{
    json_text(&doc->mask, name);
    json_key(&doc->fields, name);
    doc->size += (int64_t)strlen(name) + 1;
}

void firestore_put_bytes(struct firestore_doc *doc, const char *name, struct bytes text)
{
    begin_field(doc, name);
    doc->size += put_typed(&doc->fields, "stringValue", text);
}

void firestore_put_int(struct firestore_doc *doc, const char *name, int64_t value)
{
    begin_field(doc, name);
    doc->size += put_whole(&doc->fields, value);
}

void firestore_put_real(struct firestore_doc *doc, const char *name, double value)
{
    begin_field(doc, name);
    doc->size += put_real(&doc->fields, value);
}

void firestore_put_flag(struct firestore_doc *doc, const char *name, bool value)
{
    begin_field(doc, name);
    doc->size += put_flag(&doc->fields, value);
}

void firestore_put_time(struct firestore_doc *doc, const char *name, int64_t wall_us)
{
    char text[TEXT_TIME_SIZE];
    text_time(wall_us, text);
    begin_field(doc, name);
    put_typed(&doc->fields, "timestampValue", bytes_of(text));
    doc->size += 8;
}

void firestore_put_null(struct firestore_doc *doc, const char *name)
{
    begin_field(doc, name);
    doc->size += put_null(&doc->fields);
}

void firestore_put_json(struct firestore_doc *doc, const char *name, struct json_object *value)
{
    begin_field(doc, name);
    doc->size += put_value(&doc->fields, value, 0, false);
}

void firestore_put_slice(struct firestore_doc *doc, const char *name, struct json_object *array, size_t from, size_t to)
{
    begin_field(doc, name);
    doc->size += put_slice(&doc->fields, array, from, to, 0);
}

void firestore_put_missing(struct firestore_doc *doc, const char *name, const int64_t *values, size_t count)
{
    struct buf *buf = &doc->transforms;
    json_open(buf, '{');
    json_put_text(buf, "fieldPath", name);
    json_key(buf, "appendMissingElements");
    json_open(buf, '{');
    json_key(buf, "values");
    json_open(buf, '[');
    for (size_t i = 0; i < count; i++)
        put_whole(buf, values[i]);
    json_close(buf, ']');
    json_close(buf, '}');
    json_close(buf, '}');
}

static void put_condition(struct buf *writes, enum firestore_when when, struct bytes update_time)
{
    if (when == FIRESTORE_ALWAYS)
        return;
    json_key(writes, "currentDocument");
    json_open(writes, '{');
    if (when == FIRESTORE_MISSING)
        json_put_flag(writes, "exists", false);
    else
        json_put_bytes(writes, "updateTime", update_time);
    json_close(writes, '}');
}

/* What was gathered as members stands between brackets of its own. */
static void put_members(struct buf *buf, const char *key, char bracket, const struct buf *members)
{
    json_key(buf, key);
    json_open(buf, bracket);
    buf_put(buf, buf_bytes(members));
    json_close(buf, bracket == '{' ? '}' : ']');
}

void firestore_put_write(struct buf *writes, const struct firestore_doc *doc, struct bytes name, enum firestore_when when,
                         struct bytes update_time)
{
    json_open(writes, '{');
    json_key(writes, "update");
    json_open(writes, '{');
    json_put_bytes(writes, "name", name);
    put_members(writes, "fields", '{', &doc->fields);
    json_close(writes, '}');
    json_key(writes, "updateMask");
    json_open(writes, '{');
    put_members(writes, "fieldPaths", '[', &doc->mask);
    json_close(writes, '}');
    if (doc->transforms.count)
        put_members(writes, "updateTransforms", '[', &doc->transforms);
    put_condition(writes, when, update_time);
    json_close(writes, '}');
}

bool firestore_path_ok(struct bytes path)
{
    int parts = 0;
    for (struct bytes rest = path; rest.count; parts++) {
        struct bytes part = bytes_cut(&rest, '/');
        bool kept = part.count >= 4 && bytes_start(part, BYTES("__")) && part.at[part.count - 1] == '_' && part.at[part.count - 2] == '_';
        if (!part.count || part.count > 1500 || kept || bytes_equal(part, BYTES(".")) || bytes_equal(part, BYTES("..")))
            return false;
    }
    return parts && parts % 2 == 0 && path.at[path.count - 1] != '/';
}

/* ---- calls ---- */

struct firestore {
    struct loop *loop;
    struct fetch *fetch;
    struct google_auth *auth;         /* NULL: the emulator */
    char *base;                       /* "https://firestore.googleapis.com/v1/" */
    char *root;                       /* "projects/P/databases/D" */
};

struct firestore_call {
    struct firestore *firestore;
    const char *method;
    char *url, *body;
    size_t body_count;
    struct google_auth_wait wait;
    struct fetch_call *fetch;
    firestore_fn *done;
    void *data;
};

static const char *text_or(const char *text, const char *other)
{
    return text && text[0] ? text : other;
}

int firestore_open(struct loop *loop, struct fetch *fetch, const struct firestore_options *options, struct firestore **ret,
                   struct problem *problem)
{
    const char *emulator = text_or(getenv("FIRESTORE_EMULATOR_HOST"), NULL);
    struct google_auth *auth = NULL;
    struct buf text BUF_OWNED;
    buf_init(&text, SCAFFOLD_BYTES);
    if (!emulator && google_auth_open(loop, fetch, options->credentials, "https://www.googleapis.com/auth/datastore", &auth, problem))
        return -1;
    const char *project = text_or(options->project, text_or(auth ? google_auth_project(auth) : NULL, getenv("GOOGLE_CLOUD_PROJECT")));
    if (!project || !project[0]) {
        google_auth_close(auth);
        return problem_set(problem, "firestore needs a project: give `project`, or credentials that name one, or GOOGLE_CLOUD_PROJECT");
    }
    struct firestore *firestore = MEM_NEW(struct firestore);
    firestore->loop = loop;
    firestore->fetch = fetch;
    firestore->auth = auth;
    buf_print(&text, "%s%s/v1/", emulator ? "http://" : "https://", emulator ? emulator : "firestore.googleapis.com");
    firestore->base = mem_text(buf_z(&text));
    buf_clear(&text);
    buf_print(&text, "projects/%s/databases/%s", project, text_or(options->database, "(default)"));
    firestore->root = mem_text(buf_z(&text));
    *ret = firestore;
    return 0;
}

void firestore_close(struct firestore *firestore)
{
    if (!firestore)
        return;
    google_auth_close(firestore->auth);
    free(firestore->base);
    free(firestore->root);
    free(firestore);
}

void firestore_name(const struct firestore *firestore, struct bytes path, struct buf *ret)
{
    buf_print(ret, "%s/documents/%.*s", firestore->root, BYTES_ARG(path));
}

static void free_call(struct firestore_call *call)
{
    free(call->url);
    free(call->body);
    free(call);
}

static void end_call(struct firestore_call *call, const struct firestore_answer *answer)
{
    call->done(call->data, answer);
    free_call(call);
}

/* By the word in error.status, for the same HTTP code stands for what may be tried again and for what may not. */
static enum firestore_end end_of(struct bytes status, int code)
{
    static const struct { const char *status; enum firestore_end end; } ends[] = {
        {"UNAVAILABLE", FIRESTORE_RETRY},       {"RESOURCE_EXHAUSTED", FIRESTORE_RETRY}, {"ABORTED", FIRESTORE_RETRY},
        {"DEADLINE_EXCEEDED", FIRESTORE_RETRY}, {"INTERNAL", FIRESTORE_RETRY},           {"UNKNOWN", FIRESTORE_RETRY},
        {"CANCELLED", FIRESTORE_RETRY},         {"UNAUTHENTICATED", FIRESTORE_RETRY},    {"ALREADY_EXISTS", FIRESTORE_CONFLICT},
        {"FAILED_PRECONDITION", FIRESTORE_CONFLICT}, {"NOT_FOUND", FIRESTORE_NONE}};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (bytes_equal(status, bytes_of(ends[i].status)))
            return ends[i].end;
    if (status.count)
        return FIRESTORE_REFUSED;
    return code == 408 || code == 429 || code >= 500 ? FIRESTORE_RETRY : FIRESTORE_REFUSED;
}

static void read_error(struct firestore_call *call, const struct fetch_answer *fetched, struct firestore_answer *answer)
{
    struct json_object *body JSON_OWNED = json_parse(fetched->body, NULL), *error = json_get(body, "error");
    if (body && json_object_get_type(body) == json_type_array)
        error = json_get(json_object_array_get_idx(body, 0), "error");
    struct bytes status = json_get_bytes(error, "status"), why = json_get_bytes(error, "message");
    answer->end = end_of(status, fetched->status);
    answer->retry_after_us = fetched->retry_after_us;
    if (bytes_equal(status, BYTES("UNAUTHENTICATED")) && call->firestore->auth)
        google_auth_refused(call->firestore->auth);
    problem_set(&answer->problem, "firestore answered %d %.*s: %.*s", fetched->status, BYTES_ARG(status), (int)(why.count < 300 ? why.count : 300),
                why.count ? why.at : "");
}

static void on_answer(void *data, struct fetch_answer *fetched)
{
    struct firestore_call *call = data;
    struct firestore_answer answer = {.end = FIRESTORE_RETRY};
    struct json_object *body JSON_OWNED = NULL;
    call->fetch = NULL;
    if (fetched->end == FETCH_ANSWERED && fetched->status == 200) {
        answer.body = body = json_parse(fetched->body, &answer.problem);
        answer.end = body ? FIRESTORE_DONE : FIRESTORE_RETRY;
    } else if (fetched->end == FETCH_ANSWERED) {
        read_error(call, fetched, &answer);
    } else {
        answer.end = fetched->end == FETCH_REFUSED ? FIRESTORE_REFUSED : FIRESTORE_RETRY;
        answer.problem = fetched->problem;
    }
    end_call(call, &answer);
}

static void send_call(struct firestore_call *call, const char *token)
{
    struct buf header BUF_OWNED;
    buf_init(&header, 16 * 1024);
    buf_print(&header, "Authorization: Bearer %s", token);
    struct bytes line = buf_bytes(&header);
    struct fetch_request request = {.method = call->method, .url = bytes_of(call->url), .headers = &line, .headers_count = 1,
                                    .body = {call->body, call->body_count}, .timeout_us = CALL_TIMEOUT_US, .answer_max = ANSWER_BYTES};
    call->fetch = fetch_start(call->firestore->fetch, &request, on_answer, call);
}

static void on_token(void *data, const char *token, const struct problem *problem)
{
    struct firestore_call *call = data;
    if (token)
        send_call(call, token);
    else
        end_call(call, &(struct firestore_answer){.end = FIRESTORE_RETRY, .problem = *problem});
}

static struct firestore_call *begin(struct firestore *firestore, const char *method, struct buf *url, struct buf *body, firestore_fn *done,
                                    void *data)
{
    struct firestore_call *call = MEM_NEW(struct firestore_call);
    call->firestore = firestore;
    call->method = method;
    call->url = mem_text(buf_z(url));
    if (body) {
        call->body_count = body->count;
        call->body = buf_take(body, NULL);
    }
    call->done = done;
    call->data = data;
    if (firestore->auth)
        google_auth_get(firestore->auth, &call->wait, on_token, call);
    else
        send_call(call, "owner");
    return call;
}

struct firestore_call *firestore_commit(struct firestore *firestore, struct bytes writes, firestore_fn *done, void *data)
{
    struct buf url BUF_OWNED, body BUF_OWNED;
    buf_init(&url, SCAFFOLD_BYTES);
    buf_init(&body, writes.count + SCAFFOLD_BYTES);
    buf_print(&url, "%s%s/documents:commit", firestore->base, firestore->root);
    buf_text(&body, "{\"writes\":[");
    buf_put(&body, writes);
    buf_text(&body, "]}");
    return begin(firestore, "POST", &url, &body, done, data);
}

static void put_escaped(struct buf *url, struct bytes path)
{
    for (size_t i = 0; i < path.count; i++) {
        unsigned char c = path.at[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || strchr("-_.~/", c);
        if (plain && c)
            buf_byte(url, c);
        else
            buf_print(url, "%%%02X", c);
    }
}

struct firestore_call *firestore_get(struct firestore *firestore, struct bytes path, const char *fields, firestore_fn *done, void *data)
{
    struct buf url BUF_OWNED;
    struct bytes rest = bytes_of(fields);
    buf_init(&url, 3 * SCAFFOLD_BYTES);
    buf_print(&url, "%s%s/documents/", firestore->base, firestore->root);
    put_escaped(&url, path);
    for (char mark = '?'; rest.count; mark = '&') {
        struct bytes field = bytes_cut(&rest, ',');
        buf_print(&url, "%cmask.fieldPaths=%.*s", mark, BYTES_ARG(field));
    }
    return begin(firestore, "GET", &url, NULL, done, data);
}

void firestore_drop(struct firestore_call *call)
{
    if (!call)
        return;
    google_auth_unwait(&call->wait);
    fetch_drop(call->fetch);
    free_call(call);
}

int64_t firestore_int(struct json_object *document, const char *name, int64_t fallback)
{
    int64_t value = fallback;
    struct bytes text = json_get_bytes(json_get(json_get(document, "fields"), name), "integerValue");
    return text.count && bytes_to_i64(text, &value) ? value : fallback;
}
