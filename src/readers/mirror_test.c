/* What the mirror makes of values, paths and keys; its conversation with a Firestore is tested in tests/server. */
#include "readers/mirror_own.h"

#include "base/mem.h"
#include "base/test.h"
#include "os/file.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- values ---- */

static void check_value(const char *json, const char *want, int64_t size)
{
    struct firestore_doc doc;
    struct json_object *value JSON_OWNED = json_parse(bytes_of(json), NULL);
    firestore_doc_init(&doc, 65536);
    firestore_put_json(&doc, "a", value);
    test_note("%s", json);
    CHECK_TEXT(buf_z(&doc.fields), want);
    CHECK_TEXT(buf_z(&doc.mask), "\"a\"");
    CHECK_INT(doc.size, size + 2);
    firestore_doc_done(&doc);
}

TEST(values_are_written_as_firestore_wants_them)
{
    check_value("12345678901234567", "\"a\":{\"integerValue\":\"12345678901234567\"}", 8);
    check_value("0.5", "\"a\":{\"doubleValue\":0.5}", 8);
    check_value("true", "\"a\":{\"booleanValue\":true}", 1);
    check_value("\"x\\\"y\"", "\"a\":{\"stringValue\":\"x\\\"y\"}", 4);
    check_value("[1,null]", "\"a\":{\"arrayValue\":{\"values\":[{\"integerValue\":\"1\"},{\"nullValue\":null}]}}", 9);
    check_value("{\"b\":{}}", "\"a\":{\"mapValue\":{\"fields\":{\"b\":{\"mapValue\":{\"fields\":{}}}}}}", 2);
}

TEST(what_firestore_has_not_gets_another_shape)
{
    check_value("[[1]]", "\"a\":{\"arrayValue\":{\"values\":[{\"mapValue\":{\"fields\":{\"values\":{\"arrayValue\":{\"values\":"
                "[{\"integerValue\":\"1\"}]}}}}}]}}", 15);
    check_value("{\"\":1}", "\"a\":{\"mapValue\":{\"fields\":{\"field\":{\"integerValue\":\"1\"}}}}", 14);
    check_value("{\"__id__\":1}", "\"a\":{\"mapValue\":{\"fields\":{\"field__id__\":{\"integerValue\":\"1\"}}}}", 20);
}

TEST(what_is_nested_too_deep_becomes_its_text)
{
    struct buf json BUF_OWNED;
    struct firestore_doc doc;
    buf_init(&json, 4096);
    for (int i = 0; i < 25; i++)
        buf_text(&json, "{\"k\":");
    buf_text(&json, "1");
    for (int i = 0; i < 25; i++)
        buf_text(&json, "}");
    struct json_object *value JSON_OWNED = json_parse(buf_bytes(&json), NULL);
    firestore_doc_init(&doc, 65536);
    firestore_put_json(&doc, "a", value);
    int maps = 0;
    for (const char *at = buf_z(&doc.fields); (at = strstr(at, "mapValue")); at++)
        maps++;
    CHECK(maps < FIRESTORE_DEPTH && maps > FIRESTORE_DEPTH - 3);
    CHECK(strstr(buf_z(&doc.fields), "\"stringValue\":\"{\\\"k\\\":"));
    firestore_doc_done(&doc);
}

TEST(a_field_that_is_too_long_can_be_taken_back)
{
    struct firestore_doc doc;
    firestore_doc_init(&doc, 200);
    firestore_put_int(&doc, "a", 1);
    struct firestore_mark mark = firestore_mark(&doc);
    char text[300];
    memset(text, 'x', sizeof text);
    firestore_put_bytes(&doc, "b", (struct bytes){text, sizeof text});
    CHECK(!firestore_doc_ok(&doc));
    firestore_rewind(&doc, mark);
    firestore_put_flag(&doc, "c", true);
    CHECK(firestore_doc_ok(&doc));
    CHECK_TEXT(buf_z(&doc.fields), "\"a\":{\"integerValue\":\"1\"},\"c\":{\"booleanValue\":true}");
    CHECK_TEXT(buf_z(&doc.mask), "\"a\",\"c\"");
    firestore_doc_done(&doc);
}

