/* Randomness: a seeded generator for everything that must be repeatable (splitmix64), and the system's for ids. */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct rng {
    uint64_t state;
};

uint64_t rng_next(struct rng *rng);
uint64_t rng_below(struct rng *rng, uint64_t bound);     /* 0 … bound - 1; bound > 0 */
void rng_system(void *ret, size_t count);                /* unguessable bytes; ends the process if the system has none */
#define RNG_UUID_SIZE 37
void rng_uuid(char ret[RNG_UUID_SIZE]);                  /* version 4, RFC 9562 */
