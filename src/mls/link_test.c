/* SPDX-License-Identifier: Apache-2.0 */
/* Reinitialization and branching (RFC 9420, sections 11.2 and 11.3), and the
 * resumption PSKs that bind groups together. */
#include "mls/link.h"
#include "mls/world.h"

#include "test.h"

#include "base/bytes.h"
#include "base/err.h"

#define SUITE_1 1U /* X25519, AES-128, SHA-256, Ed25519: the fastest */
#define SUITE_3 3U /* the same signatures, so that identities stay */

static bool same(struct sotto_bytes a, struct sotto_bytes b)
{
    return bytes_equal((struct bytes){a.data, a.len},
                       (struct bytes){b.data, b.len});
}

static struct sotto_extension_list name_of_group(const char *name,
                                                 struct sotto_extension *e)
{
    *e = (struct sotto_extension){WORLD_EXT, text_of(name)};
    return (struct sotto_extension_list){e, 1};
}

/* Members 0 to 2 in a group that a ReInit to suite 3 has ended. */
static bool end_group(struct world *w, uint64_t seed)
{
    struct sotto_extension e;
    struct sotto_reinit next = {text_of("new id"), SUITE_3,
                                name_of_group("anew", &e)};
    struct sotto_commit ask = {.reinit = &next, .no_path = seed % 2 == 0};
    return world_three(w, SUITE_1, seed) &&
           world_commit(w, 1, &ask, NULL, 0) == SOTTO_OK;
}

/* What follows from the group of the world, and its members' views of it. */
struct next {
    bool branch;
    struct sotto_identity identity;
    struct sotto_bytes adds[WORLD_MAX];
    struct sotto_link link;
    struct sotto_commit_out commit;
    struct sotto_group *group[WORLD_MAX];
};

static void next_clear(struct next *n)
{
    sotto_commit_out_free(&n->commit);
    for (size_t i = 0; i < WORLD_MAX; i++)
        sotto_group_free(&n->group[i]);
}

/* Member `by` makes the new group, with first..last-1 but itself. */
static enum sotto_err make(struct world *w, size_t by, size_t first,
                           size_t last, struct next *n)
{
    next_clear(n);
    n->identity = world_identity(w, by);
    n->link.from = w->member[by].group;
    n->link.identity = &n->identity;
    n->link.adds = n->adds;
    n->link.add_count = 0;
    for (size_t i = first; i < last; i++) {
        enum sotto_err err = SOTTO_OK;
        if (i == by)
            continue;
        err = world_key_package(w, i);
        if (err != SOTTO_OK)
            return err;
        n->adds[n->link.add_count++] = view_of(&w->member[i].key_package);
    }
    if (n->branch)
        return sotto_group_branch(w->mls, &n->link, &n->commit, &n->group[by]);
    n->identity.suite = w->suite;
    return sotto_group_reinitialize(w->mls, &n->link, &n->commit,
                                    &n->group[by]);
}

/* Member i follows, with the old groups that it is given. */
static enum sotto_err follow(struct world *w, size_t i, struct next *n,
                             struct sotto_group_list groups)
{
    struct sotto_join join = {.welcome = view_of(&n->commit.welcome),
                              .key_package_private =
                                  view_of(&w->member[i].key_package_private),
                              .ratchet_tree = view_of(&n->commit.ratchet_tree),
                              .groups = groups,
                              .members_unchecked = n->link.members_unchecked};
    sotto_group_free(&n->group[i]);
    return sotto_group_join(w->mls, &join, &n->group[i]);
}

static enum sotto_err follow_from(struct world *w, size_t i, struct next *n)
{
    const struct sotto_group *const old[] = {w->member[i].group};
    return follow(w, i, n, (struct sotto_group_list){old, 1});
}

static bool agree(const struct sotto_group *a, const struct sotto_group *b)
{
    return sotto_group_epoch(a) == sotto_group_epoch(b) &&
           same(sotto_group_epoch_authenticator(a),
                sotto_group_epoch_authenticator(b));
}

