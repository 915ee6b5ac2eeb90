/* SPDX-License-Identifier: Apache-2.0 */
#include "mls/treekem.h"

#include "base/bytes.h"
#include "crypto/kem.h"
#include "mls/tree_store.h"

#include <assert.h>

/* Private state */

void treekem_private_clear(struct tree_private *p)
{
    for (uint32_t level = 0; level <= MLS_LEVELS_MAX; level++)
        secret_clear(&p->key[level]);
    p->leaf = 0;
}

void treekem_private_copy(const struct tree_private *from,
                          struct tree_private *to)
{
    to->leaf = from->leaf;
    for (uint32_t level = 0; level <= MLS_LEVELS_MAX; level++)
        secret_copy(&to->key[level], &from->key[level]);
}

static void private_take(struct tree_private *to, struct tree_private *from)
{
    to->leaf = from->leaf;
    for (uint32_t level = 0; level <= MLS_LEVELS_MAX; level++)
        secret_take(&to->key[level], &from->key[level]);
}

void treekem_private_prune(struct tree_private *p, const struct tree *t)
{
    uint32_t count = node_count(tree_leaves(t));
    for (uint32_t level = 0; level <= MLS_LEVELS_MAX; level++) {
        uint32_t node = node_ancestor(p->leaf, level);
        if (node >= count || node_is_blank(t, node))
            secret_clear(&p->key[level]);
    }
}

void treekem_private_write(struct writer *w, const struct tree_private *p)
{
    writer_u32(w, p->leaf);
    for (uint32_t level = 0; level <= MLS_LEVELS_MAX; level++)
        secret_write(w, &p->key[level]);
}

void treekem_private_read(struct reader *r, struct tree_private *p)
{
    p->leaf = reader_u32(r);
    if (p->leaf >= MLS_LEAVES_MAX)
        reader_fail(r, ERR_MALFORMED);
    for (uint32_t level = 0; level <= MLS_LEVELS_MAX; level++)
        secret_read(r, &p->key[level]);
}

enum err treekem_private_check(struct crypto *c, const struct suite *s,
                               const struct tree_private *p,
                               const struct tree *t)
{
    for (uint32_t level = 0; level <= MLS_LEVELS_MAX; level++) {
        CLEANUP(buf_clear) struct buf public_key = buf_new(KEM_PUBLIC_MAX);
        if (p->key[level].len == 0)
            continue;
        uint32_t node = node_ancestor(p->leaf, level);
        TRY(kem_public(c, s->kem, &p->key[level], &public_key));
        if (node >= node_count(tree_leaves(t)) ||
            !bytes_equal(buf_bytes(&public_key), tree_key(t, node)))
            return ERR_INVALID;
    }
    return OK;
}

/* Paths: sections 7.4, 7.5 */

/* path_secret[n] = DeriveSecret(path_secret[n-1], "path"); "commit" after the
 * last */
static enum err next_path_secret(struct crypto *c, const struct suite *s,
                                 const struct secret *path_secret,
                                 struct secret *out)
{
    return derive_secret(c, s, path_secret, "path", out);
}

/* node_secret = DeriveSecret(path_secret, "node"), and the keys from it */
static enum err node_keys(struct crypto *c, const struct suite *s,
                          const struct secret *path_secret,
                          struct secret *private_key, struct buf *public_key)
{
    CLEANUP(secret_clear) struct secret node_secret = {0};
    TRY(derive_secret(c, s, path_secret, "node", &node_secret));
    return kem_derive(c, s->kem, &node_secret, private_key, public_key);
}

static enum err blank_direct_path(struct tree *t, uint32_t leaf)
{
    uint32_t root = node_root(tree_leaves(t));
    for (uint32_t n = node_of_leaf(leaf); n != root;) {
        n = node_parent(n);
        if (!node_is_blank(t, n))
            TRY(tree_blank(t, n));
    }
    return OK;
}

/* Sets the parent hashes of a path whose keys are set, from the root down,
 * and computes the one for the leaf; empty when the path is. */
