/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/kem.h"

#include "crypto/curve.h"
#include "crypto/internal.h"
#include "crypto/label.h"

#include <assert.h>
#include <sodium.h>
#include <string.h>

#define X448           "X448"
#define CANDIDATES_MAX 256U /* RFC 9180, section 7.1.3 */
#define XWING_COINS    64U  /* randomness of an encapsulation */

/*
 * One algorithm; `agree` is the Diffie-Hellman of a DHKEM. The sizes of what
 * they get are checked; `public` writes public_size bytes, `encap` enc_size.
 */
struct kem_alg {
    enum kem_id id;
    enum hash_id hash; /* of a DHKEM */
    size_t public_size;
    size_t private_size;
    size_t enc_size;
    size_t secret_size;
    const struct kem_family *family;
    const struct curve *curve; /* NIST only */
    enum err (*public)(struct crypto *c, const struct kem_alg *alg,
                       const struct secret *private_key, uint8_t *out);
    enum err (*check)(struct crypto *c, const struct kem_alg *alg,
                      struct bytes public_key);
    enum err (*agree)(struct crypto *c, const struct kem_alg *alg,
                      const struct secret *private_key, struct bytes peer,
                      struct secret *out_shared);
};

struct kem_family {
    enum err (*draw)(struct crypto *c, const struct kem_alg *alg,
                     const struct random *random, struct secret *out_private);
    enum err (*derive)(struct crypto *c, const struct kem_alg *alg,
                       const struct secret *ikm, struct secret *out_private);
    enum err (*encap)(struct crypto *c, const struct kem_alg *alg,
                      const struct random *random, struct bytes public_key,
                      struct secret *out_shared, uint8_t *out_enc);
    enum err (*decap)(struct crypto *c, const struct kem_alg *alg,
                      const struct secret *private_key, struct bytes public_key,
                      struct bytes enc, struct secret *out_shared);
};

/* Curves */

static enum err any_key(struct crypto *c, const struct kem_alg *alg,
                        struct bytes public_key)
{
    (void)c, (void)alg, (void)public_key;
    return OK; /* RFC 7748: any string is one; the secret is checked */
}

static enum err x25519_public(struct crypto *c, const struct kem_alg *alg,
                              const struct secret *private_key, uint8_t *out)
{
    (void)c, (void)alg;
    (void)crypto_scalarmult_curve25519_base(out, private_key->data);
    return OK;
}

static enum err x25519_agree(struct crypto *c, const struct kem_alg *alg,
                             const struct secret *private_key,
                             struct bytes peer, struct secret *out_shared)
{
    (void)c;
    CLEANUP(secret_clear) struct secret shared = {.len = alg->secret_size};
    if (crypto_scalarmult_curve25519(shared.data, private_key->data,
                                     peer.data) != 0)
        return ERR_INVALID; /* RFC 9180, section 7.1.4: all zero */
    secret_take(out_shared, &shared);
    return OK;
}

static enum err x448_public(struct crypto *c, const struct kem_alg *alg,
                            const struct secret *private_key, uint8_t *out)
{
    CLEANUP(pkey_free) EVP_PKEY *key = NULL;
    (void)c;
    TRY(raw_private_key(X448, private_key, &key));
    return raw_public(key, out, alg->public_size);
}

static enum err x448_agree(struct crypto *c, const struct kem_alg *alg,
                           const struct secret *private_key, struct bytes peer,
                           struct secret *out_shared)
{
    CLEANUP(pkey_free) EVP_PKEY *own = NULL;
    CLEANUP(pkey_free) EVP_PKEY *other = NULL;
    (void)c, (void)alg;
    TRY(raw_private_key(X448, private_key, &own));
    TRY(raw_public_key(X448, peer, &other));
    return pkey_agree(own, other, out_shared);
}

static enum err nist_public(struct crypto *c, const struct kem_alg *alg,
                            const struct secret *private_key, uint8_t *out)
{
    return curve_public(c, alg->curve, private_key, out);
}

static enum err nist_check(struct crypto *c, const struct kem_alg *alg,
                           struct bytes public_key)
{
    CLEANUP(pkey_free) EVP_PKEY *key = NULL;
    return curve_public_key(c, alg->curve, public_key, &key);
}

