/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Insiders: a commit that is broken for everyone is refused by everyone alike;
 * one that is broken for a subtree is applied by the others, and those below
 * it are told to rejoin (RFC 9420, section 16.12).
 */
#include "mls/evil.h"

#include "mls/world.h"

#include "test.h"

#define SUITE_1 1U
#define MEMBERS 8U

/* Eight members, all paths filled, so that the path of leaf 0 has three nodes
 * with copath subtrees {1}, {2, 3} and {4 .. 7}. */
static bool open_eight(struct world *w, uint64_t seed)
{
    struct sotto_commit ask = {0};
    if (world_open(w, SUITE_1, seed) != SOTTO_OK ||
        world_found(w, 0) != SOTTO_OK ||
        world_add(w, 0, 1, MEMBERS) != SOTTO_OK)
        return false;
    for (size_t i = 0; i < MEMBERS; i++)
        if (world_commit(w, i, &ask, NULL, 0) != SOTTO_OK)
            return false;
    return world_agrees(w);
}

static enum sotto_err break_commit(struct world *w, enum evil_kind kind,
                                   uint32_t leaf, struct sotto_commit_out *out)
{
    struct sotto_commit ask = {0};
    evil_next_commit(kind, leaf);
    return sotto_group_commit(w->member[0].group, &ask, out);
}

static void what_all_see_is_refused_by_all_alike(void)
{
    static const struct {
        enum evil_kind kind;
        enum sotto_err err;
    } rows[] = {
        {EVIL_LEAF, SOTTO_ERR_AUTH},
        {EVIL_TAG, SOTTO_ERR_AUTH},
    };
    for (size_t r = 0; r < COUNT(rows); r++) {
        CLEANUP(world_close) struct world w = {0};
        CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
        CHECK(open_eight(&w, r));
        uint64_t epoch = sotto_group_epoch(w.member[0].group);
        CHECK_UINT(break_commit(&w, rows[r].kind, 0, &out), SOTTO_OK);
        for (size_t i = 1; i < MEMBERS; i++) {
            enum sotto_outcome outcome = 0;
            CHECK_UINT(world_take(&w, i, view_of(&out.message), &outcome),
                       rows[r].err);
            CHECK_UINT(sotto_group_epoch(w.member[i].group), epoch);
        }
        /* The channel moves on: the next commit is by somebody else. */
        struct sotto_commit ask = {0};
        sotto_group_drop_pending(w.member[0].group);
        CHECK_UINT(world_commit(&w, 5, &ask, NULL, 0), SOTTO_OK);
        CHECK(world_agrees(&w));
    }
}

/* So that a caller can apply rules of its own, as those who can apply it do. */
static void what_cannot_be_applied_can_be_looked_at(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    CLEANUP(sotto_result_free) struct sotto_result result = {0};
    CHECK(open_eight(&w, 20));
    CHECK_UINT(break_commit(&w, EVIL_SUBTREE, 5, &out), SOTTO_OK);
    struct sotto_group *g = w.member[5].group;
    uint64_t epoch = sotto_group_epoch(g);
    CHECK_UINT(sotto_group_process(g, view_of(&out.message), &result),
               SOTTO_OK);
    CHECK_UINT(result.outcome, SOTTO_CANNOT_APPLY);
    struct sotto_change change = {0};
    struct sotto_leaf leaf = {0};
    CHECK_UINT(sotto_staged_change(result.staged, 0, &change), SOTTO_OK);
    CHECK_UINT(change.kind, SOTTO_CHANGE_PATH);
    CHECK_UINT(sotto_staged_member(result.staged, 5, &leaf), SOTTO_OK);
    CHECK_UINT(sotto_staged_leaf_count(result.staged), MEMBERS);
    CHECK_UINT(sotto_group_merge(g, &result.staged), SOTTO_ERR_STATE);
    CHECK_UINT(sotto_group_epoch(g), epoch);
}

