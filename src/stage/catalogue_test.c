#include "base/test.h"
#include "stage/catalogue.h"
#include "stage/csv.h"

#define HEADER "name_cn,name_en,card_number,type_en,domain_en,cost,rarity_en,image_url_en\n"

static const char *load(struct catalogue *catalogue, const char *text)
{
    static struct problem problem;
    problem = (struct problem){0};
    catalogue_init(catalogue, bytes_of(text), "cards.csv", &problem);
    return problem.text;
}

static struct csv *csv_of(const char *text)
{
    static struct csv csv;
    csv_done(&csv);
    csv_init(&csv, bytes_of(text), "t.csv");
    return &csv;
}

TEST(quoted_fields_hold_commas_quotes_and_line_ends)
{
    struct csv *csv = csv_of("\xef\xbb\xbf" "a,\"b, \"\"c\"\"\nd\",\r\n\r\n\"\",x\nlast");
    CHECK_INT(csv_next(csv, NULL), 0);
    CHECK_INT(csv->fields_count, 3);
    CHECK_BYTES(csv->fields[0], BYTES("a"));
    CHECK_BYTES(csv->fields[1], BYTES("b, \"c\"\nd"));
    CHECK_BYTES(csv->fields[2], BYTES(""));
    CHECK_INT(csv_next(csv, NULL), 0);
    CHECK_INT(csv->line, 4);
    CHECK_BYTES(csv->fields[1], BYTES("x"));
    CHECK_INT(csv_next(csv, NULL), 0);
    CHECK_BYTES(csv->fields[0], BYTES("last"));
    CHECK_INT(csv_next(csv, NULL), CSV_END);
    csv_done(csv);
}

TEST(a_bad_record_names_file_line_and_field)
{
    struct problem problem = {0};
    struct csv *csv = csv_of("a,b\nc,\"d\" e\n");
    CHECK_INT(csv_next(csv, &problem), 0);
    CHECK_INT(csv_next(csv, &problem), -1);
    CHECK_TEXT(problem.text, "t.csv, line 2, field 2: something stands behind the closing quote.");
    problem = (struct problem){0};
    CHECK_INT(csv_next(csv_of("\"open\nfor ever"), &problem), -1);
    CHECK_TEXT(problem.text, "t.csv, line 1, field 1: the quote is never closed.");
    problem = (struct problem){0};
    CHECK_INT(csv_next(csv_of("a\n"), &problem), 0);
    CHECK_INT(csv_next(csv_of("good,\xff\xfe\n"), &problem), -1);
    CHECK_TEXT(problem.text, "t.csv, line 1, field 2: this is not UTF-8 text.");
    csv_done(csv);
}

TEST(printings_become_one_card_with_the_base_one_speaking)
{
    struct catalogue catalogue;
    CHECK_TEXT(load(&catalogue, "\xef\xbb\xbf" "temporary," HEADER
                    "x,奥术先驱,Herald,OGN·308*/298,Legend,Mind,,Showcase,u1\n"
                    "x,奥术先驱,Herald,FND-265/298,Legend,Mind,,Rare,u2\n"
                    "x,奥术先驱,Herald,OGN·265/298,Legend,Mind,,Rare,u3\n"
                    "x,奥术先驱,Herald,OGN·265a/298,Legend,Mind,,Rare,u4\n"
                    "x,\"易, 锋芒毕现\",\"Yi, Honed\",OGN·009/024,Champion Unit,Body,3,Epic,u5\n"
                    "x,\"易，禅心大道\",\"Yi, Meditative\",OGN·002/024,Champion Unit,Body,4,Epic,u6\n"), "");
    CHECK_INT(catalogue.rows_count, 6);
    CHECK_INT(catalogue.cards_count, 3);
    CHECK_INT(catalogue.bases_count, 2);
    CHECK_INT(catalogue.cards[0].printings, 4);
    CHECK_BYTES(catalogue.cards[0].columns[CATALOGUE_IMAGE_URL_EN], BYTES("u3"));
    CHECK(!catalogue.cards[0].base_shared && catalogue.cards[1].base_shared && catalogue.cards[2].base_shared);
    CHECK_BYTES(catalogue.cards[1].name, BYTES("易"));
    CHECK_BYTES(catalogue.cards[1].tagline, BYTES("锋芒毕现"));
    CHECK_BYTES(catalogue.cards[2].tagline, BYTES("禅心大道"));
    catalogue_done(&catalogue);
}

TEST(a_table_that_cannot_be_used_is_told_in_one_sentence)
{
    struct catalogue catalogue;
    CHECK(strstr(load(&catalogue, "name_cn,name_en,card_number,type_en,domain_en,rarity_en,image_url_en\n"),
                 "cards.csv, line 1: the column \"cost\" is missing") != NULL);
    CHECK_TEXT(load(&catalogue, ""), "cards.csv is empty: a card table begins with a line of column names.");
    CHECK_TEXT(load(&catalogue, HEADER), "cards.csv holds no card: there is nothing below its line of column names.");
    CHECK_TEXT(load(&catalogue, HEADER "a,b,c,d,e,f,g,h\na,b,c\n"), "cards.csv, line 3: the row has 3 fields, but the header has 8 columns.");
    CHECK_TEXT(load(&catalogue, HEADER " ,b,c,d,e,f,g,h\n"), "cards.csv, line 2, column name_cn: a card needs a name.");
    CHECK(strstr(load(&catalogue, HEADER "a,\"b\nc,d\n"), "cards.csv, line 2, field 2: the quote is never closed") != NULL);
    CHECK(catalogue.cards == NULL);
}

TEST(names_are_compared_in_one_form)
{
    BUF_OWNED struct buf a, b;
    buf_init(&a, 200);
    buf_init(&b, 200);
    CHECK(catalogue_key(&a, BYTES("“敲”诈 ＡBC！")) && catalogue_key(&b, BYTES("\"敲\"　诈abc!")));
    CHECK_BYTES(buf_bytes(&a), buf_bytes(&b));
    buf_clear(&a);
    buf_clear(&b);
    CHECK(catalogue_key_bare(&a, BYTES("易, 锋芒·毕现")) && catalogue_key_bare(&b, BYTES("易锋芒毕现")));
    CHECK_BYTES(buf_bytes(&a), buf_bytes(&b));
}
