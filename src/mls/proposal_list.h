/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of proposals of one commit, with references resolved: its rules
 * (RFC 9420, section 12.2) and its application to a tree (section 12.3). It
 * owns its bytes, so that a staged commit can be looked at, and stored.
 */
#pragma once

#include "mls/messages.h"
#include "mls/rules.h"

#define PROPOSALS_MAX 65536U /* in one commit */

/* Whether that kind of sender may send that type of proposal by itself
 * (sections 12.1 and 12.1.8). */
bool proposal_may_come_from(uint16_t type, enum sender_type sender);

struct proposal_entry {
    struct proposal proposal; /* borrows from the list */
    struct sender sender;     /* its author */
    bool by_reference;
    uint32_t leaf; /* that it adds, updates or removes */
};

/* Stored form of a kind of sender, and of a flag that stands beside it. */
void sender_type_write(struct writer *w, enum sender_type type, bool flag);
bool sender_type_read(struct reader *r, enum sender_type *type);

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
                                    const struct sender *sender,
                                    bool by_reference);
MUST_USE enum err proposal_list_parse(struct proposal_list *l);
/* Stored form. */
void proposal_list_write(struct writer *w, const struct proposal_list *l);
MUST_USE enum err proposal_list_read(struct reader *r, struct proposal_list *l);

/* What applying a list needs to know, and what it gives. */
struct proposal_scope {
    const struct sotto_mls *mls;
    const struct suite *suite;
    struct bytes group_id;
    struct bytes extensions; /* of the GroupContext before */
    struct sender committer; /* a member, or a new one (external commit) */
    uint32_t own;            /* the own leaf */
    enum psk_usage link;     /* of a resumption PSK that binds a new group to an
                              * old one; 0: none may be there */
    uint64_t now; /* 0: lifetimes of added leaves are not looked at */
    bool checked; /* what is there by reference passed both checks below */
};

/* What of a proposal no other changes: its signatures and keys (for the threads
 * of the caller), and whether the credentials of its leaf may be there. `leaf`
 * is that of its sender. */
MUST_USE enum err proposal_verify(struct crypto *c,
                                  const struct proposal_scope *scope,
                                  const struct proposal *p, uint32_t leaf);
MUST_USE enum err proposal_check_credential(const struct proposal_scope *scope,
                                            const struct tree *before,
                                            const struct proposal *p,
                                            uint32_t leaf);

struct changes {
    uint32_t *added; /* leaves, ascending */
    size_t added_count;
    size_t added_cap;
    struct bytes extensions; /* of the new GroupContext */
    struct buf rewritten; /* what they borrow from, if AppDataUpdates are in */
    bool path_required;   /* section 12.4 */
    bool removes_own;
    bool updates_own;
    bool ends_group; /* a ReInit: the list has nothing else */
    /* The leaf that the author of an external commit leaves behind. Its new
     * leaf has to be one for an Update of that one (section 12.2). */
    bool replaces;
    uint32_t replaced;
};

/* Whether a PSK binds to an older group: of usage reinit or branch. */
bool psk_id_links(const struct psk_id *id);
/* Checks a PSK by what stands in its id (section 8.4); `link` as above. */
MUST_USE enum err psk_id_check(const struct suite *s, const struct psk_id *id,
                               enum psk_usage link);

void changes_clear(struct changes *ch);
struct leaf_set changes_added(const struct changes *ch);

/* Checks the list of a commit and applies it to `fork`, in the order of section
 * 12.3. ERR_INVALID, ERR_AUTH: the same for all members. */
MUST_USE enum err proposals_apply(const struct proposal_scope *scope,
                                  struct proposal_list *l, struct tree *fork,
                                  struct changes *out);
