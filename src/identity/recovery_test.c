/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/recovery.h"

#include "crypto/entropy.h"
#include "test.h"

#include <string.h>

static struct random random_of(struct entropy_seeded *e, uint64_t seed)
{
    entropy_seed(e, seed);
    return entropy_of(e);
}

/* Bytes 0 to 31; the text is Python's, from the alphabet and hashlib. */
static void code_has_its_published_form(void)
{
    CLEANUP(crypto_free) struct crypto *c = NULL;
    struct secret raw = {.len = CODE_SIZE};
    char text[CODE_TEXT_MAX];
    for (size_t i = 0; i < CODE_SIZE; i++)
        raw.data[i] = (uint8_t)i;
    CHECK_UINT(crypto_create(&c), OK);
    CHECK_UINT(code_write(c, CODE_RECOVERY, &raw, text), OK);
    CHECK_BYTES(bytes_str(text), LIT("000G-40R4-0M30-E209-185G-R38E-1W81-24GK-"
                                     "2GAH-C5RR-34D1-P70X-3RFK-KKQZ"));
    CHECK_UINT(strlen(text), CODE_TEXT_MAX - 1);
}

/* How people type: other separators, lower case, letters for digits. */
static void type(const char *text, char one, char *out)
{
    for (; *text != '\0'; text++, out++) {
        *out = *text;
        if (*text == '-')
            *out = ' ';
        if (*text == '0')
            *out = 'o';
        if (*text == '1')
            *out = one;
        if (*text >= 'A' && *text <= 'Z')
            *out = (char)(*text - 'A' + 'a');
    }
    *out = '\0';
}

static void codes_are_read_however_they_are_typed(void)
{
    CLEANUP(crypto_free) struct crypto *c = NULL;
    struct entropy_seeded e;
    struct random random = random_of(&e, 3);
    CHECK_UINT(crypto_create(&c), OK);
    for (size_t round = 0; round < 64; round++) {
        CLEANUP(secret_clear) struct secret raw = {0};
        CLEANUP(secret_clear) struct secret got = {0};
        char text[CODE_TEXT_MAX];
        char typed[CODE_TEXT_MAX];
        secret_random(&raw, CODE_SIZE, &random);
        CHECK_UINT(code_write(c, CODE_INVITE, &raw, text), OK);
        type(text, "iIlL"[round % 4], typed);
        CHECK_UINT(code_read(c, CODE_INVITE, typed, &got), OK);
        CHECK(secret_equal(&got, &raw));
    }
}

static void mistyped_codes_are_noticed(void)
{
    CLEANUP(crypto_free) struct crypto *c = NULL;
    struct entropy_seeded e;
    struct random random = random_of(&e, 4);
    CLEANUP(secret_clear) struct secret raw = {0};
    CLEANUP(secret_clear) struct secret got = {0};
    char text[CODE_TEXT_MAX];
    CHECK_UINT(crypto_create(&c), OK);
    secret_random(&raw, CODE_SIZE, &random);
    CHECK_UINT(code_write(c, CODE_RECOVERY, &raw, text), OK);
    for (size_t i = 0; text[i] != '\0'; i++) {
        char was = text[i];
        if (was == '-')
            continue;
        text[i] = was == 'Z' ? 'Y' : 'Z';
        CHECK_UINT(code_read(c, CODE_RECOVERY, text, &got), ERR_INVALID);
        text[i] = 'U'; /* not in the alphabet */
        CHECK_UINT(code_read(c, CODE_RECOVERY, text, &got), ERR_MALFORMED);
        text[i] = was;
    }
    CHECK_UINT(code_read(c, CODE_INVITE, text, &got), ERR_INVALID);
    CHECK_UINT(code_read(c, CODE_RECOVERY, "", &got), ERR_MALFORMED);
    CHECK_UINT(code_read(c, CODE_RECOVERY, text + 1, &got), ERR_MALFORMED);
    CHECK_UINT(got.len, 0);
}

static void recovery_keys_are_a_function_of_the_code(void)
{
    CLEANUP(crypto_free) struct crypto *c = NULL;
    CLEANUP(buf_clear) struct buf a = buf_new(64);
    CLEANUP(buf_clear) struct buf b = buf_new(64);
    CLEANUP(buf_clear) struct buf signature = buf_new(64);
    CLEANUP(secret_clear) struct secret raw = {.len = RECOVERY_SIZE};
    CLEANUP(secret_clear) struct secret got = {0};
    CLEANUP(secret_clear) struct secret private = {0};
    char text[CODE_TEXT_MAX];
    CHECK_UINT(crypto_create(&c), OK);
    CHECK_UINT(recovery_keys(c, &raw, &private, &a), OK);
    CHECK_UINT(recovery_write(c, &raw, text), OK);
    CHECK_UINT(recovery_read(c, text, &got), OK);
    CHECK_UINT(recovery_keys(c, &got, &private, &b), OK);
    CHECK_BYTES(buf_bytes(&a), buf_bytes(&b));
    CHECK_UINT(label_sign(c, LABEL_STATE, &private, LIT("x"), &signature), OK);
    CHECK_UINT(label_verify(c, LABEL_STATE, buf_bytes(&b), LIT("x"),
                            buf_bytes(&signature)),
               OK);
    CHECK(!secret_equal(&private, &raw)); /* the backup's key is another */
    raw.len = 5;
    CHECK_UINT(recovery_keys(c, &raw, &private, &b), ERR_INVALID);
}

static void safety_numbers_are_the_same_on_both_sides(void)
{
    CLEANUP(crypto_free) struct crypto *c = NULL;
    struct bytes x = LIT("an account id of thirty-two byte");
    struct bytes y = LIT("and another of thirty-two bytes.");
    struct bytes z = LIT("and a third one of thirty-two by");
    char xy[SAFETY_MAX];
    char yx[SAFETY_MAX];
    char xz[SAFETY_MAX];
    CHECK_UINT(crypto_create(&c), OK);
    CHECK_UINT(safety_number(c, x, y, xy), OK);
    CHECK_UINT(safety_number(c, y, x, yx), OK);
    CHECK_UINT(safety_number(c, x, z, xz), OK);
    CHECK_BYTES(bytes_str(xy), bytes_str(yx));
    CHECK(strcmp(xy, xz) != 0);
    CHECK_BYTES(bytes_str(xy), LIT("42087 40763 14612 30355 56410 62948 20163 "
                                   "63742 77813 35093 79247 36560"));
    CHECK_UINT(strlen(xy), SAFETY_MAX - 1);
}

static const struct test tests[] = {
    TEST(code_has_its_published_form),
    TEST(codes_are_read_however_they_are_typed),
    TEST(mistyped_codes_are_noticed),
    TEST(recovery_keys_are_a_function_of_the_code),
    TEST(safety_numbers_are_the_same_on_both_sides),
};
TEST_MAIN(tests)
