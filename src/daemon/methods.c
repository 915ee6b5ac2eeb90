/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/methods.h"

#include "identity/recovery.h"
#include "proto/invite.h"
#include "sys/clock.h"

#include <stdlib.h>
#include <string.h>

void json_clear(json_t **j)
{
    json_decref(*j);
    *j = NULL;
}

/* --- parameters and results --- */

static const char *text_param(const json_t *params, const char *name)
{
    return json_string_value(json_object_get(params, name));
}

static enum err need_text(const json_t *params, const char *name,
                          const char **out, struct problem *p)
{
    *out = text_param(params, name);
    if (*out != NULL && **out != '\0')
        return OK;
    return problem_set(p, ERR_INVALID, PROBLEM_USAGE, "\"%s\" is missing",
                       name);
}

static enum err set(json_t *object, const char *name, json_t *value)
{
    return json_object_set_new(object, name, value) == 0 ? OK : ERR_NOMEM;
}

/* Text of others may hold anything: what is not UTF-8 is shown as such. */
static json_t *text_json(struct bytes b)
{
    json_t *j = json_stringn((const char *)b.data, b.len);
    return j != NULL ? j : json_string(b.len == 0 ? "" : "(not UTF-8)");
}

static json_t *hex_json(struct bytes b)
{
    static const char digits[] = "0123456789abcdef";
    char text[2 * 64 + 1];
    size_t len = b.len < 64 ? b.len : 64;
    for (size_t i = 0; i < len; i++) {
        text[2 * i] = digits[b.data[i] >> 4];
        text[2 * i + 1] = digits[b.data[i] & 15];
    }
    return json_stringn(text, 2 * len);
}

static json_t *number_json(uint64_t v) { return json_integer((json_int_t)v); }

static enum err explain(struct problem *p, enum err err, const char *what)
{
    static const struct {
        enum err err;
        const char *text;
    } texts[] = {
        {ERR_INVALID, "that is not a valid name or value"},
        {ERR_MALFORMED, "that is not a valid name or value"},
        {ERR_NOTFOUND, "there is no such conversation, member or message"},
        {ERR_EXISTS, "there are several of that name: use the number that "
                     "\"sotto group list\" shows, such as #2"},
        {ERR_STATE, "not possible now: the profile is not registered yet, or "
                    "the conversation has ended"},
        {ERR_LIMIT, "too long"},
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (texts[i].err == err)
            return problem_set(p, err, PROBLEM_USAGE, "%.80s: %s", what,
                               texts[i].text);
    }
    if (err == OK)
        return OK;
    return problem_set(p, err, PROBLEM_SYSTEM, "%.80s: %s", what,
                       err_text(err));
}

/* --- account --- */

static enum err trust_params(struct methods *m, const json_t *params,
                             struct client_registration *r,
                             struct invite *invite, uint8_t fingerprint[32],
                             struct problem *p)
{
    const char *code = text_param(params, "invite");
    const char *print = text_param(params, "fingerprint");
    if (code != NULL) {
        if (invite_read(m->crypto, code, invite) != OK)
            return problem_set(p, ERR_INVALID, PROBLEM_USAGE,
                               "the invite code is mistyped: check it");
        r->invite = BYTES_ARRAY(invite->secret);
        r->key_hash = BYTES_ARRAY(invite->pin);
    }
    if (print != NULL) {
        if (fingerprint_read(print, fingerprint) != OK)
            return problem_set(p, ERR_INVALID, PROBLEM_USAGE,
                               "the fingerprint is mistyped: it is the "
                               "SHA-256 of the certificate in hex");
        r->fingerprint = (struct bytes){fingerprint, 32};
    }
    return OK;
}

