/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commits, in the log's order. The own pending commit is judged like any other
 * before it is merged, so that what the others skip is skipped here too.
 */
#include "client/apply.h"

#include "client/commit.h"
#include "client/groups.h"
#include "client/people.h"
#include "client/profile.h"
#include "client/rejoin.h"
#include "client/welcome.h"
#include "proto/entry.h"

#include <string.h>

#define PATH_EVERY_MS  (7ULL * DAY_MS)
#define PATH_JITTER_MS DAY_MS
#define STATES_MAX     (8U << 20)

/* --- what a good commit changes beside the group --- */

static enum err leaf_row(struct client *c, const struct conv *cv,
                         const struct sotto_change *change, uint64_t time)
{
    bool add = change->kind == SOTTO_CHANGE_ADD;
    const struct sotto_leaf *leaf = add ? &change->after : &change->before;
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, add ? "INSERT OR REPLACE INTO leaf (conversation,"
                               " signature_key, added) VALUES (?, ?, ?)"
                             : "DELETE FROM leaf WHERE conversation = ? AND"
                               " signature_key = ? AND added < ?");
    sql_put_u64(&q, (uint64_t)cv->id);
    sql_put_bytes(&q, from_sotto(leaf->signature_key));
    sql_put_u64(&q, time);
    return sql_run(&q);
}

/* Removes first: a device that is removed and added again stays. */
static enum err leaf_rows(struct client *c, const struct conv *cv,
                          const struct sotto_staged *staged,
                          const struct policy *p, uint64_t time)
{
    bool own = bytes_equal(p->committer, buf_bytes(&c->profile.sign_public));
    static const enum sotto_change_kind order[] = {SOTTO_CHANGE_REMOVE,
                                                   SOTTO_CHANGE_ADD};
    for (size_t k = 0; k < 2; k++) {
        struct sotto_change change = {0};
        for (size_t i = 0; sotto_staged_change(staged, i, &change) == SOTTO_OK;
             i++) {
            if (change.kind != order[k])
                continue;
            TRY(leaf_row(c, cv, &change, time));
            TRY(welcome_note(c, cv, &change, p, own));
        }
    }
    return OK;
}

static enum err member_joined(struct client *c, struct conv *cv,
                              const struct touched *t, uint64_t time)
{
    struct bytes account = ID_BYTES(t->account);
    bool own = bytes_equal(account, ID_BYTES(c->profile.account));
    if (cv->direct && !own) {
        memcpy(cv->peer, t->account, sizeof cv->peer);
        cv->has_peer = true;
    }
    return conv_notice(c, cv,
                       &(struct notice){.kind = CLIENT_MEMBER_JOINED,
                                        .account = account,
                                        .time = time * SECOND_MS});
}

static enum err member_update(struct client *c, struct conv *cv,
                              const struct touched *t, uint64_t time)
{
    struct bytes account = ID_BYTES(t->account);
    if (t->leaves == 0) {
        if (!t->member)
            return OK;
        TRY(member_delete(c, cv->id, account));
        return conv_notice(c, cv,
                           &(struct notice){.kind = CLIENT_MEMBER_LEFT,
                                            .account = account,
                                            .time = time * SECOND_MS});
    }
    if (!t->carried && t->member)
        return OK;
    TRY(member_save(c, cv->id, t->chain));
    CLEANUP(buf_clear) struct buf states = buf_new(STATES_MAX);
    TRY(chain_list(t->chain, 1, &states));
    TRY(account_learn(c, account, buf_bytes(&states)));
    return t->member ? OK : member_joined(c, cv, t, time);
}

static enum err name_update(struct client *c, const struct conv *cv)
{
    struct sotto_bytes data = {0};
    struct group_profile profile = {0};
    if (sotto_extension_find(sotto_group_extensions(cv->group), EXT_PROFILE,
                             &data) != SOTTO_OK ||
        group_profile_read(from_sotto(data), &profile) != OK)
        return OK;
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "UPDATE conversation SET name = ? WHERE id = ?");
    sql_put_bytes(&q, profile.name);
    sql_put_u64(&q, (uint64_t)cv->id);
    return sql_run(&q);
}

