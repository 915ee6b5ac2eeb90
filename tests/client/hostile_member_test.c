/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accounts and devices in a conversation whose member keeps no rule: states
 * that rise and fall, devices that are revoked, messages in another's name,
 * commits that are broken for some.
 */
#include "scene.h"

#include "mls/evil.h"

#include <string.h>

static void a_raised_state_is_carried_and_never_falls(void)
{
    CLEANUP(scene_end) struct scene s;
    CHECK_UINT(scene_begin(&s), OK);
    CHECK_UINT(attacker_add_device(&s.a), OK);
    {
        CLEANUP(plan_clear) struct plan p = {.a = &s.a};
        CHECK_UINT(plan_claim(&p, 2), OK);
        CHECK(scene_refused(&s, &p, "a leaf that its account does not list"));
    }
    { /* carried, but claimed by no leaf */
        CLEANUP(plan_clear) struct plan p = {.a = &s.a};
        CHECK_UINT(plan_states(&p, s.a.chain, 2), OK);
        CHECK(scene_refused(&s, &p, "states that no leaf names"));
    }
    {
        CLEANUP(plan_clear) struct plan p = {.a = &s.a};
        CHECK_UINT(plan_claim(&p, 2), OK);
        CHECK_UINT(plan_states(&p, s.a.chain, 2), OK);
        CHECK(scene_accepted(&s, &p));
    }
    {
        CLEANUP(plan_clear) struct plan p = {.a = &s.a};
        CHECK_UINT(plan_claim(&p, 1), OK);
        CHECK(scene_refused(&s, &p, WHO));
    }
}

static void a_revoked_device_leaves_with_the_state_that_says_so(void)
{
    CLEANUP(scene_end) struct scene s;
    CHECK_UINT(scene_begin(&s), OK);
    CHECK_UINT(attacker_add_device(&s.a), OK);
    {
        CLEANUP(plan_clear) struct plan p = {.a = &s.a};
        CHECK_UINT(plan_spare(&p, 2), OK);
        CHECK_UINT(plan_states(&p, s.a.chain, 2), OK);
        CHECK(scene_accepted(&s, &p));
    }
    CHECK_UINT(attacker_revoke_device(&s.a), OK);
    {
        CLEANUP(plan_clear) struct plan p = {.a = &s.a};
        CHECK_UINT(plan_claim(&p, 3), OK);
        CHECK_UINT(plan_states(&p, s.a.chain, 3), OK);
        CHECK(scene_refused(&s, &p, "a leaf that its account no longer lists"));
    }
    CLEANUP(plan_clear) struct plan p = {.a = &s.a};
    uint8_t sub[ID_SIZE];
    uint32_t leaf = 0;
    const struct sotto_bytes key = {s.a.spare_public.data,
                                    s.a.spare_public.len};
    CHECK_UINT(sotto_group_find_member(s.a.group, key, &leaf), SOTTO_OK);
    CHECK_UINT(attacker_sub(&s.a, key, sub), OK);
    CHECK_UINT(plan_claim(&p, 3), OK);
    CHECK_UINT(plan_states(&p, s.a.chain, 3), OK);
    plan_remove(&p, leaf);
    CHECK_UINT(plan_list_end(&p, BYTES_ARRAY(sub)), OK);
    CHECK(scene_accepted(&s, &p));
}

/* --- in another's name --- */

/* Alice knows the keys of bob's ratchets; what lacks his signature is not his,
 * and does not make him believe that his store is an old copy. */
static void a_message_in_another_name_is_skipped(void)
{
    CLEANUP(scene_end) struct scene s;
    CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
    struct answer answer;
    CHECK_UINT(scene_begin(&s), OK);
    evil_next_sender(BOB, 40); /* beyond what he has used */
    CHECK_UINT(sotto_group_protect(s.a.group, (struct sotto_bytes){0},
                                   (struct sotto_bytes){0}, 0, &message),
               SOTTO_OK);
    CHECK_UINT(attacker_append(&s.a, ENTRY_APPLICATION, &message, &answer), OK);
    CHECK_UINT(answer.status, STATUS_OK);
    CHECK(scene_skipped(&s, "a message that does not decrypt"));
    CHECK_UINT(s.w.nodes[BOB].events[CLIENT_STORE_OLD], 0);
}

