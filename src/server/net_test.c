/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real network side runs in a child; the test plays the store at the other
 * end of the pipe, and the clients.
 */
#include "server/net.h"

#include "proto/message.h"
#include "server/metrics.h"
#include "server/pipe.h"
#include "support/netclient.h"
#include "sys/clock.h"
#include "sys/log.h"
#include "sys/process.h"
#include "test.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BLOB_REQUEST                                                    \
    "GET /blob/00112233445566778899aabbccddeeff00112233445566778899aab" \
    "bccddeeff HTTP/1.0\r\n\r\n"
#define PATIENCE_MS 30000 /* only a failure waits so long */
#define SEEN_MAX    1024

struct seen {
    struct pipe_record record; /* without its bytes */
    size_t len;
    uint8_t start[64];
};

struct world {
    struct net_config config; /* what a test wants to be different */
    struct child child;
    struct loop *loop;
    struct pipe *pipe;
    struct net_name address;
    struct net_name proxy, admin; /* without TLS */
    struct seen seen[SEEN_MAX];   /* a ring */
    size_t seen_count;
    size_t looked_at;
    unsigned ended;
    int listener;
};

/* ---- The child ---- */

static enum err serve(struct world *w, int pipe)
{
    CLEANUP(buf_clear) struct buf cert = buf_new(TLS_PEM_MAX);
    CLEANUP(buf_clear) struct buf key = buf_new(TLS_PEM_MAX);
    CLEANUP(tls_context_free) struct tls_context *tls = NULL;
    CLEANUP(loop_free) struct loop *loop = NULL;
    CLEANUP(net_free) struct net *net = NULL;
    TRY(process_harden(NULL));
    TRY(tls_certificate_create("localhost", &cert, &key));
    TRY(tls_server_create(buf_bytes(&cert), buf_bytes(&key), &tls, NULL));
    TRY(loop_create(&loop, NULL));
    w->config.tls = tls;
    w->config.listener = w->listener;
    w->config.pipe = pipe;
    TRY(net_create(loop, &w->config, &net, NULL));
    TRY(loop_run(loop));
    return net_result(net, NULL);
}

static int child_main(void *ctx, int socket)
{
    log_open(STDERR_FILENO, LOG_LEVEL_ERROR);
    return (int)serve(ctx, socket);
}

/* ---- The store's part ---- */

static void on_record(void *ctx, const struct pipe_record *r)
{
    struct world *w = ctx;
    struct seen *s = &w->seen[w->seen_count++ % SEEN_MAX];
    s->record = *r;
    s->len = r->bytes.len;
    size_t start = s->len < sizeof s->start ? s->len : sizeof s->start;
    if (start > 0)
        memcpy(s->start, r->bytes.data, start);
}

static void on_ended(void *ctx, enum err err)
{
    struct world *w = ctx;
    (void)err;
    w->ended++;
}

static const struct pipe_user user = {on_record, NULL, on_ended};

static void put(struct world *w, const struct pipe_record *r)
{
    if (pipe_put(w->pipe, r) != OK || loop_round(w->loop, 0) != OK)
        w->ended++;
}

/* Waits for the next record. */
static const struct seen *next_record(struct world *w)
{
    uint64_t end = clock_mono_ms() + PATIENCE_MS;
    while (w->looked_at == w->seen_count && !w->ended && clock_mono_ms() < end)
        if (loop_round(w->loop, 50) != OK)
            return NULL;
    if (w->looked_at == w->seen_count)
        return NULL;
    return &w->seen[w->looked_at++ % SEEN_MAX];
}

/* Waits for the next record with `op`, whatever else comes. */
static const struct seen *next_op(struct world *w, enum pipe_op op)
{
    for (;;) {
        const struct seen *s = next_record(w);
        if (s == NULL || s->record.op == op)
            return s;
    }
}

static void pump(struct world *w, unsigned ms)
{
    uint64_t end = clock_mono_ms() + ms;
    while (clock_mono_ms() < end)
        if (loop_round(w->loop, 5) != OK)
            return;
}

static enum err listen_at(int *out_fd, struct net_name *out_name)
{
    TRY(net_listen(&(struct net_name){.host = "127.0.0.1"}, 1, out_fd, NULL));
    return net_local(*out_fd, out_name);
}

