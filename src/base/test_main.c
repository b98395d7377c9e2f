#include "base/test.h"

#include <stdarg.h>
#include <string.h>
#include <time.h>

static struct test *first, **last = &first;
static jmp_buf escape;
static char note[4096];

void test_register(struct test *test)
{
    *last = test;
    last = &test->next;
}

void test_note(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(note, sizeof note, format, args);
    va_end(args);
}

void test_fail(const char *file, int line, const char *what)
{
    printf("  %s:%d: %s\n", file, line, what);
    if (note[0])
        printf("    %s\n", note);
    longjmp(escape, 1);
}

/* Nothing that must survive a longjmp lives in this frame. */
static bool passes(struct test *test)
{
    note[0] = 0;
    if (setjmp(escape))
        return false;
    test->run();
    return true;
}

static double cpu_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* A program that does not compile costs libjq 21 bytes, which it never gives back. Asked by the address sanitizer, where there is one. */
const char *__lsan_default_options(void);
const char *__lsan_default_options(void)
{
    return "print_suppressions=0";
}

const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libjq";
}

int main(int argc, char **argv)
{
    int passed = 0, failed = 0;
    bool quick = argc > 1 && !strcmp(argv[1], "--quick"), times = argc > 1 && !strcmp(argv[1], "--times");
    const char *part = argc > 1 + (quick || times) ? argv[1 + (quick || times)] : "";
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (struct test *test = first; test; test = test->next) {
        if (!strstr(test->file, part) && !strstr(test->name, part))
            continue;
        if (quick && test->slow)
            continue;
        double before = cpu_ms();
        if (passes(test)) {
            passed++;
        } else {
            printf("FAILED %s (%s)\n", test->name, test->file);
            failed++;
        }
        if (times)
            printf("%8.1f ms  %s (%s)\n", cpu_ms() - before, test->name, test->file);
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0 || passed == 0;
}
