/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A group from one member's side. The opaque types of the installed header are
 * these structs.
 *
 *     sotto_group ── epoch              what members agree on, and the keys
 *          │
 *          ├── cached proposals         of this epoch
 *          └── pending: sotto_staged ── next epoch, made by us
 *     sotto_staged (of process)     ── next epoch, made by another
 *
 * Creating and processing build a sotto_staged beside the group; merging moves
 * its epoch into the group. So a failure has nothing to undo.
 */
#pragma once

#include "mls/epoch.h"
#include "mls/key_package.h"
#include "mls/proposal_list.h"

/* Standalone proposals in one epoch. */
#define PROPOSALS_CACHED_MAX ((size_t)4096)
#define PROPOSALS_NEW_MAX    ((size_t)256) /* besides, by new members */
#define PSKS_OFFERED_MAX     256U

/* A proposal that came by itself and can be named by a commit. */
struct cached_proposal {
    struct digest ref;     /* ProposalRef, section 5.2 */
    struct digest message; /* hash of our own message; empty for others */
    bool own_unseen;       /* ours, and not come back yet */
    struct sender sender;
    struct buf raw;               /* Proposal */
    struct secret encryption_key; /* of our own Update */
    struct secret signature_key;
};

struct offered_psk {
    bool resumption;
    uint64_t epoch; /* of a resumption PSK, whose id is that of its group */
    struct buf id, key;
};

struct past_resumption {
    uint64_t epoch;
    struct secret psk;
};

struct sotto_staged {
    struct buf group_id;
    uint64_t epoch;     /* that it starts from */
    uint32_t committer; /* leaf, in the new tree */
    bool external;      /* who joins by it made it */
    bool has_path;
    bool removes_own;
    bool cannot;         /* this device has no secrets of it: only to look at */
    struct tree *before; /* the tree that it starts from */
    struct proposal_list list;
    struct digest message; /* hash of the MLSMessage; of a pending commit */
    struct epoch next;     /* unused when it removes us */
};

struct sotto_group {
    struct sotto_mls *mls; /* borrowed */
    bool active;
    struct epoch epoch;
    struct cached_proposal *proposals;
    size_t proposal_count, proposal_cap;
    struct offered_psk *psks;
    size_t psk_count;
    struct past_resumption past[SOTTO_RESUMPTION_MAX]; /* as a ring */
    uint32_t past_count;
    struct proposal_list ended_by; /* a ReInit; empty: it has not ended */
    struct sotto_staged *pending;

    /* What the store does not have yet. */
    bool epoch_dirty, exporter_dirty, proposals_dirty, pending_dirty;
    uint32_t chunks_stored; /* RECEIVE records that the store has */
};

MUST_USE enum err group_new(struct sotto_mls *mls, const struct suite *s,
                            struct sotto_group **out);
/* `extensions` are encoded. */
MUST_USE enum err group_create(struct sotto_mls *mls,
                               const struct sotto_identity *id,
                               struct bytes group_id, struct bytes extensions,
                               struct sotto_group **out);
/* The ReInit that ended the group; NULL: none. */
const struct reinit *group_reinit(const struct sotto_group *g);

/* Moves the group into the epoch of `staged`, which is freed. */
void group_enter(struct sotto_group *g, struct sotto_staged **staged);
MUST_USE enum err group_merge_pending(struct sotto_group *g);

MUST_USE enum err staged_new(const struct sotto_group *g,
                             struct sotto_staged **out);

/* Hashes a whole message, to know it again. */
MUST_USE enum err group_message_hash(const struct sotto_group *g,
                                     struct bytes message, struct digest *out);
bool digest_equal(const struct digest *a, const struct digest *b);

/* ---- Proposals of the epoch ---- */

/* Finds by ProposalRef, by the encoded Proposal, or by the hash of our own
 * message; NULL. */
struct cached_proposal *cache_find(const struct sotto_group *g,
                                   struct bytes ref);
struct cached_proposal *cache_find_raw(const struct sotto_group *g,
                                       struct bytes raw);
struct cached_proposal *cache_find_own(const struct sotto_group *g,
                                       const struct digest *message);
/* ERR_LIMIT when no more proposals of such senders are accepted in this epoch.
 */
MUST_USE enum err cache_check_room(const struct sotto_group *g,
                                   enum sender_type sender);
