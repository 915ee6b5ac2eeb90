/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a member sends that its own library would not make: signed, sealed and
 * tagged as it has to be, so that nothing but the rule stands in its way.
 */
#include "mls/group.h"

#include "mls/messages.h"
#include "mls/world.h"
#include "test.h"

#include <stdio.h>

#define SUITE_1 1U /* X25519, AES-128, SHA-256, Ed25519: the fastest */

/* A message of member 0 with that content; its tag, if any, is zeros. */
static enum err forge(struct world *w, enum content_type type,
                      struct bytes body, bool public, struct buf *out)
{
    struct sotto_group *g = w->member[0].group;
    CLEANUP(buf_clear) struct buf signature = buf_new(g->epoch.suite->sign_max);
    uint8_t tag[32] = {0};
    struct outgoing o = {.type = type, .body = body, .public_message = public};
    struct authenticated_content ac = group_content(g, &o);
    TRY(framing_sign(g->mls->crypto, g->epoch.suite, &g->epoch.signature_key,
                     &ac, buf_bytes(&g->epoch.context), &signature));
    ac.auth.signature = buf_bytes(&signature);
    if (type == CONTENT_COMMIT)
        ac.auth.confirmation_tag = (struct bytes){tag, sizeof(tag)};
    return group_write_message(g, &ac, 0, out);
}

static enum sotto_err take(struct world *w, size_t i, const struct buf *message)
{
    enum sotto_outcome outcome = 0;
    struct sotto_bytes view = {message->data, message->len};
    return world_take(w, i, view, &outcome);
}

/* Commits without a path, by what stands in their list. */
static void a_commit_that_breaks_a_rule_is_refused(void)
{
    static const struct {
        const char *what;
        struct bytes body;
        enum sotto_err want;
    } rows[] = {
#define ROW(what, s, want) {what, {(const uint8_t *)(s), sizeof(s) - 1}, want}
        /* Only the tag is wrong: what all see who could apply it. */
        ROW("application data", "\x08\1\0\x09\0\7\2ab\0", SOTTO_ERR_AUTH),
        ROW("nothing, and no path", "\0\0", SOTTO_ERR_INVALID),
        ROW("a removal, and no path", "\7\1\0\3\0\0\0\2\0", SOTTO_ERR_INVALID),
        ROW("extensions, and no path", "\4\1\0\7\0\0", SOTTO_ERR_INVALID),
        ROW("what nobody proposed", "\6\2\4who?\0", SOTTO_ERR_INVALID),
        ROW("a removal of itself", "\7\1\0\3\0\0\0\0\0", SOTTO_ERR_INVALID),
        ROW("an ExternalInit", "\x05\1\0\6\1k\0", SOTTO_ERR_INVALID),
        ROW("a SelfRemove by value", "\3\1\0\x0a\0", SOTTO_ERR_INVALID),
        ROW("GREASE", "\4\1\x0a\x0a\0\0", SOTTO_ERR_INVALID),
    };
    for (size_t i = 0; i < 2 * COUNT(rows); i++) {
        CLEANUP(world_close) struct world w = {0};
        CLEANUP(buf_clear) struct buf message = buf_new(MLS_MESSAGE_MAX);
        CHECK(world_three(&w, SUITE_1, 1));
        uint64_t epoch = sotto_group_epoch(w.member[1].group);
        CHECK_UINT(
            forge(&w, CONTENT_COMMIT, rows[i / 2].body, i % 2 == 0, &message),
            OK);
        enum sotto_err err = take(&w, 1, &message);
        if (err != rows[i / 2].want)
            printf("# %s\n", rows[i / 2].what);
        CHECK_UINT(err, rows[i / 2].want);
        CHECK_UINT(sotto_group_epoch(w.member[1].group), epoch);
    }
}

/* Section 12.1: and it is not kept. */
static void a_proposal_of_a_type_for_others_is_refused(void)
{
    static const struct {
        struct bytes body;
        enum sotto_err want;
    } rows[] = {
#define BODY(s, want) {{(const uint8_t *)(s), sizeof(s) - 1}, want}
        BODY("\0\3\0\0\0\2", SOTTO_OK), /* Remove */
        BODY("\0\x0a", SOTTO_OK),       /* SelfRemove */
        BODY("\0\6\1k", SOTTO_ERR_INVALID),
        BODY("\x1a\x1a\0", SOTTO_ERR_INVALID),
        BODY("\xf0\1\0", SOTTO_ERR_INVALID),
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        CLEANUP(world_close) struct world w = {0};
        CLEANUP(buf_clear) struct buf message = buf_new(MLS_MESSAGE_MAX);
        CHECK(world_three(&w, SUITE_1, 2));
        CHECK_UINT(forge(&w, CONTENT_PROPOSAL, rows[i].body, true, &message),
                   OK);
        CHECK_UINT(take(&w, 1, &message), rows[i].want);
        CHECK_UINT(sotto_group_proposal_count(w.member[1].group),
                   rows[i].want == SOTTO_OK);
    }
}