/* --- what only some can see --- */

static void a_broken_subtree_rejoins_and_the_others_go_on(void)
{
    CLEANUP(scene_end) struct scene s;
    CHECK_UINT(scene_begin(&s), OK);
    CLEANUP(plan_clear) struct plan p = {.a = &s.a};
    uint8_t status = 0;
    evil_next_commit(EVIL_SUBTREE, CAROL);
    CHECK_UINT(plan_commit(&p, true, &status), OK);
    CHECK_UINT(status, STATUS_OK);
    CHECK_UINT(world_run(&s.w, 600000), OK);
    CHECK_UINT(s.w.nodes[BOB].events[CLIENT_REJOIN], 0);
    CHECK_UINT(s.w.nodes[CAROL].events[CLIENT_REJOIN], 1);
    CHECK_UINT(s.w.nodes[CAROL].events[CLIENT_REJOINED], 1);
    CHECK(agree(&s.w, s.ids, BOB, MEMBERS));
    CHECK_UINT(say(&s.w, &s.w.nodes[BOB], s.ids[BOB], "back?"), OK);
    CHECK_UINT(say(&s.w, &s.w.nodes[CAROL], s.ids[CAROL], "yes"), OK);
    CHECK_UINT(world_run(&s.w, 60000), OK);
    struct seen bob = look(&s.w.nodes[BOB], s.ids[BOB]);
    CHECK_UINT(strlen(bob.text), strlen("bob:back?;carol:yes;"));
    CHECK(shows(&s.w.nodes[CAROL], s.ids[CAROL], bob.text));
}

/* --- two people --- */

static void a_third_person_does_not_join_a_conversation_of_two(void)
{
    CLEANUP(scene_end) struct scene s = {0};
    struct world *w = &s.w;
    int64_t here = 0, there = 0;
    CHECK_UINT(world_begin(w, NODES), OK);
    CHECK_UINT(join_all(w), OK);
    CHECK_UINT(client_direct(w->nodes[ALICE].client, "bob", w->now, &here), OK);
    CHECK_UINT(world_run(w, 600000), OK);
    CHECK_UINT(client_find(w->nodes[BOB].client, "alice", &there), OK);
    CHECK_UINT(attacker_begin(w, &w->nodes[ALICE], here, &s.a), OK);
    CLEANUP(plan_clear) struct plan p = {.a = &s.a};
    uint8_t status = 0;
    uint64_t epoch = summary(&w->nodes[BOB], there).last.epoch;
    CHECK_UINT(plan_dave(&s, &p, true), OK);
    CHECK_UINT(plan_joining(&p), OK);
    CHECK_UINT(plan_commit(&p, false, &status), OK);
    CHECK_UINT(status, STATUS_OK);
    CHECK_UINT(world_run(w, 60000), OK);
    CHECK_UINT(w->nodes[BOB].events[CLIENT_ENTRY_SKIPPED], 1);
    CHECK(strcmp(w->nodes[BOB].skipped,
                 "a third person in a conversation of two") == 0);
    CHECK_UINT(summary(&w->nodes[BOB], there).last.epoch, epoch);
}

static const struct test tests[] = {
    TEST(a_raised_state_is_carried_and_never_falls),
    TEST(a_revoked_device_leaves_with_the_state_that_says_so),
    TEST(a_message_in_another_name_is_skipped),
    TEST(a_broken_subtree_rejoins_and_the_others_go_on),
    TEST(a_third_person_does_not_join_a_conversation_of_two),
};
TEST_MAIN(tests)
