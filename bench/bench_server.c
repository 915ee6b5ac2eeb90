/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The real server on a real folder, by TLS on loopback: durable appends per
 * second end to end, their latency and what they cost each process; and the
 * memory of connections that are idle.
 *
 * The server gets one core and the clients another. $SOTTOD names the program,
 * $BENCH_DIR where its folder is made (default: /var/tmp).
 */
#include "load.h"
#include "report.h"
#include "served.h"

#include "base/mem.h"
#include "sys/process.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#define ROUNDS       5U
#define ROUND_S      2.0
#define WARM_UP_S    0.5
#define QUICK_EACH   10U
#define SETTLE_S     2.0 /* the server ticks each second */
#define SETTLE_MS    2000
#define WARM_S       20.0
#define WARM_CLIENTS 16U
#define WARM_TURNS   8U
#define WARM_FIRST   1000000U
#define IDLE_RATE    2000U /* first entries a second: no burst to be measured */

/* ---- Appends ---- */

struct variant {
    const char *name;
    struct load_plan plan;
};

/* What a run took of each process. */
struct cost {
    double store, net, load;
};

static struct cost cost_now(const struct sottod *s)
{
    return (struct cost){served_cpu(s->pid), served_cpu(s->net_pid),
                         report_cpu()};
}

struct totals {
    double rates[ROUNDS];  /* appends per second */
    double pushes[ROUNDS]; /* entries that reached clients, per second */
    double *latency;       /* of all appends */
    size_t appends;
    size_t pushed;
    struct cost cost;
};

static enum err latency_add(struct totals *t, const struct load_result *r)
{
    size_t all = t->appends + r->appends;
    double *grown = mem_alloc(all * sizeof *grown);
    if (grown == NULL)
        return ERR_NOMEM;
    if (t->appends > 0)
        memcpy(grown, t->latency, t->appends * sizeof *grown);
    memcpy(grown + t->appends, r->latency, r->appends * sizeof *grown);
    mem_drop(t->latency);
    t->latency = grown;
    t->appends = all;
    t->pushed += r->pushed;
    return OK;
}

static enum err measure(const struct sottod *s, struct load *load,
                        struct totals *t, struct problem *p)
{
    unsigned each = report_quick() ? QUICK_EACH : 0;
    struct load_result r;
    TRY(load_run(load, WARM_UP_S, each, &r, p));
    struct cost before = cost_now(s);
    for (unsigned i = 0; i < ROUNDS; i++) {
        TRY(load_run(load, ROUND_S, each, &r, p));
        t->rates[i] = (double)r.appends / r.seconds;
        t->pushes[i] = (double)r.pushed / r.seconds;
        TRY(latency_add(t, &r));
    }
    struct cost after = cost_now(s);
    t->cost = (struct cost){after.store - before.store, after.net - before.net,
                            after.load - before.load};
    return OK;
}

static void line(const struct variant *v, const char *what, double value,
                 const char *unit)
{
    char name[80];
    (void)snprintf(name, sizeof name, "server_%s%s", v->name, what);
    report(name, value, unit);
}

static void print(const struct variant *v, struct totals *t)
{
    double count = (double)t->appends;
    double cpu = t->cost.store + t->cost.net;
    report_sort(t->latency, t->appends);
    line(v, "", report_median(t->rates, ROUNDS), "1/s");
    line(v, "_p50", report_quantile(t->latency, t->appends, 0.5) * 1e3, "ms");
    line(v, "_p99", report_quantile(t->latency, t->appends, 0.99) * 1e3, "ms");
    line(v, "_store_cpu", t->cost.store / count * 1e6, "us");
    line(v, "_net_cpu", t->cost.net / count * 1e6, "us");
    line(v, "_client_cpu", t->cost.load / count * 1e6, "us");
    line(v, "_pushed", report_median(t->pushes, ROUNDS), "1/s");
    line(v, "_pushed_per_cpu", (double)t->pushed / cpu, "1/cpu-s");
}

static void totals_clear(struct totals *t) { mem_drop(t->latency); }

static enum err bench_load(const struct variant *v, struct problem *p)
{
    CLEANUP(sottod_clear) struct sottod s = {.out = -1};
    CLEANUP(load_close) struct load *load = NULL;
    CLEANUP(totals_clear) struct totals t = {0};
    TRY(served_prepare(&s, p));
    TRY(served_start(&s, p));
    struct load_plan plan = v->plan;
    plan.server = s.address;
    TRY(load_open(&plan, &load, p));
    TRY(measure(&s, load, &t, p));
    print(v, &t);
    return OK;
}

/* ---- Idle connections ---- */

static double memory_now(const struct sottod *s)
{
    return served_memory(s->pid) + served_memory(s->net_pid);
}

/* So that what a server needs once, and not for each connection, is there
 * before the first is counted: by few connections at a time, whose own memory
 * others take over, but over many channels. */
