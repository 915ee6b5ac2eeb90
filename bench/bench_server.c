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

#include "base/mem.h"
#include "support/sottod.h"
#include "sys/process.h"

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS      5U
#define ROUND_S     2.0
#define WARM_UP_S   0.5
#define QUICK_EACH  10U
#define SETTLE_S    2.0 /* the server ticks each second */
#define KIB         1024.0
#define SERVER_CORE 0
#define LOAD_CORE   1

static const char *const options[] = {
    "--no-limits", "--pow-bits", "1", "--open-registration",
    "--log-level", "error",      NULL};

/* ---- The server ---- */

static const char *place(void)
{
    const char *dir = getenv("BENCH_DIR");
    return dir != NULL ? dir : "/var/tmp";
}

static const char *file_system(const char *path)
{
    static const struct {
        unsigned long magic;
        const char *name;
    } known[] = {
        {0xef53, "ext4"},          {0x58465342, "xfs"},
        {0x9123683e, "btrfs"},     {0x01021994, "tmpfs (not durable)"},
        {0x794c7630, "overlayfs"}, {0x2fc12fc1, "zfs"},
    };
    struct statfs st;
    if (statfs(path, &st) != 0)
        return "unknown";
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].magic == (unsigned long)st.f_type)
            return known[i].name;
    return "another";
}

static bool pin(pid_t pid, int core)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)core, &set);
    return sched_setaffinity(pid, sizeof set, &set) == 0;
}

static enum err server_start(struct sottod *s, struct problem *p)
{
    if (getenv("SOTTOD") == NULL)
        return problem_set(p, ERR_NOTFOUND, PROBLEM_USAGE,
                           "$SOTTOD must name the server's program");
    enum err err = sottod_prepare_in(s, place());
    if (err == OK)
        err = sottod_start(s, options);
    if (err != OK)
        return problem_set(p, err, PROBLEM_SYSTEM,
                           "cannot start the server in %s: %.100s", place(),
                           s->output);
    if (!pin(s->pid, SERVER_CORE) || !pin(s->net_pid, SERVER_CORE) ||
        !pin(0, LOAD_CORE))
        printf("# the processes share their cores\n");
    return OK;
}

/* Seconds of processor time that a process has used. */
static double cpu_of(pid_t pid)
{
    clockid_t clock = 0;
    struct timespec t = {0};
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) != 0)
        return 0;
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Bytes of memory that are the process's own. */
static double memory_of(pid_t pid)
{
    static const char label[] = "RssAnon:";
    char path[64];
    char line[256];
    double bytes = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return 0;
    while (fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, label, sizeof label - 1) == 0)
            bytes = strtod(line + sizeof label - 1, NULL) * KIB;
    (void)fclose(f);
    return bytes;
}

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
    return (struct cost){cpu_of(s->pid), cpu_of(s->net_pid), report_cpu()};
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
    TRY(server_start(&s, p));
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
    return memory_of(s->pid) + memory_of(s->net_pid);
}

static enum err bench_idle(bool identified, struct problem *p)
{
    CLEANUP(sottod_clear) struct sottod s = {.out = -1};
    CLEANUP(load_close) struct load *load = NULL;
    unsigned count = report_scale(2000, 20);
    char name[80];
    TRY(server_start(&s, p));
    double net = memory_of(s.net_pid);
    double store = memory_of(s.pid);
    const struct load_plan plan = {.server = s.address,
                                   .clients = count,
                                   .channels = count,
                                   .attach = !identified,
                                   .identified = identified};
    TRY(load_open(&plan, &load, p));
    TRY(load_rest(load, report_quick() ? 0.1 : SETTLE_S, p));
    const char *lane = identified ? "identified" : "anonymous";
    (void)snprintf(name, sizeof name, "server_idle_%s_%u", lane, count);
    report(name, (memory_now(&s) - net - store) / count, "bytes");
    (void)snprintf(name, sizeof name, "server_idle_%s_net_%u", lane, count);
    report(name, (memory_of(s.net_pid) - net) / count, "bytes");
    (void)snprintf(name, sizeof name, "server_idle_%s_store_%u", lane, count);
    report(name, (memory_of(s.pid) - store) / count, "bytes");
    return OK;
}

/* ---- The whole ---- */

static const struct variant variants[] = {
    {"append_1", {.clients = 1, .channels = 1, .attach = true}},
    {"append_16", {.clients = 16, .channels = 16, .attach = true}},
    {"append_256", {.clients = 256, .channels = 256, .attach = true}},
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
    if (wanted(words, "idle_anonymous"))
        TRY(bench_idle(false, p));
    return wanted(words, "idle_identified") ? bench_idle(true, p) : OK;
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
        file_system(place()), place());
    enum err err = run_all(argv + 1, &p);
    if (err != OK)
        (void)fprintf(stderr, "bench_server: %s: %s\n", err_text(err),
                      p.detail);
    return err == OK ? 0 : 1;
}
