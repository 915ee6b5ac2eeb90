/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A profile that is open and connected, for the length of one command. The
 * commands go through the daemon's method table, as anybody else's would.
 */
#pragma once

#include "daemon/methods.h"
#include "daemon/profile.h"
#include "daemon/runner.h"

enum exit_code {
    EXIT_OK = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_QUEUED = 3, /* kept, and sent by a later command */
};

struct options {
    const char *profile;
    const char *server;
    const char *handle;
    const char *invite;
    const char *fingerprint;
    const char *passphrase_file;
    unsigned wait;
    bool json;
    bool follow;
    bool help;
    bool version;
};

struct session {
    const struct options *options;
    struct profile_folder folder;
    struct runner *runner;
    struct methods methods;
    struct buf passphrase;
    char path[FILE_PATH_MAX];
    struct client_event last; /* that was a failure; kind 0: none */
    bool failed;
};

MUST_USE enum err session_open(const struct options *o, bool create,
                               struct session *out, struct problem *p);
void session_close(struct session *s);
/* Deletes the profile's files, after an account could not be made. */
void session_discard(struct session *s);

MUST_USE enum err session_call(struct session *s, const char *method,
                               json_t *params, json_t **out, struct problem *p);

/* Runs until `done` says so: OK; or until the time is over or the server
 * cannot be reached: ERR_NOTFOUND. */
MUST_USE enum err session_wait(struct session *s,
                               bool (*done)(struct session *s, void *ctx),
                               void *ctx, unsigned seconds, struct problem *p);
/* Everything was read and sent. */
bool session_idle(struct session *s, void *ctx);
bool session_synced(struct session *s, void *ctx);
/* The account's state: new, registering, ready or refused. */
bool session_in_state(struct session *s, const char *state);
