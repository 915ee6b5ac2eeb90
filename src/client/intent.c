/* SPDX-License-Identifier: Apache-2.0 */
#include "client/intent.h"

#include "client/apply.h"
#include "client/commit.h"
#include "client/groups.h"
#include "client/people.h"
#include "client/pump.h"
#include "client/rejoin.h"

#include <stdio.h>
#include <string.h>

#define TAKE_RETRY_MS (10ULL * MINUTE_MS)
#define BUSY_MIN_MS   SECOND_MS

#define INTENT_COLUMNS                                                 \
    "id, conversation, kind, state, server, handle, account, device, " \
    "contact_cap, time, not_before"

static enum err intent_read(const struct sql_query *q, struct intent *out)
{
    struct intent i = {0};
    i.id = (int64_t)sql_u64(q, 0);
    i.conversation = (int64_t)sql_u64(q, 1);
    i.kind = (enum intent_kind)sql_u64(q, 2);
    i.state = (enum intent_state)sql_u64(q, 3);
    i.server = (int64_t)sql_u64(q, 4);
    (void)snprintf(i.handle, sizeof i.handle, "%s", sql_text(q, 5));
    TRY(row_copy(q, 6, i.account, sizeof i.account));
    TRY(row_copy(q, 7, i.device, sizeof i.device));
    i.has_cap = sql_bytes(q, 8).len > 0;
    if (i.has_cap)
        TRY(row_copy(q, 8, i.contact_cap, sizeof i.contact_cap));
    i.time = sql_u64(q, 9);
    i.not_before = sql_u64(q, 10);
    *out = i;
    return OK;
}

enum err intent_insert(struct client *c, const struct intent *i)
{
    CLEANUP(sql_end)
    struct sql_query q = sql_query(
        c->db,
        "INSERT INTO intent (conversation, kind, state, server, handle,"
        " account, device, contact_cap, time, not_before)"
        " SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, ?"
        " WHERE (SELECT count(*) FROM intent WHERE conversation = ?) < ?");
    sql_put_u64(&q, (uint64_t)i->conversation);
    sql_put_u64(&q, i->kind);
    sql_put_u64(&q, i->state);
    sql_put_u64(&q, (uint64_t)i->server);
    sql_put_text(&q, i->handle);
    sql_put_bytes(&q, ID_BYTES(i->account));
    sql_put_bytes(&q, ID_BYTES(i->device));
    sql_put_bytes(
        &q, bytes_of(i->contact_cap, i->has_cap ? sizeof i->contact_cap : 0));
    sql_put_u64(&q, i->time);
    sql_put_u64(&q, i->not_before);
    sql_put_u64(&q, (uint64_t)i->conversation);
    sql_put_u64(&q, INTENTS_MAX);
    return sql_run(&q);
}

enum err intent_get(struct client *c, int64_t id, struct intent *out)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "SELECT " INTENT_COLUMNS " FROM intent WHERE id = ?");
    sql_put_u64(&q, (uint64_t)id);
    TRY(sql_one(&q));
    return intent_read(&q, out);
}

static enum err intent_save(struct client *c, const struct intent *i)
{
    CLEANUP(sql_end)
    struct sql_query q = sql_query(
        c->db, "UPDATE intent SET state = ?, account = ?, contact_cap = ?,"
               " not_before = ? WHERE id = ?");
    sql_put_u64(&q, i->state);
    sql_put_bytes(&q, ID_BYTES(i->account));
    sql_put_bytes(
        &q, bytes_of(i->contact_cap, i->has_cap ? sizeof i->contact_cap : 0));
    sql_put_u64(&q, i->not_before);
    sql_put_u64(&q, (uint64_t)i->id);
    return sql_run(&q);
}

enum err intent_delete(struct client *c, int64_t id)
{
    static const char *const scripts[] = {
        "DELETE FROM taken WHERE intent = ?",
        "DELETE FROM pending_intent WHERE intent = ?",
        "DELETE FROM intent WHERE id = ?",
    };
    for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++) {
        CLEANUP(sql_end) struct sql_query q = sql_query(c->db, scripts[i]);
        sql_put_u64(&q, (uint64_t)id);
        TRY(sql_run(&q));
    }
    return OK;
}

enum err intent_abandon(struct client *c, const struct conv *cv)
{
    static const char *const scripts[] = {
        "DELETE FROM taken WHERE intent IN"
        " (SELECT id FROM intent WHERE conversation = ?)",
        "DELETE FROM intent WHERE conversation = ?",
    };
    TRY(pending_delete(c, cv, true));
    for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++) {
        CLEANUP(sql_end) struct sql_query q = sql_query(c->db, scripts[i]);
        sql_put_u64(&q, (uint64_t)cv->id);
        TRY(sql_run(&q));
    }
    return OK;
}

