/* SPDX-License-Identifier: Apache-2.0 */
/* Vectors of the ratchet tree and TreeKEM. */
#include "mls_low.h"

#include "crypto/kem.h"
#include "mls/proposal.h"
#include "mls/treekem.h"

/* tree-math */

/* Compares an array of nodes, null where there is none, with a function. */
static bool nodes_fit(const json_t *array, uint32_t count,
                      uint32_t (*of)(uint32_t node),
                      bool (*has)(uint32_t node, uint32_t root), uint32_t root)
{
    if (json_array_size(array) != count)
        return false;
    for (uint32_t n = 0; n < count; n++) {
        const json_t *want = json_array_get(array, n);
        if (has(n, root) != json_is_integer(want))
            return false;
        if (json_is_integer(want) && of(n) != json_integer_value(want))
            return false;
    }
    return true;
}

static bool is_parent(uint32_t node, uint32_t root)
{
    (void)root;
    return !node_is_leaf(node);
}

static bool is_below(uint32_t node, uint32_t root) { return node != root; }

enum verdict run_tree_math(struct crypto *c, const json_t *j,
                           char why[WHY_SIZE])
{
    (void)c;
    uint32_t leaves = (uint32_t)int_field(j, "n_leaves");
    uint32_t count = (uint32_t)int_field(j, "n_nodes");
    uint32_t root = (uint32_t)int_field(j, "root");
    WANT(node_count(leaves) == count);
    WANT(node_root(leaves) == root);
    WANT(nodes_fit(json_object_get(j, "left"), count, node_left, is_parent,
                   root));
    WANT(nodes_fit(json_object_get(j, "right"), count, node_right, is_parent,
                   root));
    WANT(nodes_fit(json_object_get(j, "parent"), count, node_parent, is_below,
                   root));
    WANT(nodes_fit(json_object_get(j, "sibling"), count, node_sibling, is_below,
                   root));
    return PASS;
}

/* tree-operations */

static bool tree_is(struct crypto *c, struct tree *t, struct bytes encoded,
                    struct bytes hash)
{
    CLEANUP(buf_clear) struct buf out = buf_new(MLS_MESSAGE_MAX);
    struct digest d;
    struct writer w = writer_to(&out);
    tree_write(&w, t);
    return writer_finish(&w) == OK && bytes_equal(buf_bytes(&out), encoded) &&
           tree_hash(c, t, &d) == OK && bytes_equal(digest_bytes(&d), hash);
}

static enum err apply(struct tree *t, struct bytes encoded, uint32_t sender)
{
    struct proposal p;
    uint32_t leaf;
    struct reader r = reader_of(encoded);
    proposal_read(&r, &p);
    TRY(reader_finish(&r));
    switch (p.type) {
    case PROPOSAL_ADD:
        return tree_add(t, &p.add.leaf, &leaf);
    case PROPOSAL_UPDATE:
        return tree_update(t, sender, &p.update);
    case PROPOSAL_REMOVE:
        return tree_remove(t, p.remove);
    default:
        return ERR_INVALID;
    }
}

enum verdict run_tree_operations(struct crypto *c, const json_t *j,
                                 char why[WHY_SIZE])
{
    CLEANUP(hex_arena_clear) struct hex_arena a = {0};
    CLEANUP(tree_free) struct tree *t = NULL;
    CLEANUP(tree_free) struct tree *fork = NULL;
    struct bytes before = hex_field(&a, j, "tree_before");
    struct bytes hash_before = hex_field(&a, j, "tree_hash_before");
    WANT(tree_read(suite_field(j), before, &t) == OK);
    WANT(tree_is(c, t, before, hash_before));
    WANT(tree_fork(t, &fork) == OK);
    WANT(apply(fork, hex_field(&a, j, "proposal"),
               (uint32_t)int_field(j, "proposal_sender")) == OK);
    WANT(tree_is(c, fork, hex_field(&a, j, "tree_after"),
                 hex_field(&a, j, "tree_hash_after")));
    WANT(tree_is(c, t, before, hash_before));
    return PASS;
}

/* tree-validation */

static bool resolution_is(const struct tree *t, uint32_t node,
                          const json_t *want)
{
    CLEANUP(node_list_clear) struct node_list l = {0};
    if (tree_resolution(t, node, (struct leaf_set){0}, &l) != OK ||
        l.count != json_array_size(want))
        return false;
    for (size_t i = 0; i < l.count; i++)
        if (l.node[i] != json_integer_value(json_array_get(want, i)))
            return false;
    return true;
}

