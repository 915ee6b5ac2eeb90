/* SPDX-License-Identifier: Apache-2.0 */
#include "mls/rules.h"

#include "crypto/kem.h"
#include "crypto/sign.h"
#include "mls/app_data.h"

#define CREDENTIAL_TYPES_MAX 16U /* in use at once in one group */
#define EXTERNAL_SENDERS_MAX 256U

bool extension_type_default(uint16_t type)
{
    return type >= EXTENSION_APPLICATION_ID &&
           type <= EXTENSION_EXTERNAL_SENDERS;
}

bool proposal_type_default(uint16_t type)
{
    return type >= PROPOSAL_ADD && type <= PROPOSAL_GROUP_CONTEXT_EXTENSIONS;
}

bool capability_has(struct bytes list, uint16_t type)
{
    return !grease_is(type) && u16_list_has(list, type);
}

/* Whether each extension of `list` is one that the leaf supports. */
static bool supports_extensions(const struct leaf_node *leaf, struct bytes list,
                                bool (*has)(struct bytes list, uint16_t type))
{
    struct reader r = reader_of(list);
    while (reader_more(&r)) {
        struct extension e = {0};
        extension_read(&r, &e);
        if (!extension_type_default(e.type) &&
            !has(leaf->capabilities.extensions, e.type))
            return false;
    }
    return true;
}

enum err leaf_check_self(const struct leaf_case *at,
                         const struct leaf_node *leaf)
{
    const struct capabilities *caps = &leaf->capabilities;
    bool ok = leaf->source == at->source &&
              u16_list_has(caps->versions, MLS_VERSION_10) &&
              u16_list_has(caps->cipher_suites, (uint16_t)at->suite->id) &&
              capability_has(caps->credentials, leaf->credential.type) &&
              supports_extensions(leaf, leaf->extensions, u16_list_has);
    if (!ok)
        return ERR_INVALID;
    TRY(app_data_check(leaf->extensions));
    return credential_check_key(at->suite, &leaf->credential,
                                leaf->signature_key);
}

bool leaf_lives(const struct leaf_node *leaf, uint64_t now)
{
    return leaf->source != LEAF_KEY_PACKAGE ||
           (now >= leaf->not_before && now <= leaf->not_after);
}

static bool credential_same(const struct leaf_node *a,
                            const struct leaf_node *b)
{
    return a->credential.type == b->credential.type &&
           bytes_equal(a->credential.body, b->credential.body) &&
           bytes_equal(a->signature_key, b->signature_key);
}

enum err leaf_check_credential(const struct leaf_case *at,
                               const struct leaf_node *leaf)
{
    struct sotto_credential new_one =
        credential_out(at->suite, &leaf->credential, leaf->signature_key);
    if (at->before == NULL)
        return credential_ask(at->mls, &new_one, NULL);
    if (credential_same(at->before, leaf))
        return OK;
    struct sotto_credential old_one = credential_out(
        at->suite, &at->before->credential, at->before->signature_key);
    return credential_ask(at->mls, &new_one, &old_one);
}

static bool never_default(uint16_t type)
{
    (void)type;
    return false;
}

/* Whether `have` lists all of `wanted`, but for those that need no listing. */
static bool lists_all(struct bytes have, struct bytes wanted,
                      bool (*is_default)(uint16_t type))
{
    struct reader r = reader_of(wanted);
    while (reader_more(&r)) {
        uint16_t type = reader_u16(&r);
        if (!is_default(type) && !capability_has(have, type))
            return false;
    }
    return true;
}

/* RFC 9420, section 12.1.8.1 */
static enum err external_senders_check(const struct sotto_mls *mls,
                                       const struct suite *s, struct bytes list)
{
    struct reader r = reader_of(list);
    struct bytes after = reader_enter(&r);
    for (size_t n = 0; reader_more(&r); n++) {
        struct external_sender sender = {0};
        external_sender_read(&r, &sender);
        if (n == EXTERNAL_SENDERS_MAX)
            return ERR_LIMIT;
        TRY(r.err);
        struct sotto_credential c =
            credential_out(s, &sender.credential, sender.signature_key);
        TRY(sign_check(mls->crypto, s->sign, sender.signature_key));
        TRY(credential_check_key(s, &sender.credential, sender.signature_key));
        TRY(credential_ask(mls, &c, NULL));
    }
    reader_leave(&r, after);
    return reader_finish(&r);
}

