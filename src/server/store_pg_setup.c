/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is done while nobody waits for it: the first connection, the tables, the
 * check. Nothing here is called by a running server.
 */
#include "server/store_pg_impl.h"

#include "base/mem.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define ADDRESSES_SIZE 4096U
#define DEF_PORT       5432U
#define SERVER_MIN     150000 /* 15: the oldest that is tested */
#define VERSION_MAX    1000000

void pg_conn_close(PGconn **conn)
{
    PQfinish(*conn);
    *conn = NULL;
}

void pg_result_clear(PGresult **r)
{
    PQclear(*r);
    *r = NULL;
}

bool store_pg_named(const char *text)
{
    return strncmp(text, "postgresql://", 13) == 0 ||
           strncmp(text, "postgres://", 11) == 0 || strchr(text, '=') != NULL;
}

/* Notices go nowhere, instead of to standard error: what matters is an error,
 * too. */
static void drop_notice(void *ctx, const PGresult *r)
{
    (void)ctx;
    (void)r;
}

void pg_quiet(PGconn *conn)
{
    (void)PQsetNoticeReceiver(conn, drop_notice, NULL);
}

/* libpq ends its sentences with a line feed, and may have several. Where it
 * cannot read its parameters it repeats them, password and all: those texts are
 * never passed on. */
enum err pg_problem(struct problem *p, const char *what, const PGconn *conn)
{
    const char *text = PQerrorMessage(conn);
    int len = (int)strcspn(text, "\n");
    return problem_set(p, ERR_IO, PROBLEM_NETWORK, "PostgreSQL: %s: %.*s", what,
                       len, text);
}

/* --- connecting --- */

static enum err options_parse(const char *conninfo, PQconninfoOption **out,
                              struct problem *p)
{
    char *text = NULL;
    *out = PQconninfoParse(conninfo, &text);
    PQfreemem(text);
    if (*out != NULL)
        return OK;
    return problem_set(p, ERR_INVALID, PROBLEM_USAGE,
                       "the store's name is neither a URI of PostgreSQL nor "
                       "keywords with values, as libpq wants them");
}

enum err pg_connect(const char *conninfo, PGconn **out, struct problem *p)
{
    /* What comes first is overridden by what is in `conninfo`. */
    static const char *const keys[] = {"connect_timeout", "gssencmode",
                                       "fallback_application_name", "dbname",
                                       NULL};
    const char *values[] = {"10", "disable", "sottod", conninfo, NULL};
    PQconninfoOption *options = NULL;
    TRY(options_parse(conninfo, &options, p));
    PQconninfoFree(options);
    CLEANUP(pg_conn_close) PGconn *conn = PQconnectdbParams(keys, values, 1);
    if (conn == NULL)
        return problem_set(p, ERR_NOMEM, PROBLEM_SYSTEM, "no memory");
    if (PQstatus(conn) != CONNECTION_OK)
        return pg_problem(p, "cannot connect", conn);
    pg_quiet(conn);
    *out = conn;
    conn = NULL; /* handed over */
    return OK;
}

static void addresses_free(struct addrinfo **list)
{
    if (*list != NULL)
        freeaddrinfo(*list);
    *list = NULL;
}

/* Appends the address of one host, if it has a name that is to be looked up. */
static enum err address_add(const char *host, size_t len, char *out,
                            struct problem *p)
{
    char name[256];
    size_t used = strlen(out);
    CLEANUP(addresses_free) struct addrinfo *list = NULL;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    if (len == 0 || host[0] == '/' || host[0] == '@')
        return OK;
    if (len >= sizeof name)
        return problem_set(p, ERR_LIMIT, PROBLEM_USAGE,
                           "a host's name is too long");
    memcpy(name, host, len);
    name[len] = '\0';
    if (getaddrinfo(name, NULL, &hints, &list) != 0 ||
        getnameinfo(list->ai_addr, list->ai_addrlen, out + used,
                    (socklen_t)(ADDRESSES_SIZE - used), NULL, 0,
                    NI_NUMERICHOST) != 0)
        return problem_set(p, ERR_IO, PROBLEM_NETWORK,
                           "PostgreSQL: cannot find the host %s", name);
    return OK;
}

/* The sandbox lets no files be read, so no names can be looked up later. */
static enum err addresses_find(const char *hosts, char *out, struct problem *p)
{
    for (;;) {
        size_t len = strcspn(hosts, ",");
        TRY(address_add(hosts, len, out, p));
        if (hosts[len] == '\0')
            return OK;
        size_t used = strlen(out);
        if (used + 2 >= ADDRESSES_SIZE)
            return problem_set(p, ERR_LIMIT, PROBLEM_USAGE,
                               "too many hosts of PostgreSQL");
        out[used] = ',';
        out[used + 1] = '\0';
        hosts += len + 1;
    }
}

