/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/sign.h"

#include "base/mem.h"
#include "crypto/entropy.h"
#include "test.h"

#include <limits.h>

static const enum sign_id algs[] = {SIGN_ED25519, SIGN_ED448, SIGN_P256,
                                    SIGN_P384, SIGN_P521};

struct pair {
    struct secret private_key;
    struct buf public_key;
};

static void pair_clear(struct pair *p)
{
    secret_clear(&p->private_key);
    buf_clear(&p->public_key);
}

static enum err pair_make(struct crypto *c, enum sign_id alg, uint64_t seed,
                          struct pair *p)
{
    struct entropy_seeded e;
    entropy_seed(&e, seed);
    struct random random = entropy_of(&e);
    p->public_key = buf_new(SIGN_PUBLIC_MAX);
    return sign_generate(c, alg, &random, &p->private_key, &p->public_key);
}

static void verifies_what_it_signed_and_nothing_else(void)
{
    CLEANUP(crypto_free) struct crypto *c = NULL;
    CHECK_UINT(crypto_create(&c), OK);
    for (size_t i = 0; i < COUNT(algs); i++) {
        CLEANUP(pair_clear) struct pair key = {0};
        CLEANUP(pair_clear) struct pair other = {0};
        CLEANUP(buf_clear) struct buf sig = buf_new(SIGN_MAX);
        CHECK_UINT(pair_make(c, algs[i], 1, &key), OK);
        CHECK_UINT(pair_make(c, algs[i], 2, &other), OK);
        CHECK_UINT(sign(c, algs[i], &key.private_key, LIT("text"), &sig), OK);
        CHECK(sig.len <= sign_max_size(algs[i]));
        struct bytes pk = buf_bytes(&key.public_key);
        struct bytes s = buf_bytes(&sig);
        CHECK_UINT(sign_verify(c, algs[i], pk, LIT("text"), s), OK);
        CHECK_UINT(sign_verify(c, algs[i], pk, LIT("test"), s), ERR_AUTH);
        CHECK_UINT(sign_verify(c, algs[i], buf_bytes(&other.public_key),
                               LIT("text"), s),
                   ERR_AUTH);
        for (size_t byte = 0; byte < sig.len; byte++) {
            sig.data[byte] ^= 0x10;
            CHECK_UINT(sign_verify(c, algs[i], pk, LIT("text"), s), ERR_AUTH);
            sig.data[byte] ^= 0x10;
        }
        for (size_t len = 0; len < sig.len; len += 7)
            CHECK_UINT(sign_verify(c, algs[i], pk, LIT("text"),
                                   ((struct bytes){sig.data, len})),
                       ERR_AUTH);
    }
}

static void keys_follow_from_the_seed(void)
{
    CLEANUP(crypto_free) struct crypto *c = NULL;
    CHECK_UINT(crypto_create(&c), OK);
    for (size_t i = 0; i < COUNT(algs); i++) {
        CLEANUP(pair_clear) struct pair a = {0};
        CLEANUP(pair_clear) struct pair b = {0};
        CLEANUP(buf_clear) struct buf pk = buf_new(SIGN_PUBLIC_MAX);
        CHECK_UINT(pair_make(c, algs[i], 7, &a), OK);
        CHECK_UINT(pair_make(c, algs[i], 7, &b), OK);
        CHECK(secret_equal(&a.private_key, &b.private_key));
        CHECK_UINT(a.private_key.len, sign_private_size(algs[i]));
        CHECK_UINT(a.public_key.len, sign_public_size(algs[i]));
        CHECK_UINT(sign_public(c, algs[i], &a.private_key, &pk), OK);
        CHECK_BYTES(buf_bytes(&pk), buf_bytes(&a.public_key));
        CHECK_UINT(sign_check(c, algs[i], buf_bytes(&pk)), OK);
    }
}

static void remembers_the_right_key(void)
{
    CLEANUP(crypto_free) struct crypto *c = NULL;
    CLEANUP(pair_clear) struct pair one = {0};
    CLEANUP(pair_clear) struct pair two = {0};
    CHECK_UINT(crypto_create(&c), OK);
    CHECK_UINT(pair_make(c, SIGN_ED25519, 1, &one), OK);
    CHECK_UINT(pair_make(c, SIGN_ED25519, 2, &two), OK);
    for (size_t i = 0; i < 8; i++) {
        const struct pair *key = i / 2 % 2 == 0 ? &one : &two;
        CLEANUP(buf_clear) struct buf sig = buf_new(SIGN_MAX);
        if (i == 4)
            CHECK_UINT(crypto_forget(c), OK);
        CHECK_UINT(sign(c, SIGN_ED25519, &key->private_key, LIT("x"), &sig),
                   OK);
        CHECK_UINT(sign_verify(c, SIGN_ED25519, buf_bytes(&key->public_key),
                               LIT("x"), buf_bytes(&sig)),
                   OK);
    }
}

static void refuses_what_is_no_key(void)
{
    static const uint8_t zeros[SIGN_PUBLIC_MAX];
    CLEANUP(crypto_free) struct crypto *c = NULL;
    CHECK_UINT(crypto_create(&c), OK);
    for (size_t i = 0; i < COUNT(algs); i++) {
        CLEANUP(secret_clear) struct secret key = {.len = 31};
        CLEANUP(buf_clear) struct buf out = buf_new(SIGN_MAX);
        struct bytes pk = {zeros, sign_public_size(algs[i])};
        CHECK_UINT(sign(c, algs[i], &key, LIT("x"), &out), ERR_MALFORMED);
        CHECK_UINT(sign_public(c, algs[i], &key, &out), ERR_MALFORMED);
        CHECK_UINT(out.len, 0);
        CHECK_UINT(sign_verify(c, algs[i], pk, LIT("x"), LIT("")), ERR_AUTH);
        if (algs[i] != SIGN_ED448) /* judged only when it verifies */
            CHECK(sign_check(c, algs[i], pk) != OK);
        pk.len--;
        CHECK_UINT(sign_check(c, algs[i], pk), ERR_MALFORMED);
        CHECK_UINT(sign_verify(c, algs[i], pk, LIT("x"), LIT("")), ERR_AUTH);
        key.len = sign_private_size(algs[i]); /* zero is no NIST scalar */
        bool nist = algs[i] != SIGN_ED25519 && algs[i] != SIGN_ED448;
        CHECK_UINT(sign_public(c, algs[i], &key, &out),
                   nist ? ERR_INVALID : OK);
    }
}

static void survives_each_allocation_failure(void)
{
    CLEANUP(crypto_free) struct crypto *c = NULL;
    CLEANUP(pair_clear) struct pair key = {0};
    enum err err = ERR_NOMEM;
    CHECK_UINT(crypto_create(&c), OK);
    for (unsigned n = 0; err != OK; n++) {
        CLEANUP(buf_clear) struct buf sig = buf_new(SIGN_MAX);
        pair_clear(&key);
        mem_fail_after(n);
        err = pair_make(c, SIGN_P256, 3, &key);
        CHECK(err == OK || key.private_key.len == 0);
        if (err == OK)
            err = sign(c, SIGN_P256, &key.private_key, LIT("x"), &sig);
        CHECK(err == OK || err == ERR_NOMEM);
    }
    mem_fail_after(UINT_MAX); /* no failure is planned any more */
}

static const struct test tests[] = {
    TEST(verifies_what_it_signed_and_nothing_else),
    TEST(keys_follow_from_the_seed),
    TEST(remembers_the_right_key),
    TEST(refuses_what_is_no_key),
    TEST(survives_each_allocation_failure),
};
TEST_MAIN(tests)
