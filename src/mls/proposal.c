/* SPDX-License-Identifier: Apache-2.0 */
#include "mls/proposal.h"

void psk_id_read(struct reader *r, struct psk_id *id)
{
    *id = (struct psk_id){0};
    id->type = reader_u8(r);
    switch (id->type) {
    case PSK_EXTERNAL:
        id->id = reader_vec(r);
        break;
    case PSK_RESUMPTION:
        id->usage = reader_u8(r);
        if (id->usage < PSK_APPLICATION || id->usage > PSK_BRANCH)
            reader_fail(r, ERR_MALFORMED);
        id->group_id = reader_vec(r);
        id->epoch = reader_u64(r);
        break;
    default: /* a byte from outside may be no enumerator */
        reader_fail(r, ERR_MALFORMED);
    }
    id->nonce = reader_vec(r);
}

void psk_id_write(struct writer *w, const struct psk_id *id)
{
    writer_u8(w, (uint8_t)id->type);
    if (id->type == PSK_EXTERNAL) {
        writer_vec(w, id->id);
    } else {
        writer_u8(w, (uint8_t)id->usage);
        writer_vec(w, id->group_id);
        writer_u64(w, id->epoch);
    }
    writer_vec(w, id->nonce);
}

static void reinit_read(struct reader *r, struct reinit *re)
{
    re->group_id = reader_vec(r);
    re->version = reader_u16(r);
    re->cipher_suite = reader_u16(r);
    re->extensions = extensions_read(r);
}

static void reinit_write(struct writer *w, const struct reinit *re)
{
    writer_vec(w, re->group_id);
    writer_u16(w, re->version);
    writer_u16(w, re->cipher_suite);
    writer_vec(w, re->extensions);
}

static void app_data_update_read(struct reader *r, struct app_data_update *u)
{
    u->component_id = reader_u16(r);
    u->op = reader_u8(r);
    if (u->op == APP_DATA_UPDATE)
        u->update = reader_vec(r);
    else if (u->op != APP_DATA_REMOVE)
        reader_fail(r, ERR_MALFORMED);
}

static void app_data_update_write(struct writer *w,
                                  const struct app_data_update *u)
{
    writer_u16(w, u->component_id);
    writer_u8(w, (uint8_t)u->op);
    if (u->op == APP_DATA_UPDATE)
        writer_vec(w, u->update);
}

/* One codec for each type; a type without a row is one vector. */

static void add_read(struct reader *r, struct proposal *p)
{
    key_package_read(r, &p->add);
}
static void add_write(struct writer *w, const struct proposal *p)
{
    key_package_write(w, &p->add);
}
static void update_read(struct reader *r, struct proposal *p)
{
    leaf_node_read(r, &p->update);
}
static void update_write(struct writer *w, const struct proposal *p)
{
    leaf_node_write(w, &p->update);
}
static void remove_read(struct reader *r, struct proposal *p)
{
    p->remove = reader_u32(r);
}
static void remove_write(struct writer *w, const struct proposal *p)
{
    writer_u32(w, p->remove);
}
static void psk_read(struct reader *r, struct proposal *p)
{
    psk_id_read(r, &p->psk);
}
static void psk_write(struct writer *w, const struct proposal *p)
{
    psk_id_write(w, &p->psk);
}
static void reinit_body_read(struct reader *r, struct proposal *p)
{
    reinit_read(r, &p->reinit);
}
static void reinit_body_write(struct writer *w, const struct proposal *p)
{
    reinit_write(w, &p->reinit);
}
static void external_init_read(struct reader *r, struct proposal *p)
{
    p->kem_output = reader_vec(r);
}
static void external_init_write(struct writer *w, const struct proposal *p)
{
    writer_vec(w, p->kem_output);
}
static void context_read(struct reader *r, struct proposal *p)
{
    p->extensions = extensions_read(r);
}
static void context_write(struct writer *w, const struct proposal *p)
{
    writer_vec(w, p->extensions);
}
static void app_data_read(struct reader *r, struct proposal *p)
{
    app_data_update_read(r, &p->app_data_update);
}
static void app_data_write(struct writer *w, const struct proposal *p)
{
    app_data_update_write(w, &p->app_data_update);
}
static void app_ephemeral_read(struct reader *r, struct proposal *p)
{
    p->app_ephemeral.component_id = reader_u16(r);
    p->app_ephemeral.data = reader_vec(r);
}
static void app_ephemeral_write(struct writer *w, const struct proposal *p)
{
    writer_u16(w, p->app_ephemeral.component_id);
    writer_vec(w, p->app_ephemeral.data);
}
/* SelfRemove is an empty struct. */
static void self_remove_read(struct reader *r, struct proposal *p)
{
    (void)r;
    (void)p;
}
static void self_remove_write(struct writer *w, const struct proposal *p)
{
    (void)w;
    (void)p;
}
static void other_read(struct reader *r, struct proposal *p)
{
    p->other = reader_vec(r);
}
static void other_write(struct writer *w, const struct proposal *p)
{
    writer_vec(w, p->other);
}

