/* SPDX-License-Identifier: Apache-2.0 */
#include "mls/tree.h"

#include "base/mem.h"
#include "mls/members_for_test.h"
#include "mls/tree_store.h"
#include "test.h"

#include <limits.h>

#define MEMBERS 40U
#define NOBODY  ((struct leaf_set){0})
#define NOTHING ((struct bytes){0})

/* A tree of some members, and these. */
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

static enum err fixture_make(struct fixture *f, size_t count)
{
    TRY(world_start(&f->w, SUITE_X25519_AES128));
    TRY(tree_create(f->w.suite, &f->t));
    for (f->count = 0; f->count < count; f->count++) {
        TRY(member_make(&f->w, &f->m[f->count]));
        TRY(member_add(f->t, &f->m[f->count]));
    }
    return OK;
}

static enum err commit(struct fixture *f, size_t by)
{
    return world_commit(&f->w, &f->t, f->m, f->count, by, NOBODY);
}

/* Whether a tree is what it would be if it came from outside: nothing that it
 * remembers differs from what it is. */
static bool same_as_fresh(struct world *w, struct tree *t)
{
    CLEANUP(buf_clear) struct buf encoded = buf_new(MLS_MESSAGE_MAX);
    CLEANUP(buf_clear) struct buf again = buf_new(MLS_MESSAGE_MAX);
    CLEANUP(tree_free) struct tree *fresh = NULL;
    struct digest a;
    struct digest b;
    return tree_encode(t, &encoded) == OK &&
           tree_read(w->suite, buf_bytes(&encoded), &fresh) == OK &&
           tree_encode(fresh, &again) == OK &&
           bytes_equal(buf_bytes(&encoded), buf_bytes(&again)) &&
           tree_check(w->c, fresh) == OK && tree_check(w->c, t) == OK &&
           tree_leaves(fresh) == tree_leaves(t) &&
           tree_members(fresh) == tree_members(t) &&
           tree_hash(w->c, fresh, &a) == OK && tree_hash(w->c, t, &b) == OK &&
           bytes_equal(digest_bytes(&a), digest_bytes(&b));
}

static void adds_fill_the_leftmost_blank_leaf(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    CHECK_UINT(fixture_make(&f, 5), OK);
    CHECK_UINT(tree_leaves(f.t), 8);
    CHECK_UINT(tree_remove(f.t, 1), OK);
    CHECK_UINT(tree_remove(f.t, 3), OK);
    CHECK(tree_leaf(f.t, 1) == NULL);
    CHECK_UINT(tree_members(f.t), 3);
    CHECK_UINT(member_add(f.t, &f.m[1]), OK);
    CHECK_UINT(f.m[1].private.leaf, 1);
    CHECK_UINT(member_add(f.t, &f.m[3]), OK);
    CHECK_UINT(f.m[3].private.leaf, 3);
    CHECK_UINT(tree_members(f.t), 5);
    CHECK(same_as_fresh(&f.w, f.t));
}

static void truncates_to_the_last_member(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    CHECK_UINT(fixture_make(&f, MEMBERS), OK);
    CHECK_UINT(tree_leaves(f.t), 64);
    for (uint32_t i = MEMBERS - 2; i > 2; i--)
        CHECK_UINT(tree_remove(f.t, i), OK);
    CHECK_UINT(tree_leaves(f.t), 64);
    CHECK_UINT(tree_remove(f.t, MEMBERS - 1), OK);
    CHECK_UINT(tree_leaves(f.t), 4);
    CHECK_UINT(tree_remove(f.t, MEMBERS - 1), ERR_INVALID);
    CHECK_UINT(tree_remove(f.t, 3), ERR_INVALID);
    CHECK(same_as_fresh(&f.w, f.t));
    CHECK_UINT(tree_remove(f.t, 2), OK);
    CHECK_UINT(tree_remove(f.t, 1), OK);
    CHECK_UINT(tree_leaves(f.t), 1);
    CHECK(same_as_fresh(&f.w, f.t));
}

