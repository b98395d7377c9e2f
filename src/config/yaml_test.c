#include "config/yaml.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct read {
    struct mistakes mistakes;
    struct yaml_tree tree;
};

static void read_text(struct read *read, const char *text)
{
    *read = (struct read){0};
    yaml_parse(&read->tree, "a.yaml", bytes_of(text), &read->mistakes);
}

static void done(struct read *read)
{
    yaml_done(&read->tree);
    mistakes_done(&read->mistakes);
}

static void check_place(const struct yaml *node, int line, int column)
{
    CHECK(node);
    CHECK_INT(node->line, line);
    CHECK_INT(node->column, column);
}

static void check_json(const char *text, const char *json)
{
    struct read read;
    struct json_object *tree;
    read_text(&read, text);
    CHECK(read.tree.root);
    CHECK(yaml_json(read.tree.root, &read.mistakes, &tree));
    CHECK_TEXT(json_object_to_json_string_ext(tree, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE), json);
    CHECK_INT(read.mistakes.count, 0);
    json_object_put(tree);
    done(&read);
}

static void check_mistake(const char *text, int line, const char *part)
{
    struct read read;
    read_text(&read, text);
    CHECK_INT(read.mistakes.count, 1);
    test_note("%s", read.mistakes.list[0].sentence);
    CHECK(strstr(read.mistakes.list[0].sentence, part));
    CHECK_INT(read.mistakes.list[0].line, line);
    done(&read);
}

TEST(every_value_knows_where_it_stands)
{
    struct read read;
    read_text(&read, "a: 1\nb:\n  - x\n  - {c: 'd'}\n\xC3\xBC: [\xC3\xA9, z]\n");
    check_place(yaml_get(read.tree.root, "a"), 1, 4);
    check_place(yaml_get(read.tree.root, "b")->members[0].value, 3, 5);
    check_place(yaml_get(yaml_get(read.tree.root, "b")->members[1].value, "c"), 4, 9);
    check_place(yaml_key(read.tree.root, "\xC3\xBC"), 5, 1);
    check_place(yaml_get(read.tree.root, "\xC3\xBC")->members[1].value, 5, 8);
    done(&read);
}

TEST(lines_of_a_program_are_found_in_the_file)
{
    struct read read;
    int line, column;
    read_text(&read, "lit: |\n    .a\n      | .b\none: '.c | .d'\nplain: .e\nfold: >\n  x\n  y\n");
    struct yaml *literal = yaml_get(read.tree.root, "lit");
    check_place(literal, 2, 5);
    check_place(yaml_get(read.tree.root, "fold"), 7, 3);
    yaml_place(literal, 1, 1, &line, &column);
    CHECK(line == 2 && column == 5);
    yaml_place(literal, 2, 5, &line, &column);
    CHECK(line == 3 && column == 9);
    yaml_place(literal, 2, 0, &line, &column);
    CHECK(line == 3 && column == 7);
    yaml_place(yaml_get(read.tree.root, "one"), 1, 6, &line, &column);
    CHECK(line == 4 && column == 12);
    yaml_place(yaml_get(read.tree.root, "one"), 1, 0, &line, &column);
    CHECK(line == 4 && column == 6);
    yaml_place(yaml_get(read.tree.root, "plain"), 1, 2, &line, &column);
    CHECK(line == 5 && column == 9);
    done(&read);
}

TEST(a_place_that_cannot_be_known_is_in_the_line_where_the_text_begins)
{
    static const struct { const char *key; int line, column, want_line, want_column; } cases[] = {
        {"lit", 0, 0, 2, 5}, {"lit", 0, 3, 2, 3}, {"lit", 9, 0, 10, 1}, {"fold", 1, 3, 6, 3}, {"quoted", 2, 2, 8, 9}, {"tabs", 1, 0, 11, 3},
    };
    struct read read;
    read_text(&read, "lit: |\n    .a\n      | .b\nplain: .e\nfold: >\n  x\n  y\nquoted: 'a\n  b'\ntabs: |\n \t.c\n");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int line, column;
        yaml_place(yaml_get(read.tree.root, cases[i].key), cases[i].line, cases[i].column, &line, &column);
        test_note("%s %d:%d is %d:%d", cases[i].key, cases[i].line, cases[i].column, line, column);
        CHECK(line == cases[i].want_line && column == cases[i].want_column);
    }
    done(&read);
}

