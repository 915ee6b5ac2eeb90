/* SPDX-License-Identifier: Apache-2.0 */
#include "mls/objects.h"

#include "mls/proposal.h"

/* What was read between two such points. */
static struct bytes span_to(struct bytes start, struct bytes end)
{
    return (struct bytes){start.data, start.len - end.len};
}

struct bytes list_read(struct reader *r, size_t max,
                       void (*element)(struct reader *r))
{
    struct bytes after = reader_enter(r);
    struct bytes start = r->rest;
    for (size_t n = 0; reader_more(r); n++) {
        if (n == max)
            reader_fail(r, ERR_LIMIT);
        element(r);
    }
    struct bytes list = reader_since(r, start);
    reader_leave(r, after);
    return list;
}

/* Extensions and lists of code points: sections 7.2, 13 */

void extension_read(struct reader *r, struct extension *e)
{
    e->type = reader_u16(r);
    e->data = reader_vec(r);
}

void extension_write(struct writer *w, const struct extension *e)
{
    writer_u16(w, e->type);
    writer_vec(w, e->data);
}

bool extensions_find(struct bytes list, uint16_t type, struct bytes *data)
{
    struct reader r = reader_of(list);
    while (reader_more(&r)) {
        struct extension e;
        extension_read(&r, &e);
        if (r.err == OK && e.type == type) {
            if (data != NULL)
                *data = e.data;
            return true;
        }
    }
    return false;
}

struct bytes extensions_read(struct reader *r)
{
    struct bytes after = reader_enter(r);
    struct bytes start = r->rest;
    for (size_t n = 0; reader_more(r); n++) {
        struct bytes before = span_to(start, r->rest);
        struct extension e;
        extension_read(r, &e);
        if (n == MLS_EXTENSIONS_MAX)
            reader_fail(r, ERR_LIMIT);
        /* Quadratic, of at most MLS_EXTENSIONS_MAX. */
        if (extensions_find(before, e.type, NULL))
            reader_fail(r, ERR_MALFORMED);
    }
    struct bytes list = reader_since(r, start);
    reader_leave(r, after);
    return list;
}

struct bytes u16_list_read(struct reader *r)
{
    struct bytes list = reader_vec(r);
    if (list.len % 2 != 0)
        reader_fail(r, ERR_MALFORMED);
    if (list.len / 2 > MLS_CAPABILITIES_MAX)
        reader_fail(r, ERR_LIMIT);
    return list;
}

bool u16_list_has(struct bytes list, uint16_t v)
{
    struct reader r = reader_of(list);
    while (reader_more(&r))
        if (reader_u16(&r) == v && r.err == OK)
            return true;
    return false;
}

/* 0x0A0A, 0x1A1A, ... 0xEAEA */
bool grease_is(uint16_t v)
{
    return (v & 0x0f0f) == 0x0a0a && v >> 8 == (v & 0xff) && v != 0xfafa;
}

uint16_t grease_of(uint8_t random)
{
    return (uint16_t)(0x0a0a + 0x1010 * (random % 15));
}

void required_capabilities_read(struct reader *r,
                                struct required_capabilities *rc)
{
    rc->extensions = u16_list_read(r);
    rc->proposals = u16_list_read(r);
    rc->credentials = u16_list_read(r);
}

void required_capabilities_write(struct writer *w,
                                 const struct required_capabilities *rc)
{
    writer_vec(w, rc->extensions);
    writer_vec(w, rc->proposals);
    writer_vec(w, rc->credentials);
}

/* Credentials: section 5.3 */

static void skip_vec(struct reader *r) { (void)reader_vec(r); }

void credential_read(struct reader *r, struct credential *c)
{
    c->type = reader_u16(r);
    c->body = c->type == CREDENTIAL_X509
                  ? list_read(r, MLS_CERTIFICATES_MAX, skip_vec)
                  : reader_vec(r);
}

void credential_write(struct writer *w, const struct credential *c)
{
    writer_u16(w, c->type);
    writer_vec(w, c->body);
}

