#include "cli/manual.h"

#include <stdio.h>
#include <string.h>

enum { WIDTH = 100, TEXT_BYTES_MAX = 256 * 1024 };

/* ---- for a terminal ---- */

/* Words filled into lines of WIDTH columns. */
static void put_filled(struct buf *ret, const char *text)
{
    struct bytes rest = bytes_of(text);
    size_t column = 0;
    while (rest.count) {
        struct bytes word = bytes_cut(&rest, ' ');
        if (column && column + 1 + word.count > WIDTH) {
            buf_byte(ret, '\n');
            column = 0;
        }
        if (column)
            buf_byte(ret, ' ');
        buf_put(ret, word);
        column += word.count + (column > 0);
    }
    buf_byte(ret, '\n');
}

static void put_flags(const struct command *command, struct buf *ret)
{
    for (const struct flag *flag = command->flags; flag && flag->name; flag++) {
        char left[64];
        snprintf(left, sizeof left, "--%s%s%s", flag->name, flag->value ? " " : "", flag->value ? flag->value : "");
        buf_print(ret, "  %-24s %s\n", left, flag->help);
    }
}

int manual_print(const struct command *command)
{
    struct buf text BUF_OWNED;
    buf_init(&text, TEXT_BYTES_MAX);
    buf_print(&text, "rivulet %s %s\n\n", command->name, command->arguments);
    put_filled(&text, command->text ? command->text : command->help);
    buf_byte(&text, '\n');
    put_flags(command, &text);
    if (command->settings != TAKES_NO_SETTINGS)
        settings_help(&text, command->settings == TAKES_SERVER_SETTINGS);
    fputs(buf_z(&text), stdout);
    return EXIT_WELL;
}

void manual_overview(struct buf *ret)
{
    buf_text(ret, "rivulet: a batch in, each result out the moment it is ready.\n\n");
    for (const struct command *command = commands; command->name; command++)
        if (!command->hidden)
            buf_print(ret, "  rivulet %-11s %-26s %s\n", command->name, command->arguments, command->help);
    buf_text(ret, "\n`rivulet COMMAND --help` lists a command's flags; `rivulet --version` says which one this is.\n");
}

/* ---- for man ---- */

/* Text as roff: a dash that may be typed is \-, and no line begins with a dot or a quote. */
static void put_roff(struct buf *ret, const char *text)
{
    for (const char *at = text; *at; at++) {
        if ((at == text || at[-1] == '\n') && (*at == '.' || *at == '\''))
            buf_text(ret, "\\&");
        if (*at == '-')
            buf_text(ret, "\\-");
        else if (*at == '\\')
            buf_text(ret, "\\e");
        else
            buf_byte(ret, *at);
    }
}

static void put_section(struct buf *ret, const char *name)
{
    buf_print(ret, "\n.SH %s\n", name);
}

static void put_roff_flags(const struct command *command, struct buf *ret)
{
    struct buf settings BUF_OWNED;
    buf_init(&settings, TEXT_BYTES_MAX);
    for (const struct flag *flag = command->flags; flag && flag->name; flag++) {
        buf_text(ret, ".TP\n\\fB\\-\\-");
        put_roff(ret, flag->name);
        buf_print(ret, "\\fR %s\n", flag->value ? flag->value : "");
        put_roff(ret, flag->help);
        buf_byte(ret, '\n');
    }
    if (command->settings == TAKES_NO_SETTINGS)
        return;
    settings_help(&settings, command->settings == TAKES_SERVER_SETTINGS);
    buf_text(ret, ".PP\n.nf\n");
    put_roff(ret, buf_z(&settings));
    buf_text(ret, ".fi\n");
}

static void put_status(struct buf *ret)
{
    put_section(ret, "EXIT STATUS");
    buf_text(ret, "0 when all went well, 1 when something failed or was stopped, 2 when the command was not understood or could not begin.\n");
}

static void put_page(const struct command *command, struct buf *ret)
{
    buf_print(ret, ".TH \"RIVULET %s\" 1 \"\" \"rivulet " RIVULET_VERSION "\" \"\"\n.SH NAME\nrivulet ", command->name);
    put_roff(ret, command->name);
    buf_text(ret, " \\- ");
    put_roff(ret, command->help);
    put_section(ret, "SYNOPSIS");
    buf_print(ret, ".B rivulet %s\n", command->name);
    put_roff(ret, command->arguments);
    buf_byte(ret, '\n');
    put_section(ret, "DESCRIPTION");
    put_roff(ret, command->text ? command->text : command->help);
    buf_byte(ret, '\n');
    if (command->flags || command->settings != TAKES_NO_SETTINGS) {
        put_section(ret, "OPTIONS");
        put_roff_flags(command, ret);
    }
    put_status(ret);
}

