/* SPDX-License-Identifier: Apache-2.0 */
/* Data of components, and AppDataUpdate, of draft-ietf-mls-extensions. */
#include "mls/app_data.h"

#include "mls/world.h"
#include "test.h"

#include "base/err.h"
#include "base/mem.h"

#include <stdio.h>

#define SUITE_1 1U /* X25519, AES-128, SHA-256, Ed25519: the fastest */
#define ONE     WORLD_COMPONENT
#define TWO     0x8002U

#define DATA(...) \
    {(const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})}

static const struct sotto_component_logic replace = {sotto_component_replace,
                                                     NULL};

/* Required: the proposal types AppDataUpdate and no more. */
static const struct sotto_bytes update_required = DATA(0, 2, 0, 8, 0);

/* A group of three who support components, with such a dictionary (empty:
 * none), that requires AppDataUpdate or not. */
static enum sotto_err group_of_three(struct world *w, uint64_t seed,
                                     struct sotto_bytes dictionary,
                                     bool required)
{
    struct sotto_extension list[3] = {{WORLD_EXT, text_of("the group")}};
    size_t count = 1;
    if (dictionary.len > 0)
        list[count++] = (struct sotto_extension){
            SOTTO_EXTENSION_APP_DATA_DICTIONARY, dictionary};
    if (required)
        list[count++] = (struct sotto_extension){
            EXTENSION_REQUIRED_CAPABILITIES, update_required};
    enum sotto_err err = world_open(w, SUITE_1, seed);
    if (err != SOTTO_OK)
        return err;
    w->app_data = true;
    sotto_mls_set_component_logic(w->mls, replace);
    struct sotto_identity id = world_identity(w, 0);
    err = sotto_group_create(w->mls, &id, text_of("group id"),
                             (struct sotto_extension_list){list, count},
                             &w->member[0].group);
    return err != SOTTO_OK ? err : world_add(w, 0, 1, 3);
}

static struct sotto_app_data_update set(uint16_t component, const char *text)
{
    return (struct sotto_app_data_update){component, false, text_of(text)};
}

static struct sotto_app_data_update unset(uint16_t component)
{
    return (struct sotto_app_data_update){component, true, {0}};
}

/* What all members have of a component; NULL: not all have the same. */
static bool all_have(const struct world *w, uint16_t component,
                     const char *text)
{
    for (size_t i = 0; i < 3; i++) {
        struct sotto_bytes data = {0};
        enum sotto_err err = sotto_app_data_find(
            sotto_group_extensions(w->member[i].group), component, &data);
        if (text == NULL ? err != SOTTO_ERR_NOTFOUND
                         : err != SOTTO_OK ||
                               !bytes_equal(bytes_in(data), bytes_str(text)))
            return false;
    }
    return world_agrees(w);
}

static enum sotto_err commit(struct world *w, size_t by,
                             const struct sotto_app_data_update *items,
                             size_t count)
{
    struct sotto_commit ask = {
        .app_data = items, .app_data_count = count, .no_path = true};
    return world_commit(w, by, &ask, NULL, 0);
}

/* ---- AppDataUpdate ---- */

static void members_agree_on_what_an_update_sets(void)
{
    CLEANUP(world_close) struct world w = {0};
    struct sotto_app_data_update first[] = {set(TWO, "two"), set(ONE, "one")};
    struct sotto_app_data_update second[] = {unset(TWO), set(ONE, "1st"),
                                             set(ONE, "2nd")};
    struct sotto_bytes dictionary = {0};
    struct sotto_component_data cd = {0};

    CHECK_UINT(group_of_three(&w, 1, (struct sotto_bytes){0}, true), SOTTO_OK);
    CHECK_UINT(commit(&w, 0, first, 2), SOTTO_OK);
    CHECK(all_have(&w, ONE, "one") && all_have(&w, TWO, "two"));
    CHECK_UINT(sotto_extension_find(sotto_group_extensions(w.member[2].group),
                                    SOTTO_EXTENSION_APP_DATA_DICTIONARY,
                                    &dictionary),
               SOTTO_OK);
    CHECK_UINT(sotto_app_data_at(dictionary, 0, &cd), SOTTO_OK);
    CHECK_UINT(cd.component, ONE);
    CHECK_UINT(sotto_app_data_at(dictionary, 1, &cd), SOTTO_OK);
    CHECK_UINT(cd.component, TWO);
    CHECK_UINT(sotto_app_data_at(dictionary, 2, &cd), SOTTO_ERR_NOTFOUND);

    CHECK_UINT(commit(&w, 1, second, 3), SOTTO_OK);
    CHECK(all_have(&w, ONE, "2nd") && all_have(&w, TWO, NULL));
}

