/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a commit (RFC 9420, section 12.4.1), in the steps that a member's and
 * a joiner's have in common. A draft gathers what they hand to each other; the
 * group changes only when all is done.
 *
 *     draft_take ... draft_collect, draft_build, draft_content, draft_complete
 */
#pragma once

#include "mls/group.h"
#ifdef MLS_EVIL
#include "mls/evil.h"
#endif

/* False for a commit of the tests that no check of its author stops. */
static inline bool draft_strict(void)
{
#ifdef MLS_EVIL
    return !evil_loose();
#else
    return true;
#endif
}

struct draft {
    const struct sotto_commit *ask;
    const struct psk_id *link; /* binds a new group to an old one; or NULL */
    struct sender committer;
    const struct leaf_node *before; /* that its leaf follows; NULL: none */
    struct sotto_staged *staged;    /* the caller's staged_new */
    struct buf proposals;           /* list of ProposalOrRef, encoded */
    struct changes changes;
    struct new_path path;
    struct secret external_init; /* of an external commit */
    struct secret psk_secret;
    struct secret joiner_secret;
    struct buf body; /* Commit */
    struct buf signature;
    struct digest tag;
};
struct draft draft_new(const struct sotto_group *g,
                       const struct sotto_commit *ask);
void draft_clear(struct draft *d);

/* Takes a proposal in by value, before what was asked for. */
MUST_USE enum err draft_take(struct draft *d, const struct proposal *p);
/* The same for a PSK, with a fresh nonce. */
MUST_USE enum err draft_take_psk(const struct sotto_group *g, struct draft *d,
                                 const struct psk_id *id);
/* Takes in one that was sent by itself. */
MUST_USE enum err draft_take_reference(struct draft *d,
                                       const struct cached_proposal *cached);
/* Completes the list and applies it to the new tree. */
MUST_USE enum err draft_collect(const struct sotto_group *g, struct draft *d);
/* Makes the path and the Commit. The keys of `g` are those of the committer. */
MUST_USE enum err draft_build(const struct sotto_group *g, struct draft *d);
/* What is to be signed: it borrows from the draft. */
struct authenticated_content draft_content(const struct sotto_group *g,
                                           const struct draft *d);
/* Signs the commit, which gives the transcript, the secrets and the tag. */
MUST_USE enum err draft_complete(const struct sotto_group *g, struct draft *d,
                                 struct authenticated_content *ac);
