/* SPDX-License-Identifier: Apache-2.0 */
#include "mls/rules.h"

#include "crypto/kem.h"

#define CREDENTIAL_TYPES_MAX 16U /* in use at once in one group */

bool extension_type_default(uint16_t type)
{
    return type >= EXTENSION_APPLICATION_ID &&
           type <= EXTENSION_EXTERNAL_SENDERS;
}

bool proposal_type_default(uint16_t type)
{
    return type >= PROPOSAL_ADD && type <= PROPOSAL_GROUP_CONTEXT_EXTENSIONS;
}

/* Whether each extension of `list` is one that the leaf supports. */
static bool supports_extensions(const struct leaf_node *leaf, struct bytes list)
{
    struct reader r = reader_of(list);
    while (reader_more(&r)) {
        struct extension e = {0};
        extension_read(&r, &e);
        if (!extension_type_default(e.type) &&
            !u16_list_has(leaf->capabilities.extensions, e.type))
            return false;
    }
    return true;
}

enum err leaf_check_self(const struct suite *s, const struct leaf_node *leaf)
{
    const struct capabilities *caps = &leaf->capabilities;
    bool ok = u16_list_has(caps->versions, MLS_VERSION_10) &&
              u16_list_has(caps->cipher_suites, (uint16_t)s->id) &&
              u16_list_has(caps->credentials, leaf->credential.type) &&
              supports_extensions(leaf, leaf->extensions);
    return ok ? OK : ERR_INVALID;
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
        if (!is_default(type) && !u16_list_has(have, type))
            return false;
    }
    return true;
}

enum err leaf_check_group(const struct leaf_node *leaf,
                          struct bytes group_extensions)
{
    struct bytes data = {0};
    struct required_capabilities rc = {0};

    if (!supports_extensions(leaf, group_extensions))
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
enum err key_package_check(struct crypto *c, const struct suite *s,
                           const struct key_package *kp)
{
    if (kp->version != MLS_VERSION_10 || kp->cipher_suite != s->id ||
        kp->leaf.source != LEAF_KEY_PACKAGE ||
        bytes_equal(kp->init_key, kp->leaf.encryption_key))
        return ERR_INVALID;
    TRY(leaf_check_self(s, &kp->leaf));
    TRY(kem_check(c, s->kem, kp->init_key));
    TRY(kem_check(c, s->kem, kp->leaf.encryption_key));
    TRY(leaf_node_verify(c, s, &kp->leaf, (struct bytes){0}, 0));
    return verify_with_label(c, s, kp->leaf.signature_key, "KeyPackageTBS",
                             kp->signed_part, kp->signature);
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
            if (!u16_list_has(node->capabilities.credentials, used.type[i]))
                return ERR_INVALID;
        TRY(leaf_check_group(node, group_extensions));
    }
    return OK;
}

enum err members_check_proposal(const struct tree *t, uint16_t type,
                                struct leaf_set without)
{
    uint32_t leaf = 0;
    for (uint32_t at = 0; tree_next_member(t, at, &leaf); at = leaf + 1) {
        const struct leaf_node *node = tree_leaf(t, leaf);
        if (!leaf_set_has(without, leaf) &&
            !u16_list_has(node->capabilities.proposals, type))
            return ERR_INVALID;
    }
    return OK;
}
