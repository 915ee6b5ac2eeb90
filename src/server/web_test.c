/* SPDX-License-Identifier: Apache-2.0 */
#include "server/web.h"

#include "base/mem.h"
#include "proto/message.h"
#include "sys/http.h"
#include "test.h"

#include <stdio.h>
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
    struct buf request; /* the last that the core was asked */
    unsigned asked;
    unsigned opened;
    bool full; /* the server, for whoever it is */
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
    if (w->full)
        return ERR_STATE;
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

static enum err on_ask(void *ctx, uint32_t id, struct bytes message)
{
    struct world *w = ctx;
    (void)id;
    w->asked++;
    return buf_copy(&w->request, message);
}

static const struct web_user user = {on_send,   on_open,    on_ask,
                                     on_frames, is_healthy, on_metrics};

static void world_clear(struct world *w)
{
    web_free(&w->web);
    buf_clear(&w->sent);
    buf_clear(&w->frames);
    buf_clear(&w->origin);
    buf_clear(&w->request);
}

static enum err world_start(struct world *w, enum web_door door)
{
    w->sent = buf_new(64U << 10);
    w->frames = buf_new(64U << 10);
    w->origin = buf_new(1024);
    w->request = buf_new(1U << 20);
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

static void who_finds_no_room_is_told_so(void)
{
    const struct bytes cases[] = {
        LIT(SOCKET "\r\n"),
        LIT("GET /blob/00112233445566778899aabbccddeeff"
            "00112233445566778899aabbccddeeff HTTP/1.0\r\n\r\n"),
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(world_clear) struct world w = {.full = true};
        CHECK_UINT(world_start(&w, WEB_PUBLIC), OK);
        CHECK_UINT(web_data(w.web, cases[i]), OK);
        CHECK(sent_begins(&w, "HTTP/1.1 503 "));
        CHECK(sent_has(&w, "\r\nRetry-After: 60\r\n"));
        CHECK(web_done(w.web));
    }
}

/* ---- Blobs ---- */

#define ID    "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define CAP   "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100"
#define BLOB  " /blob/" ID " HTTP/1.1\r\n" HOST
#define RIGHT "Authorization: Sotto " ID "." ID "." CAP "\r\n"

/* The core answers the request that it has. */
static enum err core_says(struct world *w, const struct answer *a)
{
    CLEANUP(buf_clear) struct buf bytes = buf_new(1U << 20);
    struct request q;
    struct answer whole = *a;
    TRY(request_read(buf_bytes(&w->request), &q));
    whole.method = q.method;
    TRY(answer_write(&bytes, &whole));
    return web_answer(w->web, buf_bytes(&bytes));
}

static enum err core_refuses(struct world *w, enum status status,
                             uint64_t detail)
{
    return core_says(
        w, &(struct answer){.status = (uint8_t)status, .detail = detail});
}

static enum err core_greets(struct world *w)
{
    static const uint8_t zeros[64];
    return core_says(w, &(struct answer){.hello = {.version = PROTOCOL_VERSION,
                                                   .server_key = {zeros, 32},
                                                   .server_nonce = {zeros, 32},
                                                   .signature = {zeros, 64}}});
}

static enum err core_gives(struct world *w, uint64_t total, struct bytes data)
{
    return core_says(w, &(struct answer){.blob_get = {total, data}});
}

static enum err core_stored(struct world *w, uint64_t stored)
{
    return core_says(w, &(struct answer){.blob_put = {stored}});
}

/* Begins a request, up to the core's greeting. */
static enum err blob_start(struct world *w, struct bytes head)
{
    TRY(world_start(w, WEB_PUBLIC));
    TRY(web_data(w->web, head));
    if (w->opened != 1 || w->asked != 1 || !web_waits(w->web))
        return ERR_STATE;
    return core_greets(w);
}

static void a_blob_is_given_by_ranges(void)
{
    const struct {
        struct bytes head;
        const char *begins;
        const char *has;
        const char *body; /* of a blob of "0123456789" */
    } cases[] = {
        {LIT("GET" BLOB "\r\n"), "HTTP/1.1 200 ", "\r\nContent-Length: 10\r\n",
         "0123456789"},
        {LIT("GET" BLOB "Range: bytes=2-4\r\n\r\n"), "HTTP/1.1 206 ",
         "\r\nContent-Range: bytes 2-4/10\r\n", "234"},
        {LIT("GET" BLOB "Range: bytes=-3\r\n\r\n"), "HTTP/1.1 206 ",
         "\r\nContent-Length: 3\r\n", "789"},
        {LIT("GET" BLOB "Range: bytes=8-\r\n\r\n"), "HTTP/1.1 206 ",
         "\r\nETag: \"" ID "\"\r\n", "89"},
        {LIT("GET" BLOB "Range: bytes=0-1,4-5\r\n\r\n"), "HTTP/1.1 200 ",
         "\r\nContent-Length: 10\r\n", "0123456789"},
        {LIT("GET" BLOB "Range: bytes=1-2\r\nIf-Range: \"" ID "\"\r\n\r\n"),
         "HTTP/1.1 206 ", "", "12"},
        {LIT("GET" BLOB "Range: bytes=1-2\r\nIf-Range: \"other\"\r\n\r\n"),
         "HTTP/1.1 200 ", "", "0123456789"},
        {LIT("GET" BLOB "Range: bytes=10-\r\n\r\n"), "HTTP/1.1 416 ",
         "\r\nContent-Range: bytes */10\r\n", NULL},
        {LIT("GET" BLOB "If-None-Match: \"a\", \"" ID "\"\r\n\r\n"),
         "HTTP/1.1 304 ", "\r\nETag: ", NULL},
        {LIT("HEAD" BLOB "Range: bytes=1-2\r\n\r\n"), "HTTP/1.1 200 ",
         "\r\nContent-Length: 10\r\n", NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(world_clear) struct world w = {0};
        struct request q;
        CHECK_UINT(blob_start(&w, cases[i].head), OK);
        CHECK_UINT(core_gives(&w, 10, (struct bytes){0}), OK);
        CHECK(sent_begins(&w, cases[i].begins));
        CHECK(sent_has(&w, cases[i].has));
        size_t head = w.sent.len;
        CHECK(web_done(w.web) == (cases[i].body == NULL));
        if (cases[i].body == NULL)
            continue;
        CHECK(!web_done(w.web) && web_waits(w.web));
        CHECK_UINT(web_drained(w.web), OK);
        CHECK_UINT(request_read(buf_bytes(&w.request), &q), OK);
        CHECK_UINT(q.blob_get.offset, (uint64_t)(cases[i].body[0] - '0'));
        CHECK_UINT(q.blob_get.max, strlen(cases[i].body));
        CHECK_UINT(core_gives(&w, 10, bytes_str(cases[i].body)), OK);
        CHECK(!web_done(w.web));
        CHECK_UINT(web_drained(w.web), OK);
        CHECK(web_done(w.web));
        CHECK_BYTES(((struct bytes){w.sent.data + head, w.sent.len - head}),
                    bytes_str(cases[i].body));
    }
}

static void a_piece_is_asked_for_when_the_last_has_left(void)
{
    enum {
        TOTAL = 200000
    };
    static const uint8_t blob[TOTAL];
    CLEANUP(world_clear) struct world w = {0};
    size_t got = 0;
    unsigned asked = 3; /* hello, size, first piece */
    CHECK_UINT(blob_start(&w, LIT("GET" BLOB "\r\n")), OK);
    CHECK_UINT(core_gives(&w, TOTAL, (struct bytes){0}), OK);
    for (; got < TOTAL; asked++) {
        struct request q;
        CHECK_UINT(web_drained(w.web), OK);
        CHECK_UINT(w.asked, asked);
        CHECK_UINT(web_drained(w.web), OK); /* once is enough */
        CHECK_UINT(w.asked, asked);
        CHECK_UINT(request_read(buf_bytes(&w.request), &q), OK);
        CHECK_UINT(q.blob_get.offset, got);
        CHECK(q.blob_get.max <= 64U << 10);
        buf_truncate(&w.sent, 0);
        CHECK_UINT(core_gives(&w, TOTAL, (struct bytes){blob, q.blob_get.max}),
                   OK);
        CHECK_UINT(w.sent.len, q.blob_get.max);
        CHECK_UINT(w.asked, asked); /* not before it has left */
        got += q.blob_get.max;
    }
    CHECK_UINT(got, TOTAL);
    CHECK_UINT(web_drained(w.web), OK);
    CHECK(web_done(w.web));
}

/* Its head has gone out with a length, so it must not look whole. */
static void a_blob_that_goes_meanwhile_is_cut_off(void)
{
    CLEANUP(world_clear) struct world w = {0};
    CHECK_UINT(blob_start(&w, LIT("GET" BLOB "\r\n")), OK);
    CHECK_UINT(core_gives(&w, 10, (struct bytes){0}), OK);
    CHECK_UINT(web_drained(w.web), OK);
    CHECK_UINT(core_refuses(&w, STATUS_NOTFOUND, 0), ERR_STATE);
}

static void a_blob_comes_in_pieces(void)
{
    enum {
        TOTAL = 150000,
        CHUNK = 10000
    };
    static const uint8_t blob[CHUNK];
    CLEANUP(world_clear) struct world w = {0};
    struct request q;
    uint64_t stored = 50000;
    CHECK_UINT(blob_start(&w, LIT("PUT" BLOB RIGHT "Content-Length: 100000\r\n"
                                  "Content-Range: bytes 50000-149999/150000\r\n"
                                  "Blob-Days: 5\r\n\r\n")),
               OK);
    CHECK_UINT(request_read(buf_bytes(&w.request), &q), OK);
    CHECK_UINT(q.method, METHOD_BLOB_PUT);
    CHECK_UINT(q.blob_put.data.len, 0);
    CHECK_UINT(q.blob_put.access.cap.data[0], 0xff);
    CHECK_UINT(core_stored(&w, stored), OK);
    CHECK(!web_waits(w.web));
    while (!web_done(w.web)) {
        while (!web_waits(w.web))
            CHECK_UINT(web_data(w.web, BYTES_ARRAY(blob)), OK);
        CHECK(web_held(w.web) <= 128U << 10);
        CHECK_UINT(request_read(buf_bytes(&w.request), &q), OK);
        CHECK_UINT(q.blob_put.offset, stored);
        CHECK_UINT(q.blob_put.total, TOTAL);
        CHECK_UINT(q.blob_put.days, 5);
        CHECK(q.blob_put.data.len > 0);
        stored += q.blob_put.data.len;
        CHECK_UINT(core_stored(&w, stored), OK);
    }
    CHECK_UINT(stored, TOTAL);
    CHECK(sent_begins(&w, "HTTP/1.1 201 "));
    CHECK(sent_has(&w, "\r\nUpload-Offset: 150000\r\n"));
}

static void an_upload_goes_on_where_it_ended(void)
{
    const struct bytes head =
        LIT("PUT" BLOB RIGHT "Content-Length: 4\r\nExpect: 100-continue\r\n"
            "Content-Range: bytes 6-9/20\r\n\r\n");
    CLEANUP(world_clear) struct world ask = {0};
    CLEANUP(world_clear) struct world wrong = {0};
    CLEANUP(world_clear) struct world right = {0};
    CHECK_UINT(blob_start(&ask, LIT("HEAD" BLOB RIGHT "\r\n")), OK);
    CHECK_UINT(core_stored(&ask, 6), OK);
    CHECK(sent_has(&ask, "\r\nUpload-Offset: 6\r\n"));
    CHECK(web_done(ask.web));

    CHECK_UINT(blob_start(&wrong, head), OK);
    CHECK_UINT(core_stored(&wrong, 5), OK);
    CHECK(sent_begins(&wrong, "HTTP/1.1 409 "));
    CHECK(sent_has(&wrong, "\r\nUpload-Offset: 5\r\n"));
    CHECK(web_done(wrong.web));

    CHECK_UINT(blob_start(&right, head), OK);
    CHECK_UINT(right.sent.len, 0);
    CHECK_UINT(core_stored(&right, 6), OK);
    CHECK_BYTES(buf_bytes(&right.sent), LIT("HTTP/1.1 100 Continue\r\n\r\n"));
    buf_truncate(&right.sent, 0);
    CHECK_UINT(web_data(right.web, LIT("abcdXXX")), OK); /* more than it said */
    struct request q;
    CHECK_UINT(request_read(buf_bytes(&right.request), &q), OK);
    CHECK_BYTES(q.blob_put.data, LIT("abcd"));
    CHECK_UINT(core_stored(&right, 10), OK);
    CHECK(sent_begins(&right, "HTTP/1.1 200 ")); /* not whole yet */
    CHECK(sent_has(&right, "\r\nUpload-Offset: 10\r\n"));
    CHECK(web_done(right.web));
}

static void a_blob_that_is_asked_for_wrongly_is_refused(void)
{
    const struct {
        struct bytes head;
        const char *begins;
    } cases[] = {
        {LIT("GET /blob/ HTTP/1.0\r\n\r\n"), "HTTP/1.1 404 "},
        {LIT("GET /blob/" ID "0 HTTP/1.0\r\n\r\n"), "HTTP/1.1 404 "},
        {LIT("GET /blob/A0112233445566778899aabbccddeeff001122334455667788"
             "99aabbccddeeff HTTP/1.0\r\n\r\n"),
         "HTTP/1.1 404 "}, /* one name only */
        {LIT("DELETE" BLOB "\r\n"), "HTTP/1.1 405 "},
        {LIT("PUT" BLOB "Content-Length: 1\r\n\r\n"), "HTTP/1.1 401 "},
        {LIT("PUT" BLOB "Authorization: Sotto " ID "." ID
             "\r\nContent-Length: 1\r\n\r\n"),
         "HTTP/1.1 401 "},
        {LIT("HEAD" BLOB "Authorization: Bearer x\r\n\r\n"), "HTTP/1.1 401 "},
        {LIT("PUT" BLOB RIGHT "Transfer-Encoding: chunked\r\n\r\n"),
         "HTTP/1.1 411 "},
        {LIT("PUT" BLOB RIGHT "\r\n"), "HTTP/1.1 400 "},
        {LIT("PUT" BLOB RIGHT "Content-Length: 0\r\n\r\n"), "HTTP/1.1 400 "},
        {LIT("PUT" BLOB RIGHT "Content-Length: 5\r\n"
             "Content-Range: bytes 0-5/9\r\n\r\n"),
         "HTTP/1.1 400 "},
        {LIT("PUT" BLOB RIGHT "Content-Length: 5\r\nBlob-Days: 38\r\n\r\n"),
         "HTTP/1.1 400 "},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(world_clear) struct world w = {0};
        CHECK_UINT(world_start(&w, WEB_PUBLIC), OK);
        CHECK_UINT(web_data(w.web, cases[i].head), OK);
        CHECK_UINT(w.opened, 0);
        if (!sent_begins(&w, cases[i].begins) && w.sent.len > 0)
            printf("# %zu: %.30s\n", i, (const char *)w.sent.data);
        CHECK(sent_begins(&w, cases[i].begins));
        CHECK(web_done(w.web));
    }
}

static void what_the_core_refuses_has_a_status(void)
{
    const struct {
        enum status status;
        const char *begins;
        const char *has;
    } cases[] = {
        {STATUS_BUSY, "HTTP/1.1 503 ", "\r\nRetry-After: 3\r\n"},
        {STATUS_AUTH, "HTTP/1.1 403 ", ""},
        {STATUS_NOTFOUND, "HTTP/1.1 404 ", ""},
        {STATUS_EXISTS, "HTTP/1.1 409 ", ""},
        {STATUS_STATE, "HTTP/1.1 403 ", "has ended"},
        {STATUS_LIMIT, "HTTP/1.1 413 ", ""},
        {STATUS_INVALID, "HTTP/1.1 400 ", ""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(world_clear) struct world w = {0};
        CHECK_UINT(
            blob_start(&w, LIT("PUT" BLOB RIGHT "Content-Length: 5\r\n\r\n")),
            OK);
        CHECK_UINT(core_refuses(&w, cases[i].status, 2500), OK);
        CHECK(sent_begins(&w, cases[i].begins));
        CHECK(sent_has(&w, cases[i].has));
        CHECK(web_done(w.web));
    }
}

static void who_puts_a_blob_beside_another_is_told_where_to_go_on(void)
{
    CLEANUP(world_clear) struct world w = {0};
    CHECK_UINT(
        blob_start(&w, LIT("PUT" BLOB RIGHT "Content-Length: 5\r\n\r\n")), OK);
    CHECK_UINT(core_stored(&w, 0), OK);
    CHECK_UINT(web_data(w.web, LIT("hello")), OK);
    CHECK_UINT(core_refuses(&w, STATUS_STATE, 3), OK);
    CHECK(sent_begins(&w, "HTTP/1.1 409 "));
    CHECK(sent_has(&w, "\r\nUpload-Offset: 3\r\n"));
    CHECK(web_done(w.web));
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
    TEST(who_finds_no_room_is_told_so),
    TEST(a_blob_is_given_by_ranges),
    TEST(a_piece_is_asked_for_when_the_last_has_left),
    TEST(a_blob_that_goes_meanwhile_is_cut_off),
    TEST(a_blob_comes_in_pieces),
    TEST(an_upload_goes_on_where_it_ended),
    TEST(a_blob_that_is_asked_for_wrongly_is_refused),
    TEST(what_the_core_refuses_has_a_status),
    TEST(who_puts_a_blob_beside_another_is_told_where_to_go_on),
    TEST(survives_each_allocation_failure),
};
TEST_MAIN(tests)
