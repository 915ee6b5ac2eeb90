/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold once the network has healed:
 *
 *   - each accepted text is on every device of its conversation exactly once,
 *     and all devices have the same texts at the same places of the log;
 *   - a device lacks only what lies before it joined (or joined again);
 *   - whom one member takes for a member is one;
 *   - the members of a conversation agree on epoch and authenticator;
 *   - the server holds no entry that everybody has acknowledged;
 *   - nothing was skipped without a cause (world.c looks at the events).
 */
#include "insider.h"

#include <stdlib.h>
#include <string.h>

#define CONVERSATIONS_MAX 64U
#define ROWS_MAX          2048U
#define SETTLE_DAYS       40U /* a rejoin that nobody answers ends after 30 */
#define OLD_DAYS          29U
#define CHANNEL_SIZE      32U
#define AUTHENTICATOR_MAX 64U

struct row {
    uint64_t seq;
    char text[TEXT_SIZE];
};

/* A conversation as one device sees it. */
struct view {
    unsigned device;
    int64_t id;
    uint8_t channel[CHANNEL_SIZE];
    enum client_conversation_state state;
    uint64_t cursor;
    uint64_t epoch;
    uint8_t authenticator[AUTHENTICATOR_MAX];
    uint64_t since; /* it must have all texts after this place */
    unsigned joins; /* how often it came in */
    struct row *rows;
    size_t row_count;
};

struct views {
    struct world *w;
    struct device *d;
    struct view list[CONVERSATIONS_MAX];
    size_t count;
};

static enum err add_row(void *ctx, const struct client_message *m)
{
    struct view *v = ctx;
    bool join = m->kind == CLIENT_NOTICE && (m->event == CLIENT_REJOINED ||
                                             m->event == CLIENT_CONVERSATION);
    v->joins += join;
    if (join && m->seq > v->since)
        v->since = m->seq;
    if (m->kind != CLIENT_TEXT || m->seq == 0 || v->row_count == ROWS_MAX)
        return OK;
    struct row *row = &v->rows[v->row_count++];
    row->seq = m->seq;
    size_t len = m->text.len < TEXT_SIZE - 1 ? m->text.len : TEXT_SIZE - 1;
    memcpy(row->text, m->text.data, len);
    row->text[len] = '\0';
    return OK;
}

static enum err add_view(void *ctx, const struct client_conversation *c)
{
    struct views *views = ctx;
    if (views->count == CONVERSATIONS_MAX || c->channel.len != CHANNEL_SIZE)
        return OK;
    struct view *v = &views->list[views->count++];
    *v = (struct view){.device = views->d->index,
                       .id = c->id,
                       .state = c->state,
                       .cursor = c->cursor,
                       .epoch = c->epoch,
                       .rows = calloc(ROWS_MAX, sizeof(struct row))};
    if (v->rows == NULL)
        abort();
    memcpy(v->channel, c->channel.data, CHANNEL_SIZE);
    size_t len = c->epoch_authenticator.len;
    if (len > 0 && len <= AUTHENTICATOR_MAX)
        memcpy(v->authenticator, c->epoch_authenticator.data, len);
    return OK;
}

static void views_read(struct world *w, struct views *views)
{
    views->w = w;
    for (unsigned i = 0; i < w->device_count; i++) {
        struct device *d = &w->devices[i];
        if (d->gone)
            continue;
        views->d = d;
        struct client_visitor v = {.conversation = add_view, .ctx = views};
        size_t before = views->count;
        if (client_conversations(d->client, &v) != OK)
            world_fail(w, "%s: cannot list its conversations", d->name);
        for (size_t j = before; j < views->count; j++) {
            struct client_visitor log = {.message = add_row,
                                         .ctx = &views->list[j]};
            if (client_log(d->client, views->list[j].id, &log) != OK)
                world_fail(w, "%s: cannot read its log", d->name);
        }
    }
}

/* --- Settling ------------------------------------------------------------ */

struct look {
    struct world *w;
    struct device *d;
    const uint8_t *channel;
    const uint8_t *account; /* looked for among members */
    int64_t id;  /* the other's, of that conversation; 0: not a member */
    bool listed; /* the account, by a member */
    bool busy;
    int64_t cut_off; /* the conversation in which it was */
};

