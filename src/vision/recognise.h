/* Reading one line of text from a picture: one interface, two engines. The ONNX engine gives, beside its text, how likely
 * each character is in each column of the line, so that known names can be scored against it (ctc.h); Tesseract gives text only.
 *
 * Opening loads every file; reading opens none and starts no thread. One thread at a time. */
#pragma once
#include "base/buf.h"
#include "vision/image.h"
#include "vision/keys.h"

struct recogniser_outfit {
    struct bytes model, keys;      /* contents; borrowed until open returns. ONNX only */
    const char *library_path;      /* libonnxruntime.so */
    const char *tessdata_path;     /* NULL = Tesseract's own place */
};

/* How a line is to be read. */
enum recogniser_way {
    READ_LINE,        /* free text at full width */
    READ_NAME,        /* a card's name: squeezed, which costs nothing in accuracy and saves a third of the time */
    READ_NUMBER,      /* digits and little else: "x3", "2025-09-13", "7" */
};

/* What was read. Borrowed from the recogniser until its next reading. */
struct reading {
    struct bytes text;             /* greedy reading, UTF-8; may be empty */
    double confidence;             /* of that text, 0 … 1 */
    const float *posteriors;       /* steps x classes, each row sums to 1; NULL when the engine has none */
    int steps, classes;
    const int *places;             /* by character of the text: its middle, x in the image; NULL with the posteriors */
    int places_count;
};

struct recogniser;

struct recogniser_engine {
    const char *name;
    int (*open)(const struct recogniser_outfit *outfit, struct recogniser **ret, struct problem *problem);
    /* Read the line whose ink fills `line`. -1 and a problem when the engine failed. */
    int (*read)(struct recogniser *recogniser, const struct image *image, struct box line, enum recogniser_way way,
                struct reading *ret, struct problem *problem);
    void (*close)(struct recogniser *recogniser);
};

/* Every engine's own structure begins with this. */
struct recogniser {
    const struct recogniser_engine *engine;
    struct keys keys;              /* what the classes mean; empty when there are no posteriors */
};

extern const struct recogniser_engine recogniser_onnx, recogniser_tesseract;

/* The line with the room around it that engines like, inside the image. */
struct box recogniser_crop(const struct image *image, struct box line, double padding);