static bool all_follow(struct world *w, size_t by, struct next *n, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (i != by && (follow_from(w, i, n) != SOTTO_OK ||
                        !agree(n->group[i], n->group[by])))
            return false;
    return true;
}

/* A commit of member 0 in the new group, which the others take. */
static bool works(struct world *w, struct next *n, size_t count)
{
    struct sotto_group *old[WORLD_MAX];
    struct sotto_commit ask = {0};
    bool ok = true;
    for (size_t i = 0; i < WORLD_MAX; i++) {
        old[i] = w->member[i].group;
        w->member[i].group = n->group[i];
        memory_store_clear(&w->member[i].store);
    }
    for (size_t i = 0; ok && i < count; i++)
        ok = world_reload(w, i) == SOTTO_OK &&
             world_commit(w, i, &ask, NULL, 0) == SOTTO_OK && world_agrees(w);
    for (size_t i = 0; i < WORLD_MAX; i++) {
        n->group[i] = w->member[i].group;
        w->member[i].group = old[i];
        memory_store_clear(&w->member[i].store);
    }
    return ok;
}

/* ---- Reinitialization ---- */

static void a_reinit_ends_the_group(void)
{
    CLEANUP(world_close) struct world w = {0};
    CHECK(end_group(&w, 1));
    CHECK(world_agrees(&w));
    for (size_t i = 0; i < 3; i++) {
        CLEANUP(sotto_buf_free) struct sotto_buf out = {0};
        CLEANUP(sotto_commit_out_free) struct sotto_commit_out commit = {0};
        struct sotto_group *g = w.member[i].group;
        struct sotto_commit ask = {0};
        struct sotto_proposal update = {.kind = SOTTO_PROPOSE_UPDATE};
        struct sotto_reinit_view view;
        CHECK(!sotto_group_active(g));
        CHECK_UINT(sotto_group_protect(g, text_of(""), text_of("x"), 0, &out),
                   SOTTO_ERR_STATE);
        CHECK_UINT(sotto_group_propose(g, &update, &out), SOTTO_ERR_STATE);
        CHECK_UINT(sotto_group_commit(g, &ask, &commit), SOTTO_ERR_STATE);
        CHECK_UINT(sotto_group_export(g, "a", text_of(""), 16, &out),
                   SOTTO_ERR_STATE);
        CHECK_UINT(sotto_group_info(g, true, &out), SOTTO_ERR_STATE);
        CHECK_UINT(world_reload(&w, i), SOTTO_OK);
        g = w.member[i].group;
        CHECK_UINT(sotto_group_reinit(g, &view), SOTTO_OK);
        CHECK(same(view.group_id, text_of("new id")));
        CHECK_UINT(view.version, 1);
        CHECK_UINT(view.suite, SUITE_3);
        struct sotto_bytes name = {0};
        CHECK_UINT(sotto_extension_find(view.extensions, WORLD_EXT, &name),
                   SOTTO_OK);
        CHECK(same(name, text_of("anew")));
        CHECK(!sotto_group_active(g));
    }
    CHECK(world_agrees(&w));
}

/* By one who neither proposed nor committed the ReInit, after a restart. */
static void anybody_can_make_the_group_that_follows(void)
{
    for (size_t by = 0; by < 3; by++) {
        CLEANUP(world_close) struct world w = {0};
        CLEANUP(next_clear) struct next n = {.link = {.tree_outside = by == 2}};
        CHECK(end_group(&w, by));
        for (size_t i = 0; i < 3; i++)
            CHECK_UINT(world_reload(&w, i), SOTTO_OK);
        w.suite = SUITE_3;
        CHECK_UINT(make(&w, by, 0, 3, &n), SOTTO_OK);
        CHECK_UINT(n.commit.message.len, 0);
        CHECK_UINT(sotto_group_epoch(n.group[by]), 1);
        CHECK_UINT(sotto_group_suite(n.group[by]), SUITE_3);
        CHECK(same(sotto_group_id(n.group[by]), text_of("new id")));
        CHECK(all_follow(&w, by, &n, 3));
        CHECK(works(&w, &n, 3));
    }
}

