#include "base/test.h"

#include <stdarg.h>
#include <string.h>

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

int main(int argc, char **argv)
{
    int passed = 0, failed = 0;
    const char *part = argc > 1 ? argv[1] : "";
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (struct test *test = first; test; test = test->next) {
        if (!strstr(test->file, part) && !strstr(test->name, part))
            continue;
        if (passes(test)) {
            passed++;
        } else {
            printf("FAILED %s (%s)\n", test->name, test->file);
            failed++;
        }
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0 || passed == 0;
}
