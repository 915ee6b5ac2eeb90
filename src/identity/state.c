/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/state.h"

#include "crypto/kem.h"
#include "crypto/sign.h"

#include <assert.h>
#include <string.h>

static const uint8_t zeros[STATE_HASH_SIZE];

const char *state_fault_text(enum state_fault fault)
{
    static const char *const texts[] = {
        [FAULT_NONE] = "no fault",
        [FAULT_FORMAT] = "a first state or key is not well formed",
        [FAULT_VERSION] = "the version does not follow",
        [FAULT_PREVIOUS] = "the previous state is another one",
        [FAULT_SIGNER] = "the signer may not sign this",
        [FAULT_SIGNATURE] = "the signature is wrong",
        [FAULT_REASON] = "the reason does not fit the change",
        [FAULT_DEVICE] = "a device was changed",
        [FAULT_ORDER] = "the order of joining is wrong",
        [FAULT_SENIORITY] = "a device revokes an older one",
        [FAULT_CONFLICTS] = "conflicts are named where there can be none",
        [FAULT_RETURNED] = "a revoked device or key is back",
    };
    return texts[fault];
}

/* --- codec --- */

static bool kem_known(uint16_t kem) { return kem == KEM_XWING; }

static void device_read(struct reader *r, struct device *d)
{
    d->id = reader_raw(r, STATE_ID_SIZE);
    d->signature_key = reader_raw(r, STATE_KEY_SIZE);
    d->sealing_kem = reader_u16(r);
    d->sealing_key = reader_vec(r);
    uint8_t may = reader_u8(r);
    d->may_authorise = may == 1;
    d->order = reader_u32(r);
    d->name = reader_vec(r);
    if (!kem_known(d->sealing_kem) || may > 1 ||
        d->sealing_key.len != kem_public_size(KEM_XWING) ||
        d->name.len > DEVICE_NAME_MAX)
        reader_fail(r, ERR_MALFORMED);
}

static void device_write(struct writer *w, const struct device *d)
{
    writer_raw(w, d->id);
    writer_raw(w, d->signature_key);
    writer_u16(w, d->sealing_kem);
    writer_vec(w, d->sealing_key);
    writer_u8(w, d->may_authorise ? 1 : 0);
    writer_u32(w, d->order);
    writer_vec(w, d->name);
}

static bool shares_a_key(const struct device *a, const struct device *b)
{
    return bytes_equal(a->id, b->id) ||
           bytes_equal(a->signature_key, b->signature_key) ||
           bytes_equal(a->sealing_key, b->sealing_key);
}

/* Reads the list; each device is younger than the one before, older than the
 * next that will join, and shares nothing with another. */
static void devices_read(struct reader *r, struct state *s)
{
    struct bytes after = reader_enter(r);
    uint32_t last = 0;
    while (reader_more(r)) {
        if (s->device_count == STATE_DEVICES_MAX) {
            reader_fail(r, ERR_LIMIT);
            break;
        }
        struct device *d = &s->devices[s->device_count];
        device_read(r, d);
        if (d->order <= last || d->order >= s->next_order)
            reader_fail(r, ERR_MALFORMED);
        last = d->order;
        for (size_t i = 0; i < s->device_count; i++) {
            if (shares_a_key(d, &s->devices[i]))
                reader_fail(r, ERR_MALFORMED);
        }
        s->device_count++;
    }
    reader_leave(r, after);
    if (s->device_count == 0)
        reader_fail(r, ERR_MALFORMED);
}

/* Hashes in strictly rising order: one encoding per set. */
static void conflicts_read(struct reader *r, struct state *s)
{
    s->conflicts = reader_vec(r);
    if (s->conflicts.len > STATE_CONFLICTS_MAX * (size_t)STATE_HASH_SIZE)
        reader_fail(r, ERR_LIMIT);
    struct reader in = reader_of(s->conflicts);
    struct bytes last = {0};
    while (reader_more(&in)) {
        struct bytes hash = reader_raw(&in, STATE_HASH_SIZE);
        if (bytes_compare(last, hash) >= 0)
            reader_fail(r, ERR_MALFORMED);
        last = hash;
    }
    if (reader_finish(&in) != OK)
        reader_fail(r, ERR_MALFORMED);
}

