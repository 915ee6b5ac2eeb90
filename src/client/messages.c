/* SPDX-License-Identifier: Apache-2.0 */
#include "client/messages.h"

#include "base/mem.h"
#include "client/intent.h"
#include "client/people.h"
#include "proto/content.h"
#include "proto/entry.h"
#include "proto/invite.h"

#include <string.h>

/* Who removes the one that leaves; a one-shot command waits for longer. */
#define LEAVE_SPREAD_MS (2ULL * SECOND_MS)

static bool own(const struct client *c, const struct incoming *in)
{
    return bytes_equal(in->account, ID_BYTES(c->profile.account));
}

/* Too large for a stack. */
static void content_release(struct content **p)
{
    mem_free(*p, sizeof **p);
    *p = NULL;
}

static enum err receive_content(struct client *c, const struct incoming *in)
{
    const struct conv *cv = in->conv;
    CLEANUP(content_release)
    struct content *content = mem_alloc(sizeof *content);
    if (content == NULL)
        return ERR_NOMEM;
    struct bytes text = BYTES_LIT("");
    enum err err = content_read(in->envelope->body, content);
    if (err == ERR_NOMEM)
        return err;
    if (err == OK)
        text = content_show(content);
    struct message_row row = {
        .conversation = cv->id,
        .seq = in->entry->seq,
        .time = in->entry->time * SECOND_MS,
        .own = own(c, in),
        .account = in->account,
        .device = in->signature_key,
        .content = in->envelope->content_id,
        .body = text,
    };
    if (err != OK) { /* shown, with its cause, instead of lost */
        row.kind = CLIENT_NOTICE;
        row.event = CLIENT_ENTRY_SKIPPED;
        row.body = BYTES_LIT("a message whose content does not parse");
    }
    struct client_event e = {.kind = err == OK ? CLIENT_MESSAGE
                                               : CLIENT_ENTRY_SKIPPED,
                             .conversation = cv->id};
    memcpy(e.account, in->account.data, sizeof e.account);
    err = message_insert(c, &row, &e.message);
    if (err == ERR_EXISTS) {
        c->counters.duplicates++;
        return OK;
    }
    TRY(err);
    return client_emit(c, &e);
}

static enum err receive_contact(struct client *c, const struct incoming *in)
{
    if (in->envelope->body.len != CAP_SIZE || own(c, in))
        return OK;
    return person_set_cap(c, in->account, in->envelope->body);
}

/* A claim; intent_pump looks it up before anybody is shown it. */
static enum err receive_handle(struct client *c, const struct incoming *in)
{
    struct bytes name = in->envelope->body;
    struct person p = {0};
    if (own(c, in) || !name_valid(name))
        return OK;
    TRY(person_get(c, in->account, &p));
    if (p.pinned)
        return OK;
    char handle[NAME_MAX_LEN + 1] = {0};
    memcpy(handle, name.data, name.len);
    return person_set_handle(c, in->account, handle, false);
}

static enum err receive_leave(struct client *c, const struct incoming *in)
{
    if (own(c, in))
        return OK;
    struct intent intent = {
        .conversation = in->conv->id,
        .kind = INTENT_REMOVE,
        .state = INTENT_IS_READY,
        .not_before = c->now + client_jitter(c, LEAVE_SPREAD_MS),
    };
    memcpy(intent.account, in->account.data, sizeof intent.account);
    return intent_insert(c, &intent);
}

static enum err (*const types[])(struct client *, const struct incoming *) = {
    [ENVELOPE_CONTENT] = receive_content,
    [ENVELOPE_CONTACT] = receive_contact,
    [ENVELOPE_HANDLE] = receive_handle,
    [ENVELOPE_LEAVE] = receive_leave,
};

enum err message_receive(struct client *c, const struct incoming *in)
{
    uint8_t type = in->envelope->type;
    if (type >= sizeof types / sizeof types[0] || types[type] == NULL)
        return OK; /* of a newer program */
    return types[type](c, in);
}
