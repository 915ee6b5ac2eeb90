/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/entropy.h"

#include "base/bytes.h"
#include "test.h"

static void a_seed_fixes_the_output(void)
{
    struct entropy_seeded a;
    struct entropy_seeded b;
    struct entropy_seeded other;
    entropy_seed(&a, 1);
    entropy_seed(&b, 1);
    entropy_seed(&other, 2);
    struct random ra = entropy_of(&a);
    struct random rb = entropy_of(&b);
    struct random ro = entropy_of(&other);
    uint8_t last[32] = {0};
    for (size_t i = 0; i < 100; i++) {
        uint8_t x[32];
        uint8_t y[32];
        uint8_t z[32];
        random_fill(&ra, x, sizeof(x));
        random_fill(&rb, y, sizeof(y));
        random_fill(&ro, z, sizeof(z));
        CHECK_BYTES(BYTES_ARRAY(x), BYTES_ARRAY(y));
        CHECK(!bytes_equal(BYTES_ARRAY(x), BYTES_ARRAY(z)));
        CHECK(!bytes_equal(BYTES_ARRAY(x), BYTES_ARRAY(last)));
        for (size_t j = 0; j < sizeof(last); j++)
            last[j] = x[j];
    }
}

static void the_system_never_repeats(void)
{
    struct random r = entropy_system();
    uint8_t x[16] = {0};
    uint8_t y[16] = {0};
    random_fill(&r, x, sizeof(x));
    random_fill(&r, y, sizeof(y));
    CHECK(!bytes_equal(BYTES_ARRAY(x), BYTES_ARRAY(y)));
}

static const struct test tests[] = {
    TEST(a_seed_fixes_the_output),
    TEST(the_system_never_repeats),
};
TEST_MAIN(tests)
