/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Channels: DESIGN.md section 5, rules 1 to 5. Sequence numbers of a channel
 * begin at 1. What a subscription may read:
 *
 *     start < seq <= ended (or head)       of those, it has acked <= cursor
 *
 * `start` is the commit that added it. An entry goes when it lies at or below
 * the cursor of every subscription that still has something to read.
 *
 * A channel's slot stands for its id in the other tables: it begins with the
 * id's first bits, so it is as random, and tells nothing about when the channel
 * was made.
 *
 * Each page that an append changes is written to the log whole, so entries lie
 * in the order of their arrival, three to a page, and are found by their place,
 * which is small. An idempotency key lies with the place until TOGETHER of them
 * are moved to their own table, which spares most appends its page.
 */
#include "server/store_sqlite_impl.h"

#include "base/secret.h"

#define SLOT_BITS  31U
#define SLOT_TRIES 64U /* neighbours, where the id's own is taken */
#define TOGETHER   32U /* idempotency keys that are moved at a time */
#define SEQ_MAX    UINT32_MAX

const char *const store_channels_schema[] = {
    "CREATE TABLE channel ("
    " id BLOB NOT NULL PRIMARY KEY,"
    " slot INTEGER NOT NULL UNIQUE,"
    " head INTEGER NOT NULL,"      /* newest sequence number; 0: none */
    " oldest INTEGER NOT NULL,"    /* number that is held; or head + 1 */
    " handshake INTEGER NOT NULL," /* of the newest commit or proposal */
    " bytes INTEGER NOT NULL,"     /* of the bodies that are held */
    " day INTEGER NOT NULL"        /* of the last use */
    ") WITHOUT ROWID, STRICT;"
    "CREATE TABLE subscription ("
    " slot INTEGER NOT NULL,"
    " id BLOB NOT NULL,"
    " cap_hash BLOB NOT NULL,"
    " cap_next BLOB,"       /* given by a later commit; both are good */
    " next_at INTEGER,"     /* that commit */
    " next_cursor INTEGER," /* what its holder has acknowledged */
    " start INTEGER NOT NULL,"
    " cursor INTEGER NOT NULL,"
    " ended INTEGER,"         /* by the commit of this number */
    " day INTEGER NOT NULL,"  /* made; then of the last use, or the end */
    " used INTEGER NOT NULL," /* 0: never attached, 1: attached */
    " PRIMARY KEY (slot, id)"
    ") WITHOUT ROWID, STRICT;"
    "CREATE TABLE entry ("
    " id INTEGER PRIMARY KEY,"
    " slot INTEGER NOT NULL,"
    " seq INTEGER NOT NULL,"
    " time INTEGER NOT NULL,"
    " kind INTEGER NOT NULL,"
    " body BLOB NOT NULL"
    ") STRICT;"
    "CREATE TABLE place ("
    " slot INTEGER NOT NULL,"
    " seq INTEGER NOT NULL,"
    " entry INTEGER,"     /* its row; NULL: it has gone, the key has not */
    " key BLOB NOT NULL," /* also in `accepted`, or not yet */
    " day INTEGER NOT NULL,"
    " PRIMARY KEY (slot, seq)"
    ") WITHOUT ROWID, STRICT;"
    "CREATE TABLE accepted (" /* idempotency keys, longer than entries */
    " slot INTEGER NOT NULL,"
    " key BLOB NOT NULL,"
    " seq INTEGER NOT NULL,"
    " day INTEGER NOT NULL,"
    " PRIMARY KEY (slot, key)"
    ") WITHOUT ROWID, STRICT;",
    NULL,
};

/* A channel and the subscription that asks. */
struct view {
    struct sql *db;
    uint64_t slot;
    struct bytes sub; /* as the request has it */
    uint64_t head;
    uint64_t oldest;
    uint64_t handshake;
    uint64_t bytes;
    uint64_t start;
    uint64_t cursor;
    uint64_t end; /* the last entry that it may read */
    bool ended;
    bool newer; /* it asks with the capability of a later commit */
    bool older; /* or there is one */
    bool fresh; /* has been used today */
};

static bool cap_matches(const struct sql_query *q, int column,
                        struct bytes cap_hash)
{
    return !sql_is_null(q, column) &&
           secret_equal_bytes(sql_bytes(q, column), cap_hash);
}

/* Looks the request's channel and subscription up and checks the capability:
 * every request on a channel begins so. False: the operation is refused. */
