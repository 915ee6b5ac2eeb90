/* SPDX-License-Identifier: Apache-2.0 */
/* What an operator does to accounts, and what clients meet then. */
#include "server/core_fixture.h"

#include "proto/derive.h"
#include "server/store_sqlite_impl.h"
#include "test.h"

#include <stdio.h>
#include <string.h>

#define ANNA   1U /* her connection */
#define OTHERS 2U
#define LATER  3U
#define DAY    ((uint32_t)(FIXTURE_NOW / FIXTURE_DAY_MS))

static enum status registers(struct fixture *f, uint32_t conn, const char *name,
                             struct fixture_account *a)
{
    enum status status = STATUS_COUNT_;
    if (fixture_register(f, conn, name, (struct bytes){0}, a, &status) != OK)
        return STATUS_COUNT_;
    return status;
}

static enum status logs_in(struct fixture *f, uint32_t conn,
                           const struct fixture_account *a)
{
    enum status status = STATUS_COUNT_;
    if (fixture_connect(f, conn, LANE_IDENTIFIED) != OK ||
        fixture_login(f, conn, a, &status) != OK)
        return STATUS_COUNT_;
    return status;
}

/* Anna has an account and is logged in; a server has looked around once. */
static bool set_up(struct fixture *f, struct fixture_account *anna)
{
    fixture_init(f);
    f->core_config.open_registration = true;
    if (fixture_start(f) != OK ||
        fixture_connect(f, ANNA, LANE_IDENTIFIED) != OK ||
        fixture_connect(f, OTHERS, LANE_ANONYMOUS) != OK ||
        fixture_account_make(f, anna) != OK)
        return false;
    fixture_flush(f, 0);
    return registers(f, ANNA, "anna", anna) == STATUS_OK;
}

static enum err disable(struct fixture *f, const char *name, bool disabled)
{
    return f->admin.account_disable(f->admin.ctx, bytes_str(name), disabled,
                                    DAY, NULL);
}

static enum err delete(struct fixture *f, const char *name) {
    return f->admin.account_delete(f->admin.ctx, bytes_str(name), DAY, NULL);
}

/* The server's next look, a second later. */
static void look(struct fixture *f)
{
    f->now += 1001;
    fixture_flush(f, 0);
}

static struct request take_of(const struct fixture_account *a)
{
    return (struct request){
        .method = METHOD_KP_TAKE,
        .kp_take = {.account_id = BYTES_ARRAY(a->id),
                    .contact_cap = BYTES_ARRAY(a->contact_cap),
                    .pow_subject = fixture_id(0)}};
}

static uint8_t item[INBOX_ITEM_SIZE];

static struct request item_for(const struct fixture_account *a)
{
    return (struct request){
        .method = METHOD_INBOX_APPEND,
        .inbox_append = {.account_id = BYTES_ARRAY(a->id),
                         .device_id = BYTES_ARRAY(a->device),
                         .contact_cap = BYTES_ARRAY(a->contact_cap),
                         .item = BYTES_ARRAY(item)}};
}

static void a_disabled_account_is_cut_off_and_barred(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    CLEANUP(fixture_account_clear) struct fixture_account anna = {0};
    CLEANUP(fixture_account_clear) struct fixture_account otto = {0};
    CHECK(set_up(&f, &anna));
    CHECK_UINT(fixture_account_make(&f, &otto), OK);
    CHECK_UINT(fixture_connect(&f, 9, LANE_IDENTIFIED), OK);
    CHECK_UINT(registers(&f, 9, "otto", &otto), STATUS_OK);
    CHECK_UINT(disable(&f, "anna", true), OK);
    look(&f);
    CHECK(fixture_closed(&f, ANNA));
    CHECK(!fixture_closed(&f, 9) && !fixture_closed(&f, OTHERS));
    CHECK_UINT(logs_in(&f, LATER, &anna), STATUS_BARRED);

    /* Others learn why nothing can be sent to her; who she is stays. */
    const struct request take = take_of(&anna);
    const struct request append = item_for(&anna);
    const struct request lookup = {.method = METHOD_LOOKUP,
                                   .lookup = {LIT("anna")}};
    CHECK_UINT(fixture_status(&f, OTHERS, &take), STATUS_BARRED);
    CHECK_UINT(fixture_status(&f, OTHERS, &append), STATUS_BARRED);
    CHECK_UINT(fixture_status(&f, OTHERS, &lookup), STATUS_OK);

    CHECK_UINT(disable(&f, "anna", false), OK);
    CHECK_UINT(logs_in(&f, LATER + 1, &anna), STATUS_OK);
    CHECK_UINT(fixture_status(&f, OTHERS, &take), STATUS_OK);
    CHECK_UINT(fixture_status(&f, OTHERS, &append), STATUS_OK);
    look(&f);
    CHECK(!fixture_closed(&f, LATER + 1)); /* an old notice cuts nobody off */
}

