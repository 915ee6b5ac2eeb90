/* SPDX-License-Identifier: Apache-2.0 */
/* Channels: the rights to them, their limits, and who is told of what. */
#include "server/core_impl.h"

#include "base/mem.h"
#include "base/share.h"
#include "crypto/hash.h"
#include "proto/derive.h"

#include <string.h>

#define MINUTE_MS  60000U
#define EVENT_REST 64U /* at least what an entry event has beside its body */

/* --- attachments --- */

static struct topic *topic_find(const struct core *c, struct bytes channel)
{
    struct map_node *n = map_find(&c->topics, map_hash(&c->topics, channel));
    while (n != NULL &&
           !bytes_equal(BYTES_ARRAY(MAP_OBJECT(n, struct topic, node)->id),
                        channel))
        n = map_again(n);
    return n != NULL ? MAP_OBJECT(n, struct topic, node) : NULL;
}

static enum err topic_get(struct core *c, struct bytes channel,
                          struct topic **out)
{
    struct topic *topic = topic_find(c, channel);
    if (topic == NULL) {
        topic = mem_alloc(sizeof *topic);
        if (topic == NULL)
            return ERR_NOMEM;
        memcpy(topic->id, channel.data, ID_SIZE);
        if (map_add(&c->topics, &topic->node, map_hash(&c->topics, channel)) !=
            OK) {
            mem_free(topic, sizeof *topic);
            return ERR_NOMEM;
        }
    }
    *out = topic;
    return OK;
}

static void topic_release(struct core *c, struct topic *topic)
{
    if (topic->attachments != NULL)
        return;
    map_remove(&c->topics, &topic->node);
    mem_free(topic, sizeof *topic);
}

static void link_in(struct attachment *a)
{
    a->conn_from = &a->conn->attachments;
    a->conn_next = *a->conn_from;
    if (a->conn_next != NULL)
        a->conn_next->conn_from = &a->conn_next;
    *a->conn_from = a;
    a->topic_from = &a->topic->attachments;
    a->topic_next = *a->topic_from;
    if (a->topic_next != NULL)
        a->topic_next->topic_from = &a->topic_next;
    *a->topic_from = a;
}

/* Takes it out of both lists and frees it; its topic stays. */
static void attachment_free(struct core *c, struct attachment *a)
{
    *a->topic_from = a->topic_next;
    if (a->topic_next != NULL)
        a->topic_next->topic_from = a->topic_from;
    *a->conn_from = a->conn_next;
    if (a->conn_next != NULL)
        a->conn_next->conn_from = a->conn_from;
    a->conn->attached--;
    c->attached--;
    mem_free(a, sizeof *a);
}

void attachments_drop(struct core *c, struct conn *conn)
{
    while (conn->attachments != NULL) {
        struct topic *topic = conn->attachments->topic;
        attachment_free(c, conn->attachments);
        topic_release(c, topic);
    }
}

/* A topic may have very many, a connection not. */
static struct attachment *attachment_find(const struct topic *topic,
                                          const struct conn *conn,
                                          struct bytes sub)
{
    struct attachment *a = topic != NULL ? conn->attachments : NULL;
    while (a != NULL &&
           (a->topic != topic || !bytes_equal(BYTES_ARRAY(a->sub), sub)))
        a = a->conn_next;
    return a;
}

static struct conn *next_conn(const struct core *c, struct conn *last)
{
    struct map_node *n =
        map_each(&c->conns, last != NULL ? &last->by_number : NULL);
    return n != NULL ? MAP_OBJECT(n, struct conn, by_number) : NULL;
}

/* When there are too many, those who have most are cut off, until half is free:
 * who has few keeps them. */
static void make_room(struct core *c)
{
    struct share share = {{0}};
    for (struct conn *k = next_conn(c, NULL); k != NULL; k = next_conn(c, k))
        share_add(&share, k->attached);
    unsigned limit = share_limit(&share, c->config.attached_max / 2);
    for (struct conn *k = next_conn(c, NULL); k != NULL; k = next_conn(c, k))
        if (share_level(k->attached) >= limit)
            conn_drop(c, k);
}