static enum err look_for_account(void *ctx, struct bytes account,
                                 struct bytes handle)
{
    struct look *l = ctx;
    (void)handle;
    l->listed |= account.len == CLIENT_ID_SIZE &&
                 memcmp(account.data, l->account, CLIENT_ID_SIZE) == 0;
    return OK;
}

static enum err look_at_other(void *ctx, const struct client_conversation *c)
{
    struct look *l = ctx;
    if (c->state == CLIENT_ACTIVE && c->channel.len == CHANNEL_SIZE &&
        memcmp(c->channel.data, l->channel, CHANNEL_SIZE) == 0)
        l->id = c->id;
    return OK;
}

static bool lists(struct look *l, struct device *by, int64_t conversation,
                  struct device *whom)
{
    struct client_status status;
    struct client_visitor v = {.member = look_for_account, .ctx = l};
    l->listed = false;
    if (client_status_get(whom->client, &status) != OK)
        return false;
    l->account = status.account;
    return client_members(by->client, conversation, &v) == OK && l->listed;
}

/* Whom a member takes for one is there; gives who is not. A device that went
 * back in time may not know how to come in, and what would tell one that was
 * away is not kept for so long; the old copy of a server gives out KeyPackages
 * again whose private parts are gone; and a server may keep somebody out. */
static bool is_exempt(const struct world *w, const struct device *d)
{
    return d->client == NULL || d->restored || d->away || d->shut_out ||
           w->server.restored;
}

static bool is_there(struct look *l, const struct client_conversation *c,
                     const struct device *d)
{
    struct client_visitor v = {.conversation = look_at_other, .ctx = l};
    l->id = 0;
    l->channel = c->channel.data;
    return d->client != NULL && client_conversations(d->client, &v) == OK &&
           l->id != 0;
}

static enum err find_askable(void *ctx, const struct client_conversation *c)
{
    struct look *l = ctx;
    for (unsigned i = 0; i < l->w->device_count && c->id == l->cut_off; i++) {
        if (&l->w->devices[i] != l->d && is_there(l, c, &l->w->devices[i]))
            l->d->askable |= 1U << i;
    }
    return OK;
}

void world_cut_off(struct world *w, struct device *d, int64_t conversation)
{
    struct look l = {.w = w, .d = d, .cut_off = conversation};
    struct client_visitor v = {.conversation = find_askable, .ctx = &l};
    d->cut_off = true;
    if (client_conversations(d->client, &v) != OK)
        world_fail(w, "%s: cannot list its conversations", d->name);
}

/* Cut off by an attacker, when all whom it could ask have left since. */
static bool is_stranded(struct look *l, const struct client_conversation *c,
                        const struct device *d)
{
    bool any = !d->cut_off;
    for (unsigned i = 0; i < l->w->device_count; i++)
        any = any || ((d->askable >> i & 1U) != 0 &&
                      is_there(l, c, &l->w->devices[i]));
    return !any;
}

static struct device *missing(struct look *l,
                              const struct client_conversation *c)
{
    for (unsigned i = 0; i < l->w->device_count; i++) {
        struct device *other = &l->w->devices[i];
        if (other != l->d && !is_exempt(l->w, other) &&
            c->state == CLIENT_ACTIVE && lists(l, l->d, c->id, other) &&
            !is_there(l, c, other) && !is_stranded(l, c, other))
            return other;
    }
    return NULL;
}

static enum err is_busy(void *ctx, const struct client_conversation *c)
{
    struct look *l = ctx;
    l->busy |= c->queued > 0 || c->state == CLIENT_CREATING ||
               c->state == CLIENT_REJOINING || missing(l, c) != NULL;
    return OK;
}

static bool device_settled(struct world *w, struct device *d)
{
    struct client_status status;
    struct look l = {.w = w, .d = d};
    struct client_visitor v = {.conversation = is_busy, .ctx = &l};
    if (d->gone)
        return true;
    if (d->client == NULL || client_status_get(d->client, &status) != OK ||
        client_conversations(d->client, &v) != OK)
        return false;
    return !l.busy && status.state == CLIENT_READY && status.online &&
           status.synced && status.queued == 0 && status.busy == 0;
}

static bool all_settled(struct world *w)
{
    bool settled = true;
    for (unsigned i = 0; i < w->device_count; i++)
        settled = settled && device_settled(w, &w->devices[i]);
    return settled;
}

