/* SPDX-License-Identifier: Apache-2.0 */
/* Joining by a Welcome (RFC 9420, section 12.4.3.1). */
#include "mls/group_info.h"
#include "mls/link.h"

#include "crypto/aead.h"

struct joining {
    struct sotto_mls *mls;
    const struct sotto_join *ask;
    const struct suite *suite;
    struct key_package_private own;
    struct welcome welcome; /* borrows from the message */
    struct buf secrets_plain;
    struct group_secrets secrets;
    struct psk_id link; /* the PSK that binds to an older group; or zeros */
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
                               j->own.key_package.init_key, NULL};

    TRY(key_package_ref(c, j->suite, buf_bytes(&j->own.encoded), &ref));
    TRY(welcome_find(&j->welcome, digest_bytes(&ref), &egs));
    TRY(decrypt_with_label(c, j->suite, &j->own.init_key, &label, &egs.secrets,
                           &j->secrets_plain));
    struct reader r = reader_of(buf_bytes(&j->secrets_plain));
    group_secrets_read(&r, &j->secrets);
    return reader_finish(&r);
}

/* "if a PreSharedKeyID has type resumption with usage reinit or branch, verify
 * that it is the only such PSK" */
static enum err note_psk(struct joining *j, const struct psk_id *id)
{
    TRY(psk_id_check(j->suite, id, id->usage));
    if (psk_id_links(id)) {
        if (j->link.type != 0)
            return ERR_INVALID;
        j->link = *id;
    }
    return group_offer_from(j->group, j->ask->groups, id);
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
        TRY(note_psk(j, &p.psk));
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
    return reader_finish(&r);
}

static enum err take_tree(struct joining *j)
{
    struct epoch *e = &j->group->epoch;
    struct info_case at = {j->mls, j->suite, &j->info,
                           bytes_in(j->ask->ratchet_tree), j->ask->now};
    uint32_t own = 0;
    bool found = false;

    TRY(group_info_check(&at, &e->tree));
    const struct leaf_node *leaf = &j->own.key_package.leaf;
    TRY(tree_find_signature_key(e->tree, leaf->signature_key, &found, &own));
    if (!found || !bytes_equal(tree_leaf(e->tree, own)->raw, leaf->raw))
        return ERR_INVALID;
    e->keys.leaf = own;
    secret_copy(&e->keys.key[0], &j->own.encryption_key);
    secret_copy(&e->signature_key, &j->own.signature_key);
    return OK;
}

/* Anybody can welcome us to a group of the id that a ReInit announced; the PSK
 * shows that it is a member of the old one. */
static bool is_announced(const struct joining *j)
{
    for (size_t i = 0; i < j->ask->groups.count; i++) {
        const struct reinit *r = group_reinit(j->ask->groups.items[i]);
        if (r != NULL && bytes_equal(r->group_id, j->info.context.group_id))
            return true;
    }
    return false;
}

static enum err check_link(const struct joining *j)
{
    bool announced = is_announced(j);
    if (j->link.type == 0)
        return announced ? ERR_INVALID : OK;
    struct link_case at = {resumption_source(j->ask->groups, &j->link),
                           &j->link, j->ask->members_unchecked};
    if (at.from == NULL)
        return ERR_NOTFOUND;
    if (announced && j->link.usage != PSK_REINIT)
        return ERR_INVALID;
    return link_check(&at, &j->info.context, j->group->epoch.tree);
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
    TRY(check_link(&j));
    TRY(derive(&j));
    *out = j.group;
    j.group = NULL; /* handed over */
    return OK;
}
