/* What is told about the commands: --help, man pages, completions. All of it is made from the tables in commands.c and config/settings.c. */
#pragma once
#include "cli/command.h"

int manual_print(const struct command *command);                       /* --help, on standard output; EXIT_WELL */
void manual_overview(struct buf *ret);                                 /* `rivulet --help` */
