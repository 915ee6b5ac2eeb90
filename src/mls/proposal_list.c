/* SPDX-License-Identifier: Apache-2.0 */
#include "mls/proposal_list.h"
#include "mls/app_data.h"
#include "mls/workers.h"

#include "base/mem.h"
#include "crypto/kem.h"

#include <stdlib.h>

struct proposal_list proposal_list_new(void)
{
    return (struct proposal_list){.raw = buf_new(MLS_MESSAGE_MAX)};
}

static void entries_clear(struct proposal_list *l)
{
    mem_free(l->entries, l->cap * sizeof(*l->entries));
    l->entries = NULL;
    l->cap = 0;
}

void proposal_list_clear(struct proposal_list *l)
{
    entries_clear(l);
    buf_clear(&l->raw);
    l->count = 0;
}

/* (type - 1) << 1 | flag: for members, the flag alone */

void sender_type_write(struct writer *w, enum sender_type type, bool flag)
{
    writer_u8(w, (uint8_t)((type - SENDER_MEMBER) << 1 | flag));
}

bool sender_type_read(struct reader *r, enum sender_type *type)
{
    uint8_t both = reader_u8(r);
    *type = SENDER_MEMBER + (both >> 1);
    if (*type > SENDER_NEW_MEMBER_COMMIT)
        reader_fail(r, ERR_MALFORMED);
    return r->err == OK && (both & 1) != 0;
}

enum err proposal_list_add(struct proposal_list *l, struct bytes raw,
                           const struct sender *sender, bool by_reference)
{
    if (l->count == PROPOSALS_MAX)
        return ERR_LIMIT;
    struct writer w = writer_to(&l->raw);
    writer_u32(&w, sender->index);
    sender_type_write(&w, sender->type, by_reference);
    writer_raw(&w, raw);
    TRY(writer_finish(&w));
    l->count++;
    return OK;
}

/* The leaf that a proposal is about; an add gets one when it is applied. */
static uint32_t entry_leaf(const struct proposal_entry *e)
{
    switch (e->proposal.type) {
    case PROPOSAL_REMOVE:
        return e->proposal.remove;
    case PROPOSAL_UPDATE:
    case PROPOSAL_SELF_REMOVE:
        return e->sender.index;
    default: /* a type may be no enumerator */
        return 0;
    }
}

static void entry_read(struct reader *r, struct proposal_entry *e)
{
    e->sender.index = reader_u32(r);
    e->by_reference = sender_type_read(r, &e->sender.type);
    proposal_read(r, &e->proposal);
    e->leaf = entry_leaf(e);
}

enum err proposal_list_parse(struct proposal_list *l)
{
    entries_clear(l);
    if (l->count == 0)
        return OK;
    l->entries = mem_alloc(l->count * sizeof(*l->entries));
    if (l->entries == NULL)
        return ERR_NOMEM;
    l->cap = l->count;

    struct reader r = reader_of(buf_bytes(&l->raw));
    for (size_t i = 0; i < l->count; i++)
        entry_read(&r, &l->entries[i]);
    return reader_finish(&r);
}

void proposal_list_write(struct writer *w, const struct proposal_list *l)
{
    writer_u32(w, (uint32_t)l->count);
    for (size_t i = 0; i < l->count; i++)
        writer_u32(w, l->entries[i].leaf);
    writer_vec(w, buf_bytes(&l->raw));
}

enum err proposal_list_read(struct reader *r, struct proposal_list *l)
{
    l->count = reader_u32(r);
    if (l->count > PROPOSALS_MAX)
        reader_fail(r, ERR_MALFORMED);
    struct bytes leaves = reader_raw(r, l->count * sizeof(uint32_t));
    struct bytes raw = reader_vec(r);
    TRY(r->err);
    TRY(buf_copy(&l->raw, raw));
    TRY(proposal_list_parse(l));

    struct reader at = reader_of(leaves);
    for (size_t i = 0; i < l->count; i++)
        l->entries[i].leaf = reader_u32(&at);
    return OK;
}

void changes_clear(struct changes *ch)
{
    mem_free(ch->added, ch->added_cap * sizeof(*ch->added));
    buf_clear(&ch->rewritten);
    *ch = (struct changes){0};
}

struct leaf_set changes_added(const struct changes *ch)
{
    return (struct leaf_set){ch->added, ch->added_count};
}

