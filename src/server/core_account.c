/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The identified lane, and what strangers may ask about accounts. Two steps
 * where a signature must be checked against the newest state: first the store
 * gives it, then the core decides.
 */
#include "server/core_impl.h"

#include "crypto/hash.h"
#include "identity/state.h"
#include "proto/derive.h"
#include "proto/invite.h"

#include <string.h>

#define DAYS_PER_WEEK    7U
#define RECONNECTS_PER_S 500U
#define RECONNECT_MAX_MS 120000U

static struct session session_of(const struct core *c, const struct conn *conn)
{
    return (struct session){
        .lane = conn->lane,
        .server_key = BYTES_ARRAY(c->public_key),
        .client_nonce = BYTES_ARRAY(conn->client_nonce),
        .server_nonce = BYTES_ARRAY(conn->server_nonce),
        .exporter = {conn->exporter,
                     conn->has_exporter ? CORE_EXPORTER_SIZE : 0},
    };
}

/* --- hello --- */

bool serve_ping(struct core *c, struct task *t)
{
    (void)c;
    return task_refuse(t, STATUS_OK, 0);
}

/* The first message decides the lane. The signature shows that we hold the key
 * which the client pins, on this very connection. */
/* When all lose their connections at once, they come back at a rate that the
 * server can take. */
static uint32_t reconnect_delay(const struct core *c)
{
    uint64_t ms = c->conns.count * 1000U / RECONNECTS_PER_S;
    if (c->config.reconnect_delay_ms > 0)
        return c->config.reconnect_delay_ms;
    return ms < RECONNECT_MAX_MS ? (uint32_t)ms : RECONNECT_MAX_MS;
}

bool serve_hello(struct core *c, struct task *t)
{
    const struct hello_request *r = &t->op.request.hello;
    struct conn *conn = t->conn;
    if (r->version != PROTOCOL_VERSION)
        return task_refuse(t, STATUS_UNSUPPORTED, PROTOCOL_VERSION);
    conn->lane = r->lane;
    memcpy(conn->client_nonce, r->client_nonce.data, NONCE_SIZE);
    random_fill(&c->random, conn->server_nonce, NONCE_SIZE);

    struct hello_answer a = {
        .version = PROTOCOL_VERSION,
        .server_key = BYTES_ARRAY(c->public_key),
        .server_nonce = BYTES_ARRAY(conn->server_nonce),
        .time = c->now_ms / 1000,
        .pow_bits = c->config.pow_bits,
        .reconnect_delay_ms = reconnect_delay(c),
    };
    const struct session session = session_of(c, conn);
    enum err err = hello_sign(c->crypto, &c->key, &session, &a, &t->scratch);
    if (err != OK)
        return task_fail(c, t, err);
    a.signature = buf_bytes(&t->scratch);
    conn->stage = STAGE_HELLO;
    task_refuse(t, STATUS_OK, 0);
    t->op.answer.hello = a;
    return false;
}

/* --- register and login --- */

static void log_in(struct core *c, struct conn *conn, struct bytes account,
                   struct bytes device)
{
    if (conn->gone || conn->closing)
        return;
    memcpy(conn->account, account.data, ID_SIZE);
    memcpy(conn->device, device.data, ID_SIZE);
    if (map_add(&c->devices, &conn->by_device, map_hash(&c->devices, device)) !=
        OK) {
        conn_drop(c, conn); /* without memory: it must come again */
        return;
    }
    conn->stage = STAGE_LOGIN;
}

static enum err devices_list(const struct state *s, struct buf *out)
{
    for (size_t i = 0; i < s->device_count; i++)
        TRY(buf_append(out, s->devices[i].id));
    return OK;
}

/* The handle, and that the state is one that can begin an account here. */
static enum err register_check(struct core *c, struct task *t)
{
    const struct register_request *r = &t->op.request.reg;
    const struct session session = session_of(c, t->conn);
    struct state s;
    struct digest id;
    if (!name_valid(r->name))
        return ERR_INVALID;
    TRY(state_read(r->state, &s));
    TRY(state_verify_first(c->crypto, &s, NULL));
    const struct device *device = state_device(&s, r->device_id);
    if (device == NULL ||
        !bytes_equal(s.server_key, BYTES_ARRAY(c->public_key)))
        return ERR_INVALID;
    TRY(register_verify(c->crypto, device->signature_key, &session, r));
    TRY(account_id(c->crypto, r->state, &id));
    memcpy(t->account, id.data, ID_SIZE);
    TRY(devices_list(&s, &t->scratch));
    if (c->config.open_registration)
        return OK;
    struct digest invite;
    TRY(hash(c->crypto, HASH_SHA256, PARTS(r->invite), &invite));
    memcpy(t->hash, invite.data, sizeof t->hash);
    t->op.invite_hash = BYTES_ARRAY(t->hash);
    return OK;
}

