/* SPDX-License-Identifier: Apache-2.0 */
/*
 *            a route answers              Close came, or a fault
 *   HEAD ----------------------> DONE <--------------------------+
 *     |                          ^                               |
 *     +--- a blob ---> BLOB -----+                               |
 *     +------- upgraded to a WebSocket -------> SOCKET ----------+
 */
#include "server/web_impl.h"

#include "base/mem.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#define PATH_SOCKET "/sotto"
#define PATH_BLOBS  "/blob/"
#define SUBPROTOCOL "sotto.1"
#define ANSWER_MAX  512U /* its head */
#define METRICS_MAX (16U << 10)
#define ROOM        (4U << 10) /* data that is unmasked at a time */

enum err web_create(enum web_door door, const struct web_user *user, void *ctx,
                    struct web **out_web)
{
    struct web *w = mem_alloc(sizeof *w);
    if (w == NULL)
        return ERR_NOMEM;
    *w = (struct web){
        .user = user, .ctx = ctx, .head = buf_new(HTTP_HEAD_MAX), .door = door};
    *out_web = w;
    return OK;
}

void web_free(struct web **web)
{
    if (*web == NULL)
        return;
    buf_clear(&(*web)->head);
    transfer_free(&(*web)->transfer);
    mem_free(*web, sizeof **web);
    *web = NULL;
}

bool web_done(const struct web *web) { return web->state == WEB_DONE; }

size_t web_held(const struct web *web)
{
    return web->head.cap +
           (web->transfer != NULL ? transfer_held(web->transfer) : 0);
}

bool web_waits(const struct web *web)
{
    return web->state == WEB_BLOB && transfer_waits(web->transfer);
}

bool web_asks(const struct web *web) { return web->transfer != NULL; }

enum err web_answer(struct web *web, struct bytes message)
{
    return web->state == WEB_BLOB ? transfer_answer(web, message) : OK;
}

enum err web_drained(struct web *web)
{
    return web->state == WEB_BLOB ? transfer_drained(web) : OK;
}

/* ---- Answers ---- */

