/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which lists of proposals a commit may hold (RFC 9420, section 12.2): a row
 * for each rule, beside rows that keep it. Leaves 0 to 3 are members; all list
 * what they can but number 3, who lists no proposal type.
 */
#include "mls/proposal_list.h"

#include "crypto/entropy.h"
#include "crypto/kem.h"
#include "mls/key_package.h"
#include "test.h"

#include <stdio.h>

#define MEMBERS  4U
#define PACKAGES 8U
#define STEPS    3U
#define GROUP    BYTES_LIT("group")
#define EXT      0xf100U /* that all but STRANGE list */
#define NOW      1500U

enum { /* KeyPackages of nobody in the group */
    FRIEND = MEMBERS,
    OTHER,
    TWIN,    /* has the signature key of member 1 */
    STRANGE, /* lists no extension and no proposal type */
};

struct fixture {
    struct sotto_mls *mls;
    struct entropy_seeded entropy;
    struct sotto_buf private_key[PACKAGES], public_key[PACKAGES];
    struct key_package_private kp[PACKAGES];
    struct tree *tree;
    enum psk_usage link; /* of the commit */
};

static void fixture_clear(struct fixture *f)
{
    for (size_t i = 0; i < PACKAGES; i++) {
        key_package_private_clear(&f->kp[i]);
        sotto_buf_free(&f->private_key[i]);
        sotto_buf_free(&f->public_key[i]);
    }
    tree_free(&f->tree);
    sotto_mls_free(&f->mls);
}

static struct sotto_bytes view(const struct sotto_buf *b)
{
    return (struct sotto_bytes){b->data, b->len};
}

static enum err package(struct fixture *f, size_t i)
{
    static const uint16_t extensions[] = {EXT, EXTENSION_APP_DATA_DICTIONARY};
    static const uint16_t proposals[] = {PROPOSAL_APP_EPHEMERAL,
                                         PROPOSAL_APP_DATA_UPDATE,
                                         PROPOSAL_SELF_REMOVE, 0xf123};
    size_t key = i == TWIN ? 1 : i;
    if (i != TWIN && sotto_mls_signature_keygen(f->mls, SUITE_X25519_AES128,
                                                &f->private_key[i],
                                                &f->public_key[i]) != SOTTO_OK)
        return ERR_NOMEM;
    struct sotto_identity id = {
        .suite = SUITE_X25519_AES128,
        .signature_private = view(&f->private_key[key]),
        .signature_public = view(&f->public_key[key]),
        .extension_types = extensions,
        .extension_type_count = i == STRANGE ? 0 : COUNT(extensions),
        .proposal_types = proposals,
        .proposal_type_count = i == 3 || i == STRANGE ? 0 : COUNT(proposals),
        .not_before = 1000,
        .not_after = 2000};
    return key_package_make(f->mls, &id, &f->kp[i]);
}

static bool fixture_open(struct fixture *f)
{
    *f = (struct fixture){0};
    entropy_seed(&f->entropy, 1);
    struct random rnd = entropy_of(&f->entropy);
    if (sotto_mls_create((struct sotto_random){rnd.fill, rnd.ctx}, &f->mls) !=
            SOTTO_OK ||
        tree_create(suite_find(SUITE_X25519_AES128), &f->tree) != OK)
        return false;
    sotto_mls_set_component_logic(
        f->mls, (struct sotto_component_logic){sotto_component_replace, NULL});
    for (size_t i = 0; i < PACKAGES; i++) {
        uint32_t leaf = 0;
        if (package(f, i) != OK)
            return false;
        if (i < MEMBERS &&
            tree_add(f->tree, &f->kp[i].key_package.leaf, &leaf) != OK)
            return false;
    }
    return true;
}

/* ---- The steps of a list ---- */

