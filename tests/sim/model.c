#include "bodies.h"
#include "sim.h"

#include "base/buf.h"
#include "base/json.h"
#include "base/json_grammar.h"
#include "base/limits.h"
#include "base/mem.h"

#include <math.h>
#include <stdlib.h>

/* ---- jobs ---- */

/* The number of a job that was pruned may be given again: the newest is meant. */
struct model_job *model_job(struct sim *sim, int64_t job)
{
    for (size_t i = sim->model.jobs_count; i-- > 0;)
        if (sim->model.jobs[i]->job == job)
            return sim->model.jobs[i];
    return NULL;
}

struct model_job *model_job_by_id(struct sim *sim, struct bytes id)
{
    for (size_t i = sim->model.jobs_count; i-- > 0;)
        if (bytes_equal(bytes_of(sim->model.jobs[i]->id), id))
            return sim->model.jobs[i];
    return NULL;
}

static struct counts recount(const struct model_job *job)
{
    return job->counts;
}

static void move(struct sim *sim, struct model_job *job, struct model_item *item, enum model_state to)
{
    int64_t *const places[] = {[MODEL_PENDING] = &job->counts.pending, [MODEL_RUNNING] = &job->counts.processing,
        [MODEL_WAITING] = &job->counts.processing, [MODEL_BACKOFF] = &job->counts.processing, [MODEL_DONE] = &job->counts.completed, [MODEL_FAILED] = &job->counts.failed,
        [MODEL_SKIPPED] = &job->counts.skipped};
    --*places[item->state];
    ++*places[to];
    job->running += (to == MODEL_RUNNING) - (item->state == MODEL_RUNNING);
    sim->model.running += (to == MODEL_RUNNING) - (item->state == MODEL_RUNNING && item->epoch == sim->model.epoch);
    job->waiting += (to == MODEL_WAITING) - (item->state == MODEL_WAITING);
    job->backing_off += (to == MODEL_BACKOFF) - (item->state == MODEL_BACKOFF);
    item->state = to;
}

static bool ended(const struct model_item *item)
{
    return item->state >= MODEL_DONE;
}

const char *const model_owners[SIM_OWNERS] = {"ann", "bob", "cy", "di"};

/* ---- turns: while an owner's first job waits, nobody else is served twice ---- */

static void owner_waits(struct sim *sim, const struct model_job *job)
{
    if (sim->temper.pools || sim->temper.trips || job->open)    /* a turn may come while there is no room in its pool; or its first one has been */
        return;
    for (size_t i = 0; i < sim->model.jobs_count; i++) {
        const struct model_job *other = sim->model.jobs[i];
        if (other != job && other->owner == job->owner && !other->ended)
            return;
    }
    sim->model.waiting[job->owner] = (struct waiting_owner){.job = job->total ? job->job : 0};
}

static void owner_served(struct sim *sim, const struct model_job *job, const struct row *row)
{
    sim->model.waiting[job->owner].job = 0;
    for (int i = 0; i < SIM_OWNERS; i++)
        if (sim->model.waiting[i].job)
            RULE(++sim->model.waiting[i].served[job->owner] <= 1, "its owner is served twice while another waits for a first turn");
}

/* ---- one row ---- */

static int64_t number_or_0(const struct row *row, const char *key)
{
    int64_t number = number_of(row, key);
    return number == INT64_MIN ? 0 : number;
}

