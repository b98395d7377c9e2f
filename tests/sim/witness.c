/* What others see, held against the model: the folds of an opening, rows, documents, tasks. */
#include "bodies.h"
#include "sim.h"

#include "base/buf.h"
#include "base/mem.h"
#include "core/codec.h"
#include "core/snapshot.h"

/* ---- folds ---- */

void model_fold(struct sim *sim, struct model_job *job)
{
    while (job->folded < job->rows_count) {
        const struct row *row = job->rows[job->folded++];
        struct event event;
        struct codec_arena arena CODEC_OWNED = {0};
        struct problem problem = {0};
        RULE(!codec_decode(row, &event, &arena, &problem), problem.text);
        RULE(!job_apply(job->shadow, &event, &problem), problem.text);
    }
}

static bool items_equal(const struct job *a, const struct job *b)
{
    for (int64_t n = 0; a->items && b->items && n < a->total; n++) {
        struct item x = a->items[n], y = b->items[n];
        x.old = y.old = false;
        if (memcmp(&x, &y, sizeof x))
            return false;
    }
    return true;
}

static void compare(struct sim *sim, const struct job *have, const struct job *want)
{
    struct buf a BUF_OWNED, b BUF_OWNED;
    buf_init(&a, 1 << 24);
    buf_init(&b, 1 << 24);
    snapshot_write(have, &a);
    snapshot_write(want, &b);
    if (!have->ended)
        SIM_CHECK(sim, bytes_equal(buf_bytes(&a), buf_bytes(&b)), "caches and tail of job %lld are not the fold of its log:\n%.*s\n%.*s",
                  (long long)have->job, BYTES_ARG(buf_bytes(&a)), BYTES_ARG(buf_bytes(&b)));
    SIM_CHECK(sim, have->seq == want->seq && have->status == want->status && counts_equal(have->counts, want->counts),
              "caches and tail of the ended job %lld are not the fold of its log:\n%.*s\n%.*s", (long long)have->job,
              BYTES_ARG(buf_bytes(&a)), BYTES_ARG(buf_bytes(&b)));
    SIM_CHECK(sim, items_equal(have, want), "an item of job %lld is not what the log says", (long long)have->job);
}

void model_opened(struct sim *sim)
{
    struct model *model = &sim->model;
    model->accepted_count = model->rows_count;
    model->running = 0;
    memset(model->waiting, 0, sizeof model->waiting);
    model_catch_up(sim);
    SIM_CHECK(sim, !model->dead_end, "the power went between a record that takes its item along and the item's end");
    SIM_CHECK(sim, store_opening(sim->store)->last_pos == model->rows_count, "the log opens at position %llu, its last row is %zu",
              (unsigned long long)store_opening(sim->store)->last_pos, model->rows_count);
    for (size_t i = 0; i < model->jobs_count; i++) {
        struct model_job *job = model->jobs[i];
        struct live *live = store_get(sim->store, bytes_of(job->id));
        SIM_CHECK(sim, live || job->ended, "job %lld is open in the log and unknown to the store", (long long)job->job);
        if (!live)
            continue;
        model_fold(sim, job);
        compare(sim, live_job(live), job->shadow);
    }
}

void model_started(struct sim *sim)
{
    size_t at = 0;
    model_see_usage(sim);
    for (struct live *live; (live = store_next_job(sim->store, &at));) {
        const struct job *job = live_job(live);
        int64_t holding = 0, next = 0;
        for (int64_t n = 0; !job->ended && n < job->total; n++)
            holding += item_holds_slot(job, &job->items[n]);
        while (!job->ended && next < job->total && job->items[next].state != ITEM_PENDING)
            next++;
        SIM_CHECK(sim, job->ended || (holding == job->holding && next == job->next), "job %lld opens with wrong slots", (long long)job->job);
        SIM_CHECK(sim, job->ended || !(job->failing || job_enough(job) || job_too_dear(job)), "job %lld goes on although it was to be stopped",
                  (long long)job->job);
    }
}

