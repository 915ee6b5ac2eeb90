/* SPDX-License-Identifier: Apache-2.0 */
#include "client/commit.h"

#include "client/apply.h"
#include "client/groups.h"
#include "client/people.h"
#include "client/pump.h"
#include "proto/entry.h"
#include "proto/joining.h"

#include <string.h>

#define BLOB_DAYS 37U /* outlives the entry by a week */

void pending_clear(struct pending *p)
{
    buf_clear(&p->commit);
    buf_clear(&p->blob);
}

enum err pending_get(struct client *c, const struct conv *cv,
                     struct pending *out)
{
    CLEANUP(sql_end)
    struct sql_query q = sql_query(
        c->db, "SELECT state, key, hash, commit_body, epoch, blob_id,"
               " blob_key, blob, uploaded FROM pending WHERE conversation = ?");
    sql_put_u64(&q, (uint64_t)cv->id);
    TRY(sql_one(&q));
    out->state = (enum pending_state)sql_u64(&q, 0);
    TRY(row_copy(&q, 1, out->key, sizeof out->key));
    TRY(row_copy(&q, 2, out->hash, sizeof out->hash));
    out->commit = buf_new(ENTRY_MAX);
    TRY(buf_copy(&out->commit, sql_bytes(&q, 3)));
    out->epoch = sql_u64(&q, 4);
    TRY(row_copy(&q, 5, out->blob_id, sizeof out->blob_id));
    TRY(row_copy(&q, 6, out->blob_key, sizeof out->blob_key));
    out->blob = buf_new(JOINING_MAX);
    TRY(buf_copy(&out->blob, sql_bytes(&q, 7)));
    out->uploaded = sql_u64(&q, 8);
    return OK;
}

enum err pending_insert(struct client *c, const struct conv *cv,
                        const struct pending *p)
{
    CLEANUP(sql_end)
    struct sql_query q = sql_query(
        c->db, "INSERT INTO pending (conversation, state, key, hash,"
               " commit_body, epoch, blob_id, blob_key, blob, uploaded)"
               " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0)");
    sql_put_u64(&q, (uint64_t)cv->id);
    sql_put_u64(&q, p->state);
    sql_put_bytes(&q, ID_BYTES(p->key));
    sql_put_bytes(&q, ID_BYTES(p->hash));
    sql_put_bytes(&q, buf_bytes(&p->commit));
    sql_put_u64(&q, p->epoch);
    sql_put_bytes(&q, ID_BYTES(p->blob_id));
    sql_put_bytes(&q, ID_BYTES(p->blob_key));
    sql_put_bytes(&q, buf_bytes(&p->blob));
    return sql_run(&q);
}

enum err pending_delete(struct client *c, const struct conv *cv, bool done)
{
    static const char *const scripts[] = {
        "DELETE FROM taken WHERE intent IN"
        " (SELECT intent FROM pending_intent WHERE conversation = ?)",
        "DELETE FROM intent WHERE id IN"
        " (SELECT intent FROM pending_intent WHERE conversation = ?)",
        "DELETE FROM pending_intent WHERE conversation = ?",
        "DELETE FROM pending WHERE conversation = ?",
    };
    for (size_t i = done ? 0 : 2; i < sizeof scripts / sizeof scripts[0]; i++) {
        CLEANUP(sql_end) struct sql_query q = sql_query(c->db, scripts[i]);
        sql_put_u64(&q, (uint64_t)cv->id);
        TRY(sql_run(&q));
    }
    return OK;
}

/* --- upload --- */

