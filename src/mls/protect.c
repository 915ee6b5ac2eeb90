/* SPDX-License-Identifier: Apache-2.0 */
/* Messages that this member makes: application data and proposals. */
#include "mls/group.h"

#include "crypto/kem.h"
#include "mls/app_data.h"
#ifdef MLS_EVIL
#include "mls/evil.h"
#endif

struct authenticated_content group_content(const struct sotto_group *g,
                                           const struct outgoing *o)
{
    const struct group_context *gc = &g->epoch.fields;
    return (struct authenticated_content){
        .wire_format =
            o->public_message ? WIRE_PUBLIC_MESSAGE : WIRE_PRIVATE_MESSAGE,
        .content = {.group_id = gc->group_id,
                    .epoch = gc->epoch,
                    .sender = {SENDER_MEMBER, g->epoch.keys.leaf},
                    .authenticated_data = o->authenticated_data,
                    .type = o->type,
                    .body = o->body}};
}

static enum err write_private(struct sotto_group *g,
                              const struct authenticated_content *ac,
                              size_t bucket, struct buf *out)
{
    struct epoch *e = &g->epoch;
    CLEANUP(message_key_clear) struct message_key key = {0};
    enum ratchet_type type = ac->content.type == CONTENT_APPLICATION
                                 ? RATCHET_APPLICATION
                                 : RATCHET_HANDSHAKE;

    TRY(secret_tree_next(g->mls->crypto, e->ratchets, type, &key));
    struct private_seal seal = {ac, &e->secrets, &key, bucket};
#ifdef MLS_EVIL
    struct authenticated_content forged = *ac;
    TRY(evil_sender(g, &forged.content, &key));
    seal.ac = &forged;
#endif
    return framing_write_private(g->mls->crypto, e->suite, &g->mls->random,
                                 &seal, out);
}

enum err group_write_message(struct sotto_group *g,
                             const struct authenticated_content *ac,
                             size_t bucket, struct buf *out)
{
    if (ac->wire_format == WIRE_PRIVATE_MESSAGE)
        return write_private(g, ac, bucket, out);
    return framing_write_public(g->mls->crypto, g->epoch.suite,
                                &g->epoch.secrets.membership_key, ac,
                                buf_bytes(&g->epoch.context), out);
}

/* Signs what needs no confirmation tag. */
static enum err sign_content(struct sotto_group *g,
                             struct authenticated_content *ac,
                             struct buf *signature)
{
    TRY(framing_sign(g->mls->crypto, g->epoch.suite, &g->epoch.signature_key,
                     ac, buf_bytes(&g->epoch.context), signature));
    ac->auth.signature = buf_bytes(signature);
    return OK;
}

enum err group_protect(struct sotto_group *g, const struct outgoing *o,
                       struct buf *out)
{
    CLEANUP(buf_clear) struct buf signature = buf_new(g->epoch.suite->sign_max);
    struct authenticated_content ac = group_content(g, o);

    if (!g->active)
        return ERR_STATE;
    TRY(sign_content(g, &ac, &signature));
    return group_write_message(g, &ac, o->bucket, out);
}

/* ---- Proposals ---- */

/* A leaf of ours with a fresh encryption key and what `change` replaces. */
static enum err update_leaf(struct sotto_group *g,
                            const struct sotto_leaf_change *change,
                            struct cached_proposal *cached, struct buf *out)
{
    struct epoch *e = &g->epoch;
    struct crypto *c = g->mls->crypto;
    CLEANUP(leaf_parts_clear) struct leaf_parts parts = {0};
    CLEANUP(buf_clear) struct buf public_key = buf_new(KEM_PUBLIC_MAX);
    struct leaf_node leaf = *tree_leaf(e->tree, e->keys.leaf);
    const struct leaf_place place = {e->fields.group_id, e->keys.leaf};
    struct leaf_case at = {g->mls, e->suite, LEAF_UPDATE,
                           tree_leaf(e->tree, e->keys.leaf)};

