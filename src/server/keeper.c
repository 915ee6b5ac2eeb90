/* SPDX-License-Identifier: Apache-2.0 */
#include "server/keeper.h"

#include "base/mem.h"
#include "server/metrics.h"
#include "server/pipe.h"
#include "sys/clock.h"
#include "sys/log.h"

#include <string.h>
#include <unistd.h>

#define TICK_MS       1000U       /* what the core does on its own */
#define OUT_BYTES     (32U << 20) /* towards net: then it has to read first */
#define WARN_PAUSE_MS 60000U      /* between reports of one trouble */

struct keeper {
    struct loop *loop;
    struct pipe *pipe;
    struct core *core;
    struct store store;
    struct hook hook;
    struct timer tick;
    struct watch ready; /* of a store that works on after a flush */
    uint64_t failures;  /* flushes that failed, as reported */
    uint64_t warn_again_ms;
    bool dirty;    /* the core was given something, or has something to take */
    bool out_full; /* net has to read first */
    bool done;
    enum err err;
    struct problem problem;
};

static void finish(struct keeper *k, enum err err, const char *what)
{
    if (k->done)
        return;
    k->done = true;
    k->err = err;
    if (err != OK)
        (void)problem_set(&k->problem, err, PROBLEM_SYSTEM, "%s", what);
    loop_stop(k->loop);
}

static void tell_net(struct keeper *k, const struct pipe_record *r)
{
    enum err err = pipe_put(k->pipe, r);
    if (err != OK)
        finish(k, err, "out of memory for answers");
}

static void hand_over(struct keeper *k)
{
    struct core_output out;
    while (core_take(k->core, &out)) {
        struct pipe_record r = {.op = out.close ? PIPE_END : PIPE_MESSAGE,
                                .conn = out.conn};
        if (!out.close) {
            r.kind = out.kind;
            r.id = out.id;
            r.bytes = out.message;
        }
        tell_net(k, &r);
        core_output_clear(&out);
    }
}

static void report_failures(struct keeper *k)
{
    uint64_t failures = core_stats(k->core).failed_flushes;
    if (failures == k->failures || loop_now(k->loop) < k->warn_again_ms)
        return;
    log_error("store: cannot write, clients are told to wait count=%llu "
              "reason=\"%s\"",
              (unsigned long long)(failures - k->failures),
              k->store.problem(k->store.ctx)->detail);
    k->failures = failures;
    k->warn_again_ms = loop_now(k->loop) + WARN_PAUSE_MS;
}

/* What is under way is bounded: beyond it, clients wait in their sockets. */
static void set_pause(struct keeper *k)
{
    pipe_pause(k->pipe, k->out_full || core_is_loaded(k->core));
}

static void flush(struct keeper *k)
{
    k->dirty = false;
    core_flush(k->core, clock_wall_ms());
    hand_over(k);
    report_failures(k);
    set_pause(k);
}

static void end_round(void *ctx)
{
    struct keeper *k = ctx;
    if (k->dirty)
        flush(k);
    k->out_full = k->out_full || pipe_queued(k->pipe) >= OUT_BYTES;
    set_pause(k);
}

static void store_ready(void *ctx, uint32_t events)
{
    struct keeper *k = ctx;
    (void)events;
    k->dirty = true;
}

/* Also shows net, and so the operator, that this process works. */
static void send_stats(struct keeper *k)
{
    const struct core_stats s = core_stats(k->core);
    const struct metrics m = {
        .numbers = {[METRIC_CONNECTIONS] = s.connections,
                    [METRIC_REQUESTS] = s.requests,
                    [METRIC_APPENDS] = s.appends,
                    [METRIC_BUSY] = s.busy,
                    [METRIC_REFUSED] = s.refused,
                    [METRIC_PUSHED] = s.pushed,
                    [METRIC_FLUSHES] = s.flushes,
                    [METRIC_FAILED_FLUSHES] = s.failed_flushes,
                    [METRIC_STORE_BYTES] =
                        k->store.size != NULL ? k->store.size(k->store.ctx) : 0,
                    [METRIC_STORE_MEMORY] = metrics_memory()}};
    uint8_t bytes[METRICS_STORE * sizeof(uint64_t)];
    struct buf room = {bytes, 0, sizeof bytes, sizeof bytes}; /* enough */
    struct writer w = writer_to(&room);
    metrics_write(&w, &m);
    tell_net(
        k, &(struct pipe_record){.op = PIPE_STATS, .bytes = buf_bytes(&room)});
}

static void ticked(void *ctx)
{
    struct keeper *k = ctx;
    k->dirty = true;
    send_stats(k);
    if (loop_timer_set(k->loop, &k->tick, TICK_MS) != OK)
        finish(k, ERR_NOMEM, "out of memory for a timer");
}

