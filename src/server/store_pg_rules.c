/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules as calls of the functions in store_pg.sql. Parameters and results
 * are binary, so nothing is quoted: numbers are bigint, bytes bytea, lists
 * arrays of bytea, flags boolean.
 */
#include "server/store_pg_impl.h"

#include "base/wire.h"

#include <assert.h>
#include <string.h>

#define BYTEA_OID  17U
#define BIGINT_OID 20U
#define LISTS_SIZE ((size_t)MESSAGE_MAX + (1U << 20))

/* --- parameters --- */

void params_clear(struct params *p)
{
    for (size_t i = 0; i < LISTS_MAX; i++)
        buf_clear(&p->lists[i]);
    explicit_bzero(p, sizeof *p); /* pointers to capabilities' hashes */
}

static void put(struct params *p, const void *data, size_t len)
{
    assert(p->count < PARAMS_MAX && len <= INT32_MAX);
    p->values[p->count] = len > 0 ? data : ""; /* NULL would be SQL's */
    p->lengths[p->count] = (int)len;
    p->formats[p->count] = 1;
    p->count++;
}

void put_bytes(struct params *p, struct bytes b) { put(p, b.data, b.len); }

/* SQL's numbers have a sign; nothing that is stored comes near. */
void put_number(struct params *p, uint64_t v)
{
    uint8_t *to = p->numbers[p->count];
    v = v < INT64_MAX ? v : INT64_MAX;
    for (unsigned i = 0; i < 8; i++)
        to[i] = (uint8_t)(v >> (56 - 8 * i));
    put(p, to, 8);
}

void put_flag(struct params *p, bool v)
{
    p->numbers[p->count][0] = v;
    put(p, p->numbers[p->count], 1);
}

/* An array of one dimension: its length, then each with its length before. */
static struct writer list_begin(struct params *p, struct buf **out_buf)
{
    assert(p->list_count < LISTS_MAX);
    *out_buf = &p->lists[p->list_count++];
    **out_buf = buf_new(LISTS_SIZE);
    struct writer w = writer_to(*out_buf);
    return w;
}

static void list_header(struct writer *w, uint32_t type, size_t count)
{
    writer_u32(w, count > 0); /* dimensions */
    writer_u32(w, 0);         /* no NULLs */
    writer_u32(w, type);
    if (count > 0) {
        writer_u32(w, (uint32_t)count);
        writer_u32(w, 1); /* the first index */
    }
}

static void list_add(struct writer *w, struct bytes b)
{
    writer_u32(w, (uint32_t)b.len);
    writer_raw(w, b);
}

static void list_end(struct params *p, const struct writer *w,
                     const struct buf *list)
{
    if (p->err == OK)
        p->err = writer_finish(w);
    put_bytes(p, buf_bytes(list));
}

/* Ids in one run of bytes: the first of each `stride`, from `skip` on. */
static void put_ids(struct params *p, struct bytes run, size_t stride,
                    size_t skip)
{
    struct buf *list = NULL;
    struct writer w = list_begin(p, &list);
    list_header(&w, BYTEA_OID, run.len / stride);
    for (size_t at = skip; at < run.len; at += stride)
        list_add(&w, (struct bytes){run.data + at, ID_SIZE});
    list_end(p, &w, list);
}

static void put_vectors(struct params *p, struct bytes vectors, size_t *count)
{
    struct buf *list = NULL;
    struct writer w = list_begin(p, &list);
    struct reader r = reader_of(vectors);
    for (*count = 0; reader_more(&r); (*count)++)
        (void)reader_vec(&r);
    list_header(&w, BYTEA_OID, *count);
    r = reader_of(vectors);
    while (reader_more(&r))
        list_add(&w, reader_vec(&r));
    list_end(p, &w, list);
}

/* --- results --- */

enum {
    COL_STATUS,
    COL_A,
    COL_B,
    COL_C,
    COL_D,
    COL_BODY
};

