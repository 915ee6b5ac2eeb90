/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One epoch of a group, from one member's side: all that a commit replaces as
 * a whole. A commit makes a new epoch beside the current one; merging it is a
 * swap.
 */
#pragma once

#include "mls/exporter.h"
#include "mls/framing.h"
#include "mls/treekem.h"

struct epoch {
    const struct suite *suite;
    struct buf context;          /* the encoded GroupContext */
    struct group_context fields; /* the same, parsed: borrows from context */
    struct digest confirmation_tag;
    struct digest interim_transcript_hash;
    struct tree *tree;
    struct tree_private keys;    /* keys.leaf is the own leaf */
    struct secret signature_key; /* of the own leaf */
    struct epoch_secrets secrets;
    struct secret_tree *ratchets; /* NULL until epoch_open_ratchets */
    struct exporter *exporter;    /* the same; and if the state is too old */
};

struct epoch epoch_new(const struct suite *s);
void epoch_clear(struct epoch *e);
/* Moves `from`, which is left empty, over `to`, which is cleared first. */
void epoch_move(struct epoch *to, struct epoch *from);

/* Encodes and keeps a GroupContext; `gc` may borrow from the old one. */
MUST_USE enum err epoch_set_context(struct epoch *e,
                                    const struct group_context *gc);

/* Makes the context in which the path of a commit is sealed (section 12.4.2):
 * the next epoch's, but for the transcript. */
MUST_USE enum err epoch_provisional(struct crypto *c, const struct epoch *from,
                                    struct bytes extensions,
                                    struct epoch *next);

/* What the commit adds to the keys. NULL: zeros (section 8). */
struct epoch_inputs {
    const struct secret *init_secret;
    const struct secret *commit_secret;
    const struct secret *psk_secret;
};
/* Runs the key schedule of the epoch that `commit` (signed) begins, after
 * epoch_provisional. */
MUST_USE enum err epoch_advance(struct crypto *c, const struct epoch *from,
                                const struct authenticated_content *commit,
                                const struct epoch_inputs *in,
                                struct epoch *next, struct secret *out_joiner);

/* Computes the confirmation tag, and checks one: ERR_AUTH. */
MUST_USE enum err epoch_confirm(struct crypto *c, const struct epoch *e,
                                struct digest *out_tag);
MUST_USE enum err epoch_check_tag(struct crypto *c, const struct epoch *e,
                                  struct bytes tag);
/* Keeps the tag, and computes the interim transcript hash from it. */
MUST_USE enum err epoch_set_tag(struct crypto *c, struct epoch *e,
                                struct bytes tag);
/* Makes the secret tree and the exporter tree, which take the encryption_secret
 * and the application_export_secret over. */
MUST_USE enum err epoch_open_ratchets(struct crypto *c, struct epoch *e);

/* Copies a digest that was read; ERR_MALFORMED when it is too long. */
MUST_USE enum err digest_set(struct digest *d, struct bytes b);

/* Stored form, without the two trees and the application_export_secret. What is
 * read was written by us, but may be damaged: it is checked for what later code
 * relies on. */
void epoch_write(struct writer *w, const struct epoch *e);
MUST_USE enum err epoch_read(struct reader *r, struct epoch *out);