static enum err attachment_add(struct core *c, struct conn *conn,
                               const struct access *access,
                               struct bytes cap_hash)
{
    struct topic *topic = NULL;
    if (c->attached >= c->config.attached_max)
        make_room(c);
    if (conn->closing)
        return ERR_LIMIT;
    TRY(topic_get(c, access->channel, &topic));
    struct attachment *a = mem_alloc(sizeof *a);
    if (a == NULL) {
        topic_release(c, topic);
        return ERR_NOMEM;
    }
    memcpy(a->sub, access->sub.data, ID_SIZE);
    memcpy(a->cap_hash, cap_hash.data, CAP_SIZE);
    a->conn = conn;
    a->topic = topic;
    link_in(a);
    conn->attached++;
    c->attached++;
    return OK;
}

/* --- events --- */

static enum err event_make(const struct request *event, struct core_blob **out)
{
    TRY(blob_create(out));
    if (event->method == EVENT_ENTRY)
        TRY(buf_reserve(&(*out)->message,
                        event->entry_event.body.len + EVENT_REST));
    return request_write(&(*out)->message, event);
}

/* Tells an attachment to read for itself, once. */
static void push_head(struct core *c, struct attachment *a, uint64_t head)
{
    CLEANUP(blob_release) struct core_blob *b = NULL;
    const struct request event = {
        .method = EVENT_HEAD,
        .head_event = {.channel = BYTES_ARRAY(a->topic->id), .head = head},
    };
    if (!a->pulls && event_make(&event, &b) == OK &&
        output_add(c, a->conn, FRAME_EVENT, 0, b) == OK)
        a->pulls = true;
}

/* Gives an entry to everybody who is attached, `but` excepted; whom it cannot
 * be given (slow, or no memory), is told to read. An ephemeral entry is then
 * lost. */
static void push_entry(struct core *c, struct topic *topic,
                       const struct request *event, const struct conn *but)
{
    CLEANUP(blob_release) struct core_blob *b = NULL;
    bool made = event_make(event, &b) == OK;
    uint64_t seq = event->entry_event.seq;
    if (seq > 0)
        topic->head = seq;
    for (struct attachment *a = topic->attachments; a != NULL;
         a = a->topic_next) {
        if (a->pulls || a->conn == but)
            continue;
        bool room =
            made && !a->conn->slow && c->output_bytes < c->config.output_max;
        if (room && output_add(c, a->conn, FRAME_EVENT, 0, b) == OK)
            c->stats.pushed++;
        else if (seq > 0)
            push_head(c, a, seq);
    }
}

void attachments_pull(struct core *c, const struct conn *conn)
{
    for (struct attachment *a = conn->attachments; a != NULL; a = a->conn_next)
        if (a->topic->head > 0)
            push_head(c, a, a->topic->head);
}

/* --- rights and limits --- */

static const struct access *access_of(const struct task *t)
{
    /* Every request on a channel begins with it. */
    switch (t->op.request.method) {
    case METHOD_ATTACH:
        return &t->op.request.attach.access;
    case METHOD_READ:
        return &t->op.request.read.access;
    case METHOD_APPEND:
        return &t->op.request.append.access;
    case METHOD_ACK:
        return &t->op.request.ack.access;
    case METHOD_REOPEN:
        return &t->op.request.reopen.access;
    default:
        return &t->op.request.blob_put.access;
    }
}

bool serve_access(struct core *c, struct task *t)
{
    enum err err = cap_hash(c->crypto, access_of(t)->cap, t->cap);
    t->op.cap_hash = BYTES_ARRAY(t->cap);
    return err == OK || task_fail(c, t, err);
}

/* A subscription's meters are those of its capability, so that who only knows
 * its id cannot use them up. */
static void meters_of(struct core *c, struct task *t)
{
    t->channel_meter = limits_key(c->limits, access_of(t)->channel);
    t->sub_meter = limits_key(c->limits, t->op.cap_hash) ^ t->channel_meter;
}

static bool over(struct core *c, struct task *t)
{
    c->stats.refused++;
    return task_refuse(t, STATUS_BUSY, MINUTE_MS - c->now_ms % MINUTE_MS);
}

/* Nobody knows what a read will bring: it is charged for the most. So that also
 * bounds how many are under way, and who is over it need not wait long. */
