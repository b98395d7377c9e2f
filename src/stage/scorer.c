#include "stage/scorer.h"

#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>

/* Limits of belief, in natural logarithms. True cards are at -0.5 a character at full size and down to -2.3 at a quarter of it;
 * the best match of a card that is not in the catalogue is at -4 when the names differ much, but one character among
 * seven costs it little: so the character that fits worst is judged by itself too. */
static const double score_min = -2.6;        /* a character of the whole name */
static const double worst_min = -10.0;       /* of any single one */
static const double lead_min = 1.0;          /* before another card */
static const double lost_tagline = -3.0;     /* what it costs a champion to show no tagline */
static const double header_min = -3.0, quantity_min = -3.0;

enum { WRAP_FROM = 6 /* names at least this long may be wrapped */, WRAP_EDGE = 2 /* with at least so much in each line */ };

struct scorer_card {
    struct ctc_text name, tagline, joined;      /* joined: both in one line */
};

void scorer_init(struct scorer *scorer, const struct catalogue *catalogue, const struct keys *keys)
{
    static const char *const headers[SECTIONS] = {"传奇牌", "主牌组", "战场牌", "符文牌", "备牌"};
    *scorer = (struct scorer){.catalogue = catalogue};
    scorer->cards = mem_new((catalogue->cards_count + 1) * sizeof *scorer->cards);
    for (size_t i = 0; i < catalogue->cards_count; i++) {
        const struct catalogue_card *card = &catalogue->cards[i];
        struct scorer_card *own = &scorer->cards[i];
        ctc_text_init(&own->name, keys, card->name);
        ctc_text_init(&own->tagline, keys, card->tagline);
        own->joined = own->name;
        for (int t = 0; t < own->tagline.count && own->joined.count < CTC_TOKENS_MAX; t++)
            own->joined.tokens[own->joined.count++] = own->tagline.tokens[t];
    }
    for (int i = 0; i < DECK_QUANTITY_MAX; i++) {
        char text[8];
        snprintf(text, sizeof text, "x%d", i + 1);
        ctc_text_init(&scorer->quantities[i], keys, bytes_of(text));
    }
    for (int i = 0; i < SECTIONS; i++)
        ctc_text_init(&scorer->headers[i], keys, bytes_of(headers[i]));
    ctc_text_init(&scorer->starter, keys, BYTES("入门"));
}

void scorer_done(struct scorer *scorer)
{
    free(scorer->cards);
    *scorer = (struct scorer){0};
}

/* One way to read a card out of the lines: tokens for each, and the score of all of it. */
struct fit {
    const struct ctc_token *tokens[2];
    int counts[2];
    double total;          /* log-probability, penalties included */
    double score;          /* a character */
};

static void consider(struct fit *best, const struct reading *lines, int lines_count, struct fit fit, double penalty)
{
    int characters = 0;
    fit.total = penalty;
    for (int i = 0; i < lines_count; i++) {
        fit.total += ctc_score(&lines[i], fit.tokens[i], fit.counts[i]);
        characters += fit.counts[i];
    }
    fit.score = fit.total / (characters ? characters : 1);
    if (fit.total > best->total)
        *best = fit;
}

static struct fit fit_card(const struct scorer *scorer, size_t index, const struct reading *lines, int lines_count)
{
    const struct scorer_card *card = &scorer->cards[index];
    struct fit best = {.total = 3 * CTC_IMPOSSIBLE, .score = 3 * CTC_IMPOSSIBLE};
    if (!card->name.count)
        return best;
    if (lines_count == 1) {
        consider(&best, lines, 1, (struct fit){.tokens = {card->joined.tokens}, .counts = {card->joined.count}}, 0);
        if (card->tagline.count && !scorer->catalogue->cards[index].base_shared)
            consider(&best, lines, 1, (struct fit){.tokens = {card->name.tokens}, .counts = {card->name.count}}, lost_tagline);
        return best;
    }
    const struct ctc_text *second = card->tagline.count ? &card->tagline : &scorer->starter;
    consider(&best, lines, 2, (struct fit){.tokens = {card->name.tokens, second->tokens}, .counts = {card->name.count, second->count}}, 0);
    for (int cut = WRAP_EDGE; card->joined.count >= WRAP_FROM && cut <= card->joined.count - WRAP_EDGE; cut++) {
        struct fit fit = {.tokens = {card->joined.tokens, card->joined.tokens + cut}, .counts = {cut, card->joined.count - cut}};
        consider(&best, lines, 2, fit, 0);
    }
    return best;
}

static double worst_of(const struct fit *fit, const struct reading *lines, int lines_count)
{
    double worst = 0;
    for (int i = 0; i < lines_count; i++) {
        double here = ctc_worst(&lines[i], fit->tokens[i], fit->counts[i]);
        worst = here < worst ? here : worst;
    }
    return worst;
}

void scorer_name(const struct scorer *scorer, const struct reading *lines, int lines_count, struct scorer_match *ret)
{
    struct fit best = {.total = 3 * CTC_IMPOSSIBLE};
    double second = 3 * CTC_IMPOSSIBLE;
    *ret = (struct scorer_match){.score = CTC_IMPOSSIBLE};
    if (!lines_count)    /* a box without text says no name */
        return;
    for (size_t i = 0; i < scorer->catalogue->cards_count; i++) {
        struct fit fit = fit_card(scorer, i, lines, lines_count);
        if (fit.total > best.total) {
            second = best.total;
            best = fit;
            ret->nearest = &scorer->catalogue->cards[i];
        } else if (fit.total > second)
            second = fit.total;
    }
    if (!ret->nearest || best.total < CTC_IMPOSSIBLE / 2) {
        ret->nearest = NULL;
        return;
    }
    ret->score = best.score;
    ret->lead = best.total - second;
    ret->worst = worst_of(&best, lines, lines_count);
    if (ret->score > score_min && ret->worst > worst_min && ret->lead > lead_min)
        ret->card = ret->nearest;
}

int scorer_quantity(const struct scorer *scorer, const struct reading *reading, double *ret_score)
{
    double lead;
    int best = ctc_choose(reading, scorer->quantities, DECK_QUANTITY_MAX, ret_score, &lead);
    return best >= 0 && *ret_score > quantity_min ? best + 1 : 0;
}

int scorer_section(const struct scorer *scorer, const struct reading *reading)
{
    double score, lead;
    int best = ctc_choose(reading, scorer->headers, SECTIONS, &score, &lead);
    return score > header_min ? best : -1;
}
