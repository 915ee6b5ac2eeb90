/* SPDX-License-Identifier: Apache-2.0 */
#include "server/serve.h"

#include "crypto/hash.h"
#include "proto/invite.h"
#include "server/home.h"
#include "server/keeper.h"
#include "server/net.h"
#include "server/server.h"
#include "server/web.h"
#include "sys/net.h"
#include "sys/process.h"
#include "sys/sandbox.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NET_OK          0
#define NET_FAILED      1
#define NET_END_WAIT_MS (NET_DRAIN_MS + NET_END_MS + 1000U)
#define GONE_WAIT_MS    50 /* from the end of its pipe to that of the process */
#define SIGNAL_STATUS   128 /* of process_wait */
#define SPARE_FDS       64U /* beside the clients' sockets */
#define AUTO_MAX        8   /* network processes, unless more are asked for */

/* ---- The network processes ---- */

/* What a start needs until the processes have parted. */
struct start {
    const struct options *options;
    struct tls_context *tls;
    struct file_lock lock;
    int doors[KEEPER_NETS_MAX][WEB_DOORS_]; /* 0: taken, or not there */
    struct child nets[KEEPER_NETS_MAX];
    size_t count;
    size_t next; /* the one that begins */
};

static void close_doors(struct start *s, size_t process)
{
    for (size_t i = 0; i < WEB_DOORS_; i++) {
        if (s->doors[process][i] > 0)
            (void)close(s->doors[process][i]);
        s->doors[process][i] = 0;
    }
}

static void start_clear(struct start *s)
{
    tls_context_free(&s->tls);
    for (size_t i = 0; i < s->count; i++) {
        close_doors(s, i);
        process_end(&s->nets[i]);
    }
    file_lock_release(&s->lock); /* last: now another server may begin */
}

/* Memory that one round needed is there for the next: giving it back to the
 * system and taking it again costs page faults. */
static void keep_memory(void)
{
    /* NOLINTBEGIN(concurrency-mt-unsafe): there is one thread */
    (void)mallopt(M_ARENA_MAX, 1);
    (void)mallopt(M_TRIM_THRESHOLD, 1 << 30);
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 20); /* a burst goes back */
    (void)mallopt(M_TOP_PAD, 1 << 20);
    /* NOLINTEND(concurrency-mt-unsafe) */
}

/* The store process needs none of it; a listener that nobody reads from would
 * take connections. */
static void forget_network(struct start *s)
{
    tls_context_free(&s->tls);
    for (size_t i = 0; i < s->count; i++)
        close_doors(s, i);
}

static const int signals[] = {SIGTERM, SIGINT, SIGHUP, 0};

/* SIGHUP is for the store process, which reads files. */
static void net_signal(void *ctx, int signal)
{
    if (signal != SIGHUP)
        net_drain(ctx);
}

static size_t clients_max(void)
{
    uint64_t descriptors = process_descriptors();
    if (descriptors <= 2 * (uint64_t)SPARE_FDS)
        return SPARE_FDS;
    descriptors -= SPARE_FDS;
    return descriptors < NET_CLIENTS_MAX ? (size_t)descriptors
                                         : NET_CLIENTS_MAX;
}

static enum err serve_net(struct start *start, int pipe, struct problem *p)
{
    const struct options *o = start->options;
    CLEANUP(loop_free) struct loop *loop = NULL;
    CLEANUP(net_free) struct net *net = NULL;
    int *doors = start->doors[start->next];
    TRY(loop_create(&loop, p));
    const struct net_config config = {.tls = start->tls,
                                      .listener = doors[WEB_PUBLIC],
                                      .proxy = doors[WEB_PROXY],
                                      .admin = doors[WEB_ADMIN],
                                      .pipe = pipe,
                                      .clients_max = clients_max(),
                                      .no_limits = o->no_limits,
                                      .network_max = o->network_max,
                                      .processes = (unsigned)start->count};
    memset(doors, 0, sizeof start->doors[0]); /* taken */
    TRY(net_create(loop, &config, &net, p));
    TRY(loop_signals(loop, signals, net_signal, net, p));
    TRY(sandbox_enter(&(struct sandbox){.kind = SANDBOX_NET}, p));
    TRY(loop_run(loop));
    return net_result(net, p);
}

