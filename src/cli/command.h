/* The commands of the program, one table (main.c): names, help, functions. Exit status everywhere: 0 all well, 1 something failed,
 * 2 the command was not understood or cannot begin (one sentence on standard error says why). */
#pragma once
#include "base/problem.h"
#include "config/settings.h"

enum { EXIT_WELL = 0, EXIT_SOME_FAILED = 1, EXIT_USAGE = 2 };

struct command {
    const char *name, *arguments, *help;
    int (*run)(int argc, char **argv);    /* argv[0] is the command's name */
    bool hidden;
};

int command_serve(int argc, char **argv);
int command_run(int argc, char **argv);
int command_worker(int argc, char **argv);

/* What stands on a command line: settings are taken, the rest is left in order. `--` ends the flags, `-` is an argument. Own flags of a
 * command that are no settings come to `own` (may be NULL; answers like settings_flag). 0, or -1 and a problem that says what is
 * unknown or lacks a value. `--help` sets *ret_help. */
struct arguments {
    char **words;             /* borrowed from argv */
    int count;
    bool help;
};
int command_parse(int argc, char **argv, struct settings *settings, struct arguments *ret, struct problem *problem);
int command_refuse(const char *command, const struct problem *problem);      /* says it, answers EXIT_USAGE */
