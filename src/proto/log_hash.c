/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/log_hash.h"

#include "identity/labels.h"

#include <string.h>

enum err log_hash_start(struct crypto *c, struct bytes channel,
                        struct log_hash *out)
{
    struct digest d;
    TRY(label_hash(c, LABEL_LOG, PARTS(channel), &d));
    memcpy(out->data, d.data, LOG_HASH_SIZE);
    return OK;
}

enum err log_hash_next(struct crypto *c, struct log_hash *h,
                       const struct entry *e)
{
    CLEANUP(buf_clear) struct buf head = buf_new(8 + 8 + 1);
    struct digest body;
    struct digest next;

    TRY(hash(c, HASH_SHA256, PARTS(e->body), &body));
    struct writer w = writer_to(&head);
    writer_u64(&w, e->seq);
    writer_u64(&w, e->time);
    writer_u8(&w, e->kind);
    TRY(writer_finish(&w));
    TRY(label_hash(
        c, LABEL_LOG,
        PARTS(BYTES_ARRAY(h->data), buf_bytes(&head), digest_bytes(&body)),
        &next));
    memcpy(h->data, next.data, LOG_HASH_SIZE);
    return OK;
}
