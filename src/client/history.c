/* SPDX-License-Identifier: Apache-2.0 */
#include "client/history.h"

#include <stdio.h>
#include <string.h>

enum err message_insert(struct client *c, const struct message_row *m,
                        int64_t *out_id)
{
    CLEANUP(sql_end)
    struct sql_query q = sql_query(
        c->db, "INSERT INTO message (conversation, seq, time, kind, event, own,"
               " read, account, device, content, body)"
               " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
    sql_put_u64(&q, (uint64_t)m->conversation);
    sql_put_u64(&q, m->seq);
    sql_put_u64(&q, m->time);
    sql_put_u64(&q, m->kind);
    sql_put_u64(&q, m->event);
    sql_put_u64(&q, m->own);
    sql_put_u64(&q, m->read);
    sql_put_bytes(&q, m->account);
    sql_put_bytes(&q, m->device);
    if (m->content.len > 0)
        sql_put_bytes(&q, m->content);
    else
        sql_put_null(&q);
    sql_put_bytes(&q, m->body);
    TRY(sql_run(&q));
    return store_row_id(c, out_id);
}

enum err message_place(struct client *c, int64_t id, uint64_t seq,
                       uint64_t time)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "UPDATE message SET seq = ?, time = ? WHERE id = ?");
    sql_put_u64(&q, seq);
    sql_put_u64(&q, time);
    sql_put_u64(&q, (uint64_t)id);
    return sql_run(&q);
}

enum err message_fail(struct client *c, int64_t id)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "UPDATE message SET failed = 1 WHERE id = ?");
    sql_put_u64(&q, (uint64_t)id);
    return sql_run(&q);
}

enum err conv_notice(struct client *c, const struct conv *cv,
                     const struct notice *n)
{
    struct client_event e = {.kind = n->kind, .conversation = cv->id};
    if (n->account.len == sizeof e.account)
        memcpy(e.account, n->account.data, sizeof e.account);
    if (n->detail != NULL)
        (void)snprintf(e.detail, sizeof e.detail, "%s", n->detail);
    struct message_row row = {
        .conversation = cv->id,
        .seq = cv->cursor,
        .time = n->time > 0 ? n->time : c->now,
        .kind = CLIENT_NOTICE,
        .event = n->kind,
        .account = n->account,
        .body = bytes_str(e.detail),
    };
    TRY(message_insert(c, &row, &e.message));
    return client_emit(c, &e);
}