static void see_created(struct sim *sim, const struct row *row)
{
    struct model_job *job = MEM_NEW(struct model_job);
    struct bytes id = json_span(row_body(row), "id");
    RULE(id.count == 34, "its id is not of 32 digits");
    memcpy(job->id, id.at + 1, 32);
    RULE(!model_job_by_id(sim, bytes_of(job->id)), "its id was given before");
    job->job = row->job;
    job->owner = -1;
    for (int i = 0; i < SIM_OWNERS; i++)
        if (text_is(row, "owner", model_owners[i]))
            job->owner = i;
    for (int i = 0; i < SIM_PIPELINES; i++)
        if (text_is(row, "pipeline", sim->pipelines[i]->name))
            job->pipeline = sim->pipelines[i];
    RULE(job->owner >= 0 && job->pipeline, "its owner or pipeline is nobody's");
    job->ordered = bytes_equal(json_span(row_body(row), "ordered"), BYTES("true"));
    job->open = bytes_equal(json_span(row_body(row), "open"), BYTES("true"));
    job->in_flight = (uint32_t)number_of(row, "in_flight");
    job->stop_count = number_or_0(row, "stop");
    job->max_cost = number_or_0(row, "max_cost");
    job->deadline_us = number_or_0(row, "deadline");
    RULE(job->in_flight >= 1, "nothing could ever run");
    job->shadow = job_new();
    sim->model.jobs = mem_grow(sim->model.jobs, (sim->model.jobs_count + 1) * sizeof *sim->model.jobs);
    sim->model.jobs[sim->model.jobs_count++] = job;
    sim->model.jobs_open++;
}

static void see_item_added(struct sim *sim, struct model_job *job, const struct row *row, struct json_object *spec)
{
    char name[64];
    int64_t input = json_get_int(spec, "bytes", -1), before = job->total ? job->items[job->total - 1].input : input - 1;
    RULE(job->total % 40 == 0 || input == before + 1 || job->total == 0 || input > before, "items stand in another order than they came in");
    RULE(bytes_equal(json_get_bytes(spec, "name"), sim_name(input, name)), "an item has another name than it was given");
    struct json_object *value = json_get(spec, "value");
    bool blob = json_get(spec, "blob") != NULL;
    RULE(blob != (value != NULL), "an item has no input, or two");
    RULE(blob || json_get_int(value, "in", -1) == input, "an item has the input of another");
    if (job->total == job->items_room) {
        job->items_room = job->items_room ? job->items_room * 2 : 16;
        job->items = mem_grow(job->items, (size_t)job->items_room * sizeof *job->items);
    }
    job->items[job->total++] = (struct model_item){.input = input, .blob = blob, .rejected = json_get(spec, "reject") != NULL};
    job->counts.pending++;
}

static void see_added(struct sim *sim, struct model_job *job, const struct row *row)
{
    struct json_object *tree JSON_OWNED = json_parse(row_body(row), NULL);
    struct json_object *items = json_get(tree, "items");
    size_t count = json_object_is_type(items, json_type_array) ? json_object_array_length(items) : 0;
    RULE(!job->sealed && !job->cancelling, "items are added behind the seal");
    RULE(json_get_int(tree, "first", -1) == job->total, "the first item is not the next one");
    RULE(count >= 1 && count <= LIMIT_ADDED_ITEMS && row->body_bytes <= LIMIT_ROW_BYTES, "too many items, or none");
    for (size_t i = 0; i < count; i++)
        see_item_added(sim, job, row, json_object_array_get_idx(items, i));
}

static void see_sealed(struct sim *sim, struct model_job *job, const struct row *row)
{
    RULE(!job->sealed && !job->cancelling, "it is sealed twice, or behind a cancel");
    RULE(number_of(row, "total") == job->total, "the total is wrong");
    job->sealed = true;
    owner_waits(sim, job);
}

static void check_why(struct sim *sim, const struct model_item *item, const struct row *row)
{
    const struct model *model = &sim->model;
    if (text_is(row, "why", "first")) {
        RULE(item->state == MODEL_PENDING && row->attempt == 1, "it is no first start");
    } else if (text_is(row, "why", "retry")) {
        RULE(item->state == MODEL_BACKOFF && model->rows[item->retry_pos - 1]->epoch == row->epoch, "there is no retry of this opening");
        RULE(model->accepted[row->pos - 1].at_us - model->accepted[item->retry_pos - 1].at_us >= item->wait_us, "its back-off was not over");
    } else if (text_is(row, "why", "due")) {
        RULE(item->state == MODEL_BACKOFF && model->rows[item->retry_pos - 1]->epoch < row->epoch, "there is no retry of an earlier opening");
    } else {
        RULE(text_is(row, "why", "restart"), "the start says no reason");
        RULE(item->state == MODEL_RUNNING && item->epoch < row->epoch, "nothing interrupted it");
        RULE(item->interrupts < LIMIT_INTERRUPTS, "it was interrupted too often to start again");
    }
}

