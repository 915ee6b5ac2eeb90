/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/crypto.h"

#include "base/mem.h"
#include "crypto/internal.h"

#include <sodium.h>
#include <string.h>

static const char *const hash_names[HASH_COUNT] = {"SHA256", "SHA384",
                                                   "SHA512"};
static const char *const gcm_names[GCM_COUNT] = {"AES-128-GCM", "AES-256-GCM"};
static const int curve_nids[CURVE_COUNT] = {NID_X9_62_prime256v1, NID_secp384r1,
                                            NID_secp521r1};

enum err openssl_judge(bool ok, enum err otherwise)
{
    if (ok)
        return OK;
    ERR_clear_error();
    return otherwise;
}

enum err openssl_check(bool ok) { return openssl_judge(ok, ERR_NOMEM); }

/* Sets the digest of a MAC context; an empty key makes it usable. */
static bool mac_reset(EVP_MAC_CTX *mac, const char *digest)
{
    static const uint8_t zero[1] = {0};
    char name[8];
    memcpy(name, digest, strlen(digest) + 1);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_init(mac, zero, sizeof(zero), params) == 1;
}

static bool create_hashes(struct crypto *c)
{
    c->hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    if (c->hmac == NULL)
        return false;
    for (size_t i = 0; i < HASH_COUNT; i++) {
        c->md[i] = EVP_MD_fetch(NULL, hash_names[i], NULL);
        c->hash[i] = EVP_MD_CTX_new();
        c->mac[i] = EVP_MAC_CTX_new(c->hmac);
        if (c->md[i] == NULL || c->hash[i] == NULL || c->mac[i] == NULL ||
            EVP_DigestInit_ex2(c->hash[i], c->md[i], NULL) != 1 ||
            !mac_reset(c->mac[i], hash_names[i]))
            return false;
    }
    return true;
}

static bool gcm_reset(struct crypto *c, size_t i)
{
    static const uint8_t zero[32];
    return EVP_EncryptInit_ex2(c->gcm_seal[i], c->gcm[i], zero, zero, NULL) ==
               1 &&
           EVP_DecryptInit_ex2(c->gcm_open[i], c->gcm[i], zero, zero, NULL) ==
               1;
}

static bool create_ciphers(struct crypto *c)
{
    for (size_t i = 0; i < GCM_COUNT; i++) {
        c->gcm[i] = EVP_CIPHER_fetch(NULL, gcm_names[i], NULL);
        c->gcm_seal[i] = EVP_CIPHER_CTX_new();
        c->gcm_open[i] = EVP_CIPHER_CTX_new();
        if (c->gcm[i] == NULL || c->gcm_seal[i] == NULL ||
            c->gcm_open[i] == NULL || !gcm_reset(c, i))
            return false;
    }
    return true;
}

static bool create_curves(struct crypto *c)
{
    c->ec = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    if (c->ec == NULL || EVP_PKEY_fromdata_init(c->ec) != 1)
        return false;
    for (size_t i = 0; i < CURVE_COUNT; i++) {
        c->group[i] = EC_GROUP_new_by_curve_name(curve_nids[i]);
        if (c->group[i] == NULL)
            return false;
    }
    return true;
}

enum err crypto_create(struct crypto **out_crypto)
{
    if (sodium_init() < 0)
        return ERR_IO; /* the system gives no randomness */
    CLEANUP(crypto_free) struct crypto *c = mem_alloc(sizeof(*c));
    if (c == NULL)
        return ERR_NOMEM;
    TRY(openssl_check(create_hashes(c) && create_ciphers(c) &&
                      create_curves(c)));
    *out_crypto = c;
    c = NULL; /* handed over */
    return OK;
}

enum err crypto_forget(struct crypto *c)
{
    secret_clear(&c->ed25519_seed);
    sodium_memzero(c->ed25519_sk, sizeof(c->ed25519_sk));
    bool ok = true;
    for (size_t i = 0; i < HASH_COUNT; i++) {
        ok = mac_reset(c->mac[i], hash_names[i]) && ok;
        ok = EVP_DigestInit_ex2(c->hash[i], c->md[i], NULL) == 1 && ok;
    }
    for (size_t i = 0; i < GCM_COUNT; i++)
        ok = gcm_reset(c, i) && ok;
    return openssl_check(ok);
}

void crypto_free(struct crypto **at)
{
    struct crypto *c = *at;
    if (c == NULL)
        return;
    for (size_t i = 0; i < HASH_COUNT; i++) {
        EVP_MD_CTX_free(c->hash[i]);
        EVP_MD_free(c->md[i]);
        EVP_MAC_CTX_free(c->mac[i]);
    }
    EVP_MAC_free(c->hmac);
    for (size_t i = 0; i < GCM_COUNT; i++) {
        EVP_CIPHER_CTX_free(c->gcm_seal[i]);
        EVP_CIPHER_CTX_free(c->gcm_open[i]);
        EVP_CIPHER_free(c->gcm[i]);
    }
    EVP_PKEY_CTX_free(c->ec);
    for (size_t i = 0; i < CURVE_COUNT; i++)
        EC_GROUP_free(c->group[i]);
    mem_free(c, sizeof(*c));
    *at = NULL;
}
