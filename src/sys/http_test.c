/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/http.h"

#include "test.h"

#define LINE "GET /a HTTP/1.1\r\n"
#define HOST "Host: example.org\r\n"

static void a_head_ends_with_an_empty_line(void)
{
    const struct {
        struct bytes in;
        size_t want;
    } cases[] = {
        {LIT(""), 0},
        {LIT("GET / HTTP/1.1\r\n"), 0},
        {LIT("GET / HTTP/1.1\r\n\r"), 0},
        {LIT("GET / HTTP/1.1\r\n\r\n"), 18},
        {LIT("GET / HTTP/1.1\r\n\r\nbody\r\n\r\n"), 18},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        CHECK_UINT(http_head_len(cases[i].in), cases[i].want);
}

static void a_request_gives_its_fields(void)
{
    struct http_request q;
    CHECK_UINT(http_request_read(LIT("PUT /blob/x?y=z HTTP/1.1\r\n" HOST
                                     "x-other: 1\r\nX-OTHER: 2\r\n"
                                     "Content-LENGTH:\t 12 \r\n"
                                     "X-Forwarded-For: 1.2.3.4\r\n"
                                     "X-Forwarded-For: 5.6.7.8, 9.9.9.9 \r\n"
                                     "Expect:\r\n\r\n"),
                                 &q),
               OK);
    CHECK_UINT(q.method, HTTP_PUT);
    CHECK_BYTES(q.path, LIT("/blob/x"));
    CHECK_BYTES(q.fields[HTTP_HOST], LIT("example.org"));
    CHECK_BYTES(q.fields[HTTP_CONTENT_LENGTH], LIT("12"));
    CHECK_BYTES(http_last(q.fields[HTTP_FORWARDED_FOR]), LIT("9.9.9.9"));
    CHECK(http_has(&q, HTTP_EXPECT));
    CHECK_UINT(q.fields[HTTP_EXPECT].len, 0);
    CHECK(!http_has(&q, HTTP_RANGE));
}

static void methods_and_versions_are_told_apart(void)
{
    struct http_request q;
    CHECK_UINT(http_request_read(LIT("HEAD / HTTP/1.0\r\n\r\n"), &q), OK);
    CHECK_UINT(q.method, HTTP_HEAD);
    CHECK_UINT(http_request_read(LIT("get / HTTP/1.0\r\n\r\n"), &q), OK);
    CHECK_UINT(q.method, HTTP_OTHER);
    CHECK_UINT(http_request_read(LIT("BREW / HTTP/1.0\r\n\r\n"), &q), OK);
    CHECK_UINT(q.method, HTTP_OTHER);
}

static void what_is_not_clear_is_refused(void)
{
    const struct bytes cases[] = {
        LIT("\r\n\r\n"),
        LIT("GET / HTTP/1.1\r\n\r\n"), /* no host */
        LIT("GET / HTTP/2.0\r\n" HOST "\r\n"),
        LIT("GET / http/1.1\r\n" HOST "\r\n"),
        LIT("GET  / HTTP/1.1\r\n" HOST "\r\n"),
        LIT("GET / HTTP/1.1 \r\n" HOST "\r\n"),
        LIT("GET /\r\n" HOST "\r\n"),
        LIT(" GET / HTTP/1.1\r\n" HOST "\r\n"),
        LIT("G(T / HTTP/1.1\r\n" HOST "\r\n"),
        LIT("GET a HTTP/1.1\r\n" HOST "\r\n"),
        LIT("GET http://a/ HTTP/1.1\r\n" HOST "\r\n"),
        LIT("GET /\x01 HTTP/1.1\r\n" HOST "\r\n"),
        LIT("GET /\xff HTTP/1.1\r\n" HOST "\r\n"),
        LIT("GET / HTTP/1.1\n" HOST "\r\n"),
        LIT(LINE HOST HOST "\r\n"),
        LIT(LINE HOST "Range: a\r\nrange: b\r\n\r\n"),
        LIT(LINE HOST "Range : a\r\n\r\n"),
        LIT(LINE HOST " Range: a\r\n\r\n"), /* a folded line */
        LIT(LINE HOST ": a\r\n\r\n"),
        LIT(LINE HOST "Range\r\n\r\n"),
        LIT(LINE HOST "Range: a\rb\r\n\r\n"),
        LIT(LINE HOST "Range: a\nb\r\n\r\n"),
        LIT(LINE HOST "Range: a\0b\r\n\r\n"),
        LIT(LINE HOST "Content-Length: 1\r\nTransfer-Encoding: x\r\n\r\n"),
        LIT(LINE HOST "\r\nx"),
    };
    struct http_request q;
    for (size_t i = 0; i < COUNT(cases); i++)
        CHECK_UINT(http_request_read(cases[i], &q), ERR_MALFORMED);
}

static void lists_are_searched_by_word(void)
{
    CHECK(http_lists(LIT("keep-alive, Upgrade"), "upgrade"));
    CHECK(http_lists(LIT(",,upgrade "), "upgrade"));
    CHECK(!http_lists(LIT("keep-alive, upgraded"), "upgrade"));
    CHECK(!http_lists(LIT("up grade"), "upgrade"));
    CHECK(!http_lists((struct bytes){0}, "upgrade"));
    CHECK_BYTES(http_last(LIT("a")), LIT("a"));
    CHECK_BYTES(http_last(LIT("a, b ,")), LIT(""));
    CHECK_BYTES(http_last((struct bytes){0}), LIT(""));
}

static void numbers_are_digits(void)
{
    uint64_t n = 7;
    CHECK_UINT(http_number(LIT("18446744073709551615"), &n), OK);
    CHECK_UINT(n, UINT64_MAX);
    CHECK_UINT(http_number(LIT("18446744073709551616"), &n), ERR_MALFORMED);
    CHECK_UINT(http_number(LIT("99999999999999999999999"), &n), ERR_MALFORMED);
    CHECK_UINT(http_number(LIT(""), &n), ERR_MALFORMED);
    CHECK_UINT(http_number(LIT("+1"), &n), ERR_MALFORMED);
    CHECK_UINT(http_number(LIT("1 "), &n), ERR_MALFORMED);
    CHECK_UINT(http_number(LIT("0x1"), &n), ERR_MALFORMED);
    CHECK_UINT(n, UINT64_MAX);
}

static void ranges_are_cut_to_what_there_is(void)
{
    const struct {
        struct bytes in;
        enum err err;
        uint64_t first;
        uint64_t end;
    } cases[] = {
        {LIT("bytes=0-9"), OK, 0, 10},
        {LIT("bytes=99-99"), OK, 99, 100},
        {LIT("Bytes=10-"), OK, 10, 100},
        {LIT("bytes=90-200"), OK, 90, 100},
        {LIT("bytes=0-18446744073709551615"), OK, 0, 100},
        {LIT("bytes=-30"), OK, 70, 100},
        {LIT("bytes=-300"), OK, 0, 100},
        {LIT("bytes=100-"), ERR_NOTFOUND, 0, 0},
        {LIT("bytes=100-100"), ERR_NOTFOUND, 0, 0},
        {LIT("bytes=-0"), ERR_NOTFOUND, 0, 0},
        {LIT("bytes=9-0"), ERR_MALFORMED, 0, 0},
        {LIT("bytes=0-1,4-5"), ERR_MALFORMED, 0, 0},
        {LIT("bytes=-"), ERR_MALFORMED, 0, 0},
        {LIT("bytes=1"), ERR_MALFORMED, 0, 0},
        {LIT("bytes=a-b"), ERR_MALFORMED, 0, 0},
        {LIT("lines=0-1"), ERR_MALFORMED, 0, 0},
        {LIT("bytes"), ERR_MALFORMED, 0, 0},
        {LIT(""), ERR_MALFORMED, 0, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct http_range r = {0};
        CHECK_UINT(http_range_read(cases[i].in, 100, &r), cases[i].err);
        CHECK_UINT(r.first, cases[i].first);
        CHECK_UINT(r.end, cases[i].end);
    }
    struct http_range r;
    CHECK_UINT(http_range_read(LIT("bytes=0-0"), 0, &r), ERR_NOTFOUND);
    CHECK_UINT(http_range_read(LIT("bytes=-1"), 0, &r), ERR_NOTFOUND);
}

static void a_content_range_lies_in_its_total(void)
{
    struct http_range r = {0};
    uint64_t total = 0;
    CHECK_UINT(http_content_range_read(LIT("bytes 0-9/10"), &r, &total), OK);
    CHECK(r.first == 0 && r.end == 10 && total == 10);
    CHECK_UINT(http_content_range_read(LIT("bytes 5-5/18446744073709551615"),
                                       &r, &total),
               OK);
    CHECK(r.first == 5 && r.end == 6 && total == UINT64_MAX);
    const struct bytes bad[] = {
        LIT(""),
        LIT("bytes"),
        LIT("bytes 0-9"),
        LIT("bytes */9"),
        LIT("bytes 0-9/*"),
        LIT("bytes 5-4/9"),
        LIT("lines 0-1/9"),
        LIT("bytes 0-9/9"),
        LIT("bytes  0-8/9"),
        LIT("bytes 0-8/9/9"),
    };
    for (size_t i = 0; i < COUNT(bad); i++)
        CHECK_UINT(http_content_range_read(bad[i], &r, &total), ERR_MALFORMED);
}

static const struct test tests[] = {
    TEST(a_head_ends_with_an_empty_line),
    TEST(a_request_gives_its_fields),
    TEST(methods_and_versions_are_told_apart),
    TEST(what_is_not_clear_is_refused),
    TEST(lists_are_searched_by_word),
    TEST(numbers_are_digits),
    TEST(ranges_are_cut_to_what_there_is),
    TEST(a_content_range_lies_in_its_total),
};
TEST_MAIN(tests)