static enum err world_start(struct world *w)
{
    TRY(loop_create(&w->loop, NULL));
    TRY(listen_at(&w->listener, &w->address));
    TRY(listen_at(&w->config.proxy, &w->proxy));
    TRY(listen_at(&w->config.admin, &w->admin));
    TRY(process_spawn(child_main, w, &w->child, NULL));
    (void)close(w->listener);
    (void)close(w->config.proxy);
    (void)close(w->config.admin);
    TRY(pipe_create(w->loop, w->child.socket, &user, w, &w->pipe));
    w->child.socket = -1; /* the pipe's */
    put(w, &(struct pipe_record){.op = PIPE_START});
    return OK;
}

static void world_clear(struct world *w)
{
    pipe_free(&w->pipe);
    loop_free(&w->loop);
    process_end(&w->child);
}

static int exit_status(struct world *w)
{
    int status = -1;
    uint64_t end = clock_mono_ms() + PATIENCE_MS;
    while (clock_mono_ms() < end && w->child.pid != 0)
        if (process_wait(&w->child, 10, &status) != OK && w->loop != NULL)
            pump(w, 5);
    return status;
}

/* What the core would answer to hello, as far as net looks at it. */
static const uint8_t hello_ok[] = {0, METHOD_HELLO, STATUS_OK};
static const uint8_t ping_ok[] = {0, METHOD_PING, STATUS_OK};

static void answer(struct world *w, const struct seen *request,
                   const uint8_t bytes[3])
{
    put(w, &(struct pipe_record){.op = PIPE_MESSAGE,
                                 .conn = request->record.conn,
                                 .kind = FRAME_ANSWER,
                                 .id = request->record.id,
                                 .bytes = {bytes, 3}});
}

/* Connects; tells the number that net gave. */
static enum err join(struct world *w, struct netclient *c, uint32_t *out_conn)
{
    TRY(netclient_connect(c, &w->address));
    const struct seen *open = next_op(w, PIPE_OPEN);
    if (open == NULL)
        return ERR_STATE;
    *out_conn = open->record.conn;
    return OK;
}

/* And says hello, which is answered. */
static enum err join_greeted(struct world *w, struct netclient *c,
                             uint32_t *out_conn)
{
    const struct message hello = {FRAME_REQUEST, 1, {hello_ok, 2}};
    struct message got;
    TRY(join(w, c, out_conn));
    TRY(netclient_send(c, &hello));
    const struct seen *s = next_op(w, PIPE_MESSAGE);
    if (s == NULL)
        return ERR_STATE;
    answer(w, s, hello_ok);
    return netclient_next(c, &got);
}

static struct bytes zeros(size_t len)
{
    static const uint8_t data[MESSAGE_MAX];
    return (struct bytes){data, len};
}

/* ---- A client that speaks HTTP ---- */

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
            pump(w, 5);
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

/* ---- Tests ---- */

static void the_store_hears_of_a_connection_and_its_exporter(void)
{
    CLEANUP(world_clear) struct world w = {0};
    CLEANUP(netclient_close) struct netclient c = {0};
    CHECK_UINT(world_start(&w), OK);
    CHECK_UINT(netclient_connect(&c, &w.address), OK);
    const struct seen *open = next_record(&w);
    CHECK(open != NULL);
    CHECK_UINT(open->record.op, PIPE_OPEN);
    CHECK_UINT(open->len, TLS_EXPORTER_SIZE + 8);
    CHECK(memcmp(open->start + 8, c.exporter, TLS_EXPORTER_SIZE) == 0);
    uint32_t conn = open->record.conn;
    netclient_close(&c);
    const struct seen *gone = next_record(&w);
    CHECK(gone != NULL);
    CHECK_UINT(gone->record.op, PIPE_CLOSE);
    CHECK_UINT(gone->record.conn, conn);
}

