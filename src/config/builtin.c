#include "config/builtin.h"

#include "base/buf.h"
#include "base/limits.h"
#include "config/compile.h"
#include "config/yaml.h"

static const char noop[] = "{\"name\":\"noop\",\"legs\":[{\"stages\":[\"noop\"],\"timeout_s\":10,\"attempts\":3,\"backoff_ms\":[100,1000]}]}";

/* One sentence stands for all mistakes: who wants them all asks `rivulet check`. */
static void tell_first(const char *path, struct mistakes *mistakes, struct problem *problem)
{
    const struct mistake *first = &mistakes->list[0];
    for (size_t i = 1; i < mistakes->count; i++)
        if (mistakes->list[i].source == first->source && mistakes->list[i].line < first->line)
            first = &mistakes->list[i];
    size_t count = mistakes->count + mistakes->more;
    problem_set(problem, "the pipeline file \"%s\" has %zu mistake%s; %s:%d:%d: %s (`rivulet check %s` shows %s)", path, count, count == 1 ? "" : "s",
                first->source->path, first->line, first->column, first->sentence, path, count == 1 ? "it" : "all");
}

static struct pipeline *compile(const char *path, struct bytes text, struct problem *problem)
{
    struct mistakes mistakes = {0};
    struct buf canonical BUF_OWNED;
    struct pipeline *pipeline = NULL;
    buf_init(&canonical, LIMIT_PIPELINE_FILE_BYTES);
    if (compile_pipeline(path, text, &mistakes, &canonical))
        pipeline = pipeline_parse(buf_bytes(&canonical), problem);
    else
        tell_first(path, &mistakes, problem);
    mistakes_done(&mistakes);
    return pipeline;
}

struct pipeline *builtin_load(struct bytes name, const char *file, struct problem *problem)
{
    struct buf text BUF_OWNED = {0};
    if (!file && bytes_equal(name, BYTES("decklists")))
        return compile("decklists.yaml", builtin_decklists, problem);
    if (!file && bytes_equal(name, BYTES("noop")))
        return pipeline_parse(bytes_of(noop), problem);
    if (!file) {
        problem_set(problem, "there is no pipeline \"%.*s\"; there are: decklists, noop", BYTES_ARG(name));
        return NULL;
    }
    if (yaml_read_file(file, LIMIT_PIPELINE_FILE_BYTES, &text, problem))
        return NULL;
    return compile(file, buf_bytes(&text), problem);
}
