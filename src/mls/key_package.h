/* SPDX-License-Identifier: Apache-2.0 */
/* Making leaves and KeyPackages (RFC 9420, sections 7.2 and 10). */
#pragma once

#include "mls/public.h"
#include "mls/rules.h"

/* The parts of a leaf that its owner chooses, encoded; `leaf` borrows from
 * the bufs. Keys, source and signature are not set. */
struct leaf_parts {
    struct buf versions, suites, extension_types, proposals, credentials;
    struct buf extensions, chain;
    struct leaf_node leaf;
};
void leaf_parts_clear(struct leaf_parts *p);
MUST_USE enum err leaf_parts_make(const struct sotto_mls *mls,
                                  const struct sotto_identity *id,
                                  struct leaf_parts *out);

/* Puts a change into a copy of one's leaf; `parts` holds what it then borrows,
 * and `key` is the new signature key, if there is one. A NULL change is none.
 */
MUST_USE enum err leaf_change(const struct sotto_leaf_change *change,
                              struct leaf_node *leaf, struct leaf_parts *parts,
                              struct secret *key);

/* Writes an extension of that type with a random number of random bytes. */
void grease_write(struct writer *w, const struct random *rnd, uint16_t type);

/* Encodes a list of extensions; ERR_LIMIT, ERR_INVALID when a type is there
 * twice. */
MUST_USE enum err extension_list_encode(struct sotto_extension_list list,
                                        struct buf *out);

/* Where a leaf will stand; for LEAF_KEY_PACKAGE both are ignored. */
struct leaf_place {
    struct bytes group_id;
    uint32_t index;
};
/* Signs a leaf and appends its encoding. */
MUST_USE enum err leaf_sign(struct crypto *c, const struct suite *s,
                            const struct secret *key,
                            const struct leaf_node *leaf,
                            const struct leaf_place *place, struct buf *out);

/* What the owner of a KeyPackage keeps. */
struct key_package_private {
    const struct suite *suite;
    struct buf encoded;             /* the KeyPackage */
    struct key_package key_package; /* borrows from `encoded` */
    struct secret init_key, encryption_key, signature_key;
};
void key_package_private_clear(struct key_package_private *p);
MUST_USE enum err key_package_make(struct sotto_mls *mls,
                                   const struct sotto_identity *id,
                                   struct key_package_private *out);
/* Stored form. */
void key_package_private_write(struct writer *w,
                               const struct key_package_private *p);
MUST_USE enum err key_package_private_read(struct bytes encoded,
                                           struct key_package_private *out);

/* Whether a KeyPackage says that it may be used twice: by an extension, as in
 * older drafts of mls-extensions, or by a component, as in the newest. */
bool key_package_last_resort(const struct key_package *kp);
/* Reads an MLSMessage that holds a KeyPackage. */
MUST_USE enum err key_package_message_read(struct bytes message,
                                           struct key_package *out);
