/* SPDX-License-Identifier: Apache-2.0 */
/* Questions: they change nothing. */
#include "client/groups.h"
#include "client/people.h"
#include "client/state.h"
#include "proto/invite.h"

#include <stdio.h>
#include <string.h>

static enum err count(struct client *c, const char *text, int64_t id,
                      uint64_t *out)
{
    CLEANUP(sql_end) struct sql_query q = sql_query(c->db, text);
    sql_put_u64(&q, (uint64_t)id);
    TRY(sql_one(&q));
    *out = sql_u64(&q, 0);
    return OK;
}

/* --- conversations --- */

static enum err conv_title(struct client *c, const struct conv *cv,
                           struct buf *out)
{
    struct person p = {0};
    if (!cv->direct) {
        CLEANUP(sql_end)
        struct sql_query q =
            sql_query(c->db, "SELECT name FROM conversation WHERE id = ?");
        sql_put_u64(&q, (uint64_t)cv->id);
        TRY(sql_one(&q));
        return buf_copy(out, sql_bytes(&q, 0));
    }
    if (cv->has_peer) {
        enum err err = person_get(c, ID_BYTES(cv->peer), &p);
        if (err != OK && err != ERR_NOTFOUND)
            return err;
        if (err == OK && p.pinned)
            return buf_copy(out, bytes_str(p.handle));
    }
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "SELECT handle FROM intent WHERE conversation = ?"
                         " AND handle != '' ORDER BY id LIMIT 1");
    sql_put_u64(&q, (uint64_t)cv->id);
    if (sql_next(&q))
        return buf_copy(out, bytes_str(sql_text(&q, 0)));
    return sql_finish(&q);
}

static enum err show_conversation(struct client *c, struct conv *cv,
                                  const struct client_visitor *v)
{
    CLEANUP(buf_clear) struct buf title = buf_new(CLIENT_NAME_MAX);
    TRY(conv_title(c, cv, &title));
    struct client_conversation out = {
        .id = cv->id,
        .direct = cv->direct,
        .accepted = cv->accepted,
        .state = cv->state,
        .name = buf_bytes(&title),
        .channel = ID_BYTES(cv->channel),
        .cursor = cv->cursor,
    };
    struct sotto_group *group = NULL;
    enum err err = conv_group(c, cv, &group);
    if (err != OK && err != ERR_NOTFOUND)
        return err;
    if (err == OK) {
        out.epoch = sotto_group_epoch(group);
        out.epoch_authenticator =
            from_sotto(sotto_group_epoch_authenticator(group));
    }
    TRY(count(c,
              "SELECT count(*) FROM message WHERE conversation = ?"
              " AND read = 0",
              cv->id, &out.unread));
    TRY(count(c,
              "SELECT count(*) FROM outbox WHERE conversation = ?"
              " AND message != 0",
              cv->id, &out.queued));
    TRY(count(c, "SELECT count(*) FROM member WHERE conversation = ?", cv->id,
              &out.members));
    return v->conversation(v->ctx, &out);
}

enum err client_conversations(struct client *c, const struct client_visitor *v)
{
    TRY(store_reload(c));
    for (struct conv *cv = c->convs; cv != NULL; cv = cv->next)
        TRY(show_conversation(c, cv, v));
    return OK;
}

enum err client_conversation_get(struct client *c, int64_t id,
                                 const struct client_visitor *v)
{
    TRY(store_reload(c));
    struct conv *cv = conv_find(c, id);
    return cv == NULL ? ERR_NOTFOUND : show_conversation(c, cv, v);
}

enum err client_members(struct client *c, int64_t conversation,
                        const struct client_visitor *v)
{
    TRY(store_reload(c));
    CLEANUP(sql_end)
    struct sql_query q = sql_query(
        c->db, "SELECT m.account, iif(a.pinned = 1, a.handle, '') FROM member m"
               " LEFT JOIN account a ON a.account = m.account"
               " WHERE m.conversation = ? ORDER BY a.handle, m.account");
    sql_put_u64(&q, (uint64_t)conversation);
    while (sql_next(&q))
        TRY(v->member(v->ctx, sql_bytes(&q, 0), bytes_str(sql_text(&q, 1))));
    return sql_finish(&q);
}

enum err client_find(struct client *c, const char *who, int64_t *out)
{
    TRY(store_reload(c));
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "SELECT id FROM conversation WHERE direct = 0 AND"
                         " name = ? AND state != 4");
    sql_put_bytes(&q, bytes_str(who));
    size_t found = 0;
    int64_t id = 0;
    for (; sql_next(&q); found++)
        id = (int64_t)sql_u64(&q, 0);
    TRY(sql_finish(&q));
    if (found > 1)
        return ERR_EXISTS;
    if (found == 1) {
        *out = id;
        return OK;
    }
    return direct_lookup(c, who, out);
}

