/* SPDX-License-Identifier: Apache-2.0 */
#include "base/problem.h"

#include "test.h"

#include <errno.h>
#include <string.h>

static void says_what_the_system_refused(void)
{
    struct problem p = {0};
    errno = ENOENT;
    CHECK_UINT(problem_system(&p, "cannot open %s", "x"), ERR_IO);
    CHECK_UINT(p.kind, PROBLEM_SYSTEM);
    CHECK_UINT((unsigned)p.sys, ENOENT);
    CHECK(strcmp(p.detail, "cannot open x: No such file or directory") == 0);
}

static void tells_a_full_disk_apart(void)
{
    struct problem p = {0};
    errno = ENOSPC;
    CHECK_UINT(problem_system(&p, "cannot write"), ERR_IO);
    CHECK_UINT(p.kind, PROBLEM_FULL);
}

static void cuts_a_detail_that_is_too_long(void)
{
    struct problem p = {0};
    errno = EIO;
    CHECK_UINT(problem_system(&p, "%0500d", 7), ERR_IO);
    CHECK_UINT(strlen(p.detail), sizeof p.detail - 1);
}

static void passes_the_error_through_without_a_problem(void)
{
    CHECK_UINT(problem_set(NULL, ERR_LIMIT, PROBLEM_USAGE, "x"), ERR_LIMIT);
    errno = EIO;
    CHECK_UINT(problem_system(NULL, "x"), ERR_IO);
}

static const struct test tests[] = {
    TEST(says_what_the_system_refused),
    TEST(tells_a_full_disk_apart),
    TEST(cuts_a_detail_that_is_too_long),
    TEST(passes_the_error_through_without_a_problem),
};
TEST_MAIN(tests)
