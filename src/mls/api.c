/* SPDX-License-Identifier: Apache-2.0 */
/* The installed header, over the functions of the layer. */
#include "mls/external.h"
#include "mls/group_info.h"
#include "mls/link.h"

#include "base/mem.h"
#include "crypto/entropy.h"
#include "crypto/hash.h"
#include "crypto/sign.h"

#include <string.h>

#define SAME(name) _Static_assert((int)SOTTO_##name == (int)(name), #name)
SAME(OK);
SAME(ERR_NOMEM);
SAME(ERR_LIMIT);
SAME(ERR_MALFORMED);
SAME(ERR_INVALID);
SAME(ERR_AUTH);
SAME(ERR_STATE);
SAME(ERR_NOTFOUND);
SAME(ERR_EXISTS);
SAME(ERR_IO);
SAME(SENDER_MEMBER);
SAME(SENDER_EXTERNAL);
SAME(SENDER_NEW_MEMBER_PROPOSAL);
SAME(SENDER_NEW_MEMBER_COMMIT);
_Static_assert(SOTTO_EXTENSIONS_MAX == MLS_EXTENSIONS_MAX, "one limit");
_Static_assert(SOTTO_PROPOSAL_APP_DATA_UPDATE == PROPOSAL_APP_DATA_UPDATE &&
                   SOTTO_PROPOSAL_APP_EPHEMERAL == PROPOSAL_APP_EPHEMERAL &&
                   SOTTO_PROPOSAL_SELF_REMOVE == PROPOSAL_SELF_REMOVE,
               "the same code points");
_Static_assert(SOTTO_CREDENTIAL_BASIC == CREDENTIAL_BASIC &&
                   SOTTO_CREDENTIAL_X509 == CREDENTIAL_X509,
               "the same code points");

uint32_t sotto_mls_abi(void) { return SOTTO_MLS_ABI; }

const char *sotto_err_text(enum sotto_err err)
{
    if (err == SOTTO_ERR_USAGE)
        return "wrong use of the library";
    return err_text((enum err)err);
}

void sotto_buf_free(struct sotto_buf *buf)
{
    mem_free(buf->data, buf->cap);
    *buf = (struct sotto_buf){0};
}

struct sotto_random sotto_random_system(void)
{
    struct random r = entropy_system();
    return (struct sotto_random){r.fill, r.ctx};
}

enum sotto_err sotto_set_allocator(void *(*alloc)(size_t size),
                                   void (*release)(void *block))
{
    if (alloc == NULL || release == NULL || !mem_set_allocator(alloc, release))
        return SOTTO_ERR_USAGE;
    return SOTTO_OK;
}

/* ---- Context ---- */

enum sotto_err sotto_mls_create(struct sotto_random random,
                                struct sotto_mls **out)
{
    if (random.fill == NULL || out == NULL)
        return SOTTO_ERR_USAGE;
    struct sotto_mls *mls = mem_alloc(sizeof(*mls));
    if (mls == NULL)
        return SOTTO_ERR_NOMEM;
    mls->random = (struct random){random.fill, random.ctx};
    enum err err = crypto_create(&mls->crypto);
    if (err != OK) {
        sotto_mls_free(&mls);
        return err_out(err);
    }
    *out = mls;
    return SOTTO_OK;
}

void sotto_mls_free(struct sotto_mls **mls)
{
    if (*mls == NULL)
        return;
    crypto_free(&(*mls)->crypto);
    for (size_t i = 0; i < SOTTO_WORKERS_MAX; i++)
        crypto_free(&(*mls)->worker_crypto[i]);
    mem_free(*mls, sizeof(**mls));
    *mls = NULL;
}

void sotto_mls_set_credential_check(struct sotto_mls *mls,
                                    struct sotto_credential_check check)
{
    mls->credential_check = check;
}

enum sotto_err sotto_mls_set_workers(struct sotto_mls *mls,
                                     struct sotto_workers workers)
{
    if (mls == NULL || (workers.run == NULL && workers.count > 0))
        return SOTTO_ERR_USAGE;
    if (workers.count > SOTTO_WORKERS_MAX)
        return SOTTO_ERR_LIMIT;
    for (size_t i = 0; i < workers.count; i++) {
        if (mls->worker_crypto[i] != NULL)
            continue;
        enum err err = crypto_create(&mls->worker_crypto[i]);
        if (err != OK)
            return err_out(err); /* what was made is used the next time */
    }
    mls->workers = workers;
    return SOTTO_OK;
}

