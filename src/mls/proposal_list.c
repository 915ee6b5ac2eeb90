/* SPDX-License-Identifier: Apache-2.0 */
#include "mls/proposal_list.h"

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

static void entry_write(struct writer *w, struct bytes raw, uint32_t sender,
                        bool by_reference)
{
    writer_u32(w, sender);
    writer_u8(w, by_reference);
    writer_raw(w, raw);
}

enum err proposal_list_add(struct proposal_list *l, struct bytes raw,
                           uint32_t sender, bool by_reference)
{
    if (l->count == PROPOSALS_MAX)
        return ERR_LIMIT;
    struct writer w = writer_to(&l->raw);
    entry_write(&w, raw, sender, by_reference);
    TRY(writer_finish(&w));
    l->count++;
    return OK;
}

/* The leaf that a proposal is about; an add gets one when it is applied. */
static uint32_t entry_leaf(const struct proposal_entry *e)
{
    if (e->proposal.type == PROPOSAL_REMOVE)
        return e->proposal.remove;
    return e->proposal.type == PROPOSAL_UPDATE ? e->sender : 0;
}

static void entry_read(struct reader *r, struct proposal_entry *e)
{
    e->sender = reader_u32(r);
    e->by_reference = bool_read(r);
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
    *ch = (struct changes){0};
}

struct leaf_set changes_added(const struct changes *ch)
{
    return (struct leaf_set){ch->added, ch->added_count};
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
           e->proposal.type == PROPOSAL_REMOVE;
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
           bytes_equal(a->id, b->id) && bytes_equal(a->group_id, b->group_id);
}

/* Section 8.4: the nonce is fresh and of the KDF's size; in a commit, only
 * external PSKs and resumption with usage application make sense. */
static enum err check_psk(const struct suite *s, const struct psk_id *id)
{
    if (id->nonce.len != s->nh)
        return ERR_INVALID;
    if (id->type == PSK_RESUMPTION && id->usage != PSK_APPLICATION)
        return ERR_INVALID;
    return OK;
}

static enum err check_psks(const struct suite *s, const struct proposal_list *l)
{
    size_t n = count_type(l, PROPOSAL_PSK);
    if (n > MLS_PSKS_MAX)
        return ERR_LIMIT;
    for (size_t i = 0; n > 0 && i < l->count; i++) {
        const struct proposal *a = &l->entries[i].proposal;
        if (a->type != PROPOSAL_PSK)
            continue;
        TRY(check_psk(s, &a->psk));
        for (size_t k = 0; k < i; k++) {
            const struct proposal *b = &l->entries[k].proposal;
            if (b->type == PROPOSAL_PSK && psk_same(&a->psk, &b->psk))
                return ERR_INVALID;
        }
    }
    return OK;
}

/* Whether a member may commit the entry, by what stands in it alone. */
static enum err check_entry(const struct proposal_scope *scope,
                            const struct proposal_entry *e)
{
    switch (e->proposal.type) {
    case PROPOSAL_ADD:
    case PROPOSAL_PSK:
    case PROPOSAL_GROUP_CONTEXT_EXTENSIONS:
    case PROPOSAL_APP_EPHEMERAL:
        return OK;
    case PROPOSAL_UPDATE: /* a committer's own path replaces its leaf */
        return e->by_reference && e->sender != scope->committer ? OK
                                                                : ERR_INVALID;
    case PROPOSAL_REMOVE:
        return e->proposal.remove != scope->committer ? OK : ERR_INVALID;
    default: /* reinit and external_init do not go with this; the rest is
                not among the proposals that we say we support */
        return ERR_INVALID;
    }
}

static enum err check_list(const struct proposal_scope *scope,
                           const struct proposal_list *l)
{
    for (size_t i = 0; i < l->count; i++)
        TRY(check_entry(scope, &l->entries[i]));
    if (count_type(l, PROPOSAL_GROUP_CONTEXT_EXTENSIONS) > 1)
        return ERR_INVALID;
    TRY(check_one_change_per_leaf(l));
    return check_psks(scope->suite, l);
}

/* ---- Application (section 12.3) ---- */

