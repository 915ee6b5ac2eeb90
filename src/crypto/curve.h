/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys of the curves that OpenSSL does: the NIST curves, X448 and Ed448.
 * Private keys are big-endian scalars of `private_size` bytes (NIST) or raw;
 * public keys are uncompressed points or raw. Internal to src/crypto.
 */
#pragma once

#include "base/buf.h"
#include "base/random.h"
#include "crypto/internal.h"

struct curve {
    size_t index; /* of the group in struct crypto */
    const char *name;
    size_t private_size;
    size_t public_size;
    uint8_t mask; /* of a candidate's first byte: RFC 9180, section 7.1.3 */
};

#define CURVE_PUBLIC_MAX 133U

extern const struct curve curve_p256;
extern const struct curve curve_p384;
extern const struct curve curve_p521;

void pkey_free(EVP_PKEY **key);

/* Masks a candidate, and tells whether it is then a private key: ERR_INVALID
 * when it is not from 1 to the order - 1. */
MUST_USE enum err curve_candidate(struct crypto *c, const struct curve *curve,
                                  struct secret *candidate);

/* Writes public_size bytes. */
MUST_USE enum err curve_public(struct crypto *c, const struct curve *curve,
                               const struct secret *private_key,
                               uint8_t *out_public);

/* Makes key objects. A public key is checked to be on the curve. */
MUST_USE enum err curve_private_key(struct crypto *c, const struct curve *curve,
                                    const struct secret *private_key,
                                    EVP_PKEY **out_key);
MUST_USE enum err curve_public_key(struct crypto *c, const struct curve *curve,
                                   struct bytes public_key, EVP_PKEY **out_key);

/* Makes key objects of "X448" or "ED448". */
MUST_USE enum err raw_private_key(const char *name,
                                  const struct secret *private_key,
                                  EVP_PKEY **out_key);
MUST_USE enum err raw_public_key(const char *name, struct bytes public_key,
                                 EVP_PKEY **out_key);

/* Writes the raw public key of `size` bytes that belongs to a key object. */
MUST_USE enum err raw_public(const EVP_PKEY *key, uint8_t *out_public,
                             size_t size);

/* ECDH: ERR_INVALID when the two give no secret (a point of small order). */
MUST_USE enum err pkey_agree(EVP_PKEY *own, EVP_PKEY *peer,
                             struct secret *out_shared);
