/* SPDX-License-Identifier: Apache-2.0 */
#include "mls/tree_math.h"

#include "test.h"

/* Every property below is checked on all nodes of trees up to this size. */
#define LEAVES 256U

static void children_and_parent_agree(void)
{
    for (uint32_t n = 1; n < node_count(LEAVES); n += 2) {
        CHECK_UINT(node_parent(node_left(n)), n);
        CHECK_UINT(node_parent(node_right(n)), n);
        CHECK_UINT(node_sibling(node_left(n)), node_right(n));
        CHECK_UINT(node_sibling(node_right(n)), node_left(n));
        CHECK_UINT(node_level(node_left(n)) + 1, node_level(n));
    }
}

static void root_spans_the_leaves(void)
{
    for (uint32_t leaves = 1; leaves <= LEAVES; leaves *= 2) {
        uint32_t root = node_root(leaves);
        CHECK_UINT(node_first_leaf(root), 0);
        CHECK_UINT(node_leaf_count(root), leaves);
        for (uint32_t n = 0; n < node_count(leaves); n++)
            CHECK(node_in_subtree(n, root));
        CHECK(!node_in_subtree(node_count(leaves) + 1, root));
    }
    CHECK_UINT(node_count(0), 0);
}

/* The definition: below means reached by going up. */
static bool climbs_to(uint32_t node, uint32_t top)
{
    while (node_level(node) < node_level(top))
        node = node_parent(node);
    return node == top;
}

static void subtrees_hold_what_climbs_to_them(void)
{
    for (uint32_t a = 0; a < node_count(64); a++)
        for (uint32_t b = 0; b < node_count(64); b++)
            CHECK_UINT(node_in_subtree(a, b), climbs_to(a, b));
}

static void ancestors_are_those_met_going_up(void)
{
    for (uint32_t leaf = 0; leaf < LEAVES; leaf++) {
        uint32_t n = node_of_leaf(leaf);
        for (uint32_t level = 0; level <= 8; level++) {
            CHECK_UINT(node_ancestor(leaf, level), n);
            CHECK_UINT(node_level(n), level);
            CHECK(leaf >= node_first_leaf(n));
            CHECK(leaf - node_first_leaf(n) < node_leaf_count(n));
            n = node_parent(n);
        }
    }
}

static void common_ancestor_is_the_lowest(void)
{
    for (uint32_t a = 0; a < node_count(32); a++) {
        for (uint32_t b = 0; b < node_count(32); b++) {
            uint32_t top = node_common_ancestor(a, b);
            CHECK(climbs_to(a, top) && climbs_to(b, top));
            if (top == a || top == b)
                continue;
            CHECK(climbs_to(a, node_left(top)) != climbs_to(b, node_left(top)));
        }
    }
}

static const struct test tests[] = {
    TEST(children_and_parent_agree),
    TEST(root_spans_the_leaves),
    TEST(subtrees_hold_what_climbs_to_them),
    TEST(ancestors_are_those_met_going_up),
    TEST(common_ancestor_is_the_lowest),
};

TEST_MAIN(tests)
