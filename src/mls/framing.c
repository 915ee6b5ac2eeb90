/* SPDX-License-Identifier: Apache-2.0 */
#include "mls/framing.h"

#include "crypto/aead.h"
#include "crypto/hash.h"

#include <string.h>

#define SENDER_DATA_SIZE (4U + 4U + REUSE_GUARD_SIZE)

/* FramedContentTBS. Members and new members sign the GroupContext as well, so
 * that a message is bound to one epoch of one group. */
static void tbs_write(struct writer *w, const struct authenticated_content *ac,
                      struct bytes context)
{
    writer_u16(w, MLS_VERSION_10);
    writer_u16(w, (uint16_t)ac->wire_format);
    framed_content_write(w, &ac->content);
    if (ac->content.sender.type == SENDER_MEMBER ||
        ac->content.sender.type == SENDER_NEW_MEMBER_COMMIT)
        writer_raw(w, context);
}

static enum err tbs_of(const struct authenticated_content *ac,
                       struct bytes context, struct buf *tbs)
{
    struct writer w = writer_to(tbs);
    tbs_write(&w, ac, context);
    return writer_finish(&w);
}

enum err framing_sign(struct crypto *c, const struct suite *s,
                      const struct secret *key,
                      const struct authenticated_content *ac,
                      struct bytes context, struct buf *out_signature)
{
    CLEANUP(buf_clear) struct buf tbs = buf_new(MLS_MESSAGE_MAX);
    TRY(tbs_of(ac, context, &tbs));
    return sign_with_label(c, s, key, "FramedContentTBS", buf_bytes(&tbs),
                           out_signature);
}

enum err framing_verify(struct crypto *c, const struct suite *s,
                        struct bytes key,
                        const struct authenticated_content *ac,
                        struct bytes context)
{
    CLEANUP(buf_clear) struct buf tbs = buf_new(MLS_MESSAGE_MAX);
    TRY(tbs_of(ac, context, &tbs));
    return verify_with_label(c, s, key, "FramedContentTBS", buf_bytes(&tbs),
                             ac->auth.signature);
}

/* AuthenticatedContentTBM */
static enum err tbm_of(const struct framed_content *content,
                       const struct content_auth *auth, struct bytes context,
                       struct buf *tbm)
{
    struct authenticated_content ac = {WIRE_PUBLIC_MESSAGE, *content, *auth};
    struct writer w = writer_to(tbm);
    tbs_write(&w, &ac, context);
    content_auth_write(&w, content->type, auth);
    return writer_finish(&w);
}

enum err framing_write_public(struct crypto *c, const struct suite *s,
                              const struct secret *membership_key,
                              const struct authenticated_content *ac,
                              struct bytes context, struct buf *out)
{
    CLEANUP(buf_clear) struct buf tbm = buf_new(MLS_MESSAGE_MAX);
    struct digest tag = {0};

    if (ac->content.sender.type == SENDER_MEMBER) {
        TRY(tbm_of(&ac->content, &ac->auth, context, &tbm));
        TRY(schedule_mac(c, s, membership_key, buf_bytes(&tbm), &tag));
    }
    struct public_message m = {ac->content, ac->auth, digest_bytes(&tag)};
    struct writer w = writer_to(out);
    mls_message_write_header(&w, WIRE_PUBLIC_MESSAGE);
    public_message_write(&w, &m);
    return writer_finish(&w);
}

enum err framing_check_tag(struct crypto *c, const struct suite *s,
                           const struct secret *membership_key,
                           const struct public_message *m, struct bytes context)
{
    CLEANUP(buf_clear) struct buf tbm = buf_new(MLS_MESSAGE_MAX);
    TRY(tbm_of(&m->content, &m->auth, context, &tbm));
    return schedule_mac_verify(c, s, membership_key, buf_bytes(&tbm),
                               m->membership_tag);
}

/* What PrivateContentAAD and SenderDataAAD have in common. */
static void aad_write(struct writer *w, const struct private_message *m)
{
    writer_vec(w, m->group_id);
    writer_u64(w, m->epoch);
    writer_u8(w, (uint8_t)m->type);
}

