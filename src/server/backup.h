/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A copy of the data folder, made while its server runs, and put in its place
 * again. Both are made beside their place, checked as `sottod check` does, and
 * then renamed: they are there whole or not at all.
 */
#pragma once

#include "server/store_admin.h"

/* Copies the store and the keys in the folder `data` to the new folder `to`. */
MUST_USE enum err backup_make(const struct store_admin *admin, const char *data,
                              const char *to,
                              const struct store_progress *progress,
                              struct problem *p);

/* Makes `data` what the backup `from` is. It must be empty or not there, unless
 * `replace`: then what was there is moved aside, and `out_aside` says where
 * (else it is empty). */
#define BACKUP_PATH_MAX 4096U
MUST_USE enum err backup_restore(const char *from, const char *data,
                                 bool replace,
                                 const struct store_progress *progress,
                                 char out_aside[BACKUP_PATH_MAX],
                                 struct problem *p);
