/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inboxes. A device's inbox comes into being with its first item. The item's
 * hash is remembered while its proof of work is good, so that an item which is
 * sent again, after a lost answer or by a replay, is taken once.
 */
#include "server/store_sqlite_impl.h"

const char *const store_inboxes_schema[] = {
    "CREATE TABLE inbox ("
    " device BLOB NOT NULL PRIMARY KEY,"
    " head INTEGER NOT NULL,"
    " day INTEGER NOT NULL,"      /* that `strangers` counts */
    " strangers INTEGER NOT NULL" /* items that came with work, that day */
    ") WITHOUT ROWID, STRICT;"
    "CREATE TABLE item ("
    " device BLOB NOT NULL,"
    " seq INTEGER NOT NULL,"
    " day INTEGER NOT NULL,"
    " item BLOB NOT NULL,"
    " PRIMARY KEY (device, seq)"
    ") WITHOUT ROWID, STRICT;"
    "CREATE TABLE spent ("
    " day INTEGER NOT NULL,"
    " device BLOB NOT NULL,"
    " hash BLOB NOT NULL,"
    " PRIMARY KEY (day, device, hash)"
    ") WITHOUT ROWID, STRICT;",
    NULL,
};

struct inbox {
    struct bytes device;
    uint64_t head;
    uint64_t items;
    uint64_t strangers; /* today */
};

static enum err inbox_find(struct sql *db, struct bytes device, uint32_t day,
                           struct inbox *out)
{
    *out = (struct inbox){.device = device};
    {
        CLEANUP(sql_end)
        struct sql_query q = sql_query(
            db, "SELECT head, day, strangers FROM inbox WHERE device = ?");
        sql_put_bytes(&q, device);
        if (!sql_next(&q))
            return sql_finish(&q);
        out->head = sql_u64(&q, 0);
        out->strangers = sql_u64(&q, 1) == day ? sql_u64(&q, 2) : 0;
    }
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(db, "SELECT count(*) FROM item WHERE device = ?");
    sql_put_bytes(&q, device);
    TRY(sql_one(&q));
    out->items = sql_u64(&q, 0);
    return OK;
}

/* Says whether the same item came yesterday or today. */
static enum err item_known(struct sql *db, const struct store_op *op, bool *out)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(db, "SELECT 1 FROM spent"
                      " WHERE day IN (?, ?) AND device = ? AND hash = ?");
    sql_put_u64(&q, op->day);
    sql_put_u64(&q, op->day > 0 ? op->day - 1 : 0);
    sql_put_bytes(&q, op->request.inbox_append.device_id);
    sql_put_bytes(&q, op->digest);
    *out = sql_next(&q);
    return sql_finish(&q);
}

static enum err item_insert(struct sql *db, const struct store_op *op,
                            const struct inbox *in, bool stranger)
{
    CLEANUP(sql_end)
    struct sql_query i = sql_query(db, "INSERT INTO item VALUES (?, ?, ?, ?)");
    sql_put_bytes(&i, in->device);
    sql_put_u64(&i, in->head + 1);
    sql_put_u64(&i, op->day);
    sql_put_bytes(&i, op->request.inbox_append.item);
    TRY(sql_run(&i));

    CLEANUP(sql_end)
    struct sql_query s = sql_query(db, "INSERT INTO spent VALUES (?, ?, ?)");
    sql_put_u64(&s, op->day);
    sql_put_bytes(&s, in->device);
    sql_put_bytes(&s, op->digest);
    TRY(sql_run(&s));

    CLEANUP(sql_end)
    struct sql_query b =
        sql_query(db, "INSERT OR REPLACE INTO inbox VALUES (?, ?, ?, ?)");
    sql_put_bytes(&b, in->device);
    sql_put_u64(&b, in->head + 1);
    sql_put_u64(&b, op->day);
    sql_put_u64(&b, in->strangers + stranger);
    return sql_run(&b);
}

