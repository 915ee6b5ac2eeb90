/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one entry for received messages: from bytes to an outcome.
 *
 *     message ── epoch and group ── own? ── open ── signature ── by content:
 *         application, proposal (kept), commit (staged)
 */
#include "mls/group.h"

/* A message on its way through the checks. */
struct incoming {
    struct bytes message;
    struct mls_message parsed;
    struct buf plain; /* of a PrivateMessage; `ac` borrows from it */
    struct authenticated_content ac;
    struct sender_data sender_data; /* of a PrivateMessage */
    struct cached_proposal *cached; /* a new one, not yet counted */
    enum sotto_outcome outcome;     /* 0: go on */
    uint64_t epoch;
    struct sender sender; /* zeros: not known */
};

static enum err parse(struct incoming *in)
{
    struct reader r = reader_of(in->message);
    mls_message_read(&r, &in->parsed);
    TRY(reader_finish(&r));
    return in->parsed.wire_format == WIRE_PUBLIC_MESSAGE ||
                   in->parsed.wire_format == WIRE_PRIVATE_MESSAGE
               ? OK
               : ERR_INVALID;
}

static enum sotto_outcome place(const struct sotto_group *g,
                                const struct incoming *in)
{
    const struct mls_message *m = &in->parsed;
    const struct group_context *gc = &g->epoch.fields;
    bool public = m->wire_format == WIRE_PUBLIC_MESSAGE;
    struct bytes group_id = public ? m->public_message.content.group_id
                                   : m->private_message.group_id;
    if (!bytes_equal(group_id, gc->group_id))
        return SOTTO_WRONG_GROUP;
    if (in->epoch != gc->epoch)
        return in->epoch > gc->epoch ? SOTTO_FUTURE_EPOCH : SOTTO_TOO_OLD;
    return 0;
}

/* Our own commits and proposals are known by their bytes: what they need is
 * here already, and the key that sealed them is gone. */
static enum err recognise(struct sotto_group *g, struct incoming *in,
                          struct sotto_result *out)
{
    CLEANUP(buf_clear) struct buf content = buf_new(MLS_MESSAGE_MAX);
    struct digest hash = {0};

    if (g->pending == NULL && g->proposal_count == 0)
        return OK;
    TRY(group_message_hash(g, in->message, &hash));
    const struct sender self = {SENDER_MEMBER, g->epoch.keys.leaf};
    if (g->pending != NULL && digest_equal(&g->pending->message, &hash)) {
        in->outcome = SOTTO_OWN_COMMIT;
        in->sender = self;
        return OK;
    }
    struct cached_proposal *own = cache_find_own(g, &hash);
    if (own == NULL)
        return OK;
    in->sender = self;
    if (!own->own_unseen) {
        in->outcome = SOTTO_DUPLICATE;
        return OK;
    }
    TRY(cache_check_room(g, SENDER_MEMBER));
    TRY(buf_copy(&content, buf_bytes(&own->raw)));
    buf_give(&content, &out->content);
    own->own_unseen = false;
    digest_out(&own->ref, &out->ref);
    g->proposals_dirty = true;
    in->outcome = SOTTO_PROPOSAL;
    return OK;
}

static bool is_own(const struct sotto_group *g, const struct sender *sender)
{
    return sender->type == SENDER_MEMBER && sender->index == g->epoch.keys.leaf;
}

static enum err open_public(const struct sotto_group *g, struct incoming *in)
{
    const struct public_message *m = &in->parsed.public_message;
    in->ac = (struct authenticated_content){WIRE_PUBLIC_MESSAGE, m->content,
                                            m->auth};
    in->sender = m->content.sender;
    if (m->content.type == CONTENT_APPLICATION) /* never public, section 6.2 */
        return ERR_INVALID;
    if (in->sender.type != SENDER_MEMBER)
        return OK; /* the signature is all there is */
    return framing_check_tag(g->mls->crypto, g->epoch.suite,
                             &g->epoch.secrets.membership_key, m,
                             buf_bytes(&g->epoch.context));
}

static enum ratchet_type ratchet_of(enum content_type type)
{
    return type == CONTENT_APPLICATION ? RATCHET_APPLICATION
                                       : RATCHET_HANDSHAKE;
}

static enum err open_private(struct sotto_group *g, struct incoming *in)
{
    const struct private_message *m = &in->parsed.private_message;
    const struct epoch *e = &g->epoch;
    struct crypto *c = g->mls->crypto;
    CLEANUP(message_key_clear) struct message_key key = {0};
    struct sender_data *sender = &in->sender_data;