enum sotto_err sotto_suite_at(size_t i, struct sotto_suite *out)
{
    const struct suite *s = suite_at(i);
    if (out == NULL)
        return SOTTO_ERR_USAGE;
    if (s == NULL)
        return SOTTO_ERR_NOTFOUND;
    *out = (struct sotto_suite){(uint16_t)s->id, s->name, s->kem == KEM_XWING};
    return SOTTO_OK;
}

uint16_t sotto_suite_default(void) { return SUITE_XWING_AES256; }

enum sotto_err sotto_mls_signature_keygen(struct sotto_mls *mls, uint16_t suite,
                                          struct sotto_buf *out_private,
                                          struct sotto_buf *out_public)
{
    if (mls == NULL || out_private == NULL || out_public == NULL)
        return SOTTO_ERR_USAGE;
    const struct suite *s = suite_find(suite);
    if (s == NULL)
        return SOTTO_ERR_NOTFOUND;
    CLEANUP(secret_clear) struct secret key = {0};
    CLEANUP(buf_clear) struct buf private_key = buf_new(SECRET_MAX);
    CLEANUP(buf_clear) struct buf public_key = buf_new(SIGN_PUBLIC_MAX);

    enum err err =
        sign_generate(mls->crypto, s->sign, &mls->random, &key, &public_key);
    if (err == OK)
        err = buf_copy(&private_key, secret_expose(&key));
    if (err != OK)
        return err_out(err);
    buf_give(&private_key, out_private);
    buf_give(&public_key, out_public);
    return SOTTO_OK;
}

/* ---- Leaves, extensions, KeyPackages ---- */

static struct sotto_capabilities capabilities_out(const struct capabilities *c)
{
    return (struct sotto_capabilities){
        bytes_out(c->versions), bytes_out(c->cipher_suites),
        bytes_out(c->extensions), bytes_out(c->proposals),
        bytes_out(c->credentials)};
}

static struct sotto_leaf leaf_out(const struct leaf_node *leaf)
{
    return (struct sotto_leaf){
        .credential_type = leaf->credential.type,
        .identity = bytes_out(leaf->credential.body),
        .signature_key = bytes_out(leaf->signature_key),
        .encryption_key = bytes_out(leaf->encryption_key),
        .extensions = bytes_out(leaf->extensions),
        .capabilities = capabilities_out(&leaf->capabilities),
        .not_before = leaf->not_before,
        .not_after = leaf->not_after,
    };
}

static enum err key_package_create(struct sotto_mls *mls,
                                   const struct sotto_identity *id,
                                   struct buf *message,
                                   struct buf *private_part, struct digest *ref)
{
    CLEANUP(key_package_private_clear) struct key_package_private kp = {0};

    TRY(key_package_make(mls, id, &kp));
    struct writer w = writer_to(message);
    mls_message_write_header(&w, WIRE_KEY_PACKAGE);
    writer_raw(&w, buf_bytes(&kp.encoded));
    TRY(writer_finish(&w));
    w = writer_to(private_part);
    key_package_private_write(&w, &kp);
    TRY(writer_finish(&w));
    return key_package_ref(mls->crypto, kp.suite, buf_bytes(&kp.encoded), ref);
}

static bool bad_list(const struct sotto_bytes *items, size_t count)
{
    bool wrong = items == NULL && count > 0;
    for (size_t i = 0; !wrong && i < count; i++)
        wrong = bad_view(items[i]);
    return wrong;
}

static bool bad_extensions(struct sotto_extension_list list)
{
    bool wrong = list.items == NULL && list.count > 0;
    for (size_t i = 0; !wrong && i < list.count; i++)
        wrong = bad_view(list.items[i].data);
    return wrong;
}

static bool bad_psks(struct sotto_psk_list list)
{
    bool wrong = list.items == NULL && list.count > 0;
    for (size_t i = 0; !wrong && i < list.count; i++)
        wrong = bad_view(list.items[i].id) || bad_view(list.items[i].key);
    return wrong;
}

static bool bad_resumptions(const struct sotto_resumption *items, size_t count)
{
    bool wrong = items == NULL && count > 0;
    for (size_t i = 0; !wrong && i < count; i++)
        wrong = bad_view(items[i].group_id);
    return wrong;
}

static bool bad_apps(const struct sotto_app_proposal *items, size_t count)
{
    bool wrong = items == NULL && count > 0;
    for (size_t i = 0; !wrong && i < count; i++)
        wrong = bad_view(items[i].data);
    return wrong;
}

static bool bad_app_data(const struct sotto_app_data_update *items,
                         size_t count)
{
    bool wrong = items == NULL && count > 0;
    for (size_t i = 0; !wrong && i < count; i++)
        wrong = bad_view(items[i].update);
    return wrong;
}