/* Keeps nothing of what the store and the other processes have. */
static void keep_own(struct start *s)
{
    file_lock_release(&s->lock);
    for (size_t i = 0; i < s->count; i++) {
        if (i != s->next)
            close_doors(s, i);
        if (i < s->next)
            process_forget(&s->nets[i]);
    }
}

static int net_main(void *ctx, int pipe)
{
    struct start *start = ctx;
    struct problem p = {0};
    keep_own(start);
    options_hide(start->options); /* the way to the database is the store's */
    keep_memory();
    enum err err = serve_net(start, pipe, &p);
    if (err != OK)
        log_error("net: ended reason=\"%s\"", p.detail);
    return err == OK ? NET_OK : NET_FAILED;
}
/* ---- The store process ---- */

static enum err print_fingerprints(struct server *s, struct bytes cert,
                                   struct problem *p)
{
    char text[FINGERPRINT_TEXT_MAX];
    uint8_t seen[TLS_FINGERPRINT_SIZE];
    struct digest digest;
    enum err err =
        hash(s->crypto, HASH_SHA256, PARTS(core_public_key(s->core)), &digest);
    if (err == OK)
        err = tls_fingerprint(cert, seen);
    if (err != OK)
        return problem_set(p, err, PROBLEM_SYSTEM,
                           "cannot make the fingerprints");
    fingerprint_write(digest.data, text);
    (void)printf("server key fingerprint: %s\n", text);
    fingerprint_write(seen, text);
    (void)printf("certificate fingerprint: %s\n", text);
    return OK;
}

/* For people, and for programs that wait for it. */
static enum err print_addresses(const struct options *o,
                                const struct net_name names[WEB_DOORS_],
                                struct problem *p)
{
    static const char *const what[WEB_DOORS_] = {[WEB_PUBLIC] = "listening",
                                                 [WEB_PROXY] =
                                                     "listening for proxies",
                                                 [WEB_ADMIN] = "metrics"};
    char text[NET_NAME_TEXT];
    for (size_t i = WEB_DOORS_; i-- > 0;) { /* the main one tells of the end */
        if (names[i].host[0] == '\0')
            continue;
        net_name_text(&names[i], text);
        (void)printf("%s on %s\n", what[i], text);
    }
    if (fflush(stdout) != 0)
        return problem_system(p, "cannot write to standard output");
    if (o->port_file == NULL)
        return OK;
    int len =
        snprintf(text, sizeof text, "%u\n", (unsigned)names[WEB_PUBLIC].port);
    return file_write(o->port_file,
                      (struct bytes){(const uint8_t *)text, (size_t)len}, p);
}

/* What the store process has beside the server. */
struct run {
    const struct options *options;
    struct net_name addresses[WEB_DOORS_]; /* no host: none */
    struct buf cert;
    bool is_new;           /* nothing was ever stored */
    struct keeper *keeper; /* borrowed */
};

static void run_clear(struct run *r) { buf_clear(&r->cert); }

static enum err reach_nets(struct keeper *keeper, struct start *start,
                           struct problem *p)
{
    for (size_t i = 0; i < start->count; i++) {
        int pipe = start->nets[i].socket;
        start->nets[i].socket = -1; /* taken */
        enum err err = keeper_add(keeper, pipe);
        if (err != OK)
            return problem_set(p, err, PROBLEM_SYSTEM,
                               "cannot reach the network process: %s",
                               err_text(err));
    }
    return OK;
}

/* Reads certificate and key again. Nothing changes unless they are good. */
static enum err renew_tls(const struct run *run, struct problem *p)
{
    const struct options *o = run->options;
    CLEANUP(buf_clear) struct buf cert = buf_new(TLS_PEM_MAX);
    CLEANUP(buf_clear) struct buf key = buf_new(TLS_PEM_MAX);
    CLEANUP(tls_context_free) struct tls_context *trial = NULL;
    uint8_t seen[TLS_FINGERPRINT_SIZE];
    char text[FINGERPRINT_TEXT_MAX];
    TRY(home_tls(o->data, o->cert, o->key, &cert, &key, p));
    TRY(tls_server_create(buf_bytes(&cert), buf_bytes(&key), &trial, p));
    enum err err = tls_fingerprint(buf_bytes(&cert), seen);
    if (err == OK)
        err = keeper_renew(run->keeper, buf_bytes(&cert), buf_bytes(&key));
    if (err != OK)
        return problem_set(p, err, PROBLEM_SYSTEM, "%s", err_text(err));
    fingerprint_write(seen, text);
    log_info("sottod: certificate read fingerprint=\"%s\"", text);
    return OK;
}

