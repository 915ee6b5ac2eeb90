/* SPDX-License-Identifier: Apache-2.0 */
#include "client/join.h"

#include "client/apply.h"
#include "client/groups.h"
#include "client/outbox.h"
#include "client/people.h"
#include "client/profile.h"
#include "client/pump.h"
#include "client/welcome.h"
#include "proto/group_ext.h"
#include "proto/joining.h"

#include <string.h>

#define JOINING_AT_ONCE 4U
#define HOLD_MS         (5ULL * SECOND_MS) /* the log has not come so far yet */
#define HOLD_TRIES      4096U
#define SMALL_GROUP     32U
#define PATH_SPREAD_MS  (2ULL * SECOND_MS)

/* --- rows --- */

static enum err known_server(struct client *c, const struct inbox_welcome *w,
                             struct server **out)
{
    char address[CLIENT_ADDRESS_MAX + 1] = {0};
    if (w->server_address.len == 0 ||
        w->server_address.len > CLIENT_ADDRESS_MAX)
        return ERR_INVALID;
    memcpy(address, w->server_address.data, w->server_address.len);
    struct server *s = NULL;
    TRY(server_get(c, address, &s));
    if (s->has_key && !bytes_equal(ID_BYTES(s->key), w->server_key))
        return ERR_INVALID; /* somebody is wrong about a server we know */
    if (!s->has_key) {
        memcpy(s->key, w->server_key.data, sizeof s->key);
        s->has_key = true;
        s->trust = CLIENT_TRUST_KEY;
        TRY(server_save(c, s));
    }
    *out = s;
    return OK;
}

/* Does the log that we have go beyond a Welcome? A device that was removed may
 * have been so by the very commit that added it again. */
static bool is_past(const struct conv *cv, uint64_t seq)
{
    return cv != NULL &&
           (cv->state == CLIENT_LEFT ? seq < cv->cursor : seq <= cv->cursor);
}

enum err joining_add(struct client *c, const struct inbox_welcome *w)
{
    if (is_past(conv_by_channel(c, w->channel), w->commit_seq))
        return OK; /* told again: it is in already */
    struct server *s = NULL;
    enum err err = known_server(c, w, &s);
    if (err == ERR_INVALID || err == ERR_LIMIT) {
        c->counters.skipped++;
        return OK;
    }
    TRY(err);
    CLEANUP(sql_end)
    struct sql_query q = sql_query(
        c->db, "INSERT OR IGNORE INTO joining (server, channel, blob_id,"
               " blob_key, seq, log_hash, body, total, state, not_before)"
               " VALUES (?, ?, ?, ?, ?, ?, x'', 0, 0, 0)");
    sql_put_u64(&q, (uint64_t)s->id);
    sql_put_bytes(&q, w->channel);
    sql_put_bytes(&q, w->blob);
    sql_put_bytes(&q, w->blob_key);
    sql_put_u64(&q, w->commit_seq);
    sql_put_bytes(&q, w->log_hash);
    return sql_run(&q);
}

struct joining_row {
    int64_t id;
    struct server *server;
    uint8_t channel[ID_SIZE];
    uint8_t blob_id[ID_SIZE];
    struct secret key;
    uint64_t seq;
    struct log_hash log_hash;
    struct buf body;
    uint64_t total;
    uint64_t tries; /* of waiting for the log */
    uint64_t not_before;
};

static void joining_row_clear(struct joining_row *r)
{
    secret_clear(&r->key);
    buf_clear(&r->body);
}

#define JOINING_COLUMNS                                                    \
    "id, server, channel, blob_id, blob_key, seq, log_hash, body, total, " \
    "state, not_before"

static enum err joining_row_read(struct client *c, const struct sql_query *q,
                                 struct joining_row *r)
{
    r->id = (int64_t)sql_u64(q, 0);
    r->server = server_find(c, (int64_t)sql_u64(q, 1));
    if (r->server == NULL)
        return ERR_INVALID;
    TRY(row_copy(q, 2, r->channel, sizeof r->channel));
    TRY(row_copy(q, 3, r->blob_id, sizeof r->blob_id));
    TRY(secret_set(&r->key, sql_bytes(q, 4)));
    r->seq = sql_u64(q, 5);
    TRY(row_copy(q, 6, r->log_hash.data, sizeof r->log_hash.data));
    r->body = buf_new(JOINING_MAX);
    TRY(buf_copy(&r->body, sql_bytes(q, 7)));
    r->total = sql_u64(q, 8);
    r->tries = sql_u64(q, 9);
    r->not_before = sql_u64(q, 10);
    return OK;
}

