/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/chain.h"

#include "base/mem.h"
#include "identity/test_account.h"
#include "test.h"

#include <limits.h>

#define LIST_MAX (16U << 20)

static struct test_account account;
static struct test_account stranger;

/* A state that is not pushed, as a list of one. */
static enum err one(struct state *s, size_t signer, struct buf *out_list)
{
    CLEANUP(buf_clear) struct buf encoding = buf_new(STATE_MAX);
    TRY(test_account_sign(&account, s, signer, &encoding));
    struct writer w = writer_to(out_list);
    writer_vec(&w, buf_bytes(&encoding));
    return writer_finish(&w);
}

static enum err push(struct state *s, size_t signer)
{
    CLEANUP(buf_clear) struct buf encoding = buf_new(STATE_MAX);
    TRY(test_account_sign(&account, s, signer, &encoding));
    return test_account_push(&account, buf_bytes(&encoding));
}

static enum err push_add(size_t signer)
{
    struct device d;
    struct state s;
    TRY(test_device_new(&account, &d));
    test_account_next(&account, REASON_ADD, &s);
    TRY(state_add(&s, &d));
    return push(&s, signer);
}

/* Devices 0, 1, 2; versions 1, 2, 3. */
static enum err account_of_three(void)
{
    test_account_clear(&account);
    TRY(test_account_new(&account, 7));
    TRY(push_add(0));
    return push_add(0);
}

static enum err extend(struct chain *c, struct bytes list,
                       enum chain_outcome *out)
{
    return chain_extend(account.crypto, c, list, out);
}

static void takes(struct chain *c, struct bytes list, enum chain_outcome want)
{
    enum chain_outcome outcome;
    CHECK_UINT(extend(c, list, &outcome), OK);
    CHECK_UINT(outcome, want);
}

/* --- random chains --- */

static uint32_t rnd(struct test_account *a, uint32_t below)
{
    struct random random = entropy_of(&a->seeded);
    uint8_t b[4];
    random_fill(&random, b, sizeof(b));
    uint32_t v = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 |
                 (uint32_t)b[2] << 8 | b[3];
    return v % below;
}

/* The index among all devices of a listed one. */
static size_t listed(const struct test_account *a, size_t at)
{
    return test_device_index(a, a->state.devices[at].id);
}

/* Removes some of the devices from `from` on, but never the last. */
static enum err remove_some(struct state *s, size_t from)
{
    size_t at = from;
    bool any = false;
    while (at < s->device_count && s->device_count > 1) {
        bool last_chance = at + 1 == s->device_count && !any;
        if (last_chance || rnd(&account, 2) == 0) {
            TRY(state_remove(s, s->devices[at].id));
            any = true;
        } else {
            at++;
        }
    }
    return OK;
}

/* Makes and pushes a valid state of a random kind. */
static enum err push_random(void)
{
    struct state s;
    struct device d;
    size_t at = rnd(&account, (uint32_t)account.state.device_count);
    size_t signer = rnd(&account, 4) == 0 ? BY_RECOVERY : listed(&account, at);
    enum state_reason reason =
        (enum state_reason)(REASON_ADD + rnd(&account, 5));
    bool can_remove = account.state.device_count > 1;

    if (reason == REASON_REVOKE && !can_remove)
        reason = REASON_ADD;
    if (reason == REASON_RECOVER || reason == REASON_ROTATE_RECOVERY)
        signer = BY_RECOVERY;
    test_account_next(&account, reason, &s);
    switch (reason) {
    case REASON_REVOKE:
        TRY(remove_some(&s, signer == BY_RECOVERY ? 0 : at));
        break;
    case REASON_RECOVER:
        if (can_remove)
            TRY(remove_some(&s, 0));
        break;
    case REASON_ROTATE_RECOVERY:
        s.recovery_key = BYTES_ARRAY(account.recovery_key[1]);
        break;
    case REASON_MOVE:
        s.server_address =
            s.server_address.data[0] == 'e' ? LIT("b.org:1") : LIT("example:2");
        break;
    case REASON_NEW:
    case REASON_ADD:
        TRY(test_device_new(&account, &d));
        TRY(state_add(&s, &d));
        break;
    }
    TRY(push(&s, signer));
    if (reason == REASON_ROTATE_RECOVERY)
        test_account_rotate(&account);
    return OK;
}

