/* SPDX-License-Identifier: Apache-2.0 */
/*
 *        encryption_secret            wiped in secret_tree_create
 *           /         \
 *     chunk root    chunk root        one record each; "closed"
 *        / \
 *      ..   leaf secret               wiped when its ratchets exist
 *            /       \
 *     handshake   application         ratchets: head secret, generation, keys
 *                                     of skipped messages
 *
 * An open chunk holds the secrets of those of its nodes that still have
 * something to derive below them (its frontier), and the ratchets of the
 * leaves that were heard.
 */
#include "mls/secret_tree.h"

#include "base/mem.h"
#include "mls/tree_math.h"

#include <assert.h>

#define RATCHETS      2U
#define CHUNK_NODES   (2 * CHUNK_LEAVES - 1)
#define RECORD_FORMAT 1U

struct ratchet {
    struct secret head; /* of `generation`, the next to be used */
    uint32_t generation;
    struct message_key *skipped; /* oldest first */
    size_t skipped_count, skipped_cap;
};

struct leaf_ratchets {
    struct ratchet of[RATCHETS];
};

struct open_chunk {
    struct secret node[CHUNK_NODES];
    struct leaf_ratchets *leaf[CHUNK_LEAVES];
};

struct chunk {
    bool loaded, dirty;
    struct secret root;      /* while closed */
    struct open_chunk *open; /* NULL while closed */
};

struct secret_tree {
    const struct suite *suite;
    uint32_t leaves, own;
    bool send_dirty;
    struct ratchet send[RATCHETS];
    uint32_t chunk_count;
    struct chunk chunk[];
};

void message_key_clear(struct message_key *mk)
{
    secret_clear(&mk->key);
    secret_clear(&mk->nonce);
    mk->generation = 0;
}

static void message_key_take(struct message_key *to, struct message_key *from)
{
    to->generation = from->generation;
    secret_take(&to->key, &from->key);
    secret_take(&to->nonce, &from->nonce);
}

static void message_key_copy(struct message_key *to,
                             const struct message_key *from)
{
    to->generation = from->generation;
    secret_copy(&to->key, &from->key);
    secret_copy(&to->nonce, &from->nonce);
}

/* Ratchets: section 9.1 */

static void ratchet_clear(struct ratchet *r)
{
    secret_clear(&r->head);
    mem_free(r->skipped, r->skipped_cap * sizeof *r->skipped);
    *r = (struct ratchet){0};
}

static void ratchet_take(struct ratchet *to, struct ratchet *from)
{
    ratchet_clear(to);
    secret_take(&to->head, &from->head);
    to->generation = from->generation;
    to->skipped = from->skipped;
    to->skipped_count = from->skipped_count;
    to->skipped_cap = from->skipped_cap;
    *from = (struct ratchet){0};
}

/* The message key of a generation; and the head of the next, unless NULL. */
static enum err derive_key(struct crypto *c, const struct suite *s,
                           const struct secret *head, uint32_t generation,
                           struct message_key *out, struct secret *next)
{
    uint8_t room[4];
    const struct bytes context = generation_context(generation, room);
    const struct kdf_want wants[] = {
        {{BYTES_LIT("key"), context, s->nk}, &out->key},
        {{BYTES_LIT("nonce"), context, s->nn}, &out->nonce},
        {{BYTES_LIT("secret"), context, s->nh}, next},
    };
    TRY(expand_with_label_each(c, s, head, wants, next != NULL ? 3 : 2));
    out->generation = generation;
    return OK;
}

/* Replaces the head of a generation by that of the next. */
static enum err step(struct crypto *c, const struct suite *s,
                     struct secret *head, uint32_t generation)
{
    CLEANUP(secret_clear) struct secret next = {0};
    struct kdf_label l = {.label = BYTES_LIT("secret"), .len = s->nh};
    TRY(derive_tree_secret(c, s, head, l, generation, &next));
    secret_take(head, &next);
    return OK;
}

static struct message_key *find_skipped(const struct ratchet *r,
                                        uint32_t generation)
{
    for (size_t i = 0; i < r->skipped_count; i++)
        if (r->skipped[i].generation == generation)
            return &r->skipped[i];
    return NULL;
}

