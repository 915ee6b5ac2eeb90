/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   accept --> handshake --> OPEN to the store --> requests and answers
 *                 |                                   |
 *              dropped                  client leaves, or store says END
 *                                                     |
 *                       number is free <-- CLOSED <-- CLOSE to the store
 *
 * A client's number is its place in `clients`. It is given again only after
 * the store has said CLOSED, so that nothing meant for one client reaches
 * another.
 */
#include "server/net_impl.h"

#include "base/mem.h"
#include "base/share.h"
#include "proto/message.h"
#include "sys/log.h"
#include "sys/net.h"

#include <assert.h>
#include <unistd.h>

#define OPEN_BYTES   (sizeof(uint64_t) + TLS_EXPORTER_SIZE)
#define REQUESTS_LOW (NET_REQUESTS_MAX / 2)

/* ---- Clients come and go ---- */

static void unhold(struct client *c)
{
    if (c->held_from == NULL)
        return;
    *c->held_from = c->next_held;
    if (c->next_held != NULL)
        c->next_held->held_from = c->held_from;
    c->held_from = NULL;
}

/* Memory of what is not whole yet. */
static size_t held_by(const struct client *c)
{
    return c->deframer.pending.cap + (c->web != NULL ? web_held(c->web) : 0);
}

void client_free(struct client *c)
{
    struct net *n = c->net;
    unhold(c);
    loop_timer_cancel(n->loop, &c->deadline);
    crowd_leave(&n->crowd, &c->guest);
    deframer_clear(&c->deframer);
    web_free(&c->web);
    stream_free(&c->stream);
    n->clients[c->number] = NULL;
    n->count--;
    if (c->opened)
        net_tell(n, PIPE_CLOSE, c->number);
    else
        n->unused[n->unused_count++] = c->number;
    mem_free(c, sizeof *c);
    net_emptied(n);
}

static void drop(struct client *c, const char *why)
{
    log_debug("net: dropped reason=%s", why);
    client_free(c);
}

static bool must_wait(const struct client *c)
{
    return c->requests >= NET_REQUESTS_MAX || c->net->draining ||
           (c->web != NULL && web_waits(c->web)) ||
           stream_queued(c->stream) >= c->net->config.slow_bytes;
}

static void start_rate(struct client *c)
{
    c->moved = 0;
    enum err err =
        loop_timer_set(c->net->loop, &c->deadline, c->net->config.rate_ms);
    (void)err; /* without room for a timer, the next part tries again */
}

/* Whoever has begun a message must go on with it, unless it is we who do not
 * read. The clock runs while something is not whole; it is looked at when it
 * has run out, so that a busy client costs nothing. */
static void check_rate(struct client *c)
{
    size_t held = c->guest.held;
    size_t want = held / NET_RATE_SHARE;
    if (want < NET_RATE_BYTES)
        want = NET_RATE_BYTES;
    if (held == 0)
        return;
    if (c->moved < want && c->held_from == NULL && !must_wait(c))
        drop(c, "too-slow");
    else
        start_rate(c);
}

static void client_late(void *ctx)
{
    struct client *c = ctx;
    if (c->ending || !c->greeted)
        drop(c, c->ending ? "does-not-close" : "no-hello");
    else if (c->web != NULL && web_asks(c->web))
        drop(c, "blob-too-slow");
    else
        check_rate(c);
}

void client_end(struct client *c)
{
    struct net *n = c->net;
    if (c->ending)
        return;
    c->ending = true;
    if (loop_timer_set(n->loop, &c->deadline, n->config.end_ms) != OK) {
        drop(c, "no-memory");
        return;
    }
    if (c->web != NULL)
        web_end(c->web);
    stream_end(c->stream);
}

/* ---- What all share ---- */

static size_t part_of(const struct client *c) { return c->guest.held; }

static size_t queue_of(const struct client *c)
{
    return stream_queued(c->stream);
}