enum kind {
    NONE,
    ADD,              /* arg: the KeyPackage */
    ADD_UNSIGNED,     /* signed by another */
    UPDATE,           /* arg: the leaf that it is signed for */
    UPDATE_SAME_KEY,  /* the encryption key that the leaf has already */
    UPDATE_AS_COMMIT, /* with the source of a commit's leaf */
    UPDATE_UNSIGNED,
    UPDATE_HALF,   /* with half a key */
    REMOVE,        /* arg: the leaf */
    PSK,           /* arg: its letter */
    PSK_SHORT,     /* a nonce that is too short */
    PSK_RESUME,    /* arg: the usage; sender: the epoch */
    REINIT,        /* arg: the version */
    EXTERNAL_INIT, /* */
    CONTEXT,       /* arg: a type of extension; 0: none */
    REQUIRE,       /* arg: a required extension type */
    REQUIRE_PROPOSAL,
    REQUIRE_CREDENTIAL,
    SENDERS,  /* arg: bytes of the key of an external sender */
    APP,      /* */
    APP_DATA, /* arg: what it sets */
    APP_GONE, /* arg: what it removes */
    LEAVE,    /* SelfRemove */
    UNKNOWN,  /* arg: its type */
};

struct step {
    enum kind kind;
    uint16_t arg;
    enum sender_type by; /* 0: by value, of the committer */
    uint32_t sender;
};

/* A signed leaf for an Update. */
static enum err update_leaf(struct fixture *f, const struct step *s,
                            struct buf *out)
{
    struct leaf_node leaf = f->kp[s->arg].key_package.leaf;
    CLEANUP(secret_clear) struct secret key = {0};
    CLEANUP(buf_clear) struct buf public_key = buf_new(KEM_PUBLIC_MAX);
    struct leaf_place place = {GROUP, s->arg};

    TRY(kem_generate(f->mls->crypto, f->kp[0].suite->kem, &f->mls->random, &key,
                     &public_key));
    if (s->kind != UPDATE_SAME_KEY)
        leaf.encryption_key = buf_bytes(&public_key);
    if (s->kind == UPDATE_HALF)
        leaf.encryption_key.len /= 2;
    leaf.source = s->kind == UPDATE_AS_COMMIT ? LEAF_COMMIT : LEAF_UPDATE;
    leaf.signed_part = (struct bytes){0};
    TRY(leaf_sign(f->mls->crypto, f->kp[0].suite, &f->kp[s->arg].signature_key,
                  &leaf, &place, out));
    if (s->kind == UPDATE_UNSIGNED)
        out->data[out->len - 1] ^= 1;
    return OK;
}

static enum err context_extension(struct proposal *p, uint16_t type,
                                  struct bytes data, struct buf *scratch)
{
    struct writer w = writer_to(scratch);
    extension_write(&w, &(struct extension){type, data});
    p->type = PROPOSAL_GROUP_CONTEXT_EXTENSIONS;
    p->extensions = buf_bytes(scratch);
    return writer_finish(&w);
}

static enum err context_required(struct proposal *p, const struct step *s,
                                 struct buf *scratch)
{
    CLEANUP(buf_clear) struct buf data = buf_new(64);
    uint8_t type[] = {(uint8_t)(s->arg >> 8), (uint8_t)s->arg};
    struct bytes list = {type, sizeof(type)};
    struct required_capabilities rc = {0};
    if (s->kind == REQUIRE)
        rc.extensions = list;
    else if (s->kind == REQUIRE_PROPOSAL)
        rc.proposals = list;
    else
        rc.credentials = list;
    struct writer w = writer_to(&data);
    required_capabilities_write(&w, &rc);
    TRY(writer_finish(&w));
    return context_extension(p, EXTENSION_REQUIRED_CAPABILITIES,
                             buf_bytes(&data), scratch);
}

static enum err context_senders(struct fixture *f, struct proposal *p,
                                const struct step *s, struct buf *scratch)
{
    CLEANUP(buf_clear) struct buf data = buf_new(256);
    struct bytes key = {f->public_key[0].data, s->arg};
    struct external_sender sender = {key, {CREDENTIAL_BASIC, LIT("server")}};
    struct writer w = writer_to(&data);
    size_t at = writer_enter(&w);
    external_sender_write(&w, &sender);
    writer_leave(&w, at);
    TRY(writer_finish(&w));
    return context_extension(p, EXTENSION_EXTERNAL_SENDERS, buf_bytes(&data),
                             scratch);
}

