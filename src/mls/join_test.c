/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a joiner refuses of a member that signs what it likes (RFC 9420, section
 * 12.4.3): a GroupInfo that is good, and a row for each way to spoil it; and
 * Welcomes.
 */
#include "mls/evil.h"
#include "mls/group_info.h"
#include "mls/key_package.h"
#include "mls/world.h"

#include "test.h"

#include <stdio.h>

#define SUITE_1  1U
#define STRANGER 5U /* of the world, not in the group */

/* ---- The GroupInfo ---- */

struct forged {
    const struct sotto_group *g; /* member 0's */
    struct sotto_identity id;    /* the stranger's */
    struct tree *tree;
    struct group_context context;
    struct digest root;
    uint32_t signer;
};

static void forged_clear(struct forged *f) { tree_free(&f->tree); }

static enum err set_root(struct forged *f)
{
    TRY(tree_hash(f->g->mls->crypto, f->tree, &f->root));
    f->context.tree_hash = digest_bytes(&f->root);
    return OK;
}

/* Puts a leaf of the stranger into the tree, after a change. */
static enum err add_stranger(struct forged *f,
                             void (*change)(struct leaf_node *leaf),
                             bool damage)
{
    CLEANUP(key_package_private_clear) struct key_package_private kp = {0};
    CLEANUP(buf_clear) struct buf encoded = buf_new(MLS_LEAF_MAX);
    uint32_t at;
    TRY(key_package_make(f->g->mls, &f->id, &kp));
    struct leaf_node leaf = kp.key_package.leaf;
    if (change != NULL)
        change(&leaf);
    TRY(leaf_sign(f->g->mls->crypto, kp.suite, &kp.signature_key, &leaf,
                  &(struct leaf_place){0}, &encoded));
    if (damage)
        encoded.data[encoded.len - 1] ^= 1;
    struct reader r = reader_of(buf_bytes(&encoded));
    leaf_node_read(&r, &leaf);
    TRY(reader_finish(&r));
    TRY(tree_add(f->tree, &leaf, &at));
    return set_root(f);
}

static void list_no_version(struct leaf_node *leaf)
{
    leaf->capabilities.versions = LIT("\0\2");
}

static void list_no_suite(struct leaf_node *leaf)
{
    leaf->capabilities.cipher_suites = LIT("\0\2");
}

static void use_grease(struct leaf_node *leaf)
{
    leaf->extensions = LIT("\x3a\x3a\0");
}

static enum err keep(struct forged *f)
{
    (void)f;
    return OK;
}

static enum err other_version(struct forged *f)
{
    f->context.version = 2;
    return OK;
}

static enum err other_suite(struct forged *f)
{
    f->context.cipher_suite = 3;
    return OK;
}

static enum err other_tree(struct forged *f)
{
    f->root.data[0] ^= 1;
    return OK;
}

static enum err broken_chain(struct forged *f)
{
    TRY(tree_set_parent(f->tree, 1, LIT("a new key"), LIT("a new hash")));
    return set_root(f);
}

static enum err blank_signer(struct forged *f)
{
    f->signer = 3;
    return OK;
}

static enum err other_signer(struct forged *f)
{
    f->signer = 1;
    return OK;
}

static enum err one_more(struct forged *f)
{
    return add_stranger(f, NULL, false);
}

static enum err unsigned_leaf(struct forged *f)
{
    return add_stranger(f, NULL, true);
}

static enum err no_version(struct forged *f)
{
    return add_stranger(f, list_no_version, false);
}

static enum err no_suite(struct forged *f)
{
    return add_stranger(f, list_no_suite, false);
}

static enum err not_listed(struct forged *f)
{
    return add_stranger(f, use_grease, false);
}

static enum err extension_of_all(struct forged *f)
{
    f->context.extensions = LIT("\xf1\0\0");
    return one_more(f);
}

static enum err extension_of_most(struct forged *f)
{
    f->id.extension_type_count = 0;
    return extension_of_all(f);
}

static enum err forge(struct world *w, struct forged *f)
{
    f->g = w->member[0].group;
    f->id = world_identity(w, STRANGER);
    f->context = f->g->epoch.fields;
    TRY(tree_fork(f->g->epoch.tree, &f->tree));
    return set_root(f);
}

