#include "cli/command.h"

#include <stdio.h>
#include <string.h>

/* One flag at argv[*at]; moves *at to its value when that stands apart. */
static int take_flag(int argc, char **argv, int *at, struct settings *settings, struct arguments *ret, struct problem *problem)
{
    struct bytes name = bytes_of(argv[*at] + 2), rest = name;
    const char *equals = strchr(name.at, '='), *value = NULL;
    if (equals) {
        name = bytes_cut(&rest, '=');
        value = equals + 1;
    }
    if (bytes_equal(name, BYTES("help"))) {
        ret->help = true;
        return 0;
    }
    if (!value && settings_flag_has_value(name) && *at + 1 < argc)
        value = argv[++*at];
    int answer = settings_flag(settings, name, value, problem);
    return answer > 0 ? problem_set(problem, "there is no flag \"--%.*s\"", BYTES_ARG(name)) : answer;
}

int command_parse(int argc, char **argv, struct settings *settings, struct arguments *ret, struct problem *problem)
{
    bool flags = true;
    *ret = (struct arguments){.words = argv + 1};
    for (int at = 1; at < argc; at++) {
        const char *word = argv[at];
        if (flags && !strcmp(word, "--")) {
            flags = false;
        } else if (flags && word[0] == '-' && word[1] == '-') {
            if (take_flag(argc, argv, &at, settings, ret, problem))
                return -1;
        } else if (flags && !strcmp(word, "-h")) {
            ret->help = true;
        } else if (flags && word[0] == '-' && word[1]) {
            return problem_set(problem, "there is no flag \"%s\"", word);
        } else {
            ret->words[ret->count++] = argv[at];
        }
    }
    return 0;
}

int command_refuse(const char *command, const struct problem *problem)
{
    fprintf(stderr, "rivulet %s: %s\n", command, problem->text);
    return EXIT_USAGE;
}
