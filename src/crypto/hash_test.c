/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/hash.h"

#include "test.h"

#include <string.h>

/* FIPS 180-4 examples: one block, "abc". */
static void hashes_parts_like_the_whole(void)
{
    CLEANUP(crypto_free) struct crypto *c = NULL;
    CHECK_UINT(crypto_create(&c), OK);
    const struct {
        enum hash_id alg;
        struct bytes want; /* the first bytes */
    } cases[] = {
        {HASH_SHA256, LIT("\xba\x78\x16\xbf\x8f\x01\xcf\xea")},
        {HASH_SHA384, LIT("\xcb\x00\x75\x3f\x45\xa3\x5e\x8b")},
        {HASH_SHA512, LIT("\xdd\xaf\x35\xa1\x93\x61\x7a\xba")},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct digest whole;
        struct digest parts;
        CHECK_UINT(hash(c, cases[i].alg, PARTS(LIT("abc")), &whole), OK);
        CHECK_UINT(hash(c, cases[i].alg,
                        PARTS(LIT("a"), (struct bytes){0}, LIT("bc")), &parts),
                   OK);
        CHECK_UINT(whole.len, hash_size(cases[i].alg));
        CHECK_BYTES(((struct bytes){whole.data, 8}), cases[i].want);
        CHECK_BYTES(digest_bytes(&parts), digest_bytes(&whole));
    }
}

static void verifies_only_the_whole_tag(void)
{
    CLEANUP(crypto_free) struct crypto *c = NULL;
    CLEANUP(secret_clear) struct secret key = {0};
    struct digest tag;
    CHECK_UINT(crypto_create(&c), OK);
    CHECK_UINT(secret_set(&key, LIT("key")), OK);
    struct parts text = PARTS(LIT("hello "), LIT("you"));
    CHECK_UINT(hmac(c, HASH_SHA256, &key, text, &tag), OK);
    struct bytes t = digest_bytes(&tag);
    CHECK_UINT(hmac_verify(c, HASH_SHA256, &key, text, t), OK);
    CHECK_UINT(hmac_verify(c, HASH_SHA256, &key, PARTS(LIT("hello you")), t),
               OK);
    CHECK_UINT(hmac_verify(c, HASH_SHA256, &key, PARTS(LIT("hello me")), t),
               ERR_AUTH);
    t.len--;
    CHECK_UINT(hmac_verify(c, HASH_SHA256, &key, text, t), ERR_AUTH);
    tag.data[31] ^= 1;
    CHECK_UINT(hmac_verify(c, HASH_SHA256, &key, text, digest_bytes(&tag)),
               ERR_AUTH);
}

static void a_context_keeps_nothing_between_calls(void)
{
    CLEANUP(crypto_free) struct crypto *c = NULL;
    CLEANUP(secret_clear) struct secret none = {0};
    CLEANUP(secret_clear) struct secret key = {0};
    struct digest first;
    struct digest again;
    CHECK_UINT(crypto_create(&c), OK);
    CHECK_UINT(secret_set(&key, LIT("key")), OK);
    CHECK_UINT(hmac(c, HASH_SHA384, &none, PARTS(LIT("x")), &first), OK);
    CHECK_UINT(hmac(c, HASH_SHA384, &key, PARTS(LIT("x")), &again), OK);
    CHECK(!bytes_equal(digest_bytes(&first), digest_bytes(&again)));
    CHECK_UINT(crypto_forget(c), OK);
    CHECK_UINT(hmac(c, HASH_SHA384, &none, PARTS(LIT("x")), &again), OK);
    CHECK_BYTES(digest_bytes(&again), digest_bytes(&first));
}

static void expansion_has_a_limit_and_is_a_prefix(void)
{
    CLEANUP(crypto_free) struct crypto *c = NULL;
    CLEANUP(secret_clear) struct secret prk = {0};
    CLEANUP(secret_clear) struct secret okm = {0};
    CLEANUP(buf_clear) struct buf out = buf_new(1U << 16);
    CHECK_UINT(crypto_create(&c), OK);
    CHECK_UINT(secret_set(&prk, LIT("0123456789abcdef0123456789abcdef")), OK);
    CHECK_UINT(buf_append(&out, LIT("head")), OK);
    struct parts info = PARTS(LIT("in"), LIT("fo"));
    CHECK_UINT(hkdf_expand_long(c, HASH_SHA256, &prk, info, 8161, &out),
               ERR_LIMIT);
    CHECK_BYTES(buf_bytes(&out), LIT("head"));
    CHECK_UINT(hkdf_expand_long(c, HASH_SHA256, &prk, info, 8160, &out), OK);
    CHECK_UINT(out.len, 4 + 8160);
    for (size_t len = 0; len <= SECRET_MAX; len++) {
        CHECK_UINT(
            hkdf_expand(c, HASH_SHA256, &prk, PARTS(LIT("info")), len, &okm),
            OK);
        CHECK_BYTES(secret_expose(&okm), ((struct bytes){out.data + 4, len}));
    }
}

static void many_of_one_key_are_as_one_by_one(void)
{
    CLEANUP(crypto_free) struct crypto *c = NULL;
    CLEANUP(secret_clear) struct secret prk = {0};
    CLEANUP(secret_clear) struct secret one = {0};
    struct secret many[HKDF_WANTS_MAX] = {{{0}, 0}};
    struct hkdf_want wants[HKDF_WANTS_MAX];
    const size_t sizes[] = {1, 16, 32, 33, 66};
    CHECK_UINT(crypto_create(&c), OK);
    for (size_t count = 0; count <= HKDF_WANTS_MAX; count++) {
        struct bytes info[HKDF_WANTS_MAX];
        uint8_t key[32] = {(uint8_t)count};
        CHECK_UINT(secret_set(&prk, BYTES_ARRAY(key)), OK);
        for (size_t i = 0; i < count; i++) {
            info[i] = (struct bytes){key, i};
            wants[i] = (struct hkdf_want){
                {&info[i], 1}, sizes[i % COUNT(sizes)], &many[i]};
        }
        CHECK_UINT(hkdf_expand_each(c, HASH_SHA256, &prk, wants, count), OK);
        for (size_t i = 0; i < count; i++) {
            CHECK_UINT(hkdf_expand(c, HASH_SHA256, &prk, wants[i].info,
                                   wants[i].len, &one),
                       OK);
            CHECK(secret_equal(&one, &many[i]));
        }
    }
}

static const struct test tests[] = {
    TEST(hashes_parts_like_the_whole),
    TEST(verifies_only_the_whole_tag),
    TEST(a_context_keeps_nothing_between_calls),
    TEST(expansion_has_a_limit_and_is_a_prefix),
    TEST(many_of_one_key_are_as_one_by_one),
};
TEST_MAIN(tests)
