/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A member that keeps no rule: it has the group, keys and capability of a
 * node's store, makes commits with the MLS library directly and appends them.
 * The node's own client is offline from then on.
 */
#pragma once

#include "fixture.h"

#include "identity/chain.h"
#include "proto/entry.h"
#include "sotto/mls.h"

struct attacker {
    struct world *w;
    struct node *node;
    int64_t conversation;
    uint32_t conn;
    struct sotto_mls *mls;
    struct sotto_group *group;
    uint8_t channel[ID_SIZE];
    uint8_t sub[ID_SIZE];
    uint8_t cap[CAP_SIZE];
    uint64_t after; /* the newest handshake */
    uint8_t device[ID_SIZE];
    struct secret sign_private;
    struct buf sign_public;
    struct chain *chain; /* of its account */
    struct secret subscription;
    struct sotto_buf spare_private; /* of a device that is not listed */
    struct sotto_buf spare_public;
};

MUST_USE enum err attacker_begin(struct world *w, struct node *n,
                                 int64_t conversation, struct attacker *a);
void attacker_end(struct attacker *a);

/* The subscription of a leaf with this key. */
MUST_USE enum err attacker_sub(struct attacker *a, struct sotto_bytes key,
                               uint8_t out[ID_SIZE]);
/* Appends what it has; gives the server's answer. */
MUST_USE enum err attacker_append(struct attacker *a, enum entry_kind kind,
                                  const struct sotto_buf *body,
                                  struct answer *out);
/* The next state of its account lists the spare device, or no longer. */
MUST_USE enum err attacker_add_device(struct attacker *a);
MUST_USE enum err attacker_revoke_device(struct attacker *a);
/* The chain of another node's account, and a KeyPackage of its device. */
MUST_USE enum err node_chain(struct world *w, struct node *n,
                             struct chain **out);
MUST_USE enum err node_package(struct node *n, struct buf *out);

/* A commit as it comes together. */
struct plan {
    struct attacker *a;
    struct sotto_commit commit;
    struct sub_add adds[4];
    size_t add_count;
    struct bytes ends[4];
    size_t end_count;
    bool no_lists;
    struct sotto_bytes packages[4];
    uint32_t removes[4];
    struct sotto_app_proposal apps[4];
    struct sotto_extension extensions[4];
    struct sotto_extension_list list;
    struct sotto_leaf_change change;
    struct buf kept[16]; /* what the above borrows from */
    size_t kept_count;
};

void plan_clear(struct plan *p);
/* Borrowed by the plan until its end. */
MUST_USE enum err plan_keep(struct plan *p, struct bytes b, struct bytes *out);
/* To the lists in the clear. */
MUST_USE enum err plan_list_add(struct plan *p, struct bytes sub);
MUST_USE enum err plan_list_end(struct plan *p, struct bytes sub);
/* Adds, with its entry in the list or not; removes, without. */
MUST_USE enum err plan_add(struct plan *p, struct bytes package, bool list);
void plan_remove(struct plan *p, uint32_t leaf);
MUST_USE enum err plan_app(struct plan *p, uint16_t component, struct bytes b);
MUST_USE enum err plan_states(struct plan *p, const struct chain *chain,
                              uint64_t from);
MUST_USE enum err plan_joining(struct plan *p);
/* Lets the path's leaf claim a state of the attacker's account. */
MUST_USE enum err plan_claim(struct plan *p, uint64_t version);
/* A KeyPackage of the spare device, which claims that state of the attacker's
 * account; 0: none. */
MUST_USE enum err plan_package(struct plan *p, uint64_t version,
                               struct bytes *out);
/* An external commit of the spare device, which claims that state too; with
 * `resync`, in the place of the attacker's leaf. */
MUST_USE enum err plan_join(struct plan *p, uint64_t version, bool resync,
                            struct sotto_buf *out);
/* Replaces one GroupContext extension, keeping the others. */
MUST_USE enum err plan_extension(struct plan *p, uint16_t type,
                                 struct bytes data);

/* Makes and appends it; with `merge`, goes on in its epoch. */
MUST_USE enum err plan_commit(struct plan *p, bool merge, uint8_t *out_status);