static struct bytes cell(const PGresult *r, int row, int column)
{
    return (struct bytes){(const uint8_t *)PQgetvalue(r, row, column),
                          (size_t)PQgetlength(r, row, column)};
}

static uint64_t number(const PGresult *r, int row, int column)
{
    struct reader in = reader_of(cell(r, row, column));
    return in.rest.len == 4 ? reader_u32(&in) : reader_u64(&in);
}

/* The status; true when there is more to take. */
static bool granted(struct store_op *op, const PGresult *r)
{
    op->answer.status = (uint8_t)number(r, 0, COL_STATUS);
    if (op->answer.status == STATUS_OK)
        return true;
    op->answer.detail = number(r, 0, COL_A);
    return false;
}

static enum err take_status(struct pg_lane *lane, struct store_op *op,
                            PGresult *r)
{
    (void)lane;
    (void)granted(op, r);
    return OK;
}

/* --- channels --- */

static void put_access(struct params *p, const struct store_op *op,
                       const struct access *a)
{
    put_bytes(p, a->channel);
    put_bytes(p, a->sub);
    put_bytes(p, op->cap_hash);
    put_number(p, op->day);
}

static void put_create(struct params *p, const struct pg_lane *lane,
                       const struct store_op *op)
{
    const struct channel_create_request *r = &op->request.channel_create;
    (void)lane;
    put_bytes(p, r->channel);
    put_bytes(p, r->sub);
    put_bytes(p, r->cap_hash);
    put_number(p, op->day);
}

static void put_attach(struct params *p, const struct pg_lane *lane,
                       const struct store_op *op)
{
    (void)lane;
    put_access(p, op, &op->request.attach.access);
}

static enum err take_attach(struct pg_lane *lane, struct store_op *op,
                            PGresult *r)
{
    (void)lane;
    if (granted(op, r))
        op->answer.attach = (struct attach_answer){
            .head = number(r, 0, COL_A),
            .handshake = number(r, 0, COL_B),
            .cursor = number(r, 0, COL_C),
            .oldest = number(r, 0, COL_D),
        };
    return OK;
}

static void put_read(struct params *p, const struct pg_lane *lane,
                     const struct store_op *op)
{
    const struct read_request *r = &op->request.read;
    (void)lane;
    put_access(p, op, &r->access);
    put_number(p, r->after);
    put_number(p,
               r->max_bytes < READ_BYTES_MAX ? r->max_bytes : READ_BYTES_MAX);
    put_number(p, READ_ENTRIES_MAX);
}

static enum err take_read(struct pg_lane *lane, struct store_op *op,
                          PGresult *r)
{
    (void)lane;
    if (!granted(op, r))
        return OK;
    op->data = buf_new((size_t)READ_BYTES_MAX + ENTRY_MAX +
                       (size_t)READ_ENTRIES_MAX * LIST_OVERHEAD);
    struct writer w = writer_to(&op->data);
    for (int i = 1; i < PQntuples(r); i++) {
        const struct entry e = {
            .seq = number(r, i, COL_A),
            .time = number(r, i, COL_B),
            .kind = (uint8_t)number(r, i, COL_C),
            .body = cell(r, i, COL_BODY),
        };
        entry_write(&w, &e);
    }
    TRY(writer_finish(&w));
    op->answer.read = (struct read_answer){
        .head = number(r, 0, COL_A),
        .oldest = number(r, 0, COL_B),
        .entries = buf_bytes(&op->data),
    };
    return OK;
}