static enum err nist_agree(struct crypto *c, const struct kem_alg *alg,
                           const struct secret *private_key, struct bytes peer,
                           struct secret *out_shared)
{
    CLEANUP(pkey_free) EVP_PKEY *own = NULL;
    CLEANUP(pkey_free) EVP_PKEY *other = NULL;
    TRY(curve_private_key(c, alg->curve, private_key, &own));
    TRY(curve_public_key(c, alg->curve, peer, &other));
    return pkey_agree(own, other, out_shared);
}

/* DHKEM: RFC 9180, section 4.1 */

struct suite_label {
    uint8_t text[5];
};

static struct suite_label suite_label(const struct kem_alg *alg)
{
    return (struct suite_label){
        {'K', 'E', 'M', (uint8_t)(alg->id >> 8), (uint8_t)alg->id}};
}

static enum err nist_candidates(const struct labels *l,
                                const struct kem_alg *alg,
                                const struct secret *prk, struct secret *key)
{
    enum err err = ERR_INVALID;
    for (size_t i = 0; i < CANDIDATES_MAX && err == ERR_INVALID; i++) {
        const uint8_t counter = (uint8_t)i;
        TRY(label_expand(l, prk, "candidate", bytes_of(&counter, 1),
                         alg->private_size, key));
        err = curve_candidate(l->c, alg->curve, key);
    }
    return err;
}

/* DeriveKeyPair: RFC 9180, section 7.1.3 */
static enum err dhkem_derive(struct crypto *c, const struct kem_alg *alg,
                             const struct secret *ikm,
                             struct secret *out_private)
{
    const struct suite_label suite = suite_label(alg);
    const struct labels l = {c, alg->hash, BYTES_ARRAY(suite.text)};
    CLEANUP(secret_clear) struct secret prk = {0};
    CLEANUP(secret_clear) struct secret key = {0};
    TRY(label_extract(&l, (struct bytes){0}, "dkp_prk", secret_expose(ikm),
                      &prk));
    if (alg->curve != NULL)
        TRY(nist_candidates(&l, alg, &prk, &key));
    else
        TRY(label_expand(&l, &prk, "sk", (struct bytes){0}, alg->private_size,
                         &key));
    secret_take(out_private, &key);
    return OK;
}

static enum err dhkem_draw(struct crypto *c, const struct kem_alg *alg,
                           const struct random *random,
                           struct secret *out_private)
{
    CLEANUP(secret_clear) struct secret ikm = {0};
    secret_random(&ikm, alg->private_size, random);
    return dhkem_derive(c, alg, &ikm, out_private);
}

/* ExtractAndExpand, with kem_context = enc || public_key */
static enum err dhkem_finish(struct crypto *c, const struct kem_alg *alg,
                             const struct secret *dh, struct bytes enc,
                             struct bytes public_key, struct secret *out_shared)
{
    const struct suite_label suite = suite_label(alg);
    const struct labels l = {c, alg->hash, BYTES_ARRAY(suite.text)};
    uint8_t context[2 * CURVE_PUBLIC_MAX];
    memcpy(context, enc.data, enc.len);
    memcpy(context + enc.len, public_key.data, public_key.len);
    CLEANUP(secret_clear) struct secret prk = {0};
    TRY(label_extract(&l, (struct bytes){0}, "eae_prk", secret_expose(dh),
                      &prk));
    return label_expand(&l, &prk, "shared_secret",
                        bytes_of(context, enc.len + public_key.len),
                        alg->secret_size, out_shared);
}

static enum err dhkem_encap(struct crypto *c, const struct kem_alg *alg,
                            const struct random *random,
                            struct bytes public_key, struct secret *out_shared,
                            uint8_t *out_enc)
{
    CLEANUP(secret_clear) struct secret ephemeral = {0};
    CLEANUP(secret_clear) struct secret dh = {0};
    TRY(dhkem_draw(c, alg, random, &ephemeral));
    TRY(alg->public(c, alg, &ephemeral, out_enc));
    TRY(alg->agree(c, alg, &ephemeral, public_key, &dh));
    return dhkem_finish(c, alg, &dh, bytes_of(out_enc, alg->enc_size),
                        public_key, out_shared);
}

