/* SPDX-License-Identifier: Apache-2.0 */
#include "server/core_impl.h"

#include "base/mem.h"
#include "crypto/hash.h"
#include "crypto/sign.h"

#include <assert.h>
#include <string.h>

#define ROUNDS_MAX                                            \
    4U /* of the store in one flush: the longest handler is 2 \
        */
#define COLLECT_MS    1000U
#define MIB           (1U << 20)
#define SPARE_TASKS   64U
#define SPARE_MESSAGE (4U << 10)

static const struct handler handlers[] = {
    {METHOD_HELLO, serve_hello, NULL},
    {METHOD_PING, serve_ping, NULL},
    {METHOD_REGISTER, serve_register, done_register},
    {METHOD_LOGIN, serve_login, done_login},
    {METHOD_STATE_APPEND, serve_state_append, done_state_append},
    {METHOD_CONTACT_SET, NULL, NULL},
    {METHOD_KP_PUBLISH, serve_kp_publish, NULL},
    {METHOD_KP_COUNT, NULL, NULL},
    {METHOD_INBOX_READ, NULL, NULL},
    {METHOD_INBOX_ACK, NULL, NULL},
    {METHOD_LOOKUP, NULL, NULL},
    {METHOD_CHAIN, NULL, NULL},
    {METHOD_KP_TAKE, serve_kp_take, NULL},
    {METHOD_INBOX_APPEND, serve_inbox_append, done_inbox_append},
    {METHOD_CHANNEL_CREATE, serve_channel_create, NULL},
    {METHOD_ATTACH, serve_attach, done_attach},
    {METHOD_READ, serve_read, NULL},
    {METHOD_APPEND, serve_append, done_append},
    {METHOD_ACK, serve_access, NULL},
    {METHOD_REOPEN, serve_access, NULL},
    {METHOD_BLOB_PUT, serve_blob_put, NULL},
    {METHOD_BLOB_GET, NULL, NULL},
};

static const struct handler *handler_find(uint16_t method)
{
    for (size_t i = 0; i < sizeof handlers / sizeof handlers[0]; i++) {
        if (handlers[i].method == method)
            return &handlers[i];
    }
    return NULL;
}

/* --- life --- */

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
    return value != 0 ? value : otherwise;
}

/* Generous to people, and far below what would hurt others. */
static void config_complete(struct core_config *c)
{
    struct core_limits *l = &c->limits;
    c->pow_bits = c->pow_bits != 0 ? c->pow_bits : 18;
    c->busy_retry_ms = or_default(c->busy_retry_ms, 1000);
    c->pending_max = or_default(c->pending_max, 1024);
    c->conn_pending_max = or_default(c->conn_pending_max, 64);
    c->pending_bytes =
        c->pending_bytes != 0 ? c->pending_bytes : (size_t)64 * MIB;
    c->connections_max = c->connections_max != 0 ? c->connections_max : MIB;
    c->attached_max = c->attached_max != 0 ? c->attached_max : (size_t)2 * MIB;
    c->output_max = c->output_max != 0 ? c->output_max : (size_t)64 * MIB;
    l->subscription_appends = or_default(l->subscription_appends, 6000);
    l->subscription_commits = or_default(l->subscription_commits, 120);
    l->subscription_bytes = or_default(l->subscription_bytes, 128 * MIB);
    l->channel_appends = or_default(l->channel_appends, 20000);
    l->channel_commits = or_default(l->channel_commits, 240);
    l->channel_bytes = or_default(l->channel_bytes, 512 * MIB);
    l->remote_requests = or_default(l->remote_requests, 120000);
    l->remote_bytes = or_default(l->remote_bytes, 1024 * MIB);
    l->subscription_reads = or_default(l->subscription_reads, 256 * MIB);
    l->remote_reads = or_default(l->remote_reads, 1024 * MIB);
    l->remote_stranger_tasks = or_default(l->remote_stranger_tasks, 120);
}

