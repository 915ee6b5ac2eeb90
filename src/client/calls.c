/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests on their way. Each was made for a task; the table says on which lane
 * it goes and who takes its answer. They are kept in memory only: when a lane
 * goes down they are forgotten, and pump() makes those again that still matter.
 *
 *   lane:  down -> said hello -> (logging in) -> ready
 */
#include "client/pump.h"

#include "base/mem.h"
#include "proto/hello.h"
#include "proto/invite.h"

#include <stdio.h>
#include <string.h>

struct task_row {
    enum method method;
    enum err (*answered)(const struct answered *a);
};

static enum err on_hello(const struct answered *a);

static const struct task_row task_table[TASKS] = {
    [TASK_HELLO] = {METHOD_HELLO, on_hello},
    [TASK_REGISTER] = {METHOD_REGISTER, on_register},
    [TASK_LOGIN] = {METHOD_LOGIN, on_login},
    [TASK_PACKAGE_COUNT] = {METHOD_KP_COUNT, on_package_count},
    [TASK_PACKAGE_PUBLISH] = {METHOD_KP_PUBLISH, on_package_publish},
    [TASK_INBOX_READ] = {METHOD_INBOX_READ, on_inbox_read},
    [TASK_INBOX_ACK] = {METHOD_INBOX_ACK, on_inbox_ack},
    [TASK_LOOKUP] = {METHOD_LOOKUP, on_lookup},
    [TASK_CHAIN] = {METHOD_CHAIN, on_chain},
    [TASK_TAKE] = {METHOD_KP_TAKE, on_take},
    [TASK_VERIFY] = {METHOD_LOOKUP, on_verify},
    [TASK_MAIL] = {METHOD_INBOX_APPEND, on_mail},
    [TASK_BLOB_GET] = {METHOD_BLOB_GET, on_blob_get},
    [TASK_CREATE] = {METHOD_CHANNEL_CREATE, on_create},
    [TASK_ATTACH] = {METHOD_ATTACH, on_attach},
    [TASK_READ] = {METHOD_READ, on_read},
    [TASK_ACK] = {METHOD_ACK, on_ack},
    [TASK_REOPEN] = {METHOD_REOPEN, on_reopen},
    [TASK_BLOB_PUT] = {METHOD_BLOB_PUT, on_blob_put},
    [TASK_COMMIT] = {METHOD_APPEND, on_commit},
    [TASK_MESSAGE] = {METHOD_APPEND, on_message},
};

bool call_active(const struct lane_state *l, enum task task, int64_t row)
{
    for (const struct call *k = l->calls; k != NULL; k = k->next) {
        if (k->task == task && k->row == row)
            return true;
    }
    return false;
}

size_t call_count(const struct lane_state *l, enum task task)
{
    size_t count = 0;
    for (const struct call *k = l->calls; k != NULL; k = k->next)
        count += k->task == task;
    return count;
}

enum err call_send(struct client *c, struct lane_state *l,
                   const struct call *what, const struct request *q)
{
    if (call_active(l, what->task, what->row))
        return OK;
    struct request request = *q;
    request.method = (uint16_t)task_table[what->task].method;
    CLEANUP(buf_clear) struct buf message = buf_new(MESSAGE_MAX);
    TRY(request_write(&message, &request));
    struct call *k = mem_alloc(sizeof *k);
    if (k == NULL)
        return ERR_NOMEM;
    *k = *what;
    k->id = ++l->last_id;
    enum err err = client_output_add(c, l, k->id, &message);
    if (err != OK) {
        mem_free(k, sizeof *k);
        return err;
    }
    k->next = l->calls;
    l->calls = k;
    return OK;
}

/* --- hello --- */

enum err call_hello(struct client *c, struct lane_state *l)
{
    random_fill(c->random, l->client_nonce, sizeof l->client_nonce);
    l->phase = LANE_SAID_HELLO;
    struct request q = {.hello = {
                            .version = PROTOCOL_VERSION,
                            .lane = (uint8_t)l->kind,
                            .client_nonce = ID_BYTES(l->client_nonce),
                        }};
    return call_send(c, l, &(struct call){.task = TASK_HELLO}, &q);
}

struct session lane_session(const struct lane_state *l)
{
    return (struct session){
        .lane = (uint8_t)l->kind,
        .server_key = ID_BYTES(l->server->key),
        .client_nonce = ID_BYTES(l->client_nonce),
        .server_nonce = ID_BYTES(l->server_nonce),
        .exporter = bytes_of(l->exporter, l->exporter_len),
    };
}

uint64_t lane_server_time(const struct client *c, const struct lane_state *l)
{
    uint64_t since = c->now > l->hello_at ? c->now - l->hello_at : 0;
    return l->server_time + since / SECOND_MS;
}

/* Says whether the key is the one that is pinned, or the one of the invite. */
static enum err server_key_known(struct client *c, const struct server *s,
                                 struct bytes key, bool *out)
{
    if (s->has_key) {
        *out = bytes_equal(key, ID_BYTES(s->key));
        return OK;
    }
    *out = true;
    if (!s->has_key_hash)
        return OK; /* TLS has told who it is */
    enum err err = invite_pin_check(c->crypto, ID_BYTES(s->key_hash), key);
    *out = err == OK;
    return err == ERR_AUTH ? OK : err;
}

