#include "vision/keys.h"

#include "base/mem.h"
#include "base/text.h"

#include <stdlib.h>

enum { FILE_MAX = 1 << 20 };

static void add(struct keys *keys, struct bytes character)
{
    int class = keys->count++;
    keys->at[class] = character;
    if (character.count && !map_get_text(&keys->classes, character))
        map_set_text(&keys->classes, character, (void *)(intptr_t)class);
}

int keys_init(struct keys *keys, struct bytes file, struct problem *problem)
{
    *keys = (struct keys){0};
    if (!file.count || file.count > FILE_MAX || !text_is_utf8(file))
        return problem_set(problem, "The recogniser's key file must be UTF-8 text of 1 to %d bytes.", FILE_MAX);
    keys->text = mem_copy(file.at, file.count);
    struct bytes rest = {keys->text, file.count};
    size_t lines = 0;
    for (size_t i = 0; i < file.count; i++)
        lines += file.at[i] == '\n';
    if (lines > KEYS_MAX) {
        keys_done(keys);
        return problem_set(problem, "The recogniser's key file has more than %d lines.", KEYS_MAX);
    }
    keys->at = mem_new((lines + 4) * sizeof *keys->at);
    add(keys, (struct bytes){0});
    while (rest.count) {
        struct bytes line = bytes_cut(&rest, '\n');
        if (line.count && line.at[line.count - 1] == '\r')
            line.count--;
        add(keys, line);
    }
    add(keys, BYTES(" "));
    return 0;
}

void keys_done(struct keys *keys)
{
    free(keys->text);
    free(keys->at);
    map_done(&keys->classes);
    *keys = (struct keys){0};
}

int keys_class(const struct keys *keys, struct bytes character)
{
    void *found = map_get_text(&keys->classes, character);
    return found ? (int)(intptr_t)found : -1;
}
