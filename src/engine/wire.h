/* What the server and a worker say to each other: the server's side of the frames that worker/worker.h lists. What comes from a worker
 * is not trusted: a hostile image may have made it somebody else's. Any thread; no state. */
#pragma once
#include "base/json.h"
#include "engine/crew.h"
#include "os/frame.h"
#include "stage/stage.h"

/* The head of init, and the descriptors to send with it (the outfit's own, not duplicated). `exec` as in workers_options. */
void wire_init(struct buf *head, const char *const *stages, size_t stages_count, const struct stage_outfit *outfit, bool exec,
               int ret_fds[FRAME_FDS_MAX], size_t *ret_fds_count);

/* Head and body of task (exec: with secrets of this process's environment in its stages); its descriptors are the input, if there is one, and then the output. Bufs that failed are too long. */
void wire_task(struct buf *head, struct buf *body, const struct task *task, bool exec);

/* Head of learn. */
void wire_learn(struct buf *head, struct bytes stages);

/* An outcome as a worker told it. The views are into the frame and the tree; wire_outcome_done frees the tree. */
struct wire_outcome {
    struct json_object *head;      /* owned */
    struct outcome outcome;        /* its value is empty when it is in the output */
    size_t output_bytes;           /* how much of the output is the value; 0 = none */
    bool last;                     /* the worker wants to be replaced */
    uint32_t compiled;             /* programs that the task had to wait for; what is no number of this world is 0 */
};
/* Takes over `head`, the frame's parsed head. 0, or -1 and a problem: this is no outcome of that task, or its value is no JSON. The value is
 * made one line, in place. */
int wire_outcome(struct json_object *head, const struct frame *frame, struct token token, struct wire_outcome *ret, struct problem *problem);
void wire_outcome_done(struct wire_outcome *told);

/* Checks a value and makes it one line in place: 0, or -1 and a problem. */
int wire_value(char *at, size_t count, struct problem *problem);