static enum err joining_row_get(struct client *c, int64_t id,
                                struct joining_row *r)
{
    CLEANUP(sql_end)
    struct sql_query q = sql_query(c->db, "SELECT " JOINING_COLUMNS
                                          " FROM joining WHERE id = ?");
    sql_put_u64(&q, (uint64_t)id);
    TRY(sql_one(&q));
    return joining_row_read(c, &q, r);
}

static enum err joining_delete(struct client *c, int64_t id)
{
    CLEANUP(sql_end)
    struct sql_query q = sql_query(c->db, "DELETE FROM joining WHERE id = ?");
    sql_put_u64(&q, (uint64_t)id);
    return sql_run(&q);
}

static enum err joining_drop(struct client *c, int64_t id)
{
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "drop joining", &step));
    TRY(joining_delete(c, id));
    return step_commit(&step);
}

static enum err joining_later(struct client *c, int64_t id, uint64_t delay_ms)
{
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "joining later", &step));
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "UPDATE joining SET not_before = ?, state = state + 1"
                         " WHERE id = ?");
    sql_put_u64(&q, c->now + delay_ms);
    sql_put_u64(&q, (uint64_t)id);
    TRY(sql_run(&q));
    return step_commit(&step);
}

/* --- what the blob says --- */

struct arrival {
    const struct joining_row *row;
    struct joining joining;
    struct policy policy; /* the accounts and their chains */
    struct sotto_group *group;
    struct group_profile profile;
    uint8_t sub[ID_SIZE];
    uint8_t cap[CAP_SIZE];
    struct sotto_ref ref; /* the KeyPackage that was used */
    bool last_resort;
};

static void arrival_clear(struct arrival *a)
{
    policy_clear(&a->policy);
    sotto_group_free(&a->group);
}

static enum err take_member(struct client *c, struct arrival *a,
                            const struct joining_member *m)
{
    struct reader r = reader_of(m->states);
    struct digest id = {0};
    TRY(account_id(c->crypto, reader_vec(&r), &id));
    return policy_carry(c, &a->policy, digest_bytes(&id), m->states);
}

/* Finds the private part of one of our KeyPackages that the Welcome names. */
static enum err find_private(struct client *c, struct arrival *a,
                             struct buf *out)
{
    struct sotto_bytes welcome = to_sotto(a->joining.welcome);
    for (size_t i = 0; sotto_welcome_ref(welcome, i, &a->ref) == SOTTO_OK;
         i++) {
        CLEANUP(sql_end)
        struct sql_query q =
            sql_query(c->db, "SELECT body, last_resort FROM key_package"
                             " WHERE ref = ?");
        sql_put_bytes(&q, bytes_of(a->ref.data, a->ref.len));
        if (sql_next(&q)) {
            a->last_resort = sql_u64(&q, 1) != 0;
            return buf_copy(out, sql_bytes(&q, 0));
        }
        TRY(sql_finish(&q));
    }
    return ERR_NOTFOUND;
}

static enum err extension(const struct sotto_group *group, uint16_t type,
                          struct bytes *out)
{
    struct sotto_bytes data = {0};
    TRY(err_of_sotto(
        sotto_extension_find(sotto_group_extensions(group), type, &data)));
    *out = from_sotto(data);
    return OK;
}

/* The conversation must be the one that the inbox item spoke of. */
static enum err check_channel(struct arrival *a)
{
    struct bytes data = {0};
    struct group_channel channel = {0};
    TRY(extension(a->group, EXT_CHANNEL, &data));
    TRY(group_channel_read(data, &channel));
    TRY(extension(a->group, EXT_PROFILE, &data));
    TRY(group_profile_read(data, &a->profile));
    const struct joining_row *row = a->row;
    bool same =
        bytes_equal(channel.channel, ID_BYTES(row->channel)) &&
        bytes_equal(channel.server_key, ID_BYTES(row->server->key)) &&
        bytes_equal(channel.server_address, bytes_str(row->server->address)) &&
        bytes_equal(a->joining.channel, ID_BYTES(row->channel)) &&
        bytes_equal(from_sotto(sotto_group_id(a->group)),
                    ID_BYTES(row->channel));
    return same ? OK : ERR_INVALID;
}

