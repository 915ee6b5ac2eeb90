/* SPDX-License-Identifier: Apache-2.0 */
/* What drives the machine: the requests and answers of calls.c, and one
 * function per theme that sends what its rows say is due. */
#pragma once

#include "client/state.h"

#include "proto/derive.h"
#include "proto/hello.h"

/* Sends whatever is due; after each input. */
MUST_USE enum err pump(struct client *c);
/* The same after a step that was committed and must not be taken again: where
 * it fails, the next tick is due at once, and tells the error if it lasts. */
void pump_due(struct client *c);

/* --- calls.c --- */

MUST_USE enum err call_hello(struct client *c, struct lane_state *l);
MUST_USE enum err call_receive(struct client *c, struct lane_state *l,
                               uint8_t kind, uint32_t id, struct bytes message);
/* Sends a request for a task; does nothing if it is on its way already. */
MUST_USE enum err call_send(struct client *c, struct lane_state *l,
                            const struct call *what, const struct request *q);
bool call_active(const struct lane_state *l, enum task task, int64_t row);
size_t call_count(const struct lane_state *l, enum task task);

/* What both ends know of the connection, after hello. */
struct session lane_session(const struct lane_state *l);
/* Seconds since 1970 by the server's clock. */
uint64_t lane_server_time(const struct client *c, const struct lane_state *l);

/* --- work.c --- */

struct work_for {
    enum task task;
    int64_t row;
    enum pow_purpose purpose;
    struct bytes subject; /* [32]; empty: a random one, drawn once */
};

/* Does a slice of a task's proof of work. *out is the solution, lent until the
 * next call, or NULL: then the task asks again in the next pump. */
MUST_USE enum err work_slice(struct client *c, struct lane_state *l,
                             const struct work_for *f, const struct work **out);
void work_pump_begin(struct client *c);
void work_pump_end(struct client *c);

/* An answer for a handler; what it needs is in one place. */
struct answered {
    struct client *client;
    struct lane_state *lane;
    struct call call;
    const struct answer *answer;
};

/* Each does its part of the pump. */
MUST_USE enum err account_pump(struct client *c);
MUST_USE enum err packages_pump(struct client *c, struct lane_state *l);
MUST_USE enum err intent_pump(struct client *c);
MUST_USE enum err mail_pump(struct client *c);
MUST_USE enum err joining_pump(struct client *c);
MUST_USE enum err conv_pump(struct client *c, struct conv *cv);

/* The handlers of answers, in the order of enum task. */
MUST_USE enum err on_register(const struct answered *a);
MUST_USE enum err on_login(const struct answered *a);
MUST_USE enum err on_package_count(const struct answered *a);
MUST_USE enum err on_package_publish(const struct answered *a);
MUST_USE enum err on_inbox_read(const struct answered *a);
MUST_USE enum err on_inbox_ack(const struct answered *a);
MUST_USE enum err on_lookup(const struct answered *a);
MUST_USE enum err on_chain(const struct answered *a);
MUST_USE enum err on_take(const struct answered *a);
MUST_USE enum err on_verify(const struct answered *a);
MUST_USE enum err on_mail(const struct answered *a);
MUST_USE enum err on_blob_get(const struct answered *a);
MUST_USE enum err on_create(const struct answered *a);
MUST_USE enum err on_attach(const struct answered *a);
MUST_USE enum err on_read(const struct answered *a);
MUST_USE enum err on_ack(const struct answered *a);
MUST_USE enum err on_reopen(const struct answered *a);
MUST_USE enum err on_blob_put(const struct answered *a);
MUST_USE enum err on_commit(const struct answered *a);
MUST_USE enum err on_message(const struct answered *a);

/* A push of the anonymous lane, and the hint of the identified one. */
MUST_USE enum err on_entry_event(struct client *c, struct lane_state *l,
                                 const struct entry_event *e);
MUST_USE enum err on_head_event(struct client *c, struct lane_state *l,
                                const struct head_event *e);
MUST_USE enum err on_inbox_event(struct client *c, struct lane_state *l,
                                 const struct inbox_event *e);