static void messages_pass_both_ways_whole(void)
{
    CLEANUP(world_clear) struct world w = {0};
    CLEANUP(netclient_close) struct netclient c = {0};
    uint32_t conn = 0;
    CHECK_UINT(world_start(&w), OK);
    CHECK_UINT(join_greeted(&w, &c, &conn), OK);
    const size_t sizes[] = {2, 1000, FRAGMENT_MAX + 1, 1U << 20, MESSAGE_MAX};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        const struct message m = {FRAME_REQUEST, 77, zeros(sizes[i])};
        struct message back;
        /* The parent is both ends: let the pipe flow while sending. */
        struct pipe_record r = {.op = PIPE_MESSAGE,
                                .conn = conn,
                                .kind = FRAME_ANSWER,
                                .id = 78,
                                .bytes = zeros(sizes[i])};
        CHECK_UINT(netclient_send(&c, &m), OK);
        const struct seen *s = next_op(&w, PIPE_MESSAGE);
        CHECK(s != NULL);
        CHECK_UINT(s->record.kind, FRAME_REQUEST);
        CHECK_UINT(s->record.id, 77);
        CHECK_UINT(s->len, sizes[i]);
        put(&w, &r);
        while (pipe_queued(w.pipe) > 0)
            CHECK_UINT(loop_round(w.loop, 10), OK);
        CHECK_UINT(netclient_next(&c, &back), OK);
        CHECK_UINT(back.kind, FRAME_ANSWER);
        CHECK_UINT(back.id, 78);
        CHECK_UINT(back.bytes.len, sizes[i]);
    }
}

static void a_large_message_before_the_hello_closes(void)
{
    CLEANUP(world_clear) struct world w = {0};
    CLEANUP(netclient_close) struct netclient c = {0};
    const struct message fits = {FRAME_REQUEST, 1, zeros(MESSAGE_EARLY_MAX)};
    const struct message large = {FRAME_REQUEST, 2,
                                  zeros(MESSAGE_EARLY_MAX + 1)};
    uint32_t conn = 0;
    CHECK_UINT(world_start(&w), OK);
    CHECK_UINT(join(&w, &c, &conn), OK);
    CHECK_UINT(netclient_send(&c, &fits), OK);
    CHECK(next_op(&w, PIPE_MESSAGE) != NULL);
    CHECK_UINT(netclient_send(&c, &large), OK);
    CHECK_UINT(netclient_wait_closed(&c), OK);
    const struct seen *s = next_record(&w);
    CHECK(s != NULL);
    CHECK_UINT(s->record.op, PIPE_CLOSE);
}

static void what_is_no_request_closes(void)
{
    const struct bytes cases[] = {
        LIT("\x00\x00\x00\x07\x02\x00\x00\x00\x01hi"), /* an answer */
        LIT("\x00\x00\x00\x07\x03\x00\x00\x00\x00hi"), /* an event */
        LIT("\x00\x00\x00\x07\x09\x00\x00\x00\x01hi"), /* nothing */
        LIT("\xff\xff\xff\xff\x01\x00\x00\x00\x01hi"), /* too long */
    };
    CLEANUP(world_clear) struct world w = {0};
    CHECK_UINT(world_start(&w), OK);
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(netclient_close) struct netclient c = {0};
        uint32_t conn = 0;
        CHECK_UINT(join(&w, &c, &conn), OK);
        CHECK_UINT(netclient_raw(&c, cases[i]), OK);
        CHECK_UINT(netclient_wait_closed(&c), OK);
        CHECK(next_op(&w, PIPE_CLOSE) != NULL);
    }
}

static void a_silent_connection_is_closed_in_time(void)
{
    CLEANUP(world_clear)
    struct world w = {.config = {.handshake_ms = 150, .hello_ms = 60000}};
    struct net_addresses found = {0};
    int fd = -1;
    char byte = 0;
    CHECK_UINT(world_start(&w), OK);
    CHECK_UINT(net_resolve(&w.address, &found, NULL), OK);
    uint64_t before = clock_mono_ms();
    CHECK_UINT(net_connect(&found.at[0], &fd, NULL), OK);
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int n = poll(&p, 1, PATIENCE_MS);
    ssize_t got = recv(fd, &byte, 1, 0);
    (void)close(fd);
    CHECK(n == 1 && got <= 0);
    CHECK(clock_mono_ms() - before >= 100);
}

