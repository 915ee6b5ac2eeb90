/* SPDX-License-Identifier: Apache-2.0 */
/* Groups through the public functions: what members agree on. */
#include "mls/key_package.h"
#include "mls/world.h"

#include "test.h"

#include "base/bytes.h"
#include "base/err.h"
#include "base/mem.h"

#include <string.h>

#define SUITE_1 1U /* X25519, AES-128, SHA-256, Ed25519: the fastest */

static uint32_t draw(struct world *w, uint32_t below)
{
    uint8_t b[4];
    struct random rnd = entropy_of(&w->entropy);
    rnd.fill(rnd.ctx, b, sizeof(b));
    uint32_t v = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 |
                 (uint32_t)b[2] << 8 | b[3];
    return below > 0 ? v % below : 0;
}

/* A random member of the group, other than `not` if there is another. */
static size_t draw_member(struct world *w, size_t not)
{
    size_t count = world_in_group(w);
    for (;;) {
        size_t i = draw(w, WORLD_MAX);
        if (w->member[i].group != NULL && (i != not|| count == 1))
            return i;
    }
}

static size_t draw_stranger(struct world *w, size_t limit)
{
    for (;;) {
        size_t i = draw(w, (uint32_t)limit);
        if (w->member[i].group == NULL)
            return i;
    }
}

static bool same(struct sotto_bytes a, struct sotto_bytes b)
{
    return bytes_equal((struct bytes){a.data, a.len},
                       (struct bytes){b.data, b.len});
}

static enum sotto_err say(struct world *w, size_t by, const char *text,
                          struct sotto_buf *out)
{
    return sotto_group_protect(w->member[by].group, text_of("clear"),
                               text_of(text), 64, out);
}

/* Whether member `i` reads `text` from the leaf of `by`. */
static bool hears(struct world *w, size_t i, size_t by,
                  const struct sotto_buf *message, const char *text)
{
    CLEANUP(sotto_result_free) struct sotto_result r = {0};
    if (sotto_group_process(w->member[i].group, view_of(message), &r) !=
            SOTTO_OK ||
        r.outcome != SOTTO_APPLICATION)
        return false;
    return same(view_of(&r.content), text_of(text)) &&
           r.sender == sotto_group_own_leaf(w->member[by].group) &&
           r.authenticated_data.len == 5;
}

/* ---- The walk ---- */

static enum sotto_err walk_add(struct world *w, size_t limit)
{
    size_t count = world_in_group(w);
    if (count >= limit)
        return SOTTO_OK;
    size_t i = draw_stranger(w, limit);
    enum sotto_err err = world_key_package(w, i);
    if (err != SOTTO_OK)
        return err;
    struct sotto_bytes add = view_of(&w->member[i].key_package);
    struct sotto_commit ask = {
        .adds = &add, .add_count = 1, .no_path = draw(w, 2) == 0, .now = 1500};
    return world_commit(w, draw_member(w, WORLD_MAX), &ask, &i, 1);
}

static enum sotto_err walk_remove(struct world *w)
{
    if (world_in_group(w) < 3)
        return SOTTO_OK;
    size_t by = draw_member(w, WORLD_MAX);
    size_t who = draw_member(w, by);
    uint32_t leaf = sotto_group_own_leaf(w->member[who].group);
    struct sotto_commit ask = {.removes = &leaf, .remove_count = 1};
    return world_commit(w, by, &ask, NULL, 0);
}

/* A member that was lost comes back: its old leaf goes, a new one comes. */
static enum sotto_err walk_rejoin(struct world *w)
{
    if (world_in_group(w) < 2)
        return SOTTO_OK;
    size_t by = draw_member(w, WORLD_MAX);
    size_t who = draw_member(w, by);
    uint32_t leaf = sotto_group_own_leaf(w->member[who].group);
    enum sotto_err err = world_key_package(w, who);
    if (err != SOTTO_OK)
        return err;
    struct sotto_bytes add = view_of(&w->member[who].key_package);
    struct sotto_commit ask = {
        .adds = &add, .add_count = 1, .removes = &leaf, .remove_count = 1};
    return world_commit(w, by, &ask, &who, 1);
}

static enum sotto_err walk_update(struct world *w)
{
    struct sotto_commit ask = {.authenticated_data = text_of("for all"),
                               .public_message = draw(w, 4) == 0};
    return world_commit(w, draw_member(w, WORLD_MAX), &ask, NULL, 0);
}

static enum sotto_err walk_extensions(struct world *w)
{
    uint8_t name = (uint8_t)draw(w, 256);
    struct sotto_extension e = {WORLD_EXT, {&name, 1}};
    struct sotto_extension_list list = {&e, 1};
    struct sotto_app_proposal app = {7, text_of("agreed")};
    struct sotto_commit ask = {
        .extensions = &list, .app_proposals = &app, .app_proposal_count = 1};
    return world_commit(w, draw_member(w, WORLD_MAX), &ask, NULL, 0);
}

static enum sotto_err spread_proposal(struct world *w,
                                      const struct sotto_buf *message)
{
    for (size_t i = 0; i < WORLD_MAX; i++) {
        enum sotto_outcome outcome = 0;
        if (w->member[i].group == NULL)
            continue;
        enum sotto_err err = world_take(w, i, view_of(message), &outcome);
        if (err != SOTTO_OK)
            return err;
        if (outcome != SOTTO_PROPOSAL)
            return SOTTO_ERR_STATE;
    }
    return SOTTO_OK;
}

