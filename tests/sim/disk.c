/* SPDX-License-Identifier: Apache-2.0 */
#include "disk.h"

#include <assert.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILES_MAX  64U
#define NAME_MAX_  512
#define SHM_MAX    64
#define SECTOR     512U
#define JULIAN_DAY 210866760000000LL /* ms from Julian day 0 to 1970 */

struct block {
    uint8_t *data;
    size_t len;
    size_t cap;
};

/* A change since the last sync: a write of `len` bytes, or a new length `at`.
 * What it wrote and what was there before lie in the file's undo block. */
struct change {
    bool resize;
    size_t at;
    size_t len;
    size_t old_size; /* of the file */
    size_t old_len;  /* of what was overwritten or cut off */
    size_t saved;    /* where: the new bytes, then the old ones */
};

struct file {
    char name[NAME_MAX_];
    bool exists;
    unsigned handles;
    struct block now;  /* what reads see */
    struct block undo; /* what takes it back to the last sync */
    struct block backup;
    bool in_backup;
    struct change *changes;
    size_t change_count;
    size_t change_cap;
    uint8_t *shm[SHM_MAX];
    int shm_locks[SQLITE_SHM_NLOCK]; /* -1 exclusive, else the readers */
    int readers;
    const void *writer; /* the handle that holds RESERVED or more */
};

struct disk {
    sqlite3_vfs vfs;
    char name[64];
    struct file files[FILES_MAX];
    uint64_t random;
    uint64_t syncs;
    bool dead;
    bool full;
};

struct handle {
    sqlite3_file base;
    struct disk *disk;
    struct file *file;
    bool temporary;
    int level;
    unsigned shm_shared;
    unsigned shm_exclusive;
};

static uint64_t next_random(struct disk *d)
{
    d->random ^= d->random << 13;
    d->random ^= d->random >> 7;
    d->random ^= d->random << 17;
    return d->random;
}

/* The test program ends when the machine itself has no memory left. */
static void *need(void *block)
{
    if (block == NULL)
        abort();
    return block;
}

static void block_reserve(struct block *b, size_t len)
{
    if (len <= b->cap)
        return;
    b->cap = len > 2 * b->cap ? len : 2 * b->cap;
    b->data = need(realloc(b->data, b->cap));
}

static void block_resize(struct block *b, size_t len)
{
    block_reserve(b, len);
    if (len > b->len)
        memset(b->data + b->len, 0, len - b->len);
    b->len = len;
}

static void block_write(struct block *b, size_t at, const void *data,
                        size_t len)
{
    if (at > b->len)
        block_resize(b, at);
    block_reserve(b, at + len);
    if (at + len > b->len)
        b->len = at + len;
    if (len > 0)
        memcpy(b->data + at, data, len);
}

static void block_copy(struct block *to, const struct block *from)
{
    to->len = 0;
    block_write(to, 0, from->data, from->len);
}

static void block_clear(struct block *b)
{
    free(b->data);
    *b = (struct block){0};
}

/* Makes a change, so that it can be taken back. */
static void change_add(struct file *f, struct change c, const void *data)
{
    size_t old_end = c.resize ? f->now.len : c.at + c.len;
    old_end = old_end < f->now.len ? old_end : f->now.len;
    if (f->change_count == f->change_cap) {
        f->change_cap = f->change_cap > 0 ? 2 * f->change_cap : 16;
        f->changes =
            need(realloc(f->changes, f->change_cap * sizeof(struct change)));
    }
    c.old_size = f->now.len;
    c.old_len = old_end > c.at ? old_end - c.at : 0;
    c.saved = f->undo.len;
    block_write(&f->undo, f->undo.len, data, c.len);
    if (c.old_len > 0)
        block_write(&f->undo, f->undo.len, f->now.data + c.at, c.old_len);
    f->changes[f->change_count++] = c;
    if (c.resize)
        block_resize(&f->now, c.at);
    else
        block_write(&f->now, c.at, data, c.len);
}

static void change_undo(struct file *f, const struct change *c)
{
    if (c->old_len > 0)
        block_write(&f->now, c->at, f->undo.data + c->saved + c->len,
                    c->old_len);
    block_resize(&f->now, c->old_size);
}

static void change_again(struct file *f, const struct change *c, size_t len)
{
    if (c->resize)
        block_resize(&f->now, c->at);
    else
        block_write(&f->now, c->at, f->undo.data + c->saved, len);
}

/* What has changed is durable, or does not matter any more. */
static void changes_clear(struct file *f)
{
    f->change_count = 0;
    f->undo.len = 0;
}

