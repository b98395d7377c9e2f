#include "base/test.h"
#include "vision/ctc.h"

#include <math.h>

enum { STEPS_MAX = 12, CLASSES = 6 /* blank, a, b, c, d, space */ };

struct board {
    float at[STEPS_MAX][CLASSES];
    struct reading reading;
    struct keys keys;
};

/* A reading whose steps say the given letters ('-' = blank) with this certainty, the rest shared evenly. */
static void board_init(struct board *board, const char *steps, double certainty)
{
    *board = (struct board){0};
    CHECK_INT(keys_init(&board->keys, BYTES("a\nb\nc\nd\n"), NULL), 0);
    CHECK_INT(board->keys.count, CLASSES);
    int count = (int)strlen(steps);
    for (int step = 0; step < count; step++)
        for (int class = 0; class < CLASSES; class++)
            board->at[step][class] = (float)(class == (steps[step] == '-' ? 0 : steps[step] - 'a' + 1) ? certainty : (1 - certainty) / (CLASSES - 1));
    board->reading = (struct reading){.posteriors = &board->at[0][0], .steps = count, .classes = CLASSES};
}

static double score(struct board *board, const char *text)
{
    struct ctc_text tokens;
    ctc_text_init(&tokens, &board->keys, bytes_of(text));
    return ctc_score(&board->reading, tokens.tokens, tokens.count);
}

static double worst(struct board *board, const char *text)
{
    struct ctc_text tokens;
    ctc_text_init(&tokens, &board->keys, bytes_of(text));
    return ctc_worst(&board->reading, tokens.tokens, tokens.count);
}

static bool near(double a, double b)
{
    return fabs(a - b) < 1e-5;
}

TEST(the_forward_sum_is_what_counting_by_hand_gives)
{
    struct board board;
    board_init(&board, "aa", 0.6);      /* a 0.6, all else 0.08 */
    /* "a" in two steps: aa, a-, -a. */
    CHECK(near(score(&board, "a"), log(0.6 * 0.6 + 2 * 0.6 * 0.08)));
    /* "ab" only as ab; the empty text only as two blanks. */
    CHECK(near(score(&board, "ab"), log(0.6 * 0.08)));
    CHECK(near(score(&board, ""), log(0.08 * 0.08)));
    keys_done(&board.keys);
}

TEST(all_texts_together_have_probability_one)
{
    static const char letters[] = "abcd";
    struct board board;
    char text[4];
    double sum = 0;
    board_init(&board, "ab", 0.5);
    sum += exp(score(&board, ""));
    for (int i = 0; i < 4; i++) {
        sum += exp(score(&board, (text[0] = letters[i], text[1] = '\0', text)));
        for (int j = 0; j < 4; j++)
            sum += i == j ? 0 : exp(score(&board, (text[1] = letters[j], text[2] = '\0', text)));
    }
    /* What is left are the texts with a space, which are never scored: 1 - (1 - 0.1)^2 of all ways. */
    CHECK(near(sum, 0.81));
    keys_done(&board.keys);
}

TEST(a_doubled_letter_needs_a_blank_between)
{
    struct board board;
    board_init(&board, "aa", 0.9);
    CHECK(score(&board, "aa") <= CTC_IMPOSSIBLE);
    keys_done(&board.keys);
    board_init(&board, "a-a", 0.9);
    CHECK(near(score(&board, "aa"), 3 * log(0.9)));
    CHECK(score(&board, "aaa") <= CTC_IMPOSSIBLE);
    keys_done(&board.keys);
}

TEST(a_blurred_letter_costs_little_and_a_contradicted_one_much)
{
    struct board board;
    board_init(&board, "a-bb-c", 0.999);
    CHECK(near(worst(&board, "abc"), 0));
    CHECK(worst(&board, "abd") < -8);
    CHECK(score(&board, "abc") > score(&board, "abd") + 8);
    keys_done(&board.keys);
    board_init(&board, "a-bb-c", 0.999);
    board.at[5][3] = board.at[5][4] = 0.5f;      /* c or d */
    CHECK(worst(&board, "abd") > -1);
    keys_done(&board.keys);
}

TEST(nothing_is_impossible_to_the_floor_only)
{
    struct board board;
    board_init(&board, "abc", 1);
    CHECK(near(score(&board, "abc"), 0));
    CHECK(score(&board, "dcb") > 3 * log(1e-7) - 1);
    CHECK(ctc_score(&board.reading, NULL, CTC_TOKENS_MAX + 1) <= CTC_IMPOSSIBLE);
    keys_done(&board.keys);
}

TEST(the_likeliest_of_a_list_is_chosen_with_its_lead)
{
    struct board board;
    struct ctc_text texts[3];
    double best, lead;
    board_init(&board, "-a--b-", 0.95);
    ctc_text_init(&texts[0], &board.keys, BYTES("ac"));
    ctc_text_init(&texts[1], &board.keys, BYTES("a b"));
    ctc_text_init(&texts[2], &board.keys, BYTES("b"));
    CHECK_INT(ctc_choose(&board.reading, texts, 3, &best, &lead), 1);
    CHECK(best > -0.3 && lead > 3);
    keys_done(&board.keys);
}

TEST(characters_that_the_alphabet_lacks_are_counted_and_left_out)
{
    struct board board;
    struct ctc_text text;
    board_init(&board, "a", 0.9);
    CHECK_INT(ctc_text_init(&text, &board.keys, BYTES("a易b ")), 1);
    CHECK_INT(text.count, 2);
    keys_done(&board.keys);
}
