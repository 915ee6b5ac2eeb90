/* SPDX-License-Identifier: Apache-2.0 */
/*
 *      0               1
 *     +-+-+-+-+-------+-+-------------+-----------------+-----------+-------
 *     |F|R|R|R| op    |M| length      | 2 or 8 bytes,   | mask,     | payload
 *     |I|S|S|S| code  |A| 126: 2 more | if so           | 4 bytes   |
 *     |N|V|V|V|       |S| 127: 8 more |                 |           |
 *     +-+-+-+-+-------+-+-------------+-----------------+-----------+-------
 */
#include "sys/websocket.h"

#include "base/wire.h"
#include "sys/openssl.h"

#include <assert.h>
#include <string.h>

#define FIN        0x80U
#define RESERVED   0x70U
#define OPCODE     0x0fU
#define MASKED     0x80U
#define LENGTH     0x7fU
#define LENGTH_16  126U
#define LENGTH_64  127U
#define MASK_SIZE  4U
#define SHORT_SIZE 2U  /* of a header without a longer length, and a mask */
#define KEY_TEXT   24U /* 16 bytes in base64 */

enum opcode {
    CONTINUATION = 0x0,
    TEXT = 0x1,
    BINARY = 0x2,
    CLOSE = 0x8,
    PING = 0x9,
    PONG = 0xa,
};

static bool is_control(uint8_t opcode) { return opcode >= CLOSE; }

/* ---- In ---- */

static size_t length_size(uint8_t length)
{
    if (length == LENGTH_64)
        return sizeof(uint64_t);
    return length == LENGTH_16 ? sizeof(uint16_t) : 0;
}

/* How long the header is, as far as its first two bytes say. */
static size_t header_size(const struct websocket *ws)
{
    if (ws->header_len < SHORT_SIZE)
        return SHORT_SIZE;
    return SHORT_SIZE + length_size(ws->header[1] & LENGTH) + MASK_SIZE;
}

/* Section 5.2: "the minimal number of bytes MUST be used". */
static enum err read_length(struct websocket *ws)
{
    struct reader r = reader_of((struct bytes){ws->header, header_size(ws)});
    (void)reader_u8(&r);
    uint8_t length = reader_u8(&r) & LENGTH;
    ws->left = length;
    if (length == LENGTH_16) {
        ws->left = reader_u16(&r);
        return ws->left < LENGTH_16 ? ERR_MALFORMED : OK;
    }
    if (length == LENGTH_64) {
        ws->left = reader_u64(&r);
        return ws->left <= UINT16_MAX || ws->left > INT64_MAX ? ERR_MALFORMED
                                                              : OK;
    }
    return OK;
}

/* Section 5.4: the first fragment of a message has its opcode, the others have
 * CONTINUATION; control frames are whole and may come between. */
static enum err header_check(struct websocket *ws)
{
    uint8_t first = ws->header[0];
    uint8_t opcode = first & OPCODE;
    bool fin = (first & FIN) != 0;
    if ((first & RESERVED) != 0 || (ws->header[1] & MASKED) == 0)
        return ERR_MALFORMED;
    if (is_control(opcode))
        return opcode <= PONG && fin &&
                       (ws->header[1] & LENGTH) <= WEBSOCKET_CONTROL_MAX
                   ? OK
                   : ERR_MALFORMED;
    if (opcode > BINARY || (opcode == CONTINUATION) != ws->in_message)
        return ERR_MALFORMED;
    ws->in_message = !fin;
    return opcode == TEXT ? ERR_INVALID : OK;
}

static enum err header_take(struct websocket *ws, struct bytes *input)
{
    while (input->len > 0) {
        ws->header[ws->header_len++] = input->data[0];
        *input = (struct bytes){input->data + 1, input->len - 1};
        if (ws->header_len == SHORT_SIZE)
            TRY(header_check(ws));
        if (ws->header_len == header_size(ws))
            break;
    }
    if (ws->header_len < SHORT_SIZE || ws->header_len < header_size(ws))
        return OK;
    ws->in_frame = true;
    ws->mask_at = 0;
    ws->control_len = 0;
    return read_length(ws);
}

/* Unmasks what there is, up to `cap` bytes, into `to`. */
static size_t payload_take(struct websocket *ws, struct bytes *input,
                           uint8_t *to, size_t cap)
{
    const uint8_t *mask = ws->header + header_size(ws) - MASK_SIZE;
    size_t len = input->len < cap ? input->len : cap;
    if (len > ws->left)
        len = (size_t)ws->left;
    for (size_t i = 0; i < len; i++)
        to[i] = input->data[i] ^ mask[(ws->mask_at + i) % MASK_SIZE];
    ws->mask_at = (uint8_t)((ws->mask_at + len) % MASK_SIZE);
    ws->left -= len;
    if (len > 0)
        *input = (struct bytes){input->data + len, input->len - len};
    return len;
}

