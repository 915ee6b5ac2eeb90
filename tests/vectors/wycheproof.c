/* SPDX-License-Identifier: Apache-2.0 */
/* Project Wycheproof: edge cases of every algorithm that we have. */
#include "crypto/aead.h"
#include "crypto/hash.h"
#include "crypto/kem.h"
#include "crypto/label.h"
#include "crypto/sign.h"
#include "test.h"
#include "vectors.h"

#include <string.h>

#define TEXT_MAX (1U << 20)

static bool result_is(const json_t *test, const char *result)
{
    return strcmp(vectors_text(test, "result"), result) == 0;
}

/* A kind of algorithm; `alg` is the id of one. */
struct kind {
    const char *(*not_ours)(struct vectors *v, const json_t *group,
                            const json_t *test, int alg);
    bool (*check)(struct vectors *v, const json_t *group, const json_t *test,
                  int alg);
};

static void run_test(struct vectors *v, const json_t *group, const json_t *test)
{
    const struct kind *kind = v->file->kind;
    const int alg = v->file->alg;
    const char *reason =
        kind->not_ours != NULL ? kind->not_ours(v, group, test, alg) : NULL;
    if (reason != NULL)
        vectors_skip(v, reason, 1);
    else
        vectors_case(v, kind->check(v, group, test, alg), "test",
                     vectors_int(test, "tcId"));
}

static void run(struct vectors *v, const json_t *root)
{
    const json_t *groups = json_object_get(root, "testGroups");
    for (size_t i = 0; i < json_array_size(groups); i++) {
        const json_t *group = json_array_get(groups, i);
        const json_t *tests = json_object_get(group, "tests");
        for (size_t j = 0; j < json_array_size(tests); j++)
            run_test(v, group, json_array_get(tests, j));
    }
}

/* AEAD. The id of AES-GCM follows from the size of the key. */

static enum aead_id aead_of(const json_t *group, int alg)
{
    if (alg != AEAD_AES128GCM)
        return (enum aead_id)alg;
    return vectors_int(group, "keySize") == 128 ? AEAD_AES128GCM
                                                : AEAD_AES256GCM;
}

static const char *aead_not_ours(struct vectors *v, const json_t *group,
                                 const json_t *test, int alg)
{
    size_t nonce_size = vectors_hex(v, test, "iv").len;
    if (vectors_int(group, "keySize") == 192)
        return "AES-192";
    if (nonce_size != aead_nonce_size(aead_of(group, alg)) &&
        !result_is(test, "invalid"))
        return "nonces of other sizes";
    return NULL;
}

static bool aead_check(struct vectors *v, const json_t *group,
                       const json_t *test, int alg)
{
    CLEANUP(secret_clear) struct secret key = {0};
    CLEANUP(buf_clear) struct buf want = buf_new(TEXT_MAX);
    CLEANUP(buf_clear) struct buf ct = buf_new(TEXT_MAX);
    CLEANUP(buf_clear) struct buf pt = buf_new(TEXT_MAX);
    const struct aead a = {aead_of(group, alg), &key,
                           vectors_hex(v, test, "iv"),
                           vectors_hex(v, test, "aad")};
    struct bytes text = vectors_hex(v, test, "msg");
    if (secret_set(&key, vectors_hex(v, test, "key")) != OK ||
        buf_append(&want, vectors_hex(v, test, "ct")) != OK ||
        buf_append(&want, vectors_hex(v, test, "tag")) != OK)
        return false;
    enum err opened = aead_open(v->c, &a, buf_bytes(&want), &pt);
    if (a.nonce.len != aead_nonce_size(a.alg))
        return opened == ERR_INVALID &&
               aead_seal(v->c, &a, text, &ct) == ERR_INVALID;
    if (result_is(test, "invalid"))
        return opened == ERR_AUTH && pt.len == 0;
    return opened == OK && bytes_equal(buf_bytes(&pt), text) &&
           aead_seal(v->c, &a, text, &ct) == OK &&
           bytes_equal(buf_bytes(&ct), buf_bytes(&want));
}

/* HMAC and HKDF */

