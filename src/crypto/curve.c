/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/curve.h"

#include <string.h>

#define CURVE_NAME_MAX 16U
#define POINT_PREFIX   0x04 /* of an uncompressed point */

const struct curve curve_p256 = {0, "P-256", 32, 65, 0xff};
const struct curve curve_p384 = {1, "P-384", 48, 97, 0xff};
const struct curve curve_p521 = {2, "P-521", 66, 133, 0x01};

void pkey_free(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
    *key = NULL;
}

static void pkey_ctx_free(EVP_PKEY_CTX **ctx)
{
    EVP_PKEY_CTX_free(*ctx);
    *ctx = NULL;
}

static void secret_number_free(BIGNUM **n)
{
    BN_clear_free(*n);
    *n = NULL;
}

static void point_free(EC_POINT **p)
{
    EC_POINT_free(*p);
    *p = NULL;
}

/* A private key as a number that is in range. */
static enum err scalar(struct crypto *c, const struct curve *curve,
                       const struct secret *private_key, BIGNUM **out)
{
    if (private_key->len != curve->private_size)
        return ERR_MALFORMED;
    CLEANUP(secret_number_free)
    BIGNUM *n = BN_bin2bn(private_key->data, (int)private_key->len, NULL);
    TRY(openssl_check(n != NULL));
    BN_set_flags(n, BN_FLG_CONSTTIME);
    if (BN_is_zero(n) ||
        BN_cmp(n, EC_GROUP_get0_order(c->group[curve->index])) >= 0)
        return ERR_INVALID;
    *out = n;
    n = NULL; /* handed over */
    return OK;
}

enum err curve_candidate(struct crypto *c, const struct curve *curve,
                         struct secret *candidate)
{
    CLEANUP(secret_number_free) BIGNUM *n = NULL;
    candidate->data[0] &= curve->mask;
    return scalar(c, curve, candidate, &n);
}

enum err curve_public(struct crypto *c, const struct curve *curve,
                      const struct secret *private_key, uint8_t *out_public)
{
    const EC_GROUP *group = c->group[curve->index];
    uint8_t encoded[CURVE_PUBLIC_MAX];
    CLEANUP(secret_number_free) BIGNUM *n = NULL;
    TRY(scalar(c, curve, private_key, &n));
    CLEANUP(point_free) EC_POINT *p = EC_POINT_new(group);
    TRY(openssl_check(
        p != NULL && EC_POINT_mul(group, p, n, NULL, NULL, NULL) == 1 &&
        EC_POINT_point2oct(group, p, POINT_CONVERSION_UNCOMPRESSED, encoded,
                           sizeof(encoded), NULL) == curve->public_size));
    memcpy(out_public, encoded, curve->public_size);
    return OK;
}

/* Makes a key object from the parameters that follow the group's name. */
static EVP_PKEY *key_from(struct crypto *c, const struct curve *curve,
                          OSSL_PARAM key_param, int selection)
{
    EVP_PKEY *key = NULL;
    char name[CURVE_NAME_MAX] = {0};
    memcpy(name, curve->name, strlen(curve->name));
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, name, 0),
        key_param,
        OSSL_PARAM_construct_end(),
    };
    if (EVP_PKEY_fromdata(c->ec, &key, selection, params) != 1)
        return NULL;
    return key;
}

enum err curve_private_key(struct crypto *c, const struct curve *curve,
                           const struct secret *private_key, EVP_PKEY **out_key)
{
    CLEANUP(secret_number_free) BIGNUM *n = NULL;
    CLEANUP(secret_clear) struct secret native = {.len = curve->private_size};
    TRY(scalar(c, curve, private_key, &n));
    TRY(openssl_check(BN_bn2nativepad(n, native.data, (int)native.len) > 0));
    EVP_PKEY *key = key_from(c, curve,
                             OSSL_PARAM_construct_BN(OSSL_PKEY_PARAM_PRIV_KEY,
                                                     native.data, native.len),
                             EVP_PKEY_KEYPAIR);
    TRY(openssl_check(key != NULL));
    *out_key = key;
    return OK;
}

enum err curve_public_key(struct crypto *c, const struct curve *curve,
                          struct bytes public_key, EVP_PKEY **out_key)
{
    uint8_t point[CURVE_PUBLIC_MAX];
    if (public_key.len != curve->public_size ||
        public_key.data[0] != POINT_PREFIX)
        return ERR_MALFORMED;
    memcpy(point, public_key.data, public_key.len);
    EVP_PKEY *key =
        key_from(c, curve,
                 OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY,
                                                   point, public_key.len),
                 EVP_PKEY_PUBLIC_KEY);
    TRY(openssl_judge(key != NULL, ERR_INVALID)); /* not on the curve */
    *out_key = key;
    return OK;
}

enum err raw_private_key(const char *name, const struct secret *private_key,
                         EVP_PKEY **out_key)
{
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key_ex(
        NULL, name, NULL, private_key->data, private_key->len);
    TRY(openssl_judge(key != NULL, ERR_MALFORMED));
    *out_key = key;
    return OK;
}

enum err raw_public_key(const char *name, struct bytes public_key,
                        EVP_PKEY **out_key)
{
    EVP_PKEY *key = EVP_PKEY_new_raw_public_key_ex(
        NULL, name, NULL, public_key.data, public_key.len);
    TRY(openssl_judge(key != NULL, ERR_MALFORMED));
    *out_key = key;
    return OK;
}

enum err raw_public(const EVP_PKEY *key, uint8_t *out_public, size_t size)
{
    size_t len = size;
    return openssl_check(
        EVP_PKEY_get_raw_public_key(key, out_public, &len) == 1 && len == size);
}

enum err pkey_agree(EVP_PKEY *own, EVP_PKEY *peer, struct secret *out_shared)
{
    CLEANUP(pkey_ctx_free)
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, own, NULL);
    TRY(openssl_check(ctx != NULL && EVP_PKEY_derive_init(ctx) == 1));
    CLEANUP(secret_clear) struct secret shared = {.len = SECRET_MAX};
    bool ok = EVP_PKEY_derive_set_peer(ctx, peer) == 1 &&
              EVP_PKEY_derive(ctx, shared.data, &shared.len) == 1;
    TRY(openssl_judge(ok, ERR_INVALID));
    secret_take(out_shared, &shared);
    return OK;
}
