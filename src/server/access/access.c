#include "server/access/access.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/text.h"
#include "http/cors.h"
#include "http/query.h"
#include "server/lookup.h"
#include "server/note.h"
#include "server/access/quota.h"
#include "server/access/ticket.h"

#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

#define COOKIE "rivulet_session"

struct access {
    struct keyring keys;
    struct passes tickets, sessions;
    char *file, *text;                /* where the keys are read from; NULL = not there */
    struct key everybody;             /* whose passes are while there are no keys */
};

static bool has_keys(const struct service *service)
{
    return service->access->file || service->access->text;
}

/* ---- the guard ---- */

static bool refuse(struct http_request *request, const char *challenge, const char *sentence)
{
    http_header(request, "WWW-Authenticate", challenge);
    http_header(request, "Cache-Control", "no-store");
    http_refuse(request, 401, "%s", sentence);
    return false;
}

static bool by_key(struct http_request *request, const struct access *access, struct bytes value)
{
    struct bytes scheme = bytes_cut(&value, ' ');
    if (bytes_equal_nocase(scheme, BYTES("Bearer")))
        request->caller = keyring_find(&access->keys, bytes_trim(value));
    return request->caller || refuse(request, "Bearer realm=\"rivulet\", error=\"invalid_token\"", "This key is not known here.");
}

static bool ends_with(struct bytes text, struct bytes end)
{
    return text.count >= end.count && !memcmp(text.at + text.count - end.count, end.at, end.count);
}

/* Every job that the request names: the one in its path, or those of job=ID@CURSOR. At least one. */
static bool opens_all(const struct pass *pass, const struct http_request *request)
{
    struct bytes query = request->query, name, value;
    int named = 0;
    if (request->params_count)
        return pass_opens(pass, request->params[0]);
    while (query_next(&query, &name, &value)) {
        if (!bytes_equal(name, BYTES("job")))
            continue;
        named++;
        if (!pass_opens(pass, (struct bytes){value.at, value.count < 32 ? value.count : 32}))
            return false;
    }
    return named > 0;
}

/* One use, whatever comes of it. */
static bool by_ticket(struct http_request *request, struct service *service, struct bytes text)
{
    struct passes *tickets = &service->access->tickets;
    struct pass *ticket = pass_find(tickets, text, loop_now_us(service->loop));
    if (ticket && opens_all(ticket, request))
        request->caller = ticket->key;
    if (ticket)
        pass_end(tickets, ticket);
    return request->caller || refuse(request, "Bearer realm=\"rivulet\"",
                                     "This ticket opens nothing here: it is good for 30 seconds, once, and for the jobs it was made for.");
}

static struct pass *session_of(const struct http_request *request, struct service *service)
{
    struct bytes cookies = http_head_get(request->head, "Cookie");
    while (cookies.count) {
        struct bytes value = bytes_trim(bytes_cut(&cookies, ';')), name = bytes_cut(&value, '=');
        if (bytes_equal(name, BYTES(COOKIE)))
            return pass_find(&service->access->sessions, value, loop_now_us(service->loop));
    }
    return NULL;
}

static bool came_by_https(const struct http_request *request)
{
    struct bytes list = http_head_get(request->head, "X-Forwarded-Proto");
    return bytes_equal_nocase(bytes_trim(bytes_cut(&list, ',')), BYTES("https"));
}

/* Browsers send Origin with whatever may change something, and no page can forge it. */
static bool same_origin(const struct http_request *request, const struct service *service)
{
    struct bytes origin = http_head_get(request->head, "Origin"), rest = origin;
    if (!origin.count)
        return false;
    if (service->settings.origins && cors_listed(service->settings.origins, origin))
        return true;
    struct bytes scheme = bytes_cut(&rest, ':');
    bool https = bytes_equal_nocase(scheme, BYTES("https")), http = bytes_equal_nocase(scheme, BYTES("http"));
    return (https || (http && !came_by_https(request))) && bytes_start(rest, BYTES("//")) &&
           bytes_equal_nocase((struct bytes){rest.at + 2, rest.count - 2}, request->head->host);
}

static bool by_session(struct http_request *request, struct service *service)
{
    struct pass *session = session_of(request, service);
    if (!session)
        return refuse(request, "Bearer realm=\"rivulet\"", "This needs a key: send it as Authorization: Bearer KEY.");
    bool reads = request->method == HTTP_GET || request->method == HTTP_HEAD;
    if (!reads && !same_origin(request, service)) {
        http_refuse(request, 403, "A cookie alone changes nothing: the request must come from a page of this server, and say so in Origin.");
        return false;
    }
    request->caller = session->key;
    return true;
}

