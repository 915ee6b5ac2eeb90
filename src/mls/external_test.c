/* SPDX-License-Identifier: Apache-2.0 */
/* External commits and proposals (RFC 9420, sections 12.4.3.2 and 12.1.8). */
#include "mls/world.h"

#include "test.h"

#include "base/bytes.h"
#include "base/err.h"

#define SUITE_1 1U /* X25519, AES-128, SHA-256, Ed25519: the fastest */

static bool same(struct sotto_bytes a, struct sotto_bytes b)
{
    return bytes_equal((struct bytes){a.data, a.len},
                       (struct bytes){b.data, b.len});
}

/* A joiner, and what it was given. */
struct joiner {
    struct sotto_identity identity;
    struct sotto_buf info, tree, message;
    struct sotto_group *group;
};

static void joiner_clear(struct joiner *j)
{
    sotto_buf_free(&j->info);
    sotto_buf_free(&j->tree);
    sotto_buf_free(&j->message);
    sotto_group_free(&j->group);
}

/* Member i joins with what member `by` gives it; the rest of `ask` is there. */
static enum sotto_err join(struct world *w, size_t i, size_t by, bool with_tree,
                           struct sotto_external_join *ask, struct joiner *j)
{
    struct sotto_group *g = w->member[by].group;
    joiner_clear(j);
    j->identity = world_identity(w, i);
    enum sotto_err err = sotto_group_info(g, with_tree, &j->info);
    if (err == SOTTO_OK && !with_tree)
        err = sotto_group_ratchet_tree(g, &j->tree);
    if (err != SOTTO_OK)
        return err;
    ask->identity = &j->identity;
    ask->group_info = view_of(&j->info);
    ask->ratchet_tree = view_of(&j->tree);
    return sotto_group_join_external(w->mls, ask, &j->message, &j->group);
}

/* The others take the commit, and the joiner is member i. */
static enum sotto_err arrive(struct world *w, size_t i, struct joiner *j)
{
    enum sotto_err err = world_spread(w, view_of(&j->message));
    sotto_group_free(&w->member[i].group);
    memory_store_clear(&w->member[i].store);
    w->member[i].group = j->group;
    j->group = NULL;
    return err;
}

static bool reload_all(struct world *w)
{
    for (size_t i = 0; i < WORLD_MAX; i++)
        if (w->member[i].group != NULL && world_reload(w, i) != SOTTO_OK)
            return false;
    return true;
}

/* Everybody commits once, and is followed by all. */
static bool works(struct world *w)
{
    struct sotto_commit ask = {0};
    for (size_t i = 0; i < WORLD_MAX; i++)
        if (w->member[i].group != NULL &&
            (world_commit(w, i, &ask, NULL, 0) != SOTTO_OK || !world_agrees(w)))
            return false;
    return world_agrees(w);
}

static void a_stranger_joins_and_all_agree(void)
{
    struct sotto_suite suite;
    for (size_t s = 0; sotto_suite_at(s, &suite) == SOTTO_OK; s++) {
        CLEANUP(world_close) struct world w = {0};
        CLEANUP(joiner_clear) struct joiner j = {0};
        CHECK(world_three(&w, suite.id, s));
        for (size_t i = 3; i < 7; i++) {
            struct sotto_external_join ask = {.now = 1500};
            CHECK_UINT(join(&w, i, i - 1, i % 2 == 0, &ask, &j), SOTTO_OK);
            CHECK(reload_all(&w));
            CHECK_UINT(arrive(&w, i, &j), SOTTO_OK);
            CHECK(world_agrees(&w));
            CHECK(reload_all(&w));
        }
        CHECK_UINT(world_in_group(&w), 7);
        CHECK(works(&w));
    }
}

