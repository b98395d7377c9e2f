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

void document_job(const struct job *job, struct buf *buf)
{
    json_open(buf, '{');
    json_put_text(buf, "id", job->id);
    json_put_text(buf, "pipeline", job->pipeline);
    json_put_text(buf, "status", job_status_name(job->status));
    json_put_int(buf, "seq", (int64_t)job->seq);
    json_put_int(buf, "total_batches", job->total);
    json_put_int(buf, "batches_pending", job->counts.pending);
    json_put_int(buf, "batches_processing", job->counts.processing);
    json_put_int(buf, "batches_completed", job->counts.completed);
    json_put_int(buf, "batches_failed", job->counts.failed);
    json_put_int(buf, "batches_skipped", job->counts.skipped);
    json_put_int(buf, "overall_progress", job_progress(job));
    put_time(buf, "created_at", job->created_us);
    put_time(buf, "started_at", job->started_us);
    put_time(buf, "completed_at", job->ended_us);
    json_put_text(buf, "error", job->error);
    json_key(buf, "summary");
    job_summary(job, buf);
    json_key(buf, "seconds");
    if (job->ended)
        json_real(buf, (double)(job->ended_us - job->created_us) / 1e6);
    else
        json_null(buf);
    json_close(buf, '}');
}
