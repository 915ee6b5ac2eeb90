/* SPDX-License-Identifier: Apache-2.0 */
/* What befalls the parties of some worlds only: old copies of disks, a
 * capability that became void, queues that are full. */
#include "world.h"

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

/* Another program of the same account gave itself a new capability. */
void fault_void_contact(struct world *w, struct device *d)
{
    uint8_t other[CLIENT_ID_SIZE];
    if (w->server.core == NULL)
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