static enum err view_open(struct store_sqlite *s, struct store_op *op,
                          const struct access *access, struct view *v,
                          bool *out_granted)
{
    *out_granted = false;
    *v = (struct view){.sub = access->sub};
    TRY(store_use(s, op, FILE_CHANNELS, &v->db));
    CLEANUP(sql_end)
    struct sql_query q = sql_query(
        v->db, "SELECT c.head, c.handshake, c.bytes, c.day, s.start, s.cursor,"
               " s.ended, s.day, s.used, s.cap_hash, s.cap_next, c.slot,"
               " s.next_cursor, c.oldest"
               " FROM channel c JOIN subscription s ON s.slot = c.slot"
               " WHERE c.id = ? AND s.id = ?");
    sql_put_bytes(&q, access->channel);
    sql_put_bytes(&q, access->sub);
    if (!sql_next(&q)) {
        TRY(sql_finish(&q));
        return store_refuse(op, STATUS_NOTFOUND, 0);
    }
    if (!cap_matches(&q, 9, op->cap_hash) && !cap_matches(&q, 10, op->cap_hash))
        return store_refuse(op, STATUS_AUTH, 0);
    v->newer = !cap_matches(&q, 9, op->cap_hash);
    v->older = !v->newer && !sql_is_null(&q, 10);
    v->slot = sql_u64(&q, 11);
    v->oldest = sql_u64(&q, 13);
    v->head = sql_u64(&q, 0);
    v->handshake = sql_u64(&q, 1);
    v->bytes = sql_u64(&q, 2);
    v->start = sql_u64(&q, 4);
    v->cursor = sql_u64(&q, v->newer ? 12 : 5);
    v->ended = !sql_is_null(&q, 6);
    v->end = v->ended ? sql_u64(&q, 6) : v->head;
    v->fresh = sql_u64(&q, 3) == op->day &&
               (v->ended || v->newer ||
                (sql_u64(&q, 7) == op->day && sql_u64(&q, 8) != 0));
    *out_granted = true;
    return OK;
}

/* Notes, once a day, that the channel and the subscription are in use. The day
 * of an ended subscription is that of its end; where there are two
 * capabilities, it is that of the older one. */
static enum err view_touch(const struct view *v, uint32_t day)
{
    if (v->fresh)
        return OK;
    CLEANUP(sql_end)
    struct sql_query c =
        sql_query(v->db, "UPDATE channel SET day = max(day, ?) WHERE slot = ?");
    sql_put_u64(&c, day);
    sql_put_u64(&c, v->slot);
    TRY(sql_run(&c));
    if (v->newer)
        return OK;
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(v->db, "UPDATE subscription SET day = ?, used = 1"
                         " WHERE slot = ? AND id = ? AND ended IS NULL");
    sql_put_u64(&q, day);
    sql_put_u64(&q, v->slot);
    sql_put_bytes(&q, v->sub);
    return sql_run(&q);
}

/* An ended subscription that has read all it may is told so. */
static bool is_over(const struct view *v, uint64_t after)
{
    return v->ended && after >= v->end;
}

static enum err sub_insert(struct sql *db, uint64_t slot,
                           const struct sub_add *add, uint64_t start,
                           uint32_t day)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(db, "INSERT INTO subscription"
                      " (slot, id, cap_hash, start, cursor, day, used)"
                      " VALUES (?, ?, ?, ?, ?, ?, 0)");
    sql_put_u64(&q, slot);
    sql_put_bytes(&q, add->sub);
    sql_put_bytes(&q, add->cap_hash);
    sql_put_u64(&q, start);
    sql_put_u64(&q, start);
    sql_put_u64(&q, day);
    return sql_run(&q);
}

/* The same again, after a lost answer, is no error. */
static enum err create_again(struct sql *db, struct store_op *op)
{
    const struct channel_create_request *r = &op->request.channel_create;
    CLEANUP(sql_end)
    struct sql_query q = sql_query(
        db, "SELECT 1 FROM channel c JOIN subscription s ON s.slot = c.slot"
            " WHERE c.id = ? AND s.id = ? AND s.cap_hash = ? AND s.start = 0");
    sql_put_bytes(&q, r->channel);
    sql_put_bytes(&q, r->sub);
    sql_put_bytes(&q, r->cap_hash);
    bool same = sql_next(&q);
    TRY(sql_finish(&q));
    return same ? OK : store_refuse(op, STATUS_EXISTS, 0);
}