/* Each is seen, also when many come between two looks, and after the old ones
 * were forgotten. */
static void no_notice_is_lost(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    CLEANUP(fixture_account_clear) struct fixture_account anna = {0};
    CLEANUP(fixture_account_clear) struct fixture_account otto = {0};
    CHECK(set_up(&f, &anna));
    CHECK_UINT(fixture_account_make(&f, &otto), OK);
    CHECK_UINT(fixture_connect(&f, 9, LANE_IDENTIFIED), OK);
    CHECK_UINT(registers(&f, 9, "otto", &otto), STATUS_OK);
    for (unsigned i = 0; i < STORE_NOTICES_MAX + 1; i++)
        CHECK_UINT(disable(&f, "anna", true), OK);
    CHECK_UINT(disable(&f, "otto", true), OK);
    look(&f);
    CHECK(fixture_closed(&f, ANNA) && !fixture_closed(&f, 9));
    look(&f);
    CHECK(fixture_closed(&f, 9));
    CHECK_UINT(disable(&f, "otto", false), OK);
    f.now += 10 * FIXTURE_DAY_MS;
    look(&f);
    CHECK_UINT(logs_in(&f, 10, &otto), STATUS_OK);
    CHECK_UINT(disable(&f, "otto", true), OK);
    look(&f);
    CHECK(fixture_closed(&f, 10));
    if (f.sqlite != NULL) {
        CLEANUP(sql_end)
        struct sql_query q = sql_query(f.sqlite->db[FILE_ACCOUNTS],
                                       "SELECT count(*) FROM notice");
        CHECK_UINT(sql_one(&q), OK);
        CHECK(sql_u64(&q, 0) <= 2);
    }
}

/* What a query of a SQLite file counts; `want` on the other store. */
static uint64_t count(struct fixture *f, enum store_file file, const char *text,
                      uint64_t want)
{
    if (f->sqlite == NULL)
        return want;
    CLEANUP(sql_end)
    struct sql_query q = sql_query(f->sqlite->db[file], text);
    return sql_one(&q) == OK ? sql_u64(&q, 0) : UINT64_MAX;
}

static void a_deleted_account_leaves_nothing_but_its_id_and_name(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    CLEANUP(fixture_account_clear) struct fixture_account anna = {0};
    CHECK(set_up(&f, &anna));
    const struct request append = item_for(&anna);
    const struct request take = take_of(&anna);
    CHECK_UINT(fixture_status(&f, OTHERS, &append), STATUS_OK);
    CHECK_UINT(fixture_status(&f, OTHERS, &take), STATUS_OK);
    CHECK_UINT(delete (&f, "anna"), OK);
    look(&f);
    CHECK(fixture_closed(&f, ANNA));
    CHECK_UINT(logs_in(&f, LATER, &anna), STATUS_BARRED);
    CHECK_UINT(fixture_status(&f, OTHERS, &append), STATUS_NOTFOUND);
    CHECK_UINT(fixture_status(&f, OTHERS, &take), STATUS_NOTFOUND);
    const struct request chain = {
        .method = METHOD_CHAIN, .chain = {.account_id = BYTES_ARRAY(anna.id)}};
    CHECK_UINT(fixture_status(&f, OTHERS, &chain), STATUS_NOTFOUND);
    CHECK_UINT(
        count(&f, FILE_ACCOUNTS,
              "SELECT (SELECT count(*) FROM account) + (SELECT count(*) FROM"
              " handle) + (SELECT count(*) FROM state) + (SELECT count(*) FROM"
              " device) + (SELECT count(*) FROM package) +"
              " (SELECT count(*) FROM taken)",
              0),
        0);
    CHECK_UINT(count(&f, FILE_INBOXES,
                     "SELECT (SELECT count(*) FROM inbox) +"
                     " (SELECT count(*) FROM item) +"
                     " (SELECT count(*) FROM spent)",
                     0),
               0);
    CHECK_UINT(count(&f, FILE_ACCOUNTS, "SELECT count(*) FROM gone", 1), 1);
    CHECK_UINT(fixture_check(&f), OK);
}

