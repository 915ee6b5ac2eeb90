/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/kem.h"

#include "base/mem.h"
#include "crypto/entropy.h"
#include "test.h"

#include <limits.h>

static const enum kem_id kems[] = {KEM_P256,   KEM_P384, KEM_P521,
                                   KEM_X25519, KEM_X448, KEM_XWING};

static void decapsulates_what_was_encapsulated(void)
{
    CLEANUP(crypto_free) struct crypto *c = NULL;
    struct random random = entropy_system();
    CHECK_UINT(crypto_create(&c), OK);
    for (size_t i = 0; i < COUNT(kems); i++) {
        CLEANUP(secret_clear) struct secret key = {0};
        CLEANUP(secret_clear) struct secret sent = {0};
        CLEANUP(secret_clear) struct secret got = {0};
        CLEANUP(buf_clear) struct buf pk = buf_new(KEM_PUBLIC_MAX);
        CLEANUP(buf_clear) struct buf enc = buf_new(KEM_ENC_MAX);
        CHECK_UINT(kem_generate(c, kems[i], &random, &key, &pk), OK);
        CHECK_UINT(key.len, kem_private_size(kems[i]));
        CHECK_UINT(pk.len, kem_public_size(kems[i]));
        struct bytes p = buf_bytes(&pk);
        CHECK_UINT(kem_check(c, kems[i], p), OK);
        CHECK_UINT(kem_encap(c, kems[i], &random, p, &sent, &enc), OK);
        CHECK_UINT(enc.len, kem_enc_size(kems[i]));
        CHECK_UINT(sent.len, kem_secret_size(kems[i]));
        struct bytes e = buf_bytes(&enc);
        CHECK_UINT(kem_decap(c, kems[i], &key, p, e, &got), OK);
        CHECK(secret_equal(&got, &sent));
        secret_clear(&got);
        CHECK_UINT(kem_decap(c, kems[i], &key, (struct bytes){0}, e, &got), OK);
        CHECK(secret_equal(&got, &sent));
    }
}

static void derived_keys_follow_from_the_material(void)
{
    CLEANUP(crypto_free) struct crypto *c = NULL;
    CHECK_UINT(crypto_create(&c), OK);
    for (size_t i = 0; i < COUNT(kems); i++) {
        CLEANUP(secret_clear) struct secret ikm = {.len = 48};
        CLEANUP(secret_clear) struct secret a = {0};
        CLEANUP(secret_clear) struct secret b = {0};
        CLEANUP(buf_clear) struct buf pa = buf_new(KEM_PUBLIC_MAX);
        CLEANUP(buf_clear) struct buf pb = buf_new(KEM_PUBLIC_MAX);
        CHECK_UINT(kem_derive(c, kems[i], &ikm, &a, &pa), OK);
        CHECK_UINT(kem_derive(c, kems[i], &ikm, &b, &pb), OK);
        CHECK(secret_equal(&a, &b));
        CHECK_BYTES(buf_bytes(&pa), buf_bytes(&pb));
        buf_clear(&pb);
        CHECK_UINT(kem_public(c, kems[i], &a, &pb), OK);
        CHECK_BYTES(buf_bytes(&pa), buf_bytes(&pb));
        ikm.data[47] ^= 1;
        buf_clear(&pb);
        CHECK_UINT(kem_derive(c, kems[i], &ikm, &b, &pb), OK);
        CHECK(!secret_equal(&a, &b));
    }
}

/* A key that is not on its curve, of small order, or not reduced. */
static void refuses_what_is_no_key(void)
{
    static const uint8_t zeros[KEM_PUBLIC_MAX];
    static uint8_t ones[KEM_PUBLIC_MAX];
    CLEANUP(crypto_free) struct crypto *c = NULL;
    struct random random = entropy_system();
    CHECK_UINT(crypto_create(&c), OK);
    for (size_t i = 0; i < sizeof(ones); i++)
        ones[i] = 0xff;
    for (size_t i = 0; i < COUNT(kems); i++) {
        CLEANUP(secret_clear) struct secret shared = {0};
        CLEANUP(buf_clear) struct buf enc = buf_new(KEM_ENC_MAX);
        bool raw = kems[i] == KEM_X25519 || kems[i] == KEM_X448;
        ones[0] = raw || kems[i] == KEM_XWING ? 0xff : 0x04;
        struct bytes pk = {raw ? zeros : ones, kem_public_size(kems[i])};
        CHECK_UINT(kem_encap(c, kems[i], &random, pk, &shared, &enc),
                   ERR_INVALID);
        CHECK_UINT(kem_check(c, kems[i], pk), raw ? OK : ERR_INVALID);
        pk.len--;
        CHECK_UINT(kem_encap(c, kems[i], &random, pk, &shared, &enc),
                   ERR_MALFORMED);
        CHECK_UINT(kem_check(c, kems[i], pk), ERR_MALFORMED);
        CHECK_UINT(shared.len + enc.len, 0);
    }
}