    TRY(framing_open_sender(c, e->suite, &e->secrets, m, sender));
    in->sender = (struct sender){SENDER_MEMBER, sender->leaf_index};
    if (tree_leaf(e->tree, sender->leaf_index) == NULL)
        return ERR_INVALID;
    enum err err =
        secret_tree_peek(c, e->ratchets, sender->leaf_index,
                         ratchet_of(m->type), sender->generation, &key);
    if (err == ERR_NOTFOUND) {
        in->outcome = SOTTO_DUPLICATE;
        return OK;
    }
    TRY(err);
    struct private_open open = {m, sender, &key};
    return framing_open_private(c, e->suite, &open, &in->plain, &in->ac);
}

/* ---- Who must have signed (section 6.1) ---- */

static enum err member_key(const struct sotto_group *g,
                           const struct incoming *in, struct bytes *out)
{
    const struct leaf_node *leaf = tree_leaf(g->epoch.tree, in->sender.index);
    if (leaf == NULL)
        return ERR_INVALID;
    *out = leaf->signature_key;
    return OK;
}

static enum err external_key(const struct sotto_group *g,
                             const struct incoming *in, struct bytes *out)
{
    struct external_sender sender = {0};
    struct bytes data = {0};
    if (!extensions_find(g->epoch.fields.extensions, EXTENSION_EXTERNAL_SENDERS,
                         &data) ||
        external_sender_at(data, in->sender.index, &sender) != OK)
        return ERR_INVALID;
    *out = sender.signature_key;
    return OK;
}

static enum err new_member_key(const struct sotto_group *g,
                               const struct incoming *in, struct bytes *out)
{
    (void)g;
    struct proposal p = {0};
    struct reader r = reader_of(in->ac.content.body);
    proposal_read(&r, &p);
    TRY(reader_finish(&r));
    if (p.type != PROPOSAL_ADD)
        return ERR_INVALID;
    *out = p.add.leaf.signature_key;
    return OK;
}

static enum err joiner_key(const struct sotto_group *g,
                           const struct incoming *in, struct bytes *out)
{
    (void)g;
    struct commit commit = {0};
    struct reader r = reader_of(in->ac.content.body);
    commit_read(&r, &commit);
    TRY(reader_finish(&r));
    if (!commit.has_path)
        return ERR_INVALID;
    *out = commit.path.leaf.signature_key;
    return OK;
}

static enum err signer_key(const struct sotto_group *g,
                           const struct incoming *in, struct bytes *out)
{
    static const struct {
        enum content_type only; /* 0: any */
        enum err (*key)(const struct sotto_group *g, const struct incoming *in,
                        struct bytes *out);
    } rows[] = {
        [SENDER_MEMBER] = {0, member_key},
        [SENDER_EXTERNAL] = {CONTENT_PROPOSAL, external_key},
        [SENDER_NEW_MEMBER_PROPOSAL] = {CONTENT_PROPOSAL, new_member_key},
        [SENDER_NEW_MEMBER_COMMIT] = {CONTENT_COMMIT, joiner_key},
    };
    enum content_type only = rows[in->sender.type].only;
    if (only != 0 && only != in->ac.content.type)
        return ERR_INVALID;
    return rows[in->sender.type].key(g, in, out);
}

/* Decrypts and verifies, which changes nothing. */
static enum err open_content(struct sotto_group *g, struct incoming *in)
{
    const struct epoch *e = &g->epoch;

    TRY(in->parsed.wire_format == WIRE_PUBLIC_MESSAGE ? open_public(g, in)
                                                      : open_private(g, in));
    if (in->outcome != 0)
        return OK;
    struct bytes key = {0};
    TRY(signer_key(g, in, &key));
    TRY(framing_verify(g->mls->crypto, e->suite, key, &in->ac,
                       buf_bytes(&e->context)));
    /* Every member can name us as the sender and knows the keys of our
     * ratchets: only the signature says that this state is an old copy. */
    if (is_own(g, &in->sender))
        in->outcome = SOTTO_OWN_MESSAGE;
    return OK;
}

/* Uses up the key of a message that is authentic. Not before its signature is
 * verified: what another member forges must not cost the true sender its
 * message. And not when memory ran out, so that one may try again. */
static enum err spend_key(struct sotto_group *g, const struct incoming *in)
{
    if (in->parsed.wire_format == WIRE_PUBLIC_MESSAGE)
        return OK;
    return secret_tree_use(g->mls->crypto, g->epoch.ratchets, in->sender.index,
                           ratchet_of(in->ac.content.type),
                           in->sender_data.generation);
}

