/* SPDX-License-Identifier: Apache-2.0 */
/* The installed header: encoded lists that it lends and takes. */
#include "mls/rules.h"

enum sotto_err sotto_extension_at(struct sotto_bytes extensions, size_t i,
                                  struct sotto_extension *out)
{
    if (bad_view(extensions) || out == NULL)
        return SOTTO_ERR_USAGE;
    struct reader r = reader_of(bytes_in(extensions));
    struct extension e = {0};
    for (size_t k = 0; reader_more(&r); k++) {
        extension_read(&r, &e);
        if (k == i && r.err == OK) {
            *out = (struct sotto_extension){e.type, bytes_out(e.data)};
            return SOTTO_OK;
        }
    }
    return r.err != OK ? err_out(r.err) : SOTTO_ERR_NOTFOUND;
}

enum sotto_err sotto_extension_find(struct sotto_bytes extensions,
                                    uint16_t type, struct sotto_bytes *out)
{
    struct sotto_extension e = {0};
    if (out == NULL)
        return SOTTO_ERR_USAGE;
    for (size_t i = 0;; i++) {
        enum sotto_err err = sotto_extension_at(extensions, i, &e);
        if (err != SOTTO_OK)
            return err;
        if (e.type == type) {
            *out = e.data;
            return SOTTO_OK;
        }
    }
}

bool sotto_capability_has(struct sotto_bytes list, uint16_t type)
{
    return capability_has(bytes_in(list), type);
}

static enum err senders_encode(const struct sotto_credential *senders,
                               size_t count, struct buf *out)
{
    struct writer w = writer_to(out);
    size_t start = writer_enter(&w);
    for (size_t i = 0; i < count; i++) {
        struct external_sender s = {
            bytes_in(senders[i].signature_key),
            {senders[i].type, bytes_in(senders[i].identity)}};
        external_sender_write(&w, &s);
    }
    writer_leave(&w, start);
    return writer_finish(&w);
}

enum sotto_err
sotto_external_senders_encode(const struct sotto_credential *senders,
                              size_t count, struct sotto_buf *out)
{
    if ((senders == NULL && count > 0) || out == NULL)
        return SOTTO_ERR_USAGE;
    CLEANUP(buf_clear) struct buf data = buf_new(MLS_MESSAGE_MAX);
    enum err err = senders_encode(senders, count, &data);
    if (err == OK)
        buf_give(&data, out);
    return err_out(err);
}

enum sotto_err sotto_external_sender_at(struct sotto_bytes data, uint32_t i,
                                        struct sotto_credential *out)
{
    struct external_sender s = {0};
    if (bad_view(data) || out == NULL)
        return SOTTO_ERR_USAGE;
    enum err err = external_sender_at(bytes_in(data), i, &s);
    if (err == OK)
        *out = (struct sotto_credential){
            .type = s.credential.type,
            .identity = bytes_out(s.credential.body),
            .signature_key = bytes_out(s.signature_key)};
    return err_out(err);
}
