#include "stage/page.h"

#include "base/mem.h"
#include "stage/match.h"
#include "stage/page_meta.h"
#include "vision/layout.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const int section_unknown = -1;

/* Full decks have this many cards; a quantity that the picture's edge cuts off can be told from the rest. */
static const int full[SECTIONS] = {1, 40, 3, 12, 8};

/* One page while it is read. */
struct page {
    struct page_reader *reader;
    const struct image *image;
    struct layout layout;
    int sections[LAYOUT_HEADERS_MAX];      /* by header; section_unknown when its text says nothing known */
    struct deck_entry entries[LAYOUT_CARDS_MAX];      /* by card box */
    struct deck *deck;
    const struct catalogue_card *cut_off[SECTIONS];      /* the card whose quantity is cut off */
    int cut_offs[SECTIONS];                /* how many such cards there are */
};

void page_reader_init(struct page_reader *reader, const struct catalogue *catalogue, struct recogniser *recogniser)
{
    *reader = (struct page_reader){.catalogue = catalogue, .recogniser = recogniser, .scored = recogniser->keys.count > 0};
    if (reader->scored)
        scorer_init(&reader->scorer, catalogue, &recogniser->keys);
}

void page_reader_done(struct page_reader *reader)
{
    scorer_done(&reader->scorer);
}

static int read_line(struct page *page, struct box line, enum recogniser_way way, struct reading *ret, struct problem *problem)
{
    struct recogniser *recogniser = page->reader->recogniser;
    return recogniser->engine->read(recogniser, page->image, line, way, ret, problem);
}

/* Without posteriors: the section whose name shares the most characters with the text, one of them at least. */
static int section_by_text(struct bytes text)
{
    static const char *const marks[SECTIONS][2] = {{"传", "奇"}, {"主", "组"}, {"战", "场"}, {"符", "文"}, {"备", "备"}};
    int best = section_unknown, best_hits = 0;
    for (int s = 0; s < SECTIONS; s++) {
        int hits = 0;
        for (int m = 0; m < 2; m++)
            hits += text.count && memmem(text.at, text.count, marks[s][m], strlen(marks[s][m])) != NULL;
        if (hits > best_hits)
            best = s, best_hits = hits;
    }
    return best;
}

static int read_headers(struct page *page, struct problem *problem)
{
    for (int i = 0; i < page->layout.headers_count; i++) {
        struct reading reading;
        if (read_line(page, page->layout.headers[i].text, READ_NAME, &reading, problem) < 0)
            return -1;
        page->sections[i] = reading.posteriors ? scorer_section(&page->reader->scorer, &reading) : section_by_text(reading.text);
    }
    return 0;
}

/* The number in "x3"; 0 when there is none. */
static int number_in(struct bytes text)
{
    int number = 0;
    for (size_t i = 0; i < text.count && number < 1000; i++)
        if (text.at[i] >= '0' && text.at[i] <= '9')
            number = number * 10 + (text.at[i] - '0');
    return number;
}

static int read_quantity(struct page *page, const struct layout_card *card, int *ret, struct problem *problem)
{
    struct reading reading;
    double score;
    *ret = 1;
    if (!card->quantity.width)
        return 0;
    /* For the scorer an x belongs to the quantity's name; the text engine is told to look for digits. */
    if (read_line(page, card->quantity, page->reader->scored ? READ_NAME : READ_NUMBER, &reading, problem) < 0)
        return -1;
    int number = reading.posteriors ? scorer_quantity(&page->reader->scorer, &reading, &score) : number_in(reading.text);
    if (number >= 1 && number <= DECK_QUANTITY_MAX)
        *ret = number;
    return 0;
}

/* Names by their scores. The first line's posteriors are kept while the second is read. */
static int read_name_scored(struct page *page, const struct layout_card *card, struct deck_entry *entry, struct problem *problem)
{
    struct reading lines[LAYOUT_LINES_MAX];
    MEM_OWNED float *kept = NULL;
    struct scorer_match match;
    BUF_OWNED struct buf text;
    buf_init(&text, 2 * DECK_TEXT_MAX);
    for (int i = 0; i < card->lines_count; i++) {
        if (read_line(page, card->lines[i], READ_NAME, &lines[i], problem) < 0)
            return -1;
        buf_text(&text, i && lines[i].text.count ? ", " : "");
        buf_put(&text, lines[i].text);
        if (i + 1 < card->lines_count) {
            size_t count = (size_t)lines[i].steps * (size_t)lines[i].classes;
            kept = (float *)mem_copy(lines[i].posteriors, count * sizeof *kept);
            lines[i].posteriors = kept;
        }
    }
    scorer_name(&page->reader->scorer, lines, card->lines_count, &match);
    entry->card = match.card;
    entry->match_type = "ctc";
    entry->match_score = 100 * exp(match.score);
    entry->confidence = entry->card ? exp(match.score) : card->lines_count ? lines[card->lines_count - 1].confidence : 0;
    deck_text(entry->text, buf_bytes(&text));
    return 0;
}