static void put_append(struct params *p, const struct pg_lane *lane,
                       const struct store_op *op)
{
    const struct append_request *r = &op->request.append;
    const struct store_quotas *q = &lane->store->quotas;
    put_access(p, op, &r->access);
    put_number(p, op->now);
    put_number(p, r->after);
    put_number(p, r->kind);
    put_bytes(p, r->idempotency_key);
    put_bytes(p, r->body);
    put_ids(p, op->commit.adds, (size_t)ID_SIZE + CAP_SIZE, 0);
    put_ids(p, op->commit.adds, (size_t)ID_SIZE + CAP_SIZE, ID_SIZE);
    put_ids(p, op->commit.ends, ID_SIZE, 0);
    put_number(p, q->subscriptions);
    put_number(p, q->channel_bytes);
    put_number(p, q->retention_days);
    put_flag(p, lane->again);
}

static void take_append_row(struct store_op *op, const PGresult *r, int row)
{
    op->answer.status = (uint8_t)number(r, row, COL_STATUS);
    if (op->answer.status == STATUS_OK) {
        op->answer.append.seq = number(r, row, COL_A);
        op->fresh = number(r, row, COL_B) != 0;
    } else {
        op->answer.detail = number(r, row, COL_A);
    }
}

static enum err take_append(struct pg_lane *lane, struct store_op *op,
                            PGresult *r)
{
    (void)lane;
    take_append_row(op, r, 0);
    return OK;
}

static void put_ack(struct params *p, const struct pg_lane *lane,
                    const struct store_op *op)
{
    (void)lane;
    put_access(p, op, &op->request.ack.access);
    put_number(p, op->request.ack.upto);
}

static void put_reopen(struct params *p, const struct pg_lane *lane,
                       const struct store_op *op)
{
    (void)lane;
    put_access(p, op, &op->request.reopen.access);
    put_bytes(p, op->request.reopen.target);
}

/* --- many appends in one call --- */

static const struct store_op *next_batched(const struct store_op *op)
{
    while (op != NULL && op->touched == 0)
        op = op->next;
    return op;
}

static struct bytes batch_channel(const struct store_op *op)
{
    return op->request.append.access.channel;
}
static struct bytes batch_sub(const struct store_op *op)
{
    return op->request.append.access.sub;
}
static struct bytes batch_cap(const struct store_op *op)
{
    return op->cap_hash;
}
static struct bytes batch_key(const struct store_op *op)
{
    return op->request.append.idempotency_key;
}
static struct bytes batch_body(const struct store_op *op)
{
    return op->request.append.body;
}
static uint64_t batch_after(const struct store_op *op)
{
    return op->request.append.after;
}
static uint64_t batch_time(const struct store_op *op) { return op->now; }

static void put_column(struct params *p, const struct pg_lane *lane,
                       struct bytes (*of)(const struct store_op *op))
{
    struct buf *list = NULL;
    struct writer w = list_begin(p, &list);
    list_header(&w, BYTEA_OID, lane->batched);
    for (const struct store_op *op = next_batched(lane->flight); op != NULL;
         op = next_batched(op->next))
        list_add(&w, of(op));
    list_end(p, &w, list);
}

static void put_number_column(struct params *p, const struct pg_lane *lane,
                              uint64_t (*of)(const struct store_op *op))
{
    struct buf *list = NULL;
    struct writer w = list_begin(p, &list);
    list_header(&w, BIGINT_OID, lane->batched);
    for (const struct store_op *op = next_batched(lane->flight); op != NULL;
         op = next_batched(op->next)) {
        uint64_t v = of(op);
        writer_u32(&w, 8);
        writer_u64(&w, v < INT64_MAX ? v : INT64_MAX);
    }
    list_end(p, &w, list);
}

void put_batch(struct params *p, const struct pg_lane *lane)
{
    const struct store_quotas *q = &lane->store->quotas;
    put_column(p, lane, batch_channel);
    put_column(p, lane, batch_sub);
    put_column(p, lane, batch_cap);
    put_column(p, lane, batch_key);
    put_column(p, lane, batch_body);
    put_number_column(p, lane, batch_after);
    put_number_column(p, lane, batch_time);
    put_number(p, lane->flight->day); /* of all that are marked */
    put_number(p, q->subscriptions);
    put_number(p, q->channel_bytes);
    put_number(p, q->retention_days);
}

