/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Staging a commit of another member (RFC 9420, section 12.4.2). The order of
 * the checks is part of the contract of sotto/mls.h: first what all members see
 * alike, then what only this one sees, then the confirmation tag.
 */
#include "mls/group.h"

/* Collects the proposals; "it references a proposal that is not known" makes
 * a commit invalid for all, since all have seen the same messages. */
static enum err resolve(const struct sotto_group *g, struct bytes proposals,
                        const struct sender *committer, struct proposal_list *l)
{
    struct reader r = reader_of(proposals);
    while (reader_more(&r)) {
        struct proposal_or_ref p = {0};
        proposal_or_ref_read(&r, &p);
        if (!p.by_reference) {
            TRY(proposal_list_add(l, p.proposal.raw, committer, false));
            continue;
        }
        const struct cached_proposal *cached = cache_find(g, p.reference);
        if (cached == NULL)
            return ERR_INVALID;
        TRY(proposal_list_add(l, buf_bytes(&cached->raw), &cached->sender,
                              true));
    }
    TRY(reader_finish(&r));
    return proposal_list_parse(l);
}

/* Gives the author of an external commit its leaf: the leftmost blank one
 * (section 12.4.2). The leaf that it leaves behind is what it replaces, as by
 * an Update (section 12.2); NULL: it leaves none. */
static enum err seat_joiner(const struct update_path *path,
                            const struct changes *ch, struct sotto_staged *s,
                            const struct leaf_node **out_before)
{
    TRY(tree_add(s->next.tree, &path->leaf, &s->committer));
    if (!ch->replaces)
        return OK;
    *out_before = tree_leaf(s->before, ch->replaced);
    return bytes_equal((*out_before)->encryption_key, path->leaf.encryption_key)
               ? ERR_INVALID
               : OK;
}

/* Merges the public part of the path, whose leaf follows `before`. */
static enum err merge_path(const struct sotto_group *g,
                           const struct update_path *path,
                           const struct path_scope *scope,
                           const struct leaf_node *before,
                           struct bytes extensions, struct sotto_staged *s)
{
    struct crypto *c = g->mls->crypto;
    struct leaf_case at = {g->mls, g->epoch.suite, LEAF_COMMIT, before};

    TRY(leaf_check_self(&at, &path->leaf));
    TRY(treekem_merge(c, s->next.tree, path, scope));
    TRY(leaf_check_credential(&at, &path->leaf));
    return s->external ? members_check(s->next.tree, extensions)
                       : replaced_leaf_check(s->next.tree, before, &path->leaf,
                                             extensions);
}

/* The private keys before the path: ours, or those of our own Update. */
static enum err take_keys(const struct sotto_group *g, bool updates_own,
                          struct sotto_staged *s)
{
    treekem_private_copy(&g->epoch.keys, &s->next.keys);
    secret_copy(&s->next.signature_key, &g->epoch.signature_key);
    if (updates_own) {
        const struct leaf_node *leaf =
            tree_leaf(s->next.tree, g->epoch.keys.leaf);
        const struct cached_proposal *own = NULL;
        for (size_t i = 0; own == NULL && i < s->list.count; i++) {
            const struct proposal *p = &s->list.entries[i].proposal;
            if (p->type == PROPOSAL_UPDATE &&
                bytes_equal(p->update.raw, leaf->raw))
                own = cache_find_raw(g, p->raw);
        }
        if (own == NULL || own->encryption_key.len == 0)
            return ERR_NOTFOUND;
        secret_copy(&s->next.keys.key[0], &own->encryption_key);
        secret_copy(&s->next.signature_key, &own->signature_key);
    }
    treekem_private_prune(&s->next.keys, s->next.tree);
    return OK;
}

/* What a commit brings into the key schedule; empty: zeros. */
struct opened {
    struct secret external_init; /* empty: the init_secret of the epoch */
    struct secret commit_secret;
    struct secret psk_secret;
};

static void opened_clear(struct opened *o)
{
    secret_clear(&o->external_init);
    secret_clear(&o->commit_secret);
    secret_clear(&o->psk_secret);
}

/* What this device alone sees: its share of the path, its PSKs. */
static enum err open_secrets(const struct sotto_group *g,
                             const struct commit *commit,
                             const struct path_scope *scope,
                             struct sotto_staged *s, struct opened *out)
{
    if (commit->has_path)
        TRY(treekem_open(g->mls->crypto, s->next.tree, &s->next.keys,
                         &commit->path, scope, &out->commit_secret));
    return group_psk_secret(g, &s->list, &out->psk_secret);
}