/* Its state was lost; the old leaf goes, and the new one is the leftmost. */
static void a_member_takes_the_place_of_its_old_leaf(void)
{
    for (size_t who = 0; who < 5; who++) {
        CLEANUP(world_close) struct world w = {0};
        CLEANUP(joiner_clear) struct joiner j = {0};
        struct sotto_external_join ask = {.resync = true};
        enum sotto_outcome outcome = 0;
        CHECK_UINT(world_open(&w, SUITE_1, who), SOTTO_OK);
        CHECK_UINT(world_found(&w, 0), SOTTO_OK);
        CHECK_UINT(world_add(&w, 0, 1, 5), SOTTO_OK);
        CHECK(works(&w));
        CHECK_UINT(join(&w, who, (who + 1) % 5, true, &ask, &j), SOTTO_OK);
        CHECK_UINT(sotto_group_own_leaf(j.group), who);
        struct sotto_group *old = w.member[who].group;
        w.member[who].group = NULL;
        CHECK_UINT(arrive(&w, who, &j), SOTTO_OK);
        CHECK_UINT(world_in_group(&w), 5);
        CHECK(works(&w));

        struct sotto_group *new = w.member[who].group;
        w.member[who].group = old;
        CHECK_UINT(world_take(&w, who, view_of(&j.message), &outcome),
                   SOTTO_OK);
        CHECK_UINT(outcome, SOTTO_COMMIT);
        CHECK(!sotto_group_active(old));
        sotto_group_free(&w.member[who].group);
        w.member[who].group = new;
    }
}

static void an_old_leaf_with_another_key_is_named(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(joiner_clear) struct joiner j = {0};
    const uint32_t old = 1;
    const uint32_t nobody = 9;
    struct sotto_external_join ask = {.resync = true};
    CHECK(world_three(&w, SUITE_1, 4));
    CHECK_UINT(join(&w, 7, 0, true, &ask, &j), SOTTO_ERR_NOTFOUND);
    ask.old_leaf = &nobody;
    CHECK_UINT(join(&w, 7, 0, true, &ask, &j), SOTTO_ERR_INVALID);
    ask.old_leaf = &old;
    CHECK_UINT(join(&w, 7, 0, true, &ask, &j), SOTTO_OK);
    CHECK_UINT(arrive(&w, 7, &j), SOTTO_OK);
    CHECK(w.member[1].group == NULL);
    CHECK_UINT(world_in_group(&w), 3);
    CHECK(works(&w));
}

static struct sotto_change change_at(const struct sotto_staged *staged,
                                     size_t i, enum sotto_change_kind kind)
{
    struct sotto_change c = {0};
    bool ok = sotto_staged_change(staged, i, &c) == SOTTO_OK && c.kind == kind;
    return ok ? c : (struct sotto_change){0};
}

static void what_is_staged_says_that_it_is_external(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(joiner_clear) struct joiner j = {0};
    CLEANUP(sotto_result_free) struct sotto_result r = {0};
    const uint32_t old = 2;
    struct sotto_app_proposal app = {7, text_of("agreed")};
    struct sotto_external_join ask = {.resync = true,
                                      .old_leaf = &old,
                                      .app_proposals = &app,
                                      .app_proposal_count = 1,
                                      .authenticated_data = text_of("hello")};
    CHECK(world_three(&w, SUITE_1, 5));
    CHECK_UINT(join(&w, 3, 0, true, &ask, &j), SOTTO_OK);
    CHECK_UINT(sotto_group_process(w.member[0].group, view_of(&j.message), &r),
               SOTTO_OK);
    CHECK_UINT(r.outcome, SOTTO_COMMIT);
    CHECK_UINT(r.sender_kind, SOTTO_SENDER_NEW_MEMBER_COMMIT);
    CHECK_UINT(r.sender, 2);
    CHECK(same(view_of(&r.authenticated_data), text_of("hello")));
    CHECK(sotto_staged_external(r.staged));
    CHECK(sotto_staged_has_path(r.staged));
    CHECK_UINT(sotto_staged_committer(r.staged), 2);

    struct sotto_change c = change_at(r.staged, 0, SOTTO_CHANGE_EXTERNAL_INIT);
    CHECK(same(c.after.identity, j.identity.identity));
    CHECK_UINT(c.leaf, 2);
    c = change_at(r.staged, 1, SOTTO_CHANGE_REMOVE);
    CHECK_UINT(c.by_kind, SOTTO_SENDER_NEW_MEMBER_COMMIT);
    CHECK(same(c.before.identity, text_of("C")));
    c = change_at(r.staged, 2, SOTTO_CHANGE_APP);
    CHECK(same(c.data, text_of("agreed")));
    c = change_at(r.staged, 3, SOTTO_CHANGE_PATH);
    CHECK_UINT(c.by, 2);
    CHECK(c.before.identity.len == 0 && same(c.after.identity, text_of("D")));
    uint64_t epoch = sotto_group_epoch(w.member[0].group);
    sotto_staged_free(&r.staged);
    CHECK_UINT(sotto_group_epoch(w.member[0].group), epoch);
}