static enum err warm_up(const struct sottod *s, struct problem *p)
{
    for (unsigned i = 0; i < report_scale(WARM_TURNS, 1); i++) {
        CLEANUP(load_close) struct load *load = NULL;
        struct load_result r;
        const struct load_plan plan = {.server = s->address,
                                       .clients = WARM_CLIENTS,
                                       .channels = WARM_CLIENTS,
                                       .attach = true,
                                       .in_flight = LOAD_IN_FLIGHT_MAX,
                                       .first = WARM_FIRST + i * WARM_CLIENTS};
        TRY(load_open(&plan, &load, p));
        TRY(load_run(load, WARM_S, report_scale(64, 1), &r, p));
    }
    (void)poll(NULL, 0, report_quick() ? 50 : SETTLE_MS);
    return OK;
}

/* Each client has shown its right, has a subscription, and one entry of it has
 * gone each way. */
static enum err bench_idle(const struct variant *v, struct problem *p)
{
    CLEANUP(sottod_clear) struct sottod s = {.out = -1};
    CLEANUP(load_close) struct load *load = NULL;
    struct load_result r;
    struct load_plan plan = v->plan;
    TRY(served_prepare(&s, p));
    TRY(served_start(&s, p));
    TRY(warm_up(&s, p));
    double net = served_memory(s.net_pid);
    double store = served_memory(s.pid);
    double cpu = served_cpu(s.pid) + served_cpu(s.net_pid);
    plan.server = s.address;
    plan.clients = plan.channels = report_scale(v->plan.clients, 20);
    plan.rate = plan.attach ? IDLE_RATE : 0;
    TRY(load_open(&plan, &load, p));
    cpu = served_cpu(s.pid) + served_cpu(s.net_pid) - cpu;
    if (plan.attach)
        TRY(load_run(load, 1.0 + plan.clients / (double)IDLE_RATE, 1, &r, p));
    if (plan.attach && r.pushed < plan.clients)
        return problem_set(p, ERR_STATE, PROBLEM_SYSTEM,
                           "a client did not get its entry");
    TRY(load_rest(load, report_quick() ? 0.1 : SETTLE_S, p));
    line(v, "", (memory_now(&s) - net - store) / plan.clients, "bytes");
    line(v, "_net", (served_memory(s.net_pid) - net) / plan.clients, "bytes");
    line(v, "_store", (served_memory(s.pid) - store) / plan.clients, "bytes");
    line(v, "_opened", plan.clients / cpu, "1/cpu-s");
    return OK;
}

/* ---- The whole ---- */

static const struct variant variants[] = {
    {"append_1", {.clients = 1, .channels = 1, .attach = true}},
    {"append_16", {.clients = 16, .channels = 16, .attach = true}},
    {"append_256", {.clients = 256, .channels = 256, .attach = true}},
    {"append_rate_1000",
     {.clients = 256, .channels = 256, .attach = true, .rate = 1000}},
    {"append_shared_16", {.clients = 16, .channels = 1, .attach = true}},
    {"relay",
     {.clients = 200,
      .channels = 100,
      .attach = true,
      .ephemeral = true,
      .in_flight = 4}},
    {"fan_out",
     {.clients = 200,
      .channels = 1,
      .attach = true,
      .senders = 1,
      .in_flight = 4}},
};

/* Opening a connection counts the handshake, the hello, and a new channel with
 * its subscription (or a new account), each durable. */
static const struct variant idle[] = {
    {"idle_2000", {.clients = 2000, .attach = true}},
    {"idle_10000", {.clients = 10000, .attach = true}},
    {"idle_18000", {.clients = 18000, .attach = true}},
    {"idle_identified_2000", {.clients = 2000, .identified = true}},
};

/* With no words: everything. */
static bool wanted(char **words, const char *name)
{
    for (size_t i = 0; words[i] != NULL; i++)
        if (strcmp(words[i], name) == 0)
            return true;
    return words[0] == NULL;
}

static enum err run_all(char **words, struct problem *p)
{
    for (size_t i = 0; i < sizeof variants / sizeof variants[0]; i++)
        if (wanted(words, variants[i].name) &&
            variants[i].plan.clients <= report_scale(UINT32_MAX, 200))
            TRY(bench_load(&variants[i], p));
    for (size_t i = 0; i < sizeof idle / sizeof idle[0]; i++)
        if (wanted(words, idle[i].name))
            TRY(bench_idle(&idle[i], p));
    return OK;
}

int main(int argc, char **argv)
{
    struct problem p = {0};
    (void)argc;
    (void)signal(SIGPIPE, SIG_IGN);
    (void)process_descriptors();
    printf(
        "# server: %s in %s; TLS on loopback; 1 KiB bodies, each sender on a "
        "channel of its own but for `shared`; senders are attached and get "
        "their own entries back\n",
        served_file_system(), served_place());
    enum err err = run_all(argv + 1, &p);
    if (err != OK)
        (void)fprintf(stderr, "bench_server: %s: %s\n", err_text(err),
                      p.detail);
    return err == OK ? 0 : 1;
}
