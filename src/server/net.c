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
#include "server/net.h"

#include "base/mem.h"
#include "crypto/entropy.h"
#include "proto/frame.h"
#include "proto/message.h"
#include "server/crowd.h"
#include "server/metrics.h"
#include "server/pipe.h"
#include "server/web.h"
#include "sys/log.h"
#include "sys/net.h"
#include "sys/process.h"
#include "sys/stream.h"

#include <assert.h>
#include <string.h>
#include <unistd.h>

#define OPEN_BYTES    (sizeof(uint64_t) + TLS_EXPORTER_SIZE)
#define WARN_PAUSE_MS 60000U
#define PARTS_LEAST   ((size_t)4 * MESSAGE_MAX)
#define QUEUES_LEAST  ((size_t)2 * NET_QUEUE_MAX)
#define REQUESTS_LOW  (NET_REQUESTS_MAX / 2)

struct client {
    struct net *net;
    struct stream *stream;
    struct web *web; /* speaks HTTP; NULL: our own protocol */
    struct deframer deframer;
    struct timer deadline;
    struct client *next_held; /* list: waits for room in the pipe */
    struct guest guest;
    uint32_t number;
    uint32_t requests; /* under way */
    uint32_t moved;    /* bytes that came since the deadline was set */
    bool opened;       /* the store knows of it */
    bool greeted;      /* the hello was answered */
    bool ending;
    bool held;
    uint8_t door; /* enum web_door */
};

/* A socket that listens. */
struct door {
    struct net *net;
    struct watch watch; /* its descriptor is 0 where there is none */
};

struct net {
    struct loop *loop;
    struct net_config config;
    struct tls_context *renewed; /* in the place of the first; NULL: not yet */
    struct streams *streams;
    struct pipe *pipe;
    struct door doors[WEB_DOORS_];
    struct timer rest;  /* the doors are not watched until then */
    struct timer drain; /* the end of patience */
    struct client **clients;
    uint32_t *unused; /* numbers, a stack of unused_count */
    size_t unused_count;
    size_t count; /* clients that live */
    struct client *held;
    uint64_t warn_again_ms;
    struct crowd crowd;
    size_t parts_max; /* this process's part of what all may hold */
    size_t queues_max;
    struct metrics metrics; /* of all processes, as the store last told */
    uint64_t accepted;
    uint64_t turned_away;
    uint64_t web_clients;
    int memory;        /* process_memory_open */
    uint64_t pulse_ms; /* when the store last sent its part; 0: never */
    bool listening;
    bool draining;
    bool done;
    enum err err;
    struct problem problem;
};

static void finish(struct net *n, enum err err)
{
    if (n->done)
        return;
    n->done = true;
    n->err = err;
    loop_stop(n->loop);
}

static void fail(struct net *n, enum err err, const char *what)
{
    if (!n->done)
        (void)problem_set(&n->problem, err, PROBLEM_SYSTEM, "%s", what);
    finish(n, err);
}

/* What the store must not miss. */
static void tell_store(struct net *n, uint8_t op, uint32_t number)
{
    const struct pipe_record r = {.op = op, .conn = number};
    enum err err = pipe_put(n->pipe, &r);
    if (err != OK)
        fail(n, err, "out of memory for the store's queue");
}

/* ---- Clients come and go ---- */

static void unhold(struct client *c)
{
    struct client **at = &c->net->held;
    if (!c->held)
        return;
    while (*at != c)
        at = &(*at)->next_held;
    *at = c->next_held;
    c->held = false;
}

static void drain_check(struct net *n)
{
    if (n->draining && n->count == 0 && !n->done) {
        loop_timer_cancel(n->loop, &n->drain);
        tell_store(n, PIPE_BYE, 0); /* the end comes when it has left */
    }
}

/* Memory of what is not whole yet. */
static size_t held_by(const struct client *c)
{
    return c->deframer.pending.cap + (c->web != NULL ? web_held(c->web) : 0);
}

static void client_free(struct client *c)
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
        tell_store(n, PIPE_CLOSE, c->number);
    else
        n->unused[n->unused_count++] = c->number;
    mem_free(c, sizeof *c);
    drain_check(n);
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
    if (c->moved < want && !c->held && !must_wait(c))
        drop(c, "too-slow");
    else
        start_rate(c);
}

