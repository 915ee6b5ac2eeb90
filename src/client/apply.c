/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One entry, one transaction: the group's state, the message, the running hash
 * and the cursor change together. What an entry is made of can make it be
 * skipped, for a cause that is shown, but it never stops the log.
 */
#include "client/apply.h"

#include "client/groups.h"
#include "client/messages.h"
#include "client/outbox.h"
#include "client/people.h"
#include "client/rejoin.h"
#include "client/welcome.h"
#include "proto/entry.h"

#include <string.h>

#define LOG_HASHES_KEPT 4096U /* to compare with what others saw */

struct kind_row {
    enum err (*apply)(struct client *c, struct conv *cv, const struct entry *e);
    bool handshake; /* appends must know it: channel rule 1 */
};

/* Standalone proposals are not used: a commit carries its own. Skipping all of
 * them is the same for all members, and nothing waits for one. */
static enum err apply_proposal(struct client *c, struct conv *cv,
                               const struct entry *e)
{
    return apply_skip(c, cv, e, "a proposal outside a commit");
}

static const struct kind_row kinds[] = {
    [ENTRY_APPLICATION] = {apply_application, false},
    [ENTRY_PROPOSAL] = {apply_proposal, true},
    [ENTRY_COMMIT] = {apply_commit, true},
};

enum err apply_skip(struct client *c, struct conv *cv, const struct entry *e,
                    const char *cause)
{
    c->counters.skipped++;
    return conv_notice(c, cv,
                       &(struct notice){.kind = CLIENT_ENTRY_SKIPPED,
                                        .detail = cause,
                                        .time = e->time * SECOND_MS});
}

static enum err log_hash_store(struct client *c, const struct conv *cv)
{
    CLEANUP(sql_end)
    struct sql_query put =
        sql_query(c->db, "INSERT OR REPLACE INTO log_hash (conversation, seq,"
                         " hash) VALUES (?, ?, ?)");
    sql_put_u64(&put, (uint64_t)cv->id);
    sql_put_u64(&put, cv->cursor);
    sql_put_bytes(&put, ID_BYTES(cv->log_hash.data));
    TRY(sql_run(&put));
    if (cv->cursor <= LOG_HASHES_KEPT)
        return OK;
    CLEANUP(sql_end)
    struct sql_query drop = sql_query(
        c->db, "DELETE FROM log_hash WHERE conversation = ? AND seq = ?");
    sql_put_u64(&drop, (uint64_t)cv->id);
    sql_put_u64(&drop, cv->cursor - LOG_HASHES_KEPT);
    return sql_run(&drop);
}

enum err apply_entry(struct client *c, struct conv *cv, const struct entry *e)
{
    if (e->kind >= sizeof kinds / sizeof kinds[0] ||
        kinds[e->kind].apply == NULL)
        return ERR_INVALID; /* the server's fault: it checks the kind */
    const struct kind_row *kind = &kinds[e->kind];
    struct sotto_group *group = NULL;
    struct commit_data lists = {0};
    /* What a server must refuse: all see it alike, so all skip it. */
    bool formed = entry_check(e->kind, e->body, &lists) == OK;
    TRY(conv_group(c, cv, &group));
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "apply entry", &step));
    TRY(log_hash_next(c->crypto, &cv->log_hash, e));
    cv->cursor = e->seq;
    if (kind->handshake)
        cv->handshake = e->seq;
    TRY(log_hash_store(c, cv));
    TRY(formed ? kind->apply(c, cv, e)
               : apply_skip(c, cv, e, "an entry that servers must refuse"));
    if (cv->group != NULL)
        TRY(conv_group_save(c, cv));
    TRY(conv_save(c, cv));
    return step_commit(&step);
}

/* --- application entries --- */

/* Did the sender see the same log as we did, up to where it was? */
static enum err check_position(struct client *c, struct conv *cv,
                               const struct envelope *env,
                               const struct entry *e)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "SELECT hash FROM log_hash WHERE conversation = ?"
                         " AND seq = ?");
    sql_put_u64(&q, (uint64_t)cv->id);
    sql_put_u64(&q, env->seq);
    bool bad = env->seq >= e->seq;
    if (!bad && sql_next(&q))
        bad = !bytes_equal(sql_bytes(&q, 0), env->log_hash);
    TRY(sql_finish(&q));
    if (!bad)
        return OK;
    return conv_notice(c, cv,
                       &(struct notice){.kind = CLIENT_LOG_MISMATCH,
                                        .detail =
                                            "the sender saw another log: the "
                                            "server shows different logs to "
                                            "different people",
                                        .time = e->time * SECOND_MS});
}

static enum err apply_plaintext(struct client *c, struct conv *cv,
                                const struct entry *e,
                                const struct sotto_result *result)
{
    struct sotto_leaf leaf = {0};
    struct leaf_claim claim = {0};
    struct envelope env = {0};
    if (sotto_group_member(cv->group, result->sender, &leaf) != SOTTO_OK ||
        leaf_claim_read(&leaf, &claim) != OK)
        return apply_skip(c, cv, e, "a message of nobody");
    TRY(welcome_heard(c, cv, claim.signature_key));
    if (result->authenticated_data.len > 0)
        return apply_skip(c, cv, e, "a message with data in the clear");
    if (envelope_read(from_sotto_buf(&result->content), &env) != OK)
        return apply_skip(c, cv, e, "a message in a form we do not know");
    TRY(check_position(c, cv, &env, e));
    struct incoming in = {.conv = cv,
                          .entry = e,
                          .account = claim.account,
                          .signature_key = claim.signature_key,
                          .envelope = &env};
    return message_receive(c, &in);
}

static const char *outcome_text(enum sotto_outcome outcome)
{
    switch (outcome) {
    case SOTTO_DUPLICATE:
        return "a message whose key was used already";
    case SOTTO_FUTURE_EPOCH:
        return "a message of an epoch that we do not know";
    case SOTTO_TOO_OLD:
        return "a message whose key is gone";
    case SOTTO_WRONG_GROUP:
        return "a message of another conversation";
    case SOTTO_APPLICATION:
    case SOTTO_PROPOSAL:
    case SOTTO_COMMIT:
    case SOTTO_OWN_COMMIT:
    case SOTTO_OWN_MESSAGE:
    case SOTTO_CANNOT_APPLY:
        break;
    }
    return "a message of another kind than the server says";
}

enum err apply_application(struct client *c, struct conv *cv,
                           const struct entry *e)
{
    bool own = false;
    TRY(outbox_returned(c, cv, e, &own));
    if (own)
        return OK;
    CLEANUP(sotto_result_free) struct sotto_result result = {0};
    enum err err = err_of_sotto(
        sotto_group_process(cv->group, to_sotto(e->body), &result));
    if (err == ERR_NOMEM || err == ERR_IO)
        return err;
    if (err != OK)
        return apply_skip(c, cv, e, "a message that does not decrypt");
    if (result.outcome == SOTTO_OWN_MESSAGE)
        return rejoin_mark(c, cv, CLIENT_STORE_OLD,
                           "this device sent a message that this profile, an "
                           "old copy, does not know: the others are asked to "
                           "add it again, and until then nothing is sent");
    if (result.outcome != SOTTO_APPLICATION)
        return apply_skip(c, cv, e, outcome_text(result.outcome));
    return apply_plaintext(c, cv, e, &result);
}
