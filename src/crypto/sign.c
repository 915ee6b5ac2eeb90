/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/sign.h"

#include "crypto/curve.h"
#include "crypto/internal.h"

#include <assert.h>
#include <sodium.h>

#define CANDIDATES_MAX                                    \
    128U /* each is good with a chance of at least a half \
          */
#define ED448 "ED448"

/* One algorithm. `public` writes public_size bytes, `sign` at most
 * signature_max and says how many. Keys that they get have the right size. */
struct sign_alg {
    enum sign_id id;
    size_t public_size;
    size_t private_size;
    size_t signature_max;
    const struct curve *curve; /* NIST only */
    const char *digest;        /* NIST only */
    enum err (*public)(struct crypto *c, const struct sign_alg *alg,
                       const struct secret *private_key, uint8_t *out);
    enum err (*check)(struct crypto *c, const struct sign_alg *alg,
                      struct bytes public_key);
    enum err (*sign)(struct crypto *c, const struct sign_alg *alg,
                     const struct secret *private_key, struct bytes message,
                     uint8_t *out, size_t *out_len);
    enum err (*verify)(struct crypto *c, const struct sign_alg *alg,
                       struct bytes public_key, struct bytes message,
                       struct bytes signature);
};

static enum err ed25519_public(struct crypto *c, const struct sign_alg *alg,
                               const struct secret *private_key, uint8_t *out)
{
    uint8_t sk[ED25519_SK];
    (void)c, (void)alg;
    (void)crypto_sign_ed25519_seed_keypair(out, sk, private_key->data);
    sodium_memzero(sk, sizeof(sk));
    return OK;
}

static enum err ed25519_check(struct crypto *c, const struct sign_alg *alg,
                              struct bytes public_key)
{
    (void)c, (void)alg;
    return crypto_core_ed25519_is_valid_point(public_key.data) == 1
               ? OK
               : ERR_INVALID;
}

static enum err ed25519_sign(struct crypto *c, const struct sign_alg *alg,
                             const struct secret *private_key,
                             struct bytes message, uint8_t *out,
                             size_t *out_len)
{
    if (!secret_equal(&c->ed25519_seed, private_key)) {
        uint8_t public_key[crypto_sign_ed25519_PUBLICKEYBYTES];
        (void)crypto_sign_ed25519_seed_keypair(public_key, c->ed25519_sk,
                                               private_key->data);
        secret_copy(&c->ed25519_seed, private_key);
    }
    (void)crypto_sign_ed25519_detached(out, NULL, message.data, message.len,
                                       c->ed25519_sk);
    *out_len = alg->signature_max;
    return OK;
}

/* libsodium refuses an S, A or R that is not canonical, and an A or R of small
 * order; it does not multiply by the cofactor. tests/vectors/ed25519.c holds
 * it to that. */
static enum err ed25519_verify(struct crypto *c, const struct sign_alg *alg,
                               struct bytes public_key, struct bytes message,
                               struct bytes signature)
{
    (void)c;
    if (signature.len != alg->signature_max)
        return ERR_AUTH;
    int failed = crypto_sign_ed25519_verify_detached(
        signature.data, message.data, message.len, public_key.data);
    return failed == 0 ? OK : ERR_AUTH;
}

static enum err ecdsa_public(struct crypto *c, const struct sign_alg *alg,
                             const struct secret *private_key, uint8_t *out)
{
    return curve_public(c, alg->curve, private_key, out);
}

static enum err ecdsa_check(struct crypto *c, const struct sign_alg *alg,
                            struct bytes public_key)
{
    CLEANUP(pkey_free) EVP_PKEY *key = NULL;
    return curve_public_key(c, alg->curve, public_key, &key);
}

static void md_ctx_free(EVP_MD_CTX **ctx)
{
    EVP_MD_CTX_free(*ctx);
    *ctx = NULL;
}

/* Signs or verifies with a key object; a NULL digest is that of EdDSA. */
static enum err pkey_sign(EVP_PKEY *key, const char *digest,
                          struct bytes message, uint8_t *out, size_t *len)
{
    CLEANUP(md_ctx_free) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    return openssl_check(
        ctx != NULL &&
        EVP_DigestSignInit_ex(ctx, NULL, digest, NULL, NULL, key, NULL) == 1 &&
        EVP_DigestSign(ctx, out, len, message.data, message.len) == 1);
}

static enum err pkey_verify(EVP_PKEY *key, const char *digest,
                            struct bytes message, struct bytes signature)
{
    CLEANUP(md_ctx_free) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    TRY(openssl_check(ctx != NULL &&
                      EVP_DigestVerifyInit_ex(ctx, NULL, digest, NULL, NULL,
                                              key, NULL) == 1));
    bool ok = EVP_DigestVerify(ctx, signature.data, signature.len, message.data,
                               message.len) == 1;
    return openssl_judge(ok, ERR_AUTH);
}

static enum err ecdsa_sign(struct crypto *c, const struct sign_alg *alg,
                           const struct secret *private_key,
                           struct bytes message, uint8_t *out, size_t *out_len)
{
    CLEANUP(pkey_free) EVP_PKEY *key = NULL;
    TRY(curve_private_key(c, alg->curve, private_key, &key));
    *out_len = alg->signature_max;
    return pkey_sign(key, alg->digest, message, out, out_len);
}

static enum err ecdsa_verify(struct crypto *c, const struct sign_alg *alg,
                             struct bytes public_key, struct bytes message,
                             struct bytes signature)
{
    CLEANUP(pkey_free) EVP_PKEY *key = NULL;
    TRY(curve_public_key(c, alg->curve, public_key, &key));
    return pkey_verify(key, alg->digest, message, signature);
}

