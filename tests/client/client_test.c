/* SPDX-License-Identifier: Apache-2.0 */
/* Clients and the real server core in one process, with a fake clock. */
#include "client/client.h"

#include "base/secret.h"
#include "crypto/crypto.h"
#include "crypto/entropy.h"
#include "proto/frame.h"
#include "server/core.h"
#include "server/store_sqlite.h"
#include "sql/sql.h"
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NODES    3U
#define LANES    8U
#define START_MS 1790000000000ULL
#define ADDRESS  "example.org:7470"

struct node {
    struct entropy_seeded entropy;
    struct random random;
    struct sql *db;
    struct client *client;
    uint32_t conn[LANES]; /* 0: down */
    bool offline;
    char path[64];     /* of its store; empty: in memory */
    unsigned crash_in; /* commits until it crashes; 0: it does not */
    bool crash_after;  /* after that commit, or before it */
    bool crashed;
    unsigned events[CLIENT_EVENT_KINDS];
    char detail[160]; /* of the last event that has one */
};

struct world {
    struct crypto *crypto;
    struct entropy_seeded entropy;
    struct random random;
    struct secret server_key;
    struct store_sqlite *sqlite;
    struct store store;
    struct core *core;
    uint64_t now;
    uint32_t last_conn;
    struct node nodes[NODES];
    size_t count;
    bool trace;
};

static const char *const names[NODES] = {"alice", "bob", "carol"};

static void world_end(struct world *w)
{
    for (size_t i = 0; i < NODES; i++) {
        client_free(&w->nodes[i].client);
        sql_close(&w->nodes[i].db);
    }
    core_free(&w->core);
    store_sqlite_close(&w->sqlite);
    secret_clear(&w->server_key);
    crypto_free(&w->crypto);
}

static enum err node_start(struct world *w, struct node *n)
{
    struct client_settings settings = {.crypto = w->crypto,
                                       .random = &n->random,
                                       .db = n->db,
                                       .key_packages = 4};
    memset(n->conn, 0, sizeof n->conn);
    return client_create(&settings, w->now, &n->client);
}

/* The store as a crash at this commit leaves it. */
static bool crash_hook(void *ctx, const char *name, enum sql_point point)
{
    struct node *n = ctx;
    (void)name;
    if (n->crash_in == 0 || (point == SQL_AFTER_COMMIT) != n->crash_after ||
        --n->crash_in > 0)
        return true;
    n->crashed = true;
    return false;
}

static void node_cut(struct world *w, struct node *n);

/* Passes an error on, unless it is the crash that was asked for: then the
 * client begins again from what was durable. */
static enum err survive(struct world *w, struct node *n, enum err err)
{
    if (!n->crashed)
        return err;
    n->crashed = false;
    node_cut(w, n);
    client_free(&n->client);
    sql_close(&n->db);
    TRY(sql_open(&(struct sql_config){.path = n->path}, NULL, &n->db));
    return node_start(w, n);
}

static enum err core_start(struct world *w)
{
    struct core_parts parts = {
        .crypto = w->crypto,
        .random = &w->random,
        .store = &w->store,
        .server_key = &w->server_key,
        .config = {.pow_bits = 1, .open_registration = true}};
    return core_create(&parts, &w->core);
}

static enum err world_begin(struct world *w, size_t count)
{
    memset(w, 0, sizeof *w);
    w->now = START_MS;
    w->count = count;
    TRY(crypto_create(&w->crypto));
    entropy_seed(&w->entropy, 1);
    w->random = entropy_of(&w->entropy);
    secret_random(&w->server_key, 32, &w->random);
    TRY(store_sqlite_open(&(struct store_sqlite_config){0}, NULL, &w->sqlite));
    w->store = store_sqlite_store(w->sqlite);
    TRY(core_start(w));
    for (size_t i = 0; i < count; i++) {
        struct node *n = &w->nodes[i];
        entropy_seed(&n->entropy, 100 + i);
        n->random = entropy_of(&n->entropy);
        TRY(sql_open(&(struct sql_config){0}, NULL, &n->db));
        TRY(node_start(w, n));
    }
    return OK;
}

