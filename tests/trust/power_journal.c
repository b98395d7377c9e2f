#include "power.h"

#include "base/mem.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct journal *journal;
static bool watching;
static char root_path[PATH_ROOM];
static size_t root_count;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

const char *const phase_names[PHASE_COUNT] = {"none", "creation", "upload", "claims", "finishes", "flush", "checkpoint", "removal", "stop", "start",
                                              "upgrade"};

void journal_open(void)
{
    journal = mmap(NULL, sizeof *journal, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (journal == MAP_FAILED) {
        fprintf(stderr, "power: no memory for the journal\n");
        exit(71);
    }
}

void journal_begin(const char *root)
{
    journal->ops_count = journal->bytes_count = journal->names_count = 0;
    journal->files = 0;
    journal->dirs = 1;             /* 0 is the root */
    journal->failed_sync = 0;
    journal->retried = 0;
    journal->phase = PHASE_NONE;
    memset(journal->ways, 0, sizeof journal->ways);
    journal->failed_way = 0;
    memset(journal->seen, 0, sizeof journal->seen);
    snprintf(root_path, sizeof root_path, "%s", root);
    root_count = strlen(root_path);
    watching = true;
}

void journal_stop(void)
{
    watching = false;
}

bool journal_lock(void)
{
    if (!watching)
        return false;
    pthread_mutex_lock(&mutex);
    return true;
}

void journal_unlock(void)
{
    pthread_mutex_unlock(&mutex);
}

struct op *journal_add(enum op_kind kind)
{
    if (journal->ops_count == OPS_MAX) {
        fprintf(stderr, "power: the story is too long for its journal\n");
        _Exit(99);
    }
    struct op *op = &journal->ops[journal->ops_count++];
    *op = (struct op){.kind = kind};
    return op;
}

void journal_data(struct op *op, const void *at, size_t count)
{
    if (journal->bytes_count + count > DATA_MAX) {
        fprintf(stderr, "power: the story is too large for its journal\n");
        _Exit(99);
    }
    op->data = journal->bytes_count;
    op->count = count;
    memcpy(journal->bytes + op->data, at, count);
    journal->bytes_count += (count + 15) & ~(size_t)15;
}

struct name *journal_name(uint32_t dir, const char *name)
{
    for (size_t i = journal->names_count; i-- > 0;) {
        struct name *found = &journal->names[i];
        if (found->used && found->dir == dir && !strcmp(found->text, name))
            return found;
    }
    return NULL;
}

struct name *journal_new_name(uint32_t dir, const char *name, bool is_dir)
{
    if (journal->names_count == FILES_MAX || journal->dirs == DIRS_MAX || strlen(name) >= sizeof journal->names->text) {
        fprintf(stderr, "power: too many files, or too long a name: %s\n", name);
        _Exit(99);
    }
    struct name *fresh = &journal->names[journal->names_count++];
    *fresh = (struct name){.dir = dir, .id = is_dir ? journal->dirs++ : journal->files++, .is_dir = is_dir, .used = true};
    memcpy(fresh->text, name, strlen(name) + 1);
    return fresh;
}

bool journal_find(int64_t dir, const char *path, uint32_t *ret_dir, const char **ret_name)
{
    static _Thread_local char last[72];
    if (path[0] == '/') {
        if (strncmp(path, root_path, root_count) || (path[root_count] && path[root_count] != '/'))
            return false;
        dir = 0;
        path += root_count;
    }
    if (dir < 0)
        return false;
    uint32_t at = (uint32_t)dir;
    *ret_name = ".";
    for (;;) {
        size_t count = strspn(path, "/");
        path += count;
        if (!*path)
            break;
        count = strcspn(path, "/");
        snprintf(last, sizeof last, "%.*s", (int)count, path);
        path += count;
        if (!strcmp(last, "."))
            continue;
        if (strcmp(*ret_name, ".")) {          /* the part before was a directory */
            return false;
        }
        struct name *found = journal_name(at, last);
        if (found && found->is_dir)
            at = found->id;
        else
            *ret_name = last;
    }
    *ret_dir = at;
    return true;
}

const char *journal_name_of(uint32_t code)
{
    for (size_t i = journal->names_count; i-- > 0;)
        if (journal->names[i].used && code_of(journal->names[i].is_dir, journal->names[i].id) == code)
            return journal->names[i].text;
    return "";
}

void journal_told(const struct row *row)
{
    if (!journal_lock())
        return;
    struct told_row *told = mem_new(sizeof *told + row->body_bytes);
    *told = (struct told_row){row->pos, row->seq, row->job, row->epoch, row->at_us, row->item, (uint32_t)row->kind, row->attempt, row->body_bytes};
    memcpy(told->body, row->body, row->body_bytes);
    journal_data(journal_add(OP_TOLD), told, sizeof *told + row->body_bytes);
    free(told);
    journal_unlock();
}

void journal_note(enum op_kind kind, int64_t at)
{
    if (!journal_lock())
        return;
    journal_add(kind)->at = at;
    if (kind == OP_PHASE)
        journal->phase = (enum phase)at;
    journal_unlock();
}