static void a_proposed_reinit_is_taken_when_it_is_asked_for(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
    struct sotto_extension e;
    struct sotto_reinit next = {text_of("new id"), SUITE_1,
                                name_of_group("anew", &e)};
    struct sotto_proposal p = {.kind = SOTTO_PROPOSE_REINIT, .reinit = &next};
    struct sotto_commit pending = {.use_pending = true};
    struct sotto_ref ref = {0};
    CHECK(world_three(&w, SUITE_1, 3));
    for (int round = 0; round < 2; round++) {
        sotto_buf_free(&message);
        CHECK_UINT(sotto_group_propose(w.member[2].group, &p, &message),
                   SOTTO_OK);
        for (size_t i = 0; i < 3; i++) {
            CLEANUP(sotto_result_free) struct sotto_result r = {0};
            CHECK_UINT(
                sotto_group_process(w.member[i].group, view_of(&message), &r),
                SOTTO_OK);
            CHECK_UINT(r.outcome, SOTTO_PROPOSAL);
            ref = r.ref;
        }
        if (round == 0)
            CHECK_UINT(world_commit(&w, 1, &pending, NULL, 0), SOTTO_OK);
        CHECK(sotto_group_active(w.member[0].group));
    }
    /* With something else it does not fit. */
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    const uint32_t gone = 2;
    struct sotto_commit both = {
        .refs = &ref, .ref_count = 1, .removes = &gone, .remove_count = 1};
    CHECK_UINT(sotto_group_commit(w.member[1].group, &both, &out),
               SOTTO_ERR_INVALID);
    struct sotto_commit twice = {.refs = &ref, .ref_count = 1, .reinit = &next};
    CHECK_UINT(sotto_group_commit(w.member[1].group, &twice, &out),
               SOTTO_ERR_INVALID);
    struct sotto_commit asked = {
        .use_pending = true, .refs = &ref, .ref_count = 1};
    CHECK_UINT(world_commit(&w, 1, &asked, NULL, 0), SOTTO_OK);
    for (size_t i = 0; i < 3; i++)
        CHECK(!sotto_group_active(w.member[i].group));
    CHECK(world_agrees(&w));
}

static void a_pending_reinit_survives_storing(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    struct sotto_change change;
    struct sotto_reinit next = {.group_id = text_of("new id"),
                                .suite = SUITE_1};
    struct sotto_commit ask = {.reinit = &next};
    CHECK(world_three(&w, SUITE_1, 4));
    CHECK_UINT(sotto_group_commit(w.member[0].group, &ask, &out), SOTTO_OK);
    CHECK_UINT(world_reload(&w, 0), SOTTO_OK);
    const struct sotto_staged *pending = sotto_group_pending(w.member[0].group);
    CHECK_UINT(sotto_staged_change(pending, 0, &change), SOTTO_OK);
    CHECK_UINT(change.kind, SOTTO_CHANGE_REINIT);
    CHECK(same(change.reinit.group_id, text_of("new id")));
    CHECK_UINT(world_spread(&w, view_of(&out.message)), SOTTO_OK);
    CHECK(!sotto_group_active(w.member[0].group));
    CHECK(world_agrees(&w));
}

static void who_follows_needs_the_old_group(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(next_clear) struct next n = {0};
    struct sotto_group_list none = {0};
    CHECK(end_group(&w, 5));
    w.suite = SUITE_3;
    CHECK_UINT(make(&w, 0, 0, 3, &n), SOTTO_OK);
    CHECK_UINT(follow(&w, 1, &n, none), SOTTO_ERR_NOTFOUND);
    CHECK_UINT(follow_from(&w, 1, &n), SOTTO_OK);
}

