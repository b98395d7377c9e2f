#include "engine/variables.h"

#include "base/json.h"

static void put_item(const struct claim *claim, struct buf *ret)
{
    json_key(ret, "batch");
    json_open(ret, '{');
    json_put_int(ret, "index", claim->token.item);
    json_put_bytes(ret, "group", claim->key);
    json_put_bytes(ret, "name", claim->name);
    json_close(ret, '}');
    json_key(ret, "item");
    json_open(ret, '{');
    json_put_int(ret, "index", claim->token.item);
    json_put_bytes(ret, "name", claim->name);
    json_put_bytes(ret, "key", claim->key);
    json_put_bytes(ret, "type", claim->type);
    json_close(ret, '}');
}

void variables_put(const struct claim *claim, int64_t wall_us, struct buf *ret)
{
    const struct job *job = live_job(claim->live);
    bool plain = !claim->pipeline->legs[claim->leg].programs;
    if (plain && !strcmp(job->params, "{}"))
        return;
    json_open(ret, '{');
    json_put_raw(ret, "params", bytes_of(job->params));
    if (plain) {
        json_close(ret, '}');
        return;
    }
    struct bytes vars = json_span(bytes_of(claim->pipeline->text), "vars");
    json_put_raw(ret, "vars", vars.count ? vars : BYTES("{}"));
    put_item(claim, ret);
    json_key(ret, "job");
    json_open(ret, '{');
    json_put_text(ret, "id", job->id);
    json_put_text(ret, "pipeline", job->pipeline);
    json_close(ret, '}');
    json_put_int(ret, "now", wall_us / 1000000);
    json_close(ret, '}');
}
