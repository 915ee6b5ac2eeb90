/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two ways to attack a chain. An input that begins with an even byte is taken
 * as stored chains and as lists of states, as they are. Otherwise it is a
 * program, two bytes a step, that makes states with the account's own keys
 * (which no mutation of bytes would ever sign) and offers them to a chain.
 */
#include "identity/test_account.h"

#include <assert.h>
#include <string.h>

#ifndef PLANTED_BUG
#define PLANTED_BUG 0 /* 1: the fault that scripts/fuzz must find */
#endif

#define DEVICES   8U
#define STEPS_MAX 40U

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct test_account account;

/* What the last accepted states must have left behind. */
struct model {
    uint64_t version;
    bool gone[DEVICES];   /* has been revoked */
    bool listed[DEVICES]; /* in the newest state */
    uint8_t recovery_key[STATE_KEY_SIZE];
    size_t rotations;
};

/* --- bytes as they are --- */

static void raw(struct bytes b)
{
    CLEANUP(chain_free) struct chain *c = NULL;
    CLEANUP(chain_free) struct chain *loaded = NULL;
    CLEANUP(buf_clear) struct buf saved = buf_new(2 * b.len + 64);
    enum chain_outcome outcome;
    assert(chain_create((struct bytes){0}, &c) == OK);
    if (chain_extend(account.crypto, c, b, &outcome) == OK)
        assert(chain_version(c) == 0 || chain_newest(c) != NULL);
    if (chain_load(account.crypto, b, &loaded) == OK) {
        assert(chain_save(loaded, &saved) == OK);
        assert(bytes_equal(buf_bytes(&saved), b));
    }
}

/* --- programs --- */

static void account_start(void)
{
    static struct buf first;
    if (account.crypto == NULL) {
        struct device d;
        assert(test_account_new(&account, 1) == OK);
        while (account.device_count < DEVICES)
            assert(test_device_new(&account, &d) == OK);
        first = buf_new(STATE_MAX);
        assert(buf_copy(&first, buf_bytes(&account.encoding)) == OK);
    }
    if (!bytes_equal(BYTES_ARRAY(account.recovery_key[0]),
                     account.state.recovery_key) ||
        account.state.version != 1) {
        buf_truncate(&account.list, 0);
        assert(test_account_push(&account, buf_bytes(&first)) == OK);
    }
    if (!bytes_equal(BYTES_ARRAY(account.recovery_key[0]),
                     account.state.recovery_key))
        test_account_rotate(&account);
}

/* Makes a change that may well be against the rules. */
static enum err change(struct state *s, uint8_t op, size_t device)
{
    struct device d = test_device_of(&account, device);
    d.may_authorise = (op & 0x40) == 0;
    switch (op & 7) {
    case 0:
    case 1:
        return state_add(s, &d);
    case 2:
    case 3:
        return s->device_count > 1 ? state_remove(s, d.id) : ERR_NOTFOUND;
    case 4:
        s->recovery_key = BYTES_ARRAY(account.recovery_key[1]);
        return OK;
    case 5:
        s->server_address = BYTES_LIT("other:1");
        return OK;
    case 6:
        s->version++;
        return OK;
    default:
        s->next_order++;
        return OK;
    }
}

/* After a state was taken: nobody who had gone is back, and only the recovery
 * key has changed the recovery key. */
static void model_advance(struct model *m, const struct state *s)
{
    assert(s->version == m->version + 1);
    m->version = s->version;
    for (size_t i = 0; i < DEVICES; i++) {
        bool listed = state_device(s, test_device_of(&account, i).id) != NULL;
        assert(!listed || !m->gone[i]);
        m->gone[i] |= m->listed[i] && !listed;
        m->listed[i] = listed;
    }
    if (!bytes_equal(BYTES_ARRAY(m->recovery_key), s->recovery_key)) {
        assert(s->signer.len == 0);
        memcpy(m->recovery_key, s->recovery_key.data, STATE_KEY_SIZE);
        m->rotations++;
    }
    assert(!PLANTED_BUG || m->rotations == 0 || s->reason != REASON_REVOKE);
}

