/* SPDX-License-Identifier: Apache-2.0 */
/* Which of many proposals a commit takes in, and how often it looks at them. */
#include "mls/group.h"
#include "mls/world.h"

#include "test.h"

#include "base/err.h"

#include <string.h>

#define SUITE_1 1U
#define FIRST   3U /* of those who are proposed */
#define MANY    (WORLD_MAX - FIRST)

/* Refuses some of the members, by number. */
struct service {
    uint64_t refused; /* bit i: member i */
    size_t asked;
};

static enum sotto_err answer(void *ctx, const struct sotto_credential *c,
                             const struct sotto_credential *before)
{
    struct service *s = ctx;
    unsigned member = (unsigned)c->identity.data[0] - 'A';
    (void)before;
    s->asked++;
    return (s->refused >> member & 1) != 0 ? SOTTO_ERR_AUTH : SOTTO_OK;
}

/* The second of three proposes to add the others, and the first hears it. */
static bool propose_others(struct world *w)
{
    for (size_t i = FIRST; i < WORLD_MAX; i++) {
        CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
        if (world_key_package(w, i) != SOTTO_OK)
            return false;
        const struct sotto_proposal p = {
            .kind = SOTTO_PROPOSE_ADD,
            .key_package = view_of(&w->member[i].key_package)};
        if (sotto_group_propose(w->member[1].group, &p, &message) != SOTTO_OK ||
            world_outcome(w, 0, &message) != SOTTO_PROPOSAL)
            return false;
    }
    return true;
}

static bool propose_all(struct world *w, uint64_t seed)
{
    return world_three(w, SUITE_1, seed) && propose_others(w);
}

static void employ(struct world *w, struct service *s)
{
    sotto_mls_set_credential_check(w->mls,
                                   (struct sotto_credential_check){answer, s});
}

/* Whom a commit of the first adds, as bits. */
static enum sotto_err commit_all(struct world *w, uint64_t *added)
{
    uint64_t who = 0;
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    struct sotto_group *g = w->member[0].group;
    const struct sotto_commit ask = {.use_pending = true};
    struct sotto_change change = {0};
    enum sotto_err err = sotto_group_commit(g, &ask, &out);
    *added = 0;
    for (size_t i = 0; err == SOTTO_OK; i++) {
        if (sotto_staged_change(sotto_group_pending(g), i, &change) != SOTTO_OK)
            break;
        if (change.kind != SOTTO_CHANGE_ADD)
            continue;
        who = UINT64_C(1) << (change.after.identity.data[0] - 'A');
        if ((*added & who) != 0) /* twice */
            err = SOTTO_ERR_INVALID;
        *added |= who;
    }
    sotto_group_drop_pending(g);
    return err;
}

static uint64_t all_proposed(void)
{
    return (UINT64_C(1) << WORLD_MAX) - (UINT64_C(1) << FIRST);
}

static void many_that_fit_are_looked_at_once(void)
{
    CLEANUP(world_close) struct world w = {0};
    struct service s = {0};
    uint64_t added = 0;
    CHECK(propose_all(&w, 1));
    employ(&w, &s);
    CHECK_UINT(commit_all(&w, &added), SOTTO_OK);
    CHECK_UINT(added, all_proposed());
    CHECK_UINT(s.asked, MANY);
}

static void one_that_does_not_fit_is_left_out(void)
{
    CLEANUP(world_close) struct world w = {0};
    struct service s = {0};
    uint64_t added = 0;
    CHECK(propose_all(&w, 2));
    employ(&w, &s);
    for (size_t i = FIRST; i < WORLD_MAX; i++) {
        s = (struct service){.refused = UINT64_C(1) << i};
        CHECK_UINT(commit_all(&w, &added), SOTTO_OK);
        CHECK_UINT(added, all_proposed() & ~s.refused);
        CHECK_UINT(s.asked, MANY);
    }
}

static void any_that_do_not_fit_are_left_out(void)
{
    CLEANUP(world_close) struct world w = {0};
    struct service s = {0};
    struct random random = {0};
    struct entropy_seeded drawn;
    uint64_t added = 0;
    CHECK(propose_all(&w, 3));
    employ(&w, &s);
    entropy_seed(&drawn, 3);
    random = entropy_of(&drawn);
    for (unsigned round = 0; round < 20; round++) {
        uint8_t bits[8];
        s.asked = 0;
        random_fill(&random, bits, sizeof(bits));
        s.refused = 0;
        for (size_t i = 0; i < sizeof(bits); i++)
            s.refused = s.refused << 8 | bits[i];
        if (round % 2 == 0) /* few, else half */
            s.refused &= s.refused >> 17 & s.refused >> 23;
        CHECK_UINT(commit_all(&w, &added), SOTTO_OK);
        CHECK_UINT(added, all_proposed() & ~s.refused);
        CHECK_UINT(s.asked, MANY);
    }
    s.refused = UINT64_MAX;
    CHECK_UINT(commit_all(&w, &added), SOTTO_OK);
    CHECK_UINT(added, 0);
}

/* Each is good by itself, and does not fit to the other of the same client. */
static void one_of_two_for_a_client_is_taken(void)
{
    CLEANUP(world_close) struct world w = {0};
    uint64_t added = 0;
    CHECK(propose_all(&w, 4));
    CHECK(propose_others(&w));
    CHECK_UINT(commit_all(&w, &added), SOTTO_OK);
    CHECK_UINT(added, all_proposed());
}

/* The last byte of a KeyPackage is of its signature. */
static void forged_ones_are_left_out(void)
{
    CLEANUP(world_close) struct world w = {0};
    uint64_t forged = 0;
    uint64_t added = 0;
    CHECK(propose_all(&w, 5));
    struct sotto_group *g = w.member[0].group;
    for (size_t i = 0; i < g->proposal_count; i += 2) {
        struct buf *raw = &g->proposals[i].raw;
        raw->data[raw->len - 1] ^= 1;
        forged |= UINT64_C(1) << (FIRST + i);
    }
    CHECK_UINT(commit_all(&w, &added), SOTTO_OK);
    CHECK_UINT(added, all_proposed() & ~forged);

    const struct digest *first = &g->proposals[0].ref;
    struct sotto_ref ref = {.len = first->len};
    memcpy(ref.data, first->data, first->len);
    const struct sotto_commit ask = {.refs = &ref, .ref_count = 1};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    CHECK_UINT(sotto_group_commit(g, &ask, &out), SOTTO_ERR_AUTH);
}

static const struct test tests[] = {
    TEST(many_that_fit_are_looked_at_once),
    TEST(one_that_does_not_fit_is_left_out),
    TEST(forged_ones_are_left_out),
    TEST(one_of_two_for_a_client_is_taken),
    TEST(any_that_do_not_fit_are_left_out),
};

TEST_MAIN(tests)