enum err intent_walk_begin(struct client *c, int64_t conversation,
                           struct intent_walk *out)
{
    out->query = sql_query(c->db, "SELECT " INTENT_COLUMNS " FROM intent"
                                  " WHERE conversation = ? ORDER BY id");
    sql_put_u64(&out->query, (uint64_t)conversation);
    return OK;
}

bool intent_walk_next(struct intent_walk *w, struct intent *out,
                      enum err *out_err)
{
    if (sql_next(&w->query)) {
        *out_err = intent_read(&w->query, out);
        return *out_err == OK;
    }
    *out_err = sql_finish(&w->query);
    return false;
}

void intent_walk_end(struct intent_walk *w) { sql_end(&w->query); }

enum err intent_adding(struct client *c, int64_t conversation, bool *out)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "SELECT count(*) FROM intent WHERE conversation = ?"
                         " AND kind = ?");
    sql_put_u64(&q, (uint64_t)conversation);
    sql_put_u64(&q, INTENT_ADD);
    TRY(sql_one(&q));
    *out = sql_u64(&q, 0) > 0;
    return OK;
}

/* --- does it still matter? --- */

static enum err leaf_added(struct client *c, const struct conv *cv,
                           struct bytes signature_key, uint64_t *out)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "SELECT added FROM leaf WHERE conversation = ? AND"
                         " signature_key = ?");
    sql_put_u64(&q, (uint64_t)cv->id);
    sql_put_bytes(&q, signature_key);
    *out = sql_next(&q) ? sql_u64(&q, 0) : 0;
    return sql_finish(&q);
}

static enum err rejoin_settled(struct client *c, struct conv *cv,
                               const struct intent *i, bool *out)
{
    CLEANUP(chain_free) struct chain *chain = NULL;
    enum err err = member_chain(c, cv->id, ID_BYTES(i->account), &chain);
    *out = err == ERR_NOTFOUND; /* the account is no member any more */
    if (err != OK)
        return err == ERR_NOTFOUND ? OK : err;
    const struct device *d =
        state_device(chain_newest(chain), ID_BYTES(i->device));
    *out = d == NULL;
    if (d == NULL)
        return OK;
    uint64_t added = 0;
    TRY(leaf_added(c, cv, d->signature_key, &added));
    *out = added >= i->time; /* somebody else has answered */
    return OK;
}

enum err intent_settled(struct client *c, struct conv *cv,
                        const struct intent *i, bool *out_settled)
{
    if (i->kind == INTENT_REJOIN)
        return rejoin_settled(c, cv, i, out_settled);
    CLEANUP(chain_free) struct chain *chain = NULL;
    enum err err = member_chain(c, cv->id, ID_BYTES(i->account), &chain);
    if (err != OK && err != ERR_NOTFOUND)
        return err;
    *out_settled = (err == OK) == (i->kind == INTENT_ADD);
    return OK;
}

/* --- what it needs next --- */

enum err intent_end_if_alone(struct client *c, struct conv *cv)
{
    size_t members = 0;
    bool adding = false;
    TRY(member_count(c, cv->id, &members));
    TRY(intent_adding(c, cv->id, &adding));
    if (!cv->direct || members > 1 || adding)
        return OK;
    TRY(conv_over(c, cv));
    return conv_save(c, cv);
}

static enum err intent_fail(struct client *c, const struct intent *i,
                            const char *why)
{
    struct conv *cv = conv_find(c, i->conversation);
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "intent failed", &step));
    TRY(intent_delete(c, i->id));
    char detail[160];
    (void)snprintf(detail, sizeof detail, "%s%s%s", i->handle,
                   i->handle[0] != '\0' ? ": " : "", why);
    if (cv != NULL) {
        TRY(conv_notice(
            c, cv,
            &(struct notice){.kind = CLIENT_COMMAND_FAILED, .detail = detail}));
        TRY(intent_end_if_alone(c, cv));
    }
    return step_commit(&step);
}

static enum err intent_later(struct client *c, struct intent *i,
                             uint64_t delay_ms)
{
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "intent later", &step));
    i->not_before = c->now + delay_ms;
    TRY(intent_save(c, i));
    return step_commit(&step);
}

/* What to do when the answer is not ok. */
static enum err intent_refused(struct client *c, struct intent *i,
                               const struct answer *answer, const char *why)
{
    if (answer->status == STATUS_BUSY)
        return intent_later(c, i, BUSY_MIN_MS + answer->detail);
    return intent_fail(c, i, why);
}

