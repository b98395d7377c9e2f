/* read-decklists: the `decklist` (or `match`) stage kind alone, without engine and worker. JSON Lines on stdout, one a file:
 * {"filename","decklist"} or {"filename","error","error_type"}; CPU times and the peak of memory on stderr. */
#include "base/json.h"
#include "base/mem.h"
#include "stage/models.h"

#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

struct options {
    const char *catalogue, *models, *kind, *tessdata;
    enum stage_engine engine;
    int repeat;
};

static int usage(void)
{
    fputs("usage: read-decklists --catalogue FILE [--engine auto|onnx|tesseract] [--models FOLDER] [--tessdata FOLDER]\n"
          "                      [--kind decklist|match] [--repeat N] FILES...\n", stderr);
    return 2;
}

static bool parse(int argc, char **argv, struct options *ret)
{
    static const struct option known[] = {
        {"catalogue", required_argument, NULL, 'c'}, {"engine", required_argument, NULL, 'e'}, {"models", required_argument, NULL, 'm'},
        {"kind", required_argument, NULL, 'k'}, {"tessdata", required_argument, NULL, 't'}, {"repeat", required_argument, NULL, 'r'}, {0},
    };
    *ret = (struct options){.kind = "decklist", .repeat = 1};
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (option == 'c')
            ret->catalogue = optarg;
        else if (option == 'm')
            ret->models = optarg;
        else if (option == 'k')
            ret->kind = optarg;
        else if (option == 't')
            ret->tessdata = optarg;
        else if (option == 'r')
            ret->repeat = (int)strtol(optarg, NULL, 10);
        else if (option == 'e' && !strcmp(optarg, "onnx"))
            ret->engine = STAGE_ENGINE_ONNX;
        else if (option == 'e' && !strcmp(optarg, "tesseract"))
            ret->engine = STAGE_ENGINE_TESSERACT;
        else if (option != 'e' || strcmp(optarg, "auto") != 0)
            return false;
    }
    return ret->catalogue && optind < argc && ret->repeat > 0;
}

static double cpu_s(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void print(const char *path, const struct stage_outcome *outcome)
{
    BUF_OWNED struct buf line;
    buf_init(&line, STAGE_VALUE_MAX + 4096);
    json_open(&line, '{');
    json_key(&line, "filename");
    json_text(&line, last_part(path));
    json_key(&line, outcome->verdict == STAGE_DONE ? "decklist" : "error");
    if (outcome->verdict == STAGE_DONE) {
        json_raw(&line, buf_bytes(&outcome->value));
    } else {
        json_text(&line, outcome->error.text);
        json_key(&line, "error_type");
        json_text(&line, outcome->error_type);
    }
    json_close(&line, '}');
    puts(buf_z(&line));
}

static bool read_one(const struct stage_kind *kind, void *state, const char *path, bool quiet)
{
    struct stage_outcome outcome;
    struct stage_task task = {.name = bytes_of(last_part(path)), .input_fd = open(path, O_RDONLY | O_CLOEXEC)};
    double before_s = cpu_s();
    stage_outcome_init(&outcome);
    if (task.input_fd < 0)
        stage_outcome_fail(&outcome, STAGE_FAIL, "validation", "%s cannot be opened.", path);
    else
        kind->run(state, &task, &outcome);
    if (!quiet)
        print(path, &outcome);
    fprintf(stderr, "%s: %.3f s CPU\n", last_part(path), cpu_s() - before_s);
    bool done = outcome.verdict == STAGE_DONE;
    if (task.input_fd >= 0)
        close(task.input_fd);
    stage_outcome_done(&outcome);
    return done;
}

int main(int argc, char **argv)
{
    struct options options;
    struct models models;
    struct problem problem = {0};
    void *state = NULL;
    struct rusage used;
    if (!parse(argc, argv, &options))
        return usage();
    const struct stage_kind *kind = stage_kind_find(bytes_of(options.kind));
    if (!kind)
        return usage();
    struct stage_outfit outfit = STAGE_OUTFIT_EMPTY;
    models_find(&models, options.models);
    models_outfit(&models, &outfit);
    outfit.engine = options.engine;
    outfit.catalogue_path = options.catalogue;
    outfit.tessdata_path = options.tessdata;
    double before_s = cpu_s();
    if (kind->open(&outfit, &state, &problem) < 0) {
        fprintf(stderr, "%s\n", problem.text);
        return 2;
    }
    BUF_OWNED struct buf about;
    buf_init(&about, 4096);
    if (kind->describe)
        kind->describe(state, &about);
    fprintf(stderr, "loaded in %.3f s CPU: %s\n", cpu_s() - before_s, buf_z(&about));
    bool all = true;
    for (int round = 0; round < options.repeat; round++)
        for (int i = optind; i < argc; i++)
            all &= read_one(kind, state, argv[i], round > 0);
    getrusage(RUSAGE_SELF, &used);
    fprintf(stderr, "peak RSS %ld KiB\n", used.ru_maxrss);
    if (kind->close)
        kind->close(state);
    models_done(&models);
    return all ? 0 : 1;
}
