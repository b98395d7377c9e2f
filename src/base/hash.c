#include "base/hash.h"

#include <assert.h>
#include <openssl/evp.h>

uint64_t hash_mix(uint64_t value)
{
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9u;
    value = (value ^ value >> 27) * 0x94d049bb133111ebu;
    return value ^ value >> 31;
}

uint64_t hash_bytes(struct bytes view)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < view.count; i++)
        hash = (hash ^ (unsigned char)view.at[i]) * 0x100000001b3u;
    return hash_mix(hash);
}

struct sha_stream *sha_new(void)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    int ok = context && EVP_DigestInit_ex(context, EVP_sha256(), NULL);
    assert(ok);
    return (struct sha_stream *)context;
}

void sha_add(struct sha_stream *stream, struct bytes view)
{
    int ok = EVP_DigestUpdate((EVP_MD_CTX *)stream, view.at, view.count);
    assert(ok);
}

struct sha sha_end(struct sha_stream *stream)
{
    struct sha sha;
    int ok = EVP_DigestFinal_ex((EVP_MD_CTX *)stream, sha.at, NULL);
    assert(ok);
    sha_drop(stream);
    return sha;
}

void sha_drop(struct sha_stream *stream)
{
    EVP_MD_CTX_free((EVP_MD_CTX *)stream);
}

struct sha sha_of(struct bytes view)
{
    struct sha_stream *stream = sha_new();
    sha_add(stream, view);
    return sha_end(stream);
}

void sha_hex(const struct sha *sha, char ret[SHA_HEX_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < SHA_SIZE; i++) {
        ret[2 * i] = digits[sha->at[i] >> 4];
        ret[2 * i + 1] = digits[sha->at[i] & 15];
    }
    ret[2 * SHA_SIZE] = 0;
}

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool sha_from_hex(struct bytes hex, struct sha *ret)
{
    struct sha sha;
    if (hex.count != 2 * SHA_SIZE)
        return false;
    for (int i = 0; i < SHA_SIZE; i++) {
        int high = digit(hex.at[2 * i]), low = digit(hex.at[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        sha.at[i] = (unsigned char)(high << 4 | low);
    }
    *ret = sha;
    return true;
}
