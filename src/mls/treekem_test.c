/* SPDX-License-Identifier: Apache-2.0 */
#include "mls/treekem.h"

#include "base/mem.h"
#include "crypto/sign.h"
#include "mls/members_for_test.h"
#include "test.h"

#include <limits.h>

#define MEMBERS 24U
#define CONTEXT BYTES_LIT("context")

struct fixture {
    struct world w;
    struct tree *t;
    struct member m[MEMBERS];
    size_t count;
};

static void fixture_clear(struct fixture *f)
{
    for (size_t i = 0; i < MEMBERS; i++)
        member_clear(&f->m[i]);
    tree_free(&f->t);
    world_clear(&f->w);
}

static enum err add(struct fixture *f)
{
    struct member *m = &f->m[f->count];
    TRY(member_make(&f->w, m));
    TRY(member_add(f->t, m));
    f->count++;
    return OK;
}

static enum err fixture_make(struct fixture *f, enum suite_id suite,
                             size_t count)
{
    TRY(world_start(&f->w, suite));
    TRY(tree_create(f->w.suite, &f->t));
    while (f->count < count)
        TRY(add(f));
    return OK;
}

static enum err commit(struct fixture *f, size_t by, struct leaf_set added)
{
    return world_commit(&f->w, &f->t, f->m, f->count, by, added);
}

/* Everybody commits, some are added by a commit, some removed. */
static enum err live(struct fixture *f)
{
    for (size_t i = 0; i < 5; i++)
        TRY(commit(f, i, (struct leaf_set){0}));
    TRY(add(f));
    TRY(add(f));
    uint32_t added[] = {f->m[5].private.leaf, f->m[6].private.leaf};
    TRY(commit(f, 2, (struct leaf_set){added, 2}));
    TRY(tree_remove(f->t, f->m[1].private.leaf));
    member_clear(&f->m[1]);
    TRY(commit(f, 6, (struct leaf_set){0}));
    TRY(add(f)); /* into the blank leaf; unmerged where nobody commits */
    added[0] = f->m[7].private.leaf;
    TRY(commit(f, 0, (struct leaf_set){added, 1}));
    for (size_t i = 2; i < f->count; i++)
        TRY(commit(f, i, (struct leaf_set){0}));
    return tree_check(f->w.c, f->t);
}

static void all_members_agree(void)
{
    static const enum suite_id suites[] = {
        SUITE_X25519_AES128, SUITE_P256_AES128, SUITE_XWING_AES256};
    for (size_t i = 0; i < COUNT(suites); i++) {
        CLEANUP(fixture_clear) struct fixture f = {0};
        CHECK_UINT(fixture_make(&f, suites[i], 5), OK);
        CHECK_UINT(live(&f), OK);
    }
}

static void a_lone_member_can_commit(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    CHECK_UINT(fixture_make(&f, SUITE_X25519_AES128, 1), OK);
    CHECK_UINT(commit(&f, 0, (struct leaf_set){0}), OK);
    CHECK_UINT(tree_check(f.w.c, f.t), OK);
    CHECK_UINT(tree_leaf(f.t, 0)->source, LEAF_COMMIT);
    CHECK_UINT(tree_leaf(f.t, 0)->parent_hash.len, 0);
}

/* A commit of member 0 as others get it. */
struct sent {
    struct tree *t; /* the sender's */
    struct new_path np;
    struct buf sealed;
    struct update_path up;
    struct path_scope scope;
};

static void sent_clear(struct sent *s)
{
    tree_free(&s->t);
    new_path_clear(&s->np);
    buf_clear(&s->sealed);
}

