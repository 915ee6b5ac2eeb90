/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stored form of a group, as records that are written when they changed:
 *
 *     EPOCH      version, state, chunks, epoch, past resumption PSKs; when the
 *                group has ended, its ReInit
 *     SEND       version, own ratchets             all that sending writes
 *     RECEIVE k  version, ratchets of 16 leaves    one for a message received
 *     PENDING    version, staged commit, application_export_secret (none in
 *                what libraries without it stored)
 *     PROPOSALS  version, cached proposals
 *     EXPORTER   version, epoch, nodes of the exporter tree; absent as above
 *
 * Integers and vectors are in the TLS presentation language.
 */
#include "mls/group.h"

#define STORE_VERSION 1U

enum state {
    STATE_OUT, /* removed */
    STATE_ACTIVE,
    STATE_ENDED, /* by a ReInit */
};

static enum err err_in(enum sotto_err err) { return (enum err)err; }

static enum err put(const struct sotto_store *store, enum sotto_record kind,
                    uint32_t index, const struct writer *w)
{
    TRY(writer_finish(w));
    return err_in(
        store->put(store->ctx, kind, index, bytes_out(buf_bytes(w->out))));
}

static enum err del(const struct sotto_store *store, enum sotto_record kind,
                    uint32_t index)
{
    return err_in(store->del(store->ctx, kind, index));
}

static struct writer record_begin(struct buf *out)
{
    buf_truncate(out, 0);
    struct writer w = writer_to(out);
    writer_u16(&w, STORE_VERSION);
    return w;
}

static uint32_t chunk_count(const struct sotto_group *g)
{
    return g->epoch.ratchets != NULL ? secret_tree_chunks(g->epoch.ratchets)
                                     : 0;
}

static void past_write(struct writer *w, const struct sotto_group *g)
{
    writer_u32(w, g->past_count);
    for (size_t i = 0; i < SOTTO_RESUMPTION_MAX; i++) {
        writer_u64(w, g->past[i].epoch);
        writer_vec(w, secret_expose(&g->past[i].psk));
    }
}

static enum state state_of(const struct sotto_group *g)
{
    if (group_reinit(g) != NULL)
        return STATE_ENDED;
    return g->active ? STATE_ACTIVE : STATE_OUT;
}

static enum err save_epoch(const struct sotto_group *g,
                           const struct sotto_store *store, struct buf *scratch)
{
    if (!g->epoch_dirty)
        return OK;
    struct writer w = record_begin(scratch);
    enum state state = state_of(g);
    writer_u8(&w, (uint8_t)state);
    writer_u32(&w, chunk_count(g));
    epoch_write(&w, &g->epoch);
    past_write(&w, g);
    if (state == STATE_ENDED)
        proposal_list_write(&w, &g->ended_by);
    return put(store, SOTTO_RECORD_EPOCH, 0, &w);
}

static enum err save_ratchets(struct sotto_group *g,
                              const struct sotto_store *store,
                              struct buf *scratch)
{
    struct secret_tree *st = g->epoch.ratchets;
    uint32_t chunks = chunk_count(g);

    if (st == NULL && g->epoch_dirty)
        TRY(del(store, SOTTO_RECORD_SEND, 0));
    if (st != NULL && secret_tree_send_dirty(st)) {
        struct writer w = record_begin(scratch);
        secret_tree_send_write(&w, st);
        TRY(put(store, SOTTO_RECORD_SEND, 0, &w));
    }
    for (uint32_t k = 0; k < chunks; k++) {
        if (!secret_tree_chunk_dirty(st, k))
            continue;
        struct writer w = record_begin(scratch);
        secret_tree_chunk_write(&w, st, k);
        TRY(put(store, SOTTO_RECORD_RECEIVE, k, &w));
    }
    for (uint32_t k = chunks; k < g->chunks_stored; k++)
        TRY(del(store, SOTTO_RECORD_RECEIVE, k));
    return OK;
}

static enum err save_exporter(const struct sotto_group *g,
                              const struct sotto_store *store,
                              struct buf *scratch)
{
    if (!g->epoch_dirty && !g->exporter_dirty)
        return OK;
    if (g->epoch.exporter == NULL)
        return del(store, SOTTO_RECORD_EXPORTER, 0);
    struct writer w = record_begin(scratch);
    writer_u64(&w, g->epoch.fields.epoch);
    exporter_write(&w, g->epoch.exporter);
    return put(store, SOTTO_RECORD_EXPORTER, 0, &w);
}

