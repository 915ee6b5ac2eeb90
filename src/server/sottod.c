/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server program. Started as
 *
 *     sottod --data DIR --listen ADDRESS
 *
 * it becomes two processes that share a socket:
 *
 *     clients == TLS ==> net (child) ---- pipe ---- store (parent)
 *                        TLS key                    signing key, database
 *                        no files
 *
 * Each ends when the other does. SIGTERM to either lets answers out and ends
 * both.
 */
#include "crypto/entropy.h"
#include "crypto/hash.h"
#include "proto/derive.h"
#include "proto/invite.h"
#include "server/home.h"
#include "server/keeper.h"
#include "server/legal.h"
#include "server/net.h"
#include "server/store_sqlite.h"
#include "server/trial.h"
#include "sys/clock.h"
#include "sys/log.h"
#include "sys/net.h"
#include "sys/process.h"
#include "sys/sandbox.h"
#include "sys/settings.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define EXIT_OK     0
#define EXIT_FAILED 1
#define EXIT_USAGE  2

#define NET_END_WAIT_MS (NET_DRAIN_MS + NET_END_MS + 1000U)
#define SIGNAL_STATUS   128 /* of process_wait */
#define COMMAND_TEXT    32U
#define SPARE_FDS       64U /* beside the clients' sockets */

struct options {
    const char *data;
    const char *listen;
    const char *cert;
    const char *key;
    const char *port_file;
    enum log_level log_level;
    unsigned pow_bits;
    bool open_registration;
    bool no_limits;
    bool help;
    bool version;
    const char *word; /* what a command is about */
};

static enum err parse_level(const char *text, void *field, struct problem *p)
{
    if (log_level_parse(text, field) == OK)
        return OK;
    return problem_set(p, ERR_INVALID, PROBLEM_USAGE,
                       "\"%.40s\" is no log level: error, warn, info, debug",
                       text);
}

static enum err parse_pow_bits(const char *text, void *field, struct problem *p)
{
    unsigned bits = 0;
    if (setting_number(text, &bits, NULL) != OK || bits < 1 ||
        bits > POW_BITS_MAX)
        return problem_set(p, ERR_INVALID, PROBLEM_USAGE,
                           "\"%.40s\" is no number from 1 to %u", text,
                           POW_BITS_MAX);
    *(unsigned *)field = bits;
    return OK;
}

static const struct setting table[] = {
    {"data", "DIR", NULL, "the data folder; made when it is not there",
     setting_text, offsetof(struct options, data)},
    {"listen", "ADDRESS", "*", "HOST[:PORT] to listen on; * is every address",
     setting_text, offsetof(struct options, listen)},
    {"cert", "FILE", NULL, "TLS certificate chain, PEM", setting_text,
     offsetof(struct options, cert)},
    {"key", "FILE", NULL, "its private key, PEM", setting_text,
     offsetof(struct options, key)},
    {"open-registration", NULL, NULL, "accounts need no invite", setting_flag,
     offsetof(struct options, open_registration)},
    {"pow-bits", "BITS", "18", "work asked of strangers, 1 to 26",
     parse_pow_bits, offsetof(struct options, pow_bits)},
    {"no-limits", NULL, NULL, "bound no rates; only for measurements",
     setting_flag, offsetof(struct options, no_limits)},
    {"port-file", "FILE", NULL, "where to write the port once ready",
     setting_text, offsetof(struct options, port_file)},
    {"log-level", "LEVEL", "info", "error, warn, info or debug", parse_level,
     offsetof(struct options, log_level)},
    {"help", NULL, NULL, "show this", setting_flag,
     offsetof(struct options, help)},
    {"version", NULL, NULL, "show the version", setting_flag,
     offsetof(struct options, version)},
};
static const struct settings settings = {table, sizeof table / sizeof table[0]};

static void say(const struct problem *p)
{
    (void)dprintf(STDERR_FILENO, "sottod: %s\n",
                  p->detail[0] != '\0' ? p->detail : "failed");
}

/* ---- The network process ---- */

struct net_start {
    struct tls_context *tls;
    int listener;
    struct file_lock lock;
};

static void net_start_clear(struct net_start *s)
{
    tls_context_free(&s->tls);
    if (s->listener > 0)
        (void)close(s->listener);
    file_lock_release(&s->lock);
    s->listener = 0;
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

static const int end_signals[] = {SIGTERM, SIGINT, 0};

static void drain_net(void *ctx, int signal)
{
    (void)signal;
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
                                      .listener = start->listener,
                                      .pipe = pipe,
                                      .clients_max = clients_max()};
    start->listener = 0; /* taken */
    TRY(net_create(loop, &config, &net, p));
    TRY(loop_signals(loop, end_signals, drain_net, net, p));
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
    return err == OK ? EXIT_OK : EXIT_FAILED;
}

/* ---- The store process ---- */

