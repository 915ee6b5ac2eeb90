/* SPDX-License-Identifier: Apache-2.0 */
/* HKDF with the labels of HPKE (RFC 9180, section 4). Internal to src/crypto.
 */
#pragma once

#include "crypto/hash.h"

struct labels {
    struct crypto *c;
    enum hash_id hash;
    struct bytes suite; /* suite_id: whose labels they are */
};

MUST_USE enum err label_extract(const struct labels *l, struct bytes salt,
                                const char *label, struct bytes ikm,
                                struct secret *out);
MUST_USE enum err label_expand(const struct labels *l, const struct secret *prk,
                               const char *label, struct bytes info, size_t len,
                               struct secret *out);
