/* Lives of a job, event by event: each is chosen out of the input, most of them possible, some not. It goes through bytes and back before it is folded; what
 * is folded twice comes to the same; what is refused changes nothing; counts, slots, documents, frames and snapshots hold at each step. */
#include "fold_checks.h"

#include "base/limits.h"
#include "base/mem.h"

enum { STEPS_MAX = 40, ITEMS_MAX = 200 };

static const char *const TEXTS[] = {"", "a", "x\r\nid: 9-9\r\n\r\n", "\xe6\x98\x93 \"1\".jpg", "data: {}\n\n", "\x1b[31m", "\xff\xfe", "a\\u0000\\", "\"", "job_failed", "budget",
                                    "enough", "\xe2\x80\xa8", "{}", "cancelled"};
static const char *const VALUES[] = {"", "{}", "null", "[1,\"]\",\"\\\"\"]", "\"\\r\\nid: 1-1\"", "{\"a\":{\"result\":1},\"item\":\"}\"}", "-0.5e3",
                                     "{\"blob\":\"0000000000000000000000000000000000000000000000000000000000000000\",\"bytes\":7}", "[\n1,\r\n2]", "{\"id\":\"\\u001b\"}"};
static const char *const NUMBERS[] = {"", "{\"cost\":0.5}", "{\"cost\":1e308,\"n\":3}", "{\"accuracy\":99.5,\"total_cards\":60}", "{\"a\":-0,\"a\":1e-400}",
                                      "{\"cost\":-1e308}", "{\"abcdefghijklmnopqrstuvwxyzabcdefghijkl\":1,\"\\u0061\":2}", "{}"};

static struct bytes text_of(struct bytes *input)
{
    if (fuzz_chance(input, 15))
        return fuzz_piece(input, 40);
    const char *text = FUZZ_WORD(input, TEXTS);
    return bytes_of(text);
}

static struct bytes value_of(struct bytes *input)
{
    return bytes_of(FUZZ_WORD(input, VALUES));
}

static struct bytes numbers_of(struct bytes *input)
{
    return bytes_of(FUZZ_WORD(input, NUMBERS));
}

static int64_t small_or_any(struct bytes *input, uint64_t small)
{
    return fuzz_chance(input, 6) ? (int64_t)fuzz_number(input, 8) : (int64_t)fuzz_below(input, small);
}

static double score_of(struct bytes *input)
{
    double value;
    uint64_t bits = fuzz_number(input, 8);
    if (fuzz_chance(input, 70))
        return (double)(int8_t)bits / 4;
    memcpy(&value, &bits, sizeof value);
    return value;
}

struct life {
    struct job *job, *replayed;
    struct item_spec items[ITEMS_MAX];
    struct item_range ranges[4];
    uint64_t pos;
    int64_t at_us;
};

static void make_created(struct bytes *input, struct event *event)
{
    event->created.id = fuzz_chance(input, 80) ? BYTES("j1") : bytes_of(FUZZ_WORD(input, TEXTS));
    event->created.owner = text_of(input);
    event->created.pipeline = text_of(input);
    event->created.params = fuzz_chance(input, 50) ? BYTES("{\"k\":1}") : (struct bytes){0};
    event->created.result_key = text_of(input);
    event->created.retry_of = text_of(input);
    event->created.trace = text_of(input);
    event->created.in_flight = (uint32_t)small_or_any(input, 5);
    event->created.ordered = fuzz_chance(input, 30);
    event->created.open = fuzz_chance(input, 30);
    event->created.deadline_us = small_or_any(input, 3);
    event->created.top_keep = small_or_any(input, 6);
    event->created.stop_count = small_or_any(input, 4);
    event->created.max_cost = fuzz_chance(input, 30) ? (double)fuzz_byte(input) / 8 : 0;      /* checked before: a number of this world */
    event->created.webhook = fuzz_chance(input, 20) ? BYTES("{\"url\":\"http://h/\"}") : (struct bytes){0};
}

static void make_added(struct bytes *input, struct life *life, struct event *event)
{
    event->added.first = fuzz_chance(input, 90) ? life->job->total : small_or_any(input, 9);
    event->added.count = fuzz_chance(input, 5) ? fuzz_below(input, ITEMS_MAX) : fuzz_below(input, 5);
    event->added.items = life->items;
    for (size_t i = 0; i < event->added.count; i++)
        life->items[i] = (struct item_spec){.name = text_of(input), .type = text_of(input), .bytes = small_or_any(input, 100), .has_blob = fuzz_chance(input, 20),
                                            .path = i % 4 ? (struct bytes){0} : text_of(input), .value = value_of(input), .key = text_of(input),
                                            .reject_error = fuzz_chance(input, 20) ? text_of(input) : (struct bytes){0}, .reject_type = BYTES("validation")};
}

