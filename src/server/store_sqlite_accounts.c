/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accounts. A key package is handed out once: its row stays, without the
 * package, as long as packages live, so that a publication that is repeated
 * after a lost answer does not bring it back.
 */
#include "server/store_sqlite_impl.h"

#include "base/secret.h"

#define LAST_RESORT 1U

const char *const store_accounts_schema[] = {
    "CREATE TABLE account ("
    " id BLOB NOT NULL PRIMARY KEY,"
    " name BLOB NOT NULL,"
    " contact_hash BLOB NOT NULL,"
    " version INTEGER NOT NULL," /* of the newest state */
    " made_week INTEGER NOT NULL,"
    " used_week INTEGER NOT NULL"
    ") WITHOUT ROWID, STRICT;"
    "CREATE TABLE handle ("
    " name BLOB NOT NULL PRIMARY KEY,"
    " account BLOB NOT NULL"
    ") WITHOUT ROWID, STRICT;"
    "CREATE TABLE state ("
    " account BLOB NOT NULL,"
    " version INTEGER NOT NULL,"
    " body BLOB NOT NULL,"
    " PRIMARY KEY (account, version)"
    ") WITHOUT ROWID, STRICT;"
    "CREATE TABLE device (" /* of the newest state */
    " id BLOB NOT NULL PRIMARY KEY,"
    " account BLOB NOT NULL"
    ") WITHOUT ROWID, STRICT;"
    "CREATE INDEX device_of_account ON device (account);"
    "CREATE TABLE package ("
    " device BLOB NOT NULL,"
    " hash BLOB NOT NULL,"
    " last_resort INTEGER NOT NULL,"
    " day INTEGER NOT NULL,"
    " body BLOB," /* NULL: has been taken */
    " PRIMARY KEY (device, hash)"
    ") WITHOUT ROWID, STRICT;"
    "CREATE TABLE invite ("
    " hash BLOB NOT NULL PRIMARY KEY"
    ") WITHOUT ROWID, STRICT;"
    "CREATE TABLE spent (" /* subjects of proofs of work */
    " day INTEGER NOT NULL,"
    " subject BLOB NOT NULL,"
    " PRIMARY KEY (day, subject)"
    ") WITHOUT ROWID, STRICT;"
    "CREATE TABLE taken (" /* how often packages were taken */
    " day INTEGER NOT NULL,"
    " account BLOB NOT NULL,"
    " by_contacts INTEGER NOT NULL,"
    " by_strangers INTEGER NOT NULL,"
    " PRIMARY KEY (day, account)"
    ") WITHOUT ROWID, STRICT;",
    "ALTER TABLE account ADD COLUMN disabled INTEGER NOT NULL DEFAULT 0;"
    /* What is left of a deleted account, in two tables without a link: its id,
     * which must never begin again with its first state and a device that was
     * revoked later; and its name, for a while. */
    "CREATE TABLE gone ("
    " account BLOB NOT NULL PRIMARY KEY"
    ") WITHOUT ROWID, STRICT;"
    "CREATE TABLE resting ("
    " name BLOB NOT NULL PRIMARY KEY,"
    " week INTEGER NOT NULL"
    ") WITHOUT ROWID, STRICT;"
    "CREATE TABLE notice (" /* for the servers that run: who was barred */
    " number INTEGER PRIMARY KEY,"
    " day INTEGER NOT NULL,"
    " account BLOB NOT NULL"
    ") STRICT;",
    NULL,
};

/* Runs a statement whose parameters are up to two runs of bytes. */
static enum err run_with(struct sql *db, const char *text, struct bytes a,
                         struct bytes b)
{
    CLEANUP(sql_end) struct sql_query q = sql_query(db, text);
    sql_put_bytes(&q, a);
    if (b.data != NULL)
        sql_put_bytes(&q, b);
    return sql_run(&q);
}