/* Feeds a list in pieces of random size, some of them twice. */
static enum err feed(struct chain *c, struct bytes list)
{
    struct reader r = reader_of(list);
    while (reader_more(&r)) {
        CLEANUP(buf_clear) struct buf piece = buf_new(LIST_MAX);
        struct writer w = writer_to(&piece);
        enum chain_outcome outcome;
        for (uint32_t n = 1 + rnd(&account, 4); n > 0 && reader_more(&r); n--)
            writer_vec(&w, reader_vec(&r));
        TRY(writer_finish(&w));
        TRY(extend(c, buf_bytes(&piece), &outcome));
        if (outcome != CHAIN_EXTENDED)
            return ERR_INVALID;
        TRY(extend(c, buf_bytes(&piece), &outcome));
        if (outcome != CHAIN_KNOWN)
            return ERR_INVALID;
    }
    return OK;
}

/* Saves the account's chain and loads it again. */
static void comes_back(const struct chain *c)
{
    CLEANUP(chain_free) struct chain *loaded = NULL;
    CLEANUP(buf_clear) struct buf list = buf_new(LIST_MAX);
    CLEANUP(buf_clear) struct buf saved = buf_new(LIST_MAX);
    CHECK_UINT(chain_save(c, &saved), OK);
    CHECK_UINT(chain_load(account.crypto, buf_bytes(&saved), &loaded), OK);
    CHECK_UINT(chain_list(loaded, 1, &list), OK);
    CHECK_BYTES(buf_bytes(&list), buf_bytes(&account.list));
    CHECK_BYTES(chain_hash(loaded, 25), chain_hash(c, 25));
}

static void random_chain(uint64_t seed)
{
    CLEANUP(chain_free) struct chain *c = NULL;
    CLEANUP(buf_clear) struct buf list = buf_new(LIST_MAX);
    struct digest id;

    test_account_clear(&account);
    CHECK_UINT(test_account_new(&account, seed), OK);
    CHECK_UINT(account_id(account.crypto, buf_bytes(&account.encoding), &id),
               OK);
    for (int i = 0; i < 24; i++)
        CHECK_UINT(push_random(), OK);

    CHECK_UINT(chain_create(digest_bytes(&id), &c), OK);
    CHECK_UINT(feed(c, buf_bytes(&account.list)), OK);
    CHECK_UINT(chain_version(c), 25);
    CHECK(!chain_frozen(c));
    CHECK_BYTES(chain_account_id(c), digest_bytes(&id));
    CHECK_BYTES(chain_hash(c, 25), digest_bytes(&account.hash));
    CHECK_BYTES(chain_encoding(c, 25), buf_bytes(&account.encoding));
    CHECK_UINT(chain_newest(c)->device_count, account.state.device_count);
    CHECK_UINT(chain_list(c, 1, &list), OK);
    CHECK_BYTES(buf_bytes(&list), buf_bytes(&account.list));

    comes_back(c);
}

static void valid_chains_are_accepted(void)
{
    for (uint64_t seed = 1; seed <= 30; seed++)
        random_chain(seed);
}

/* --- broken chains --- */

#define STATES_MAX 16U

/* Splits a list into its states, which stay in it. */
static size_t split(struct bytes list, struct bytes out[STATES_MAX])
{
    struct reader r = reader_of(list);
    size_t count = 0;
    while (reader_more(&r) && count < STATES_MAX)
        out[count++] = reader_vec(&r);
    return count;
}

static enum err join(const struct bytes *states, size_t count, struct buf *out)
{
    struct writer w = writer_to(out);
    for (size_t i = 0; i < count; i++)
        writer_vec(&w, states[i]);
    return writer_finish(&w);
}

/* Expects a fresh chain to take nothing of the list. */
static void refused(struct bytes list)
{
    CLEANUP(chain_free) struct chain *c = NULL;
    enum chain_outcome outcome;
    CHECK_UINT(chain_create((struct bytes){0}, &c), OK);
    CHECK(extend(c, list, &outcome) != OK);
    CHECK_UINT(chain_version(c), 0);
    CHECK_UINT(chain_account_id(c).len, 0);
}

static void any_flipped_bit_is_found(void)
{
    test_account_clear(&account);
    CHECK_UINT(test_account_new(&account, 99), OK);
    for (int i = 0; i < 4; i++)
        CHECK_UINT(push_random(), OK);
    struct buf *list = &account.list;
    for (size_t at = 0; at < list->len; at += 1 + rnd(&account, 60)) {
        uint8_t bit = (uint8_t)(1U << rnd(&account, 8));
        list->data[at] ^= bit;
        refused(buf_bytes(list));
        list->data[at] ^= bit;
    }
}