static enum err run_init(struct methods *m, const json_t *params,
                         json_t *result, struct problem *p)
{
    const char *server = NULL;
    struct client_registration r = {0};
    struct invite invite;
    uint8_t fingerprint[32];
    char address[ADDRESS_TEXT_MAX];
    TRY(need_text(params, "server", &server, p));
    TRY(need_text(params, "handle", &r.handle, p));
    TRY(trust_params(m, params, &r, &invite, fingerprint, p));
    if (address_normalise(bytes_str(server), address) != OK)
        return problem_set(p, ERR_INVALID, PROBLEM_USAGE,
                           "\"%.80s\" is no HOST[:PORT]", server);
    r.address = address;
    CLEANUP(secret_clear) struct secret recovery = {0};
    uint8_t raw[CLIENT_RECOVERY_SIZE];
    enum err err = client_register(m->client, &r, raw, clock_wall_ms());
    if (err == ERR_EXISTS)
        return problem_set(p, err, PROBLEM_USAGE,
                           "this profile has an account already: choose "
                           "another with --profile");
    if (err == ERR_INVALID)
        return problem_set(p, err, PROBLEM_USAGE,
                           "a handle has 1 to 32 of a-z 0-9 . _ - and begins "
                           "and ends with a letter or digit");
    TRY(explain(p, err, "init"));
    char code[CODE_TEXT_MAX];
    TRY(secret_set(&recovery, BYTES_ARRAY(raw)));
    TRY(recovery_write(m->crypto, &recovery, code));
    return set(result, "recovery_key", json_string(code));
}

static enum err run_status(struct methods *m, const json_t *params,
                           json_t *result, struct problem *p)
{
    static const char *const states[] = {"new", "registering", "ready",
                                         "refused"};
    struct client_status s;
    (void)params;
    TRY(explain(p, client_status_get(m->client, &s), "status"));
    TRY(set(result, "state", json_string(states[s.state])));
    TRY(set(result, "handle", json_string(s.handle)));
    TRY(set(result, "server", json_string(s.address)));
    TRY(set(result, "account", hex_json(BYTES_ARRAY(s.account))));
    TRY(set(result, "device", hex_json(BYTES_ARRAY(s.device))));
    TRY(set(result, "online", json_boolean(s.online)));
    TRY(set(result, "synced", json_boolean(s.synced)));
    TRY(set(result, "queued", number_json(s.queued)));
    return set(result, "busy", number_json(s.busy));
}

/* --- showing --- */

struct list {
    json_t *array;
};

static enum err list_add(struct list *l, json_t *object)
{
    return json_array_append_new(l->array, object) == 0 ? OK : ERR_NOMEM;
}

static enum err add_message(void *ctx, const struct client_message *m)
{
    json_t *j = json_object();
    TRY(list_add(ctx, j));
    TRY(set(j, "id", number_json((uint64_t)m->id)));
    TRY(set(j, "conversation", number_json((uint64_t)m->conversation)));
    TRY(set(j, "kind",
            json_string(m->kind == CLIENT_TEXT ? "text" : "notice")));
    if (m->kind == CLIENT_NOTICE)
        TRY(set(j, "event", json_string(client_event_name(m->event))));
    TRY(set(j, "seq", number_json(m->seq)));
    TRY(set(j, "time", number_json(m->time)));
    TRY(set(j, "own", json_boolean(m->own)));
    TRY(set(j, "read", json_boolean(m->read)));
    TRY(set(j, "failed", json_boolean(m->failed)));
    TRY(set(j, "account", hex_json(m->account)));
    TRY(set(j, "sender", text_json(m->sender)));
    return set(j, "text", text_json(m->text));
}

static enum err add_conversation(void *ctx, const struct client_conversation *c)
{
    static const char *const states[] = {"creating", "active", "rejoining",
                                         "stopped", "left"};
    json_t *j = json_object();
    TRY(list_add(ctx, j));
    TRY(set(j, "id", number_json((uint64_t)c->id)));
    TRY(set(j, "kind", json_string(c->direct ? "direct" : "group")));
    TRY(set(j, "name", text_json(c->name)));
    TRY(set(j, "state", json_string(states[c->state])));
    TRY(set(j, "accepted", json_boolean(c->accepted)));
    TRY(set(j, "channel", hex_json(c->channel)));
    TRY(set(j, "cursor", number_json(c->cursor)));
    TRY(set(j, "epoch", number_json(c->epoch)));
    TRY(set(j, "unread", number_json(c->unread)));
    TRY(set(j, "queued", number_json(c->queued)));
    return set(j, "members", number_json(c->members));
}

static enum err add_member(void *ctx, struct bytes account, struct bytes handle)
{
    json_t *j = json_object();
    TRY(list_add(ctx, j));
    TRY(set(j, "account", hex_json(account)));
    return set(j, "handle", text_json(handle));
}

static enum err begin_list(json_t *result, const char *name, struct list *l,
                           struct client_visitor *v)
{
    l->array = json_array();
    *v = (struct client_visitor){.conversation = add_conversation,
                                 .message = add_message,
                                 .member = add_member,
                                 .ctx = l};
    return set(result, name, l->array);
}