static enum err content_aad(const struct private_message *m, struct buf *aad)
{
    struct writer w = writer_to(aad);
    aad_write(&w, m);
    writer_vec(&w, m->authenticated_data);
    return writer_finish(&w);
}

static enum err sender_aad(const struct private_message *m, struct buf *aad)
{
    struct writer w = writer_to(aad);
    aad_write(&w, m);
    return writer_finish(&w);
}

/* RFC 9420, section 6.3.1: the first bytes of the nonce are XORed with the
 * guard, so that a key that is used again by mistake meets another nonce. */
static void nonce_guard(const struct message_key *key, const uint8_t *guard,
                        uint8_t nonce[AEAD_NONCE_MAX])
{
    struct bytes from = secret_expose(&key->nonce);
    memcpy(nonce, from.data, from.len);
    for (size_t i = 0; i < REUSE_GUARD_SIZE; i++)
        nonce[i] ^= guard[i];
}

/* Pads the plaintext with zeros to a multiple of the bucket. */
static enum err pad(struct buf *plain, size_t bucket)
{
    size_t over = bucket > 0 ? plain->len % bucket : 0;
    return over > 0 ? buf_extend(plain, bucket - over) : OK;
}

/* Encrypts the PrivateMessageContent. */
static enum err seal_content(struct crypto *c, const struct suite *s,
                             const struct private_seal *seal,
                             const struct private_message *m,
                             const uint8_t *guard, struct buf *out)
{
    CLEANUP(buf_clear) struct buf plain = buf_new(MLS_MESSAGE_MAX);
    CLEANUP(buf_clear) struct buf aad = buf_new(MLS_MESSAGE_MAX);
    uint8_t nonce[AEAD_NONCE_MAX] = {0};
    struct private_content content = {.body = seal->ac->content.body,
                                      .auth = seal->ac->auth};

    struct writer w = writer_to(&plain);
    private_content_write(&w, m->type, &content);
    TRY(writer_finish(&w));
    TRY(pad(&plain, seal->bucket));
    TRY(content_aad(m, &aad));
    nonce_guard(seal->key, guard, nonce);

    struct aead args = {
        s->aead, &seal->key->key, {nonce, s->nn}, buf_bytes(&aad)};
    return aead_seal(c, &args, buf_bytes(&plain), out);
}

/* Encrypts the SenderData under a key that depends on the ciphertext. */
static enum err seal_sender(struct crypto *c, const struct suite *s,
                            const struct epoch_secrets *secrets,
                            const struct private_message *m,
                            const struct sender_data *sender, struct buf *out)
{
    CLEANUP(secret_clear) struct secret key = {0};
    CLEANUP(secret_clear) struct secret nonce = {0};
    CLEANUP(buf_clear) struct buf plain = buf_new(SENDER_DATA_SIZE);
    CLEANUP(buf_clear) struct buf aad = buf_new(MLS_MESSAGE_MAX);

    TRY(schedule_sender_data(c, s, secrets, m->ciphertext, &key, &nonce));
    struct writer w = writer_to(&plain);
    sender_data_write(&w, sender);
    TRY(writer_finish(&w));
    TRY(sender_aad(m, &aad));

    struct aead args = {s->aead, &key, secret_expose(&nonce), buf_bytes(&aad)};
    return aead_seal(c, &args, buf_bytes(&plain), out);
}

enum err framing_write_private(struct crypto *c, const struct suite *s,
                               const struct random *rnd,
                               const struct private_seal *seal, struct buf *out)
{
    CLEANUP(buf_clear) struct buf ciphertext = buf_new(MLS_MESSAGE_MAX);
    CLEANUP(buf_clear)
    struct buf sealed = buf_new(SENDER_DATA_SIZE + AEAD_TAG_SIZE);
    const struct framed_content *content = &seal->ac->content;
    struct private_message m = {.group_id = content->group_id,
                                .epoch = content->epoch,
                                .type = content->type,
                                .authenticated_data =
                                    content->authenticated_data};
    struct sender_data sender = {.leaf_index = content->sender.index,
                                 .generation = seal->key->generation};

    random_fill(rnd, sender.reuse_guard, sizeof(sender.reuse_guard));
    TRY(seal_content(c, s, seal, &m, sender.reuse_guard, &ciphertext));
    m.ciphertext = buf_bytes(&ciphertext);
    TRY(seal_sender(c, s, seal->secrets, &m, &sender, &sealed));
    m.encrypted_sender_data = buf_bytes(&sealed);

    struct writer w = writer_to(out);
    mls_message_write_header(&w, WIRE_PRIVATE_MESSAGE);
    private_message_write(&w, &m);
    return writer_finish(&w);
}

