#include "core/document.h"

#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"
#include "core/codec.h"

#include <stdlib.h>

static void put_time(struct buf *buf, const char *key, int64_t wall_us)
{
    char text[TEXT_TIME_SIZE];
    json_key(buf, key);
    if (!wall_us) {
        json_null(buf);
        return;
    }
    text_time(wall_us, text);
    json_text(buf, text);
}

static void put_seconds(struct buf *buf, const char *key, int64_t from_us, int64_t to_us)
{
    json_key(buf, key);
    if (from_us && to_us)
        json_real(buf, (double)(to_us - from_us) / 1e6);
    else
        json_null(buf);
}

static void put_timing(struct buf *buf, const struct job *job)
{
    json_key(buf, "timing");
    json_open(buf, '{');
    put_seconds(buf, "queued_seconds", job->created_us, job->started_us);
    put_seconds(buf, "running_seconds", job->started_us, job->ended_us);
    put_seconds(buf, "total_seconds", job->created_us, job->ended_us);
    json_close(buf, '}');
}

static void put_head(struct buf *buf, const struct job *job)
{
    json_put_text(buf, "id", job->id);
    json_put_text(buf, "owner", job->owner);
    json_put_text(buf, "pipeline", job->pipeline);
    json_put_text(buf, "result_key", job->result_key);
    json_put_text(buf, "retry_of", job->retry_of && job->retry_of[0] ? job->retry_of : NULL);
    if (job->trace && job->trace[0])
        json_put_text(buf, "trace", job->trace);
    json_put_text(buf, "status", job_status_name(job->status));
    json_put_flag(buf, "sealed", job->sealed);
    json_put_int(buf, "seq", (int64_t)job->seq);
}

static void put_usage(struct buf *buf, const struct job *job)
{
    json_key(buf, "usage");
    json_open(buf, '{');
    for (size_t i = 0; i < job->usage_count; i++) {
        json_key_bytes(buf, bytes_of(job->usage[i].name));
        json_real(buf, job->usage[i].sum);
    }
    json_close(buf, '}');
}

static void put_records(struct buf *buf, const struct job *job)
{
    json_key(buf, "records");
    json_open(buf, '{');
    json_put_int(buf, "completed", job->records.completed);
    json_put_int(buf, "failed", job->records.failed);
    json_put_int(buf, "dropped", job->records.dropped);
    json_close(buf, '}');
}

static int by_score(const void *a, const void *b)
{
    const struct job_best *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return (x->pos > y->pos) - (x->pos < y->pos);
}

static void put_top(struct buf *buf, const struct job *job)
{
    struct job_best *best MEM_OWNED = (struct job_best *)mem_copy(job->top, job->top_count * sizeof *best);
    qsort(best, job->top_count, sizeof *best, by_score);
    json_key(buf, "top");
    json_open(buf, '[');
    for (size_t i = 0; i < job->top_count; i++) {
        json_open(buf, '{');
        json_put_int(buf, "item", best[i].item);
        if (best[i].record >= 0)
            json_put_int(buf, "record", best[i].record);
        json_put_real(buf, "score", best[i].score);
        json_close(buf, '}');
    }
    json_close(buf, ']');
    json_put_int(buf, "top_revision", (int64_t)job->top_revision);
}

/* What only some jobs have. */
static void put_extra(struct buf *buf, const struct job *job)
{
    if (job->usage_count)
        put_usage(buf, job);
    if (job->records.completed || job->records.failed || job->records.dropped)
        put_records(buf, job);
    if (job->top_keep > 0)
        put_top(buf, job);
    if (job->hits || job->stop_count > 0)
        json_put_int(buf, "hits", job->hits);
    if (job->deadline_us)
        put_time(buf, "deadline_at", job->deadline_us);
}

void document_job(const struct job *job, struct buf *buf)
{
    json_open(buf, '{');
    put_head(buf, job);
    json_put_int(buf, "total_batches", job->total);
    json_put_int(buf, "batches_pending", job->counts.pending);
    json_put_int(buf, "batches_processing", job->counts.processing);
    json_put_int(buf, "batches_completed", job->counts.completed);
    json_put_int(buf, "batches_failed", job->counts.failed);
    json_put_int(buf, "batches_skipped", job->counts.skipped);
    codec_put_counts(buf, &job->counts);
    json_put_int(buf, "overall_progress", job_progress(job));
    put_time(buf, "created_at", job->created_us);
    put_time(buf, "started_at", job->started_us);
    put_time(buf, "completed_at", job->ended_us);
    json_put_text(buf, "error", job->error);
    json_key(buf, "summary");
    job_summary(job, buf);
    put_extra(buf, job);
    put_timing(buf, job);
    put_seconds(buf, "seconds", job->created_us, job->ended_us);
    json_close(buf, '}');
}
