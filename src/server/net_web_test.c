/* SPDX-License-Identifier: Apache-2.0 */
/* Clients that speak HTTP. */
#include "support/network.h"

#include "proto/message.h"
#include "server/metrics.h"
#include "sys/clock.h"
#include "test.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BLOB_ID \
    "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
#define BLOB_REQUEST "GET /blob/" BLOB_ID " HTTP/1.0\r\n\r\n"
#define BLOB_UPLOAD                                              \
    "PUT /blob/" BLOB_ID " HTTP/1.0\r\nContent-Length: 1000\r\n" \
    "Authorization: Sotto " BLOB_ID "." BLOB_ID "." BLOB_ID "\r\n\r\n"

struct plain {
    int fd;
    size_t len;
    char text[16384]; /* what came */
};

static void plain_close(struct plain *p)
{
    if (p->fd > 0)
        (void)close(p->fd);
    p->fd = 0;
}

static enum err plain_say(struct plain *p, struct bytes bytes)
{
    return send(p->fd, bytes.data, bytes.len, MSG_NOSIGNAL) ==
                   (ssize_t)bytes.len
               ? OK
               : ERR_IO;
}

static enum err plain_open(struct plain *p, const struct net_name *to,
                           struct bytes request)
{
    struct net_addresses found = {0};
    TRY(net_resolve(to, &found, NULL));
    TRY(net_connect(&found.at[0], &p->fd, NULL));
    struct pollfd wait = {.fd = p->fd, .events = POLLOUT};
    return poll(&wait, 1, PATIENCE_MS) == 1 ? plain_say(p, request) : ERR_IO;
}

/* Waits for `want` bytes in all, or the end (SIZE_MAX). */
static enum err plain_hear(struct world *w, struct plain *p, size_t want)
{
    uint64_t end = clock_mono_ms() + PATIENCE_MS;
    while (p->len < want && clock_mono_ms() < end) {
        ssize_t n = recv(p->fd, p->text + p->len, sizeof p->text - 1 - p->len,
                         MSG_DONTWAIT);
        if (n == 0)
            return want == SIZE_MAX ? OK : ERR_IO;
        if (n > 0)
            p->len += (size_t)n;
        else
            world_pump(w, 5);
    }
    return p->len >= want ? OK : ERR_NOTFOUND;
}

#define UPGRADE                                       \
    "GET /sotto HTTP/1.1\r\nHost: a\r\n"              \
    "Upgrade: websocket\r\nConnection: Upgrade\r\n"   \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" \
    "Sec-WebSocket-Version: 13\r\n"                   \
    "Sec-WebSocket-Protocol: sotto.1\r\n"             \
    "X-Forwarded-For: 9.9.9.9, 1.2.3.4\r\n\r\n"
#define UPGRADED                                             \
    "HTTP/1.1 101 Switching Protocols\r\n"                   \
    "Upgrade: websocket\r\nConnection: Upgrade\r\n"          \
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" \
    "Sec-WebSocket-Protocol: sotto.1\r\n\r\n"
#define NO_MASK "\0\0\0\0"

static void a_websocket_is_a_client_like_any_other(void)
{
    CLEANUP(world_clear) struct world w = {0};
    CLEANUP(plain_close) struct plain c = {0};
    CHECK_UINT(world_start(&w), OK);
    CHECK_UINT(plain_open(&c, &w.proxy, LIT(UPGRADE)), OK);
    const struct seen *open = world_next_op(&w, PIPE_OPEN);
    CHECK(open != NULL);
    CHECK_UINT(open->len, 8); /* no exporter */
    uint64_t remote = 0;
    CHECK_UINT(net_remote_parse(LIT("1.2.3.4"), &remote), OK);
    struct reader r = reader_of((struct bytes){open->start, 8});
    CHECK(reader_u64(&r) == remote);
    CHECK_UINT(plain_hear(&w, &c, sizeof UPGRADED - 1), OK);
    CHECK_BYTES(((struct bytes){(uint8_t *)c.text, c.len}), LIT(UPGRADED));
    c.len = 0;
    /* A hello, in two fragments that cut the frame. */
    CHECK_UINT(plain_say(&c, LIT("\x02\x84" NO_MASK "\0\0\0\7"
                                 "\x80\x87" NO_MASK "\1\0\0\0\5\0\1")),
               OK);
    const struct seen *s = world_next_op(&w, PIPE_MESSAGE);
    CHECK(s != NULL);
    CHECK_UINT(s->record.id, 5);
    world_answer(&w, s, hello_ok);
    CHECK_UINT(plain_hear(&w, &c, 14), OK);
    CHECK_BYTES(((struct bytes){(uint8_t *)c.text, c.len}),
                LIT("\x82\x0c\0\0\0\x08\2\0\0\0\5\0\1\0"));
    c.len = 0;
    world_put(&w,
              &(struct pipe_record){.op = PIPE_END, .conn = s->record.conn});
    CHECK_UINT(plain_hear(&w, &c, SIZE_MAX), OK);
    CHECK_BYTES(((struct bytes){(uint8_t *)c.text, c.len}),
                LIT("\x88\2\x03\xe9"));
    plain_close(&c);
    CHECK(world_next_op(&w, PIPE_CLOSE) != NULL);
}

