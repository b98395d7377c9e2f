/* One job's way: the job's document is read once (what is known is its `log_seq` and update time), rows are gathered for a moment, one
 * commit brings them and the job's document, the cursor follows. Whatever goes wrong ends in outward_later(): the gathered is forgotten, the
 * document is read again, and the log is asked again for what is not over there. So nothing is kept for a retry but a few numbers. */
#include "readers/mirror_own.h"

#include "base/limits.h"
#include "base/mem.h"
#include "os/file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum known { UNKNOWN, MISSING, AT };
enum { TELL_FAILS = 8 };               /* with its pauses a few seconds: others' restarts are no news */

struct target {                        /* a database; several jobs share it */
    struct list link;
    char *project, *database, *credentials;
    struct firestore *firestore;
};

struct mirror {
    struct mirror_options options;
    struct outward *outward;
    struct list targets;
    struct mirror_numbers numbers;
};

struct large {                         /* a result that is read from its blob */
    struct mirrored *job;              /* NULL: nobody waits any more */
    struct blobs *blobs;
    struct sha sha;
    struct row *row;                   /* one reference */
    struct json_object *result;
};

struct mirrored {
    struct mirror *mirror;
    struct outward_job *job;
    struct mirror_plan plan;
    struct target *target;             /* NULL: it could not be opened yet */
    char *id, *owner, *path;
    struct json_object *params;
    struct mirror_gather gather;
    struct mirror_state base, state;   /* as of what has arrived; as of the row that came last */
    struct mirror_state sent;          /* as of the commit under way */
    uint64_t sent_seq;
    size_t early_next;
    enum known known;
    char *update_time;                 /* AT */
    uint64_t skip_to;                  /* the document holds all up to this */
    bool asked;                        /* it was read once by this job */
    struct firestore_call *call;
    bool missed;                       /* a row came while a commit was under way: it is to be read again */
    struct large *large;
    struct timer flush;
    int64_t written_us;                /* when the last commit was sent; 0 = none yet */
    int fails;
    int64_t failing_us;                /* since then */
    bool told;                         /* that it fails for long */
};

static int64_t now_us(const struct mirrored *own)
{
    return loop_now_us(own->mirror->options.world->loop);
}

static void tell(struct mirrored *own, const char *what, const struct problem *problem)
{
    char text[1024];
    const struct mirror_options *options = &own->mirror->options;
    snprintf(text, sizeof text, "the mirror of job %s %s: %s", own->id, what, problem->text);
    if (options->tell)
        options->tell(options->data, text);
}

/* ---- databases ---- */

static bool same(const char *a, const char *b)
{
    return bytes_equal(bytes_of(a ? a : ""), bytes_of(b ? b : ""));
}

static struct target *target_of(struct mirror *mirror, const struct mirror_plan *plan, struct problem *problem)
{
    LIST_EACH(link, &mirror->targets) {
        struct target *target = LIST_OF(link, struct target, link);
        if (same(target->project, plan->project) && same(target->database, plan->database) && same(target->credentials, plan->credentials))
            return target;
    }
    struct firestore *firestore;
    struct firestore_options options = {plan->project, plan->database, plan->credentials};
    if (firestore_open(mirror->options.world->loop, mirror->options.fetch, &options, &firestore, problem))
        return NULL;
    struct target *target = MEM_NEW(struct target);
    *target = (struct target){.project = mem_text(plan->project), .database = mem_text(plan->database),
                              .credentials = mem_text(plan->credentials), .firestore = firestore};
    list_push(&mirror->targets, &target->link);
    return target;
}

static void free_target(struct target *target)
{
    firestore_close(target->firestore);
    free(target->project);
    free(target->database);
    free(target->credentials);
    free(target);
}

/* ---- failures ---- */

static void forget_gathered(struct mirrored *own)
{
    timer_stop(own->mirror->options.world->loop, &own->flush);
    mirror_gather_clear(&own->gather);
    free(own->state.error);
    own->state = own->base;
    own->missed = false;
}

static void drop_large(struct mirrored *own)
{
    if (own->large)
        own->large->job = NULL;        /* the pool still has it */
    own->large = NULL;
}

static int64_t pause_us(int fails)
{
    double pause = LIMIT_MIRROR_PAUSE_MIN_US;
    for (int i = 1; i < fails && pause < LIMIT_MIRROR_PAUSE_MAX_US; i++)
        pause *= 1.3;
    return pause < LIMIT_MIRROR_PAUSE_MAX_US ? (int64_t)pause : LIMIT_MIRROR_PAUSE_MAX_US;
}

static void later(struct mirrored *own, int64_t delay_us)
{
    forget_gathered(own);
    outward_later(own->job, delay_us);
}

