/* SPDX-License-Identifier: Apache-2.0 */
#include "client/outbox.h"

#include "base/mem.h"
#include "client/apply.h"
#include "client/groups.h"
#include "client/pump.h"
#include "proto/content.h"
#include "proto/entry.h"

#include <string.h>

enum outbox_state {
    OUTBOX_QUEUED = 0,
    OUTBOX_SENT = 1,     /* encrypted; may be in the log or not */
    OUTBOX_ACCEPTED = 2, /* in the log; has not come back yet */
};

struct outbox_row {
    int64_t id;
    int64_t message;
    uint8_t key[IDEMPOTENCY_KEY];
    enum outbox_state state;
    uint8_t type;
    uint8_t content[CONTENT_ID_SIZE];
    uint64_t epoch;
    struct buf body;
    struct buf ciphertext;
};

static void outbox_row_clear(struct outbox_row *r)
{
    buf_clear(&r->body);
    buf_clear(&r->ciphertext);
}

/* --- queueing --- */

static enum err insert(struct client *c, const struct conv *cv,
                       const struct outbox_row *r, struct bytes body)
{
    uint8_t key[IDEMPOTENCY_KEY];
    random_fill(c->random, key, sizeof key);
    CLEANUP(sql_end)
    struct sql_query q = sql_query(
        c->db, "INSERT INTO outbox (conversation, message, key, state, type,"
               " content, body, epoch, ciphertext, seq)"
               " VALUES (?, ?, ?, 0, ?, ?, ?, 0, x'', 0)");
    sql_put_u64(&q, (uint64_t)cv->id);
    sql_put_u64(&q, (uint64_t)r->message);
    sql_put_bytes(&q, ID_BYTES(key));
    sql_put_u64(&q, r->type);
    sql_put_bytes(&q, ID_BYTES(r->content));
    sql_put_bytes(&q, body);
    return sql_run(&q);
}

enum err outbox_add(struct client *c, const struct conv *cv,
                    enum envelope_type type, struct bytes body, int64_t message)
{
    struct outbox_row r = {.type = (uint8_t)type, .message = message};
    random_fill(c->random, r.content, sizeof r.content);
    return insert(c, cv, &r, body);
}

/* Too large for a stack. */
static void content_release(struct content **p)
{
    mem_free(*p, sizeof **p);
    *p = NULL;
}

enum err outbox_text(struct client *c, const struct conv *cv, struct bytes text,
                     int64_t *out_message)
{
    CLEANUP(content_release)
    struct content *content = mem_alloc(sizeof *content);
    if (content == NULL)
        return ERR_NOMEM;
    uint8_t salt[CONTENT_SALT_SIZE];
    random_fill(c->random, salt, sizeof salt);
    content_text(content, ID_BYTES(salt), text);
    CLEANUP(buf_clear) struct buf body = buf_new(CONTENT_MAX);
    TRY(content_write(&body, content));
    struct outbox_row r = {.type = ENVELOPE_CONTENT};
    random_fill(c->random, r.content, sizeof r.content);
    struct message_row row = {
        .conversation = cv->id,
        .time = c->now,
        .own = true,
        .read = true,
        .account = ID_BYTES(c->profile.account),
        .device = buf_bytes(&c->profile.sign_public),
        .content = ID_BYTES(r.content),
        .body = text,
    };
    TRY(message_insert(c, &row, out_message));
    r.message = *out_message;
    return insert(c, cv, &r, buf_bytes(&body));
}

/* --- sending --- */

static enum err outbox_next(struct client *c, const struct conv *cv,
                            struct outbox_row *r)
{
    CLEANUP(sql_end)
    struct sql_query q = sql_query(
        c->db, "SELECT id, message, key, state, type, content, body, epoch,"
               " ciphertext FROM outbox WHERE conversation = ? AND (state < 2"
               " OR seq <= ?) ORDER BY id LIMIT 1");
    sql_put_u64(&q, (uint64_t)cv->id);
    sql_put_u64(&q, cv->cursor);
    TRY(sql_one(&q));
    r->id = (int64_t)sql_u64(&q, 0);
    r->message = (int64_t)sql_u64(&q, 1);
    TRY(row_copy(&q, 2, r->key, sizeof r->key));
    r->state = (enum outbox_state)sql_u64(&q, 3);
    r->type = (uint8_t)sql_u64(&q, 4);
    TRY(row_copy(&q, 5, r->content, sizeof r->content));
    r->body = buf_new(ENVELOPE_MAX);
    TRY(buf_copy(&r->body, sql_bytes(&q, 6)));
    r->epoch = sql_u64(&q, 7);
    r->ciphertext = buf_new(ENTRY_MAX);
    return buf_copy(&r->ciphertext, sql_bytes(&q, 8));
}