/* Keys longer than a secret go through HKDF-Extract, which is HMAC. */
static bool hmac_check(struct vectors *v, const json_t *group,
                       const json_t *test, int alg)
{
    const enum hash_id h = (enum hash_id)alg;
    CLEANUP(secret_clear) struct secret key = {0};
    CLEANUP(secret_clear) struct secret mac = {0};
    struct bytes raw = vectors_hex(v, test, "key");
    struct parts text = PARTS(vectors_hex(v, test, "msg"));
    struct bytes tag = vectors_hex(v, test, "tag");
    bool valid = result_is(test, "valid");
    (void)group;
    if (hkdf_extract_parts(v->c, h, raw, text, &mac) != OK)
        return false;
    if (secret_set(&key, raw) == OK && tag.len == mac.len) {
        enum err want = valid ? OK : ERR_AUTH;
        if (hmac_verify(v->c, h, &key, text, tag) != want)
            return false;
    }
    struct bytes start = {mac.data, tag.len}; /* tags may be cut short */
    return tag.len <= mac.len && bytes_equal(start, tag) == valid;
}

static bool hkdf_check(struct vectors *v, const json_t *group,
                       const json_t *test, int alg)
{
    const enum hash_id h = (enum hash_id)alg;
    CLEANUP(secret_clear) struct secret prk = {0};
    CLEANUP(buf_clear) struct buf okm = buf_new(TEXT_MAX);
    (void)group;
    if (hkdf_extract_parts(v->c, h, vectors_hex(v, test, "salt"),
                           PARTS(vectors_hex(v, test, "ikm")), &prk) != OK)
        return false;
    enum err err =
        hkdf_expand_long(v->c, h, &prk, PARTS(vectors_hex(v, test, "info")),
                         (size_t)vectors_int(test, "size"), &okm);
    if (result_is(test, "invalid"))
        return err == ERR_LIMIT && okm.len == 0;
    return err == OK &&
           bytes_equal(buf_bytes(&okm), vectors_hex(v, test, "okm"));
}

/* Signatures */

static bool signature_check(struct vectors *v, const json_t *group,
                            const json_t *test, int alg)
{
    const json_t *key = json_object_get(group, "publicKey");
    const char *field =
        json_object_get(key, "pk") != NULL ? "pk" : "uncompressed";
    enum err err =
        sign_verify(v->c, (enum sign_id)alg, vectors_hex(v, key, field),
                    vectors_hex(v, test, "msg"), vectors_hex(v, test, "sig"));
    return err == (result_is(test, "valid") ? OK : ERR_AUTH);
}

/* Key agreement, seen through DHKEM: decapsulating the other's public key must
 * give what the published shared secret leads to. */

/* A private key has leading zeros too many or too few. */
static bool fit(struct bytes raw, size_t size, struct secret *out)
{
    while (raw.len > size && raw.data[0] == 0) {
        raw.data++;
        raw.len--;
    }
    if (raw.len > size)
        return false;
    secret_clear(out);
    if (raw.len > 0)
        memcpy(out->data + size - raw.len, raw.data, raw.len);
    out->len = size;
    return true;
}

/* ExtractAndExpand: RFC 9180, section 4.1 */
static bool kem_secret(struct vectors *v, enum kem_id kem, struct bytes dh,
                       struct bytes enc_and_key, struct secret *out)
{
    enum hash_id hash = HASH_SHA512;
    if (kem == KEM_P384)
        hash = HASH_SHA384;
    else if (kem == KEM_P256 || kem == KEM_X25519)
        hash = HASH_SHA256;
    const uint8_t suite[] = {'K', 'E', 'M', (uint8_t)(kem >> 8), (uint8_t)kem};
    const struct labels l = {v->c, hash, BYTES_ARRAY(suite)};
    CLEANUP(secret_clear) struct secret prk = {0};
    return label_extract(&l, (struct bytes){0}, "eae_prk", dh, &prk) == OK &&
           label_expand(&l, &prk, "shared_secret", enc_and_key,
                        kem_secret_size(kem), out) == OK;
}

