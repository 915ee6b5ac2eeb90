/* SPDX-License-Identifier: Apache-2.0 */
#include "mls/app_data.h"

#include "base/mem.h"

#include <stdlib.h>

_Static_assert(SOTTO_EXTENSION_APP_DATA_DICTIONARY ==
                       EXTENSION_APP_DATA_DICTIONARY &&
                   SOTTO_COMPONENT_APP_COMPONENTS == COMPONENT_APP_COMPONENTS &&
                   SOTTO_COMPONENT_SAFE_AAD == COMPONENT_SAFE_AAD,
               "the same code points");

/* ---- Dictionaries ---- */

void component_data_read(struct reader *r, struct component_data *cd)
{
    cd->component_id = reader_u16(r);
    cd->data = reader_vec(r);
}

void component_data_write(struct writer *w, const struct component_data *cd)
{
    writer_u16(w, cd->component_id);
    writer_vec(w, cd->data);
}

bool app_data_find(struct bytes dictionary, uint16_t component_id,
                   struct bytes *data)
{
    struct reader r = reader_of(dictionary);
    (void)reader_enter(&r);
    while (reader_more(&r)) {
        struct component_data cd = {0};
        component_data_read(&r, &cd);
        if (r.err == OK && cd.component_id == component_id) {
            *data = cd.data;
            return true;
        }
    }
    return false;
}

bool app_data_find_in(struct bytes extensions, uint16_t component_id,
                      struct bytes *data)
{
    struct bytes dictionary = {0};
    return extensions_find(extensions, EXTENSION_APP_DATA_DICTIONARY,
                           &dictionary) &&
           app_data_find(dictionary, component_id, data);
}

static bool is_components_list(uint16_t component_id)
{
    return component_id == COMPONENT_APP_COMPONENTS ||
           component_id == COMPONENT_SAFE_AAD;
}

static struct bytes components_of(struct bytes data)
{
    struct reader r = reader_of(data);
    return u16_list_read(&r);
}

/* struct { ComponentID component_ids<V>; } ComponentsList */
static enum err components_check(const struct component_data *cd)
{
    struct reader r = reader_of(cd->data);
    if (!is_components_list(cd->component_id))
        return OK;
    (void)u16_list_read(&r);
    return reader_finish(&r);
}

/* "The entries in the component_data MUST be sorted by component_id, and there
 * MUST be at most one entry for each component_id." */
static enum err dictionary_check(struct bytes dictionary)
{
    uint32_t next = 0;
    struct reader r = reader_of(dictionary);
    struct bytes after = reader_enter(&r);
    while (reader_more(&r)) {
        struct component_data cd = {0};
        component_data_read(&r, &cd);
        if (r.err == OK && cd.component_id < next)
            reader_fail(&r, ERR_INVALID);
        TRY(r.err);
        TRY(components_check(&cd));
        next = cd.component_id + 1U;
    }
    reader_leave(&r, after);
    return reader_finish(&r);
}

enum err app_data_check(struct bytes extensions)
{
    struct bytes dictionary = {0};
    if (!extensions_find(extensions, EXTENSION_APP_DATA_DICTIONARY,
                         &dictionary))
        return OK;
    return dictionary_check(dictionary);
}

/* Whether AppDataUpdate is among the required proposal types. */
static bool updates_required(struct bytes extensions)
{
    struct bytes data = {0};
    struct required_capabilities rc = {0};
    if (!extensions_find(extensions, EXTENSION_REQUIRED_CAPABILITIES, &data))
        return false;
    struct reader r = reader_of(data);
    required_capabilities_read(&r, &rc);
    return reader_finish(&r) == OK &&
           u16_list_has(rc.proposals, PROPOSAL_APP_DATA_UPDATE);
}

bool app_data_left_alone(struct bytes before, struct bytes proposed)
{
    struct bytes old_one = {0};
    struct bytes new_one = {0};
    if (!updates_required(before))
        return true;
    bool had = extensions_find(before, EXTENSION_APP_DATA_DICTIONARY, &old_one);
    bool has =
        extensions_find(proposed, EXTENSION_APP_DATA_DICTIONARY, &new_one);
    return had == has && bytes_equal(old_one, new_one);
}

/* Whether the leaf's list of that name has all that the group's has. A GREASE
 * value that is required stands for nothing that a client could support. */
static bool lists_all(struct bytes leaf_extensions,
                      struct bytes group_extensions, uint16_t list)
{
    struct bytes wanted = {0};
    struct bytes have = {0};
    if (!app_data_find_in(group_extensions, list, &wanted))
        return true;
    (void)app_data_find_in(leaf_extensions, list, &have);
    struct bytes have_ids = components_of(have);
    struct reader r = reader_of(components_of(wanted));
    while (reader_more(&r)) {
        uint16_t id = reader_u16(&r);
        if (grease_is(id) || !u16_list_has(have_ids, id))
            return false;
    }
    return true;
}

