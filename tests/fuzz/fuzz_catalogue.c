/* Tables of cards and decklists as text. A table is taken or refused with a sentence; every name in it is found again. A list is read against a small table.
 * The first byte says which: a table as it is, rows below a good head, or a list. */
#include "fuzz.h"

#include "base/json.h"
#include "base/json_grammar.h"
#include "base/text.h"
#include "stage/catalogue.h"
#include "stage/csv.h"
#include "stage/typed.h"

#define HEAD "name_cn,name_en,card_number,type_en,domain_en,cost,rarity_en,image_url_en\n"

static void check_csv(struct bytes file)
{
    struct csv csv;
    struct problem problem = {0};
    int answer, line = 0;
    csv_init(&csv, file, "t.csv");
    while (!(answer = csv_next(&csv, &problem))) {
        fuzz_must(csv.fields_count > 0 && csv.fields_count <= CSV_FIELDS_MAX, "a record has fields");
        fuzz_must(csv.line > line && csv.next_line >= csv.line, "lines go on");
        line = csv.line;
    }
    fuzz_check_problem(&problem, answer != CSV_END);
    csv_done(&csv);
}

static void check_table(struct bytes file)
{
    struct catalogue catalogue = {0};
    struct problem problem = {0};
    int failed = catalogue_init(&catalogue, file, "cards.csv", &problem);
    fuzz_check_problem(&problem, failed != 0);
    if (failed)
        return;
    fuzz_must(catalogue.cards_count > 0 && catalogue.cards_count <= catalogue.rows_count && catalogue.bases_count <= catalogue.cards_count, "there are cards");
    for (size_t i = 0; i < catalogue.cards_count; i++) {
        const struct catalogue_card *card = &catalogue.cards[i];
        fuzz_must(card->name.count && card->key.count && card->printings > 0, "a card has a name");
        fuzz_must(text_is_utf8(card->name) && text_is_utf8(card->key), "in UTF-8");
        fuzz_must(card->columns[CATALOGUE_NAME_CN].count <= CATALOGUE_NAME_MAX, "not too long");
    }
    catalogue_done(&catalogue);
}

/* The form in which names are compared comes to itself. */
static void check_key(struct bytes name)
{
    struct buf once BUF_OWNED, twice BUF_OWNED;
    buf_init(&once, 1 << 20);
    buf_init(&twice, 1 << 20);
    if (!text_is_utf8(name) || !catalogue_key(&once, name))
        return;
    fuzz_must(text_is_utf8(buf_bytes(&once)), "a key is UTF-8");
    fuzz_must(catalogue_key(&twice, buf_bytes(&once)) && bytes_equal(buf_bytes(&once), buf_bytes(&twice)), "a key is its own key");
    catalogue_key_bare(&twice, name);
}

static const struct catalogue *small(void)
{
    static struct catalogue catalogue;
    struct problem problem = {0};
    if (!catalogue.cards_count)
        fuzz_must(!catalogue_init(&catalogue, BYTES(HEAD "\xe6\x98\x93,Yi,OGN-001,Legend,Calm,,Rare,http://h/1\n\"\xe6\x98\x93, \xe9\x94\x8b\xe8\x8a\x92\",\"Yi, Edge\",OGN-002,Unit,Body,3,Epic,\n"
                                                         "\xe7\xac\xa6\xe6\x96\x87,Rune,R-1,Rune,,,,\n\xe6\x88\x98\xe5\x9c\xba,Field,F-1,Battlefield,,,,\n"), "cards.csv", &problem), "the small table is good");
    return &catalogue;
}

static void check_list(struct bytes text)
{
    struct deck deck;
    struct problem problem = {0};
    struct buf json BUF_OWNED;
    size_t at;
    buf_init(&json, 4 << 20);
    deck_init(&deck);
    int failed = typed_read(small(), text, &deck, &problem);
    fuzz_check_problem(&problem, failed != 0);
    if (!failed) {
        deck_write(&deck, &json);
        fuzz_must(json_grammar(buf_bytes(&json), JSON_DEPTH_MAX, &at) == JSON_GRAMMAR_GOOD, "a deck is JSON");
        fuzz_must(!memchr(json.at, '\n', json.count), "on one line");
        struct deck_stats stats = deck_stats(&deck);
        fuzz_must(stats.matched_cards >= 0 && stats.matched_cards <= stats.total_cards && stats.accuracy >= 0 && stats.accuracy <= 100, "shares are shares");
    }
    deck_done(&deck);
}

FUZZ_TARGET(catalogue)
{
    struct buf file BUF_OWNED;
    buf_init(&file, 1 << 20);
    switch (fuzz_byte(&input) % 5) {
    case 0: check_csv(input); break;
    case 1: check_table(input); break;
    case 2:
        buf_text(&file, HEAD);
        buf_put(&file, input);
        check_table(buf_bytes(&file));
        break;
    case 3: check_key(input); break;
    default: check_list(input);
    }
}