static enum err send_as(struct fixture *f, size_t by, struct sent *s)
{
    struct member *m = &f->m[by];
    struct new_leaf leaf = {tree_leaf(f->t, m->private.leaf), &m->signature_key,
                            TEST_GROUP};
    s->sealed = buf_new(MLS_MESSAGE_MAX);
    s->scope = (struct path_scope){m->private.leaf, TEST_GROUP, CONTEXT, {0}};
    TRY(tree_fork(f->t, &s->t));
    TRY(treekem_create(f->w.c, &f->w.rnd, s->t, &m->private, &leaf, &s->np));
    struct writer w = writer_to(&s->sealed);
    TRY(treekem_seal(f->w.c, &f->w.rnd, s->t, &s->np, &s->scope, &w));
    struct reader r = reader_of(buf_bytes(&s->sealed));
    update_path_read(&r, &s->up);
    return reader_finish(&r);
}

static enum err merge(struct fixture *f, const struct update_path *up,
                      const struct path_scope *scope)
{
    CLEANUP(tree_free) struct tree *t = NULL;
    TRY(tree_fork(f->t, &t));
    return treekem_merge(f->w.c, t, up, scope);
}

/* Merges the path with one byte changed. */
static enum err merge_changed(struct fixture *f, struct sent *s,
                              struct bytes field)
{
    size_t at = (size_t)(field.data - s->sealed.data);
    s->sealed.data[at] ^= 1;
    enum err err = merge(f, &s->up, &s->scope);
    s->sealed.data[at] ^= 1;
    return err;
}

static void rejects_a_path_that_was_changed(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    CLEANUP(sent_clear) struct sent s = {0};
    struct update_path_node n;
    CHECK_UINT(fixture_make(&f, SUITE_X25519_AES128, 8), OK);
    CHECK_UINT(send_as(&f, 0, &s), OK);
    CHECK_UINT(merge(&f, &s.up, &s.scope), OK);
    CHECK_UINT(merge_changed(&f, &s, s.up.leaf.signature), ERR_AUTH);
    CHECK_UINT(merge_changed(&f, &s, s.up.leaf.encryption_key), ERR_AUTH);
    CHECK_UINT(merge_changed(&f, &s, s.up.leaf.parent_hash), ERR_AUTH);
    struct reader r = reader_of(s.up.nodes);
    while (reader_more(&r)) {
        update_path_node_read(&r, &n);
        CHECK_UINT(merge_changed(&f, &s, n.encryption_key), ERR_INVALID);
    }
}

static void rejects_a_path_of_another_shape(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    CLEANUP(sent_clear) struct sent s = {0};
    struct update_path_node n;
    CHECK_UINT(fixture_make(&f, SUITE_X25519_AES128, 8), OK);
    CHECK_UINT(send_as(&f, 0, &s), OK);
    struct update_path up = s.up;
    struct reader r = reader_of(up.nodes);
    update_path_node_read(&r, &n);

    up.nodes = r.rest; /* a node too few */
    CHECK_UINT(merge(&f, &up, &s.scope), ERR_INVALID);
    up.nodes = (struct bytes){0};
    CHECK_UINT(merge(&f, &up, &s.scope), ERR_INVALID);

    CLEANUP(buf_clear) struct buf longer = buf_new(1U << 16);
    CHECK_UINT(buf_append(&longer, s.up.nodes), OK); /* a node too many */
    CHECK_UINT(buf_append(&longer, (struct bytes){s.up.nodes.data,
                                                  s.up.nodes.len - r.rest.len}),
               OK);
    up.nodes = buf_bytes(&longer);
    CHECK_UINT(merge(&f, &up, &s.scope), ERR_INVALID);

    /* Ciphertexts for more, or for fewer, than there are to read them. */
    const uint32_t one = 1;
    struct path_scope scope = s.scope;
    scope.added = (struct leaf_set){&one, 1};
    CHECK_UINT(merge(&f, &s.up, &scope), ERR_INVALID);
    CHECK_UINT(tree_remove(f.t, 1), OK);
    CHECK_UINT(merge(&f, &s.up, &s.scope), ERR_INVALID);
}

