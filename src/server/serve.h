/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server at work: two processes that share a socket.
 *
 *     clients == TLS ==> net (child) ---- pipe ---- store (parent)
 *                        TLS key                    signing key, database
 *                        no files
 *
 * Each ends when the other does. SIGTERM to either lets answers out and ends
 * both.
 */
#pragma once

#include "server/options.h"

/* Returns when the server was told to end, or failed. */
MUST_USE enum err serve(const struct options *o, struct problem *p);
