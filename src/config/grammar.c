#include "config/grammar.h"

#define SECOND 1000000LL
#define DAY (86400 * SECOND)

static const char *const each_words[] = {"item", "record", NULL};
static const char *const as_words[] = {"json", "jsonl", "text", NULL};
static const char *const rows_words[] = {"json", "jsonl", "csv", NULL};
static const char *const errors_words[] = {"keep", "fail", NULL};
static const char *const lines_words[] = {"json", "jsonl", NULL};
static const char *const auth_words[] = {"same", "none", NULL};
static const char *const api_words[] = {"openai", "responses", "anthropic", NULL};
static const char *const overflow_words[] = {"chunks", "fail", NULL};
static const char *const stdin_words[] = {"json", "input", "none", NULL};
static const char *const stdout_words[] = {"json", "jsonl", "text", "lines", "none", NULL};

#define METHODS                                                                     \
    {"get", KEY_METHOD, "this address", "GET"},                                 \
    {"post", KEY_METHOD, "this address", "POST"},                           \
    {"put", KEY_METHOD, "this address", "PUT"},                              \
    {"patch", KEY_METHOD, "this address", "PATCH"},                           \
    {"delete", KEY_METHOD, "this address", "DELETE"}

/* ---- what all stages have ---- */

static const struct key retry_keys[] = {
    {"attempts", KEY_WHOLE, "tries in all; default 3", .min = 1, .max = 100},
    {"on", KEY_CAUSES, "what is tried again: `network`, `timeout`, `crash`, `invalid_json`, `failed` (a `remote_job` says so: it is started anew), `exit` and "
                       "`exit:N` of a program, statuses such as `429`, `5xx`; default network, timeout, crash, 408, 425, 429, 5xx"},
    {"backoff", KEY_TIMES, "the wait before the second try .. the longest wait; it doubles; default 500ms..8s. `Retry-After` is obeyed", "backoff_us",
     .max = DAY},
    {"jitter", KEY_FLAG, "waits vary by chance, so that many do not come back at once; default true"},
    {0},
};
static const struct shape retry_shape = {"retry", retry_keys, "attempts"};

static const struct key rate_keys[] = {
    {"requests", KEY_RATE, "requests in a time, over all jobs"},
    {"tokens", KEY_RATE, "tokens in a time (`llm`)"},
    {0},
};
static const struct shape rate_shape = {"rate", rate_keys, "requests"};

static const struct key cache_keys[] = {
    {"key", KEY_PROGRAM, "what tells one input from another; default the whole request"},
    {"row_key", KEY_PROGRAM, "of a row that a `remote_job` fetched: the input that it belongs to, so that rows are kept one by one"},
    {"ttl", KEY_TIME, "how long a result is good", "ttl_us", .min = SECOND, .max = 3650 * DAY, .required = true},
    {0},
};
static const struct shape cache_shape = {"cache", cache_keys};

static const struct key stage_keys[] = {
    {"name", KEY_NAME, "what the stage is called; default its kind", ""},
    {"each", KEY_WORD, "`record`: the input is a list, and each of it goes through by itself, as between `split` and `gather`", "", .words = each_words},
    {"when", KEY_PROGRAM, "the stage is passed over where this gives false or null"},
    {"else", KEY_PROGRAM, "what stands in the place of the stage's result then; without it the input goes on as it is"},
    {"timeout", KEY_TIME, "for one try; default 1m, 1h for `remote_job`", "timeout_us", .min = 1000, .max = DAY},
    {"retry", KEY_GROUP, "how often and how soon it is tried again", .shape = &retry_shape},
    {"rate", KEY_GROUP, "how much may go out (`http`, `remote_job`, `llm`)", .shape = &rate_shape},
    {"concurrency", KEY_WHOLE, "calls at once, over all jobs (`http`, `remote_job`, `llm`)", .min = 1, .max = 10000},
    {"resource", KEY_RESOURCE, "what is shared with other stages while it runs: `gpu`, or `{gpu: 1, licence: 2}`", ""},
    {"cache", KEY_GROUP, "results that are kept (`http`, `remote_job`, `llm`); errors never are", .shape = &cache_shape},
    {"on_error", KEY_ON_ERROR, "when no try is left: `continue` (the item, or the record, has failed, the others go on), `drop_record`, `fail_item`, "
                               "`fail_job`, or `{use: VALUE}`"},
    {0},
};
const struct shape grammar_stage = {"stage", stage_keys};

