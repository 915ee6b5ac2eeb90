/* SPDX-License-Identifier: Apache-2.0 */
#include "mls/world.h"

#include "base/bytes.h"
#include "base/err.h"
#include "base/mem.h"

#include <string.h>

struct sotto_bytes view_of(const struct sotto_buf *b)
{
    return (struct sotto_bytes){b->data, b->len};
}

struct sotto_bytes text_of(const char *s)
{
    return (struct sotto_bytes){(const uint8_t *)s, strlen(s)};
}

/* ---- A store in memory ---- */

struct record *memory_store_find(struct memory_store *m, enum sotto_record kind,
                                 uint32_t index)
{
    for (size_t i = 0; i < m->count; i++)
        if (m->record[i].kind == kind && m->record[i].index == index)
            return &m->record[i];
    return NULL;
}

static enum sotto_err store_put(void *ctx, enum sotto_record kind,
                                uint32_t index, struct sotto_bytes value)
{
    struct memory_store *m = ctx;
    uint8_t *copy = mem_alloc(value.len);
    if (m->record == NULL)
        m->record = mem_alloc(RECORDS_MAX * sizeof(*m->record));
    struct record *r =
        m->record != NULL ? memory_store_find(m, kind, index) : NULL;
    if (copy == NULL || m->record == NULL ||
        (r == NULL && m->count == RECORDS_MAX)) {
        mem_free(copy, value.len);
        return SOTTO_ERR_NOMEM;
    }
    if (r == NULL)
        r = &m->record[m->count++];
    sotto_buf_free(&r->value);
    memcpy(copy, value.data, value.len);
    *r = (struct record){kind, index, {copy, value.len, value.len}};
    m->puts++;
    m->put_bytes += value.len;
    return SOTTO_OK;
}

static enum sotto_err store_del(void *ctx, enum sotto_record kind,
                                uint32_t index)
{
    struct memory_store *m = ctx;
    struct record *r = memory_store_find(m, kind, index);
    if (r != NULL) {
        sotto_buf_free(&r->value);
        *r = m->record[--m->count];
        m->record[m->count] = (struct record){0};
    }
    return SOTTO_OK;
}

static enum sotto_err store_get(void *ctx, enum sotto_record kind,
                                uint32_t index, struct sotto_bytes *out)
{
    struct record *r = memory_store_find(ctx, kind, index);
    if (r == NULL)
        return SOTTO_ERR_NOTFOUND;
    *out = view_of(&r->value);
    return SOTTO_OK;
}

struct sotto_store memory_store_of(struct memory_store *m)
{
    return (struct sotto_store){m, store_put, store_del, store_get};
}

void memory_store_clear(struct memory_store *m)
{
    for (size_t i = 0; i < m->count; i++)
        sotto_buf_free(&m->record[i].value);
    mem_free(m->record, RECORDS_MAX * sizeof(*m->record));
    *m = (struct memory_store){0};
}

/* ---- Members ---- */

enum sotto_err world_open(struct world *w, uint16_t suite, uint64_t seed)
{
    *w = (struct world){.suite = suite};
    entropy_seed(&w->entropy, seed);
    struct random rnd = entropy_of(&w->entropy);
    TRY_PUBLIC(
        sotto_mls_create((struct sotto_random){rnd.fill, rnd.ctx}, &w->mls));
    for (size_t i = 0; i < WORLD_MAX; i++) {
        struct member *m = &w->member[i];
        m->name = (uint8_t)('A' + i);
        TRY_PUBLIC(sotto_mls_signature_keygen(
            w->mls, suite, &m->signature_private, &m->signature_public));
    }
    return SOTTO_OK;
}

void world_close(struct world *w)
{
    for (size_t i = 0; i < WORLD_MAX; i++) {
        struct member *m = &w->member[i];
        sotto_buf_free(&m->signature_private);
        sotto_buf_free(&m->signature_public);
        sotto_buf_free(&m->key_package);
        sotto_buf_free(&m->key_package_private);
        sotto_group_free(&m->group);
        memory_store_clear(&m->store);
    }
    sotto_mls_free(&w->mls);
}

struct sotto_identity world_identity(const struct world *w, size_t i)
{
    const struct member *m = &w->member[i];
    static const uint16_t extensions[] = {WORLD_EXT};
    static const uint16_t proposals[] = {SOTTO_PROPOSAL_APP_EPHEMERAL,
                                         SOTTO_PROPOSAL_SELF_REMOVE,
                                         SOTTO_PROPOSAL_APP_DATA_UPDATE};
    /* app_components: the component of the world */
    static const uint8_t supported[] = {6, 0, 1, 3, 2, 0x80, 0x01};
    static const struct sotto_extension dictionary = {
        SOTTO_EXTENSION_APP_DATA_DICTIONARY, {supported, sizeof(supported)}};
    return (struct sotto_identity){
        .suite = w->suite,
        .identity = {&m->name, 1},
        .signature_private = view_of(&m->signature_private),
        .signature_public = view_of(&m->signature_public),
        .extension_types = extensions,
        .extension_type_count = 1,
        .proposal_types = proposals,
        .proposal_type_count = w->app_data ? 3 : 2,
        .extensions = {&dictionary, w->app_data ? 1 : 0},
        .not_before = 1000,
        .not_after = 2000,
        .grease = w->grease};
}

