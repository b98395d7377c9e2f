#include "client/client.h"

#include "base/json.h"
#include "base/mem.h"
#include "os/loop.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>

enum { CONNECT_S = 10, SILENCE_S = 60, PAUSE_S_MAX = 10 };

struct client {
    char *base, *bearer;              /* "Authorization: Bearer …", NULL = no key */
    CURLM *multi;
    /* the stream of lines */
    CURL *listener;                   /* NULL = none */
    struct curl_slist *listener_headers;
    struct client_listening listening;
    struct buf line;
    struct buf refusal;               /* what came with a status that is no 200 */
    char listener_error[CURL_ERROR_SIZE];
};

/* ---- life ---- */

struct client *client_new(const char *base, const char *key, struct problem *problem)
{
    struct bytes text = bytes_of(base);
    if (!bytes_start(text, BYTES("http://")) && !bytes_start(text, BYTES("https://"))) {
        problem_set(problem, "the server's address is \"%s\": it must begin with http:// or https://", base);
        return NULL;
    }
    while (text.count && text.at[text.count - 1] == '/')
        text.count--;
    curl_global_init(CURL_GLOBAL_DEFAULT);
    struct client *client = MEM_NEW(struct client);
    client->base = mem_copy(text.at, text.count);
    client->multi = curl_multi_init();
    buf_init(&client->line, CLIENT_LINE_BYTES);
    buf_init(&client->refusal, CLIENT_LINE_BYTES);
    if (key) {
        struct buf header;
        buf_init(&header, 65536);
        buf_print(&header, "Authorization: Bearer %s", key);
        client->bearer = buf_take(&header, NULL);
    }
    return client;
}

void client_free(struct client *client)
{
    if (!client)
        return;
    client_stop_listening(client);
    curl_multi_cleanup(client->multi);
    buf_done(&client->line);
    buf_done(&client->refusal);
    free(client->base);
    free(client->bearer);
    free(client);
}

const char *client_base(const struct client *client)
{
    return client->base;
}

