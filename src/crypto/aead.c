/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/aead.h"

#include "crypto/internal.h"

#include <assert.h>
#include <sodium.h>

#define TEXT_MAX (1U << 30) /* OpenSSL counts in int */

/* One algorithm: `seal` writes text.len + AEAD_TAG_SIZE bytes, `open` writes
 * text.len - AEAD_TAG_SIZE bytes. */
struct aead_alg {
    enum aead_id id;
    size_t key_size;
    size_t nonce_size;
    enum err (*seal)(struct crypto *c, const struct aead *a, struct bytes text,
                     uint8_t *out);
    enum err (*open)(struct crypto *c, const struct aead *a, struct bytes text,
                     uint8_t *out);
};

static size_t gcm_index(const struct aead *a)
{
    return a->alg == AEAD_AES128GCM ? 0 : 1;
}

/* The length of what OpenSSL wrote is known: GCM is a stream cipher. */
static bool gcm_update(EVP_CIPHER_CTX *ctx, uint8_t *out, struct bytes in)
{
    int len = 0;
    return in.len == 0 ||
           EVP_CipherUpdate(ctx, out, &len, in.data, (int)in.len) == 1;
}

static enum err gcm_seal(struct crypto *c, const struct aead *a,
                         struct bytes text, uint8_t *out)
{
    EVP_CIPHER_CTX *ctx = c->gcm_seal[gcm_index(a)];
    uint8_t *tag = out + text.len;
    int len = 0;
    return openssl_check(EVP_EncryptInit_ex2(ctx, NULL, a->key->data,
                                             a->nonce.data, NULL) == 1 &&
                         gcm_update(ctx, NULL, a->aad) &&
                         gcm_update(ctx, out, text) &&
                         EVP_EncryptFinal_ex(ctx, tag, &len) == 1 &&
                         EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG,
                                             AEAD_TAG_SIZE, tag) == 1);
}

static enum err gcm_open(struct crypto *c, const struct aead *a,
                         struct bytes text, uint8_t *out)
{
    EVP_CIPHER_CTX *ctx = c->gcm_open[gcm_index(a)];
    struct bytes content = {text.data, text.len - AEAD_TAG_SIZE};
    uint8_t tag[AEAD_TAG_SIZE]; /* the call takes no pointer to const */
    uint8_t none[1];
    int len = 0;
    for (size_t i = 0; i < sizeof(tag); i++)
        tag[i] = text.data[content.len + i];
    TRY(openssl_check(EVP_DecryptInit_ex2(ctx, NULL, a->key->data,
                                          a->nonce.data, NULL) == 1 &&
                      EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG,
                                          AEAD_TAG_SIZE, tag) == 1 &&
                      gcm_update(ctx, NULL, a->aad) &&
                      gcm_update(ctx, out, content)));
    return openssl_judge(EVP_DecryptFinal_ex(ctx, none, &len) == 1, ERR_AUTH);
}

static enum err chacha_seal(struct crypto *c, const struct aead *a,
                            struct bytes text, uint8_t *out)
{
    (void)c;
    (void)crypto_aead_chacha20poly1305_ietf_encrypt(
        out, NULL, text.data, text.len, a->aad.data, a->aad.len, NULL,
        a->nonce.data, a->key->data); /* cannot fail */
    return OK;
}

static enum err chacha_open(struct crypto *c, const struct aead *a,
                            struct bytes text, uint8_t *out)
{
    (void)c;
    int failed = crypto_aead_chacha20poly1305_ietf_decrypt(
        out, NULL, NULL, text.data, text.len, a->aad.data, a->aad.len,
        a->nonce.data, a->key->data);
    return failed == 0 ? OK : ERR_AUTH;
}

static enum err xchacha_seal(struct crypto *c, const struct aead *a,
                             struct bytes text, uint8_t *out)
{
    (void)c;
    (void)crypto_aead_xchacha20poly1305_ietf_encrypt(
        out, NULL, text.data, text.len, a->aad.data, a->aad.len, NULL,
        a->nonce.data, a->key->data); /* cannot fail */
    return OK;
}

static enum err xchacha_open(struct crypto *c, const struct aead *a,
                             struct bytes text, uint8_t *out)
{
    (void)c;
    int failed = crypto_aead_xchacha20poly1305_ietf_decrypt(
        out, NULL, NULL, text.data, text.len, a->aad.data, a->aad.len,
        a->nonce.data, a->key->data);
    return failed == 0 ? OK : ERR_AUTH;
}

static const struct aead_alg algs[] = {
    {AEAD_AES128GCM, 16, 12, gcm_seal, gcm_open},
    {AEAD_AES256GCM, 32, 12, gcm_seal, gcm_open},
    {AEAD_CHACHA20POLY1305, 32, 12, chacha_seal, chacha_open},
    {AEAD_XCHACHA20POLY1305, 32, 24, xchacha_seal, xchacha_open},
};

static const struct aead_alg *alg_of(enum aead_id id)
{
    size_t i = 0;
    while (i < sizeof(algs) / sizeof(algs[0]) && algs[i].id != id)
        i++;
    assert(i < sizeof(algs) / sizeof(algs[0]));
    return &algs[i];
}

size_t aead_key_size(enum aead_id alg) { return alg_of(alg)->key_size; }
size_t aead_nonce_size(enum aead_id alg) { return alg_of(alg)->nonce_size; }

/* The sizes may come from a damaged file, so they are not asserted. */
static enum err check(const struct aead_alg *alg, const struct aead *a,
                      struct bytes text)
{
    if (a->key->len != alg->key_size || a->nonce.len != alg->nonce_size)
        return ERR_INVALID;
    return text.len > TEXT_MAX || a->aad.len > TEXT_MAX ? ERR_LIMIT : OK;
}

enum err aead_seal(struct crypto *c, const struct aead *a,
                   struct bytes plaintext, struct buf *out)
{
    const struct aead_alg *alg = alg_of(a->alg);
    size_t start = out->len;
    TRY(check(alg, a, plaintext));
    TRY(buf_extend(out, plaintext.len + AEAD_TAG_SIZE));
    enum err err = alg->seal(c, a, plaintext, out->data + start);
    if (err != OK)
        buf_truncate(out, start);
    return err;
}

enum err aead_open(struct crypto *c, const struct aead *a,
                   struct bytes ciphertext, struct buf *out)
{
    const struct aead_alg *alg = alg_of(a->alg);
    size_t start = out->len;
    uint8_t none[1] = {0};
    TRY(check(alg, a, ciphertext));
    if (ciphertext.len < AEAD_TAG_SIZE)
        return ERR_AUTH;
    TRY(buf_extend(out, ciphertext.len - AEAD_TAG_SIZE));
    enum err err = alg->open(c, a, ciphertext,
                             out->data != NULL ? out->data + start : none);
    if (err != OK)
        buf_truncate(out, start);
    return err;
}