static enum err server_pin(struct client *c, struct server *s, struct bytes key)
{
    if (s->has_key)
        return OK;
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "pin server", &step));
    memcpy(s->key, key.data, sizeof s->key);
    s->has_key = true;
    TRY(server_save(c, s));
    return step_commit(&step);
}

static enum err hello_refused(const struct answered *a)
{
    struct client *c = a->client;
    struct lane_state *l = a->lane;
    lane_close(c, l);
    if (a->answer->status != STATUS_UNSUPPORTED)
        return OK; /* busy: come back later */
    char detail[120];
    (void)snprintf(detail, sizeof detail,
                   "the server speaks version %llu, this program version %u",
                   (unsigned long long)a->answer->detail, PROTOCOL_VERSION);
    return client_note(c, CLIENT_SERVER_VERSION, detail);
}

static enum err on_hello(const struct answered *a)
{
    struct client *c = a->client;
    struct lane_state *l = a->lane;
    if (a->answer->status != STATUS_OK)
        return hello_refused(a);
    const struct hello_answer *h = &a->answer->hello;
    bool known = false;
    TRY(server_key_known(c, l->server, h->server_key, &known));
    memcpy(l->server_nonce, h->server_nonce.data, sizeof l->server_nonce);
    struct session session = lane_session(l);
    session.server_key = h->server_key;
    enum err err = hello_verify(c->crypto, &session, h);
    if (err == ERR_NOMEM)
        return err;
    if (err != OK || !known) {
        lane_close(c, l);
        return lane_note(c, l, CLIENT_SERVER_UNKNOWN,
                         "has another key than the one that is known: nothing "
                         "was sent to it");
    }
    if (h->pow_bits > POW_BITS_MAX) {
        lane_close(c, l);
        return lane_note(c, l, CLIENT_SERVER_BROKEN,
                         "asks for more work than the protocol allows: ask "
                         "its operator");
    }
    TRY(server_pin(c, l->server, h->server_key));
    l->pow_bits = h->pow_bits;
    l->server_time = h->time;
    l->hello_at = c->now;
    l->reconnect_ms = h->reconnect_delay_ms;
    l->phase = l->kind == CLIENT_IDENTIFIED ? LANE_LOGGING_IN : LANE_READY;
    return OK;
}

/* --- receiving --- */

static struct call *call_take(struct lane_state *l, uint32_t id)
{
    struct call **at = &l->calls;
    while (*at != NULL && (*at)->id != id)
        at = &(*at)->next;
    struct call *k = *at;
    if (k != NULL)
        *at = k->next;
    return k;
}

static enum err receive_answer(struct client *c, struct lane_state *l,
                               uint32_t id, struct bytes message)
{
    struct answer answer = {0};
    TRY(answer_read(message, &answer));
    struct call *k = call_take(l, id);
    if (k == NULL)
        return ERR_INVALID; /* nobody asked */
    struct answered a = {.client = c, .lane = l, .call = *k, .answer = &answer};
    mem_free(k, sizeof *k);
    const struct task_row *row = &task_table[a.call.task];
    if (answer.method != row->method)
        return ERR_INVALID;
    return row->answered(&a);
}

static enum err receive_event(struct client *c, struct lane_state *l,
                              struct bytes message)
{
    struct request event = {0};
    enum err err = request_read(message, &event);
    if (err == ERR_NOTFOUND)
        return OK; /* of a newer server */
    TRY(err);
    switch (event.method) {
    case EVENT_INBOX_ITEM:
        return on_inbox_event(c, l, &event.inbox_event);
    case EVENT_ENTRY:
        return on_entry_event(c, l, &event.entry_event);
    case EVENT_HEAD:
        return on_head_event(c, l, &event.head_event);
    default:
        return ERR_INVALID;
    }
}

enum err call_receive(struct client *c, struct lane_state *l, uint8_t kind,
                      uint32_t id, struct bytes message)
{
    switch (kind) {
    case FRAME_ANSWER:
        return receive_answer(c, l, id, message);
    case FRAME_EVENT:
        return receive_event(c, l, message);
    default:
        return ERR_INVALID;
    }
}

enum err pump(struct client *c)
{
    c->deadline = UINT64_MAX;
    if (c->profile.state == PROFILE_NONE)
        return OK;
    TRY(account_pump(c));
    if (c->profile.state != PROFILE_READY)
        return OK;
    work_pump_begin(c);
    TRY(joining_pump(c));
    TRY(intent_pump(c));
    for (struct conv *cv = c->convs; cv != NULL; cv = cv->next)
        TRY(conv_pump(c, cv));
    TRY(mail_pump(c)); /* last: the others write it */
    work_pump_end(c);
    return OK;
}

void pump_due(struct client *c)
{
    if (store_reload(c) != OK || pump(c) != OK)
        c->deadline = c->now;
}
