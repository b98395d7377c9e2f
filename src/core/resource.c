#include "core/resource.h"

#include <string.h>

static bool is_name(struct bytes text)
{
    for (size_t i = 0; i < text.count; i++) {
        char c = text.at[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-'))
            return false;
    }
    return text.count && text.count <= RESOURCE_NAME_MAX;
}

static int parse_one(struct bytes word, struct resources *ret, struct problem *problem)
{
    const char *equals = word.count ? memchr(word.at, '=', word.count) : NULL;
    struct bytes name = bytes_trim((struct bytes){word.at, equals ? (size_t)(equals - word.at) : word.count});
    int64_t units = 0;
    if (!equals || !is_name(name) ||
        !bytes_to_i64(bytes_trim((struct bytes){equals + 1, word.count - (size_t)(equals + 1 - word.at)}), &units) || units < 1 ||
        units > RESOURCE_UNITS_MAX)
        return problem_set(problem, "RIVULET_RESOURCES: \"%.*s\" must be NAME=UNITS, a name of letters, digits, _ and - and a number from 1 to %d",
                           BYTES_ARG(word), RESOURCE_UNITS_MAX);
    if (ret->count == RESOURCES_MAX)
        return problem_set(problem, "RIVULET_RESOURCES: more than %d names", RESOURCES_MAX);
    struct resource *one = &ret->all[ret->count++];
    memcpy(one->name, name.at, name.count);
    one->name[name.count] = 0;
    one->units = (uint32_t)units;
    return 0;
}

int resources_parse(struct bytes text, struct resources *ret, struct problem *problem)
{
    struct resources table = {0};
    while (text.count) {
        const char *comma = memchr(text.at, ',', text.count);
        size_t count = comma ? (size_t)(comma - text.at) : text.count;
        if (parse_one(bytes_trim((struct bytes){text.at, count}), &table, problem))
            return -1;
        count += comma != NULL;
        text = (struct bytes){text.at + count, text.count - count};
    }
    *ret = table;
    return 0;
}

uint32_t resources_units(const struct resources *resources, const char *name)
{
    for (size_t i = 0; i < resources->count; i++)
        if (!strcmp(resources->all[i].name, name))
            return resources->all[i].units;
    return 1;
}

int resources_check(const struct resources *resources, const struct pipeline *pipeline, struct problem *problem)
{
    for (size_t l = 0; l < pipeline->legs_count; l++)
        for (size_t i = 0; i < pipeline->legs[l].needs_count; i++) {
            const struct need *need = &pipeline->legs[l].needs[i];
            if (need->units > resources_units(resources, need->name))
                return problem_set(problem, "pipeline \"%s\": leg %zu takes %u of \"%s\", and there are only %u: RIVULET_RESOURCES says how many",
                                   pipeline->name, l + 1, need->units, need->name, resources_units(resources, need->name));
        }
    return 0;
}
