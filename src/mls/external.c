/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Joining by an external commit. The joiner makes itself a group of the epoch
 * that it has not been in, of which it knows what is public, and commits in it.
 */
#include "mls/external.h"

#include "crypto/kem.h"
#include "mls/commit.h"
#include "mls/group_info.h"

#define LEAF_NONE UINT32_MAX

struct joining {
    struct sotto_mls *mls;
    const struct sotto_external_join *ask;
    struct group_info info; /* borrows from the message */
    struct key_package_private own;
    struct sotto_group *group;
};

static void joining_clear(struct joining *j)
{
    key_package_private_clear(&j->own);
    sotto_group_free(&j->group);
}

/* Everything public of the epoch; the tag cannot be checked by who has not its
 * keys, but the signature covers it. */
static enum err enter_old_epoch(struct joining *j)
{
    struct epoch *e = &j->group->epoch;
    struct info_case at = {j->mls, j->own.suite, &j->info,
                           bytes_in(j->ask->ratchet_tree), j->ask->now};

    TRY(group_info_check(&at, &e->tree));
    TRY(epoch_set_context(e, &j->info.context));
    TRY(epoch_set_tag(j->mls->crypto, e, j->info.confirmation_tag));
    e->keys.leaf = LEAF_NONE;
    secret_copy(&e->signature_key, &j->own.signature_key);
    return OK;
}

static enum err find_old_leaf(const struct joining *j, uint32_t *out)
{
    const struct leaf_node *own = &j->own.key_package.leaf;
    bool found = false;
    if (j->ask->old_leaf != NULL) {
        *out = *j->ask->old_leaf;
        return OK;
    }
    TRY(tree_find_signature_key(j->group->epoch.tree, own->signature_key,
                                &found, out));
    return found ? OK : ERR_NOTFOUND;
}

/* RFC 9420, section 8.3 */
static enum err take_external_init(const struct joining *j, struct draft *d)
{
    CLEANUP(buf_clear) struct buf kem_output = buf_new(KEM_ENC_MAX);
    struct proposal p = {.type = PROPOSAL_EXTERNAL_INIT};
    struct bytes external_pub = {0};

    TRY(group_info_external_pub(&j->info, &external_pub));
    TRY(schedule_external_send(j->mls->crypto, j->own.suite, &j->mls->random,
                               external_pub, &kem_output, &d->external_init));
#ifdef MLS_EVIL
    evil_kem(&kem_output);
#endif
    p.kem_output = buf_bytes(&kem_output);
    return draft_take(d, &p);
}

static enum err take_psks(struct joining *j, struct draft *d)
{
    const struct sotto_external_join *ask = j->ask;
    for (size_t i = 0; i < ask->psks.count; i++) {
        const struct sotto_psk *psk = &ask->psks.items[i];
        struct psk_id id = {.type = PSK_EXTERNAL, .id = bytes_in(psk->id)};
        TRY(group_offer_psk(j->group, id.id, bytes_in(psk->key)));
        TRY(draft_take_psk(j->group, d, &id));
    }
    for (size_t i = 0; i < ask->resumption_count; i++) {
        struct psk_id id =
            resumption_id(j->info.context.group_id, &ask->resumptions[i]);
        TRY(group_offer_from(j->group, ask->groups, &id));
        TRY(draft_take_psk(j->group, d, &id));
    }
    return OK;
}

/* The signature is all that can be checked of what a member has sent: only
 * members know the key of its tag. */
static enum err check_leave(const struct joining *j,
                            const struct authenticated_content *ac)
{
    const struct epoch *e = &j->group->epoch;
    const struct framed_content *content = &ac->content;
    struct proposal p = {0};
    const struct leaf_node *leaf = tree_leaf(e->tree, content->sender.index);

    if (content->sender.type != SENDER_MEMBER || leaf == NULL ||
        content->type != CONTENT_PROPOSAL ||
        content->epoch != e->fields.epoch ||
        !bytes_equal(content->group_id, e->fields.group_id))
        return ERR_INVALID;
    struct reader r = reader_of(content->body);
    proposal_read(&r, &p);
    TRY(reader_finish(&r));
    if (p.type != PROPOSAL_SELF_REMOVE)
        return ERR_INVALID;
    return framing_verify(j->mls->crypto, e->suite, leaf->signature_key, ac,
                          buf_bytes(&e->context));
}

static enum err take_leave(const struct joining *j, struct draft *d,
                           struct bytes message)
{
    CLEANUP(cached_proposal_clear)
    struct cached_proposal cached = {.raw = buf_new(MLS_MESSAGE_MAX)};
    struct mls_message m = {0};

    struct reader r = reader_of(message);
    mls_message_read(&r, &m);
    TRY(reader_finish(&r));
    if (m.wire_format != WIRE_PUBLIC_MESSAGE)
        return ERR_INVALID;
    const struct public_message *public = &m.public_message;
    struct authenticated_content ac = {WIRE_PUBLIC_MESSAGE, public->content,
                                       public->auth};
    TRY(check_leave(j, &ac));
    TRY(group_proposal_ref(j->group, &ac, &cached.ref));
    TRY(buf_copy(&cached.raw, ac.content.body));
    cached.sender = ac.content.sender;
    return draft_take_reference(d, &cached);
}