/* Who holds on without a word makes room for who comes. */
static void half_open_connections_keep_nobody_out(void)
{
    enum {
        SILENT = 40,
        CLIENTS_MAX = 16,
        EARLY = 4 /* this process's part */
    };
    CLEANUP(world_clear)
    struct world w = {.config = {.clients_max = CLIENTS_MAX,
                                 .handshake_ms = 60000,
                                 .processes = NET_EARLY_MAX / EARLY,
                                 .no_limits = true}};
    struct net_addresses found = {0};
    int fds[SILENT];
    CHECK_UINT(world_start(&w), OK);
    CHECK_UINT(net_resolve(&w.address, &found, NULL), OK);
    for (size_t i = 0; i < SILENT; i++)
        CHECK_UINT(net_connect(&found.at[0], &fds[i], NULL), OK);
    for (int i = 0; i < 3; i++) {
        CLEANUP(netclient_close) struct netclient c = {0};
        uint32_t conn = 0;
        CHECK_UINT(join_greeted(&w, &c, &conn), OK);
        netclient_close(&c);
        CHECK(next_op(&w, PIPE_CLOSE) != NULL);
        put(&w, &(struct pipe_record){.op = PIPE_CLOSED, .conn = conn});
    }
    unsigned closed = 0;
    for (size_t i = 0; i < SILENT; i++) {
        struct pollfd p = {.fd = fds[i], .events = POLLIN};
        closed += poll(&p, 1, 0) == 1;
        (void)close(fds[i]);
    }
    CHECK(closed >= SILENT - EARLY);
}

static void a_network_has_so_many_connections(void)
{
    CLEANUP(world_clear)
    struct world w = {.config = {.network_max = 4, .processes = 2}};
    CLEANUP(netclient_close) struct netclient first = {0};
    CLEANUP(netclient_close) struct netclient second = {0};
    CLEANUP(netclient_close) struct netclient third = {0};
    uint32_t conn = 0;
    CHECK_UINT(world_start(&w), OK);
    CHECK_UINT(join_greeted(&w, &first, &conn), OK);
    CHECK_UINT(join_greeted(&w, &second, &conn), OK);
    CHECK(netclient_connect(&third, &w.address) != OK);
    netclient_close(&third);
    netclient_close(&second);
    CHECK(next_op(&w, PIPE_CLOSE) != NULL);
    CHECK_UINT(join_greeted(&w, &third, &conn), OK);
}

static void who_begins_a_message_must_go_on_with_it(void)
{
    CLEANUP(world_clear) struct world w = {.config = {.rate_ms = 250}};
    CLEANUP(netclient_close) struct netclient stalls = {0};
    CLEANUP(netclient_close) struct netclient idle = {0};
    CLEANUP(netclient_close) struct netclient goes_on = {0};
    static const uint8_t part[NET_RATE_BYTES];
    /* a frame of the largest size */
    const struct bytes head = LIT("\x00\x00\xff\xfc\x01\x00\x00\x00\x01");
    struct message none;
    uint32_t conn = 0;
    CHECK_UINT(world_start(&w), OK);
    CHECK_UINT(join_greeted(&w, &idle, &conn), OK);
    CHECK_UINT(join_greeted(&w, &goes_on, &conn), OK);
    CHECK_UINT(join_greeted(&w, &stalls, &conn), OK);
    CHECK_UINT(netclient_raw(&goes_on, head), OK);
    CHECK_UINT(netclient_raw(&stalls, head), OK);
    CHECK_UINT(netclient_raw(&stalls, LIT("a little")), OK);
    for (int i = 0; i < 10; i++) {
        CHECK_UINT(netclient_raw(&goes_on, BYTES_ARRAY(part)), OK);
        pump(&w, 60);
    }
    CHECK_UINT(netclient_wait_closed(&stalls), OK);
    const struct seen *s = next_op(&w, PIPE_CLOSE);
    CHECK(s != NULL && s->record.conn == conn);
    idle.patience_ms = goes_on.patience_ms = 50;
    CHECK_UINT(netclient_next(&goes_on, &none), ERR_NOTFOUND);
    CHECK_UINT(netclient_next(&idle, &none), ERR_NOTFOUND);
}

static void a_connection_without_hello_is_closed_in_time(void)
{
    CLEANUP(world_clear) struct world w = {.config = {.hello_ms = 200}};
    CLEANUP(netclient_close) struct netclient silent = {0};
    CLEANUP(netclient_close) struct netclient polite = {0};
    struct message none;
    uint32_t conn = 0;
    CHECK_UINT(world_start(&w), OK);
    CHECK_UINT(join_greeted(&w, &polite, &conn), OK);
    CHECK_UINT(join(&w, &silent, &conn), OK);
    CHECK_UINT(netclient_wait_closed(&silent), OK);
    polite.patience_ms = 300;
    CHECK_UINT(netclient_next(&polite, &none), ERR_NOTFOUND);
}