static void a_websocket_keeps_the_rules_of_frames(void)
{
    CLEANUP(world_clear) struct world w = {.config = {.hello_ms = 300}};
    CLEANUP(plain_close) struct plain silent = {0};
    CLEANUP(plain_close) struct plain wrong = {0};
    CHECK_UINT(world_start(&w), OK);
    CHECK_UINT(plain_open(&silent, &w.proxy, LIT(UPGRADE)), OK);
    CHECK_UINT(plain_hear(&w, &silent, SIZE_MAX), OK); /* no hello */
    CHECK(world_next_op(&w, PIPE_CLOSE) != NULL);
    CHECK_UINT(plain_open(&wrong, &w.proxy, LIT(UPGRADE)), OK);
    CHECK_UINT(plain_say(&wrong, LIT("\x82\x89" NO_MASK
                                     "\0\0\0\7\2\0\0\0\5")), /* an answer */
               OK);
    CHECK(world_next_op(&w, PIPE_CLOSE) != NULL);
}

static void an_unfinished_request_is_closed_in_time(void)
{
    CLEANUP(world_clear) struct world w = {.config = {.hello_ms = 200}};
    CLEANUP(plain_close) struct plain c = {0};
    CHECK_UINT(world_start(&w), OK);
    CHECK_UINT(plain_open(&c, &w.proxy, LIT("GET / HTTP/1.1\r\n")), OK);
    CHECK_UINT(plain_hear(&w, &c, SIZE_MAX), OK);
    CHECK_UINT(c.len, 0);
    CHECK_UINT(w.seen_count, 0); /* the store heard nothing of it */
}

static enum err fetch(struct world *w, struct plain *c,
                      const struct net_name *from, struct bytes request)
{
    *c = (struct plain){0};
    enum err err = plain_open(c, from, request);
    if (err == OK)
        err = plain_hear(w, c, SIZE_MAX);
    plain_close(c);
    return err;
}

static enum err answer_whole(struct world *w, const struct seen *request,
                             const struct answer *a)
{
    CLEANUP(buf_clear) struct buf bytes = buf_new(1U << 20);
    if (request == NULL)
        return ERR_STATE;
    TRY(answer_write(&bytes, a));
    world_put(w, &(struct pipe_record){.op = PIPE_MESSAGE,
                                       .conn = request->record.conn,
                                       .kind = FRAME_ANSWER,
                                       .id = request->record.id,
                                       .bytes = buf_bytes(&bytes)});
    return OK;
}

/* As whole as a transfer reads it. */
static enum err answer_hello(struct world *w, const struct seen *request)
{
    const struct answer hello = {.method = METHOD_HELLO,
                                 .hello = {.version = PROTOCOL_VERSION,
                                           .server_key = zeros(KEY_SIZE),
                                           .server_nonce = zeros(NONCE_SIZE),
                                           .signature = zeros(SIGNATURE_SIZE)}};
    return answer_whole(w, request, &hello);
}

static void a_blob_whose_request_has_no_answer_is_given_up(void)
{
    CLEANUP(world_clear) struct world w = {.config = {.piece_ms = 300}};
    CLEANUP(plain_close) struct plain c = {0};
    CHECK_UINT(world_start(&w), OK);
    CHECK_UINT(plain_open(&c, &w.proxy, LIT(BLOB_REQUEST)), OK);
    CHECK(world_next_op(&w, PIPE_OPEN) != NULL);
    const struct seen *s = world_next_op(&w, PIPE_MESSAGE);
    CHECK(s != NULL);
    CHECK_BYTES(((struct bytes){s->start, 2}), LIT("\0\1")); /* hello */
    CHECK(world_next_op(&w, PIPE_CLOSE) != NULL);
}

static void a_blob_that_nobody_reads_is_given_up(void)
{
    enum {
        PIECE = 64U << 10
    };
    const struct answer size = {.method = METHOD_BLOB_GET,
                                .blob_get = {.total = 1U << 30}};
    const struct answer piece = {
        .method = METHOD_BLOB_GET,
        .blob_get = {.total = 1U << 30, .data = zeros(PIECE)}};
    CLEANUP(world_clear) struct world w = {.config = {.piece_ms = 500}};
    CLEANUP(plain_close) struct plain c = {0};
    unsigned pieces = 0;
    CHECK_UINT(world_start(&w), OK);
    CHECK_UINT(plain_open(&c, &w.proxy, LIT(BLOB_REQUEST)), OK);
    CHECK_UINT(answer_hello(&w, world_next_op(&w, PIPE_MESSAGE)), OK);
    CHECK_UINT(answer_whole(&w, world_next_op(&w, PIPE_MESSAGE), &size), OK);
    const struct seen *s = world_next(&w);
    for (; s != NULL && s->record.op != PIPE_CLOSE; s = world_next(&w))
        if (s->record.op == PIPE_MESSAGE) {
            CHECK_UINT(answer_whole(&w, s, &piece), OK);
            pieces++;
        }
    CHECK(s != NULL && pieces > 0); /* as many as the system takes */
}