/* ---- paths ---- */

static const char *path_of(const char *program, int64_t item)
{
    static char text[1024];
    struct problem problem = {0};
    struct json_object *params JSON_OWNED = json_parse(BYTES("{\"tenant\":\"a/b\",\"n\":7}"), NULL);
    struct mirror_names names = {BYTES("j1"), BYTES("me"), params, item};
    struct buf path BUF_OWNED;
    buf_init(&path, 512);
    int failed = mirror_path(bytes_of(program), &names, &path, &problem);
    snprintf(text, sizeof text, "%s", failed ? problem.text : buf_z(&path));
    return text;
}

TEST(paths_know_a_few_variables_and_no_other_program)
{
    CHECK_TEXT(path_of("\"pipeline_jobs/\\($job.id)\"", -1), "pipeline_jobs/j1");
    CHECK_TEXT(path_of("\"b/\\( $batch.index )-\\($item.index)\"", 3), "b/3-3");
    CHECK_TEXT(path_of("\"t/\\($params.tenant)/\\($params.n)/\\($params.none)/\\($job.owner)\"", -1), "t/a_b/7/_/me");
    CHECK_TEXT(path_of("\"a\\\"b\\\\c\"", -1), "a\"b\\c");
    CHECK(strstr(path_of("\"b/\\($batch.index)\"", -1), "not $batch.index"));
    CHECK(strstr(path_of("\"b/\\(.x)\"", 0), "not .x"));
    CHECK(strstr(path_of("\"b/\\($job.id\"", 0), "without its )"));
    CHECK(strstr(path_of(".x", 0), "plain template"));
}

TEST(a_document_has_a_path_of_pairs)
{
    CHECK(firestore_path_ok(BYTES("a/b")) && firestore_path_ok(BYTES("a/b/c/d")));
    CHECK(!firestore_path_ok(BYTES("a")) && !firestore_path_ok(BYTES("a/b/c")) && !firestore_path_ok(BYTES("a//b/c")) &&
          !firestore_path_ok(BYTES("a/b/")) && !firestore_path_ok(BYTES("a/..")));
    CHECK(!firestore_path_ok(BYTES("a/__x__")) && !firestore_path_ok(BYTES("")));
}

static int check_mirror(const char *with, struct problem *problem)
{
    char text[1024];
    snprintf(text, sizeof text, "{\"name\":\"p\",\"mirror\":{\"firestore\":%s},\"legs\":[{\"stages\":[\"noop\"]}]}", with);
    struct pipeline *pipeline = pipeline_parse(bytes_of(text), problem);
    int answer = pipeline ? mirror_check(pipeline, problem) : -2;
    pipeline_free(pipeline);
    return answer;
}

TEST(a_mirror_that_cannot_work_is_told_before_the_first_job)
{
    static const char *const bad[][2] = {
        {"{\"job\":\"\\\"jobs\\\"\"}", "COLLECTION/DOCUMENT"}, {"{\"batch\":\"\\\"b/\\\\(.x)\\\"\"}", "not .x"},
        {"{\"project\":{\"$env\":\"NOBODY_HAS_SET_THIS\"}}", "NOBODY_HAS_SET_THIS"}, {"{\"max_doc\":10}", "max_doc"}};
    CHECK_INT(check_mirror("{}", NULL), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct problem problem = {0};
        CHECK_INT(check_mirror(bad[i][0], &problem), -1);
        test_note("%s", problem.text);
        CHECK(strstr(problem.text, bad[i][1]));
    }
}

/* ---- tokens ---- */

