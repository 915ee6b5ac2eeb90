/* SPDX-License-Identifier: Apache-2.0 */
#include "mls/schedule.h"

#include "crypto/hpke.h"
#include "crypto/kem.h"

void epoch_secrets_clear(struct epoch_secrets *es)
{
    secret_clear(&es->sender_data_secret);
    secret_clear(&es->encryption_secret);
    secret_clear(&es->exporter_secret);
    secret_clear(&es->external_secret);
    secret_clear(&es->confirmation_key);
    secret_clear(&es->membership_key);
    secret_clear(&es->resumption_psk);
    secret_clear(&es->epoch_authenticator);
    secret_clear(&es->init_secret);
    secret_clear(&es->application_export_secret);
}

void epoch_secrets_write(struct writer *w, const struct epoch_secrets *es)
{
    secret_write(w, &es->sender_data_secret);
    secret_write(w, &es->encryption_secret);
    secret_write(w, &es->exporter_secret);
    secret_write(w, &es->external_secret);
    secret_write(w, &es->confirmation_key);
    secret_write(w, &es->membership_key);
    secret_write(w, &es->resumption_psk);
    secret_write(w, &es->epoch_authenticator);
    secret_write(w, &es->init_secret);
}

void epoch_secrets_read(struct reader *r, struct epoch_secrets *es)
{
    secret_read(r, &es->sender_data_secret);
    secret_read(r, &es->encryption_secret);
    secret_read(r, &es->exporter_secret);
    secret_read(r, &es->external_secret);
    secret_read(r, &es->confirmation_key);
    secret_read(r, &es->membership_key);
    secret_read(r, &es->resumption_psk);
    secret_read(r, &es->epoch_authenticator);
    secret_read(r, &es->init_secret);
}

/* RFC 9420, section 8, table 4; draft-ietf-mls-extensions, "Exported Secrets"
 */
static enum err derive_epoch(struct crypto *c, const struct suite *s,
                             const struct secret *epoch_secret,
                             struct epoch_secrets *es)
{
    const struct bytes none = {0};
    const struct kdf_want wants[] = {
        {{BYTES_LIT("sender data"), none, s->nh}, &es->sender_data_secret},
        {{BYTES_LIT("encryption"), none, s->nh}, &es->encryption_secret},
        {{BYTES_LIT("exporter"), none, s->nh}, &es->exporter_secret},
        {{BYTES_LIT("external"), none, s->nh}, &es->external_secret},
        {{BYTES_LIT("confirm"), none, s->nh}, &es->confirmation_key},
        {{BYTES_LIT("membership"), none, s->nh}, &es->membership_key},
        {{BYTES_LIT("resumption"), none, s->nh}, &es->resumption_psk},
        {{BYTES_LIT("authentication"), none, s->nh}, &es->epoch_authenticator},
        {{BYTES_LIT("init"), none, s->nh}, &es->init_secret},
        {{BYTES_LIT("application_export"), none, s->nh},
         &es->application_export_secret},
    };
    return expand_with_label_each(c, s, epoch_secret, wants,
                                  sizeof(wants) / sizeof(*wants));
}

/* HKDF-Extract, with zeros as long as a hash for a NULL secret. */
static enum err extract(struct crypto *c, const struct suite *s,
                        const struct secret *salt, const struct secret *ikm,
                        struct secret *out)
{
    const struct secret zeros = {.len = s->nh};
    return hkdf_extract(c, s->hash, salt != NULL ? salt : &zeros,
                        ikm != NULL ? ikm : &zeros, out);
}

enum err schedule_joiner(struct crypto *c, const struct suite *s,
                         const struct secret *init_secret,
                         const struct secret *commit_secret,
                         struct bytes group_context,
                         struct secret *joiner_secret)
{
    CLEANUP(secret_clear) struct secret mixed = {0};
    TRY(extract(c, s, init_secret, commit_secret, &mixed));
    struct kdf_label l = {BYTES_LIT("joiner"), group_context, s->nh};
    return expand_with_label(c, s, &mixed, &l, joiner_secret);
}

enum err schedule_epoch(struct crypto *c, const struct suite *s,
                        const struct secret *joiner_secret,
                        const struct secret *psk_secret,
                        struct bytes group_context, struct epoch_secrets *out)
{
    CLEANUP(secret_clear) struct secret member = {0};
    CLEANUP(secret_clear) struct secret epoch = {0};
    TRY(extract(c, s, joiner_secret, psk_secret, &member));
    struct kdf_label l = {BYTES_LIT("epoch"), group_context, s->nh};
    TRY(expand_with_label(c, s, &member, &l, &epoch));
    return derive_epoch(c, s, &epoch, out);
}

enum err schedule_welcome(struct crypto *c, const struct suite *s,
                          const struct secret *joiner_secret,
                          const struct secret *psk_secret, struct secret *key,
                          struct secret *nonce)
{
    CLEANUP(secret_clear) struct secret member = {0};
    CLEANUP(secret_clear) struct secret welcome = {0};
    const struct kdf_want wants[] = {
        {{.label = BYTES_LIT("key"), .len = s->nk}, key},
        {{.label = BYTES_LIT("nonce"), .len = s->nn}, nonce},
    };
    TRY(extract(c, s, joiner_secret, psk_secret, &member));
    TRY(derive_secret(c, s, &member, "welcome", &welcome));
    return expand_with_label_each(c, s, &welcome, wants, 2);
}

