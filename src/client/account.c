/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The own account, on the identified lane: registration, login, KeyPackages and
 * the inbox.
 *
 *   registering -> ready
 *        \-> refused (the name is taken, the invite is not good)
 */
#include "client/pump.h"

#include "base/mem.h"
#include "client/join.h"
#include "client/people.h"
#include "client/rejoin.h"
#include "proto/inbox.h"

#include <stdio.h>
#include <string.h>

/* --- the first state --- */

/* Too large for a stack. */
static void state_release(struct state **p)
{
    mem_free(*p, sizeof **p);
    *p = NULL;
}

static enum err account_make(struct client *c, const struct server *home)
{
    struct profile *p = &c->profile;
    struct device device = {.id = ID_BYTES(p->device),
                            .signature_key = buf_bytes(&p->sign_public),
                            .sealing_kem = KEM_XWING,
                            .sealing_key = buf_bytes(&p->seal_public),
                            .may_authorise = true};
    CLEANUP(state_release) struct state *first = mem_alloc(sizeof *first);
    if (first == NULL)
        return ERR_NOMEM;
    CLEANUP(buf_clear) struct buf encoding = buf_new(STATE_MAX);
    CLEANUP(buf_clear) struct buf list = buf_new(STATE_MAX + 8);
    state_first(first, ID_BYTES(p->recovery_public), bytes_str(home->address),
                ID_BYTES(home->key), &device);
    TRY(state_sign(c->crypto, first, device.id, &p->sign_private, &encoding));
    struct writer w = writer_to(&list);
    writer_vec(&w, buf_bytes(&encoding));
    TRY(writer_finish(&w));

    CLEANUP(chain_free) struct chain *chain = NULL;
    enum chain_outcome outcome = CHAIN_KNOWN;
    TRY(chain_create((struct bytes){0}, &chain));
    TRY(chain_extend(c->crypto, chain, buf_bytes(&list), &outcome));
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "make account", &step));
    memcpy(p->account, chain_account_id(chain).data, sizeof p->account);
    p->has_account = true;
    TRY(account_chain_save(c, chain));
    TRY(person_set_handle(c, ID_BYTES(p->account), p->handle, true));
    TRY(profile_save(c));
    return step_commit(&step);
}

/* --- registration --- */

static enum err send_register(struct client *c, struct lane_state *l)
{
    const struct profile *p = &c->profile;
    if (!p->has_account)
        TRY(account_make(c, l->server));
    CLEANUP(chain_free) struct chain *chain = NULL;
    TRY(account_chain(c, ID_BYTES(p->account), &chain));
    uint8_t contact_hash[CAP_SIZE];
    TRY(cap_hash(c->crypto, ID_BYTES(p->contact_cap), contact_hash));
    struct request q = {.reg = {.name = bytes_str(p->handle),
                                .invite = bytes_of(p->invite, p->invite_len),
                                .state = chain_encoding(chain, 1),
                                .device_id = ID_BYTES(p->device),
                                .contact_hash = ID_BYTES(contact_hash)}};
    CLEANUP(buf_clear) struct buf signature = buf_new(SIGN_MAX);
    struct session session = lane_session(l);
    TRY(register_sign(c->crypto, &p->sign_private, &session, &q.reg,
                      &signature));
    q.reg.signature = buf_bytes(&signature);
    return call_send(c, l, &(struct call){.task = TASK_REGISTER}, &q);
}

static const char *refusal(enum status status)
{
    switch (status) {
    case STATUS_EXISTS:
        return "the handle is taken: choose another one";
    case STATUS_AUTH:
    case STATUS_NOTFOUND:
        return "the invite is not valid, or was used: ask for another one";
    case STATUS_INVALID:
        return "the server does not accept this handle";
    case STATUS_LIMIT:
        return "the server takes no more accounts";
    default:
        return status_text(status);
    }
}

enum err on_register(const struct answered *a)
{
    struct client *c = a->client;
    enum status status = (enum status)a->answer->status;
    if (c->profile.state != PROFILE_REGISTERING)
        return OK;
    if (status == STATUS_BUSY) {
        lane_close(c, a->lane);
        return OK;
    }
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "registered", &step));
    c->profile.state = status == STATUS_OK ? PROFILE_READY : PROFILE_REFUSED;
    TRY(profile_save(c));
    TRY(client_note(
        c, status == STATUS_OK ? CLIENT_REGISTERED : CLIENT_REGISTER_FAILED,
        status == STATUS_OK ? "" : refusal(status)));
    TRY(step_commit(&step));
    if (status == STATUS_OK)
        a->lane->phase = LANE_READY;
    else
        lane_close(c, a->lane);
    c->inbox_unread = true;
    return OK;
}

