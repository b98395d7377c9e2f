/* The journal: what goes on, one JSON object a line, on standard error. It is for people who keep logs; the program itself reads it never,
 * and nothing rests on it: the event log is the truth. No key, ticket, cookie or query value comes into it.
 *
 * A line that standard error does not take at once waits, up to LIMIT_JOURNAL_BYTES of them; more are dropped and counted, and the count is
 * told when there is room again. The loop never waits. Thread: loop. */
#pragma once
#include "base/buf.h"
#include "os/loop.h"

enum journal_mode { JOURNAL_TEXT, JOURNAL_JSON, JOURNAL_OFF };
enum journal_level { JOURNAL_INFO, JOURNAL_WARN };

struct journal;

enum journal_mode journal_mode_of(const char *name);      /* "text", "json", "off" */
/* Say a sentence now, without a journal, waiting for standard error if need be: only before the loop runs. As text it is
 * "rivulet serve: SENTENCE"; when off, nothing. */
void journal_say(enum journal_mode mode, enum journal_level level, const char *sentence);

struct journal *journal_new(struct loop *loop, enum journal_mode mode);
void journal_free(struct journal *journal);               /* what can go out at once still does */
bool journal_is_json(const struct journal *journal);
uint64_t journal_dropped(const struct journal *journal);
/* The same while the loop runs. */
void journal_tell(struct journal *journal, enum journal_level level, const char *sentence);
/* Begin a line, add fields by json_put_… to what is answered, end it. Only when journal_is_json(). */
struct buf *journal_begin(struct journal *journal, enum journal_level level, const char *msg);
void journal_end(struct journal *journal);
