#include "stage/deck.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/rng.h"
#include "base/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const section_names[SECTIONS] = {"legend", "main_deck", "battlefields", "runes", "side_deck"};

const char *deck_section_name(enum section section)
{
    return section_names[section];
}

void deck_init(struct deck *deck)
{
    *deck = (struct deck){.entries = mem_new(DECK_ENTRIES_MAX * sizeof *deck->entries)};
}

void deck_done(struct deck *deck)
{
    free(deck->entries);
    *deck = (struct deck){0};
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

bool deck_add(struct deck *deck, const struct deck_entry *entry)
{
    for (int i = 0; entry->card && i < deck->entries_count; i++) {
        struct deck_entry *known = &deck->entries[i];
        if (known->card != entry->card || known->section != entry->section)
            continue;
        known->quantity = least(known->quantity + entry->quantity, DECK_QUANTITY_MAX);
        known->match_score = fmin(known->match_score, entry->match_score);
        known->confidence = fmin(known->confidence, entry->confidence);
        return true;
    }
    if (deck->entries_count == DECK_ENTRIES_MAX)
        return false;
    struct deck_entry *own = &deck->entries[deck->entries_count++];
    *own = *entry;
    own->quantity = least(entry->quantity < 1 ? 1 : entry->quantity, DECK_QUANTITY_MAX);
    return true;
}

enum section deck_section_of(const struct catalogue_card *card)
{
    struct bytes type = card->columns[CATALOGUE_TYPE_EN];
    if (bytes_equal_nocase(type, BYTES("Legend")))
        return SECTION_LEGEND;
    if (bytes_equal_nocase(type, BYTES("Battlefield")))
        return SECTION_BATTLEFIELDS;
    if (type.count >= 4 && bytes_equal_nocase((struct bytes){type.at + type.count - 4, 4}, BYTES("Rune")))
        return SECTION_RUNES;
    return SECTION_MAIN;
}

void deck_text(char field[DECK_TEXT_MAX], struct bytes text)
{
    BUF_OWNED struct buf clean;
    buf_init(&clean, 3 * DECK_TEXT_MAX);
    text = bytes_trim(text);
    text.count = text_cut(text, DECK_TEXT_MAX - 1);
    text_clean(&clean, text);
    struct bytes view = buf_bytes(&clean);
    view.count = text_cut(view, DECK_TEXT_MAX - 1);
    memcpy(field, view.at ? view.at : "", view.count);
    field[view.count] = '\0';
}

struct deck_stats deck_stats(const struct deck *deck)
{
    struct deck_stats stats = {0};
    for (int i = 0; i < deck->entries_count; i++) {
        stats.total_cards += deck->entries[i].quantity;
        if (deck->entries[i].card)
            stats.matched_cards += deck->entries[i].quantity;
    }
    if (stats.total_cards)
        stats.accuracy = round(1000.0 * stats.matched_cards / stats.total_cards) / 10;
    return stats;
}

static void write_text(struct buf *buf, const char *key, const char *text)
{
    json_key(buf, key);
    json_text(buf, text && *text ? text : NULL);
}

/* The legend's name stands among the metadata too. */
static void write_metadata(const struct deck *deck, struct buf *buf)
{
    const struct catalogue_card *legend = NULL;
    for (int i = 0; !legend && i < deck->entries_count; i++)
        if (deck->entries[i].section == SECTION_LEGEND)
            legend = deck->entries[i].card;
    json_key(buf, "metadata");
    json_open(buf, '{');
    write_text(buf, "player", deck->player);
    write_text(buf, "deck_name", deck->name);
    for (int english = 0; english < 2; english++) {
        json_key(buf, english ? "legend_name_en" : "legend_name");
        if (legend)
            json_bytes(buf, legend->columns[english ? CATALOGUE_NAME_EN : CATALOGUE_NAME_CN]);
        else
            json_null(buf);
    }
    write_text(buf, "event", deck->event);
    write_text(buf, "date", deck->date);
    json_key(buf, "placement");
    if (deck->placement)
        json_int(buf, deck->placement);
    else
        json_null(buf);
    json_close(buf, '}');
}

/* A cost is a number where the table has one, and null where it has nothing. */
static void write_column(struct buf *buf, const struct catalogue_card *card, enum catalogue_column column)
{
    struct bytes field = card->columns[column];
    int64_t number;
    json_key(buf, catalogue_column_name(column));
    if (column == CATALOGUE_COST && bytes_to_i64(field, &number))
        json_int(buf, number);
    else if (column == CATALOGUE_COST && !field.count)
        json_null(buf);
    else
        json_bytes(buf, field);
}

static double tenth(double value)
{
    return round(value * 10) / 10;
}

static void write_reading(struct buf *buf, const struct deck_entry *entry)
{
    json_put_int(buf, "quantity", entry->quantity);
    json_put_real(buf, "match_score", tenth(entry->match_score));
    if (entry->card) {
        json_put_text(buf, "match_type", entry->match_type);
    }
    json_key(buf, "ocr_confidence");
    if (entry->confidence >= 0)
        json_real(buf, round(entry->confidence * 1000) / 1000);
    else
        json_null(buf);
}

static void write_section(const struct deck *deck, enum section section, struct buf *buf)
{
    json_key(buf, section_names[section]);
    json_open(buf, '[');
    for (int i = 0; i < deck->entries_count; i++) {
        const struct deck_entry *entry = &deck->entries[i];
        if (entry->section != section || !entry->card)
            continue;
        json_open(buf, '{');
        for (int column = 0; column < CATALOGUE_COLUMNS; column++)
            write_column(buf, entry->card, column);
        write_reading(buf, entry);
        json_close(buf, '}');
    }
    json_close(buf, ']');
}

static void write_unmatched(const struct deck *deck, struct buf *buf)
{
    json_key(buf, "unmatched");
    json_open(buf, '[');
    for (int i = 0; i < deck->entries_count; i++) {
        const struct deck_entry *entry = &deck->entries[i];
        if (entry->card)
            continue;
        json_open(buf, '{');
        json_put_text(buf, "name_cn", entry->text);
        json_put_text(buf, "section", section_names[entry->section]);
        write_reading(buf, entry);
        json_close(buf, '}');
    }
    json_close(buf, ']');
}

void deck_write(const struct deck *deck, struct buf *buf)
{
    char id[RNG_UUID_SIZE];
    struct deck_stats stats = deck_stats(deck);
    rng_uuid(id);
    json_open(buf, '{');
    write_text(buf, "decklist_id", id);
    write_metadata(deck, buf);
    for (int section = 0; section < SECTIONS; section++)
        write_section(deck, section, buf);
    write_unmatched(deck, buf);
    json_key(buf, "stats");
    json_open(buf, '{');
    json_put_int(buf, "total_cards", stats.total_cards);
    json_put_int(buf, "matched_cards", stats.matched_cards);
    json_put_real(buf, "accuracy", stats.accuracy);
    json_close(buf, '}');
    json_close(buf, '}');
}