static void rejects_the_wrong_sender_or_group(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    CLEANUP(sent_clear) struct sent s = {0};
    CHECK_UINT(fixture_make(&f, SUITE_X25519_AES128, 8), OK);
    CHECK_UINT(send_as(&f, 0, &s), OK);
    struct path_scope scope = s.scope;
    scope.group_id = LIT("other");
    CHECK_UINT(merge(&f, &s.up, &scope), ERR_AUTH);
    scope = s.scope;
    scope.sender = 1;
    CHECK_UINT(merge(&f, &s.up, &scope), ERR_AUTH);
    scope.sender = 12; /* outside */
    CHECK_UINT(merge(&f, &s.up, &scope), ERR_INVALID);
    struct update_path up = s.up;
    up.leaf = *tree_leaf(f.t, 0); /* as in a KeyPackage */
    CHECK_UINT(merge(&f, &up, &s.scope), ERR_INVALID);
}

/* What the sender of a path may put into it, if it likes: keys for its nodes
 * and its leaf. Its hashes and the signature are right. */
struct forged {
    struct bytes key[3]; /* of the nodes above leaf 0 of eight, upwards */
    struct bytes leaf_key;
    struct buf nodes, leaf;
    struct update_path up;
};

static void forged_clear(struct forged *fo)
{
    buf_clear(&fo->nodes);
    buf_clear(&fo->leaf);
}

/* The parent hash of the leaf of member 0, over such keys. */
static enum err forged_hash(struct fixture *f, const struct forged *fo,
                            struct digest *out)
{
    CLEANUP(tree_free) struct tree *t = NULL;
    struct tree_path path;
    TRY(tree_fork(f->t, &t));
    tree_filtered_path(t, 0, &path);
    out->len = 0;
    for (uint32_t i = path.count; i-- > 0;) {
        TRY(tree_set_parent(t, path.node[i], fo->key[i], digest_bytes(out)));
        TRY(tree_parent_hash(f->w.c, t, path.node[i], path.copath[i], out));
    }
    return OK;
}

static enum err forge_leaf(struct fixture *f, struct forged *fo,
                           const struct digest *parent_hash)
{
    CLEANUP(buf_clear) struct buf tbs = buf_new(MLS_LEAF_MAX);
    CLEANUP(buf_clear) struct buf signature = buf_new(SIGN_MAX);
    struct leaf_node leaf = *tree_leaf(f->t, 0);
    leaf.encryption_key = fo->leaf_key;
    leaf.source = LEAF_COMMIT;
    leaf.parent_hash = digest_bytes(parent_hash);
    leaf.signed_part = (struct bytes){0};
    struct writer w = writer_to(&tbs);
    leaf_node_write_tbs(&w, &leaf, TEST_GROUP, 0);
    TRY(writer_finish(&w));
    TRY(sign_with_label(f->w.c, f->w.suite, &f->m[0].signature_key,
                        "LeafNodeTBS", buf_bytes(&tbs), &signature));
    leaf.signature = buf_bytes(&signature);
    fo->leaf = buf_new(MLS_LEAF_MAX);
    w = writer_to(&fo->leaf);
    leaf_node_write(&w, &leaf);
    TRY(writer_finish(&w));
    struct reader r = reader_of(buf_bytes(&fo->leaf));
    leaf_node_read(&r, &fo->up.leaf);
    return reader_finish(&r);
}

static enum err forge_nodes(const struct sent *s, struct forged *fo)
{
    struct reader r = reader_of(s->up.nodes);
    fo->nodes = buf_new(MLS_MESSAGE_MAX);
    struct writer w = writer_to(&fo->nodes);
    for (size_t i = 0; reader_more(&r); i++) {
        struct update_path_node n;
        update_path_node_read(&r, &n);
        writer_vec(&w, fo->key[i]);
        writer_vec(&w, n.ciphertexts);
    }
    TRY(writer_finish(&w));
    fo->up.nodes = buf_bytes(&fo->nodes);
    return OK;
}