static void a_broken_subtree_rejoins_and_the_rest_goes_on(void)
{
    static const struct {
        uint32_t target, first, last; /* whose share is broken */
    } rows[] = {{1, 1, 1}, {3, 2, 3}, {6, 4, 7}};

    for (size_t r = 0; r < COUNT(rows); r++) {
        CLEANUP(world_close) struct world w = {0};
        CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
        CHECK(open_eight(&w, 10 + r));
        uint64_t epoch = sotto_group_epoch(w.member[0].group);
        CHECK_UINT(break_commit(&w, EVIL_SUBTREE, rows[r].target, &out),
                   SOTTO_OK);
        for (size_t i = 0; i < MEMBERS; i++) {
            enum sotto_outcome outcome = 0;
            bool broken = i >= rows[r].first && i <= rows[r].last;
            CHECK_UINT(world_take(&w, i, view_of(&out.message), &outcome),
                       SOTTO_OK);
            CHECK_UINT(outcome, i == 0   ? SOTTO_OWN_COMMIT
                                : broken ? SOTTO_CANNOT_APPLY
                                         : SOTTO_COMMIT);
            CHECK_UINT(sotto_group_epoch(w.member[i].group),
                       broken ? epoch : epoch + 1);
        }

        /* Somebody removes and adds again those that were cut off. */
        size_t back[MEMBERS];
        uint32_t gone[MEMBERS];
        struct sotto_bytes adds[MEMBERS];
        size_t n = 0;
        for (uint32_t i = rows[r].first; i <= rows[r].last; i++, n++) {
            CHECK_UINT(world_key_package(&w, i), SOTTO_OK);
            sotto_group_free(&w.member[i].group);
            back[n] = i;
            gone[n] = i;
            adds[n] = view_of(&w.member[i].key_package);
        }
        struct sotto_commit ask = {
            .adds = adds, .add_count = n, .removes = gone, .remove_count = n};
        CHECK_UINT(world_commit(&w, 0, &ask, back, n), SOTTO_OK);
        CHECK_UINT(world_in_group(&w), MEMBERS);
        CHECK(world_agrees(&w));
    }
}

/* Whoever is in the group can write messages in the name of another one and
 * with its keys. Its state is an old copy only if its signature is there. */
static void a_forged_own_message_does_not_make_a_state_look_old(void)
{
    const uint32_t generations[] = {0, 2, 3}; /* used; next; a later one */
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf first = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf second = {0};
    CHECK(open_eight(&w, 20));
    struct sotto_group *victim = w.member[3].group;
    CHECK_UINT(
        sotto_group_protect(victim, text_of(""), text_of("1"), 0, &first),
        SOTTO_OK);
    CHECK_UINT(
        sotto_group_protect(victim, text_of(""), text_of("2"), 0, &second),
        SOTTO_OK);
    for (size_t i = 0; i < COUNT(generations); i++) {
        CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
        CLEANUP(sotto_result_free) struct sotto_result result = {0};
        evil_next_sender(3, generations[i]);
        CHECK_UINT(sotto_group_protect(w.member[0].group, text_of(""),
                                       text_of("forged"), 0, &message),
                   SOTTO_OK);
        enum sotto_err err =
            sotto_group_process(victim, view_of(&message), &result);
        if (generations[i] >= 2) {
            CHECK_UINT(err, SOTTO_ERR_AUTH);
        } else {
            CHECK_UINT(err, SOTTO_OK);
            CHECK_UINT(result.outcome, SOTTO_DUPLICATE);
        }
        CHECK_UINT(world_outcome(&w, 5, &message), 0);
    }
    CHECK_UINT(world_outcome(&w, 5, &first), SOTTO_APPLICATION);
}

static void a_forged_own_commit_does_not_make_a_state_look_old(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    CLEANUP(sotto_result_free) struct sotto_result result = {0};
    struct sotto_commit ask = {0};
    CHECK(open_eight(&w, 21));
    evil_next_sender(3, 0);
    CHECK_UINT(sotto_group_commit(w.member[0].group, &ask, &out), SOTTO_OK);
    for (size_t i = 1; i < MEMBERS; i++)
        CHECK_UINT(sotto_group_process(w.member[i].group, view_of(&out.message),
                                       &result),
                   SOTTO_ERR_AUTH);
}

/* The keys of a leaf that is blank are there for all, and count for nobody
 * (RFC 9420, section 6.3.2). */
static void nobody_speaks_from_a_blank_leaf(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
    enum sotto_outcome outcome = 0;
    uint32_t leaf = 3;
    struct sotto_commit ask = {.removes = &leaf, .remove_count = 1};
    CHECK(open_eight(&w, 23));
    CHECK_UINT(world_commit(&w, 0, &ask, NULL, 0), SOTTO_OK);
    evil_next_sender(leaf, 0);
    CHECK_UINT(sotto_group_protect(w.member[0].group, text_of(""),
                                   text_of("boo"), 0, &message),
               SOTTO_OK);
    CHECK_UINT(world_take(&w, 5, view_of(&message), &outcome),
               SOTTO_ERR_INVALID);
}

