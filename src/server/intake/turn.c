#include "server/intake/turn.h"

#include "base/limits.h"

enum { READY_BYTES = 1024 };      /* so much of a body lies there: its sender means it */

static void stop_waiting(struct turn *turn)
{
    list_leave(&turn->link);
    timer_stop(turn->service->loop, &turn->patience);
    turn->service->turns.waiting_count -= turn->waits;
    turn->waits = false;
}

static void give_up(struct timer *timer)
{
    struct turn *turn = TIMER_OF(timer, struct turn, patience);
    stop_waiting(turn);
    turn->refuse(turn);
}

static void go(struct turn *turn)
{
    struct turns *turns = &turn->service->turns;
    list_push(&turns->taken, &turn->link);
    turns->taken_count++;
    turn->taken = true;
    turn->go(turn);
}

static bool ready(const struct turn *turn)
{
    int64_t bytes = turn->request->body_bytes;
    return http_body_at_hand(turn->request) >= (bytes >= 0 && bytes < READY_BYTES ? bytes : READY_BYTES);
}

/* ---- while somebody waits ---- */

static void sort(struct turns *turns)
{
    for (struct list *link = turns->others.next, *next; link != &turns->others; link = next) {
        next = link->next;
        if (!ready(LIST_OF(link, struct turn, link)))
            continue;
        list_leave(link);
        list_push(&turns->ready, link);
    }
}

/* As many as wait: each refusal ends with turn_leave(), soon, which lets the next one in. */
static void dismiss(struct turns *turns)
{
    int left = turns->waiting_count;
    for (struct list *link = turns->taken.next, *next; link != &turns->taken && left; link = next) {
        struct turn *turn = LIST_OF(link, struct turn, link);
        next = link->next;
        if (!http_body_slow(turn->request, LIMIT_UPLOAD_PRESSED_US))
            continue;
        turn->refuse(turn);
        left--;
    }
}

static void press(struct timer *timer)
{
    struct service *service = TIMER_OF(timer, struct service, turns.press);
    struct turns *turns = &service->turns;
    if (!turns->waiting_count)
        return;
    sort(turns);
    dismiss(turns);
    timer_start(service->loop, &turns->press, LIMIT_UPLOAD_PRESS_US, press);
}

static void wait_for_a_place(struct turn *turn)
{
    struct service *service = turn->service;
    struct turns *turns = &service->turns;
    list_push(ready(turn) ? &turns->ready : &turns->others, &turn->link);
    turns->waiting_count++;
    turn->waits = true;
    timer_start(service->loop, &turn->patience, LIMIT_UPLOAD_PATIENCE_US, give_up);
    if (!timer_runs(&turns->press))
        timer_start(service->loop, &turns->press, LIMIT_UPLOAD_PRESS_US, press);
}

/* ---- what the bodies call ---- */

void turn_take(struct turn *turn, struct service *service, struct http_request *request, void (*go_on)(struct turn *turn),
               void (*refuse)(struct turn *turn))
{
    turn->service = service;
    turn->request = request;
    turn->go = go_on;
    turn->refuse = refuse;
    list_init(&turn->link);
    if (service->turns.taken_count < LIMIT_UPLOADS)
        go(turn);
    else
        wait_for_a_place(turn);
}

void turn_refuse(struct turn *turn)
{
    if (turn->taken)
        http_refuse(turn->request, 408, "The body came too slowly while others waited: at least 1 KiB a second is expected.");
    else
        http_refuse(turn->request, 503, "%d bodies are being read, as many as are at a time.", LIMIT_UPLOADS);
}

void turn_leave(struct turn *turn)
{
    if (!turn->service)
        return;
    struct turns *turns = &turn->service->turns;
    stop_waiting(turn);
    turn->service = NULL;
    if (!turn->taken)
        return;
    turns->taken_count--;
    struct list *next = list_empty(&turns->ready) ? turns->others.next : turns->ready.next;
    if (turns->taken_count >= LIMIT_UPLOADS || next == &turns->others)
        return;
    struct turn *following = LIST_OF(next, struct turn, link);
    stop_waiting(following);
    go(following);
}
