/* One program from its start to its end: bytes in, bytes out, no shell. It dies with the process that started it. Thread: one at a time a process. */
#pragma once
#include "base/buf.h"
#include "base/problem.h"

enum { EXEC_ARGS_MAX = 256, EXEC_ENV_MAX = 64, EXEC_SAID_BYTES = 2048 };

struct exec_child {
    char *const *argv, *const *env;      /* NULL-terminated, borrowed; argv[0] is looked up in our own PATH when it has no slash */
    const char *cwd;                     /* NULL = ours */
    int rules;                           /* for landlock_enter; borrowed. -1 = none */
    int input_fd;                        /* its standard input, from offset 0; borrowed. -1 = `input` */
    struct bytes input;                  /* what it reads there; empty = nothing */
    int64_t cpu_s, memory_bytes, files;  /* its limits; 0 = ours */
    size_t output_max;                   /* bytes of standard output; beyond it is killed */
    /* What came of it: */
    int status;                          /* as from waitpid */
    struct buf output;                   /* all of its standard output */
    struct buf errors;                   /* the last EXEC_SAID_BYTES of its standard error */
};
#define EXEC_CHILD_NONE ((struct exec_child){.input_fd = -1, .rules = -1})

/* Blocks until it has ended. What it left running is asked to end (SIGTERM), if we lead our process group and
 * ignore that. 0: `status` holds; EXEC_AGAIN and a problem: it could not be
 * started, or looked after, for now; -1 and a problem: it cannot be started, or wrote more than it may. */
enum { EXEC_AGAIN = 1 };
int exec_child_run(struct exec_child *child, struct problem *problem);
void exec_child_done(struct exec_child *child);
