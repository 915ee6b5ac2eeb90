/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A copy of the store while its server runs. Each file is copied as it was at
 * one moment, one after the other, in this order:
 *
 *     inboxes.db, channels.db, accounts.db, blobs.db, content of blobs
 *
 * What refers is copied before what it refers to, and that is always made
 * first. So in the copy
 *
 *     a KeyPackage that an item or an entry used has been taken,
 *     an account's chain is as new as any conversation knows it,
 *     a blob that an item or an entry names is there,
 *
 * as far as it was not deleted meanwhile. The content comes last and is that
 * of the copied rows: a blob that has expired since then is left out.
 */
#include "server/store_sqlite_impl.h"

#include "sys/files.h"

#include <sys/stat.h>

static const enum store_file order[FILE_COUNT] = {FILE_INBOXES, FILE_CHANNELS,
                                                  FILE_ACCOUNTS, FILE_BLOBS};

static enum err backup_file(struct store_sqlite *s, enum store_file file,
                            const char *dir,
                            const struct store_progress *progress,
                            struct problem *p)
{
    char path[FILE_PATH_MAX];
    TRY(file_path(dir, store_file_name(file), path, p));
    CLEANUP(store_tell_end) struct store_telling telling = {.copy = path};
    store_tell_begin(s, file, progress, &telling);
    return store_told(s, file, sql_backup(s->db[file], path), p);
}

static enum err backup_content(struct store_sqlite *s, const char *dir,
                               const struct store_progress *progress,
                               struct problem *p)
{
    char path[FILE_PATH_MAX];
    CLEANUP(sql_close) struct sql *copy = NULL;
    TRY(file_path(dir, store_file_name(FILE_BLOBS), path, p));
    const struct sql_config config = {.path = path, .existing = true};
    TRY(sql_open(&config, p, &copy));
    return blobs_backup(s, copy, dir, progress, p);
}

enum err store_backup(struct store_sqlite *s, const char *dir,
                      const struct store_progress *progress, struct problem *p)
{
    for (size_t i = 0; i < FILE_COUNT; i++)
        TRY(backup_file(s, order[i], dir, progress, p));
    return backup_content(s, dir, progress, p);
}
