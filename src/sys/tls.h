/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS 1.3 on non-blocking sockets: the only code that calls libssl. Clients
 * speak the protocol "sotto/1" (ALPN); servers also take HTTP. Calls never
 * wait: each says in an enum tls_step what would let it go on. stream.h puts a
 * connection on an event loop; most callers want that. Programs ignore SIGPIPE
 * (process_harden does it).
 */
#pragma once

#include "base/buf.h"
#include "base/problem.h"

#include <stdbool.h>

#define TLS_EXPORTER_SIZE    32U
#define TLS_EXPORTER_LABEL   "EXPORTER-sotto-v1"
#define TLS_FINGERPRINT_SIZE 32U /* SHA-256 of the certificate */
#define TLS_PEM_MAX          (64U << 10)

/* What a client takes as proof that it talks to the right server. */
enum tls_trust {
    TLS_TRUST_SYSTEM, /* a chain to the system's trust store, and the name */
    TLS_TRUST_PIN,    /* exactly the certificate with this fingerprint */
    /* Any certificate. Only for a caller that authenticates the server by its
     * signature over TLS's exporter in `hello`, before it sends anything. */
    TLS_TRUST_CALLER,
};

struct tls_peer {
    enum tls_trust trust;
    const char *host; /* name or address; NULL: none is sent or checked */
    uint8_t pin[TLS_FINGERPRINT_SIZE];
};

struct tls_context; /* shared by the connections of one thread */
struct tls;         /* a connection; borrows its context and its descriptor */

/* Takes the certificate chain and private key as PEM, since the process that
 * needs them may not open files. */
MUST_USE enum err tls_server_create(struct bytes cert_pem, struct bytes key_pem,
                                    struct tls_context **out_context,
                                    struct problem *p);
MUST_USE enum err tls_client_create(struct tls_context **out_context,
                                    struct problem *p);
void tls_context_free(struct tls_context **context);

/* Prepare a connection over a connected socket; tls_handshake does the rest. */
MUST_USE enum err tls_accept(struct tls_context *context, int fd,
                             struct tls **out_tls);
MUST_USE enum err tls_connect(struct tls_context *context, int fd,
                              const struct tls_peer *peer,
                              struct tls **out_tls);
void tls_free(struct tls **tls);

/* What a server's client wants to speak. */
enum tls_protocol {
    TLS_SOTTO,
    TLS_HTTP, /* "http/1.1", or it did not say: then it knows no other */
};

enum tls_step {
    TLS_DONE,
    TLS_WANT_READ,  /* again when the descriptor is readable */
    TLS_WANT_WRITE, /* again when it is writable */
    TLS_END,        /* the peer closed in good order */
};

/* ERR_AUTH: the certificate is not the one to trust, and `p` says why. ERR_IO:
 * the peer left or does not speak our TLS. */
MUST_USE enum err tls_handshake(struct tls *tls, enum tls_step *out_step,
                                struct problem *p);

/* Only when up. */
enum tls_protocol tls_protocol(const struct tls *tls);

/* Read what is there, up to `cap` bytes; write as much as goes. A write that
 * did not go must be repeated with the same bytes, perhaps at another
 * address. */
MUST_USE enum err tls_read(struct tls *tls, uint8_t *data, size_t cap,
                           size_t *out_len, enum tls_step *out_step);
MUST_USE enum err tls_write(struct tls *tls, struct bytes data, size_t *out_len,
                            enum tls_step *out_step);

/* Says whether bytes were read from the socket but not yet from `tls`: epoll
 * does not report them. */
bool tls_pending(const struct tls *tls);

/* Tells the peer that no more comes (best effort). */
void tls_goodbye(struct tls *tls);

/* Derives the 32 bytes that both ends, and nobody between them, share. */
MUST_USE enum err tls_exporter(const struct tls *tls,
                               uint8_t out[TLS_EXPORTER_SIZE]);

/* Makes a P-256 key and a certificate for `name`, signed by itself, good for
 * ten years from now. */
MUST_USE enum err tls_certificate_create(const char *name, struct buf *cert_pem,
                                         struct buf *key_pem);

/* The fingerprint of the first certificate of a chain. */
MUST_USE enum err tls_fingerprint(struct bytes cert_pem,
                                  uint8_t out[TLS_FINGERPRINT_SIZE]);
