/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/commands.h"

#include "cli/show.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SETTLE_S 5U /* for what must follow, such as invitations */
#define TEXT_MAX CLIENT_TEXT_MAX

static int complain(const struct problem *p)
{
    (void)fprintf(stderr, "sotto: ");
    show_text(stderr, p->detail[0] != '\0' ? p->detail : "failed", 0);
    (void)fprintf(stderr, "\n");
    return p->kind == PROBLEM_USAGE ? EXIT_USAGE : EXIT_FAILED;
}

static const json_t *field(const json_t *j, const char *name)
{
    return json_object_get(j, name);
}

static const char *text(const json_t *j, const char *name)
{
    const char *s = json_string_value(field(j, name));
    return s != NULL ? s : "";
}

/* --- init --- */

static bool registered(struct session *s, void *ctx)
{
    (void)ctx;
    return s->failed || !session_in_state(s, "registering");
}

static void show_recovery(const json_t *result)
{
    (void)printf("Your recovery key, shown this once. Write it down and keep "
                 "it safe: it brings\nyour account back when the device is "
                 "lost.\n\n    %s\n\n",
                 text(result, "recovery_key"));
}

/* Nothing is kept of an account that no server has heard of. */
static int init_failed(struct session *s, struct problem *p)
{
    if (s->failed)
        (void)problem_set(p, ERR_AUTH, PROBLEM_REFUSED, "%s", s->last.detail);
    session_discard(s);
    int status = complain(p);
    if (p->kind == PROBLEM_NETWORK)
        (void)fprintf(stderr, "sotto: nothing was made: check the address, or "
                              "try again later\n");
    if (p->kind == PROBLEM_TRUST)
        (void)fprintf(stderr, "sotto: nothing was made: give an invite code "
                              "with --invite, or with --fingerprint the one "
                              "that the server printed\n");
    return status;
}

static bool init_complete(const struct options *o, struct problem *p)
{
    const char *missing = NULL;
    if (o->server == NULL)
        missing = "--server HOST[:PORT]";
    else if (o->handle == NULL)
        missing = "--handle NAME";
    if (missing == NULL)
        return true;
    (void)problem_set(p, ERR_INVALID, PROBLEM_USAGE, "init needs %s", missing);
    return false;
}

static int run_init(const struct options *o, char **words)
{
    (void)words;
    struct problem p = {0};
    CLEANUP(session_close) struct session s = {0};
    CLEANUP(json_clear) json_t *result = NULL;
    bool fresh = false;
    if (!init_complete(o, &p) || session_open(o, true, &s, &p) != OK)
        return complain(&p);
    fresh = session_in_state(&s, "new");
    json_t *params = json_pack("{s:s*, s:s*, s:s*, s:s*}", "server", o->server,
                               "handle", o->handle, "invite", o->invite,
                               "fingerprint", o->fingerprint);
    if (session_call(&s, "init", params, &result, &p) != OK)
        return fresh ? init_failed(&s, &p) : complain(&p);
    enum err err = session_wait(&s, registered, NULL, o->wait, &p);
    if (s.failed || (err != OK && !runner_reached(s.runner)))
        return init_failed(&s, &p);
    show_recovery(result);
    if (err != OK) {
        (void)complain(&p);
        (void)fprintf(stderr, "sotto: the account is made, and is registered "
                              "by the next command\n");
        return EXIT_QUEUED;
    }
    if (session_wait(&s, session_idle, NULL, SETTLE_S, &p) != OK)
        (void)fprintf(stderr, "sotto: run \"sotto recv\" to finish setting "
                              "up\n");
    (void)printf("Registered as %s.\n", o->handle);
    return EXIT_OK;
}

/* --- send --- */

struct waiting {
    json_int_t message;
    bool accepted;
    bool refused;
};

static bool message_decided(struct session *s, void *ctx)
{
    struct waiting *w = ctx;
    CLEANUP(json_clear) json_t *result = NULL;
    if (session_call(s, "message", json_pack("{s:I}", "message", w->message),
                     &result, NULL) != OK)
        return false;
    const json_t *m = json_array_get(field(result, "messages"), 0);
    w->accepted = json_integer_value(field(m, "seq")) > 0;
    w->refused = json_is_true(field(m, "failed"));
    return w->accepted || w->refused;
}

static int queued(const struct problem *why)
{
    (void)complain(why);
    (void)fprintf(stderr, "sotto: queued; the next command that reaches the "
                          "server sends it\n");
    return EXIT_QUEUED;
}