static enum err merge_forged(struct fixture *f, const struct sent *s,
                             const struct bytes key[3], struct bytes leaf_key)
{
    CLEANUP(forged_clear)
    struct forged fo = {.key = {key[0], key[1], key[2]}, .leaf_key = leaf_key};
    struct digest parent_hash;
    TRY(forged_hash(f, &fo, &parent_hash));
    TRY(forge_leaf(f, &fo, &parent_hash));
    TRY(forge_nodes(s, &fo));
    return merge(f, &fo.up, &s->scope);
}

/* "Verify that the encryption_key [...] is different" and unique (sections 7.3
 * and 12.4.2), of whoever signs and hashes what it likes. */
static void rejects_keys_that_are_not_new(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    CLEANUP(sent_clear) struct sent s = {0};
    const struct bytes new[] = {LIT("1"), LIT("2"), LIT("3")};
    const struct bytes twice[] = {LIT("1"), LIT("2"), LIT("1")};
    CHECK_UINT(fixture_make(&f, SUITE_X25519_AES128, 8), OK);
    CHECK_UINT(send_as(&f, 0, &s), OK);
    struct bytes old = tree_leaf(f.t, 0)->encryption_key;
    struct bytes other = tree_leaf(f.t, 5)->encryption_key;
    const struct bytes of_member[] = {LIT("1"), other, LIT("3")};
    const struct bytes of_itself[] = {LIT("1"), old, LIT("3")};
    CHECK_UINT(merge_forged(&f, &s, new, LIT("0")), OK);
    CHECK_UINT(merge_forged(&f, &s, new, old), ERR_INVALID);
    CHECK_UINT(merge_forged(&f, &s, new, other), ERR_INVALID);
    CHECK_UINT(merge_forged(&f, &s, new, LIT("2")), ERR_INVALID);
    CHECK_UINT(merge_forged(&f, &s, twice, LIT("0")), ERR_INVALID);
    CHECK_UINT(merge_forged(&f, &s, of_member, LIT("0")), ERR_INVALID);
    CHECK_UINT(merge_forged(&f, &s, of_itself, LIT("0")), ERR_INVALID);
}

/* "none of the public keys in the UpdatePath appear in any node" */
static void rejects_keys_that_are_in_the_tree(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    CLEANUP(sent_clear) struct sent s = {0};
    CHECK_UINT(fixture_make(&f, SUITE_X25519_AES128, 8), OK);
    CHECK_UINT(send_as(&f, 0, &s), OK);
    CHECK_UINT(merge(&f, &s.up, &s.scope), OK);
    CHECK_UINT(treekem_merge(f.w.c, f.t, &s.up, &s.scope), OK);
    /* The same path again. */
    CHECK_UINT(merge(&f, &s.up, &s.scope), ERR_INVALID);
}

static void opens_only_what_is_sealed_for_it(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    CLEANUP(sent_clear) struct sent s = {0};
    CLEANUP(treekem_private_clear) struct tree_private p = {0};
    CLEANUP(secret_clear) struct secret secret = {0};
    CHECK_UINT(fixture_make(&f, SUITE_X25519_AES128, 8), OK);
    CHECK_UINT(send_as(&f, 0, &s), OK);
    CHECK_UINT(treekem_merge(f.w.c, f.t, &s.up, &s.scope), OK);
    treekem_private_copy(&f.m[5].private, &p);

    struct path_scope scope = s.scope;
    scope.group_context = LIT("another context");
    CHECK_UINT(treekem_open(f.w.c, f.t, &p, &s.up, &scope, &secret), ERR_AUTH);
    scope = s.scope;
    scope.sender = 5; /* its own */
    CHECK_UINT(treekem_open(f.w.c, f.t, &p, &s.up, &scope, &secret),
               ERR_INVALID);
    secret_random(&p.key[0], p.key[0].len, &f.w.rnd); /* not its key */
    CHECK_UINT(treekem_open(f.w.c, f.t, &p, &s.up, &s.scope, &secret),
               ERR_AUTH);
    secret_clear(&p.key[0]); /* no key at all */
    CHECK_UINT(treekem_open(f.w.c, f.t, &p, &s.up, &s.scope, &secret),
               ERR_INVALID);
    CHECK_UINT(secret.len, 0);
    CHECK_UINT(
        treekem_open(f.w.c, f.t, &f.m[5].private, &s.up, &s.scope, &secret),
        OK);
    CHECK(secret_equal(&secret, &s.np.commit_secret));
}

