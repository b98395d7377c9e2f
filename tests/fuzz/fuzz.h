/* The fuzz targets' own words. A target is a file fuzz_NAME.c with one FUZZ_TARGET(NAME) { … }, which sees `input`, a block of exactly that size. It holds
 * no file, starts no process, waits for nothing, and leaves nothing behind; what must hold is said by fuzz_must, which ends the process.
 *
 * Each is built three ways: with libFuzzer, with AFL++ (run.sh, afl.sh), and all of them into `fuzz-replay`, which tries what is kept in corpus/ and
 * found/ again under any compiler. */
#pragma once
#include "base/bytes.h"
#include "base/problem.h"

#include <stdint.h>
#include <stdlib.h>

struct fuzz_target {
    const char *name;
    void (*run)(struct bytes input);
    struct fuzz_target *next;
};
void fuzz_register(struct fuzz_target *target);

#define FUZZ_TARGET(name)                                                                 \
    static void fuzz_run(struct bytes input);                                             \
    __attribute__((constructor)) static void fuzz_register_##name(void)                   \
    {                                                                                     \
        static struct fuzz_target target = {#name, fuzz_run, NULL};                       \
        fuzz_register(&target);                                                           \
    }                                                                                     \
    static void fuzz_run(struct bytes input)

/* `what` must hold; else it is printed with its place, and the process aborts. */
#define fuzz_must(truth, what) do { if (!(truth)) fuzz_broken(__FILE__, __LINE__, what); } while (0)
_Noreturn void fuzz_broken(const char *file, int line, const char *what);
/* Not a problem, or one clear sentence: UTF-8, no control characters. */
void fuzz_check_problem(const struct problem *problem, bool failed);

/* Choices out of the input: structure from bytes. Behind its end everything is 0, so that any input is a whole one. */
uint8_t fuzz_byte(struct bytes *input);
uint64_t fuzz_number(struct bytes *input, int bytes);            /* little-endian, 1 … 8 bytes */
uint64_t fuzz_below(struct bytes *input, uint64_t bound);        /* 0 … bound - 1; bound > 0 */
bool fuzz_chance(struct bytes *input, int percent);
struct bytes fuzz_piece(struct bytes *input, size_t max);        /* so many bytes as its first byte says; borrowed */
struct bytes fuzz_until(struct bytes *input, char mark);         /* up to that mark, as bytes_cut */
const char *fuzz_word(struct bytes *input, const char *const *words, size_t count);
#define FUZZ_WORD(input, words) fuzz_word((input), (words), sizeof(words) / sizeof *(words))

/* What --wrap puts in the place of what is dear: set by a target for its run, reset by fuzz_common before the next. */
extern struct fuzz_stand_ins {
    bool jq;            /* expr_compile takes any program without "wrong" in it */
    bool blobs;         /* blob_put throws away */
} fuzz_stand_ins;
