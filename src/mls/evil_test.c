/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Insiders: a commit that is broken for everyone is refused by everyone alike;
 * one that is broken for a subtree is applied by the others, and those below
 * it are told to rejoin (RFC 9420, section 16.12).
 */
#include "mls/evil.h"

#include "mls/world.h"

#include "test.h"

#define SUITE_1 1U
#define MEMBERS 8U

/* Eight members, all paths filled, so that the path of leaf 0 has three nodes
 * with copath subtrees {1}, {2, 3} and {4 .. 7}. */
static bool open_eight(struct world *w, uint64_t seed)
{
    struct sotto_commit ask = {0};
    if (world_open(w, SUITE_1, seed) != SOTTO_OK ||
        world_found(w, 0) != SOTTO_OK ||
        world_add(w, 0, 1, MEMBERS) != SOTTO_OK)
        return false;
    for (size_t i = 0; i < MEMBERS; i++)
        if (world_commit(w, i, &ask, NULL, 0) != SOTTO_OK)
            return false;
    return world_agrees(w);
}

static enum sotto_err break_commit(struct world *w, enum evil_kind kind,
                                   uint32_t leaf, struct sotto_commit_out *out)
{
    struct sotto_commit ask = {0};
    evil_next_commit(kind, leaf);
    return sotto_group_commit(w->member[0].group, &ask, out);
}

static void what_all_see_is_refused_by_all_alike(void)
{
    static const struct {
        enum evil_kind kind;
        enum sotto_err err;
    } rows[] = {
        {EVIL_LEAF, SOTTO_ERR_AUTH},
        {EVIL_TAG, SOTTO_ERR_AUTH},
        {EVIL_KEY, SOTTO_ERR_INVALID}, /* its own */
        {EVIL_VERSION, SOTTO_ERR_INVALID},
    };
    for (size_t r = 0; r < COUNT(rows); r++) {
        CLEANUP(world_close) struct world w = {0};
        CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
        CHECK(open_eight(&w, r));
        uint64_t epoch = sotto_group_epoch(w.member[0].group);
        CHECK_UINT(break_commit(&w, rows[r].kind, 0, &out), SOTTO_OK);
        for (size_t i = 1; i < MEMBERS; i++) {
            enum sotto_outcome outcome = 0;
            CHECK_UINT(world_take(&w, i, view_of(&out.message), &outcome),
                       rows[r].err);
            CHECK_UINT(sotto_group_epoch(w.member[i].group), epoch);
        }
        /* The channel moves on: the next commit is by somebody else. */
        struct sotto_commit ask = {0};
        sotto_group_drop_pending(w.member[0].group);
        CHECK_UINT(world_commit(&w, 5, &ask, NULL, 0), SOTTO_OK);
        CHECK(world_agrees(&w));
    }
}

/* So that a caller can apply rules of its own, as those who can apply it do. */
static void what_cannot_be_applied_can_be_looked_at(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    CLEANUP(sotto_result_free) struct sotto_result result = {0};
    CHECK(open_eight(&w, 20));
    CHECK_UINT(break_commit(&w, EVIL_SUBTREE, 5, &out), SOTTO_OK);
    struct sotto_group *g = w.member[5].group;
    uint64_t epoch = sotto_group_epoch(g);
    CHECK_UINT(sotto_group_process(g, view_of(&out.message), &result),
               SOTTO_OK);
    CHECK_UINT(result.outcome, SOTTO_CANNOT_APPLY);
    struct sotto_change change = {0};
    struct sotto_leaf leaf = {0};
    CHECK_UINT(sotto_staged_change(result.staged, 0, &change), SOTTO_OK);
    CHECK_UINT(change.kind, SOTTO_CHANGE_PATH);
    CHECK_UINT(sotto_staged_member(result.staged, 5, &leaf), SOTTO_OK);
    CHECK_UINT(sotto_staged_leaf_count(result.staged), MEMBERS);
    CHECK_UINT(sotto_group_merge(g, &result.staged), SOTTO_ERR_STATE);
    CHECK_UINT(sotto_group_epoch(g), epoch);
}

