/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What any released version stored can be loaded, and gone on with.
 *
 * At a release, add its fixture: state_new.c says how. When this test says that
 * the stored form has changed, raise the version of the record (STORE_VERSION
 * in store.c, RECORD_FORMAT in secret_tree.c, PRIVATE_VERSION in key_package.c)
 * and keep reading the older one, for which the old fixtures stay as they are;
 * only that of a version that is not released yet is made anew.
 */
#include "fixture.h"

#include "test.h"

#include "mls/group.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The last is of this version. The one before was stored when there was no
 * exporter tree yet. */
static const char *const versions[] = {"0.1.0-no-exporter", "0.1.0"};

static const char *const groups[] = {"alice", "bob", "removed", "ended"};

#define EPOCH 20U /* of alice and bob */

struct scene {
    struct sotto_mls *mls;
    struct fixture fixture;
    struct sotto_group *alice, *bob;
};

static void scene_close(struct scene *s)
{
    sotto_group_free(&s->alice);
    sotto_group_free(&s->bob);
    fixture_clear(&s->fixture);
    sotto_mls_free(&s->mls);
}

static enum sotto_err load(struct scene *s, const char *name,
                           struct sotto_group **out)
{
    struct fixture_group g = {&s->fixture, name};
    struct sotto_store store = fixture_store(&g);
    return sotto_group_load(s->mls, &store, out);
}

static bool scene_open(struct scene *s, size_t version)
{
    char path[256];
    (void)printf("# the state of %s\n", versions[version]);
    (void)snprintf(path, sizeof(path), "%s/%s.hex", FIXTURES,
                   versions[version]);
    return fixture_read(&s->fixture, path) &&
           sotto_mls_create(sotto_random_system(), &s->mls) == SOTTO_OK &&
           load(s, "alice", &s->alice) == SOTTO_OK &&
           load(s, "bob", &s->bob) == SOTTO_OK;
}

static bool same(struct sotto_bytes a, struct sotto_bytes b)
{
    return bytes_equal(bytes_in(a), bytes_in(b));
}

/* Processes a message, and merges what it is. 0: an error. */
static enum sotto_outcome take(struct sotto_group *g, struct sotto_bytes m)
{
    CLEANUP(sotto_result_free) struct sotto_result r = {0};
    if (sotto_group_process(g, m, &r) != SOTTO_OK)
        return 0;
    if (r.outcome == SOTTO_COMMIT &&
        sotto_group_merge(g, &r.staged) != SOTTO_OK)
        return 0;
    if (r.outcome == SOTTO_OWN_COMMIT &&
        sotto_group_merge_pending(g) != SOTTO_OK)
        return 0;
    return r.outcome;
}

/* A text of the fixture is its own name. */
static bool opens(const struct scene *s, const char *name, uint32_t sender)
{
    CLEANUP(sotto_result_free) struct sotto_result r = {0};
    return sotto_group_process(s->alice, fixture_get(&s->fixture, name), &r) ==
               SOTTO_OK &&
           r.outcome == SOTTO_APPLICATION && r.sender == sender &&
           same(view_of(&r.content), text_of(name));
}

static bool is_spent(const struct scene *s, const char *name)
{
    return take(s->alice, fixture_get(&s->fixture, name)) == SOTTO_DUPLICATE;
}

static void keys_of_late_messages_are_kept(void)
{
    for (size_t v = 0; v < COUNT(versions); v++) {
        CLEANUP(scene_close) struct scene s = {0};
        CHECK(scene_open(&s, v));
        CHECK_UINT(sotto_group_epoch(s.alice), EPOCH);
        CHECK(is_spent(&s, "taken-1") && is_spent(&s, "taken-2"));
        CHECK(opens(&s, "late-2", 1));
        CHECK(opens(&s, "next", 1));
        CHECK(opens(&s, "late-1", 1));
        CHECK(opens(&s, "from-far", 16));
        CHECK(is_spent(&s, "late-1") && is_spent(&s, "late-2"));
    }
}

