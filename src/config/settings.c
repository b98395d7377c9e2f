#include "config/settings.h"

#include "base/mem.h"
#include "config/secret.h"

#include <stdio.h>
#include <stdlib.h>

enum type { TEXT, WHOLE, FLAG, DURATION };    /* DURATION: typed with a unit, kept in seconds */

/* One line a setting. `offset` is where its value stands in struct settings. */
static const struct setting {
    const char *flag;             /* NULL: environment only */
    const char *env[2];
    enum type type;
    size_t offset;
    const char *fallback;         /* as it would be typed; NULL = not set */
    int64_t min, max;
    bool serves;                  /* means something to a server only */
    const char *help;
    int secret;                   /* SECRET_…: may lie in a file */
} table[] = {
#define AT(field) offsetof(struct settings, field)
    {NULL, {"SERVICE_HOST"}, TEXT, AT(host), "127.0.0.1", 0, 0, true, "address to listen on"},
    {NULL, {"PORT", "SERVICE_PORT"}, WHOLE, AT(port), "8080", 0, 65535, true, "port to listen on; 0 picks a free one"},
    {"data", {"RIVULET_DATA"}, TEXT, AT(data), NULL, 0, 0, false, "directory of the log and the stored files"},
    {"catalogue", {"CARD_MAPPING_PATH"}, TEXT, AT(catalogue), NULL, 0, 0, false, "card catalogue, CSV"},
    {"engine", {"RIVULET_ENGINE"}, TEXT, AT(engine), "auto", 0, 0, false, "recogniser: auto, onnx or tesseract"},
    {NULL, {"RIVULET_MODELS"}, TEXT, AT(models), NULL, 0, 0, false, "folder of the recogniser's library and model"},
    {"pipeline", {"RIVULET_PIPELINE"}, TEXT, AT(pipeline), NULL, 0, 0, false, "pipeline files, with : between them; the first is run instead of decklists"},
    {NULL, {"MAX_FILE_SIZE_MB"}, WHOLE, AT(max_file_mb), "10", 1, 1024, false, "largest file, MB"},
    {NULL, {"MAX_BATCH_SIZE"}, WHOLE, AT(max_batch), "10", 1, 100000, true, "most files in one batch"},
    {NULL, {"MAX_BODY_MB"}, WHOLE, AT(max_body_mb), "1024", 1, 1048576, true, "largest request body, MB"},
    {NULL, {"ENABLE_PARALLEL"}, FLAG, AT(enable_parallel), "false", 0, 0, true, "allow /process-batch-fast"},
    {"workers", {"MAX_WORKERS"}, WHOLE, AT(max_workers), "2", 1, 64, false, "worker processes"},
    {NULL, {"USE_GPU"}, FLAG, AT(use_gpu), "false", 0, 0, false, "a GPU does the reading: at most 2 workers"},
    {NULL, {"RIVULET_RESOURCES"}, TEXT, AT(resources), NULL, 0, 0, false, "units of what legs share: gpu=1,llm=8; 1 of what is not named"},
    {"retention", {"RIVULET_RETENTION"}, DURATION, AT(retention_s), "7d", 0, 36500LL * 86400, true, "finished jobs are removed after this; 0 keeps them"},
    {NULL, {"RIVULET_HEARTBEAT_S"}, WHOLE, AT(heartbeat_s), "15", 1, 15, true, "longest silence of a stream, s"},
    {NULL, {"RIVULET_ACCEPT_TEXT"}, FLAG, AT(accept_text), "false", 0, 0, true, "take decklists as text files too"},
    {"user", {"RIVULET_USER"}, TEXT, AT(user), NULL, 0, 0, true, "who a server that root starts becomes once it listens"},
    {"keys", {"RIVULET_KEYS_FILE"}, TEXT, AT(keys_file), NULL, 0, 0, true, "file of the keys that may ask; SIGHUP reads it again"},
    {NULL, {"RIVULET_KEYS"}, TEXT, AT(keys), NULL, 0, 0, true, "such keys themselves: OWNER KEY [jobs=N …]; …", SECRET_CREDENTIAL},
    {NULL, {"RIVULET_CORS_ORIGINS"}, TEXT, AT(origins), NULL, 0, 0, true, "pages that may read answers; all without keys, none with"},
    {NULL, {"RIVULET_PUBLIC_URL"}, TEXT, AT(public_url), NULL, 0, 0, true, "where remote services reach this server, for their webhooks"},
    {NULL, {"RIVULET_WEBHOOK_SECRET"}, TEXT, AT(webhook_secret), NULL, 0, 0, true, "signs webhooks: whsec_BASE64; old ones behind it, with spaces", SECRET_ANY},
    {NULL, {"RIVULET_NET_ALLOW"}, TEXT, AT(net_allow), NULL, 0, 0, false, "private addresses that items may name: 10.0.0.0/8,127.0.0.1"},
    {"fixtures", {"RIVULET_FIXTURES"}, TEXT, AT(fixtures), NULL, 0, 0, false, "folder of recorded answers, used instead of the network"},
    {"record", {"RIVULET_FIXTURES_RECORD"}, FLAG, AT(record), "false", 0, 0, false, "call the network, and record its answers in --fixtures"},
    {NULL, {"RIVULET_LOG"}, TEXT, AT(log), "text", 0, 0, true, "what standard error gets: text, json or off"},
    {NULL, {"DEBUG"}, FLAG, AT(debug), "false", 0, 0, true, "tell on standard error what was opened and loaded"},
#undef AT
};
enum { TABLE_COUNT = sizeof table / sizeof *table };