static void body_read(struct reader *r, struct state *s)
{
    if (reader_u8(r) != STATE_FORMAT)
        reader_fail(r, ERR_MALFORMED);
    s->version = reader_u64(r);
    s->previous = reader_raw(r, STATE_HASH_SIZE);
    s->recovery_key = reader_raw(r, STATE_KEY_SIZE);
    s->server_address = reader_vec(r);
    s->server_key = reader_raw(r, STATE_KEY_SIZE);
    s->next_order = reader_u32(r);
    devices_read(r, s);
    s->reason = reader_u8(r);
    conflicts_read(r, s);
    s->signer = reader_vec(r);
    if (s->version == 0 || s->server_address.len == 0 ||
        s->server_address.len > SERVER_ADDRESS_MAX || s->reason < REASON_NEW ||
        s->reason > REASON_MOVE ||
        (s->signer.len != 0 && s->signer.len != STATE_ID_SIZE))
        reader_fail(r, ERR_MALFORMED);
}

enum err state_read(struct bytes encoding, struct state *out)
{
    if (encoding.len > STATE_MAX)
        return ERR_LIMIT;
    struct reader r = reader_of(encoding);
    struct state s = {0};
    body_read(&r, &s);
    s.tbs = (struct bytes){encoding.data, encoding.len - r.rest.len};
    s.signature = reader_vec(&r);
    TRY(reader_finish(&r));
    *out = s;
    return OK;
}

static void body_write(struct writer *w, const struct state *s)
{
    writer_u8(w, STATE_FORMAT);
    writer_u64(w, s->version);
    writer_raw(w, s->previous);
    writer_raw(w, s->recovery_key);
    writer_vec(w, s->server_address);
    writer_raw(w, s->server_key);
    writer_u32(w, s->next_order);
    size_t start = writer_enter(w);
    for (size_t i = 0; i < s->device_count; i++)
        device_write(w, &s->devices[i]);
    writer_leave(w, start);
    writer_u8(w, s->reason);
    writer_vec(w, s->conflicts);
    writer_vec(w, s->signer);
}

enum err state_hash(struct crypto *c, struct bytes encoding, struct digest *out)
{
    return label_hash(c, LABEL_STATE_HASH, PARTS(encoding), out);
}

enum err account_id(struct crypto *c, struct bytes first_encoding,
                    struct digest *out)
{
    return label_hash(c, LABEL_ACCOUNT, PARTS(first_encoding), out);
}

const struct device *state_device(const struct state *s, struct bytes id)
{
    for (size_t i = 0; i < s->device_count; i++) {
        if (bytes_equal(s->devices[i].id, id))
            return &s->devices[i];
    }
    return NULL;
}

const struct device *state_device_of_key(const struct state *s,
                                         struct bytes signature_key)
{
    for (size_t i = 0; i < s->device_count; i++) {
        if (bytes_equal(s->devices[i].signature_key, signature_key))
            return &s->devices[i];
    }
    return NULL;
}

/* --- rules --- */

/* Whether something must change, may, or must stay. */
enum change {
    STAYS,
    MAY,
    MUST
};

/* What each reason stands for, and whether only the recovery key signs it. */
static const struct rule {
    bool recovery_only;
    enum change added;
    enum change removed;
    enum change recovery;
    enum change server;
    enum change conflicts;
} rules[] = {
    [REASON_NEW] = {false, STAYS, STAYS, STAYS, STAYS, STAYS},
    [REASON_ADD] = {false, MUST, STAYS, STAYS, STAYS, STAYS},
    [REASON_REVOKE] = {false, STAYS, MUST, STAYS, STAYS, STAYS},
    [REASON_RECOVER] = {true, MAY, MAY, MAY, STAYS, MAY},
    [REASON_ROTATE_RECOVERY] = {true, STAYS, STAYS, MUST, STAYS, STAYS},
    [REASON_MOVE] = {false, STAYS, STAYS, STAYS, MUST, STAYS},
};

static bool fits(enum change rule, bool changed)
{
    return rule == MAY || (rule == MUST) == changed;
}

static bool device_equal(const struct device *a, const struct device *b)
{
    return bytes_equal(a->id, b->id) &&
           bytes_equal(a->signature_key, b->signature_key) &&
           a->sealing_kem == b->sealing_kem &&
           bytes_equal(a->sealing_key, b->sealing_key) &&
           a->may_authorise == b->may_authorise && a->order == b->order &&
           bytes_equal(a->name, b->name);
}

