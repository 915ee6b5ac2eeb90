/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows and their copy in memory. A step is a transaction; one that does not
 * commit makes the copy stale, and it is read again before anything else.
 */
#include "client/state.h"

#include "base/mem.h"

#include <string.h>

struct bytes bytes_of(const uint8_t *data, size_t len)
{
    return (struct bytes){data, len};
}

enum err row_copy(const struct sql_query *q, int column, uint8_t *out,
                  size_t size)
{
    struct bytes b = sql_bytes(q, column);
    if (b.len != size)
        return ERR_INVALID;
    memcpy(out, b.data, size);
    return OK;
}

/* --- steps --- */

enum err step_begin(struct client *c, const char *name, struct step *out)
{
    TRY(sql_begin(c->db, name, &out->tx));
    out->client = c;
    out->outputs_end = c->outputs_end;
    out->events_end = c->events_end;
    return OK;
}

enum err step_commit(struct step *s)
{
    TRY(sql_commit(&s->tx));
    s->client = NULL;
    return OK;
}

static void drop_outputs(struct client *c, struct output_node **from)
{
    struct output_node *n = *from;
    *from = NULL;
    c->outputs_end = from;
    while (n != NULL) {
        struct output_node *next = n->next;
        buf_clear(&n->output.message);
        mem_free(n, sizeof *n);
        n = next;
    }
}

static void drop_events(struct client *c, struct event_node **from)
{
    struct event_node *n = *from;
    *from = NULL;
    c->events_end = from;
    while (n != NULL) {
        struct event_node *next = n->next;
        mem_free(n, sizeof *n);
        n = next;
    }
}

void step_rollback(struct step *s)
{
    struct client *c = s->client;
    if (c == NULL)
        return;
    sql_rollback(&s->tx);
    drop_outputs(c, s->outputs_end);
    drop_events(c, s->events_end);
    c->stale = true;
    s->client = NULL;
}

/* --- profile --- */

void profile_clear(struct profile *p)
{
    secret_clear(&p->sign_private);
    secret_clear(&p->seal_private);
    buf_clear(&p->sign_public);
    buf_clear(&p->seal_public);
    *p = (struct profile){0};
}

static enum err profile_read(const struct sql_query *q, struct profile *p)
{
    p->state = (enum profile_state)sql_u64(q, 0);
    p->server = (int64_t)sql_u64(q, 1);
    const char *handle = sql_text(q, 2);
    size_t len = strlen(handle);
    struct bytes invite = sql_bytes(q, 3);
    if (len > CLIENT_HANDLE_MAX || invite.len > INVITE_SIZE)
        return ERR_INVALID;
    memcpy(p->handle, handle, len);
    if (invite.len > 0)
        memcpy(p->invite, invite.data, invite.len);
    p->invite_len = invite.len;
    p->has_account = !sql_is_null(q, 4);
    if (p->has_account)
        TRY(row_copy(q, 4, p->account, sizeof p->account));
    TRY(row_copy(q, 5, p->device, sizeof p->device));
    TRY(secret_set(&p->sign_private, sql_bytes(q, 6)));
    p->sign_public = buf_new(SIGN_PUBLIC_MAX);
    TRY(buf_copy(&p->sign_public, sql_bytes(q, 7)));
    TRY(secret_set(&p->seal_private, sql_bytes(q, 8)));
    p->seal_public = buf_new(KEM_PUBLIC_MAX);
    TRY(buf_copy(&p->seal_public, sql_bytes(q, 9)));
    TRY(row_copy(q, 10, p->recovery_public, sizeof p->recovery_public));
    TRY(row_copy(q, 11, p->contact_cap, sizeof p->contact_cap));
    p->inbox_cursor = sql_u64(q, 12);
    p->packages_at = sql_u64(q, 13);
    return OK;
}

static enum err profile_load(struct client *c)
{
    profile_clear(&c->profile);
    CLEANUP(sql_end)
    struct sql_query q = sql_query(
        c->db, "SELECT state, server, handle, invite, account, device,"
               " sign_private, sign_public, seal_private, seal_public,"
               " recovery_public, contact_cap, inbox_cursor, packages_at"
               " FROM profile");
    if (sql_next(&q))
        TRY(profile_read(&q, &c->profile));
    return sql_finish(&q);
}

