/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of the client's store; see schema.c for what each row means. */
#pragma once

#include "base/err.h"

struct sql;

/* Brings the store up to date: ERR_INVALID for another program's file. */
MUST_USE enum err schema_migrate(struct sql *db);