static enum err run_conversations(struct methods *m, const json_t *params,
                                  json_t *result, struct problem *p)
{
    struct list l;
    struct client_visitor v;
    (void)params;
    TRY(begin_list(result, "conversations", &l, &v));
    return explain(p, client_conversations(m->client, &v), "conversations");
}

static enum err is_there(void *ctx, const struct client_conversation *c)
{
    (void)ctx;
    (void)c;
    return OK;
}

/* A name, a handle, or the number of a conversation as "#12", with which no
 * handle begins. */
static enum err find(struct methods *m, const char *who, int64_t *out)
{
    char *end = NULL;
    if (who[0] == '#' && who[1] >= '0' && who[1] <= '9') {
        long long id = strtoll(who + 1, &end, 10);
        struct client_visitor v = {.conversation = is_there};
        if (*end == '\0' && client_conversation_get(m->client, id, &v) == OK) {
            *out = id;
            return OK;
        }
    }
    return client_find(m->client, who, out);
}

/* The conversation that a name, a handle or a number in "in" means. */
static enum err conversation_param(struct methods *m, const json_t *params,
                                   int64_t *out, struct problem *p)
{
    const json_t *in = json_object_get(params, "in");
    if (json_is_integer(in)) {
        *out = json_integer_value(in);
        return OK;
    }
    const char *who = NULL;
    TRY(need_text(params, "in", &who, p));
    enum err err = find(m, who, out);
    if (err == ERR_MALFORMED)
        err = ERR_NOTFOUND;
    return explain(p, err, who);
}

static enum err run_members(struct methods *m, const json_t *params,
                            json_t *result, struct problem *p)
{
    struct list l;
    struct client_visitor v;
    int64_t id = 0;
    TRY(conversation_param(m, params, &id, p));
    TRY(begin_list(result, "members", &l, &v));
    return explain(p, client_members(m->client, id, &v), "members");
}

static enum err run_log(struct methods *m, const json_t *params, json_t *result,
                        struct problem *p)
{
    struct list l;
    struct client_visitor v;
    int64_t id = 0;
    TRY(conversation_param(m, params, &id, p));
    TRY(begin_list(result, "messages", &l, &v));
    return explain(p, client_log(m->client, id, &v), "log");
}

static enum err run_unread(struct methods *m, const json_t *params,
                           json_t *result, struct problem *p)
{
    struct list l;
    struct client_visitor v;
    (void)params;
    TRY(begin_list(result, "messages", &l, &v));
    return explain(p, client_unread(m->client, &v), "unread");
}

static enum err run_message(struct methods *m, const json_t *params,
                            json_t *result, struct problem *p)
{
    struct list l;
    struct client_visitor v;
    int64_t id = json_integer_value(json_object_get(params, "message"));
    TRY(begin_list(result, "messages", &l, &v));
    return explain(p, client_message_get(m->client, id, &v), "message");
}

static enum err run_mark_read(struct methods *m, const json_t *params,
                              json_t *result, struct problem *p)
{
    int64_t id = json_integer_value(json_object_get(params, "message"));
    (void)result;
    return explain(p, client_mark_read(m->client, id), "mark_read");
}

/* --- doing --- */

/* A person with whom there is no conversation yet begins one. */
static enum err find_or_begin(struct methods *m, const char *who,
                              int64_t *out_id, struct problem *p)
{
    enum err err = find(m, who, out_id);
    if (err == ERR_NOTFOUND)
        err = client_direct(m->client, who, clock_wall_ms(), out_id);
    return explain(p, err, who);
}

static enum err run_send(struct methods *m, const json_t *params,
                         json_t *result, struct problem *p)
{
    const char *to = NULL, *text = NULL;
    int64_t id = 0, message = 0;
    TRY(need_text(params, "to", &to, p));
    TRY(need_text(params, "text", &text, p));
    size_t len = json_string_length(json_object_get(params, "text"));
    if (strlen(text) != len)
        return problem_set(p, ERR_INVALID, PROBLEM_USAGE,
                           "the text holds a zero byte: it would end there");
    TRY(find_or_begin(m, to, &id, p));
    TRY(explain(
        p,
        client_send(m->client, id, bytes_str(text), clock_wall_ms(), &message),
        to));
    TRY(set(result, "conversation", number_json((uint64_t)id)));
    return set(result, "message", number_json((uint64_t)message));
}

