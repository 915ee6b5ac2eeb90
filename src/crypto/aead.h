/* SPDX-License-Identifier: Apache-2.0 */
/* Authenticated encryption (RFC 5116): ciphertext || tag of 16 bytes. */
#pragma once

#include "base/buf.h"
#include "base/secret.h"
#include "crypto/crypto.h"
#include "crypto/suite.h"

#define AEAD_TAG_SIZE  16U
#define AEAD_NONCE_MAX 24U

/* What both sides must know. */
struct aead {
    enum aead_id alg;
    const struct secret *key; /* of aead_key_size bytes */
    struct bytes nonce;       /* of aead_nonce_size bytes; used only once */
    struct bytes aad;         /* authenticated, not encrypted */
};

size_t aead_key_size(enum aead_id alg);
size_t aead_nonce_size(enum aead_id alg);

/* Appends the ciphertext and tag to `out`. No input may lie in `out`. */
MUST_USE enum err aead_seal(struct crypto *c, const struct aead *a,
                            struct bytes plaintext, struct buf *out);

/* Appends the plaintext to `out`; ERR_AUTH when the tag is not right. */
MUST_USE enum err aead_open(struct crypto *c, const struct aead *a,
                            struct bytes ciphertext, struct buf *out);
