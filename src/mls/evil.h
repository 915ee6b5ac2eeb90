/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests: makes the next commit of this process a broken one, as a
 * malicious member would. Only the library `mls_evil`, which tests and the
 * simulation link instead of `mls`, has these functions.
 */
#pragma once

#include "mls/group.h"

enum evil_kind {
    EVIL_NONE,
    EVIL_LEAF,    /* the new leaf's signature is wrong: all see it at once */
    EVIL_TAG,     /* the confirmation tag is: all see it after decrypting */
    EVIL_KEM,     /* the KEM output of an external commit is too short */
    EVIL_LOOSE,   /* its author does not look whether its leaf fits the group */
    EVIL_SUBTREE, /* the path secret for the subtree of a leaf is garbage */
    EVIL_KEY,     /* the new leaf has the encryption key of a leaf before */
    EVIL_VERSION, /* the new leaf does not list the version */
};

/* Breaks the next commit with a path, whoever makes it; once. The author's own
 * pending commit is the broken one. */
void evil_next_commit(enum evil_kind kind, uint32_t leaf);

/* Adds an encoded ProposalOrRef to the list of the next commit, whoever makes
 * it, which its author does not apply; once. Borrowed until then. */
void evil_next_proposal(struct bytes item);

/* Makes the next PrivateMessage, whoever makes it, name the member `leaf` as
 * its sender, with the key of that generation where it can be had; once. The
 * signature is the true author's. */
void evil_next_sender(uint32_t leaf, uint32_t generation);

/* Called by protect.c, commit.c, external.c. */
MUST_USE enum err evil_list(struct buf *proposals);
void evil_kem(struct buf *kem_output);
bool evil_loose(void);
MUST_USE enum err evil_sender(const struct sotto_group *g,
                              struct framed_content *content,
                              struct message_key *key);
struct draft;
MUST_USE enum err evil_body(const struct sotto_group *g, const struct draft *d,
                            struct buf *body);
void evil_tag(struct digest *tag);