void capabilities_read(struct reader *r, struct capabilities *c)
{
    c->versions = u16_list_read(r);
    c->cipher_suites = u16_list_read(r);
    c->extensions = u16_list_read(r);
    c->proposals = u16_list_read(r);
    c->credentials = u16_list_read(r);
}

void capabilities_write(struct writer *w, const struct capabilities *c)
{
    writer_vec(w, c->versions);
    writer_vec(w, c->cipher_suites);
    writer_vec(w, c->extensions);
    writer_vec(w, c->proposals);
    writer_vec(w, c->credentials);
}

/* Nodes: sections 7.1, 7.2 */

void leaf_node_read(struct reader *r, struct leaf_node *leaf)
{
    struct bytes start = r->rest;
    *leaf = (struct leaf_node){0};
    leaf->encryption_key = reader_vec(r);
    leaf->signature_key = reader_vec(r);
    credential_read(r, &leaf->credential);
    capabilities_read(r, &leaf->capabilities);
    leaf->source = reader_u8(r);
    switch (leaf->source) {
    case LEAF_KEY_PACKAGE:
        leaf->not_before = reader_u64(r);
        leaf->not_after = reader_u64(r);
        break;
    case LEAF_UPDATE:
        break;
    case LEAF_COMMIT:
        leaf->parent_hash = reader_vec(r);
        break;
    default: /* a byte from outside may be no enumerator */
        reader_fail(r, ERR_MALFORMED);
    }
    leaf->extensions = extensions_read(r);
    leaf->signed_part = reader_since(r, start);
    leaf->signature = reader_vec(r);
    leaf->raw = reader_since(r, start);
}

void leaf_node_write_unsigned(struct writer *w, const struct leaf_node *leaf)
{
    writer_vec(w, leaf->encryption_key);
    writer_vec(w, leaf->signature_key);
    credential_write(w, &leaf->credential);
    capabilities_write(w, &leaf->capabilities);
    writer_u8(w, (uint8_t)leaf->source);
    switch (leaf->source) {
    case LEAF_KEY_PACKAGE:
        writer_u64(w, leaf->not_before);
        writer_u64(w, leaf->not_after);
        break;
    case LEAF_UPDATE:
        break;
    case LEAF_COMMIT:
        writer_vec(w, leaf->parent_hash);
        break;
    }
    writer_vec(w, leaf->extensions);
}

void leaf_node_write(struct writer *w, const struct leaf_node *leaf)
{
    leaf_node_write_unsigned(w, leaf);
    writer_vec(w, leaf->signature);
}

void leaf_node_write_tbs(struct writer *w, const struct leaf_node *leaf,
                         struct bytes group_id, uint32_t leaf_index)
{
    if (leaf->signed_part.len > 0)
        writer_raw(w, leaf->signed_part);
    else
        leaf_node_write_unsigned(w, leaf);
    if (leaf->source == LEAF_KEY_PACKAGE)
        return;
    writer_vec(w, group_id);
    writer_u32(w, leaf_index);
}

/* "The vector of indices MUST be sorted in increasing order" (section 7.1) */
static struct bytes unmerged_leaves_read(struct reader *r)
{
    struct bytes after = reader_enter(r);
    struct bytes start = r->rest;
    uint64_t at_least = 0;
    while (reader_more(r)) {
        uint32_t leaf = reader_u32(r);
        if (leaf < at_least)
            reader_fail(r, ERR_MALFORMED);
        at_least = (uint64_t)leaf + 1;
    }
    struct bytes list = reader_since(r, start);
    reader_leave(r, after);
    return list;
}

void parent_node_read(struct reader *r, struct parent_node *parent)
{
    parent->encryption_key = reader_vec(r);
    parent->parent_hash = reader_vec(r);
    parent->unmerged_leaves = unmerged_leaves_read(r);
}

/* KeyPackage: section 10 */

