#include "engine/batches_own.h"

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/text.h"
#include "stage/stage.h"

#include <stdio.h>
#include <stdlib.h>

struct made *made_new(struct bytes value, struct bytes key, struct bytes name, struct bytes error)
{
    struct bytes *texts[] = {&value, &key, &name, &error};
    struct made *made = mem_new(sizeof *made + value.count + key.count + name.count + error.count);
    char *at = made->texts;
    for (size_t i = 0; i < 4; i++) {
        if (texts[i]->count)
            memcpy(at, texts[i]->at, texts[i]->count);
        texts[i]->at = at;
        at += texts[i]->count;
    }
    made->value = value;
    made->key = key;
    made->name = name;
    made->error = error;
    return made;
}

void made_drop_all(struct list *list)
{
    for (struct list *link; (link = list_pop(list));)
        free(LIST_OF(link, struct made, link));
}

static void name_item(const struct batches *batches, struct bytes group, char *ret, size_t room)
{
    if (group.count)
        snprintf(ret, room, "%.*s %lld", (int)(group.count < 200 ? group.count : 200), group.at, (long long)batches->first + 1);
    else
        snprintf(ret, room, "%s %lld", batches->grouped ? "batch" : "item", (long long)batches->first + 1);
}

void made_item(struct batches *batches, struct bytes value, struct bytes key, struct bytes group, struct bytes error, const struct sha *blob)
{
    char name[LIMIT_NAME_BYTES + 1];
    struct bytes named = batches->grouped ? group : key;
    if (!batches->grouped && key.count)
        snprintf(name, sizeof name, "%.*s", (int)text_cut(key, LIMIT_NAME_BYTES), key.at);
    else
        name_item(batches, batches->grouped ? group : (struct bytes){0}, name, sizeof name);
    named.count = text_cut(named, LIMIT_NAME_BYTES);
    struct made *made = made_new(value, named, bytes_of(name), error);
    if (blob) {
        made->has_blob = true;
        made->blob = *blob;
    }
    batches->first++;
    list_push(&batches->whole, &made->link);
}

/* One item of what has gathered. */
static void close_group(struct batches *batches, struct group *group)
{
    struct buf value BUF_OWNED;
    buf_init(&value, STAGE_VALUE_MAX);
    json_open(&value, '[');
    for (int64_t i = 0; i < batches->size && group->count; i++, group->count--) {
        struct made *made = LIST_OF(list_pop(&group->inputs), struct made, link);
        json_raw(&value, made->value);
        batches->held_bytes -= made->value.count;
        free(made);
    }
    json_close(&value, ']');
    if (buf_ok(&value))
        made_item(batches, buf_bytes(&value), (struct bytes){0}, bytes_of(group->name), (struct bytes){0}, NULL);
    else
        made_item(batches, BYTES("null"), (struct bytes){0}, bytes_of(group->name), BYTES("the inputs of this batch together are longer than 64 MiB"), NULL);
}

static struct group *group_of(struct map *groups, struct bytes name)
{
    struct group *group = map_get_text(groups, name);
    if (group)
        return group;
    group = MEM_NEW(struct group);
    group->name = mem_copy(name.at ? name.at : "", name.count);
    list_init(&group->inputs);
    map_set_text(groups, bytes_of(group->name), group);
    return group;
}

void groups_close(struct batches *batches, struct map *groups)
{
    size_t at = 0;
    for (struct group *group; (group = map_next(groups, &at));)
        while (group->count)
            close_group(batches, group);
}

/* An input goes where it belongs. What is not known waits for the flush while what is known is to come first, as long as there is room. */
void group_place(struct batches *batches, struct made *made)
{
    if (!batches->grouped) {
        made_item(batches, made->value, made->key, (struct bytes){0}, (struct bytes){0}, NULL);
        free(made);
        return;
    }
    struct group *group = group_of(&batches->groups[made->known], made->name);
    list_push(&group->inputs, &made->link);
    batches->held_bytes += made->value.count;
    group->count++;
    bool waits = batches->cache_stage && !made->known && batches->held_bytes < LIMIT_BATCHES_BYTES;
    while (group->count >= (size_t)batches->size && !waits)
        close_group(batches, group);
}

void groups_drop(struct map *groups)
{
    size_t at = 0;
    for (struct group *group; (group = map_next(groups, &at));) {
        made_drop_all(&group->inputs);
        free(group->name);
        free(group);
    }
    map_done(groups);
}