bool app_data_supported(struct bytes leaf_extensions,
                        struct bytes group_extensions)
{
    return lists_all(leaf_extensions, group_extensions,
                     COMPONENT_APP_COMPONENTS) &&
           lists_all(leaf_extensions, group_extensions, COMPONENT_SAFE_AAD);
}

/* ---- AppDataUpdate ---- */

/* The steps of one component, in the order of the commit. */
struct turn {
    const struct sotto_mls *mls;
    const struct app_data_step *steps;
    size_t count;
    struct sotto_bytes *views; /* room for as many */
};

static int step_order(const void *a, const void *b)
{
    const struct app_data_step *x = a;
    const struct app_data_step *y = b;
    uint16_t p = x->update->component_id;
    uint16_t q = y->update->component_id;
    if (p != q)
        return (p > q) - (p < q);
    return (x->place > y->place) - (x->place < y->place);
}

/* Asks the application; without logic it knows no component. */
static enum err ask_logic(const struct turn *t, const struct bytes *before,
                          bool removes, struct bytes *out)
{
    const struct sotto_component_logic *logic = &t->mls->component_logic;
    struct sotto_component_change change = {
        .component = t->steps[0].update->component_id,
        .present = before != NULL,
        .data = before != NULL ? bytes_out(*before) : (struct sotto_bytes){0},
        .removes = removes,
        .updates = t->views,
        .update_count = removes ? 0 : t->count};
    struct sotto_bytes data = {0};
    if (logic->apply == NULL)
        return ERR_INVALID;
    for (size_t i = 0; i < change.update_count; i++)
        t->views[i] = bytes_out(t->steps[i].update->update);
    switch (logic->apply(logic->ctx, &change, &data)) {
    case SOTTO_OK:
        break;
    case SOTTO_ERR_NOMEM:
        return ERR_NOMEM;
    case SOTTO_ERR_IO:
        return ERR_IO;
    default: /* a value from outside may be no enumerator */
        return ERR_INVALID;
    }
    if (bad_view(data))
        return ERR_INVALID;
    *out = bytes_in(data);
    return OK;
}

/* "A proposal list is valid only if it contains (a) a single remove operation
 * or (b) one or more update operations." */
static enum err apply_turn(const struct turn *t, const struct bytes *before,
                           struct writer *w)
{
    struct component_data next = {.component_id =
                                      t->steps[0].update->component_id};
    size_t removes = 0;
    for (size_t i = 0; i < t->count; i++)
        removes += t->steps[i].update->op == APP_DATA_REMOVE;
    if (removes > 0 && (t->count > 1 || before == NULL))
        return ERR_INVALID;
    TRY(ask_logic(t, before, removes > 0, &next.data));
    if (removes == 0)
        component_data_write(w, &next);
    return w->err;
}

/* The next entry of a dictionary; false: there is none. */
static bool entry_next(struct reader *r, struct component_data *out)
{
    if (!reader_more(r))
        return false;
    component_data_read(r, out);
    return r->err == OK;
}

/* How many steps from the first on have its component. */
static size_t turn_length(const struct app_data_step *steps, size_t count)
{
    size_t n = 1;
    while (n < count &&
           steps[n].update->component_id == steps[0].update->component_id)
        n++;
    return n;
}

/* Merges sorted steps into the entries of a dictionary. */
static enum err merge(struct turn *t, size_t count, struct bytes entries,
                      struct writer *w)
{
    struct reader r = reader_of(entries);
    struct component_data cd = {0};
    bool more = entry_next(&r, &cd);
    for (const struct app_data_step *end = t->steps + count; t->steps < end;
         t->steps += t->count) {
        uint16_t id = t->steps[0].update->component_id;
        t->count = turn_length(t->steps, (size_t)(end - t->steps));
        for (; more && cd.component_id < id; more = entry_next(&r, &cd))
            component_data_write(w, &cd);
        bool there = more && cd.component_id == id;
        TRY(apply_turn(t, there ? &cd.data : NULL, w));
        if (there)
            more = entry_next(&r, &cd);
    }
    for (; more; more = entry_next(&r, &cd))
        component_data_write(w, &cd);
    return reader_finish(&r);
}

