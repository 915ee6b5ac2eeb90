/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commits that break a rule which everybody can see (docs/protocol.md, section
 * 8): they are skipped by everybody, and the channel moves on.
 */
#include "scene.h"

#include "mls/evil.h"
#include "proto/group_ext.h"

#include <stdio.h>

/* --- what each case plans --- */

static enum err bad_leaf(struct scene *s, struct plan *p)
{
    (void)s;
    (void)p;
    evil_next_commit(EVIL_LEAF, 0);
    return OK;
}

static enum err bad_tag(struct scene *s, struct plan *p)
{
    (void)s;
    (void)p;
    evil_next_commit(EVIL_TAG, 0);
    return OK;
}

static enum err in_bobs_name(struct scene *s, struct plan *p)
{
    (void)s;
    (void)p;
    evil_next_sender(BOB, 40); /* far beyond what bob has used */
    return OK;
}

static enum err add_not_listed(struct scene *s, struct plan *p)
{
    TRY(plan_dave(s, p, false));
    return plan_joining(p);
}

static enum err add_without_blob(struct scene *s, struct plan *p)
{
    return plan_dave(s, p, true);
}

static enum err add_without_states(struct scene *s, struct plan *p)
{
    TRY(plan_dave(s, p, true));
    p->commit.app_proposal_count = 0;
    return plan_joining(p);
}

static enum err listed_not_added(struct scene *s, struct plan *p)
{
    static const uint8_t nobody[ID_SIZE] = {1};
    (void)s;
    return plan_list_add(p, BYTES_ARRAY(nobody));
}

static enum err list_bob(struct scene *s, struct plan *p,
                         enum err (*list)(struct plan *, struct bytes))
{
    uint8_t sub[ID_SIZE];
    TRY(attacker_sub(&s->a, scene_key(s, BOB), sub));
    return list(p, BYTES_ARRAY(sub));
}

static enum err bob_listed_again(struct scene *s, struct plan *p)
{
    return list_bob(s, p, plan_list_add);
}

static enum err foreign_end(struct scene *s, struct plan *p)
{
    return list_bob(s, p, plan_list_end);
}

static enum err end_of_another(struct scene *s, struct plan *p)
{
    plan_remove(p, CAROL);
    return list_bob(s, p, plan_list_end);
}

static enum err remove_not_listed(struct scene *s, struct plan *p)
{
    (void)s;
    plan_remove(p, BOB);
    return OK;
}

static enum err key_not_listed(struct scene *s, struct plan *p)
{
    (void)s;
    return plan_spare(p, 1);
}

static enum err leaf_of_nobody(struct scene *s, struct plan *p)
{
    (void)s;
    return plan_spare(p, 0);
}

static enum err path_with_another_key(struct scene *s, struct plan *p)
{
    p->change.signature_private =
        (struct sotto_bytes){s->a.spare_private.data, s->a.spare_private.len};
    p->change.signature_public =
        (struct sotto_bytes){s->a.spare_public.data, s->a.spare_public.len};
    p->commit.leaf = &p->change;
    return OK;
}

static enum err path_without_account(struct scene *s, struct plan *p)
{
    (void)s;
    p->change.extensions = &p->list;
    p->commit.leaf = &p->change;
    return OK;
}

static enum err two_blobs(struct scene *s, struct plan *p)
{
    TRY(plan_dave(s, p, true));
    TRY(plan_joining(p));
    return plan_joining(p);
}

static enum err broken_blob(struct scene *s, struct plan *p)
{
    (void)s;
    return plan_app(p, COMPONENT_JOINING, LIT("x"));
}

static enum err unknown_app(struct scene *s, struct plan *p)
{
    (void)s;
    return plan_app(p, 0xf5ff, LIT("x"));
}

static enum err broken_states(struct scene *s, struct plan *p)
{
    (void)s;
    return plan_app(p, COMPONENT_STATES, LIT("x"));
}

static enum err states_of_a_stranger(struct scene *s, struct plan *p)
{
    CLEANUP(chain_free) struct chain *chain = NULL;
    TRY(node_chain(&s->w, &s->w.nodes[DAVE], &chain));
    return plan_states(p, chain, 1);
}

static enum err states_known(struct scene *s, struct plan *p)
{
    return plan_states(p, s->a.chain, 1);
}

static enum err states_twice(struct scene *s, struct plan *p)
{
    TRY(plan_dave(s, p, true));
    TRY(states_of_a_stranger(s, p));
    return plan_joining(p);
}

static enum err other_channel(struct scene *s, struct plan *p)
{
    static const uint8_t key[ID_SIZE] = {2};
    CLEANUP(buf_clear) struct buf data = buf_new(1024);
    TRY(group_channel_write(
        &data,
        &(struct group_channel){LIT("evil.example:7470"), BYTES_ARRAY(key),
                                BYTES_ARRAY(s->a.channel)}));
    return plan_extension(p, EXT_CHANNEL, buf_bytes(&data));
}

