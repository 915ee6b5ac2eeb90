/* SPDX-License-Identifier: Apache-2.0 */
/* What a client says about itself, with GREASE and without (RFC 9420, section
 * 13.5). What it makes of another's GREASE is in rules_test.c. */
#include "mls/key_package.h"

#include "mls/messages.h"
#include "mls/world.h"
#include "test.h"

#define SUITE_1 1U /* X25519, AES-128, SHA-256, Ed25519: the fastest */

static enum err key_package_of(const struct sotto_buf *message,
                               struct key_package *out)
{
    struct mls_message m = {0};
    struct reader r = reader_of((struct bytes){message->data, message->len});
    mls_message_read(&r, &m);
    *out = m.key_package;
    return reader_finish(&r);
}

static size_t grease_count(struct bytes list)
{
    size_t n = 0;
    struct reader r = reader_of(list);
    while (reader_more(&r))
        n += grease_is(reader_u16(&r));
    return n;
}

static size_t grease_extensions(struct bytes list)
{
    size_t n = 0;
    struct reader r = reader_of(list);
    while (reader_more(&r)) {
        struct extension e = {0};
        extension_read(&r, &e);
        n += grease_is(e.type);
    }
    return n;
}

/* "The following fields": once each, or not at all. */
static bool has_grease(const struct key_package *kp, size_t n)
{
    const struct capabilities *c = &kp->leaf.capabilities;
    return grease_count(c->cipher_suites) == n &&
           grease_count(c->extensions) == n &&
           grease_count(c->proposals) == n &&
           grease_count(c->credentials) == n &&
           grease_extensions(kp->leaf.extensions) == n &&
           grease_extensions(kp->extensions) == n &&
           grease_count(c->versions) == 0;
}

/* Section 10: what a KeyPackage has, its capabilities name. */
static bool names_its_extensions(const struct key_package *kp)
{
    struct reader r = reader_of(kp->extensions);
    while (reader_more(&r)) {
        struct extension e = {0};
        extension_read(&r, &e);
        if (!u16_list_has(kp->leaf.capabilities.extensions, e.type))
            return false;
    }
    return true;
}

static void grease_is_there_when_asked_for(void)
{
    CLEANUP(world_close) struct world w = {0};
    struct key_package kp = {0};
    uint32_t seen = 0;
    CHECK_UINT(world_open(&w, SUITE_1, 1), SOTTO_OK);
    CHECK_UINT(world_key_package(&w, 0), SOTTO_OK);
    CHECK_UINT(key_package_of(&w.member[0].key_package, &kp), OK);
    CHECK(has_grease(&kp, 0));
    w.grease = true;
    for (size_t i = 0; i < 100; i++) {
        CHECK_UINT(world_key_package(&w, 0), SOTTO_OK);
        CHECK_UINT(key_package_of(&w.member[0].key_package, &kp), OK);
        CHECK(has_grease(&kp, 1));
        CHECK(names_its_extensions(&kp));
        CHECK(!grease_is(kp.leaf.credential.type));
        struct reader r = reader_of(kp.leaf.capabilities.proposals);
        seen |= 1U << (reader_u16(&r) >> 12);
    }
    CHECK_UINT(seen, 0x7fff); /* all 15 come up */
}

static bool info_has_grease(struct world *w, size_t i, size_t n)
{
    CLEANUP(sotto_buf_free) struct sotto_buf info = {0};
    struct mls_message m = {0};
    if (sotto_group_info(w->member[i].group, true, &info) != SOTTO_OK)
        return false;
    struct reader r = reader_of((struct bytes){info.data, info.len});
    mls_message_read(&r, &m);
    return reader_finish(&r) == OK && m.wire_format == WIRE_GROUP_INFO &&
           grease_extensions(m.group_info.extensions) == n &&
           grease_extensions(m.group_info.context.extensions) == 0;
}

/* Of a group of three, the second has GREASE: it lives with the others, and
 * keeps it when it replaces the extensions of its leaf. */
static void who_has_grease_lives_with_the_others(void)
{
    CLEANUP(world_close) struct world w = {0};
    struct sotto_extension e = {WORLD_EXT, text_of("mine")};
    struct sotto_extension_list list = {&e, 1};
    struct sotto_leaf_change change = {.extensions = &list};
    struct sotto_commit plain = {0};
    struct sotto_commit ask = {.leaf = &change};
    struct sotto_leaf leaf = {0};

    CHECK_UINT(world_open(&w, SUITE_1, 2), SOTTO_OK);
    CHECK_UINT(world_found(&w, 0), SOTTO_OK);
    w.grease = true;
    CHECK_UINT(world_add(&w, 0, 1, 2), SOTTO_OK);
    w.grease = false;
    CHECK_UINT(world_add(&w, 1, 2, 3), SOTTO_OK); /* a Welcome with GREASE */
    for (size_t i = 0; i < 3; i++) {
        CHECK(info_has_grease(&w, i, i == 1));
        CHECK_UINT(world_commit(&w, i, &plain, NULL, 0), SOTTO_OK);
        CHECK_UINT(world_reload(&w, i), SOTTO_OK);
    }
    CHECK_UINT(world_commit(&w, 1, &ask, NULL, 0), SOTTO_OK);
    CHECK_UINT(sotto_group_member(w.member[0].group, 1, &leaf), SOTTO_OK);
    CHECK_UINT(grease_extensions(bytes_in(leaf.extensions)), 1);
    CHECK(world_agrees(&w));
}

