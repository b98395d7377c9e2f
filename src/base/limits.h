/* Every limit of the program in one place, with its unit and its reason. Nothing here is a wish: each is enforced where it is named,
 * and what goes beyond it gets a clear sentence or a slower path, never more memory.
 * One entry, one line of reason. Sorted by the room that enforces it. */
#pragma once

/* The store. */
#define LIMIT_FIRM_BYTES (256 * 1024)              /* bytes of a block that libraries must get, or the process ends; larger ones may be refused, and are looked at */
#define LIMIT_READ_ROWS 256                        /* rows in one answer of the log; longer read transactions would stop the WAL from being reset */
#define LIMIT_READ_BYTES (256 * 1024)              /* bytes of event bodies in one such answer, for the same reason; at least one row is given */
#define LIMIT_COMMIT_EVENTS 1024                   /* events in one commit: bounds the time until the first of them is durable */
#define LIMIT_COMMIT_BYTES (4 * 1024 * 1024)       /* bytes of event bodies in one commit, for the same reason; at least one event goes */
#define LIMIT_QUEUED_EVENTS 8192                   /* events waiting for the disk; beyond it intake stops reading and nothing is claimed */
#define LIMIT_QUEUED_BYTES (16 * 1024 * 1024)      /* bytes of events waiting for the disk, for the same reason */
#define LIMIT_TAIL_BYTES (8 * 1024 * 1024)         /* bytes of the newest rows kept in memory for readers at the tip; older ones are read from disk */
#define LIMIT_FLUSH_EVENTS 16384                   /* events between two flushes of the caches: bounds what the next start has to apply */
#define LIMIT_FREE_DISK_BYTES (256LL * 1024 * 1024)/* free bytes on the data disk below which no new job is taken, so that running ones can end */

#define LIMIT_PLACE_SEQS 1000                      /* positions in one row of the place cache: a page that is read, grown or pruned in one go */
#define LIMIT_PRUNE_ROWS 1000                      /* rows removed in one transaction, so that commits wait a few ms for it at most */
#define LIMIT_SWEEP_FILES 256                      /* blob files looked at in one step of the sweep, for the same reason */
#define LIMIT_CHECKPOINT_PAGES 1000                /* pages of 4 KiB in the WAL before they go to the database; less checkpoints too often */
#define LIMIT_WAL_PAGES 16384                      /* pages in the WAL beyond which a commit waits for readers so that it can begin anew */

#define LIMIT_LOCK_US 500000LL                     /* how long a start waits for the end of the server before it, which may be letting go of its data */
#define LIMIT_ROOM_US 200000LL                     /* between two looks whether a full disk has space again, or the process descriptors */
#define LIMIT_LIST_JOBS 1000                       /* jobs in one page of the list */
#define LIMIT_KEY_BYTES 255                        /* bytes of an Idempotency-Key */
#define LIMIT_KEY_US (24 * 3600 * 1000000LL)       /* how long such a key names its job: a day, as clients expect */
#define LIMIT_CHUNK_BYTES (16 * 1024 * 1024)       /* bytes of items.added kept in memory over all jobs; the rest is read again when due */
#define LIMIT_OPEN_SILENCE_US (15 * 60 * 1000000LL)/* an open job without a new item so long is ended */
#define LIMIT_OPEN_ITEMS (4 * 1024 * 1024)         /* items of open jobs in memory, 16 bytes each; beyond it 429 */

/* Results by key, and readers that go outwards. */
#define LIMIT_CACHE_KEYS 64                        /* results asked for at a time: bounds the answer at 4 MiB */
#define LIMIT_CACHE_BYTES (256LL * 1024 * 1024)    /* bytes of all results on disk; the first to expire go first */
#define LIMIT_CACHE_ROW_BYTES 128                  /* what a result takes on disk besides its value, roughly: bounds how many small ones there are */
#define LIMIT_CACHE_MEMORY_BYTES (4 * 1024 * 1024) /* bytes of the results written last: they are found before they are on disk */
#define LIMIT_CACHE_QUEUED_BYTES (16 * 1024 * 1024)/* bytes of results that wait for the disk; beyond it they are dropped: they cost work, nothing else */
#define LIMIT_READERS_QUEUED 65536                 /* cursors that wait for the disk; beyond it they are dropped: something is sent a second time */
#define LIMIT_SIDE_ROWS 256                        /* results and cursors in one commit: events never wait longer for it than some ms … */
#define LIMIT_SIDE_BYTES (1024 * 1024)             /* … and bytes of them; at least one goes */
#define LIMIT_OUTWARD_WRITE_US 1000000LL           /* between two writings of what has arrived at the other side: no more is sent twice after a crash */
#define LIMIT_OUTWARD_TURN 64                      /* rows of one job that a reader is given before others have their turn */
#define LIMIT_JOB_READERS 4                        /* readers that have to see one job: there are two kinds */

