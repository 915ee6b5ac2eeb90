/* SPDX-License-Identifier: Apache-2.0 */
#include "mls/label.h"

#include "crypto/hpke.h"
#include "crypto/sign.h"

#include <assert.h>

#define PREFIX BYTES_LIT("MLS 1.0 ")

/* struct { uint16 length; opaque label<V>; opaque context<V>; } KDFLabel
 * as parts: the headers are kept here, the rest lies with the caller. */
struct kdf_info {
    uint8_t length[2];
    uint8_t label_room[WIRE_HEADER_MAX];
    uint8_t context_room[WIRE_HEADER_MAX];
    struct bytes list[6];
};

static enum err kdf_info_set(struct kdf_info *k, const struct kdf_label *l)
{
    struct bytes label = wire_header(PREFIX.len + l->label.len, k->label_room);
    struct bytes context = wire_header(l->context.len, k->context_room);
    if (label.len == 0 || context.len == 0 || l->len > UINT16_MAX)
        return ERR_LIMIT;
    k->length[0] = (uint8_t)(l->len >> 8);
    k->length[1] = (uint8_t)l->len;
    k->list[0] = BYTES_ARRAY(k->length);
    k->list[1] = label;
    k->list[2] = PREFIX;
    k->list[3] = l->label;
    k->list[4] = context;
    k->list[5] = l->context;
    return OK;
}

static struct parts kdf_info_parts(const struct kdf_info *k)
{
    return (struct parts){k->list, sizeof k->list / sizeof *k->list};
}

enum err expand_with_label(struct crypto *c, const struct suite *s,
                           const struct secret *secret,
                           const struct kdf_label *l, struct secret *out)
{
    struct kdf_info k;
    if (l->len > SECRET_MAX)
        return ERR_LIMIT;
    TRY(kdf_info_set(&k, l));
    return hkdf_expand(c, s->hash, secret, kdf_info_parts(&k), l->len, out);
}

enum err expand_with_label_each(struct crypto *c, const struct suite *s,
                                const struct secret *secret,
                                const struct kdf_want *wants, size_t count)
{
    struct kdf_info k[HKDF_WANTS_MAX];
    struct hkdf_want each[HKDF_WANTS_MAX];
    assert(count <= HKDF_WANTS_MAX);
    for (size_t i = 0; i < count; i++) {
        TRY(kdf_info_set(&k[i], &wants[i].label));
        each[i] = (struct hkdf_want){kdf_info_parts(&k[i]), wants[i].label.len,
                                     wants[i].out};
    }
    return hkdf_expand_each(c, s->hash, secret, each, count);
}

enum err expand_with_label_long(struct crypto *c, const struct suite *s,
                                const struct secret *secret,
                                const struct kdf_label *l, struct buf *out)
{
    struct kdf_info k;
    TRY(kdf_info_set(&k, l));
    return hkdf_expand_long(c, s->hash, secret, kdf_info_parts(&k), l->len,
                            out);
}

enum err derive_secret(struct crypto *c, const struct suite *s,
                       const struct secret *secret, const char *label,
                       struct secret *out)
{
    struct kdf_label l = {.label = bytes_str(label), .len = s->nh};
    return expand_with_label(c, s, secret, &l, out);
}

struct bytes generation_context(uint32_t generation, uint8_t room[4])
{
    for (unsigned i = 0; i < 4; i++)
        room[i] = (uint8_t)(generation >> (24 - 8 * i));
    return (struct bytes){room, 4};
}

enum err derive_tree_secret(struct crypto *c, const struct suite *s,
                            const struct secret *secret, struct kdf_label l,
                            uint32_t generation, struct secret *out)
{
    uint8_t room[4];
    l.context = generation_context(generation, room);
    return expand_with_label(c, s, secret, &l, out);
}

/* Both SignContent and EncryptContext: { opaque label<V>; opaque content<V>; }
 * with the prefix in the label. */
static enum err write_labelled(struct buf *out, struct bytes label,
                               struct bytes content)
{
    struct writer w = writer_to(out);
    size_t start = writer_enter(&w);
    writer_raw(&w, PREFIX);
    writer_raw(&w, label);
    writer_leave(&w, start);
    writer_vec(&w, content);
    return writer_finish(&w);
}

enum err sign_with_label(struct crypto *c, const struct suite *s,
                         const struct secret *key, const char *label,
                         struct bytes content, struct buf *signature)
{
    CLEANUP(buf_clear) struct buf text = buf_new(MLS_MESSAGE_MAX);
    TRY(write_labelled(&text, bytes_str(label), content));
    return sign(c, s->sign, key, buf_bytes(&text), signature);
}

