/* The recogniser's alphabet: class 0 is "nothing here", classes 1 … n are the lines of its key file, n + 1 is the space. */
#pragma once
#include "base/map.h"
#include "base/problem.h"

enum { KEYS_BLANK = 0, KEYS_MAX = 65000 };

struct keys {
    char *text;                /* the file's bytes, owned */
    struct bytes *at;          /* by class; at[0] is empty */
    int count;                 /* classes */
    struct map classes;        /* character → class */
};

/* From the file's contents, which are copied. -1 and a problem when it is empty, too large or not UTF-8. */
int keys_init(struct keys *keys, struct bytes file, struct problem *problem);
void keys_done(struct keys *keys);
int keys_class(const struct keys *keys, struct bytes character);      /* -1 when it is not in the alphabet */
