#include "server/intake/spool_items.h"

#include "base/json.h"
#include "base/json_grammar.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/text.h"
#include "os/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { NEAR_BYTES = 128 * 1024 };      /* of a store that needs no file */

/* ---- stores ---- */

void spool_store_init(struct spool_store *store)
{
    *store = (struct spool_store){.fd = -1};
    buf_init(&store->near, 2 * NEAR_BYTES);
}

void spool_store_done(struct spool_store *store)
{
    if (store->fd >= 0)
        close(store->fd);
    buf_done(&store->near);
    spool_store_init(store);
}

/* A file that nobody else sees and that goes with its descriptor. */
static int open_nameless(const char *folder)
{
    int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0)
        return fd;
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)
        return -errno;
    char path[4096];
    if (snprintf(path, sizeof path, "%s/spool-XXXXXX", folder) >= sizeof path)
        return -ENAMETOOLONG;
    fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return -errno;
    unlink(path);
    return fd;
}

static int put_far(struct spool_store *store, const char *folder)
{
    if (store->fd < 0)
        store->fd = open_nameless(folder);
    if (store->fd < 0)
        return store->fd;
    int answer = file_write(store->fd, buf_bytes(&store->near));
    buf_clear(&store->near);
    return answer;
}

static int store_put(struct spool_store *store, struct bytes piece, const char *folder)
{
    store->count += (int64_t)piece.count;
    if (store->near.count + piece.count > NEAR_BYTES) {
        int answer = put_far(store, folder);
        if (answer)
            return answer;
    }
    if (store->fd >= 0 && piece.count > NEAR_BYTES)
        return file_write(store->fd, piece);
    return buf_put(&store->near, piece) ? 0 : -ENOMEM;
}

/* Everything in the store, in one piece: in memory or, mapped, in the page cache. Let go with unview. */
static int view(struct spool_store *store, const char *folder, struct bytes *ret)
{
    *ret = buf_bytes(&store->near);
    if (store->fd < 0)
        return 0;
    int answer = put_far(store, folder);
    if (answer)
        return answer;
    void *at = mmap(NULL, (size_t)store->count, PROT_READ, MAP_PRIVATE, store->fd, 0);
    if (at == MAP_FAILED)
        return -errno;
    *ret = (struct bytes){at, (size_t)store->count};
    return 0;
}

static void unview(struct spool_store *store, struct bytes seen)
{
    if (store->fd >= 0)
        munmap((void *)seen.at, seen.count);
}

/* ---- records ---- */

/* In front of each item; then its blob's name when it has one, its name, key, type and value. In this machine's own order: nobody else
 * reads it, and it goes with the process. */
struct record {
    int64_t bytes;
    uint32_t value;
    uint8_t name, key, type, blob;
};
_Static_assert(LIMIT_NAME_BYTES <= UINT8_MAX, "names fit into their byte");

static struct bytes cut(struct bytes *rest, size_t count)
{
    struct bytes front = {rest->at, count};
    rest->at += count;
    rest->count -= count;
    return front;
}

bool spool_item_next(struct bytes *page, struct item_spec *ret)
{
    struct record record;
    if (page->count < sizeof record)
        return false;
    memcpy(&record, page->at, sizeof record);
    if (page->count - sizeof record < (record.blob ? SHA_SIZE : 0) + record.name + record.key + record.type + (size_t)record.value)
        return false;
    cut(page, sizeof record);
    *ret = (struct item_spec){.bytes = record.bytes, .has_blob = record.blob};
    if (record.blob)
        memcpy(ret->blob.at, cut(page, SHA_SIZE).at, SHA_SIZE);
    ret->name = cut(page, record.name);
    ret->key = cut(page, record.key);
    ret->type = cut(page, record.type);
    ret->value = cut(page, record.value);
    return true;
}

/* ---- refusals ---- */

#define REFUSE(spool, code, ...) ((spool)->status = (code), problem_set(&(spool)->problem, __VA_ARGS__), (int)SPOOL_REFUSED)

