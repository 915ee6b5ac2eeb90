/* SPDX-License-Identifier: Apache-2.0 */
#include "mls/welcome.h"

#include "crypto/aead.h"
#include "mls/group_info.h"

static enum err seal_info(struct sotto_mls *mls,
                          const struct welcome_source *source, struct buf *out)
{
    const struct epoch *e = source->epoch;
    CLEANUP(buf_clear) struct buf info = buf_new(MLS_MESSAGE_MAX);
    CLEANUP(secret_clear) struct secret key = {0};
    CLEANUP(secret_clear) struct secret nonce = {0};
    struct group_info_form form = {.with_tree = source->with_tree};

    TRY(group_info_make(mls, e, form, &info));
    TRY(schedule_welcome(mls->crypto, e->suite, source->joiner_secret,
                         source->psk_secret, &key, &nonce));
    struct aead aead = {e->suite->aead, &key, secret_expose(&nonce), {0}};
    return aead_seal(mls->crypto, &aead, buf_bytes(&info), out);
}

/* The ids of the PSKs that a joiner needs, in the order of the list. */
static enum err psk_ids_encode(const struct proposal_list *l, struct buf *out)
{
    struct writer w = writer_to(out);
    for (size_t i = 0; i < l->count; i++)
        if (l->entries[i].proposal.type == PROPOSAL_PSK)
            psk_id_write(&w, &l->entries[i].proposal.psk);
    return writer_finish(&w);
}

/* What all new members get, but for their path secrets. */
struct welcome_parts {
    struct buf psks;
    struct buf info; /* encrypted */
    struct secret prepared;
};

static void welcome_parts_clear(struct welcome_parts *p)
{
    buf_clear(&p->psks);
    buf_clear(&p->info);
    secret_clear(&p->prepared);
}

static enum err secrets_encode(const struct welcome_source *source,
                               uint32_t leaf, const struct welcome_parts *parts,
                               struct buf *out)
{
    CLEANUP(group_secrets_clear)
    struct group_secrets gs = {.psks = buf_bytes(&parts->psks)};
    secret_copy(&gs.joiner_secret, source->joiner_secret);
    const struct secret *path_secret =
        source->path != NULL ? treekem_secret_for(source->path, leaf) : NULL;
    if (path_secret != NULL) {
        gs.has_path_secret = true;
        secret_copy(&gs.path_secret, path_secret);
    }
    struct writer w = writer_to(out);
    group_secrets_write(&w, &gs);
    return writer_finish(&w);
}

/* Writes the EncryptedGroupSecrets of one new member. */
static enum err seal_secrets(struct sotto_mls *mls,
                             const struct welcome_source *source,
                             const struct proposal_entry *add,
                             const struct welcome_parts *parts,
                             struct writer *w)
{
    const struct suite *s = source->epoch->suite;
    const struct key_package *kp = &add->proposal.add;
    CLEANUP(buf_clear) struct buf plain = buf_new(MLS_MESSAGE_MAX);
    struct digest ref = {0};
    struct seal_label label = {"Welcome", buf_bytes(&parts->info), kp->init_key,
                               &parts->prepared};

    TRY(secrets_encode(source, add->leaf, parts, &plain));
    TRY(key_package_ref(mls->crypto, s, kp->raw, &ref));
    writer_vec(w, digest_bytes(&ref));
    return encrypt_with_label(mls->crypto, s, &mls->random, &label,
                              buf_bytes(&plain), w);
}

enum err welcome_make(struct sotto_mls *mls,
                      const struct welcome_source *source, struct buf *out)
{
    CLEANUP(welcome_parts_clear)
    struct welcome_parts parts = {.psks = buf_new(MLS_MESSAGE_MAX),
                                  .info = buf_new(MLS_MESSAGE_MAX)};
    CLEANUP(buf_clear) struct buf secrets = buf_new(MLS_MESSAGE_MAX);
    const struct proposal_list *l = source->list;

    TRY(psk_ids_encode(l, &parts.psks));
    TRY(seal_info(mls, source, &parts.info));
    struct seal_label label = {.label = "Welcome",
                               .context = buf_bytes(&parts.info)};
    TRY(seal_prepare(mls->crypto, source->epoch->suite, &label,
                     &parts.prepared));
    struct writer w = writer_to(&secrets);
    for (size_t i = 0; i < l->count; i++)
        if (l->entries[i].proposal.type == PROPOSAL_ADD)
            TRY(seal_secrets(mls, source, &l->entries[i], &parts, &w));
    TRY(writer_finish(&w));

    struct welcome welcome = {.cipher_suite =
                                  (uint16_t)source->epoch->suite->id,
                              .secrets = buf_bytes(&secrets),
                              .encrypted_group_info = buf_bytes(&parts.info)};
    w = writer_to(out);
    mls_message_write_header(&w, WIRE_WELCOME);
    welcome_write(&w, &welcome);
    return writer_finish(&w);
}
