/* SPDX-License-Identifier: Apache-2.0 */
#include "client/rejoin.h"

#include "client/apply.h"
#include "client/commit.h"
#include "client/groups.h"
#include "client/intent.h"
#include "client/mail.h"
#include "client/outbox.h"
#include "client/people.h"
#include "client/pump.h"
#include "client/welcome.h"

#include <string.h>

#define REJOIN_EVERY_MS  DAY_MS
#define REJOIN_DAYS      30U /* of asking; then the conversation is over */
#define REJOIN_ASKED_MAX 8U  /* devices at a time */
#define REJOIN_SPREAD_MS (10ULL * SECOND_MS) /* who answers it */
#define REJOIN_AGE_MAX_S (30ULL * 86400U)

enum err conv_over(struct client *c, struct conv *cv)
{
    cv->state = CLIENT_LEFT;
    cv->attached = false;
    cv->rejoin_at = 0;
    TRY(outbox_abandon(c, cv));
    TRY(welcome_forget(c, cv));
    return intent_abandon(c, cv);
}

enum err rejoin_mark(struct client *c, struct conv *cv,
                     enum client_event_kind why, const char *detail)
{
    c->counters.rejoins++;
    cv->state = CLIENT_REJOINING;
    cv->attached = false;
    if (cv->rejoin_at < c->now)
        cv->rejoin_at = c->now;
    TRY(pending_delete(c, cv, false));
    return conv_notice(c, cv, &(struct notice){.kind = why, .detail = detail});
}

enum err rejoin_begin(struct client *c, struct conv *cv,
                      enum client_event_kind why, const char *detail)
{
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "begin rejoin", &step));
    TRY(rejoin_mark(c, cv, why, detail));
    TRY(conv_save(c, cv));
    return step_commit(&step);
}

/* --- asking --- */

static enum err ask_device(struct client *c, struct conv *cv,
                           struct bytes account, const struct device *device)
{
    const struct profile *p = &c->profile;
    const struct server *home = server_home(c);
    CLEANUP(buf_clear) struct buf signature = buf_new(SIGN_MAX);
    struct inbox_message m = {
        .type = INBOX_REJOIN,
        .rejoin = {.server_address = bytes_str(home->address),
                   .server_key = ID_BYTES(home->key),
                   .channel = ID_BYTES(cv->channel),
                   .account_id = ID_BYTES(p->account),
                   .device_id = ID_BYTES(p->device),
                   .contact_cap = ID_BYTES(p->contact_cap),
                   .epoch = sotto_group_epoch(cv->group),
                   .time = lane_server_time(c, cv->server->anonymous)}};
    TRY(rejoin_sign(c->crypto, &p->sign_private, &m.rejoin, &signature));
    m.rejoin.signature = buf_bytes(&signature);
    return mail_add(c, cv->id, account, device, &m);
}

/* Asks each device behind one leaf, from a random one on, up to a few. */
static enum err ask_leaf(struct client *c, struct conv *cv, uint32_t leaf,
                         size_t *asked)
{
    struct sotto_leaf member = {0};
    struct leaf_claim claim = {0};
    if (leaf == sotto_group_own_leaf(cv->group) ||
        sotto_group_member(cv->group, leaf, &member) != SOTTO_OK ||
        leaf_claim_read(&member, &claim) != OK)
        return OK;
    CLEANUP(chain_free) struct chain *chain = NULL;
    TRY(member_chain(c, cv->id, claim.account, &chain));
    const struct device *device =
        state_device_of_key(chain_newest(chain), claim.signature_key);
    if (device == NULL)
        return OK;
    ++*asked;
    return ask_device(c, cv, claim.account, device);
}

static enum err ask(struct client *c, struct conv *cv, size_t *asked)
{
    uint32_t count = sotto_group_leaf_count(cv->group);
    uint32_t first = (uint32_t)client_jitter(c, count);
    for (uint32_t i = 0; i < count && *asked < REJOIN_ASKED_MAX; i++)
        TRY(ask_leaf(c, cv, (first + i) % count, asked));
    return OK;
}

static enum err give_up(struct client *c, struct conv *cv, const char *why)
{
    TRY(conv_over(c, cv));
    return conv_notice(
        c, cv, &(struct notice){.kind = CLIENT_CONVERSATION, .detail = why});
}

/* Counts the days on which it asked: while the device is off, an answer waits
 * for it. */
