/* `rivulet backup`: a data directory is copied while it is in use. */
#include "store/backup.h"
#include "cli/manual.h"
#include "os/privilege.h"

#include <stdio.h>
#include <stdlib.h>

const struct flag backup_flags[] = {
    {"data", "DIR", "the data directory (else RIVULET_DATA, else ./rivulet-data)"},
    {NULL},
};
enum { BACKUP_DATA };

int command_backup(const struct command *command, int argc, char **argv)
{
    struct arguments arguments;
    struct problem problem = {0};
    struct backup told;
    if (command_parse(command, argc, argv, NULL, &arguments, &problem))
        return command_refuse(command, &problem);
    if (arguments.help)
        return manual_print(command);
    if (arguments.count != 1) {
        problem_set(&problem, "name the directory that the backup is to become");
        return command_refuse(command, &problem);
    }
    const char *dir = arguments.values[BACKUP_DATA] ? arguments.values[BACKUP_DATA] : getenv("RIVULET_DATA");
    privilege_shut();      /* the copy is as private as what it is made of */
    if (backup_make(dir ? dir : "rivulet-data", arguments.words[0], &told, &problem)) {
        fprintf(stderr, "rivulet backup: %s\n", problem.text);
        return EXIT_SOME_FAILED;
    }
    printf("%s: %lld jobs up to event %llu, %lld stored files, %.1f MB\n", arguments.words[0], (long long)told.jobs, (unsigned long long)told.pos,
           (long long)told.blobs, (double)told.bytes / 1e6);
    if (told.lost)
        fprintf(stderr, "rivulet backup: %lld stored files are missing in %s itself: rivulet check --data %s says which\n", (long long)told.lost,
                dir ? dir : "rivulet-data", dir ? dir : "rivulet-data");
    return told.lost ? EXIT_SOME_FAILED : EXIT_WELL;
}