enum err framing_open_sender(struct crypto *c, const struct suite *s,
                             const struct epoch_secrets *secrets,
                             const struct private_message *m,
                             struct sender_data *out)
{
    CLEANUP(secret_clear) struct secret key = {0};
    CLEANUP(secret_clear) struct secret nonce = {0};
    CLEANUP(buf_clear) struct buf plain = buf_new(MLS_MESSAGE_MAX);
    CLEANUP(buf_clear) struct buf aad = buf_new(MLS_MESSAGE_MAX);
    struct sender_data sender = {0};

    TRY(schedule_sender_data(c, s, secrets, m->ciphertext, &key, &nonce));
    TRY(sender_aad(m, &aad));
    struct aead args = {s->aead, &key, secret_expose(&nonce), buf_bytes(&aad)};
    TRY(aead_open(c, &args, m->encrypted_sender_data, &plain));

    struct reader r = reader_of(buf_bytes(&plain));
    sender_data_read(&r, &sender);
    TRY(reader_finish(&r));
    *out = sender;
    return OK;
}

enum err framing_open_private(struct crypto *c, const struct suite *s,
                              const struct private_open *open,
                              struct buf *plain,
                              struct authenticated_content *out)
{
    const struct private_message *m = open->message;
    CLEANUP(buf_clear) struct buf aad = buf_new(MLS_MESSAGE_MAX);
    uint8_t nonce[AEAD_NONCE_MAX] = {0};
    struct private_content content = {0};

    TRY(content_aad(m, &aad));
    nonce_guard(open->key, open->sender->reuse_guard, nonce);
    struct aead args = {
        s->aead, &open->key->key, {nonce, s->nn}, buf_bytes(&aad)};
    TRY(aead_open(c, &args, m->ciphertext, plain));

    struct reader r = reader_of(buf_bytes(plain));
    private_content_read(&r, m->type, &content);
    TRY(reader_finish(&r));
    *out = (struct authenticated_content){
        .wire_format = WIRE_PRIVATE_MESSAGE,
        .content = {.group_id = m->group_id,
                    .epoch = m->epoch,
                    .sender = {SENDER_MEMBER, open->sender->leaf_index},
                    .authenticated_data = m->authenticated_data,
                    .type = m->type,
                    .body = content.body},
        .auth = content.auth};
    return OK;
}

enum err transcript_confirmed(struct crypto *c, const struct suite *s,
                              struct bytes interim_before,
                              const struct authenticated_content *ac,
                              struct digest *out)
{
    CLEANUP(buf_clear) struct buf input = buf_new(MLS_MESSAGE_MAX);
    struct writer w = writer_to(&input);

    writer_u16(&w, (uint16_t)ac->wire_format);
    framed_content_write(&w, &ac->content);
    writer_vec(&w, ac->auth.signature);
    TRY(writer_finish(&w));
    return hash(c, s->hash, PARTS(interim_before, buf_bytes(&input)), out);
}

enum err transcript_interim(struct crypto *c, const struct suite *s,
                            struct bytes confirmed,
                            struct bytes confirmation_tag, struct digest *out)
{
    CLEANUP(buf_clear) struct buf input = buf_new(WIRE_VEC_MAX);
    struct writer w = writer_to(&input);

    writer_vec(&w, confirmation_tag);
    TRY(writer_finish(&w));
    return hash(c, s->hash, PARTS(confirmed, buf_bytes(&input)), out);
}