static enum err set_parent_hashes(struct crypto *c, struct tree *t,
                                  const struct tree_path *path,
                                  struct digest *leaf_hash)
{
    leaf_hash->len = 0;
    for (uint32_t i = path->count; i-- > 0;) {
        TRY(tree_set_parent(t, path->node[i], tree_key(t, path->node[i]),
                            digest_bytes(leaf_hash)));
        TRY(tree_parent_hash(c, t, path->node[i], path->copath[i], leaf_hash));
    }
    return OK;
}

void new_path_clear(struct new_path *np)
{
    for (uint32_t i = 0; i < MLS_LEVELS_MAX; i++)
        secret_clear(&np->path_secret[i]);
    secret_clear(&np->commit_secret);
    buf_clear(&np->leaf);
    *np = (struct new_path){0};
}

/* Draws the path secrets and sets the public keys of the path. */
static enum err make_path(struct crypto *c, const struct random *rnd,
                          struct tree *t, struct tree_private *p,
                          struct new_path *np)
{
    CLEANUP(secret_clear) struct secret next = {0};
    secret_random(&next, t->suite->nh, rnd);
    tree_filtered_path(t, p->leaf, &np->path);
    TRY(blank_direct_path(t, p->leaf));
    for (uint32_t level = 1; level <= MLS_LEVELS_MAX; level++)
        secret_clear(&p->key[level]);
    for (uint32_t i = 0; i < np->path.count; i++) {
        CLEANUP(buf_clear) struct buf public_key = buf_new(KEM_PUBLIC_MAX);
        uint32_t node = np->path.node[i];
        secret_take(&np->path_secret[i], &next);
        TRY(node_keys(c, t->suite, &np->path_secret[i],
                      &p->key[node_level(node)], &public_key));
        TRY(tree_set_parent(t, node, buf_bytes(&public_key),
                            (struct bytes){0}));
        TRY(next_path_secret(c, t->suite, &np->path_secret[i], &next));
    }
    secret_take(&np->commit_secret, &next);
    return OK;
}

/* Completes, signs and encodes the new leaf. */
static enum err make_leaf(struct crypto *c, const struct suite *s,
                          const struct new_leaf *new_leaf,
                          struct leaf_node *leaf, uint32_t index,
                          struct buf *out)
{
    CLEANUP(buf_clear) struct buf tbs = buf_new(MLS_MESSAGE_MAX);
    CLEANUP(buf_clear) struct buf signature = buf_new(s->sign_max);
    struct writer w = writer_to(&tbs);
    leaf_node_write_tbs(&w, leaf, new_leaf->group_id, index);
    TRY(writer_finish(&w));
    TRY(sign_with_label(c, s, new_leaf->signature_key, "LeafNodeTBS",
                        buf_bytes(&tbs), &signature));
    leaf->signature = buf_bytes(&signature);
    struct writer encoded = writer_to(out);
    leaf_node_write(&encoded, leaf);
    return writer_finish(&encoded);
}

static enum err create(struct crypto *c, const struct random *rnd,
                       struct tree *t, struct tree_private *p,
                       const struct new_leaf *new_leaf, struct new_path *np)
{
    CLEANUP(buf_clear) struct buf public_key = buf_new(KEM_PUBLIC_MAX);
    struct leaf_node leaf = *new_leaf->leaf;
    struct digest parent_hash;
    TRY(make_path(c, rnd, t, p, np));
    TRY(kem_generate(c, t->suite->kem, rnd, &p->key[0], &public_key));
    TRY(set_parent_hashes(c, t, &np->path, &parent_hash));
    leaf.encryption_key = buf_bytes(&public_key);
    leaf.source = LEAF_COMMIT;
    leaf.parent_hash = digest_bytes(&parent_hash);
    leaf.signed_part = (struct bytes){0}; /* that of another leaf */
    TRY(make_leaf(c, t->suite, new_leaf, &leaf, p->leaf, &np->leaf));
    struct reader r = reader_of(buf_bytes(&np->leaf));
    leaf_node_read(&r, &leaf);
    TRY(reader_finish(&r));
    return tree_set_leaf(t, p->leaf, &leaf);
}

