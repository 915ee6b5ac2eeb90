/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a channel. Entries are applied strictly in order, each in its own
 * transaction; what is pushed is used only when it is the very next one, and
 * otherwise tells that there is something to read.
 *
 *   creating -> active -> rejoining -> active
 *                  |  \-> stopped (the server lost what we have read)
 *                  \----> left
 *
 * Nothing is sent before the log was read to its end: only so do we know that
 * neither we nor the server live on an old copy.
 */
#include "client/pump.h"

#include "client/apply.h"
#include "client/commit.h"
#include "client/outbox.h"
#include "client/rejoin.h"
#include "client/welcome.h"
#include "proto/entry.h"

#include <string.h>

#define BUSY_MIN_MS    50U
#define REOPEN_WAIT_MS (5ULL * SECOND_MS)

/* Is this a reason to read on? A server that says "behind" names a handshake
 * entry that the append did not know; so it is either yet to come, or was
 * applied since. */
bool behind_believed(const struct conv *cv, const struct answered *a)
{
    uint64_t newest = a->answer->detail;
    return newest > a->call.after &&
           (newest > cv->cursor || newest <= cv->handshake);
}

struct access conv_access(const struct conv *cv)
{
    return (struct access){.channel = ID_BYTES(cv->channel),
                           .sub = ID_BYTES(cv->sub),
                           .cap = ID_BYTES(cv->cap)};
}

/* The server knows what this device did, and this profile does not. */
static enum err store_is_old(struct client *c, struct conv *cv)
{
    return rejoin_begin(c, cv, CLIENT_STORE_OLD,
                        "this profile was restored from an old copy: the "
                        "others are asked to add it again, and until then "
                        "nothing is sent");
}

/* --- creating --- */

static enum err send_create(struct client *c, struct conv *cv)
{
    struct lane_state *l = cv->server->anonymous;
    struct request q = {0};
    if (call_active(l, TASK_CREATE, cv->id))
        return OK;
    uint8_t cap_hash[HASH256_SIZE];
    TRY(sha256(c, PARTS(ID_BYTES(cv->cap)), cap_hash));
    q.channel_create.channel = ID_BYTES(cv->channel);
    q.channel_create.sub = ID_BYTES(cv->sub);
    q.channel_create.cap_hash = ID_BYTES(cap_hash);
    const struct work *work = NULL;
    TRY(work_slice(c, l,
                   &(struct work_for){TASK_CREATE, cv->id, POW_CHANNEL_CREATE,
                                      ID_BYTES(cv->channel)},
                   &work));
    if (work == NULL)
        return OK;
    q.channel_create.pow = work->pow;
    return call_send(c, l, &(struct call){.task = TASK_CREATE, .row = cv->id},
                     &q);
}

enum err on_create(const struct answered *a)
{
    struct client *c = a->client;
    struct conv *cv = conv_find(c, a->call.row);
    if (cv == NULL || cv->state != CLIENT_CREATING)
        return OK;
    if (a->answer->status == STATUS_BUSY) {
        cv->retry_at = c->now + BUSY_MIN_MS + a->answer->detail;
        return OK;
    }
    if (a->answer->status == STATUS_AUTH) { /* a new day began */
        cv->retry_at = c->now + MINUTE_MS;
        return OK;
    }
    if (a->answer->status == STATUS_EXISTS) /* and has gone on since */
        return store_is_old(c, cv);
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "channel created", &step));
    if (a->answer->status == STATUS_OK) {
        cv->state = CLIENT_ACTIVE;
    } else {
        cv->retry_at = c->now + MINUTE_MS;
        TRY(client_note(c, CLIENT_COMMAND_FAILED,
                        status_text((enum status)a->answer->status)));
    }
    TRY(conv_save(c, cv));
    return step_commit(&step);
}

/* --- attaching --- */

static enum err send_attach(struct client *c, struct conv *cv)
{
    struct request q = {.attach = {.access = conv_access(cv)}};
    return call_send(c, cv->server->anonymous,
                     &(struct call){.task = TASK_ATTACH,
                                    .row = cv->id,
                                    .value = cv->first,
                                    .after = cv->state == CLIENT_LEFT},
                     &q);
}

