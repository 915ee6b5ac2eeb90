/* SPDX-License-Identifier: Apache-2.0 */
/* RFC 9180 and draft-ietf-hpke-pq: base mode, with the KEMs, KDFs and AEADs
 * that we have. */
#include "crypto/hpke.h"

#include "crypto/hash.h"
#include "crypto/kem.h"
#include "test.h"
#include "vectors.h"

#include <sodium.h>

#define TEXT_MAX    4096U
#define ACCUMULATED 1000U /* operations of an accumulated vector */

static bool one_of(json_int_t id, const uint16_t *ids, size_t count)
{
    size_t i = 0;
    while (i < count && ids[i] != id)
        i++;
    return i < count;
}

static const char *not_ours(const json_t *row)
{
    static const uint16_t kems[] = {KEM_P256,   KEM_P384, KEM_P521,
                                    KEM_X25519, KEM_X448, KEM_XWING};
    static const uint16_t kdfs[] = {HASH_SHA256, HASH_SHA384, HASH_SHA512};
    static const uint16_t aeads[] = {AEAD_AES128GCM, AEAD_AES256GCM,
                                     AEAD_CHACHA20POLY1305};
    if (vectors_int(row, "mode") != 0)
        return "mode other than base";
    if (!one_of(vectors_int(row, "kem_id"), kems, COUNT(kems)))
        return "KEM that we do not have";
    if (!one_of(vectors_int(row, "kdf_id"), kdfs, COUNT(kdfs)))
        return "KDF that is not HKDF";
    if (!one_of(vectors_int(row, "aead_id"), aeads, COUNT(aeads)))
        return "export-only AEAD";
    return NULL;
}

struct pair {
    struct hpke_ctx sender;
    struct hpke_ctx receiver;
};

static void pair_clear(struct pair *p)
{
    hpke_ctx_clear(&p->sender);
    hpke_ctx_clear(&p->receiver);
}

static bool same(const struct secret *got, struct bytes want)
{
    return bytes_equal(secret_expose(got), want);
}

/* Derives the receiver's keys and sets up both sides. */
static bool set_up(struct vectors *v, const json_t *row, struct secret *key,
                   struct pair *p)
{
    const struct hpke h = {(enum kem_id)vectors_int(row, "kem_id"),
                           (enum hash_id)vectors_int(row, "kdf_id"),
                           (enum aead_id)vectors_int(row, "aead_id")};
    CLEANUP(secret_clear) struct secret ikm = {0};
    CLEANUP(buf_clear) struct buf public_key = buf_new(TEXT_MAX);
    CLEANUP(buf_clear) struct buf enc = buf_new(TEXT_MAX);
    struct vectors_random coins = {vectors_hex(v, row, "ikmE")};
    struct random random = vectors_random(&coins);
    struct hpke_args args = {.info = vectors_hex(v, row, "info")};

    if (secret_set(&ikm, vectors_hex(v, row, "ikmR")) != OK ||
        kem_derive(v->c, h.kem, &ikm, key, &public_key) != OK ||
        !same(key, vectors_hex(v, row, "skRm")) ||
        !bytes_equal(buf_bytes(&public_key), vectors_hex(v, row, "pkRm")))
        return false;
    args.public_key = buf_bytes(&public_key);
    if (hpke_send(v->c, h, &random, &args, &enc, &p->sender) != OK ||
        coins.rest.len != 0 ||
        !bytes_equal(buf_bytes(&enc), vectors_hex(v, row, "enc")))
        return false;
    args.enc = buf_bytes(&enc);
    if (hpke_receive(v->c, h, key, &args, &p->receiver) != OK ||
        !secret_equal(&p->receiver.exporter, &p->sender.exporter))
        return false;
    args.public_key = (struct bytes){0}; /* as good without, only slower */
    return hpke_receive(v->c, h, key, &args, &p->receiver) == OK &&
           secret_equal(&p->receiver.exporter, &p->sender.exporter);
}

static bool encryption(struct vectors *v, const json_t *e, uint64_t seq,
                       struct pair *p)
{
    CLEANUP(buf_clear) struct buf ct = buf_new(TEXT_MAX);
    CLEANUP(buf_clear) struct buf pt = buf_new(TEXT_MAX);
    struct bytes aad = vectors_hex(v, e, "aad");
    struct bytes want = vectors_hex(v, e, "pt");
    p->sender.seq = seq;
    p->receiver.seq = seq;
    return hpke_ctx_seal(v->c, &p->sender, aad, want, &ct) == OK &&
           bytes_equal(buf_bytes(&ct), vectors_hex(v, e, "ct")) &&
           hpke_ctx_open(v->c, &p->receiver, aad, buf_bytes(&ct), &pt) == OK &&
           bytes_equal(buf_bytes(&pt), want) && p->receiver.seq == seq + 1;
}

static bool export(struct vectors *v, const json_t *e, const struct pair *p)
{
    CLEANUP(secret_clear) struct secret got = {0};
    return hpke_ctx_export(v->c, &p->receiver,
                           vectors_hex(v, e, "exporter_context"),
                           (size_t)vectors_int(e, "L"), &got) == OK &&
           same(&got, vectors_hex(v, e, "exported_value"));
}

