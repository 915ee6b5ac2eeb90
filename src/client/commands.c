/* SPDX-License-Identifier: Apache-2.0 */
/* What people ask for. Each command is one step; the pump does the rest. */
#include "client/apply.h"
#include "client/commit.h"
#include "client/groups.h"
#include "client/outbox.h"
#include "client/people.h"
#include "client/pump.h"
#include "client/rejoin.h"
#include "identity/recovery.h"
#include "proto/group_ext.h"
#include "proto/invite.h"

#include <string.h>

#define PATH_EVERY_MS (7ULL * DAY_MS)

/* --- the account --- */

static enum err make_keys(struct client *c, uint8_t *out_recovery)
{
    struct profile *p = &c->profile;
    CLEANUP(secret_clear) struct secret recovery = {0};
    CLEANUP(secret_clear) struct secret recovery_private = {0};
    CLEANUP(buf_clear) struct buf recovery_public = buf_new(KEY_SIZE);
    secret_random(&recovery, RECOVERY_SIZE, c->random);
    TRY(recovery_keys(c->crypto, &recovery, &recovery_private,
                      &recovery_public));
    memcpy(p->recovery_public, recovery_public.data, sizeof p->recovery_public);
    p->sign_public = buf_new(SIGN_PUBLIC_MAX);
    p->seal_public = buf_new(KEM_PUBLIC_MAX);
    TRY(sign_generate(c->crypto, SIGN_ED25519, c->random, &p->sign_private,
                      &p->sign_public));
    TRY(kem_generate(c->crypto, KEM_XWING, c->random, &p->seal_private,
                     &p->seal_public));
    random_fill(c->random, p->device, sizeof p->device);
    random_fill(c->random, p->contact_cap, sizeof p->contact_cap);
    memcpy(out_recovery, secret_expose(&recovery).data, RECOVERY_SIZE);
    return OK;
}

static enum err register_server(struct client *c,
                                const struct client_registration *r,
                                struct server **out)
{
    struct server *s = NULL;
    TRY(server_get(c, r->address, &s));
    if (r->key_hash.len == sizeof s->key_hash) {
        memcpy(s->key_hash, r->key_hash.data, sizeof s->key_hash);
        s->has_key_hash = true;
        s->trust = CLIENT_TRUST_KEY;
    }
    if (r->fingerprint.len == sizeof s->fingerprint) {
        memcpy(s->fingerprint, r->fingerprint.data, sizeof s->fingerprint);
        s->trust = CLIENT_TRUST_FINGERPRINT;
    }
    *out = s;
    return OK;
}

enum err client_register(struct client *c, const struct client_registration *r,
                         uint8_t out_recovery[CLIENT_RECOVERY_SIZE],
                         uint64_t now)
{
    c->now = now;
    TRY(store_reload(c));
    if (c->profile.state == PROFILE_READY ||
        c->profile.state == PROFILE_REGISTERING)
        return ERR_EXISTS;
    if (!name_valid(bytes_str(r->handle)) || r->invite.len > INVITE_SIZE)
        return ERR_INVALID;
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "register", &step));
    profile_clear(&c->profile);
    struct profile *p = &c->profile;
    struct server *home = NULL;
    TRY(register_server(c, r, &home));
    p->state = PROFILE_REGISTERING;
    p->server = home->id;
    memcpy(p->handle, r->handle, strlen(r->handle) + 1);
    if (r->invite.len > 0)
        memcpy(p->invite, r->invite.data, r->invite.len);
    p->invite_len = r->invite.len;
    TRY(make_keys(c, out_recovery));
    TRY(profile_save(c));
    TRY(server_save(c, home));
    TRY(step_commit(&step));
    pump_due(c);
    return OK;
}

/* --- conversations --- */