/* The committer may seal a secret that does not fit its public keys. */
static void rejects_a_secret_that_does_not_fit_the_keys(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    CLEANUP(sent_clear) struct sent s = {0};
    CLEANUP(buf_clear) struct buf sealed = buf_new(MLS_MESSAGE_MAX);
    CLEANUP(secret_clear) struct secret secret = {0};
    struct update_path up;
    CHECK_UINT(fixture_make(&f, SUITE_X25519_AES128, 8), OK);
    CHECK_UINT(send_as(&f, 0, &s), OK);
    secret_random(&s.np.path_secret[2], s.np.path_secret[2].len, &f.w.rnd);
    struct writer w = writer_to(&sealed);
    CHECK_UINT(treekem_seal(f.w.c, &f.w.rnd, s.t, &s.np, &s.scope, &w), OK);
    struct reader r = reader_of(buf_bytes(&sealed));
    update_path_read(&r, &up);
    CHECK_UINT(treekem_merge(f.w.c, f.t, &up, &s.scope), OK);
    CHECK_UINT(
        treekem_open(f.w.c, f.t, &f.m[5].private, &up, &s.scope, &secret),
        ERR_INVALID);
    for (uint32_t level = 1; level <= MLS_LEVELS_MAX; level++)
        CHECK_UINT(f.m[5].private.key[level].len, 0);
    /* The others of the tree do not notice. */
    CHECK_UINT(
        treekem_open(f.w.c, f.t, &f.m[2].private, &up, &s.scope, &secret), OK);
}

static void joins_only_with_the_right_secret(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    CLEANUP(sent_clear) struct sent s = {0};
    CLEANUP(secret_clear) struct secret wrong = {0};
    CHECK_UINT(fixture_make(&f, SUITE_X25519_AES128, 8), OK);
    CHECK_UINT(send_as(&f, 0, &s), OK);
    struct tree_private *p = &f.m[5].private;
    secret_random(&wrong, f.w.suite->nh, &f.w.rnd);
    CHECK_UINT(treekem_join(f.w.c, s.t, p, 0, &wrong), ERR_INVALID);
    wrong.len--;
    CHECK_UINT(treekem_join(f.w.c, s.t, p, 0, &wrong), ERR_INVALID);
    CHECK_UINT(p->key[3].len, 0);
    const struct secret *right = treekem_secret_for(&s.np, 5);
    CHECK_UINT(treekem_join(f.w.c, s.t, p, 5, right), ERR_INVALID);
    CHECK_UINT(treekem_join(f.w.c, s.t, p, 0, right), OK);
    CHECK(secret_equal(&p->key[3], &f.m[0].private.key[3]));
}