bool serve_register(struct core *c, struct task *t)
{
    if (t->conn->stage == STAGE_LOGIN)
        return task_refuse(t, STATUS_STATE, 0);
    if (!work_allowed(c, t))
        return false;
    enum err err = register_check(c, t);
    if (err != OK)
        return task_fail(c, t, err);
    t->op.account = BYTES_ARRAY(t->account);
    t->op.devices = buf_bytes(&t->scratch);
    return true;
}

bool done_register(struct core *c, struct task *t)
{
    if (t->conn->stage == STAGE_HELLO)
        log_in(c, t->conn, t->op.account, t->op.request.reg.device_id);
    return true;
}

bool serve_login(struct core *c, struct task *t)
{
    (void)c;
    if (t->conn->stage == STAGE_LOGIN)
        return task_refuse(t, STATUS_STATE, 0);
    t->op.rule = STORE_NEWEST_STATE;
    t->op.account = t->op.request.login.account_id;
    return true;
}

/* Notes the week of an account's last use; nothing hangs on it. */
static void note_use(struct core *c, struct bytes account)
{
    struct task *t = NULL;
    if (task_own(c, METHOD_LOGIN, &t) != OK)
        return;
    memcpy(t->account, account.data, ID_SIZE);
    t->op.account = BYTES_ARRAY(t->account);
    task_submit(c, t);
}

static enum err login_check(struct core *c, struct task *t)
{
    const struct login_request *r = &t->op.request.login;
    const struct session session = session_of(c, t->conn);
    struct state s;
    TRY(state_read(buf_bytes(&t->op.data), &s));
    const struct device *device = state_device(&s, r->device_id);
    if (device == NULL)
        return ERR_AUTH; /* revoked, or never there */
    return login_verify(c->crypto, device->signature_key, &session, r);
}

bool done_login(struct core *c, struct task *t)
{
    const struct login_request *r = &t->op.request.login;
    enum err err = login_check(c, t);
    if (err == OK && t->conn->stage != STAGE_HELLO)
        err = ERR_STATE; /* two at once */
    if (err != OK) {
        task_fail(c, t, err);
        return true;
    }
    log_in(c, t->conn, r->account_id, r->device_id);
    if (t->op.seq != t->op.day / DAYS_PER_WEEK)
        note_use(c, r->account_id);
    return true;
}

/* The operator has disabled or deleted accounts: whoever is logged in to one
 * is cut off. */
bool done_notices(struct core *c, struct task *t)
{
    struct reader r = reader_of(buf_bytes(&t->op.data));
    c->notice = t->op.seq;
    while (reader_more(&r)) {
        struct bytes account = reader_raw(&r, ID_SIZE);
        for (struct map_node *n = map_each(&c->conns, NULL); n != NULL;
             n = map_each(&c->conns, n)) {
            struct conn *conn = MAP_OBJECT(n, struct conn, by_number);
            if (conn->stage == STAGE_LOGIN &&
                bytes_equal(BYTES_ARRAY(conn->account), account))
                conn_drop(c, conn);
        }
    }
    return true;
}

/* --- states --- */

bool serve_state_append(struct core *c, struct task *t)
{
    (void)c;
    t->op.rule = STORE_NEWEST_STATE;
    return true;
}

/* ERR_EXISTS: it is the newest already. ERR_STATE: it follows another one. */
static enum err state_check(struct core *c, struct task *t)
{
    struct bytes newest = buf_bytes(&t->op.data);
    struct bytes next = t->op.request.state_append.state;
    struct state before;
    struct state s;
    struct digest before_hash;
    if (bytes_equal(newest, next))
        return ERR_EXISTS;
    TRY(state_read(newest, &before));
    TRY(state_read(next, &s));
    if (s.version != before.version + 1)
        return ERR_STATE;
    if (state_device(&before, BYTES_ARRAY(t->conn->device)) == NULL)
        return ERR_AUTH; /* revoked since it logged in */
    TRY(state_hash(c->crypto, newest, &before_hash));
    TRY(state_verify_next(c->crypto, &before, digest_bytes(&before_hash), &s,
                          NULL));
    t->op.version = s.version;
    return devices_list(&s, &t->scratch);
}

static bool lists_device(struct bytes devices, struct bytes id)
{
    struct reader r = reader_of(devices);
    while (reader_more(&r)) {
        if (bytes_equal(reader_raw(&r, ID_SIZE), id))
            return true;
    }
    return false;
}

