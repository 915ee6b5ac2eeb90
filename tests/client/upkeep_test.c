/* SPDX-License-Identifier: Apache-2.0 */
/* What a client does by itself as time goes by, and where that ends. */
#include "fixture.h"

#include "proto/derive.h"

#include <stdio.h>
#include <string.h>

#define SECOND 1000ULL
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

/* --- watching and changing what the server says --- */

struct watch {
    struct node *node; /* whom it is about */
    uint16_t method;   /* of answers */
    size_t at;         /* an integer there is changed */
    uint64_t to;
    unsigned seen;
    bool armed;
    bool deaf; /* the node hears nothing any more, once an answer came */
};

static bool is_answer(const struct passing *p, uint16_t method)
{
    struct bytes b = buf_bytes(&p->message);
    struct reader r = reader_of(b);
    return p->kind == FRAME_ANSWER && reader_u16(&r) == method &&
           reader_u8(&r) == STATUS_OK;
}

static void count_answers(void *ctx, struct passing *p)
{
    struct watch *w = ctx;
    w->seen += p->node == w->node && is_answer(p, w->method);
}

static void withhold(void *ctx, struct passing *p)
{
    const struct watch *w = ctx;
    if (p->node == w->node && is_answer(p, w->method))
        p->copies = 0;
}

/* Refuses each of them, because there is another one. */
static void say_exists(void *ctx, struct passing *p)
{
    const struct watch *w = ctx;
    const struct answer a = {.method = w->method, .status = STATUS_EXISTS};
    if (p->node != w->node || !is_answer(p, w->method))
        return;
    buf_clear(&p->message);
    p->message = buf_new(MESSAGE_MAX);
    CHECK_UINT(answer_write(&p->message, &a), OK);
}

/* Changes a 64-bit integer in the next such answer. */
static void change_answer(void *ctx, struct passing *p)
{
    struct watch *w = ctx;
    if (!w->armed || p->node != w->node || !is_answer(p, w->method))
        return;
    w->armed = false;
    for (unsigned i = 0; i < 8; i++)
        p->message.data[w->at + i] = (uint8_t)(w->to >> (56 - 8 * i));
}

/* From the next such answer, or event, on, nothing comes through. */
static void deafen(void *ctx, struct passing *p)
{
    struct watch *w = ctx;
    if (p->node != w->node)
        return;
    w->deaf = w->deaf || is_answer(p, w->method) || p->kind == FRAME_EVENT;
    if (w->deaf)
        p->copies = 0;
}

/* Changes what the server says of the log when bob attaches again. */
static enum err attach_says(struct world *w, size_t field, uint64_t value)
{
    struct watch watch = {.node = &w->nodes[1],
                          .method = METHOD_ATTACH,
                          .at = 3 + 8 * field,
                          .to = value,
                          .armed = true};
    w->tamper = change_answer;
    w->tamper_ctx = &watch;
    node_cut(w, &w->nodes[1]);
    enum err err = world_run(w, 10 * SECOND);
    w->tamper = NULL;
    return watch.armed ? ERR_STATE : err;
}
#define ATTACH_HEAD   0
#define ATTACH_CURSOR 2

static enum err two_talk(struct world *w, int64_t *here, int64_t *there)
{
    TRY(world_begin(w, 2));
    TRY(join_all(w));
    TRY(client_direct(w->nodes[0].client, "bob", w->now, here));
    TRY(say(w, &w->nodes[0], *here, "1"));
    TRY(world_run(w, 10 * MINUTE));
    return client_find(w->nodes[1].client, "alice", there);
}

static uint64_t rows(struct node *n, const char *count, uint64_t value)
{
    CLEANUP(sql_end) struct sql_query q = sql_query(n->db, count);
    sql_put_u64(&q, value);
    return sql_one(&q) == OK ? sql_u64(&q, 0) : UINT64_MAX;
}

static bool says(const struct node *n, enum client_event_kind kind,
                 const char *part)
{
    if (strstr(n->told[kind], part) != NULL)
        return true;
    printf("# says \"%s\"\n", n->told[kind]);
    return false;
}

static uint64_t silent(struct node *n)
{
    return rows(n, "SELECT count(*) FROM silent WHERE seq > ?", 0);
}

/* --- rejoining, and restored stores --- */