/* --- login --- */

static enum err send_login(struct client *c, struct lane_state *l)
{
    const struct profile *p = &c->profile;
    struct request q = {.login = {.account_id = ID_BYTES(p->account),
                                  .device_id = ID_BYTES(p->device)}};
    CLEANUP(buf_clear) struct buf signature = buf_new(SIGN_MAX);
    struct session session = lane_session(l);
    TRY(login_sign(c->crypto, &p->sign_private, &session, &q.login,
                   &signature));
    q.login.signature = buf_bytes(&signature);
    return call_send(c, l, &(struct call){.task = TASK_LOGIN}, &q);
}

static const char *login_refusal(const struct answer *a)
{
    switch ((enum status)a->status) {
    case STATUS_NOTFOUND:
        return "the server does not know this account, so it was restored from "
               "an old copy: ask its operator";
    case STATUS_BARRED:
        return a->detail == BARRED_DELETED
                   ? "the operator of the server has deleted this account"
                   : "the operator of the server has disabled this account: "
                     "ask them";
    default:
        return status_text((enum status)a->status);
    }
}

enum err on_login(const struct answered *a)
{
    struct client *c = a->client;
    if (a->answer->status == STATUS_OK) {
        a->lane->phase = LANE_READY;
        c->inbox_unread = true;
        return OK;
    }
    lane_close(c, a->lane);
    if (a->answer->status == STATUS_BUSY)
        return OK;
    return client_note(c, CLIENT_LOGIN_FAILED, login_refusal(a->answer));
}

/* --- inbox --- */

#define INBOX_AT_ONCE 32U

static enum err send_inbox_read(struct client *c, struct lane_state *l)
{
    struct request q = {
        .inbox_read = {.after = c->profile.inbox_cursor, .max = INBOX_AT_ONCE}};
    return call_send(c, l, &(struct call){.task = TASK_INBOX_READ}, &q);
}

static enum err inbox_take(struct client *c, const struct inbox_item *item)
{
    CLEANUP(buf_clear) struct buf plain = buf_new(INBOX_ITEM_SIZE);
    struct inbox_message m = {0};
    enum err err =
        inbox_open(c->crypto, &c->profile.seal_private, item->item, &plain, &m);
    if (err == ERR_NOMEM)
        return err;
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "inbox item", &step));
    if (err != OK)
        c->counters.skipped++; /* anybody can put garbage there */
    else if (m.type == INBOX_WELCOME)
        TRY(joining_add(c, &m.welcome));
    else if (m.type == INBOX_REJOIN)
        TRY(rejoin_receive(c, &m.rejoin));
    c->profile.inbox_cursor = item->seq;
    TRY(profile_save(c));
    return step_commit(&step);
}

enum err on_inbox_read(const struct answered *a)
{
    struct client *c = a->client;
    if (a->answer->status != STATUS_OK) {
        c->inbox_unread = a->answer->status == STATUS_BUSY;
        return OK;
    }
    struct reader r = reader_of(a->answer->inbox_read.items);
    size_t count = 0;
    for (; reader_more(&r); count++) {
        struct inbox_item item = {0};
        inbox_item_read(&r, &item);
        if (item.seq > c->profile.inbox_cursor)
            TRY(inbox_take(c, &item));
    }
    c->inbox_unread = count >= INBOX_AT_ONCE;
    if (count == 0)
        return OK;
    struct request q = {.inbox_ack = {.upto = c->profile.inbox_cursor}};
    return call_send(c, a->lane, &(struct call){.task = TASK_INBOX_ACK}, &q);
}

enum err on_inbox_ack(const struct answered *a)
{
    (void)a; /* if it was lost, the next one says the same */
    return OK;
}

enum err on_inbox_event(struct client *c, struct lane_state *l,
                        const struct inbox_event *e)
{
    if (l->kind == CLIENT_IDENTIFIED && e->seq > c->profile.inbox_cursor)
        c->inbox_unread = true;
    return OK;
}

/* --- the pump --- */

enum err account_pump(struct client *c)
{
    struct server *home = server_home(c);
    if (home == NULL || home->identified == NULL)
        return OK;
    struct lane_state *l = home->identified;
    if (l->phase == LANE_LOGGING_IN) {
        if (c->profile.state == PROFILE_REGISTERING)
            return send_register(c, l);
        return c->profile.state == PROFILE_READY ? send_login(c, l) : OK;
    }
    if (l->phase != LANE_READY)
        return OK;
    if (c->inbox_unread)
        TRY(send_inbox_read(c, l));
    return packages_pump(c, l);
}
