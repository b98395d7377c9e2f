/* Job, item and leg as 20 bytes, and 16 of their HMAC-SHA256: 36 bytes, 48 characters of base64url. The same for all attempts of a leg, so that a remote
 * job that was started by an earlier opening still wakes its item. */
#include "trip/trip_own.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

enum { NAME_BYTES = 20, SIGN_BYTES = 16, TOKEN_BYTES = NAME_BYTES + SIGN_BYTES };

static void sign(const unsigned char *key, unsigned char token[TOKEN_BYTES])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int count = 0;
    HMAC(EVP_sha256(), key, 32, token, NAME_BYTES, digest, &count);
    memcpy(token + NAME_BYTES, digest, SIGN_BYTES);
}

static void put(unsigned char *at, uint64_t value, size_t count)
{
    for (size_t i = 0; i < count; i++)
        at[i] = (unsigned char)(value >> (8 * (count - 1 - i)));
}

static uint64_t take(const unsigned char *at, size_t count)
{
    uint64_t value = 0;
    for (size_t i = 0; i < count; i++)
        value = value << 8 | at[i];
    return value;
}

void hook_token(const unsigned char *key, int64_t job, int64_t item, uint32_t leg, char ret[HOOK_TOKEN_SIZE])
{
    unsigned char token[TOKEN_BYTES];
    put(token, (uint64_t)job, 8);
    put(token + 8, (uint64_t)item, 8);
    put(token + 16, leg, 4);
    sign(key, token);
    EVP_EncodeBlock((unsigned char *)ret, token, TOKEN_BYTES);
    for (char *at = ret; *at; at++)
        *at = *at == '+' ? '-' : *at == '/' ? '_' : *at;
}

bool hook_read(const unsigned char *key, struct bytes text, int64_t *ret_job, int64_t *ret_item, uint32_t *ret_leg)
{
    unsigned char plain[HOOK_TOKEN_SIZE], token[TOKEN_BYTES + 4], own[TOKEN_BYTES];
    if (text.count != HOOK_TOKEN_SIZE - 1)
        return false;
    for (size_t i = 0; i < text.count; i++)
        plain[i] = text.at[i] == '-' ? '+' : text.at[i] == '_' ? '/' : (unsigned char)text.at[i];
    if (EVP_DecodeBlock(token, plain, (int)text.count) != TOKEN_BYTES)
        return false;
    memcpy(own, token, NAME_BYTES);
    sign(key, own);
    if (CRYPTO_memcmp(own, token, TOKEN_BYTES))
        return false;
    *ret_job = (int64_t)take(token, 8);
    *ret_item = (int64_t)take(token + 8, 8);
    *ret_leg = (uint32_t)take(token + 16, 4);
    return true;
}