/* Rows come in any order; each says which operation, from 1, it answers. */
enum err take_batch(struct pg_lane *lane, const PGresult *r)
{
    int rows[FLIGHT_OPS] = {0};
    size_t n = 0;
    if ((size_t)PQntuples(r) != lane->batched)
        return ERR_MALFORMED;
    for (int i = 0; i < PQntuples(r); i++) {
        uint64_t which = number(r, i, COL_C);
        if (which < 1 || which > lane->batched)
            return ERR_MALFORMED;
        rows[which - 1] = i;
    }
    for (struct store_op *op = lane->flight; op != NULL; op = op->next) {
        if (op->touched != 0)
            take_append_row(op, r, rows[n++]);
    }
    return OK;
}

/* --- accounts --- */

static void put_register(struct params *p, const struct pg_lane *lane,
                         const struct store_op *op)
{
    const struct register_request *r = &op->request.reg;
    (void)lane;
    put_bytes(p, op->account);
    put_bytes(p, r->name);
    put_bytes(p, r->device_id);
    put_bytes(p, r->contact_hash);
    put_bytes(p, r->state);
    put_ids(p, op->devices, ID_SIZE, 0);
    put_bytes(p, op->invite_hash);
    put_number(p, op->day);
}

static void put_login(struct params *p, const struct pg_lane *lane,
                      const struct store_op *op)
{
    (void)lane;
    put_bytes(p, op->account);
    put_number(p, op->day);
}

static void put_newest(struct params *p, const struct pg_lane *lane,
                       const struct store_op *op)
{
    (void)lane;
    put_bytes(p, op->account);
}

static enum err take_newest(struct pg_lane *lane, struct store_op *op,
                            PGresult *r)
{
    (void)lane;
    if (!granted(op, r))
        return OK;
    op->answer.login.state_version = number(r, 0, COL_A);
    op->seq = number(r, 0, COL_B);
    op->data = buf_new(STATE_SIZE_MAX);
    return buf_append(&op->data, cell(r, 0, COL_BODY));
}

static void put_notices(struct params *p, const struct pg_lane *lane,
                        const struct store_op *op)
{
    (void)lane;
    put_number(p, op->version);
    put_number(p, STORE_NOTICES_MAX);
}

static enum err take_notices(struct pg_lane *lane, struct store_op *op,
                             PGresult *r)
{
    (void)lane;
    if (!granted(op, r))
        return OK;
    op->data = buf_new((size_t)STORE_NOTICES_MAX * ID_SIZE);
    for (int i = 0; i < PQntuples(r); i++) {
        op->seq = number(r, i, COL_A);
        TRY(buf_append(&op->data, cell(r, i, COL_BODY)));
    }
    return OK;
}

static void put_state(struct params *p, const struct pg_lane *lane,
                      const struct store_op *op)
{
    put_bytes(p, op->account);
    put_number(p, op->version);
    put_bytes(p, op->request.state_append.state);
    put_ids(p, op->devices, ID_SIZE, 0);
    put_number(p, lane->store->quotas.chain_states);
    put_flag(p, lane->again);
}

static void put_contact(struct params *p, const struct pg_lane *lane,
                        const struct store_op *op)
{
    (void)lane;
    put_bytes(p, op->account);
    put_bytes(p, op->request.contact_set.contact_hash);
}

static void put_publish(struct params *p, const struct pg_lane *lane,
                        const struct store_op *op)
{
    const struct kp_publish_request *r = &op->request.kp_publish;
    size_t count = 0;
    (void)lane;
    put_bytes(p, op->account);
    put_bytes(p, op->device);
    put_vectors(p, r->packages, &count);
    put_ids(p, (struct bytes){op->digest.data, count * ID_SIZE}, ID_SIZE, 0);
    put_bytes(p, r->last_resort);
    put_bytes(p,
              r->last_resort.len == 0
                  ? (struct bytes){0}
                  : (struct bytes){op->digest.data + count * ID_SIZE, ID_SIZE});
    put_number(p, op->day);
    put_number(p, KEY_PACKAGES);
}