/* What the commands work on. */
struct server {
    struct random random;
    struct crypto *crypto;
    struct secret key;
    struct store_sqlite *sqlite;
    struct store store;
    struct core *core;
};

static void server_close(struct server *s)
{
    core_free(&s->core);
    store_sqlite_close(&s->sqlite);
    secret_clear(&s->key);
    crypto_free(&s->crypto);
}

static const struct core_limits no_limits = {
    .subscription_appends = UINT32_MAX,
    .subscription_commits = UINT32_MAX,
    .subscription_bytes = UINT32_MAX,
    .channel_appends = UINT32_MAX,
    .channel_commits = UINT32_MAX,
    .channel_bytes = UINT32_MAX,
    .remote_requests = UINT32_MAX,
    .remote_stranger_tasks = UINT32_MAX,
};

static enum err server_open(const struct options *o, bool existing,
                            struct server *s, struct problem *p)
{
    const struct store_sqlite_config config = {.dir = o->data,
                                               .existing = existing};
    s->random = entropy_system();
    if (crypto_create(&s->crypto) != OK)
        return problem_set(p, ERR_NOMEM, PROBLEM_SYSTEM,
                           "cannot set up the cryptography");
    TRY(home_server_key(o->data, s->crypto, existing ? NULL : &s->random,
                        &s->key, p));
    TRY(store_sqlite_open(&config, p, &s->sqlite));
    s->store = store_sqlite_store(s->sqlite);
    const struct core_parts parts = {
        .crypto = s->crypto,
        .random = &s->random,
        .store = &s->store,
        .server_key = &s->key,
        .config = {.open_registration = o->open_registration,
                   .pow_bits = (uint8_t)o->pow_bits,
                   .limits =
                       o->no_limits ? no_limits : (struct core_limits){0}},
    };
    enum err err = core_create(&parts, &s->core);
    if (err != OK)
        return problem_set(p, err, PROBLEM_SYSTEM, "cannot start the core: %s",
                           err_text(err));
    return OK;
}

static enum err print_invite(struct server *s, struct problem *p)
{
    uint8_t secret[CORE_INVITE_SIZE];
    char code[CODE_TEXT_MAX];
    enum err err = core_invite(s->core, clock_wall_ms(), secret);
    if (err == OK)
        err = invite_write(s->crypto, BYTES_ARRAY(secret),
                           core_public_key(s->core), code);
    explicit_bzero(secret, sizeof secret);
    if (err != OK)
        return problem_set(p, err, PROBLEM_SYSTEM, "cannot make an invite: %s",
                           s->store.problem(s->store.ctx)->detail);
    (void)printf("invite code: %s\n", code);
    explicit_bzero(code, sizeof code);
    return OK;
}

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
static enum err print_address(const struct options *o,
                              const struct net_name *name, struct problem *p)
{
    char text[NET_NAME_TEXT];
    net_name_text(name, text);
    (void)printf("listening on %s\n", text);
    if (fflush(stdout) != 0)
        return problem_system(p, "cannot write to standard output");
    if (o->port_file == NULL)
        return OK;
    int len = snprintf(text, sizeof text, "%u\n", (unsigned)name->port);
    return file_write(o->port_file,
                      (struct bytes){(const uint8_t *)text, (size_t)len}, p);
}

static void drain_all(void *ctx, int signal)
{
    (void)signal;
    log_info("sottod: stopping");
    keeper_drain(ctx);
}

/* What the store process has beside the server. */
struct run {
    const struct options *options;
    struct net_name address;
    struct buf cert;
    bool is_new; /* nothing was ever stored */
    struct child net;
};