static void a_broken_subtree_rejoins_and_the_rest_goes_on(void)
{
    static const struct {
        uint32_t target, first, last; /* whose share is broken */
    } rows[] = {{1, 1, 1}, {3, 2, 3}, {6, 4, 7}};

    for (size_t r = 0; r < COUNT(rows); r++) {
        CLEANUP(world_close) struct world w = {0};
        CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
        CHECK(open_eight(&w, 10 + r));
        uint64_t epoch = sotto_group_epoch(w.member[0].group);
        CHECK_UINT(break_commit(&w, EVIL_SUBTREE, rows[r].target, &out),
                   SOTTO_OK);
        for (size_t i = 0; i < MEMBERS; i++) {
            enum sotto_outcome outcome = 0;
            bool broken = i >= rows[r].first && i <= rows[r].last;
            CHECK_UINT(world_take(&w, i, view_of(&out.message), &outcome),
                       SOTTO_OK);
            CHECK_UINT(outcome, i == 0   ? SOTTO_OWN_COMMIT
                                : broken ? SOTTO_CANNOT_APPLY
                                         : SOTTO_COMMIT);
            CHECK_UINT(sotto_group_epoch(w.member[i].group),
                       broken ? epoch : epoch + 1);
        }

        /* Somebody removes and adds again those that were cut off. */
        size_t back[MEMBERS];
        uint32_t gone[MEMBERS];
        struct sotto_bytes adds[MEMBERS];
        size_t n = 0;
        for (uint32_t i = rows[r].first; i <= rows[r].last; i++, n++) {
            CHECK_UINT(world_key_package(&w, i), SOTTO_OK);
            sotto_group_free(&w.member[i].group);
            back[n] = i;
            gone[n] = i;
            adds[n] = view_of(&w.member[i].key_package);
        }
        struct sotto_commit ask = {
            .adds = adds, .add_count = n, .removes = gone, .remove_count = n};
        CHECK_UINT(world_commit(&w, 0, &ask, back, n), SOTTO_OK);
        CHECK_UINT(world_in_group(&w), MEMBERS);
        CHECK(world_agrees(&w));
    }
}

/* Whoever is in the group can write messages in the name of another one and
 * with its keys. Its state is an old copy only if its signature is there. */
static void a_forged_own_message_does_not_make_a_state_look_old(void)
{
    const uint32_t generations[] = {0, 2, 3}; /* used; next; a later one */
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf first = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf second = {0};
    CHECK(open_eight(&w, 20));
    struct sotto_group *victim = w.member[3].group;
    CHECK_UINT(
        sotto_group_protect(victim, text_of(""), text_of("1"), 0, &first),
        SOTTO_OK);
    CHECK_UINT(
        sotto_group_protect(victim, text_of(""), text_of("2"), 0, &second),
        SOTTO_OK);
    for (size_t i = 0; i < COUNT(generations); i++) {
        CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
        CLEANUP(sotto_result_free) struct sotto_result result = {0};
        evil_next_sender(3, generations[i]);
        CHECK_UINT(sotto_group_protect(w.member[0].group, text_of(""),
                                       text_of("forged"), 0, &message),
                   SOTTO_OK);
        enum sotto_err err =
            sotto_group_process(victim, view_of(&message), &result);
        if (generations[i] >= 2) {
            CHECK_UINT(err, SOTTO_ERR_AUTH);
        } else {
            CHECK_UINT(err, SOTTO_OK);
            CHECK_UINT(result.outcome, SOTTO_DUPLICATE);
        }
        CHECK_UINT(world_outcome(&w, 5, &message), 0);
    }
    CHECK_UINT(world_outcome(&w, 5, &first), SOTTO_APPLICATION);
}

static void a_forged_own_commit_does_not_make_a_state_look_old(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    CLEANUP(sotto_result_free) struct sotto_result result = {0};
    struct sotto_commit ask = {0};
    CHECK(open_eight(&w, 21));
    evil_next_sender(3, 0);
    CHECK_UINT(sotto_group_commit(w.member[0].group, &ask, &out), SOTTO_OK);
    for (size_t i = 1; i < MEMBERS; i++)
        CHECK_UINT(sotto_group_process(w.member[i].group, view_of(&out.message),
                                       &result),
                   SOTTO_ERR_AUTH);
}

/* The keys of a leaf that is blank are there for all, and count for nobody
 * (RFC 9420, section 6.3.2). */
static void nobody_speaks_from_a_blank_leaf(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
    enum sotto_outcome outcome = 0;
    uint32_t leaf = 3;
    struct sotto_commit ask = {.removes = &leaf, .remove_count = 1};
    CHECK(open_eight(&w, 23));
    CHECK_UINT(world_commit(&w, 0, &ask, NULL, 0), SOTTO_OK);
    evil_next_sender(leaf, 0);
    CHECK_UINT(sotto_group_protect(w.member[0].group, text_of(""),
                                   text_of("boo"), 0, &message),
               SOTTO_OK);
    CHECK_UINT(world_take(&w, 5, view_of(&message), &outcome),
               SOTTO_ERR_INVALID);
}

