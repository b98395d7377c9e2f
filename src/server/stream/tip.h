/* Tips: the end of one job's log on one face, and everybody who stands there. What comes next is rendered once, framed once and given to
 * all of them in one loop: a delivery is a system call from memory that they share.
 *
 *     log ──▶ feed (one a job and face) ──▶ block ──┬──▶ members that have everything: written now
 *                                                   └──▶ kept for members whose socket is full, newest LIMIT_TIP_BYTES over all tips
 *
 * A member is a place (seq). It has everything when its place is the tip's; one that is behind reads the kept blocks, or, when these
 * reach back no further, leaves and reads the log by a feed of its own until it has caught up.
 *
 * Thread: loop. */
#pragma once
#include "base/list.h"
#include "base/map.h"
#include "http/http.h"
#include "readers/feed.h"

struct tip;

struct tip_member {
    struct list link;               /* in the tip's members, in any order */
    struct tip *tip;                /* NULL = stands at none */
    uint64_t place;                 /* all events up to this seq were begun to be written */
};

/* What tips ask of those who stand there. */
struct tip_client {
    /* Write the block if the socket can take anything; true = begun. Must not call into the tip. */
    bool (*give)(struct tip_member *member, struct http_block *block, int frames, int64_t now_us);
    void (*over)(struct tip_member *member);    /* it has everything, and nothing comes any more */
    void (*off)(struct tip_member *member);     /* it stands at no tip any more: read on from its place. Must not join inside the call */
};

/* All tips of a service. */
struct tips {
    const struct cursor_world *world;
    const struct tip_client *client;
    struct map map;                 /* job and face → struct tip */
    struct list kept;               /* blocks of all tips, oldest first */
    size_t kept_bytes;
    struct buf scratch;             /* where every block is rendered */
};

void tips_init(struct tips *tips, const struct cursor_world *world, const struct tip_client *client);
void tips_done(struct tips *tips);      /* all members have left */

/* Stand at the tip of a job, having everything up to place `seq`. False: the tip is elsewhere at this moment, go on reading and ask again at
 * the next news. `give` may be called inside. */
bool tip_join(struct tips *tips, struct live *live, enum face face, uint64_t seq, struct tip_member *member);
void tip_leave(struct tip_member *member);      /* harmless when it stands at none */
bool tip_has_all(const struct tip_member *member);
bool tip_is_over(const struct tip_member *member);

/* The blocks that follow the member's place, for one write of at most LIMIT_STREAM_WRITE_FRAMES frames and about LIMIT_STREAM_WRITE_BYTES.
 * How many; 0 = it has everything; -1 = no longer kept. Borrowed until the next call. */
int tip_missed(const struct tip_member *member, struct http_block *ret[LIMIT_STREAM_WRITE_FRAMES]);
/* The first `count` of these were begun. Answers the number of frames in them. */
uint64_t tip_took(struct tip_member *member, int count);

/* A hint for those who have everything. */
void tip_hint(struct tips *tips, int64_t job, enum face face, int64_t item, int percent, struct bytes status, int64_t wall_us);