static void no_key_is_used_again(void)
{
    for (size_t v = 0; v < COUNT(versions); v++) {
        CLEANUP(scene_close) struct scene s = {0};
        CLEANUP(sotto_buf_free) struct sotto_buf m = {0};
        CHECK(scene_open(&s, v));
        CHECK_UINT(
            sotto_group_protect(s.alice, text_of(""), text_of("x"), 0, &m),
            SOTTO_OK);
        CHECK_UINT(take(s.bob, view_of(&m)), SOTTO_APPLICATION);
    }
}

static void a_pending_commit_is_known_again(void)
{
    for (size_t v = 0; v < COUNT(versions); v++) {
        CLEANUP(scene_close) struct scene s = {0};
        CHECK(scene_open(&s, v));
        const struct fixture *f = &s.fixture;
        struct sotto_bytes commit = fixture_get(f, "commit-of-alice");
        struct sotto_change change;
        CHECK_UINT(
            sotto_staged_change(sotto_group_pending(s.alice), 0, &change),
            SOTTO_OK);
        CHECK_UINT(change.kind, SOTTO_CHANGE_APP);
        CHECK(change.by_reference);
        CHECK_UINT(take(s.alice, commit), SOTTO_OWN_COMMIT);
        CHECK_UINT(take(s.bob, commit), SOTTO_COMMIT);
        CHECK(same(sotto_group_epoch_authenticator(s.alice),
                   fixture_get(f, "authenticator-of-alice")));
        CHECK(opens(&s, "after-alice", 1));
    }
}

/* Bob's commit names an Update whose keys only alice's record has. */
static void a_commit_finds_the_stored_proposals(void)
{
    for (size_t v = 0; v < COUNT(versions); v++) {
        CLEANUP(scene_close) struct scene s = {0};
        CHECK(scene_open(&s, v));
        const struct fixture *f = &s.fixture;
        CHECK_UINT(sotto_group_proposal_count(s.alice), 2);
        CHECK_UINT(take(s.alice, fixture_get(f, "commit-of-bob")),
                   SOTTO_COMMIT);
        CHECK(same(sotto_group_epoch_authenticator(s.alice),
                   fixture_get(f, "authenticator-of-bob")));
        CHECK(!sotto_group_has_pending(s.alice));
        CHECK(opens(&s, "after-bob", 1));
    }
}

static void a_stored_key_package_joins(void)
{
    for (size_t v = 0; v < COUNT(versions); v++) {
        CLEANUP(scene_close) struct scene s = {0};
        CLEANUP(sotto_group_free) struct sotto_group *dave = NULL;
        CHECK(scene_open(&s, v));
        const struct fixture *f = &s.fixture;
        struct sotto_join join = {.welcome = fixture_get(f, "welcome"),
                                  .key_package_private =
                                      fixture_get(f, "key-package-private")};
        CHECK_UINT(sotto_group_join(s.mls, &join, &dave), SOTTO_OK);
        CHECK(same(sotto_group_epoch_authenticator(dave),
                   fixture_get(f, "authenticator-of-bob")));
        CHECK_UINT(take(dave, fixture_get(f, "after-bob")), SOTTO_APPLICATION);
    }
}

/* Every resumption PSK that alice keeps, in one commit. */
static void old_epochs_are_remembered(void)
{
    for (size_t v = 0; v < COUNT(versions); v++) {
        CLEANUP(scene_close) struct scene s = {0};
        CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
        struct sotto_resumption psk[SOTTO_RESUMPTION_MAX + 1] = {0};
        for (size_t i = 0; i < COUNT(psk); i++)
            psk[i].epoch = EPOCH - i;
        struct sotto_resumption gone = {.epoch = EPOCH - COUNT(psk)};
        struct sotto_commit ask = {.resumptions = &gone, .resumption_count = 1};
        CHECK(scene_open(&s, v));
        sotto_group_drop_pending(s.alice);
        CHECK_UINT(sotto_group_commit(s.alice, &ask, &out), SOTTO_ERR_NOTFOUND);
        ask.resumptions = psk;
        ask.resumption_count = COUNT(psk);
        CHECK_UINT(sotto_group_commit(s.alice, &ask, &out), SOTTO_OK);
        CHECK_UINT(take(s.bob, view_of(&out.message)), SOTTO_COMMIT);
        CHECK_UINT(take(s.alice, view_of(&out.message)), SOTTO_OWN_COMMIT);
        CHECK(same(sotto_group_epoch_authenticator(s.alice),
                   sotto_group_epoch_authenticator(s.bob)));
    }
}