static void a_staged_update_can_be_looked_at(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    CLEANUP(sotto_result_free) struct sotto_result r = {0};
    struct sotto_app_data_update items[] = {unset(ONE), set(TWO, "two")};
    struct sotto_app_data_update one = set(ONE, "one");
    struct sotto_commit ask = {
        .app_data = items, .app_data_count = 2, .no_path = true};
    struct sotto_change c = {0};
    struct sotto_bytes data = {0};

    CHECK_UINT(group_of_three(&w, 2, (struct sotto_bytes){0}, true), SOTTO_OK);
    CHECK_UINT(commit(&w, 2, &one, 1), SOTTO_OK);
    CHECK_UINT(sotto_group_commit(w.member[0].group, &ask, &out), SOTTO_OK);
    CHECK_UINT(
        sotto_group_process(w.member[1].group, view_of(&out.message), &r),
        SOTTO_OK);
    CHECK_UINT(r.outcome, SOTTO_COMMIT);
    CHECK(!sotto_staged_has_path(r.staged));
    CHECK_UINT(sotto_staged_change(r.staged, 0, &c), SOTTO_OK);
    CHECK_UINT(c.kind, SOTTO_CHANGE_APP_DATA_REMOVE);
    CHECK_UINT(c.component, ONE);
    CHECK(!c.by_reference && c.by == 0);
    CHECK_UINT(sotto_staged_change(r.staged, 1, &c), SOTTO_OK);
    CHECK_UINT(c.kind, SOTTO_CHANGE_APP_DATA_UPDATE);
    CHECK_UINT(c.component, TWO);
    CHECK(bytes_equal(bytes_in(c.data), BYTES_LIT("two")));
    CHECK_UINT(sotto_staged_change(r.staged, 2, &c), SOTTO_ERR_NOTFOUND);
    CHECK_UINT(
        sotto_app_data_find(sotto_staged_extensions(r.staged), TWO, &data),
        SOTTO_OK);
    CHECK_UINT(
        sotto_app_data_find(sotto_staged_extensions(r.staged), ONE, &data),
        SOTTO_ERR_NOTFOUND);
}

/* Each is refused by who makes the commit, by the check that all share. */
static void a_component_is_removed_once_or_updated(void)
{
    CLEANUP(world_close) struct world w = {0};
    struct sotto_app_data_update one = set(ONE, "one");
    const struct sotto_app_data_update bad[][2] = {
        {unset(ONE), unset(ONE)},
        {set(ONE, "more"), unset(ONE)},
        {unset(ONE), set(ONE, "more")},
        {unset(TWO), set(ONE, "more")}, /* TWO has nothing to remove */
    };
    CHECK_UINT(group_of_three(&w, 3, (struct sotto_bytes){0}, true), SOTTO_OK);
    CHECK_UINT(commit(&w, 0, &bad[3][0], 1), SOTTO_ERR_INVALID);
    CHECK_UINT(commit(&w, 0, &one, 1), SOTTO_OK);
    for (size_t i = 0; i < COUNT(bad); i++)
        CHECK_UINT(commit(&w, 0, bad[i], 2), SOTTO_ERR_INVALID);
    CHECK(all_have(&w, ONE, "one"));
    CHECK_UINT(commit(&w, 0, &bad[0][0], 1), SOTTO_OK);
    CHECK(all_have(&w, ONE, NULL));
}