static void entries_to_a_slow_reader_are_dropped_and_told(void)
{
    enum {
        ENTRIES = 3000,
        ENTRY_SIZE = 4096
    };
    static uint8_t event[ENTRY_SIZE] = {0, EVENT_ENTRY};
    static const uint8_t head[] = {0, EVENT_HEAD, 7};
    CLEANUP(world_clear) struct world w = {0};
    CLEANUP(netclient_close) struct netclient c = {0};
    struct message m = {0};
    uint32_t conn = 0;
    unsigned got = 0;
    CHECK_UINT(world_start(&w), OK);
    CHECK_UINT(join_greeted(&w, &c, &conn), OK);
    struct pipe_record r = {.op = PIPE_MESSAGE,
                            .conn = conn,
                            .kind = FRAME_EVENT,
                            .bytes = {event, sizeof event}};
    for (int i = 0; i < ENTRIES; i++)
        put(&w, &r);
    const struct seen *slow = next_record(&w);
    CHECK(slow != NULL);
    CHECK_UINT(slow->record.op, PIPE_SLOW);
    CHECK_UINT(slow->record.conn, conn);
    r.bytes = (struct bytes){head, sizeof head};
    put(&w, &r);
    while (pipe_queued(w.pipe) > 0)
        CHECK_UINT(loop_round(w.loop, 10), OK);
    do {
        CHECK_UINT(netclient_next(&c, &m), OK);
        got += m.bytes.len == sizeof event;
    } while (m.bytes.len == sizeof event);
    CHECK_BYTES(m.bytes, ((struct bytes){head, sizeof head}));
    CHECK(got > 0 && got < ENTRIES);
}

static void a_client_that_asks_but_does_not_read_is_dropped(void)
{
    CLEANUP(world_clear) struct world w = {0};
    CLEANUP(netclient_close) struct netclient c = {0};
    uint32_t conn = 0;
    CHECK_UINT(world_start(&w), OK);
    CHECK_UINT(join_greeted(&w, &c, &conn), OK);
    for (int i = 0; i < 60; i++)
        put(&w, &(struct pipe_record){.op = PIPE_MESSAGE,
                                      .conn = conn,
                                      .kind = FRAME_ANSWER,
                                      .id = 1,
                                      .bytes = zeros(1U << 20)});
    const struct seen *s = next_op(&w, PIPE_CLOSE);
    CHECK(s != NULL);
    CHECK_UINT(s->record.conn, conn);
}

static void too_many_requests_under_way_make_a_client_wait(void)
{
    enum {
        REQUESTS = 200
    };
    CLEANUP(world_clear) struct world w = {0};
    CLEANUP(netclient_close) struct netclient c = {0};
    const struct message m = {FRAME_REQUEST, 5, zeros(4096)};
    uint32_t conn = 0;
    CHECK_UINT(world_start(&w), OK);
    CHECK_UINT(join_greeted(&w, &c, &conn), OK);
    size_t before = w.seen_count;
    for (int i = 0; i < REQUESTS; i++)
        CHECK_UINT(netclient_send(&c, &m), OK);
    uint64_t end = clock_mono_ms() + PATIENCE_MS;
    while (w.seen_count - before < NET_REQUESTS_MAX && clock_mono_ms() < end)
        CHECK_UINT(loop_round(w.loop, 50), OK);
    pump(&w, 100); /* no more come */
    size_t under_way = w.seen_count - before;
    CHECK(under_way >= NET_REQUESTS_MAX && under_way < NET_REQUESTS_MAX + 8);
    for (int i = 0; i < REQUESTS; i++) {
        const struct seen *s = next_op(&w, PIPE_MESSAGE);
        CHECK(s != NULL);
        answer(&w, s, ping_ok);
    }
}

static void a_store_that_does_not_read_stops_the_clients(void)
{
    enum {
        MESSAGES = 60
    };
    CLEANUP(world_clear) struct world w = {0};
    CLEANUP(netclient_close) struct netclient c = {0};
    CLEANUP(buf_clear) struct buf frames = buf_new(2U << 20);
    const struct message m = {FRAME_REQUEST, 5, zeros(1U << 20)};
    uint32_t conn = 0;
    int sent = 0;
    enum err err = OK;
    CHECK_UINT(world_start(&w), OK);
    CHECK_UINT(join_greeted(&w, &c, &conn), OK);
    CHECK_UINT(frame_write(&frames, &m), OK);
    pipe_pause(w.pipe, true);
    c.patience_ms = 400;
    for (; err == OK && sent < MESSAGES; sent++)
        err = netclient_raw(&c, buf_bytes(&frames));
    CHECK_UINT(err, ERR_NOTFOUND);
    CHECK(sent > 2 && sent < 40);
    pipe_pause(w.pipe, false);
    for (int i = 0; i < sent - 1; i++)
        CHECK(next_op(&w, PIPE_MESSAGE) != NULL);
}

