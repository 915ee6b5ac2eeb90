/* SPDX-License-Identifier: Apache-2.0 */
#include "disk.h"

#include "sql/sql.h"
#include "test.h"

#include <string.h>

#define SEEDS 60U
#define ROWS  25U

static enum err open_table(struct sql **out)
{
    struct problem problem = {0};
    struct sql_config config = {
        .path = "table.db", .vfs = "disk", .exclusive = true};
    TRY(sql_open(&config, &problem, out));
    return sql_exec(
        *out, "CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY, b BLOB)");
}

static enum err insert(struct sql *db, uint64_t n)
{
    uint8_t body[3000];
    memset(body, (int)n, sizeof(body));
    CLEANUP(sql_rollback) struct sql_tx tx = {0};
    TRY(sql_begin(db, "insert", &tx));
    CLEANUP(sql_end)
    struct sql_query q = sql_query(db, "INSERT INTO t VALUES (?, ?)");
    sql_put_u64(&q, n);
    sql_put_bytes(&q, (struct bytes){body, sizeof(body)});
    TRY(sql_run(&q));
    return sql_commit(&tx);
}

static uint64_t count(struct sql *db)
{
    CLEANUP(sql_end)
    struct sql_query q = sql_query(db, "SELECT count(*), sum(n) FROM t");
    return sql_one(&q) == OK ? sql_u64(&q, 0) : 0;
}

/* Commits some rows, begins one more, loses power. Gives how many rows were
 * committed and how many are there after the restart. */
static enum err lose_power(uint64_t seed, const char *pragma,
                           uint64_t *out_committed, uint64_t *out_found)
{
    CLEANUP(disk_free) struct disk *d = NULL;
    TRY(disk_create("disk", seed, &d));
    CLEANUP(sql_close) struct sql *db = NULL;
    TRY(open_table(&db));
    TRY(sql_exec(db, pragma));
    *out_committed = 1 + seed % ROWS;
    for (uint64_t n = 0; n < *out_committed; n++)
        TRY(insert(db, n));
    TRY(sql_exec(db, "BEGIN; INSERT INTO t VALUES (1000, zeroblob(9000))"));
    disk_cut(d);
    sql_close(&db);
    disk_restart(d);
    TRY(open_table(&db));
    *out_found = count(db);
    enum err err = sql_check(db);
    sql_close(&db);
    return err;
}

static void committed_rows_survive_a_power_cut(void)
{
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        uint64_t committed = 0;
        uint64_t found = 0;
        CHECK_UINT(lose_power(seed, "", &committed, &found), OK);
        CHECK_UINT(found, committed);
    }
}

/* The counterpart, without which the test above could not fail. */
static void what_is_not_synced_may_be_lost(void)
{
    unsigned lost = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        uint64_t committed = 0;
        uint64_t found = 0;
        enum err err =
            lose_power(seed, "PRAGMA synchronous = OFF", &committed, &found);
        lost += err != OK || found < committed;
    }
    CHECK(lost > SEEDS / 10);
}

static void full_disk_refuses_and_keeps_what_it_has(void)
{
    CLEANUP(disk_free) struct disk *d = NULL;
    CHECK_UINT(disk_create("disk", 1, &d), OK);
    CLEANUP(sql_close) struct sql *db = NULL;
    CHECK_UINT(open_table(&db), OK);
    CHECK_UINT(insert(db, 1), OK);
    disk_set_full(d, true);
    CHECK_UINT(insert(db, 2), ERR_IO);
    CHECK_UINT(sql_problem(db)->kind, PROBLEM_FULL);
    disk_set_full(d, false);
    CHECK_UINT(insert(db, 2), OK);
    CHECK_UINT(count(db), 2);
}

static void a_backup_brings_back_the_past(void)
{
    CLEANUP(disk_free) struct disk *d = NULL;
    CHECK_UINT(disk_create("disk", 1, &d), OK);
    CLEANUP(sql_close) struct sql *db = NULL;
    CHECK_UINT(open_table(&db), OK);
    CHECK_UINT(insert(db, 1), OK);
    CHECK_UINT(disk_backup(d), ERR_STATE);
    sql_close(&db);
    CHECK_UINT(disk_backup(d), OK);
    CHECK_UINT(open_table(&db), OK);
    CHECK_UINT(insert(db, 2), OK);
    sql_close(&db);
    disk_restore(d);
    CHECK_UINT(open_table(&db), OK);
    CHECK_UINT(count(db), 1);
}

static const struct test tests[] = {
    TEST(committed_rows_survive_a_power_cut),
    TEST(what_is_not_synced_may_be_lost),
    TEST(full_disk_refuses_and_keeps_what_it_has),
    TEST(a_backup_brings_back_the_past),
};
TEST_MAIN(tests)