static enum sotto_err propose(struct world *w, size_t by,
                              struct sotto_app_data_update u)
{
    CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
    struct sotto_proposal p = {.kind = SOTTO_PROPOSE_APP_DATA, .app_data = u};
    enum sotto_err err = sotto_group_propose(w->member[by].group, &p, &message);
    for (size_t i = 0; err == SOTTO_OK && i < 3; i++)
        if (world_outcome(w, i, &message) != SOTTO_PROPOSAL)
            err = SOTTO_ERR_STATE;
    return err;
}

static void proposed_updates_go_in_as_far_as_they_fit(void)
{
    CLEANUP(world_close) struct world w = {0};
    struct sotto_commit ask = {.use_pending = true, .no_path = true};
    CHECK_UINT(group_of_three(&w, 4, (struct sotto_bytes){0}, true), SOTTO_OK);
    CHECK_UINT(propose(&w, 1, unset(TWO)), SOTTO_OK); /* has nothing */
    CHECK_UINT(propose(&w, 1, set(ONE, "a")), SOTTO_OK);
    CHECK_UINT(propose(&w, 2, set(ONE, "b")), SOTTO_OK);
    CHECK_UINT(propose(&w, 2, unset(ONE)), SOTTO_OK); /* after an update */
    for (size_t i = 0; i < 3; i++)
        CHECK_UINT(world_reload(&w, i), SOTTO_OK);
    CHECK_UINT(world_commit(&w, 0, &ask, NULL, 0), SOTTO_OK);
    CHECK(all_have(&w, ONE, "b") && all_have(&w, TWO, NULL));
}

static enum sotto_err refuse(void *ctx,
                             const struct sotto_component_change *change,
                             struct sotto_bytes *out_data)
{
    (void)change;
    *out_data = text_of("unused");
    return *(enum sotto_err *)ctx;
}

/* Adds what is new to what there was. */
static enum sotto_err append(void *ctx,
                             const struct sotto_component_change *change,
                             struct sotto_bytes *out_data)
{
    uint8_t *room = ctx;
    size_t len = 0;
    for (size_t i = 0; change->present && i < change->data.len; i++)
        room[len++] = change->data.data[i];
    for (size_t k = 0; k < change->update_count; k++)
        for (size_t i = 0; i < change->updates[k].len; i++)
            room[len++] = change->updates[k].data[i];
    *out_data = (struct sotto_bytes){room, len};
    return SOTTO_OK;
}

static void the_logic_of_the_application_decides(void)
{
    CLEANUP(world_close) struct world w = {0};
    uint8_t room[32];
    enum sotto_err answer = SOTTO_ERR_IO;
    struct sotto_app_data_update u[] = {set(ONE, "b"), set(ONE, "c")};
    struct sotto_app_data_update a = set(ONE, "a");
    struct sotto_app_data_update gone = unset(ONE);

    CHECK_UINT(group_of_three(&w, 5, (struct sotto_bytes){0}, true), SOTTO_OK);
    sotto_mls_set_component_logic(w.mls,
                                  (struct sotto_component_logic){append, room});
    CHECK_UINT(commit(&w, 0, &a, 1), SOTTO_OK);
    CHECK_UINT(commit(&w, 0, u, 2), SOTTO_OK);
    CHECK(all_have(&w, ONE, "abc"));

    sotto_mls_set_component_logic(
        w.mls, (struct sotto_component_logic){refuse, &answer});
    CHECK_UINT(commit(&w, 0, &a, 1), SOTTO_ERR_IO);
    answer = SOTTO_ERR_NOTFOUND;
    CHECK_UINT(commit(&w, 0, &a, 1), SOTTO_ERR_INVALID);
    CHECK_UINT(commit(&w, 0, &gone, 1), SOTTO_ERR_INVALID);
    sotto_mls_set_component_logic(w.mls, (struct sotto_component_logic){0});
    CHECK_UINT(commit(&w, 0, &a, 1), SOTTO_ERR_INVALID);
    CHECK_UINT(commit(&w, 0, &gone, 1), SOTTO_ERR_INVALID);
    CHECK(all_have(&w, ONE, "abc"));
}