enum verdict run_tree_validation(struct crypto *c, const json_t *j,
                                 char why[WHY_SIZE])
{
    CLEANUP(hex_arena_clear) struct hex_arena a = {0};
    CLEANUP(tree_free) struct tree *t = NULL;
    const json_t *hashes = json_object_get(j, "tree_hashes");
    const json_t *resolutions = json_object_get(j, "resolutions");
    WANT(tree_read(suite_field(j), hex_field(&a, j, "tree"), &t) == OK);
    uint32_t count = node_count(tree_leaves(t));
    WANT(json_array_size(hashes) == count);
    WANT(json_array_size(resolutions) == count);
    for (uint32_t n = 0; n < count; n++) {
        struct digest d;
        WANT(tree_node_hash(c, t, n, &d) == OK);
        WANT(bytes_equal(digest_bytes(&d),
                         hex_value(&a, json_array_get(hashes, n))));
        WANT(resolution_is(t, n, json_array_get(resolutions, n)));
    }
    WANT(tree_check(c, t) == OK);
    WANT(tree_check_signatures(c, t, hex_field(&a, j, "group_id"), 0,
                               tree_leaves(t)) == OK);
    return PASS;
}

/* treekem */

/* A case, and the member at hand. */
struct kem_case {
    struct crypto *c;
    const struct suite *suite;
    const json_t *j;
    struct hex_arena a;
    struct tree *t;
};

static void kem_case_clear(struct kem_case *k)
{
    tree_free(&k->t);
    hex_arena_clear(&k->a);
}

/* What a member knows before the commits. */
static enum err load_private(struct kem_case *k, const json_t *o,
                             struct tree_private *p)
{
    const json_t *secrets = json_object_get(o, "path_secrets");
    p->leaf = (uint32_t)int_field(o, "index");
    TRY(secret_set(&p->key[0], hex_field(&k->a, o, "encryption_priv")));
    for (size_t i = 0; i < json_array_size(secrets); i++) {
        CLEANUP(secret_clear) struct secret path = {0};
        CLEANUP(secret_clear) struct secret node = {0};
        CLEANUP(buf_clear) struct buf pub = buf_new(KEM_PUBLIC_MAX);
        const json_t *s = json_array_get(secrets, i);
        uint32_t n = (uint32_t)int_field(s, "node");
        TRY(secret_set(&path, hex_field(&k->a, s, "path_secret")));
        TRY(derive_secret(k->c, k->suite, &path, "node", &node));
        TRY(kem_derive(k->c, k->suite->kem, &node, &p->key[node_level(n)],
                       &pub));
    }
    return treekem_private_check(k->c, k->suite, p, k->t);
}

static enum err write_context(struct kem_case *k, struct tree *t,
                              struct buf *out)
{
    struct digest d;
    TRY(tree_hash(k->c, t, &d));
    struct group_context gc = {
        .version = MLS_VERSION_10,
        .cipher_suite = (uint16_t)k->suite->id,
        .group_id = hex_field(&k->a, k->j, "group_id"),
        .epoch = int_field(k->j, "epoch"),
        .tree_hash = digest_bytes(&d),
        .confirmed_transcript_hash =
            hex_field(&k->a, k->j, "confirmed_transcript_hash"),
    };
    struct writer w = writer_to(out);
    group_context_write(&w, &gc);
    return writer_finish(&w);
}

static bool private_equal(const struct tree_private *a,
                          const struct tree_private *b, uint32_t from)
{
    for (uint32_t level = from; level <= MLS_LEVELS_MAX; level++)
        if (!secret_equal(&a->key[level], &b->key[level]))
            return false;
    return true;
}

/* A commit, and the tree after it. */
struct commit_case {
    const struct tree *t;
    const struct update_path *up;
    const struct path_scope *scope;
    const struct secret *commit_secret;
};

/* One receiver of a commit. */
static enum verdict receive(struct kem_case *k, const struct commit_case *cc,
                            const json_t *o, char why[WHY_SIZE])
{
    CLEANUP(treekem_private_clear) struct tree_private p = {0};
    CLEANUP(secret_clear) struct secret opened = {0};
    if (int_field(o, "index") == cc->scope->sender)
        return PASS;
    WANT(load_private(k, o, &p) == OK);
    WANT(treekem_open(k->c, cc->t, &p, cc->up, cc->scope, &opened) == OK);
    WANT(secret_equal(&opened, cc->commit_secret));
    WANT(treekem_private_check(k->c, k->suite, &p, cc->t) == OK);
    return PASS;
}

/* A joiner that is given the path secret of a receiver has the same keys from
 * the common ancestor up. */
static enum verdict join(struct kem_case *k, const struct tree *t,
                         const json_t *path, uint32_t leaf, char why[WHY_SIZE])
{
    CLEANUP(treekem_private_clear) struct tree_private p = {.leaf = leaf};
    CLEANUP(treekem_private_clear) struct tree_private q = {.leaf = leaf};
    CLEANUP(secret_clear) struct secret secret = {0};
    const json_t *given =
        json_array_get(json_object_get(path, "path_secrets"), leaf);
    uint32_t sender = (uint32_t)int_field(path, "sender");
    if (!json_is_string(given))
        return PASS;
    WANT(secret_set(&secret, hex_value(&k->a, given)) == OK);
    WANT(treekem_join(k->c, t, &p, sender, &secret) == OK);
    WANT(treekem_private_check(k->c, k->suite, &p, t) == OK);
    WANT(!private_equal(&p, &q, 1));
    return PASS;
}