/* Will the answer stay open for as long as there is news? It does where a route gives a stream before all else, and where one is asked for. */
static bool is_stream(const struct http_request *request, const struct route *route)
{
    char follow[8];
    return (route->gives && bytes_start(bytes_of(route->gives), BYTES("text/event-stream"))) || http_accepts(request->head, "text/event-stream") ||
           (!query_text(request->query, "follow", follow, sizeof follow) && strcmp(follow, "0"));
}

static bool may_ask(struct http_request *request, const struct route *route, struct service *service)
{
    char ticket[PASS_TEXT_SIZE + 1];
    struct bytes authorization = http_head_get(request->head, "Authorization");
    if (authorization.at)
        return by_key(request, service->access, authorization);
    bool events = request->method == HTTP_GET && ends_with(bytes_of(route->path), BYTES("/events"));
    int answer = events ? query_text(request->query, "ticket", ticket, sizeof ticket) : 1;
    if (answer <= 0)
        return by_ticket(request, service, answer ? (struct bytes){0} : bytes_of(ticket));
    return by_session(request, service);
}

static bool guard(struct http_request *request, const struct route *route, void *data)
{
    struct service *service = data;
    note_come(service->journal, request);
    if (route->open || !has_keys(service))
        return true;
    return may_ask(request, route, service) && !(is_stream(request, route) && quota_admit_stream(service, request));
}

/* ---- sessions ---- */

static void set_cookie(struct http_request *request, const char *value, int64_t seconds)
{
    char line[160];
    snprintf(line, sizeof line, "%s=%s; Path=/; HttpOnly; SameSite=Strict; Max-Age=%lld%s", COOKIE, value, (long long)seconds,
             came_by_https(request) ? "; Secure" : "");
    http_header(request, "Set-Cookie", line);
}

static void put_time(const struct service *service, struct buf *body, const char *name, int64_t ttl_us)
{
    char time[TEXT_TIME_SIZE];
    text_time(loop_wall_us(service->loop) + ttl_us, time);
    json_put_text(body, name, time);
}

static void put_quota(struct buf *body, const char *name, int64_t most)
{
    if (most >= 0)
        json_put_int(body, name, most);
}

/* Who the caller is to us. */
static void tell(struct service *service, struct http_request *request, int status, int64_t ttl_us)
{
    const struct key *key = key_of(request);
    struct buf body BUF_OWNED;
    buf_init(&body, 4096);
    json_open(&body, '{');
    json_put_bytes(&body, "owner", service_owner(service, request));
    json_put_flag(&body, "keys", key != NULL);
    if (key) {
        json_key(&body, "quota");
        json_open(&body, '{');
        put_quota(&body, "jobs", key->quota.jobs);
        put_quota(&body, "items", key->quota.items);
        put_quota(&body, "bytes", key->quota.bytes);
        put_quota(&body, "streams", key->quota.streams);
        json_close(&body, '}');
    }
    if (ttl_us)
        put_time(service, &body, "expires_at", ttl_us);
    json_close(&body, '}');
    http_header(request, "Cache-Control", "no-store");
    http_answer_buf(request, status, "application/json", &body);
}

static void get_session(struct http_request *request, void *service)
{
    tell(service, request, 200, 0);
}

static void post_session(struct http_request *request, void *data)
{
    struct service *service = data;
    char text[PASS_TEXT_SIZE];
    if (!key_of(request)) {
        tell(service, request, 200, 0);
    } else if (!http_head_get(request->head, "Authorization").at) {
        http_refuse(request, 400, "A session begins with a key: send it as Authorization: Bearer KEY.");
    } else {
        pass_issue(&service->access->sessions, key_of(request), (struct bytes){0}, loop_now_us(service->loop), text);
        set_cookie(request, text, LIMIT_SESSION_US / 1000000);
        OPENSSL_cleanse(text, sizeof text);
        tell(service, request, 201, LIMIT_SESSION_US);
    }
}

static void delete_session(struct http_request *request, void *data)
{
    struct service *service = data;
    struct pass *session = session_of(request, service);
    if (session)
        pass_end(&service->access->sessions, session);
    set_cookie(request, "", 0);
    http_answer(request, 204, NULL, (struct bytes){0});
}

/* ---- tickets ---- */

