/* SPDX-License-Identifier: Apache-2.0 */
#include "mls/messages.h"

void sender_read(struct reader *r, struct sender *s)
{
    *s = (struct sender){.type = reader_u8(r)};
    switch (s->type) {
    case SENDER_MEMBER:
    case SENDER_EXTERNAL:
        s->index = reader_u32(r);
        break;
    case SENDER_NEW_MEMBER_PROPOSAL:
    case SENDER_NEW_MEMBER_COMMIT:
        break;
    default: /* a byte from outside may be no enumerator */
        reader_fail(r, ERR_MALFORMED);
    }
}

void sender_write(struct writer *w, const struct sender *s)
{
    writer_u8(w, (uint8_t)s->type);
    if (s->type == SENDER_MEMBER || s->type == SENDER_EXTERNAL)
        writer_u32(w, s->index);
}

/* The body of a content, whose type stands elsewhere. */
static struct bytes body_read(struct reader *r, enum content_type type)
{
    struct bytes start = r->rest;
    struct proposal proposal;
    struct commit commit;
    switch (type) {
    case CONTENT_APPLICATION:
        return reader_vec(r);
    case CONTENT_PROPOSAL:
        proposal_read(r, &proposal);
        break;
    case CONTENT_COMMIT:
        commit_read(r, &commit);
        break;
    default: /* a byte from outside may be no enumerator */
        reader_fail(r, ERR_MALFORMED);
    }
    return reader_since(r, start);
}

static void body_write(struct writer *w, enum content_type type,
                       struct bytes body)
{
    if (type == CONTENT_APPLICATION)
        writer_vec(w, body);
    else
        writer_raw(w, body);
}

void framed_content_read(struct reader *r, struct framed_content *c)
{
    struct bytes start = r->rest;
    c->group_id = reader_vec(r);
    c->epoch = reader_u64(r);
    sender_read(r, &c->sender);
    c->authenticated_data = reader_vec(r);
    c->type = reader_u8(r);
    c->body = body_read(r, c->type);
    c->raw = reader_since(r, start);
}

void framed_content_write(struct writer *w, const struct framed_content *c)
{
    writer_vec(w, c->group_id);
    writer_u64(w, c->epoch);
    sender_write(w, &c->sender);
    writer_vec(w, c->authenticated_data);
    writer_u8(w, (uint8_t)c->type);
    body_write(w, c->type, c->body);
}

void content_auth_read(struct reader *r, enum content_type type,
                       struct content_auth *a)
{
    *a = (struct content_auth){.signature = reader_vec(r)};
    if (type == CONTENT_COMMIT)
        a->confirmation_tag = reader_vec(r);
}

void content_auth_write(struct writer *w, enum content_type type,
                        const struct content_auth *a)
{
    writer_vec(w, a->signature);
    if (type == CONTENT_COMMIT)
        writer_vec(w, a->confirmation_tag);
}

void authenticated_content_read(struct reader *r,
                                struct authenticated_content *ac)
{
    ac->wire_format = reader_u16(r);
    framed_content_read(r, &ac->content);
    content_auth_read(r, ac->content.type, &ac->auth);
}

void authenticated_content_write(struct writer *w,
                                 const struct authenticated_content *ac)
{
    writer_u16(w, (uint16_t)ac->wire_format);
    framed_content_write(w, &ac->content);
    content_auth_write(w, ac->content.type, &ac->auth);
}

void public_message_read(struct reader *r, struct public_message *m)
{
    *m = (struct public_message){0};
    framed_content_read(r, &m->content);
    content_auth_read(r, m->content.type, &m->auth);
    if (m->content.sender.type == SENDER_MEMBER)
        m->membership_tag = reader_vec(r);
}

void public_message_write(struct writer *w, const struct public_message *m)
{
    framed_content_write(w, &m->content);
    content_auth_write(w, m->content.type, &m->auth);
    if (m->content.sender.type == SENDER_MEMBER)
        writer_vec(w, m->membership_tag);
}