static void drop_skipped(struct ratchet *r, struct message_key *mk)
{
    struct message_key *last = &r->skipped[r->skipped_count - 1];
    for (; mk < last; mk++)
        message_key_take(mk, mk + 1);
    message_key_clear(last);
    r->skipped_count--;
}

/* Whether the ratchet may be turned to a generation. The very last is given
 * up, so that no counter wraps. */
static enum err check_forward(const struct ratchet *r, uint32_t generation)
{
    if (generation < r->generation || r->head.len == 0)
        return ERR_NOTFOUND;
    if (generation - r->generation > RATCHET_FORWARD_MAX ||
        generation == UINT32_MAX)
        return ERR_LIMIT;
    return OK;
}

static enum err ratchet_peek(struct crypto *c, const struct suite *s,
                             const struct ratchet *r, uint32_t generation,
                             struct message_key *out)
{
    CLEANUP(secret_clear) struct secret head = {0};
    const struct message_key *skipped = find_skipped(r, generation);
    if (skipped != NULL) {
        message_key_copy(out, skipped);
        return OK;
    }
    TRY(check_forward(r, generation));
    secret_copy(&head, &r->head);
    for (uint32_t g = r->generation; g < generation; g++)
        TRY(step(c, s, &head, g));
    return derive_key(c, s, &head, generation, out, NULL);
}

/* Turns a copy of `r` to just before `generation`, keeping the newest of the
 * keys on the way. */
static enum err ratchet_skip(struct crypto *c, const struct suite *s,
                             const struct ratchet *r, uint32_t generation,
                             struct ratchet *out)
{
    assert(generation > r->generation); /* so there is something to keep */
    size_t skips = generation - r->generation;
    size_t fresh = skips < RATCHET_SKIPPED_MAX ? skips : RATCHET_SKIPPED_MAX;
    size_t kept = RATCHET_SKIPPED_MAX - fresh;
    if (kept > r->skipped_count)
        kept = r->skipped_count;
    out->skipped = mem_alloc((kept + fresh) * sizeof *out->skipped);
    if (out->skipped == NULL)
        return ERR_NOMEM;
    out->skipped_cap = kept + fresh;
    for (size_t i = r->skipped_count - kept; i < r->skipped_count; i++)
        message_key_copy(&out->skipped[out->skipped_count++], &r->skipped[i]);
    secret_copy(&out->head, &r->head);
    for (uint32_t g = r->generation; g < generation; g++) {
        if (generation - g <= fresh)
            TRY(derive_key(c, s, &out->head, g,
                           &out->skipped[out->skipped_count++], NULL));
        TRY(step(c, s, &out->head, g));
    }
    out->generation = generation;
    return OK;
}

static enum err ratchet_use(struct crypto *c, const struct suite *s,
                            struct ratchet *r, uint32_t generation)
{
    CLEANUP(ratchet_clear) struct ratchet next = {0};
    struct message_key *skipped = find_skipped(r, generation);
    if (skipped != NULL) {
        drop_skipped(r, skipped);
        return OK;
    }
    TRY(check_forward(r, generation));
    if (generation == r->generation) { /* in order: nothing to keep */
        TRY(step(c, s, &r->head, generation));
        r->generation++;
        return OK;
    }
    TRY(ratchet_skip(c, s, r, generation, &next));
    TRY(step(c, s, &next.head, generation));
    next.generation++;
    ratchet_take(r, &next);
    return OK;
}

/* The two ratchets of a leaf, from its secret, which the caller wipes. */
static enum err derive_ratchets(struct crypto *c, const struct suite *s,
                                const struct secret *leaf,
                                struct ratchet out[RATCHETS])
{
    const struct kdf_want wants[] = {
        {{.label = BYTES_LIT("handshake"), .len = s->nh},
         &out[RATCHET_HANDSHAKE].head},
        {{.label = BYTES_LIT("application"), .len = s->nh},
         &out[RATCHET_APPLICATION].head},
    };
    return expand_with_label_each(c, s, leaf, wants, 2);
}

/* The tree: section 9 */

