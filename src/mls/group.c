/* SPDX-License-Identifier: Apache-2.0 */
#include "mls/group.h"

#include "base/mem.h"
#include "crypto/hash.h"

#include <string.h>

enum err group_new(struct sotto_mls *mls, const struct suite *s,
                   struct sotto_group **out)
{
    struct sotto_group *g = mem_alloc(sizeof(*g));
    if (g == NULL)
        return ERR_NOMEM;
    g->mls = mls;
    g->active = true;
    g->epoch = epoch_new(s);
    g->ended_by = proposal_list_new();
    g->epoch_dirty = true;
    *out = g;
    return OK;
}

static void psks_clear(struct sotto_group *g)
{
    for (size_t i = 0; i < g->psk_count; i++) {
        buf_clear(&g->psks[i].id);
        buf_clear(&g->psks[i].key);
    }
    mem_free(g->psks, PSKS_OFFERED_MAX * sizeof(*g->psks));
    g->psks = NULL;
    g->psk_count = 0;
}

void sotto_group_free(struct sotto_group **group)
{
    struct sotto_group *g = *group;
    if (g == NULL)
        return;
    sotto_staged_free(&g->pending);
    cache_clear(g);
    psks_clear(g);
    proposal_list_clear(&g->ended_by);
    epoch_clear(&g->epoch);
    mem_free(g, sizeof(*g));
    *group = NULL;
}

/* The one leaf of a new group. */
static enum err first_leaf(struct sotto_group *g,
                           const struct key_package_private *kp)
{
    struct epoch *e = &g->epoch;
    TRY(tree_create(e->suite, &e->tree));
    TRY(tree_add(e->tree, &kp->key_package.leaf, &e->keys.leaf));
    secret_copy(&e->keys.key[0], &kp->encryption_key);
    secret_copy(&e->signature_key, &kp->signature_key);
    return OK;
}

/* RFC 9420, section 11 */
static enum err first_epoch(struct sotto_group *g, struct bytes group_id,
                            struct bytes extensions)
{
    struct crypto *c = g->mls->crypto;
    struct epoch *e = &g->epoch;
    struct digest root = {0};
    struct digest tag = {0};

    TRY(group_extensions_check(g->mls, e->suite, (struct bytes){0},
                               extensions));
    TRY(members_check(e->tree, extensions));
    TRY(tree_hash(c, e->tree, &root));
    struct group_context gc = {.version = MLS_VERSION_10,
                               .cipher_suite = (uint16_t)e->suite->id,
                               .group_id = group_id,
                               .tree_hash = digest_bytes(&root),
                               .extensions = extensions};
    TRY(epoch_set_context(e, &gc));
    TRY(schedule_first(c, e->suite, &g->mls->random, &e->secrets));
    TRY(epoch_confirm(c, e, &tag));
    TRY(epoch_set_tag(c, e, digest_bytes(&tag)));
    return epoch_open_ratchets(c, e);
}

enum err group_create(struct sotto_mls *mls, const struct sotto_identity *id,
                      struct bytes group_id, struct bytes extensions,
                      struct sotto_group **out)
{
    CLEANUP(key_package_private_clear) struct key_package_private kp = {0};
    CLEANUP(sotto_group_free) struct sotto_group *g = NULL;

    TRY(key_package_make(mls, id, &kp));
    TRY(group_new(mls, kp.suite, &g));
    TRY(first_leaf(g, &kp));
    TRY(first_epoch(g, group_id, extensions));
    *out = g;
    g = NULL; /* handed over */
    return OK;
}

enum err group_message_hash(const struct sotto_group *g, struct bytes message,
                            struct digest *out)
{
    return hash(g->mls->crypto, g->epoch.suite->hash, PARTS(message), out);
}

bool digest_equal(const struct digest *a, const struct digest *b)
{
    return bytes_equal(digest_bytes(a), digest_bytes(b));
}

/* ---- Staged commits ---- */

enum err staged_new(const struct sotto_group *g, struct sotto_staged **out)
{
    CLEANUP(sotto_staged_free) struct sotto_staged *s = mem_alloc(sizeof(*s));
    if (s == NULL)
        return ERR_NOMEM;
    s->list = proposal_list_new();
    s->next = epoch_new(g->epoch.suite);
    s->group_id = buf_new(MLS_MESSAGE_MAX);
    s->epoch = g->epoch.fields.epoch;
    TRY(buf_copy(&s->group_id, g->epoch.fields.group_id));
    TRY(tree_fork(g->epoch.tree, &s->before));
    TRY(tree_fork(g->epoch.tree, &s->next.tree));
    *out = s;
    s = NULL; /* handed over */
    return OK;
}