static void psks_prove_an_earlier_membership(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(joiner_clear) struct joiner j = {0};
    struct sotto_psk psk = {text_of("id"), text_of("a shared key")};
    CHECK(world_three(&w, SUITE_1, 6));
    CHECK(works(&w));
    struct sotto_group *old = w.member[2].group;
    const struct sotto_group *const groups[] = {old};
    struct sotto_resumption past = {.epoch = sotto_group_epoch(old) - 1};
    struct sotto_external_join ask = {.resync = true,
                                      .psks = {&psk, 1},
                                      .resumptions = &past,
                                      .resumption_count = 1};
    CHECK_UINT(join(&w, 2, 0, true, &ask, &j), SOTTO_ERR_NOTFOUND);
    ask.groups = (struct sotto_group_list){groups, 1};
    CHECK_UINT(join(&w, 2, 0, true, &ask, &j), SOTTO_OK);
    CHECK_UINT(world_outcome(&w, 1, &j.message), SOTTO_CANNOT_APPLY);
    CHECK_UINT(sotto_group_offer_psk(w.member[0].group, psk), SOTTO_OK);
    CHECK_UINT(sotto_group_offer_psk(w.member[1].group, psk), SOTTO_OK);
    CHECK_UINT(arrive(&w, 2, &j), SOTTO_OK);
    CHECK(works(&w));
}

static void of_racing_joiners_the_first_wins(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(joiner_clear) struct joiner first = {0};
    CLEANUP(joiner_clear) struct joiner second = {0};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    struct sotto_external_join ask = {0};
    struct sotto_commit commit = {0};
    CHECK(world_three(&w, SUITE_1, 7));
    CHECK_UINT(join(&w, 3, 0, true, &ask, &first), SOTTO_OK);
    CHECK_UINT(join(&w, 4, 0, true, &ask, &second), SOTTO_OK);
    CHECK_UINT(sotto_group_commit(w.member[1].group, &commit, &out), SOTTO_OK);
    CHECK_UINT(arrive(&w, 3, &first), SOTTO_OK);
    for (size_t i = 0; i < 4; i++) {
        CHECK_UINT(world_outcome(&w, i, &second.message), SOTTO_TOO_OLD);
        CHECK_UINT(world_outcome(&w, i, &first.message), SOTTO_TOO_OLD);
        CHECK_UINT(world_outcome(&w, i, &out.message), SOTTO_TOO_OLD);
    }
    CHECK(!sotto_group_has_pending(w.member[1].group));
    CHECK_UINT(join(&w, 4, 3, true, &ask, &second), SOTTO_OK);
    CHECK_UINT(arrive(&w, 4, &second), SOTTO_OK);
    CHECK(works(&w));
}

static void refuses_what_the_members_would_refuse(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(joiner_clear) struct joiner j = {0};
    struct sotto_external_join ask = {.now = 1500};
    CHECK(world_three(&w, SUITE_1, 8));
    CHECK_UINT(join(&w, 1, 0, true, &ask, &j), SOTTO_ERR_INVALID); /* is in */
    ask.now = 5000;
    CHECK_UINT(join(&w, 3, 0, true, &ask, &j), SOTTO_ERR_INVALID);
    ask.now = 0;
    CHECK_UINT(join(&w, 3, 0, true, &ask, &j), SOTTO_OK);
    sotto_group_free(&j.group);
    struct sotto_identity id = j.identity;
    ask.identity = &id;
    id.extension_type_count = 0; /* the group has one that it lacks */
    CHECK_UINT(sotto_group_join_external(w.mls, &ask, &j.message, &j.group),
               SOTTO_ERR_INVALID);
    id.extension_type_count = 1;
    id.suite = 3; /* also Ed25519 */
    CHECK_UINT(sotto_group_join_external(w.mls, &ask, &j.message, &j.group),
               SOTTO_ERR_INVALID);
    id.suite = SUITE_1;
    sotto_buf_free(&j.info);
    CHECK_UINT(sotto_group_info(w.member[0].group, false, &j.info), SOTTO_OK);
    ask.group_info = view_of(&j.info);
    CHECK_UINT(sotto_group_join_external(w.mls, &ask, &j.message, &j.group),
               SOTTO_ERR_NOTFOUND); /* no tree */
    ask.group_info = view_of(&w.member[1].key_package);
    CHECK_UINT(sotto_group_join_external(w.mls, &ask, &j.message, &j.group),
               SOTTO_ERR_INVALID);
}

