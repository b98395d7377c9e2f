/* A decklist while it is put together, and as JSON (the contract's "Decklist result"). */
#pragma once
#include "stage/catalogue.h"

enum section { SECTION_LEGEND, SECTION_MAIN, SECTION_BATTLEFIELDS, SECTION_RUNES, SECTION_SIDE, SECTIONS };

enum {
    DECK_QUANTITY_MAX = 12,
    DECK_ENTRIES_MAX = 400,      /* distinct cards, matched or not */
    DECK_TEXT_MAX = 256,         /* bytes of a name as it was given, and of a metadata field */
};

/* One card of one section. */
struct deck_entry {
    enum section section;
    const struct catalogue_card *card;      /* NULL = unmatched */
    int quantity;                           /* 1 … DECK_QUANTITY_MAX */
    double match_score;                     /* 0 … 100; of the nearest card when unmatched */
    const char *match_type;                 /* static */
    double confidence;                      /* of the reading, 0 … 1; below 0 = nothing was read, it was text */
    char text[DECK_TEXT_MAX];               /* unmatched: what was given or read */
};

struct deck {
    char player[DECK_TEXT_MAX], name[DECK_TEXT_MAX], event[DECK_TEXT_MAX], date[DECK_TEXT_MAX];    /* "" = unknown */
    int placement;                                                                                 /* 0 = unknown */
    struct deck_entry *entries;                                                                    /* owned */
    int entries_count;
};

void deck_init(struct deck *deck);
void deck_done(struct deck *deck);

/* Add an entry; a card that its section has already is summed up. Quantities beyond the maximum become it. Answers false when
 * the deck is full. */
bool deck_add(struct deck *deck, const struct deck_entry *entry);
/* The section that a card without one belongs to, by its type. */
enum section deck_section_of(const struct catalogue_card *card);
/* Keep text in a field of DECK_TEXT_MAX bytes: valid UTF-8, cut at a character, no control characters. */
void deck_text(char field[DECK_TEXT_MAX], struct bytes text);

/* Copies of cards, matched ones among them, and the share of these in %: 0 when the deck is empty. */
struct deck_stats {
    int total_cards, matched_cards;
    double accuracy;
};
struct deck_stats deck_stats(const struct deck *deck);

/* The result, with a fresh decklist_id. */
void deck_write(const struct deck *deck, struct buf *buf);
/* "legend", "main_deck", … as in the result. */
const char *deck_section_name(enum section section);