static enum err dhkem_decap(struct crypto *c, const struct kem_alg *alg,
                            const struct secret *private_key,
                            struct bytes public_key, struct bytes enc,
                            struct secret *out_shared)
{
    uint8_t own[CURVE_PUBLIC_MAX];
    CLEANUP(secret_clear) struct secret dh = {0};
    if (public_key.len == 0) {
        TRY(alg->public(c, alg, private_key, own));
        public_key = bytes_of(own, alg->public_size);
    }
    TRY(alg->agree(c, alg, private_key, enc, &dh));
    return dhkem_finish(c, alg, &dh, enc, public_key, out_shared);
}

/* X-Wing: draft-connolly-cfrg-xwing-kem */

static enum err xwing_draw(struct crypto *c, const struct kem_alg *alg,
                           const struct random *random,
                           struct secret *out_private)
{
    (void)c;
    secret_random(out_private, alg->private_size, random);
    return OK;
}

/* draft-ietf-hpke-pq: SHAKE256.LabeledDerive(ikm, "DeriveKeyPair", "", Nsk) */
static enum err xwing_derive(struct crypto *c, const struct kem_alg *alg,
                             const struct secret *ikm,
                             struct secret *out_private)
{
    const struct bytes tail = BYTES_LIT("HPKE-v1"
                                        "KEM\x64\x7a"
                                        "\x00\x0d"
                                        "DeriveKeyPair"
                                        "\x00\x20");
    crypto_xof_shake256_state state;
    CLEANUP(secret_clear) struct secret key = {.len = alg->private_size};
    (void)c;
    (void)crypto_xof_shake256_init(&state);
    (void)crypto_xof_shake256_update(&state, ikm->data, ikm->len);
    (void)crypto_xof_shake256_update(&state, tail.data, tail.len);
    (void)crypto_xof_shake256_squeeze(&state, key.data, key.len);
    sodium_memzero(&state, sizeof(state));
    secret_take(out_private, &key);
    return OK;
}

static enum err xwing_public(struct crypto *c, const struct kem_alg *alg,
                             const struct secret *private_key, uint8_t *out)
{
    uint8_t seed[crypto_kem_xwing_SECRETKEYBYTES];
    (void)c, (void)alg;
    (void)crypto_kem_xwing_seed_keypair(out, seed, private_key->data);
    sodium_memzero(seed, sizeof(seed));
    return OK;
}

static enum err xwing_encap(struct crypto *c, const struct kem_alg *alg,
                            const struct random *random,
                            struct bytes public_key, struct secret *out_shared,
                            uint8_t *out_enc)
{
    uint8_t coins[XWING_COINS];
    CLEANUP(secret_clear) struct secret shared = {.len = alg->secret_size};
    (void)c;
    random_fill(random, coins, sizeof(coins));
    int failed = crypto_kem_xwing_enc_deterministic(out_enc, shared.data,
                                                    public_key.data, coins);
    sodium_memzero(coins, sizeof(coins));
    if (failed != 0)
        return ERR_INVALID; /* not reduced, or an X25519 key of small order */
    secret_take(out_shared, &shared);
    return OK;
}

/* libsodium checks a key only when it encapsulates to it. */
static enum err xwing_check(struct crypto *c, const struct kem_alg *alg,
                            struct bytes public_key)
{
    static const uint8_t coins[XWING_COINS] = {1};
    uint8_t enc[KEM_ENC_MAX];
    CLEANUP(secret_clear) struct secret shared = {.len = alg->secret_size};
    (void)c;
    int failed = crypto_kem_xwing_enc_deterministic(enc, shared.data,
                                                    public_key.data, coins);
    return failed == 0 ? OK : ERR_INVALID;
}

static enum err xwing_decap(struct crypto *c, const struct kem_alg *alg,
                            const struct secret *private_key,
                            struct bytes public_key, struct bytes enc,
                            struct secret *out_shared)
{
    CLEANUP(secret_clear) struct secret shared = {.len = alg->secret_size};
    (void)c, (void)public_key;
    if (crypto_kem_xwing_dec(shared.data, enc.data, private_key->data) != 0)
        return ERR_INVALID;
    secret_take(out_shared, &shared);
    return OK;
}

static const struct kem_family dhkem = {dhkem_draw, dhkem_derive, dhkem_encap,
                                        dhkem_decap};
static const struct kem_family xwing = {xwing_draw, xwing_derive, xwing_encap,
                                        xwing_decap};