static void see_started(struct sim *sim, struct model_job *job, struct model_item *item, const struct row *row)
{
    RULE(!sim->model.accepted[row->pos - 1].disk_full, "it was claimed while the disk was full");
    RULE(row->attempt == item->attempt + 1, "the attempt is not the next one");
    RULE(number_of(row, "leg") == item->leg, "it starts another leg than the next");
    RULE(!item->rejected, "a refused item starts");
    check_why(sim, item, row);
    if (item->state == MODEL_PENDING)
        RULE(row->item == job->next, "it starts before an earlier one");
    if (text_is(row, "why", "restart"))
        item->interrupts++;
    item->attempt = row->attempt;
    move(sim, job, item, MODEL_RUNNING);
    item->epoch = row->epoch;
    if (!sim->temper.pools && !sim->temper.trips)    /* else some wait between two legs, without a worker */
        RULE(sim->model.running <= sim->temper.slots, "more run than there are workers");
    RULE(job->running + job->waiting + (job->ordered ? job->backing_off : 0) <= job->in_flight, "too many are in flight");
    for (int64_t n = 0; job->ordered && n < row->item; n++)
        RULE(ended(&job->items[n]), "an ordered job starts an item before the one ahead has ended");
    owner_served(sim, job, row);
}

/* The word of a worker: of this attempt, this leg, this opening, and of the task that was launched last. */
static const struct mark *check_mark(struct sim *sim, const struct model_item *item, const struct row *row, uint64_t number)
{
    RULE(number && number < sim->model.marks_count, "it is nobody's word");
    const struct mark *mark = &sim->model.marks[number];
    RULE(mark->job == row->job && mark->item == row->item, "it is a word about another item");
    RULE(mark->attempt == row->attempt && mark->attempt == item->attempt, "it is the word of another attempt");
    RULE(mark->leg == item->leg && mark->epoch == row->epoch, "it is the word of another leg or opening");
    RULE(number == item->task, "it is not the word of the task that runs");
    return mark;
}

static void check_running(struct sim *sim, const struct model_item *item, const struct row *row)
{
    RULE(item->state == MODEL_RUNNING || item->state == MODEL_WAITING, "the item does not run");
    RULE(item->epoch == row->epoch && item->attempt == row->attempt, "it runs in another opening or attempt");
}

static void see_stepped(struct sim *sim, struct model_job *job, struct model_item *item, const struct row *row)
{
    check_running(sim, item, row);
    item->step_mark = number_behind(json_span(row_body(row), "value"), "{\"mark\":");
    RULE(check_mark(sim, item, row, item->step_mark)->verdict == VERDICT_DONE, "the worker did not say so");
    RULE(number_of(row, "leg") == item->leg && item->leg + 1 < job->pipeline->legs_count, "it steps from a leg that it is not at");
    item->leg++;
    item->tries = item->interrupts = 0;
    item->remote = item->records = 0;
    item->record_pos = 0;
    move(sim, job, item, MODEL_RUNNING);
    item->step_pos = row->pos;
}