static enum err tried_add(struct client *c, const struct conv *cv,
                          const struct outbox_row *r)
{
    uint8_t digest[HASH256_SIZE];
    TRY(sha256(c, PARTS(buf_bytes(&r->ciphertext)), digest));
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "INSERT INTO tried (hash, outbox, conversation, seq)"
                         " VALUES (?, ?, ?, 0)");
    sql_put_bytes(&q, ID_BYTES(digest));
    sql_put_u64(&q, (uint64_t)r->id);
    sql_put_u64(&q, (uint64_t)cv->id);
    return sql_run(&q);
}

/* Spends a key of the ratchet: stored with the ciphertext before the ciphertext
 * leaves, so that no key is ever used for two plaintexts. */
static enum err encrypt_row(struct client *c, struct conv *cv,
                            struct outbox_row *r)
{
    struct sotto_group *group = NULL;
    TRY(conv_group(c, cv, &group));
    struct envelope env = {.type = r->type,
                           .content_id = ID_BYTES(r->content),
                           .seq = cv->cursor,
                           .log_hash = ID_BYTES(cv->log_hash.data),
                           .body = buf_bytes(&r->body)};
    CLEANUP(buf_clear) struct buf plain = buf_new(ENTRY_MAX);
    TRY(envelope_write(&plain, &env));
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "encrypt message", &step));
    CLEANUP(sotto_buf_free) struct sotto_buf out = {0};
    TRY(err_of_sotto(sotto_group_protect(
        group, (struct sotto_bytes){0}, to_sotto(buf_bytes(&plain)), 0, &out)));
    TRY(buf_copy(&r->ciphertext, from_sotto_buf(&out)));
#ifdef CONTROL_LEAK /* tests/e2e/seizure: a leak that its search must find */
    memcpy(r->ciphertext.data + r->ciphertext.len - r->body.len, r->body.data,
           r->body.len);
#endif
    r->epoch = sotto_group_epoch(group);
    TRY(tried_add(c, cv, r));
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "UPDATE outbox SET state = 1, epoch = ?,"
                         " ciphertext = ? WHERE id = ?");
    sql_put_u64(&q, r->epoch);
    sql_put_bytes(&q, buf_bytes(&r->ciphertext));
    sql_put_u64(&q, (uint64_t)r->id);
    TRY(sql_run(&q));
    TRY(conv_group_save(c, cv));
    return step_commit(&step);
}

/* The server accepted it as an entry that we have read, and it was another one:
 * it hides or edits entries, or gives wrong numbers. Sent again under a new
 * key, because the old one has that answer; whoever did get it drops the copy.
 */
static enum err send_again(struct client *c, struct conv *cv, int64_t id)
{
    uint8_t key[IDEMPOTENCY_KEY];
    random_fill(c->random, key, sizeof key);
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "message is not in the log", &step));
    CLEANUP(sql_end)
    struct sql_query q = sql_query(
        c->db, "UPDATE outbox SET state = 0, key = ?, seq = 0 WHERE id = ?");
    sql_put_bytes(&q, ID_BYTES(key));
    sql_put_u64(&q, (uint64_t)id);
    TRY(sql_run(&q));
    TRY(conv_notice(
        c, cv,
        &(struct notice){.kind = CLIENT_LOG_MISMATCH,
                         .detail = "the server accepted a message and gives "
                                   "out a log without it: it is sent again"}));
    cv->retry_at = c->now + MINUTE_MS;
    TRY(conv_save(c, cv));
    (void)client_due(c, cv->retry_at);
    return step_commit(&step);
}

enum err outbox_pump(struct client *c, struct conv *cv)
{
    struct lane_state *l = cv->server->anonymous;
    if (call_active(l, TASK_MESSAGE, cv->id))
        return OK;
    CLEANUP(outbox_row_clear) struct outbox_row r = {0};
    enum err err = outbox_next(c, cv, &r);
    if (err == ERR_NOTFOUND)
        return OK;
    TRY(err);
    if (r.state == OUTBOX_ACCEPTED)
        return send_again(c, cv, r.id);
    struct sotto_group *group = NULL;
    TRY(conv_group(c, cv, &group));
    if (r.state == OUTBOX_QUEUED || r.epoch != sotto_group_epoch(group))
        TRY(encrypt_row(c, cv, &r));
    else
        c->counters.retried++;
    struct request q = {.append = {.access = conv_access(cv),
                                   .after = cv->handshake,
                                   .kind = ENTRY_APPLICATION,
                                   .idempotency_key = ID_BYTES(r.key),
                                   .body = buf_bytes(&r.ciphertext)}};
    return call_send(c, l,
                     &(struct call){.task = TASK_MESSAGE,
                                    .row = cv->id,
                                    .value = (uint64_t)r.id,
                                    .after = cv->handshake},
                     &q);
}

