/* SPDX-License-Identifier: Apache-2.0 */
/* Joining by a Welcome (RFC 9420, section 12.4.3.1). */
#include "mls/group.h"

#include "crypto/aead.h"

struct joining {
    struct sotto_mls *mls;
    const struct sotto_join *ask;
    const struct suite *suite;
    struct key_package_private own;
    struct welcome welcome; /* borrows from the message */
    struct buf secrets_plain;
    struct group_secrets secrets;
    struct secret psk_secret;
    struct buf info_plain;
    struct group_info info; /* borrows from info_plain */
    struct sotto_group *group;
};

static void joining_clear(struct joining *j)
{
    key_package_private_clear(&j->own);
    buf_clear(&j->secrets_plain);
    group_secrets_clear(&j->secrets);
    secret_clear(&j->psk_secret);
    buf_clear(&j->info_plain);
    sotto_group_free(&j->group);
}

static enum err read_welcome(struct joining *j)
{
    struct mls_message m = {0};
    struct reader r = reader_of(bytes_in(j->ask->welcome));
    mls_message_read(&r, &m);
    TRY(reader_finish(&r));
    if (m.wire_format != WIRE_WELCOME)
        return ERR_INVALID;
    TRY(key_package_private_read(bytes_in(j->ask->key_package_private),
                                 &j->own));
    if (m.welcome.cipher_suite != j->own.suite->id)
        return ERR_INVALID;
    j->welcome = m.welcome;
    j->suite = j->own.suite;
    return OK;
}

static enum err open_secrets(struct joining *j)
{
    struct crypto *c = j->mls->crypto;
    struct encrypted_group_secrets egs = {0};
    struct digest ref = {0};
    struct seal_label label = {"Welcome", j->welcome.encrypted_group_info,
                               j->own.key_package.init_key};

    TRY(key_package_ref(c, j->suite, buf_bytes(&j->own.encoded), &ref));
    TRY(welcome_find(&j->welcome, digest_bytes(&ref), &egs));
    TRY(decrypt_with_label(c, j->suite, &j->own.init_key, &label, &egs.secrets,
                           &j->secrets_plain));
    struct reader r = reader_of(buf_bytes(&j->secrets_plain));
    group_secrets_read(&r, &j->secrets);
    return reader_finish(&r);
}

/* Finds the PSKs by means of a group that has them on offer. */
static enum err open_psks(struct joining *j)
{
    CLEANUP(proposal_list_clear) struct proposal_list l = proposal_list_new();
    CLEANUP(buf_clear) struct buf raw = buf_new(MLS_MESSAGE_MAX);

    for (size_t i = 0; i < j->ask->psks.count; i++)
        TRY(group_offer_psk(j->group, bytes_in(j->ask->psks.items[i].id),
                            bytes_in(j->ask->psks.items[i].key)));
    struct reader r = reader_of(j->secrets.psks);
    while (reader_more(&r)) {
        struct proposal p = {.type = PROPOSAL_PSK};
        psk_id_read(&r, &p.psk);
        TRY(group_offer_from(j->group, j->ask->groups, &p.psk));
        buf_truncate(&raw, 0);
        struct writer w = writer_to(&raw);
        proposal_write(&w, &p);
        TRY(writer_finish(&w));
        TRY(proposal_list_add(&l, buf_bytes(&raw),
                              &(struct sender){SENDER_MEMBER, 0}, false));
    }
    TRY(reader_finish(&r));
    TRY(proposal_list_parse(&l));
    return group_psk_secret(j->group, &l, &j->psk_secret);
}

static const struct secret *psk_or_null(const struct joining *j)
{
    return j->psk_secret.len > 0 ? &j->psk_secret : NULL;
}

static enum err open_info(struct joining *j)
{
    struct crypto *c = j->mls->crypto;
    CLEANUP(secret_clear) struct secret key = {0};
    CLEANUP(secret_clear) struct secret nonce = {0};

    TRY(schedule_welcome(c, j->suite, &j->secrets.joiner_secret, psk_or_null(j),
                         &key, &nonce));
    struct aead aead = {j->suite->aead, &key, secret_expose(&nonce), {0}};
    TRY(aead_open(c, &aead, j->welcome.encrypted_group_info, &j->info_plain));
    struct reader r = reader_of(buf_bytes(&j->info_plain));
    group_info_read(&r, &j->info);
    TRY(reader_finish(&r));
    const struct group_context *gc = &j->info.context;
    return gc->version == MLS_VERSION_10 && gc->cipher_suite == j->suite->id
               ? OK
               : ERR_INVALID;
}

