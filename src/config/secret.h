/* Secrets that lie in files. A variable NAME of the environment that is asked for and not set is taken from the file that NAME_FILE names, else from the credential
 * of that name that a service manager has put into $CREDENTIALS_DIRECTORY (NAME, or env_NAME, as systemd calls what it loads from a folder as `env`). What was
 * found is put into the environment of this process, where everybody looks for it: not into that of its children, and not where /proc shows it.
 *
 * A line end behind it is left away. A file that everybody may read, or that the group too may write, is refused, and so is secret_is_shared(); of a credential the
 * group bits of reading say nothing.
 *
 * Thread: start only. */
#pragma once
#include "base/problem.h"

struct stat;

enum { SECRET_CREDENTIAL = 1, SECRET_FILE = 2, SECRET_ANY = 3 };      /* which of the two ways are looked at */

/* 0: the variable is set now, or there is no such file and it stays unset. -1 and a problem: a file that cannot be used. */
int secret_settle(const char *name, int ways, struct problem *problem);

/* May the group read a file that its owner, an ordinary user, keeps to be read by this process as its own? Then it is a slip, as ssh has it of its keys. A
 * file of root with a group that may read it (chown root:rivulet, chmod 640; a credential of the service manager) was given away on purpose, and so was one
 * of another user that this process may read only through the group. */
bool secret_is_shared(const struct stat *status);
