#include "os/fetch_url.h"

#include "base/limits.h"
#include "os/fetch.h"

#include <ctype.h>
#include <curl/curl.h>
#include <stdlib.h>

static char *part_of(CURLU *url, CURLUPart part, unsigned flags)
{
    char *text = NULL;
    return curl_url_get(url, part, &text, flags) ? NULL : text;
}

static CURLU *parse(const char *text)
{
    CURLU *url = curl_url();
    if (url && curl_url_set(url, CURLUPART_URL, text, CURLU_URLENCODE | CURLU_ALLOW_SPACE)) {
        curl_url_cleanup(url);
        return NULL;
    }
    return url;
}

static bool has_control(struct bytes text)
{
    for (size_t i = 0; i < text.count; i++)
        if ((unsigned char)text.at[i] < 0x20 || text.at[i] == 0x7f)
            return true;
    return false;
}

static int check_parts(CURLU *url, struct problem *problem)
{
    char *scheme = part_of(url, CURLUPART_SCHEME, 0), *host = part_of(url, CURLUPART_HOST, 0), *user = part_of(url, CURLUPART_USER, 0),
         *password = part_of(url, CURLUPART_PASSWORD, 0);
    int result = 0;
    if (!scheme || (strcmp(scheme, "http") && strcmp(scheme, "https")))
        result = problem_set(problem, "the address has the scheme %.20s: only http and https can be called", scheme ? scheme : "?");
    else if (!host || !host[0])
        result = problem_set(problem, "the address has no host");
    else if (user || password)
        result = problem_set(problem, "the address of %.200s has a user name or password in it: give credentials as a header", host);
    curl_free(scheme);
    curl_free(host);
    curl_free(user);
    curl_free(password);
    return result;
}

int fetch_url_check(struct bytes text, struct buf *ret, struct problem *problem)
{
    if (!text.count)
        return problem_set(problem, "the address is empty");
    if (text.count > LIMIT_FETCH_URL_BYTES)
        return problem_set(problem, "the address has %zu bytes: at most %d are sent", text.count, LIMIT_FETCH_URL_BYTES);
    if (has_control(text))
        return problem_set(problem, "the address has a control character in it");
    struct buf copy BUF_OWNED;
    buf_init(&copy, LIMIT_FETCH_URL_BYTES + 1);
    buf_put(&copy, text);
    CURLU *url = parse(buf_z(&copy));
    if (!url)
        return problem_set(problem, "the address cannot be read: it must be http://HOST/… or https://HOST/…");
    int result = check_parts(url, problem);
    curl_url_set(url, CURLUPART_FRAGMENT, NULL, 0);
    char *whole = result ? NULL : part_of(url, CURLUPART_URL, 0);
    if (whole)
        buf_text(ret, whole);
    else if (!result)
        result = problem_set(problem, "the address cannot be read");
    curl_free(whole);
    curl_url_cleanup(url);
    return result;
}

void fetch_url_host(const char *text, struct buf *ret)
{
    CURLU *url = parse(text);
    char *host = url ? part_of(url, CURLUPART_HOST, 0) : NULL, *port = url ? part_of(url, CURLUPART_PORT, 0) : NULL;
    buf_text(ret, host ? host : "?");
    if (port)
        buf_print(ret, ":%s", port);
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(url);
}

/* Whether one of the words of a field's name ("api_key", "X-Signature", "auth_header") tells that its value is not for a file. */
static bool is_secret(struct bytes name)
{
    static const char *const words[] = {"key", "apikey", "token", "auth", "authorization", "secret", "password", "passwd", "pwd", "signature", "sig",
                                        "credential", "credentials", "session", "notify", "webhook", "callback", "endpoint"};
    while (name.count) {
        size_t count = 0;
        while (count < name.count && isalnum((unsigned char)name.at[count]))
            count++;
        for (size_t i = 0; i < sizeof words / sizeof *words; i++)
            if (bytes_equal_nocase((struct bytes){name.at, count}, bytes_of(words[i])))
                return true;
        count += count < name.count;
        name = (struct bytes){name.at + count, name.count - count};
    }
    return false;
}

static void mask_query(struct bytes query, struct buf *ret)
{
    for (bool first = true; query.count; first = false) {
        struct bytes value = bytes_cut(&query, '&'), whole = value, name = bytes_cut(&value, '=');
        buf_byte(ret, first ? '?' : '&');
        if (is_secret(name)) {
            buf_put(ret, name);
            buf_text(ret, "=-");
        } else {
            buf_put(ret, whole);
        }
    }
}

void fetch_url_mask(const char *text, struct buf *ret)
{
    CURLU *url = parse(text);
    if (!url)
        return;
    char *query = part_of(url, CURLUPART_QUERY, 0);
    curl_url_set(url, CURLUPART_QUERY, NULL, 0);
    char *rest = part_of(url, CURLUPART_URL, 0);
    buf_text(ret, rest ? rest : "?");
    if (query)
        mask_query(bytes_of(query), ret);
    curl_free(query);
    curl_free(rest);
    curl_url_cleanup(url);
}

bool fetch_same_origin(struct bytes a, struct bytes b)
{
    static const CURLUPart parts[] = {CURLUPART_SCHEME, CURLUPART_HOST, CURLUPART_PORT};
    bool same = a.count <= LIMIT_FETCH_URL_BYTES && b.count <= LIMIT_FETCH_URL_BYTES;
    struct buf texts[2] = {{0}};
    CURLU *urls[2] = {NULL, NULL};
    for (int i = 0; same && i < 2; i++) {
        buf_init(&texts[i], LIMIT_FETCH_URL_BYTES + 1);
        buf_put(&texts[i], i ? b : a);
        urls[i] = parse(buf_z(&texts[i]));
        same = urls[i] != NULL;
    }
    for (size_t i = 0; same && i < sizeof parts / sizeof *parts; i++) {
        char *left = part_of(urls[0], parts[i], CURLU_DEFAULT_PORT), *right = part_of(urls[1], parts[i], CURLU_DEFAULT_PORT);
        same = left && right && bytes_equal_nocase(bytes_of(left), bytes_of(right));
        curl_free(left);
        curl_free(right);
    }
    for (int i = 0; i < 2; i++) {
        curl_url_cleanup(urls[i]);
        buf_done(&texts[i]);
    }
    return same;
}
