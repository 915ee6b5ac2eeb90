/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/label.h"

#include "test.h"

/* RFC 9180, section 4: what goes into HKDF, written out. */
static void labels_are_those_of_hpke(void)
{
    CLEANUP(crypto_free) struct crypto *c = NULL;
    CLEANUP(secret_clear) struct secret got = {0};
    CLEANUP(secret_clear) struct secret want = {0};
    CLEANUP(secret_clear) struct secret prk = {0};
    CHECK_UINT(crypto_create(&c), OK);
    const struct labels l = {c, HASH_SHA256, LIT("SUITE")};

    CHECK_UINT(label_extract(&l, LIT("salt"), "label", LIT("ikm"), &got), OK);
    CHECK_UINT(hkdf_extract_parts(c, HASH_SHA256, LIT("salt"),
                                  PARTS(LIT("HPKE-v1SUITElabelikm")), &want),
               OK);
    CHECK(secret_equal(&got, &want));

    secret_take(&prk, &got);
    CHECK_UINT(label_expand(&l, &prk, "label", LIT("info"), 42, &got), OK);
    CHECK_UINT(hkdf_expand(c, HASH_SHA256, &prk,
                           PARTS(LIT("\x00\x2aHPKE-v1SUITElabelinfo")), 42,
                           &want),
               OK);
    CHECK(secret_equal(&got, &want));
}

static const struct test tests[] = {TEST(labels_are_those_of_hpke)};
TEST_MAIN(tests)
