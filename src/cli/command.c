#include "cli/command.h"

#include <stdio.h>
#include <string.h>

static int flag_at(const struct command *command, struct bytes name)
{
    for (int i = 0; command->flags && command->flags[i].name; i++)
        if (bytes_equal(name, bytes_of(command->flags[i].name)))
            return i;
    return -1;
}

static int take_own(const struct flag *flag, const char *value, const char **ret, struct problem *problem)
{
    if (flag->value && !value)
        return problem_set(problem, "--%s needs a value: --%s %s", flag->name, flag->name, flag->value);
    if (!flag->value && value)
        return problem_set(problem, "--%s takes no value", flag->name);
    *ret = value ? value : "";
    return 0;
}

static int take_setting(struct settings *settings, struct bytes name, const char *value, struct problem *problem)
{
    int answer = settings ? settings_flag(settings, name, value, problem) : 1;
    return answer > 0 ? problem_set(problem, "there is no flag \"--%.*s\"", BYTES_ARG(name)) : answer;
}

/* One flag at argv[*at]; moves *at to its value when that stands apart. */
static int take_flag(const struct command *command, int argc, char **argv, int *at, struct settings *settings, struct arguments *ret,
                     struct problem *problem)
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
    int own = flag_at(command, name);
    bool wants = own >= 0 ? command->flags[own].value != NULL : settings && settings_flag_has_value(name);
    if (!value && wants && *at + 1 < argc)
        value = argv[++*at];
    return own >= 0 ? take_own(&command->flags[own], value, &ret->values[own], problem) : take_setting(settings, name, value, problem);
}

int command_parse(const struct command *command, int argc, char **argv, struct settings *settings, struct arguments *ret,
                  struct problem *problem)
{
    bool flags = true;
    *ret = (struct arguments){.words = argv + 1};
    for (int at = 1; at < argc; at++) {
        const char *word = argv[at];
        if (flags && !strcmp(word, "--")) {
            flags = false;
        } else if (flags && word[0] == '-' && word[1] == '-') {
            if (take_flag(command, argc, argv, &at, settings, ret, problem))
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

int command_refuse(const struct command *command, const struct problem *problem)
{
    fprintf(stderr, "rivulet %s: %s\n", command->name, problem->text);
    return EXIT_USAGE;
}