static void an_update_survives_lack_of_memory(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    struct sotto_app_data_update u[] = {set(ONE, "one"), set(TWO, "two")};
    struct sotto_commit ask = {
        .app_data = u, .app_data_count = 2, .no_path = true};
    struct sotto_group *by = NULL;
    struct sotto_group *to = NULL;
    enum sotto_err err = SOTTO_ERR_NOMEM;

    CHECK_UINT(group_of_three(&w, 6, (struct sotto_bytes){0}, true), SOTTO_OK);
    by = w.member[0].group;
    to = w.member[1].group;
    for (unsigned n = 0; err == SOTTO_ERR_NOMEM; n++) {
        mem_fail_after(n);
        err = sotto_group_commit(by, &ask, &out);
        CHECK(err == SOTTO_OK || !sotto_group_has_pending(by));
        CHECK(n < 5000);
    }
    CHECK_UINT(err, SOTTO_OK);
    err = SOTTO_ERR_NOMEM;
    for (unsigned n = 0; err == SOTTO_ERR_NOMEM; n++) {
        CLEANUP(sotto_result_free) struct sotto_result r = {0};
        mem_fail_after(n);
        err = sotto_group_process(to, view_of(&out.message), &r);
        CHECK(err != SOTTO_OK || r.outcome == SOTTO_COMMIT);
        CHECK(n < 5000);
    }
    mem_fail_after(1U << 30);
    CHECK_UINT(err, SOTTO_OK);
}

static void who_joins_by_itself_can_update(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf info = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
    struct sotto_app_data_update one = set(ONE, "joined");
    CHECK_UINT(group_of_three(&w, 7, (struct sotto_bytes){0}, true), SOTTO_OK);
    struct sotto_identity id = world_identity(&w, 3);
    CHECK_UINT(sotto_group_info(w.member[0].group, true, &info), SOTTO_OK);
    struct sotto_external_join join = {.identity = &id,
                                       .group_info = view_of(&info),
                                       .app_data = &one,
                                       .app_data_count = 1};
    CHECK_UINT(
        sotto_group_join_external(w.mls, &join, &message, &w.member[3].group),
        SOTTO_OK);
    for (size_t i = 0; i < 3; i++)
        CHECK_UINT(world_outcome(&w, i, &message), SOTTO_COMMIT);
    CHECK(all_have(&w, ONE, "joined"));
}

static void who_knows_no_updates_is_not_sent_any(void)
{
    CLEANUP(world_close) struct world w = {0};
    struct sotto_app_data_update one = set(ONE, "one");
    CHECK_UINT(group_of_three(&w, 8, (struct sotto_bytes){0}, false), SOTTO_OK);
    w.app_data = false;
    CHECK_UINT(world_add(&w, 0, 3, 4), SOTTO_OK);
    CHECK_UINT(commit(&w, 0, &one, 1), SOTTO_ERR_INVALID);
    CHECK_UINT(propose(&w, 0, one), SOTTO_ERR_INVALID);
}

/* ---- Dictionaries ---- */

/* "A GroupContextExtensions proposal MUST NOT add, remove, or modify the
 * app_data_dictionary": where AppDataUpdate is required. */
static void only_updates_change_the_data_where_they_are_required(void)
{
    for (unsigned required = 0; required < 2; required++) {
        CLEANUP(world_close) struct world w = {0};
        struct sotto_app_data_update one = set(ONE, "one");
        struct sotto_extension list[] = {
            {WORLD_EXT, text_of("new")},
            {EXTENSION_REQUIRED_CAPABILITIES, update_required},
            {SOTTO_EXTENSION_APP_DATA_DICTIONARY, {0}}};
        struct sotto_extension_list all = {list, 3};
        struct sotto_commit ask = {
            .extensions = &all, .app_data = &one, .app_data_count = 1};
        const struct sotto_bytes was = DATA(4, 0x80, 2, 1, 'x');
        const struct sotto_bytes other = DATA(4, 0x80, 2, 1, 'y');
        struct sotto_proposal p = {.kind = SOTTO_PROPOSE_EXTENSIONS,
                                   .extensions = {list, 2}};
        CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
        enum sotto_err want = required ? SOTTO_ERR_INVALID : SOTTO_OK;

        CHECK_UINT(group_of_three(&w, 9, was, required != 0), SOTTO_OK);
        list[2].data = other;
        CHECK_UINT(sotto_group_propose(w.member[0].group, &p, &message), want);
        if (required) {
            CHECK_UINT(world_commit(&w, 0, &ask, NULL, 0), want);
            all.count = 2;
            CHECK_UINT(world_commit(&w, 0, &ask, NULL, 0), want);
            all.count = 3;
        }
        list[2].data = was;
        CHECK_UINT(world_commit(&w, 0, &ask, NULL, 0), SOTTO_OK);
        CHECK(all_have(&w, ONE, "one") && all_have(&w, TWO, "x"));
    }
}

