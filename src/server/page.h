/* The page: the files of web/, in the program since it was built (tools/embed.py). */
#pragma once
#include "base/bytes.h"

struct page_file {
    const char *path;      /* "/", "/assets/app.js" */
    const char *type;
    const char *tag;       /* ETag, with its quotes */
    struct bytes content;
};

extern const struct page_file page_files[];
extern const size_t page_files_count;
