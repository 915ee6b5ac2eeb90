/* SPDX-License-Identifier: Apache-2.0 */
/* What people read: messages, and notices of what happened in between. */
#pragma once

#include "client/state.h"

#include "proto/envelope.h"

struct message_row {
    int64_t conversation;
    uint64_t seq; /* 0: not in the log yet */
    uint64_t time;
    enum client_message_kind kind;
    enum client_event_kind event;
    bool own;
    bool read;
    struct bytes account;
    struct bytes device;
    struct bytes content; /* empty: none */
    struct bytes body;
};

/* ERR_EXISTS: a message with this content id is there already. */
MUST_USE enum err message_insert(struct client *c, const struct message_row *m,
                                 int64_t *out_id);
/* An own message has its place in the log. */
MUST_USE enum err message_place(struct client *c, int64_t id, uint64_t seq,
                                uint64_t time);
MUST_USE enum err message_fail(struct client *c, int64_t id);

struct notice {
    enum client_event_kind kind;
    struct bytes account; /* whom it is about; may be empty */
    const char *detail;   /* may be NULL */
    uint64_t time;        /* 0: now */
};

/* Writes it into the conversation's log and makes it an event. */
MUST_USE enum err conv_notice(struct client *c, const struct conv *cv,
                              const struct notice *n);
