/* The commands of the program, one table (commands.c): names, flags, functions. Help, man pages and completions are made from it
 * (manual.h), so a flag is written down once. Exit status everywhere: 0 all well, 1 something failed, 2 the command was not understood or
 * cannot begin (one sentence on standard error says why). */
#pragma once
#include "base/buf.h"
#include "base/problem.h"
#include "config/settings.h"

enum { EXIT_WELL = 0, EXIT_SOME_FAILED = 1, EXIT_USAGE = 2, COMMAND_FLAGS_MAX = 24 };

/* A flag of one command. What the whole program is set by (--data, --workers …) stands in config/settings.c instead. */
struct flag {
    const char *name;             /* without its dashes */
    const char *value;            /* what its value is called: "FILE"; NULL = it takes none */
    const char *help;
};

struct command {
    const char *name;             /* "run", or two words: "jobs prune" */
    const char *arguments;        /* "PIPELINE [flags] FILES…" */
    const char *help;             /* one line */
    const char *text;             /* paragraphs for --help and the man page; NULL = none */
    const struct flag *flags;     /* ended by one without a name; NULL = none */
    enum { TAKES_NO_SETTINGS, TAKES_SETTINGS, TAKES_SERVER_SETTINGS } settings;
    int (*run)(const struct command *command, int argc, char **argv);    /* argv[0] is the command's last word */
    bool hidden;
};

extern const struct command commands[];      /* ended by one without a name; commands.c */

int command_serve(const struct command *command, int argc, char **argv);
int command_run(const struct command *command, int argc, char **argv);
int command_worker(const struct command *command, int argc, char **argv);
int command_check(const struct command *command, int argc, char **argv);
int command_backup(const struct command *command, int argc, char **argv);
int command_submit(const struct command *command, int argc, char **argv);
int command_watch(const struct command *command, int argc, char **argv);
int command_jobs(const struct command *command, int argc, char **argv);
int command_prune(const struct command *command, int argc, char **argv);
int command_show(const struct command *command, int argc, char **argv);
int command_results(const struct command *command, int argc, char **argv);
int command_cancel(const struct command *command, int argc, char **argv);
int command_retry(const struct command *command, int argc, char **argv);
int command_delete(const struct command *command, int argc, char **argv);
int command_man(const struct command *command, int argc, char **argv);
int command_completion(const struct command *command, int argc, char **argv);

extern const struct flag run_flags[], check_flags[], backup_flags[], submit_flags[], watch_flags[], jobs_flags[], prune_flags[], show_flags[], results_flags[], remote_flags[],
    retry_flags[];

/* What stands on a command line: flags of the command and settings are taken, the rest is left in order. `--` ends the flags, `-` is an
 * argument. 0, or -1 and a problem that says what is unknown or lacks a value. `--help` sets ret->help. */
struct arguments {
    char **words;                 /* borrowed from argv */
    int count;
    bool help;
    const char *values[COMMAND_FLAGS_MAX];       /* of command->flags, in their order: NULL = not given, "" = given, takes no value */
};
/* settings may be NULL where the command takes none. */
int command_parse(const struct command *command, int argc, char **argv, struct settings *settings, struct arguments *ret,
                  struct problem *problem);
int command_refuse(const struct command *command, const struct problem *problem);      /* says it, answers EXIT_USAGE */
