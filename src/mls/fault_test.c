/* SPDX-License-Identifier: Apache-2.0 */
/* Each allocation fails once: the group stays, and one may try again. */
#include "mls/world.h"

#include "test.h"

#include "base/err.h"
#include "base/mem.h"

#define SUITE_1 1U /* X25519, AES-128, SHA-256, Ed25519: the fastest */

static void a_commit_survives_lack_of_memory(void)
{
    CLEANUP(world_close) struct world w = {0};
    CHECK(world_three(&w, SUITE_1, 18));
    CHECK_UINT(world_key_package(&w, 3), SOTTO_OK);
    struct sotto_bytes add = view_of(&w.member[3].key_package);
    struct sotto_commit ask = {.adds = &add, .add_count = 1};
    struct sotto_group *g = w.member[0].group;
    uint64_t epoch = sotto_group_epoch(g);

    enum sotto_err err = SOTTO_ERR_NOMEM;
    for (unsigned n = 0; err == SOTTO_ERR_NOMEM; n++) {
        CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
        mem_fail_after(n);
        err = sotto_group_commit(g, &ask, &out);
        CHECK(err == SOTTO_OK || !sotto_group_has_pending(g));
        CHECK_UINT(sotto_group_epoch(g), epoch);
        CHECK(n < 5000);
    }
    mem_fail_after(1U << 30);
    CHECK_UINT(err, SOTTO_OK);
    sotto_group_drop_pending(g);
    CHECK_UINT(world_commit(&w, 0, &ask, (size_t[]){3}, 1), SOTTO_OK);
    CHECK(world_agrees(&w));
}

static void processing_survives_lack_of_memory(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    struct sotto_commit ask = {0};
    CHECK(world_three(&w, SUITE_1, 19));
    CHECK_UINT(sotto_group_commit(w.member[0].group, &ask, &out), SOTTO_OK);
    struct sotto_group *g = w.member[1].group;
    uint64_t epoch = sotto_group_epoch(g);

    enum sotto_err err = SOTTO_ERR_NOMEM;
    for (unsigned n = 0; err == SOTTO_ERR_NOMEM; n++) {
        CLEANUP(sotto_result_free) struct sotto_result r = {0};
        mem_fail_after(n);
        err = sotto_group_process(g, view_of(&out.message), &r);
        CHECK_UINT(sotto_group_epoch(g), epoch);
        CHECK(err != SOTTO_OK || r.outcome == SOTTO_COMMIT);
        CHECK(n < 5000);
    }
    mem_fail_after(1U << 30);
    CHECK_UINT(err, SOTTO_OK);
    CHECK_UINT(world_outcome(&w, 1, &out.message), SOTTO_DUPLICATE);
}

static void a_proposal_survives_lack_of_memory(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
    struct sotto_proposal remove = {.kind = SOTTO_PROPOSE_REMOVE, .leaf = 2};
    struct sotto_commit ask = {.use_pending = true};
    CHECK(world_three(&w, SUITE_1, 25));
    CHECK_UINT(sotto_group_propose(w.member[0].group, &remove, &message),
               SOTTO_OK);

    enum sotto_err err = SOTTO_ERR_NOMEM;
    for (unsigned n = 0; err == SOTTO_ERR_NOMEM; n++) {
        CLEANUP(sotto_result_free) struct sotto_result r = {0};
        mem_fail_after(n);
        err = sotto_group_process(w.member[1].group, view_of(&message), &r);
        CHECK(err != SOTTO_OK || r.outcome == SOTTO_PROPOSAL);
        CHECK(n < 5000);
    }
    mem_fail_after(1U << 30);
    CHECK_UINT(err, SOTTO_OK);
    CHECK_UINT(world_outcome(&w, 0, &message), SOTTO_PROPOSAL);
    CHECK_UINT(world_outcome(&w, 2, &message), SOTTO_PROPOSAL);
    CHECK_UINT(world_commit(&w, 1, &ask, NULL, 0), SOTTO_OK);
    CHECK_UINT(world_in_group(&w), 2);
    CHECK(world_agrees(&w));
}

