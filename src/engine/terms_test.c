#include "engine/terms.h"

#include "base/json.h"
#include "base/test.h"

static struct pipeline *pipeline_with(const char *members)
{
    struct problem problem = {0};
    struct buf text BUF_OWNED;
    buf_init(&text, 4096);
    buf_print(&text, "{\"name\":\"p\",%s,\"legs\":[{\"stages\":[\"noop\"]}]}", members);
    struct pipeline *pipeline = pipeline_parse(buf_bytes(&text), &problem);
    CHECK_TEXT(problem.text, "");
    return pipeline;
}

static void refused(const char *members, struct bytes params, const char *part)
{
    struct pipeline *pipeline = pipeline_with(members);
    struct problem problem = {0};
    struct terms terms;
    struct store_job job = {0};
    CHECK_INT(terms_make(pipeline, params, (struct bytes){0}, &terms, &job, &problem), -1);
    CHECK(strstr(problem.text, part) != NULL);
    terms_done(&terms);
    pipeline_free(pipeline);
}

TEST(parameters_get_their_defaults_and_numbers_come_from_them)
{
    struct pipeline *pipeline = pipeline_with("\"params\":{\"want\":{\"type\":\"string\",\"required\":true},\"top\":{\"type\":\"integer\",\"default\":5}},"
                                              "\"top\":{\"keep\":\"$params.top\"},\"stop\":{\"count\":3},\"mirror\":{\"firestore\":{}}");
    struct problem problem = {0};
    struct terms terms;
    struct store_job job = {0};
    CHECK_INT(terms_check(pipeline, &problem), 0);
    CHECK_INT(terms_make(pipeline, BYTES("{\"want\":\"coffee\"}"), BYTES("{\"url\":\"https://a\"}"), &terms, &job, &problem), 0);
    CHECK_TEXT(terms.params, "{\"want\":\"coffee\",\"top\":5}");
    CHECK_INT(job.top_keep, 5);
    CHECK_INT(job.stop_count, 3);
    CHECK_INT(job.readers_count, 2);
    CHECK_TEXT(job.readers[1], "firestore");
    terms_done(&terms);
    pipeline_free(pipeline);
}

TEST(wrong_parameters_are_named)
{
    const char *declares = "\"params\":{\"want\":{\"type\":\"string\",\"required\":true},\"top\":{\"type\":\"integer\"}},\"top\":{\"keep\":\"$params.top\"}";
    refused(declares, (struct bytes){0}, "needs the parameter \"want\"");
    refused(declares, BYTES("{\"want\":1}"), "\"want\" of the pipeline p must be string");
    refused(declares, BYTES("{\"want\":\"a\",\"tpo\":1}"), "has no parameter \"tpo\"");
    refused(declares, BYTES("{\"want\":\"a\",\"top\":-1}"), "from 0 to 1000");
    refused(declares, BYTES("[1]"), "must be a JSON object");
}