/* ---- calls ---- */

static const struct key basic_keys[] = {
    {"user", KEY_TEXT, "the name", .required = true},
    {"password", KEY_SECRET, "`!env NAME`", .required = true},
    {0},
};
static const struct shape basic_shape = {"basic", basic_keys};
static const struct key header_keys[] = {
    {"name", KEY_TEXT, "of the header", .required = true},
    {"value", KEY_SECRET, "`!env NAME`", .required = true},
    {0},
};
static const struct shape header_shape = {"header", header_keys};
static const struct key auth_keys[] = {
    {"bearer", KEY_SECRET, "a token: `!env NAME`"},
    {"basic", KEY_GROUP, "name and password", .shape = &basic_shape},
    {"header", KEY_GROUP, "a header of its own", .shape = &header_shape},
    {0},
};
static const struct shape auth_shape = {"auth", auth_keys};

#define BASE {"base", KEY_BASE, "what addresses that begin with / are put behind"}
#define HEADERS {"headers", KEY_TEMPLATES, "more headers: templates, or `!env NAME`"}
#define AUTH {"auth", KEY_GROUP, "who we are", .shape = &auth_shape}
#define BODY {"body", KEY_PROGRAM, "gives what is sent as JSON"}
#define ACCEPTED {"accepted", KEY_CODES, "statuses that are well; default every 2xx"}
#define UNWRAP {"unwrap", KEY_PROGRAM, "where the result lies in what came"}
#define TIMEOUT {"timeout", KEY_TIME, "for this call", "timeout_us", .min = 1000, .max = DAY}
#define MAX_BYTES {"max_bytes", KEY_SIZE, "the longest answer", .min = 1}

static const struct key http_keys[] = {
    METHODS, BASE, HEADERS, AUTH, BODY, ACCEPTED,
    {"as", KEY_WORD, "what comes; default `json`", .words = as_words},
    UNWRAP, MAX_BYTES,
    {"redirects", KEY_FLAG, "up to 5 are followed; default false"},
    {"allow_private", KEY_FLAG, "addresses that come from inputs may lie in private networks; default false"},
    {"idempotency_key", KEY_FLAG, "a POST carries the header Idempotency-Key, the same for all tries; default true"},
    {0},
};

static const struct key upload_keys[] = {
    METHODS,
    {"body", KEY_PROGRAM, "gives what the file holds; default the input"},
    {"as", KEY_WORD, "how it is written: `json`, or `jsonl` (a list, one a line); default `json`", .words = lines_words},
    {"part", KEY_TEXT, "the form's field that the file is sent in; default `file`"},
    {"file", KEY_TEXT, "the file's name; default `input.jsonl`"},
    {"fields", KEY_TEMPLATES, "further fields of the form"},
    {"id", KEY_PROGRAM, "the file's id in the answer: `$id` in `start`; default `.id`"},
    TIMEOUT, {0},
};
static const struct shape upload_shape = {"upload", upload_keys, .needs = NEEDS_CALL};

static const struct key start_keys[] = {
    METHODS, BODY,
    {"id", KEY_PROGRAM, "the job's id in the answer: `$id` from then on", .required = true},
    ACCEPTED, HEADERS,
    {"idempotency", KEY_TEXT, "a header besides Idempotency-Key that carries the same key"},
    TIMEOUT, {0},
};
static const struct shape start_shape = {"start", start_keys, .needs = NEEDS_CALL};