static enum err node_connect(struct world *w, struct node *n)
{
    static const uint8_t exporter[32] = {1};
    for (size_t i = 0; i < client_lane_count(n->client) && i < LANES; i++) {
        struct client_lane lane = client_lane_at(n->client, i);
        if (n->offline || n->conn[i] != 0 || !lane.wanted)
            continue;
        n->conn[i] = ++w->last_conn;
        TRY(core_open(w->core, n->conn[i], BYTES_ARRAY(exporter), n->conn[i]));
        enum err err =
            client_lane_up(n->client, i, BYTES_ARRAY(exporter), w->now);
        TRY(survive(w, n, err));
    }
    return OK;
}

static void node_cut(struct world *w, struct node *n)
{
    for (size_t i = 0; i < LANES; i++) {
        if (n->conn[i] == 0)
            continue;
        core_close(w->core, n->conn[i]);
        n->conn[i] = 0;
        client_lane_down(n->client, i, w->now);
    }
}

static void node_events(struct world *w, struct node *n)
{
    struct client_event e;
    while (client_take_event(n->client, &e)) {
        n->events[e.kind]++;
        if (e.detail[0] != '\0')
            memcpy(n->detail, e.detail, sizeof n->detail);
        if (w->trace || getenv("TRACE") != NULL)
            printf("# %s: %s %s\n", names[n - w->nodes],
                   client_event_name(e.kind), e.detail);
    }
}

static bool node_send(struct world *w, struct node *n)
{
    struct client_output out;
    bool any = false;
    while (client_take_output(n->client, &out)) {
        any = true;
        uint32_t conn = n->conn[out.lane];
        if (out.close && conn != 0) {
            core_close(w->core, conn);
            n->conn[out.lane] = 0;
        } else if (conn != 0) {
            core_message(w->core, conn, out.kind, out.id,
                         buf_bytes(&out.message), w->now);
        }
        buf_clear(&out.message);
    }
    return any;
}

static enum err deliver(struct world *w, const struct core_output *out)
{
    for (size_t i = 0; i < w->count; i++) {
        struct node *n = &w->nodes[i];
        for (size_t l = 0; l < LANES; l++) {
            if (n->conn[l] != out->conn)
                continue;
            if (out->close) {
                n->conn[l] = 0;
                client_lane_down(n->client, l, w->now);
                return OK;
            }
            return survive(w, n,
                           client_receive(n->client, l, out->kind, out->id,
                                          out->message, w->now));
        }
    }
    return OK;
}

static enum err world_round(struct world *w, bool *out_any)
{
    *out_any = false;
    for (size_t i = 0; i < w->count; i++) {
        struct node *n = &w->nodes[i];
        TRY(node_connect(w, n));
        *out_any = node_send(w, n) || *out_any;
        node_events(w, n);
    }
    core_flush(w->core, w->now);
    struct core_output out;
    while (core_take(w->core, &out)) {
        *out_any = true;
        enum err err = deliver(w, &out);
        core_output_clear(&out);
        TRY(err);
    }
    return OK;
}

static uint64_t world_deadline(const struct world *w)
{
    uint64_t at = UINT64_MAX;
    for (size_t i = 0; i < w->count; i++) {
        uint64_t d = client_deadline(w->nodes[i].client);
        if (d < at)
            at = d;
    }
    return at;
}

/* Runs until all is quiet and `ms` have passed. */
static enum err world_run(struct world *w, uint64_t ms)
{
    uint64_t end = w->now + ms;
    for (unsigned rounds = 0; rounds < 20000; rounds++) {
        bool any = false;
        TRY(world_round(w, &any));
        if (any)
            continue;
        uint64_t at = world_deadline(w);
        if (at > end) {
            w->now = end;
            return OK;
        }
        w->now = at > w->now ? at : w->now + 1;
        for (size_t i = 0; i < w->count; i++)
            TRY(survive(w, &w->nodes[i],
                        client_tick(w->nodes[i].client, w->now)));
    }
    return ERR_STATE; /* never quiet */
}

static enum err join_all(struct world *w)
{
    for (size_t i = 0; i < w->count; i++) {
        uint8_t recovery[CLIENT_RECOVERY_SIZE];
        struct client_registration r = {.address = ADDRESS, .handle = names[i]};
        TRY(client_register(w->nodes[i].client, &r, recovery, w->now));
    }
    return world_run(w, 1000);
}

/* --- what a client shows --- */

