/* SPDX-License-Identifier: Apache-2.0 */
#include "mls/evil.h"

#include "mls/commit.h"

#include <string.h>

static struct {
    enum evil_kind kind;
    uint32_t leaf;
} plan;

void evil_next_commit(enum evil_kind kind, uint32_t leaf)
{
    plan.kind = kind;
    plan.leaf = leaf;
}

static struct bytes extra;

void evil_next_proposal(struct bytes item) { extra = item; }

enum err evil_list(struct buf *proposals)
{
    struct bytes item = extra;
    extra = (struct bytes){0};
    return buf_append(proposals, item);
}

void evil_kem(struct buf *kem_output)
{
    if (plan.kind != EVIL_KEM)
        return;
    buf_truncate(kem_output, kem_output->len - 1);
    plan.kind = EVIL_NONE;
}

bool evil_loose(void) { return plan.kind == EVIL_LOOSE; }

static struct {
    bool wanted;
    uint32_t leaf;
    uint32_t generation;
} forged;

void evil_next_sender(uint32_t leaf, uint32_t generation)
{
    forged.wanted = true;
    forged.leaf = leaf;
    forged.generation = generation;
}

enum err evil_sender(const struct sotto_group *g,
                     struct framed_content *content, struct message_key *key)
{
    if (!forged.wanted)
        return OK;
    enum ratchet_type type = content->type == CONTENT_APPLICATION
                                 ? RATCHET_APPLICATION
                                 : RATCHET_HANDSHAKE;
    forged.wanted = false;
    content->sender.index = forged.leaf;
    enum err err = secret_tree_peek(g->mls->crypto, g->epoch.ratchets,
                                    forged.leaf, type, forged.generation, key);
    key->generation = forged.generation;
    return err == ERR_NOTFOUND ? OK : err; /* used: nobody can open it */
}

/* Flips a bit of the last byte of a part of `body`. */
static void damage(struct buf *body, struct bytes part)
{
    if (part.len > 0)
        body->data[part.data + part.len - 1 - body->data] ^= 1;
}

/* Which node of the path has the leaf in its copath subtree. */
static uint32_t step_for(const struct tree_path *path, uint32_t leaf)
{
    uint32_t i = 0;
    while (i < path->count &&
           !node_in_subtree(node_of_leaf(leaf), path->copath[i]))
        i++;
    return i;
}

static void damage_subtree(const struct tree_path *path,
                           const struct update_path *up, struct buf *body)
{
    uint32_t target = step_for(path, plan.leaf);
    struct reader r = reader_of(up->nodes);
    for (uint32_t i = 0; reader_more(&r); i++) {
        struct update_path_node node = {0};
        update_path_node_read(&r, &node);
        struct reader cr = reader_of(node.ciphertexts);
        while (i == target && reader_more(&cr)) {
            struct hpke_ciphertext c = {0};
            hpke_ciphertext_read(&cr, &c);
            damage(body, c.ciphertext);
        }
    }
}

/* Copies over a part of `body`, which has that length. */
static void overwrite(struct buf *body, struct bytes part, struct bytes with)
{
    memcpy(body->data + (part.data - body->data), with.data, part.len);
}

/* Spoils the new leaf, and signs it again in its place. */
static enum err spoil_leaf(const struct sotto_group *g, const struct draft *d,
                           const struct leaf_node *leaf, struct buf *body)
{
    const struct suite *s = g->epoch.suite;
    CLEANUP(buf_clear) struct buf tbs = buf_new(MLS_LEAF_MAX);
    CLEANUP(buf_clear) struct buf signature = buf_new(s->sign_max);
    if (plan.kind == EVIL_KEY)
        overwrite(body, leaf->encryption_key,
                  tree_leaf(g->epoch.tree, plan.leaf)->encryption_key);
    else
        damage(body, leaf->capabilities.versions);
    struct writer w = writer_to(&tbs);
    leaf_node_write_tbs(&w, leaf, g->epoch.fields.group_id, g->epoch.keys.leaf);
    TRY(writer_finish(&w));
    TRY(sign_with_label(g->mls->crypto, s, &d->staged->next.signature_key,
                        "LeafNodeTBS", buf_bytes(&tbs), &signature));
    if (signature.len != leaf->signature.len)
        return ERR_STATE; /* a suite with signatures of any length */
    overwrite(body, leaf->signature, buf_bytes(&signature));
    return OK;
}

enum err evil_body(const struct sotto_group *g, const struct draft *d,
                   struct buf *body)
{
    struct commit commit = {0};
    struct reader r = reader_of(buf_bytes(body));
    commit_read(&r, &commit);
    TRY(reader_finish(&r));
    if (plan.kind == EVIL_LEAF)
        damage(body, commit.path.leaf.signature);
    if (plan.kind == EVIL_SUBTREE)
        damage_subtree(&d->path.path, &commit.path, body);
    if (plan.kind == EVIL_KEY || plan.kind == EVIL_VERSION)
        TRY(spoil_leaf(g, d, &commit.path.leaf, body));
    if (plan.kind != EVIL_TAG)
        plan.kind = EVIL_NONE;
    return OK;
}

void evil_tag(struct digest *tag)
{
    if (plan.kind != EVIL_TAG)
        return;
    tag->data[0] ^= 1;
    plan.kind = EVIL_NONE;
}
