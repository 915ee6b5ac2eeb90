/* SPDX-License-Identifier: Apache-2.0 */
/* The operator's tools: each on a connection of its own, which waits. */
#include "server/store_pg_impl.h"

#include "base/wire.h"

#include <string.h>

#define PAGE_ACCOUNTS 1000U
#define KEY_SIZE_MAX  256U
#define BINARY        1

static struct bytes cell(const PGresult *r, int row, int column)
{
    return (struct bytes){(const uint8_t *)PQgetvalue(r, row, column),
                          (size_t)PQgetlength(r, row, column)};
}

static uint64_t number(const PGresult *r, int row, int column)
{
    struct reader in = reader_of(cell(r, row, column));
    return in.rest.len == 4 ? reader_u32(&in) : reader_u64(&in);
}

static enum err run(PGconn *conn, const char *query, const struct params *q,
                    PGresult **out, struct problem *p)
{
    *out = PQexecParams(conn, query, (int)q->count, NULL, q->values, q->lengths,
                        q->formats, BINARY);
    if (PQresultStatus(*out) != PGRES_TUPLES_OK)
        return pg_problem(p, "the command failed", conn);
    return OK;
}

/* --- lists --- */

/* Gives the accounts after the last one's name, in the order of their keys. */
static enum err put_page(PGconn *conn, struct buf *after,
                         const struct store_account_sink *sink, bool *out_more,
                         struct problem *p)
{
    static const char query[] =
        "SELECT h.name, a.id, a.made_week::bigint, a.used_week::bigint,"
        " a.disabled::integer::bigint, cardinality(a.devices)::bigint"
        " FROM handle h JOIN account a"
        " ON a.shard = shard_of(h.account) AND a.id = h.account"
        " WHERE $1::bytea = '' OR (h.shard, h.name) >"
        " (shard_of_name($1), $1) ORDER BY h.shard, h.name LIMIT $2::bigint";
    CLEANUP(params_clear) struct params q = {0};
    CLEANUP(pg_result_clear) PGresult *r = NULL;
    put_bytes(&q, buf_bytes(after));
    put_number(&q, PAGE_ACCOUNTS);
    TRY(run(conn, query, &q, &r, p));
    int rows = PQntuples(r);
    for (int i = 0; i < rows; i++) {
        const struct store_account a = {
            .name = cell(r, i, 0),
            .id = cell(r, i, 1),
            .made_week = (uint32_t)number(r, i, 2),
            .used_week = (uint32_t)number(r, i, 3),
            .disabled = number(r, i, 4) != 0,
            .devices = number(r, i, 5),
        };
        sink->put(sink->ctx, &a);
    }
    *out_more = rows == (int)PAGE_ACCOUNTS;
    buf_truncate(after, 0);
    return rows > 0 ? buf_append(after, cell(r, rows - 1, 0)) : OK;
}

static enum err accounts(void *ctx, const struct store_account_sink *sink,
                         struct problem *p)
{
    CLEANUP(pg_conn_close) PGconn *conn = NULL;
    CLEANUP(buf_clear) struct buf after = buf_new(KEY_SIZE_MAX);
    bool more = true;
    TRY(pg_connect_again(ctx, &conn, p));
    while (more)
        TRY(put_page(conn, &after, sink, &more, p));
    return OK;
}

/* --- changes --- */

static enum err change(void *ctx, const char *query, const struct params *q,
                       struct bytes name, struct problem *p)
{
    CLEANUP(pg_conn_close) PGconn *conn = NULL;
    CLEANUP(pg_result_clear) PGresult *r = NULL;
    TRY(pg_connect_again(ctx, &conn, p));
    TRY(run(conn, query, q, &r, p));
    return number(r, 0, 0) == STATUS_OK ? OK : store_nobody(name, p);
}

static enum err account_disable(void *ctx, struct bytes name, bool disabled,
                                uint32_t day, struct problem *p)
{
    CLEANUP(params_clear) struct params q = {0};
    put_bytes(&q, name);
    put_flag(&q, disabled);
    put_number(&q, day);
    return change(ctx, "SELECT status FROM account_disable($1, $2, $3)", &q,
                  name, p);
}

static enum err account_delete(void *ctx, struct bytes name, uint32_t day,
                               struct problem *p)
{
    CLEANUP(params_clear) struct params q = {0};
    put_bytes(&q, name);
    put_number(&q, day);
    return change(ctx, "SELECT status FROM account_delete($1, $2)", &q, name,
                  p);
}

/* --- numbers --- */

/* Rows as the database counts them by itself, over the partitions; after it has
 * fallen it has only those of its last analysis. */
static const char stats_query[] =
    "WITH counted AS (SELECT relname, greatest(reltuples::bigint,"
    " pg_stat_get_live_tuples(oid), 0) AS n FROM pg_class WHERE relkind = 'r'"
    " AND relnamespace = (SELECT relnamespace FROM pg_class"
    " WHERE oid = 'channel'::regclass)),"
    " wanted (place, name, pattern) AS (VALUES (1, 'accounts', '^account$'),"
    " (2, 'devices', '^device$'), (3, 'inbox_items', '^item$'),"
    " (4, 'channels', '^channel$'), (5, 'subscriptions', '^subscription$'),"
    " (6, 'entries', '^entry_[0-9]+$'), (7, 'blobs', '^blob$'))"
    " SELECT name, coalesce(sum(n), 0)::bigint, 1::bigint, place"
    " FROM wanted LEFT JOIN counted ON relname ~ pattern GROUP BY 1, 4"
    " UNION ALL SELECT 'blobs_bytes', sum(bytes)::bigint, 0, 8 FROM usage"
    " UNION ALL SELECT 'database_bytes', a, 0, 9 FROM store_size()"
    " ORDER BY place";

static enum err stats(void *ctx, const struct store_stats_sink *sink,
                      uint64_t now, struct problem *p)
{
    CLEANUP(pg_conn_close) PGconn *conn = NULL;
    CLEANUP(pg_result_clear) PGresult *r = NULL;
    const struct params none = {0};
    (void)now;
    TRY(pg_connect_again(ctx, &conn, p));
    TRY(run(conn, stats_query, &none, &r, p));
    for (int i = 0; i < PQntuples(r); i++)
        sink->put(sink->ctx, PQgetvalue(r, i, 0), number(r, i, 1),
                  number(r, i, 2) != 0);
    return OK;
}

/* The database keeps its own progress. */
static enum err check(void *ctx, const struct store_progress *progress,
                      struct problem *p)
{
    (void)progress;
    return store_pg_check(ctx, p);
}

struct store_admin store_pg_admin(struct store_pg *s)
{
    return (struct store_admin){.ctx = s,
                                .accounts = accounts,
                                .account_disable = account_disable,
                                .account_delete = account_delete,
                                .stats = stats,
                                .check = check};
}