void key_package_read(struct reader *r, struct key_package *kp)
{
    struct bytes start = r->rest;
    kp->version = reader_u16(r);
    kp->cipher_suite = reader_u16(r);
    kp->init_key = reader_vec(r);
    leaf_node_read(r, &kp->leaf);
    kp->extensions = extensions_read(r);
    kp->signed_part = reader_since(r, start);
    kp->signature = reader_vec(r);
    kp->raw = reader_since(r, start);
}

void key_package_write_unsigned(struct writer *w, const struct key_package *kp)
{
    writer_u16(w, kp->version);
    writer_u16(w, kp->cipher_suite);
    writer_vec(w, kp->init_key);
    leaf_node_write(w, &kp->leaf);
    writer_vec(w, kp->extensions);
}

void key_package_write(struct writer *w, const struct key_package *kp)
{
    key_package_write_unsigned(w, kp);
    writer_vec(w, kp->signature);
}

/* Commit paths: section 7.6 */

void hpke_ciphertext_read(struct reader *r, struct hpke_ciphertext *c)
{
    c->kem_output = reader_vec(r);
    c->ciphertext = reader_vec(r);
}

void hpke_ciphertext_write(struct writer *w, const struct hpke_ciphertext *c)
{
    writer_vec(w, c->kem_output);
    writer_vec(w, c->ciphertext);
}

static void hpke_ciphertext_skip(struct reader *r)
{
    struct hpke_ciphertext c;
    hpke_ciphertext_read(r, &c);
}

void update_path_node_read(struct reader *r, struct update_path_node *n)
{
    n->encryption_key = reader_vec(r);
    n->ciphertexts = list_read(r, MLS_LEAVES_MAX, hpke_ciphertext_skip);
}

static void update_path_node_skip(struct reader *r)
{
    struct update_path_node n;
    update_path_node_read(r, &n);
}

void update_path_read(struct reader *r, struct update_path *path)
{
    struct bytes start = r->rest;
    leaf_node_read(r, &path->leaf);
    path->nodes = list_read(r, MLS_LEVELS_MAX, update_path_node_skip);
    path->raw = reader_since(r, start);
}

void update_path_write(struct writer *w, const struct update_path *path)
{
    leaf_node_write(w, &path->leaf);
    writer_vec(w, path->nodes);
}

/* GroupContext, GroupInfo, Welcome: sections 8.1, 12.4.3 */

void group_context_read(struct reader *r, struct group_context *gc)
{
    struct bytes start = r->rest;
    gc->version = reader_u16(r);
    gc->cipher_suite = reader_u16(r);
    gc->group_id = reader_vec(r);
    gc->epoch = reader_u64(r);
    gc->tree_hash = reader_vec(r);
    gc->confirmed_transcript_hash = reader_vec(r);
    gc->extensions = extensions_read(r);
    gc->raw = reader_since(r, start);
}

void group_context_write(struct writer *w, const struct group_context *gc)
{
    writer_u16(w, gc->version);
    writer_u16(w, gc->cipher_suite);
    writer_vec(w, gc->group_id);
    writer_u64(w, gc->epoch);
    writer_vec(w, gc->tree_hash);
    writer_vec(w, gc->confirmed_transcript_hash);
    writer_vec(w, gc->extensions);
}

void group_info_read(struct reader *r, struct group_info *gi)
{
    struct bytes start = r->rest;
    group_context_read(r, &gi->context);
    gi->extensions = extensions_read(r);
    gi->confirmation_tag = reader_vec(r);
    gi->signer = reader_u32(r);
    gi->signed_part = reader_since(r, start);
    gi->signature = reader_vec(r);
    gi->raw = reader_since(r, start);
}

void group_info_write_unsigned(struct writer *w, const struct group_info *gi)
{
    group_context_write(w, &gi->context);
    writer_vec(w, gi->extensions);
    writer_vec(w, gi->confirmation_tag);
    writer_u32(w, gi->signer);
}

void group_info_write(struct writer *w, const struct group_info *gi)
{
    group_info_write_unsigned(w, gi);
    writer_vec(w, gi->signature);
}

