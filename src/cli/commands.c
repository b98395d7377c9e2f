/* Every command, once. */
#include "cli/command.h"

#define SERVER_TEXT "The server is --server, else RIVULET_SERVER, else http://127.0.0.1:8080; a key is read from --key-file, else RIVULET_KEY."

const struct command commands[] = {
    {"serve", "[flags]", "take batches over HTTP and stream their results",
     "Takes batches over HTTP and streams each result the moment it is ready; the page is at /, the routes at /docs. The log and the "
     "files are kept in --data (./rivulet-data); a killed server goes on at its next start.",
     NULL, TAKES_SERVER_SETTINGS, command_serve},
    {"run", "PIPELINE [flags] FILES… | --values FILE", "do a batch here and now: JSON Lines on standard output as each item ends",
     "Each file goes through the pipeline on its own; its result is one line of JSON on standard output the moment it is ready. With --data "
     "DIR the log is kept, and the same command goes on where it was stopped or killed.",
     run_flags, TAKES_SETTINGS, command_run},
    {"check", "[flags] FILES… | --data DIR [--rebuild [--drop]]", "look pipeline files over, or a data directory",
     "Tells all mistakes of the pipeline files, each with file, line and column, on standard error; what a good file comes to is shown as a table of its "
     "legs. Nothing is run. docs/PIPELINES.md has the language.\n\n"
     "With --data the log and the stored files in DIR are read from end to end, also while a server works there: the database itself, each job's events "
     "in their order, what they come to against what stands in the caches, every stored file by its SHA-256. A table says what was looked at and what was "
     "found, and each finding is told with its job and its event. --rebuild throws all caches away and makes them anew from the events; no server may "
     "hold the directory then. What no cache holds cannot be mended so: such jobs are told, and nothing is changed, unless --drop forgets them.\n\n"
     "The status is 0 when all is well (or was mended), 1 when something was found, 2 when DIR could not be looked at.",
     check_flags, TAKES_NO_SETTINGS, command_check},
    {"backup", "TO [--data DIR]", "copy a data directory while it is in use",
     "Makes TO a data directory that holds all that was durable when the copy began, and can be started as it is. The server goes on meanwhile. TO is there "
     "when it is whole, or not at all. docs/SETUP.md says how a backup is put back.",
     backup_flags, TAKES_NO_SETTINGS, command_backup},
    {"submit", "PIPELINE [flags] FILES…", "hand a batch to a server",
     "Makes a job of the files (or of the lines of --values) and says its id. Files are sent one by one and begin as they arrive. With "
     "--watch the results are written as they come, while the rest is still being sent. " SERVER_TEXT,
     submit_flags, TAKES_NO_SETTINGS, command_submit},
    {"watch", "JOB [flags]", "follow a job to its end: JSON Lines as each item ends",
     "Tells every item that has ended and then each as it ends. A wire that breaks and a server that restarts are waited for; nothing is told "
     "twice. " SERVER_TEXT,
     watch_flags, TAKES_NO_SETTINGS, command_watch},
    {"jobs", "[flags]", "list the jobs of a server, newest first", SERVER_TEXT, jobs_flags, TAKES_NO_SETTINGS, command_jobs},
    {"jobs prune", "[flags]", "forget finished jobs and their files",
     "Forgets every job that ended longer ago than --older-than. " SERVER_TEXT, prune_flags, TAKES_NO_SETTINGS, command_prune},
    {"show", "JOB [flags]", "what a job is and how far it has come", SERVER_TEXT, show_flags, TAKES_NO_SETTINGS, command_show},
    {"results", "JOB [flags]", "the results of a job as JSON Lines", SERVER_TEXT, results_flags, TAKES_NO_SETTINGS, command_results},
    {"cancel", "JOB… [flags]", "stop jobs; what is done stays",
     "Starts nothing more, stops what runs, keeps what is done. " SERVER_TEXT, remote_flags, TAKES_NO_SETTINGS, command_cancel},
    {"retry", "JOB [flags]", "a new job of what failed in an ended one", "Says the id of the new job. " SERVER_TEXT, retry_flags,
     TAKES_NO_SETTINGS, command_retry},
    {"delete", "JOB… [flags]", "forget ended jobs and their files", SERVER_TEXT, remote_flags, TAKES_NO_SETTINGS, command_delete},
    {"man", "[COMMAND]", "a manual page, as roff on standard output", NULL, NULL, TAKES_NO_SETTINGS, command_man},
    {"completion", "bash|zsh|fish", "completions for a shell, on standard output", NULL, NULL, TAKES_NO_SETTINGS, command_completion},
    {"worker", "", "a child of the other two; not for people", NULL, NULL, TAKES_NO_SETTINGS, command_worker, true},
    {NULL},
};