/* Counts the set-up as a case, and each encryption and export. */
static void run_row(struct vectors *v, const json_t *row, json_int_t id)
{
    CLEANUP(pair_clear) struct pair p = {0};
    CLEANUP(secret_clear) struct secret key = {0};
    bool ok = set_up(v, row, &key, &p) &&
              same(&p.sender.key, vectors_hex(v, row, "key")) &&
              same(&p.sender.base_nonce, vectors_hex(v, row, "base_nonce")) &&
              same(&p.sender.exporter, vectors_hex(v, row, "exporter_secret"));
    vectors_case(v, ok, "keys of row", id);
    if (!ok)
        return;
    const json_t *list = json_object_get(row, "encryptions");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *e = json_array_get(list, i);
        const json_t *seq = json_object_get(e, "seq");
        uint64_t at = seq != NULL ? (uint64_t)json_integer_value(seq) : i;
        vectors_case(v, encryption(v, e, at, &p), "encryption of row", id);
    }
    list = json_object_get(row, "exports");
    for (size_t i = 0; i < json_array_size(list); i++)
        vectors_case(v, export(v, json_array_get(list, i), &p), "export of row",
                     id);
}

static void run(struct vectors *v, const json_t *root)
{
    for (size_t i = 0; i < json_array_size(root); i++) {
        const json_t *row = json_array_get(root, i);
        const char *reason = not_ours(row);
        if (reason != NULL)
            vectors_skip(v, reason, 1);
        else
            run_row(v, row, (json_int_t)i);
    }
}

/* An input of an accumulated vector: a length of one byte, then as many. */
static struct bytes draw(crypto_xof_shake128_state *source, uint8_t out[256])
{
    uint8_t len = 0;
    (void)crypto_xof_shake128_squeeze(source, &len, 1);
    (void)crypto_xof_shake128_squeeze(source, out, len);
    return (struct bytes){out, len};
}

static bool sum_is(crypto_xof_shake128_state *sink, struct bytes want)
{
    uint8_t sum[16];
    (void)crypto_xof_shake128_squeeze(sink, sum, sizeof(sum));
    return bytes_equal(BYTES_ARRAY(sum), want);
}

static bool accumulated_encryptions(struct vectors *v, struct pair *p,
                                    struct bytes want)
{
    crypto_xof_shake128_state source;
    crypto_xof_shake128_state sink;
    uint8_t a[256];
    uint8_t t[256];
    (void)crypto_xof_shake128_init(&source);
    (void)crypto_xof_shake128_init(&sink);
    for (size_t i = 0; i < ACCUMULATED; i++) {
        CLEANUP(buf_clear) struct buf ct = buf_new(TEXT_MAX);
        CLEANUP(buf_clear) struct buf pt = buf_new(TEXT_MAX);
        struct bytes aad = draw(&source, a);
        struct bytes text = draw(&source, t);
        if (hpke_ctx_seal(v->c, &p->sender, aad, text, &ct) != OK ||
            hpke_ctx_open(v->c, &p->receiver, aad, buf_bytes(&ct), &pt) != OK ||
            !bytes_equal(buf_bytes(&pt), text))
            return false;
        (void)crypto_xof_shake128_update(&sink, ct.data, ct.len);
    }
    return sum_is(&sink, want);
}

/* Exports up to 999 bytes: longer than a secret, so the label is made here. */
static bool accumulated_exports(struct vectors *v, const struct pair *p,
                                struct bytes want)
{
    crypto_xof_shake128_state source;
    crypto_xof_shake128_state sink;
    uint8_t x[256];
    const struct hpke h = p->sender.hpke;
    (void)crypto_xof_shake128_init(&source);
    (void)crypto_xof_shake128_init(&sink);
    for (size_t len = 0; len < ACCUMULATED; len++) {
        CLEANUP(buf_clear) struct buf out = buf_new(TEXT_MAX);
        const uint8_t length[] = {(uint8_t)(len >> 8), (uint8_t)len};
        const uint8_t ids[] = {(uint8_t)(h.kem >> 8),  (uint8_t)h.kem,
                               (uint8_t)(h.kdf >> 8),  (uint8_t)h.kdf,
                               (uint8_t)(h.aead >> 8), (uint8_t)h.aead};
        struct parts info =
            PARTS(BYTES_ARRAY(length), LIT("HPKE-v1HPKE"), BYTES_ARRAY(ids),
                  LIT("sec"), draw(&source, x));
        CLEANUP(secret_clear) struct secret check = {0};
        if (hkdf_expand_long(v->c, h.kdf, &p->sender.exporter, info, len,
                             &out) != OK)
            return false;
        if (len <= SECRET_MAX &&
            (hpke_ctx_export(v->c, &p->sender, info.list[4], len, &check) !=
                 OK ||
             !same(&check, buf_bytes(&out))))
            return false;
        (void)crypto_xof_shake128_update(&sink, out.data, out.len);
    }
    return sum_is(&sink, want);
}

static void run_accumulated(struct vectors *v, const json_t *root)
{
    for (size_t i = 0; i < json_array_size(root); i++) {
        const json_t *row = json_array_get(root, i);
        const char *reason = not_ours(row);
        CLEANUP(pair_clear) struct pair p = {0};
        CLEANUP(secret_clear) struct secret key = {0};
        if (reason != NULL) {
            vectors_skip(v, reason, 1);
            continue;
        }
        bool ok = set_up(v, row, &key, &p) &&
                  accumulated_encryptions(
                      v, &p, vectors_hex(v, row, "encryptions_accumulated")) &&
                  accumulated_exports(
                      v, &p, vectors_hex(v, row, "exports_accumulated"));
        vectors_case(v, ok, "row", (json_int_t)i);
    }
}

static const struct vectors_file files[] = {
    {.path = "hpke/rfc9180.json", .run_json = run},
    {.path = "hpke/rfc9180-full.json.gz", .run_json = run},
    {.path = "hpke/rfc9180-accumulated.json", .run_json = run_accumulated},
    {.path = "hpke-pq/hpke-pq.json", .run_json = run},
};

int main(void) { return vectors_main(files, COUNT(files)); }
