/* SPDX-License-Identifier: Apache-2.0 */
#include "insider.h"

#include "proto/entry.h"
#include "proto/log_hash.h"

#include <stdlib.h>
#include <string.h>

#define KINDS (POINT_INSIDERS_END - POINT_INSIDERS)

void insider_plan(struct world *w)
{
    w->insider = &w->devices[world_random(w, w->device_count)];
    w->vanishes = w->device_count > 2 && world_chance(w, 2);
}

bool insider_made(const struct world *w, const uint8_t *channel, uint64_t seq,
                  enum point *out_kind)
{
    for (unsigned i = 0; i < w->attack_count; i++) {
        const struct attack *a = &w->attacks[i];
        if (a->seq == seq && memcmp(a->channel, channel, ID_SIZE) == 0) {
            *out_kind = a->kind;
            return true;
        }
    }
    return false;
}

/* What an event of a client may be the effect of. */
static const struct {
    enum client_event_kind event;
    enum point kind; /* POINT_INSIDERS_END: any that all skip */
} effects[] = {
    {CLIENT_ENTRY_SKIPPED, POINT_INSIDERS_END},
    {CLIENT_LOG_MISMATCH, POINT_POSITION},
    {CLIENT_REJOIN, POINT_BROKEN_SUBTREE},
};

static bool explains(enum point kind, enum client_event_kind event)
{
    for (size_t i = 0; i < sizeof effects / sizeof effects[0]; i++) {
        if (effects[i].event != event)
            continue;
        if (effects[i].kind == kind)
            return true;
        return effects[i].kind == POINT_INSIDERS_END &&
               kind != POINT_POSITION && kind != POINT_BROKEN_SUBTREE;
    }
    return false;
}

bool insider_explains(struct world *w, struct device *d,
                      const struct client_event *e)
{
    uint8_t channel[ID_SIZE];
    enum point kind = POINT_INSIDERS_END;
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(d->db, "SELECT channel, seq FROM message m JOIN conversation"
                         " c ON c.id = m.conversation WHERE m.id = ?");
    sql_put_u64(&q, (uint64_t)e->message);
    if (sql_one(&q) != OK || sql_bytes(&q, 0).len != ID_SIZE)
        return false;
    memcpy(channel, sql_bytes(&q, 0).data, ID_SIZE);
    return insider_made(w, channel, sql_u64(&q, 1), &kind) &&
           explains(kind, e->kind);
}

/* --- Its database -------------------------------------------------------- */

static void must(const struct forge *f, enum err err)
{
    if (err != OK)
        world_fail(f->w, "the insider's database: %s", err_text(err));
}

static void take(const struct sql_query *q, int column, uint8_t out[ID_SIZE])
{
    struct bytes b = sql_bytes(q, column);
    if (b.len == ID_SIZE)
        memcpy(out, b.data, ID_SIZE);
}

/* Some conversation in which it is a member; with many, if it can. */
static bool choose(struct forge *f)
{
    CLEANUP(sql_end)
    struct sql_query q = sql_query(
        f->d->db, "SELECT id, channel, subscription, capability, log_hash,"
                  " cursor, handshake, (SELECT count(*) FROM pending p WHERE"
                  " p.conversation = conversation.id) FROM conversation"
                  " WHERE state = ? AND cursor > 0 ORDER BY (SELECT count(*)"
                  " FROM member m WHERE m.conversation = conversation.id), id");
    sql_put_u64(&q, CLIENT_ACTIVE);
    uint64_t seen = 0;
    while (sql_next(&q)) {
        seen++;
        if (!world_chance(f->w, seen > 2 ? 2 : seen))
            continue;
        f->conversation = (int64_t)sql_u64(&q, 0);
        take(&q, 1, f->channel);
        take(&q, 2, f->sub);
        take(&q, 3, f->cap);
        take(&q, 4, f->log_hash);
        f->cursor = sql_u64(&q, 5);
        f->handshake = f->after = sql_u64(&q, 6);
        f->pending = sql_u64(&q, 7) > 0;
    }
    must(f, sql_finish(&q));
    return seen > 0;
}

/* The group's records; `lent` is the last one that was read. */
struct records {
    const struct forge *f;
    struct buf lent;
};

static void records_clear(struct records *r) { buf_clear(&r->lent); }

