/* SPDX-License-Identifier: Apache-2.0 */
#include "server/backup.h"

#include "base/secret.h"
#include "crypto/crypto.h"
#include "server/date.h"
#include "server/home.h"
#include "server/store_sqlite.h"
#include "sys/clock.h"
#include "sys/draft.h"
#include "sys/files.h"
#include "sys/folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DAY_MS    86400000U
#define ASIDE_MAX 100U /* folders moved aside in a day */
#define DB_FILE   "accounts.db"

/* What a server would open, opens, and fits together. */
static enum err verify(const char *dir, const struct store_progress *progress,
                       struct problem *p)
{
    CLEANUP(crypto_free) struct crypto *crypto = NULL;
    CLEANUP(secret_clear) struct secret key = {0};
    CLEANUP(store_sqlite_close) struct store_sqlite *s = NULL;
    const struct store_sqlite_config config = {.dir = dir, .existing = true};
    if (crypto_create(&crypto) != OK)
        return problem_set(p, ERR_NOMEM, PROBLEM_SYSTEM,
                           "cannot set up the cryptography");
    TRY(home_server_key(dir, crypto, NULL, &key, p));
    TRY(store_sqlite_open(&config, p, &s));
    const struct store_admin admin = store_sqlite_admin(s);
    return admin.check(admin.ctx, progress, p);
}

/* --- backup --- */

enum err backup_make(const struct store_admin *admin, const char *data,
                     const char *to, const struct store_progress *progress,
                     struct problem *p)
{
    CLEANUP(draft_clear) struct draft draft = {0};
    if (admin->backup == NULL)
        return problem_set(p, ERR_INVALID, PROBLEM_USAGE,
                           "the store is a database with tools of its own: "
                           "use pg_dump or pg_basebackup, and keep a copy of "
                           "server.key");
    if (!folder_is_empty(to))
        return problem_set(p, ERR_EXISTS, PROBLEM_USAGE,
                           "%.120s is there already: name a new folder", to);
    TRY(draft_make(to, &draft, p));
    TRY(admin->backup(admin->ctx, draft.path, progress, p));
    TRY(home_copy(data, draft.path, p));
    TRY(verify(draft.path, progress, p));
    TRY(draft_whole(&draft, p));
    TRY(folder_place(draft.path, draft.place, p));
    draft.path[0] = '\0'; /* it is in its place */
    return OK;
}

/* --- restore --- */

/* A running server's files change while they are copied. */
static enum err source_check(const char *from, struct file_lock *lock,
                             struct problem *p)
{
    char path[FILE_PATH_MAX];
    TRY(file_path(from, DB_FILE, path, p));
    if (!file_exists(path))
        return problem_set(p, ERR_NOTFOUND, PROBLEM_USAGE,
                           "%.120s is no backup: it has no " DB_FILE, from);
    if (draft_is(from))
        return problem_set(p, ERR_INVALID, PROBLEM_USAGE,
                           "%.120s is a backup that did not come to its end",
                           from);
    TRY(file_path(from, HOME_LOCK_FILE, path, p));
    if (!file_exists(path))
        return OK;
    return file_lock_take(path, lock, p);
}

/* Locks what is there; says whether that is something. */
static enum err target_check(const char *data, bool replace,
                             struct file_lock *lock, bool *out_full,
                             struct problem *p)
{
    char path[FILE_PATH_MAX];
    *out_full = !folder_is_empty(data);
    if (!*out_full)
        return OK;
    TRY(file_path(data, DB_FILE, path, p));
    if (!file_exists(path))
        return problem_set(p, ERR_NOTFOUND, PROBLEM_USAGE,
                           "%.100s is not the data folder of a sottod: move it "
                           "away yourself",
                           data);
    TRY(home_lock(data, lock, p));
    if (!replace)
        return problem_set(p, ERR_EXISTS, PROBLEM_USAGE,
                           "%.100s is not empty: with --replace it is moved "
                           "aside",
                           data);
    return OK;
}

static bool is_wanted(const char *name)
{
    size_t len = strlen(name);
    return strcmp(name, HOME_LOCK_FILE) != 0 &&
           (len < 4 || strcmp(name + len - 4, "-shm") != 0);
}

static void say_files(void *ctx, uint64_t files)
{
    const struct store_progress *progress = ctx;
    if (progress != NULL)
        progress->say(progress->ctx, "files", files, 0);
}

/* The superuser restores for the user that the folder belonged to. */
static enum err keep_owner(const char *data, const char *draft,
                           struct problem *p)
{
    struct stat s;
    if (geteuid() != 0 || stat(data, &s) != 0 || s.st_uid == 0)
        return OK;
    return folder_give(draft, s.st_uid, s.st_gid, p);
}

static enum err aside_name(const char *data, char out[FILE_PATH_MAX],
                           struct problem *p)
{
    char day[DATE_TEXT_MAX];
    date_write(clock_wall_ms() / DAY_MS, day);
    for (unsigned i = 1; i < ASIDE_MAX; i++) {
        int len =
            i == 1 ? snprintf(out, FILE_PATH_MAX, "%s.old-%s", data, day)
                   : snprintf(out, FILE_PATH_MAX, "%s.old-%s-%u", data, day, i);
        if (len < 0 || (size_t)len >= FILE_PATH_MAX)
            break;
        if (!file_exists(out))
            return OK;
    }
    return problem_set(p, ERR_LIMIT, PROBLEM_USAGE,
                       "too many folders %.120s.old-%s: remove some", data,
                       day);
}

static enum err place(struct draft *draft, const char *data, bool full,
                      char out_aside[BACKUP_PATH_MAX], struct problem *p)
{
    if (!full) {
        TRY(folder_place(draft->path, draft->place, p));
        draft->path[0] = '\0'; /* it is in its place */
        return OK;
    }
    char aside[FILE_PATH_MAX];
    TRY(aside_name(data, aside, p));
    TRY(folder_exchange(draft->path, data, aside, p));
    char old[FILE_PATH_MAX];
    memcpy(old, draft->path, sizeof old);
    draft->path[0] = '\0'; /* from now on that is what was there */
    memcpy(out_aside, old, sizeof old);
    TRY(folder_place(old, aside, p));
    memcpy(out_aside, aside, sizeof aside);
    return OK;
}

enum err backup_restore(const char *from, const char *data, bool replace,
                        const struct store_progress *progress,
                        char out_aside[BACKUP_PATH_MAX], struct problem *p)
{
    char real[FILE_PATH_MAX];
    CLEANUP(file_lock_release) struct file_lock source = {0};
    CLEANUP(file_lock_release) struct file_lock target = {0};
    CLEANUP(file_lock_release) struct file_lock lock = {0};
    CLEANUP(draft_clear) struct draft draft = {0};
    struct store_progress progress_copy = {0};
    const struct folder_copy how = {is_wanted, say_files,
                                    progress != NULL ? &progress_copy : NULL};
    bool full = false;
    out_aside[0] = '\0';
    if (progress != NULL)
        progress_copy = *progress;
    if (realpath(data, real) != NULL) /* it may be a link to its place */
        data = real;
    TRY(source_check(from, &source, p));
    TRY(target_check(data, replace, &target, &full, p));
    TRY(draft_make(data, &draft, p));
    TRY(folder_copy(from, draft.path, &how, p));
    TRY(verify(draft.path, progress, p));
    TRY(home_lock(draft.path, &lock, p)); /* no server until it ends */
    TRY(keep_owner(data, draft.path, p));
    TRY(draft_whole(&draft, p));
    return place(&draft, data, full, out_aside, p);
}