static void a_number_is_free_only_when_the_store_says_so(void)
{
    CLEANUP(world_clear) struct world w = {0};
    CLEANUP(netclient_close) struct netclient a = {0};
    CLEANUP(netclient_close) struct netclient b = {0};
    CLEANUP(netclient_close) struct netclient c = {0};
    uint32_t first = 0;
    uint32_t second = 0;
    uint32_t third = 0;
    CHECK_UINT(world_start(&w), OK);
    CHECK_UINT(join(&w, &a, &first), OK);
    netclient_close(&a);
    CHECK(next_op(&w, PIPE_CLOSE) != NULL);
    CHECK_UINT(join(&w, &b, &second), OK);
    CHECK(first != second);
    put(&w, &(struct pipe_record){.op = PIPE_CLOSED, .conn = first});
    pump(&w, 20);
    CHECK_UINT(join(&w, &c, &third), OK);
    CHECK_UINT(third, first);
}

static void who_finds_no_room_waits_for_it(void)
{
    CLEANUP(world_clear) struct world w = {.config = {.clients_max = 1}};
    CLEANUP(netclient_close) struct netclient a = {0};
    CLEANUP(netclient_close) struct netclient b = {0};
    struct net_addresses found = {0};
    uint32_t conn = 0;
    int waiting = -1;
    CHECK_UINT(world_start(&w), OK);
    CHECK_UINT(join(&w, &a, &conn), OK);
    CHECK_UINT(net_resolve(&w.address, &found, NULL), OK);
    CHECK_UINT(net_connect(&found.at[0], &waiting, NULL), OK);
    pump(&w, 100); /* the kernel accepts it, net does not */
    size_t before = w.seen_count;
    (void)close(waiting);
    netclient_close(&a);
    CHECK(next_op(&w, PIPE_CLOSE) != NULL);
    CHECK_UINT(w.seen_count, before + 1);
    put(&w, &(struct pipe_record){.op = PIPE_CLOSED, .conn = conn});
    CHECK_UINT(join(&w, &b, &conn), OK);
}

static void end_closes_after_what_was_sent(void)
{
    CLEANUP(world_clear) struct world w = {0};
    CLEANUP(netclient_close) struct netclient c = {0};
    struct message m = {0};
    uint32_t conn = 0;
    CHECK_UINT(world_start(&w), OK);
    CHECK_UINT(join(&w, &c, &conn), OK);
    put(&w, &(struct pipe_record){.op = PIPE_MESSAGE,
                                  .conn = conn,
                                  .kind = FRAME_ANSWER,
                                  .id = 3,
                                  .bytes = zeros(60000)});
    put(&w, &(struct pipe_record){.op = PIPE_END, .conn = conn});
    CHECK_UINT(netclient_next(&c, &m), OK);
    CHECK_UINT(m.bytes.len, 60000);
    CHECK_UINT(netclient_wait_closed(&c), OK);
    netclient_close(&c);
    CHECK(next_op(&w, PIPE_CLOSE) != NULL);
}

static void draining_lets_answers_out_and_then_ends(void)
{
    CLEANUP(world_clear) struct world w = {0};
    CLEANUP(netclient_close) struct netclient busy = {0};
    CLEANUP(netclient_close) struct netclient idle = {0};
    CLEANUP(netclient_close) struct netclient late = {0};
    const struct message ping = {FRAME_REQUEST, 9, {ping_ok, 2}};
    struct message m = {0};
    uint32_t conn = 0;
    CHECK_UINT(world_start(&w), OK);
    CHECK_UINT(join_greeted(&w, &idle, &conn), OK);
    CHECK_UINT(join_greeted(&w, &busy, &conn), OK);
    CHECK_UINT(netclient_send(&busy, &ping), OK);
    const struct seen *request = next_op(&w, PIPE_MESSAGE);
    CHECK(request != NULL);
    put(&w, &(struct pipe_record){.op = PIPE_DRAIN});
    CHECK_UINT(netclient_wait_closed(&idle), OK);
    netclient_close(&idle);
    answer(&w, request, ping_ok);
    CHECK_UINT(netclient_next(&busy, &m), OK);
    CHECK_UINT(m.id, 9);
    CHECK_UINT(netclient_wait_closed(&busy), OK);
    netclient_close(&busy);
    CHECK(next_op(&w, PIPE_BYE) != NULL);
    CHECK_UINT((unsigned)exit_status(&w), 0);
    CHECK(netclient_connect(&late, &w.address) != OK);
}