static void a_mutated_group_info_is_refused(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(joiner_clear) struct joiner j = {0};
    struct sotto_external_join ask = {0};
    struct sotto_group_info_view v;
    CHECK(world_three(&w, SUITE_1, 9));
    CHECK_UINT(join(&w, 3, 0, true, &ask, &j), SOTTO_OK);
    CHECK_UINT(sotto_group_info_inspect(view_of(&j.info), &v), SOTTO_OK);
    CHECK_UINT(v.suite, SUITE_1);
    CHECK(same(v.group_id, text_of("group id")));
    CHECK_UINT(v.epoch, 1);
    CHECK_UINT(v.signer, 0);
    CHECK_UINT(v.external_pub.len, 32);
    CHECK(v.ratchet_tree.len > 0 && v.group_extensions.len > 0);
    sotto_group_free(&j.group);
    sotto_buf_free(&j.message);
    for (size_t at = 0; at < j.info.len; at++) {
        j.info.data[at] ^= 0x41;
        CHECK(sotto_group_join_external(w.mls, &ask, &j.message, &j.group) !=
              SOTTO_OK);
        j.info.data[at] ^= 0x41;
        ask.group_info.len = at;
        CHECK(sotto_group_join_external(w.mls, &ask, &j.message, &j.group) !=
              SOTTO_OK);
        CHECK(sotto_group_info_inspect(ask.group_info, &v) != SOTTO_OK);
        ask.group_info.len = j.info.len;
    }
}

static void a_mutated_external_commit_changes_nothing(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(joiner_clear) struct joiner j = {0};
    struct sotto_external_join ask = {.resync = true};
    CHECK(world_three(&w, SUITE_1, 10));
    CHECK_UINT(join(&w, 2, 0, true, &ask, &j), SOTTO_OK);
    uint64_t epoch = sotto_group_epoch(w.member[1].group);
    for (size_t at = 0; at < j.message.len; at++) {
        enum sotto_outcome outcome = 0;
        j.message.data[at] ^= 0x41;
        enum sotto_err err = world_take(&w, 1, view_of(&j.message), &outcome);
        CHECK(err != SOTTO_OK ||
              (outcome != SOTTO_COMMIT && outcome != SOTTO_CANNOT_APPLY));
        j.message.data[at] ^= 0x41;
        struct sotto_bytes cut = {j.message.data, at};
        CHECK(world_take(&w, 1, cut, &outcome) != SOTTO_OK);
        CHECK_UINT(sotto_group_epoch(w.member[1].group), epoch);
    }
    CHECK_UINT(world_outcome(&w, 2, &j.message), SOTTO_COMMIT);
    CHECK(!sotto_group_active(w.member[2].group));
    sotto_group_free(&w.member[2].group);
    CHECK_UINT(arrive(&w, 2, &j), SOTTO_OK);
    CHECK(works(&w));
}

/* Accepts a replacement only of the same identity. */
static enum sotto_err same_identity(void *ctx,
                                    const struct sotto_credential *credential,
                                    const struct sotto_credential *before)
{
    (void)ctx;
    return before == NULL || same(before->identity, credential->identity)
               ? SOTTO_OK
               : SOTTO_ERR_AUTH;
}

static void nobody_takes_the_place_of_another(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(joiner_clear) struct joiner j = {0};
    const struct sotto_credential_check check = {same_identity, NULL};
    const uint32_t old = 1;
    struct sotto_external_join ask = {.resync = true, .old_leaf = &old};
    CHECK(world_three(&w, SUITE_1, 18));
    CHECK_UINT(join(&w, 7, 0, true, &ask, &j), SOTTO_OK);
    sotto_mls_set_credential_check(w.mls, check);
    for (size_t i = 0; i < 3; i++) {
        enum sotto_outcome outcome = 0;
        CHECK_UINT(world_take(&w, i, view_of(&j.message), &outcome),
                   SOTTO_ERR_AUTH);
    }
    CHECK_UINT(join(&w, 7, 0, true, &ask, &j), SOTTO_ERR_AUTH);
    CHECK_UINT(join(&w, 1, 0, true, &ask, &j), SOTTO_OK);
    CHECK_UINT(arrive(&w, 1, &j), SOTTO_OK);
    CHECK(works(&w));
}