static void states_left_out_or_exchanged_are_found(void)
{
    test_account_clear(&account);
    CHECK_UINT(test_account_new(&account, 98), OK);
    for (int i = 0; i < 8; i++)
        CHECK_UINT(push_random(), OK);
    struct bytes states[STATES_MAX] = {0};
    size_t count = split(buf_bytes(&account.list), states);
    CHECK_UINT(count, 9);
    for (size_t i = 0; i + 1 < count; i++) {
        CLEANUP(buf_clear) struct buf list = buf_new(LIST_MAX);
        struct bytes swap = states[i];
        states[i] = states[i + 1];
        states[i + 1] = swap;
        CHECK_UINT(join(states, count, &list), OK);
        refused(buf_bytes(&list));
        states[i + 1] = states[i];
        states[i] = swap;
        list.len = 0;
        CHECK_UINT(join(states, i, &list), OK); /* without this one */
        CHECK_UINT(join(states + i + 1, count - i - 1, &list), OK);
        refused(buf_bytes(&list));
    }
}

static void other_accounts_states_do_not_fit(void)
{
    CLEANUP(chain_free) struct chain *c = NULL;
    enum chain_outcome outcome;
    CHECK_UINT(account_of_three(), OK);
    test_account_clear(&stranger);
    CHECK_UINT(test_account_new(&stranger, 8), OK);
    CHECK_UINT(chain_create((struct bytes){0}, &c), OK);
    CHECK_UINT(extend(c, buf_bytes(&account.list), &outcome), OK);
    CHECK_UINT(extend(c, buf_bytes(&stranger.list), &outcome), ERR_INVALID);
    CHECK_UINT(chain_version(c), 3);
    CHECK(!chain_frozen(c)); /* it proves nothing about this account */
    test_account_clear(&stranger);
}

static void states_must_reach_what_is_known(void)
{
    CLEANUP(chain_free) struct chain *c = NULL;
    CLEANUP(buf_clear) struct buf list = buf_new(LIST_MAX);
    struct bytes states[STATES_MAX] = {0};
    enum chain_outcome outcome;
    CHECK_UINT(account_of_three(), OK);
    CHECK_UINT(chain_create((struct bytes){0}, &c), OK);
    CHECK_UINT(split(buf_bytes(&account.list), states), 3);
    CHECK_UINT(join(states + 1, 2, &list), OK);
    CHECK_UINT(extend(c, buf_bytes(&list), &outcome), ERR_STATE);
    takes(c, (struct bytes){0}, CHAIN_KNOWN);
}

/* A revoked device, or one with one of its keys, never joins again. */
static void revoked_devices_never_return(void)
{
    CHECK_UINT(account_of_three(), OK);
    struct state s;
    test_account_next(&account, REASON_REVOKE, &s);
    CHECK_UINT(state_remove(&s, BYTES_ARRAY(account.devices[2].id)), OK);
    CHECK_UINT(push(&s, 0), OK);
    CHECK_UINT(push_add(0), OK); /* so it was not just before */

    struct device fresh;
    CHECK_UINT(test_device_new(&account, &fresh), OK);
    struct device old = test_device_of(&account, 2);
    struct device back[4] = {old, fresh, fresh, fresh};
    back[1].id = old.id;
    back[2].signature_key = old.signature_key;
    back[3].sealing_key = old.sealing_key;
    for (size_t i = 0; i < COUNT(back); i++) {
        CLEANUP(chain_free) struct chain *c = NULL;
        CLEANUP(buf_clear) struct buf next = buf_new(LIST_MAX);
        enum chain_outcome outcome;
        test_account_next(&account, REASON_ADD, &s);
        CHECK_UINT(state_add(&s, &back[i]), OK);
        CHECK_UINT(one(&s, 0, &next), OK);
        CHECK_UINT(chain_create((struct bytes){0}, &c), OK);
        CHECK_UINT(extend(c, buf_bytes(&account.list), &outcome), OK);
        CHECK_UINT(extend(c, buf_bytes(&next), &outcome), ERR_INVALID);
        CHECK_UINT(chain_fault(c), FAULT_RETURNED);
        CHECK_UINT(chain_version(c), 5);
    }
}

/* --- forks --- */

struct fork {
    struct chain *c;
    struct buf rival; /* a list: another state 3, by device 1 */
    struct buf rest;  /* a list, for the test */
};

static void fork_clear(struct fork *f)
{
    chain_free(&f->c);
    buf_clear(&f->rival);
    buf_clear(&f->rest);
}