enum err treekem_create(struct crypto *c, const struct random *rnd,
                        struct tree *t, struct tree_private *p,
                        const struct new_leaf *leaf, struct new_path *out)
{
    CLEANUP(treekem_private_clear) struct tree_private mine = {0};
    if (tree_leaf(t, p->leaf) == NULL)
        return ERR_INVALID;
    treekem_private_copy(p, &mine);
    *out = (struct new_path){.leaf = buf_new(MLS_LEAF_MAX)};
    enum err err = create(c, rnd, t, &mine, leaf, out);
    if (err != OK) {
        new_path_clear(out);
        return err;
    }
    private_take(p, &mine);
    return OK;
}

/* Sealing and opening: section 7.6 */

#define PATH_LABEL "UpdatePathNode"

/* What is the same for all ciphertexts of a path. */
struct sealer {
    struct crypto *c;
    const struct random *rnd;
    const struct tree *t;
    const struct path_scope *scope;
};

/* Seals a path secret to each node that the copath node resolves to. */
static enum err seal_secret(const struct sealer *s, uint32_t copath,
                            const struct secret *path_secret, struct writer *w)
{
    CLEANUP(node_list_clear) struct node_list to = {0};
    TRY(tree_resolution(s->t, copath, s->scope->added, &to));
    for (size_t j = 0; j < to.count; j++) {
        struct seal_label l = {PATH_LABEL, s->scope->group_context,
                               tree_key(s->t, to.node[j]), NULL};
        TRY(encrypt_with_label(s->c, s->t->suite, s->rnd, &l,
                               secret_expose(path_secret), w));
    }
    return OK;
}

enum err treekem_seal(struct crypto *c, const struct random *rnd,
                      const struct tree *t, const struct new_path *np,
                      const struct path_scope *scope, struct writer *w)
{
    const struct sealer s = {c, rnd, t, scope};
    writer_raw(w, buf_bytes(&np->leaf));
    size_t nodes = writer_enter(w);
    for (uint32_t i = 0; i < np->path.count; i++) {
        writer_vec(w, tree_key(t, np->path.node[i]));
        size_t ciphertexts = writer_enter(w);
        TRY(seal_secret(&s, np->path.copath[i], &np->path_secret[i], w));
        writer_leave(w, ciphertexts);
    }
    writer_leave(w, nodes);
    return writer_finish(w);
}

/* The place in a path of its lowest node above a leaf; the path's count when
 * there is none. */
static uint32_t path_place(const struct tree_path *path, uint32_t leaf)
{
    uint32_t i = 0;
    while (i < path->count &&
           !node_in_subtree(node_of_leaf(leaf), path->node[i]))
        i++;
    return i;
}

const struct secret *treekem_secret_for(const struct new_path *np,
                                        uint32_t added)
{
    uint32_t i = path_place(&np->path, added);
    return i < np->path.count ? &np->path_secret[i] : NULL;
}

static size_t ciphertext_count(struct bytes list)
{
    struct reader r = reader_of(list);
    size_t n = 0;
    for (; reader_more(&r); n++) {
        struct hpke_ciphertext ct;
        hpke_ciphertext_read(&r, &ct);
    }
    return n;
}

/* "the number of ciphertexts is equal to the length of the resolution", and
 * "none of the public keys appear in any node of the new ratchet tree". */
static enum err check_path_node(struct tree *t,
                                const struct update_path_node *n,
                                uint32_t copath, struct leaf_set added)
{
    CLEANUP(node_list_clear) struct node_list to = {0};
    uint32_t node;
    TRY(tree_resolution(t, copath, added, &to));
    if (ciphertext_count(n->ciphertexts) != to.count)
        return ERR_INVALID;
    TRY(index_find(t, KEY_ENCRYPTION, n->encryption_key, KEY_NOWHERE, &node));
    return node == KEY_NOWHERE && n->encryption_key.len > 0 ? OK : ERR_INVALID;
}

