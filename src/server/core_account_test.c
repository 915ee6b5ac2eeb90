/* SPDX-License-Identifier: Apache-2.0 */
#include "server/core_fixture.h"

#include "identity/state.h"
#include "proto/derive.h"
#include "proto/hello.h"
#include "test.h"

#include <string.h>

static bool set_up(struct fixture *f)
{
    return fixture_start(f) == OK &&
           fixture_connect(f, 1, LANE_IDENTIFIED) == OK &&
           fixture_connect(f, 2, LANE_ANONYMOUS) == OK;
}

static enum status registered(struct fixture *f, uint32_t conn,
                              const char *name, struct fixture_account *a)
{
    enum status status = STATUS_COUNT_;
    if (fixture_register(f, conn, name, (struct bytes){0}, a, &status) != OK)
        return STATUS_COUNT_;
    return status;
}

/* Anna has an account, and is logged in on connection 1. */
static bool set_up_anna(struct fixture *f, struct fixture_account *anna)
{
    return set_up(f) && fixture_account_make(f, anna) == OK &&
           registered(f, 1, "anna", anna) == STATUS_OK;
}

static enum status logged_in(struct fixture *f, uint32_t conn,
                             const struct fixture_account *a)
{
    enum status status = STATUS_COUNT_;
    return fixture_login(f, conn, a, &status) == OK ? status : STATUS_COUNT_;
}

static void account_is_found_by_its_handle(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    CLEANUP(fixture_account_clear) struct fixture_account anna = {0};
    fixture_init(&f);
    CHECK(set_up_anna(&f, &anna));
    struct answer a;
    struct request q = {.method = METHOD_LOOKUP, .lookup = {LIT("anna")}};
    CHECK_UINT(fixture_ask(&f, 2, &q, &a), OK);
    CHECK_BYTES(a.lookup.account_id, BYTES_ARRAY(anna.id));
    q.lookup.name = LIT("otto");
    CHECK_UINT(fixture_status(&f, 2, &q), STATUS_NOTFOUND);

    q = (struct request){.method = METHOD_CHAIN,
                         .chain = {.account_id = BYTES_ARRAY(anna.id)}};
    CHECK_UINT(fixture_ask(&f, 2, &q, &a), OK);
    CHECK_UINT(a.chain.newest, 1);
    struct reader r = reader_of(a.chain.states);
    CHECK_BYTES(reader_vec(&r), buf_bytes(&anna.state));
    CHECK(!reader_more(&r));
}

static void lost_answer_of_register_is_repeatable(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    CLEANUP(fixture_account_clear) struct fixture_account anna = {0};
    CLEANUP(fixture_account_clear) struct fixture_account otto = {0};
    uint8_t invite[CORE_INVITE_SIZE];
    enum status status = STATUS_COUNT_;
    fixture_init(&f);
    f.core_config.open_registration = false;
    CHECK(set_up(&f));
    CHECK_UINT(core_invite(f.core, f.now, invite), OK);
    CHECK_UINT(fixture_account_make(&f, &anna), OK);
    CHECK_UINT(fixture_account_make(&f, &otto), OK);
    CHECK_UINT(registered(&f, 1, "anna", &anna), STATUS_AUTH); /* no invite */
    CHECK_UINT(
        fixture_register(&f, 1, "anna", BYTES_ARRAY(invite), &anna, &status),
        OK);
    CHECK_UINT(status, STATUS_OK);
    CHECK_UINT(fixture_connect(&f, 3, LANE_IDENTIFIED), OK);
    CHECK_UINT(
        fixture_register(&f, 3, "anna", BYTES_ARRAY(invite), &anna, &status),
        OK);
    CHECK_UINT(status, STATUS_OK);
    /* the invite is spent, and the name is taken */
    CHECK_UINT(fixture_connect(&f, 4, LANE_IDENTIFIED), OK);
    CHECK_UINT(
        fixture_register(&f, 4, "otto", BYTES_ARRAY(invite), &otto, &status),
        OK);
    CHECK_UINT(status, STATUS_AUTH);
    CHECK_UINT(core_invite(f.core, f.now, invite), OK);
    CHECK_UINT(
        fixture_register(&f, 4, "anna", BYTES_ARRAY(invite), &otto, &status),
        OK);
    CHECK_UINT(status, STATUS_EXISTS);
    CHECK_UINT(
        fixture_register(&f, 4, "otto", BYTES_ARRAY(invite), &otto, &status),
        OK);
    CHECK_UINT(status, STATUS_OK); /* a refusal does not spend it */
    CHECK_UINT(
        fixture_register(&f, 4, "emil", BYTES_ARRAY(invite), &otto, &status),
        OK);
    CHECK_UINT(status, STATUS_STATE); /* is logged in */
}