static const struct key poll_keys[] = {
    METHODS, BODY,
    {"state", KEY_PROGRAM, "the state in the answer: a text, a number or a truth", .required = true},
    {"done", KEY_SCALARS, "states that mean: ready", .required = true},
    {"failed", KEY_SCALARS, "states that mean: failed. All others mean: still at work"},
    {"partial", KEY_SCALARS, "states that mean: ready, but not everything"},
    {"error", KEY_PROGRAM, "the sentence of a failure in the answer"},
    {"progress", KEY_PROGRAM, "how far it is, 0 to 100"},
    {"every", KEY_TIMES, "the first wait .. the longest; default 2s..30s", "every_us", .min = 1000, .max = DAY},
    TIMEOUT, {0},
};
static const struct shape poll_shape = {"poll", poll_keys, .needs = NEEDS_CALL};

static const struct key page_keys[] = {
    {"next", KEY_PROGRAM, "of a page: what names the next, null at the end", .required = true},
    {"param", KEY_TEXT, "the query's parameter that it goes into; without one it is the next address itself"},
    {0},
};
static const struct shape page_shape = {"page", page_keys};
static const struct key parts_keys[] = {
    METHODS,
    {"count", KEY_PROGRAM, "how many parts: of the answer of this call, or of the last poll's", .required = true},
    {"param", KEY_TEXT, "the query's parameter for the part's number; default `part`"},
    {"from", KEY_WHOLE, "the first part's number; default 1", .min = 0, .max = 1},
    {0},
};
static const struct shape parts_shape = {"parts", parts_keys, .needs = MAY_CALL};

static const struct key fetch_keys[] = {
    METHODS,
    {"inline", KEY_PROGRAM, "instead of an address: the result lies in the last poll's answer"},
    BODY,
    {"auth", KEY_WORD, "`none` for addresses that are signed already; default `same`", .words = auth_words},
    {"as", KEY_WORD, "what comes; default `json`", .words = rows_words},
    UNWRAP,
    {"retry_on", KEY_CODES, "statuses that mean: not yet"},
    {"page", KEY_GROUP, "it comes in pages", .shape = &page_shape},
    {"parts", KEY_GROUP, "it comes in numbered parts", .shape = &parts_shape},
    MAX_BYTES, TIMEOUT, {0},
};
static const struct shape fetch_shape = {"fetch", fetch_keys, .needs = NEEDS_CALL_OR_INLINE};

static const struct key join_keys[] = {
    {"row_key", KEY_PROGRAM, "of a row: the key of its input", .required = true},
    {"input_key", KEY_PROGRAM, "of an input: its key; default the input itself"},
    {0},
};
static const struct shape join_shape = {"join", join_keys, "row_key"};
static const struct key cancel_keys[] = {METHODS, BODY, {0}};
static const struct shape cancel_shape = {"cancel", cancel_keys, .needs = NEEDS_CALL};
static const struct key webhook_keys[] = {
    {"query", KEY_TEXT, "the parameter of `start` that takes our address"},
    {"body", KEY_TEXT, "or the field of its body"},
    {0},
};
static const struct shape webhook_shape = {"webhook", webhook_keys};

static const struct key remote_job_keys[] = {
    BASE, HEADERS, AUTH,
    {"upload", KEY_GROUP, "a file that is sent first", .shape = &upload_shape},
    {"start", KEY_GROUP, "the call that begins the job", .shape = &start_shape, .required = true},
    {"poll", KEY_GROUP, "the call that asks how it goes; without it the result is fetched at once, and `retry_on` says: not yet",
     .shape = &poll_shape},
    {"fetch", KEY_GROUP, "the call that brings the result", .shape = &fetch_shape, .required = true},
    {"also", KEY_GROUPS, "further results, such as a file of errors: their rows come behind", .shape = &fetch_shape},
    {"join", KEY_GROUP, "puts rows to the inputs that they belong to, in the inputs' order", .shape = &join_shape},
    {"row_error", KEY_PROGRAM, "of a row: why it is an error and no result; default its `.error`"},
    {"cancel", KEY_GROUP, "the call that ends the job early", .shape = &cancel_shape},
    {"webhook", KEY_GROUP, "the other side can tell us when to poll; what it says is not believed", .shape = &webhook_shape},
    {0},
};

/* ---- llm ---- */