/* Whoever has the KeyPackages can name a group as the ReInit did. */
static void a_group_of_the_announced_id_must_be_bound(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(next_clear) struct next n = {0};
    struct sotto_extension e;
    CHECK(end_group(&w, 6));
    w.suite = SUITE_3;
    n.identity = world_identity(&w, 5);
    CHECK_UINT(world_key_package(&w, 1), SOTTO_OK);
    CHECK_UINT(sotto_group_create(w.mls, &n.identity, text_of("new id"),
                                  name_of_group("anew", &e), &n.group[5]),
               SOTTO_OK);
    struct sotto_bytes add = view_of(&w.member[1].key_package);
    struct sotto_commit ask = {.adds = &add, .add_count = 1};
    CHECK_UINT(sotto_group_commit(n.group[5], &ask, &n.commit), SOTTO_OK);
    CHECK_UINT(follow_from(&w, 1, &n), SOTTO_ERR_INVALID);
    CHECK_UINT(follow(&w, 1, &n, (struct sotto_group_list){0}), SOTTO_OK);
}

static void all_members_have_to_follow(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(next_clear) struct next n = {0};
    CHECK(end_group(&w, 7));
    w.suite = SUITE_3;
    CHECK_UINT(make(&w, 0, 0, 2, &n), SOTTO_ERR_INVALID);
    n.link.members_unchecked = true;
    CHECK_UINT(make(&w, 0, 0, 2, &n), SOTTO_OK);
    CHECK_UINT(follow_from(&w, 1, &n), SOTTO_OK);
    n.link.members_unchecked = false;
    CHECK_UINT(follow_from(&w, 1, &n), SOTTO_ERR_INVALID);
    CHECK_UINT(make(&w, 0, 0, 4, &n), SOTTO_OK); /* one more is no harm */
    CHECK_UINT(follow_from(&w, 3, &n), SOTTO_ERR_USAGE);
    w.suite = SUITE_1;
    CHECK_UINT(make(&w, 0, 0, 3, &n), SOTTO_ERR_INVALID); /* not as announced */
}

/* Each thing that a ReInit announces, and the epoch in which it did. */
static void a_group_that_follows_is_what_was_announced(void)
{
    CLEANUP(world_close) struct world w = {0};
    CHECK(end_group(&w, 16));
    const struct sotto_group *old = w.member[0].group;
    const struct reinit *r = group_reinit(old);
    CHECK(r != NULL);
    const struct group_context right = {.version = r->version,
                                        .cipher_suite = r->cipher_suite,
                                        .group_id = r->group_id,
                                        .epoch = 1,
                                        .extensions = r->extensions};
    const struct psk_id psk = {.type = PSK_RESUMPTION,
                               .usage = PSK_REINIT,
                               .group_id = old->epoch.fields.group_id,
                               .epoch = old->epoch.fields.epoch};
    for (int fault = 0; fault < 7; fault++) {
        struct group_context next = right;
        struct psk_id id = psk;
        if (fault == 1)
            next.version = 2;
        if (fault == 2)
            next.cipher_suite = SUITE_1;
        next.epoch += fault == 3;
        id.epoch -= fault == 4;
        if (fault == 5)
            next.group_id = LIT("another id");
        if (fault == 6)
            next.extensions = LIT("");
        struct link_case at = {old, &id, false};
        CHECK_UINT(link_check(&at, &next, old->epoch.tree),
                   fault == 0 ? OK : ERR_INVALID);
    }
}

static void a_group_that_goes_on_has_no_successor(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(next_clear) struct next n = {0};
    struct sotto_reinit_view view;
    CHECK(world_three(&w, SUITE_1, 8));
    CHECK_UINT(sotto_group_reinit(w.member[0].group, &view),
               SOTTO_ERR_NOTFOUND);
    CHECK_UINT(make(&w, 0, 0, 3, &n), SOTTO_ERR_STATE);
    world_close(&w);
    CHECK(end_group(&w, 9));
    n.branch = true;
    CHECK_UINT(make(&w, 0, 0, 3, &n), SOTTO_ERR_STATE);
}

/* ---- Branching ---- */