/* A chain of versions 1 to 3, and a rival of version 3, signed by device 1. */
static enum err fork_new(struct fork *f)
{
    enum chain_outcome outcome;
    struct device d;
    struct state s;
    f->rival = buf_new(LIST_MAX);
    f->rest = buf_new(LIST_MAX);
    test_account_clear(&account);
    TRY(test_account_new(&account, 7));
    TRY(push_add(0));
    TRY(test_device_new(&account, &d));
    test_account_next(&account, REASON_ADD, &s);
    TRY(state_add(&s, &d));
    TRY(one(&s, 1, &f->rival));
    TRY(push_add(0));
    TRY(chain_create((struct bytes){0}, &f->c));
    return extend(f->c, buf_bytes(&account.list), &outcome);
}

/* Has the recovery key name both sides on top of ours; device 1 goes. */
static enum err push_recovery(struct bytes conflicts)
{
    struct state s;
    test_account_next(&account, REASON_RECOVER, &s);
    s.conflicts = conflicts;
    TRY(state_remove(&s, BYTES_ARRAY(account.devices[1].id)));
    return push(&s, BY_RECOVERY);
}

static void a_fork_freezes_until_recovery_names_both(void)
{
    CLEANUP(fork_clear) struct fork f = {0};
    CLEANUP(buf_clear) struct buf conflicts = buf_new(1024);
    CHECK_UINT(fork_new(&f), OK);
    takes(f.c, buf_bytes(&f.rival), CHAIN_FORKED);
    CHECK(chain_frozen(f.c));
    takes(f.c, buf_bytes(&f.rival), CHAIN_FROZEN);

    CHECK_UINT(push_add(0), OK); /* a new device is not accepted */
    takes(f.c, buf_bytes(&account.list), CHAIN_FROZEN);
    CHECK_UINT(chain_version(f.c), 3);

    CHECK_UINT(push_recovery((struct bytes){0}), OK); /* names nothing */
    takes(f.c, buf_bytes(&account.list), CHAIN_FROZEN);
    CHECK_UINT(chain_version(f.c), 3);

    CHECK_UINT(chain_conflicts(f.c, &conflicts), OK);
    CHECK_UINT(conflicts.len, 2 * (size_t)STATE_HASH_SIZE);
    struct state s;
    test_account_next(&account, REASON_RECOVER, &s);
    s.conflicts = buf_bytes(&conflicts);
    CHECK_UINT(push(&s, BY_RECOVERY), OK);
    takes(f.c, buf_bytes(&account.list), CHAIN_RESOLVED);
    CHECK(!chain_frozen(f.c));
    CHECK_UINT(chain_version(f.c), 6);

    takes(f.c, buf_bytes(&f.rival), CHAIN_KNOWN); /* that was dealt with */
}

/* Who saw the thief's side first comes over to the owner's. */
static void recovery_wins_over_the_other_side(void)
{
    CLEANUP(fork_clear) struct fork f = {0};
    CLEANUP(chain_free) struct chain *other = NULL;
    CLEANUP(buf_clear) struct buf conflicts = buf_new(1024);
    struct bytes states[STATES_MAX] = {0};
    enum chain_outcome outcome;
    CHECK_UINT(fork_new(&f), OK);
    CHECK_UINT(split(buf_bytes(&account.list), states), 3);
    CHECK_UINT(join(states, 2, &f.rest), OK);
    CHECK_UINT(chain_create((struct bytes){0}, &other), OK);
    CHECK_UINT(extend(other, buf_bytes(&f.rest), &outcome), OK);
    takes(other, buf_bytes(&f.rival), CHAIN_EXTENDED);

    CHECK_UINT(extend(f.c, buf_bytes(&f.rival), &outcome), OK);
    CHECK_UINT(chain_conflicts(f.c, &conflicts), OK);
    CHECK_UINT(push_recovery(buf_bytes(&conflicts)), OK);
    takes(other, buf_bytes(&account.list), CHAIN_RESOLVED);
    CHECK_UINT(chain_version(other), 4);
    CHECK_BYTES(chain_hash(other, 4), digest_bytes(&account.hash));
}

/* A device that recovery removed cannot freeze the account again. */
static void old_keys_cannot_freeze_for_ever(void)
{
    CLEANUP(fork_clear) struct fork f = {0};
    CHECK_UINT(fork_new(&f), OK);
    CHECK_UINT(push_recovery((struct bytes){0}), OK); /* knows of no fork */
    takes(f.c, buf_bytes(&account.list), CHAIN_EXTENDED);
    takes(f.c, buf_bytes(&f.rival), CHAIN_KNOWN);
    CHECK(!chain_frozen(f.c));
}

