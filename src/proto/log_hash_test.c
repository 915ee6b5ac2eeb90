/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/log_hash.h"

#include "test.h"

#define TEXT(s) {(const uint8_t *)(s), sizeof(s) - 1}

static const struct entry log_of_two[] = {
    {1, 1000, 1, TEXT("one")},
    {2, 1001, 3, TEXT("two")},
};

static enum err log_hash_of(struct crypto *c, const struct entry *entries,
                            size_t count, struct log_hash *out)
{
    uint8_t channel[ID_SIZE];
    for (size_t i = 0; i < sizeof(channel); i++)
        channel[i] = (uint8_t)i;
    TRY(log_hash_start(c, BYTES_ARRAY(channel), out));
    for (size_t i = 0; i < count; i++)
        TRY(log_hash_next(c, out, &entries[i]));
    return OK;
}

/* Computed with Python's hashlib. */
static void has_its_published_value(void)
{
    CLEANUP(crypto_free) struct crypto *c = NULL;
    struct log_hash h;
    CHECK_UINT(crypto_create(&c), OK);
    CHECK_UINT(log_hash_of(c, log_of_two, COUNT(log_of_two), &h), OK);
    CHECK_BYTES(
        BYTES_ARRAY(h.data),
        LIT("\x91\x2e\x69\xd4\x6a\xda\x5d\x49\x21\xfa\x67\x93\xe1\x72\x98\xf8"
            "\xc4\x95\x53\x26\xa6\x33\x18\x69\xea\x5f\xdd\x24\x3f\x96\xdc"
            "\x3d"));
}

static void any_difference_of_logs_shows(void)
{
    static const struct entry logs[][2] = {
        {{1, 1000, 1, TEXT("one")}, {3, 1001, 3, TEXT("two")}},
        {{1, 1000, 1, TEXT("one")}, {2, 1002, 3, TEXT("two")}},
        {{1, 1000, 1, TEXT("one")}, {2, 1001, 1, TEXT("two")}},
        {{1, 1000, 1, TEXT("one")}, {2, 1001, 3, TEXT("twO")}},
        {{1, 1000, 1, TEXT("onE")}, {2, 1001, 3, TEXT("two")}},
        {{2, 1001, 3, TEXT("two")}, {1, 1000, 1, TEXT("one")}},
    };
    CLEANUP(crypto_free) struct crypto *c = NULL;
    struct log_hash want;
    CHECK_UINT(crypto_create(&c), OK);
    CHECK_UINT(log_hash_of(c, log_of_two, 2, &want), OK);
    for (size_t i = 0; i < COUNT(logs); i++) {
        struct log_hash h;
        CHECK_UINT(log_hash_of(c, logs[i], 2, &h), OK);
        CHECK(!bytes_equal(BYTES_ARRAY(h.data), BYTES_ARRAY(want.data)));
    }
}

static const struct test tests[] = {
    TEST(has_its_published_value),
    TEST(any_difference_of_logs_shows),
};
TEST_MAIN(tests)
