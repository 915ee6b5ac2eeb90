/* SPDX-License-Identifier: Apache-2.0 */
/* The MLS group of a conversation: where it is stored, who we are in it, and
 * what its leaves say about accounts. */
#pragma once

#include "client/state.h"

/* What a leaf says: which account, and that account's newest state. */
struct leaf_claim {
    struct bytes account;       /* [32] */
    struct bytes signature_key; /* [32] */
    uint64_t version;
    struct bytes hash; /* [32] */
};

/* Lends the group, loaded when needed; it lives until a step is lost. */
MUST_USE enum err conv_group(struct client *c, struct conv *cv,
                             struct sotto_group **out);
MUST_USE enum err conv_group_save(struct client *c, struct conv *cv);
/* Puts a new group in the place of whatever the conversation had. */
MUST_USE enum err conv_group_replace(struct client *c, struct conv *cv,
                                     struct sotto_group **group);

/* Who we are: lent until the next call. `extension` is scratch space. */
struct own_identity {
    struct sotto_identity id;
    struct sotto_extension extension;
    uint8_t claim[64];
    size_t claim_len;
};
MUST_USE enum err own_identity_fill(struct client *c, struct own_identity *out);

/* Reads what a leaf claims; ERR_INVALID: no leaf of ours. */
MUST_USE enum err leaf_claim_read(const struct sotto_leaf *leaf,
                                  struct leaf_claim *out);

/* The subscription of a leaf, from the secret in a group's extensions. */
MUST_USE enum err leaf_subscription(struct client *c, struct bytes extensions,
                                    struct bytes signature_key,
                                    uint8_t out[ID_SIZE]);