static enum err psk_fill(struct proposal *p, const struct step *s,
                         struct buf *scratch)
{
    size_t len = s->kind == PSK_SHORT ? 31 : 32;
    TRY(buf_extend(scratch, len + 1));
    scratch->data[len] = (uint8_t)s->arg;
    p->type = PROPOSAL_PSK;
    p->psk = (struct psk_id){.type = PSK_EXTERNAL,
                             .id = {scratch->data + len, 1},
                             .nonce = {scratch->data, len}};
    if (s->kind != PSK_RESUME)
        return OK;
    p->psk.type = PSK_RESUMPTION;
    p->psk.usage = s->arg;
    p->psk.group_id = GROUP;
    p->psk.epoch = s->sender;
    return OK;
}

static enum err step_fill(struct fixture *f, const struct step *s,
                          struct buf *scratch, struct proposal *p)
{
    switch (s->kind) {
    case NONE:
        return ERR_STATE;
    case ADD:
        p->type = PROPOSAL_ADD;
        p->add = f->kp[s->arg].key_package;
        return OK;
    case ADD_UNSIGNED:
        p->type = PROPOSAL_ADD;
        p->add = f->kp[s->arg].key_package;
        p->add.signature = f->kp[s->arg + 1].key_package.signature;
        return OK;
    case UPDATE:
    case UPDATE_SAME_KEY:
    case UPDATE_AS_COMMIT:
    case UPDATE_UNSIGNED:
    case UPDATE_HALF:
        p->type = PROPOSAL_UPDATE;
        TRY(update_leaf(f, s, scratch));
        struct reader r = reader_of(buf_bytes(scratch));
        leaf_node_read(&r, &p->update);
        return reader_finish(&r);
    case REMOVE:
        p->type = PROPOSAL_REMOVE;
        p->remove = s->arg;
        return OK;
    case PSK:
    case PSK_SHORT:
    case PSK_RESUME:
        return psk_fill(p, s, scratch);
    case REINIT:
        p->type = PROPOSAL_REINIT;
        p->reinit = (struct reinit){LIT("new"), s->arg, 1, {0}};
        return OK;
    case EXTERNAL_INIT:
        p->type = PROPOSAL_EXTERNAL_INIT;
        p->kem_output = LIT("kem output");
        return OK;
    case CONTEXT:
        if (s->arg != 0)
            return context_extension(p, s->arg, LIT("x"), scratch);
        p->type = PROPOSAL_GROUP_CONTEXT_EXTENSIONS;
        return OK;
    case REQUIRE:
    case REQUIRE_PROPOSAL:
    case REQUIRE_CREDENTIAL:
        return context_required(p, s, scratch);
    case SENDERS:
        return context_senders(f, p, s, scratch);
    case APP:
        p->type = PROPOSAL_APP_EPHEMERAL;
        p->app_ephemeral = (struct app_ephemeral){7, LIT("data")};
        return OK;
    case APP_DATA:
    case APP_GONE:
        p->type = PROPOSAL_APP_DATA_UPDATE;
        p->app_data_update.component_id = s->arg;
        p->app_data_update.op =
            s->kind == APP_DATA ? APP_DATA_UPDATE : APP_DATA_REMOVE;
        return OK;
    case LEAVE:
        p->type = PROPOSAL_SELF_REMOVE;
        return OK;
    case UNKNOWN:
        p->type = s->arg;
        p->other = LIT("what is this");
        return OK;
    }
    return ERR_STATE;
}

static enum err step_add(struct fixture *f, const struct step *s,
                         const struct sender *committer,
                         struct proposal_list *l)
{
    CLEANUP(buf_clear) struct buf scratch = buf_new(MLS_LEAF_MAX);
    CLEANUP(buf_clear) struct buf raw = buf_new(MLS_LEAF_MAX);
    struct proposal p = {0};
    struct sender sender = {s->by, s->sender};