struct codec {
    void (*read)(struct reader *r, struct proposal *p);
    void (*write)(struct writer *w, const struct proposal *p);
};

static const struct codec codecs[] = {
    [0] = {other_read, other_write},
    [PROPOSAL_ADD] = {add_read, add_write},
    [PROPOSAL_UPDATE] = {update_read, update_write},
    [PROPOSAL_REMOVE] = {remove_read, remove_write},
    [PROPOSAL_PSK] = {psk_read, psk_write},
    [PROPOSAL_REINIT] = {reinit_body_read, reinit_body_write},
    [PROPOSAL_EXTERNAL_INIT] = {external_init_read, external_init_write},
    [PROPOSAL_GROUP_CONTEXT_EXTENSIONS] = {context_read, context_write},
    [PROPOSAL_APP_DATA_UPDATE] = {app_data_read, app_data_write},
    [PROPOSAL_APP_EPHEMERAL] = {app_ephemeral_read, app_ephemeral_write},
    [PROPOSAL_SELF_REMOVE] = {self_remove_read, self_remove_write},
};

static const struct codec *codec_of(uint16_t type)
{
    return &codecs[type < sizeof codecs / sizeof *codecs ? type : 0];
}

void proposal_read(struct reader *r, struct proposal *p)
{
    struct bytes start = r->rest;
    *p = (struct proposal){.type = reader_u16(r)};
    codec_of(p->type)->read(r, p);
    p->raw = reader_since(r, start);
}

void proposal_write(struct writer *w, const struct proposal *p)
{
    writer_u16(w, p->type);
    codec_of(p->type)->write(w, p);
}

enum {
    BY_VALUE = 1,
    BY_REFERENCE = 2
};

void proposal_or_ref_read(struct reader *r, struct proposal_or_ref *p)
{
    uint8_t type = reader_u8(r);
    p->by_reference = type == BY_REFERENCE;
    if (p->by_reference)
        p->reference = reader_vec(r);
    else if (type == BY_VALUE)
        proposal_read(r, &p->proposal);
    else
        reader_fail(r, ERR_MALFORMED);
}

void proposal_or_ref_write(struct writer *w, const struct proposal_or_ref *p)
{
    writer_u8(w, p->by_reference ? BY_REFERENCE : BY_VALUE);
    if (p->by_reference)
        writer_vec(w, p->reference);
    else
        proposal_write(w, &p->proposal);
}

static void proposal_or_ref_skip(struct reader *r)
{
    struct proposal_or_ref p;
    proposal_or_ref_read(r, &p);
}

void commit_read(struct reader *r, struct commit *c)
{
    struct bytes start = r->rest;
    *c = (struct commit){0};
    c->proposals = list_read(r, MLS_PROPOSALS_MAX, proposal_or_ref_skip);
    c->has_path = bool_read(r);
    if (c->has_path)
        update_path_read(r, &c->path);
    c->raw = reader_since(r, start);
}

void commit_write(struct writer *w, const struct commit *c)
{
    writer_vec(w, c->proposals);
    writer_u8(w, c->has_path);
    if (c->has_path)
        update_path_write(w, &c->path);
}
