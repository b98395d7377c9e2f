#include "http/multipart.h"

#include "base/test.h"

#include <stdlib.h>

/* What a reading told, as text: "[name|filename|type]content;" for each part. */
static struct buf told;
static struct problem problem;
static int stop_at;               /* this callback answers 77; 0 = none */
static int calls;

static int step(void)
{
    return ++calls == stop_at ? 77 : 0;
}

static int on_part(void *user, const struct multipart_part *part)
{
    buf_print(&told, "[%.*s|%s%.*s%s|%.*s]", BYTES_ARG(part->name), part->is_file ? "" : "-", BYTES_ARG(part->filename),
              part->filename_cut ? "+" : "", BYTES_ARG(part->type));
    return step();
}

static int on_data(void *user, struct bytes data)
{
    CHECK(data.count > 0);
    buf_put(&told, data);
    return step();
}

static int on_part_end(void *user)
{
    buf_byte(&told, ';');
    return step();
}

static const struct multipart_calls CALLS = {on_part, on_data, on_part_end};

/* Read `form` in up to three pieces; 0 also for the end, or the first answer that is not. */
static int read_in(const char *boundary, struct bytes form, size_t first, size_t second)
{
    struct multipart *multipart = multipart_new(boundary, 3, &CALLS, NULL);
    size_t cuts[] = {0, first, second, form.count};
    int answer = 0;
    buf_done(&told);
    buf_init(&told, 1 << 20);
    problem = (struct problem){0};
    calls = 0;
    for (int i = 0; i < 3 && !answer; i++)
        if (cuts[i + 1] > cuts[i])
            answer = multipart_feed(multipart, (struct bytes){form.at + cuts[i], cuts[i + 1] - cuts[i]}, &problem);
    if (!answer)
        answer = multipart_end(multipart, &problem);
    multipart_free(multipart);
    return answer;
}

struct sample {
    struct bytes form;
    const char *told;
};

static const struct sample SAMPLES[] = {
    {BYTES("--b\r\nContent-Disposition: form-data; name=\"files\"; filename=\"a.jpg\"\r\nContent-Type: image/jpeg\r\n\r\nabc\r\n--b--\r\n"),
     "[files|a.jpg|image/jpeg]abc;"},
    {BYTES("--b\r\ncontent-disposition:form-data;name=x\r\n\r\n\r\n--b\r\nContent-Disposition: form-data; name=y\r\n\r\n1\r\n--b--"),
     "[x|-|];[y|-|]1;"},
    {BYTES("preamble\r\n-\r\n--b \t\r\nContent-Disposition: form-data; name=x\r\n\r\n\r\n\r\n--\r\n--a\r\r\n--\r--b\r\n\r\n--b--epilogue\r\n--b\r\n"),
     "[x|-|]\r\n\r\n--\r\n--a\r\r\n--\r--b\r\n;"},
    {BYTES("\r\n--b\r\nContent-Disposition: form-data; name=x; filename=\"../..\\\\\\\"易.jpg\"\r\n\r\n\r\n--b--\r\n"), "[x|../..\\\"易.jpg|];"},
    {BYTES("--b\r\nContent-Disposition: form-data; name=x; filename=\"C:\\temp\\a;b=c.jpg\"; y=z\r\n\r\n\r\n--b--\r\n"), "[x|C:\\temp\\a;b=c.jpg|];"},
    {BYTES("--b\r\nContent-Disposition: form-data; name=x; filename=\"tail\\\"\r\n\r\n\r\n--b--\r\n"), "[x|tail\\|];"},
    {BYTES("--b\r\nContent-Disposition: form-data; name=x; filename=\"a\"; filename*=utf-8''%E6%98%93%0A.jpg\r\n\r\n\r\n--b--\r\n"),
     "[x|易\xef\xbf\xbd.jpg|];"},
    {BYTES("--b\r\nContent-Disposition: form-data; name=x; filename=\"\xff\x1b" "a%22%0D%0A.jpg\"\r\n\r\n\r\n--b--\r\n"),
     "[x|\xef\xbf\xbd\xef\xbf\xbd" "a%22%0D%0A.jpg|];"},
    {BYTES("--b\r\nContent-Disposition: form-data; name=x; filename=\"\"\r\n\r\n\r\n--b--\r\n"), "[x||];"},
    {BYTES("--b\r\nContent-Disposition: form-data; name=x; filename=a; filename*=iso-8859-1''b\r\n\r\n\r\n--b--\r\n"), "[x|a|];"},
    {BYTES("--b\r\nContent-Disposition: form-data; name=x; filename=a; filename*=UTF-8''%zz\r\n\r\n\r\n--b--\r\n"), "[x|a|];"},
    {BYTES("--b--\r\n"), ""},
};