/* The first free slot from the one that the id begins with; 0: none near. */
static enum err slot_find(struct sql *db, struct bytes id, uint64_t *out)
{
    struct reader r = reader_of(id);
    uint64_t first = reader_u32(&r) >> (32 - SLOT_BITS);
    *out = 0;
    for (uint64_t i = 0; i < SLOT_TRIES && *out == 0; i++) {
        uint64_t slot = (first + i) & ((1U << SLOT_BITS) - 1);
        CLEANUP(sql_end)
        struct sql_query q =
            sql_query(db, "SELECT 1 FROM channel WHERE slot = ?");
        sql_put_u64(&q, slot);
        if (slot > 0 && !sql_next(&q))
            *out = slot;
        TRY(sql_finish(&q));
    }
    return OK;
}

enum err channels_create(struct store_sqlite *s, struct store_op *op)
{
    const struct channel_create_request *r = &op->request.channel_create;
    struct sql *db = NULL;
    uint64_t slot = 0;
    TRY(store_use(s, op, FILE_CHANNELS, &db));
    {
        CLEANUP(sql_end)
        struct sql_query q =
            sql_query(db, "SELECT 1 FROM channel WHERE id = ?");
        sql_put_bytes(&q, r->channel);
        bool there = sql_next(&q);
        TRY(sql_finish(&q));
        if (there)
            return create_again(db, op);
    }
    TRY(slot_find(db, r->channel, &slot));
    if (slot == 0)
        return store_refuse(op, STATUS_LIMIT, 0);
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(db, "INSERT INTO channel VALUES (?, ?, 0, 1, 0, 0, ?)");
    sql_put_bytes(&q, r->channel);
    sql_put_u64(&q, slot);
    sql_put_u64(&q, op->day);
    TRY(sql_run(&q));
    const struct sub_add creator = {r->sub, r->cap_hash};
    return sub_insert(db, slot, &creator, 0, op->day);
}

enum err channels_attach(struct store_sqlite *s, struct store_op *op)
{
    struct view v;
    bool granted = false;
    TRY(view_open(s, op, &op->request.attach.access, &v, &granted));
    if (!granted)
        return OK;
    if (is_over(&v, v.cursor))
        return store_refuse(op, STATUS_STATE, v.end);
    TRY(view_touch(&v, op->day));
    struct attach_answer *a = &op->answer.attach;
    a->head = v.end;
    a->handshake = v.handshake < v.end ? v.handshake : v.end;
    a->cursor = v.cursor;
    a->oldest = v.oldest;
    return OK;
}

enum err channels_read(struct store_sqlite *s, struct store_op *op)
{
    const struct read_request *r = &op->request.read;
    struct view v;
    bool granted = false;
    TRY(view_open(s, op, &r->access, &v, &granted));
    if (!granted)
        return OK;
    if (is_over(&v, r->after))
        return store_refuse(op, STATUS_STATE, v.end);
    TRY(view_touch(&v, op->day));

    size_t max = r->max_bytes < READ_BYTES_MAX ? r->max_bytes : READ_BYTES_MAX;
    size_t used = 0;
    size_t count = 0;
    op->data =
        buf_new(max + ENTRY_MAX + (size_t)READ_ENTRIES_MAX * LIST_OVERHEAD);
    struct writer w = writer_to(&op->data);
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(v.db, "SELECT p.seq, e.time, e.kind, e.body FROM place p"
                        " CROSS JOIN entry e ON e.id = p.entry"
                        " WHERE p.slot = ? AND p.seq BETWEEN ? AND ?"
                        " ORDER BY p.seq");
    uint64_t after = r->after > v.start ? r->after : v.start;
    after = after < v.end ? after : v.end;
    sql_put_u64(&q, v.slot);
    sql_put_u64(&q, after < v.oldest ? v.oldest : after + 1);
    sql_put_u64(&q, v.end);
    while (count < READ_ENTRIES_MAX && sql_next(&q)) {
        const struct entry e = {
            .seq = sql_u64(&q, 0),
            .time = sql_u64(&q, 1),
            .kind = (uint8_t)sql_u64(&q, 2),
            .body = sql_bytes(&q, 3),
        };
        if (count > 0 && e.body.len > max - used)
            break;
        entry_write(&w, &e);
        used += e.body.len < max - used ? e.body.len : max - used;
        count++;
    }
    TRY(sql_finish(&q));
    TRY(writer_finish(&w));
    op->answer.read.head = v.end;
    op->answer.read.entries = buf_bytes(&op->data);
    op->answer.read.oldest = v.oldest;
    return OK;
}

