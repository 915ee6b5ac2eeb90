/* SPDX-License-Identifier: Apache-2.0 */
/* What somebody can take who does all that the protocol allows: docs/abuse.md
 * has the table. Numbers are the defaults where a test can reach them. */
#include "server/core_fixture.h"

#include "proto/derive.h"
#include "test.h"

#include <string.h>

#define ANNA        1U /* her connection; each is of a prefix of its own */
#define CONTACT     2U
#define STRANGER    3U
#define STRANGERS   5U /* prefixes; the next numbers are theirs */
#define MINUTE_MS   UINT64_C(60000)
#define COLLECTIONS 100U

static bool set_up(struct fixture *f, struct fixture_account *anna)
{
    enum status status = STATUS_COUNT_;
    if (fixture_start(f) != OK ||
        fixture_connect(f, ANNA, LANE_IDENTIFIED) != OK ||
        fixture_connect(f, CONTACT, LANE_ANONYMOUS) != OK ||
        fixture_account_make(f, anna) != OK ||
        fixture_register(f, ANNA, "anna", (struct bytes){0}, anna, &status) !=
            OK)
        return false;
    for (uint32_t i = 0; i < STRANGERS; i++)
        if (fixture_connect(f, STRANGER + i, LANE_ANONYMOUS) != OK)
            return false;
    return status == STATUS_OK;
}

/* --- KeyPackages --- */

static bool publish(struct fixture *f, uint8_t count)
{
    CLEANUP(buf_clear) struct buf list = buf_new(1U << 16);
    struct writer w = writer_to(&list);
    for (uint8_t i = 0; i < count; i++)
        writer_vec(&w, fixture_id(i));
    const struct request q = {.method = METHOD_KP_PUBLISH,
                              .kp_publish = {buf_bytes(&list), LIT("last")}};
    return writer_finish(&w) == OK && fixture_status(f, ANNA, &q) == STATUS_OK;
}

static enum status take(struct fixture *f, uint32_t conn,
                        const struct fixture_account *a, uint8_t work,
                        struct bytes *out)
{
    struct answer answer;
    struct request q = {.method = METHOD_KP_TAKE,
                        .kp_take = {.account_id = BYTES_ARRAY(a->id),
                                    .pow_subject = fixture_id(work)}};
    if (conn == CONTACT)
        q.kp_take.contact_cap = BYTES_ARRAY(a->contact_cap);
    else if (fixture_work(f, POW_KP_TAKE, fixture_id(work), &q.kp_take.pow) !=
             OK)
        return STATUS_COUNT_;
    if (fixture_ask(f, conn, &q, &answer) != OK)
        return STATUS_COUNT_;
    *out = answer.status == STATUS_OK ? answer.kp_take.packages
                                      : (struct bytes){0};
    return (enum status)answer.status;
}

/* However many they are and from wherever, strangers take twenty a day; whom
 * she knows finds one, and when all have gone the last resort. */
static void strangers_cannot_drain_key_packages(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    CLEANUP(fixture_account_clear) struct fixture_account anna = {0};
    struct bytes got;
    unsigned taken = 0;
    fixture_init(&f);
    CHECK(set_up(&f, &anna));
    CHECK(publish(&f, 30));
    for (uint8_t i = 0; i < 50; i++) {
        enum status status = take(&f, STRANGER + i % STRANGERS, &anna, i, &got);
        CHECK(status == STATUS_OK || status == STATUS_LIMIT);
        taken += status == STATUS_OK;
    }
    CHECK_UINT(taken, 20);
    for (uint8_t i = 0; i < 12; i++) { /* ten are left */
        CHECK_UINT(take(&f, CONTACT, &anna, 0, &got), STATUS_OK);
        struct reader r = reader_of(got);
        struct device_package p;
        device_package_read(&r, &p);
        CHECK(bytes_equal(p.package, LIT("last")) == (i >= 10));
    }
}

/* --- inboxes --- */