static void give_up(struct mirrored *own, const struct problem *problem)
{
    own->mirror->numbers.given_up++;
    tell(own, "is given up", problem);
    outward_give_up(own->job);
}

static void fail(struct mirrored *own, int64_t retry_after_us, const struct problem *problem)
{
    int64_t now = now_us(own), wait_us;
    own->known = UNKNOWN;
    own->mirror->numbers.retries++;
    if (!own->fails++)
        own->failing_us = now;
    bool slow = now - own->failing_us > LIMIT_MIRROR_PATIENCE_US;
    wait_us = slow ? LIMIT_MIRROR_SLOW_US : pause_us(own->fails);
    if (own->fails == TELL_FAILS)
        tell(own, "does not get through and goes on trying", problem);
    if (slow && !own->told)
        tell(own, "fails for long and is tried every few minutes from now on", problem);
    own->told |= slow;
    later(own, retry_after_us > wait_us ? retry_after_us : wait_us);
}

/* ---- commits ---- */

static void send_next(struct mirrored *own);

static void set_update_time(struct mirrored *own, struct bytes time)
{
    free(own->update_time);
    own->update_time = mem_copy(time.at, time.count);
    own->known = time.count ? AT : UNKNOWN;
}

static void all_written(struct mirrored *own, struct json_object *body)
{
    struct json_object *results = json_get(body, "writeResults");
    size_t count = results && json_object_get_type(results) == json_type_array ? json_object_array_length(results) : 0;
    struct outward *outward = own->mirror->outward;
    struct outward_job *job = own->job;
    int64_t number = job->number;
    bool missed = own->missed;
    set_update_time(own, json_get_bytes(count ? json_object_array_get_idx(results, count - 1) : NULL, "updateTime"));
    own->base = own->sent;
    own->fails = 0;
    own->told = false;
    own->missed = false;
    outward_arrived(job, own->sent_seq);
    if (missed && outward_find(outward, number) == job)
        later(own, own->written_us + LIMIT_MIRROR_EVERY_US - now_us(own));
}

static void on_commit(void *data, const struct firestore_answer *answer)
{
    struct mirrored *own = data;
    bool more = own->gather.early_count > own->early_next || own->gather.seq;
    own->call = NULL;
    switch (answer->end) {
    case FIRESTORE_DONE:
        own->mirror->numbers.commits++;
        if (more)
            send_next(own);
        else
            all_written(own, answer->body);
        break;
    case FIRESTORE_CONFLICT:
    case FIRESTORE_NONE:
        own->mirror->numbers.conflicts++;
        fail(own, 0, &answer->problem);
        break;
    case FIRESTORE_RETRY: fail(own, answer->retry_after_us, &answer->problem); break;
    case FIRESTORE_REFUSED: give_up(own, &answer->problem); break;
    }
}

static void send_next(struct mirrored *own)
{
    struct mirror_gather *gather = &own->gather;
    struct firestore *firestore = own->target->firestore;
    if (own->early_next < gather->early_count) {
        size_t at = own->early_next++;
        own->mirror->numbers.writes += gather->early_writes[at];
        own->call = firestore_commit(firestore, buf_bytes(&gather->early[at]), on_commit, own);
        return;
    }
    own->mirror->numbers.writes += gather->writes_count;
    own->written_us = now_us(own);
    own->call = firestore_commit(firestore, buf_bytes(&gather->writes), on_commit, own);
    mirror_gather_clear(gather);
}

static void flush(struct timer *timer)
{
    struct mirrored *own = TIMER_OF(timer, struct mirrored, flush);
    struct live *live = own->job->cursor.live;
    if (own->call || own->large || !own->gather.seq || !live)
        return;
    const struct job *job = live_job(live);
    own->sent_seq = own->gather.seq;
    own->sent = own->state;
    own->sent.error = NULL;
    mirror_put_job(&own->gather, &own->state, job, live_durable_seq(live) >= job->seq, own->known == AT ? FIRESTORE_AT : FIRESTORE_MISSING,
                   bytes_of(own->update_time ? own->update_time : ""));
    if (problem_is(&own->gather.problem)) {
        struct problem problem = own->gather.problem;
        give_up(own, &problem);
        return;
    }
    own->early_next = 0;
    send_next(own);
}

/* ---- reading the document ---- */

static void on_document(void *data, const struct firestore_answer *answer)
{
    struct mirrored *own = data;
    struct live *live = own->job->cursor.live;
    own->call = NULL;
    own->skip_to = 0;
    if (answer->end == FIRESTORE_DONE) {
        int64_t seq = firestore_int(answer->body, "log_seq", 0);
        bool again = own->job->replayed && !own->asked;
        set_update_time(own, json_get_bytes(answer->body, "updateTime"));
        if (seq > 0 && !again && live && (uint64_t)seq <= live_job(live)->seq)      /* else it is of a log that was put back: write anew */
            own->skip_to = (uint64_t)seq;
    } else if (answer->end == FIRESTORE_NONE) {
        own->known = MISSING;
    } else if (answer->end == FIRESTORE_REFUSED) {
        give_up(own, &answer->problem);
        return;
    } else {
        fail(own, answer->retry_after_us, &answer->problem);
        return;
    }
    own->asked = true;
    later(own, 0);
}

