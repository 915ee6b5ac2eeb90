/* SPDX-License-Identifier: Apache-2.0 */
/* Clients that speak our own protocol. */
#include "support/network.h"

#include "proto/message.h"
#include "sys/clock.h"
#include "test.h"

#include <poll.h>
#include <string.h>
#include <unistd.h>

static void the_store_hears_of_a_connection_and_its_exporter(void)
{
    CLEANUP(world_clear) struct world w = {0};
    CLEANUP(netclient_close) struct netclient c = {0};
    CHECK_UINT(world_start(&w), OK);
    CHECK_UINT(netclient_connect(&c, &w.address), OK);
    const struct seen *open = world_next(&w);
    CHECK(open != NULL);
    CHECK_UINT(open->record.op, PIPE_OPEN);
    CHECK_UINT(open->len, TLS_EXPORTER_SIZE + 8);
    CHECK(memcmp(open->start + 8, c.exporter, TLS_EXPORTER_SIZE) == 0);
    uint32_t conn = open->record.conn;
    netclient_close(&c);
    const struct seen *gone = world_next(&w);
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
    CHECK_UINT(world_join_greeted(&w, &c, &conn), OK);
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
        const struct seen *s = world_next_op(&w, PIPE_MESSAGE);
        CHECK(s != NULL);
        CHECK_UINT(s->record.kind, FRAME_REQUEST);
        CHECK_UINT(s->record.id, 77);
        CHECK_UINT(s->len, sizes[i]);
        world_put(&w, &r);
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
    CHECK_UINT(world_join(&w, &c, &conn), OK);
    CHECK_UINT(netclient_send(&c, &fits), OK);
    CHECK(world_next_op(&w, PIPE_MESSAGE) != NULL);
    CHECK_UINT(netclient_send(&c, &large), OK);
    CHECK_UINT(netclient_wait_closed(&c), OK);
    const struct seen *s = world_next(&w);
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
        CHECK_UINT(world_join(&w, &c, &conn), OK);
        CHECK_UINT(netclient_raw(&c, cases[i]), OK);
        CHECK_UINT(netclient_wait_closed(&c), OK);
        CHECK(world_next_op(&w, PIPE_CLOSE) != NULL);
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
        CHECK_UINT(world_join_greeted(&w, &c, &conn), OK);
        netclient_close(&c);
        CHECK(world_next_op(&w, PIPE_CLOSE) != NULL);
        world_put(&w, &(struct pipe_record){.op = PIPE_CLOSED, .conn = conn});
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
    CHECK_UINT(world_join_greeted(&w, &first, &conn), OK);
    CHECK_UINT(world_join_greeted(&w, &second, &conn), OK);
    CHECK(netclient_connect(&third, &w.address) != OK);
    netclient_close(&third);
    netclient_close(&second);
    CHECK(world_next_op(&w, PIPE_CLOSE) != NULL);
    CHECK_UINT(world_join_greeted(&w, &third, &conn), OK);
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
    CHECK_UINT(world_join_greeted(&w, &idle, &conn), OK);
    CHECK_UINT(world_join_greeted(&w, &goes_on, &conn), OK);
    CHECK_UINT(world_join_greeted(&w, &stalls, &conn), OK);
    CHECK_UINT(netclient_raw(&goes_on, head), OK);
    CHECK_UINT(netclient_raw(&stalls, head), OK);
    CHECK_UINT(netclient_raw(&stalls, LIT("a little")), OK);
    for (int i = 0; i < 10; i++) {
        CHECK_UINT(netclient_raw(&goes_on, BYTES_ARRAY(part)), OK);
        world_pump(&w, 60);
    }
    CHECK_UINT(netclient_wait_closed(&stalls), OK);
    const struct seen *s = world_next_op(&w, PIPE_CLOSE);
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
    CHECK_UINT(world_join_greeted(&w, &polite, &conn), OK);
    CHECK_UINT(world_join(&w, &silent, &conn), OK);
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
    CHECK_UINT(world_join_greeted(&w, &c, &conn), OK);
    struct pipe_record r = {.op = PIPE_MESSAGE,
                            .conn = conn,
                            .kind = FRAME_EVENT,
                            .bytes = {event, sizeof event}};
    for (int i = 0; i < ENTRIES; i++)
        world_put(&w, &r);
    const struct seen *slow = world_next(&w);
    CHECK(slow != NULL);
    CHECK_UINT(slow->record.op, PIPE_SLOW);
    CHECK_UINT(slow->record.conn, conn);
    r.bytes = (struct bytes){head, sizeof head};
    world_put(&w, &r);
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
    CHECK_UINT(world_join_greeted(&w, &c, &conn), OK);
    for (int i = 0; i < 60; i++)
        world_put(&w, &(struct pipe_record){.op = PIPE_MESSAGE,
                                            .conn = conn,
                                            .kind = FRAME_ANSWER,
                                            .id = 1,
                                            .bytes = zeros(1U << 20)});
    const struct seen *s = world_next_op(&w, PIPE_CLOSE);
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
    CHECK_UINT(world_join_greeted(&w, &c, &conn), OK);
    size_t before = w.seen_count;
    for (int i = 0; i < REQUESTS; i++)
        CHECK_UINT(netclient_send(&c, &m), OK);
    uint64_t end = clock_mono_ms() + PATIENCE_MS;
    while (w.seen_count - before < NET_REQUESTS_MAX && clock_mono_ms() < end)
        CHECK_UINT(loop_round(w.loop, 50), OK);
    world_pump(&w, 100); /* no more come */
    size_t under_way = w.seen_count - before;
    CHECK(under_way >= NET_REQUESTS_MAX && under_way < NET_REQUESTS_MAX + 8);
    for (int i = 0; i < REQUESTS; i++) {
        const struct seen *s = world_next_op(&w, PIPE_MESSAGE);
        CHECK(s != NULL);
        world_answer(&w, s, ping_ok);
    }
}

