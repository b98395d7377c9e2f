/* Each form that a value may have, and what is told of the forms that it may not have. */
#include "config/compile_test.h"

#include "base/json.h"
#include "base/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TOP(line) "pipeline: p\n" line "\nstages: [noop]\n"
#define CALL "  - http: {get: 'https://h'}\n    "
#define LLM(more) HEAD "  - llm: {prompt: x, " more "}\n"
#define JOB(poll, fetch) \
    HEAD "  - remote_job:\n      base: https://h\n      start: {post: /s, id: .i}\n      poll: {get: /p, state: .s, " poll "}\n      fetch: {" fetch "}\n"

#define BAD(table) check_bad(table, sizeof table / sizeof *table)

TEST_SLOW(a_value_of_the_wrong_form_is_told_what_it_must_be)
{
    static const struct bad bad[] = {
        {HEAD "  - jq: ' '\n", "\"program\" must be a jq program, not \" \""},
        {HEAD "  - jq: \"\\n\"\n", "must be a jq program"},
        {HEAD "  - jq: !env X\n", "\"program\" must be a jq program; !env cannot stand here"},
        {HEAD "  - jq:\n", "\"jq\" needs \"program\""},
        {HEAD "  - http: {get: {a: b}}\n", "not a mapping: YAML takes {"},
        {HEAD "  - llm: {prompt: [x]}\n", "not a list: YAML takes {"},
        {HEAD "  - noop\n    timeout: !env X\n", "This is no YAML"},
        {HEAD "  - noop:\n    timeout: !env X\n", "\"timeout\" must be a time such as 500ms, 30s, 5m, 1h or 14d; !env cannot stand here"},
        {HEAD "  - noop:\n    timeout: ''\n", "not nothing"},
        {HEAD "  - noop:\n    timeout: 1us\n", "\"timeout\" is too small: 1us"},
        {HEAD "  - noop:\n    timeout: 2d\n", "\"timeout\" is too large: 2d"},
        {HEAD CALL "retry: {backoff: soon}\n", "two times such as 500ms..8s, not \"soon\""},
        {HEAD CALL "retry: {backoff: 1s..2d}\n", "\"backoff\" is out of its range: 1s..2d"},
        {HEAD CALL "retry: {backoff: 2d}\n", "\"backoff\" is out of its range: 2d"},
        {HEAD CALL "retry: {jitter: maybe}\n", "\"jitter\" must be true or false, not \"maybe\""},
        {HEAD CALL "retry:\n", "\"retry\" must be a mapping, not nothing"},
        {HEAD CALL "retry: {on: []}\n", "not a list"},
        {HEAD CALL "retry: {on: [[network]]}\n", "\"on\" must be a list of network, timeout"},
        {HEAD CALL "retry: {on: ['']}\n", "\"on\" must be a list of network, timeout"},
        {HEAD CALL "retry: {on: ['exit:0']}\n", "not \"exit:0\""},
        {HEAD CALL "retry: {on: ['exit:256']}\n", "not \"exit:256\""},
        {HEAD CALL "retry: {on: ['exit:x']}\n", "not \"exit:x\""},
        {HEAD CALL "retry: {on: [abc]}\n", "not \"abc\""},
        {HEAD CALL "retry: {on: ['099']}\n", "not \"099\""},
        {HEAD CALL "retry: {on: [600]}\n", "not \"600\""},
        {HEAD CALL "rate: !env X\n", "a rate such as 500/min, 10/s or 200k/h; !env cannot stand here"},
        {HEAD "  - http: {get: 'https://h', accepted: [!env X]}\n", "a list of HTTP statuses such as [200, 202]; !env cannot stand here"},
        {HEAD "  - http: {get: 'https://h', base: 'http://'}\n", "\"base\" must be an address that begins with http:// or https://"},
        {HEAD "  - http: {get: 'https://h', base: 'https://'}\n", "\"base\" must be an address that begins with http:// or https://"},
        {HEAD "  - http: {get: 'https://h', base: 'ftp://h'}\n", "\"base\" must be an address that begins with http:// or https://"},
        {HEAD "  - firestore: {job: [a]}\n", "not a list: YAML takes {"},
        {LLM("price: 5"), "\"price\" must be a mapping, not \"5\""},
        {LLM("price: {in: 2000000}"), "\"in\" must be a number, not \"2000000\""},
        {LLM("provider: x"), "\"provider\" must be a mapping, not \"x\""},
        {LLM("model: !env '1a'"), "not \"1a\""}, {LLM("model: !env 'a{'"), "not \"a{\""}, {LLM("model: !env 'a:'"), "not \"a:\""},
        {JOB("done: [~]", "get: /f"), "\"done\" must be a list of texts, numbers, true or false"},
        {JOB("done: [x], every: 1us..1s", "get: /f"), "\"every\" is out of its range: 1us..1s"},
        {JOB("done: [x]", "as: json"), "needs an address: get, post, put, patch or delete, or inline"},
        {JOB("done: [x]", "get: /f, inline: .r"), "can call one address only"},
        {TOP("max_cost: -1"), "\"max_cost\" must be a number, not \"-1\""},
        {TOP("stats: {n: !env X}"), "\"n\" must be a jq program; !env cannot stand here"},
        {TOP("top: {by: .a, keep: [1]}"), "\"keep\" must be a whole number, or $params.NAME of a declared parameter, not a list"},
        {TOP("top: {by: .a, keep: !env X}"), "$params.NAME of a declared parameter; !env cannot stand here"},
        {TOP("top: {by: .a, keep: $params.abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijk}"), "of a declared parameter, not"},
        {"pipeline: abcdefghijklmnopqrstuvwxyz123456\nstages: [noop]\n", "a name of at most 31 letters"},
        {"pipeline: ''\nstages: [noop]\n", "a name of at most 31 letters, digits, _ and -, not nothing"},
    };
    BAD(bad);
}