static void shm_clear(struct file *f)
{
    for (size_t i = 0; i < SHM_MAX; i++) {
        free(f->shm[i]);
        f->shm[i] = NULL;
    }
    memset(f->shm_locks, 0, sizeof(f->shm_locks));
}

static void file_clear(struct file *f)
{
    free(f->changes);
    block_clear(&f->now);
    block_clear(&f->undo);
    block_clear(&f->backup);
    shm_clear(f);
    memset(f, 0, sizeof(*f));
}

static struct file *file_find(struct disk *d, const char *name)
{
    for (size_t i = 0; i < FILES_MAX; i++) {
        if (d->files[i].name[0] != '\0' && strcmp(d->files[i].name, name) == 0)
            return &d->files[i];
    }
    return NULL;
}

static struct file *file_make(struct disk *d, const char *name)
{
    for (size_t i = 0; i < FILES_MAX; i++) {
        struct file *f = &d->files[i];
        if (f->name[0] == '\0' && f->handles == 0) {
            (void)snprintf(f->name, sizeof(f->name), "%s", name);
            return f;
        }
    }
    return NULL;
}

static struct handle *handle_of(sqlite3_file *f) { return (struct handle *)f; }
static struct disk *disk_of(sqlite3_vfs *v) { return v->pAppData; }

static int file_unlock(sqlite3_file *f, int level)
{
    struct handle *h = handle_of(f);
    if (level < SQLITE_LOCK_RESERVED && h->file->writer == h)
        h->file->writer = NULL;
    if (level == SQLITE_LOCK_NONE && h->level >= SQLITE_LOCK_SHARED)
        h->file->readers--;
    h->level = level;
    return SQLITE_OK;
}

static int file_lock(sqlite3_file *f, int level)
{
    struct handle *h = handle_of(f);
    bool other_writer = h->file->writer != NULL && h->file->writer != h;
    if (h->level >= level)
        return SQLITE_OK;
    if (level >= SQLITE_LOCK_RESERVED && other_writer)
        return SQLITE_BUSY;
    if (level == SQLITE_LOCK_EXCLUSIVE && h->file->readers > 1)
        return SQLITE_BUSY;
    if (level >= SQLITE_LOCK_RESERVED)
        h->file->writer = h;
    if (h->level < SQLITE_LOCK_SHARED)
        h->file->readers++;
    h->level = level;
    return SQLITE_OK;
}

static int file_reserved(sqlite3_file *f, int *out)
{
    *out = handle_of(f)->file->writer != NULL;
    return SQLITE_OK;
}

static void shm_unlock_all(struct handle *h)
{
    for (unsigned i = 0; i < SQLITE_SHM_NLOCK; i++) {
        if ((h->shm_exclusive & 1U << i) != 0)
            h->file->shm_locks[i] = 0;
        if ((h->shm_shared & 1U << i) != 0)
            h->file->shm_locks[i]--;
    }
    h->shm_exclusive = h->shm_shared = 0;
}

static int file_close(sqlite3_file *f)
{
    struct handle *h = handle_of(f);
    (void)file_unlock(f, SQLITE_LOCK_NONE);
    shm_unlock_all(h);
    h->file->handles--;
    if (h->temporary)
        file_clear(h->file);
    return SQLITE_OK;
}

static int file_read(sqlite3_file *f, void *out, int len, sqlite3_int64 at)
{
    const struct block *b = &handle_of(f)->file->now;
    size_t start = (size_t)at;
    size_t want = (size_t)len;
    size_t have = start < b->len ? b->len - start : 0;
    size_t n = have < want ? have : want;
    if (n > 0)
        memcpy(out, b->data + start, n);
    memset((uint8_t *)out + n, 0, want - n);
    return n == want ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

static int file_write(sqlite3_file *f, const void *data, int len,
                      sqlite3_int64 at)
{
    struct handle *h = handle_of(f);
    size_t start = (size_t)at;
    size_t size = (size_t)len;
    if (h->disk->dead)
        return SQLITE_IOERR_WRITE;
    if (h->disk->full && start + size > h->file->now.len)
        return SQLITE_FULL;
    change_add(h->file, (struct change){.at = start, .len = size}, data);
    return SQLITE_OK;
}

static int file_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    struct handle *h = handle_of(f);
    if (h->disk->dead)
        return SQLITE_IOERR_TRUNCATE;
    change_add(h->file, (struct change){.resize = true, .at = (size_t)size},
               NULL);
    return SQLITE_OK;
}

static int file_fsync(sqlite3_file *f, int flags)
{
    struct handle *h = handle_of(f);
    (void)flags;
    if (h->disk->dead)
        return SQLITE_IOERR_FSYNC;
    h->disk->syncs++;
    changes_clear(h->file);
    return SQLITE_OK;
}

