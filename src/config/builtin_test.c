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