static enum err make_group(struct client *c, const struct conv *cv,
                           struct bytes name, struct sotto_group **out)
{
    struct own_identity own = {0};
    TRY(own_identity_fill(c, &own));
    CLEANUP(secret_clear) struct secret secret = {0};
    CLEANUP(buf_clear) struct buf channel = buf_new(1024);
    CLEANUP(buf_clear) struct buf subscription = buf_new(256);
    CLEANUP(buf_clear) struct buf profile = buf_new(1024);
    secret_random(&secret, SUBSCRIPTION_SECRET, c->random);
    TRY(group_channel_write(
        &channel, &(struct group_channel){
                      .server_address = bytes_str(cv->server->address),
                      .server_key = ID_BYTES(cv->server->key),
                      .channel = ID_BYTES(cv->channel)}));
    TRY(group_subscription_write(&subscription, &secret));
    TRY(group_profile_write(
        &profile,
        &(struct group_profile){.kind = cv->direct ? GROUP_DIRECT : GROUP_MANY,
                                .name = name}));
    struct sotto_extension extensions[] = {
        {EXT_CHANNEL, to_sotto(buf_bytes(&channel))},
        {EXT_SUBSCRIPTION, to_sotto(buf_bytes(&subscription))},
        {EXT_PROFILE, to_sotto(buf_bytes(&profile))},
    };
    struct sotto_extension_list list = {extensions, sizeof extensions /
                                                        sizeof extensions[0]};
    return err_of_sotto(sotto_group_create(
        c->mls, &own.id, to_sotto(ID_BYTES(cv->channel)), list, out));
}

static void group_release(struct sotto_group **g) { sotto_group_free(g); }

/* Within a step. */
static enum err conversation_make(struct client *c, bool direct,
                                  struct bytes name, struct conv **out)
{
    struct conv fresh = {.server = server_home(c),
                         .direct = direct,
                         .accepted = true,
                         .state = CLIENT_CREATING,
                         .path_at = c->now + PATH_EVERY_MS};
    if (fresh.server == NULL || !fresh.server->has_key)
        return ERR_STATE;
    random_fill(c->random, fresh.channel, sizeof fresh.channel);
    random_fill(c->random, fresh.cap, sizeof fresh.cap);
    CLEANUP(group_release) struct sotto_group *group = NULL;
    TRY(make_group(c, &fresh, name, &group));
    TRY(leaf_subscription(c, from_sotto(sotto_group_extensions(group)),
                          buf_bytes(&c->profile.sign_public), fresh.sub));
    TRY(log_hash_start(c->crypto, ID_BYTES(fresh.channel), &fresh.log_hash));
    struct conv *cv = NULL;
    TRY(conv_insert(c, &fresh, name, &cv));
    TRY(conv_group_replace(c, cv, &group));
    CLEANUP(chain_free) struct chain *chain = NULL;
    TRY(account_chain(c, ID_BYTES(c->profile.account), &chain));
    TRY(member_save(c, cv->id, chain));
    *out = cv;
    return OK;
}

/* Where the account of a handle lives. */
static enum err handle_server(struct client *c, const char *text,
                              struct handle *out, struct server **out_server)
{
    TRY(handle_read(bytes_str(text), out));
    struct server *s = server_home(c);
    if (out->address[0] != '\0')
        TRY(server_get(c, out->address, &s));
    if (s == NULL)
        return ERR_STATE;
    *out_server = s;
    return OK;
}

static enum err add_intent(struct client *c, const struct conv *cv,
                           const struct handle *handle,
                           const struct server *server)
{
    struct intent i = {.conversation = cv->id,
                       .kind = INTENT_ADD,
                       .state = INTENT_LOOKUP,
                       .server = server->id};
    memcpy(i.handle, handle->name, sizeof i.handle);
    struct person p = {0};
    enum err err = person_by_handle(c, server->id, handle->name, &p);
    if (err == OK) { /* pinned: whoever has the handle now, we mean this one */
        memcpy(i.account, p.account, sizeof i.account);
        i.state = INTENT_CHAIN;
    } else if (err != ERR_NOTFOUND) {
        return err;
    }
    return intent_insert(c, &i);
}

/* The conversation of two with an account; of several, the same at both sides:
 * the one with the lowest channel. */
static struct conv *direct_with(struct client *c, struct bytes account)
{
    struct conv *best = NULL;
    for (struct conv *cv = c->convs; cv != NULL; cv = cv->next) {
        if (!cv->direct || !cv->has_peer || cv->state == CLIENT_LEFT ||
            cv->state == CLIENT_STOPPED ||
            !bytes_equal(ID_BYTES(cv->peer), account))
            continue;
        if (best == NULL ||
            bytes_compare(ID_BYTES(cv->channel), ID_BYTES(best->channel)) < 0)
            best = cv;
    }
    return best;
}