enum err verify_with_label(struct crypto *c, const struct suite *s,
                           struct bytes key, const char *label,
                           struct bytes content, struct bytes signature)
{
    CLEANUP(buf_clear) struct buf text = buf_new(MLS_MESSAGE_MAX);
    TRY(write_labelled(&text, bytes_str(label), content));
    return sign_verify(c, s->sign, key, buf_bytes(&text), signature);
}

/* struct { opaque base_label<V>; ComponentID component_id; opaque label<V>; }
 * ComponentOperationLabel, as the label of SignContent */
static enum err write_statement(struct buf *out, const struct statement *st)
{
    CLEANUP(buf_clear) struct buf label = buf_new(MLS_MESSAGE_MAX);
    struct writer w = writer_to(&label);
    writer_vec(&w, BYTES_LIT("MLS Component"));
    writer_u16(&w, st->component_id);
    writer_vec(&w, st->label);
    TRY(writer_finish(&w));
    return write_labelled(out, buf_bytes(&label), st->content);
}

enum err statement_sign(struct crypto *c, const struct suite *s,
                        const struct secret *key, const struct statement *st,
                        struct buf *signature)
{
    CLEANUP(buf_clear) struct buf text = buf_new(MLS_MESSAGE_MAX);
    TRY(write_statement(&text, st));
    return sign(c, s->sign, key, buf_bytes(&text), signature);
}

enum err statement_verify(struct crypto *c, const struct suite *s,
                          struct bytes key, const struct statement *st,
                          struct bytes signature)
{
    CLEANUP(buf_clear) struct buf text = buf_new(MLS_MESSAGE_MAX);
    TRY(write_statement(&text, st));
    return sign_verify(c, s->sign, key, buf_bytes(&text), signature);
}

enum err seal_prepare(struct crypto *c, const struct suite *s,
                      const struct seal_label *l, struct secret *out)
{
    CLEANUP(buf_clear) struct buf info = buf_new(MLS_MESSAGE_MAX);
    TRY(write_labelled(&info, bytes_str(l->label), l->context));
    return hpke_info_hash(c, suite_hpke(s), buf_bytes(&info), out);
}

enum err encrypt_with_label(struct crypto *c, const struct suite *s,
                            const struct random *rnd,
                            const struct seal_label *l, struct bytes plaintext,
                            struct writer *w)
{
    CLEANUP(buf_clear) struct buf info = buf_new(MLS_MESSAGE_MAX);
    CLEANUP(buf_clear) struct buf enc = buf_new(s->nenc);
    CLEANUP(buf_clear) struct buf sealed = buf_new(MLS_MESSAGE_MAX);
    if (l->prepared == NULL)
        TRY(write_labelled(&info, bytes_str(l->label), l->context));
    struct hpke_args args = {.public_key = l->public_key,
                             .info = buf_bytes(&info),
                             .info_hash = l->prepared,
                             .text = plaintext};
    TRY(hpke_seal(c, suite_hpke(s), rnd, &args, &enc, &sealed));
    struct hpke_ciphertext out = {buf_bytes(&enc), buf_bytes(&sealed)};
    hpke_ciphertext_write(w, &out);
    return writer_finish(w);
}

enum err decrypt_with_label(struct crypto *c, const struct suite *s,
                            const struct secret *key,
                            const struct seal_label *l,
                            const struct hpke_ciphertext *ciphertext,
                            struct buf *plaintext)
{
    CLEANUP(buf_clear) struct buf info = buf_new(MLS_MESSAGE_MAX);
    TRY(write_labelled(&info, bytes_str(l->label), l->context));
    struct hpke_args args = {.public_key = l->public_key,
                             .enc = ciphertext->kem_output,
                             .info = buf_bytes(&info),
                             .text = ciphertext->ciphertext};
    return hpke_open(c, suite_hpke(s), key, &args, plaintext);
}

enum err ref_hash(struct crypto *c, const struct suite *s, const char *label,
                  struct bytes value, struct digest *out)
{
    struct bytes name = bytes_str(label);
    uint8_t name_room[WIRE_HEADER_MAX];
    uint8_t value_room[WIRE_HEADER_MAX];
    struct bytes name_header = wire_header(name.len, name_room);
    struct bytes value_header = wire_header(value.len, value_room);
    if (name_header.len == 0 || value_header.len == 0)
        return ERR_LIMIT;
    return hash(c, s->hash, PARTS(name_header, name, value_header, value), out);
}

enum err key_package_ref(struct crypto *c, const struct suite *s,
                         struct bytes key_package, struct digest *out)
{
    return ref_hash(c, s, "MLS 1.0 KeyPackage Reference", key_package, out);
}

enum err proposal_ref(struct crypto *c, const struct suite *s,
                      struct bytes authenticated_content, struct digest *out)
{
    return ref_hash(c, s, "MLS 1.0 Proposal Reference", authenticated_content,
                    out);
}