/* How many clients have gone. */
static size_t left(struct world *w)
{
    size_t count = 0;
    world_pump(w, 100);
    for (size_t i = 0; i < w->seen_count && i < SEEN_MAX; i++)
        count += w->seen[i].record.op == PIPE_CLOSE;
    return count;
}

/* Whoever has taken most of what all share gives it back, whoever has little
 * keeps it. */
static void who_begins_too_much_goes_before_others(void)
{
    enum {
        GREEDY = 4, /* take all that a net process holds at least */
        SMALL = 100000
    };
    CLEANUP(world_clear)
    struct world w = {.config = {.no_limits = true, .processes = 64}};
    CLEANUP(netclient_close) struct netclient polite = {0};
    struct netclient greedy[GREEDY] = {{0}};
    CLEANUP(buf_clear) struct buf small = buf_new(1U << 20);
    CLEANUP(buf_clear) struct buf large = buf_new(32U << 20);
    const struct message few = {FRAME_REQUEST, 5, zeros(SMALL)};
    const struct message many = {FRAME_REQUEST, 6, zeros(MESSAGE_MAX)};
    uint32_t conn = 0;
    uint32_t other = 0;
    CHECK_UINT(world_start(&w), OK);
    CHECK_UINT(frame_write(&small, &few), OK);
    CHECK_UINT(frame_write(&large, &many), OK);
    CHECK_UINT(world_join_greeted(&w, &polite, &conn), OK);
    for (size_t i = 0; i < GREEDY; i++) {
        CHECK_UINT(world_join_greeted(&w, &greedy[i], &other), OK);
        CHECK_UINT(netclient_raw(&greedy[i],
                                 (struct bytes){large.data, large.len - 1}),
                   OK);
    }
    CHECK_UINT(left(&w), 0);
    CHECK_UINT(
        netclient_raw(&polite, (struct bytes){small.data, small.len - 1}), OK);
    CHECK(left(&w) > 0);
    CHECK_UINT(
        netclient_raw(&polite, (struct bytes){small.data + small.len - 1, 1}),
        OK);
    const struct seen *s = world_next_op(&w, PIPE_MESSAGE);
    CHECK(s != NULL);
    CHECK_UINT(s->record.conn, conn);
    CHECK_UINT(s->len, SMALL);
    for (size_t i = 0; i < GREEDY; i++)
        netclient_close(&greedy[i]);
}

