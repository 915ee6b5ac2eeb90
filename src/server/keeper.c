/* SPDX-License-Identifier: Apache-2.0 */
#include "server/keeper.h"

#include "base/mem.h"
#include "server/metrics.h"
#include "server/net.h"
#include "server/pipe.h"
#include "sys/clock.h"
#include "sys/log.h"
#include "sys/process.h"

#include <assert.h>
#include <string.h>
#include <unistd.h>

#define TICK_MS       1000U       /* what the core does on its own */
#define OUT_BYTES     (32U << 20) /* towards net: then it has to read first */
#define WARN_PAUSE_MS 60000U      /* between reports of one trouble */

#define NUMBER_BITS 16U /* of a connection's number in its net process */
#define NUMBER_MASK ((1U << NUMBER_BITS) - 1)
static_assert(NET_CLIENTS_MAX <= 1U << NUMBER_BITS, "numbers must fit");
static_assert(KEEPER_NETS_MAX <= 1U << (32 - NUMBER_BITS), "so must these");

/* A net process. The core knows its connections by numbers that begin with its
 * place. */
struct peer {
    struct keeper *keeper;
    struct pipe *pipe;
    bool full;              /* it has to read first */
    bool left;              /* has said goodbye */
    struct metrics metrics; /* its part */
};

