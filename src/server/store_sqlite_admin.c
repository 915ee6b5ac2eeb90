/* SPDX-License-Identifier: Apache-2.0 */
#include "server/store_sqlite_impl.h"

#include "base/buf.h"

#define PAGE_ACCOUNTS \
    1000U /* so the log of the server can be emptied between */
#define NAME_SIZE_MAX 256U
#define DEVICES_SIZE  ((size_t)64 * 1024)

/* --- lists --- */

/* Gives the accounts after the name in `after`, which becomes the last one's;
 * false: there was none. */
static enum err put_page(struct sql *db, struct buf *after,
                         const struct store_account_sink *sink, bool *out_more)
{
    size_t count = 0;
    CLEANUP(sql_end)
    struct sql_query q = sql_query(
        db, "SELECT h.name, a.id, a.made_week, a.used_week, a.disabled,"
            " (SELECT count(*) FROM device d WHERE d.account = a.id)"
            " FROM handle h JOIN account a ON a.id = h.account"
            " WHERE h.name > ? ORDER BY h.name LIMIT ?");
    sql_put_bytes(&q, buf_bytes(after));
    sql_put_u64(&q, PAGE_ACCOUNTS);
    for (; sql_next(&q); count++) {
        const struct store_account a = {
            .name = sql_bytes(&q, 0),
            .id = sql_bytes(&q, 1),
            .made_week = (uint32_t)sql_u64(&q, 2),
            .used_week = (uint32_t)sql_u64(&q, 3),
            .disabled = sql_u64(&q, 4) != 0,
            .devices = sql_u64(&q, 5),
        };
        sink->put(sink->ctx, &a);
        if (count + 1 == PAGE_ACCOUNTS) {
            buf_truncate(after, 0);
            TRY(buf_append(after, a.name));
        }
    }
    *out_more = count == PAGE_ACCOUNTS;
    return sql_finish(&q);
}

static enum err accounts(void *ctx, const struct store_account_sink *sink,
                         struct problem *p)
{
    struct store_sqlite *s = ctx;
    CLEANUP(buf_clear) struct buf after = buf_new(NAME_SIZE_MAX);
    bool more = true;
    while (more)
        TRY(store_told(s, FILE_ACCOUNTS,
                       put_page(s->db[FILE_ACCOUNTS], &after, sink, &more), p));
    return OK;
}

/* --- changes --- */

static enum err run_with(struct sql *db, const char *text, struct bytes b)
{
    CLEANUP(sql_end) struct sql_query q = sql_query(db, text);
    sql_put_bytes(&q, b);
    return sql_run(&q);
}

static enum err run_with_number(struct sql *db, const char *text,
                                uint64_t number, struct bytes b)
{
    CLEANUP(sql_end) struct sql_query q = sql_query(db, text);
    sql_put_u64(&q, number);
    sql_put_bytes(&q, b);
    return sql_run(&q);
}

/* Appends the column of each row to `out`. */
static enum err collect_ids(struct sql *db, const char *text, struct bytes key,
                            struct buf *out)
{
    CLEANUP(sql_end) struct sql_query q = sql_query(db, text);
    sql_put_bytes(&q, key);
    while (sql_next(&q))
        TRY(buf_append(out, sql_bytes(&q, 0)));
    return sql_finish(&q);
}

static enum err find_account(struct sql *db, struct bytes name, struct buf *out,
                             struct problem *p)
{
    TRY(collect_ids(db, "SELECT account FROM handle WHERE name = ?", name,
                    out));
    if (out->len > 0)
        return OK;
    return store_nobody(name, p);
}

/* The next number, for the servers that run. */
static enum err note(struct sql *db, struct bytes account, uint32_t day)
{
    return run_with_number(db,
                           "INSERT INTO notice SELECT coalesce(max(number), 0)"
                           " + 1, ?, ? FROM notice",
                           day, account);
}

static enum err disable(struct sql *db, struct bytes name, bool disabled,
                        uint32_t day, struct problem *p)
{
    CLEANUP(buf_clear) struct buf id = buf_new(ID_SIZE);
    CLEANUP(sql_rollback) struct sql_tx tx = {0};
    TRY(sql_begin(db, "account", &tx));
    TRY(find_account(db, name, &id, p));
    TRY(run_with_number(db, "UPDATE account SET disabled = ? WHERE id = ?",
                        disabled, buf_bytes(&id)));
    if (disabled)
        TRY(note(db, buf_bytes(&id), day));
    return sql_commit(&tx);
}