static void a_dictionary_ascends_and_names_each_once(void)
{
    const struct {
        const char *what;
        struct sotto_bytes data;
        enum sotto_err want;
    } cases[] = {
        {"empty", DATA(0), SOTTO_OK},
        {"ascends", DATA(6, 0x80, 1, 0, 0x80, 2, 0), SOTTO_OK},
        {"the last id", DATA(3, 0xff, 0xff, 0), SOTTO_OK},
        {"descends", DATA(6, 0x80, 2, 0, 0x80, 1, 0), SOTTO_ERR_INVALID},
        {"twice", DATA(6, 0x80, 1, 0, 0x80, 1, 0), SOTTO_ERR_INVALID},
        {"wraps", DATA(6, 0xff, 0xff, 0, 0, 3, 0), SOTTO_ERR_INVALID},
        {"half an id", DATA(1, 0x80), SOTTO_ERR_MALFORMED},
        {"short data", DATA(4, 0x80, 1, 9, 1), SOTTO_ERR_MALFORMED},
        {"bytes behind", DATA(3, 0x80, 1, 0, 0), SOTTO_ERR_MALFORMED},
        {"odd list", DATA(5, 0, 1, 2, 1, 0x80), SOTTO_ERR_MALFORMED},
        {"odd safe_aad", DATA(5, 0, 2, 2, 1, 0x80), SOTTO_ERR_MALFORMED},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(world_close) struct world w = {0};
        CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
        CLEANUP(sotto_buf_free) struct sotto_buf private_part = {0};
        struct sotto_extension e = {SOTTO_EXTENSION_APP_DATA_DICTIONARY,
                                    cases[i].data};
        struct sotto_ref ref;
        printf("# %s\n", cases[i].what);
        CHECK_UINT(group_of_three(&w, 10, cases[i].data, false), cases[i].want);
        struct sotto_identity id = world_identity(&w, 4);
        id.extensions = (struct sotto_extension_list){&e, 1};
        CHECK_UINT(
            sotto_key_package_create(w.mls, &id, &message, &private_part, &ref),
            cases[i].want);
        sotto_buf_free(&message);
        sotto_buf_free(&private_part);
        id = world_identity(&w, 4);
        id.key_package_extensions = (struct sotto_extension_list){&e, 1};
        CHECK_UINT(
            sotto_key_package_create(w.mls, &id, &message, &private_part, &ref),
            cases[i].want);
    }
}

static void members_support_the_components_that_a_group_requires(void)
{
    CLEANUP(world_close) struct world w = {0};
    const struct sotto_bytes known = DATA(6, 0, 1, 3, 2, 0x80, 1);
    const struct sotto_bytes unknown = DATA(6, 0, 1, 3, 2, 0x80, 2);
    const struct sotto_bytes grease = DATA(6, 0, 1, 3, 2, 0x0a, 0x0a);
    const struct sotto_bytes safe_aad = DATA(6, 0, 2, 3, 2, 0x80, 1);
    const struct sotto_bytes no_safe_aad = DATA(4, 0, 2, 1, 0);
    static const uint8_t more[] = {2, 0x80, 2};
    struct sotto_app_data_update u = {
        SOTTO_COMPONENT_APP_COMPONENTS, false, {more, sizeof(more)}};

    CHECK_UINT(group_of_three(&w, 11, unknown, false), SOTTO_ERR_INVALID);
    world_close(&w);
    CHECK_UINT(group_of_three(&w, 11, grease, false), SOTTO_ERR_INVALID);
    world_close(&w);
    CHECK_UINT(group_of_three(&w, 11, safe_aad, false), SOTTO_ERR_INVALID);
    world_close(&w);
    CHECK_UINT(group_of_three(&w, 11, no_safe_aad, false), SOTTO_OK);
    world_close(&w);
    CHECK_UINT(group_of_three(&w, 11, known, true), SOTTO_OK);
    CHECK_UINT(commit(&w, 0, &u, 1), SOTTO_ERR_INVALID);
    CHECK(world_agrees(&w));
}

