/* SPDX-License-Identifier: Apache-2.0 */
#include "base/map.h"

#include "base/mem.h"
#include "test.h"

#include <string.h>

struct thing {
    struct map_node node;
    uint32_t number;
};

static void fill(void *ctx, uint8_t *out, size_t len)
{
    (void)ctx;
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)i;
}
static const struct random fixed = {fill, NULL};

static struct bytes key_of(const uint32_t *number)
{
    return (struct bytes){(const uint8_t *)number, sizeof *number};
}

static struct thing *find(const struct map *m, uint32_t number)
{
    uint64_t hash = map_hash(m, key_of(&number));
    for (struct map_node *n = map_find(m, hash); n != NULL; n = map_again(n)) {
        if (MAP_OBJECT(n, struct thing, node)->number == number)
            return MAP_OBJECT(n, struct thing, node);
    }
    return NULL;
}

/* Odd ones go again. */
static void finds_what_is_there_and_nothing_else(void)
{
    static struct thing things[1000];
    CLEANUP(map_clear) struct map m = map_new(&fixed);
    CHECK(find(&m, 0) == NULL);
    for (uint32_t i = 0; i < COUNT(things); i++) {
        things[i].number = i;
        CHECK_UINT(map_add(&m, &things[i].node, map_hash(&m, key_of(&i))), OK);
    }
    for (uint32_t i = 1; i < COUNT(things); i += 2)
        map_remove(&m, &things[i].node);
    for (uint32_t i = 0; i < COUNT(things) + 10; i++) {
        bool there = i < COUNT(things) && i % 2 == 0;
        CHECK(find(&m, i) == (there ? &things[i] : NULL));
    }
    uint32_t seen = 0;
    for (struct map_node *n = map_each(&m, NULL); n != NULL;
         n = map_each(&m, n))
        seen++;
    CHECK_UINT(seen, COUNT(things) / 2);
}

static void finds_all_objects_of_one_hash(void)
{
    struct thing a = {.number = 1};
    struct thing b = {.number = 2};
    CLEANUP(map_clear) struct map m = map_new(&fixed);
    CHECK_UINT(map_add(&m, &a.node, 7), OK);
    CHECK_UINT(map_add(&m, &b.node, 7), OK);
    struct map_node *first = map_find(&m, 7);
    CHECK(first != NULL && map_again(first) != NULL);
    CHECK(map_again(map_again(first)) == NULL);
}

/* SipHash-1-3 of the key 00..0f and the message 00..0e. */
static void hash_is_siphash(void)
{
    const struct map m = map_new(&fixed);
    uint8_t message[15];
    fill(NULL, message, sizeof message);
    CHECK_UINT(map_hash(&m, BYTES_ARRAY(message)), 0xd320d86d2a519956U);
}

static void survives_when_it_cannot_grow(void)
{
    static struct thing things[40];
    CLEANUP(map_clear) struct map m = map_new(&fixed);
    mem_fail_after(0);
    CHECK_UINT(map_add(&m, &things[0].node, 0), ERR_NOMEM);
    for (uint32_t i = 0; i < COUNT(things); i++) {
        things[i].number = i;
        if (i > 0)
            mem_fail_after(0);
        CHECK_UINT(map_add(&m, &things[i].node, map_hash(&m, key_of(&i))), OK);
    }
    mem_fail_after(1000000);
    for (uint32_t i = 0; i < COUNT(things); i++)
        CHECK(find(&m, i) == &things[i]);
}

static const struct test tests[] = {
    TEST(finds_what_is_there_and_nothing_else),
    TEST(finds_all_objects_of_one_hash),
    TEST(hash_is_siphash),
    TEST(survives_when_it_cannot_grow),
};
TEST_MAIN(tests)