static enum err save_pending(const struct sotto_group *g,
                             const struct sotto_store *store,
                             struct buf *scratch)
{
    const struct sotto_staged *s = g->pending;
    if (!g->pending_dirty)
        return OK;
    if (s == NULL)
        return del(store, SOTTO_RECORD_PENDING, 0);
    struct writer w = record_begin(scratch);
    writer_u64(&w, s->epoch);
    writer_u32(&w, s->committer);
    writer_u8(&w, s->has_path);
    writer_vec(&w, digest_bytes(&s->message));
    proposal_list_write(&w, &s->list);
    epoch_write(&w, &s->next);
    if (s->next.secrets.application_export_secret.len > 0)
        secret_write(&w, &s->next.secrets.application_export_secret);
    return put(store, SOTTO_RECORD_PENDING, 0, &w);
}

static void cached_write(struct writer *w, const struct cached_proposal *p)
{
    writer_vec(w, digest_bytes(&p->ref));
    writer_vec(w, digest_bytes(&p->message));
    sender_type_write(w, p->sender.type, p->own_unseen);
    writer_u32(w, p->sender.index);
    writer_vec(w, buf_bytes(&p->raw));
    writer_vec(w, secret_expose(&p->encryption_key));
    writer_vec(w, secret_expose(&p->signature_key));
}

static enum err save_proposals(const struct sotto_group *g,
                               const struct sotto_store *store,
                               struct buf *scratch)
{
    if (!g->proposals_dirty)
        return OK;
    if (g->proposal_count == 0)
        return del(store, SOTTO_RECORD_PROPOSALS, 0);
    struct writer w = record_begin(scratch);
    for (size_t i = 0; i < g->proposal_count; i++)
        cached_write(&w, &g->proposals[i]);
    return put(store, SOTTO_RECORD_PROPOSALS, 0, &w);
}

enum err group_save(struct sotto_group *g, const struct sotto_store *store)
{
    CLEANUP(buf_clear) struct buf scratch = buf_new(MLS_MESSAGE_MAX);

    TRY(save_epoch(g, store, &scratch));
    TRY(save_ratchets(g, store, &scratch));
    TRY(save_exporter(g, store, &scratch));
    TRY(save_pending(g, store, &scratch));
    TRY(save_proposals(g, store, &scratch));

    g->epoch_dirty = false;
    g->exporter_dirty = false;
    g->pending_dirty = false;
    g->proposals_dirty = false;
    g->chunks_stored = chunk_count(g);
    if (g->epoch.ratchets != NULL)
        secret_tree_clean(g->epoch.ratchets);
    return OK;
}

/* ---- Loading ---- */

/* Gets a record and checks its version. */
static enum err get(const struct sotto_store *store, enum sotto_record kind,
                    uint32_t index, struct reader *out)
{
    struct sotto_bytes value = {0};
    TRY(err_in(store->get(store->ctx, kind, index, &value)));
    struct reader r = reader_of(bytes_in(value));
    uint16_t version = reader_u16(&r);
    if (r.err == OK && version != STORE_VERSION)
        return ERR_INVALID;
    *out = r;
    return r.err;
}

/* The same for a record that must be there once the epoch record is. */
static enum err get_needed(const struct sotto_store *store,
                           enum sotto_record kind, uint32_t index,
                           struct reader *out)
{
    enum err err = get(store, kind, index, out);
    return err == ERR_NOTFOUND ? ERR_MALFORMED : err;
}

static enum err past_read(struct reader *r, struct sotto_group *g)
{
    g->past_count = reader_u32(r);
    for (size_t i = 0; i < SOTTO_RESUMPTION_MAX; i++) {
        g->past[i].epoch = reader_u64(r);
        TRY(secret_set(&g->past[i].psk, reader_vec(r)));
    }
    return r->err;
}

static enum err load_epoch(const struct sotto_store *store,
                           struct sotto_group *g)
{
    struct reader r = {0};
    TRY(get(store, SOTTO_RECORD_EPOCH, 0, &r));
    uint8_t state = reader_u8(&r);
    g->active = state == STATE_ACTIVE;
    g->chunks_stored = reader_u32(&r);
    TRY(epoch_read(&r, &g->epoch));
    TRY(past_read(&r, g));
    if (state == STATE_ENDED) {
        TRY(proposal_list_read(&r, &g->ended_by));
        if (group_reinit(g) == NULL)
            return ERR_MALFORMED;
    } else if (state > STATE_ENDED) {
        return ERR_MALFORMED;
    }
    return reader_finish(&r);
}