static void make_skipped(struct bytes *input, struct life *life, struct event *event)
{
    int64_t at = 0;
    event->skipped.reason = text_of(input);
    event->skipped.ranges = life->ranges;
    event->skipped.count = fuzz_below(input, 5);
    for (size_t i = 0; i < event->skipped.count; i++) {
        life->ranges[i].from = (int64_t)((uint64_t)at + (uint64_t)small_or_any(input, 3));
        life->ranges[i].to = (int64_t)((uint64_t)life->ranges[i].from + (uint64_t)small_or_any(input, 3));
        at = (int64_t)((uint64_t)life->ranges[i].to + 1);
    }
}

static void make_failed(struct bytes *input, struct event *event)
{
    event->failed.error = text_of(input);
    event->failed.error_type = text_of(input);
    event->failed.stage = text_of(input);
    event->failed.usage = numbers_of(input);
    event->failed.fail_job = fuzz_chance(input, 20);
}

static void make_retry(struct bytes *input, struct event *event)
{
    event->retry.leg = (uint32_t)small_or_any(input, 3);
    event->retry.tries = (uint32_t)small_or_any(input, 4);
    event->retry.error = text_of(input);
    event->retry.error_type = text_of(input);
    event->retry.due_at_us = small_or_any(input, 100);
    event->retry.input = fuzz_byte(input);
    event->retry.prev = fuzz_byte(input);
    event->retry.remote = value_of(input);
    event->retry.usage = numbers_of(input);
}

static void make_record(struct bytes *input, struct event *event)
{
    if (event->kind == EVENT_RECORD_DONE) {
        event->record_done.leg = (uint32_t)small_or_any(input, 3);
        event->record_done.record = small_or_any(input, 9);
        event->record_done.prev = fuzz_byte(input);
        event->record_done.value = value_of(input);
        event->record_done.usage = numbers_of(input);
        event->record_done.has_score = fuzz_chance(input, 60);
        event->record_done.score = event->record_done.has_score ? score_of(input) : 0;
        event->record_done.hit = fuzz_chance(input, 30);
    } else {
        event->record_failed.leg = (uint32_t)small_or_any(input, 3);
        event->record_failed.record = small_or_any(input, 9);
        event->record_failed.error = text_of(input);
        event->record_failed.error_type = text_of(input);
        event->record_failed.stage = text_of(input);
        event->record_failed.usage = numbers_of(input);
        event->record_failed.dropped = fuzz_chance(input, 30);
    }
}

static void make_rest(struct bytes *input, struct life *life, struct event *event)
{
    switch (event->kind) {
    case EVENT_JOB_SEALED: event->sealed.total = fuzz_chance(input, 90) ? life->job->total : small_or_any(input, 5); break;
    case EVENT_ITEM_STARTED:
        event->started.leg = (uint32_t)small_or_any(input, 3);
        event->started.why = (enum start_why)fuzz_below(input, WHY_COUNT);
        break;
    case EVENT_ITEM_STEPPED:
        event->stepped.leg = (uint32_t)small_or_any(input, 3);
        event->stepped.value = value_of(input);
        event->stepped.stats = numbers_of(input);
        event->stepped.usage = numbers_of(input);
        break;
    case EVENT_ITEM_WAITING:
        event->waiting.remote = value_of(input);
        event->waiting.usage = numbers_of(input);
        break;
    case EVENT_ITEM_DONE:
        event->done.result = value_of(input);
        event->done.stats = numbers_of(input);
        event->done.usage = numbers_of(input);
        event->done.has_score = fuzz_chance(input, 60);
        event->done.score = event->done.has_score ? score_of(input) : 0;
        event->done.hit = fuzz_chance(input, 30);
        break;
    case EVENT_JOB_CANCELLING:
        event->cancelling.by = text_of(input);
        event->cancelling.reason = text_of(input);
        break;
    case EVENT_JOB_ENDED:
        event->ended.status = (enum job_status)fuzz_below(input, JOB_STATUS_COUNT);
        event->ended.summary = numbers_of(input);
        event->ended.error = text_of(input);
        event->ended.seconds = score_of(input);
        break;
    default: break;
    }
}

/* The likely next kind: what a job goes through in most lives. */
static enum event_kind kind_of(struct bytes *input, const struct job *job)
{
    static const enum event_kind likely[] = {EVENT_ITEM_STARTED, EVENT_ITEM_STARTED, EVENT_ITEM_STARTED, EVENT_ITEM_DONE, EVENT_ITEM_FAILED, EVENT_ITEM_RETRY, EVENT_ITEM_STEPPED,
                                             EVENT_ITEM_WAITING, EVENT_RECORD_DONE, EVENT_RECORD_FAILED, EVENT_JOB_SEALED, EVENT_ITEMS_ADDED, EVENT_ITEMS_SKIPPED};
    if (fuzz_chance(input, 10))
        return (enum event_kind)(1 + fuzz_below(input, EVENT_KINDS_COUNT - 1));
    if (!job->seq)
        return EVENT_JOB_CREATED;
    if (!job->total)
        return EVENT_ITEMS_ADDED;
    if (job_over(job))
        return EVENT_JOB_ENDED;
    return likely[fuzz_below(input, sizeof likely / sizeof *likely)];
}

