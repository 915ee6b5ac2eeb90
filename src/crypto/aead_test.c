/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/aead.h"

#include "base/mem.h"
#include "test.h"

#include <limits.h>

static const enum aead_id algs[] = {AEAD_AES128GCM, AEAD_AES256GCM,
                                    AEAD_CHACHA20POLY1305,
                                    AEAD_XCHACHA20POLY1305};
static const uint8_t bytes32[32] = {1, 2, 3, 4, 5, 6, 7};

static struct aead aead_for(enum aead_id alg, struct secret *key)
{
    struct bytes raw = {bytes32, aead_key_size(alg)};
    if (secret_set(key, raw) != OK)
        secret_clear(key); /* cannot happen; the test would see it */
    return (struct aead){
        alg, key, {bytes32 + 4, aead_nonce_size(alg)}, LIT("aad")};
}

static void opens_what_it_sealed(void)
{
    CLEANUP(crypto_free) struct crypto *c = NULL;
    CHECK_UINT(crypto_create(&c), OK);
    for (size_t i = 0; i < COUNT(algs); i++) {
        for (size_t len = 0; len < 70; len++) {
            CLEANUP(secret_clear) struct secret key = {0};
            CLEANUP(buf_clear) struct buf text = buf_new(100);
            CLEANUP(buf_clear) struct buf ct = buf_new(200);
            CLEANUP(buf_clear) struct buf pt = buf_new(200);
            struct aead a = aead_for(algs[i], &key);
            CHECK_UINT(buf_extend(&text, len), OK);
            CHECK_UINT(buf_append(&ct, LIT("head")), OK);
            CHECK_UINT(aead_seal(c, &a, buf_bytes(&text), &ct), OK);
            CHECK_UINT(ct.len, 4 + len + AEAD_TAG_SIZE);
            struct bytes sealed = {ct.data + 4, ct.len - 4};
            CHECK_UINT(aead_open(c, &a, sealed, &pt), OK);
            CHECK_BYTES(buf_bytes(&pt), buf_bytes(&text));
        }
    }
}

static void any_changed_bit_is_seen(void)
{
    CLEANUP(crypto_free) struct crypto *c = NULL;
    CHECK_UINT(crypto_create(&c), OK);
    for (size_t i = 0; i < COUNT(algs); i++) {
        CLEANUP(secret_clear) struct secret key = {0};
        CLEANUP(buf_clear) struct buf ct = buf_new(200);
        CLEANUP(buf_clear) struct buf pt = buf_new(200);
        struct aead a = aead_for(algs[i], &key);
        CHECK_UINT(aead_seal(c, &a, LIT("hello"), &ct), OK);
        CHECK_UINT(buf_append(&pt, LIT("old")), OK);
        for (size_t bit = 0; bit < 8 * ct.len; bit++) {
            ct.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
            CHECK_UINT(aead_open(c, &a, buf_bytes(&ct), &pt), ERR_AUTH);
            CHECK_BYTES(buf_bytes(&pt), LIT("old"));
            ct.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
        }
        for (size_t len = 0; len < ct.len; len++)
            CHECK_UINT(aead_open(c, &a, ((struct bytes){ct.data, len}), &pt),
                       ERR_AUTH);
        a.aad = LIT("other");
        CHECK_UINT(aead_open(c, &a, buf_bytes(&ct), &pt), ERR_AUTH);
        a = aead_for(algs[i], &key);
        a.nonce.data++;
        CHECK_UINT(aead_open(c, &a, buf_bytes(&ct), &pt), ERR_AUTH);
        a = aead_for(algs[i], &key);
        key.data[0] ^= 1;
        CHECK_UINT(aead_open(c, &a, buf_bytes(&ct), &pt), ERR_AUTH);
        CHECK_BYTES(buf_bytes(&pt), LIT("old"));
    }
}

static void refuses_keys_and_nonces_of_a_wrong_size(void)
{
    CLEANUP(crypto_free) struct crypto *c = NULL;
    CHECK_UINT(crypto_create(&c), OK);
    for (size_t i = 0; i < COUNT(algs); i++) {
        CLEANUP(secret_clear) struct secret key = {0};
        CLEANUP(buf_clear) struct buf out = buf_new(200);
        struct aead a = aead_for(algs[i], &key);
        a.nonce.len--;
        CHECK_UINT(aead_seal(c, &a, LIT("x"), &out), ERR_INVALID);
        a.nonce.len++;
        key.len++;
        CHECK_UINT(aead_seal(c, &a, LIT("x"), &out), ERR_INVALID);
        CHECK_UINT(out.len, 0);
    }
}

static void forgetting_changes_nothing_that_is_seen(void)
{
    CLEANUP(crypto_free) struct crypto *c = NULL;
    CHECK_UINT(crypto_create(&c), OK);
    for (size_t i = 0; i < COUNT(algs); i++) {
        CLEANUP(secret_clear) struct secret key = {0};
        CLEANUP(buf_clear) struct buf once = buf_new(200);
        CLEANUP(buf_clear) struct buf twice = buf_new(200);
        struct aead a = aead_for(algs[i], &key);
        CHECK_UINT(aead_seal(c, &a, LIT("x"), &once), OK);
        CHECK_UINT(crypto_forget(c), OK);
        CHECK_UINT(aead_seal(c, &a, LIT("x"), &twice), OK);
        CHECK_BYTES(buf_bytes(&twice), buf_bytes(&once));
    }
}

static void survives_each_allocation_failure(void)
{
    CLEANUP(crypto_free) struct crypto *c = NULL;
    enum err err = ERR_NOMEM;
    mem_fail_after(0);
    CHECK_UINT(crypto_create(&c), ERR_NOMEM);
    CHECK(c == NULL);
    CHECK_UINT(crypto_create(&c), OK);
    for (unsigned n = 0; err != OK; n++) {
        CLEANUP(secret_clear) struct secret key = {0};
        CLEANUP(buf_clear) struct buf ct = buf_new(200);
        CLEANUP(buf_clear) struct buf pt = buf_new(200);
        struct aead a = aead_for(AEAD_AES256GCM, &key);
        mem_fail_after(n);
        err = aead_seal(c, &a, LIT("x"), &ct);
        if (err == OK)
            err = aead_open(c, &a, buf_bytes(&ct), &pt);
        CHECK(err == OK || (err == ERR_NOMEM && pt.len == 0));
    }
    mem_fail_after(UINT_MAX); /* no failure is planned any more */
}

static const struct test tests[] = {
    TEST(opens_what_it_sealed),
    TEST(any_changed_bit_is_seen),
    TEST(refuses_keys_and_nonces_of_a_wrong_size),
    TEST(forgetting_changes_nothing_that_is_seen),
    TEST(survives_each_allocation_failure),
};
TEST_MAIN(tests)