enum err secret_tree_children(struct crypto *c, const struct suite *s,
                              struct secret *parent, struct secret *left,
                              struct secret *right)
{
    CLEANUP(secret_clear) struct secret l = {0};
    CLEANUP(secret_clear) struct secret r = {0};
    const struct kdf_want wants[] = {
        {{BYTES_LIT("tree"), BYTES_LIT("left"), s->nh}, &l},
        {{BYTES_LIT("tree"), BYTES_LIT("right"), s->nh}, &r},
    };
    TRY(expand_with_label_each(c, s, parent, wants, 2));
    secret_clear(parent);
    secret_take(left, &l);
    secret_take(right, &r);
    return OK;
}

static void open_chunk_free(struct open_chunk **open)
{
    if (*open == NULL)
        return;
    for (uint32_t i = 0; i < CHUNK_LEAVES; i++) {
        struct leaf_ratchets *lr = (*open)->leaf[i];
        if (lr == NULL)
            continue;
        for (uint32_t k = 0; k < RATCHETS; k++)
            ratchet_clear(&lr->of[k]);
        mem_free(lr, sizeof *lr);
    }
    mem_free(*open, sizeof **open);
    *open = NULL;
}

static uint32_t chunk_width(const struct secret_tree *st)
{
    return st->leaves < CHUNK_LEAVES ? st->leaves : CHUNK_LEAVES;
}

static uint32_t chunk_root(const struct secret_tree *st)
{
    return node_root(chunk_width(st));
}

static enum err chunk_open(struct secret_tree *st, struct chunk *ch)
{
    if (ch->open != NULL)
        return OK;
    ch->open = mem_alloc(sizeof *ch->open);
    if (ch->open == NULL)
        return ERR_NOMEM;
    secret_take(&ch->open->node[chunk_root(st)], &ch->root);
    return OK;
}

/* Derives down to a leaf of an open chunk. At each step the frontier is whole,
 * so a failure between loses nothing. */
static enum err reach_leaf(struct crypto *c, const struct secret_tree *st,
                           struct open_chunk *open, uint32_t leaf)
{
    uint32_t level = 0;
    uint32_t top = node_level(chunk_root(st));
    while (level <= top && open->node[node_ancestor(leaf, level)].len == 0)
        level++;
    if (level > top)
        return ERR_NOTFOUND; /* used up */
    for (; level > 0; level--) {
        uint32_t n = node_ancestor(leaf, level);
        TRY(secret_tree_children(c, st->suite, &open->node[n],
                                 &open->node[node_left(n)],
                                 &open->node[node_right(n)]));
    }
    return OK;
}

/* Makes sure that the ratchets of a leaf exist. */
static enum err open_leaf(struct crypto *c, struct secret_tree *st,
                          uint32_t leaf, struct leaf_ratchets **out)
{
    struct chunk *ch = &st->chunk[secret_tree_chunk_of(leaf)];
    uint32_t i = leaf % CHUNK_LEAVES;
    TRY(chunk_open(st, ch));
    if (ch->open->leaf[i] == NULL) {
        TRY(reach_leaf(c, st, ch->open, i));
        struct leaf_ratchets *lr = mem_alloc(sizeof *lr);
        if (lr == NULL)
            return ERR_NOMEM;
        struct secret *secret = &ch->open->node[node_of_leaf(i)];
        enum err err = derive_ratchets(c, st->suite, secret, lr->of);
        if (err != OK) {
            mem_free(lr, sizeof *lr);
            return err;
        }
        secret_clear(secret);
        ch->open->leaf[i] = lr;
    }
    *out = ch->open->leaf[i];
    return OK;
}

static uint32_t chunk_count_for(uint32_t leaves)
{
    return leaves <= CHUNK_LEAVES ? 1 : leaves / CHUNK_LEAVES;
}

static size_t tree_size(const struct secret_tree *st)
{
    return sizeof *st + st->chunk_count * sizeof st->chunk[0];
}

static enum err allocate(const struct suite *s, uint32_t leaves, uint32_t own,
                         struct secret_tree **out)
{
    if (leaves == 0 || leaves > MLS_LEAVES_MAX ||
        (leaves & (leaves - 1)) != 0 || own >= leaves)
        return ERR_INVALID;
    uint32_t count = chunk_count_for(leaves);
    struct secret_tree *st =
        mem_alloc(sizeof *st + count * sizeof st->chunk[0]);
    if (st == NULL)
        return ERR_NOMEM;
    st->suite = s;
    st->leaves = leaves;
    st->own = own;
    st->chunk_count = count;
    *out = st;
    return OK;
}