static enum err found(struct sql *db, const char *text, struct bytes key,
                      bool *out)
{
    CLEANUP(sql_end) struct sql_query q = sql_query(db, text);
    sql_put_bytes(&q, key);
    *out = sql_next(&q);
    return sql_finish(&q);
}

static enum err state_insert(struct sql *db, const struct store_op *op,
                             uint64_t version, struct bytes body)
{
    CLEANUP(sql_end)
    struct sql_query q = sql_query(db, "INSERT INTO state VALUES (?, ?, ?)");
    sql_put_bytes(&q, op->account);
    sql_put_u64(&q, version);
    sql_put_bytes(&q, body);
    return sql_run(&q);
}

/* Says whether none of the devices belongs to another account. */
static enum err devices_free(struct sql *db, const struct store_op *op,
                             bool *out)
{
    struct reader r = reader_of(op->devices);
    *out = true;
    while (*out && reader_more(&r)) {
        CLEANUP(sql_end)
        struct sql_query q =
            sql_query(db, "SELECT 1 FROM device WHERE id = ? AND account <> ?");
        sql_put_bytes(&q, reader_raw(&r, ID_SIZE));
        sql_put_bytes(&q, op->account);
        *out = !sql_next(&q);
        TRY(sql_finish(&q));
    }
    return reader_finish(&r);
}

static bool lists_device(struct bytes devices, struct bytes id)
{
    struct reader r = reader_of(devices);
    while (reader_more(&r)) {
        if (bytes_equal(reader_raw(&r, ID_SIZE), id))
            return true;
    }
    return false;
}

/* Makes the account's devices those of the newest state. The key packages of a
 * device that has gone go, too. */
static enum err devices_set(struct sql *db, const struct store_op *op)
{
    const struct bytes none = {0};
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(db, "SELECT id FROM device WHERE account = ?");
    sql_put_bytes(&q, op->account);
    while (sql_next(&q)) {
        struct bytes id = sql_bytes(&q, 0);
        if (!lists_device(op->devices, id))
            TRY(run_with(db, "DELETE FROM package WHERE device = ?", id, none));
    }
    TRY(sql_finish(&q));
    sql_end(&q);
    TRY(run_with(db, "DELETE FROM device WHERE account = ?", op->account,
                 none));
    struct reader r = reader_of(op->devices);
    while (reader_more(&r))
        TRY(run_with(db, "INSERT INTO device VALUES (?, ?)",
                     reader_raw(&r, ID_SIZE), op->account));
    return reader_finish(&r);
}

/* The same again, after a lost answer, is no error. */
static enum err register_again(struct sql *db, struct store_op *op)
{
    CLEANUP(sql_end)
    struct sql_query q = sql_query(
        db, "SELECT 1 FROM account a JOIN device d ON d.account = a.id"
            " WHERE a.id = ? AND a.name = ? AND d.id = ?");
    sql_put_bytes(&q, op->account);
    sql_put_bytes(&q, op->request.reg.name);
    sql_put_bytes(&q, op->request.reg.device_id);
    bool same = sql_next(&q);
    TRY(sql_finish(&q));
    return same ? OK : store_refuse(op, STATUS_EXISTS, 0);
}

static enum err account_insert(struct sql *db, const struct store_op *op)
{
    const struct register_request *r = &op->request.reg;
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(db, "INSERT INTO account VALUES (?, ?, ?, 1, ?, ?, 0)");
    sql_put_bytes(&q, op->account);
    sql_put_bytes(&q, r->name);
    sql_put_bytes(&q, r->contact_hash);
    sql_put_u64(&q, op->day / DAYS_PER_WEEK);
    sql_put_u64(&q, op->day / DAYS_PER_WEEK);
    TRY(sql_run(&q));
    TRY(run_with(db, "INSERT INTO handle VALUES (?, ?)", r->name, op->account));
    TRY(state_insert(db, op, 1, r->state));
    return devices_set(db, op);
}

/* Also by an account that was deleted: neither its id nor, for a while, its
 * name is free. */