struct seen {
    char text[4096]; /* "sender:text;" in order */
    size_t notices;
};

static enum err see(void *ctx, const struct client_message *m)
{
    struct seen *s = ctx;
    if (m->kind == CLIENT_NOTICE) {
        s->notices++;
        return OK;
    }
    size_t used = strlen(s->text);
    snprintf(s->text + used, sizeof s->text - used, "%.*s:%.*s;",
             (int)m->sender.len, (const char *)m->sender.data, (int)m->text.len,
             (const char *)m->text.data);
    return OK;
}

static struct seen look(struct node *n, int64_t conversation)
{
    struct seen s = {0};
    struct client_visitor v = {.message = see, .ctx = &s};
    if (client_log(n->client, conversation, &v) != OK)
        snprintf(s.text, sizeof s.text, "failed");
    return s;
}

static bool shows(struct node *n, int64_t conversation, const char *want)
{
    struct seen s = look(n, conversation);
    if (strcmp(s.text, want) == 0)
        return true;
    printf("# shows \"%s\", not \"%s\"\n", s.text, want);
    return false;
}

struct summary {
    struct client_conversation last;
    uint8_t authenticator[64];
    size_t count;
};

static enum err summarise(void *ctx, const struct client_conversation *c)
{
    struct summary *s = ctx;
    s->last = *c;
    if (c->epoch_authenticator.len <= sizeof s->authenticator &&
        c->epoch_authenticator.len > 0)
        memcpy(s->authenticator, c->epoch_authenticator.data,
               c->epoch_authenticator.len);
    s->count++;
    return OK;
}

static struct summary summary(struct node *n, int64_t id)
{
    struct summary s = {0};
    struct client_visitor v = {.conversation = summarise, .ctx = &s};
    enum err err = id == 0 ? client_conversations(n->client, &v)
                           : client_conversation_get(n->client, id, &v);
    if (err != OK)
        s.count = 0;
    return s;
}

/* Prints why a store refused. */
static enum err told(const struct node *n, enum err err)
{
    if (err == ERR_IO)
        printf("# store: %s\n", sql_problem(n->db)->detail);
    return err;
}

static enum err say(struct world *w, struct node *n, int64_t id,
                    const char *text)
{
    int64_t message = 0;
    return told(n,
                client_send(n->client, id, bytes_str(text), w->now, &message));
}

/* --- tests --- */

static void clients_register(void)
{
    CLEANUP(world_end) struct world w;
    CHECK_UINT(world_begin(&w, 2), OK);
    CHECK_UINT(join_all(&w), OK);
    for (size_t i = 0; i < 2; i++) {
        struct client_status s;
        CHECK_UINT(w.nodes[i].events[CLIENT_REGISTERED], 1);
        CHECK_UINT(client_status_get(w.nodes[i].client, &s), OK);
        CHECK_UINT(s.state, CLIENT_READY);
        CHECK(s.online);
    }
}

static void two_people_talk(void)
{
    CLEANUP(world_end) struct world w;
    struct node *alice = &w.nodes[0], *bob = &w.nodes[1];
    int64_t there = 0, here = 0;
    CHECK_UINT(world_begin(&w, 2), OK);
    CHECK_UINT(join_all(&w), OK);
    CHECK_UINT(client_direct(alice->client, "bob", w.now, &here), OK);
    CHECK_UINT(say(&w, alice, here, "hello"), OK);
    CHECK_UINT(world_run(&w, 20000), OK);
    CHECK_UINT(alice->events[CLIENT_ACCEPTED], 1);
    CHECK_UINT(bob->events[CLIENT_MESSAGE], 1);
    CHECK_UINT(client_find(bob->client, "alice", &there), OK);
    CHECK_UINT(say(&w, bob, there, "hi"), OK);
    CHECK_UINT(world_run(&w, 20000), OK);
    CHECK(shows(alice, here, "alice:hello;bob:hi;"));
    CHECK(shows(bob, there, "alice:hello;bob:hi;"));
    struct summary a = summary(alice, here), b = summary(bob, there);
    CHECK_UINT(a.last.epoch, b.last.epoch);
    CHECK_BYTES(BYTES_ARRAY(a.authenticator), BYTES_ARRAY(b.authenticator));
    CHECK_UINT(a.last.queued, 0);
}

