/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SHA-2, HMAC (RFC 2104) and HKDF (RFC 5869). Input comes as parts, so that
 * nothing is copied together only to be hashed:
 *
 *     TRY(hash(c, HASH_SHA256, PARTS(label, content), &digest));
 */
#pragma once

#include "base/buf.h"
#include "base/secret.h"
#include "crypto/crypto.h"
#include "crypto/suite.h"

#define HASH_MAX 64U

struct digest {
    uint8_t data[HASH_MAX];
    size_t len;
};

struct bytes digest_bytes(const struct digest *d);

size_t hash_size(enum hash_id alg);

MUST_USE enum err hash(struct crypto *c, enum hash_id alg, struct parts input,
                       struct digest *out);

/* The MAC as a public value, which is sent or compared as a tag. */
MUST_USE enum err hmac(struct crypto *c, enum hash_id alg,
                       const struct secret *key, struct parts input,
                       struct digest *out);

/* Checks a tag in constant time: ERR_AUTH when it is not the MAC. */
MUST_USE enum err hmac_verify(struct crypto *c, enum hash_id alg,
                              const struct secret *key, struct parts input,
                              struct bytes tag);

/* HKDF-Extract. An empty salt is a salt of zeros, as in RFC 5869. */
MUST_USE enum err hkdf_extract(struct crypto *c, enum hash_id alg,
                               const struct secret *salt,
                               const struct secret *ikm, struct secret *out);

/* The same for key material that does not fit a secret, in parts. */
MUST_USE enum err hkdf_extract_parts(struct crypto *c, enum hash_id alg,
                                     struct bytes salt, struct parts ikm,
                                     struct secret *out);

/* HKDF-Expand to a secret of `len` <= SECRET_MAX bytes. */
MUST_USE enum err hkdf_expand(struct crypto *c, enum hash_id alg,
                              const struct secret *prk, struct parts info,
                              size_t len, struct secret *out);

/* Several secrets from one key, all or none: cheaper than one by one, since the
 * key is set up once. At most HKDF_WANTS_MAX. */
struct hkdf_want {
    struct parts info;
    size_t len; /* 1 to SECRET_MAX */
    struct secret *out;
};
#define HKDF_WANTS_MAX 10U
MUST_USE enum err hkdf_expand_each(struct crypto *c, enum hash_id alg,
                                   const struct secret *prk,
                                   const struct hkdf_want *wants, size_t count);

/* One of `len` <= 255 * hash_size bytes, appended to `out`. */
MUST_USE enum err hkdf_expand_long(struct crypto *c, enum hash_id alg,
                                   const struct secret *prk, struct parts info,
                                   size_t len, struct buf *out);
