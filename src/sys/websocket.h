/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's end of a WebSocket (RFC 6455) as bytes in, bytes out. Incoming
 * frames are unmasked as they come and handed on in pieces, however long a
 * frame or a message is, so nothing is kept but a header and a control frame.
 *
 *     for (;;) {
 *         TRY(websocket_next(&ws, &input, room, sizeof room, &piece));
 *         if (piece.kind == WEBSOCKET_MORE)
 *             break;
 *         ...
 *     }
 */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

#define WEBSOCKET_CONTROL_MAX 125U
#define WEBSOCKET_HEADER_MAX  14U /* with the mask */
#define WEBSOCKET_ACCEPT_TEXT 29U /* with its NUL */

/* RFC 6455, section 7.4.1 */
enum websocket_status {
    WEBSOCKET_NORMAL = 1000,
    WEBSOCKET_GOING_AWAY = 1001,
    WEBSOCKET_PROTOCOL = 1002,
    WEBSOCKET_UNSUPPORTED = 1003, /* text */
};

enum websocket_kind {
    WEBSOCKET_MORE, /* all input was taken and makes no piece */
    WEBSOCKET_DATA, /* of a binary message, never empty */
    WEBSOCKET_PING,
    WEBSOCKET_PONG,
    WEBSOCKET_CLOSE, /* `bytes` is what to answer with */
};

struct websocket_piece {
    enum websocket_kind kind;
    struct bytes bytes; /* lent until the next call */
};

struct websocket {
    uint8_t header[WEBSOCKET_HEADER_MAX];
    uint8_t control[WEBSOCKET_CONTROL_MAX];
    uint8_t header_len;
    uint8_t control_len;
    uint8_t mask_at; /* which byte of the mask is next */
    bool in_frame;   /* the header is whole */
    bool in_message; /* a fragment came that was not the last */
    uint64_t left;   /* of the frame's payload */
    enum err err;    /* sticky: a stream that lost its framing is lost */
};

/* Takes bytes from the front of `input`; data is written to `room` first.
 * ERR_MALFORMED: close with WEBSOCKET_PROTOCOL; ERR_INVALID: with
 * WEBSOCKET_UNSUPPORTED. */
MUST_USE enum err websocket_next(struct websocket *ws, struct bytes *input,
                                 uint8_t *room, size_t room_len,
                                 struct websocket_piece *out);

/* Makes the header of a whole message of `len` bytes of binary data, or of a
 * control frame, as a server sends it: without a mask. */
struct bytes websocket_header(enum websocket_kind kind, size_t len,
                              uint8_t room[WEBSOCKET_HEADER_MAX]);

/* Answers the key of a client (section 4.2.2). ERR_MALFORMED: it is none. */
MUST_USE enum err websocket_accept(struct bytes key,
                                   char out[WEBSOCKET_ACCEPT_TEXT]);
