/* SPDX-License-Identifier: Apache-2.0 */
#include "veil.h"

#include "crypto/aead.h"
#include "crypto/hash.h"
#include "crypto/hpke.h"
#include "crypto/kem.h"
#include "crypto/sign.h"

#include "mls/messages.h"
#include "mls/schedule.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned failures;
static bool in_hpke; /* inside hpke_open, which says what its text is */

unsigned veil_failures(void) { return failures; }

bool veil_covers(struct bytes b)
{
    uint8_t bits[256];
    if (!RUNNING_ON_VALGRIND)
        return true;
    if (b.len > sizeof(bits) || VALGRIND_GET_VBITS(b.data, bits, b.len) != 1)
        return false;
    for (size_t i = 0; i < b.len; i++)
        if (bits[i] != 0xff)
            return false;
    return true;
}

static void want_hidden(const char *what, struct bytes key)
{
    if (key.len > 0 && veil_covers(key))
        return;
    failures++;
    (void)fprintf(stderr, "in plain sight: %s\n", what);
}

static void hide_secret(const struct secret *s) { veil_hide(s->data, s->len); }
static void show_buf(const struct buf *b) { veil_show(b->data, b->len); }

/* What everybody may know of a call: how it ended. */
static enum err shown(enum err err)
{
    veil_show(&err, sizeof(err));
    return err;
}

/* The linker gives calls of `f` to __wrap_f, and f itself as __real_f. */
/* NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp,
               readability-identifier-naming): names that the linker makes */
#define WRAP(type, name, params) \
    type __real_##name params;   \
    type __wrap_##name params;   \
    type __wrap_##name params

/* ---- Keys ---- */

WRAP(void, secret_random,
     (struct secret * s, size_t len, const struct random *r))
{
    __real_secret_random(s, len, r);
    hide_secret(s);
}

WRAP(bool, secret_equal_bytes, (struct bytes a, struct bytes b))
{
    bool equal = __real_secret_equal_bytes(a, b);
    veil_show(&equal, sizeof(equal));
    return equal;
}

WRAP(bool, secret_zero_bytes, (struct bytes b))
{
    bool zero = __real_secret_zero_bytes(b);
    veil_show(&zero, sizeof(zero));
    return zero;
}

WRAP(enum err, kem_generate,
     (struct crypto * c, enum kem_id kem, const struct random *random,
      struct secret *out_private, struct buf *out_public))
{
    enum err err =
        shown(__real_kem_generate(c, kem, random, out_private, out_public));
    hide_secret(out_private);
    show_buf(out_public);
    return err;
}

WRAP(enum err, kem_derive,
     (struct crypto * c, enum kem_id kem, const struct secret *ikm,
      struct secret *out_private, struct buf *out_public))
{
    want_hidden("input of a key pair", secret_expose(ikm));
    enum err err =
        shown(__real_kem_derive(c, kem, ikm, out_private, out_public));
    hide_secret(out_private);
    show_buf(out_public);
    return err;
}

WRAP(enum err, kem_public,
     (struct crypto * c, enum kem_id kem, const struct secret *private_key,
      struct buf *out_public))
{
    enum err err = shown(__real_kem_public(c, kem, private_key, out_public));
    show_buf(out_public);
    return err;
}

WRAP(enum err, kem_encap,
     (struct crypto * c, enum kem_id kem, const struct random *random,
      struct bytes public_key, struct secret *out_shared, struct buf *out_enc))
{
    enum err err = shown(
        __real_kem_encap(c, kem, random, public_key, out_shared, out_enc));
    hide_secret(out_shared);
    show_buf(out_enc);
    return err;
}

WRAP(enum err, kem_decap,
     (struct crypto * c, enum kem_id kem, const struct secret *private_key,
      struct bytes public_key, struct bytes enc, struct secret *out_shared))
{
    want_hidden("private key", secret_expose(private_key));
    return shown(
        __real_kem_decap(c, kem, private_key, public_key, enc, out_shared));
}

/* ---- Signatures and tags ---- */

WRAP(enum err, sign_generate,
     (struct crypto * c, enum sign_id alg, const struct random *random,
      struct secret *out_private, struct buf *out_public))
{
    enum err err =
        shown(__real_sign_generate(c, alg, random, out_private, out_public));
    hide_secret(out_private);
    show_buf(out_public);
    return err;
}

WRAP(enum err, sign_public,
     (struct crypto * c, enum sign_id alg, const struct secret *private_key,
      struct buf *out_public))
{
    enum err err = shown(__real_sign_public(c, alg, private_key, out_public));
    show_buf(out_public);
    return err;
}