/* One that has been begun, but we do not know yet whose the handle is. */
static enum err direct_begun(struct client *c, const struct handle *handle,
                             const struct server *server, struct conv **out)
{
    CLEANUP(sql_end)
    struct sql_query q = sql_query(
        c->db, "SELECT i.conversation FROM intent i JOIN conversation v"
               " ON v.id = i.conversation WHERE v.direct = 1 AND i.kind = ?"
               " AND i.handle = ? AND i.server = ? ORDER BY i.id LIMIT 1");
    sql_put_u64(&q, INTENT_ADD);
    sql_put_text(&q, handle->name);
    sql_put_u64(&q, (uint64_t)server->id);
    *out = sql_next(&q) ? conv_find(c, (int64_t)sql_u64(&q, 0)) : NULL;
    return sql_finish(&q);
}

static enum err direct_find(struct client *c, const struct handle *handle,
                            const struct server *server, struct conv **out)
{
    struct person p = {0};
    *out = NULL;
    enum err err = person_by_handle(c, server->id, handle->name, &p);
    if (err != OK && err != ERR_NOTFOUND)
        return err;
    if (err == OK)
        *out = direct_with(c, ID_BYTES(p.account));
    return *out == NULL ? direct_begun(c, handle, server, out) : OK;
}

enum err direct_lookup(struct client *c, const char *text, int64_t *out)
{
    struct handle handle = {0};
    struct server *server = server_home(c);
    struct conv *cv = NULL;
    TRY(handle_read(bytes_str(text), &handle));
    if (handle.address[0] != '\0') {
        server = c->servers;
        while (server != NULL && strcmp(server->address, handle.address) != 0)
            server = server->next;
    }
    if (server == NULL)
        return ERR_NOTFOUND;
    TRY(direct_find(c, &handle, server, &cv));
    if (cv == NULL)
        return ERR_NOTFOUND;
    *out = cv->id;
    return OK;
}

/* Is the other one there, or on the way? */
static enum err direct_complete(struct client *c, const struct conv *cv,
                                bool *out)
{
    size_t members = 0;
    TRY(member_count(c, cv->id, &members));
    *out = members > 1;
    return *out ? OK : intent_adding(c, cv->id, out);
}

static enum err ready(struct client *c, uint64_t now)
{
    c->now = now;
    TRY(store_reload(c));
    return c->profile.state == PROFILE_READY ? OK : ERR_STATE;
}

enum err client_direct(struct client *c, const char *text, uint64_t now,
                       int64_t *out_conversation)
{
    TRY(ready(c, now));
    struct handle handle = {0};
    struct server *server = NULL;
    struct conv *cv = NULL;
    bool complete = false;
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "begin conversation", &step));
    TRY(handle_server(c, text, &handle, &server));
    if (server == server_home(c) && strcmp(handle.name, c->profile.handle) == 0)
        return ERR_INVALID; /* with oneself */
    TRY(direct_find(c, &handle, server, &cv));
    if (cv == NULL)
        TRY(conversation_make(c, true, (struct bytes){0}, &cv));
    TRY(direct_complete(c, cv, &complete));
    if (!complete)
        TRY(add_intent(c, cv, &handle, server));
    TRY(step_commit(&step));
    *out_conversation = cv->id;
    pump_due(c);
    return OK;
}

enum err client_group_create(struct client *c, const char *name, uint64_t now,
                             int64_t *out_conversation)
{
    TRY(ready(c, now));
    struct bytes text = bytes_str(name);
    if (text.len == 0 || text.len > GROUP_NAME_MAX)
        return ERR_INVALID;
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "create group", &step));
    struct conv *cv = NULL;
    TRY(conversation_make(c, false, text, &cv));
    TRY(step_commit(&step));
    *out_conversation = cv->id;
    pump_due(c);
    return OK;
}

