/* SPDX-License-Identifier: Apache-2.0 */
/* The same as export.h, of the PostgreSQL store. */
#pragma once

#include "server/export.h"
#include "server/store_pg.h"

MUST_USE enum err export_account_pg(struct store_pg *s, struct bytes name,
                                    const struct export_sink *sink,
                                    struct problem *p);
