/* What workers are to learn: stages whose programs they compile when they have nothing else to do. jq takes some 30 ms for one, which is much for who waits
 * for it. Nothing depends on it: a socket that has no room just does not hear of it. */
#include "engine/workers_own.h"

#include "base/mem.h"

#include <stdlib.h>

struct lesson {
    struct list link;              /* in workers.lessons */
    struct bytes stages;           /* owned */
};

static void lesson_drop(struct workers *workers, struct lesson *lesson)
{
    workers->lessons_count--;
    workers->lessons_bytes -= lesson->stages.count;
    list_leave(&lesson->link);
    free((char *)lesson->stages.at);
    free(lesson);
}

void lessons_drop(struct workers *workers)
{
    LIST_EACH(link, &workers->lessons)
        lesson_drop(workers, LIST_OF(link, struct lesson, link));
}

static void slot_teach(struct slot *slot, struct bytes stages)
{
    struct buf *head = &slot->workers->head;
    if (slot->state < SLOT_IDLE || slot->state > SLOT_KEEPING || slot->last)
        return;
    buf_clear(head);
    wire_learn(head, stages);
    if (buf_ok(head))
        frame_offer(slot->socket, buf_bytes(head));
}

void slot_teach_all(struct slot *slot)
{
    LIST_EACH(link, &slot->workers->lessons)
        slot_teach(slot, LIST_OF(link, struct lesson, link)->stages);
}

static bool known(struct workers *workers, struct bytes stages)
{
    LIST_EACH(link, &workers->lessons)
        if (bytes_equal(LIST_OF(link, struct lesson, link)->stages, stages))
            return true;
    return false;
}

void workers_learn(struct crew *crew, const struct task *task)
{
    struct workers *workers = (struct workers *)crew;
    if (workers->stopping || task->stages.count > LIMIT_LESSONS_BYTES || known(workers, task->stages))
        return;
    struct lesson *lesson = MEM_NEW(struct lesson);
    lesson->stages = (struct bytes){mem_copy(task->stages.at, task->stages.count), task->stages.count};
    list_push(&workers->lessons, &lesson->link);
    workers->lessons_count++;
    workers->lessons_bytes += task->stages.count;
    while (workers->lessons_count > LIMIT_LESSONS || workers->lessons_bytes > LIMIT_LESSONS_BYTES)
        lesson_drop(workers, LIST_OF(workers->lessons.next, struct lesson, link));
    for (size_t i = 0; i < workers->options.count; i++)
        slot_teach(&workers->slots[i], lesson->stages);
}
