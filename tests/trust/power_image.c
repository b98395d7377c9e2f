/* A moment's disk. An operation is durable when its file or directory was synced behind it; of the others any part may be there: of a write any
 * of its sectors, in any order; of a file's growth the size without the bytes; of names each or none. */
#include "power.h"

#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const lie_names[LIE_COUNT] = {"nothing", "the log's WAL", "the log's database", "files of blobs", "folders of blobs", "the data directory"};

struct file { char *at; size_t size, room; };
struct piece { size_t op, from, count; };      /* of a write: a sector; else the whole operation, count 0 */

static struct file files[FILES_MAX];
static size_t synced[FILES_MAX], dir_synced[DIRS_MAX];       /* 1 + the last operation that is a sync of it */
static struct piece pieces[OPS_MAX];
static size_t pieces_count;
static struct entry { uint32_t dir, id; char name[72]; bool is_dir, used; } entries[FILES_MAX];
static size_t entries_count;
static char dir_paths[DIRS_MAX][PATH_ROOM];
static bool dir_there[DIRS_MAX];

/* ---- what is durable ---- */

static const char *first_name(uint32_t file, size_t before)
{
    for (size_t i = 0; i < before; i++)
        if (journal->ops[i].id == file && journal->ops[i].kind == OP_CREATE)
            return journal->ops[i].name;
    return "";
}

static const char *name_of_dir(uint32_t dir, size_t before)
{
    for (size_t i = 0; i < before; i++)
        if (journal->ops[i].id == dir && journal->ops[i].kind == OP_MKDIR)
            return journal->ops[i].name;
    return "";
}

static bool ends_with(const char *text, const char *end)
{
    size_t count = strlen(text), end_count = strlen(end);
    return count >= end_count && !strcmp(text + count - end_count, end);
}

/* The disk says that it has synced, and has not. */
static bool is_lie(const struct op *op, size_t before, enum lie lie)
{
    if (lie == LIE_NONE)
        return false;
    if (op->kind == OP_SYNC) {
        const char *name = first_name(op->id, before);
        bool wal = ends_with(name, "-wal"), base = ends_with(name, ".db");
        return (lie == LIE_WAL_SYNC && wal) || (lie == LIE_DB_SYNC && base) || (lie == LIE_BLOB_SYNC && !wal && !base && !strchr(name, '.'));
    }
    const char *name = name_of_dir(op->id, before);
    if (lie == LIE_BLOB_DIR)
        return strlen(name) == 2 || !strcmp(name, "blobs");
    return lie == LIE_DATA_DIR && !strcmp(name, "data");
}

static void find_syncs(size_t end, enum lie lie)
{
    memset(synced, 0, sizeof synced);
    memset(dir_synced, 0, sizeof dir_synced);
    for (size_t i = 0; i < end; i++) {
        const struct op *op = &journal->ops[i];
        if ((op->kind == OP_SYNC || op->kind == OP_SYNC_DIR) && !is_lie(op, end, lie))
            *(op->kind == OP_SYNC ? &synced[op->id] : &dir_synced[op->id]) = i + 1;
    }
}

static bool is_durable(const struct op *op, size_t number)
{
    switch (op->kind) {
    case OP_WRITE:
    case OP_TRUNCATE: return synced[op->id] > number;
    case OP_RENAME: return dir_synced[op->dir] > number;
    default: return dir_synced[op->dir] > number;
    }
}

/* ---- applying ---- */

static void apply_bytes(uint32_t id, size_t at, const char *bytes, size_t count)
{
    struct file *file = &files[id];
    size_t end = at + count;
    if (end > file->room) {
        size_t room = end * 2;
        file->at = mem_grow(file->at, room);
        memset(file->at + file->room, 0, room - file->room);
        file->room = room;
    }
    if (end > file->size)
        file->size = end;
    if (bytes)
        memcpy(file->at + at, bytes, count);
}

static void apply_truncate(uint32_t id, size_t size)
{
    struct file *file = &files[id];
    if (size < file->size) {
        memset(file->at + size, 0, file->size - size);
        file->size = size;
    } else if (size > file->size) {
        apply_bytes(id, file->size, NULL, size - file->size);
    }
}

static struct entry *entry_of(uint32_t dir, const char *name)
{
    for (size_t i = entries_count; i-- > 0;)
        if (entries[i].used && entries[i].dir == dir && !strcmp(entries[i].name, name))
            return &entries[i];
    return NULL;
}

static void set_entry(uint32_t dir, const char *name, uint32_t id, bool is_dir)
{
    struct entry *entry = entry_of(dir, name);
    if (!entry)
        entry = &entries[entries_count++];
    *entry = (struct entry){.dir = dir, .id = id, .is_dir = is_dir, .used = true};
    memcpy(entry->name, name, sizeof entry->name);
}

static void drop_entry(uint32_t dir, const char *name, uint32_t id)
{
    struct entry *entry = entry_of(dir, name);
    if (entry && entry->id == id)
        entry->used = false;
}

static void apply(const struct op *op, size_t from, size_t count)
{
    switch (op->kind) {
    case OP_WRITE: apply_bytes(op->id, (size_t)op->at + from, journal->bytes + op->data + from, count); break;
    case OP_TRUNCATE: apply_truncate(op->id, (size_t)op->at); break;
    case OP_CREATE: set_entry(op->dir, op->name, op->id, false); break;
    case OP_MKDIR: set_entry(op->dir, op->name, op->id, true); break;
    case OP_UNLINK: drop_entry(op->dir, op->name, op->id); break;
    case OP_RENAME:
        drop_entry(op->from, op->from_name, op->id);
        set_entry(op->dir, op->name, op->id, false);
        break;
    default: break;
    }
}