/* draft-ietf-mls-extensions: such a proposal may be in an external commit. */
static void who_leaves_gives_its_place_to_who_joins(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(joiner_clear) struct joiner j = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf leave = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf remove = {0};
    struct sotto_proposal p = {.kind = SOTTO_PROPOSE_SELF_REMOVE};
    struct sotto_proposal other = {
        .kind = SOTTO_PROPOSE_REMOVE, .leaf = 1, .public_message = true};
    CHECK(world_three(&w, SUITE_1, 19));
    CHECK_UINT(sotto_group_propose(w.member[2].group, &p, &leave), SOTTO_OK);
    CHECK_UINT(sotto_group_propose(w.member[2].group, &other, &remove),
               SOTTO_OK);
    for (size_t i = 0; i < 3; i++)
        CHECK_UINT(world_outcome(&w, i, &leave), SOTTO_PROPOSAL);
    struct sotto_bytes given = view_of(&remove);
    struct sotto_external_join ask = {.self_removes = &given,
                                      .self_remove_count = 1};
    CHECK_UINT(join(&w, 3, 0, true, &ask, &j), SOTTO_ERR_INVALID);
    given = view_of(&w.member[1].key_package);
    CHECK_UINT(join(&w, 3, 0, true, &ask, &j), SOTTO_ERR_INVALID);
    given = view_of(&leave);
    size_t tag = 1 + 32; /* the membership tag is not for joiners to check */
    for (size_t at = 0; at < leave.len - tag; at++) {
        leave.data[at] ^= 0x41;
        CHECK(join(&w, 3, 0, true, &ask, &j) != SOTTO_OK);
        leave.data[at] ^= 0x41;
    }
    /* Who sits down on its leaf is not its successor. */
    sotto_mls_set_credential_check(
        w.mls, (struct sotto_credential_check){same_identity, NULL});
    CHECK_UINT(join(&w, 3, 0, true, &ask, &j), SOTTO_OK);
    CHECK_UINT(sotto_group_own_leaf(j.group), 2);
    CHECK_UINT(arrive(&w, 3, &j), SOTTO_OK);
    CHECK(w.member[2].group == NULL);
    CHECK_UINT(world_in_group(&w), 3);
    CHECK(works(&w));
}

/* ---- Proposals from outside ---- */

#define OUTSIDER 20U /* member of the world, never of the group */

/* A group of members 0 to 2 that takes proposals from a service and another,
 * and what the service needs to make them. */
static bool open_to_outsiders(struct world *w, uint64_t seed,
                              struct sotto_outsider *from)
{
    CLEANUP(sotto_buf_free) struct sotto_buf senders = {0};
    if (!world_three(w, SUITE_1, seed))
        return false;
    struct sotto_credential list[2];
    for (size_t i = 0; i < 2; i++) {
        struct sotto_identity id = world_identity(w, OUTSIDER + i);
        list[i] = (struct sotto_credential){SUITE_1, SOTTO_CREDENTIAL_BASIC,
                                            id.identity, id.signature_public};
    }
    if (sotto_external_senders_encode(list, 2, &senders) != SOTTO_OK)
        return false;
    struct sotto_extension e[] = {
        {WORLD_EXT, text_of("open")},
        {SOTTO_EXTENSION_EXTERNAL_SENDERS, view_of(&senders)}};
    struct sotto_extension_list extensions = {e, 2};
    struct sotto_commit ask = {.extensions = &extensions};
    if (world_commit(w, 0, &ask, NULL, 0) != SOTTO_OK)
        return false;
    *from = (struct sotto_outsider){
        .suite = SUITE_1,
        .group_id = text_of("group id"),
        .epoch = sotto_group_epoch(w->member[0].group),
        .kind = SOTTO_SENDER_EXTERNAL,
        .index = 1,
        .signature_private =
            view_of(&w->member[OUTSIDER + 1].signature_private)};
    return true;
}

static enum sotto_err propose(struct world *w,
                              const struct sotto_outsider *from,
                              const struct sotto_proposal *p,
                              struct sotto_buf *message)
{
    sotto_buf_free(message);
    return sotto_outsider_propose(w->mls, from, p, message);
}

