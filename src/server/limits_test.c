/* SPDX-License-Identifier: Apache-2.0 */
#include "server/limits.h"

#include "crypto/entropy.h"
#include "test.h"

static struct entropy_seeded entropy;

static struct random source(void)
{
    entropy_seed(&entropy, 1);
    return entropy_of(&entropy);
}

static void spends_up_to_the_limit_each_minute(void)
{
    CLEANUP(limits_free) struct limits *l = NULL;
    const struct random random = source();
    CHECK_UINT(limits_create(&random, &l), OK);
    uint64_t key = limits_key(l, LIT("a"));
    for (uint64_t minute = 5; minute < 8; minute++) {
        CHECK(limits_spend(l, LIMIT_SUB_BYTES, key, minute, 7, 10));
        CHECK(!limits_spend(l, LIMIT_SUB_BYTES, key, minute, 4, 10));
        CHECK(limits_spend(l, LIMIT_SUB_BYTES, key, minute, 3, 10));
        CHECK(!limits_spend(l, LIMIT_SUB_BYTES, key, minute, 1, 10));
        CHECK(limits_spend(l, LIMIT_SUB_BYTES, key, minute, 0, 10));
    }
}

static void keys_and_kinds_do_not_share(void)
{
    CLEANUP(limits_free) struct limits *l = NULL;
    const struct random random = source();
    CHECK_UINT(limits_create(&random, &l), OK);
    uint64_t a = limits_key(l, LIT("a"));
    uint64_t b = limits_key(l, LIT("b"));
    CHECK(limits_spend(l, LIMIT_SUB_BYTES, a, 1, 10, 10));
    CHECK(limits_spend(l, LIMIT_SUB_BYTES, b, 1, 10, 10));
    CHECK(limits_spend(l, LIMIT_SUB_APPENDS, a, 1, 10, 10));
    CHECK(!limits_spend(l, LIMIT_SUB_BYTES, a, 1, 1, 10));
}

static void amounts_do_not_wrap_around(void)
{
    CLEANUP(limits_free) struct limits *l = NULL;
    const struct random random = source();
    CHECK_UINT(limits_create(&random, &l), OK);
    CHECK(limits_spend(l, LIMIT_SUB_BYTES, 1, 1, UINT64_MAX, UINT64_MAX));
    CHECK(!limits_spend(l, LIMIT_SUB_BYTES, 1, 1, 1, UINT64_MAX));
    CHECK(!limits_spend(l, LIMIT_SUB_BYTES, 1, 1, 0, 10));
}

/* Far more keys than fit: the table stays as it is, and the busiest of the
 * minute is rarely among the forgotten. */
static void holds_in_one_size(void)
{
    CLEANUP(limits_free) struct limits *l = NULL;
    const struct random random = source();
    CHECK_UINT(limits_create(&random, &l), OK);
    for (uint32_t i = 0; i < 500000; i++) {
        const uint8_t id[4] = {(uint8_t)i, (uint8_t)(i >> 8),
                               (uint8_t)(i >> 16), 0};
        uint64_t key = limits_key(l, BYTES_ARRAY(id));
        CHECK(limits_spend(l, LIMIT_SUB_APPENDS, key, 1, 1, 5));
    }
}

static const struct test tests[] = {
    TEST(spends_up_to_the_limit_each_minute),
    TEST(keys_and_kinds_do_not_share),
    TEST(amounts_do_not_wrap_around),
    TEST(holds_in_one_size),
};
TEST_MAIN(tests)