static enum status put_item(struct fixture *f, uint32_t conn,
                            const struct fixture_account *a, uint8_t number)
{
    static uint8_t item[INBOX_ITEM_SIZE];
    uint8_t sum[CAP_SIZE];
    memset(item, number, sizeof item);
    struct request q = {.method = METHOD_INBOX_APPEND,
                        .inbox_append = {.account_id = BYTES_ARRAY(a->id),
                                         .device_id = BYTES_ARRAY(a->device),
                                         .item = BYTES_ARRAY(item)}};
    if (conn == CONTACT)
        q.inbox_append.contact_cap = BYTES_ARRAY(a->contact_cap);
    else if (cap_hash(f->crypto, q.inbox_append.item, sum) != OK ||
             fixture_work(f, POW_INBOX, BYTES_ARRAY(sum),
                          &q.inbox_append.pow) != OK)
        return STATUS_COUNT_;
    return fixture_status(f, conn, &q);
}

/* Day for day they fill half of it, and no more. */
static void strangers_cannot_flood_an_inbox(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    CLEANUP(fixture_account_clear) struct fixture_account anna = {0};
    unsigned put = 0;
    fixture_init(&f);
    f.store_config.quotas.inbox_items = 60;
    CHECK(set_up(&f, &anna));
    for (uint8_t day = 0; day < 3; day++) {
        unsigned today = 0;
        for (uint8_t i = 0; i < 30; i++)
            today += put_item(&f, STRANGER + i % STRANGERS, &anna,
                              (uint8_t)(30 * day + i)) == STATUS_OK;
        CHECK(today <= 20);
        put += today;
        f.now += FIXTURE_DAY_MS;
    }
    CHECK_UINT(put, 30);
    for (uint8_t i = 0; i < 30; i++)
        CHECK_UINT(put_item(&f, CONTACT, &anna, (uint8_t)(100 + i)), STATUS_OK);
    CHECK_UINT(put_item(&f, CONTACT, &anna, 200), STATUS_LIMIT);
}

/* --- channels --- */

/* A member that does nothing but commit: 120 a minute, and two of them cannot
 * take more than the channel's share. */
static void commits_come_at_a_bounded_rate(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    CLEANUP(fixture_account_clear) struct fixture_account anna = {0};
    const struct fixture_from me = fixture_from(STRANGER, 1, 1);
    uint64_t got = 0;
    fixture_init(&f);
    CHECK(set_up(&f, &anna));
    CHECK_UINT(fixture_create(&f, STRANGER, 1, 1), STATUS_OK);
    for (uint8_t i = 0; i < 120; i++)
        CHECK_UINT(fixture_commit(&f, me, i, i, fixture_same(), NULL),
                   STATUS_OK);
    CHECK_UINT(fixture_commit(&f, me, 120, 120, fixture_same(), &got),
               STATUS_BUSY);
    CHECK(got > 0 && got <= f.core_config.busy_retry_ms + MINUTE_MS);
    f.now += MINUTE_MS;
    CHECK_UINT(fixture_commit(&f, me, 120, 120, fixture_same(), NULL),
               STATUS_OK);
}

static enum status attach(struct fixture *f, uint32_t conn, uint8_t channel)
{
    const struct request q = {.method = METHOD_ATTACH,
                              .attach = {.access = fixture_access(channel, 1)}};
    return fixture_status(f, conn, &q);
}

/* Each costs work, a prefix gets 120 a minute, and what nobody uses goes. */
static void channels_cannot_be_hoarded(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    CLEANUP(fixture_account_clear) struct fixture_account anna = {0};
    unsigned made = 0;
    fixture_init(&f);
    CHECK(set_up(&f, &anna));
    for (unsigned i = 1; i <= 200; i++) {
        enum status status =
            fixture_create(&f, STRANGER, (uint8_t)i, (uint8_t)1);
        CHECK(status == STATUS_OK || status == STATUS_BUSY);
        made += status == STATUS_OK;
    }
    CHECK_UINT(made, 120);
    CHECK_UINT(fixture_create(&f, STRANGER + 1, 201, 1), STATUS_OK);
    f.now += 31 * FIXTURE_DAY_MS;
    for (unsigned i = 0; i < COLLECTIONS; i++) {
        fixture_flush(&f, 0); /* a few go each time */
        f.now += 1001;
    }
    for (unsigned i = 1; i <= 120; i++)
        CHECK_UINT(attach(&f, CONTACT, (uint8_t)i), STATUS_NOTFOUND);
}