enum err group_extensions_check(const struct sotto_mls *mls,
                                const struct suite *s, struct bytes before,
                                struct bytes extensions)
{
    struct bytes old_senders = {0};
    struct bytes senders = {0};
    TRY(app_data_check(extensions));
    if (!extensions_find(extensions, EXTENSION_EXTERNAL_SENDERS, &senders))
        return OK;
    if (extensions_find(before, EXTENSION_EXTERNAL_SENDERS, &old_senders) &&
        bytes_equal(old_senders, senders))
        return OK;
    return external_senders_check(mls, s, senders);
}

enum err leaf_check_group(const struct leaf_node *leaf,
                          struct bytes group_extensions)
{
    struct bytes data = {0};
    struct required_capabilities rc = {0};

    if (!supports_extensions(leaf, group_extensions, capability_has) ||
        !app_data_supported(leaf->extensions, group_extensions))
        return ERR_INVALID;
    if (!extensions_find(group_extensions, EXTENSION_REQUIRED_CAPABILITIES,
                         &data))
        return OK;

    struct reader r = reader_of(data);
    required_capabilities_read(&r, &rc);
    TRY(reader_finish(&r));
    const struct capabilities *caps = &leaf->capabilities;
    bool ok =
        lists_all(caps->extensions, rc.extensions, extension_type_default) &&
        lists_all(caps->proposals, rc.proposals, proposal_type_default) &&
        lists_all(caps->credentials, rc.credentials, never_default);
    return ok ? OK : ERR_INVALID;
}

/* RFC 9420, section 10.1 */
enum err key_package_verify(struct crypto *c, const struct suite *s,
                            const struct key_package *kp)
{
    struct leaf_case at = {NULL, s, LEAF_KEY_PACKAGE, NULL};

    if (kp->version != MLS_VERSION_10 || kp->cipher_suite != s->id ||
        bytes_equal(kp->init_key, kp->leaf.encryption_key))
        return ERR_INVALID;
    TRY(app_data_check(kp->extensions));
    TRY(leaf_check_self(&at, &kp->leaf));
    TRY(kem_check(c, s->kem, kp->init_key));
    TRY(kem_check(c, s->kem, kp->leaf.encryption_key));
    TRY(leaf_node_verify(c, s, &kp->leaf, (struct bytes){0}, 0));
    return verify_with_label(c, s, kp->leaf.signature_key, "KeyPackageTBS",
                             kp->signed_part, kp->signature);
}

enum err key_package_check(const struct sotto_mls *mls, const struct suite *s,
                           const struct key_package *kp)
{
    struct leaf_case at = {mls, s, LEAF_KEY_PACKAGE, NULL};
    TRY(key_package_verify(mls->crypto, s, kp));
    return leaf_check_credential(&at, &kp->leaf);
}

struct credential_types {
    uint16_t type[CREDENTIAL_TYPES_MAX];
    size_t count;
};

static enum err credential_types_add(struct credential_types *set,
                                     uint16_t type)
{
    for (size_t i = 0; i < set->count; i++)
        if (set->type[i] == type)
            return OK;
    if (set->count == CREDENTIAL_TYPES_MAX)
        return ERR_INVALID;
    set->type[set->count++] = type;
    return OK;
}

/* "Verify that the credential type is supported by all members of the group"
 * (section 7.3), for all members at once. */
enum err members_check(const struct tree *t, struct bytes group_extensions)
{
    struct credential_types used = {0};
    uint32_t leaf = 0;

    for (uint32_t at = 0; tree_next_member(t, at, &leaf); at = leaf + 1)
        TRY(credential_types_add(&used, tree_leaf(t, leaf)->credential.type));
    for (uint32_t at = 0; tree_next_member(t, at, &leaf); at = leaf + 1) {
        const struct leaf_node *node = tree_leaf(t, leaf);
        for (size_t i = 0; i < used.count; i++)
            if (!capability_has(node->capabilities.credentials, used.type[i]))
                return ERR_INVALID;
        TRY(leaf_check_group(node, group_extensions));
    }
    return OK;
}

enum err replaced_leaf_check(const struct tree *t,
                             const struct leaf_node *before,
                             const struct leaf_node *leaf,
                             struct bytes group_extensions)
{
    bool same = before->credential.type == leaf->credential.type &&
                bytes_equal(before->capabilities.credentials,
                            leaf->capabilities.credentials);
    return same ? leaf_check_group(leaf, group_extensions)
                : members_check(t, group_extensions);
}

enum err members_check_proposal(const struct tree *t, uint16_t type,
                                struct leaf_set without)
{
    uint32_t leaf = 0;
    for (uint32_t at = 0; tree_next_member(t, at, &leaf); at = leaf + 1) {
        const struct leaf_node *node = tree_leaf(t, leaf);
        if (!leaf_set_has(without, leaf) &&
            !capability_has(node->capabilities.proposals, type))
            return ERR_INVALID;
    }
    return OK;
}
