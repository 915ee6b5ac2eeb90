/* SPDX-License-Identifier: Apache-2.0 */
/* The exporter tree, and what a group gives of it to components. */
#include "mls/exporter.h"

#include "mls/schedule.h"
#include "mls/world.h"
#include "test.h"

#include "base/err.h"
#include "base/mem.h"

#define SUITE_1    1U /* X25519, AES-128, SHA-256, Ed25519: the fastest */
#define RECORD_MAX ((size_t)1 << 20)

/* ---- The tree ---- */

struct fixture {
    struct crypto *c;
    const struct suite *s;
    struct secret root;
    struct exporter *x;
};

static void fixture_clear(struct fixture *f)
{
    exporter_free(&f->x);
    secret_clear(&f->root);
    crypto_free(&f->c);
}

static enum err fixture_make(struct fixture *f)
{
    f->s = suite_find(SUITE_X25519_AES128);
    for (size_t i = 0; i < f->s->nh; i++)
        f->root.data[i] = (uint8_t)i;
    f->root.len = f->s->nh;
    TRY(crypto_create(&f->c));
    return exporter_create(f->s, &f->root, &f->x);
}

/* What the draft says, written as it says it: from the root, left or right. */
static enum err expected(const struct fixture *f, uint16_t component,
                         struct secret *out)
{
    secret_copy(out, &f->root);
    for (unsigned bit = 16; bit-- > 0;) {
        CLEANUP(secret_clear) struct secret child = {0};
        struct kdf_label l = {BYTES_LIT("tree"),
                              component >> bit & 1 ? BYTES_LIT("right")
                                                   : BYTES_LIT("left"),
                              f->s->nh};
        TRY(expand_with_label(f->c, f->s, out, &l, &child));
        secret_take(out, &child);
    }
    return OK;
}

static bool gives(const struct fixture *f, uint16_t component)
{
    CLEANUP(secret_clear) struct secret want = {0};
    CLEANUP(secret_clear) struct secret got = {0};
    return expected(f, component, &want) == OK &&
           exporter_take(f->c, f->x, component, &got) == OK &&
           secret_equal(&got, &want);
}

static enum err reload(struct fixture *f)
{
    CLEANUP(buf_clear) struct buf record = buf_new(RECORD_MAX);
    struct writer w = writer_to(&record);
    exporter_write(&w, f->x);
    TRY(writer_finish(&w));
    exporter_free(&f->x);
    return exporter_read(f->s, buf_bytes(&record), &f->x);
}

static const uint16_t some[] = {0x8001, 0, 0xffff, 0x8000, 0x8002, 1, 0x7fff};

static void each_component_has_the_secret_of_its_leaf(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    CHECK_UINT(fixture_make(&f), OK);
    for (size_t i = 0; i < COUNT(some); i++)
        CHECK(gives(&f, some[i]));
}

static void a_secret_is_given_once(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    CHECK_UINT(fixture_make(&f), OK);
    for (size_t i = 0; i < COUNT(some); i++) {
        CLEANUP(secret_clear) struct secret got = {0};
        CHECK_UINT(exporter_take(f.c, f.x, some[i], &got), OK);
        CHECK_UINT(reload(&f), OK);
        for (size_t k = 0; k <= i; k++)
            CHECK_UINT(exporter_take(f.c, f.x, some[k], &got), ERR_NOTFOUND);
    }
}

/* Nothing on the way to a given secret is left, the root least of all. */
static void what_a_given_secret_comes_from_is_deleted(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    CLEANUP(buf_clear) struct buf record = buf_new(RECORD_MAX);
    CLEANUP(secret_clear) struct secret at = {0};
    CHECK_UINT(fixture_make(&f), OK);
    CHECK(gives(&f, 0x8001));
    struct writer w = writer_to(&record);
    exporter_write(&w, f.x);
    CHECK_UINT(writer_finish(&w), OK);
    secret_copy(&at, &f.root);
    for (unsigned bit = 17; bit-- > 0;) {
        struct bytes want = secret_expose(&at);
        for (size_t i = 0; i + want.len <= record.len; i++)
            CHECK(
                !bytes_equal((struct bytes){record.data + i, want.len}, want));
        if (bit == 0)
            break;
        CLEANUP(secret_clear) struct secret child = {0};
        struct kdf_label l = {BYTES_LIT("tree"),
                              0x8001U >> (bit - 1) & 1 ? BYTES_LIT("right")
                                                       : BYTES_LIT("left"),
                              f.s->nh};
        CHECK_UINT(expand_with_label(f.c, f.s, &at, &l, &child), OK);
        secret_take(&at, &child);
    }
}

