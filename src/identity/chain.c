/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/chain.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define RIVALS_MAX    (STATE_CONFLICTS_MAX / 2) /* each with one of ours */
#define SAVED_VERSION 1U
#define FIRST_CAP     4U

/* A state that was verified. */
struct link {
    struct buf encoding;
    struct digest hash;
    struct state state; /* borrows from `encoding` */
};

struct links {
    struct link **list;
    size_t count;
    size_t cap;
};

struct rival {
    uint64_t version;
    uint8_t hash[STATE_HASH_SIZE];
};

struct chain {
    uint8_t id[STATE_HASH_SIZE];
    bool has_id;
    struct links links; /* that of version n is at n - 1 */
    struct rival rivals[RIVALS_MAX];
    size_t rival_count; /* frozen when there are any */
    enum state_fault fault;
};

/* --- links --- */

static void link_free(struct link **l)
{
    if (*l != NULL)
        buf_clear(&(*l)->encoding);
    mem_free(*l, sizeof(**l));
    *l = NULL;
}

/* Forgets the links from `from` on. */
static void links_cut(struct links *links, size_t from)
{
    while (links->count > from)
        link_free(&links->list[--links->count]);
}

static void links_clear(struct links *links)
{
    links_cut(links, 0);
    mem_free(links->list, links->cap * sizeof(struct link *));
    *links = (struct links){0};
}

static enum err links_reserve(struct links *links, size_t more)
{
    size_t need = links->count + more;
    if (need > CHAIN_MAX)
        return ERR_LIMIT;
    if (need <= links->cap)
        return OK;
    size_t cap = links->cap > 0 ? 2 * links->cap : FIRST_CAP;
    if (cap < need)
        cap = need;
    struct link **list = mem_alloc(cap * sizeof(struct link *));
    if (list == NULL)
        return ERR_NOMEM;
    if (links->count > 0)
        memcpy(list, links->list, links->count * sizeof(struct link *));
    mem_free(links->list, links->cap * sizeof(struct link *));
    links->list = list;
    links->cap = cap;
    return OK;
}

/* Parses and hashes a state, and adds it at the end. */
static enum err links_add(struct crypto *crypto, struct links *links,
                          struct bytes encoding)
{
    CLEANUP(link_free) struct link *l = mem_alloc(sizeof(*l));
    if (l == NULL)
        return ERR_NOMEM;
    l->encoding = buf_new(STATE_MAX);
    TRY(buf_append(&l->encoding, encoding));
    TRY(state_read(buf_bytes(&l->encoding), &l->state));
    TRY(state_hash(crypto, encoding, &l->hash));
    TRY(links_reserve(links, 1));
    links->list[links->count++] = l;
    l = NULL; /* handed over */
    return OK;
}

static struct bytes link_hash(const struct link *l)
{
    return digest_bytes(&l->hash);
}

/* --- the chain as an object --- */

enum err chain_create(struct bytes id, struct chain **out)
{
    assert(id.len == 0 || id.len == STATE_HASH_SIZE);
    struct chain *c = mem_alloc(sizeof(*c));
    if (c == NULL)
        return ERR_NOMEM;
    c->has_id = id.len > 0;
    if (c->has_id)
        memcpy(c->id, id.data, id.len);
    *out = c;
    return OK;
}

void chain_free(struct chain **c)
{
    if (*c != NULL)
        links_clear(&(*c)->links);
    mem_free(*c, sizeof(**c));
    *c = NULL;
}

static const struct link *link_at(const struct chain *c, uint64_t version)
{
    if (version == 0 || version > c->links.count)
        return NULL;
    return c->links.list[version - 1];
}

enum state_fault chain_fault(const struct chain *c) { return c->fault; }

struct bytes chain_account_id(const struct chain *c)
{
    return c->has_id ? BYTES_ARRAY(c->id) : (struct bytes){0};
}

uint64_t chain_version(const struct chain *c) { return c->links.count; }

bool chain_frozen(const struct chain *c) { return c->rival_count > 0; }

const struct state *chain_state(const struct chain *c, uint64_t version)
{
    const struct link *l = link_at(c, version);
    return l != NULL ? &l->state : NULL;
}

const struct state *chain_newest(const struct chain *c)
{
    return chain_state(c, chain_version(c));
}

struct bytes chain_hash(const struct chain *c, uint64_t version)
{
    const struct link *l = link_at(c, version);
    return l != NULL ? link_hash(l) : (struct bytes){0};
}

struct bytes chain_encoding(const struct chain *c, uint64_t version)
{
    const struct link *l = link_at(c, version);
    return l != NULL ? buf_bytes(&l->encoding) : (struct bytes){0};
}