static const struct key price_keys[] = {
    {"in", KEY_REAL, "a million tokens that are read", .max = 1000000},
    {"cached_in", KEY_REAL, "a million that were read before", .max = 1000000},
    {"out", KEY_REAL, "a million that are written", .max = 1000000},
    {0},
};
static const struct shape price_shape = {"price", price_keys};

#define PROVIDER                                                                                                                      \
    {"api", KEY_WORD, "`openai` (chat completions, also of other servers), `responses`, `anthropic`; default `openai`", .words = api_words}, \
    {"base", KEY_BASE, "where the API is; default the vendor's own"},                                                                 \
    {"model", KEY_TEXT, "which model"},                                                                                               \
    {"key", KEY_SECRET, "`!env NAME`; a local server may need none"}

static const struct key provider_keys[] = {PROVIDER, {0}};
static const struct shape provider_shape = {"provider", provider_keys};

static const struct key llm_keys[] = {
    PROVIDER,
    {"provider", KEY_FLAT, "the four above may stand in here", .shape = &provider_shape},
    {"system", KEY_TEMPLATE, "what goes ahead of the prompt"},
    {"prompt", KEY_TEMPLATE, "what is asked", .required = true},
    {"schema", KEY_ANSWER, "what the answer must be; see below"},
    {"params", KEY_JSON, "passed on: `temperature`, `seed` …"},
    {"max_tokens", KEY_WHOLE, "the longest answer", .min = 1, .max = 10000000},
    {"into", KEY_NAME, "the member of the input that the answer becomes; default the stage's name"},
    {"price", KEY_GROUP, "in your currency, for cost and `max_cost`", .shape = &price_shape},
    {"repair", KEY_WHOLE, "further questions when the answer does not fit the schema; default 1", .min = 0, .max = 5},
    {0},
};

/* ---- the other kinds ---- */

static const struct key jq_keys[] = {{"program", KEY_PROGRAM, "what is made of the input", .required = true}, {0}};
static const struct key split_keys[] = {{"program", KEY_PROGRAM, "gives the records, one after the other", .required = true}, {0}};
static const struct key gather_keys[] = {
    {"sort_by", KEY_PROGRAM, "of a record: what they are sorted by; `-.score` puts the highest first"},
    {"unique_by", KEY_PROGRAM, "of a record: of those that are alike the first stays"},
    {0},
};
static const struct key rows_keys[] = {
    {"as", KEY_WORD, "what the file is; default by its first characters", .words = rows_words},
    {"unwrap", KEY_PROGRAM, "where the records lie in it"},
    {"errors", KEY_WORD, "a line that cannot be read is a record with an `error`, or the item has failed; default `keep`", .words = errors_words},
    {0},
};
static const struct key no_keys[] = {{0}};

static const struct key limits_keys[] = {
    {"memory", KEY_SIZE, "of address space", "memory_bytes", .min = 1 << 20},
    {"cpu", KEY_TIME, "of processor time", "cpu_us", .min = SECOND, .max = DAY},
    {"output", KEY_SIZE, "that it may write", "output_bytes", .min = 1},
    {"files", KEY_WHOLE, "open files", .min = 3, .max = 65536},
    {0},
};
static const struct shape limits_shape = {"limits", limits_keys};
static const struct key exec_keys[] = {
    {"argv", KEY_ARGV, "program and arguments: a list of templates; no shell looks at them", .required = true},
    {"stdin", KEY_WORD, "what it reads: the value as `json`, the item's own file (`input`), or `none`; default `json`", .words = stdin_words},
    {"stdout", KEY_WORD, "what it writes: `json`, `jsonl` (a list), `text`, `lines` (a list of texts), or `none`; default `json`", .words = stdout_words},
    {"cwd", KEY_TEXT, "the folder that it runs in, and may write in"},
    {"env", KEY_TEMPLATES, "its environment, beside PATH, HOME and LANG: templates, or `!env NAME`"},
    {"limits", KEY_GROUP, "what it may take", .shape = &limits_shape},
    {0},
};

