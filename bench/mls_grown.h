/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Groups of any size without the work of their history. The tree is as if its
 * members had been added in one commit and then each had committed in turn
 * (full), or nobody had (blank). Keys, signatures and parent hashes are real:
 * a joiner accepts it.
 */
#pragma once

#include "base/buf.h"
#include "crypto/suite.h"
#include "sotto/mls.h"

struct grown {
    struct sotto_mls *mls;
    const struct suite *suite;
    uint32_t members;
    bool full;
};

/* Writes the tree as the ratchet_tree extension has it. */
MUST_USE enum err grown_tree(const struct grown *g, struct buf *out);

/* Makes the group of the member at leaf `own`, in the first epoch. All members
 * that are made of one tree share it. */
MUST_USE enum err grown_group(const struct grown *g, struct bytes tree,
                              uint32_t own, struct sotto_group **out);