/* "GREASE values MUST NOT be sent" in a GroupContext, also where each member
 * would seem to list it. */
static void a_group_context_has_no_grease(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    CHECK_UINT(world_open(&w, SUITE_1, 3), SOTTO_OK);
    w.grease = true;
    CHECK_UINT(world_found(&w, 0), SOTTO_OK);
    struct sotto_leaf leaf = {0};
    struct sotto_extension e = {0};
    CHECK_UINT(sotto_group_member(w.member[0].group, 0, &leaf), SOTTO_OK);
    CHECK_UINT(sotto_extension_at(leaf.extensions, 0, &e), SOTTO_OK);
    CHECK(grease_is(e.type));
    struct sotto_extension_list list = {&e, 1};
    struct sotto_commit ask = {.extensions = &list};
    CHECK_UINT(sotto_group_commit(w.member[0].group, &ask, &out),
               SOTTO_ERR_INVALID);
}

/* "The following proposal and extension types are considered default and MUST
 * NOT be listed" (section 7.2), also when the caller names them. */
static void a_leaf_does_not_list_what_all_support(void)
{
    static const uint16_t types[] = {1, 2, 3, 4, 5, 6, 7, 0xf100};
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(leaf_parts_clear) struct leaf_parts p = {0};
    struct sotto_identity id = {.suite = SUITE_1,
                                .extension_types = types,
                                .extension_type_count = COUNT(types),
                                .proposal_types = types,
                                .proposal_type_count = COUNT(types),
                                .last_resort = true};
    CHECK_UINT(world_open(&w, SUITE_1, 4), SOTTO_OK);
    CHECK_UINT(leaf_parts_make(w.mls, &id, &p), OK);
    CHECK_BYTES(p.leaf.capabilities.extensions, LIT("\0\6\0\7\xf1\0\0\x0a"));
    CHECK_BYTES(p.leaf.capabilities.proposals, LIT("\xf1\0"));
    CHECK_BYTES(p.leaf.capabilities.versions, LIT("\0\1"));
    struct sotto_suite suite;
    for (size_t i = 0; sotto_suite_at(i, &suite) == SOTTO_OK; i++)
        CHECK(u16_list_has(p.leaf.capabilities.cipher_suites, suite.id));
}

/* Section 11: who makes a group chooses the best suite of all members. */
static void a_key_package_shows_what_its_owner_supports(void)
{
    CLEANUP(world_close) struct world w = {0};
    struct sotto_key_package kp = {0};
    CHECK_UINT(world_open(&w, SUITE_1, 5), SOTTO_OK);
    w.grease = true;
    CHECK_UINT(world_key_package(&w, 0), SOTTO_OK);
    CHECK_UINT(sotto_key_package_inspect(
                   w.mls, view_of(&w.member[0].key_package), &kp),
               SOTTO_OK);
    const struct sotto_capabilities *c = &kp.leaf.capabilities;
    CHECK(sotto_capability_has(c->versions, 1));
    CHECK(sotto_capability_has(c->suites, sotto_suite_default()));
    CHECK(!sotto_capability_has(c->suites, 0x7777));
    CHECK(sotto_capability_has(c->extensions, WORLD_EXT));
    CHECK(sotto_capability_has(c->proposals, SOTTO_PROPOSAL_SELF_REMOVE));
    CHECK(sotto_capability_has(c->credentials, SOTTO_CREDENTIAL_BASIC));
    CHECK(!sotto_capability_has(c->credentials, SOTTO_CREDENTIAL_X509));
    struct reader r = reader_of(bytes_in(c->suites));
    CHECK(!sotto_capability_has(c->suites, reader_u16(&r))); /* GREASE */
    CHECK(!sotto_capability_has((struct sotto_bytes){0}, 1));
}

static const struct test tests[] = {
    TEST(grease_is_there_when_asked_for),
    TEST(who_has_grease_lives_with_the_others),
    TEST(a_group_context_has_no_grease),
    TEST(a_leaf_does_not_list_what_all_support),
    TEST(a_key_package_shows_what_its_owner_supports),
};
TEST_MAIN(tests)
