/* SPDX-License-Identifier: Apache-2.0 */
#include "server/core_fixture.h"

#include "crypto/kem.h"
#include "crypto/sign.h"
#include "identity/state.h"
#include "proto/derive.h"
#include "proto/hello.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY_MAX (4U << 20)

/* --- the server --- */

void fixture_init(struct fixture *f)
{
    *f = (struct fixture){.now = FIXTURE_NOW};
    entropy_seed(&f->entropy, 1);
    f->random = entropy_of(&f->entropy);
    secret_random(&f->key, 32, &f->random);
    f->core_config.pow_bits = 1;
    f->core_config.open_registration = true;
}

/* Without a folder, a store lives as long as it is open. */
static enum err pg_start(struct fixture *f, const char *conninfo)
{
    bool existing = f->store_config.dir != NULL && f->erased;
    const struct store_pg_config config = {.conninfo = conninfo,
                                           .existing = existing,
                                           .quotas = f->store_config.quotas};
    struct problem p = {0};
    enum err err = existing ? OK : store_pg_erase(conninfo, &p);
    f->erased = true;
    if (err == OK)
        err = store_pg_open(&config, &p, &f->pg);
    if (err != OK) {
        (void)printf("# %s\n", p.detail);
        return err;
    }
    f->store = store_pg_store(f->pg);
    f->admin = store_pg_admin(f->pg);
    return OK;
}

static enum err store_start(struct fixture *f)
{
    const char *pg = getenv("SOTTO_TEST_STORE");
    if (pg != NULL)
        return pg_start(f, pg);
    TRY(store_sqlite_open(&f->store_config, NULL, &f->sqlite));
    f->store = store_sqlite_store(f->sqlite);
    f->admin = store_sqlite_admin(f->sqlite);
    return OK;
}

enum err fixture_check(struct fixture *f)
{
    struct problem p = {0};
    enum err err = f->pg != NULL ? store_pg_check(f->pg, &p)
                                 : store_sqlite_check(f->sqlite, &p);
    if (err != OK)
        (void)printf("# %s\n", p.detail);
    return err;
}

enum err fixture_start(struct fixture *f)
{
    if (f->crypto == NULL)
        TRY(crypto_create(&f->crypto));
    TRY(store_start(f));
    const struct core_parts parts = {
        .crypto = f->crypto,
        .random = &f->random,
        .store = &f->store,
        .server_key = &f->key,
        .config = f->core_config,
    };
    return core_create(&parts, &f->core);
}

void fixture_stop(struct fixture *f)
{
    core_free(&f->core);
    store_sqlite_close(&f->sqlite);
    store_pg_close(&f->pg);
    fixture_events_clear(f);
    buf_clear(&f->answer.bytes);
}

void fixture_clear(struct fixture *f)
{
    fixture_stop(f);
    crypto_free(&f->crypto);
    secret_clear(&f->key);
}

/* --- messages --- */

static void keep(struct fixture_message *to, const struct core_output *out)
{
    buf_clear(&to->bytes);
    *to = (struct fixture_message){
        .conn = out->conn,
        .close = out->close,
        .kind = out->kind,
        .id = out->id,
        .bytes = buf_new(MESSAGE_MAX),
    };
    if (buf_append(&to->bytes, out->message) != OK)
        *to = (struct fixture_message){0};
}

/* Until all that was asked for is done. */
static void flush_all(struct fixture *f)
{
    core_flush(f->core, f->now);
    while (core_is_waiting(f->core) && f->store.wait != NULL) {
        f->store.wait(f->store.ctx);
        core_flush(f->core, f->now);
    }
}

void fixture_flush(struct fixture *f, uint32_t id)
{
    struct core_output out;
    flush_all(f);
    while (core_take(f->core, &out)) {
        bool event = out.close || out.kind == FRAME_EVENT;
        if (event && f->event_count < FIXTURE_EVENTS)
            keep(&f->events[f->event_count++], &out);
        else if (!event && out.id == id)
            keep(&f->answer, &out);
        core_output_clear(&out);
    }
}

enum err fixture_send(struct fixture *f, uint32_t conn, const struct request *q,
                      uint32_t *out_id)
{
    CLEANUP(buf_clear) struct buf message = buf_new(MESSAGE_MAX);
    TRY(request_write(&message, q));
    *out_id = ++f->ids;
    core_message(f->core, conn, FRAME_REQUEST, *out_id, buf_bytes(&message),
                 f->now);
    return OK;
}

