/* Names as text, from a typed list or from an engine that gives only text, matched to the catalogue. Pure. */
#pragma once
#include "stage/catalogue.h"

enum {
    MATCH_TYPED = 75,      /* least similarity in % for a name that a person typed */
    MATCH_SEEN = 65,       /* for one that an engine read off a picture, where errors are common; at 50 unknown cards become others */
};

struct match {
    const struct catalogue_card *card;      /* NULL = none */
    double score;                           /* 0 … 100; of the nearest card even when that was not near enough */
    const char *type;                       /* static: "exact_full", "base_name", "comma_inserted", "fuzzy_base_name", "fuzzy_full" */
};

/* The card that `name` means, in Chinese or English:
 *   exact_full        it is the whole name (case, width and white space aside)
 *   comma_inserted    it is the whole name without its punctuation
 *   base_name         it is the part before the comma, and only one card has that
 *   fuzzy_full        it is the whole name but for some characters, at least `least` % similar and clearly before all others
 *   fuzzy_base_name   the same for the part before the comma */
void match_name(const struct catalogue *catalogue, struct bytes name, int least, struct match *ret);
