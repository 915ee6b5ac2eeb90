/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/runner.h"

#include "base/mem.h"
#include "client/client.h"
#include "proto/frame.h"
#include "sql/sql.h"
#include "sys/clock.h"
#include "sys/stream.h"

#include <signal.h>
#include <string.h>

#define BACKOFF_MIN_MS  500U
#define BACKOFF_MAX_MS  60000U
#define FIRST_JITTER_MS 50U /* the two lanes do not connect together */
#define FRAMES_MAX      (MESSAGE_MAX + (1U << 20))
#define WAIT_MAX_MS     3600000U

struct link {
    struct link *next;
    struct runner *runner;
    size_t lane;
    struct stream *stream; /* NULL: not connected */
    bool up;
    struct deframer deframer;
    struct timer retry;
    bool waiting; /* `retry` is set */
    unsigned failures;
};

struct runner {
    struct client *client;
    const struct random *random;
    struct loop *loop;
    struct streams *streams;
    struct tls_context *tls;
    struct link *links;
    struct timer deadline;
    struct hook hook;
    struct watch input;
    void (*input_ready)(void *ctx);
    void *input_ctx;
    bool ended;   /* by a signal */
    bool reached; /* a server was spoken with */
    enum err failed;
    struct problem failure; /* of the store */
    struct problem network; /* the last one */
    unsigned failures;
    struct sql *db;
};

static void fail(struct runner *r, enum err err)
{
    if (err == OK || r->failed != OK)
        return;
    r->failed = err;
    const struct problem *p = sql_problem(r->db);
    if (err == ERR_IO && p->kind != PROBLEM_NONE)
        r->failure = *p;
    else
        (void)problem_set(&r->failure, err, PROBLEM_SYSTEM,
                          "the client cannot go on: %s", err_text(err));
}

/* --- one link --- */

static void link_close(struct link *l)
{
    bool was_up = l->up;
    l->up = false;
    stream_free(&l->stream);
    deframer_clear(&l->deframer);
    if (was_up)
        client_lane_down(l->runner->client, l->lane, clock_wall_ms());
}

static uint64_t jitter(struct runner *r, uint64_t span)
{
    uint8_t raw[4];
    random_fill(r->random, raw, sizeof raw);
    uint64_t v = (uint64_t)raw[0] << 24 | (uint64_t)raw[1] << 16 |
                 (uint64_t)raw[2] << 8 | raw[3];
    return span == 0 ? 0 : v % span;
}

static void link_retry_in(struct link *l, uint64_t delay_ms)
{
    l->waiting = true;
    fail(l->runner, loop_timer_set(l->runner->loop, &l->retry, delay_ms));
}

/* Full jitter, so that many clients do not come back together. */
static void link_back_off(struct link *l)
{
    struct runner *r = l->runner;
    unsigned shift = l->failures < 8 ? l->failures : 8;
    uint64_t span = (uint64_t)BACKOFF_MIN_MS << shift;
    if (span > BACKOFF_MAX_MS)
        span = BACKOFF_MAX_MS;
    l->failures++;
    span += client_lane_at(r->client, l->lane).reconnect_ms;
    link_retry_in(l, span / 4 + jitter(r, span));
}

static void on_up(void *ctx)
{
    struct link *l = ctx;
    struct runner *r = l->runner;
    uint8_t exporter[TLS_EXPORTER_SIZE];
    if (stream_exporter(l->stream, exporter) != OK) {
        link_close(l);
        link_back_off(l);
        return;
    }
    l->up = true;
    r->reached = true;
    r->network = (struct problem){0};
    r->failures = 0;
    fail(r, client_lane_up(r->client, l->lane, BYTES_ARRAY(exporter),
                           clock_wall_ms()));
}

static enum err on_data(void *ctx, struct bytes bytes)
{
    struct link *l = ctx;
    struct runner *r = l->runner;
    for (bool ready = true; ready;) {
        struct message m = {0};
        TRY(deframer_next(&l->deframer, &bytes, &m, &ready));
        if (!ready)
            break;
        enum err err = client_receive(r->client, l->lane, (uint8_t)m.kind, m.id,
                                      m.bytes, clock_wall_ms());
        if (err != OK) {
            fail(r, err);
            return err;
        }
        if (client_lane_at(r->client, l->lane).ready) {
            l->failures = 0;
            deframer_limit(&l->deframer, MESSAGE_MAX);
        }
    }
    return OK;
}