static void who_leaves_too_much_unread_goes_before_others(void)
{
    enum {
        GREEDY = 6, /* 32 MiB each, of which the system takes some */
        FEW = 8,
        LITTLE = 2U << 20
    };
    CLEANUP(world_clear)
    struct world w = {.config = {.no_limits = true, .processes = 64}};
    CLEANUP(netclient_close) struct netclient polite = {0};
    struct netclient greedy[GREEDY] = {{0}};
    struct message m = {0};
    uint32_t conns[GREEDY];
    struct pipe_record few = {.op = PIPE_MESSAGE,
                              .kind = FRAME_ANSWER,
                              .id = 7,
                              .bytes = zeros(LITTLE)};
    struct pipe_record many = few;
    CHECK_UINT(world_start(&w), OK);
    CHECK_UINT(world_join_greeted(&w, &polite, &few.conn), OK);
    for (size_t i = 0; i < GREEDY; i++)
        CHECK_UINT(world_join_greeted(&w, &greedy[i], &conns[i]), OK);
    for (int i = 0; i < FEW; i++)
        world_put_all(&w, &few);
    few.bytes = zeros(1);
    many.bytes = zeros(16U << 20);
    for (size_t i = 0; i < 2 * (size_t)GREEDY; i++) {
        many.conn = conns[i / 2];
        world_put_all(&w, &many);
        world_put_all(&w, &few); /* the first after there is too much */
    }
    CHECK(left(&w) > 0);
    for (int i = 0; i < FEW; i++) {
        CHECK_UINT(netclient_next(&polite, &m), OK);
        CHECK_UINT(m.bytes.len, LITTLE);
    }
    for (size_t i = 0; i < 2 * (size_t)GREEDY; i++)
        CHECK_UINT(netclient_next(&polite, &m), OK);
    for (size_t i = 0; i < GREEDY; i++)
        netclient_close(&greedy[i]);
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
    CHECK_UINT(world_join_greeted(&w, &c, &conn), OK);
    CHECK_UINT(frame_write(&frames, &m), OK);
    pipe_pause(w.pipe, true);
    c.patience_ms = 400;
    for (; err == OK && sent < MESSAGES; sent++)
        err = netclient_raw(&c, buf_bytes(&frames));
    CHECK_UINT(err, ERR_NOTFOUND);
    CHECK(sent > 2 && sent < 40);
    pipe_pause(w.pipe, false);
    for (int i = 0; i < sent - 1; i++)
        CHECK(world_next_op(&w, PIPE_MESSAGE) != NULL);
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
    CHECK_UINT(world_join(&w, &a, &first), OK);
    netclient_close(&a);
    CHECK(world_next_op(&w, PIPE_CLOSE) != NULL);
    CHECK_UINT(world_join(&w, &b, &second), OK);
    CHECK(first != second);
    world_put(&w, &(struct pipe_record){.op = PIPE_CLOSED, .conn = first});
    world_pump(&w, 20);
    CHECK_UINT(world_join(&w, &c, &third), OK);
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
    CHECK_UINT(world_join(&w, &a, &conn), OK);
    CHECK_UINT(net_resolve(&w.address, &found, NULL), OK);
    CHECK_UINT(net_connect(&found.at[0], &waiting, NULL), OK);
    world_pump(&w, 100); /* the kernel accepts it, net does not */
    size_t before = w.seen_count;
    (void)close(waiting);
    netclient_close(&a);
    CHECK(world_next_op(&w, PIPE_CLOSE) != NULL);
    CHECK_UINT(w.seen_count, before + 1);
    world_put(&w, &(struct pipe_record){.op = PIPE_CLOSED, .conn = conn});
    CHECK_UINT(world_join(&w, &b, &conn), OK);
}