/* --- messages --- */

#define MESSAGE_COLUMNS                                                    \
    "SELECT m.id, m.conversation, m.kind, m.event, m.seq, m.time, m.own, " \
    "m.read, m.failed, m.account, iif(a.pinned = 1, a.handle, ''), "       \
    "m.content, m.body FROM message m LEFT JOIN account a "                \
    "ON a.account = m.account "

static enum err show_message(const struct sql_query *q,
                             const struct client_visitor *v)
{
    struct client_message m = {
        .id = (int64_t)sql_u64(q, 0),
        .conversation = (int64_t)sql_u64(q, 1),
        .kind = (enum client_message_kind)sql_u64(q, 2),
        .event = (enum client_event_kind)sql_u64(q, 3),
        .seq = sql_u64(q, 4),
        .time = sql_u64(q, 5),
        .own = sql_u64(q, 6) != 0,
        .read = sql_u64(q, 7) != 0,
        .failed = sql_u64(q, 8) != 0,
        .account = sql_bytes(q, 9),
        .sender = bytes_str(sql_text(q, 10)),
        .content_id = sql_bytes(q, 11),
        .text = sql_bytes(q, 12),
    };
    return v->message(v->ctx, &m);
}

static enum err show_messages(struct sql_query *q,
                              const struct client_visitor *v)
{
    while (sql_next(q))
        TRY(show_message(q, v));
    return sql_finish(q);
}

enum err client_log(struct client *c, int64_t conversation,
                    const struct client_visitor *v)
{
    TRY(store_reload(c));
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, MESSAGE_COLUMNS "WHERE m.conversation = ?"
                                         " ORDER BY m.seq = 0, m.seq, m.id");
    sql_put_u64(&q, (uint64_t)conversation);
    return show_messages(&q, v);
}

enum err client_unread(struct client *c, const struct client_visitor *v)
{
    TRY(store_reload(c));
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, MESSAGE_COLUMNS "WHERE m.read = 0 ORDER BY m.id");
    return show_messages(&q, v);
}

enum err client_message_get(struct client *c, int64_t message,
                            const struct client_visitor *v)
{
    TRY(store_reload(c));
    CLEANUP(sql_end)
    struct sql_query q = sql_query(c->db, MESSAGE_COLUMNS "WHERE m.id = ?");
    sql_put_u64(&q, (uint64_t)message);
    TRY(sql_one(&q));
    return show_message(&q, v);
}

/* --- status --- */

/* Nothing is on its way, and every log was read to its end. */
static bool synced(const struct client *c)
{
    for (const struct lane_state *l = c->lanes; l != NULL; l = l->next) {
        if (l->calls != NULL)
            return false;
    }
    for (const struct conv *cv = c->convs; cv != NULL; cv = cv->next) {
        if (cv->state == CLIENT_ACTIVE &&
            (!cv->attached || cv->cursor < cv->head))
            return false;
    }
    return !c->inbox_unread;
}

enum err client_status_get(struct client *c, struct client_status *out)
{
    TRY(store_reload(c));
    const struct profile *p = &c->profile;
    const struct server *home = server_home(c);
    struct client_status s = {0};
    s.state = (enum client_account_state)p->state;
    memcpy(s.account, p->account, sizeof s.account);
    memcpy(s.device, p->device, sizeof s.device);
    (void)snprintf(s.handle, sizeof s.handle, "%s", p->handle);
    if (home != NULL) {
        (void)snprintf(s.address, sizeof s.address, "%s", home->address);
        s.online =
            home->identified != NULL && home->identified->phase == LANE_READY;
    }
    CLEANUP(sql_end)
    struct sql_query q = sql_query(
        c->db, "SELECT (SELECT count(*) FROM joining),"
               " (SELECT count(*) FROM outbox WHERE state < 2 AND"
               " message != 0),"
               " (SELECT count(*) FROM intent) + (SELECT count(*) FROM pending)"
               " + (SELECT count(*) FROM mail) + (SELECT count(*) FROM joining)"
               " + (SELECT count(*) FROM outbox WHERE message = 0)");
    TRY(sql_one(&q));
    s.synced = s.online && synced(c) && sql_u64(&q, 0) == 0;
    s.queued = sql_u64(&q, 1);
    s.busy = sql_u64(&q, 2) + (c->work.lane != NULL);
    *out = s;
    return OK;
}
