/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/state.h"

#include "base/mem.h"
#include "identity/test_account.h"
#include "test.h"

#include <limits.h>
#include <stdio.h>

/* The devices of the account that the tests change. */
enum {
    OLD,
    MIDDLE,
    YOUNG,
    MUTE
};

static struct test_account account;

/* An account with three devices that may authorise, and one that may not. */
static enum err account_of_four(void)
{
    test_account_clear(&account);
    TRY(test_account_new(&account, 42));
    for (size_t i = MIDDLE; i <= MUTE; i++) {
        CLEANUP(buf_clear) struct buf out = buf_new(STATE_MAX);
        struct device d;
        struct state s;
        TRY(test_device_new(&account, &d));
        d.may_authorise = i != MUTE;
        test_account_next(&account, REASON_ADD, &s);
        TRY(state_add(&s, &d));
        TRY(test_account_sign(&account, &s, OLD, &out));
        TRY(test_account_push(&account, buf_bytes(&out)));
    }
    return OK;
}

static struct bytes id_of(size_t device)
{
    return BYTES_ARRAY(account.devices[device].id);
}

/* A device that exists but is not listed yet; the same each time. */
static struct device newcomer(void)
{
    struct device d = {0};
    if (account.device_count == MUTE + 1 && test_device_new(&account, &d) != OK)
        return d;
    return test_device_of(&account, MUTE + 1);
}

/* --- what may change --- */

static enum err add_one(struct state *s)
{
    struct device d = newcomer();
    return state_add(s, &d);
}
static enum err nothing(struct state *s)
{
    (void)s;
    return OK;
}
static enum err remove_old(struct state *s)
{
    return state_remove(s, id_of(OLD));
}
static enum err remove_middle(struct state *s)
{
    return state_remove(s, id_of(MIDDLE));
}
static enum err remove_young(struct state *s)
{
    return state_remove(s, id_of(YOUNG));
}
static enum err remove_all_but_old(struct state *s)
{
    TRY(remove_middle(s));
    TRY(remove_young(s));
    return state_remove(s, id_of(MUTE));
}
static enum err new_recovery(struct state *s)
{
    s->recovery_key = BYTES_ARRAY(account.recovery_key[1]);
    return OK;
}
static enum err new_address(struct state *s)
{
    s->server_address = LIT("example.net:7470");
    return OK;
}
static enum err recover_all(struct state *s)
{
    s->conflicts = LIT("hash a of thirty-two bytes......"
                       "hash b of thirty-two bytes......");
    TRY(remove_all_but_old(s));
    TRY(new_recovery(s));
    return add_one(s);
}

/* --- and what may not --- */

static enum err skip_a_version(struct state *s)
{
    s->version++;
    return add_one(s);
}
static enum err stay_at_the_version(struct state *s)
{
    s->version--;
    return add_one(s);
}
static enum err other_previous(struct state *s)
{
    s->previous = LIT("hash a of thirty-two bytes......");
    return add_one(s);
}
static enum err add_and_remove(struct state *s)
{
    TRY(remove_young(s));
    return add_one(s);
}
static enum err add_and_new_recovery(struct state *s)
{
    TRY(new_recovery(s));
    return add_one(s);
}
static enum err add_and_move(struct state *s)
{
    TRY(new_address(s));
    return add_one(s);
}
static enum err add_with_conflicts(struct state *s)
{
    s->conflicts = LIT("hash a of thirty-two bytes......");
    return add_one(s);
}
static enum err add_and_promote(struct state *s)
{
    s->devices[MUTE].may_authorise = true;
    return add_one(s);
}
static enum err add_and_rename(struct state *s)
{
    s->devices[OLD].name = LIT("x");
    return add_one(s);
}
static enum err add_and_exchange_key(struct state *s)
{
    struct device d = newcomer();
    s->devices[YOUNG].signature_key = d.signature_key;
    s->devices[YOUNG].sealing_key = d.sealing_key;
    return OK;
}
static enum err add_too_young(struct state *s)
{
    s->next_order++; /* skips a number */
    return add_one(s);
}
static enum err raise_next_order(struct state *s)
{
    TRY(add_one(s));
    s->next_order++;
    return OK;
}
static enum err add_a_weak_key(struct state *s)
{
    static const uint8_t weak[STATE_KEY_SIZE] = {1}; /* of small order */
    TRY(add_one(s));
    s->devices[s->device_count - 1].signature_key = BYTES_ARRAY(weak);
    return OK;
}
static enum err add_the_recovery_key(struct state *s)
{
    TRY(add_one(s));
    s->devices[s->device_count - 1].signature_key = s->recovery_key;
    return OK;
}

