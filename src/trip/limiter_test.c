#include "trip/limiter.h"

#include "base/limits.h"
#include "base/test.h"

#include <stdio.h>

struct world {
    struct loop *loop;
    struct limiters *limiters;
    struct limiter *limiter;
};

struct call {
    struct limiter_place place;
    int gone;                      /* how often it was its turn */
    int64_t at_us;
};

static struct loop *now_of;

static void went(struct limiter_place *place)
{
    struct call *call = (struct call *)((char *)place - offsetof(struct call, place));
    call->gone++;
    call->at_us = loop_now_us(now_of);
}

static struct world world_of(const struct limiter_spec *spec)
{
    struct world world = {0};
    struct problem problem = {0};
    CHECK_INT(loop_open(&world.loop, &problem), 0);
    world.limiters = limiters_new(world.loop);
    world.limiter = limiter_of(world.limiters, BYTES("llm https://api.example KEY"), spec);
    now_of = world.loop;
    return world;
}

static void world_end(struct world *world)
{
    limiters_free(world->limiters);
    loop_close(world->loop);
}

static void turn_until(struct world *world, const int *flag, int want)
{
    while (*flag < want)
        loop_turn(world->loop, true);
}

TEST(a_limiter_lets_as_many_calls_go_as_it_says_and_the_next_when_one_is_over)
{
    struct world world = world_of(&(struct limiter_spec){.concurrency = 2});
    struct call calls[4] = {0};
    for (int i = 0; i < 4; i++)
        limiter_take(world.limiter, &calls[i].place, 0, went);
    CHECK(calls[0].gone && calls[1].gone && !calls[2].gone && !calls[3].gone);
    limiter_give(&calls[0].place, false, 0, -1);
    CHECK(calls[2].gone && !calls[3].gone);
    limiter_leave(&calls[1].place);      /* one that is dropped makes room too, but not at once */
    CHECK(!calls[3].gone);
    turn_until(&world, &calls[3].gone, 1);
    CHECK(calls[3].gone);
    limiter_give(&calls[2].place, false, 0, -1);
    limiter_give(&calls[3].place, false, 0, -1);
    world_end(&world);
}

TEST(one_refusal_pauses_all_and_one_goes_to_see_before_the_others)
{
    struct world world = world_of(&(struct limiter_spec){.concurrency = 8});
    struct call calls[4] = {0};
    for (int i = 0; i < 4; i++)
        limiter_take(world.limiter, &calls[i].place, 0, went);
    int64_t began_us = loop_now_us(world.loop);
    for (int i = 0; i < 4; i++)          /* a storm of four is one pause */
        limiter_give(&calls[i].place, true, 20000, -1);
    struct call again[4] = {0};
    for (int i = 0; i < 4; i++)
        limiter_take(world.limiter, &again[i].place, 0, went);
    CHECK(!again[0].gone);
    turn_until(&world, &again[0].gone, 1);
    CHECK(again[0].at_us - began_us >= 20000);
    CHECK(again[0].at_us - began_us < 1000000);
    CHECK(!again[1].gone);
    limiter_give(&again[0].place, false, 0, -1);
    CHECK(again[1].gone && again[2].gone && !again[3].gone);       /* not all at once: one more with each that goes well */
    limiter_give(&again[1].place, false, 0, -1);
    CHECK(again[3].gone);
    for (int i = 2; i < 4; i++)
        limiter_give(&again[i].place, false, 0, -1);
    world_end(&world);
}