static int sent(struct session *s, json_int_t message, struct problem *p)
{
    struct waiting w = {.message = message};
    enum err err = session_wait(s, message_decided, &w, s->options->wait, p);
    if (w.accepted) {
        struct problem ignored = {0};
        if (session_wait(s, session_idle, NULL, SETTLE_S, &ignored) != OK)
            return EXIT_OK; /* a later command does the rest */
        return EXIT_OK;
    }
    if (w.refused) {
        (void)problem_set(p, ERR_INVALID, PROBLEM_REFUSED, "not sent: %s",
                          s->last.detail);
        return complain(p);
    }
    return err == OK ? EXIT_OK : queued(p);
}

static struct problem *text_too_long(struct problem *p)
{
    (void)problem_set(p, ERR_LIMIT, PROBLEM_USAGE,
                      "the text is longer than %u bytes: send it in parts",
                      TEXT_MAX);
    return p;
}

static enum err read_text(struct buf *out, struct problem *p)
{
    char block[4096];
    size_t n = 0;
    while ((n = fread(block, 1, sizeof block, stdin)) > 0) {
        struct bytes b = {(const uint8_t *)block, n};
        if (buf_append(out, b) != OK) {
            (void)text_too_long(p);
            return ERR_LIMIT;
        }
    }
    while (out->len > 0 && out->data[out->len - 1] == '\n')
        buf_truncate(out, out->len - 1);
    return OK;
}

static enum err queue_text(struct session *s, const char *to, struct bytes body,
                           json_int_t *out, struct problem *p)
{
    CLEANUP(json_clear) json_t *result = NULL;
    if (body.len == 0)
        return problem_set(p, ERR_INVALID, PROBLEM_USAGE,
                           "there is no text to send");
    json_t *value = json_stringn((const char *)body.data, body.len);
    if (value == NULL)
        return problem_set(p, ERR_MALFORMED, PROBLEM_USAGE,
                           "the text is not UTF-8");
    TRY(session_call(s, "send",
                     json_pack("{s:s, s:o}", "to", to, "text", value), &result,
                     p));
    *out = json_integer_value(field(result, "message"));
    return OK;
}

static int run_send(const struct options *o, char **words)
{
    struct problem p = {0};
    CLEANUP(session_close) struct session s = {0};
    CLEANUP(buf_clear) struct buf body = buf_new(TEXT_MAX);
    json_int_t message = 0;
    if (words[1] != NULL) {
        if (buf_append(&body, bytes_str(words[1])) != OK)
            return complain(text_too_long(&p));
    } else if (read_text(&body, &p) != OK) {
        return complain(&p);
    }
    if (session_open(o, false, &s, &p) != OK ||
        queue_text(&s, words[0], buf_bytes(&body), &message, &p) != OK)
        return complain(&p);
    return sent(&s, message, &p);
}

/* --- recv --- */

static void conversation_name(struct session *s, const json_t *message,
                              char *out, size_t size)
{
    CLEANUP(json_clear) json_t *result = NULL;
    out[0] = '\0';
    if (session_call(s, "conversations", NULL, &result, NULL) != OK)
        return;
    size_t i = 0;
    const json_t *c = NULL;
    json_array_foreach(field(result, "conversations"), i, c)
    {
        if (json_integer_value(field(c, "id")) ==
                json_integer_value(field(message, "conversation")) &&
            strcmp(text(c, "kind"), "group") == 0)
            (void)snprintf(out, size, "%s", text(c, "name"));
    }
}

/* Prints what is unread, of one conversation or of all, and marks it. */
static enum err print_unread(struct session *s, json_int_t only,
                             struct problem *p)
{
    CLEANUP(json_clear) json_t *result = NULL;
    TRY(session_call(s, "unread", NULL, &result, p));
    size_t i = 0;
    const json_t *m = NULL;
    json_array_foreach(field(result, "messages"), i, m)
    {
        if (only != 0 && json_integer_value(field(m, "conversation")) != only)
            continue;
        char where[CLIENT_NAME_MAX + 1];
        conversation_name(s, m, where, sizeof where);
        if (s->options->json)
            show_json(stdout, m);
        else
            show_message(stdout, m, only != 0 ? "" : where);
        if (fflush(stdout) != 0)
            return problem_system(p, "cannot write");
        TRY(session_call(
            s, "mark_read",
            json_pack("{s:I}", "message", json_integer_value(field(m, "id"))),
            NULL, p));
    }
    return OK;
}

static bool never(struct session *s, void *ctx)
{
    struct problem *p = ctx;
    return session_synced(s, NULL) && print_unread(s, 0, p) != OK;
}

static int follow(struct session *s, struct problem *p)
{
    for (;;) {
        enum err err = session_wait(s, never, p, 3600, p);
        if (err == ERR_STATE)
            return EXIT_OK; /* a signal */
        if (err != ERR_NOTFOUND)
            return complain(p);
        if (runner_network(s->runner)->kind == PROBLEM_TRUST)
            return complain(p);
    }
}