static void some_members_branch_off(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(next_clear)
    struct next n = {.branch = true, .link = {.group_id = text_of("branch")}};
    struct sotto_commit ask = {0};
    CHECK_UINT(world_open(&w, SUITE_1, 10), SOTTO_OK);
    CHECK_UINT(world_found(&w, 0), SOTTO_OK);
    CHECK_UINT(world_add(&w, 0, 1, 6), SOTTO_OK);
    CHECK_UINT(make(&w, 1, 0, 4, &n), SOTTO_OK);
    CHECK(same(sotto_group_id(n.group[1]), text_of("branch")));
    CHECK(same(sotto_group_extensions(n.group[1]),
               sotto_group_extensions(w.member[1].group)));
    /* The old group goes on before they join. */
    CHECK_UINT(world_commit(&w, 5, &ask, NULL, 0), SOTTO_OK);
    CHECK_UINT(world_reload(&w, 2), SOTTO_OK);
    CHECK(all_follow(&w, 1, &n, 4));
    CHECK(works(&w, &n, 4));
    CHECK(world_agrees(&w));
}

static void a_branch_has_no_strangers_and_the_same_suite(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(next_clear)
    struct next n = {.branch = true, .link = {.group_id = text_of("branch")}};
    CHECK(world_three(&w, SUITE_1, 11));
    CHECK_UINT(make(&w, 0, 0, 4, &n), SOTTO_ERR_INVALID);
    n.link.members_unchecked = true;
    CHECK_UINT(make(&w, 0, 0, 4, &n), SOTTO_OK);
    n.link.members_unchecked = false;
    CHECK_UINT(follow_from(&w, 1, &n), SOTTO_ERR_INVALID);
    CHECK_UINT(follow(&w, 1, &n, (struct sotto_group_list){0}),
               SOTTO_ERR_NOTFOUND);
    w.suite = SUITE_3;
    CHECK_UINT(make(&w, 0, 0, 2, &n), SOTTO_ERR_INVALID);
}

/* ---- Resumption PSKs ---- */

static void resumption_psks_are_part_of_the_epoch(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    struct sotto_commit plain = {0};
    CHECK(world_three(&w, SUITE_1, 12));
    CHECK_UINT(world_commit(&w, 0, &plain, NULL, 0), SOTTO_OK);
    uint64_t past = sotto_group_epoch(w.member[0].group) - 1;
    for (uint64_t i = 1; i < SOTTO_RESUMPTION_MAX; i++)
        CHECK_UINT(world_commit(&w, i % 3, &plain, NULL, 0), SOTTO_OK);
    for (size_t i = 0; i < 3; i++)
        CHECK_UINT(world_reload(&w, i), SOTTO_OK);
    struct sotto_resumption names[] = {
        {.epoch = past}, {.epoch = sotto_group_epoch(w.member[0].group)}};
    struct sotto_commit ask = {.resumptions = names, .resumption_count = 2};
    CHECK_UINT(world_commit(&w, 1, &ask, NULL, 0), SOTTO_OK);
    CHECK(world_agrees(&w));
    /* Now the oldest is gone; and who came later does not have the next. */
    CHECK_UINT(sotto_group_commit(w.member[1].group, &ask, &out),
               SOTTO_ERR_NOTFOUND);
    CHECK_UINT(world_add(&w, 0, 3, 4), SOTTO_OK);
    names[0].epoch = past + 3;
    CHECK_UINT(sotto_group_commit(w.member[1].group, &ask, &out), SOTTO_OK);
    CHECK_UINT(world_outcome(&w, 3, &out.message), SOTTO_CANNOT_APPLY);
    CHECK_UINT(world_outcome(&w, 0, &out.message), SOTTO_COMMIT);
}