static void rejects_what_is_no_account(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    CLEANUP(fixture_account_clear) struct fixture_account anna = {0};
    fixture_init(&f);
    CHECK(set_up(&f));
    CHECK_UINT(fixture_account_make(&f, &anna), OK);
    CHECK_UINT(registered(&f, 1, "Anna", &anna), STATUS_INVALID);
    anna.state.data[anna.state.len - 1] ^= 1; /* its signature */
    CHECK_UINT(registered(&f, 1, "anna", &anna), STATUS_AUTH);
    anna.state.data[anna.state.len - 1] ^= 1;
    anna.device[0] ^= 1; /* a device that is not listed */
    CHECK_UINT(registered(&f, 1, "anna", &anna), STATUS_INVALID);
    anna.device[0] ^= 1;
    anna.device_key.data[0] ^= 1; /* another's key */
    CHECK_UINT(registered(&f, 1, "anna", &anna), STATUS_AUTH);
    anna.device_key.data[0] ^= 1;
    CHECK_UINT(registered(&f, 1, "anna", &anna), STATUS_OK);
}

static void only_a_listed_device_logs_in(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    CLEANUP(fixture_account_clear) struct fixture_account anna = {0};
    fixture_init(&f);
    CHECK(set_up(&f));
    CHECK_UINT(fixture_account_make(&f, &anna), OK);
    CHECK_UINT(logged_in(&f, 1, &anna), STATUS_NOTFOUND);
    CHECK_UINT(registered(&f, 1, "anna", &anna), STATUS_OK);
    CHECK_UINT(fixture_connect(&f, 3, LANE_IDENTIFIED), OK);
    const struct request count = {.method = METHOD_KP_COUNT};
    CHECK_UINT(fixture_status(&f, 3, &count), STATUS_MALFORMED);
    anna.device_key.data[0] ^= 1;
    CHECK_UINT(logged_in(&f, 3, &anna), STATUS_AUTH);
    anna.device_key.data[0] ^= 1;
    anna.device[0] ^= 1;
    CHECK_UINT(logged_in(&f, 3, &anna), STATUS_AUTH);
    anna.device[0] ^= 1;
    CHECK_UINT(fixture_status(&f, 3, &count), STATUS_MALFORMED);
    CHECK_UINT(logged_in(&f, 3, &anna), STATUS_OK);
    CHECK_UINT(fixture_status(&f, 3, &count), STATUS_OK);
}

/* --- states --- */

struct second {
    struct fixture_account device; /* only its device matters */
    struct buf state;              /* that lists both */
};

static void second_clear(struct second *s)
{
    fixture_account_clear(&s->device);
    buf_clear(&s->state);
}

static enum err second_make(struct fixture *f, const struct fixture_account *a,
                            struct second *out)
{
    struct state first;
    struct state other;
    struct state next;
    struct digest hash;
    out->state = buf_new(STATE_MAX);
    TRY(fixture_account_make(f, &out->device));
    TRY(state_read(buf_bytes(&a->state), &first));
    TRY(state_read(buf_bytes(&out->device.state), &other));
    TRY(state_hash(f->crypto, buf_bytes(&a->state), &hash));
    state_next(&first, digest_bytes(&hash), REASON_ADD, &next);
    TRY(state_add(&next, &other.devices[0]));
    return state_sign(f->crypto, &next, BYTES_ARRAY(a->device), &a->device_key,
                      &out->state);
}