static enum err set_key(struct core *c, const struct secret *key)
{
    CLEANUP(buf_clear) struct buf public_key = buf_new(KEY_SIZE);
    secret_copy(&c->key, key);
    TRY(sign_public(c->crypto, SIGN_ED25519, &c->key, &public_key));
    assert(public_key.len == KEY_SIZE);
    memcpy(c->public_key, public_key.data, KEY_SIZE);
    return OK;
}

enum err core_create(const struct core_parts *parts, struct core **out)
{
    CLEANUP(core_free) struct core *c = mem_alloc(sizeof *c);
    if (c == NULL)
        return ERR_NOMEM;
    c->crypto = parts->crypto;
    c->random = *parts->random;
    c->store = parts->store;
    c->config = parts->config;
    config_complete(&c->config);
    c->conns = map_new(parts->random);
    c->devices = map_new(parts->random);
    c->topics = map_new(parts->random);
    c->outputs_end = &c->outputs;
    c->notice = STORE_NOTICE_NEWEST;
    TRY(set_key(c, parts->server_key));
    TRY(limits_create(parts->random, &c->limits));
    *out = c;
    c = NULL; /* handed over */
    return OK;
}

static void task_free(struct core *c, struct task *t);
static void task_release(struct task *t);
static void conn_free(struct conn *conn);

void core_free(struct core **core)
{
    struct core *c = *core;
    struct core_output out;
    if (c == NULL)
        return;
    while (c->tasks != NULL)
        task_free(c, c->tasks);
    for (struct task *t = c->spare; t != NULL; t = c->spare) {
        c->spare = t->next;
        task_release(t);
    }
    for (struct map_node *n = map_each(&c->conns, NULL); n != NULL;
         n = map_each(&c->conns, NULL))
        core_close(c, MAP_OBJECT(n, struct conn, by_number)->number);
    while (core_take(c, &out))
        core_output_clear(&out);
    map_clear(&c->conns);
    map_clear(&c->devices);
    map_clear(&c->topics);
    limits_free(&c->limits);
    secret_clear(&c->key);
    mem_free(c, sizeof *c);
    *core = NULL;
}

struct bytes core_public_key(const struct core *c)
{
    return BYTES_ARRAY(c->public_key);
}

struct core_stats core_stats(const struct core *c)
{
    struct core_stats stats = c->stats;
    stats.connections = c->conns.count;
    return stats;
}

/* --- connections --- */

struct conn *conn_find(const struct core *c, uint32_t number)
{
    /* Numbers are places in net's tables, which no client chooses: they are
     * their own hash. */
    struct map_node *n = map_find(&c->conns, number);
    while (n != NULL && MAP_OBJECT(n, struct conn, by_number)->number != number)
        n = map_again(n);
    return n != NULL ? MAP_OBJECT(n, struct conn, by_number) : NULL;
}

static void conn_free(struct conn *conn)
{
    assert(conn->pending == 0 && conn->attachments == NULL);
    mem_free(conn->last, sizeof *conn->last);
    mem_free(conn, sizeof *conn);
}

enum err core_open(struct core *c, uint32_t number, struct bytes exporter,
                   uint64_t remote)
{
    assert(exporter.len == 0 || exporter.len == CORE_EXPORTER_SIZE);
    if (conn_find(c, number) != NULL)
        return ERR_EXISTS;
    if (c->conns.count >= c->config.connections_max)
        return ERR_LIMIT;
    struct conn *conn = mem_alloc(sizeof *conn);
    if (conn == NULL)
        return ERR_NOMEM;
    conn->last = mem_alloc(sizeof *conn->last);
    conn->number = number;
    conn->remote = remote;
    conn->has_exporter = exporter.len > 0;
    if (exporter.len > 0)
        memcpy(conn->exporter, exporter.data, exporter.len);
    enum err err = conn->last == NULL ? ERR_NOMEM : OK;
    if (err == OK)
        err = map_add(&c->conns, &conn->by_number, number);
    if (err != OK)
        conn_free(conn);
    return err;
}

/* Nobody finds it any more; its tasks still run to their end. */
static void conn_forget(struct core *c, struct conn *conn)
{
    attachments_drop(c, conn);
    if (conn->stage == STAGE_LOGIN)
        map_remove(&c->devices, &conn->by_device);
    conn->stage = STAGE_OPEN;
}