/* Up to this number, idempotency keys are in their own table. */
static uint64_t moved_to(uint64_t head) { return head - head % TOGETHER; }

/* Rule 5: before `after` is looked at, and whoever asks. */
static enum err accepted_find(const struct view *v, struct bytes key,
                              uint64_t *out_seq)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(v->db, "SELECT seq FROM place WHERE slot = ?1 AND seq > ?2"
                         " AND key = ?3 UNION ALL"
                         " SELECT seq FROM accepted WHERE slot = ?1"
                         " AND key = ?3");
    sql_put_u64(&q, v->slot);
    sql_put_u64(&q, moved_to(v->head));
    sql_put_bytes(&q, key);
    *out_seq = sql_next(&q) ? sql_u64(&q, 0) : 0;
    return sql_finish(&q);
}

#define SAME "cap_hash = ?1 OR cap_next IS ?1"

/* Rule 2: adds. An id that is there already stays as it is, and takes a second
 * capability with a cursor of its own: a device that rejoins comes back so, and
 * a false list takes nothing from anybody. A capability that it has already is
 * of an old commit that somebody sends again. */
static enum err sub_add(const struct view *v, const struct sub_add *add,
                        uint64_t seq, uint32_t day)
{
    CLEANUP(sql_end)
    struct sql_query q = sql_query(
        v->db, "UPDATE subscription SET cap_next = iif(" SAME ", cap_next, ?1),"
               " next_at = iif(" SAME ", next_at, ?2),"
               " next_cursor = iif(" SAME ", next_cursor, ?2),"
               " ended = NULL, day = ?3 WHERE slot = ?4 AND id = ?5");
    sql_put_bytes(&q, add->cap_hash);
    sql_put_u64(&q, seq);
    sql_put_u64(&q, day);
    sql_put_u64(&q, v->slot);
    sql_put_bytes(&q, add->sub);
    TRY(sql_run(&q));
    if (sql_changes(v->db) > 0)
        return OK;
    return sub_insert(v->db, v->slot, add, seq, day);
}

static enum err subs_add(const struct view *v, struct bytes adds, uint64_t seq,
                         uint32_t day)
{
    struct reader r = reader_of(adds);
    while (reader_more(&r)) {
        struct sub_add add;
        sub_add_read(&r, &add);
        TRY(sub_add(v, &add, seq, day));
    }
    return reader_finish(&r);
}

static enum err subs_end(const struct view *v, struct bytes ends, uint64_t seq,
                         uint32_t day)
{
    struct reader r = reader_of(ends);
    while (reader_more(&r)) {
        CLEANUP(sql_end)
        struct sql_query q =
            sql_query(v->db, "UPDATE subscription SET ended = ?, day = ?"
                             " WHERE slot = ? AND id = ? AND ended IS NULL");
        sql_put_u64(&q, seq);
        sql_put_u64(&q, day);
        sql_put_u64(&q, v->slot);
        sql_put_bytes(&q, reader_raw(&r, ID_SIZE));
        TRY(sql_run(&q));
    }
    return reader_finish(&r);
}

static enum err subs_count(const struct view *v, uint64_t *out)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(v->db, "SELECT count(*) FROM subscription WHERE slot = ?");
    sql_put_u64(&q, v->slot);
    TRY(sql_one(&q));
    *out = sql_u64(&q, 0);
    return OK;
}

/* Ended ones are only kept so that they can be told, or reopened: when there is
 * no room, those that have read all go first. */
static enum err subs_have_room(const struct store_sqlite *s,
                               const struct view *v, struct bytes adds,
                               bool *out)
{
    uint64_t count = 0;
    uint64_t more = adds.len / (ID_SIZE + CAP_SIZE);
    TRY(subs_count(v, &count));
    if (more > 0 && count + more > s->quotas.subscriptions) {
        CLEANUP(sql_end)
        struct sql_query q =
            sql_query(v->db, "DELETE FROM subscription"
                             " WHERE slot = ? AND cursor >= ended");
        sql_put_u64(&q, v->slot);
        TRY(sql_run(&q));
        TRY(subs_count(v, &count));
    }
    *out = more == 0 || count + more <= s->quotas.subscriptions;
    return OK;
}