static enum err dictionary_write(struct turn *t, size_t count,
                                 struct bytes dictionary, struct writer *w)
{
    struct bytes entries = {0};
    struct reader r = reader_of(dictionary);
    if (dictionary.len > 0) {
        entries = reader_vec(&r);
        TRY(reader_finish(&r));
    }
    writer_u16(w, EXTENSION_APP_DATA_DICTIONARY);
    size_t data = writer_enter(w);
    size_t list = writer_enter(w);
    TRY(merge(t, count, entries, w));
    writer_leave(w, list);
    writer_leave(w, data);
    return w->err;
}

/* "If no app_data_dictionary extension is present in the GroupContext, add one
 * to the end of the extensions list." */
static enum err extensions_rewrite(struct turn *t, size_t count,
                                   struct bytes extensions, struct writer *w)
{
    bool done = false;
    struct reader r = reader_of(extensions);
    while (reader_more(&r)) {
        struct extension e = {0};
        extension_read(&r, &e);
        TRY(r.err);
        if (e.type == EXTENSION_APP_DATA_DICTIONARY) {
            TRY(dictionary_write(t, count, e.data, w));
            done = true;
        } else {
            extension_write(w, &e);
        }
    }
    if (!done)
        TRY(dictionary_write(t, count, (struct bytes){0}, w));
    return writer_finish(w);
}

enum err app_data_apply(const struct sotto_mls *mls,
                        struct app_data_step *steps, size_t count,
                        struct bytes extensions, struct buf *out)
{
    size_t room = count * sizeof(struct sotto_bytes);
    struct writer w = writer_to(out);

    TRY(app_data_check(extensions));
    struct turn t = {.mls = mls, .steps = steps, .views = mem_alloc(room)};
    if (t.views == NULL)
        return ERR_NOMEM;
    qsort(steps, count, sizeof(*steps), step_order);
    enum err err = extensions_rewrite(&t, count, extensions, &w);
    mem_free(t.views, room);
    return err;
}

/* ---- The installed header ---- */

void sotto_mls_set_component_logic(struct sotto_mls *mls,
                                   struct sotto_component_logic logic)
{
    mls->component_logic = logic;
}

enum sotto_err
sotto_component_replace(void *ctx, const struct sotto_component_change *change,
                        struct sotto_bytes *out_data)
{
    (void)ctx;
    if (change->update_count > 0)
        *out_data = change->updates[change->update_count - 1];
    return SOTTO_OK;
}

static enum err dictionary_encode(const struct sotto_component_data *items,
                                  size_t count, struct buf *out)
{
    struct writer w = writer_to(out);
    size_t start = writer_enter(&w);
    for (size_t i = 0; i < count; i++) {
        struct component_data cd = {items[i].component,
                                    bytes_in(items[i].data)};
        component_data_write(&w, &cd);
    }
    writer_leave(&w, start);
    TRY(writer_finish(&w));
    return dictionary_check(buf_bytes(out));
}

enum sotto_err sotto_app_data_encode(const struct sotto_component_data *items,
                                     size_t count, struct sotto_buf *out)
{
    if ((items == NULL && count > 0) || out == NULL)
        return SOTTO_ERR_USAGE;
    for (size_t i = 0; i < count; i++)
        if (bad_view(items[i].data))
            return SOTTO_ERR_USAGE;
    CLEANUP(buf_clear) struct buf data = buf_new(MLS_MESSAGE_MAX);
    enum err err = dictionary_encode(items, count, &data);
    if (err == OK)
        buf_give(&data, out);
    return err_out(err);
}

enum sotto_err sotto_app_data_at(struct sotto_bytes data, size_t i,
                                 struct sotto_component_data *out)
{
    if (bad_view(data) || out == NULL)
        return SOTTO_ERR_USAGE;
    enum err err = dictionary_check(bytes_in(data));
    if (err != OK)
        return err_out(err);
    struct reader r = reader_of(bytes_in(data));
    struct component_data cd = {0};
    (void)reader_enter(&r);
    for (size_t k = 0; entry_next(&r, &cd); k++) {
        if (k != i)
            continue;
        *out =
            (struct sotto_component_data){cd.component_id, bytes_out(cd.data)};
        return SOTTO_OK;
    }
    return SOTTO_ERR_NOTFOUND;
}

enum sotto_err sotto_app_data_find(struct sotto_bytes extensions,
                                   uint16_t component, struct sotto_bytes *out)
{
    struct bytes data = {0};
    if (bad_view(extensions) || out == NULL)
        return SOTTO_ERR_USAGE;
    enum err err = app_data_check(bytes_in(extensions));
    if (err != OK)
        return err_out(err);
    if (!app_data_find_in(bytes_in(extensions), component, &data))
        return SOTTO_ERR_NOTFOUND;
    *out = bytes_out(data);
    return SOTTO_OK;
}