    TRY(step_fill(f, s, &scratch, &p));
    struct writer w = writer_to(&raw);
    proposal_write(&w, &p);
    TRY(writer_finish(&w));
    return proposal_list_add(l, buf_bytes(&raw),
                             s->by != 0 ? &sender : committer, s->by != 0);
}

/* What a commit with these steps does to the group of four. */
static enum err apply(struct fixture *f, const struct step *steps,
                      enum sender_type committer, struct changes *ch)
{
    CLEANUP(proposal_list_clear) struct proposal_list l = proposal_list_new();
    CLEANUP(tree_free) struct tree *fork = NULL;
    struct proposal_scope scope = {.mls = f->mls,
                                   .suite = f->kp[0].suite,
                                   .group_id = GROUP,
                                   .committer = {committer, 0},
                                   .own = 1,
                                   .link = f->link,
                                   .now = NOW};
    for (size_t i = 0; i < STEPS && steps[i].kind != NONE; i++)
        TRY(step_add(f, &steps[i], &scope.committer, &l));
    TRY(proposal_list_parse(&l));
    TRY(tree_fork(f->tree, &fork));
    return proposals_apply(&scope, &l, fork, ch);
}

/* ---- The rules ---- */

#define BY(leaf)  SENDER_MEMBER, leaf
#define SERVER    SENDER_EXTERNAL, 0
#define JOINER    SENDER_NEW_MEMBER_PROPOSAL, 0
#define RESUME(u) {PSK_RESUME, u, 0, 0}

struct row {
    const char *what;
    struct step steps[STEPS];
    enum err want;
};

static void check_rows(const struct row *rows, size_t count,
                       enum sender_type committer)
{
    CLEANUP(fixture_clear) struct fixture f;
    CHECK(fixture_open(&f));
    for (size_t i = 0; i < count; i++) {
        CLEANUP(changes_clear) struct changes ch = {0};
        enum err err = apply(&f, rows[i].steps, committer, &ch);
        if (err != rows[i].want)
            printf("# %s\n", rows[i].what);
        CHECK_UINT(err, rows[i].want);
    }
}