static enum err other_secret(struct scene *s, struct plan *p)
{
    CLEANUP(secret_clear) struct secret secret = {0};
    CLEANUP(buf_clear) struct buf data = buf_new(1024);
    secret_random(&secret, 32, &s->w.random);
    TRY(group_subscription_write(&data, &secret));
    return plan_extension(p, EXT_SUBSCRIPTION, buf_bytes(&data));
}

static enum err other_kind(struct scene *s, struct plan *p)
{
    CLEANUP(buf_clear) struct buf data = buf_new(1024);
    (void)s;
    TRY(group_profile_write(&data,
                            &(struct group_profile){GROUP_DIRECT, LIT("x")}));
    return plan_extension(p, EXT_PROFILE, buf_bytes(&data));
}

static enum err end_of_the_group(struct scene *s, struct plan *p)
{
    static const struct sotto_reinit next = {
        .group_id = {(const uint8_t *)"next", 4}};
    (void)s;
    p->commit.reinit = &next;
    return OK;
}

static enum err resumption(struct scene *s, struct plan *p)
{
    static struct sotto_resumption now;
    now.epoch = s->epoch;
    p->commit.resumptions = &now;
    p->commit.resumption_count = 1;
    return OK;
}

#define KIND  "a kind of proposal that conversations do not use"
#define LISTS "lists of subscriptions that do not fit its changes"
#define WHAT  "a change of what a conversation is"

static void what_everybody_can_see_is_skipped_by_everybody(void)
{
    static const struct {
        const char *name;
        enum err (*plan)(struct scene *s, struct plan *p);
        const char *cause;
    } rows[] = {
        {"bad leaf", bad_leaf, "a commit that is not valid"},
        {"bad tag", bad_tag, "a commit that is not valid"},
        {"in bob's name", in_bobs_name, "a commit that is not valid"},
        {"an add that is not listed", add_not_listed, LISTS},
        {"listed, not added", listed_not_added, LISTS},
        {"bob listed again", bob_listed_again, LISTS},
        {"foreign end", foreign_end, LISTS},
        {"end of another", end_of_another, LISTS},
        {"a remove that is not listed", remove_not_listed, LISTS},
        {"no joining blob", add_without_blob,
         "a device is added without a joining blob"},
        {"no states", add_without_states,
         "a leaf that its account does not "
         "list"},
        {"key not listed", key_not_listed,
         "a leaf that its account does not "
         "list"},
        {"leaf of nobody", leaf_of_nobody, "a leaf without an account"},
        {"another key", path_with_another_key, WHO},
        {"no account", path_without_account, WHO},
        {"two blobs", two_blobs, "two joining blobs"},
        {"broken blob", broken_blob, "a broken joining reference"},
        {"unknown data", unknown_app, "unknown application data"},
        {"broken states", broken_states, "unknown application data"},
        {"a stranger's states", states_of_a_stranger,
         "states of an account without a device here"},
        {"known states", states_known,
         "states that do not continue an account"},
        {"states twice", states_twice, "states of one account twice"},
        {"other channel", other_channel, WHAT},
        {"other secret", other_secret, WHAT},
        {"other kind", other_kind, WHAT},
        {"reinit", end_of_the_group, KIND},
        {"resumption", resumption, KIND},
    };
    CLEANUP(scene_end) struct scene s;
    CHECK_UINT(scene_begin(&s), OK);
    for (size_t i = 0; i < COUNT(rows); i++) {
        CLEANUP(plan_clear) struct plan p = {.a = &s.a};
        uint8_t status = 0;
        printf("# %s\n", rows[i].name);
        CHECK_UINT(rows[i].plan(&s, &p), OK);
        CHECK_UINT(plan_commit(&p, false, &status), OK);
        CHECK_UINT(status, STATUS_OK);
        CHECK(scene_skipped(&s, rows[i].cause));
    }
}

/* The commits above are refused for what is wrong with them, and not for how
 * they are made. */
static void a_commit_that_keeps_the_rules_counts(void)
{
    CLEANUP(scene_end) struct scene s;
    CHECK_UINT(scene_begin(&s), OK);
    for (size_t i = 0; i < 2; i++) {
        CLEANUP(plan_clear) struct plan p = {.a = &s.a};
        uint8_t status = 0;
        if (i == 1) {
            CHECK_UINT(plan_dave(&s, &p, true), OK);
            CHECK_UINT(plan_joining(&p), OK);
        }
        CHECK_UINT(plan_commit(&p, true, &status), OK);
        CHECK_UINT(status, STATUS_OK);
        CHECK_UINT(world_run(&s.w, 60000), OK);
        CHECK(agree(&s.w, s.ids, BOB, MEMBERS));
        struct summary bob = summary(&s.w.nodes[BOB], s.ids[BOB]);
        CHECK_UINT(bob.last.epoch, s.epoch + 1 + i);
        CHECK_UINT(bob.last.members, MEMBERS + i);
        CHECK_UINT(s.w.nodes[BOB].events[CLIENT_ENTRY_SKIPPED], 0);
    }
}