static struct {
    int listener, asked;
    pthread_t thread;
    char request[16384];
    const char *answer;
} side;

static void *serve(void *unused)
{
    for (int fd; (fd = accept(side.listener, NULL, NULL)) >= 0; close(fd)) {
        size_t count = 0, want = 0;
        for (ssize_t got; (!want || count < want) && (got = read(fd, side.request + count, sizeof side.request - 1 - count)) > 0;) {
            side.request[count += got] = 0;
            char *end = strstr(side.request, "\r\n\r\n"), *length = strstr(side.request, "Content-Length: ");
            if (end && !want)
                want = (size_t)(end + 4 - side.request) + (length ? strtoul(length + 16, NULL, 10) : 0);
        }
        side.asked++;
        char text[1024];
        int bytes = snprintf(text, sizeof text, "HTTP/1.1 %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n%s",
                             side.answer[0] == '{' ? "200 OK" : "401 No", strlen(side.answer), side.answer);
        ssize_t unused_count = write(fd, text, bytes);
        (void)unused_count;
    }
    return NULL;
}

static int open_side(const char *answer)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    side.asked = 0;
    side.answer = answer;
    side.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(!bind(side.listener, (struct sockaddr *)&address, size) && !listen(side.listener, 8));
    getsockname(side.listener, (struct sockaddr *)&address, &size);
    CHECK(!pthread_create(&side.thread, NULL, serve, NULL));
    return ntohs(address.sin_port);
}

static void close_side(void)
{
    shutdown(side.listener, SHUT_RDWR);
    pthread_join(side.thread, NULL);
    close(side.listener);
}

static struct {
    int count;
    char token[64], problem[512];
} told;

static void got_token(void *data, const char *token, const struct problem *problem)
{
    told.count++;
    snprintf(told.token, sizeof told.token, "%s", token ? token : "");
    snprintf(told.problem, sizeof told.problem, "%s", problem->text);
}

static char *pem_of(EVP_PKEY *key)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *at;
    PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
    long count = BIO_get_mem_data(bio, &at);
    char *text = mem_copy(at, count);
    BIO_free(bio);
    return text;
}

static size_t from_base64url(struct bytes text, unsigned char *ret)
{
    char padded[2048];
    size_t count = 0;
    for (; count < text.count; count++)
        padded[count] = text.at[count] == '-' ? '+' : text.at[count] == '_' ? '/' : text.at[count];
    size_t missing = (4 - count % 4) % 4;
    for (size_t i = 0; i < missing; i++)
        padded[count++] = '=';
    return (size_t)EVP_DecodeBlock(ret, (unsigned char *)padded, (int)count) - missing;
}

TEST_SLOW(a_service_account_signs_its_request_for_a_token)
{
    EVP_PKEY *key = EVP_RSA_gen(2048);
    char *pem MEM_OWNED = pem_of(key);
    struct buf jwt BUF_OWNED;
    unsigned char text[2048] = {0};
    buf_init(&jwt, 8192);
    CHECK_INT(google_auth_jwt("me@demo", pem, "k1", "scope", "https://there/token", 1700000000, &jwt, NULL), 0);
    struct bytes rest = buf_bytes(&jwt), head = bytes_cut(&rest, '.'), claims = bytes_cut(&rest, '.');
    from_base64url(claims, text);
    CHECK_TEXT((char *)text, "{\"iss\":\"me@demo\",\"scope\":\"scope\",\"aud\":\"https://there/token\",\"iat\":1700000000,\"exp\":1700003600}");
    memset(text, 0, sizeof text);
    from_base64url(head, text);
    CHECK_TEXT((char *)text, "{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"k1\"}");
    size_t count = from_base64url(rest, text);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key);
    CHECK_INT(EVP_DigestVerify(context, text, count, (unsigned char *)jwt.at, head.count + 1 + claims.count), 1);
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    struct problem problem = {0};
    CHECK(google_auth_jwt("me@demo", "geheim", NULL, "s", "a", 1, &jwt, &problem) < 0 && !strstr(problem.text, "geheim"));
}

