/* SPDX-License-Identifier: Apache-2.0 */
#include "mls/tree_math.h"

#include <assert.h>

uint32_t node_level(uint32_t node)
{
    return (uint32_t)__builtin_ctz(~node); /* never called with all ones */
}

uint32_t node_count(uint32_t leaves)
{
    return leaves == 0 ? 0 : 2 * leaves - 1;
}

uint32_t node_root(uint32_t leaves)
{
    assert(leaves > 0);
    return leaves - 1;
}

uint32_t node_left(uint32_t parent)
{
    assert(!node_is_leaf(parent));
    return parent ^ (1U << (node_level(parent) - 1));
}

uint32_t node_right(uint32_t parent)
{
    assert(!node_is_leaf(parent));
    return parent ^ (3U << (node_level(parent) - 1));
}

uint32_t node_parent(uint32_t node)
{
    uint32_t level = node_level(node);
    return (node | (1U << level)) & ~(1U << (level + 1));
}

uint32_t node_sibling(uint32_t node) { return node ^ (2U << node_level(node)); }

uint32_t node_first_leaf(uint32_t node)
{
    return (node - ((1U << node_level(node)) - 1)) / 2;
}

uint32_t node_leaf_count(uint32_t node) { return 1U << node_level(node); }

bool node_in_subtree(uint32_t node, uint32_t top)
{
    uint32_t level = node_level(top);
    return node_level(node) <= level &&
           node >> (level + 1) == top >> (level + 1);
}

uint32_t node_ancestor(uint32_t leaf, uint32_t level)
{
    uint32_t below = (1U << level) - 1;
    return ((2 * leaf) & ~below & ~(1U << level)) | below;
}

uint32_t node_common_ancestor(uint32_t a, uint32_t b)
{
    uint32_t at = node_level(a) > node_level(b) ? a : b;
    uint32_t other = at == a ? b : a;
    while (!node_in_subtree(other, at))
        at = node_parent(at);
    return at;
}
