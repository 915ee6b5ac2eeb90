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

static const struct test tests[] = {
    TEST(a_commit_survives_lack_of_memory),
    TEST(processing_survives_lack_of_memory),
    TEST(a_proposal_survives_lack_of_memory),
    TEST(joining_and_loading_survive_lack_of_memory),
};
TEST_MAIN(tests)