static enum err give_copy(struct bytes from, struct sotto_buf *out)
{
    CLEANUP(buf_clear) struct buf copy = buf_new(MLS_MESSAGE_MAX);
    TRY(buf_copy(&copy, from));
    buf_give(&copy, out);
    return OK;
}

static enum err check_author(const struct incoming *in)
{
    struct proposal p = {0};
    struct reader r = reader_of(in->ac.content.body);
    proposal_read(&r, &p);
    TRY(reader_finish(&r));
    return proposal_may_come_from(p.type, in->ac.content.sender.type)
               ? OK
               : ERR_INVALID;
}

/* Keeps a proposal. Whether it can be committed is known only together with
 * the rest of a list, so the commit decides. */
static enum err keep_proposal(struct sotto_group *g, struct incoming *in,
                              struct sotto_result *out)
{
    struct digest ref = {0};

    TRY(check_author(in));
    TRY(group_proposal_ref(g, &in->ac, &ref));
    if (cache_find(g, digest_bytes(&ref)) != NULL) {
        in->outcome = SOTTO_DUPLICATE;
        return OK;
    }
    TRY(cache_check_room(g, in->sender.type));
    TRY(give_copy(in->ac.content.body, &out->content));
    digest_out(&ref, &out->ref);
    TRY(cache_reserve(g, &in->cached));
    in->cached->ref = ref;
    in->cached->sender = in->ac.content.sender;
    in->outcome = SOTTO_PROPOSAL;
    return buf_copy(&in->cached->raw, in->ac.content.body);
}

static enum err take_commit(struct sotto_group *g, struct incoming *in,
                            struct sotto_result *out)
{
    TRY(group_stage(g, &in->ac, &out->staged));
    in->sender.index = out->staged->committer;
    in->outcome = out->staged->cannot ? SOTTO_CANNOT_APPLY : SOTTO_COMMIT;
    return OK;
}

static enum err take_application(struct sotto_group *g, struct incoming *in,
                                 struct sotto_result *out)
{
    (void)g;
    TRY(give_copy(in->ac.content.body, &out->content));
    in->outcome = SOTTO_APPLICATION;
    return OK;
}

static enum err dispatch(struct sotto_group *g, struct incoming *in,
                         struct sotto_result *out)
{
    static const struct {
        enum content_type type;
        enum err (*take)(struct sotto_group *g, struct incoming *in,
                         struct sotto_result *out);
    } rows[] = {
        {CONTENT_APPLICATION, take_application},
        {CONTENT_PROPOSAL, keep_proposal},
        {CONTENT_COMMIT, take_commit},
    };
    TRY(give_copy(in->ac.content.authenticated_data, &out->authenticated_data));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (rows[i].type == in->ac.content.type)
            return rows[i].take(g, in, out);
    return ERR_MALFORMED;
}

static enum err process(struct sotto_group *g, struct incoming *in,
                        struct sotto_result *out)
{
    TRY(parse(in));
    in->epoch = in->parsed.wire_format == WIRE_PUBLIC_MESSAGE
                    ? in->parsed.public_message.content.epoch
                    : in->parsed.private_message.epoch;
    in->outcome = place(g, in);
    if (in->outcome != 0)
        return OK;
    if (!g->active)
        return ERR_STATE;
    TRY(recognise(g, in, out));
    if (in->outcome != 0)
        return OK;
    TRY(open_content(g, in));
    if (in->outcome != 0)
        return OK;
    enum err err = dispatch(g, in, out);
    if (err == ERR_NOMEM || err == ERR_IO)
        return err;
    TRY(spend_key(g, in));
    return err;
}

/* A proposal counts when nothing can fail any more. */
static void settle_proposal(struct sotto_group *g, struct incoming *in,
                            enum err err)
{
    if (in->cached == NULL)
        return;
    if (err != OK) {
        cached_proposal_clear(in->cached);
        return;
    }
    g->proposal_count++;
    g->proposals_dirty = true;
}

enum err group_process(struct sotto_group *g, struct bytes message,
                       struct sotto_result *out)
{
    CLEANUP(sotto_result_free) struct sotto_result result = {0};
    struct incoming in = {.message = message,
                          .plain = buf_new(MLS_MESSAGE_MAX)};

    enum err err = process(g, &in, &result);
    settle_proposal(g, &in, err);
    buf_clear(&in.plain);
    TRY(err);
    result.outcome = in.outcome;
    result.epoch = in.epoch;
    result.sender = in.sender.index;
    result.sender_kind = (enum sotto_sender)in.sender.type;
    *out = result;
    result = (struct sotto_result){0}; /* handed over */
    return OK;
}
