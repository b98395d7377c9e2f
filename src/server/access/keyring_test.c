#include "server/access/keyring.h"
#include "base/test.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define ALICE "alice-key-0123456789"
#define BOB "bob-key-0123456789ab"

TEST(keys_are_read_from_lines_and_found_by_what_they_are)
{
    struct keyring ring;
    struct problem problem = {0};
    keyring_init(&ring);
    CHECK_INT(keyring_load(&ring, NULL, "# who\n alice " ALICE " jobs=2 streams=0\n\nbob\t" BOB ";carol carol-key-0123456789 bytes=7\r\n", &problem), 0);
    struct key *alice = keyring_find(&ring, BYTES(ALICE)), *bob = keyring_find(&ring, BYTES(BOB));
    CHECK(alice && bob);
    CHECK_TEXT(alice->owner, "alice");
    CHECK(alice->quota.jobs == 2 && alice->quota.streams == 0 && alice->quota.items == -1);
    CHECK(bob->quota.jobs == -1);
    CHECK_INT(keyring_find(&ring, BYTES("carol-key-0123456789"))->quota.bytes, 7);
    CHECK(!keyring_find(&ring, BYTES("alice-key-012345678")) && !keyring_find(&ring, BYTES("")));
    keyring_done(&ring);
}

TEST(keys_are_read_from_json_plain_and_hashed)
{
    struct keyring ring;
    struct problem problem = {0};
    struct sha digest = sha_of(BYTES(BOB));
    char hex[SHA_HEX_SIZE], text[400];
    sha_hex(&digest, hex);
    snprintf(text, sizeof text, " [{\"owner\":\"alice\",\"key\":\"" ALICE "\",\"items\":5},{\"owner\":\"bob\",\"key\":\"sha256:%s\"}]", hex);
    keyring_init(&ring);
    CHECK_INT(keyring_load(&ring, NULL, text, &problem), 0);
    CHECK_INT(keyring_find(&ring, BYTES(ALICE))->quota.items, 5);
    CHECK_TEXT(keyring_find(&ring, BYTES(BOB))->owner, "bob");
    keyring_done(&ring);
}

TEST(a_reload_keeps_who_stays_and_kills_who_goes)
{
    struct keyring ring;
    struct problem problem = {0};
    keyring_init(&ring);
    CHECK_INT(keyring_load(&ring, NULL, "alice " ALICE "\nbob " BOB, &problem), 0);
    struct key *alice = keyring_find(&ring, BYTES(ALICE)), *bob = keyring_find(&ring, BYTES(BOB));
    CHECK_INT(keyring_load(&ring, NULL, "alice " ALICE " jobs=1", &problem), 0);
    CHECK(keyring_find(&ring, BYTES(ALICE)) == alice && alice->quota.jobs == 1);
    CHECK(!keyring_find(&ring, BYTES(BOB)) && bob->dead);
    CHECK_INT(keyring_load(&ring, NULL, "mallory short", &problem), -1);
    CHECK(keyring_find(&ring, BYTES(ALICE)) == alice);
    CHECK_INT(keyring_load(&ring, NULL, "bob " BOB, &(struct problem){0}), 0);
    CHECK(keyring_find(&ring, BYTES(BOB)) == bob && alice->dead);
    keyring_done(&ring);
}

TEST(what_is_wrong_with_keys_is_told_without_telling_the_key)
{
    static const char *const bad[][2] = {
        {"", "holds no key"}, {"# nobody\n", "holds no key"}, {"alice", "an owner and a key"}, {"alice SECRET", "16 to 256"},
        {"alice SECRET-0123456789 jobs=x", "jobs=N"}, {"alice SECRET-0123456789 cars=1", "jobs=N"}, {"alice SECRET-0123456789 jobs=-1", "jobs=N"},
        {"a/b SECRET-0123456789", "owner must"}, {"alice sha256:SECRET", "64 lower-case"},
        {"alice SECRET-0123456789\nbob SECRET-0123456789", "twice"}, {"alice SECRET-0123456789\xc3\xa4", "16 to 256"},
        {"[{\"owner\":\"alice\"}]", "16 to 256"}, {"[1]", "an object"}, {"{\"SECRET\":1}", "must be lines"}, {"[SECRET", "must be lines"},
        {"[{\"owner\":\"a\",\"key\":\"SECRET-0123456789\",\"jobs\":\"SECRET\"}]", "whole numbers"},
    };
    struct keyring ring;
    keyring_init(&ring);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct problem problem = {0};
        CHECK_INT(keyring_load(&ring, NULL, bad[i][0], &problem), -1);
        test_note("%s -> %s", bad[i][0], problem.text);
        CHECK(strstr(problem.text, bad[i][1]) && !strstr(problem.text, "SECRET"));
    }
    CHECK(list_empty(&ring.keys));
    keyring_done(&ring);
}

TEST(a_file_of_keys_that_everybody_may_read_is_refused)
{
    char path[] = "/tmp/rivulet-keys-XXXXXX";
    int fd = mkstemp(path);
    struct keyring ring;
    struct problem problem = {0};
    keyring_init(&ring);
    CHECK(fd >= 0 && write(fd, "alice " ALICE "\n", 7 + sizeof ALICE - 1) > 0);
    fchmod(fd, 0644);
    CHECK_INT(keyring_load(&ring, path, NULL, &problem), -1);
    CHECK(strstr(problem.text, "0644") && !strstr(problem.text, ALICE));
    fchmod(fd, 0640);
    CHECK(geteuid() || !fchown(fd, 1, 1));
    problem = (struct problem){0};
    CHECK_INT(keyring_load(&ring, path, NULL, &problem), -1);
    CHECK(strstr(problem.text, "by its group (mode 0640)"));
    fchmod(fd, geteuid() ? 0600 : 0640);
    CHECK(geteuid() || !fchown(fd, 0, 1));                  /* of root, given to a group */
    CHECK_INT(keyring_load(&ring, path, NULL, &problem), 0);
    CHECK(keyring_find(&ring, BYTES(ALICE)));
    CHECK_INT(ftruncate(fd, 0), 0);
    struct sha digest = sha_of(BYTES(ALICE));
    char hex[SHA_HEX_SIZE], line[100];
    sha_hex(&digest, hex);
    int count = snprintf(line, sizeof line, "alice sha256:%s\n", hex);
    CHECK(pwrite(fd, line, (size_t)count, 0) == count);
    fchmod(fd, 0644);
    CHECK_INT(keyring_load(&ring, path, NULL, &problem), 0);
    fchmod(fd, 0666);
    CHECK_INT(keyring_load(&ring, path, NULL, &problem), -1);
    close(fd);
    unlink(path);
    CHECK_INT(keyring_load(&ring, path, NULL, &(struct problem){0}), -1);
    keyring_done(&ring);
}