static enum sotto_err get(void *ctx, enum sotto_record kind, uint32_t index,
                          struct sotto_bytes *out)
{
    struct records *r = ctx;
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(r->f->d->db, "SELECT body FROM mls WHERE conversation = ?"
                               " AND kind = ? AND part = ?");
    sql_put_u64(&q, (uint64_t)r->f->conversation);
    sql_put_u64(&q, kind);
    sql_put_u64(&q, index);
    if (sql_one(&q) != OK || buf_copy(&r->lent, sql_bytes(&q, 0)) != OK)
        return SOTTO_ERR_NOTFOUND;
    *out = (struct sotto_bytes){r->lent.data, r->lent.len};
    return SOTTO_OK;
}

/* Of an attack that is skipped only the spent keys are kept, so that its client
 * never uses one again. */
static bool is_kept(const struct records *r, enum sotto_record kind)
{
    return r->f->effect == EFFECT_APPLIED || kind == SOTTO_RECORD_SEND;
}

static enum sotto_err put(void *ctx, enum sotto_record kind, uint32_t index,
                          struct sotto_bytes value)
{
    const struct records *r = ctx;
    if (!is_kept(r, kind))
        return SOTTO_OK;
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(r->f->d->db, "INSERT OR REPLACE INTO mls (conversation,"
                               " kind, part, body) VALUES (?, ?, ?, ?)");
    sql_put_u64(&q, (uint64_t)r->f->conversation);
    sql_put_u64(&q, kind);
    sql_put_u64(&q, index);
    sql_put_bytes(&q, (struct bytes){value.data, value.len});
    return (enum sotto_err)sql_run(&q);
}

static enum sotto_err del(void *ctx, enum sotto_record kind, uint32_t index)
{
    const struct records *r = ctx;
    if (!is_kept(r, kind))
        return SOTTO_OK;
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(r->f->d->db, "DELETE FROM mls WHERE conversation = ?"
                               " AND kind = ? AND part = ?");
    sql_put_u64(&q, (uint64_t)r->f->conversation);
    sql_put_u64(&q, kind);
    sql_put_u64(&q, index);
    return (enum sotto_err)sql_run(&q);
}

static bool group_load(struct forge *f)
{
    CLEANUP(records_clear) struct records r = {f, buf_new(MESSAGE_MAX)};
    struct sotto_store store = {.ctx = &r, .put = put, .del = del, .get = get};
    struct sotto_random random = {f->w->source.fill, f->w->source.ctx};
    return sotto_mls_create(random, &f->mls) == SOTTO_OK &&
           sotto_group_load(f->mls, &store, &f->group) == SOTTO_OK &&
           sotto_group_member_count(f->group) > 1;
}

static void group_save(struct forge *f)
{
    CLEANUP(records_clear) struct records r = {f, buf_new(MESSAGE_MAX)};
    struct sotto_store store = {.ctx = &r, .put = put, .del = del, .get = get};
    if (f->effect == EFFECT_APPLIED)
        must(f, (enum err)sotto_group_merge_pending(f->group));
    must(f, (enum err)sotto_group_save(f->group, &store));
}

/* --- The server ---------------------------------------------------------- */

static struct access access_of(const struct forge *f)
{
    return (struct access){BYTES_ARRAY(f->channel), BYTES_ARRAY(f->sub),
                           BYTES_ARRAY(f->cap)};
}

/* Reads what comes after its client's place; false: more than `most`. */
static bool read_on(struct forge *f, struct buf *room, size_t most,
                    struct entry *out)
{
    struct answer answer = {0};
    struct request q = {.method = METHOD_READ,
                        .read = {.access = access_of(f),
                                 .after = f->cursor,
                                 .max_bytes = READ_BYTES_MAX}};
    if (!world_ask(f->w, &q, room, &answer) || answer.status != STATUS_OK ||
        answer.read.head != f->cursor + most)
        return false;
    struct reader r = reader_of(answer.read.entries);
    if (reader_more(&r))
        entry_read(&r, out);
    return true;
}

