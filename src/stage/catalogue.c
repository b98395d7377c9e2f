#include "stage/catalogue.h"

#include "base/mem.h"
#include "base/text.h"
#include "stage/csv.h"

#include <stdlib.h>
#include <utf8proc.h>

static const char *const column_names[CATALOGUE_COLUMNS] = {
    "name_cn", "name_en", "card_number", "type_en", "domain_en", "cost", "rarity_en", "image_url_en",
};

const char *catalogue_column_name(enum catalogue_column column)
{
    return column_names[column];
}

/* Quotes and dots that are the same to a reader. */
static utf8proc_int32_t unify(utf8proc_int32_t code)
{
    switch (code) {
    case 0x201c: case 0x201d: case 0x300c: case 0x300d: case 0x300e: case 0x300f: case 0x2033:
        return '"';
    case 0x2018: case 0x2019: case 0x2032:
        return '\'';
    case 0x30fb: case 0x2022: case 0x2027:
        return 0xb7;
    case 0x2013: case 0x2014: case 0x2212: case 0x2010:
        return '-';
    case 0x3001:
        return ',';
    default:
        return code;
    }
}

static bool is_space(const utf8proc_property_t *property)
{
    return property->category == UTF8PROC_CATEGORY_ZS || property->category == UTF8PROC_CATEGORY_CC;
}

static bool is_punctuation(const utf8proc_property_t *property)
{
    return property->category >= UTF8PROC_CATEGORY_PC && property->category <= UTF8PROC_CATEGORY_PO;
}

static bool add_key(struct buf *buf, struct bytes utf8, bool bare)
{
    utf8proc_uint8_t *folded = NULL;
    if (!utf8.count)
        return true;
    utf8proc_ssize_t count = utf8proc_map((const utf8proc_uint8_t *)utf8.at, (utf8proc_ssize_t)utf8.count, &folded,
                                          UTF8PROC_COMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD | UTF8PROC_IGNORE | UTF8PROC_STABLE);
    if (count < 0)
        return false;
    for (utf8proc_ssize_t at = 0; at < count;) {
        utf8proc_int32_t code;
        at += utf8proc_iterate(folded + at, count - at, &code);
        const utf8proc_property_t *property = utf8proc_get_property(unify(code));
        if (!is_space(property) && !(bare && is_punctuation(property)))
            text_encode(buf, (uint32_t)unify(code));
    }
    free(folded);
    return buf_ok(buf);
}

bool catalogue_key(struct buf *buf, struct bytes utf8)
{
    return add_key(buf, utf8, false);
}

bool catalogue_key_bare(struct buf *buf, struct bytes utf8)
{
    return add_key(buf, utf8, true);
}

/* While the file is read: rows with their own copies, and where each required column is. */
struct row {
    struct bytes columns[CATALOGUE_COLUMNS];
};

struct loader {
    struct csv csv;
    struct row *rows;
    size_t rows_count, rows_room;
    int places[CATALOGUE_COLUMNS];
    int columns_count;
    struct map sets;       /* how many rows each set has */
    struct buf text;       /* has its whole room from the start, so that views into it hold */
};

static struct bytes keep(struct loader *loader, struct bytes view)
{
    size_t start = loader->text.count;
    buf_put(&loader->text, view);
    return (struct bytes){loader->text.at + start, view.count};
}

static int read_header(struct loader *loader, struct problem *problem)
{
    struct csv *csv = &loader->csv;
    int answer = csv_next(csv, problem);
    if (answer != 0)
        return answer < 0 ? answer : problem_set(problem, "%s is empty: a card table begins with a line of column names.", csv->name);
    loader->columns_count = csv->fields_count;
    for (int column = 0; column < CATALOGUE_COLUMNS; column++) {
        int place = csv->fields_count - 1;
        while (place >= 0 && !bytes_equal(bytes_trim(csv->fields[place]), bytes_of(column_names[column])))
            place--;
        if (place < 0)
            return problem_set(problem, "%s, line %d: the column \"%s\" is missing (name_cn, name_en, card_number, type_en, domain_en, "
                               "cost, rarity_en and image_url_en have to be there).", csv->name, csv->line, column_names[column]);
        loader->places[column] = place;
    }
    return 0;
}

/* A name of nothing but white space and control characters is none: there is nothing to compare it by. */
static bool has_key(struct bytes name)
{
    struct buf key BUF_OWNED;
    buf_init(&key, name.count * 20 + 64);
    return name.count && (!catalogue_key(&key, name) || key.count);
}