static int run_recv(const struct options *o, char **words)
{
    (void)words;
    struct problem p = {0}, why = {0};
    CLEANUP(session_close) struct session s = {0};
    if (session_open(o, false, &s, &p) != OK)
        return complain(&p);
    if (o->follow)
        return follow(&s, &p);
    enum err err = session_wait(&s, session_synced, NULL, o->wait, &why);
    if (err == OK) {
        struct problem ignored = {0};
        if (session_wait(&s, session_idle, NULL, SETTLE_S, &ignored) != OK)
            (void)ignored; /* what is read can be shown */
    }
    if (print_unread(&s, 0, &p) != OK)
        return complain(&p);
    return err == OK ? EXIT_OK : complain(&why);
}

/* --- chat --- */

struct chat {
    struct session *session;
    const char *with;
    json_int_t conversation;
    char line[TEXT_MAX];
    size_t len; /* of what was typed; more than fits is not sent */
    bool ended;
    struct problem problem;
};

static void chat_line(struct chat *c)
{
    json_int_t message = 0;
    struct bytes body = {(const uint8_t *)c->line, c->len};
    if (body.len > sizeof c->line)
        (void)complain(text_too_long(&c->problem));
    else if (body.len > 0 &&
             queue_text(c->session, c->with, body, &message, &c->problem) != OK)
        (void)complain(&c->problem);
    c->len = 0;
}

static void chat_input(void *ctx)
{
    struct chat *c = ctx;
    char block[1024];
    ssize_t n = read(STDIN_FILENO, block, sizeof block);
    if (n <= 0) {
        chat_line(c); /* the last one may lack its end */
        c->ended = true;
        return;
    }
    for (ssize_t i = 0; i < n; i++) {
        if (block[i] == '\n') {
            chat_line(c);
            continue;
        }
        if (c->len < sizeof c->line)
            c->line[c->len] = block[i];
        c->len++;
    }
}

static bool chat_done(struct session *s, void *ctx)
{
    struct chat *c = ctx;
    if (print_unread(s, c->conversation, &c->problem) != OK)
        return true;
    if (s->failed) {
        (void)fprintf(stderr, "sotto: %s\n", s->last.detail);
        s->failed = false;
    }
    return c->ended;
}

static int run_chat(const struct options *o, char **words)
{
    struct problem p = {0};
    CLEANUP(session_close) struct session s = {0};
    CLEANUP(json_clear) json_t *result = NULL;
    static struct chat c; /* holds a line of text: too large for a stack */
    if (session_open(o, false, &s, &p) != OK ||
        session_call(&s, "direct", json_pack("{s:s}", "with", words[0]),
                     &result, &p) != OK)
        return complain(&p);
    c = (struct chat){.session = &s, .with = words[0]};
    c.conversation = json_integer_value(field(result, "conversation"));
    /* epoll takes no files, nor /dev/null: those never block. */
    if (runner_watch(s.runner, STDIN_FILENO, chat_input, &c) != OK) {
        while (!c.ended)
            chat_input(&c);
    }
    enum err err = OK;
    do
        err = session_wait(&s, chat_done, &c, 3600, &p);
    while (err == ERR_NOTFOUND);
    if (err == ERR_STATE)
        return EXIT_OK;
    if (err != OK)
        return complain(&p);
    if (session_wait(&s, session_idle, NULL, o->wait, &p) == OK)
        return EXIT_OK;
    return queued(&p);
}

/* --- log, status --- */

static int run_log(const struct options *o, char **words)
{
    struct problem p = {0};
    CLEANUP(session_close) struct session s = {0};
    CLEANUP(json_clear) json_t *result = NULL;
    if (session_open(o, false, &s, &p) != OK ||
        session_call(&s, "log", json_pack("{s:s}", "in", words[0]), &result,
                     &p) != OK)
        return complain(&p);
    size_t i = 0;
    const json_t *m = NULL;
    json_array_foreach(field(result, "messages"), i, m)
    {
        if (o->json)
            show_json(stdout, m);
        else
            show_message(stdout, m, "");
    }
    return EXIT_OK;
}