static const struct key firestore_keys[] = {
    {"project", KEY_TEXT, "the project; default that of the credentials"},
    {"database", KEY_TEXT, "the database; default `(default)`"},
    {"job", KEY_TEMPLATE, "path of the job's document; default `pipeline_jobs/\\(…)` with `$job.id`. In this and the next only `$job.id`, `$job.owner`, "
                          "`$batch.index`, `$item.index` and `$params.NAME` may stand, as they are"},
    {"batch", KEY_TEMPLATE, "path of an item's document, below the job's; default `batches/\\(…)` with `$batch.index`"},
    {"results_key", KEY_NAME, "the field that takes the result; default `result_key`, else `profiles`"},
    {"max_doc", KEY_SIZE, "the longest document; default 900KiB", .min = 1024, .max = 1000000},
    {"overflow", KEY_WORD, "a longer one goes into `chunks`, or is left out (`fail`); default `chunks`", .words = overflow_words},
    {"credentials", KEY_TEXT, "path of a service account's file, best `!env NAME`; default what the platform gives"},
    {0},
};

const struct kind grammar_kinds[] = {
    {{"jq", jq_keys, "program"}, "A jq program makes the result of the input.", KIND_WORKER, true},
    {{"http", http_keys, .needs = NEEDS_CALL}, "One call over HTTP.", KIND_TRIP, true},
    {{"llm", llm_keys}, "A language model is asked. Its answer becomes a member of the input: `.llm`, or what the stage is named.", KIND_TRIP, true},
    {{"remote_job", remote_job_keys}, "A job at another service: started, polled until it is ready, fetched.", KIND_TRIP},
    {{"exec", exec_keys, "argv"}, "A program is run.", KIND_EXEC},
    {{"rows", rows_keys, "as"}, "The item's file, of JSON, JSON Lines or CSV, becomes a list of records.", KIND_WORKER},
    {{"split", split_keys, "program"}, "The item becomes its records; each goes on by itself until `gather`.", KIND_WORKER},
    {{"gather", gather_keys}, "The records become one list again.", KIND_WORKER},
    {{"firestore", firestore_keys}, "Copies job and items to Firestore as they end; stands last. A server does so beside its work; `rivulet run` waits at its end until all is there.", KIND_MIRROR},
    {{"decklist", no_keys}, "Reads a card decklist out of a screenshot.", KIND_WORKER, .open = true},
    {{"match", no_keys}, "Matches the names of a list with the card catalogue.", KIND_WORKER, .open = true},
    {{"noop", no_keys}, "Does nothing, or what tests want of it.", KIND_WORKER, .open = true},
    {{0}},
};

/* ---- the top ---- */

static const struct key files_keys[] = {
    {"accept", KEY_TEXTS, "media types, such as `image/png` or `text/*`"},
    {"max_items", KEY_WHOLE, "files in one job", .min = 1, .max = 10000000},
    {"max_bytes", KEY_SIZE, "bytes of one file", .min = 1},
    {0},
};
static const struct shape files_shape = {"files", files_keys};
static const struct key input_keys[] = {
    {"items", KEY_PROGRAM, "of a document that is submitted: its inputs, one after the other"},
    {"key", KEY_PROGRAM, "of an input: what tells it from others"},
    {"dedupe", KEY_FLAG, "inputs of a key that was there are left out; default false"},
    {"files", KEY_FLAT, "which files are taken", .shape = &files_shape},
    {0},
};
static const struct shape input_shape = {"input", input_keys};
static const struct key batch_keys[] = {
    {"by", KEY_PROGRAM, "of an input: its group; a batch holds inputs of one group. `$batch.group` is its name"},
    {"size", KEY_WHOLE, "inputs in one batch", .min = 1, .max = 100000, .required = true},
    {"in_flight", KEY_WHOLE, "batches of one job under way at once, those that wait for a remote side too", .min = 1, .max = 1000},
    {0},
};
static const struct shape batch_shape = {"batch", batch_keys, "size"};
static const struct key stop_keys[] = {
    {"when", KEY_PROGRAM, "of a record, or of an item's result: does it count?", .required = true},
    {"count", KEY_LIMIT, "so many are enough: a number, or `$params.NAME`", .required = true},
    {0},
};
static const struct shape stop_shape = {"stop", stop_keys};
static const struct key top_keys_of_top[] = {
    {"by", KEY_PROGRAM, "of a record, or of an item's result: its score", .required = true},
    {"keep", KEY_LIMIT, "so many are kept: a number, or `$params.NAME`", .required = true},
    {0},
};
static const struct shape top_shape = {"top", top_keys_of_top};