void secret_tree_free(struct secret_tree **st)
{
    if (*st == NULL)
        return;
    for (uint32_t i = 0; i < (*st)->chunk_count; i++)
        open_chunk_free(&(*st)->chunk[i].open);
    for (uint32_t k = 0; k < RATCHETS; k++)
        ratchet_clear(&(*st)->send[k]);
    mem_free(*st, tree_size(*st));
    *st = NULL;
}

/* Takes the own leaf out of its chunk: its ratchets are the sending ones. */
static enum err take_own(struct crypto *c, struct secret_tree *st)
{
    struct chunk *ch = &st->chunk[secret_tree_chunk_of(st->own)];
    uint32_t i = st->own % CHUNK_LEAVES;
    TRY(chunk_open(st, ch));
    TRY(reach_leaf(c, st, ch->open, i));
    struct secret *leaf = &ch->open->node[node_of_leaf(i)];
    TRY(derive_ratchets(c, st->suite, leaf, st->send));
    secret_clear(leaf);
    return OK;
}

/* Derives the chunk roots in place: at each step, the root of a run of chunks
 * lies at its first one. */
static enum err derive_roots(struct crypto *c, struct secret_tree *st)
{
    for (uint32_t run = st->chunk_count; run > 1; run /= 2)
        for (uint32_t i = 0; i < st->chunk_count; i += run)
            TRY(secret_tree_children(c, st->suite, &st->chunk[i].root,
                                     &st->chunk[i].root,
                                     &st->chunk[i + run / 2].root));
    return OK;
}

enum err secret_tree_create(struct crypto *c, const struct suite *s,
                            struct secret *encryption_secret, uint32_t leaves,
                            uint32_t own, struct secret_tree **out)
{
    CLEANUP(secret_tree_free) struct secret_tree *st = NULL;
    TRY(allocate(s, leaves, own, &st));
    secret_copy(&st->chunk[0].root, encryption_secret);
    TRY(derive_roots(c, st));
    TRY(take_own(c, st));
    st->send_dirty = true;
    for (uint32_t i = 0; i < st->chunk_count; i++) {
        st->chunk[i].loaded = true;
        st->chunk[i].dirty = true;
    }
    secret_clear(encryption_secret);
    *out = st;
    st = NULL; /* handed over */
    return OK;
}

enum err secret_tree_next(struct crypto *c, struct secret_tree *st,
                          enum ratchet_type type, struct message_key *out)
{
    CLEANUP(message_key_clear) struct message_key mk = {0};
    CLEANUP(secret_clear) struct secret next = {0};
    struct ratchet *r = &st->send[type];
    if (r->generation == UINT32_MAX)
        return ERR_LIMIT;
    TRY(derive_key(c, st->suite, &r->head, r->generation, &mk, &next));
    secret_take(&r->head, &next);
    r->generation++;
    st->send_dirty = true;
    message_key_take(out, &mk);
    return OK;
}

static enum err find_ratchet(struct crypto *c, struct secret_tree *st,
                             uint32_t leaf, enum ratchet_type type,
                             struct ratchet **out)
{
    struct leaf_ratchets *lr;
    if (leaf >= st->leaves)
        return ERR_INVALID;
    if (leaf == st->own) {
        *out = &st->send[type];
        return OK;
    }
    if (!st->chunk[secret_tree_chunk_of(leaf)].loaded)
        return ERR_STATE;
    TRY(open_leaf(c, st, leaf, &lr));
    *out = &lr->of[type];
    return OK;
}

/* This may open a chunk in memory: that derives, but uses up nothing, so the
 * stored record stays good. */
enum err secret_tree_peek(struct crypto *c, struct secret_tree *st,
                          uint32_t leaf, enum ratchet_type type,
                          uint32_t generation, struct message_key *out)
{
    CLEANUP(message_key_clear) struct message_key mk = {0};
    struct ratchet *r;
    TRY(find_ratchet(c, st, leaf, type, &r));
    TRY(ratchet_peek(c, st->suite, r, generation, &mk));
    message_key_take(out, &mk);
    return OK;
}

