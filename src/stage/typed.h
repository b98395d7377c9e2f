/* A decklist as text: JSON, or lines with headings. Pure.
 *
 *   Lines: "3x NAME", "3 NAME", "NAME x3" or "NAME"; headings in Chinese or English ("主牌组", "Main Deck:"); "Player: Lee",
 *          "Deck:", "Event:", "Date:", "Placement:" above or between; "#" and "//" begin a comment that is no heading.
 *   JSON:  {"metadata":{…}, "legend":[…], "main_deck":[…], "battlefields":[…], "runes":[…], "side_deck":[…]}, a card being a
 *          string as in a line or {"name" | "name_cn" | "name_en": …, "quantity": N}; or {"text": LINES}, or LINES as a string.
 *
 * Cards above any heading go to the section of their type. */
#pragma once
#include "stage/deck.h"

enum { TYPED_BYTES_MAX = 256 << 10 };

/* -1 and a problem when it is no text, too long, or nothing in it is a card list: no heading and no known card. */
int typed_read(const struct catalogue *catalogue, struct bytes text, struct deck *deck, struct problem *problem);