/* One random change. */
static enum err change(struct fixture *f, uint32_t *dice)
{
    struct leaf_node leaf;
    uint32_t which;
    random_fill(&f->w.rnd, (uint8_t *)dice, sizeof *dice);
    size_t i = *dice % f->count;
    struct member *m = &f->m[i];
    switch (*dice / 64 % 4) {
    case 0: /* in or out */
        if (tree_members(f->t) > 1 && m->leaf.len > 0) {
            TRY(tree_remove(f->t, m->private.leaf));
            member_clear(m);
            return OK;
        }
        if (m->leaf.len > 0)
            return OK;
        TRY(member_make(&f->w, m));
        return member_add(f->t, m);
    case 1: /* a new leaf in its place */
        if (m->leaf.len == 0)
            return OK;
        which = m->private.leaf;
        member_clear(m);
        TRY(member_make(&f->w, m));
        m->private.leaf = which;
        TRY(member_leaf(m, &leaf));
        return tree_update(f->t, which, &leaf);
    default:
        return m->leaf.len > 0 ? commit(f, i) : OK;
    }
}

static void stays_what_it_would_be_when_read(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    uint32_t dice = 0;
    CHECK_UINT(fixture_make(&f, 20), OK);
    for (int step = 0; step < 120; step++) {
        CHECK_UINT(change(&f, &dice), OK);
        CHECK(same_as_fresh(&f.w, f.t));
    }
}

static void forks_do_not_touch_each_other(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    CLEANUP(tree_free) struct tree *fork = NULL;
    CLEANUP(tree_free) struct tree *second = NULL;
    CLEANUP(buf_clear) struct buf before = buf_new(MLS_MESSAGE_MAX);
    CLEANUP(buf_clear) struct buf after = buf_new(MLS_MESSAGE_MAX);
    struct leaf_node leaf;
    uint32_t at;
    CHECK_UINT(fixture_make(&f, 30), OK);
    CHECK_UINT(commit(&f, 0), OK);
    CHECK_UINT(commit(&f, 29), OK);
    CHECK_UINT(tree_encode(f.t, &before), OK);
    CHECK_UINT(member_make(&f.w, &f.m[30]), OK);
    CHECK_UINT(member_leaf(&f.m[30], &leaf), OK);
    CHECK_UINT(tree_fork(f.t, &fork), OK);
    CHECK_UINT(tree_fork(f.t, &second), OK);
    CHECK_UINT(tree_remove(fork, 3), OK);
    CHECK_UINT(tree_add(fork, &leaf, &at), OK);
    CHECK_UINT(tree_update(second, 29, &leaf), OK);
    CHECK(same_as_fresh(&f.w, fork));
    CHECK(same_as_fresh(&f.w, second));
    CHECK(same_as_fresh(&f.w, f.t));
    tree_free(&fork);
    CHECK_UINT(tree_encode(f.t, &after), OK);
    CHECK_BYTES(buf_bytes(&after), buf_bytes(&before));
    CHECK(same_as_fresh(&f.w, second));
}

static void finds_keys_only_where_they_are(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    CLEANUP(tree_free) struct tree *fork = NULL;
    struct leaf_node leaf;
    bool found;
    uint32_t at = 0;
    CHECK_UINT(fixture_make(&f, 20), OK);
    CHECK_UINT(member_leaf(&f.m[7], &leaf), OK);
    CHECK_UINT(tree_find_signature_key(f.t, leaf.signature_key, &found, &at),
               OK);
    CHECK(found && at == 7);
    CHECK_UINT(tree_find_encryption_key(f.t, leaf.encryption_key, &found, &at),
               OK);
    CHECK(found && at == 14);
    CHECK_UINT(tree_find_encryption_key(f.t, leaf.signature_key, &found, &at),
               OK);
    CHECK(!found);

    CHECK_UINT(tree_fork(f.t, &fork), OK);
    CHECK_UINT(tree_remove(fork, 7), OK);
    CHECK_UINT(tree_find_signature_key(fork, leaf.signature_key, &found, &at),
               OK);
    CHECK(!found);
    CHECK_UINT(tree_find_signature_key(f.t, leaf.signature_key, &found, &at),
               OK);
    CHECK(found);
    CHECK_UINT(tree_find_signature_key(f.t, (struct bytes){0}, &found, &at),
               OK);
    CHECK(!found);
}