#define LOST_ENTRIES                                                  \
    "the server was restored from an old copy and lost entries that " \
    "were read here: begin a new conversation"
#define LOST_CHANNEL                                                        \
    "the server does not know this conversation any more: nobody used "     \
    "it for 30 days, or the server was restored from an old copy: begin a " \
    "new conversation"

/* The server lost what we have read. */
static enum err conv_stop(struct client *c, struct conv *cv, const char *detail)
{
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "server restored", &step));
    TRY(conv_over(c, cv));
    cv->state = CLIENT_STOPPED;
    TRY(conv_save(c, cv));
    TRY(conv_notice(
        c, cv,
        &(struct notice){.kind = CLIENT_SERVER_RESTORED, .detail = detail}));
    return step_commit(&step);
}

/* Answers that a channel or a subscription is not there. */
static enum err access_refused(struct client *c, struct conv *cv,
                               const struct answer *answer)
{
    if (answer->status == STATUS_BUSY) {
        cv->retry_at = c->now + BUSY_MIN_MS + answer->detail;
        return OK;
    }
    if (answer->status == STATUS_LIMIT) {
        cv->retry_at = c->now + MINUTE_MS;
        return OK;
    }
    if (cv->state != CLIENT_ACTIVE)
        return OK;
    if (answer->status == STATUS_STATE && answer->detail > cv->cursor)
        return store_is_old(c, cv);
    if (answer->status == STATUS_STATE) { /* ended, by a commit that does not
                                             count: the others reopen it */
        cv->attached = false;
        cv->retry_at = c->now + REOPEN_WAIT_MS;
        return OK;
    }
    if (answer->status == STATUS_NOTFOUND && cv->cursor > 0)
        return conv_stop(c, cv, LOST_CHANNEL);
    return rejoin_begin(c, cv, CLIENT_REJOIN,
                        "the server refuses our subscription");
}

enum err on_attach(const struct answered *a)
{
    struct client *c = a->client;
    struct conv *cv = conv_find(c, a->call.row);
    if (cv == NULL || a->call.value != cv->first)
        return OK; /* asked before this device was added again */
    if (cv->state == CLIENT_LEFT && a->call.after == 0)
        return OK; /* asked before it was over */
    if (cv->state == CLIENT_LEFT && a->answer->status != STATUS_BUSY)
        return rejoin_look(c, cv, a->answer->status == STATUS_OK);
    if (a->answer->status != STATUS_OK)
        return access_refused(c, cv, a->answer);
    const struct attach_answer *at = &a->answer->attach;
    if (at->cursor > cv->cursor)
        return store_is_old(c, cv);
    /* What the server confirmed once, it knows; or it went back in time, even
     * if its log has grown since. */
    if (at->head < cv->cursor || at->cursor < cv->acked ||
        at->handshake < cv->handshake)
        return conv_stop(c, cv, LOST_ENTRIES);
    if (at->head > cv->cursor && at->oldest > cv->cursor + 1)
        return rejoin_begin(c, cv, CLIENT_REJOIN,
                            "entries were deleted before they were read");
    cv->attached = true;
    cv->unsure = at->cursor < cv->cursor;
    cv->checked = at->cursor;
    cv->head = at->head;
    return outbox_check_head(c, cv);
}

/* --- reading --- */

/* After attaching, what was read but not acknowledged is read again: an old
 * copy of the server may have gone on from there in another way. */
static uint64_t read_after(const struct conv *cv)
{
    return cv->checked < cv->cursor ? cv->checked : cv->cursor;
}

static enum err send_read(struct client *c, struct conv *cv)
{
    struct request q = {.read = {.access = conv_access(cv),
                                 .after = read_after(cv),
                                 .max_bytes = READ_BYTES_MAX}};
    return call_send(c, cv->server->anonymous,
                     &(struct call){.task = TASK_READ,
                                    .row = cv->id,
                                    .value = cv->head,
                                    .after = read_after(cv)},
                     &q);
}

