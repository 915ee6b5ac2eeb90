/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The key schedule of RFC 9420, section 8:
 *
 *   init_secret[n-1] + commit_secret -> joiner_secret
 *   joiner_secret + psk_secret -> welcome_secret, and with the GroupContext
 *   epoch_secret -> the secrets of an epoch
 *
 * A NULL commit_secret or psk_secret stands for zeros. Nothing here keeps
 * what it is given: the caller wipes joiner, commit and init secrets at their
 * last use; epoch_secret itself never leaves a function.
 */
#pragma once

#include "mls/label.h"
#include "mls/proposal.h"

struct epoch_secrets {
    struct secret sender_data_secret;
    struct secret encryption_secret; /* goes into secret_tree_create */
    struct secret exporter_secret;
    struct secret external_secret;
    struct secret confirmation_key;
    struct secret membership_key;
    struct secret resumption_psk;
    struct secret epoch_authenticator;
    struct secret init_secret; /* of the next epoch */
    /* draft-ietf-mls-extensions; goes into exporter_create */
    struct secret application_export_secret;
};
void epoch_secrets_clear(struct epoch_secrets *es);
/* Stored form: the nine of RFC 9420, absent ones as empty. */
void epoch_secrets_write(struct writer *w, const struct epoch_secrets *es);
void epoch_secrets_read(struct reader *r, struct epoch_secrets *es);

MUST_USE enum err schedule_joiner(struct crypto *c, const struct suite *s,
                                  const struct secret *init_secret,
                                  const struct secret *commit_secret,
                                  struct bytes group_context,
                                  struct secret *joiner_secret);
/* On failure `out` is empty. */
MUST_USE enum err schedule_epoch(struct crypto *c, const struct suite *s,
                                 const struct secret *joiner_secret,
                                 const struct secret *psk_secret,
                                 struct bytes group_context,
                                 struct epoch_secrets *out);
/* The key and the nonce for the GroupInfo in a Welcome. */
MUST_USE enum err schedule_welcome(struct crypto *c, const struct suite *s,
                                   const struct secret *joiner_secret,
                                   const struct secret *psk_secret,
                                   struct secret *key, struct secret *nonce);
/* The first epoch of a group that one member makes: epoch_secret is random
 * (section 11). */
MUST_USE enum err schedule_first(struct crypto *c, const struct suite *s,
                                 const struct random *rnd,
                                 struct epoch_secrets *out);

/* RFC 9420, section 8.5 */
/* Appends l->len bytes, of any number. */
MUST_USE enum err schedule_export(struct crypto *c, const struct suite *s,
                                  const struct epoch_secrets *es,
                                  const struct kdf_label *l, struct buf *out);
/* RFC 9420, section 8.3: the key pair of external commits */
MUST_USE enum err schedule_external(struct crypto *c, const struct suite *s,
                                    const struct epoch_secrets *es,
                                    struct secret *private_key,
                                    struct buf *public_key);
/* RFC 9420, section 8.3: the init_secret of an epoch that an external commit
 * begins, drawn by the joiner, who appends `kem_output`; and got back by the
 * members of the epoch before. */
MUST_USE enum err
schedule_external_send(struct crypto *c, const struct suite *s,
                       const struct random *rnd, struct bytes external_pub,
                       struct buf *kem_output, struct secret *init_secret);
MUST_USE enum err schedule_external_receive(struct crypto *c,
                                            const struct suite *s,
                                            const struct epoch_secrets *es,
                                            struct bytes kem_output,
                                            struct secret *init_secret);
/* RFC 9420, section 6.3.2: key and nonce that seal the sender data */
MUST_USE enum err schedule_sender_data(struct crypto *c, const struct suite *s,
                                       const struct epoch_secrets *es,
                                       struct bytes ciphertext,
                                       struct secret *key,
                                       struct secret *nonce);

/* MAC(key, data): confirmation_tag, membership_tag */
MUST_USE enum err schedule_mac(struct crypto *c, const struct suite *s,
                               const struct secret *key, struct bytes data,
                               struct digest *tag);
/* ERR_AUTH when `tag` is not the MAC; compares in constant time. */
MUST_USE enum err schedule_mac_verify(struct crypto *c, const struct suite *s,
                                      const struct secret *key,
                                      struct bytes data, struct bytes tag);

/* RFC 9420, section 8.4 */
struct psk {
    struct psk_id id;
    const struct buf *value; /* borrowed */
};
MUST_USE enum err schedule_psk(struct crypto *c, const struct suite *s,
                               const struct psk *psks, size_t count,
                               struct secret *psk_secret);