enum err inboxes_append(struct store_sqlite *s, struct store_op *op)
{
    const struct inbox_append_request *r = &op->request.inbox_append;
    struct sql *db = NULL;
    struct inbox in;
    bool contact = false;
    bool known = false;
    enum err err = accounts_check(s, op, r->account_id, r->device_id, &contact);
    if (err == ERR_NOTFOUND)
        return store_refuse(op, STATUS_NOTFOUND, 0);
    if (err == ERR_STATE)
        return store_refuse(op, STATUS_BARRED, BARRED_DISABLED);
    TRY(err);
    if (!contact && op->cap_hash.len > 0)
        return store_refuse(op, STATUS_AUTH, 0);
    TRY(store_use(s, op, FILE_INBOXES, &db));
    TRY(item_known(db, op, &known));
    if (known)
        return OK;
    TRY(inbox_find(db, r->device_id, op->day, &in));
    /* strangers alone cannot fill it: half of it is for contacts */
    if (in.items >= s->quotas.inbox_items ||
        (!contact && (in.strangers >= s->quotas.stranger_items ||
                      in.items >= s->quotas.inbox_items / 2)))
        return store_refuse(op, STATUS_LIMIT, 0);
    TRY(item_insert(db, op, &in, !contact));
    op->seq = in.head + 1;
    return OK;
}

enum err inboxes_read(struct store_sqlite *s, struct store_op *op)
{
    const struct inbox_read_request *r = &op->request.inbox_read;
    struct sql *db = NULL;
    TRY(store_use(s, op, FILE_INBOXES, &db));
    op->data = buf_new((size_t)INBOX_READ_MAX * (INBOX_ITEM_SIZE + ID_SIZE));
    struct writer w = writer_to(&op->data);
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(db, "SELECT seq, item FROM item WHERE device = ? AND seq > ?"
                      " ORDER BY seq LIMIT ?");
    sql_put_bytes(&q, op->device);
    sql_put_u64(&q, store_clamp(r->after));
    sql_put_u64(&q, r->max < INBOX_READ_MAX ? r->max : INBOX_READ_MAX);
    while (sql_next(&q)) {
        const struct inbox_item item = {sql_u64(&q, 0), sql_bytes(&q, 1)};
        inbox_item_write(&w, &item);
    }
    TRY(sql_finish(&q));
    TRY(writer_finish(&w));
    op->answer.inbox_read.items = buf_bytes(&op->data);
    return OK;
}

enum err inboxes_ack(struct store_sqlite *s, struct store_op *op)
{
    uint64_t upto = op->request.inbox_ack.upto;
    struct sql *db = NULL;
    TRY(store_use(s, op, FILE_INBOXES, &db));
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(db, "DELETE FROM item WHERE device = ? AND seq <= ?");
    sql_put_bytes(&q, op->device);
    sql_put_u64(&q, store_clamp(upto));
    return sql_run(&q);
}

/* Items that are too old go, and everything of a device that is listed by no
 * account any more. */
static enum err inbox_collect(struct store_sqlite *s, struct store_op *op,
                              struct bytes device)
{
    struct sql *db = NULL;
    struct sql *accounts = NULL;
    uint32_t days = s->quotas.retention_days;
    TRY(store_use(s, op, FILE_INBOXES, &db));
    TRY(store_use(s, op, FILE_ACCOUNTS, &accounts));
    CLEANUP(sql_end)
    struct sql_query listed =
        sql_query(accounts, "SELECT 1 FROM device WHERE id = ?");
    sql_put_bytes(&listed, device);
    bool kept = sql_next(&listed);
    TRY(sql_finish(&listed));
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(db, "DELETE FROM item WHERE device = ? AND day < ?");
    sql_put_bytes(&q, device);
    sql_put_u64(&q, kept ? store_day_before(op, days) : INT64_MAX);
    TRY(sql_run(&q));
    if (kept)
        return OK;
    CLEANUP(sql_end)
    struct sql_query d = sql_query(db, "DELETE FROM inbox WHERE device = ?");
    sql_put_bytes(&d, device);
    return sql_run(&d);
}

enum err inboxes_collect(struct store_sqlite *s, struct store_op *op)
{
    uint8_t ids[COLLECT_STEP][ID_SIZE];
    size_t count = 0;
    struct sql *db = NULL;
    TRY(store_use(s, op, FILE_INBOXES, &db));
    TRY(store_older(db, "DELETE FROM spent WHERE day < ?", op, SPENT_DAYS));
    TRY(store_walk(s, FILE_INBOXES,
                   "SELECT device FROM inbox WHERE device > ?"
                   " ORDER BY device LIMIT ?",
                   ids, &count));
    for (size_t i = 0; i < count; i++)
        TRY(inbox_collect(s, op, (struct bytes){ids[i], ID_SIZE}));
    return OK;
}
