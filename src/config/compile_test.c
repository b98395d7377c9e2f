#include "config/compile_test.h"

#include <stdlib.h>

TEST_SLOW(stages_of_workers_join_into_one_leg)
{
    check_stages("  - jq: .a\n    timeout: 2s\n    retry: 5\n  - name: again\n    jq: .b\n    timeout: 1500ms\n",
                 "{\"stages\":[{\"stage\":\"jq\",\"with\":{\"program\":\".a\"}},{\"stage\":\"jq\",\"with\":{\"program\":\".b\"},\"name\":\"again\"}],"
                 "\"timeout_s\":4,\"attempts\":5,\"backoff_ms\":[500,8000]}");
}

TEST(waits_may_be_steady_and_what_a_worker_cannot_obey_is_told)
{
    check_stages("  - jq: .a\n    retry: {jitter: false}\n",
                 "{\"stages\":[{\"stage\":\"jq\",\"with\":{\"program\":\".a\"}}],\"timeout_s\":60,\"attempts\":3,\"backoff_ms\":[500,8000],"
                 "\"jitter\":false}");
    check_mistake("pipeline: p\nstages:\n  - jq: .a\n    retry: {on: [timeout]}\n", 4, 13, "means nothing");
}

TEST(credentials_go_to_no_host_that_the_file_does_not_name)
{
    check_mistake("pipeline: p\nstages:\n  - http: {get: '\\(.url)', auth: {bearer: !env KEY}}\n", 3, 17, "\"base\"");
    check_mistake("pipeline: p\nstages:\n  - http: {get: 'https://api.\\(.where)', headers: {X-Key: !env KEY}}\n", 3, 17, "\"base\"");
    check_mistake("pipeline: p\nstages:\n  - http: {get: /things}\n", 3, 17, "needs a \"base\"");
    check_mistake("pipeline: p\nstages:\n  - remote_job:\n      auth: {bearer: !env KEY}\n      start: {post: 'https://api.example/jobs', id: .id}\n"
                  "      fetch: {get: '\\($start.url)'}\n      also: [{get: '\\($start.errors)', auth: none}]\n", 6, 20, "\"base\"");
    check_stages("  - http: {get: 'https://api.example/\\(.id)', auth: {bearer: !env KEY}}\n",
                 "{\"stages\":[{\"stage\":\"http\",\"with\":{\"method\":\"GET\",\"url\":\"@uri \\\"https://api.example/\\\\(.id)\\\"\","
                 "\"auth\":{\"bearer\":{\"$env\":\"KEY\"}}}}]," LEG_END);
}

TEST(a_stage_that_says_nothing_is_its_name)
{
    check_stages("  - noop\n  - noop: {delay_ms: 3}\n",
                 "{\"stages\":[\"noop\",{\"stage\":\"noop\",\"with\":{\"delay_ms\":3},\"name\":\"noop-2\"}]," LEG_END);
}

TEST(a_stage_that_leaves_ends_its_leg)
{
    check_stages("  - jq: .\n  - http: {get: 'https://h/x'}\n  - jq: .\n",
                 "{\"stages\":[{\"stage\":\"jq\",\"with\":{\"program\":\".\"}}]," LEG_END
                 ",{\"stages\":[{\"stage\":\"http\",\"with\":{\"method\":\"GET\",\"url\":\"@uri \\\"https://h/x\\\"\"}}]," LEG_END
                 ",{\"stages\":[{\"stage\":\"jq\",\"with\":{\"program\":\".\"},\"name\":\"jq-2\"}]," LEG_END);
}

TEST_SLOW(between_split_and_gather_are_legs_of_each_record)
{
    check_stages("  - split: .[]\n  - jq: .a\n  - llm: {model: m, prompt: hello}\n    concurrency: 4\n  - jq: .b\n  - gather:\n",
                 "{\"stages\":[{\"stage\":\"split\",\"with\":{\"program\":\".[]\"}}]," LEG_END
                 ",{\"each\":\"record\",\"stages\":[{\"stage\":\"jq\",\"with\":{\"program\":\".a\"}},"
                 "{\"stage\":\"llm\",\"with\":{\"model\":\"m\",\"prompt\":\"\\\"hello\\\"\",\"into\":\"llm\"},\"concurrency\":4}]," RECORDS_END "}"
                 ",{\"each\":\"record\",\"stages\":[{\"stage\":\"jq\",\"with\":{\"program\":\".b\"},\"name\":\"jq-2\"}]," RECORDS_END "}"
                 ",{\"stages\":[\"gather\"]," LEG_END);
}

