/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/hpke.h"

#include "crypto/aead.h"
#include "crypto/internal.h"
#include "crypto/kem.h"
#include "crypto/label.h"

#include <string.h>

#define SUITE_ID_SIZE 10U
#define MODE_BASE     0x00

struct hpke suite_hpke(const struct suite *s)
{
    return (struct hpke){.kem = s->kem, .kdf = s->hash, .aead = s->aead};
}

void hpke_ctx_clear(struct hpke_ctx *ctx) { explicit_bzero(ctx, sizeof(*ctx)); }

/* suite_id = "HPKE" || kem_id || kdf_id || aead_id */
static void suite_id(struct hpke h, uint8_t out[SUITE_ID_SIZE])
{
    const uint8_t id[SUITE_ID_SIZE] = {
        'H',
        'P',
        'K',
        'E',
        (uint8_t)(h.kem >> 8),
        (uint8_t)h.kem,
        (uint8_t)(h.kdf >> 8),
        (uint8_t)h.kdf,
        (uint8_t)(h.aead >> 8),
        (uint8_t)h.aead,
    };
    memcpy(out, id, SUITE_ID_SIZE);
}

enum err hpke_info_hash(struct crypto *c, struct hpke h, struct bytes info,
                        struct secret *out)
{
    uint8_t id[SUITE_ID_SIZE];
    suite_id(h, id);
    const struct labels l = {c, h.kdf, BYTES_ARRAY(id)};
    return label_extract(&l, (struct bytes){0}, "info_hash", info, out);
}

/* KeySchedule without a PSK: RFC 9180, section 5.1 */
static enum err key_schedule(struct crypto *c, struct hpke h,
                             const struct secret *shared,
                             const struct hpke_args *args, struct hpke_ctx *out)
{
    uint8_t id[SUITE_ID_SIZE];
    suite_id(h, id);
    const struct labels l = {c, h.kdf, BYTES_ARRAY(id)};
    const struct bytes none = {0};
    CLEANUP(secret_clear) struct secret psk_id_hash = {0};
    CLEANUP(secret_clear) struct secret info_hash = {0};
    TRY(label_extract(&l, none, "psk_id_hash", none, &psk_id_hash));
    if (args->info_hash != NULL)
        secret_copy(&info_hash, args->info_hash);
    else
        TRY(hpke_info_hash(c, h, args->info, &info_hash));

    uint8_t context[1 + 2 * HASH_MAX] = {MODE_BASE};
    size_t nh = hash_size(h.kdf);
    memcpy(context + 1, psk_id_hash.data, nh);
    memcpy(context + 1 + nh, info_hash.data, nh);
    const struct bytes ksc = {context, 1 + 2 * nh};

    CLEANUP(secret_clear) struct secret secret = {0};
    TRY(label_extract(&l, secret_expose(shared), "secret", none, &secret));
    CLEANUP(hpke_ctx_clear) struct hpke_ctx ctx = {.hpke = h};
    TRY(label_expand(&l, &secret, "key", ksc, aead_key_size(h.aead), &ctx.key));
    TRY(label_expand(&l, &secret, "base_nonce", ksc, HPKE_NONCE_SIZE,
                     &ctx.base_nonce));
    TRY(label_expand(&l, &secret, "exp", ksc, nh, &ctx.exporter));
    memcpy(out, &ctx, sizeof(ctx));
    return OK;
}

enum err hpke_send(struct crypto *c, struct hpke h, const struct random *random,
                   const struct hpke_args *args, struct buf *out_enc,
                   struct hpke_ctx *out_ctx)
{
    size_t start = out_enc->len;
    CLEANUP(secret_clear) struct secret shared = {0};
    TRY(kem_encap(c, h.kem, random, args->public_key, &shared, out_enc));
    enum err err = key_schedule(c, h, &shared, args, out_ctx);
    if (err != OK)
        buf_truncate(out_enc, start);
    return err;
}

enum err hpke_receive(struct crypto *c, struct hpke h,
                      const struct secret *private_key,
                      const struct hpke_args *args, struct hpke_ctx *out_ctx)
{
    CLEANUP(secret_clear) struct secret shared = {0};
    TRY(kem_decap(c, h.kem, private_key, args->public_key, args->enc, &shared));
    return key_schedule(c, h, &shared, args, out_ctx);
}

/* ComputeNonce: the base nonce with the big-endian sequence number xored */
static void nonce_of(const struct hpke_ctx *ctx, uint8_t out[HPKE_NONCE_SIZE])
{
    memcpy(out, ctx->base_nonce.data, HPKE_NONCE_SIZE);
    for (size_t i = 0; i < sizeof(ctx->seq); i++)
        out[HPKE_NONCE_SIZE - 1 - i] ^= (uint8_t)(ctx->seq >> 8 * i);
}

enum err hpke_ctx_seal(struct crypto *c, struct hpke_ctx *ctx, struct bytes aad,
                       struct bytes plaintext, struct buf *out)
{
    uint8_t nonce[HPKE_NONCE_SIZE];
    if (ctx->seq == UINT64_MAX)
        return ERR_LIMIT; /* MessageLimitReachedError */
    nonce_of(ctx, nonce);
    const struct aead a = {ctx->hpke.aead, &ctx->key, BYTES_ARRAY(nonce), aad};
    TRY(aead_seal(c, &a, plaintext, out));
    ctx->seq++;
    return OK;
}

enum err hpke_ctx_open(struct crypto *c, struct hpke_ctx *ctx, struct bytes aad,
                       struct bytes ciphertext, struct buf *out)
{
    uint8_t nonce[HPKE_NONCE_SIZE];
    if (ctx->seq == UINT64_MAX)
        return ERR_LIMIT;
    nonce_of(ctx, nonce);
    const struct aead a = {ctx->hpke.aead, &ctx->key, BYTES_ARRAY(nonce), aad};
    TRY(aead_open(c, &a, ciphertext, out));
    ctx->seq++;
    return OK;
}

enum err hpke_ctx_export(struct crypto *c, const struct hpke_ctx *ctx,
                         struct bytes exporter_context, size_t len,
                         struct secret *out)
{
    uint8_t id[SUITE_ID_SIZE];
    suite_id(ctx->hpke, id);
    const struct labels l = {c, ctx->hpke.kdf, BYTES_ARRAY(id)};
    return label_expand(&l, &ctx->exporter, "sec", exporter_context, len, out);
}

enum err hpke_seal(struct crypto *c, struct hpke h, const struct random *random,
                   const struct hpke_args *args, struct buf *out_enc,
                   struct buf *out)
{
    size_t start = out_enc->len;
    CLEANUP(hpke_ctx_clear) struct hpke_ctx ctx = {0};
    TRY(hpke_send(c, h, random, args, out_enc, &ctx));
    enum err err = hpke_ctx_seal(c, &ctx, args->aad, args->text, out);
    if (err != OK)
        buf_truncate(out_enc, start);
    return err;
}

enum err hpke_open(struct crypto *c, struct hpke h,
                   const struct secret *private_key,
                   const struct hpke_args *args, struct buf *out)
{
    CLEANUP(hpke_ctx_clear) struct hpke_ctx ctx = {0};
    TRY(hpke_receive(c, h, private_key, args, &ctx));
    return hpke_ctx_open(c, &ctx, args->aad, args->text, out);
}
