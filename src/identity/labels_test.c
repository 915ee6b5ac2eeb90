/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/labels.h"

#include "crypto/entropy.h"
#include "crypto/sign.h"
#include "test.h"

/* label || content must not be readable in two ways. */
static void no_label_begins_another(void)
{
    for (unsigned i = 0; i < LABEL_COUNT_; i++) {
        struct bytes a = label_text((enum label)i);
        CHECK(a.len > 6 &&
              bytes_equal((struct bytes){a.data, 6}, LIT("sotto ")));
        for (unsigned j = 0; j < LABEL_COUNT_; j++) {
            struct bytes b = label_text((enum label)j);
            bool begins =
                b.len >= a.len && bytes_equal(a, (struct bytes){b.data, a.len});
            CHECK(begins == (i == j));
        }
    }
}

static void signatures_are_for_one_purpose(void)
{
    CLEANUP(crypto_free) struct crypto *c = NULL;
    CLEANUP(secret_clear) struct secret key = {0};
    CLEANUP(buf_clear) struct buf public = buf_new(64);
    struct entropy_seeded e;
    entropy_seed(&e, 1);
    struct random random = entropy_of(&e);
    CHECK_UINT(crypto_create(&c), OK);
    CHECK_UINT(sign_generate(c, SIGN_ED25519, &random, &key, &public), OK);
    for (unsigned made = LABEL_STATE; made <= LABEL_EPHEMERAL; made++) {
        CLEANUP(buf_clear) struct buf signature = buf_new(64);
        CHECK_UINT(label_sign(c, (enum label)made, &key, LIT("x"), &signature),
                   OK);
        for (unsigned l = LABEL_STATE; l <= LABEL_EPHEMERAL; l++)
            CHECK_UINT(label_verify(c, (enum label)l, buf_bytes(&public),
                                    LIT("x"), buf_bytes(&signature)),
                       l == made ? OK : ERR_AUTH);
    }
}

/* What is signed begins as MLS's SignContent does (RFC 9420, section 5.1.2),
 * but never with its prefix. */
static void signed_content_is_labelled_like_mls(void)
{
    CLEANUP(crypto_free) struct crypto *c = NULL;
    CLEANUP(secret_clear) struct secret key = {0};
    CLEANUP(buf_clear) struct buf public = buf_new(64);
    CLEANUP(buf_clear) struct buf signature = buf_new(64);
    struct entropy_seeded e;
    entropy_seed(&e, 1);
    struct random random = entropy_of(&e);
    CHECK_UINT(crypto_create(&c), OK);
    CHECK_UINT(sign_generate(c, SIGN_ED25519, &random, &key, &public), OK);
    CHECK_UINT(label_sign(c, LABEL_LOGIN, &key, LIT("content"), &signature),
               OK);
    CHECK_UINT(sign_verify(c, SIGN_ED25519, buf_bytes(&public),
                           LIT("\x0esotto login v1\x07"
                               "content"),
                           buf_bytes(&signature)),
               OK);
}

static const struct test tests[] = {
    TEST(no_label_begins_another),
    TEST(signatures_are_for_one_purpose),
    TEST(signed_content_is_labelled_like_mls),
};
TEST_MAIN(tests)
