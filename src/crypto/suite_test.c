/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/suite.h"

#include "crypto/aead.h"
#include "crypto/hash.h"
#include "crypto/kem.h"
#include "crypto/sign.h"
#include "test.h"

#include <string.h>

static void sizes_are_those_of_the_algorithms(void)
{
    const struct suite *s = NULL;
    for (size_t i = 0; (s = suite_at(i)) != NULL; i++) {
        CHECK_UINT(s->nh, hash_size(s->hash));
        CHECK_UINT(s->nk, aead_key_size(s->aead));
        CHECK_UINT(s->nn, aead_nonce_size(s->aead));
        CHECK_UINT(s->nsecret, kem_secret_size(s->kem));
        CHECK_UINT(s->nenc, kem_enc_size(s->kem));
        CHECK_UINT(s->npk, kem_public_size(s->kem));
        CHECK_UINT(s->nsk, kem_private_size(s->kem));
        CHECK_UINT(s->sign_npk, sign_public_size(s->sign));
        CHECK_UINT(s->sign_nsk, sign_private_size(s->sign));
        CHECK_UINT(s->sign_max, sign_max_size(s->sign));
        CHECK(s->npk <= KEM_PUBLIC_MAX && s->nenc <= KEM_ENC_MAX);
        CHECK(s->sign_npk <= SIGN_PUBLIC_MAX && s->sign_max <= SIGN_MAX);
        CHECK(s->nsk <= SECRET_MAX && s->sign_nsk <= SECRET_MAX);
    }
    CHECK_UINT((uint64_t)(suite_at(9) != NULL), 1);
    CHECK(suite_at(10) == NULL);
}

static void ids_and_names_find_one_row(void)
{
    const struct suite *s = NULL;
    for (size_t i = 0; (s = suite_at(i)) != NULL; i++) {
        CHECK(suite_find((uint16_t)s->id) == s);
        for (size_t j = 0; j < i; j++)
            CHECK(strcmp(suite_at(j)->name, s->name) != 0);
    }
    CHECK(suite_find(0) == NULL);
    CHECK(suite_find(8) == NULL);
    CHECK(suite_find(0xffff) == NULL);
}

static const struct test tests[] = {
    TEST(sizes_are_those_of_the_algorithms),
    TEST(ids_and_names_find_one_row),
};
TEST_MAIN(tests)
