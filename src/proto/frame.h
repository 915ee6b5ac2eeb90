/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames carry messages over a byte stream (docs/protocol.md, section 2):
 *
 *     struct {
 *         uint32 length;      of what follows
 *         uint8 kind;         bit 0x80: more fragments of the message follow
 *         uint32 id;
 *         opaque fragment[length - 5];
 *     } Frame;
 *
 * The fragments of one message are contiguous. Between messages a deframer
 * owns no memory, so an idle connection costs nothing here.
 */
#pragma once

#include "base/wire.h"

#define FRAME_MAX         (64U << 10) /* the whole frame */
#define FRAME_HEADER      9U
#define FRAGMENT_MAX      (FRAME_MAX - FRAME_HEADER)
#define MESSAGE_MAX       (17U << 20)
#define MESSAGE_EARLY_MAX (4U << 10) /* before the hello was answered */

enum frame_kind {
    FRAME_REQUEST = 1, /* the id is the client's choice */
    FRAME_ANSWER,      /* the id is its request's */
    FRAME_EVENT,       /* the id is 0 */
};

/* A whole message; `bytes` begins with the method's number. */
struct message {
    enum frame_kind kind;
    uint32_t id;
    struct bytes bytes; /* borrowed */
};

struct deframer {
    uint8_t header[FRAME_HEADER]; /* of the frame that is being read */
    size_t header_len;            /* how much of it has come */
    size_t left;                  /* of its fragment */
    size_t max;                   /* of a message that begins */
    struct buf pending;           /* the fragments so far */
    bool lent;                    /* `pending` is the caller's message */
    bool more;                    /* the next frame must go on with it */
    uint8_t kind;
    uint32_t id;
    enum err err; /* sticky: a stream that lost its framing is lost */
};

/* Starts with messages of up to `max` bytes. */
struct deframer deframer_new(size_t max);
void deframer_clear(struct deframer *d);

/* Raises (or lowers) the limit, for messages that have not begun. */
void deframer_limit(struct deframer *d, size_t max);

/*
 * Takes bytes from the front of `input` up to the end of one message and says
 * whether one is ready. The message borrows from `input` or from `d`, until the
 * next call. So feed it in a loop:
 *
 *     for (bool ready = true; ready;) {
 *         TRY(deframer_next(&d, &input, &m, &ready));
 *         if (ready)
 *             handle(&m);
 *     }
 */
MUST_USE enum err deframer_next(struct deframer *d, struct bytes *input,
                                struct message *out, bool *out_ready);

/* Appends the frames of `m` to `out`. */
MUST_USE enum err frame_write(struct buf *out, const struct message *m);

/* The size of the frames of a message of `len` bytes. */
size_t frame_size(size_t len);