/* The id names the first state for ever: with it, a device that was revoked
 * later could pass for the whole account. */
static void the_id_of_a_deleted_account_never_begins_again(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    CLEANUP(fixture_account_clear) struct fixture_account anna = {0};
    CHECK(set_up(&f, &anna));
    CHECK_UINT(delete (&f, "anna"), OK);
    f.now += 500 * FIXTURE_DAY_MS;
    look(&f);
    CHECK_UINT(fixture_connect(&f, LATER, LANE_IDENTIFIED), OK);
    CHECK_UINT(registers(&f, LATER, "anna", &anna), STATUS_EXISTS);
    CHECK_UINT(registers(&f, LATER, "another", &anna), STATUS_EXISTS);
}

static void the_name_of_a_deleted_account_rests_for_a_year(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    CLEANUP(fixture_account_clear) struct fixture_account anna = {0};
    CLEANUP(fixture_account_clear) struct fixture_account thief = {0};
    CHECK(set_up(&f, &anna));
    CHECK_UINT(fixture_account_make(&f, &thief), OK);
    CHECK_UINT(delete (&f, "anna"), OK);
    CHECK_UINT(fixture_connect(&f, LATER, LANE_IDENTIFIED), OK);
    f.now += 350 * FIXTURE_DAY_MS;
    look(&f);
    CHECK_UINT(registers(&f, LATER, "anna", &thief), STATUS_EXISTS);
    f.now += 30 * FIXTURE_DAY_MS;
    look(&f);
    CHECK_UINT(registers(&f, LATER, "anna", &thief), STATUS_OK);
}

static void a_name_that_nobody_has_is_said(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    CLEANUP(fixture_account_clear) struct fixture_account anna = {0};
    struct problem p = {0};
    CHECK(set_up(&f, &anna));
    CHECK_UINT(f.admin.account_disable(f.admin.ctx, LIT("otto"), true, DAY, &p),
               ERR_NOTFOUND);
    CHECK(strstr(p.detail, "nobody is called \"otto\"") != NULL);
    CHECK_UINT(delete (&f, "otto"), ERR_NOTFOUND);
    CHECK_UINT(count(&f, FILE_ACCOUNTS, "SELECT count(*) FROM resting", 0), 0);
}

struct seen {
    size_t count;
    size_t disabled;
    char last[16];
    bool ordered;
};

static void see(void *ctx, const struct store_account *a)
{
    struct seen *s = ctx;
    char name[16];
    (void)snprintf(name, sizeof name, "%.*s", (int)a->name.len,
                   (const char *)a->name.data);
    s->ordered = (s->count == 0 || s->ordered) && strcmp(s->last, name) < 0;
    memcpy(s->last, name, sizeof name);
    s->count++;
    s->disabled += a->disabled;
}

