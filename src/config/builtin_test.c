#include "config/builtin.h"
#include "base/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

TEST(the_built_in_pipelines_are_sound)
{
    static const char *const names[] = {"decklists", "noop"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct problem problem = {0};
        struct pipeline *pipeline = builtin_load(bytes_of(names[i]), NULL, &problem);
        test_note("%s", problem.text);
        CHECK(pipeline);
        CHECK_TEXT(pipeline->name, names[i]);
        pipeline_free(pipeline);
    }
}

/* Jobs go on with the text that they began with, which is known by its hash. */
TEST(decklists_is_the_text_that_it_always_was)
{
    struct problem problem = {0};
    struct pipeline *pipeline = builtin_load(BYTES("decklists"), NULL, &problem);
    CHECK(pipeline);
    CHECK_TEXT(pipeline->text, "{\"name\":\"decklists\",\"result_key\":\"decklist\",\"legs\":["
                               "{\"stages\":[\"decklist\"],\"timeout_s\":60,\"attempts\":3,\"backoff_ms\":[200,5000]}]}");
    pipeline_free(pipeline);
}

TEST(of_a_file_with_mistakes_the_first_is_told)
{
    char path[] = "/tmp/rivulet-pipeline-XXXXXX";
    struct problem problem = {0};
    int fd = mkstemp(path);
    static const char text[] = "pipeline: p\nstages:\n  - noop\n  - jqq: .\ndeadlin: 5s\n";
    CHECK_INT(write(fd, text, sizeof text - 1), sizeof text - 1);
    close(fd);
    CHECK(!builtin_load(BYTES("p"), path, &problem));
    unlink(path);
    test_note("%s", problem.text);
    CHECK(strstr(problem.text, "has 2 mistakes; ") && strstr(problem.text, ":4:5: There is no stage kind \"jqq\"") && strstr(problem.text, "`rivulet check "));
}

TEST(an_unknown_pipeline_is_answered_with_the_known_ones)
{
    struct problem problem = {0};
    CHECK(!builtin_load(BYTES("decklist"), NULL, &problem));
    CHECK(strstr(problem.text, "decklists, noop"));
}

TEST(a_pipeline_file_is_read_or_its_fault_told)
{
    char path[] = "/tmp/rivulet-pipeline-XXXXXX";
    struct problem problem = {0};
    int fd = mkstemp(path);
    static const char text[] = "{\"name\":\"mine\",\"legs\":[{\"stages\":[\"noop\"]}]}";
    CHECK_INT(write(fd, text, sizeof text - 1), sizeof text - 1);
    close(fd);
    struct pipeline *pipeline = builtin_load(BYTES("decklists"), path, &problem);
    CHECK(pipeline);
    CHECK_TEXT(pipeline->name, "mine");
    pipeline_free(pipeline);
    unlink(path);
    CHECK(!builtin_load(BYTES("decklists"), path, &problem));
    CHECK(strstr(problem.text, path));
}
