/* SPDX-License-Identifier: Apache-2.0 */
#include "mls/commit.h"
#include "mls/welcome.h"
#include "mls/workers.h"

#include "base/mem.h"

struct draft draft_new(const struct sotto_group *g,
                       const struct sotto_commit *ask)
{
    return (struct draft){.ask = ask,
                          .committer = {SENDER_MEMBER, g->epoch.keys.leaf},
                          .before =
                              tree_leaf(g->epoch.tree, g->epoch.keys.leaf),
                          .proposals = buf_new(MLS_MESSAGE_MAX),
                          .body = buf_new(MLS_MESSAGE_MAX),
                          .signature = buf_new(g->epoch.suite->sign_max)};
}

void draft_clear(struct draft *d)
{
    sotto_staged_free(&d->staged);
    buf_clear(&d->proposals);
    changes_clear(&d->changes);
    new_path_clear(&d->path);
    secret_clear(&d->external_init);
    secret_clear(&d->psk_secret);
    secret_clear(&d->joiner_secret);
    buf_clear(&d->body);
    buf_clear(&d->signature);
}

/* ---- The list of proposals ---- */

enum err draft_take(struct draft *d, const struct proposal *p)
{
    CLEANUP(buf_clear) struct buf raw = buf_new(MLS_MESSAGE_MAX);
    struct proposal_or_ref item = {.by_reference = false, .proposal = *p};

    struct writer w = writer_to(&raw);
    proposal_write(&w, p);
    TRY(writer_finish(&w));
    w = writer_to(&d->proposals);
    proposal_or_ref_write(&w, &item);
    TRY(writer_finish(&w));
    return proposal_list_add(&d->staged->list, buf_bytes(&raw), &d->committer,
                             false);
}

/* "the psk_nonce … MUST be set to a fresh random value" */
enum err draft_take_psk(const struct sotto_group *g, struct draft *d,
                        const struct psk_id *id)
{
    uint8_t nonce[HASH_MAX] = {0};
    size_t len = g->epoch.suite->nh;
    struct proposal p = {.type = PROPOSAL_PSK, .psk = *id};
    random_fill(&g->mls->random, nonce, len);
    p.psk.nonce = (struct bytes){nonce, len};
    return draft_take(d, &p);
}

static enum err take_psks(const struct sotto_group *g, struct draft *d)
{
    const struct sotto_commit *ask = d->ask;
    if (d->link != NULL)
        TRY(draft_take_psk(g, d, d->link));
    for (size_t i = 0; i < ask->psk_count; i++) {
        struct psk_id id = {.type = PSK_EXTERNAL, .id = bytes_in(ask->psks[i])};
        TRY(draft_take_psk(g, d, &id));
    }
    for (size_t i = 0; i < ask->resumption_count; i++) {
        struct psk_id id =
            resumption_id(g->epoch.fields.group_id, &ask->resumptions[i]);
        TRY(draft_take_psk(g, d, &id));
    }
    return OK;
}

static enum err take_extensions(struct draft *d)
{
    CLEANUP(buf_clear) struct buf encoded = buf_new(MLS_MESSAGE_MAX);
    TRY(extension_list_encode(*d->ask->extensions, &encoded));
    struct proposal p = {.type = PROPOSAL_GROUP_CONTEXT_EXTENSIONS,
                         .extensions = buf_bytes(&encoded)};
    return draft_take(d, &p);
}

static enum err take_add(struct draft *d, struct bytes message)
{
    struct proposal p = {.type = PROPOSAL_ADD};
    TRY(key_package_message_read(message, &p.add));
    return draft_take(d, &p);
}

static enum err cached_parse(const struct cached_proposal *cached,
                             struct proposal *out)
{
    struct reader r = reader_of(buf_bytes(&cached->raw));
    proposal_read(&r, out);
    return reader_finish(&r);
}

static bool cached_is(const struct cached_proposal *cached, uint16_t type)
{
    struct proposal p = {0};
    return cached_parse(cached, &p) == OK && p.type == type;
}

/* Whether the commit takes up a SelfRemove of that leaf. "If there is a pending
 * SelfRemove proposal for a specific leaf node and a pending Remove proposal
 * for the same leaf node, the Remove proposal is invalid." */
static bool leaves_by_itself(const struct sotto_group *g, const struct draft *d,
                             uint32_t leaf)
{
    for (size_t i = 0; d->ask->use_pending && i < g->proposal_count; i++)
        if (g->proposals[i].sender.index == leaf &&
            !g->proposals[i].own_unseen &&
            cached_is(&g->proposals[i], PROPOSAL_SELF_REMOVE))
            return true;
    return false;
}