static enum verdict run_path(struct kem_case *k, const json_t *path,
                             char why[WHY_SIZE])
{
    CLEANUP(tree_free) struct tree *t = NULL;
    CLEANUP(buf_clear) struct buf context = buf_new(1U << 16);
    CLEANUP(secret_clear) struct secret commit_secret = {0};
    struct update_path up;
    struct digest d;
    struct path_scope scope = {.sender = (uint32_t)int_field(path, "sender"),
                               .group_id = hex_field(&k->a, k->j, "group_id")};
    struct reader r = reader_of(hex_field(&k->a, path, "update_path"));
    update_path_read(&r, &up);
    WANT(reader_finish(&r) == OK);
    WANT(tree_fork(k->t, &t) == OK);
    WANT(treekem_merge(k->c, t, &up, &scope) == OK);
    WANT(tree_hash(k->c, t, &d) == OK);
    WANT(bytes_equal(digest_bytes(&d),
                     hex_field(&k->a, path, "tree_hash_after")));
    WANT(write_context(k, t, &context) == OK);
    scope.group_context = buf_bytes(&context);
    WANT(secret_set(&commit_secret, hex_field(&k->a, path, "commit_secret")) ==
         OK);
    const struct commit_case cc = {t, &up, &scope, &commit_secret};
    const json_t *members = json_object_get(k->j, "leaves_private");
    for (size_t i = 0; i < json_array_size(members); i++) {
        const json_t *o = json_array_get(members, i);
        enum verdict v = receive(k, &cc, o, why);
        if (v == PASS)
            v = join(k, t, path, (uint32_t)int_field(o, "index"), why);
        if (v != PASS)
            return v;
    }
    return PASS;
}

/* A member makes a path of its own, which all others must accept. */
static enum verdict run_commit(struct kem_case *k, const json_t *o,
                               char why[WHY_SIZE])
{
    CLEANUP(tree_free) struct tree *t = NULL;
    CLEANUP(tree_free) struct tree *theirs = NULL;
    CLEANUP(treekem_private_clear) struct tree_private p = {0};
    CLEANUP(secret_clear) struct secret signature_key = {0};
    CLEANUP(new_path_clear) struct new_path np = {0};
    CLEANUP(buf_clear) struct buf context = buf_new(1U << 16);
    CLEANUP(buf_clear) struct buf sealed = buf_new(MLS_MESSAGE_MAX);
    struct update_path up;
    struct random rnd = entropy_system();
    WANT(load_private(k, o, &p) == OK);
    WANT(secret_set(&signature_key, hex_field(&k->a, o, "signature_priv")) ==
         OK);
    WANT(tree_fork(k->t, &t) == OK);
    WANT(tree_fork(k->t, &theirs) == OK);
    struct new_leaf leaf = {tree_leaf(t, p.leaf), &signature_key,
                            hex_field(&k->a, k->j, "group_id")};
    WANT(treekem_create(k->c, &rnd, t, &p, &leaf, &np) == OK);
    WANT(treekem_private_check(k->c, k->suite, &p, t) == OK);
    WANT(write_context(k, t, &context) == OK);
    struct path_scope scope = {p.leaf, leaf.group_id, buf_bytes(&context), {0}};
    struct writer w = writer_to(&sealed);
    WANT(treekem_seal(k->c, &rnd, t, &np, &scope, &w) == OK);
    struct reader r = reader_of(buf_bytes(&sealed));
    update_path_read(&r, &up);
    WANT(reader_finish(&r) == OK);
    WANT(treekem_merge(k->c, theirs, &up, &scope) == OK);
    WANT(tree_check(k->c, theirs) == OK);
    const struct commit_case cc = {theirs, &up, &scope, &np.commit_secret};
    const json_t *members = json_object_get(k->j, "leaves_private");
    for (size_t i = 0; i < json_array_size(members); i++) {
        enum verdict v = receive(k, &cc, json_array_get(members, i), why);
        if (v != PASS)
            return v;
    }
    return PASS;
}

enum verdict run_treekem(struct crypto *c, const json_t *j, char why[WHY_SIZE])
{
    CLEANUP(kem_case_clear)
    struct kem_case k = {.c = c, .suite = suite_field(j), .j = j};
    const json_t *paths = json_object_get(j, "update_paths");
    const json_t *members = json_object_get(j, "leaves_private");
    WANT(k.suite != NULL && json_array_size(members) > 0);
    WANT(tree_read(k.suite, hex_field(&k.a, j, "ratchet_tree"), &k.t) == OK);
    WANT(tree_check(c, k.t) == OK);
    enum verdict v = PASS;
    for (size_t i = 0; v == PASS && i < json_array_size(paths); i++)
        v = run_path(&k, json_array_get(paths, i), why);
    /* Each commit is opened by all others: one from either side will do. */
    size_t last = json_array_size(members) - 1;
    if (v == PASS)
        v = run_commit(&k, json_array_get(members, 0), why);
    if (v == PASS)
        v = run_commit(&k, json_array_get(members, last), why);
    return v;
}
