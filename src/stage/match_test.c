#include "base/json.h"
#include "base/test.h"
#include "stage/match.h"
#include "stage/typed.h"

static const char table[] =
    "name_cn,name_en,card_number,type_en,domain_en,cost,rarity_en,image_url_en\n"
    "\"易, 锋芒毕现\",\"Yi, Honed\",A1,Champion Unit,Body,3,Epic,u\n"
    "\"易, 禅心大道\",\"Yi, Meditative\",A2,Champion Unit,Body,3,Epic,u\n"
    "\"沃利贝尔, 雄浑巨力\",\"Volibear, Imposing\",A3,Champion Unit,Body,12,Rare,u\n"
    "小小守护者,Clockwork Keeper,A4,Unit,Calm,2,Common,u\n"
    "苍炎守护者,Whiteflame Protector,A5,Unit,Calm,2,Common,u\n"
    "“敲”诈,Stupefy,A6,Spell,Mind,1,Common,u\n"
    "翠意符文,Calm Rune,A7,Basic Rune,Calm,,Common,u\n"
    "力量方尖碑,Obelisk Of Power,A8,Battlefield,Colorless,,Uncommon,u\n"
    "无极剑圣,Wuju Bladesman,A9,Legend,Calm|Body,,Rare,u\n";

static struct catalogue *cards(void)
{
    static struct catalogue catalogue;
    if (!catalogue.cards_count)
        CHECK_INT(catalogue_init(&catalogue, bytes_of(table), "table", NULL), 0);
    return &catalogue;
}

/* "NUMBER match_type", or "none". */
static const char *matched(const char *name)
{
    static char text[64];
    struct match match;
    match_name(cards(), bytes_of(name), MATCH_TYPED, &match);
    if (!match.card)
        return "none";
    struct bytes number = match.card->columns[CATALOGUE_CARD_NUMBER];
    snprintf(text, sizeof text, "%.*s %s", BYTES_ARG(number), match.type);
    return text;
}

TEST(each_way_of_matching_has_its_name)
{
    CHECK_TEXT(matched("易, 锋芒毕现"), "A1 exact_full");
    CHECK_TEXT(matched("易，锋芒毕现"), "A1 exact_full");
    CHECK_TEXT(matched("yi, honed"), "A1 exact_full");
    CHECK_TEXT(matched("易锋芒毕现"), "A1 comma_inserted");
    CHECK_TEXT(matched("易·锋芒毕现"), "A1 comma_inserted");
    CHECK_TEXT(matched("敲诈"), "A6 comma_inserted");
    CHECK_TEXT(matched("沃利贝尔"), "A3 base_name");
    CHECK_TEXT(matched("沃利贝耳"), "A3 fuzzy_base_name");
    CHECK_TEXT(matched("沃利贝尔, 雄混巨力"), "A3 fuzzy_full");
    CHECK_TEXT(matched("Whiteflame Protectr"), "A5 fuzzy_full");
}

TEST(what_could_be_two_cards_or_none_stays_unmatched)
{
    CHECK_TEXT(matched("易"), "none");
    CHECK_TEXT(matched("绿叶守护者"), "none");
    CHECK_TEXT(matched(""), "none");
    CHECK_TEXT(matched(" , "), "none");
    CHECK_TEXT(matched("完全不同的名字"), "none");
}

/* The deck as "section:NUMBERxQUANTITY …" and "?TEXT" for the unmatched. */
static const char *typed(const char *text)
{
    static struct buf line;
    struct deck deck;
    struct problem problem = {0};
    buf_done(&line);
    buf_init(&line, 4096);
    deck_init(&deck);
    if (typed_read(cards(), bytes_of(text), &deck, &problem) < 0)
        buf_print(&line, "problem: %s", problem.text);
    for (int i = 0; i < deck.entries_count && !problem.text[0]; i++) {
        const struct deck_entry *entry = &deck.entries[i];
        buf_print(&line, "%s%s:", i ? " " : "", deck_section_name(entry->section));
        if (entry->card)
            buf_put(&line, entry->card->columns[CATALOGUE_CARD_NUMBER]);
        else
            buf_print(&line, "?%s", entry->text);
        buf_print(&line, "x%d", entry->quantity);
    }
    if (deck.player[0])
        buf_print(&line, " by %s placed %d", deck.player, deck.placement);
    deck_done(&deck);
    return buf_z(&line);
}

TEST(lines_are_read_with_headings_and_quantities_on_either_side)
{
    CHECK_TEXT(typed("Player: Lee\r\nPlacement: 2\r\n\r\n传奇牌\r\n无极剑圣\r\n## Main Deck (40)\r\n3x 小小守护者\n2 苍炎守护者\nClockwork Keeper x2\n"
                     "“敲”诈×3\n// a comment\n[Runes]\n翠意符文 x 12\n备牌：\nx2 易, 锋芒毕现\n"),
               "legend:A9x1 main_deck:A4x5 main_deck:A5x2 main_deck:A6x3 runes:A7x12 side_deck:A1x2 by Lee placed 2");
}

TEST(cards_without_a_heading_go_to_the_section_of_their_type)
{
    CHECK_TEXT(typed("无极剑圣\n6 翠意符文\n力量方尖碑\n3 小小守护者"), "legend:A9x1 runes:A7x6 battlefields:A8x1 main_deck:A4x3");
}

TEST(unknown_names_and_senseless_quantities_are_kept_as_unmatched)
{
    CHECK_TEXT(typed("主牌组\n3x 琥珀蜻蜓\n40x 小小守护者\n0 苍炎守护者"),
               "main_deck:?琥珀蜻蜓x3 main_deck:?40x 小小守护者x12 main_deck:?0 苍炎守护者x1");
}

TEST(json_has_strings_and_objects)
{
    CHECK_TEXT(typed("{\"metadata\":{\"player\":\"Lee\",\"placement\":7},\"legend\":[\"无极剑圣\"],\"main_deck\":[\"3x 小小守护者\","
                     "{\"name_cn\":\"苍炎守护者\",\"quantity\":2},{\"name_en\":\"Stupefy\"}],\"runes\":[{\"name\":\"翠意符文\",\"quantity\":13}]}"),
               "legend:A9x1 main_deck:A4x3 main_deck:A5x2 main_deck:A6x1 runes:?翠意符文x12 by Lee placed 7");
    CHECK_TEXT(typed("{\"text\":\"3 小小守护者\"}"), "main_deck:A4x3");
    CHECK_TEXT(typed(" \"3 小小守护者\\n2 苍炎守护者\" "), "main_deck:A4x3 main_deck:A5x2");
}

TEST(what_is_no_decklist_is_a_problem)
{
    CHECK(strstr(typed("Dear Sir,\nhello\n"), "no decklist") != NULL);
    CHECK(strstr(typed(""), "no decklist") != NULL);
    CHECK(strstr(typed("{\"legend\":3}"), "\"legend\" has to be an array") != NULL);
    CHECK(strstr(typed("{\"legend\":[3]}"), "neither a string nor an object") != NULL);
    CHECK(strstr(typed("{\"legend\":["), "problem:") != NULL);
    CHECK(strstr(typed("\xff\xfe"), "not UTF-8") != NULL);
}
