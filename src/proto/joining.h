/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The joining blob: all that new devices need beside the log, in one object,
 * uploaded before the commit that adds them. The commit names it and its key
 * (in its encrypted part, struct joining_ref), so a crash between the commit
 * and the pointers in inboxes loses nobody.
 *
 *     struct {
 *         opaque sub[32];
 *         opaque sealed<V>;     HPKE to the device's sealing key: capability
 *     } JoiningCap;
 *     struct {
 *         opaque contact_cap<V>;     0 or 32 bytes: the account's, if known
 *         opaque states<V>;          list of opaque<V>: its whole chain
 *     } JoiningMember;
 *     struct {
 *         uint8 version = 1;
 *         opaque channel[32];
 *         opaque welcome<V>;         MLSMessage
 *         opaque ratchet_tree<V>;    empty: in the Welcome's GroupInfo
 *         JoiningMember members<V>;
 *         JoiningCap caps<V>;
 *     } Joining;
 *
 * Sealed: uint8 1 || XChaCha20-Poly1305(key, zero nonce, label || blob id). The
 * key is random and seals one blob only.
 */
#pragma once

#include "base/random.h"
#include "crypto/crypto.h"
#include "proto/derive.h"

#define JOINING_MAX      (64U << 20)
#define JOINING_KEY_SIZE 32U

struct joining {
    struct bytes channel; /* [32] */
    struct bytes welcome;
    struct bytes ratchet_tree;
    struct bytes members; /* list of struct joining_member */
    struct bytes caps;    /* list of struct joining_cap */
};
struct joining_member {
    struct bytes contact_cap; /* <0> or <32> */
    struct bytes states;      /* list, as chain_extend takes it */
};
struct joining_cap {
    struct bytes sub; /* [32] */
    struct bytes sealed;
};

void joining_member_read(struct reader *r, struct joining_member *m);
void joining_member_write(struct writer *w, const struct joining_member *m);
void joining_cap_read(struct reader *r, struct joining_cap *cap);
void joining_cap_write(struct writer *w, const struct joining_cap *cap);

/* Lists were checked: reading them again cannot fail. */
MUST_USE enum err joining_read(struct bytes plain, struct joining *out);
MUST_USE enum err joining_write(struct buf *out, const struct joining *j);

/* `blob` is the blob's id, which the sealing binds. */
MUST_USE enum err joining_seal(struct crypto *c, const struct secret *key,
                               struct bytes blob, struct bytes plain,
                               struct buf *out);
MUST_USE enum err joining_open(struct crypto *c, const struct secret *key,
                               struct bytes blob, struct bytes sealed,
                               struct buf *out_plain);

/* A capability for a new device, sealed to its sealing key and bound to the
 * channel and to its subscription. */
struct cap_context {
    struct bytes channel; /* [32] */
    struct bytes sub;     /* [32] */
};
MUST_USE enum err cap_seal(struct crypto *c, const struct random *random,
                           struct bytes sealing_key,
                           const struct cap_context *context, struct bytes cap,
                           struct buf *out);
MUST_USE enum err cap_open(struct crypto *c, const struct secret *sealing_key,
                           const struct cap_context *context,
                           struct bytes sealed, uint8_t out_cap[CAP_SIZE]);