/* The client holds nothing that its store does not. */
static enum err node_restart(struct world *w, struct node *n)
{
    node_cut(w, n);
    client_free(&n->client);
    return node_start(w, n);
}

static void talks_on_after_each_is_killed(void)
{
    CLEANUP(world_end) struct world w;
    struct node *alice = &w.nodes[0], *bob = &w.nodes[1];
    int64_t there = 0, here = 0;
    CHECK_UINT(world_begin(&w, 2), OK);
    CHECK_UINT(join_all(&w), OK);
    CHECK_UINT(client_direct(alice->client, "bob", w.now, &here), OK);
    CHECK_UINT(say(&w, alice, here, "1"), OK);
    for (unsigned i = 0; i < 60; i++) { /* at any point of the exchange */
        bool any = false;
        CHECK_UINT(world_round(&w, &any), OK);
        CHECK_UINT(node_restart(&w, i % 2 == 0 ? alice : bob), OK);
        CHECK_UINT(world_round(&w, &any), OK);
        CHECK_UINT(world_round(&w, &any), OK);
        w.now += 100;
    }
    CHECK_UINT(world_run(&w, 20000), OK);
    CHECK_UINT(client_find(bob->client, "alice", &there), OK);
    CHECK_UINT(say(&w, bob, there, "2"), OK);
    CHECK_UINT(world_run(&w, 20000), OK);
    CHECK(shows(alice, here, "alice:1;bob:2;"));
    CHECK(shows(bob, there, "alice:1;bob:2;"));
}

static void what_was_sent_offline_arrives_once_and_in_order(void)
{
    CLEANUP(world_end) struct world w;
    struct node *alice = &w.nodes[0], *bob = &w.nodes[1];
    int64_t there = 0, here = 0;
    CHECK_UINT(world_begin(&w, 2), OK);
    CHECK_UINT(join_all(&w), OK);
    CHECK_UINT(client_direct(alice->client, "bob", w.now, &here), OK);
    CHECK_UINT(world_run(&w, 20000), OK);
    bob->offline = alice->offline = true;
    node_cut(&w, alice);
    node_cut(&w, bob);
    char want[1024] = "";
    for (unsigned i = 0; i < 30; i++) {
        char text[8];
        snprintf(text, sizeof text, "%u", i);
        CHECK_UINT(say(&w, alice, here, text), OK);
        snprintf(want + strlen(want), sizeof want - strlen(want), "alice:%u;",
                 i);
    }
    alice->offline = false;
    CHECK_UINT(world_run(&w, 20000), OK);
    CHECK_UINT(summary(alice, here).last.queued, 0);
    bob->offline = false;
    CHECK_UINT(world_run(&w, 20000), OK);
    CHECK_UINT(client_find(bob->client, "alice", &there), OK);
    CHECK(shows(bob, there, want));
}

/* Makes a group of alice with all the others. */
static enum err begin_group(struct world *w, int64_t *out)
{
    TRY(client_group_create(w->nodes[0].client, "friends", w->now, out));
    for (size_t i = 1; i < w->count; i++)
        TRY(client_group_add(w->nodes[0].client, *out, names[i], w->now));
    return world_run(w, 20000);
}

/* All members hold the same epoch. */
static bool agree(struct world *w, const int64_t ids[NODES])
{
    struct summary first = summary(&w->nodes[0], ids[0]);
    for (size_t i = 1; i < w->count; i++) {
        struct summary s = summary(&w->nodes[i], ids[i]);
        if (s.last.epoch != first.last.epoch || s.last.state != CLIENT_ACTIVE ||
            !bytes_equal(BYTES_ARRAY(s.authenticator),
                         BYTES_ARRAY(first.authenticator)))
            return false;
    }
    return first.last.state == CLIENT_ACTIVE;
}