static const struct row regular[] = {
    {"nothing", {{0}}, OK},
    {"adds", {{ADD, FRIEND, 0, 0}, {ADD, OTHER, 0, 0}}, OK},
    {"an add of a member", {{ADD, FRIEND, BY(1)}}, OK},
    {"an add of a server", {{ADD, FRIEND, SERVER}}, OK},
    {"an add of the new member", {{ADD, FRIEND, JOINER}}, OK},
    {"an update", {{UPDATE, 2, BY(2)}}, OK},
    {"a removal", {{REMOVE, 2, 0, 0}}, OK},
    {"a removal of oneself, by another", {{REMOVE, 2, BY(2)}}, OK},
    {"a removal by a server", {{REMOVE, 2, SERVER}}, OK},
    {"PSKs", {{PSK, 'a', 0, 0}, {PSK, 'b', 0, 0}, RESUME(1)}, OK},
    {"a ReInit", {{REINIT, 1, 0, 0}}, OK},
    {"an extension that all list", {{CONTEXT, EXT, 0, 0}}, OK},
    {"a required extension", {{REQUIRE, EXT, 0, 0}}, OK},
    {"a required credential", {{REQUIRE_CREDENTIAL, 1, 0, 0}}, OK},
    {"required: what nobody has to list", {{REQUIRE, 5, 0, 0}}, OK},
    {"external senders", {{SENDERS, 32, 0, 0}}, OK},

    /* an individual proposal is not valid: section 12.1 */
    {"an add of a leaf that is there", {{ADD, 1, 0, 0}}, ERR_INVALID},
    {"an update with the old key", {{UPDATE_SAME_KEY, 2, BY(2)}}, ERR_INVALID},
    {"an update of another source",
     {{UPDATE_AS_COMMIT, 2, BY(2)}},
     ERR_INVALID},
    {"an update that nobody signed", {{UPDATE_UNSIGNED, 2, BY(2)}}, ERR_AUTH},
    {"an update with half a key", {{UPDATE_HALF, 2, BY(2)}}, ERR_MALFORMED},
    {"an add that nobody signed", {{ADD_UNSIGNED, FRIEND, 0, 0}}, ERR_AUTH},
    {"an update of another's leaf", {{UPDATE, 2, BY(1)}}, ERR_AUTH},
    {"a removal of nobody", {{REMOVE, 77, 0, 0}}, ERR_INVALID},
    {"a nonce that is short", {{PSK_SHORT, 'a', 0, 0}}, ERR_INVALID},
    {"a PSK for a ReInit", {RESUME(2)}, ERR_INVALID},
    {"a PSK for a branch", {RESUME(3)}, ERR_INVALID},
    {"a ReInit to an older version", {{REINIT, 0, 0, 0}}, ERR_INVALID},
    {"an extension that none lists", {{CONTEXT, 0xf777, 0, 0}}, ERR_INVALID},
    {"a required extension that none lists",
     {{REQUIRE, 0xf777, 0, 0}},
     ERR_INVALID},
    {"a required proposal that one does not list",
     {{REQUIRE_PROPOSAL, PROPOSAL_APP_EPHEMERAL, 0, 0}},
     ERR_INVALID},
    {"a required credential that none lists",
     {{REQUIRE_CREDENTIAL, 0xf777, 0, 0}},
     ERR_INVALID},
    {"a required proposal that one added does not list",
     {{REQUIRE_PROPOSAL, PROPOSAL_APP_EPHEMERAL, 0, 0},
      {ADD, STRANGE, 0, 0},
      {REMOVE, 3, 0, 0}},
     ERR_INVALID},
    {"the same, and nobody is against it",
     {{REQUIRE_PROPOSAL, PROPOSAL_APP_EPHEMERAL, 0, 0},
      {ADD, FRIEND, 0, 0},
      {REMOVE, 3, 0, 0}},
     OK},
    {"an external sender with half a key",
     {{SENDERS, 16, 0, 0}},
     ERR_MALFORMED},

    /* who proposes: sections 12.1 and 12.1.8 */
    {"an update by a server", {{UPDATE, 2, SENDER_EXTERNAL, 2}}, ERR_INVALID},
    {"a SelfRemove by a server",
     {{LEAVE, 0, SENDER_EXTERNAL, 2}, {REMOVE, 3, 0, 0}},
     ERR_INVALID},
    {"a removal by a new member", {{REMOVE, 2, JOINER}}, ERR_INVALID},
    {"a PSK by a new member", {{PSK, 'a', JOINER}}, ERR_INVALID},
    {"extensions by a new member", {{CONTEXT, EXT, JOINER}}, ERR_INVALID},

    {"an update by the committer", {{UPDATE, 0, BY(0)}}, ERR_INVALID},
    {"an update by value", {{UPDATE, 0, 0, 0}}, ERR_INVALID},
    {"a removal of the committer", {{REMOVE, 0, 0, 0}}, ERR_INVALID},
    {"a removal of the committer, by another",
     {{REMOVE, 0, BY(2)}},
     ERR_INVALID},
    {"two updates of a leaf",
     {{UPDATE, 2, BY(2)}, {UPDATE, 2, BY(2)}},
     ERR_INVALID},
    {"two removals of a leaf",
     {{REMOVE, 2, 0, 0}, {REMOVE, 2, BY(1)}},
     ERR_INVALID},
    {"an update and a removal",
     {{UPDATE, 2, BY(2)}, {REMOVE, 2, 0, 0}},
     ERR_INVALID},
    {"an add twice", {{ADD, FRIEND, 0, 0}, {ADD, FRIEND, BY(1)}}, ERR_INVALID},
    {"an add of who is there", {{ADD, TWIN, 0, 0}}, ERR_INVALID},
    {"the same, and its old leaf goes",
     {{ADD, TWIN, 0, 0}, {REMOVE, 1, 0, 0}},
     OK},
    {"the same, and another leaf goes",
     {{ADD, TWIN, 0, 0}, {REMOVE, 2, 0, 0}},
     ERR_INVALID},
    {"a PSK twice", {{PSK, 'a', 0, 0}, {PSK, 'a', BY(1)}}, ERR_INVALID},
    {"extensions twice",
     {{CONTEXT, EXT, 0, 0}, {CONTEXT, EXT, BY(1)}},
     ERR_INVALID},
    {"a ReInit beside another",
     {{REINIT, 1, 0, 0}, {ADD, FRIEND, 0, 0}},
     ERR_INVALID},
    {"two of them", {{REINIT, 1, 0, 0}, {REINIT, 1, BY(1)}}, ERR_INVALID},
    {"an ExternalInit", {{EXTERNAL_INIT, 0, 0, 0}}, ERR_INVALID},
    {"a type that we do not know", {{UNKNOWN, 0xf123, 0, 0}}, ERR_INVALID},
    {"GREASE", {{UNKNOWN, 0x1a1a, 0, 0}}, ERR_INVALID},
    {"data of two components, by a server too",
     {{APP_DATA, 0x8002, 0, 0}, {APP_DATA, 0x8001, SERVER}, {REMOVE, 3, 0, 0}},
     OK},
    {"data of a component, twice",
     {{APP_DATA, 0x8001, 0, 0}, {APP_DATA, 0x8001, BY(2)}, {REMOVE, 3, 0, 0}},
     OK},
    {"data by a new member",
     {{APP_DATA, 0x8001, JOINER}, {REMOVE, 3, 0, 0}},
     ERR_INVALID},
    {"a removal of data that is not there",
     {{APP_GONE, 0x8001, 0, 0}, {REMOVE, 3, 0, 0}},
     ERR_INVALID},
    {"data that is set and removed",
     {{APP_DATA, 0x8001, 0, 0}, {APP_GONE, 0x8001, 0, 0}, {REMOVE, 3, 0, 0}},
     ERR_INVALID},
    {"data that is no list of components",
     {{APP_DATA, 0x0001, 0, 0}, {REMOVE, 3, 0, 0}},
     ERR_MALFORMED},
    {"data that one member knows nothing of",
     {{APP_DATA, 0x8001, 0, 0}},
     ERR_INVALID},
    {"data that one added knows nothing of",
     {{APP_DATA, 0x8001, 0, 0}, {REMOVE, 3, 0, 0}, {ADD, STRANGE, 0, 0}},
     ERR_INVALID},
    {"a type that one does not list", {{APP, 0, 0, 0}}, ERR_INVALID},
    {"the same, and that one goes", {{APP, 0, 0, 0}, {REMOVE, 3, 0, 0}}, OK},
    {"the same, and one comes who does not list it",
     {{APP, 0, 0, 0}, {REMOVE, 3, 0, 0}, {ADD, STRANGE, 0, 0}},
     OK},

    /* draft-ietf-mls-extensions */
    {"a SelfRemove", {{LEAVE, 0, BY(2)}, {REMOVE, 3, 0, 0}}, OK},
    {"one that not all list", {{LEAVE, 0, BY(2)}}, ERR_INVALID},
    {"one by value", {{LEAVE, 0, 0, 0}, {REMOVE, 3, 0, 0}}, ERR_INVALID},
    {"one of the committer",
     {{LEAVE, 0, BY(0)}, {REMOVE, 3, 0, 0}},
     ERR_INVALID},
    {"one beside a removal of the leaf",
     {{LEAVE, 0, BY(2)}, {REMOVE, 3, 0, 0}, {REMOVE, 2, 0, 0}},
     ERR_INVALID},
    {"one of nobody", {{LEAVE, 0, BY(77)}, {REMOVE, 3, 0, 0}}, ERR_INVALID},
};