static enum err revoke(struct fixture *f, const struct fixture_account *a,
                       const struct second *second, struct buf *out)
{
    struct state before;
    struct state next;
    struct digest hash;
    TRY(state_read(buf_bytes(&second->state), &before));
    TRY(state_hash(f->crypto, buf_bytes(&second->state), &hash));
    state_next(&before, digest_bytes(&hash), REASON_REVOKE, &next);
    TRY(state_remove(&next, BYTES_ARRAY(second->device.device)));
    return state_sign(f->crypto, &next, BYTES_ARRAY(a->device), &a->device_key,
                      out);
}

static void chain_grows_by_its_rule_and_revoked_devices_are_cut_off(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    CLEANUP(fixture_account_clear) struct fixture_account anna = {0};
    CLEANUP(second_clear) struct second second = {0};
    CLEANUP(buf_clear) struct buf third = buf_new(STATE_MAX);
    fixture_init(&f);
    CHECK(set_up_anna(&f, &anna));
    CHECK_UINT(second_make(&f, &anna, &second), OK);
    CHECK_UINT(revoke(&f, &anna, &second, &third), OK);
    memcpy(second.device.id, anna.id, ID_SIZE); /* it joins anna's account */

    struct answer a;
    struct request q = {.method = METHOD_STATE_APPEND};
    q.state_append.state = buf_bytes(&third); /* too early */
    CHECK_UINT(fixture_ask(&f, 1, &q, &a), OK);
    CHECK_UINT(a.status, STATUS_STATE);
    CHECK_UINT(a.detail, 1);
    q.state_append.state = buf_bytes(&second.state);
    second.state.data[second.state.len - 1] ^= 1;
    CHECK_UINT(fixture_status(&f, 1, &q), STATUS_AUTH);
    second.state.data[second.state.len - 1] ^= 1;
    CHECK_UINT(fixture_status(&f, 1, &q), STATUS_OK);
    CHECK_UINT(fixture_status(&f, 1, &q), STATUS_OK); /* a lost answer */

    CHECK_UINT(fixture_connect(&f, 3, LANE_IDENTIFIED), OK);
    CHECK_UINT(logged_in(&f, 3, &second.device), STATUS_OK);
    q.state_append.state = buf_bytes(&third);
    CHECK_UINT(fixture_status(&f, 1, &q), STATUS_OK);
    CHECK(fixture_closed(&f, 3));
    CHECK(!fixture_closed(&f, 1));
    core_close(f.core, 3);
    CHECK_UINT(fixture_connect(&f, 3, LANE_IDENTIFIED), OK);
    CHECK_UINT(logged_in(&f, 3, &second.device), STATUS_AUTH);
    CHECK_UINT(fixture_check(&f), OK);
}

/* --- key packages --- */

static enum status publish(struct fixture *f, uint32_t conn, size_t count,
                           uint8_t first, struct bytes last_resort)
{
    CLEANUP(buf_clear) struct buf list = buf_new(1U << 20);
    struct writer w = writer_to(&list);
    for (size_t i = 0; i < count; i++)
        writer_vec(&w, fixture_id((uint8_t)(first + i)));
    if (writer_finish(&w) != OK)
        return STATUS_COUNT_;
    const struct request q = {
        .method = METHOD_KP_PUBLISH,
        .kp_publish = {buf_bytes(&list), last_resort},
    };
    return fixture_status(f, conn, &q);
}

static uint32_t single_use(struct fixture *f, uint32_t conn)
{
    struct answer a;
    const struct request q = {.method = METHOD_KP_COUNT};
    if (fixture_ask(f, conn, &q, &a) != OK || a.status != STATUS_OK)
        return UINT32_MAX;
    return a.kp_count.single_use;
}