static void put_count(struct params *p, const struct pg_lane *lane,
                      const struct store_op *op)
{
    (void)lane;
    put_bytes(p, op->device);
}

static enum err take_count(struct pg_lane *lane, struct store_op *op,
                           PGresult *r)
{
    (void)lane;
    if (granted(op, r))
        op->answer.kp_count.single_use = (uint32_t)number(r, 0, COL_A);
    return OK;
}

static void put_take(struct params *p, const struct pg_lane *lane,
                     const struct store_op *op)
{
    const struct kp_take_request *r = &op->request.kp_take;
    const struct store_quotas *q = &lane->store->quotas;
    put_bytes(p, r->account_id);
    put_bytes(p, r->device_id);
    put_bytes(p, op->cap_hash);
    put_bytes(p, op->digest);
    put_number(p, r->pow.day);
    put_number(p, op->day);
    put_number(p, q->contact_takes);
    put_number(p, q->stranger_takes);
    put_flag(p, lane->again);
}

static enum err take_take(struct pg_lane *lane, struct store_op *op,
                          PGresult *r)
{
    (void)lane;
    if (!granted(op, r))
        return OK;
    op->data = buf_new(MESSAGE_MAX);
    struct writer w = writer_to(&op->data);
    for (int i = 1; i + 1 < PQntuples(r); i += 2) { /* device, then package */
        const struct device_package p = {cell(r, i, COL_BODY),
                                         cell(r, i + 1, COL_BODY)};
        device_package_write(&w, &p);
    }
    TRY(writer_finish(&w));
    op->answer.kp_take.packages = buf_bytes(&op->data);
    return OK;
}

static void put_lookup(struct params *p, const struct pg_lane *lane,
                       const struct store_op *op)
{
    (void)lane;
    put_bytes(p, op->request.lookup.name);
}

static enum err take_lookup(struct pg_lane *lane, struct store_op *op,
                            PGresult *r)
{
    (void)lane;
    if (!granted(op, r))
        return OK;
    op->data = buf_new(ID_SIZE);
    TRY(buf_append(&op->data, cell(r, 0, COL_BODY)));
    op->answer.lookup.account_id = buf_bytes(&op->data);
    return OK;
}

static void put_chain(struct params *p, const struct pg_lane *lane,
                      const struct store_op *op)
{
    (void)lane;
    put_bytes(p, op->request.chain.account_id);
    put_number(p, op->request.chain.from);
    put_number(p, CHAIN_BYTES_MAX - STATE_SIZE_MAX);
}

static enum err take_chain(struct pg_lane *lane, struct store_op *op,
                           PGresult *r)
{
    (void)lane;
    if (!granted(op, r))
        return OK;
    op->data = buf_new(CHAIN_BYTES_MAX + 2 * STATE_SIZE_MAX);
    struct writer w = writer_to(&op->data);
    for (int i = 1; i < PQntuples(r); i++)
        writer_vec(&w, cell(r, i, COL_BODY));
    TRY(writer_finish(&w));
    op->answer.chain.newest = number(r, 0, COL_A);
    op->answer.chain.states = buf_bytes(&op->data);
    return OK;
}

static void put_invite(struct params *p, const struct pg_lane *lane,
                       const struct store_op *op)
{
    (void)lane;
    put_bytes(p, op->invite_hash);
}

/* --- inboxes --- */

static void put_item(struct params *p, const struct pg_lane *lane,
                     const struct store_op *op)
{
    const struct inbox_append_request *r = &op->request.inbox_append;
    const struct store_quotas *q = &lane->store->quotas;
    put_bytes(p, r->account_id);
    put_bytes(p, r->device_id);
    put_bytes(p, op->cap_hash);
    put_bytes(p, r->item);
    put_bytes(p, op->digest);
    put_number(p, op->day);
    put_number(p, q->inbox_items);
    put_number(p, q->stranger_items);
    put_flag(p, lane->again);
}

