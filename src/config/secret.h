/* Secrets that lie in files. A variable NAME of the environment that is asked for and not set is taken from the file that NAME_FILE names, else from the credential
 * of that name that a service manager has put into $CREDENTIALS_DIRECTORY (NAME, or env_NAME, as systemd calls what it loads from a folder as `env`). What was
 * found is put into the environment of this process, where everybody looks for it: not into that of its children, and not where /proc shows it.
 *
 * A line end behind it is left away. A file that everybody may read or write is refused.
 *
 * Thread: start only. */
#pragma once
#include "base/problem.h"

enum { SECRET_CREDENTIAL = 1, SECRET_FILE = 2, SECRET_ANY = 3 };      /* which of the two ways are looked at */

/* 0: the variable is set now, or there is no such file and it stays unset. -1 and a problem: a file that cannot be used. */
int secret_settle(const char *name, int ways, struct problem *problem);