static void store_signal(void *ctx, int signal)
{
    const struct run *run = ctx;
    struct problem p = {0};
    if (signal != SIGHUP) {
        log_info("sottod: stopping");
        keeper_drain(run->keeper);
    } else if (renew_tls(run, &p) != OK) {
        log_error("sottod: keeps its certificate reason=\"%s\"", p.detail);
    }
}

/* The folders of a file: that of its path, and that to which its links lead.
 * What an ACME client puts there later is readable too. */
struct folders {
    char paths[SANDBOX_READ_MAX][FILE_PATH_MAX];
    size_t count;
};

static void add_folder(struct folders *f, const char *path)
{
    const char *end = strrchr(path, '/');
    char *to = f->paths[f->count++];
    if (end == NULL)
        (void)snprintf(to, FILE_PATH_MAX, ".");
    else /* of what is in the highest folder, "/" */
        (void)snprintf(to, FILE_PATH_MAX, "%.*s",
                       end == path ? 1 : (int)(end - path), path);
}

static void add_folders(struct folders *f, const char *path)
{
    char real[FILE_PATH_MAX];
    if (path == NULL || realpath(path, real) == NULL)
        return;
    add_folder(f, path);
    add_folder(f, real);
}

/* What a store whose database is elsewhere needs beside. */
static void add_database(struct sandbox *sandbox, struct folders *f,
                         const struct store_pg_needs *needs)
{
    sandbox->kind = SANDBOX_DATABASE;
    for (size_t i = 0; i < STORE_PG_FILES && f->count + 2 <= SANDBOX_READ_MAX;
         i++)
        add_folders(f, needs->files[i]);
    for (size_t i = 0; i < STORE_PG_PORTS && i < SANDBOX_PORTS_MAX; i++)
        sandbox->ports[i] = needs->ports[i];
}

static enum err enter_sandbox(const struct run *run, const struct start *start,
                              const struct server *s, struct problem *p)
{
    pid_t pids[KEEPER_NETS_MAX];
    struct folders f = {0};
    struct sandbox sandbox = {.kind = SANDBOX_STORE,
                              .folder = run->options->data,
                              .children = pids,
                              .child_count = start->count};
    for (size_t i = 0; i < start->count; i++)
        pids[i] = start->nets[i].pid;
    add_folders(&f, run->options->cert);
    add_folders(&f, run->options->key);
    if (s->pg != NULL)
        add_database(&sandbox, &f, store_pg_needs(s->pg));
    for (size_t i = 0; i < f.count; i++)
        sandbox.read[i] = f.paths[i];
    return sandbox_enter(&sandbox, p);
}

static enum err serve_store(struct run *run, struct start *start,
                            struct problem *p)
{
    CLEANUP(server_close) struct server s = {.serves = true};
    CLEANUP(loop_free) struct loop *loop = NULL;
    CLEANUP(keeper_free) struct keeper *keeper = NULL;
    TRY(server_open(run->options, !run->is_new, &s, p));
    TRY(loop_create(&loop, p));
    enum err err = keeper_create(loop, s.core, s.store, &keeper);
    if (err != OK)
        return problem_set(p, err, PROBLEM_SYSTEM,
                           "cannot serve the network processes: %s",
                           err_text(err));
    TRY(reach_nets(keeper, start, p));
    run->keeper = keeper;
    TRY(loop_signals(loop, signals, store_signal, run, p));
    TRY(print_fingerprints(&s, buf_bytes(&run->cert), p));
    if (run->is_new)
        TRY(server_print_invite(&s, p));
    keeper_start(keeper);
    TRY(print_addresses(run->options, run->addresses, p));
    TRY(enter_sandbox(run, start, &s, p));
    TRY(loop_run(loop));
    return keeper_result(keeper, p);
}

