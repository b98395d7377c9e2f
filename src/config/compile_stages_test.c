/* What stages are to one another, and the legs that they become. */
#include "config/compile_test.h"

#include "base/limits.h"

#define BAD(table) check_bad(table, sizeof table / sizeof *table)
#define NOOP_LEG(more) "{\"stages\":[" more "]," LEG_END

TEST_SLOW(what_no_stage_can_be_is_told)
{
    static const struct bad bad[] = {
        {HEAD "  - jq: {program: ., when: .a}\n    when: .b\n", "\"when\" stands in the stage twice"},
        {HEAD "  - noop:\n    name: [a]\n", "\"name\" must be a name of at most 31 letters"},
        {HEAD "  - noop:\n    name: abcdefghijklmnopqrstuvwxyz123456\n", "\"name\" must be a name of at most 31 letters"},
        {HEAD "  - llm\n", "\"llm\" needs \"prompt\""},
        {HEAD "  - [noop]\n", "A stage must be a mapping such as jq: '.a', not a list."},
        {HEAD "  - exec: [ls]\n    each: record\n", "\"exec\" cannot be of each record"},
        {HEAD "  - exec: [ls, [a]]\n", "\"argv\" must be a list: the program, then its arguments, not a list"},
        {HEAD "  - split: .[]\n  - jq: .\n    each: item\n  - gather\n", "Between split and gather each stage is of each record."},
        {HEAD "  - split: .[]\n  - split: .[]\n", "A \"split\" within records: the one of line 3 has not been gathered."},
        {HEAD "  - noop\n  - firestore\n  - firestore\n", "There is a \"firestore\" already."},
        {HEAD "  - noop\n  - firestore:\n    resource: gpu\n", "\"resource\" means nothing for \"firestore\": it follows the job"},
        {HEAD "  - firestore\n", "There is no stage that does anything."},
        {HEAD "  - noop:\n    resource: a b\n", "\"resource\" must be a name of at most 31 letters"},
        {HEAD "  - noop:\n    resource: {}\n", "of at most 4 names"},
        {HEAD "  - noop:\n    on_error: [a]\n", "\"on_error\" must be continue, drop_record, fail_item, fail_job or {use: VALUE}, not a list"},
        {HEAD "  - noop:\n    on_error: {use: 1, more: 2}\n", "or {use: VALUE}, not a mapping"},
        {HEAD "  - noop:\n    on_error: {us: 1}\n", "or {use: VALUE}, not a mapping"},
        {HEAD "  - noop:\n    on_error: fail_jobs\n", "not \"fail_jobs\", did you mean \"fail_job\"?"},
        {HEAD "  - noop:\n    on_error: explode\n", "not \"explode\"."},
        {HEAD "  - noop:\n    on_error: drop_item\n", "\"drop_record\" needs records"},
        {"- noop\n", "A pipeline file is a mapping"},
    };
    BAD(bad);
}

TEST_SLOW(a_call_has_an_address_that_says_whom_it_asks)
{
    static const struct bad bad[] = {
        {HEAD "  - http: {get: [a]}\n", "\"get\" must be an address"}, {HEAD "  - http: {get: !env X}\n", "!env cannot stand here"}, {HEAD "  - http: {get: ''}\n", "not nothing"},
        {HEAD "  - http: {get: '\\(.url)', auth: x}\n", "\"auth\" must be a mapping"},
        {HEAD "  - remote_job: {upload: {start: {poll: {fetch: {cancel: {get: x}}}}}}\n", "\"upload\" has no key \"start\""},
    };
    BAD(bad);
    check_stages("  - http: {get: 'http://h/\\(.a)', headers: {X-A: b, X-Key: !env KEY}}\n",
                 "{\"stages\":[{\"stage\":\"http\",\"with\":{\"method\":\"GET\",\"url\":\"@uri \\\"http://h/\\\\(.a)\\\"\","
                 "\"headers\":{\"X-A\":\"\\\"b\\\"\",\"X-Key\":{\"$env\":\"KEY\"}}}}]," LEG_END);
    check_stages("  - http: {get: '\\(.url)', headers: {X-A: b}}\n",
                 "{\"stages\":[{\"stage\":\"http\",\"with\":{\"method\":\"GET\",\"url\":\"(\\\"\\\\(.url)\\\" + @uri \\\"\\\")\",\"headers\":{\"X-A\":\"\\\"b\\\"\"}}}]," LEG_END);
}

TEST(a_stage_may_be_of_each_record_without_a_split)
{
    check_stages("  - jq: .a\n    each: record\n    retry: {on: [timeout]}\n",
                 "{\"each\":\"record\",\"stages\":[{\"stage\":\"jq\",\"with\":{\"program\":\".a\"},\"retry\":{\"on\":[\"timeout\"]}}]," RECORDS_END "}");
}

TEST(a_result_of_records_is_made_in_a_leg_behind_them)
{
    check_text(HEAD "  - jq: .a\n    each: record\nresult: length\n",
               "{\"name\":\"p\",\"legs\":[{\"each\":\"record\",\"stages\":[{\"stage\":\"jq\",\"with\":{\"program\":\".a\"}}]," RECORDS_END
               "},{\"stages\":[{\"stage\":\"tail\",\"with\":{\"result\":\"length\"}}]," LEG_END "]}");
}