static void group_of_three_talks(void)
{
    CLEANUP(world_end) struct world w;
    int64_t ids[NODES] = {0};
    CHECK_UINT(world_begin(&w, 3), OK);
    CHECK_UINT(join_all(&w), OK);
    CHECK_UINT(begin_group(&w, &ids[0]), OK);
    for (size_t i = 1; i < 3; i++)
        CHECK_UINT(client_find(w.nodes[i].client, "friends", &ids[i]), OK);
    /* everybody at once: the appends race with the fresh paths */
    for (size_t i = 0; i < 3; i++)
        CHECK_UINT(say(&w, &w.nodes[i], ids[i], names[i]), OK);
    CHECK_UINT(world_run(&w, 600000), OK);
    CHECK(agree(&w, ids));
    struct seen a = look(&w.nodes[0], ids[0]);
    CHECK_UINT(strlen(a.text), strlen("alice:alice;bob:bob;carol:carol;"));
    CHECK(shows(&w.nodes[1], ids[1], a.text));
    CHECK(shows(&w.nodes[2], ids[2], a.text));
}

static void removed_member_reads_no_more(void)
{
    CLEANUP(world_end) struct world w;
    int64_t ids[NODES] = {0};
    CHECK_UINT(world_begin(&w, 3), OK);
    CHECK_UINT(join_all(&w), OK);
    CHECK_UINT(begin_group(&w, &ids[0]), OK);
    CHECK_UINT(world_run(&w, 600000), OK);
    CHECK_UINT(client_find(w.nodes[2].client, "friends", &ids[2]), OK);
    CHECK_UINT(client_group_remove(w.nodes[0].client, ids[0], "carol", w.now),
               OK);
    CHECK_UINT(world_run(&w, 20000), OK);
    CHECK_UINT(say(&w, &w.nodes[0], ids[0], "gone?"), OK);
    CHECK_UINT(world_run(&w, 20000), OK);
    CHECK_UINT(summary(&w.nodes[0], ids[0]).last.members, 2);
    CHECK_UINT(summary(&w.nodes[2], ids[2]).last.state, CLIENT_LEFT);
    CHECK(shows(&w.nodes[2], ids[2], ""));
    int64_t message = 0;
    CHECK_UINT(
        client_send(w.nodes[2].client, ids[2], LIT("x"), w.now, &message),
        ERR_STATE);
}

static void who_leaves_is_removed_by_another(void)
{
    CLEANUP(world_end) struct world w;
    int64_t ids[NODES] = {0};
    CHECK_UINT(world_begin(&w, 3), OK);
    CHECK_UINT(join_all(&w), OK);
    CHECK_UINT(begin_group(&w, &ids[0]), OK);
    CHECK_UINT(world_run(&w, 600000), OK);
    CHECK_UINT(client_find(w.nodes[1].client, "friends", &ids[1]), OK);
    CHECK_UINT(client_group_leave(w.nodes[1].client, ids[1], w.now), OK);
    CHECK_UINT(world_run(&w, 60000), OK);
    CHECK_UINT(summary(&w.nodes[1], ids[1]).last.state, CLIENT_LEFT);
    CHECK_UINT(summary(&w.nodes[0], ids[0]).last.members, 2);
}

/* A copy of the store is put back: the client notices, and rejoins. */
static void restored_store_rejoins(void)
{
    CLEANUP(world_end) struct world w;
    struct node *alice = &w.nodes[0], *bob = &w.nodes[1];
    int64_t here = 0, there = 0;
    char dir[] = "/tmp/sotto-test-XXXXXX";
    char path[64], copy[64];
    CHECK_UINT(world_begin(&w, 2), OK);
    CHECK(mkdtemp(dir) != NULL);
    snprintf(path, sizeof path, "%s/db", dir);
    snprintf(copy, sizeof copy, "%s/copy", dir);
    client_free(&bob->client);
    sql_close(&bob->db);
    CHECK_UINT(sql_open(&(struct sql_config){.path = path}, NULL, &bob->db),
               OK);
    CHECK_UINT(node_start(&w, bob), OK);
    CHECK_UINT(join_all(&w), OK);
    CHECK_UINT(client_direct(alice->client, "bob", w.now, &here), OK);
    CHECK_UINT(say(&w, alice, here, "1"), OK);
    CHECK_UINT(world_run(&w, 60000), OK);
    CHECK_UINT(sql_backup(bob->db, copy), OK);
    CHECK_UINT(client_find(bob->client, "alice", &there), OK);
    CHECK_UINT(say(&w, bob, there, "2"), OK);
    CHECK_UINT(say(&w, alice, here, "3"), OK);
    CHECK_UINT(world_run(&w, 60000), OK);

    node_cut(&w, bob);
    client_free(&bob->client);
    sql_close(&bob->db);
    CHECK_UINT(sql_open(&(struct sql_config){.path = copy}, NULL, &bob->db),
               OK);
    CHECK_UINT(node_start(&w, bob), OK);
    CHECK_UINT(say(&w, bob, there, "4"), OK);
    CHECK_UINT(world_run(&w, 60000), OK);
    CHECK_UINT(bob->events[CLIENT_STORE_OLD], 1);
    CHECK_UINT(bob->events[CLIENT_REJOINED], 1);
    CHECK_UINT(say(&w, alice, here, "5"), OK);
    CHECK_UINT(world_run(&w, 600000), OK);
    CHECK_UINT(strlen(look(alice, here).text),
               strlen("alice:1;bob:2;alice:3;bob:4;alice:5;"));
    CHECK(shows(bob, there, "alice:1;bob:4;alice:5;"));
    int64_t ids[NODES] = {here, there};
    CHECK(agree(&w, ids));
    client_free(&bob->client);
    sql_close(&bob->db);
    (void)unlink(path);
    (void)unlink(copy);
    (void)rmdir(dir);
}