/* All members keep the proposal; gives its reference. */
static bool all_keep(struct world *w, const struct sotto_buf *message,
                     enum sotto_sender kind, struct sotto_ref *ref)
{
    for (size_t i = 0; i < WORLD_MAX; i++) {
        CLEANUP(sotto_result_free) struct sotto_result r = {0};
        if (w->member[i].group == NULL)
            continue;
        if (sotto_group_process(w->member[i].group, view_of(message), &r) !=
                SOTTO_OK ||
            r.outcome != SOTTO_PROPOSAL || r.sender_kind != kind)
            return false;
        *ref = r.ref;
    }
    return true;
}

static void an_external_sender_proposes(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
    struct sotto_outsider from;
    struct sotto_ref ref;
    struct sotto_commit ask = {.use_pending = true};
    CHECK(open_to_outsiders(&w, 11, &from));
    CHECK_UINT(world_key_package(&w, 3), SOTTO_OK);
    struct sotto_proposal ps[] = {
        {.kind = SOTTO_PROPOSE_ADD,
         .key_package = view_of(&w.member[3].key_package),
         .authenticated_data = text_of("why"),
         .now = 1500},
        {.kind = SOTTO_PROPOSE_REMOVE, .leaf = 2},
        {.kind = SOTTO_PROPOSE_APP, .app = {7, text_of("x")}},
    };
    for (size_t i = 0; i < COUNT(ps); i++) {
        CHECK_UINT(propose(&w, &from, &ps[i], &message), SOTTO_OK);
        CHECK(all_keep(&w, &message, SOTTO_SENDER_EXTERNAL, &ref));
        CHECK(reload_all(&w));
        CHECK_UINT(world_outcome(&w, 0, &message), SOTTO_DUPLICATE);
    }
    CHECK_UINT(world_commit(&w, 1, &ask, (size_t[]){3}, 1), SOTTO_OK);
    CHECK(w.member[2].group == NULL);
    CHECK_UINT(world_in_group(&w), 3);
    CHECK(works(&w));
    CHECK_UINT(world_outcome(&w, 0, &message), SOTTO_TOO_OLD);
}

static void an_external_sender_opens_and_ends_a_group(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
    struct sotto_outsider from;
    struct sotto_ref ref;
    struct sotto_psk psk = {text_of("id"), text_of("a shared key")};
    struct sotto_extension e = {WORLD_EXT, text_of("closed")};
    struct sotto_proposal changes[] = {
        {.kind = SOTTO_PROPOSE_PSK, .psk_id = psk.id},
        {.kind = SOTTO_PROPOSE_EXTENSIONS, .extensions = {&e, 1}},
    };
    struct sotto_reinit next = {.group_id = text_of("next"), .suite = SUITE_1};
    struct sotto_proposal end = {.kind = SOTTO_PROPOSE_REINIT, .reinit = &next};
    CHECK(open_to_outsiders(&w, 12, &from));
    CHECK_UINT(propose(&w, &from, &end, &message), SOTTO_OK);
    CHECK(all_keep(&w, &message, SOTTO_SENDER_EXTERNAL, &ref));
    for (size_t i = 0; i < 3; i++)
        CHECK_UINT(sotto_group_offer_psk(w.member[i].group, psk), SOTTO_OK);
    for (size_t i = 0; i < COUNT(changes); i++) {
        CHECK_UINT(propose(&w, &from, &changes[i], &message), SOTTO_OK);
        CHECK(all_keep(&w, &message, SOTTO_SENDER_EXTERNAL, &ref));
    }
    struct sotto_commit ask = {.use_pending = true};
    CHECK_UINT(world_commit(&w, 1, &ask, NULL, 0), SOTTO_OK);
    CHECK(works(&w));
    /* Now nobody outside may say anything. */
    from.epoch = sotto_group_epoch(w.member[0].group);
    enum sotto_outcome outcome = 0;
    CHECK_UINT(propose(&w, &from, &end, &message), SOTTO_OK);
    CHECK_UINT(world_take(&w, 0, view_of(&message), &outcome),
               SOTTO_ERR_INVALID);
}