enum err fixture_ask(struct fixture *f, uint32_t conn, const struct request *q,
                     struct answer *out)
{
    uint32_t id = 0;
    buf_clear(&f->answer.bytes);
    TRY(fixture_send(f, conn, q, &id));
    fixture_flush(f, id);
    if (f->answer.bytes.len == 0 || f->answer.conn != conn)
        return ERR_STATE;
    return answer_read(buf_bytes(&f->answer.bytes), out);
}

enum status fixture_status(struct fixture *f, uint32_t conn,
                           const struct request *q)
{
    struct answer a;
    return fixture_ask(f, conn, q, &a) == OK ? (enum status)a.status
                                             : STATUS_COUNT_;
}

static bool is_event(const struct fixture_message *m, uint32_t conn,
                     uint16_t method, struct request *out)
{
    return m->conn == conn && !m->close &&
           request_read(buf_bytes(&m->bytes), out) == OK &&
           out->method == method;
}

size_t fixture_events(const struct fixture *f, uint32_t conn, uint16_t method)
{
    size_t count = 0;
    struct request q;
    for (size_t i = 0; i < f->event_count; i++)
        count += is_event(&f->events[i], conn, method, &q);
    return count;
}

enum err fixture_event(const struct fixture *f, uint32_t conn, uint16_t method,
                       size_t nth, struct request *out)
{
    for (size_t i = 0; i < f->event_count; i++) {
        if (is_event(&f->events[i], conn, method, out) && nth-- == 0)
            return OK;
    }
    return ERR_NOTFOUND;
}

void fixture_events_clear(struct fixture *f)
{
    for (size_t i = 0; i < f->event_count; i++)
        buf_clear(&f->events[i].bytes);
    f->event_count = 0;
}

bool fixture_closed(const struct fixture *f, uint32_t conn)
{
    for (size_t i = 0; i < f->event_count; i++) {
        if (f->events[i].conn == conn && f->events[i].close)
            return true;
    }
    return false;
}

static const uint8_t client_nonce[NONCE_SIZE] = {7};
static uint8_t server_nonces[256][NONCE_SIZE];

enum err fixture_connect(struct fixture *f, uint32_t conn, enum lane lane)
{
    struct answer a;
    const struct request q = {
        .method = METHOD_HELLO,
        .hello = {.version = PROTOCOL_VERSION,
                  .lane = (uint8_t)lane,
                  .client_nonce = BYTES_ARRAY(client_nonce)},
    };
    TRY(core_open(f->core, conn, (struct bytes){0}, conn));
    TRY(fixture_ask(f, conn, &q, &a));
    if (a.status != STATUS_OK)
        return ERR_STATE;
    const struct session s = {
        .lane = (uint8_t)lane,
        .server_key = core_public_key(f->core),
        .client_nonce = BYTES_ARRAY(client_nonce),
        .server_nonce = a.hello.server_nonce,
    };
    memcpy(server_nonces[conn % 256], a.hello.server_nonce.data, NONCE_SIZE);
    return hello_verify(f->crypto, &s, &a.hello);
}

/* --- channels --- */

/* Each number's id is 32 times that number. */
struct bytes fixture_id(uint8_t number)
{
    static uint8_t ids[256][ID_SIZE];
    memset(ids[number], number, ID_SIZE);
    return BYTES_ARRAY(ids[number]);
}

struct access fixture_access(uint8_t channel, uint8_t sub)
{
    return (struct access){fixture_id(channel), fixture_id(sub),
                           fixture_id((uint8_t)(sub ^ 0x80U))};
}

enum err fixture_cap_hash(struct fixture *f, uint8_t sub, uint8_t out[CAP_SIZE])
{
    return cap_hash(f->crypto, fixture_id((uint8_t)(sub ^ 0x80U)), out);
}

struct fixture_change fixture_adds(uint8_t sub)
{
    return (struct fixture_change){.adds = sub};
}

struct fixture_change fixture_ends(uint8_t sub)
{
    return (struct fixture_change){.ends = sub};
}

struct fixture_change fixture_same(void) { return (struct fixture_change){0}; }