static int file_size(sqlite3_file *f, sqlite3_int64 *out)
{
    *out = (sqlite3_int64)handle_of(f)->file->now.len;
    return SQLITE_OK;
}

static int file_control(sqlite3_file *f, int op, void *arg)
{
    (void)f, (void)op, (void)arg;
    return SQLITE_NOTFOUND;
}

static int file_sector_size(sqlite3_file *f)
{
    (void)f;
    return SECTOR;
}

static int file_characteristics(sqlite3_file *f)
{
    (void)f;
    return 0;
}

static int shm_map(sqlite3_file *f, int region, int size, int extend,
                   void volatile **out)
{
    struct file *file = handle_of(f)->file;
    *out = NULL;
    if (region >= SHM_MAX)
        return SQLITE_FULL;
    if (file->shm[region] == NULL && extend != 0)
        file->shm[region] = need(calloc(1, (size_t)size));
    *out = file->shm[region];
    return SQLITE_OK;
}

static int shm_lock(sqlite3_file *f, int first, int count, int flags)
{
    struct handle *h = handle_of(f);
    for (int i = first; i < first + count; i++) {
        int *lock = &h->file->shm_locks[i];
        unsigned bit = 1U << (unsigned)i;
        unsigned *mine = (flags & SQLITE_SHM_SHARED) != 0 ? &h->shm_shared
                                                          : &h->shm_exclusive;
        if ((flags & SQLITE_SHM_UNLOCK) != 0) {
            if ((*mine & bit) != 0)
                *lock = (flags & SQLITE_SHM_SHARED) != 0 ? *lock - 1 : 0;
            *mine &= ~bit;
            continue;
        }
        bool free_for_me =
            (flags & SQLITE_SHM_SHARED) != 0 ? *lock >= 0 : *lock == 0;
        if (!free_for_me && (h->shm_exclusive & bit) == 0)
            return SQLITE_BUSY;
        if ((*mine & bit) == 0)
            *lock = (flags & SQLITE_SHM_SHARED) != 0 ? *lock + 1 : -1;
        *mine |= bit;
    }
    return SQLITE_OK;
}

static void shm_barrier(sqlite3_file *f) { (void)f; }

static int shm_unmap(sqlite3_file *f, int delete)
{
    struct handle *h = handle_of(f);
    shm_unlock_all(h);
    if (delete != 0 && h->file->handles <= 1)
        shm_clear(h->file);
    return SQLITE_OK;
}

static const sqlite3_io_methods file_methods = {
    .iVersion = 2,
    .xClose = file_close,
    .xRead = file_read,
    .xWrite = file_write,
    .xTruncate = file_truncate,
    .xSync = file_fsync,
    .xFileSize = file_size,
    .xLock = file_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_reserved,
    .xFileControl = file_control,
    .xSectorSize = file_sector_size,
    .xDeviceCharacteristics = file_characteristics,
    .xShmMap = shm_map,
    .xShmLock = shm_lock,
    .xShmBarrier = shm_barrier,
    .xShmUnmap = shm_unmap,
};

static int disk_open(sqlite3_vfs *v, const char *name, sqlite3_file *f,
                     int flags, int *out_flags)
{
    struct disk *d = disk_of(v);
    struct handle *h = handle_of(f);
    char temporary[32];
    memset(h, 0, sizeof(*h));
    if (d->dead)
        return SQLITE_CANTOPEN;
    if (name == NULL) {
        (void)snprintf(temporary, sizeof(temporary), "temp-%llx",
                       (unsigned long long)next_random(d));
        name = temporary;
        h->temporary = true;
    }
    struct file *file = file_find(d, name);
    if ((file == NULL || !file->exists) && (flags & SQLITE_OPEN_CREATE) == 0)
        return SQLITE_CANTOPEN;
    if (file == NULL)
        file = file_make(d, name);
    if (file == NULL)
        return SQLITE_CANTOPEN;
    file->exists = true;
    file->handles++;
    h->disk = d;
    h->file = file;
    h->base.pMethods = &file_methods;
    if (out_flags != NULL)
        *out_flags = flags;
    return SQLITE_OK;
}

/* The folder is as durable as if it were synced at once: what SQLite relies on
 * here is tested by SQLite. */
static int disk_delete(sqlite3_vfs *v, const char *name, int sync_dir)
{
    struct disk *d = disk_of(v);
    struct file *f = file_find(d, name);
    (void)sync_dir;
    if (d->dead)
        return SQLITE_IOERR_DELETE;
    if (f == NULL || !f->exists)
        return SQLITE_IOERR_DELETE_NOENT;
    f->exists = false;
    changes_clear(f);
    block_resize(&f->now, 0);
    return SQLITE_OK;
}