static enum err take_reinit(struct draft *d)
{
    CLEANUP(buf_clear) struct buf extensions = buf_new(MLS_MESSAGE_MAX);
    struct proposal p = {.type = PROPOSAL_REINIT};
    TRY(reinit_fill(d->ask->reinit, &extensions, &p.reinit));
    return draft_take(d, &p);
}

static enum err take_asked(const struct sotto_group *g, struct draft *d)
{
    const struct sotto_commit *ask = d->ask;

    if (ask->extensions != NULL)
        TRY(take_extensions(d));
    for (size_t i = 0; i < ask->remove_count; i++) {
        struct proposal p = {.type = PROPOSAL_REMOVE,
                             .remove = ask->removes[i]};
        if (!leaves_by_itself(g, d, ask->removes[i]))
            TRY(draft_take(d, &p));
    }
    for (size_t i = 0; i < ask->add_count; i++)
        TRY(take_add(d, bytes_in(ask->adds[i])));
    TRY(take_psks(g, d));
    if (ask->reinit != NULL)
        TRY(take_reinit(d));
    for (size_t i = 0; i < ask->app_proposal_count; i++) {
        struct proposal p = {
            .type = PROPOSAL_APP_EPHEMERAL,
            .app_ephemeral = {ask->app_proposals[i].component,
                              bytes_in(ask->app_proposals[i].data)}};
        TRY(draft_take(d, &p));
    }
    for (size_t i = 0; i < ask->app_data_count; i++) {
        struct proposal p = {.type = PROPOSAL_APP_DATA_UPDATE,
                             .app_data_update =
                                 app_data_update_of(&ask->app_data[i])};
        TRY(draft_take(d, &p));
    }
    return OK;
}

/* ---- Proposals by reference ---- */

/* How far a proposal, or the change of a leaf, has come. */
enum {
    OPEN,
    TRIED,
    PICKED
};

/* Which of the cached proposals go in. */
struct picks {
    uint8_t *in;     /* one byte each */
    enum err *alone; /* whether it is good by itself */
    uint32_t *order; /* those to try, in this order */
    size_t count, tries;
    uint8_t *changed; /* one byte for each leaf */
    size_t leaves;
};

static void picks_clear(struct picks *p)
{
    mem_free(p->in, p->count);
    mem_free(p->alone, p->count * sizeof(*p->alone));
    mem_free(p->order, p->count * sizeof(*p->order));
    mem_free(p->changed, p->leaves);
    *p = (struct picks){0};
}

/* The leaf that a cached proposal changes; false: it changes none. */
static bool changed_leaf(const struct cached_proposal *cached, uint32_t *leaf)
{
    struct proposal p = {0};
    if (cached_parse(cached, &p) != OK)
        return false;
    *leaf = p.type == PROPOSAL_REMOVE ? p.remove : cached->sender.index;
    return p.type == PROPOSAL_REMOVE || p.type == PROPOSAL_UPDATE ||
           p.type == PROPOSAL_SELF_REMOVE;
}

/* The mark of the leaf that a proposal changes; NULL: it changes none. */
static uint8_t *change_mark(const struct picks *picks,
                            const struct cached_proposal *cached)
{
    uint32_t leaf = 0;
    return changed_leaf(cached, &leaf) && leaf < picks->leaves
               ? &picks->changed[leaf]
               : NULL;
}

static void pick_mark(struct picks *picks, const struct cached_proposal *cached,
                      size_t i, uint8_t state)
{
    uint8_t *change = change_mark(picks, cached);
    picks->in[i] = state;
    if (change != NULL)
        *change = state;
}

static enum err picks_new(const struct sotto_group *g, const struct draft *d,
                          struct picks *out)
{
    out->count = g->proposal_count;
    out->leaves = tree_leaves(g->epoch.tree);
    out->in = mem_alloc(out->count);
    out->alone = mem_alloc(out->count * sizeof(*out->alone));
    out->order = mem_alloc(out->count * sizeof(*out->order));
    out->changed = mem_alloc(out->leaves);
    if (out->in == NULL || out->alone == NULL || out->order == NULL ||
        out->changed == NULL)
        return ERR_NOMEM;
    for (size_t i = 0; i < d->ask->remove_count; i++) {
        uint32_t leaf = d->ask->removes[i];
        if (leaf < out->leaves && !leaves_by_itself(g, d, leaf))
            out->changed[leaf] = PICKED;
    }
    return OK;
}