/* The state is put back, and meets what it sent after the copy was made. */
static void an_old_copy_knows_its_later_messages(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf said = {0};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    struct sotto_commit ask = {0};
    CHECK(open_eight(&w, 22));
    struct member *m = &w.member[3];
    struct sotto_store store = memory_store_of(&m->store);
    CHECK_UINT(sotto_group_save(m->group, &store), SOTTO_OK);
    CHECK_UINT(
        sotto_group_protect(m->group, text_of(""), text_of("late"), 0, &said),
        SOTTO_OK);
    CHECK_UINT(sotto_group_commit(m->group, &ask, &out), SOTTO_OK);
    sotto_group_free(&m->group);
    CHECK_UINT(sotto_group_load(w.mls, &store, &m->group), SOTTO_OK);
    CHECK_UINT(world_outcome(&w, 3, &said), SOTTO_OWN_MESSAGE);
    CHECK_UINT(world_outcome(&w, 3, &out.message), SOTTO_OWN_MESSAGE);
}

/* ---- From outside ---- */

/* Somebody makes an external commit. */
static enum sotto_err join_as(struct world *w, const struct sotto_identity *id,
                              struct sotto_buf *message)
{
    CLEANUP(sotto_buf_free) struct sotto_buf info = {0};
    CLEANUP(sotto_group_free) struct sotto_group *g = NULL;
    enum sotto_err err = sotto_group_info(w->member[0].group, true, &info);
    struct sotto_external_join ask = {.identity = id,
                                      .group_info = view_of(&info)};
    return err != SOTTO_OK
               ? err
               : sotto_group_join_external(w->mls, &ask, message, &g);
}

/* Member i of the world does, who is not in the group. */
static enum sotto_err join_external(struct world *w, size_t i,
                                    struct sotto_buf *message)
{
    struct sotto_identity id = world_identity(w, i);
    return join_as(w, &id, message);
}

static bool all_refuse(struct world *w, const struct sotto_buf *message,
                       size_t from, enum sotto_err err)
{
    uint64_t epoch = sotto_group_epoch(w->member[0].group);
    bool ok = true;
    for (size_t i = from; ok && i < MEMBERS; i++) {
        enum sotto_outcome outcome = 0;
        ok = world_take(w, i, view_of(message), &outcome) == err &&
             sotto_group_epoch(w->member[i].group) == epoch;
    }
    return ok;
}

/* The leaf of a joiner is one that the leaf that it replaces could be updated
 * to, so its encryption key is a new one (sections 12.2, 12.1.2). */
static void who_comes_back_has_a_new_key(void)
{
    static const struct {
        enum evil_kind kind;
        uint32_t leaf;
        enum sotto_err want;
    } rows[] = {
        {EVIL_KEY, 3, SOTTO_ERR_INVALID}, /* of the leaf that it replaces */
        {EVIL_KEY, 5, SOTTO_ERR_INVALID}, /* of another member */
        {EVIL_NONE, 0, SOTTO_OK},
    };
    CLEANUP(world_close) struct world w = {0};
    CHECK(open_eight(&w, 36));
    struct sotto_identity id = world_identity(&w, 3);
    for (size_t r = 0; r < COUNT(rows); r++) {
        CLEANUP(sotto_buf_free) struct sotto_buf info = {0};
        CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
        CLEANUP(sotto_group_free) struct sotto_group *g = NULL;
        CHECK_UINT(sotto_group_info(w.member[0].group, true, &info), SOTTO_OK);
        struct sotto_external_join ask = {
            .identity = &id, .group_info = view_of(&info), .resync = true};
        evil_next_commit(rows[r].kind, rows[r].leaf);
        CHECK_UINT(sotto_group_join_external(w.mls, &ask, &message, &g),
                   SOTTO_OK);
        if (rows[r].want != SOTTO_OK)
            CHECK(all_refuse(&w, &message, 0, rows[r].want));
        else
            CHECK_UINT(world_outcome(&w, 5, &message), SOTTO_COMMIT);
    }
}