static void all_can_be_given(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    CLEANUP(secret_clear) struct secret got = {0};
    CHECK_UINT(fixture_make(&f), OK);
    for (uint32_t i = 0; i < EXPORTER_LEAVES; i++)
        CHECK_UINT(exporter_take(f.c, f.x, (uint16_t)i, &got), OK);
    CHECK_UINT(reload(&f), OK);
    CHECK_UINT(exporter_take(f.c, f.x, 77, &got), ERR_NOTFOUND);
}

static void a_damaged_record_is_refused(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    CLEANUP(buf_clear) struct buf record = buf_new(RECORD_MAX);
    CHECK_UINT(fixture_make(&f), OK);
    CHECK(gives(&f, 0));
    struct writer w = writer_to(&record);
    exporter_write(&w, f.x);
    CHECK_UINT(writer_finish(&w), OK);
    for (size_t len = 0; len < record.len; len++) {
        struct exporter *x = NULL;
        CHECK_UINT(exporter_read(f.s, (struct bytes){record.data, len}, &x),
                   ERR_MALFORMED);
    }
    struct exporter *x = NULL;
    size_t second = 2 + 4 + 1 + f.s->nh; /* past a header and a node */
    record.data[second + 3] = 2;         /* it is the first again */
    CHECK_UINT(exporter_read(f.s, buf_bytes(&record), &x), ERR_MALFORMED);
    record.data[second + 1] = 2; /* and here, there is no such node */
    CHECK_UINT(exporter_read(f.s, buf_bytes(&record), &x), ERR_MALFORMED);
}

/* "derived from the epoch_secret in the same way as the other secrets" */
static void the_root_is_derived_from_the_epoch_secret(void)
{
    CLEANUP(fixture_clear) struct fixture f = {0};
    CLEANUP(epoch_secrets_clear) struct epoch_secrets es = {0};
    CLEANUP(secret_clear) struct secret member = {0};
    CLEANUP(secret_clear) struct secret epoch = {0};
    CLEANUP(secret_clear) struct secret want = {0};
    CHECK_UINT(fixture_make(&f), OK);
    const struct secret zeros = {.len = f.s->nh};
    struct kdf_label l = {BYTES_LIT("epoch"), LIT("context"), f.s->nh};
    CHECK_UINT(schedule_epoch(f.c, f.s, &f.root, NULL, LIT("context"), &es),
               OK);
    CHECK_UINT(hkdf_extract(f.c, f.s->hash, &f.root, &zeros, &member), OK);
    CHECK_UINT(expand_with_label(f.c, f.s, &member, &l, &epoch), OK);
    CHECK_UINT(derive_secret(f.c, f.s, &epoch, "application_export", &want),
               OK);
    CHECK(secret_equal(&es.application_export_secret, &want));
}

/* ---- A group ---- */

static bool same(const struct sotto_buf *a, const struct sotto_buf *b)
{
    return bytes_equal((struct bytes){a->data, a->len},
                       (struct bytes){b->data, b->len});
}

/* Whether all members in the group get the same, that is not `other`. */
static bool all_get(struct world *w, uint16_t component, struct sotto_buf *out)
{
    CLEANUP(sotto_buf_free) struct sotto_buf first = {0};
    for (size_t i = 0; i < WORLD_MAX; i++) {
        CLEANUP(sotto_buf_free) struct sotto_buf mine = {0};
        if (w->member[i].group == NULL)
            continue;
        if (sotto_group_safe_export(w->member[i].group, component, &mine) !=
                SOTTO_OK ||
            mine.len != 32 || (first.len > 0 && !same(&first, &mine)))
            return false;
        sotto_buf_free(&first);
        first = mine;
        mine = (struct sotto_buf){0};
    }
    bool fresh = !same(&first, out);
    sotto_buf_free(out);
    *out = first;
    first = (struct sotto_buf){0};
    return fresh;
}

static void members_get_the_same_secret_once_in_each_epoch(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf secret = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf again = {0};
    struct sotto_commit ask = {0};
    CHECK(world_three(&w, SUITE_1, 1));
    CHECK(all_get(&w, 0x8001, &secret));
    CHECK(all_get(&w, 0x8002, &secret)); /* another than that */
    for (size_t i = 0; i < 3; i++) {
        CHECK_UINT(world_reload(&w, i), SOTTO_OK);
        CHECK_UINT(sotto_group_safe_export(w.member[i].group, 0x8001, &again),
                   SOTTO_ERR_NOTFOUND);
    }
    CHECK(all_get(&w, 0x8003, &secret));
    CHECK_UINT(world_commit(&w, 1, &ask, NULL, 0), SOTTO_OK);
    CHECK(all_get(&w, 0x8003, &secret));
    CHECK_UINT(world_add(&w, 2, 3, 5), SOTTO_OK);
    CHECK(all_get(&w, 0x8003, &secret));
}

