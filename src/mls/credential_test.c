/* SPDX-License-Identifier: Apache-2.0 */
/* The caller's say on credentials (RFC 9420, section 5.3.1). */
#include "mls/world.h"

#include "test.h"

#include "base/err.h"

#include <string.h>

#define SUITE_1 1U /* X25519, AES-128, SHA-256, Ed25519: the fastest */

/* What a check saw, and what it answers. */
struct service {
    size_t asked;
    size_t successors; /* asked with a credential before it */
    uint8_t names[64];
    enum sotto_err answer;  /* to ... */
    uint8_t about;          /* ... whom; 0: everybody */
    struct sotto_buf *seen; /* the last signature key */
};

static enum sotto_err answer(void *ctx, const struct sotto_credential *c,
                             const struct sotto_credential *before)
{
    struct service *s = ctx;
    uint8_t name = c->identity.len > 0 ? c->identity.data[0] : 0;
    if (c->type != SOTTO_CREDENTIAL_BASIC || c->signature_key.len != 32)
        return SOTTO_ERR_USAGE;
    s->successors += before != NULL;
    if (s->asked < sizeof(s->names))
        s->names[s->asked] = name;
    s->asked++;
    return s->about == 0 || s->about == name ? s->answer : SOTTO_OK;
}

static void employ(struct world *w, struct service *s)
{
    sotto_mls_set_credential_check(w->mls,
                                   (struct sotto_credential_check){answer, s});
}

static bool was_asked_about(const struct service *s, const char *names)
{
    return s->asked == strlen(names) && memcmp(s->names, names, s->asked) == 0;
}

/* One's own KeyPackage, the committer's look at it, the staging of the two
 * others (on one context), and of the joiner at all four. */
static void each_new_credential_is_asked_about(void)
{
    CLEANUP(world_close) struct world w = {0};
    struct service s = {0};
    CHECK(world_three(&w, SUITE_1, 1));
    employ(&w, &s);
    CHECK_UINT(world_key_package(&w, 3), SOTTO_OK);
    CHECK(was_asked_about(&s, "D"));
    CHECK_UINT(world_add(&w, 0, 3, 4), SOTTO_OK);
    CHECK(was_asked_about(&s, "DDDDDABCD"));
    CHECK_UINT(s.successors, 0);
}

static void the_same_credential_is_not_asked_about_again(void)
{
    CLEANUP(world_close) struct world w = {0};
    struct service s = {.answer = SOTTO_ERR_INVALID};
    struct sotto_commit ask = {0};
    CHECK(world_three(&w, SUITE_1, 2));
    employ(&w, &s);
    CHECK_UINT(world_commit(&w, 1, &ask, NULL, 0), SOTTO_OK);
    CHECK_UINT(s.asked, 0);
}

static void a_new_key_of_a_member_is_a_successor(void)
{
    CLEANUP(world_close) struct world w = {0};
    struct service s = {0};
    CHECK(world_three(&w, SUITE_1, 3));
    employ(&w, &s);
    struct member *spare = &w.member[20];
    struct sotto_leaf_change change = {
        .signature_private = view_of(&spare->signature_private),
        .signature_public = view_of(&spare->signature_public)};
    struct sotto_commit ask = {.leaf = &change};
    CHECK_UINT(world_commit(&w, 1, &ask, NULL, 0), SOTTO_OK);
    CHECK(was_asked_about(&s, "BBB"));
    CHECK_UINT(s.successors, 3);
}

static void an_update_asks_when_it_is_committed(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
    struct service s = {0};
    CHECK(world_three(&w, SUITE_1, 4));
    struct member *spare = &w.member[20];
    struct sotto_leaf_change change = {
        .signature_private = view_of(&spare->signature_private),
        .signature_public = view_of(&spare->signature_public)};
    struct sotto_proposal p = {.kind = SOTTO_PROPOSE_UPDATE, .change = &change};
    CHECK_UINT(sotto_group_propose(w.member[1].group, &p, &message), SOTTO_OK);
    for (size_t i = 0; i < 3; i++)
        CHECK_UINT(world_outcome(&w, i, &message), SOTTO_PROPOSAL);
    employ(&w, &s);
    s.answer = SOTTO_ERR_INVALID;
    struct sotto_commit ask = {.use_pending = true};
    CHECK_UINT(world_commit(&w, 0, &ask, NULL, 0), SOTTO_OK); /* without it */
    CHECK_UINT(s.asked, 1);
    CHECK_UINT(s.successors, 1);
    CHECK(world_agrees(&w));
}