static enum sotto_err propose(struct world *w, size_t by,
                              const struct sotto_proposal *p)
{
    CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
    enum sotto_err err = sotto_group_propose(w->member[by].group, p, &message);
    return err == SOTTO_OK ? spread_proposal(w, &message) : err;
}

/* Some propose, one commits it all: two updates and a removal. */
static enum sotto_err walk_by_reference(struct world *w)
{
    if (world_in_group(w) < 4)
        return SOTTO_OK;
    struct sotto_proposal update = {.kind = SOTTO_PROPOSE_UPDATE};
    for (int i = 0; i < 2; i++) {
        enum sotto_err err = propose(w, draw_member(w, WORLD_MAX), &update);
        if (err != SOTTO_OK)
            return err;
    }
    size_t by = draw_member(w, WORLD_MAX);
    size_t who = draw_member(w, by);
    struct sotto_proposal remove = {
        .kind = SOTTO_PROPOSE_REMOVE,
        .leaf = sotto_group_own_leaf(w->member[who].group),
        .public_message = draw(w, 2) == 0};
    enum sotto_err err = propose(w, by, &remove);
    if (err != SOTTO_OK)
        return err;
    struct sotto_commit ask = {.use_pending = true};
    return world_commit(w, draw_member(w, who), &ask, NULL, 0);
}

/* Three messages, heard by all in another order than they were said. */
static bool walk_talk(struct world *w)
{
    static const char *const texts[] = {"one", "two", "three"};
    static const size_t order[] = {2, 0, 1};
    struct sotto_buf message[3] = {{0}};
    size_t by = draw_member(w, WORLD_MAX);
    bool ok = true;

    for (size_t k = 0; k < 3; k++)
        ok = ok && say(w, by, texts[k], &message[k]) == SOTTO_OK;
    for (size_t i = 0; ok && i < WORLD_MAX; i++)
        for (size_t k = 0; k < 3 && i != by && w->member[i].group != NULL; k++)
            ok = ok && hears(w, i, by, &message[order[k]], texts[order[k]]);
    for (size_t k = 0; k < 3; k++)
        sotto_buf_free(&message[k]);
    return ok;
}

static bool walk_step(struct world *w, size_t limit)
{
    switch (draw(w, 8)) {
    case 0:
    case 1:
        return walk_add(w, limit) == SOTTO_OK;
    case 2:
        return walk_remove(w) == SOTTO_OK;
    case 3:
        return walk_update(w) == SOTTO_OK;
    case 4:
        return walk_extensions(w) == SOTTO_OK;
    case 5:
        return walk_rejoin(w) == SOTTO_OK;
    case 6:
        return walk_by_reference(w) == SOTTO_OK;
    default:
        return walk_talk(w);
    }
}

static bool walk(struct world *w, size_t limit, int steps, bool reload)
{
    for (int step = 0; step < steps; step++) {
        size_t i = draw_member(w, WORLD_MAX);
        if (reload && world_reload(w, i) != SOTTO_OK)
            return false;
        if (!walk_step(w, limit) || !world_agrees(w))
            return false;
    }
    return true;
}

static void members_agree_on_a_random_walk(void)
{
    CLEANUP(world_close) struct world w = {0};
    CHECK_UINT(world_open(&w, SUITE_1, 1), SOTTO_OK);
    CHECK_UINT(world_found(&w, 0), SOTTO_OK);
    CHECK_UINT(world_add(&w, 0, 1, 20), SOTTO_OK);
    CHECK(walk(&w, 30, 80, false));
}

static void members_agree_when_reloaded_at_every_step(void)
{
    for (uint64_t seed = 10; seed < 14; seed++) {
        CLEANUP(world_close) struct world w = {0};
        CHECK_UINT(world_open(&w, SUITE_1, seed), SOTTO_OK);
        CHECK_UINT(world_found(&w, 0), SOTTO_OK);
        CHECK_UINT(world_add(&w, 0, 1, 6), SOTTO_OK);
        CHECK(walk(&w, 9, 50, true));
    }
}

static void every_suite_walks(void)
{
    struct sotto_suite suite;
    for (size_t i = 0; sotto_suite_at(i, &suite) == SOTTO_OK; i++) {
        CLEANUP(world_close) struct world w = {0};
        CHECK_UINT(world_open(&w, suite.id, i), SOTTO_OK);
        CHECK_UINT(world_found(&w, 0), SOTTO_OK);
        CHECK_UINT(world_add(&w, 0, 1, 4), SOTTO_OK);
        CHECK(walk(&w, 6, 12, true));
    }
}

/* RFC 9420, section 7.2 */
static void a_leaf_lists_what_its_owner_supports(void)
{
    static const uint16_t extensions[] = {WORLD_EXT};
    static const uint16_t proposals[] = {SOTTO_PROPOSAL_APP_EPHEMERAL};
    static const uint16_t credentials[] = {2};
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(leaf_parts_clear) struct leaf_parts p = {0};
    const struct capabilities *caps = &p.leaf.capabilities;
    struct sotto_identity id = {.suite = SUITE_1};

    CHECK_UINT(world_open(&w, SUITE_1, 33), SOTTO_OK);
    CHECK_UINT(leaf_parts_make(w.mls, &id, &p), OK);
    CHECK(u16_list_has(caps->credentials, 1));
    CHECK(!u16_list_has(caps->credentials, 2));
    leaf_parts_clear(&p);
    id.extension_types = extensions;
    id.proposal_types = proposals;
    id.credential_types = credentials;
    id.extension_type_count = id.proposal_type_count = 1;
    id.credential_type_count = 1;
    CHECK_UINT(leaf_parts_make(w.mls, &id, &p), OK);
    CHECK(u16_list_has(caps->extensions, WORLD_EXT));
    CHECK(u16_list_has(caps->proposals, SOTTO_PROPOSAL_APP_EPHEMERAL));
    CHECK(u16_list_has(caps->credentials, 1));
    CHECK(u16_list_has(caps->credentials, 2));
}