/* When clients have taken more than `max` of what all share, those who have
 * most of it go, until half is free: who has little keeps it, and this is not
 * to be done again soon. Returns whether `c` is still there. */
static bool make_room(struct client *c, size_t max,
                      size_t (*taken)(const struct client *c))
{
    struct net *n = c->net;
    uint32_t number = c->number;
    struct share share = {{0}};
    for (size_t i = 0; i < n->config.clients_max; i++)
        if (n->clients[i] != NULL)
            share_add(&share, taken(n->clients[i]));
    unsigned limit = share_limit(&share, max / 2);
    for (size_t i = 0; i < n->config.clients_max; i++)
        if (n->clients[i] != NULL && share_level(taken(n->clients[i])) >= limit)
            drop(n->clients[i], "makes-room");
    return n->clients[number] != NULL;
}

/* ---- From clients to the store ---- */

static void hold(struct client *c)
{
    struct net *n = c->net;
    if (c->held_from != NULL)
        return;
    c->next_held = n->held;
    c->held_from = &n->held;
    if (c->next_held != NULL)
        c->next_held->held_from = &c->next_held;
    n->held = c;
}

void client_pace(struct client *c)
{
    if (pipe_queued(c->net->pipe) >= NET_PIPE_BYTES)
        hold(c);
    stream_pause(c->stream, c->held_from != NULL || must_wait(c));
}

void clients_go_on(struct net *n)
{
    while (n->held != NULL) {
        struct client *c = n->held;
        unhold(c);
        client_pace(c);
    }
}

static enum err forward(struct client *c, const struct message *m)
{
    const struct pipe_record r = {.op = PIPE_MESSAGE,
                                  .conn = c->number,
                                  .kind = (uint8_t)m->kind,
                                  .id = m->id,
                                  .bytes = m->bytes};
    if (m->kind != FRAME_REQUEST)
        return ERR_MALFORMED;
    TRY(pipe_put(c->net->pipe, &r));
    c->requests++;
    return OK;
}

static enum err take_frames(struct client *c, struct bytes bytes)
{
    for (bool ready = true; ready;) {
        struct message m;
        TRY(deframer_next(&c->deframer, &bytes, &m, &ready));
        if (ready)
            TRY(forward(c, &m));
    }
    return OK;
}

static enum err on_data(void *ctx, struct bytes bytes)
{
    struct client *c = ctx;
    struct net *n = c->net;
    enum err err =
        c->web != NULL ? web_data(c->web, bytes) : take_frames(c, bytes);
    size_t held = held_by(c);
    if (crowd_hold(&n->crowd, &c->guest, held) != OK)
        err = ERR_LIMIT;
    if (err != OK)
        return err;
    if (n->crowd.held > n->parts_max && !make_room(c, n->parts_max, part_of))
        return OK;                   /* it is gone */
    c->moved += (uint32_t)bytes.len; /* in one period it does not overflow */
    if (held > 0 && c->greeted && c->deadline.slot == 0)
        start_rate(c);
    client_pace(c);
    if (c->web != NULL && web_done(c->web))
        client_end(c); /* last: it may free the client */
    return OK;
}

/* From now on it is a client of the core, which has so long to say hello. */
static enum err open_at_store(struct client *c, uint64_t remote,
                              struct bytes exporter)
{
    uint8_t bytes[OPEN_BYTES];
    struct net *n = c->net;
    struct buf room = {bytes, 0, sizeof bytes, sizeof bytes}; /* enough */
    struct writer w = writer_to(&room);
    writer_u64(&w, remote);
    writer_raw(&w, exporter);
    TRY(writer_finish(&w));
    const struct pipe_record r = {
        .op = PIPE_OPEN, .conn = c->number, .bytes = buf_bytes(&room)};
    TRY(pipe_put(n->pipe, &r));
    c->opened = true;
    return loop_timer_set(n->loop, &c->deadline, n->config.hello_ms);
}

/* ---- Where it comes from ---- */