/* Acknowledged entries go at the end of the flush, once for each channel. */
static enum err mark_dirty(struct store_sqlite *s, uint64_t slot)
{
    size_t last = s->dirty_count > 8 ? s->dirty_count - 8 : 0;
    for (size_t i = last; i < s->dirty_count; i++) {
        if (s->dirty[i] == slot)
            return OK;
    }
    if (s->dirty_count == DIRTY_MAX)
        TRY(channels_trim(s));
    s->dirty[s->dirty_count++] = slot;
    return OK;
}

/* Moves the idempotency keys up to `seq`, the newest. */
static enum err keys_move(const struct view *v, uint64_t seq)
{
    CLEANUP(sql_end)
    struct sql_query k =
        sql_query(v->db, "INSERT INTO accepted SELECT slot, key, seq, day"
                         " FROM place WHERE slot = ? AND seq > ?");
    sql_put_u64(&k, v->slot);
    sql_put_u64(&k, seq - TOGETHER);
    TRY(sql_run(&k));
    CLEANUP(sql_end)
    struct sql_query gone =
        sql_query(v->db, "DELETE FROM place WHERE slot = ? AND seq < ?");
    sql_put_u64(&gone, v->slot);
    sql_put_u64(&gone, v->oldest);
    return sql_run(&gone);
}

static enum err entry_insert(const struct view *v, const struct store_op *op,
                             uint64_t seq)
{
    const struct append_request *r = &op->request.append;
    CLEANUP(sql_end)
    struct sql_query e =
        sql_query(v->db, "INSERT INTO entry VALUES (NULL, ?, ?, ?, ?, ?)");
    sql_put_u64(&e, v->slot);
    sql_put_u64(&e, seq);
    sql_put_u64(&e, op->now);
    sql_put_u64(&e, r->kind);
    sql_put_bytes(&e, r->body);
    TRY(sql_run(&e));

    CLEANUP(sql_end)
    struct sql_query k =
        sql_query(v->db, "INSERT INTO place VALUES (?, ?, ?, ?, ?)");
    sql_put_u64(&k, v->slot);
    sql_put_u64(&k, seq);
    sql_put_u64(&k, sql_last_id(v->db));
    sql_put_bytes(&k, r->idempotency_key);
    sql_put_u64(&k, op->day);
    TRY(sql_run(&k));
    if (moved_to(seq) == seq)
        TRY(keys_move(v, seq));

    CLEANUP(sql_end)
    struct sql_query c =
        sql_query(v->db, "UPDATE channel SET head = ?, handshake = ?, bytes = ?"
                         " WHERE id = ?");
    sql_put_u64(&c, seq);
    sql_put_u64(&c, r->kind == ENTRY_APPLICATION ? v->handshake : seq);
    sql_put_u64(&c, v->bytes + r->body.len);
    sql_put_bytes(&c, r->access.channel);
    return sql_run(&c);
}

enum err channels_append(struct store_sqlite *s, struct store_op *op)
{
    const struct append_request *r = &op->request.append;
    struct view v;
    bool granted = false;
    uint64_t seq = 0;
    TRY(view_open(s, op, &r->access, &v, &granted));
    if (!granted)
        return OK;
    if (r->kind != ENTRY_EPHEMERAL)
        TRY(accepted_find(&v, r->idempotency_key, &seq));
    op->answer.append.seq = seq;
    if (seq > 0)
        return OK;
    if (v.ended)
        return store_refuse(op, STATUS_STATE, v.end);
    if (r->kind == ENTRY_EPHEMERAL)
        return OK;
    if (r->after != v.handshake)
        return store_refuse(op, STATUS_BEHIND, v.handshake);
    bool room = false;
    TRY(subs_have_room(s, &v, op->commit.adds, &room));
    if (!room || v.head >= SEQ_MAX || v.bytes > s->quotas.channel_bytes ||
        r->body.len > s->quotas.channel_bytes - v.bytes)
        return store_refuse(op, STATUS_LIMIT, 0);

    seq = v.head + 1;
    TRY(view_touch(&v, op->day));
    TRY(entry_insert(&v, op, seq));
    TRY(subs_add(&v, op->commit.adds, seq, op->day));
    TRY(subs_end(&v, op->commit.ends, seq, op->day));
    if (op->commit.ends.len > 0)
        TRY(mark_dirty(s, v.slot));
    op->answer.append.seq = seq;
    op->fresh = true;
    return OK;
}

