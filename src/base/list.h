/* Doubly linked lists whose links live in the members. A list head and a member that is in no list are both links that
 * point at themselves; a zeroed link must be list_init-ed before use. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next, *prev;
};

#define LIST_OF(link, type, member) ((type *)((char *)(link) - offsetof(type, member)))
#define LIST_EACH(link, head) for (struct list *link = (head)->next, *link##_next = link->next; link != (head); \
                                   link = link##_next, link##_next = link->next)   /* the present one may leave */

static inline void list_init(struct list *link)
{
    link->next = link->prev = link;
}

static inline bool list_empty(const struct list *head)
{
    return head->next == head;
}

static inline void list_push(struct list *head, struct list *link)    /* behind the last */
{
    link->prev = head->prev;
    link->next = head;
    head->prev->next = link;
    head->prev = link;
}

static inline void list_leave(struct list *link)                      /* harmless when in no list */
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
    list_init(link);
}

static inline struct list *list_pop(struct list *head)                /* the first, or NULL */
{
    struct list *first = head->next;
    if (first == head)
        return NULL;
    list_leave(first);
    return first;
}