/* A second save writes what was spent after the first, and no more. */
static void a_given_secret_is_gone_from_the_store(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf secret = {0};
    CHECK(world_three(&w, SUITE_1, 2));
    CHECK_UINT(world_reload(&w, 0), SOTTO_OK);
    struct sotto_group *g = w.member[0].group;
    CHECK_UINT(sotto_group_safe_export(g, 1, &secret), SOTTO_OK);
    w.member[0].store.puts = 0;
    CHECK_UINT(world_reload(&w, 0), SOTTO_OK);
    CHECK_UINT(w.member[0].store.puts, 1);
    CHECK_UINT(world_reload(&w, 0), SOTTO_OK);
    CHECK_UINT(w.member[0].store.puts, 1);
    sotto_buf_free(&secret);
    CHECK_UINT(sotto_group_safe_export(w.member[0].group, 1, &secret),
               SOTTO_ERR_NOTFOUND);
}

static void a_pending_commit_keeps_its_secrets(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf secret = {0};
    struct sotto_commit ask = {0};
    CHECK(world_three(&w, SUITE_1, 3));
    CHECK_UINT(sotto_group_commit(w.member[1].group, &ask, &out), SOTTO_OK);
    CHECK_UINT(world_reload(&w, 1), SOTTO_OK);
    CHECK_UINT(world_spread(&w, view_of(&out.message)), SOTTO_OK);
    CHECK(all_get(&w, 5, &secret));
}

/* What older libraries stored has no such record. */
static void a_state_without_a_tree_exports_from_the_next_epoch_on(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf secret = {0};
    struct sotto_commit ask = {0};
    CHECK(world_three(&w, SUITE_1, 4));
    CHECK_UINT(world_reload(&w, 0), SOTTO_OK);
    struct sotto_store store = memory_store_of(&w.member[0].store);
    CHECK_UINT(store.del(store.ctx, SOTTO_RECORD_EXPORTER, 0), SOTTO_OK);
    sotto_group_free(&w.member[0].group);
    CHECK_UINT(sotto_group_load(w.mls, &store, &w.member[0].group), SOTTO_OK);
    CHECK_UINT(sotto_group_safe_export(w.member[0].group, 1, &secret),
               SOTTO_ERR_STATE);
    CHECK_UINT(world_reload(&w, 0), SOTTO_OK);
    CHECK_UINT(world_commit(&w, 1, &ask, NULL, 0), SOTTO_OK);
    CHECK(all_get(&w, 1, &secret));
}

static void who_is_out_gets_nothing(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf secret = {0};
    uint32_t leaf = 2;
    struct sotto_commit ask = {.removes = &leaf, .remove_count = 1};
    CHECK(world_three(&w, SUITE_1, 5));
    CHECK_UINT(world_reload(&w, 2), SOTTO_OK);
    CHECK_UINT(sotto_group_commit(w.member[0].group, &ask, &out), SOTTO_OK);
    CHECK_UINT(world_outcome(&w, 2, &out.message), SOTTO_COMMIT);
    CHECK_UINT(sotto_group_safe_export(w.member[2].group, 1, &secret),
               SOTTO_ERR_STATE);
    CHECK_UINT(world_reload(&w, 2), SOTTO_OK);
    CHECK(memory_store_find(&w.member[2].store, SOTTO_RECORD_EXPORTER, 0) ==
          NULL);
}

static void an_export_survives_lack_of_memory(void)
{
    CLEANUP(world_close) struct world w = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf other = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf secret = {0};
    enum sotto_err err = SOTTO_ERR_NOMEM;
    CHECK(world_three(&w, SUITE_1, 6));
    for (unsigned n = 0; err == SOTTO_ERR_NOMEM; n++) {
        mem_fail_after(n);
        err = sotto_group_safe_export(w.member[0].group, 9, &secret);
        CHECK(n < 5000);
    }
    mem_fail_after(1U << 30);
    CHECK_UINT(err, SOTTO_OK);
    CHECK_UINT(sotto_group_safe_export(w.member[1].group, 9, &other), SOTTO_OK);
    CHECK(same(&secret, &other));
}

static const struct test tests[] = {
    TEST(each_component_has_the_secret_of_its_leaf),
    TEST(a_secret_is_given_once),
    TEST(what_a_given_secret_comes_from_is_deleted),
    TEST(all_can_be_given),
    TEST(a_damaged_record_is_refused),
    TEST(the_root_is_derived_from_the_epoch_secret),
    TEST(members_get_the_same_secret_once_in_each_epoch),
    TEST(a_given_secret_is_gone_from_the_store),
    TEST(a_pending_commit_keeps_its_secrets),
    TEST(a_state_without_a_tree_exports_from_the_next_epoch_on),
    TEST(who_is_out_gets_nothing),
    TEST(an_export_survives_lack_of_memory),
};
TEST_MAIN(tests)