    TRY(kem_generate(c, e->suite->kem, &g->mls->random, &cached->encryption_key,
                     &public_key));
    leaf.encryption_key = buf_bytes(&public_key);
    leaf.source = LEAF_UPDATE;
    secret_copy(&cached->signature_key, &e->signature_key);
    TRY(leaf_change(change, &leaf, &parts, &cached->signature_key));
    TRY(leaf_check_self(&at, &leaf));
    TRY(leaf_check_credential(&at, &leaf));
    return leaf_sign(c, e->suite, &cached->signature_key, &leaf, &place, out);
}

/* Reads a struct that was just encoded, so that it can be nested. */
static enum err leaf_reread(struct bytes encoded, struct leaf_node *out)
{
    struct reader r = reader_of(encoded);
    leaf_node_read(&r, out);
    return reader_finish(&r);
}

static enum err fill_add(const struct proposal_case *at,
                         const struct sotto_proposal *p, struct proposal *out)
{
    out->type = PROPOSAL_ADD;
    TRY(key_package_message_read(bytes_in(p->key_package), &out->add));
    if (p->now != 0 && !leaf_lives(&out->add.leaf, p->now))
        return ERR_INVALID;
    return key_package_check(at->mls, at->suite, &out->add);
}

static enum err fill_psk(const struct proposal_case *at, struct psk_id id,
                         struct buf *nonce, struct proposal *out)
{
    out->type = PROPOSAL_PSK;
    TRY(buf_extend(nonce, at->suite->nh));
    random_fill(&at->mls->random, nonce->data, nonce->len);
    out->psk = id;
    out->psk.nonce = buf_bytes(nonce);
    return OK;
}

enum err reinit_fill(const struct sotto_reinit *from, struct buf *scratch,
                     struct reinit *out)
{
    TRY(extension_list_encode(from->extensions, scratch));
    *out = (struct reinit){bytes_in(from->group_id), MLS_VERSION_10,
                           from->suite, buf_bytes(scratch)};
    return OK;
}

struct app_data_update app_data_update_of(const struct sotto_app_data_update *u)
{
    return (struct app_data_update){
        u->component, u->remove ? APP_DATA_REMOVE : APP_DATA_UPDATE,
        u->remove ? (struct bytes){0} : bytes_in(u->update)};
}

enum err proposal_fill(const struct proposal_case *at,
                       const struct sotto_proposal *p, struct buf *scratch,
                       struct proposal *out)
{
    struct psk_id external = {.type = PSK_EXTERNAL, .id = bytes_in(p->psk_id)};

    switch (p->kind) {
    case SOTTO_PROPOSE_ADD:
        return fill_add(at, p, out);
    case SOTTO_PROPOSE_UPDATE:
        break;
    case SOTTO_PROPOSE_REMOVE:
        out->type = PROPOSAL_REMOVE;
        out->remove = p->leaf;
        return OK;
    case SOTTO_PROPOSE_EXTENSIONS:
        out->type = PROPOSAL_GROUP_CONTEXT_EXTENSIONS;
        TRY(extension_list_encode(p->extensions, scratch));
        out->extensions = buf_bytes(scratch);
        return OK;
    case SOTTO_PROPOSE_APP:
        out->type = PROPOSAL_APP_EPHEMERAL;
        out->app_ephemeral =
            (struct app_ephemeral){p->app.component, bytes_in(p->app.data)};
        return OK;
    case SOTTO_PROPOSE_APP_DATA:
        out->type = PROPOSAL_APP_DATA_UPDATE;
        out->app_data_update = app_data_update_of(&p->app_data);
        return OK;
    case SOTTO_PROPOSE_SELF_REMOVE:
        out->type = PROPOSAL_SELF_REMOVE;
        return OK;
    case SOTTO_PROPOSE_PSK:
        return fill_psk(at, external, scratch, out);
    case SOTTO_PROPOSE_RESUMPTION:
        return fill_psk(at, resumption_id(at->group_id, &p->resumption),
                        scratch, out);
    case SOTTO_PROPOSE_REINIT:
        out->type = PROPOSAL_REINIT;
        return reinit_fill(p->reinit, scratch, &out->reinit);
    }
    return ERR_INVALID;
}

