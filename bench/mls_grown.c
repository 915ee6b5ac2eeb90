/* SPDX-License-Identifier: Apache-2.0 */
#include "mls_grown.h"

#include "crypto/entropy.h"
#include "crypto/kem.h"
#include "crypto/sign.h"
#include "mls/group.h"

#define GROUP_ID BYTES_LIT("bench")
#define NAME_LEN 4U

/* All keys are functions of their place, so that none has to be kept. */
enum {
    SEED_NODE,
    SEED_SIGNER,
    SEED_EPOCH
};

static void seed(struct entropy_seeded *e, uint64_t kind, uint32_t index)
{
    entropy_seed(e, kind << 32 | index);
}

static enum err node_key(const struct grown *g, uint32_t node,
                         struct secret *private_key, struct buf *public_key)
{
    struct entropy_seeded e;
    seed(&e, SEED_NODE, node);
    struct random random = entropy_of(&e);
    return kem_generate(g->mls->crypto, g->suite->kem, &random, private_key,
                        public_key);
}

static enum err signature_key(const struct grown *g, uint32_t leaf,
                              struct secret *private_key,
                              struct buf *public_key)
{
    struct entropy_seeded e;
    seed(&e, SEED_SIGNER, leaf);
    struct random random = entropy_of(&e);
    return sign_generate(g->mls->crypto, g->suite->sign, &random, private_key,
                         public_key);
}

/* ---- The tree ---- */

struct grower {
    const struct grown *g;
    struct leaf_parts parts; /* what all leaves have */
    struct tree *tree;
};

static void grower_clear(struct grower *w)
{
    leaf_parts_clear(&w->parts);
    tree_free(&w->tree);
}

/* Encodes the signed leaf of a member. */
static enum err leaf_encode(const struct grower *w, uint32_t leaf,
                            const struct bytes *parent_hash, struct buf *out)
{
    const struct grown *g = w->g;
    CLEANUP(secret_clear) struct secret encryption = {0};
    CLEANUP(secret_clear) struct secret signer = {0};
    CLEANUP(buf_clear) struct buf encryption_key = buf_new(KEM_PUBLIC_MAX);
    CLEANUP(buf_clear) struct buf verifier = buf_new(SIGN_PUBLIC_MAX);
    uint8_t name[NAME_LEN] = {(uint8_t)(leaf >> 24), (uint8_t)(leaf >> 16),
                              (uint8_t)(leaf >> 8), (uint8_t)leaf};
    const struct leaf_place place = {GROUP_ID, leaf};
    struct leaf_node l = w->parts.leaf;

    TRY(node_key(g, node_of_leaf(leaf), &encryption, &encryption_key));
    TRY(signature_key(g, leaf, &signer, &verifier));
    l.encryption_key = buf_bytes(&encryption_key);
    l.signature_key = buf_bytes(&verifier);
    l.credential.body = BYTES_ARRAY(name);
    l.source = parent_hash != NULL ? LEAF_COMMIT : LEAF_KEY_PACKAGE;
    l.not_after = UINT64_MAX;
    if (parent_hash != NULL)
        l.parent_hash = *parent_hash;
    return leaf_sign(g->mls->crypto, g->suite, &signer, &l, &place, out);
}

static enum err leaf_add(struct grower *w, uint32_t leaf)
{
    CLEANUP(buf_clear) struct buf encoded = buf_new(MLS_LEAF_MAX);
    struct leaf_node l;
    uint32_t at = 0;
    TRY(leaf_encode(w, leaf, NULL, &encoded));
    struct reader r = reader_of(buf_bytes(&encoded));
    leaf_node_read(&r, &l);
    TRY(reader_finish(&r));
    return tree_add(w->tree, &l, &at);
}

/* How many nodes of a path nobody after `leaf` has written over. */
static uint32_t path_kept(const struct grown *g, const struct tree_path *path,
                          uint32_t leaf)
{
    uint32_t n = 0;
    for (; n < path->count; n++) {
        uint32_t end =
            node_first_leaf(path->node[n]) + node_leaf_count(path->node[n]);
        if ((end < g->members ? end : g->members) != leaf + 1)
            break;
    }
    return n;
}

/* What stays of a member's commit, when those before it have made theirs. The
 * parent hash of the topmost node that stays is of a node that does not: no
 * one can tell it from any other bytes. */