static enum err name_taken(struct sql *db, const struct store_op *op, bool *out)
{
    const struct bytes name = op->request.reg.name;
    TRY(found(db, "SELECT 1 FROM gone WHERE account = ?", op->account, out));
    if (!*out)
        TRY(found(db, "SELECT 1 FROM handle WHERE name = ?", name, out));
    if (!*out)
        TRY(found(db, "SELECT 1 FROM resting WHERE name = ?", name, out));
    return OK;
}

enum err accounts_register(struct store_sqlite *s, struct store_op *op)
{
    struct sql *db = NULL;
    bool taken = false;
    bool device_free = false;
    TRY(store_use(s, op, FILE_ACCOUNTS, &db));
    TRY(found(db, "SELECT 1 FROM account WHERE id = ?", op->account, &taken));
    if (taken)
        return register_again(db, op);
    TRY(name_taken(db, op, &taken));
    TRY(devices_free(db, op, &device_free));
    if (taken || !device_free)
        return store_refuse(op, STATUS_EXISTS, 0);
    if (op->invite_hash.len > 0) {
        const struct bytes none = {0};
        TRY(run_with(db, "DELETE FROM invite WHERE hash = ?", op->invite_hash,
                     none));
        if (sql_changes(db) == 0)
            return store_refuse(op, STATUS_AUTH, 0);
    }
    return account_insert(db, op);
}

enum err accounts_invite_add(struct store_sqlite *s, struct store_op *op)
{
    struct sql *db = NULL;
    const struct bytes none = {0};
    TRY(store_use(s, op, FILE_ACCOUNTS, &db));
    return run_with(db, "INSERT OR IGNORE INTO invite VALUES (?)",
                    op->invite_hash, none);
}

enum err accounts_newest(struct store_sqlite *s, struct store_op *op)
{
    struct sql *db = NULL;
    TRY(store_use(s, op, FILE_ACCOUNTS, &db));
    CLEANUP(sql_end)
    struct sql_query q = sql_query(
        db, "SELECT s.body, a.version, a.used_week, a.disabled FROM account a"
            " JOIN state s ON s.account = a.id AND s.version = a.version"
            " WHERE a.id = ?");
    sql_put_bytes(&q, op->account);
    if (!sql_next(&q)) {
        bool gone = false;
        TRY(sql_finish(&q));
        TRY(found(db, "SELECT 1 FROM gone WHERE account = ?", op->account,
                  &gone));
        return gone ? store_refuse(op, STATUS_BARRED, BARRED_DELETED)
                    : store_refuse(op, STATUS_NOTFOUND, 0);
    }
    if (sql_u64(&q, 3) != 0)
        return store_refuse(op, STATUS_BARRED, BARRED_DISABLED);
    op->answer.login.state_version = sql_u64(&q, 1);
    op->seq = sql_u64(&q, 2);
    op->data = buf_new(STATE_SIZE_MAX);
    return buf_append(&op->data, sql_bytes(&q, 0));
}

enum err accounts_touch(struct store_sqlite *s, struct store_op *op)
{
    struct sql *db = NULL;
    TRY(store_use(s, op, FILE_ACCOUNTS, &db));
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(db, "UPDATE account SET used_week = ? WHERE id = ?");
    sql_put_u64(&q, op->day / DAYS_PER_WEEK);
    sql_put_bytes(&q, op->account);
    return sql_run(&q);
}

static enum err version_of(struct sql *db, const struct store_op *op,
                           uint64_t *out)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(db, "SELECT version FROM account WHERE id = ?");
    sql_put_bytes(&q, op->account);
    *out = sql_next(&q) ? sql_u64(&q, 0) : 0;
    return sql_finish(&q);
}

static enum err version_set(struct sql *db, const struct store_op *op)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(db, "UPDATE account SET version = ? WHERE id = ?");
    sql_put_u64(&q, op->version);
    sql_put_bytes(&q, op->account);
    return sql_run(&q);
}

/* The core has checked that it follows the newest state that it was given;
 * another device may have been faster. */