/* Whether the group as it is could take the proposal in. */
static enum err check_in_group(const struct sotto_group *g,
                               const struct proposal *p)
{
    const struct epoch *e = &g->epoch;
    switch (p->type) {
    case PROPOSAL_REMOVE:
        return tree_leaf(e->tree, p->remove) != NULL ? OK : ERR_NOTFOUND;
    case PROPOSAL_GROUP_CONTEXT_EXTENSIONS:
        if (!app_data_left_alone(e->fields.extensions, p->extensions))
            return ERR_INVALID;
        TRY(group_extensions_check(g->mls, e->suite, e->fields.extensions,
                                   p->extensions));
        return members_check(e->tree, p->extensions);
    case PROPOSAL_APP_DATA_UPDATE:
    case PROPOSAL_SELF_REMOVE:
        return members_check_proposal(e->tree, p->type, (struct leaf_set){0});
    default: /* a type may be no enumerator */
        return OK;
    }
}

static enum err fill_in_group(struct sotto_group *g,
                              const struct sotto_proposal *p,
                              struct cached_proposal *cached,
                              struct buf *scratch, struct proposal *out)
{
    struct proposal_case at = {g->mls, g->epoch.suite,
                               g->epoch.fields.group_id};
    if (p->kind == SOTTO_PROPOSE_UPDATE) {
        out->type = PROPOSAL_UPDATE;
        TRY(update_leaf(g, p->change, cached, scratch));
        return leaf_reread(buf_bytes(scratch), &out->update);
    }
    TRY(proposal_fill(&at, p, scratch, out));
    return check_in_group(g, out);
}

static enum err proposal_encode(struct sotto_group *g,
                                const struct sotto_proposal *p,
                                struct cached_proposal *cached)
{
    CLEANUP(buf_clear) struct buf scratch = buf_new(MLS_MESSAGE_MAX);
    struct proposal proposal = {0};

    TRY(fill_in_group(g, p, cached, &scratch, &proposal));
    struct writer w = writer_to(&cached->raw);
    proposal_write(&w, &proposal);
    return writer_finish(&w);
}

static enum err propose(struct sotto_group *g, const struct sotto_proposal *p,
                        struct cached_proposal *cached, struct buf *out)
{
    CLEANUP(buf_clear) struct buf signature = buf_new(g->epoch.suite->sign_max);

    TRY(proposal_encode(g, p, cached));
    struct outgoing o = {.type = CONTENT_PROPOSAL,
                         .body = buf_bytes(&cached->raw),
                         .authenticated_data = bytes_in(p->authenticated_data),
                         /* A SelfRemove is for external joiners too. */
                         .public_message = p->public_message ||
                                           p->kind == SOTTO_PROPOSE_SELF_REMOVE,
                         .bucket = p->bucket};
    struct authenticated_content ac = group_content(g, &o);
    TRY(sign_content(g, &ac, &signature));
    TRY(group_proposal_ref(g, &ac, &cached->ref));
    TRY(group_write_message(g, &ac, p->bucket, out));
    cached->sender = (struct sender){SENDER_MEMBER, g->epoch.keys.leaf};
    cached->own_unseen = true;
    return group_message_hash(g, buf_bytes(out), &cached->message);
}

/* "A client MUST NOT issue more than one SelfRemove proposal per epoch." */
static bool has_left(const struct sotto_group *g)
{
    for (size_t i = 0; i < g->proposal_count; i++) {
        const struct cached_proposal *cached = &g->proposals[i];
        struct reader r = reader_of(buf_bytes(&cached->raw));
        if (cached->sender.type == SENDER_MEMBER &&
            cached->sender.index == g->epoch.keys.leaf &&
            reader_u16(&r) == PROPOSAL_SELF_REMOVE)
            return true;
    }
    return false;
}

enum err group_propose(struct sotto_group *g, const struct sotto_proposal *p,
                       struct buf *out)
{
    struct cached_proposal *cached = NULL;
    if (!g->active)
        return ERR_STATE;
    if (p->kind == SOTTO_PROPOSE_SELF_REMOVE && has_left(g))
        return ERR_EXISTS;
    TRY(cache_reserve(g, &cached));
    enum err err = propose(g, p, cached, out);
    if (err != OK) {
        cached_proposal_clear(cached);
        return err;
    }
    g->proposal_count++;
    g->proposals_dirty = true;
    return OK;
}
