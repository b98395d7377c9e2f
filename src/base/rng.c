#include "base/rng.h"

#include "base/hash.h"

#include <assert.h>
#include <stdio.h>
#include <sys/random.h>

uint64_t rng_next(struct rng *rng)
{
    rng->state += 0x9e3779b97f4a7c15u;
    return hash_mix(rng->state);
}

uint64_t rng_below(struct rng *rng, uint64_t bound)
{
    assert(bound);
    return (uint64_t)((unsigned __int128)rng_next(rng) * bound >> 64);
}

void rng_system(void *ret, size_t count)
{
    assert(count <= 256);    /* up to here one call answers all, by getrandom(2) */
    ssize_t got = getrandom(ret, count, 0);
    assert(got == (ssize_t)count);
}

void rng_uuid(char ret[RNG_UUID_SIZE])
{
    unsigned char b[16];
    rng_system(b, sizeof b);
    b[6] = (unsigned char)(0x40 | (b[6] & 0x0f));
    b[8] = (unsigned char)(0x80 | (b[8] & 0x3f));
    snprintf(ret, RNG_UUID_SIZE, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3],
             b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}
