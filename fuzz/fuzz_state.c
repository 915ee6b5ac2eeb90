/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stored group, one of whose records was damaged. Either it does not load;
 * or it saves again as the same bytes, does whatever a group does without a
 * crash, and what it saves after that loads.
 *
 * Input: which record, and edits (edit.h).
 */
#include "mls/group.h"
#include "mls/world.h"

#include "edit.h"

#include <assert.h>

#ifndef PLANTED_BUG
#define PLANTED_BUG 0 /* 1: the fault that scripts/fuzz must find */
#endif

#define SUITE_1 1U
#define ME      1U /* whose state it is */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct world w;

/* What comes after the state was saved. */
enum {
    MESSAGE_SKIPPED, /* older than one that was received */
    MESSAGE_TEXT,
    MESSAGE_COMMIT,     /* of another member */
    MESSAGE_OWN_COMMIT, /* the pending one */
    MESSAGES
};
static struct sotto_buf message[MESSAGES];

static void must(enum sotto_err err) { assert(err == SOTTO_OK); }

static void say(size_t by, struct sotto_buf *out)
{
    must(sotto_group_protect(w.member[by].group, text_of(""), text_of("text"),
                             0, out));
}

/* All take a proposal of a member. */
static void propose(size_t by, const struct sotto_proposal *p)
{
    CLEANUP(sotto_buf_free) struct sotto_buf out = {0};
    must(sotto_group_propose(w.member[by].group, p, &out));
    for (size_t i = 0; i < 3; i++)
        assert(world_outcome(&w, i, &out) == SOTTO_PROPOSAL);
}

static void commit(size_t by, bool use_pending, struct sotto_buf *out)
{
    struct sotto_commit_out made = {0};
    struct sotto_commit ask = {.use_pending = use_pending};
    must(sotto_group_commit(w.member[by].group, &ask, &made));
    *out = made.message;
}

/* A state with something in each record. */
static void start(void)
{
    struct sotto_commit plain = {0};
    struct sotto_buf newer = {0};
    struct sotto_store store = memory_store_of(&w.member[ME].store);
    assert(world_three(&w, SUITE_1, 1));
    for (size_t i = 0; i < 3; i++)
        must(world_commit(&w, i, &plain, NULL, 0));
    say(0, &message[MESSAGE_SKIPPED]);
    say(0, &newer);
    assert(world_outcome(&w, ME, &newer) == SOTTO_APPLICATION);
    sotto_buf_free(&newer);
    propose(ME, &(struct sotto_proposal){.kind = SOTTO_PROPOSE_UPDATE});
    propose(2, &(struct sotto_proposal){.kind = SOTTO_PROPOSE_UPDATE});
    propose(0, &(struct sotto_proposal){.kind = SOTTO_PROPOSE_APP,
                                        .app = {1, text_of("agreed")}});
    commit(0, true, &message[MESSAGE_COMMIT]);
    commit(ME, true, &message[MESSAGE_OWN_COMMIT]);
    say(2, &message[MESSAGE_TEXT]);
    must(sotto_group_save(w.member[ME].group, &store));
}

/* The stored records, with one of them replaced. */
static void copy_store(size_t which, struct bytes edited,
                       struct memory_store *to)
{
    const struct memory_store *from = &w.member[ME].store;
    struct sotto_store store = memory_store_of(to);
    for (size_t i = 0; i < from->count; i++) {
        const struct record *r = &from->record[i];
        must(store.put(store.ctx, r->kind, r->index,
                       i == which ? bytes_out(edited) : view_of(&r->value)));
    }
}

/* What was loaded is written as it was. */
static void check_again(struct sotto_group *g, struct memory_store *m,
                        size_t which, struct bytes edited)
{
    const struct record *base = &w.member[ME].store.record[which];
    struct sotto_store store = memory_store_of(m);
    g->epoch_dirty = true;
    g->pending_dirty = true;
    g->proposals_dirty = true;
    must(sotto_group_save(g, &store));
    const struct record *r = memory_store_find(m, base->kind, base->index);
    assert(r == NULL || bytes_equal(bytes_in(view_of(&r->value)), edited));
    assert(r != NULL || base->kind == SOTTO_RECORD_PROPOSALS);
}

static void look(const struct sotto_staged *s)
{
    struct sotto_change change;
    struct sotto_leaf leaf;
    for (size_t i = 0; sotto_staged_change(s, i, &change) == SOTTO_OK; i++)
        assert(change.kind != 0);
    for (uint32_t i = 0; i < sotto_staged_leaf_count(s); i++)
        (void)!sotto_staged_member(s, i, &leaf);
    (void)sotto_staged_extensions(s);
}

static void take(struct sotto_group *g, const struct sotto_buf *from)
{
    CLEANUP(sotto_result_free) struct sotto_result r = {0};
    if (sotto_group_process(g, view_of(from), &r) != SOTTO_OK)
        return;
    if (r.staged != NULL) {
        look(r.staged);
        (void)!sotto_group_merge(g, &r.staged);
    }
    if (r.outcome == SOTTO_OWN_COMMIT)
        (void)!sotto_group_merge_pending(g);
    assert(!PLANTED_BUG || r.outcome != SOTTO_DUPLICATE || from != message);
}

/* Errors are right: the secrets may be any. Crashes are not. */
static void use(struct sotto_group *g, bool own_commit)
{
    CLEANUP(sotto_buf_free) struct sotto_buf text = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf info = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf exported = {0};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    const struct sotto_commit ask = {.use_pending = true};
    struct sotto_leaf leaf;
    for (uint32_t i = 0; i < sotto_group_leaf_count(g); i++)
        (void)!sotto_group_member(g, i, &leaf);
    if (sotto_group_pending(g) != NULL)
        look(sotto_group_pending(g));
    take(g, &message[MESSAGE_SKIPPED]);
    take(g, &message[MESSAGE_TEXT]);
    (void)!sotto_group_protect(g, text_of("data"), text_of("mine"), 64, &text);
    take(g, &message[own_commit ? MESSAGE_OWN_COMMIT : MESSAGE_COMMIT]);
    (void)!sotto_group_info(g, true, &info);
    (void)!sotto_group_export(g, "label", text_of("context"), 32, &exported);
    sotto_group_drop_pending(g);
    (void)!sotto_group_commit(g, &ask, &out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP(memory_store_clear) struct memory_store m = {0};
    CLEANUP(sotto_group_free) struct sotto_group *g = NULL;
    CLEANUP(sotto_group_free) struct sotto_group *again = NULL;
    CLEANUP(buf_clear) struct buf record = buf_new(MLS_MESSAGE_MAX);
    struct reader r = reader_of((struct bytes){data, size});
    if (w.mls == NULL)
        start();
    entropy_seed(&w.entropy, 2);
    uint8_t what = reader_u8(&r);
    size_t which = what / 2 % w.member[ME].store.count;
    const struct record *base = &w.member[ME].store.record[which];
    assert(buf_copy(&record, bytes_in(view_of(&base->value))) == OK);
    edit(&r, &record);
    if (record.len == 0)
        return 0;

    copy_store(which, buf_bytes(&record), &m);
    struct sotto_store store = memory_store_of(&m);
    if (sotto_group_load(w.mls, &store, &g) != SOTTO_OK)
        return 0;
    check_again(g, &m, which, buf_bytes(&record));
    use(g, what % 2 == 0);
    must(sotto_group_save(g, &store));
    must(sotto_group_load(w.mls, &store, &again));
    return 0;
}
