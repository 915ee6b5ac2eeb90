/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The signed parts of hello, register and login. All are bound to the server's
 * key, to both nonces, and to the TLS connection where TLS is end to end, so
 * that none can be carried to another connection or server.
 */
#pragma once

#include "base/secret.h"
#include "crypto/crypto.h"
#include "proto/message.h"

/* What both ends of a connection know of it. */
struct session {
    uint8_t lane;
    struct bytes server_key;   /* [32] */
    struct bytes client_nonce; /* [32] */
    struct bytes server_nonce; /* [32] */
    struct bytes exporter;     /* [32]; empty: none, stands for zeros */
};

/* Signs the other fields of `answer`, which names the session's server key and
 * nonce. Appends the signature. */
MUST_USE enum err hello_sign(struct crypto *c, const struct secret *server_key,
                             const struct session *s,
                             const struct hello_answer *answer,
                             struct buf *out_signature);

/* Verifies with the key in the answer, which must be the session's: so put the
 * pinned key into the session, or, when none is known yet, the answer's.
 * ERR_AUTH: another server, or not signed by it. */
MUST_USE enum err hello_verify(struct crypto *c, const struct session *s,
                               const struct hello_answer *answer);

/* Sign the other fields of the request as the device it names. */
MUST_USE enum err register_sign(struct crypto *c, const struct secret *device,
                                const struct session *s,
                                const struct register_request *q,
                                struct buf *out_signature);
MUST_USE enum err register_verify(struct crypto *c, struct bytes device_key,
                                  const struct session *s,
                                  const struct register_request *q);
MUST_USE enum err login_sign(struct crypto *c, const struct secret *device,
                             const struct session *s,
                             const struct login_request *q,
                             struct buf *out_signature);
MUST_USE enum err login_verify(struct crypto *c, struct bytes device_key,
                               const struct session *s,
                               const struct login_request *q);
