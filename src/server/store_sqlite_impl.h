/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the SQLite store share. */
#pragma once

#include "server/store_sqlite.h"

#include <dirent.h>
#include <string.h>

enum store_file {
    FILE_ACCOUNTS,
    FILE_INBOXES,
    FILE_CHANNELS,
    FILE_BLOBS,
    FILE_COUNT,
};

#define DIRTY_MAX 1024U

struct store_sqlite {
    struct store_quotas quotas;
    struct problem problem;
    struct sql_hook hook;
    bool crashed; /* by the hook: nothing is committed any more */
    struct sql *db[FILE_COUNT];
    struct sql_tx tx[FILE_COUNT]; /* of the flush that is going on */
    int blobs_fd;                 /* the folder; -1: their content is in rows */
    struct store_op *submitted, **submitted_end;
    struct store_op *done, **done_end;
    /* Channels whose acknowledgements moved in this flush. */
    uint64_t dirty[DIRTY_MAX]; /* their slots */
    size_t dirty_count;
    /* Blobs whose files go after the commit. */
    uint8_t gone[COLLECT_STEP][ID_SIZE];
    size_t gone_count;
    DIR *sweep;           /* through the folder, for files without a row */
    unsigned collections; /* since the files were compacted */
    /* How far the collection has come, by id. */
    uint8_t position[FILE_COUNT][ID_SIZE];
};

/* Its name, with ".db". */
const char *store_file_name(enum store_file file);

/* While it lives, what the file's database does is told. */
struct store_telling {
    struct sql *db;
    const struct store_progress *progress;
    const char *part;
    const char *copy; /* whose size says how far it is; NULL: none */
    uint64_t total;
};
void store_tell_begin(struct store_sqlite *s, enum store_file file,
                      const struct store_progress *progress,
                      struct store_telling *t);
void store_tell_end(struct store_telling *t);

/* Returns a file's database inside the flush's transaction. */
MUST_USE enum err store_use(struct store_sqlite *s, struct store_op *op,
                            enum store_file file, struct sql **out);

/* Ends a rule with a refusal; an error would undo the whole flush. */
static inline enum err store_refuse(struct store_op *op, enum status status,
                                    uint64_t detail)
{
    op->answer.status = (uint8_t)status;
    op->answer.detail = detail;
    return OK;
}

/* SQLite's integers end here, and so does every sequence number. */
static inline uint64_t store_clamp(uint64_t v)
{
    return v < INT64_MAX ? v : INT64_MAX;
}

/* The day so many days before the operation's; days count from 1970. */
static inline uint32_t store_day_before(const struct store_op *op,
                                        uint32_t days)
{
    return op->day > days ? op->day - days : 0;
}

/* Runs a statement whose one parameter is that day. */
MUST_USE enum err store_older(struct sql *db, const char *text,
                              const struct store_op *op, uint32_t days);

/* Visits up to COLLECT_STEP rows of ids after the last one visited; the query
 * takes that one and the number of rows. */
MUST_USE enum err store_walk(struct store_sqlite *s, enum store_file file,
                             const char *query,
                             uint8_t out[COLLECT_STEP][ID_SIZE],
                             size_t *out_count);

/* Says in `p` why a file failed, and returns `err`; ERR_NOTFOUND is no failure
 * of the file. */
MUST_USE enum err store_told(const struct store_sqlite *s, enum store_file file,
                             enum err err, struct problem *p);

/* What must never be: a query that counts it, and what to say. */
struct store_fault {
    const char *query, *what;
};
MUST_USE enum err store_verify(struct store_sqlite *s, enum store_file file,
                               const struct store_fault *faults, size_t count,
                               struct problem *p);

/* The schemas, by file. */
extern const char *const store_accounts_schema[];
extern const char *const store_inboxes_schema[];
extern const char *const store_channels_schema[];
extern const char *const store_blobs_schema[];

#define RULE(name) \
    MUST_USE enum err name(struct store_sqlite *store, struct store_op *op)
RULE(accounts_register);
RULE(accounts_newest);
RULE(accounts_touch);
RULE(accounts_state_append);
RULE(accounts_contact_set);
RULE(accounts_kp_publish);
RULE(accounts_kp_count);
RULE(accounts_kp_take);
RULE(accounts_lookup);
RULE(accounts_chain);
RULE(accounts_invite_add);
RULE(accounts_notices);
RULE(inboxes_read);
RULE(inboxes_ack);
RULE(inboxes_append);
RULE(channels_create);
RULE(channels_attach);
RULE(channels_read);
RULE(channels_append);
RULE(channels_ack);
RULE(channels_reopen);
RULE(blobs_put);
RULE(blobs_get);
RULE(accounts_collect);
RULE(inboxes_collect);
RULE(channels_collect);
RULE(blobs_collect);
#undef RULE

/* Says whether `cap_hash` is the account's contact capability, and that the
 * device is one of its own; ERR_NOTFOUND when it is not, ERR_STATE when the
 * account is disabled. */
MUST_USE enum err accounts_check(struct store_sqlite *s, struct store_op *op,
                                 struct bytes account, struct bytes device,
                                 bool *out_contact);

/* Checks the right to use a channel and that its subscription has not ended. */
MUST_USE enum err channels_access(struct store_sqlite *s, struct store_op *op,
                                  bool *out_live);

/* Deletes what everybody has acknowledged, of the channels that were touched.
 */
MUST_USE enum err channels_trim(struct store_sqlite *s);

/* Opens the folder of blobs, or arranges for rows. */
MUST_USE enum err blobs_open(struct store_sqlite *s,
                             const struct store_sqlite_config *config);
void blobs_close(struct store_sqlite *s);

/* Copies the content that the rows of `copy` (of blobs.db) name to `dir`/blobs;
 * removes those whose content has gone meanwhile. */
MUST_USE enum err blobs_backup(struct store_sqlite *s, struct sql *copy,
                               const char *dir,
                               const struct store_progress *progress,
                               struct problem *p);

/* The rows are durably gone: so go the files. */
void blobs_committed(struct store_sqlite *s);

/* See store_admin.h. */
MUST_USE enum err store_backup(struct store_sqlite *s, const char *dir,
                               const struct store_progress *progress,
                               struct problem *p);
MUST_USE enum err store_stats(struct store_sqlite *s,
                              const struct store_stats_sink *sink, uint64_t now,
                              struct problem *p);
MUST_USE enum err store_check(struct store_sqlite *s,
                              const struct store_progress *progress,
                              struct problem *p);

MUST_USE enum err channels_verify(struct store_sqlite *s, struct problem *p);
MUST_USE enum err accounts_verify(struct store_sqlite *s, struct problem *p);
MUST_USE enum err blobs_verify(struct store_sqlite *s, struct problem *p);