void client_encode(struct buf *buf, struct bytes text)
{
    for (size_t i = 0; i < text.count; i++) {
        unsigned char c = (unsigned char)text.at[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' || c == '.' || c == '~';
        if (plain)
            buf_byte(buf, (char)c);
        else
            buf_print(buf, "%%%02X", c);
    }
}

/* ---- one transfer ---- */

static struct curl_slist *headers_of(const struct client *client, const char *const *given, const char *type)
{
    struct curl_slist *list = curl_slist_append(NULL, "Expect:");
    struct buf line BUF_OWNED;
    buf_init(&line, 4096);
    if (client->bearer)
        list = curl_slist_append(list, client->bearer);
    if (type) {
        buf_print(&line, "Content-Type: %s", type);
        list = curl_slist_append(list, buf_z(&line));
    }
    for (; given && *given; given++)
        list = curl_slist_append(list, *given);
    return list;
}

static CURL *handle_of(struct client *client, const char *path)
{
    CURL *handle = curl_easy_init();
    struct buf address BUF_OWNED;
    buf_init(&address, 65536);
    buf_text(&address, client->base);
    buf_text(&address, path);
    curl_easy_setopt(handle, CURLOPT_URL, buf_z(&address));
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
    curl_easy_setopt(handle, CURLOPT_USERAGENT, "rivulet/" RIVULET_VERSION);
    curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
    return handle;
}

struct call {
    struct client_answer *answer;
    bool (*take)(void *data, struct bytes piece);      /* NULL = gather */
    void *data;
    CURL *handle;
};

static size_t take_body(char *at, size_t size, size_t count, void *data)
{
    struct call *call = data;
    long status = 0;
    curl_easy_getinfo(call->handle, CURLINFO_RESPONSE_CODE, &status);
    struct bytes piece = {at, size * count};
    if (call->take && status == 200)
        return call->take(call->data, piece) ? piece.count : 0;
    return buf_put(&call->answer->body, piece) ? piece.count : 0;
}

static size_t take_header(char *at, size_t size, size_t count, void *data)
{
    struct client_answer *answer = data;
    struct bytes value = {at, size * count}, name = bytes_cut(&value, ':');
    value = bytes_trim(value);
    while (value.count && (value.at[value.count - 1] == '\r' || value.at[value.count - 1] == '\n'))
        value.count--;
    if (bytes_equal_nocase(name, BYTES("Location")))
        snprintf(answer->location, sizeof answer->location, "%.*s", BYTES_ARG(value));
    else if (bytes_equal_nocase(name, BYTES("Retry-After")) && !bytes_to_i64(value, &answer->retry_after_s))
        answer->retry_after_s = 0;
    return size * count;
}

/* The listener's own end is told; a call's end is left for whoever runs it. */
static bool ended(struct client *client, CURL *handle, CURLcode *ret)
{
    bool mine = false;
    int left;
    for (CURLMsg *message; (message = curl_multi_info_read(client->multi, &left));) {
        if (message->msg != CURLMSG_DONE)
            continue;
        CURLcode code = message->data.result;
        if (message->easy_handle == handle) {
            *ret = code;
            mine = true;
        } else if (message->easy_handle == client->listener) {
            long status = 0;
            struct client_listening listening = client->listening;
            struct buf refusal = client->refusal;
            char why[CURL_ERROR_SIZE];
            curl_easy_getinfo(client->listener, CURLINFO_RESPONSE_CODE, &status);
            snprintf(why, sizeof why, "%s", client->listener_error[0] ? client->listener_error : curl_easy_strerror(code));
            buf_init(&client->refusal, CLIENT_LINE_BYTES);
            client_stop_listening(client);
            listening.ended(listening.data, (int)status, buf_bytes(&refusal), code ? why : NULL);
            buf_done(&refusal);
        }
    }
    return mine;
}

void client_turn(struct client *client, int ms)
{
    int running;
    CURLcode unused;
    curl_multi_perform(client->multi, &running);
    ended(client, NULL, &unused);
    curl_multi_poll(client->multi, NULL, 0, ms, NULL);
    curl_multi_perform(client->multi, &running);
    ended(client, NULL, &unused);
}

static CURLcode run(struct client *client, CURL *handle)
{
    CURLcode code = CURLE_OK;
    int running;
    curl_multi_add_handle(client->multi, handle);
    for (;;) {
        curl_multi_perform(client->multi, &running);
        if (ended(client, handle, &code))
            break;
        curl_multi_poll(client->multi, NULL, 0, 1000, NULL);
    }
    curl_multi_remove_handle(client->multi, handle);
    return code;
}

static curl_mime *form_of(CURL *handle, const struct client_request *request)
{
    curl_mime *form = curl_mime_init(handle);
    curl_mimepart *part = curl_mime_addpart(form);
    if (!request->file) {
        curl_mime_name(part, "params");
        curl_mime_data(part, request->params, CURL_ZERO_TERMINATED);
        return form;
    }
    curl_mime_name(part, "files");
    curl_mime_filedata(part, request->file);
    curl_mime_filename(part, request->file_name ? request->file_name : request->file);
    if (request->type)
        curl_mime_type(part, request->type);
    return form;
}

static int transfer(struct client *client, const struct client_request *request, struct call *call, struct problem *problem)
{
    struct client_answer *answer = call->answer;
    char why[CURL_ERROR_SIZE] = "";
    long status = 0;
    CURL *handle = call->handle = handle_of(client, request->path);
    curl_mime *form = request->file || request->params ? form_of(handle, request) : NULL;
    struct curl_slist *headers = headers_of(client, request->headers, form ? NULL : request->type);
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, why);
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(handle, CURLOPT_HEADERDATA, answer);
    if (form) {
        curl_easy_setopt(handle, CURLOPT_MIMEPOST, form);
    } else if (request->stream) {
        curl_easy_setopt(handle, CURLOPT_POST, 1L);
        curl_easy_setopt(handle, CURLOPT_READDATA, request->stream);
    } else if (request->body.count || !strcmp(request->method, "POST")) {
        curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.count);
        curl_easy_setopt(handle, CURLOPT_POSTFIELDS, request->body.count ? request->body.at : "");
    }
    if (strcmp(request->method, "GET") && (strcmp(request->method, "POST") || form))
        curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, request->method);
    CURLcode code = run(client, handle);
    curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
    answer->status = (int)status;
    curl_easy_cleanup(handle);
    curl_mime_free(form);
    curl_slist_free_all(headers);
    if (!code || (status >= 400 && answer->body.count))      /* refused while it was still sending: the answer counts */
        return 0;
    return problem_set(problem, "%s does not answer: %s", client->base, why[0] ? why : curl_easy_strerror(code));
}

/* ---- calls ---- */

void client_answer_done(struct client_answer *answer)
{
    buf_done(&answer->body);
}