static int ask_document(struct mirrored *own)
{
    struct problem problem = {0};
    if (!own->target)
        own->target = target_of(own->mirror, &own->plan, &problem);
    if (!own->target) {
        if (!own->fails)
            tell(own, "has to wait", &problem);
        fail(own, LIMIT_MIRROR_PAUSE_MAX_US, &problem);
        return OUTWARD_FULL;
    }
    own->gather.firestore = own->target->firestore;
    own->call = firestore_get(own->target->firestore, bytes_of(own->path), "log_seq", on_document, own);
    return OUTWARD_FULL;
}

/* ---- large results ---- */

static int read_large(void *data)
{
    struct large *large = data;
    struct buf text BUF_OWNED;
    buf_init(&text, LIMIT_MIRROR_RESULT_BYTES);
    int result = blob_read(large->blobs, &large->sha, &text);
    large->result = result ? NULL : json_parse(buf_bytes(&text), NULL);
    return large->result || result ? result : -EIO;
}

static int add_row(struct mirrored *own, const struct row *row, struct json_object *result, int64_t omitted)
{
    struct event event;
    struct codec_arena arena CODEC_OWNED = {0};
    struct problem problem = {0};
    struct json_object *inline_result JSON_OWNED = NULL;
    if (codec_decode(row, &event, &arena, &problem)) {
        give_up(own, &problem);
        return OUTWARD_FULL;
    }
    if (event.kind == EVENT_ITEM_DONE && !result && !omitted)
        result = inline_result = json_parse(event.done.result, NULL);
    mirror_state_apply(&own->state, &event);
    mirror_add(&own->gather, row, &event, result, omitted);
    bool full = mirror_gather_full(&own->gather) || row->kind == EVENT_JOB_ENDED;
    if (full || !timer_runs(&own->flush))
        timer_start(own->mirror->options.world->loop, &own->flush, full ? 0 : LIMIT_MIRROR_GATHER_US, flush);
    return full ? OUTWARD_FULL : OUTWARD_TAKEN;
}

static int64_t bytes_of_result(const struct row *row)
{
    int64_t bytes = 0;
    bytes_to_i64(json_span(json_span(row_body(row), "result"), "bytes"), &bytes);
    return bytes ? bytes : 1;
}

static void large_done(void *data, int failed)
{
    struct large *large = data;
    struct mirrored *own = large->job;
    if (own)
        own->large = NULL;
    if (own && file_scarce(failed)) {     /* it is there, and is not to be left out for good */
        struct problem problem = {0};
        problem_set(&problem, "a result cannot be read: %s", strerror(-failed));
        fail(own, 0, &problem);
    } else if (own) {
        struct outward_job *job = own->job;
        if (add_row(own, large->row, large->result, failed ? bytes_of_result(large->row) : 0) == OUTWARD_TAKEN)
            outward_more(job);
    }
    row_unref(large->row);
    json_drop(&large->result);
    free(large);
}

static int ask_large(struct mirrored *own, const struct row *row, const struct sha *sha)
{
    struct blobs *blobs = own->mirror->options.world->blobs;
    int64_t bytes = bytes_of_result(row);
    if (!blobs || bytes > LIMIT_MIRROR_RESULT_BYTES)
        return add_row(own, row, NULL, bytes);
    struct large *large = own->large = MEM_NEW(struct large);
    *large = (struct large){.job = own, .blobs = blobs, .sha = *sha, .row = row_ref((struct row *)row)};
    loop_pool(own->mirror->options.world->loop, read_large, large_done, large);
    return OUTWARD_FULL;
}

/* ---- the kind ---- */

static uint32_t wants(void *data, const struct job *job)
{
    struct mirror *mirror = data;
    const struct pipeline *pipeline = store_pipeline(mirror->options.world->store, &job->hash);
    if (!pipeline || !json_get(json_get(pipeline->tree, "mirror"), "firestore"))
        return 0;
    return 1u << EVENT_JOB_CREATED | 1u << EVENT_ITEMS_ADDED | 1u << EVENT_JOB_SEALED | 1u << EVENT_ITEM_STARTED | 1u << EVENT_ITEM_WAITING |
           1u << EVENT_ITEM_RETRY | 1u << EVENT_ITEM_DONE | 1u << EVENT_ITEM_FAILED | 1u << EVENT_ITEMS_SKIPPED | 1u << EVENT_JOB_CANCELLING |
           1u << EVENT_JOB_ENDED;
}