static void see_retry(struct sim *sim, struct model_job *job, struct model_item *item, const struct row *row)
{
    const struct leg *leg = &job->pipeline->legs[item->leg];
    int64_t input = number_of(row, "input");
    check_running(sim, item, row);
    const struct mark *mark = check_mark(sim, item, row, number_behind(json_span(row_body(row), "error"), "no luck #"));
    RULE(mark->verdict == VERDICT_RETRY && number_of(row, "leg") == item->leg, "the worker did not say so");
    RULE(number_of(row, "tries") == item->tries + 1 && item->tries + 1 < leg->attempts, "it has no attempt left, or counts wrongly");
    item->wait_us = number_of(row, "due_at") - row->at_us;
    RULE(item->wait_us >= 0 && item->wait_us <= leg->backoff_max_us, "its back-off is out of bounds");
    RULE(item->leg ? input == (int64_t)item->step_pos : input == INT64_MIN, "it names another input");
    RULE(model_remote_of(json_span(row_body(row), "remote")) == item->remote, "it forgets the remote side, or names another");
    RULE(item->record_pos ? number_of(row, "prev") == (int64_t)item->record_pos : number_of(row, "prev") == INT64_MIN, "it forgets its records");
    item->tries++;
    item->retry_pos = row->pos;
    move(sim, job, item, MODEL_BACKOFF);
}

static void check_input(struct sim *sim, const struct model_item *item, const struct row *row)
{
    int64_t input = number_of(row, "input");
    RULE(item->leg ? input == (int64_t)item->step_pos : input == INT64_MIN, "it names another input");
}

static void see_waiting(struct sim *sim, struct model_job *job, struct model_item *item, const struct row *row)
{
    struct bytes remote = json_span(row_body(row), "remote");
    check_running(sim, item, row);
    check_input(sim, item, row);
    check_mark(sim, item, row, number_behind(remote, "\"task\":"));
    RULE(item->state == MODEL_RUNNING, "it waits already");
    RULE(model_remote_of(remote) && (!item->remote || item->remote == model_remote_of(remote)), "it began at the remote side twice");
    item->remote = model_remote_of(remote);
    move(sim, job, item, MODEL_WAITING);
}

static void see_record(struct sim *sim, struct model_item *item, const struct row *row)
{
    uint64_t dead_end = number_behind(json_span(row_body(row), "error"), "dead end #");
    uint64_t number = row->kind == EVENT_RECORD_DONE ? number_behind(json_span(row_body(row), "value"), "{\"mark\":") :
                      dead_end ? dead_end : number_behind(json_span(row_body(row), "error"), "no luck #");
    int64_t record = number_of(row, "record");
    check_running(sim, item, row);
    check_input(sim, item, row);
    check_mark(sim, item, row, number);
    RULE(record >= 0 && record < 5 && !(item->records & 1u << record), "a record is done twice");
    RULE(item->record_pos ? number_of(row, "prev") == (int64_t)item->record_pos : number_of(row, "prev") == INT64_MIN, "the chain of records is broken");
    item->records |= 1u << record;
    item->interrupts = 0;
    item->record_pos = row->pos;
    sim->model.dead_end = dead_end ? row : NULL;
}

/* What its last record takes along has ended in the very next row. */
static bool see_dead_end(struct sim *sim, const struct row *row)
{
    const struct row *record = sim->model.dead_end;
    if (!record)
        return false;
    RULE(row->kind == EVENT_ITEM_FAILED && row->job == record->job && row->item == record->item && row->epoch == record->epoch,
         "the record before it takes its item along, and this is not the item's end");
    sim->model.dead_end = NULL;
    return true;
}

static void see_done(struct sim *sim, struct model_job *job, struct model_item *item, const struct row *row)
{
    struct bytes stats = json_span(row_body(row), "stats");
    check_running(sim, item, row);
    RULE(check_mark(sim, item, row, number_behind(json_span(row_body(row), "result"), "{\"mark\":"))->verdict == VERDICT_DONE,
         "the worker did not say so");
    RULE(item->leg + 1 == job->pipeline->legs_count, "it is done before its last leg");
    if (stats.count) {
        job->stats_count++;
        job->stats_sum += strtod(stats.at + strlen("{\"accuracy\":"), NULL);
    }
    move(sim, job, item, MODEL_DONE);
}

