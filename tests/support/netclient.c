/* SPDX-License-Identifier: Apache-2.0 */
#include "support/netclient.h"

#include "proto/hello.h"
#include "sys/clock.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE_MS 30000 /* only a failure waits so long */
#define EVENTS_MAX  (64U << 20)

/* Waits until the descriptor allows `step`, or `until_ms`. */
static enum err wait_for(const struct netclient *c, enum tls_step step,
                         uint64_t until_ms)
{
    uint64_t now = clock_mono_ms();
    struct pollfd p = {.fd = c->fd_plus_1 - 1,
                       .events = step == TLS_WANT_WRITE ? POLLOUT : POLLIN};
    if (now >= until_ms || poll(&p, 1, (int)(until_ms - now)) <= 0)
        return ERR_NOTFOUND;
    return OK;
}

static uint64_t until(const struct netclient *c)
{
    return clock_mono_ms() + (uint64_t)c->patience_ms;
}

static enum err shake_hands(struct netclient *c, const struct tls_peer *peer)
{
    enum tls_step step = TLS_WANT_WRITE;
    uint64_t end = until(c);
    TRY(tls_client_create(&c->context, NULL));
    TRY(wait_for(c, step, end));
    TRY(net_connected(c->fd_plus_1 - 1, NULL));
    TRY(tls_connect(c->context, c->fd_plus_1 - 1, peer, &c->tls));
    for (;;) {
        TRY(tls_handshake(c->tls, &step, NULL));
        if (step == TLS_DONE)
            return tls_exporter(c->tls, c->exporter);
        TRY(wait_for(c, step, end));
    }
}

static enum err connect_to(struct netclient *c, const struct net_name *server,
                           const struct tls_peer *peer)
{
    struct net_addresses found = {0};
    int fd = -1;
    (void)signal(SIGPIPE, SIG_IGN);
    *c = (struct netclient){.deframer = deframer_new(MESSAGE_MAX),
                            .kept = buf_new(MESSAGE_MAX),
                            .events = buf_new(EVENTS_MAX),
                            .next_id = 1,
                            .patience_ms = PATIENCE_MS};
    TRY(net_resolve(server, &found, NULL));
    TRY(net_connect(&found.at[0], &fd, NULL));
    c->fd_plus_1 = fd + 1;
    enum err err = shake_hands(c, peer);
    if (err != OK)
        netclient_close(c);
    return err;
}

enum err netclient_connect(struct netclient *c, const struct net_name *server)
{
    const struct tls_peer peer = {.trust = TLS_TRUST_CALLER,
                                  .host = "localhost"};
    return connect_to(c, server, &peer);
}

enum err netclient_connect_pinned(struct netclient *c,
                                  const struct net_name *server,
                                  const uint8_t *pin)
{
    struct tls_peer peer = {.trust = TLS_TRUST_PIN, .host = "localhost"};
    memcpy(peer.pin, pin, sizeof peer.pin);
    return connect_to(c, server, &peer);
}

void netclient_close(struct netclient *c)
{
    if (c->tls != NULL)
        tls_goodbye(c->tls);
    tls_free(&c->tls);
    tls_context_free(&c->context);
    if (c->fd_plus_1 > 0)
        (void)close(c->fd_plus_1 - 1);
    c->fd_plus_1 = 0;
    c->rest = (struct bytes){NULL, 0};
    deframer_clear(&c->deframer);
    buf_clear(&c->kept);
    buf_clear(&c->events);
}

enum err netclient_raw(struct netclient *c, struct bytes bytes)
{
    uint64_t end = until(c);
    while (bytes.len > 0) {
        size_t done = 0;
        enum tls_step step = TLS_DONE;
        TRY(tls_write(c->tls, bytes, &done, &step));
        if (step != TLS_DONE)
            TRY(wait_for(c, step, end));
        bytes.data += done;
        bytes.len -= done;
    }
    return OK;
}

enum err netclient_send(struct netclient *c, const struct message *m)
{
    CLEANUP(buf_clear) struct buf frames = buf_new(frame_size(MESSAGE_MAX));
    TRY(frame_write(&frames, m));
    return netclient_raw(c, buf_bytes(&frames));
}

enum err netclient_next(struct netclient *c, struct message *out)
{
    uint64_t end = until(c);
    for (;;) {
        bool ready = false;
        size_t len = 0;
        enum tls_step step = TLS_DONE;
        TRY(deframer_next(&c->deframer, &c->rest, out, &ready));
        if (ready)
            return OK;
        TRY(tls_read(c->tls, c->in, sizeof c->in, &len, &step));
        if (step == TLS_END)
            return ERR_IO;
        if (step != TLS_DONE)
            TRY(wait_for(c, step, end));
        c->rest = (struct bytes){c->in, len};
    }
}

static enum err keep_event(struct netclient *c, struct bytes bytes)
{
    struct writer w = writer_to(&c->events);
    writer_vec(&w, bytes);
    return writer_finish(&w);
}

enum err netclient_ask(struct netclient *c, const struct request *q,
                       struct answer *out)
{
    CLEANUP(buf_clear) struct buf request = buf_new(MESSAGE_MAX);
    uint32_t id = c->next_id++;
    TRY(request_write(&request, q));
    const struct message m = {FRAME_REQUEST, id, buf_bytes(&request)};
    TRY(netclient_send(c, &m));
    for (;;) {
        struct message got;
        TRY(netclient_next(c, &got));
        if (got.kind == FRAME_EVENT) {
            TRY(keep_event(c, got.bytes));
            continue;
        }
        if (got.kind != FRAME_ANSWER || got.id != id)
            return ERR_INVALID;
        TRY(buf_copy(&c->kept, got.bytes));
        return answer_read(buf_bytes(&c->kept), out);
    }
}

enum err netclient_event(struct netclient *c, struct request *out)
{
    struct bytes kept = {c->events.data + c->events_read,
                         c->events.len - c->events_read};
    if (kept.len > 0) {
        struct reader r = reader_of(kept);
        struct bytes event = reader_vec(&r);
        c->events_read = c->events.len - r.rest.len;
        return request_read(event, out);
    }
    struct message got;
    TRY(netclient_next(c, &got));
    if (got.kind != FRAME_EVENT)
        return ERR_INVALID;
    return request_read(got.bytes, out);
}

enum err netclient_hello(struct netclient *c, enum lane lane,
                         struct crypto *crypto)
{
    static const uint8_t nonce[NONCE_SIZE] = {1, 2, 3};
    struct answer a;
    const struct request q = {.method = METHOD_HELLO,
                              .hello = {.version = PROTOCOL_VERSION,
                                        .lane = (uint8_t)lane,
                                        .client_nonce = {nonce, sizeof nonce}}};
    TRY(netclient_ask(c, &q, &a));
    if (a.status != STATUS_OK)
        return ERR_STATE;
    if (crypto == NULL)
        return OK;
    const struct session s = {.lane = (uint8_t)lane,
                              .server_key = a.hello.server_key,
                              .client_nonce = {nonce, sizeof nonce},
                              .server_nonce = a.hello.server_nonce,
                              .exporter = {c->exporter, sizeof c->exporter}};
    return hello_verify(crypto, &s, &a.hello);
}

enum err netclient_wait_closed(struct netclient *c)
{
    for (;;) {
        struct message m;
        enum err err = netclient_next(c, &m);
        if (err == ERR_IO)
            return OK;
        TRY(err);
    }
}