/* RFC 9420, section 12.1.2: of the founder's leaf, of one from a KeyPackage,
 * and of one that a commit made. */
static void a_proposed_update_is_committed(void)
{
    CLEANUP(world_close) struct world w = {0};
    struct sotto_proposal update = {.kind = SOTTO_PROPOSE_UPDATE};
    struct sotto_commit pending = {.use_pending = true};
    struct sotto_change c = {0};

    CHECK(world_three(&w, SUITE_1, 30));
    for (size_t by = 0; by < 3; by++) {
        CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
        struct sotto_group *committer = w.member[(by + 2) % 3].group;
        CHECK_UINT(propose(&w, by, &update), SOTTO_OK);
        CHECK_UINT(sotto_group_commit(committer, &pending, &out), SOTTO_OK);
        CHECK_UINT(sotto_staged_change(sotto_group_pending(committer), 0, &c),
                   SOTTO_OK);
        CHECK_UINT(c.kind, SOTTO_CHANGE_UPDATE);
        CHECK_UINT(c.leaf, sotto_group_own_leaf(w.member[by].group));
        CHECK(!same(c.before.encryption_key, c.after.encryption_key));
        for (size_t i = 0; i < 3; i++)
            CHECK(world_outcome(&w, i, &out.message) != 0);
        CHECK(world_agrees(&w));
        CHECK_UINT(world_commit(&w, by, &(struct sotto_commit){0}, NULL, 0),
                   SOTTO_OK);
    }
}

/* ---- Outcomes ---- */

static void each_message_is_taken_once(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf proposal = {0};
    struct sotto_proposal update = {.kind = SOTTO_PROPOSE_UPDATE};

    CHECK(world_three(&w, SUITE_1, 2));
    CHECK_UINT(say(&w, 0, "hello", &message), SOTTO_OK);
    CHECK(hears(&w, 1, 0, &message, "hello"));
    CHECK_UINT(world_outcome(&w, 1, &message), SOTTO_DUPLICATE);
    CHECK_UINT(world_reload(&w, 1), SOTTO_OK);
    CHECK_UINT(world_outcome(&w, 1, &message), SOTTO_DUPLICATE);
    CHECK_UINT(world_outcome(&w, 0, &message), SOTTO_DUPLICATE);

    CHECK_UINT(sotto_group_propose(w.member[0].group, &update, &proposal),
               SOTTO_OK);
    CHECK_UINT(world_outcome(&w, 1, &proposal), SOTTO_PROPOSAL);
    CHECK_UINT(world_outcome(&w, 1, &proposal), SOTTO_DUPLICATE);
    CHECK_UINT(world_outcome(&w, 0, &proposal), SOTTO_PROPOSAL);
    CHECK_UINT(world_outcome(&w, 0, &proposal), SOTTO_DUPLICATE);
}

static void other_epochs_and_groups_are_told_apart(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf old = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf next = {0};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    struct sotto_commit ask = {0};

    CHECK(world_three(&w, SUITE_1, 3));
    CHECK_UINT(say(&w, 0, "old", &old), SOTTO_OK);
    CHECK_UINT(sotto_group_commit(w.member[0].group, &ask, &out), SOTTO_OK);
    CHECK_UINT(world_outcome(&w, 0, &out.message), SOTTO_OWN_COMMIT);
    CHECK_UINT(say(&w, 0, "next", &next), SOTTO_OK);
    CHECK_UINT(world_outcome(&w, 1, &next), SOTTO_FUTURE_EPOCH);
    CHECK_UINT(world_outcome(&w, 1, &out.message), SOTTO_COMMIT);
    CHECK_UINT(world_outcome(&w, 1, &old), SOTTO_TOO_OLD);
    CHECK_UINT(world_outcome(&w, 1, &out.message), SOTTO_TOO_OLD);
    CHECK(hears(&w, 1, 0, &next, "next"));

    struct member *m = &w.member[5];
    struct sotto_identity id = {
        .suite = SUITE_1,
        .signature_private = view_of(&m->signature_private),
        .signature_public = view_of(&m->signature_public)};
    CHECK_UINT(sotto_group_create(w.mls, &id, text_of("another id"),
                                  (struct sotto_extension_list){0}, &m->group),
               SOTTO_OK);
    CHECK_UINT(world_outcome(&w, 5, &next), SOTTO_WRONG_GROUP);
}