static const struct secret *or_null(const struct secret *s)
{
    return s->len > 0 ? s : NULL;
}

/* The key schedule, and the tag that shows that all got the same. */
static enum err complete(const struct sotto_group *g,
                         const struct authenticated_content *ac,
                         const struct opened *o, struct sotto_staged *s)
{
    CLEANUP(secret_clear) struct secret joiner = {0};
    struct crypto *c = g->mls->crypto;
    struct epoch_inputs in = {
        o->external_init.len > 0 ? &o->external_init
                                 : &g->epoch.secrets.init_secret,
        or_null(&o->commit_secret), or_null(&o->psk_secret)};

    TRY(epoch_advance(c, &g->epoch, ac, &in, &s->next, &joiner));
    TRY(epoch_check_tag(c, &s->next, ac->auth.confirmation_tag));
    TRY(epoch_set_tag(c, &s->next, ac->auth.confirmation_tag));
    return epoch_open_ratchets(c, &s->next);
}

/* The members share the external key, so all see alike that a KEM output is
 * none. */
static enum err open_external_init(const struct sotto_group *g,
                                   const struct proposal_list *l,
                                   struct secret *out)
{
    const struct epoch *e = &g->epoch;
    for (size_t i = 0; i < l->count; i++) {
        const struct proposal *p = &l->entries[i].proposal;
        if (p->type != PROPOSAL_EXTERNAL_INIT)
            continue;
        enum err err = schedule_external_receive(
            g->mls->crypto, e->suite, &e->secrets, p->kem_output, out);
        if (err != OK)
            return err == ERR_NOMEM ? err : ERR_INVALID;
    }
    return OK;
}

/* Everything that is the same for all members; `scope` and `ch` for the rest.
 */
static enum err stage_public(const struct sotto_group *g,
                             const struct commit *commit,
                             const struct sender *committer,
                             struct path_scope *scope, struct changes *ch,
                             struct sotto_staged *s)
{
    const struct epoch *e = &g->epoch;
    struct crypto *c = g->mls->crypto;
    struct proposal_scope rules = {.mls = g->mls,
                                   .suite = e->suite,
                                   .group_id = e->fields.group_id,
                                   .extensions = e->fields.extensions,
                                   .committer = *committer,
                                   .own = e->keys.leaf};
    const struct leaf_node *before = NULL;

    TRY(resolve(g, commit->proposals, committer, &s->list));
    TRY(proposals_apply(&rules, &s->list, s->next.tree, ch));
    if (ch->path_required && !commit->has_path)
        return ERR_INVALID;
    scope->added = changes_added(ch);
    if (s->external)
        TRY(seat_joiner(&commit->path, ch, s, &before));
    else
        before = tree_leaf(s->before, s->committer);
    scope->sender = s->committer;
    if (commit->has_path)
        TRY(merge_path(g, &commit->path, scope, before, ch->extensions, s));
    TRY(epoch_provisional(c, e, ch->extensions, &s->next));
    scope->group_context = buf_bytes(&s->next.context);
    return OK;
}

enum err group_stage(struct sotto_group *g,
                     const struct authenticated_content *ac,
                     struct sotto_staged **out)
{
    CLEANUP(sotto_staged_free) struct sotto_staged *s = NULL;
    CLEANUP(changes_clear) struct changes ch = {0};
    CLEANUP(opened_clear) struct opened opened = {0};
    struct commit commit = {0};

    struct reader r = reader_of(ac->content.body);
    commit_read(&r, &commit);
    TRY(reader_finish(&r));
    TRY(staged_new(g, &s));
    s->committer = ac->content.sender.index;
    s->external = ac->content.sender.type == SENDER_NEW_MEMBER_COMMIT;
    s->has_path = commit.has_path;
    struct path_scope scope = {.group_id = g->epoch.fields.group_id};
    TRY(stage_public(g, &commit, &ac->content.sender, &scope, &ch, s));
    TRY(open_external_init(g, &s->list, &opened.external_init));

    s->removes_own = ch.removes_own;
    if (!s->removes_own) {
        enum err err = take_keys(g, ch.updates_own, s);
        if (err == OK)
            err = open_secrets(g, &commit, &scope, s, &opened);
        if (err == ERR_NOMEM)
            return err;
        s->cannot = err != OK; /* RFC 9420, section 16.12 */
        if (!s->cannot)
            TRY(complete(g, ac, &opened, s));
    }
    *out = s;
    s = NULL; /* handed over */
    return OK;
}