static void draining_does_not_wait_for_ever(void)
{
    CLEANUP(world_clear) struct world w = {.config = {.drain_ms = 200}};
    CLEANUP(netclient_close) struct netclient c = {0};
    const struct message ping = {FRAME_REQUEST, 9, {ping_ok, 2}};
    uint32_t conn = 0;
    CHECK_UINT(world_start(&w), OK);
    CHECK_UINT(join_greeted(&w, &c, &conn), OK);
    CHECK_UINT(netclient_send(&c, &ping), OK);
    CHECK(next_op(&w, PIPE_MESSAGE) != NULL);
    put(&w, &(struct pipe_record){.op = PIPE_DRAIN});
    CHECK(next_op(&w, PIPE_BYE) != NULL); /* the request has no answer */
    CHECK_UINT((unsigned)exit_status(&w), 0);
}

static void net_ends_with_an_error_when_the_store_dies(void)
{
    CLEANUP(world_clear) struct world w = {0};
    CLEANUP(netclient_close) struct netclient c = {0};
    uint32_t conn = 0;
    CHECK_UINT(world_start(&w), OK);
    CHECK_UINT(join_greeted(&w, &c, &conn), OK);
    pipe_free(&w.pipe);
    CHECK_UINT(netclient_wait_closed(&c), OK);
    CHECK_UINT((unsigned)exit_status(&w), ERR_IO);
}

static void a_websocket_is_a_client_like_any_other(void)
{
    CLEANUP(world_clear) struct world w = {0};
    CLEANUP(plain_close) struct plain c = {0};
    CHECK_UINT(world_start(&w), OK);
    CHECK_UINT(plain_open(&c, &w.proxy, LIT(UPGRADE)), OK);
    const struct seen *open = next_op(&w, PIPE_OPEN);
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
    const struct seen *s = next_op(&w, PIPE_MESSAGE);
    CHECK(s != NULL);
    CHECK_UINT(s->record.id, 5);
    answer(&w, s, hello_ok);
    CHECK_UINT(plain_hear(&w, &c, 14), OK);
    CHECK_BYTES(((struct bytes){(uint8_t *)c.text, c.len}),
                LIT("\x82\x0c\0\0\0\x08\2\0\0\0\5\0\1\0"));
    c.len = 0;
    put(&w, &(struct pipe_record){.op = PIPE_END, .conn = s->record.conn});
    CHECK_UINT(plain_hear(&w, &c, SIZE_MAX), OK);
    CHECK_BYTES(((struct bytes){(uint8_t *)c.text, c.len}),
                LIT("\x88\2\x03\xe9"));
    plain_close(&c);
    CHECK(next_op(&w, PIPE_CLOSE) != NULL);
}