enum err secret_tree_use(struct crypto *c, struct secret_tree *st,
                         uint32_t leaf, enum ratchet_type type,
                         uint32_t generation)
{
    struct ratchet *r;
    if (leaf == st->own)
        return ERR_INVALID; /* sending alone turns it */
    TRY(find_ratchet(c, st, leaf, type, &r));
    TRY(ratchet_use(c, st->suite, r, generation));
    st->chunk[secret_tree_chunk_of(leaf)].dirty = true;
    return OK;
}

/* Records */

bool secret_tree_send_dirty(const struct secret_tree *st)
{
    return st->send_dirty;
}

uint32_t secret_tree_chunks(const struct secret_tree *st)
{
    return st->chunk_count;
}

bool secret_tree_chunk_dirty(const struct secret_tree *st, uint32_t chunk)
{
    return st->chunk[chunk].dirty;
}

bool secret_tree_chunk_loaded(const struct secret_tree *st, uint32_t chunk)
{
    return chunk < st->chunk_count && st->chunk[chunk].loaded;
}

uint32_t secret_tree_chunk_of(uint32_t leaf) { return leaf / CHUNK_LEAVES; }

void secret_tree_clean(struct secret_tree *st)
{
    st->send_dirty = false;
    for (uint32_t i = 0; i < st->chunk_count; i++)
        st->chunk[i].dirty = false;
}

static void ratchet_write(struct writer *w, const struct ratchet *r)
{
    writer_u32(w, r->generation);
    secret_write(w, &r->head);
    size_t start = writer_enter(w);
    for (size_t i = 0; i < r->skipped_count; i++) {
        writer_u32(w, r->skipped[i].generation);
        secret_write(w, &r->skipped[i].key);
        secret_write(w, &r->skipped[i].nonce);
    }
    writer_leave(w, start);
}

static void skipped_read(struct reader *r, struct ratchet *ra)
{
    struct message_key *mk = &ra->skipped[ra->skipped_count++];
    mk->generation = reader_u32(r);
    secret_read(r, &mk->key);
    secret_read(r, &mk->nonce);
}

static void ratchet_read(struct reader *r, const struct suite *s,
                         struct ratchet *ra)
{
    ra->generation = reader_u32(r);
    secret_read(r, &ra->head);
    if (r->err == OK && ra->head.len != s->nh)
        reader_fail(r, ERR_MALFORMED);
    struct bytes after = reader_enter(r);
    if (reader_more(r)) {
        ra->skipped_cap = RATCHET_SKIPPED_MAX;
        ra->skipped = mem_alloc(ra->skipped_cap * sizeof *ra->skipped);
        if (ra->skipped == NULL) {
            ra->skipped_cap = 0;
            reader_fail(r, ERR_NOMEM);
        }
    }
    while (reader_more(r) && ra->skipped != NULL) {
        if (ra->skipped_count == RATCHET_SKIPPED_MAX) {
            reader_fail(r, ERR_LIMIT);
            break;
        }
        skipped_read(r, ra);
    }
    reader_leave(r, after);
}

void secret_tree_send_write(struct writer *w, const struct secret_tree *st)
{
    writer_u8(w, RECORD_FORMAT);
    writer_u32(w, st->leaves);
    writer_u32(w, st->own);
    for (uint32_t k = 0; k < RATCHETS; k++)
        ratchet_write(w, &st->send[k]);
}

enum err secret_tree_load(const struct suite *s, struct bytes send,
                          struct secret_tree **out)
{
    CLEANUP(secret_tree_free) struct secret_tree *st = NULL;
    struct reader r = reader_of(send);
    if (reader_u8(&r) != RECORD_FORMAT)
        reader_fail(&r, ERR_INVALID);
    uint32_t leaves = reader_u32(&r);
    uint32_t own = reader_u32(&r);
    TRY(r.err);
    TRY(allocate(s, leaves, own, &st));
    for (uint32_t k = 0; k < RATCHETS; k++)
        ratchet_read(&r, s, &st->send[k]);
    TRY(reader_finish(&r));
    *out = st;
    st = NULL; /* handed over */
    return OK;
}

