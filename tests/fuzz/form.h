/* A form, read in pieces, and all that is told of it as one text: what two ways of cutting are compared by. */
#pragma once
#include "fuzz.h"

#include "http/multipart.h"

#include "base/text.h"

static struct buf *told;
static int open_parts;

static int on_part(void *user, const struct multipart_part *part)
{
    fuzz_must(open_parts++ == 0, "one part at a time");
    fuzz_must(text_is_utf8(part->name) && text_is_utf8(part->filename), "names are UTF-8");
    fuzz_must(part->name.count <= LIMIT_NAME_BYTES && part->filename.count <= LIMIT_NAME_BYTES, "names are bounded");
    fuzz_must(!part->filename.count || part->is_file, "who has a filename is a file");
    buf_print(told, "[%u %.*s|%.*s|%.*s|%d%d]", part->index, BYTES_ARG(part->name), BYTES_ARG(part->filename), BYTES_ARG(part->type),
              part->is_file, part->filename_cut);
    return 0;
}

static int on_data(void *user, struct bytes data)
{
    fuzz_must(open_parts == 1 && data.count > 0, "data belongs to a part");
    buf_put(told, data);
    return 0;
}

static int on_part_end(void *user)
{
    fuzz_must(open_parts-- == 1, "only an open part ends");
    buf_text(told, ";");
    return 0;
}

static const struct multipart_calls CALLS = {on_part, on_data, on_part_end};

/* Reads a form in a first piece of `step` bytes and further ones of `then`; what came of it is told in `ret`. */
static int read_form(const char *boundary, struct bytes form, size_t step, size_t then, struct buf *ret)
{
    struct multipart *multipart = multipart_new(boundary, 20, &CALLS, NULL);
    struct problem problem = {0};
    int answer = 0;
    told = ret;
    open_parts = 0;
    while (!answer && form.count) {
        size_t count = step < form.count ? step : form.count;
        answer = multipart_feed(multipart, (struct bytes){form.at, count}, &problem);
        form.at += count;
        form.count -= count;
        step = then;
    }
    if (!answer)
        answer = multipart_end(multipart, &problem);
    fuzz_must((answer != 0) == problem_is(&problem), "an error has a sentence");
    fuzz_must(answer != 0 || open_parts == 0, "a good form has no open part");
    multipart_free(multipart);
    return answer;
}