enum err accounts_state_append(struct store_sqlite *s, struct store_op *op)
{
    struct sql *db = NULL;
    uint64_t newest = 0;
    bool device_free = false;
    TRY(store_use(s, op, FILE_ACCOUNTS, &db));
    TRY(version_of(db, op, &newest));
    if (newest + 1 != op->version)
        return store_refuse(op, STATUS_STATE, newest);
    if (op->version > s->quotas.chain_states)
        return store_refuse(op, STATUS_LIMIT, 0);
    TRY(devices_free(db, op, &device_free));
    if (!device_free)
        return store_refuse(op, STATUS_EXISTS, 0);
    TRY(state_insert(db, op, op->version, op->request.state_append.state));
    TRY(version_set(db, op));
    return devices_set(db, op);
}

enum err accounts_contact_set(struct store_sqlite *s, struct store_op *op)
{
    struct sql *db = NULL;
    TRY(store_use(s, op, FILE_ACCOUNTS, &db));
    return run_with(db, "UPDATE account SET contact_hash = ? WHERE id = ?",
                    op->request.contact_set.contact_hash, op->account);
}

/* Says whether the connection's device is still one of its account's. */
static enum err own_device(struct sql *db, struct store_op *op, bool *out)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(db, "SELECT 1 FROM device WHERE id = ? AND account = ?");
    sql_put_bytes(&q, op->device);
    sql_put_bytes(&q, op->account);
    *out = sql_next(&q);
    TRY(sql_finish(&q));
    return *out ? OK : store_refuse(op, STATUS_AUTH, 0);
}

static enum err packages_count(struct sql *db, struct bytes device,
                               uint64_t *out)
{
    CLEANUP(sql_end)
    struct sql_query q = sql_query(
        db, "SELECT count(*) FROM package"
            " WHERE device = ? AND last_resort = 0 AND body IS NOT NULL");
    sql_put_bytes(&q, device);
    TRY(sql_one(&q));
    *out = sql_u64(&q, 0);
    return OK;
}

static enum err package_insert(struct sql *db, const struct store_op *op,
                               struct bytes hash, struct bytes body,
                               unsigned last_resort)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(db, "INSERT OR IGNORE INTO package VALUES (?, ?, ?, ?, ?)");
    sql_put_bytes(&q, op->device);
    sql_put_bytes(&q, hash);
    sql_put_u64(&q, last_resort);
    sql_put_u64(&q, op->day);
    sql_put_bytes(&q, body);
    return sql_run(&q);
}

enum err accounts_kp_publish(struct store_sqlite *s, struct store_op *op)
{
    const struct kp_publish_request *r = &op->request.kp_publish;
    const struct bytes none = {0};
    struct reader list = reader_of(r->packages);
    struct reader hashes = reader_of(op->digest);
    struct sql *db = NULL;
    uint64_t count = 0;
    bool own = false;
    TRY(store_use(s, op, FILE_ACCOUNTS, &db));
    TRY(own_device(db, op, &own));
    if (!own)
        return OK;
    TRY(packages_count(db, op->device, &count));
    while (reader_more(&list)) {
        struct bytes body = reader_vec(&list);
        struct bytes hash = reader_raw(&hashes, ID_SIZE);
        if (count >= KEY_PACKAGES) /* the rest is not needed */
            break;
        TRY(package_insert(db, op, hash, body, 0));
        count += sql_changes(db);
    }
    if (r->last_resort.len > 0) {
        struct bytes hash = {op->digest.data + op->digest.len - ID_SIZE,
                             ID_SIZE};
        TRY(run_with(db,
                     "DELETE FROM package WHERE device = ? AND last_resort = 1",
                     op->device, none));
        TRY(package_insert(db, op, hash, r->last_resort, LAST_RESORT));
    }
    op->answer.kp_count.single_use = (uint32_t)count;
    return OK;
}