TEST_SLOW(marks_go_to_the_last_records_and_the_result_to_a_tail)
{
    check_text("pipeline: p\nparams: {n: integer!}\ntop: {by: .s, keep: 5}\nstop: {when: .s > 1, count: $params.n}\nresult: '{a: .}'\nstats: {n: length}\n"
               "stages: [{split: '.[]'}, {jq: .a}, gather]\n",
               "{\"name\":\"p\",\"params\":{\"n\":{\"type\":\"integer\",\"required\":true}},\"stop\":{\"count\":\"$params.n\"},\"top\":{\"keep\":\"5\"},\"legs\":["
               "{\"stages\":[{\"stage\":\"split\",\"with\":{\"program\":\".[]\"}}]," LEG_END
               ",{\"each\":\"record\",\"stages\":[{\"stage\":\"jq\",\"with\":{\"program\":\".a\"}}]," RECORDS_END
               ",\"marks\":{\"score\":\".s\",\"hit\":\".s > 1\"}},"
               "{\"stages\":[\"gather\",{\"stage\":\"tail\",\"with\":{\"result\":\"{a: .}\",\"stats\":{\"n\":\"length\"}}}]," LEG_END "]}");
}

TEST(without_records_the_tail_marks_too)
{
    check_text("pipeline: p\ntop: {by: .s, keep: 5}\nstages: [{http: {get: 'https://h'}}]\n",
               "{\"name\":\"p\",\"top\":{\"keep\":\"5\"},\"legs\":[{\"stages\":[{\"stage\":\"http\",\"with\":{\"method\":\"GET\",\"url\":\"@uri \\\"https://h\\\"\"}}]," LEG_END
               ",{\"stages\":[{\"stage\":\"tail\",\"with\":{\"score\":\".s\"}}]," LEG_END "]}");
}

TEST_SLOW(what_is_said_at_the_top_is_made_of_units_and_types)
{
    check_text("version: 1\npipeline: p\nstages: [noop]\ndeadline: 1h\nmax_cost: 2.50\nbatch: {by: .g, size: 20, in_flight: 10}\n"
               "params: {name: string!, top: {type: integer, default: 50}}\nvars: {a: [1, x]}\nresult_key: r\n"
               "input: {items: '.urls[]', dedupe: true, files: {accept: [image/png], max_bytes: 10MiB}}\n",
               "{\"name\":\"p\",\"result_key\":\"r\",\"deadline_us\":3600000000,\"max_cost\":2.50,"
               "\"params\":{\"name\":{\"type\":\"string\",\"required\":true},\"top\":{\"type\":\"integer\",\"default\":50}},\"vars\":{\"a\":[1,\"x\"]},"
               "\"input\":{\"items\":\".urls[]\",\"dedupe\":true,\"accept\":[\"image/png\"],\"max_bytes\":10485760},\"batch\":{\"by\":\".g\",\"size\":20},"
               "\"in_flight\":10,\"legs\":[{\"stages\":[\"noop\"]," LEG_END "]}");
}

TEST(an_answers_short_schema_becomes_a_json_schema)
{
    check_stages("  - llm:\n      prompt: x\n      key: !env KEY\n      base: !env LLM_URL http://127.0.0.1:1/v1\n"
                 "      schema: {score: integer 1..10, tags: [string], mood: good|bad, x?: number 0..0.5}\n",
                 "{\"stages\":[{\"stage\":\"llm\",\"with\":{\"base\":{\"$env\":\"LLM_URL\",\"default\":\"http://127.0.0.1:1/v1\"},\"key\":{\"$env\":\"KEY\"},"
                 "\"prompt\":\"\\\"x\\\"\",\"schema\":{\"type\":\"object\",\"properties\":{\"score\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":10},"
                 "\"tags\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},\"mood\":{\"type\":\"string\",\"enum\":[\"good\",\"bad\"]},"
                 "\"x\":{\"type\":\"number\",\"minimum\":0,\"maximum\":0.5}},\"required\":[\"score\",\"tags\",\"mood\"],\"additionalProperties\":false},\"into\":\"llm\"}}]," LEG_END);
}

