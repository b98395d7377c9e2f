/* Two kinds: `decklist` reads a screenshot, `match` reads a decklist given as text. Both end in the same result. With the
 * param "text": true the first takes text as well. */
#include "base/json.h"
#include "base/mem.h"
#include "stage/input.h"
#include "stage/page.h"
#include "stage/stage.h"
#include "stage/typed.h"
#include "vision/recognise.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    MODEL_BYTES_MAX = 64 << 20,
    KEYS_BYTES_MAX = 1 << 20,
    WIDTH_USUAL = 1080,      /* pixels; what the layout was measured on */
    WIDTH_MAX = 1620,        /* wider pictures are made as wide as the usual one: they would only cost more */
};

struct decklist {
    struct catalogue catalogue;
    struct recogniser *recogniser;      /* NULL in `match` */
    struct page_reader reader;
    size_t image_bytes_max;
    uint64_t image_pixels_max;
    char notice[sizeof(struct problem)];
};

static void decklist_close(void *state)
{
    struct decklist *decklist = state;
    if (decklist->recogniser) {
        page_reader_done(&decklist->reader);
        decklist->recogniser->engine->close(decklist->recogniser);
    }
    catalogue_done(&decklist->catalogue);
    free(decklist);
}

static struct decklist *open_catalogue(const struct stage_outfit *outfit, struct problem *problem)
{
    BUF_OWNED struct buf file;
    buf_init(&file, CATALOGUE_BYTES_MAX);
    struct decklist *decklist = MEM_NEW(struct decklist);
    decklist->image_bytes_max = outfit->image_bytes_max ? outfit->image_bytes_max : STAGE_IMAGE_BYTES_MAX;
    decklist->image_pixels_max = outfit->image_pixels_max ? outfit->image_pixels_max : STAGE_IMAGE_PIXELS_MAX;
    const char *name = outfit->catalogue_path ? outfit->catalogue_path : "the card catalogue";
    if (input_file(outfit->catalogue_fd, outfit->catalogue_path, "card catalogue", &file, problem) == 0
        && catalogue_init(&decklist->catalogue, buf_bytes(&file), name, problem) == 0)
        return decklist;
    decklist_close(decklist);
    return NULL;
}

static int match_open(const struct stage_outfit *outfit, void **ret_state, struct problem *problem)
{
    struct decklist *decklist = open_catalogue(outfit, problem);
    if (!decklist)
        return -1;
    *ret_state = decklist;
    return 0;
}

static int open_onnx(struct decklist *decklist, const struct stage_outfit *outfit, struct problem *problem)
{
    BUF_OWNED struct buf model, keys;
    buf_init(&model, MODEL_BYTES_MAX);
    buf_init(&keys, KEYS_BYTES_MAX);
    if (!outfit->library_path)
        return problem_set(problem, "No ONNX Runtime library was given.");
    if (input_file(outfit->model_fd, outfit->model_path, "recogniser's model", &model, problem) < 0
        || input_file(outfit->keys_fd, outfit->keys_path, "recogniser's key file", &keys, problem) < 0)
        return -1;
    struct recogniser_outfit recogniser = {.model = buf_bytes(&model), .keys = buf_bytes(&keys), .library_path = outfit->library_path};
    return recogniser_onnx.open(&recogniser, &decklist->recogniser, problem);
}

static int open_engine(struct decklist *decklist, const struct stage_outfit *outfit, struct problem *problem)
{
    struct problem why = {0};
    if (outfit->engine != STAGE_ENGINE_TESSERACT && open_onnx(decklist, outfit, &why) == 0)
        return 0;
    if (outfit->engine == STAGE_ENGINE_ONNX)
        return problem_set(problem, "%s", why.text);
    if (outfit->engine == STAGE_ENGINE_AUTO)
        snprintf(decklist->notice, sizeof decklist->notice, "%.300s Tesseract reads instead, and it leaves more names unmatched, above "
                 "all those of one character.", why.text);
    struct recogniser_outfit recogniser = {.tessdata_path = outfit->tessdata_path};
    return recogniser_tesseract.open(&recogniser, &decklist->recogniser, problem);
}

static int decklist_open(const struct stage_outfit *outfit, void **ret_state, struct problem *problem)
{
    struct decklist *decklist = open_catalogue(outfit, problem);
    if (!decklist)
        return -1;
    if (open_engine(decklist, outfit, problem) < 0) {
        decklist_close(decklist);
        return -1;
    }
    page_reader_init(&decklist->reader, &decklist->catalogue, decklist->recogniser);
    *ret_state = decklist;
    return 0;
}

static double cpu_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void finish(struct deck *deck, double started_ms, struct stage_outcome *outcome)
{
    deck_write(deck, &outcome->value);
    if (!buf_ok(&outcome->value))
        stage_outcome_fail(outcome, STAGE_FAIL, "processing", "The decklist is larger than %d bytes.", STAGE_VALUE_MAX);
    stage_outcome_stat(outcome, "accuracy", deck_stats(deck).accuracy);
    stage_outcome_stat(outcome, "cpu_ms", cpu_ms() - started_ms);
}

