/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/queue.h"

#include "base/mem.h"
#include "test.h"

#include <string.h>

static void gives_back_what_was_added_in_order(void)
{
    CLEANUP(queue_clear) struct queue q = {0};
    size_t added = 0;
    size_t taken = 0;
    /* Pieces of many sizes, taken in pieces of others. */
    for (size_t i = 1; i < 3000; i++) {
        uint8_t piece[97];
        size_t len = i * 31 % sizeof piece;
        for (size_t k = 0; k < len; k++)
            piece[k] = (uint8_t)(added + k);
        CHECK_UINT(queue_add(&q, (struct bytes){piece, len}), OK);
        added += len;
        size_t drop = i * 17 % 90;
        struct bytes front = queue_front(&q);
        CHECK_UINT(front.len, added - taken);
        if (drop > front.len)
            drop = front.len;
        for (size_t k = 0; k < drop; k++)
            CHECK_UINT(front.data[k], (uint8_t)(taken + k));
        queue_drop(&q, drop);
        taken += drop;
    }
    CHECK(q.cap <= 64U << 10); /* the front's room is used again */
}

static void an_empty_queue_owns_nothing(void)
{
    CLEANUP(queue_clear) struct queue q = {0};
    CHECK_UINT(queue_add(&q, LIT("abc")), OK);
    queue_drop(&q, 1);
    CHECK_BYTES(queue_front(&q), LIT("bc"));
    queue_drop(&q, 2);
    CHECK(q.data == NULL);
    CHECK_UINT(queue_front(&q).len, 0);
    CHECK_UINT(queue_add(&q, LIT("")), OK);
    CHECK(q.data == NULL);
}

static void keeps_a_block_of_the_size_that_it_was_told(void)
{
    CLEANUP(queue_clear) struct queue q = {.keep = 8U << 10};
    uint8_t *space = NULL;
    CHECK_UINT(queue_add(&q, LIT("abc")), OK);
    const uint8_t *block = q.data;
    queue_drop(&q, 3);
    CHECK_UINT(queue_front(&q).len, 0);
    CHECK_UINT(queue_add(&q, LIT("def")), OK);
    CHECK(q.data == block);
    CHECK_BYTES(queue_front(&q), LIT("def"));
    CHECK_UINT(queue_extend(&q, 16U << 10, &space), OK);
    queue_drop(&q, 3 + (16U << 10));
    CHECK(q.data == NULL);
    CHECK_UINT(q.keep, 8U << 10);
}

static void keeps_its_content_when_memory_runs_out(void)
{
    CLEANUP(queue_clear) struct queue q = {0};
    uint8_t *space = NULL;
    CHECK_UINT(queue_add(&q, LIT("abc")), OK);
    mem_fail_after(0);
    CHECK_UINT(queue_extend(&q, 1U << 20, &space), ERR_NOMEM);
    CHECK_BYTES(queue_front(&q), LIT("abc"));
    CHECK_UINT(queue_extend(&q, SIZE_MAX, &space), ERR_LIMIT);
    CHECK_BYTES(queue_front(&q), LIT("abc"));
}

static const struct test tests[] = {
    TEST(gives_back_what_was_added_in_order),
    TEST(an_empty_queue_owns_nothing),
    TEST(keeps_a_block_of_the_size_that_it_was_told),
    TEST(keeps_its_content_when_memory_runs_out),
};
TEST_MAIN(tests)
