/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Key encapsulation as HPKE uses it: DHKEM (RFC 9180, section 4.1) and X-Wing
 * (draft-connolly-cfrg-xwing-kem, draft-ietf-hpke-pq), whose private key is
 * the seed of 32 bytes.
 *
 * The random source decides everything, so one that returns the randomness of
 * a test vector reproduces the vector.
 */
#pragma once

#include "base/buf.h"
#include "base/random.h"
#include "base/secret.h"
#include "crypto/crypto.h"
#include "crypto/suite.h"

#define KEM_PUBLIC_MAX 1216U /* X-Wing */
#define KEM_ENC_MAX    1120U /* X-Wing */

size_t kem_public_size(enum kem_id kem);
size_t kem_private_size(enum kem_id kem);
size_t kem_enc_size(enum kem_id kem);
size_t kem_secret_size(enum kem_id kem);

/* Makes a key pair; appends the public key to `out_public`. */
MUST_USE enum err kem_generate(struct crypto *c, enum kem_id kem,
                               const struct random *random,
                               struct secret *out_private,
                               struct buf *out_public);

/* DeriveKeyPair: the key pair that belongs to some key material. */
MUST_USE enum err kem_derive(struct crypto *c, enum kem_id kem,
                             const struct secret *ikm,
                             struct secret *out_private,
                             struct buf *out_public);

/* Appends the public key of a private key; ERR_INVALID when it has none. */
MUST_USE enum err kem_public(struct crypto *c, enum kem_id kem,
                             const struct secret *private_key,
                             struct buf *out_public);

/* Tells whether a public key is one (RFC 9180, section 7.1.4):
 * ERR_MALFORMED or ERR_INVALID if not. */
MUST_USE enum err kem_check(struct crypto *c, enum kem_id kem,
                            struct bytes public_key);

/* Draws a shared secret for the holder of a key; appends to `out_enc`. */
MUST_USE enum err kem_encap(struct crypto *c, enum kem_id kem,
                            const struct random *random,
                            struct bytes public_key, struct secret *out_shared,
                            struct buf *out_enc);

/* Gets the shared secret back. `public_key` is that of the private key; when
 * it is empty it is computed, which takes longer. */
MUST_USE enum err kem_decap(struct crypto *c, enum kem_id kem,
                            const struct secret *private_key,
                            struct bytes public_key, struct bytes enc,
                            struct secret *out_shared);