/* The state is put back, and meets what it sent after the copy was made. */
static void an_old_copy_knows_its_later_messages(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf said = {0};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    struct sotto_commit ask = {0};
    CHECK(open_eight(&w, 22));
    struct member *m = &w.member[3];
    struct sotto_store store = memory_store_of(&m->store);
    CHECK_UINT(sotto_group_save(m->group, &store), SOTTO_OK);
    CHECK_UINT(
        sotto_group_protect(m->group, text_of(""), text_of("late"), 0, &said),
        SOTTO_OK);
    CHECK_UINT(sotto_group_commit(m->group, &ask, &out), SOTTO_OK);
    sotto_group_free(&m->group);
    CHECK_UINT(sotto_group_load(w.mls, &store, &m->group), SOTTO_OK);
    CHECK_UINT(world_outcome(&w, 3, &said), SOTTO_OWN_MESSAGE);
    CHECK_UINT(world_outcome(&w, 3, &out.message), SOTTO_OWN_MESSAGE);
}

/* ---- From outside ---- */

/* Member i of the world, who is not in the group, makes an external commit. */
static enum sotto_err join_external(struct world *w, size_t i,
                                    struct sotto_buf *message)
{
    CLEANUP(sotto_buf_free) struct sotto_buf info = {0};
    CLEANUP(sotto_group_free) struct sotto_group *g = NULL;
    struct sotto_identity id = world_identity(w, i);
    enum sotto_err err = sotto_group_info(w->member[0].group, true, &info);
    struct sotto_external_join ask = {.identity = &id,
                                      .group_info = view_of(&info)};
    return err != SOTTO_OK
               ? err
               : sotto_group_join_external(w->mls, &ask, message, &g);
}

static bool all_refuse(struct world *w, const struct sotto_buf *message,
                       size_t from, enum sotto_err err)
{
    uint64_t epoch = sotto_group_epoch(w->member[0].group);
    bool ok = true;
    for (size_t i = from; ok && i < MEMBERS; i++) {
        enum sotto_outcome outcome = 0;
        ok = world_take(w, i, view_of(message), &outcome) == err &&
             sotto_group_epoch(w->member[i].group) == epoch;
    }
    return ok;
}

static void a_broken_joiner_is_refused_by_all_alike(void)
{
    static const struct {
        enum evil_kind kind;
        size_t who;
        enum sotto_err err;
    } rows[] = {
        {EVIL_LEAF, MEMBERS, SOTTO_ERR_AUTH},
        {EVIL_TAG, MEMBERS, SOTTO_ERR_AUTH},
        {EVIL_KEM, MEMBERS, SOTTO_ERR_INVALID},
        {EVIL_TWIN, 3, SOTTO_ERR_INVALID}, /* as a second self of a member */
    };
    CLEANUP(world_close) struct world w = {0};
    CHECK(open_eight(&w, 30));
    for (size_t r = 0; r < COUNT(rows); r++) {
        CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
        evil_next_commit(rows[r].kind, 0);
        CHECK_UINT(join_external(&w, rows[r].who, &message), SOTTO_OK);
        CHECK(all_refuse(&w, &message, 0, rows[r].err));
    }
    CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
    CHECK_UINT(join_external(&w, MEMBERS, &message), SOTTO_OK);
    CHECK_UINT(world_spread(&w, view_of(&message)), SOTTO_OK);
    CHECK(world_agrees(&w));
}

static void a_joiner_that_breaks_a_subtree_cuts_off_that_subtree(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
    CHECK(open_eight(&w, 31));
    evil_next_commit(EVIL_SUBTREE, 5); /* all eight are one subtree */
    CHECK_UINT(join_external(&w, MEMBERS, &message), SOTTO_OK);
    for (size_t i = 0; i < MEMBERS; i++)
        CHECK_UINT(world_outcome(&w, i, &message), SOTTO_CANNOT_APPLY);
}

/* ---- What a commit may hold ---- */

struct item {
    struct buf encoded;
};

static void item_clear(struct item *item) { buf_clear(&item->encoded); }

static bool item_set(struct item *item, const struct proposal_or_ref *p)
{
    buf_clear(&item->encoded);
    item->encoded = buf_new(MLS_MESSAGE_MAX);
    struct writer w = writer_to(&item->encoded);
    proposal_or_ref_write(&w, p);
    return writer_finish(&w) == OK;
}

#define BY_VALUE(...)               \
    {                               \
        .proposal = { __VA_ARGS__ } \
    }