/* The item that is being read, for sentences: as its sender counts. */
static const char *where(const struct spool *spool, char ret[48])
{
    if (spool->rules->lines)
        snprintf(ret, 48, "Line %lld", (long long)spool->lines_count);
    else
        snprintf(ret, 48, "Item %lld (counted from 0)", (long long)spool->count);
    return ret;
}

static int refuse_grammar(struct spool *spool, const char *what, enum json_grammar answer, size_t at, unsigned depth)
{
    if (answer == JSON_GRAMMAR_DEEP)
        return REFUSE(spool, 400, "%s is nested deeper than %u levels, at byte %zu of it.", what, depth, at);
    return REFUSE(spool, 400, "%s is not valid JSON in UTF-8: see byte %zu of it.", what, at);
}

/* ---- items ---- */

struct parts {
    struct bytes value, name, key, type;      /* JSON texts; empty = not there */
};

static struct bytes trim(struct bytes text)
{
    while (text.count && strchr(" \t\r\n", text.at[0]) && text.at[0])
        text.at++, text.count--;
    while (text.count && strchr(" \t\r\n", text.at[text.count - 1]) && text.at[text.count - 1])
        text.count--;
    return text;
}

/* An object of "value" and no members but "name", "key" and "type" is taken apart; anything else is the value. */
static void take_apart(struct bytes text, struct parts *ret)
{
    struct parts parts = {0};
    struct bytes rest = text, key, value;
    bool envelope = text.at[0] == '{';
    while (envelope && json_member(&rest, &key, &value)) {
        struct bytes *part = bytes_equal(key, BYTES("value")) ? &parts.value : bytes_equal(key, BYTES("name")) ? &parts.name :
                             bytes_equal(key, BYTES("key")) ? &parts.key : bytes_equal(key, BYTES("type")) ? &parts.type : NULL;
        if (part)
            *part = trim(value);
        envelope = part != NULL;
    }
    *ret = envelope && parts.value.count ? parts : (struct parts){.value = text};
}

/* A JSON string as text, clean and of at most `max` bytes. */
static int decode(struct spool *spool, struct bytes json, const char *what, size_t max, struct buf *ret)
{
    char place[48];
    if (!json.count)
        return 0;
    JSON_OWNED struct json_object *object = json_parse(json, NULL);
    if (!json_object_is_type(object, json_type_string))
        return REFUSE(spool, 400, "%s: its \"%s\" must be a text.", where(spool, place), what);
    struct bytes text = {json_object_get_string(object), (size_t)json_object_get_string_len(object)};
    if (!text_clean(ret, text) || ret->count > max)
        return REFUSE(spool, 400, "%s: its \"%s\" has more than %zu bytes.", where(spool, place), what, max);
    return 0;
}

/* Copied without line ends, which JSON allows between its marks and a line of the log does not. */
static void put_line(struct buf *buf, struct bytes json)
{
    bool inside = false;
    if (!memchr(json.at, '\n', json.count) && !memchr(json.at, '\r', json.count)) {
        buf_put(buf, json);
        return;
    }
    for (size_t i = 0; i < json.count; i++) {
        char c = json.at[i];
        if (inside && c == '\\')
            buf_byte(buf, c), c = json.at[++i];
        else if (c == '"')
            inside = !inside;
        if (inside || !c || !strchr(" \t\r\n", c))
            buf_byte(buf, c);
    }
}

static int put_blob(struct spool *spool, struct bytes value, struct sha *ret)
{
    int answer = blob_put(spool->blobs, value, ret);
    if (answer)
        return answer;
    if ((spool->pins_count & (spool->pins_count - 1)) == 0)    /* at powers of two: double the room */
        spool->pins = mem_grow(spool->pins, (spool->pins_count ? spool->pins_count * 2 : 1) * sizeof *spool->pins);
    spool->pins[spool->pins_count++] = *ret;
    return 0;
}

