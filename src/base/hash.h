/* Hashes: a quick one for tables, SHA-256 (OpenSSL) for names of blobs and pipelines. */
#pragma once
#include "base/bytes.h"

uint64_t hash_mix(uint64_t value);                 /* the finaliser of splitmix64 */
uint64_t hash_bytes(struct bytes view);            /* FNV-1a, mixed; not for hostile tables of unbounded size */

#define SHA_SIZE 32
#define SHA_HEX_SIZE 65                            /* with the NUL */
struct sha {
    unsigned char at[SHA_SIZE];
};

struct sha sha_of(struct bytes view);
void sha_hex(const struct sha *sha, char ret[SHA_HEX_SIZE]);
bool sha_from_hex(struct bytes hex, struct sha *ret);       /* 64 lower-case digits exactly */

/* The same over pieces: new, add …, then end, which frees it. Drop one unfinished with sha_drop. */
struct sha_stream;
struct sha_stream *sha_new(void);
void sha_add(struct sha_stream *stream, struct bytes view);
struct sha sha_end(struct sha_stream *stream);
void sha_drop(struct sha_stream *stream);