static void a_regular_commit_keeps_each_rule(void)
{
    check_rows(regular, COUNT(regular), SENDER_MEMBER);
}

/* Of a group that follows from another (section 12.4.3.1). */
static void a_group_follows_from_one_other(void)
{
    static const struct row rows[] = {
        {"one", {RESUME(3)}, OK},
        {"one of the other usage", {RESUME(2)}, ERR_INVALID},
        {"one and other PSKs", {RESUME(3), RESUME(1), {PSK, 'a', 0, 0}}, OK},
        {"two", {RESUME(3), {PSK_RESUME, 3, 0, 1}}, ERR_INVALID},
    };
    CLEANUP(fixture_clear) struct fixture f;
    CHECK(fixture_open(&f));
    f.link = PSK_BRANCH;
    for (size_t i = 0; i < COUNT(rows); i++) {
        CLEANUP(changes_clear) struct changes ch = {0};
        CHECK_UINT(apply(&f, rows[i].steps, SENDER_MEMBER, &ch), rows[i].want);
    }
}

static void an_external_commit_keeps_each_rule(void)
{
    static const struct row rows[] = {
#define INIT {EXTERNAL_INIT, 0, 0, 0}
        {"an ExternalInit", {INIT}, OK},
        {"an old leaf goes", {INIT, {REMOVE, 0, 0, 0}}, OK},
        {"PSKs", {INIT, {PSK, 'a', 0, 0}, RESUME(1)}, OK},
        {"a SelfRemove", {INIT, {LEAVE, 0, BY(0)}, {REMOVE, 3, 0, 0}}, OK},
        {"application data", {INIT, {APP, 0, 0, 0}, {REMOVE, 3, 0, 0}}, OK},
        {"data of a component",
         {INIT, {APP_DATA, 0x8001, 0, 0}, {REMOVE, 3, 0, 0}},
         OK},

        {"nothing", {{0}}, ERR_INVALID},
        {"no ExternalInit", {{REMOVE, 2, 0, 0}}, ERR_INVALID},
        {"two", {INIT, INIT}, ERR_INVALID},
        {"two removals",
         {INIT, {REMOVE, 1, 0, 0}, {REMOVE, 2, 0, 0}},
         ERR_INVALID},
        {"a removal by reference", {INIT, {REMOVE, 2, BY(1)}}, ERR_INVALID},
        {"a PSK by reference", {INIT, {PSK, 'a', BY(1)}}, ERR_INVALID},
        {"an ExternalInit by reference",
         {{EXTERNAL_INIT, 0, BY(1)}},
         ERR_INVALID},
        {"an add", {INIT, {ADD, FRIEND, 0, 0}}, ERR_INVALID},
        {"an update", {INIT, {UPDATE, 2, BY(2)}}, ERR_INVALID},
        {"a ReInit", {INIT, {REINIT, 1, 0, 0}}, ERR_INVALID},
        {"extensions", {INIT, {CONTEXT, EXT, 0, 0}}, ERR_INVALID},
        {"a PSK for a branch", {INIT, RESUME(3)}, ERR_INVALID},
        {"a SelfRemove by value",
         {INIT, {LEAVE, 0, 0, 0}, {REMOVE, 3, 0, 0}},
         ERR_INVALID},
        {"a type that one does not list", {INIT, {APP, 0, 0, 0}}, ERR_INVALID},
    };
    check_rows(rows, COUNT(rows), SENDER_NEW_MEMBER_COMMIT);
}