static enum err open_capability(struct client *c, struct arrival *a)
{
    struct bytes extensions = from_sotto(sotto_group_extensions(a->group));
    TRY(leaf_subscription(c, extensions, buf_bytes(&c->profile.sign_public),
                          a->sub));
    struct reader r = reader_of(a->joining.caps);
    while (reader_more(&r)) {
        struct joining_cap cap = {0};
        joining_cap_read(&r, &cap);
        if (!bytes_equal(cap.sub, ID_BYTES(a->sub)))
            continue;
        struct cap_context context = {ID_BYTES(a->row->channel),
                                      ID_BYTES(a->sub)};
        return cap_open(c->crypto, &c->profile.seal_private, &context,
                        cap.sealed, a->cap);
    }
    return ERR_NOTFOUND;
}

/* Reads and checks all of it; any failure but of memory or store means that
 * the Welcome is no good. */
static enum err arrive(struct client *c, struct arrival *a, struct bytes plain)
{
    TRY(joining_read(plain, &a->joining));
    struct reader r = reader_of(a->joining.members);
    while (reader_more(&r)) {
        struct joining_member m = {0};
        joining_member_read(&r, &m);
        TRY(take_member(c, a, &m));
    }
    CLEANUP(buf_clear)
    struct buf private = buf_new((size_t)KEY_PACKAGE_MAX * 4);
    TRY(find_private(c, a, &private));
    struct sotto_join join = {
        .welcome = to_sotto(a->joining.welcome),
        .key_package_private = to_sotto(buf_bytes(&private)),
        .ratchet_tree = to_sotto(a->joining.ratchet_tree)};
    TRY(err_of_sotto(sotto_group_join(c->mls, &join, &a->group)));
    if (sotto_group_suite(a->group) != sotto_suite_default())
        return ERR_INVALID;
    TRY(policy_judge_group(c, a->group, &a->policy));
    if (a->policy.fault != NULL)
        return ERR_INVALID;
    TRY(check_channel(a));
    return open_capability(c, a);
}

/* --- settling in --- */

static enum err settle_members(struct client *c, struct conv *cv,
                               struct arrival *a)
{
    TRY(member_clear(c, cv->id));
    for (const struct touched *t = a->policy.accounts; t != NULL; t = t->next)
        TRY(member_save(c, cv->id, t->chain));
    struct reader r = reader_of(a->joining.members);
    while (reader_more(&r)) {
        struct joining_member m = {0};
        joining_member_read(&r, &m);
        struct reader first = reader_of(m.states);
        struct digest id = {0};
        TRY(account_id(c->crypto, reader_vec(&first), &id));
        struct bytes account = digest_bytes(&id);
        TRY(account_learn(c, account, m.states));
        struct person p = {0};
        TRY(person_get(c, account, &p));
        bool own = bytes_equal(account, ID_BYTES(c->profile.account));
        if (!own && !p.has_cap && m.contact_cap.len > 0)
            TRY(person_set_cap(c, account, m.contact_cap));
        if (!own && a->profile.kind == GROUP_DIRECT) {
            memcpy(cv->peer, p.account, sizeof cv->peer);
            cv->has_peer = true;
        }
    }
    return OK;
}

static void conv_start(struct client *c, struct conv *cv,
                       const struct arrival *a)
{
    cv->server = a->row->server;
    memcpy(cv->channel, a->row->channel, sizeof cv->channel);
    memcpy(cv->sub, a->sub, sizeof cv->sub);
    memcpy(cv->cap, a->cap, sizeof cv->cap);
    cv->direct = a->profile.kind == GROUP_DIRECT;
    cv->state = CLIENT_ACTIVE;
    cv->cursor = cv->acked = cv->handshake = cv->first = a->row->seq;
    cv->log_hash = a->row->log_hash;
    cv->scheduled = 0;
    cv->rejoin_at = 0;
    cv->rejoin_asked = 0;
    cv->retry_at = 0;
    cv->attached = false;
    cv->head = a->row->seq;
    bool soon =
        sotto_group_member_count(a->group) <= SMALL_GROUP || a->last_resort;
    cv->path_at = c->now + 1 + client_jitter(c, soon ? PATH_SPREAD_MS : DAY_MS);
}