/* What is counted as open, of each owner and in all, is what a walk over the jobs finds. */
void model_see_usage(struct sim *sim)
{
    size_t at = 0;
    int64_t held = 0;
    struct store_usage want[SIM_OWNERS] = {0};
    for (struct live *live; (live = store_next_job(sim->store, &at));) {
        const struct job *job = live_job(live);
        for (int i = 0; i < SIM_OWNERS && !job->ended; i++)
            if (!strcmp(job->owner, model_owners[i])) {
                want[i].jobs++;
                want[i].items += job->counts.pending + job->counts.processing;
                want[i].bytes += job->bytes;
            }
        held += job->ended ? 0 : job->total;
    }
    SIM_CHECK(sim, held == store_items_held(sim->store), "%lld items are counted as held, and %lld are", (long long)store_items_held(sim->store),
              (long long)held);
    for (int i = 0; i < SIM_OWNERS; i++) {
        struct store_usage have = store_usage(sim->store, bytes_of(model_owners[i]));
        SIM_CHECK(sim, !memcmp(&have, &want[i], sizeof have), "%s has %lld jobs and %lld items open, and %lld and %lld are counted", model_owners[i],
                  (long long)want[i].jobs, (long long)want[i].items, (long long)have.jobs, (long long)have.items);
    }
}

/* ---- what others see ---- */

bool model_pruned(struct sim *sim, const struct model_job *job)
{
    return job->ended && !memory_row(sim->disk, job->rows[0]->pos);
}

void model_see_row(struct sim *sim, const struct model_job *job, uint64_t seq, const struct row *row)
{
    model_catch_up(sim);
    sim_tally(TALLY_SEEN, 1);
    RULE(row->job == job->job && row->seq == seq, "a reader was given another row than the next one");
    RULE(seq <= job->rows_count, "a reader sees a row that is not durable");
    const struct row *want = job->rows[seq - 1];
    RULE(row->pos == want->pos && row->epoch == want->epoch && row->at_us == want->at_us && row->kind == want->kind &&
         row->item == want->item && row->attempt == want->attempt && bytes_equal(row_body(row), row_body(want)),
         "a reader sees another row than the log has");
}

void model_see_document(struct sim *sim, const struct model_job *job, struct bytes document)
{
    model_catch_up(sim);
    sim_tally(TALLY_DOCUMENTS, 1);
    int64_t seq = number_in(json_span(document, "seq"));
    SIM_CHECK(sim, seq >= 1 && seq <= (int64_t)job->rows_count, "a document shows seq %lld of job %lld, durable are %zu", (long long)seq,
              (long long)job->job, job->rows_count);
    struct counts have = {number_in(json_span(document, "batches_pending")), number_in(json_span(document, "batches_processing")),
                          number_in(json_span(document, "batches_completed")), number_in(json_span(document, "batches_failed")),
                          number_in(json_span(document, "batches_skipped"))};
    SIM_CHECK(sim, counts_equal(have, job->told[seq - 1]), "a document of job %lld shows other counts than its log at seq %lld",
              (long long)job->job, (long long)seq);
    int64_t progress = number_in(json_span(document, "overall_progress"));
    SIM_CHECK(sim, (progress == 100) == (job->rows[seq - 1]->kind == EVENT_JOB_ENDED) && progress >= 0 && progress <= 100,
              "a document of job %lld shows %lld %% at seq %lld", (long long)job->job, (long long)progress, (long long)seq);
}

/* Never more at work than there is room for: `more` has just been given to a worker, and `busy` are at work beside it. */
void model_see_work(struct sim *sim, struct token more, const struct token *busy, size_t count)
{
    const struct model_job *job = model_job(sim, more.job);
    const struct pipeline *pipeline = job->pipeline;
    const struct leg *leg = &pipeline->legs[job->items[more.item].leg];
    uint32_t same = 1, used[LEG_NEEDS_MAX] = {0};
    for (size_t n = 0; n < leg->needs_count; n++)
        used[n] = leg->needs[n].units;
    for (size_t i = 0; i < count; i++) {
        const struct model_job *other = model_job(sim, busy[i].job);
        const struct leg *at = &other->pipeline->legs[other->items[busy[i].item].leg];
        same += other->pipeline == pipeline;
        for (size_t n = 0; n < leg->needs_count; n++)
            for (size_t m = 0; m < at->needs_count; m++)
                if (!strcmp(leg->needs[n].name, at->needs[m].name))
                    used[n] += at->needs[m].units;
    }
    SIM_CHECK(sim, !pipeline->concurrency || same <= pipeline->concurrency, "%u items of pipeline %s run at once, at most %u may", same,
              pipeline->name, pipeline->concurrency);
    for (size_t n = 0; n < leg->needs_count; n++)
        SIM_CHECK(sim, used[n] <= resources_units(&sim->resources, leg->needs[n].name), "%u of %s are used at once", used[n], leg->needs[n].name);
}

