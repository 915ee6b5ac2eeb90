/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of cipher suites: RFC 9420, section 17.1, the two hybrids of
 * draft-ietf-mls-pq-ciphersuites that Sotto uses, and one that others use.
 * Adding a suite is adding a row. Algorithm ids are those of the HPKE
 * registries (RFC 9180, section 7) and of TLS SignatureScheme, so that they can
 * go on the wire as they are.
 */
#pragma once

#include "base/bytes.h"

/* A zeroed struct holds the value NONE, which is no algorithm. */
enum hash_id { /* values: HPKE KDF ids */
    HASH_NONE = 0,
    HASH_SHA256 = 0x0001,
    HASH_SHA384 = 0x0002,
    HASH_SHA512 = 0x0003,
};

enum aead_id { /* values: HPKE AEAD ids; the last is ours, for storage */
    AEAD_NONE = 0,
    AEAD_AES128GCM = 0x0001,
    AEAD_AES256GCM = 0x0002,
    AEAD_CHACHA20POLY1305 = 0x0003,
    AEAD_XCHACHA20POLY1305 = 0xff01,
};

enum kem_id { /* values: HPKE KEM ids */
    KEM_NONE = 0,
    KEM_P256 = 0x0010,
    KEM_P384 = 0x0011,
    KEM_P521 = 0x0012,
    KEM_X25519 = 0x0020,
    KEM_X448 = 0x0021,
    KEM_XWING = 0x647a, /* ML-KEM-768 and X25519: draft-ietf-hpke-pq */
};

enum sign_id { /* values: TLS SignatureScheme */
    SIGN_NONE = 0,
    SIGN_P256 = 0x0403,
    SIGN_P384 = 0x0503,
    SIGN_P521 = 0x0603,
    SIGN_ED25519 = 0x0807,
    SIGN_ED448 = 0x0808,
};

enum suite_id {
    SUITE_X25519_AES128 = 0x0001, /* MLS_128_DHKEMX25519_AES128GCM_... */
    SUITE_P256_AES128 = 0x0002,
    SUITE_X25519_CHACHA = 0x0003,
    SUITE_X448_AES256 = 0x0004,
    SUITE_P521_AES256 = 0x0005,
    SUITE_X448_CHACHA = 0x0006,
    SUITE_P384_AES256 = 0x0007,
    /* The draft (-06) has no code points yet. These are in the private range
     * of RFC 9420, section 17.1, and this is the one place to change. */
    SUITE_XWING_AES128 = 0xf001,
    SUITE_XWING_AES256 = 0xf002, /* our default */
    /* MLS_256_XWING_AES256GCM_SHA512_Ed25519 of ts-mls 2, to talk to it */
    SUITE_XWING_SHA512 = 0xf00d,
};

struct suite {
    enum suite_id id;
    const char *name;
    enum hash_id hash; /* of the KDF, the MAC and the transcript */
    enum aead_id aead;
    enum kem_id kem;
    enum sign_id sign;
    /* Sizes in bytes, as RFC 9180, section 4 and RFC 9420, section 5.1 name
     * them. */
    size_t nh;       /* hash, KDF output, MAC */
    size_t nk;       /* AEAD key */
    size_t nn;       /* AEAD nonce */
    size_t nsecret;  /* shared secret of the KEM */
    size_t nenc;     /* encapsulated key */
    size_t npk;      /* public key of the KEM */
    size_t nsk;      /* private key of the KEM */
    size_t sign_npk; /* public key for signatures */
    size_t sign_nsk; /* private key for signatures */
    size_t sign_max; /* the longest signature */
};

/* Returns NULL for a suite that we do not have. */
const struct suite *suite_find(uint16_t id);

/* Walks the table: the row at `i`, or NULL beyond the last. */
const struct suite *suite_at(size_t i);