static void a_key_may_stand_only_once(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    struct leaf_node leaf;
    uint32_t at;
    CHECK_UINT(fixture_make(&f, 5), OK);
    CHECK_UINT(tree_check_leaf(f.t, 2), OK);
    CHECK_UINT(member_leaf(&f.m[2], &leaf), OK);
    CHECK_UINT(tree_add(f.t, &leaf, &at), OK);
    CHECK_UINT(tree_check_leaf(f.t, 2), ERR_INVALID);
    CHECK_UINT(tree_check_leaf(f.t, at), ERR_INVALID);
    CHECK_UINT(tree_check_leaf(f.t, 6), ERR_INVALID); /* blank */
    CHECK_UINT(tree_check(f.w.c, f.t), ERR_INVALID);
    /* After the other is gone it is fine. */
    CHECK_UINT(tree_remove(f.t, 2), OK);
    CHECK_UINT(tree_check_leaf(f.t, at), OK);
    /* A parent's key counts as well. */
    CHECK_UINT(tree_set_parent(f.t, 1, leaf.encryption_key, (struct bytes){0}),
               OK);
    CHECK_UINT(tree_check_leaf(f.t, at), ERR_INVALID);
}

/* The index is made anew many times here. */
static void finds_every_key_of_many(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    struct leaf_node leaf;
    bool found;
    uint32_t at;
    CHECK_UINT(fixture_make(&f, 1), OK);
    CHECK_UINT(member_leaf(&f.m[0], &leaf), OK);
    CHECK_UINT(tree_check_leaf(f.t, 0), OK);
    uint8_t key[32] = {0};
    for (uint32_t i = 1; i < 600; i++) {
        CLEANUP(buf_clear) struct buf encoded = buf_new(MLS_LEAF_MAX);
        key[0] = (uint8_t)i;
        key[1] = (uint8_t)(i >> 8);
        leaf.encryption_key = BYTES_ARRAY(key);
        leaf.signature_key = BYTES_ARRAY(key);
        struct writer w = writer_to(&encoded);
        leaf_node_write(&w, &leaf);
        struct leaf_node other;
        struct reader r = reader_of(buf_bytes(&encoded));
        leaf_node_read(&r, &other);
        CHECK_UINT(tree_add(f.t, &other, &at), OK);
        CHECK_UINT(tree_check_leaf(f.t, at), OK);
        CHECK_UINT(at, i);
    }
    for (uint32_t i = 1; i < 600; i++) {
        key[0] = (uint8_t)i;
        key[1] = (uint8_t)(i >> 8);
        CHECK_UINT(tree_find_encryption_key(f.t, BYTES_ARRAY(key), &found, &at),
                   OK);
        CHECK(found && at == 2 * i);
    }
}

/* More entries of one key than the index walks over. */
#define SAME_KEYS 1200U

static void a_tree_of_one_key_is_refused_at_once(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    struct leaf_node leaf;
    bool found;
    uint32_t at;
    CHECK_UINT(fixture_make(&f, 1), OK);
    CHECK_UINT(member_leaf(&f.m[0], &leaf), OK);
    for (uint32_t i = 1; i < SAME_KEYS; i++)
        CHECK_UINT(tree_add(f.t, &leaf, &at), OK);
    CHECK_UINT(tree_find_encryption_key(f.t, NOTHING, &found, &at),
               ERR_INVALID);
    CHECK_UINT(tree_check(f.w.c, f.t), ERR_INVALID);
}

static void a_key_that_moves_on_and_on_is_found(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    struct leaf_node leaf;
    struct leaf_node last;
    bool found;
    uint32_t at = 0;
    CHECK_UINT(fixture_make(&f, 2), OK);
    CHECK_UINT(member_leaf(&f.m[0], &leaf), OK);
    CHECK_UINT(member_leaf(&f.m[1], &last), OK);
    CHECK_UINT(tree_blank(f.t, 0), OK);
    CHECK_UINT(tree_blank(f.t, 2), OK);
    CHECK_UINT(tree_resize(f.t, 2 * 1024), OK);
    CHECK_UINT(tree_set_leaf(f.t, 2 * 1024 - 1, &last), OK);
    for (uint32_t i = 0; i < SAME_KEYS; i++) {
        CHECK_UINT(tree_set_leaf(f.t, i, &leaf), OK);
        CHECK_UINT(
            tree_find_signature_key(f.t, leaf.signature_key, &found, &at), OK);
        CHECK(found && at == i);
        CHECK_UINT(tree_blank(f.t, node_of_leaf(i)), OK);
    }
}