/* Net has said goodbye, or has died: in both cases it is about to be gone. */
static enum err reap(struct child *net, struct problem *p)
{
    int status = 0;
    if (process_wait(net, (int)NET_END_WAIT_MS, &status) != OK)
        return problem_set(p, ERR_IO, PROBLEM_SYSTEM,
                           "the network process does not end");
    if (status == SIGNAL_STATUS + SIGSYS)
        return problem_set(p, ERR_IO, PROBLEM_SYSTEM,
                           "the network process did what its sandbox forbids");
    if (status != NET_OK)
        return problem_set(p, ERR_IO, PROBLEM_SYSTEM,
                           "the network process ended with status %d", status);
    return OK;
}

/* After an error one process is gone, for its own reason; the others end with
 * the store. */
static enum err reap_nets(struct start *start, enum err err, struct problem *p)
{
    for (size_t i = 0; i < start->count; i++) {
        struct problem own = {0};
        if (err != OK && !process_has_ended(&start->nets[i], GONE_WAIT_MS))
            continue;
        if (reap(&start->nets[i], &own) == OK)
            continue;
        *p = own;
        err = ERR_IO;
    }
    return err;
}

static enum err load_tls(const struct options *o, struct start *start,
                         struct run *run, struct problem *p)
{
    CLEANUP(buf_clear) struct buf key = buf_new(TLS_PEM_MAX);
    TRY(home_tls(o->data, o->cert, o->key, &run->cert, &key, p));
    return tls_server_create(buf_bytes(&run->cert), buf_bytes(&key),
                             &start->tls, p);
}

static enum err parse_addresses(const struct options *o, struct run *run,
                                struct problem *p)
{
    const char *const texts[WEB_DOORS_] = {[WEB_PUBLIC] = o->listen,
                                           [WEB_PROXY] = o->proxy_listen,
                                           [WEB_ADMIN] = o->admin_listen};
    for (size_t i = 0; i < WEB_DOORS_; i++)
        if (texts[i] != NULL)
            TRY(net_name_parse(texts[i], &run->addresses[i], p));
    return OK;
}

/* The operator's questions are answered by one process. */
static enum err open_doors(struct start *start, struct run *run,
                           struct problem *p)
{
    for (size_t i = 0; i < WEB_DOORS_; i++) {
        struct net_name *name = &run->addresses[i];
        int fds[KEEPER_NETS_MAX];
        size_t count = i == WEB_ADMIN ? 1 : start->count;
        if (name->host[0] == '\0')
            continue;
        TRY(net_listen(name, count, fds, p));
        for (size_t k = 0; k < count; k++)
            start->doors[k][i] = fds[k];
        enum err err = net_local(fds[0], name);
        if (err != OK)
            return problem_set(p, err, PROBLEM_SYSTEM, "cannot see the port");
    }
    return OK;
}

static size_t processes(const struct options *o)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (o->net_processes > 0)
        return o->net_processes;
    if (cores < 1)
        return 1;
    return cores < AUTO_MAX ? (size_t)cores : AUTO_MAX;
}

/* Everything that can be refused is tried before the processes part. */
static enum err prepare(const struct options *o, struct start *start,
                        struct run *run, struct problem *p)
{
    char path[FILE_PATH_MAX];
    TRY(parse_addresses(o, run, p));
    TRY(home_open(o->data, &start->lock, p));
    /* The last thing that a first start makes. Once it is there, a file that is
     * missing was lost, and is not made anew. */
    TRY(file_path(o->data, o->store != NULL ? HOME_KEY_FILE : "blobs", path,
                  p));
    run->is_new = !file_exists(path);
    TRY(load_tls(o, start, run, p));
    start->count = processes(o);
    return open_doors(start, run, p);
}

enum err serve(const struct options *o, struct problem *p)
{
    CLEANUP(start_clear) struct start start = {.options = o};
    CLEANUP(run_clear)
    struct run run = {.options = o, .cert = buf_new(TLS_PEM_MAX)};
    TRY(prepare(o, &start, &run, p));
    for (start.next = 0; start.next < start.count; start.next++)
        TRY(process_spawn(net_main, &start, &start.nets[start.next], p));
    forget_network(&start);
    keep_memory();
    enum err err = serve_store(&run, &start, p);
    return reap_nets(&start, err, p);
}