/* The difference of two states. */
struct diff {
    size_t added;
    size_t removed;
    uint32_t oldest_removed; /* its order of joining */
    enum state_fault fault;
};

static struct diff diff_of(const struct state *prev, const struct state *next)
{
    struct diff d = {.oldest_removed = UINT32_MAX};

    for (size_t i = 0; i < prev->device_count; i++) {
        const struct device *was = &prev->devices[i];
        const struct device *is = state_device(next, was->id);
        if (is != NULL && !device_equal(was, is))
            d.fault = FAULT_DEVICE;
        if (is == NULL) {
            d.removed++;
            if (was->order < d.oldest_removed)
                d.oldest_removed = was->order;
        }
    }
    for (size_t i = 0; i < next->device_count; i++) {
        const struct device *is = &next->devices[i];
        if (state_device(prev, is->id) != NULL)
            continue;
        if (is->order != prev->next_order + d.added)
            d.fault = FAULT_ORDER;
        d.added++;
    }
    if (next->next_order != prev->next_order + d.added)
        d.fault = FAULT_ORDER;
    return d;
}

/* Finds the key that signs `next`, and checks that it may do what it does. */
static enum state_fault signer_check(const struct state *prev,
                                     const struct state *next,
                                     const struct diff *d,
                                     struct bytes *out_key)
{
    if (next->signer.len == 0) {
        *out_key = prev->recovery_key;
        return FAULT_NONE;
    }
    const struct device *signer = state_device(prev, next->signer);
    if (signer == NULL || !signer->may_authorise ||
        rules[next->reason].recovery_only)
        return FAULT_SIGNER;
    if (d->oldest_removed < signer->order)
        return FAULT_SENIORITY;
    *out_key = signer->signature_key;
    return FAULT_NONE;
}

static enum state_fault reason_check(const struct state *prev,
                                     const struct state *next,
                                     const struct diff *d)
{
    const struct rule *rule = &rules[next->reason];
    bool recovery = !bytes_equal(prev->recovery_key, next->recovery_key);
    bool server = !bytes_equal(prev->server_address, next->server_address) ||
                  !bytes_equal(prev->server_key, next->server_key);

    if (next->reason == REASON_NEW || !fits(rule->added, d->added > 0) ||
        !fits(rule->removed, d->removed > 0) ||
        !fits(rule->recovery, recovery) || !fits(rule->server, server))
        return FAULT_REASON;
    return fits(rule->conflicts, next->conflicts.len > 0) ? FAULT_NONE
                                                          : FAULT_CONFLICTS;
}

/* Checks the keys that `prev` (which may be NULL) did not have. */
static enum err keys_check(struct crypto *c, const struct state *prev,
                           const struct state *next)
{
    TRY(sign_check(c, SIGN_ED25519, next->recovery_key));
    TRY(sign_check(c, SIGN_ED25519, next->server_key));
    if (state_device_of_key(next, next->recovery_key) != NULL)
        return ERR_INVALID; /* a device that holds the recovery key */
    for (size_t i = 0; i < next->device_count; i++) {
        const struct device *d = &next->devices[i];
        if (prev != NULL && state_device(prev, d->id) != NULL)
            continue;
        TRY(sign_check(c, SIGN_ED25519, d->signature_key));
        TRY(kem_check(c, (enum kem_id)d->sealing_kem, d->sealing_key));
    }
    return OK;
}

static enum err keys_and_signature_check(struct crypto *c,
                                         const struct state *prev,
                                         const struct state *next,
                                         struct bytes key,
                                         enum state_fault *out_fault)
{
    enum err err = keys_check(c, prev, next);
    if (err == ERR_MALFORMED || err == ERR_INVALID) {
        *out_fault = FAULT_FORMAT;
        return ERR_INVALID;
    }
    TRY(err);
    err = label_verify(c, LABEL_STATE, key, next->tbs, next->signature);
    if (err == ERR_AUTH)
        *out_fault = FAULT_SIGNATURE;
    return err;
}

enum err state_verify_first(struct crypto *c, const struct state *s,
                            enum state_fault *out_fault)
{
    enum state_fault ignored;
    enum state_fault *fault = out_fault != NULL ? out_fault : &ignored;
    const struct device *d = &s->devices[0];