/* Also across the pages in which they are read. */
static void the_list_has_every_account_once_in_order(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    CLEANUP(fixture_account_clear) struct fixture_account anna = {0};
    struct seen seen = {0};
    const struct store_account_sink sink = {see, &seen};
    CHECK(set_up(&f, &anna));
    if (f.sqlite == NULL) { /* many rows are quickly made in a file only */
        CHECK_UINT(f.admin.accounts(f.admin.ctx, &sink, NULL), OK);
        CHECK_UINT(seen.count, 1);
        return;
    }
    CHECK_UINT(
        sql_exec(f.sqlite->db[FILE_ACCOUNTS],
                 "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM"
                 " n WHERE i < 2999)"
                 " INSERT INTO account SELECT randomblob(32),"
                 " CAST(printf('n%05d', i) AS BLOB), x'00', 1, 2800, 2800, 0"
                 " FROM n;"
                 "INSERT INTO handle SELECT name, id FROM account"
                 " WHERE name <> CAST('anna' AS BLOB)"),
        OK);
    CHECK_UINT(disable(&f, "n01000", true), OK);
    CHECK_UINT(f.admin.accounts(f.admin.ctx, &sink, NULL), OK);
    CHECK_UINT(seen.count, 3000);
    CHECK_UINT(seen.disabled, 1);
    CHECK(seen.ordered);
}

/* --- numbers --- */

struct numbers {
    uint64_t accounts, entries, oldest;
    size_t count;
    bool estimated;
};

static void take_number(void *ctx, const char *name, uint64_t value,
                        bool estimated)
{
    struct numbers *n = ctx;
    n->count++;
    if (strcmp(name, "accounts") == 0) {
        n->accounts = value;
        n->estimated = estimated;
    }
    if (strcmp(name, "entries") == 0)
        n->entries = value;
    if (strcmp(name, "oldest_entry_days") == 0)
        n->oldest = value;
}

static enum err ask_numbers(struct fixture *f, struct numbers *out)
{
    const struct store_stats_sink sink = {take_number, out};
    return f->admin.stats(f->admin.ctx, &sink, f->now / 1000, NULL);
}

static void numbers_of_a_small_store_are_exact(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    CLEANUP(fixture_account_clear) struct fixture_account anna = {0};
    struct numbers n = {0};
    uint64_t seq = 0;
    CHECK(set_up(&f, &anna));
    if (f.pg != NULL)
        return; /* counts by itself: operator_test */
    CHECK_UINT(fixture_create(&f, OTHERS, 1, 1), STATUS_OK);
    for (uint8_t i = 0; i < 7; i++)
        CHECK_UINT(fixture_append(&f, fixture_from(OTHERS, 1, 1), 0, i, &seq),
                   STATUS_OK);
    f.now += 3 * FIXTURE_DAY_MS;
    CHECK_UINT(ask_numbers(&f, &n), OK);
    CHECK(n.accounts == 1 && n.entries == 7 && n.oldest == 3);
    CHECK(!n.estimated && n.count >= 17);
}

static void numbers_of_a_large_store_are_about_right(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    CLEANUP(fixture_account_clear) struct fixture_account anna = {0};
    struct numbers n = {0};
    CHECK(set_up(&f, &anna));
    if (f.pg != NULL)
        return; /* counts by itself: operator_test */
    CHECK_UINT(
        sql_exec(f.sqlite->db[FILE_ACCOUNTS],
                 "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM"
                 " n WHERE i < 299999)"
                 " INSERT INTO account SELECT randomblob(32), x'00', x'00', 1,"
                 " 2800, 2800, 0 FROM n"),
        OK);
    CHECK_UINT(ask_numbers(&f, &n), OK);
    printf("# about %llu\n", (unsigned long long)n.accounts);
    CHECK(n.estimated);
    CHECK(n.accounts > 280000 && n.accounts < 320000);
}

static const struct test tests[] = {
    TEST(numbers_of_a_small_store_are_exact),
    TEST(numbers_of_a_large_store_are_about_right),
    TEST(a_disabled_account_is_cut_off_and_barred),
    TEST(no_notice_is_lost),
    TEST(a_deleted_account_leaves_nothing_but_its_id_and_name),
    TEST(the_id_of_a_deleted_account_never_begins_again),
    TEST(the_name_of_a_deleted_account_rests_for_a_year),
    TEST(a_name_that_nobody_has_is_said),
    TEST(the_list_has_every_account_once_in_order),
};
TEST_MAIN(tests)
