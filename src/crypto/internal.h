/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share: no other layer includes it. */
#pragma once

#include "base/secret.h"
#include "crypto/crypto.h"
#include "crypto/openssl.h"
#include "crypto/suite.h"

#define HASH_COUNT  3U
#define GCM_COUNT   2U
#define CURVE_COUNT 3U
#define ED25519_SK  64U /* libsodium's form: seed || public key */

struct crypto {
    EVP_MD *md[HASH_COUNT];
    EVP_MD_CTX *hash[HASH_COUNT];
    EVP_MAC *hmac;
    EVP_MAC_CTX *mac[HASH_COUNT];
    EVP_CIPHER *gcm[GCM_COUNT];
    EVP_CIPHER_CTX *gcm_seal[GCM_COUNT];
    EVP_CIPHER_CTX *gcm_open[GCM_COUNT];
    EVP_PKEY_CTX *ec;
    EC_GROUP *group[CURVE_COUNT];
    /* The Ed25519 key used last. Its public half would otherwise be computed
     * for each signature, which doubles the cost. */
    struct secret ed25519_seed;
    uint8_t ed25519_sk[ED25519_SK];
};

/* The place of an algorithm in the arrays above. */
size_t hash_index(enum hash_id alg);

/*
 * Turns the result of an OpenSSL call that fails only for want of memory into
 * an error. On failure it also empties the error queue of the thread, since
 * libssl would take an old entry there for an error of its own.
 */
MUST_USE enum err openssl_check(bool ok);

/* The same when the failure says something about the input. */
MUST_USE enum err openssl_judge(bool ok, enum err otherwise);

static inline struct bytes bytes_of(const uint8_t *data, size_t len)
{
    return (struct bytes){data, len};
}