static void a_dictionary_is_read_as_it_was_written(void)
{
    CLEANUP(sotto_buf_free) struct sotto_buf data = {0};
    struct sotto_component_data items[] = {{ONE, text_of("one")},
                                           {TWO, text_of("")}};
    struct sotto_component_data out = {0};
    CHECK_UINT(sotto_app_data_encode(items, 2, &data), SOTTO_OK);
    CHECK_UINT(sotto_app_data_at(view_of(&data), 0, &out), SOTTO_OK);
    CHECK_UINT(out.component, ONE);
    CHECK(bytes_equal(bytes_in(out.data), BYTES_LIT("one")));
    CHECK_UINT(sotto_app_data_at(view_of(&data), 1, &out), SOTTO_OK);
    CHECK(out.component == TWO && out.data.len == 0);
    sotto_buf_free(&data);
    items[1].component = ONE;
    CHECK_UINT(sotto_app_data_encode(items, 2, &data), SOTTO_ERR_INVALID);
    items[0].data.data = NULL;
    CHECK_UINT(sotto_app_data_encode(items, 2, &data), SOTTO_ERR_USAGE);
    CHECK_UINT(sotto_app_data_at((struct sotto_bytes)DATA(9), 0, &out),
               SOTTO_ERR_MALFORMED);
}

static void a_key_package_carries_data_and_may_be_a_last_resort(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf private_part = {0};
    struct sotto_extension e = {SOTTO_EXTENSION_APP_DATA_DICTIONARY,
                                DATA(8, 0, 4, 0, 0x80, 1, 2, 'h', 'i')};
    struct sotto_key_package kp = {0};
    struct sotto_bytes data = {0};
    struct sotto_ref ref;
    CHECK_UINT(world_open(&w, SUITE_1, 12), SOTTO_OK);
    struct sotto_identity id = world_identity(&w, 0);
    id.key_package_extensions = (struct sotto_extension_list){&e, 1};
    CHECK_UINT(
        sotto_key_package_create(w.mls, &id, &message, &private_part, &ref),
        SOTTO_OK);
    CHECK_UINT(sotto_key_package_inspect(w.mls, view_of(&message), &kp),
               SOTTO_OK);
    CHECK(kp.last_resort);
    CHECK(sotto_capability_has(kp.leaf.capabilities.extensions, e.type));
    CHECK_UINT(sotto_app_data_find(kp.extensions, ONE, &data), SOTTO_OK);
    CHECK(bytes_equal(bytes_in(data), BYTES_LIT("hi")));
}

static const struct test tests[] = {
    TEST(members_agree_on_what_an_update_sets),
    TEST(a_staged_update_can_be_looked_at),
    TEST(a_component_is_removed_once_or_updated),
    TEST(proposed_updates_go_in_as_far_as_they_fit),
    TEST(the_logic_of_the_application_decides),
    TEST(an_update_survives_lack_of_memory),
    TEST(who_joins_by_itself_can_update),
    TEST(who_knows_no_updates_is_not_sent_any),
    TEST(only_updates_change_the_data_where_they_are_required),
    TEST(a_dictionary_ascends_and_names_each_once),
    TEST(members_support_the_components_that_a_group_requires),
    TEST(a_dictionary_is_read_as_it_was_written),
    TEST(a_key_package_carries_data_and_may_be_a_last_resort),
};
TEST_MAIN(tests)