static enum err take_item(struct pg_lane *lane, struct store_op *op,
                          PGresult *r)
{
    (void)lane;
    if (granted(op, r))
        op->seq = number(r, 0, COL_A);
    return OK;
}

static void put_inbox_read(struct params *p, const struct pg_lane *lane,
                           const struct store_op *op)
{
    const struct inbox_read_request *r = &op->request.inbox_read;
    (void)lane;
    put_bytes(p, op->device);
    put_number(p, r->after);
    put_number(p, r->max < INBOX_READ_MAX ? r->max : INBOX_READ_MAX);
}

static enum err take_items(struct pg_lane *lane, struct store_op *op,
                           PGresult *r)
{
    (void)lane;
    (void)granted(op, r);
    op->data = buf_new((size_t)INBOX_READ_MAX * (INBOX_ITEM_SIZE + ID_SIZE));
    struct writer w = writer_to(&op->data);
    for (int i = 1; i < PQntuples(r); i++) {
        const struct inbox_item item = {number(r, i, COL_A),
                                        cell(r, i, COL_BODY)};
        inbox_item_write(&w, &item);
    }
    TRY(writer_finish(&w));
    op->answer.inbox_read.items = buf_bytes(&op->data);
    return OK;
}

static void put_inbox_ack(struct params *p, const struct pg_lane *lane,
                          const struct store_op *op)
{
    (void)lane;
    put_bytes(p, op->device);
    put_number(p, op->request.inbox_ack.upto);
}

/* --- blobs --- */

static void put_blob(struct params *p, const struct pg_lane *lane,
                     const struct store_op *op)
{
    const struct blob_put_request *r = &op->request.blob_put;
    const struct store_quotas *q = &lane->store->quotas;
    uint32_t days = r->days < BLOB_DAYS_MAX ? r->days : BLOB_DAYS_MAX;
    put_bytes(p, r->access.channel);
    put_bytes(p, r->access.sub);
    put_bytes(p, op->cap_hash);
    put_bytes(p, r->blob);
    put_number(p, r->offset);
    put_number(p, r->total);
    put_number(p, (uint64_t)op->day + days + 1);
    put_bytes(p, r->data);
    put_number(p, q->blob_bytes);
    put_number(p, q->blobs_bytes);
    put_flag(p, lane->again);
}

static enum err take_blob(struct pg_lane *lane, struct store_op *op,
                          PGresult *r)
{
    (void)lane;
    if (granted(op, r))
        op->answer.blob_put.stored = number(r, 0, COL_A);
    return OK;
}

static void put_blob_get(struct params *p, const struct pg_lane *lane,
                         const struct store_op *op)
{
    const struct blob_get_request *r = &op->request.blob_get;
    (void)lane;
    put_bytes(p, r->blob);
    put_number(p, r->offset);
    put_number(p, r->max < BLOB_PIECE_MAX ? r->max : BLOB_PIECE_MAX);
    put_number(p, op->day);
}

static enum err take_blob_get(struct pg_lane *lane, struct store_op *op,
                              PGresult *r)
{
    (void)lane;
    if (!granted(op, r))
        return OK;
    op->data = buf_new(BLOB_PIECE_MAX);
    for (int i = 1; i < PQntuples(r); i++)
        TRY(buf_append(&op->data, cell(r, i, COL_BODY)));
    op->answer.blob_get.total = number(r, 0, COL_A);
    op->answer.blob_get.data = buf_bytes(&op->data);
    return OK;
}

/* --- what goes --- */

static struct walk *walk_of(struct pg_lane *lane, const struct store_op *op)
{
    return &lane->walks[op - lane->collects];
}