/* --- verifying a branch --- */

/* Some states that differ from ours, from a number on: after ours, or beside
 * them. */
struct branch {
    const struct chain *chain;
    uint64_t first; /* number of its first state */
    struct links links;
};

static void branch_clear(struct branch *b) { links_clear(&b->links); }

/* The state of a number as the branch has it: ours before its first. */
static const struct link *branch_at(const struct branch *b, uint64_t version)
{
    assert(version > 0 && version - 1 < b->first - 1 + b->links.count);
    return version < b->first ? b->chain->links.list[version - 1]
                              : b->links.list[version - b->first];
}

/* Whether a device that joins with `version` was there before, in part. */
static bool returns(const struct branch *b, uint64_t version,
                    const struct device *d)
{
    for (uint64_t v = 1; v < version; v++) {
        const struct state *s = &branch_at(b, v)->state;
        for (size_t i = 0; i < s->device_count; i++) {
            if (bytes_equal(s->devices[i].id, d->id) ||
                bytes_equal(s->devices[i].signature_key, d->signature_key) ||
                bytes_equal(s->devices[i].sealing_key, d->sealing_key))
                return true;
        }
    }
    return false;
}

/* A revoked key may be in a thief's hands: it never comes back. */
static enum err returns_check(const struct branch *b, uint64_t version,
                              enum state_fault *out_fault)
{
    const struct state *prev = &branch_at(b, version - 1)->state;
    const struct state *next = &branch_at(b, version)->state;
    for (size_t i = 0; i < next->device_count; i++) {
        const struct device *d = &next->devices[i];
        if (state_device(prev, d->id) == NULL && returns(b, version, d)) {
            *out_fault = FAULT_RETURNED;
            return ERR_INVALID;
        }
    }
    return OK;
}

static enum err first_verify(struct crypto *crypto, const struct chain *c,
                             const struct link *l, enum state_fault *out_fault)
{
    struct digest id;
    TRY(account_id(crypto, buf_bytes(&l->encoding), &id));
    if (c->has_id && !bytes_equal(digest_bytes(&id), BYTES_ARRAY(c->id))) {
        *out_fault = FAULT_PREVIOUS; /* the first state of someone else */
        return ERR_INVALID;
    }
    return state_verify_first(crypto, &l->state, out_fault);
}

static enum err branch_verify(struct crypto *crypto, const struct branch *b,
                              enum state_fault *out_fault)
{
    for (size_t i = 0; i < b->links.count; i++) {
        uint64_t version = b->first + i;
        const struct link *l = b->links.list[i];
        if (version == 1) {
            TRY(first_verify(crypto, b->chain, l, out_fault));
            continue;
        }
        const struct link *prev = branch_at(b, version - 1);
        TRY(state_verify_next(crypto, &prev->state, link_hash(prev), &l->state,
                              out_fault));
        TRY(returns_check(b, version, out_fault));
    }
    return OK;
}

/* Splits a list of states: those that we have are passed over, the rest is the
 * branch. */
static enum err branch_read(struct crypto *crypto, struct bytes states,
                            struct branch *b)
{
    struct reader r = reader_of(states);
    uint64_t expected = 0; /* number of the next; 0: any */
    while (reader_more(&r)) {
        struct state s;
        struct bytes encoding = reader_vec(&r);
        if (r.err != OK)
            break;
        TRY(state_read(encoding, &s));
        if (expected != 0 && s.version != expected)
            return ERR_MALFORMED; /* not consecutive */
        if (s.version > CHAIN_MAX)
            return ERR_LIMIT;
        if (s.version > chain_version(b->chain) + 1 && b->links.count == 0)
            return ERR_STATE;
        expected = s.version + 1;
        if (b->links.count == 0) {
            b->first = s.version;
            if (bytes_equal(encoding, chain_encoding(b->chain, s.version)))
                continue;
        }
        TRY(links_add(crypto, &b->links, encoding));
    }
    return reader_finish(&r);
}

/* --- forks --- */

static bool by_recovery(const struct state *s) { return s->signer.len == 0; }

static bool names(const struct state *s, struct bytes hash)
{
    struct reader r = reader_of(s->conflicts);
    while (reader_more(&r)) {
        if (bytes_equal(reader_raw(&r, STATE_HASH_SIZE), hash))
            return true;
    }
    return false;
}