static struct proposal_scope scope_of(const struct sotto_group *g,
                                      const struct draft *d)
{
    const struct epoch *e = &g->epoch;
    return (struct proposal_scope){.mls = g->mls,
                                   .suite = e->suite,
                                   .group_id = e->fields.group_id,
                                   .extensions = e->fields.extensions,
                                   .committer = d->committer,
                                   .own = e->keys.leaf,
                                   .link = d->link != NULL ? d->link->usage : 0,
                                   .now = d->ask->now,
                                   .checked = true};
}

enum err draft_take_reference(struct draft *d,
                              const struct cached_proposal *cached)
{
    struct proposal_or_ref item = {.by_reference = true,
                                   .reference = digest_bytes(&cached->ref)};
    struct writer w = writer_to(&d->proposals);
    proposal_or_ref_write(&w, &item);
    TRY(writer_finish(&w));
    return proposal_list_add(&d->staged->list, buf_bytes(&cached->raw),
                             &cached->sender, true);
}

static bool asked_for(const struct draft *d,
                      const struct cached_proposal *cached)
{
    for (size_t i = 0; i < d->ask->ref_count; i++) {
        const struct sotto_ref *ref = &d->ask->refs[i];
        if (bytes_equal((struct bytes){ref->data, ref->len},
                        digest_bytes(&cached->ref)))
            return true;
    }
    return false;
}

/* Anybody can propose to be added, and a ReInit ends the group: these are taken
 * in when they are asked for only. */
static bool needs_asking(const struct cached_proposal *cached)
{
    return cached->sender.type == SENDER_NEW_MEMBER_PROPOSAL ||
           cached_is(cached, PROPOSAL_REINIT);
}

static bool may_go_in(const struct draft *d,
                      const struct cached_proposal *cached)
{
    if (cached->own_unseen)
        return false;
    return asked_for(d, cached) ||
           (d->ask->use_pending && !needs_asking(cached));
}

struct candidates {
    const struct sotto_group *g;
    const struct draft *d;
    const struct proposal_scope *scope;
    struct picks *picks;
};

static enum err verify_some(struct crypto *c, const void *arg, size_t from,
                            size_t to)
{
    const struct candidates *a = arg;
    for (size_t i = from; i < to; i++) {
        const struct cached_proposal *cached = &a->g->proposals[i];
        enum err *alone = &a->picks->alone[i];
        struct proposal p = {0};
        *alone =
            may_go_in(a->d, cached) ? cached_parse(cached, &p) : ERR_NOTFOUND;
        if (*alone == OK)
            *alone = proposal_verify(c, a->scope, &p, cached->sender.index);
    }
    return OK;
}

/* Looks at each proposal once, however often lists are tried with it: whoever
 * sends many bad ones among good ones makes us try many lists. */
static enum err check_each(const struct candidates *a)
{
    const struct sotto_group *g = a->g;
    TRY(workers_do(g->mls, &(struct job){verify_some, a, a->picks->count}));
    for (size_t i = 0; i < a->picks->count; i++) {
        const struct cached_proposal *cached = &g->proposals[i];
        enum err *alone = &a->picks->alone[i];
        struct proposal p = {0};
        if (*alone == OK)
            *alone = cached_parse(cached, &p);
        if (*alone == OK)
            *alone = proposal_check_credential(a->scope, g->epoch.tree, &p,
                                               cached->sender.index);
        if (*alone == ERR_NOMEM || *alone == ERR_IO)
            return *alone;
    }
    return OK;
}

/* What was asked for has to fit: the whole list shows whether it does. */
static enum err pick_asked(const struct sotto_group *g, struct draft *d,
                           struct picks *picks)
{
    size_t found = 0;
    for (size_t i = 0; i < picks->count; i++) {
        const struct cached_proposal *cached = &g->proposals[i];
        if (cached->own_unseen || !asked_for(d, cached))
            continue;
        TRY(picks->alone[i]);
        pick_mark(picks, cached, i, PICKED);
        found++;
        TRY(draft_take_reference(d, cached));
    }
    return found == d->ask->ref_count ? OK : ERR_NOTFOUND;
}

/* ---- Those that go in if they fit ---- */

/* Adds a run of the tries to a list, but for what changes a leaf that is
 * changed already. */
