/* SPDX-License-Identifier: Apache-2.0 */
#include "client/welcome.h"

#include "client/mail.h"
#include "client/people.h"

#define HOUR_MS      (60 * MINUTE_MS)
#define WAIT_MS      (2 * HOUR_MS)
#define SPREAD_MS    HOUR_MS /* times the members: one of them in an hour */
#define AGAIN_MS     DAY_MS
#define POINTERS_MAX 2U /* of one member to one leaf */

struct pointer {
    struct bytes account;
    struct bytes signature_key;
    struct bytes blob;
    struct bytes blob_key;
    uint64_t seq;
    struct bytes log_hash;
};

static enum err pointer_send(struct client *c, const struct conv *cv,
                             const struct pointer *p)
{
    CLEANUP(chain_free) struct chain *chain = NULL;
    TRY(member_chain(c, cv->id, p->account, &chain));
    const struct device *device =
        state_device_of_key(chain_newest(chain), p->signature_key);
    if (device == NULL)
        return OK; /* revoked meanwhile */
    const struct inbox_message m = {
        .type = INBOX_WELCOME,
        .welcome = {.server_address = bytes_str(cv->server->address),
                    .server_key = ID_BYTES(cv->server->key),
                    .channel = ID_BYTES(cv->channel),
                    .blob = p->blob,
                    .blob_key = p->blob_key,
                    .commit_seq = p->seq,
                    .log_hash = p->log_hash}};
    return mail_add(c, cv->id, p->account, device, &m);
}

static enum err spread(struct client *c, const struct conv *cv, uint64_t *out)
{
    size_t members = 0;
    TRY(member_count(c, cv->id, &members));
    *out = client_jitter(c, members * SPREAD_MS);
    return OK;
}

static enum err remember(struct client *c, const struct conv *cv,
                         const struct pointer *p, bool own)
{
    uint64_t jitter = 0;
    TRY(spread(c, cv, &jitter));
    CLEANUP(sql_end)
    struct sql_query q = sql_query(
        c->db, "INSERT OR REPLACE INTO silent (conversation, signature_key,"
               " account, blob, blob_key, seq, log_hash, sent, not_before)"
               " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)");
    sql_put_u64(&q, (uint64_t)cv->id);
    sql_put_bytes(&q, p->signature_key);
    sql_put_bytes(&q, p->account);
    sql_put_bytes(&q, p->blob);
    sql_put_bytes(&q, p->blob_key);
    sql_put_u64(&q, p->seq);
    sql_put_bytes(&q, p->log_hash);
    sql_put_u64(&q, own);
    sql_put_u64(&q, c->now + (own ? AGAIN_MS : WAIT_MS) + jitter);
    return sql_run(&q);
}

enum err welcome_note(struct client *c, const struct conv *cv,
                      const struct sotto_change *change, const struct policy *p,
                      bool own)
{
    if (change->kind == SOTTO_CHANGE_REMOVE)
        return welcome_heard(c, cv, from_sotto(change->before.signature_key));
    const struct pointer pointer = {
        .account = from_sotto(change->after.identity),
        .signature_key = from_sotto(change->after.signature_key),
        .blob = p->joining.blob,
        .blob_key = p->joining.key,
        .seq = cv->cursor,
        .log_hash = ID_BYTES(cv->log_hash.data)};
    if (bytes_equal(pointer.signature_key, buf_bytes(&c->profile.sign_public)))
        return OK; /* removed and added again: the others tell this device */
    if (own)
        TRY(pointer_send(c, cv, &pointer));
    return remember(c, cv, &pointer, own);
}

enum err welcome_heard(struct client *c, const struct conv *cv,
                       struct bytes signature_key)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "DELETE FROM silent WHERE conversation = ? AND"
                         " signature_key = ?");
    sql_put_u64(&q, (uint64_t)cv->id);
    sql_put_bytes(&q, signature_key);
    return sql_run(&q);
}

enum err welcome_forget(struct client *c, const struct conv *cv)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "DELETE FROM silent WHERE conversation = ?");
    sql_put_u64(&q, (uint64_t)cv->id);
    return sql_run(&q);
}

/* --- again --- */

static enum err count_sent(struct client *c, const struct conv *cv,
                           struct bytes signature_key)
{
    uint64_t jitter = 0;
    TRY(spread(c, cv, &jitter));
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "UPDATE silent SET sent = sent + 1, not_before = ?"
                         " WHERE conversation = ? AND signature_key = ?");
    sql_put_u64(&q, c->now + AGAIN_MS + jitter);
    sql_put_u64(&q, (uint64_t)cv->id);
    sql_put_bytes(&q, signature_key);
    TRY(sql_run(&q));
    CLEANUP(sql_end)
    struct sql_query done =
        sql_query(c->db, "DELETE FROM silent WHERE conversation = ? AND"
                         " sent >= ?");
    sql_put_u64(&done, (uint64_t)cv->id);
    sql_put_u64(&done, POINTERS_MAX);
    return sql_run(&done);
}

static enum err send_again(struct client *c, const struct conv *cv,
                           const struct pointer *p)
{
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "tell a silent leaf", &step));
    enum err err = pointer_send(c, cv, p);
    if (err != OK && err != ERR_NOTFOUND)
        return err;
    TRY(count_sent(c, cv, p->signature_key));
    return step_commit(&step);
}

/* A row's fields, for as long as a step lasts. */
struct silent {
    uint8_t account[ID_SIZE];
    uint8_t signature_key[KEY_SIZE];
    uint8_t blob[ID_SIZE];
    uint8_t blob_key[CAP_SIZE];
    uint64_t seq;
    uint8_t log_hash[HASH256_SIZE];
};

/* The first that is due; ERR_NOTFOUND: none. */
static enum err silent_next(struct client *c, const struct conv *cv,
                            struct silent *out)
{
    CLEANUP(sql_end)
    struct sql_query q = sql_query(
        c->db, "SELECT not_before, account, signature_key, blob, blob_key,"
               " seq, log_hash FROM silent WHERE conversation = ?"
               " ORDER BY not_before LIMIT 1");
    sql_put_u64(&q, (uint64_t)cv->id);
    TRY(sql_one(&q));
    if (!client_due(c, sql_u64(&q, 0)))
        return ERR_NOTFOUND;
    TRY(row_copy(&q, 1, out->account, sizeof out->account));
    TRY(row_copy(&q, 2, out->signature_key, sizeof out->signature_key));
    TRY(row_copy(&q, 3, out->blob, sizeof out->blob));
    TRY(row_copy(&q, 4, out->blob_key, sizeof out->blob_key));
    out->seq = sql_u64(&q, 5);
    return row_copy(&q, 6, out->log_hash, sizeof out->log_hash);
}

enum err welcome_pump(struct client *c, const struct conv *cv)
{
    struct silent s = {0};
    for (;;) {
        enum err err = silent_next(c, cv, &s);
        if (err != OK)
            return err == ERR_NOTFOUND ? OK : err;
        TRY(send_again(c, cv,
                       &(struct pointer){ID_BYTES(s.account),
                                         ID_BYTES(s.signature_key),
                                         ID_BYTES(s.blob), ID_BYTES(s.blob_key),
                                         s.seq, ID_BYTES(s.log_hash)}));
    }
}