static enum err log_hash_begin(struct client *c, const struct conv *cv)
{
    CLEANUP(sql_end)
    struct sql_query old =
        sql_query(c->db, "DELETE FROM log_hash WHERE conversation = ?");
    sql_put_u64(&old, (uint64_t)cv->id);
    TRY(sql_run(&old));
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "INSERT INTO log_hash (conversation, seq, hash)"
                         " VALUES (?, ?, ?)");
    sql_put_u64(&q, (uint64_t)cv->id);
    sql_put_u64(&q, cv->cursor);
    sql_put_bytes(&q, ID_BYTES(cv->log_hash.data));
    return sql_run(&q);
}

static enum err package_used(struct client *c, const struct arrival *a)
{
    CLEANUP(sql_end)
    struct sql_query q = sql_query(
        c->db, "DELETE FROM key_package WHERE ref = ? AND last_resort = 0");
    sql_put_bytes(&q, bytes_of(a->ref.data, a->ref.len));
    TRY(sql_run(&q));
    /* RFC 9420, section 16.8: another one takes the place of a last resort that
     * was used, which stays for whoever has taken it already. */
    CLEANUP(sql_end)
    struct sql_query used =
        sql_query(c->db, "UPDATE key_package SET last_resort = 2 WHERE ref = ?"
                         " AND last_resort = 1");
    sql_put_bytes(&used, bytes_of(a->ref.data, a->ref.len));
    TRY(sql_run(&used));
    c->profile.packages_at = c->now; /* one less at the server */
    return profile_save(c);
}

/* The capability from before is good until it is given up: see sync.c. */
static enum err give_up_later(struct client *c, const struct conv *cv,
                              const struct arrival *a)
{
    if (bytes_equal(ID_BYTES(cv->cap), ID_BYTES(a->cap)) ||
        !bytes_equal(ID_BYTES(cv->sub), ID_BYTES(a->sub)))
        return OK;
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "INSERT OR IGNORE INTO reopen (conversation,"
                         " subscription, capability) VALUES (?, ?, ?)");
    sql_put_u64(&q, (uint64_t)cv->id);
    sql_put_bytes(&q, ID_BYTES(cv->sub));
    sql_put_bytes(&q, ID_BYTES(cv->cap));
    return sql_run(&q);
}

static enum err settle(struct client *c, struct arrival *a)
{
    struct conv *cv = conv_by_channel(c, ID_BYTES(a->row->channel));
    bool again = cv != NULL && cv->state == CLIENT_REJOINING;
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "join", &step));
    if (cv == NULL) {
        struct conv fresh = {0};
        conv_start(c, &fresh, a);
        TRY(conv_insert(c, &fresh, a->profile.name, &cv));
    } else {
        TRY(give_up_later(c, cv, a));
        conv_start(c, cv, a);
    }
    TRY(settle_members(c, cv, a));
    TRY(conv_group_replace(c, cv, &a->group));
    TRY(welcome_forget(c, cv));
    TRY(outbox_settle(c, cv));
    TRY(log_hash_begin(c, cv));
    TRY(profile_share(c, cv));
    TRY(conv_save(c, cv));
    TRY(package_used(c, a));
    TRY(joining_delete(c, a->row->id));
    TRY(conv_notice(
        c, cv,
        &(struct notice){.kind = again ? CLIENT_REJOINED : CLIENT_CONVERSATION,
                         .detail = "this device was added"}));
    return step_commit(&step);
}

/* A Welcome for a conversation that still runs has to wait until its log comes
 * to the commit that removed this device and added it again. */
