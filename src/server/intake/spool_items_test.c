#include "base/mem.h"
#include "base/test.h"
#include "server/intake/spool_items.h"

#include <stdlib.h>
#include <unistd.h>

static struct spool *spool_for(const struct spool_rules *rules)
{
    struct spool *spool = MEM_NEW(struct spool);
    spool->rules = rules;
    spool->scratch = mem_text("/tmp");
    spool->value_bytes_max = 1 << 20;
    spool_store_init(&spool->rest);
    spool_store_init(&spool->records);
    return spool;
}

static void spool_drop(struct spool *spool)
{
    spool_store_done(&spool->rest);
    spool_store_done(&spool->records);
    free(spool->scratch);
    free(spool->params);
    free(spool->pipeline);
    free(spool->webhook);
    free(spool);
}

/* The body in two pieces: name=value, … of what came out, or the refusal. */
static void take(const struct spool_rules *rules, struct bytes body, size_t cut, struct buf *ret)
{
    struct spool *spool = spool_for(rules);
    int answer = spool_take(spool, (struct bytes){body.at, cut}, false);
    if (!answer)
        answer = spool_take(spool, (struct bytes){body.at + cut, body.count - cut}, true);
    buf_clear(ret);
    if (answer)
        buf_print(ret, "%d %s", spool->status, spool->problem.text);
    struct bytes page = buf_bytes(&spool->records.near);
    struct item_spec item;
    while (!answer && spool_item_next(&page, &item))
        buf_print(ret, "%.*s=%.*s;", BYTES_ARG(item.name), BYTES_ARG(item.value));
    CHECK(answer || (spool->records.fd < 0 && !page.count));
    spool_drop(spool);
}

/* However a body is cut, the same comes out of it. */
static void check(const struct spool_rules *rules, struct bytes body, const char *want)
{
    struct buf got BUF_OWNED;
    buf_init(&got, 4096);
    for (size_t cut = 0; cut <= body.count; cut++) {
        take(rules, body, cut, &got);
        CHECK_TEXT(buf_z(&got), want);
    }
}

static const struct spool_rules lines = {.lines = true}, document = {0}, addition = {.single = true};

TEST(lines_are_items_however_they_are_cut)
{
    check(&lines, BYTES("1\n\r\n  {\"a\": [1, 2]}\t\n\"\\n\"\r\n[]"), "=1;={\"a\": [1, 2]};=\"\\n\";=[];");
    check(&lines, BYTES("\n\n"), "");
    check(&lines, BYTES("{\"name\":\"n\",\"value\":{\"value\":1}}\n{\"value\":1,\"more\":2}\n{\"name\":\"n\"}"),
          "n={\"value\":1};={\"value\":1,\"more\":2};={\"name\":\"n\"};");
}

TEST(a_wrong_line_is_told_with_its_number)
{
    check(&lines, BYTES("1\n\n2 3\n"), "400 Line 3 is not valid JSON in UTF-8: see byte 2 of it.");
    check(&lines, BYTES("1\n\"\xc3(\"\n"), "400 Line 2 is not valid JSON in UTF-8: see byte 1 of it.");
    check(&lines, BYTES("1\nnull"), "400 Line 2 is null; an item has to be some value.");
    check(&lines, BYTES("{\"value\":null}"), "400 Line 1 is null; an item has to be some value.");
    check(&lines, BYTES("{\"value\":1,\"name\":[]}"), "400 Line 1: its \"name\" must be a text.");
}

TEST(a_document_has_items)
{
    check(&document, BYTES(" {\"items\": [1, \"a, ] \\\" b\",\n {\"x\": [{}, {\"y\": \"}\"}]} , -0.5e3,true],\n\"params\": {\"p\": 1}} "),
          "=1;=\"a, ] \\\" b\";={\"x\": [{}, {\"y\": \"}\"}]};=-0.5e3;=true;");
    check(&document, BYTES("{\"items\":[]}"), "");
    check(&document, BYTES("{\"items\":[1],\"items\":[2]}"), "400 The body has \"items\" twice.");
    check(&document, BYTES("{\"items\":[1],\"item\":[2]}"), "400 The body has a member \"item\"; known are \"items\", \"params\", \"pipeline\" and \"webhook\".");
    check(&document, BYTES("{\"items\":[1]"), "400 The body is not valid JSON in UTF-8: see byte 12 of it.");
    check(&document, BYTES("{}"), "400 The body has no \"items\".");
}

TEST(a_value_of_several_lines_becomes_one)
{
    check(&document, BYTES("{\"items\":[{\"a\":\r\n [1,\n 2],\n\"b c\":\" \\\" \\n\"}]}"), "={\"a\":[1,2],\"b c\":\" \\\" \\n\"};");
}

TEST(an_addition_may_be_one_value)
{
    check(&addition, BYTES("7"), "=7;");
    check(&addition, BYTES("[1,2]"), "=[1,2];");
    check(&addition, BYTES("{\"items\":[1,2]}"), "=1;=2;");
    check(&addition, BYTES("{\"items\":[1,2],\"more\":1}"), "={\"items\":[1,2],\"more\":1};");
    check(&addition, BYTES("{\"items\":1}"), "={\"items\":1};");
}

TEST(what_is_too_deep_is_refused)
{
    check(&lines, BYTES("[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]"), "=[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]];");
    check(&lines, BYTES("[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]"), "400 Line 1 is nested deeper than 24 levels, at byte 25 of it.");
}

TEST(a_store_goes_to_a_file_and_comes_back)
{
    struct spool *spool = spool_for(&lines);
    struct buf line BUF_OWNED;
    int64_t count = 20000, seen = 0;
    buf_init(&line, 256);
    for (int64_t i = 0; i < count; i++) {
        buf_clear(&line);
        buf_print(&line, "{\"number\":%lld}\n", (long long)i);
        CHECK_INT(spool_take(spool, buf_bytes(&line), i + 1 == count), 0);
    }
    CHECK(spool->records.fd >= 0);
    CHECK_INT(spool->count, count);
    struct buf page BUF_OWNED;
    buf_init(&page, (size_t)spool->records.count);
    CHECK(buf_reserve(&page, (size_t)spool->records.count));
    CHECK_INT(pread(spool->records.fd, page.at, (size_t)spool->records.count, 0), spool->records.count);
    page.count = (size_t)spool->records.count;
    struct bytes rest = buf_bytes(&page);
    struct item_spec item;
    while (spool_item_next(&rest, &item)) {
        buf_clear(&line);
        buf_print(&line, "{\"number\":%lld}", (long long)seen++);
        CHECK(bytes_equal(item.value, buf_bytes(&line)));
    }
    CHECK_INT(seen, count);
    spool_drop(spool);
}