bool serve_read(struct core *c, struct task *t)
{
    const struct core_limits *max = &c->config.limits;
    if (!serve_access(c, t))
        return false;
    meters_of(c, t);
    t->minute = c->now_ms / MINUTE_MS;
    bool ok = limits_spend(c->limits, LIMIT_SUB_READS, t->sub_meter, t->minute,
                           ENTRY_MAX, max->subscription_reads);
    if (ok && !limits_spend(c->limits, LIMIT_REMOTE_READS, t->conn->remote,
                            t->minute, ENTRY_MAX, max->remote_reads)) {
        limits_refund(c->limits, LIMIT_SUB_READS, t->sub_meter, t->minute,
                      ENTRY_MAX);
        ok = false;
    }
    if (!ok) {
        c->stats.refused++;
        return task_refuse(t, STATUS_BUSY, c->config.busy_retry_ms);
    }
    t->charged = ENTRY_MAX;
    return true;
}

void settle_read(struct core *c, const struct task *t)
{
    uint64_t used = t->op.data.len;
    uint64_t unused = used < t->charged ? t->charged - used : 0;
    limits_refund(c->limits, LIMIT_SUB_READS, t->sub_meter, t->minute, unused);
    limits_refund(c->limits, LIMIT_REMOTE_READS, t->conn->remote, t->minute,
                  unused);
}

/* What the subscription does counts at once; what the channel takes counts when
 * it was taken, and is only looked at here. */
static bool within_limits(struct core *c, struct task *t, size_t bytes,
                          bool commit)
{
    const struct core_limits *max = &c->config.limits;
    uint64_t minute = c->now_ms / MINUTE_MS;
    struct limits *l = c->limits;
    meters_of(c, t);
    bool ok =
        limits_spend(l, LIMIT_CHANNEL_APPENDS, t->channel_meter, minute, 0,
                     max->channel_appends - 1) &&
        limits_spend(l, LIMIT_CHANNEL_BYTES, t->channel_meter, minute, 0,
                     max->channel_bytes - 1) &&
        (!commit || limits_spend(l, LIMIT_CHANNEL_COMMITS, t->channel_meter,
                                 minute, 0, max->channel_commits - 1)) &&
        (!commit || limits_spend(l, LIMIT_SUB_COMMITS, t->sub_meter, minute, 1,
                                 max->subscription_commits)) &&
        limits_spend(l, LIMIT_SUB_APPENDS, t->sub_meter, minute, 1,
                     max->subscription_appends) &&
        limits_spend(l, LIMIT_SUB_BYTES, t->sub_meter, minute, bytes,
                     max->subscription_bytes) &&
        limits_spend(l, LIMIT_REMOTE_BYTES, t->conn->remote, minute, bytes,
                     max->remote_bytes);
    return ok || over(c, t);
}

static void channel_spend(struct core *c, const struct task *t, size_t bytes,
                          bool commit)
{
    uint64_t minute = c->now_ms / MINUTE_MS;
    struct limits *l = c->limits;
    (void)limits_spend(l, LIMIT_CHANNEL_APPENDS, t->channel_meter, minute, 1,
                       UINT64_MAX);
    (void)limits_spend(l, LIMIT_CHANNEL_BYTES, t->channel_meter, minute, bytes,
                       UINT64_MAX);
    if (commit)
        (void)limits_spend(l, LIMIT_CHANNEL_COMMITS, t->channel_meter, minute,
                           1, UINT64_MAX);
}

/* --- methods --- */

bool serve_channel_create(struct core *c, struct task *t)
{
    const struct channel_create_request *r = &t->op.request.channel_create;
    if (!work_allowed(c, t))
        return false;
    enum err err = pow_check(c->crypto, POW_CHANNEL_CREATE, r->channel, r->pow,
                             c->config.pow_bits, c->now_ms / 1000);
    if (err == ERR_STATE)
        err = ERR_AUTH;
    return err == OK || task_fail(c, t, err);
}

bool serve_attach(struct core *c, struct task *t)
{
    if (t->conn->attached >= ATTACHED_MAX)
        return task_refuse(t, STATUS_LIMIT, 0);
    return serve_access(c, t);
}

/* The store has carried out the attach and the appends around it in the order
 * in which they come here, so no entry falls between answer and pushes. */