static enum err account_disable(void *ctx, struct bytes name, bool disabled,
                                uint32_t day, struct problem *p)
{
    struct store_sqlite *s = ctx;
    return store_told(s, FILE_ACCOUNTS,
                      disable(s->db[FILE_ACCOUNTS], name, disabled, day, p), p);
}

static enum err delete_rows(struct sql *db, struct bytes id)
{
    static const char *const texts[] = {
        "DELETE FROM package WHERE device IN"
        " (SELECT id FROM device WHERE account = ?)",
        "DELETE FROM device WHERE account = ?",
        "DELETE FROM state WHERE account = ?",
        "DELETE FROM taken WHERE account = ?",
        "DELETE FROM handle WHERE name ="
        " (SELECT name FROM account WHERE id = ?)",
        "DELETE FROM account WHERE id = ?",
        "INSERT OR IGNORE INTO gone VALUES (?)",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        TRY(run_with(db, texts[i], id));
    return OK;
}

/* Appends the ids of its devices to `devices`. */
static enum err delete_account(struct sql *db, struct bytes name, uint32_t day,
                               struct buf *devices, struct problem *p)
{
    CLEANUP(buf_clear) struct buf id = buf_new(ID_SIZE);
    CLEANUP(sql_rollback) struct sql_tx tx = {0};
    TRY(sql_begin(db, "account", &tx));
    TRY(find_account(db, name, &id, p));
    TRY(collect_ids(db, "SELECT id FROM device WHERE account = ?",
                    buf_bytes(&id), devices));
    TRY(delete_rows(db, buf_bytes(&id)));
    TRY(run_with_number(db,
                        "INSERT OR REPLACE INTO resting (week, name)"
                        " VALUES (?, ?)",
                        day / DAYS_PER_WEEK, name));
    TRY(note(db, buf_bytes(&id), day));
    return sql_commit(&tx);
}

static enum err delete_inboxes(struct sql *db, struct bytes devices)
{
    static const char *const texts[] = {
        "DELETE FROM item WHERE device = ?",
        "DELETE FROM spent WHERE device = ?",
        "DELETE FROM inbox WHERE device = ?",
    };
    CLEANUP(sql_rollback) struct sql_tx tx = {0};
    TRY(sql_begin(db, "inboxes", &tx));
    struct reader r = reader_of(devices);
    while (reader_more(&r)) {
        struct bytes device = reader_raw(&r, ID_SIZE);
        for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
            TRY(run_with(db, texts[i], device));
    }
    TRY(reader_finish(&r));
    return sql_commit(&tx);
}

/* The account first: after a crash between the two, the running server removes
 * the inboxes of devices that no account lists. */
static enum err account_delete(void *ctx, struct bytes name, uint32_t day,
                               struct problem *p)
{
    struct store_sqlite *s = ctx;
    CLEANUP(buf_clear) struct buf devices = buf_new(DEVICES_SIZE);
    TRY(store_told(s, FILE_ACCOUNTS,
                   delete_account(s->db[FILE_ACCOUNTS], name, day, &devices, p),
                   p));
    enum err err = delete_inboxes(s->db[FILE_INBOXES], buf_bytes(&devices));
    if (err == OK)
        return OK;
    return problem_set(p, err, PROBLEM_SYSTEM,
                       "the account is deleted; what waits in its inboxes goes "
                       "when the server runs (now: %s)",
                       err_text(err));
}

static enum err stats(void *ctx, const struct store_stats_sink *sink,
                      uint64_t now, struct problem *p)
{
    return store_stats(ctx, sink, now, p);
}

static enum err check(void *ctx, const struct store_progress *progress,
                      struct problem *p)
{
    return store_check(ctx, progress, p);
}

static enum err backup(void *ctx, const char *dir,
                       const struct store_progress *progress, struct problem *p)
{
    return store_backup(ctx, dir, progress, p);
}

struct store_admin store_sqlite_admin(struct store_sqlite *s)
{
    return (struct store_admin){.ctx = s,
                                .accounts = accounts,
                                .account_disable = account_disable,
                                .account_delete = account_delete,
                                .stats = stats,
                                .check = check,
                                .backup = backup};
}
