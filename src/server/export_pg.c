/* SPDX-License-Identifier: Apache-2.0 */
#include "server/export_pg.h"

#include "base/wire.h"
#include "server/store_pg_impl.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define QUERY_MAX 512U

/* The table of SQLite that has another name here, as its first letters would
 * tell. */
static const struct {
    const char *sqlite, *pg;
} others[] = {
    {"SELECT day, device, hash FROM spent ",
     "SELECT day, device, hash FROM spent_item "},
};

/* SQLite's parameter is PostgreSQL's first. */
static void translate(const char *query, char out[QUERY_MAX])
{
    const char *head = "";
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        size_t len = strlen(others[i].sqlite);
        if (strncmp(query, others[i].sqlite, len) == 0) {
            head = others[i].pg;
            query += len;
        }
    }
    size_t before = strcspn(query, "?");
    int len = snprintf(out, QUERY_MAX, "%s%.*s$1%s", head, (int)before, query,
                       query[before] == '?' ? query + before + 1 : "");
    assert(len > 0 && (size_t)len < QUERY_MAX);
}

struct row {
    const PGresult *result;
    int number;
};

static struct bytes cell(const struct row *row, int column)
{
    return (struct bytes){
        (const uint8_t *)PQgetvalue(row->result, row->number, column),
        (size_t)PQgetlength(row->result, row->number, column)};
}

static void read_field(void *ctx, int column, struct export_field *out)
{
    const struct row *row = ctx;
    out->missing = PQgetisnull(row->result, row->number, column) == 1;
    out->bytes = cell(row, column);
    if (out->kind == EXPORT_TEXT || out->kind == EXPORT_BYTES)
        return;
    struct reader r = reader_of(out->bytes); /* 1, 2, 4 or 8 bytes */
    while (reader_more(&r))
        out->number = out->number << 8 | reader_u8(&r);
}

static enum err query(PGconn *conn, const char *text, struct bytes id,
                      PGresult **out, struct problem *p)
{
    const char *values[] = {(const char *)id.data};
    const int lengths[] = {(int)id.len};
    const int formats[] = {1};
    *out = PQexecParams(conn, text, 1, NULL, values, lengths, formats, 1);
    if (PQresultStatus(*out) == PGRES_TUPLES_OK)
        return OK;
    return pg_problem(p, "cannot read", conn);
}

static enum err put_section(PGconn *conn, const struct export_section *section,
                            struct bytes id, const struct export_sink *sink,
                            size_t *rows, struct problem *p)
{
    char text[QUERY_MAX];
    CLEANUP(pg_result_clear) PGresult *r = NULL;
    translate(section->query, text);
    TRY(query(conn, text, id, &r, p));
    for (struct row row = {r, 0}; row.number < PQntuples(r); row.number++)
        export_put_row(section, read_field, &row, sink);
    *rows += (size_t)PQntuples(r);
    return OK;
}

static enum err put_all(PGconn *conn, struct bytes account,
                        const struct export_sink *sink, struct problem *p)
{
    const struct export_section *section = NULL;
    size_t rows = 0;
    CLEANUP(pg_result_clear) PGresult *devices = NULL;
    for (size_t i = 0; (section = export_of_account(i)) != NULL; i++)
        TRY(put_section(conn, section, account, sink, &rows, p));
    TRY(query(conn,
              "SELECT unnest(devices) FROM account WHERE id = $1"
              " AND shard = shard_of($1)",
              account, &devices, p));
    for (struct row row = {devices, 0}; row.number < PQntuples(devices);
         row.number++)
        for (size_t i = 0; (section = export_of_device(i)) != NULL; i++)
            TRY(put_section(conn, section, cell(&row, 0), sink, &rows, p));
    return OK;
}

enum err export_account_pg(struct store_pg *s, struct bytes name,
                           const struct export_sink *sink, struct problem *p)
{
    CLEANUP(pg_conn_close) PGconn *conn = NULL;
    CLEANUP(pg_result_clear) PGresult *r = NULL;
    size_t rows = 0;
    TRY(pg_connect_again(s, &conn, p));
    TRY(query(conn, "SELECT account FROM handle WHERE name = $1", name, &r, p));
    if (PQntuples(r) == 0)
        TRY(put_section(conn, export_of_name(), name, sink, &rows, p));
    if (rows > 0)
        return OK;
    if (PQntuples(r) == 0)
        return problem_set(p, ERR_NOTFOUND, PROBLEM_SYSTEM,
                           "nobody is called \"%.*s\"", (int)name.len,
                           (const char *)name.data);
    const struct row row = {r, 0};
    return put_all(conn, cell(&row, 0), sink, p);
}