/* Whether a recovery-signed state names both sides of each fork we know. */
static bool names_rivals(const struct chain *c, const struct state *s)
{
    for (size_t i = 0; i < c->rival_count; i++) {
        if (!names(s, BYTES_ARRAY(c->rivals[i].hash)) ||
            !names(s, chain_hash(c, c->rivals[i].version)))
            return false;
    }
    return by_recovery(s);
}

/* Whether the branch ends the freeze: the one that is, or the one that the
 * branch itself makes, when it begins beside ours. */
static bool branch_resolves(const struct branch *b)
{
    const struct chain *c = b->chain;
    bool fork = b->first <= chain_version(c);
    for (size_t i = 0; i < b->links.count; i++) {
        const struct state *s = &b->links.list[i]->state;
        if (names_rivals(c, s) &&
            (!fork || (names(s, link_hash(b->links.list[0])) &&
                       names(s, chain_hash(c, b->first)))))
            return true;
    }
    return false;
}

/*
 * Whether the recovery key has spoken already: one of our later states names
 * both sides, or it no longer lists the device that signed the rival. Otherwise
 * whoever holds a key that was ever listed could freeze the account again and
 * again by forking off an old state.
 */
static bool settled(const struct branch *b)
{
    const struct chain *c = b->chain;
    const struct link *rival = b->links.list[0];
    bool device_only = true; /* the branch has no word of the recovery key */
    for (size_t i = 0; i < b->links.count; i++)
        device_only &= !by_recovery(&b->links.list[i]->state);

    for (uint64_t v = b->first + 1; v <= chain_version(c); v++) {
        const struct state *s = &c->links.list[v - 1]->state;
        if (!by_recovery(s))
            continue;
        if (names(s, link_hash(rival)) && names(s, chain_hash(c, b->first)))
            return true;
        if (device_only && state_device(s, rival->state.signer) == NULL)
            return true;
    }
    return false;
}

/* Takes the branch in place of what we have from its first number on. */
static enum err branch_adopt(struct chain *c, struct branch *b)
{
    TRY(links_reserve(&c->links, b->links.count));
    links_cut(&c->links, b->first - 1);
    for (size_t i = 0; i < b->links.count; i++)
        c->links.list[c->links.count++] = b->links.list[i];
    b->links.count = 0; /* handed over */
    c->rival_count = 0;
    return OK;
}

static enum chain_outcome rival_record(struct chain *c, const struct branch *b)
{
    struct bytes hash = link_hash(b->links.list[0]);
    for (size_t i = 0; i < c->rival_count; i++) {
        if (bytes_equal(BYTES_ARRAY(c->rivals[i].hash), hash))
            return CHAIN_FROZEN;
    }
    if (c->rival_count == RIVALS_MAX)
        return CHAIN_FROZEN; /* more than enough proof */
    struct rival *rival = &c->rivals[c->rival_count++];
    rival->version = b->first;
    memcpy(rival->hash, hash.data, STATE_HASH_SIZE);
    return CHAIN_FORKED;
}

static enum err branch_take(struct crypto *crypto, struct chain *c,
                            struct branch *b, enum chain_outcome *out)
{
    bool frozen = chain_frozen(c);
    bool fork = b->first <= chain_version(c);

    if (b->links.count == 0 || (fork && settled(b))) {
        *out = frozen ? CHAIN_FROZEN : CHAIN_KNOWN;
        return OK;
    }
    if ((frozen || fork) && !branch_resolves(b)) {
        *out = fork ? rival_record(c, b) : CHAIN_FROZEN;
        return OK;
    }
    if (!c->has_id) {
        struct digest id;
        TRY(account_id(crypto, buf_bytes(&b->links.list[0]->encoding), &id));
        memcpy(c->id, id.data, sizeof(c->id));
    }
    TRY(branch_adopt(c, b));
    c->has_id = true;
    *out = frozen || fork ? CHAIN_RESOLVED : CHAIN_EXTENDED;
    return OK;
}

enum err chain_extend(struct crypto *crypto, struct chain *c,
                      struct bytes states, enum chain_outcome *out_outcome)
{
    CLEANUP(branch_clear) struct branch b = {.chain = c};
    c->fault = FAULT_NONE;
    TRY(branch_read(crypto, states, &b));
    TRY(branch_verify(crypto, &b, &c->fault));
    return branch_take(crypto, c, &b, out_outcome);
}

static int hash_compare(const void *a, const void *b)
{
    return bytes_compare((struct bytes){a, STATE_HASH_SIZE},
                         (struct bytes){b, STATE_HASH_SIZE});
}