static enum err hash_at(struct client *c, const struct conv *cv, uint64_t seq,
                        struct log_hash *out)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "SELECT hash FROM log_hash WHERE conversation = ?"
                         " AND seq = ?");
    sql_put_u64(&q, (uint64_t)cv->id);
    sql_put_u64(&q, seq);
    TRY(sql_one(&q));
    return row_copy(&q, 0, out->data, sizeof out->data);
}

/* Is this the entry that was read with its number before? Yes, too, when the
 * hashes are not kept for so long. */
static enum err is_same(struct client *c, const struct conv *cv,
                        const struct entry *e, bool *out)
{
    struct log_hash before = {0}, after = {0};
    enum err err = hash_at(c, cv, e->seq - 1, &before);
    if (err == OK)
        err = hash_at(c, cv, e->seq, &after);
    *out = true;
    if (err != OK)
        return err == ERR_NOTFOUND ? OK : err;
    TRY(log_hash_next(c->crypto, &before, e));
    *out = bytes_equal(ID_BYTES(before.data), ID_BYTES(after.data));
    return OK;
}

static enum err take_entry(struct client *c, struct conv *cv,
                           const struct entry *e)
{
    bool same = true;
    if (e->seq > cv->cursor + 1)
        return ERR_INVALID; /* withheld or reordered */
    if (e->seq <= cv->cursor && e->seq > cv->checked)
        TRY(is_same(c, cv, e, &same));
    if (!same)
        return conv_stop(c, cv, LOST_ENTRIES);
    if (e->seq == cv->cursor + 1)
        TRY(apply_entry(c, cv, e));
    if (e->seq > cv->checked)
        cv->checked = e->seq;
    return OK;
}

enum err on_read(const struct answered *a)
{
    struct client *c = a->client;
    struct conv *cv = conv_find(c, a->call.row);
    if (cv == NULL || cv->state != CLIENT_ACTIVE)
        return OK;
    if (a->answer->status != STATUS_OK)
        return access_refused(c, cv, a->answer);
    const struct read_answer *read = &a->answer->read;
    if (read->head < cv->cursor)
        return conv_stop(c, cv, LOST_ENTRIES);
    if (read->head > cv->cursor && read->oldest > cv->cursor + 1)
        return rejoin_begin(c, cv, CLIENT_REJOIN,
                            "entries were deleted before they were read");
    if (read->head < a->call.value)
        return ERR_INVALID; /* it spoke of entries that are not there */
    if (read->head > cv->head)
        cv->head = read->head;
    /* A server that gives nothing, and has more, would be asked for ever. */
    if (read->entries.len == 0 && read->head > cv->cursor)
        return ERR_INVALID;
    if (read->entries.len == 0)
        cv->checked = cv->cursor; /* nothing of it is there any more */
    struct reader r = reader_of(read->entries);
    while (reader_more(&r) && cv->state == CLIENT_ACTIVE) {
        struct entry e = {0};
        entry_read(&r, &e);
        if (e.seq <= a->call.after)
            return ERR_INVALID; /* it was not asked for */
        TRY(take_entry(c, cv, &e));
    }
    return OK;
}

enum err on_entry_event(struct client *c, struct lane_state *l,
                        const struct entry_event *e)
{
    struct conv *cv = conv_by_channel(c, e->channel);
    if (cv == NULL || cv->server != l->server || !cv->attached ||
        cv->state != CLIENT_ACTIVE || e->seq == 0)
        return OK;
    if (e->seq > cv->head)
        cv->head = e->seq;
    if (e->seq != cv->cursor + 1 || cv->checked < cv->cursor)
        return OK; /* known, or the pump will read what is between */
    struct entry entry = {
        .seq = e->seq, .time = e->time, .kind = e->kind, .body = e->body};
    return take_entry(c, cv, &entry);
}

enum err on_head_event(struct client *c, struct lane_state *l,
                       const struct head_event *e)
{
    struct conv *cv = conv_by_channel(c, e->channel);
    if (cv != NULL && cv->server == l->server)
        cv->attached = false; /* no pushes any more: attach and read on */
    return OK;
}

/* --- acknowledging --- */