/* Events. */
#define LIMIT_BODY_BYTES (64 * 1024)               /* bytes of an event's body, an inline value or an inline result; a longer value is a blob */
#define LIMIT_ROW_BYTES (96 * 1024)                /* bytes of a whole row: one inline value and the fields around it */
#define LIMIT_ERROR_BYTES 2048                     /* bytes of an error sentence in an event; a longer one is cut */
#define LIMIT_FLUSH_US 1000000                     /* time between two flushes of the caches while something changes, for the same reason as the events */
#define LIMIT_ADDED_ITEMS 256                      /* items in one items.added event; the rest goes to the next event */
#define LIMIT_ADDED_BYTES (64 * 1024)              /* bytes of one items.added event, as any body */
#define LIMIT_SEED_RESULT_BYTES (1024 * 1024)      /* bytes of a result that the plain face sends inline; for a longer one it says that it cannot */
#define LIMIT_NAME_BYTES 255                       /* bytes of a file name in UTF-8; a longer one is cut and marked */
#define LIMIT_INTERRUPTS 5                         /* restarts an item may be interrupted by; one more fails it, so that it cannot kill for ever */
#define LIMIT_REMOTE_BYTES (8 * 1024)              /* bytes of what an item's remote side is known by: it comes back with every attempt */
#define LIMIT_RECORDS 100000                       /* records of one item's leg: whoever goes on with the leg is told all of them at once */
#define LIMIT_RETRY_AFTER_US (24 * 3600 * 1000000LL) /* the longest that a far side may put a retry off; beyond it a day is waited */
#define LIMIT_STATS 16                             /* named numbers in one outcome's stats: bounds the fold of a job */

/* Workers. */
#define LIMIT_FRAME_BYTES (192 * 1024)             /* bytes of one message to or from a worker, a leg's programs among them; a socket pair takes 208 KiB by default */
#define LIMIT_VARIABLES_BYTES (64 * 1024)          /* bytes of what a task's expressions see besides their input */
#define LIMIT_WORKERS 256                          /* worker processes; more than the cores of any machine this runs on */
#define LIMIT_WORKER_MEMORY_BYTES (2048LL * 1024 * 1024) /* address space of a worker once loaded: jq's tree of a value of 64 MiB takes 7 times as much, and it has two */
#define LIMIT_WORKER_FILES 16                      /* descriptors of a locked worker: it has 6 */
#define LIMIT_WORKER_CPU_S (24 * 3600)             /* CPU of one worker's life; it is replaced when idle at half of it, so only a runaway gets there */
#define LIMIT_PROGRAM_FILE_BYTES (4096LL * 1024 * 1024) /* bytes of one file that a program of an exec stage writes */
#define LIMIT_WORKER_LOAD_US 60000000LL            /* from its start to its ready: loading takes well under a second */
#define LIMIT_WORKER_FAILURES 3                    /* starts that fail in a row until the crew says that it is broken */
#define LIMIT_WORKER_PAUSE_US 30000000LL           /* the longest wait between two starts that fail */
#define LIMIT_WORKER_LEAVE_US 2000000LL            /* an idle worker that was asked to leave is killed after this long */
#define LIMIT_WORKER_STAGES 16                     /* stage kinds in an outfit, and stages in a leg */
#define LIMIT_WORKER_TURN 32                       /* frames of one worker that are looked at when its deadline has passed */
#define LIMIT_LESSONS 64                           /* frames of programs that a worker is to compile ahead; its shelf takes as many programs */
#define LIMIT_LESSONS_BYTES (64 * 1024)            /* bytes of those that a crew tells workers that come later */
#define LIMIT_HINT_US 100000LL                     /* between two hints of a worker; those in between are dropped */
#define LIMIT_HINTS_EARLY 8                        /* hints of a task with a new status, passed on although they come sooner */
#define LIMIT_HINT_BYTES 64                        /* bytes of a hint's status */

