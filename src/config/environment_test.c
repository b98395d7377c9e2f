#include "config/environment.h"

#include "base/test.h"

#include <stdlib.h>

TEST(what_a_pipeline_lacks_is_told_once)
{
    struct problem problem = {0};
    struct pipeline *pipeline = pipeline_parse(BYTES("{\"name\":\"p\",\"legs\":[{\"stages\":[{\"stage\":\"http\",\"with\":{\"url\":\"\\\"http://a\\\"\","
                                                     "\"auth\":{\"bearer\":{\"$env\":\"RIVULET_TEST_LACKED\"}},\"headers\":{\"a\":{\"$env\":\"RIVULET_TEST_LACKED\"},"
                                                     "\"b\":{\"$env\":\"RIVULET_TEST_SET\"},\"c\":{\"$env\":\"RIVULET_TEST_EASY\",\"default\":\"x\"},"
                                                     "\"d\":{\"$env\":\"RIVULET_TEST_LACK\"}}}}]}]}"), &problem);
    struct buf list BUF_OWNED;
    buf_init(&list, 1024);
    CHECK_TEXT(problem.text, "");
    setenv("RIVULET_TEST_SET", "1", 1);
    environment_missing(pipeline, &list);
    CHECK_TEXT(buf_z(&list), "RIVULET_TEST_LACKED, RIVULET_TEST_LACK");
    unsetenv("RIVULET_TEST_SET");
    pipeline_free(pipeline);
}
