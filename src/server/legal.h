/* SPDX-License-Identifier: Apache-2.0 */
/* `sottod legal-export`: what the server holds about an account, for people. */
#pragma once

#include "server/server.h"

/* Prints it on standard output. `name` is that of a handle, without its @. */
MUST_USE enum err legal_export(struct server *s, const char *name,
                               struct problem *p);