static void see_failed(struct sim *sim, struct model_job *job, struct model_item *item, const struct row *row)
{
    struct bytes error = json_span(row_body(row), "error");
    uint64_t task = number_behind(error, "no luck #");
    bool unsaid = text_is(row, "error", "interrupted 5 times") || bytes_start(error, BYTES("\"the stored file"));      /* so the stage was asked */
    job->fatal = bytes_equal(json_span(row_body(row), "fail_job"), BYTES("true"));
    RULE(job->fatal == ((sim->temper.trips && task && task % 40 == 0) || (unsaid && strstr(job->pipeline->legs[item->leg].stages, "fail_job"))),
         "it takes its job along, or does not, as nobody said");
    if (item->state == MODEL_PENDING) {
        RULE(item->rejected && row->attempt == 0 && text_is(row, "error", "refused at the door"), "it fails without a start or a refusal");
        RULE(row->item == job->next, "it is refused before its turn");
        owner_served(sim, job, row);
    } else if (text_is(row, "error", "interrupted 5 times")) {
        RULE(item->state == MODEL_RUNNING && item->epoch < row->epoch && item->interrupts == LIMIT_INTERRUPTS, "it was not interrupted so often");
        sim_tally(TALLY_GIVEN_UP, 1);
    } else if (task) {
        check_running(sim, item, row);
        const struct mark *mark = check_mark(sim, item, row, task);
        RULE(mark->verdict == VERDICT_FAIL || (mark->verdict == VERDICT_RETRY && item->tries + 1 == job->pipeline->legs[item->leg].attempts),
             "the worker did not say so, or attempts are left");
    } else if (bytes_start(error, BYTES("\"the stored file"))) {
        if (item->state == MODEL_WAITING)    /* adopted, and no crew got it */
            item->epoch = row->epoch;
        check_running(sim, item, row);
        RULE(item->blob && !item->leg, "it has no stored file");
    } else {
        check_running(sim, item, row);
        RULE(sim->model.marks[item->task].spoiled && bytes_start(error, BYTES("\"the result")), "there is no reason for this failure");
    }
    move(sim, job, item, MODEL_FAILED);
}

static bool enough(const struct model_job *job)
{
    return job->stop_count && job->hits >= job->stop_count;
}

static bool too_dear(const struct model_job *job)
{
    return job->max_cost && job->cost > job->max_cost;
}

static bool may_stop(const struct model_job *job, const struct row *row)
{
    return (text_is(row, "reason", "enough") && enough(job)) || (text_is(row, "reason", "budget") && too_dear(job)) ||
           (text_is(row, "reason", "deadline") && job->deadline_us) || (text_is(row, "reason", "job_failed") && job->fatal);
}

static void count_usage(struct model_job *job, const struct row *row)
{
    int64_t cost = number_in(json_span(json_span(row_body(row), "usage"), "cost"));
    job->cost += cost == INT64_MIN ? 0 : cost;
    job->hits += bytes_equal(json_span(row_body(row), "hit"), BYTES("true"));
}

static void see_skipped(struct sim *sim, struct model_job *job, const struct row *row)
{
    struct json_object *tree JSON_OWNED = json_parse(row_body(row), NULL);
    struct json_object *ranges = json_get(tree, "ranges");
    RULE(ranges && (job->cancelling ? text_is(row, "reason", "cancelled") : may_stop(job, row)), "items are skipped without a reason");
    job->stopped = !job->cancelling;
    sim_tally(TALLY_STOPPED, job->stopped);
    job->failing |= text_is(row, "reason", "budget") || text_is(row, "reason", "job_failed");
    for (size_t i = 0; i < json_object_array_length(ranges); i++) {
        struct json_object *range = json_object_array_get_idx(ranges, i);
        int64_t from = json_object_get_int64(json_object_array_get_idx(range, 0)), to = json_object_get_int64(json_object_array_get_idx(range, 1));
        RULE(from >= 0 && from <= to && to < job->total, "a range names no items");
        for (int64_t n = from; n <= to; n++) {
            RULE(!ended(&job->items[n]), "an item that had ended is skipped");
            move(sim, job, &job->items[n], MODEL_SKIPPED);
        }
    }
}