static enum err run_list(const struct sotto_group *g, struct picks *picks,
                         size_t from, size_t to, struct proposal_list *l)
{
    for (size_t k = from; k < to; k++) {
        const struct cached_proposal *cached = &g->proposals[picks->order[k]];
        const uint8_t *change = change_mark(picks, cached);
        if (change != NULL && *change != OPEN)
            continue;
        TRY(proposal_list_add(l, buf_bytes(&cached->raw), &cached->sender,
                              true));
        pick_mark(picks, cached, picks->order[k], TRIED);
    }
    return OK;
}

/* Whether the list so far stays valid with a run. */
static enum err run_fits(const struct sotto_group *g, const struct draft *d,
                         struct picks *picks, size_t from, size_t to, bool *out)
{
    CLEANUP(proposal_list_clear) struct proposal_list l = proposal_list_new();
    CLEANUP(tree_free) struct tree *fork = NULL;
    CLEANUP(changes_clear) struct changes ch = {0};
    struct proposal_scope scope = scope_of(g, d);

    TRY(buf_copy(&l.raw, buf_bytes(&d->staged->list.raw)));
    l.count = d->staged->list.count;
    TRY(run_list(g, picks, from, to, &l));
    TRY(proposal_list_parse(&l));
    TRY(tree_fork(g->epoch.tree, &fork));
    enum err err = proposals_apply(&scope, &l, fork, &ch);
    if (err == ERR_NOMEM || err == ERR_IO)
        return err;
    *out = err == OK;
    return OK;
}

static enum err run_settle(const struct sotto_group *g, struct draft *d,
                           struct picks *picks, size_t from, size_t to,
                           bool fits)
{
    for (size_t k = from; k < to; k++) {
        size_t i = picks->order[k];
        if (picks->in[i] != TRIED)
            continue;
        pick_mark(picks, &g->proposals[i], i, fits ? PICKED : OPEN);
        if (fits)
            TRY(draft_take_reference(d, &g->proposals[i]));
    }
    return OK;
}

/* What somebody proposed must not keep us from committing. Yet trying each by
 * itself would check all those before it again and again; so longer runs are
 * tried as long as they fit, and shorter ones when they do not. */
static enum err pick_runs(const struct sotto_group *g, struct draft *d,
                          struct picks *picks)
{
    size_t run = picks->tries;
    for (size_t from = 0; from < picks->tries;) {
        size_t left = picks->tries - from;
        size_t to = from + (run < left ? run : left);
        bool fits = false;
        TRY(run_fits(g, d, picks, from, to, &fits));
        TRY(run_settle(g, d, picks, from, to, fits));
        run = fits ? 2 * (to - from) : (to - from + 1) / 2;
        if (fits || to - from == 1)
            from = to;
    }
    return OK;
}

static void try_later(const struct sotto_group *g, struct picks *picks,
                      size_t i)
{
    const struct cached_proposal *cached = &g->proposals[i];
    if (picks->alone[i] == OK && picks->in[i] == OPEN && !needs_asking(cached))
        picks->order[picks->tries++] = (uint32_t)i;
}

static void try_type(const struct sotto_group *g, struct picks *picks,
                     uint16_t type)
{
    for (size_t i = 0; i < picks->count; i++)
        if (cached_is(&g->proposals[i], type))
            try_later(g, picks, i);
}

/* Whether a SelfRemove of the leaf was picked. */
static bool has_left(const struct sotto_group *g, const struct picks *picks,
                     uint32_t leaf)
{
    for (size_t i = 0; i < picks->count; i++)
        if (picks->in[i] == PICKED && g->proposals[i].sender.index == leaf &&
            cached_is(&g->proposals[i], PROPOSAL_SELF_REMOVE))
            return true;
    return false;
}

/* A SelfRemove that does not fit must not keep anybody in the group. This goes
 * before all else that may change the leaf, which then does not fit. */
static enum err take_removes(const struct sotto_group *g, struct draft *d,
                             const struct picks *picks)
{
    for (size_t i = 0; i < d->ask->remove_count; i++) {
        struct proposal p = {.type = PROPOSAL_REMOVE,
                             .remove = d->ask->removes[i]};
        if (leaves_by_itself(g, d, p.remove) && !has_left(g, picks, p.remove))
            TRY(draft_take(d, &p));
    }
    return OK;
}

/* "A Remove is preferred to an Update, and the newest Update to older ones"
 * (section 12.2), and a SelfRemove to both; removes go first so that an Add of
 * the same client fits. Updates of components go last, the oldest first: they
 * are applied in the order of the commit. */
