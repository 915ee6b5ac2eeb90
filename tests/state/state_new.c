/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints a fixture of this version (see state_test.c): what members of a group
 * have stored in the middle of things, and what then arrives. Run it once for
 * each release, and keep what it printed:
 *
 *     build/tests/state/state_new > tests/state/VERSION.hex
 *
 *     alice   leaf 0, with two keys of skipped messages of bob, an Update of
 *             hers that has not come back, proposals of hers, of bob and of a
 *             stranger, and a pending commit
 *     bob     leaf 1, with the same proposals and a pending commit, that adds
 *             the owner of key-package-private
 *     far     leaf 16, whose ratchets nobody has opened
 *     removed, ended   groups that are over
 */
#include "fixture.h"

#include "base/err.h"

#include <stdio.h>

#define SUITE_1 1U

enum {
    ALICE,
    BOB,
    CAROL,
    FAR = 16,
    STRANGER, /* proposes to add itself */
    DAVE      /* is added by bob */
};
#define EPOCHS 20U /* so that old resumption PSKs have made room for newer */

static enum sotto_err keep(struct fixture *f, const char *name,
                           struct sotto_bytes value)
{
    return fixture_add(f, name, value) ? SOTTO_OK : SOTTO_ERR_NOMEM;
}

static enum sotto_err keep_group(struct fixture *f, const char *name,
                                 struct sotto_group *group)
{
    struct fixture_group g = {f, name};
    struct sotto_store store = fixture_store(&g);
    return sotto_group_save(group, &store);
}

static enum sotto_err say(struct world *w, size_t i, const char *text,
                          struct sotto_buf *out)
{
    sotto_buf_free(out);
    return sotto_group_protect(w->member[i].group, text_of("ad"), text_of(text),
                               32, out);
}

/* A member says its text, which is kept under a name. */
static enum sotto_err keep_text(struct fixture *f, struct world *w, size_t i,
                                const char *name)
{
    CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
    TRY_PUBLIC(say(w, i, name, &message));
    return keep(f, name, view_of(&message));
}

static enum sotto_err take(struct world *w, size_t i, struct sotto_bytes m,
                           enum sotto_outcome want)
{
    enum sotto_outcome got = 0;
    TRY_PUBLIC(world_take(w, i, m, &got));
    return got == want ? SOTTO_OK : SOTTO_ERR_STATE;
}

/* Leaves 0, 1, 2 and 16 of a tree that was full once, after many epochs. */
static enum sotto_err make_group(struct world *w)
{
    static const uint32_t leave[] = {3,  4,  5,  6,  7,  8, 9,
                                     10, 11, 12, 13, 14, 15};
    struct sotto_commit remove = {
        .removes = leave, .remove_count = sizeof(leave) / sizeof(*leave)};
    struct sotto_commit fresh = {0};
    TRY_PUBLIC(world_open(w, SUITE_1, 1));
    TRY_PUBLIC(world_found(w, ALICE));
    TRY_PUBLIC(world_add(w, ALICE, BOB, FAR + 1));
    TRY_PUBLIC(world_commit(w, ALICE, &remove, NULL, 0));
    for (size_t i = 0; sotto_group_epoch(w->member[ALICE].group) < EPOCHS; i++)
        TRY_PUBLIC(world_commit(w, i % 3, &fresh, NULL, 0));
    return SOTTO_OK;
}

/* Messages of before the state is stored: some came, some are still under way.
 */
static enum sotto_err talk(struct fixture *f, struct world *w)
{
    CLEANUP(sotto_buf_free) struct sotto_buf of_alice = {0};
    static const char *const names[] = {"late-1", "taken-1", "late-2",
                                        "taken-2", "next"};
    for (size_t i = 0; i < 5; i++)
        TRY_PUBLIC(keep_text(f, w, BOB, names[i]));
    TRY_PUBLIC(take(w, ALICE, fixture_get(f, "taken-1"), SOTTO_APPLICATION));
    TRY_PUBLIC(take(w, ALICE, fixture_get(f, "taken-2"), SOTTO_APPLICATION));
    TRY_PUBLIC(say(w, ALICE, "said before", &of_alice));
    TRY_PUBLIC(take(w, BOB, view_of(&of_alice), SOTTO_APPLICATION));
    return keep_text(f, w, FAR, "from-far");
}

static enum sotto_err propose(struct world *w, size_t by, bool seen_by_alice,
                              const struct sotto_proposal *p)
{
    CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
    TRY_PUBLIC(sotto_group_propose(w->member[by].group, p, &message));
    if (seen_by_alice)
        TRY_PUBLIC(take(w, ALICE, view_of(&message), SOTTO_PROPOSAL));
    return take(w, BOB, view_of(&message), SOTTO_PROPOSAL);
}

static enum sotto_err propose_stranger(struct world *w)
{
    CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
    TRY_PUBLIC(world_key_package(w, STRANGER));
    const struct sotto_group *g = w->member[ALICE].group;
    const struct member *stranger = &w->member[STRANGER];
    struct sotto_proposal add = {.kind = SOTTO_PROPOSE_ADD,
                                 .key_package =
                                     view_of(&stranger->key_package)};
    struct sotto_outsider from = {.suite = SUITE_1,
                                  .group_id = sotto_group_id(g),
                                  .epoch = sotto_group_epoch(g),
                                  .kind = SOTTO_SENDER_NEW_MEMBER_PROPOSAL,
                                  .signature_private =
                                      view_of(&stranger->signature_private)};
    TRY_PUBLIC(sotto_outsider_propose(w->mls, &from, &add, &message));
    TRY_PUBLIC(take(w, ALICE, view_of(&message), SOTTO_PROPOSAL));
    return take(w, BOB, view_of(&message), SOTTO_PROPOSAL);
}