TEST(empty_lines_at_a_blocks_beginning_count)
{
    struct read read;
    int line, column;
    read_text(&read, "lit: |\n\n\n  .a\n  .b\n");
    yaml_place(yaml_get(read.tree.root, "lit"), 4, 0, &line, &column);
    test_note("line %d column %d", line, column);
    CHECK(line == 5 && column == 3);
    done(&read);
}

TEST(plain_scalars_are_what_they_look_like)
{
    check_json("[1, -2, 1.50, 1e3, true, false, null, ~, yes, 01, \"1\", '2', 0x10, 1_000]",
               "[1,-2,1.50,1e3,true,false,null,null,\"yes\",\"01\",\"1\",\"2\",\"0x10\",\"1_000\"]");
}

TEST(aliases_and_merges_are_written_out)
{
    check_json("a: &x {k: 1, l: 2}\nb: *x\nc: {l: 3, <<: *x}\n", "{\"a\":{\"k\":1,\"l\":2},\"b\":{\"k\":1,\"l\":2},\"c\":{\"l\":3,\"k\":1}}");
}

TEST(what_is_no_good_has_its_place)
{
    check_mistake("a: 1\nb: 2\na: 3\n", 3, "\"a\" stands here twice: first in line 1");
    check_mistake("a: *nobody\n", 1, "no anchor &nobody");
    check_mistake("a: &a [*a]\n", 1, "no anchor &a");
    check_mistake("a: !secret x\n", 1, "!secret is not known");
    check_mistake("a: 1\njq: . + {a: .b}\n", 2, "quote a jq program");
    check_mistake("a: \"x\n", 1, "no YAML");
    check_mistake("", 1, "nothing in this file");
    check_mistake("a: !file /nowhere/at/all\n", 1, "cannot be read");
    check_mistake("{a: 1}: 2\n", 1, "must be a word");
    check_mistake("a: 1\n<<: 5\n", 2, "<< takes a mapping");
    check_mistake("a\nb: 1\n", 1, "no YAML");
    check_mistake("a: !env\n", 1, "!env is not known here; there are: !env NAME, !file PATH");
    check_mistake("a: !env [b]\n", 1, "!env is not known here");
    check_mistake("a: !file [b]\n", 1, "!file is not known here");
    check_mistake("a: !file\n", 1, "!file takes the path of a file");
    check_mistake("a: !file \"b\\0c\"\n", 1, "!file takes the path of a file");
    check_mistake("a: b\x01\n", 1, "control character (1)");
}

