/* SPDX-License-Identifier: Apache-2.0 */
#include "server/export.h"
#include "server/store_sqlite_impl.h"

#include "base/buf.h"

#define DEVICES_MAX ((size_t)64 * 1024) /* bytes of ids */

static const struct export_section of_account[] = {
    {FILE_ACCOUNTS,
     "account",
     "SELECT name, id, made_week, used_week, version, contact_hash, disabled"
     " FROM account WHERE id = ?",
     {{"name", EXPORT_TEXT},
      {"account id", EXPORT_BYTES},
      {"week of registration", EXPORT_WEEK},
      {"week of last use", EXPORT_WEEK},
      {"version of the newest state", EXPORT_NUMBER},
      {"SHA-256 of the contact capability", EXPORT_BYTES},
      {"disabled by the operator", EXPORT_NUMBER}}},
    {FILE_ACCOUNTS,
     "handle",
     "SELECT name, account FROM handle WHERE account = ?",
     {{"name", EXPORT_TEXT}, {"account id", EXPORT_BYTES}}},
    {FILE_ACCOUNTS,
     "state",
     "SELECT account, version, body FROM state WHERE account = ?"
     " ORDER BY version",
     {{"account id", EXPORT_BYTES},
      {"version", EXPORT_NUMBER},
      {"signed state", EXPORT_BYTES}}},
    {FILE_ACCOUNTS,
     "taken",
     "SELECT account, day, by_contacts, by_strangers FROM taken"
     " WHERE account = ? ORDER BY day",
     {{"account id", EXPORT_BYTES},
      {"day", EXPORT_DAY},
      {"KeyPackages taken by contacts", EXPORT_NUMBER},
      {"KeyPackages taken by strangers", EXPORT_NUMBER}}},
    {FILE_ACCOUNTS,
     "notice",
     "SELECT number, day, account FROM notice WHERE account = ?",
     {{"number", EXPORT_NUMBER},
      {"day", EXPORT_DAY},
      {"account id that was disabled", EXPORT_BYTES}}},
    {FILE_ACCOUNTS,
     "device",
     "SELECT id, account FROM device WHERE account = ?",
     {{"device id", EXPORT_BYTES}, {"account id", EXPORT_BYTES}}},
};

/* Of an account that was deleted; its `?` is the name. */
static const struct export_section of_name = {
    FILE_ACCOUNTS,
    "name of a deleted account",
    "SELECT name, week FROM resting WHERE name = ?",
    {{"name", EXPORT_TEXT}, {"week of the deletion", EXPORT_WEEK}}};

static const struct export_section of_device[] = {
    {FILE_ACCOUNTS,
     "KeyPackage",
     "SELECT device, hash, last_resort, day, body FROM package"
     " WHERE device = ?",
     {{"device id", EXPORT_BYTES},
      {"SHA-256", EXPORT_BYTES},
      {"is the last resort", EXPORT_NUMBER},
      {"day", EXPORT_DAY},
      {"KeyPackage", EXPORT_BYTES}}},
    {FILE_INBOXES,
     "inbox",
     "SELECT device, head, day, strangers FROM inbox WHERE device = ?",
     {{"device id", EXPORT_BYTES},
      {"newest number", EXPORT_NUMBER},
      {"day", EXPORT_DAY},
      {"items of strangers that day", EXPORT_NUMBER}}},
    {FILE_INBOXES,
     "inbox item",
     "SELECT device, seq, day, item FROM item WHERE device = ? ORDER BY seq",
     {{"device id", EXPORT_BYTES},
      {"number", EXPORT_NUMBER},
      {"day", EXPORT_DAY},
      {"sealed item", EXPORT_BYTES}}},
    {FILE_INBOXES,
     "item that was sent",
     "SELECT day, device, hash FROM spent WHERE device = ? ORDER BY day",
     {{"day", EXPORT_DAY},
      {"device id", EXPORT_BYTES},
      {"SHA-256", EXPORT_BYTES}}},
};

#define COUNT_OF(list) (sizeof(list) / sizeof((list)[0]))

