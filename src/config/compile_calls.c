/* Where calls may go: credentials stay with the host that the file names. */
#include "config/compile_own.h"

enum { DEPTH_MAX = 4 };

static bool is_absolute(struct bytes text)
{
    return bytes_start(text, BYTES("http://")) || bytes_start(text, BYTES("https://"));
}

/* The file itself says which host it is: nothing of it is made of what comes in. */
static bool names_host(struct bytes text)
{
    if (!is_absolute(text))
        return false;
    size_t at = (size_t)((const char *)memmem(text.at, text.count, "://", 3) - text.at) + 3;
    for (; at < text.count && !strchr("/?#", text.at[at]); at++)
        if (text.at[at] == '\\')
            return false;
    return true;
}

static bool has_credentials(struct json_object *with)
{
    struct json_object *headers = json_get(with, "headers"), *start = json_get(json_get(with, "start"), "headers");
    struct json_object *both[] = {headers, start};
    for (size_t i = 0; i < 2; i++) {
        if (!json_object_is_type(both[i], json_type_object))
            continue;
        json_object_object_foreach(both[i], name, value) {
            (void)name;
            if (json_get(value, "$env"))
                return true;
        }
    }
    return json_get(with, "auth") != NULL;
}

static void check_address(struct compile *compile, const struct yaml_member *call, bool credentials)
{
    struct bytes text = call->value->text;
    if (call->value->kind != YAML_SCALAR || call->value->env || !text.count)
        return;
    if (!is_absolute(text) && !bytes_start(text, BYTES("\\(")))
        WRONG(compile, call->value, "The address \"%.*s\" needs a \"base\" that it is put behind.", BYTES_ARG(text));
    else if (credentials && !names_host(text))
        WRONG(compile, call->value, "Its host comes out of what is worked on, and the credentials would go there: say a \"base\", whose host alone gets "
              "them.");
}

/* The keys that hold a call, or calls. */
static bool is_one_of(struct bytes key, const char *const *names)
{
    for (; *names; names++)
        if (bytes_equal(key, bytes_of(*names)))
            return true;
    return false;
}

static void check_calls(struct compile *compile, const struct yaml *map, bool credentials, int depth)
{
    static const char *const methods[] = {"get", "post", "put", "patch", "delete", NULL};
    static const char *const inner[] = {"upload", "start", "poll", "fetch", "also", "parts", "cancel", NULL};
    const struct yaml *auth = yaml_get(map, "auth");
    credentials = credentials && !(auth && auth->kind == YAML_SCALAR && bytes_equal(auth->text, BYTES("none")));
    for (size_t i = 0; map->kind != YAML_SCALAR && depth < DEPTH_MAX && i < map->count; i++) {
        const struct yaml_member *member = &map->members[i];
        if (!member->key || is_one_of(member->key->text, inner))
            check_calls(compile, member->value, credentials, depth + 1);
        else if (is_one_of(member->key->text, methods))
            check_address(compile, member, credentials);
    }
}

void compile_calls(struct compile *compile, const struct yaml *body, struct json_object *with)
{
    if (!json_get(with, "base"))
        check_calls(compile, body, has_credentials(with), 0);
}