static void gone(void *data, struct outward_job *job)
{
    struct mirrored *own = job->own;
    if (!own)
        return;
    firestore_drop(own->call);
    drop_large(own);
    forget_gathered(own);
    buf_done(&own->gather.writes);
    free(own->state.error);
    free(own->update_time);
    free(own->id);
    free(own->owner);
    free(own->path);
    json_drop(&own->params);
    mirror_plan_done(&own->plan);
    free(own);
    job->own = NULL;
}

static int find_path(struct mirrored *own, struct problem *problem)
{
    struct buf path BUF_OWNED;
    buf_init(&path, 4096);
    own->gather.names = (struct mirror_names){bytes_of(own->id), bytes_of(own->owner), own->params, -1};
    if (mirror_path(bytes_of(own->plan.job), &own->gather.names, &path, problem))
        return -1;
    if (!firestore_path_ok(buf_bytes(&path)))
        return problem_set(problem, "%.200s is not the path of a document", buf_z(&path));
    own->gather.path = own->path = mem_text(buf_z(&path));
    return 0;
}

static int begin_job(struct mirror *mirror, struct outward_job *job, const struct job *about)
{
    struct mirrored *own = job->own = MEM_NEW(struct mirrored);
    const struct pipeline *pipeline = store_pipeline(mirror->options.world->store, &about->hash);
    struct problem problem = {0};
    own->mirror = mirror;
    own->job = job;
    own->id = mem_text(about->id);
    own->owner = mem_text(about->owner);
    own->params = about->params && about->params[0] ? json_parse(bytes_of(about->params), NULL) : NULL;
    own->base.status = own->state.status = -1;
    own->base.sealed = own->state.sealed = about->sealed && !about->open;
    mirror_gather_clear(&own->gather);
    own->gather.plan = &own->plan;
    if (!pipeline)
        problem_set(&problem, "its pipeline is not known any more");
    else if (!mirror_plan_init(&own->plan, pipeline, &problem))
        find_path(own, &problem);
    if (!problem_is(&problem))
        return 0;
    give_up(own, &problem);
    return -1;
}

/* What the document holds already: only what is known of the job moves on. */
static int pass(struct mirrored *own, const struct row *row)
{
    struct event event;
    struct codec_arena arena CODEC_OWNED = {0};
    if (!codec_decode(row, &event, &arena, NULL)) {
        mirror_state_apply(&own->state, &event);
        free(own->state.error);
        own->state.error = NULL;
        own->base = own->state;
    }
    return OUTWARD_PASSED;
}

static int row_came(void *data, struct outward_job *job, struct live *live, const struct row *row, struct bytes unused)
{
    struct mirror *mirror = data;
    struct sha sha;
    if (!job->own && begin_job(mirror, job, live_job(live)))
        return OUTWARD_FULL;
    struct mirrored *own = job->own;
    if (own->call || own->large) {
        own->missed = true;
        return OUTWARD_FULL;
    }
    if (own->known == UNKNOWN)
        return ask_document(own);
    if (row->seq <= own->skip_to)
        return pass(own, row);
    int64_t rest_us = own->written_us ? own->written_us + LIMIT_MIRROR_EVERY_US - now_us(own) : 0;
    if (!own->gather.seq && rest_us > 0) {
        later(own, rest_us);
        return OUTWARD_FULL;
    }
    return frame_blob(FACE_SEED, row, &sha) ? ask_large(own, row, &sha) : add_row(own, row, NULL, 0);
}

static const struct outward_kind kind = {.name = "firestore", .face = FACE_JOB, .places = LIMIT_MIRROR_PLACES, .wants = wants, .row = row_came,
                                         .gone = gone};

struct mirror *mirror_open(const struct mirror_options *options)
{
    struct mirror *mirror = MEM_NEW(struct mirror);
    mirror->options = *options;
    list_init(&mirror->targets);
    mirror->outward = outward_open(options->world, &kind, mirror);
    return mirror;
}

void mirror_close(struct mirror *mirror)
{
    if (!mirror)
        return;
    outward_close(mirror->outward);
    for (struct list *link; (link = list_pop(&mirror->targets));)
        free_target(LIST_OF(link, struct target, link));
    free(mirror);
}

struct mirror_numbers mirror_numbers(const struct mirror *mirror)
{
    struct mirror_numbers numbers = mirror->numbers;
    struct outward_numbers jobs = outward_numbers(mirror->outward);
    numbers.idle = jobs.idle;
    numbers.line = jobs.line;
    numbers.work = jobs.work;
    numbers.later = jobs.later;
    return numbers;
}