static void groups_that_are_over_stay_so(void)
{
    for (size_t v = 0; v < COUNT(versions); v++) {
        CLEANUP(scene_close) struct scene s = {0};
        CLEANUP(sotto_group_free) struct sotto_group *removed = NULL;
        CLEANUP(sotto_group_free) struct sotto_group *ended = NULL;
        struct sotto_reinit_view next = {0};
        CHECK(scene_open(&s, v));
        CHECK_UINT(load(&s, "removed", &removed), SOTTO_OK);
        CHECK_UINT(load(&s, "ended", &ended), SOTTO_OK);
        CHECK(!sotto_group_active(removed) && !sotto_group_active(ended));
        CHECK_UINT(sotto_group_reinit(removed, &next), SOTTO_ERR_NOTFOUND);
        CHECK_UINT(sotto_group_reinit(ended, &next), SOTTO_OK);
        CHECK(same(next.group_id, text_of("next")));
    }
}

/* ---- Versions ---- */

/* Loads each group, and joins. */
static enum sotto_err use_all(struct scene *s)
{
    CLEANUP(sotto_group_free) struct sotto_group *dave = NULL;
    struct sotto_join join = {
        .welcome = fixture_get(&s->fixture, "welcome"),
        .key_package_private = fixture_get(&s->fixture, "key-package-private")};
    for (size_t i = 0; i < COUNT(groups); i++) {
        CLEANUP(sotto_group_free) struct sotto_group *g = NULL;
        enum sotto_err err = load(s, groups[i], &g);
        if (err != SOTTO_OK)
            return err;
    }
    return sotto_group_join(s->mls, &join, &dave);
}

/* Whether it is `group/kind/…`. */
static bool is_of_kind(const struct fixture_entry *e, enum sotto_record kind)
{
    const char *slash = strchr(e->name, '/');
    return slash != NULL && strtoul(slash + 1, NULL, 10) == (unsigned)kind;
}

static bool is_of_group(const struct fixture_entry *e)
{
    return strchr(e->name, '/') != NULL;
}

/* Those of ratchets have a second version, of the secret tree. */
static bool is_ratchets(const struct fixture_entry *e)
{
    return is_of_kind(e, SOTTO_RECORD_SEND) ||
           is_of_kind(e, SOTTO_RECORD_RECEIVE);
}

/* Whether each other value of a byte of a version is answered as it should be.
 */
static bool is_version_byte(struct scene *s, uint8_t *at)
{
    static const uint8_t unknown[] = {0, 1, 2, 0x7f, 0xff};
    uint8_t was = *at;
    bool good = true;
    for (size_t k = 0; k < COUNT(unknown); k++) {
        *at = unknown[k];
        enum sotto_err want = *at == was ? SOTTO_OK : SOTTO_ERR_INVALID;
        good = good && use_all(s) == want;
    }
    *at = was;
    return good;
}

static void a_version_that_is_not_known_is_called_so(void)
{
    CLEANUP(scene_close) struct scene s = {0};
    CHECK(scene_open(&s, COUNT(versions) - 1));
    for (size_t i = 0; i < s.fixture.count; i++) {
        struct fixture_entry *e = &s.fixture.entry[i];
        if (!is_of_group(e) && strcmp(e->name, "key-package-private") != 0)
            continue;
        for (size_t at = 0; at < (is_ratchets(e) ? 3U : 2U); at++)
            CHECK(is_version_byte(&s, &e->value.data[at]));
    }
    CHECK_UINT(use_all(&s), SOTTO_OK);
}

static void this_version_has_its_fixture(void)
{
    (void)printf("# tests/state/%s.hex is the last of `versions`; else see the "
                 "head of state_test.c\n",
                 VERSION);
    CHECK_BYTES(bytes_str(versions[COUNT(versions) - 1]), LIT(VERSION));
}

