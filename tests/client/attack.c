/* SPDX-License-Identifier: Apache-2.0 */
#include "attack.h"

#include "crypto/kem.h"
#include "crypto/sign.h"
#include "proto/derive.h"
#include "proto/group_ext.h"

#include <string.h>

static struct sotto_bytes lend(struct bytes b)
{
    return (struct sotto_bytes){b.data, b.len};
}

static struct bytes own(struct sotto_bytes b)
{
    return (struct bytes){b.data, b.len};
}

static struct bytes bytes_in(const struct sotto_buf *b)
{
    return (struct bytes){b->data, b->len};
}

static enum err plain(enum sotto_err err)
{
    return err == SOTTO_ERR_USAGE ? ERR_INVALID : (enum err)err;
}

/* --- what the node's store holds --- */

static enum sotto_err no_put(void *ctx, enum sotto_record kind, uint32_t index,
                             struct sotto_bytes value)
{
    (void)ctx;
    (void)kind;
    (void)index;
    (void)value;
    return SOTTO_ERR_IO;
}

static enum sotto_err no_del(void *ctx, enum sotto_record kind, uint32_t index)
{
    return no_put(ctx, kind, index, (struct sotto_bytes){0});
}

struct records {
    struct attacker *a;
    struct buf lent;
};

static void records_clear(struct records *r) { buf_clear(&r->lent); }

static enum sotto_err get(void *ctx, enum sotto_record kind, uint32_t index,
                          struct sotto_bytes *out)
{
    struct records *r = ctx;
    CLEANUP(sql_end)
    struct sql_query q = sql_query(
        r->a->node->db, "SELECT body FROM mls WHERE conversation = ? AND"
                        " kind = ? AND part = ?");
    sql_put_u64(&q, (uint64_t)r->a->conversation);
    sql_put_u64(&q, kind);
    sql_put_u64(&q, index);
    enum err err = sql_one(&q);
    if (err == OK)
        err = buf_copy(&r->lent, sql_bytes(&q, 0));
    if (err == OK)
        *out = lend(buf_bytes(&r->lent));
    return (enum sotto_err)err;
}

static enum err load_group(struct attacker *a)
{
    CLEANUP(records_clear) struct records r = {a, buf_new(MESSAGE_MAX)};
    const struct sotto_store store = {&r, no_put, no_del, get};
    struct random *random = &a->node->random;
    struct sotto_bytes data = {0};
    TRY(plain(sotto_mls_create((struct sotto_random){random->fill, random->ctx},
                               &a->mls)));
    TRY(plain(sotto_group_load(a->mls, &store, &a->group)));
    TRY(plain(sotto_extension_find(sotto_group_extensions(a->group),
                                   EXT_SUBSCRIPTION, &data)));
    return group_subscription_read(own(data), &a->subscription);
}

static enum err load_rows(struct attacker *a)
{
    CLEANUP(sql_end)
    struct sql_query q = sql_query(
        a->node->db, "SELECT channel, subscription, capability, handshake,"
                     " device, sign_private, sign_public FROM conversation c,"
                     " profile WHERE c.id = ?");
    sql_put_u64(&q, (uint64_t)a->conversation);
    TRY(sql_one(&q));
    memcpy(a->channel, sql_bytes(&q, 0).data, sizeof a->channel);
    memcpy(a->sub, sql_bytes(&q, 1).data, sizeof a->sub);
    memcpy(a->cap, sql_bytes(&q, 2).data, sizeof a->cap);
    a->after = sql_u64(&q, 3);
    memcpy(a->device, sql_bytes(&q, 4).data, sizeof a->device);
    TRY(secret_set(&a->sign_private, sql_bytes(&q, 5)));
    a->sign_public = buf_new(64);
    return buf_copy(&a->sign_public, sql_bytes(&q, 6));
}

enum err node_chain(struct world *w, struct node *n, struct chain **out)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(n->db, "SELECT chain FROM account WHERE account ="
                         " (SELECT account FROM profile)");
    TRY(sql_one(&q));
    return chain_load(w->crypto, sql_bytes(&q, 0), out);
}

enum err node_package(struct node *n, struct buf *out)
{
    CLEANUP(sql_end)
    struct sql_query q = sql_query(
        n->db, "SELECT public FROM key_package WHERE last_resort = 0");
    TRY(sql_one(&q));
    return buf_copy(out, sql_bytes(&q, 0));
}

/* --- the attacker --- */

