#include "cli/command.h"
#include "worker/worker.h"

#include <stdio.h>
#include <string.h>

int command_worker(int argc, char **argv)
{
    return worker_main();
}

static const struct command commands[] = {
    {"serve", "[flags]", "take batches over HTTP and stream their results", command_serve, false},
    {"run", "PIPELINE [flags] FILES…", "do a batch here and now: JSON Lines on standard output as each item ends", command_run, false},
    {"worker", "", "a child of the other two; not for people", command_worker, true},
};
enum { COMMANDS_COUNT = sizeof commands / sizeof *commands };

static int help(FILE *out)
{
    fputs("rivulet: a batch in, each result out the moment it is ready.\n\n", out);
    for (int i = 0; i < COMMANDS_COUNT; i++)
        if (!commands[i].hidden)
            fprintf(out, "  rivulet %s %-25s %s\n", commands[i].name, commands[i].arguments, commands[i].help);
    fputs("\n`rivulet COMMAND --help` lists a command's flags; `rivulet --version` says which one this is.\n", out);
    return out == stdout ? EXIT_WELL : EXIT_USAGE;
}

int main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    if (!strcmp(word, "--version")) {
        puts("rivulet " RIVULET_VERSION);
        return EXIT_WELL;
    }
    if (!strcmp(word, "--help") || !strcmp(word, "-h") || !strcmp(word, "help"))
        return help(stdout);
    for (int i = 0; i < COMMANDS_COUNT; i++)
        if (!strcmp(word, commands[i].name))
            return commands[i].run(argc - 1, argv + 1);
    if (word[0])
        fprintf(stderr, "rivulet: there is no command \"%s\"\n", word);
    return help(stderr);
}