WRAP(enum err, sign,
     (struct crypto * c, enum sign_id alg, const struct secret *private_key,
      struct bytes message, struct buf *out_signature))
{
    want_hidden("signature key", secret_expose(private_key));
    enum err err =
        shown(__real_sign(c, alg, private_key, message, out_signature));
    show_buf(out_signature);
    return err;
}

/* A signature is checked in variable time: of the sender's text, that says no
 * more than what its hash does. */
WRAP(enum err, sign_verify,
     (struct crypto * c, enum sign_id alg, struct bytes public_key,
      struct bytes message, struct bytes signature))
{
    CLEANUP(buf_clear) struct buf known = buf_new(message.len);
    TRY(buf_copy(&known, message));
    show_buf(&known);
    return __real_sign_verify(c, alg, public_key, buf_bytes(&known), signature);
}

WRAP(enum err, hmac,
     (struct crypto * c, enum hash_id alg, const struct secret *key,
      struct parts input, struct digest *out))
{
    want_hidden("MAC key", secret_expose(key));
    return shown(__real_hmac(c, alg, key, input, out));
}

/* A tag that is made is sent. One that is expected stays hidden. */
WRAP(enum err, schedule_mac,
     (struct crypto * c, const struct suite *s, const struct secret *key,
      struct bytes data, struct digest *tag))
{
    enum err err = __real_schedule_mac(c, s, key, data, tag);
    veil_show(tag->data, tag->len);
    return err;
}

WRAP(enum err, hmac_verify,
     (struct crypto * c, enum hash_id alg, const struct secret *key,
      struct parts input, struct bytes tag))
{
    want_hidden("MAC key", secret_expose(key));
    return shown(__real_hmac_verify(c, alg, key, input, tag));
}

/* ---- Encryption ---- */

WRAP(enum err, aead_seal,
     (struct crypto * c, const struct aead *a, struct bytes plaintext,
      struct buf *out))
{
    want_hidden("key that seals", secret_expose(a->key));
    enum err err = shown(__real_aead_seal(c, a, plaintext, out));
    show_buf(out);
    return err;
}

/* Shows the length of a vector at `at`, and its content if that may be known;
 * returns what follows it. */
static size_t show_vector(struct bytes b, size_t at, bool content)
{
    if (at >= b.len)
        return b.len;
    veil_show(b.data + at, 1);
    size_t header = (size_t)1 << (b.data[at] >> 6);
    if (header > b.len - at)
        return b.len;
    veil_show(b.data + at, header);
    size_t len = b.data[at] & 0x3f;
    for (size_t i = 1; i < header; i++)
        len = len << 8 | b.data[at + i];
    at += header;
    if (len > b.len - at)
        return b.len;
    if (content)
        veil_show(b.data + at, len);
    return at + len;
}

/* GroupSecrets (RFC 9420, section 12.4.3.1): all but the secrets. */
static void show_group_secrets(struct bytes b)
{
    size_t at = show_vector(b, 0, false);
    if (at == b.len)
        return;
    veil_show(b.data + at, 1);
    if (b.data[at++] == 1)
        at = show_vector(b, at, false);
    veil_show(b.data + at, b.len - at);
}

WRAP(enum err, hpke_open,
     (struct crypto * c, struct hpke h, const struct secret *private_key,
      const struct hpke_args *args, struct buf *out))
{
    in_hpke = true;
    enum err err = shown(__real_hpke_open(c, h, private_key, args, out));
    in_hpke = false;
    if (err == OK && out->len != hash_size(h.kdf)) /* that of a path secret */
        show_group_secrets(buf_bytes(out));
    return err;
}

/* RFC 9420, section 6.3: what of a message has to be known to act on it. The
 * text of an application message and its padding stay hidden, but for their
 * lengths; and the guard of the nonce. */
static void show_plaintext(struct bytes aad, struct bytes b)
{
    size_t type = show_vector(aad, 0, false) + sizeof(uint64_t);
    if (type >= aad.len) { /* GroupInfo: it has none */
        veil_show(b.data, b.len);
    } else if (type == aad.len - 1) {
        veil_show(b.data, b.len - REUSE_GUARD_SIZE); /* SenderData */
    } else if (aad.data[type] != CONTENT_APPLICATION) {
        veil_show(b.data, b.len);
    } else {
        size_t auth = show_vector(b, 0, false);
        (void)show_vector(b, auth, true);
    }
}

WRAP(enum err, aead_open,
     (struct crypto * c, const struct aead *a, struct bytes ciphertext,
      struct buf *out))
{
    size_t start = out->len;
    want_hidden("key that opens", secret_expose(a->key));
    enum err err = shown(__real_aead_open(c, a, ciphertext, out));
    if (err == OK && !in_hpke)
        show_plaintext(a->aad,
                       (struct bytes){out->data + start, out->len - start});
    return err;
}
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp,
             readability-identifier-naming) */
