#include "core/document.h"

#include "base/json.h"
#include "base/text.h"
#include "core/codec.h"

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
    put_timing(buf, job);
    put_seconds(buf, "seconds", job->created_us, job->ended_us);
    json_close(buf, '}');
}