static void rejoin_that_nobody_answers_ends(void)
{
    CLEANUP(world_end) struct world w;
    struct node *alice = &w.nodes[0], *bob = &w.nodes[1];
    int64_t here = 0, there = 0;
    CHECK_UINT(two_talk(&w, &here, &there), OK);
    node_cut(&w, alice);
    alice->offline = true;
    CHECK_UINT(attach_says(&w, ATTACH_CURSOR, 1000), OK);
    CHECK_UINT(summary(bob, there).last.state, CLIENT_REJOINING);
    CHECK(says(bob, CLIENT_STORE_OLD, "until then nothing is sent"));
    CHECK_UINT(say(&w, bob, there, "2"), OK);

    struct watch mails = {.node = bob, .method = METHOD_INBOX_APPEND};
    w.tamper = count_answers;
    w.tamper_ctx = &mails;
    CHECK_UINT(world_run(&w, 29 * DAY + 12 * HOUR), OK);
    CHECK_UINT(summary(bob, there).last.state, CLIENT_REJOINING);
    CHECK_UINT(mails.seen, 29); /* and one before */
    CHECK_UINT(world_run(&w, DAY), OK);
    CHECK_UINT(summary(bob, there).last.state, CLIENT_LEFT);
    CHECK(says(bob, CLIENT_CONVERSATION, "begin a new conversation"));
    CHECK_UINT(look(bob, there).failed, 1);
    CHECK_UINT(world_run(&w, 10 * DAY), OK);
    CHECK_UINT(mails.seen, 29);
}

static void restored_server_is_told_and_nothing_stays_queued(void)
{
    CLEANUP(world_end) struct world w;
    struct node *bob = &w.nodes[1];
    int64_t here = 0, there = 0, message = 0;
    CHECK_UINT(two_talk(&w, &here, &there), OK);
    bob->offline = true;
    node_cut(&w, bob);
    CHECK_UINT(say(&w, bob, there, "2"), OK);
    bob->offline = false;
    CHECK_UINT(attach_says(&w, ATTACH_HEAD, 1), OK);
    CHECK_UINT(bob->events[CLIENT_SERVER_RESTORED], 1);
    CHECK(says(bob, CLIENT_SERVER_RESTORED, "begin a new conversation"));
    CHECK_UINT(summary(bob, there).last.state, CLIENT_STOPPED);
    CHECK_UINT(look(bob, there).failed, 1);
    CHECK_UINT(client_send(bob->client, there, LIT("3"), w.now, &message),
               ERR_STATE);
    /* and there is a way on: another conversation with the same person */
    CHECK_UINT(client_direct(bob->client, "alice", w.now, &there), OK);
    CHECK_UINT(say(&w, bob, there, "again"), OK);
    CHECK_UINT(world_run(&w, 20 * SECOND), OK);
    CHECK(shows(bob, there, "bob:again;"));
}

/* The channel's name is random, so what has it is this conversation, which has
 * gone on in a newer store. */
static void own_channel_that_exists_means_an_old_store(void)
{
    CLEANUP(world_end) struct world w;
    struct node *alice = &w.nodes[0];
    struct watch create = {.node = alice, .method = METHOD_CHANNEL_CREATE};
    int64_t id = 0;
    CHECK_UINT(world_begin(&w, 2), OK);
    CHECK_UINT(join_all(&w), OK);
    w.tamper = say_exists;
    w.tamper_ctx = &create;
    CHECK_UINT(client_group_create(alice->client, "friends", w.now, &id), OK);
    CHECK_UINT(say(&w, alice, id, "1"), OK);
    CHECK_UINT(world_run(&w, MINUTE), OK);
    CHECK_UINT(alice->events[CLIENT_STORE_OLD], 1);
    CHECK(says(alice, CLIENT_CONVERSATION, "begin a new conversation"));
    CHECK_UINT(summary(alice, id).last.state, CLIENT_LEFT);
    CHECK_UINT(look(alice, id).failed, 1);
}

/* --- invitations --- */

/* Its KeyPackages are too old when it is made at last, and a fresh path is due
 * by then. */
