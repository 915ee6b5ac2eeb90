/* SPDX-License-Identifier: Apache-2.0 */
/* What clients do for their people, with a server that does its duty. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

static void group_of_three_talks(void)
{
    CLEANUP(world_end) struct world w;
    int64_t ids[NODES] = {0};
    CHECK_UINT(world_begin(&w, 3), OK);
    CHECK_UINT(join_all(&w), OK);
    CHECK_UINT(begin_group(&w, 3, &ids[0]), OK);
    for (size_t i = 1; i < 3; i++)
        CHECK_UINT(client_find(w.nodes[i].client, "friends", &ids[i]), OK);
    /* everybody at once: the appends race with the fresh paths */
    for (size_t i = 0; i < 3; i++)
        CHECK_UINT(say(&w, &w.nodes[i], ids[i], names[i]), OK);
    CHECK_UINT(world_run(&w, 600000), OK);
    CHECK(agree(&w, ids, 0, w.count));
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
    CHECK_UINT(begin_group(&w, 3, &ids[0]), OK);
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
    CHECK_UINT(begin_group(&w, 3, &ids[0]), OK);
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
    CHECK(agree(&w, ids, 0, w.count));
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
    ok = ok && agree(&w, ids, 0, w.count);
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