static const char *dh_not_ours(struct vectors *v, const json_t *group,
                               const json_t *test, int alg)
{
    struct bytes peer = vectors_hex(v, test, "public");
    (void)group, (void)alg;
    if (vectors_flag(test, "CompressedPoint") && !result_is(test, "invalid"))
        return "compressed points";
    return peer.len == 0 && !result_is(test, "invalid") ? "empty key" : NULL;
}

static bool dh_check(struct vectors *v, const json_t *group, const json_t *test,
                     int alg)
{
    const enum kem_id kem = (enum kem_id)alg;
    CLEANUP(secret_clear) struct secret key = {0};
    CLEANUP(secret_clear) struct secret got = {0};
    CLEANUP(secret_clear) struct secret want = {0};
    CLEANUP(buf_clear) struct buf context = buf_new(TEXT_MAX);
    struct bytes peer = vectors_hex(v, test, "public");
    (void)group;
    if (!fit(vectors_hex(v, test, "private"), kem_private_size(kem), &key))
        return false;
    enum err err = kem_decap(v->c, kem, &key, (struct bytes){0}, peer, &got);
    if (result_is(test, "invalid") || vectors_flag(test, "ZeroSharedSecret"))
        return (err == ERR_INVALID || err == ERR_MALFORMED) && got.len == 0;
    return err == OK && buf_append(&context, peer) == OK &&
           kem_public(v->c, kem, &key, &context) == OK &&
           kem_secret(v, kem, vectors_hex(v, test, "shared"),
                      buf_bytes(&context), &want) &&
           secret_equal(&got, &want);
}

static const struct kind aead = {aead_not_ours, aead_check};
static const struct kind hmac_kind = {NULL, hmac_check};
static const struct kind hkdf = {NULL, hkdf_check};
static const struct kind signature = {NULL, signature_check};
static const struct kind dh = {dh_not_ours, dh_check};

#define DIR "wycheproof/"
#define ROW(name, what, id)         \
    {.path = DIR name "_test.json", \
     .run_json = run,               \
     .kind = &(what),               \
     .alg = (id)}
#define NOT_OURS(name, why) {.path = DIR name "_test.json", .not_ours = (why)}

static const struct vectors_file files[] = {
    ROW("aes_gcm", aead, AEAD_AES128GCM),
    ROW("chacha20_poly1305", aead, AEAD_CHACHA20POLY1305),
    ROW("xchacha20_poly1305", aead, AEAD_XCHACHA20POLY1305),
    ROW("hmac_sha256", hmac_kind, HASH_SHA256),
    ROW("hmac_sha384", hmac_kind, HASH_SHA384),
    ROW("hmac_sha512", hmac_kind, HASH_SHA512),
    ROW("hkdf_sha256", hkdf, HASH_SHA256),
    ROW("hkdf_sha384", hkdf, HASH_SHA384),
    ROW("hkdf_sha512", hkdf, HASH_SHA512),
    ROW("ed25519", signature, SIGN_ED25519),
    ROW("ed448", signature, SIGN_ED448),
    ROW("ecdsa_secp256r1_sha256", signature, SIGN_P256),
    ROW("ecdsa_secp384r1_sha384", signature, SIGN_P384),
    ROW("ecdsa_secp521r1_sha512", signature, SIGN_P521),
    ROW("x25519", dh, KEM_X25519),
    ROW("x448", dh, KEM_X448),
    ROW("ecdh_secp256r1_ecpoint", dh, KEM_P256),
    ROW("ecdh_secp384r1_ecpoint", dh, KEM_P384),
    ROW("ecdh_secp521r1_ecpoint", dh, KEM_P521),
    NOT_OURS("ecdh_secp256r1", "keys as SubjectPublicKeyInfo"),
    NOT_OURS("ecdsa_secp256r1_sha256_p1363", "signatures that are not DER"),
    NOT_OURS("aes_cmac", "AES-CMAC"),
    NOT_OURS("aes_gcm_siv", "AES-GCM-SIV"),
};

int main(void) { return vectors_main(files, COUNT(files)); }
