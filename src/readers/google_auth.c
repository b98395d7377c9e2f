#include "readers/google_auth.h"

#include "base/json.h"
#include "base/mem.h"
#include "os/file.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>

enum { FILE_BYTES = 64 * 1024, ANSWER_BYTES = 64 * 1024, JWT_BYTES = 16 * 1024, JWT_S = 3600, SIGNATURE_BYTES = 1024, TOKEN_TIMEOUT_US = 30000000 };

struct google_auth {
    struct loop *loop;
    struct fetch *fetch;
    struct json_object *file;         /* of the service account; NULL = the metadata server */
    char *scope;
    char *token;                      /* NULL = none */
    int64_t refresh_us, expires_us;   /* monotonic */
    struct fetch_call *call;          /* under way */
    struct list waits;
    struct timer tell;                /* answers that are ready, later in this turn */
    struct problem problem;           /* of the last try */
};

/* ---- JWT ---- */

static void put_base64url(struct buf *ret, const void *at, size_t count)
{
    char *text MEM_OWNED = mem_new(count / 3 * 4 + 8);
    int length = EVP_EncodeBlock((unsigned char *)text, at, (int)count);
    for (int i = 0; i < length && text[i] != '='; i++)
        buf_byte(ret, text[i] == '+' ? '-' : text[i] == '/' ? '_' : text[i]);
}

static EVP_PKEY *read_key(const char *pem)
{
    BIO *bio = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    return key;
}

static int sign(EVP_PKEY *key, struct bytes text, struct buf *ret)
{
    unsigned char signature[SIGNATURE_BYTES];
    size_t count = sizeof signature;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int good = context && EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
               EVP_DigestSign(context, signature, &count, (const unsigned char *)text.at, text.count) == 1;
    EVP_MD_CTX_free(context);
    if (good)
        put_base64url(ret, signature, count);
    return good ? 0 : -1;
}

int google_auth_jwt(const char *email, const char *private_key, const char *key_id, const char *scope, const char *audience, int64_t now_s,
                    struct buf *ret, struct problem *problem)
{
    struct buf head BUF_OWNED, claims BUF_OWNED;
    buf_init(&head, JWT_BYTES);
    buf_init(&claims, JWT_BYTES);
    json_open(&head, '{');
    json_put_text(&head, "alg", "RS256");
    json_put_text(&head, "typ", "JWT");
    if (key_id)
        json_put_text(&head, "kid", key_id);
    json_close(&head, '}');
    json_open(&claims, '{');
    json_put_text(&claims, "iss", email);
    json_put_text(&claims, "scope", scope);
    json_put_text(&claims, "aud", audience);
    json_put_int(&claims, "iat", now_s);
    json_put_int(&claims, "exp", now_s + JWT_S);
    json_close(&claims, '}');
    EVP_PKEY *key = read_key(private_key);
    if (!key || EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA) {
        EVP_PKEY_free(key);
        return problem_set(problem, "the private key of the service account %s cannot be read: it must be an RSA key as PEM", email);
    }
    size_t from = ret->count;
    put_base64url(ret, head.at, head.count);
    buf_byte(ret, '.');
    put_base64url(ret, claims.at, claims.count);
    struct buf signature BUF_OWNED;
    buf_init(&signature, JWT_BYTES);
    int failed = sign(key, (struct bytes){ret->at + from, ret->count - from}, &signature);
    EVP_PKEY_free(key);
    buf_byte(ret, '.');
    buf_put(ret, buf_bytes(&signature));
    return failed || !buf_ok(ret) ? problem_set(problem, "the request for a token of %s cannot be signed", email) : 0;
}

/* ---- whoever waits ---- */

static void tell_all(struct timer *timer)
{
    struct google_auth *auth = TIMER_OF(timer, struct google_auth, tell);
    struct list told;
    list_init(&told);
    for (struct list *link; (link = list_pop(&auth->waits));)
        list_push(&told, link);
    for (struct list *link; (link = list_pop(&told));) {
        struct google_auth_wait *wait = LIST_OF(link, struct google_auth_wait, link);
        google_auth_fn *got = wait->got;
        wait->got = NULL;
        got(wait->data, auth->token, &auth->problem);
    }
}

static void take_token(struct google_auth *auth, struct bytes text)
{
    struct json_object *answer JSON_OWNED = json_parse(text, NULL);
    struct bytes token = json_get_bytes(answer, "access_token");
    int64_t now = loop_now_us(auth->loop), lives_us = json_get_int(answer, "expires_in", JWT_S) * 1000000;
    if (!token.count) {
        problem_set(&auth->problem, "the answer to the request for a token has no access_token");
        return;
    }
    free(auth->token);
    auth->token = mem_copy(token.at, token.count);
    auth->refresh_us = now + lives_us / 5 * 4;
    auth->expires_us = now + lives_us;
}

static void on_answer(void *data, struct fetch_answer *answer)
{
    struct google_auth *auth = data;
    auth->call = NULL;
    auth->problem = (struct problem){0};
    if (answer->end == FETCH_ANSWERED && answer->status == 200) {
        take_token(auth, answer->body);
    } else if (answer->end == FETCH_ANSWERED) {
        struct json_object *body JSON_OWNED = json_parse(answer->body, NULL);
        struct bytes why = json_get_bytes(body, "error_description");
        problem_set(&auth->problem, "no token was given: status %d%s%.*s", answer->status, why.count ? ", " : "",
                    (int)(why.count < 200 ? why.count : 200), why.count ? why.at : "");
    } else {
        problem_set(&auth->problem, "no token was given: %s", answer->problem.text);
    }
    if (auth->token && loop_now_us(auth->loop) >= auth->expires_us) {
        free(auth->token);
        auth->token = NULL;
    }
    tell_all(&auth->tell);
}

