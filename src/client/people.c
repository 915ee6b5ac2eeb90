/* SPDX-License-Identifier: Apache-2.0 */
#include "client/people.h"

#include <stdio.h>
#include <string.h>

#define CHAIN_SAVED_MAX (32U << 20)

enum err account_chain(struct client *c, struct bytes account,
                       struct chain **out)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "SELECT chain FROM account WHERE account = ?");
    sql_put_bytes(&q, account);
    if (sql_next(&q) && sql_bytes(&q, 0).len > 0)
        return chain_load(c->crypto, sql_bytes(&q, 0), out);
    TRY(sql_finish(&q));
    return chain_create(account, out);
}

/* The server that a state names; its key comes from the state. */
static enum err state_server(struct client *c, const struct state *s,
                             struct server **out)
{
    char address[SERVER_ADDRESS_MAX + 1] = {0};
    if (s->server_address.len > SERVER_ADDRESS_MAX)
        return ERR_INVALID;
    memcpy(address, s->server_address.data, s->server_address.len);
    struct server *server = NULL;
    TRY(server_get(c, address, &server));
    if (!server->has_key) {
        memcpy(server->key, s->server_key.data, sizeof server->key);
        server->has_key = true;
        server->trust = CLIENT_TRUST_KEY;
        TRY(server_save(c, server));
    }
    *out = server;
    return OK;
}

enum err account_chain_save(struct client *c, const struct chain *chain)
{
    const struct state *newest = chain_newest(chain);
    if (newest == NULL)
        return ERR_INVALID;
    struct server *server = NULL;
    TRY(state_server(c, newest, &server));
    CLEANUP(buf_clear) struct buf saved = buf_new(CHAIN_SAVED_MAX);
    TRY(chain_save(chain, &saved));
    CLEANUP(sql_end)
    struct sql_query q = sql_query(
        c->db, "INSERT INTO account (account, server, handle, pinned,"
               " contact_cap, chain, read_at) VALUES (?, ?, '', 0, x'', ?, ?)"
               " ON CONFLICT (account) DO UPDATE SET server = excluded.server,"
               " chain = excluded.chain");
    sql_put_bytes(&q, chain_account_id(chain));
    sql_put_u64(&q, (uint64_t)server->id);
    sql_put_bytes(&q, buf_bytes(&saved));
    sql_put_u64(&q, c->now);
    return sql_run(&q);
}

enum err account_learn(struct client *c, struct bytes account,
                       struct bytes states)
{
    CLEANUP(chain_free) struct chain *chain = NULL;
    TRY(account_chain(c, account, &chain));
    enum chain_outcome outcome = CHAIN_KNOWN;
    TRY(chain_extend(c->crypto, chain, states, &outcome));
    if (outcome == CHAIN_KNOWN || outcome == CHAIN_FROZEN)
        return OK;
    if (outcome == CHAIN_FORKED) {
        struct client_event e = {.kind = CLIENT_ACCOUNT_FROZEN};
        memcpy(e.account, account.data, sizeof e.account);
        (void)snprintf(e.detail, sizeof e.detail,
                       "two states of one account have the same number");
        TRY(client_emit(c, &e));
    }
    return account_chain_save(c, chain);
}

/* --- rows --- */

#define PERSON_COLUMNS "account, server, handle, pinned, contact_cap"

static enum err person_read(const struct sql_query *q, struct person *out)
{
    struct person p = {0};
    TRY(row_copy(q, 0, p.account, sizeof p.account));
    p.server = (int64_t)sql_u64(q, 1);
    (void)snprintf(p.handle, sizeof p.handle, "%s", sql_text(q, 2));
    p.pinned = sql_u64(q, 3) != 0;
    p.has_cap = sql_bytes(q, 4).len > 0;
    if (p.has_cap)
        TRY(row_copy(q, 4, p.contact_cap, sizeof p.contact_cap));
    *out = p;
    return OK;
}

enum err person_get(struct client *c, struct bytes account, struct person *out)
{
    CLEANUP(sql_end)
    struct sql_query q = sql_query(c->db, "SELECT " PERSON_COLUMNS
                                          " FROM account WHERE account = ?");
    sql_put_bytes(&q, account);
    TRY(sql_one(&q));
    return person_read(&q, out);
}

enum err person_by_handle(struct client *c, int64_t server, const char *handle,
                          struct person *out)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "SELECT " PERSON_COLUMNS " FROM account"
                         " WHERE handle = ? AND server = ? AND pinned = 1");
    sql_put_text(&q, handle);
    sql_put_u64(&q, (uint64_t)server);
    TRY(sql_one(&q));
    return person_read(&q, out);
}

enum err person_set_handle(struct client *c, struct bytes account,
                           const char *handle, bool pinned)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "UPDATE account SET handle = ?, pinned = ?"
                         " WHERE account = ?");
    sql_put_text(&q, handle);
    sql_put_u64(&q, pinned);
    sql_put_bytes(&q, account);
    return sql_run(&q);
}

enum err person_set_cap(struct client *c, struct bytes account,
                        struct bytes cap)
{
    CLEANUP(sql_end)
    struct sql_query q = sql_query(
        c->db, "UPDATE account SET contact_cap = ? WHERE account = ?");
    sql_put_bytes(&q, cap);
    sql_put_bytes(&q, account);
    return sql_run(&q);
}

enum err person_server(struct client *c, struct bytes account,
                       struct server **out)
{
    CLEANUP(chain_free) struct chain *chain = NULL;
    TRY(account_chain(c, account, &chain));
    if (chain_newest(chain) == NULL)
        return ERR_NOTFOUND;
    return state_server(c, chain_newest(chain), out);
}

/* --- in a conversation --- */

enum err member_chain(struct client *c, int64_t conversation,
                      struct bytes account, struct chain **out)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "SELECT chain FROM member WHERE conversation = ?"
                         " AND account = ?");
    sql_put_u64(&q, (uint64_t)conversation);
    sql_put_bytes(&q, account);
    TRY(sql_one(&q));
    return chain_load(c->crypto, sql_bytes(&q, 0), out);
}

enum err member_save(struct client *c, int64_t conversation,
                     const struct chain *chain)
{
    CLEANUP(buf_clear) struct buf saved = buf_new(CHAIN_SAVED_MAX);
    TRY(chain_save(chain, &saved));
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "INSERT OR REPLACE INTO member (conversation,"
                         " account, chain) VALUES (?, ?, ?)");
    sql_put_u64(&q, (uint64_t)conversation);
    sql_put_bytes(&q, chain_account_id(chain));
    sql_put_bytes(&q, buf_bytes(&saved));
    return sql_run(&q);
}

enum err member_delete(struct client *c, int64_t conversation,
                       struct bytes account)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "DELETE FROM member WHERE conversation = ?"
                         " AND account = ?");
    sql_put_u64(&q, (uint64_t)conversation);
    sql_put_bytes(&q, account);
    return sql_run(&q);
}

enum err member_clear(struct client *c, int64_t conversation)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "DELETE FROM member WHERE conversation = ?");
    sql_put_u64(&q, (uint64_t)conversation);
    return sql_run(&q);
}

enum err member_count(struct client *c, int64_t conversation, size_t *out)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "SELECT count(*) FROM member WHERE conversation = ?");
    sql_put_u64(&q, (uint64_t)conversation);
    TRY(sql_one(&q));
    *out = (size_t)sql_u64(&q, 0);
    return OK;
}