/* Signs it as member 0 and checks it as somebody who joins would. */
static enum err check(const struct forged *f)
{
    struct sotto_mls *mls = f->g->mls;
    const struct suite *s = f->g->epoch.suite;
    CLEANUP(buf_clear) struct buf encoded = buf_new(MLS_MESSAGE_MAX);
    CLEANUP(buf_clear) struct buf tbs = buf_new(MLS_MESSAGE_MAX);
    CLEANUP(buf_clear) struct buf signature = buf_new(s->sign_max);
    CLEANUP(tree_free) struct tree *t = NULL;
    struct group_info info = {.context = f->context,
                              .confirmation_tag = LIT("tag"),
                              .signer = f->signer};
    struct writer w = writer_to(&tbs);
    group_info_write_unsigned(&w, &info);
    TRY(writer_finish(&w));
    TRY(sign_with_label(mls->crypto, s, &f->g->epoch.signature_key,
                        "GroupInfoTBS", buf_bytes(&tbs), &signature));
    info.signed_part = buf_bytes(&tbs);
    info.signature = buf_bytes(&signature);
    w = writer_to(&encoded);
    tree_write(&w, f->tree);
    TRY(writer_finish(&w));
    struct info_case at = {mls, s, &info, buf_bytes(&encoded), 0};
    return group_info_check(&at, &t);
}

static void a_group_info_keeps_each_rule(void)
{
    static const struct {
        const char *what;
        enum err (*spoil)(struct forged *f);
        enum err want;
    } rows[] = {
        {"as it was", keep, OK},
        {"a member more", one_more, OK},
        {"an extension that all list", extension_of_all, OK},
        {"another version", other_version, ERR_INVALID},
        {"another suite", other_suite, ERR_INVALID},
        {"the hash of another tree", other_tree, ERR_INVALID},
        {"a broken chain of hashes", broken_chain, ERR_INVALID},
        {"a blank signer", blank_signer, ERR_INVALID},
        {"another signer", other_signer, ERR_AUTH},
        {"a leaf that nobody signed", unsigned_leaf, ERR_AUTH},
        {"a leaf of another version", no_version, ERR_INVALID},
        {"a leaf of another suite", no_suite, ERR_INVALID},
        {"a leaf with what it does not list", not_listed, ERR_INVALID},
        {"an extension that one does not list", extension_of_most, ERR_INVALID},
    };
    CLEANUP(world_close) struct world w = {0};
    struct sotto_commit ask = {0};
    CHECK(world_three(&w, SUITE_1, 1));
    CHECK_UINT(world_commit(&w, 0, &ask, NULL, 0), SOTTO_OK);
    for (size_t i = 0; i < COUNT(rows); i++) {
        CLEANUP(forged_clear) struct forged f = {0};
        CHECK_UINT(forge(&w, &f), OK);
        CHECK_UINT(rows[i].spoil(&f), OK);
        enum err err = check(&f);
        if (err != rows[i].want)
            printf("# %s\n", rows[i].what);
        CHECK_UINT(err, rows[i].want);
    }
}

/* ---- The Welcome ---- */

static enum sotto_err join(struct world *w, struct sotto_bytes welcome)
{
    CLEANUP(sotto_group_free) struct sotto_group *g = NULL;
    struct sotto_join ask = {.welcome = welcome,
                             .key_package_private = view_of(
                                 &w->member[STRANGER].key_package_private)};
    return sotto_group_join(w->mls, &ask, &g);
}

/* The signature covers the tag, but only the keys show that it is right. */
static void a_joiner_checks_the_confirmation_tag(void)
{
    CLEANUP(world_close) struct world w = {0};
    CHECK(world_three(&w, SUITE_1, 2));
    CHECK_UINT(world_key_package(&w, STRANGER), SOTTO_OK);
    struct sotto_bytes add = view_of(&w.member[STRANGER].key_package);
    struct sotto_commit ask = {.adds = &add, .add_count = 1};
    for (size_t broken = 0; broken < 2; broken++) {
        CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
        evil_next_commit(broken ? EVIL_TAG : EVIL_NONE, 0);
        CHECK_UINT(sotto_group_commit(w.member[0].group, &ask, &out), SOTTO_OK);
        CHECK_UINT(join(&w, view_of(&out.welcome)),
                   broken ? SOTTO_ERR_AUTH : SOTTO_OK);
        sotto_group_drop_pending(w.member[0].group);
    }
}

