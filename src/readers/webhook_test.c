/* What a job may say of its webhook, and how what goes out is signed. Deliveries are tested with a receiver: tests/server/test_webhooks.py. */
#include "readers/webhook.h"

#include "base/limits.h"
#include "base/test.h"

static const char *refused(const char *json)
{
    static struct problem problem;
    problem.text[0] = 0;
    int answer = webhook_check(bytes_of(json), &problem);
    CHECK((answer == 0) == !problem_is(&problem));
    return problem.text;
}

TEST(a_webhook_is_an_address_and_events)
{
    CHECK_TEXT(refused("{\"url\":\"https://example.org/hook?a=1\"}"), "");
    CHECK_TEXT(refused("{\"url\":\"http://example.org:8080\",\"events\":[\"complete\",\"result\",\"failed\"]}"), "");
    CHECK(strstr(refused("[]"), "\"url\""));
    CHECK(strstr(refused("{\"events\":[\"result\"]}"), "\"url\""));
    CHECK(strstr(refused("{\"url\":7}"), "\"url\""));
    CHECK(strstr(refused("{\"url\":\"ftp://example.org/\"}"), "cannot be called"));
    CHECK(strstr(refused("{\"url\":\"/hook\"}"), "cannot be called"));
    CHECK(strstr(refused("{\"url\":\"https://me:secret@example.org/\"}"), "cannot be called"));
    CHECK(!strstr(refused("{\"url\":\"https://me:secret@example.org/\"}"), "secret"));
    CHECK(strstr(refused("{\"url\":\"https://example.org\",\"events\":[\"progress\"]}"), "event 0"));
    CHECK(strstr(refused("{\"url\":\"https://example.org\",\"events\":[]}"), "\"events\""));
    CHECK(strstr(refused("{\"url\":\"https://example.org\",\"events\":\"result\"}"), "\"events\""));
    CHECK(strstr(refused("{\"url\":\"https://example.org\",\"secret\":\"mine\"}"), "not known"));
}

TEST(an_address_has_its_longest)
{
    struct buf json BUF_OWNED;
    buf_init(&json, 4096);
    buf_text(&json, "{\"url\":\"https://example.org/");
    while (json.count < 8 + LIMIT_WEBHOOK_URL_BYTES)
        buf_byte(&json, 'a');
    buf_text(&json, "\"}");
    CHECK_TEXT(refused(buf_z(&json)), "");
    json.count -= 2;
    buf_text(&json, "a\"}");
    CHECK(strstr(refused(buf_z(&json)), "2049 bytes"));
}

/* The example in the standard's own papers. */
TEST(what_goes_out_is_signed_as_the_standard_says)
{
    struct buf signature BUF_OWNED;
    struct bytes id = BYTES("msg_p5jXN8AQM9LWM0D4loKWxJek"), time = BYTES("1614265330"), body = BYTES("{\"test\": 2432232314}");
    buf_init(&signature, 400);
    CHECK(webhook_sign("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", id, time, body, &signature));
    CHECK_TEXT(buf_z(&signature), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    buf_clear(&signature);
    CHECK(webhook_sign(" whsec_AAAAAAAAAAAAAAAAAAAAAA==  whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw ", id, time, body, &signature));
    CHECK(strstr(buf_z(&signature), " v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
    CHECK(bytes_start(buf_bytes(&signature), BYTES("v1,")) && signature.count == 2 * 47 + 1);
}

TEST(a_secret_that_is_none_is_refused)
{
    static const char *const wrong[] = {"secret", "whsec_", "whsec_AAAA", "whsec_!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!",
                                        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw other", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"};
    struct buf signature BUF_OWNED;
    buf_init(&signature, 400);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        CHECK(!webhook_sign(wrong[i], BYTES("a"), BYTES("1"), BYTES("{}"), &signature));
}
