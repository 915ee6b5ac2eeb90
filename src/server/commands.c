/* SPDX-License-Identifier: Apache-2.0 */
#include "server/commands.h"

#include "server/home.h"
#include "server/legal.h"
#include "server/options.h"
#include "server/serve.h"
#include "server/server.h"
#include "server/trial.h"
#include "sys/process.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define EXIT_OK      0
#define EXIT_FAILED  1
#define EXIT_USAGE   2
#define COMMAND_TEXT 32U

static void say(const struct problem *p)
{
    (void)dprintf(STDERR_FILENO, "sottod: %s\n",
                  p->detail[0] != '\0' ? p->detail : "failed");
}

static enum err command_check(const struct options *o, struct problem *p)
{
    CLEANUP(file_lock_release) struct file_lock lock = {0};
    CLEANUP(server_close) struct server s = {0};
    TRY(home_open_existing(o->data, &lock, p));
    TRY(server_open(o, true, &s, p));
    TRY(store_sqlite_check(s.sqlite, p));
    (void)printf("%s: no fault found\n", o->data);
    return OK;
}

/* Works beside a running server. */
static enum err command_invite(const struct options *o, struct problem *p)
{
    CLEANUP(server_close) struct server s = {0};
    TRY(server_open(o, true, &s, p));
    return server_print_invite(&s, p);
}

/* Works beside a running server. */
static enum err command_legal_export(const struct options *o, struct problem *p)
{
    CLEANUP(server_close) struct server s = {0};
    TRY(server_open(o, true, &s, p));
    return legal_export(s.sqlite, o->word, p);
}

static enum err command_self_test(const struct options *o, struct problem *p)
{
    (void)o;
    return trial_run(p);
}

static const struct command {
    const char *name; /* NULL: none is given */
    enum err (*run)(const struct options *o, struct problem *p);
    const char *help;
    const char *word; /* that follows it; NULL: none */
    bool without_data;
} commands[] = {
    {NULL, serve, "run the server in the foreground", NULL, false},
    {"check", command_check, "verify the store of a stopped server", NULL,
     false},
    {"invite", command_invite, "make one more invite code", NULL, false},
    {"legal-export", command_legal_export,
     "print all that is held about an account", "NAME", false},
    {"self-test", command_self_test, "try what the sandboxes must refuse", NULL,
     true},
};
#define COMMANDS (sizeof commands / sizeof commands[0])

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < COMMANDS; i++) {
        const char *known = commands[i].name;
        if ((name == NULL) != (known == NULL))
            continue;
        if (name == NULL || strcmp(name, known) == 0)
            return &commands[i];
    }
    return NULL;
}

static void print_help(void)
{
    (void)printf("usage: sottod [COMMAND] --data DIR [OPTION...]\n\n");
    for (size_t i = 0; i < COMMANDS; i++) {
        const struct command *c = &commands[i];
        char name[COMMAND_TEXT];
        (void)snprintf(name, sizeof name, "%s %s",
                       c->name != NULL ? c->name : "(none)",
                       c->word != NULL ? c->word : "");
        (void)printf("  %-24s %s\n", name, c->help);
    }
    (void)printf("\n");
    (void)fflush(stdout);
    settings_help(&options_table, STDOUT_FILENO);
}

static int run_command(const struct options *o, const char *name)
{
    struct problem p = {0};
    const struct command *command = find_command(name);
    if (command == NULL || (o->data == NULL && !command->without_data)) {
        (void)dprintf(STDERR_FILENO, "sottod: %s (see --help)\n",
                      command == NULL ? "no such command"
                                      : "--data DIR is missing");
        return EXIT_USAGE;
    }
    if ((command->word != NULL) != (o->word != NULL)) {
        (void)dprintf(STDERR_FILENO, "sottod: %s (see --help)\n",
                      command->word != NULL ? "the command needs a word more"
                                            : "one command at a time");
        return EXIT_USAGE;
    }
    log_open(STDERR_FILENO, o->log_level);
    if (process_harden(&p) != OK || command->run(o, &p) != OK) {
        say(&p);
        return p.kind == PROBLEM_USAGE ? EXIT_USAGE : EXIT_FAILED;
    }
    if (fflush(stdout) == 0 && ferror(stdout) == 0)
        return EXIT_OK;
    (void)dprintf(STDERR_FILENO,
                  "sottod: what it printed could not all be written\n");
    return EXIT_FAILED;
}
int commands_main(char **words)
{
    struct options o = {0};
    struct problem p = {0};
    if (settings_parse(&options_table, words, &o, &p) != OK) {
        say(&p);
        return EXIT_USAGE;
    }
    if (o.help) {
        print_help();
        return EXIT_OK;
    }
    if (o.version) {
        (void)printf("sottod %s\n", SOTTO_VERSION);
        return EXIT_OK;
    }
    if (words[0] != NULL && words[1] != NULL) {
        o.word = words[1];
        if (words[2] != NULL) {
            (void)dprintf(STDERR_FILENO, "sottod: one command at a time\n");
            return EXIT_USAGE;
        }
    }
    return run_command(&o, words[0]);
}
