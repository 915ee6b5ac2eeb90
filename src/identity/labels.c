/* SPDX-License-Identifier: Apache-2.0 */
#include "identity/labels.h"

#include "base/wire.h"
#include "crypto/sign.h"

#include <assert.h>

#define SIGNED_MAX (1U << 20)

static const char *const texts[] = {
    [LABEL_STATE] = "sotto state v1",
    [LABEL_SERVER_HELLO] = "sotto server hello v1",
    [LABEL_REGISTER] = "sotto register v1",
    [LABEL_LOGIN] = "sotto login v1",
    [LABEL_REJOIN] = "sotto rejoin v1",
    [LABEL_EPHEMERAL] = "sotto ephemeral v1",
    [LABEL_ACCOUNT] = "sotto account v1",
    [LABEL_STATE_HASH] = "sotto state hash v1",
    [LABEL_SAFETY_NUMBER] = "sotto safety number v1",
    [LABEL_SUBSCRIPTION] = "sotto subscription v1",
    [LABEL_LOG] = "sotto log v1",
    [LABEL_POW] = "sotto pow v1",
    [LABEL_CHECKSUM] = "sotto checksum v1",
    [LABEL_RECOVERY] = "sotto recovery v1",
    [LABEL_INBOX_ITEM] = "sotto inbox item v1",
    [LABEL_CAPABILITY] = "sotto capability v1",
    [LABEL_JOINING] = "sotto joining v1",
    [LABEL_EPHEMERAL_KEY] = "sotto ephemeral key v1",
};
_Static_assert(sizeof(texts) / sizeof(texts[0]) == LABEL_COUNT_,
               "a text for each label");

struct bytes label_text(enum label label)
{
    assert(label < LABEL_COUNT_);
    return bytes_str(texts[label]);
}

/* Both in vectors, as in RFC 9420, section 5.1.2, so that a label of Sotto is
 * compared with one of MLS from the first byte on. */
static enum err signed_write(enum label label, struct bytes content,
                             struct buf *out)
{
    struct writer w = writer_to(out);
    writer_vec(&w, label_text(label));
    writer_vec(&w, content);
    return writer_finish(&w);
}

enum err label_sign(struct crypto *c, enum label label,
                    const struct secret *key, struct bytes content,
                    struct buf *out_signature)
{
    CLEANUP(buf_clear) struct buf message = buf_new(SIGNED_MAX);
    TRY(signed_write(label, content, &message));
    return sign(c, SIGN_ED25519, key, buf_bytes(&message), out_signature);
}

enum err label_verify(struct crypto *c, enum label label,
                      struct bytes public_key, struct bytes content,
                      struct bytes signature)
{
    CLEANUP(buf_clear) struct buf message = buf_new(SIGNED_MAX);
    TRY(signed_write(label, content, &message));
    return sign_verify(c, SIGN_ED25519, public_key, buf_bytes(&message),
                       signature);
}

#define PARTS_MAX 8U

enum err label_hash(struct crypto *c, enum label label, struct parts content,
                    struct digest *out)
{
    struct bytes list[1 + PARTS_MAX] = {label_text(label)};
    assert(content.count <= PARTS_MAX);
    for (size_t i = 0; i < content.count; i++)
        list[1 + i] = content.list[i];
    return hash(c, HASH_SHA256, (struct parts){list, 1 + content.count}, out);
}
