#include "config/mistakes.h"

#include "base/limits.h"
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void mistakes_done(struct mistakes *mistakes)
{
    for (struct source *source = mistakes->sources, *next; source; source = next) {
        next = source->next;
        free(source->path);
        free(source->text);
        free(source);
    }
    for (size_t i = 0; i < mistakes->count; i++)
        free(mistakes->list[i].sentence);
    free(mistakes->list);
    *mistakes = (struct mistakes){0};
}

const struct source *mistakes_source(struct mistakes *mistakes, const char *path, struct bytes text)
{
    struct source *source = MEM_NEW(struct source);
    source->path = mem_text(path);
    source->text = mem_copy(text.at, text.count);
    source->count = text.count;
    if (mistakes->last)
        mistakes->last->next = source;
    else
        mistakes->sources = source;
    return mistakes->last = source;
}

void mistakes_add(struct mistakes *mistakes, const struct source *source, int line, int column, const char *format, ...)
{
    char sentence[1024];
    va_list args;
    if (mistakes->count == LIMIT_MISTAKES) {
        mistakes->more++;
        return;
    }
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    for (char *at = sentence; *at; at++)
        if ((unsigned char)*at < ' ')
            *at = ' ';
    if (!mistakes->list)
        mistakes->list = mem_new(LIMIT_MISTAKES * sizeof *mistakes->list);
    mistakes->list[mistakes->count] = (struct mistake){
        .source = source ? source : mistakes->sources, .line = line < 1 ? 1 : line, .column = column < 1 ? 1 : column, .number = mistakes->count,
        .sentence = mem_text(sentence),
    };
    mistakes->count++;
}

static int place_of(const struct mistakes *mistakes, const struct source *source)
{
    int place = 0;
    for (const struct source *at = mistakes->sources; at && at != source; at = at->next)
        place++;
    return place;
}

static int in_order(const void *one, const void *two, void *data)
{
    const struct mistake *a = one, *b = two;
    int places = place_of(data, a->source) - place_of(data, b->source);
    if (places)
        return places;
    if (a->line != b->line)
        return a->line < b->line ? -1 : 1;
    if (a->column != b->column)
        return a->column < b->column ? -1 : 1;
    return a->number < b->number ? -1 : 1;
}

struct bytes source_line(const struct source *source, int line)
{
    struct bytes rest = {source->text, source->count}, found = {0};
    for (int i = 0; i < line; i++) {
        if (!rest.count)
            return (struct bytes){source->text, 0};
        found = bytes_cut(&rest, '\n');
    }
    if (found.count && found.at[found.count - 1] == '\r')
        found.count--;
    return found;
}

/* The line with a caret under its column; tabs stay tabs, so that both lines go alike. A long line is shown from where it matters. */
static void print_line(struct bytes line, int column, struct buf *ret)
{
    enum { SHOWN = 160 };
    size_t at = 0;
    for (int i = 1; i < column && at < line.count; i++)
        for (at++; at < line.count && (line.at[at] & 0xC0) == 0x80;)
            at++;
    size_t from = at > SHOWN - 40 ? at - 40 : 0;
    while (from && (line.at[from] & 0xC0) == 0x80)
        from--;
    size_t count = line.count - from > SHOWN ? SHOWN : line.count - from;
    buf_print(ret, "    %.*s\n    ", (int)count, line.at + from);
    for (size_t i = from; i < at; i++)
        if (line.at[i] == '\t')
            buf_byte(ret, '\t');
        else if ((line.at[i] & 0xC0) != 0x80)
            buf_byte(ret, ' ');
    buf_text(ret, "^\n");
}

void mistakes_print(struct mistakes *mistakes, struct buf *ret)
{
    if (mistakes->count)
        qsort_r(mistakes->list, mistakes->count, sizeof *mistakes->list, in_order, mistakes);
    for (size_t i = 0; i < mistakes->count; i++) {
        const struct mistake *one = &mistakes->list[i];
        struct bytes line = source_line(one->source, one->line);
        buf_print(ret, "%s:%d:%d: %s\n", one->source->path, one->line, one->column, one->sentence);
        if (line.count)
            print_line(line, one->column, ret);
    }
    if (mistakes->more)
        buf_print(ret, "and %zu more\n", mistakes->more);
}

enum { WORD_MAX = 32 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* How many letters have to be put in, taken out, changed or swapped with their neighbour (optimal string alignment). */
static size_t distance(struct bytes a, struct bytes b)
{
    size_t rows[WORD_MAX + 1][WORD_MAX + 1];
    for (size_t i = 0; i <= a.count; i++)
        rows[i][0] = i;
    for (size_t j = 0; j <= b.count; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a.count; i++)
        for (size_t j = 1; j <= b.count; j++) {
            bool same = a.at[i - 1] == b.at[j - 1];
            rows[i][j] = least(least(rows[i - 1][j], rows[i][j - 1]) + 1, rows[i - 1][j - 1] + !same);
            if (i > 1 && j > 1 && a.at[i - 1] == b.at[j - 2] && a.at[i - 2] == b.at[j - 1])
                rows[i][j] = least(rows[i][j], rows[i - 2][j - 2] + 1);
        }
    return rows[a.count][b.count];
}

const char *mistakes_nearest(struct bytes word, const char *const *names)
{
    const char *nearest = NULL;
    size_t best = 0;
    if (!word.count || word.count > WORD_MAX)
        return NULL;
    for (; *names; names++) {
        struct bytes name = bytes_of(*names);
        if (!name.count || name.count > WORD_MAX)
            continue;
        size_t away = bytes_equal_nocase(word, name) ? 0 : distance(word, name);
        bool near = away * 3 <= (word.count > name.count ? word.count : name.count) + 1;
        if (near && (!nearest || away < best)) {
            nearest = *names;
            best = away;
        }
    }
    return nearest;
}