static enum err commit_data(struct fixture *f,
                            const struct fixture_change *change,
                            struct buf *out)
{
    CLEANUP(buf_clear) struct buf add_list = buf_new(BODY_MAX);
    struct commit_data data = {0};
    if (change->adds != 0) {
        struct writer w = writer_to(&add_list);
        uint8_t hash[CAP_SIZE];
        TRY(fixture_cap_hash(f, change->adds, hash));
        const struct sub_add add = {fixture_id(change->adds),
                                    BYTES_ARRAY(hash)};
        sub_add_write(&w, &add);
        TRY(writer_finish(&w));
        data.adds = buf_bytes(&add_list);
    }
    if (change->ends != 0)
        data.ends = fixture_id(change->ends);
    return commit_data_write(out, &data);
}

enum err fixture_private(struct buf *out, uint8_t kind, struct bytes aad,
                         struct bytes ciphertext)
{
    struct writer w = writer_to(out);
    writer_u16(&w, 1); /* mls10 */
    writer_u16(&w, 2); /* mls_private_message */
    writer_vec(&w, BYTES_LIT("group"));
    writer_u64(&w, 1); /* epoch */
    writer_u8(&w, kind);
    writer_vec(&w, aad);
    writer_vec(&w, BYTES_LIT("sender data"));
    writer_vec(&w, ciphertext);
    return writer_finish(&w);
}

enum err fixture_body(struct fixture *f, const struct fixture_change *commit,
                      struct buf *out)
{
    CLEANUP(buf_clear) struct buf data = buf_new(COMMIT_DATA_MAX);
    if (commit != NULL)
        TRY(commit_data(f, commit, &data));
    return fixture_private(out,
                           commit != NULL ? ENTRY_COMMIT : ENTRY_APPLICATION,
                           buf_bytes(&data), BYTES_LIT("ciphertext"));
}

enum err fixture_work(struct fixture *f, unsigned purpose, struct bytes subject,
                      struct pow *out)
{
    const struct pow_task task = {(enum pow_purpose)purpose, subject,
                                  f->core_config.pow_bits};
    bool found = false;
    *out = (struct pow){.day = (uint32_t)(f->now / FIXTURE_DAY_MS)};
    TRY(pow_solve(f->crypto, &task, 1U << 20, out, &found));
    return found ? OK : ERR_LIMIT;
}

enum status fixture_create(struct fixture *f, uint32_t conn, uint8_t channel,
                           uint8_t sub)
{
    uint8_t hash[CAP_SIZE];
    struct request q = {.method = METHOD_CHANNEL_CREATE};
    q.channel_create.channel = fixture_id(channel);
    q.channel_create.sub = fixture_id(sub);
    q.channel_create.cap_hash = BYTES_ARRAY(hash);
    if (fixture_cap_hash(f, sub, hash) != OK ||
        fixture_work(f, POW_CHANNEL_CREATE, q.channel_create.channel,
                     &q.channel_create.pow) != OK)
        return STATUS_COUNT_;
    return fixture_status(f, conn, &q);
}

struct fixture_from fixture_from(uint32_t conn, uint8_t channel, uint8_t sub)
{
    return (struct fixture_from){conn, fixture_access(channel, sub)};
}

static enum status append(struct fixture *f, const struct fixture_from *from,
                          uint64_t after, uint8_t key,
                          const struct fixture_change *commit, uint64_t *out)
{
    CLEANUP(buf_clear) struct buf body = buf_new(BODY_MAX);
    struct answer a;
    if (fixture_body(f, commit, &body) != OK)
        return STATUS_COUNT_;
    const struct request q = {
        .method = METHOD_APPEND,
        .append = {.access = from->access,
                   .after = after,
                   .kind = commit != NULL ? ENTRY_COMMIT : ENTRY_APPLICATION,
                   .idempotency_key = {fixture_id(key).data, IDEMPOTENCY_KEY},
                   .body = buf_bytes(&body)},
    };
    if (fixture_ask(f, from->conn, &q, &a) != OK)
        return STATUS_COUNT_;
    if (out != NULL)
        *out = a.status == STATUS_OK ? a.append.seq : a.detail;
    return (enum status)a.status;
}

enum status fixture_append(struct fixture *f, struct fixture_from from,
                           uint64_t after, uint8_t key, uint64_t *out_answer)
{
    return append(f, &from, after, key, NULL, out_answer);
}