/* --- how it went --- */

#define TRIED_KEPT 4096U /* entries */

/* The hashes stay for a while: a server that doubles an own entry must not
 * look like an old copy of our store. */
static enum err outbox_delete(struct client *c, const struct conv *cv,
                              int64_t id)
{
    CLEANUP(sql_end)
    struct sql_query tried =
        sql_query(c->db, "UPDATE tried SET seq = ? WHERE outbox = ?");
    sql_put_u64(&tried, cv->cursor + 1);
    sql_put_u64(&tried, (uint64_t)id);
    TRY(sql_run(&tried));
    CLEANUP(sql_end)
    struct sql_query old =
        sql_query(c->db, "DELETE FROM tried WHERE conversation = ? AND"
                         " seq > 0 AND seq < ?");
    sql_put_u64(&old, (uint64_t)cv->id);
    sql_put_u64(&old, cv->cursor > TRIED_KEPT ? cv->cursor - TRIED_KEPT : 0);
    TRY(sql_run(&old));
    CLEANUP(sql_end)
    struct sql_query q = sql_query(c->db, "DELETE FROM outbox WHERE id = ?");
    sql_put_u64(&q, (uint64_t)id);
    return sql_run(&q);
}

static enum err outbox_message(struct client *c, int64_t id, int64_t *out)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "SELECT message FROM outbox WHERE id = ?");
    sql_put_u64(&q, (uint64_t)id);
    TRY(sql_one(&q));
    *out = (int64_t)sql_u64(&q, 0);
    return OK;
}

enum err outbox_check_head(struct client *c, const struct conv *cv)
{
    CLEANUP(sql_end)
    struct sql_query find =
        sql_query(c->db, "SELECT 1 FROM outbox WHERE conversation = ?"
                         " AND state = 2 AND seq > ?");
    sql_put_u64(&find, (uint64_t)cv->id);
    sql_put_u64(&find, cv->head);
    bool any = sql_next(&find);
    TRY(sql_finish(&find));
    if (!any)
        return OK;
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "message not accepted", &step));
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "UPDATE outbox SET state = 1, seq = 0 WHERE"
                         " conversation = ? AND state = 2 AND seq > ?");
    sql_put_u64(&q, (uint64_t)cv->id);
    sql_put_u64(&q, cv->head);
    TRY(sql_run(&q));
    return step_commit(&step);
}

/* Can it be in a part of the log that a rejoin skipped? Only what was queued
 * before that (outbox_settle). */
static enum err maybe_skipped(struct client *c, int64_t id, uint64_t seq,
                              bool *out)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "SELECT seq FROM outbox WHERE id = ?");
    sql_put_u64(&q, (uint64_t)id);
    TRY(sql_one(&q));
    *out = seq <= sql_u64(&q, 0);
    return OK;
}

static enum err accepted(struct client *c, struct conv *cv, int64_t id,
                         uint64_t seq)
{
    int64_t message = 0;
    bool skipped = false;
    if (seq == 0)
        return ERR_INVALID; /* no entry has this number */
    enum err err = outbox_message(c, id, &message);
    if (err == ERR_NOTFOUND)
        return OK; /* it came back before this answer */
    TRY(err);
    TRY(maybe_skipped(c, id, seq, &skipped));
    if (seq > cv->head)
        cv->head = seq;
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "message accepted", &step));
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "UPDATE outbox SET state = 2, seq = ? WHERE id = ?");
    sql_put_u64(&q, seq);
    sql_put_u64(&q, (uint64_t)id);
    TRY(sql_run(&q));
    if (skipped) {
        if (message != 0)
            TRY(message_place(c, message, seq, c->now));
        TRY(outbox_delete(c, cv, id));
    }
    if (message != 0)
        TRY(client_emit(c, &(struct client_event){.kind = CLIENT_ACCEPTED,
                                                  .conversation = cv->id,
                                                  .message = message}));
    return step_commit(&step);
}

static enum err refused(struct client *c, struct conv *cv, int64_t id,
                        enum status status)
{
    int64_t message = 0;
    enum err err = outbox_message(c, id, &message);
    if (err == ERR_NOTFOUND)
        return OK;
    TRY(err);
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "message refused", &step));
    TRY(outbox_delete(c, cv, id));
    if (message != 0)
        TRY(message_fail(c, message));
    TRY(conv_notice(c, cv,
                    &(struct notice){.kind = CLIENT_SEND_FAILED,
                                     .detail = status_text(status)}));
    return step_commit(&step);
}

