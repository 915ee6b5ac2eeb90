/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Sotto puts into MLS structures: GroupContext extensions, a leaf
 * extension, and the components of application proposals. The types are of the
 * private range (RFC 9420, section 17.3); this is their one list.
 */
#pragma once

#include "proto/derive.h"

#define EXT_CHANNEL      0xf501U /* GroupContext: struct group_channel */
#define EXT_SUBSCRIPTION 0xf502U /* GroupContext: the subscription secret */
#define EXT_PROFILE      0xf503U /* GroupContext: struct group_profile */
#define EXT_ACCOUNT      0xf504U /* leaf: struct leaf_account */

/* Component ids of application proposals (AppEphemeral). */
#define COMPONENT_STATES  0xf505U /* struct account_states */
#define COMPONENT_JOINING 0xf506U /* struct joining_ref */

#define GROUP_NAME_MAX 256U

/* struct { uint8 version = 1; opaque server_address<1..255>;
 *          opaque server_key[32]; opaque channel[32]; } */
struct group_channel {
    struct bytes server_address;
    struct bytes server_key;
    struct bytes channel;
};

/* struct { uint8 version = 1; uint8 kind; opaque name<0..256>; } */
enum group_kind {
    GROUP_DIRECT = 1,
    GROUP_MANY,
    GROUP_SELF
};
struct group_profile {
    uint8_t kind;
    struct bytes name; /* UTF-8 */
};

/* struct { uint8 version = 1; uint64 state_version; opaque state_hash[32]; } */
struct leaf_account {
    uint64_t state_version;
    struct bytes state_hash;
};

/* struct { uint8 version = 1; opaque account_id[32]; opaque states<V>; } */
struct account_states {
    struct bytes account_id;
    struct bytes states; /* list, as chain_extend takes it */
};

/* struct { uint8 version = 1; opaque blob[32]; opaque key[32]; } */
struct joining_ref {
    struct bytes blob;
    struct bytes key;
};

MUST_USE enum err group_channel_read(struct bytes b, struct group_channel *out);
MUST_USE enum err group_channel_write(struct buf *out,
                                      const struct group_channel *x);
MUST_USE enum err group_subscription_read(struct bytes b,
                                          struct secret *out_secret);
MUST_USE enum err group_subscription_write(struct buf *out,
                                           const struct secret *secret);
MUST_USE enum err group_profile_read(struct bytes b, struct group_profile *out);
MUST_USE enum err group_profile_write(struct buf *out,
                                      const struct group_profile *x);
MUST_USE enum err leaf_account_read(struct bytes b, struct leaf_account *out);
MUST_USE enum err leaf_account_write(struct buf *out,
                                     const struct leaf_account *x);
MUST_USE enum err account_states_read(struct bytes b,
                                      struct account_states *out);
MUST_USE enum err account_states_write(struct buf *out,
                                       const struct account_states *x);
MUST_USE enum err joining_ref_read(struct bytes b, struct joining_ref *out);
MUST_USE enum err joining_ref_write(struct buf *out,
                                    const struct joining_ref *x);