enum err rejoin_pump(struct client *c, struct conv *cv)
{
    if (!client_due(c, cv->rejoin_at) ||
        cv->server->anonymous->phase != LANE_READY)
        return OK;
    struct sotto_group *group = NULL;
    TRY(conv_group(c, cv, &group));
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "ask to rejoin", &step));
    size_t asked = 0;
    if (cv->rejoin_asked >= REJOIN_DAYS) {
        TRY(give_up(c, cv,
                    "nobody has added this device again in 30 days, so it is "
                    "out: begin a new conversation, or ask to be added"));
    } else {
        TRY(ask(c, cv, &asked));
        if (asked == 0) /* the copy is from before its first other member */
            TRY(give_up(c, cv,
                        "nobody is known who could add this device again: "
                        "begin a new conversation, or ask to be added"));
    }
    cv->rejoin_asked++;
    if (cv->state == CLIENT_REJOINING)
        cv->rejoin_at = c->now + REJOIN_EVERY_MS;
    TRY(conv_save(c, cv));
    return step_commit(&step);
}

/* --- after a removal --- */

#define LOOKS_MAX     8U /* each after four times as long: two weeks in all */
#define LOOK_FIRST_MS MINUTE_MS

void rejoin_watch(struct client *c, struct conv *cv)
{
    cv->rejoin_asked = 0;
    cv->rejoin_at = c->now + LOOK_FIRST_MS;
}

enum err rejoin_look(struct client *c, struct conv *cv, bool open)
{
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "removal looked at", &step));
    uint64_t wait = LOOK_FIRST_MS << (2 * ++cv->rejoin_asked);
    cv->rejoin_at = cv->rejoin_asked < LOOKS_MAX ? c->now + wait : 0;
    if (open) {
        cv->rejoin_asked = 0;
        TRY(rejoin_mark(c, cv, CLIENT_REJOIN,
                        "the commit that removed this device did not count"));
    }
    TRY(conv_save(c, cv));
    return step_commit(&step);
}

/* --- being asked --- */

static enum err rejoin_check(struct client *c, const struct conv *cv,
                             const struct inbox_rejoin *q)
{
    CLEANUP(chain_free) struct chain *chain = NULL;
    TRY(member_chain(c, cv->id, q->account_id, &chain));
    const struct device *device =
        state_device(chain_newest(chain), q->device_id);
    if (device == NULL)
        return ERR_NOTFOUND;
    TRY(rejoin_verify(c->crypto, device->signature_key, q));
    uint64_t now = c->now / SECOND_MS;
    return q->time + REJOIN_AGE_MAX_S < now ? ERR_STATE : OK;
}

static enum err rejoin_known(struct client *c, const struct conv *cv,
                             const struct inbox_rejoin *q, bool *out)
{
    CLEANUP(sql_end)
    struct sql_query query =
        sql_query(c->db, "SELECT count(*) FROM intent WHERE conversation = ?"
                         " AND kind = ? AND device = ?");
    sql_put_u64(&query, (uint64_t)cv->id);
    sql_put_u64(&query, INTENT_REJOIN);
    sql_put_bytes(&query, q->device_id);
    TRY(sql_one(&query));
    *out = sql_u64(&query, 0) > 0;
    return OK;
}

enum err rejoin_receive(struct client *c, const struct inbox_rejoin *q)
{
    const struct conv *cv = conv_by_channel(c, q->channel);
    bool known = false;
    if (cv == NULL || cv->state != CLIENT_ACTIVE)
        return OK;
    enum err err = rejoin_check(c, cv, q);
    if (err == ERR_NOMEM || err == ERR_IO)
        return err;
    if (err != OK)
        return OK; /* of no member, or too old */
    TRY(rejoin_known(c, cv, q, &known));
    if (known)
        return OK;
    struct server *server = NULL;
    TRY(person_server(c, q->account_id, &server));
    size_t members = 0;
    TRY(member_count(c, cv->id, &members));
    uint64_t spread = members > 2 ? REJOIN_SPREAD_MS : 0;
    struct intent i = {
        .conversation = cv->id,
        .kind = INTENT_REJOIN,
        .state = INTENT_TAKE,
        .server = server->id,
        .has_cap = true,
        .time = q->time,
        .not_before = c->now + client_jitter(c, spread),
    };
    memcpy(i.account, q->account_id.data, sizeof i.account);
    memcpy(i.device, q->device_id.data, sizeof i.device);
    memcpy(i.contact_cap, q->contact_cap.data, sizeof i.contact_cap);
    return intent_insert(c, &i);
}