/* --- blobs --- */

static enum status put_blob(struct fixture *f, uint32_t conn, uint8_t channel,
                            uint8_t number)
{
    static const uint8_t data[1000];
    const struct request q = {.method = METHOD_BLOB_PUT,
                              .blob_put = {.access = fixture_access(channel, 1),
                                           .blob = fixture_id(number),
                                           .total = sizeof data,
                                           .days = 60,
                                           .data = BYTES_ARRAY(data)}};
    return fixture_status(f, conn, &q);
}

/* Many channels do not help: a prefix has one share of the minute; all have one
 * of the disk, and nothing stays longer than a blob may. */
static void blobs_cannot_be_hoarded(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    CLEANUP(fixture_account_clear) struct fixture_account anna = {0};
    fixture_init(&f);
    f.core_config.limits.remote_bytes = 3500;
    f.store_config.quotas.blobs_bytes = 5000;
    CHECK(set_up(&f, &anna));
    for (uint8_t i = 1; i <= 4; i++) {
        CHECK_UINT(fixture_create(&f, STRANGER, i, 1), STATUS_OK);
        CHECK_UINT(put_blob(&f, STRANGER, i, i),
                   i <= 3 ? STATUS_OK : STATUS_BUSY);
    }
    CHECK_UINT(put_blob(&f, STRANGER + 1, 1, 5), STATUS_OK);
    CHECK_UINT(put_blob(&f, STRANGER + 2, 1, 6), STATUS_OK);
    CHECK_UINT(put_blob(&f, STRANGER + 3, 1, 7), STATUS_LIMIT);
    f.now += MINUTE_MS;
    CHECK_UINT(put_blob(&f, STRANGER, 4, 8), STATUS_LIMIT);
}

/* So many reads are under way for a subscription, and so many bytes in a
 * minute. */
static void reads_are_bounded(void)
{
    enum {
        UNDER_WAY = 256 / 16, /* the most that an entry has, in MiB */
        MORE = 4
    };
    CLEANUP(fixture_clear) struct fixture f;
    const struct request read = {
        .method = METHOD_READ,
        .read = {.access = fixture_access(1, 1), .max_bytes = 1000}};
    uint64_t seq = 0;
    uint32_t id = 0;
    fixture_init(&f);
    CHECK_UINT(fixture_start(&f), OK);
    CHECK_UINT(fixture_connect(&f, 1, LANE_ANONYMOUS), OK);
    CHECK_UINT(fixture_create(&f, 1, 1, 1), STATUS_OK);
    CHECK_UINT(fixture_append(&f, fixture_from(1, 1, 1), 0, 1, &seq),
               STATUS_OK);
    for (unsigned i = 0; i < UNDER_WAY; i++)
        CHECK_UINT(fixture_send(&f, 1, &read, &id), OK);
    CHECK_UINT(fixture_status(&f, 1, &read), STATUS_BUSY);
    for (unsigned i = 0; i < UNDER_WAY + MORE; i++)
        CHECK_UINT(fixture_status(&f, 1, &read), STATUS_OK);
    CHECK_UINT(core_stats(f.core).refused, 1);
}