enum err chain_conflicts(const struct chain *c, struct buf *out)
{
    uint8_t hashes[2 * RIVALS_MAX][STATE_HASH_SIZE];
    size_t count = 0;
    for (size_t i = 0; i < c->rival_count; i++) {
        struct bytes ours = chain_hash(c, c->rivals[i].version);
        assert(ours.len == STATE_HASH_SIZE); /* there is no rival to nothing */
        memcpy(hashes[count++], c->rivals[i].hash, STATE_HASH_SIZE);
        memcpy(hashes[count++], ours.data, STATE_HASH_SIZE);
    }
    qsort(hashes, count, STATE_HASH_SIZE, hash_compare);

    size_t before = out->len;
    struct writer w = writer_to(out);
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || hash_compare(hashes[i - 1], hashes[i]) != 0)
            writer_raw(&w, BYTES_ARRAY(hashes[i]));
    }
    if (writer_finish(&w) != OK)
        buf_truncate(out, before);
    return writer_finish(&w);
}

/* --- storing --- */

static void list_write(struct writer *w, const struct chain *c, uint64_t from)
{
    for (uint64_t v = from > 0 ? from : 1; v <= chain_version(c); v++)
        writer_vec(w, chain_encoding(c, v));
}

enum err chain_list(const struct chain *c, uint64_t from, struct buf *out)
{
    size_t before = out->len;
    struct writer w = writer_to(out);
    list_write(&w, c, from);
    if (writer_finish(&w) != OK)
        buf_truncate(out, before);
    return writer_finish(&w);
}

/*
 *     struct {
 *         uint8 version = 1;
 *         opaque account_id<V>;        empty: not known yet
 *         opaque states<V>;            list of opaque<V>
 *         struct { uint64 version; opaque hash[32]; } rivals<V>;
 *     } SavedChain;
 */
enum err chain_save(const struct chain *c, struct buf *out)
{
    size_t before = out->len;
    struct writer w = writer_to(out);
    writer_u8(&w, SAVED_VERSION);
    writer_vec(&w, chain_account_id(c));
    size_t start = writer_enter(&w);
    list_write(&w, c, 1);
    writer_leave(&w, start);
    start = writer_enter(&w);
    for (size_t i = 0; i < c->rival_count; i++) {
        writer_u64(&w, c->rivals[i].version);
        writer_raw(&w, BYTES_ARRAY(c->rivals[i].hash));
    }
    writer_leave(&w, start);
    if (writer_finish(&w) != OK)
        buf_truncate(out, before);
    return writer_finish(&w);
}

static void rivals_read(struct reader *r, struct chain *c)
{
    struct bytes after = reader_enter(r);
    while (reader_more(r)) {
        struct rival rival = {.version = reader_u64(r)};
        struct bytes hash = reader_raw(r, STATE_HASH_SIZE);
        if (c->rival_count == RIVALS_MAX || hash.len == 0 ||
            link_at(c, rival.version) == NULL) {
            reader_fail(r, ERR_MALFORMED);
            break;
        }
        memcpy(rival.hash, hash.data, hash.len);
        c->rivals[c->rival_count++] = rival;
    }
    reader_leave(r, after);
}

enum err chain_load(struct crypto *crypto, struct bytes saved,
                    struct chain **out)
{
    CLEANUP(chain_free) struct chain *c = NULL;
    struct reader r = reader_of(saved);
    if (reader_u8(&r) != SAVED_VERSION)
        reader_fail(&r, ERR_MALFORMED);
    struct bytes id = reader_vec(&r);
    if (id.len != 0 && id.len != STATE_HASH_SIZE)
        reader_fail(&r, ERR_MALFORMED);
    struct bytes states = reader_vec(&r);
    if (r.err != OK)
        return r.err;

    TRY(chain_create(id, &c));
    struct reader in = reader_of(states);
    while (reader_more(&in)) {
        struct bytes encoding = reader_vec(&in);
        if (in.err != OK)
            break;
        TRY(links_add(crypto, &c->links, encoding));
        if (c->links.list[c->links.count - 1]->state.version != c->links.count)
            return ERR_MALFORMED;
    }
    TRY(reader_finish(&in));
    rivals_read(&r, c);
    TRY(reader_finish(&r));
    *out = c;
    c = NULL; /* handed over */
    return OK;
}

enum err chain_leaf_check(const struct chain *c, uint64_t version,
                          struct bytes hash, struct bytes signature_key,
                          const struct device **out_device)
{
    const struct link *l = link_at(c, version);
    if (l == NULL)
        return ERR_NOTFOUND;
    const struct device *d = state_device_of_key(&l->state, signature_key);
    if (!bytes_equal(link_hash(l), hash) || d == NULL)
        return ERR_INVALID;
    *out_device = d;
    return OK;
}