static struct client *client_of(struct guest *g)
{
    void *client = (char *)g - offsetof(struct client, guest);
    return client;
}

/* ERR_STATE: there are too many from there. */
static enum err enter(struct client *c, uint64_t remote)
{
    struct net *n = c->net;
    struct guest *evict = NULL;
    enum err err = crowd_enter(&n->crowd, &c->guest, remote, &evict);
    if (evict != NULL)
        drop(client_of(evict), "makes-room");
    if (err == OK && evict == NULL)
        return OK;
    n->turned_away++;
    return err == ERR_LIMIT ? ERR_STATE : err;
}

/* ---- Clients that speak HTTP ---- */

static enum err web_user_send(void *ctx, struct bytes bytes)
{
    struct client *c = ctx;
    return stream_send(c->stream, bytes);
}

/* A browser cannot see TLS's exporter, and a proxy has another. */
static enum err web_user_open(void *ctx, struct bytes origin)
{
    struct client *c = ctx;
    uint64_t remote = 0; /* all whom the proxy does not name */
    if (c->door == WEB_PUBLIC) {
        remote = crowd_remote(&c->guest);
    } else {
        if (origin.len == 0 || net_remote_parse(origin, &remote) != OK)
            log_debug("net: the proxy names no address");
        TRY(enter(c, remote));
    }
    c->net->web_clients++;
    return open_at_store(c, remote, (struct bytes){0});
}

static enum err web_user_ask(void *ctx, uint32_t id, struct bytes message)
{
    struct client *c = ctx;
    struct net *n = c->net;
    TRY(forward(c, &(struct message){FRAME_REQUEST, id, message}));
    return loop_timer_set(n->loop, &c->deadline, n->config.piece_ms);
}

static enum err web_user_frames(void *ctx, struct bytes bytes)
{
    return take_frames(ctx, bytes);
}

static bool web_user_healthy(void *ctx)
{
    const struct client *c = ctx;
    const struct net *n = c->net;
    return n->pulse_ms != 0 && !n->draining &&
           loop_now(n->loop) - n->pulse_ms <= NET_PULSE_MS;
}

static enum err web_user_metrics(void *ctx, struct buf *out)
{
    const struct client *c = ctx;
    return metrics_text(&c->net->metrics, out);
}

static const struct web_user web_user = {web_user_send,    web_user_open,
                                         web_user_ask,     web_user_frames,
                                         web_user_healthy, web_user_metrics};

/* Last, since it may free the client. */
static void web_went(struct client *c, enum err err)
{
    if (err != OK) {
        drop(c, "blob-cut-off");
        return;
    }
    client_pace(c);
    /* A blob that is cut off by the server's end is gone on with later. */
    if (web_done(c->web) || (c->net->draining && c->requests == 0))
        client_end(c);
}

/* ---- What happens on a connection ---- */

static enum err begin_web(struct client *c)
{
    TRY(web_create((enum web_door)c->door, &web_user, c, &c->web));
    return loop_timer_set(c->net->loop, &c->deadline, c->net->config.hello_ms);
}

static enum err begin_sotto(struct client *c)
{
    uint8_t exporter[TLS_EXPORTER_SIZE];
    TRY(stream_exporter(c->stream, exporter));
    return open_at_store(c, crowd_remote(&c->guest), BYTES_ARRAY(exporter));
}

static void on_up(void *ctx)
{
    struct client *c = ctx;
    bool http = stream_protocol(c->stream) == TLS_HTTP;
    if ((http ? begin_web(c) : begin_sotto(c)) != OK) {
        drop(c, "no-memory");
        return;
    }
    client_pace(c);
}

static void on_drained(void *ctx)
{
    struct client *c = ctx;
    if (c->web != NULL)
        web_went(c, web_drained(c->web));
    else
        client_pace(c);
}

static void on_down(void *ctx, const struct problem *why)
{
    if (why->kind != PROBLEM_NONE)
        log_debug("net: lost reason=\"%s\"", why->detail);
    client_free(ctx);
}