void core_close(struct core *c, uint32_t number)
{
    struct conn *conn = conn_find(c, number);
    if (conn == NULL)
        return;
    conn_forget(c, conn);
    map_remove(&c->conns, &conn->by_number);
    conn->gone = true;
    if (conn->pending == 0)
        conn_free(conn);
}

/* Its owner is told, and closes it. */
void conn_drop(struct core *c, struct conn *conn)
{
    if (conn->closing || conn->gone)
        return;
    conn_forget(c, conn);
    conn->closing = true;
    output_close(c, conn);
}

bool core_is_full(const struct core *c, uint32_t number)
{
    const struct conn *conn = conn_find(c, number);
    return core_is_loaded(c) ||
           (conn != NULL && conn->pending >= c->config.conn_pending_max);
}

void core_slow(struct core *c, uint32_t number)
{
    struct conn *conn = conn_find(c, number);
    if (conn == NULL)
        return;
    conn->slow = true;
    attachments_pull(c, conn); /* what was dropped outside may be the last */
}

bool core_is_loaded(const struct core *c)
{
    return c->task_count >= c->config.pending_max ||
           c->task_bytes >= c->config.pending_bytes ||
           c->output_bytes >= c->config.output_max;
}

bool core_is_waiting(const struct core *c) { return c->task_count > 0; }

/* --- tasks --- */

bool task_refuse(struct task *t, enum status status, uint64_t detail)
{
    t->op.answer = (struct answer){.method = t->op.request.method,
                                   .status = (uint8_t)status,
                                   .detail = detail};
    return false;
}

bool task_fail(const struct core *c, struct task *t, enum err err)
{
    switch (err) {
    case ERR_MALFORMED:
        return task_refuse(t, STATUS_MALFORMED, 0);
    case ERR_INVALID:
        return task_refuse(t, STATUS_INVALID, 0);
    case ERR_AUTH:
        return task_refuse(t, STATUS_AUTH, 0);
    case ERR_LIMIT:
        return task_refuse(t, STATUS_LIMIT, 0);
    case ERR_STATE:
        return task_refuse(t, STATUS_STATE, 0);
    case ERR_NOTFOUND:
        return task_refuse(t, STATUS_NOTFOUND, 0);
    case ERR_EXISTS:
        return task_refuse(t, STATUS_EXISTS, 0);
    case OK:
    case ERR_NOMEM:
    case ERR_IO:
        break;
    }
    return task_refuse(t, STATUS_BUSY, c->config.busy_retry_ms);
}

/* Most requests are small and end soon: some tasks wait for the next one with
 * the memory of their message. */
static struct task *spare_take(struct core *c)
{
    struct task *t = c->spare;
    if (t != NULL) {
        c->spare = t->next;
        c->spare_count--;
        t->next = NULL;
        return t;
    }
    t = mem_alloc(sizeof *t);
    if (t != NULL)
        t->message = buf_new(MESSAGE_MAX);
    return t;
}

static void task_release(struct task *t)
{
    buf_clear(&t->message);
    mem_free(t, sizeof *t);
}

static void spare_add(struct core *c, struct task *t)
{
    if (c->spare_count >= SPARE_TASKS || t->message.cap > SPARE_MESSAGE) {
        task_release(t);
        return;
    }
    buf_truncate(&t->message, 0); /* wipes its capability */
    *t = (struct task){.message = t->message, .next = c->spare};
    c->spare = t;
    c->spare_count++;
}

static enum err task_create(struct core *c, struct conn *conn, uint32_t id,
                            struct task **out)
{
    struct task *t = spare_take(c);
    if (t == NULL)
        return ERR_NOMEM;
    t->conn = conn;
    t->id = id;
    t->scratch = buf_new(MESSAGE_MAX);
    t->op.now = c->now_ms / 1000;
    t->op.day = (uint32_t)(t->op.now / 86400);
    t->next = c->tasks;
    if (t->next != NULL)
        t->next->previous = t;
    c->tasks = t;
    c->task_count++;
    if (conn != NULL)
        conn->pending++;
    *out = t;
    return OK;
}