static void a_broken_joiner_is_refused_by_all_alike(void)
{
    static const struct {
        enum evil_kind kind;
        size_t who;
        enum sotto_err err;
    } rows[] = {
        {EVIL_LEAF, MEMBERS, SOTTO_ERR_AUTH},
        {EVIL_TAG, MEMBERS, SOTTO_ERR_AUTH},
        {EVIL_KEM, MEMBERS, SOTTO_ERR_INVALID},
        {EVIL_KEY, MEMBERS, SOTTO_ERR_INVALID}, /* that of member 0 */
        {EVIL_VERSION, MEMBERS, SOTTO_ERR_INVALID},
        {EVIL_LOOSE, 3, SOTTO_ERR_INVALID}, /* as a second self of a member */
    };
    CLEANUP(world_close) struct world w = {0};
    CHECK(open_eight(&w, 30));
    for (size_t r = 0; r < COUNT(rows); r++) {
        CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
        evil_next_commit(rows[r].kind, 0);
        CHECK_UINT(join_external(&w, rows[r].who, &message), SOTTO_OK);
        CHECK(all_refuse(&w, &message, 0, rows[r].err));
    }
    CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
    CHECK_UINT(join_external(&w, MEMBERS, &message), SOTTO_OK);
    CHECK_UINT(world_spread(&w, view_of(&message)), SOTTO_OK);
    CHECK(world_agrees(&w));
}

static void a_joiner_that_breaks_a_subtree_cuts_off_that_subtree(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
    CHECK(open_eight(&w, 31));
    evil_next_commit(EVIL_SUBTREE, 5); /* all eight are one subtree */
    CHECK_UINT(join_external(&w, MEMBERS, &message), SOTTO_OK);
    for (size_t i = 0; i < MEMBERS; i++)
        CHECK_UINT(world_outcome(&w, i, &message), SOTTO_CANNOT_APPLY);
}

static void a_joiner_supports_what_the_group_uses(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
    CHECK(open_eight(&w, 32));
    struct sotto_identity id = world_identity(&w, MEMBERS);
    id.extension_type_count = 0;
    evil_next_commit(EVIL_LOOSE, 0);
    CHECK_UINT(join_as(&w, &id, &message), SOTTO_OK);
    CHECK(all_refuse(&w, &message, 0, SOTTO_ERR_INVALID));
}

/* A PublicMessage from outside, signed by the key of a member of the world. */
static enum err forge(struct world *w, struct sender sender,
                      enum content_type type, struct bytes body, size_t key,
                      struct buf *out)
{
    const struct sotto_group *g = w->member[0].group;
    const struct suite *s = g->epoch.suite;
    CLEANUP(secret_clear) struct secret private_key = {0};
    CLEANUP(buf_clear) struct buf signature = buf_new(s->sign_max);
    struct authenticated_content ac = {
        .wire_format = WIRE_PUBLIC_MESSAGE,
        .content = {.group_id = g->epoch.fields.group_id,
                    .epoch = g->epoch.fields.epoch,
                    .sender = sender,
                    .type = type,
                    .body = body},
        .auth = {.confirmation_tag = type == CONTENT_COMMIT
                                         ? BYTES_LIT("tag")
                                         : (struct bytes){0}}};
    TRY(secret_set(&private_key,
                   bytes_in(view_of(&w->member[key].signature_private))));
    TRY(framing_sign(g->mls->crypto, s, &private_key, &ac,
                     buf_bytes(&g->epoch.context), &signature));
    ac.auth.signature = buf_bytes(&signature);
    /* Who is outside has no membership key: any other does for the tag. */
    return framing_write_public(g->mls->crypto, s, &private_key, &ac,
                                buf_bytes(&g->epoch.context), out);
}

static enum err add_body(const struct sotto_buf *key_package, struct buf *out)
{
    struct proposal p = {.type = PROPOSAL_ADD};
    TRY(key_package_message_read(bytes_in(view_of(key_package)), &p.add));
    struct writer w = writer_to(out);
    proposal_write(&w, &p);
    return writer_finish(&w);
}

/* A commit of one proposal by value, without a path. */
static enum err commit_body(struct bytes proposal, struct buf *out)
{
    struct writer w = writer_to(out);
    size_t list = writer_enter(&w);
    writer_u8(&w, 1);
    writer_raw(&w, proposal);
    writer_leave(&w, list);
    writer_u8(&w, 0);
    return writer_finish(&w);
}