static bool bad_identity(const struct sotto_identity *id)
{
    return id == NULL || bad_view(id->identity) ||
           bad_list(id->certificates, id->certificate_count) ||
           (id->identity.len > 0 && id->certificate_count > 0) ||
           id->signature_private.len == 0 || bad_view(id->signature_private) ||
           bad_view(id->signature_public) || bad_extensions(id->extensions) ||
           bad_extensions(id->key_package_extensions) ||
           (id->extension_types == NULL && id->extension_type_count > 0) ||
           (id->proposal_types == NULL && id->proposal_type_count > 0) ||
           (id->credential_types == NULL && id->credential_type_count > 0);
}

enum sotto_err sotto_key_package_create(struct sotto_mls *mls,
                                        const struct sotto_identity *id,
                                        struct sotto_buf *out_message,
                                        struct sotto_buf *out_private,
                                        struct sotto_ref *out_ref)
{
    if (mls == NULL || bad_identity(id) || out_message == NULL ||
        out_private == NULL || out_ref == NULL)
        return SOTTO_ERR_USAGE;
    CLEANUP(buf_clear) struct buf message = buf_new(MLS_MESSAGE_MAX);
    CLEANUP(buf_clear) struct buf private_part = buf_new(MLS_MESSAGE_MAX);
    struct digest ref = {0};

    enum err err = key_package_create(mls, id, &message, &private_part, &ref);
    if (err != OK)
        return err_out(err);
    buf_give(&message, out_message);
    buf_give(&private_part, out_private);
    digest_out(&ref, out_ref);
    return SOTTO_OK;
}

static enum err key_package_inspect(struct sotto_mls *mls, struct bytes message,
                                    struct sotto_key_package *out)
{
    struct key_package kp = {0};
    struct digest ref = {0};

    TRY(key_package_message_read(message, &kp));
    const struct suite *s = suite_find(kp.cipher_suite);
    if (s == NULL)
        return ERR_INVALID;
    TRY(key_package_check(mls, s, &kp));
    TRY(key_package_ref(mls->crypto, s, kp.raw, &ref));
    out->suite = kp.cipher_suite;
    out->last_resort = key_package_last_resort(&kp);
    out->extensions = bytes_out(kp.extensions);
    out->leaf = leaf_out(&kp.leaf);
    digest_out(&ref, &out->ref);
    return OK;
}

enum sotto_err sotto_key_package_inspect(struct sotto_mls *mls,
                                         struct sotto_bytes message,
                                         struct sotto_key_package *out)
{
    if (mls == NULL || bad_view(message) || out == NULL)
        return SOTTO_ERR_USAGE;
    return err_out(key_package_inspect(mls, bytes_in(message), out));
}

/* ---- Groups ---- */

enum sotto_err sotto_group_create(struct sotto_mls *mls,
                                  const struct sotto_identity *id,
                                  struct sotto_bytes group_id,
                                  struct sotto_extension_list extensions,
                                  struct sotto_group **out)
{
    if (mls == NULL || bad_identity(id) || bad_view(group_id) || out == NULL ||
        bad_extensions(extensions))
        return SOTTO_ERR_USAGE;
    CLEANUP(buf_clear) struct buf encoded = buf_new(MLS_MESSAGE_MAX);
    enum err err = extension_list_encode(extensions, &encoded);
    if (err == OK)
        err =
            group_create(mls, id, bytes_in(group_id), buf_bytes(&encoded), out);
    return err_out(err);
}

static enum err welcome_ref(struct bytes message, size_t i,
                            struct sotto_ref *out)
{
    struct mls_message m = {0};
    struct reader r = reader_of(message);
    mls_message_read(&r, &m);
    TRY(reader_finish(&r));
    if (m.wire_format != WIRE_WELCOME)
        return ERR_INVALID;
    r = reader_of(m.welcome.secrets);
    for (size_t k = 0; reader_more(&r); k++) {
        struct encrypted_group_secrets egs = {0};
        encrypted_group_secrets_read(&r, &egs);
        if (k != i)
            continue;
        if (egs.new_member.len == 0 || egs.new_member.len > sizeof(out->data))
            return ERR_INVALID;
        memcpy(out->data, egs.new_member.data, egs.new_member.len);
        out->len = egs.new_member.len;
        return OK;
    }
    return ERR_NOTFOUND;
}

enum sotto_err sotto_welcome_ref(struct sotto_bytes welcome, size_t i,
                                 struct sotto_ref *out)
{
    if (bad_view(welcome) || out == NULL)
        return SOTTO_ERR_USAGE;
    return err_out(welcome_ref(bytes_in(welcome), i, out));
}

