/* SPDX-License-Identifier: Apache-2.0 */
#include "mls/members_for_test.h"

#include "crypto/kem.h"
#include "crypto/sign.h"

enum err world_start(struct world *w, enum suite_id suite)
{
    *w = (struct world){.suite = suite_find((uint16_t)suite)};
    entropy_seed(&w->entropy, 1);
    w->rnd = entropy_of(&w->entropy);
    return crypto_create(&w->c);
}

void world_clear(struct world *w) { crypto_free(&w->c); }

void member_clear(struct member *m)
{
    secret_clear(&m->signature_key);
    buf_clear(&m->signature_public);
    buf_clear(&m->leaf);
    treekem_private_clear(&m->private);
}

static enum err write_leaf(struct world *w, struct member *m,
                           struct leaf_node *leaf)
{
    CLEANUP(buf_clear) struct buf tbs = buf_new(MLS_LEAF_MAX);
    CLEANUP(buf_clear) struct buf signature = buf_new(SIGN_MAX);
    struct writer tbs_writer = writer_to(&tbs);
    leaf_node_write_tbs(&tbs_writer, leaf, (struct bytes){0}, 0);
    TRY(writer_finish(&tbs_writer));
    TRY(sign_with_label(w->c, w->suite, &m->signature_key, "LeafNodeTBS",
                        buf_bytes(&tbs), &signature));
    leaf->signature = buf_bytes(&signature);
    struct writer leaf_writer = writer_to(&m->leaf);
    leaf_node_write(&leaf_writer, leaf);
    return writer_finish(&leaf_writer);
}

enum err member_make(struct world *w, struct member *m)
{
    CLEANUP(buf_clear) struct buf key = buf_new(KEM_PUBLIC_MAX);
    *m = (struct member){.signature_public = buf_new(SIGN_PUBLIC_MAX),
                         .leaf = buf_new(MLS_LEAF_MAX)};
    TRY(sign_generate(w->c, w->suite->sign, &w->rnd, &m->signature_key,
                      &m->signature_public));
    TRY(kem_generate(w->c, w->suite->kem, &w->rnd, &m->private.key[0], &key));
    struct leaf_node leaf = {
        .encryption_key = buf_bytes(&key),
        .signature_key = buf_bytes(&m->signature_public),
        .credential = {CREDENTIAL_BASIC, BYTES_LIT("somebody")},
        .capabilities = {.versions = BYTES_LIT("\x00\x01"),
                         .credentials = BYTES_LIT("\x00\x01")},
        .source = LEAF_KEY_PACKAGE,
        .not_after = UINT64_MAX,
    };
    return write_leaf(w, m, &leaf);
}

enum err member_leaf(const struct member *m, struct leaf_node *out)
{
    struct reader r = reader_of(buf_bytes(&m->leaf));
    leaf_node_read(&r, out);
    return reader_finish(&r);
}

enum err member_add(struct tree *t, struct member *m)
{
    struct leaf_node leaf;
    TRY(member_leaf(m, &leaf));
    return tree_add(t, &leaf, &m->private.leaf);
}

enum err tree_encode(const struct tree *t, struct buf *out)
{
    struct writer w = writer_to(out);
    tree_write(&w, t);
    return writer_finish(&w);
}

/* What one member does with a commit. */
static enum err receive(struct world *w, const struct tree *t, struct member *m,
                        const struct update_path *up,
                        const struct path_scope *scope,
                        const struct new_path *np)
{
    CLEANUP(secret_clear) struct secret opened = {0};
    if (leaf_set_has(scope->added, m->private.leaf)) {
        const struct secret *given = treekem_secret_for(np, m->private.leaf);
        TRY(treekem_join(w->c, t, &m->private, scope->sender, given));
    } else {
        TRY(treekem_open(w->c, t, &m->private, up, scope, &opened));
        if (!secret_equal(&opened, &np->commit_secret))
            return ERR_STATE;
    }
    return treekem_private_check(w->c, w->suite, &m->private, t);
}

enum err world_commit(struct world *w, struct tree **t, struct member *members,
                      size_t count, size_t committer, struct leaf_set added)
{
    CLEANUP(tree_free) struct tree *mine = NULL;
    CLEANUP(tree_free) struct tree *theirs = NULL;
    CLEANUP(new_path_clear) struct new_path np = {0};
    CLEANUP(buf_clear) struct buf sealed = buf_new(MLS_MESSAGE_MAX);
    struct member *by = &members[committer];
    struct update_path up;
    struct path_scope scope = {by->private.leaf, TEST_GROUP,
                               BYTES_LIT("context"), added};
    struct new_leaf leaf = {tree_leaf(*t, by->private.leaf), &by->signature_key,
                            TEST_GROUP};
    TRY(tree_fork(*t, &mine));
    TRY(tree_fork(*t, &theirs));
    treekem_private_prune(&by->private, mine);
    TRY(treekem_create(w->c, &w->rnd, mine, &by->private, &leaf, &np));
    struct writer out = writer_to(&sealed);
    TRY(treekem_seal(w->c, &w->rnd, mine, &np, &scope, &out));
    struct reader r = reader_of(buf_bytes(&sealed));
    update_path_read(&r, &up);
    TRY(reader_finish(&r));
    TRY(treekem_merge(w->c, theirs, &up, &scope));
    for (size_t i = 0; i < count; i++) {
        struct member *m = &members[i];
        if (i == committer || m->leaf.len == 0)
            continue;
        treekem_private_prune(&m->private, theirs);
        TRY(receive(w, theirs, m, &up, &scope, &np));
    }
    tree_free(t);
    *t = theirs;
    theirs = NULL; /* handed over */
    return OK;
}
