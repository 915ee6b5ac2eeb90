/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What PostgreSQL itself can do with the rows of an append: a bare writer that
 * sends the same rows in the same groups over as many connections as sottod
 * has, without rules and without answers. $SOTTO_TEST_STORE names the database
 * (scripts/with-postgres), whose tables are made anew.
 */
#include "report.h"

#include "crypto/entropy.h"
#include "server/store_pg_impl.h"
#include "sys/clock.h"

#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS      5U
#define ROUND_MS    2000U
#define QUICK_MS    100U
#define SENDERS_MAX 256U
#define BODY_SIZE   1024U
#define DAY         20000U
#define WRITER_CORE 1
#define PER_APPEND  3U /* statements */
#define ENTRY_TEXT                                                  \
    "INSERT INTO entry VALUES (shard_of($1), $1, $2::bigint, " WEEK \
    ", 1, 1, $3)"
#define ACCEPTED_TEXT                                                      \
    "INSERT INTO accepted VALUES (shard_of($1), $1, $3, " WEEK ", 20000, " \
    "$2::bigint)"
#define HEAD_TEXT                                                       \
    "UPDATE channel SET head = $2::bigint, bytes = bytes + 1024 WHERE " \
    "shard = shard_of($1) AND id = $1"
#define WEEK "2857"

static const char *const statements[PER_APPEND][2] = {
    {"entry", ENTRY_TEXT}, {"accepted", ACCEPTED_TEXT}, {"head", HEAD_TEXT}};

struct writer_conn {
    PGconn *conn;
    unsigned first, count; /* its senders */
};

struct bare {
    struct writer_conn conns[CHANNEL_LANES];
    unsigned conn_count;
    uint8_t ids[SENDERS_MAX][ID_SIZE];
    uint64_t seqs[SENDERS_MAX];
    uint8_t body[BODY_SIZE];
    struct random random;
};

static void bare_close(struct bare *b)
{
    for (unsigned i = 0; i < b->conn_count; i++)
        pg_conn_close(&b->conns[i].conn);
}

static bool command(PGconn *conn, const char *text)
{
    CLEANUP(pg_result_clear) PGresult *r = PQexec(conn, text);
    return PQresultStatus(r) == PGRES_COMMAND_OK ||
           PQresultStatus(r) == PGRES_TUPLES_OK;
}

static bool conn_setup(PGconn *conn)
{
    bool done = command(conn, pg_server_query);
    for (unsigned i = 0; i < PER_APPEND && done; i++) {
        CLEANUP(pg_result_clear)
        PGresult *r =
            PQprepare(conn, statements[i][0], statements[i][1], 0, NULL);
        done = PQresultStatus(r) == PGRES_COMMAND_OK;
    }
    return done && PQsetnonblocking(conn, 1) == 0 &&
           PQenterPipelineMode(conn) == 1;
}

static bool channels_make(PGconn *conn, struct bare *b, unsigned senders)
{
    if (!command(conn, pg_server_query) ||
        !command(conn, "SELECT make_weeks(" WEEK ")"))
        return false;
    for (unsigned i = 0; i < senders; i++) {
        random_fill(&b->random, b->ids[i], ID_SIZE);
        b->seqs[i] = 0;
        const char *values[] = {(const char *)b->ids[i]};
        const int lengths[] = {ID_SIZE};
        const int formats[] = {1};
        CLEANUP(pg_result_clear)
        PGresult *r = PQexecParams(
            conn, "SELECT channel_create($1::bytea, $1, $1, 20000)", 1, NULL,
            values, lengths, formats, 1);
        if (PQresultStatus(r) != PGRES_TUPLES_OK)
            return false;
    }
    return true;
}

/* As many connections as lanes, each with its part of the senders. */
static enum err bare_open(struct bare *b, const char *conninfo,
                          unsigned senders, struct problem *p)
{
    CLEANUP(pg_conn_close) PGconn *conn = NULL;
    TRY(pg_connect(conninfo, &conn, p));
    if (!channels_make(conn, b, senders))
        return pg_problem(p, "cannot make channels", conn);
    unsigned count = senders < CHANNEL_LANES ? senders : CHANNEL_LANES;
    for (unsigned i = 0; i < count; i++) {
        struct writer_conn *w = &b->conns[i];
        TRY(pg_connect(conninfo, &w->conn, p));
        b->conn_count++;
        w->first = i * senders / count;
        w->count = (i + 1) * senders / count - w->first;
        if (!conn_setup(w->conn))
            return pg_problem(p, "cannot prepare", w->conn);
    }
    return OK;
}

static bool send_row(struct bare *b, PGconn *conn, unsigned sender)
{
    struct params ids[PER_APPEND] = {0};
    uint8_t key[IDEMPOTENCY_KEY];
    random_fill(&b->random, key, sizeof key);
    b->seqs[sender]++;
    for (unsigned i = 0; i < PER_APPEND; i++) {
        struct params *q = &ids[i];
        put_bytes(q, BYTES_ARRAY(b->ids[sender]));
        put_number(q, b->seqs[sender]);
        if (i == 0)
            put_bytes(q, BYTES_ARRAY(b->body));
        if (i == 1)
            put_bytes(q, BYTES_ARRAY(key));
        if (PQsendQueryPrepared(conn, statements[i][0], (int)q->count,
                                q->values, q->lengths, q->formats, 1) != 1)
            return false;
    }
    return true;
}