static void generations_far_ahead_are_refused(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf near = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf far = {0};
    enum sotto_outcome outcome = 0;

    CHECK(world_three(&w, SUITE_1, 4));
    for (int i = 0; i < 1000; i++) {
        sotto_buf_free(&near);
        CHECK_UINT(say(&w, 0, "near", &near), SOTTO_OK);
    }
    CHECK(hears(&w, 1, 0, &near, "near"));
    for (int i = 0; i < 1100; i++) {
        sotto_buf_free(&far);
        CHECK_UINT(say(&w, 0, "far", &far), SOTTO_OK);
    }
    CHECK_UINT(world_take(&w, 2, view_of(&far), &outcome), SOTTO_ERR_LIMIT);
    CHECK(hears(&w, 2, 0, &near, "near"));
}

/* ---- Own commits ---- */

static void a_dropped_commit_leaves_nothing(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out again = {0};
    struct sotto_commit ask = {0};

    CHECK(world_three(&w, SUITE_1, 5));
    struct sotto_group *g = w.member[0].group;
    uint64_t epoch = sotto_group_epoch(g);
    CHECK_UINT(sotto_group_commit(g, &ask, &out), SOTTO_OK);
    CHECK(sotto_group_has_pending(g));
    CHECK_UINT(sotto_group_epoch(g), epoch);
    CHECK_UINT(sotto_group_commit(g, &ask, &again), SOTTO_ERR_STATE);
    CHECK_UINT(world_reload(&w, 0), SOTTO_OK);
    g = w.member[0].group;
    CHECK(sotto_group_has_pending(g));
    sotto_group_drop_pending(g);
    CHECK_UINT(world_reload(&w, 0), SOTTO_OK);
    g = w.member[0].group;
    CHECK(!sotto_group_has_pending(g));
    CHECK(memory_store_find(&w.member[0].store, SOTTO_RECORD_PENDING, 0) ==
          NULL);
    CHECK_UINT(sotto_group_merge_pending(g), SOTTO_ERR_STATE);
    CHECK_UINT(world_outcome(&w, 0, &out.message), SOTTO_DUPLICATE);
    CHECK(world_agrees(&w));
    CHECK(walk_update(&w) == SOTTO_OK && world_agrees(&w));
}

static void a_pending_commit_survives_storing(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    struct sotto_change change;

    CHECK(world_three(&w, SUITE_1, 6));
    CHECK_UINT(world_key_package(&w, 3), SOTTO_OK);
    struct sotto_bytes add = view_of(&w.member[3].key_package);
    struct sotto_commit ask = {.adds = &add, .add_count = 1};
    CHECK_UINT(sotto_group_commit(w.member[0].group, &ask, &out), SOTTO_OK);
    CHECK_UINT(world_reload(&w, 0), SOTTO_OK);
    const struct sotto_staged *p = sotto_group_pending(w.member[0].group);
    CHECK(p != NULL);
    CHECK_UINT(sotto_staged_change(p, 0, &change), SOTTO_OK);
    CHECK_UINT(change.kind, SOTTO_CHANGE_ADD);
    CHECK_UINT(change.leaf, 3);
    CHECK_UINT(change.after.identity.data[0], 'D');
    CHECK_UINT(world_outcome(&w, 0, &out.message), SOTTO_OWN_COMMIT);
    CHECK_UINT(world_outcome(&w, 1, &out.message), SOTTO_COMMIT);
    CHECK_UINT(world_outcome(&w, 2, &out.message), SOTTO_COMMIT);
    CHECK_UINT(world_join(&w, 3, view_of(&out.welcome)), SOTTO_OK);
    CHECK(world_agrees(&w));
}

static void of_racing_commits_the_first_wins(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out first = {0};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out second = {0};
    struct sotto_commit ask = {0};

    CHECK(world_three(&w, SUITE_1, 7));
    CHECK_UINT(sotto_group_commit(w.member[0].group, &ask, &first), SOTTO_OK);
    CHECK_UINT(sotto_group_commit(w.member[1].group, &ask, &second), SOTTO_OK);
    for (size_t i = 0; i < 3; i++)
        CHECK_UINT(world_outcome(&w, i, &first.message),
                   i == 0 ? SOTTO_OWN_COMMIT : SOTTO_COMMIT);
    CHECK(!sotto_group_has_pending(w.member[1].group));
    CHECK_UINT(world_outcome(&w, 1, &second.message), SOTTO_TOO_OLD);
    CHECK(world_agrees(&w));
}

/* ---- Looking at a staged commit ---- */

/* A commit of member 0 with everything in it: a new name of the group, leaf 2
 * replaced by member 3, an application proposal, a leaf extension. */
static enum sotto_err commit_all_kinds(struct world *w,
                                       struct sotto_commit_out *out)
{
    struct sotto_bytes add = view_of(&w->member[3].key_package);
    uint32_t remove = 2;
    struct sotto_extension e = {WORLD_EXT, text_of("new name")};
    struct sotto_extension_list list = {&e, 1};
    struct sotto_app_proposal app = {7, text_of("chain")};
    struct sotto_leaf_change leaf = {.extensions = &list};
    struct sotto_commit ask = {.adds = &add,
                               .add_count = 1,
                               .removes = &remove,
                               .remove_count = 1,
                               .extensions = &list,
                               .app_proposals = &app,
                               .app_proposal_count = 1,
                               .leaf = &leaf,
                               .authenticated_data = text_of("seen by all")};
    return sotto_group_commit(w->member[0].group, &ask, out);
}

static struct sotto_change change_at(const struct sotto_staged *staged,
                                     size_t i, enum sotto_change_kind kind)
{
    struct sotto_change c = {0};
    bool ok = sotto_staged_change(staged, i, &c) == SOTTO_OK && c.kind == kind;
    return ok ? c : (struct sotto_change){0};
}