void sotto_staged_free(struct sotto_staged **staged)
{
    struct sotto_staged *s = *staged;
    if (s == NULL)
        return;
    buf_clear(&s->group_id);
    tree_free(&s->before);
    proposal_list_clear(&s->list);
    epoch_clear(&s->next);
    mem_free(s, sizeof(*s));
    *staged = NULL;
}

/* Keeps the resumption PSK of the epoch that ends, in place of the oldest. */
static void remember_resumption(struct sotto_group *g)
{
    struct past_resumption *p = &g->past[g->past_count % SOTTO_RESUMPTION_MAX];
    p->epoch = g->epoch.fields.epoch;
    secret_take(&p->psk, &g->epoch.secrets.resumption_psk);
    g->past_count++;
}

/* After our removal the group can be looked at, and has no keys. */
static void deactivate(struct sotto_group *g)
{
    g->active = false;
    secret_tree_free(&g->epoch.ratchets);
    exporter_free(&g->epoch.exporter);
    epoch_secrets_clear(&g->epoch.secrets);
    secret_clear(&g->epoch.signature_key);
    uint32_t own = g->epoch.keys.leaf;
    treekem_private_clear(&g->epoch.keys);
    g->epoch.keys.leaf = own;
}

/* Of a group that has ended, what leads to the next one is kept. */
static void retire(struct sotto_group *g, struct proposal_list *ended_by)
{
    struct epoch_secrets *es = &g->epoch.secrets;
    CLEANUP(secret_clear) struct secret psk = {0};
    CLEANUP(secret_clear) struct secret authenticator = {0};
    secret_take(&psk, &es->resumption_psk);
    secret_take(&authenticator, &es->epoch_authenticator);
    deactivate(g);
    secret_take(&es->resumption_psk, &psk);
    secret_take(&es->epoch_authenticator, &authenticator);
    g->ended_by = *ended_by;
    *ended_by = proposal_list_new();
}

static bool ends_group(const struct proposal_list *l)
{
    return l->count == 1 && l->entries[0].proposal.type == PROPOSAL_REINIT;
}

const struct reinit *group_reinit(const struct sotto_group *g)
{
    return ends_group(&g->ended_by) ? &g->ended_by.entries[0].proposal.reinit
                                    : NULL;
}

void group_enter(struct sotto_group *g, struct sotto_staged **staged)
{
    struct sotto_staged *s = *staged;
    if (s->removes_own) {
        deactivate(g);
    } else {
        remember_resumption(g);
        epoch_move(&g->epoch, &s->next);
        if (ends_group(&s->list))
            retire(g, &s->list);
    }
    if (*staged == g->pending)
        g->pending = NULL;
    sotto_staged_free(staged);
    sotto_staged_free(&g->pending);
    cache_clear(g);
    g->epoch_dirty = true;
    g->pending_dirty = true;
    g->proposals_dirty = true;
}

enum err group_merge_pending(struct sotto_group *g)
{
    struct sotto_staged *s = g->pending;
    if (s == NULL)
        return ERR_STATE;
    TRY(epoch_open_ratchets(g->mls->crypto, &s->next));
    group_enter(g, &s);
    return OK;
}

/* ---- Proposals of the epoch ---- */

struct cached_proposal *cache_find(const struct sotto_group *g,
                                   struct bytes ref)
{
    for (size_t i = 0; i < g->proposal_count; i++)
        if (bytes_equal(digest_bytes(&g->proposals[i].ref), ref))
            return &g->proposals[i];
    return NULL;
}

struct cached_proposal *cache_find_raw(const struct sotto_group *g,
                                       struct bytes raw)
{
    for (size_t i = 0; i < g->proposal_count; i++)
        if (bytes_equal(buf_bytes(&g->proposals[i].raw), raw))
            return &g->proposals[i];
    return NULL;
}

struct cached_proposal *cache_find_own(const struct sotto_group *g,
                                       const struct digest *message)
{
    for (size_t i = 0; i < g->proposal_count; i++)
        if (digest_equal(&g->proposals[i].message, message))
            return &g->proposals[i];
    return NULL;
}

