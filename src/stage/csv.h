/* Comma-separated values, RFC 4180: fields may be quoted and then hold commas, doubled quotes and line ends. Pure. */
#pragma once
#include "base/buf.h"
#include "base/problem.h"

enum { CSV_FIELDS_MAX = 128 };

struct csv {
    struct bytes rest;          /* what is still to be read; borrowed */
    const char *name;           /* the file's, for problems */
    int line;                   /* where the last record began, from 1 */
    int next_line;              /* where the rest begins */
    struct buf text;            /* of the last record's fields that held doubled quotes */
    struct bytes fields[CSV_FIELDS_MAX];    /* of the last record; borrowed until the next, or from the file */
    int fields_count;
};

void csv_init(struct csv *csv, struct bytes file, const char *name);     /* a byte order mark is skipped */
void csv_done(struct csv *csv);
/* The next record; empty lines are none. 0, CSV_END, or -1 and a problem that names file, line and field. */
#define CSV_END 1
int csv_next(struct csv *csv, struct problem *problem);