static void check_summary(struct sim *sim, const struct model_job *job, const struct row *row)
{
    struct bytes summary = json_span(json_span(row_body(row), "summary"), "accuracy");
    int64_t count = summary.count ? number_in(json_span(summary, "count")) : 0;
    RULE(count == job->stats_count, "the summary counts wrongly");
    if (count)
        RULE(fabs(strtod(json_span(summary, "sum").at, NULL) - job->stats_sum) < 1e-6, "the summary adds up wrongly");
}

static void see_ended(struct sim *sim, struct model_job *job, const struct row *row)
{
    const char *status = job->cancelling ? "cancelled" : job->failing || job->fatal ? "error" : job->counts.completed || enough(job) ? "completed" :
                         job->counts.failed || job->counts.skipped ? "error" : "completed";
    RULE(!job->counts.pending && !job->counts.processing, "the job ends before its items");
    RULE(job->sealed || job->cancelling || job->stopped || job->fatal, "the job ends before its seal");
    RULE(text_is(row, "status", status), "the job ends with another status than its items say");
    check_summary(sim, job, row);
    job->ended = true;
    sim->model.jobs_open--;
    if (sim->model.waiting[job->owner].job == job->job)
        sim->model.waiting[job->owner].job = 0;
}

static void see_item(struct sim *sim, struct model_job *job, const struct row *row)
{
    char name[64];
    RULE(row->item >= 0 && row->item < job->total, "there is no such item");
    struct model_item *item = &job->items[row->item];
    RULE(((job->sealed || job->open) && !job->cancelling) && !ended(item), "the item had ended, or its job takes no more");
    struct buf want BUF_OWNED;
    buf_init(&want, 1000);
    json_bytes(&want, sim_name(item->input, name));
    RULE(bytes_equal(json_span(row_body(row), "name"), buf_bytes(&want)), "it has the name of another");
    RULE(see_dead_end(sim, row) || (!job->stopped && !enough(job) && !too_dear(job) && !job->fatal), "an item goes on although its job has enough, has failed, or is too dear");
    count_usage(job, row);
    switch (row->kind) {
    case EVENT_ITEM_STARTED: see_started(sim, job, item, row); break;
    case EVENT_ITEM_STEPPED: see_stepped(sim, job, item, row); break;
    case EVENT_ITEM_WAITING: see_waiting(sim, job, item, row); break;
    case EVENT_RECORD_DONE:
    case EVENT_RECORD_FAILED: see_record(sim, item, row); break;
    case EVENT_ITEM_RETRY: see_retry(sim, job, item, row); break;
    case EVENT_ITEM_DONE: see_done(sim, job, item, row); break;
    case EVENT_ITEM_FAILED: see_failed(sim, job, item, row); break;
    default: RULE(false, "nobody writes this kind");
    }
    while (job->next < job->total && job->items[job->next].state != MODEL_PENDING)
        job->next++;
    RULE(counts_equal(counts_of(row), recount(job)), "its counts are not those of a recount");
}

static void see_job_row(struct sim *sim, struct model_job *job, const struct row *row)
{
    RULE(!sim->model.dead_end || event_is_item(row->kind), "the record before it takes its item along, and this is not the item's end");
    switch (row->kind) {
    case EVENT_JOB_CREATED: break;
    case EVENT_ITEMS_ADDED: see_added(sim, job, row); break;
    case EVENT_JOB_SEALED: see_sealed(sim, job, row); break;
    case EVENT_ITEMS_SKIPPED: see_skipped(sim, job, row); break;
    case EVENT_JOB_CANCELLING:
        RULE(!job->cancelling, "it is cancelled twice");
        job->cancelling = true;
        break;
    case EVENT_JOB_ENDED:
        see_ended(sim, job, row);
        RULE(counts_equal(counts_of(row), recount(job)), "its counts are not those of a recount");
        break;
    default: see_item(sim, job, row);
    }
}