static const char *status_text_of(unsigned status)
{
    static const struct {
        unsigned status;
        const char *text;
    } all[] = {
        {200, "OK"},
        {201, "Created"},
        {206, "Partial Content"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {409, "Conflict"},
        {411, "Length Required"},
        {413, "Content Too Large"},
        {416, "Range Not Satisfiable"},
        {426, "Upgrade Required"},
        {431, "Request Header Fields Too Large"},
        {503, "Service Unavailable"},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        if (all[i].status == status)
            return all[i].text;
    return "";
}

enum err web_head(struct web *w, unsigned status, const char *fields)
{
    char head[ANSWER_MAX];
    int len = snprintf(head, sizeof head,
                       "HTTP/1.1 %u %s\r\n"
                       "%s"
                       "Cache-Control: no-store\r\n"
                       "Connection: close\r\n\r\n",
                       status, status_text_of(status), fields);
    assert(len > 0 && (size_t)len < sizeof head);
    return w->user->send(w->ctx, (struct bytes){(uint8_t *)head, (size_t)len});
}

enum err web_reply(struct web *w, unsigned status, const char *fields,
                   struct bytes body)
{
    char all[WEB_FIELDS_MAX + 128];
    int len = snprintf(all, sizeof all,
                       "%s"
                       "Content-Type: text/plain; charset=utf-8\r\n"
                       "Content-Length: %zu\r\n",
                       fields, body.len);
    assert(len > 0 && (size_t)len < sizeof all);
    w->state = WEB_DONE;
    TRY(web_head(w, status, all));
    return w->head_only ? OK : w->user->send(w->ctx, body);
}

enum err web_refuse(struct web *w, unsigned status, const char *fields,
                    const char *why)
{
    return web_reply(w, status, fields, bytes_str(why));
}

enum err web_full(struct web *w)
{
    return web_refuse(w, 503, "Retry-After: 60\r\n",
                      "too many are connected from there\n");
}

/* What a proxy adds is the last of its list; nobody else is believed. */
enum err web_open(struct web *w, const struct http_request *q)
{
    struct bytes origin = {0};
    if (w->door == WEB_PROXY)
        origin = http_last(q->fields[HTTP_FORWARDED_FOR]);
    return w->user->open(w->ctx, origin);
}

/* ---- WebSocket ---- */

#define UPGRADE_FIELDS "Upgrade: websocket\r\nConnection: Upgrade\r\n"

static enum err socket_send(struct web *w, enum websocket_kind kind,
                            struct bytes bytes)
{
    uint8_t room[WEBSOCKET_HEADER_MAX];
    TRY(w->user->send(w->ctx, websocket_header(kind, bytes.len, room)));
    return w->user->send(w->ctx, bytes);
}

/* RFC 6455, section 7.1.2: our last frame. */
static enum err socket_close(struct web *w, enum websocket_status status)
{
    const uint8_t code[] = {(uint8_t)(status >> 8), (uint8_t)status};
    w->state = WEB_DONE;
    return socket_send(w, WEBSOCKET_CLOSE, BYTES_ARRAY(code));
}

/* RFC 6455, section 4.2; says the first thing that is missing. */
static enum err upgrade(struct web *w, const struct http_request *q)
{
    char accept[WEBSOCKET_ACCEPT_TEXT];
    char head[ANSWER_MAX];
    if (!http_lists(q->fields[HTTP_UPGRADE], "websocket") ||
        !http_lists(q->fields[HTTP_CONNECTION], "upgrade"))
        return web_refuse(w, 426, UPGRADE_FIELDS, "this is a WebSocket\n");
    if (!http_equal(q->fields[HTTP_WEBSOCKET_VERSION], "13"))
        return web_refuse(w, 426,
                          UPGRADE_FIELDS "Sec-WebSocket-Version: 13\r\n",
                          "this is a WebSocket of version 13\n");
    if (!http_lists(q->fields[HTTP_WEBSOCKET_PROTOCOL], SUBPROTOCOL))
        return web_refuse(w, 400, "", "the subprotocol is " SUBPROTOCOL "\n");
    enum err err = websocket_accept(q->fields[HTTP_WEBSOCKET_KEY], accept);
    if (err == ERR_MALFORMED)
        return web_refuse(w, 400, "", "the key of the WebSocket is wrong\n");
    TRY(err);
    err = web_open(w, q);
    if (err == ERR_STATE)
        return web_full(w);
    TRY(err);
    int len = snprintf(head, sizeof head,
                       "HTTP/1.1 101 Switching Protocols\r\n" UPGRADE_FIELDS
                       "Sec-WebSocket-Accept: %s\r\n"
                       "Sec-WebSocket-Protocol: " SUBPROTOCOL "\r\n\r\n",
                       accept);
    assert(len > 0 && (size_t)len < sizeof head);
    w->state = WEB_SOCKET;
    return w->user->send(w->ctx, (struct bytes){(uint8_t *)head, (size_t)len});
}

static enum err socket_piece(struct web *w, const struct websocket_piece *p)
{
    switch (p->kind) {
    case WEBSOCKET_DATA:
        return w->user->frames(w->ctx, p->bytes);
    case WEBSOCKET_PING:
        return socket_send(w, WEBSOCKET_PONG, p->bytes);
    case WEBSOCKET_CLOSE: /* section 5.5.1: "typically echoes the status" */
        w->state = WEB_DONE;
        return socket_send(w, WEBSOCKET_CLOSE, p->bytes);
    case WEBSOCKET_PONG:
    case WEBSOCKET_MORE:
        break;
    }
    return OK;
}

static enum err socket_data(struct web *w, struct bytes input)
{
    uint8_t room[ROOM];
    while (w->state == WEB_SOCKET) {
        struct websocket_piece p = {0};
        enum err err =
            websocket_next(&w->socket, &input, room, sizeof room, &p);
        if (err != OK)
            return socket_close(w, err == ERR_INVALID ? WEBSOCKET_UNSUPPORTED
                                                      : WEBSOCKET_PROTOCOL);
        if (p.kind == WEBSOCKET_MORE)
            break;
        TRY(socket_piece(w, &p));
    }
    return OK;
}

enum err web_announce(struct web *web, size_t len)
{
    uint8_t room[WEBSOCKET_HEADER_MAX];
    if (web->state != WEB_SOCKET)
        return ERR_STATE;
    return web->user->send(web->ctx,
                           websocket_header(WEBSOCKET_DATA, len, room));
}

void web_end(struct web *web)
{
    if (web->state == WEB_SOCKET)
        (void)socket_close(web, WEBSOCKET_GOING_AWAY);
}

/* ---- What the operator asks ---- */

static enum err health(struct web *w, const struct http_request *q)
{
    (void)q;
    return w->user->healthy(w->ctx) ? web_refuse(w, 200, "", "ok\n")
                                    : web_refuse(w, 503, "", "not well\n");
}

static enum err metrics(struct web *w, const struct http_request *q)
{
    CLEANUP(buf_clear) struct buf text = buf_new(METRICS_MAX);
    (void)q;
    TRY(w->user->metrics(w->ctx, &text));
    return web_reply(w, 200, "", buf_bytes(&text));
}

/* ---- Routes ---- */

static enum err blob(struct web *w, const struct http_request *q)
{
    const size_t before = sizeof PATH_BLOBS - 1;
    return transfer_begin(
        w, q, (struct bytes){q->path.data + before, q->path.len - before});
}

#define BIT(x) (1U << (x))

static const struct route {
    const char *path;
    unsigned doors;
    unsigned methods;
    const char *allow; /* the methods, in text */
    enum err (*serve)(struct web *w, const struct http_request *q);
} routes[] = {
    {PATH_SOCKET, BIT(WEB_PUBLIC) | BIT(WEB_PROXY), BIT(HTTP_GET), "GET",
     upgrade},
    {PATH_BLOBS, BIT(WEB_PUBLIC) | BIT(WEB_PROXY),
     BIT(HTTP_GET) | BIT(HTTP_HEAD) | BIT(HTTP_PUT), "GET, HEAD, PUT", blob},
    {"/health", BIT(WEB_PUBLIC) | BIT(WEB_PROXY) | BIT(WEB_ADMIN),
     BIT(HTTP_GET) | BIT(HTTP_HEAD), "GET, HEAD", health},
    {"/metrics", BIT(WEB_ADMIN), BIT(HTTP_GET) | BIT(HTTP_HEAD), "GET, HEAD",
     metrics},
};

/* A route that ends with a slash has names below it. */
static bool leads(const struct route *r, struct bytes path)
{
    struct bytes want = bytes_str(r->path);
    if (want.data[want.len - 1] == '/' && path.len > want.len)
        path.len = want.len;
    return bytes_equal(path, want);
}

static enum err serve(struct web *w, const struct http_request *q)
{
    w->head_only = q->method == HTTP_HEAD;
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        const struct route *r = &routes[i];
        if ((r->doors & BIT(w->door)) == 0 || !leads(r, q->path))
            continue;
        if ((r->methods & BIT(q->method)) != 0)
            return r->serve(w, q);
        char allow[sizeof "Allow: GET, HEAD, PUT\r\n"];
        (void)snprintf(allow, sizeof allow, "Allow: %s\r\n", r->allow);
        return web_refuse(w, 405, allow, "not with this method\n");
    }
    return web_refuse(w, 404, "", "there is nothing here\n");
}

/* Once the head is whole; what came after it is the caller's. */
static enum err head_read(struct web *w, size_t len)
{
    struct http_request q;
    const struct bytes head = {w->head.data, len};
    if (http_request_read(head, &q) != OK)
        return web_refuse(w, 400, "", "the request cannot be understood\n");
    return serve(w, &q);
}

/* Takes the head, or what there is of it, from the front of `input`. */
static enum err head_data(struct web *w, struct bytes *input)
{
    size_t before = w->head.len;
    size_t room = HTTP_HEAD_MAX - before;
    const struct bytes part = {input->data,
                               input->len < room ? input->len : room};
    TRY(buf_append(&w->head, part));
    size_t len = http_head_len(buf_bytes(&w->head));
    size_t used = len > 0 ? len - before : part.len; /* it ends in this part */
    *input = (struct bytes){input->data + used, input->len - used};
    if (len == 0)
        return part.len < room
                   ? OK
                   : web_refuse(w, 431, "",
                                "the head of the request is too long\n");
    enum err err = head_read(w, len);
    buf_clear(&w->head);
    return err;
}

enum err web_data(struct web *web, struct bytes bytes)
{
    if (web->state == WEB_HEAD)
        TRY(head_data(web, &bytes));
    switch (web->state) {
    case WEB_SOCKET:
        return socket_data(web, bytes);
    case WEB_BLOB:
        return transfer_data(web, bytes);
    case WEB_HEAD: /* not whole yet */
    case WEB_DONE: /* who gets an answer may still be sending */
        break;
    }
    return OK;
}
