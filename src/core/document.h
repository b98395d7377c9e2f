/* The job document: what a job is at this moment, as JSON for people and clients. A reader like any other: computed from the
 * fold, shown only when the log is durable up to the `seq` that it names (the caller holds it until then). */
#pragma once
#include "core/job.h"
#include "base/buf.h"

/* {"id","owner","pipeline","retry_of","status","sealed","seq","total_batches","batches_pending","batches_processing","batches_completed",
 *  "batches_failed","batches_skipped","counts","overall_progress","created_at","started_at","completed_at","error","summary","timing","seconds"}
 * Only where there is something to say: "usage" {name: sum}; "records" {"completed","failed","dropped"}; "top" [{"item","record"?,"score"}], the best first,
 * with "top_revision", which counts its changes; "hits"; "deadline_at".
 * "trace" is there only when the job was made with one (a traceparent). counts is the array that events carry; timing {"queued_seconds","running_seconds","total_seconds"}, each null until it is known.
 * "total_batches" of an unsealed job is what it has so far. */
void document_job(const struct job *job, struct buf *buf);
