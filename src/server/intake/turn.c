#include "server/intake/turn.h"

#include "base/limits.h"

static void give_up(struct timer *timer)
{
    struct turn *turn = TIMER_OF(timer, struct turn, patience);
    list_leave(&turn->link);
    turn->late(turn);
}

static void go(struct turn *turn)
{
    turn->service->uploads++;
    turn->taken = true;
    turn->go(turn);
}

void turn_take(struct turn *turn, struct service *service, void (*go_on)(struct turn *turn), void (*late)(struct turn *turn))
{
    turn->service = service;
    turn->go = go_on;
    turn->late = late;
    list_init(&turn->link);
    if (service->uploads < LIMIT_UPLOADS) {
        go(turn);
        return;
    }
    list_push(&service->turns, &turn->link);
    timer_start(service->loop, &turn->patience, LIMIT_UPLOAD_PATIENCE_US, give_up);
}

void turn_refuse(struct http_request *request)
{
    http_refuse(request, 503, "%d bodies are being read, as many as are at a time.", LIMIT_UPLOADS);
}

void turn_leave(struct turn *turn)
{
    struct service *service = turn->service;
    if (!service)
        return;
    turn->service = NULL;
    list_leave(&turn->link);
    timer_stop(service->loop, &turn->patience);
    if (!turn->taken)
        return;
    service->uploads--;
    struct list *next = service->uploads < LIMIT_UPLOADS ? list_pop(&service->turns) : NULL;
    if (next) {
        struct turn *following = LIST_OF(next, struct turn, link);
        timer_stop(service->loop, &following->patience);
        go(following);
    }
}