static void invitation_that_fails_ends_a_conversation_of_two(void)
{
    CLEANUP(world_end) struct world w;
    struct node *alice = &w.nodes[0];
    struct watch create = {.node = alice, .method = METHOD_CHANNEL_CREATE};
    int64_t here = 0;
    CHECK_UINT(world_begin(&w, 2), OK);
    CHECK_UINT(join_all(&w), OK);
    w.tamper = withhold;
    w.tamper_ctx = &create;
    CHECK_UINT(client_direct(alice->client, "bob", w.now, &here), OK);
    CHECK_UINT(say(&w, alice, here, "1"), OK);
    CHECK_UINT(world_run(&w, 10 * SECOND), OK);
    CHECK_UINT(summary(alice, here).last.state, CLIENT_CREATING);
    CHECK_UINT(rows(alice, "SELECT count(*) FROM taken WHERE intent > ?", 0),
               1);
    alice->offline = true;
    node_cut(&w, alice);
    w.tamper = NULL;
    CHECK_UINT(world_run(&w, 60 * DAY), OK);
    alice->offline = false;
    CHECK_UINT(world_run(&w, HOUR), OK);
    CHECK(says(alice, CLIENT_COMMAND_FAILED, "key packages are not valid"));
    CHECK_UINT(summary(alice, here).last.state, CLIENT_LEFT);
    CHECK_UINT(look(alice, here).failed, 1);
}

/* --- those who are added, and stay silent --- */

static void silent_device_is_told_by_another_member(void)
{
    CLEANUP(world_end) struct world w;
    struct node *alice = &w.nodes[0], *bob = &w.nodes[1], *carol = &w.nodes[2];
    int64_t ids[NODES] = {0};
    CHECK_UINT(world_begin(&w, 3), OK);
    CHECK_UINT(join_all(&w), OK);
    CHECK_UINT(begin_group(&w, 2, &ids[0]), OK);
    CHECK_UINT(world_run(&w, 10 * MINUTE), OK);
    /* alice's commit is in the log, and she never learns it */
    struct watch lost = {.node = alice, .method = METHOD_APPEND};
    w.tamper = deafen;
    w.tamper_ctx = &lost;
    CHECK_UINT(client_group_add(alice->client, ids[0], "carol", w.now), OK);
    CHECK_UINT(world_run(&w, MINUTE), OK);
    CHECK(lost.deaf);
    alice->offline = true;
    node_cut(&w, alice);
    w.tamper = NULL;
    CHECK_UINT(world_run(&w, HOUR), OK);
    CHECK_UINT(summary(carol, 0).count, 0);
    CHECK_UINT(world_run(&w, 5 * HOUR), OK);
    CHECK_UINT(summary(carol, 0).count, 1);
    CHECK_UINT(client_find(carol->client, "friends", &ids[2]), OK);
    CHECK_UINT(say(&w, carol, ids[2], "here"), OK);
    CHECK_UINT(world_run(&w, 10 * MINUTE), OK);
    CHECK_UINT(silent(bob), 0);

    /* alice comes back, and tells her again: that is nothing new */
    struct watch fetched = {.node = carol, .method = METHOD_BLOB_GET};
    w.tamper = count_answers;
    w.tamper_ctx = &fetched;
    alice->offline = false;
    CHECK_UINT(world_run(&w, 10 * MINUTE), OK);
    CHECK_UINT(fetched.seen, 0);
    CHECK_UINT(summary(carol, 0).count, 1);
    CHECK_UINT(carol->events[CLIENT_ENTRY_SKIPPED], 0);
    CHECK(shows(alice, ids[0], "carol:here;"));
    CHECK_UINT(client_find(bob->client, "friends", &ids[1]), OK);
    CHECK(agree(&w, ids, 0, 3));
}

static void silent_device_is_told_twice_at_most(void)
{
    CLEANUP(world_end) struct world w;
    struct node *bob = &w.nodes[1], *carol = &w.nodes[2];
    int64_t id = 0;
    CHECK_UINT(world_begin(&w, 3), OK);
    CHECK_UINT(join_all(&w), OK);
    node_cut(&w, carol);
    carol->offline = true;
    struct watch mails = {.node = bob, .method = METHOD_INBOX_APPEND};
    w.tamper = count_answers;
    w.tamper_ctx = &mails;
    CHECK_UINT(begin_group(&w, 2, &id), OK);
    CHECK_UINT(client_group_add(w.nodes[0].client, id, "carol", w.now), OK);
    CHECK_UINT(world_run(&w, HOUR), OK);
    CHECK_UINT(silent(bob), 1);
    CHECK_UINT(mails.seen, 0);
    CHECK_UINT(world_run(&w, 6 * HOUR), OK);
    CHECK_UINT(mails.seen, 1);
    CHECK_UINT(world_run(&w, 6 * DAY), OK);
    CHECK_UINT(mails.seen, 2);
    CHECK_UINT(silent(bob), 0);
}