static enum err say_hello(struct attacker *a)
{
    static const uint8_t exporter[32] = {1}, nonce[32] = {2};
    struct request q = {
        .method = METHOD_HELLO,
        .hello = {PROTOCOL_VERSION, CLIENT_ANONYMOUS, BYTES_ARRAY(nonce)}};
    CLEANUP(buf_clear) struct buf answer = buf_new(MESSAGE_MAX);
    a->conn = ++a->w->last_conn;
    TRY(core_open(a->w->core, a->conn, BYTES_ARRAY(exporter), a->conn));
    return world_ask(a->w, a->conn, &q, &answer);
}

enum err attacker_begin(struct world *w, struct node *n, int64_t conversation,
                        struct attacker *a)
{
    *a = (struct attacker){.w = w, .node = n, .conversation = conversation};
    n->offline = true;
    node_cut(w, n);
    TRY(load_rows(a));
    TRY(load_group(a));
    TRY(node_chain(w, n, &a->chain));
    TRY(plain(sotto_mls_signature_keygen(a->mls, sotto_suite_default(),
                                         &a->spare_private, &a->spare_public)));
    return say_hello(a);
}

void attacker_end(struct attacker *a)
{
    sotto_group_free(&a->group);
    sotto_mls_free(&a->mls);
    chain_free(&a->chain);
    sotto_buf_free(&a->spare_private);
    sotto_buf_free(&a->spare_public);
    buf_clear(&a->sign_public);
    secret_clear(&a->sign_private);
    secret_clear(&a->subscription);
}

enum err attacker_sub(struct attacker *a, struct sotto_bytes key,
                      uint8_t out[ID_SIZE])
{
    return subscription_id(a->w->crypto, &a->subscription, own(key), out);
}

enum err attacker_append(struct attacker *a, enum entry_kind kind,
                         const struct sotto_buf *body, struct answer *out)
{
    uint8_t key[16];
    random_fill(&a->w->random, key, sizeof key);
    struct request q = {
        .method = METHOD_APPEND,
        .append = {.access = {BYTES_ARRAY(a->channel), BYTES_ARRAY(a->sub),
                              BYTES_ARRAY(a->cap)},
                   .after = a->after,
                   .kind = (uint8_t)kind,
                   .idempotency_key = BYTES_ARRAY(key),
                   .body = {body->data, body->len}}};
    CLEANUP(buf_clear) struct buf answer = buf_new(MESSAGE_MAX);
    TRY(world_ask(a->w, a->conn, &q, &answer));
    TRY(answer_read(buf_bytes(&answer), out));
    if (out->status == STATUS_OK && kind != ENTRY_APPLICATION)
        a->after = out->append.seq;
    return OK;
}

static enum err next_state(struct attacker *a, const struct state *next)
{
    CLEANUP(buf_clear) struct buf encoding = buf_new(STATE_MAX);
    CLEANUP(buf_clear) struct buf list = buf_new(STATE_MAX + 8);
    enum chain_outcome outcome = CHAIN_KNOWN;
    TRY(state_sign(a->w->crypto, next, BYTES_ARRAY(a->device), &a->sign_private,
                   &encoding));
    struct writer w = writer_to(&list);
    writer_vec(&w, buf_bytes(&encoding));
    TRY(writer_finish(&w));
    return chain_extend(a->w->crypto, a->chain, buf_bytes(&list), &outcome);
}

enum err attacker_add_device(struct attacker *a)
{
    struct state next;
    uint8_t id[ID_SIZE];
    CLEANUP(secret_clear) struct secret seal_private = {0};
    CLEANUP(buf_clear) struct buf seal_public = buf_new(4096);
    random_fill(&a->w->random, id, sizeof id);
    TRY(kem_generate(a->w->crypto, KEM_XWING, &a->w->random, &seal_private,
                     &seal_public));
    state_next(chain_newest(a->chain),
               chain_hash(a->chain, chain_version(a->chain)), REASON_ADD,
               &next);
    struct device device = {.id = BYTES_ARRAY(id),
                            .signature_key = bytes_in(&a->spare_public),
                            .sealing_kem = KEM_XWING,
                            .sealing_key = buf_bytes(&seal_public)};
    TRY(state_add(&next, &device));
    return next_state(a, &next);
}

enum err attacker_revoke_device(struct attacker *a)
{
    struct state next;
    const struct state *newest = chain_newest(a->chain);
    const struct device *device =
        state_device_of_key(newest, bytes_in(&a->spare_public));
    if (device == NULL)
        return ERR_NOTFOUND;
    state_next(newest, chain_hash(a->chain, chain_version(a->chain)),
               REASON_REVOKE, &next);
    TRY(state_remove(&next, device->id));
    return next_state(a, &next);
}

/* --- a commit --- */