static enum err commit_effects(struct client *c, struct conv *cv,
                               const struct entry *e,
                               const struct sotto_staged *staged,
                               const struct policy *p)
{
    for (const struct touched *t = p->accounts; t != NULL; t = t->next)
        TRY(member_update(c, cv, t, e->time));
    TRY(welcome_heard(c, cv, p->committer));
    TRY(leaf_rows(c, cv, staged, p, e->time));
    if (p->scheduled)
        cv->scheduled = e->time;
    return OK;
}

/* --- commits that do not count --- */

static enum err reopen_leaf(struct client *c, const struct conv *cv,
                            struct bytes sub)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "INSERT OR IGNORE INTO reopen (conversation,"
                         " subscription) VALUES (?, ?)");
    sql_put_u64(&q, (uint64_t)cv->id);
    sql_put_bytes(&q, sub);
    return sql_run(&q);
}

/* The server has ended what the lists in the clear named: that is undone for
 * each member who is still there. We hear nothing more if it was ours, until
 * another one has done that and we attach again. */
static enum err reopen_ended(struct client *c, struct conv *cv,
                             const struct entry *e)
{
    struct sotto_message_view view = {0};
    struct commit_data lists = {0};
    if (sotto_message_peek(to_sotto(e->body), &view) != SOTTO_OK ||
        commit_data_read(from_sotto(view.authenticated_data), &lists) != OK ||
        lists.ends.len == 0)
        return OK;
    struct bytes extensions = from_sotto(sotto_group_extensions(cv->group));
    for (uint32_t i = 0; i < sotto_group_leaf_count(cv->group); i++) {
        struct sotto_leaf leaf = {0};
        uint8_t sub[ID_SIZE];
        if (sotto_group_member(cv->group, i, &leaf) != SOTTO_OK)
            continue;
        TRY(leaf_subscription(c, extensions, from_sotto(leaf.signature_key),
                              sub));
        struct reader r = reader_of(lists.ends);
        while (reader_more(&r)) {
            if (!bytes_equal(reader_raw(&r, ID_SIZE), ID_BYTES(sub)))
                continue;
            if (i == sotto_group_own_leaf(cv->group))
                cv->attached = false;
            else
                TRY(reopen_leaf(c, cv, ID_BYTES(sub)));
        }
    }
    return OK;
}

static enum err skip_commit(struct client *c, struct conv *cv,
                            const struct entry *e, const char *cause)
{
    TRY(reopen_ended(c, cv, e));
    return apply_skip(c, cv, e, cause);
}

/* --- the own commit --- */

static enum err apply_own(struct client *c, struct conv *cv,
                          const struct entry *e)
{
    const struct sotto_staged *staged = sotto_group_pending(cv->group);
    if (staged == NULL)
        return ERR_INVALID; /* the row and the group's record belong together */
    struct sotto_message_view view = {0};
    TRY(err_of_sotto(sotto_message_peek(to_sotto(e->body), &view)));
    CLEANUP(policy_clear) struct policy p = {0};
    TRY(policy_judge(c, cv, staged, from_sotto(view.authenticated_data), &p));
    if (p.fault != NULL) { /* as all the others see it */
        sotto_group_drop_pending(cv->group);
        TRY(pending_delete(c, cv, true));
        cv->path_at = cv->path_at == 0 ? 0 : c->now + DAY_MS; /* not at once */
        return skip_commit(c, cv, e, p.fault);
    }
    TRY(commit_effects(c, cv, e, staged, &p));
    TRY(err_of_sotto(sotto_group_merge_pending(cv->group)));
    TRY(pending_delete(c, cv, true));
    cv->path_at = c->now + PATH_EVERY_MS - client_jitter(c, PATH_JITTER_MS);
    TRY(name_update(c, cv));
    return p.adds > 0 ? profile_share(c, cv) : OK;
}

/* --- the commits of others --- */

/* Was the own account added again by the commit that removed it? Then its
 * Welcome is on the way, and what is queued can still be sent. */
static bool added_again(const struct client *c, const struct policy *p)
{
    for (const struct touched *t = p->accounts; t != NULL; t = t->next) {
        if (bytes_equal(ID_BYTES(t->account), ID_BYTES(c->profile.account)))
            return t->leaves > 0;
    }
    return false;
}

static enum err removed(struct client *c, struct conv *cv,
                        const struct entry *e, const struct policy *p)
{
    cv->state = CLIENT_LEFT;
    cv->attached = false;
    if (!added_again(c, p)) {
        TRY(conv_over(c, cv));
        rejoin_watch(c, cv);
    }
    return conv_notice(c, cv,
                       &(struct notice){.kind = CLIENT_CONVERSATION,
                                        .detail = "this device was removed",
                                        .time = e->time * SECOND_MS});
}