static void read_text(struct decklist *decklist, struct bytes text, struct stage_outcome *outcome)
{
    struct deck deck;
    struct problem problem = {0};
    double started_ms = cpu_ms();
    deck_init(&deck);
    if (typed_read(&decklist->catalogue, text, &deck, &problem) < 0)
        stage_outcome_fail(outcome, STAGE_FAIL, "validation", "%s", problem.text);
    else
        finish(&deck, started_ms, outcome);
    deck_done(&deck);
}

/* Decode, and bring to a usual width what is wider. Its bytes are freed before the page is read. */
static int load_image(const struct decklist *decklist, struct buf *file, const struct image_head *head, struct image *ret, struct problem *problem)
{
    IMAGE_OWNED struct image image = {0};
    if (image_decode(buf_bytes(file), head, &image, problem) < 0)
        return -1;
    buf_done(file);
    if (image.width > WIDTH_MAX) {
        if (image_shrink(&image, WIDTH_USUAL, ret) < 0)
            return problem_set(problem, "No memory for a smaller copy of the image.");
        return 0;
    }
    *ret = image;
    image = (struct image){0};
    return 0;
}

static void read_image(struct decklist *decklist, struct buf *file, const struct stage_task *task, struct stage_outcome *outcome)
{
    struct deck deck;
    struct image_head head;
    struct problem problem = {0};
    IMAGE_OWNED struct image image = {0};
    double started_ms = cpu_ms();
    if (image_read_head(buf_bytes(file), decklist->image_pixels_max, &head, &problem) < 0) {
        stage_outcome_fail(outcome, STAGE_FAIL, "validation", "%s", problem.text);
        return;
    }
    deck_init(&deck);
    if (load_image(decklist, file, &head, &image, &problem) < 0
        || page_read(&decklist->reader, &image, task->hint, task->hint_data, &deck, &problem) < 0)
        stage_outcome_fail(outcome, STAGE_FAIL, "processing", "%s", problem.text);
    else
        finish(&deck, started_ms, outcome);
    deck_done(&deck);
}

/* The task's bytes. Answers false when the outcome is already a failure. */
static bool take_input(const struct stage_task *task, struct buf *ret, struct stage_outcome *outcome)
{
    struct problem problem = {0};
    int64_t size = 0;
    if (task->input_fd < 0) {
        if (!buf_put(ret, task->value))
            stage_outcome_fail(outcome, STAGE_FAIL, "validation", "The input has %zu bytes; %zu are the maximum.", task->value.count, ret->max);
        return outcome->verdict == STAGE_DONE;
    }
    int answer = input_read(task->input_fd, ret, &size, &problem);
    if (answer == INPUT_TOO_LARGE)
        stage_outcome_fail(outcome, STAGE_FAIL, "validation", "File size (%.1fMB) exceeds maximum (%.3gMB)",
                           (double)size / (1 << 20), (double)ret->max / (1 << 20));
    else if (answer < 0)
        stage_outcome_fail(outcome, STAGE_RETRY, "processing", "%s", problem.text);
    return outcome->verdict == STAGE_DONE;
}

static bool takes_text(const struct stage_task *task)
{
    JSON_OWNED struct json_object *variables = task->variables.count ? json_parse(task->variables, NULL) : NULL;
    return json_get_bool(json_get(variables, "params"), "text", false);
}

static bool is_image(struct bytes file)
{
    struct image_head head;
    struct problem problem = {0};
    return image_read_head(file, UINT64_MAX, &head, &problem) == 0 || !strstr(problem.text, "looks like text");
}

static void decklist_run(void *state, const struct stage_task *task, struct stage_outcome *outcome)
{
    struct decklist *decklist = state;
    BUF_OWNED struct buf file;
    buf_init(&file, decklist->image_bytes_max);
    if (!take_input(task, &file, outcome))
        return;
    if (task->input_fd < 0 || (takes_text(task) && !is_image(buf_bytes(&file))))
        read_text(decklist, buf_bytes(&file), outcome);
    else
        read_image(decklist, &file, task, outcome);
}

static void match_run(void *state, const struct stage_task *task, struct stage_outcome *outcome)
{
    BUF_OWNED struct buf file;
    buf_init(&file, TYPED_BYTES_MAX);
    if (take_input(task, &file, outcome))
        read_text(state, buf_bytes(&file), outcome);
}

static void describe(void *state, struct buf *buf)
{
    const struct decklist *decklist = state;
    json_open(buf, '{');
    json_put_text(buf, "engine", decklist->recogniser ? decklist->recogniser->engine->name : NULL);
    json_put_int(buf, "cards", (int64_t)decklist->catalogue.rows_count);
    json_put_int(buf, "names", (int64_t)decklist->catalogue.cards_count);
    json_put_int(buf, "base_names", (int64_t)decklist->catalogue.bases_count);
    json_put_text(buf, "notice", *decklist->notice ? decklist->notice : NULL);
    json_close(buf, '}');
}

const struct stage_kind stage_decklist = {
    .name = "decklist", .help = "a screenshot of a deck page becomes a decklist",
    .open = decklist_open, .run = decklist_run, .describe = describe, .close = decklist_close,
};

const struct stage_kind stage_match = {
    .name = "match", .help = "a decklist given as text or JSON becomes a decklist of known cards",
    .open = match_open, .run = match_run, .describe = describe, .close = decklist_close,
};
