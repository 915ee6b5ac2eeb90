/* SPDX-License-Identifier: Apache-2.0 */
#include "client/mail.h"

#include "client/people.h"
#include "client/pump.h"

#include <string.h>

#define MAIL_AT_ONCE  8U
#define MAIL_RETRY_MS (10ULL * MINUTE_MS)
#define MAIL_TRIES    4096U /* four weeks of a full inbox */

enum err mail_add(struct client *c, int64_t conversation, struct bytes account,
                  const struct device *device, const struct inbox_message *m)
{
    CLEANUP(buf_clear) struct buf item = buf_new(INBOX_ITEM_SIZE);
    TRY(inbox_seal(c->crypto, c->random, device->sealing_key, m, &item));
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "INSERT INTO mail (account, device, conversation,"
                         " item, not_before, tries) VALUES (?, ?, ?, ?, 0, 0)");
    sql_put_bytes(&q, account);
    sql_put_bytes(&q, device->id);
    sql_put_u64(&q, (uint64_t)conversation);
    sql_put_bytes(&q, buf_bytes(&item));
    return sql_run(&q);
}

static enum err send_mail(struct client *c, const struct sql_query *row)
{
    int64_t id = (int64_t)sql_u64(row, 0);
    struct bytes account = sql_bytes(row, 1);
    struct person p = {0};
    TRY(person_get(c, account, &p));
    struct server *s = server_find(c, p.server);
    if (s == NULL)
        return ERR_INVALID;
    struct lane_state *l = s->anonymous;
    if (l->phase != LANE_READY || call_active(l, TASK_MAIL, id) ||
        call_count(l, TASK_MAIL) >= MAIL_AT_ONCE)
        return OK;
    struct request q = {.inbox_append = {.account_id = account,
                                         .device_id = sql_bytes(row, 2),
                                         .item = sql_bytes(row, 3)}};
    if (p.has_cap) {
        q.inbox_append.contact_cap = ID_BYTES(p.contact_cap);
    } else {
        uint8_t subject[HASH256_SIZE];
        const struct work *work = NULL;
        TRY(sha256(c, PARTS(q.inbox_append.item), subject));
        TRY(work_slice(
            c, l,
            &(struct work_for){TASK_MAIL, id, POW_INBOX, ID_BYTES(subject)},
            &work));
        if (work == NULL)
            return OK;
        q.inbox_append.pow = work->pow;
    }
    return call_send(c, l,
                     &(struct call){.task = TASK_MAIL,
                                    .row = id,
                                    .value = p.has_cap ? 1 : 0},
                     &q);
}

enum err mail_pump(struct client *c)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "SELECT id, account, device, item, not_before"
                         " FROM mail ORDER BY id");
    while (sql_next(&q)) {
        if (client_due(c, sql_u64(&q, 4)))
            TRY(send_mail(c, &q));
    }
    return sql_finish(&q);
}

static enum err mail_account(struct client *c, int64_t id, uint8_t out[ID_SIZE])
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "SELECT account FROM mail WHERE id = ?");
    sql_put_u64(&q, (uint64_t)id);
    TRY(sql_one(&q));
    return row_copy(&q, 0, out, ID_SIZE);
}

static enum err mail_later(struct client *c, int64_t id, uint64_t delay_ms)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "UPDATE mail SET not_before = ?, tries = tries + 1"
                         " WHERE id = ?");
    sql_put_u64(&q, c->now + delay_ms);
    sql_put_u64(&q, (uint64_t)id);
    TRY(sql_run(&q));
    CLEANUP(sql_end)
    struct sql_query in_vain =
        sql_query(c->db, "DELETE FROM mail WHERE id = ? AND tries >= ?");
    sql_put_u64(&in_vain, (uint64_t)id);
    sql_put_u64(&in_vain, MAIL_TRIES);
    return sql_run(&in_vain);
}

static enum err mail_delete(struct client *c, int64_t id)
{
    CLEANUP(sql_end)
    struct sql_query q = sql_query(c->db, "DELETE FROM mail WHERE id = ?");
    sql_put_u64(&q, (uint64_t)id);
    return sql_run(&q);
}

enum err on_mail(const struct answered *a)
{
    struct client *c = a->client;
    int64_t id = a->call.row;
    uint8_t account[ID_SIZE];
    enum err err = mail_account(c, id, account);
    if (err == ERR_NOTFOUND)
        return OK;
    TRY(err);
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "mail answered", &step));
    switch ((enum status)a->answer->status) {
    case STATUS_AUTH: /* the capability is old, or a new day began */
        if (a->call.value != 0)
            TRY(person_set_cap(c, ID_BYTES(account), (struct bytes){0}));
        TRY(mail_later(c, id, a->call.value != 0 ? SECOND_MS : MINUTE_MS));
        break;
    case STATUS_BUSY:
        TRY(mail_later(c, id, SECOND_MS + a->answer->detail));
        break;
    case STATUS_LIMIT:
    case STATUS_BARRED: /* it may be enabled again */
        TRY(mail_later(c, id, MAIL_RETRY_MS));
        break;
    default: /* taken, or nobody's inbox any more */
        TRY(mail_delete(c, id));
        break;
    }
    return step_commit(&step);
}