static bool bad_groups(struct sotto_group_list groups)
{
    bool wrong = groups.items == NULL && groups.count > 0;
    for (size_t i = 0; !wrong && i < groups.count; i++)
        wrong = groups.items[i] == NULL;
    return wrong;
}

enum sotto_err sotto_group_join(struct sotto_mls *mls,
                                const struct sotto_join *join,
                                struct sotto_group **out)
{
    if (mls == NULL || join == NULL || out == NULL || bad_view(join->welcome) ||
        bad_view(join->key_package_private) || bad_view(join->ratchet_tree) ||
        bad_psks(join->psks) || bad_groups(join->groups))
        return SOTTO_ERR_USAGE;
    return err_out(group_join(mls, join, out));
}

static enum err group_info_inspect(struct bytes message,
                                   struct sotto_group_info_view *out)
{
    struct group_info info = {0};
    struct bytes external_pub = {0};
    struct bytes tree = {0};

    TRY(group_info_message_read(message, &info));
    enum err err = group_info_external_pub(&info, &external_pub);
    if (err != OK && err != ERR_NOTFOUND)
        return err;
    (void)extensions_find(info.extensions, EXTENSION_RATCHET_TREE, &tree);
    *out = (struct sotto_group_info_view){
        .suite = info.context.cipher_suite,
        .group_id = bytes_out(info.context.group_id),
        .epoch = info.context.epoch,
        .group_extensions = bytes_out(info.context.extensions),
        .extensions = bytes_out(info.extensions),
        .ratchet_tree = bytes_out(tree),
        .external_pub = bytes_out(external_pub),
        .signer = info.signer};
    return OK;
}

enum sotto_err sotto_group_info_inspect(struct sotto_bytes message,
                                        struct sotto_group_info_view *out)
{
    if (bad_view(message) || out == NULL)
        return SOTTO_ERR_USAGE;
    return err_out(group_info_inspect(bytes_in(message), out));
}

static bool bad_external_join(const struct sotto_external_join *join)
{
    return join == NULL || bad_identity(join->identity) ||
           bad_view(join->group_info) || bad_view(join->ratchet_tree) ||
           bad_view(join->authenticated_data) || bad_psks(join->psks) ||
           bad_resumptions(join->resumptions, join->resumption_count) ||
           bad_groups(join->groups) ||
           bad_apps(join->app_proposals, join->app_proposal_count) ||
           bad_app_data(join->app_data, join->app_data_count) ||
           bad_list(join->self_removes, join->self_remove_count);
}

enum sotto_err sotto_group_join_external(struct sotto_mls *mls,
                                         const struct sotto_external_join *join,
                                         struct sotto_buf *out_message,
                                         struct sotto_group **out)
{
    if (mls == NULL || bad_external_join(join) || out_message == NULL ||
        out == NULL)
        return SOTTO_ERR_USAGE;
    CLEANUP(buf_clear) struct buf message = buf_new(MLS_MESSAGE_MAX);
    enum err err = group_join_external(mls, join, &message, out);
    if (err == OK)
        buf_give(&message, out_message);
    return err_out(err);
}

bool sotto_group_active(const struct sotto_group *group)
{
    return group->active;
}

uint16_t sotto_group_suite(const struct sotto_group *group)
{
    return (uint16_t)group->epoch.suite->id;
}

uint64_t sotto_group_epoch(const struct sotto_group *group)
{
    return group->epoch.fields.epoch;
}

struct sotto_bytes sotto_group_id(const struct sotto_group *group)
{
    return bytes_out(group->epoch.fields.group_id);
}

struct sotto_bytes
sotto_group_epoch_authenticator(const struct sotto_group *group)
{
    return bytes_out(secret_expose(&group->epoch.secrets.epoch_authenticator));
}

struct sotto_bytes sotto_group_extensions(const struct sotto_group *group)
{
    return bytes_out(group->epoch.fields.extensions);
}

uint32_t sotto_group_own_leaf(const struct sotto_group *group)
{
    return group->epoch.keys.leaf;
}

uint32_t sotto_group_member_count(const struct sotto_group *group)
{
    return tree_members(group->epoch.tree);
}

uint32_t sotto_group_leaf_count(const struct sotto_group *group)
{
    return tree_leaves(group->epoch.tree);
}

static enum sotto_err member_out(const struct tree *t, uint32_t leaf,
                                 struct sotto_leaf *out)
{
    const struct leaf_node *node =
        leaf < tree_leaves(t) ? tree_leaf(t, leaf) : NULL;
    if (node == NULL)
        return SOTTO_ERR_NOTFOUND;
    *out = leaf_out(node);
    return SOTTO_OK;
}

