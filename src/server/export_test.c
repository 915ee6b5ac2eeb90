/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the export says all that the store holds about an account. */
#include "server/export.h"

#include "server/core_fixture.h"
#include "server/store_sqlite_impl.h"
#include "test.h"

#include <stdio.h>
#include <string.h>

#define CONN     1U
#define TEXT_MAX 65536U

/* What is not about an account, or could not be found by one. */
static const char *const elsewhere[] = {
    "accounts.invite", /* hashes of secrets that nobody has used yet */
    "accounts.spent",  /* hashes of work; whose it was is not in them */
    "accounts.gone",   /* ids of deleted accounts; whose name is not in them */
};

/* Fields as "row: name = value" lines, bytes as hexadecimal digits. */
struct text {
    char data[TEXT_MAX];
    size_t len;
};

static void add(struct text *t, const char *part)
{
    size_t len = strlen(part);
    if (len >= sizeof t->data - t->len)
        return;
    memcpy(t->data + t->len, part, len + 1);
    t->len += len;
}

static void add_hex(struct text *t, struct bytes b)
{
    for (size_t i = 0; i < b.len; i++) {
        char digits[3];
        (void)snprintf(digits, sizeof digits, "%02x", b.data[i]);
        add(t, digits);
    }
}

static void take(void *ctx, const struct export_field *f)
{
    char number[32];
    add(ctx, f->row);
    add(ctx, ": ");
    add(ctx, f->name);
    add(ctx, " = ");
    (void)snprintf(number, sizeof number, "%llu",
                   (unsigned long long)f->number);
    if (f->kind == EXPORT_TEXT || f->kind == EXPORT_BYTES)
        add_hex(ctx, f->bytes);
    else
        add(ctx, number);
    add(ctx, "\n");
}

static bool holds(const struct text *t, const char *field, struct bytes value)
{
    static struct text line;
    line.len = 0;
    add(&line, field);
    add(&line, " = ");
    add_hex(&line, value);
    add(&line, "\n");
    return strstr(t->data, line.data) != NULL;
}

static enum err two_accounts(struct fixture *f, struct fixture_account a[2])
{
    static const char *const names[] = {"alice", "bob"};
    fixture_init(f);
    f->core_config.open_registration = true;
    TRY(fixture_start(f));
    for (uint32_t i = 0; i < 2; i++) {
        enum status status = STATUS_OK;
        TRY(fixture_connect(f, CONN + i, LANE_IDENTIFIED));
        TRY(fixture_account_make(f, &a[i]));
        TRY(fixture_register(f, CONN + i, names[i], (struct bytes){0}, &a[i],
                             &status));
        if (status != STATUS_OK)
            return ERR_STATE;
    }
    return OK;
}

static struct bytes text_bytes(const char *text)
{
    return (struct bytes){(const uint8_t *)text, strlen(text)};
}

static void says_what_an_account_is_and_nothing_of_others(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    static struct text t;
    struct fixture_account a[2] = {0};
    const struct export_sink sink = {take, &t};
    CHECK_UINT(two_accounts(&f, a), OK);
    CHECK_UINT(export_account(f.sqlite, text_bytes("alice"), &sink, NULL), OK);
    CHECK(holds(&t, "account: name", text_bytes("alice")));
    CHECK(holds(&t, "handle: name", text_bytes("alice")));
    CHECK(holds(&t, "account: account id", BYTES_ARRAY(a[0].id)));
    CHECK(holds(&t, "device: device id", BYTES_ARRAY(a[0].device)));
    CHECK(holds(&t, "state: signed state", buf_bytes(&a[0].state)));
    CHECK(!holds(&t, "device: device id", BYTES_ARRAY(a[1].device)));
    CHECK(!holds(&t, "handle: name", text_bytes("bob")));
    fixture_account_clear(&a[0]);
    fixture_account_clear(&a[1]);
}

static void a_name_that_nobody_has_is_said(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    static struct text t;
    struct problem p = {0};
    const struct export_sink sink = {take, &t};
    fixture_init(&f);
    CHECK_UINT(fixture_start(&f), OK);
    CHECK_UINT(export_account(f.sqlite, text_bytes("carol"), &sink, &p),
               ERR_NOTFOUND);
    CHECK(strstr(p.detail, "carol") != NULL);
}

/* Whether a query of the export reads the column of the table. */
static bool is_exported(const char *table, const char *column)
{
    for (size_t i = 0; export_query(i) != NULL; i++) {
        char from[64];
        (void)snprintf(from, sizeof from, " FROM %s ", table);
        const char *query = export_query(i);
        const char *end = strstr(query, from);
        const char *at = strstr(query, column);
        if (end != NULL && at != NULL && at < end)
            return true;
    }
    return false;
}

static bool is_elsewhere(const char *file, const char *table)
{
    char name[64];
    (void)snprintf(name, sizeof name, "%s.%s", file, table);
    for (size_t i = 0; i < COUNT(elsewhere); i++)
        if (strcmp(name, elsewhere[i]) == 0)
            return true;
    return false;
}

/* A column that somebody adds has to be exported, or to stand in the list
 * above with a reason. */
static void every_column_about_accounts_is_exported(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    static const char *const files[] = {"accounts", "inboxes"};
    size_t seen = 0;
    fixture_init(&f);
    CHECK_UINT(fixture_start(&f), OK);
    for (size_t i = 0; i < COUNT(files); i++) {
        CLEANUP(sql_end)
        struct sql_query q =
            sql_query(f.sqlite->db[i == 0 ? FILE_ACCOUNTS : FILE_INBOXES],
                      "SELECT m.name, c.name FROM sqlite_schema m,"
                      " pragma_table_info(m.name) c WHERE m.type = 'table'");
        for (; sql_next(&q); seen++) {
            if (is_elsewhere(files[i], sql_text(&q, 0)) ||
                is_exported(sql_text(&q, 0), sql_text(&q, 1)))
                continue;
            printf("# %s.%s.%s is not exported\n", files[i], sql_text(&q, 0),
                   sql_text(&q, 1));
            CHECK(false);
        }
        CHECK_UINT(sql_finish(&q), OK);
    }
    CHECK(seen > 25);
}

static const struct test tests[] = {
    TEST(says_what_an_account_is_and_nothing_of_others),
    TEST(a_name_that_nobody_has_is_said),
    TEST(every_column_about_accounts_is_exported),
};
TEST_MAIN(tests)
