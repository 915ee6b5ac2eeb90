/* SPDX-License-Identifier: Apache-2.0 */
#include "mls/link.h"

#include "base/mem.h"

#include <stdlib.h>

/* ---- The members of two groups ---- */

/* The credentials of a tree, in order. */
struct roll {
    const struct credential **of;
    size_t count, cap;
};

static void roll_clear(struct roll *r)
{
    mem_free(r->of, r->cap * sizeof(const struct credential *));
    *r = (struct roll){0};
}

static int credential_order(const struct credential *a,
                            const struct credential *b)
{
    if (a->type != b->type)
        return a->type < b->type ? -1 : 1;
    return bytes_compare(a->body, b->body);
}

static int roll_order(const void *a, const void *b)
{
    return credential_order(*(const struct credential *const *)a,
                            *(const struct credential *const *)b);
}

static enum err roll_call(const struct tree *t, struct roll *out)
{
    uint32_t leaf = 0;
    size_t cap = tree_members(t);
    const struct credential **of = mem_alloc(cap * sizeof(*of));
    if (of == NULL)
        return ERR_NOMEM;
    *out = (struct roll){of, 0, cap};
    for (uint32_t at = 0; tree_next_member(t, at, &leaf); at = leaf + 1)
        of[out->count++] = &tree_leaf(t, leaf)->credential;
    qsort(of, out->count, sizeof(*of), roll_order);
    return OK;
}

/* Whether each of `part` is in `all`; `once`: as often as in `part`. */
static bool roll_has(const struct roll *all, const struct roll *part, bool once)
{
    size_t k = 0;
    for (size_t i = 0; i < part->count; i++) {
        while (k < all->count && credential_order(all->of[k], part->of[i]) < 0)
            k++;
        if (k == all->count || credential_order(all->of[k], part->of[i]) != 0)
            return false;
        k += once;
    }
    return true;
}

/* "all the members of the old group are also members of the new group"; "the
 * members of the new group compose a subset of the members of the old group" */
static enum err check_members(enum psk_usage usage, const struct tree *before,
                              const struct tree *after)
{
    CLEANUP(roll_clear) struct roll old = {0};
    CLEANUP(roll_clear) struct roll new = {0};
    TRY(roll_call(before, &old));
    TRY(roll_call(after, &new));
    bool ok = usage == PSK_REINIT ? roll_has(&new, &old, true)
                                  : roll_has(&old, &new, false);
    return ok ? OK : ERR_INVALID;
}

/* ---- Checks ---- */

static bool reinit_fits(const struct link_case *at,
                        const struct group_context *next)
{
    const struct reinit *r = group_reinit(at->from);
    return r != NULL && at->psk->epoch == at->from->epoch.fields.epoch &&
           bytes_equal(r->group_id, next->group_id) &&
           r->version == next->version &&
           r->cipher_suite == next->cipher_suite &&
           bytes_equal(r->extensions, next->extensions);
}

static bool branch_fits(const struct link_case *at,
                        const struct group_context *next)
{
    const struct group_context *old = &at->from->epoch.fields;
    return old->version == next->version &&
           old->cipher_suite == next->cipher_suite;
}

enum err link_check(const struct link_case *at,
                    const struct group_context *next,
                    const struct tree *members)
{
    enum psk_usage usage = at->psk->usage;
    bool fits =
        usage == PSK_REINIT ? reinit_fits(at, next) : branch_fits(at, next);
    if (next->epoch != 1 || !fits)
        return ERR_INVALID;
    return at->members_unchecked
               ? OK
               : check_members(usage, at->from->epoch.tree, members);
}

/* ---- Making one ---- */

static enum err follow(struct sotto_group *g, const struct sotto_link *ask,
                       enum psk_usage usage, struct sotto_commit_out *out)
{
    const struct group_context *old = &ask->from->epoch.fields;
    struct psk_id psk = {.type = PSK_RESUMPTION,
                         .usage = usage,
                         .group_id = old->group_id,
                         .epoch = old->epoch};
    struct link_case at = {ask->from, &psk, ask->members_unchecked};
    struct sotto_commit commit = {.adds = ask->adds,
                                  .add_count = ask->add_count,
                                  .tree_outside = ask->tree_outside,
                                  .now = ask->now};

    TRY(group_offer_resumption(g, ask->from, old->epoch));
    TRY(group_commit(g, &commit, &psk, out));
    TRY(group_merge_pending(g));
    sotto_buf_free(&out->message); /* there was nobody else in epoch 0 */
    return link_check(&at, &g->epoch.fields, g->epoch.tree);
}

struct first {
    struct bytes group_id;
    struct bytes extensions;
};

static enum err begin(struct sotto_mls *mls, const struct sotto_link *ask,
                      enum psk_usage usage, const struct first *first,
                      struct sotto_commit_out *out_commit,
                      struct sotto_group **out)
{
    CLEANUP(sotto_group_free) struct sotto_group *g = NULL;
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out commit = {0};

    TRY(group_create(mls, ask->identity, first->group_id, first->extensions,
                     &g));
    TRY(follow(g, ask, usage, &commit));
    *out_commit = commit;
    *out = g;
    commit = (struct sotto_commit_out){0}; /* both handed over */
    g = NULL;
    return OK;
}

enum err group_reinitialize(struct sotto_mls *mls, const struct sotto_link *ask,
                            struct sotto_commit_out *out_commit,
                            struct sotto_group **out)
{
    const struct reinit *r = group_reinit(ask->from);
    if (r == NULL)
        return ERR_STATE;
    struct first first = {r->group_id, r->extensions};
    return begin(mls, ask, PSK_REINIT, &first, out_commit, out);
}

enum err group_branch(struct sotto_mls *mls, const struct sotto_link *ask,
                      struct sotto_commit_out *out_commit,
                      struct sotto_group **out)
{
    CLEANUP(buf_clear) struct buf extensions = buf_new(MLS_MESSAGE_MAX);
    struct first first = {bytes_in(ask->group_id),
                          ask->from->epoch.fields.extensions};
    if (!ask->from->active)
        return ERR_STATE;
    if (ask->extensions != NULL) {
        TRY(extension_list_encode(*ask->extensions, &extensions));
        first.extensions = buf_bytes(&extensions);
    }
    return begin(mls, ask, PSK_BRANCH, &first, out_commit, out);
}