/* A closed chunk is its root alone; an open one is a list of nodes and one of
 * leaves, each in ascending order. */
enum {
    CHUNK_CLOSED = 1,
    CHUNK_OPEN = 2
};

static void open_chunk_write(struct writer *w, const struct open_chunk *open)
{
    size_t start = writer_enter(w);
    for (uint32_t n = 0; n < CHUNK_NODES; n++) {
        if (open->node[n].len == 0)
            continue;
        writer_u8(w, (uint8_t)n);
        secret_write(w, &open->node[n]);
    }
    writer_leave(w, start);
    start = writer_enter(w);
    for (uint32_t i = 0; i < CHUNK_LEAVES; i++) {
        if (open->leaf[i] == NULL)
            continue;
        writer_u8(w, (uint8_t)i);
        for (uint32_t k = 0; k < RATCHETS; k++)
            ratchet_write(w, &open->leaf[i]->of[k]);
    }
    writer_leave(w, start);
}

void secret_tree_chunk_write(struct writer *w, const struct secret_tree *st,
                             uint32_t chunk)
{
    const struct chunk *ch = &st->chunk[chunk];
    writer_u8(w, RECORD_FORMAT);
    writer_u8(w, ch->open != NULL ? CHUNK_OPEN : CHUNK_CLOSED);
    if (ch->open != NULL)
        open_chunk_write(w, ch->open);
    else
        secret_write(w, &ch->root);
}

/* Reads an index that must be less than `limit` and above the one before. */
static uint32_t index_read(struct reader *r, uint32_t limit, uint32_t *next)
{
    uint32_t i = reader_u8(r);
    if (i < *next || i >= limit) {
        reader_fail(r, ERR_MALFORMED);
        return 0;
    }
    *next = i + 1;
    return i;
}

static void node_secret_read(struct reader *r, const struct suite *s,
                             struct secret *out)
{
    secret_read(r, out);
    if (r->err == OK && out->len != s->nh)
        reader_fail(r, ERR_MALFORMED);
}

static void open_chunk_read(struct reader *r, const struct secret_tree *st,
                            struct open_chunk *open)
{
    uint32_t next = 0;
    struct bytes after = reader_enter(r);
    while (reader_more(r)) {
        uint32_t n = index_read(r, node_count(chunk_width(st)), &next);
        node_secret_read(r, st->suite, &open->node[n]);
    }
    reader_leave(r, after);
    next = 0;
    after = reader_enter(r);
    while (reader_more(r)) {
        uint32_t i = index_read(r, chunk_width(st), &next);
        if (r->err != OK)
            break;
        struct leaf_ratchets *lr = mem_alloc(sizeof *lr);
        if (lr == NULL) {
            reader_fail(r, ERR_NOMEM);
            break;
        }
        open->leaf[i] = lr;
        for (uint32_t k = 0; k < RATCHETS; k++)
            ratchet_read(r, st->suite, &lr->of[k]);
    }
    reader_leave(r, after);
}

enum err secret_tree_load_chunk(struct secret_tree *st, uint32_t chunk,
                                struct bytes record)
{
    CLEANUP(open_chunk_free) struct open_chunk *open = NULL;
    CLEANUP(secret_clear) struct secret root = {0};
    struct reader r = reader_of(record);
    if (chunk >= st->chunk_count || st->chunk[chunk].loaded)
        return ERR_STATE;
    if (reader_u8(&r) != RECORD_FORMAT)
        reader_fail(&r, ERR_INVALID);
    uint8_t kind = reader_u8(&r);
    if (kind == CHUNK_OPEN) {
        open = mem_alloc(sizeof *open);
        if (open == NULL)
            return ERR_NOMEM;
        open_chunk_read(&r, st, open);
    } else if (kind == CHUNK_CLOSED) {
        node_secret_read(&r, st->suite, &root);
    } else {
        reader_fail(&r, ERR_MALFORMED);
    }
    TRY(reader_finish(&r));
    struct chunk *ch = &st->chunk[chunk];
    secret_take(&ch->root, &root);
    ch->open = open;
    ch->loaded = true;
    open = NULL; /* handed over */
    return OK;
}
