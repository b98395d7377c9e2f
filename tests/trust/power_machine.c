#include "power.h"

#include "base/mem.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct machine machine;

struct letter {
    void (*call)(void *data);
    void *data;
    struct letter *next;
};
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static struct letter *letters, **letters_end = &letters;
static struct rng chance_rng = {7};

static void post(void *loop, void (*call)(void *data), void *data)
{
    struct letter *letter = MEM_NEW(struct letter);
    *letter = (struct letter){call, data, NULL};
    pthread_mutex_lock(&mutex);
    *letters_end = letter;
    letters_end = &letter->next;
    pthread_cond_signal(&cond);
    pthread_mutex_unlock(&mutex);
}

bool machine_turn(int wait_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += wait_ms % 1000 * 1000000L;
    until.tv_sec += wait_ms / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&mutex);
    while (!letters && wait_ms && pthread_cond_timedwait(&cond, &mutex, &until) != ETIMEDOUT)
        ;
    struct letter *letter = letters;
    if (letter && !(letters = letter->next))
        letters_end = &letters;
    pthread_mutex_unlock(&mutex);
    if (!letter)
        return false;
    letter->call(letter->data);
    free(letter);
    return true;
}

void machine_settle(void)
{
    while (store_durable(machine.store) < store_pos(machine.store))
        machine_turn(1000);
}

bool machine_until(const bool *done)
{
    for (int i = 0; i < 200 && !*done; i++)
        machine_turn(50);
    return *done;
}

static int64_t now_us(void *data)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

static int64_t wall_us(void *data)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

static uint64_t chance(void *data)
{
    return rng_next(&chance_rng);
}

static void seen(void *data, struct live *live, const struct row *row)
{
    journal_told(row);
}

int machine_open(const char *dir, void (*looks)(void))
{
    static struct store_listener listener;
    struct store_world world = {.now_us = now_us, .wall_us = wall_us, .random = chance};
    struct problem problem = {0};
    machine = (struct machine){.store = store_new(&world)};
    int answer = blobs_open(dir, &machine.blobs, &problem);
    if (!answer)
        answer = sqlite_open(dir, (struct log_door){NULL, post}, store_opening(machine.store), machine.blobs, &machine.log, &problem);
    if (!answer && looks)
        looks();
    if (!answer)
        answer = store_start(machine.store, machine.log, &problem);
    snprintf(machine.problem, sizeof machine.problem, "%s", problem.text);
    listener = (struct store_listener){.seen = seen};
    if (!answer)
        store_on_durable(machine.store, &listener);
    return answer;
}

void machine_close(void)
{
    if (!machine.store)
        return;
    store_close(machine.store);
    while (machine_turn(0))
        ;
    blobs_close(machine.blobs);
    machine = (struct machine){0};
}
