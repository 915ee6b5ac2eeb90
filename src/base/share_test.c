/* SPDX-License-Identifier: Apache-2.0 */
#include "base/share.h"

#include "test.h"

#include <stdint.h>

static void who_has_most_goes_first(void)
{
    static const struct {
        size_t keep;
        size_t goes; /* the least that goes */
    } cases[] = {
        {2111, SIZE_MAX}, {2110, 1000}, {111, 1000}, {110, 100},
        {11, 100},        {10, 10},     {0, 1},
    };
    const size_t taken[] = {0, 1, 10, 100, 1000, 1000};
    struct share s = {{0}};
    for (size_t i = 0; i < COUNT(taken); i++)
        share_add(&s, taken[i]);
    for (size_t i = 0; i < COUNT(cases); i++) {
        unsigned limit = share_limit(&s, cases[i].keep);
        size_t left = 0;
        for (size_t k = 0; k < COUNT(taken); k++) {
            bool goes = share_level(taken[k]) >= limit;
            CHECK(goes == (taken[k] >= cases[i].goes));
            left += goes ? 0 : taken[k];
        }
        CHECK(left <= cases[i].keep);
    }
}

static void levels_are_powers_of_two(void)
{
    CHECK_UINT(share_level(0), 0);
    CHECK_UINT(share_level(1), 1);
    CHECK_UINT(share_level(2), 2);
    CHECK_UINT(share_level(3), 2);
    CHECK_UINT(share_level(SIZE_MAX), SHARE_LEVELS - 1);
}

static const struct test tests[] = {
    TEST(who_has_most_goes_first),
    TEST(levels_are_powers_of_two),
};
TEST_MAIN(tests)