/* Member 20 is the group's one external sender, member 21 anybody. */
static void who_is_outside_sends_only_what_it_may(void)
{
    static const uint8_t remove[] = {0, PROPOSAL_REMOVE, 0, 0, 0, 2};
    static const uint8_t leave[] = {0, PROPOSAL_SELF_REMOVE};
    static const uint8_t init[] = {0, PROPOSAL_EXTERNAL_INIT, 1, 7};
    static const uint8_t empty[] = {0, 0}; /* a commit without a path */
    const struct {
        struct sender sender;
        enum content_type type;
        struct bytes body; /* empty: an Add of member 21, or its commit */
        size_t key;
        enum sotto_err err;
    } rows[] = {
        {{SENDER_EXTERNAL, 0}, CONTENT_PROPOSAL, BYTES_ARRAY(remove), 20, 0},
        {{SENDER_EXTERNAL, 0},
         CONTENT_PROPOSAL,
         BYTES_ARRAY(remove),
         21,
         SOTTO_ERR_AUTH},
        {{SENDER_EXTERNAL, 1},
         CONTENT_PROPOSAL,
         BYTES_ARRAY(remove),
         20,
         SOTTO_ERR_INVALID},
        {{SENDER_EXTERNAL, 0},
         CONTENT_PROPOSAL,
         BYTES_ARRAY(leave),
         20,
         SOTTO_ERR_INVALID},
        {{SENDER_EXTERNAL, 0},
         CONTENT_PROPOSAL,
         BYTES_ARRAY(init),
         20,
         SOTTO_ERR_INVALID},
        {{SENDER_EXTERNAL, 0}, CONTENT_COMMIT, {0}, 20, SOTTO_ERR_INVALID},
        {{SENDER_EXTERNAL, 0},
         CONTENT_APPLICATION,
         BYTES_LIT("hello"),
         20,
         SOTTO_ERR_INVALID},
        {{SENDER_NEW_MEMBER_PROPOSAL, 0}, CONTENT_PROPOSAL, {0}, 21, 0},
        {{SENDER_NEW_MEMBER_PROPOSAL, 0},
         CONTENT_PROPOSAL,
         {0},
         20,
         SOTTO_ERR_AUTH},
        {{SENDER_NEW_MEMBER_PROPOSAL, 0},
         CONTENT_PROPOSAL,
         BYTES_ARRAY(remove),
         21,
         SOTTO_ERR_INVALID},
        {{SENDER_NEW_MEMBER_COMMIT, 0},
         CONTENT_PROPOSAL,
         {0},
         21,
         SOTTO_ERR_INVALID},
        {{SENDER_NEW_MEMBER_COMMIT, 0},
         CONTENT_COMMIT,
         BYTES_ARRAY(empty),
         21,
         SOTTO_ERR_INVALID},
        {{SENDER_MEMBER, 0},
         CONTENT_PROPOSAL,
         BYTES_ARRAY(remove),
         0,
         SOTTO_ERR_AUTH}, /* with another tag */
    };
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf data = {0};
    CLEANUP(buf_clear) struct buf add = buf_new(MLS_MESSAGE_MAX);
    CLEANUP(buf_clear) struct buf commit = buf_new(MLS_MESSAGE_MAX);
    CHECK(open_eight(&w, 33));
    struct sotto_identity id = world_identity(&w, 20);
    struct sotto_credential service = {SUITE_1, SOTTO_CREDENTIAL_BASIC,
                                       id.identity, id.signature_public};
    CHECK_UINT(sotto_external_senders_encode(&service, 1, &data), SOTTO_OK);
    struct sotto_extension e = {SOTTO_EXTENSION_EXTERNAL_SENDERS,
                                view_of(&data)};
    struct sotto_extension_list list = {&e, 1};
    struct sotto_commit ask = {.extensions = &list};
    CHECK_UINT(world_commit(&w, 0, &ask, NULL, 0), SOTTO_OK);
    CHECK_UINT(world_key_package(&w, 21), SOTTO_OK);
    CHECK_UINT(add_body(&w.member[21].key_package, &add), OK);
    CHECK_UINT(commit_body(buf_bytes(&add), &commit), OK);
    for (size_t r = 0; r < COUNT(rows); r++) {
        CLEANUP(buf_clear) struct buf message = buf_new(MLS_MESSAGE_MAX);
        struct bytes body = rows[r].body;
        if (body.len == 0)
            body = buf_bytes(rows[r].type == CONTENT_COMMIT ? &commit : &add);
        enum sotto_outcome outcome = 0;
        CHECK_UINT(forge(&w, rows[r].sender, rows[r].type, body, rows[r].key,
                         &message),
                   OK);
        CHECK_UINT(world_take(&w, 1, bytes_out(buf_bytes(&message)), &outcome),
                   rows[r].err);
        CHECK_UINT(outcome, rows[r].err == 0 ? SOTTO_PROPOSAL : 0);
    }
}

/* Says that member i leaves, in a group that does not know of it. */
static enum err leave(struct world *w, size_t i, struct buf *out)
{
    static const uint8_t body[] = {0, PROPOSAL_SELF_REMOVE};
    struct sotto_group *g = w->member[i].group;
    const struct suite *s = g->epoch.suite;
    CLEANUP(buf_clear) struct buf signature = buf_new(s->sign_max);
    struct outgoing o = {.type = CONTENT_PROPOSAL,
                         .body = BYTES_ARRAY(body),
                         .public_message = true};
    struct authenticated_content ac = group_content(g, &o);
    TRY(framing_sign(g->mls->crypto, s, &g->epoch.signature_key, &ac,
                     buf_bytes(&g->epoch.context), &signature));
    ac.auth.signature = buf_bytes(&signature);
    return group_write_message(g, &ac, 0, out);
}