enum { SAMPLES_COUNT = sizeof SAMPLES / sizeof *SAMPLES };

TEST(a_form_reads_the_same_split_at_every_two_bytes)
{
    for (int i = 0; i < SAMPLES_COUNT; i++) {
        struct bytes form = SAMPLES[i].form;
        for (size_t first = 0; first <= form.count; first++)
            for (size_t second = first; second <= form.count; second++) {
                CHECK_INT(read_in("b", form, first, second), 0);
                CHECK_BYTES(buf_bytes(&told), bytes_of(SAMPLES[i].told));
            }
    }
    buf_done(&told);
}

TEST(a_form_cut_off_anywhere_is_an_error)
{
    for (int i = 0; i < SAMPLES_COUNT; i++) {
        struct bytes form = SAMPLES[i].form;
        size_t end = (size_t)((char *)memmem(form.at, form.count, "--b--", 5) - form.at) + 5;
        for (size_t count = 0; count < end; count++)
            for (size_t first = 0; first <= count; first += 7) {
                CHECK_INT(read_in("b", (struct bytes){form.at, count}, first, first), -1);
                CHECK(strstr(problem.text, "cut off"));
            }
        for (size_t count = end; count <= form.count; count++)
            CHECK_INT(read_in("b", (struct bytes){form.at, count}, 1, 2), 0);
    }
    buf_done(&told);
}

TEST(a_callback_can_stop_the_reading)
{
    struct bytes form = SAMPLES[0].form;
    for (stop_at = 1; stop_at <= 3; stop_at++)
        for (size_t first = 0; first <= form.count; first++)
            CHECK_INT(read_in("b", form, first, first), 77);
    form = SAMPLES[2].form;      /* whose content looks like a delimiter again and again */
    for (stop_at = 1; stop_at <= 3; stop_at++)
        for (size_t first = 0; first <= form.count; first++)
            CHECK_INT(read_in("b", form, first, first), 77);
    stop_at = 0;
    buf_done(&told);
}

TEST(malformed_forms_get_a_sentence)
{
    static const struct { struct bytes form; const char *says; } BAD[] = {
        {BYTES("--bx\r\n"), "boundary line"}, {BYTES("--b-x"), "boundary line"}, {BYTES("--b\rx"), "boundary line"}, {BYTES("--b\nx"), "boundary line"},
        {BYTES("--b\r\n\r\nabc\r\n--b--"), "Content-Disposition"},
        {BYTES("--b\r\nContent-Disposition: form-data\r\n\r\n\r\n--b--"), "no name"},
        {BYTES("--b\r\nContent-Disposition: attachment; name=x\r\n\r\n\r\n--b--"), "form-data"},
        {BYTES("--b\r\nContent-Disposition: form-data; name=\"x\r\n\r\n\r\n--b--"), "no name"},
        {BYTES("--b\r\nContent-Disposition: form-data; name=x; filename=\"x\r\n\r\n\r\n--b--"), "malformed"},
        {BYTES("--b\r\nContent-Disposition: form-data; name=\"x\"y\r\n\r\n\r\n--b--"), "no name"},
        {BYTES("--b\r\nContent-Disposition: form-data; name=x\r\n folded\r\n\r\n\r\n--b--"), "malformed header"},
        {BYTES("--b\r\nContent-Disposition: form-data; name=x\nA: b\r\n\r\n\r\n--b--"), "malformed header"},
        {BYTES("--b\r\nContent-Disposition: form-data; name=x\r\nContent-Disposition: form-data; name=y\r\n\r\n\r\n--b--"), "malformed header"},
        {BYTES("--b\r\nnothing\r\n\r\n\r\n--b--"), "malformed header"},
        {BYTES("--b\r\n\ta: b\r\n\r\n\r\n--b--"), "malformed header"},
        {BYTES("--b\r\nContent-Disposition: form-data; name=\"x\\\r\n\r\n\r\n--b--"), "no name"},
        {BYTES("--b\r\nContent-Disposition: form-data; name=x; filename=a; filename*=\"b\r\n\r\n\r\n--b--"), "malformed"},
    };
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++)
        for (size_t first = 0; first <= BAD[i].form.count; first++) {
            test_note("case %zu at %zu: %s", i, first, problem.text);
            CHECK_INT(read_in("b", BAD[i].form, first, first), -1);
            CHECK(strstr(problem.text, BAD[i].says));
        }
    buf_done(&told);
}

