/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include "test.h"

#include <string.h>

static void each_error_has_its_own_text(void)
{
    for (enum err a = OK; a <= ERR_IO; a++) {
        CHECK(strcmp(err_text(a), "unknown") != 0);
        for (enum err b = OK; b < a; b++)
            CHECK(strcmp(err_text(a), err_text(b)) != 0);
    }
    CHECK(strcmp(err_text((enum err)(ERR_IO + 1)), "unknown") == 0);
}

static const struct test tests[] = {TEST(each_error_has_its_own_text)};
TEST_MAIN(tests)