static const struct stream_user stream_user = {on_up, on_data, on_drained,
                                               on_down};
/* ---- Welcoming ---- */

enum err client_welcome(struct net *n, enum web_door door, int fd)
{
    struct client *c = mem_alloc(sizeof *c);
    struct tls_context *tls = door == WEB_PUBLIC ? n->config.tls : NULL;
    if (c == NULL) {
        (void)close(fd);
        return ERR_NOMEM;
    }
    c->net = n;
    c->deframer = deframer_new(MESSAGE_EARLY_MAX);
    c->deadline = (struct timer){.fire = client_late, .ctx = c};
    c->door = (uint8_t)door;
    uint64_t remote = net_remote(fd);
    enum err err =
        stream_accept(n->streams, tls, fd, &stream_user, c, &c->stream);
    if (err == OK)
        err = loop_timer_set(n->loop, &c->deadline, n->config.handshake_ms);
    if (err == OK && door == WEB_PUBLIC)
        err = enter(c, remote);
    if (err != OK) {
        loop_timer_cancel(n->loop, &c->deadline);
        stream_free(&c->stream);
        mem_free(c, sizeof *c);
        return err;
    }
    c->number = n->unused[--n->unused_count];
    n->clients[c->number] = c;
    n->count++;
    n->accepted++;
    return OK;
}

/* ---- From the store to clients ---- */

static uint16_t method_of(struct bytes message)
{
    struct reader r = reader_of(message);
    return reader_u16(&r);
}

/* Notices the answer that lets a client go on from hello. */
static void watch_for_hello(struct client *c, struct bytes answer)
{
    struct reader r = reader_of(answer);
    uint16_t method = reader_u16(&r);
    uint8_t status = reader_u8(&r);
    if (c->greeted || method != METHOD_HELLO || status != STATUS_OK)
        return;
    c->greeted = true;
    crowd_settle(&c->net->crowd, &c->guest);
    loop_timer_cancel(c->net->loop, &c->deadline);
    deframer_limit(&c->deframer, MESSAGE_MAX);
    if (c->guest.held > 0)
        start_rate(c); /* it has begun a message before it was greeted */
}

static enum err send_message(struct client *c, const struct pipe_record *r)
{
    const struct message m = {(enum frame_kind)r->kind, r->id, r->bytes};
    size_t size = frame_size(r->bytes.len);
    uint8_t *to = NULL;
    if (c->web != NULL)
        TRY(web_announce(c->web, size));
    TRY(stream_extend(c->stream, size, &to));
    struct buf room = {to, 0, size, size}; /* borrowed, and exactly enough */
    enum err err = frame_write(&room, &m);
    assert(err == OK && room.data == to && room.len == size);
    return err;
}

void client_message(struct client *c, const struct pipe_record *r)
{
    struct net *n = c->net;
    size_t queued = stream_queued(c->stream);
    if (c->ending || r->bytes.len == 0)
        return;
    if (r->kind == FRAME_EVENT && method_of(r->bytes) == EVENT_ENTRY &&
        queued >= n->config.slow_bytes) {
        net_tell(n, PIPE_SLOW, c->number);
        return;
    }
    if (queued > NET_QUEUE_MAX) {
        drop(c, "does-not-read");
        return;
    }
    if (streams_queued(n->streams) > n->queues_max &&
        !make_room(c, n->queues_max, queue_of))
        return;
    if (r->kind == FRAME_ANSWER) {
        watch_for_hello(c, r->bytes);
        c->requests -= c->requests > 0;
    }
    if (c->web != NULL && web_asks(c->web)) {
        web_went(c, web_answer(c->web, r->bytes));
        return;
    }
    if (send_message(c, r) != OK) {
        drop(c, "no-memory");
        return;
    }
    if (n->draining && c->requests == 0)
        client_end(c);
    else if (c->requests == REQUESTS_LOW || queued > 0)
        client_pace(c);
}