static void bytes_that_are_read_are_bounded(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    const struct request read = {
        .method = METHOD_READ,
        .read = {.access = fixture_access(1, 1), .max_bytes = 1000}};
    uint64_t seq = 0;
    fixture_init(&f);
    f.core_config.limits.remote_reads = ENTRY_MAX;
    CHECK_UINT(fixture_start(&f), OK);
    CHECK_UINT(fixture_connect(&f, 1, LANE_ANONYMOUS), OK);
    CHECK_UINT(fixture_create(&f, 1, 1, 1), STATUS_OK);
    CHECK_UINT(fixture_status(&f, 1, &read), STATUS_OK); /* of nothing */
    CHECK_UINT(fixture_append(&f, fixture_from(1, 1, 1), 0, 1, &seq),
               STATUS_OK);
    CHECK_UINT(fixture_status(&f, 1, &read), STATUS_OK);
    CHECK_UINT(fixture_status(&f, 1, &read), STATUS_BUSY);
    f.now += MINUTE_MS;
    CHECK_UINT(fixture_status(&f, 1, &read), STATUS_OK);
}

/* Who is attached to most makes room, and the others hear of their entries. */
static void attachments_cannot_be_hoarded(void)
{
    enum {
        GREEDY = 1, /* connections */
        POLITE = 2,
        MAX = 8
    };
    CLEANUP(fixture_clear) struct fixture f;
    uint64_t seq = 0;
    fixture_init(&f);
    f.core_config.attached_max = MAX;
    CHECK_UINT(fixture_start(&f), OK);
    CHECK_UINT(fixture_connect(&f, GREEDY, LANE_ANONYMOUS), OK);
    CHECK_UINT(fixture_connect(&f, POLITE, LANE_ANONYMOUS), OK);
    for (unsigned i = 1; i <= MAX; i++)
        CHECK_UINT(fixture_create(&f, GREEDY, (uint8_t)i, 1), STATUS_OK);
    CHECK_UINT(attach(&f, POLITE, 1), STATUS_OK);
    CHECK_UINT(attach(&f, POLITE, 2), STATUS_OK);
    for (unsigned i = 1; i <= MAX - 2; i++)
        CHECK_UINT(attach(&f, GREEDY, (uint8_t)i), STATUS_OK);
    CHECK_UINT(attach(&f, POLITE, 1), STATUS_OK); /* is there already */
    CHECK(!fixture_closed(&f, GREEDY));
    CHECK_UINT(attach(&f, POLITE, 3), STATUS_OK);
    CHECK(fixture_closed(&f, GREEDY));
    CHECK(!fixture_closed(&f, POLITE));
    for (uint8_t i = 1; i <= 3; i++)
        CHECK_UINT(fixture_append(&f, fixture_from(POLITE, i, 1), 0, i, &seq),
                   STATUS_OK);
    CHECK_UINT(fixture_events(&f, POLITE, EVENT_ENTRY), 3);
    CHECK_UINT(fixture_events(&f, GREEDY, EVENT_ENTRY), 0);
}

/* Its own attachment may be the one that is too much. */
static void who_is_attached_to_everything_is_cut_off(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    fixture_init(&f);
    f.core_config.attached_max = 4;
    CHECK_UINT(fixture_start(&f), OK);
    CHECK_UINT(fixture_connect(&f, 1, LANE_ANONYMOUS), OK);
    for (uint8_t i = 1; i <= 5; i++)
        CHECK_UINT(fixture_create(&f, 1, i, 1), STATUS_OK);
    for (uint8_t i = 1; i <= 4; i++)
        CHECK_UINT(attach(&f, 1, i), STATUS_OK);
    CHECK_UINT(attach(&f, 1, 5), STATUS_COUNT_); /* no answer */
    CHECK(fixture_closed(&f, 1));
    CHECK_UINT(fixture_connect(&f, 2, LANE_ANONYMOUS), OK);
    CHECK_UINT(attach(&f, 2, 5), STATUS_OK);
}

static const struct test tests[] = {
    TEST(reads_are_bounded),
    TEST(bytes_that_are_read_are_bounded),
    TEST(attachments_cannot_be_hoarded),
    TEST(who_is_attached_to_everything_is_cut_off),
    TEST(strangers_cannot_drain_key_packages),
    TEST(strangers_cannot_flood_an_inbox),
    TEST(commits_come_at_a_bounded_rate),
    TEST(channels_cannot_be_hoarded),
    TEST(blobs_cannot_be_hoarded),
};
TEST_MAIN(tests)