TEST(who_may_be_shut_out_is_refused_a_few_times_and_then_seldom)
{
    struct world world = world_of(&(struct limiter_spec){.careful = true});
    int64_t began_us = 0;
    for (int i = 0; i <= LIMIT_REFUSALS_FREE; i++) {
        struct call call = {0};
        began_us = loop_now_us(world.loop);
        limiter_take(world.limiter, &call.place, 0, went);
        turn_until(&world, &call.gone, 1);
        CHECK(call.at_us - began_us < 1000000);
        limiter_give(&call.place, false, 0, -1);     /* so that the pauses do not double */
        struct call next = {0};
        limiter_take(world.limiter, &next.place, 0, went);
        CHECK(next.gone);
        limiter_give(&next.place, true, 1000, -1);
    }
    struct call last = {0};
    limiter_take(world.limiter, &last.place, 0, went);
    began_us = loop_now_us(world.loop);
    while (loop_now_us(world.loop) - began_us < 100000)
        loop_turn(world.loop, false);
    CHECK(!last.gone);
    limiter_leave(&last.place);
    world_end(&world);
}

TEST(a_further_refusal_makes_the_pause_twice_as_long)
{
    struct world world = world_of(&(struct limiter_spec){0});
    struct call first = {0};
    limiter_take(world.limiter, &first.place, 0, went);
    limiter_give(&first.place, true, 5000, -1);
    for (int i = 0; i < 4; i++) {
        struct call call = {0};
        int64_t began_us = loop_now_us(world.loop);
        limiter_take(world.limiter, &call.place, 0, went);
        turn_until(&world, &call.gone, 1);
        CHECK(call.at_us - began_us >= (5000 << i) - 2000);      /* the pause began a moment before */
        limiter_give(&call.place, true, 5000, -1);
    }
    world_end(&world);
}

TEST(requests_go_at_their_rate_and_tokens_may_run_into_debt)
{
    struct world world = world_of(&(struct limiter_spec){.requests = 100, .requests_per_us = 1000000 / 10});      /* 1000 a second, 100 at once */
    struct call calls[130] = {0};
    int64_t began_us = loop_now_us(world.loop);
    for (int i = 0; i < 130; i++)
        limiter_take(world.limiter, &calls[i].place, 0, went);
    CHECK(calls[99].gone && !calls[129].gone);
    turn_until(&world, &calls[129].gone, 1);
    CHECK(calls[129].at_us - began_us >= 28000);
    for (int i = 0; i < 130; i++)
        limiter_give(&calls[i].place, false, 0, -1);
    struct limiter *other = limiter_of(world.limiters, BYTES("tokens"), &(struct limiter_spec){.tokens = 1000, .tokens_per_us = 100000});
    struct call large = {0}, small = {0};
    limiter_take(other, &large.place, 1100, went);
    CHECK(large.gone);
    began_us = loop_now_us(world.loop);
    limiter_take(other, &small.place, 1, went);
    CHECK(!small.gone);
    turn_until(&world, &small.gone, 1);
    CHECK(small.at_us - began_us >= 9000);
    limiter_give(&large.place, false, 0, 100);       /* it took less than was thought */
    limiter_give(&small.place, false, 0, -1);
    world_end(&world);
}

TEST(limiters_that_nobody_needs_are_forgotten_and_the_others_are_not)
{
    struct world world = world_of(&(struct limiter_spec){0});
    struct limiter *slow = limiter_of(world.limiters, BYTES("slow"), &(struct limiter_spec){.requests = 1, .requests_per_us = 3600000000});
    struct call call = {0};
    char name[32];
    limiter_take(slow, &call.place, 0, went);
    limiter_give(&call.place, false, 0, -1);
    limiter_let_go(slow);
    for (int i = 0; i < 10000; i++) {
        snprintf(name, sizeof name, "https://host-%d.example", i);
        limiter_let_go(limiter_of(world.limiters, bytes_of(name), &(struct limiter_spec){.requests = 100, .requests_per_us = 1000000}));
    }
    CHECK(limiters_numbers(world.limiters).count <= 1024);
    CHECK(limiter_of(world.limiters, BYTES("llm https://api.example KEY"), &(struct limiter_spec){0}) == world.limiter);
    CHECK(limiter_of(world.limiters, BYTES("slow"), &(struct limiter_spec){0}) == slow);
    world_end(&world);
}