static enum err take_cached(const struct sotto_group *g, struct draft *d)
{
    CLEANUP(picks_clear) struct picks picks = {0};
    if (!d->ask->use_pending && d->ask->ref_count == 0)
        return OK;
    if (g->proposal_count == 0)
        return d->ask->ref_count == 0 ? OK : ERR_NOTFOUND;
    const struct proposal_scope scope = scope_of(g, d);
    TRY(picks_new(g, d, &picks));
    TRY(check_each(&(struct candidates){g, d, &scope, &picks}));
    TRY(pick_asked(g, d, &picks));
    if (!d->ask->use_pending)
        return OK;
    try_type(g, &picks, PROPOSAL_SELF_REMOVE);
    TRY(pick_runs(g, d, &picks));
    TRY(take_removes(g, d, &picks));
    picks.tries = 0;
    try_type(g, &picks, PROPOSAL_REMOVE);
    for (size_t i = picks.count; i-- > 0;)
        if (!cached_is(&g->proposals[i], PROPOSAL_SELF_REMOVE) &&
            !cached_is(&g->proposals[i], PROPOSAL_REMOVE) &&
            !cached_is(&g->proposals[i], PROPOSAL_APP_DATA_UPDATE))
            try_later(g, &picks, i);
    TRY(pick_runs(g, d, &picks));
    picks.tries = 0;
    try_type(g, &picks, PROPOSAL_APP_DATA_UPDATE);
    return pick_runs(g, d, &picks);
}

enum err draft_collect(const struct sotto_group *g, struct draft *d)
{
    struct proposal_scope scope = scope_of(g, d);
    TRY(take_asked(g, d));
    TRY(take_cached(g, d));
    TRY(proposal_list_parse(&d->staged->list));
    TRY(proposals_apply(&scope, &d->staged->list, d->staged->next.tree,
                        &d->changes));
#ifdef MLS_EVIL
    TRY(evil_list(&d->proposals));
#endif
    return group_psk_secret(g, &d->staged->list, &d->psk_secret);
}

/* ---- The path ---- */

/* Puts new keys on the path, and the new leaf in its place. */
static enum err make_path(const struct sotto_group *g, struct draft *d)
{
    struct crypto *c = g->mls->crypto;
    struct epoch *next = &d->staged->next;
    CLEANUP(leaf_parts_clear) struct leaf_parts parts = {0};
    struct leaf_node leaf = *tree_leaf(next->tree, next->keys.leaf);
    struct leaf_case at = {g->mls, next->suite, LEAF_COMMIT, d->before};

    TRY(leaf_change(d->ask->leaf, &leaf, &parts, &next->signature_key));
    leaf.source = LEAF_COMMIT;
    TRY(leaf_check_self(&at, &leaf));
    if (draft_strict())
        TRY(leaf_check_group(&leaf, d->changes.extensions));
    TRY(leaf_check_credential(&at, &leaf));
    struct new_leaf made = {&leaf, &next->signature_key,
                            g->epoch.fields.group_id};
    TRY(treekem_create(c, &g->mls->random, next->tree, &next->keys, &made,
                       &d->path));
    return draft_strict() ? tree_check_leaf(next->tree, next->keys.leaf) : OK;
}

static enum err write_body(const struct sotto_group *g, struct draft *d)
{
    struct sotto_staged *s = d->staged;
    struct path_scope scope = {g->epoch.keys.leaf, g->epoch.fields.group_id,
                               buf_bytes(&s->next.context),
                               changes_added(&d->changes)};

    struct writer w = writer_to(&d->body);
    writer_vec(&w, buf_bytes(&d->proposals));
    writer_u8(&w, s->has_path);
    TRY(writer_finish(&w));
    if (!s->has_path)
        return OK;
    TRY(treekem_seal(g->mls->crypto, &g->mls->random, s->next.tree, &d->path,
                     &scope, &w));
    TRY(writer_finish(&w));
#ifdef MLS_EVIL
    TRY(evil_body(g, d, &d->body));
#endif
    return OK;
}

enum err draft_build(const struct sotto_group *g, struct draft *d)
{
    struct sotto_staged *s = d->staged;
    struct epoch *next = &s->next;

