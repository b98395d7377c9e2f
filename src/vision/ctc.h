/* How likely is it that a line says exactly this? The forward algorithm of CTC over a reading's posteriors: the sum over all ways
 * in which the characters, each held for one or more steps and with blanks between them, fill the steps. Unlike the greedy text it
 * uses everything that the recogniser saw, so a blurred character costs little as long as it may be the right one. Pure. */
#pragma once
#include "vision/recognise.h"

enum { CTC_TOKENS_MAX = 40 };

/* One character: the classes that may stand for it (a full-width and a plain comma, say); an unused one is -1. */
struct ctc_token {
    int class[2];
};

struct ctc_text {
    struct ctc_token tokens[CTC_TOKENS_MAX];
    int count;
};

/* What a text looks like to the recogniser. Spaces are left out, and so are characters that it does not know; those beyond
 * CTC_TOKENS_MAX too. Answers how many characters it does not know. */
int ctc_text_init(struct ctc_text *text, const struct keys *keys, struct bytes utf8);

/* Natural logarithm of the probability, -inf < answer <= 0; CTC_IMPOSSIBLE when the text cannot fit into the steps. No text at
 * all: the probability of an empty line. */
#define CTC_IMPOSSIBLE (-1e6)
double ctc_score(const struct reading *reading, const struct ctc_token *tokens, int count);

/* Of the likeliest single way, the character that fits worst: log(its own probability / that of the class which the recogniser
 * would have had there instead). Near 0 = nothing contradicts the text; very negative = the line clearly says something else. */
double ctc_worst(const struct reading *reading, const struct ctc_token *tokens, int count);

/* The likeliest of a closed list; ret_score: its score a character; ret_lead: its score less that of the runner-up. */
int ctc_choose(const struct reading *reading, const struct ctc_text *texts, int count, double *ret_score, double *ret_lead);