struct change {
    const char *name;
    enum state_reason reason;
    enum err (*apply)(struct state *s);
    size_t signer;
    enum state_fault fault; /* FAULT_NONE: valid */
};

static const struct change valid[] = {
    {"add", REASON_ADD, add_one, OLD, FAULT_NONE},
    {"add by the youngest", REASON_ADD, add_one, YOUNG, FAULT_NONE},
    {"add by recovery", REASON_ADD, add_one, BY_RECOVERY, FAULT_NONE},
    {"revoke younger", REASON_REVOKE, remove_young, OLD, FAULT_NONE},
    {"revoke next", REASON_REVOKE, remove_young, MIDDLE, FAULT_NONE},
    {"revoke itself", REASON_REVOKE, remove_middle, MIDDLE, FAULT_NONE},
    {"revoke many", REASON_REVOKE, remove_all_but_old, OLD, FAULT_NONE},
    {"revoke by recovery", REASON_REVOKE, remove_old, BY_RECOVERY, FAULT_NONE},
    {"recover", REASON_RECOVER, recover_all, BY_RECOVERY, FAULT_NONE},
    {"recover without change", REASON_RECOVER, nothing, BY_RECOVERY,
     FAULT_NONE},
    {"rotate", REASON_ROTATE_RECOVERY, new_recovery, BY_RECOVERY, FAULT_NONE},
    {"move", REASON_MOVE, new_address, MIDDLE, FAULT_NONE},
    {"move by recovery", REASON_MOVE, new_address, BY_RECOVERY, FAULT_NONE},
};

static const struct change broken[] = {
    {"version", REASON_ADD, skip_a_version, OLD, FAULT_VERSION},
    {"same version", REASON_ADD, stay_at_the_version, OLD, FAULT_VERSION},
    {"previous", REASON_ADD, other_previous, OLD, FAULT_PREVIOUS},
    {"signer that may not", REASON_ADD, add_one, MUTE, FAULT_SIGNER},
    {"signer that may not, itself", REASON_REVOKE, remove_young, MUTE,
     FAULT_SIGNER},
    {"recover by device", REASON_RECOVER, add_one, OLD, FAULT_SIGNER},
    {"rotate by device", REASON_ROTATE_RECOVERY, new_recovery, OLD,
     FAULT_SIGNER},
    {"revoke older", REASON_REVOKE, remove_old, MIDDLE, FAULT_SENIORITY},
    {"revoke an older among younger", REASON_REVOKE, remove_all_but_old, YOUNG,
     FAULT_SENIORITY},
    {"new again", REASON_NEW, nothing, OLD, FAULT_REASON},
    {"add nothing", REASON_ADD, nothing, OLD, FAULT_REASON},
    {"add and remove", REASON_ADD, add_and_remove, OLD, FAULT_REASON},
    {"add and rotate", REASON_ADD, add_and_new_recovery, BY_RECOVERY,
     FAULT_REASON},
    {"add and move", REASON_ADD, add_and_move, OLD, FAULT_REASON},
    {"revoke nothing", REASON_REVOKE, nothing, OLD, FAULT_REASON},
    {"revoke that adds", REASON_REVOKE, add_one, OLD, FAULT_REASON},
    {"rotate nothing", REASON_ROTATE_RECOVERY, nothing, BY_RECOVERY,
     FAULT_REASON},
    {"rotate that removes", REASON_ROTATE_RECOVERY, remove_old, BY_RECOVERY,
     FAULT_REASON},
    {"move nowhere", REASON_MOVE, nothing, OLD, FAULT_REASON},
    {"move that removes", REASON_MOVE, remove_young, OLD, FAULT_REASON},
    {"recover that moves", REASON_RECOVER, new_address, BY_RECOVERY,
     FAULT_REASON},
    {"conflicts in add", REASON_ADD, add_with_conflicts, OLD, FAULT_CONFLICTS},
    {"promotion", REASON_ADD, add_and_promote, OLD, FAULT_DEVICE},
    {"new name", REASON_ADD, add_and_rename, OLD, FAULT_DEVICE},
    {"new key for an old device", REASON_RECOVER, add_and_exchange_key,
     BY_RECOVERY, FAULT_DEVICE},
    {"order skipped", REASON_ADD, add_too_young, OLD, FAULT_ORDER},
    {"next order raised", REASON_ADD, raise_next_order, OLD, FAULT_ORDER},
    {"weak key", REASON_ADD, add_a_weak_key, OLD, FAULT_FORMAT},
    {"recovery key as device", REASON_ADD, add_the_recovery_key, OLD,
     FAULT_FORMAT},
};