static void a_proposal_outside_a_commit_is_skipped_and_cannot_be_named(void)
{
    CLEANUP(scene_end) struct scene s;
    CLEANUP(sotto_buf_free) struct sotto_buf proposal = {0};
    CLEANUP(sotto_result_free) struct sotto_result result = {0};
    CHECK_UINT(scene_begin(&s), OK);
    CLEANUP(plan_clear) struct plan p = {.a = &s.a};
    struct answer answer;
    uint8_t status = 0;
    const struct sotto_proposal remove = {.kind = SOTTO_PROPOSE_REMOVE,
                                          .leaf = BOB};
    CHECK_UINT(sotto_group_propose(s.a.group, &remove, &proposal), SOTTO_OK);
    CHECK_UINT(sotto_group_process(
                   s.a.group, (struct sotto_bytes){proposal.data, proposal.len},
                   &result),
               SOTTO_OK);
    CHECK_UINT(attacker_append(&s.a, ENTRY_PROPOSAL, &proposal, &answer), OK);
    CHECK_UINT(answer.status, STATUS_OK);
    CHECK(scene_skipped(&s, "a proposal outside a commit"));
    p.commit.use_pending = true;
    CHECK_UINT(foreign_end(&s, &p), OK); /* the lists are right */
    CHECK_UINT(plan_commit(&p, false, &status), OK);
    CHECK_UINT(status, STATUS_OK);
    CHECK(scene_skipped(&s, "a commit that is not valid"));
}

/* A server that puts something else in the place of commits. */
static void exchange(void *ctx, struct passing *p)
{
    const struct sotto_buf *other = ctx;
    struct request event = {0};
    struct buf out = buf_new(MESSAGE_MAX);
    if (p->kind != FRAME_EVENT ||
        request_read(buf_bytes(&p->message), &event) != OK ||
        event.method != EVENT_ENTRY || event.entry_event.kind != ENTRY_COMMIT)
        return;
    event.entry_event.body = (struct bytes){other->data, other->len};
    if (request_write(&out, &event) == OK) {
        buf_clear(&p->message);
        p->message = out;
    }
}

/* The joiner's account lists the device, and a member gave it a GroupInfo. The
 * server takes no such commit into a log; one that is in it with the joiner
 * does, and is not believed. */
static void nobody_joins_by_a_commit_of_its_own(void)
{
    CLEANUP(scene_end) struct scene s;
    CHECK_UINT(scene_begin(&s), OK);
    CHECK_UINT(attacker_add_device(&s.a), OK);
    for (size_t resync = 0; resync < 2; resync++) {
        CLEANUP(plan_clear) struct plan p = {.a = &s.a};
        CLEANUP(plan_clear) struct plan plain = {.a = &s.a};
        CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
        struct answer answer = {0};
        uint8_t status = 0;
        uint64_t version = chain_version(s.a.chain);
        CHECK_UINT(plan_states(&p, s.a.chain, version), OK);
        CHECK_UINT(plan_join(&p, version, resync == 1, &message), OK);
        CHECK_UINT(attacker_append(&s.a, ENTRY_COMMIT, &message, &answer), OK);
        CHECK_UINT(answer.status, STATUS_MALFORMED);
        s.w.tamper = exchange;
        s.w.tamper_ctx = &message;
        CHECK_UINT(plan_commit(&plain, false, &status), OK);
        CHECK_UINT(status, STATUS_OK);
        CHECK(scene_skipped(&s, "an entry that servers must refuse"));
        s.w.tamper = NULL;
    }
}

static void lists_that_the_server_cannot_read_are_refused_by_it(void)
{
    CLEANUP(scene_end) struct scene s;
    CHECK_UINT(scene_begin(&s), OK);
    for (size_t i = 0; i < 3; i++) {
        CLEANUP(plan_clear) struct plan p = {.a = &s.a};
        uint8_t status = 0;
        if (i == 0) { /* doubled */
            CHECK_UINT(foreign_end(&s, &p), OK);
            CHECK_UINT(foreign_end(&s, &p), OK);
        } else if (i == 1) { /* in both lists */
            CHECK_UINT(foreign_end(&s, &p), OK);
            CHECK_UINT(bob_listed_again(&s, &p), OK);
        } else {
            p.no_lists = true;
            p.commit.authenticated_data =
                (struct sotto_bytes){(const uint8_t *)"garbage", 7};
        }
        enum err err = plan_commit(&p, false, &status);
        CHECK(err != OK || status != STATUS_OK);
    }
    CHECK_UINT(world_run(&s.w, 60000), OK);
    CHECK(agree(&s.w, s.ids, BOB, MEMBERS));
}

static const struct test tests[] = {
    TEST(a_commit_that_keeps_the_rules_counts),
    TEST(what_everybody_can_see_is_skipped_by_everybody),
    TEST(nobody_joins_by_a_commit_of_its_own),
    TEST(a_proposal_outside_a_commit_is_skipped_and_cannot_be_named),
    TEST(lists_that_the_server_cannot_read_are_refused_by_it),
};
TEST_MAIN(tests)
