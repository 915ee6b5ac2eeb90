/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a leaf, a KeyPackage and a set of members must satisfy, beside
 * signatures and unique keys (RFC 9420, sections 7.3, 10.1 and 11.1).
 */
#pragma once

#include "mls/proposal.h"
#include "mls/tree.h"

/* Whether every client supports a type without saying so (section 7.2). */
bool extension_type_default(uint16_t type);
bool proposal_type_default(uint16_t type);

/* ERR_INVALID unless the leaf is one for this suite that supports what it
 * carries itself. */
MUST_USE enum err leaf_check_self(const struct suite *s,
                                  const struct leaf_node *leaf);
/* ERR_INVALID unless the leaf also supports what the group's extensions are
 * and require. */
MUST_USE enum err leaf_check_group(const struct leaf_node *leaf,
                                   struct bytes group_extensions);

/* Checks a KeyPackage in full, its lifetime excepted: ERR_INVALID, ERR_AUTH. */
MUST_USE enum err key_package_check(struct crypto *c, const struct suite *s,
                                    const struct key_package *kp);

/* Checks that all members support the group's extensions, what these require,
 * and each other's credentials. One pass over the tree. */
MUST_USE enum err members_check(const struct tree *t,
                                struct bytes group_extensions);
/* ERR_INVALID unless all members but those in `without` support a proposal
 * type. */
MUST_USE enum err members_check_proposal(const struct tree *t, uint16_t type,
                                         struct leaf_set without);
