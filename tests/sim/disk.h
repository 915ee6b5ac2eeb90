/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk in memory, as an SQLite VFS, that can lose power. A write reaches the
 * platter only by a sync: a power cut keeps some of the writes since then,
 * drops the others and tears one, as a real disk with a cache may do.
 *
 * A disk belongs to one party (the server, or one device). A crash has two
 * halves, so that handles of the dead party can be closed as usual without
 * reaching the platter:
 *
 *     disk_cut(d);        from here every write fails
 *     party_free(&p);     closes its handles
 *     disk_restart(d);    the files are what was durable
 */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

#include <stdbool.h>

struct disk;

/* Registers an empty disk as the VFS `name`, which lives as long as the disk.
 * `seed` decides what a power cut keeps. */
MUST_USE enum err disk_create(const char *name, uint64_t seed,
                              struct disk **out);
void disk_free(struct disk **d);

void disk_cut(struct disk *d);
void disk_restart(struct disk *d);

/* While `full`, a write that would make a file larger fails (disk full). */
void disk_set_full(struct disk *d, bool full);

/* Remembers all files as they are, and puts them back: a restored backup. All
 * handles must be closed. */
MUST_USE enum err disk_backup(struct disk *d);
void disk_restore(struct disk *d);

/* What the files hold now, one after another, to search in. */
size_t disk_files(const struct disk *d);
struct bytes disk_file(const struct disk *d, size_t index);

/* How many syncs were asked for. */
uint64_t disk_syncs(const struct disk *d);