static void ask(struct google_auth *auth, struct loop *loop)
{
    struct google_auth_wait waits[3];
    told.count = 0;
    for (int i = 0; i < 3; i++)
        google_auth_get(auth, &waits[i], got_token, NULL);
    CHECK_INT(told.count, 0);
    while (told.count < 3)
        loop_turn(loop, true);
}

TEST_SLOW(a_token_is_fetched_once_and_kept_for_most_of_its_time)
{
    struct loop *loop;
    struct fetch *fetch;
    struct google_auth *auth;
    char path[] = "/tmp/account-XXXXXX", uri[64];
    struct buf file BUF_OWNED;
    EVP_PKEY *key = EVP_RSA_gen(2048);
    char *pem MEM_OWNED = pem_of(key);
    EVP_PKEY_free(key);
    buf_init(&file, 65536);
    int port = open_side("{\"access_token\":\"t1\",\"expires_in\":3600}"), fd = mkstemp(path);
    snprintf(uri, sizeof uri, "http://127.0.0.1:%d/token", port);
    json_open(&file, '{');
    json_put_text(&file, "type", "service_account");
    json_put_text(&file, "project_id", "demo");
    json_put_text(&file, "client_email", "me@demo");
    json_put_text(&file, "private_key", pem);
    json_put_text(&file, "token_uri", uri);
    json_close(&file, '}');
    file_write(fd, buf_bytes(&file));
    close(fd);
    CHECK_INT(loop_open(&loop, NULL), 0);
    CHECK_INT(fetch_open(loop, &(struct fetch_options){0}, &fetch, NULL), 0);
    CHECK_INT(google_auth_open(loop, fetch, path, "scope", &auth, NULL), 0);
    CHECK_TEXT(google_auth_project(auth), "demo");
    ask(auth, loop);
    ask(auth, loop);
    CHECK_TEXT(told.token, "t1");
    CHECK_INT(side.asked, 1);
    CHECK(strstr(side.request, "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=eyJ"));
    side.answer = "{\"access_token\":\"t2\",\"expires_in\":0}";
    google_auth_refused(auth);
    ask(auth, loop);
    CHECK_INT(side.asked, 2);
    side.answer = "{\"access_token\":\"t3\",\"expires_in\":100}";
    ask(auth, loop);
    CHECK_INT(side.asked, 3);
    CHECK_TEXT(told.token, "t3");
    side.answer = "no";
    google_auth_refused(auth);
    ask(auth, loop);
    CHECK_TEXT(told.token, "");
    CHECK(strstr(told.problem, "401"));
    google_auth_close(auth);
    fetch_close(fetch);
    loop_close(loop);
    close_side();
    unlink(path);
}

TEST(a_machine_of_google_has_a_server_for_tokens)
{
    struct loop *loop;
    struct fetch *fetch;
    struct google_auth *auth;
    char host[64];
    int port = open_side("{\"access_token\":\"m1\",\"expires_in\":3600}");
    snprintf(host, sizeof host, "127.0.0.1:%d", port);
    setenv("GCE_METADATA_HOST", host, 1);
    CHECK_INT(loop_open(&loop, NULL), 0);
    CHECK_INT(fetch_open(loop, &(struct fetch_options){0}, &fetch, NULL), 0);
    CHECK_INT(google_auth_open(loop, fetch, NULL, "scope", &auth, NULL), 0);
    ask(auth, loop);
    unsetenv("GCE_METADATA_HOST");
    CHECK_TEXT(told.token, "m1");
    CHECK(strstr(side.request, "Metadata-Flavor: Google\r\n") && strstr(side.request, "/service-accounts/default/token HTTP"));
    google_auth_close(auth);
    fetch_close(fetch);
    loop_close(loop);
    close_side();
}