static void added_leaves_are_unmerged_and_can_be_left_out(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    CLEANUP(node_list_clear) struct node_list all = {0};
    CLEANUP(node_list_clear) struct node_list without = {0};
    struct tree_parent root;
    CHECK_UINT(fixture_make(&f, 6), OK);
    CHECK_UINT(commit(&f, 0), OK);
    CHECK_UINT(member_make(&f.w, &f.m[6]), OK);
    CHECK_UINT(member_add(f.t, &f.m[6]), OK);
    CHECK(tree_parent(f.t, 7, &root));
    CHECK_UINT(root.unmerged_count, 1);
    CHECK_UINT(root.unmerged[0], 6);
    const uint32_t six = 6;
    CHECK_UINT(tree_resolution(f.t, 7, NOBODY, &all), OK);
    CHECK_UINT(all.count, 2);
    CHECK_UINT(all.node[0], 7);
    CHECK_UINT(all.node[1], 12);
    CHECK_UINT(tree_resolution(f.t, 7, (struct leaf_set){&six, 1}, &without),
               OK);
    CHECK_UINT(without.count, 1);
    CHECK(same_as_fresh(&f.w, f.t));
}

static void paths_leave_out_what_has_nobody_beside_it(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    struct tree_path path;
    CHECK_UINT(fixture_make(&f, 6), OK);
    CHECK_UINT(tree_remove(f.t, 1), OK);
    tree_filtered_path(f.t, 0, &path);
    CHECK_UINT(path.count, 2);
    CHECK_UINT(path.node[0], 3);
    CHECK_UINT(path.copath[0], 5);
    CHECK_UINT(path.node[1], 7);
    tree_filtered_path(f.t, 5, &path);
    CHECK_UINT(path.count, 2);
    CHECK_UINT(path.node[0], 9);
    CHECK_UINT(path.node[1], 7);
}

static void rejects_malformed_encodings(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    CLEANUP(buf_clear) struct buf good = buf_new(MLS_MESSAGE_MAX);
    CHECK_UINT(fixture_make(&f, 3), OK);
    CHECK_UINT(commit(&f, 0), OK);
    CHECK_UINT(tree_encode(f.t, &good), OK);
    for (size_t n = 0; n < good.len; n++) {
        CLEANUP(tree_free) struct tree *t = NULL;
        CHECK_UINT(tree_read(f.w.suite, (struct bytes){good.data, n}, &t),
                   ERR_MALFORMED);
    }
    const struct bytes bad[] = {
        LIT("\x00"),                         /* no nodes */
        LIT("\x01\x00"),                     /* all blank */
        LIT("\x02\x00\x00"),                 /* again */
        LIT("\x01\x02"),                     /* optional neither 0 nor 1 */
        LIT("\x02\x01\x02"),                 /* a parent in a leaf's place */
        LIT("\x03\x00\x01\x01"),             /* a leaf in a parent's place */
        LIT("\x06\x00\x01\x02\x00\x00\x04"), /* list cut short */
        LIT("\x0d\x00\x01\x02\x00\x00\x08"
            "\x00\x00\x00\x01\x00\x00\x00"), /* an index cut short */
        LIT("\x0e\x00\x01\x02\x00\x00\x08"
            "\x00\x00\x00\x01\x00\x00\x00\x01"), /* an index twice */
        LIT("\x0e\x00\x01\x02\x00\x00\x08"
            "\x00\x00\x00\x01\x00\x00\x00\x00"), /* not ascending */
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        CLEANUP(tree_free) struct tree *t = NULL;
        CHECK_UINT(tree_read(f.w.suite, bad[i], &t), ERR_MALFORMED);
    }
}

/* Builds the tree's fault by hand, and says whether the check sees it. */
static enum err check_fault(struct fixture *f, uint32_t node,
                            struct bytes parent_hash)
{
    CLEANUP(tree_free) struct tree *t = NULL;
    TRY(tree_fork(f->t, &t));
    TRY(tree_set_parent(t, node, BYTES_LIT("some other key"), parent_hash));
    return tree_check(f->w.c, t);
}

static void rejects_parents_without_a_chain_of_hashes(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    CHECK_UINT(fixture_make(&f, 12), OK);
    CHECK_UINT(commit(&f, 0), OK);
    CHECK_UINT(commit(&f, 7), OK);
    CHECK_UINT(tree_check(f.w.c, f.t), OK);
    for (uint32_t n = 1; n < node_count(tree_leaves(f.t)); n += 2) {
        struct tree_parent p;
        struct bytes hash = {0};
        if (tree_parent(f.t, n, &p))
            hash = p.parent_hash;
        CHECK_UINT(check_fault(&f, n, hash), ERR_INVALID);
    }
}

/* Gives a leaf the parent hash of the node above it, as a commit would; but
 * the signature is not made new. */
