/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Node indices of a complete binary tree in an array (RFC 9420, appendix C):
 * leaf i is node 2i, and a node's level is the number of its trailing ones.
 * The number of leaves is always a power of two, so no step needs the size.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

static inline bool node_is_leaf(uint32_t node) { return (node & 1) == 0; }
static inline uint32_t node_of_leaf(uint32_t leaf) { return 2 * leaf; }
static inline uint32_t leaf_of_node(uint32_t node) { return node / 2; }

uint32_t node_level(uint32_t node);
/* The number of nodes, and the root, of a tree with `leaves` leaves, which is
 * a power of two. */
uint32_t node_count(uint32_t leaves);
uint32_t node_root(uint32_t leaves);
uint32_t node_left(uint32_t parent);
uint32_t node_right(uint32_t parent);
uint32_t node_parent(uint32_t node);
uint32_t node_sibling(uint32_t node);
/* Whether `node` is `top` or lies below it. */
bool node_in_subtree(uint32_t node, uint32_t top);
/* The lowest node that has both below it (or is one of them). */
uint32_t node_common_ancestor(uint32_t a, uint32_t b);
/* The ancestor of a leaf at a level; level 0 is the leaf itself. */
uint32_t node_ancestor(uint32_t leaf, uint32_t level);
/* The first and the number of leaves below `node`. */
uint32_t node_first_leaf(uint32_t node);
uint32_t node_leaf_count(uint32_t node);