static enum err send_lookup(struct client *c, struct lane_state *l,
                            const struct intent *i)
{
    struct request q = {.lookup = {.name = bytes_str(i->handle)}};
    return call_send(c, l, &(struct call){.task = TASK_LOOKUP, .row = i->id},
                     &q);
}

enum err on_lookup(const struct answered *a)
{
    struct client *c = a->client;
    struct intent i = {0};
    enum err err = intent_get(c, a->call.row, &i);
    if (err == ERR_NOTFOUND)
        return OK;
    TRY(err);
    if (a->answer->status != STATUS_OK)
        return intent_refused(
            c, &i, a->answer,
            a->answer->status == STATUS_NOTFOUND
                ? "nobody has this handle"
                : status_text((enum status)a->answer->status));
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "looked up", &step));
    memcpy(i.account, a->answer->lookup.account_id.data, sizeof i.account);
    i.state = INTENT_CHAIN;
    TRY(intent_save(c, &i));
    return step_commit(&step);
}

static enum err send_chain(struct client *c, struct lane_state *l,
                           const struct intent *i)
{
    CLEANUP(chain_free) struct chain *chain = NULL;
    TRY(account_chain(c, ID_BYTES(i->account), &chain));
    struct request q = {.chain = {.account_id = ID_BYTES(i->account),
                                  .from = chain_version(chain) + 1}};
    return call_send(c, l, &(struct call){.task = TASK_CHAIN, .row = i->id},
                     &q);
}

/* Takes the states; the first time, the handle is pinned to the account. */
static enum err learn_chain(struct client *c, struct intent *i,
                            const struct chain_answer *answer)
{
    if (answer->states.len > 0)
        TRY(account_learn(c, ID_BYTES(i->account), answer->states));
    CLEANUP(chain_free) struct chain *chain = NULL;
    TRY(account_chain(c, ID_BYTES(i->account), &chain));
    if (chain_version(chain) == 0)
        return ERR_INVALID;
    if (chain_version(chain) < answer->newest && answer->states.len > 0)
        return OK; /* there is more: ask again */
    if (i->handle[0] != '\0')
        TRY(person_set_handle(c, ID_BYTES(i->account), i->handle, true));
    struct conv *cv = conv_find(c, i->conversation);
    if (cv != NULL && cv->direct && !cv->has_peer) {
        memcpy(cv->peer, i->account, sizeof cv->peer);
        cv->has_peer = true;
        TRY(conv_save(c, cv));
    }
    i->state = INTENT_TAKE;
    return intent_save(c, i);
}

enum err on_chain(const struct answered *a)
{
    struct client *c = a->client;
    struct intent i = {0};
    enum err err = intent_get(c, a->call.row, &i);
    if (err == ERR_NOTFOUND)
        return OK;
    TRY(err);
    if (a->answer->status != STATUS_OK)
        return intent_refused(c, &i, a->answer, "the account is not there");
    {
        CLEANUP(step_rollback) struct step step = {0};
        TRY(step_begin(c, "learn chain", &step));
        err = learn_chain(c, &i, &a->answer->chain);
        if (err == OK)
            return step_commit(&step);
    }
    if (err == ERR_NOMEM || err == ERR_IO)
        return err;
    TRY(store_reload(c));
    return intent_fail(c, &i,
                       "the server gives an account that does not verify");
}

static enum err send_take(struct client *c, struct lane_state *l,
                          const struct intent *i)
{
    struct person p = {0};
    enum err err = person_get(c, ID_BYTES(i->account), &p);
    if (err != OK && err != ERR_NOTFOUND)
        return err;
    static const uint8_t none[ID_SIZE];
    struct request q = {.kp_take = {.account_id = ID_BYTES(i->account),
                                    .pow_subject = ID_BYTES(none)}};
    if (i->kind == INTENT_REJOIN)
        q.kp_take.device_id = ID_BYTES(i->device);
    if (i->has_cap)
        q.kp_take.contact_cap = ID_BYTES(i->contact_cap);
    else if (p.has_cap)
        q.kp_take.contact_cap = ID_BYTES(p.contact_cap);
    if (call_active(l, TASK_TAKE, i->id))
        return OK;
    if (q.kp_take.contact_cap.len == 0) {
        const struct work *work = NULL;
        TRY(work_slice(c, l,
                       &(struct work_for){TASK_TAKE, i->id, POW_KP_TAKE, {0}},
                       &work));
        if (work == NULL)
            return OK;
        q.kp_take.pow_subject = ID_BYTES(work->subject);
        q.kp_take.pow = work->pow;
    }
    return call_send(c, l,
                     &(struct call){.task = TASK_TAKE,
                                    .row = i->id,
                                    .value = q.kp_take.contact_cap.len},
                     &q);
}

