/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A live group of three, one of whom is the attacker: what it sends is edited
 * before or after it was signed and sealed. Whatever comes, the other two come
 * to the same result; what is refused leaves a group as it was, and the next
 * text of an honest member still arrives.
 *
 * Input: steps of a byte that says what, two bytes that it takes as it likes,
 * and a length byte with so many bytes of edits (edit.h).
 */
#include "mls/group.h"
#include "mls/world.h"

#include "edit.h"

#include <assert.h>
#include <string.h>

#ifndef PLANTED_BUG
#define PLANTED_BUG 0 /* 1: the fault that scripts/fuzz must find */
#endif

#define SUITE_1   1U
#define EVIL      0U /* who attacks; the other two are honest */
#define ME        1U /* whose state is watched */
#define OTHER     2U
#define MEMBERS   3U
#define STEPS_MAX 6U

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct world w;
static struct memory_store saved[MEMBERS]; /* where each input begins */

/* What the attacker starts from: messages that it could send, as they are. */
static struct base {
    struct sotto_buf message; /* a PublicMessage */
    struct framed_content content;
    struct bytes tag;
} bases[24];
static size_t base_count;

static void must(enum sotto_err err) { assert(err == SOTTO_OK); }

/* ---- Where each input begins ---- */

static void base_keep(struct sotto_buf *message)
{
    struct base *b = &bases[base_count++];
    struct mls_message m = {0};
    b->message = *message;
    *message = (struct sotto_buf){0};
    struct reader r = reader_of(bytes_in(view_of(&b->message)));
    mls_message_read(&r, &m);
    assert(reader_finish(&r) == OK);
    b->content = m.public_message.content;
    b->tag = m.public_message.auth.confirmation_tag;
}

static const struct sotto_extension group_extension = {
    WORLD_EXT, {(const uint8_t *)"new", 3}};
static const struct sotto_extension_list group_extensions = {&group_extension,
                                                             1};

static void bases_propose(struct sotto_group *g)
{
    const struct sotto_proposal kinds[] = {
        {.kind = SOTTO_PROPOSE_ADD,
         .key_package = view_of(&w.member[3].key_package)},
        {.kind = SOTTO_PROPOSE_UPDATE},
        {.kind = SOTTO_PROPOSE_REMOVE, .leaf = EVIL},
        {.kind = SOTTO_PROPOSE_REMOVE, .leaf = ME},
        {.kind = SOTTO_PROPOSE_REMOVE, .leaf = OTHER},
        {.kind = SOTTO_PROPOSE_EXTENSIONS, .extensions = group_extensions},
        {.kind = SOTTO_PROPOSE_APP, .app = {1, text_of("agreed")}},
        {.kind = SOTTO_PROPOSE_PSK, .psk_id = text_of("psk")},
        {.kind = SOTTO_PROPOSE_PSK, .psk_id = text_of("unknown")},
    };
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct sotto_buf message = {0};
        struct sotto_proposal p = kinds[i];
        p.public_message = true;
        must(sotto_group_propose(g, &p, &message));
        base_keep(&message);
    }
}

/* Bits of what a commit does. */
enum {
    DO_ADD = 1,
    DO_ADD_OTHER = 2,
    DO_REMOVE = 4,
    DO_NO_PATH = 8,
    DO_PENDING = 16,
    DO_PUBLIC = 32,
    DO_PSK = 64,
    DO_EXTENSIONS = 128
};

static enum sotto_err commit(struct sotto_group *g, uint8_t bits,
                             struct sotto_buf *out)
{
    struct sotto_commit_out made = {0};
    const struct sotto_bytes adds[] = {view_of(&w.member[3].key_package),
                                       view_of(&w.member[4].key_package)};
    const uint32_t gone = OTHER;
    const struct sotto_bytes psk = text_of("psk");
    const struct sotto_commit ask = {
        .adds = adds + ((bits & DO_ADD) == 0),
        .add_count =
            (size_t)((bits & DO_ADD) != 0) +
            (size_t)((bits & DO_ADD_OTHER) != 0 && (bits & DO_ADD) == 0),
        .removes = &gone,
        .remove_count = (bits & DO_REMOVE) != 0,
        .no_path = (bits & DO_NO_PATH) != 0,
        .use_pending = (bits & DO_PENDING) != 0,
        .public_message = (bits & DO_PUBLIC) != 0,
        .psks = &psk,
        .psk_count = (bits & DO_PSK) != 0,
        .extensions = (bits & DO_EXTENSIONS) != 0 ? &group_extensions : NULL,
    };
    enum sotto_err err = sotto_group_commit(g, &ask, &made);
    *out = made.message;
    made.message = (struct sotto_buf){0};
    sotto_commit_out_free(&made);
    return err;
}

