/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Welcome by an inviter who stops at nothing: it puts nodes of the tree in
 * other places, edits the tree and the GroupContext, and then signs, confirms
 * and seals all of it as it should be. A Welcome is refused, or the group that
 * was joined is stored, loaded and used like any other.
 *
 * Input: a byte of flags, one of the signer, one that counts the nodes to put
 * elsewhere (a byte of where, a byte of which), a length byte with so many
 * bytes of edits (edit.h) of the tree, and edits of the context.
 */
#include "mls/welcome.h"
#include "mls/world.h"

#include "edit.h"

#include <assert.h>

#ifndef PLANTED_BUG
#define PLANTED_BUG 0 /* 1: the fault that scripts/fuzz must find */
#endif

#define SUITE_1   1U
#define MEMBERS   7U /* joined, the last of them is the one that joins */
#define NODES_MAX 64U
#define MOVES_MAX 8U

enum {
    FLAG_TREE_OUTSIDE = 1,
    FLAG_PATH_SECRET = 2, /* a wrong one */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct world w;
static struct sotto_buf trees[2];      /* after the add, and before it */
static struct bytes nodes[NODES_MAX];  /* `optional<Node>`s of both */
static size_t node_total, tree_width;  /* of the first tree */
static struct epoch honest;            /* what the inviter begins with */
static struct proposal_list additions; /* the joiner's KeyPackage */

static void must(enum sotto_err err) { assert(err == SOTTO_OK); }

/* ---- Where each input begins ---- */

static void nodes_keep(struct bytes tree)
{
    struct reader r = reader_of(tree);
    struct bytes after = reader_enter(&r);
    while (reader_more(&r)) {
        struct bytes begin = r.rest;
        struct leaf_node leaf;
        struct parent_node parent;
        uint8_t type = reader_u8(&r) == 0 ? 0 : reader_u8(&r);
        if (type == 1)
            leaf_node_read(&r, &leaf);
        if (type == 2)
            parent_node_read(&r, &parent);
        assert(node_total < NODES_MAX);
        nodes[node_total++] = reader_since(&r, begin);
    }
    reader_leave(&r, after);
    assert(reader_finish(&r) == OK);
}

static void start(void)
{
    const struct sotto_commit plain = {0};
    assert(world_open(&w, SUITE_1, 1) == SOTTO_OK);
    must(world_found(&w, 0));
    must(world_add(&w, 0, 1, MEMBERS - 1));
    for (size_t i = 0; i + 1 < MEMBERS; i++)
        must(world_commit(&w, i, &plain, NULL, 0));
    must(sotto_group_ratchet_tree(w.member[0].group, &trees[1]));
    must(world_add(&w, 0, MEMBERS - 1, MEMBERS));
    must(sotto_group_ratchet_tree(w.member[0].group, &trees[0]));
    nodes_keep(bytes_in(view_of(&trees[0])));
    tree_width = node_total;
    nodes_keep(bytes_in(view_of(&trees[1])));

    const struct epoch *e = &w.member[0].group->epoch;
    struct key_package add;
    CLEANUP(buf_clear) struct buf raw = buf_new(MLS_MESSAGE_MAX);
    honest = epoch_new(e->suite);
    assert(epoch_set_context(&honest, &e->fields) == OK);
    assert(key_package_message_read(
               bytes_in(view_of(&w.member[MEMBERS - 1].key_package)), &add) ==
           OK);
    struct writer to = writer_to(&raw);
    proposal_write(&to, &(struct proposal){.type = PROPOSAL_ADD, .add = add});
    additions = proposal_list_new();
    assert(writer_finish(&to) == OK);
    struct sender us = {SENDER_MEMBER, 0};
    assert(proposal_list_add(&additions, buf_bytes(&raw), &us, false) == OK);
    assert(proposal_list_parse(&additions) == OK);
}

/* ---- What the inviter makes ---- */

static void make_tree(struct reader *r, struct buf *out)
{
    struct bytes place[NODES_MAX] = {0};
    for (size_t i = 0; i < tree_width; i++)
        place[i] = nodes[i];
    for (size_t n = reader_u8(r) % MOVES_MAX; n > 0; n--) {
        size_t at = reader_u8(r);
        place[at % tree_width] = nodes[reader_u8(r) % node_total];
    }
    struct writer to = writer_to(out);
    size_t begin = writer_enter(&to);
    for (size_t i = 0; i < tree_width; i++)
        writer_raw(&to, place[i]);
    writer_leave(&to, begin);
    assert(writer_finish(&to) == OK);
    struct reader edits = reader_of(reader_raw(r, reader_u8(r)));
    edit(&edits, out);
}

/* The context with the hash of the tree, and the secrets that follow. */
static enum err make_epoch(struct reader *r, uint8_t signer,
                           const struct secret *joiner, struct epoch *e)
{
    CLEANUP(buf_clear) struct buf context = buf_new(MLS_MESSAGE_MAX);
    struct crypto *c = w.mls->crypto;
    struct group_context gc = {0};
    struct digest digest = {0};
    TRY(buf_copy(&context, buf_bytes(&honest.context)));
    edit(r, &context);
    struct reader from = reader_of(buf_bytes(&context));
    group_context_read(&from, &gc);
    TRY(reader_finish(&from));
    TRY(tree_hash(c, e->tree, &digest));
    gc.tree_hash = digest_bytes(&digest);
    TRY(epoch_set_context(e, &gc));
    TRY(schedule_epoch(c, e->suite, joiner, NULL, buf_bytes(&e->context),
                       &e->secrets));
    TRY(epoch_confirm(c, e, &e->confirmation_tag));
    e->keys.leaf = signer;
    return secret_set(
        &e->signature_key,
        bytes_in(view_of(&w.member[signer % MEMBERS].signature_private)));
}

static enum err make_welcome(struct reader *r, uint8_t flags, uint8_t signer,
                             struct bytes tree, struct buf *out)
{
    CLEANUP(epoch_clear) struct epoch e = epoch_new(honest.suite);
    CLEANUP(secret_clear) struct secret joiner = {0};
    CLEANUP(new_path_clear) struct new_path path = {0};
    struct random rnd = w.mls->random;
    secret_random(&joiner, e.suite->nh, &rnd);
    secret_random(&path.path_secret[0], e.suite->nh, &rnd);
    path.path = (struct tree_path){.count = 1, .node = {7}, .copath = {11}};
    TRY(tree_read(e.suite, tree, &e.tree));
    TRY(make_epoch(r, signer, &joiner, &e));
    const struct welcome_source source = {
        .epoch = &e,
        .list = &additions,
        .path = (flags & FLAG_PATH_SECRET) != 0 ? &path : NULL,
        .joiner_secret = &joiner,
        .with_tree = (flags & FLAG_TREE_OUTSIDE) == 0,
    };
    return welcome_make(w.mls, &source, out);
}

/* ---- What the joiner does with it ---- */

static void use(struct sotto_group *g)
{
    CLEANUP(memory_store_clear) struct memory_store m = {0};
    CLEANUP(sotto_group_free) struct sotto_group *again = NULL;
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf text = {0};
    const struct sotto_commit ask = {0};
    struct sotto_store store = memory_store_of(&m);
    struct sotto_leaf leaf;
    uint32_t members = 0;
    for (uint32_t i = 0; i < sotto_group_leaf_count(g); i++)
        members += sotto_group_member(g, i, &leaf) == SOTTO_OK;
    assert(members == sotto_group_member_count(g));
    must(sotto_group_save(g, &store));
    must(sotto_group_load(w.mls, &store, &again));
    must(sotto_group_protect(again, text_of(""), text_of("text"), 0, &text));
    if (sotto_group_commit(again, &ask, &out) == SOTTO_OK)
        must(sotto_group_merge_pending(again));
    assert(!PLANTED_BUG || sotto_group_epoch(g) < 1U << 16);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(buf_clear) struct buf tree = buf_new(MLS_MESSAGE_MAX);
    CLEANUP(buf_clear) struct buf welcome = buf_new(MLS_MESSAGE_MAX);
    CLEANUP(sotto_group_free) struct sotto_group *g = NULL;
    struct reader r = reader_of((struct bytes){data, size});
    if (w.mls == NULL)
        start();
    entropy_seed(&w.entropy, 2);
    uint8_t flags = reader_u8(&r);
    uint8_t signer = reader_u8(&r);
    make_tree(&r, &tree);
    if (make_welcome(&r, flags, signer, buf_bytes(&tree), &welcome) != OK)
        return 0;
    const struct sotto_join join = {
        .welcome = bytes_out(buf_bytes(&welcome)),
        .key_package_private =
            view_of(&w.member[MEMBERS - 1].key_package_private),
        .ratchet_tree = bytes_out(buf_bytes(&tree)),
    };
    if (sotto_group_join(w.mls, &join, &g) == SOTTO_OK)
        use(g);
    return 0;
}
