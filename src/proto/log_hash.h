/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The running hash of a channel's stored entries, by which members notice that
 * the server shows them different logs:
 *
 *     h(0) = SHA-256(label || channel id)
 *     h(n) = SHA-256(label || h(n-1) || uint64 seq || uint64 time ||
 *                    uint8 kind || SHA-256(body))
 *
 * A new member gets the hash of the commit that added it from its inbox item.
 */
#pragma once

#include "crypto/crypto.h"
#include "proto/message.h"

#define LOG_HASH_SIZE 32U

struct log_hash {
    uint8_t data[LOG_HASH_SIZE];
};

MUST_USE enum err log_hash_start(struct crypto *c, struct bytes channel,
                                 struct log_hash *out);
/* Goes on by one entry. */
MUST_USE enum err log_hash_next(struct crypto *c, struct log_hash *h,
                                const struct entry *e);
