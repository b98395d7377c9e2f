/* The accurate engine: ONNX Runtime and the PP-OCRv4 recogniser. A line goes in as a picture 48 pixels high, and out come the
 * probabilities of 6,625 classes for every eight pixels of its width. */
#include "base/mem.h"
#include "vision/crop.h"
#include "vision/onnx_slots.h"
#include "vision/recognise.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

enum { INPUT_HEIGHT = 48, INPUT_WIDTH_STEP = 8, INPUT_WIDTH_MIN = 32, INPUT_WIDTH_MAX = 1600, TEXT_MAX = 4096 };

static const double padding = 0.24;      /* of the line's height; below 0.18 quantities suffer */
static const double squeeze_name = 0.60;

struct api {
#define FIELD(slot, name, answer, arguments) answer(*name) arguments;
    ONNX_SLOTS(FIELD)
#undef FIELD
};

struct onnx {
    struct recogniser base;
    struct api api;
    struct onnx_env *env;
    struct onnx_session *session;
    struct onnx_memory_info *memory;
    char *input_name, *output_name;
    struct onnx_value *output;       /* of the last reading; its posteriors are lent out */
    float *input;                    /* room for the widest line */
    struct buf text;
    int places[INPUT_WIDTH_MAX / INPUT_WIDTH_STEP];
};

/* Answers -1 and takes the status's sentence into the problem; 0 when there is no status. */
static int check(struct onnx *onnx, struct onnx_status *status, const char *doing, struct problem *problem)
{
    if (!status)
        return 0;
    problem_set(problem, "ONNX Runtime cannot %s: %s", doing, onnx->api.GetErrorMessage(status));
    onnx->api.ReleaseStatus(status);
    return -1;
}

static int load_library(struct onnx *onnx, const char *path, struct problem *problem)
{
    struct base {
        const void *(*get_api)(uint32_t version);
        const char *(*get_version)(void);
    };
    /* The runtime reads this when it is loaded: no thread that reports home, no files of its own. */
    setenv("ORT_DISABLE_TELEMETRY", "1", 1);
    /* Some builds crash when they are closed, so the library stays until the process ends. */
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!library)
        return problem_set(problem, "Cannot load ONNX Runtime: %s.", dlerror());
    const struct base *(*get_base)(void);
    void *symbol = dlsym(library, "OrtGetApiBase");
    memcpy(&get_base, &symbol, sizeof symbol);
    if (!symbol)
        return problem_set(problem, "%s is not ONNX Runtime: it has no OrtGetApiBase.", path);
    const char *table = get_base()->get_api(ONNX_API_VERSION);
    if (!table)
        return problem_set(problem, "%s is too old: version %s of ONNX Runtime does not know interface %d.", path,
                           get_base()->get_version(), ONNX_API_VERSION);
#define TAKE(slot, name, answer, arguments) memcpy(&onnx->api.name, table + (slot) * sizeof(void *), sizeof(void *));
    ONNX_SLOTS(TAKE)
#undef TAKE
    return 0;
}

/* A call that must fail has to come back with a readable sentence; if not, our slots are not this library's. */
static int prove_slots(struct onnx *onnx, struct onnx_session_options *options, struct problem *problem)
{
    struct onnx_status *status = onnx->api.AddSessionConfigEntry(options, "", "");
    const char *text = status ? onnx->api.GetErrorMessage(status) : NULL;
    size_t readable = 0;
    while (text && readable < 400 && text[readable] >= ' ' && text[readable] <= '~')
        readable++;
    if (status)
        onnx->api.ReleaseStatus(status);
    return readable >= 8 ? 0 : problem_set(problem, "This build of ONNX Runtime does not answer as its interface says; it is not used.");
}

static int set_options(struct onnx *onnx, struct onnx_session_options *options, struct problem *problem)
{
    const struct api *api = &onnx->api;
    if (prove_slots(onnx, options, problem) < 0
        || check(onnx, api->SetIntraOpNumThreads(options, 1), "set its threads", problem) < 0
        || check(onnx, api->SetInterOpNumThreads(options, 1), "set its threads", problem) < 0
        || check(onnx, api->SetSessionGraphOptimizationLevel(options, ONNX_OPTIMIZE_ALL), "optimise", problem) < 0
        || check(onnx, api->SetSessionLogSeverityLevel(options, ONNX_SEVERITY_FATAL), "be quiet", problem) < 0
        || check(onnx, api->DisableMemPattern(options), "plan its memory", problem) < 0
        || check(onnx, api->AddSessionConfigEntry(options, "session.intra_op.allow_spinning", "0"), "stop spinning", problem) < 0)
        return -1;
    return 0;
}