/* Remembers one of the entries that the server still holds. */
static void hear(struct forge *f)
{
    CLEANUP(buf_clear) struct buf room = buf_new(MESSAGE_MAX);
    struct heard *h = &f->w->heard;
    struct answer answer = {0};
    struct request q = {
        .method = METHOD_READ,
        .read = {.access = access_of(f), .max_bytes = READ_BYTES_MAX}};
    if (!world_ask(f->w, &q, &room, &answer) || answer.status != STATUS_OK)
        return;
    struct reader r = reader_of(answer.read.entries);
    for (uint64_t seen = 1; reader_more(&r); seen++) {
        struct entry e = {0};
        entry_read(&r, &e);
        if (!world_chance(f->w, seen))
            continue;
        memcpy(h->channel, f->channel, ID_SIZE);
        h->kind = e.kind;
        must(f, buf_copy(&h->body, e.body));
    }
}

static bool append(struct forge *f, uint64_t *out_seq)
{
    CLEANUP(buf_clear) struct buf room = buf_new(MESSAGE_MAX);
    struct answer answer = {0};
    uint8_t key[IDEMPOTENCY_KEY];
    random_fill(&f->w->source, key, sizeof key);
    struct request q = {.method = METHOD_APPEND,
                        .append = {.access = access_of(f),
                                   .after = f->after,
                                   .kind = f->entry,
                                   .idempotency_key = BYTES_ARRAY(key),
                                   .body = buf_bytes(&f->body)}};
    if (!world_ask(f->w, &q, &room, &answer))
        return false;
    bool taken = answer.status == STATUS_OK;
    bool refused = !taken && answer.status != STATUS_BUSY;
    if (f->effect == EFFECT_REFUSED && taken)
        world_fail(f->w, "the server let in what it must refuse");
    *out_seq = answer.append.seq;
    return f->effect == EFFECT_REFUSED ? refused : taken;
}

/* --- Its own client's step ----------------------------------------------- */

/* As each member does who is there: undoes ends that do not count. */
static void reopen(struct forge *f)
{
    struct private_header header;
    struct commit_data lists = {0};
    if (f->entry != ENTRY_COMMIT ||
        private_header_read(buf_bytes(&f->body), &header) != OK ||
        commit_data_read(header.authenticated_data, &lists) != OK)
        return;
    for (uint32_t i = 0; i < sotto_group_leaf_count(f->group); i++) {
        struct sotto_leaf leaf = {0};
        uint8_t sub[ID_SIZE];
        if (i == sotto_group_own_leaf(f->group) ||
            sotto_group_member(f->group, i, &leaf) != SOTTO_OK)
            continue;
        forge_subscription(f, leaf.signature_key, sub);
        struct reader r = reader_of(lists.ends);
        while (reader_more(&r)) {
            if (!bytes_equal(reader_raw(&r, ID_SIZE), BYTES_ARRAY(sub)))
                continue;
            CLEANUP(sql_end)
            struct sql_query q =
                sql_query(f->d->db, "INSERT OR IGNORE INTO reopen"
                                    " (conversation, subscription)"
                                    " VALUES (?, ?)");
            sql_put_u64(&q, (uint64_t)f->conversation);
            sql_put_bytes(&q, BYTES_ARRAY(sub));
            must(f, sql_run(&q));
        }
    }
}

/* Puts its client behind the entry. */
static void advance(struct forge *f, const struct entry *e)
{
    struct log_hash h;
    memcpy(h.data, f->log_hash, sizeof h.data);
    must(f, log_hash_next(f->w->crypto, &h, e));
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(f->d->db, "UPDATE conversation SET cursor = ?, handshake = ?,"
                            " log_hash = ? WHERE id = ?");
    sql_put_u64(&q, e->seq);
    sql_put_u64(&q, e->kind == ENTRY_APPLICATION ? f->handshake : e->seq);
    sql_put_bytes(&q, BYTES_ARRAY(h.data));
    sql_put_u64(&q, (uint64_t)f->conversation);
    must(f, sql_run(&q));
    CLEANUP(sql_end)
    struct sql_query put =
        sql_query(f->d->db, "INSERT INTO log_hash (conversation, seq, hash)"
                            " VALUES (?, ?, ?)");
    sql_put_u64(&put, (uint64_t)f->conversation);
    sql_put_u64(&put, e->seq);
    sql_put_bytes(&put, BYTES_ARRAY(h.data));
    must(f, sql_run(&put));
}

/* --- Leaving the rest to the others --------------------------------------- */