static void put_walk(struct params *p, const struct pg_lane *lane,
                     const struct store_op *op)
{
    const struct walk *w = &lane->walks[op - lane->collects];
    put_number(p, w->shard);
    put_bytes(p, (struct bytes){w->id, w->len});
}

/* After the last of them, begins again. */
static enum err take_walk(struct pg_lane *lane, struct store_op *op,
                          PGresult *r)
{
    struct walk *w = walk_of(lane, op);
    struct bytes id = cell(r, 0, COL_BODY);
    (void)granted(op, r);
    *w = (struct walk){0};
    if (lane->number < CHANNEL_LANES)
        w->shard = (uint64_t)lane->number * SHARDS / CHANNEL_LANES;
    if (number(r, 0, COL_A) < COLLECT_STEP || id.len != ID_SIZE)
        return OK;
    w->shard = number(r, 0, COL_B);
    memcpy(w->id, id.data, ID_SIZE);
    w->len = ID_SIZE;
    return OK;
}

static void put_channels_walk(struct params *p, const struct pg_lane *lane,
                              const struct store_op *op)
{
    put_walk(p, lane, op);
    put_number(p, ((uint64_t)lane->number + 1) * SHARDS / CHANNEL_LANES);
    put_number(p, COLLECT_STEP);
    put_number(p, op->day);
    put_number(p, op->now);
    put_number(p, lane->store->quotas.retention_days);
}

static void put_packages_walk(struct params *p, const struct pg_lane *lane,
                              const struct store_op *op)
{
    put_walk(p, lane, op);
    put_number(p, COLLECT_STEP);
    put_number(p, op->day);
    put_number(p, lane->store->collections % SHARDS);
    put_number(p, SPENT_DAYS);
    put_number(p, PACKAGE_DAYS);
    put_number(p, PACKAGE_LIFE + 2);
    put_number(p, HANDLE_REST_DAYS);
}

static void put_inboxes_walk(struct params *p, const struct pg_lane *lane,
                             const struct store_op *op)
{
    put_walk(p, lane, op);
    put_number(p, COLLECT_STEP);
    put_number(p, op->day);
    put_number(p, lane->store->quotas.retention_days);
}

static void put_blobs_walk(struct params *p, const struct pg_lane *lane,
                           const struct store_op *op)
{
    put_walk(p, lane, op);
    put_number(p, COLLECT_STEP);
    put_number(p, op->day);
}

/* The first week with a day that is not over. */
static void put_weeks(struct params *p, const struct pg_lane *lane,
                      const struct store_op *op)
{
    uint32_t days = lane->store->quotas.retention_days;
    put_number(p, op->day > days ? (op->day - days) / DAYS_PER_WEEK : 0);
}

static enum err take_nothing(struct pg_lane *lane, struct store_op *op,
                             PGresult *r)
{
    (void)lane;
    (void)op;
    (void)r;
    return OK;
}

static void put_nothing(struct params *p, const struct pg_lane *lane,
                        const struct store_op *op)
{
    (void)p;
    (void)lane;
    (void)op;
}

static enum err take_size(struct pg_lane *lane, struct store_op *op,
                          PGresult *r)
{
    if (granted(op, r))
        lane->store->bytes = number(r, 0, COL_A);
    return OK;
}