static void start(void)
{
    static const uint8_t commits[] = {
        0,
        DO_ADD,
        DO_REMOVE,
        DO_ADD | DO_REMOVE,
        DO_PSK | DO_NO_PATH,
        DO_EXTENSIONS,
    };
    const struct sotto_commit plain = {0};
    assert(world_three(&w, SUITE_1, 1));
    for (size_t i = 0; i < MEMBERS; i++)
        must(world_commit(&w, i, &plain, NULL, 0));
    for (size_t i = 0; i < MEMBERS; i++) {
        struct sotto_store store = memory_store_of(&saved[i]);
        must(sotto_group_save(w.member[i].group, &store));
    }
    must(world_key_package(&w, 3));
    must(world_key_package(&w, 4));
    struct sotto_group *g = w.member[EVIL].group;
    struct sotto_psk psk = {text_of("psk"), text_of("key")};
    must(sotto_group_offer_psk(g, psk));
    bases_propose(g);
    for (size_t i = 0; i < sizeof(commits); i++) {
        struct sotto_buf message = {0};
        must(commit(g, commits[i] | DO_PUBLIC, &message));
        base_keep(&message);
        sotto_group_drop_pending(g);
    }
}

struct session {
    struct sotto_group *group[MEMBERS];
    struct memory_store store; /* of ME */
};

static void session_open(struct session *s)
{
    struct sotto_psk psk = {text_of("psk"), text_of("key")};
    *s = (struct session){0};
    entropy_seed(&w.entropy, 2);
    for (size_t i = 0; i < MEMBERS; i++) {
        struct sotto_store store = memory_store_of(&saved[i]);
        must(sotto_group_load(w.mls, &store, &s->group[i]));
        must(sotto_group_offer_psk(s->group[i], psk));
    }
}

static void session_clear(struct session *s)
{
    for (size_t i = 0; i < MEMBERS; i++)
        sotto_group_free(&s->group[i]);
    memory_store_clear(&s->store);
}

/* ---- The state that must not change ---- */

/* Writes all but the ratchets, changed or not. */
static void snapshot(struct sotto_group *g, struct memory_store *m)
{
    struct sotto_store store = memory_store_of(m);
    g->epoch_dirty = true;
    g->pending_dirty = true;
    g->proposals_dirty = true;
    must(sotto_group_save(g, &store));
}

static void check_same(struct sotto_group *g, struct memory_store *before)
{
    CLEANUP(memory_store_clear) struct memory_store after = {0};
    snapshot(g, &after);
    for (size_t i = 0; i < after.count; i++) {
        const struct record *a = &after.record[i];
        const struct record *b = memory_store_find(before, a->kind, a->index);
        if (a->kind != SOTTO_RECORD_RECEIVE && a->kind != SOTTO_RECORD_SEND)
            assert(b != NULL && bytes_equal(bytes_in(view_of(&a->value)),
                                            bytes_in(view_of(&b->value))));
    }
    if (memory_store_find(&after, SOTTO_RECORD_PROPOSALS, 0) == NULL)
        assert(memory_store_find(before, SOTTO_RECORD_PROPOSALS, 0) == NULL);
}

/* ---- Messages ---- */

static void look(const struct sotto_staged *s)
{
    struct sotto_change change;
    for (size_t i = 0; sotto_staged_change(s, i, &change) == SOTTO_OK; i++)
        assert(change.kind != 0);
}

static bool sees_all(enum sotto_err err, const struct sotto_result *r)
{
    return err != SOTTO_OK || r->staged == NULL ||
           !sotto_staged_removes_me(r->staged);
}

/* The honest two take a message. `merge`: a commit is merged, or dropped.
 * Returns whether both took it. */
static bool give(struct session *s, struct sotto_bytes message, bool merge)
{
    CLEANUP(sotto_result_free) struct sotto_result mine = {0};
    CLEANUP(sotto_result_free) struct sotto_result theirs = {0};
    memory_store_clear(&s->store);
    snapshot(s->group[ME], &s->store);
    enum sotto_err err = sotto_group_process(s->group[ME], message, &mine);
    enum sotto_err other =
        sotto_group_process(s->group[OTHER], message, &theirs);
    if (sees_all(err, &mine) && sees_all(other, &theirs) &&
        mine.outcome != SOTTO_CANNOT_APPLY &&
        theirs.outcome != SOTTO_CANNOT_APPLY)
        assert(err == other && mine.outcome == theirs.outcome);
    if (PLANTED_BUG && err == SOTTO_ERR_INVALID &&
        s->group[ME]->proposal_count > 1)
        s->group[ME]->proposals[1].sender.index++;
    if (mine.outcome != SOTTO_PROPOSAL)
        check_same(s->group[ME], &s->store);
    if (mine.staged != NULL)
        look(mine.staged);
    if (merge && mine.staged != NULL && theirs.staged != NULL) {
        must(sotto_group_merge(s->group[ME], &mine.staged));
        must(sotto_group_merge(s->group[OTHER], &theirs.staged));
    }
    return err == SOTTO_OK && other == SOTTO_OK;
}