static void invalid_rivals_prove_nothing(void)
{
    CLEANUP(fork_clear) struct fork f = {0};
    enum chain_outcome outcome;
    CHECK_UINT(fork_new(&f), OK);
    f.rival.data[f.rival.len - 1] ^= 1; /* its signature */
    CHECK(extend(f.c, buf_bytes(&f.rival), &outcome) != OK);
    CHECK(!chain_frozen(f.c));
}

static void freezing_survives_saving(void)
{
    CLEANUP(fork_clear) struct fork f = {0};
    CLEANUP(chain_free) struct chain *loaded = NULL;
    CLEANUP(buf_clear) struct buf saved = buf_new(LIST_MAX);
    CLEANUP(buf_clear) struct buf again = buf_new(LIST_MAX);
    enum chain_outcome outcome;
    CHECK_UINT(fork_new(&f), OK);
    CHECK_UINT(extend(f.c, buf_bytes(&f.rival), &outcome), OK);
    CHECK_UINT(chain_save(f.c, &saved), OK);
    CHECK_UINT(chain_load(account.crypto, buf_bytes(&saved), &loaded), OK);
    CHECK(chain_frozen(loaded));
    CHECK_UINT(chain_save(loaded, &again), OK);
    CHECK_BYTES(buf_bytes(&again), buf_bytes(&saved));

    for (size_t len = 0; len < saved.len; len += 29) {
        CLEANUP(chain_free) struct chain *cut = NULL;
        CHECK_UINT(
            chain_load(account.crypto, (struct bytes){saved.data, len}, &cut),
            ERR_MALFORMED);
    }
}

/* --- leaves --- */

static void leaves_must_be_listed_devices(void)
{
    CLEANUP(chain_free) struct chain *c = NULL;
    enum chain_outcome outcome;
    const struct device *d = NULL;
    CHECK_UINT(account_of_three(), OK);
    CHECK_UINT(chain_create((struct bytes){0}, &c), OK);
    CHECK_UINT(extend(c, buf_bytes(&account.list), &outcome), OK);
    struct bytes key[3];
    for (size_t i = 0; i < 3; i++)
        key[i] = BYTES_ARRAY(account.devices[i].public_key);

    struct bytes hash3 = chain_hash(c, 3);
    CHECK_UINT(chain_leaf_check(c, 3, hash3, key[2], &d), OK);
    CHECK_BYTES(d->id, BYTES_ARRAY(account.devices[2].id));
    CHECK_UINT(chain_leaf_check(c, 2, chain_hash(c, 2), key[1], &d), OK);

    /* a device that joined later, another hash, no device, no such state */
    CHECK_UINT(chain_leaf_check(c, 2, chain_hash(c, 2), key[2], &d),
               ERR_INVALID);
    CHECK_UINT(chain_leaf_check(c, 3, chain_hash(c, 2), key[0], &d),
               ERR_INVALID);
    CHECK_UINT(
        chain_leaf_check(c, 3, hash3, BYTES_ARRAY(account.recovery_key[0]), &d),
        ERR_INVALID);
    CHECK_UINT(chain_leaf_check(c, 4, hash3, key[0], &d), ERR_NOTFOUND);
    CHECK_UINT(chain_leaf_check(c, 0, hash3, key[0], &d), ERR_NOTFOUND);
}

static void survives_each_allocation_failure(void)
{
    CHECK_UINT(account_of_three(), OK);
    enum err err = ERR_NOMEM;
    for (unsigned n = 0; err != OK; n++) {
        CLEANUP(chain_free) struct chain *c = NULL;
        enum chain_outcome outcome;
        mem_fail_after(n);
        err = chain_create((struct bytes){0}, &c);
        if (err == OK)
            err = extend(c, buf_bytes(&account.list), &outcome);
        CHECK(err == OK || err == ERR_NOMEM);
        CHECK(err == OK || c == NULL || chain_version(c) == 0);
        CHECK(n < 100);
    }
    mem_fail_after(UINT_MAX); /* never */
    test_account_clear(&account);
}

static const struct test tests[] = {
    TEST(valid_chains_are_accepted),
    TEST(any_flipped_bit_is_found),
    TEST(states_left_out_or_exchanged_are_found),
    TEST(other_accounts_states_do_not_fit),
    TEST(states_must_reach_what_is_known),
    TEST(revoked_devices_never_return),
    TEST(a_fork_freezes_until_recovery_names_both),
    TEST(recovery_wins_over_the_other_side),
    TEST(old_keys_cannot_freeze_for_ever),
    TEST(invalid_rivals_prove_nothing),
    TEST(freezing_survives_saving),
    TEST(leaves_must_be_listed_devices),
    TEST(survives_each_allocation_failure),
};
TEST_MAIN(tests)