enum err accounts_kp_count(struct store_sqlite *s, struct store_op *op)
{
    struct sql *db = NULL;
    uint64_t count = 0;
    TRY(store_use(s, op, FILE_ACCOUNTS, &db));
    TRY(packages_count(db, op->device, &count));
    op->answer.kp_count.single_use = (uint32_t)count;
    return OK;
}

/* Counts a taking against the day's quota; false when it is used up. */
static enum err quota_take(const struct store_sqlite *s, struct sql *db,
                           const struct store_op *op, bool contact, bool *out)
{
    uint64_t max = contact ? s->quotas.contact_takes : s->quotas.stranger_takes;
    {
        CLEANUP(sql_end)
        struct sql_query q =
            sql_query(db, "SELECT by_contacts, by_strangers FROM taken"
                          " WHERE day = ? AND account = ?");
        sql_put_u64(&q, op->day);
        sql_put_bytes(&q, op->request.kp_take.account_id);
        uint64_t used = sql_next(&q) ? sql_u64(&q, contact ? 0 : 1) : 0;
        TRY(sql_finish(&q));
        *out = used < max;
    }
    if (!*out)
        return OK;
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(db, "INSERT INTO taken VALUES (?, ?, ?, ?)"
                      " ON CONFLICT (day, account) DO UPDATE SET"
                      " by_contacts = by_contacts + excluded.by_contacts,"
                      " by_strangers = by_strangers + excluded.by_strangers");
    sql_put_u64(&q, op->day);
    sql_put_bytes(&q, op->request.kp_take.account_id);
    sql_put_u64(&q, contact);
    sql_put_u64(&q, !contact);
    return sql_run(&q);
}

/* Notes that the work was used; false when it had been before. */
static enum err spend(struct sql *db, uint32_t day, struct bytes subject,
                      bool *out)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(db, "INSERT OR IGNORE INTO spent VALUES (?, ?)");
    sql_put_u64(&q, day);
    sql_put_bytes(&q, subject);
    TRY(sql_run(&q));
    *out = sql_changes(db) > 0;
    return OK;
}

/* Appends a device's next package to the answer, if it has one. */
static enum err package_take(struct sql *db, struct bytes device,
                             struct writer *w)
{
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(db, "SELECT hash, last_resort, body FROM package"
                      " WHERE device = ? AND body IS NOT NULL"
                      " ORDER BY last_resort LIMIT 1");
    sql_put_bytes(&q, device);
    if (!sql_next(&q))
        return sql_finish(&q);
    const struct device_package p = {device, sql_bytes(&q, 2)};
    device_package_write(w, &p);
    if (sql_u64(&q, 1) == LAST_RESORT)
        return OK;
    return run_with(db,
                    "UPDATE package SET body = NULL"
                    " WHERE device = ? AND hash = ?",
                    device, sql_bytes(&q, 0));
}

/* The right to take, before anything is given. */
static enum err take_granted(struct store_sqlite *s, struct store_op *op,
                             struct sql *db, bool *out)
{
    const struct kp_take_request *r = &op->request.kp_take;
    bool contact = false;
    enum err err = accounts_check(s, op, r->account_id, r->device_id, &contact);
    *out = false;
    if (err == ERR_NOTFOUND)
        return store_refuse(op, STATUS_NOTFOUND, 0);
    if (err == ERR_STATE)
        return store_refuse(op, STATUS_BARRED, BARRED_DISABLED);
    TRY(err);
    if (!contact && op->cap_hash.len > 0)
        return store_refuse(op, STATUS_AUTH, 0);
    bool new_work = contact;
    if (!contact)
        TRY(spend(db, r->pow.day, op->digest, &new_work));
    if (!new_work)
        return store_refuse(op, STATUS_AUTH, 0);
    TRY(quota_take(s, db, op, contact, out));
    return *out ? OK : store_refuse(op, STATUS_LIMIT, 0);
}

