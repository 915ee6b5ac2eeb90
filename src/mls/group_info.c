/* SPDX-License-Identifier: Apache-2.0 */
#include "mls/group_info.h"

#include "crypto/kem.h"
#include "mls/app_data.h"
#include "mls/key_package.h"
#include "mls/workers.h"

static enum err info_extensions(struct crypto *c, const struct epoch *e,
                                struct group_info_form form, struct buf *out)
{
    struct writer w = writer_to(out);
    if (form.with_tree) {
        CLEANUP(buf_clear) struct buf tree = buf_new(MLS_MESSAGE_MAX);
        struct writer tw = writer_to(&tree);
        tree_write(&tw, e->tree);
        TRY(writer_finish(&tw));
        extension_write(
            &w, &(struct extension){EXTENSION_RATCHET_TREE, buf_bytes(&tree)});
    }
    if (form.with_external_pub) {
        CLEANUP(buf_clear) struct buf data = buf_new(KEM_PUBLIC_MAX + 4);
        CLEANUP(buf_clear) struct buf key = buf_new(KEM_PUBLIC_MAX);
        CLEANUP(secret_clear) struct secret private_key = {0};
        TRY(schedule_external(c, e->suite, &e->secrets, &private_key, &key));
        struct writer kw = writer_to(&data);
        writer_vec(&kw, buf_bytes(&key));
        TRY(writer_finish(&kw));
        extension_write(
            &w, &(struct extension){EXTENSION_EXTERNAL_PUB, buf_bytes(&data)});
    }
    return writer_finish(&w);
}

/* A member whose leaf has GREASE adds some to what it tells about the group. */
static enum err info_grease(const struct sotto_mls *mls, const struct epoch *e,
                            struct buf *out)
{
    const struct leaf_node *own = tree_leaf(e->tree, e->keys.leaf);
    if (own == NULL) /* only fuzzing signs for a leaf that is not there */
        return OK;
    struct reader r = reader_of(own->capabilities.extensions);
    struct writer w = writer_to(out);
    while (reader_more(&r)) {
        uint16_t type = reader_u16(&r);
        if (grease_is(type)) {
            grease_write(&w, &mls->random, type);
            break;
        }
    }
    return writer_finish(&w);
}

enum err group_info_make(struct sotto_mls *mls, const struct epoch *e,
                         struct group_info_form form, struct buf *out)
{
    struct crypto *c = mls->crypto;
    CLEANUP(buf_clear) struct buf extensions = buf_new(MLS_MESSAGE_MAX);
    CLEANUP(buf_clear) struct buf tbs = buf_new(MLS_MESSAGE_MAX);
    CLEANUP(buf_clear) struct buf signature = buf_new(e->suite->sign_max);

    TRY(info_extensions(c, e, form, &extensions));
    TRY(info_grease(mls, e, &extensions));
    struct group_info info = {.context = e->fields,
                              .extensions = buf_bytes(&extensions),
                              .confirmation_tag =
                                  digest_bytes(&e->confirmation_tag),
                              .signer = e->keys.leaf};
    struct writer w = writer_to(&tbs);
    group_info_write_unsigned(&w, &info);
    TRY(writer_finish(&w));
    TRY(sign_with_label(c, e->suite, &e->signature_key, "GroupInfoTBS",
                        buf_bytes(&tbs), &signature));
    info.signature = buf_bytes(&signature);

    w = writer_to(out);
    if (form.message)
        mls_message_write_header(&w, WIRE_GROUP_INFO);
    group_info_write(&w, &info);
    return writer_finish(&w);
}

enum err group_info_message_read(struct bytes message, struct group_info *out)
{
    struct mls_message m = {0};
    struct reader r = reader_of(message);
    mls_message_read(&r, &m);
    TRY(reader_finish(&r));
    if (m.wire_format != WIRE_GROUP_INFO)
        return ERR_INVALID;
    *out = m.group_info;
    return OK;
}

enum err group_info_external_pub(const struct group_info *info,
                                 struct bytes *out)
{
    struct bytes data = {0};
    if (!extensions_find(info->extensions, EXTENSION_EXTERNAL_PUB, &data))
        return ERR_NOTFOUND;
    struct reader r = reader_of(data);
    struct bytes key = reader_vec(&r);
    TRY(reader_finish(&r));
    *out = key;
    return OK;
}

/* ---- Checks of a joiner ---- */

static enum err check_leaf(const struct info_case *at,
                           const struct leaf_node *leaf)
{
    struct leaf_case leaf_at = {at->mls, at->suite, leaf->source, NULL};
    if (at->now != 0 && !leaf_lives(leaf, at->now))
        return ERR_INVALID;
    TRY(leaf_check_self(&leaf_at, leaf));
    return leaf_check_credential(&leaf_at, leaf);
}

struct leaves {
    const struct tree *tree;
    struct bytes group_id;
};

static enum err verify_leaves(struct crypto *c, const void *arg, size_t from,
                              size_t to)
{
    const struct leaves *l = arg;
    return tree_check_signatures(c, l->tree, l->group_id, (uint32_t)from,
                                 (uint32_t)to);
}

static enum err check_tree(const struct info_case *at, struct tree *t)
{
    struct crypto *c = at->mls->crypto;
    const struct group_context *gc = &at->info->context;
    struct digest root = {0};
    uint32_t leaf = 0;

    TRY(tree_hash(c, t, &root));
    if (!bytes_equal(digest_bytes(&root), gc->tree_hash))
        return ERR_INVALID;
    TRY(tree_check(c, t));
    const struct leaves leaves = {t, gc->group_id};
    TRY(workers_do(at->mls,
                   &(struct job){verify_leaves, &leaves, tree_leaves(t)}));
    for (uint32_t i = 0; tree_next_member(t, i, &leaf); i = leaf + 1)
        TRY(check_leaf(at, tree_leaf(t, leaf)));
    TRY(app_data_check(at->info->extensions));
    TRY(group_extensions_check(at->mls, at->suite, (struct bytes){0},
                               gc->extensions));
    return members_check(t, gc->extensions);
}

static enum err check_signature(const struct info_case *at,
                                const struct tree *t)
{
    const struct group_info *info = at->info;
    const struct leaf_node *signer = tree_leaf(t, info->signer);
    if (signer == NULL)
        return ERR_INVALID;
    return verify_with_label(at->mls->crypto, at->suite, signer->signature_key,
                             "GroupInfoTBS", info->signed_part,
                             info->signature);
}

enum err group_info_check(const struct info_case *at, struct tree **out_tree)
{
    CLEANUP(tree_free) struct tree *t = NULL;
    const struct group_context *gc = &at->info->context;
    struct bytes encoded = at->ratchet_tree;

    if (gc->version != MLS_VERSION_10 || gc->cipher_suite != at->suite->id)
        return ERR_INVALID;
    if (!extensions_find(at->info->extensions, EXTENSION_RATCHET_TREE,
                         &encoded) &&
        encoded.len == 0)
        return ERR_NOTFOUND;
    TRY(tree_read(at->suite, encoded, &t));
    TRY(check_tree(at, t));
    TRY(check_signature(at, t));
    *out_tree = t;
    t = NULL; /* handed over */
    return OK;
}
