/* One transfer: how curl is told what to do, what it calls, and what its end means. Redirects are followed here and not by curl, so that
 * every hop is checked and nothing but harmless headers goes to another origin. */
#include "os/fetch_own.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "os/file.h"
#include "os/fetch_url.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int fetch_spool_file(const char *dir)
{
    char path[4096];
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0)
        return fd;
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)
        return -errno;
    if ((size_t)snprintf(path, sizeof path, "%s/.spool-XXXXXX", dir) >= sizeof path)
        return -ENAMETOOLONG;
    fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return -errno;
    unlink(path);
    return fd;
}

/* ---- what curl calls ---- */

static curl_socket_t open_socket(void *data, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct fetch_call *call = data;
    if (call->guarded && !guard_allows(&call->fetch->guard, &address->addr)) {
        call->closed_door = true;
        return CURL_SOCKET_BAD;
    }
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    call->opened |= fd >= 0;
    return fd < 0 ? CURL_SOCKET_BAD : fd;
}

/* Curl sends a request again by itself when a connection it kept turns out to be dead. For what must not happen twice that is not for curl
 * to decide: whoever asked is told that the wire broke. */
static int before_request(void *data, char *ip, char *local, int port, int local_port)
{
    struct fetch_call *call = data;
    bool once = strcmp(call->verb, "GET") && strcmp(call->verb, "HEAD") && strcmp(call->verb, "PUT") && strcmp(call->verb, "DELETE");
    return call->sent++ && once ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

static size_t take_header(char *at, size_t size, size_t count, void *data)
{
    struct fetch_call *call = data;
    struct bytes line = {at, size * count};
    struct buf *head = &call->own.head;
    while (line.count && (line.at[line.count - 1] == '\n' || line.at[line.count - 1] == '\r'))
        line.count--;
    if (bytes_start(line, BYTES("HTTP/"))) {
        buf_clear(head);
    } else if (line.count && head->count + line.count + 1 <= head->max) {
        buf_put(head, line);
        buf_byte(head, '\n');
    }
    return size * count;
}

static long status_of(struct fetch_call *call)
{
    long status = 0;
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    return status;
}

/* While the disk is full the transfer pauses, as long as the call has time: the other side may have done, and billed, what it will not give twice. What
 * was written of the piece goes: it comes again. */
static bool pauses(struct fetch_call *call)
{
    int file = call->own.file;
    if (!file_no_space(call->file_error) || (file >= 0 && (ftruncate(file, call->own.bytes) || lseek(file, call->own.bytes, SEEK_SET) < 0)))
        return false;
    heap_add(&call->fetch->lanes[call->guarded].waits, &call->wait, loop_now_us(NULL) + LIMIT_ROOM_US);
    return true;
}

static size_t take_file(struct fetch_call *call, struct bytes piece)
{
    if (call->own.file < 0)
        call->own.file = fetch_spool_file(call->fetch->spool_dir);
    call->file_error = call->own.file < 0 ? call->own.file : file_write(call->own.file, piece);
    if (call->file_error)
        return pauses(call) ? CURL_WRITEFUNC_PAUSE : 0;
    call->own.bytes += (int64_t)piece.count;
    return piece.count;
}

static size_t take_body(char *at, size_t size, size_t count, void *data)
{
    struct fetch_call *call = data;
    struct fetch_own *own = &call->own;
    struct bytes piece = {at, size * count};
    bool good = status_of(call) / 100 == 2;
    if (!good && own->body.count + piece.count > LIMIT_FETCH_ERROR_BYTES) {
        piece.count = LIMIT_FETCH_ERROR_BYTES - own->body.count;
        call->cut = true;
    }
    if (good && own->bytes + (int64_t)piece.count > call->answer_max) {
        call->too_large = true;
        return 0;
    }
    if (good && call->spool)
        return take_file(call, piece);
    own->bytes += piece.count;
    return buf_put(&own->body, piece) && !call->cut ? piece.count : 0;
}

/* ---- setting up ---- */

static void add_field(struct fetch_call *call, const char *name, struct bytes value, const char *file)
{
    curl_mimepart *part = curl_mime_addpart(call->form);
    curl_mime_name(part, name);
    curl_mime_data(part, value.at ? value.at : "", value.count);
    if (file)
        curl_mime_filename(part, file);
}

static int set_form(struct fetch_call *call, struct problem *problem)
{
    call->form = curl_mime_init(call->easy);
    if (call->part_fields) {
        struct json_object *fields JSON_OWNED = json_parse(bytes_of(call->part_fields), problem);
        if (!fields || json_object_get_type(fields) != json_type_object)
            return problem_set(problem, "the fields of a form must be a JSON object");
        json_object_object_foreach(fields, key, value) {
            const char *text = value ? json_object_get_string(value) : "";
            add_field(call, key, bytes_of(text), NULL);
        }
    }
    add_field(call, call->part_name, (struct bytes){call->body, call->body_count}, call->part_file ? call->part_file : "file");
    return 0;
}

static bool has_header(const struct fetch_call *call, const char *name)
{
    for (struct curl_slist *line = call->headers; line; line = line->next) {
        struct bytes key = bytes_of(line->data);
        key.count = strcspn(line->data, ":;");
        if (bytes_equal_nocase(key, bytes_of(name)))
            return true;
    }
    return false;
}

static void set_body(struct fetch_call *call)
{
    bool get = !strcmp(call->verb, "GET"), head = !strcmp(call->verb, "HEAD"), post = !strcmp(call->verb, "POST");
    curl_easy_setopt(call->easy, CURLOPT_CUSTOMREQUEST, NULL);
    if (call->form) {
        curl_easy_setopt(call->easy, CURLOPT_MIMEPOST, call->form);
    } else if (call->body || post) {
        curl_easy_setopt(call->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body_count);
        curl_easy_setopt(call->easy, CURLOPT_POSTFIELDS, call->body ? call->body : "");
    } else if (head) {
        curl_easy_setopt(call->easy, CURLOPT_NOBODY, 1L);
        return;
    } else {
        curl_easy_setopt(call->easy, CURLOPT_HTTPGET, 1L);
    }
    if (!post && (!get || call->body))
        curl_easy_setopt(call->easy, CURLOPT_CUSTOMREQUEST, call->verb);
}

static void set_reach(struct fetch_call *call)
{
    CURL *easy = call->easy;
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, call);
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, before_request);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, call);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, call->guarded ? (long)CURL_HTTP_VERSION_1_1 : (long)CURL_HTTP_VERSION_2TLS);
    if (!call->guarded)
        return;
    curl_easy_setopt(easy, CURLOPT_PROXY, "");              /* the environment's neither: a proxy would connect for us, unchecked */
    curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
}

