#include "stage/typed.h"

#include "base/json.h"
#include "base/text.h"
#include "stage/match.h"

#include <stdlib.h>

enum { NO_SECTION = -1 };

struct typed {
    const struct catalogue *catalogue;
    struct deck *deck;
    int section;            /* of the last heading, or NO_SECTION */
    int headings, matched;
};

static const struct {
    const char *word;
    enum section section;
} headings[] = {
    {"传奇牌", SECTION_LEGEND}, {"传奇", SECTION_LEGEND}, {"legend", SECTION_LEGEND}, {"legends", SECTION_LEGEND},
    {"主牌组", SECTION_MAIN}, {"主牌", SECTION_MAIN}, {"main_deck", SECTION_MAIN}, {"main deck", SECTION_MAIN}, {"main", SECTION_MAIN},
    {"战场牌", SECTION_BATTLEFIELDS}, {"战场", SECTION_BATTLEFIELDS}, {"battlefields", SECTION_BATTLEFIELDS},
    {"battlefield", SECTION_BATTLEFIELDS}, {"符文牌", SECTION_RUNES}, {"符文", SECTION_RUNES}, {"runes", SECTION_RUNES},
    {"rune deck", SECTION_RUNES}, {"备牌", SECTION_SIDE}, {"side_deck", SECTION_SIDE}, {"side deck", SECTION_SIDE},
    {"sideboard", SECTION_SIDE}, {"side", SECTION_SIDE},
};

static const struct {
    const char *word, *field;
} fields[] = {
    {"player", "player"}, {"玩家", "player"}, {"deck", "deck_name"}, {"deck name", "deck_name"}, {"deck_name", "deck_name"},
    {"卡组", "deck_name"}, {"event", "event"}, {"赛事", "event"}, {"date", "date"}, {"日期", "date"},
    {"placement", "placement"}, {"排名", "placement"},
};