static enum err must_wait(struct client *c, const struct joining_row *row,
                          bool *out_wait, bool *out_stale)
{
    const struct conv *cv = conv_by_channel(c, ID_BYTES(row->channel));
    *out_stale = is_past(cv, row->seq);
    *out_wait = cv != NULL && !*out_stale && cv->state == CLIENT_ACTIVE;
    if (*out_wait && row->tries > HOLD_TRIES)
        *out_stale = true;
    return OK;
}

static enum err joining_finish(struct client *c, const struct joining_row *row)
{
    bool wait = false, stale = false;
    TRY(must_wait(c, row, &wait, &stale));
    if (stale)
        return joining_drop(c, row->id);
    if (wait)
        return joining_later(c, row->id, HOLD_MS);
    CLEANUP(buf_clear) struct buf plain = buf_new(JOINING_MAX);
    CLEANUP(arrival_clear) struct arrival a = {.row = row};
    enum err err = joining_open(c->crypto, &row->key, ID_BYTES(row->blob_id),
                                buf_bytes(&row->body), &plain);
    if (err == OK)
        err = arrive(c, &a, buf_bytes(&plain));
    if (err == OK)
        return settle(c, &a);
    if (err == ERR_NOMEM || err == ERR_IO)
        return err;
    c->counters.skipped++;
    TRY(joining_drop(c, row->id));
    return client_note(c, CLIENT_ENTRY_SKIPPED,
                       a.policy.fault != NULL
                           ? a.policy.fault
                           : "an invitation that is not valid");
}

/* --- fetching --- */

static enum err send_blob_get(struct client *c, const struct joining_row *row)
{
    struct lane_state *l = row->server->anonymous;
    if (l->phase != LANE_READY ||
        call_count(l, TASK_BLOB_GET) >= JOINING_AT_ONCE)
        return OK;
    struct request q = {.blob_get = {.blob = ID_BYTES(row->blob_id),
                                     .offset = row->body.len,
                                     .max = BLOB_PIECE_MAX}};
    return call_send(c, l,
                     &(struct call){.task = TASK_BLOB_GET, .row = row->id}, &q);
}

static enum err take_piece(struct client *c, struct joining_row *row,
                           const struct blob_get_answer *answer)
{
    if (answer->total > JOINING_MAX || answer->data.len == 0 ||
        answer->data.len > answer->total - row->body.len)
        return joining_drop(c, row->id);
    TRY(buf_append(&row->body, answer->data));
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "blob piece fetched", &step));
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "UPDATE joining SET body = ?, total = ? WHERE id = ?");
    sql_put_bytes(&q, buf_bytes(&row->body));
    sql_put_u64(&q, answer->total);
    sql_put_u64(&q, (uint64_t)row->id);
    TRY(sql_run(&q));
    return step_commit(&step);
}

enum err on_blob_get(const struct answered *a)
{
    struct client *c = a->client;
    CLEANUP(joining_row_clear) struct joining_row row = {0};
    enum err err = joining_row_get(c, a->call.row, &row);
    if (err == ERR_NOTFOUND)
        return OK;
    TRY(err);
    switch ((enum status)a->answer->status) {
    case STATUS_OK:
        return take_piece(c, &row, &a->answer->blob_get);
    case STATUS_BUSY:
        return joining_later(c, row.id, SECOND_MS + a->answer->detail);
    case STATUS_NOTFOUND: /* it may come, or is too old */
        return row.tries > HOLD_TRIES ? joining_drop(c, row.id)
                                      : joining_later(c, row.id, MINUTE_MS);
    default:
        return joining_drop(c, row.id);
    }
}

enum err joining_pump(struct client *c)
{
    int64_t after = 0;
    for (;;) {
        CLEANUP(joining_row_clear) struct joining_row row = {0};
        {
            CLEANUP(sql_end)
            struct sql_query q =
                sql_query(c->db, "SELECT " JOINING_COLUMNS " FROM joining"
                                 " WHERE id > ? ORDER BY id LIMIT 1");
            sql_put_u64(&q, (uint64_t)after);
            if (!sql_next(&q))
                return sql_finish(&q);
            TRY(joining_row_read(c, &q, &row));
        }
        after = row.id;
        if (!client_due(c, row.not_before))
            continue;
        if (row.total > 0 && row.body.len == row.total)
            TRY(joining_finish(c, &row));
        else
            TRY(send_blob_get(c, &row));
    }
}