/* Alice talks to bob, who answers; `who` crashes at its n-th commit. */
static bool talks_with_a_crash(const char *dir, size_t who, unsigned n,
                               bool after, bool *out_met)
{
    CLEANUP(world_end) struct world w;
    struct node *alice = &w.nodes[0], *bob = &w.nodes[1];
    struct node *victim = &w.nodes[who];
    int64_t here = 0, there = 0;
    if (world_begin(&w, 2) != OK || join_all(&w) != OK)
        return false;
    snprintf(victim->path, sizeof victim->path, "%s/%u", dir, n);
    (void)unlink(victim->path);
    if (sql_backup(victim->db, victim->path) != OK)
        return false;
    node_cut(&w, victim);
    client_free(&victim->client);
    sql_close(&victim->db);
    if (sql_open(&(struct sql_config){.path = victim->path}, NULL,
                 &victim->db) != OK ||
        node_start(&w, victim) != OK)
        return false;
    if (client_direct(alice->client, "bob", w.now, &here) != OK ||
        say(&w, alice, here, "1") != OK || say(&w, alice, here, "2") != OK)
        return false;
    victim->crash_in = n;
    victim->crash_after = after;
    sql_set_hook(victim->db, (struct sql_hook){crash_hook, victim});
    bool ok = world_run(&w, 60000) == OK &&
              client_find(bob->client, "alice", &there) == OK;
    unsigned left = victim->crash_in;
    victim->crash_in = 0;
    ok = ok && say(&w, bob, there, "3") == OK;
    victim->crash_in = left;
    ok = ok && world_run(&w, 60000) == OK;
    *out_met = victim->crash_in == 0;
    ok = ok && shows(alice, here, "alice:1;alice:2;bob:3;") &&
         shows(bob, there, "alice:1;alice:2;bob:3;");
    int64_t ids[NODES] = {here, there};
    ok = ok && agree(&w, ids);
    client_free(&victim->client);
    sql_close(&victim->db);
    (void)unlink(victim->path);
    return ok;
}

static void survives_a_crash_at_each_commit(void)
{
    char dir[] = "/tmp/sotto-test-XXXXXX";
    CHECK(mkdtemp(dir) != NULL);
    for (unsigned kind = 0; kind < 4; kind++) {
        bool met = true;
        unsigned n = 1;
        for (; met; n++) {
            bool ok = talks_with_a_crash(dir, kind / 2, n, kind % 2, &met);
            if (!ok)
                printf("# crash %s commit %u of %s\n",
                       kind % 2 ? "after" : "before", n, names[kind / 2]);
            CHECK(ok);
        }
        CHECK(n > 10);
    }
    CHECK(rmdir(dir) == 0);
}

static const struct test tests[] = {
    TEST(clients_register),
    TEST(two_people_talk),
    TEST(talks_on_after_each_is_killed),
    TEST(what_was_sent_offline_arrives_once_and_in_order),
    TEST(group_of_three_talks),
    TEST(removed_member_reads_no_more),
    TEST(who_leaves_is_removed_by_another),
    TEST(restored_store_rejoins),
    TEST(survives_a_crash_at_each_commit),
};
TEST_MAIN(tests)
