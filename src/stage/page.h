/* A screenshot of a deck page becomes a deck: layout, recognition, names. One thread at a time. */
#pragma once
#include "stage/deck.h"
#include "stage/scorer.h"
#include "vision/image.h"

/* What is loaded once. Borrowed, but for the scorer. */
struct page_reader {
    const struct catalogue *catalogue;
    struct recogniser *recogniser;
    struct scorer scorer;               /* used when the recogniser gives posteriors */
    bool scored;
};

typedef void page_hint(void *hint_data, int percent, const char *status);

void page_reader_init(struct page_reader *reader, const struct catalogue *catalogue, struct recogniser *recogniser);
void page_reader_done(struct page_reader *reader);

/* Read the page into an initialised deck. `hint` may be NULL. -1 and a problem when there is no page in the image. */
int page_read(struct page_reader *reader, const struct image *image, page_hint *hint, void *hint_data,
              struct deck *deck, struct problem *problem);