static bool has_extension(struct sotto_bytes extensions, const char *text)
{
    struct sotto_bytes data = {0};
    return sotto_extension_find(extensions, WORLD_EXT, &data) == SOTTO_OK &&
           same(data, text_of(text));
}

static void a_staged_commit_tells_what_it_changes(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    CLEANUP(sotto_result_free) struct sotto_result r = {0};
    struct sotto_change c;

    CHECK(world_three(&w, SUITE_1, 8));
    CHECK_UINT(world_key_package(&w, 3), SOTTO_OK);
    CHECK_UINT(commit_all_kinds(&w, &out), SOTTO_OK);
    CHECK_UINT(
        sotto_group_process(w.member[1].group, view_of(&out.message), &r),
        SOTTO_OK);
    CHECK_UINT(r.outcome, SOTTO_COMMIT);
    CHECK(same(view_of(&r.authenticated_data), text_of("seen by all")));

    c = change_at(r.staged, 0, SOTTO_CHANGE_EXTENSIONS);
    CHECK(has_extension(c.data, "new name"));
    c = change_at(r.staged, 1, SOTTO_CHANGE_REMOVE);
    CHECK(same(c.before.identity, text_of("C")) && c.leaf == 2);
    c = change_at(r.staged, 2, SOTTO_CHANGE_ADD);
    CHECK(same(c.after.identity, text_of("D")) && c.leaf == 2);
    CHECK_UINT(c.after.not_after, 2000);
    c = change_at(r.staged, 3, SOTTO_CHANGE_APP);
    CHECK(same(c.data, text_of("chain")) && c.component == 7);
    c = change_at(r.staged, 4, SOTTO_CHANGE_PATH);
    CHECK(!has_extension(c.before.extensions, "new name"));
    CHECK(has_extension(c.after.extensions, "new name"));
    CHECK_UINT(sotto_staged_change(r.staged, 5, &c), SOTTO_ERR_NOTFOUND);
}

static void a_commit_that_policy_drops_leaves_nothing(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    CLEANUP(sotto_result_free) struct sotto_result r = {0};

    CHECK(world_three(&w, SUITE_1, 31));
    CHECK_UINT(world_key_package(&w, 3), SOTTO_OK);
    CHECK_UINT(commit_all_kinds(&w, &out), SOTTO_OK);
    CHECK_UINT(
        sotto_group_process(w.member[1].group, view_of(&out.message), &r),
        SOTTO_OK);
    sotto_staged_free(&r.staged);
    sotto_group_drop_pending(w.member[0].group);
    CHECK(world_agrees(&w));
    CHECK(walk_talk(&w));
    CHECK(walk_update(&w) == SOTTO_OK && world_agrees(&w));
}

static void a_new_signature_key_takes_over(void)
{
    CLEANUP(world_close) struct world w = {0};
    CHECK(world_three(&w, SUITE_1, 9));
    struct member *spare = &w.member[20];
    struct sotto_leaf_change change = {
        .signature_private = view_of(&spare->signature_private),
        .signature_public = view_of(&spare->signature_public)};
    struct sotto_commit ask = {.leaf = &change};
    CHECK_UINT(world_commit(&w, 1, &ask, NULL, 0), SOTTO_OK);
    uint32_t leaf = 99;
    CHECK_UINT(sotto_group_find_member(
                   w.member[0].group, view_of(&spare->signature_public), &leaf),
               SOTTO_OK);
    CHECK_UINT(leaf, 1);
    CHECK(walk_talk(&w) && walk_talk(&w) && walk_talk(&w));
    CHECK(walk_update(&w) == SOTTO_OK && world_agrees(&w));
}

static void a_removed_member_is_told(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
    uint32_t leaf = 2;
    struct sotto_commit ask = {.removes = &leaf, .remove_count = 1};

    CHECK(world_three(&w, SUITE_1, 11));
    CHECK_UINT(sotto_group_commit(w.member[0].group, &ask, &out), SOTTO_OK);
    CHECK_UINT(world_outcome(&w, 2, &out.message), SOTTO_COMMIT);
    struct sotto_group *g = w.member[2].group;
    CHECK(!sotto_group_active(g));
    CHECK_UINT(sotto_group_member_count(g), 3);
    CHECK_UINT(sotto_group_protect(g, text_of(""), text_of("x"), 0, &message),
               SOTTO_ERR_STATE);
    CHECK_UINT(world_reload(&w, 2), SOTTO_OK);
    CHECK(!sotto_group_active(w.member[2].group));
    CHECK(memory_store_find(&w.member[2].store, SOTTO_RECORD_SEND, 0) == NULL);
}

/* ---- Bad commits ---- */

