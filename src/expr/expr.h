/* Expressions: jq programs over JSON texts, compiled once and run many times. A thin door over libjq, so that nothing above it knows libjq.
 *
 * A program sees its input as `.` and the names of EXPR_VARIABLES as $params, $vars …, taken from one JSON object ("the variables"); a name that is
 * not there is null. Environment, files and other inputs are out of its reach.
 *
 * Numbers are doubles: an integer beyond 2^53 loses digits (with jq 1.7, of Debian 13, only when something is computed from it), so ids that are that long
 * must be strings. A ~/.jq of whoever compiles is seen by the compiler, as jq does it; workers have no home. An error(null) is no output in jq 1.6, and an error in 1.7.
 *
 * A template is text with \(…) in it, as in a jq string; expr_template() makes a program of it that answers a string. No other backslash is
 * special, but for \\( which stands for \( itself.
 *
 * Programs come from pipeline files and are trusted to mean well; their input comes from anywhere. Neither is trusted to end: each run has a
 * limit of processor time, kept by a watchdog thread that the first run starts. A program that eats all memory ends its process: run them in workers, compile them
 * anywhere.
 *
 * Thread: one at a time for each expr; different ones in different threads are fine. */
#pragma once
#include "base/buf.h"
#include "base/problem.h"

struct expr;

#define EXPR_VARIABLES "params", "vars", "batch", "job", "item", "now", "id", "start", "poll", "response", "usage"

/* Where a program is wrong: line and column from 1 in its own text, 0 = not known. */
struct expr_place {
    int line, column;
};

/* NULL and a problem (one sentence, as jq says it) when it does not compile; ret_place may be NULL. Takes about 30 ms. */
struct expr *expr_compile(struct bytes program, struct expr_place *ret_place, struct problem *problem);
void expr_free(struct expr *expr);                  /* NULL does nothing */
uint64_t expr_compiled(void);                       /* how often this process has compiled one; any thread */

/* The first output, as one line of JSON, into `ret` (behind what is there). 0; EXPR_NOTHING: it gave no output; -1 and a problem: its error, the
 * time limit, an output over the buf's cap, an input that is no JSON or deeper than JSON_DEPTH_MAX.
 * input      JSON; variables: a JSON object, or empty
 * limit_us   0 = EXPR_TIME_US */
enum { EXPR_NOTHING = 1, EXPR_TIME_US = 1000000 };
int expr_run(struct expr *expr, struct bytes input, struct bytes variables, int64_t limit_us, struct buf *ret, struct problem *problem);

/* The program that a template stands for. With `url`, what is interpolated is percent-encoded, but for a template that begins with \( : that one gives
 * the address itself. 0, or -1 and a problem (an interpolation that does not end). */
int expr_template(struct bytes text, bool url, struct buf *ret, struct problem *problem);

/* Compiled programs by their text, the least used thrown away beyond EXPR_SHELF_MAX: for workers, which get their programs with each task. */
enum { EXPR_SHELF_MAX = 64 };
struct expr_shelf;
struct expr_shelf *expr_shelf_new(void);
struct expr *expr_shelf_get(struct expr_shelf *shelf, struct bytes program, struct problem *problem);     /* borrowed until the next call */
void expr_shelf_free(struct expr_shelf *shelf);