static enum err take_leaves(const struct joining *j, struct draft *d)
{
    for (size_t i = 0; i < j->ask->self_remove_count; i++)
        TRY(take_leave(j, d, bytes_in(j->ask->self_removes[i])));
    return OK;
}

/* Sits down on the leftmost blank leaf of the new tree, with the leaf of a
 * KeyPackage, which the path then replaces. */
static enum err take_seat(struct joining *j, struct draft *d)
{
    struct epoch *e = &j->group->epoch;
    struct epoch *next = &d->staged->next;
    const struct leaf_node *leaf = &j->own.key_package.leaf;

    if (d->changes.replaces)
        d->before = tree_leaf(d->staged->before, d->changes.replaced);
    TRY(tree_add(next->tree, leaf, &e->keys.leaf));
    secret_copy(&e->keys.key[0], &j->own.encryption_key);
    return draft_strict() ? members_check(next->tree, d->changes.extensions)
                          : OK;
}

static enum err commit(struct joining *j, const struct sotto_commit *ask,
                       struct buf *out_message)
{
    struct sotto_group *g = j->group;
    CLEANUP(draft_clear) struct draft d = draft_new(g, ask);

    d.committer = (struct sender){.type = SENDER_NEW_MEMBER_COMMIT};
    TRY(staged_new(g, &d.staged));
    TRY(take_external_init(j, &d));
    TRY(take_psks(j, &d));
    TRY(take_leaves(j, &d));
    TRY(draft_collect(g, &d));
    TRY(take_seat(j, &d));
    TRY(draft_build(g, &d));
    struct authenticated_content ac = draft_content(g, &d);
    TRY(draft_complete(g, &d, &ac));
    TRY(framing_write_public(j->mls->crypto, g->epoch.suite, NULL, &ac,
                             buf_bytes(&g->epoch.context), out_message));
    TRY(epoch_open_ratchets(j->mls->crypto, &d.staged->next));
    epoch_move(&g->epoch, &d.staged->next);
    return OK;
}

enum err group_join_external(struct sotto_mls *mls,
                             const struct sotto_external_join *join,
                             struct buf *out_message, struct sotto_group **out)
{
    CLEANUP(joining_clear) struct joining j = {.mls = mls, .ask = join};
    uint32_t old_leaf = 0;

    TRY(group_info_message_read(bytes_in(join->group_info), &j.info));
    TRY(key_package_make(mls, join->identity, &j.own));
    TRY(group_new(mls, j.own.suite, &j.group));
    TRY(enter_old_epoch(&j));
    if (join->resync)
        TRY(find_old_leaf(&j, &old_leaf));
    struct sotto_commit ask = {.removes = &old_leaf,
                               .remove_count = join->resync ? 1 : 0,
                               .app_proposals = join->app_proposals,
                               .app_proposal_count = join->app_proposal_count,
                               .app_data = join->app_data,
                               .app_data_count = join->app_data_count,
                               .authenticated_data = join->authenticated_data,
                               .public_message = true};
    TRY(commit(&j, &ask, out_message));
    *out = j.group;
    j.group = NULL; /* handed over */
    return OK;
}

/* ---- Proposals ---- */

static enum err proposal_body(const struct proposal_case *at,
                              enum sender_type sender,
                              const struct sotto_proposal *p, struct buf *out)
{
    CLEANUP(buf_clear) struct buf scratch = buf_new(MLS_MESSAGE_MAX);
    struct proposal proposal = {0};

    TRY(proposal_fill(at, p, &scratch, &proposal));
    if (!proposal_may_come_from(proposal.type, sender))
        return ERR_INVALID;
    struct writer w = writer_to(out);
    proposal_write(&w, &proposal);
    return writer_finish(&w);
}

enum err outsider_propose(struct sotto_mls *mls,
                          const struct sotto_outsider *from,
                          const struct sotto_proposal *p, struct buf *out)
{
    const struct suite *s = suite_find(from->suite);
    if (s == NULL)
        return ERR_NOTFOUND;
    CLEANUP(secret_clear) struct secret key = {0};
    CLEANUP(buf_clear) struct buf body = buf_new(MLS_MESSAGE_MAX);
    CLEANUP(buf_clear) struct buf signature = buf_new(s->sign_max);
    struct proposal_case at = {mls, s, bytes_in(from->group_id)};
    struct sender sender = {.type = (enum sender_type)from->kind};

    if (sender.type == SENDER_EXTERNAL)
        sender.index = from->index;
    TRY(secret_set(&key, bytes_in(from->signature_private)));
    TRY(proposal_body(&at, sender.type, p, &body));
    struct authenticated_content ac = {
        .wire_format = WIRE_PUBLIC_MESSAGE,
        .content = {.group_id = at.group_id,
                    .epoch = from->epoch,
                    .sender = sender,
                    .authenticated_data = bytes_in(p->authenticated_data),
                    .type = CONTENT_PROPOSAL,
                    .body = buf_bytes(&body)}};
    TRY(framing_sign(mls->crypto, s, &key, &ac, (struct bytes){0}, &signature));
    ac.auth.signature = buf_bytes(&signature);
    return framing_write_public(mls->crypto, s, NULL, &ac, (struct bytes){0},
                                out);
}
