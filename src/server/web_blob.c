/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blobs over HTTP (docs/protocol.md, section 15): each request is a client of
 * the core that says hello, and then gets or puts piece after piece by the
 * protocol's own methods. A piece is asked for when the one before has left,
 * and a body is read when the piece before it is durable, so that one piece is
 * all that is ever held.
 *
 *             +-> SIZE ---> PIECES ----> LAST     GET
 *     HELLO --+-> SIZE                            HEAD
 *             +-> OFFSET                          HEAD with a capability
 *             +-> OFFSET -> PIECES                PUT
 */
#include "server/web_impl.h"

#include "base/mem.h"
#include "proto/message.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PIECE        (64U << 10)
#define INPUT_MAX    (16U << 10) /* that may come at once */
#define RANGE_MAX    64U         /* of a Range, in text */
#define MS_PER_S     1000U
#define DAYS_DEFAULT 30U /* that a blob is kept */
#define SCHEME       "Sotto "
#define RIGHTS       3U /* channel, subscription, capability */
#define REQUEST_MAX  (PIECE + INPUT_MAX + 512U)

_Static_assert(PIECE + INPUT_MAX <= BLOB_PIECE_MAX, "a piece is one request");

enum step {
    STEP_HELLO,
    STEP_SIZE,
    STEP_OFFSET,
    STEP_PIECES,
    STEP_LAST, /* the last piece leaves */
};

struct transfer {
    enum step step;
    bool upload;
    bool with_rights;
    bool asked;            /* the core has a request */
    bool expects;          /* the client waits to be told to send */
    bool unchanged;        /* the client has it already */
    char range[RANGE_MAX]; /* what was asked for; empty: all */
    uint32_t next_id;
    uint16_t days;
    struct http_range left; /* to be sent, or to come */
    uint64_t body_left;     /* of an upload, not come yet */
    uint64_t total;
    uint8_t id[ID_SIZE];
    uint8_t rights[RIGHTS][ID_SIZE];
    struct buf piece; /* of an upload */
};

void transfer_free(struct transfer **transfer)
{
    if (*transfer == NULL)
        return;
    buf_clear(&(*transfer)->piece);
    mem_free(*transfer, sizeof **transfer);
    *transfer = NULL;
}

bool transfer_waits(const struct transfer *t)
{
    return !t->upload || t->step != STEP_PIECES || t->asked;
}

size_t transfer_held(const struct transfer *t) { return t->piece.cap; }

/* ---- What the client wants ---- */

static bool digit_of(uint8_t c, uint8_t *out)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c != '\0' ? strchr(digits, c) : NULL;
    *out = at != NULL ? (uint8_t)(at - digits) : 0;
    return at != NULL;
}

