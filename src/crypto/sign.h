/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signatures, with keys and signatures in the encodings of RFC 9420, section
 * 5.1.1: Ed25519 and Ed448 as in RFC 8032 (the private key is the seed), NIST
 * curves with uncompressed points, big-endian scalars, and DER signatures.
 *
 * Ed25519 is strict: S must be canonical, A and R canonical and not of small
 * order, and the equation holds without the cofactor. So nobody but the signer
 * can make a second signature of a message, and no key fits many messages.
 */
#pragma once

#include "base/buf.h"
#include "base/random.h"
#include "base/secret.h"
#include "crypto/crypto.h"
#include "crypto/suite.h"

#define SIGN_PUBLIC_MAX 133U /* P-521 */
#define SIGN_MAX        139U /* P-521, DER */

size_t sign_public_size(enum sign_id alg);
size_t sign_private_size(enum sign_id alg);
size_t sign_max_size(enum sign_id alg); /* of the longest signature */

/* Makes a key pair; appends the public key to `out_public`. */
MUST_USE enum err sign_generate(struct crypto *c, enum sign_id alg,
                                const struct random *random,
                                struct secret *out_private,
                                struct buf *out_public);

/* Appends the public key of a private key; ERR_INVALID when it has none. */
MUST_USE enum err sign_public(struct crypto *c, enum sign_id alg,
                              const struct secret *private_key,
                              struct buf *out_public);

/* Tells whether a public key is one: ERR_MALFORMED or ERR_INVALID if not. */
MUST_USE enum err sign_check(struct crypto *c, enum sign_id alg,
                             struct bytes public_key);

/* Appends the signature of the message. */
MUST_USE enum err sign(struct crypto *c, enum sign_id alg,
                       const struct secret *private_key, struct bytes message,
                       struct buf *out_signature);

/* ERR_AUTH unless the signature is that of the key for the message. */
MUST_USE enum err sign_verify(struct crypto *c, enum sign_id alg,
                              struct bytes public_key, struct bytes message,
                              struct bytes signature);
