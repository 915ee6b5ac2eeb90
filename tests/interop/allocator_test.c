/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process-wide allocator of sotto/mls.h: it gets every block back, may
 * refuse any, and is never given back a secret. The random source is ours too,
 * so all that was drawn is known and can be looked for.
 */
#include "sotto/mls.h"

#include "test.h"

#include "base/err.h"

#include <stdlib.h>
#include <string.h>

#define SUITE_1     1U
#define BLOCKS_MAX  4096U /* alive at once */
#define SECRETS_MAX 512U
#define SECRET_SIZE 16U /* so much of a secret is looked for */
#define NEVER       SIZE_MAX

static struct block {
    uint8_t *data;
    size_t size;
} blocks[BLOCKS_MAX];

static uint8_t secrets[SECRETS_MAX][SECRET_SIZE];

static struct {
    size_t blocks, secrets;
    size_t taken;    /* blocks, since the start of a life */
    size_t refuse;   /* the block to refuse, or NEVER */
    bool refuse_all; /* from now on */
    size_t wrong;    /* releases of what was never taken */
    size_t left;     /* secrets in blocks that came back */
    uint64_t random;
} the;

/* ---- The allocator ---- */

static void *take(size_t size)
{
    if (the.refuse_all || the.taken++ == the.refuse)
        return NULL;
    if (size == 0 || the.blocks == BLOCKS_MAX)
        abort();
    uint8_t *data = malloc(size);
    if (data != NULL)
        blocks[the.blocks++] = (struct block){data, size};
    return data;
}

static size_t secrets_in(const struct block *b)
{
    size_t found = 0;
    for (size_t i = 0; i < the.secrets; i++)
        found += memmem(b->data, b->size, secrets[i], SECRET_SIZE) != NULL;
    return found;
}

static void give_back(void *data)
{
    size_t i = 0;
    while (i < the.blocks && blocks[i].data != data)
        i++;
    if (i == the.blocks) { /* NULL too */
        the.wrong++;
        return;
    }
    the.left += secrets_in(&blocks[i]);
    free(data);
    blocks[i] = blocks[--the.blocks];
}

static void keep_secret(const uint8_t *data, size_t len)
{
    if (len < SECRET_SIZE)
        return;
    if (the.secrets == SECRETS_MAX)
        abort();
    memcpy(secrets[the.secrets++], data, SECRET_SIZE);
}

/* Unlike one another is all that they have to be. */
static void fill(void *ctx, uint8_t *out, size_t len)
{
    (void)ctx;
    for (size_t i = 0; i < len; i++) {
        the.random = the.random * 6364136223846793005U + 1442695040888963407U;
        out[i] = (uint8_t)(the.random >> 56U);
    }
    keep_secret(out, len);
}

/* ---- A life of a group, a call at each step ---- */

struct life {
    struct sotto_mls *mls;
    struct sotto_buf key[2], public_key[2]; /* of alice and bob */
    struct sotto_group *group[2];
    struct sotto_buf package, private_part, message, exported;
    struct sotto_commit_out made;
    struct sotto_result got;
};

static void life_clear(struct life *l)
{
    sotto_result_free(&l->got);
    sotto_commit_out_free(&l->made);
    sotto_buf_free(&l->exported);
    sotto_buf_free(&l->message);
    sotto_buf_free(&l->private_part);
    sotto_buf_free(&l->package);
    for (size_t i = 0; i < 2; i++) {
        sotto_group_free(&l->group[i]);
        sotto_buf_free(&l->key[i]);
        sotto_buf_free(&l->public_key[i]);
    }
    sotto_mls_free(&l->mls);
}

static struct sotto_bytes view(const struct sotto_buf *b)
{
    return (struct sotto_bytes){b->data, b->len};
}

static struct sotto_identity identity(const struct life *l, size_t i)
{
    static const uint8_t names[2] = {'a', 'b'};
    return (struct sotto_identity){.suite = SUITE_1,
                                   .identity = {&names[i], 1},
                                   .signature_private = view(&l->key[i]),
                                   .signature_public = view(&l->public_key[i]),
                                   .not_after = UINT64_MAX};
}

static enum sotto_err step_create(struct life *l)
{
    return sotto_mls_create((struct sotto_random){fill, NULL}, &l->mls);
}

static enum sotto_err step_key_of_alice(struct life *l)
{
    return sotto_mls_signature_keygen(l->mls, SUITE_1, &l->key[0],
                                      &l->public_key[0]);
}

static enum sotto_err step_key_of_bob(struct life *l)
{
    return sotto_mls_signature_keygen(l->mls, SUITE_1, &l->key[1],
                                      &l->public_key[1]);
}

static enum sotto_err step_package(struct life *l)
{
    struct sotto_identity id = identity(l, 1);
    struct sotto_ref ref;
    return sotto_key_package_create(l->mls, &id, &l->package, &l->private_part,
                                    &ref);
}

static enum sotto_err step_found(struct life *l)
{
    struct sotto_identity id = identity(l, 0);
    struct sotto_bytes group_id = {(const uint8_t *)"group", 5};
    struct sotto_extension_list none = {0};
    return sotto_group_create(l->mls, &id, group_id, none, &l->group[0]);
}

static enum sotto_err step_add(struct life *l)
{
    struct sotto_bytes add = view(&l->package);
    struct sotto_commit ask = {.adds = &add, .add_count = 1};
    return sotto_group_commit(l->group[0], &ask, &l->made);
}