static void client_late(void *ctx)
{
    struct client *c = ctx;
    if (c->greeted && !c->ending)
        check_rate(c);
    else
        drop(c, c->ending ? "does-not-close" : "no-hello");
}

/* Lets what is queued out, within bounds. */
static void client_end(struct client *c)
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

/* ---- From clients to the store ---- */

static void hold(struct client *c)
{
    if (c->held)
        return;
    c->held = true;
    c->next_held = c->net->held;
    c->net->held = c;
}

/* Decides whether the client is read from. */
static void client_pace(struct client *c)
{
    if (pipe_queued(c->net->pipe) >= NET_PIPE_BYTES)
        hold(c);
    stream_pause(c->stream, c->held || must_wait(c));
}

static void pipe_drained(void *ctx)
{
    struct net *n = ctx;
    while (n->held != NULL) {
        struct client *c = n->held;
        unhold(c);
        client_pace(c);
    }
    if (n->draining && n->count == 0)
        finish(n, OK);
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
    if (crowd_hold(&n->crowd, &c->guest, held) != OK ||
        n->crowd.held > n->parts_max)
        err = ERR_LIMIT;
    if (err != OK)
        return err;
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

/* ---- Accepting ---- */

static void listen_no_more(struct net *n)
{
    for (size_t i = 0; i < WEB_DOORS_; i++)
        loop_unwatch(n->loop, &n->doors[i].watch);
    n->listening = false;
}

static void listen_again(struct net *n)
{
    if (n->listening || n->draining)
        return;
    n->listening = true;
    for (size_t i = 0; i < WEB_DOORS_; i++) {
        struct watch *w = &n->doors[i].watch;
        if (w->fd > 0 && loop_watch(n->loop, w, EPOLLIN) != OK)
            fail(n, ERR_IO, "cannot watch a listener");
    }
}

static void rested(void *ctx) { listen_again(ctx); }

/* Gives the system time; who wants to connect waits in the kernel's queue. */
static void rest(struct net *n)
{
    if (loop_now(n->loop) >= n->warn_again_ms) {
        log_warn("net: no room for connections count=%zu", n->count);
        n->warn_again_ms = loop_now(n->loop) + WARN_PAUSE_MS;
    }
    listen_no_more(n);
    if (loop_timer_set(n->loop, &n->rest, NET_ACCEPT_REST_MS) != OK)
        fail(n, ERR_NOMEM, "out of memory for a timer");
}

static enum err welcome(struct net *n, enum web_door door, int fd)
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

static void on_listener(void *ctx, uint32_t events)
{
    struct door *door = ctx;
    struct net *n = door->net;
    (void)events;
    for (int i = 0; i < NET_ACCEPTS; i++) {
        int fd = -1;
        if (n->unused_count == 0) {
            rest(n);
            return;
        }
        enum err err = net_accept(door->watch.fd, &fd);
        if (err == OK)
            err = welcome(n, (enum web_door)(door - n->doors), fd);
        if (err == ERR_NOTFOUND)
            return;
        if (err == ERR_LIMIT ||
            err == ERR_NOMEM) { /* as opposed to ERR_STATE */
            rest(n);
            return;
        }
    }
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

static void on_message(struct client *c, const struct pipe_record *r)
{
    struct net *n = c->net;
    size_t queued = stream_queued(c->stream);
    if (c->ending || r->bytes.len == 0)
        return;
    if (r->kind == FRAME_EVENT && method_of(r->bytes) == EVENT_ENTRY &&
        queued >= n->config.slow_bytes) {
        tell_store(n, PIPE_SLOW, c->number);
        return;
    }
    if (queued > NET_QUEUE_MAX ||
        (queued > 0 && streams_queued(n->streams) > n->queues_max)) {
        drop(c, "does-not-read");
        return;
    }
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

static void on_stats(struct net *n, struct bytes bytes)
{
    const struct metrics own = {
        .numbers = {[METRIC_CLIENTS] = n->count,
                    [METRIC_ACCEPTED] = n->accepted,
                    [METRIC_TURNED_AWAY] = n->turned_away,
                    [METRIC_WEB_CLIENTS] = n->web_clients,
                    [METRIC_QUEUED_BYTES] = streams_queued(n->streams),
                    [METRIC_PARTS_BYTES] = n->crowd.held,
                    [METRIC_NET_MEMORY] = process_memory(n->memory)}};
    uint8_t room[METRICS_SIZE];
    const struct pipe_record r = {.op = PIPE_STATS,
                                  .bytes = metrics_write(&own, room)};
    metrics_read(bytes, &n->metrics);
    n->pulse_ms = loop_now(n->loop);
    if (n->draining)
        return; /* nothing may come after BYE */
    if (pipe_put(n->pipe, &r) != OK)
        log_debug("net: out of memory for its numbers");
}

/* Connections that are up keep the certificate that they began with. */
static void on_tls(struct net *n, struct bytes bytes)
{
    struct tls_context *fresh = NULL;
    struct problem p = {0};
    struct reader r = reader_of(bytes);
    struct bytes cert = reader_vec(&r);
    struct bytes key = reader_vec(&r);
    enum err err = reader_finish(&r);
    if (err == OK)
        err = tls_server_create(cert, key, &fresh, &p);
    if (err != OK) {
        log_error("net: keeps its certificate reason=\"%s\"", p.detail);
        return;
    }
    tls_context_free(&n->renewed);
    n->renewed = fresh;
    n->config.tls = fresh;
}

static void on_record(void *ctx, const struct pipe_record *r)
{
    struct net *n = ctx;
    struct client *c =
        r->conn < n->config.clients_max ? n->clients[r->conn] : NULL;
    switch (r->op) {
    case PIPE_MESSAGE:
        if (c != NULL)
            on_message(c, r);
        break;
    case PIPE_END:
        if (c != NULL)
            client_end(c);
        break;
    case PIPE_CLOSED:
        assert(c == NULL && n->unused_count < n->config.clients_max);
        n->unused[n->unused_count++] = r->conn;
        break;
    case PIPE_START:
        listen_again(n);
        break;
    case PIPE_DRAIN:
        net_drain(n);
        break;
    case PIPE_STATS:
        on_stats(n, r->bytes);
        break;
    case PIPE_TLS:
        on_tls(n, r->bytes);
        break;
    default:
        fail(n, ERR_MALFORMED, "the store process sent nonsense");
    }
}

static void pipe_ended(void *ctx, enum err err)
{
    (void)err;
    fail(ctx, ERR_IO, "the store process is gone");
}

static const struct pipe_user pipe_user = {on_record, pipe_drained, pipe_ended};

/* ---- The whole ---- */

static void out_of_patience(void *ctx)
{
    struct net *n = ctx;
    log_warn("net: drained late left=%zu", n->count);
    for (size_t i = 0; i < n->config.clients_max; i++)
        if (n->clients[i] != NULL)
            client_free(n->clients[i]);
}

void net_drain(struct net *net)
{
    if (net->draining)
        return;
    net->draining = true;
    listen_no_more(net);
    loop_timer_cancel(net->loop, &net->rest);
    if (loop_timer_set(net->loop, &net->drain, net->config.drain_ms) != OK) {
        fail(net, ERR_NOMEM, "out of memory for a timer");
        return;
    }
    log_info("net: draining clients=%zu", net->count);
    if (net->count == 0)
        drain_check(net);
    for (size_t i = 0; i < net->config.clients_max; i++) {
        struct client *c = net->clients[i];
        if (c == NULL)
            continue;
        if (c->requests == 0)
            client_end(c);
        else
            client_pace(c);
    }
}

static size_t at_least(size_t n, size_t least) { return n > least ? n : least; }

static void set_defaults(struct net_config *c)
{
    if (c->clients_max == 0)
        c->clients_max = NET_CLIENTS_MAX;
    if (c->handshake_ms == 0)
        c->handshake_ms = NET_HANDSHAKE_MS;
    if (c->hello_ms == 0)
        c->hello_ms = NET_HELLO_MS;
    if (c->end_ms == 0)
        c->end_ms = NET_END_MS;
    if (c->piece_ms == 0)
        c->piece_ms = NET_PIECE_MS;
    if (c->drain_ms == 0)
        c->drain_ms = NET_DRAIN_MS;
    if (c->slow_bytes == 0)
        c->slow_bytes = NET_SLOW_BYTES;
    if (c->rate_ms == 0)
        c->rate_ms = NET_RATE_MS;
    if (c->processes == 0)
        c->processes = 1;
    /* the system spreads a network's connections over the processes */
    c->network_max = (c->network_max + c->processes - 1) / c->processes;
    if (c->network_max == 0)
        c->network_max = at_least(c->clients_max / NET_SHARE, 1);
}

/* At most half of the room for clients is for early ones. */
static void set_bounds(struct net *n)
{
    const struct net_config *c = &n->config;
    const struct random random = entropy_system();
    size_t early = NET_EARLY_MAX / c->processes;
    if (early > c->clients_max / 2)
        early = c->clients_max / 2;
    n->parts_max = at_least(NET_PARTS_MAX / c->processes, PARTS_LEAST);
    n->queues_max = at_least(NET_QUEUES_MAX / c->processes, QUEUES_LEAST);
    const struct crowd_limits limits = {
        .network_max = c->no_limits ? 0 : c->network_max,
        .network_early_max = at_least(early / NET_EARLY_SHARE, 1),
        .network_bytes = at_least(n->parts_max / NET_SHARE, MESSAGE_MAX),
        .early_max = at_least(early, 1)};
    n->crowd = crowd_new(&limits, &random);
}

static enum err set_up(struct net *n, int pipe)
{
    size_t max = n->config.clients_max;
    /* First the streams: what they pass on then leaves in the same round. */
    enum err err = streams_create(n->loop, &n->streams);
    if (err != OK) {
        (void)close(pipe);
        return err;
    }
    TRY(pipe_create(n->loop, pipe, &pipe_user, n, &n->pipe));
    n->clients = mem_alloc(max * sizeof(struct client *));
    n->unused = mem_alloc(max * sizeof *n->unused);
    if (n->clients == NULL || n->unused == NULL)
        return ERR_NOMEM;
    while (n->unused_count < max) {
        n->unused[n->unused_count] = (uint32_t)(max - 1 - n->unused_count);
        n->unused_count++;
    }
    return OK;
}

enum err net_create(struct loop *loop, const struct net_config *config,
                    struct net **out_net, struct problem *p)
{
    CLEANUP(net_free) struct net *n = mem_alloc(sizeof *n);
    enum err err = ERR_NOMEM;
    const int listeners[WEB_DOORS_] = {[WEB_PUBLIC] = config->listener,
                                       [WEB_PROXY] = config->proxy,
                                       [WEB_ADMIN] = config->admin};
    if (n == NULL) {
        (void)close(config->pipe);
        for (size_t i = 0; i < WEB_DOORS_; i++)
            if (listeners[i] > 0)
                (void)close(listeners[i]);
    } else {
        n->loop = loop;
        n->config = *config;
        set_defaults(&n->config);
        set_bounds(n);
        for (size_t i = 0; i < WEB_DOORS_; i++) {
            struct door *d = &n->doors[i];
            *d = (struct door){n, {listeners[i], on_listener, d}};
        }
        n->rest = (struct timer){.fire = rested, .ctx = n};
        n->memory = process_memory_open();
        n->drain = (struct timer){.fire = out_of_patience, .ctx = n};
        err = set_up(n, config->pipe);
    }
    if (err != OK)
        return problem_set(p, err, PROBLEM_SYSTEM,
                           "cannot set up the network: %s", err_text(err));
    *out_net = n;
    n = NULL; /* handed over */
    return OK;
}

void net_free(struct net **net)
{
    struct net *n = *net;
    if (n == NULL)
        return;
    n->done = true;
    n->draining = false;
    for (size_t i = 0; n->clients != NULL && i < n->config.clients_max; i++)
        if (n->clients[i] != NULL)
            client_free(n->clients[i]);
    crowd_clear(&n->crowd);
    listen_no_more(n);
    loop_timer_cancel(n->loop, &n->rest);
    loop_timer_cancel(n->loop, &n->drain);
    for (size_t i = 0; i < WEB_DOORS_; i++)
        if (n->doors[i].watch.fd > 0)
            (void)close(n->doors[i].watch.fd);
    pipe_free(&n->pipe);
    streams_free(&n->streams);
    tls_context_free(&n->renewed);
    if (n->memory >= 0)
        (void)close(n->memory);
    mem_free(n->clients, n->config.clients_max * sizeof(struct client *));
    mem_free(n->unused, n->config.clients_max * sizeof *n->unused);
    mem_free(n, sizeof *n);
    *net = NULL;
}

enum err net_result(const struct net *net, struct problem *p)
{
    if (net->err != OK && p != NULL)
        *p = net->problem;
    return net->err;
}

size_t net_clients(const struct net *net) { return net->count; }
