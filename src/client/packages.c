/* SPDX-License-Identifier: Apache-2.0 */
/*
 * KeyPackages: some single-use ones and one last resort, kept up at the server.
 * Their private parts are stored before anything is published. The server drops
 * single-use ones well before they expire, and so they are replaced like those
 * that were taken; the last resort is replaced by its age.
 */
#include "client/pump.h"

#include "client/groups.h"

#include <string.h>

#define LIFETIME_S       (PACKAGE_LIFE * (DAY_MS / SECOND_MS))
#define SKEW_S           3600U /* others' clocks may be behind */
#define LAST_RESORT_DAYS 15ULL /* then it is replaced */
/* After the expiry: the blob of a Welcome lives for so long. */
#define KEPT_MS       ((BLOB_DAYS_MAX + 1U) * DAY_MS)
#define PUBLISHABLE   " published = 0 AND expires > ?"
#define LOOK_AGAIN_MS DAY_MS

static enum err package_make(struct client *c, struct own_identity *own,
                             bool last_resort)
{
    uint64_t now = c->now / SECOND_MS;
    own->id.not_before = now > SKEW_S ? now - SKEW_S : 0;
    own->id.not_after = now + LIFETIME_S;
    own->id.last_resort = last_resort;
    own->id.extensions.items = &own->extension;
    CLEANUP(sotto_buf_free) struct sotto_buf public = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf private = {0};
    struct sotto_ref ref = {0};
    TRY(err_of_sotto(
        sotto_key_package_create(c->mls, &own->id, &public, &private, &ref)));
    CLEANUP(sql_end)
    struct sql_query q = sql_query(
        c->db, "INSERT INTO key_package (ref, body, public, last_resort,"
               " published, expires) VALUES (?, ?, ?, ?, 0, ?)");
    sql_put_bytes(&q, bytes_of(ref.data, ref.len));
    sql_put_bytes(&q, from_sotto_buf(&private));
    sql_put_bytes(&q, from_sotto_buf(&public));
    sql_put_u64(&q, last_resort);
    sql_put_u64(&q, c->now + LIFETIME_S * SECOND_MS);
    return sql_run(&q);
}

static enum err last_resort_fresh(struct client *c, bool *out)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "SELECT count(*) FROM key_package WHERE"
                         " last_resort = 1 AND expires > ?");
    sql_put_u64(&q, c->now + LAST_RESORT_DAYS * DAY_MS);
    TRY(sql_one(&q));
    *out = sql_u64(&q, 0) > 0;
    return OK;
}

static enum err packages_make(struct client *c, unsigned count)
{
    struct own_identity own = {0};
    bool fresh = false;
    TRY(own_identity_fill(c, &own));
    TRY(last_resort_fresh(c, &fresh));
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "make key packages", &step));
    for (unsigned i = 0; i < count; i++)
        TRY(package_make(c, &own, false));
    if (!fresh)
        TRY(package_make(c, &own, true));
    return step_commit(&step);
}

/* Forgets the private parts that no Welcome can need any more. */
static enum err packages_forget(struct client *c)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "DELETE FROM key_package WHERE expires < ?");
    sql_put_u64(&q, c->now > KEPT_MS ? c->now - KEPT_MS : 0);
    return sql_run(&q);
}

/* Those that are too old to be given out for as long as the server would were
 * made before a long sleep: others are made in their place. */
static enum err unpublished(struct client *c, uint64_t *out)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "SELECT count(*) FROM key_package WHERE" PUBLISHABLE);
    sql_put_u64(&q, c->now + PACKAGE_DAYS * DAY_MS);
    TRY(sql_one(&q));
    *out = sql_u64(&q, 0);
    return OK;
}

static enum err send_publish(struct client *c, struct lane_state *l)
{
    CLEANUP(buf_clear) struct buf list = buf_new(MESSAGE_MAX);
    CLEANUP(buf_clear) struct buf last = buf_new(KEY_PACKAGE_MAX);
    struct writer w = writer_to(&list);
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "SELECT public, last_resort FROM key_package"
                         " WHERE" PUBLISHABLE " ORDER BY expires");
    sql_put_u64(&q, c->now + PACKAGE_DAYS * DAY_MS);
    while (sql_next(&q)) {
        if (sql_u64(&q, 1) != 0)
            TRY(buf_copy(&last, sql_bytes(&q, 0)));
        else
            writer_vec(&w, sql_bytes(&q, 0));
    }
    TRY(sql_finish(&q));
    TRY(writer_finish(&w));
    struct request request = {.kp_publish = {.packages = buf_bytes(&list),
                                             .last_resort = buf_bytes(&last)}};
    return call_send(c, l, &(struct call){.task = TASK_PACKAGE_PUBLISH},
                     &request);
}

enum err on_package_publish(const struct answered *a)
{
    struct client *c = a->client;
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "key packages published", &step));
    TRY(packages_forget(c));
    c->profile.packages_at =
        c->now + (a->answer->status == STATUS_BUSY ? MINUTE_MS : LOOK_AGAIN_MS);
    if (a->answer->status == STATUS_OK) {
        CLEANUP(sql_end)
        struct sql_query q =
            sql_query(c->db, "UPDATE key_package SET published = 1"
                             " WHERE published = 0");
        TRY(sql_run(&q));
    }
    TRY(profile_save(c));
    return step_commit(&step);
}

enum err on_package_count(const struct answered *a)
{
    struct client *c = a->client;
    if (a->answer->status != STATUS_OK) {
        c->profile.packages_at = c->now + MINUTE_MS;
        return OK;
    }
    uint64_t waiting = 0;
    bool fresh = false;
    uint32_t there = a->answer->kp_count.single_use;
    TRY(unpublished(c, &waiting));
    TRY(last_resort_fresh(c, &fresh));
    if (waiting == 0 && (there <= c->key_packages / 2 || !fresh))
        TRY(packages_make(c, there < c->key_packages ? c->key_packages - there
                                                     : 0));
    TRY(unpublished(c, &waiting));
    if (waiting > 0)
        return send_publish(c, a->lane);
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "key packages looked at", &step));
    TRY(packages_forget(c));
    c->profile.packages_at = c->now + LOOK_AGAIN_MS;
    TRY(profile_save(c));
    return step_commit(&step);
}

enum err packages_pump(struct client *c, struct lane_state *l)
{
    if (!client_due(c, c->profile.packages_at) ||
        call_active(l, TASK_PACKAGE_PUBLISH, 0))
        return OK;
    return call_send(c, l, &(struct call){.task = TASK_PACKAGE_COUNT},
                     &(struct request){0});
}