/* Trips. */
#define LIMIT_TRIPS 4096                           /* items away at a time; each waits without a thread and takes a few KiB */
#define LIMIT_ASKS 8192                            /* questions to workers in line; a trip has few, and beyond it an attempt is put off */
#define LIMIT_ASK_US 10000000LL                    /* one question, from the moment a worker has it */
#define LIMIT_ASK_BYTES (16 * 1024 * 1024)         /* bytes of an answer that is read whole */
#define LIMIT_ASK_INLINE_BYTES (32 * 1024)         /* bytes of an input that travels in the frame; a longer one goes as a file beside it */
#define LIMIT_RECORDS_AT_ONCE 256                  /* records of one item that are under way at a time, whatever its stages say */
#define LIMIT_RECORDS_BYTES (32 * 1024 * 1024)     /* bytes of the results of one item's records, held until all are there */
#define LIMIT_REFUSALS 20                          /* times that one call is sent again after a 429; then it is the attempt's end */
#define LIMIT_REFUSALS_FREE 6                      /* refusals that are answered by their own pause; further ones in the next … */
#define LIMIT_REFUSALS_US (300 * 1000000LL)        /* … five minutes are spread over them: known services ban at 25 in that time */
#define LIMIT_REFUSED_PAUSE_US (300 * 1000000LL)   /* the longest pause that all who share a limiter make */
#define LIMIT_CALL_ANSWER_BYTES (64 * 1024 * 1024) /* bytes of an answer unless its stage says otherwise */
#define LIMIT_FAREWELLS 256                        /* calls under way that call off what was begun elsewhere; beyond it none is sent */

/* Streams. Times are µs, as everywhere. */
#define LIMIT_STREAM_WRITE_BYTES (256 * 1024)      /* bytes of the one write in flight to a reader: all the memory a slow one can hold */
#define LIMIT_STREAM_WRITE_FRAMES 64               /* frames in one such write; more win nothing in a writev */
#define LIMIT_TIP_BYTES (2 * 1024 * 1024)          /* bytes of shared frames kept for readers whose socket is full; who is further behind reads the log */
#define LIMIT_STREAM_STALL_US 30000000LL           /* a socket that should take bytes and takes none so long is closed */
#define LIMIT_STREAM_NOTSENT_BYTES (32 * 1024)     /* TCP_NOTSENT_LOWAT: else a stalled socket hides 1-2 MB in the kernel */
#define LIMIT_PROFILES_BYTES (512 * 1024)          /* bytes of results inside a job document; the rest is in /results */
#define LIMIT_RETRY_BODY_BYTES (8 * 1024 * 1024)   /* bytes of the list of items to retry: a million numbers */
#define LIMIT_POLL_S 60                            /* seconds that a long poll may wait: proxies cut after about that */
#define LIMIT_SORTS 8                              /* answers by score at a time: each holds 16 bytes for every item of its job */
#define LIMIT_MULTI_JOBS 64                        /* jobs on one connection of /v1/events, and of one ticket for it: bounds its feeds */
#define LIMIT_STREAM_SILENCE_US 15000000LL         /* silence on a stream before a heartbeat; proxies cut after 30-60 s */