/* The ProposalRef: a hash of the AuthenticatedContent (section 5.2). */
MUST_USE enum err group_proposal_ref(const struct sotto_group *g,
                                     const struct authenticated_content *ac,
                                     struct digest *out);
/* Makes room for one more and returns it; it counts when the caller raises
 * proposal_count. */
MUST_USE enum err cache_reserve(struct sotto_group *g,
                                struct cached_proposal **out);
void cached_proposal_clear(struct cached_proposal *p);
void cache_clear(struct sotto_group *g);

/* ---- PSKs (section 8.4) ---- */

MUST_USE enum err group_offer_psk(struct sotto_group *g, struct bytes id,
                                  struct bytes key);
/* ERR_NOTFOUND: `from` does not keep the resumption PSK of that epoch. */
MUST_USE enum err group_offer_resumption(struct sotto_group *g,
                                         const struct sotto_group *from,
                                         uint64_t epoch);
/* Which of the groups keeps the resumption PSK that an id names; NULL: none. */
const struct sotto_group *resumption_source(struct sotto_group_list groups,
                                            const struct psk_id *id);
/* Offers what an id names, if it is a resumption PSK of one of the groups. */
MUST_USE enum err group_offer_from(struct sotto_group *g,
                                   struct sotto_group_list groups,
                                   const struct psk_id *id);
/* The id of a resumption PSK for the use of an application, but its nonce. */
struct psk_id resumption_id(struct bytes own_group_id,
                            const struct sotto_resumption *name);
/* Computes psk_secret from the PSK proposals of a list, in their order; an
 * empty secret when there are none. ERR_NOTFOUND: one is not known here. */
MUST_USE enum err group_psk_secret(const struct sotto_group *g,
                                   const struct proposal_list *l,
                                   struct secret *out);

/* ---- Messages (protect.c) ---- */

struct outgoing {
    enum content_type type;
    struct bytes body;
    struct bytes authenticated_data;
    bool public_message;
    size_t bucket;
};
/* The content of a message of ours, not yet signed. */
struct authenticated_content group_content(const struct sotto_group *g,
                                           const struct outgoing *o);
/* Writes the MLSMessage of a signed content. A PrivateMessage spends a key. */
MUST_USE enum err group_write_message(struct sotto_group *g,
                                      const struct authenticated_content *ac,
                                      size_t bucket, struct buf *out);
MUST_USE enum err group_protect(struct sotto_group *g, const struct outgoing *o,
                                struct buf *out);
/* What a proposal is made for. */
struct proposal_case {
    struct sotto_mls *mls;
    const struct suite *suite;
    struct bytes group_id;
};
/* Fills a proposal as far as the state of the group plays no part in it;
 * `scratch` holds what it borrows. ERR_INVALID for an update. */
MUST_USE enum err proposal_fill(const struct proposal_case *at,
                                const struct sotto_proposal *p,
                                struct buf *scratch, struct proposal *out);
struct app_data_update
app_data_update_of(const struct sotto_app_data_update *u);
MUST_USE enum err reinit_fill(const struct sotto_reinit *from,
                              struct buf *scratch, struct reinit *out);
MUST_USE enum err group_propose(struct sotto_group *g,
                                const struct sotto_proposal *p,
                                struct buf *out);

/* ---- Commits (commit.c, welcome.c, stage.c, process.c, join.c) ---- */

/* `link` is the PSK that binds a new group to an old one; NULL: none. */
MUST_USE enum err group_commit(struct sotto_group *g,
                               const struct sotto_commit *commit,
                               const struct psk_id *link,
                               struct sotto_commit_out *out);
/* Stages a commit by another member, whose signature is verified. One that only
 * this device cannot apply is marked (sotto/mls.h says what that means). */
MUST_USE enum err group_stage(struct sotto_group *g,
                              const struct authenticated_content *ac,
                              struct sotto_staged **out);
MUST_USE enum err group_process(struct sotto_group *g, struct bytes message,
                                struct sotto_result *out);
MUST_USE enum err group_join(struct sotto_mls *mls,
                             const struct sotto_join *join,
                             struct sotto_group **out);

/* ---- Storing (store.c) ---- */

MUST_USE enum err group_save(struct sotto_group *g,
                             const struct sotto_store *store);
MUST_USE enum err group_load(struct sotto_mls *mls,
                             const struct sotto_store *store,
                             struct sotto_group **out);