/* Stores what is no ratchet, as if nothing had been stored. */
static enum sotto_err store_again(struct sotto_group *g, struct fixture *to,
                                  const char *name)
{
    struct fixture_group group = {to, name};
    struct sotto_store store = fixture_store(&group);
    g->epoch_dirty = true;
    g->pending_dirty = true;
    g->proposals_dirty = true;
    return sotto_group_save(g, &store);
}

static bool key_package_is_the_same(struct bytes record)
{
    CLEANUP(key_package_private_clear) struct key_package_private p = {0};
    CLEANUP(buf_clear) struct buf again = buf_new(MLS_MESSAGE_MAX);
    struct writer w = writer_to(&again);
    if (key_package_private_read(record, &p) != OK)
        return false;
    key_package_private_write(&w, &p);
    return writer_finish(&w) == OK && bytes_equal(buf_bytes(&again), record);
}

/* The same for a group's SEND record and its RECEIVE records. */
static bool ratchets_are_the_same(struct fixture *f, const char *name,
                                  const struct secret_tree *st)
{
    for (uint32_t k = 0; k <= secret_tree_chunks(st); k++) {
        CLEANUP(buf_clear) struct buf again = buf_new(SECRET_TREE_RECORD_MAX);
        struct fixture_group group = {f, name};
        struct sotto_store store = fixture_store(&group);
        struct sotto_bytes record = {0};
        struct writer w = writer_to(&again);
        if (k == 0)
            secret_tree_send_write(&w, st);
        else
            secret_tree_chunk_write(&w, st, k - 1);
        if (writer_finish(&w) != OK ||
            store.get(store.ctx,
                      k == 0 ? SOTTO_RECORD_SEND : SOTTO_RECORD_RECEIVE,
                      k == 0 ? 0 : k - 1, &record) != SOTTO_OK ||
            !bytes_equal((struct bytes){record.data + 2, record.len - 2},
                         buf_bytes(&again)))
            return false;
    }
    return true;
}

/* Reading and writing may change together, so that they still agree: only what
 * was stored before tells. */
static void the_stored_form_has_not_changed(void)
{
    CLEANUP(scene_close) struct scene s = {0};
    CLEANUP(fixture_clear) struct fixture again = {0};
    (void)printf("# stored as before; else see the head of state_test.c\n");
    CHECK(scene_open(&s, COUNT(versions) - 1));
    for (size_t i = 0; i < COUNT(groups); i++) {
        CLEANUP(sotto_group_free) struct sotto_group *g = NULL;
        CHECK_UINT(load(&s, groups[i], &g), SOTTO_OK);
        CHECK(g->epoch.ratchets == NULL ||
              ratchets_are_the_same(&s.fixture, groups[i], g->epoch.ratchets));
        CHECK_UINT(store_again(g, &again, groups[i]), SOTTO_OK);
    }
    size_t records = 0;
    for (size_t i = 0; i < s.fixture.count; i++)
        records += is_of_group(&s.fixture.entry[i]) &&
                   !is_ratchets(&s.fixture.entry[i]);
    CHECK_UINT(again.count, records);
    for (size_t i = 0; i < again.count; i++)
        CHECK(same(view_of(&again.entry[i].value),
                   fixture_get(&s.fixture, again.entry[i].name)));
    CHECK(key_package_is_the_same(
        bytes_in(fixture_get(&s.fixture, "key-package-private"))));
}

static const struct test tests[] = {
    TEST(keys_of_late_messages_are_kept),
    TEST(no_key_is_used_again),
    TEST(a_pending_commit_is_known_again),
    TEST(a_commit_finds_the_stored_proposals),
    TEST(a_stored_key_package_joins),
    TEST(old_epochs_are_remembered),
    TEST(groups_that_are_over_stay_so),
    TEST(a_version_that_is_not_known_is_called_so),
    TEST(this_version_has_its_fixture),
    TEST(the_stored_form_has_not_changed),
};
TEST_MAIN(tests)
