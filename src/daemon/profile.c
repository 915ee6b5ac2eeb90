/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/profile.h"

#include "base/wire.h"
#include "crypto/crypto.h"
#include "crypto/entropy.h"
#include "crypto/password.h"
#include "sql/sql.h"

#include <unistd.h>

#define KEY_FILE        "key"
#define PASSPHRASE_FILE "passphrase"
#define DB_FILE         "client.db"
#define LOCK_FILE       "lock"
#define COST_VERSION    1U
#define LOCK_WAIT_MS    2000U

void profile_close(struct profile_folder *f)
{
    sql_close(&f->db);
    crypto_free(&f->crypto);
    file_lock_release(&f->lock);
}

void profile_discard(struct profile_folder *f, const char *folder)
{
    static const char *const names[] = {DB_FILE, DB_FILE "-wal", DB_FILE "-shm",
                                        KEY_FILE, PASSPHRASE_FILE};
    sql_close(&f->db);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[FILE_PATH_MAX];
        if (file_path(folder, names[i], path, NULL) == OK)
            (void)unlink(path);
    }
}

static bool there(const char *folder, const char *name)
{
    char path[FILE_PATH_MAX];
    return file_path(folder, name, path, NULL) == OK && file_exists(path);
}

bool profile_wants_passphrase(const char *path)
{
    return there(path, PASSPHRASE_FILE);
}

/* --- the key --- */

static enum err key_from_file(const char *folder, struct secret *out,
                              struct problem *p)
{
    char path[FILE_PATH_MAX];
    CLEANUP(buf_clear) struct buf raw = buf_new(SQL_KEY_SIZE);
    TRY(file_path(folder, KEY_FILE, path, p));
    TRY(file_read_private(path, &raw, p));
    if (raw.len != SQL_KEY_SIZE)
        return problem_set(p, ERR_INVALID, PROBLEM_DAMAGED,
                           "%.120s is not a key: restore it from a copy", path);
    return secret_set(out, buf_bytes(&raw));
}

static enum err key_make(const struct profile_options *o, struct secret *out,
                         struct problem *p)
{
    char path[FILE_PATH_MAX];
    struct random random = entropy_system();
    TRY(file_path(o->path, KEY_FILE, path, p));
    secret_random(out, SQL_KEY_SIZE, &random);
    return file_write(path, secret_expose(out), p);
}

/* struct { uint8 version; opaque salt[16]; uint32 passes, memory_kib; } */
static enum err cost_read(const char *folder, struct buf *raw,
                          struct bytes *salt, struct password_cost *cost,
                          struct problem *p)
{
    char path[FILE_PATH_MAX];
    TRY(file_path(folder, PASSPHRASE_FILE, path, p));
    TRY(file_read_private(path, raw, p));
    struct reader r = reader_of(buf_bytes(raw));
    uint8_t version = reader_u8(&r);
    *salt = reader_raw(&r, PASSWORD_SALT_SIZE);
    cost->passes = reader_u32(&r);
    cost->memory_kib = reader_u32(&r);
    if (reader_finish(&r) == OK && version == COST_VERSION)
        return OK;
    return problem_set(p, ERR_INVALID, PROBLEM_DAMAGED,
                       "%.120s is damaged: restore it from a copy", path);
}

static enum err cost_make(const struct profile_options *o, struct problem *p)
{
    char path[FILE_PATH_MAX];
    uint8_t salt[PASSWORD_SALT_SIZE];
    struct random random = entropy_system();
    random_fill(&random, salt, sizeof salt);
    CLEANUP(buf_clear) struct buf raw = buf_new(64);
    struct writer w = writer_to(&raw);
    writer_u8(&w, COST_VERSION);
    writer_raw(&w, BYTES_ARRAY(salt));
    writer_u32(&w, password_cost_default.passes);
    writer_u32(&w, password_cost_default.memory_kib);
    TRY(writer_finish(&w));
    TRY(file_path(o->path, PASSPHRASE_FILE, path, p));
    return file_write(path, buf_bytes(&raw), p);
}