void plan_clear(struct plan *p)
{
    for (size_t i = 0; i < p->kept_count; i++)
        buf_clear(&p->kept[i]);
    *p = (struct plan){.a = p->a};
}

enum err plan_keep(struct plan *p, struct bytes b, struct bytes *out)
{
    if (p->kept_count == COUNT(p->kept))
        return ERR_LIMIT;
    struct buf *kept = &p->kept[p->kept_count++];
    *kept = buf_new(b.len + 1);
    TRY(buf_copy(kept, b));
    *out = buf_bytes(kept);
    return OK;
}

static enum err random_bytes(struct plan *p, size_t len, struct bytes *out)
{
    uint8_t raw[ID_SIZE];
    random_fill(&p->a->w->random, raw, sizeof raw);
    return plan_keep(p, (struct bytes){raw, len}, out);
}

enum err plan_list_add(struct plan *p, struct bytes sub)
{
    struct sub_add *add = &p->adds[p->add_count];
    TRY(plan_keep(p, sub, &add->sub));
    TRY(random_bytes(p, CAP_SIZE, &add->cap_hash));
    p->add_count++;
    return OK;
}

enum err plan_list_end(struct plan *p, struct bytes sub)
{
    return plan_keep(p, sub, &p->ends[p->end_count++]);
}

enum err plan_add(struct plan *p, struct bytes package, bool list)
{
    struct sotto_key_package info = {0};
    struct bytes kept = {0};
    uint8_t sub[ID_SIZE];
    TRY(plan_keep(p, package, &kept));
    p->packages[p->commit.add_count++] = lend(kept);
    p->commit.adds = p->packages;
    TRY(plain(sotto_key_package_inspect(p->a->mls, lend(kept), &info)));
    TRY(attacker_sub(p->a, info.leaf.signature_key, sub));
    return list ? plan_list_add(p, BYTES_ARRAY(sub)) : OK;
}

void plan_remove(struct plan *p, uint32_t leaf)
{
    p->removes[p->commit.remove_count++] = leaf;
    p->commit.removes = p->removes;
}

enum err plan_app(struct plan *p, uint16_t component, struct bytes b)
{
    struct bytes kept = {0};
    TRY(plan_keep(p, b, &kept));
    p->apps[p->commit.app_proposal_count++] =
        (struct sotto_app_proposal){component, lend(kept)};
    p->commit.app_proposals = p->apps;
    return OK;
}

enum err plan_states(struct plan *p, const struct chain *chain, uint64_t from)
{
    CLEANUP(buf_clear) struct buf list = buf_new(1U << 20);
    CLEANUP(buf_clear) struct buf data = buf_new(1U << 20);
    TRY(chain_list(chain, from, &list));
    TRY(account_states_write(
        &data,
        &(struct account_states){chain_account_id(chain), buf_bytes(&list)}));
    return plan_app(p, COMPONENT_STATES, buf_bytes(&data));
}

enum err plan_joining(struct plan *p)
{
    struct joining_ref ref = {0};
    CLEANUP(buf_clear) struct buf data = buf_new(256);
    TRY(random_bytes(p, ID_SIZE, &ref.blob));
    TRY(random_bytes(p, ID_SIZE, &ref.key));
    TRY(joining_ref_write(&data, &ref));
    return plan_app(p, COMPONENT_JOINING, buf_bytes(&data));
}

static enum err claim_of(struct plan *p, uint64_t version, struct bytes *out)
{
    CLEANUP(buf_clear) struct buf data = buf_new(256);
    TRY(leaf_account_write(
        &data,
        &(struct leaf_account){version, chain_hash(p->a->chain, version)}));
    return plan_keep(p, buf_bytes(&data), out);
}

enum err plan_claim(struct plan *p, uint64_t version)
{
    struct bytes claim = {0};
    TRY(claim_of(p, version, &claim));
    p->extensions[0] = (struct sotto_extension){EXT_ACCOUNT, lend(claim)};
    p->list = (struct sotto_extension_list){p->extensions, 1};
    p->change.extensions = &p->list;
    p->commit.leaf = &p->change;
    return OK;
}