static void refuses_what_the_others_would_refuse(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    CHECK(world_three(&w, SUITE_1, 12));
    struct sotto_group *g = w.member[0].group;
    CHECK_UINT(world_key_package(&w, 1), SOTTO_OK);
    CHECK_UINT(world_key_package(&w, 3), SOTTO_OK);
    struct sotto_bytes here = view_of(&w.member[1].key_package);
    struct sotto_bytes twice[] = {view_of(&w.member[3].key_package),
                                  view_of(&w.member[3].key_package)};
    uint32_t self = 0;
    uint32_t nobody = 77;
    uint32_t same[] = {1, 1};
    struct sotto_extension e = {0xf777, text_of("not supported")};
    struct sotto_extension_list list = {&e, 1};
    struct sotto_commit asks[] = {
        {.adds = &here, .add_count = 1},
        {.adds = twice, .add_count = 2},
        {.adds = twice, .add_count = 1, .now = 5000},
        {.removes = &self, .remove_count = 1},
        {.removes = &nobody, .remove_count = 1},
        {.removes = same, .remove_count = 2},
        {.extensions = &list},
    };
    for (size_t i = 0; i < COUNT(asks); i++) {
        CHECK_UINT(sotto_group_commit(g, &asks[i], &out), SOTTO_ERR_INVALID);
        CHECK(!sotto_group_has_pending(g));
    }
    CHECK(walk_talk(&w));
}

static void a_mutated_message_changes_nothing(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    struct sotto_commit ask = {0};

    for (int public = 0; public < 2; public ++) {
        world_close(&w);
        sotto_commit_out_free(&out);
        CHECK(world_three(&w, SUITE_1, 13));
        struct sotto_group *g = w.member[1].group;
        uint64_t epoch = sotto_group_epoch(g);
        ask.public_message = public == 1;
        CHECK_UINT(sotto_group_commit(w.member[0].group, &ask, &out), SOTTO_OK);
        for (size_t at = 0; at < out.message.len; at += 3) {
            enum sotto_outcome outcome = 0;
            out.message.data[at] ^= 0x41;
            enum sotto_err err =
                world_take(&w, 1, view_of(&out.message), &outcome);
            CHECK(err != SOTTO_OK || outcome != SOTTO_COMMIT);
            out.message.data[at] ^= 0x41;
            struct sotto_bytes cut = {out.message.data, at};
            CHECK(world_take(&w, 1, cut, &outcome) != SOTTO_OK);
            CHECK_UINT(sotto_group_epoch(g), epoch);
        }
        CHECK_UINT(world_outcome(&w, 1, &out.message), SOTTO_COMMIT);
        CHECK_UINT(world_outcome(&w, 2, &out.message), SOTTO_COMMIT);
        CHECK_UINT(world_outcome(&w, 0, &out.message), SOTTO_OWN_COMMIT);
        CHECK(world_agrees(&w));
    }
}

static void a_mutated_welcome_is_refused(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};

    CHECK(world_three(&w, SUITE_1, 14));
    CHECK_UINT(world_key_package(&w, 3), SOTTO_OK);
    struct sotto_bytes add = view_of(&w.member[3].key_package);
    struct sotto_commit ask = {.adds = &add, .add_count = 1};
    CHECK_UINT(sotto_group_commit(w.member[0].group, &ask, &out), SOTTO_OK);
    for (size_t at = 0; at < out.welcome.len; at += 5) {
        out.welcome.data[at] ^= 0x41;
        CHECK(world_join(&w, 3, view_of(&out.welcome)) != SOTTO_OK);
        out.welcome.data[at] ^= 0x41;
        struct sotto_bytes cut = {out.welcome.data, at};
        CHECK(world_join(&w, 3, cut) != SOTTO_OK);
    }
    CHECK_UINT(world_join(&w, 3, view_of(&out.welcome)), SOTTO_OK);
}

/* ---- Storing ---- */

/* Bytes and records that one sent message writes. */
static bool send_cost(struct world *w, size_t *bytes, size_t *records)
{
    CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
    struct memory_store *m = &w->member[0].store;
    struct sotto_store store = memory_store_of(m);
    if (sotto_group_save(w->member[0].group, &store) != SOTTO_OK)
        return false;
    m->puts = 0;
    m->put_bytes = 0;
    if (say(w, 0, "hello", &message) != SOTTO_OK ||
        sotto_group_save(w->member[0].group, &store) != SOTTO_OK)
        return false;
    *bytes = m->put_bytes;
    *records = m->puts;
    return true;
}

/* Adds `count` strangers, who never join, to the group of member 0. */
static bool fill(struct world *w, uint32_t count)
{
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    struct sotto_buf *packages = mem_alloc(count * sizeof(*packages));
    struct sotto_bytes *adds = mem_alloc(count * sizeof(*adds));
    bool ok = packages != NULL && adds != NULL;
    for (uint32_t i = 0; ok && i < count; i++) {
        struct member *m = &w->member[1];
        sotto_buf_free(&m->signature_private);
        sotto_buf_free(&m->signature_public);
        ok = sotto_mls_signature_keygen(w->mls, w->suite, &m->signature_private,
                                        &m->signature_public) == SOTTO_OK &&
             world_key_package(w, 1) == SOTTO_OK;
        packages[i] = m->key_package;
        m->key_package = (struct sotto_buf){0};
        adds[i] = view_of(&packages[i]);
    }
    struct sotto_commit ask = {.adds = adds, .add_count = count};
    ok = ok && sotto_group_commit(w->member[0].group, &ask, &out) == SOTTO_OK &&
         sotto_group_merge_pending(w->member[0].group) == SOTTO_OK;
    for (uint32_t i = 0; packages != NULL && i < count; i++)
        sotto_buf_free(&packages[i]);
    mem_free(packages, count * sizeof(*packages));
    mem_free(adds, count * sizeof(*adds));
    return ok;
}