static enum err chain_leaf(struct fixture *f, struct tree *t, uint32_t leaf,
                           uint32_t parent)
{
    CLEANUP(buf_clear) struct buf encoded = buf_new(MLS_LEAF_MAX);
    struct leaf_node l = *tree_leaf(t, leaf);
    struct digest d;
    TRY(tree_parent_hash(f->w.c, t, parent, node_sibling(node_of_leaf(leaf)),
                         &d));
    l.source = LEAF_COMMIT;
    l.parent_hash = digest_bytes(&d);
    struct writer w = writer_to(&encoded);
    leaf_node_write(&w, &l);
    TRY(writer_finish(&w));
    struct reader r = reader_of(buf_bytes(&encoded));
    leaf_node_read(&r, &l);
    return tree_set_leaf(t, leaf, &l);
}

static enum err put_all(struct tree *t, uint32_t node, const uint32_t *leaf)
{
    for (; *leaf != UINT32_MAX; leaf++)
        TRY(put_unmerged(t, node, *leaf));
    return OK;
}

/*
 * Makes a tree that is right in all but, perhaps, its unmerged leaves, or the
 * key of node 5:
 *
 *         3          the chains are 3 - 1 - leaf 0, and 5 - leaf 3
 *       /   \
 *      1     5
 */
static enum err check_chains(struct fixture *f, const uint32_t *of_root,
                             const uint32_t *of_five, struct bytes key_of_five)
{
    CLEANUP(tree_free) struct tree *t = NULL;
    struct digest d;
    TRY(tree_fork(f->t, &t));
    if (of_five != NULL) {
        TRY(tree_set_parent(t, 5, key_of_five, NOTHING));
        TRY(put_all(t, 5, of_five));
        TRY(chain_leaf(f, t, 3, 5));
    }
    TRY(tree_set_parent(t, 3, BYTES_LIT("three"), NOTHING));
    TRY(put_all(t, 3, of_root));
    TRY(tree_parent_hash(f->w.c, t, 3, 5, &d));
    TRY(tree_set_parent(t, 1, BYTES_LIT("one"), digest_bytes(&d)));
    TRY(chain_leaf(f, t, 0, 1));
    TRY(tree_check_parent_hashes(f->w.c, t));
    return tree_check(f->w.c, t);
}

static enum err check_unmerged(struct fixture *f, const uint32_t *of_root,
                               const uint32_t *of_five)
{
    return check_chains(f, of_root, of_five, LIT("five"));
}

#define LEAVES(...) ((const uint32_t[]){__VA_ARGS__, UINT32_MAX})

static void a_parent_has_a_key_of_its_own(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    const uint32_t *none = LEAVES(UINT32_MAX);
    CHECK_UINT(fixture_make(&f, 4), OK);
    CHECK_UINT(check_chains(&f, none, none, LIT("five")), OK);
    CHECK_UINT(check_chains(&f, none, none, LIT("three")), ERR_INVALID);
    CHECK_UINT(check_chains(&f, none, none, LIT("one")), ERR_INVALID);
    CHECK_UINT(check_chains(&f, none, none, tree_key(f.t, 2)), ERR_INVALID);
}

static void rejects_unmerged_leaves_that_cannot_be(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    const uint32_t *none = LEAVES(UINT32_MAX);
    CHECK_UINT(fixture_make(&f, 4), OK);
    CHECK_UINT(check_unmerged(&f, none, none), OK);
    CHECK_UINT(check_unmerged(&f, LEAVES(2), LEAVES(2)), OK);
    CHECK_UINT(check_unmerged(&f, none, LEAVES(2)), OK);
    /* not in the node between */
    CHECK_UINT(check_unmerged(&f, LEAVES(2), none), ERR_INVALID);
    /* outside the tree */
    CHECK_UINT(check_unmerged(&f, LEAVES(2, 9), LEAVES(2)), ERR_INVALID);
    /* the one that made the node */
    CHECK_UINT(check_unmerged(&f, none, LEAVES(3)), ERR_INVALID);
    /* below another node */
    CHECK_UINT(check_unmerged(&f, none, LEAVES(0)), ERR_INVALID);
    /* blank */
    CHECK_UINT(tree_remove(f.t, 2), OK);
    CHECK_UINT(check_unmerged(&f, none, NULL), OK);
    CHECK_UINT(check_unmerged(&f, LEAVES(2), NULL), ERR_INVALID);
}

