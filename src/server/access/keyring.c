#include "server/access/keyring.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "config/secret.h"
#include "os/file.h"

#include <ctype.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { TEXT_BYTES_MAX = 1024 * 1024, KEY_BYTES_MIN = 16, KEY_BYTES_MAX = 256, OWNER_BYTES_MAX = 64 };

/* What is being read: keys that become the ring's only when all of it was good. */
struct reading {
    struct list keys;
    size_t count;
    bool plain;                   /* one of them stood there as it is */
    const char *where;            /* "keys file "x"", for sentences */
    long long line;               /* or place in the JSON */
    struct problem *problem;
};

void keyring_init(struct keyring *ring)
{
    *ring = (struct keyring){0};
    list_init(&ring->keys);
}

static void drop(struct list *keys)
{
    for (struct list *link; (link = list_pop(keys));) {
        struct key *key = LIST_OF(link, struct key, link);
        free(key->owner);
        free(key);
    }
}

void keyring_done(struct keyring *ring)
{
    drop(&ring->keys);
    ring->count = 0;
}

/* ---- one key ---- */

static int wrong(struct reading *reading, const char *what)
{
    return problem_set(reading->problem, "key %lld of the %s: %s", reading->line, reading->where, what);
}

static bool owner_is_good(struct bytes owner)
{
    for (size_t i = 0; i < owner.count; i++)
        if (!isalnum((unsigned char)owner.at[i]) && !memchr("-_.@", owner.at[i], 4))
            return false;
    return owner.count > 0 && owner.count <= OWNER_BYTES_MAX;
}

static bool token_is_good(struct bytes token)
{
    for (size_t i = 0; i < token.count; i++)
        if (!isalnum((unsigned char)token.at[i]) && !memchr("-._~+/=", token.at[i], 7))
            return false;
    return token.count >= KEY_BYTES_MIN && token.count <= KEY_BYTES_MAX;
}

static struct key *same_digest(const struct list *keys, const struct sha *digest)
{
    LIST_EACH(link, keys) {
        struct key *key = LIST_OF(link, struct key, link);
        if (!CRYPTO_memcmp(key->digest.at, digest->at, SHA_SIZE))
            return key;
    }
    return NULL;
}

static int take_key(struct reading *reading, struct bytes owner, struct bytes token, const struct quota *quota)
{
    struct sha digest;
    if (!owner_is_good(owner))
        return wrong(reading, "the owner must have 1 to 64 letters, digits or -_.@");
    if (bytes_start(token, BYTES("sha256:"))) {
        if (!sha_from_hex((struct bytes){token.at + 7, token.count - 7}, &digest))
            return wrong(reading, "behind sha256: there must be 64 lower-case hex digits");
    } else {
        if (!token_is_good(token))
            return wrong(reading, "the key must have 16 to 256 letters, digits or -._~+/=");
        digest = sha_of(token);
        reading->plain = true;
    }
    if (same_digest(&reading->keys, &digest))
        return wrong(reading, "the same key stands there twice");
    if (reading->count >= LIMIT_KEYS)
        return problem_set(reading->problem, "the %s holds more than %d keys", reading->where, LIMIT_KEYS);
    struct key *key = MEM_NEW(struct key);
    key->owner = mem_copy(owner.at, owner.count);
    key->digest = digest;
    key->quota = *quota;
    list_push(&reading->keys, &key->link);
    reading->count++;
    return 0;
}

static const struct quota NO_QUOTA = {-1, -1, -1, -1};

static int64_t *quota_of(struct quota *quota, struct bytes name)
{
    return bytes_equal(name, BYTES("jobs"))      ? &quota->jobs
           : bytes_equal(name, BYTES("items"))   ? &quota->items
           : bytes_equal(name, BYTES("bytes"))   ? &quota->bytes
           : bytes_equal(name, BYTES("streams")) ? &quota->streams
                                                 : NULL;
}

/* ---- lines ---- */

static struct bytes next_word(struct bytes *line)
{
    *line = bytes_trim(*line);
    size_t count = 0;
    while (count < line->count && line->at[count] != ' ' && line->at[count] != '\t')
        count++;
    struct bytes word = {line->at, count};
    line->at += count;
    line->count -= count;
    return word;
}

static int read_line(struct reading *reading, struct bytes line)
{
    struct quota quota = NO_QUOTA;
    struct bytes owner = next_word(&line), token = next_word(&line);
    for (struct bytes word; (word = next_word(&line)).count;) {
        struct bytes name = bytes_cut(&word, '=');
        int64_t *at = quota_of(&quota, name);
        if (!at || !bytes_to_i64(word, at) || *at < 0)
            return wrong(reading, "behind owner and key there may be jobs=N, items=N, bytes=N and streams=N");
    }
    if (!token.count)
        return wrong(reading, "there must be an owner and a key");
    return take_key(reading, owner, token, &quota);
}

static int read_lines(struct reading *reading, struct bytes text, bool semicolons)
{
    while (text.count) {
        struct bytes line = bytes_cut(&text, '\n');
        bool comment = bytes_start(bytes_trim(line), BYTES("#"));
        while (line.count && !comment) {
            struct bytes part = bytes_trim(semicolons ? bytes_cut(&line, ';') : line);
            if (part.count && part.at[part.count - 1] == '\r')
                part = bytes_trim((struct bytes){part.at, part.count - 1});
            if (!semicolons)
                line.count = 0;
            if (!part.count)
                continue;
            reading->line++;
            if (read_line(reading, part))
                return -1;
        }
    }
    return 0;
}