static void sending_writes_one_small_record_at_any_size(void)
{
    static const uint32_t sizes[] = {2, 2000};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        CLEANUP(world_close) struct world w = {0};
        size_t bytes = 0;
        size_t records = 0;
        CHECK_UINT(world_open(&w, SUITE_1, 15), SOTTO_OK);
        CHECK_UINT(world_found(&w, 0), SOTTO_OK);
        CHECK(fill(&w, sizes[i] - 1));
        CHECK_UINT(sotto_group_member_count(w.member[0].group), sizes[i]);
        CHECK(send_cost(&w, &bytes, &records));
        CHECK_UINT(records, 1);
        CHECK(bytes <= 400);
        CHECK_UINT(world_reload(&w, 0), SOTTO_OK);
        CHECK_UINT(sotto_group_member_count(w.member[0].group), sizes[i]);
    }
}

static void a_key_is_not_used_again_after_loading(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf one = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf two = {0};

    CHECK(world_three(&w, SUITE_1, 16));
    CHECK_UINT(say(&w, 0, "one", &one), SOTTO_OK);
    CHECK_UINT(world_reload(&w, 0), SOTTO_OK);
    CHECK_UINT(say(&w, 0, "two", &two), SOTTO_OK);
    CHECK(hears(&w, 1, 0, &two, "two"));
    CHECK(hears(&w, 1, 0, &one, "one"));
}

/* Does a bit of everything with a group that may be damaged. */
static void use_up(struct sotto_group *g, struct sotto_bytes message)
{
    CLEANUP(sotto_buf_free) struct sotto_buf out = {0};
    CLEANUP(sotto_result_free) struct sotto_result r = {0};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out commit = {0};
    struct sotto_commit ask = {.use_pending = true};
    struct sotto_change change;

    (void)!sotto_group_process(g, message, &r);
    (void)!sotto_group_protect(g, text_of(""), text_of("x"), 0, &out);
    for (size_t i = 0; i < 4 && sotto_group_has_pending(g); i++)
        (void)!sotto_staged_change(sotto_group_pending(g), i, &change);
    (void)!sotto_group_merge_pending(g);
    sotto_group_drop_pending(g);
    (void)!sotto_group_commit(g, &ask, &commit);
}

static void damaged_records_are_refused(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
    struct sotto_proposal update = {.kind = SOTTO_PROPOSE_UPDATE};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    struct sotto_commit ask = {0};

    CHECK(world_three(&w, SUITE_1, 17));
    CHECK_UINT(propose(&w, 1, &update), SOTTO_OK);
    CHECK_UINT(sotto_group_commit(w.member[0].group, &ask, &out), SOTTO_OK);
    CHECK_UINT(say(&w, 1, "hello", &message), SOTTO_OK);
    struct memory_store *m = &w.member[0].store;
    struct sotto_store store = memory_store_of(m);
    CHECK_UINT(sotto_group_save(w.member[0].group, &store), SOTTO_OK);
    CHECK_UINT(m->count, 6); /* one of each kind */

    for (size_t i = 0; i < m->count; i++) {
        struct sotto_buf *v = &m->record[i].value;
        CLEANUP(sotto_group_free) struct sotto_group *g = NULL;
        size_t len = v->len;
        v->data[1] ^= 0x7f; /* the version */
        CHECK_UINT(sotto_group_load(w.mls, &store, &g), SOTTO_ERR_INVALID);
        v->data[1] ^= 0x7f;
        for (v->len = 2; v->len < len; v->len += 1 + len / 50)
            CHECK(sotto_group_load(w.mls, &store, &g) != SOTTO_OK ||
                  m->record[i].kind == SOTTO_RECORD_PROPOSALS);
        v->len = len;
        for (size_t at = 2; at < len; at += 1 + len / 200) {
            v->data[at] ^= 0x55; /* must not crash, whatever it says */
            if (sotto_group_load(w.mls, &store, &g) == SOTTO_OK)
                use_up(g, view_of(&message));
            sotto_group_free(&g);
            v->data[at] ^= 0x55;
        }
    }
    CHECK_UINT(world_reload(&w, 0), SOTTO_OK);
}

/* ---- The rest of the header ---- */

static void exports_and_authenticators_agree(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf a = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf b = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf c = {0};
    CHECK(world_three(&w, SUITE_1, 21));
    CHECK_UINT(sotto_group_export(w.member[0].group, "a", text_of("x"), 40, &a),
               SOTTO_OK);
    CHECK_UINT(sotto_group_export(w.member[1].group, "a", text_of("x"), 40, &b),
               SOTTO_OK);
    CHECK_UINT(sotto_group_export(w.member[1].group, "a", text_of("y"), 40, &c),
               SOTTO_OK);
    CHECK(same(view_of(&a), view_of(&b)) && a.len == 40);
    CHECK(!same(view_of(&a), view_of(&c)));
}

static void a_key_package_tells_whose_it_is(void)
{
    CLEANUP(world_close) struct world w = {0};
    struct sotto_key_package kp;
    CHECK_UINT(world_open(&w, SUITE_1, 22), SOTTO_OK);
    CHECK_UINT(world_key_package(&w, 7), SOTTO_OK);
    struct sotto_buf *m = &w.member[7].key_package;
    CHECK_UINT(sotto_key_package_inspect(w.mls, view_of(m), &kp), SOTTO_OK);
    CHECK_UINT(kp.suite, SUITE_1);
    CHECK(!kp.last_resort);
    CHECK_UINT(kp.leaf.identity.data[0], 'H');
    CHECK_UINT(kp.leaf.not_before, 1000);
    for (size_t at = 0; at < m->len; at++) {
        m->data[at] ^= 1;
        CHECK(sotto_key_package_inspect(w.mls, view_of(m), &kp) != SOTTO_OK);
        m->data[at] ^= 1;
    }
}

