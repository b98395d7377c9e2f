/* Where the accurate recogniser lies: a folder outside the sources that the set-up fills, ${RIVULET_MODELS}, else
 * ${XDG_CACHE_HOME}/rivulet, else ~/.cache/rivulet, else (where those are empty) lib/rivulet/models of the system, where a package puts it. */
#pragma once
#include "stage/stage.h"

struct models {
    char *library, *model, *keys;      /* paths; NULL where the file is missing. Owned */
    char notice[400];                  /* one line that says what is lost; "" when all three are there */
};

/* Look for the files in `folder`, or in the places above when it is NULL. Never fails: what is missing is NULL. */
void models_find(struct models *models, const char *folder);
void models_done(struct models *models);
/* Name them in an outfit, which borrows them. */
void models_outfit(const struct models *models, struct stage_outfit *outfit);
