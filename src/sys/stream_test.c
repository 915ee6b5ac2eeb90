/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/stream.h"

#include "base/mem.h"
#include "test.h"

#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROUNDS_MAX   20000
#define RECEIVED_MAX (32U << 20)

struct world;

/* One end: what it saw, and how it should behave. */
struct end {
    struct world *world;
    struct stream *stream;
    struct buf received;
    struct problem why;
    unsigned ups, downs, draineds;
    bool echo;           /* sends back what it gets */
    bool free_on_data;   /* frees its stream in the callback */
    bool refuse;         /* fails on data */
    size_t queued_at_up; /* bytes to send when up */
};

struct world {
    struct loop *loop;
    struct streams *streams;
    struct tls_context *server_context;
    struct tls_context *client_context;
    struct watch listener;
    struct net_name address;
    struct end server;
    struct end client;
};

static void on_up(void *ctx)
{
    static const uint8_t block[1000];
    struct end *e = ctx;
    e->ups++;
    for (size_t sent = 0; sent < e->queued_at_up; sent += sizeof block)
        if (stream_send(e->stream, (struct bytes){block, sizeof block}) != OK)
            return;
}

static enum err on_data(void *ctx, struct bytes bytes)
{
    struct end *e = ctx;
    if (e->refuse)
        return ERR_MALFORMED;
    TRY(buf_append(&e->received, bytes));
    if (e->echo)
        TRY(stream_send(e->stream, bytes));
    if (e->free_on_data)
        stream_free(&e->stream);
    return OK;
}

static void on_drained(void *ctx)
{
    struct end *e = ctx;
    e->draineds++;
}

static void on_down(void *ctx, const struct problem *why)
{
    struct end *e = ctx;
    e->downs++;
    e->why = *why;
}

static const struct stream_user user = {on_up, on_data, on_drained, on_down};

static void on_listener(void *ctx, uint32_t events)
{
    struct world *w = ctx;
    int fd = -1;
    (void)events;
    if (net_accept(w->listener.fd, &fd) == OK &&
        stream_accept(w->streams, w->server_context, fd, &user, &w->server,
                      &w->server.stream) != OK)
        w->server.stream = NULL;
}

static void world_clear(struct world *w)
{
    stream_free(&w->client.stream);
    stream_free(&w->server.stream);
    buf_clear(&w->client.received);
    buf_clear(&w->server.received);
    streams_free(&w->streams);
    tls_context_free(&w->server_context);
    tls_context_free(&w->client_context);
    if (w->listener.fd > 0)
        (void)close(w->listener.fd);
    w->listener.fd = 0;
    loop_free(&w->loop);
}

static enum err contexts_create(struct world *w)
{
    CLEANUP(buf_clear) struct buf cert = buf_new(TLS_PEM_MAX);
    CLEANUP(buf_clear) struct buf key = buf_new(TLS_PEM_MAX);
    TRY(tls_certificate_create("localhost", &cert, &key));
    TRY(tls_server_create(buf_bytes(&cert), buf_bytes(&key), &w->server_context,
                          NULL));
    return tls_client_create(&w->client_context, NULL);
}

/* A listener, and a client that has begun to connect to it. */
static enum err world_start(struct world *w)
{
    w->server.world = w->client.world = w;
    w->server.received = buf_new(RECEIVED_MAX);
    w->client.received = buf_new(RECEIVED_MAX);
    TRY(loop_create(&w->loop, NULL));
    TRY(streams_create(w->loop, &w->streams));
    TRY(contexts_create(w));
    w->listener = (struct watch){0, on_listener, w};
    TRY(net_listen(&(struct net_name){.host = "127.0.0.1"}, 1, &w->listener.fd,
                   NULL));
    TRY(net_local(w->listener.fd, &w->address));
    TRY(loop_watch(w->loop, &w->listener, EPOLLIN));
    struct stream_target target = {
        .context = w->client_context,
        .peer = {.trust = TLS_TRUST_CALLER, .host = "localhost"}};
    TRY(net_resolve(&w->address, &target.addresses, NULL));
    return stream_connect(w->streams, &target, &user, &w->client,
                          &w->client.stream);
}

/* Goes round until `*counter` is at least `want`. */
static bool until(struct world *w, const unsigned *counter, unsigned want)
{
    for (int i = 0; i < ROUNDS_MAX && *counter < want; i++)
        if (loop_round(w->loop, 100) != OK)
            return false;
    return *counter >= want;
}

static bool until_received(struct world *w, const struct end *e, size_t want)
{
    for (int i = 0; i < ROUNDS_MAX && e->received.len < want; i++)
        if (loop_round(w->loop, 100) != OK)
            return false;
    return e->received.len >= want;
}

static bool both_up(struct world *w)
{
    return until(w, &w->client.ups, 1) && until(w, &w->server.ups, 1);
}