static enum err run_direct(struct methods *m, const json_t *params,
                           json_t *result, struct problem *p)
{
    const char *with = NULL;
    int64_t id = 0;
    TRY(need_text(params, "with", &with, p));
    TRY(find_or_begin(m, with, &id, p));
    return set(result, "conversation", number_json((uint64_t)id));
}

static enum err run_accept(struct methods *m, const json_t *params,
                           json_t *result, struct problem *p)
{
    int64_t id = 0;
    (void)result;
    TRY(conversation_param(m, params, &id, p));
    return explain(p, client_accept(m->client, id), "accept");
}

static enum err run_group_create(struct methods *m, const json_t *params,
                                 json_t *result, struct problem *p)
{
    const char *name = NULL;
    int64_t id = 0;
    TRY(need_text(params, "name", &name, p));
    enum err err = client_find(m->client, name, &id);
    if (err == OK || err == ERR_EXISTS)
        return problem_set(p, ERR_EXISTS, PROBLEM_USAGE,
                           "there is a conversation \"%.80s\" already: choose "
                           "another name",
                           name);
    TRY(explain(p, client_group_create(m->client, name, clock_wall_ms(), &id),
                name));
    return set(result, "conversation", number_json((uint64_t)id));
}

/* What `act` does to one person of a conversation. */
static enum err
group_change(struct methods *m, const json_t *params, struct problem *p,
             enum err (*act)(struct client *, int64_t, const char *, uint64_t))
{
    const char *who = NULL;
    int64_t id = 0;
    TRY(conversation_param(m, params, &id, p));
    TRY(need_text(params, "who", &who, p));
    return explain(p, act(m->client, id, who, clock_wall_ms()), who);
}

static enum err run_group_add(struct methods *m, const json_t *params,
                              json_t *result, struct problem *p)
{
    (void)result;
    return group_change(m, params, p, client_group_add);
}

static enum err run_group_remove(struct methods *m, const json_t *params,
                                 json_t *result, struct problem *p)
{
    (void)result;
    return group_change(m, params, p, client_group_remove);
}

static enum err run_group_leave(struct methods *m, const json_t *params,
                                json_t *result, struct problem *p)
{
    int64_t id = 0;
    (void)result;
    TRY(conversation_param(m, params, &id, p));
    return explain(p, client_group_leave(m->client, id, clock_wall_ms()),
                   "leave");
}

const struct method_row method_table[] = {
    {"init", "server, handle, [invite], [fingerprint]",
     "makes an account and begins to register it", run_init},
    {"status", "", "says who this is and what waits", run_status},
    {"send", "to, text", "queues a message for a person or a group", run_send},
    {"direct", "with", "finds or begins a conversation of two", run_direct},
    {"accept", "in", "accepts a conversation that others began", run_accept},
    {"conversations", "", "lists them", run_conversations},
    {"members", "in", "lists the members of one", run_members},
    {"log", "in", "shows what was said in one", run_log},
    {"unread", "", "shows what nobody has read yet", run_unread},
    {"message", "message", "shows one message", run_message},
    {"mark_read", "message", "marks a message as read", run_mark_read},
    {"group.create", "name", "begins a group", run_group_create},
    {"group.add", "in, who", "adds a person", run_group_add},
    {"group.remove", "in, who", "removes a person", run_group_remove},
    {"group.leave", "in", "leaves", run_group_leave},
};
const size_t method_table_count = sizeof method_table / sizeof method_table[0];

enum err method_call(struct methods *m, const char *name, const json_t *params,
                     json_t **out_result, struct problem *p)
{
    for (size_t i = 0; i < method_table_count; i++) {
        if (strcmp(method_table[i].name, name) != 0)
            continue;
        CLEANUP(json_clear) json_t *result = json_object();
        if (result == NULL)
            return ERR_NOMEM;
        TRY(method_table[i].run(m, params, result, p));
        *out_result = result;
        result = NULL; /* handed over */
        return OK;
    }
    return problem_set(p, ERR_NOTFOUND, PROBLEM_USAGE,
                       "there is no method \"%.60s\"", name);
}

json_t *event_json(const struct client_event *e)
{
    return json_pack("{s:s, s:I, s:I, s:s}", "event",
                     client_event_name(e->kind), "conversation",
                     (json_int_t)e->conversation, "message",
                     (json_int_t)e->message, "detail", e->detail);
}