/* Whoever acknowledges the commit that gave its id another capability has gone
 * past it, so it did not count: that capability is good no more. */
enum err channels_ack(struct store_sqlite *s, struct store_op *op)
{
    const struct ack_request *r = &op->request.ack;
    struct view v;
    bool granted = false;
    TRY(view_open(s, op, &r->access, &v, &granted));
    if (!granted || r->upto <= v.cursor) /* it never goes back */
        return OK;
    if (r->upto > v.end)
        return store_refuse(op, STATUS_INVALID, v.end);
    TRY(view_touch(&v, op->day));
    CLEANUP(sql_end)
    struct sql_query q = sql_query(
        v.db, v.newer ? "UPDATE subscription SET next_cursor = ?1"
                        " WHERE slot = ? AND id = ?"
                      : "UPDATE subscription SET cursor = ?1,"
                        " cap_next = iif(next_at <= ?1, NULL, cap_next),"
                        " next_cursor = iif(next_at <= ?1, NULL, next_cursor),"
                        " next_at = iif(next_at <= ?1, NULL, next_at)"
                        " WHERE slot = ? AND id = ?");
    sql_put_u64(&q, r->upto);
    sql_put_u64(&q, v.slot);
    sql_put_bytes(&q, v.sub);
    TRY(sql_run(&q));
    return v.newer ? OK : mark_dirty(s, v.slot);
}

#define NEXT_BECOMES_FIRST                                          \
    "UPDATE subscription SET cap_hash = cap_next, cap_next = NULL," \
    " cursor = next_cursor, next_cursor = NULL, next_at = NULL,"    \
    " day = ?, used = 0 WHERE slot = ? AND cap_next IS NOT NULL AND"

/* The holder of the older capability gives it up for the newer one, if there is
 * one; that opens nothing, so it may also come after the end. */
static enum err sub_renew(struct store_sqlite *s, const struct view *v,
                          uint32_t day)
{
    CLEANUP(sql_end)
    struct sql_query q = sql_query(v->db, NEXT_BECOMES_FIRST " id = ?");
    sql_put_u64(&q, day);
    sql_put_u64(&q, v->slot);
    sql_put_bytes(&q, v->sub);
    TRY(sql_run(&q));
    return mark_dirty(s, v->slot);
}

enum err channels_reopen(struct store_sqlite *s, struct store_op *op)
{
    struct view v;
    bool granted = false;
    TRY(view_open(s, op, &op->request.reopen.access, &v, &granted));
    if (!granted)
        return OK;
    bool own = bytes_equal(op->request.reopen.target, v.sub);
    if (own && v.older) /* also when it has ended again since */
        return sub_renew(s, &v, op->day);
    if (v.ended)
        return store_refuse(op, STATUS_STATE, v.end);
    if (own)
        return OK;
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(v.db, "UPDATE subscription SET ended = NULL, day = ?"
                        " WHERE slot = ? AND id = ?");
    sql_put_u64(&q, op->day);
    sql_put_u64(&q, v.slot);
    sql_put_bytes(&q, op->request.reopen.target);
    TRY(sql_run(&q));
    if (sql_changes(v.db) == 0)
        return store_refuse(op, STATUS_NOTFOUND, 0);
    return OK;
}

enum err channels_access(struct store_sqlite *s, struct store_op *op,
                         bool *out_live)
{
    struct view v;
    TRY(view_open(s, op, &op->request.blob_put.access, &v, out_live));
    if (*out_live && v.ended) {
        *out_live = false;
        return store_refuse(op, STATUS_STATE, v.end);
    }
    return OK;
}

/* --- what goes --- */

static enum err one_u64(struct sql *db, const char *text, uint64_t slot,
                        uint64_t *out)
{
    CLEANUP(sql_end) struct sql_query q = sql_query(db, text);
    sql_put_u64(&q, slot);
    TRY(sql_one(&q));
    *out = sql_u64(&q, 0);
    return OK;
}

/* The places of what goes: from the oldest, up to `low`. */
struct dropped {
    struct sql *db;
    uint64_t slot;
    uint64_t oldest;
    uint64_t low;
};

static enum err run_dropped(const struct dropped *d, const char *text)
{
    CLEANUP(sql_end) struct sql_query q = sql_query(d->db, text);
    sql_put_u64(&q, d->slot);
    sql_put_u64(&q, d->oldest);
    sql_put_u64(&q, d->low);
    return sql_run(&q);
}