static enum err send_ack(struct client *c, struct conv *cv)
{
    struct request q = {.ack = {.access = conv_access(cv), .upto = cv->cursor}};
    return call_send(
        c, cv->server->anonymous,
        &(struct call){.task = TASK_ACK, .row = cv->id, .value = cv->cursor},
        &q);
}

enum err on_ack(const struct answered *a)
{
    struct client *c = a->client;
    struct conv *cv = conv_find(c, a->call.row);
    if (cv == NULL)
        return OK;
    bool over = cv->state == CLIENT_LEFT && a->answer->status != STATUS_BUSY;
    if (a->answer->status != STATUS_OK && !over)
        return access_refused(c, cv, a->answer);
    /* A subscription that was ended, wrongly, is attached as long as it has
     * something to acknowledge, but is told nothing: attach again. */
    if (cv->unsure) {
        cv->unsure = false;
        cv->attached = false;
    }
    if (a->call.value <= cv->acked)
        return OK;
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "acknowledged", &step));
    cv->acked = a->call.value;
    TRY(conv_save(c, cv));
    return step_commit(&step);
}

/* --- reopening --- */

/* A commit that does not count has ended somebody's subscription: any member
 * opens it again. Or we joined again, and give the capability from before up
 * for the new one: what it has not acknowledged would be kept for it. */
static enum err send_reopen(struct client *c, struct conv *cv)
{
    CLEANUP(sql_end)
    struct sql_query row =
        sql_query(c->db, "SELECT id, subscription, capability FROM reopen"
                         " WHERE conversation = ? ORDER BY id LIMIT 1");
    sql_put_u64(&row, (uint64_t)cv->id);
    if (!sql_next(&row))
        return sql_finish(&row);
    struct request q = {
        .reopen = {.access = conv_access(cv), .target = sql_bytes(&row, 1)}};
    if (sql_bytes(&row, 2).len > 0)
        q.reopen.access.cap = sql_bytes(&row, 2);
    return call_send(c, cv->server->anonymous,
                     &(struct call){.task = TASK_REOPEN,
                                    .row = cv->id,
                                    .value = sql_u64(&row, 0)},
                     &q);
}

enum err on_reopen(const struct answered *a)
{
    struct client *c = a->client;
    struct conv *cv = conv_find(c, a->call.row);
    if (cv == NULL)
        return OK;
    if (a->answer->status == STATUS_BUSY)
        return access_refused(c, cv, a->answer);
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "reopened", &step));
    CLEANUP(sql_end)
    struct sql_query q = sql_query(c->db, "DELETE FROM reopen WHERE id = ?");
    sql_put_u64(&q, a->call.value);
    TRY(sql_run(&q));
    return step_commit(&step);
}

/* --- what a conversation does next --- */

static enum err active_pump(struct client *c, struct conv *cv)
{
    if (!cv->attached)
        return send_attach(c, cv);
    if (read_after(cv) < cv->head)
        return send_read(c, cv);
    if (cv->acked < cv->cursor)
        TRY(send_ack(c, cv));
    TRY(send_reopen(c, cv));
    TRY(welcome_pump(c, cv));
    bool busy = false;
    TRY(commit_pump(c, cv, &busy));
    return busy ? OK : outbox_pump(c, cv);
}

static enum err left_pump(struct client *c, struct conv *cv)
{
    TRY(send_reopen(c, cv)); /* what it was from before its last return */
    if (cv->acked < cv->cursor)
        return send_ack(c, cv);
    if (cv->rejoin_at == 0 || !client_due(c, cv->rejoin_at))
        return OK;
    return send_attach(c, cv);
}

enum err conv_pump(struct client *c, struct conv *cv)
{
    if (cv->state == CLIENT_REJOINING)
        return rejoin_pump(c, cv);
    if (cv->server->anonymous->phase != LANE_READY ||
        !client_due(c, cv->retry_at))
        return OK;
    switch (cv->state) {
    case CLIENT_CREATING:
        return send_create(c, cv);
    case CLIENT_ACTIVE:
        return active_pump(c, cv);
    case CLIENT_LEFT: /* the server keeps for us what we do not acknowledge */
        return left_pump(c, cv);
    case CLIENT_REJOINING:
    case CLIENT_STOPPED:
        break;
    }
    return OK;
}