/* False when the chain went over to another branch: the model ends there. */
static bool offer(struct chain *c, struct model *m, struct bytes encoding)
{
    CLEANUP(buf_clear) struct buf list = buf_new(STATE_MAX + 8);
    struct writer w = writer_to(&list);
    enum chain_outcome outcome = CHAIN_KNOWN;
    bool frozen = chain_frozen(c);
    writer_vec(&w, encoding);
    assert(writer_finish(&w) == OK);
    enum err err = chain_extend(account.crypto, c, buf_bytes(&list), &outcome);
    if (err == OK && outcome == CHAIN_RESOLVED)
        return false;
    if (err != OK || outcome != CHAIN_EXTENDED) {
        assert(chain_version(c) == m->version);
        assert(err == OK || chain_frozen(c) == frozen);
        return true;
    }
    assert(!frozen);
    assert(bytes_equal(chain_encoding(c, chain_version(c)), encoding));
    model_advance(m, chain_newest(c));
    assert(test_account_push(&account, encoding) == OK);
    if (!bytes_equal(BYTES_ARRAY(account.recovery_key[0]),
                     account.state.recovery_key))
        test_account_rotate(&account);
    return true;
}

/* op: the change (bits 0-2, 6), whether to sign by recovery (3), whether to
 * make a rival of the newest (4), whether the reason fits (5). arg: device,
 * signer. */
static bool step(struct chain *c, struct model *m, uint8_t op, uint8_t arg)
{
    static const enum state_reason fitting[] = {
        REASON_ADD,
        REASON_ADD,
        REASON_REVOKE,
        REASON_REVOKE,
        REASON_ROTATE_RECOVERY,
        REASON_MOVE,
        REASON_ADD,
        REASON_ADD,
    };
    CLEANUP(buf_clear) struct buf out = buf_new(STATE_MAX);
    CLEANUP(buf_clear) struct buf conflicts = buf_new(STATE_MAX);
    struct state s;
    enum state_reason reason =
        (op & 0x20) == 0 ? fitting[op & 7] : (enum state_reason)(1 + arg % 6);
    size_t signer = (op & 0x08) != 0 ? BY_RECOVERY : arg >> 4 & (DEVICES - 1);

    if ((op & 0x10) != 0 && m->version > 1)
        state_next(chain_state(c, m->version - 1),
                   chain_hash(c, m->version - 1), reason, &s);
    else
        test_account_next(&account, reason, &s);
    if (change(&s, op, arg & (DEVICES - 1)) != OK)
        return true;
    if (reason == REASON_RECOVER) {
        assert(chain_conflicts(c, &conflicts) == OK);
        s.conflicts = buf_bytes(&conflicts);
    }
    return test_account_sign(&account, &s, signer, &out) != OK ||
           offer(c, m, buf_bytes(&out));
}

static void run(struct bytes program)
{
    CLEANUP(chain_free) struct chain *c = NULL;
    CLEANUP(buf_clear) struct buf saved = buf_new(8U << 20);
    struct model m = {.version = 1, .listed = {true}};
    enum chain_outcome outcome;
    memcpy(m.recovery_key, account.recovery_key[0], STATE_KEY_SIZE);
    assert(chain_create((struct bytes){0}, &c) == OK);
    assert(chain_extend(account.crypto, c, buf_bytes(&account.list),
                        &outcome) == OK);
    for (size_t i = 0; i + 1 < program.len && i / 2 < STEPS_MAX; i += 2) {
        if (!step(c, &m, program.data[i], program.data[i + 1]))
            break;
    }
    assert(chain_save(c, &saved) == OK);
    raw(buf_bytes(&saved));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    account_start();
    if (size == 0)
        return 0;
    struct bytes rest = {data + 1, size - 1};
    if (data[0] % 2 == 0)
        raw(rest);
    else
        run(rest);
    return 0;
}