static enum err check_leaf(const struct joining *j,
                           const struct leaf_node *leaf)
{
    struct leaf_case at = {j->mls, j->suite, leaf->source, NULL};
    if (j->ask->now != 0 && !leaf_lives(leaf, j->ask->now))
        return ERR_INVALID;
    TRY(leaf_check_self(&at, leaf));
    return leaf_check_credential(&at, leaf);
}

/* The tree, from the GroupInfo or from beside it, as far as it can be checked
 * without keys. */
static enum err check_tree(struct joining *j, struct tree *t)
{
    struct crypto *c = j->mls->crypto;
    const struct group_context *gc = &j->info.context;
    struct digest root = {0};
    uint32_t leaf = 0;

    TRY(tree_hash(c, t, &root));
    if (!bytes_equal(digest_bytes(&root), gc->tree_hash))
        return ERR_INVALID;
    TRY(tree_check(c, t));
    TRY(tree_check_signatures(c, t, gc->group_id, 0, tree_leaves(t)));
    for (uint32_t at = 0; tree_next_member(t, at, &leaf); at = leaf + 1)
        TRY(check_leaf(j, tree_leaf(t, leaf)));
    TRY(group_extensions_check(j->mls, j->suite, (struct bytes){0},
                               gc->extensions));
    return members_check(t, gc->extensions);
}

static enum err take_tree(struct joining *j)
{
    struct epoch *e = &j->group->epoch;
    struct bytes encoded = bytes_in(j->ask->ratchet_tree);
    uint32_t own = 0;
    bool found = false;

    if (!extensions_find(j->info.extensions, EXTENSION_RATCHET_TREE,
                         &encoded) &&
        encoded.len == 0)
        return ERR_NOTFOUND;
    TRY(tree_read(j->suite, encoded, &e->tree));
    TRY(check_tree(j, e->tree));

    const struct leaf_node *leaf = &j->own.key_package.leaf;
    TRY(tree_find_signature_key(j->mls->crypto, e->tree, leaf->signature_key,
                                &found, &own));
    if (!found || !bytes_equal(tree_leaf(e->tree, own)->raw, leaf->raw))
        return ERR_INVALID;
    e->keys.leaf = own;
    secret_copy(&e->keys.key[0], &j->own.encryption_key);
    secret_copy(&e->signature_key, &j->own.signature_key);
    return OK;
}

static enum err check_info(const struct joining *j)
{
    const struct leaf_node *signer =
        tree_leaf(j->group->epoch.tree, j->info.signer);
    if (signer == NULL)
        return ERR_INVALID;
    return verify_with_label(j->mls->crypto, j->suite, signer->signature_key,
                             "GroupInfoTBS", j->info.signed_part,
                             j->info.signature);
}

static enum err derive(struct joining *j)
{
    struct crypto *c = j->mls->crypto;
    struct epoch *e = &j->group->epoch;

    TRY(epoch_set_context(e, &j->info.context));
    TRY(schedule_epoch(c, j->suite, &j->secrets.joiner_secret, psk_or_null(j),
                       buf_bytes(&e->context), &e->secrets));
    TRY(epoch_check_tag(c, e, j->info.confirmation_tag));
    TRY(epoch_set_tag(c, e, j->info.confirmation_tag));
    if (j->secrets.has_path_secret)
        TRY(treekem_join(c, e->tree, &e->keys, j->info.signer,
                         &j->secrets.path_secret));
    return epoch_open_ratchets(c, e);
}

enum err group_join(struct sotto_mls *mls, const struct sotto_join *join,
                    struct sotto_group **out)
{
    CLEANUP(joining_clear)
    struct joining j = {.mls = mls,
                        .ask = join,
                        .secrets_plain = buf_new(MLS_MESSAGE_MAX),
                        .info_plain = buf_new(MLS_MESSAGE_MAX)};

    TRY(read_welcome(&j));
    TRY(group_new(mls, j.suite, &j.group));
    TRY(open_secrets(&j));
    TRY(open_psks(&j));
    TRY(open_info(&j));
    TRY(take_tree(&j));
    TRY(check_info(&j));
    TRY(derive(&j));
    *out = j.group;
    j.group = NULL; /* handed over */
    return OK;
}
