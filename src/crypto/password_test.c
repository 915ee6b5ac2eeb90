/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/password.h"

#include "test.h"

static const struct password_cost cheap = {.passes = 1, .memory_kib = 8};

/* Every input decides the key. */
static void each_input_changes_the_key(void)
{
    const struct {
        struct bytes passphrase;
        struct bytes salt;
        struct password_cost cost;
    } cases[] = {
        {LIT("correct horse"), LIT("0123456789abcdef"), {1, 8}},
        {LIT("correct horsE"), LIT("0123456789abcdef"), {1, 8}},
        {LIT("correct horse"), LIT("0123456789abcdeF"), {1, 8}},
        {LIT("correct horse"), LIT("0123456789abcdef"), {2, 8}},
        {LIT("correct horse"), LIT("0123456789abcdef"), {1, 16}},
        {LIT(""), LIT("0123456789abcdef"), {1, 8}},
    };
    struct secret keys[COUNT(cases)] = {0};
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(secret_clear) struct secret again = {0};
        CHECK_UINT(password_key(cases[i].passphrase, cases[i].salt,
                                cases[i].cost, &keys[i]),
                   OK);
        CHECK_UINT(password_key(cases[i].passphrase, cases[i].salt,
                                cases[i].cost, &again),
                   OK);
        CHECK_UINT(keys[i].len, PASSWORD_KEY_SIZE);
        CHECK(secret_equal(&keys[i], &again));
        for (size_t j = 0; j < i; j++)
            CHECK(!secret_equal(&keys[i], &keys[j]));
    }
}

/* Argon2id, one pass, 8 KiB, one lane: as the argon2 program says. */
static void is_argon2id(void)
{
    CLEANUP(secret_clear) struct secret key = {0};
    CHECK_UINT(
        password_key(LIT("password"), LIT("somesaltsomesalt"), cheap, &key),
        OK);
    CHECK_BYTES(((struct bytes){key.data, 8}),
                LIT("\x05\xb6\xca\x8f\x80\x38\xb6\x83"));
}

static void refuses_costs_that_a_damaged_file_may_hold(void)
{
    CLEANUP(secret_clear) struct secret key = {0};
    const struct bytes salt = LIT("0123456789abcdef");
    const struct {
        struct password_cost cost;
        enum err err;
    } cases[] = {
        {{0, 8}, ERR_INVALID},
        {{1, 7}, ERR_INVALID},
        {{0x10001, 8}, ERR_LIMIT},
        {{1, 0x400001}, ERR_LIMIT},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        CHECK_UINT(password_key(LIT("x"), salt, cases[i].cost, &key),
                   cases[i].err);
    CHECK_UINT(password_key(LIT("x"), LIT("short"), cheap, &key), ERR_INVALID);
    CHECK_UINT(key.len, 0);
}

static const struct test tests[] = {
    TEST(each_input_changes_the_key),
    TEST(is_argon2id),
    TEST(refuses_costs_that_a_damaged_file_may_hold),
};
TEST_MAIN(tests)
