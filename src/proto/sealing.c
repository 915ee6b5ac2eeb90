/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/sealing.h"

#include "base/wire.h"
#include "crypto/hpke.h"

#define SEALED_MAX (1U << 20)

static const struct hpke suite = {KEM_XWING, HASH_SHA256,
                                  AEAD_CHACHA20POLY1305};

enum err sealing_seal(struct crypto *c, const struct random *random,
                      struct bytes public_key, const struct sealing *s,
                      struct bytes plain, struct buf *out)
{
    CLEANUP(buf_clear) struct buf enc = buf_new(KEM_ENC_MAX);
    CLEANUP(buf_clear) struct buf text = buf_new(SEALED_MAX);
    struct hpke_args args = {
        .public_key = public_key,
        .info = label_text(s->label),
        .aad = s->aad,
        .text = plain,
    };
    TRY(kem_check(c, suite.kem, public_key));
    TRY(hpke_seal(c, suite, random, &args, &enc, &text));

    size_t before = out->len;
    struct writer w = writer_to(out);
    writer_raw(&w, buf_bytes(&enc));
    writer_raw(&w, buf_bytes(&text));
    if (writer_finish(&w) != OK)
        buf_truncate(out, before);
    return writer_finish(&w);
}

enum err sealing_open(struct crypto *c, const struct secret *private_key,
                      const struct sealing *s, struct bytes sealed,
                      struct buf *out)
{
    struct reader r = reader_of(sealed);
    struct hpke_args args = {.info = label_text(s->label), .aad = s->aad};
    args.enc = reader_raw(&r, kem_enc_size(suite.kem));
    args.text = reader_raw(&r, r.rest.len);
    TRY(reader_finish(&r));
    return hpke_open(c, suite, private_key, &args, out);
}
