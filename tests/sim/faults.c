/* SPDX-License-Identifier: Apache-2.0 */
/* What befalls the parties of some worlds only: old copies of disks, a
 * capability that became void, queues that are full, a server that lies. */
#include "world.h"

#include "proto/message.h"

#include <string.h>

/* --- old copies ---------------------------------------------------------- */

void fault_old_device(struct world *w, struct device *d)
{
    if (!d->backed_up || world_chance(w, 3)) {
        device_stop(w, d);
        if (disk_backup(d->disk) != OK)
            world_fail(w, "%s: no backup can be made", d->name);
        d->backed_up = true;
    } else {
        world_trace(w, "%s: an old copy of its store is put back", d->name);
        world_meet(w, POINT_OLD_DEVICE);
        device_stop(w, d);
        disk_restore(d->disk);
        d->restored = true;
    }
    device_start(w, d);
}

static struct sql *server_file(struct world *w, const char *path)
{
    struct sql *db = NULL;
    struct problem problem = {0};
    struct sql_config config = {
        .path = path, .vfs = "server", .exclusive = true, .existing = true};
    if (sql_open(&config, &problem, &db) != OK)
        world_fail(w, "server: cannot open %s: %s", path, problem.detail);
    return db;
}

/* Where each channel ends in the old copy: what lies above is lost. */
static void old_heads_read(struct world *w)
{
    CLEANUP(sql_close) struct sql *db = server_file(w, "server/channels.db");
    if (db == NULL)
        return;
    CLEANUP(sql_end)
    struct sql_query q = sql_query(db, "SELECT id, head FROM channel");
    while (sql_next(&q) && w->old_head_count < HEADS_MAX) {
        struct old_head *h = &w->old_heads[w->old_head_count++];
        memcpy(h->channel, sql_bytes(&q, 0).data, ID_LEN);
        h->head = sql_u64(&q, 1);
    }
    if (sql_finish(&q) != OK)
        world_fail(w, "server: cannot read its old copy");
}

/* Everybody has an account in the copy: one that lost it can do nothing. */
static bool all_registered(const struct world *w)
{
    bool all = true;
    for (unsigned i = 0; i < w->device_count; i++)
        all = all && w->devices[i].registered;
    return all;
}

void fault_old_server(struct world *w, struct device *d)
{
    struct server *s = &w->server;
    (void)d;
    if (s->core == NULL || s->restored || !all_registered(w))
        return;
    if (s->pg != NULL) /* its database is on no disk of ours */
        return;
    server_crash(w);
    if (!s->backed_up) {
        if (disk_backup(s->disk) != OK)
            world_fail(w, "server: no backup can be made");
        s->backed_up = true;
        return;
    }
    world_trace(w, "server: an old copy of its disk is put back");
    world_meet(w, POINT_OLD_SERVER);
    disk_restore(s->disk);
    s->restored = true;
    old_heads_read(w);
}

/* --- people -------------------------------------------------------------- */

/* Another program of the same account gave itself a new capability: written
 * into the server's file, where it has one. */
void fault_void_contact(struct world *w, struct device *d)
{
    uint8_t other[CLIENT_ID_SIZE];
    if (w->server.core == NULL || w->server.pg != NULL)
        return;
    server_crash(w);
    CLEANUP(sql_close) struct sql *db = server_file(w, "server/accounts.db");
    if (db == NULL)
        return;
    random_fill(&w->source, other, sizeof other);
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(db, "UPDATE account SET contact_hash = ? WHERE name = ?");
    sql_put_bytes(&q, BYTES_ARRAY(other));
    sql_put_bytes(&q, bytes_str(d->name));
    if (sql_run(&q) != OK)
        world_fail(w, "server: cannot change an account");
    world_meet(w, POINT_VOID_CONTACT);
}

/* What is queued for the device does not leave the server any more. */
void fault_slow(struct world *w, struct device *d)
{
    for (size_t lane = 0; lane < LANES_MAX; lane++) {
        if (w->server.core != NULL && d->links[lane].up)
            core_slow(w->server.core, d->links[lane].conn);
    }
    world_meet(w, POINT_SLOW);
}

/* --- a server that lies -------------------------------------------------- */

#define LIE_ONE_IN 5U
#define LIE_AHEAD  6U /* entries, about: where it says that it put one */

bool fault_lied(const struct world *w, const uint8_t *channel, uint64_t seq,
                unsigned device)
{
    for (unsigned i = 0; i < w->lie_count; i++) {
        const struct lie *l = &w->lies[i];
        if (l->seq == seq && l->device == device &&
            memcmp(l->channel, channel, ID_LEN) == 0)
            return true;
    }
    return false;
}

static void refuse(struct world *w, struct answer *a, enum status status)
{
    world_meet(w, POINT_REFUSED);
    a->status = (uint8_t)status;
    a->detail = status == STATUS_BUSY ? SECOND : 0;
}

/* Refused, thrown away, or a message that is taken under another number: that
 * one is then sent again, and whoever gets both drops the copy. */
static void lie_append(struct world *w, const struct device *d,
                       const struct append_request *q, struct answer *a,
                       bool *out_taken)
{
    bool commit = q->kind != ENTRY_APPLICATION;
    if (w->lie_count == LIES_MAX || world_chance(w, 3)) {
        *out_taken = false;
        refuse(w, a, STATUS_LIMIT);
        return;
    }
    struct lie *l = &w->lies[w->lie_count++];
    memcpy(l->channel, q->access.channel.data, ID_LEN);
    l->device = d->index;
    *out_taken = *out_taken && !commit && world_chance(w, 2);
    l->seq = *out_taken ? q->after : q->after + world_random(w, LIE_AHEAD);
    l->seq += l->seq == 0;
    world_meet(w, *out_taken ? POINT_TAKEN_ELSEWHERE : POINT_SWALLOWED);
    a->append.seq = l->seq;
}

/* The same message under another key, before it comes itself. */
static void put_first(struct world *w, struct request q)
{
    CLEANUP(buf_clear) struct buf room = buf_new(MESSAGE_MAX);
    struct answer answer = {0};
    uint8_t key[IDEMPOTENCY_KEY];
    random_fill(&w->source, key, sizeof key);
    q.append.idempotency_key = BYTES_ARRAY(key);
    if (world_ask(w, &q, &room, &answer) && answer.status == STATUS_OK)
        world_meet(w, POINT_DOUBLED);
}

bool fault_lie(struct world *w, struct device *d, struct bytes message,
               struct buf *answer, bool *out_taken)
{
    struct request q = {0};
    if (w->theme != THEME_LIAR || w->calm || request_read(message, &q) != OK ||
        !world_chance(w, LIE_ONE_IN))
        return false;
    if (q.method == METHOD_APPEND && q.append.kind == ENTRY_APPLICATION &&
        world_chance(w, 4)) {
        put_first(w, q);
        return false;
    }
    struct answer a = {.method = q.method, .status = STATUS_OK};
    if (q.method == METHOD_APPEND && q.append.kind != ENTRY_EPHEMERAL) {
        lie_append(w, d, &q.append, &a, out_taken);
    } else if (q.method == METHOD_BLOB_GET) {
        *out_taken = false;
        d->shut_out = world_chance(w, 3) || d->shut_out;
        refuse(w, &a, d->shut_out ? STATUS_LIMIT : STATUS_BUSY);
    } else {
        return false;
    }
    world_trace(w, "server: lies to %s about request %u: status %u, entry %llu",
                d->name, q.method, a.status, (unsigned long long)a.append.seq);
    return answer_write(answer, &a) == OK;
}
