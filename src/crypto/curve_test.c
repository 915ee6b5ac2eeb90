/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/curve.h"

#include "test.h"

static const struct curve *const curves[] = {&curve_p256, &curve_p384,
                                             &curve_p521};

static enum err agree(struct crypto *c, const struct curve *curve,
                      const struct secret *own, const uint8_t *peer,
                      struct secret *out)
{
    CLEANUP(pkey_free) EVP_PKEY *own_key = NULL;
    CLEANUP(pkey_free) EVP_PKEY *peer_key = NULL;
    TRY(curve_private_key(c, curve, own, &own_key));
    TRY(curve_public_key(c, curve, bytes_of(peer, curve->public_size),
                         &peer_key));
    return pkey_agree(own_key, peer_key, out);
}

/* The keys are 3 and 5, so what they agree on is the point of 15. */
static void two_sides_agree(void)
{
    CLEANUP(crypto_free) struct crypto *c = NULL;
    CHECK_UINT(crypto_create(&c), OK);
    for (size_t i = 0; i < COUNT(curves); i++) {
        const size_t size = curves[i]->private_size;
        CLEANUP(secret_clear) struct secret key = {.len = size};
        CLEANUP(secret_clear) struct secret got = {0};
        uint8_t pk3[CURVE_PUBLIC_MAX];
        uint8_t pk5[CURVE_PUBLIC_MAX];
        uint8_t pk15[CURVE_PUBLIC_MAX];
        key.data[size - 1] = 15;
        CHECK_UINT(curve_public(c, curves[i], &key, pk15), OK);
        key.data[size - 1] = 3;
        CHECK_UINT(curve_public(c, curves[i], &key, pk3), OK);
        key.data[size - 1] = 5;
        CHECK_UINT(curve_public(c, curves[i], &key, pk5), OK);
        CHECK_UINT(agree(c, curves[i], &key, pk3, &got), OK);
        CHECK_BYTES(secret_expose(&got), bytes_of(pk15 + 1, size));
        key.data[size - 1] = 3;
        CHECK_UINT(agree(c, curves[i], &key, pk5, &got), OK);
        CHECK_BYTES(secret_expose(&got), bytes_of(pk15 + 1, size));
    }
}

/* The order of P-256 is the first number that is none. */
static void scalars_are_below_the_order(void)
{
    static const uint8_t order[32] = {
        0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7, 0x17,
        0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51};
    CLEANUP(crypto_free) struct crypto *c = NULL;
    CLEANUP(secret_clear) struct secret key = {0};
    uint8_t pk[CURVE_PUBLIC_MAX] = {0};
    CHECK_UINT(crypto_create(&c), OK);
    CHECK_UINT(secret_set(&key, BYTES_ARRAY(order)), OK);
    CHECK_UINT(curve_candidate(c, &curve_p256, &key), ERR_INVALID);
    CHECK_UINT(curve_public(c, &curve_p256, &key, pk), ERR_INVALID);
    CHECK_UINT(pk[0], 0);
    key.data[31]--;
    CHECK_UINT(curve_candidate(c, &curve_p256, &key), OK);
    CHECK_UINT(curve_public(c, &curve_p256, &key, pk), OK);
    secret_clear(&key);
    key.len = 32;
    CHECK_UINT(curve_candidate(c, &curve_p256, &key), ERR_INVALID); /* zero */
}

/* RFC 9180, section 7.1.3: P-521 has 521 bits in 528. */
static void candidates_are_masked(void)
{
    CLEANUP(crypto_free) struct crypto *c = NULL;
    CLEANUP(secret_clear) struct secret key = {.len = 66};
    CHECK_UINT(crypto_create(&c), OK);
    key.data[0] = 0xfe;
    key.data[65] = 1;
    CHECK_UINT(curve_candidate(c, &curve_p521, &key), OK);
    CHECK_UINT(key.data[0], 0);
}

/* A failure leaves no entry behind, which libssl would take for its own. */
static void failures_leave_no_openssl_errors(void)
{
    static const uint8_t bad[65] = {0x04};
    CLEANUP(crypto_free) struct crypto *c = NULL;
    CLEANUP(pkey_free) EVP_PKEY *key = NULL;
    CHECK_UINT(crypto_create(&c), OK);
    CHECK_UINT(curve_public_key(c, &curve_p256, BYTES_ARRAY(bad), &key),
               ERR_INVALID);
    CHECK(key == NULL);
    CHECK_UINT(ERR_peek_error(), 0);
}

static const struct test tests[] = {
    TEST(two_sides_agree),
    TEST(scalars_are_below_the_order),
    TEST(candidates_are_masked),
    TEST(failures_leave_no_openssl_errors),
};
TEST_MAIN(tests)