enum err on_message(const struct answered *a)
{
    struct client *c = a->client;
    struct conv *cv = conv_find(c, a->call.row);
    if (cv == NULL)
        return OK;
    int64_t id = (int64_t)a->call.value;
    switch ((enum status)a->answer->status) {
    case STATUS_OK:
        return accepted(c, cv, id, a->answer->append.seq);
    case STATUS_BEHIND: /* read on; then it is encrypted again */
        c->counters.behind++;
        if (!behind_believed(cv, a))
            return ERR_INVALID;
        if (a->answer->detail > cv->head)
            cv->head = a->answer->detail;
        return OK;
    case STATUS_BUSY:
        cv->retry_at = c->now + SECOND_MS + a->answer->detail;
        return OK;
    case STATUS_AUTH:
    case STATUS_NOTFOUND: /* ended, or gone: attaching again will tell */
    case STATUS_STATE:
    case STATUS_BARRED:
        cv->attached = false;
        cv->retry_at = c->now + SECOND_MS;
        return OK;
    case STATUS_MALFORMED:
    case STATUS_INVALID:
    case STATUS_EXISTS:
    case STATUS_LIMIT:
    case STATUS_UNSUPPORTED:
    case STATUS_COUNT_:
        break;
    }
    return refused(c, cv, id, (enum status)a->answer->status);
}

/* --- coming back --- */

enum err outbox_returned(struct client *c, struct conv *cv,
                         const struct entry *e, bool *out_own)
{
    uint8_t digest[HASH256_SIZE];
    TRY(sha256(c, PARTS(e->body), digest));
    CLEANUP(sql_end)
    struct sql_query q = sql_query(
        c->db, "SELECT o.id, o.message, o.state FROM tried t"
               " LEFT JOIN outbox o ON o.id = t.outbox WHERE t.hash = ?");
    sql_put_bytes(&q, ID_BYTES(digest));
    *out_own = sql_next(&q);
    if (!*out_own)
        return sql_finish(&q);
    if (sql_is_null(&q, 0)) {
        c->counters.duplicates++;
        return OK; /* it came back before: the server doubles entries */
    }
    int64_t id = (int64_t)sql_u64(&q, 0);
    int64_t message = (int64_t)sql_u64(&q, 1);
    bool known = sql_u64(&q, 2) == OUTBOX_ACCEPTED;
    TRY(outbox_delete(c, cv, id));
    if (message == 0)
        return OK;
    TRY(message_place(c, message, e->seq, e->time * SECOND_MS));
    if (known)
        return OK;
    return client_emit(c, &(struct client_event){.kind = CLIENT_ACCEPTED,
                                                 .conversation = cv->id,
                                                 .message = message});
}

enum err outbox_abandon(struct client *c, const struct conv *cv)
{
    CLEANUP(sql_end)
    struct sql_query fail = sql_query(
        c->db, "UPDATE message SET failed = 1 WHERE id IN (SELECT message FROM"
               " outbox WHERE conversation = ? AND state < 2)");
    sql_put_u64(&fail, (uint64_t)cv->id);
    TRY(sql_run(&fail));
    bool any = sql_changes(c->db) > 0;
    TRY(outbox_settle(c, cv));
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "DELETE FROM outbox WHERE conversation = ?");
    sql_put_u64(&q, (uint64_t)cv->id);
    TRY(sql_run(&q));
    if (!any)
        return OK;
    return conv_notice(
        c, cv,
        &(struct notice){.kind = CLIENT_SEND_FAILED,
                         .detail = "nothing can be sent in it any more"});
}

enum err outbox_settle(struct client *c, const struct conv *cv)
{
    CLEANUP(sql_end)
    struct sql_query place = sql_query(
        c->db, "UPDATE message SET seq = (SELECT seq FROM outbox WHERE"
               " outbox.message = message.id) WHERE id IN (SELECT message FROM"
               " outbox WHERE conversation = ? AND state = 2)");
    sql_put_u64(&place, (uint64_t)cv->id);
    TRY(sql_run(&place));
    CLEANUP(sql_end)
    struct sql_query q = sql_query(
        c->db, "DELETE FROM outbox WHERE conversation = ? AND state = 2");
    sql_put_u64(&q, (uint64_t)cv->id);
    TRY(sql_run(&q));
    /* The rest may be there too, and the answer says so when it is sent. */
    CLEANUP(sql_end)
    struct sql_query skipped =
        sql_query(c->db, "UPDATE outbox SET seq = ? WHERE conversation = ?");
    sql_put_u64(&skipped, cv->first);
    sql_put_u64(&skipped, (uint64_t)cv->id);
    return sql_run(&skipped);
}