static int open_session(struct onnx *onnx, struct bytes model, struct problem *problem)
{
    const struct api *api = &onnx->api;
    struct onnx_session_options *options = NULL;
    struct onnx_allocator *allocator = NULL;
    if (check(onnx, api->CreateEnv(ONNX_SEVERITY_FATAL, "rivulet", &onnx->env), "start", problem) < 0
        || check(onnx, api->DisableTelemetryEvents(onnx->env), "turn its telemetry off", problem) < 0
        || check(onnx, api->CreateSessionOptions(&options), "start", problem) < 0)
        return -1;
    int answer = set_options(onnx, options, problem);
    if (answer == 0)
        answer = check(onnx, api->CreateSessionFromArray(onnx->env, model.at, model.count, options, &onnx->session), "load the model", problem);
    api->ReleaseSessionOptions(options);
    if (answer < 0
        || check(onnx, api->GetAllocatorWithDefaultOptions(&allocator), "give memory", problem) < 0
        || check(onnx, api->SessionGetInputName(onnx->session, 0, allocator, &onnx->input_name), "name its input", problem) < 0
        || check(onnx, api->SessionGetOutputName(onnx->session, 0, allocator, &onnx->output_name), "name its output", problem) < 0
        || check(onnx, api->CreateCpuMemoryInfo(ONNX_ALLOCATOR_DEVICE, ONNX_MEMORY_DEFAULT, &onnx->memory), "give memory", problem) < 0)
        return -1;
    return 0;
}

static void onnx_close(struct recogniser *recogniser)
{
    struct onnx *onnx = (struct onnx *)recogniser;
    struct onnx_allocator *allocator = NULL;
    const struct api *api = &onnx->api;
    if (onnx->output)
        api->ReleaseValue(onnx->output);
    if (onnx->session && !api->GetAllocatorWithDefaultOptions(&allocator)) {
        api->AllocatorFree(allocator, onnx->input_name);
        api->AllocatorFree(allocator, onnx->output_name);
    }
    if (onnx->memory)
        api->ReleaseMemoryInfo(onnx->memory);
    if (onnx->session)
        api->ReleaseSession(onnx->session);
    if (onnx->env)
        api->ReleaseEnv(onnx->env);
    keys_done(&onnx->base.keys);
    buf_done(&onnx->text);
    free(onnx->input);
    free(onnx);
}

/* Run the session on `width` columns of the input; the output stays with us. */
static int run(struct onnx *onnx, int width, struct reading *ret, struct problem *problem)
{
    const struct api *api = &onnx->api;
    int64_t shape[4] = {1, 3, INPUT_HEIGHT, width}, out[3] = {0};
    size_t dimensions = 0;
    int type = 0;
    struct onnx_value *value = NULL;
    struct onnx_shape_info *info = NULL;
    void *posteriors = NULL;
    if (onnx->output)
        api->ReleaseValue(onnx->output);
    onnx->output = NULL;
    if (check(onnx, api->CreateTensorWithDataAsOrtValue(onnx->memory, onnx->input, (size_t)width * INPUT_HEIGHT * 3 * sizeof(float),
                                                        shape, 4, ONNX_TYPE_FLOAT, &value), "take a line", problem) < 0)
        return -1;
    int answer = check(onnx, api->Run(onnx->session, NULL, (const char *const *)&onnx->input_name, (const struct onnx_value *const *)&value, 1,
                                      (const char *const *)&onnx->output_name, 1, &onnx->output), "read a line", problem);
    api->ReleaseValue(value);
    if (answer < 0 || check(onnx, api->GetTensorTypeAndShape(onnx->output, &info), "describe a line", problem) < 0)
        return -1;
    if (!(answer = check(onnx, api->GetDimensionsCount(info, &dimensions), "describe a line", problem)) && dimensions == 3)
        answer = check(onnx, api->GetDimensions(info, out, 3), "describe a line", problem);
    if (answer == 0)
        answer = check(onnx, api->GetTensorElementType(info, &type), "describe a line", problem);
    api->ReleaseTensorTypeAndShapeInfo(info);
    if (answer < 0 || check(onnx, api->GetTensorMutableData(onnx->output, &posteriors), "give a line", problem) < 0)
        return -1;
    if (dimensions != 3 || out[0] != 1 || out[1] < 1 || out[1] > INPUT_WIDTH_MAX / INPUT_WIDTH_STEP || out[2] != onnx->base.keys.count || type != ONNX_TYPE_FLOAT)
        return problem_set(problem, "The recogniser's model and its key file do not belong together (%lld classes, %d keys).",
                           (long long)out[2], onnx->base.keys.count);
    *ret = (struct reading){.posteriors = posteriors, .steps = (int)out[1], .classes = (int)out[2]};
    return 0;
}

