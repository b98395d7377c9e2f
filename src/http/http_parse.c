/* Between the pieces of content that the library hands out lie the bytes of the chunk framing. They are watched here: a CR and a
 * LF only as a pair, one behind each chunk, no other control byte, and none beyond ASCII, which http-parser takes for the digit 0 in a size.
 * The libraries, built for clients of all sorts, are laxer than that. */
#include "http/http_parse.h"

#include <assert.h>

#if __has_include(<llhttp.h>)
#include <llhttp.h>
typedef llhttp_t library;
typedef llhttp_settings_t settings;
#else
#include <http_parser.h>
typedef http_parser library;
typedef http_parser_settings settings;
#endif

struct state {
    library parser;
    http_parse_fn *on_data;
    void *user;
    const char *framed;      /* up to here the framing was watched */
    bool after_cr;           /* the last framing byte was a CR */
    bool after_content;      /* the next framing byte ends a chunk's content */
    bool odd;                /* a framing byte that must not be */
    bool chunked;
    bool ended;
};

static_assert(sizeof(struct state) <= sizeof(struct http_parse), "room for the library's parser");

static void watch_framing(struct state *state, const char *until)
{
    if (state->chunked)
        for (const char *at = state->framed; at < until; at++) {
            unsigned char c = (unsigned char)*at;
            if ((c == '\n') != state->after_cr || c >= 0x7f || (c < 0x20 && c != '\r' && c != '\n' && c != '\t'))
                state->odd = true;
            if (state->after_content && c != '\r')
                state->odd = true;
            state->after_cr = c == '\r';
            state->after_content = false;
        }
    state->framed = until;
}

/* An Upgrade header is not taken up here: the body that follows, if any, is an ordinary one. */
static int on_head_complete(library *parser)
{
    parser->upgrade = 0;
    return 0;
}

static int on_body(library *parser, const char *at, size_t count)
{
    struct state *state = parser->data;
    watch_framing(state, at);
    state->framed = at + count;
    state->after_content = true;
    if (state->odd)
        return -1;
    if (count && state->on_data)
        state->on_data(state->user, (struct bytes){at, count});
    return 0;
}

#if __has_include(<llhttp.h>)

static int on_end(library *parser)
{
    ((struct state *)parser->data)->ended = true;
    return HPE_PAUSED;
}

static const settings SETTINGS = {.on_headers_complete = on_head_complete, .on_body = on_body, .on_message_complete = on_end};

static void start(struct state *state)
{
    llhttp_init(&state->parser, HTTP_REQUEST, &SETTINGS);
    state->parser.data = state;
}

static int feed(struct state *state, struct bytes bytes, size_t *ret_used)
{
    llhttp_errno_t error = llhttp_execute(&state->parser, bytes.at, bytes.count);
    *ret_used = error == HPE_OK ? bytes.count : (size_t)(llhttp_get_error_pos(&state->parser) - bytes.at);
    return error == HPE_OK || (error == HPE_PAUSED && state->ended) ? 0 : -1;
}

#else

static int on_end(library *parser)
{
    ((struct state *)parser->data)->ended = true;
    http_parser_pause(parser, 1);
    return 0;
}

static const settings SETTINGS = {.on_headers_complete = on_head_complete, .on_body = on_body, .on_message_complete = on_end};

static void start(struct state *state)
{
    http_parser_init(&state->parser, HTTP_REQUEST);
    state->parser.data = state;
}

static int feed(struct state *state, struct bytes bytes, size_t *ret_used)
{
    *ret_used = http_parser_execute(&state->parser, &SETTINGS, bytes.at, bytes.count);
    enum http_errno error = HTTP_PARSER_ERRNO(&state->parser);
    return error == HPE_OK || (error == HPE_PAUSED && state->ended) ? 0 : -1;
}

#endif

void http_parse_init(struct http_parse *parse)
{
    struct state *state = (struct state *)parse->room;
    memset(state, 0, sizeof *state);
    start(state);
}

int http_parse_head(struct http_parse *parse, struct bytes head)
{
    struct state *state = (struct state *)parse->room;
    size_t used;
    if (feed(state, head, &used) < 0)
        return -1;
    if (state->ended)
        return HTTP_PARSE_END;
    state->chunked = (state->parser.flags & F_CHUNKED) != 0;
    return 0;
}

int http_parse_body(struct http_parse *parse, struct bytes bytes, http_parse_fn *on_data, void *user, size_t *ret_used)
{
    struct state *state = (struct state *)parse->room;
    assert(!state->ended && bytes.count > 0);
    state->on_data = on_data;
    state->user = user;
    state->framed = bytes.at;
    state->parser.data = state;    /* it may have been copied here */
    int failed = feed(state, bytes, ret_used);
    watch_framing(state, bytes.at + *ret_used);
    if (failed < 0 || state->odd)
        return -1;
    return state->ended ? HTTP_PARSE_END : 0;
}
