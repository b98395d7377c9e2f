/* Values that a command line hands in as JSON Lines, as items of a job: each line is one, or an input that the pipeline's "input" and "batch" make
 * items of. A line is any JSON value; an object with a member "value" and no others but "name", "key" and "type" stands for that value, named so. */
#pragma once
#include "cli/files.h"
#include "cli/host.h"

/* Reads `path`, "-" = standard input, whole, and runs the host's loop while batches are made. The items are `files` afterwards; `print` takes
 * every line. 0, or -1 and a problem that names the line. */
int values_read(const char *path, struct host *host, struct bytes params, struct sha_stream *print, struct files *files, struct problem *problem);