static enum sotto_err step_merge_own(struct life *l)
{
    return sotto_group_merge_pending(l->group[0]);
}

static enum sotto_err step_join(struct life *l)
{
    struct sotto_join join = {.welcome = view(&l->made.welcome),
                              .key_package_private = view(&l->private_part)};
    return sotto_group_join(l->mls, &join, &l->group[1]);
}

static enum sotto_err step_say(struct life *l)
{
    static const uint8_t words[] = "words that nobody else may read";
    struct sotto_bytes none = {0};
    if (the.secrets < SECRETS_MAX)
        keep_secret(words, sizeof(words));
    return sotto_group_protect(l->group[0], none,
                               (struct sotto_bytes){words, sizeof(words)}, 256,
                               &l->message);
}

static enum sotto_err step_hear(struct life *l)
{
    return sotto_group_process(l->group[1], view(&l->message), &l->got);
}

static enum sotto_err step_update(struct life *l)
{
    struct sotto_commit ask = {0};
    sotto_commit_out_free(&l->made);
    return sotto_group_commit(l->group[1], &ask, &l->made);
}

static enum sotto_err step_process(struct life *l)
{
    sotto_result_free(&l->got);
    return sotto_group_process(l->group[0], view(&l->made.message), &l->got);
}

/* "It needs no memory" */
static enum sotto_err step_merge(struct life *l)
{
    the.refuse_all = true;
    enum sotto_err err = sotto_group_merge(l->group[0], &l->got.staged);
    the.refuse_all = false;
    return err == SOTTO_ERR_NOMEM ? SOTTO_ERR_USAGE : err;
}

static enum sotto_err step_export(struct life *l)
{
    struct sotto_bytes none = {0};
    enum sotto_err err =
        sotto_group_export(l->group[0], "label", none, 32, &l->exported);
    if (err == SOTTO_OK)
        keep_secret(l->exported.data, l->exported.len);
    return err;
}

static enum sotto_err put(void *ctx, enum sotto_record kind, uint32_t index,
                          struct sotto_bytes value)
{
    (void)ctx, (void)kind, (void)index, (void)value;
    return SOTTO_OK;
}

static enum sotto_err del(void *ctx, enum sotto_record kind, uint32_t index)
{
    (void)ctx, (void)kind, (void)index;
    return SOTTO_OK;
}

static enum sotto_err step_save(struct life *l)
{
    struct sotto_store store = {.put = put, .del = del};
    return sotto_group_save(l->group[0], &store);
}

static enum sotto_err (*const steps[])(struct life *) = {
    step_create, step_key_of_alice, step_key_of_bob, step_package, step_found,
    step_add,    step_merge_own,    step_join,       step_say,     step_hear,
    step_update, step_process,      step_merge,      step_export,  step_save,
};

/* A call may fail once, for want of memory, and then not again. False when it
 * fails otherwise. */
static bool live(struct life *l, size_t refuse)
{
    the.taken = the.secrets = 0;
    the.refuse = refuse;
    for (size_t i = 0; i < COUNT(steps); i++) {
        enum sotto_err err = steps[i](l);
        if (err == SOTTO_ERR_NOMEM && the.taken > refuse)
            err = steps[i](l);
        if (!test_check_uint(err, SOTTO_OK, __FILE__, __LINE__, "a step"))
            return false;
    }
    return true;
}

/* ---- */

static void gets_every_block_back(void)
{
    CLEANUP(life_clear) struct life l = {0};
    CHECK(live(&l, NEVER));
    CHECK(the.taken > 100);
    CHECK(the.blocks > 10);
    life_clear(&l);
    CHECK_UINT(the.blocks, 0);
    CHECK_UINT(the.wrong, 0);
}

static void gets_no_secret_back(void)
{
    CLEANUP(life_clear) struct life l = {0};
    size_t alive = 0;
    the.left = 0;
    CHECK(live(&l, NEVER));
    for (size_t i = 0; i < the.blocks; i++)
        alive += secrets_in(&blocks[i]);
    CHECK(alive > 3); /* one would see them */
    life_clear(&l);
    CHECK_UINT(the.left, 0);
}

static void may_refuse_each_block(void)
{
    size_t refuse = 0;
    the.left = 0;
    do {
        CLEANUP(life_clear) struct life l = {0};
        CHECK(live(&l, refuse));
        life_clear(&l);
        CHECK_UINT(the.blocks, 0);
        CHECK_UINT(the.wrong, 0);
        CHECK_UINT(the.left, 0);
    } while (refuse++ < the.taken);
    CHECK(refuse > 100);
}

static void is_set_once_and_before_the_first_use(void)
{
    CHECK_UINT(sotto_set_allocator(take, give_back), SOTTO_ERR_USAGE);
}

static const struct test tests[] = {
    TEST(gets_every_block_back),
    TEST(gets_no_secret_back),
    TEST(may_refuse_each_block),
    TEST(is_set_once_and_before_the_first_use),
};

int main(void)
{
    the.refuse = NEVER;
    if (sotto_set_allocator(NULL, give_back) != SOTTO_ERR_USAGE ||
        sotto_set_allocator(take, NULL) != SOTTO_ERR_USAGE ||
        sotto_set_allocator(take, give_back) != SOTTO_OK)
        return 1;
    return test_run(tests, COUNT(tests));
}