static int check_row(const struct loader *loader, struct problem *problem)
{
    const struct csv *csv = &loader->csv;
    if (csv->fields_count != loader->columns_count)
        return problem_set(problem, "%s, line %d: the row has %d fields, but the header has %d columns.", csv->name, csv->line,
                           csv->fields_count, loader->columns_count);
    for (int column = CATALOGUE_NAME_CN; column <= CATALOGUE_NAME_EN; column++) {
        struct bytes field = bytes_trim(csv->fields[loader->places[column]]);
        if (column == CATALOGUE_NAME_CN && !has_key(field))
            return problem_set(problem, "%s, line %d, column %s: a card needs a name.", csv->name, csv->line, column_names[column]);
        if (field.count > CATALOGUE_NAME_MAX)
            return problem_set(problem, "%s, line %d, column %s: a name may have %d bytes at most.", csv->name, csv->line,
                               column_names[column], CATALOGUE_NAME_MAX);
    }
    if (loader->rows_count == CATALOGUE_ROWS_MAX)
        return problem_set(problem, "%s, line %d: a card table may have %d rows at most.", csv->name, csv->line, CATALOGUE_ROWS_MAX);
    return 0;
}

static int read_rows(struct loader *loader, struct problem *problem)
{
    int answer = read_header(loader, problem);
    while (answer == 0 && (answer = csv_next(&loader->csv, problem)) == 0) {
        if (check_row(loader, problem) < 0)
            return -1;
        if (loader->rows_count == loader->rows_room) {
            loader->rows_room = loader->rows_room ? loader->rows_room * 2 : 512;
            loader->rows = mem_grow(loader->rows, loader->rows_room * sizeof *loader->rows);
        }
        struct row *row = &loader->rows[loader->rows_count++];
        for (int column = 0; column < CATALOGUE_COLUMNS; column++)
            row->columns[column] = keep(loader, bytes_trim(loader->csv.fields[loader->places[column]]));
    }
    if (answer == CSV_END && !loader->rows_count)
        return problem_set(problem, "%s holds no card: there is nothing below its line of column names.", loader->csv.name);
    return answer == CSV_END ? 0 : -1;
}

/* The set that a card number like "OGN·066a/298" begins with. */
static struct bytes set_of(struct bytes number)
{
    size_t count = 0;
    while (count < number.count && !(number.at[count] >= '0' && number.at[count] <= '9') && !strchr("-_ ", number.at[count])
           && (unsigned char)number.at[count] < 0x80)
        count++;
    return (struct bytes){number.at, count};
}

/* A letter or a star behind the number marks another artwork. */
static bool has_suffix(struct bytes number)
{
    size_t at = set_of(number).count;
    while (at < number.count && !(number.at[at] >= '0' && number.at[at] <= '9'))
        at++;
    while (at < number.count && number.at[at] >= '0' && number.at[at] <= '9')
        at++;
    return at < number.count && number.at[at] != '/';
}

static size_t set_size(const struct loader *loader, struct bytes set)
{
    return (size_t)map_get_text(&loader->sets, set);
}

static void count_sets(struct loader *loader)
{
    for (size_t i = 0; i < loader->rows_count; i++) {
        struct bytes set = set_of(loader->rows[i].columns[CATALOGUE_CARD_NUMBER]);
        map_set_text(&loader->sets, set, (void *)(set_size(loader, set) + 1));
    }
}

/* Row b is a more basic printing than row a: no showcase, no other artwork, from the larger set; else the earlier one stays. */
static bool more_basic(const struct loader *loader, const struct row *a, const struct row *b)
{
    bool showcase_a = bytes_equal_nocase(a->columns[CATALOGUE_RARITY_EN], BYTES("Showcase"));
    bool showcase_b = bytes_equal_nocase(b->columns[CATALOGUE_RARITY_EN], BYTES("Showcase"));
    struct bytes number_a = a->columns[CATALOGUE_CARD_NUMBER], number_b = b->columns[CATALOGUE_CARD_NUMBER];
    if (showcase_a != showcase_b)
        return showcase_a;
    if (has_suffix(number_a) != has_suffix(number_b))
        return has_suffix(number_a);
    return set_size(loader, set_of(number_b)) > set_size(loader, set_of(number_a));
}

static struct bytes keyed(struct buf *text, struct bytes name, bool bare)
{
    size_t start = text->count;
    add_key(text, name, bare);
    return (struct bytes){text->at + start, text->count - start};
}