static enum err send_blob(struct client *c, struct conv *cv,
                          const struct pending *p)
{
    struct bytes blob = buf_bytes(&p->blob);
    if (p->uploaded > blob.len)
        return ERR_INVALID;
    struct bytes rest = {blob.data + p->uploaded, blob.len - p->uploaded};
    if (rest.len > BLOB_PIECE_MAX)
        rest.len = BLOB_PIECE_MAX;
    struct request q = {.blob_put = {.access = conv_access(cv),
                                     .blob = ID_BYTES(p->blob_id),
                                     .offset = p->uploaded,
                                     .total = blob.len,
                                     .days = BLOB_DAYS,
                                     .data = rest}};
    return call_send(
        c, cv->server->anonymous,
        &(struct call){.task = TASK_BLOB_PUT, .row = cv->id, .value = p->epoch},
        &q);
}

/* Is an answer about the commit that is pending now, and not about one that has
 * lost a race since? */
static enum err is_current(struct client *c, const struct conv *cv,
                           const struct answered *a, bool *out)
{
    CLEANUP(pending_clear) struct pending p = {0};
    enum err err = pending_get(c, cv, &p);
    *out = err == OK && p.epoch == a->call.value;
    return err == ERR_NOTFOUND ? OK : err;
}

static enum err uploaded(struct client *c, struct conv *cv, uint64_t stored)
{
    CLEANUP(pending_clear) struct pending p = {0};
    TRY(pending_get(c, cv, &p));
    if (stored > p.blob.len)
        return ERR_INVALID; /* more than we have */
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "blob piece stored", &step));
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "UPDATE pending SET uploaded = ?, state = ?"
                         " WHERE conversation = ?");
    sql_put_u64(&q, stored);
    sql_put_u64(&q, stored >= p.blob.len ? PENDING_APPEND : PENDING_BLOB);
    sql_put_u64(&q, (uint64_t)cv->id);
    TRY(sql_run(&q));
    return step_commit(&step);
}

/* Remembers a commit that the server refused, as outbox.c does with messages:
 * should it be in the log all the same, the others have applied it. */
static enum err refused_add(struct client *c, const struct conv *cv)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "INSERT OR REPLACE INTO tried (hash, outbox,"
                         " conversation, seq) SELECT hash, 0, conversation, ?"
                         " FROM pending WHERE conversation = ?");
    sql_put_u64(&q, cv->cursor + 1);
    sql_put_u64(&q, (uint64_t)cv->id);
    return sql_run(&q);
}

enum err commit_was_refused(struct client *c, const uint8_t hash[HASH256_SIZE],
                            bool *out)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "SELECT 1 FROM tried WHERE hash = ? AND outbox = 0");
    sql_put_bytes(&q, bytes_of(hash, HASH256_SIZE));
    *out = sql_next(&q);
    return sql_finish(&q);
}

enum err commit_drop(struct client *c, struct conv *cv,
                     const struct intent_ids *failed, const struct notice *why)
{
    struct sotto_group *group = NULL;
    TRY(conv_group(c, cv, &group));
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "drop commit", &step));
    sotto_group_drop_pending(group);
    TRY(conv_group_save(c, cv));
    TRY(refused_add(c, cv));
    TRY(pending_delete(c, cv, failed != NULL));
    for (size_t i = 0; failed != NULL && i < failed->count; i++)
        TRY(intent_delete(c, failed->ids[i]));
    if (failed != NULL)
        cv->path_at = cv->path_at == 0 ? 0 : c->now + DAY_MS;
    else
        cv->retry_at = c->now + MINUTE_MS;
    TRY(conv_save(c, cv));
    TRY(conv_notice(c, cv, why));
    TRY(intent_end_if_alone(c, cv));
    return step_commit(&step);
}

/* A commit that can never be taken: its intents have failed. */
static enum err commit_refused(struct client *c, struct conv *cv,
                               enum status status)
{
    return commit_drop(c, cv, &(struct intent_ids){0},
                       &(struct notice){.kind = CLIENT_COMMAND_FAILED,
                                        .detail = status_text(status)});
}

/* The server took it as an entry that we have read. Unless it came back then,
 * that entry was another one: what the commit was for is tried again. */