/* Makes the changed state, signed, in `out`. */
static enum err change_make(const struct change *change, struct buf *out)
{
    struct state s;
    test_account_next(&account, change->reason, &s);
    TRY(change->apply(&s));
    return test_account_sign(&account, &s, change->signer, out);
}

static void change_check(const struct change *change)
{
    CLEANUP(buf_clear) struct buf out = buf_new(STATE_MAX);
    struct state next;
    enum state_fault fault;
    CHECK_UINT(change_make(change, &out), OK);
    CHECK_UINT(state_read(buf_bytes(&out), &next), OK);
    enum err want = change->fault == FAULT_NONE ? OK : ERR_INVALID;
    enum err err =
        state_verify_next(account.crypto, &account.state,
                          digest_bytes(&account.hash), &next, &fault);
    CHECK_UINT(fault, change->fault);
    CHECK_UINT(err, want);
}

static void accepts_what_the_rules_allow(void)
{
    CHECK_UINT(account_of_four(), OK);
    for (size_t i = 0; i < COUNT(valid); i++) {
        printf("# %s\n", valid[i].name);
        change_check(&valid[i]);
    }
}

static void rejects_each_broken_rule(void)
{
    CHECK_UINT(account_of_four(), OK);
    for (size_t i = 0; i < COUNT(broken); i++) {
        printf("# %s\n", broken[i].name);
        change_check(&broken[i]);
    }
}

static void rejects_any_changed_byte(void)
{
    CHECK_UINT(account_of_four(), OK);
    CLEANUP(buf_clear) struct buf out = buf_new(STATE_MAX);
    CHECK_UINT(change_make(&valid[0], &out), OK);
    for (size_t i = 0; i < out.len; i += i < 300 ? 1 : 97) {
        struct state next;
        out.data[i] ^= 0x40;
        enum err err = state_read(buf_bytes(&out), &next);
        if (err == OK)
            err = state_verify_next(account.crypto, &account.state,
                                    digest_bytes(&account.hash), &next, NULL);
        CHECK(err != OK);
        out.data[i] ^= 0x40;
    }
}

static void signature_must_be_the_named_signers(void)
{
    CHECK_UINT(account_of_four(), OK);
    CLEANUP(buf_clear) struct buf out = buf_new(STATE_MAX);
    struct state s;
    struct state next;
    enum state_fault fault;
    test_account_next(&account, REASON_ADD, &s);
    CHECK_UINT(add_one(&s), OK);
    CHECK_UINT(state_sign(account.crypto, &s, id_of(OLD),
                          &account.devices[MIDDLE].private_key, &out),
               OK);
    CHECK_UINT(state_read(buf_bytes(&out), &next), OK);
    CHECK_UINT(state_verify_next(account.crypto, &account.state,
                                 digest_bytes(&account.hash), &next, &fault),
               ERR_AUTH);
    CHECK_UINT(fault, FAULT_SIGNATURE);

    out.len = 0; /* a newcomer cannot add itself */
    CHECK_UINT(test_account_sign(&account, &s, MUTE + 1, &out), OK);
    CHECK_UINT(state_read(buf_bytes(&out), &next), OK);
    CHECK_UINT(state_verify_next(account.crypto, &account.state,
                                 digest_bytes(&account.hash), &next, &fault),
               ERR_INVALID);
    CHECK_UINT(fault, FAULT_SIGNER);
}

/* --- first states --- */

static void first_state_check(const struct state *s, size_t signer,
                              enum state_fault want)
{
    CLEANUP(buf_clear) struct buf out = buf_new(STATE_MAX);
    struct state got;
    enum state_fault fault;
    CHECK_UINT(test_account_sign(&account, s, signer, &out), OK);
    CHECK_UINT(state_read(buf_bytes(&out), &got), OK);
    enum err err = state_verify_first(account.crypto, &got, &fault);
    CHECK_UINT(fault, want);
    CHECK_UINT(err, want == FAULT_NONE ? OK : ERR_INVALID);
}

