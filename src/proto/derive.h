/* SPDX-License-Identifier: Apache-2.0 */
/* What several parties compute alike: ids, hashes, and proofs of work. */
#pragma once

#include "crypto/crypto.h"
#include "identity/labels.h"
#include "proto/message.h"

#define SUBSCRIPTION_SECRET 32U

/* The id of a leaf's subscription: HMAC-SHA256(secret of the group, label ||
 * signature key of the leaf). So all members agree on it, and the server cannot
 * link it to a device. */
MUST_USE enum err subscription_id(struct crypto *c,
                                  const struct secret *subscription_secret,
                                  struct bytes signature_key,
                                  uint8_t out[ID_SIZE]);

/* What a server keeps of a capability: SHA-256 of it. */
MUST_USE enum err cap_hash(struct crypto *c, struct bytes cap,
                           uint8_t out[CAP_SIZE]);

/*
 * Proof of work: a nonce so that SHA-256(label || uint8 purpose || subject[32]
 * || uint32 day || uint64 nonce) begins with `bits` zero bits. The day is that
 * of the server (seconds / 86400), today or the one before.
 */
enum pow_purpose {
    POW_KP_TAKE = 1,    /* subject: random, never used before */
    POW_INBOX,          /* subject: SHA-256 of the item */
    POW_CHANNEL_CREATE, /* subject: the channel's id */
};
#define POW_BITS_MAX   26U /* a minute; clients refuse to do more */
#define SECONDS_OF_DAY 86400U

/* ERR_AUTH: too little work; ERR_STATE: of another day. */
MUST_USE enum err pow_check(struct crypto *c, enum pow_purpose purpose,
                            struct bytes subject, struct pow pow, uint8_t bits,
                            uint64_t server_time);

/* Work that is asked for. */
struct pow_task {
    enum pow_purpose purpose;
    struct bytes subject; /* [32] */
    uint8_t bits;
};

/* Tries `attempts` nonces from pow->nonce on, and leaves it at the solution, or
 * where to go on: then *out_found is false. */
MUST_USE enum err pow_solve(struct crypto *c, const struct pow_task *task,
                            uint32_t attempts, struct pow *pow,
                            bool *out_found);
