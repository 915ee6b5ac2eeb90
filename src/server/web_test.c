/* SPDX-License-Identifier: Apache-2.0 */
#include "server/web.h"

#include "base/mem.h"
#include "sys/http.h"
#include "test.h"

#include <string.h>

#define HOST "Host: example.org\r\n"
#define SOCKET                                              \
    "GET /sotto HTTP/1.1\r\n" HOST "Upgrade: websocket\r\n" \
    "Connection: keep-alive, Upgrade\r\n"                   \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"       \
    "Sec-WebSocket-Version: 13\r\n"                         \
    "Sec-WebSocket-Protocol: other, sotto.1\r\n"
#define MASK "\0\0\0\0"

struct world {
    struct web *web;
    struct buf sent;
    struct buf frames;
    struct buf origin;
    unsigned opened;
    bool healthy;
    bool refuse_frames;
};

static enum err on_send(void *ctx, struct bytes bytes)
{
    struct world *w = ctx;
    return buf_append(&w->sent, bytes);
}

static enum err on_open(void *ctx, struct bytes origin)
{
    struct world *w = ctx;
    w->opened++;
    return buf_copy(&w->origin, origin);
}

static enum err on_frames(void *ctx, struct bytes bytes)
{
    struct world *w = ctx;
    if (w->refuse_frames)
        return ERR_MALFORMED;
    return buf_append(&w->frames, bytes);
}

static bool is_healthy(void *ctx)
{
    const struct world *w = ctx;
    return w->healthy;
}

static enum err on_metrics(void *ctx, struct buf *out)
{
    (void)ctx;
    return buf_append(out, LIT("sotto_x 1\n"));
}

static const struct web_user user = {on_send, on_open, on_frames, is_healthy,
                                     on_metrics};

static void world_clear(struct world *w)
{
    web_free(&w->web);
    buf_clear(&w->sent);
    buf_clear(&w->frames);
    buf_clear(&w->origin);
}

static enum err world_start(struct world *w, enum web_door door)
{
    w->sent = buf_new(64U << 10);
    w->frames = buf_new(64U << 10);
    w->origin = buf_new(1024);
    return web_create(door, &user, w, &w->web);
}

static bool sent_begins(const struct world *w, const char *text)
{
    size_t len = strlen(text);
    return w->sent.len >= len && memcmp(w->sent.data, text, len) == 0;
}

static bool sent_has(const struct world *w, const char *text)
{
    return memmem(w->sent.data, w->sent.len, text, strlen(text)) != NULL;
}