enum sotto_err sotto_group_member(const struct sotto_group *group,
                                  uint32_t leaf, struct sotto_leaf *out)
{
    if (group == NULL || out == NULL)
        return SOTTO_ERR_USAGE;
    return member_out(group->epoch.tree, leaf, out);
}

enum sotto_err sotto_group_find_member(const struct sotto_group *group,
                                       struct sotto_bytes signature_key,
                                       uint32_t *out_leaf)
{
    bool found = false;
    uint32_t leaf = 0;
    if (group == NULL || bad_view(signature_key) || out_leaf == NULL)
        return SOTTO_ERR_USAGE;
    enum err err = tree_find_signature_key(
        group->epoch.tree, bytes_in(signature_key), &found, &leaf);
    if (err != OK)
        return err_out(err);
    if (!found)
        return SOTTO_ERR_NOTFOUND;
    *out_leaf = leaf;
    return SOTTO_OK;
}

enum sotto_err sotto_group_export(struct sotto_group *group, const char *label,
                                  struct sotto_bytes context, size_t len,
                                  struct sotto_buf *out)
{
    if (group == NULL || label == NULL || bad_view(context) || out == NULL)
        return SOTTO_ERR_USAGE;
    if (!group->active)
        return SOTTO_ERR_STATE;
    CLEANUP(buf_clear) struct buf secret = buf_new(MLS_MESSAGE_MAX);
    struct kdf_label l = {bytes_str(label), bytes_in(context), len};
    enum err err = schedule_export(group->mls->crypto, group->epoch.suite,
                                   &group->epoch.secrets, &l, &secret);
    if (err == OK)
        buf_give(&secret, out);
    return err_out(err);
}

enum sotto_err sotto_group_info(struct sotto_group *group, bool with_tree,
                                struct sotto_buf *out)
{
    if (group == NULL || out == NULL)
        return SOTTO_ERR_USAGE;
    if (!group->active)
        return SOTTO_ERR_STATE;
    CLEANUP(buf_clear) struct buf info = buf_new(MLS_MESSAGE_MAX);
    struct group_info_form form = {true, with_tree, true};
    enum err err = group_info_make(group->mls, &group->epoch, form, &info);
    if (err == OK)
        buf_give(&info, out);
    return err_out(err);
}

enum sotto_err sotto_group_ratchet_tree(const struct sotto_group *group,
                                        struct sotto_buf *out)
{
    if (group == NULL || out == NULL)
        return SOTTO_ERR_USAGE;
    CLEANUP(buf_clear) struct buf tree = buf_new(MLS_MESSAGE_MAX);
    struct writer w = writer_to(&tree);
    tree_write(&w, group->epoch.tree);
    enum err err = writer_finish(&w);
    if (err == OK)
        buf_give(&tree, out);
    return err_out(err);
}

enum sotto_err sotto_group_offer_psk(struct sotto_group *group,
                                     struct sotto_psk psk)
{
    if (group == NULL || bad_view(psk.id) || bad_view(psk.key))
        return SOTTO_ERR_USAGE;
    return err_out(group_offer_psk(group, bytes_in(psk.id), bytes_in(psk.key)));
}

enum sotto_err sotto_group_offer_resumption(struct sotto_group *group,
                                            const struct sotto_group *from,
                                            uint64_t epoch)
{
    if (group == NULL || from == NULL)
        return SOTTO_ERR_USAGE;
    return err_out(group_offer_resumption(group, from, epoch));
}

/* ---- Sending ---- */

enum sotto_err sotto_group_protect(struct sotto_group *group,
                                   struct sotto_bytes authenticated_data,
                                   struct sotto_bytes plaintext, size_t bucket,
                                   struct sotto_buf *out)
{
    if (group == NULL || bad_view(authenticated_data) || bad_view(plaintext) ||
        out == NULL)
        return SOTTO_ERR_USAGE;
    CLEANUP(buf_clear) struct buf message = buf_new(MLS_MESSAGE_MAX);
    struct outgoing o = {.type = CONTENT_APPLICATION,
                         .body = bytes_in(plaintext),
                         .authenticated_data = bytes_in(authenticated_data),
                         .bucket = bucket};
    enum err err = group_protect(group, &o, &message);
    if (err == OK)
        buf_give(&message, out);
    return err_out(err);
}

void sotto_commit_out_free(struct sotto_commit_out *out)
{
    sotto_buf_free(&out->message);
    sotto_buf_free(&out->welcome);
    sotto_buf_free(&out->ratchet_tree);
}