static void connects_and_carries_bytes_both_ways(void)
{
    CLEANUP(world_clear) struct world w = {0};
    uint8_t exporter[2][TLS_EXPORTER_SIZE];
    w.server.echo = true;
    CHECK_UINT(world_start(&w), OK);
    CHECK(both_up(&w));
    CHECK_UINT(stream_exporter(w.client.stream, exporter[0]), OK);
    CHECK_UINT(stream_exporter(w.server.stream, exporter[1]), OK);
    CHECK(memcmp(exporter[0], exporter[1], sizeof exporter[0]) == 0);
    CHECK_UINT(stream_send(w.client.stream, LIT("hel")), OK);
    CHECK_UINT(stream_send(w.client.stream, LIT("lo")), OK);
    CHECK_UINT(stream_queued(w.client.stream), 5);
    CHECK(until_received(&w, &w.client, 5));
    CHECK_BYTES(buf_bytes(&w.client.received), LIT("hello"));
    CHECK_UINT(streams_queued(w.streams), 0);
    CHECK_UINT(w.client.draineds, 1);
}

static void what_is_sent_in_a_round_leaves_in_one_record(void)
{
    CLEANUP(world_clear) struct world w = {0};
    uint8_t raw[200];
    CHECK_UINT(world_start(&w), OK);
    CHECK(both_up(&w));
    stream_pause(w.server.stream, true);
    for (int i = 0; i < 5; i++)
        CHECK_UINT(stream_send(w.client.stream, LIT("x")), OK);
    CHECK_UINT(loop_round(w.loop, 100), OK);
    CHECK_UINT(loop_round(w.loop, 10), OK);
    /* The server has not read: peek at what lies in its socket. */
    int fd = 3;
    ssize_t n = -1;
    for (; fd < 20 && n <= 0; fd++)
        n = recv(fd, raw, sizeof raw, MSG_PEEK | MSG_DONTWAIT);
    CHECK_UINT((size_t)n, 5 + 5 + 1 + 16); /* header, data, type, tag */
}

static void large_amounts_pass_while_both_send(void)
{
    CLEANUP(world_clear) struct world w = {0};
    w.server.queued_at_up = 20U << 20;
    w.client.queued_at_up = 20U << 20;
    CHECK_UINT(world_start(&w), OK);
    CHECK(both_up(&w));
    CHECK(streams_queued(w.streams) > (1U << 20));
    CHECK(until_received(&w, &w.client, w.server.queued_at_up));
    CHECK(until_received(&w, &w.server, w.client.queued_at_up));
    CHECK(until(&w, &w.client.draineds, 1) && until(&w, &w.server.draineds, 1));
    CHECK_UINT(streams_queued(w.streams), 0);
}

static void a_paused_stream_keeps_its_bytes(void)
{
    CLEANUP(world_clear) struct world w = {0};
    w.client.queued_at_up = 100000;
    CHECK_UINT(world_start(&w), OK);
    CHECK(until(&w, &w.server.ups, 1));
    stream_pause(w.server.stream, true);
    size_t had = w.server.received.len;
    for (int i = 0; i < 20; i++)
        CHECK_UINT(loop_round(w.loop, 1), OK);
    CHECK_UINT(w.server.received.len, had);
    stream_pause(w.server.stream, false);
    CHECK(until_received(&w, &w.server, 100000));
}

/* The other end is a plain socket of the test's. */
static void a_stream_without_tls_carries_bytes_until_the_end(void)
{
    CLEANUP(world_clear) struct world w = {0};
    int fds[2] = {-1, -1};
    char got[8] = "";
    w.server.echo = true;
    w.server.received = buf_new(RECEIVED_MAX);
    CHECK_UINT(loop_create(&w.loop, NULL), OK);
    CHECK_UINT(streams_create(w.loop, &w.streams), OK);
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
    CHECK_UINT(stream_accept(w.streams, NULL, fds[0], &user, &w.server,
                             &w.server.stream),
               OK);
    bool sent = write(fds[1], "hello", 5) == 5;
    bool echoed = until(&w, &w.server.draineds, 1);
    ssize_t len = read(fds[1], got, sizeof got);
    enum tls_protocol protocol = stream_protocol(w.server.stream);
    uint8_t exporter[TLS_EXPORTER_SIZE];
    enum err no_exporter = stream_exporter(w.server.stream, exporter);
    (void)close(fds[1]);
    bool down = until(&w, &w.server.downs, 1);
    CHECK(sent && echoed && down);
    CHECK_UINT(w.server.ups, 1);
    CHECK_BYTES(((struct bytes){(uint8_t *)got, (size_t)len}), LIT("hello"));
    CHECK_UINT(protocol, TLS_HTTP);
    CHECK_UINT(no_exporter, ERR_STATE);
    CHECK_UINT(w.server.why.kind, PROBLEM_NONE);
}

