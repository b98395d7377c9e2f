#include "stage/match.h"

#include "base/text.h"

enum { CHARACTERS_MAX = 80 };

static const double lead_min = 8;        /* % of similarity before the next card */
static const double part_least = 50;     /* % of similarity of a name's part before its comma, and of the one behind */

struct characters {
    int32_t at[CHARACTERS_MAX];
    int count;
};

static struct characters characters_of(struct bytes text)
{
    struct characters list = {.count = 0};
    while (text.count && list.count < CHARACTERS_MAX) {
        size_t length;
        list.at[list.count++] = text_decode(text, &length);
        text.at += length;
        text.count -= length;
    }
    return list;
}

/* Insertions, deletions and replacements that turn one into the other. */
static int edits(const struct characters *a, const struct characters *b)
{
    int row[CHARACTERS_MAX + 1];
    for (int j = 0; j <= b->count; j++)
        row[j] = j;
    for (int i = 1; i <= a->count; i++) {
        int corner = row[0];
        row[0] = i;
        for (int j = 1; j <= b->count; j++) {
            int replaced = corner + (a->at[i - 1] != b->at[j - 1]);
            corner = row[j];
            row[j] = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            if (replaced < row[j])
                row[j] = replaced;
        }
    }
    return row[b->count];
}

static double similarity(const struct characters *a, struct bytes other)
{
    struct characters b = characters_of(other);
    int longest = a->count > b.count ? a->count : b.count;
    return longest ? 100.0 * (longest - edits(a, &b)) / longest : 0;
}

/* Where a name has two parts, each has to be like the card's own: a champion's tagline is no proof of who it is. */
static bool parts_agree(struct bytes key, const struct catalogue_card *card)
{
    struct bytes base = key;
    const char *mark = key.count ? memchr(key.at, ',', key.count) : NULL;
    if (!mark || !card->tagline.count)
        return true;
    base.count = (size_t)(mark - key.at);
    struct bytes tagline = {mark + 1, key.count - base.count - 1};
    struct bytes card_tagline = {card->key.at + card->key_base.count + 1, card->key.count - card->key_base.count - 1};
    struct characters a = characters_of(base), b = characters_of(tagline);
    return similarity(&a, card->key_base) >= part_least && similarity(&b, card_tagline) >= part_least;
}

/* The only card whose part before the comma is this; NULL when there are none or several. */
static const struct catalogue_card *card_by_base(const struct catalogue *catalogue, struct bytes key)
{
    for (size_t i = 0; i < catalogue->cards_count; i++) {
        const struct catalogue_card *card = &catalogue->cards[i];
        if (card->tagline.count && !card->base_shared && bytes_equal(key, card->key_base))
            return card;
    }
    return NULL;
}

static const struct catalogue_card *card_by_bare(const struct catalogue *catalogue, struct bytes bare)
{
    for (size_t i = 0; bare.count && i < catalogue->cards_count; i++)
        if (bytes_equal(bare, catalogue->cards[i].key_bare))
            return &catalogue->cards[i];
    return NULL;
}

static void match_fuzzily(const struct catalogue *catalogue, struct bytes key, struct bytes bare, int least, struct match *ret)
{
    struct characters plain = characters_of(key), own = characters_of(bare);
    const struct catalogue_card *best = NULL;
    double second = 0;
    for (size_t i = 0; i < catalogue->cards_count; i++) {
        const struct catalogue_card *card = &catalogue->cards[i];
        double full = similarity(&own, card->key_bare), english = similarity(&plain, card->key_en), base = 0;
        if (card->tagline.count && !card->base_shared)
            base = similarity(&own, card->key_base);
        full = parts_agree(key, card) ? full : 0;
        full = full > english ? full : english;
        double score = full >= base ? full : base;
        if (score > ret->score) {
            second = ret->score;
            ret->score = score;
            ret->type = full >= base ? "fuzzy_full" : "fuzzy_base_name";
            best = card;
        } else if (score > second)
            second = score;
    }
    if (ret->score >= least && ret->score - second >= lead_min)
        ret->card = best;
}

void match_name(const struct catalogue *catalogue, struct bytes name, int least, struct match *ret)
{
    BUF_OWNED struct buf key, bare;
    *ret = (struct match){.type = "fuzzy_full"};
    buf_init(&key, 4096);
    buf_init(&bare, 4096);
    if (!catalogue_key(&key, name) || !catalogue_key_bare(&bare, name) || !key.count)
        return;
    const struct catalogue_card *card = map_get_text(&catalogue->by_key, buf_bytes(&key));
    if (card)
        *ret = (struct match){card, 100, "exact_full"};
    else if ((card = card_by_bare(catalogue, buf_bytes(&bare))))
        *ret = (struct match){card, 98, "comma_inserted"};
    else if ((card = card_by_base(catalogue, buf_bytes(&key))))
        *ret = (struct match){card, 95, "base_name"};
    else
        match_fuzzily(catalogue, buf_bytes(&key), buf_bytes(&bare), least, ret);
}