    *fault = FAULT_NONE;
    if (s->version != 1)
        *fault = FAULT_VERSION;
    else if (!bytes_equal(s->previous, BYTES_ARRAY(zeros)))
        *fault = FAULT_PREVIOUS;
    else if (s->reason != REASON_NEW)
        *fault = FAULT_REASON;
    else if (s->conflicts.len > 0)
        *fault = FAULT_CONFLICTS;
    else if (s->device_count != 1 || !d->may_authorise)
        *fault = FAULT_FORMAT;
    else if (d->order != 1 || s->next_order != 2)
        *fault = FAULT_ORDER;
    else if (!bytes_equal(s->signer, d->id))
        *fault = FAULT_SIGNER;
    if (*fault != FAULT_NONE)
        return ERR_INVALID;
    return keys_and_signature_check(c, NULL, s, d->signature_key, fault);
}

enum err state_verify_next(struct crypto *c, const struct state *prev,
                           struct bytes prev_hash, const struct state *next,
                           enum state_fault *out_fault)
{
    enum state_fault ignored;
    enum state_fault *fault = out_fault != NULL ? out_fault : &ignored;
    struct diff d = diff_of(prev, next);
    struct bytes key = {0};

    *fault = d.fault;
    if (prev->version == UINT64_MAX || next->version != prev->version + 1)
        *fault = FAULT_VERSION;
    else if (!bytes_equal(next->previous, prev_hash))
        *fault = FAULT_PREVIOUS;
    if (*fault == FAULT_NONE)
        *fault = reason_check(prev, next, &d);
    if (*fault == FAULT_NONE)
        *fault = signer_check(prev, next, &d, &key);
    if (*fault != FAULT_NONE)
        return ERR_INVALID;
    return keys_and_signature_check(c, prev, next, key, fault);
}

/* --- building --- */

void state_first(struct state *out, struct bytes recovery_key,
                 struct bytes server_address, struct bytes server_key,
                 const struct device *device)
{
    *out = (struct state){
        .version = 1,
        .previous = BYTES_ARRAY(zeros),
        .recovery_key = recovery_key,
        .server_address = server_address,
        .server_key = server_key,
        .next_order = 2,
        .devices = {*device},
        .device_count = 1,
        .reason = REASON_NEW,
    };
    out->devices[0].order = 1;
    out->devices[0].may_authorise = true;
}

void state_next(const struct state *prev, struct bytes prev_hash,
                enum state_reason reason, struct state *out)
{
    *out = *prev;
    out->version = prev->version + 1;
    out->previous = prev_hash;
    out->reason = (uint8_t)reason;
    out->conflicts = (struct bytes){0};
    out->signer = (struct bytes){0};
    out->signature = (struct bytes){0};
    out->tbs = (struct bytes){0};
}

enum err state_add(struct state *s, const struct device *device)
{
    if (s->device_count == STATE_DEVICES_MAX || s->next_order == UINT32_MAX)
        return ERR_LIMIT;
    struct device *d = &s->devices[s->device_count++];
    *d = *device;
    d->order = s->next_order++;
    return OK;
}

enum err state_remove(struct state *s, struct bytes id)
{
    const struct device *d = state_device(s, id);
    if (d == NULL)
        return ERR_NOTFOUND;
    size_t at = (size_t)(d - s->devices);
    s->device_count--;
    memmove(&s->devices[at], &s->devices[at + 1],
            (s->device_count - at) * sizeof(s->devices[0]));
    return OK;
}

enum err state_sign(struct crypto *c, const struct state *s,
                    struct bytes signer, const struct secret *key,
                    struct buf *out)
{
    CLEANUP(buf_clear) struct buf whole = buf_new(STATE_MAX);
    CLEANUP(buf_clear) struct buf signature = buf_new(STATE_MAX);
    struct state signed_state = *s;
    struct state check;

    signed_state.signer = signer;
    struct writer w = writer_to(&whole);
    body_write(&w, &signed_state);
    TRY(writer_finish(&w));
    TRY(label_sign(c, LABEL_STATE, key, buf_bytes(&whole), &signature));
    writer_vec(&w, buf_bytes(&signature));
    TRY(writer_finish(&w));
    TRY(state_read(buf_bytes(&whole), &check)); /* never give out what no one
                                                   can read */
    return buf_append(out, buf_bytes(&whole));
}