/* In the order of the canonical text. */
static const struct key pipeline_keys[] = {
    {"pipeline", KEY_NAME, "its name", "name", .required = true},
    {"version", KEY_WHOLE, "of this language: 1", "", .min = 1, .max = 1},
    {"result_key", KEY_TEXT, "what the result is called in the events of the plain face; default `result`"},
    {"concurrency", KEY_WHOLE, "items of this pipeline at once, over all jobs", .min = 1, .max = 1000000},
    {"in_flight", KEY_WHOLE, "items of one job at once", .min = 1, .max = 1000},
    {"ordered", KEY_FLAG, "results are told in the order of the items; default false"},
    {"deadline", KEY_TIME, "for the whole job: what is not done then is skipped", "deadline_us", .min = SECOND, .max = 365 * DAY},
    {"max_cost", KEY_REAL, "the job stops when so much is spent (`price` of `llm`)", .max = 1e9},
    {"params", KEY_PARAMS, "what a job may be given: `{name: string!, top: {type: integer, default: 50}}`"},
    {"vars", KEY_JSON, "anything, for programs: `$vars`"},
    {"input", KEY_GROUP, "what comes in", .shape = &input_shape},
    {"batch", KEY_GROUP, "items of several inputs: an item's value is then the list of them", .shape = &batch_shape},
    {"stop", KEY_GROUP, "ends the job early: all that has not ended is skipped, remote jobs are called off; records that are done stay in the stream and in the best", .shape = &stop_shape},
    {"top", KEY_GROUP, "keeps the best", .shape = &top_shape},
    {"on_error", KEY_ON_ERROR, "of all stages that do not say otherwise; default `continue`"},
    {"stages", KEY_STAGES, "what is done, one stage after the other", "", .required = true},
    {"result", KEY_PROGRAM, "of what the last stage gives: the item's result"},
    {"stats", KEY_PROGRAMS, "numbers of a result that the job sums up: count, sum, least, most"},
    {0},
};
const struct shape grammar_top = {"pipeline file", pipeline_keys};

const struct kind *grammar_kind(struct bytes name)
{
    for (const struct kind *kind = grammar_kinds; kind->shape.name; kind++)
        if (bytes_equal(name, bytes_of(kind->shape.name)))
            return kind;
    return NULL;
}

/* ---- in words ---- */

