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