void secret_read(struct reader *r, struct secret *s)
{
    enum err err = secret_set(s, reader_vec(r));
    if (err != OK)
        reader_fail(r, err);
}

void secret_write(struct writer *w, const struct secret *s)
{
    writer_vec(w, secret_expose(s));
}

bool bool_read(struct reader *r)
{
    uint8_t present = reader_u8(r);
    if (present > 1)
        reader_fail(r, ERR_MALFORMED);
    return r->err == OK && present == 1;
}

static void psk_id_skip(struct reader *r)
{
    struct psk_id id;
    psk_id_read(r, &id);
}

void group_secrets_read(struct reader *r, struct group_secrets *gs)
{
    secret_read(r, &gs->joiner_secret);
    gs->has_path_secret = bool_read(r);
    if (gs->has_path_secret)
        secret_read(r, &gs->path_secret);
    gs->psks = list_read(r, MLS_PSKS_MAX, psk_id_skip);
}

void group_secrets_write(struct writer *w, const struct group_secrets *gs)
{
    secret_write(w, &gs->joiner_secret);
    writer_u8(w, gs->has_path_secret);
    if (gs->has_path_secret)
        secret_write(w, &gs->path_secret);
    writer_vec(w, gs->psks);
}

void group_secrets_clear(struct group_secrets *gs)
{
    secret_clear(&gs->joiner_secret);
    secret_clear(&gs->path_secret);
    *gs = (struct group_secrets){0};
}

void encrypted_group_secrets_read(struct reader *r,
                                  struct encrypted_group_secrets *egs)
{
    egs->new_member = reader_vec(r);
    hpke_ciphertext_read(r, &egs->secrets);
}

void encrypted_group_secrets_write(struct writer *w,
                                   const struct encrypted_group_secrets *egs)
{
    writer_vec(w, egs->new_member);
    hpke_ciphertext_write(w, &egs->secrets);
}

static void encrypted_group_secrets_skip(struct reader *r)
{
    struct encrypted_group_secrets egs;
    encrypted_group_secrets_read(r, &egs);
}

void welcome_read(struct reader *r, struct welcome *w)
{
    struct bytes start = r->rest;
    w->cipher_suite = reader_u16(r);
    w->secrets = list_read(r, MLS_LEAVES_MAX, encrypted_group_secrets_skip);
    w->encrypted_group_info = reader_vec(r);
    w->raw = reader_since(r, start);
}

void welcome_write(struct writer *w, const struct welcome *wel)
{
    writer_u16(w, wel->cipher_suite);
    writer_vec(w, wel->secrets);
    writer_vec(w, wel->encrypted_group_info);
}

enum err welcome_find(const struct welcome *w, struct bytes ref,
                      struct encrypted_group_secrets *out)
{
    struct reader r = reader_of(w->secrets);
    while (reader_more(&r)) {
        struct encrypted_group_secrets egs;
        encrypted_group_secrets_read(&r, &egs);
        if (r.err == OK && bytes_equal(egs.new_member, ref)) {
            *out = egs;
            return OK;
        }
    }
    return r.err == OK ? ERR_NOTFOUND : r.err;
}

void external_sender_read(struct reader *r, struct external_sender *s)
{
    s->signature_key = reader_vec(r);
    credential_read(r, &s->credential);
}

void external_sender_write(struct writer *w, const struct external_sender *s)
{
    writer_vec(w, s->signature_key);
    credential_write(w, &s->credential);
}

enum err external_sender_at(struct bytes data, uint32_t i,
                            struct external_sender *out)
{
    struct reader r = reader_of(data);
    struct bytes after = reader_enter(&r);
    for (uint32_t k = 0; reader_more(&r); k++) {
        struct external_sender sender = {0};
        external_sender_read(&r, &sender);
        if (r.err == OK && k == i) {
            *out = sender;
            return OK;
        }
    }
    reader_leave(&r, after);
    TRY(reader_finish(&r));
    return ERR_NOTFOUND;
}