/* What the spare device says about itself; it borrows from the plan. */
static enum err spare_identity(struct plan *p, uint64_t version,
                               struct sotto_extension *extension,
                               struct sotto_identity *out)
{
    static const uint16_t types[] = {EXT_CHANNEL, EXT_SUBSCRIPTION, EXT_PROFILE,
                                     EXT_ACCOUNT};
    static const uint16_t proposals[] = {SOTTO_PROPOSAL_APP_EPHEMERAL};
    const struct attacker *a = p->a;
    struct bytes claim = {0};
    if (version > 0)
        TRY(claim_of(p, version, &claim));
    *extension = (struct sotto_extension){EXT_ACCOUNT, lend(claim)};
    *out = (struct sotto_identity){
        .suite = sotto_suite_default(),
        .identity = lend(chain_account_id(a->chain)),
        .signature_private = lend(bytes_in(&a->spare_private)),
        .signature_public = lend(bytes_in(&a->spare_public)),
        .extensions = {extension, version > 0 ? 1 : 0},
        .extension_types = types,
        .extension_type_count = COUNT(types),
        .proposal_types = proposals,
        .proposal_type_count = COUNT(proposals),
        .not_after = UINT64_MAX,
    };
    return OK;
}

enum err plan_package(struct plan *p, uint64_t version, struct bytes *out)
{
    CLEANUP(sotto_buf_free) struct sotto_buf package = {0};
    CLEANUP(sotto_buf_free) struct sotto_buf private = {0};
    struct sotto_extension extension = {0};
    struct sotto_identity id = {0};
    struct sotto_ref ref = {0};
    TRY(spare_identity(p, version, &extension, &id));
    TRY(plain(
        sotto_key_package_create(p->a->mls, &id, &package, &private, &ref)));
    return plan_keep(p, bytes_in(&package), out);
}

enum err plan_extension(struct plan *p, uint16_t type, struct bytes data)
{
    struct sotto_extension e = {0};
    struct sotto_bytes all = sotto_group_extensions(p->a->group);
    struct bytes kept = {0};
    size_t count = 0;
    TRY(plan_keep(p, data, &kept));
    for (; sotto_extension_at(all, count, &e) == SOTTO_OK; count++)
        p->extensions[count] =
            e.type == type ? (struct sotto_extension){type, lend(kept)} : e;
    p->list = (struct sotto_extension_list){p->extensions, count};
    p->commit.extensions = &p->list;
    return OK;
}

static enum err write_lists(struct plan *p)
{
    CLEANUP(buf_clear) struct buf adds = buf_new(4096);
    CLEANUP(buf_clear) struct buf ends = buf_new(4096);
    CLEANUP(buf_clear) struct buf data = buf_new(16384);
    struct bytes kept = {0};
    sub_adds_sort(p->adds, p->add_count);
    sub_ids_sort(p->ends, p->end_count);
    struct writer w = writer_to(&adds);
    for (size_t i = 0; i < p->add_count; i++)
        sub_add_write(&w, &p->adds[i]);
    TRY(writer_finish(&w));
    for (size_t i = 0; i < p->end_count; i++)
        TRY(buf_append(&ends, p->ends[i]));
    TRY(commit_data_write(
        &data, &(struct commit_data){buf_bytes(&adds), buf_bytes(&ends)}));
    TRY(plan_keep(p, buf_bytes(&data), &kept));
    p->commit.authenticated_data = lend(kept);
    return OK;
}

enum err plan_join(struct plan *p, uint64_t version, bool resync,
                   struct sotto_buf *out)
{
    CLEANUP(sotto_buf_free) struct sotto_buf info = {0};
    CLEANUP(sotto_group_free) struct sotto_group *group = NULL;
    const uint32_t old = sotto_group_own_leaf(p->a->group);
    struct sotto_extension extension = {0};
    struct sotto_identity id = {0};
    TRY(write_lists(p));
    TRY(spare_identity(p, version, &extension, &id));
    TRY(plain(sotto_group_info(p->a->group, true, &info)));
    struct sotto_external_join join = {
        .identity = &id,
        .group_info = lend(bytes_in(&info)),
        .resync = resync,
        .old_leaf = &old,
        .app_proposals = p->commit.app_proposals,
        .app_proposal_count = p->commit.app_proposal_count,
        .authenticated_data = p->commit.authenticated_data};
    return plain(sotto_group_join_external(p->a->mls, &join, out, &group));
}

enum err plan_commit(struct plan *p, bool merge, uint8_t *out_status)
{
    CLEANUP(sotto_commit_out_free) struct sotto_commit_out out = {0};
    struct answer answer = {0};
    if (!p->no_lists)
        TRY(write_lists(p));
    TRY(plain(sotto_group_commit(p->a->group, &p->commit, &out)));
    TRY(attacker_append(p->a, ENTRY_COMMIT, &out.message, &answer));
    *out_status = answer.status;
    if (merge && answer.status == STATUS_OK)
        return plain(sotto_group_merge_pending(p->a->group));
    sotto_group_drop_pending(p->a->group);
    return OK;
}