static void put_main_page(struct buf *ret)
{
    buf_text(ret, ".TH RIVULET 1 \"\" \"rivulet " RIVULET_VERSION "\" \"\"\n.SH NAME\nrivulet \\- a batch in, each result out the moment it is ready\n");
    put_section(ret, "SYNOPSIS");
    buf_text(ret, ".B rivulet\nCOMMAND [flags] [arguments]\n");
    put_section(ret, "COMMANDS");
    for (const struct command *command = commands; command->name; command++) {
        if (command->hidden)
            continue;
        buf_print(ret, ".SS \"%s ", command->name);
        put_roff(ret, command->arguments);
        buf_text(ret, "\"\n");
        put_roff(ret, command->text ? command->text : command->help);
        buf_byte(ret, '\n');
        put_roff_flags(command, ret);
    }
    put_status(ret);
}

static const struct command *find(const char *first, const char *second)
{
    char name[64];
    snprintf(name, sizeof name, "%s%s%s", first, second ? " " : "", second ? second : "");
    for (const struct command *command = commands; command->name; command++)
        if (!strcmp(command->name, name))
            return command;
    return NULL;
}

int command_man(const struct command *command, int argc, char **argv)
{
    struct buf page BUF_OWNED;
    struct problem problem = {0};
    const struct command *about = argc > 1 ? find(argv[1], argc > 2 ? argv[2] : NULL) : NULL;
    buf_init(&page, TEXT_BYTES_MAX);
    if (argc > 1 && !about) {
        problem_set(&problem, "there is no command \"%s\"", argv[1]);
        return command_refuse(command, &problem);
    }
    if (about)
        put_page(about, &page);
    else
        put_main_page(&page);
    fputs(buf_z(&page), stdout);
    return EXIT_WELL;
}

/* ---- for shells ---- */

/* All flags of a command, separated by spaces; those of the settings are found in the help that lists them. */
static void put_flag_words(const struct command *command, struct buf *ret)
{
    struct buf help BUF_OWNED;
    buf_init(&help, TEXT_BYTES_MAX);
    put_flags(command, &help);
    if (command->settings != TAKES_NO_SETTINGS)
        settings_help(&help, command->settings == TAKES_SERVER_SETTINGS);
    for (struct bytes rest = buf_bytes(&help); rest.count;) {
        struct bytes line = bytes_trim(bytes_cut(&rest, '\n'));
        if (bytes_start(line, BYTES("--"))) {
            buf_put(ret, bytes_cut(&line, ' '));
            buf_byte(ret, ' ');
        }
    }
    buf_text(ret, "--help");
}

static bool one_word(const struct command *command)
{
    return !command->hidden && !strchr(command->name, ' ');
}

static void put_names(struct buf *ret)
{
    for (const struct command *command = commands; command->name; command++)
        if (one_word(command))
            buf_print(ret, "%s%s", command == commands ? "" : " ", command->name);
}

static void put_bash(struct buf *ret)
{
    buf_text(ret, "_rivulet()\n{\n    local word=${COMP_WORDS[COMP_CWORD]}\n    COMPREPLY=()\n    if [ \"$COMP_CWORD\" -eq 1 ]; then\n        COMPREPLY=($(compgen -W '");
    put_names(ret);
    buf_text(ret, " --help --version' -- \"$word\"))\n        return\n    fi\n    case $word in\n    -*) ;;\n    *) return ;;\n    esac\n    case ${COMP_WORDS[1]} in\n");
    for (const struct command *command = commands; command->name; command++) {
        if (!one_word(command))
            continue;
        buf_print(ret, "    %s) COMPREPLY=($(compgen -W '", command->name);
        put_flag_words(command, ret);
        buf_text(ret, "' -- \"$word\")) ;;\n");
    }
    buf_text(ret, "    esac\n}\ncomplete -o default -F _rivulet rivulet\n");
}

static void put_zsh(struct buf *ret)
{
    buf_text(ret, "#compdef rivulet\nautoload -U +X bashcompinit && bashcompinit\n");
    put_bash(ret);
}

static void put_fish(struct buf *ret)
{
    for (const struct command *command = commands; command->name; command++) {
        if (!one_word(command))
            continue;
        buf_print(ret, "complete -c rivulet -n __fish_use_subcommand -a %s -d \"%s\"\n", command->name, command->help);
        struct buf words BUF_OWNED;
        buf_init(&words, TEXT_BYTES_MAX);
        put_flag_words(command, &words);
        for (struct bytes rest = buf_bytes(&words); rest.count;) {
            struct bytes word = bytes_cut(&rest, ' ');
            buf_print(ret, "complete -c rivulet -n \"__fish_seen_subcommand_from %s\" -l %.*s\n", command->name, (int)word.count - 2, word.at + 2);
        }
    }
}

int command_completion(const struct command *command, int argc, char **argv)
{
    static const struct {
        const char *shell;
        void (*put)(struct buf *ret);
    } shells[] = {{"bash", put_bash}, {"zsh", put_zsh}, {"fish", put_fish}};
    struct problem problem = {0};
    for (size_t i = 0; argc == 2 && i < sizeof shells / sizeof *shells; i++) {
        if (strcmp(argv[1], shells[i].shell))
            continue;
        struct buf text BUF_OWNED;
        buf_init(&text, TEXT_BYTES_MAX);
        shells[i].put(&text);
        fputs(buf_z(&text), stdout);
        return EXIT_WELL;
    }
    problem_set(&problem, "name one shell: bash, zsh or fish");
    return command_refuse(command, &problem);
}
