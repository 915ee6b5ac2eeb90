/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/hello.h"

#include "identity/labels.h"

#define SIGNED_MAX ((size_t)2 * STATE_SIZE_MAX)

/*
 *     struct {
 *         uint8 lane;
 *         opaque server_key[32];
 *         opaque client_nonce[32];
 *         opaque server_nonce[32];
 *         opaque exporter[32];       zeros when there is none
 *     } Session;
 *
 * begins whatever is signed on a connection.
 */
static void session_write(struct writer *w, const struct session *s)
{
    static const uint8_t zeros[EXPORTER_SIZE];
    writer_u8(w, s->lane);
    writer_raw(w, s->server_key);
    writer_raw(w, s->client_nonce);
    writer_raw(w, s->server_nonce);
    writer_raw(w, s->exporter.len > 0 ? s->exporter : BYTES_ARRAY(zeros));
}

/* ERR_INVALID: a caller that passes a part of a wrong size would sign
 * something that could be read in two ways. */
static enum err session_check(const struct session *s)
{
    bool ok = s->server_key.len == KEY_SIZE &&
              s->client_nonce.len == NONCE_SIZE &&
              s->server_nonce.len == NONCE_SIZE &&
              (s->exporter.len == 0 || s->exporter.len == EXPORTER_SIZE);
    return ok ? OK : ERR_INVALID;
}

/* struct { Session; uint16 version; uint64 time; uint8 pow_bits;
 *          uint32 reconnect_delay_ms; } */
static enum err hello_content(const struct session *s,
                              const struct hello_answer *a, struct buf *out)
{
    struct writer w = writer_to(out);
    TRY(session_check(s));
    session_write(&w, s);
    writer_u16(&w, a->version);
    writer_u64(&w, a->time);
    writer_u8(&w, a->pow_bits);
    writer_u32(&w, a->reconnect_delay_ms);
    return writer_finish(&w);
}

enum err hello_sign(struct crypto *c, const struct secret *server_key,
                    const struct session *s, const struct hello_answer *answer,
                    struct buf *out_signature)
{
    CLEANUP(buf_clear) struct buf content = buf_new(SIGNED_MAX);
    TRY(hello_content(s, answer, &content));
    return label_sign(c, LABEL_SERVER_HELLO, server_key, buf_bytes(&content),
                      out_signature);
}

enum err hello_verify(struct crypto *c, const struct session *s,
                      const struct hello_answer *answer)
{
    CLEANUP(buf_clear) struct buf content = buf_new(SIGNED_MAX);
    if (!bytes_equal(answer->server_key, s->server_key) ||
        !bytes_equal(answer->server_nonce, s->server_nonce))
        return ERR_AUTH;
    TRY(hello_content(s, answer, &content));
    return label_verify(c, LABEL_SERVER_HELLO, s->server_key,
                        buf_bytes(&content), answer->signature);
}

/* struct { Session; opaque name<V>; opaque invite<V>; opaque state<V>;
 *          opaque device_id[32]; opaque contact_hash[32]; } */
static enum err register_content(const struct session *s,
                                 const struct register_request *q,
                                 struct buf *out)
{
    struct writer w = writer_to(out);
    TRY(session_check(s));
    session_write(&w, s);
    writer_vec(&w, q->name);
    writer_vec(&w, q->invite);
    writer_vec(&w, q->state);
    writer_raw(&w, q->device_id);
    writer_raw(&w, q->contact_hash);
    return writer_finish(&w);
}

enum err register_sign(struct crypto *c, const struct secret *device,
                       const struct session *s,
                       const struct register_request *q,
                       struct buf *out_signature)
{
    CLEANUP(buf_clear) struct buf content = buf_new(SIGNED_MAX);
    TRY(register_content(s, q, &content));
    return label_sign(c, LABEL_REGISTER, device, buf_bytes(&content),
                      out_signature);
}

enum err register_verify(struct crypto *c, struct bytes device_key,
                         const struct session *s,
                         const struct register_request *q)
{
    CLEANUP(buf_clear) struct buf content = buf_new(SIGNED_MAX);
    TRY(register_content(s, q, &content));
    return label_verify(c, LABEL_REGISTER, device_key, buf_bytes(&content),
                        q->signature);
}

/* struct { Session; opaque account_id[32]; opaque device_id[32]; } */
static enum err login_content(const struct session *s,
                              const struct login_request *q, struct buf *out)
{
    struct writer w = writer_to(out);
    TRY(session_check(s));
    session_write(&w, s);
    writer_raw(&w, q->account_id);
    writer_raw(&w, q->device_id);
    return writer_finish(&w);
}

enum err login_sign(struct crypto *c, const struct secret *device,
                    const struct session *s, const struct login_request *q,
                    struct buf *out_signature)
{
    CLEANUP(buf_clear) struct buf content = buf_new(SIGNED_MAX);
    TRY(login_content(s, q, &content));
    return label_sign(c, LABEL_LOGIN, device, buf_bytes(&content),
                      out_signature);
}

enum err login_verify(struct crypto *c, struct bytes device_key,
                      const struct session *s, const struct login_request *q)
{
    CLEANUP(buf_clear) struct buf content = buf_new(SIGNED_MAX);
    TRY(login_content(s, q, &content));
    return label_verify(c, LABEL_LOGIN, device_key, buf_bytes(&content),
                        q->signature);
}
