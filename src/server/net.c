/* SPDX-License-Identifier: Apache-2.0 */
/* The whole: what listens, what the store says, and how it ends. */
#include "server/net_impl.h"

#include "base/mem.h"
#include "crypto/entropy.h"
#include "sys/log.h"
#include "sys/net.h"
#include "sys/process.h"

#include <assert.h>
#include <unistd.h>

#define WARN_PAUSE_MS 60000U
#define PARTS_LEAST   ((size_t)4 * MESSAGE_MAX)
#define QUEUES_LEAST  ((size_t)2 * NET_QUEUE_MAX)

static void finish(struct net *n, enum err err)
{
    if (n->done)
        return;
    n->done = true;
    n->err = err;
    loop_stop(n->loop);
}

void net_fail(struct net *n, enum err err, const char *what)
{
    if (!n->done)
        (void)problem_set(&n->problem, err, PROBLEM_SYSTEM, "%s", what);
    finish(n, err);
}

void net_tell(struct net *n, uint8_t op, uint32_t number)
{
    const struct pipe_record r = {.op = op, .conn = number};
    enum err err = pipe_put(n->pipe, &r);
    if (err != OK)
        net_fail(n, err, "out of memory for the store's queue");
}

void net_emptied(struct net *n)
{
    if (n->draining && n->count == 0 && !n->done) {
        loop_timer_cancel(n->loop, &n->drain);
        net_tell(n, PIPE_BYE, 0); /* the end comes when it has left */
    }
}

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
            net_fail(n, ERR_IO, "cannot watch a listener");
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
        net_fail(n, ERR_NOMEM, "out of memory for a timer");
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
            err = client_welcome(n, (enum web_door)(door - n->doors), fd);
        if (err == ERR_NOTFOUND)
            return;
        if (err == ERR_LIMIT ||
            err == ERR_NOMEM) { /* as opposed to ERR_STATE */
            rest(n);
            return;
        }
    }
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
    pipe_trim(n->pipe);
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
            client_message(c, r);
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
        net_fail(n, ERR_MALFORMED, "the store process sent nonsense");
    }
}

static void pipe_drained(void *ctx)
{
    struct net *n = ctx;
    clients_go_on(n);
    if (n->draining && n->count == 0)
        finish(n, OK);
}

static void pipe_ended(void *ctx, enum err err)
{
    (void)err;
    net_fail(ctx, ERR_IO, "the store process is gone");
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
        net_fail(net, ERR_NOMEM, "out of memory for a timer");
        return;
    }
    log_info("net: draining clients=%zu", net->count);
    if (net->count == 0)
        net_emptied(net);
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