enum err profile_save(struct client *c)
{
    const struct profile *p = &c->profile;
    CLEANUP(sql_end)
    struct sql_query q = sql_query(
        c->db, "INSERT OR REPLACE INTO profile (id, state, server, handle,"
               " invite, account, device, sign_private, sign_public,"
               " seal_private, seal_public, recovery_public, contact_cap,"
               " inbox_cursor, packages_at)"
               " VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
    sql_put_u64(&q, p->state);
    sql_put_u64(&q, (uint64_t)p->server);
    sql_put_text(&q, p->handle);
    sql_put_bytes(&q, bytes_of(p->invite, p->invite_len));
    if (p->has_account)
        sql_put_bytes(&q, ID_BYTES(p->account));
    else
        sql_put_null(&q);
    sql_put_bytes(&q, ID_BYTES(p->device));
    sql_put_bytes(&q, secret_expose(&p->sign_private));
    sql_put_bytes(&q, buf_bytes(&p->sign_public));
    sql_put_bytes(&q, secret_expose(&p->seal_private));
    sql_put_bytes(&q, buf_bytes(&p->seal_public));
    sql_put_bytes(&q, ID_BYTES(p->recovery_public));
    sql_put_bytes(&q, ID_BYTES(p->contact_cap));
    sql_put_u64(&q, p->inbox_cursor);
    sql_put_u64(&q, p->packages_at);
    return sql_run(&q);
}

/* --- servers --- */

struct server *server_find(struct client *c, int64_t id)
{
    struct server *s = c->servers;
    while (s != NULL && s->id != id)
        s = s->next;
    return s;
}

struct server *server_home(struct client *c)
{
    if (c->profile.state == PROFILE_NONE)
        return NULL;
    return server_find(c, c->profile.server);
}

/* Servers and lanes are only ever added, so that lane numbers stay. */
static enum err server_add(struct client *c, int64_t id, struct server **out)
{
    struct server **end = &c->servers;
    size_t count = 0;
    for (; *end != NULL; end = &(*end)->next)
        count++;
    if (count >= SERVERS_MAX)
        return ERR_LIMIT;
    struct server *s = mem_alloc(sizeof *s);
    if (s == NULL)
        return ERR_NOMEM;
    s->id = id;
    *end = s;
    *out = s;
    return OK;
}

static enum err server_read(const struct sql_query *q, struct server *s)
{
    const char *address = sql_text(q, 1);
    size_t len = strlen(address);
    if (len > CLIENT_ADDRESS_MAX)
        return ERR_INVALID;
    memcpy(s->address, address, len + 1);
    s->trust = (enum client_trust)sql_u64(q, 2);
    s->has_key = sql_bytes(q, 3).len > 0;
    if (s->has_key)
        TRY(row_copy(q, 3, s->key, sizeof s->key));
    s->has_key_hash = sql_bytes(q, 4).len > 0;
    if (s->has_key_hash)
        TRY(row_copy(q, 4, s->key_hash, sizeof s->key_hash));
    if (sql_bytes(q, 5).len > 0)
        TRY(row_copy(q, 5, s->fingerprint, sizeof s->fingerprint));
    return OK;
}

static enum err lane_add(struct client *c, struct server *s,
                         enum client_lane_kind kind, struct lane_state **slot)
{
    if (*slot != NULL)
        return OK;
    struct lane_state *l = mem_alloc(sizeof *l);
    if (l == NULL)
        return ERR_NOMEM;
    l->server = s;
    l->kind = kind;
    l->number = c->lane_count++;
    struct lane_state **end = &c->lanes;
    while (*end != NULL)
        end = &(*end)->next;
    *end = l;
    *slot = l;
    return OK;
}

static enum err lanes_add(struct client *c)
{
    for (struct server *s = c->servers; s != NULL; s = s->next) {
        TRY(lane_add(c, s, CLIENT_ANONYMOUS, &s->anonymous));
        if (c->profile.state != PROFILE_NONE && c->profile.server == s->id)
            TRY(lane_add(c, s, CLIENT_IDENTIFIED, &s->identified));
    }
    return OK;
}

static enum err servers_load(struct client *c)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "SELECT id, address, trust, key, key_hash, fingerprint"
                         " FROM server ORDER BY id");
    while (sql_next(&q)) {
        int64_t id = (int64_t)sql_u64(&q, 0);
        struct server *s = server_find(c, id);
        if (s == NULL)
            TRY(server_add(c, id, &s));
        TRY(server_read(&q, s));
    }
    TRY(sql_finish(&q));
    return lanes_add(c);
}

enum err server_save(struct client *c, const struct server *s)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "UPDATE server SET trust = ?, key = ?, key_hash = ?,"
                         " fingerprint = ? WHERE id = ?");
    sql_put_u64(&q, s->trust);
    sql_put_bytes(&q, bytes_of(s->key, s->has_key ? sizeof s->key : 0));
    sql_put_bytes(
        &q, bytes_of(s->key_hash, s->has_key_hash ? sizeof s->key_hash : 0));
    sql_put_bytes(&q,
                  bytes_of(s->fingerprint, s->trust == CLIENT_TRUST_FINGERPRINT
                                               ? sizeof s->fingerprint
                                               : 0));
    sql_put_u64(&q, (uint64_t)s->id);
    TRY(sql_run(&q));
    return lanes_add(c);
}

