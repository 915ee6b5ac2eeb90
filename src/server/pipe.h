/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the server's two processes tell each other, over a stream socket:
 *
 *     struct {
 *         uint32 length;    of what follows
 *         uint8 op;
 *         uint32 conn;
 *         uint8 kind;       of a message, as are the id and the bytes
 *         uint32 id;
 *         opaque bytes[length - 10];
 *     } Record;
 *
 * Whatever was put in a round of the loop leaves together at its end. The
 * writer bounds its queue by looking at pipe_queued, the reader by pausing.
 */
#pragma once

#include "proto/frame.h"
#include "sys/loop.h"

enum pipe_op {
    /* From net to store. A connection has one OPEN and one CLOSE. */
    PIPE_OPEN = 1, /* bytes: uint64 remote, exporter[32] or nothing */
    PIPE_CLOSE,    /* the client has gone; CLOSED answers */
    PIPE_SLOW,     /* an entry was dropped: the client's queue is full */
    PIPE_BYE,      /* net ends in good order */

    /* From store to net. */
    PIPE_START,  /* the store is ready: accept connections */
    PIPE_END,    /* close the connection after what was sent to it */
    PIPE_CLOSED, /* the number is free again */
    PIPE_DRAIN,  /* accept no more, let answers out, close, say BYE */
    PIPE_TLS,    /* use for new clients: opaque cert<V>, opaque key<V> */

    /* Both ways. */
    PIPE_MESSAGE,
    PIPE_STATS, /* once a second, and answered: struct metrics */
};

struct pipe_record {
    uint8_t op;
    uint32_t conn; /* 0 where none is meant */
    uint8_t kind;  /* enum frame_kind */
    uint32_t id;
    struct bytes bytes;
};

struct pipe;

struct pipe_user {
    void (*record)(void *ctx, const struct pipe_record *r);
    void (*drained)(void *ctx); /* all that was put has left; may be NULL */
    /* The other process is gone (OK), or broke the format. */
    void (*ended)(void *ctx, enum err err);
};

/* Takes `fd`, on failure too. */
MUST_USE enum err pipe_create(struct loop *loop, int fd,
                              const struct pipe_user *user, void *ctx,
                              struct pipe **out_pipe);
/* Not from within a callback. */
void pipe_free(struct pipe **pipe);

/* Queues a record with a copy of its bytes. */
MUST_USE enum err pipe_put(struct pipe *pipe, const struct pipe_record *r);
size_t pipe_queued(const struct pipe *pipe);
/* Gives back what the time since the last call had no use for. */
void pipe_trim(struct pipe *pipe);

/* Stops or goes on calling `record`. */
void pipe_pause(struct pipe *pipe, bool paused);