/* --- work --- */

static enum err ask_for_work(struct world *w, uint8_t bits)
{
    for (size_t i = 0; i < w->count; i++)
        node_cut(w, &w->nodes[i]);
    core_free(&w->core);
    struct core_parts parts = {
        .crypto = w->crypto,
        .random = &w->random,
        .store = &w->store,
        .server_key = &w->server_key,
        .config = {.pow_bits = bits, .open_registration = true}};
    return core_create(&parts, &w->core);
}

static void work_is_done_in_slices(void)
{
    CLEANUP(world_end) struct world w;
    struct node *alice = &w.nodes[0];
    struct client_status s;
    int64_t here = 0;
    CHECK_UINT(world_begin(&w, 2), OK);
    CHECK_UINT(join_all(&w), OK);
    CHECK_UINT(ask_for_work(&w, 17), OK);
    CHECK_UINT(world_run(&w, SECOND), OK);
    CHECK_UINT(client_direct(alice->client, "bob", w.now, &here), OK);
    CHECK_UINT(say(&w, alice, here, "1"), OK);
    unsigned slices = 0;
    bool any = false;
    while (slices < 1000 && client_status_get(alice->client, &s) == OK &&
           summary(alice, here).last.state == CLIENT_CREATING) {
        CHECK(s.busy > 0);
        slices += client_deadline(alice->client) == w.now;
        CHECK_UINT(world_round(&w, &any), OK);
        CHECK_UINT(client_tick(alice->client, ++w.now), OK);
    }
    CHECK(slices > 1);
    CHECK_UINT(world_run(&w, MINUTE), OK);
    CHECK_UINT(w.nodes[1].events[CLIENT_MESSAGE], 1);
    CHECK_UINT(client_status_get(alice->client, &s), OK);
    CHECK_UINT(s.busy, 0);
}

static void too_much_work_is_refused(void)
{
    CLEANUP(world_end) struct world w;
    CHECK_UINT(world_begin(&w, 1), OK);
    CHECK_UINT(join_all(&w), OK);
    CHECK_UINT(ask_for_work(&w, POW_BITS_MAX + 1), OK);
    bool any = false;
    for (unsigned i = 0; i < 4; i++)
        CHECK_UINT(world_round(&w, &any), OK);
    CHECK(w.nodes[0].events[CLIENT_SERVER_BROKEN] > 0);
    CHECK(
        says(&w.nodes[0], CLIENT_SERVER_BROKEN, ADDRESS " asks for more work"));
    CHECK(!client_lane_at(w.nodes[0].client, 0).ready);
}

/* --- key packages --- */

static void key_packages_are_replaced_before_they_expire(void)
{
    CLEANUP(world_end) struct world w;
    struct node *bob = &w.nodes[1];
    CHECK_UINT(world_begin(&w, 2), OK);
    CHECK_UINT(join_all(&w), OK);
    uint64_t first = w.now;
    for (unsigned week = 0; week < 12; week++) {
        CHECK_UINT(world_run(&w, 7 * DAY), OK);
        CHECK(rows(bob,
                   "SELECT count(*) FROM key_package WHERE published = 1"
                   " AND last_resort = 0 AND expires > ?",
                   w.now + 9 * DAY) >= 4);
        CHECK(rows(bob,
                   "SELECT count(*) FROM key_package WHERE published = 1"
                   " AND last_resort = 1 AND expires > ?",
                   w.now + 14 * DAY) >= 1);
        CHECK_UINT(rows(bob,
                        "SELECT count(*) FROM key_package WHERE expires < ?",
                        w.now - 39 * DAY),
                   0);
    }
    CHECK(w.now > first + (30 + 39) * DAY);
    int64_t here = 0;
    CHECK_UINT(client_direct(w.nodes[0].client, "bob", w.now, &here), OK);
    CHECK_UINT(say(&w, &w.nodes[0], here, "1"), OK);
    CHECK_UINT(world_run(&w, MINUTE), OK);
    CHECK_UINT(bob->events[CLIENT_MESSAGE], 1);
}