static void each_route_answers(void)
{
    const struct {
        enum web_door door;
        struct bytes in;
        const char *begins;
        const char *has;
    } cases[] = {
        {WEB_PUBLIC, LIT("GET /health HTTP/1.1\r\n" HOST "\r\n"),
         "HTTP/1.1 200 OK\r\n", "\r\n\r\nok\n"},
        {WEB_PROXY, LIT("GET /health?a HTTP/1.0\r\n\r\n"), "HTTP/1.1 200 ",
         "Connection: close\r\n"},
        {WEB_ADMIN, LIT("GET /metrics HTTP/1.0\r\n\r\n"), "HTTP/1.1 200 ",
         "\r\n\r\nsotto_x 1\n"},
        {WEB_PUBLIC, LIT("GET /metrics HTTP/1.0\r\n\r\n"), "HTTP/1.1 404 ",
         "Content-Length: "},
        {WEB_PROXY, LIT("GET /metrics HTTP/1.0\r\n\r\n"), "HTTP/1.1 404 ", ""},
        {WEB_ADMIN, LIT(SOCKET "\r\n"), "HTTP/1.1 404 ", ""},
        {WEB_PUBLIC, LIT("GET / HTTP/1.0\r\n\r\n"), "HTTP/1.1 404 ", ""},
        {WEB_PUBLIC, LIT("GET /healthy HTTP/1.0\r\n\r\n"), "HTTP/1.1 404 ", ""},
        {WEB_PUBLIC, LIT("PUT /health HTTP/1.0\r\n\r\n"), "HTTP/1.1 405 ",
         "\r\nAllow: GET, HEAD\r\n"},
        {WEB_PUBLIC, LIT("POST /sotto HTTP/1.0\r\n\r\n"), "HTTP/1.1 405 ",
         "\r\nAllow: GET\r\n"},
        {WEB_PUBLIC, LIT("GET /health HTTP/1.1\r\n\r\n"), "HTTP/1.1 400 ", ""},
        {WEB_PUBLIC, LIT("\x16\x03\x01\r\n\r\n"), "HTTP/1.1 400 ", ""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(world_clear) struct world w = {.healthy = true};
        CHECK_UINT(world_start(&w, cases[i].door), OK);
        CHECK_UINT(web_data(w.web, cases[i].in), OK);
        CHECK(sent_begins(&w, cases[i].begins));
        CHECK(sent_has(&w, cases[i].has));
        CHECK(web_done(w.web));
        CHECK_UINT(w.opened, 0);
        size_t len = w.sent.len; /* one request, one answer */
        CHECK_UINT(web_data(w.web, cases[i].in), OK);
        CHECK_UINT(w.sent.len, len);
    }
}

static void a_sick_server_says_so(void)
{
    CLEANUP(world_clear) struct world w = {0};
    CHECK_UINT(world_start(&w, WEB_PUBLIC), OK);
    CHECK_UINT(web_data(w.web, LIT("GET /health HTTP/1.0\r\n\r\n")), OK);
    CHECK(sent_begins(&w, "HTTP/1.1 503 "));
}

static void head_is_answered_without_a_body(void)
{
    CLEANUP(world_clear) struct world w = {.healthy = true};
    CHECK_UINT(world_start(&w, WEB_PUBLIC), OK);
    CHECK_UINT(web_data(w.web, LIT("HEAD /health HTTP/1.0\r\n\r\n")), OK);
    CHECK(sent_has(&w, "Content-Length: 3\r\n"));
    CHECK_BYTES(((struct bytes){w.sent.data + w.sent.len - 4, 4}),
                LIT("\r\n\r\n"));
}

static void a_head_comes_byte_by_byte_up_to_its_limit(void)
{
    CLEANUP(world_clear) struct world w = {0};
    CLEANUP(world_clear) struct world long_one = {0};
    const struct bytes request = LIT(SOCKET "\r\n");
    CHECK_UINT(world_start(&w, WEB_PUBLIC), OK);
    for (size_t i = 0; i < request.len; i++) {
        CHECK_UINT(w.opened, 0);
        CHECK(i == 0 || web_held(w.web) > 0);
        CHECK_UINT(web_data(w.web, (struct bytes){request.data + i, 1}), OK);
    }
    CHECK_UINT(w.opened, 1);
    CHECK_UINT(web_held(w.web), 0);

    uint8_t letters[1000];
    memset(letters, 'a', sizeof letters);
    CHECK_UINT(world_start(&long_one, WEB_PUBLIC), OK);
    CHECK_UINT(web_data(long_one.web, LIT("GET /")), OK);
    while (!web_done(long_one.web)) {
        CHECK(web_held(long_one.web) <= HTTP_HEAD_MAX);
        CHECK_UINT(web_data(long_one.web, BYTES_ARRAY(letters)), OK);
    }
    CHECK(sent_begins(&long_one, "HTTP/1.1 431 "));
}

static void an_upgrade_makes_a_websocket(void)
{
    CLEANUP(world_clear) struct world w = {0};
    CHECK_UINT(world_start(&w, WEB_PUBLIC), OK);
    CHECK_UINT(web_data(w.web, LIT(SOCKET "X-Forwarded-For: 1.2.3.4\r\n\r\n"
                                          "\x82\x82" MASK "ab")),
               OK);
    CHECK(sent_begins(&w, "HTTP/1.1 101 "));
    CHECK(sent_has(&w, "\r\nSec-WebSocket-Accept: "
                       "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"));
    CHECK(sent_has(&w, "\r\nSec-WebSocket-Protocol: sotto.1\r\n"));
    CHECK_UINT(w.opened, 1);
    CHECK_UINT(w.origin.len, 0); /* anybody can write such a field */
    CHECK_BYTES(buf_bytes(&w.frames), LIT("ab"));
    CHECK_UINT(web_data(w.web, LIT("\x02\x81" MASK "c\x89\x81" MASK
                                   "p\x80\x81" MASK "d")),
               OK);
    CHECK_BYTES(buf_bytes(&w.frames), LIT("abcd"));
    CHECK_BYTES(((struct bytes){w.sent.data + w.sent.len - 3, 3}),
                LIT("\x8a\x01p"));
    buf_truncate(&w.sent, 0);
    CHECK_UINT(web_announce(w.web, 300), OK);
    CHECK_BYTES(buf_bytes(&w.sent), LIT("\x82\x7e\x01\x2c"));
    CHECK(!web_done(w.web));
}

static void only_a_proxy_is_believed_whom_it_speaks_for(void)
{
    CLEANUP(world_clear) struct world w = {0};
    CHECK_UINT(world_start(&w, WEB_PROXY), OK);
    CHECK_UINT(
        web_data(w.web,
                 LIT(SOCKET "X-Forwarded-For: 9.9.9.9, 1.2.3.4\r\n\r\n")),
        OK);
    CHECK_UINT(w.opened, 1);
    CHECK_BYTES(buf_bytes(&w.origin), LIT("1.2.3.4"));
}

static void what_is_no_upgrade_is_told_why(void)
{
    static const char lines[][64] = {
        "GET /sotto HTTP/1.1\r\nHost: example.org\r\n",
        "Upgrade: websocket\r\n",
        "Connection: Upgrade\r\n",
        "Sec-WebSocket-Version: 13\r\n",
        "Sec-WebSocket-Protocol: sotto.1\r\n",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
    };
    static const char *const want[] = {NULL,   "426 ", "426 ",
                                       "426 ", "400 ", "400 "};
    for (size_t without = 1; without < COUNT(lines); without++) {
        CLEANUP(world_clear) struct world w = {0};
        CHECK_UINT(world_start(&w, WEB_PUBLIC), OK);
        for (size_t i = 0; i < COUNT(lines); i++)
            if (i != without)
                CHECK_UINT(web_data(w.web, bytes_str(lines[i])), OK);
        CHECK_UINT(web_data(w.web, LIT("\r\n")), OK);
        CHECK(sent_has(&w, want[without]));
        CHECK(web_done(w.web));
        CHECK_UINT(w.opened, 0);
    }
}

static void a_websocket_closes_from_either_side(void)
{
    const struct {
        struct bytes in; /* empty: the server's own wish */
        struct bytes want;
    } cases[] = {
        {LIT("\x88\x80" MASK), LIT("\x88\x00")},
        {LIT("\x88\x82" MASK "\x03\xe8"), LIT("\x88\x02\x03\xe8")},
        {LIT("\x82\x00"), LIT("\x88\x02\x03\xea")},      /* no mask */
        {LIT("\x81\x80" MASK), LIT("\x88\x02\x03\xeb")}, /* text */
        {LIT(""), LIT("\x88\x02\x03\xe9")},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(world_clear) struct world w = {0};
        CHECK_UINT(world_start(&w, WEB_PUBLIC), OK);
        CHECK_UINT(web_data(w.web, LIT(SOCKET "\r\n")), OK);
        buf_truncate(&w.sent, 0);
        CHECK_UINT(web_data(w.web, cases[i].in), OK);
        if (cases[i].in.len == 0)
            web_end(w.web);
        CHECK_BYTES(buf_bytes(&w.sent), cases[i].want);
        CHECK(web_done(w.web));
        web_end(w.web); /* once is enough */
        CHECK_UINT(web_announce(w.web, 1), ERR_STATE);
        CHECK_BYTES(buf_bytes(&w.sent), cases[i].want);
    }
}

static void frames_that_are_refused_end_it(void)
{
    CLEANUP(world_clear) struct world w = {.refuse_frames = true};
    CHECK_UINT(world_start(&w, WEB_PUBLIC), OK);
    CHECK_UINT(web_data(w.web, LIT(SOCKET "\r\n")), OK);
    CHECK_UINT(web_data(w.web, LIT("\x82\x81" MASK "x")), ERR_MALFORMED);
}

static void survives_each_allocation_failure(void)
{
    for (unsigned n = 0;; n++) {
        CLEANUP(world_clear) struct world w = {0};
        mem_fail_after(n);
        enum err err = world_start(&w, WEB_PUBLIC);
        if (err == OK)
            err = web_data(w.web, LIT(SOCKET "\r\n\x82\x81" MASK "x"));
        mem_fail_after(UINT32_MAX);
        if (err == OK) {
            CHECK(n > 2);
            break;
        }
        CHECK_UINT(err, ERR_NOMEM);
    }
}

static const struct test tests[] = {
    TEST(each_route_answers),
    TEST(a_sick_server_says_so),
    TEST(head_is_answered_without_a_body),
    TEST(a_head_comes_byte_by_byte_up_to_its_limit),
    TEST(an_upgrade_makes_a_websocket),
    TEST(only_a_proxy_is_believed_whom_it_speaks_for),
    TEST(what_is_no_upgrade_is_told_why),
    TEST(a_websocket_closes_from_either_side),
    TEST(frames_that_are_refused_end_it),
    TEST(survives_each_allocation_failure),
};
TEST_MAIN(tests)
