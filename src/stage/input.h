/* The bytes that a stage works on, whole in memory; and files of an outfit. */
#pragma once
#include "base/buf.h"
#include "base/problem.h"

/* Read all of a descriptor from offset 0 with pread; its own offset stays. 0, INPUT_TOO_LARGE when it holds more than the
 * buffer's ceiling (ret_size tells how much), or -1 and a problem. */
#define INPUT_TOO_LARGE 1
int input_read(int fd, struct buf *ret, int64_t *ret_size, struct problem *problem);

/* Read a file of the outfit: the descriptor if it is >= 0, else the path. `what` names it in problems. */
int input_file(int fd, const char *path, const char *what, struct buf *ret, struct problem *problem);