static enum err say_conversation(void *ctx, const struct client_conversation *c)
{
    struct look *l = ctx;
    struct world *w = l->w;
    const struct device *other = missing(l, c);
    if (other != NULL)
        world_fail(w, "conversation %lld: %s is not there", (long long)c->id,
                   other->name);
    bool idle = c->queued == 0 && c->state != CLIENT_CREATING &&
                c->state != CLIENT_REJOINING;
    if (!idle)
        world_fail(w, "conversation %lld: state %d, %llu queued, cursor %llu",
                   (long long)c->id, (int)c->state,
                   (unsigned long long)c->queued,
                   (unsigned long long)c->cursor);
    return OK;
}

static void say_why(struct world *w, struct device *d)
{
    struct client_status s = {0};
    struct look l = {.w = w, .d = d};
    struct client_visitor v = {.conversation = say_conversation, .ctx = &l};
    world_fail(w, "%s: still busy after %u days", d->name, SETTLE_DAYS);
    if (d->client == NULL || client_status_get(d->client, &s) != OK ||
        client_conversations(d->client, &v) != OK)
        return;
    world_fail(w, "state %d, online %d, synced %d, queued %llu, busy %llu",
               (int)s.state, s.online, s.synced, (unsigned long long)s.queued,
               (unsigned long long)s.busy);
}

void world_settle(struct world *w)
{
    w->calm = true;
    w->full = false;
    disk_set_full(w->server.disk, false);
    for (unsigned i = 0; i < w->device_count; i++) {
        w->devices[i].offline_until = 0;
        device_reconnect(w, &w->devices[i]);
    }
    uint64_t end = w->now + (uint64_t)SETTLE_DAYS * DAY;
    uint64_t step = 10 * MINUTE;
    bool settled = false;
    while (!settled && w->now < end && w->failed == 0) {
        world_run(w, w->now + step);
        step = step < DAY ? step + step / 8 : step;
        settled = all_settled(w);
        if (settled) /* what the others sent last is still on its way */
            world_run(w, w->now + 10 * MINUTE);
        settled = settled && all_settled(w);
    }
    for (unsigned i = 0; i < w->device_count && w->failed == 0; i++) {
        struct device *d = &w->devices[i];
        if (!device_settled(w, d))
            say_why(w, d);
        if (d->client != NULL) {
            struct client_counters c = client_counters(d->client);
            w->points[POINT_BEHIND] += c.behind + d->counters.behind;
            w->points[POINT_RETRY] += c.retried + d->counters.retried;
            w->points[POINT_RACE] += c.lost_races + d->counters.lost_races;
            w->points[POINT_REJOIN] += c.rejoins + d->counters.rejoins;
            w->points[POINT_DUPLICATE] += c.duplicates + d->counters.duplicates;
        }
    }
}

/* --- Comparing ----------------------------------------------------------- */

static const struct row *row_at(const struct view *v, uint64_t seq)
{
    for (size_t i = 0; i < v->row_count; i++) {
        if (v->rows[i].seq == seq)
            return &v->rows[i];
    }
    return NULL;
}

static void check_view(struct world *w, const struct view *v)
{
    const char *name = w->devices[v->device].name;
    for (size_t i = 0; i < v->row_count; i++) {
        if (i > 0 && v->rows[i].seq <= v->rows[i - 1].seq)
            world_fail(w, "%s: '%s' is out of order", name, v->rows[i].text);
        for (size_t j = 0; j < i; j++) {
            if (strcmp(v->rows[i].text, v->rows[j].text) == 0)
                world_fail(w, "%s: '%s' is there twice", name, v->rows[i].text);
        }
    }
}

static bool has_text(const struct view *v, const char *text)
{
    for (size_t i = 0; i < v->row_count; i++) {
        if (strcmp(v->rows[i].text, text) == 0)
            return true;
    }
    return false;
}

/* Where the log that both have read ends: an old copy of the server's disk goes
 * on from there in another way than the one that those read who had to stop.
 * Who has left may have read the one or the other, and who came in again
 * both. */
static uint64_t common_end(const struct world *w, const struct view *a,
                           const struct view *b)
{
    bool same = a->state == b->state && a->state != CLIENT_LEFT &&
                a->joins <= 1 && b->joins <= 1;
    if (!w->server.restored || same)
        return UINT64_MAX;
    for (size_t i = 0; i < w->old_head_count; i++) {
        if (memcmp(w->old_heads[i].channel, a->channel, CHANNEL_SIZE) == 0)
            return w->old_heads[i].head;
    }
    return 0;
}

