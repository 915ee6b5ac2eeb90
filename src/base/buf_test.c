/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include "base/mem.h"
#include "test.h"

static void appends_and_replaces(void)
{
    CLEANUP(buf_clear) struct buf b = buf_new(1000);
    CHECK_UINT(buf_append(&b, LIT("hello")), OK);
    CHECK_UINT(buf_append(&b, (struct bytes){0}), OK);
    CHECK_UINT(buf_append(&b, LIT(" you")), OK);
    CHECK_BYTES(buf_bytes(&b), LIT("hello you"));
    CHECK_UINT(buf_copy(&b, LIT("bye")), OK);
    CHECK_BYTES(buf_bytes(&b), LIT("bye"));
    CHECK_UINT(buf_copy(&b, LIT("bye for now")), OK);
    CHECK_BYTES(buf_bytes(&b), LIT("bye for now"));
    CHECK_UINT(buf_copy(&b, (struct bytes){0}), OK);
    CHECK_UINT(b.len, 0);
}

static void truncation_wipes_what_it_cuts(void)
{
    CLEANUP(buf_clear) struct buf b = buf_new(16);
    CHECK_UINT(buf_append(&b, LIT("secret")), OK);
    buf_truncate(&b, 2);
    CHECK_BYTES(buf_bytes(&b), LIT("se"));
    CHECK_BYTES(((struct bytes){b.data, 6}), LIT("se\0\0\0\0"));
    CHECK_UINT(buf_extend(&b, 2), OK); /* extension gives zeros */
    CHECK_BYTES(buf_bytes(&b), LIT("se\0\0"));
}

static void failure_leaves_the_content(void)
{
    static const uint8_t big[400];
    CLEANUP(buf_clear) struct buf b = buf_new(300);
    CHECK_UINT(buf_append(&b, LIT("old")), OK);
    CHECK_UINT(buf_append(&b, BYTES_ARRAY(big)), ERR_LIMIT);
    CHECK_UINT(buf_copy(&b, BYTES_ARRAY(big)), ERR_LIMIT);
    mem_fail_after(0);
    CHECK_UINT(buf_append(&b, (struct bytes){big, 290}), ERR_NOMEM);
    mem_fail_after(0);
    CHECK_UINT(buf_copy(&b, (struct bytes){big, 290}), ERR_NOMEM);
    CHECK_BYTES(buf_bytes(&b), LIT("old"));
}

static const struct test tests[] = {
    TEST(appends_and_replaces),
    TEST(truncation_wipes_what_it_cuts),
    TEST(failure_leaves_the_content),
};
TEST_MAIN(tests)