static enum sotto_err add_without_leaving(struct world *w, size_t i)
{
    struct member *m = &w->member[i];
    struct sotto_identity id = world_identity(w, i);
    struct sotto_ref ref;
    id.proposal_type_count = 0;
    enum sotto_err err = sotto_key_package_create(
        w->mls, &id, &m->key_package, &m->key_package_private, &ref);
    struct sotto_bytes add = view_of(&m->key_package);
    struct sotto_commit ask = {.adds = &add, .add_count = 1};
    return err == SOTTO_OK ? world_commit(w, 0, &ask, &i, 1) : err;
}

/* The Remove that was asked for goes in when the SelfRemove does not fit, and
 * nothing else that changes the leaf. */
static void nobody_stays_by_saying_that_it_leaves(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(buf_clear) struct buf message = buf_new(MLS_MESSAGE_MAX);
    CLEANUP(sotto_buf_free) struct sotto_buf update = {0};
    const struct sotto_proposal change = {.kind = SOTTO_PROPOSE_UPDATE};
    const uint32_t leaf = 2;
    struct sotto_commit ask = {
        .removes = &leaf, .remove_count = 1, .use_pending = true};
    enum sotto_outcome outcome = 0;
    CHECK(world_three(&w, SUITE_1, 35));
    CHECK_UINT(add_without_leaving(&w, 3), SOTTO_OK);
    CHECK_UINT(leave(&w, leaf, &message), OK);
    CHECK_UINT(sotto_group_propose(w.member[leaf].group, &change, &update),
               SOTTO_OK);
    for (size_t i = 0; i < 2; i++) {
        CHECK_UINT(world_take(&w, i, bytes_out(buf_bytes(&message)), &outcome),
                   SOTTO_OK);
        CHECK_UINT(outcome, SOTTO_PROPOSAL);
        CHECK_UINT(world_outcome(&w, i, &update), SOTTO_PROPOSAL);
    }
    CHECK_UINT(world_commit(&w, 0, &ask, NULL, 0), SOTTO_OK);
    CHECK(w.member[leaf].group == NULL);
    CHECK_UINT(sotto_group_member_count(w.member[1].group), 3);
    CHECK(world_agrees(&w));
}

/* ---- Groups that follow ---- */

static const struct sotto_reinit next_group = {
    .group_id = {(const uint8_t *)"next", 4}, .suite = SUITE_1};

static void a_group_that_has_ended_keeps_the_way_to_the_next(void)
{
    CLEANUP(world_close) struct world w = {0};
    struct sotto_commit ask = {.reinit = &next_group};
    CHECK(open_eight(&w, 34));
    CHECK_UINT(world_commit(&w, 0, &ask, NULL, 0), SOTTO_OK);
    for (size_t i = 0; i < 2; i++) { /* who made it, and another */
        const struct epoch *e = &w.member[i].group->epoch;
        const struct secret *gone[] = {
            &e->signature_key,
            &e->keys.key[0],
            &e->secrets.sender_data_secret,
            &e->secrets.encryption_secret,
            &e->secrets.exporter_secret,
            &e->secrets.external_secret,
            &e->secrets.confirmation_key,
            &e->secrets.membership_key,
            &e->secrets.init_secret,
        };
        for (size_t k = 0; k < COUNT(gone); k++)
            CHECK_UINT(gone[k]->len, 0);
        CHECK(e->ratchets == NULL);
        CHECK_UINT(e->secrets.resumption_psk.len, 32);
        CHECK_UINT(e->secrets.epoch_authenticator.len, 32);
    }
}