struct texts {
    struct buf name, key, type, value;
};

static void texts_done(struct texts *texts)
{
    buf_done(&texts->name);
    buf_done(&texts->key);
    buf_done(&texts->type);
    buf_done(&texts->value);
}

static int put_record(struct spool *spool, struct texts *texts, struct record record, const struct sha *sha)
{
    struct buf out BUF_OWNED;
    buf_init(&out, LIMIT_VALUE_BYTES + 1024);
    record.name = (uint8_t)texts->name.count;
    record.key = (uint8_t)texts->key.count;
    record.type = (uint8_t)texts->type.count;
    record.value = (uint32_t)texts->value.count;
    buf_add(&out, &record, sizeof record);
    if (record.blob)
        buf_add(&out, sha->at, SHA_SIZE);
    buf_put(&out, buf_bytes(&texts->name));
    buf_put(&out, buf_bytes(&texts->key));
    buf_put(&out, buf_bytes(&texts->type));
    buf_put(&out, buf_bytes(&texts->value));
    assert(buf_ok(&out));
    return store_put(&spool->records, buf_bytes(&out), spool->scratch);
}

static int put_parts(struct spool *spool, const struct parts *parts, struct texts *texts)
{
    struct record record = {.bytes = (int64_t)parts->value.count, .blob = parts->value.count > LIMIT_VALUE_BYTES};
    struct sha sha;
    int answer = decode(spool, parts->name, "name", LIMIT_NAME_BYTES, &texts->name);
    if (!answer)
        answer = decode(spool, parts->key, "key", LIMIT_NAME_BYTES, &texts->key);
    if (!answer)
        answer = decode(spool, parts->type, "type", 127, &texts->type);
    if (!answer && record.blob) {
        answer = put_blob(spool, parts->value, &sha);
        if (!texts->type.count)
            buf_text(&texts->type, "application/json");
    } else if (!answer) {
        put_line(&texts->value, parts->value);
    }
    if (!answer)
        answer = put_record(spool, texts, record, &sha);
    spool->count += !answer;
    spool->bytes += answer ? 0 : record.bytes;
    return answer;
}

/* One item whose text was found to be JSON. */
static int take_item(struct spool *spool, struct bytes text)
{
    char place[48];
    struct parts parts;
    take_apart(text, &parts);
    if (bytes_equal(parts.value, BYTES("null")))
        return REFUSE(spool, 400, "%s is null; an item has to be some value.", where(spool, place));
    if ((int64_t)parts.value.count > spool->value_bytes_max)
        return REFUSE(spool, 413, "%s has a value of %zu bytes, at most %lld are taken (MAX_FILE_SIZE_MB).", where(spool, place),
                      parts.value.count, (long long)spool->value_bytes_max);
    if (spool->count >= LIMIT_OPEN_ITEMS)
        return REFUSE(spool, 413, "There are more than %d items, as many as are held at a time.", LIMIT_OPEN_ITEMS);
    struct texts texts;
    buf_init(&texts.name, 4 * LIMIT_NAME_BYTES);
    buf_init(&texts.key, 4 * LIMIT_NAME_BYTES);
    buf_init(&texts.type, 4 * LIMIT_NAME_BYTES);
    buf_init(&texts.value, LIMIT_VALUE_BYTES);
    int answer = put_parts(spool, &parts, &texts);
    texts_done(&texts);
    return answer;
}

/* ---- JSON Lines ---- */

static int take_line(struct spool *spool, struct bytes line)
{
    char place[48];
    size_t at;
    if (spool->lines_count++ == 0 && bytes_start(line, BYTES("\xef\xbb\xbf")))
        cut(&line, 3);
    line = trim(line);
    if (!line.count)
        return 0;
    enum json_grammar answer = json_grammar(line, LIMIT_VALUE_DEPTH + 1, &at);
    if (answer != JSON_GRAMMAR_GOOD)
        return refuse_grammar(spool, where(spool, place), answer, at, LIMIT_VALUE_DEPTH);
    return take_item(spool, line);
}