static void set_times(struct fetch_call *call)
{
    int64_t left_us = call->began_us + call->timeout_us - loop_now_us(NULL), most_us = LIMIT_FETCH_CONNECT_US;
    long left_ms = left_us < 1000 ? 1 : (long)(left_us / 1000);
    curl_easy_setopt(call->easy, CURLOPT_TIMEOUT_MS, left_ms);
    curl_easy_setopt(call->easy, CURLOPT_CONNECTTIMEOUT_MS, left_us < most_us ? left_ms : (long)(most_us / 1000));
}

static void add_own_headers(struct fetch_call *call)
{
    call->headers = curl_slist_append(call->headers, "Expect:");             /* never wait for a 100 */
    if (!has_header(call, "Accept-Encoding"))
        call->headers = curl_slist_append(call->headers, "Accept-Encoding: identity");
    if (!call->form && !has_header(call, "Content-Type"))
        call->headers = curl_slist_append(call->headers, call->body ? "Content-Type: application/json" : "Content-Type:");
}

int fetch_easy_begin(struct fetch_call *call, struct problem *problem)
{
    CURL *easy = call->easy = curl_easy_init();
    if (!easy)
        return problem_set(problem, "libcurl cannot make a call");
    call->at = mem_text(call->url);
    call->verb = call->method;
    if (call->part_name && set_form(call, problem))
        return -1;
    add_own_headers(call);
    curl_easy_setopt(easy, CURLOPT_URL, call->at);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);         /* a dropped call does not wait for its name to be resolved */
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->error);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, call->fetch->user_agent);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->headers);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, call);
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
    set_reach(call);
    set_times(call);
    set_body(call);
    return 0;
}

CURLcode fetch_easy_resume(struct fetch_call *call)
{
    heap_leave(&call->fetch->lanes[call->guarded].waits, &call->wait);
    return call->blind ? CURLE_OUT_OF_MEMORY : curl_easy_pause(call->easy, CURLPAUSE_CONT);
}

/* Handles that curl makes for itself have no call. */
void fetch_easy_blind(CURL *easy, int error)
{
    char *own = NULL;
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &own);
    struct fetch_call *call = (void *)own;
    if (!call)
        return;
    struct heap *waits = &call->fetch->lanes[call->guarded].waits;
    call->blind = error;
    heap_leave(waits, &call->wait);
    heap_add(waits, &call->wait, loop_now_us(NULL));
}

void fetch_easy_free(struct fetch_call *call)
{
    if (call->easy)
        curl_easy_cleanup(call->easy);
    curl_mime_free(call->form);
    call->easy = NULL;
    call->form = NULL;
}

/* ---- its end ---- */

static bool is_redirect(long status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* What names no one and opens no door may go to another origin. */
static void keep_harmless_headers(struct fetch_call *call)
{
    static const char *const harmless[] = {"Accept", "Accept-Encoding", "Content-Type", "Expect", "User-Agent"};
    struct curl_slist *kept = NULL;
    for (struct curl_slist *line = call->headers; line; line = line->next) {
        struct bytes key = {line->data, strcspn(line->data, ":;")};
        for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
            if (bytes_equal_nocase(key, bytes_of(harmless[i])))
                kept = curl_slist_append(kept, line->data);
    }
    curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, kept);
    curl_slist_free_all(call->headers);
    call->headers = kept;
}

