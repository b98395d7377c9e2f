#include "core/document.h"

#include "base/json.h"
#include "base/text.h"

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

static void put_int(struct buf *buf, const char *key, int64_t value)
{
    json_key(buf, key);
    json_int(buf, value);
}

void document_job(const struct job *job, struct buf *buf)
{
    json_open(buf, '{');
    json_key(buf, "id");
    json_text(buf, job->id);
    json_key(buf, "pipeline");
    json_text(buf, job->pipeline);
    json_key(buf, "status");
    json_text(buf, job_status_name(job->status));
    put_int(buf, "seq", (int64_t)job->seq);
    put_int(buf, "total_batches", job->total);
    put_int(buf, "batches_pending", job->counts.pending);
    put_int(buf, "batches_processing", job->counts.processing);
    put_int(buf, "batches_completed", job->counts.completed);
    put_int(buf, "batches_failed", job->counts.failed);
    put_int(buf, "batches_skipped", job->counts.skipped);
    put_int(buf, "overall_progress", job_progress(job));
    put_time(buf, "created_at", job->created_us);
    put_time(buf, "started_at", job->started_us);
    put_time(buf, "completed_at", job->ended_us);
    json_key(buf, "error");
    json_text(buf, job->error);
    json_key(buf, "summary");
    job_summary(job, buf);
    json_key(buf, "seconds");
    if (job->ended)
        json_real(buf, (double)(job->ended_us - job->created_us) / 1e6);
    else
        json_null(buf);
    json_close(buf, '}');
}