/* Section 7.4: codes that may be on the wire. */
static bool is_status(unsigned code)
{
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
}

/* Section 5.5.1. A reason in words is not looked at; the answer has none. */
static enum err close_check(struct bytes payload, struct bytes *out)
{
    struct reader r = reader_of(payload);
    if (payload.len > 0 && !is_status(reader_u16(&r)))
        return ERR_MALFORMED;
    *out = (struct bytes){payload.data, payload.len > 0 ? sizeof(uint16_t) : 0};
    return OK;
}

static enum err control_end(struct websocket *ws, struct websocket_piece *out)
{
    const struct bytes payload = {ws->control, ws->control_len};
    *out = (struct websocket_piece){WEBSOCKET_PONG, payload};
    switch (ws->header[0] & OPCODE) {
    case CLOSE:
        out->kind = WEBSOCKET_CLOSE;
        return close_check(payload, &out->bytes);
    case PING:
        out->kind = WEBSOCKET_PING;
        return OK;
    default:
        return OK;
    }
}

static void frame_end(struct websocket *ws)
{
    ws->in_frame = false;
    ws->header_len = 0;
}

static enum err next(struct websocket *ws, struct bytes *input, uint8_t *room,
                     size_t room_len, struct websocket_piece *out)
{
    *out = (struct websocket_piece){WEBSOCKET_MORE, {0}};
    while (out->kind == WEBSOCKET_MORE) {
        if (!ws->in_frame)
            TRY(header_take(ws, input));
        if (!ws->in_frame)
            break;
        bool control = is_control(ws->header[0] & OPCODE);
        size_t len = payload_take(
            ws, input, control ? ws->control + ws->control_len : room,
            control ? WEBSOCKET_CONTROL_MAX : room_len);
        if (control)
            ws->control_len = (uint8_t)(ws->control_len + len);
        else if (len > 0)
            *out = (struct websocket_piece){WEBSOCKET_DATA, {room, len}};
        if (ws->left == 0) {
            frame_end(ws);
            if (control)
                return control_end(ws, out);
        } else if (input->len == 0) {
            break;
        }
    }
    return OK;
}

enum err websocket_next(struct websocket *ws, struct bytes *input,
                        uint8_t *room, size_t room_len,
                        struct websocket_piece *out)
{
    assert(room_len > 0);
    if (ws->err == OK)
        ws->err = next(ws, input, room, room_len, out);
    return ws->err;
}

/* ---- Out ---- */

struct bytes websocket_header(enum websocket_kind kind, size_t len,
                              uint8_t room[WEBSOCKET_HEADER_MAX])
{
    static const uint8_t opcodes[] = {[WEBSOCKET_DATA] = BINARY,
                                      [WEBSOCKET_PING] = PING,
                                      [WEBSOCKET_PONG] = PONG,
                                      [WEBSOCKET_CLOSE] = CLOSE};
    struct buf out = {room, 0, WEBSOCKET_HEADER_MAX, WEBSOCKET_HEADER_MAX};
    struct writer w = writer_to(&out);
    assert(kind != WEBSOCKET_MORE);
    writer_u8(&w, (uint8_t)(FIN | opcodes[kind]));
    if (len < LENGTH_16) {
        writer_u8(&w, (uint8_t)len);
    } else if (len <= UINT16_MAX) {
        writer_u8(&w, LENGTH_16);
        writer_u16(&w, (uint16_t)len);
    } else {
        writer_u8(&w, LENGTH_64);
        writer_u64(&w, len);
    }
    return buf_bytes(&out);
}

/* Section 4.2.1: "when decoded, is 16 bytes in length". */
static bool is_key(struct bytes key)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                   "abcdefghijklmnopqrstuvwxyz0123456789+/";
    char text[KEY_TEXT + 1] = {0};
    if (key.len != KEY_TEXT)
        return false;
    memcpy(text, key.data, KEY_TEXT);
    return strspn(text, alphabet) == KEY_TEXT - 2 &&
           strcmp(text + KEY_TEXT - 2, "==") == 0;
}

enum err websocket_accept(struct bytes key, char out[WEBSOCKET_ACCEPT_TEXT])
{
    static const char magic[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    uint8_t joined[KEY_TEXT + sizeof magic - 1];
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    if (!is_key(key))
        return ERR_MALFORMED;
    memcpy(joined, key.data, KEY_TEXT);
    memcpy(joined + KEY_TEXT, magic, sizeof magic - 1);
    if (EVP_Digest(joined, sizeof joined, digest, &len, EVP_sha1(), NULL) != 1)
        return ERR_NOMEM;
    (void)EVP_EncodeBlock((unsigned char *)out, digest, (int)len);
    return OK;
}
