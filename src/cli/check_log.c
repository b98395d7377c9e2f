#include "cli/check_log.h"

#include "cli/command.h"
#include "store/audit.h"

#include <stdio.h>

enum { SHOWN_MAX = 1000 };      /* findings; beyond it they are counted only */

static void show(void *data, const struct audit_finding *finding)
{
    static const char *const words[] = {"note", "cache", "LOST"};
    int64_t *shown = data;
    if (++*shown > SHOWN_MAX)
        return;
    printf("%-6s%s", words[finding->grade], audit_part_name(finding->part));
    if (finding->job[0])
        printf(", job %s", finding->job);
    if (finding->seq)
        printf(", event %llu", (unsigned long long)finding->seq);
    printf(": %s\n", finding->text);
}

static void show_table(const struct audit *audit)
{
    printf("%-16s%12s%10s%10s\n", "", "looked at", "to mend", "lost");
    for (int part = 0; part < AUDIT_PARTS_COUNT; part++)
        printf("%-16s%12lld%10lld%10lld\n", audit_part_name(part), (long long)audit->looked[part], (long long)audit->findings[part][AUDIT_CACHE],
               (long long)audit->findings[part][AUDIT_LOST]);
}

static int refuse(const struct audit *audit, const struct problem *problem)
{
    fprintf(stderr, "rivulet check: %s\n", problem->text);
    return audit_count(audit, AUDIT_LOST) ? EXIT_SOME_FAILED : EXIT_USAGE;
}

static void say(const char *dir, const struct audit *audit)
{
    int64_t caches = audit_count(audit, AUDIT_CACHE), lost = audit_count(audit, AUDIT_LOST);
    if (!caches && !lost)
        printf("%s: all is well\n", dir);
    if (caches)
        printf("%s: %lld to mend: rivulet check --data %s --rebuild, with the server stopped\n", dir, (long long)caches, dir);
    if (lost)
        printf("%s: %lld that no rebuild mends: put a backup in its place\n", dir, (long long)lost);
    if (audit->broken)
        printf("%s: %lld job%s cannot go on; --rebuild --drop forgets %s\n", dir, (long long)audit->broken, audit->broken == 1 ? "" : "s",
               audit->broken == 1 ? "it" : "them");
}

static int look(const char *dir)
{
    struct problem problem = {0};
    int64_t shown = 0;
    struct audit audit = {.data = &shown, .found = show};
    if (audit_look(dir, &audit, &problem))
        return refuse(&audit, &problem);
    if (shown > SHOWN_MAX)
        printf("… and %lld more\n", (long long)(shown - SHOWN_MAX));
    show_table(&audit);
    say(dir, &audit);
    return audit_count(&audit, AUDIT_CACHE) || audit_count(&audit, AUDIT_LOST) ? EXIT_SOME_FAILED : EXIT_WELL;
}

int check_log(const char *dir, bool rebuild, bool drop)
{
    struct problem problem = {0};
    int64_t shown = 0;
    struct audit audit = {.data = &shown, .found = show};
    if (!rebuild)
        return look(dir);
    if (audit_rebuild(dir, drop, &audit, &problem))
        return refuse(&audit, &problem);
    if (audit.dropped)
        printf("%s: %lld jobs were forgotten\n", dir, (long long)audit.dropped);
    printf("%s: all caches were made anew from %lld events\n", dir, (long long)audit.looked[AUDIT_EVENTS]);
    return look(dir);
}