/* Section 12.4.2; what its device does afterwards tells nobody of the group. */
static void who_is_removed_has_no_keys_of_the_group(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    CLEANUP(sotto_result_free) struct sotto_result result = {0};
    const uint32_t leaf = 5;
    struct sotto_commit ask = {.removes = &leaf, .remove_count = 1};
    CHECK(open_eight(&w, 37));
    CHECK_UINT(sotto_group_commit(w.member[0].group, &ask, &out), SOTTO_OK);
    struct sotto_group *g = w.member[leaf].group;
    CHECK_UINT(sotto_group_process(g, view_of(&out.message), &result),
               SOTTO_OK);
    CHECK_UINT(sotto_group_merge(g, &result.staged), SOTTO_OK);
    const uint8_t *secrets = (const uint8_t *)&g->epoch.secrets;
    for (size_t i = 0; i < sizeof(g->epoch.secrets); i++)
        CHECK_UINT(secrets[i], 0);
    CHECK_UINT(g->epoch.signature_key.len, 0);
    CHECK(g->epoch.ratchets == NULL);
    CHECK_UINT(sotto_group_process(g, view_of(&out.message), &result),
               SOTTO_ERR_STATE);
    for (size_t level = 0; level <= MLS_LEVELS_MAX; level++)
        CHECK_UINT(g->epoch.keys.key[level].len, 0);
}

/* "verify that the epoch field in the GroupInfo is equal to 1" */
static void a_group_follows_in_its_first_epoch(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_group_free) struct sotto_group *next = NULL;
    struct sotto_commit end = {.reinit = &next_group};
    struct sotto_commit plain = {0};
    CHECK_UINT(world_open(&w, SUITE_1, 35), SOTTO_OK);
    CHECK_UINT(world_found(&w, 0), SOTTO_OK);
    CHECK_UINT(world_add(&w, 0, 1, 2), SOTTO_OK);
    CHECK_UINT(world_commit(&w, 0, &end, NULL, 0), SOTTO_OK);
    const struct sotto_group *const old[] = {w.member[1].group};
    struct sotto_identity id = world_identity(&w, 0);
    struct psk_id link = {.type = PSK_RESUMPTION,
                          .usage = PSK_REINIT,
                          .group_id = BYTES_LIT("group id"),
                          .epoch = sotto_group_epoch(old[0])};
    for (size_t late = 0; late < 2; late++) {
        CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
        CLEANUP(sotto_commit_out_free) struct sotto_commit_out first = {0};
        CLEANUP(sotto_group_free) struct sotto_group *joined = NULL;
        sotto_group_free(&next);
        CHECK_UINT(sotto_group_create(w.mls, &id, next_group.group_id,
                                      next_group.extensions, &next),
                   SOTTO_OK);
        if (late) {
            CHECK_UINT(sotto_group_commit(next, &plain, &first), SOTTO_OK);
            CHECK_UINT(sotto_group_merge_pending(next), SOTTO_OK);
        }
        CHECK_UINT(world_key_package(&w, 1), SOTTO_OK);
        struct sotto_bytes add = view_of(&w.member[1].key_package);
        struct sotto_commit ask = {.adds = &add, .add_count = 1};
        CHECK_UINT(
            sotto_group_offer_resumption(next, w.member[0].group, link.epoch),
            SOTTO_OK);
        CHECK_UINT(group_commit(next, &ask, &link, &out), OK);
        struct sotto_join join = {.welcome = view_of(&out.welcome),
                                  .key_package_private =
                                      view_of(&w.member[1].key_package_private),
                                  .groups = {old, 1}};
        CHECK_UINT(sotto_group_join(w.mls, &join, &joined),
                   late ? SOTTO_ERR_INVALID : SOTTO_OK);
    }
}

/* ---- What a commit may hold ---- */

struct item {
    struct buf encoded;
};

static void item_clear(struct item *item) { buf_clear(&item->encoded); }

static bool item_set(struct item *item, const struct proposal_or_ref *p)
{
    buf_clear(&item->encoded);
    item->encoded = buf_new(MLS_MESSAGE_MAX);
    struct writer w = writer_to(&item->encoded);
    proposal_or_ref_write(&w, p);
    return writer_finish(&w) == OK;
}

#define BY_VALUE(...)               \
    {                               \
        .proposal = { __VA_ARGS__ } \
    }

