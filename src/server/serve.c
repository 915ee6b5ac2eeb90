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
#define SIGNAL_STATUS   128 /* of process_wait */
#define SPARE_FDS       64U /* beside the clients' sockets */

/* ---- The network process ---- */

struct net_start {
    struct tls_context *tls;
    int listeners[WEB_DOORS_]; /* 0: none */
    struct file_lock lock;
};

static void net_start_clear(struct net_start *s)
{
    tls_context_free(&s->tls);
    for (size_t i = 0; i < WEB_DOORS_; i++) {
        if (s->listeners[i] > 0)
            (void)close(s->listeners[i]);
        s->listeners[i] = 0;
    }
    file_lock_release(&s->lock);
}

/* Memory that one round needed is there for the next: giving it back to the
 * system and taking it again costs page faults. */
static void keep_memory(void)
{
    /* NOLINTBEGIN(concurrency-mt-unsafe): there is one thread */
    (void)mallopt(M_ARENA_MAX, 1);
    (void)mallopt(M_TRIM_THRESHOLD, 1 << 30);
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 26);
    (void)mallopt(M_TOP_PAD, 1 << 20);
    /* NOLINTEND(concurrency-mt-unsafe) */
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

static enum err serve_net(struct net_start *start, int pipe, struct problem *p)
{
    CLEANUP(loop_free) struct loop *loop = NULL;
    CLEANUP(net_free) struct net *net = NULL;
    TRY(loop_create(&loop, p));
    const struct net_config config = {.tls = start->tls,
                                      .listener = start->listeners[WEB_PUBLIC],
                                      .proxy = start->listeners[WEB_PROXY],
                                      .admin = start->listeners[WEB_ADMIN],
                                      .pipe = pipe,
                                      .clients_max = clients_max()};
    memset(start->listeners, 0, sizeof start->listeners); /* taken */
    TRY(net_create(loop, &config, &net, p));
    TRY(loop_signals(loop, signals, net_signal, net, p));
    TRY(sandbox_enter(&(struct sandbox){.kind = SANDBOX_NET}, p));
    TRY(loop_run(loop));
    return net_result(net, p);
}

static int net_main(void *ctx, int pipe)
{
    struct net_start *start = ctx;
    struct problem p = {0};
    file_lock_release(&start->lock); /* the store process keeps its own */
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
    bool is_new; /* nothing was ever stored */
    struct child net;
    struct keeper *keeper; /* borrowed */
};

static void run_clear(struct run *r)
{
    buf_clear(&r->cert);
    process_end(&r->net);
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

static enum err enter_sandbox(const struct run *run, struct problem *p)
{
    struct folders f = {0};
    struct sandbox sandbox = {.kind = SANDBOX_STORE,
                              .folder = run->options->data,
                              .child = run->net.pid};
    add_folders(&f, run->options->cert);
    add_folders(&f, run->options->key);
    for (size_t i = 0; i < f.count; i++)
        sandbox.read[i] = f.paths[i];
    return sandbox_enter(&sandbox, p);
}

static enum err serve_store(struct run *run, struct problem *p)
{
    CLEANUP(server_close) struct server s = {0};
    CLEANUP(loop_free) struct loop *loop = NULL;
    CLEANUP(keeper_free) struct keeper *keeper = NULL;
    TRY(server_open(run->options, !run->is_new, &s, p));
    TRY(loop_create(&loop, p));
    int pipe = run->net.socket;
    run->net.socket = -1; /* taken */
    enum err err = keeper_create(loop, pipe, s.core, s.store, &keeper);
    if (err != OK)
        return problem_set(p, err, PROBLEM_SYSTEM, "cannot reach net: %s",
                           err_text(err));
    run->keeper = keeper;
    TRY(loop_signals(loop, signals, store_signal, run, p));
    TRY(print_fingerprints(&s, buf_bytes(&run->cert), p));
    if (run->is_new)
        TRY(server_print_invite(&s, p));
    keeper_start(keeper);
    TRY(print_addresses(run->options, run->addresses, p));
    TRY(enter_sandbox(run, p));
    TRY(loop_run(loop));
    return keeper_result(keeper, p);
}

/* Net has said goodbye, or has died: in both cases it is about to be gone. */
static enum err reap_net(struct run *run, struct problem *p)
{
    int status = 0;
    if (process_wait(&run->net, (int)NET_END_WAIT_MS, &status) != OK)
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

static enum err load_tls(const struct options *o, struct net_start *start,
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

static enum err open_doors(struct net_start *start, struct run *run,
                           struct problem *p)
{
    for (size_t i = 0; i < WEB_DOORS_; i++) {
        struct net_name *name = &run->addresses[i];
        if (name->host[0] == '\0')
            continue;
        TRY(net_listen(name, &start->listeners[i], p));
        enum err err = net_local(start->listeners[i], name);
        if (err != OK)
            return problem_set(p, err, PROBLEM_SYSTEM, "cannot see the port");
    }
    return OK;
}

/* Everything that can be refused is tried before the processes part. */
static enum err prepare(const struct options *o, struct net_start *start,
                        struct run *run, struct problem *p)
{
    char path[FILE_PATH_MAX];
    TRY(parse_addresses(o, run, p));
    TRY(home_open(o->data, &start->lock, p));
    /* The last thing that a first start makes. Once it is there, a file that is
     * missing was lost, and is not made anew. */
    TRY(file_path(o->data, "blobs", path, p));
    run->is_new = !file_exists(path);
    TRY(load_tls(o, start, run, p));
    return open_doors(start, run, p);
}

enum err serve(const struct options *o, struct problem *p)
{
    CLEANUP(net_start_clear) struct net_start start = {0};
    CLEANUP(run_clear)
    struct run run = {.options = o, .cert = buf_new(TLS_PEM_MAX)};
    CLEANUP(file_lock_release) struct file_lock lock = {0};
    TRY(prepare(o, &start, &run, p));
    TRY(process_spawn(net_main, &start, &run.net, p));
    lock = start.lock; /* net has its own copies; this process needs no more */
    start.lock = (struct file_lock){0};
    net_start_clear(&start);
    keep_memory();
    TRY(serve_store(&run, p));
    return reap_net(&run, p);
}