/* Connections of devices that the new state does not list. */
static void drop_revoked(struct core *c, const struct task *t)
{
    for (struct map_node *n = map_each(&c->conns, NULL); n != NULL;
         n = map_each(&c->conns, n)) {
        struct conn *conn = MAP_OBJECT(n, struct conn, by_number);
        if (conn->stage == STAGE_LOGIN &&
            bytes_equal(BYTES_ARRAY(conn->account), t->op.account) &&
            !lists_device(t->op.devices, BYTES_ARRAY(conn->device)))
            conn_drop(c, conn);
    }
}

bool done_state_append(struct core *c, struct task *t)
{
    if (t->phase > 1) {
        drop_revoked(c, t);
        return true;
    }
    uint64_t newest = t->op.answer.login.state_version;
    enum err err = state_check(c, t);
    buf_clear(&t->op.data);
    if (err == OK) {
        t->op.rule = METHOD_STATE_APPEND;
        t->op.devices = buf_bytes(&t->scratch);
        task_submit(c, t);
        return false;
    }
    if (err == ERR_EXISTS)
        task_refuse(t, STATUS_OK, 0);
    else if (err == ERR_STATE)
        task_refuse(t, STATUS_STATE, newest);
    else
        task_fail(c, t, err);
    return true;
}

/* --- key packages --- */

static enum err hash_append(struct core *c, struct bytes content,
                            struct buf *out)
{
    struct digest digest;
    TRY(hash(c->crypto, HASH_SHA256, PARTS(content), &digest));
    return buf_append(out, digest_bytes(&digest));
}

static enum err packages_hash(struct core *c, struct task *t)
{
    const struct kp_publish_request *r = &t->op.request.kp_publish;
    struct reader list = reader_of(r->packages);
    size_t count = 0;
    while (reader_more(&list)) {
        if (count++ >= KEY_PACKAGES)
            return ERR_LIMIT;
        TRY(hash_append(c, reader_vec(&list), &t->scratch));
    }
    if (r->last_resort.len > 0)
        TRY(hash_append(c, r->last_resort, &t->scratch));
    return reader_finish(&list);
}

bool serve_kp_publish(struct core *c, struct task *t)
{
    enum err err = packages_hash(c, t);
    if (err != OK)
        return task_fail(c, t, err);
    t->op.digest = buf_bytes(&t->scratch);
    return true;
}

/* Either the account's contact capability, or work for a stranger. */
static bool right_given(struct core *c, struct task *t, struct bytes cap,
                        enum pow_purpose purpose, struct bytes subject,
                        struct pow pow)
{
    if (cap.len == 0) {
        if (!work_allowed(c, t))
            return false;
        enum err err = pow_check(c->crypto, purpose, subject, pow,
                                 c->config.pow_bits, c->now_ms / 1000);
        if (err == ERR_STATE) /* of another day, so it is no work */
            err = ERR_AUTH;
        return err == OK || task_fail(c, t, err);
    }
    enum err err = cap_hash(c->crypto, cap, t->cap);
    t->op.cap_hash = BYTES_ARRAY(t->cap);
    return err == OK || task_fail(c, t, err);
}

bool serve_kp_take(struct core *c, struct task *t)
{
    const struct kp_take_request *r = &t->op.request.kp_take;
    t->op.digest = r->pow_subject;
    return right_given(c, t, r->contact_cap, POW_KP_TAKE, r->pow_subject,
                       r->pow);
}

/* --- inboxes --- */

bool serve_inbox_append(struct core *c, struct task *t)
{
    const struct inbox_append_request *r = &t->op.request.inbox_append;
    struct digest digest;
    enum err err = hash(c->crypto, HASH_SHA256, PARTS(r->item), &digest);
    if (err != OK)
        return task_fail(c, t, err);
    memcpy(t->hash, digest.data, sizeof t->hash);
    t->op.digest = BYTES_ARRAY(t->hash);
    return right_given(c, t, r->contact_cap, POW_INBOX, t->op.digest, r->pow);
}

bool done_inbox_append(struct core *c, struct task *t)
{
    if (t->op.seq > 0)
        push_inbox(c, t->op.request.inbox_append.device_id, t->op.seq);
    return true;
}

void push_inbox(struct core *c, struct bytes device, uint64_t seq)
{
    CLEANUP(blob_release) struct core_blob *b = NULL;
    const struct request event = {.method = EVENT_INBOX_ITEM,
                                  .inbox_event = {seq}};
    uint64_t hash = map_hash(&c->devices, device);
    struct map_node *n = map_find(&c->devices, hash);
    if (n == NULL || blob_create(&b) != OK ||
        request_write(&b->message, &event) != OK)
        return; /* a push is a help only: it finds the item when it reads */
    for (; n != NULL; n = map_again(n)) {
        const struct conn *conn = MAP_OBJECT(n, struct conn, by_device);
        if (bytes_equal(BYTES_ARRAY(conn->device), device) &&
            output_add(c, conn, FRAME_EVENT, 0, b) == OK)
            c->stats.pushed++;
    }
}