/* RFC 9420, section 12.1.2 */
static enum err apply_update(struct crypto *c,
                             const struct proposal_scope *scope,
                             const struct proposal_entry *e, struct tree *fork)
{
    const struct leaf_node *leaf = &e->proposal.update;
    const struct leaf_node *old = tree_leaf(fork, e->leaf);

    if (old == NULL || leaf->source != LEAF_UPDATE ||
        bytes_equal(leaf->encryption_key, old->encryption_key))
        return ERR_INVALID;
    TRY(leaf_check_self(scope->suite, leaf));
    TRY(kem_check(c, scope->suite->kem, leaf->encryption_key));
    TRY(leaf_node_verify(c, scope->suite, leaf, scope->group_id, e->leaf));
    return tree_update(c, fork, e->leaf, leaf);
}

/* RFC 9420, section 12.1.1 */
static enum err apply_add(struct crypto *c, const struct proposal_scope *scope,
                          struct proposal_entry *e, struct tree *fork,
                          struct changes *ch)
{
    TRY(key_package_check(c, scope->suite, &e->proposal.add));
    TRY(tree_add(c, fork, &e->proposal.add.leaf, &e->leaf));
    ch->added[ch->added_count++] = e->leaf;
    return OK;
}

static enum err apply_type(struct crypto *c, const struct proposal_scope *scope,
                           uint16_t type, struct proposal_list *l,
                           struct tree *fork, struct changes *ch)
{
    for (size_t i = 0; i < l->count; i++) {
        struct proposal_entry *e = &l->entries[i];
        if (e->proposal.type != type)
            continue;
        if (type == PROPOSAL_UPDATE)
            TRY(apply_update(c, scope, e, fork));
        else if (type == PROPOSAL_REMOVE)
            TRY(tree_remove(fork, e->leaf));
        else
            TRY(apply_add(c, scope, e, fork, ch));
    }
    return OK;
}

/* Keys must be unique among those who stay, so this follows all changes. */
static enum err check_leaves(struct crypto *c, const struct proposal_list *l,
                             struct tree *fork)
{
    for (size_t i = 0; i < l->count; i++) {
        const struct proposal_entry *e = &l->entries[i];
        if (e->proposal.type == PROPOSAL_ADD ||
            e->proposal.type == PROPOSAL_UPDATE)
            TRY(tree_check_leaf(c, fork, e->leaf));
    }
    return OK;
}

/* "A non-default proposal type that is not supported by some members of the
 * group that will process the Commit": removed and added ones do not count. */
static enum err check_support(const struct proposal_list *l,
                              const struct tree *fork, struct leaf_set added)
{
    bool seen = false;
    for (size_t i = 0; i < l->count; i++) {
        uint16_t type = l->entries[i].proposal.type;
        if (proposal_type_default(type) || seen)
            continue;
        TRY(members_check_proposal(fork, type, added));
        seen = true; /* app_ephemeral is the only one that gets here */
    }
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
        if (type == PROPOSAL_GROUP_CONTEXT_EXTENSIONS || is_change_of_leaf(e))
            ch->path_required = true;
        if (is_change_of_leaf(e) && e->leaf == scope->own) {
            ch->removes_own = ch->removes_own || type == PROPOSAL_REMOVE;
            ch->updates_own = ch->updates_own || type == PROPOSAL_UPDATE;
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

enum err proposals_apply(struct crypto *c, const struct proposal_scope *scope,
                         struct proposal_list *l, struct tree *fork,
                         struct changes *out)
{
    CLEANUP(changes_clear) struct changes ch = {0};

    TRY(check_list(scope, l));
    TRY(note_changes(scope, l, &ch));
    TRY(apply_type(c, scope, PROPOSAL_UPDATE, l, fork, &ch));
    TRY(apply_type(c, scope, PROPOSAL_REMOVE, l, fork, &ch));
    TRY(apply_type(c, scope, PROPOSAL_ADD, l, fork, &ch));
    if (ch.added_count > 1)
        qsort(ch.added, ch.added_count, sizeof(*ch.added), leaf_order);
    TRY(check_leaves(c, l, fork));
    TRY(check_support(l, fork, changes_added(&ch)));
    if (l->count > 0)
        TRY(members_check(fork, ch.extensions));

    *out = ch;
    ch = (struct changes){0}; /* handed over */
    return OK;
}