/* "Applications MUST use PrivateMessage to encrypt application messages". */
static void application_data_is_never_public(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(buf_clear) struct buf public = buf_new(MLS_MESSAGE_MAX);
    CLEANUP(buf_clear) struct buf private = buf_new(MLS_MESSAGE_MAX);
    CHECK(world_three(&w, SUITE_1, 3));
    CHECK_UINT(forge(&w, CONTENT_APPLICATION, LIT("text"), true, &public), OK);
    CHECK_UINT(forge(&w, CONTENT_APPLICATION, LIT("text"), false, &private),
               OK);
    CHECK_UINT(take(&w, 1, &public), SOTTO_ERR_INVALID);
    CHECK_UINT(take(&w, 1, &private), SOTTO_OK);
}

static enum err guard_of(struct sotto_group *g, const struct sotto_buf *message,
                         struct sender_data *out)
{
    struct mls_message m = {0};
    struct reader r = reader_of((struct bytes){message->data, message->len});
    mls_message_read(&r, &m);
    TRY(reader_finish(&r));
    return framing_open_sender(g->mls->crypto, g->epoch.suite,
                               &g->epoch.secrets, &m.private_message, out);
}

/* Section 6.3.1: fresh for each message, and told to the receiver. */
static void each_message_has_a_reuse_guard_of_its_own(void)
{
    CLEANUP(world_close) struct world w = {0};
    struct sender_data seen[8] = {{0}};
    CHECK(world_three(&w, SUITE_1, 4));
    for (uint32_t i = 0; i < COUNT(seen); i++) {
        CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
        CHECK_UINT(sotto_group_protect(w.member[0].group, text_of(""),
                                       text_of("x"), 0, &message),
                   SOTTO_OK);
        CHECK_UINT(guard_of(w.member[1].group, &message, &seen[i]), OK);
        CHECK_UINT(seen[i].leaf_index, 0);
        CHECK_UINT(seen[i].generation, i);
        for (uint32_t k = 0; k < i; k++)
            CHECK(!bytes_equal(BYTES_ARRAY(seen[k].reuse_guard),
                               BYTES_ARRAY(seen[i].reuse_guard)));
    }
}

/* A PublicMessage of a member has the tag that only members can make. */
static void a_public_message_needs_its_tag(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(buf_clear) struct buf message = buf_new(MLS_MESSAGE_MAX);
    CHECK(world_three(&w, SUITE_1, 5));
    CHECK_UINT(forge(&w, CONTENT_PROPOSAL, LIT("\0\3\0\0\0\2"), true, &message),
               OK);
    message.data[message.len - 1] ^= 1; /* the tag is last */
    CHECK_UINT(take(&w, 1, &message), SOTTO_ERR_AUTH);
    message.data[message.len - 1] ^= 1;
    CHECK_UINT(take(&w, 1, &message), SOTTO_OK);
}

/* Section 6: handshake messages are private unless the caller says otherwise.
 */
static void a_commit_is_private_unless_asked(void)
{
    for (int public = 0; public < 2; public ++) {
        CLEANUP(world_close) struct world w = {0};
        CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
        struct sotto_commit ask = {.public_message = public == 1};
        struct sotto_message_view view = {0};
        CHECK(world_three(&w, SUITE_1, 6));
        CHECK_UINT(sotto_group_commit(w.member[0].group, &ask, &out), SOTTO_OK);
        CHECK_UINT(sotto_message_peek(view_of(&out.message), &view), SOTTO_OK);
        CHECK_UINT(view.wire_format,
                   public ? WIRE_PUBLIC_MESSAGE : WIRE_PRIVATE_MESSAGE);
    }
}

/* Sections 12.4.3.1 and 12.4.3.3: the tree may come from anywhere, if it is the
 * one that the Welcome means. */
static void a_joiner_needs_the_tree_of_the_group(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf old = {0};
    CHECK(world_three(&w, SUITE_1, 7));
    CHECK_UINT(world_key_package(&w, 3), SOTTO_OK);
    struct sotto_bytes add = view_of(&w.member[3].key_package);
    struct sotto_commit ask = {
        .adds = &add, .add_count = 1, .tree_outside = true};
    CHECK_UINT(sotto_group_ratchet_tree(w.member[0].group, &old), SOTTO_OK);
    CHECK_UINT(sotto_group_commit(w.member[0].group, &ask, &out), SOTTO_OK);
    struct sotto_join join = {.welcome = view_of(&out.welcome),
                              .key_package_private =
                                  view_of(&w.member[3].key_package_private)};
    struct sotto_group **g = &w.member[3].group;
    CHECK_UINT(sotto_group_join(w.mls, &join, g), SOTTO_ERR_NOTFOUND);
    join.ratchet_tree = view_of(&old);
    CHECK_UINT(sotto_group_join(w.mls, &join, g), SOTTO_ERR_INVALID);
    join.ratchet_tree = view_of(&out.ratchet_tree);
    CHECK_UINT(sotto_group_join(w.mls, &join, g), SOTTO_OK);
}