/* Lower-case hexadecimal digits, so that each id has one name. */
static bool hex_read(struct bytes text, uint8_t out[ID_SIZE])
{
    if (text.len != 2 * (size_t)ID_SIZE)
        return false;
    for (size_t i = 0; i < ID_SIZE; i++) {
        uint8_t high = 0;
        uint8_t low = 0;
        if (!digit_of(text.data[2 * i], &high) ||
            !digit_of(text.data[2 * i + 1], &low))
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

/* Sotto CHANNEL.SUBSCRIPTION.CAPABILITY */
static bool rights_read(struct bytes text, uint8_t out[RIGHTS][ID_SIZE])
{
    const size_t scheme = sizeof SCHEME - 1;
    const size_t digits = 2 * (size_t)ID_SIZE;
    if (text.len != scheme + RIGHTS * digits + RIGHTS - 1 ||
        !http_equal((struct bytes){text.data, scheme}, SCHEME))
        return false;
    const uint8_t *at = text.data + scheme;
    for (size_t i = 0; i < RIGHTS; i++, at += digits + 1)
        if (!hex_read((struct bytes){at, digits}, out[i]) ||
            (i + 1 < RIGHTS && at[digits] != '.'))
            return false;
    return true;
}

#define TAG_TEXT (2 * (size_t)ID_SIZE + sizeof "\"\"")

static void tag_write(const struct transfer *t, char out[TAG_TEXT])
{
    int len = snprintf(out, TAG_TEXT, "\"");
    for (size_t i = 0; i < ID_SIZE; i++)
        len += snprintf(out + len, TAG_TEXT - (size_t)len, "%02x", t->id[i]);
    (void)snprintf(out + len, TAG_TEXT - (size_t)len, "\"");
}

/* RFC 9110, sections 13.1.2 and 13.1.5. A blob never changes, so its name is
 * its tag. */
static void download_wanted(struct transfer *t, const struct http_request *q)
{
    char tag[TAG_TEXT];
    struct bytes range = q->fields[HTTP_RANGE];
    tag_write(t, tag);
    t->unchanged = http_lists(q->fields[HTTP_IF_NONE_MATCH], tag) ||
                   http_lists(q->fields[HTTP_IF_NONE_MATCH], "*");
    if (http_has(q, HTTP_IF_RANGE) &&
        !http_equal(q->fields[HTTP_IF_RANGE], tag))
        return;
    if (q->method == HTTP_GET && range.len > 0 && range.len < RANGE_MAX)
        memcpy(t->range, range.data, range.len);
}

/* Reads what is to come; returns why it cannot, or NULL. */
static const char *upload_wanted(struct transfer *t,
                                 const struct http_request *q)
{
    uint64_t len = 0;
    uint64_t days = DAYS_DEFAULT;
    if (http_number(q->fields[HTTP_CONTENT_LENGTH], &len) != OK || len == 0)
        return "the length of the body is not one of a piece\n";
    t->left = (struct http_range){0, len};
    t->total = len;
    if (http_has(q, HTTP_CONTENT_RANGE) &&
        (http_content_range_read(q->fields[HTTP_CONTENT_RANGE], &t->left,
                                 &t->total) != OK ||
         t->left.end - t->left.first != len))
        return "the range of the body is not one of a piece\n";
    if (http_has(q, HTTP_BLOB_DAYS) &&
        (http_number(q->fields[HTTP_BLOB_DAYS], &days) != OK ||
         days > BLOB_DAYS_MAX))
        return "the number of days is too large\n";
    t->days = (uint16_t)days;
    t->body_left = len;
    t->upload = true;
    t->expects = http_equal(q->fields[HTTP_EXPECT], "100-continue");
    return NULL;
}

/* ---- What the core is asked ---- */

static enum err ask(struct web *w, const struct request *q)
{
    struct transfer *t = w->transfer;
    CLEANUP(buf_clear) struct buf bytes = buf_new(REQUEST_MAX);
    TRY(request_write(&bytes, q));
    t->asked = true;
    return w->user->ask(w->ctx, t->next_id++, buf_bytes(&bytes));
}

static enum err ask_hello(struct web *w)
{
    static const uint8_t nonce[NONCE_SIZE]; /* whom it signs for is not asked */
    return ask(
        w, &(struct request){.method = METHOD_HELLO,
                             .hello = {.version = PROTOCOL_VERSION,
                                       .lane = LANE_ANONYMOUS,
                                       .client_nonce = BYTES_ARRAY(nonce)}});
}

static enum err ask_get(struct web *w, uint64_t offset, uint64_t max)
{
    const struct transfer *t = w->transfer;
    return ask(w,
               &(struct request){
                   .method = METHOD_BLOB_GET,
                   .blob_get = {.blob = BYTES_ARRAY(t->id),
                                .offset = offset,
                                .max = max < PIECE ? (uint32_t)max : PIECE}});
}

/* Without data it asks how much is stored. */
static enum err ask_put(struct web *w)
{
    const struct transfer *t = w->transfer;
    return ask(w, &(struct request){
                      .method = METHOD_BLOB_PUT,
                      .blob_put = {
                          .access = {.channel = BYTES_ARRAY(t->rights[0]),
                                     .sub = BYTES_ARRAY(t->rights[1]),
                                     .cap = BYTES_ARRAY(t->rights[2])},
                          .blob = BYTES_ARRAY(t->id),
                          .offset = t->left.first,
                          .total = t->total,
                          .days = t->days,
                          .data = t->step == STEP_PIECES ? buf_bytes(&t->piece)
                                                         : (struct bytes){0}}});
}

enum err transfer_begin(struct web *w, const struct http_request *q,
                        struct bytes name)
{
    struct transfer *t = mem_alloc(sizeof *t);
    const char *why = NULL;
    if (t == NULL)
        return ERR_NOMEM;
    w->transfer = t;
    t->piece = buf_new(PIECE + INPUT_MAX);
    if (!hex_read(name, t->id))
        return web_refuse(w, 404, "", "there is no blob of this name\n");
    t->with_rights = rights_read(q->fields[HTTP_AUTHORIZATION], t->rights);
    if (!t->with_rights &&
        (q->method == HTTP_PUT || http_has(q, HTTP_AUTHORIZATION)))
        return web_refuse(w, 401, "WWW-Authenticate: Sotto\r\n",
                          "this needs the right of a subscription\n");
    if (http_has(q, HTTP_TRANSFER_ENCODING))
        return web_refuse(w, 411, "", "a body comes with its length\n");
    if (q->method == HTTP_PUT)
        why = upload_wanted(t, q);
    else
        download_wanted(t, q);
    if (why != NULL)
        return web_refuse(w, 400, "", why);
    enum err err = web_open(w, q);
    if (err == ERR_STATE)
        return web_full(w);
    TRY(err);
    w->state = WEB_BLOB;
    return ask_hello(w);
}

/* ---- What the core answers ---- */

static enum err offset_reply(struct web *w, unsigned status, uint64_t offset,
                             const char *text)
{
    char fields[WEB_FIELDS_MAX];
    (void)snprintf(fields, sizeof fields, "Upload-Offset: %" PRIu64 "\r\n",
                   offset);
    return web_refuse(w, status, fields, text);
}

static const struct refusal {
    unsigned status;
    const char *why;
} refusals[STATUS_COUNT_] = {
    [STATUS_BUSY] = {503, "come back later\n"},
    [STATUS_AUTH] = {403, "the capability is not right\n"},
    [STATUS_NOTFOUND] = {404, "there is no such thing\n"},
    [STATUS_EXISTS] = {409, "it was begun with another size\n"},
    [STATUS_STATE] = {403, "the subscription has ended\n"},
    [STATUS_LIMIT] = {413, "this is more than is kept\n"},
};

static enum err failed(struct web *w, const struct answer *a)
{
    const struct refusal *r = &refusals[a->status];
    char fields[WEB_FIELDS_MAX] = "";
    if (a->status == STATUS_STATE && w->transfer->step == STEP_PIECES)
        return offset_reply(w, 409, a->detail, /* somebody else puts it too */
                            "go on from another place\n");
    if (a->status == STATUS_BUSY)
        (void)snprintf(fields, sizeof fields, "Retry-After: %" PRIu64 "\r\n",
                       a->detail / MS_PER_S + 1);
    if (r->status == 0)
        return web_refuse(w, 400, "", "this makes no sense\n");
    return web_refuse(w, r->status, fields, r->why);
}

static enum err got_hello(struct web *w)
{
    struct transfer *t = w->transfer;
    if (t->with_rights) {
        t->step = STEP_OFFSET;
        return ask_put(w);
    }
    t->step = STEP_SIZE;
    return ask_get(w, 0, 0);
}

/* RFC 9110, section 14.2: a range that makes no sense is as if none was asked
 * for. */
static enum err got_size(struct web *w, const struct answer *a)
{
    struct transfer *t = w->transfer;
    char tag[TAG_TEXT];
    char range[WEB_FIELDS_MAX] = "";
    char fields[WEB_FIELDS_MAX];
    unsigned status = 200;
    uint64_t total = a->blob_get.total;
    tag_write(t, tag);
    t->left = (struct http_range){0, total};
    enum err err = t->range[0] != '\0'
                       ? http_range_read(bytes_str(t->range), total, &t->left)
                       : ERR_MALFORMED;
    if (t->unchanged) {
        status = 304;
    } else if (err == ERR_NOTFOUND) {
        (void)snprintf(fields, sizeof fields,
                       "Content-Range: bytes */%" PRIu64 "\r\n", total);
        return web_refuse(w, 416, fields, "it has no such bytes\n");
    } else if (err == OK) {
        status = 206;
        (void)snprintf(range, sizeof range,
                       "Content-Range: bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64
                       "\r\n",
                       t->left.first, t->left.end - 1, total);
    }
    (void)snprintf(fields, sizeof fields,
                   "Accept-Ranges: bytes\r\n"
                   "ETag: %s\r\n"
                   "Content-Type: application/octet-stream\r\n"
                   "X-Content-Type-Options: nosniff\r\n"
                   "Content-Length: %" PRIu64 "\r\n%s",
                   tag, t->left.end - t->left.first, range);
    TRY(web_head(w, status, fields));
    if (status == 304 || w->head_only) {
        w->state = WEB_DONE;
        return OK;
    }
    t->step = STEP_PIECES; /* the first is asked for when this has left */
    return OK;
}

static enum err got_piece(struct web *w, const struct answer *a)
{
    struct transfer *t = w->transfer;
    struct bytes data = a->blob_get.data;
    if (data.len == 0 || data.len > t->left.end - t->left.first)
        return ERR_STATE; /* it has gone meanwhile */
    t->left.first += data.len;
    if (t->left.first == t->left.end)
        t->step = STEP_LAST;
    return w->user->send(w->ctx, data);
}

/* Sends what has come, if it is enough for now. */
static enum err put_piece(struct web *w)
{
    struct transfer *t = w->transfer;
    if (t->asked || (t->piece.len < PIECE && t->body_left > 0))
        return OK;
    return ask_put(w);
}

static enum err got_offset(struct web *w, const struct answer *a)
{
    struct transfer *t = w->transfer;
    if (!t->upload)
        return offset_reply(w, 200, a->blob_put.stored, "");
    if (a->blob_put.stored != t->left.first)
        return offset_reply(w, 409, a->blob_put.stored,
                            "go on from another place\n");
    t->step = STEP_PIECES;
    if (t->expects)
        TRY(w->user->send(w->ctx, BYTES_LIT("HTTP/1.1 100 Continue\r\n\r\n")));
    return put_piece(w);
}

static enum err got_stored(struct web *w, const struct answer *a)
{
    struct transfer *t = w->transfer;
    buf_truncate(&t->piece, 0);
    t->left.first = a->blob_put.stored;
    if (t->left.first < t->left.end)
        return OK; /* the next bytes are read now */
    return offset_reply(w, t->left.first == t->total ? 201 : 200, t->left.first,
                        "");
}

enum err transfer_answer(struct web *w, struct bytes message)
{
    struct transfer *t = w->transfer;
    struct answer a;
    TRY(answer_read(message, &a));
    t->asked = false;
    if (a.status != STATUS_OK) /* in the middle of an answer it is cut off */
        return t->step == STEP_PIECES && !t->upload ? ERR_STATE : failed(w, &a);
    switch (t->step) {
    case STEP_HELLO:
        return got_hello(w);
    case STEP_SIZE:
        return got_size(w, &a);
    case STEP_OFFSET:
        return got_offset(w, &a);
    case STEP_PIECES:
        return t->upload ? got_stored(w, &a) : got_piece(w, &a);
    case STEP_LAST:
        break;
    }
    return ERR_STATE;
}

/* ---- What else happens ---- */

enum err transfer_data(struct web *w, struct bytes bytes)
{
    struct transfer *t = w->transfer;
    if (!t->upload)
        return OK; /* nobody asked for it */
    if (bytes.len > t->body_left)
        bytes.len = (size_t)t->body_left;
    TRY(buf_append(&t->piece, bytes));
    t->body_left -= bytes.len;
    return t->step == STEP_PIECES ? put_piece(w) : OK;
}

enum err transfer_drained(struct web *w)
{
    struct transfer *t = w->transfer;
    if (t->upload || t->asked)
        return OK;
    if (t->step == STEP_LAST)
        w->state = WEB_DONE;
    else if (t->step == STEP_PIECES)
        return ask_get(w, t->left.first, t->left.end - t->left.first);
    return OK;
}