/* The rest is a whole line now. */
static int take_rest(struct spool *spool)
{
    struct bytes line;
    int answer = view(&spool->rest, spool->scratch, &line);
    if (answer)
        return answer;
    answer = take_line(spool, line);
    unview(&spool->rest, line);
    spool_store_done(&spool->rest);
    return answer;
}

static int add_rest(struct spool *spool, struct bytes piece)
{
    /* The texts of an envelope, and white space, may stand around a value. */
    if (spool->rest.count + (int64_t)piece.count > spool->value_bytes_max + 64 * 1024) {
        spool->lines_count++;
        return REFUSE(spool, 413, "Line %lld has more than %lld bytes (MAX_FILE_SIZE_MB).", (long long)spool->lines_count,
                      (long long)spool->value_bytes_max);
    }
    return store_put(&spool->rest, piece, spool->scratch);
}

static int take_lines(struct spool *spool, struct bytes data, bool last)
{
    int answer = 0;
    while (data.count && !answer) {
        const char *end = memchr(data.at, '\n', data.count);
        struct bytes piece = cut(&data, end ? (size_t)(end - data.at) : data.count);
        if (end)
            cut(&data, 1);
        if (end && !spool->rest.count) {
            answer = take_line(spool, piece);
            continue;
        }
        answer = add_rest(spool, piece);
        if (!answer && end)
            answer = take_rest(spool);
    }
    return !answer && last && spool->rest.count ? take_rest(spool) : answer;
}

/* ---- a document ---- */

/* The length of the value that the text, which is JSON, begins with. */
static size_t value_length(struct bytes text)
{
    size_t depth = 0, i = 0;
    bool inside = false;
    for (; i < text.count; i++) {
        char c = text.at[i];
        if (inside) {
            i += c == '\\';
            inside = c != '"';
        } else if (c == '"') {
            inside = true;
        } else if (c == '[' || c == '{') {
            depth++;
        } else if (!depth && strchr(",]} \t\r\n", c)) {
            break;
        } else if (c == ']' || c == '}') {
            depth--;
        }
    }
    return i;
}

static int take_array(struct spool *spool, struct bytes array)
{
    int answer = 0;
    cut(&array, 1);
    array = trim(array);
    while (!answer && array.count && array.at[0] != ']') {
        struct bytes element = cut(&array, value_length(array));
        answer = take_item(spool, element);
        array = trim(array);
        if (array.count && array.at[0] == ',')
            cut(&array, 1);
        array = trim(array);
    }
    return answer;
}

static int take_params(struct spool *spool, struct bytes value)
{
    if (value.at[0] != '{')
        return REFUSE(spool, 400, "\"params\" must be an object.");
    if (value.count > LIMIT_PARAMS_BYTES)
        return REFUSE(spool, 413, "\"params\" has %zu bytes, at most %d.", value.count, LIMIT_PARAMS_BYTES);
    struct buf text BUF_OWNED;
    buf_init(&text, LIMIT_PARAMS_BYTES);
    put_line(&text, value);
    free(spool->params);
    spool->params = buf_take(&text, NULL);
    return 0;
}

static int take_pipeline(struct spool *spool, struct bytes value)
{
    JSON_OWNED struct json_object *object = json_parse(value, NULL);
    const char *name = json_object_get_string(object);
    if (!json_object_is_type(object, json_type_string) || strlen(name) != (size_t)json_object_get_string_len(object))
        return REFUSE(spool, 400, "\"pipeline\" must be a name.");
    free(spool->pipeline);
    spool->pipeline = mem_text(name);
    return 0;
}

static int take_webhook(struct spool *spool, struct bytes value)
{
    if (value.at[0] != '{' || value.count > LIMIT_WEBHOOK_BYTES)
        return REFUSE(spool, 400, "\"webhook\" must be an object of at most %d bytes.", LIMIT_WEBHOOK_BYTES);
    struct buf text BUF_OWNED;
    buf_init(&text, LIMIT_WEBHOOK_BYTES);
    put_line(&text, value);
    free(spool->webhook);
    spool->webhook = buf_take(&text, NULL);
    return 0;
}