static void name_card(struct catalogue_card *card, struct buf *text)
{
    struct bytes rest = card->columns[CATALOGUE_NAME_CN];
    static const char wide[] = "，";
    const char *mark = memchr(rest.at, ',', rest.count), *wide_mark = memmem(rest.at, rest.count, wide, sizeof wide - 1);
    size_t mark_bytes = mark ? 1 : sizeof wide - 1;
    mark = mark ? mark : wide_mark;
    card->name = rest;
    if (mark && mark > rest.at && mark + mark_bytes < rest.at + rest.count) {
        card->name = bytes_trim((struct bytes){rest.at, (size_t)(mark - rest.at)});
        card->tagline = bytes_trim((struct bytes){mark + mark_bytes, (size_t)(rest.at + rest.count - mark) - mark_bytes});
    }
    card->key = keyed(text, card->columns[CATALOGUE_NAME_CN], false);
    card->key_en = keyed(text, card->columns[CATALOGUE_NAME_EN], false);
    card->key_base = keyed(text, card->name, false);
    card->key_bare = keyed(text, card->columns[CATALOGUE_NAME_CN], true);
}

/* One card a distinct name, spoken for by its base printing. */
static void gather(struct catalogue *catalogue, struct loader *loader)
{
    struct map bases = {0};
    catalogue->cards = mem_new(loader->rows_count * sizeof *catalogue->cards);
    for (size_t i = 0; i < loader->rows_count; i++) {
        struct row *row = &loader->rows[i];
        struct bytes key = keyed(&loader->text, row->columns[CATALOGUE_NAME_CN], false);
        struct catalogue_card *card = map_get_text(&catalogue->by_key, key);
        bool known = card && bytes_equal(card->key, key);
        if (!known) {
            card = &catalogue->cards[catalogue->cards_count++];
            card->row = (int)i;
            memcpy(card->columns, row->columns, sizeof card->columns);
            name_card(card, &loader->text);
            map_set_text(&catalogue->by_key, card->key, card);
            struct catalogue_card *twin = map_get_text(&bases, card->key_base);
            if (twin)
                twin->base_shared = card->base_shared = true;
            else
                map_set_text(&bases, card->key_base, card);
        } else if (more_basic(loader, &loader->rows[card->row], row)) {
            card->row = (int)i;
            memcpy(card->columns, row->columns, sizeof card->columns);
            card->key_en = keyed(&loader->text, card->columns[CATALOGUE_NAME_EN], false);
        }
        card->printings++;
    }
    catalogue->rows_count = loader->rows_count;
    catalogue->bases_count = bases.count;
    map_done(&bases);
    for (size_t i = 0; i < catalogue->cards_count; i++)
        if (catalogue->cards[i].key_en.count && !map_get_text(&catalogue->by_key, catalogue->cards[i].key_en))
            map_set_text(&catalogue->by_key, catalogue->cards[i].key_en, &catalogue->cards[i]);
}

int catalogue_init(struct catalogue *catalogue, struct bytes file, const char *name, struct problem *problem)
{
    *catalogue = (struct catalogue){0};
    if (file.count > CATALOGUE_BYTES_MAX)
        return problem_set(problem, "%s has %zu bytes; a card table may have %d at most.", name, file.count, CATALOGUE_BYTES_MAX);
    struct loader loader = {0};
    csv_init(&loader.csv, file, name);
    /* Rows are copied once, and their names four times more in folded form, which may be three times as long. */
    size_t room = file.count * 14 + 64;
    buf_init(&loader.text, room);
    buf_reserve(&loader.text, room);
    int answer = buf_ok(&loader.text) ? read_rows(&loader, problem) : problem_set(problem, "No memory to read %s.", name);
    if (answer == 0) {
        count_sets(&loader);
        gather(catalogue, &loader);
        if (!buf_ok(&loader.text))
            answer = problem_set(problem, "%s: its names are too long to be compared.", name);
        catalogue->text = loader.text.at;
        loader.text = (struct buf){0};
    }
    if (answer < 0)
        catalogue_done(catalogue);
    buf_done(&loader.text);
    csv_done(&loader.csv);
    map_done(&loader.sets);
    free(loader.rows);
    return answer;
}

void catalogue_done(struct catalogue *catalogue)
{
    map_done(&catalogue->by_key);
    free(catalogue->cards);
    free(catalogue->text);
    *catalogue = (struct catalogue){0};
}
