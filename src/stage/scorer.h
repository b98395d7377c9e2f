/* Which card, which quantity, which section does a reading show? Every name of the catalogue is scored against what the recogniser
 * saw; the best one has it only when nothing contradicts it. Borrows catalogue and keys. One thread at a time. */
#pragma once
#include "stage/deck.h"
#include "vision/ctc.h"

struct scorer_card;

struct scorer {
    const struct catalogue *catalogue;
    struct scorer_card *cards;                  /* beside catalogue->cards */
    struct ctc_text quantities[DECK_QUANTITY_MAX];   /* x1 … x12 */
    struct ctc_text headers[SECTIONS];
    struct ctc_text starter;                    /* a second line that the catalogue does not have */
};

/* What the lines of one box show. */
struct scorer_match {
    const struct catalogue_card *card;      /* NULL = nothing in the catalogue */
    const struct catalogue_card *nearest;   /* the best one even if it was rejected; NULL if none fits at all */
    double score;                           /* log-probability a character of the nearest */
    double lead;                            /* log-probability before the runner-up */
    double worst;                           /* its character that fits worst, see ctc_worst */
};

void scorer_init(struct scorer *scorer, const struct catalogue *catalogue, const struct keys *keys);
void scorer_done(struct scorer *scorer);

/* lines: one or two readings with posteriors, from the top. */
void scorer_name(const struct scorer *scorer, const struct reading *lines, int lines_count, struct scorer_match *ret);
/* 1 … 12, or 0 when it is none of these. */
int scorer_quantity(const struct scorer *scorer, const struct reading *reading, double *ret_score);
/* A section, or -1. */
int scorer_section(const struct scorer *scorer, const struct reading *reading);