static int take_member(struct spool *spool, struct bytes key, struct bytes value)
{
    if (bytes_equal(key, BYTES("items")) && value.at[0] == '[')
        return take_array(spool, value);
    if (bytes_equal(key, BYTES("items")))
        return REFUSE(spool, 400, "\"items\" must be a list.");
    if (bytes_equal(key, BYTES("params")) && !spool->rules->single)
        return take_params(spool, value);
    if (bytes_equal(key, BYTES("pipeline")) && !spool->rules->single)
        return take_pipeline(spool, value);
    if (bytes_equal(key, BYTES("webhook")) && !spool->rules->single)
        return take_webhook(spool, value);
    return REFUSE(spool, 400, "The body has a member \"%.*s\"; known are %s.", (int)(key.count < 64 ? key.count : 64), key.at,
                  spool->rules->single ? "\"items\"" : "\"items\", \"params\", \"pipeline\" and \"webhook\"");
}

/* An object of "items" and nothing else. */
static bool is_list(struct bytes document)
{
    struct bytes key, value, more;
    return document.at[0] == '{' && json_member(&document, &key, &value) && bytes_equal(key, BYTES("items")) && trim(value).at[0] == '[' &&
           !json_member(&document, &key, &more);
}

static int take_object(struct spool *spool, struct bytes document)
{
    struct bytes rest = document, key, value;
    bool items = false;
    int answer = 0;
    while (!answer && json_member(&rest, &key, &value)) {
        if (bytes_equal(key, BYTES("items")) && items)
            return REFUSE(spool, 400, "The body has \"items\" twice.");
        items = items || bytes_equal(key, BYTES("items"));
        answer = take_member(spool, key, trim(value));
    }
    if (!answer && !items && !spool->rules->none)
        return REFUSE(spool, 400, "The body has no \"items\".");
    return answer;
}

static int read_document(struct spool *spool, struct bytes text)
{
    size_t at;
    if (bytes_start(text, BYTES("\xef\xbb\xbf")))
        cut(&text, 3);
    text = trim(text);
    if (!text.count)
        return spool->rules->none ? 0 : REFUSE(spool, 400, "The body is empty; JSON {\"items\": [...]} is expected.");
    enum json_grammar answer = json_grammar(text, LIMIT_VALUE_DEPTH + 3, &at);
    if (answer != JSON_GRAMMAR_GOOD)
        return refuse_grammar(spool, "The body", answer, at, LIMIT_VALUE_DEPTH + 3);
    if (spool->rules->single && !is_list(text))
        return take_item(spool, text);
    if (text.at[0] != '{')
        return REFUSE(spool, 400, "The body must be an object: {\"items\": [...], \"params\": {...}}.");
    return take_object(spool, text);
}

static int take_document(struct spool *spool, struct bytes data, bool last)
{
    if (spool->rest.count + (int64_t)data.count > LIMIT_JSON_BODY_BYTES)
        return REFUSE(spool, 413, "A JSON document may have %d bytes; send JSON Lines (application/jsonl) for more.", LIMIT_JSON_BODY_BYTES);
    int answer = store_put(&spool->rest, data, spool->scratch);
    if (answer || !last)
        return answer;
    struct bytes text;
    answer = view(&spool->rest, spool->scratch, &text);
    if (answer)
        return answer;
    answer = read_document(spool, text);
    unview(&spool->rest, text);
    spool_store_done(&spool->rest);
    return answer;
}

int spool_take(struct spool *spool, struct bytes piece, bool last)
{
    int answer = spool->rules->lines ? take_lines(spool, piece, last) : take_document(spool, piece, last);
    if (!answer && last && spool->records.fd >= 0)
        answer = put_far(&spool->records, spool->scratch);
    return answer;
}
