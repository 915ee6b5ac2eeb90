/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Protection of framed content (RFC 9420, section 6): signatures, membership
 * tags, and the encryption of PrivateMessages. The structs are in messages.h;
 * `context` is always the encoded GroupContext of the message's epoch.
 */
#pragma once

#include "base/random.h"
#include "mls/messages.h"
#include "mls/schedule.h"
#include "mls/secret_tree.h"

/* RFC 9420, section 6.1: signs what `ac` holds but its auth. */
MUST_USE enum err framing_sign(struct crypto *c, const struct suite *s,
                               const struct secret *key,
                               const struct authenticated_content *ac,
                               struct bytes context, struct buf *out_signature);
/* ERR_AUTH when the signature is not that of `key`. */
MUST_USE enum err framing_verify(struct crypto *c, const struct suite *s,
                                 struct bytes key,
                                 const struct authenticated_content *ac,
                                 struct bytes context);

/* RFC 9420, section 6.2: writes an MLSMessage(PublicMessage). The membership
 * key is for members: who is outside has none. */
MUST_USE enum err framing_write_public(struct crypto *c, const struct suite *s,
                                       const struct secret *membership_key,
                                       const struct authenticated_content *ac,
                                       struct bytes context, struct buf *out);
/* Checks the membership tag; ERR_AUTH. */
MUST_USE enum err framing_check_tag(struct crypto *c, const struct suite *s,
                                    const struct secret *membership_key,
                                    const struct public_message *m,
                                    struct bytes context);

/* RFC 9420, section 6.3: writes an MLSMessage(PrivateMessage). */
struct private_seal {
    const struct authenticated_content *ac; /* signed, by a member */
    const struct epoch_secrets *secrets;
    const struct message_key *key; /* of the sender, used once */
    size_t bucket; /* the plaintext fills a multiple of it; 0: no padding */
};
MUST_USE enum err framing_write_private(struct crypto *c, const struct suite *s,
                                        const struct random *rnd,
                                        const struct private_seal *seal,
                                        struct buf *out);

/* Opens who sent it, and with which key. ERR_AUTH, ERR_MALFORMED. */
MUST_USE enum err framing_open_sender(struct crypto *c, const struct suite *s,
                                      const struct epoch_secrets *secrets,
                                      const struct private_message *m,
                                      struct sender_data *out);
struct private_open {
    const struct private_message *message;
    const struct sender_data *sender;
    const struct message_key *key;
};
/* Opens the content into `plain`, from which `out` borrows. The signature is
 * not yet verified. */
MUST_USE enum err framing_open_private(struct crypto *c, const struct suite *s,
                                       const struct private_open *open,
                                       struct buf *plain,
                                       struct authenticated_content *out);

/* RFC 9420, section 8.2: the transcript hashes before and after a commit. */
MUST_USE enum err transcript_confirmed(struct crypto *c, const struct suite *s,
                                       struct bytes interim_before,
                                       const struct authenticated_content *ac,
                                       struct digest *out);
MUST_USE enum err transcript_interim(struct crypto *c, const struct suite *s,
                                     struct bytes confirmed,
                                     struct bytes confirmation_tag,
                                     struct digest *out);