static void last_resort_is_replaced_when_it_was_used(void)
{
    CLEANUP(world_end) struct world w;
    struct node *alice = &w.nodes[0], *bob = &w.nodes[1];
    char name[2] = "a";
    CHECK_UINT(world_begin(&w, 2), OK);
    CHECK_UINT(join_all(&w), OK);
    node_cut(&w, bob);
    bob->offline = true;
    for (unsigned i = 0; i < 6; i++, name[0]++) { /* he has four others */
        int64_t id = 0;
        CHECK_UINT(client_group_create(alice->client, name, w.now, &id), OK);
        CHECK_UINT(client_group_add(alice->client, id, "bob", w.now), OK);
        CHECK_UINT(world_run(&w, MINUTE), OK);
    }
    bob->offline = false;
    CHECK_UINT(world_run(&w, MINUTE), OK);
    CHECK_UINT(summary(bob, 0).count, 6);
    static const char kind[] = "SELECT count(*) FROM key_package WHERE"
                               " published = 1 AND last_resort = ?";
    CHECK_UINT(rows(bob, kind, 0), 4);
    CHECK_UINT(rows(bob, kind, 1), 1);
    CHECK_UINT(rows(bob, kind, 2), 1);
}

/* --- fresh paths --- */

/* Runs in steps, and checks that nobody brings a path within five minutes of
 * another one. */
static bool paths_are_apart(struct world *w, int64_t id, uint64_t ms,
                            uint64_t step, uint64_t *last)
{
    uint64_t end = w->now + ms;
    while (w->now < end) {
        uint64_t before = summary(&w->nodes[0], id).last.epoch;
        if (world_run(w, step) != OK)
            return false;
        uint64_t after = summary(&w->nodes[0], id).last.epoch;
        if (after == before)
            continue;
        if (after > before + 1 ||
            (*last > 0 && w->now < *last + 5 * MINUTE - step))
            return false;
        *last = w->now;
    }
    return true;
}

static void fresh_paths_follow_their_schedule(void)
{
    CLEANUP(world_end) struct world w;
    int64_t id = 0;
    uint64_t last = 0;
    CHECK_UINT(world_begin(&w, 4), OK);
    CHECK_UINT(join_all(&w), OK);
    CHECK_UINT(client_group_create(w.nodes[0].client, "friends", w.now, &id),
               OK);
    for (size_t i = 1; i < 4; i++)
        CHECK_UINT(client_group_add(w.nodes[0].client, id, names[i], w.now),
                   OK);
    for (unsigned i = 0; i < 10 && summary(&w.nodes[3], 0).count == 0; i++)
        CHECK_UINT(world_run(&w, 100), OK);
    CHECK_UINT(summary(&w.nodes[3], 0).count, 1);
    uint64_t joined = summary(&w.nodes[0], id).last.epoch;
    /* at once after joining, one each, five minutes apart */
    CHECK(paths_are_apart(&w, id, 20 * MINUTE, SECOND, &last));
    CHECK_UINT(summary(&w.nodes[0], id).last.epoch, joined + 3);
    CHECK(paths_are_apart(&w, id, 5 * DAY, HOUR, &last));
    CHECK_UINT(summary(&w.nodes[0], id).last.epoch, joined + 3);
    /* then once a week, each of the four */
    CHECK(paths_are_apart(&w, id, 2 * DAY + HOUR, MINUTE, &last));
    CHECK_UINT(summary(&w.nodes[0], id).last.epoch, joined + 7);
}

static const struct test tests[] = {
    TEST(rejoin_that_nobody_answers_ends),
    TEST(restored_server_is_told_and_nothing_stays_queued),
    TEST(own_channel_that_exists_means_an_old_store),
    TEST(invitation_that_fails_ends_a_conversation_of_two),
    TEST(silent_device_is_told_by_another_member),
    TEST(silent_device_is_told_twice_at_most),
    TEST(work_is_done_in_slices),
    TEST(too_much_work_is_refused),
    TEST(key_packages_are_replaced_before_they_expire),
    TEST(last_resort_is_replaced_when_it_was_used),
    TEST(fresh_paths_follow_their_schedule),
};
TEST_MAIN(tests)
