/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of proposals of one commit, with references resolved: its rules
 * (RFC 9420, section 12.2) and its application to a tree (section 12.3). It
 * owns its bytes, so that a staged commit can be looked at, and stored.
 */
#pragma once

#include "mls/rules.h"

#define PROPOSALS_MAX 65536U /* in one commit */

struct proposal_entry {
    struct proposal proposal; /* borrows from the list */
    uint32_t sender;          /* leaf of its author */
    bool by_reference;
    uint32_t leaf; /* that it adds, updates or removes */
};

struct proposal_list {
    struct buf raw; /* the stored form, from which the entries borrow */
    struct proposal_entry *entries;
    size_t count;
    size_t cap;
};

struct proposal_list proposal_list_new(void);
void proposal_list_clear(struct proposal_list *l);
/* Adds an encoded Proposal; the entries are there after proposal_list_parse. */
MUST_USE enum err proposal_list_add(struct proposal_list *l, struct bytes raw,
                                    uint32_t sender, bool by_reference);
MUST_USE enum err proposal_list_parse(struct proposal_list *l);
/* Stored form. */
void proposal_list_write(struct writer *w, const struct proposal_list *l);
MUST_USE enum err proposal_list_read(struct reader *r, struct proposal_list *l);

/* What applying a list needs to know, and what it gives. */
struct proposal_scope {
    const struct suite *suite;
    struct bytes group_id;
    struct bytes extensions; /* of the GroupContext before */
    uint32_t committer;
    uint32_t own; /* the own leaf */
};

struct changes {
    uint32_t *added; /* leaves, ascending */
    size_t added_count;
    size_t added_cap;
    struct bytes extensions; /* of the new GroupContext */
    bool path_required;      /* section 12.4 */
    bool removes_own;
    bool updates_own;
};
void changes_clear(struct changes *ch);
struct leaf_set changes_added(const struct changes *ch);

/* Checks the list for a commit by a member and applies it to `fork`, in the
 * order of section 12.3. ERR_INVALID, ERR_AUTH: the same for all members. */
MUST_USE enum err proposals_apply(struct crypto *c,
                                  const struct proposal_scope *scope,
                                  struct proposal_list *l, struct tree *fork,
                                  struct changes *out);
