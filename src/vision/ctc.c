/* States run blank, c1, blank, c2, … blank. In each step every state takes what came from itself, from the state before, and,
 * for a character unlike the one before it, from the character before. Sums stay linear and are scaled to 1 in every step. */
#include "vision/ctc.h"

#include "base/text.h"

#include <math.h>

enum { STATES_MAX = 2 * CTC_TOKENS_MAX + 1 };

static const double floor_probability = 1e-7;      /* nothing is impossible, or one bad column would decide everything */

static double probability(const float *row, const struct ctc_token *token)
{
    double sum = row[token->class[0]];
    if (token->class[1] >= 0)
        sum += row[token->class[1]];
    return sum > floor_probability ? sum : floor_probability;
}

static bool same_token(const struct ctc_token *a, const struct ctc_token *b)
{
    return a->class[0] == b->class[0];
}

/* Steps that the text needs at least: one a character and a blank between two equal ones. */
static int steps_needed(const struct ctc_token *tokens, int count)
{
    int steps = count;
    for (int i = 1; i < count; i++)
        steps += same_token(&tokens[i], &tokens[i - 1]);
    return steps;
}

static double emission(const float *row, const struct ctc_token *tokens, int state)
{
    static const struct ctc_token blank = {{KEYS_BLANK, -1}};
    return probability(row, state % 2 ? &tokens[state / 2] : &blank);
}

static bool may_skip_blank(const struct ctc_token *tokens, int state)
{
    return state % 2 && state >= 3 && !same_token(&tokens[state / 2], &tokens[state / 2 - 1]);
}

double ctc_score(const struct reading *reading, const struct ctc_token *tokens, int count)
{
    double alpha[STATES_MAX] = {1}, logarithm = 0;
    int states = 2 * count + 1;
    if (count > CTC_TOKENS_MAX || !reading->posteriors || steps_needed(tokens, count) > reading->steps)
        return CTC_IMPOSSIBLE;
    for (int step = 0; step < reading->steps; step++) {
        const float *row = reading->posteriors + (size_t)step * (size_t)reading->classes;
        double blank = emission(row, tokens, 0), sum = 0;
        /* From the last state down, so that what is read is still the step before. The first step starts in state 0 or 1. */
        for (int state = states - 1; state >= 0; state--) {
            double from = alpha[state] + (state >= 1 ? alpha[state - 1] : 0) + (may_skip_blank(tokens, state) ? alpha[state - 2] : 0);
            if (step == 0)
                from = state <= 1;
            alpha[state] = from > 0 ? from * (state % 2 ? probability(row, &tokens[state / 2]) : blank) : 0;
            sum += alpha[state];
        }
        for (int state = 0; state < states; state++)
            alpha[state] /= sum;
        logarithm += log(sum);
    }
    double end = alpha[states - 1] + (states > 1 ? alpha[states - 2] : 0);
    return end > 0 ? logarithm + log(end) : CTC_IMPOSSIBLE;
}

/* The best path to each state, carrying for each the worst character on it. A character is judged by its best step. */
struct path {
    double score;      /* log of its probability */
    double worst;      /* of the characters left behind */
    double best;       /* of the character that it stands in, its best step so far; 0 in a blank */
};

static double most_of(const float *row, int classes)
{
    float most = 0;
    for (int class = 0; class < classes; class++)
        if (row[class] > most)
            most = row[class];
    return most > floor_probability ? most : floor_probability;
}

static struct path leave(struct path path)
{
    if (path.best < path.worst)
        path.worst = path.best;
    path.best = 0;
    return path;
}

double ctc_worst(const struct reading *reading, const struct ctc_token *tokens, int count)
{
    struct path paths[STATES_MAX];
    int states = 2 * count + 1;
    if (count > CTC_TOKENS_MAX || !count || !reading->posteriors || steps_needed(tokens, count) > reading->steps)
        return CTC_IMPOSSIBLE;
    for (int state = 0; state < states; state++)
        paths[state] = (struct path){.score = -INFINITY};
    for (int step = 0; step < reading->steps; step++) {
        const float *row = reading->posteriors + (size_t)step * (size_t)reading->classes;
        double most = most_of(row, reading->classes);
        for (int state = states - 1; state >= 0; state--) {
            struct path best = step ? paths[state] : (struct path){.score = state <= 1 ? 0 : -INFINITY};
            bool stays = step && isfinite(best.score);
            for (int back = 1; step && back <= 2 && back <= state; back++)
                if ((back == 1 || may_skip_blank(tokens, state)) && paths[state - back].score > best.score)
                    best = leave(paths[state - back]), stays = false;
            if (state % 2 && isfinite(best.score)) {
                double here = log(probability(row, &tokens[state / 2]) / most);
                if (!stays || here > best.best)
                    best.best = here;
            }
            best.score += log(emission(row, tokens, state));
            paths[state] = best;
        }
    }
    struct path end = paths[states - 1].score > paths[states - 2].score ? paths[states - 1] : paths[states - 2];
    return isfinite(end.score) ? leave(end).worst : CTC_IMPOSSIBLE;
}

/* Characters that are printed and read in two forms. */
static const char *const twins[][2] = {
    {",", "，"}, {"!", "！"}, {"?", "？"}, {"(", "（"}, {")", "）"}, {":", "："}, {"\"", "“"}, {"“", "\""}, {"”", "\""},
    {"'", "’"}, {"’", "'"}, {"·", "・"}, {"-", "—"}, {"—", "-"}, {"~", "～"}, {"～", "~"},
    {"，", ","}, {"！", "!"}, {"？", "?"}, {"（", "("}, {"）", ")"}, {"：", ":"}, {"x", "×"}, {"×", "x"},
};

static int class_of_twin(const struct keys *keys, struct bytes character)
{
    for (size_t i = 0; i < sizeof twins / sizeof *twins; i++)
        if (bytes_equal(character, bytes_of(twins[i][0])))
            return keys_class(keys, bytes_of(twins[i][1]));
    return -1;
}

int ctc_text_init(struct ctc_text *text, const struct keys *keys, struct bytes utf8)
{
    int unknown = 0;
    text->count = 0;
    while (utf8.count) {
        size_t length;
        text_decode(utf8, &length);
        struct bytes character = {utf8.at, length};
        int class = keys_class(keys, character), twin = class_of_twin(keys, character);
        utf8.at += length;
        utf8.count -= length;
        if (bytes_equal(character, BYTES(" ")) || bytes_equal(character, BYTES("　")))
            continue;
        if (class < 0)
            class = twin, twin = -1;
        if (class < 0 || text->count == CTC_TOKENS_MAX)
            unknown++;
        else
            text->tokens[text->count++] = (struct ctc_token){{class, twin == class ? -1 : twin}};
    }
    return unknown;
}

int ctc_choose(const struct reading *reading, const struct ctc_text *texts, int count, double *ret_score, double *ret_lead)
{
    int best = -1;
    double best_score = CTC_IMPOSSIBLE * 2, second = CTC_IMPOSSIBLE * 2;
    for (int i = 0; i < count; i++) {
        double score = ctc_score(reading, texts[i].tokens, texts[i].count);
        if (score > best_score)
            second = best_score, best_score = score, best = i;
        else if (score > second)
            second = score;
    }
    *ret_score = best >= 0 && texts[best].count ? best_score / texts[best].count : best_score;
    *ret_lead = best_score - second;
    return best;
}