static void what_is_refused_does_not_get_in(void)
{
    static const struct {
        enum sotto_err answer, want;
    } rows[] = {
        {SOTTO_ERR_INVALID, SOTTO_ERR_INVALID},
        {SOTTO_ERR_NOTFOUND, SOTTO_ERR_INVALID},
        {SOTTO_ERR_USAGE, SOTTO_ERR_INVALID},
        {SOTTO_ERR_AUTH, SOTTO_ERR_AUTH},
        {SOTTO_ERR_NOMEM, SOTTO_ERR_NOMEM},
        {SOTTO_ERR_IO, SOTTO_ERR_IO},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        CLEANUP(world_close) struct world w = {0};
        CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
        CLEANUP(sotto_commit_out_free) struct sotto_commit_out none = {0};
        struct service s = {.answer = rows[i].answer, .about = 'D'};
        struct sotto_key_package kp = {0};
        enum sotto_outcome outcome = 0;
        CHECK(world_three(&w, SUITE_1, 5));
        CHECK_UINT(world_key_package(&w, 3), SOTTO_OK);
        struct sotto_bytes add = view_of(&w.member[3].key_package);
        struct sotto_commit ask = {.adds = &add, .add_count = 1};
        CHECK_UINT(sotto_group_commit(w.member[0].group, &ask, &out), SOTTO_OK);
        employ(&w, &s);
        CHECK_UINT(sotto_key_package_inspect(w.mls, add, &kp), rows[i].want);
        CHECK_UINT(sotto_group_commit(w.member[1].group, &ask, &none),
                   rows[i].want);
        CHECK(!sotto_group_has_pending(w.member[1].group));
        CHECK_UINT(world_take(&w, 1, view_of(&out.message), &outcome),
                   rows[i].want);
        CHECK_UINT(world_join(&w, 3, view_of(&out.welcome)), rows[i].want);
        CHECK(w.member[3].group == NULL);

        /* What says nothing about the message has not spent its key. */
        s.answer = SOTTO_OK;
        bool again =
            rows[i].answer == SOTTO_ERR_NOMEM || rows[i].answer == SOTTO_ERR_IO;
        CHECK_UINT(world_outcome(&w, 1, &out.message),
                   again ? SOTTO_COMMIT : SOTTO_DUPLICATE);
    }
}

static void external_senders_are_asked_about_when_they_change(void)
{
    CLEANUP(world_close) struct world w = {0};
    struct service s = {0};
    uint8_t list[64] = {1 + 32 + 2 + 1 + 1, 32};
    CHECK(world_three(&w, SUITE_1, 6));
    memcpy(list + 2, w.member[9].signature_public.data, 32);
    list[35] = SOTTO_CREDENTIAL_BASIC;
    list[36] = 1;
    list[37] = 'S';
    struct sotto_extension e[] = {{5, {list, 38}}, {WORLD_EXT, text_of("x")}};
    struct sotto_extension_list one = {e, 1};
    struct sotto_extension_list both = {e, 2};
    struct sotto_commit ask = {.extensions = &one};
    struct sotto_commit more = {.extensions = &both};
    employ(&w, &s);
    CHECK_UINT(world_commit(&w, 0, &ask, NULL, 0), SOTTO_OK);
    CHECK(was_asked_about(&s, "SSS"));
    CHECK_UINT(world_commit(&w, 1, &more, NULL, 0), SOTTO_OK);
    CHECK_UINT(s.asked, 3);
    CHECK_UINT(world_add(&w, 0, 3, 4), SOTTO_OK);
    CHECK_UINT(s.names[s.asked - 1], 'S'); /* by the joiner, after the leaves */

    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    s.answer = SOTTO_ERR_INVALID;
    s.about = 'T';
    list[37] = 'T';
    CHECK_UINT(sotto_group_commit(w.member[0].group, &ask, &out),
               SOTTO_ERR_INVALID);
    s.about = 'S';
    list[37] = 'S';
    CHECK_UINT(sotto_group_commit(w.member[0].group, &ask, &out), SOTTO_OK);
}

static void a_joiner_with_a_clock_refuses_leaves_out_of_time(void)
{
    static const struct {
        uint64_t now;
        enum sotto_err want;
    } rows[] = {
        {999, SOTTO_ERR_INVALID}, {2001, SOTTO_ERR_INVALID}, {1000, SOTTO_OK}};
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    CHECK(world_three(&w, SUITE_1, 7));
    CHECK_UINT(world_key_package(&w, 3), SOTTO_OK);
    struct sotto_bytes add = view_of(&w.member[3].key_package);
    struct sotto_commit ask = {.adds = &add, .add_count = 1};
    CHECK_UINT(sotto_group_commit(w.member[0].group, &ask, &out), SOTTO_OK);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct sotto_join join = {.welcome = view_of(&out.welcome),
                                  .key_package_private =
                                      view_of(&w.member[3].key_package_private),
                                  .now = rows[i].now};
        CHECK_UINT(sotto_group_join(w.mls, &join, &w.member[3].group),
                   rows[i].want);
    }
}

static void a_proposer_with_a_clock_refuses_what_is_out_of_time(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
    CHECK(world_three(&w, SUITE_1, 8));
    CHECK_UINT(world_key_package(&w, 3), SOTTO_OK);
    struct sotto_proposal p = {.kind = SOTTO_PROPOSE_ADD,
                               .key_package = view_of(&w.member[3].key_package),
                               .now = 2001};
    CHECK_UINT(sotto_group_propose(w.member[0].group, &p, &message),
               SOTTO_ERR_INVALID);
    p.now = 2000;
    CHECK_UINT(sotto_group_propose(w.member[0].group, &p, &message), SOTTO_OK);
    CHECK_UINT(world_outcome(&w, 0, &message), SOTTO_PROPOSAL);

    /* It lies there until its time is over: then it is left out. */
    struct sotto_commit ask = {.use_pending = true, .now = 2001};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    CHECK_UINT(sotto_group_commit(w.member[0].group, &ask, &out), SOTTO_OK);
    CHECK_UINT(out.welcome.len, 0);
}

static const struct test tests[] = {
    TEST(each_new_credential_is_asked_about),
    TEST(the_same_credential_is_not_asked_about_again),
    TEST(a_new_key_of_a_member_is_a_successor),
    TEST(an_update_asks_when_it_is_committed),
    TEST(what_is_refused_does_not_get_in),
    TEST(external_senders_are_asked_about_when_they_change),
    TEST(a_joiner_with_a_clock_refuses_leaves_out_of_time),
    TEST(a_proposer_with_a_clock_refuses_what_is_out_of_time),
};
TEST_MAIN(tests)