static void outsiders_keep_to_what_they_may(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
    struct sotto_outsider from;
    enum sotto_outcome outcome = 0;
    struct sotto_proposal remove = {.kind = SOTTO_PROPOSE_REMOVE, .leaf = 2};
    struct sotto_proposal update = {.kind = SOTTO_PROPOSE_UPDATE};
    struct sotto_proposal leave = {.kind = SOTTO_PROPOSE_SELF_REMOVE};
    CHECK(open_to_outsiders(&w, 13, &from));
    CHECK_UINT(propose(&w, &from, &update, &message), SOTTO_ERR_INVALID);
    CHECK_UINT(propose(&w, &from, &leave, &message), SOTTO_ERR_INVALID);
    struct sotto_outsider joiner = from;
    joiner.kind = SOTTO_SENDER_NEW_MEMBER_PROPOSAL;
    CHECK_UINT(propose(&w, &joiner, &remove, &message), SOTTO_ERR_INVALID);
    joiner.kind = SOTTO_SENDER_MEMBER;
    CHECK_UINT(propose(&w, &joiner, &remove, &message), SOTTO_ERR_USAGE);

    struct {
        struct sotto_outsider from;
        enum sotto_err err;
        enum sotto_outcome outcome;
    } rows[] = {
        {from, SOTTO_ERR_AUTH, 0},       {from, SOTTO_ERR_INVALID, 0},
        {from, SOTTO_ERR_AUTH, 0},       {from, SOTTO_OK, SOTTO_WRONG_GROUP},
        {from, SOTTO_OK, SOTTO_TOO_OLD}, {from, SOTTO_OK, SOTTO_FUTURE_EPOCH},
    };
    rows[0].from.index = 0; /* in the name of the other */
    rows[1].from.index = 2;
    rows[2].from.signature_private =
        view_of(&w.member[0].signature_private); /* a member's */
    rows[3].from.group_id = text_of("another");
    rows[4].from.epoch--;
    rows[5].from.epoch++;
    for (size_t i = 0; i < COUNT(rows); i++) {
        CHECK_UINT(propose(&w, &rows[i].from, &remove, &message), SOTTO_OK);
        outcome = 0;
        CHECK_UINT(world_take(&w, 0, view_of(&message), &outcome), rows[i].err);
        CHECK_UINT(outcome, rows[i].outcome);
    }
    struct sotto_commit ask = {.use_pending = true};
    CHECK_UINT(world_commit(&w, 1, &ask, NULL, 0), SOTTO_OK);
    CHECK_UINT(world_in_group(&w), 3);
}

/* Member i asks to be added. */
static enum sotto_err ask_in(struct world *w, size_t i,
                             struct sotto_outsider *from,
                             struct sotto_buf *message)
{
    enum sotto_err err = world_key_package(w, i);
    struct sotto_proposal add = {.kind = SOTTO_PROPOSE_ADD,
                                 .key_package =
                                     view_of(&w->member[i].key_package)};
    from->kind = SOTTO_SENDER_NEW_MEMBER_PROPOSAL;
    from->signature_private = view_of(&w->member[i].signature_private);
    return err != SOTTO_OK ? err : propose(w, from, &add, message);
}

static void a_new_member_is_added_when_it_is_asked_for(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
    struct sotto_outsider from;
    struct sotto_ref ref = {0};
    CHECK(open_to_outsiders(&w, 14, &from));
    CHECK_UINT(ask_in(&w, 3, &from, &message), SOTTO_OK);
    CHECK(all_keep(&w, &message, SOTTO_SENDER_NEW_MEMBER_PROPOSAL, &ref));
    struct sotto_commit pending = {.use_pending = true};
    CHECK_UINT(world_commit(&w, 1, &pending, NULL, 0), SOTTO_OK);
    CHECK_UINT(sotto_group_member_count(w.member[0].group), 3);

    from.epoch = sotto_group_epoch(w.member[0].group);
    CHECK_UINT(ask_in(&w, 3, &from, &message), SOTTO_OK);
    struct sotto_commit asked = {.refs = &ref, .ref_count = 1};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    CHECK_UINT(sotto_group_commit(w.member[1].group, &asked, &out),
               SOTTO_ERR_NOTFOUND);
    CHECK(all_keep(&w, &message, SOTTO_SENDER_NEW_MEMBER_PROPOSAL, &ref));
    CHECK(reload_all(&w));
    CHECK_UINT(world_commit(&w, 1, &asked, (size_t[]){3}, 1), SOTTO_OK);
    CHECK_UINT(world_in_group(&w), 4);
    CHECK(works(&w));
}