static void verifies_each_leaf_signature(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    CLEANUP(tree_free) struct tree *t = NULL;
    struct leaf_node leaf;
    CHECK_UINT(fixture_make(&f, 5), OK);
    CHECK_UINT(commit(&f, 3), OK);
    CHECK_UINT(tree_check_signatures(f.w.c, f.t, TEST_GROUP, 0, 8), OK);
    /* A leaf of a commit is bound to its group and place. */
    CHECK_UINT(tree_check_signatures(f.w.c, f.t, LIT("other"), 0, 8), ERR_AUTH);
    CHECK_UINT(tree_check_signatures(f.w.c, f.t, LIT("other"), 0, 3), OK);
    CHECK_UINT(tree_check_signatures(f.w.c, f.t, LIT("other"), 4, 8), OK);
    CHECK_UINT(
        leaf_node_verify(f.w.c, f.w.suite, tree_leaf(f.t, 3), TEST_GROUP, 4),
        ERR_AUTH);
    f.m[1].leaf.data[f.m[1].leaf.len - 1] ^= 1;
    CHECK_UINT(member_leaf(&f.m[1], &leaf), OK);
    CHECK_UINT(tree_fork(f.t, &t), OK);
    CHECK_UINT(tree_update(t, 1, &leaf), OK);
    CHECK_UINT(tree_check_signatures(f.w.c, t, TEST_GROUP, 0, 8), ERR_AUTH);
}

/* A fork, some changes, the hash, the look-ups, the encoding. */
static enum err exercise(struct fixture *f, const struct leaf_node *leaf)
{
    CLEANUP(tree_free) struct tree *fork = NULL;
    CLEANUP(tree_free) struct tree *again = NULL;
    CLEANUP(buf_clear) struct buf encoded = buf_new(MLS_MESSAGE_MAX);
    struct digest d;
    uint32_t at;
    TRY(tree_fork(f->t, &fork));
    TRY(tree_add(fork, leaf, &at));
    TRY(tree_remove(fork, 2));
    TRY(tree_check_leaf(fork, at));
    TRY(tree_hash(f->w.c, fork, &d));
    TRY(tree_encode(fork, &encoded));
    TRY(tree_read(f->w.suite, buf_bytes(&encoded), &again));
    return tree_check(f->w.c, again);
}

static void survives_each_allocation_failure(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    CLEANUP(buf_clear) struct buf before = buf_new(MLS_MESSAGE_MAX);
    CLEANUP(buf_clear) struct buf after = buf_new(MLS_MESSAGE_MAX);
    struct leaf_node leaf;
    enum err err = ERR_NOMEM;
    unsigned n = 0;
    CHECK_UINT(fixture_make(&f, 16), OK);
    CHECK_UINT(commit(&f, 5), OK);
    CHECK_UINT(member_make(&f.w, &f.m[16]), OK);
    CHECK_UINT(member_leaf(&f.m[16], &leaf), OK);
    CHECK_UINT(tree_encode(f.t, &before), OK);
    for (; err != OK; n++) {
        mem_fail_after(n);
        err = exercise(&f, &leaf);
        CHECK(err == OK || err == ERR_NOMEM);
    }
    mem_fail_after(UINT_MAX); /* none */
    CHECK(n > 20);
    CHECK_UINT(tree_encode(f.t, &after), OK);
    CHECK_BYTES(buf_bytes(&after), buf_bytes(&before));
    CHECK(same_as_fresh(&f.w, f.t));
}

static const struct test tests[] = {
    TEST(adds_fill_the_leftmost_blank_leaf),
    TEST(truncates_to_the_last_member),
    TEST(stays_what_it_would_be_when_read),
    TEST(forks_do_not_touch_each_other),
    TEST(finds_keys_only_where_they_are),
    TEST(a_key_may_stand_only_once),
    TEST(finds_every_key_of_many),
    TEST(a_tree_of_one_key_is_refused_at_once),
    TEST(a_key_that_moves_on_and_on_is_found),
    TEST(added_leaves_are_unmerged_and_can_be_left_out),
    TEST(paths_leave_out_what_has_nobody_beside_it),
    TEST(rejects_malformed_encodings),
    TEST(rejects_parents_without_a_chain_of_hashes),
    TEST(a_parent_has_a_key_of_its_own),
    TEST(rejects_unmerged_leaves_that_cannot_be),
    TEST(verifies_each_leaf_signature),
    TEST(survives_each_allocation_failure),
};

TEST_MAIN(tests)
