#include "config/shelf.h"
#include "base/buf.h"
#include "base/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct file {
    char path[32];
};

static struct file pipeline_file(const char *name)
{
    struct file file = {"/tmp/rivulet-shelf-XXXXXX"};
    int fd = mkstemp(file.path);
    CHECK(dprintf(fd, "{\"name\":\"%s\",\"legs\":[{\"stages\":[\"noop\"]}]}", name) > 0);
    close(fd);
    return file;
}

static void check_names(const struct shelf *shelf, const char *names)
{
    struct buf buf BUF_OWNED;
    buf_init(&buf, 1024);
    shelf_names(shelf, &buf);
    CHECK_TEXT(buf_z(&buf), names);
}

TEST(decklists_is_on_the_shelf_where_there_is_a_catalogue)
{
    struct file mine = pipeline_file("mine"), other = pipeline_file("other");
    struct problem problem = {0};
    struct shelf shelf;
    char files[80];
    snprintf(files, sizeof files, "%s:%s", mine.path, other.path);
    CHECK_INT(shelf_fill(&shelf, NULL, true, &problem), 0);
    check_names(&shelf, "decklists, noop");
    CHECK(shelf_find(&shelf, BYTES("decklists"))->images && !shelf_find(&shelf, BYTES("noop"))->images);
    shelf_done(&shelf);
    CHECK_INT(shelf_fill(&shelf, files, true, &problem), 0);
    check_names(&shelf, "mine, other, decklists, noop");
    shelf_done(&shelf);
    CHECK_INT(shelf_fill(&shelf, files, false, &problem), 0);
    check_names(&shelf, "mine, other, noop");
    CHECK(!shelf_find(&shelf, BYTES("decklists")));
    shelf_done(&shelf);
    unlink(mine.path);
    unlink(other.path);
}

TEST(two_files_of_one_name_are_refused_and_a_file_hides_what_is_built_in)
{
    struct file mine = pipeline_file("noop");
    struct problem problem = {0};
    struct shelf shelf;
    char files[80];
    CHECK_INT(shelf_fill(&shelf, mine.path, false, &problem), 0);
    check_names(&shelf, "noop");
    shelf_done(&shelf);
    snprintf(files, sizeof files, "%s:%s", mine.path, mine.path);
    CHECK_INT(shelf_fill(&shelf, files, false, &problem), -1);
    CHECK(strstr(problem.text, "\"noop\""));
    shelf_done(&shelf);
    unlink(mine.path);
}

TEST(one_command_takes_the_pipeline_of_its_name)
{
    struct file mine = pipeline_file("mine"), other = pipeline_file("other");
    struct problem problem = {0};
    struct shelf shelf;
    char files[80];
    snprintf(files, sizeof files, "%s:%s", mine.path, other.path);
    CHECK_INT(shelf_fill_one(&shelf, BYTES("other"), files, &problem), 0);
    check_names(&shelf, "other");
    shelf_done(&shelf);
    CHECK_INT(shelf_fill_one(&shelf, BYTES("decklists"), files, &problem), 0);
    check_names(&shelf, "mine");
    shelf_done(&shelf);
    CHECK_INT(shelf_fill_one(&shelf, BYTES("noop"), NULL, &problem), 0);
    check_names(&shelf, "noop");
    shelf_done(&shelf);
    unlink(mine.path);
    unlink(other.path);
}