static bool parse_flag(struct bytes text, bool *ret)
{
    static const char *const yes[] = {"true", "1", "yes", "on"}, *const no[] = {"false", "0", "no", "off", ""};
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        if (bytes_equal_nocase(text, bytes_of(yes[i])))
            return *ret = true;
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        if (bytes_equal_nocase(text, bytes_of(no[i]))) {
            *ret = false;
            return true;
        }
    return false;
}

bool settings_duration(struct bytes text, int64_t *ret)
{
    static const struct { char unit; int64_t seconds; } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    if (bytes_equal(text, BYTES("0"))) {
        *ret = 0;
        return true;
    }
    for (size_t i = 0; text.count && i < sizeof units / sizeof *units; i++)
        if (text.at[text.count - 1] == units[i].unit)
            return bytes_to_i64((struct bytes){text.at, text.count - 1}, ret) && !__builtin_mul_overflow(*ret, units[i].seconds, ret);
    return false;
}

static int set(struct settings *settings, const struct setting *row, const char *name, const char *value, struct problem *problem)
{
    void *at = (char *)settings + row->offset;
    int64_t number;
    switch (row->type) {
    case TEXT:
        free(*(char **)at);
        *(char **)at = mem_text(value);
        return 0;
    case WHOLE:
        if (!bytes_to_i64(bytes_of(value), &number) || number < row->min || number > row->max)
            return problem_set(problem, "%s is \"%s\": it must be a whole number from %lld to %lld", name, value, (long long)row->min,
                               (long long)row->max);
        *(int64_t *)at = number;
        return 0;
    case DURATION:
        if (!settings_duration(bytes_of(value), &number) || number < row->min || number > row->max)
            return problem_set(problem, "%s is \"%s\": it must be a time such as 90s, 15m, 12h or 7d, at most %lldd", name, value,
                               (long long)row->max / 86400);
        *(int64_t *)at = number;
        return 0;
    case FLAG:
        if (!parse_flag(bytes_of(value), at))
            return problem_set(problem, "%s is \"%s\": it must be true or false", name, value);
        return 0;
    }
    return 0;
}

static int check_engine(const struct settings *settings, struct problem *problem)
{
    static const char *const known[] = {"auto", "onnx", "tesseract"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (bytes_equal(bytes_of(settings->engine), bytes_of(known[i])))
            return 0;
    return problem_set(problem, "the engine is \"%s\": it must be auto, onnx or tesseract", settings->engine);
}

/* A name that is not one of these may mean any address, so it counts as one beyond. */
static bool is_loopback(const char *host)
{
    struct bytes text = bytes_of(host);
    return bytes_equal_nocase(text, BYTES("localhost")) || bytes_equal(text, BYTES("::1")) || bytes_start(text, BYTES("127."));
}

static int check_log(const struct settings *settings, struct problem *problem)
{
    static const char *const known[] = {"text", "json", "off"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(settings->log, known[i]))
            return 0;
    return problem_set(problem, "RIVULET_LOG is \"%s\": it must be text, json or off", settings->log);
}

int settings_init(struct settings *settings, struct problem *problem)
{
    *settings = (struct settings){0};
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        const struct setting *row = &table[i];
        if (row->fallback)
            set(settings, row, "", row->fallback, problem);
        for (size_t e = 0; e < 2 && row->env[e]; e++) {
            if (row->secret && secret_settle(row->env[e], row->secret, problem))
                return -1;
            const char *value = getenv(row->env[e]);
            if (!value || !value[0])
                continue;
            if (set(settings, row, row->env[e], value, problem))
                return -1;
            settings->host_told |= row->offset == offsetof(struct settings, host) && !is_loopback(value);
            break;
        }
    }
    return check_log(settings, problem) ? -1 : check_engine(settings, problem);
}

