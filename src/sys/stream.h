/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection on an event loop, over TLS or plain: it reports what happens
 * through a table of callbacks, and queues what is sent. All that was queued in
 * one round of the loop leaves in one go at its end. An idle stream holds no
 * buffers.
 *
 * A callback may free its stream. After `down` the stream is dead: it reports
 * nothing more, takes nothing, and waits for stream_free.
 */
#pragma once

#include "base/bytes.h"
#include "sys/loop.h"
#include "sys/net.h"
#include "sys/tls.h"

struct streams; /* what the streams of one loop share */
struct stream;

struct stream_user {
    void (*up)(void *ctx); /* the handshake is done */
    /* Bytes came; they are lent for this call. A failure drops the stream. */
    enum err (*data)(void *ctx, struct bytes bytes);
    void (*drained)(void *ctx); /* all that was queued has left; may be NULL */
    /* Over; `why` is PROBLEM_NONE after a close in good order. */
    void (*down)(void *ctx, const struct problem *why);
};

MUST_USE enum err streams_create(struct loop *loop,
                                 struct streams **out_streams);
void streams_free(struct streams **streams); /* after its last stream */

/* Bytes that wait to leave, over all streams. */
size_t streams_queued(const struct streams *streams);

/* Serves a connection that was accepted, without TLS where there is no context;
 * then it is up with the first byte. Takes `fd`, on failure too. */
MUST_USE enum err stream_accept(struct streams *streams,
                                struct tls_context *context, int fd,
                                const struct stream_user *user, void *ctx,
                                struct stream **out_stream);

/* What to connect to; the stream keeps no pointer to it. */
struct stream_target {
    struct tls_context *context;
    struct net_addresses addresses; /* tried one after the other */
    struct tls_peer peer;
};

/* Starts to connect. Failures, at once or later, come by `down`. */
MUST_USE enum err stream_connect(struct streams *streams,
                                 const struct stream_target *target,
                                 const struct stream_user *user, void *ctx,
                                 struct stream **out_stream);

/* Closes at once, drops what is queued, and calls nothing. */
void stream_free(struct stream **stream);

/* Sends what is queued, then closes and calls `down`. Nothing is read any
 * more. The caller bounds how long this may take. */
void stream_end(struct stream *stream);

/* Queues a copy. The queue has no limit of its own: look at stream_queued. */
MUST_USE enum err stream_send(struct stream *stream, struct bytes bytes);
size_t stream_queued(const struct stream *stream);

/* Queues `len` bytes for the caller to fill at once, before any other call. */
MUST_USE enum err stream_extend(struct stream *stream, size_t len,
                                uint8_t **out);

/* Stops or goes on reading, so that a peer that sends too much has to wait. */
void stream_pause(struct stream *stream, bool paused);

/* Only when up; without TLS it is TLS_HTTP. */
enum tls_protocol stream_protocol(const struct stream *stream);

/* See tls_exporter; only when up. ERR_STATE: there is no TLS. */
MUST_USE enum err stream_exporter(const struct stream *stream,
                                  uint8_t out[TLS_EXPORTER_SIZE]);