static void lists_that_break_a_rule_are_refused(void)
{
    static const uint8_t zeros[32] = {0};
    struct bytes nonce = BYTES_ARRAY(zeros);
    struct psk_id link = {.type = PSK_RESUMPTION,
                          .usage = PSK_REINIT,
                          .group_id = BYTES_LIT("group id"),
                          .epoch = 1,
                          .nonce = nonce};
    struct psk_id branch = link;
    branch.usage = PSK_BRANCH;
    struct psk_id short_nonce = {
        .type = PSK_EXTERNAL, .id = BYTES_LIT("id"), .nonce = {zeros, 31}};
    struct reinit reinit = {BYTES_LIT("next"), MLS_VERSION_10, SUITE_1, {0}};
    const struct {
        bool external;
        struct proposal_or_ref p;
    } rows[] = {
        {false, BY_VALUE(PROPOSAL_EXTERNAL_INIT, .kem_output = nonce)},
        {false, BY_VALUE(PROPOSAL_PSK, .psk = link)},
        {false, BY_VALUE(PROPOSAL_PSK, .psk = branch)},
        {false, BY_VALUE(PROPOSAL_PSK, .psk = short_nonce)},
        {false, BY_VALUE(PROPOSAL_REINIT, .reinit = reinit)},
        {true, BY_VALUE(PROPOSAL_EXTERNAL_INIT, .kem_output = nonce)},
        {true, BY_VALUE(PROPOSAL_PSK, .psk = link)},
        {true, BY_VALUE(PROPOSAL_PSK, .psk = branch)},
        {true, BY_VALUE(PROPOSAL_REINIT, .reinit = reinit)},
        {true, BY_VALUE(PROPOSAL_GROUP_CONTEXT_EXTENSIONS, .remove = 0)},
        {true, BY_VALUE(PROPOSAL_REMOVE, .remove = 77)},
        {true, BY_VALUE(PROPOSAL_SELF_REMOVE, .remove = 0)},
        {true, {.by_reference = true, .reference = nonce}},
    };
    for (size_t r = 0; r < COUNT(rows); r++) {
        CLEANUP(world_close) struct world w = {0};
        CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
        CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
        CLEANUP(item_clear) struct item item = {0};
        const uint32_t gone = 7;
        struct sotto_commit ask = {.removes = &gone, .remove_count = 1};
        CHECK(open_eight(&w, 40 + r));
        CHECK(item_set(&item, &rows[r].p));
        evil_next_proposal(buf_bytes(&item.encoded));
        if (rows[r].external) {
            CHECK_UINT(join_external(&w, MEMBERS, &message), SOTTO_OK);
            CHECK(all_refuse(&w, &message, 0, SOTTO_ERR_INVALID));
        } else {
            CHECK_UINT(sotto_group_commit(w.member[0].group, &ask, &out),
                       SOTTO_OK);
            CHECK(all_refuse(&w, &out.message, 1, SOTTO_ERR_INVALID));
        }
    }
}

/* "The Commit MUST NOT include any proposals by reference": one that all
 * members keep, and that would fit otherwise. */
static void a_joiner_takes_in_nothing_that_was_proposed(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf proposal = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
    CLEANUP(item_clear) struct item item = {0};
    struct sotto_proposal remove = {.kind = SOTTO_PROPOSE_REMOVE, .leaf = 2};
    struct sotto_ref ref = {0};
    CHECK(open_eight(&w, 60));
    CHECK_UINT(sotto_group_propose(w.member[1].group, &remove, &proposal),
               SOTTO_OK);
    for (size_t i = 0; i < MEMBERS; i++) {
        CLEANUP(sotto_result_free) struct sotto_result r = {0};
        CHECK_UINT(
            sotto_group_process(w.member[i].group, view_of(&proposal), &r),
            SOTTO_OK);
        ref = r.ref;
    }
    struct proposal_or_ref p = {.by_reference = true,
                                .reference = {ref.data, ref.len}};
    CHECK(item_set(&item, &p));
    evil_next_proposal(buf_bytes(&item.encoded));
    CHECK_UINT(join_external(&w, MEMBERS, &message), SOTTO_OK);
    CHECK(all_refuse(&w, &message, 0, SOTTO_ERR_INVALID));
}

static const struct test tests[] = {
    TEST(what_all_see_is_refused_by_all_alike),
    TEST(what_cannot_be_applied_can_be_looked_at),
    TEST(a_broken_subtree_rejoins_and_the_rest_goes_on),
    TEST(a_forged_own_message_does_not_make_a_state_look_old),
    TEST(a_forged_own_commit_does_not_make_a_state_look_old),
    TEST(nobody_speaks_from_a_blank_leaf),
    TEST(an_old_copy_knows_its_later_messages),
    TEST(who_comes_back_has_a_new_key),
    TEST(a_broken_joiner_is_refused_by_all_alike),
    TEST(a_joiner_that_breaks_a_subtree_cuts_off_that_subtree),
    TEST(a_joiner_supports_what_the_group_uses),
    TEST(who_is_outside_sends_only_what_it_may),
    TEST(nobody_stays_by_saying_that_it_leaves),
    TEST(a_group_that_has_ended_keeps_the_way_to_the_next),
    TEST(who_is_removed_has_no_keys_of_the_group),
    TEST(a_group_follows_in_its_first_epoch),
    TEST(lists_that_break_a_rule_are_refused),
    TEST(a_joiner_takes_in_nothing_that_was_proposed),
};
TEST_MAIN(tests)