/* A key that is not in its own table yet stays, and does not say when. */
static enum err places_drop(const struct dropped *d, uint64_t head)
{
    struct dropped moved = *d;
    if (moved.low > moved_to(head))
        moved.low = moved_to(head);
    TRY(run_dropped(&moved, "DELETE FROM place WHERE slot = ?"
                            " AND seq BETWEEN ? AND ?"));
    if (moved.low == d->low)
        return OK;
    return run_dropped(d, "UPDATE place SET entry = NULL WHERE slot = ?"
                          " AND seq BETWEEN ? AND ?");
}

/* Deletes the entries up to `low`. */
static enum err entries_drop(struct sql *db, uint64_t slot, uint64_t low)
{
    struct dropped d = {db, slot, 0, low};
    uint64_t head = 0;
    {
        CLEANUP(sql_end)
        struct sql_query q =
            sql_query(db, "SELECT oldest, head FROM channel WHERE slot = ?");
        sql_put_u64(&q, slot);
        TRY(sql_one(&q));
        d.oldest = sql_u64(&q, 0);
        head = sql_u64(&q, 1);
    }
    if (d.low > head)
        d.low = head;
    if (d.low < d.oldest)
        return OK;
    TRY(run_dropped(&d, "UPDATE channel SET oldest = ?3 + 1, bytes = bytes -"
                        " (SELECT coalesce(sum(length(e.body)), 0) FROM place p"
                        " CROSS JOIN entry e ON e.id = p.entry WHERE"
                        " p.slot = ?1 AND p.seq BETWEEN ?2 AND ?3)"
                        " WHERE slot = ?1"));
    TRY(run_dropped(&d, "DELETE FROM entry WHERE id IN (SELECT entry FROM place"
                        " WHERE slot = ? AND seq BETWEEN ? AND ?)"));
    return places_drop(&d, head);
}

/* Rule 4. With nobody left to read, everything goes. */
static enum err channel_trim(struct sql *db, uint64_t slot)
{
    uint64_t low = 0;
    TRY(one_u64(db,
                "SELECT coalesce(min(cursor), 9223372036854775807)"
                " FROM subscription WHERE slot = ?"
                " AND (ended IS NULL OR cursor < ended)",
                slot, &low));
    return entries_drop(db, slot, low);
}

enum err channels_trim(struct store_sqlite *s)
{
    for (size_t i = 0; i < s->dirty_count; i++) {
        TRY(channel_trim(s->db[FILE_CHANNELS], s->dirty[i]));
    }
    s->dirty_count = 0;
    return OK;
}

static enum err delete_where(struct sql *db, const char *text, uint64_t slot,
                             uint64_t before)
{
    CLEANUP(sql_end) struct sql_query q = sql_query(db, text);
    sql_put_u64(&q, slot);
    sql_put_u64(&q, before);
    return sql_run(&q);
}

static enum err channel_delete(struct sql *db, uint64_t slot)
{
    static const char *const texts[] = {
        "DELETE FROM place WHERE slot = ?",
        "DELETE FROM accepted WHERE slot = ?",
        "DELETE FROM subscription WHERE slot = ?",
        "DELETE FROM channel WHERE slot = ?",
    };
    TRY(entries_drop(db, slot, SEQ_MAX));
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        CLEANUP(sql_end) struct sql_query q = sql_query(db, texts[i]);
        sql_put_u64(&q, slot);
        TRY(sql_run(&q));
    }
    return OK;
}

/* Rules 4, 5 and 7: what is older than the retention, subscriptions that never
 * came or have ended, and channels that nobody uses. */