/* `a` must have what `b` has, in the time in which both were members. A device
 * that was away for longer than the server remembers a message may have sent it
 * again: the others keep the first place, and who joined between has the
 * second. */
static void check_pair(struct world *w, const struct view *a,
                       const struct view *b)
{
    const char *name = w->devices[a->device].name;
    if (a->state == CLIENT_ACTIVE && b->state == CLIENT_ACTIVE &&
        (a->epoch != b->epoch ||
         memcmp(a->authenticator, b->authenticator, AUTHENTICATOR_MAX) != 0))
        world_fail(w, "%s and %s: epochs %llu and %llu do not agree", name,
                   w->devices[b->device].name, (unsigned long long)a->epoch,
                   (unsigned long long)b->epoch);
    for (size_t i = 0; i < b->row_count; i++) {
        const struct row *theirs = &b->rows[i];
        const struct row *ours = row_at(a, theirs->seq);
        enum point kind;
        if (&w->devices[a->device] == w->insider &&
            insider_made(w, a->channel, theirs->seq, &kind))
            continue; /* its person never wrote it */
        if ((theirs->seq <= b->since || b->state != CLIENT_ACTIVE) &&
            fault_lied(w, a->channel, theirs->seq, b->device))
            continue; /* told so, and came in again, or left, before it was to
                         read that */
        if (theirs->seq > common_end(w, a, b) ||
            (w->theme == THEME_AWAY && has_text(a, theirs->text)))
            continue;
        if (ours == NULL && theirs->seq > a->since && theirs->seq <= a->cursor)
            world_fail(w, "%s lacks '%s' at %llu, which %s has", name,
                       theirs->text, (unsigned long long)theirs->seq,
                       w->devices[b->device].name);
        if (ours != NULL && strcmp(ours->text, theirs->text) != 0)
            world_fail(w, "%s and %s have '%s' and '%s' at %llu", name,
                       w->devices[b->device].name, ours->text, theirs->text,
                       (unsigned long long)theirs->seq);
    }
}

/* A text that was taken from a person is in the log, or its sender knows that
 * it will never be. */
struct fate {
    bool found;
    bool accepted;
    bool failed;
};

static enum err find_fate(void *ctx, const struct client_message *m)
{
    struct fate *f = ctx;
    *f = (struct fate){true, m->seq > 0, m->failed};
    return OK;
}

static void check_sent(struct world *w, const struct sent *s)
{
    struct device *d = &w->devices[s->device];
    if (d->gone)
        return;
    struct fate f = {0};
    struct client_visitor v = {.message = find_fate, .ctx = &f};
    enum err err = client_message_get(d->client, s->message, &v);
    if (d->restored || !s->known)
        return; /* its person went back in time */
    if (err != OK || !f.found)
        world_fail(w, "%s: '%s' was accepted and is gone", d->name, s->text);
    else if (!f.accepted && !f.failed)
        world_fail(w, "%s: '%s' was never sent", d->name, s->text);
}

/* Rule 4, by the store's own files: what every subscription that may read an
 * entry has acknowledged is gone, and what is not stays, for 30 days at most.
 * Where nobody went back in time or took a subscription more, everybody has
 * acknowledged everything in the conversations that somebody is in; who was the
 * last to leave may have had a message under way, which waits until its time is
 * over, and so does what is kept for the first of two capabilities when the
 * invitation with it never came. */
static const struct {
    bool always; /* or only in a short time without old copies */
    const char *query, *what;
} store_laws[] = {
    {true,
     "SELECT count(*) FROM entry e WHERE NOT EXISTS (SELECT 1 FROM"
     " subscription s WHERE s.slot = e.slot AND (ended IS NULL OR"
     " cursor < ended) AND cursor < e.seq)",
     "entries that everybody has acknowledged are still there"},
    {false,
     "SELECT count(*) FROM subscription s JOIN channel c USING (slot)"
     " WHERE cap_next IS NULL AND" /* else it had ended, and has come back */
     " cursor < coalesce(ended, head) AND NOT EXISTS (SELECT 1 FROM"
     " entry e WHERE e.slot = s.slot AND e.seq = cursor + 1)",
     "subscriptions have not read an entry that is gone"},
};