int client_call(struct client *client, const struct client_request *request, struct client_answer *ret, struct problem *problem)
{
    struct call call = {.answer = ret};
    *ret = (struct client_answer){0};
    buf_init(&ret->body, CLIENT_ANSWER_BYTES);
    return transfer(client, request, &call, problem);
}

static int64_t now_s(void)
{
    return loop_now_us(NULL) / 1000000;
}

int client_insist(struct client *client, const struct client_request *request, int64_t patience_s, struct client_answer *ret,
                  struct problem *problem)
{
    int64_t until = now_s() + patience_s, pause = 1;
    for (;;) {
        int answer = client_call(client, request, ret, problem);
        bool busy = !answer && (ret->status == 429 || ret->status == 503);
        if ((!answer && !busy) || now_s() >= until)
            return answer;
        int64_t rest = ret->retry_after_s ? ret->retry_after_s : pause;
        pause = pause * 2 < PAUSE_S_MAX ? pause * 2 : PAUSE_S_MAX;
        client_answer_done(ret);
        for (int64_t end = now_s() + (rest < PAUSE_S_MAX ? rest : PAUSE_S_MAX); now_s() < end;)
            client_turn(client, 200);
        if (problem)
            *problem = (struct problem){0};
    }
}

int client_refusal(const struct client_answer *answer, struct problem *problem)
{
    struct json_object *body JSON_OWNED = json_parse(buf_bytes(&answer->body), NULL);
    struct bytes detail = json_get_bytes(body, "detail");
    if (detail.count)
        return problem_set(problem, "%.*s", BYTES_ARG(detail));
    return problem_set(problem, "the server answered with status %d", answer->status);
}

int client_pour(struct client *client, const struct client_request *request, bool (*take)(void *data, struct bytes piece), void *data,
                int *ret_status, struct problem *problem)
{
    struct client_answer answer CLIENT_ANSWER_OWNED = {0};
    struct call call = {.answer = &answer, .take = take, .data = data};
    buf_init(&answer.body, CLIENT_ANSWER_BYTES);
    if (transfer(client, request, &call, problem))
        return -1;
    *ret_status = answer.status;
    return answer.status == 200 ? 0 : client_refusal(&answer, problem);
}

/* ---- lines ---- */

static size_t take_lines(char *at, size_t size, size_t count, void *data)
{
    struct client *client = data;
    struct bytes piece = {at, size * count};
    long status = 0;
    curl_easy_getinfo(client->listener, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200)
        return buf_put(&client->refusal, piece) ? piece.count : 0;
    while (piece.count) {
        const char *end = memchr(piece.at, '\n', piece.count);
        struct bytes part = {piece.at, end ? (size_t)(end - piece.at) : piece.count};
        if (!buf_put(&client->line, part))
            return 0;
        piece.at += part.count + (end != NULL);
        piece.count -= part.count + (end != NULL);
        if (!end)
            break;
        client->listening.line(client->listening.data, buf_bytes(&client->line));
        buf_clear(&client->line);
    }
    return size * count;
}

void client_listen(struct client *client, const char *path, const char *headers[], const struct client_listening *listening)
{
    client_stop_listening(client);
    client->listening = *listening;
    client->listener = handle_of(client, path);
    client->listener_headers = headers_of(client, headers, NULL);
    client->listener_error[0] = 0;
    curl_easy_setopt(client->listener, CURLOPT_HTTPHEADER, client->listener_headers);
    curl_easy_setopt(client->listener, CURLOPT_ERRORBUFFER, client->listener_error);
    curl_easy_setopt(client->listener, CURLOPT_WRITEFUNCTION, take_lines);
    curl_easy_setopt(client->listener, CURLOPT_WRITEDATA, client);
    curl_easy_setopt(client->listener, CURLOPT_LOW_SPEED_LIMIT, 1L);      /* a wire that is silent beyond every sign of life is dead */
    curl_easy_setopt(client->listener, CURLOPT_LOW_SPEED_TIME, (long)SILENCE_S);
    curl_multi_add_handle(client->multi, client->listener);
}

void client_stop_listening(struct client *client)
{
    if (!client->listener)
        return;
    curl_multi_remove_handle(client->multi, client->listener);
    curl_easy_cleanup(client->listener);
    curl_slist_free_all(client->listener_headers);
    client->listener = NULL;
    client->listener_headers = NULL;
    buf_clear(&client->line);
    buf_clear(&client->refusal);
}

bool client_listens(const struct client *client)
{
    return client->listener != NULL;
}