static struct request take_of(const struct fixture_account *a)
{
    return (struct request){
        .method = METHOD_KP_TAKE,
        .kp_take = {.account_id = BYTES_ARRAY(a->id),
                    .contact_cap = BYTES_ARRAY(a->contact_cap),
                    .pow_subject = fixture_id(0)},
    };
}

/* The only package of the answer; empty: none, or more than one. */
static struct bytes taken(struct fixture *f, const struct request *q)
{
    struct answer a;
    struct device_package p = {0};
    if (fixture_ask(f, 2, q, &a) != OK || a.status != STATUS_OK)
        return (struct bytes){0};
    struct reader r = reader_of(a.kp_take.packages);
    if (!reader_more(&r))
        return (struct bytes){0};
    device_package_read(&r, &p);
    return reader_more(&r) ? (struct bytes){0} : p.package;
}

static void key_package_is_given_once_then_the_last_resort(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    CLEANUP(fixture_account_clear) struct fixture_account anna = {0};
    fixture_init(&f);
    CHECK(set_up_anna(&f, &anna));
    const struct request take = take_of(&anna);
    CHECK_UINT(taken(&f, &take).len, 0);
    CHECK_UINT(publish(&f, 1, 3, 10, LIT("last resort")), STATUS_OK);
    CHECK_UINT(single_use(&f, 1), 3);
    bool seen[3] = {false};
    for (size_t i = 0; i < 3; i++) {
        struct bytes p = taken(&f, &take);
        CHECK_UINT(p.len, ID_SIZE);
        size_t which = p.len > 0 ? p.data[0] - 10U : COUNT(seen);
        CHECK(which < COUNT(seen) && !seen[which]);
        seen[which] = true;
    }
    CHECK_UINT(single_use(&f, 1), 0);
    CHECK_BYTES(taken(&f, &take), LIT("last resort"));
    CHECK_BYTES(taken(&f, &take), LIT("last resort"));
    /* a repeated publication does not bring them back */
    CHECK_UINT(publish(&f, 1, 3, 10, LIT("")), STATUS_OK);
    CHECK_UINT(single_use(&f, 1), 0);
    CHECK_UINT(publish(&f, 1, 1, 20, LIT("")), STATUS_OK);
    CHECK_BYTES(taken(&f, &take), fixture_id(20));
}

static void key_package_is_given_only_while_it_has_long_to_live(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    CLEANUP(fixture_account_clear) struct fixture_account anna = {0};
    fixture_init(&f);
    CHECK(set_up_anna(&f, &anna));
    CHECK_UINT(publish(&f, 1, 3, 10, LIT("last resort")), STATUS_OK);
    f.now += (PACKAGE_DAYS - 1) * FIXTURE_DAY_MS;
    fixture_flush(&f, 0);
    CHECK_UINT(single_use(&f, 1), 3);
    const struct request take = take_of(&anna);
    CHECK_UINT(taken(&f, &take).len, ID_SIZE);
    f.now += FIXTURE_DAY_MS;
    fixture_flush(&f, 0);
    CHECK_UINT(single_use(&f, 1), 0);
    CHECK_BYTES(taken(&f, &take), LIT("last resort"));
}

