/* The engine that every Debian can have: Tesseract with its Chinese model. It wants dark text on white, one line at a time. Every
 * line is turned round if need be, scaled to the height that the model likes, and stretched to full contrast. */
#include "base/mem.h"
#include "vision/crop.h"
#include "vision/recognise.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <tesseract/capi.h>

enum { LINE_HEIGHT = 48, LINE_WIDTH_MAX = 2400, TEXT_MAX = 4096 };

static const double padding = 0.50;      /* of the line's height; with 0.3 it loses quantities and a tenth more names */

struct tesseract {
    struct recogniser base;
    TessBaseAPI *api;
    float *planes;
    uint8_t *grey;
    struct buf text;
    enum recogniser_way way;             /* what the engine is set for */
};

static void tesseract_close(struct recogniser *recogniser)
{
    struct tesseract *tesseract = (struct tesseract *)recogniser;
    if (tesseract->api) {
        TessBaseAPIEnd(tesseract->api);
        TessBaseAPIDelete(tesseract->api);
    }
    free(tesseract->planes);
    free(tesseract->grey);
    buf_done(&tesseract->text);
    free(tesseract);
}

/* Its inner loops would start four threads each. The variable that forbids it is read before main begins, so the library that it is for
 * is told as well: no parallel region may be active. */
static void one_thread(void)
{
    void *symbol = dlsym(RTLD_DEFAULT, "omp_set_max_active_levels");
    void (*set_levels)(int);
    memcpy(&set_levels, &symbol, sizeof symbol);
    setenv("OMP_THREAD_LIMIT", "1", 1);
    if (symbol)
        set_levels(0);
}

static int tesseract_open(const struct recogniser_outfit *outfit, struct recogniser **ret, struct problem *problem)
{
    struct tesseract *tesseract = MEM_NEW(struct tesseract);
    tesseract->base.engine = &recogniser_tesseract;
    buf_init(&tesseract->text, TEXT_MAX);
    tesseract->planes = mem_new((size_t)LINE_WIDTH_MAX * LINE_HEIGHT * 3 * sizeof(float));
    tesseract->grey = mem_new((size_t)LINE_WIDTH_MAX * LINE_HEIGHT);
    one_thread();
    tesseract->api = TessBaseAPICreate();
    TessBaseAPISetVariable(tesseract->api, "debug_file", "/dev/null");
    if (TessBaseAPIInit2(tesseract->api, outfit->tessdata_path, "chi_sim", OEM_LSTM_ONLY) != 0) {
        problem_set(problem, "Tesseract cannot load its model chi_sim from %s (Debian: tesseract-ocr-chi-sim).",
                    outfit->tessdata_path ? outfit->tessdata_path : "its own folder");
        tesseract_close(&tesseract->base);
        return -1;
    }
    TessBaseAPISetPageSegMode(tesseract->api, PSM_SINGLE_LINE);
    *ret = &tesseract->base;
    return 0;
}

/* The grey value that parts dark from light best (Otsu). */
static int threshold_of(const uint8_t *grey, size_t count)
{
    size_t bins[256] = {0}, below = 0;
    double sum = 0, sum_below = 0, best = -1;
    int threshold = 128;
    for (size_t i = 0; i < count; i++)
        bins[grey[i]]++;
    for (int v = 0; v < 256; v++)
        sum += (double)v * (double)bins[v];
    for (int v = 0; v < 255; v++) {
        below += bins[v];
        sum_below += (double)v * (double)bins[v];
        if (!below || below == count)
            continue;
        double apart = sum_below / (double)below - (sum - sum_below) / (double)(count - below);
        double spread = (double)below * (double)(count - below) * apart * apart;
        if (spread > best)
            best = spread, threshold = v;
    }
    return threshold;
}

/* Dark on white with a soft edge: the threshold becomes the middle, text is whatever has the smaller share of the pixels. */
static void stretch(uint8_t *grey, size_t count)
{
    int threshold = threshold_of(grey, count);
    size_t light = 0;
    double dark_sum = 0, light_sum = 0;
    for (size_t i = 0; i < count; i++) {
        light += grey[i] > threshold;
        *(grey[i] > threshold ? &light_sum : &dark_sum) += grey[i];
    }
    if (!light || light == count)
        return;
    double dark = dark_sum / (double)(count - light), bright = light_sum / (double)light;
    bool turn = light < count - light;
    for (size_t i = 0; i < count; i++) {
        double value = (grey[i] - dark) / (bright - dark);
        value = value < 0 ? 0 : value > 1 ? 1 : value;
        grey[i] = (uint8_t)(255 * (turn ? 1 - value : value));
    }
}

static void set_way(struct tesseract *tesseract, enum recogniser_way way)
{
    if (tesseract->way == way)
        return;
    TessBaseAPISetVariable(tesseract->api, "tessedit_char_whitelist", way == READ_NUMBER ? "0123456789-x" : "");
    tesseract->way = way;
}

static int tesseract_read(struct recogniser *recogniser, const struct image *image, struct box line, enum recogniser_way way,
                          struct reading *ret, struct problem *problem)
{
    struct tesseract *tesseract = (struct tesseract *)recogniser;
    struct box crop = recogniser_crop(image, line, padding);
    *ret = (struct reading){0};
    if (crop.width < 2 || crop.height < 2)
        return 0;
    double wide = (double)crop.width * LINE_HEIGHT / crop.height;
    int width = wide > LINE_WIDTH_MAX ? LINE_WIDTH_MAX : (int)(wide + 0.5);
    width = width < 4 ? 4 : width;
    size_t plane = (size_t)width * LINE_HEIGHT;
    crop_resample(image, crop, width, LINE_HEIGHT, tesseract->planes);
    /* Red alone: on this page it is what differs most between text and surface. */
    for (size_t i = 0; i < plane; i++)
        tesseract->grey[i] = (uint8_t)tesseract->planes[i];
    stretch(tesseract->grey, plane);
    set_way(tesseract, way);
    TessBaseAPISetImage(tesseract->api, tesseract->grey, width, LINE_HEIGHT, 1, width);
    TessBaseAPISetSourceResolution(tesseract->api, 300);
    char *text = TessBaseAPIGetUTF8Text(tesseract->api);
    if (!text)
        return problem_set(problem, "Tesseract failed to read a line of %d x %d pixels.", line.width, line.height);
    buf_clear(&tesseract->text);
    for (const char *at = text; *at; at++)
        buf_byte(&tesseract->text, *at == '\n' ? ' ' : *at);
    ret->text = buf_ok(&tesseract->text) ? bytes_trim(buf_bytes(&tesseract->text)) : (struct bytes){0};
    ret->confidence = TessBaseAPIMeanTextConf(tesseract->api) / 100.0;
    TessDeleteText(text);
    return 0;
}

const struct recogniser_engine recogniser_tesseract = {"tesseract", tesseract_open, tesseract_read, tesseract_close};