static void joining_and_loading_survive_lack_of_memory(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    CHECK(world_three(&w, SUITE_1, 20));
    CHECK_UINT(world_key_package(&w, 3), SOTTO_OK);
    struct sotto_bytes add = view_of(&w.member[3].key_package);
    struct sotto_commit ask = {.adds = &add, .add_count = 1};
    CHECK_UINT(sotto_group_commit(w.member[0].group, &ask, &out), SOTTO_OK);

    enum sotto_err err = SOTTO_ERR_NOMEM;
    for (unsigned n = 0; err == SOTTO_ERR_NOMEM; n++) {
        mem_fail_after(n);
        err = world_join(&w, 3, view_of(&out.welcome));
        CHECK(n < 5000);
    }
    CHECK_UINT(err, SOTTO_OK);
    mem_fail_after(1U << 30);

    struct sotto_store store = memory_store_of(&w.member[3].store);
    CHECK_UINT(sotto_group_save(w.member[3].group, &store), SOTTO_OK);
    err = SOTTO_ERR_NOMEM;
    for (unsigned n = 0; err == SOTTO_ERR_NOMEM; n++) {
        CLEANUP(sotto_group_free) struct sotto_group *g = NULL;
        mem_fail_after(n);
        err = sotto_group_load(w.mls, &store, &g);
        CHECK(n < 5000);
    }
    mem_fail_after(1U << 30);
    CHECK_UINT(err, SOTTO_OK);
}

/* Calls `step` with each allocation failing once, until all of them hold. */
static enum sotto_err with_faults(enum sotto_err (*step)(void *ctx), void *ctx)
{
    enum sotto_err err = SOTTO_ERR_NOMEM;
    for (unsigned n = 0; err == SOTTO_ERR_NOMEM && n < 5000; n++) {
        mem_fail_after(n);
        err = step(ctx);
    }
    mem_fail_after(1U << 30);
    return err;
}

/* What a step works on: the world, what it is given, what it made. */
struct scene {
    struct world w;
    struct sotto_identity identity;
    struct sotto_buf given, made;
    struct sotto_commit_out commit;
    struct sotto_group *group;
};

static void scene_clear(struct scene *s)
{
    sotto_buf_free(&s->given);
    sotto_buf_free(&s->made);
    sotto_commit_out_free(&s->commit);
    sotto_group_free(&s->group);
    world_close(&s->w);
}

static enum sotto_err join_external(void *ctx)
{
    struct scene *s = ctx;
    struct sotto_external_join ask = {.identity = &s->identity,
                                      .group_info = view_of(&s->given),
                                      .resync = true};
    return sotto_group_join_external(s->w.mls, &ask, &s->made, &s->group);
}

/* Member 0 takes what was made, and keeps it as it is. */
static enum sotto_err process_made(void *ctx)
{
    struct scene *s = ctx;
    CLEANUP(sotto_result_free) struct sotto_result r = {0};
    return sotto_group_process(s->w.member[0].group, view_of(&s->made), &r);
}

static void an_external_commit_survives_lack_of_memory(void)
{
    CLEANUP(scene_clear) struct scene s = {0};
    CHECK(world_three(&s.w, SUITE_1, 30));
    s.identity = world_identity(&s.w, 1);
    CHECK_UINT(sotto_group_info(s.w.member[0].group, true, &s.given), SOTTO_OK);
    CHECK_UINT(with_faults(join_external, &s), SOTTO_OK);
    uint64_t epoch = sotto_group_epoch(s.w.member[0].group);
    CHECK_UINT(with_faults(process_made, &s), SOTTO_OK);
    CHECK_UINT(sotto_group_epoch(s.w.member[0].group), epoch);
    CHECK_UINT(world_spread(&s.w, view_of(&s.made)), SOTTO_OK);
    s.w.member[1].group = s.group;
    s.group = NULL;
    CHECK_UINT(world_in_group(&s.w), 3);
    CHECK(world_agrees(&s.w));
}

