/* Landlock: what a process may still open, given up for good by itself, without privilege. What is not allowed by name is
 * refused; what is open already stays as it is. The kernel's level is asked at run time, so that one program uses what each kernel has.
 *
 *   int rules = landlock_open(0);
 *   landlock_allow(rules, "/usr", LANDLOCK_MAY_READ | LANDLOCK_MAY_RUN);
 *   landlock_enter(rules);
 *   close(rules);
 *
 * Thread: any; landlock_enter is for the calling thread and what it starts. */
#pragma once

enum {
    LANDLOCK_MAY_READ = 1,       /* files and folders beneath */
    LANDLOCK_MAY_RUN = 2,        /* programs beneath */
    LANDLOCK_MAY_WRITE = 4,      /* make, change and remove what is beneath; no devices */
    LANDLOCK_MAY_USE = 8,        /* open what is there for writing, and ask devices: /dev/null */
};

enum {
    LANDLOCK_NO_NETWORK = 1,     /* no TCP, no abstract Unix sockets of others */
    LANDLOCK_NO_SIGNALS = 2,     /* to processes outside */
};

/* The kernel's level: 1 files; 3 truncation; 4 TCP; 5 devices; 6 signals, abstract sockets. 0 = there is none. */
int landlock_level(void);
/* A descriptor of rules under which nothing can be opened, close-on-exec; `also` of LANDLOCK_NO_…, as far as the level goes. Or -errno: -ENOSYS,
 * -EOPNOTSUPP where there is none. */
int landlock_open(unsigned also);
/* Beneath `path`, a folder or a file, `may`. 0, or -errno; -ENOENT is common and harmless. */
int landlock_allow(int rules, const char *path, unsigned may);
/* From now on. It takes no new privileges (PR_SET_NO_NEW_PRIVS) first. 0, or -errno. Only system calls: allowed between vfork and exec. */
int landlock_enter(int rules);
