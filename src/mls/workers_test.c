/* SPDX-License-Identifier: Apache-2.0 */
/* Checks that are shared out over threads: they find what one thread finds. */
#include "mls/group.h"
#include "mls/workers.h"
#include "mls/world.h"

#include "test.h"

#include <pthread.h>
#include <stdatomic.h>

#define SUITE_1 1U
#define CROWD   (WORLD_MAX - 1) /* members; one more joins */
#define THREADS 3U

/* ---- Workers ---- */

struct task {
    void (*part)(void *arg, size_t i);
    void *arg;
    size_t i;
};

static void *run_task(void *arg)
{
    const struct task *t = arg;
    t->part(t->arg, t->i);
    return NULL;
}

static atomic_uint parts_run;

static void on_threads(void *ctx, void (*part)(void *arg, size_t i), void *arg,
                       size_t count)
{
    struct task task[SOTTO_WORKERS_MAX];
    pthread_t thread[SOTTO_WORKERS_MAX];
    (void)ctx;
    for (size_t i = 0; i < count; i++) {
        task[i] = (struct task){part, arg, i};
        if (pthread_create(&thread[i], NULL, run_task, &task[i]) != 0)
            return;
    }
    for (size_t i = 0; i < count; i++)
        (void)pthread_join(thread[i], NULL);
    atomic_fetch_add(&parts_run, (unsigned)count);
}

/* Backwards, more parts than there are, and not the first. */
static void lazily(void *ctx, void (*part)(void *arg, size_t i), void *arg,
                   size_t count)
{
    (void)ctx;
    for (size_t i = count + 2; i-- > 1;)
        part(arg, i);
}

static enum sotto_err
set(struct world *w, void (*run)(void *ctx, void (*part)(void *arg, size_t i),
                                 void *arg, size_t count))
{
    return sotto_mls_set_workers(w->mls,
                                 (struct sotto_workers){run, NULL, THREADS});
}

/* ---- Jobs ---- */

#define CHECKS 100U

static atomic_uint seen[CHECKS];

static void forget_all(void)
{
    for (size_t i = 0; i < CHECKS; i++)
        atomic_store(&seen[i], 0);
}

struct checks {
    size_t bad[2];
};

/* The two bad ones fail in different ways. */
static enum err look(struct crypto *c, const void *arg, size_t from, size_t to)
{
    const struct checks *k = arg;
    if (c == NULL)
        return ERR_STATE;
    for (size_t i = from; i < to; i++) {
        atomic_fetch_add(&seen[i], 1);
        if (i == k->bad[0])
            return ERR_AUTH;
        if (i == k->bad[1])
            return ERR_INVALID;
    }
    return OK;
}

static void each_check_is_made_once(void)
{
    CLEANUP(world_close) struct world w = {0};
    CHECK_UINT(world_open(&w, SUITE_1, 1), SOTTO_OK);
    CHECK_UINT(set(&w, on_threads), SOTTO_OK);
    for (size_t count = 0; count <= CHECKS; count++) {
        struct checks k = {.bad = {CHECKS, CHECKS}};
        forget_all();
        CHECK_UINT(workers_do(w.mls, &(struct job){look, &k, count}), OK);
        for (size_t i = 0; i < CHECKS; i++)
            CHECK_UINT(atomic_load(&seen[i]), i < count);
    }
}

static void the_first_failure_counts(void)
{
    CLEANUP(world_close) struct world w = {0};
    CHECK_UINT(world_open(&w, SUITE_1, 2), SOTTO_OK);
    CHECK_UINT(set(&w, on_threads), SOTTO_OK);
    for (size_t at = 0; at < CHECKS; at++) {
        struct checks k = {.bad = {at, CHECKS - 1 - at}};
        enum err want = at <= CHECKS / 2 - 1 ? ERR_AUTH : ERR_INVALID;
        CHECK_UINT(workers_do(w.mls, &(struct job){look, &k, CHECKS}), want);
    }
}

static void a_part_that_was_not_run_is_no_success(void)
{
    CLEANUP(world_close) struct world w = {0};
    struct checks k = {.bad = {CHECKS, CHECKS}};
    CHECK_UINT(world_open(&w, SUITE_1, 3), SOTTO_OK);
    CHECK_UINT(set(&w, lazily), SOTTO_OK);
    forget_all();
    CHECK_UINT(workers_do(w.mls, &(struct job){look, &k, CHECKS}), ERR_IO);
    CHECK_UINT(atomic_load(&seen[0]), 0);
    CHECK_UINT(atomic_load(&seen[CHECKS - 1]), 1);
}

static void wrong_workers_are_refused(void)
{
    CLEANUP(world_close) struct world w = {0};
    CHECK_UINT(world_open(&w, SUITE_1, 4), SOTTO_OK);
    CHECK_UINT(sotto_mls_set_workers(w.mls, (struct sotto_workers){.count = 1}),
               SOTTO_ERR_USAGE);
    CHECK_UINT(sotto_mls_set_workers(
                   w.mls, (struct sotto_workers){on_threads, NULL,
                                                 SOTTO_WORKERS_MAX + 1}),
               SOTTO_ERR_LIMIT);
    CHECK_UINT(sotto_mls_set_workers(w.mls, (struct sotto_workers){0}),
               SOTTO_OK);
}