static void task_free(struct core *c, struct task *t)
{
    if (t->previous != NULL)
        t->previous->next = t->next;
    else
        c->tasks = t->next;
    if (t->next != NULL)
        t->next->previous = t->previous;
    c->task_count--;
    c->task_bytes -= t->message.len;
    if (t->conn != NULL && --t->conn->pending == 0 && t->conn->gone)
        conn_free(t->conn);
    buf_clear(&t->scratch);
    buf_clear(&t->op.data);
    spare_add(c, t);
}

enum err task_own(struct core *c, uint16_t rule, struct task **out)
{
    TRY(task_create(c, NULL, 0, out));
    (*out)->op.rule = rule;
    return OK;
}

void task_submit(struct core *c, struct task *t)
{
    t->phase++;
    c->submitted = true;
    c->store->submit(c->store->ctx, &t->op);
}

/* Queues the answer. An answer that cannot be made would leave the client
 * waiting: it is cut off instead, and asks again. */
static void task_answer(struct core *c, struct task *t)
{
    CLEANUP(blob_release) struct core_blob *b = NULL;
    struct conn *conn = t->conn;
    if (conn == NULL || conn->gone || conn->closing)
        return;
    if (t->op.answer.status == STATUS_BUSY)
        c->stats.busy++;
    if (blob_create(&b) != OK ||
        answer_write(&b->message, &t->op.answer) != OK ||
        output_add(c, conn, FRAME_ANSWER, t->id, b) != OK)
        conn_drop(c, conn);
}

static void task_end(struct core *c, struct task *t)
{
    task_answer(c, t);
    task_free(c, t);
}

bool work_allowed(struct core *c, struct task *t)
{
    if (limits_spend(c->limits, LIMIT_REMOTE_WORK, t->conn->remote,
                     c->now_ms / 60000, 1,
                     c->config.limits.remote_stranger_tasks))
        return true;
    c->stats.refused++;
    return task_refuse(t, STATUS_BUSY, 60000 - c->now_ms % 60000);
}

/* --- messages --- */

/* Copies and parses the request; what may be sent here and now is the table's
 * affair (proto/message.h). */
static enum err task_read(struct core *c, struct task *t, struct bytes message)
{
    TRY(buf_append(&t->message, message));
    c->task_bytes += message.len;
    TRY(request_read(buf_bytes(&t->message), &t->op.request));
    t->op.rule = t->op.request.method;
    t->handler = handler_find(t->op.request.method);
    const struct method_info *m = method_find(t->op.request.method);
    if (t->handler == NULL || !method_allowed(m, t->conn->lane, t->conn->stage))
        return ERR_MALFORMED;
    return OK;
}

static bool task_start(struct core *c, struct task *t, struct bytes message)
{
    enum err err = task_read(c, t, message);
    if (err == ERR_NOTFOUND) /* no such method: perhaps of a newer version */
        return task_refuse(t, STATUS_UNSUPPORTED, PROTOCOL_VERSION);
    if (err != OK)
        return task_fail(c, t, err);
    if (c->task_count > c->config.pending_max ||
        t->conn->pending > c->config.conn_pending_max)
        return task_refuse(t, STATUS_BUSY, c->config.busy_retry_ms);
    if (!limits_spend(c->limits, LIMIT_REMOTE_REQUESTS, t->conn->remote,
                      c->now_ms / 60000, 1, c->config.limits.remote_requests)) {
        c->stats.refused++;
        return task_refuse(t, STATUS_BUSY, 60000 - c->now_ms % 60000);
    }
    if (t->conn->stage == STAGE_LOGIN) {
        t->op.account = BYTES_ARRAY(t->conn->account);
        t->op.device = BYTES_ARRAY(t->conn->device);
    }
    return t->handler->start == NULL || t->handler->start(c, t);
}