static void on_down(void *ctx, const struct problem *why)
{
    struct link *l = ctx;
    struct runner *r = l->runner;
    if (why->kind != PROBLEM_NONE)
        (void)problem_set(&r->network, ERR_IO, why->kind, "%.80s: %s",
                          client_lane_at(r->client, l->lane).address,
                          why->detail);
    r->failures++;
    link_close(l);
    link_back_off(l);
}

static const struct stream_user user = {
    .up = on_up, .data = on_data, .down = on_down};

static enum err link_target(struct runner *r, const struct client_lane *lane,
                            struct net_name *name, struct stream_target *out)
{
    TRY(net_name_parse(lane->address, name, &r->network));
    TRY(net_resolve(name, &out->addresses, &r->network));
    out->context = r->tls;
    out->peer.host = name->host;
    switch (lane->trust) {
    case CLIENT_TRUST_SYSTEM:
        out->peer.trust = TLS_TRUST_SYSTEM;
        break;
    case CLIENT_TRUST_FINGERPRINT:
        out->peer.trust = TLS_TRUST_PIN;
        memcpy(out->peer.pin, lane->fingerprint.data, sizeof out->peer.pin);
        break;
    case CLIENT_TRUST_KEY: /* the machine checks the signature in hello */
        out->peer.trust = TLS_TRUST_CALLER;
        break;
    }
    return OK;
}

static void link_connect(void *ctx)
{
    struct link *l = ctx;
    struct runner *r = l->runner;
    l->waiting = false;
    struct client_lane lane = client_lane_at(r->client, l->lane);
    if (!lane.wanted || l->stream != NULL)
        return;
    struct net_name name = {0};
    struct stream_target target = {0};
    l->deframer = deframer_new(MESSAGE_EARLY_MAX);
    enum err err = link_target(r, &lane, &name, &target);
    if (err == OK)
        err = stream_connect(r->streams, &target, &user, l, &l->stream);
    if (err != OK) {
        r->failures++;
        link_back_off(l);
    }
}

static struct link *link_of(struct runner *r, size_t lane)
{
    struct link *l = r->links;
    while (l != NULL && l->lane != lane)
        l = l->next;
    return l;
}

static enum err link_add(struct runner *r, size_t lane)
{
    struct link *l = mem_alloc(sizeof *l);
    if (l == NULL)
        return ERR_NOMEM;
    l->runner = r;
    l->lane = lane;
    l->retry = (struct timer){.fire = link_connect, .ctx = l};
    l->next = r->links;
    r->links = l;
    return OK;
}

/* --- the end of each round --- */

static void send_output(struct runner *r, struct client_output *o)
{
    struct link *l = link_of(r, o->lane);
    if (l == NULL || l->stream == NULL)
        return; /* the lane went down; the client will ask again */
    if (o->close) {
        l->up = false; /* the client knows */
        link_close(l);
        link_back_off(l);
        return;
    }
    CLEANUP(buf_clear) struct buf frames = buf_new(FRAMES_MAX);
    struct message m = {.kind = (enum frame_kind)o->kind,
                        .id = o->id,
                        .bytes = buf_bytes(&o->message)};
    enum err err = frame_write(&frames, &m);
    if (err == OK)
        err = stream_send(l->stream, buf_bytes(&frames));
    fail(r, err);
}

static void send_outputs(struct runner *r)
{
    struct client_output o;
    while (client_take_output(r->client, &o)) {
        send_output(r, &o);
        buf_clear(&o.message);
    }
}

static void connect_lanes(struct runner *r)
{
    for (size_t i = 0; i < client_lane_count(r->client); i++) {
        if (link_of(r, i) == NULL)
            fail(r, link_add(r, i));
        struct link *l = link_of(r, i);
        if (l != NULL && l->stream == NULL && !l->waiting &&
            client_lane_at(r->client, i).wanted)
            link_retry_in(l, jitter(r, FIRST_JITTER_MS));
    }
}