static void make(struct bytes *input, struct life *life, struct event *event)
{
    struct job *job = life->job;
    *event = (struct event){.pos = ++life->pos, .job = 1, .seq = job->seq + 1, .epoch = 100, .item = -1, .kind = kind_of(input, job)};
    event->at_us = life->at_us += small_or_any(input, 1000) & INT32_MAX;
    if (fuzz_chance(input, 3))
        event->seq = fuzz_below(input, 5);
    if (event_is_item(event->kind)) {
        event->item = job->total ? small_or_any(input, (uint64_t)(job->total < 200 ? job->total : 200)) : 0;
        bool there = event->item >= 0 && event->item < job->total;
        event->attempt = (there ? job->items[event->item].attempt : 0) + (event->kind == EVENT_ITEM_STARTED);
        if (fuzz_chance(input, 5))
            event->attempt = (uint32_t)fuzz_below(input, 4);
        event->name = text_of(input);
        event->counts = job->counts;
    }
    switch (event->kind) {
    case EVENT_JOB_CREATED: make_created(input, event); break;
    case EVENT_ITEMS_ADDED: make_added(input, life, event); break;
    case EVENT_ITEMS_SKIPPED: make_skipped(input, life, event); break;
    case EVENT_ITEM_FAILED: make_failed(input, event); break;
    case EVENT_ITEM_RETRY: make_retry(input, event); break;
    case EVENT_RECORD_DONE:
    case EVENT_RECORD_FAILED: make_record(input, event); break;
    default: make_rest(input, life, event); break;
    }
}

static void same_folds(struct life *life)
{
    struct buf a BUF_OWNED, b BUF_OWNED;
    buf_init(&a, 16 << 20);
    buf_init(&b, 16 << 20);
    if (!life->job->seq)
        return;
    snapshot_write(life->job, &a);
    snapshot_write(life->replayed, &b);
    if (!bytes_equal(buf_bytes(&a), buf_bytes(&b)))
        fprintf(stderr, "%.*s\n%.*s\n", BYTES_ARG(buf_bytes(&a)), BYTES_ARG(buf_bytes(&b)));
    fuzz_must(bytes_equal(buf_bytes(&a), buf_bytes(&b)), "read back it comes to the same fold");
}

/* Through bytes and back; false: the event was refused by the fold. */
static bool step(struct life *life, const struct event *event, bool closely)
{
    struct event again;
    struct codec_arena arena CODEC_OWNED = {0};
    struct problem problem = {0}, same = {0};
    struct row *row = codec_encode(event, 4 << 20);
    fuzz_must(row, "an event has room");
    check_json(row_body(row), "a body is JSON");
    fuzz_must(!memchr(row->body, '\n', row->body_bytes) && !memchr(row->body, '\r', row->body_bytes), "a body is one line");
    bool decoded = !codec_decode(row, &again, &arena, &problem);
    fuzz_check_problem(&problem, !decoded);
    bool kept = false;
    if (decoded) {
        problem = (struct problem){0};
        kept = !job_apply(life->job, event, &problem);
        fuzz_check_problem(&problem, !kept);
        fuzz_must(kept == !job_apply(life->replayed, &again, &same), "what was read back is taken as the first was");
    }
    if (decoded && closely) {
        check_again(row, &again);
        struct frame_header header = life->job->seq ? frame_header_of(life->job) : (struct frame_header){BYTES("j"), BYTES("r"), 1};
        check_frames(&header, row, BYTES("{\"of\":\"a blob\"}"));
    }
    row_unref(row);
    return kept;
}

FUZZ_TARGET(fold)
{
    struct life life = {.job = job_new(), .replayed = job_new(), .at_us = 1763716800000000};
    struct event event;
    for (int i = 0; i < STEPS_MAX && input.count; i++) {
        uint64_t seq = life.job->seq;
        make(&input, &life, &event);
        if (life.job->total > 2000)
            break;
        if (!step(&life, &event, fuzz_chance(&input, 20)))
            fuzz_must(life.job->seq == seq, "what is refused is not counted");
        check_counts(life.job);
        int64_t item;
        if (life.job->seq && plan_next(life.job, &item) != PLAN_NOTHING)
            fuzz_must(item >= 0 && item < life.job->total && life.job->items[item].state == ITEM_PENDING, "who is next waits for it");
    }
    same_folds(&life);
    if (life.job->seq)
        check_document(life.job);
    check_snapshot(life.job);
    job_free(life.job);
    job_free(life.replayed);
}