void core_message(struct core *c, uint32_t number, uint8_t kind, uint32_t id,
                  struct bytes message, uint64_t now_ms)
{
    struct conn *conn = conn_find(c, number);
    struct task *t = NULL;
    c->now_ms = now_ms;
    if (conn == NULL || conn->closing)
        return;
    c->stats.requests++;
    if (kind != FRAME_REQUEST || task_create(c, conn, id, &t) != OK) {
        conn_drop(c, conn);
        return;
    }
    if (task_start(c, t, message))
        task_submit(c, t);
    else
        task_end(c, t);
}

/* --- the store --- */

static struct task *task_of(struct store_op *op)
{
    void *task = (char *)op - offsetof(struct task, op);
    return task;
}

static void complete(struct core *c, struct task *t)
{
    if (t->op.answer.status == STATUS_BUSY)
        t->op.answer.detail = c->config.busy_retry_ms;
    if (t->outcome != NULL)
        *t->outcome = t->op.answer.status;
    if (t->charged > 0)
        settle_read(c, t);
    bool ok = t->op.answer.status == STATUS_OK;
    if (ok && t->handler != NULL && t->handler->done != NULL &&
        !t->handler->done(c, t))
        return;
    task_end(c, t);
}

/* Takes back what is done, as far as there is room for its answers. */
static void take_done(struct core *c)
{
    struct store_op *op = NULL;
    bool failed = false;
    while (c->output_bytes < c->config.output_max &&
           (op = c->store->poll(c->store->ctx)) != NULL) {
        failed = failed || op->answer.status == STATUS_BUSY;
        complete(c, task_of(op));
    }
    c->more = c->output_bytes >= c->config.output_max;
    c->stats.failed_flushes += failed;
}

/* A store that does all in a flush may leave some for the next one. */
static bool has_submitted(const struct core *c)
{
    return c->submitted || (c->store->fd < 0 && c->task_count > 0);
}

bool core_has_more(const struct core *c) { return c->more || has_submitted(c); }

/* Handlers of two steps submit again. */
static void run_store(struct core *c)
{
    for (unsigned i = 0; i < ROUNDS_MAX; i++) {
        if (has_submitted(c)) {
            c->submitted = false;
            c->stats.flushes++;
            c->store->flush(c->store->ctx);
        }
        take_done(c);
        if (!c->submitted || c->more)
            return;
    }
}

/* What is due from time to time. Notices are read before old ones go. */
static void submit_own(struct core *c)
{
    static const struct handler notices = {STORE_NOTICES, NULL, done_notices};
    struct task *t = NULL;
    if (task_own(c, STORE_NOTICES, &t) != OK)
        return;
    t->handler = &notices;
    t->op.version = c->notice;
    task_submit(c, t);
    if (task_own(c, STORE_COLLECT, &t) != OK)
        return;
    c->collect_ms = c->now_ms + COLLECT_MS;
    task_submit(c, t);
}

void core_flush(struct core *c, uint64_t now_ms)
{
    c->now_ms = now_ms;
    /* a clock that was set back must not stop the collection */
    if (now_ms >= c->collect_ms || now_ms + COLLECT_MS < c->collect_ms)
        submit_own(c);
    run_store(c);
}

enum err core_invite(struct core *c, uint64_t now_ms,
                     uint8_t out_secret[CORE_INVITE_SIZE])
{
    uint8_t raw[CORE_INVITE_SIZE];
    uint8_t outcome = STATUS_COUNT_;
    struct digest digest;
    struct task *t = NULL;
    c->now_ms = now_ms;
    random_fill(&c->random, raw, sizeof raw);
    TRY(hash(c->crypto, HASH_SHA256, PARTS(BYTES_ARRAY(raw)), &digest));
    TRY(task_own(c, STORE_INVITE_ADD, &t));
    memcpy(t->hash, digest.data, sizeof t->hash);
    t->op.invite_hash = BYTES_ARRAY(t->hash);
    t->outcome = &outcome;
    task_submit(c, t);
    run_store(c);
    while (outcome == STATUS_COUNT_ && c->store->wait != NULL) {
        c->store->wait(c->store->ctx);
        run_store(c);
    }
    if (outcome != STATUS_OK)
        return ERR_IO;
    memcpy(out_secret, raw, sizeof raw);
    return OK;
}