static enum err check_path(struct tree *t, const struct tree_path *path,
                           const struct update_path *up, struct leaf_set added)
{
    struct reader r = reader_of(up->nodes);
    uint32_t i = 0;
    for (; reader_more(&r); i++) {
        struct update_path_node n;
        update_path_node_read(&r, &n);
        if (i == path->count)
            return ERR_INVALID;
        TRY(check_path_node(t, &n, path->copath[i], added));
    }
    return i == path->count ? OK : ERR_INVALID;
}

/* The new key of the leaf must be new; except that the leaf of an external
 * committer stands in the tree already. */
static enum err check_path_leaf(struct crypto *c, struct tree *t,
                                const struct update_path *up,
                                const struct path_scope *scope)
{
    const struct leaf_node *old = tree_leaf(t, scope->sender);
    uint32_t node;
    if (old == NULL || up->leaf.source != LEAF_COMMIT)
        return ERR_INVALID;
    TRY(index_find(t, KEY_ENCRYPTION, up->leaf.encryption_key, KEY_NOWHERE,
                   &node));
    if (node != KEY_NOWHERE && !bytes_equal(old->raw, up->leaf.raw))
        return ERR_INVALID;
    return leaf_node_verify(c, t->suite, &up->leaf, scope->group_id,
                            scope->sender);
}

static enum err set_path(struct tree *t, const struct tree_path *path,
                         const struct update_path *up)
{
    struct reader r = reader_of(up->nodes);
    for (uint32_t i = 0; i < path->count; i++) {
        struct update_path_node n;
        uint32_t other;
        update_path_node_read(&r, &n);
        /* This finds a key that stands twice in the path itself. */
        TRY(index_find(t, KEY_ENCRYPTION, n.encryption_key, KEY_NOWHERE,
                       &other));
        if (other != KEY_NOWHERE)
            return ERR_INVALID;
        TRY(tree_set_parent(t, path->node[i], n.encryption_key,
                            (struct bytes){0}));
    }
    return reader_finish(&r);
}

enum err treekem_merge(struct crypto *c, struct tree *t,
                       const struct update_path *up,
                       const struct path_scope *scope)
{
    struct tree_path path;
    struct digest parent_hash;
    TRY(check_path_leaf(c, t, up, scope));
    tree_filtered_path(t, scope->sender, &path);
    TRY(check_path(t, &path, up, scope->added));
    TRY(blank_direct_path(t, scope->sender));
    TRY(set_path(t, &path, up));
    TRY(set_parent_hashes(c, t, &path, &parent_hash));
    if (!bytes_equal(digest_bytes(&parent_hash), up->leaf.parent_hash))
        return ERR_INVALID;
    TRY(tree_set_leaf(t, scope->sender, &up->leaf));
    return tree_check_leaf(t, scope->sender);
}

/* Derives the keys of the path from node `i` up, checking each against the
 * tree. `secret` becomes the commit secret. */
static enum err climb(struct crypto *c, const struct tree *t,
                      const struct tree_path *path, uint32_t i,
                      struct tree_private *p, struct secret *secret)
{
    uint32_t bottom = node_level(path->node[i]);
    for (uint32_t level = bottom; level <= MLS_LEVELS_MAX; level++)
        secret_clear(&p->key[level]);
    for (; i < path->count; i++) {
        CLEANUP(buf_clear) struct buf public_key = buf_new(KEM_PUBLIC_MAX);
        CLEANUP(secret_clear) struct secret next = {0};
        uint32_t node = path->node[i];
        TRY(node_keys(c, t->suite, secret, &p->key[node_level(node)],
                      &public_key));
        if (!bytes_equal(buf_bytes(&public_key), tree_key(t, node)))
            return ERR_INVALID;
        TRY(next_path_secret(c, t->suite, secret, &next));
        secret_take(secret, &next);
    }
    return OK;
}