static void remember_option(struct store_pg *s, size_t *count, const char *key,
                            const char *value)
{
    if (value == NULL || value[0] == '\0' ||
        *count + 1 >= sizeof s->keys / sizeof s->keys[0])
        return;
    s->keys[*count] = key;
    s->values[*count] = value;
    (*count)++;
}

static const char *option(const struct store_pg *s, const char *key)
{
    for (const PQconninfoOption *o = s->options; o->keyword != NULL; o++)
        if (strcmp(o->keyword, key) == 0 && o->val != NULL)
            return o->val;
    return "";
}

/* One for all hosts, or one for each. */
static void needs_ports(struct store_pg *s)
{
    const char *at = option(s, "port");
    for (size_t i = 0; i < STORE_PG_PORTS; i++) {
        unsigned long port = strtoul(at, NULL, 10);
        s->needs.ports[i] =
            (uint16_t)(port > 0 && port <= UINT16_MAX ? port : DEF_PORT);
        at += strcspn(at, ",");
        if (*at++ == '\0')
            return;
    }
}

static void needs_files(struct store_pg *s)
{
    static const char *const keys[] = {"sslrootcert", "sslcert", "sslkey"};
    const char *home = getenv("HOME"); /* NOLINT(concurrency-mt-unsafe) */
    size_t count = 0;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (option(s, keys[i])[0] == '/')
            s->needs.files[count++] = option(s, keys[i]);
    int len = snprintf(s->root_file, sizeof s->root_file,
                       "%s/.postgresql/root.crt", home != NULL ? home : "");
    if (home != NULL && len > 0 && (size_t)len < sizeof s->root_file)
        s->needs.files[count] = s->root_file;
}

enum err pg_remember(struct store_pg *s, PGconn *conn, struct problem *p)
{
    const char *hosts = "";
    bool addressed = false;
    size_t count = 0;
    s->options = PQconninfo(conn);
    s->addresses = mem_alloc(ADDRESSES_SIZE);
    size_t len = strlen(PQpass(conn)) + 1;
    s->password = mem_alloc(len);
    if (s->options == NULL || s->addresses == NULL || s->password == NULL)
        return problem_set(p, ERR_NOMEM, PROBLEM_SYSTEM, "no memory");
    memcpy(s->password, PQpass(conn), len);
    for (const PQconninfoOption *o = s->options; o->keyword != NULL; o++) {
        bool ours = strcmp(o->keyword, "password") == 0 ||
                    strcmp(o->keyword, "passfile") == 0 ||
                    strcmp(o->keyword, "service") == 0;
        if (!ours)
            remember_option(s, &count, o->keyword, o->val);
        if (strcmp(o->keyword, "host") == 0 && o->val != NULL)
            hosts = o->val;
        addressed = addressed || (strcmp(o->keyword, "hostaddr") == 0 &&
                                  o->val != NULL && o->val[0] != '\0');
    }
    if (!addressed)
        TRY(addresses_find(hosts, s->addresses, p));
    remember_option(s, &count, "hostaddr", s->addresses);
    remember_option(s, &count, "password", s->password);
    if (s->addresses[strspn(s->addresses, ",")] != '\0' || addressed)
        needs_ports(s);
    needs_files(s);
    return OK;
}

void pg_forget(struct store_pg *s)
{
    if (s->password != NULL)
        mem_free(s->password, strlen(s->password) + 1);
    if (s->addresses != NULL)
        mem_free(s->addresses, ADDRESSES_SIZE);
    for (PQconninfoOption *o = s->options; o != NULL && o->keyword != NULL; o++)
        if (o->val != NULL && strcmp(o->keyword, "password") == 0)
            explicit_bzero(o->val, strlen(o->val));
    PQconninfoFree(s->options);
    s->options = NULL;
    s->password = s->addresses = NULL;
}

/* --- the server --- */

const char pg_server_query[] =
    "SELECT set_config('search_path', '" SCHEMA "', false),"
    " set_config('client_min_messages', 'warning', false),"
    " set_config('idle_in_transaction_session_timeout', '30s', false),"
    " current_setting('server_version_num'), pg_is_in_recovery(),"
    " current_setting('fsync'), current_setting('synchronous_commit')";

