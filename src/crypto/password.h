/* SPDX-License-Identifier: Apache-2.0 */
/* Turns a passphrase into a key: Argon2id (RFC 9106), one lane. */
#pragma once

#include "base/secret.h"

#define PASSWORD_SALT_SIZE 16U
#define PASSWORD_KEY_SIZE  32U

struct password_cost {
    uint32_t passes;
    uint32_t memory_kib;
};

/* For a file that is opened a few times a day: 256 MiB, about half a second. */
extern const struct password_cost password_cost_default;

/* Derives a key of PASSWORD_KEY_SIZE bytes. A salt of another size or a cost
 * below one pass and 8 KiB is ERR_INVALID, more than 4 GiB or 2^16 passes is
 * ERR_LIMIT, since the cost may come from a damaged file. */
MUST_USE enum err password_key(struct bytes passphrase, struct bytes salt,
                               struct password_cost cost, struct secret *out);