static void set_field(struct deck *deck, const char *field, struct bytes value)
{
    struct bytes name = bytes_of(field);
    uint64_t number;
    if (bytes_equal(name, BYTES("placement")))
        deck->placement = bytes_to_u64(bytes_trim(value), &number) && number < 100000 ? (int)number : 0;
    else
        deck_text(bytes_equal(name, BYTES("player")) ? deck->player : bytes_equal(name, BYTES("event")) ? deck->event
                  : bytes_equal(name, BYTES("date")) ? deck->date : deck->name, value);
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* The bytes of a multiplication mark at the front: x, X, * or ×; 0 = none. */
static size_t times(struct bytes text)
{
    if (text.count && strchr("xX*", text.at[0]) && text.at[0])
        return 1;
    return bytes_start(text, BYTES("×")) ? 2 : 0;
}

static struct bytes behind(struct bytes text, size_t count)
{
    return (struct bytes){text.at + count, text.count - count};
}

static size_t digits(struct bytes text)
{
    size_t count = 0;
    while (count < text.count && is_digit(text.at[count]))
        count++;
    return count;
}

/* "3x NAME", "3 NAME", "x3 NAME": cut the quantity off the front. */
static bool take_front(struct bytes *name, uint64_t *quantity)
{
    size_t mark = times(*name), count = digits(behind(*name, mark));
    struct bytes number = {name->at + mark, count}, rest = behind(*name, mark + count);
    size_t second = mark ? 0 : times(rest);
    struct bytes name_only = bytes_trim(behind(rest, second));
    bool parted = second || (rest.count && (rest.at[0] == ' ' || rest.at[0] == '\t'));
    if (!count || !parted || !name_only.count || !bytes_to_u64(number, quantity))
        return false;
    *name = name_only;
    return true;
}

/* "NAME x3": cut it off the end. */
static bool take_end(struct bytes *name, uint64_t *quantity)
{
    size_t end = name->count;
    while (end && is_digit(name->at[end - 1]))
        end--;
    struct bytes number = behind(*name, end);
    while (end && name->at[end - 1] == ' ')
        end--;
    size_t mark = end >= 2 && times((struct bytes){name->at + end - 2, 2}) == 2 ? 2 : end && times((struct bytes){name->at + end - 1, 1}) ? 1 : 0;
    if (!number.count || !mark || !bytes_to_u64(number, quantity))
        return false;
    struct bytes rest = {name->at, end - mark};
    /* A letter before the x makes it part of a word; only a space, a bracket or another script may stand there. */
    if (!rest.count || (mark == 1 && ((unsigned char)rest.at[rest.count - 1] | 0x20) >= 'a' && ((unsigned char)rest.at[rest.count - 1] | 0x20) <= 'z'))
        return false;
    *name = bytes_trim(rest);
    return name->count > 0;
}

static int add_card(struct typed *typed, struct bytes line, int64_t quantity, struct problem *problem)
{
    struct match match;
    struct deck_entry entry = {.confidence = -1};
    struct bytes name = bytes_trim(line);
    uint64_t found = 1;
    if (quantity < 0 && (take_front(&name, &found) || take_end(&name, &found)))
        quantity = found > 1000000 ? 1000000 : (int64_t)found;
    match_name(typed->catalogue, name, MATCH_TYPED, &match);
    bool sane = quantity != 0 && quantity <= DECK_QUANTITY_MAX;      /* below 0: none was given, so one */
    entry.card = sane ? match.card : NULL;
    entry.match_type = match.type;
    entry.match_score = match.score;
    entry.quantity = quantity < 1 ? 1 : quantity > DECK_QUANTITY_MAX ? DECK_QUANTITY_MAX : (int)quantity;
    entry.section = typed->section != NO_SECTION ? (enum section)typed->section : entry.card ? deck_section_of(entry.card) : SECTION_MAIN;
    deck_text(entry.text, sane ? name : line);
    typed->matched += entry.card != NULL;
    return deck_add(typed->deck, &entry) ? 0 : problem_set(problem, "The list has more than %d cards.", DECK_ENTRIES_MAX);
}

/* A heading without its ornaments: marks around it, a colon, a count in brackets. */
static struct bytes plain_heading(struct bytes line)
{
    while (line.count && strchr("#*=-[] \t", line.at[0]))
        line = behind(line, 1);
    const char *bracket = memchr(line.at, '(', line.count), *wide = line.count ? memmem(line.at, line.count, "（", 3) : NULL;
    if (bracket || wide)
        line.count = (size_t)((bracket ? bracket : wide) - line.at);
    for (;;) {
        if (line.count && strchr("#*=-[]: \t", line.at[line.count - 1]))
            line.count--;
        else if (line.count >= 3 && !memcmp(line.at + line.count - 3, "：", 3))
            line.count -= 3;
        else
            return line;
    }
}

static bool take_heading(struct typed *typed, struct bytes line)
{
    struct bytes word = plain_heading(line);
    for (size_t i = 0; i < sizeof headings / sizeof *headings; i++)
        if (bytes_equal_nocase(word, bytes_of(headings[i].word))) {
            typed->section = headings[i].section;
            typed->headings++;
            return true;
        }
    return false;
}

static bool take_field(struct typed *typed, struct bytes line)
{
    const char *mark = memchr(line.at, ':', line.count), *wide = memmem(line.at, line.count, "：", 3);
    size_t mark_bytes = mark && (!wide || mark < wide) ? 1 : 3;
    mark = mark_bytes == 1 ? mark : wide;
    if (!mark)
        return false;
    struct bytes word = bytes_trim((struct bytes){line.at, (size_t)(mark - line.at)});
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (bytes_equal_nocase(word, bytes_of(fields[i].word))) {
            set_field(typed->deck, fields[i].field, behind(line, (size_t)(mark - line.at) + mark_bytes));
            return true;
        }
    return false;
}

static int read_lines(struct typed *typed, struct bytes text, struct problem *problem)
{
    while (text.count) {
        struct bytes line = bytes_cut(&text, '\n');
        if (line.count && line.at[line.count - 1] == '\r')
            line.count--;
        line = bytes_trim(line);
        if (!line.count || take_heading(typed, line) || line.at[0] == '#' || bytes_start(line, BYTES("//")) || take_field(typed, line))
            continue;
        if (add_card(typed, line, -1, problem) < 0)
            return -1;
    }
    return 0;
}

static struct bytes string_of(struct json_object *value)
{
    if (!json_object_is_type(value, json_type_string))
        return (struct bytes){0};
    return (struct bytes){json_object_get_string(value), (size_t)json_object_get_string_len(value)};
}

static int read_card_value(struct typed *typed, struct json_object *value, struct problem *problem)
{
    static const char *const names[] = {"name_cn", "name", "name_en"};
    struct bytes name = string_of(value);
    int64_t quantity = -1;
    for (size_t i = 0; !name.at && json_object_is_type(value, json_type_object) && i < sizeof names / sizeof *names; i++) {
        name = json_get_bytes(value, names[i]);
        quantity = json_get_int(value, "quantity", 1);
        quantity = quantity < 0 ? 0 : quantity;
    }
    if (!name.at)
        return problem_set(problem, "A card in \"%s\" is neither a string nor an object with a name.", deck_section_name((enum section)typed->section));
    return add_card(typed, name, quantity, problem);
}

static void read_metadata(struct typed *typed, struct json_object *metadata)
{
    static const char *const names[] = {"player", "deck_name", "event", "date"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        set_field(typed->deck, names[i], json_get_bytes(metadata, names[i]));
    int64_t placement = json_get_int(metadata, "placement", 0);
    typed->deck->placement = placement > 0 && placement < 100000 ? (int)placement : 0;
}

static int read_object(struct typed *typed, struct json_object *object, struct problem *problem)
{
    struct json_object *inner = json_get(object, "decklist"), *metadata = json_get(object, "metadata");
    if (json_object_is_type(inner, json_type_object))
        return read_object(typed, inner, problem);
    if (json_object_is_type(metadata, json_type_object))
        read_metadata(typed, metadata);
    for (int section = 0; section < SECTIONS; section++) {
        struct json_object *list = json_get(object, deck_section_name((enum section)section));
        if (!list)
            continue;
        if (!json_object_is_type(list, json_type_array))
            return problem_set(problem, "\"%s\" has to be an array of cards.", deck_section_name((enum section)section));
        typed->section = section;
        typed->headings++;
        for (size_t i = 0; i < json_object_array_length(list); i++)
            if (read_card_value(typed, json_object_array_get_idx(list, i), problem) < 0)
                return -1;
    }
    struct bytes lines = json_get_bytes(object, "text");
    typed->section = NO_SECTION;
    return lines.count ? read_lines(typed, lines, problem) : 0;
}

static int read_json(struct typed *typed, struct bytes text, struct problem *problem)
{
    JSON_OWNED struct json_object *value = json_parse(text, problem);
    if (!value)
        return -1;
    struct bytes lines = string_of(value);
    if (lines.at)
        return read_lines(typed, lines, problem);
    if (!json_object_is_type(value, json_type_object))
        return problem_set(problem, "A decklist in JSON has to be an object with sections, or a string of lines.");
    return read_object(typed, value, problem);
}

int typed_read(const struct catalogue *catalogue, struct bytes text, struct deck *deck, struct problem *problem)
{
    struct typed typed = {.catalogue = catalogue, .deck = deck, .section = NO_SECTION};
    if (bytes_start(text, BYTES("\xef\xbb\xbf")))
        text = behind(text, 3);
    if (text.count > TYPED_BYTES_MAX)
        return problem_set(problem, "The decklist has %zu bytes; text may have %d at most.", text.count, TYPED_BYTES_MAX);
    if (!text_is_utf8(text) || (text.count && memchr(text.at, '\0', text.count)))
        return problem_set(problem, "The decklist is not UTF-8 text.");
    struct bytes start = text;
    while (start.count && strchr(" \t\r\n", start.at[0]))
        start = behind(start, 1);
    /* A line may begin with a quote too; a JSON string also ends with one. */
    size_t end = start.count;
    while (end && strchr(" \t\r\n", start.at[end - 1]))
        end--;
    bool json = end && (start.at[0] == '{' || (start.at[0] == '"' && end > 1 && start.at[end - 1] == '"'));
    if ((json ? read_json(&typed, start, problem) : read_lines(&typed, start, problem)) < 0)
        return -1;
    if (!deck->entries_count || (!typed.headings && !typed.matched))
        return problem_set(problem, "This is no decklist: it has no section heading and no card of the catalogue.");
    return 0;
}