TEST(bytes_that_are_no_text_are_refused)
{
    static const struct { struct bytes text; const char *part; } bad[] = {
        {BYTES("a: \xff\n"), "no text in UTF-8"}, {BYTES("a: b\0c\n"), "no text in UTF-8"}, {{NULL, 0}, "nothing in this file"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct read read = {0};
        yaml_parse(&read.tree, "a.yaml", bad[i].text, &read.mistakes);
        CHECK(!read.tree.root);
        CHECK_INT(read.mistakes.count, 1);
        test_note("%s", read.mistakes.list[0].sentence);
        CHECK(strstr(read.mistakes.list[0].sentence, bad[i].part));
        done(&read);
    }
}

TEST(many_aliases_of_aliases_are_refused)
{
    struct read read;
    struct buf text BUF_OWNED;
    buf_init(&text, 65536);
    buf_text(&text, "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for (int i = 1; i < 12; i++)
        buf_print(&text, "a%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d]\n", i, i, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
    read_text(&read, buf_z(&text));
    CHECK(!read.tree.root);
    CHECK_INT(read.mistakes.count, 1);
    CHECK(strstr(read.mistakes.list[0].sentence, "too many values"));
    done(&read);
}

/* Each value is looked at for each map that takes it in. */
TEST(merges_of_many_values_are_refused_with_a_sentence)
{
    struct read read;
    struct buf text BUF_OWNED;
    buf_init(&text, 1 << 18);
    buf_text(&text, "x: &x {");
    for (int i = 0; i < 1000; i++)
        buf_print(&text, "k%d: 1, ", i);
    buf_text(&text, "}\n");
    for (int i = 0; i <= LIMIT_PIPELINE_NODES / 1000; i++)
        buf_print(&text, "m%d: {<<: *x}\n", i);
    read_text(&read, buf_z(&text));
    CHECK(!read.tree.root);
    CHECK_INT(read.mistakes.count, 1);
    CHECK(strstr(read.mistakes.list[0].sentence, "merges too many values"));
    CHECK_INT(read.mistakes.list[0].line, 2 + LIMIT_PIPELINE_NODES / 1000);
    done(&read);
}

TEST(lists_in_lists_have_their_depth)
{
    char text[2 * LIMIT_PIPELINE_DEPTH + 3] = "";
    struct read read;
    memset(text, '[', LIMIT_PIPELINE_DEPTH);
    memset(text + LIMIT_PIPELINE_DEPTH, ']', LIMIT_PIPELINE_DEPTH);
    read_text(&read, text);
    CHECK(read.tree.root && !read.mistakes.count);
    done(&read);
    memset(text, '[', LIMIT_PIPELINE_DEPTH + 1);
    memset(text + LIMIT_PIPELINE_DEPTH + 1, ']', LIMIT_PIPELINE_DEPTH + 1);
    check_mistake(text, 1, "nested too deep");
}

TEST(a_file_is_taken_in_from_beside_and_keeps_its_own_lines)
{
    char folder[] = "/tmp/rivulet-yaml-XXXXXX", path[64], beside[64];
    struct mistakes mistakes = {0};
    struct yaml_tree tree;
    int line, column;
    CHECK(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/p.yaml", folder);
    snprintf(beside, sizeof beside, "%s/x.jq", folder);
    FILE *file = fopen(beside, "w");
    fputs("# first\n  .a\n", file);
    fclose(file);
    yaml_parse(&tree, path, BYTES("jq: !file x.jq\nkey: !env NAME a default\n"), &mistakes);
    const struct yaml *program = yaml_get(tree.root, "jq"), *key = yaml_get(tree.root, "key");
    CHECK_BYTES(program->text, BYTES("# first\n  .a\n"));
    CHECK_TEXT(program->source->path, beside);
    yaml_place(program, 2, 0, &line, &column);
    CHECK(line == 2 && column == 3);
    CHECK(key->env);
    CHECK_BYTES(key->text, BYTES("NAME a default"));
    yaml_done(&tree);
    mistakes_done(&mistakes);
    unlink(beside);
    rmdir(folder);
}

TEST(files_that_cannot_be_taken_in_are_told)
{
    char folder[] = "/tmp/rivulet-yaml-XXXXXX", path[64], beside[64], absolute[100], told[160];
    CHECK(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/p.yaml", folder);
    snprintf(beside, sizeof beside, "%s/x", folder);
    snprintf(absolute, sizeof absolute, "a: !file %s\n", beside);
    snprintf(told, sizeof told, "the file \"%s\" has more than %d bytes", beside, LIMIT_PIPELINE_FILE_BYTES);
    FILE *file = fopen(beside, "w");
    for (int i = 0; i <= LIMIT_PIPELINE_FILE_BYTES; i++)
        fputc('x', file);
    fclose(file);
    const struct { const char *text, *part; } bad[] = {
        {"a: !file ''\n", "takes the path of a file"}, {"a: !file .\n", "cannot be read: Is a directory"}, {"a: !file x\n", told},
        {absolute, told}, {"a: !file x\n", "is no text in UTF-8"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct read read = {0};
        if (i == 4) {
            file = fopen(beside, "w");
            fputs("\xff", file);
            fclose(file);
        }
        yaml_parse(&read.tree, path, bytes_of(bad[i].text), &read.mistakes);
        CHECK_INT(read.mistakes.count, 1);
        test_note("%s", read.mistakes.list[0].sentence);
        CHECK(strstr(read.mistakes.list[0].sentence, bad[i].part));
        done(&read);
    }
    unlink(beside);
    rmdir(folder);
}