static void become_get(struct fetch_call *call)
{
    curl_easy_setopt(call->easy, CURLOPT_MIMEPOST, NULL);
    curl_mime_free(call->form);
    call->form = NULL;
    free(call->body);
    call->body = NULL;
    call->body_count = 0;
    call->verb = "GET";
}

/* True when there is a next hop; else call->answer says why not. */
static bool follow(struct fetch_call *call, long status)
{
    char *location = NULL;
    struct buf next BUF_OWNED;
    buf_init(&next, 3 * LIMIT_FETCH_URL_BYTES);
    curl_easy_getinfo(call->easy, CURLINFO_REDIRECT_URL, &location);
    if (call->hops++ == LIMIT_FETCH_REDIRECTS)
        problem_set(&call->answer.problem, "the address redirects more than %d times", LIMIT_FETCH_REDIRECTS);
    else
        fetch_url_check(bytes_of(location), &next, &call->answer.problem);
    if (problem_is(&call->answer.problem)) {
        call->answer.end = FETCH_REFUSED;
        return false;
    }
    if (!fetch_same_origin(bytes_of(call->at), buf_bytes(&next)))
        keep_harmless_headers(call);
    bool post = !strcmp(call->verb, "POST");
    if ((status == 303 && strcmp(call->verb, "HEAD")) || (post && status <= 302))
        become_get(call);
    free(call->at);
    call->at = mem_text(buf_z(&next));
    call->sent = 0;
    call->opened = call->closed_door = call->cut = false;
    call->blind = 0;
    call->own.bytes = 0;
    buf_clear(&call->own.body);
    curl_easy_setopt(call->easy, CURLOPT_URL, call->at);
    set_body(call);
    set_times(call);
    return true;
}

static enum fetch_end end_of(struct fetch_call *call, CURLcode code)
{
    if (call->too_large)
        return FETCH_TOO_LARGE;
    if (!code || (code == CURLE_WRITE_ERROR && call->cut))
        return FETCH_ANSWERED;
    if (code == CURLE_OPERATION_TIMEDOUT)
        return FETCH_TIMEOUT;
    bool unsaid = code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL;      /* also what curl calls an answer that is no HTTP */
    if ((unsaid && !call->sent) || (call->closed_door && !call->opened))
        return FETCH_REFUSED;
    return FETCH_NETWORK;
}

static void explain(struct fetch_call *call, CURLcode code)
{
    struct problem *problem = &call->answer.problem;
    struct buf host BUF_OWNED;
    buf_init(&host, 256);
    fetch_url_host(call->at, &host);
    const char *name = buf_z(&host);
    if (call->too_large)
        problem_set(problem, "the answer of %s is longer than %lld bytes", name, (long long)call->answer_max);
    else if (call->file_error)
        problem_set(problem, "the answer of %s cannot be kept in %s: %s", name, call->fetch->spool_dir, strerror(-call->file_error));
    else if (call->blind)
        problem_set(problem, "the connection to %s cannot be watched: %s", name, strerror(call->blind));
    else if (code == CURLE_OPERATION_TIMEDOUT)
        problem_set(problem, "%s did not answer within %.3g s", name, (double)call->timeout_us / 1e6);
    else if (call->closed_door && !call->opened)
        problem_set(problem, "%s is not a public address: calls to it are refused unless RIVULET_NET_ALLOW lists it", name);
    else if (code == CURLE_ABORTED_BY_CALLBACK)
        problem_set(problem, "the connection to %s broke while the request was sent", name);
    else
        problem_set(problem, "the call to %s failed: %s", name, call->error[0] ? call->error : curl_easy_strerror(code));
}

/* Nothing came that would need the disk, which may be full. */
static int empty_file(void)
{
    int file = memfd_create("answer", MFD_CLOEXEC);
    return file < 0 ? -errno : file;
}

bool fetch_easy_end(struct fetch_call *call, CURLcode code)
{
    long status = status_of(call);
    struct fetch_own *own = &call->own;
    call->answer.end = end_of(call, code);
    own->status = (int)status;
    if (call->answer.end != FETCH_ANSWERED) {
        explain(call, code);
        return false;
    }
    if (call->redirects && is_redirect(status) && fetch_header(&(struct fetch_answer){.own = own}, "location").count)
        return follow(call, status);
    if (call->spool && status / 100 == 2 && own->file < 0 && (own->file = empty_file()) < 0) {
        call->file_error = own->file;
        call->answer.end = FETCH_NETWORK;
        explain(call, CURLE_WRITE_ERROR);
        return false;
    }
    if (own->file >= 0)
        lseek(own->file, 0, SEEK_SET);
    return false;
}
