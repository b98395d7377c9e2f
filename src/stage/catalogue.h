/* The user's card table: a CSV with at least the columns below, any others are ignored. Rows that share a Chinese name are
 * printings of one card; a decklist cannot tell them apart, so the base printing speaks for all. Immutable once read. */
#pragma once
#include "base/buf.h"
#include "base/map.h"
#include "base/problem.h"

enum catalogue_column {
    CATALOGUE_NAME_CN, CATALOGUE_NAME_EN, CATALOGUE_CARD_NUMBER, CATALOGUE_TYPE_EN, CATALOGUE_DOMAIN_EN, CATALOGUE_COST,
    CATALOGUE_RARITY_EN, CATALOGUE_IMAGE_URL_EN, CATALOGUE_COLUMNS,
};

enum {
    CATALOGUE_BYTES_MAX = 32 << 20,
    CATALOGUE_ROWS_MAX = 100000,
    CATALOGUE_NAME_MAX = 200,       /* bytes of a name */
};

/* One card in its base printing. */
struct catalogue_card {
    struct bytes columns[CATALOGUE_COLUMNS];
    struct bytes name, tagline;     /* name_cn around its comma: "易" and "锋芒毕现"; tagline empty without a comma */
    struct bytes key;               /* name_cn for comparison, see catalogue_key */
    struct bytes key_en;            /* name_en likewise */
    struct bytes key_base;          /* the name before the comma likewise */
    struct bytes key_bare;          /* name and tagline without any punctuation */
    bool base_shared;               /* other cards have the same name before the comma */
    int row;                        /* its place among the file's rows, from 0 */
    int printings;
};

struct catalogue {
    struct catalogue_card *cards;   /* in the order of the file */
    size_t cards_count, rows_count, bases_count;     /* distinct names; all printings; distinct names before the comma */
    char *text;                     /* what the views point into */
    struct map by_key;              /* key and key_en → card */
};

/* From the file's contents, which may go afterwards. `name` is the file's, for problems. -1 and a problem that names file,
 * line and column when a row cannot be read, a column is missing, or there is no card in it. */
int catalogue_init(struct catalogue *catalogue, struct bytes file, const char *name, struct problem *problem);
void catalogue_done(struct catalogue *catalogue);

/* The name of a column as the file and the wire spell it. */
const char *catalogue_column_name(enum catalogue_column column);

/* Append the form in which names are compared: NFKC, case folded, no white space, one form for each quote and dot. */
bool catalogue_key(struct buf *buf, struct bytes utf8);
/* The same without any punctuation. */
bool catalogue_key_bare(struct buf *buf, struct bytes utf8);