static void stored_keys_come_back(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    CLEANUP(buf_clear) struct buf out = buf_new(4096);
    CLEANUP(treekem_private_clear) struct tree_private p = {0};
    CHECK_UINT(fixture_make(&f, SUITE_X25519_AES128, 8), OK);
    CHECK_UINT(commit(&f, 3, (struct leaf_set){0}), OK);
    struct writer w = writer_to(&out);
    treekem_private_write(&w, &f.m[3].private);
    CHECK_UINT(writer_finish(&w), OK);
    struct reader r = reader_of(buf_bytes(&out));
    treekem_private_read(&r, &p);
    CHECK_UINT(reader_finish(&r), OK);
    CHECK_UINT(p.leaf, 3);
    for (uint32_t level = 0; level <= MLS_LEVELS_MAX; level++)
        CHECK(secret_equal(&p.key[level], &f.m[3].private.key[level]));
    CHECK_UINT(treekem_private_check(f.w.c, f.w.suite, &p, f.t), OK);
    CHECK_UINT(tree_remove(f.t, 2), OK); /* its neighbour: path is blank */
    CHECK_UINT(treekem_private_check(f.w.c, f.w.suite, &p, f.t), ERR_INVALID);
    treekem_private_prune(&p, f.t);
    CHECK_UINT(treekem_private_check(f.w.c, f.w.suite, &p, f.t), OK);
    CHECK_UINT(p.key[1].len, 0);
    CHECK(p.key[0].len > 0);
}

static void a_cleared_path_holds_no_secret(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    CLEANUP(sent_clear) struct sent s = {0};
    CHECK_UINT(fixture_make(&f, SUITE_X25519_AES128, 8), OK);
    CHECK_UINT(send_as(&f, 0, &s), OK);
    CHECK(s.np.commit_secret.len > 0);
    new_path_clear(&s.np);
    const uint8_t *raw = (const uint8_t *)&s.np;
    for (size_t i = 0; i < sizeof s.np; i++)
        CHECK_UINT(raw[i], 0);
}

static enum err open_one(struct fixture *f, const struct sent *s)
{
    CLEANUP(tree_free) struct tree *t = NULL;
    CLEANUP(treekem_private_clear) struct tree_private p = {0};
    CLEANUP(secret_clear) struct secret secret = {0};
    TRY(tree_fork(f->t, &t));
    TRY(treekem_merge(f->w.c, t, &s->up, &s->scope));
    treekem_private_copy(&f->m[6].private, &p);
    TRY(treekem_open(f->w.c, t, &p, &s->up, &s->scope, &secret));
    return secret_equal(&secret, &s->np.commit_secret) ? OK : ERR_STATE;
}

static void survives_each_allocation_failure(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    enum err err = ERR_NOMEM;
    unsigned n = 0;
    CHECK_UINT(fixture_make(&f, SUITE_X25519_AES128, 8), OK);
    for (; err != OK; n++) {
        CLEANUP(sent_clear) struct sent s = {0};
        CLEANUP(secret_clear) struct secret before = {0};
        secret_copy(&before, &f.m[0].private.key[0]);
        mem_fail_after(n);
        err = send_as(&f, 0, &s);
        CHECK(err == OK || err == ERR_NOMEM);
        if (s.np.commit_secret.len == 0) /* failed in treekem_create */
            CHECK(secret_equal(&before, &f.m[0].private.key[0]));
    }
    mem_fail_after(UINT_MAX); /* none */
    CHECK(n > 20);
    CLEANUP(sent_clear) struct sent s = {0};
    CHECK_UINT(send_as(&f, 0, &s), OK);
    err = ERR_NOMEM;
    for (n = 0; err != OK; n++) {
        mem_fail_after(n);
        err = open_one(&f, &s);
        CHECK(err == OK || err == ERR_NOMEM);
    }
    mem_fail_after(UINT_MAX);
    CHECK(n > 20);
}

static const struct test tests[] = {
    TEST(all_members_agree),
    TEST(a_lone_member_can_commit),
    TEST(rejects_a_path_that_was_changed),
    TEST(rejects_a_path_of_another_shape),
    TEST(rejects_the_wrong_sender_or_group),
    TEST(rejects_keys_that_are_not_new),
    TEST(rejects_keys_that_are_in_the_tree),
    TEST(opens_only_what_is_sealed_for_it),
    TEST(rejects_a_secret_that_does_not_fit_the_keys),
    TEST(joins_only_with_the_right_secret),
    TEST(stored_keys_come_back),
    TEST(a_cleared_path_holds_no_secret),
    TEST(survives_each_allocation_failure),
};

TEST_MAIN(tests)