static enum err load_ratchets(const struct sotto_store *store,
                              struct sotto_group *g)
{
    struct reader r = {0};
    if (!g->active)
        return g->chunks_stored == 0 ? OK : ERR_MALFORMED;
    TRY(get_needed(store, SOTTO_RECORD_SEND, 0, &r));
    TRY(secret_tree_load(g->epoch.suite, r.rest, &g->epoch.ratchets));
    if (secret_tree_chunks(g->epoch.ratchets) != g->chunks_stored)
        return ERR_MALFORMED;
    for (uint32_t k = 0; k < g->chunks_stored; k++) {
        TRY(get_needed(store, SOTTO_RECORD_RECEIVE, k, &r));
        TRY(secret_tree_load_chunk(g->epoch.ratchets, k, r.rest));
    }
    return OK;
}

/* What was stored without an exporter tree has none until the next epoch. */
static enum err load_exporter(const struct sotto_store *store,
                              struct sotto_group *g)
{
    struct reader r = {0};
    if (!g->active)
        return OK;
    enum err err = get(store, SOTTO_RECORD_EXPORTER, 0, &r);
    if (err == ERR_NOTFOUND)
        return OK;
    TRY(err);
    if (reader_u64(&r) != g->epoch.fields.epoch)
        return ERR_MALFORMED;
    return exporter_read(g->epoch.suite, r.rest, &g->epoch.exporter);
}

static enum err export_secret_read(struct reader *r, struct epoch *e)
{
    struct secret *root = &e->secrets.application_export_secret;
    if (!reader_more(r))
        return r->err;
    secret_read(r, root);
    if (r->err == OK && root->len != e->suite->nh)
        reader_fail(r, ERR_MALFORMED);
    return r->err;
}

static enum err digest_read(struct reader *r, struct digest *out)
{
    struct bytes b = reader_vec(r);
    return digest_set(out, b);
}

static enum err load_pending(const struct sotto_store *store,
                             struct sotto_group *g)
{
    CLEANUP(sotto_staged_free) struct sotto_staged *s = NULL;
    struct reader r = {0};

    enum err err = get(store, SOTTO_RECORD_PENDING, 0, &r);
    if (err == ERR_NOTFOUND)
        return OK;
    TRY(err);
    TRY(staged_new(g, &s));
    if (reader_u64(&r) != s->epoch)
        return ERR_MALFORMED;
    s->committer = reader_u32(&r);
    s->has_path = bool_read(&r);
    TRY(digest_read(&r, &s->message));
    TRY(proposal_list_read(&r, &s->list));
    TRY(epoch_read(&r, &s->next));
    TRY(export_secret_read(&r, &s->next));
    TRY(reader_finish(&r));
    g->pending = s;
    s = NULL; /* handed over */
    return OK;
}

static enum err cached_read(struct reader *r, struct cached_proposal *p)
{
    TRY(digest_read(r, &p->ref));
    TRY(digest_read(r, &p->message));
    p->own_unseen = sender_type_read(r, &p->sender.type);
    p->sender.index = reader_u32(r);
    TRY(buf_copy(&p->raw, reader_vec(r)));
    TRY(secret_set(&p->encryption_key, reader_vec(r)));
    TRY(secret_set(&p->signature_key, reader_vec(r)));
    return r->err;
}

static enum err load_proposals(const struct sotto_store *store,
                               struct sotto_group *g)
{
    struct reader r = {0};
    enum err err = get(store, SOTTO_RECORD_PROPOSALS, 0, &r);
    if (err == ERR_NOTFOUND)
        return OK;
    TRY(err);
    while (reader_more(&r)) {
        struct cached_proposal *p = NULL;
        TRY(cache_reserve(g, &p));
        g->proposal_count++; /* at once, so that a failure clears it too */
        TRY(cached_read(&r, p));
    }
    return reader_finish(&r);
}

enum err group_load(struct sotto_mls *mls, const struct sotto_store *store,
                    struct sotto_group **out)
{
    CLEANUP(sotto_group_free) struct sotto_group *g = NULL;

    TRY(group_new(mls, NULL, &g));
    TRY(load_epoch(store, g));
    TRY(load_ratchets(store, g));
    TRY(load_exporter(store, g));
    TRY(load_pending(store, g));
    TRY(load_proposals(store, g));
    g->epoch_dirty = false;
    *out = g;
    g = NULL; /* handed over */
    return OK;
}
