#include "trip/schema.h"

#include "base/json.h"
#include "base/test.h"

static const char *verdict(const char *schema_text, const char *value_text)
{
    static struct problem problem;
    problem = (struct problem){0};
    struct json_object *schema JSON_OWNED = json_parse(bytes_of(schema_text), &problem), *value JSON_OWNED = json_parse(bytes_of(value_text), &problem);
    CHECK_TEXT(problem.text, "");
    CHECK_INT(schema_check(schema, value, &problem), problem.text[0] ? -1 : 0);
    return problem.text;
}

static const char profile[] = "{\"type\":\"object\",\"additionalProperties\":false,\"required\":[\"score\",\"why\"],\"properties\":{"
                              "\"score\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":10},\"why\":{\"type\":\"string\",\"minLength\":2},"
                              "\"tags\":{\"type\":\"array\",\"maxItems\":2,\"items\":{\"enum\":[\"a\",\"b\"]}},"
                              "\"city\":{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"null\"}]},\"open\":{\"exclusiveMinimum\":0}}}";

TEST(values_that_fit_a_schema)
{
    CHECK_TEXT(verdict(profile, "{\"score\":7,\"why\":\"ok\"}"), "");
    CHECK_TEXT(verdict(profile, "{\"score\":7.0,\"why\":\"ok\",\"tags\":[\"a\",\"b\"],\"city\":null,\"open\":0.1}"), "");
    CHECK_TEXT(verdict("{}", "[1]"), "");
}

TEST(values_that_do_not_say_where_and_why)
{
    CHECK_TEXT(verdict(profile, "[]"), "it must be object");
    CHECK_TEXT(verdict(profile, "{\"score\":7}"), "it lacks \"why\"");
    CHECK_TEXT(verdict(profile, "{\"score\":11,\"why\":\"ok\"}"), ".score is 11, at most 10");
    CHECK_TEXT(verdict(profile, "{\"score\":\"7\",\"why\":\"ok\"}"), ".score must be integer");
    CHECK_TEXT(verdict(profile, "{\"score\":7.5,\"why\":\"ok\"}"), ".score must be integer");
    CHECK_TEXT(verdict(profile, "{\"score\":7,\"why\":\"o\"}"), ".why has 1 bytes, at least 2");
    CHECK_TEXT(verdict(profile, "{\"score\":7,\"why\":\"ok\",\"more\":1}"), "it must not have \"more\"");
    CHECK_TEXT(verdict(profile, "{\"score\":7,\"why\":\"ok\",\"tags\":[\"a\",\"c\"]}"), ".tags[1] must be one of [ \"a\", \"b\" ]");
    CHECK_TEXT(verdict(profile, "{\"score\":7,\"why\":\"ok\",\"tags\":[\"a\",\"b\",\"a\"]}"), ".tags has 3 items, at most 2");
    CHECK_TEXT(verdict(profile, "{\"score\":7,\"why\":\"ok\",\"open\":0}"), ".open is 0, must be above 0");
    CHECK(strstr(verdict(profile, "{\"score\":7,\"why\":\"ok\",\"city\":3}"), ".city fits none of the alternatives") != NULL);
}