static void lists_that_break_a_rule_are_refused(void)
{
    static const uint8_t zeros[32] = {0};
    struct bytes nonce = BYTES_ARRAY(zeros);
    struct psk_id link = {.type = PSK_RESUMPTION,
                          .usage = PSK_REINIT,
                          .group_id = BYTES_LIT("group id"),
                          .epoch = 1,
                          .nonce = nonce};
    struct psk_id branch = link;
    branch.usage = PSK_BRANCH;
    struct psk_id short_nonce = {
        .type = PSK_EXTERNAL, .id = BYTES_LIT("id"), .nonce = {zeros, 31}};
    struct reinit reinit = {BYTES_LIT("next"), MLS_VERSION_10, SUITE_1, {0}};
    const struct {
        bool external;
        struct proposal_or_ref p;
    } rows[] = {
        {false, BY_VALUE(PROPOSAL_EXTERNAL_INIT, .kem_output = nonce)},
        {false, BY_VALUE(PROPOSAL_PSK, .psk = link)},
        {false, BY_VALUE(PROPOSAL_PSK, .psk = branch)},
        {false, BY_VALUE(PROPOSAL_PSK, .psk = short_nonce)},
        {false, BY_VALUE(PROPOSAL_REINIT, .reinit = reinit)},
        {true, BY_VALUE(PROPOSAL_EXTERNAL_INIT, .kem_output = nonce)},
        {true, BY_VALUE(PROPOSAL_PSK, .psk = link)},
        {true, BY_VALUE(PROPOSAL_PSK, .psk = branch)},
        {true, BY_VALUE(PROPOSAL_REINIT, .reinit = reinit)},
        {true, BY_VALUE(PROPOSAL_GROUP_CONTEXT_EXTENSIONS, .remove = 0)},
        {true, BY_VALUE(PROPOSAL_REMOVE, .remove = 77)},
        {true, BY_VALUE(PROPOSAL_SELF_REMOVE, .remove = 0)},
        {true, {.by_reference = true, .reference = nonce}},
    };
    for (size_t r = 0; r < COUNT(rows); r++) {
        CLEANUP(world_close) struct world w = {0};
        CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
        CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
        CLEANUP(item_clear) struct item item = {0};
        const uint32_t gone = 7;
        struct sotto_commit ask = {.removes = &gone, .remove_count = 1};
        CHECK(open_eight(&w, 40 + r));
        CHECK(item_set(&item, &rows[r].p));
        evil_next_proposal(buf_bytes(&item.encoded));
        if (rows[r].external) {
            CHECK_UINT(join_external(&w, MEMBERS, &message), SOTTO_OK);
            CHECK(all_refuse(&w, &message, 0, SOTTO_ERR_INVALID));
        } else {
            CHECK_UINT(sotto_group_commit(w.member[0].group, &ask, &out),
                       SOTTO_OK);
            CHECK(all_refuse(&w, &out.message, 1, SOTTO_ERR_INVALID));
        }
    }
}

/* "The Commit MUST NOT include any proposals by reference": one that all
 * members keep, and that would fit otherwise. */
static void a_joiner_takes_in_nothing_that_was_proposed(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf proposal = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
    CLEANUP(item_clear) struct item item = {0};
    struct sotto_proposal remove = {.kind = SOTTO_PROPOSE_REMOVE, .leaf = 2};
    struct sotto_ref ref = {0};
    CHECK(open_eight(&w, 60));
    CHECK_UINT(sotto_group_propose(w.member[1].group, &remove, &proposal),
               SOTTO_OK);
    for (size_t i = 0; i < MEMBERS; i++) {
        CLEANUP(sotto_result_free) struct sotto_result r = {0};
        CHECK_UINT(
            sotto_group_process(w.member[i].group, view_of(&proposal), &r),
            SOTTO_OK);
        ref = r.ref;
    }
    struct proposal_or_ref p = {.by_reference = true,
                                .reference = {ref.data, ref.len}};
    CHECK(item_set(&item, &p));
    evil_next_proposal(buf_bytes(&item.encoded));
    CHECK_UINT(join_external(&w, MEMBERS, &message), SOTTO_OK);
    CHECK(all_refuse(&w, &message, 0, SOTTO_ERR_INVALID));
}

static const struct test tests[] = {
    TEST(what_all_see_is_refused_by_all_alike),
    TEST(what_cannot_be_applied_can_be_looked_at),
    TEST(a_broken_subtree_rejoins_and_the_rest_goes_on),
    TEST(a_forged_own_message_does_not_make_a_state_look_old),
    TEST(a_forged_own_commit_does_not_make_a_state_look_old),
    TEST(nobody_speaks_from_a_blank_leaf),
    TEST(an_old_copy_knows_its_later_messages),
    TEST(a_broken_joiner_is_refused_by_all_alike),
    TEST(a_joiner_that_breaks_a_subtree_cuts_off_that_subtree),
    TEST(lists_that_break_a_rule_are_refused),
    TEST(a_joiner_takes_in_nothing_that_was_proposed),
};
TEST_MAIN(tests)
