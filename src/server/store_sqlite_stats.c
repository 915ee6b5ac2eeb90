/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers of the store, quickly, whatever its size. Rows are keyed by random
 * ids, so they lie evenly in the space of keys: what is in a part of it that
 * holds enough rows, times the number of such parts, is about what is in all.
 * A part of a small table is the whole of it, and then the number is exact.
 * (Clients choose ids; one that chooses them badly fools its operator's
 * statistics, and nothing else.)
 */
#include "server/store_sqlite_impl.h"

#include "base/random.h"
#include "crypto/entropy.h"

#include <inttypes.h>
#include <stdio.h>

#define SAMPLE_ROWS   20000U /* enough to be right within a few percent */
#define PART_BITS     24U    /* the first part is 2^-24 of the space */
#define STEP_BITS     2U     /* the next one is four times as large */
#define PREFIX_SIZE   8U
#define SLOT_KEY_BITS 31U

/* A table and the part of it with `? <= key < ?`. */
struct counted {
    const char *name;
    enum store_file file;
    unsigned key_bits; /* of a number; 0: the key begins with random bytes */
    const char *query; /* the number of rows, and the smallest time */
    const char *age;   /* what to call that in days; NULL: there is no time */
};

static const struct counted tables[] = {
    {"accounts", FILE_ACCOUNTS, 0,
     "SELECT count(*), 0 FROM account WHERE id >= ? AND id < ?", NULL},
    {"devices", FILE_ACCOUNTS, 0,
     "SELECT count(*), 0 FROM device WHERE id >= ? AND id < ?", NULL},
    {"inbox_items", FILE_INBOXES, 0,
     "SELECT count(*), 0 FROM item WHERE device >= ? AND device < ?", NULL},
    {"channels", FILE_CHANNELS, 0,
     "SELECT count(*), 0 FROM channel WHERE id >= ? AND id < ?", NULL},
    {"subscriptions", FILE_CHANNELS, SLOT_KEY_BITS,
     "SELECT count(*), 0 FROM subscription WHERE slot >= ? AND slot < ?", NULL},
    {"entries", FILE_CHANNELS, SLOT_KEY_BITS,
     "SELECT count(*), min(e.time) FROM place p CROSS JOIN entry e"
     " ON e.id = p.entry WHERE p.slot >= ? AND p.slot < ?",
     "oldest_entry_days"},
    {"blobs", FILE_BLOBS, 0,
     "SELECT count(*), 0 FROM blob WHERE id >= ? AND id < ?", NULL},
};

/* One of 2^bits parts of the space of keys. */
struct part {
    unsigned bits;
    uint64_t number;
};

/* Keys are compared byte for byte; the end of the last part is longer than any
 * key that begins like it. */
static void put_prefix(struct sql_query *q, const struct part *p, bool end,
                       uint8_t out[PREFIX_SIZE + ID_SIZE])
{
    uint64_t at = p->number + end;
    size_t len = PREFIX_SIZE;
    bool last = p->bits == 0 ? end : at >> p->bits != 0;
    if (last) {
        memset(out, 0xff, PREFIX_SIZE + ID_SIZE);
        len = PREFIX_SIZE + ID_SIZE;
    } else {
        at = p->bits == 0 ? 0 : at << (64 - p->bits);
        for (unsigned i = 0; i < PREFIX_SIZE; i++)
            out[i] = (uint8_t)(at >> (56 - 8 * i));
    }
    sql_put_bytes(q, (struct bytes){out, len});
}

static void put_number(struct sql_query *q, unsigned key_bits,
                       const struct part *p, bool end)
{
    uint64_t at = (p->number + end) << (key_bits - p->bits);
    sql_put_u64(q, store_clamp(at));
}

static enum err count_part(struct store_sqlite *s, const struct counted *t,
                           const struct part *p, uint64_t *out_rows,
                           uint64_t *out_time)
{
    uint8_t from[PREFIX_SIZE + ID_SIZE];
    uint8_t to[PREFIX_SIZE + ID_SIZE];
    CLEANUP(sql_end) struct sql_query q = sql_query(s->db[t->file], t->query);
    if (t->key_bits == 0) {
        put_prefix(&q, p, false, from);
        put_prefix(&q, p, true, to);
    } else {
        put_number(&q, t->key_bits, p, false);
        put_number(&q, t->key_bits, p, true);
    }
    TRY(sql_one(&q));
    *out_rows = sql_u64(&q, 0);
    *out_time = sql_u64(&q, 1);
    return OK;
}

static enum err count_table(struct store_sqlite *s, const struct counted *t,
                            const struct store_stats_sink *sink, uint64_t now)
{
    const struct random random = entropy_system();
    struct part part = {.bits = PART_BITS};
    uint64_t rows = 0;
    uint64_t oldest = 0;
    random_fill(&random, (uint8_t *)&part.number, sizeof part.number);
    part.number >>= 64 - PART_BITS;
    TRY(count_part(s, t, &part, &rows, &oldest));
    while (rows < SAMPLE_ROWS && part.bits > 0) {
        part.bits -= STEP_BITS;
        part.number >>= STEP_BITS;
        TRY(count_part(s, t, &part, &rows, &oldest));
    }
    sink->put(sink->ctx, t->name, rows << part.bits, part.bits > 0);
    if (t->age != NULL)
        sink->put(sink->ctx, t->age,
                  oldest > 0 && oldest < now ? (now - oldest) / SECONDS_PER_DAY
                                             : 0,
                  part.bits > 0);
    return OK;
}

static enum err put_size(struct store_sqlite *s, enum store_file file,
                         const struct store_stats_sink *sink)
{
    static const char *const names[] = {"bytes", "free_pages"};
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(s->db[file], "SELECT page_count * page_size, freelist_count"
                               " FROM pragma_page_count, pragma_page_size,"
                               " pragma_freelist_count");
    TRY(sql_one(&q));
    for (int i = 0; i < 2; i++) {
        char name[64];
        (void)snprintf(name, sizeof name, "%s_%s", store_file_name(file),
                       names[i]);
        sink->put(sink->ctx, name, sql_u64(&q, i), false);
    }
    return OK;
}

static enum err put_blob_bytes(struct store_sqlite *s,
                               const struct store_stats_sink *sink)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(s->db[FILE_BLOBS], "SELECT bytes FROM usage");
    TRY(sql_one(&q));
    sink->put(sink->ctx, "blobs_bytes", sql_u64(&q, 0), false);
    return OK;
}

enum err store_stats(struct store_sqlite *s,
                     const struct store_stats_sink *sink, uint64_t now,
                     struct problem *p)
{
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
        TRY(store_told(s, tables[i].file, count_table(s, &tables[i], sink, now),
                       p));
    TRY(store_told(s, FILE_BLOBS, put_blob_bytes(s, sink), p));
    for (unsigned i = 0; i < FILE_COUNT; i++)
        TRY(store_told(s, (enum store_file)i,
                       put_size(s, (enum store_file)i, sink), p));
    return OK;
}