static void a_blob_that_does_not_come_is_given_up(void)
{
    const struct answer none = {.method = METHOD_BLOB_PUT};
    CLEANUP(world_clear) struct world w = {.config = {.piece_ms = 300}};
    CLEANUP(plain_close) struct plain c = {0};
    CHECK_UINT(world_start(&w), OK);
    CHECK_UINT(plain_open(&c, &w.proxy, LIT(BLOB_UPLOAD)), OK);
    CHECK_UINT(answer_hello(&w, world_next_op(&w, PIPE_MESSAGE)), OK);
    CHECK_UINT(answer_whole(&w, world_next_op(&w, PIPE_MESSAGE), &none), OK);
    CHECK(world_next_op(&w, PIPE_CLOSE) != NULL);
}

/* It is cut off, and the client goes on with it later. */
static void a_blob_does_not_keep_the_server_from_ending(void)
{
    enum {
        PIECE = 1000
    };
    const struct answer size = {.method = METHOD_BLOB_GET,
                                .blob_get = {.total = 1U << 20}};
    const struct answer piece = {
        .method = METHOD_BLOB_GET,
        .blob_get = {.total = 1U << 20, .data = zeros(PIECE)}};
    CLEANUP(world_clear) struct world w = {0};
    CLEANUP(plain_close) struct plain c = {0};
    CHECK_UINT(world_start(&w), OK);
    CHECK_UINT(plain_open(&c, &w.proxy, LIT(BLOB_REQUEST)), OK);
    CHECK_UINT(answer_hello(&w, world_next_op(&w, PIPE_MESSAGE)), OK);
    CHECK_UINT(answer_whole(&w, world_next_op(&w, PIPE_MESSAGE), &size), OK);
    const struct seen *s = world_next_op(&w, PIPE_MESSAGE);
    CHECK(s != NULL);
    world_put(&w, &(struct pipe_record){.op = PIPE_DRAIN});
    world_pump(&w, 50);
    uint64_t before = clock_mono_ms();
    CHECK_UINT(answer_whole(&w, s, &piece), OK);
    CHECK_UINT(plain_hear(&w, &c, SIZE_MAX), OK);
    CHECK(strstr(c.text, "HTTP/1.1 200 ") == c.text);
    CHECK(c.len > PIECE && c.len < 2 * (size_t)PIECE);
    plain_close(&c);
    CHECK(world_next_op(&w, PIPE_BYE) != NULL);
    CHECK(clock_mono_ms() - before < NET_DRAIN_MS / 2);
}

/* The numbers are what the store last sent, and net's own. */
static void the_operator_sees_health_and_numbers(void)
{
    CLEANUP(world_clear) struct world w = {0};
    const struct bytes ask_health = LIT("GET /health HTTP/1.0\r\n\r\n");
    const struct bytes ask_numbers = LIT("GET /metrics HTTP/1.0\r\n\r\n");
    uint8_t bytes[METRICS_SIZE] = {0};
    struct plain c;
    bytes[METRIC_APPENDS * sizeof(uint64_t) + 7] = 42;
    bytes[METRIC_ACCEPTED * sizeof(uint64_t) + 7] = 7;
    CHECK_UINT(world_start(&w), OK);
    CHECK_UINT(fetch(&w, &c, &w.proxy, ask_health), OK);
    CHECK(strstr(c.text, "HTTP/1.1 503 ") == c.text);
    world_put(&w, &(struct pipe_record){.op = PIPE_STATS,
                                        .bytes = BYTES_ARRAY(bytes)});
    const struct seen *own = world_next_op(&w, PIPE_STATS);
    CHECK(own != NULL);
    CHECK_UINT(own->len, METRICS_SIZE); /* how many it has accepted, in them */
    CHECK_UINT(fetch(&w, &c, &w.proxy, ask_health), OK);
    CHECK(strstr(c.text, "HTTP/1.1 200 ") == c.text);
    CHECK_UINT(fetch(&w, &c, &w.proxy, ask_numbers), OK);
    CHECK(strstr(c.text, "HTTP/1.1 404 ") == c.text);
    CHECK_UINT(fetch(&w, &c, &w.admin, ask_numbers), OK);
    CHECK(strstr(c.text, "HTTP/1.1 200 ") == c.text);
    CHECK(strstr(c.text, "\nsotto_appends_total 42\n") != NULL);
    CHECK(strstr(c.text, "\nsotto_net_accepted_total 7\n") != NULL);
    CHECK(strchr(c.text, '{') == NULL); /* no labels: nobody is told apart */
}

static const struct test tests[] = {
    TEST(a_websocket_is_a_client_like_any_other),
    TEST(a_websocket_keeps_the_rules_of_frames),
    TEST(an_unfinished_request_is_closed_in_time),
    TEST(a_blob_whose_request_has_no_answer_is_given_up),
    TEST(a_blob_that_nobody_reads_is_given_up),
    TEST(a_blob_that_does_not_come_is_given_up),
    TEST(a_blob_does_not_keep_the_server_from_ending),
    TEST(the_operator_sees_health_and_numbers),
};
TEST_MAIN(tests)