static enum err taken_insert(struct client *c, int64_t intent,
                             const struct device_package *p)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "INSERT OR REPLACE INTO taken (intent, device, body)"
                         " VALUES (?, ?, ?)");
    sql_put_u64(&q, (uint64_t)intent);
    sql_put_bytes(&q, p->device_id);
    sql_put_bytes(&q, p->package);
    return sql_run(&q);
}

/* A capability that is not (or no longer) the account's: try by work. */
static enum err forget_cap(struct client *c, struct intent *i)
{
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "forget capability", &step));
    TRY(person_set_cap(c, ID_BYTES(i->account), (struct bytes){0}));
    i->has_cap = false;
    TRY(intent_save(c, i));
    return step_commit(&step);
}

enum err on_take(const struct answered *a)
{
    struct client *c = a->client;
    struct intent i = {0};
    enum err err = intent_get(c, a->call.row, &i);
    if (err == ERR_NOTFOUND)
        return OK;
    TRY(err);
    if (a->answer->status == STATUS_AUTH) {
        TRY(forget_cap(c, &i));
        /* the capability was old, or a new day began while it worked */
        return intent_later(c, &i, a->call.value > 0 ? BUSY_MIN_MS : MINUTE_MS);
    }
    if (a->answer->status == STATUS_LIMIT ||
        (a->answer->status == STATUS_OK &&
         a->answer->kp_take.packages.len == 0))
        return intent_later(c, &i, TAKE_RETRY_MS); /* none are left for now */
    if (a->answer->status != STATUS_OK)
        return intent_refused(c, &i, a->answer,
                              a->answer->status == STATUS_BARRED
                                  ? status_text(STATUS_BARRED)
                                  : "no key packages can be had of it");
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "key packages taken", &step));
    struct reader r = reader_of(a->answer->kp_take.packages);
    while (reader_more(&r)) {
        struct device_package p = {0};
        device_package_read(&r, &p);
        TRY(taken_insert(c, i.id, &p));
    }
    i.state = INTENT_IS_READY;
    TRY(intent_save(c, &i));
    return step_commit(&step);
}

/* --- claimed handles --- */

static enum err verify_pump(struct client *c)
{
    if (!client_due(c, c->verify_at))
        return OK;
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "SELECT rowid, server, handle FROM account"
                         " WHERE pinned = 0 AND handle != ''");
    while (sql_next(&q)) {
        struct server *s = server_find(c, (int64_t)sql_u64(&q, 1));
        if (s == NULL || s->anonymous->phase != LANE_READY)
            continue;
        struct request request = {
            .lookup = {.name = bytes_str(sql_text(&q, 2))}};
        TRY(call_send(
            c, s->anonymous,
            &(struct call){.task = TASK_VERIFY, .row = (int64_t)sql_u64(&q, 0)},
            &request));
    }
    return sql_finish(&q);
}

enum err on_verify(const struct answered *a)
{
    struct client *c = a->client;
    if (a->answer->status != STATUS_OK &&
        a->answer->status != STATUS_NOTFOUND) {
        c->verify_at = c->now + MINUTE_MS;
        return OK;
    }
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "verify handle", &step));
    bool found = a->answer->status == STATUS_OK;
    CLEANUP(sql_end)
    struct sql_query q = sql_query(
        c->db, "UPDATE account SET pinned = (account = ?1), handle ="
               " iif(account = ?1, handle, '') WHERE rowid = ? AND pinned = 0");
    sql_put_bytes(&q, found ? a->answer->lookup.account_id : BYTES_LIT("-"));
    sql_put_u64(&q, (uint64_t)a->call.row);
    TRY(sql_run(&q));
    return step_commit(&step);
}

/* --- the pump --- */

static enum err intent_go(struct client *c, const struct intent *i)
{
    struct server *s = server_find(c, i->server);
    if (s == NULL || s->anonymous->phase != LANE_READY)
        return OK;
    switch (i->state) {
    case INTENT_LOOKUP:
        return send_lookup(c, s->anonymous, i);
    case INTENT_CHAIN:
        return send_chain(c, s->anonymous, i);
    case INTENT_TAKE:
        return send_take(c, s->anonymous, i);
    case INTENT_IS_READY:
        break;
    }
    return OK;
}

enum err intent_pump(struct client *c)
{
    TRY(verify_pump(c));
    CLEANUP(sql_end)
    struct sql_query q = sql_query(c->db, "SELECT " INTENT_COLUMNS
                                          " FROM intent WHERE state < 3");
    while (sql_next(&q)) {
        struct intent i = {0};
        TRY(intent_read(&q, &i));
        if (client_due(c, i.not_before))
            TRY(intent_go(c, &i));
    }
    return sql_finish(&q);
}
