/* SPDX-License-Identifier: Apache-2.0 */
/* Sealing to a device: HPKE base mode (X-Wing, HKDF-SHA256, ChaCha20-Poly1305),
 * whose info is a label of its own per purpose. The result is enc ||
 * ciphertext. */
#pragma once

#include "base/random.h"
#include "crypto/kem.h"
#include "identity/labels.h"

#define SEALING_OVERHEAD (KEM_ENC_MAX + 16U) /* enc and tag */

struct sealing {
    enum label label;
    struct bytes aad;
};

MUST_USE enum err sealing_seal(struct crypto *c, const struct random *random,
                               struct bytes public_key, const struct sealing *s,
                               struct bytes plain, struct buf *out);
MUST_USE enum err sealing_open(struct crypto *c,
                               const struct secret *private_key,
                               const struct sealing *s, struct bytes sealed,
                               struct buf *out);