static void first_states_have_one_form(void)
{
    test_account_clear(&account);
    CHECK_UINT(test_account_new(&account, 1), OK);
    struct device extra;
    CHECK_UINT(test_device_new(&account, &extra), OK);
    struct state good = account.state;
    first_state_check(&good, 0, FAULT_NONE);
    first_state_check(&good, BY_RECOVERY, FAULT_SIGNER);
    first_state_check(&good, 1, FAULT_SIGNER);

    struct state s = good;
    s.version = 2;
    first_state_check(&s, 0, FAULT_VERSION);
    s = good;
    s.previous = LIT("hash a of thirty-two bytes......");
    first_state_check(&s, 0, FAULT_PREVIOUS);
    s = good;
    s.reason = REASON_ADD;
    first_state_check(&s, 0, FAULT_REASON);
    s = good;
    s.conflicts = LIT("hash a of thirty-two bytes......");
    first_state_check(&s, 0, FAULT_CONFLICTS);
    s = good;
    s.devices[0].may_authorise = false;
    first_state_check(&s, 0, FAULT_FORMAT);
    s = good;
    CHECK_UINT(state_add(&s, &extra), OK);
    first_state_check(&s, 0, FAULT_FORMAT);
    s = good;
    s.next_order = 3;
    first_state_check(&s, 0, FAULT_ORDER);
    s = good;
    s.recovery_key = s.devices[0].signature_key;
    first_state_check(&s, 0, FAULT_FORMAT);
}

/* --- the codec --- */

/* A list of the first device alone. */
static void device_has_its_form(struct reader *r)
{
    struct bytes after = reader_enter(r);
    CHECK_BYTES(reader_raw(r, 32), BYTES_ARRAY(account.devices[0].id));
    CHECK_BYTES(reader_raw(r, 32), BYTES_ARRAY(account.devices[0].public_key));
    CHECK_UINT(reader_u16(r), 0x647a);
    CHECK_BYTES(reader_vec(r), BYTES_ARRAY(account.devices[0].sealing_key));
    CHECK_UINT(reader_u8(r), 1);  /* may authorise */
    CHECK_UINT(reader_u32(r), 1); /* order */
    CHECK_BYTES(reader_vec(r), LIT("a name, encrypted"));
    reader_leave(r, after);
}

static void encoding_has_its_documented_form(void)
{
    test_account_clear(&account);
    CHECK_UINT(test_account_new(&account, 1), OK);
    struct reader r = reader_of(buf_bytes(&account.encoding));
    CHECK_UINT(reader_u8(&r), 1);  /* format */
    CHECK_UINT(reader_u64(&r), 1); /* version */
    static const uint8_t zeros[32];
    CHECK_BYTES(reader_raw(&r, 32), BYTES_ARRAY(zeros));
    CHECK_BYTES(reader_raw(&r, 32), BYTES_ARRAY(account.recovery_key[0]));
    CHECK_BYTES(reader_vec(&r), LIT("example.org:7470"));
    CHECK_BYTES(reader_raw(&r, 32), BYTES_ARRAY(account.server_key));
    CHECK_UINT(reader_u32(&r), 2); /* next_order */
    device_has_its_form(&r);
    CHECK_UINT(reader_u8(&r), REASON_NEW);
    CHECK_UINT(reader_vec(&r).len, 0); /* conflicts */
    CHECK_BYTES(reader_vec(&r), BYTES_ARRAY(account.devices[0].id));
    CHECK_UINT(reader_vec(&r).len, 64);
    CHECK_UINT(reader_finish(&r), OK);
}

static void no_prefix_is_a_state(void)
{
    CHECK_UINT(account_of_four(), OK);
    struct state s;
    for (size_t len = 0; len < account.encoding.len; len += 13) {
        struct bytes cut = {account.encoding.data, len};
        CHECK_UINT(state_read(cut, &s), ERR_MALFORMED);
    }
    CHECK_UINT(buf_extend(&account.encoding, 1), OK);
    CHECK_UINT(state_read(buf_bytes(&account.encoding), &s), ERR_MALFORMED);
}

