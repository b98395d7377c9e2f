/* Every limit of the program, with its unit and its reason: one file, so that nobody has to look for the second one. What
 * a user may set is only the default here. Part by part; whoever builds a part adds its numbers to its block. */
#pragma once

#define KIB(n) ((n) * 1024LL)
#define MIB(n) ((n) * 1024LL * 1024)
#define SECONDS(n) ((n) * 1000000LL)            /* in µs, as all times are */

/* ---- events and the store ---- */
#define EVENT_BODY_BYTES_MAX KIB(64)            /* one event's JSON; a value beyond it is a blob */
#define INLINE_VALUE_BYTES_MAX KIB(64)          /* a result inside its event; beyond it a blob */
#define SEED_RESULT_BYTES_MAX MIB(1)            /* a result inlined on the seed face; beyond it the item fails */
#define ITEMS_ADDED_COUNT_MAX 256               /* items in one items.added event … */
#define ITEMS_ADDED_BYTES_MAX KIB(64)           /* … and its bytes; then the next event */
#define ITEM_VALUE_BYTES_MAX KIB(48)            /* an item's JSON value; beyond it a blob */
#define COMMIT_WAITING_EVENTS_MAX 8192          /* accepted, not yet durable; then intake stops reading and nothing is claimed */
#define COMMIT_WAITING_BYTES_MAX MIB(16)        /* the same in bytes; outcomes always fit, slots bound them */
#define COMMIT_GROUP_EVENTS_MAX 1024            /* events in one transaction … */
#define COMMIT_GROUP_BYTES_MAX MIB(4)           /* … and its bytes, so that a commit never takes long */
#define COMMIT_GAP_US 1000                      /* at most one commit a ms: more burns CPU and wins nothing */
#define READ_EVENTS_MAX 256                     /* events in one read transaction, so that the WAL can be reset … */
#define READ_BYTES_MAX KIB(256)                 /* … and its bytes */
#define FLUSH_EVENTS 16384                      /* the caches of the fold are written behind at least this often */
#define TAIL_RING_BYTES_MAX MIB(8)              /* encoded frames of the newest events, all jobs; older ones come from the store */
#define OPEN_ITEMS_MAX 4194304                  /* items of open jobs in memory at 16 bytes each; beyond it 429 */
#define DISK_FREE_BYTES_MIN MIB(256)            /* less free space: new jobs 507, running ones go on */
#define INTERRUPTS_MAX 5                        /* restarts that one item may meet before it is called poison */
#define JOB_KEPT_DAYS 7                         /* a finished job and its files, then they are removed */

/* ---- streams ---- */
#define STREAM_WRITE_BYTES_MAX KIB(256)         /* one write in flight to one reader: its whole pending memory … */
#define STREAM_WRITE_FRAMES_MAX 64              /* … and at most so many frames in it */
#define STREAM_STALL_US SECONDS(30)             /* a socket that should take bytes and takes none is closed */
#define STREAM_NOTSENT_BYTES KIB(32)            /* TCP_NOTSENT_LOWAT: else a stalled socket hides 1-2 MB in the kernel */
#define HEARTBEAT_US SECONDS(15)                /* silence of a stream; proxies cut at 30-60 s */

/* ---- HTTP ---- */
#define HTTP_BODY_BYTES_MAX MIB(1024)           /* a request's body (MAX_BODY_MB); beyond it 413 */
#define HTTP_HEAD_BYTES_MAX KIB(16)             /* request line and headers; beyond it 431 */
#define HTTP_TARGET_BYTES_MAX KIB(8)            /* the request target; beyond it 414 */
#define HTTP_FIELDS_MAX 100                     /* header fields; browsers send about 20, proxies add 10; beyond it 431 */
#define HTTP_ANSWER_BYTES_MAX MIB(64)           /* an answer that is held whole in memory; longer ones are streams */
#define HTTP_CONNECTIONS_MAX 12000              /* open at a time (10,000 subscribers and room), never more than files allow */
#define HTTP_FILES_RESERVED 256                 /* file descriptors that connections leave to the rest of the program */
#define HTTP_READ_BYTES KIB(64)                 /* one read from a socket; also the most that a paused body holds back */
#define HTTP_READS_A_TURN 4                     /* reads of one connection before the others have their turn */
#define HTTP_PIPELINED_BYTES_MAX HTTP_HEAD_BYTES_MAX   /* bytes of next requests read ahead of the present answer */
#define HTTP_IDLE_US SECONDS(75)                /* keep-alive without a request: above the 60 s after which proxies let go */
#define HTTP_HEAD_US SECONDS(15)                /* from a head's first byte to its last, however slowly it dribbles */
#define HTTP_BODY_WINDOW_US SECONDS(20)         /* while we read a body, in each such window … */
#define HTTP_BODY_WINDOW_BYTES KIB(20)          /* … at least so much has to come (1 KiB/s: slower than any real line) */
#define HTTP_DISCARD_BYTES_MAX MIB(64)          /* of a refused body read and thrown away so that the answer is seen … */
#define HTTP_DISCARD_US SECONDS(10)             /* … and so long */

/* ---- multipart ---- */
#define MULTIPART_PARTS_MAX 10000               /* parts in one body, unless the caller says less */
#define MULTIPART_PART_HEAD_BYTES_MAX KIB(8)    /* the headers of one part */
#define MULTIPART_NAME_BYTES_MAX 255            /* a field's name; longer is refused */
#define FILE_NAME_BYTES_MAX 255                 /* a file's name in UTF-8: cut there and marked */

/* ---- loop ---- */
#define LOOP_POSTS_MAX 65536                    /* messages waiting in the loop's mailbox; each poster bounds its own */
