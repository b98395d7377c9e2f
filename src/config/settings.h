/* Settings: one table of names, defaults and ranges (settings.c). A setting comes from a flag, else from the environment, else it
 * has its default; a bad value is one sentence that names the setting, the value and the range.
 *
 * Thread: start only; afterwards read-only. */
#pragma once
#include "base/buf.h"
#include "base/problem.h"

#include <stdbool.h>
#include <stdint.h>

struct settings {
    char *host;                   /* SERVICE_HOST, --listen; default 127.0.0.1 */
    int64_t port;                 /* PORT, SERVICE_PORT, --listen; 8080; 0 = a free one */
    bool host_told;               /* SERVICE_HOST names an address beyond loopback: we are told to listen there, keys or not */
    char *data;                   /* RIVULET_DATA, --data; the directory of the log; NULL when not set */
    char *catalogue;              /* CARD_MAPPING_PATH, --catalogue; NULL when not set */
    char *engine;                 /* RIVULET_ENGINE, --engine: auto, onnx, tesseract */
    char *models;                 /* RIVULET_MODELS: folder of the recogniser; NULL = the cache folder, else the system's */
    char *pipeline;               /* RIVULET_PIPELINE: pipeline files, ':' between them, the first is the seed face's; NULL = built in */
    int64_t max_file_mb;          /* MAX_FILE_SIZE_MB, 10 */
    int64_t max_batch;            /* MAX_BATCH_SIZE, 10 */
    int64_t max_body_mb;          /* MAX_BODY_MB, 1024 */
    bool enable_parallel;         /* ENABLE_PARALLEL, false */
    int64_t max_workers;          /* MAX_WORKERS, --workers, 2; 1–2 with USE_GPU */
    bool use_gpu;                 /* USE_GPU, false */
    char *resources;              /* RIVULET_RESOURCES: how many units of each named resource legs share, "gpu=1,llm=8"; NULL = 1 of each */
    int64_t retention_s;          /* RIVULET_RETENTION, --retention, 7d; 0 = keep for ever */
    int64_t heartbeat_s;          /* RIVULET_HEARTBEAT_S, 15 */
    bool debug;                   /* DEBUG, false: tell on standard error what was opened and loaded */
    char *keys_file;              /* RIVULET_KEYS_FILE, --keys; NULL = none */
    char *keys;                   /* RIVULET_KEYS: keys themselves; NULL = none */
    char *origins;                /* RIVULET_CORS_ORIGINS; NULL = all without keys, none with */
    char *log;                    /* RIVULET_LOG: text, json, off */
    char *public_url;             /* RIVULET_PUBLIC_URL: where remote sides reach this server; NULL = they cannot call it */
    char *net_allow;              /* RIVULET_NET_ALLOW: what calls to addresses from users may reach beside public ones; NULL = nothing */
    char *webhook_secret;         /* RIVULET_WEBHOOK_SECRET: whsec_…, several with spaces between them; NULL = no webhooks */
    char *fixtures;               /* RIVULET_FIXTURES, --fixtures: answers of the network come from this folder; NULL = from the network */
    bool record;                  /* RIVULET_FIXTURES_RECORD, --record: they are kept there instead */
    char *user;                   /* RIVULET_USER, --user: who a server started by root becomes; NULL = it stays who it is */
    bool accept_text;             /* RIVULET_ACCEPT_TEXT, false: decklists as text files besides images */
};

/* Defaults, then the environment. 0, or -1 and a problem. */
int settings_init(struct settings *settings, struct problem *problem);
void settings_done(struct settings *settings);

/* A flag without its dashes and its value (NULL for none given). 0 taken; 1 there is no such flag; -1 and a problem. Some flags
 * need no value: settings_flag_has_value() tells. */
int settings_flag(struct settings *settings, struct bytes name, const char *value, struct problem *problem);
bool settings_flag_has_value(struct bytes name);

/* "90s", "15m", "12h", "7d" in seconds; 0 needs no unit. False on anything else and on an overflow. */
bool settings_duration(struct bytes text, int64_t *ret_s);

/* What must hold between settings; says in `note` (may be NULL) what was changed, e.g. workers clamped for a GPU. */
void settings_finish(struct settings *settings, struct buf *note);

/* May a server listen where it was told to? Without keys only on loopback, unless SERVICE_HOST itself named an address beyond: then `note`
 * gets a warning. 0, or -1 and a problem. */
int settings_check_reach(const struct settings *settings, struct buf *note, struct problem *problem);

/* The table as text for --help: flag, what it does, environment name, default. What only a server uses is left away unless `serves`. */
void settings_help(struct buf *buf, bool serves);