/* ---- What a member may propose, and commit ---- */

static void nobody_proposes_what_cannot_be_committed(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf out = {0};
    struct sotto_extension e = {0xf777, text_of("nobody lists it")};
    struct sotto_proposal remove = {.kind = SOTTO_PROPOSE_REMOVE, .leaf = 3};
    struct sotto_proposal extend = {.kind = SOTTO_PROPOSE_EXTENSIONS,
                                    .extensions = {&e, 1}};
    CHECK(world_three(&w, SUITE_1, 30));
    struct sotto_group *g = w.member[0].group;
    CHECK_UINT(sotto_group_propose(g, &remove, &out), SOTTO_ERR_NOTFOUND);
    CHECK_UINT(sotto_group_propose(g, &extend, &out), SOTTO_ERR_INVALID);
    CHECK_UINT(sotto_group_proposal_count(g), 0);
}

/* The others cannot know what has not come back from the server. */
static void a_commit_waits_for_ones_own_proposals(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf proposal = {0};
    struct sotto_proposal remove = {.kind = SOTTO_PROPOSE_REMOVE, .leaf = 2};
    struct sotto_commit ask = {.use_pending = true};
    CHECK(world_three(&w, SUITE_1, 31));
    CHECK_UINT(sotto_group_propose(w.member[0].group, &remove, &proposal),
               SOTTO_OK);
    CHECK_UINT(world_commit(&w, 0, &ask, NULL, 0), SOTTO_OK);
    CHECK_UINT(world_in_group(&w), 3);
    CHECK(world_agrees(&w));
}

/* Its keys come into force with the commit of another. */
static void an_update_with_a_new_signature_key_takes_over(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf proposal = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf said = {0};
    CHECK(world_three(&w, SUITE_1, 32));
    const struct member *spare = &w.member[20];
    struct sotto_leaf_change change = {
        .signature_private = view_of(&spare->signature_private),
        .signature_public = view_of(&spare->signature_public)};
    struct sotto_proposal update = {.kind = SOTTO_PROPOSE_UPDATE,
                                    .change = &change};
    struct sotto_commit ask = {.use_pending = true};
    struct sotto_commit plain = {0};
    CHECK_UINT(sotto_group_propose(w.member[1].group, &update, &proposal),
               SOTTO_OK);
    for (size_t i = 0; i < 3; i++)
        CHECK_UINT(world_outcome(&w, i, &proposal), SOTTO_PROPOSAL);
    CHECK_UINT(world_commit(&w, 0, &ask, NULL, 0), SOTTO_OK);
    CHECK_UINT(sotto_group_protect(w.member[1].group, text_of(""),
                                   text_of("hello"), 0, &said),
               SOTTO_OK);
    CHECK_UINT(world_outcome(&w, 2, &said), SOTTO_APPLICATION);
    CHECK_UINT(world_commit(&w, 1, &plain, NULL, 0), SOTTO_OK);
    CHECK(world_agrees(&w));
}

/* Section 7.5: what a commit blanks has no key any more. */
static void no_key_outlives_its_node(void)
{
    CLEANUP(world_close) struct world w = {0};
    const uint32_t gone = 3;
    struct sotto_commit ask = {0};
    CHECK_UINT(world_open(&w, SUITE_1, 33), SOTTO_OK);
    CHECK_UINT(world_found(&w, 0), SOTTO_OK);
    CHECK_UINT(world_add(&w, 0, 1, 8), SOTTO_OK);
    for (size_t i = 0; i < 9; i++) {
        if (i == 8) {
            ask.removes = &gone;
            ask.remove_count = 1;
        }
        CHECK_UINT(world_commit(&w, i % 8, &ask, NULL, 0), SOTTO_OK);
    }
    for (size_t i = 0; i < 8; i++) {
        const struct sotto_group *g = w.member[i].group;
        CHECK((g == NULL) == (i == gone));
        if (g != NULL)
            CHECK_UINT(treekem_private_check(w.mls->crypto, g->epoch.suite,
                                             &g->epoch.keys, g->epoch.tree),
                       OK);
    }
}

static const struct test tests[] = {
    TEST(nobody_proposes_what_cannot_be_committed),
    TEST(a_commit_waits_for_ones_own_proposals),
    TEST(an_update_with_a_new_signature_key_takes_over),
    TEST(no_key_outlives_its_node),
    TEST(a_commit_that_breaks_a_rule_is_refused),
    TEST(a_proposal_of_a_type_for_others_is_refused),
    TEST(application_data_is_never_public),
    TEST(each_message_has_a_reuse_guard_of_its_own),
    TEST(a_public_message_needs_its_tag),
    TEST(a_commit_is_private_unless_asked),
    TEST(a_joiner_needs_the_tree_of_the_group),
};
TEST_MAIN(tests)