static void a_list_says_what_it_asks_of_the_commit(void)
{
    static const struct {
        enum sender_type committer;
        struct step steps[STEPS];
        bool path, removes_own, updates_own, ends, replaces;
    } rows[] = {
        {SENDER_MEMBER, {{0}}, true, false, false, false, false},
        {SENDER_MEMBER, {{ADD, FRIEND, 0, 0}}, 0, 0, 0, 0, 0},
        {SENDER_MEMBER, {{PSK, 'a', 0, 0}}, 0, 0, 0, 0, 0},
        {SENDER_MEMBER, {{REINIT, 1, 0, 0}}, 0, 0, 0, 1, 0},
        {SENDER_MEMBER, {{UPDATE, 1, BY(1)}}, 1, 0, 1, 0, 0},
        {SENDER_MEMBER, {{UPDATE, 2, BY(2)}}, 1, 0, 0, 0, 0},
        {SENDER_MEMBER, {{REMOVE, 1, 0, 0}}, 1, 1, 0, 0, 0},
        {SENDER_MEMBER, {{CONTEXT, EXT, 0, 0}}, 1, 0, 0, 0, 0},
        {SENDER_MEMBER, {{LEAVE, 0, BY(1)}, {REMOVE, 3, 0, 0}}, 1, 1, 0, 0, 0},
        {SENDER_NEW_MEMBER_COMMIT, {INIT}, 1, 0, 0, 0, 0},
        {SENDER_NEW_MEMBER_COMMIT, {INIT, {REMOVE, 1, 0, 0}}, 1, 1, 0, 0, 1},
    };
    CLEANUP(fixture_clear) struct fixture f;
    CHECK(fixture_open(&f));
    for (size_t i = 0; i < COUNT(rows); i++) {
        CLEANUP(changes_clear) struct changes ch = {0};
        CHECK_UINT(apply(&f, rows[i].steps, rows[i].committer, &ch), OK);
        CHECK_UINT(ch.path_required, rows[i].path);
        CHECK_UINT(ch.removes_own, rows[i].removes_own);
        CHECK_UINT(ch.updates_own, rows[i].updates_own);
        CHECK_UINT(ch.ends_group, rows[i].ends);
        CHECK_UINT(ch.replaces, rows[i].replaces);
        CHECK_UINT(ch.replaced, rows[i].replaces ? 1 : 0);
    }
}