static bool bad_change(const struct sotto_leaf_change *change)
{
    return change != NULL &&
           (bad_view(change->signature_private) ||
            bad_view(change->signature_public) ||
            bad_list(change->certificates, change->certificate_count) ||
            (change->extensions != NULL &&
             bad_extensions(*change->extensions)) ||
            (change->signature_private.len == 0) !=
                (change->signature_public.len == 0));
}

static bool bad_reinit(const struct sotto_reinit *r)
{
    return r == NULL || bad_view(r->group_id) || bad_extensions(r->extensions);
}

enum sotto_err sotto_group_commit(struct sotto_group *group,
                                  const struct sotto_commit *commit,
                                  struct sotto_commit_out *out)
{
    if (group == NULL || commit == NULL || out == NULL ||
        bad_list(commit->adds, commit->add_count) ||
        (commit->removes == NULL && commit->remove_count > 0) ||
        bad_apps(commit->app_proposals, commit->app_proposal_count) ||
        bad_app_data(commit->app_data, commit->app_data_count) ||
        bad_list(commit->psks, commit->psk_count) ||
        bad_resumptions(commit->resumptions, commit->resumption_count) ||
        (commit->refs == NULL && commit->ref_count > 0) ||
        (commit->reinit != NULL && bad_reinit(commit->reinit)) ||
        (commit->extensions != NULL && bad_extensions(*commit->extensions)) ||
        bad_view(commit->authenticated_data) || bad_change(commit->leaf))
        return SOTTO_ERR_USAGE;
    return err_out(group_commit(group, commit, NULL, out));
}

bool sotto_group_has_pending(const struct sotto_group *group)
{
    return group->pending != NULL;
}

enum sotto_err sotto_group_merge_pending(struct sotto_group *group)
{
    return group != NULL ? err_out(group_merge_pending(group))
                         : SOTTO_ERR_USAGE;
}

void sotto_group_drop_pending(struct sotto_group *group)
{
    if (group->pending == NULL)
        return;
    sotto_staged_free(&group->pending);
    group->pending_dirty = true;
}

static bool bad_proposal(const struct sotto_proposal *p)
{
    return p == NULL || bad_view(p->key_package) ||
           bad_view(p->authenticated_data) || bad_view(p->app.data) ||
           bad_view(p->app_data.update) || bad_view(p->psk_id) ||
           bad_view(p->resumption.group_id) || bad_change(p->change) ||
           bad_extensions(p->extensions) ||
           (p->kind == SOTTO_PROPOSE_REINIT && bad_reinit(p->reinit));
}

enum sotto_err sotto_group_propose(struct sotto_group *group,
                                   const struct sotto_proposal *proposal,
                                   struct sotto_buf *out)
{
    if (group == NULL || bad_proposal(proposal) || out == NULL)
        return SOTTO_ERR_USAGE;
    CLEANUP(buf_clear) struct buf message = buf_new(MLS_MESSAGE_MAX);
    enum err err = group_propose(group, proposal, &message);
    if (err == OK)
        buf_give(&message, out);
    return err_out(err);
}

enum sotto_err sotto_outsider_propose(struct sotto_mls *mls,
                                      const struct sotto_outsider *from,
                                      const struct sotto_proposal *proposal,
                                      struct sotto_buf *out)
{
    if (mls == NULL || from == NULL || bad_view(from->group_id) ||
        from->signature_private.len == 0 || bad_view(from->signature_private) ||
        (from->kind != SOTTO_SENDER_EXTERNAL &&
         from->kind != SOTTO_SENDER_NEW_MEMBER_PROPOSAL) ||
        bad_proposal(proposal) || out == NULL)
        return SOTTO_ERR_USAGE;
    CLEANUP(buf_clear) struct buf message = buf_new(MLS_MESSAGE_MAX);
    enum err err = outsider_propose(mls, from, proposal, &message);
    if (err == OK)
        buf_give(&message, out);
    return err_out(err);
}

/* ---- Receiving ---- */

void sotto_result_free(struct sotto_result *result)
{
    sotto_buf_free(&result->authenticated_data);
    sotto_buf_free(&result->content);
    sotto_staged_free(&result->staged);
    *result = (struct sotto_result){0};
}

enum sotto_err sotto_group_process(struct sotto_group *group,
                                   struct sotto_bytes message,
                                   struct sotto_result *out)
{
    if (group == NULL || bad_view(message) || out == NULL)
        return SOTTO_ERR_USAGE;
    return err_out(group_process(group, bytes_in(message), out));
}