bool done_attach(struct core *c, struct task *t)
{
    const struct access *access = &t->op.request.attach.access;
    struct conn *conn = t->conn;
    if (conn->gone || conn->closing)
        return true;
    conn->slow = false;
    struct attachment *a =
        attachment_find(topic_find(c, access->channel), conn, access->sub);
    if (a != NULL) {
        a->pulls = false;
        return true;
    }
    enum err err = attachment_add(c, conn, access, t->op.cap_hash);
    if (err != OK)
        task_fail(c, t, err);
    return true;
}

static struct request entry_event_of(const struct task *t, uint64_t seq)
{
    const struct append_request *r = &t->op.request.append;
    return (struct request){
        .method = EVENT_ENTRY,
        .entry_event = {.channel = r->access.channel,
                        .seq = seq,
                        .time = t->op.now,
                        .kind = r->kind,
                        .body = r->body},
    };
}

/* Rule 6: not stored, no number, and to those only who are there. Its sender
 * knows it: there is no number to learn. */
static void push_ephemeral(struct core *c, const struct task *t)
{
    struct topic *topic = topic_find(c, t->op.request.append.access.channel);
    const struct request event = entry_event_of(t, 0);
    if (topic != NULL)
        push_entry(c, topic, &event, t->conn);
}

/* Whoever is attached with this capability has shown its right already. */
static bool shown_before(const struct core *c, const struct task *t)
{
    const struct access *access = &t->op.request.append.access;
    const struct attachment *a =
        attachment_find(topic_find(c, access->channel), t->conn, access->sub);
    return a != NULL &&
           secret_equal_bytes(BYTES_ARRAY(a->cap_hash), t->op.cap_hash);
}

bool serve_append(struct core *c, struct task *t)
{
    const struct append_request *r = &t->op.request.append;
    enum err err = entry_check(r->kind, r->body, &t->op.commit);
    if (err != OK)
        return task_fail(c, t, err);
    if (!serve_access(c, t) ||
        !within_limits(c, t, r->body.len, r->kind == ENTRY_COMMIT))
        return false;
    if (r->kind != ENTRY_EPHEMERAL || !shown_before(c, t))
        return true;
    push_ephemeral(c, t);
    return task_refuse(t, STATUS_OK, 0);
}

/* Ids in rising order (proto/entry.h). */
static bool lists_id(struct bytes ids, struct bytes id)
{
    size_t low = 0;
    size_t high = ids.len / ID_SIZE;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = bytes_compare(
            (struct bytes){ids.data + middle * ID_SIZE, ID_SIZE}, id);
        if (order == 0)
            return true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

/* Rule 2: an ended subscription has got the commit that ended it, and gets no
 * more. */
static void drop_ended(struct core *c, struct topic *topic, struct bytes ends)
{
    struct attachment *next = NULL;
    for (struct attachment *a = topic->attachments; a != NULL && ends.len > 0;
         a = next) {
        next = a->topic_next;
        if (lists_id(ends, BYTES_ARRAY(a->sub)))
            attachment_free(c, a);
    }
    topic_release(c, topic);
}

bool done_append(struct core *c, struct task *t)
{
    const struct append_request *r = &t->op.request.append;
    if (r->kind == ENTRY_EPHEMERAL) {
        push_ephemeral(c, t);
        return true;
    }
    if (!t->op.fresh)
        return true;
    c->stats.appends++;
    channel_spend(c, t, r->body.len, r->kind == ENTRY_COMMIT);
    struct topic *topic = topic_find(c, r->access.channel);
    if (topic == NULL)
        return true;
    const struct request event = entry_event_of(t, t->op.answer.append.seq);
    push_entry(c, topic, &event, NULL);
    drop_ended(c, topic, t->op.commit.ends);
    return true;
}

bool serve_blob_put(struct core *c, struct task *t)
{
    const struct blob_put_request *r = &t->op.request.blob_put;
    if (!serve_access(c, t))
        return false;
    meters_of(c, t);
    uint64_t minute = c->now_ms / MINUTE_MS;
    if (limits_spend(c->limits, LIMIT_SUB_BYTES, t->sub_meter, minute,
                     r->data.len, c->config.limits.subscription_bytes) &&
        limits_spend(c->limits, LIMIT_REMOTE_BYTES, t->conn->remote, minute,
                     r->data.len, c->config.limits.remote_bytes))
        return true;
    return over(c, t);
}
