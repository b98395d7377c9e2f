/* Items as JSON: a body read in one piece and in pieces whose sizes the input chooses must come to the same items or the same refusal, as
 * JSON Lines or as a document. The first byte is the form, the next two are the sizes. Every item is JSON on one line, within its limits. */
#include "fuzz.h"

#include "server/intake/spool_items.h"

#include "base/json.h"
#include "base/json_grammar.h"
#include "base/limits.h"
#include "base/text.h"

enum { VALUE_BYTES_MAX = 4096 };

static void done(struct spool *spool)
{
    free(spool->params);
    free(spool->pipeline);
    free(spool->pins);
    spool_store_done(&spool->rest);
    spool_store_done(&spool->records);
}

static int read_body(struct spool *spool, const struct spool_rules *rules, struct bytes body, size_t step, size_t then)
{
    int answer = 0;
    bool last = false;
    *spool = (struct spool){.rules = rules, .scratch = "/tmp", .value_bytes_max = VALUE_BYTES_MAX};
    spool_store_init(&spool->rest);
    spool_store_init(&spool->records);
    while (!answer && !last) {
        size_t count = step < body.count ? step : body.count;
        last = count == body.count;
        answer = spool_take(spool, (struct bytes){body.at, count}, last);
        body.at += count;
        body.count -= count;
        step = then;
    }
    fuzz_must(answer >= 0, "nothing goes to the disk, so nothing fails there");
    fuzz_must((answer != 0) == problem_is(&spool->problem), "a refusal has a sentence");
    fuzz_must(!answer || spool->status == 400 || spool->status == 413, "a refusal has a status");
    return answer;
}

static void check_items(const struct spool *spool)
{
    struct bytes page = buf_bytes(&spool->records.near);
    struct item_spec item;
    int64_t count = 0, bytes = 0;
    size_t at;
    while (spool_item_next(&page, &item)) {
        count++;
        bytes += item.bytes;
        fuzz_must(item.name.count <= LIMIT_NAME_BYTES && item.key.count <= LIMIT_NAME_BYTES && item.type.count < 128, "texts are bounded");
        fuzz_must(text_is_utf8(item.name) && text_is_utf8(item.key) && text_is_utf8(item.type), "texts are UTF-8");
        fuzz_must(item.bytes > 0 && item.bytes <= VALUE_BYTES_MAX, "values are bounded");
        fuzz_must(!item.has_blob && json_grammar(item.value, LIMIT_VALUE_DEPTH + 2, &at) == JSON_GRAMMAR_GOOD, "a value is JSON");
        fuzz_must(!memchr(item.value.at, '\n', item.value.count) && !memchr(item.value.at, '\r', item.value.count), "a value is one line");
    }
    fuzz_must(!page.count && count == spool->count && bytes == spool->bytes, "every item is there");
    fuzz_must(!spool->params || json_grammar(bytes_of(spool->params), LIMIT_VALUE_DEPTH + 3, &at) == JSON_GRAMMAR_GOOD, "parameters are JSON");
}

FUZZ_TARGET(spool_items)
{
    const uint8_t *data = (const uint8_t *)input.at;
    size_t count = input.count;
    static const struct spool_rules forms[] = {{.lines = true}, {0}, {.single = true}, {.none = true}};
    if (count < 3)
        return;
    fuzz_stand_ins.blobs = true;      /* no disk: the larger values are so many bytes gone */
    const struct spool_rules *rules = &forms[data[0] % 4];
    struct bytes body = {(const char *)data + 3, count - 3};
    struct spool whole, pieces;
    int one = read_body(&whole, rules, body, body.count, 1);
    int two = read_body(&pieces, rules, body, data[1] + 1u, data[2] + 1u);
    fuzz_must(one == two && whole.status == pieces.status && !strcmp(whole.problem.text, pieces.problem.text), "split or not, the same answer");
    if (!one) {
        check_items(&whole);
        fuzz_must(bytes_equal(buf_bytes(&whole.records.near), buf_bytes(&pieces.records.near)), "split or not, the same items");
    }
    done(&whole);
    done(&pieces);
}
