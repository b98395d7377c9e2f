#include "cli/manual.h"
#include "worker/worker.h"

#include <stdio.h>
#include <string.h>

int command_worker(const struct command *command, int argc, char **argv)
{
    return worker_main();
}

static int overview(FILE *out)
{
    struct buf text BUF_OWNED;
    buf_init(&text, 65536);
    manual_overview(&text);
    fputs(buf_z(&text), out);
    return out == stdout ? EXIT_WELL : EXIT_USAGE;
}

/* How many words of argv name this command: 0 = another one. */
static int named(const struct command *command, int argc, char **argv)
{
    struct bytes rest = bytes_of(command->name);
    int words = 0;
    while (rest.count) {
        struct bytes word = bytes_cut(&rest, ' ');
        if (words + 1 >= argc || !bytes_equal(word, bytes_of(argv[words + 1])))
            return 0;
        words++;
    }
    return words;
}

int main(int argc, char **argv)
{
    const char *word = argc > 1 ? argv[1] : "";
    const struct command *best = NULL;
    int words = 0;
    if (!strcmp(word, "--version")) {
        puts("rivulet " RIVULET_VERSION);
        return EXIT_WELL;
    }
    if (!strcmp(word, "--help") || !strcmp(word, "-h") || !strcmp(word, "help"))
        return overview(stdout);
    for (const struct command *command = commands; command->name; command++) {
        int count = named(command, argc, argv);
        best = count > words ? command : best;
        words = count > words ? count : words;
    }
    if (best)
        return best->run(best, argc - words, argv + words);
    if (word[0])
        fprintf(stderr, "rivulet: there is no command \"%s\"\n", word);
    return overview(stderr);
}