static void set_deadline(struct runner *r)
{
    uint64_t at = client_deadline(r->client);
    uint64_t now = clock_wall_ms();
    if (at == UINT64_MAX) {
        loop_timer_cancel(r->loop, &r->deadline);
        return;
    }
    uint64_t wait = at > now ? at - now : 0;
    if (wait > WAIT_MAX_MS)
        wait = WAIT_MAX_MS; /* the wall clock may be set meanwhile */
    fail(r, loop_timer_set(r->loop, &r->deadline, wait));
}

static void after_round(void *ctx)
{
    struct runner *r = ctx;
    send_outputs(r);
    connect_lanes(r);
    set_deadline(r);
}

static void on_deadline(void *ctx)
{
    struct runner *r = ctx;
    fail(r, client_tick(r->client, clock_wall_ms()));
}

static void on_signal(void *ctx, int signal)
{
    struct runner *r = ctx;
    (void)signal;
    r->ended = true;
}

/* --- life --- */

static const int end_signals[] = {SIGTERM, SIGINT, SIGHUP, 0};

enum err runner_create(const struct runner_parts *parts, struct runner **out,
                       struct problem *p)
{
    CLEANUP(runner_free) struct runner *r = mem_alloc(sizeof *r);
    if (r == NULL)
        return ERR_NOMEM;
    r->random = parts->random;
    r->db = parts->db;
    TRY(loop_create(&r->loop, p));
    TRY(streams_create(r->loop, &r->streams));
    TRY(tls_client_create(&r->tls, p));
    struct client_settings settings = {
        .crypto = parts->crypto, .random = parts->random, .db = parts->db};
    enum err err = client_create(&settings, clock_wall_ms(), &r->client);
    if (err != OK) {
        const struct problem *why = sql_problem(parts->db);
        return problem_set(p, err, PROBLEM_DAMAGED,
                           "the profile's store cannot be used: %.120s",
                           why->kind != PROBLEM_NONE ? why->detail
                                                     : err_text(err));
    }
    r->deadline = (struct timer){.fire = on_deadline, .ctx = r};
    r->hook = (struct hook){.run = after_round, .ctx = r};
    loop_hook_add(r->loop, &r->hook);
    TRY(loop_signals(r->loop, end_signals, on_signal, r, p));
    connect_lanes(r);
    *out = r;
    r = NULL; /* handed over */
    return OK;
}

void runner_free(struct runner **runner)
{
    struct runner *r = *runner;
    if (r == NULL)
        return;
    for (struct link *l = r->links, *next; l != NULL; l = next) {
        next = l->next;
        loop_timer_cancel(r->loop, &l->retry);
        stream_free(&l->stream);
        deframer_clear(&l->deframer);
        mem_free(l, sizeof *l);
    }
    if (r->input.fd > 0)
        loop_unwatch(r->loop, &r->input);
    client_free(&r->client);
    streams_free(&r->streams);
    tls_context_free(&r->tls);
    loop_free(&r->loop);
    mem_free(r, sizeof *r);
    *runner = NULL;
}

struct client *runner_client(struct runner *r) { return r->client; }

enum err runner_round(struct runner *r, int timeout_ms, struct problem *p)
{
    after_round(r); /* what commands have queued since the last one */
    enum err err = loop_round(r->loop, timeout_ms);
    if (err != OK)
        return problem_set(p, err, PROBLEM_SYSTEM, "the event loop failed");
    if (r->failed != OK) {
        if (p != NULL)
            *p = r->failure;
        return r->failed;
    }
    if (r->ended)
        return problem_set(p, ERR_STATE, PROBLEM_NONE, "ended by a signal");
    return OK;
}

static void on_input(void *ctx, uint32_t events)
{
    struct runner *r = ctx;
    (void)events;
    r->input_ready(r->input_ctx);
}

enum err runner_watch(struct runner *r, int fd, void (*ready)(void *ctx),
                      void *ctx)
{
    r->input_ready = ready;
    r->input_ctx = ctx;
    r->input = (struct watch){.fd = fd, .ready = on_input, .ctx = r};
    return loop_watch(r->loop, &r->input, EPOLLIN);
}

bool runner_event(struct runner *r, struct client_event *out)
{
    return client_take_event(r->client, out);
}

const struct problem *runner_network(const struct runner *r)
{
    return &r->network;
}

const struct problem *runner_store(const struct runner *r)
{
    return sql_problem(r->db);
}

bool runner_reached(const struct runner *r) { return r->reached; }

unsigned runner_failures(const struct runner *r) { return r->failures; }