enum err pg_server_check(const PGresult *r, struct problem *p)
{
    if (PQresultStatus(r) != PGRES_TUPLES_OK || PQntuples(r) != 1)
        return problem_set(p, ERR_IO, PROBLEM_NETWORK,
                           "PostgreSQL does not say how it is set up");
    const char *commit = PQgetvalue(r, 0, 6);
    if (strtol(PQgetvalue(r, 0, 3), NULL, 10) < SERVER_MIN)
        return problem_set(p, ERR_STATE, PROBLEM_USAGE,
                           "PostgreSQL is older than version 15");
    if (strcmp(PQgetvalue(r, 0, 4), "f") != 0)
        return problem_set(p, ERR_STATE, PROBLEM_NETWORK,
                           "PostgreSQL is a standby: nothing can be written");
    if (strcmp(PQgetvalue(r, 0, 5), "on") != 0)
        return problem_set(p, ERR_STATE, PROBLEM_USAGE,
                           "PostgreSQL has fsync off: what it commits can be "
                           "lost, so it is not used");
    if (strcmp(commit, "on") != 0 && strcmp(commit, "remote_apply") != 0)
        return problem_set(p, ERR_STATE, PROBLEM_USAGE,
                           "PostgreSQL has synchronous_commit %.20s: what it "
                           "commits can be lost; it must be on",
                           commit);
    return OK;
}

/* --- tables --- */

static enum err run(PGconn *conn, const char *text, PGresult **out,
                    struct problem *p)
{
    pg_result_clear(out);
    *out = PQexec(conn, text);
    ExecStatusType status = PQresultStatus(*out);
    if (status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK)
        return OK;
    return pg_problem(p, "cannot work on the tables", conn);
}

static enum err make_tables(PGconn *conn, PGresult **r, struct problem *p)
{
    char version[80];
    (void)snprintf(version, sizeof version,
                   "INSERT INTO schema_version VALUES (%d)", SCHEMA_VERSION);
    TRY(run(conn, "BEGIN", r, p));
    TRY(run(conn, "CREATE SCHEMA " SCHEMA, r, p));
    TRY(run(conn, "CREATE TABLE schema_version (version integer NOT NULL)", r,
            p));
    TRY(run(conn, store_pg_schema, r, p));
    TRY(run(conn, version, r, p));
    return run(conn, "COMMIT", r, p);
}

enum err pg_migrate(PGconn *conn, bool existing, struct problem *p)
{
    CLEANUP(pg_result_clear) PGresult *r = NULL;
    TRY(run(conn, pg_server_query, &r, p));
    TRY(pg_server_check(r, p));
    TRY(run(conn, "SELECT to_regclass('" SCHEMA ".schema_version')", &r, p));
    if (PQgetisnull(r, 0, 0)) {
        if (existing)
            return problem_set(p, ERR_NOTFOUND, PROBLEM_USAGE,
                               "the database has no tables of a Sotto server");
        return make_tables(conn, &r, p);
    }
    if (!existing)
        return problem_set(p, ERR_EXISTS, PROBLEM_USAGE,
                           "the database has the tables of a Sotto server, but "
                           "the data folder has not its key: restore it");
    TRY(run(conn, "SELECT version FROM schema_version", &r, p));
    long version =
        PQntuples(r) == 1 ? strtol(PQgetvalue(r, 0, 0), NULL, 10) : 0;
    if (version > SCHEMA_VERSION)
        return problem_set(p, ERR_STATE, PROBLEM_USAGE,
                           "the tables are of a newer version (%ld) of this "
                           "program",
                           version < VERSION_MAX ? version : VERSION_MAX);
    if (version < 1)
        return problem_set(p, ERR_IO, PROBLEM_DAMAGED,
                           "PostgreSQL: the tables have no version");
    return OK; /* there is no older one than ours yet */
}

enum err pg_connect_again(const struct store_pg *s, PGconn **out,
                          struct problem *p)
{
    CLEANUP(pg_conn_close)
    PGconn *conn = PQconnectdbParams(s->keys, s->values, 0);
    CLEANUP(pg_result_clear) PGresult *r = NULL;
    if (PQstatus(conn) != CONNECTION_OK)
        return pg_problem(p, "cannot connect", conn);
    pg_quiet(conn);
    TRY(run(conn, pg_server_query, &r, p));
    *out = conn;
    conn = NULL; /* handed over */
    return OK;
}

enum err pg_verify(PGconn *conn, struct problem *p)
{
    CLEANUP(pg_result_clear) PGresult *r = NULL;
    TRY(run(conn, "SELECT what, n FROM faults() WHERE n > 0", &r, p));
    if (PQntuples(r) == 0)
        return OK;
    return problem_set(p, ERR_IO, PROBLEM_DAMAGED,
                       "PostgreSQL: %s (%.20s times)", PQgetvalue(r, 0, 0),
                       PQgetvalue(r, 0, 1));
}

enum err store_pg_erase(const char *conninfo, struct problem *p)
{
    CLEANUP(pg_conn_close) PGconn *conn = NULL;
    CLEANUP(pg_result_clear) PGresult *r = NULL;
    TRY(pg_connect(conninfo, &conn, p));
    TRY(run(conn, "SET client_min_messages = warning", &r, p));
    return run(conn, "DROP SCHEMA IF EXISTS " SCHEMA " CASCADE", &r, p);
}
