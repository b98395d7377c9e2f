#include "server/access/ticket.h"
#include "base/test.h"

enum { TTL = 30, EACH = 3 };

TEST(a_pass_is_good_until_its_time_and_only_as_it_was_given)
{
    struct passes passes;
    struct key key = {0};
    char text[PASS_TEXT_SIZE];
    passes_init(&passes, TTL, EACH);
    pass_issue(&passes, &key, BYTES("a b"), 100, text);
    struct pass *pass = pass_find(&passes, bytes_of(text), 129);
    CHECK(pass && pass->key == &key && pass_opens(pass, BYTES("a")) && pass_opens(pass, BYTES("b")));
    CHECK(!pass_opens(pass, BYTES("a b")) && !pass_opens(pass, BYTES("")) && !pass_opens(pass, BYTES("c")));
    text[0] = text[0] == '0' ? '1' : '0';
    CHECK(!pass_find(&passes, bytes_of(text), 100));
    CHECK(!pass_find(&passes, BYTES(""), 100));
    text[0] = 0;
    CHECK(!pass_find(&passes, BYTES("0"), 130) && !passes_count(&passes));
    passes_done(&passes);
}

TEST(a_pass_that_was_ended_or_whose_key_is_dead_opens_nothing)
{
    struct passes passes;
    struct key key = {0};
    char text[PASS_TEXT_SIZE], other[PASS_TEXT_SIZE];
    passes_init(&passes, TTL, EACH);
    pass_issue(&passes, &key, BYTES("a"), 0, text);
    pass_issue(&passes, &key, BYTES("a"), 0, other);
    pass_end(&passes, pass_find(&passes, bytes_of(text), 1));
    CHECK(!pass_find(&passes, bytes_of(text), 1) && pass_find(&passes, bytes_of(other), 1));
    key.dead = true;
    CHECK(!pass_find(&passes, bytes_of(other), 1));
    passes_done(&passes);
}

TEST(a_key_has_a_few_passes_and_the_oldest_gives_way)
{
    struct passes passes;
    struct key key = {0}, other = {0};
    char first[PASS_TEXT_SIZE], theirs[PASS_TEXT_SIZE], text[PASS_TEXT_SIZE];
    passes_init(&passes, TTL, EACH);
    pass_issue(&passes, &other, BYTES("a"), 0, theirs);
    pass_issue(&passes, &key, BYTES("a"), 0, first);
    for (int i = 0; i < EACH; i++)
        pass_issue(&passes, &key, BYTES("a"), 0, text);
    CHECK_INT(passes_count(&passes), EACH + 1);
    CHECK(!pass_find(&passes, bytes_of(first), 1) && pass_find(&passes, bytes_of(theirs), 1) && pass_find(&passes, bytes_of(text), 1));
    passes_done(&passes);
}