enum sotto_err world_key_package(struct world *w, size_t i)
{
    struct member *m = &w->member[i];
    struct sotto_identity id = world_identity(w, i);
    struct sotto_ref ref;
    sotto_buf_free(&m->key_package);
    sotto_buf_free(&m->key_package_private);
    return sotto_key_package_create(w->mls, &id, &m->key_package,
                                    &m->key_package_private, &ref);
}

enum sotto_err world_found(struct world *w, size_t i)
{
    struct member *m = &w->member[i];
    struct sotto_identity id = world_identity(w, i);
    struct sotto_extension e = {WORLD_EXT, text_of("the group")};
    return sotto_group_create(w->mls, &id, text_of("group id"),
                              (struct sotto_extension_list){&e, 1}, &m->group);
}

enum sotto_err world_join(struct world *w, size_t i, struct sotto_bytes welcome)
{
    struct member *m = &w->member[i];
    struct sotto_join join = {.welcome = welcome,
                              .key_package_private =
                                  view_of(&m->key_package_private)};
    sotto_group_free(&m->group);
    memory_store_clear(&m->store);
    return sotto_group_join(w->mls, &join, &m->group);
}

enum sotto_err world_take(struct world *w, size_t i, struct sotto_bytes message,
                          enum sotto_outcome *out_outcome)
{
    struct sotto_group *g = w->member[i].group;
    CLEANUP(sotto_result_free) struct sotto_result result = {0};
    TRY_PUBLIC(sotto_group_process(g, message, &result));
    *out_outcome = result.outcome;
    if (result.outcome == SOTTO_COMMIT)
        return sotto_group_merge(g, &result.staged);
    return result.outcome == SOTTO_OWN_COMMIT ? sotto_group_merge_pending(g)
                                              : SOTTO_OK;
}

enum sotto_err world_spread(struct world *w, struct sotto_bytes message)
{
    for (size_t i = 0; i < WORLD_MAX; i++) {
        enum sotto_outcome outcome = 0;
        if (w->member[i].group == NULL)
            continue;
        TRY_PUBLIC(world_take(w, i, message, &outcome));
        if (outcome != SOTTO_COMMIT && outcome != SOTTO_OWN_COMMIT)
            return SOTTO_ERR_STATE;
        struct sotto_reinit_view next;
        if (!sotto_group_active(w->member[i].group) &&
            sotto_group_reinit(w->member[i].group, &next) != SOTTO_OK) {
            sotto_group_free(&w->member[i].group);
            memory_store_clear(&w->member[i].store);
        }
    }
    return SOTTO_OK;
}

enum sotto_err world_commit(struct world *w, size_t by,
                            const struct sotto_commit *ask, const size_t *added,
                            size_t added_count)
{
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    TRY_PUBLIC(sotto_group_commit(w->member[by].group, ask, &out));
    TRY_PUBLIC(world_spread(w, view_of(&out.message)));
    for (size_t i = 0; i < added_count; i++)
        TRY_PUBLIC(world_join(w, added[i], view_of(&out.welcome)));
    return SOTTO_OK;
}

enum sotto_err world_add(struct world *w, size_t by, size_t from, size_t to)
{
    struct sotto_bytes adds[WORLD_MAX];
    size_t added[WORLD_MAX];
    size_t count = 0;
    for (size_t i = from; i < to; i++) {
        TRY_PUBLIC(world_key_package(w, i));
        adds[count] = view_of(&w->member[i].key_package);
        added[count++] = i;
    }
    struct sotto_commit ask = {.adds = adds, .add_count = count, .now = 1500};
    return world_commit(w, by, &ask, added, count);
}

bool world_three(struct world *w, uint16_t suite, uint64_t seed)
{
    return world_open(w, suite, seed) == SOTTO_OK &&
           world_found(w, 0) == SOTTO_OK && world_add(w, 0, 1, 3) == SOTTO_OK;
}

enum sotto_outcome world_outcome(struct world *w, size_t i,
                                 const struct sotto_buf *message)
{
    enum sotto_outcome outcome = 0;
    if (world_take(w, i, view_of(message), &outcome) != SOTTO_OK)
        return 0;
    return outcome;
}

enum sotto_err world_reload(struct world *w, size_t i)
{
    struct member *m = &w->member[i];
    struct sotto_store store = memory_store_of(&m->store);
    TRY_PUBLIC(sotto_group_save(m->group, &store));
    sotto_group_free(&m->group);
    return sotto_group_load(w->mls, &store, &m->group);
}

bool world_agrees(const struct world *w)
{
    const struct sotto_group *first = NULL;
    for (size_t i = 0; i < WORLD_MAX; i++) {
        const struct sotto_group *g = w->member[i].group;
        if (g == NULL)
            continue;
        if (first == NULL)
            first = g;
        struct sotto_bytes a = sotto_group_epoch_authenticator(first);
        struct sotto_bytes b = sotto_group_epoch_authenticator(g);
        if (!bytes_equal((struct bytes){a.data, a.len},
                         (struct bytes){b.data, b.len}) ||
            sotto_group_epoch(first) != sotto_group_epoch(g))
            return false;
    }
    return true;
}

size_t world_in_group(const struct world *w)
{
    size_t n = 0;
    for (size_t i = 0; i < WORLD_MAX; i++)
        n += w->member[i].group != NULL;
    return n;
}
