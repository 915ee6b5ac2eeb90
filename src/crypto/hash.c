/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/hash.h"

#include "crypto/internal.h"

#include <assert.h>
#include <string.h>

#define HKDF_BLOCKS_MAX 255U

size_t hash_index(enum hash_id alg)
{
    assert(alg >= HASH_SHA256 && alg <= HASH_SHA512);
    return (size_t)alg - HASH_SHA256;
}

size_t hash_size(enum hash_id alg)
{
    static const size_t sizes[HASH_COUNT] = {32, 48, 64};
    return sizes[hash_index(alg)];
}

struct bytes digest_bytes(const struct digest *d)
{
    return (struct bytes){d->data, d->len};
}

enum err hash(struct crypto *c, enum hash_id alg, struct parts input,
              struct digest *out)
{
    EVP_MD_CTX *ctx = c->hash[hash_index(alg)];
    struct digest d = {.len = hash_size(alg)};
    bool ok = EVP_DigestInit_ex2(ctx, NULL, NULL) == 1;
    for (size_t i = 0; ok && i < input.count; i++)
        ok = EVP_DigestUpdate(ctx, input.list[i].data, input.list[i].len) == 1;
    TRY(openssl_check(ok && EVP_DigestFinal_ex(ctx, d.data, NULL) == 1));
    *out = d;
    return OK;
}

/* Starts a MAC; an empty key is padded with zeros like any short one. */
static bool mac_start(EVP_MAC_CTX *mac, struct bytes key)
{
    static const uint8_t zeros[HASH_MAX];
    if (key.len == 0)
        key = bytes_of(zeros, 1);
    return EVP_MAC_init(mac, key.data, key.len, NULL) == 1;
}

/* Starts one more MAC with the key of the last. */
static bool mac_restart(EVP_MAC_CTX *mac)
{
    return EVP_MAC_init(mac, NULL, 0, NULL) == 1;
}

static bool mac_update(EVP_MAC_CTX *mac, struct parts input)
{
    bool ok = true;
    for (size_t i = 0; ok && i < input.count; i++)
        ok = EVP_MAC_update(mac, input.list[i].data, input.list[i].len) == 1;
    return ok;
}

static bool mac_finish(EVP_MAC_CTX *mac, uint8_t out[HASH_MAX])
{
    size_t len = 0;
    return EVP_MAC_final(mac, out, &len, HASH_MAX) == 1;
}

/* Writes hash_size bytes; on failure the content of `out` is of no use. */
static enum err mac_once(struct crypto *c, enum hash_id alg, struct bytes key,
                         struct parts input, uint8_t out[HASH_MAX])
{
    EVP_MAC_CTX *mac = c->mac[hash_index(alg)];
    return openssl_check(mac_start(mac, key) && mac_update(mac, input) &&
                         mac_finish(mac, out));
}

enum err hmac(struct crypto *c, enum hash_id alg, const struct secret *key,
              struct parts input, struct digest *out)
{
    struct digest d = {.len = hash_size(alg)};
    TRY(mac_once(c, alg, secret_expose(key), input, d.data));
    *out = d;
    return OK;
}

enum err hmac_verify(struct crypto *c, enum hash_id alg,
                     const struct secret *key, struct parts input,
                     struct bytes tag)
{
    CLEANUP(secret_clear) struct secret want = {.len = hash_size(alg)};
    TRY(mac_once(c, alg, secret_expose(key), input, want.data));
    return secret_equal_bytes(secret_expose(&want), tag) ? OK : ERR_AUTH;
}

enum err hkdf_extract_parts(struct crypto *c, enum hash_id alg,
                            struct bytes salt, struct parts ikm,
                            struct secret *out)
{
    CLEANUP(secret_clear) struct secret prk = {.len = hash_size(alg)};
    TRY(mac_once(c, alg, salt, ikm, prk.data));
    secret_take(out, &prk);
    return OK;
}

enum err hkdf_extract(struct crypto *c, enum hash_id alg,
                      const struct secret *salt, const struct secret *ikm,
                      struct secret *out)
{
    return hkdf_extract_parts(c, alg, secret_expose(salt),
                              PARTS(secret_expose(ikm)), out);
}

/* RFC 5869, section 2.3: T(n) = HMAC(prk, T(n-1) || info || n). NULL is the prk
 * of the call before. */
static enum err expand(struct crypto *c, enum hash_id alg,
                       const struct secret *prk, struct parts info,
                       uint8_t *out, size_t len)
{
    EVP_MAC_CTX *mac = c->mac[hash_index(alg)];
    CLEANUP(secret_clear) struct secret t = {0};
    for (uint8_t n = 1; len > 0; n++) {
        bool known = n > 1 || prk == NULL;
        TRY(openssl_check(
            (known ? mac_restart(mac) : mac_start(mac, secret_expose(prk))) &&
            mac_update(mac, PARTS(secret_expose(&t))) &&
            mac_update(mac, info) && mac_update(mac, PARTS(bytes_of(&n, 1))) &&
            mac_finish(mac, t.data)));
        t.len = hash_size(alg);
        size_t take = len < t.len ? len : t.len;
        memcpy(out, t.data, take);
        out += take;
        len -= take;
    }
    return OK;
}

enum err hkdf_expand(struct crypto *c, enum hash_id alg,
                     const struct secret *prk, struct parts info, size_t len,
                     struct secret *out)
{
    assert(len <= SECRET_MAX);
    CLEANUP(secret_clear) struct secret okm = {.len = len};
    TRY(expand(c, alg, prk, info, okm.data, len));
    secret_take(out, &okm);
    return OK;
}

enum err hkdf_expand_each(struct crypto *c, enum hash_id alg,
                          const struct secret *prk,
                          const struct hkdf_want *wants, size_t count)
{
    struct secret okm[HKDF_WANTS_MAX];
    enum err err = OK;
    assert(count <= HKDF_WANTS_MAX);
    for (size_t i = 0; i < count; i++) {
        assert(wants[i].len > 0 && wants[i].len <= SECRET_MAX);
        okm[i] = (struct secret){.len = wants[i].len};
        if (err == OK)
            err = expand(c, alg, i == 0 ? prk : NULL, wants[i].info,
                         okm[i].data, wants[i].len);
    }
    for (size_t i = 0; i < count; i++) {
        if (err == OK)
            secret_take(wants[i].out, &okm[i]);
        secret_clear(&okm[i]);
    }
    return err;
}

enum err hkdf_expand_long(struct crypto *c, enum hash_id alg,
                          const struct secret *prk, struct parts info,
                          size_t len, struct buf *out)
{
    size_t start = out->len;
    if (len > HKDF_BLOCKS_MAX * hash_size(alg))
        return ERR_LIMIT;
    if (len == 0)
        return OK;
    TRY(buf_extend(out, len));
    enum err err = expand(c, alg, prk, info, out->data + start, len);
    if (err != OK)
        buf_truncate(out, start);
    return err;
}