/* ---- Each type of proposal (sections 12.1 and 12.4) ---- */

enum {
    FROM_MEMBER = 1U << SENDER_MEMBER, /* who may send it by itself */
    FROM_EXTERNAL = 1U << SENDER_EXTERNAL,
    FROM_JOINER = 1U << SENDER_NEW_MEMBER_PROPOSAL,
    IN_REGULAR = 1U << 8, /* commits that may hold it */
    IN_EXTERNAL = 1U << 9,
    BY_REFERENCE_ONLY = 1U << 10,
    NEEDS_PATH = 1U << 11,
};

static const struct proposal_rule {
    uint16_t type;
    unsigned flags;
} rules[] = {
    {PROPOSAL_ADD, FROM_MEMBER | FROM_EXTERNAL | FROM_JOINER | IN_REGULAR},
    {PROPOSAL_UPDATE,
     FROM_MEMBER | IN_REGULAR | BY_REFERENCE_ONLY | NEEDS_PATH},
    {PROPOSAL_REMOVE,
     FROM_MEMBER | FROM_EXTERNAL | IN_REGULAR | IN_EXTERNAL | NEEDS_PATH},
    {PROPOSAL_PSK, FROM_MEMBER | FROM_EXTERNAL | IN_REGULAR | IN_EXTERNAL},
    {PROPOSAL_REINIT, FROM_MEMBER | FROM_EXTERNAL | IN_REGULAR},
    {PROPOSAL_EXTERNAL_INIT, IN_EXTERNAL | NEEDS_PATH},
    {PROPOSAL_GROUP_CONTEXT_EXTENSIONS,
     FROM_MEMBER | FROM_EXTERNAL | IN_REGULAR | NEEDS_PATH},
    /* draft-ietf-mls-extensions */
    {PROPOSAL_APP_DATA_UPDATE,
     FROM_MEMBER | FROM_EXTERNAL | IN_REGULAR | IN_EXTERNAL},
    {PROPOSAL_APP_EPHEMERAL,
     FROM_MEMBER | FROM_EXTERNAL | IN_REGULAR | IN_EXTERNAL},
    {PROPOSAL_SELF_REMOVE,
     FROM_MEMBER | IN_REGULAR | IN_EXTERNAL | BY_REFERENCE_ONLY | NEEDS_PATH},
};
#define RULE_COUNT (sizeof(rules) / sizeof(rules[0]))

/* 0 for what we do not say that we support. */
static unsigned flags_of(uint16_t type)
{
    for (size_t i = 0; i < RULE_COUNT; i++)
        if (rules[i].type == type)
            return rules[i].flags;
    return 0;
}

bool proposal_may_come_from(uint16_t type, enum sender_type sender)
{
    return (flags_of(type) & 1U << sender) != 0;
}

/* ---- The rules of a list (section 12.2) ---- */

static size_t count_type(const struct proposal_list *l, uint16_t type)
{
    size_t n = 0;
    for (size_t i = 0; i < l->count; i++)
        n += l->entries[i].proposal.type == type;
    return n;
}

