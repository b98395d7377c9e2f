/* What a memory_disk holds beside the log, as the tables pipeline, cache and reader on a real one, and what waits to get there. */
#pragma once
#include "store/log.h"

struct memory_value {
    struct sha key;
    char *at;                      /* owned */
    size_t count;
    int64_t expires_us;
};

struct memory_cursor {
    char *reader;                  /* owned */
    int64_t job;
    uint64_t seq;
};

struct memory_text {
    struct sha hash;
    char *text;                    /* owned */
};

struct memory_side {               /* zeroed = empty */
    struct memory_text *pipelines;
    size_t pipelines_count;
    struct memory_value *values;   /* in no order; owned */
    size_t values_count;
    int64_t bytes;                 /* of these, as LIMIT_CACHE_BYTES counts them */
    struct memory_cursor *cursors;
    size_t cursors_count;
};

struct memory_side_line {
    struct log_side *words, **words_end;
    struct log_side_count count;
    struct log_cached *asks, **asks_end;
};

void memory_side_init(struct memory_side_line *line);
bool memory_side_put(struct memory_side_line *line, struct log_side *side);          /* as log_ops.side */
void memory_side_ask(struct memory_side_line *line, struct log_cached *cached);      /* as log_ops.cached */

void memory_side_done(struct memory_side *side);
void memory_side_enter(struct memory_side *side, const struct log_entry *entry);     /* pipeline and readers of a job.created */
void memory_side_tell_pipelines(const struct memory_side *side, const struct log_opening *opening);
void memory_side_tell(const struct memory_side *side, const struct log_opening *opening);
bool memory_side_awaited(const struct memory_side *side, int64_t job, uint64_t last_seq);    /* a reader is behind of it */
void memory_side_expire(struct memory_side *side, int64_t now_us);
void memory_side_remove(struct memory_side *side, int64_t job);                      /* all cursors of it */
/* What waits is durable; cursors of jobs that are there. `data` is a log. */
void memory_side_sync(struct memory_side *side, struct memory_side_line *line, bool (*is_there)(void *data, int64_t job), void *data);
size_t memory_side_pump(const struct memory_side *side, struct memory_side_line *line);      /* answers what waits; how many */
