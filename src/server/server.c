/* SPDX-License-Identifier: Apache-2.0 */
#include "server/server.h"

#include "crypto/entropy.h"
#include "proto/invite.h"
#include "server/home.h"
#include "sys/clock.h"

#include <stdio.h>
#include <string.h>

void server_close(struct server *s)
{
    core_free(&s->core);
    store_sqlite_close(&s->sqlite);
    store_pg_close(&s->pg);
    secret_clear(&s->key);
    crypto_free(&s->crypto);
}

static const struct core_limits no_limits = {
    .subscription_appends = UINT32_MAX,
    .subscription_commits = UINT32_MAX,
    .subscription_bytes = UINT32_MAX,
    .channel_appends = UINT32_MAX,
    .channel_commits = UINT32_MAX,
    .channel_bytes = UINT32_MAX,
    .remote_requests = UINT32_MAX,
    .remote_bytes = UINT32_MAX,
    .subscription_reads = UINT32_MAX,
    .remote_reads = UINT32_MAX,
    .remote_stranger_tasks = UINT32_MAX,
};

static enum err open_pg(const struct options *o, bool existing,
                        struct server *s, struct problem *p)
{
    const struct store_pg_config config = {
        .conninfo = o->store, .existing = existing, .beside = !s->serves};
    enum err err = store_pg_open(&config, p, &s->pg);
    options_hide(o);
    TRY(err);
    s->store = store_pg_store(s->pg);
    s->admin = store_pg_admin(s->pg);
    return OK;
}

static enum err open_sqlite(const struct options *o, bool existing,
                            struct server *s, struct problem *p)
{
    const struct store_sqlite_config config = {.dir = o->data,
                                               .existing = existing};
    TRY(store_sqlite_open(&config, p, &s->sqlite));
    s->store = store_sqlite_store(s->sqlite);
    s->admin = store_sqlite_admin(s->sqlite);
    return OK;
}

enum err server_open(const struct options *o, bool existing, struct server *s,
                     struct problem *p)
{
    s->random = entropy_system();
    if (crypto_create(&s->crypto) != OK)
        return problem_set(p, ERR_NOMEM, PROBLEM_SYSTEM,
                           "cannot set up the cryptography");
    if (o->store != NULL) /* before the key: a new one is for new tables */
        TRY(open_pg(o, existing, s, p));
    TRY(home_server_key(o->data, s->crypto, existing ? NULL : &s->random,
                        &s->key, p));
    if (o->store == NULL)
        TRY(open_sqlite(o, existing, s, p));
    const struct core_parts parts = {
        .crypto = s->crypto,
        .random = &s->random,
        .store = &s->store,
        .server_key = &s->key,
        .config = {.open_registration = o->open_registration,
                   .pow_bits = (uint8_t)o->pow_bits,
                   .limits =
                       o->no_limits ? no_limits : (struct core_limits){0}},
    };
    enum err err = core_create(&parts, &s->core);
    if (err != OK)
        return problem_set(p, err, PROBLEM_SYSTEM, "cannot start the core: %s",
                           err_text(err));
    return OK;
}

enum err server_print_invite(struct server *s, struct problem *p)
{
    uint8_t secret[CORE_INVITE_SIZE];
    char code[CODE_TEXT_MAX];
    enum err err = core_invite(s->core, clock_wall_ms(), secret);
    if (err == OK)
        err = invite_write(s->crypto, BYTES_ARRAY(secret),
                           core_public_key(s->core), code);
    explicit_bzero(secret, sizeof secret);
    if (err != OK)
        return problem_set(p, err, PROBLEM_SYSTEM, "cannot make an invite: %s",
                           s->store.problem(s->store.ctx)->detail);
    (void)printf("invite code: %s\n", code);
    explicit_bzero(code, sizeof code);
    return OK;
}
