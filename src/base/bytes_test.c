/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"

#include "test.h"

static void orders_like_a_dictionary(void)
{
    const struct bytes sorted[] = {
        {0},       LIT("\x00"), LIT("a"),    LIT("a\x00"),
        LIT("ab"), LIT("b"),    LIT("\xff"),
    };
    for (size_t i = 0; i < COUNT(sorted); i++) {
        for (size_t j = 0; j < COUNT(sorted); j++) {
            int order = bytes_compare(sorted[i], sorted[j]);
            CHECK((order < 0) == (i < j));
            CHECK((order > 0) == (i > j));
            CHECK(bytes_equal(sorted[i], sorted[j]) == (i == j));
        }
    }
}

static void literals_have_no_nul(void)
{
    static const uint8_t array[] = {'h', 'i'};
    CHECK_BYTES(BYTES_LIT("hi"), BYTES_ARRAY(array));
    CHECK_BYTES(bytes_str("hi"), BYTES_ARRAY(array));
    struct parts p = PARTS(BYTES_LIT("a"), BYTES_LIT("bc"));
    CHECK_UINT(p.count, 2);
    CHECK_BYTES(p.list[1], LIT("bc"));
}

static const struct test tests[] = {
    TEST(orders_like_a_dictionary),
    TEST(literals_have_no_nul),
};
TEST_MAIN(tests)