void private_message_read(struct reader *r, struct private_message *m)
{
    m->group_id = reader_vec(r);
    m->epoch = reader_u64(r);
    m->type = reader_u8(r);
    if (m->type < CONTENT_APPLICATION || m->type > CONTENT_COMMIT)
        reader_fail(r, ERR_MALFORMED);
    m->authenticated_data = reader_vec(r);
    m->encrypted_sender_data = reader_vec(r);
    m->ciphertext = reader_vec(r);
}

void private_message_write(struct writer *w, const struct private_message *m)
{
    writer_vec(w, m->group_id);
    writer_u64(w, m->epoch);
    writer_u8(w, (uint8_t)m->type);
    writer_vec(w, m->authenticated_data);
    writer_vec(w, m->encrypted_sender_data);
    writer_vec(w, m->ciphertext);
}

/* "The padding field is set to all zeros" and a receiver checks it (section
 * 6.3.1), in one pass over all of it. */
void private_content_read(struct reader *r, enum content_type type,
                          struct private_content *c)
{
    c->body = body_read(r, type);
    content_auth_read(r, type, &c->auth);
    struct bytes padding = reader_raw(r, r->rest.len);
    if (!secret_zero_bytes(padding))
        reader_fail(r, ERR_MALFORMED);
    c->padding = padding.len;
}

void private_content_write(struct writer *w, enum content_type type,
                           const struct private_content *c)
{
    static const uint8_t zeros[256];
    body_write(w, type, c->body);
    content_auth_write(w, type, &c->auth);
    for (size_t left = c->padding; left > 0;) {
        size_t n = left < sizeof zeros ? left : sizeof zeros;
        writer_raw(w, (struct bytes){zeros, n});
        left -= n;
    }
}

void sender_data_read(struct reader *r, struct sender_data *s)
{
    s->leaf_index = reader_u32(r);
    s->generation = reader_u32(r);
    struct bytes guard = reader_raw(r, REUSE_GUARD_SIZE);
    for (size_t i = 0; i < guard.len; i++)
        s->reuse_guard[i] = guard.data[i];
}

void sender_data_write(struct writer *w, const struct sender_data *s)
{
    writer_u32(w, s->leaf_index);
    writer_u32(w, s->generation);
    writer_raw(w, BYTES_ARRAY(s->reuse_guard));
}

void mls_message_read(struct reader *r, struct mls_message *m)
{
    if (reader_u16(r) != MLS_VERSION_10)
        reader_fail(r, ERR_MALFORMED);
    m->wire_format = reader_u16(r);
    switch (m->wire_format) {
    case WIRE_PUBLIC_MESSAGE:
        public_message_read(r, &m->public_message);
        break;
    case WIRE_PRIVATE_MESSAGE:
        private_message_read(r, &m->private_message);
        break;
    case WIRE_WELCOME:
        welcome_read(r, &m->welcome);
        break;
    case WIRE_GROUP_INFO:
        group_info_read(r, &m->group_info);
        break;
    case WIRE_KEY_PACKAGE:
        key_package_read(r, &m->key_package);
        break;
    default: /* a number from outside may be no enumerator */
        reader_fail(r, ERR_MALFORMED);
    }
}

void mls_message_write_header(struct writer *w, enum wire_format wf)
{
    writer_u16(w, MLS_VERSION_10);
    writer_u16(w, (uint16_t)wf);
}

void mls_message_write(struct writer *w, const struct mls_message *m)
{
    mls_message_write_header(w, m->wire_format);
    switch (m->wire_format) {
    case WIRE_PUBLIC_MESSAGE:
        public_message_write(w, &m->public_message);
        break;
    case WIRE_PRIVATE_MESSAGE:
        private_message_write(w, &m->private_message);
        break;
    case WIRE_WELCOME:
        welcome_write(w, &m->welcome);
        break;
    case WIRE_GROUP_INFO:
        group_info_write(w, &m->group_info);
        break;
    case WIRE_KEY_PACKAGE:
        key_package_write(w, &m->key_package);
        break;
    }
}