static bool wanted(const struct keys *keys, int class, enum recogniser_way way)
{
    struct bytes key = keys->at[class];
    return way != READ_NUMBER || class == KEYS_BLANK || (key.count == 1 && ((key.at[0] >= '0' && key.at[0] <= '9') || key.at[0] == '-'));
}

/* The likeliest class of each step; the same class twice in a row is one character. */
static void read_greedily(struct onnx *onnx, enum recogniser_way way, struct box crop, struct reading *reading)
{
    int last = KEYS_BLANK, characters = 0;
    double confidence = 0;
    buf_clear(&onnx->text);
    for (int step = 0; step < reading->steps; step++) {
        const float *row = reading->posteriors + (size_t)step * (size_t)reading->classes;
        int best = KEYS_BLANK;
        for (int class = 1; class < reading->classes; class++)
            if (row[class] > row[best] && wanted(&onnx->base.keys, class, way))
                best = class;
        if (best != KEYS_BLANK && best != last) {
            buf_put(&onnx->text, onnx->base.keys.at[best]);
            confidence += row[best];
            onnx->places[characters++] = crop.x + (int)((step + 0.5) * crop.width / reading->steps);
        }
        last = best;
    }
    reading->text = buf_ok(&onnx->text) ? buf_bytes(&onnx->text) : (struct bytes){0};
    reading->places = onnx->places;
    reading->places_count = characters;
    reading->confidence = characters ? confidence / characters : 0;
}

static int onnx_read(struct recogniser *recogniser, const struct image *image, struct box line, enum recogniser_way way,
                     struct reading *ret, struct problem *problem)
{
    struct onnx *onnx = (struct onnx *)recogniser;
    struct box crop = recogniser_crop(image, line, padding);
    double squeeze = way == READ_NAME ? squeeze_name : 1, wide = crop.height ? (double)crop.width * INPUT_HEIGHT / crop.height * squeeze : 0;
    int width = wide > INPUT_WIDTH_MAX ? INPUT_WIDTH_MAX : (int)(wide + 0.5);
    width = (width + INPUT_WIDTH_STEP / 2) / INPUT_WIDTH_STEP * INPUT_WIDTH_STEP;
    width = width < INPUT_WIDTH_MIN ? INPUT_WIDTH_MIN : width;
    *ret = (struct reading){0};
    if (crop.width < 2 || crop.height < 2)
        return 0;
    size_t plane = (size_t)width * INPUT_HEIGHT;
    crop_resample(image, crop, width, INPUT_HEIGHT, onnx->input);
    /* The model was trained on blue, green, red; ours are the other way round. */
    for (size_t i = 0; i < plane; i++) {
        float red = onnx->input[i], blue = onnx->input[2 * plane + i];
        onnx->input[i] = blue / 127.5f - 1;
        onnx->input[plane + i] = onnx->input[plane + i] / 127.5f - 1;
        onnx->input[2 * plane + i] = red / 127.5f - 1;
    }
    if (run(onnx, width, ret, problem) < 0)
        return -1;
    read_greedily(onnx, way, crop, ret);
    return 0;
}

static int onnx_open(const struct recogniser_outfit *outfit, struct recogniser **ret, struct problem *problem)
{
    if (!outfit->library_path || !outfit->model.count || !outfit->keys.count)
        return problem_set(problem, "The ONNX recogniser needs its library, its model and its keys.");
    struct onnx *onnx = MEM_NEW(struct onnx);
    onnx->base.engine = &recogniser_onnx;
    buf_init(&onnx->text, TEXT_MAX);
    onnx->input = mem_new((size_t)INPUT_WIDTH_MAX * INPUT_HEIGHT * 3 * sizeof(float));
    if (keys_init(&onnx->base.keys, outfit->keys, problem) < 0 || load_library(onnx, outfit->library_path, problem) < 0
        || open_session(onnx, outfit->model, problem) < 0) {
        onnx_close(&onnx->base);
        return -1;
    }
    *ret = &onnx->base;
    return 0;
}

const struct recogniser_engine recogniser_onnx = {"onnx", onnx_open, onnx_read, onnx_close};
