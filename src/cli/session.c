/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/session.h"

#include "sys/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUND_MS        200
#define FAILURES_MAX    4U /* of connecting, before a command gives up */
#define PASSPHRASE_SIZE 1024U

/* --profile, $SOTTO_PROFILE, or the place that XDG gives. */
static enum err profile_path(const struct options *o, char out[FILE_PATH_MAX],
                             struct problem *p)
{
    /* NOLINTBEGIN(concurrency-mt-unsafe): one thread, and nobody sets them */
    const char *from =
        o->profile != NULL ? o->profile : getenv("SOTTO_PROFILE");
    const char *data = getenv("XDG_DATA_HOME");
    const char *home = getenv("HOME");
    /* NOLINTEND(concurrency-mt-unsafe) */
    int n = -1;
    if (from != NULL)
        n = snprintf(out, FILE_PATH_MAX, "%s", from);
    else if (data != NULL)
        n = snprintf(out, FILE_PATH_MAX, "%s/sotto", data);
    else if (home != NULL)
        n = snprintf(out, FILE_PATH_MAX, "%s/.sotto", home);
    if (n > 0 && (unsigned)n < FILE_PATH_MAX)
        return OK;
    return problem_set(p, ERR_INVALID, PROBLEM_USAGE,
                       "where is the profile? Give --profile DIR");
}

static enum err read_passphrase(const struct options *o, struct buf *out,
                                struct problem *p)
{
    *out = buf_new(PASSPHRASE_SIZE);
    if (o->passphrase_file == NULL)
        return OK;
    TRY(file_read_private(o->passphrase_file, out, p));
    size_t len = out->len;
    while (len > 0 &&
           (out->data[len - 1] == '\n' || out->data[len - 1] == '\r'))
        len--;
    buf_truncate(out, len);
    if (len > 0)
        return OK;
    return problem_set(p, ERR_INVALID, PROBLEM_USAGE,
                       "%.120s holds no passphrase", o->passphrase_file);
}

enum err session_open(const struct options *o, bool create, struct session *out,
                      struct problem *p)
{
    out->options = o;
    TRY(profile_path(o, out->path, p));
    TRY(read_passphrase(o, &out->passphrase, p));
    struct profile_options options = {.path = out->path,
                                      .create = create,
                                      .passphrase =
                                          buf_bytes(&out->passphrase)};
    TRY(profile_open(&options, &out->folder, p));
    struct runner_parts parts = {.crypto = out->folder.crypto,
                                 .random = &out->folder.random,
                                 .db = out->folder.db};
    TRY(runner_create(&parts, &out->runner, p));
    out->methods = (struct methods){.client = runner_client(out->runner),
                                    .crypto = out->folder.crypto};
    if (create || !session_in_state(out, "new"))
        return OK;
    return problem_set(p, ERR_NOTFOUND, PROBLEM_USAGE,
                       "there is no account in %.90s: make one with \"sotto "
                       "init\", or restore the folder from a copy",
                       out->path);
}

void session_close(struct session *s)
{
    runner_free(&s->runner);
    profile_close(&s->folder);
    buf_clear(&s->passphrase);
}

void session_discard(struct session *s)
{
    runner_free(&s->runner);
    profile_discard(&s->folder, s->path);
}

enum err session_call(struct session *s, const char *method, json_t *params,
                      json_t **out, struct problem *p)
{
    CLEANUP(json_clear) json_t *owned = params;
    CLEANUP(json_clear) json_t *result = NULL;
    enum err err = method_call(&s->methods, method, owned, &result, p);
    const struct problem *store = runner_store(s->runner);
    if (err == ERR_IO && p != NULL && store->kind != PROBLEM_NONE)
        *p = *store; /* it knows better what is wrong, and what helps */
    if (err == OK && out != NULL) {
        *out = result;
        result = NULL; /* handed over */
    }
    return err;
}

/* Failures that the command should tell, and alarms that nobody may miss. */
static void take_events(struct session *s)
{
    struct client_event e;
    while (runner_event(s->runner, &e)) {
        switch (e.kind) {
        case CLIENT_REGISTER_FAILED:
        case CLIENT_SERVER_UNKNOWN:
        case CLIENT_SERVER_VERSION:
        case CLIENT_SERVER_BROKEN:
        case CLIENT_LOGIN_FAILED:
        case CLIENT_SEND_FAILED:
        case CLIENT_COMMAND_FAILED:
            if (!s->failed) /* the first is the cause of the others */
                s->last = e;
            s->failed = true;
            break;
        case CLIENT_LOG_MISMATCH:
        case CLIENT_SERVER_RESTORED:
        case CLIENT_STORE_OLD:
        case CLIENT_ACCOUNT_FROZEN:
            (void)fprintf(stderr, "sotto: %s: %s\n", client_event_name(e.kind),
                          e.detail);
            break;
        default:
            break;
        }
    }
}

/* Asks as anybody would: by the status method. */
static json_t *status_of(struct session *s)
{
    json_t *status = NULL;
    if (session_call(s, "status", NULL, &status, NULL) != OK)
        return NULL;
    return status;
}

/* Failures that waiting does not mend. */
static bool no_server(enum client_event_kind kind)
{
    return kind == CLIENT_SERVER_UNKNOWN || kind == CLIENT_SERVER_VERSION ||
           kind == CLIENT_LOGIN_FAILED;
}

static void not_yet(struct session *s, struct problem *p)
{
    CLEANUP(json_clear) json_t *status = status_of(s);
    if (json_is_true(json_object_get(status, "online")))
        (void)problem_set(p, ERR_NOTFOUND, PROBLEM_NETWORK,
                          "not done yet: the server is slow, or another member "
                          "of the conversation has to come online first");
    else
        (void)problem_set(p, ERR_NOTFOUND, PROBLEM_NETWORK,
                          "the server does not answer: try again later");
}

enum err session_wait(struct session *s,
                      bool (*done)(struct session *s, void *ctx), void *ctx,
                      unsigned seconds, struct problem *p)
{
    uint64_t end = clock_mono_ms() + seconds * 1000ULL;
    for (;;) {
        TRY(runner_round(s->runner, ROUND_MS, p));
        take_events(s);
        if (done(s, ctx))
            return OK;
        if (s->failed && no_server(s->last.kind))
            return problem_set(p, ERR_AUTH, PROBLEM_REFUSED, "%s",
                               s->last.detail);
        const struct problem *network = runner_network(s->runner);
        bool given_up = runner_failures(s->runner) >= FAILURES_MAX ||
                        network->kind == PROBLEM_TRUST;
        if (!given_up && clock_mono_ms() < end)
            continue;
        if (network->kind != PROBLEM_NONE && p != NULL)
            *p = *network;
        else
            not_yet(s, p);
        return ERR_NOTFOUND;
    }
}

bool session_synced(struct session *s, void *ctx)
{
    (void)ctx;
    CLEANUP(json_clear) json_t *status = status_of(s);
    return json_is_true(json_object_get(status, "synced"));
}

bool session_idle(struct session *s, void *ctx)
{
    (void)ctx;
    CLEANUP(json_clear) json_t *status = status_of(s);
    return json_is_true(json_object_get(status, "synced")) &&
           json_integer_value(json_object_get(status, "queued")) == 0 &&
           json_integer_value(json_object_get(status, "busy")) == 0;
}

bool session_in_state(struct session *s, const char *state)
{
    CLEANUP(json_clear) json_t *status = status_of(s);
    const char *is = json_string_value(json_object_get(status, "state"));
    return is != NULL && strcmp(is, state) == 0;
}