static void a_group_can_use_the_psk_of_another(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(next_clear)
    struct next n = {.branch = true, .link = {.group_id = text_of("branch")}};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    CLEANUP(sotto_result_free) struct sotto_result r = {0};
    struct sotto_change change;
    CHECK(world_three(&w, SUITE_1, 13));
    CHECK_UINT(make(&w, 0, 0, 3, &n), SOTTO_OK);
    CHECK(all_follow(&w, 0, &n, 3));
    struct sotto_resumption name = {text_of("branch"), 1};
    struct sotto_proposal p = {.kind = SOTTO_PROPOSE_RESUMPTION,
                               .resumption = name};
    CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
    struct sotto_commit ask = {.use_pending = true};
    CHECK_UINT(sotto_group_propose(w.member[2].group, &p, &message), SOTTO_OK);
    for (size_t i = 0; i < 3; i++)
        CHECK_UINT(world_outcome(&w, i, &message), SOTTO_PROPOSAL);
    CHECK_UINT(sotto_group_offer_resumption(w.member[0].group, n.group[0], 2),
               SOTTO_ERR_NOTFOUND);
    CHECK_UINT(sotto_group_commit(w.member[0].group, &ask, &out),
               SOTTO_ERR_NOTFOUND);
    for (size_t i = 0; i < 2; i++)
        CHECK_UINT(
            sotto_group_offer_resumption(w.member[i].group, n.group[i], 1),
            SOTTO_OK);
    CHECK_UINT(sotto_group_commit(w.member[0].group, &ask, &out), SOTTO_OK);
    CHECK_UINT(world_outcome(&w, 2, &out.message), SOTTO_CANNOT_APPLY);
    CHECK_UINT(
        sotto_group_process(w.member[1].group, view_of(&out.message), &r),
        SOTTO_OK);
    CHECK_UINT(sotto_staged_change(r.staged, 0, &change), SOTTO_OK);
    CHECK_UINT(change.kind, SOTTO_CHANGE_RESUMPTION);
    CHECK(same(change.data, text_of("branch")));
    CHECK_UINT(change.epoch, 1);
    CHECK_UINT(sotto_group_merge(w.member[1].group, &r.staged), SOTTO_OK);
    CHECK_UINT(sotto_group_merge_pending(w.member[0].group), SOTTO_OK);
    sotto_group_free(&w.member[2].group);
    CHECK(world_agrees(&w));
}

/* A new member needs the PSK too, and may have it from an earlier membership.
 */
static void a_welcome_can_need_a_resumption_psk(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(next_clear) struct next n = {0};
    CHECK(world_three(&w, SUITE_1, 14));
    CHECK_UINT(world_key_package(&w, 2), SOTTO_OK);
    struct sotto_bytes add = view_of(&w.member[2].key_package);
    const uint32_t gone = 2;
    struct sotto_resumption name = {.epoch =
                                        sotto_group_epoch(w.member[0].group)};
    struct sotto_commit ask = {.adds = &add,
                               .add_count = 1,
                               .removes = &gone,
                               .remove_count = 1,
                               .resumptions = &name,
                               .resumption_count = 1};
    CHECK_UINT(sotto_group_commit(w.member[0].group, &ask, &n.commit),
               SOTTO_OK);
    CHECK_UINT(follow(&w, 2, &n, (struct sotto_group_list){0}),
               SOTTO_ERR_NOTFOUND);
    CHECK_UINT(follow_from(&w, 2, &n), SOTTO_OK);
    CHECK_UINT(sotto_group_merge_pending(w.member[0].group), SOTTO_OK);
    CHECK(agree(n.group[2], w.member[0].group));
}

static const struct test tests[] = {
    TEST(a_reinit_ends_the_group),
    TEST(anybody_can_make_the_group_that_follows),
    TEST(a_proposed_reinit_is_taken_when_it_is_asked_for),
    TEST(a_pending_reinit_survives_storing),
    TEST(who_follows_needs_the_old_group),
    TEST(a_group_of_the_announced_id_must_be_bound),
    TEST(all_members_have_to_follow),
    TEST(a_group_that_follows_is_what_was_announced),
    TEST(a_group_that_goes_on_has_no_successor),
    TEST(some_members_branch_off),
    TEST(a_branch_has_no_strangers_and_the_same_suite),
    TEST(resumption_psks_are_part_of_the_epoch),
    TEST(a_group_can_use_the_psk_of_another),
    TEST(a_welcome_can_need_a_resumption_psk),
};
TEST_MAIN(tests)