static enum err commit_placed(struct client *c, struct conv *cv,
                              const struct answered *a)
{
    bool current = false;
    TRY(is_current(c, cv, a, &current));
    if (!current)
        return OK;
    return commit_drop(
        c, cv, NULL,
        &(struct notice){.kind = CLIENT_LOG_MISMATCH,
                         .detail = "the server accepted a commit and gives out "
                                   "a log without it: it is made again"});
}

enum err on_blob_put(const struct answered *a)
{
    struct client *c = a->client;
    struct conv *cv = conv_find(c, a->call.row);
    bool current = false;
    if (cv == NULL)
        return OK;
    TRY(is_current(c, cv, a, &current));
    if (!current)
        return OK;
    switch ((enum status)a->answer->status) {
    case STATUS_OK:
        return uploaded(c, cv, a->answer->blob_put.stored);
    case STATUS_STATE: /* an earlier piece did arrive, or did not */
        return uploaded(c, cv, a->answer->detail);
    case STATUS_BUSY:
        cv->retry_at = c->now + SECOND_MS + a->answer->detail;
        return OK;
    case STATUS_AUTH:
    case STATUS_NOTFOUND:
        cv->attached = false;
        return OK;
    default:
        return commit_refused(c, cv, (enum status)a->answer->status);
    }
}

/* --- append --- */

static enum err send_commit(struct client *c, struct conv *cv,
                            const struct pending *p)
{
    struct request q = {.append = {.access = conv_access(cv),
                                   .after = cv->handshake,
                                   .kind = ENTRY_COMMIT,
                                   .idempotency_key = ID_BYTES(p->key),
                                   .body = buf_bytes(&p->commit)}};
    return call_send(c, cv->server->anonymous,
                     &(struct call){.task = TASK_COMMIT,
                                    .row = cv->id,
                                    .value = p->epoch,
                                    .after = cv->handshake},
                     &q);
}

enum err on_commit(const struct answered *a)
{
    struct client *c = a->client;
    struct conv *cv = conv_find(c, a->call.row);
    if (cv == NULL)
        return OK;
    uint64_t seen = 0;
    bool current = false;
    switch ((enum status)a->answer->status) {
    case STATUS_OK: /* it is applied when it comes back */
        seen = a->answer->append.seq;
        if (seen <= cv->cursor)
            return commit_placed(c, cv, a);
        break;
    case STATUS_BEHIND:
        c->counters.behind++;
        if (!behind_believed(cv, a))
            return ERR_INVALID;
        seen = a->answer->detail;
        break;
    case STATUS_BUSY:
        cv->retry_at = c->now + SECOND_MS + a->answer->detail;
        return OK;
    case STATUS_AUTH:
    case STATUS_NOTFOUND:
    case STATUS_STATE:
        cv->attached = false;
        cv->retry_at = c->now + SECOND_MS;
        return OK;
    default:
        TRY(is_current(c, cv, a, &current));
        return current ? commit_refused(c, cv, (enum status)a->answer->status)
                       : OK;
    }
    if (seen > cv->head)
        cv->head = seen;
    return OK;
}

/* --- the pump --- */

enum err commit_pump(struct client *c, struct conv *cv, bool *out_busy)
{
    CLEANUP(pending_clear) struct pending p = {0};
    enum err err = pending_get(c, cv, &p);
    if (err == ERR_NOTFOUND) {
        err = commit_build(c, cv);
        if (err == OK)
            err = pending_get(c, cv, &p);
    }
    if (err == ERR_NOTFOUND) {
        /* A conversation of two with one person in it: the message waits for
         * the other one, who could not read it otherwise. */
        size_t members = 0;
        TRY(member_count(c, cv->id, &members));
        *out_busy = cv->direct && members < 2;
        return OK;
    }
    TRY(err);
    *out_busy = true;
    return p.state == PENDING_BLOB ? send_blob(c, cv, &p)
                                   : send_commit(c, cv, &p);
}