    treekem_private_copy(&g->epoch.keys, &next->keys);
    secret_copy(&next->signature_key, &g->epoch.signature_key);
    treekem_private_prune(&next->keys, next->tree);
    s->committer = g->epoch.keys.leaf;
    s->has_path =
        !d->ask->no_path || d->changes.path_required || d->ask->leaf != NULL;
    if (s->has_path)
        TRY(make_path(g, d));
    TRY(epoch_provisional(g->mls->crypto, &g->epoch, d->changes.extensions,
                          next));
    return write_body(g, d);
}

struct authenticated_content draft_content(const struct sotto_group *g,
                                           const struct draft *d)
{
    struct outgoing o = {.type = CONTENT_COMMIT,
                         .body = buf_bytes(&d->body),
                         .authenticated_data =
                             bytes_in(d->ask->authenticated_data),
                         .public_message = d->ask->public_message};
    struct authenticated_content ac = group_content(g, &o);
    ac.content.sender = d->committer;
    return ac;
}

enum err draft_complete(const struct sotto_group *g, struct draft *d,
                        struct authenticated_content *ac)
{
    struct crypto *c = g->mls->crypto;
    struct epoch *next = &d->staged->next;
    struct epoch_inputs in = {
        d->external_init.len > 0 ? &d->external_init
                                 : &g->epoch.secrets.init_secret,
        d->path.commit_secret.len > 0 ? &d->path.commit_secret : NULL,
        d->psk_secret.len > 0 ? &d->psk_secret : NULL};

    TRY(framing_sign(c, g->epoch.suite, &g->epoch.signature_key, ac,
                     buf_bytes(&g->epoch.context), &d->signature));
    ac->auth.signature = buf_bytes(&d->signature);
    TRY(epoch_advance(c, &g->epoch, ac, &in, next, &d->joiner_secret));
    TRY(epoch_confirm(c, next, &d->tag));
#ifdef MLS_EVIL
    evil_tag(&d->tag);
#endif
    ac->auth.confirmation_tag = digest_bytes(&d->tag);
    return epoch_set_tag(c, next, digest_bytes(&d->tag));
}

/* ---- All of it ---- */

struct outputs {
    struct buf message, welcome, tree;
};

static void outputs_clear(struct outputs *o)
{
    buf_clear(&o->message);
    buf_clear(&o->welcome);
    buf_clear(&o->tree);
}

static enum err welcome(const struct sotto_group *g, const struct draft *d,
                        struct buf *out)
{
    struct welcome_source source = {
        .epoch = &d->staged->next,
        .list = &d->staged->list,
        .path = d->staged->has_path ? &d->path : NULL,
        .joiner_secret = &d->joiner_secret,
        .psk_secret = d->psk_secret.len > 0 ? &d->psk_secret : NULL,
        .with_tree = !d->ask->tree_outside};
    return welcome_make(g->mls, &source, out);
}

static enum err write_outputs(struct sotto_group *g, struct draft *d,
                              const struct authenticated_content *ac,
                              struct outputs *out)
{
    if (d->changes.added_count > 0)
        TRY(welcome(g, d, &out->welcome));
    if (d->ask->tree_outside) {
        struct writer w = writer_to(&out->tree);
        tree_write(&w, d->staged->next.tree);
        TRY(writer_finish(&w));
    }
    TRY(group_write_message(g, ac, d->ask->bucket, &out->message));
    return group_message_hash(g, buf_bytes(&out->message), &d->staged->message);
}

enum err group_commit(struct sotto_group *g, const struct sotto_commit *commit,
                      const struct psk_id *link, struct sotto_commit_out *out)
{
    if (!g->active || g->pending != NULL)
        return ERR_STATE;
    CLEANUP(draft_clear) struct draft d = draft_new(g, commit);
    CLEANUP(outputs_clear)
    struct outputs o = {buf_new(MLS_MESSAGE_MAX), buf_new(MLS_MESSAGE_MAX),
                        buf_new(MLS_MESSAGE_MAX)};

    d.link = link;
    TRY(staged_new(g, &d.staged));
    TRY(draft_collect(g, &d));
    TRY(draft_build(g, &d));
    struct authenticated_content ac = draft_content(g, &d);
    TRY(draft_complete(g, &d, &ac));
    TRY(write_outputs(g, &d, &ac, &o));

    g->pending = d.staged;
    d.staged = NULL; /* handed over */
    g->pending_dirty = true;
    buf_give(&o.message, &out->message);
    buf_give(&o.welcome, &out->welcome);
    buf_give(&o.tree, &out->ratchet_tree);
    return OK;
}