/* HTTP. */
#define LIMIT_HOOK_BYTES (64 * 1024)               /* bytes of a hook's body that are read, and forgotten; longer ones are thrown away unread */
#define LIMIT_HTTP_BODY_BYTES (1024LL * 1024 * 1024) /* bytes of a request's body unless MAX_BODY_MB says otherwise; beyond it 413 */
#define LIMIT_HTTP_HEAD_BYTES (16 * 1024)          /* bytes of request line and headers; beyond it 431 */
#define LIMIT_HTTP_TARGET_BYTES (8 * 1024)         /* bytes of a request target; beyond it 414 */
#define LIMIT_HTTP_FIELDS 100                      /* header fields; browsers send about 20, proxies add 10; beyond it 431 */
#define LIMIT_HTTP_ANSWER_BYTES (64 * 1024 * 1024) /* bytes of an answer that is held whole in memory; longer ones are streams */
#define LIMIT_HTTP_CONNECTIONS 12000               /* open at a time: 10,000 subscribers and room; never more than descriptors allow */
#define LIMIT_HTTP_ADDRESS_PERCENT 50              /* of all connections, for one address; loopback, where proxies live, is not counted */
#define LIMIT_HTTP_FILES_LEFT 256                  /* descriptors that connections leave to the rest of the program */
#define LIMIT_HTTP_FILES_LEAST 96                  /* … and the fewest, where there are hardly any: a server at rest has 45 open */
#define LIMIT_HTTP_READ_BYTES (64 * 1024)          /* bytes of one read from a socket, and the most that a paused body holds back */
#define LIMIT_HTTP_READS 4                         /* reads of one connection before the others have their turn */
#define LIMIT_HTTP_IDLE_US 75000000LL              /* keep-alive without a request: above the 60 s after which proxies let go */
#define LIMIT_HTTP_HEAD_US 15000000LL              /* from the first byte of a head to its last, however slowly it dribbles */
#define LIMIT_HTTP_BODY_WINDOW_US 20000000LL       /* in each such window of reading a body … */
#define LIMIT_HTTP_BODY_WINDOW_BYTES (20 * 1024)   /* … at least so many bytes have to come: slower than any real line */
#define LIMIT_HTTP_DISCARD_BYTES (64 * 1024 * 1024)/* bytes of a refused body read and thrown away, so that the answer is seen … */
#define LIMIT_HTTP_DISCARD_US 10000000LL           /* … and for how long */
#define LIMIT_MULTIPART_PARTS 10000                /* parts of one form unless the caller says less: bounds the items of a job */
#define LIMIT_MULTIPART_HEAD_BYTES (8 * 1024)      /* bytes of the headers of one part */
#define LIMIT_UPLOADS 256                          /* forms read at a time, each with up to 512 KiB of memory; others wait … */
#define LIMIT_UPLOAD_PATIENCE_US 20000000LL        /* … for so long, and then get 503 */
#define LIMIT_UPLOAD_PRESSED_US 2000000LL          /* while others wait, a form that comes too slowly is given up after so long … */
#define LIMIT_UPLOAD_PRESS_US 20000LL              /* … which is looked at so often */

/* Keys. */
#define LIMIT_KEYS 1000                            /* keys at a time: each request is compared with every one */
#define LIMIT_KEYS_EVER 10000                      /* keys that came and went by reloads; dead ones are kept, for requests may hold them */
#define LIMIT_TICKET_US 30000000LL                 /* a ticket for an event stream is good so long, and once */
#define LIMIT_KEY_TICKETS 64                       /* unused tickets of one key; one more takes the place of the oldest */
#define LIMIT_KEY_SESSIONS 64                      /* browser sessions of one key, the same way */
#define LIMIT_SESSION_US (12 * 3600 * 1000000LL)   /* a session ends after half a day, and with the server */
#define LIMIT_JOURNAL_BYTES (1024 * 1024)          /* bytes of log lines that wait for standard error; beyond it they are dropped and counted */

/* The service manager, and secrets in files. */
#define LIMIT_MANAGER_PULSE_US 5000000LL           /* longest time between two looks at whether our line of status is still true */
#define LIMIT_SECRET_BYTES (64 * 1024)             /* bytes of a file that holds a secret */

/* Pipeline files. */
#define LIMIT_PIPELINE_FILE_BYTES (256 * 1024)     /* bytes of a pipeline file, and of each file that it takes in */
#define LIMIT_PIPELINE_NODES 20000                 /* values in a pipeline file, with aliases written out: a few lines of aliases of aliases could be billions */
#define LIMIT_PIPELINE_DEPTH 24                    /* lists and mappings inside one another */
#define LIMIT_MISTAKES 100                         /* mistakes of pipeline files that are told; more are counted */