TEST(each_kind_of_parameter_takes_a_default_of_its_own_type_only)
{
    static const char *const types[][3] = {
        {"string", "a", "1"}, {"integer", "1", "1.5"}, {"number", "1.5", "a"}, {"number", "1", "true"}, {"boolean", "true", "yes"},
        {"array", "[1]", "{a: 1}"}, {"object", "{a: 1}", "[1]"}, {"any", "a", NULL},
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        char yaml[200], json[200], told[100];
        const char *value = types[i][1], *type = types[i][0];
        snprintf(yaml, sizeof yaml, TOP("params: {a: {type: %s, default: %s}}"), type, value);
        const char *as_json = *value == 'a' ? "\"a\"" : *value == '{' ? "{\"a\":1}" : value;
        snprintf(json, sizeof json, "{\"name\":\"p\",\"params\":{\"a\":{\"type\":\"%s\",\"default\":%s}},\"legs\":[{\"stages\":[\"noop\"]," LEG_END "]}", type, as_json);
        check_text(yaml, json);
        snprintf(yaml, sizeof yaml, TOP("params: {a: {type: %s, default: %s}}"), type, types[i][2] ? types[i][2] : "!env X");
        snprintf(told, sizeof told, types[i][2] ? "The default is no %s." : "!env cannot stand here", type);
        check_bad(&(struct bad){yaml, told}, 1);
    }
}

TEST(what_else_a_parameter_may_not_be)
{
    static const struct bad bad[] = {
        {TOP("params: {a: {type: [x]}}"), "A parameter's type is string, integer"}, {TOP("params: {a: }"), "A parameter's type is string, integer"},
        {TOP("params: {a: {type: strin, default: 1}}"), "did you mean \"string\"?"}, {TOP("params: {a: {type: any, defalt: 1}}"), "did you mean \"default\"?"},
        {TOP("params: {a: {type: any, default: [1, !env X]}}"), "!env cannot stand here"},
        {TOP("params: {a: {type: any!, required: maybe}}"), "\"required\" must be true or false"},
    };
    BAD(bad);
    check_text(TOP("params: {a: any!, b: {type: string, required: true}}"),
               "{\"name\":\"p\",\"params\":{\"a\":{\"type\":\"any\",\"required\":true},\"b\":{\"type\":\"string\",\"required\":true}},"
               "\"legs\":[{\"stages\":[\"noop\"]," LEG_END "]}");
}

/* What `schema` becomes in the canonical text. */
static void check_schema(const char *schema, const char *json)
{
    struct buf yaml BUF_OWNED, legs BUF_OWNED;
    buf_init(&yaml, 4096);
    buf_init(&legs, 4096);
    buf_print(&yaml, "  - llm: {prompt: x, schema: %s}\n", schema);
    buf_print(&legs, "{\"stages\":[{\"stage\":\"llm\",\"with\":{\"prompt\":\"\\\"x\\\"\",\"schema\":%s,\"into\":\"llm\"}}]," LEG_END, json);
    check_stages(buf_z(&yaml), buf_z(&legs));
}

TEST(a_json_schema_goes_through_as_it_is)
{
    check_schema("{$schema: s}", "{\"$schema\":\"s\"}");
    check_schema("{anyOf: [{type: string}]}", "{\"anyOf\":[{\"type\":\"string\"}]}");
    check_schema("{$ref: r}", "{\"$ref\":\"r\"}");
    check_schema("{type: object, properties: {}}", "{\"type\":\"object\",\"properties\":{}}");
    check_schema("{type: array, items: {}}", "{\"type\":\"array\",\"items\":{}}");
    check_schema("{type: string, enum: [a]}", "{\"type\":\"string\",\"enum\":[\"a\"]}");
}

TEST(a_member_that_is_called_type_makes_no_json_schema)
{
    check_schema("{type: string}", "{\"type\":\"object\",\"properties\":{\"type\":{\"type\":\"string\"}},\"required\":[\"type\"],\"additionalProperties\":false}");
    check_schema("{type: [string], items: integer}",
                 "{\"type\":\"object\",\"properties\":{\"type\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},\"items\":{\"type\":\"integer\"}},"
                 "\"required\":[\"type\",\"items\"],\"additionalProperties\":false}");
}