/* Has it gone on for so long that entries were deleted by their age? */
static bool is_old(const struct world *w)
{
    return w->now - w->began > OLD_DAYS * (uint64_t)DAY;
}

static bool any_old_copy(const struct world *w)
{
    bool any = w->server.restored;
    for (unsigned i = 0; i < w->device_count; i++)
        any = any || w->devices[i].restored;
    return any;
}

/* Does somebody's subscription wait whose invitation never came? */
static bool any_shut_out(const struct world *w)
{
    bool any = false;
    for (unsigned i = 0; i < w->device_count; i++)
        any = any || w->devices[i].shut_out;
    return any;
}

static void check_nothing_waits(struct world *w, struct sql *db,
                                const struct view *v)
{
    CLEANUP(sql_end)
    struct sql_query q = sql_query(db, "SELECT count(*) FROM entry e JOIN"
                                       " channel c ON c.slot = e.slot"
                                       " WHERE c.id = ? AND NOT EXISTS ("
                                       "SELECT 1 FROM subscription s WHERE"
                                       " s.slot = c.slot AND cap_next IS NOT"
                                       " NULL AND cursor < e.seq)");
    sql_put_bytes(&q, BYTES_ARRAY(v->channel));
    if (sql_one(&q) != OK)
        world_fail(w, "server: cannot query its files");
    else if (sql_u64(&q, 0) > 0)
        world_fail(w, "server: %llu entries wait for nobody",
                   (unsigned long long)sql_u64(&q, 0));
}

/* The server is closed first: nothing but its files is asked. */
static void check_store_files(struct world *w, const struct views *views)
{
    struct problem problem = {0};
    CLEANUP(sql_close) struct sql *db = NULL;
    struct sql_config config = {.path = "server/channels.db",
                                .vfs = "server",
                                .exclusive = true,
                                .existing = true};
    if (sql_open(&config, &problem, &db) != OK) {
        world_fail(w, "server: cannot read its files: %s", problem.detail);
        return;
    }
    for (size_t i = 0; i < sizeof store_laws / sizeof store_laws[0]; i++) {
        if (!store_laws[i].always && (is_old(w) || any_old_copy(w)))
            continue;
        CLEANUP(sql_end)
        struct sql_query q = sql_query(db, store_laws[i].query);
        if (sql_one(&q) != OK)
            world_fail(w, "server: cannot query its files");
        else if (sql_u64(&q, 0) > 0)
            world_fail(w, "server: %llu %s", (unsigned long long)sql_u64(&q, 0),
                       store_laws[i].what);
    }
    bool all_read = !any_old_copy(w) && !any_shut_out(w) && !is_old(w) &&
                    w->attack_count == 0;
    for (size_t i = 0; i < views->count && all_read; i++) {
        if (views->list[i].state == CLIENT_ACTIVE)
            check_nothing_waits(w, db, &views->list[i]);
    }
}

static void check_server(struct world *w, const struct views *views)
{
    struct problem problem = {0};
    struct server *s = &w->server;
    enum err err = s->pg != NULL ? store_pg_check(s->pg, &problem)
                                 : store_sqlite_check(s->sqlite, &problem);
    if (err != OK)
        world_fail(w, "server: its store is damaged: %s", problem.detail);
    core_free(&s->core);
    bool files = s->pg == NULL;
    store_sqlite_close(&s->sqlite);
    store_pg_close(&s->pg);
    if (files)
        check_store_files(w, views);
}

void world_check(struct world *w)
{
    struct views *views = calloc(1, sizeof(*views));
    if (views == NULL)
        abort();
    views_read(w, views);
    for (size_t i = 0; i < views->count; i++) {
        const struct view *a = &views->list[i];
        check_view(w, a);
        for (size_t j = 0; j < views->count; j++) {
            const struct view *b = &views->list[j];
            if (i != j && memcmp(a->channel, b->channel, CHANNEL_SIZE) == 0)
                check_pair(w, a, b);
        }
    }
    for (unsigned i = 0; i < w->sent_count; i++)
        check_sent(w, &w->sent[i]);
    check_server(w, views);
    for (size_t i = 0; i < views->count; i++)
        free(views->list[i].rows);
    free(views);
}
