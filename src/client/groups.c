/* SPDX-License-Identifier: Apache-2.0 */
#include "client/groups.h"

#include "client/people.h"
#include "proto/group_ext.h"

#include <string.h>

/* --- the store of one group --- */

struct group_store {
    struct client *client;
    int64_t conversation;
    struct buf lent; /* the last record that was read */
};

static void group_store_clear(struct group_store *s) { buf_clear(&s->lent); }

static void put_key(struct sql_query *q, const struct group_store *s,
                    enum sotto_record kind, uint32_t index)
{
    sql_put_u64(q, (uint64_t)s->conversation);
    sql_put_u64(q, kind);
    sql_put_u64(q, index);
}

static enum sotto_err put(void *ctx, enum sotto_record kind, uint32_t index,
                          struct sotto_bytes value)
{
    const struct group_store *s = ctx;
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(s->client->db, "INSERT OR REPLACE INTO mls (conversation,"
                                 " kind, part, body) VALUES (?, ?, ?, ?)");
    put_key(&q, s, kind, index);
    sql_put_bytes(&q, from_sotto(value));
    return (enum sotto_err)sql_run(&q);
}

static enum sotto_err del(void *ctx, enum sotto_record kind, uint32_t index)
{
    const struct group_store *s = ctx;
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(s->client->db, "DELETE FROM mls WHERE conversation = ?"
                                 " AND kind = ? AND part = ?");
    put_key(&q, s, kind, index);
    return (enum sotto_err)sql_run(&q);
}

static enum sotto_err get(void *ctx, enum sotto_record kind, uint32_t index,
                          struct sotto_bytes *out)
{
    struct group_store *s = ctx;
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(s->client->db, "SELECT body FROM mls WHERE conversation = ?"
                                 " AND kind = ? AND part = ?");
    put_key(&q, s, kind, index);
    enum err err = sql_one(&q);
    if (err == OK)
        err = buf_copy(&s->lent, sql_bytes(&q, 0));
    if (err == OK)
        *out = to_sotto(buf_bytes(&s->lent));
    return (enum sotto_err)err;
}

static struct sotto_store store_of(struct group_store *s)
{
    return (struct sotto_store){.ctx = s, .put = put, .del = del, .get = get};
}

enum err conv_group(struct client *c, struct conv *cv, struct sotto_group **out)
{
    if (cv->group == NULL) {
        CLEANUP(group_store_clear)
        struct group_store s = {c, cv->id, buf_new(MESSAGE_MAX)};
        struct sotto_store store = store_of(&s);
        TRY(err_of_sotto(sotto_group_load(c->mls, &store, &cv->group)));
    }
    *out = cv->group;
    return OK;
}

enum err conv_group_save(struct client *c, struct conv *cv)
{
    CLEANUP(group_store_clear)
    struct group_store s = {c, cv->id, buf_new(MESSAGE_MAX)};
    struct sotto_store store = store_of(&s);
    return err_of_sotto(sotto_group_save(cv->group, &store));
}

enum err conv_group_replace(struct client *c, struct conv *cv,
                            struct sotto_group **group)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "DELETE FROM mls WHERE conversation = ?");
    sql_put_u64(&q, (uint64_t)cv->id);
    TRY(sql_run(&q));
    sotto_group_free(&cv->group);
    cv->group = *group;
    *group = NULL;
    return conv_group_save(c, cv);
}

/* --- leaves --- */

static const uint16_t extension_types[] = {EXT_CHANNEL, EXT_SUBSCRIPTION,
                                           EXT_PROFILE, EXT_ACCOUNT};
static const uint16_t proposal_types[] = {SOTTO_PROPOSAL_APP_EPHEMERAL};

enum err own_identity_fill(struct client *c, struct own_identity *out)
{
    const struct profile *p = &c->profile;
    CLEANUP(chain_free) struct chain *chain = NULL;
    TRY(account_chain(c, ID_BYTES(p->account), &chain));
    uint64_t version = chain_version(chain);
    CLEANUP(buf_clear) struct buf encoded = buf_new(sizeof out->claim);
    TRY(leaf_account_write(
        &encoded, &(struct leaf_account){version, chain_hash(chain, version)}));
    memcpy(out->claim, encoded.data, encoded.len);
    out->claim_len = encoded.len;
    out->extension =
        (struct sotto_extension){EXT_ACCOUNT, {out->claim, out->claim_len}};
    out->id = (struct sotto_identity){
        .suite = sotto_suite_default(),
        .identity = to_sotto(ID_BYTES(p->account)),
        .signature_private = to_sotto(secret_expose(&p->sign_private)),
        .signature_public = to_sotto(buf_bytes(&p->sign_public)),
        .extensions = {&out->extension, 1},
        .extension_types = extension_types,
        .extension_type_count =
            sizeof extension_types / sizeof extension_types[0],
        .proposal_types = proposal_types,
        .proposal_type_count = sizeof proposal_types / sizeof proposal_types[0],
    };
    return OK;
}

enum err leaf_claim_read(const struct sotto_leaf *leaf, struct leaf_claim *out)
{
    struct sotto_bytes data = {0};
    if (leaf->identity.len != ID_SIZE || leaf->signature_key.len != KEY_SIZE)
        return ERR_INVALID;
    if (sotto_extension_find(leaf->extensions, EXT_ACCOUNT, &data) != SOTTO_OK)
        return ERR_INVALID;
    struct leaf_account claim = {0};
    if (leaf_account_read(from_sotto(data), &claim) != OK)
        return ERR_INVALID;
    *out = (struct leaf_claim){
        .account = from_sotto(leaf->identity),
        .signature_key = from_sotto(leaf->signature_key),
        .version = claim.state_version,
        .hash = claim.state_hash,
    };
    return OK;
}

enum err leaf_subscription(struct client *c, struct bytes extensions,
                           struct bytes signature_key, uint8_t out[ID_SIZE])
{
    struct sotto_bytes data = {0};
    TRY(err_of_sotto(
        sotto_extension_find(to_sotto(extensions), EXT_SUBSCRIPTION, &data)));
    CLEANUP(secret_clear) struct secret secret = {0};
    TRY(group_subscription_read(from_sotto(data), &secret));
    return subscription_id(c->crypto, &secret, signature_key, out);
}
