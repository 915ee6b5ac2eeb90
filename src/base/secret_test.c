/* SPDX-License-Identifier: Apache-2.0 */
#include "base/secret.h"

#include "test.h"

#include <string.h>

static bool wiped(const struct secret *s)
{
    static const uint8_t zero[SECRET_MAX];
    return s->len == 0 && memcmp(s->data, zero, sizeof(zero)) == 0;
}

static void equality_sees_each_bit(void)
{
    CLEANUP(secret_clear) struct secret a = {0};
    CLEANUP(secret_clear) struct secret b = {0};
    CHECK_UINT(secret_set(&a, LIT("0123456789abcdef")), OK);
    secret_copy(&b, &a);
    CHECK(secret_equal(&a, &b));
    for (size_t bit = 0; bit < 8 * a.len; bit++) {
        b.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
        CHECK(!secret_equal(&a, &b));
        b.data[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
    b.len--;
    CHECK(!secret_equal(&a, &b));
}

static void zero_is_no_bit_at_all(void)
{
    uint8_t bytes[9] = {0};
    CHECK(secret_zero_bytes((struct bytes){0}));
    CHECK(secret_zero_bytes(BYTES_ARRAY(bytes)));
    for (size_t bit = 0; bit < 8 * sizeof(bytes); bit++) {
        bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
        CHECK(!secret_zero_bytes(BYTES_ARRAY(bytes)));
        bytes[bit / 8] ^= (uint8_t)(1U << bit % 8);
    }
}

static void moving_wipes_the_source(void)
{
    CLEANUP(secret_clear) struct secret a = {0};
    CLEANUP(secret_clear) struct secret b = {0};
    CHECK_UINT(secret_set(&a, LIT("key")), OK);
    secret_take(&b, &a);
    CHECK(wiped(&a));
    CHECK_BYTES(secret_expose(&b), LIT("key"));
    secret_take(&b, &b);
    CHECK_BYTES(secret_expose(&b), LIT("key"));
}

static void a_shorter_value_leaves_no_rest(void)
{
    CLEANUP(secret_clear) struct secret s = {0};
    CHECK_UINT(secret_set(&s, LIT("longer")), OK);
    CHECK_UINT(secret_set(&s, (struct bytes){0}), OK);
    CHECK(wiped(&s));
}

static void refuses_what_does_not_fit(void)
{
    static const uint8_t raw[SECRET_MAX + 1] = {1};
    CLEANUP(secret_clear) struct secret s = {0};
    CHECK_UINT(secret_set(&s, BYTES_ARRAY(raw)), ERR_LIMIT);
    CHECK(wiped(&s));
    CHECK_UINT(secret_set(&s, (struct bytes){raw, SECRET_MAX}), OK);
}

static void count_up(void *ctx, uint8_t *out, size_t len)
{
    uint8_t *next = ctx;
    for (size_t i = 0; i < len; i++)
        out[i] = (*next)++;
}

static void draws_from_the_given_source(void)
{
    uint8_t next = 1;
    const struct random r = {count_up, &next};
    CLEANUP(secret_clear) struct secret s = {0};
    secret_random(&s, 3, &r);
    CHECK_BYTES(secret_expose(&s), LIT("\1\2\3"));
    secret_random(&s, 0, &r);
    CHECK(wiped(&s));
}

static const struct test tests[] = {
    TEST(equality_sees_each_bit),    TEST(zero_is_no_bit_at_all),
    TEST(moving_wipes_the_source),   TEST(a_shorter_value_leaves_no_rest),
    TEST(refuses_what_does_not_fit), TEST(draws_from_the_given_source),
};
TEST_MAIN(tests)
