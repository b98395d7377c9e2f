/* Templates: literal text becomes the literal parts of a jq string, what stands in \( ) stays as it is. */
#include "expr/expr.h"

enum { NESTING_MAX = 16 };

static void literal(struct buf *ret, char byte)
{
    if (byte == '"' || byte == '\\')
        buf_byte(ret, '\\'), buf_byte(ret, byte);
    else if ((unsigned char)byte < 0x20 || byte == 0x7f)
        buf_print(ret, "\\u%04x", (unsigned char)byte);
    else
        buf_byte(ret, byte);
}

static bool opens(struct bytes text, size_t at)
{
    return at + 1 < text.count && text.at[at] == '\\' && text.at[at + 1] == '(';
}

static size_t program_end(struct bytes text, size_t at, int nesting);

/* From behind a quote to behind the one that ends the string; 0 = none does. */
static size_t string_end(struct bytes text, size_t at, int nesting)
{
    while (at < text.count) {
        if (text.at[at] == '"')
            return at + 1;
        if (opens(text, at)) {
            at = program_end(text, at + 2, nesting);
            if (!at)
                return 0;
        } else {
            at += text.at[at] == '\\' ? 2 : 1;
        }
    }
    return 0;
}

/* From behind \( to behind its ) ; 0 = there is none. Parentheses in strings and comments do not count. */
static size_t program_end(struct bytes text, size_t at, int nesting)
{
    int depth = 1;
    if (nesting >= NESTING_MAX)
        return 0;
    while (at < text.count) {
        char byte = text.at[at++];
        if (byte == '"') {
            at = string_end(text, at, nesting + 1);
            if (!at)
                return 0;
        } else if (byte == '#') {
            while (at < text.count && text.at[at] != '\n')
                at++;
        } else if (byte == '(') {
            depth++;
        } else if (byte == ')' && --depth == 0) {
            return at;
        }
    }
    return 0;
}

/* A text that begins with \( is an address in itself: that part stays, and the rest begins another string. */
int expr_template(struct bytes text, bool url, struct buf *ret, struct problem *problem)
{
    bool whole = url && opens(text, 0);
    buf_text(ret, whole ? "(\"" : url ? "@uri \"" : "\"");
    for (size_t at = 0; at < text.count;) {
        if (!opens(text, at)) {
            bool meant = at + 2 < text.count && text.at[at] == '\\' && text.at[at + 1] == '\\' && text.at[at + 2] == '(';
            at += meant;      /* \\( stands for \( itself */
            literal(ret, text.at[at++]);
            if (meant)
                literal(ret, text.at[at++]);
            continue;
        }
        size_t end = program_end(text, at + 2, 0);
        if (!end)
            return problem_set(problem, "the \\( at byte %zu of the template has no ) that ends it", at + 1);
        buf_put(ret, (struct bytes){text.at + at, end - at});
        if (whole && at == 0)
            buf_text(ret, "\" + @uri \"");
        at = end;
    }
    buf_text(ret, whole ? "\")" : "\"");
    return buf_ok(ret) ? 0 : problem_set(problem, "the template is longer than the %zu bytes that there is room for", ret->max);
}
