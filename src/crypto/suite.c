/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/suite.h"

#define SHA256 .hash = HASH_SHA256, .nh = 32
#define SHA384 .hash = HASH_SHA384, .nh = 48
#define SHA512 .hash = HASH_SHA512, .nh = 64

#define AES128GCM .aead = AEAD_AES128GCM, .nk = 16, .nn = 12
#define AES256GCM .aead = AEAD_AES256GCM, .nk = 32, .nn = 12
#define CHACHA20  .aead = AEAD_CHACHA20POLY1305, .nk = 32, .nn = 12

#define KEM(id, secret, enc, pk, sk) \
    .kem = (id), .nsecret = (secret), .nenc = (enc), .npk = (pk), .nsk = (sk)
#define DHKEM_X25519 KEM(KEM_X25519, 32, 32, 32, 32)
#define DHKEM_X448   KEM(KEM_X448, 64, 56, 56, 56)
#define DHKEM_P256   KEM(KEM_P256, 32, 65, 65, 32)
#define DHKEM_P384   KEM(KEM_P384, 48, 97, 97, 48)
#define DHKEM_P521   KEM(KEM_P521, 64, 133, 133, 66)
#define XWING        KEM(KEM_XWING, 32, 1120, 1216, 32)

#define SIGN(id, pk, sk, max) \
    .sign = (id), .sign_npk = (pk), .sign_nsk = (sk), .sign_max = (max)
#define ED25519 SIGN(SIGN_ED25519, 32, 32, 64)
#define ED448   SIGN(SIGN_ED448, 57, 57, 114)
#define P256    SIGN(SIGN_P256, 65, 32, 72)
#define P384    SIGN(SIGN_P384, 97, 48, 104)
#define P521    SIGN(SIGN_P521, 133, 66, 139)

static const struct suite suites[] = {
    {SUITE_X25519_AES128, "MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519",
     SHA256, AES128GCM, DHKEM_X25519, ED25519},
    {SUITE_P256_AES128, "MLS_128_DHKEMP256_AES128GCM_SHA256_P256", SHA256,
     AES128GCM, DHKEM_P256, P256},
    {SUITE_X25519_CHACHA, "MLS_128_DHKEMX25519_CHACHA20POLY1305_SHA256_Ed25519",
     SHA256, CHACHA20, DHKEM_X25519, ED25519},
    {SUITE_X448_AES256, "MLS_256_DHKEMX448_AES256GCM_SHA512_Ed448", SHA512,
     AES256GCM, DHKEM_X448, ED448},
    {SUITE_P521_AES256, "MLS_256_DHKEMP521_AES256GCM_SHA512_P521", SHA512,
     AES256GCM, DHKEM_P521, P521},
    {SUITE_X448_CHACHA, "MLS_256_DHKEMX448_CHACHA20POLY1305_SHA512_Ed448",
     SHA512, CHACHA20, DHKEM_X448, ED448},
    {SUITE_P384_AES256, "MLS_256_DHKEMP384_AES256GCM_SHA384_P384", SHA384,
     AES256GCM, DHKEM_P384, P384},
    {SUITE_XWING_AES128, "MLS_128_MLKEM768X25519_AES128GCM_SHA256_Ed25519",
     SHA256, AES128GCM, XWING, ED25519},
    {SUITE_XWING_AES256, "MLS_128_MLKEM768X25519_AES256GCM_SHA384_Ed25519",
     SHA384, AES256GCM, XWING, ED25519},
    {SUITE_XWING_SHA512, "MLS_256_XWING_AES256GCM_SHA512_Ed25519", SHA512,
     AES256GCM, XWING, ED25519},
};

const struct suite *suite_at(size_t i)
{
    return i < sizeof(suites) / sizeof(suites[0]) ? &suites[i] : NULL;
}

const struct suite *suite_find(uint16_t id)
{
    const struct suite *s = NULL;
    for (size_t i = 0; (s = suite_at(i)) != NULL; i++) {
        if (s->id == id)
            break;
    }
    return s;
}