TEST(texts_of_the_environment_are_looked_up_at_once_and_secrets_never)
{
    setenv("RIVULET_TEST_MODEL", "m-1", 1);
    check_stages("  - llm: {prompt: x, model: !env RIVULET_TEST_MODEL, key: !env RIVULET_TEST_MODEL}\n"
                 "  - llm: {prompt: x, model: !env RIVULET_TEST_NONE m-2}\n",
                 "{\"stages\":[{\"stage\":\"llm\",\"with\":{\"model\":\"m-1\",\"key\":{\"$env\":\"RIVULET_TEST_MODEL\"},\"prompt\":\"\\\"x\\\"\",\"into\":\"llm\"}}]," LEG_END
                 ",{\"stages\":[{\"stage\":\"llm\",\"with\":{\"model\":\"m-2\",\"prompt\":\"\\\"x\\\"\",\"into\":\"llm-2\"},\"name\":\"llm-2\"}]," LEG_END);
    unsetenv("RIVULET_TEST_MODEL");
}

TEST_SLOW(common_keys_have_their_canonical_names)
{
    check_stages("  - http: {post: 'https://h', auth: {bearer: !env T}}\n    when: .a\n    else: .b\n    timeout: 500ms\n"
                 "    retry: {attempts: 2, on: [429, 5xx, network], backoff: 1s..30s, jitter: false}\n    rate: {requests: 500/min, tokens: 200k/min}\n"
                 "    cache: {key: .k, ttl: 14d}\n    on_error: {use: {score: 0}}\n    resource: gpu\n",
                 "{\"stages\":[{\"stage\":\"http\",\"with\":{\"method\":\"POST\",\"url\":\"@uri \\\"https://h\\\"\",\"auth\":{\"bearer\":{\"$env\":\"T\"}}},"
                 "\"when\":\".a\",\"else\":\".b\",\"timeout_us\":500000,\"retry\":{\"attempts\":2,\"on\":[\"429\",\"5xx\",\"network\"],"
                 "\"backoff_us\":[1000000,30000000],\"jitter\":false},\"rate\":{\"requests\":500,\"requests_per_us\":60000000,\"tokens\":200000,"
                 "\"tokens_per_us\":60000000},\"cache\":{\"key\":\".k\",\"ttl_us\":1209600000000},\"on_error\":{\"use\":{\"score\":0}}}],"
                 "\"timeout_s\":1,\"attempts\":2,\"backoff_ms\":[1000,30000],\"jitter\":false,\"resources\":{\"gpu\":1}}");
}

TEST(canonical_text_goes_through_as_it_is)
{
    check_text("{ \"name\":\"mine\", \"legs\":[{\"stages\":[\"noop\"]}]}", "{ \"name\":\"mine\", \"legs\":[{\"stages\":[\"noop\"]}]}");
    check_text("name: mine\nlegs: [{stages: [noop]}]\n", "{\"name\":\"mine\",\"legs\":[{\"stages\":[\"noop\"]}]}");
}

TEST_SLOW(each_mistake_is_told_where_it_is)
{
    check_mistake(HEAD "  - jqq: .a\n", 3, 5, "no stage kind \"jqq\", did you mean \"jq\"?");
    check_mistake(HEAD "  - jq: .a\n    timout: 5s\n", 4, 5, "did you mean \"timeout\"?");
    check_mistake(HEAD "  - jq: .a\n    timeout: 5\n", 4, 14, "a time such as 500ms");
    check_mistake(HEAD "  - jq: '.a | nosuch'\n", 3, 15, "nosuch/0 is not defined");
    check_mistake(HEAD "  - jq: |\n      .a\n      | foo(1)\n", 5, 9, "foo/1 is not defined");
    check_mistake(HEAD "  - jq: {a: .b}\n", 3, 9, "YAML takes {");
    check_mistake(HEAD "  - http: {get: 'https://h/\\(.a'}\n", 3, 17, "\"get\"");
    check_mistake(HEAD "  - http: {base: 'https://h'}\n", 3, 5, "needs an address");
    check_mistake(HEAD "  - gather:\n", 3, 5, "no \"split\" before");
    check_mistake(HEAD "  - split: .[]\n  - exec: [ls]\n", 4, 5, "cannot stand between split and gather");
    check_mistake(HEAD "  - {name: x, jq: .}\n  - {name: x, noop: }\n", 4, 12, "Two stages have the name \"x\"");
    check_mistake(HEAD "  - firestore: {job: a}\n  - noop\n", 3, 5, "must be the last stage");
    check_mistake(HEAD "  - exec: [curl, !env TOKEN]\n", 3, 23, "cannot stand among arguments");
    check_mistake(HEAD "  - llm: {prompt: x, model: !env RIVULET_TEST_NONE}\n", 3, 34, "The environment has no RIVULET_TEST_NONE");
    check_mistake(HEAD "  - llm: {prompt: x, key: sk-123}\n", 3, 27, "secrets come from the environment");
    check_mistake(HEAD "  - jq: .\n    on_error: drop_record\n", 4, 15, "needs records");
    check_mistake(HEAD "  - jq: .\n    cache: {ttl: 1h}\n", 4, 5, "means nothing for \"jq\"");
    check_mistake(HEAD "  - jq: .\n    http: {get: 'http://h'}\n", 4, 5, "one kind");
    check_mistake("pipeline: p\n", 1, 1, "needs \"stages\"");
    check_mistake("stages: [noop]\n", 1, 1, "needs \"pipeline\"");
    check_mistake("pipeline: p\nstages: [noop]\nversion: 2\n", 3, 10, "from 1 to 1");
    check_mistake("pipeline: p\nstages: [noop]\nparams: {a: strin!}\n", 3, 13, "did you mean \"string\"?");
    check_mistake("pipeline: p\nstages: [noop]\nparams: {a: {type: integer, default: x}}\n", 3, 38, "no integer");
    check_mistake("pipeline: p\nstages: [noop]\nvars: {a: !env HOME}\n", 3, 16, "!env cannot stand here");
    check_mistake("pipeline: p\nstages: [noop]\ntop: {by: .a, keep: $params.n}\n", 3, 21, "$params.NAME of a declared parameter");
    check_mistake("pipeline: p\nstages: [noop]\nin_flight: many\n", 3, 12, "whole number");
}

