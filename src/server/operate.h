/* SPDX-License-Identifier: Apache-2.0 */
/* The operator's commands on a store, in words. */
#pragma once

#include "server/store_admin.h"

/* Prints a line per account, fields apart by tabs, after a line of titles. */
MUST_USE enum err operate_list(const struct store_admin *admin,
                               struct problem *p);

/* `day`: today, since 1970. */
MUST_USE enum err operate_disable(const struct store_admin *admin,
                                  const char *name, bool disabled, uint32_t day,
                                  struct problem *p);
MUST_USE enum err operate_delete(const struct store_admin *admin,
                                 const char *name, uint32_t day,
                                 struct problem *p);
