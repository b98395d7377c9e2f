#include "stage/models.h"

#include "base/mem.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *home(void)
{
    const char *home = getenv("HOME");
    struct passwd *user = home && *home ? NULL : getpwuid(getuid());
    return user ? user->pw_dir : home ? home : "/";
}

/* The system's folder, where a package puts them, is looked at where the user's own holds none. */
static void folder_of(char *ret, size_t size)
{
    static const char system_wide[] = RIVULET_LIBRARY "/models";
    const char *own = getenv("RIVULET_MODELS"), *cache = getenv("XDG_CACHE_HOME");
    if (own && *own)
        snprintf(ret, size, "%s", own);
    else if (cache && *cache)
        snprintf(ret, size, "%s/rivulet", cache);
    else
        snprintf(ret, size, "%s/.cache/rivulet", home());
    char library[4100];
    snprintf(library, sizeof library, "%s/libonnxruntime.so", ret);
    if (!(own && *own) && access(library, R_OK) && !access(system_wide, R_OK))
        snprintf(ret, size, "%s", system_wide);
}

static char *look_for(struct models *models, const char *folder, const char *name)
{
    char path[4096];
    int count = snprintf(path, sizeof path, "%s/%s", folder, name);
    if (count < (int)sizeof path && access(path, R_OK) == 0)
        return mem_text(path);
    if (!*models->notice)
        snprintf(models->notice, sizeof models->notice, "The accurate recogniser is not there (no %s in %s): Tesseract reads instead, "
                 "and it leaves more names unmatched, above all those of one character.", name, folder);
    return NULL;
}

void models_find(struct models *models, const char *folder)
{
    char found[4000];
    *models = (struct models){0};
    if (!folder) {
        folder_of(found, sizeof found);
        folder = found;
    }
    models->library = look_for(models, folder, "libonnxruntime.so");
    models->model = look_for(models, folder, "ch_PP-OCRv4_rec_infer.onnx");
    models->keys = look_for(models, folder, "ppocr_keys_v1.txt");
}

void models_done(struct models *models)
{
    free(models->library);
    free(models->model);
    free(models->keys);
    *models = (struct models){0};
}

void models_outfit(const struct models *models, struct stage_outfit *outfit)
{
    outfit->library_path = models->library;
    outfit->model_path = models->model;
    outfit->keys_path = models->keys;
}
