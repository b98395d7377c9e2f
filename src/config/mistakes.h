/* Mistakes of pipeline files: all of them are collected, then told at once, each as `file:line:column: sentence`, the line it is in, and a caret.
 *
 * Thread: one at a time. */
#pragma once
#include "base/buf.h"

/* A text that mistakes are in: the pipeline file, or one that it takes in with !file. */
struct source {
    char *path;                   /* as it is told; owned */
    char *text;                   /* NUL behind it; owned */
    size_t count;
    struct source *next;          /* in the order of their coming */
};

struct mistake {
    const struct source *source;
    int line, column;             /* from 1; column in characters */
    size_t number;                /* the how-manieth it was, so that sorting keeps the order within a place */
    char *sentence;               /* owned */
};

struct mistakes {
    struct source *sources, *last;
    struct mistake *list;
    size_t count;                 /* at most LIMIT_MISTAKES are kept … */
    size_t more;                  /* … and so many more were counted */
};

void mistakes_done(struct mistakes *mistakes);                      /* harmless when zeroed */
/* The text is copied. Lives as long as the mistakes. */
const struct source *mistakes_source(struct mistakes *mistakes, const char *path, struct bytes text);
void mistakes_add(struct mistakes *mistakes, const struct source *source, int line, int column, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* All of them, in the order of the lines; the buf's ceiling cuts. */
void mistakes_print(struct mistakes *mistakes, struct buf *ret);

/* A line of a source, from 1, without its end; empty when there is none. */
struct bytes source_line(const struct source *source, int line);

/* Which of the words somebody meant who wrote `word`: the nearest, at most a third of its letters away; NULL = none is near.
 *   names   ended by NULL */
const char *mistakes_nearest(struct bytes word, const char *const *names);