struct keeper {
    struct loop *loop;
    struct peer peers[KEEPER_NETS_MAX];
    size_t peer_count;
    size_t left_count;
    struct core *core;
    struct store store;
    int memory; /* process_memory_open */
    struct hook hook;
    struct timer tick;
    struct watch ready; /* of a store that works on after a flush */
    uint64_t failures;  /* flushes that failed, as reported */
    uint64_t warn_again_ms;
    bool dirty; /* the core was given something, or has something to take */
    bool full;  /* a net process has to read first */
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

static void tell(struct peer *l, const struct pipe_record *r)
{
    enum err err = pipe_put(l->pipe, r);
    if (err != OK)
        finish(l->keeper, err, "out of memory for answers");
}

static void tell_all(struct keeper *k, uint8_t op)
{
    for (size_t i = 0; i < k->peer_count; i++)
        if (!k->peers[i].left)
            tell(&k->peers[i], &(struct pipe_record){.op = op});
}

static uint32_t number_of(const struct peer *l, uint32_t conn)
{
    return (uint32_t)(l - l->keeper->peers) << NUMBER_BITS | conn;
}

static void nonsense(struct keeper *k)
{
    finish(k, ERR_MALFORMED, "a network process sent nonsense");
}

static void hand_over(struct keeper *k)
{
    struct core_output out;
    while (core_take(k->core, &out)) {
        struct pipe_record r = {.op = out.close ? PIPE_END : PIPE_MESSAGE,
                                .conn = out.conn & NUMBER_MASK};
        if (!out.close) {
            r.kind = out.kind;
            r.id = out.id;
            r.bytes = out.message;
        }
        tell(&k->peers[out.conn >> NUMBER_BITS], &r);
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

/* What is under way is bounded: beyond it, clients wait in their sockets, and
 * answers in the store. */
static void set_pauses(struct keeper *k)
{
    bool loaded = core_is_loaded(k->core);
    bool full = false;
    for (size_t i = 0; i < k->peer_count; i++) {
        struct peer *p = &k->peers[i];
        p->full = p->full || pipe_queued(p->pipe) >= OUT_BYTES;
        full = full || (p->full && !p->left);
    }
    for (size_t i = 0; i < k->peer_count; i++)
        pipe_pause(k->peers[i].pipe, full || loaded);
    if (full != k->full && k->ready.fd >= 0)
        loop_watch_for(k->loop, &k->ready, full ? 0 : (uint32_t)EPOLLIN);
    k->full = full;
}

static void flush(struct keeper *k)
{
    core_flush(k->core, clock_wall_ms());
    hand_over(k);
    report_failures(k);
    set_pauses(k);
    k->dirty = core_has_more(k->core);
    if (k->dirty && !k->full)
        loop_hurry(k->loop);
}

static void end_round(void *ctx)
{
    struct keeper *k = ctx;
    if (k->dirty && !k->full)
        flush(k);
    set_pauses(k);
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
    struct metrics m = {
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
                    [METRIC_STORE_MEMORY] = process_memory(k->memory)}};
    for (size_t i = 0; i < k->peer_count; i++)
        for (unsigned n = METRICS_NET; n < METRICS_; n++)
            m.numbers[n] += k->peers[i].metrics.numbers[n];
    uint8_t room[METRICS_SIZE];
    const struct pipe_record r = {.op = PIPE_STATS,
                                  .bytes = metrics_write(&m, room)};
    for (size_t i = 0; i < k->peer_count; i++)
        if (!k->peers[i].left)
            tell(&k->peers[i], &r);
}

static void ticked(void *ctx)
{
    struct keeper *k = ctx;
    k->dirty = true;
    for (size_t i = 0; i < k->peer_count; i++)
        pipe_trim(k->peers[i].pipe);
    send_stats(k);
    if (loop_timer_set(k->loop, &k->tick, TICK_MS) != OK)
        finish(k, ERR_NOMEM, "out of memory for a timer");
}

static void on_open(struct peer *l, const struct pipe_record *r)
{
    struct keeper *k = l->keeper;
    struct reader in = reader_of(r->bytes);
    uint64_t remote = reader_u64(&in);
    struct bytes exporter =
        reader_raw(&in, reader_more(&in) ? CORE_EXPORTER_SIZE : 0);
    enum err err = reader_finish(&in);
    if (err == OK)
        err = core_open(k->core, number_of(l, r->conn), exporter, remote);
    if (err == ERR_MALFORMED || err == ERR_EXISTS) {
        nonsense(k);
    } else if (err != OK) {
        const struct pipe_record end = {.op = PIPE_END, .conn = r->conn};
        log_debug("store: connection refused err=%s", err_text(err));
        tell(l, &end);
    }
}

static void on_close(struct peer *l, const struct pipe_record *r)
{
    struct keeper *k = l->keeper;
    const struct pipe_record closed = {.op = PIPE_CLOSED, .conn = r->conn};
    core_close(k->core, number_of(l, r->conn));
    /* What the core still has for this number must leave before the number
     * can be given to someone else. */
    hand_over(k);
    tell(l, &closed);
}

static void on_message(struct peer *l, const struct pipe_record *r)
{
    struct keeper *k = l->keeper;
    uint32_t number = number_of(l, r->conn);
    core_message(k->core, number, r->kind, r->id, r->bytes, clock_wall_ms());
    /* A client that sends much at once ends the group early. */
    if (core_is_full(k->core, number))
        flush(k);
}

static void on_bye(struct peer *l)
{
    struct keeper *k = l->keeper;
    flush(k);
    l->left = true;
    if (++k->left_count == k->peer_count)
        finish(k, OK, "");
    else
        keeper_drain(k); /* one was asked to end: that ends all */
}

static void on_record(void *ctx, const struct pipe_record *r)
{
    struct peer *l = ctx;
    struct keeper *k = l->keeper;
    k->dirty = true;
    if (r->conn > NUMBER_MASK || l->left) {
        nonsense(k);
        return;
    }
    switch (r->op) {
    case PIPE_OPEN:
        on_open(l, r);
        break;
    case PIPE_MESSAGE:
        on_message(l, r);
        break;
    case PIPE_SLOW:
        core_slow(k->core, number_of(l, r->conn));
        break;
    case PIPE_CLOSE:
        on_close(l, r);
        break;
    case PIPE_STATS:
        metrics_read(r->bytes, &l->metrics);
        break;
    case PIPE_BYE:
        on_bye(l);
        break;
    default:
        nonsense(k);
    }
}

static void on_drained(void *ctx)
{
    struct peer *l = ctx;
    struct keeper *k = l->keeper;
    l->full = false;
    set_pauses(k);
    if (k->dirty && !k->full)
        loop_hurry(k->loop);
}

static void on_ended(void *ctx, enum err err)
{
    struct peer *l = ctx;
    if (!l->left)
        finish(l->keeper, err == OK ? ERR_IO : err,
               "a network process is gone");
}

static const struct pipe_user pipe_user = {on_record, on_drained, on_ended};

enum err keeper_create(struct loop *loop, struct core *core, struct store store,
                       struct keeper **out_keeper)
{
    CLEANUP(keeper_free) struct keeper *k = mem_alloc(sizeof *k);
    if (k == NULL)
        return ERR_NOMEM;
    *k = (struct keeper){
        .loop = loop,
        .core = core,
        .store = store,
        .memory = process_memory_open(),
        .hook = {.run = end_round, .ctx = k},
        .ready = {.fd = store.fd, .ready = store_ready, .ctx = k},
        .tick = {.fire = ticked, .ctx = k}};
    /* Before the pipes': answers leave in the round that made them. */
    loop_hook_add(loop, &k->hook);
    if (store.fd >= 0)
        TRY(loop_watch(loop, &k->ready, EPOLLIN));
    TRY(loop_timer_set(loop, &k->tick, TICK_MS));
    *out_keeper = k;
    k = NULL; /* handed over */
    return OK;
}

enum err keeper_add(struct keeper *keeper, int pipe)
{
    struct peer *l = &keeper->peers[keeper->peer_count];
    assert(keeper->peer_count < KEEPER_NETS_MAX);
    *l = (struct peer){.keeper = keeper};
    TRY(pipe_create(keeper->loop, pipe, &pipe_user, l, &l->pipe));
    keeper->peer_count++;
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
    if (k->memory >= 0)
        (void)close(k->memory);
    for (size_t i = 0; i < k->peer_count; i++)
        pipe_free(&k->peers[i].pipe);
    mem_free(k, sizeof *k);
    *keeper = NULL;
}

void keeper_start(struct keeper *keeper)
{
    send_stats(keeper);
    tell_all(keeper, PIPE_START);
}

void keeper_drain(struct keeper *keeper) { tell_all(keeper, PIPE_DRAIN); }

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
    for (size_t i = 0; i < keeper->peer_count; i++)
        TRY(pipe_put(keeper->peers[i].pipe, &r));
    return OK;
}

enum err keeper_result(const struct keeper *keeper, struct problem *p)
{
    if (keeper->err != OK && p != NULL)
        *p = keeper->problem;
    return keeper->err;
}