static int disk_access(sqlite3_vfs *v, const char *name, int flags, int *out)
{
    const struct file *f = file_find(disk_of(v), name);
    (void)flags;
    *out = f != NULL && f->exists;
    return SQLITE_OK;
}

static int disk_full_path(sqlite3_vfs *v, const char *name, int size, char *out)
{
    (void)v;
    return snprintf(out, (size_t)size, "%s", name) < size ? SQLITE_OK
                                                          : SQLITE_CANTOPEN;
}

static int disk_randomness(sqlite3_vfs *v, int len, char *out)
{
    for (int i = 0; i < len; i++)
        out[i] = (char)next_random(disk_of(v));
    return len;
}

static int disk_sleep(sqlite3_vfs *v, int us)
{
    (void)v;
    return us;
}

static int disk_time(sqlite3_vfs *v, sqlite3_int64 *out)
{
    (void)v;
    *out = JULIAN_DAY; /* nothing in a store depends on SQLite's clock */
    return SQLITE_OK;
}

enum err disk_create(const char *name, uint64_t seed, struct disk **out)
{
    struct disk *d = need(calloc(1, sizeof(*d)));
    d->random = seed * 0x9e3779b97f4a7c15U | 1U;
    (void)snprintf(d->name, sizeof(d->name), "%s", name);
    d->vfs = (sqlite3_vfs){
        .iVersion = 2,
        .szOsFile = sizeof(struct handle),
        .mxPathname = NAME_MAX_,
        .zName = d->name,
        .pAppData = d,
        .xOpen = disk_open,
        .xDelete = disk_delete,
        .xAccess = disk_access,
        .xFullPathname = disk_full_path,
        .xRandomness = disk_randomness,
        .xSleep = disk_sleep,
        .xCurrentTimeInt64 = disk_time,
    };
    if (sqlite3_vfs_register(&d->vfs, 0) != SQLITE_OK) {
        free(d);
        return ERR_IO;
    }
    *out = d;
    return OK;
}

void disk_free(struct disk **d)
{
    if (*d == NULL)
        return;
    (void)sqlite3_vfs_unregister(&(*d)->vfs);
    for (size_t i = 0; i < FILES_MAX; i++) {
        assert((*d)->files[i].handles == 0);
        file_clear(&(*d)->files[i]);
    }
    free(*d);
    *d = NULL;
}

void disk_cut(struct disk *d) { d->dead = true; }

/* Keeps a random part of what was not synced: nothing, each write by the toss
 * of a coin, or all of it, with a last write cut at a sector. */
static void file_power_loss(struct disk *d, struct file *f)
{
    uint64_t mode = next_random(d) % 4;
    for (size_t i = f->change_count; i > 0; i--)
        change_undo(f, &f->changes[i - 1]);
    for (size_t i = 0; i < f->change_count; i++) {
        const struct change *c = &f->changes[i];
        bool keep = mode == 1 ? next_random(d) % 2 == 0 : mode > 1;
        size_t len = c->len;
        if (mode == 3 && i + 1 == f->change_count && !c->resize)
            len = next_random(d) % (len / SECTOR + 1) * SECTOR;
        if (keep)
            change_again(f, c, len < c->len ? len : c->len);
    }
    changes_clear(f);
    shm_clear(f);
}

void disk_restart(struct disk *d)
{
    for (size_t i = 0; i < FILES_MAX; i++) {
        assert(d->files[i].handles == 0);
        file_power_loss(d, &d->files[i]);
    }
    d->dead = false;
}

void disk_set_full(struct disk *d, bool full) { d->full = full; }

enum err disk_backup(struct disk *d)
{
    for (size_t i = 0; i < FILES_MAX; i++) {
        struct file *f = &d->files[i];
        if (f->handles > 0)
            return ERR_STATE;
        block_copy(&f->backup, &f->now);
        f->in_backup = f->exists;
    }
    return OK;
}

void disk_restore(struct disk *d)
{
    for (size_t i = 0; i < FILES_MAX; i++) {
        struct file *f = &d->files[i];
        assert(f->handles == 0);
        changes_clear(f);
        shm_clear(f);
        block_copy(&f->now, &f->backup);
        f->exists = f->in_backup;
    }
}

size_t disk_files(const struct disk *d)
{
    (void)d;
    return FILES_MAX;
}

struct bytes disk_file(const struct disk *d, size_t index)
{
    return (struct bytes){d->files[index].now.data, d->files[index].now.len};
}

uint64_t disk_syncs(const struct disk *d) { return d->syncs; }