TEST(what_no_answer_can_be_is_told)
{
    static const struct bad bad[] = {
        {LLM("schema: string"), "\"schema\" must be a mapping of names to types"}, {LLM("schema: {}"), "\"schema\" must be a mapping of names to types"},
        {LLM("schema: {a: {}}"), "A type must stand here"}, {LLM("schema: {a: [string, integer]}"), "A type must stand here"},
        {LLM("schema: {a: !env X}"), "A type must stand here"}, {LLM("schema: {a: }"), "A type must stand here"},
        {LLM("schema: {a: [nonsense]}"), "A type is string, integer, number or boolean"},
        {LLM("schema: {a: integer lots}"), "Behind integer may stand a range such as 1..10, not \"lots\""},
        {LLM("schema: {a: string 1..2}"), "Behind string nothing may stand, not \"1..2\""},
    };
    BAD(bad);
}

TEST(a_schema_may_lie_in_a_file_of_its_own)
{
    char folder[] = "/tmp/rivulet-compile-XXXXXX", path[64], beside[64];
    static const struct { const char *file, *told; } cases[] = {{"{\"type\":\"object\"}\n", ""}, {"type: object\n", "must be a JSON Schema in that file: not valid JSON"}};
    CHECK(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/p.yaml", folder);
    snprintf(beside, sizeof beside, "%s/s.json", folder);
    for (size_t i = 0; i < 2; i++) {
        struct mistakes mistakes = {0};
        struct buf text BUF_OWNED, told BUF_OWNED;
        buf_init(&text, 65536);
        buf_init(&told, 65536);
        FILE *file = fopen(beside, "w");
        fputs(cases[i].file, file);
        fclose(file);
        bool well = compile_pipeline(path, BYTES(LLM("schema: !file s.json")), &mistakes, &text);
        mistakes_print(&mistakes, &told);
        test_note("%s%s", buf_z(&text), buf_z(&told));
        CHECK(well == !*cases[i].told);
        CHECK(strstr(well ? buf_z(&text) : buf_z(&told), well ? "\"schema\":{\"type\":\"object\"}" : cases[i].told));
        mistakes_done(&mistakes);
    }
    unlink(beside);
    rmdir(folder);
}

TEST(a_variable_may_be_empty_or_named_by_a_file)
{
    setenv("RIVULET_TEST_1_a", "", 1);
    check_stages("  - llm: {prompt: x, model: !env RIVULET_TEST_1_a m-2}\n",
                 "{\"stages\":[{\"stage\":\"llm\",\"with\":{\"model\":\"m-2\",\"prompt\":\"\\\"x\\\"\",\"into\":\"llm\"}}]," LEG_END);
    unsetenv("RIVULET_TEST_1_a");
    setenv("RIVULET_TEST_B_FILE", "/nowhere/at/all", 1);
    check_bad(&(struct bad){LLM("model: !env RIVULET_TEST_B"), "\"/nowhere/at/all\", which should hold RIVULET_TEST_B, cannot be read"}, 1);
    unsetenv("RIVULET_TEST_B_FILE");
}

TEST(a_list_of_one_may_be_written_without_brackets)
{
    check_stages("  - http: {get: 'http://h', redirects: false, accepted: 202}\n    retry: {on: 'exit:3'}\n    concurrency: 1k\n",
                 "{\"stages\":[{\"stage\":\"http\",\"with\":{\"method\":\"GET\",\"url\":\"@uri \\\"http://h\\\"\",\"accepted\":[202],\"redirects\":false},"
                 "\"retry\":{\"on\":[\"exit:3\"]},\"concurrency\":1000}]," LEG_END);
}

#define JOB_LEG(poll, fetch) "{\"stages\":[{\"stage\":\"remote_job\",\"with\":{\"base\":\"https://h\",\"start\":{\"method\":\"POST\",\"url\":\"@uri \\\"/s\\\"\",\"id\":\".i\"}," \
    "\"poll\":{\"method\":\"GET\",\"url\":\"@uri \\\"/p\\\"\",\"state\":\".s\"," poll "},\"fetch\":{" fetch "}"
#define JOB_END "}}],\"timeout_s\":3600,\"attempts\":3,\"backoff_ms\":[500,8000]}"

TEST_SLOW(a_remote_jobs_result_comes_inline_in_parts_or_from_several_places)
{
    check_text(JOB("done: [true, 2], every: 1s..2s", "inline: .r"),
               "{\"name\":\"p\",\"legs\":[" JOB_LEG("\"done\":[true,2],\"every_us\":[1000000,2000000]", "\"inline\":\".r\"") JOB_END "]}");
    check_text(JOB("done: x", "get: /f, auth: same, parts: {count: .n}") "      also: {get: /e, auth: none}\n",
               "{\"name\":\"p\",\"legs\":[" JOB_LEG("\"done\":[\"x\"]", "\"method\":\"GET\",\"url\":\"@uri \\\"/f\\\"\",\"auth\":\"same\",\"parts\":{\"count\":\".n\"}")
               ",\"also\":[{\"method\":\"GET\",\"url\":\"@uri \\\"/e\\\"\",\"auth\":\"none\"}]" JOB_END "]}");
}