enum err store_row_id(struct client *c, int64_t *out)
{
    CLEANUP(sql_end)
    struct sql_query q = sql_query(c->db, "SELECT last_insert_rowid()");
    TRY(sql_one(&q));
    *out = (int64_t)sql_u64(&q, 0);
    return OK;
}

enum err server_get(struct client *c, const char *address, struct server **out)
{
    for (struct server *s = c->servers; s != NULL; s = s->next) {
        if (strcmp(s->address, address) == 0) {
            *out = s;
            return OK;
        }
    }
    if (strlen(address) > CLIENT_ADDRESS_MAX)
        return ERR_LIMIT;
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "INSERT INTO server (address, trust, key, key_hash,"
                         " fingerprint) VALUES (?, 0, x'', x'', x'')"
                         " ON CONFLICT DO NOTHING");
    sql_put_text(&q, address);
    TRY(sql_run(&q));
    TRY(servers_load(c));
    for (struct server *s = c->servers; s != NULL; s = s->next) {
        if (strcmp(s->address, address) == 0) {
            *out = s;
            return OK;
        }
    }
    return ERR_NOTFOUND;
}

/* --- conversations --- */

struct conv *conv_find(struct client *c, int64_t id)
{
    struct conv *cv = c->convs;
    while (cv != NULL && cv->id != id)
        cv = cv->next;
    return cv;
}

struct conv *conv_by_channel(struct client *c, struct bytes channel)
{
    struct conv *cv = c->convs;
    while (cv != NULL && !bytes_equal(ID_BYTES(cv->channel), channel))
        cv = cv->next;
    return cv;
}

#define CONV_COLUMNS                                                        \
    "id, server, channel, direct, peer, state, accepted,"                   \
    " subscription, capability, cursor, acked, handshake, log_hash, first," \
    " path_at, scheduled, rejoin_at, retry_at, profile_sent, leaving,"      \
    " rejoin_asked"

static enum err conv_read(struct client *c, const struct sql_query *q,
                          struct conv *cv)
{
    cv->id = (int64_t)sql_u64(q, 0);
    cv->server = server_find(c, (int64_t)sql_u64(q, 1));
    if (cv->server == NULL)
        return ERR_INVALID;
    TRY(row_copy(q, 2, cv->channel, sizeof cv->channel));
    cv->direct = sql_u64(q, 3) != 0;
    cv->has_peer = sql_bytes(q, 4).len > 0;
    if (cv->has_peer)
        TRY(row_copy(q, 4, cv->peer, sizeof cv->peer));
    cv->state = (enum client_conversation_state)sql_u64(q, 5);
    cv->accepted = sql_u64(q, 6) != 0;
    TRY(row_copy(q, 7, cv->sub, sizeof cv->sub));
    TRY(row_copy(q, 8, cv->cap, sizeof cv->cap));
    cv->cursor = sql_u64(q, 9);
    cv->acked = sql_u64(q, 10);
    cv->handshake = sql_u64(q, 11);
    TRY(row_copy(q, 12, cv->log_hash.data, sizeof cv->log_hash.data));
    cv->first = sql_u64(q, 13);
    cv->path_at = sql_u64(q, 14);
    cv->scheduled = sql_u64(q, 15);
    cv->rejoin_at = sql_u64(q, 16);
    cv->retry_at = sql_u64(q, 17);
    cv->profile_sent = sql_u64(q, 18) != 0;
    cv->leaving = sql_u64(q, 19) != 0;
    cv->rejoin_asked = sql_u64(q, 20);
    return OK;
}

static enum err conv_add(struct client *c, int64_t id, struct conv **out)
{
    struct conv **end = &c->convs;
    while (*end != NULL)
        end = &(*end)->next;
    struct conv *cv = mem_alloc(sizeof *cv);
    if (cv == NULL)
        return ERR_NOMEM;
    cv->id = id;
    *end = cv;
    *out = cv;
    return OK;
}

/* Keeps what is runtime, except the groups: those may hold lost changes. */
static enum err convs_load(struct client *c)
{
    CLEANUP(sql_end)
    struct sql_query q = sql_query(c->db, "SELECT " CONV_COLUMNS
                                          " FROM conversation ORDER BY id");
    struct conv **at = &c->convs;
    while (sql_next(&q)) {
        int64_t id = (int64_t)sql_u64(&q, 0);
        struct conv *cv = *at;
        if (cv == NULL || cv->id != id) {
            TRY(conv_add(c, id, &cv));
        }
        TRY(conv_read(c, &q, cv));
        at = &cv->next;
    }
    TRY(sql_finish(&q));
    /* What is left has no row: its insertion was rolled back. */
    for (struct conv *cv = *at, *next; cv != NULL; cv = next) {
        next = cv->next;
        sotto_group_free(&cv->group);
        mem_free(cv, sizeof *cv);
    }
    *at = NULL;
    return OK;
}