static void run_clear(struct run *r)
{
    buf_clear(&r->cert);
    process_end(&r->net);
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
    TRY(loop_signals(loop, end_signals, drain_all, keeper, p));
    TRY(print_fingerprints(&s, buf_bytes(&run->cert), p));
    if (run->is_new)
        TRY(print_invite(&s, p));
    keeper_start(keeper);
    TRY(print_address(run->options, &run->address, p));
    const struct sandbox sandbox = {SANDBOX_STORE, run->options->data,
                                    run->net.pid};
    TRY(sandbox_enter(&sandbox, p));
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
    if (status != EXIT_OK)
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

/* Everything that can be refused is tried before the processes part. */
static enum err prepare(const struct options *o, struct net_start *start,
                        struct run *run, struct problem *p)
{
    char path[FILE_PATH_MAX];
    TRY(net_name_parse(o->listen, &run->address, p));
    TRY(home_open(o->data, &start->lock, p));
    /* The last thing that a first start makes. Once it is there, a file that is
     * missing was lost, and is not made anew. */
    TRY(file_path(o->data, "blobs", path, p));
    run->is_new = !file_exists(path);
    TRY(load_tls(o, start, run, p));
    TRY(net_listen(&run->address, &start->listener, p));
    enum err err = net_local(start->listener, &run->address);
    if (err != OK)
        return problem_set(p, err, PROBLEM_SYSTEM, "cannot see the port");
    return OK;
}

static enum err command_run(const struct options *o, struct problem *p)
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

/* ---- Other commands ---- */

static enum err command_check(const struct options *o, struct problem *p)
{
    CLEANUP(file_lock_release) struct file_lock lock = {0};
    CLEANUP(server_close) struct server s = {0};
    TRY(home_open_existing(o->data, &lock, p));
    TRY(server_open(o, true, &s, p));
    TRY(store_sqlite_check(s.sqlite, p));
    (void)printf("%s: no fault found\n", o->data);
    return OK;
}

/* Works beside a running server: the database lets both in. */
static enum err command_invite(const struct options *o, struct problem *p)
{
    CLEANUP(server_close) struct server s = {0};
    TRY(server_open(o, true, &s, p));
    return print_invite(&s, p);
}

/* Works beside a running server too. */
static enum err command_legal_export(const struct options *o, struct problem *p)
{
    CLEANUP(server_close) struct server s = {0};
    TRY(server_open(o, true, &s, p));
    return legal_export(s.sqlite, o->word, p);
}

static enum err command_self_test(const struct options *o, struct problem *p)
{
    (void)o;
    return trial_run(p);
}

static const struct command {
    const char *name; /* NULL: none is given */
    enum err (*run)(const struct options *o, struct problem *p);
    const char *help;
    const char *word; /* that follows it; NULL: none */
    bool without_data;
} commands[] = {
    {NULL, command_run, "run the server in the foreground", NULL, false},
    {"check", command_check, "verify the store of a stopped server", NULL,
     false},
    {"invite", command_invite, "make one more invite code", NULL, false},
    {"legal-export", command_legal_export,
     "print all that is held about an account", "NAME", false},
    {"self-test", command_self_test, "try what the sandboxes must refuse", NULL,
     true},
};
#define COMMANDS (sizeof commands / sizeof commands[0])

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < COMMANDS; i++) {
        const char *known = commands[i].name;
        if ((name == NULL) != (known == NULL))
            continue;
        if (name == NULL || strcmp(name, known) == 0)
            return &commands[i];
    }
    return NULL;
}

static void print_help(void)
{
    (void)printf("usage: sottod [COMMAND] --data DIR [OPTION...]\n\n");
    for (size_t i = 0; i < COMMANDS; i++) {
        const struct command *c = &commands[i];
        char name[COMMAND_TEXT];
        (void)snprintf(name, sizeof name, "%s %s",
                       c->name != NULL ? c->name : "(none)",
                       c->word != NULL ? c->word : "");
        (void)printf("  %-24s %s\n", name, c->help);
    }
    (void)printf("\n");
    (void)fflush(stdout);
    settings_help(&settings, STDOUT_FILENO);
}

static int run_command(const struct options *o, const char *name)
{
    struct problem p = {0};
    const struct command *command = find_command(name);
    if (command == NULL || (o->data == NULL && !command->without_data)) {
        (void)dprintf(STDERR_FILENO, "sottod: %s (see --help)\n",
                      command == NULL ? "no such command"
                                      : "--data DIR is missing");
        return EXIT_USAGE;
    }
    if ((command->word != NULL) != (o->word != NULL)) {
        (void)dprintf(STDERR_FILENO, "sottod: %s (see --help)\n",
                      command->word != NULL ? "the command needs a word more"
                                            : "one command at a time");
        return EXIT_USAGE;
    }
    log_open(STDERR_FILENO, o->log_level);
    if (process_harden(&p) != OK || command->run(o, &p) != OK) {
        say(&p);
        return p.kind == PROBLEM_USAGE ? EXIT_USAGE : EXIT_FAILED;
    }
    if (fflush(stdout) == 0 && ferror(stdout) == 0)
        return EXIT_OK;
    (void)dprintf(STDERR_FILENO,
                  "sottod: what it printed could not all be written\n");
    return EXIT_FAILED;
}

int main(int argc, char **argv)
{
    struct options o = {0};
    struct problem p = {0};
    (void)argc;
    char **words = argv + 1;
    if (settings_parse(&settings, words, &o, &p) != OK) {
        say(&p);
        return EXIT_USAGE;
    }
    if (o.help) {
        print_help();
        return EXIT_OK;
    }
    if (o.version) {
        (void)printf("sottod %s\n", SOTTO_VERSION);
        return EXIT_OK;
    }
    if (words[0] != NULL && words[1] != NULL) {
        o.word = words[1];
        if (words[2] != NULL) {
            (void)dprintf(STDERR_FILENO, "sottod: one command at a time\n");
            return EXIT_USAGE;
        }
    }
    return run_command(&o, words[0]);
}