static enum err ed448_public(struct crypto *c, const struct sign_alg *alg,
                             const struct secret *private_key, uint8_t *out)
{
    CLEANUP(pkey_free) EVP_PKEY *key = NULL;
    (void)c;
    TRY(raw_private_key(ED448, private_key, &key));
    return raw_public(key, out, alg->public_size);
}

/* OpenSSL looks at the point only when it verifies. */
static enum err ed448_check(struct crypto *c, const struct sign_alg *alg,
                            struct bytes public_key)
{
    CLEANUP(pkey_free) EVP_PKEY *key = NULL;
    (void)c, (void)alg;
    return raw_public_key(ED448, public_key, &key);
}

static enum err ed448_sign(struct crypto *c, const struct sign_alg *alg,
                           const struct secret *private_key,
                           struct bytes message, uint8_t *out, size_t *out_len)
{
    CLEANUP(pkey_free) EVP_PKEY *key = NULL;
    (void)c;
    TRY(raw_private_key(ED448, private_key, &key));
    *out_len = alg->signature_max;
    return pkey_sign(key, NULL, message, out, out_len);
}

static enum err ed448_verify(struct crypto *c, const struct sign_alg *alg,
                             struct bytes public_key, struct bytes message,
                             struct bytes signature)
{
    CLEANUP(pkey_free) EVP_PKEY *key = NULL;
    (void)c, (void)alg;
    TRY(raw_public_key(ED448, public_key, &key));
    return pkey_verify(key, NULL, message, signature);
}

static const struct sign_alg algs[] = {
    {SIGN_ED25519, 32, 32, 64, NULL, NULL, ed25519_public, ed25519_check,
     ed25519_sign, ed25519_verify},
    {SIGN_ED448, 57, 57, 114, NULL, NULL, ed448_public, ed448_check, ed448_sign,
     ed448_verify},
    {SIGN_P256, 65, 32, 72, &curve_p256, "SHA256", ecdsa_public, ecdsa_check,
     ecdsa_sign, ecdsa_verify},
    {SIGN_P384, 97, 48, 104, &curve_p384, "SHA384", ecdsa_public, ecdsa_check,
     ecdsa_sign, ecdsa_verify},
    {SIGN_P521, 133, 66, 139, &curve_p521, "SHA512", ecdsa_public, ecdsa_check,
     ecdsa_sign, ecdsa_verify},
};

static const struct sign_alg *alg_of(enum sign_id id)
{
    size_t i = 0;
    while (i < sizeof(algs) / sizeof(algs[0]) && algs[i].id != id)
        i++;
    assert(i < sizeof(algs) / sizeof(algs[0]));
    return &algs[i];
}

size_t sign_public_size(enum sign_id alg) { return alg_of(alg)->public_size; }
size_t sign_private_size(enum sign_id alg) { return alg_of(alg)->private_size; }
size_t sign_max_size(enum sign_id alg) { return alg_of(alg)->signature_max; }

/* Any bytes are an EdDSA key; a scalar of a NIST curve must be in range. */
static enum err draw(struct crypto *c, const struct sign_alg *alg,
                     const struct random *random, struct secret *out)
{
    enum err err = ERR_INVALID;
    for (size_t i = 0; i < CANDIDATES_MAX && err == ERR_INVALID; i++) {
        secret_random(out, alg->private_size, random);
        err = alg->curve != NULL ? curve_candidate(c, alg->curve, out) : OK;
    }
    return err;
}

enum err sign_generate(struct crypto *c, enum sign_id id,
                       const struct random *random, struct secret *out_private,
                       struct buf *out_public)
{
    CLEANUP(secret_clear) struct secret key = {0};
    TRY(draw(c, alg_of(id), random, &key));
    TRY(sign_public(c, id, &key, out_public));
    secret_take(out_private, &key);
    return OK;
}

enum err sign_public(struct crypto *c, enum sign_id id,
                     const struct secret *private_key, struct buf *out_public)
{
    const struct sign_alg *alg = alg_of(id);
    uint8_t key[SIGN_PUBLIC_MAX];
    if (private_key->len != alg->private_size)
        return ERR_MALFORMED;
    TRY(alg->public(c, alg, private_key, key));
    return buf_append(out_public, bytes_of(key, alg->public_size));
}

enum err sign_check(struct crypto *c, enum sign_id id, struct bytes public_key)
{
    const struct sign_alg *alg = alg_of(id);
    if (public_key.len != alg->public_size)
        return ERR_MALFORMED;
    return alg->check(c, alg, public_key);
}

enum err sign(struct crypto *c, enum sign_id id,
              const struct secret *private_key, struct bytes message,
              struct buf *out_signature)
{
    const struct sign_alg *alg = alg_of(id);
    uint8_t signature[SIGN_MAX];
    size_t len = 0;
    if (private_key->len != alg->private_size)
        return ERR_MALFORMED;
    TRY(alg->sign(c, alg, private_key, message, signature, &len));
    return buf_append(out_signature, bytes_of(signature, len));
}

enum err sign_verify(struct crypto *c, enum sign_id id, struct bytes public_key,
                     struct bytes message, struct bytes signature)
{
    const struct sign_alg *alg = alg_of(id);
    if (public_key.len != alg->public_size)
        return ERR_AUTH;
    enum err err = alg->verify(c, alg, public_key, message, signature);
    return err == OK || err == ERR_NOMEM ? err : ERR_AUTH;
}