static void end_closes_after_what_was_sent(void)
{
    CLEANUP(world_clear) struct world w = {0};
    CLEANUP(netclient_close) struct netclient c = {0};
    struct message m = {0};
    uint32_t conn = 0;
    CHECK_UINT(world_start(&w), OK);
    CHECK_UINT(world_join(&w, &c, &conn), OK);
    world_put(&w, &(struct pipe_record){.op = PIPE_MESSAGE,
                                        .conn = conn,
                                        .kind = FRAME_ANSWER,
                                        .id = 3,
                                        .bytes = zeros(60000)});
    world_put(&w, &(struct pipe_record){.op = PIPE_END, .conn = conn});
    CHECK_UINT(netclient_next(&c, &m), OK);
    CHECK_UINT(m.bytes.len, 60000);
    CHECK_UINT(netclient_wait_closed(&c), OK);
    netclient_close(&c);
    CHECK(world_next_op(&w, PIPE_CLOSE) != NULL);
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
    CHECK_UINT(world_join_greeted(&w, &idle, &conn), OK);
    CHECK_UINT(world_join_greeted(&w, &busy, &conn), OK);
    CHECK_UINT(netclient_send(&busy, &ping), OK);
    const struct seen *request = world_next_op(&w, PIPE_MESSAGE);
    CHECK(request != NULL);
    world_put(&w, &(struct pipe_record){.op = PIPE_DRAIN});
    CHECK_UINT(netclient_wait_closed(&idle), OK);
    netclient_close(&idle);
    world_answer(&w, request, ping_ok);
    CHECK_UINT(netclient_next(&busy, &m), OK);
    CHECK_UINT(m.id, 9);
    CHECK_UINT(netclient_wait_closed(&busy), OK);
    netclient_close(&busy);
    CHECK(world_next_op(&w, PIPE_BYE) != NULL);
    CHECK_UINT((unsigned)world_exit_status(&w), 0);
    CHECK(netclient_connect(&late, &w.address) != OK);
}

static void draining_does_not_wait_for_ever(void)
{
    CLEANUP(world_clear) struct world w = {.config = {.drain_ms = 200}};
    CLEANUP(netclient_close) struct netclient c = {0};
    const struct message ping = {FRAME_REQUEST, 9, {ping_ok, 2}};
    uint32_t conn = 0;
    CHECK_UINT(world_start(&w), OK);
    CHECK_UINT(world_join_greeted(&w, &c, &conn), OK);
    CHECK_UINT(netclient_send(&c, &ping), OK);
    CHECK(world_next_op(&w, PIPE_MESSAGE) != NULL);
    world_put(&w, &(struct pipe_record){.op = PIPE_DRAIN});
    CHECK(world_next_op(&w, PIPE_BYE) != NULL); /* the request has no answer */
    CHECK_UINT((unsigned)world_exit_status(&w), 0);
}

static void net_ends_with_an_error_when_the_store_dies(void)
{
    CLEANUP(world_clear) struct world w = {0};
    CLEANUP(netclient_close) struct netclient c = {0};
    uint32_t conn = 0;
    CHECK_UINT(world_start(&w), OK);
    CHECK_UINT(world_join_greeted(&w, &c, &conn), OK);
    pipe_free(&w.pipe);
    CHECK_UINT(netclient_wait_closed(&c), OK);
    CHECK_UINT((unsigned)world_exit_status(&w), ERR_IO);
}

static const struct test tests[] = {
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
    TEST(who_begins_too_much_goes_before_others),
    TEST(who_leaves_too_much_unread_goes_before_others),
    TEST(a_store_that_does_not_read_stops_the_clients),
    TEST(a_number_is_free_only_when_the_store_says_so),
    TEST(who_finds_no_room_waits_for_it),
    TEST(end_closes_after_what_was_sent),
    TEST(draining_lets_answers_out_and_then_ends),
    TEST(draining_does_not_wait_for_ever),
    TEST(net_ends_with_an_error_when_the_store_dies),
};
TEST_MAIN(tests)