/* ---- Groups ---- */

/* The founder adds all but the last in one commit, by itself. */
static enum sotto_err crowd(struct world *w, uint64_t seed)
{
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    struct sotto_bytes adds[CROWD - 1];
    enum sotto_err err = world_open(w, SUITE_1, seed);
    if (err == SOTTO_OK)
        err = world_found(w, 0);
    for (size_t i = 1; i <= CROWD && err == SOTTO_OK; i++) {
        err = world_key_package(w, i);
        if (i < CROWD)
            adds[i - 1] = view_of(&w->member[i].key_package);
    }
    const struct sotto_commit ask = {.adds = adds, .add_count = CROWD - 1};
    if (err == SOTTO_OK)
        err = sotto_group_commit(w->member[0].group, &ask, &out);
    return err == SOTTO_OK ? sotto_group_merge_pending(w->member[0].group)
                           : err;
}

/* The founder adds the last, who joins. */
static enum sotto_err join_last(struct world *w)
{
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    const struct sotto_bytes add = view_of(&w->member[CROWD].key_package);
    const struct sotto_commit ask = {.adds = &add, .add_count = 1};
    enum sotto_err err = sotto_group_commit(w->member[0].group, &ask, &out);
    if (err != SOTTO_OK)
        return err;
    err = world_join(w, CROWD, view_of(&out.welcome));
    if (err == SOTTO_OK)
        return sotto_group_merge_pending(w->member[0].group);
    sotto_group_drop_pending(w->member[0].group);
    return err;
}

static void a_joiner_on_threads_is_in_the_group(void)
{
    CLEANUP(world_close) struct world w = {0};
    CHECK_UINT(crowd(&w, 5), SOTTO_OK);
    CHECK_UINT(set(&w, on_threads), SOTTO_OK);
    atomic_store(&parts_run, 0);
    CHECK_UINT(join_last(&w), SOTTO_OK);
    CHECK_UINT(atomic_load(&parts_run), THREADS);
    CHECK(world_agrees(&w));
}

/* Spoils the signature of a leaf in the founder's own tree. */
static enum err spoil(struct world *w, uint32_t leaf)
{
    CLEANUP(buf_clear) struct buf raw = buf_new(MLS_LEAF_MAX);
    struct tree *t = w->member[0].group->epoch.tree;
    struct leaf_node l;
    TRY(buf_copy(&raw, tree_leaf(t, leaf)->raw));
    raw.data[raw.len - 1] ^= 1;
    struct reader r = reader_of(buf_bytes(&raw));
    leaf_node_read(&r, &l);
    TRY(reader_finish(&r));
    return tree_set_leaf(t, leaf, &l);
}

static void no_forged_leaf_passes_on_threads(void)
{
    CLEANUP(world_close) struct world w = {0};
    CHECK_UINT(crowd(&w, 6), SOTTO_OK);
    CHECK_UINT(set(&w, on_threads), SOTTO_OK);
    for (uint32_t leaf = 1; leaf < CROWD; leaf++) {
        CHECK_UINT(spoil(&w, leaf), OK);
        CHECK_UINT(join_last(&w), SOTTO_ERR_AUTH);
        CHECK_UINT(spoil(&w, leaf), OK); /* back again */
    }
    CHECK_UINT(join_last(&w), SOTTO_OK);
}

static void no_forged_package_passes_on_threads(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    struct sotto_bytes adds[CROWD];
    const struct sotto_commit ask = {.adds = adds, .add_count = CROWD};
    CHECK_UINT(world_open(&w, SUITE_1, 7), SOTTO_OK);
    CHECK_UINT(world_found(&w, 0), SOTTO_OK);
    CHECK_UINT(set(&w, on_threads), SOTTO_OK);
    for (size_t i = 0; i < CROWD; i++) {
        CHECK_UINT(world_key_package(&w, i + 1), SOTTO_OK);
        adds[i] = view_of(&w.member[i + 1].key_package);
    }
    for (size_t i = 0; i < CROWD; i++) {
        struct sotto_buf *p = &w.member[i + 1].key_package;
        p->data[p->len - 1] ^= 1;
        CHECK_UINT(sotto_group_commit(w.member[0].group, &ask, &out),
                   SOTTO_ERR_AUTH);
        p->data[p->len - 1] ^= 1;
    }
    CHECK_UINT(sotto_group_commit(w.member[0].group, &ask, &out), SOTTO_OK);
}

static const struct test tests[] = {
    TEST(each_check_is_made_once),
    TEST(the_first_failure_counts),
    TEST(a_part_that_was_not_run_is_no_success),
    TEST(wrong_workers_are_refused),
    TEST(a_joiner_on_threads_is_in_the_group),
    TEST(no_forged_leaf_passes_on_threads),
    TEST(no_forged_package_passes_on_threads),
};

TEST_MAIN(tests)
