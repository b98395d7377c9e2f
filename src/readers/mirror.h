/* The Firestore mirror: an outward reader that keeps a document for each job and one for each of its items, for pages that listen to
 * Firestore. It holds what the log says, in absolute numbers, so that writing it again is harmless.
 *
 *   pipeline_jobs/{job}             status, total_batches, batches_pending/processing/completed/failed/skipped, completed_batch_indices,
 *                                   overall_progress, created/started/completed/updated_at, usage, error_message, log_seq …
 *   …/batches/{i}                   status processing|completed|error|skipped, the result, error, attempts, usage, started/completed_at …
 *   …/batches/{i}/chunks/{k}        parts of a result that is longer than a document may be: written before the batch document names them
 *
 * A commit holds what has happened since the last one, the job's document with it: whoever sees the counters sees the batches. The
 * job's document says how far the log was (`log_seq`) and is written only in the state that was read or written last (a precondition),
 * so a commit that was given up and is done late, or a second writer, cannot put an older state above a newer one. After a lost answer
 * the document is read, and what it holds already is not written again. One commit a second for each job at most; the last always.
 *
 * Fields of the documents that have other names are left alone. Thread: loop. */
#pragma once
#include "core/pipeline.h"
#include "os/fetch.h"
#include "readers/outward.h"

/* The pipeline's "mirror":{"firestore":{
 *   "job":     program of a template, default "pipeline_jobs/\($job.id)"; "batch": the same below it, default "batches/\($batch.index)".
 *              Only $job.id, $job.owner, $batch.index, $item.index and $params.NAME may stand in them: nothing is run here
 *   "project": text or {"$env":NAME}, default that of the credentials; "database": the same, default "(default)"
 *   "credentials": path of a service account's file, text or {"$env":NAME}
 *   "results_key": name of the result's field; default the pipeline's result_key when it has one, else "profiles"
 *   "max_doc": bytes, default 900 KiB; "overflow": "chunks" or "fail" (the result is left out)}}
 * 0, or -1 and a problem. A pipeline without a mirror is fine. */
int mirror_check(const struct pipeline *pipeline, struct problem *problem);

struct mirror;
struct mirror_options {
    const struct cursor_world *world;      /* blobs may be NULL: results in files are left out then */
    struct fetch *fetch;
    /* A sentence for the journal: a mirror that was given up, or that fails for long. May be NULL. */
    void (*tell)(void *data, const char *sentence);
    void *data;
};
/* Borrowed for its life. The reader's name in the store is "firestore". */
struct mirror *mirror_open(const struct mirror_options *options);
void mirror_close(struct mirror *mirror);           /* before store and fetch; NULL does nothing */

struct mirror_numbers {
    size_t idle, line, work, later;         /* jobs, as outward_numbers */
    uint64_t commits, writes, retries, conflicts, given_up;
} mirror_numbers(const struct mirror *mirror);
