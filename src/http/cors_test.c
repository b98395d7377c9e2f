#include "http/cors.h"
#include "base/test.h"

static const char LIST[] = "https://a.example, http://localhost:3000";

static bool says(const char *origins, const char *origin, const char *line)
{
    struct buf head BUF_OWNED;
    buf_init(&head, 4096);
    cors_put(&head, origins, bytes_of(origin));
    return strstr(buf_z(&head), line) != NULL;
}

TEST(an_origin_is_answered_as_the_list_says)
{
    static const struct { const char *origins, *origin, *allowed; } cases[] = {
        {"*", "https://a.example", "*"}, {"*", "", "*"}, {"", "https://a.example", NULL}, {LIST, "https://a.example", "https://a.example"},
        {LIST, "http://localhost:3000", "http://localhost:3000"}, {LIST, "", NULL}, {LIST, "null", NULL}, {LIST, "*", NULL},
        {LIST, "http://a.example", NULL}, {LIST, "https://a.example:443", NULL}, {LIST, "https://A.example", NULL},
        {LIST, "https://a.example.evil", NULL}, {LIST, "https://a.exampl", NULL}, {LIST, "http://localhost", NULL}, {LIST, LIST, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char line[200];
        bool all = !strcmp(cases[i].origins, "*");
        snprintf(line, sizeof line, "Access-Control-Allow-Origin: %s\r\n", cases[i].allowed ? cases[i].allowed : "");
        test_note("%s asks with \"%s\"", cases[i].origin, cases[i].origins);
        CHECK(says(cases[i].origins, cases[i].origin, cases[i].allowed ? line : "Allow-Origin") == !!cases[i].allowed);
        CHECK(says(cases[i].origins, cases[i].origin, "Allow-Credentials: true\r\n") == (cases[i].allowed && !all));
        CHECK(says(cases[i].origins, cases[i].origin, "Vary: Origin\r\n") == (!all && *cases[i].origins));
    }
}

TEST(what_is_no_origin_is_named)
{
    static const char *const bad[] = {"*", "a.example", "https://", "https://a.example/", "ftp://a", "https://*.a", "null", "https://a.example,b"};
    CHECK_INT(cors_check(LIST, NULL), 0);
    CHECK_INT(cors_check("", NULL), 0);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct problem problem = {0};
        test_note("%s", bad[i]);
        CHECK_INT(cors_check(bad[i], &problem), -1);
        CHECK(strstr(problem.text, "is no origin"));
    }
}