TEST(a_sharp_in_a_plain_program_is_explained)
{
    check_mistake(HEAD "  - jq: .a | test(\"x # y\")\n", 3, 9, "begins a comment");
}

/* Where it is told is tried above; here only that it is. */
TEST_SLOW(each_other_mistake_has_its_sentence)
{
    static const struct bad bad[] = {
        {HEAD "  - jq: .\n    else: .b\n", "\"else\" needs a \"when\""}, {"pipeline: p\nstages: noop\n", "a list of at least one stage"},
        {"pipeline: p\nstages: []\n", "a list of at least one stage"}, {"pipeline: p\nin_flight: 3\nbatch: {by: .g, size: 2, in_flight: 3}\nstages: [noop]\n", "in \"batch\" already"},
        {"pipeline: p\nparams: {a: {default: 1}}\nstages: [noop]\n", "A parameter needs a \"type\""},
        {"pipeline: p\nparams: {a: {type: integer, required: true, default: 1}}\nstages: [noop]\n", "needs no default"},
        {"pipeline: p\nparams: [a]\nstages: [noop]\n", "params"}, {HEAD "  - http: 5\n", "must be a mapping"},
        {HEAD "  - http: {get: 'https://h', post: 'https://h'}\n", "a second one"}, {HEAD "  - jq: .\n    resource: {a: 1, b: 1, c: 1, d: 1, e: 1}\n", "at most 4 names"},
        {HEAD "  - jq: .\n    resource: {a: 0}\n", "a"}, {HEAD "  - jq: .\n    resource: [a]\n", "resource"},
        {HEAD "  - jq: .\n    retry: {attempts: [1]}\n", "attempts"}, {HEAD "  - jq: .\n    retry: {attempts: 1000}\n", "attempts"},
        {HEAD "  - http: {get: 'https://h'}\n    retry: {on: nothing}\n", "on"}, {HEAD "  - http: {get: 'https://h'}\n    retry: {backoff: [1]}\n", "backoff"},
        {HEAD "  - exec: []\n", "exec"}, {HEAD "  - exec: {a: b}\n", "exec"}, {HEAD "  - jq: [a]\n", "jq"},
        {HEAD "  - llm: {prompt: x, model: !env 'a-b'}\n", "!env takes the NAME"}, {HEAD "  - http: {get: 'https://h', headers: [a]}\n", "headers"},
        {"pipeline: p\ndeadline: [1]\nstages: [noop]\n", "deadline"}, {"pipeline: p\nmax_cost: lots\nstages: [noop]\n", "max_cost"},
        {HEAD "  - http: {get: 'https://h'}\n    rate: {requests: [1]}\n", "requests"}, {HEAD "  - http: {get: 'https://h'}\n    rate: 5\n", "rate"},
        {HEAD "  - llm: {prompt: x, key: !env K, schema: {a: nonsense}}\n", "a"}, {HEAD "  - llm: {prompt: x, key: !env K, schema: [1]}\n", "schema"},
        {HEAD "  - jq: !file\n", "file"}, {HEAD "  - jq: !file nowhere.jq\n", "nowhere.jq"},
    };
    check_bad(bad, sizeof bad / sizeof *bad);
}