static void add_part(struct buf *form, const char *filename)
{
    buf_print(form, "\r\n--b\r\nContent-Disposition: form-data; name=f; filename=\"%s\"\r\n\r\nx", filename);
}

TEST(the_limits_of_a_form)
{
    struct buf form BUF_OWNED;
    buf_init(&form, 1 << 20);
    for (int i = 0; i < 4; i++)
        add_part(&form, "a");
    CHECK_INT(read_in("b", buf_bytes(&form), 0, 0), -1);
    CHECK(strstr(problem.text, "more than 3 parts"));
    char name[9000] = {0};
    memset(name, 'n', 254);
    memcpy(name + 254, "易", 3);
    buf_clear(&form);
    add_part(&form, name);
    buf_text(&form, "\r\n--b--");
    CHECK_INT(read_in("b", buf_bytes(&form), 0, 0), 0);
    name[254] = 0;
    char want[400];
    snprintf(want, sizeof want, "[f|%.254s+|]x;", name);
    CHECK_BYTES(buf_bytes(&told), bytes_of(want));
    memset(name, 'n', sizeof name - 1);
    buf_clear(&form);
    add_part(&form, name);
    CHECK_INT(read_in("b", buf_bytes(&form), 10, 20), -1);
    CHECK(strstr(problem.text, "8192 bytes"));
    buf_done(&told);
}

TEST(the_boundary_of_a_content_type)
{
    char boundary[MULTIPART_BOUNDARY_SIZE];
    CHECK_INT(multipart_boundary(BYTES("multipart/form-data; boundary=----WebKitX"), boundary, &problem), 0);
    CHECK_TEXT(boundary, "----WebKitX");
    CHECK_INT(multipart_boundary(BYTES("Multipart/Form-Data ; charset=utf-8; BOUNDARY=\"a b?\""), boundary, &problem), 0);
    CHECK_TEXT(boundary, "a b?");
    CHECK_INT(multipart_boundary(BYTES("application/json"), boundary, &problem), 1);
    CHECK_INT(multipart_boundary((struct bytes){NULL, 0}, boundary, &problem), 1);
    static const char *const BAD[] = {"", "; boundary", "; boundary=", "; boundary=\"", "; boundary=a\"b", "; boundary=\"a \"", "; boundary=a{b",
                                      "; boundary=1234567890123456789012345678901234567890123456789012345678901234567890x"};
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        char value[200];
        snprintf(value, sizeof value, "multipart/form-data%s", BAD[i]);
        test_note("%s", value);
        problem = (struct problem){0};
        CHECK_INT(multipart_boundary(bytes_of(value), boundary, &problem), -1);
        CHECK(problem_is(&problem));
    }
    CHECK_INT(multipart_boundary(BYTES("multipart/form-data; boundary=a\0b"), boundary, &problem), -1);
    char longer[400];
    snprintf(longer, sizeof longer, "multipart/form-data; x=%0300d; boundary=a", 0);
    CHECK_INT(multipart_boundary(bytes_of(longer), boundary, &problem), -1);
}

TEST(who_says_no_maximum_of_parts_gets_the_programs)
{
    struct buf form BUF_OWNED;
    buf_init(&form, 1 << 20);
    for (int i = 0; i < 4; i++)
        add_part(&form, "a");
    buf_text(&form, "\r\n--b--");
    struct multipart *multipart = multipart_new("b", 0, &CALLS, NULL);
    buf_init(&told, 1 << 20);
    CHECK_INT(multipart_feed(multipart, buf_bytes(&form), &problem), 0);
    CHECK_INT(multipart_end(multipart, &problem), 0);
    CHECK_TEXT(buf_z(&told), "[f|a|]x;[f|a|]x;[f|a|]x;[f|a|]x;");
    multipart_free(multipart);
    multipart_free(NULL);
    buf_done(&told);
}
