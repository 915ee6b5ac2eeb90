/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a leaf, a KeyPackage and a set of members must satisfy, beside
 * signatures and unique keys (RFC 9420, sections 7.3, 10.1 and 11.1).
 */
#pragma once

#include "mls/credential.h"
#include "mls/proposal.h"
#include "mls/tree.h"

/* Whether every client supports a type without saying so (section 7.2). */
bool extension_type_default(uint16_t type);
bool proposal_type_default(uint16_t type);

/* Whether a list of capabilities has a type, GREASE left out: "representations
 * of a client's own capabilities MUST NOT contain GREASE" (section 13.5). */
bool capability_has(struct bytes list, uint16_t type);

/* What a leaf is checked against (section 7.3). */
struct leaf_case {
    const struct sotto_mls *mls;
    const struct suite *suite;
    enum leaf_source source;        /* that it must have */
    const struct leaf_node *before; /* that it replaces; NULL: none */
};
/* ERR_INVALID unless the leaf is one for this suite and place that supports
 * what it carries itself. */
MUST_USE enum err leaf_check_self(const struct leaf_case *at,
                                  const struct leaf_node *leaf);
/* Asks the caller's credential check, when the credential or its key is new in
 * the group (section 5.3.1). For leaves whose signature is verified. */
MUST_USE enum err leaf_check_credential(const struct leaf_case *at,
                                        const struct leaf_node *leaf);
/* Whether a time is in the lifetime; true for a leaf that has none. */
bool leaf_lives(const struct leaf_node *leaf, uint64_t now);
/* ERR_INVALID unless the leaf also supports what the group's extensions are
 * and require. */
MUST_USE enum err leaf_check_group(const struct leaf_node *leaf,
                                   struct bytes group_extensions);

/* Checks the content of a GroupContext's extensions, if they are not the same
 * as `before`: external senders have to pass the credential check; and the
 * dictionary of components, in any case. */
MUST_USE enum err group_extensions_check(const struct sotto_mls *mls,
                                         const struct suite *s,
                                         struct bytes before,
                                         struct bytes extensions);

/* Checks a KeyPackage, but for its lifetime and the caller's credential check:
 * ERR_INVALID, ERR_AUTH. */
MUST_USE enum err key_package_verify(struct crypto *c, const struct suite *s,
                                     const struct key_package *kp);
/* The same with the credential check. */
MUST_USE enum err key_package_check(const struct sotto_mls *mls,
                                    const struct suite *s,
                                    const struct key_package *kp);

/* Checks that all members support the group's extensions, what these require,
 * and each other's credentials. One pass over the tree. */
MUST_USE enum err members_check(const struct tree *t,
                                struct bytes group_extensions);
/* The same when one leaf of the tree, valid before, was replaced. It costs a
 * pass only if the new one uses or lists other credential types. */
MUST_USE enum err replaced_leaf_check(const struct tree *t,
                                      const struct leaf_node *before,
                                      const struct leaf_node *leaf,
                                      struct bytes group_extensions);
/* ERR_INVALID unless all members but those in `without` support a proposal
 * type. */
MUST_USE enum err members_check_proposal(const struct tree *t, uint16_t type,
                                         struct leaf_set without);
