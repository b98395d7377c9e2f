#include "config/builtin.h"

#include "base/buf.h"
#include "base/limits.h"

#include <errno.h>
#include <stdio.h>

static const struct {
    const char *name, *text;
} builtins[] = {
    {"decklists", "{\"name\":\"decklists\",\"result_key\":\"decklist\",\"legs\":["
                  "{\"stages\":[\"decklist\"],\"timeout_s\":60,\"attempts\":3,\"backoff_ms\":[200,5000]}]}"},
    {"noop", "{\"name\":\"noop\",\"legs\":[{\"stages\":[\"noop\"],\"timeout_s\":10,\"attempts\":3,\"backoff_ms\":[100,1000]}]}"},
};

/* Its text, or NULL when there is none of that name. */
static const char *text_of(struct bytes name)
{
    for (size_t i = 0; i < sizeof builtins / sizeof *builtins; i++)
        if (bytes_equal(name, bytes_of(builtins[i].name)))
            return builtins[i].text;
    return NULL;
}

static int read_all(const char *path, struct buf *buf, struct problem *problem)
{
    FILE *file = fopen(path, "re");
    char piece[4096];
    size_t count;
    if (!file)
        return problem_set(problem, "the pipeline file \"%s\" cannot be read: %s", path, strerror(errno));
    while ((count = fread(piece, 1, sizeof piece, file)) > 0)
        buf_add(buf, piece, count);
    bool bad = ferror(file) != 0;
    fclose(file);
    if (bad || !buf_ok(buf))
        return problem_set(problem, "the pipeline file \"%s\" cannot be read or has more than %d bytes", path, LIMIT_BODY_BYTES);
    return 0;
}

struct pipeline *builtin_load(struct bytes name, const char *file, struct problem *problem)
{
    if (!file) {
        const char *text = text_of(name);
        if (text)
            return pipeline_parse(bytes_of(text), problem);
        problem_set(problem, "there is no pipeline \"%.*s\"; there are: decklists, noop", BYTES_ARG(name));
        return NULL;
    }
    struct buf text BUF_OWNED;
    buf_init(&text, LIMIT_BODY_BYTES);
    return read_all(file, &text, problem) ? NULL : pipeline_parse(buf_bytes(&text), problem);
}