/* A launch: the start (or the step) that it rests on is durable, and the task is that of this item at this leg. */
uint64_t model_see_task(struct sim *sim, const struct task *task)
{
    struct model *model = &sim->model;
    struct token token = task->token;
    model_catch_up(sim);
    struct model_job *job = model_job(sim, token.job);
    SIM_CHECK(sim, job && token.item < job->total, "an item is launched that is not durable");
    struct model_item *item = &job->items[token.item];
    if (item->state == MODEL_WAITING && item->epoch < token.holder) {    /* adopted: with the attempt that it has */
        item->epoch = token.holder;
        sim_tally(TALLY_ADOPTED, 1);
    }
    SIM_CHECK(sim, (item->state == MODEL_RUNNING || item->state == MODEL_WAITING) && item->attempt == token.attempt &&
              item->epoch == token.holder && item->leg == task->leg,
              "job %lld item %lld is launched (attempt %u, leg %u) before that start is durable", (long long)token.job, (long long)token.item,
              token.attempt, task->leg);
    uint64_t number = item->leg ? number_behind(task->value, "{\"mark\":") : number_behind(task->value, "{\"in\":");
    SIM_CHECK(sim, item->leg ? number == item->step_mark : item->blob ? task->input_fd >= 0 : number == (uint64_t)item->input,
              "job %lld item %lld is launched with the input of another", (long long)token.job, (long long)token.item);
    SIM_CHECK(sim, model_remote_of(task->remote) == item->remote, "job %lld item %lld is launched with remote %llu, and began %llu", (long long)token.job,
              (long long)token.item, (unsigned long long)model_remote_of(task->remote), (unsigned long long)item->remote);
    SIM_CHECK(sim, task->has_records == (item->records != 0), "job %lld item %lld is launched without word of its records, or with too much",
              (long long)token.job, (long long)token.item);
    if (model->marks_count + 1 >= model->marks_room) {
        model->marks_room = model->marks_room ? model->marks_room * 2 : 256;
        model->marks = mem_grow(model->marks, model->marks_room * sizeof *model->marks);
    }
    if (!model->marks_count)
        model->marks[model->marks_count++] = (struct mark){0};
    model->marks[model->marks_count] = (struct mark){.job = token.job, .item = token.item, .epoch = token.holder, .attempt = token.attempt,
                                                     .leg = task->leg};
    return item->task = model->marks_count++;
}

/* ---- remote sides and records ---- */

uint64_t model_remote_of(struct bytes remote)
{
    return number_behind(remote, "\"id\":");
}

static struct model_item *durable_item(struct sim *sim, struct token token)
{
    model_catch_up(sim);
    return &model_job(sim, token.job)->items[token.item];
}

void model_see_remote(struct sim *sim, struct token token)
{
    const struct model_item *item = durable_item(sim, token);
    SIM_CHECK(sim, !item->remote, "job %lld item %lld begins at the remote side, where %llu is under way for it", (long long)token.job,
              (long long)token.item, (unsigned long long)item->remote);
}

void model_see_record(struct sim *sim, struct token token, unsigned record)
{
    const struct model_item *item = durable_item(sim, token);
    SIM_CHECK(sim, !(item->records & 1u << record), "job %lld item %lld: record %u is done again", (long long)token.job, (long long)token.item, record);
}

unsigned model_see_records(struct sim *sim, struct token token, struct row **rows, size_t count)
{
    const struct model_item *item = durable_item(sim, token);
    unsigned told = 0;
    for (size_t i = 0; i < count; i++) {
        const struct row *row = rows[i];
        RULE(row->job == token.job && row->item == token.item, "a record of another item was told");
        RULE(!i || row->pos < rows[i - 1]->pos, "records were not told newest first");
        told |= 1u << number_of(row, "record");
    }
    SIM_CHECK(sim, told == item->records, "job %lld item %lld: records %x were told, durable are %x", (long long)token.job, (long long)token.item, told,
              item->records);
    return told;
}
