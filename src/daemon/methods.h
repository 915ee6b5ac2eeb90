/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one table of what can be asked of a profile: the command line uses it
 * now, and JSON-RPC will serve it as it is. A method answers at once and never
 * waits for a server; whoever wants to wait looks again after events.
 */
#pragma once

#include "base/problem.h"
#include "client/client.h"

#include <jansson.h>

struct methods {
    struct client *client; /* borrowed */
    struct crypto *crypto; /* */
};

struct method_row {
    const char *name;
    const char *params; /* names, in brackets when they may be left out */
    const char *help;
    enum err (*run)(struct methods *m, const json_t *params, json_t *result,
                    struct problem *p);
};

extern const struct method_row method_table[];
extern const size_t method_table_count;

/* Runs a method; `*out_result` is a new object. On failure the problem says
 * what happened and what to do. */
MUST_USE enum err method_call(struct methods *m, const char *name,
                              const json_t *params, json_t **out_result,
                              struct problem *p);

/* For CLEANUP. */
void json_clear(json_t **j);

/* An event as an object. */
json_t *event_json(const struct client_event *e);
