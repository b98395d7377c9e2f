#include "base/json.h"
#include "base/test.h"

TEST(the_writer_sets_commas_by_looking_back)
{
    struct buf buf BUF_OWNED;
    buf_init(&buf, 1000);
    buf_text(&buf, "data: ");
    json_open(&buf, '{');
    json_key(&buf, "a");
    json_int(&buf, -12);
    json_key(&buf, "b");
    json_open(&buf, '[');
    json_text(&buf, "x\"\n\\\x01{");
    json_null(&buf);
    json_real(&buf, 93.25);
    json_flag(&buf, true);
    json_open(&buf, '{');
    json_close(&buf, '}');
    json_raw(&buf, BYTES("{\"k\":1}"));
    json_close(&buf, ']');
    json_key(&buf, "c");
    json_int(&buf, INT64_MIN);
    json_close(&buf, '}');
    CHECK_TEXT(buf_z(&buf), "data: {\"a\":-12,\"b\":[\"x\\\"\\n\\\\\\u0001{\",null,93.25,true,{},{\"k\":1}],\"c\":-9223372036854775808}");
}

TEST(space_behind_what_is_spliced_is_left_out)
{
    struct buf buf BUF_OWNED;
    buf_init(&buf, 100);
    json_open(&buf, '{');
    json_put_raw(&buf, "a", BYTES("100\t \t"));
    json_put_raw(&buf, "b", BYTES("{}\n"));
    json_put_int(&buf, "c", 1);
    json_close(&buf, '}');
    CHECK_TEXT(buf_z(&buf), "{\"a\":100,\"b\":{},\"c\":1}");
}

TEST(a_string_with_broken_utf8_is_mended_on_the_way_out)
{
    struct buf buf BUF_OWNED;
    buf_init(&buf, 1000);
    json_bytes(&buf, BYTES("\xe6\x98\x93\xff\xe6"));
    CHECK_TEXT(buf_z(&buf), "\"\xe6\x98\x93\xef\xbf\xbd\xef\xbf\xbd\"");
}

TEST(what_is_not_strict_json_is_refused_with_its_place)
{
    static const char *const bad[] = {"", "{", "{'a':1}", "NaN", "[Infinity]", "{\"a\":1}x", "[1,]", "null", "{\"a\":\"\n\"}",
                                      "/* */1", "\"\xff\"", "[01]", "-", "tru", "[1 2]", "1.", ".5", "1e", "+1", "TRUE", "\"\\x\"", "\"\\u12g4\"", "{\"a\"}",
                                      "{,}", "[,1]", "{\"a\":1,}", "]", "\"", "\"\\", "{\"a\":}", "nulll", "1 1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct problem problem = {0};
        struct json_object *object JSON_OWNED = json_parse(bytes_of(bad[i]), &problem);
        test_note("%s", bad[i]);
        CHECK(!object);
        CHECK(problem_is(&problem));
    }
}

TEST(values_come_out_as_they_went_in)
{
    struct problem problem = {0};
    struct json_object *object JSON_OWNED =
        json_parse(BYTES("{\"s\":\"\\u6613\",\"i\":42,\"r\":0.5,\"b\":true,\"o\":{\"x\":[1]}}"), &problem);
    CHECK(object);
    CHECK_BYTES(json_get_bytes(object, "s"), BYTES("\xe6\x98\x93"));
    CHECK_INT(json_get_int(object, "i", 0), 42);
    CHECK(json_get_real(object, "r", 0) == 0.5 && json_get_real(object, "i", 0) == 42);
    CHECK(json_get_bool(object, "b", false));
    CHECK_INT(json_get_int(object, "s", -1), -1);
    struct json_object *number JSON_OWNED = json_parse(BYTES("17"), &problem);
    CHECK(number);
}

TEST(a_field_is_spliced_out_without_parsing)
{
    struct bytes object = BYTES("{\"a\":\"x,\\\"}\",\"b\":{\"a\":[1,{\"z\":\"]\"}]},\"c\":-1.5,\"d\":[]}");
    CHECK_BYTES(json_span(object, "a"), BYTES("\"x,\\\"}\""));
    CHECK_BYTES(json_span(object, "b"), BYTES("{\"a\":[1,{\"z\":\"]\"}]}"));
    CHECK_BYTES(json_span(object, "c"), BYTES("-1.5"));
    CHECK_BYTES(json_span(object, "d"), BYTES("[]"));
    CHECK(!json_span(object, "z").at);
    CHECK(!json_span(BYTES("{}"), "a").at);
    for (size_t cut = 0; cut < object.count; cut++)    /* damaged text never leads outside */
        json_span((struct bytes){object.at, cut}, "nothing");
}