static void psks_are_part_of_the_epoch(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    struct sotto_psk psk = {text_of("id"), text_of("a shared key")};
    struct sotto_bytes id = text_of("id");
    struct sotto_commit ask = {.psks = &id, .psk_count = 1};

    CHECK(world_three(&w, SUITE_1, 23));
    CHECK_UINT(sotto_group_commit(w.member[0].group, &ask, &out),
               SOTTO_ERR_NOTFOUND);
    CHECK_UINT(sotto_group_offer_psk(w.member[0].group, psk), SOTTO_OK);
    CHECK_UINT(sotto_group_offer_psk(w.member[1].group, psk), SOTTO_OK);
    CHECK_UINT(sotto_group_commit(w.member[0].group, &ask, &out), SOTTO_OK);
    CHECK_UINT(world_outcome(&w, 2, &out.message), SOTTO_CANNOT_APPLY);
    CHECK_UINT(world_outcome(&w, 1, &out.message), SOTTO_COMMIT);
    CHECK_UINT(world_outcome(&w, 0, &out.message), SOTTO_OWN_COMMIT);
    sotto_group_free(&w.member[2].group);
    CHECK(world_agrees(&w));
}

static void mistakes_of_the_caller_are_answered(void)
{
    CLEANUP(world_close) struct world w = {0};
    struct sotto_buf out = {0};
    struct sotto_result r = {0};
    CHECK(world_three(&w, SUITE_1, 24));
    struct sotto_bytes null = {NULL, 5};
    CHECK_UINT(sotto_group_protect(w.member[0].group, null, null, 0, &out),
               SOTTO_ERR_USAGE);
    CHECK_UINT(sotto_group_process(w.member[0].group, null, &r),
               SOTTO_ERR_USAGE);
    CHECK_UINT(sotto_group_process(NULL, text_of("x"), &r), SOTTO_ERR_USAGE);
    CHECK_UINT(sotto_mls_abi(), SOTTO_MLS_ABI);
    CHECK_UINT(sotto_set_allocator(NULL, NULL), SOTTO_ERR_USAGE);
}

/* Each is a length without data, deep in what a call takes. */
static void lists_are_looked_at_one_by_one(void)
{
    static const struct sotto_bytes null = {NULL, 5};
    static const struct sotto_extension extension = {0xf000, {NULL, 5}};
    static const struct sotto_extension_list extensions = {&extension, 1};
    static const struct sotto_leaf_change leaf = {.extensions = &extensions};
    static const struct sotto_app_proposal app = {1, {NULL, 5}};
    static const struct sotto_resumption resumption = {{NULL, 5}, 1};
    static const struct sotto_psk psk = {{(const uint8_t *)"x", 1}, {NULL, 5}};
    static const struct sotto_commit commits[] = {
        {.adds = &null, .add_count = 1},
        {.psks = &null, .psk_count = 1},
        {.extensions = &extensions},
        {.leaf = &leaf},
        {.app_proposals = &app, .app_proposal_count = 1},
        {.resumptions = &resumption, .resumption_count = 1},
    };
    CLEANUP(world_close) struct world w = {0};
    CHECK(world_three(&w, SUITE_1, 25));
    for (size_t i = 0; i < COUNT(commits); i++) {
        CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
        CHECK_UINT(sotto_group_commit(w.member[0].group, &commits[i], &out),
                   SOTTO_ERR_USAGE);
    }
    struct sotto_group *group = NULL;
    const struct sotto_join join = {.psks = {&psk, 1}};
    CHECK_UINT(sotto_group_join(w.mls, &join, &group), SOTTO_ERR_USAGE);
}

static const struct test tests[] = {
    TEST(members_agree_on_a_random_walk),
    TEST(members_agree_when_reloaded_at_every_step),
    TEST(every_suite_walks),
    TEST(a_leaf_lists_what_its_owner_supports),
    TEST(a_proposed_update_is_committed),
    TEST(each_message_is_taken_once),
    TEST(other_epochs_and_groups_are_told_apart),
    TEST(generations_far_ahead_are_refused),
    TEST(a_dropped_commit_leaves_nothing),
    TEST(a_pending_commit_survives_storing),
    TEST(of_racing_commits_the_first_wins),
    TEST(a_staged_commit_tells_what_it_changes),
    TEST(a_commit_that_policy_drops_leaves_nothing),
    TEST(a_new_signature_key_takes_over),
    TEST(a_removed_member_is_told),
    TEST(refuses_what_the_others_would_refuse),
    TEST(a_mutated_message_changes_nothing),
    TEST(a_mutated_welcome_is_refused),
    TEST(sending_writes_one_small_record_at_any_size),
    TEST(a_key_is_not_used_again_after_loading),
    TEST(damaged_records_are_refused),
    TEST(exports_and_authenticators_agree),
    TEST(a_key_package_tells_whose_it_is),
    TEST(psks_are_part_of_the_epoch),
    TEST(mistakes_of_the_caller_are_answered),
    TEST(lists_are_looked_at_one_by_one),
};
TEST_MAIN(tests)