static enum err psks_write(const enum psk_usage usage[2], struct buf *out)
{
    static const uint8_t nonce[32] = {0};
    struct writer w = writer_to(out);
    for (size_t i = 0; i < 2 && usage[i] != 0; i++) {
        struct psk_id id = {.type = PSK_RESUMPTION,
                            .usage = usage[i],
                            .group_id = BYTES_LIT("old group"),
                            .epoch = i,
                            .nonce = BYTES_ARRAY(nonce)};
        psk_id_write(&w, &id);
    }
    return writer_finish(&w);
}

/* A Welcome for the stranger that names such PSKs; nothing else is right. */
static enum err welcome_forge(struct world *w, const enum psk_usage usage[2],
                              struct buf *out)
{
    const struct sotto_group *g = w->member[0].group;
    const struct suite *s = g->epoch.suite;
    CLEANUP(buf_clear) struct buf psks = buf_new(MLS_LEAF_MAX);
    CLEANUP(buf_clear) struct buf plain = buf_new(MLS_LEAF_MAX);
    CLEANUP(buf_clear) struct buf sealed = buf_new(MLS_LEAF_MAX);
    struct key_package kp = {0};
    struct digest ref = {0};
    struct group_secrets secrets = {.joiner_secret = {.len = s->nh}};
    struct mls_message m = {.wire_format = WIRE_WELCOME};

    TRY(key_package_message_read(
        bytes_in(view_of(&w->member[STRANGER].key_package)), &kp));
    TRY(psks_write(usage, &psks));
    secrets.psks = buf_bytes(&psks);
    struct writer wr = writer_to(&plain);
    group_secrets_write(&wr, &secrets);
    TRY(writer_finish(&wr));
    TRY(key_package_ref(g->mls->crypto, s, kp.raw, &ref));
    struct seal_label label = {"Welcome", LIT("group info"), kp.init_key, NULL};
    wr = writer_to(&sealed);
    writer_vec(&wr, digest_bytes(&ref));
    TRY(encrypt_with_label(g->mls->crypto, s, &g->mls->random, &label,
                           buf_bytes(&plain), &wr));
    m.welcome = (struct welcome){.cipher_suite = (uint16_t)s->id,
                                 .secrets = buf_bytes(&sealed),
                                 .encrypted_group_info = LIT("group info")};
    wr = writer_to(out);
    mls_message_write(&wr, &m);
    return writer_finish(&wr);
}

/* "if a PreSharedKeyID has type resumption with usage reinit or branch, verify
 * that it is the only such PSK": before any is looked for. */
static void a_joiner_follows_one_group_at_most(void)
{
    static const struct {
        enum psk_usage usage[2];
        enum sotto_err want;
    } rows[] = {
        {{PSK_BRANCH, 0}, SOTTO_ERR_NOTFOUND},
        {{PSK_BRANCH, PSK_APPLICATION}, SOTTO_ERR_NOTFOUND},
        {{PSK_BRANCH, PSK_BRANCH}, SOTTO_ERR_INVALID},
        {{PSK_REINIT, PSK_REINIT}, SOTTO_ERR_INVALID},
        {{PSK_REINIT, PSK_BRANCH}, SOTTO_ERR_INVALID},
    };
    CLEANUP(world_close) struct world w = {0};
    CHECK(world_three(&w, SUITE_1, 3));
    CHECK_UINT(world_key_package(&w, STRANGER), SOTTO_OK);
    for (size_t i = 0; i < COUNT(rows); i++) {
        CLEANUP(buf_clear) struct buf welcome = buf_new(MLS_MESSAGE_MAX);
        CHECK_UINT(welcome_forge(&w, rows[i].usage, &welcome), OK);
        CHECK_UINT(join(&w, bytes_out(buf_bytes(&welcome))), rows[i].want);
    }
}

static const struct test tests[] = {
    TEST(a_group_info_keeps_each_rule),
    TEST(a_joiner_checks_the_confirmation_tag),
    TEST(a_joiner_follows_one_group_at_most),
};
TEST_MAIN(tests)
