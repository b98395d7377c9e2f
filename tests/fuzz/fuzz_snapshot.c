/* The caches of the fold as they may lie on a damaged disk: a line of JSON, and cells. They are refused with a sentence, or they are a job that can be asked,
 * shown and folded on. The input is the line up to its first line feed; then cells, then choices of events. */
#include "fold_checks.h"

#include "base/limits.h"

static void check_cells(struct job *job, struct bytes *rest)
{
    struct problem problem = {0};
    char page[SNAPSHOT_PAGE_ITEMS * sizeof(struct item)];
    for (int64_t n = 0; n < snapshot_pages(job) && n < 4; n++) {
        size_t items = (size_t)(job->total - n * SNAPSHOT_PAGE_ITEMS < SNAPSHOT_PAGE_ITEMS ? job->total - n * SNAPSHOT_PAGE_ITEMS : SNAPSHOT_PAGE_ITEMS);
        memset(page, 0, sizeof page);
        size_t count = rest->count < items * sizeof(struct item) ? rest->count : items * sizeof(struct item);
        memcpy(page, rest->at ? rest->at : "", count);
        rest->at += count;
        rest->count -= count;
        problem = (struct problem){0};
        int answer = snapshot_read_cell(job, n, (struct bytes){page, items * sizeof(struct item)}, &problem);
        fuzz_check_problem(&problem, answer != 0);
    }
    problem = (struct problem){0};
    fuzz_must(snapshot_read_cell(job, snapshot_pages(job), (struct bytes){page, 16}, &problem), "there is no page behind the last");
}

static void go_on(struct job *job, struct bytes *rest)
{
    for (int i = 0; i < 20 && rest->count; i++) {
        struct event event = {.pos = job->pos + 1, .job = job->job, .seq = job->seq + 1, .epoch = job->epoch, .at_us = 1, .item = -1};
        struct problem problem = {0};
        event.kind = (enum event_kind)(1 + fuzz_below(rest, EVENT_KINDS_COUNT - 1));
        if (event.kind == EVENT_ITEMS_ADDED || event.kind == EVENT_JOB_CREATED)
            continue;
        if (event_is_item(event.kind)) {
            event.item = (int64_t)fuzz_below(rest, 4);
            event.attempt = event.item < job->total && job->items ? job->items[event.item].attempt + (event.kind == EVENT_ITEM_STARTED) : 1;
        }
        if (event.kind == EVENT_JOB_SEALED)
            event.sealed.total = job->total;
        if (!job_apply(job, &event, &problem) && job->items)
            fuzz_must(job->counts.pending + job->counts.processing + job->counts.completed + job->counts.failed + job->counts.skipped == job->total, "counts add up");
    }
}

FUZZ_TARGET(snapshot)
{
    struct bytes fold = bytes_cut(&input, '\n');
    struct problem problem = {0};
    struct job *job = snapshot_read(fold, &problem);
    fuzz_check_problem(&problem, !job);
    if (!job)
        return;
    check_document(job);
    if (job->items) {
        check_cells(job, &input);
        snapshot_settle(job);
        for (int64_t n = 0; n < job->total && n < 600; n++)
            job_added_of(job, n);
        int64_t item;
        size_t count;
        plan_next(job, &item);
        free(plan_unfinished(job, &count));
        go_on(job, &input);
    }
    struct buf text BUF_OWNED;
    buf_init(&text, 16 << 20);
    snapshot_write(job, &text);
    check_json(buf_bytes(&text), "what was read is written as JSON");
    job_free(job);
}
