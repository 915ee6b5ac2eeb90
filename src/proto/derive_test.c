/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/derive.h"

#include "base/mem.h"
#include "test.h"

#define SUBJECT LIT("a subject is 32 bytes of anything")
#define DAY     20000U
#define NOON    (DAY * (uint64_t)SECONDS_OF_DAY + 43200U)

static struct bytes subject(void)
{
    return (struct bytes){SUBJECT.data, ID_SIZE};
}

/* Computed with Python's hmac and hashlib, not with this code. */
static void ids_and_hashes_have_their_published_values(void)
{
    CLEANUP(crypto_free) struct crypto *c = NULL;
    struct secret secret = {.len = SUBSCRIPTION_SECRET};
    uint8_t key[KEY_SIZE];
    uint8_t out[ID_SIZE];
    for (size_t i = 0; i < SUBSCRIPTION_SECRET; i++) {
        secret.data[i] = (uint8_t)i;
        key[i] = (uint8_t)(0x80 + i);
    }
    CHECK_UINT(crypto_create(&c), OK);
    CHECK_UINT(subscription_id(c, &secret, BYTES_ARRAY(key), out), OK);
    CHECK_BYTES(
        BYTES_ARRAY(out),
        LIT("\xae\x73\x0e\x44\x94\x1b\xe8\x06\x7a\xfa\xd7\xcd\x06\x26\x73\xcf"
            "\x45\x67\x8f\x26\xec\x2e\x50\xbd\x79\x08\xdf\x40\x96\x02\x85"
            "\xdb"));
    CHECK_UINT(cap_hash(c, BYTES_ARRAY(key), out), OK);
    CHECK_BYTES(
        BYTES_ARRAY(out),
        LIT("\x82\xd8\x64\x08\x53\x0b\x76\x5e\x46\xeb\xf4\x78\x07\x09\x50\x27"
            "\xe8\x07\xbc\x08\x67\x4b\x0d\xe7\x7e\xe5\xef\x2f\xae\x7d\x04"
            "\x92"));
}

static void work_is_found_and_checked(void)
{
    CLEANUP(crypto_free) struct crypto *c = NULL;
    const struct pow_task task = {POW_INBOX, subject(), 10};
    struct pow pow = {DAY, 0};
    bool found = false;
    CHECK_UINT(crypto_create(&c), OK);
    for (unsigned rounds = 0; !found; rounds++) {
        CHECK(rounds < 10000);
        CHECK_UINT(pow_solve(c, &task, 100, &pow, &found), OK);
    }
    CHECK_UINT(pow_check(c, POW_INBOX, subject(), pow, 10, NOON), OK);
    CHECK_UINT(pow_check(c, POW_INBOX, subject(), pow, 0, NOON), OK);
    CHECK_UINT(pow_check(c, POW_INBOX, subject(), pow, 64, NOON), ERR_AUTH);
    CHECK_UINT(pow.nonce, 1076); /* the format is fixed */
}

static void work_is_for_one_purpose_and_subject(void)
{
    CLEANUP(crypto_free) struct crypto *c = NULL;
    const struct pow_task task = {POW_INBOX, subject(), 12};
    struct pow pow = {DAY, 0};
    bool found = false;
    CHECK_UINT(crypto_create(&c), OK);
    CHECK_UINT(pow_solve(c, &task, 1U << 18, &pow, &found), OK);
    CHECK(found);
    CHECK_UINT(pow_check(c, POW_KP_TAKE, subject(), pow, 12, NOON), ERR_AUTH);
    CHECK_UINT(pow_check(c, POW_INBOX, LIT("some other subject of 32 bytes.."),
                         pow, 12, NOON),
               ERR_AUTH);
}

static void work_lasts_until_the_end_of_the_next_day(void)
{
    const struct {
        uint64_t time;
        enum err err;
    } cases[] = {
        {NOON, OK},
        {NOON + SECONDS_OF_DAY, OK},
        {NOON + UINT64_C(2) * SECONDS_OF_DAY, ERR_STATE},
        {NOON - SECONDS_OF_DAY, ERR_STATE},
    };
    CLEANUP(crypto_free) struct crypto *c = NULL;
    struct pow pow = {DAY, 0};
    CHECK_UINT(crypto_create(&c), OK);
    for (size_t i = 0; i < COUNT(cases); i++)
        CHECK_UINT(pow_check(c, POW_INBOX, subject(), pow, 0, cases[i].time),
                   cases[i].err);
}

static const struct test tests[] = {
    TEST(ids_and_hashes_have_their_published_values),
    TEST(work_is_found_and_checked),
    TEST(work_is_for_one_purpose_and_subject),
    TEST(work_lasts_until_the_end_of_the_next_day),
};
TEST_MAIN(tests)
