/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs what the product's suites do with secrets that Valgrind holds for
 * uninitialised: it then reports each branch and each index that depends on
 * one. With the argument "leaks" it does such things, and fails unless each is
 * seen. The NIST curves are not here: OpenSSL's numbers drop leading
 * zeros, and those suites are for interoperation only.
 */
#include "crypto/aead.h"
#include "crypto/entropy.h"
#include "crypto/hash.h"
#include "crypto/hpke.h"
#include "crypto/kem.h"
#include "crypto/sign.h"
#include "test.h"

#include <stdio.h>
#include <string.h>
#include <valgrind/memcheck.h>

#define OUT_MAX 4096U

static void hide(struct secret *s)
{
    VALGRIND_MAKE_MEM_UNDEFINED(s->data, s->len);
}

static void show(const void *p, size_t len)
{
    VALGRIND_MAKE_MEM_DEFINED(p, len);
}

/* A result that everybody may know. */
static enum err public(enum err err) {
    show(&err, sizeof(err)); return err;
}

static enum err compare(const struct secret *a)
{
    CLEANUP(secret_clear) struct secret b = {0};
    secret_copy(&b, a);
    bool equal = secret_equal(a, &b);
    show(&equal, sizeof(equal));
    return equal ? OK : ERR_AUTH;
}

static enum err derive(struct crypto *c, enum hash_id alg,
                       const struct secret *key)
{
    CLEANUP(secret_clear) struct secret out = {0};
    struct digest tag;
    TRY(hmac(c, alg, key, PARTS(LIT("text")), &tag));
    TRY(hkdf_extract(c, alg, key, key, &out));
    return hkdf_expand(c, alg, &out, PARTS(LIT("info")), SECRET_MAX, &out);
}

static enum err seal(struct crypto *c, enum aead_id alg,
                     const struct random *random)
{
    CLEANUP(secret_clear) struct secret key = {0};
    CLEANUP(buf_clear) struct buf text = buf_new(OUT_MAX);
    CLEANUP(buf_clear) struct buf ct = buf_new(OUT_MAX);
    CLEANUP(buf_clear) struct buf pt = buf_new(OUT_MAX);
    secret_random(&key, aead_key_size(alg), random);
    hide(&key);
    TRY(buf_extend(&text, 1000));
    VALGRIND_MAKE_MEM_UNDEFINED(text.data, text.len);
    const struct aead a = {
        alg,
        &key,
        {(const uint8_t *)"an octet string of nonce", aead_nonce_size(alg)},
        LIT("aad")};
    TRY(aead_seal(c, &a, buf_bytes(&text), &ct));
    show(ct.data, ct.len);
    return public(aead_open(c, &a, buf_bytes(&ct), &pt));
}

static enum err decap(struct crypto *c, enum kem_id kem,
                      const struct random *random)
{
    CLEANUP(secret_clear) struct secret key = {0};
    CLEANUP(secret_clear) struct secret shared = {0};
    CLEANUP(buf_clear) struct buf pk = buf_new(OUT_MAX);
    CLEANUP(buf_clear) struct buf enc = buf_new(OUT_MAX);
    TRY(kem_generate(c, kem, random, &key, &pk));
    TRY(kem_encap(c, kem, random, buf_bytes(&pk), &shared, &enc));
    hide(&key);
    return public(
        kem_decap(c, kem, &key, buf_bytes(&pk), buf_bytes(&enc), &shared));
}

static enum err make_signature(struct crypto *c, enum sign_id alg,
                               const struct random *random)
{
    CLEANUP(secret_clear) struct secret key = {0};
    CLEANUP(buf_clear) struct buf pk = buf_new(OUT_MAX);
    CLEANUP(buf_clear) struct buf signature = buf_new(OUT_MAX);
    TRY(sign_generate(c, alg, random, &key, &pk));
    hide(&key);
    TRY(public(sign(c, alg, &key, LIT("text"), &signature)));
    show(signature.data, signature.len);
    return sign_verify(c, alg, buf_bytes(&pk), LIT("text"),
                       buf_bytes(&signature));
}

static enum err run(const struct secret *key)
{
    CLEANUP(crypto_free) struct crypto *c = NULL;
    struct random random = entropy_system();
    const struct suite *s = NULL;
    TRY(crypto_create(&c));
    TRY(compare(key));
    TRY(seal(c, AEAD_XCHACHA20POLY1305, &random));
    for (size_t i = 0; (s = suite_at(i)) != NULL; i++) {
        if (s->sign != SIGN_ED25519)
            continue;
        TRY(derive(c, s->hash, key));
        TRY(seal(c, s->aead, &random));
        TRY(decap(c, s->kem, &random));
        TRY(make_signature(c, s->sign, &random));
    }
    return OK;
}

static volatile unsigned sink;

static void leak_by_branch(const struct secret *key)
{
    if ((key->data[0] & 1) != 0)
        sink++;
}

static void leak_by_index(const struct secret *key)
{
    static const uint8_t table[256] = {1, 2, 3};
    sink += *(const volatile uint8_t *)&table[key->data[0]];
}

static bool leaks_are_seen(const struct secret *key)
{
    static void (*const leaks[])(const struct secret *key) = {leak_by_branch,
                                                              leak_by_index};
    for (size_t i = 0; i < COUNT(leaks); i++) {
        unsigned long before = VALGRIND_COUNT_ERRORS;
        leaks[i](key);
        if (VALGRIND_COUNT_ERRORS == before)
            return false;
    }
    return true;
}

int main(int argc, char **argv)
{
    CLEANUP(secret_clear) struct secret key = {0};
    struct random random = entropy_system();
    if (!RUNNING_ON_VALGRIND) {
        (void)puts("to be run by Valgrind");
        return 1;
    }
    secret_random(&key, 32, &random);
    hide(&key);
    if (argc > 1 && strcmp(argv[1], "leaks") == 0)
        return leaks_are_seen(&key) ? 0 : 1;
    return run(&key) == OK ? 0 : 1;
}