TEST(all_fields_are_walked_without_parsing)
{
    struct bytes object = BYTES("{\"a\": \"x,\\\"}\", \"b\\\"\":{\"a\":[1]},\"c\":-1.5 }"), rest = object, key, value;
    CHECK(json_member(&rest, &key, &value));
    CHECK_BYTES(key, BYTES("a"));
    CHECK_BYTES(value, BYTES("\"x,\\\"}\""));
    CHECK(json_member(&rest, &key, &value));
    CHECK_BYTES(key, BYTES("b\\\""));
    CHECK_BYTES(value, BYTES("{\"a\":[1]}"));
    CHECK(json_member(&rest, &key, &value));
    CHECK_BYTES(value, BYTES("-1.5"));
    CHECK(!json_member(&rest, &key, &value));
    rest = BYTES("{}");
    CHECK(!json_member(&rest, &key, &value));
    for (size_t cut = 0; cut < object.count; cut++)    /* damaged text never leads outside, and always to an end */
        for (rest = (struct bytes){object.at, cut}; json_member(&rest, &key, &value);)
            CHECK(rest.count < cut);
}

TEST(all_elements_are_walked_without_parsing)
{
    static const char *const want[] = {"[1,[2]]", "\"]\\\",\"", "{\"a\":[3, 4]}", "-5", "[]", "null"};
    struct bytes array = BYTES(" [ [1,[2]],\"]\\\",\",\n{\"a\":[3, 4]}\t, -5 , [],null\r\n] "), rest = array, value;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        CHECK(json_element(&rest, &value));
        CHECK_BYTES(value, bytes_of(want[i]));
    }
    CHECK(!json_element(&rest, &value));
    CHECK(!json_element(&rest, &value));
    for (rest = BYTES("[]"); json_element(&rest, &value);)
        CHECK(!"an element");
    for (rest = BYTES("{\"a\":1}"); json_element(&rest, &value);)
        CHECK(!"an element");
    for (size_t cut = 0; cut < array.count; cut++)    /* damaged text never leads outside, and always to an end */
        for (rest = (struct bytes){array.at, cut}; json_element(&rest, &value);)
            CHECK(rest.count < cut && value.at >= array.at && value.at + value.count <= array.at + cut);
}

TEST(text_in_json_must_be_utf8_and_every_character_of_it_is_taken)
{
    struct problem problem = {0};
    struct json_object *tree JSON_OWNED = json_parse(bytes_of("{\"name\":\"易 é 🂡\"}"), &problem);
    CHECK_BYTES(json_get_bytes(tree, "name"), bytes_of("易 é 🂡"));
    CHECK(!json_parse(bytes_of("{\"name\":\"\xe6\x98\"}"), &problem));
    CHECK(!json_parse(bytes_of("\"\xed\xa0\x80\""), &problem));
}

TEST(what_is_json_is_taken_whatever_its_spelling)
{
    static const char *const good[] = {" { } ", "[]", "\t[ 1 , -0.5e+3, 1E2,0 ]\r\n", "\"\\u00e9\\/\\\"\"", "{\"a\" : [ { } , null ] }", "0", "-1", "true"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct problem problem = {0};
        struct json_object *object JSON_OWNED = json_parse(bytes_of(good[i]), &problem);
        test_note("%s: %s", good[i], problem.text);
        CHECK(object);
    }
}

TEST(depth_has_its_limit)
{
    char text[2 * (JSON_DEPTH_MAX + 1)];
    struct problem problem = {0};
    memset(text, '[', JSON_DEPTH_MAX);
    memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
    struct json_object *object JSON_OWNED = json_parse((struct bytes){text, 2 * JSON_DEPTH_MAX}, &problem);
    CHECK(object);
    memset(text, '[', JSON_DEPTH_MAX + 1);
    memset(text + JSON_DEPTH_MAX + 1, ']', JSON_DEPTH_MAX + 1);
    CHECK(!json_parse((struct bytes){text, sizeof text}, &problem));
    CHECK(strstr(problem.text, "deeper than 32"));
}

TEST(what_is_too_long_or_no_number_is_said_without_reading_it)
{
    struct problem problem = {0};
    struct buf buf BUF_OWNED;
    CHECK(!json_parse((struct bytes){"1", INT32_MAX}, &problem) && strstr(problem.text, "too long"));
    buf_init(&buf, 100);
    json_real(&buf, 0.0 / 0.0);
    CHECK_TEXT(buf_z(&buf), "null");
}