static void give_ticket(struct service *service, struct http_request *request, struct bytes jobs)
{
    struct key *key = key_of(request) ? key_of(request) : &service->access->everybody;
    char text[PASS_TEXT_SIZE];
    struct buf body BUF_OWNED;
    buf_init(&body, 1024);
    pass_issue(&service->access->tickets, key, jobs, loop_now_us(service->loop), text);
    json_open(&body, '{');
    json_put_text(&body, "ticket", text);
    put_time(service, &body, "expires_at", LIMIT_TICKET_US);
    json_close(&body, '}');
    OPENSSL_cleanse(text, sizeof text);
    http_header(request, "Cache-Control", "no-store");
    http_answer_buf(request, 201, "application/json", &body);
}

static void ticket_found(struct lookup *lookup, struct live *live)
{
    give_ticket(lookup->service, lookup->request, bytes_of(live_job(live)->id));
}

static void post_ticket(struct http_request *request, void *service)
{
    lookup_job(request, service, ticket_found);
}

static bool is_id(struct bytes id)
{
    for (size_t i = 0; i < id.count; i++)
        if (!strchr("0123456789abcdef", id.at[i]) || !id.at[i])
            return false;
    return id.count == 32;
}

/* The jobs themselves are looked at when the stream opens: a ticket gives nothing that its key does not. */
static void post_events_ticket(struct http_request *request, void *service)
{
    struct bytes query = request->query, name, value;
    struct buf jobs BUF_OWNED;
    int count = 0;
    bool good = true;
    buf_init(&jobs, LIMIT_MULTI_JOBS * 33);
    while (good && query_next(&query, &name, &value)) {
        if (!bytes_equal(name, BYTES("job")))
            continue;
        struct bytes id = bytes_cut(&value, '@');
        good = is_id(id) && ++count <= LIMIT_MULTI_JOBS;
        buf_put(&jobs, id);
        buf_byte(&jobs, ' ');
    }
    if (good && count)
        give_ticket(service, request, buf_bytes(&jobs));
    else
        http_refuse(request, 400, "Name 1 to %d jobs, each as job=ID.", LIMIT_MULTI_JOBS);
}

static const struct route routes[] = {
    {HTTP_GET, "/v1/session", get_session, "Who the caller is", "The owner and the quotas of the key. keys is false on a server without keys.",
     .schema = "Session"},
    {HTTP_POST, "/v1/session", post_session, "Begin a session",
     "With a key: sets a cookie (HttpOnly, SameSite=Strict, 12 hours) that stands for it in a browser. What changes something is then taken "
     "from pages of this server only. A restart ends all sessions. 200 on a server without keys, which needs none.", .schema = "Session", .status = 201},
    {HTTP_DELETE, "/v1/session", delete_session, "End the session", "Forgets it, and the cookie.", .status = 204},
    {HTTP_POST, "/v1/jobs/{id}/tickets", post_ticket, "A ticket for the events of a job",
     "For EventSource, which can send no key: GET /v1/jobs/{id}/events?ticket=… opens one stream, once, within 30 seconds.",
     .schema = "Ticket", .status = 201},
    {HTTP_POST, "/v1/events/tickets", post_events_ticket, "A ticket for the events of several jobs",
     "Opens GET /v1/events for these jobs, once, within 30 seconds.", .query = "job", .schema = "Ticket", .status = 201},
};

void access_add(struct service *service)
{
    router_add(service->router, routes, sizeof routes / sizeof *routes, service);
}

/* ---- life ---- */

int access_open(struct service *service, struct problem *problem)
{
    struct access *access = service->access = MEM_NEW(struct access);
    keyring_init(&access->keys);
    passes_init(&access->tickets, LIMIT_TICKET_US, LIMIT_KEY_TICKETS);
    passes_init(&access->sessions, LIMIT_SESSION_US, LIMIT_KEY_SESSIONS);
    access->file = mem_text(service->settings.keys_file);
    access->text = mem_text(service->settings.keys);
    router_guard(service->router, guard, service);
    return has_keys(service) ? access_reload(service, problem) : 0;
}

int access_reload(struct service *service, struct problem *problem)
{
    struct access *access = service->access;
    return keyring_load(&access->keys, access->file, access->text, problem);
}

void access_close(struct service *service)
{
    struct access *access = service->access;
    if (!access)
        return;
    passes_done(&access->tickets);
    passes_done(&access->sessions);
    keyring_done(&access->keys);
    if (access->text)
        OPENSSL_cleanse(access->text, strlen(access->text));
    free(access->text);
    free(access->file);
    free(access);
    service->access = NULL;
}