static const struct {
    const char *sentence, *cell;  /* "must be …"; in a table */
} types[KEY_TYPES] = {
    [KEY_TEXT] = {"a text", "text"},
    [KEY_NAME] = {"a name of at most 31 letters, digits, _ and -", "name"},
    [KEY_WORD] = {"one of its words", NULL},
    [KEY_FLAG] = {"true or false", "true, false"},
    [KEY_WHOLE] = {"a whole number", "whole number"},
    [KEY_REAL] = {"a number", "number"},
    [KEY_TIME] = {"a time such as 500ms, 30s, 5m, 1h or 14d", "time"},
    [KEY_TIMES] = {"two times such as 500ms..8s", "time..time"},
    [KEY_SIZE] = {"a size such as 64KiB, 10MiB or 1GB", "size"},
    [KEY_RATE] = {"a rate such as 500/min, 10/s or 200k/h", "rate"},
    [KEY_PROGRAM] = {"a jq program", "program"},
    [KEY_LIMIT] = {"a whole number, or $params.NAME of a declared parameter", "number, $params.NAME"},
    [KEY_TEMPLATE] = {"a text, in which \\(…) is jq", "template"},
    [KEY_METHOD] = {"an address, in which \\(…) is jq", "address"},
    [KEY_BASE] = {"an address that begins with http:// or https://, or !env NAME", "address, !env"},
    [KEY_SECRET] = {"!env NAME: secrets come from the environment, never from a file", "!env"},
    [KEY_TEXTS] = {"a list of texts", "texts"},
    [KEY_CODES] = {"a list of HTTP statuses such as [200, 202]", "statuses"},
    [KEY_CAUSES] = {"a list of network, timeout, crash, invalid_json, exit, exit:N and statuses such as 429 or 5xx", "list"},
    [KEY_SCALARS] = {"a list of texts, numbers, true or false", "list"},
    [KEY_PROGRAMS] = {"a mapping of names to jq programs", "programs by name"},
    [KEY_TEMPLATES] = {"a mapping of names to texts, in which \\(…) is jq", "templates by name"},
    [KEY_JSON] = {"a value", "any"},
    [KEY_ARGV] = {"a list: the program, then its arguments", "templates"},
    [KEY_ON_ERROR] = {"continue, drop_record, fail_item, fail_job or {use: VALUE}", "word"},
    [KEY_RESOURCE] = {"a name, or a mapping such as {gpu: 1}", "name, mapping"},
    [KEY_PARAMS] = {"a mapping of names to types, such as {campaign: string!, top: {type: integer, default: 50}}", "mapping"},
    [KEY_ANSWER] = {"a mapping of names to types, such as {score: integer 1..10}, or a JSON Schema", "mapping"},
    [KEY_GROUP] = {"a mapping", "mapping"},
    [KEY_GROUPS] = {"a list of mappings", "mappings"},
    [KEY_FLAT] = {"a mapping", "mapping"},
    [KEY_STAGES] = {"a list of stages", "list"},
};

const char *grammar_type(const struct key *key)
{
    return types[key->type].sentence;
}

/* get, post … stand together in one row. */
static const struct key *write_methods(const char *prefix, const struct key *keys, struct buf *ret)
{
    const char *before = "| ";
    for (; keys[0].type == KEY_METHOD && keys[0].name; keys++, before = ", ")
        buf_print(ret, "%s`%s%s`", before, prefix, keys->name);
    buf_text(ret, " | address | the call: its method and its address |\n");
    return keys;
}

static void write_rows(const char *prefix, const struct key *keys, struct buf *ret)
{
    for (; keys->name; keys++) {
        if (keys->type == KEY_METHOD)
            keys = write_methods(prefix, keys, ret);
        if (!keys->name)
            return;
        buf_print(ret, "| `%s%s`%s | ", prefix, keys->name, keys->required ? " *" : "");
        if (keys->type == KEY_WORD)
            for (size_t i = 0; keys->words[i]; i++)
                buf_print(ret, "%s%s", i ? ", " : "", keys->words[i]);
        else
            buf_text(ret, types[keys->type].cell);
        buf_print(ret, " | %s |\n", keys->help);
        if (keys->shape && keys->shape != &provider_shape) {
            char longer[64];
            struct buf name BUF_OWNED;
            buf_init(&name, sizeof longer);
            buf_print(&name, "%s%s.", prefix, keys->name);
            write_rows(buf_z(&name), keys->shape->keys, ret);
        }
    }
}

static void write_table(const char *title, const char *text, const struct key *keys, struct buf *ret)
{
    buf_print(ret, "### %s\n\n", title);
    if (text)
        buf_print(ret, "%s\n\n", text);
    if (!keys->name)
        return;
    buf_text(ret, "| key | is | meaning |\n|---|---|---|\n");
    write_rows("", keys, ret);
    buf_byte(ret, '\n');
}

void grammar_write(struct buf *ret)
{
    write_table("The file", "A star marks what has to be there.", pipeline_keys, ret);
    write_table("Every stage", NULL, stage_keys, ret);
    for (const struct kind *kind = grammar_kinds; kind->shape.name; kind++) {
        struct buf title BUF_OWNED;
        buf_init(&title, 64);
        buf_print(&title, "`%s`", kind->shape.name);
        write_table(buf_z(&title), kind->help, kind->shape.keys, ret);
    }
}