/* Forms that no state may have, so that none can be signed either. */
static void malformed_states_are_neither_read_nor_signed(void)
{
    CHECK_UINT(account_of_four(), OK);
    static uint8_t many[(STATE_CONFLICTS_MAX + 1) * STATE_HASH_SIZE];
    static uint8_t name[DEVICE_NAME_MAX + 1];
    static uint8_t address[SERVER_ADDRESS_MAX + 1];
    for (size_t i = 0; i <= STATE_CONFLICTS_MAX; i++)
        many[i * STATE_HASH_SIZE] = (uint8_t)i;
    struct state bad[14];
    for (size_t i = 0; i < COUNT(bad); i++)
        test_account_next(&account, REASON_RECOVER, &bad[i]);
    bad[0].version = 0;
    bad[1].reason = 0;
    bad[2].reason = REASON_MOVE + 1;
    bad[3].server_address = (struct bytes){0};
    bad[4].server_address = BYTES_ARRAY(address);
    bad[5].device_count = 0;
    bad[6].devices[1].order = bad[6].devices[0].order;
    bad[7].next_order = bad[7].devices[3].order;
    bad[8].devices[1].id = bad[8].devices[0].id;
    bad[9].devices[1].signature_key = bad[9].devices[0].signature_key;
    bad[10].devices[1].sealing_key = bad[10].devices[0].sealing_key;
    bad[11].devices[1].sealing_kem = 0x0020;
    bad[12].devices[1].name = BYTES_ARRAY(name);
    bad[13].conflicts = LIT("hash b of thirty-two bytes......"
                            "hash a of thirty-two bytes......");
    for (size_t i = 0; i < COUNT(bad); i++) {
        CLEANUP(buf_clear) struct buf out = buf_new(STATE_MAX);
        CHECK_UINT(test_account_sign(&account, &bad[i], BY_RECOVERY, &out),
                   ERR_MALFORMED);
        CHECK_UINT(out.len, 0);
    }
    CLEANUP(buf_clear) struct buf out = buf_new(STATE_MAX);
    test_account_next(&account, REASON_RECOVER, &bad[0]);
    bad[0].conflicts = BYTES_ARRAY(many);
    CHECK_UINT(test_account_sign(&account, &bad[0], BY_RECOVERY, &out),
               ERR_LIMIT);
    bad[0].conflicts.len = 31;
    CHECK_UINT(test_account_sign(&account, &bad[0], BY_RECOVERY, &out),
               ERR_MALFORMED);
    account.encoding.data[0] = 2; /* format */
    CHECK_UINT(state_read(buf_bytes(&account.encoding), &bad[0]),
               ERR_MALFORMED);
}

static void devices_are_limited(void)
{
    test_account_clear(&account);
    CHECK_UINT(test_account_new(&account, 5), OK);
    struct state s;
    struct device d;
    test_account_next(&account, REASON_ADD, &s);
    for (size_t i = 1; i < STATE_DEVICES_MAX; i++) {
        CHECK_UINT(test_device_new(&account, &d), OK);
        CHECK_UINT(state_add(&s, &d), OK);
    }
    CLEANUP(buf_clear) struct buf out = buf_new(STATE_MAX);
    CHECK_UINT(test_account_sign(&account, &s, 0, &out), OK);
    CHECK_UINT(test_device_new(&account, &d), OK);
    CHECK_UINT(state_add(&s, &d), ERR_LIMIT);
    CHECK_UINT(s.device_count, STATE_DEVICES_MAX);
    CHECK_UINT(state_remove(&s, LIT("no such device")), ERR_NOTFOUND);
}

static void survives_each_allocation_failure(void)
{
    CHECK_UINT(account_of_four(), OK);
    enum err err = ERR_NOMEM;
    for (unsigned n = 0; err != OK; n++) {
        CLEANUP(buf_clear) struct buf out = buf_new(STATE_MAX);
        struct state s;
        mem_fail_after(n);
        err = change_make(&valid[3], &out);
        CHECK(err == OK || (err == ERR_NOMEM && out.len == 0));
        if (err == OK)
            err = state_read(buf_bytes(&out), &s);
        if (err == OK)
            err = state_verify_next(account.crypto, &account.state,
                                    digest_bytes(&account.hash), &s, NULL);
        CHECK(err == OK || err == ERR_NOMEM);
        CHECK(n < 100);
    }
    mem_fail_after(UINT_MAX); /* never */
    test_account_clear(&account);
}

static const struct test tests[] = {
    TEST(accepts_what_the_rules_allow),
    TEST(rejects_each_broken_rule),
    TEST(rejects_any_changed_byte),
    TEST(signature_must_be_the_named_signers),
    TEST(first_states_have_one_form),
    TEST(encoding_has_its_documented_form),
    TEST(no_prefix_is_a_state),
    TEST(malformed_states_are_neither_read_nor_signed),
    TEST(devices_are_limited),
    TEST(survives_each_allocation_failure),
};
TEST_MAIN(tests)