static void stranger_works_for_a_package_from_a_small_quota(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    CLEANUP(fixture_account_clear) struct fixture_account anna = {0};
    fixture_init(&f);
    f.store_config.quotas.stranger_takes = 2;
    f.core_config.pow_bits = 8;
    CHECK(set_up_anna(&f, &anna));
    CHECK_UINT(publish(&f, 1, 5, 10, LIT("")), STATUS_OK);
    struct request take = take_of(&anna);
    take.kp_take.contact_cap = fixture_id(1); /* not hers */
    CHECK_UINT(fixture_status(&f, 2, &take), STATUS_AUTH);
    take.kp_take.contact_cap = LIT("");
    take.kp_take.pow_subject = fixture_id(1);
    CHECK_UINT(fixture_work(&f, POW_KP_TAKE, fixture_id(1), &take.kp_take.pow),
               OK);
    struct request lazy = take;
    lazy.kp_take.pow_subject = fixture_id(2); /* work for something else */
    enum status status = fixture_status(&f, 2, &lazy);
    CHECK(status == STATUS_AUTH || status == STATUS_OK); /* 1 in 256 */
    CHECK_UINT(fixture_status(&f, 2, &take), STATUS_OK);
    CHECK_UINT(fixture_status(&f, 2, &take), STATUS_AUTH); /* spent */
    for (uint8_t i = 3; i < 6; i++) {
        take.kp_take.pow_subject = fixture_id(i);
        CHECK_UINT(
            fixture_work(&f, POW_KP_TAKE, fixture_id(i), &take.kp_take.pow),
            OK);
        status = fixture_status(&f, 2, &take);
    }
    CHECK_UINT(status, STATUS_LIMIT);
    f.now += 3 * FIXTURE_DAY_MS;
    CHECK_UINT(fixture_status(&f, 2, &take), STATUS_AUTH); /* old work */
    CHECK_UINT(fixture_work(&f, POW_KP_TAKE, fixture_id(5), &take.kp_take.pow),
               OK);
    CHECK_UINT(fixture_status(&f, 2, &take), STATUS_OK); /* another day */
    const struct request contact = take_of(&anna);
    CHECK(taken(&f, &contact).len > 0); /* contacts have a quota of their own */
}

static void contact_capability_can_be_changed(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    CLEANUP(fixture_account_clear) struct fixture_account anna = {0};
    uint8_t hash[CAP_SIZE];
    fixture_init(&f);
    CHECK(set_up_anna(&f, &anna));
    struct request take = take_of(&anna);
    CHECK_UINT(fixture_status(&f, 2, &take), STATUS_OK);
    CHECK_UINT(cap_hash(f.crypto, fixture_id(9), hash), OK);
    const struct request set = {.method = METHOD_CONTACT_SET,
                                .contact_set = {BYTES_ARRAY(hash)}};
    CHECK_UINT(fixture_status(&f, 1, &set), STATUS_OK);
    CHECK_UINT(fixture_status(&f, 2, &take), STATUS_AUTH);
    take.kp_take.contact_cap = fixture_id(9);
    CHECK_UINT(fixture_status(&f, 2, &take), STATUS_OK);
}

/* --- inboxes --- */

static uint8_t items[8][INBOX_ITEM_SIZE];

static struct request item_of(const struct fixture_account *a, uint8_t number)
{
    memset(items[number], number, INBOX_ITEM_SIZE);
    return (struct request){
        .method = METHOD_INBOX_APPEND,
        .inbox_append = {.account_id = BYTES_ARRAY(a->id),
                         .device_id = BYTES_ARRAY(a->device),
                         .contact_cap = BYTES_ARRAY(a->contact_cap),
                         .item = BYTES_ARRAY(items[number])},
    };
}

static size_t inbox_count(struct fixture *f, uint64_t after, uint64_t *out_last)
{
    struct answer a;
    size_t count = 0;
    const struct request q = {.method = METHOD_INBOX_READ,
                              .inbox_read = {after, 100}};
    if (fixture_ask(f, 1, &q, &a) != OK || a.status != STATUS_OK)
        return SIZE_MAX;
    struct reader r = reader_of(a.inbox_read.items);
    for (; reader_more(&r); count++) {
        struct inbox_item item;
        inbox_item_read(&r, &item);
        *out_last = item.seq;
    }
    return count;
}

