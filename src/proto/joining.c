/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/joining.h"

#include "crypto/aead.h"
#include "crypto/hpke.h"
#include "crypto/kem.h"
#include "proto/sealing.h"

#include <string.h>

#define VERSION 1U

void joining_member_read(struct reader *r, struct joining_member *m)
{
    m->contact_cap = reader_vec(r);
    m->states = reader_vec(r);
    if (m->contact_cap.len != 0 && m->contact_cap.len != CAP_SIZE)
        reader_fail(r, ERR_MALFORMED);
}

void joining_member_write(struct writer *w, const struct joining_member *m)
{
    writer_vec(w, m->contact_cap);
    writer_vec(w, m->states);
}

void joining_cap_read(struct reader *r, struct joining_cap *cap)
{
    cap->sub = reader_raw(r, ID_SIZE);
    cap->sealed = reader_vec(r);
}

void joining_cap_write(struct writer *w, const struct joining_cap *cap)
{
    writer_raw(w, cap->sub);
    writer_vec(w, cap->sealed);
}

static struct bytes members_read(struct reader *r)
{
    struct bytes list = reader_vec(r);
    struct reader in = reader_of(list);
    while (reader_more(&in)) {
        struct joining_member m;
        joining_member_read(&in, &m);
    }
    if (reader_finish(&in) != OK)
        reader_fail(r, ERR_MALFORMED);
    return list;
}

static struct bytes caps_read(struct reader *r)
{
    struct bytes list = reader_vec(r);
    struct reader in = reader_of(list);
    while (reader_more(&in)) {
        struct joining_cap cap;
        joining_cap_read(&in, &cap);
    }
    if (reader_finish(&in) != OK)
        reader_fail(r, ERR_MALFORMED);
    return list;
}

enum err joining_read(struct bytes plain, struct joining *out)
{
    struct joining j;
    if (plain.len > JOINING_MAX)
        return ERR_LIMIT;
    struct reader r = reader_of(plain);
    if (reader_u8(&r) != VERSION)
        reader_fail(&r, ERR_MALFORMED);
    j.channel = reader_raw(&r, ID_SIZE);
    j.welcome = reader_vec(&r);
    j.ratchet_tree = reader_vec(&r);
    j.members = members_read(&r);
    j.caps = caps_read(&r);
    TRY(reader_finish(&r));
    *out = j;
    return OK;
}

enum err joining_write(struct buf *out, const struct joining *j)
{
    size_t before = out->len;
    struct writer w = writer_to(out);
    if (j->channel.len != ID_SIZE)
        return ERR_INVALID;
    writer_u8(&w, VERSION);
    writer_raw(&w, j->channel);
    writer_vec(&w, j->welcome);
    writer_vec(&w, j->ratchet_tree);
    writer_vec(&w, j->members);
    writer_vec(&w, j->caps);
    if (writer_finish(&w) != OK)
        buf_truncate(out, before);
    return writer_finish(&w);
}

/* --- the blob --- */

static const uint8_t zero_nonce[AEAD_NONCE_MAX];

static enum err aad_write(struct bytes blob, struct buf *out)
{
    struct writer w = writer_to(out);
    if (blob.len != ID_SIZE)
        return ERR_INVALID;
    writer_raw(&w, label_text(LABEL_JOINING));
    writer_raw(&w, blob);
    return writer_finish(&w);
}

enum err joining_seal(struct crypto *c, const struct secret *key,
                      struct bytes blob, struct bytes plain, struct buf *out)
{
    CLEANUP(buf_clear) struct buf aad = buf_new(128);
    size_t before = out->len;
    struct writer w = writer_to(out);

    if (key->len != JOINING_KEY_SIZE)
        return ERR_INVALID;
    TRY(aad_write(blob, &aad));
    writer_u8(&w, VERSION);
    struct aead a = {AEAD_XCHACHA20POLY1305, key, BYTES_ARRAY(zero_nonce),
                     buf_bytes(&aad)};
    enum err err = writer_finish(&w);
    if (err == OK)
        err = aead_seal(c, &a, plain, out);
    if (err != OK)
        buf_truncate(out, before);
    return err;
}

enum err joining_open(struct crypto *c, const struct secret *key,
                      struct bytes blob, struct bytes sealed,
                      struct buf *out_plain)
{
    CLEANUP(buf_clear) struct buf aad = buf_new(128);
    struct reader r = reader_of(sealed);

    if (key->len != JOINING_KEY_SIZE)
        return ERR_INVALID;
    if (reader_u8(&r) != VERSION)
        reader_fail(&r, ERR_MALFORMED);
    struct bytes ciphertext = reader_raw(&r, r.rest.len);
    TRY(reader_finish(&r));
    TRY(aad_write(blob, &aad));
    struct aead a = {AEAD_XCHACHA20POLY1305, key, BYTES_ARRAY(zero_nonce),
                     buf_bytes(&aad)};
    return aead_open(c, &a, ciphertext, out_plain);
}

/* --- capabilities --- */

/* The associated data binds a capability to its place. */
static enum err context_write(const struct cap_context *context,
                              struct buf *out)
{
    struct writer w = writer_to(out);
    if (context->channel.len != ID_SIZE || context->sub.len != ID_SIZE)
        return ERR_INVALID;
    writer_raw(&w, context->channel);
    writer_raw(&w, context->sub);
    return writer_finish(&w);
}

enum err cap_seal(struct crypto *c, const struct random *random,
                  struct bytes sealing_key, const struct cap_context *context,
                  struct bytes cap, struct buf *out)
{
    CLEANUP(buf_clear) struct buf aad = buf_new(2 * (size_t)ID_SIZE);
    if (cap.len != CAP_SIZE)
        return ERR_INVALID;
    TRY(context_write(context, &aad));
    struct sealing s = {LABEL_CAPABILITY, buf_bytes(&aad)};
    return sealing_seal(c, random, sealing_key, &s, cap, out);
}

enum err cap_open(struct crypto *c, const struct secret *sealing_key,
                  const struct cap_context *context, struct bytes sealed,
                  uint8_t out_cap[CAP_SIZE])
{
    CLEANUP(buf_clear) struct buf aad = buf_new(2 * (size_t)ID_SIZE);
    CLEANUP(buf_clear) struct buf cap = buf_new(CAP_SIZE);
    TRY(context_write(context, &aad));
    struct sealing s = {LABEL_CAPABILITY, buf_bytes(&aad)};
    TRY(sealing_open(c, sealing_key, &s, sealed, &cap));
    if (cap.len != CAP_SIZE)
        return ERR_MALFORMED;
    memcpy(out_cap, cap.data, CAP_SIZE);
    return OK;
}
