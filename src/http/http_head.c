#include "http/http_head.h"

static const char *const METHODS[HTTP_METHODS] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};

const char *http_method_name(enum http_method method)
{
    return METHODS[method];
}

int http_head_scan(struct bytes sofar, size_t *at)
{
    const char *text = sofar.at;
    for (size_t i = *at; i < sofar.count; i++) {
        unsigned char c = (unsigned char)text[i];
        bool after_cr = i > 0 && text[i - 1] == '\r';
        *at = i;
        if ((c == '\n') != after_cr || c == 0x7f || (c < 0x20 && c != '\n' && c != '\r' && c != '\t'))
            return -1;
        if (c == '\n' && i >= 3 && text[i - 2] == '\n')      /* and each of them behind a CR */
            return (int)i + 1;
    }
    *at = sofar.count;
    return 0;
}

static bool is_token_char(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_token(struct bytes view)
{
    for (size_t i = 0; i < view.count; i++)
        if (!is_token_char((unsigned char)view.at[i]))
            return false;
    return view.count > 0;
}

static int refuse(struct problem *problem, int status, const char *sentence)
{
    problem_set(problem, "%s", sentence);
    return status;
}

/* The next line without its CRLF; false when there is none. */
static bool next_line(struct bytes *rest, struct bytes *ret)
{
    const char *end = rest->count ? memmem(rest->at, rest->count, "\r\n", 2) : NULL;
    if (!end)
        return false;
    *ret = (struct bytes){rest->at, (size_t)(end - rest->at)};
    rest->count -= ret->count + 2;
    rest->at = end + 2;
    return true;
}

static int read_method(struct bytes word, struct http_head *ret, struct problem *problem)
{
    for (int i = 0; i < HTTP_METHODS; i++)
        if (bytes_equal(word, bytes_of(METHODS[i]))) {
            ret->method = (enum http_method)i;
            return 0;
        }
    if (!is_token(word) || word.count > 20)
        return refuse(problem, 400, "The request does not begin with a method.");
    problem_set(problem, "The method %.*s is not known here.", BYTES_ARG(word));
    return 501;
}

static int read_version(struct bytes word, struct http_head *ret, struct problem *problem)
{
    if (bytes_equal(word, BYTES("HTTP/1.1")) || bytes_equal(word, BYTES("HTTP/1.0"))) {
        ret->minor = word.at[7] - '0';
        return 0;
    }
    if (bytes_start(word, BYTES("HTTP/")) && word.count == 8)
        return refuse(problem, 505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.");
    return refuse(problem, 400, "The request line must end with HTTP/1.1.");
}

/* Origin form is a path; an absolute one names its authority too, which must be what Host says, so that nobody has to choose. */
static int read_target(struct http_head *ret, struct bytes *ret_authority, struct problem *problem)
{
    struct bytes rest = ret->target;
    for (size_t i = 0; i < rest.count; i++)
        if ((unsigned char)rest.at[i] <= 0x20 || (unsigned char)rest.at[i] >= 0x7f || rest.at[i] == '#')
            return refuse(problem, 400, "The request target holds a byte that must be percent-encoded.");
    if (rest.count > 7 && bytes_equal_nocase((struct bytes){rest.at, 7}, BYTES("http://"))) {
        rest.at += 7;
        rest.count -= 7;
        size_t count = 0;
        while (count < rest.count && rest.at[count] != '/' && rest.at[count] != '?')
            count++;
        *ret_authority = (struct bytes){rest.at, count};
        rest.at += count;
        rest.count -= count;
        if (!count)
            return refuse(problem, 400, "The request target names no host.");
    } else if (bytes_equal(rest, BYTES("*")) && ret->method == HTTP_OPTIONS) {
        ret->path = rest;
        return 0;
    } else if (!rest.count || rest.at[0] != '/') {
        return refuse(problem, 400, "The request target must begin with a slash.");
    }
    ret->path = bytes_cut(&rest, '?');
    ret->query = rest;
    if (!ret->path.count)
        ret->path = BYTES("/");
    return 0;
}

static int read_request_line(struct bytes line, struct http_head *ret, struct bytes *ret_authority, struct problem *problem)
{
    struct bytes method = bytes_cut(&line, ' ');
    ret->target = bytes_cut(&line, ' ');
    int status = read_method(method, ret, problem);
    if (!status)
        status = read_version(line, ret, problem);
    if (!status && ret->target.count > LIMIT_HTTP_TARGET_BYTES) {
        problem_set(problem, "The request target has %zu bytes, at most %d are taken.", ret->target.count, LIMIT_HTTP_TARGET_BYTES);
        status = 414;
    }
    return status ? status : read_target(ret, ret_authority, problem);
}

static int read_fields(struct bytes rest, struct http_head *ret, struct problem *problem)
{
    struct bytes line;
    while (next_line(&rest, &line)) {
        if (!line.count)
            return rest.count ? refuse(problem, 400, "Bytes stand behind the end of the head.") : 0;
        if (line.at[0] == ' ' || line.at[0] == '\t')
            return refuse(problem, 400, "A header line is folded; write it on one line.");
        if (!memchr(line.at, ':', line.count))
            return refuse(problem, 400, "A header line has no colon.");
        if (ret->fields_count == LIMIT_HTTP_FIELDS) {
            problem_set(problem, "The request has more than %d header fields.", LIMIT_HTTP_FIELDS);
            return 431;
        }
        struct bytes value = line, name = bytes_cut(&value, ':');
        if (!is_token(name))
            return refuse(problem, 400, "A header field's name holds a byte that no name may hold (a space before the colon?).");
        ret->fields[ret->fields_count++] = (struct http_field){name, bytes_trim(value)};
    }
    return refuse(problem, 400, "The head does not end with an empty line.");
}

/* Fields of which there is one meaning only: a second one would let two readers understand two things. */
static const char *const ONCE[] = {"Host", "Content-Length", "Transfer-Encoding", "Content-Type", "Content-Encoding", "Expect",
                                   "Authorization", "Last-Event-ID", "Origin", "Idempotency-Key"};

static int count_of(const struct http_head *head, struct bytes name)
{
    int count = 0;
    for (int i = 0; i < head->fields_count; i++)
        count += bytes_equal_nocase(head->fields[i].name, name);
    return count;
}

static int check_repeats(const struct http_head *head, struct problem *problem)
{
    for (size_t i = 0; i < sizeof ONCE / sizeof *ONCE; i++)
        if (count_of(head, bytes_of(ONCE[i])) > 1) {
            problem_set(problem, "The header %s comes more than once.", ONCE[i]);
            return 400;
        }
    return 0;
}

static int read_length(struct http_head *ret, struct problem *problem)
{
    struct bytes length = http_head_get(ret, "Content-Length"), coding = http_head_get(ret, "Transfer-Encoding");
    if (coding.at) {
        if (length.at)
            return refuse(problem, 400, "Content-Length and Transfer-Encoding exclude each other.");
        if (ret->minor == 0 || !bytes_equal_nocase(coding, BYTES("chunked")))
            return refuse(problem, 400, "The only Transfer-Encoding taken is chunked, in HTTP/1.1.");
        ret->length = -1;
        return 0;
    }
    uint64_t count = 0;
    if (length.at && (!bytes_to_u64(length, &count) || count > INT64_MAX))
        return refuse(problem, 400, "Content-Length is not a plain number.");
    ret->length = (int64_t)count;
    return 0;
}

static bool host_is_sound(struct bytes host)
{
    for (size_t i = 0; i < host.count; i++)
        if (!is_token_char((unsigned char)host.at[i]) && !strchr(":[]", host.at[i]))
            return false;
    return host.count <= 255 + 6;
}

static int read_host(struct bytes authority, struct http_head *ret, struct problem *problem)
{
    ret->host = http_head_get(ret, "Host");
    if (!ret->host.at && ret->minor == 1)
        return refuse(problem, 400, "An HTTP/1.1 request has to name its Host.");
    if (!host_is_sound(ret->host))
        return refuse(problem, 400, "Host is not the name of a host.");
    if (authority.at && ret->host.at && !bytes_equal_nocase(authority, ret->host))
        return refuse(problem, 400, "Host and the request target name two different hosts.");
    if (authority.at)
        ret->host = authority;
    return host_is_sound(ret->host) ? 0 : refuse(problem, 400, "The request target does not name a host.");
}

/* Does the comma-separated `list` (of a Connection, Accept … field) hold `word`, in any case? Parameters behind ';' are ignored. */
static bool list_has(struct bytes list, const char *word)
{
    while (list.count) {
        struct bytes entry = bytes_cut(&list, ',');
        if (bytes_equal_nocase(bytes_trim(bytes_cut(&entry, ';')), bytes_of(word)))
            return true;
    }
    return false;
}

static int read_meaning(struct bytes authority, struct http_head *ret, struct problem *problem)
{
    int status = check_repeats(ret, problem);
    if (!status)
        status = read_host(authority, ret, problem);
    if (!status)
        status = read_length(ret, problem);
    if (status)
        return status;
    struct bytes expect = http_head_get(ret, "Expect");
    if (expect.at && ret->minor == 1 && !bytes_equal_nocase(expect, BYTES("100-continue")))
        return refuse(problem, 417, "The only expectation understood is 100-continue.");
    ret->expects_continue = expect.at && ret->minor == 1 && ret->length != 0;
    ret->keeps_alive = ret->minor == 1;
    for (int i = 0; i < ret->fields_count; i++)
        if (bytes_equal_nocase(ret->fields[i].name, BYTES("Connection")) && list_has(ret->fields[i].value, "close"))
            ret->keeps_alive = false;
    return 0;
}

int http_head_read(struct bytes block, struct http_head *ret, struct problem *problem)
{
    struct bytes line, authority = {NULL, 0};
    ret->fields_count = 0;
    ret->query = (struct bytes){NULL, 0};
    if (!next_line(&block, &line))
        return refuse(problem, 400, "The request has no request line.");
    int status = read_request_line(line, ret, &authority, problem);
    if (!status)
        status = read_fields(block, ret, problem);
    return status ? status : read_meaning(authority, ret, problem);
}

struct bytes http_head_get(const struct http_head *head, const char *name)
{
    for (int i = 0; i < head->fields_count; i++)
        if (bytes_equal_nocase(head->fields[i].name, bytes_of(name)))
            return head->fields[i].value;
    return (struct bytes){NULL, 0};
}

bool http_accepts(const struct http_head *head, const char *type)
{
    for (int i = 0; i < head->fields_count; i++)
        if (bytes_equal_nocase(head->fields[i].name, BYTES("Accept")) && list_has(head->fields[i].value, type))
            return true;
    return false;
}

/* 127.0.0.1 and all of 127/8 in the usual four numbers. */
static bool is_loopback_v4(struct bytes name)
{
    int parts = 0;
    uint64_t number;
    if (!bytes_start(name, BYTES("127.")) || name.at[name.count - 1] == '.')
        return false;
    while (name.count) {
        struct bytes part = bytes_cut(&name, '.');
        if (!bytes_to_u64(part, &number) || number > 255)
            return false;
        parts++;
    }
    return parts == 4;
}

bool http_host_is_loopback(struct bytes host)
{
    if (bytes_start(host, BYTES("["))) {
        struct bytes name = bytes_cut(&host, ']');
        return bytes_equal(name, BYTES("[::1")) && (!host.count || host.at[0] == ':');
    }
    struct bytes name = bytes_cut(&host, ':');
    return bytes_equal_nocase(name, BYTES("localhost")) || is_loopback_v4(name);
}