/* ---- asking ---- */

static void ask_metadata(struct google_auth *auth)
{
    char url[512];
    const char *host = getenv("GCE_METADATA_HOST");
    struct bytes header = BYTES("Metadata-Flavor: Google");
    snprintf(url, sizeof url, "http://%s/computeMetadata/v1/instance/service-accounts/default/token",
             host && host[0] ? host : "metadata.google.internal");
    struct fetch_request request = {.method = "GET", .url = bytes_of(url), .headers = &header, .headers_count = 1,
                                    .answer_max = ANSWER_BYTES, .timeout_us = TOKEN_TIMEOUT_US};
    auth->call = fetch_start(auth->fetch, &request, on_answer, auth);
}

static const char *field(const struct google_auth *auth, const char *name)
{
    struct json_object *value = json_get(auth->file, name);
    return value && json_object_get_type(value) == json_type_string ? json_object_get_string(value) : NULL;
}

static const char *token_uri(const struct google_auth *auth)
{
    const char *uri = field(auth, "token_uri");
    return uri ? uri : "https://oauth2.googleapis.com/token";
}

static void ask_exchange(struct google_auth *auth)
{
    struct buf body BUF_OWNED;
    struct bytes header = BYTES("Content-Type: application/x-www-form-urlencoded");
    buf_init(&body, JWT_BYTES);
    buf_text(&body, "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=");
    auth->problem = (struct problem){0};
    if (google_auth_jwt(field(auth, "client_email"), field(auth, "private_key"), field(auth, "private_key_id"), auth->scope, token_uri(auth),
                        loop_wall_us(auth->loop) / 1000000, &body, &auth->problem)) {
        timer_start(auth->loop, &auth->tell, 0, tell_all);
        return;
    }
    struct fetch_request request = {.method = "POST", .url = bytes_of(token_uri(auth)), .headers = &header, .headers_count = 1,
                                    .body = buf_bytes(&body), .answer_max = ANSWER_BYTES, .timeout_us = TOKEN_TIMEOUT_US};
    auth->call = fetch_start(auth->fetch, &request, on_answer, auth);
}

void google_auth_get(struct google_auth *auth, struct google_auth_wait *wait, google_auth_fn *got, void *data)
{
    int64_t now = loop_now_us(auth->loop);
    *wait = (struct google_auth_wait){.got = got, .data = data};
    list_push(&auth->waits, &wait->link);
    bool stale = !auth->token || now >= auth->refresh_us;
    if (stale && !auth->call && !timer_runs(&auth->tell))
        auth->file ? ask_exchange(auth) : ask_metadata(auth);
    if (auth->token && now < auth->expires_us)      /* the old one is good while another is fetched */
        timer_start(auth->loop, &auth->tell, 0, tell_all);
}

void google_auth_unwait(struct google_auth_wait *wait)
{
    if (wait->got)
        list_leave(&wait->link);
    wait->got = NULL;
}

void google_auth_refused(struct google_auth *auth)
{
    free(auth->token);
    auth->token = NULL;
}

/* ---- open and close ---- */

static struct json_object *read_file(const char *path, struct problem *problem)
{
    struct buf text BUF_OWNED;
    buf_init(&text, FILE_BYTES);
    int failed = file_read(path, &text);
    struct json_object *file = failed ? NULL : json_parse(buf_bytes(&text), NULL);
    if (failed)
        problem_set(problem, "the credentials %s cannot be read: %s", path, strerror(-failed));
    else if (!bytes_equal(json_get_bytes(file, "type"), BYTES("service_account")) || !json_get_bytes(file, "client_email").count ||
             !json_get_bytes(file, "private_key").count)
        problem_set(problem, "the credentials %s are no service account's: \"type\", \"client_email\" and \"private_key\" are wanted", path);
    else
        return file;
    json_drop(&file);
    return NULL;
}

int google_auth_open(struct loop *loop, struct fetch *fetch, const char *credentials, const char *scope, struct google_auth **ret,
                     struct problem *problem)
{
    const char *path = credentials && credentials[0] ? credentials : getenv("GOOGLE_APPLICATION_CREDENTIALS");
    struct json_object *file = NULL;
    if (path && path[0] && !(file = read_file(path, problem)))
        return -1;
    struct google_auth *auth = MEM_NEW(struct google_auth);
    auth->loop = loop;
    auth->fetch = fetch;
    auth->file = file;
    auth->scope = mem_text(scope);
    list_init(&auth->waits);
    *ret = auth;
    return 0;
}

void google_auth_close(struct google_auth *auth)
{
    if (!auth)
        return;
    fetch_drop(auth->call);
    timer_stop(auth->loop, &auth->tell);
    for (struct list *link; (link = list_pop(&auth->waits));)
        LIST_OF(link, struct google_auth_wait, link)->got = NULL;
    json_drop(&auth->file);
    free(auth->scope);
    free(auth->token);
    free(auth);
}

const char *google_auth_project(const struct google_auth *auth)
{
    return auth->file ? field(auth, "project_id") : NULL;
}