/* Intake on the job face. */
#define LIMIT_PARAMS_BYTES (16 * 1024)             /* bytes of a job's parameters: they go to every task */
#define LIMIT_VALUE_BYTES (48 * 1024)              /* bytes of an item's JSON value kept in its event; a longer one is a blob */
#define LIMIT_WEBHOOK_URL_BYTES 2048               /* of that address */
#define LIMIT_WEBHOOKS 64                          /* webhooks under way at a time: each is a call of up to 15 s … */
#define LIMIT_WEBHOOKS_OF_ONE 4                    /* … and to one receiver, so that one that hangs delays no other */
#define LIMIT_WEBHOOK_US 15000000LL                /* a receiver that has not answered so long counts as failed */
#define LIMIT_WEBHOOK_ANSWER_BYTES (64 * 1024)     /* of a receiver's answer: it is not looked at */
#define LIMIT_WEBHOOK_BYTES 4096                    /* of what a job says of its webhook: an address and names of events */
#define LIMIT_BATCHES_BYTES (64 * 1024 * 1024)     /* of inputs held back so that those that the cache knows come first; beyond it they go as they come */
#define LIMIT_VALUE_DEPTH 24                       /* arrays and objects inside one another in a value: events and documents go around it */
#define LIMIT_JSON_BODY_BYTES (64 * 1024 * 1024)   /* bytes of a body that is one JSON document; JSON Lines have no such limit */
#define LIMIT_IN_FLIGHT 1000                       /* items at once that one job may ask for */
#define LIMIT_PREFER_WAIT_S 300                    /* seconds that `Prefer: wait` may hold an answer back */

/* Calls that go out. */
#define LIMIT_FETCH_CALLS 512                      /* under way at a time, of each lane (guarded or not); the others wait in line */
#define LIMIT_FETCH_HOST_CALLS 256                 /* of them to one host: one that never answers leaves places to the others */
#define LIMIT_FETCH_OPEN 512                       /* connections of a lane, those in use counted: beyond it none is kept for the next call */
#define LIMIT_FETCH_URL_BYTES (16 * 1024)          /* bytes of an address; servers refuse longer ones */
#define LIMIT_FETCH_HEAD_BYTES (64 * 1024)         /* bytes of an answer's headers that are kept; those beyond are not seen */
#define LIMIT_FETCH_BODY_BYTES (16 * 1024 * 1024)  /* bytes of a request's body, held in memory while it is sent */
#define LIMIT_FETCH_ANSWER_BYTES (4 * 1024 * 1024) /* bytes of an answer where the caller says nothing */
#define LIMIT_FETCH_ERROR_BYTES (64 * 1024)        /* bytes of the body of an answer that is no 2xx; the rest is not read */
#define LIMIT_FETCH_REDIRECTS 5                    /* hops of one call */
#define LIMIT_FETCH_TIMEOUT_US 60000000LL          /* for a whole call where the caller says nothing */
#define LIMIT_FETCH_CONNECT_US 10000000LL          /* to resolve, connect and shake hands */
#define LIMIT_FETCH_RETRY_US (24 * 3600 * 1000000LL) /* the longest Retry-After that is believed */

/* The Firestore mirror. */
#define LIMIT_MIRROR_PLACES 16                     /* jobs at work at a time, each with up to 20 MiB of commits in the worst case */
#define LIMIT_MIRROR_EVERY_US 1000000LL            /* between two commits of one job: Firestore takes about one write a second to a document */
#define LIMIT_MIRROR_GATHER_US 15000LL             /* from the first row to its commit, so that what comes together goes together */
#define LIMIT_MIRROR_RESULT_BYTES (4 * 1024 * 1024) /* bytes of an item's result; a longer one is left out and said so */
#define LIMIT_MIRROR_PAUSE_MIN_US 100000LL         /* before the second try; times 1.3 … */
#define LIMIT_MIRROR_PAUSE_MAX_US 60000000LL       /* … up to this … */
#define LIMIT_MIRROR_PATIENCE_US (600 * 1000000LL) /* … for ten minutes; after that … */
#define LIMIT_MIRROR_SLOW_US (300 * 1000000LL)     /* … every five */

/* The loop. */
#define LIMIT_LOOP_POSTS 65536                     /* messages in the loop's mailbox; every poster has few under way, so more is a bug */
