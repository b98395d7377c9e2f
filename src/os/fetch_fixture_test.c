/* Answers that are recorded, and replayed without a network. */
#include "os/fetch_test.h"

#include "os/file.h"

#include <dirent.h>
#include <fcntl.h>

static void remove_dir(const char *path)
{
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir && (entry = readdir(dir));)
        unlinkat(dirfd(dir), entry->d_name, 0);
    if (dir)
        closedir(dir);
    rmdir(path);
}

/* The text of all files of the folder. */
static char *text_of(const char *path)
{
    struct buf all BUF_OWNED;
    char name[512];
    buf_init(&all, 4 * 1024 * 1024);
    DIR *dir = opendir(path);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        buf_print(&all, "%s\n", entry->d_name);
        if (entry->d_name[0] != '.')
            file_read(name, &all);
    }
    closedir(dir);
    return buf_take(&all, NULL);
}

TEST(what_was_recorded_is_replayed_without_a_network)
{
    char dir[] = "/tmp/fixtures-XXXXXX";
    struct bytes secret = BYTES("Authorization: Bearer geheim");
    struct fetch_request post = {.method = "POST", .body = BYTES("[1]"), .headers = &secret, .headers_count = 1};
    CHECK(mkdtemp(dir));
    open_all(&(struct fetch_options){.fixtures = dir, .record = true});
    int port = server.port;
    call(post, "/x?api_key=geheim&page=2&notify=http://me/geheim");
    call((struct fetch_request){0}, "/ms");
    call((struct fetch_request){0}, "/x");
    call((struct fetch_request){.spool = true, .answer_max = 1000000}, "/many");
    close(got.file);
    close_all();
    char *text MEM_OWNED = text_of(dir);
    CHECK(!strstr(text, "geheim") && !strstr(text, "Cookie"));
    CHECK(strstr(text, "page=2") && strstr(text, "\"body\":{\"ok\":true}") && strstr(text, "X-RateLimit-Left"));

    open_all(&(struct fetch_options){.fixtures = dir});
    close_server();
    open_server();
    server.port = port;                          /* nobody listens there any more: the addresses are those of the recording */
    for (int i = 0; i < 2; i++) {
        call(post, "/x?api_key=other&page=2&notify=http://me/again");
        CHECK_INT(got.status, 200);
        CHECK_TEXT(got.body, "{\"ok\":true}");
        CHECK_TEXT(got.limit, "3");
        CHECK_TEXT(got.type, "application/json");
    }
    call((struct fetch_request){0}, "/ms");
    CHECK_INT(got.status, 429);
    CHECK_INT(got.retry_after_us, 250000);
    call((struct fetch_request){.spool = true, .answer_max = 1000000}, "/many");
    CHECK(got.file >= 0);
    CHECK_INT(lseek(got.file, 0, SEEK_END), 300000);
    close(got.file);
    call((struct fetch_request){.spool = true, .answer_max = 1000}, "/many");
    CHECK_INT(got.end, FETCH_TOO_LARGE);
    post.body = BYTES("[2]");
    call(post, "/x?api_key=other&page=2");
    CHECK_INT(got.end, FETCH_REFUSED);
    CHECK(strstr(got.problem, "no recorded answer") && strstr(got.problem, dir));
    CHECK_INT(server.hits, 0);
    close_all();
    remove_dir(dir);
}

static void write_fixture(const char *dir, const char *name, int number, const char *state)
{
    char path[512], text[256];
    snprintf(path, sizeof path, "%s/%s-%d.json", dir, name, number);
    snprintf(text, sizeof text, "{\"request\":{},\n \"response\": { \"status\": 200,\n \"body\": {\"state\": \"%s\"} }}", state);
    CHECK_INT(file_replace(path, bytes_of(text)), 0);
}

TEST(calls_that_are_the_same_get_the_files_in_order_and_the_last_again)
{
    char dir[] = "/tmp/fixtures-XXXXXX", name[256] = "";
    CHECK(mkdtemp(dir));
    open_all(&(struct fetch_options){.fixtures = dir});
    call((struct fetch_request){0}, "http://collector.invalid/progress");
    CHECK_INT(got.end, FETCH_REFUSED);
    const char *at = strstr(got.problem, "GET_"), *end = at ? strstr(at, "-1.json") : NULL;
    CHECK(end);
    snprintf(name, sizeof name, "%.*s", (int)(end - at), at);
    write_fixture(dir, name, 1, "building");
    write_fixture(dir, name, 2, "ready");
    close_all();
    open_all(&(struct fetch_options){.fixtures = dir});
    static const char *const states[] = {"building", "ready", "ready"};
    for (int i = 0; i < 3; i++) {
        call((struct fetch_request){0}, "http://collector.invalid/progress");
        test_note("%s %s", got.problem, got.body);
        CHECK(strstr(got.body, states[i]));
    }
    close_all();
    remove_dir(dir);
}

TEST(a_folder_of_fixtures_that_is_not_there_is_told_at_once)
{
    struct problem problem = {0};
    CHECK_INT(loop_open(&loop, &problem), 0);
    CHECK(fetch_open(loop, &(struct fetch_options){.fixtures = "/nowhere/at/all"}, &fetch, &problem) < 0);
    CHECK(strstr(problem.text, "/nowhere/at/all"));
    problem = (struct problem){0};
    CHECK(fetch_open(loop, &(struct fetch_options){.allow = "house"}, &fetch, &problem) < 0);
    CHECK(strstr(problem.text, "house"));
    loop_close(loop);
}
