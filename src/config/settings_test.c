#include "config/settings.h"
#include "base/test.h"

#include <stdlib.h>

static void clear(void)
{
    static const char *const names[] = {"SERVICE_HOST", "PORT", "SERVICE_PORT", "MAX_WORKERS", "USE_GPU", "ENABLE_PARALLEL", "MAX_BATCH_SIZE", "RIVULET_ENGINE", "RIVULET_KEYS", "RIVULET_LOG"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unsetenv(names[i]);
}

TEST(a_flag_wins_over_the_environment_and_that_over_the_default)
{
    struct settings settings;
    struct problem problem = {0};
    clear();
    setenv("SERVICE_PORT", "9001", 1);
    setenv("MAX_BATCH_SIZE", "20", 1);
    setenv("ENABLE_PARALLEL", "True", 1);
    CHECK_INT(settings_init(&settings, &problem), 0);
    CHECK_INT(settings.port, 9001);
    CHECK_INT(settings.max_batch, 20);
    CHECK_INT(settings.max_file_mb, 10);
    CHECK(settings.enable_parallel && !settings.host_told);
    CHECK_INT(settings_flag(&settings, BYTES("listen"), "[::1]:0", &problem), 0);
    CHECK_TEXT(settings.host, "::1");
    CHECK(settings.port == 0 && !settings.host_told);
    CHECK_INT(settings_flag(&settings, BYTES("workers"), "4", &problem), 0);
    CHECK_INT(settings.max_workers, 4);
    CHECK_INT(settings_flag(&settings, BYTES("wrokers"), "4", &problem), 1);
    settings_done(&settings);
    clear();
}

TEST(a_bad_value_names_the_setting_the_value_and_the_range)
{
    struct settings settings;
    static const char *const bad[][3] = {{"PORT", "70000", "0 to 65535"}, {"MAX_WORKERS", "many", "1 to 64"}, {"USE_GPU", "perhaps", "true or false"},
                                         {"RIVULET_ENGINE", "magic", "onnx"}, {"RIVULET_LOG", "xml", "text, json or off"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct problem problem = {0};
        clear();
        setenv(bad[i][0], bad[i][1], 1);
        CHECK_INT(settings_init(&settings, &problem), -1);
        test_note("%s", problem.text);
        CHECK(strstr(problem.text, bad[i][1]) && strstr(problem.text, bad[i][2]));
        settings_done(&settings);
    }
    clear();
}

TEST(without_keys_a_server_stays_on_this_machine_unless_the_environment_says_otherwise)
{
    static const struct { const char *host, *listen, *keys; int answer; bool warned; } cases[] = {
        {NULL, NULL, NULL, 0, false}, {NULL, "127.0.0.1:0", NULL, 0, false}, {NULL, "[::1]:0", NULL, 0, false}, {NULL, "localhost:0", NULL, 0, false},
        {NULL, "0.0.0.0:0", NULL, -1, false}, {NULL, "[::]:0", NULL, -1, false}, {NULL, "example.org:0", NULL, -1, false},
        {NULL, "0.0.0.0:0", "some", 0, false}, {"0.0.0.0", NULL, NULL, 0, true}, {"0.0.0.0", NULL, "some", 0, false},
        {"0.0.0.0", "127.0.0.1:0", NULL, 0, false}, {"::", "0.0.0.0:0", NULL, 0, true}, {"127.0.0.1", "0.0.0.0:0", NULL, -1, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct settings settings;
        struct problem problem = {0};
        struct buf note BUF_OWNED;
        buf_init(&note, 1000);
        clear();
        if (cases[i].host)
            setenv("SERVICE_HOST", cases[i].host, 1);
        if (cases[i].keys)
            setenv("RIVULET_KEYS", cases[i].keys, 1);
        CHECK_INT(settings_init(&settings, &problem), 0);
        if (cases[i].listen)
            CHECK_INT(settings_flag(&settings, BYTES("listen"), cases[i].listen, &problem), 0);
        test_note("case %zu", i);
        CHECK_INT(settings_check_reach(&settings, &note, &problem), cases[i].answer);
        CHECK((note.count > 0) == cases[i].warned && problem_is(&problem) == (cases[i].answer < 0));
        settings_done(&settings);
    }
    clear();
}

TEST(a_gpu_is_shared_by_two_workers_at_most)
{
    struct settings settings;
    struct buf note BUF_OWNED;
    buf_init(&note, 1000);
    clear();
    CHECK_INT(settings_init(&settings, NULL), 0);
    settings.use_gpu = true;
    settings.max_workers = 4;
    settings_finish(&settings, &note);
    CHECK_INT(settings.max_workers, 2);
    CHECK(strstr(buf_z(&note), "4"));
    settings_done(&settings);
}