static enum err channel_collect(struct sql *db, uint64_t slot,
                                const struct store_op *op, uint32_t days)
{
    uint32_t day = store_day_before(op, days);
    uint64_t time = (uint64_t)days * SECONDS_PER_DAY;
    uint64_t used = 0;
    uint64_t old = 0;
    TRY(one_u64(db, "SELECT day FROM channel WHERE slot = ?", slot, &used));
    if (used < day)
        return channel_delete(db, slot);
    TRY(delete_where(db, "DELETE FROM accepted WHERE slot = ? AND day < ?",
                     slot, day));
    CLEANUP(sql_end)
    struct sql_query lapsed =
        sql_query(db, NEXT_BECOMES_FIRST " ended IS NULL AND day < ?");
    sql_put_u64(&lapsed, op->day);
    sql_put_u64(&lapsed, slot);
    sql_put_u64(&lapsed, day);
    TRY(sql_run(&lapsed));
    TRY(delete_where(db,
                     "DELETE FROM subscription WHERE slot = ? AND day < ?"
                     " AND (ended IS NOT NULL OR used = 0)",
                     slot, day));
    CLEANUP(sql_end)
    struct sql_query q = sql_query(
        db,
        "SELECT max(p.seq) FROM place p CROSS JOIN entry e"
        " ON e.id = p.entry WHERE p.slot = ? AND p.day <= ? AND e.time < ?");
    sql_put_u64(&q, slot);
    sql_put_u64(&q, day);
    sql_put_u64(&q, op->now > time ? op->now - time : 0);
    TRY(sql_one(&q));
    old = sql_u64(&q, 0);
    if (old > 0)
        TRY(entries_drop(db, slot, old));
    TRY(channel_trim(db, slot));
    return delete_where(db,
                        "DELETE FROM place WHERE slot = ? AND day < ?"
                        " AND entry IS NULL",
                        slot, day);
}

static enum err collect_id(const struct store_sqlite *s, struct sql *db,
                           struct bytes id, const struct store_op *op)
{
    uint64_t slot = 0;
    {
        CLEANUP(sql_end)
        struct sql_query q =
            sql_query(db, "SELECT slot FROM channel WHERE id = ?");
        sql_put_bytes(&q, id);
        TRY(sql_one(&q));
        slot = sql_u64(&q, 0);
    }
    return channel_collect(db, slot, op, s->quotas.retention_days);
}

enum err channels_collect(struct store_sqlite *s, struct store_op *op)
{
    uint8_t ids[COLLECT_STEP][ID_SIZE];
    size_t count = 0;
    struct sql *db = NULL;
    TRY(store_use(s, op, FILE_CHANNELS, &db));
    TRY(store_walk(s, FILE_CHANNELS,
                   "SELECT id FROM channel WHERE id > ? ORDER BY id LIMIT ?",
                   ids, &count));
    for (size_t i = 0; i < count; i++)
        TRY(collect_id(s, db, (struct bytes){ids[i], ID_SIZE}, op));
    return OK;
}

enum err channels_verify(struct store_sqlite *s, struct problem *p)
{
    static const struct store_fault faults[] = {
        {"SELECT count(*) FROM entry e LEFT JOIN channel c"
         " ON c.slot = e.slot WHERE c.id IS NULL"
         " OR e.seq NOT BETWEEN c.oldest AND c.head",
         "an entry lies outside its channel"},
        {"SELECT count(*) FROM channel WHERE handshake > head",
         "a channel's handshake is above its head"},
        {"SELECT count(*) FROM channel c WHERE head - oldest + 1 <>"
         " (SELECT count(*) FROM place p CROSS JOIN entry e ON e.id = p.entry"
         " AND e.slot = p.slot AND e.seq = p.seq"
         " WHERE p.slot = c.slot AND p.seq >= c.oldest)",
         "an entry is missing between others"},
        {"SELECT (SELECT count(*) FROM entry) <>"
         " (SELECT coalesce(sum(head - oldest + 1), 0) FROM channel)",
         "an entry is there twice"},
        {"SELECT count(*) FROM channel c WHERE bytes <> (SELECT"
         " coalesce(sum(length(e.body)), 0) FROM place p CROSS JOIN entry e"
         " ON e.id = p.entry WHERE p.slot = c.slot)",
         "a channel's bytes are miscounted"},
        {"SELECT count(*) FROM place p LEFT JOIN channel c"
         " ON c.slot = p.slot WHERE c.id IS NULL OR p.seq > c.head"
         " OR (p.entry IS NULL) <> (p.seq < c.oldest)",
         "a place does not fit its channel"},
        {"SELECT count(*) FROM subscription LEFT JOIN channel c"
         " ON c.slot = subscription.slot WHERE c.id IS NULL OR start > cursor"
         " OR cursor > head OR ended > head OR next_at > next_cursor"
         " OR next_cursor > head OR cursor >= next_at",
         "a subscription does not fit its channel"},
        {"SELECT count(*) FROM accepted a LEFT JOIN channel c"
         " ON c.slot = a.slot WHERE c.id IS NULL OR seq > head",
         "an idempotency key does not fit its channel"},
    };
    return store_verify(s, FILE_CHANNELS, faults,
                        sizeof faults / sizeof faults[0], p);
}