enum err schedule_first(struct crypto *c, const struct suite *s,
                        const struct random *rnd, struct epoch_secrets *out)
{
    CLEANUP(secret_clear) struct secret epoch = {0};
    secret_random(&epoch, s->nh, rnd);
    return derive_epoch(c, s, &epoch, out);
}

enum err schedule_export(struct crypto *c, const struct suite *s,
                         const struct epoch_secrets *es,
                         const struct kdf_label *l, struct buf *out)
{
    CLEANUP(secret_clear) struct secret derived = {0};
    struct digest context;
    struct kdf_label derive = {.label = l->label, .len = s->nh};
    TRY(expand_with_label(c, s, &es->exporter_secret, &derive, &derived));
    TRY(hash(c, s->hash, PARTS(l->context), &context));
    struct kdf_label exported = {BYTES_LIT("exported"), digest_bytes(&context),
                                 l->len};
    return expand_with_label_long(c, s, &derived, &exported, out);
}

enum err schedule_external(struct crypto *c, const struct suite *s,
                           const struct epoch_secrets *es,
                           struct secret *private_key, struct buf *public_key)
{
    return kem_derive(c, s->kem, &es->external_secret, private_key, public_key);
}

static enum err external_init(struct crypto *c, const struct suite *s,
                              const struct hpke_ctx *ctx,
                              struct secret *init_secret)
{
    return hpke_ctx_export(c, ctx, BYTES_LIT("MLS 1.0 external init secret"),
                           s->nh, init_secret);
}

enum err schedule_external_send(struct crypto *c, const struct suite *s,
                                const struct random *rnd,
                                struct bytes external_pub,
                                struct buf *kem_output,
                                struct secret *init_secret)
{
    CLEANUP(hpke_ctx_clear) struct hpke_ctx ctx = {0};
    struct hpke_args args = {.public_key = external_pub};
    TRY(hpke_send(c, suite_hpke(s), rnd, &args, kem_output, &ctx));
    return external_init(c, s, &ctx, init_secret);
}

enum err schedule_external_receive(struct crypto *c, const struct suite *s,
                                   const struct epoch_secrets *es,
                                   struct bytes kem_output,
                                   struct secret *init_secret)
{
    CLEANUP(hpke_ctx_clear) struct hpke_ctx ctx = {0};
    CLEANUP(secret_clear) struct secret private_key = {0};
    CLEANUP(buf_clear) struct buf public_key = buf_new(KEM_PUBLIC_MAX);
    TRY(schedule_external(c, s, es, &private_key, &public_key));
    struct hpke_args args = {.public_key = buf_bytes(&public_key),
                             .enc = kem_output};
    TRY(hpke_receive(c, suite_hpke(s), &private_key, &args, &ctx));
    return external_init(c, s, &ctx, init_secret);
}

enum err schedule_sender_data(struct crypto *c, const struct suite *s,
                              const struct epoch_secrets *es,
                              struct bytes ciphertext, struct secret *key,
                              struct secret *nonce)
{
    struct bytes sample = ciphertext;
    if (sample.len > s->nh)
        sample.len = s->nh;
    const struct kdf_want wants[] = {
        {{BYTES_LIT("key"), sample, s->nk}, key},
        {{BYTES_LIT("nonce"), sample, s->nn}, nonce},
    };
    return expand_with_label_each(c, s, &es->sender_data_secret, wants, 2);
}

enum err schedule_mac(struct crypto *c, const struct suite *s,
                      const struct secret *key, struct bytes data,
                      struct digest *tag)
{
    return hmac(c, s->hash, key, PARTS(data), tag);
}

enum err schedule_mac_verify(struct crypto *c, const struct suite *s,
                             const struct secret *key, struct bytes data,
                             struct bytes tag)
{
    return hmac_verify(c, s->hash, key, PARTS(data), tag);
}

/* struct { PreSharedKeyID id; uint16 index; uint16 count; } PSKLabel */
static enum err psk_label_write(struct buf *out, const struct psk_id *id,
                                size_t index, size_t count)
{
    struct writer w = writer_to(out);
    psk_id_write(&w, id);
    writer_u16(&w, (uint16_t)index);
    writer_u16(&w, (uint16_t)count);
    return writer_finish(&w);
}

enum err schedule_psk(struct crypto *c, const struct suite *s,
                      const struct psk *psks, size_t count,
                      struct secret *psk_secret)
{
    CLEANUP(secret_clear) struct secret sum = {.len = s->nh};
    if (count > MLS_PSKS_MAX)
        return ERR_LIMIT;
    for (size_t i = 0; i < count; i++) {
        CLEANUP(secret_clear) struct secret extracted = {0};
        CLEANUP(secret_clear) struct secret input = {0};
        CLEANUP(secret_clear) struct secret next = {0};
        CLEANUP(buf_clear) struct buf label = buf_new(MLS_MESSAGE_MAX);
        TRY(psk_label_write(&label, &psks[i].id, i, count));
        TRY(hkdf_extract_parts(c, s->hash, (struct bytes){0},
                               PARTS(buf_bytes(psks[i].value)), &extracted));
        struct kdf_label l = {BYTES_LIT("derived psk"), buf_bytes(&label),
                              s->nh};
        TRY(expand_with_label(c, s, &extracted, &l, &input));
        TRY(hkdf_extract(c, s->hash, &input, &sum, &next));
        secret_take(&sum, &next);
    }
    secret_take(psk_secret, &sum);
    return OK;
}