/* From outside: a message is changed on its way. Nothing of it is taken. */
static void step_wire(struct session *s, const struct base *b,
                      struct reader *edits)
{
    CLEANUP(buf_clear) struct buf message = buf_new(MLS_MESSAGE_MAX);
    struct bytes before = bytes_in(view_of(&b->message));
    assert(buf_copy(&message, before) == OK);
    edit(edits, &message);
    bool taken = give(s, bytes_out(buf_bytes(&message)), false);
    if (!taken && !bytes_equal(buf_bytes(&message), before)) {
        struct sotto_store store = memory_store_of(&s->store);
        s->store.puts = 0;
        must(sotto_group_save(s->group[ME], &store));
        assert(s->store.puts == 0);
    }
}

/* Signs and seals a body, whatever it is, and gives it to the others. */
static void send_body(struct session *s, const struct base *b,
                      struct bytes body, bool public_message)
{
    CLEANUP(buf_clear) struct buf message = buf_new(MLS_MESSAGE_MAX);
    CLEANUP(buf_clear) struct buf signature = buf_new(1024);
    struct sotto_group *g = s->group[EVIL];
    const struct outgoing o = {.type = b->content.type,
                               .body = body,
                               .public_message = public_message};
    struct authenticated_content ac = group_content(g, &o);
    assert(framing_sign(g->mls->crypto, g->epoch.suite, &g->epoch.signature_key,
                        &ac, buf_bytes(&g->epoch.context), &signature) == OK);
    ac.auth.signature = buf_bytes(&signature);
    ac.auth.confirmation_tag = b->tag;
    assert(group_write_message(g, &ac, 0, &message) == OK);
    (void)!give(s, bytes_out(buf_bytes(&message)), false);
}

static void step_signed(struct session *s, const struct base *b, uint8_t how,
                        struct reader *edits)
{
    CLEANUP(buf_clear) struct buf body = buf_new(MLS_MESSAGE_MAX);
    assert(buf_copy(&body, b->content.body) == OK);
    edit(edits, &body);
    send_body(s, b, buf_bytes(&body), how % 2 == 0);
}

/* A commit of any proposals, by value or by reference to those that were
 * sent, with the path of another commit or none. */
static void step_list(struct session *s, const struct base *b, uint8_t how,
                      struct reader *list)
{
    CLEANUP(buf_clear) struct buf body = buf_new(MLS_MESSAGE_MAX);
    const struct sotto_group *me = s->group[ME];
    struct commit c = {0};
    struct reader r = reader_of(b->content.body);
    struct writer out = writer_to(&body);
    if (b->content.type != CONTENT_COMMIT)
        return;
    commit_read(&r, &c);
    size_t start_of_list = writer_enter(&out);
    while (reader_more(list)) {
        size_t i = reader_u8(list);
        const struct base *p = &bases[i % base_count];
        if (i >= 128 && me->proposal_count > 0) {
            writer_u8(&out, 2);
            writer_vec(
                &out, digest_bytes(&me->proposals[i % me->proposal_count].ref));
        } else if (p->content.type == CONTENT_PROPOSAL) {
            writer_u8(&out, 1);
            writer_raw(&out, p->content.body);
        }
    }
    writer_leave(&out, start_of_list);
    writer_u8(&out, how % 4 != 3);
    writer_raw(&out, how % 4 != 3 ? c.path.raw : (struct bytes){0});
    assert(writer_finish(&out) == OK);
    send_body(s, b, buf_bytes(&body), how % 2 == 0);
}

/* A commit by the rules: then the others must take it. */
static void step_honest(struct session *s, uint8_t bits)
{
    CLEANUP(sotto_buf_free) struct sotto_buf message = {0};
    struct sotto_group *g = s->group[EVIL];
    if (commit(g, bits & (uint8_t)~DO_REMOVE, &message) != SOTTO_OK)
        return;
    bool taken = give(s, view_of(&message), true);
    assert(taken);
    must(sotto_group_merge_pending(g));
    assert(sotto_group_epoch(g) == sotto_group_epoch(s->group[ME]));
}

static void step(struct session *s, struct reader *r)
{
    uint8_t what = reader_u8(r);
    const struct base *b = &bases[reader_u8(r) % base_count];
    uint8_t how = reader_u8(r);
    struct reader rest = reader_of(reader_raw(r, reader_u8(r)));
    switch (what % 4) {
    case 0:
        step_wire(s, b, &rest);
        break;
    case 1:
        step_signed(s, b, how, &rest);
        break;
    case 2:
        step_list(s, b, how, &rest);
        break;
    default:
        step_honest(s, how);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(session_clear) struct session s;
    CLEANUP(sotto_buf_free) struct sotto_buf text = {0};
    CLEANUP(sotto_result_free) struct sotto_result result = {0};
    struct reader r = reader_of((struct bytes){data, size});
    if (w.mls == NULL)
        start();
    session_open(&s);
    for (unsigned i = 0; i < STEPS_MAX && reader_more(&r); i++)
        step(&s, &r);

    must(sotto_group_protect(s.group[OTHER], text_of(""), text_of("text"), 0,
                             &text));
    must(sotto_group_process(s.group[ME], view_of(&text), &result));
    assert(result.outcome == SOTTO_APPLICATION);
    return 0;
}