const struct export_section *export_of_account(size_t i)
{
    return i < COUNT_OF(of_account) ? &of_account[i] : NULL;
}

const struct export_section *export_of_device(size_t i)
{
    return i < COUNT_OF(of_device) ? &of_device[i] : NULL;
}

const struct export_section *export_of_name(void) { return &of_name; }

const char *export_query(size_t i)
{
    if (i < COUNT_OF(of_account))
        return of_account[i].query;
    i -= COUNT_OF(of_account);
    if (i < COUNT_OF(of_device))
        return of_device[i].query;
    return i == COUNT_OF(of_device) ? of_name.query : NULL;
}

void export_put_row(const struct export_section *section,
                    void (*read)(void *row, int column,
                                 struct export_field *out),
                    void *row, const struct export_sink *sink)
{
    for (int i = 0;
         i < (int)EXPORT_FIELDS_MAX && section->field[i].name != NULL; i++) {
        struct export_field f = {.row = section->row,
                                 .name = section->field[i].name,
                                 .first = i == 0,
                                 .kind = section->field[i].kind};
        read(row, i, &f);
        sink->put(sink->ctx, &f);
    }
}

static void read_field(void *row, int column, struct export_field *out)
{
    const struct sql_query *q = row;
    out->number = sql_u64(q, column);
    out->bytes = sql_bytes(q, column);
    out->missing = sql_is_null(q, column);
}

static enum err put_section(struct store_sqlite *s,
                            const struct export_section *sec, struct bytes id,
                            const struct export_sink *sink, size_t *rows)
{
    CLEANUP(sql_end)
    struct sql_query q = sql_query(s->db[sec->file], sec->query);
    sql_put_bytes(&q, id);
    for (; sql_next(&q); ++*rows)
        export_put_row(sec, read_field, &q, sink);
    enum err err = sql_finish(&q);
    if (err != OK)
        s->problem = *sql_problem(s->db[sec->file]);
    return err;
}

static enum err find_account(struct sql *db, struct bytes name, struct buf *out)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(db, "SELECT account FROM handle WHERE name = ?");
    sql_put_bytes(&q, name);
    TRY(sql_one(&q));
    return buf_copy(out, sql_bytes(&q, 0));
}

static enum err find_devices(struct sql *db, struct bytes account,
                             struct buf *out)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(db, "SELECT id FROM device WHERE account = ?");
    sql_put_bytes(&q, account);
    while (sql_next(&q))
        TRY(buf_append(out, sql_bytes(&q, 0)));
    return sql_finish(&q);
}

static enum err put_all(struct store_sqlite *s, struct bytes account,
                        const struct export_sink *sink)
{
    CLEANUP(buf_clear) struct buf devices = buf_new(DEVICES_MAX);
    size_t rows = 0;
    for (size_t i = 0; i < COUNT_OF(of_account); i++)
        TRY(put_section(s, &of_account[i], account, sink, &rows));
    TRY(find_devices(s->db[FILE_ACCOUNTS], account, &devices));
    for (size_t at = 0; at + ID_SIZE <= devices.len; at += ID_SIZE) {
        struct bytes device = {devices.data + at, ID_SIZE};
        for (size_t i = 0; i < COUNT_OF(of_device); i++)
            TRY(put_section(s, &of_device[i], device, sink, &rows));
    }
    return OK;
}

enum err export_account(struct store_sqlite *s, struct bytes name,
                        const struct export_sink *sink, struct problem *p)
{
    CLEANUP(buf_clear) struct buf account = buf_new(ID_SIZE);
    enum err err = find_account(s->db[FILE_ACCOUNTS], name, &account);
    size_t rows = 0;
    if (err == OK)
        err = put_all(s, buf_bytes(&account), sink);
    else if (err == ERR_NOTFOUND)
        err = put_section(s, &of_name, name, sink, &rows);
    if (err == OK && account.len == 0 && rows == 0)
        return store_nobody(name, p);
    if (err != OK)
        return problem_set(p, err, PROBLEM_SYSTEM, "cannot read the store: %s",
                           err_text(err));
    return OK;
}