/* Of these the others need each other to recover. */
static const enum point needy[] = {
    POINT_BROKEN_SUBTREE, POINT_BROKEN_TWICE, POINT_BROKEN_REMOVAL,
    POINT_FALSE_ENDS,     POINT_PSK,          POINT_BROKEN_FOR_ALL};

/* Below which node of the attacker's path a leaf lies. */
static unsigned level(const struct forge *f, uint32_t leaf)
{
    uint32_t differ = leaf ^ sotto_group_own_leaf(f->group);
    unsigned bits = 0;
    for (; differ > 0; differ >>= 1)
        bits++;
    return bits;
}

struct seeker {
    const struct forge *f;
    bool found;
};

static enum err seek(void *ctx, const struct client_conversation *c)
{
    struct seeker *s = ctx;
    s->found |= c->state == CLIENT_ACTIVE && c->channel.len == ID_SIZE &&
                memcmp(c->channel.data, s->f->channel, ID_SIZE) == 0 &&
                c->epoch == sotto_group_epoch(s->f->group);
    return OK;
}

/* Is the device there, and goes on after the attack as if nothing had been? */
static bool goes_on(const struct forge *f, const struct device *d)
{
    struct seeker s = {.f = f};
    struct client_visitor v = {.conversation = seek, .ctx = &s};
    uint32_t leaf = 0;
    if (d == f->d || d->client == NULL ||
        client_conversations(d->client, &v) != OK || !s.found)
        return false;
    CLEANUP(sql_end)
    struct sql_query q = sql_query(d->db, "SELECT sign_public FROM profile");
    if (sql_one(&q) != OK)
        return false;
    struct bytes key = sql_bytes(&q, 0);
    return sotto_group_find_member(f->group,
                                   (struct sotto_bytes){key.data, key.len},
                                   &leaf) == SOTTO_OK &&
           leaf != f->victim &&
           (f->effect != EFFECT_APPLIED ||
            level(f, leaf) != level(f, f->victim));
}

static bool others_can_heal(const struct forge *f)
{
    bool can = false;
    for (unsigned i = 0; i < f->w->device_count; i++)
        can = can || goes_on(f, &f->w->devices[i]);
    return can;
}

/* --- An attack ----------------------------------------------------------- */

static void forge_clear(struct forge *f)
{
    sotto_group_free(&f->group);
    sotto_mls_free(&f->mls);
    buf_clear(&f->body);
}

static void settle(struct forge *f, uint64_t seq)
{
    CLEANUP(buf_clear) struct buf room = buf_new(MESSAGE_MAX);
    struct attack *a = &f->w->attacks[f->w->attack_count++];
    struct entry e = {0};
    *a = (struct attack){.seq = seq, .kind = f->kind};
    memcpy(a->channel, f->channel, ID_SIZE);
    if (!read_on(f, &room, 1, &e) || e.seq != seq) {
        world_fail(f->w, "the insider's entry is not there");
        return;
    }
    reopen(f);
    advance(f, &e);
}

/* The one that makes others rejoin comes more often. */
static enum point some_kind(struct world *w)
{
    if (world_chance(w, 8))
        return POINT_BROKEN_SUBTREE;
    return w->vanishes ? needy[world_random(w, sizeof needy / sizeof *needy)]
                       : POINT_INSIDERS + (enum point)world_random(w, KINDS);
}

void insider_step(struct world *w, struct device *d)
{
    CLEANUP(forge_clear)
    struct forge f = {.w = w, .d = d, .body = buf_new(ENTRY_MAX)};
    CLEANUP(buf_clear) struct buf room = buf_new(MESSAGE_MAX);
    struct entry none = {0};
    uint64_t seq = 0;
    f.kind = some_kind(w);
    if (w->attack_count == ATTACKS_MAX || !choose(&f))
        return;
    hear(&f);
    if (!group_load(&f) || !read_on(&f, &room, 0, &none) || !forge_make(&f) ||
        (w->vanishes && !others_can_heal(&f)) || !append(&f, &seq))
        return;
    world_meet(w, f.kind);
    world_trace(w, "%s: attack %d, entry %llu of conversation %lld", d->name,
                (int)f.kind, (unsigned long long)seq,
                (long long)f.conversation);
    if (f.effect != EFFECT_REFUSED)
        settle(&f, seq);
    group_save(&f);
    if (w->vanishes)
        device_vanish(w, d);
    else
        device_restart(w, d);
}