static const struct kem_alg algs[] = {
    {KEM_P256, HASH_SHA256, 65, 32, 65, 32, &dhkem, &curve_p256, nist_public,
     nist_check, nist_agree},
    {KEM_P384, HASH_SHA384, 97, 48, 97, 48, &dhkem, &curve_p384, nist_public,
     nist_check, nist_agree},
    {KEM_P521, HASH_SHA512, 133, 66, 133, 64, &dhkem, &curve_p521, nist_public,
     nist_check, nist_agree},
    {KEM_X25519, HASH_SHA256, 32, 32, 32, 32, &dhkem, NULL, x25519_public,
     any_key, x25519_agree},
    {KEM_X448, HASH_SHA512, 56, 56, 56, 64, &dhkem, NULL, x448_public, any_key,
     x448_agree},
    {KEM_XWING, HASH_NONE, 1216, 32, 1120, 32, &xwing, NULL, xwing_public,
     xwing_check, NULL},
};

static const struct kem_alg *alg_of(enum kem_id id)
{
    size_t i = 0;
    while (i < sizeof(algs) / sizeof(algs[0]) && algs[i].id != id)
        i++;
    assert(i < sizeof(algs) / sizeof(algs[0]));
    return &algs[i];
}

size_t kem_public_size(enum kem_id kem) { return alg_of(kem)->public_size; }
size_t kem_private_size(enum kem_id kem) { return alg_of(kem)->private_size; }
size_t kem_enc_size(enum kem_id kem) { return alg_of(kem)->enc_size; }
size_t kem_secret_size(enum kem_id kem) { return alg_of(kem)->secret_size; }

enum err kem_generate(struct crypto *c, enum kem_id kem,
                      const struct random *random, struct secret *out_private,
                      struct buf *out_public)
{
    const struct kem_alg *alg = alg_of(kem);
    CLEANUP(secret_clear) struct secret key = {0};
    TRY(alg->family->draw(c, alg, random, &key));
    TRY(kem_public(c, kem, &key, out_public));
    secret_take(out_private, &key);
    return OK;
}

enum err kem_derive(struct crypto *c, enum kem_id kem, const struct secret *ikm,
                    struct secret *out_private, struct buf *out_public)
{
    const struct kem_alg *alg = alg_of(kem);
    CLEANUP(secret_clear) struct secret key = {0};
    TRY(alg->family->derive(c, alg, ikm, &key));
    TRY(kem_public(c, kem, &key, out_public));
    secret_take(out_private, &key);
    return OK;
}

enum err kem_public(struct crypto *c, enum kem_id kem,
                    const struct secret *private_key, struct buf *out_public)
{
    const struct kem_alg *alg = alg_of(kem);
    uint8_t key[KEM_PUBLIC_MAX];
    if (private_key->len != alg->private_size)
        return ERR_MALFORMED;
    TRY(alg->public(c, alg, private_key, key));
    return buf_append(out_public, bytes_of(key, alg->public_size));
}

enum err kem_check(struct crypto *c, enum kem_id kem, struct bytes public_key)
{
    const struct kem_alg *alg = alg_of(kem);
    if (public_key.len != alg->public_size)
        return ERR_MALFORMED;
    return alg->check(c, alg, public_key);
}

enum err kem_encap(struct crypto *c, enum kem_id kem,
                   const struct random *random, struct bytes public_key,
                   struct secret *out_shared, struct buf *out_enc)
{
    const struct kem_alg *alg = alg_of(kem);
    uint8_t enc[KEM_ENC_MAX];
    CLEANUP(secret_clear) struct secret shared = {0};
    if (public_key.len != alg->public_size)
        return ERR_MALFORMED;
    TRY(alg->family->encap(c, alg, random, public_key, &shared, enc));
    TRY(buf_append(out_enc, bytes_of(enc, alg->enc_size)));
    secret_take(out_shared, &shared);
    return OK;
}

enum err kem_decap(struct crypto *c, enum kem_id kem,
                   const struct secret *private_key, struct bytes public_key,
                   struct bytes enc, struct secret *out_shared)
{
    const struct kem_alg *alg = alg_of(kem);
    if (private_key->len != alg->private_size || enc.len != alg->enc_size ||
        (public_key.len != 0 && public_key.len != alg->public_size))
        return ERR_MALFORMED;
    return alg->family->decap(c, alg, private_key, public_key, enc, out_shared);
}
