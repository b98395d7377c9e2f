#include "cli/report.h"

#include "base/mem.h"
#include "base/test.h"

#include <stdlib.h>
#include <unistd.h>

TEST(halt_is_read_as_it_is_typed)
{
    struct halt halt;
    struct problem problem = {0};
    CHECK(!halt_parse("never", &halt, &problem) && halt.when == HALT_NEVER);
    CHECK(!halt_parse("now,fail=1", &halt, &problem) && halt.when == HALT_NOW && halt.why == HALT_FAIL && halt.value == 1 && !halt.percent);
    CHECK(!halt_parse("soon,done=30%", &halt, &problem) && halt.when == HALT_SOON && halt.why == HALT_DONE && halt.value == 30 && halt.percent);
    static const char *const wrong[] = {"", "now", "later,fail=1", "now,fail", "now,fail=0", "now,fail=101%", "now,wrong=1", "soon,fail=x"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        CHECK(halt_parse(wrong[i], &halt, &problem) < 0);
}

TEST(halt_counts_what_it_is_about)
{
    struct report report = {.options.halt = {HALT_NOW, HALT_FAIL, 50, true}, .failed = 1, .succeeded = 1};
    CHECK_INT(report_halts(&report), HALT_NEVER);      /* a percentage of two items says nothing yet */
    report.failed = 2;
    CHECK_INT(report_halts(&report), HALT_NOW);
    report.options.halt = (struct halt){HALT_SOON, HALT_SUCCESS, 2, false};
    CHECK_INT(report_halts(&report), HALT_NEVER);
    report.succeeded = 2;
    CHECK_INT(report_halts(&report), HALT_SOON);
}

static char path[] = "/tmp/rivulet-report-XXXXXX";

static size_t resumes(enum resume how, char *const *names, int64_t *ret_first)
{
    struct problem problem = {0};
    int64_t *list;
    size_t count;
    CHECK_INT(resume_read(path, how, names, 3, &list, &count, &problem), 0);
    *ret_first = count ? list[0] : -1;
    free(list);
    return count;
}

TEST(a_job_log_is_read_back)
{
    char *names[] = {"a.jpg", "b.jpg", "c.jpg"}, *others[] = {"a.jpg", "x.jpg", "c.jpg"};
    struct report report;
    struct problem problem = {0};
    struct report_options options = {.joblog = path, .host = ":"};
    int64_t first, *list;
    size_t count;
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    CHECK_INT(report_begin(&report, &options, NULL, &problem), 0);
    report_started(&report, 1, 1000000);
    report_ended(&report, 1, BYTES("b.jpg"), true, BYTES("{}\n"), 2500000);
    report_ended(&report, 0, BYTES("a.jpg"), false, BYTES("{}\n"), 2500000);
    report_end(&report);
    CHECK(resumes(RESUME_ALL, names, &first) == 3 && first == 0);
    CHECK(resumes(RESUME_SKIP_LOGGED, names, &first) == 1 && first == 2);
    CHECK(resumes(RESUME_SKIP_SUCCEEDED, names, &first) == 2 && first == 0);
    CHECK(resumes(RESUME_ONLY_FAILED, names, &first) == 1 && first == 0);
    CHECK(resume_read(path, RESUME_SKIP_LOGGED, others, 3, &list, &count, &problem) < 0);
    close(fd);
    unlink(path);
}