static void remember(struct model_job *job, struct row *row)
{
    if (job->rows_count == job->rows_room) {
        job->rows_room = job->rows_room ? job->rows_room * 2 : 16;
        job->rows = mem_grow(job->rows, job->rows_room * sizeof *job->rows);
        job->told = mem_grow(job->told, job->rows_room * sizeof *job->told);
    }
    job->told[job->rows_count] = job->counts;
    job->rows[job->rows_count++] = row;
}

static void see(struct sim *sim, struct row *row)
{
    struct model *model = &sim->model;
    size_t at;
    RULE(row->pos == model->rows_count, "its position is not the next one");
    RULE(row->epoch == model->epoch, "it was not written in this opening");
    RULE(json_grammar(row_body(row), JSON_DEPTH_MAX, &at) == JSON_GRAMMAR_GOOD && !memchr(row->body, '\n', row->body_bytes),
         "its body is not a line of JSON");
    if (row->kind == EVENT_JOB_CREATED)
        see_created(sim, row);
    struct model_job *job = model_job(sim, row->job);
    RULE(job && row->seq == job->rows_count + 1, "its seq is not the next one of its job");
    RULE(!job->ended, "the job had ended");
    RULE(!job->rows_count || row->at_us >= job->rows[job->rows_count - 1]->at_us, "its time is before that of the row ahead");
    see_job_row(sim, job, row);
    struct counts c = job->counts;
    RULE(c.pending + c.processing + c.completed + c.failed + c.skipped == job->total, "the counts do not add up to the total");
    remember(job, row);
    if (sim->verbose)
        sim_note(sim, event_name(row->kind), row->job, row->item, (int64_t)row->pos);
}

void model_catch_up(struct sim *sim)
{
    struct model *model = &sim->model;
    uint64_t last = memory_last_pos(sim->disk);
    while (model->rows_count < last) {
        struct row *row = (struct row *)memory_row(sim->disk, model->rows_count + 1);
        SIM_CHECK(sim, row, "the disk claims to reach position %llu, but has no row at %zu", (unsigned long long)last, model->rows_count + 1);
        if (model->accepted_count <= model->rows_count)
            model_accepted(sim, false);
        if (model->rows_count == model->rows_room) {
            model->rows_room = model->rows_room ? model->rows_room * 2 : 256;
            model->rows = mem_grow(model->rows, model->rows_room * sizeof *model->rows);
        }
        model->rows[model->rows_count++] = row_ref(row);
        see(sim, row);
    }
}

void model_accepted(struct sim *sim, bool disk_full)
{
    struct model *model = &sim->model;
    uint64_t pos = sim->store ? store_pos(sim->store) : model->rows_count + 1;
    while (model->accepted_count < pos) {
        if (model->accepted_count == model->accepted_room) {
            model->accepted_room = model->accepted_room ? model->accepted_room * 2 : 256;
            model->accepted = mem_grow(model->accepted, model->accepted_room * sizeof *model->accepted);
        }
        model->accepted[model->accepted_count++] = (struct accepted){sim->now_us, disk_full};
    }
}

void model_done(struct sim *sim)
{
    struct model *model = &sim->model;
    for (size_t i = 0; i < model->rows_count; i++)
        row_unref(model->rows[i]);
    for (size_t i = 0; i < model->jobs_count; i++) {
        free(model->jobs[i]->items);
        free(model->jobs[i]->rows);
        free(model->jobs[i]->told);
        job_free(model->jobs[i]->shadow);
        free(model->jobs[i]);
    }
    free(model->jobs);
    free(model->rows);
    free(model->accepted);
    free(model->marks);
}