TEST(on_error_of_the_top_is_that_of_each_stage_that_says_nothing)
{
    check_text("on_error: fail_job\n" HEAD "  - noop\n  - noop:\n    on_error: continue\n",
               "{\"name\":\"p\",\"legs\":[" NOOP_LEG("{\"stage\":\"noop\",\"on_error\":\"fail_job\"},{\"stage\":\"noop\",\"on_error\":\"continue\",\"name\":\"noop-2\"}") "]}");
    check_text("on_error: {use: 0}\n" HEAD "  - noop\n", "{\"name\":\"p\",\"legs\":[" NOOP_LEG("{\"stage\":\"noop\",\"on_error\":{\"use\":0}}") "]}");
}

TEST(to_drop_a_record_is_for_stages_of_records_only)
{
    check_text("on_error: drop_item\n" HEAD "  - noop\n  - jq: .\n    each: record\n",
               "{\"name\":\"p\",\"legs\":[" NOOP_LEG("\"noop\"")
               ",{\"each\":\"record\",\"stages\":[{\"stage\":\"jq\",\"with\":{\"program\":\".\"},\"on_error\":\"drop_record\"}]," RECORDS_END "}]}");
}

TEST(a_mirror_needs_to_say_nothing)
{
    check_text(HEAD "  - noop\n  - firestore\n", "{\"name\":\"p\",\"mirror\":{\"firestore\":{}},\"legs\":[" NOOP_LEG("\"noop\"") "]}");
}

TEST(times_are_added_up_to_a_day_and_resources_are_the_most_that_one_needs)
{
    check_stages("  - noop:\n    timeout: 20h\n    resource: {gpu: 2, seat: 1}\n  - noop:\n    timeout: 20h\n    resource: {gpu: 1, seat: 3}\n",
                 "{\"stages\":[\"noop\",{\"stage\":\"noop\",\"name\":\"noop-2\"}],\"timeout_s\":86400,\"attempts\":3,\"backoff_ms\":[500,8000],"
                 "\"resources\":{\"gpu\":2,\"seat\":3}}");
}

/* The text of a pipeline of so many stages, and the text or the sentence that comes of it. */
static bool make(const char *top, const char *stage, int count, struct buf *ret)
{
    struct mistakes mistakes = {0};
    struct buf yaml BUF_OWNED;
    buf_init(&yaml, 1 << 18);
    buf_init(ret, 1 << 18);
    buf_print(&yaml, "pipeline: p\n%sstages:\n", top);
    for (int i = 0; i < count; i++)
        buf_print(&yaml, "  - %s\n", stage);
    bool well = compile_pipeline("a.yaml", buf_bytes(&yaml), &mistakes, ret);
    mistakes_print(&mistakes, ret);
    mistakes_done(&mistakes);
    test_note("%d: %.2000s", count, buf_z(ret));
    return well;
}

static int legs_in(struct buf *text)
{
    int count = 0;
    for (const char *at = buf_z(text); (at = strstr(at, "\"timeout_s\"")); at++)
        count++;
    return count;
}

TEST(a_leg_has_so_many_stages_and_no_more)
{
    struct buf text;
    CHECK(make("", "noop", LIMIT_WORKER_STAGES, &text));
    CHECK_INT(legs_in(&text), 1);
    buf_done(&text);
    CHECK(make("", "noop", LIMIT_WORKER_STAGES + 1, &text));
    CHECK_INT(legs_in(&text), 2);
    buf_done(&text);
    CHECK(make("result: .\n", "noop", LIMIT_WORKER_STAGES, &text));      /* no room for what makes the result */
    CHECK_INT(legs_in(&text), 2);
    CHECK(strstr(buf_z(&text), "[{\"stage\":\"tail\""));
    buf_done(&text);
}

TEST(stages_and_legs_have_their_maximum)
{
    struct buf text;
    CHECK(make("", "noop", 64, &text));
    buf_done(&text);
    CHECK(!make("", "noop", 65, &text) && strstr(buf_z(&text), "a.yaml:67:5: There are more than 64 stages."));
    buf_done(&text);
    CHECK(make("", "http: {get: 'http://h'}", 16, &text));
    CHECK_INT(legs_in(&text), 16);
    buf_done(&text);
    CHECK(!make("", "http: {get: 'http://h'}", 17, &text) && strstr(buf_z(&text), "The stages make more than 16 legs."));
    buf_done(&text);
}

TEST(the_canonical_text_has_its_maximum)
{
    struct buf text, top BUF_OWNED;
    buf_init(&top, 1 << 17);
    buf_text(&top, "vars: {a: ");
    for (int i = 0; i < LIMIT_BODY_BYTES; i++)
        buf_byte(&top, 'x');
    buf_text(&top, "}\n");
    CHECK(!make(buf_z(&top), "noop", 1, &text));
    CHECK(strstr(buf_z(&text), "the pipeline has more than 65536 bytes"));
    buf_done(&text);
}

TEST(canonical_text_that_is_none_is_told_as_any_other)
{
    static const struct bad bad[] = {
        {"name: p\nlegs: [!env X]\n", "!env cannot stand here"}, {"name: p\nname: q\nlegs: []\n", "\"name\" stands here twice"},
        {"pipeline: p\nlegs: []\nstages: [noop]\n", "\"pipeline file\" has no key \"legs\""},
    };
    BAD(bad);
}