static enum err leaf_commit(struct grower *w, uint32_t leaf)
{
    struct crypto *c = w->g->mls->crypto;
    CLEANUP(buf_clear) struct buf encoded = buf_new(MLS_LEAF_MAX);
    struct digest hash = {.len = w->g->suite->nh};
    struct tree_path path;
    struct leaf_node l;

    tree_filtered_path(w->tree, leaf, &path);
    uint32_t kept = path_kept(w->g, &path, leaf);
    if (kept == path.count)
        hash.len = 0;
    for (uint32_t i = kept; i-- > 0;) {
        CLEANUP(secret_clear) struct secret private_key = {0};
        CLEANUP(buf_clear) struct buf public_key = buf_new(KEM_PUBLIC_MAX);
        TRY(node_key(w->g, path.node[i], &private_key, &public_key));
        TRY(tree_set_parent(w->tree, path.node[i], buf_bytes(&public_key),
                            digest_bytes(&hash)));
        TRY(tree_parent_hash(c, w->tree, path.node[i], path.copath[i], &hash));
    }
    const struct bytes parent_hash = digest_bytes(&hash);
    TRY(leaf_encode(w, leaf, &parent_hash, &encoded));
    struct reader r = reader_of(buf_bytes(&encoded));
    leaf_node_read(&r, &l);
    TRY(reader_finish(&r));
    return tree_set_leaf(w->tree, leaf, &l);
}

enum err grown_tree(const struct grown *g, struct buf *out)
{
    CLEANUP(grower_clear) struct grower w = {.g = g};
    const struct sotto_identity id = {.suite = (uint16_t)g->suite->id};
    TRY(leaf_parts_make(g->mls, &id, &w.parts));
    TRY(tree_create(g->suite, &w.tree));
    for (uint32_t leaf = 0; leaf < g->members; leaf++)
        TRY(leaf_add(&w, leaf));
    for (uint32_t leaf = 0; g->full && leaf < g->members; leaf++)
        TRY(leaf_commit(&w, leaf));
    struct writer to = writer_to(out);
    tree_write(&to, w.tree);
    return writer_finish(&to);
}

/* ---- The group ---- */

static enum err take_seat(const struct grown *g, uint32_t own, struct epoch *e)
{
    CLEANUP(buf_clear) struct buf verifier = buf_new(SIGN_PUBLIC_MAX);
    uint32_t count = node_count(tree_leaves(e->tree));
    e->keys.leaf = own;
    for (uint32_t level = 0; level <= MLS_LEVELS_MAX; level++) {
        CLEANUP(buf_clear) struct buf public_key = buf_new(KEM_PUBLIC_MAX);
        uint32_t node = node_ancestor(own, level);
        if (node < count && tree_key(e->tree, node).len > 0)
            TRY(node_key(g, node, &e->keys.key[level], &public_key));
    }
    return signature_key(g, own, &e->signature_key, &verifier);
}

static enum err start_epoch(const struct grown *g, struct epoch *e)
{
    struct crypto *c = g->mls->crypto;
    struct entropy_seeded drawn;
    struct digest root = {0};
    struct digest tag = {0};
    seed(&drawn, SEED_EPOCH, 0);
    struct random random = entropy_of(&drawn);
    TRY(tree_hash(c, e->tree, &root));
    struct group_context gc = {.version = MLS_VERSION_10,
                               .cipher_suite = (uint16_t)g->suite->id,
                               .group_id = GROUP_ID,
                               .tree_hash = digest_bytes(&root)};
    TRY(epoch_set_context(e, &gc));
    TRY(schedule_first(c, g->suite, &random, &e->secrets));
    TRY(epoch_confirm(c, e, &tag));
    TRY(epoch_set_tag(c, e, digest_bytes(&tag)));
    return epoch_open_ratchets(c, e);
}

enum err grown_group(const struct grown *g, struct bytes tree, uint32_t own,
                     struct sotto_group **out)
{
    CLEANUP(sotto_group_free) struct sotto_group *group = NULL;
    TRY(group_new(g->mls, g->suite, &group));
    TRY(tree_read(g->suite, tree, &group->epoch.tree));
    TRY(take_seat(g, own, &group->epoch));
    TRY(start_epoch(g, &group->epoch));
    *out = group;
    group = NULL; /* handed over */
    return OK;
}