enum status fixture_commit(struct fixture *f, struct fixture_from from,
                           uint64_t after, uint8_t key,
                           struct fixture_change change, uint64_t *out_answer)
{
    return append(f, &from, after, key, &change, out_answer);
}

/* --- accounts --- */

void fixture_account_clear(struct fixture_account *a)
{
    secret_clear(&a->device_key);
    secret_clear(&a->recovery_key);
    buf_clear(&a->device_public);
    buf_clear(&a->recovery_public);
    buf_clear(&a->state);
}

enum err fixture_account_make(struct fixture *f, struct fixture_account *a)
{
    CLEANUP(secret_clear) struct secret sealing = {0};
    CLEANUP(buf_clear) struct buf sealing_public = buf_new(4096);
    struct digest id;
    struct state s;
    *a = (struct fixture_account){
        .device_public = buf_new(KEY_SIZE),
        .recovery_public = buf_new(KEY_SIZE),
        .state = buf_new(STATE_MAX),
    };
    random_fill(&f->random, a->device, ID_SIZE);
    random_fill(&f->random, a->contact_cap, CAP_SIZE);
    TRY(sign_generate(f->crypto, SIGN_ED25519, &f->random, &a->device_key,
                      &a->device_public));
    TRY(sign_generate(f->crypto, SIGN_ED25519, &f->random, &a->recovery_key,
                      &a->recovery_public));
    TRY(kem_generate(f->crypto, KEM_XWING, &f->random, &sealing,
                     &sealing_public));
    const struct device device = {
        .id = BYTES_ARRAY(a->device),
        .signature_key = buf_bytes(&a->device_public),
        .sealing_kem = KEM_XWING,
        .sealing_key = buf_bytes(&sealing_public),
        .may_authorise = true,
    };
    state_first(&s, buf_bytes(&a->recovery_public), BYTES_LIT("localhost:7470"),
                core_public_key(f->core), &device);
    TRY(state_sign(f->crypto, &s, BYTES_ARRAY(a->device), &a->device_key,
                   &a->state));
    TRY(account_id(f->crypto, buf_bytes(&a->state), &id));
    memcpy(a->id, id.data, ID_SIZE);
    return OK;
}

static struct session session_of(const struct fixture *f, uint32_t conn)
{
    return (struct session){
        .lane = LANE_IDENTIFIED,
        .server_key = core_public_key(f->core),
        .client_nonce = BYTES_ARRAY(client_nonce),
        .server_nonce = BYTES_ARRAY(server_nonces[conn % 256]),
    };
}

enum err fixture_register(struct fixture *f, uint32_t conn, const char *name,
                          struct bytes invite, struct fixture_account *a,
                          enum status *out)
{
    CLEANUP(buf_clear) struct buf signature = buf_new(SIGNATURE_SIZE);
    const struct session session = session_of(f, conn);
    uint8_t contact_hash[CAP_SIZE];
    TRY(cap_hash(f->crypto, BYTES_ARRAY(a->contact_cap), contact_hash));
    struct request q = {
        .method = METHOD_REGISTER,
        .reg = {.name = bytes_str(name),
                .invite = invite,
                .state = buf_bytes(&a->state),
                .device_id = BYTES_ARRAY(a->device),
                .contact_hash = BYTES_ARRAY(contact_hash)},
    };
    TRY(register_sign(f->crypto, &a->device_key, &session, &q.reg, &signature));
    q.reg.signature = buf_bytes(&signature);
    *out = fixture_status(f, conn, &q);
    return OK;
}

enum err fixture_login(struct fixture *f, uint32_t conn,
                       const struct fixture_account *a, enum status *out)
{
    CLEANUP(buf_clear) struct buf signature = buf_new(SIGNATURE_SIZE);
    const struct session session = session_of(f, conn);
    struct request q = {
        .method = METHOD_LOGIN,
        .login = {.account_id = BYTES_ARRAY(a->id),
                  .device_id = BYTES_ARRAY(a->device)},
    };
    TRY(login_sign(f->crypto, &a->device_key, &session, &q.login, &signature));
    q.login.signature = buf_bytes(&signature);
    *out = fixture_status(f, conn, &q);
    return OK;
}