enum err group_proposal_ref(const struct sotto_group *g,
                            const struct authenticated_content *ac,
                            struct digest *out)
{
    CLEANUP(buf_clear) struct buf encoded = buf_new(MLS_MESSAGE_MAX);
    struct writer w = writer_to(&encoded);
    authenticated_content_write(&w, ac);
    TRY(writer_finish(&w));
    return proposal_ref(g->mls->crypto, g->epoch.suite, buf_bytes(&encoded),
                        out);
}

void cached_proposal_clear(struct cached_proposal *p)
{
    buf_clear(&p->raw);
    secret_clear(&p->encryption_key);
    secret_clear(&p->signature_key);
    *p = (struct cached_proposal){0};
}

/* All members count the same proposals, so all reach the limit together: what
 * we made and nobody has seen does not count. Anybody can be a new member, so
 * these have a limit of their own, which costs the members nothing. */
static size_t count_proposals(const struct sotto_group *g, bool new_members)
{
    size_t n = 0;
    for (size_t i = 0; i < g->proposal_count; i++) {
        const struct cached_proposal *p = &g->proposals[i];
        n += !p->own_unseen &&
             (p->sender.type == SENDER_NEW_MEMBER_PROPOSAL) == new_members;
    }
    return n;
}

size_t sotto_group_proposal_count(const struct sotto_group *group)
{
    return count_proposals(group, false);
}

enum err cache_check_room(const struct sotto_group *g, enum sender_type sender)
{
    bool new_member = sender == SENDER_NEW_MEMBER_PROPOSAL;
    size_t max = new_member ? PROPOSALS_NEW_MAX : PROPOSALS_CACHED_MAX;
    return count_proposals(g, new_member) < max ? OK : ERR_LIMIT;
}

enum err cache_reserve(struct sotto_group *g, struct cached_proposal **out)
{
    if (g->proposal_count == 2 * PROPOSALS_CACHED_MAX)
        return ERR_LIMIT;
    if (g->proposal_count == g->proposal_cap) {
        size_t cap = g->proposal_cap > 0 ? 2 * g->proposal_cap : 4;
        struct cached_proposal *more = mem_alloc(cap * sizeof(*more));
        if (more == NULL)
            return ERR_NOMEM;
        if (g->proposal_count > 0)
            memcpy(more, g->proposals, g->proposal_count * sizeof(*more));
        mem_free(g->proposals, g->proposal_cap * sizeof(*more));
        g->proposals = more;
        g->proposal_cap = cap;
    }
    *out = &g->proposals[g->proposal_count];
    **out = (struct cached_proposal){.raw = buf_new(MLS_MESSAGE_MAX)};
    return OK;
}

void cache_clear(struct sotto_group *g)
{
    for (size_t i = 0; i < g->proposal_count; i++)
        cached_proposal_clear(&g->proposals[i]);
    mem_free(g->proposals, g->proposal_cap * sizeof(*g->proposals));
    g->proposals = NULL;
    g->proposal_count = 0;
    g->proposal_cap = 0;
}

/* ---- PSKs ---- */

static enum err offer(struct sotto_group *g, const struct offered_psk *shape,
                      struct bytes id, struct bytes key)
{
    CLEANUP(buf_clear) struct buf own_id = buf_new(MLS_LEAF_MAX);
    CLEANUP(buf_clear) struct buf own_key = buf_new(MLS_LEAF_MAX);

    if (g->psk_count == PSKS_OFFERED_MAX)
        return ERR_LIMIT;
    TRY(buf_copy(&own_id, id));
    TRY(buf_copy(&own_key, key));
    if (g->psks == NULL) {
        g->psks = mem_alloc(PSKS_OFFERED_MAX * sizeof(*g->psks));
        if (g->psks == NULL)
            return ERR_NOMEM;
    }
    g->psks[g->psk_count++] =
        (struct offered_psk){shape->resumption, shape->epoch, own_id, own_key};
    own_id = buf_new(0); /* both handed over */
    own_key = buf_new(0);
    return OK;
}

enum err group_offer_psk(struct sotto_group *g, struct bytes id,
                         struct bytes key)
{
    return offer(g, &(struct offered_psk){.resumption = false}, id, key);
}