static enum sotto_err propose_all(struct world *w)
{
    struct sotto_leaf_change key = {
        .signature_private = view_of(&w->member[DAVE + 1].signature_private),
        .signature_public = view_of(&w->member[DAVE + 1].signature_public)};
    struct sotto_proposal update = {.kind = SOTTO_PROPOSE_UPDATE,
                                    .change = &key};
    struct sotto_proposal of_alice = {.kind = SOTTO_PROPOSE_APP,
                                      .app = {1, text_of("of alice")}};
    struct sotto_proposal of_bob = {.kind = SOTTO_PROPOSE_APP,
                                    .app = {2, text_of("of bob")}};
    TRY_PUBLIC(propose(w, ALICE, false, &update));
    TRY_PUBLIC(propose(w, ALICE, true, &of_alice));
    TRY_PUBLIC(propose(w, BOB, true, &of_bob));
    return propose_stranger(w);
}

/* Both commit; what is then stored is the fixture. */
static enum sotto_err commit(struct fixture *f, struct world *w)
{
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out of_alice = {0};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out of_bob = {0};
    TRY_PUBLIC(world_key_package(w, DAVE));
    struct sotto_bytes add = view_of(&w->member[DAVE].key_package);
    struct sotto_commit ask = {.use_pending = true};
    TRY_PUBLIC(sotto_group_commit(w->member[ALICE].group, &ask, &of_alice));
    ask.adds = &add;
    ask.add_count = 1;
    TRY_PUBLIC(sotto_group_commit(w->member[BOB].group, &ask, &of_bob));
    TRY_PUBLIC(keep(f, "commit-of-alice", view_of(&of_alice.message)));
    TRY_PUBLIC(keep(f, "commit-of-bob", view_of(&of_bob.message)));
    TRY_PUBLIC(keep(f, "welcome", view_of(&of_bob.welcome)));
    TRY_PUBLIC(keep(f, "key-package-private",
                    view_of(&w->member[DAVE].key_package_private)));
    TRY_PUBLIC(keep_group(f, "alice", w->member[ALICE].group));
    return keep_group(f, "bob", w->member[BOB].group);
}

/* What bob says after a commit, and the authenticator of its epoch. */
static enum sotto_err follow(struct fixture *f, struct world *w,
                             const char *commit, const char *text,
                             const char *authenticator)
{
    struct fixture_group g = {f, "bob"};
    struct sotto_store store = fixture_store(&g);
    enum sotto_outcome outcome = 0;
    sotto_group_free(&w->member[BOB].group);
    TRY_PUBLIC(sotto_group_load(w->mls, &store, &w->member[BOB].group));
    TRY_PUBLIC(world_take(w, BOB, fixture_get(f, commit), &outcome));
    TRY_PUBLIC(keep_text(f, w, BOB, text));
    return keep(f, authenticator,
                sotto_group_epoch_authenticator(w->member[BOB].group));
}

static enum sotto_err make_removed(struct fixture *f, struct world *w)
{
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    struct sotto_commit remove = {.removes = (uint32_t[]){CAROL},
                                  .remove_count = 1};
    TRY_PUBLIC(sotto_group_commit(w->member[BOB].group, &remove, &out));
    TRY_PUBLIC(take(w, CAROL, view_of(&out.message), SOTTO_COMMIT));
    sotto_group_drop_pending(w->member[BOB].group);
    return keep_group(f, "removed", w->member[CAROL].group);
}

static enum sotto_err make_ended(struct fixture *f, struct world *w)
{
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    struct sotto_reinit next = {.group_id = text_of("next"), .suite = SUITE_1};
    struct sotto_commit end = {.reinit = &next};
    TRY_PUBLIC(sotto_group_commit(w->member[BOB].group, &end, &out));
    TRY_PUBLIC(take(w, ALICE, view_of(&out.message), SOTTO_COMMIT));
    return keep_group(f, "ended", w->member[ALICE].group);
}

static enum sotto_err make_over(struct fixture *f)
{
    CLEANUP(world_close) struct world w = {0};
    if (!world_three(&w, SUITE_1, 2))
        return SOTTO_ERR_STATE;
    TRY_PUBLIC(make_removed(f, &w));
    return make_ended(f, &w);
}

static enum sotto_err make(struct fixture *f)
{
    CLEANUP(world_close) struct world w = {0};
    TRY_PUBLIC(make_group(&w));
    TRY_PUBLIC(propose_all(&w));
    TRY_PUBLIC(talk(f, &w));
    TRY_PUBLIC(commit(f, &w));
    TRY_PUBLIC(follow(f, &w, "commit-of-alice", "after-alice",
                      "authenticator-of-alice"));
    TRY_PUBLIC(
        follow(f, &w, "commit-of-bob", "after-bob", "authenticator-of-bob"));
    return make_over(f);
}

int main(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    enum sotto_err err = make(&f);
    if (err != SOTTO_OK) {
        (void)fprintf(stderr, "state_new: %s\n", sotto_err_text(err));
        return 1;
    }
    (void)printf("# What libsotto-mls %s stores, by state_new. Never change "
                 "it once that version is released.\n",
                 VERSION);
    fixture_print(&f);
    return 0;
}
