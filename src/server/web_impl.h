/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the web share. */
#pragma once

#include "server/web.h"
#include "sys/http.h"
#include "sys/websocket.h"

#define WEB_FIELDS_MAX 384U /* of an answer, in text */

enum web_state {
    WEB_HEAD,   /* a request comes */
    WEB_SOCKET, /* a WebSocket */
    WEB_BLOB,   /* a blob comes or goes: `transfer` */
    WEB_DONE,   /* all that is to be sent was queued */
};

struct transfer;

struct web {
    const struct web_user *user;
    void *ctx;
    struct buf head;
    struct websocket socket;
    struct transfer *transfer;
    enum web_door door;
    enum web_state state;
    bool head_only; /* the answer has no body */
};

/* Sends the head of an answer; `fields` end with CR LF each. */
MUST_USE enum err web_head(struct web *w, unsigned status, const char *fields);

/* Sends a whole answer of text, and is done. */
MUST_USE enum err web_reply(struct web *w, unsigned status, const char *fields,
                            struct bytes body);

/* The same with a reason for people. */
MUST_USE enum err web_refuse(struct web *w, unsigned status, const char *fields,
                             const char *why);

/* Makes it a client of the core, on behalf of whom the request is. ERR_STATE:
 * there are too many from there, which web_full says. */
MUST_USE enum err web_open(struct web *w, const struct http_request *q);
MUST_USE enum err web_full(struct web *w);

/* ---- Blobs (web_blob.c) ---- */

/* Begins to answer a request for the blob with this name. */
MUST_USE enum err transfer_begin(struct web *w, const struct http_request *q,
                                 struct bytes name);
void transfer_free(struct transfer **transfer);

MUST_USE enum err transfer_data(struct web *w, struct bytes bytes);
MUST_USE enum err transfer_answer(struct web *w, struct bytes message);
MUST_USE enum err transfer_drained(struct web *w);

/* Says whether it takes no bytes for now. */
bool transfer_waits(const struct transfer *t);
size_t transfer_held(const struct transfer *t);