static enum err key_from_passphrase(const struct profile_options *o,
                                    struct secret *out, struct problem *p)
{
    CLEANUP(buf_clear) struct buf raw = buf_new(64);
    struct bytes salt = {0};
    struct password_cost cost = {0};
    if (o->passphrase.len == 0)
        return problem_set(p, ERR_AUTH, PROBLEM_USAGE,
                           "this profile has a passphrase: give it with "
                           "--passphrase-file");
    TRY(cost_read(o->path, &raw, &salt, &cost, p));
    enum err err = password_key(o->passphrase, salt, cost, out);
    if (err != OK)
        return problem_set(p, err, PROBLEM_DAMAGED, "cannot derive the key: %s",
                           err_text(err));
    return OK;
}

static enum err profile_key(const struct profile_options *o, struct secret *out,
                            struct problem *p)
{
    if (there(o->path, PASSPHRASE_FILE))
        return key_from_passphrase(o, out, p);
    if (there(o->path, KEY_FILE))
        return key_from_file(o->path, out, p);
    if (there(o->path, DB_FILE))
        return problem_set(p, ERR_NOTFOUND, PROBLEM_DAMAGED,
                           "%.120s has lost its file \"" KEY_FILE
                           "\": restore it from a copy",
                           o->path);
    if (o->passphrase.len == 0)
        return key_make(o, out, p);
    TRY(cost_make(o, p));
    return key_from_passphrase(o, out, p);
}

/* --- opening --- */

static enum err lock(const char *folder, struct file_lock *out,
                     struct problem *p)
{
    char path[FILE_PATH_MAX];
    TRY(file_path(folder, LOCK_FILE, path, p));
    enum err err = file_lock_take(path, out, p);
    if (err == ERR_EXISTS)
        return problem_set(p, err, PROBLEM_LOCKED,
                           "another sotto uses this profile (%.100s): end it "
                           "first, or choose another with --profile",
                           folder);
    return err;
}

static enum err open_db(const struct profile_options *o,
                        const struct secret *key, struct sql **out,
                        struct problem *p)
{
    char path[FILE_PATH_MAX];
    TRY(file_path(o->path, DB_FILE, path, p));
    struct sql_config config = {.path = path,
                                .key = key,
                                .exclusive = true,
                                .existing = !o->create,
                                .wait_ms = LOCK_WAIT_MS};
    enum err err = sql_open(&config, p, out);
    if (err == ERR_AUTH && there(o->path, PASSPHRASE_FILE))
        return problem_set(p, err, PROBLEM_TRUST,
                           "the passphrase is wrong, or %.80s is damaged",
                           path);
    if (err == ERR_AUTH)
        return problem_set(p, err, PROBLEM_DAMAGED,
                           "%.80s is damaged, or its file \"" KEY_FILE
                           "\" is of another profile: restore the folder "
                           "from a copy",
                           path);
    return err;
}

enum err profile_open(const struct profile_options *o,
                      struct profile_folder *out, struct problem *p)
{
    CLEANUP(profile_close) struct profile_folder f = {0};
    CLEANUP(secret_clear) struct secret key = {0};
    if (!o->create && !there(o->path, DB_FILE))
        return problem_set(p, ERR_NOTFOUND, PROBLEM_USAGE,
                           "there is no profile in %.120s: make one with "
                           "\"sotto init\"",
                           o->path);
    TRY(file_folder(o->path, p));
    TRY(lock(o->path, &f.lock, p));
    TRY(profile_key(o, &key, p));
    TRY(open_db(o, &key, &f.db, p));
    f.random = entropy_system();
    if (crypto_create(&f.crypto) != OK)
        return problem_set(p, ERR_NOMEM, PROBLEM_SYSTEM,
                           "cannot set up the cryptography");
    *out = f;
    f = (struct profile_folder){0}; /* handed over */
    return OK;
}