/* ---- JSON ---- */

static int read_object(struct reading *reading, struct json_object *object)
{
    struct quota quota = NO_QUOTA;
    json_object_object_foreach(object, name, value) {
        if (!strcmp(name, "owner") || !strcmp(name, "key"))
            continue;
        int64_t *at = quota_of(&quota, bytes_of(name));
        if (!at || !json_object_is_type(value, json_type_int) || (*at = json_object_get_int64(value)) < 0)
            return wrong(reading, "beside owner and key there may be the whole numbers jobs, items, bytes and streams");
    }
    return take_key(reading, json_get_bytes(object, "owner"), json_get_bytes(object, "key"), &quota);
}

static int read_json(struct reading *reading, struct bytes text)
{
    struct json_object *tree JSON_OWNED = json_parse(text, NULL);
    if (!json_object_is_type(tree, json_type_array))
        return problem_set(reading->problem, "the %s must be lines, or JSON: [{\"owner\":\"…\",\"key\":\"…\"}, …]", reading->where);
    for (size_t i = 0; i < json_object_array_length(tree); i++) {
        struct json_object *object = json_object_array_get_idx(tree, i);
        reading->line++;
        if (!json_object_is_type(object, json_type_object))
            return wrong(reading, "it must be an object");
        if (read_object(reading, object))
            return -1;
    }
    return 0;
}

static int read_text(struct reading *reading, const char *where, struct bytes text, bool semicolons)
{
    size_t before = reading->count;
    size_t skip = 0;
    reading->where = where;
    reading->line = 0;
    while (skip < text.count && isspace((unsigned char)text.at[skip]))
        skip++;
    text.at += skip;
    text.count -= skip;
    bool json = bytes_start(text, BYTES("[")) || bytes_start(text, BYTES("{"));
    if (json ? read_json(reading, text) : read_lines(reading, text, semicolons))
        return -1;
    return reading->count > before ? 0 : problem_set(reading->problem, "the %s holds no key", where);
}

static int read_keys_file(struct reading *reading, const char *path)
{
    struct buf text BUF_OWNED, where BUF_OWNED;
    struct stat status;
    buf_init(&text, TEXT_BYTES_MAX);
    buf_init(&where, 4200);
    buf_print(&where, "keys file \"%.4000s\"", path);
    int failed = stat(path, &status) ? -1 : file_read(path, &text);
    if (failed)
        return problem_set(reading->problem, "the %s cannot be read", buf_z(&where));
    reading->plain = false;
    int answer = read_text(reading, buf_z(&where), buf_bytes(&text), false);
    OPENSSL_cleanse(text.at, text.count);
    if (answer)
        return answer;
    if (status.st_mode & S_IWOTH || (reading->plain && status.st_mode & S_IROTH))
        return problem_set(reading->problem, "the %s may be %s by everybody on this machine (mode %04o): chmod 600 it, or keep sha256: digests in it",
                           buf_z(&where), status.st_mode & S_IWOTH ? "written" : "read", (unsigned)status.st_mode & 07777);
    if (status.st_mode & S_IWGRP || (reading->plain && secret_is_shared(&status)))
        return problem_set(reading->problem, "the %s may be %s by its group (mode %04o): chmod 600 it, or chown it to root with that group and chmod 640 it", buf_z(&where),
                            status.st_mode & S_IWGRP ? "written" : "read", (unsigned)status.st_mode & 07777);
    return 0;
}

/* ---- the ring ---- */

/* A key that was there before stays the same struct, with its new quota; what is new moves over. */
static void settle(struct keyring *ring, struct reading *reading)
{
    LIST_EACH(link, &ring->keys)
        LIST_OF(link, struct key, link)->dead = true;
    for (struct list *link; (link = list_pop(&reading->keys));) {
        struct key *key = LIST_OF(link, struct key, link), *old = NULL;
        LIST_EACH(other, &ring->keys) {
            struct key *one = LIST_OF(other, struct key, link);
            if (!CRYPTO_memcmp(one->digest.at, key->digest.at, SHA_SIZE) && !strcmp(one->owner, key->owner))
                old = one;
        }
        if (!old) {
            list_push(&ring->keys, &key->link);
            ring->count++;
            continue;
        }
        old->quota = key->quota;
        old->dead = false;
        free(key->owner);
        free(key);
    }
}

int keyring_load(struct keyring *ring, const char *path, const char *text, struct problem *problem)
{
    struct reading reading = {.problem = problem};
    list_init(&reading.keys);
    int answer = path ? read_keys_file(&reading, path) : 0;
    if (!answer && text)
        answer = read_text(&reading, "list of keys in RIVULET_KEYS", bytes_of(text), true);
    if (!answer && ring->count + reading.count > LIMIT_KEYS_EVER)
        answer = problem_set(problem, "more than %d keys have come and gone: restart the server", LIMIT_KEYS_EVER);
    if (!answer)
        settle(ring, &reading);
    drop(&reading.keys);
    return answer;
}

struct key *keyring_find(const struct keyring *ring, struct bytes token)
{
    struct sha digest = sha_of(token);
    struct key *found = NULL;
    LIST_EACH(link, &ring->keys) {
        struct key *key = LIST_OF(link, struct key, link);
        if (!CRYPTO_memcmp(key->digest.at, digest.at, SHA_SIZE) && !key->dead)
            found = key;
    }
    return found;
}
