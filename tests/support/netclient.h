/* SPDX-License-Identifier: Apache-2.0 */
/* A client for tests and benchmarks of a running server: one TLS connection,
 * calls that wait. It authenticates nobody unless it says hello. */
#pragma once

#include "proto/message.h"
#include "sys/net.h"
#include "sys/tls.h"

#include <stdbool.h>

struct crypto;

struct netclient {
    struct tls_context *context;
    struct tls *tls;
    int fd_plus_1; /* 0: none */
    struct deframer deframer;
    uint8_t in[16384];
    struct bytes rest; /* of `in`, not yet looked at */
    uint32_t next_id;
    struct buf kept;   /* the last message, which an answer borrows from */
    struct buf events; /* opaque<V> each: what came while waiting */
    size_t events_read;
    uint8_t exporter[TLS_EXPORTER_SIZE];
    int patience_ms; /* how long a call waits [5000] */
};

/* Connects and shakes hands. */
MUST_USE enum err netclient_connect(struct netclient *c,
                                    const struct net_name *server);
void netclient_close(struct netclient *c);

/* Connects to a server whose certificate has this fingerprint. */
MUST_USE enum err netclient_connect_pinned(struct netclient *c,
                                           const struct net_name *server,
                                           const uint8_t *pin);

/* Sends bytes as they are. */
MUST_USE enum err netclient_raw(struct netclient *c, struct bytes bytes);

/* Sends a message in frames. */
MUST_USE enum err netclient_send(struct netclient *c, const struct message *m);

/* Waits for the next message, which is lent until the next call. ERR_NOTFOUND:
 * nothing came in time; ERR_IO: the server closed. */
MUST_USE enum err netclient_next(struct netclient *c, struct message *out);

/* Sends a request and waits for its answer, which is lent until the next call.
 * Events that come first are kept. */
MUST_USE enum err netclient_ask(struct netclient *c, const struct request *q,
                                struct answer *out);

/* Waits for the next event, also one that was kept. */
MUST_USE enum err netclient_event(struct netclient *c, struct request *out);

/* Says hello and checks that it was answered with ok, and signed when a
 * crypto is given. */
MUST_USE enum err netclient_hello(struct netclient *c, enum lane lane,
                                  struct crypto *crypto);

/* Waits for the server to close. */
MUST_USE enum err netclient_wait_closed(struct netclient *c);