static enum err message_peek(struct bytes message,
                             struct sotto_message_view *out)
{
    struct mls_message m = {0};
    struct reader r = reader_of(message);
    mls_message_read(&r, &m);
    TRY(reader_finish(&r));
    struct sotto_message_view v = {.wire_format = (uint16_t)m.wire_format};
    if (m.wire_format == WIRE_PUBLIC_MESSAGE) {
        const struct framed_content *c = &m.public_message.content;
        v.content_type = (uint8_t)c->type;
        v.epoch = c->epoch;
        v.group_id = bytes_out(c->group_id);
        v.authenticated_data = bytes_out(c->authenticated_data);
    } else if (m.wire_format == WIRE_PRIVATE_MESSAGE) {
        const struct private_message *p = &m.private_message;
        v.content_type = (uint8_t)p->type;
        v.epoch = p->epoch;
        v.group_id = bytes_out(p->group_id);
        v.authenticated_data = bytes_out(p->authenticated_data);
    }
    *out = v;
    return OK;
}

enum sotto_err sotto_message_peek(struct sotto_bytes message,
                                  struct sotto_message_view *out)
{
    if (bad_view(message) || out == NULL)
        return SOTTO_ERR_USAGE;
    return err_out(message_peek(bytes_in(message), out));
}

/* ---- Staged commits ---- */

static struct sotto_leaf leaf_at(const struct tree *t, uint32_t leaf)
{
    struct sotto_leaf out = {0};
    (void)member_out(t, leaf, &out);
    return out;
}

static void psk_change(const struct psk_id *id, struct sotto_change *out)
{
    bool external = id->type == PSK_EXTERNAL;
    out->kind = external ? SOTTO_CHANGE_PSK : SOTTO_CHANGE_RESUMPTION;
    out->data = bytes_out(external ? id->id : id->group_id);
    out->epoch = id->epoch;
}

static struct sotto_reinit_view reinit_out(const struct reinit *r)
{
    return (struct sotto_reinit_view){bytes_out(r->group_id), r->version,
                                      r->cipher_suite,
                                      bytes_out(r->extensions)};
}

static void change_of(const struct sotto_staged *s,
                      const struct proposal_entry *e, struct sotto_change *out)
{
    const struct proposal *p = &e->proposal;
    out->by_kind = (enum sotto_sender)e->sender.type;
    out->by = e->sender.type == SENDER_NEW_MEMBER_COMMIT ? s->committer
                                                         : e->sender.index;
    out->by_reference = e->by_reference;
    switch (p->type) {
    case PROPOSAL_ADD:
        out->kind = SOTTO_CHANGE_ADD;
        out->leaf = e->leaf;
        out->after = leaf_out(&p->add.leaf);
        out->key_package = bytes_out(p->add.raw);
        break;
    case PROPOSAL_UPDATE:
        out->kind = SOTTO_CHANGE_UPDATE;
        out->leaf = e->leaf;
        out->before = leaf_at(s->before, e->leaf);
        out->after = leaf_out(&p->update);
        break;
    case PROPOSAL_REMOVE:
    case PROPOSAL_SELF_REMOVE:
        out->kind = SOTTO_CHANGE_REMOVE;
        out->leaf = e->leaf;
        out->before = leaf_at(s->before, e->leaf);
        break;
    case PROPOSAL_GROUP_CONTEXT_EXTENSIONS:
        out->kind = SOTTO_CHANGE_EXTENSIONS;
        out->data = bytes_out(p->extensions);
        break;
    case PROPOSAL_APP_EPHEMERAL:
        out->kind = SOTTO_CHANGE_APP;
        out->component = p->app_ephemeral.component_id;
        out->data = bytes_out(p->app_ephemeral.data);
        break;
    case PROPOSAL_APP_DATA_UPDATE:
        out->kind = p->app_data_update.op == APP_DATA_REMOVE
                        ? SOTTO_CHANGE_APP_DATA_REMOVE
                        : SOTTO_CHANGE_APP_DATA_UPDATE;
        out->component = p->app_data_update.component_id;
        out->data = bytes_out(p->app_data_update.update);
        break;
    case PROPOSAL_PSK:
        psk_change(&p->psk, out);
        break;
    case PROPOSAL_REINIT:
        out->kind = SOTTO_CHANGE_REINIT;
        out->reinit = reinit_out(&p->reinit);
        break;
    case PROPOSAL_EXTERNAL_INIT:
        out->kind = SOTTO_CHANGE_EXTERNAL_INIT;
        out->leaf = s->committer;
        out->after = leaf_at(s->next.tree, s->committer);
        break;
    default: /* no other type passes proposals_apply */
        break;
    }
}