static enum err apply_staged(struct client *c, struct conv *cv,
                             const struct entry *e, struct sotto_result *result)
{
    CLEANUP(policy_clear) struct policy p = {0};
    TRY(policy_judge(c, cv, result->staged,
                     from_sotto_buf(&result->authenticated_data), &p));
    if (p.fault != NULL)
        return skip_commit(c, cv, e, p.fault);
    bool out = sotto_staged_removes_me(result->staged);
    TRY(commit_effects(c, cv, e, result->staged, &p));
    TRY(err_of_sotto(sotto_group_merge(cv->group, &result->staged)));
    CLEANUP(pending_clear) struct pending lost = {0};
    enum err err = pending_get(c, cv, &lost);
    if (err == OK)
        c->counters.lost_races++;
    else if (err != ERR_NOTFOUND)
        return err;
    TRY(pending_delete(c, cv, false));
    TRY(name_update(c, cv));
    return out ? removed(c, cv, e, &p) : OK;
}

/* A commit whose key is spent. Everybody skips it, but for one of ours that the
 * server claimed to refuse and put into the log: the others have applied it. */
static enum err apply_spent(struct client *c, struct conv *cv,
                            const struct entry *e,
                            const uint8_t digest[HASH256_SIZE])
{
    bool refused = false;
    TRY(commit_was_refused(c, digest, &refused));
    if (!refused)
        return skip_commit(c, cv, e, "a commit whose key was used already");
    return rejoin_mark(c, cv, CLIENT_REJOIN,
                       "the server took a commit that it said it refuses");
}

/* Others may have entered its epoch, unless it breaks a rule that all see. */
static enum err apply_unopened(struct client *c, struct conv *cv,
                               const struct entry *e,
                               const struct sotto_result *result)
{
    CLEANUP(policy_clear) struct policy p = {0};
    TRY(policy_judge(c, cv, result->staged,
                     from_sotto_buf(&result->authenticated_data), &p));
    if (p.fault != NULL)
        return skip_commit(c, cv, e, p.fault);
    return rejoin_mark(c, cv, CLIENT_REJOIN,
                       "a commit that this device cannot apply");
}

static enum err apply_foreign(struct client *c, struct conv *cv,
                              const struct entry *e,
                              const uint8_t digest[HASH256_SIZE])
{
    CLEANUP(sotto_result_free) struct sotto_result result = {0};
    enum err err = err_of_sotto(
        sotto_group_process(cv->group, to_sotto(e->body), &result));
    if (err == ERR_NOMEM || err == ERR_IO)
        return err;
    if (err != OK)
        return skip_commit(c, cv, e, "a commit that is not valid");
    switch (result.outcome) {
    case SOTTO_COMMIT:
        return apply_staged(c, cv, e, &result);
    case SOTTO_CANNOT_APPLY:
        return apply_unopened(c, cv, e, &result);
    case SOTTO_OWN_MESSAGE:
    case SOTTO_OWN_COMMIT:
        return rejoin_mark(c, cv, CLIENT_STORE_OLD,
                           "this device made a commit that this profile, an "
                           "old copy, does not know: the others are asked to "
                           "add it again, and until then nothing is sent");
    case SOTTO_DUPLICATE:
        return apply_spent(c, cv, e, digest);
    case SOTTO_APPLICATION:
    case SOTTO_PROPOSAL:
    case SOTTO_FUTURE_EPOCH:
    case SOTTO_TOO_OLD:
    case SOTTO_WRONG_GROUP:
        break; /* visible to all, so skipped by all */
    }
    return skip_commit(c, cv, e, "a commit of another epoch");
}

enum err apply_commit(struct client *c, struct conv *cv, const struct entry *e)
{
    CLEANUP(pending_clear) struct pending pending = {0};
    uint8_t digest[HASH256_SIZE];
    TRY(sha256(c, PARTS(e->body), digest));
    enum err err = pending_get(c, cv, &pending);
    if (err == ERR_NOTFOUND)
        return apply_foreign(c, cv, e, digest);
    TRY(err);
    if (bytes_equal(ID_BYTES(digest), ID_BYTES(pending.hash)))
        return apply_own(c, cv, e);
    return apply_foreign(c, cv, e, digest);
}