static bool send_group(struct bare *b, const struct writer_conn *w)
{
    for (unsigned i = 0; i < w->count; i++)
        if (!send_row(b, w->conn, w->first + i))
            return false;
    return PQpipelineSync(w->conn) == 1 && PQflush(w->conn) >= 0;
}

/* Takes what has come; counts groups that were committed. */
static bool take_results(struct writer_conn *w, unsigned *groups)
{
    if (PQconsumeInput(w->conn) != 1 || PQflush(w->conn) < 0)
        return false;
    for (unsigned nothing = 0; nothing < 2 && PQisBusy(w->conn) == 0;) {
        CLEANUP(pg_result_clear) PGresult *r = PQgetResult(w->conn);
        nothing = r == NULL ? nothing + 1 : 0;
        if (r == NULL)
            continue;
        if (PQresultStatus(r) == PGRES_PIPELINE_SYNC) {
            (*groups)++;
            return true;
        }
        if (PQresultStatus(r) != PGRES_COMMAND_OK)
            return false;
    }
    return true;
}

/* Rows that were committed in a while. */
static bool write_for(struct bare *b, uint64_t ms, uint64_t *out_rows)
{
    struct pollfd fds[CHANNEL_LANES];
    uint64_t end = clock_mono_ms() + ms;
    *out_rows = 0;
    unsigned busy = b->conn_count;
    for (unsigned i = 0; i < b->conn_count; i++) {
        fds[i] =
            (struct pollfd){PQsocket(b->conns[i].conn), POLLIN | POLLOUT, 0};
        if (!send_group(b, &b->conns[i]))
            return false;
    }
    while (busy > 0) {
        if (poll(fds, b->conn_count, 1000) < 0)
            return false;
        for (unsigned i = 0; i < b->conn_count; i++) {
            struct writer_conn *w = &b->conns[i];
            unsigned groups = 0;
            if (fds[i].revents == 0 || !take_results(w, &groups))
                continue;
            fds[i].events = PQflush(w->conn) > 0 ? POLLIN | POLLOUT : POLLIN;
            if (groups == 0)
                continue;
            *out_rows += w->count;
            if (clock_mono_ms() >= end)
                busy--;
            else if (!send_group(b, w))
                return false;
        }
    }
    return true;
}

static enum err bench(const char *conninfo, unsigned senders, struct problem *p)
{
    static struct bare b;
    double rates[ROUNDS];
    char name[64];
    b = (struct bare){.random = entropy_system()};
    enum err err = bare_open(&b, conninfo, senders, p);
    for (unsigned i = 0; i < ROUNDS && err == OK; i++) {
        uint64_t rows = 0;
        uint64_t start = clock_mono_ms();
        if (!write_for(&b, report_quick() ? QUICK_MS : ROUND_MS, &rows))
            err = pg_problem(p, "cannot write", b.conns[0].conn);
        rates[i] = (double)rows * 1000.0 / (double)(clock_mono_ms() - start);
    }
    bare_close(&b);
    if (err != OK)
        return err;
    (void)snprintf(name, sizeof name, "postgres_bare_%u", senders);
    report(name, report_median(rates, ROUNDS), "1/s");
    return OK;
}

/* With no numbers of senders: all. */
static bool wanted(char **words, unsigned senders)
{
    for (size_t i = 0; words[i] != NULL; i++)
        if (strtoul(words[i], NULL, 10) == senders)
            return true;
    return words[0] == NULL;
}

int main(int argc, char **argv)
{
    static const unsigned senders[] = {1, 16, SENDERS_MAX};
    const char *conninfo = getenv("SOTTO_TEST_STORE");
    struct problem p = {0};
    struct store_pg *s = NULL;
    cpu_set_t set;
    (void)argc;
    if (conninfo == NULL) {
        (void)fprintf(stderr, "bench_postgres: run by scripts/with-postgres\n");
        return 2;
    }
    CPU_ZERO(&set);
    CPU_SET(WRITER_CORE, &set);
    (void)sched_setaffinity(0, sizeof set, &set);
    const struct store_pg_config config = {.conninfo = conninfo};
    enum err err = store_pg_erase(conninfo, &p);
    if (err == OK)
        err = store_pg_open(&config, &p, &s);
    store_pg_close(&s);
    for (size_t i = 0; i < sizeof senders / sizeof senders[0] && err == OK; i++)
        if (wanted(argv + 1, senders[i]))
            err = bench(conninfo, senders[i], &p);
    if (err != OK)
        (void)fprintf(stderr, "bench_postgres: %s\n", p.detail);
    return err == OK ? 0 : 1;
}