static int run_status(const struct options *o, char **words)
{
    (void)words;
    struct problem p = {0}, why = {0};
    CLEANUP(session_close) struct session s = {0};
    CLEANUP(json_clear) json_t *result = NULL;
    if (session_open(o, false, &s, &p) != OK)
        return complain(&p);
    enum err err = session_wait(&s, session_idle, NULL, SETTLE_S, &why);
    if (session_call(&s, "status", NULL, &result, &p) != OK)
        return complain(&p);
    if (o->json) {
        show_json(stdout, result);
        return EXIT_OK;
    }
    bool online = json_is_true(field(result, "online"));
    (void)printf(
        "handle   %s@%s\naccount  %s\nstate    %s, %s\nqueued   %lld\n",
        text(result, "handle"), text(result, "server"), text(result, "account"),
        text(result, "state"), online ? "online" : "offline",
        (long long)json_integer_value(field(result, "queued")));
    if (err != OK && !online)
        (void)complain(&why);
    return EXIT_OK;
}

/* --- group --- */

static int group_list(struct session *s, const char *name, struct problem *p)
{
    CLEANUP(json_clear) json_t *result = NULL;
    const char *list = name != NULL ? "members" : "conversations";
    json_t *params = name != NULL ? json_pack("{s:s}", "in", name) : NULL;
    if (session_call(s, list, params, &result, p) != OK)
        return complain(p);
    size_t i = 0;
    const json_t *c = NULL;
    json_array_foreach(field(result, list), i, c)
    {
        const char *shown = text(c, name != NULL ? "handle" : "name");
        if (name == NULL && strcmp(text(c, "kind"), "group") != 0)
            continue;
        if (s->options->json) {
            show_json(stdout, c);
            continue;
        }
        show_text(stdout, shown[0] != '\0' ? shown : text(c, "account"), 0);
        if (name == NULL)
            (void)printf("\t#%lld\t%lld members\t%s",
                         (long long)json_integer_value(field(c, "id")),
                         (long long)json_integer_value(field(c, "members")),
                         text(c, "state"));
        (void)printf("\n");
    }
    return EXIT_OK;
}

static bool idle_or_failed(struct session *s, void *ctx)
{
    return s->failed || session_idle(s, ctx);
}

static json_t *group_params(const char *method, char **words)
{
    if (strcmp(method, "group.create") == 0)
        return json_pack("{s:s}", "name", words[0]);
    return json_pack("{s:s, s:s*}", "in", words[0], "who", words[1]);
}

/* Does one thing and waits until the log says that it is done. */
static int group_do(const struct options *o, const char *method, char **words)
{
    struct problem p = {0};
    CLEANUP(session_close) struct session s = {0};
    if (session_open(o, false, &s, &p) != OK ||
        session_call(&s, method, group_params(method, words), NULL, &p) != OK)
        return complain(&p);
    enum err err = session_wait(&s, idle_or_failed, NULL, o->wait, &p);
    if (s.failed) {
        (void)problem_set(&p, ERR_INVALID, PROBLEM_REFUSED, "%s",
                          s.last.detail);
        return complain(&p);
    }
    if (err == OK)
        return EXIT_OK;
    (void)complain(&p);
    (void)fprintf(stderr, "sotto: queued; a later command finishes it\n");
    return EXIT_QUEUED;
}

static int run_group(const struct options *o, char **words)
{
    static const struct {
        const char *name;
        const char *method; /* NULL: list */
        unsigned min;
        unsigned max;
    } verbs[] = {
        {"create", "group.create", 1, 1},
        {"add", "group.add", 2, 2},
        {"remove", "group.remove", 2, 2},
        {"leave", "group.leave", 1, 1},
        {"list", NULL, 0, 1},
    };
    unsigned count = 0;
    while (words[1 + count] != NULL)
        count++;
    for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
        if (strcmp(words[0], verbs[i].name) != 0 || count < verbs[i].min ||
            count > verbs[i].max)
            continue;
        if (verbs[i].method != NULL)
            return group_do(o, verbs[i].method, words + 1);
        struct problem p = {0};
        CLEANUP(session_close) struct session s = {0};
        if (session_open(o, false, &s, &p) != OK)
            return complain(&p);
        return group_list(&s, words[1], &p);
    }
    (void)fprintf(stderr, "sotto: group create NAME | add NAME WHO | remove "
                          "NAME WHO | leave NAME | list [NAME]\n");
    return EXIT_USAGE;
}

const struct command command_table[] = {
    {"init", "--server HOST[:PORT] --handle NAME",
     "make a profile and register it", 0, 0, run_init},
    {"send", "WHO [TEXT]", "send a text, or standard input", 1, 2, run_send},
    {"recv", "", "show what is new, and mark it as read", 0, 0, run_recv},
    {"chat", "WHO", "talk, line by line", 1, 1, run_chat},
    {"log", "WHO", "show a conversation", 1, 1, run_log},
    {"group", "create|add|remove|leave|list …", "conversations of several", 1,
     3, run_group},
    {"status", "", "who this is, and what waits", 0, 0, run_status},
};
const size_t command_count = sizeof command_table / sizeof command_table[0];
