/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client that speaks HTTP (docs/protocol.md, section 15): one request, one
 * answer, and the connection ends; or it becomes a WebSocket, whose bytes are
 * the frames of every other client. Bytes go in, and what is to be done comes
 * out through a table of callbacks; nothing here knows of sockets.
 *
 * A callback may not free its web.
 */
#pragma once

#include "base/buf.h"

#include <stdbool.h>

/* What a client came in by. */
enum web_door {
    WEB_PUBLIC, /* the port that everybody knows, over TLS */
    WEB_PROXY,  /* a proxy of the operator's: it says whom it speaks for */
    WEB_ADMIN,  /* the operator's own */
    WEB_DOORS_,
};

struct web;

struct web_user {
    /* Queues bytes for the client. */
    enum err (*send)(void *ctx, struct bytes bytes);
    /* Makes it a client of the core. `origin` is the address that a proxy
     * speaks for, in text; empty: its own. ERR_STATE: too many from there. */
    enum err (*open)(void *ctx, struct bytes origin);
    /* Passes a request to the core, and gives it time to be answered. */
    enum err (*ask)(void *ctx, uint32_t id, struct bytes message);
    /* Takes bytes of a WebSocket: frames (proto/frame.h), cut anywhere. */
    enum err (*frames)(void *ctx, struct bytes bytes);
    /* Says whether the whole server works. */
    bool (*healthy)(void *ctx);
    /* Writes what is to be seen at /metrics. */
    enum err (*metrics)(void *ctx, struct buf *out);
};

MUST_USE enum err web_create(enum web_door door, const struct web_user *user,
                             void *ctx, struct web **out_web);
void web_free(struct web **web);

/* Takes what the client sent. A failure means: drop it. */
MUST_USE enum err web_data(struct web *web, struct bytes bytes);

/* Sends what must come before `len` bytes of frames, which the caller sends
 * next. */
MUST_USE enum err web_announce(struct web *web, size_t len);

/* Takes the core's answer to a request of its own. False: messages are the
 * client's, who has a WebSocket. */
bool web_asks(const struct web *web);
MUST_USE enum err web_answer(struct web *web, struct bytes message);

/* All that was sent has left. */
MUST_USE enum err web_drained(struct web *web);

/* Says whether the client should not be read from for now. */
bool web_waits(const struct web *web);

/* Says so to a WebSocket's client, as the connection is about to end. */
void web_end(struct web *web);

/* Says whether the last byte for the client was queued. */
bool web_done(const struct web *web);

/* The memory that waits for the rest of something. */
size_t web_held(const struct web *web);
