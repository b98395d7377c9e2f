/* What is told about the commands: --help, man pages, completions. All of it is made from the tables in commands.c and config/settings.c. */
#pragma once
#include "cli/command.h"

void manual_help(const struct command *command, struct buf *ret);      /* --help */
void manual_overview(struct buf *ret);                                 /* `rivulet --help` */