enum err accounts_kp_take(struct store_sqlite *s, struct store_op *op)
{
    const struct kp_take_request *r = &op->request.kp_take;
    struct sql *db = NULL;
    bool granted = false;
    TRY(store_use(s, op, FILE_ACCOUNTS, &db));
    TRY(take_granted(s, op, db, &granted));
    if (!granted)
        return OK;
    op->data = buf_new(MESSAGE_MAX);
    struct writer w = writer_to(&op->data);
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(db, "SELECT id FROM device WHERE account = ? ORDER BY id");
    sql_put_bytes(&q, r->account_id);
    while (sql_next(&q)) {
        struct bytes device = sql_bytes(&q, 0);
        if (r->device_id.len == 0 || bytes_equal(device, r->device_id))
            TRY(package_take(db, device, &w));
    }
    TRY(sql_finish(&q));
    TRY(writer_finish(&w));
    op->answer.kp_take.packages = buf_bytes(&op->data);
    return OK;
}

enum err accounts_check(struct store_sqlite *s, struct store_op *op,
                        struct bytes account, struct bytes device,
                        bool *out_contact)
{
    struct sql *db = NULL;
    TRY(store_use(s, op, FILE_ACCOUNTS, &db));
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(db, "SELECT contact_hash, disabled FROM account"
                      " WHERE id = ?");
    sql_put_bytes(&q, account);
    TRY(sql_one(&q));
    *out_contact = op->cap_hash.len > 0 &&
                   secret_equal_bytes(sql_bytes(&q, 0), op->cap_hash);
    if (sql_u64(&q, 1) != 0)
        return ERR_STATE;
    if (device.len == 0)
        return OK;
    CLEANUP(sql_end)
    struct sql_query d =
        sql_query(db, "SELECT 1 FROM device WHERE id = ? AND account = ?");
    sql_put_bytes(&d, device);
    sql_put_bytes(&d, account);
    return sql_one(&d);
}

enum err accounts_lookup(struct store_sqlite *s, struct store_op *op)
{
    struct sql *db = NULL;
    TRY(store_use(s, op, FILE_ACCOUNTS, &db));
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(db, "SELECT account FROM handle WHERE name = ?");
    sql_put_bytes(&q, op->request.lookup.name);
    if (!sql_next(&q)) {
        TRY(sql_finish(&q));
        return store_refuse(op, STATUS_NOTFOUND, 0);
    }
    op->data = buf_new(ID_SIZE);
    TRY(buf_append(&op->data, sql_bytes(&q, 0)));
    op->answer.lookup.account_id = buf_bytes(&op->data);
    return OK;
}

enum err accounts_chain(struct store_sqlite *s, struct store_op *op)
{
    const struct chain_request *r = &op->request.chain;
    struct sql *db = NULL;
    op->account = r->account_id;
    TRY(store_use(s, op, FILE_ACCOUNTS, &db));
    TRY(version_of(db, op, &op->answer.chain.newest));
    if (op->answer.chain.newest == 0)
        return store_refuse(op, STATUS_NOTFOUND, 0);
    op->data = buf_new(CHAIN_BYTES_MAX + 2 * STATE_SIZE_MAX);
    struct writer w = writer_to(&op->data);
    CLEANUP(sql_end)
    struct sql_query q = sql_query(
        db, "SELECT body FROM state WHERE account = ? AND version >= ?"
            " ORDER BY version");
    sql_put_bytes(&q, r->account_id);
    sql_put_u64(&q, store_clamp(r->from));
    while (op->data.len < CHAIN_BYTES_MAX - STATE_SIZE_MAX && sql_next(&q))
        writer_vec(&w, sql_bytes(&q, 0));
    TRY(sql_finish(&q));
    TRY(writer_finish(&w));
    op->answer.chain.states = buf_bytes(&op->data);
    return OK;
}

