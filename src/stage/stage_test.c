/* The kinds as the worker sees them: by name, from a descriptor or a value. */
#include "base/json.h"
#include "base/test.h"
#include "stage/models.h"
#include "stage/scorer.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static const char table[] =
    "name_cn,name_en,card_number,type_en,domain_en,cost,rarity_en,image_url_en\n"
    "\"ab, cd\",\"Ab, Cd\",A1,Champion Unit,Body,3,Epic,u\n"
    "abc,Abc,A2,Unit,Body,x,Rare,u\n"
    "dc,Dc,A3,Legend,Body,,Rare,u\n";

static int file_of(const char *text)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    return fd;
}

static void run(const char *kind_name, struct stage_task task, struct stage_outcome *outcome)
{
    void *state = NULL;
    struct problem problem = {0};
    struct stage_outfit outfit = STAGE_OUTFIT_EMPTY;
    const struct stage_kind *kind = stage_kind_find(bytes_of(kind_name));
    CHECK(kind != NULL);
    outfit.catalogue_fd = file_of(table);
    int answer = kind->open(&outfit, &state, &problem);
    test_note("%s", problem.text);
    CHECK_INT(answer, 0);
    close(outfit.catalogue_fd);
    stage_outcome_init(outcome);
    kind->run(state, &task, outcome);
    if (kind->close)
        kind->close(state);
}

TEST(the_table_of_kinds_knows_its_names)
{
    CHECK(stage_kind_find(BYTES("match")) && stage_kind_find(BYTES("noop")) && stage_kind_find(BYTES("decklist")));
    CHECK(!stage_kind_find(BYTES("nonsense")));
    for (size_t i = 0; stage_kind_at(i); i++)
        CHECK(stage_kind_find(bytes_of(stage_kind_at(i)->name)) == stage_kind_at(i));
}

TEST(noop_gives_its_input_back_or_fails_as_asked)
{
    struct stage_outcome outcome;
    run("noop", (struct stage_task){.input_fd = -1, .value = BYTES("{\"a\":1}")}, &outcome);
    CHECK_INT(outcome.verdict, STAGE_DONE);
    CHECK_BYTES(buf_bytes(&outcome.value), BYTES("{\"a\":1}"));
    stage_outcome_done(&outcome);
    run("noop", (struct stage_task){.input_fd = -1, .value = BYTES("{\"noop\":{\"fail\":\"no.\",\"error_type\":\"validation\"}}")}, &outcome);
    CHECK_INT(outcome.verdict, STAGE_FAIL);
    CHECK_TEXT(outcome.error.text, "no.");
    CHECK_TEXT(outcome.error_type, "validation");
    stage_outcome_done(&outcome);
    run("noop", (struct stage_task){.input_fd = -1, .variables = BYTES("{\"params\":{\"retry\":\"later.\",\"sleep_ms\":1}}")}, &outcome);
    CHECK_INT(outcome.verdict, STAGE_RETRY);
    stage_outcome_done(&outcome);
}

TEST(a_typed_decklist_becomes_the_contracts_result)
{
    struct stage_outcome outcome;
    int fd = file_of("Player: Lee\nLegend\ndc\nMain\n3 abc\n2 zzzz\n");
    run("match", (struct stage_task){.input_fd = fd}, &outcome);
    close(fd);
    CHECK_TEXT(outcome.error.text, "");
    JSON_OWNED struct json_object *deck = json_parse(buf_bytes(&outcome.value), NULL);
    struct json_object *metadata = json_get(deck, "metadata"), *stats = json_get(deck, "stats"), *main_deck = json_get(deck, "main_deck");
    CHECK_INT(json_get_bytes(deck, "decklist_id").count, 36);
    CHECK_BYTES(json_get_bytes(metadata, "player"), BYTES("Lee"));
    CHECK_BYTES(json_get_bytes(metadata, "legend_name_en"), BYTES("Dc"));
    CHECK(json_object_object_get_ex(metadata, "event", NULL) && !json_get(metadata, "event"));
    CHECK_INT(json_get_int(stats, "total_cards", -1), 6);
    CHECK_INT(json_get_int(stats, "matched_cards", -1), 4);
    CHECK(json_get_real(stats, "accuracy", 0) == 66.7);
    CHECK_INT(json_object_array_length(main_deck), 1);
    struct json_object *card = json_object_array_get_idx(main_deck, 0);
    CHECK_BYTES(json_get_bytes(card, "match_type"), BYTES("exact_full"));
    CHECK_BYTES(json_get_bytes(card, "cost"), BYTES("x"));
    CHECK_INT(json_get_int(card, "quantity", 0), 3);
    CHECK_INT(json_object_array_length(json_get(deck, "unmatched")), 1);
    CHECK(outcome.stats_count >= 1 && outcome.stats[0].value == 66.7);
    stage_outcome_done(&outcome);
}

