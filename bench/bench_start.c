/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How soon a server with much in its store is ready, and what memory it then
 * has: a million channels, each with a subscription and ten entries of 128
 * bytes. The rows are written by SQL, in the order of their keys.
 */
#include "report.h"
#include "served.h"

#include "sql/sql.h"
#include "sys/files.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#define CHANNELS    1000000U
#define EACH        10U   /* entries of a channel */
#define SLOT_STRIDE 2147U /* of 31 bits: spread over all of them */
#define ROUNDS      5U
#define REST_MS     3000
#define SCRIPT_MAX  2048U
#define MIB         (1024.0 * 1024.0)

/* %u: channels, stride, today, entries of each. */
static const char fill[] =
    "BEGIN;"
    "CREATE TEMP TABLE n (i INTEGER PRIMARY KEY);"
    "INSERT INTO n WITH RECURSIVE c(i) AS (SELECT 0 UNION ALL SELECT i + 1"
    " FROM c WHERE i + 1 < %u) SELECT i FROM c;"
    "CREATE TEMP TABLE p AS SELECT %u AS stride, %u AS day, %u AS each;"
    "INSERT INTO channel SELECT CAST(printf('%%032d', i) AS BLOB), i * stride,"
    " each, 1, 0, each * 128, day FROM n, p;"
    "INSERT INTO subscription SELECT i * stride,"
    " CAST(printf('%%032d', i) AS BLOB), CAST(printf('%%032d', i) AS BLOB),"
    " NULL, NULL, NULL, 0, 0, NULL, day, 1 FROM n, p;"
    "INSERT INTO entry SELECT NULL, i * stride, e.k + 1, day * 86400, 1,"
    " CAST(printf('%%0128d', i) AS BLOB) FROM"
    " (SELECT i AS k FROM n WHERE i < (SELECT each FROM p)) e, n, p;"
    "INSERT INTO place SELECT slot, seq, id,"
    " CAST(printf('%%016d', seq) AS BLOB), day FROM entry, p ORDER BY 1, 2;"
    "COMMIT;";

static enum err fill_store(const struct sottod *s, struct problem *p)
{
    CLEANUP(sql_close) struct sql *db = NULL;
    char path[FILE_PATH_MAX];
    char script[SCRIPT_MAX];
    bool more = true;
    TRY(file_path(s->data, "channels.db", path, p));
    const struct sql_config config = {
        .path = path, .existing = true, .cache_kib = 256U << 10};
    TRY(sql_open(&config, p, &db));
    (void)snprintf(script, sizeof script, fill, report_scale(CHANNELS, 1000),
                   SLOT_STRIDE, (unsigned)(time(NULL) / 86400), EACH);
    enum err err = sql_exec(db, script);
    if (err == OK)
        err = sql_compact(db, &more);
    if (err != OK)
        *p = *sql_problem(db);
    return err;
}

static enum err run(struct problem *p)
{
    CLEANUP(sottod_clear) struct sottod s = {.out = -1};
    double seconds[ROUNDS];
    double memory[ROUNDS];
    TRY(served_prepare(&s, p));
    TRY(served_start(&s, p));
    (void)sottod_stop(&s, SIGTERM);
    TRY(fill_store(&s, p));
    for (unsigned i = 0; i < ROUNDS; i++) {
        double start = report_clock();
        TRY(served_start(&s, p));
        seconds[i] = report_clock() - start;
        (void)poll(NULL, 0, report_quick() ? 10 : REST_MS);
        memory[i] = served_memory(s.pid) + served_memory(s.net_pid);
        (void)sottod_stop(&s, SIGTERM);
    }
    report("server_start", report_median(seconds, ROUNDS), "s");
    report("server_start_memory", report_median(memory, ROUNDS) / MIB, "MiB");
    return OK;
}

int main(void)
{
    struct problem p = {0};
    (void)signal(SIGPIPE, SIG_IGN);
    printf("# start: %u channels of %u entries of 128 bytes, on %s\n",
           report_scale(CHANNELS, 1000), EACH, served_file_system());
    enum err err = run(&p);
    if (err != OK)
        (void)fprintf(stderr, "bench_start: %s: %s\n", err_text(err), p.detail);
    return err == OK ? 0 : 1;
}