enum err accounts_notices(struct store_sqlite *s, struct store_op *op)
{
    struct sql *db = NULL;
    TRY(store_use(s, op, FILE_ACCOUNTS, &db));
    if (op->version == STORE_NOTICE_NEWEST) {
        CLEANUP(sql_end)
        struct sql_query q = sql_query(db, "SELECT max(number) FROM notice");
        TRY(sql_one(&q));
        op->seq = sql_u64(&q, 0);
        return OK;
    }
    op->seq = op->version;
    op->data = buf_new((size_t)STORE_NOTICES_MAX * ID_SIZE);
    CLEANUP(sql_end)
    struct sql_query q =
        sql_query(db, "SELECT number, account FROM notice WHERE number > ?"
                      " ORDER BY number LIMIT ?");
    sql_put_u64(&q, op->version);
    sql_put_u64(&q, STORE_NOTICES_MAX);
    while (sql_next(&q)) {
        op->seq = sql_u64(&q, 0);
        TRY(buf_append(&op->data, sql_bytes(&q, 1)));
    }
    return sql_finish(&q);
}

/* Every running server has seen the notices by now. The newest one stays, for
 * its number, but not whom it was about. */
static enum err notices_collect(struct sql *db, const struct store_op *op)
{
    TRY(store_older(db,
                    "DELETE FROM notice WHERE day < ?"
                    " AND number < (SELECT max(number) FROM notice)",
                    op, SPENT_DAYS));
    return store_older(db,
                       "UPDATE notice SET account = x''"
                       " WHERE day < ? AND account <> x''",
                       op, SPENT_DAYS);
}

/* A package is given out while it has long to live; its device, which sees the
 * number fall, publishes others. The hash of one that was taken stays for as
 * long as it lives, so that it cannot be published again. */
enum err accounts_collect(struct store_sqlite *s, struct store_op *op)
{
    uint8_t ids[COLLECT_STEP][ID_SIZE];
    size_t count = 0;
    struct sql *db = NULL;
    TRY(store_use(s, op, FILE_ACCOUNTS, &db));
    TRY(store_older(db, "DELETE FROM spent WHERE day < ?", op, SPENT_DAYS));
    TRY(store_older(db, "DELETE FROM taken WHERE day < ?", op, SPENT_DAYS));
    TRY(notices_collect(db, op));
    TRY(store_older(db, "DELETE FROM resting WHERE 7 * week < ?", op,
                    HANDLE_REST_DAYS));
    TRY(store_walk(s, FILE_ACCOUNTS,
                   "SELECT DISTINCT device FROM package WHERE device > ?"
                   " ORDER BY device LIMIT ?",
                   ids, &count));
    for (size_t i = 0; i < count; i++) {
        CLEANUP(sql_end)
        struct sql_query q = sql_query(
            db, "DELETE FROM package WHERE device = ? AND last_resort = 0"
                " AND day + iif(body IS NULL, ?, ?) <= ?");
        sql_put_bytes(&q, (struct bytes){ids[i], ID_SIZE});
        sql_put_u64(&q, PACKAGE_LIFE + 2);
        sql_put_u64(&q, PACKAGE_DAYS);
        sql_put_u64(&q, op->day);
        TRY(sql_run(&q));
    }
    return OK;
}

enum err accounts_verify(struct store_sqlite *s, struct problem *p)
{
    static const struct store_fault faults[] = {
        {"SELECT count(*) FROM account a WHERE version <> (SELECT count(*)"
         " FROM state WHERE account = a.id) OR version <> (SELECT max(version)"
         " FROM state WHERE account = a.id)",
         "an account's chain has a gap"},
        {"SELECT count(*) FROM account a WHERE NOT EXISTS (SELECT 1 FROM handle"
         " h WHERE h.name = a.name AND h.account = a.id)",
         "an account has no handle"},
        {"SELECT count(*) FROM handle h WHERE NOT EXISTS"
         " (SELECT 1 FROM account a WHERE a.id = h.account)",
         "a handle has no account"},
        {"SELECT count(*) FROM device d WHERE NOT EXISTS"
         " (SELECT 1 FROM account a WHERE a.id = d.account)",
         "a device has no account"},
    };
    return store_verify(s, FILE_ACCOUNTS, faults,
                        sizeof faults / sizeof faults[0], p);
}