static enum sotto_err propose_outside(void *ctx)
{
    struct scene *s = ctx;
    struct sotto_outsider from = {
        .suite = SUITE_1,
        .group_id = text_of("group id"),
        .epoch = sotto_group_epoch(s->w.member[0].group),
        .kind = SOTTO_SENDER_NEW_MEMBER_PROPOSAL,
        .signature_private = view_of(&s->w.member[3].signature_private)};
    struct sotto_proposal add = {.kind = SOTTO_PROPOSE_ADD,
                                 .key_package =
                                     view_of(&s->w.member[3].key_package)};
    return sotto_outsider_propose(s->w.mls, &from, &add, &s->made);
}

static void a_proposal_from_outside_survives_lack_of_memory(void)
{
    CLEANUP(scene_clear) struct scene s = {0};
    CHECK(world_three(&s.w, SUITE_1, 31));
    CHECK_UINT(world_key_package(&s.w, 3), SOTTO_OK);
    CHECK_UINT(with_faults(propose_outside, &s), SOTTO_OK);
    CHECK_UINT(with_faults(process_made, &s), SOTTO_OK);
    CHECK_UINT(world_outcome(&s.w, 0, &s.made), SOTTO_DUPLICATE);
}

static enum sotto_err reinitialize(void *ctx)
{
    struct scene *s = ctx;
    struct sotto_bytes adds[] = {view_of(&s->w.member[1].key_package),
                                 view_of(&s->w.member[2].key_package)};
    struct sotto_link link = {.from = s->w.member[0].group,
                              .identity = &s->identity,
                              .adds = adds,
                              .add_count = 2};
    return sotto_group_reinitialize(s->w.mls, &link, &s->commit, &s->group);
}

static enum sotto_err follow(void *ctx)
{
    struct scene *s = ctx;
    CLEANUP(sotto_group_free) struct sotto_group *g = NULL;
    const struct sotto_group *const old[] = {s->w.member[1].group};
    struct sotto_join join = {.welcome = view_of(&s->commit.welcome),
                              .key_package_private =
                                  view_of(&s->w.member[1].key_package_private),
                              .groups = {old, 1}};
    return sotto_group_join(s->w.mls, &join, &g);
}

static enum sotto_err reload(void *ctx)
{
    struct scene *s = ctx;
    CLEANUP(sotto_group_free) struct sotto_group *g = NULL;
    struct sotto_store store = memory_store_of(&s->w.member[1].store);
    return sotto_group_load(s->w.mls, &store, &g);
}

static void a_reinitialization_survives_lack_of_memory(void)
{
    CLEANUP(scene_clear) struct scene s = {0};
    struct sotto_extension e = {WORLD_EXT, text_of("next")};
    struct sotto_reinit next = {text_of("next"), SUITE_1, {&e, 1}};
    struct sotto_commit ask = {.reinit = &next};
    CHECK(world_three(&s.w, SUITE_1, 32));
    CHECK_UINT(world_commit(&s.w, 2, &ask, NULL, 0), SOTTO_OK);
    for (size_t i = 1; i < 3; i++)
        CHECK_UINT(world_key_package(&s.w, i), SOTTO_OK);
    s.identity = world_identity(&s.w, 0);
    CHECK_UINT(with_faults(reinitialize, &s), SOTTO_OK);
    CHECK_UINT(with_faults(follow, &s), SOTTO_OK);
    struct sotto_store store = memory_store_of(&s.w.member[1].store);
    CHECK_UINT(sotto_group_save(s.w.member[1].group, &store), SOTTO_OK);
    CHECK_UINT(with_faults(reload, &s), SOTTO_OK);
}

static const struct test tests[] = {
    TEST(a_commit_survives_lack_of_memory),
    TEST(processing_survives_lack_of_memory),
    TEST(a_proposal_survives_lack_of_memory),
    TEST(joining_and_loading_survive_lack_of_memory),
    TEST(an_external_commit_survives_lack_of_memory),
    TEST(a_proposal_from_outside_survives_lack_of_memory),
    TEST(a_reinitialization_survives_lack_of_memory),
};
TEST_MAIN(tests)