void settings_done(struct settings *settings)
{
    for (size_t i = 0; i < TABLE_COUNT; i++)
        if (table[i].type == TEXT)
            free(*(char **)((char *)settings + table[i].offset));
    *settings = (struct settings){0};
}

static const struct setting *find(struct bytes flag)
{
    for (size_t i = 0; i < TABLE_COUNT; i++)
        if (table[i].flag && bytes_equal(flag, bytes_of(table[i].flag)))
            return &table[i];
    return NULL;
}

/* "127.0.0.1:8080", "[::1]:0", "8080", "localhost:80" */
static int set_listen(struct settings *settings, const char *value, struct problem *problem)
{
    struct bytes text = bytes_of(value), host = text;
    const char *colon = strrchr(value, ':');
    int64_t port;
    struct bytes digits = colon ? bytes_of(colon + 1) : text;
    host.count = colon ? (size_t)(colon - value) : 0;
    if (host.count >= 2 && host.at[0] == '[' && host.at[host.count - 1] == ']')
        host = (struct bytes){host.at + 1, host.count - 2};
    if (!bytes_to_i64(digits, &port) || port < 0 || port > 65535 || (colon && !host.count))
        return problem_set(problem, "--listen is \"%s\": it must be HOST:PORT or PORT, with a port from 0 to 65535", value);
    settings->port = port;
    if (!host.count)
        return 0;
    free(settings->host);
    settings->host = mem_copy(host.at, host.count);
    return 0;
}

bool settings_flag_has_value(struct bytes name)
{
    const struct setting *row = find(name);
    return bytes_equal(name, BYTES("listen")) || (row && row->type != FLAG);
}

int settings_flag(struct settings *settings, struct bytes name, const char *value, struct problem *problem)
{
    const struct setting *row = find(name);
    bool listen = bytes_equal(name, BYTES("listen"));
    if (!row && !listen)
        return 1;
    if (!value && (listen || row->type != FLAG))
        return problem_set(problem, "--%.*s needs a value", BYTES_ARG(name));
    if (listen)
        return set_listen(settings, value, problem);
    char label[64] = "--";
    memcpy(label + 2, row->flag, strlen(row->flag) + 1);
    if (set(settings, row, label, value ? value : "true", problem))
        return -1;
    return check_engine(settings, problem);
}

void settings_finish(struct settings *settings, struct buf *note)
{
    if (settings->use_gpu && settings->max_workers > 2) {
        if (note)
            buf_print(note, "USE_GPU allows at most 2 workers: %lld become 2", (long long)settings->max_workers);
        settings->max_workers = 2;
    }
}

int settings_check_reach(const struct settings *settings, struct buf *note, struct problem *problem)
{
    if (settings->keys || settings->keys_file || is_loopback(settings->host))
        return 0;
    if (!settings->host_told)
        return problem_set(problem, "--listen %s is beyond this machine and there are no keys, so anybody could use it: give --keys FILE, or set "
                           "SERVICE_HOST=%s if that is meant", settings->host, settings->host);
    buf_print(note, "there are no keys, and %s is beyond this machine: anybody who reaches it may use this server (--keys FILE ends that)",
              settings->host);
    return 0;
}

static void put_help(struct buf *buf, const char *name, const struct setting *row, const char *also)
{
    buf_print(buf, "  %-24s%s", name, row->help);
    if (also || row->fallback)
        buf_print(buf, " (%s%s%s)", also ? also : "", also && row->fallback ? "; " : "", row->fallback ? row->fallback : "");
    buf_byte(buf, '\n');
}

void settings_help(struct buf *buf, bool serves)
{
    if (serves)
        buf_print(buf, "  %-24s%s\n", "--listen HOST:PORT", "where to listen (SERVICE_HOST, PORT; 127.0.0.1:8080)");
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        char flag[32];
        if (!table[i].flag || (table[i].serves && !serves))
            continue;
        snprintf(flag, sizeof flag, "--%s%s", table[i].flag, table[i].type == FLAG ? "" : table[i].type == WHOLE ? " N" : table[i].type == DURATION ? " TIME" : " VALUE");
        put_help(buf, flag, &table[i], table[i].env[0]);
    }
    buf_text(buf, "Environment:\n");
    for (size_t i = 0; i < TABLE_COUNT; i++)
        if (!table[i].flag && (serves || !table[i].serves))
            put_help(buf, table[i].env[0], &table[i], NULL);
}