enum sotto_err sotto_staged_change(const struct sotto_staged *staged, size_t i,
                                   struct sotto_change *out)
{
    if (staged == NULL || out == NULL)
        return SOTTO_ERR_USAGE;
    struct sotto_change change = {0};
    if (i < staged->list.count) {
        change_of(staged, &staged->list.entries[i], &change);
    } else if (i == staged->list.count && staged->has_path) {
        change.kind = SOTTO_CHANGE_PATH;
        change.by_kind = staged->external ? SOTTO_SENDER_NEW_MEMBER_COMMIT
                                          : SOTTO_SENDER_MEMBER;
        change.by = staged->committer;
        change.leaf = staged->committer;
        if (!staged->external)
            change.before = leaf_at(staged->before, staged->committer);
        change.after = leaf_at(staged->next.tree, staged->committer);
    } else {
        return SOTTO_ERR_NOTFOUND;
    }
    *out = change;
    return SOTTO_OK;
}

uint32_t sotto_staged_committer(const struct sotto_staged *staged)
{
    return staged->committer;
}

bool sotto_staged_external(const struct sotto_staged *staged)
{
    return staged->external;
}

bool sotto_staged_removes_me(const struct sotto_staged *staged)
{
    return staged->removes_own;
}

bool sotto_staged_has_path(const struct sotto_staged *staged)
{
    return staged->has_path;
}

enum sotto_err sotto_staged_member(const struct sotto_staged *staged,
                                   uint32_t leaf, struct sotto_leaf *out)
{
    if (staged == NULL || out == NULL)
        return SOTTO_ERR_USAGE;
    return member_out(staged->next.tree, leaf, out);
}

uint32_t sotto_staged_leaf_count(const struct sotto_staged *staged)
{
    return tree_leaves(staged->next.tree);
}

struct sotto_bytes sotto_staged_extensions(const struct sotto_staged *staged)
{
    return bytes_out(staged->next.fields.extensions);
}

const struct sotto_staged *sotto_group_pending(const struct sotto_group *group)
{
    return group->pending;
}

enum sotto_err sotto_group_merge(struct sotto_group *group,
                                 struct sotto_staged **staged)
{
    if (group == NULL || staged == NULL || *staged == NULL)
        return SOTTO_ERR_USAGE;
    const struct group_context *gc = &group->epoch.fields;
    if (!group->active || (*staged)->cannot || (*staged)->epoch != gc->epoch ||
        !bytes_equal(buf_bytes(&(*staged)->group_id), gc->group_id))
        return SOTTO_ERR_STATE;
    group_enter(group, staged);
    return SOTTO_OK;
}

/* ---- Groups that follow from others ---- */

enum sotto_err sotto_group_reinit(const struct sotto_group *group,
                                  struct sotto_reinit_view *out)
{
    if (group == NULL || out == NULL)
        return SOTTO_ERR_USAGE;
    const struct reinit *r = group_reinit(group);
    if (r == NULL)
        return SOTTO_ERR_NOTFOUND;
    *out = reinit_out(r);
    return SOTTO_OK;
}

static bool bad_link(const struct sotto_link *link)
{
    return link == NULL || link->from == NULL || bad_identity(link->identity) ||
           bad_list(link->adds, link->add_count) || bad_view(link->group_id) ||
           (link->extensions != NULL && bad_extensions(*link->extensions));
}

enum sotto_err sotto_group_reinitialize(struct sotto_mls *mls,
                                        const struct sotto_link *link,
                                        struct sotto_commit_out *out_commit,
                                        struct sotto_group **out)
{
    if (mls == NULL || bad_link(link) || out_commit == NULL || out == NULL)
        return SOTTO_ERR_USAGE;
    return err_out(group_reinitialize(mls, link, out_commit, out));
}

enum sotto_err sotto_group_branch(struct sotto_mls *mls,
                                  const struct sotto_link *link,
                                  struct sotto_commit_out *out_commit,
                                  struct sotto_group **out)
{
    if (mls == NULL || bad_link(link) || out_commit == NULL || out == NULL)
        return SOTTO_ERR_USAGE;
    return err_out(group_branch(mls, link, out_commit, out));
}

/* ---- Storing ---- */

enum sotto_err sotto_group_save(struct sotto_group *group,
                                const struct sotto_store *store)
{
    if (group == NULL || store == NULL)
        return SOTTO_ERR_USAGE;
    return err_out(group_save(group, store));
}

enum sotto_err sotto_group_load(struct sotto_mls *mls,
                                const struct sotto_store *store,
                                struct sotto_group **out)
{
    if (mls == NULL || store == NULL || out == NULL)
        return SOTTO_ERR_USAGE;
    return err_out(group_load(mls, store, out));
}