/* The j-th ciphertext of the i-th node of an UpdatePath. */
static enum err path_ciphertext(const struct update_path *up, uint32_t i,
                                size_t j, struct hpke_ciphertext *out)
{
    struct update_path_node n = {0};
    struct reader nodes = reader_of(up->nodes);
    for (uint32_t k = 0; k <= i; k++)
        update_path_node_read(&nodes, &n);
    struct reader r = reader_of(n.ciphertexts);
    for (size_t k = 0; k <= j; k++)
        hpke_ciphertext_read(&r, out);
    return nodes.err != OK ? nodes.err : r.err;
}

/* Which entry of a resolution is ours: above our leaf, and with a key that we
 * know. */
static bool find_own(const struct node_list *l, const struct tree_private *p,
                     size_t *place)
{
    for (size_t j = 0; j < l->count; j++) {
        uint32_t node = l->node[j];
        if (node_in_subtree(node_of_leaf(p->leaf), node) &&
            p->key[node_level(node)].len > 0) {
            *place = j;
            return true;
        }
    }
    return false;
}

static enum err open_secret(struct crypto *c, const struct suite *s,
                            const struct secret *key,
                            const struct seal_label *l,
                            const struct hpke_ciphertext *sealed,
                            struct secret *path_secret)
{
    CLEANUP(buf_clear) struct buf text = buf_new(SECRET_MAX);
    TRY(decrypt_with_label(c, s, key, l, sealed, &text));
    if (text.len != s->nh)
        return ERR_INVALID;
    return secret_set(path_secret, buf_bytes(&text));
}

enum err treekem_open(struct crypto *c, const struct tree *t,
                      struct tree_private *p, const struct update_path *up,
                      const struct path_scope *scope,
                      struct secret *commit_secret)
{
    CLEANUP(treekem_private_clear) struct tree_private mine = {0};
    CLEANUP(node_list_clear) struct node_list to = {0};
    CLEANUP(secret_clear) struct secret secret = {0};
    struct hpke_ciphertext sealed = {0};
    struct tree_path path;
    size_t j = 0;
    if (p->leaf == scope->sender || scope->sender >= tree_leaves(t))
        return ERR_INVALID;
    tree_filtered_path(t, scope->sender, &path);
    uint32_t i = path_place(&path, p->leaf);
    if (i == path.count)
        return ERR_INVALID;
    TRY(tree_resolution(t, path.copath[i], scope->added, &to));
    if (!find_own(&to, p, &j))
        return ERR_INVALID;
    TRY(path_ciphertext(up, i, j, &sealed));
    struct seal_label l = {PATH_LABEL, scope->group_context,
                           tree_key(t, to.node[j]), NULL};
    TRY(open_secret(c, t->suite, &p->key[node_level(to.node[j])], &l, &sealed,
                    &secret));
    treekem_private_copy(p, &mine);
    TRY(climb(c, t, &path, i, &mine, &secret));
    private_take(p, &mine);
    secret_take(commit_secret, &secret);
    return OK;
}

enum err treekem_join(struct crypto *c, const struct tree *t,
                      struct tree_private *p, uint32_t committer,
                      const struct secret *path_secret)
{
    CLEANUP(treekem_private_clear) struct tree_private mine = {0};
    CLEANUP(secret_clear) struct secret secret = {0};
    struct tree_path path;
    if (tree_leaf(t, committer) == NULL || p->leaf == committer)
        return ERR_INVALID;
    tree_filtered_path(t, committer, &path);
    uint32_t i = path_place(&path, p->leaf);
    if (i == path.count || path_secret->len != t->suite->nh)
        return ERR_INVALID;
    treekem_private_copy(p, &mine);
    secret_copy(&secret, path_secret);
    TRY(climb(c, t, &path, i, &mine, &secret));
    private_take(p, &mine);
    return OK;
}