static void conv_put(struct sql_query *q, const struct conv *cv)
{
    sql_put_u64(q, (uint64_t)cv->server->id);
    sql_put_bytes(q, ID_BYTES(cv->channel));
    sql_put_u64(q, cv->direct);
    sql_put_bytes(q, bytes_of(cv->peer, cv->has_peer ? sizeof cv->peer : 0));
    sql_put_u64(q, cv->state);
    sql_put_u64(q, cv->accepted);
    sql_put_bytes(q, ID_BYTES(cv->sub));
    sql_put_bytes(q, ID_BYTES(cv->cap));
    sql_put_u64(q, cv->cursor);
    sql_put_u64(q, cv->acked);
    sql_put_u64(q, cv->handshake);
    sql_put_bytes(q, ID_BYTES(cv->log_hash.data));
    sql_put_u64(q, cv->first);
    sql_put_u64(q, cv->path_at);
    sql_put_u64(q, cv->scheduled);
    sql_put_u64(q, cv->rejoin_at);
    sql_put_u64(q, cv->retry_at);
    sql_put_u64(q, cv->profile_sent);
    sql_put_u64(q, cv->leaving);
    sql_put_u64(q, cv->rejoin_asked);
}

enum err conv_save(struct client *c, const struct conv *cv)
{
    CLEANUP(sql_end)
    struct sql_query q = sql_query(
        c->db, "UPDATE conversation SET server = ?, channel = ?, direct = ?,"
               " peer = ?, state = ?, accepted = ?,"
               " subscription = ?, capability = ?, cursor = ?, acked = ?,"
               " handshake = ?, log_hash = ?, first = ?, path_at = ?,"
               " scheduled = ?, rejoin_at = ?, retry_at = ?, profile_sent = ?,"
               " leaving = ?, rejoin_asked = ? WHERE id = ?");
    conv_put(&q, cv);
    sql_put_u64(&q, (uint64_t)cv->id);
    return sql_run(&q);
}

enum err conv_insert(struct client *c, const struct conv *values,
                     struct bytes name, struct conv **out)
{
    CLEANUP(sql_end)
    struct sql_query q = sql_query(
        c->db,
        "INSERT INTO conversation (name, server, channel, direct, peer,"
        " state, accepted, subscription, capability, cursor,"
        " acked, handshake, log_hash, first, path_at, scheduled, rejoin_at,"
        " retry_at, profile_sent, leaving, rejoin_asked) VALUES (?, ?, ?, ?, ?,"
        " ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
    sql_put_bytes(&q, name);
    conv_put(&q, values);
    TRY(sql_run(&q));
    int64_t id = 0;
    TRY(store_row_id(c, &id));
    struct conv *cv = NULL;
    TRY(conv_add(c, id, &cv));
    struct conv *next = cv->next;
    *cv = *values;
    cv->id = id;
    cv->next = next;
    cv->group = NULL;
    *out = cv;
    return OK;
}

/* --- all of it --- */

enum err store_load(struct client *c)
{
    TRY(profile_load(c));
    TRY(servers_load(c));
    TRY(convs_load(c));
    c->stale = false;
    return OK;
}

enum err store_reload(struct client *c)
{
    if (!c->stale)
        return OK;
    for (struct conv *cv = c->convs; cv != NULL; cv = cv->next)
        sotto_group_free(&cv->group);
    return store_load(c);
}

void store_unload(struct client *c)
{
    profile_clear(&c->profile);
    for (struct conv *cv = c->convs, *next; cv != NULL; cv = next) {
        next = cv->next;
        sotto_group_free(&cv->group);
        mem_free(cv, sizeof *cv);
    }
    for (struct lane_state *l = c->lanes, *next; l != NULL; l = next) {
        next = l->next;
        for (struct call *k = l->calls, *after; k != NULL; k = after) {
            after = k->next;
            mem_free(k, sizeof *k);
        }
        mem_free(l, sizeof *l);
    }
    for (struct server *s = c->servers, *next; s != NULL; s = next) {
        next = s->next;
        mem_free(s, sizeof *s);
    }
    drop_outputs(c, &c->outputs);
    drop_events(c, &c->events);
    c->convs = NULL;
    c->lanes = NULL;
    c->servers = NULL;
}
