/* `rivulet check --data DIR`: the log and the stored files looked over; with `rebuild` their caches made anew. Answers the exit status. */
#pragma once
#include <stdbool.h>

int check_log(const char *dir, bool rebuild, bool drop);