/* Section 7.3: the sender has to look at the clock, a receiver need not. */
static void only_a_sender_looks_at_lifetimes(void)
{
    CLEANUP(fixture_clear) struct fixture f;
    CHECK(fixture_open(&f));
    static const struct {
        uint64_t now;
        enum err want;
    } rows[] = {{0, OK},
                {999, ERR_INVALID},
                {1000, OK},
                {2000, OK},
                {2001, ERR_INVALID}};
    struct step add = {ADD, FRIEND, 0, 0};
    for (size_t i = 0; i < COUNT(rows); i++) {
        CLEANUP(proposal_list_clear)
        struct proposal_list l = proposal_list_new();
        CLEANUP(tree_free) struct tree *fork = NULL;
        CLEANUP(changes_clear) struct changes ch = {0};
        struct proposal_scope scope = {.mls = f.mls,
                                       .suite = f.kp[0].suite,
                                       .group_id = GROUP,
                                       .committer = {SENDER_MEMBER, 0},
                                       .now = rows[i].now};
        CHECK_UINT(step_add(&f, &add, &scope.committer, &l), OK);
        CHECK_UINT(proposal_list_parse(&l), OK);
        CHECK_UINT(tree_fork(f.tree, &fork), OK);
        CHECK_UINT(proposals_apply(&scope, &l, fork, &ch), rows[i].want);
    }
}

/* As in records that hold members only: the flag alone. */
static void a_kind_of_sender_stores_in_a_byte(void)
{
    for (uint8_t both = 0; both < 10; both++) {
        CLEANUP(buf_clear) struct buf out = buf_new(8);
        enum sender_type type = 0;
        struct reader r = reader_of((struct bytes){&both, 1});
        bool flag = sender_type_read(&r, &type);
        CHECK_UINT(reader_finish(&r), both < 8 ? OK : ERR_MALFORMED);
        if (both >= 8)
            continue;
        CHECK_UINT(flag, both & 1U);
        CHECK_UINT(type, SENDER_MEMBER + both / 2);
        struct writer w = writer_to(&out);
        sender_type_write(&w, type, flag);
        CHECK_UINT(writer_finish(&w), OK);
        CHECK_UINT(out.data[0], both);
    }
}

static const struct test tests[] = {
    TEST(a_regular_commit_keeps_each_rule),
    TEST(a_group_follows_from_one_other),
    TEST(an_external_commit_keeps_each_rule),
    TEST(a_list_says_what_it_asks_of_the_commit),
    TEST(only_a_sender_looks_at_lifetimes),
    TEST(a_kind_of_sender_stores_in_a_byte),
};
TEST_MAIN(tests)