static void inbox_keeps_items_until_they_are_acknowledged(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    CLEANUP(fixture_account_clear) struct fixture_account anna = {0};
    fixture_init(&f);
    CHECK(set_up(&f));
    uint64_t last = 0;
    CHECK_UINT(fixture_account_make(&f, &anna), OK);
    CHECK_UINT(registered(&f, 1, "anna", &anna), STATUS_OK);
    for (uint8_t i = 0; i < 3; i++) {
        const struct request q = item_of(&anna, i);
        CHECK_UINT(fixture_status(&f, 2, &q), STATUS_OK);
        CHECK_UINT(fixture_status(&f, 2, &q), STATUS_OK); /* taken once */
    }
    struct request event;
    CHECK_UINT(fixture_events(&f, 1, EVENT_INBOX_ITEM), 3);
    CHECK_UINT(fixture_event(&f, 1, EVENT_INBOX_ITEM, 2, &event), OK);
    CHECK_UINT(event.inbox_event.seq, 3);
    CHECK_UINT(inbox_count(&f, 0, &last), 3);
    CHECK_UINT(inbox_count(&f, 2, &last), 1);
    const struct request ack = {.method = METHOD_INBOX_ACK, .inbox_ack = {2}};
    CHECK_UINT(fixture_status(&f, 1, &ack), STATUS_OK);
    CHECK_UINT(inbox_count(&f, 0, &last), 1);
    CHECK_UINT(last, 3);
    const struct request all = {.method = METHOD_INBOX_ACK,
                                .inbox_ack = {UINT64_MAX}};
    CHECK_UINT(fixture_status(&f, 1, &all), STATUS_OK);
    CHECK_UINT(inbox_count(&f, 0, &last), 0);
    const struct request late = item_of(&anna, 4); /* numbers go on */
    CHECK_UINT(fixture_status(&f, 2, &late), STATUS_OK);
    CHECK_UINT(inbox_count(&f, 0, &last), 1);
    CHECK_UINT(last, 4);
}

static void inbox_is_bounded(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    CLEANUP(fixture_account_clear) struct fixture_account anna = {0};
    fixture_init(&f);
    f.store_config.quotas.inbox_items = 3;
    f.store_config.quotas.stranger_items = 1;
    CHECK(set_up_anna(&f, &anna));
    uint8_t sum[CAP_SIZE];
    for (uint8_t i = 0; i < 2; i++) {
        struct request q = item_of(&anna, i);
        q.inbox_append.contact_cap = LIT("");
        CHECK_UINT(cap_hash(f.crypto, q.inbox_append.item, sum), OK);
        CHECK_UINT(
            fixture_work(&f, POW_INBOX, BYTES_ARRAY(sum), &q.inbox_append.pow),
            OK);
        CHECK_UINT(fixture_status(&f, 2, &q),
                   i == 0 ? STATUS_OK : STATUS_LIMIT);
    }
    for (uint8_t i = 2; i < 5; i++) {
        const struct request q = item_of(&anna, i);
        CHECK_UINT(fixture_status(&f, 2, &q), i < 4 ? STATUS_OK : STATUS_LIMIT);
    }
    struct request q = item_of(&anna, 6);
    q.inbox_append.device_id = fixture_id(7);
    CHECK_UINT(fixture_status(&f, 2, &q), STATUS_NOTFOUND);
    q.inbox_append.device_id = BYTES_ARRAY(anna.device);
    q.inbox_append.contact_cap = fixture_id(7);
    CHECK_UINT(fixture_status(&f, 2, &q), STATUS_AUTH);
    uint64_t last = 0;
    f.now += 31 * FIXTURE_DAY_MS;
    fixture_flush(&f, 0);
    CHECK_UINT(inbox_count(&f, 0, &last), 0); /* too old */
}

static const struct test tests[] = {
    TEST(account_is_found_by_its_handle),
    TEST(lost_answer_of_register_is_repeatable),
    TEST(rejects_what_is_no_account),
    TEST(only_a_listed_device_logs_in),
    TEST(chain_grows_by_its_rule_and_revoked_devices_are_cut_off),
    TEST(key_package_is_given_once_then_the_last_resort),
    TEST(key_package_is_given_only_while_it_has_long_to_live),
    TEST(stranger_works_for_a_package_from_a_small_quota),
    TEST(contact_capability_can_be_changed),
    TEST(inbox_keeps_items_until_they_are_acknowledged),
    TEST(inbox_is_bounded),
};
TEST_MAIN(tests)