/* NULL: it is not kept. */
static const struct secret *kept_resumption(const struct sotto_group *g,
                                            uint64_t epoch)
{
    const struct secret *psk = NULL;
    if (epoch == g->epoch.fields.epoch)
        psk = &g->epoch.secrets.resumption_psk;
    for (size_t i = 0; i < SOTTO_RESUMPTION_MAX; i++)
        if (i < g->past_count && g->past[i].epoch == epoch)
            psk = &g->past[i].psk;
    return psk != NULL && psk->len > 0 ? psk : NULL;
}

enum err group_offer_resumption(struct sotto_group *g,
                                const struct sotto_group *from, uint64_t epoch)
{
    struct offered_psk shape = {.resumption = true, .epoch = epoch};
    const struct secret *psk = kept_resumption(from, epoch);
    return psk != NULL ? offer(g, &shape, from->epoch.fields.group_id,
                               secret_expose(psk))
                       : ERR_NOTFOUND;
}

const struct sotto_group *resumption_source(struct sotto_group_list groups,
                                            const struct psk_id *id)
{
    for (size_t i = 0; id->type == PSK_RESUMPTION && i < groups.count; i++) {
        const struct sotto_group *from = groups.items[i];
        if (bytes_equal(from->epoch.fields.group_id, id->group_id) &&
            kept_resumption(from, id->epoch) != NULL)
            return from;
    }
    return NULL;
}

enum err group_offer_from(struct sotto_group *g, struct sotto_group_list groups,
                          const struct psk_id *id)
{
    const struct sotto_group *from = resumption_source(groups, id);
    return from != NULL ? group_offer_resumption(g, from, id->epoch) : OK;
}

/* The newest offer wins, so that an offer can be corrected. */
static enum err offered_psk(const struct sotto_group *g,
                            const struct psk_id *id, struct buf *out)
{
    bool resumption = id->type == PSK_RESUMPTION;
    struct bytes name = resumption ? id->group_id : id->id;
    for (size_t i = g->psk_count; i-- > 0;) {
        const struct offered_psk *p = &g->psks[i];
        if (p->resumption == resumption && p->epoch == id->epoch &&
            bytes_equal(buf_bytes(&p->id), name))
            return buf_copy(out, buf_bytes(&p->key));
    }
    return ERR_NOTFOUND;
}

static enum err find_psk(const struct sotto_group *g, const struct psk_id *id,
                         struct buf *out)
{
    const struct secret *own = NULL;
    if (id->type == PSK_RESUMPTION &&
        bytes_equal(id->group_id, g->epoch.fields.group_id))
        own = kept_resumption(g, id->epoch);
    return own != NULL ? buf_copy(out, secret_expose(own))
                       : offered_psk(g, id, out);
}

struct psk_id resumption_id(struct bytes own_group_id,
                            const struct sotto_resumption *name)
{
    return (struct psk_id){.type = PSK_RESUMPTION,
                           .usage = PSK_APPLICATION,
                           .group_id = name->group_id.len > 0
                                           ? bytes_in(name->group_id)
                                           : own_group_id,
                           .epoch = name->epoch};
}

/* The values of the PSKs of one commit. */
struct psk_values {
    struct psk psk[MLS_PSKS_MAX];
    struct buf value[MLS_PSKS_MAX];
    size_t count;
};

static void psk_values_clear(struct psk_values *v)
{
    for (size_t i = 0; i < MLS_PSKS_MAX; i++)
        buf_clear(&v->value[i]);
}

static enum err psk_values_add(const struct sotto_group *g,
                               const struct psk_id *id, struct psk_values *v)
{
    if (v->count == MLS_PSKS_MAX)
        return ERR_LIMIT;
    struct buf *value = &v->value[v->count];
    *value = buf_new(MLS_LEAF_MAX);
    TRY(find_psk(g, id, value));
    v->psk[v->count++] = (struct psk){*id, value};
    return OK;
}

enum err group_psk_secret(const struct sotto_group *g,
                          const struct proposal_list *l, struct secret *out)
{
    CLEANUP(psk_values_clear) struct psk_values v = {0};

    for (size_t i = 0; i < l->count; i++)
        if (l->entries[i].proposal.type == PROPOSAL_PSK)
            TRY(psk_values_add(g, &l->entries[i].proposal.psk, &v));
    if (v.count == 0)
        return OK;
    return schedule_psk(g->mls->crypto, g->epoch.suite, v.psk, v.count, out);
}
