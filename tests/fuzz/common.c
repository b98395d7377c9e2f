/* What all targets share, and the door by which libFuzzer and AFL++ come in. */
#include "fuzz.h"

#include "base/mem.h"
#include "base/text.h"
#include "expr/expr.h"
#include "store/blob.h"

#include <stdio.h>

struct fuzz_stand_ins fuzz_stand_ins;
static struct fuzz_target *targets;

void fuzz_register(struct fuzz_target *target)
{
    struct fuzz_target **at = &targets;
    while (*at && strcmp((*at)->name, target->name) < 0)
        at = &(*at)->next;
    target->next = *at;
    *at = target;
}

struct fuzz_target *fuzz_targets(void);
struct fuzz_target *fuzz_targets(void)
{
    return targets;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count)
{
    fuzz_stand_ins = (struct fuzz_stand_ins){0};
    targets->run((struct bytes){(const char *)data, count});
    return 0;
}

/* libfyaml 0.7 loses what it has gathered of some scalars in single quotes, jq 1.6 some of a program that it refuses. Pipeline files and their programs are
 * the operator's own, so that costs nobody anything; what we ourselves lose of jq's values, the unit tests would see. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libfyaml\nleak:libjq\n";
}

void fuzz_broken(const char *file, int line, const char *what)
{
    fprintf(stderr, "broken: %s (%s:%d)\n", what, file, line);
    abort();
}

void fuzz_check_problem(const struct problem *problem, bool failed)
{
    struct bytes text = bytes_of(problem->text);
    fuzz_must(failed == problem_is(problem), "a refusal has a sentence, and nothing else has");
    fuzz_must(text_is_utf8(text), "a sentence is UTF-8");
    for (size_t i = 0; i < text.count; i++)
        fuzz_must((unsigned char)text.at[i] >= ' ' && text.at[i] != 0x7f, "a sentence has no control characters");
}

uint8_t fuzz_byte(struct bytes *input)
{
    if (!input->count)
        return 0;
    input->count--;
    return (uint8_t)*input->at++;
}

uint64_t fuzz_number(struct bytes *input, int bytes)
{
    uint64_t number = 0;
    for (int i = 0; i < bytes; i++)
        number |= (uint64_t)fuzz_byte(input) << (8 * i);
    return number;
}

uint64_t fuzz_below(struct bytes *input, uint64_t bound)
{
    return fuzz_number(input, bound <= 256 ? 1 : bound <= 65536 ? 2 : 8) % bound;
}

bool fuzz_chance(struct bytes *input, int percent)
{
    return fuzz_byte(input) * 100 / 256 >= 100 - percent;
}

struct bytes fuzz_piece(struct bytes *input, size_t max)
{
    size_t count = (size_t)fuzz_below(input, max + 1);
    struct bytes piece = {input->at, count < input->count ? count : input->count};
    input->at += piece.count;
    input->count -= piece.count;
    return piece;
}

struct bytes fuzz_until(struct bytes *input, char mark)
{
    return bytes_cut(input, mark);
}

const char *fuzz_word(struct bytes *input, const char *const *words, size_t count)
{
    return words[fuzz_below(input, count)];
}

/* ---- in the place of what is dear (the linker's --wrap) ---- */

struct expr *__real_expr_compile(struct bytes program, struct expr_place *ret_place, struct problem *problem);
struct expr *__wrap_expr_compile(struct bytes program, struct expr_place *ret_place, struct problem *problem);
void __real_expr_free(struct expr *expr);
void __wrap_expr_free(struct expr *expr);
int __real_blob_put(struct blobs *blobs, struct bytes data, struct sha *ret);
int __wrap_blob_put(struct blobs *blobs, struct bytes data, struct sha *ret);

struct expr *__wrap_expr_compile(struct bytes program, struct expr_place *ret_place, struct problem *problem)
{
    if (!fuzz_stand_ins.jq)
        return __real_expr_compile(program, ret_place, problem);
    const char *bad = memmem(program.at, program.count, "wrong", 5);
    if (!bad)
        return mem_new(1);
    *ret_place = (struct expr_place){1, (int)(bad - program.at) + 1};
    for (const char *at = program.at; at < bad; at++)
        if (*at == '\n')
            *ret_place = (struct expr_place){ret_place->line + 1, (int)(bad - at)};
    problem_set(problem, "it is wrong");
    return NULL;
}

void __wrap_expr_free(struct expr *expr)
{
    if (fuzz_stand_ins.jq)
        free(expr);
    else
        __real_expr_free(expr);
}

int __wrap_blob_put(struct blobs *blobs, struct bytes data, struct sha *ret)
{
    if (!fuzz_stand_ins.blobs)
        return __real_blob_put(blobs, data, ret);
    *ret = (struct sha){0};
    return 0;
}
