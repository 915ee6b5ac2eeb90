/* SPDX-License-Identifier: Apache-2.0 */
/* Leaving by oneself: SelfRemove of draft-ietf-mls-extensions. */
#include "mls/world.h"

#include "test.h"

#include "base/err.h"

#define SUITE_1 1U /* X25519, AES-128, SHA-256, Ed25519: the fastest */
#define LEAVER  2U

static enum sotto_err propose(struct world *w, size_t by,
                              const struct sotto_proposal *p,
                              struct sotto_buf *out)
{
    return sotto_group_propose(w->member[by].group, p, out);
}

static enum sotto_err spread(struct world *w, const struct sotto_buf *message)
{
    for (size_t i = 0; i < WORLD_MAX; i++)
        if (w->member[i].group != NULL &&
            world_outcome(w, i, message) != SOTTO_PROPOSAL)
            return SOTTO_ERR_STATE;
    return SOTTO_OK;
}

/* The third of three says that it leaves, and all hear it. */
static bool leave(struct world *w, uint64_t seed)
{
    CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
    struct sotto_proposal p = {.kind = SOTTO_PROPOSE_SELF_REMOVE};
    struct sotto_message_view view = {0};
    return world_three(w, SUITE_1, seed) &&
           propose(w, LEAVER, &p, &message) == SOTTO_OK &&
           sotto_message_peek(view_of(&message), &view) == SOTTO_OK &&
           view.wire_format == 1 && spread(w, &message) == SOTTO_OK;
}

/* What the i-th change of a commit is, as another member sees it. */
static bool staged(struct world *w, size_t i, const struct sotto_buf *message,
                   size_t at, struct sotto_change *out)
{
    CLEANUP(sotto_result_free) struct sotto_result r = {0};
    return sotto_group_process(w->member[i].group, view_of(message), &r) ==
               SOTTO_OK &&
           r.outcome == SOTTO_COMMIT &&
           sotto_staged_change(r.staged, at, out) == SOTTO_OK &&
           sotto_staged_has_path(r.staged);
}

static void who_leaves_is_gone_with_the_next_commit(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    struct sotto_commit ask = {.use_pending = true, .no_path = true};
    struct sotto_change change = {0};

    CHECK(leave(&w, 1));
    CHECK_UINT(sotto_group_commit(w.member[0].group, &ask, &out), SOTTO_OK);
    CHECK(staged(&w, 1, &out.message, 0, &change));
    CHECK_UINT(change.kind, SOTTO_CHANGE_REMOVE);
    CHECK_UINT(change.leaf, LEAVER);
    CHECK_UINT(change.by, LEAVER);
    CHECK(change.by_reference);
    CHECK_UINT(change.before.identity.data[0], 'C');
    sotto_group_drop_pending(w.member[0].group);

    CHECK_UINT(world_commit(&w, 0, &ask, NULL, 0), SOTTO_OK);
    CHECK(w.member[LEAVER].group == NULL);
    CHECK_UINT(sotto_group_member_count(w.member[1].group), 2);
    CHECK(world_agrees(&w));
}

static void who_leaves_cannot_commit_it(void)
{
    CLEANUP(world_close) struct world w = {0};
    struct sotto_commit ask = {.use_pending = true};
    CHECK(leave(&w, 2));
    CHECK_UINT(world_commit(&w, LEAVER, &ask, NULL, 0), SOTTO_OK);
    CHECK_UINT(sotto_group_member_count(w.member[0].group), 3);
    CHECK(world_agrees(&w));
}

static void one_leaves_once_in_an_epoch(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
    struct sotto_proposal p = {.kind = SOTTO_PROPOSE_SELF_REMOVE};
    struct sotto_commit ask = {0};
    CHECK(leave(&w, 3));
    CHECK_UINT(propose(&w, LEAVER, &p, &message), SOTTO_ERR_EXISTS);
    CHECK_UINT(propose(&w, 1, &p, &message), SOTTO_OK);
    sotto_buf_free(&message);
    CHECK_UINT(world_commit(&w, 0, &ask, NULL, 0), SOTTO_OK);
    CHECK_UINT(propose(&w, LEAVER, &p, &message), SOTTO_OK);
}

/* "The Remove proposal is invalid": the SelfRemove goes in, once. */
static void leaving_wins_over_being_removed_and_updates(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf update = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf remove = {0};
    struct sotto_proposal ps[] = {
        {.kind = SOTTO_PROPOSE_UPDATE},
        {.kind = SOTTO_PROPOSE_REMOVE, .leaf = LEAVER}};
    uint32_t leaf = LEAVER;
    struct sotto_commit ask = {.removes = &leaf,
                               .remove_count = 1,
                               .use_pending = true,
                               .public_message = true};
    struct sotto_change change = {0};

    CHECK(leave(&w, 4));
    CHECK_UINT(propose(&w, LEAVER, &ps[0], &update), SOTTO_OK);
    CHECK_UINT(propose(&w, 1, &ps[1], &remove), SOTTO_OK);
    CHECK_UINT(spread(&w, &update), SOTTO_OK);
    CHECK_UINT(spread(&w, &remove), SOTTO_OK);
    CHECK_UINT(sotto_group_commit(w.member[0].group, &ask, &out), SOTTO_OK);
    CHECK(staged(&w, 1, &out.message, 0, &change));
    CHECK_UINT(change.kind, SOTTO_CHANGE_REMOVE);
    CHECK(change.by_reference && change.by == LEAVER);
    CHECK(staged(&w, 1, &out.message, 1, &change));
    CHECK_UINT(change.kind, SOTTO_CHANGE_PATH);
}

/* It is known again after a restart. */
static void a_leave_survives_storing(void)
{
    CLEANUP(world_close) struct world w = {0};
    struct sotto_commit ask = {.use_pending = true};
    CHECK(leave(&w, 5));
    CHECK_UINT(sotto_group_proposal_count(w.member[0].group), 1);
    for (size_t i = 0; i < 3; i++)
        CHECK_UINT(world_reload(&w, i), SOTTO_OK);
    CHECK_UINT(world_commit(&w, 1, &ask, NULL, 0), SOTTO_OK);
    CHECK(w.member[LEAVER].group == NULL && world_agrees(&w));
    CHECK_UINT(sotto_group_proposal_count(w.member[0].group), 0);
}

static const struct test tests[] = {
    TEST(who_leaves_is_gone_with_the_next_commit),
    TEST(who_leaves_cannot_commit_it),
    TEST(one_leaves_once_in_an_epoch),
    TEST(leaving_wins_over_being_removed_and_updates),
    TEST(a_leave_survives_storing),
};
TEST_MAIN(tests)