static void who_joins_signs_for_itself(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
    struct sotto_outsider from;
    enum sotto_outcome outcome = 0;
    CHECK(open_to_outsiders(&w, 15, &from));
    CHECK_UINT(world_key_package(&w, 3), SOTTO_OK);
    struct sotto_proposal add = {.kind = SOTTO_PROPOSE_ADD,
                                 .key_package =
                                     view_of(&w.member[3].key_package)};
    from.kind = SOTTO_SENDER_NEW_MEMBER_PROPOSAL; /* with the service's key */
    CHECK_UINT(propose(&w, &from, &add, &message), SOTTO_OK);
    CHECK_UINT(world_take(&w, 0, view_of(&message), &outcome), SOTTO_ERR_AUTH);
}

/* Strangers fill the room that is theirs; members still propose. */
static void strangers_do_not_take_the_room_of_members(void)
{
    const size_t most = 256;
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
    struct sotto_outsider from;
    struct sotto_proposal update = {.kind = SOTTO_PROPOSE_UPDATE};
    enum sotto_outcome outcome = 0;
    CHECK(open_to_outsiders(&w, 16, &from));
    for (size_t i = 0; i < most; i++) {
        CHECK_UINT(ask_in(&w, 3, &from, &message), SOTTO_OK);
        CHECK_UINT(world_outcome(&w, 0, &message), SOTTO_PROPOSAL);
    }
    CHECK_UINT(ask_in(&w, 3, &from, &message), SOTTO_OK);
    CHECK_UINT(world_take(&w, 0, view_of(&message), &outcome), SOTTO_ERR_LIMIT);
    sotto_buf_free(&message);
    CHECK_UINT(sotto_group_propose(w.member[1].group, &update, &message),
               SOTTO_OK);
    CHECK_UINT(world_outcome(&w, 0, &message), SOTTO_PROPOSAL);
}

static void a_mutated_proposal_from_outside_changes_nothing(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
    struct sotto_outsider from;
    CHECK(open_to_outsiders(&w, 17, &from));
    CHECK_UINT(ask_in(&w, 3, &from, &message), SOTTO_OK);
    for (size_t at = 0; at < message.len; at++) {
        enum sotto_outcome outcome = 0;
        message.data[at] ^= 0x41;
        enum sotto_err err = world_take(&w, 0, view_of(&message), &outcome);
        CHECK(err != SOTTO_OK || outcome != SOTTO_PROPOSAL);
        message.data[at] ^= 0x41;
    }
}

static void lists_of_external_senders_can_be_read(void)
{
    CLEANUP(sotto_buf_free) struct sotto_buf data = {0};
    struct sotto_credential list[] = {
        {SUITE_1, SOTTO_CREDENTIAL_BASIC, text_of("one"), text_of("key 1")},
        {SUITE_1, SOTTO_CREDENTIAL_BASIC, text_of("two"), text_of("key 2")}};
    struct sotto_credential c;
    CHECK_UINT(sotto_external_senders_encode(list, 2, &data), SOTTO_OK);
    CHECK_UINT(sotto_external_sender_at(view_of(&data), 1, &c), SOTTO_OK);
    CHECK(same(c.identity, text_of("two")));
    CHECK(same(c.signature_key, text_of("key 2")));
    CHECK_UINT(sotto_external_sender_at(view_of(&data), 2, &c),
               SOTTO_ERR_NOTFOUND);
    data.len--;
    CHECK_UINT(sotto_external_sender_at(view_of(&data), 2, &c),
               SOTTO_ERR_MALFORMED);
}

static const struct test tests[] = {
    TEST(a_stranger_joins_and_all_agree),
    TEST(a_member_takes_the_place_of_its_old_leaf),
    TEST(an_old_leaf_with_another_key_is_named),
    TEST(what_is_staged_says_that_it_is_external),
    TEST(psks_prove_an_earlier_membership),
    TEST(of_racing_joiners_the_first_wins),
    TEST(refuses_what_the_members_would_refuse),
    TEST(a_mutated_group_info_is_refused),
    TEST(a_mutated_external_commit_changes_nothing),
    TEST(nobody_takes_the_place_of_another),
    TEST(who_leaves_gives_its_place_to_who_joins),
    TEST(an_external_sender_proposes),
    TEST(an_external_sender_opens_and_ends_a_group),
    TEST(outsiders_keep_to_what_they_may),
    TEST(a_new_member_is_added_when_it_is_asked_for),
    TEST(who_joins_signs_for_itself),
    TEST(strangers_do_not_take_the_room_of_members),
    TEST(a_mutated_proposal_from_outside_changes_nothing),
    TEST(lists_of_external_senders_can_be_read),
};
TEST_MAIN(tests)