static int leaf_order(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static bool is_change_of_leaf(const struct proposal_entry *e)
{
    return e->proposal.type == PROPOSAL_UPDATE ||
           e->proposal.type == PROPOSAL_REMOVE ||
           e->proposal.type == PROPOSAL_SELF_REMOVE;
}

/* "multiple Update and/or Remove proposals that apply to the same leaf" */
static enum err check_one_change_per_leaf(const struct proposal_list *l)
{
    size_t room = l->count * sizeof(uint32_t);
    size_t n = 0;
    if (room == 0)
        return OK;
    uint32_t *leaves = mem_alloc(room);
    if (leaves == NULL)
        return ERR_NOMEM;

    for (size_t i = 0; i < l->count; i++)
        if (is_change_of_leaf(&l->entries[i]))
            leaves[n++] = l->entries[i].leaf;
    qsort(leaves, n, sizeof(*leaves), leaf_order);
    bool twice = false;
    for (size_t i = 1; i < n; i++)
        twice = twice || leaves[i] == leaves[i - 1];
    mem_free(leaves, room);
    return twice ? ERR_INVALID : OK;
}

static bool psk_same(const struct psk_id *a, const struct psk_id *b)
{
    return a->type == b->type && a->usage == b->usage && a->epoch == b->epoch &&
           bytes_equal(a->id, b->id) && bytes_equal(a->group_id, b->group_id) &&
           bytes_equal(a->nonce, b->nonce);
}

bool psk_id_links(const struct psk_id *id)
{
    return id->type == PSK_RESUMPTION && id->usage != PSK_APPLICATION;
}

enum err psk_id_check(const struct suite *s, const struct psk_id *id,
                      enum psk_usage link)
{
    if (id->nonce.len != s->nh || (psk_id_links(id) && id->usage != link))
        return ERR_INVALID;
    return OK;
}

static enum err check_psks(const struct proposal_scope *scope,
                           const struct proposal_list *l)
{
    size_t n = count_type(l, PROPOSAL_PSK);
    size_t links = 0;
    if (n > MLS_PSKS_MAX)
        return ERR_LIMIT;
    for (size_t i = 0; n > 0 && i < l->count; i++) {
        const struct proposal *a = &l->entries[i].proposal;
        if (a->type != PROPOSAL_PSK)
            continue;
        TRY(psk_id_check(scope->suite, &a->psk, scope->link));
        links += psk_id_links(&a->psk);
        if (links > 1) /* a group follows from one other */
            return ERR_INVALID;
        for (size_t k = 0; k < i; k++) {
            const struct proposal *b = &l->entries[k].proposal;
            if (b->type == PROPOSAL_PSK && psk_same(&a->psk, &b->psk))
                return ERR_INVALID;
        }
    }
    return OK;
}

static bool is_external(const struct proposal_scope *scope)
{
    return scope->committer.type == SENDER_NEW_MEMBER_COMMIT;
}

/* Whether the commit may hold the entry, by what stands in it alone. */
static enum err check_entry(const struct proposal_scope *scope,
                            const struct proposal_entry *e)
{
    unsigned flags = flags_of(e->proposal.type);
    bool of_committer = !is_external(scope) &&
                        e->sender.type == SENDER_MEMBER &&
                        e->sender.index == scope->committer.index;

    if ((flags & (is_external(scope) ? IN_EXTERNAL : IN_REGULAR)) == 0)
        return ERR_INVALID;
    if (e->by_reference &&
        !proposal_may_come_from(e->proposal.type, e->sender.type))
        return ERR_INVALID;
    if (!e->by_reference && (flags & BY_REFERENCE_ONLY) != 0)
        return ERR_INVALID;
    /* An external joiner cannot know what was proposed in the group (section
     * 12.4.3.2), but for what is made for it. */
    if (e->by_reference && is_external(scope) &&
        e->proposal.type != PROPOSAL_SELF_REMOVE)
        return ERR_INVALID;
    switch (e->proposal.type) {
    case PROPOSAL_UPDATE: /* a committer's own path replaces its leaf */
    case PROPOSAL_SELF_REMOVE:
        return of_committer ? ERR_INVALID : OK;
    case PROPOSAL_REMOVE:
        return !is_external(scope) &&
                       e->proposal.remove == scope->committer.index
                   ? ERR_INVALID
                   : OK;
    case PROPOSAL_GROUP_CONTEXT_EXTENSIONS:
        return app_data_left_alone(scope->extensions, e->proposal.extensions)
                   ? OK
                   : ERR_INVALID;
    case PROPOSAL_REINIT: /* section 12.1.5 */
        return e->proposal.reinit.version < MLS_VERSION_10 ? ERR_INVALID : OK;
    default: /* a type may be no enumerator */
        return OK;
    }
}

static enum err check_list(const struct proposal_scope *scope,
                           const struct proposal_list *l)
{
    size_t external_inits = is_external(scope) ? 1 : 0;

    for (size_t i = 0; i < l->count; i++)
        TRY(check_entry(scope, &l->entries[i]));
    if (count_type(l, PROPOSAL_GROUP_CONTEXT_EXTENSIONS) > 1 ||
        (count_type(l, PROPOSAL_REINIT) > 0 && l->count > 1) ||
        count_type(l, PROPOSAL_EXTERNAL_INIT) != external_inits ||
        (is_external(scope) && count_type(l, PROPOSAL_REMOVE) > 1))
        return ERR_INVALID;
    TRY(check_one_change_per_leaf(l));
    return check_psks(scope, l);
}

/* ---- Application (section 12.3) ---- */

enum err proposal_verify(struct crypto *c, const struct proposal_scope *scope,
                         const struct proposal *p, uint32_t leaf)
{
    if (p->type == PROPOSAL_ADD)
        return key_package_verify(c, scope->suite, &p->add);
    if (p->type != PROPOSAL_UPDATE)
        return OK;
    TRY(kem_check(c, scope->suite->kem, p->update.encryption_key));
    return leaf_node_verify(c, scope->suite, &p->update, scope->group_id, leaf);
}

enum err proposal_check_credential(const struct proposal_scope *scope,
                                   const struct tree *before,
                                   const struct proposal *p, uint32_t leaf)
{
    struct leaf_case at = {scope->mls, scope->suite, LEAF_KEY_PACKAGE, NULL};
    if (p->type == PROPOSAL_ADD)
        return leaf_check_credential(&at, &p->add.leaf);
    if (p->type != PROPOSAL_UPDATE)
        return OK;
    at.source = LEAF_UPDATE;
    at.before = tree_leaf(before, leaf);
    return at.before == NULL ? ERR_INVALID
                             : leaf_check_credential(&at, &p->update);
}

struct entries {
    const struct proposal_scope *scope;
    const struct proposal_list *list;
};

static bool is_checked(const struct proposal_scope *scope,
                       const struct proposal_entry *e)
{
    return scope->checked && e->by_reference;
}

static enum err verify_entries(struct crypto *c, const void *arg, size_t from,
                               size_t to)
{
    const struct entries *a = arg;
    for (size_t i = from; i < to; i++) {
        const struct proposal_entry *e = &a->list->entries[i];
        if (!is_checked(a->scope, e))
            TRY(proposal_verify(c, a->scope, &e->proposal, e->leaf));
    }
    return OK;
}

/* RFC 9420, section 12.1.2; the leaf is verified */
static enum err apply_update(const struct proposal_scope *scope,
                             const struct proposal_entry *e, struct tree *fork)
{
    const struct leaf_node *leaf = &e->proposal.update;
    struct leaf_case at = {scope->mls, scope->suite, LEAF_UPDATE,
                           tree_leaf(fork, e->leaf)};

    if (at.before == NULL ||
        bytes_equal(leaf->encryption_key, at.before->encryption_key))
        return ERR_INVALID;
    TRY(leaf_check_self(&at, leaf));
    if (!is_checked(scope, e))
        TRY(proposal_check_credential(scope, fork, &e->proposal, e->leaf));
    return tree_update(fork, e->leaf, leaf);
}

/* RFC 9420, section 12.1.1; the KeyPackage is verified */
static enum err apply_add(const struct proposal_scope *scope,
                          struct proposal_entry *e, struct tree *fork,
                          struct changes *ch)
{
    const struct key_package *kp = &e->proposal.add;
    if (scope->now != 0 && !leaf_lives(&kp->leaf, scope->now))
        return ERR_INVALID;
    if (!is_checked(scope, e))
        TRY(proposal_check_credential(scope, fork, &e->proposal, 0));
    TRY(tree_add(fork, &kp->leaf, &e->leaf));
    ch->added[ch->added_count++] = e->leaf;
    return OK;
}

static enum err apply_type(const struct proposal_scope *scope, uint16_t type,
                           struct proposal_list *l, struct tree *fork,
                           struct changes *ch)
{
    for (size_t i = 0; i < l->count; i++) {
        struct proposal_entry *e = &l->entries[i];
        if (e->proposal.type != type)
            continue;
        if (type == PROPOSAL_UPDATE)
            TRY(apply_update(scope, e, fork));
        else if (type == PROPOSAL_ADD)
            TRY(apply_add(scope, e, fork, ch));
        else
            TRY(tree_remove(fork, e->leaf));
    }
    return OK;
}

/* Keys must be unique among those who stay, so this follows all changes. */
static enum err check_leaves(const struct proposal_list *l, struct tree *fork)
{
    for (size_t i = 0; i < l->count; i++) {
        const struct proposal_entry *e = &l->entries[i];
        if (e->proposal.type == PROPOSAL_ADD ||
            e->proposal.type == PROPOSAL_UPDATE)
            TRY(tree_check_leaf(fork, e->leaf));
    }
    return OK;
}

/* "A non-default proposal type that is not supported by some members of the
 * group that will process the Commit": removed and added ones do not count. */
static enum err check_support(const struct proposal_list *l,
                              const struct tree *fork, struct leaf_set added)
{
    for (size_t i = 0; i < RULE_COUNT; i++)
        if (!proposal_type_default(rules[i].type) &&
            count_type(l, rules[i].type) > 0)
            TRY(members_check_proposal(fork, rules[i].type, added));
    return OK;
}

static enum err note_changes(const struct proposal_scope *scope,
                             const struct proposal_list *l, struct changes *ch)
{
    ch->extensions = scope->extensions;
    ch->path_required = l->count == 0;
    for (size_t i = 0; i < l->count; i++) {
        const struct proposal_entry *e = &l->entries[i];
        uint16_t type = e->proposal.type;
        if (type == PROPOSAL_GROUP_CONTEXT_EXTENSIONS)
            ch->extensions = e->proposal.extensions;
        if ((flags_of(type) & NEEDS_PATH) != 0)
            ch->path_required = true;
        if (type == PROPOSAL_REINIT)
            ch->ends_group = true;
        if (type == PROPOSAL_REMOVE && is_external(scope)) {
            ch->replaces = true;
            ch->replaced = e->leaf;
        }
        if (is_change_of_leaf(e) && e->leaf == scope->own) {
            ch->updates_own = ch->updates_own || type == PROPOSAL_UPDATE;
            ch->removes_own = ch->removes_own || type != PROPOSAL_UPDATE;
        }
    }

    size_t adds = count_type(l, PROPOSAL_ADD);
    if (adds == 0)
        return OK;
    ch->added = mem_alloc(adds * sizeof(*ch->added));
    if (ch->added == NULL)
        return ERR_NOMEM;
    ch->added_cap = adds;
    return OK;
}

static enum err apply_steps(const struct proposal_scope *scope,
                            const struct proposal_list *l,
                            struct app_data_step *steps, struct changes *ch)
{
    size_t n = 0;
    for (size_t i = 0; i < l->count; i++)
        if (l->entries[i].proposal.type == PROPOSAL_APP_DATA_UPDATE)
            steps[n++] = (struct app_data_step){
                &l->entries[i].proposal.app_data_update, i};
    ch->rewritten = buf_new(MLS_MESSAGE_MAX);
    TRY(app_data_apply(scope->mls, steps, n, ch->extensions, &ch->rewritten));
    ch->extensions = buf_bytes(&ch->rewritten);
    return OK;
}

/* "AppDataUpdate proposals are processed after any default proposals", so that
 * extensions which come with them are changed too. */
static enum err apply_app_data(const struct proposal_scope *scope,
                               const struct proposal_list *l,
                               struct changes *ch)
{
    size_t room =
        count_type(l, PROPOSAL_APP_DATA_UPDATE) * sizeof(struct app_data_step);
    if (room == 0)
        return OK;
    struct app_data_step *steps = mem_alloc(room);
    if (steps == NULL)
        return ERR_NOMEM;
    enum err err = apply_steps(scope, l, steps, ch);
    mem_free(steps, room);
    return err;
}

enum err proposals_apply(const struct proposal_scope *scope,
                         struct proposal_list *l, struct tree *fork,
                         struct changes *out)
{
    CLEANUP(changes_clear) struct changes ch = {0};

    TRY(check_list(scope, l));
    TRY(note_changes(scope, l, &ch));
    const struct entries all = {scope, l};
    TRY(workers_do(scope->mls, &(struct job){verify_entries, &all, l->count}));
    TRY(apply_type(scope, PROPOSAL_UPDATE, l, fork, &ch));
    TRY(apply_type(scope, PROPOSAL_SELF_REMOVE, l, fork, &ch));
    TRY(apply_type(scope, PROPOSAL_REMOVE, l, fork, &ch));
    TRY(apply_type(scope, PROPOSAL_ADD, l, fork, &ch));
    if (ch.added_count > 1)
        qsort(ch.added, ch.added_count, sizeof(*ch.added), leaf_order);
    TRY(check_leaves(l, fork));
    TRY(check_support(l, fork, changes_added(&ch)));
    TRY(apply_app_data(scope, l, &ch));
    TRY(group_extensions_check(scope->mls, scope->suite, scope->extensions,
                               ch.extensions));
    if (l->count > 0)
        TRY(members_check(fork, ch.extensions));

    *out = ch;
    ch = (struct changes){0}; /* handed over */
    return OK;
}