static enum err open_group(struct client *c, int64_t conversation, uint64_t now,
                           struct conv **out)
{
    TRY(ready(c, now));
    struct conv *cv = conv_find(c, conversation);
    if (cv == NULL)
        return ERR_NOTFOUND;
    if (cv->direct || cv->state == CLIENT_LEFT || cv->state == CLIENT_STOPPED)
        return ERR_STATE;
    *out = cv;
    return OK;
}

enum err client_group_add(struct client *c, int64_t conversation,
                          const char *text, uint64_t now)
{
    struct conv *cv = NULL;
    struct handle handle = {0};
    struct server *server = NULL;
    TRY(open_group(c, conversation, now, &cv));
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "add member", &step));
    TRY(handle_server(c, text, &handle, &server));
    TRY(add_intent(c, cv, &handle, server));
    TRY(step_commit(&step));
    pump_due(c);
    return OK;
}

enum err client_group_remove(struct client *c, int64_t conversation,
                             const char *text, uint64_t now)
{
    struct conv *cv = NULL;
    struct handle handle = {0};
    struct server *server = NULL;
    struct person p = {0};
    TRY(open_group(c, conversation, now, &cv));
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "remove member", &step));
    TRY(handle_server(c, text, &handle, &server));
    TRY(person_by_handle(c, server->id, handle.name, &p));
    CLEANUP(chain_free) struct chain *chain = NULL;
    TRY(member_chain(c, cv->id, ID_BYTES(p.account), &chain));
    struct intent i = {.conversation = cv->id,
                       .kind = INTENT_REMOVE,
                       .state = INTENT_IS_READY};
    memcpy(i.account, p.account, sizeof i.account);
    memcpy(i.handle, handle.name, sizeof i.handle);
    TRY(intent_insert(c, &i));
    TRY(step_commit(&step));
    pump_due(c);
    return OK;
}

/* Nobody can remove itself by commit: it asks in the log, and the first of the
 * others to read it commits the removal. */
enum err client_group_leave(struct client *c, int64_t conversation,
                            uint64_t now)
{
    struct conv *cv = NULL;
    size_t members = 0;
    TRY(open_group(c, conversation, now, &cv));
    TRY(member_count(c, cv->id, &members));
    if (cv->leaving)
        return OK;
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "leave", &step));
    cv->leaving = true;
    if (members > 1) {
        TRY(outbox_add(c, cv, ENVELOPE_LEAVE, (struct bytes){0}, 0));
    } else { /* nobody is there to remove this device, or to read it */
        TRY(conv_over(c, cv));
    }
    TRY(conv_save(c, cv));
    TRY(step_commit(&step));
    pump_due(c);
    return OK;
}

enum err client_accept(struct client *c, int64_t conversation)
{
    TRY(ready(c, c->now));
    struct conv *cv = conv_find(c, conversation);
    if (cv == NULL)
        return ERR_NOTFOUND;
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "accept", &step));
    cv->accepted = true;
    TRY(conv_save(c, cv));
    return step_commit(&step);
}

/* --- messages --- */

enum err client_send(struct client *c, int64_t conversation, struct bytes text,
                     uint64_t now, int64_t *out_message)
{
    TRY(ready(c, now));
    struct conv *cv = conv_find(c, conversation);
    if (cv == NULL)
        return ERR_NOTFOUND;
    if (cv->state == CLIENT_LEFT || cv->state == CLIENT_STOPPED || cv->leaving)
        return ERR_STATE;
    if (text.len == 0)
        return ERR_INVALID;
    if (text.len > CLIENT_TEXT_MAX)
        return ERR_LIMIT;
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "queue message", &step));
    TRY(outbox_text(c, cv, text, out_message));
    cv->accepted = true;
    TRY(conv_save(c, cv));
    TRY(step_commit(&step));
    pump_due(c);
    return OK;
}

enum err client_mark_read(struct client *c, int64_t message)
{
    TRY(store_reload(c));
    CLEANUP(step_rollback) struct step step = {0};
    TRY(step_begin(c, "mark read", &step));
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(c->db, "UPDATE message SET read = 1 WHERE id = ?");
    sql_put_u64(&q, (uint64_t)message);
    TRY(sql_run(&q));
    return step_commit(&step);
}