/* Names by their text: both lines as one name, and a second line that no catalogue has is left out. */
static int read_name_as_text(struct page *page, const struct layout_card *card, struct deck_entry *entry, struct problem *problem)
{
    BUF_OWNED struct buf text;
    size_t first = 0;
    struct match match;
    buf_init(&text, 2 * DECK_TEXT_MAX);
    entry->confidence = card->lines_count ? 1 : 0;
    for (int i = 0; i < card->lines_count; i++) {
        struct reading reading;
        if (read_line(page, card->lines[i], READ_NAME, &reading, problem) < 0)
            return -1;
        buf_text(&text, i ? ", " : "");
        buf_put(&text, reading.text);
        first = i ? first : text.count;
        entry->confidence = fmin(entry->confidence, reading.confidence);
    }
    match_name(page->reader->catalogue, buf_bytes(&text), MATCH_SEEN, &match);
    if (!match.card && card->lines_count == 2) {
        struct match alone;
        match_name(page->reader->catalogue, (struct bytes){text.at, first}, MATCH_SEEN, &alone);
        if (alone.card && !alone.card->tagline.count && text.count - first <= sizeof ", 入门")
            match = alone;
    }
    entry->card = match.card;
    entry->match_type = match.type;
    entry->match_score = match.score;
    deck_text(entry->text, buf_bytes(&text));
    return 0;
}

/* The section of a card: what the header above it says, else what its type tells. */
static enum section section_of(const struct page *page, const struct layout_card *card, const struct deck_entry *entry)
{
    if (card->header >= 0 && page->sections[card->header] != section_unknown)
        return (enum section)page->sections[card->header];
    enum section section = entry->card ? deck_section_of(entry->card) : SECTION_MAIN;
    /* Below a heading of its own that nobody can read, what belongs to a main deck that is already past is the side deck. */
    for (int i = 0; i < card->header && section == SECTION_MAIN; i++)
        if (page->sections[i] == SECTION_MAIN)
            section = SECTION_SIDE;
    return section;
}

static int read_card(struct page *page, int index, struct problem *problem)
{
    const struct layout_card *card = &page->layout.cards[index];
    struct deck_entry *entry = &page->entries[index];
    int answer = page->reader->scored ? read_name_scored(page, card, entry, problem)
                                      : read_name_as_text(page, card, entry, problem);
    if (answer < 0 || read_quantity(page, card, &entry->quantity, problem) < 0)
        return -1;
    entry->section = section_of(page, card, entry);
    return 0;
}

static int first_below(const struct layout *layout, int header)
{
    int first = 0;
    while (first < layout->cards_count && layout->cards[first].header != header)
        first++;
    return first;
}

/* A panel that was stitched in twice counts once. It has to look the same, which the layout saw, and to say the same: the
 * same section, and in each box the same card as often. */
static bool is_repeat(const struct page *page, int header)
{
    const struct layout *layout = &page->layout;
    int other = header >= 0 ? layout->headers[header].repeat_of : -1;
    if (other < 0 || page->sections[other] != page->sections[header])
        return false;
    int a = first_below(layout, other), b = first_below(layout, header);
    for (; b < layout->cards_count && layout->cards[b].header == header; a++, b++)
        if (page->entries[a].card != page->entries[b].card || page->entries[a].quantity != page->entries[b].quantity)
            return false;
    return true;
}

static int add_cards(struct page *page, struct problem *problem)
{
    for (int i = 0; i < page->layout.cards_count; i++) {
        const struct deck_entry *entry = &page->entries[i];
        if (is_repeat(page, page->layout.cards[i].header))
            continue;
        if (!deck_add(page->deck, entry))
            return problem_set(problem, "The page has more than %d cards.", DECK_ENTRIES_MAX);
        if (page->layout.cards[i].quantity_cut && entry->card) {
            page->cut_off[entry->section] = entry->card;
            page->cut_offs[entry->section]++;
        }
    }
    return 0;
}

/* Where one quantity alone is cut off, it is what the section lacks; up to three copies of a card are allowed, runes aside. */
static void complete_quantities(struct page *page)
{
    for (int section = 0; section < SECTIONS; section++) {
        struct deck_entry *open = NULL;
        int total = 0;
        for (int i = 0; i < page->deck->entries_count; i++) {
            struct deck_entry *entry = &page->deck->entries[i];
            if ((int)entry->section != section)
                continue;
            total += entry->quantity;
            if (entry->card && entry->card == page->cut_off[section])
                open = entry;
        }
        int lacking = full[section] - total, most = section == SECTION_RUNES ? DECK_QUANTITY_MAX - 1 : 2;
        if (open && page->cut_offs[section] == 1 && lacking > 0 && lacking <= most)
            open->quantity += lacking;
    }
}

static int read_cards(struct page *page, page_hint *hint, void *hint_data, struct problem *problem)
{
    int count = page->layout.cards_count, told = 0;
    for (int i = 0; i < count; i++) {
        int quarter = i * 4 / count;
        if (hint && quarter > told)
            hint(hint_data, 20 + quarter * 12, "ocr"), told = quarter;
        if (read_card(page, i, problem) < 0)
            return -1;
    }
    return 0;
}

int page_read(struct page_reader *reader, const struct image *image, page_hint *hint, void *hint_data,
              struct deck *deck, struct problem *problem)
{
    MEM_OWNED struct page *page = MEM_NEW(struct page);
    page->reader = reader;
    page->image = image;
    page->deck = deck;
    if (layout_find(image, &page->layout, problem) < 0)
        return -1;
    if (hint)
        hint(hint_data, 20, "ocr");
    if (page_meta_read(reader->recogniser, image, &page->layout.block, deck, problem) < 0
        || read_headers(page, problem) < 0 || read_cards(page, hint, hint_data, problem) < 0)
        return -1;
    if (hint)
        hint(hint_data, 70, "matching");
    if (add_cards(page, problem) < 0)
        return -1;
    complete_quantities(page);
    return 0;
}
