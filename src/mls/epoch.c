/* SPDX-License-Identifier: Apache-2.0 */
#include "mls/epoch.h"

#include <string.h>

struct epoch epoch_new(const struct suite *s)
{
    return (struct epoch){.suite = s, .context = buf_new(MLS_MESSAGE_MAX)};
}

void epoch_clear(struct epoch *e)
{
    buf_clear(&e->context);
    tree_free(&e->tree);
    treekem_private_clear(&e->keys);
    secret_clear(&e->signature_key);
    epoch_secrets_clear(&e->secrets);
    secret_tree_free(&e->ratchets);
    exporter_free(&e->exporter);
    *e = epoch_new(e->suite);
}

void epoch_move(struct epoch *to, struct epoch *from)
{
    epoch_clear(to);
    *to = *from;
    /* The struct holds secrets inline: leave no second copy of them. */
    const struct suite *s = from->suite;
    explicit_bzero(from, sizeof(*from));
    *from = epoch_new(s);
}

enum err epoch_set_context(struct epoch *e, const struct group_context *gc)
{
    CLEANUP(buf_clear) struct buf encoded = buf_new(MLS_MESSAGE_MAX);
    struct group_context fields = {0};

    struct writer w = writer_to(&encoded);
    group_context_write(&w, gc);
    TRY(writer_finish(&w));
    struct reader r = reader_of(buf_bytes(&encoded));
    group_context_read(&r, &fields);
    TRY(reader_finish(&r));

    buf_clear(&e->context);
    e->context = encoded;
    e->fields = fields;
    encoded = buf_new(0); /* handed over */
    return OK;
}

enum err epoch_provisional(struct crypto *c, const struct epoch *from,
                           struct bytes extensions, struct epoch *next)
{
    struct digest root = {0};
    TRY(tree_hash(c, next->tree, &root));
    struct group_context gc = from->fields;
    gc.epoch++;
    gc.tree_hash = digest_bytes(&root);
    gc.extensions = extensions;
    return epoch_set_context(next, &gc);
}

enum err epoch_advance(struct crypto *c, const struct epoch *from,
                       const struct authenticated_content *commit,
                       const struct epoch_inputs *in, struct epoch *next,
                       struct secret *out_joiner)
{
    const struct suite *s = from->suite;
    struct digest confirmed = {0};

    TRY(transcript_confirmed(c, s, digest_bytes(&from->interim_transcript_hash),
                             commit, &confirmed));
    struct group_context gc = next->fields;
    gc.confirmed_transcript_hash = digest_bytes(&confirmed);
    TRY(epoch_set_context(next, &gc));
    TRY(schedule_joiner(c, s, in->init_secret, in->commit_secret,
                        buf_bytes(&next->context), out_joiner));
    return schedule_epoch(c, s, out_joiner, in->psk_secret,
                          buf_bytes(&next->context), &next->secrets);
}

enum err epoch_confirm(struct crypto *c, const struct epoch *e,
                       struct digest *out_tag)
{
    return schedule_mac(c, e->suite, &e->secrets.confirmation_key,
                        e->fields.confirmed_transcript_hash, out_tag);
}

enum err epoch_check_tag(struct crypto *c, const struct epoch *e,
                         struct bytes tag)
{
    return schedule_mac_verify(c, e->suite, &e->secrets.confirmation_key,
                               e->fields.confirmed_transcript_hash, tag);
}

enum err digest_set(struct digest *d, struct bytes b)
{
    if (b.len > sizeof(d->data))
        return ERR_MALFORMED;
    if (b.len > 0)
        memcpy(d->data, b.data, b.len);
    d->len = b.len;
    return OK;
}

enum err epoch_set_tag(struct crypto *c, struct epoch *e, struct bytes tag)
{
    TRY(digest_set(&e->confirmation_tag, tag));
    return transcript_interim(c, e->suite, e->fields.confirmed_transcript_hash,
                              tag, &e->interim_transcript_hash);
}

enum err epoch_open_ratchets(struct crypto *c, struct epoch *e)
{
    CLEANUP(exporter_free) struct exporter *x = NULL;
    struct secret *root = &e->secrets.application_export_secret;
    if (root->len > 0)
        TRY(exporter_create(e->suite, root, &x));
    TRY(secret_tree_create(c, e->suite, &e->secrets.encryption_secret,
                           tree_leaves(e->tree), e->keys.leaf, &e->ratchets));
    secret_clear(root);
    e->exporter = x;
    x = NULL; /* handed over */
    return OK;
}

void epoch_write(struct writer *w, const struct epoch *e)
{
    writer_u16(w, (uint16_t)e->suite->id);
    writer_vec(w, buf_bytes(&e->context));
    writer_vec(w, digest_bytes(&e->confirmation_tag));
    writer_vec(w, digest_bytes(&e->interim_transcript_hash));
    writer_vec(w, secret_expose(&e->signature_key));
    treekem_private_write(w, &e->keys);
    epoch_secrets_write(w, &e->secrets);
    size_t start = writer_enter(w);
    tree_write(w, e->tree);
    writer_leave(w, start);
}

static enum err context_read(struct bytes encoded, struct epoch *e)
{
    struct group_context gc = {0};
    struct reader r = reader_of(encoded);
    group_context_read(&r, &gc);
    TRY(reader_finish(&r));
    if (gc.cipher_suite != e->suite->id)
        return ERR_MALFORMED;
    return epoch_set_context(e, &gc);
}

enum err epoch_read(struct reader *r, struct epoch *out)
{
    const struct suite *s = suite_find(reader_u16(r));
    if (s == NULL)
        return r->err != OK ? r->err : ERR_MALFORMED;
    CLEANUP(epoch_clear) struct epoch e = epoch_new(s);

    struct bytes context = reader_vec(r);
    struct bytes tag = reader_vec(r);
    struct bytes interim = reader_vec(r);
    struct bytes signature_key = reader_vec(r);
    treekem_private_read(r, &e.keys);
    epoch_secrets_read(r, &e.secrets);
    struct bytes tree = reader_vec(r);
    TRY(r->err);

    TRY(context_read(context, &e));
    TRY(digest_set(&e.confirmation_tag, tag));
    TRY(digest_set(&e.interim_transcript_hash, interim));
    TRY(secret_set(&e.signature_key, signature_key));
    TRY(tree_read(s, tree, &e.tree));
    if (e.keys.leaf >= tree_leaves(e.tree) ||
        tree_leaf(e.tree, e.keys.leaf) == NULL)
        return ERR_MALFORMED;
    epoch_move(out, &e);
    return OK;
}