TEST(text_that_is_no_decklist_fails_as_validation)
{
    struct stage_outcome outcome;
    run("match", (struct stage_task){.input_fd = -1, .value = BYTES("\"hello\"")}, &outcome);
    CHECK_INT(outcome.verdict, STAGE_FAIL);
    CHECK_TEXT(outcome.error_type, "validation");
    stage_outcome_done(&outcome);
}

TEST(a_kind_that_cannot_load_says_why)
{
    void *state = NULL;
    struct problem problem = {0};
    struct stage_outfit outfit = STAGE_OUTFIT_EMPTY;
    outfit.catalogue_path = "/nowhere/cards.csv";
    CHECK(stage_kind_find(BYTES("match"))->open(&outfit, &state, &problem) < 0);
    CHECK_TEXT(problem.text, "The card catalogue /nowhere/cards.csv cannot be opened: No such file or directory.");
    CHECK(state == NULL);
}

TEST(models_that_are_missing_are_told_in_one_line)
{
    struct models models;
    models_find(&models, "/nowhere");
    CHECK(!models.library && !models.model && !models.keys);
    CHECK(strstr(models.notice, "no libonnxruntime.so in /nowhere") != NULL && !strchr(models.notice, '\n'));
    models_done(&models);
}

enum { CLASSES = 6 /* blank, a, b, c, d, space */, STEPS_MAX = 16 };

static struct reading reading_of(float (*at)[CLASSES], const char *steps, float certainty)
{
    int count = (int)strlen(steps);
    for (int step = 0; step < count; step++)
        for (int class = 0; class < CLASSES; class++)
            at[step][class] = class == (steps[step] == '-' ? 0 : steps[step] - 'a' + 1) ? certainty : (1 - certainty) / (CLASSES - 1);
    return (struct reading){.posteriors = &at[0][0], .steps = count, .classes = CLASSES};
}

/* The card's number that one or two lines show, "" when they show none. */
static const char *scored(const char *first, const char *second)
{
    static struct catalogue catalogue;
    static struct keys keys;
    static struct scorer scorer;
    static char number[16];
    float boards[2][STEPS_MAX][CLASSES];
    struct scorer_match match;
    if (!scorer.cards) {
        CHECK_INT(catalogue_init(&catalogue, bytes_of(table), "table", NULL), 0);
        CHECK_INT(keys_init(&keys, BYTES("a\nb\nc\nd\n"), NULL), 0);
        scorer_init(&scorer, &catalogue, &keys);
    }
    struct reading lines[2] = {reading_of(boards[0], first, 0.9999f), reading_of(boards[1], second, 0.9999f)};
    scorer_name(&scorer, lines, *second ? 2 : *first ? 1 : 0, &match);
    struct bytes found = match.card ? match.card->columns[CATALOGUE_CARD_NUMBER] : BYTES("");
    snprintf(number, sizeof number, "%.*s", BYTES_ARG(found));
    return number;
}

TEST(readings_become_cards_only_without_contradiction)
{
    CHECK_TEXT(scored("-a-b-c-", ""), "A2");
    CHECK_TEXT(scored("-a-b-", "-c-d-"), "A1");
    CHECK_TEXT(scored("-a-b-c-d-", ""), "A1");      /* both lines in one */
    CHECK_TEXT(scored("-d-c-", ""), "A3");
    CHECK_TEXT(scored("-a-b-", ""), "A1");          /* the tagline is lost, and only one card has this name */
    CHECK_TEXT(scored("-a-b-", "-d-d-"), "");       /* another tagline is another card */
    CHECK_TEXT(scored("-a-b-d-", ""), "");          /* one letter is surely another */
    CHECK_TEXT(scored("-b-b-", ""), "");
    CHECK_TEXT(scored("", ""), "");                 /* a box without text */
}