static bool changes_disk(const struct op *op)
{
    return op->kind == OP_WRITE || op->kind == OP_TRUNCATE || op->kind == OP_CREATE || op->kind == OP_MKDIR || op->kind == OP_UNLINK ||
           op->kind == OP_RENAME;
}

/* A write falls apart where sectors begin. */
static void add_pieces(const struct op *op, size_t number)
{
    for (size_t from = 0; from < op->count && pieces_count < OPS_MAX;) {
        size_t count = SECTOR - ((size_t)op->at + from) % SECTOR;
        count = count < op->count - from ? count : op->count - from;
        pieces[pieces_count++] = (struct piece){number, from, count};
        from += count;
    }
    if (op->kind != OP_WRITE && pieces_count < OPS_MAX)
        pieces[pieces_count++] = (struct piece){number, 0, 0};
}

static void apply_durable(size_t end)
{
    pieces_count = entries_count = 0;
    for (uint32_t i = 0; i < journal->files; i++) {
        if (files[i].size)
            memset(files[i].at, 0, files[i].size);
        files[i].size = 0;
    }
    for (size_t i = 0; i < end; i++) {
        const struct op *op = &journal->ops[i];
        if (changes_disk(op) && is_durable(op, i))
            apply(op, 0, op->count);
        else if (changes_disk(op))
            add_pieces(op, i);
    }
}

/* ---- what chance leaves ---- */

enum leave { LEAVE_ALL, LEAVE_FRONT, LEAVE_FEW, LEAVE_HALF, LEAVE_MOST, LEAVE_SHUFFLED, LEAVE_BUT_ONE, LEAVE_ONE, LEAVE_SOME_FILES, LEAVE_NAMES, LEAVE_COUNT };

static void shuffle(struct rng *rng)
{
    for (size_t i = pieces_count; i > 1; i--) {
        size_t other = rng_below(rng, i);
        struct piece held = pieces[i - 1];
        pieces[i - 1] = pieces[other];
        pieces[other] = held;
    }
}

static bool stays(enum leave leave, size_t i, size_t chosen, uint64_t salt, struct rng *rng)
{
    const struct op *op = &journal->ops[pieces[i].op];
    switch (leave) {
    case LEAVE_ALL: return true;
    case LEAVE_FRONT: return i < chosen;
    case LEAVE_FEW: return rng_below(rng, 10) == 0;
    case LEAVE_HALF:
    case LEAVE_SHUFFLED: return rng_below(rng, 2) == 0;
    case LEAVE_MOST: return rng_below(rng, 10) != 0;
    case LEAVE_BUT_ONE: return i != chosen;
    case LEAVE_ONE: return i == chosen;
    case LEAVE_SOME_FILES: return hash_mix(salt + op->id + (op->kind == OP_WRITE || op->kind == OP_TRUNCATE ? 0 : FILES_MAX)) & 1;
    default: return op->kind != OP_WRITE && op->kind != OP_TRUNCATE;
    }
}

static void apply_chance(struct rng *rng)
{
    enum leave leave = (enum leave)rng_below(rng, LEAVE_COUNT);
    size_t chosen = rng_below(rng, pieces_count);
    uint64_t salt = rng_next(rng);
    if (leave == LEAVE_SHUFFLED)
        shuffle(rng);
    for (size_t i = 0; i < pieces_count; i++)
        if (stays(leave, i, chosen, salt, rng))
            apply(&journal->ops[pieces[i].op], pieces[i].from, pieces[i].count);
    bool grows = rng_below(rng, 4) == 0;       /* sizes that came without their bytes */
    for (size_t i = 0; i < pieces_count && grows; i++) {
        const struct op *op = &journal->ops[pieces[i].op];
        size_t end = (size_t)op->at + pieces[i].from + pieces[i].count;
        if (op->kind == OP_WRITE && end > files[op->id].size && rng_below(rng, 2))
            apply_bytes(op->id, files[op->id].size, NULL, end - files[op->id].size);
    }
}

/* ---- onto the real disk ---- */

static void write_out(const char *path, const struct file *file)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    for (size_t done = 0; fd >= 0 && done < file->size;) {
        ssize_t wrote = write(fd, file->at + done, file->size - done);
        if (wrote <= 0)
            break;
        done += (size_t)wrote;
    }
    if (fd < 0 || close(fd)) {
        fprintf(stderr, "power: %s: %s\n", path, strerror(errno));
        _exit(99);
    }
}

void image_make(const char *root, size_t op, enum lie lie, bool nothing, struct rng *rng)
{
    find_syncs(op, lie);
    apply_durable(op);
    if (!nothing && pieces_count)
        apply_chance(rng);
    memset(dir_there, 0, sizeof dir_there);
    snprintf(dir_paths[0], PATH_ROOM, "%s", root);
    dir_there[0] = !mkdir(root, 0700);
    for (size_t i = 0; i < 4 * entries_count; i++) {       /* as deep as folders lie in one another, in whatever order they were made */
        struct entry *entry = &entries[i % entries_count];
        if (!entry->used || !entry->is_dir || !dir_there[entry->dir] || dir_there[entry->id])
            continue;
        char path[PATH_ROOM];
        if ((size_t)snprintf(path, sizeof path, "%.170s/%s", dir_paths[entry->dir], entry->name) < sizeof path) {
            memcpy(dir_paths[entry->id], path, sizeof path);
            dir_there[entry->id] = !mkdir(path, 0700);
        }
    }
    for (size_t i = 0; i < entries_count; i++) {
        char path[PATH_ROOM + 80];
        if (!entries[i].used || entries[i].is_dir || !dir_there[entries[i].dir])
            continue;
        snprintf(path, sizeof path, "%s/%s", dir_paths[entries[i].dir], entries[i].name);
        write_out(path, &files[entries[i].id]);
    }
}