static void on_open(struct keeper *k, const struct pipe_record *r)
{
    struct reader in = reader_of(r->bytes);
    uint64_t remote = reader_u64(&in);
    struct bytes exporter =
        reader_raw(&in, reader_more(&in) ? CORE_EXPORTER_SIZE : 0);
    enum err err = reader_finish(&in);
    if (err == OK)
        err = core_open(k->core, r->conn, exporter, remote);
    if (err != OK) {
        const struct pipe_record end = {.op = PIPE_END, .conn = r->conn};
        log_debug("store: connection refused err=%s", err_text(err));
        tell_net(k, &end);
    }
}

static void on_close(struct keeper *k, const struct pipe_record *r)
{
    const struct pipe_record closed = {.op = PIPE_CLOSED, .conn = r->conn};
    core_close(k->core, r->conn);
    /* What the core still has for this number must leave before the number
     * can be given to someone else. */
    hand_over(k);
    tell_net(k, &closed);
}

static void on_message(struct keeper *k, const struct pipe_record *r)
{
    core_message(k->core, r->conn, r->kind, r->id, r->bytes, clock_wall_ms());
    /* A client that sends much at once ends the group early. */
    if (core_is_full(k->core, r->conn))
        flush(k);
}

static void on_record(void *ctx, const struct pipe_record *r)
{
    struct keeper *k = ctx;
    k->dirty = true;
    switch (r->op) {
    case PIPE_OPEN:
        on_open(k, r);
        break;
    case PIPE_MESSAGE:
        on_message(k, r);
        break;
    case PIPE_SLOW:
        core_slow(k->core, r->conn);
        break;
    case PIPE_CLOSE:
        on_close(k, r);
        break;
    case PIPE_BYE:
        flush(k);
        finish(k, OK, "");
        break;
    default:
        finish(k, ERR_MALFORMED, "the network process sent nonsense");
    }
}

static void on_drained(void *ctx)
{
    struct keeper *k = ctx;
    k->out_full = false;
    set_pause(k);
}

static void on_ended(void *ctx, enum err err)
{
    finish(ctx, err == OK ? ERR_IO : err, "the network process is gone");
}

static const struct pipe_user pipe_user = {on_record, on_drained, on_ended};

enum err keeper_create(struct loop *loop, int pipe, struct core *core,
                       struct store store, struct keeper **out_keeper)
{
    CLEANUP(keeper_free) struct keeper *k = mem_alloc(sizeof *k);
    if (k == NULL) {
        (void)close(pipe);
        return ERR_NOMEM;
    }
    *k = (struct keeper){
        .loop = loop,
        .core = core,
        .store = store,
        .hook = {.run = end_round, .ctx = k},
        .ready = {.fd = store.fd, .ready = store_ready, .ctx = k},
        .tick = {.fire = ticked, .ctx = k}};
    /* Before the pipe's: answers leave in the round that made them. */
    loop_hook_add(loop, &k->hook);
    TRY(pipe_create(loop, pipe, &pipe_user, k, &k->pipe));
    if (store.fd >= 0)
        TRY(loop_watch(loop, &k->ready, EPOLLIN));
    TRY(loop_timer_set(loop, &k->tick, TICK_MS));
    *out_keeper = k;
    k = NULL; /* handed over */
    return OK;
}

void keeper_free(struct keeper **keeper)
{
    struct keeper *k = *keeper;
    if (k == NULL)
        return;
    loop_timer_cancel(k->loop, &k->tick);
    loop_unwatch(k->loop, &k->ready);
    loop_hook_remove(k->loop, &k->hook);
    pipe_free(&k->pipe);
    mem_free(k, sizeof *k);
    *keeper = NULL;
}

void keeper_start(struct keeper *keeper)
{
    const struct pipe_record r = {.op = PIPE_START};
    tell_net(keeper, &r);
}

void keeper_drain(struct keeper *keeper)
{
    const struct pipe_record r = {.op = PIPE_DRAIN};
    tell_net(keeper, &r);
}

enum err keeper_renew(struct keeper *keeper, struct bytes cert_pem,
                      struct bytes key_pem)
{
    CLEANUP(buf_clear)
    struct buf both =
        buf_new(cert_pem.len + key_pem.len + 2 * (size_t)WIRE_HEADER_MAX);
    struct writer w = writer_to(&both);
    writer_vec(&w, cert_pem);
    writer_vec(&w, key_pem);
    TRY(writer_finish(&w));
    const struct pipe_record r = {.op = PIPE_TLS, .bytes = buf_bytes(&both)};
    return pipe_put(keeper->pipe, &r);
}

enum err keeper_result(const struct keeper *keeper, struct problem *p)
{
    if (keeper->err != OK && p != NULL)
        *p = keeper->problem;
    return keeper->err;
}