static void refuses_a_point_that_is_compressed_or_infinite(void)
{
    CLEANUP(crypto_free) struct crypto *c = NULL;
    CLEANUP(secret_clear) struct secret key = {0};
    CLEANUP(buf_clear) struct buf pk = buf_new(KEM_PUBLIC_MAX);
    struct random random = entropy_system();
    CHECK_UINT(crypto_create(&c), OK);
    CHECK_UINT(kem_generate(c, KEM_P256, &random, &key, &pk), OK);
    pk.data[0] = 0x06; /* the hybrid form of X9.62 */
    CHECK_UINT(kem_check(c, KEM_P256, buf_bytes(&pk)), ERR_MALFORMED);
    pk.data[0] = 0x02;
    CHECK_UINT(kem_check(c, KEM_P256, ((struct bytes){pk.data, 33})),
               ERR_MALFORMED);
    CHECK_UINT(kem_check(c, KEM_P256, LIT("\x00")), ERR_MALFORMED);
}

static void a_changed_encapsulation_gives_another_secret(void)
{
    CLEANUP(crypto_free) struct crypto *c = NULL;
    struct random random = entropy_system();
    CHECK_UINT(crypto_create(&c), OK);
    for (size_t i = 0; i < COUNT(kems); i++) {
        CLEANUP(secret_clear) struct secret key = {0};
        CLEANUP(secret_clear) struct secret sent = {0};
        CLEANUP(secret_clear) struct secret got = {0};
        CLEANUP(buf_clear) struct buf pk = buf_new(KEM_PUBLIC_MAX);
        CLEANUP(buf_clear) struct buf enc = buf_new(KEM_ENC_MAX);
        CHECK_UINT(kem_generate(c, kems[i], &random, &key, &pk), OK);
        struct bytes p = buf_bytes(&pk);
        CHECK_UINT(kem_encap(c, kems[i], &random, p, &sent, &enc), OK);
        enc.data[enc.len / 2] ^= 1;
        enum err err = kem_decap(c, kems[i], &key, p, buf_bytes(&enc), &got);
        CHECK(err == ERR_INVALID || (err == OK && !secret_equal(&got, &sent)));
    }
}

static void survives_each_allocation_failure(void)
{
    CLEANUP(crypto_free) struct crypto *c = NULL;
    struct random random = entropy_system();
    enum err err = ERR_NOMEM;
    CHECK_UINT(crypto_create(&c), OK);
    for (unsigned n = 0; err != OK; n++) {
        CLEANUP(secret_clear) struct secret key = {0};
        CLEANUP(secret_clear) struct secret shared = {0};
        CLEANUP(buf_clear) struct buf pk = buf_new(KEM_PUBLIC_MAX);
        CLEANUP(buf_clear) struct buf enc = buf_new(KEM_ENC_MAX);
        mem_fail_after(n);
        err = kem_generate(c, KEM_XWING, &random, &key, &pk);
        CHECK(err == OK || key.len + pk.len == 0);
        if (err == OK)
            err =
                kem_encap(c, KEM_XWING, &random, buf_bytes(&pk), &shared, &enc);
        CHECK(err == OK || (err == ERR_NOMEM && shared.len + enc.len == 0));
    }
    mem_fail_after(UINT_MAX); /* no failure is planned any more */
}

static const struct test tests[] = {
    TEST(decapsulates_what_was_encapsulated),
    TEST(derived_keys_follow_from_the_material),
    TEST(refuses_what_is_no_key),
    TEST(refuses_a_point_that_is_compressed_or_infinite),
    TEST(a_changed_encapsulation_gives_another_secret),
    TEST(survives_each_allocation_failure),
};
TEST_MAIN(tests)