static void an_end_delivers_what_was_queued_first(void)
{
    CLEANUP(world_clear) struct world w = {0};
    CHECK_UINT(world_start(&w), OK);
    CHECK(both_up(&w));
    /* Bytes that the server never reads must not destroy its answer. */
    stream_pause(w.server.stream, true);
    CHECK_UINT(stream_send(w.client.stream, LIT("unread")), OK);
    CHECK_UINT(loop_round(w.loop, 100), OK);
    CHECK_UINT(stream_send(w.server.stream, LIT("last words")), OK);
    stream_end(w.server.stream);
    CHECK_UINT(stream_send(w.server.stream, LIT("more")), ERR_STATE);
    CHECK(until(&w, &w.client.downs, 1));
    CHECK_BYTES(buf_bytes(&w.client.received), LIT("last words"));
    CHECK_UINT(w.client.why.kind, PROBLEM_NONE);
    stream_free(&w.client.stream);
    CHECK(until(&w, &w.server.downs, 1));
    CHECK_UINT(w.server.why.kind, PROBLEM_NONE);
}

static void a_vanished_peer_is_reported(void)
{
    CLEANUP(world_clear) struct world w = {0};
    CHECK_UINT(world_start(&w), OK);
    CHECK(both_up(&w));
    w.server.free_on_data = true; /* frees itself in its own callback */
    CHECK_UINT(stream_send(w.client.stream, LIT("x")), OK);
    CHECK(until(&w, &w.client.downs, 1));
    CHECK(w.server.stream == NULL);
    CHECK_UINT(w.server.downs, 0);
    CHECK_UINT(w.server.received.len, 1);
}

static void a_breach_of_protocol_drops_the_stream(void)
{
    CLEANUP(world_clear) struct world w = {0};
    w.server.refuse = true;
    CHECK_UINT(world_start(&w), OK);
    CHECK(both_up(&w));
    CHECK_UINT(stream_send(w.client.stream, LIT("x")), OK);
    CHECK(until(&w, &w.server.downs, 1));
    CHECK_UINT(w.server.why.kind, PROBLEM_NETWORK);
    CHECK(until(&w, &w.client.downs, 1));
}

static void tries_the_next_address(void)
{
    CLEANUP(world_clear) struct world w = {0};
    struct end second = {.world = &w, .received = buf_new(10)};
    int closed = -1;
    struct net_name nobody = {.host = "127.0.0.1"};
    struct stream_target target = {.peer = {.trust = TLS_TRUST_CALLER}};
    CHECK_UINT(world_start(&w), OK);
    CHECK(both_up(&w));
    stream_free(&w.server.stream);
    CHECK_UINT(net_listen(&nobody, 1, &closed, NULL), OK);
    CHECK_UINT(net_local(closed, &nobody), OK);
    (void)close(closed);

    struct net_addresses live = {0};
    CHECK_UINT(net_resolve(&nobody, &target.addresses, NULL), OK);
    CHECK_UINT(net_resolve(&w.address, &live, NULL), OK);
    target.context = w.client_context;
    target.addresses.at[1] = live.at[0];
    target.addresses.count = 2;
    CHECK_UINT(
        stream_connect(w.streams, &target, &user, &second, &second.stream), OK);
    bool up = until(&w, &second.ups, 1);
    stream_free(&second.stream);
    CHECK(up);
}

static void says_why_nobody_answers(void)
{
    CLEANUP(world_clear) struct world w = {0};
    CHECK_UINT(world_start(&w), OK);
    loop_unwatch(w.loop, &w.listener);
    (void)close(w.listener.fd);
    w.listener.fd = 0;
    CHECK(until(&w, &w.client.downs, 1));
    CHECK_UINT(w.client.why.kind, PROBLEM_NETWORK);
    CHECK(strstr(w.client.why.detail, "refused") != NULL);
}

static void survives_each_allocation_failure(void)
{
    bool done = false;
    for (unsigned n = 0; !done; n++) {
        CLEANUP(world_clear) struct world w = {0};
        w.server.echo = true;
        mem_fail_after(n);
        if (world_start(&w) != OK)
            continue;
        for (int i = 0; i < 50 && w.client.received.len == 0; i++) {
            CHECK_UINT(loop_round(w.loop, 5), OK);
            if (w.client.ups == 1 && w.client.received.len == 0 &&
                w.client.downs == 0 && stream_queued(w.client.stream) == 0 &&
                w.client.draineds == 0 &&
                stream_send(w.client.stream, LIT("x")) != OK)
                break;
        }
        done = w.client.received.len > 0;
        CHECK(n < 200);
    }
    mem_fail_after(1U << 30);
}

static const struct test tests[] = {
    TEST(connects_and_carries_bytes_both_ways),
    TEST(what_is_sent_in_a_round_leaves_in_one_record),
    TEST(large_amounts_pass_while_both_send),
    TEST(a_paused_stream_keeps_its_bytes),
    TEST(a_stream_without_tls_carries_bytes_until_the_end),
    TEST(an_end_delivers_what_was_queued_first),
    TEST(a_vanished_peer_is_reported),
    TEST(a_breach_of_protocol_drops_the_stream),
    TEST(tries_the_next_address),
    TEST(says_why_nobody_answers),
    TEST(survives_each_allocation_failure),
};

int main(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    return test_run(tests, COUNT(tests));
}