static void a_websocket_keeps_the_rules_of_frames(void)
{
    CLEANUP(world_clear) struct world w = {.config = {.hello_ms = 300}};
    CLEANUP(plain_close) struct plain silent = {0};
    CLEANUP(plain_close) struct plain wrong = {0};
    CHECK_UINT(world_start(&w), OK);
    CHECK_UINT(plain_open(&silent, &w.proxy, LIT(UPGRADE)), OK);
    CHECK_UINT(plain_hear(&w, &silent, SIZE_MAX), OK); /* no hello */
    CHECK(next_op(&w, PIPE_CLOSE) != NULL);
    CHECK_UINT(plain_open(&wrong, &w.proxy, LIT(UPGRADE)), OK);
    CHECK_UINT(plain_say(&wrong, LIT("\x82\x89" NO_MASK
                                     "\0\0\0\7\2\0\0\0\5")), /* an answer */
               OK);
    CHECK(next_op(&w, PIPE_CLOSE) != NULL);
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

static void a_blob_that_nobody_reads_is_given_up(void)
{
    CLEANUP(world_clear) struct world w = {.config = {.piece_ms = 300}};
    CLEANUP(plain_close) struct plain c = {0};
    CHECK_UINT(world_start(&w), OK);
    CHECK_UINT(plain_open(&c, &w.proxy, LIT(BLOB_REQUEST)), OK);
    CHECK(next_op(&w, PIPE_OPEN) != NULL);
    const struct seen *s = next_op(&w, PIPE_MESSAGE);
    CHECK(s != NULL);
    CHECK_BYTES(((struct bytes){s->start, 2}), LIT("\0\1")); /* hello */
    CHECK(next_op(&w, PIPE_CLOSE) != NULL); /* it has no answer */
}

static enum err answer_whole(struct world *w, const struct seen *request,
                             const struct answer *a)
{
    CLEANUP(buf_clear) struct buf bytes = buf_new(1U << 20);
    if (request == NULL)
        return ERR_STATE;
    TRY(answer_write(&bytes, a));
    put(w, &(struct pipe_record){.op = PIPE_MESSAGE,
                                 .conn = request->record.conn,
                                 .kind = FRAME_ANSWER,
                                 .id = request->record.id,
                                 .bytes = buf_bytes(&bytes)});
    return OK;
}

/* It is cut off, and the client goes on with it later. */
static void a_blob_does_not_keep_the_server_from_ending(void)
{
    enum {
        PIECE = 1000
    };
    const struct answer hello = {.method = METHOD_HELLO,
                                 .hello = {.version = PROTOCOL_VERSION,
                                           .server_key = zeros(KEY_SIZE),
                                           .server_nonce = zeros(NONCE_SIZE),
                                           .signature = zeros(SIGNATURE_SIZE)}};
    const struct answer size = {.method = METHOD_BLOB_GET,
                                .blob_get = {.total = 1U << 20}};
    const struct answer piece = {
        .method = METHOD_BLOB_GET,
        .blob_get = {.total = 1U << 20, .data = zeros(PIECE)}};
    CLEANUP(world_clear) struct world w = {0};
    CLEANUP(plain_close) struct plain c = {0};
    CHECK_UINT(world_start(&w), OK);
    CHECK_UINT(plain_open(&c, &w.proxy, LIT(BLOB_REQUEST)), OK);
    CHECK_UINT(answer_whole(&w, next_op(&w, PIPE_MESSAGE), &hello), OK);
    CHECK_UINT(answer_whole(&w, next_op(&w, PIPE_MESSAGE), &size), OK);
    const struct seen *s = next_op(&w, PIPE_MESSAGE);
    CHECK(s != NULL);
    put(&w, &(struct pipe_record){.op = PIPE_DRAIN});
    pump(&w, 50);
    uint64_t before = clock_mono_ms();
    CHECK_UINT(answer_whole(&w, s, &piece), OK);
    CHECK_UINT(plain_hear(&w, &c, SIZE_MAX), OK);
    CHECK(strstr(c.text, "HTTP/1.1 200 ") == c.text);
    CHECK(c.len > PIECE && c.len < 2 * (size_t)PIECE);
    plain_close(&c);
    CHECK(next_op(&w, PIPE_BYE) != NULL);
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
    put(&w,
        &(struct pipe_record){.op = PIPE_STATS, .bytes = BYTES_ARRAY(bytes)});
    const struct seen *own = next_op(&w, PIPE_STATS);
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
    TEST(a_blob_that_nobody_reads_is_given_up),
    TEST(a_blob_does_not_keep_the_server_from_ending),
    TEST(the_operator_sees_health_and_numbers),
    TEST(the_store_hears_of_a_connection_and_its_exporter),
    TEST(messages_pass_both_ways_whole),
    TEST(a_large_message_before_the_hello_closes),
    TEST(what_is_no_request_closes),
    TEST(a_silent_connection_is_closed_in_time),
    TEST(a_connection_without_hello_is_closed_in_time),
    TEST(half_open_connections_keep_nobody_out),
    TEST(a_network_has_so_many_connections),
    TEST(who_begins_a_message_must_go_on_with_it),
    TEST(entries_to_a_slow_reader_are_dropped_and_told),
    TEST(a_client_that_asks_but_does_not_read_is_dropped),
    TEST(too_many_requests_under_way_make_a_client_wait),
    TEST(a_store_that_does_not_read_stops_the_clients),
    TEST(a_number_is_free_only_when_the_store_says_so),
    TEST(who_finds_no_room_waits_for_it),
    TEST(end_closes_after_what_was_sent),
    TEST(draining_lets_answers_out_and_then_ends),
    TEST(draining_does_not_wait_for_ever),
    TEST(net_ends_with_an_error_when_the_store_dies),
};
TEST_MAIN(tests)
