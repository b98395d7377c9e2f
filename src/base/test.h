/* The unit tests' own words: TEST(a_sentence) { CHECK(...); }. A test registers itself before main; `unit [PART]` runs those
 * whose file or name contains PART and ends with "N passed, N failed". A failed CHECK ends its test, not the run.
 * TEST_SLOW is for those that take a tenth of a second of processor time and more (they compile jq programs, start workers, fill disks): `unit --quick`
 * leaves them out, `unit --times` says what each took. */
#pragma once
#include "base/bytes.h"
#include <setjmp.h>
#include <stdio.h>

struct test {
    const char *name, *file;
    void (*run)(void);
    bool slow;
    struct test *next;
};

void test_register(struct test *test);
_Noreturn void test_fail(const char *file, int line, const char *what);
void test_note(const char *format, ...) __attribute__((format(printf, 1, 2)));    /* printed if the test fails */

#define TEST(sentence) TEST_MADE(sentence, false)
#define TEST_SLOW(sentence) TEST_MADE(sentence, true)
#define TEST_MADE(sentence, slow)                                                                   \
    static void sentence(void);                                                                     \
    __attribute__((constructor)) static void register_##sentence(void)                              \
    {                                                                                               \
        static struct test test = {#sentence, __FILE__, sentence, slow, NULL};                            \
        test_register(&test);                                                                       \
    }                                                                                               \
    static void sentence(void)

#define CHECK(truth) do { if (!(truth)) test_fail(__FILE__, __LINE__, #truth); } while (0)
#define CHECK_INT(have, want) do { long long h_ = (have), w_ = (want); if (h_ != w_) { \
    test_note("have %lld, want %lld", h_, w_); test_fail(__FILE__, __LINE__, #have " == " #want); } } while (0)
#define CHECK_BYTES(have, want) do { struct bytes h_ = (have), w_ = (want); if (!bytes_equal(h_, w_)) { \
    test_note("have \"%.*s\"\n    want \"%.*s\"", BYTES_ARG(h_), BYTES_ARG(w_)); test_fail(__FILE__, __LINE__, #have " == " #want); } } while (0)
#define CHECK_TEXT(have, want) CHECK_BYTES(bytes_of(have), bytes_of(want))