const struct pg_rule pg_rules[] = {
    {METHOD_REGISTER, "register", 8, LANE_ACCOUNTS, put_register, take_status},
    {METHOD_LOGIN, "login", 2, LANE_ACCOUNTS, put_login, take_status},
    {METHOD_STATE_APPEND, "state_append", 6, LANE_ACCOUNTS, put_state,
     take_status},
    {METHOD_CONTACT_SET, "contact_set", 2, LANE_ACCOUNTS, put_contact,
     take_status},
    {METHOD_KP_PUBLISH, "kp_publish", 8, LANE_ACCOUNTS, put_publish,
     take_count},
    {METHOD_KP_COUNT, "kp_count", 1, LANE_ACCOUNTS, put_count, take_count},
    {METHOD_INBOX_READ, "inbox_read", 3, LANE_ACCOUNTS, put_inbox_read,
     take_items},
    {METHOD_INBOX_ACK, "inbox_ack", 2, LANE_ACCOUNTS, put_inbox_ack,
     take_status},
    {METHOD_LOOKUP, "lookup", 1, LANE_ACCOUNTS, put_lookup, take_lookup},
    {METHOD_CHAIN, "chain", 3, LANE_ACCOUNTS, put_chain, take_chain},
    {METHOD_KP_TAKE, "kp_take", 9, LANE_ACCOUNTS, put_take, take_take},
    {METHOD_INBOX_APPEND, "inbox_append", 9, LANE_ACCOUNTS, put_item,
     take_item},
    {METHOD_CHANNEL_CREATE, "channel_create", 4, LANE_OF_CHANNEL, put_create,
     take_status},
    {METHOD_ATTACH, "attach", 4, LANE_OF_CHANNEL, put_attach, take_attach},
    {METHOD_READ, "read", 7, LANE_OF_CHANNEL, put_read, take_read},
    {METHOD_APPEND, "append", 16, LANE_OF_CHANNEL, put_append, take_append},
    {METHOD_ACK, "ack", 5, LANE_OF_CHANNEL, put_ack, take_status},
    {METHOD_REOPEN, "reopen", 5, LANE_OF_CHANNEL, put_reopen, take_status},
    {METHOD_BLOB_PUT, "blob_put", 11, LANE_BLOBS, put_blob, take_blob},
    {METHOD_BLOB_GET, "blob_get", 4, LANE_BLOBS, put_blob_get, take_blob_get},
    {STORE_NEWEST_STATE, "newest_state", 1, LANE_ACCOUNTS, put_newest,
     take_newest},
    {STORE_INVITE_ADD, "invite_add", 1, LANE_ACCOUNTS, put_invite, take_status},
    {STORE_NOTICES, "notices", 2, LANE_ACCOUNTS, put_notices, take_notices},
    {PG_COLLECT_CHANNELS, "collect_channels", 7, LANE_OF_CHANNEL,
     put_channels_walk, take_walk},
    {PG_COLLECT_PACKAGES, "collect_packages", 9, LANE_ACCOUNTS,
     put_packages_walk, take_walk},
    {PG_COLLECT_INBOXES, "collect_inboxes", 5, LANE_ACCOUNTS, put_inboxes_walk,
     take_walk},
    {PG_COLLECT_BLOBS, "collect_blobs", 4, LANE_BLOBS, put_blobs_walk,
     take_walk},
    {PG_DROP_WEEKS, "drop_weeks", 1, LANE_BLOBS, put_weeks, take_nothing},
    {PG_MEASURE, "store_size", 0, LANE_BLOBS, put_nothing, take_size},
};
const size_t pg_rule_count = sizeof pg_rules / sizeof pg_rules[0];

const struct pg_rule *pg_rule_of(const struct store_op *op)
{
    for (size_t i = 0; i < pg_rule_count; i++) {
        if (pg_rules[i].rule == op->rule)
            return &pg_rules[i];
    }
    assert(false); /* the core submits only rules of the table */
    return NULL;
}

/* Every request on a channel begins with its id. */
struct bytes pg_channel_of(const struct store_op *op)
{
    return op->rule == METHOD_CHANNEL_CREATE
               ? op->request.channel_create.channel
               : op->request.attach.access.channel;
}

unsigned pg_lane_of(const struct store_op *op)
{
    const struct pg_rule *rule = pg_rule_of(op);
    if (rule->lane != LANE_OF_CHANNEL)
        return rule->lane;
    return pg_channel_of(op).data[ID_SIZE - 1] * CHANNEL_LANES / SHARDS;
}
