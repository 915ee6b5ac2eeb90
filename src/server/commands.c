/* SPDX-License-Identifier: Apache-2.0 */
#include "server/commands.h"

#include "server/backup.h"
#include "server/home.h"
#include "server/legal.h"
#include "server/operate.h"
#include "server/options.h"
#include "server/serve.h"
#include "server/server.h"
#include "server/trial.h"
#include "sys/clock.h"
#include "sys/process.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define EXIT_OK      0
#define EXIT_FAILED  1
#define EXIT_USAGE   2
#define COMMAND_TEXT 32U
#define DAY_MS       86400000U

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
    CLEANUP(teller_end) struct teller t = teller_begin("check");
    const struct store_progress progress = {teller_say, &t};
    TRY(s.admin.check(s.admin.ctx, &progress, p));
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
    return legal_export(&s, o->word, p);
}

static uint32_t today(void) { return (uint32_t)(clock_wall_ms() / DAY_MS); }

static enum err command_account_list(const struct options *o, struct problem *p)
{
    CLEANUP(server_close) struct server s = {0};
    TRY(server_open(o, true, &s, p));
    return operate_list(&s.admin, p);
}

static enum err command_account_disable(const struct options *o,
                                        struct problem *p)
{
    CLEANUP(server_close) struct server s = {0};
    TRY(server_open(o, true, &s, p));
    return operate_disable(&s.admin, o->word, true, today(), p);
}

static enum err command_account_enable(const struct options *o,
                                       struct problem *p)
{
    CLEANUP(server_close) struct server s = {0};
    TRY(server_open(o, true, &s, p));
    return operate_disable(&s.admin, o->word, false, today(), p);
}

static enum err command_account_delete(const struct options *o,
                                       struct problem *p)
{
    CLEANUP(server_close) struct server s = {0};
    if (!o->yes && isatty(STDIN_FILENO) == 1)
        return problem_set(p, ERR_INVALID, PROBLEM_USAGE,
                           "what is deleted does not come back, and its handle "
                           "is free only after a year: give --yes to do it");
    TRY(server_open(o, true, &s, p));
    return operate_delete(&s.admin, o->word, today(), p);
}

/* Works beside a running server. */
static enum err command_backup(const struct options *o, struct problem *p)
{
    CLEANUP(server_close) struct server s = {0};
    CLEANUP(teller_end) struct teller t = teller_begin("backup");
    const struct store_progress progress = {teller_say, &t};
    if (o->to == NULL)
        return problem_set(p, ERR_INVALID, PROBLEM_USAGE,
                           "say where: --to DIR, a new folder");
    TRY(server_open(o, true, &s, p));
    TRY(backup_make(&s.admin, o->data, o->to, &progress, p));
    (void)printf("%s: a backup, checked\n", o->to);
    if (o->cert != NULL)
        (void)printf("not in it: %s and %s\n", o->cert, o->key);
    return OK;
}

static enum err command_restore(const struct options *o, struct problem *p)
{
    CLEANUP(teller_end) struct teller t = teller_begin("restore");
    const struct store_progress progress = {teller_say, &t};
    char aside[BACKUP_PATH_MAX];
    if (o->from == NULL)
        return problem_set(p, ERR_INVALID, PROBLEM_USAGE,
                           "say from where: --from DIR, a backup");
    if (o->store != NULL)
        return problem_set(p, ERR_INVALID, PROBLEM_USAGE,
                           "the store is in a database: restore it with the "
                           "database's own tools, such as pg_restore");
    TRY(backup_restore(o->from, o->data, o->replace, &progress, aside, p));
    (void)printf("%s: restored from %s, checked\n", o->data, o->from);
    if (aside[0] != '\0')
        (void)printf("what was there: %s\n", aside);
    return OK;
}

/* Works beside a running server. */
static enum err command_stats(const struct options *o, struct problem *p)
{
    CLEANUP(server_close) struct server s = {0};
    TRY(server_open(o, true, &s, p));
    return operate_stats(&s.admin, clock_wall_ms() / 1000, p);
}

static enum err command_self_test(const struct options *o, struct problem *p)
{
    (void)o;
    return trial_run(p);
}

static enum err command_config(const struct options *o, struct problem *p)
{
    (void)p;
    options_show(o, STDOUT_FILENO);
    return OK;
}

/* ---- The table of commands, and what they take ---- */

/* These stand in no file. A command takes those that it names. */
static const struct setting switches[] = {
    {"config", "FILE", NULL, "read this file of settings; '' reads none",
     setting_text, offsetof(struct options, config)},
    {"help", NULL, NULL, "show this, or what a command takes", setting_flag,
     offsetof(struct options, help)},
    {"version", NULL, NULL, "show the version", setting_flag,
     offsetof(struct options, version)},
    {"to", "DIR", NULL, "backup: a new folder for it", setting_text,
     offsetof(struct options, to)},
    {"from", "DIR", NULL, "restore: the backup", setting_text,
     offsetof(struct options, from)},
    {"replace", NULL, NULL, "restore: move aside what is there", setting_flag,
     offsetof(struct options, replace)},
    {"yes", NULL, NULL, "do what cannot be undone without asking", setting_flag,
     offsetof(struct options, yes)},
};
static const struct settings switch_table = {
    .table = switches, .count = sizeof switches / sizeof switches[0]};
#define COMMON_SWITCHES 3U /* every command takes the first ones */

static const struct command {
    const char *name; /* one word or two; NULL: none is given */
    enum err (*run)(const struct options *o, struct problem *p);
    const char *help;
    const char *word;     /* that follows it; NULL: none */
    const char *switches; /* beside the common ones, a blank after each */
    bool without_data;
} commands[] = {
    {NULL, serve, "run the server in the foreground", NULL, "", false},
    {"account list", command_account_list, "list all accounts", NULL, "",
     false},
    {"account disable", command_account_disable,
     "let an account log in no more", "NAME", "", false},
    {"account enable", command_account_enable, "let it log in again", "NAME",
     "", false},
    {"account delete", command_account_delete, "remove an account for good",
     "NAME", "yes ", false},
    {"backup", command_backup, "copy the store and the keys", NULL, "to ",
     false},
    {"check", command_check, "verify the store of a stopped server", NULL, "",
     false},
    {"config", command_config, "show the settings in force", NULL, "", true},
    {"invite", command_invite, "make one more invite code", NULL, "", false},
    {"legal-export", command_legal_export,
     "print all that is held about an account", "NAME", "", false},
    {"restore", command_restore, "put a backup in place", NULL, "from replace ",
     false},
    {"stats", command_stats, "show numbers of the store", NULL, "", false},
    {"self-test", command_self_test, "try what the sandboxes must refuse", NULL,
     "", true},
};
#define COMMANDS (sizeof commands / sizeof commands[0])

/* Takes the command's words from the front of *words. */
static const struct command *find_command(char ***words)
{
    if (**words == NULL)
        return &commands[0];
    for (size_t i = 1; i < COMMANDS; i++) {
        const char *name = commands[i].name;
        size_t first = strcspn(name, " ");
        bool two = name[first] != '\0';
        if (strlen((*words)[0]) != first ||
            strncmp((*words)[0], name, first) != 0)
            continue;
        if (two &&
            ((*words)[1] == NULL || strcmp((*words)[1], name + first + 1) != 0))
            continue;
        *words += two ? 2 : 1;
        return &commands[i];
    }
    return NULL;
}

static bool takes(const struct command *c, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = strstr(c->switches, name); at != NULL;
         at = strstr(at + 1, name)) {
        if (at[len] == ' ' && (at == c->switches || at[-1] == ' '))
            return true;
    }
    return false;
}

static bool is_given(const struct options *o, const struct setting *s)
{
    const char *field = (const char *)o + s->offset;
    const char *text = NULL;
    if (s->argument == NULL)
        return *(const bool *)field;
    memcpy(&text, field, sizeof text);
    return text != NULL;
}

static int usage(const char *what, const char *why)
{
    (void)dprintf(STDERR_FILENO, "sottod: %.60s %s (see --help)\n", what, why);
    return EXIT_USAGE;
}

/* ---- Help ---- */

static void print_commands(void)
{
    (void)printf("usage: sottod [COMMAND] [OPTION...]\n\n");
    for (size_t i = 0; i < COMMANDS; i++) {
        const struct command *c = &commands[i];
        char name[COMMAND_TEXT];
        (void)snprintf(name, sizeof name, "%s %s",
                       c->name != NULL ? c->name : "(none)",
                       c->word != NULL ? c->word : "");
        (void)printf("  %-24s %s\n", name, c->help);
    }
    (void)printf("\nFor the command line alone:\n");
    (void)fflush(stdout);
    settings_help(&switch_table, STDOUT_FILENO);
    (void)printf("\nAlso in %s, as lines of NAME = VALUE:\n", OPTIONS_FILE);
    (void)fflush(stdout);
    settings_help(&options_table, STDOUT_FILENO);
}

static void print_help(const struct command *c)
{
    if (c == NULL || c->name == NULL) {
        print_commands();
        return;
    }
    (void)printf("usage: sottod %s %s%s[OPTION...]\n\n%s\n\n", c->name,
                 c->word != NULL ? c->word : "", c->word != NULL ? " " : "",
                 c->help);
    (void)fflush(stdout);
    for (size_t i = 0; i < switch_table.count; i++) {
        const struct settings one = {.table = &switches[i], .count = 1};
        if (i < COMMON_SWITCHES || takes(c, switches[i].name))
            settings_help(&one, STDOUT_FILENO);
    }
    if (!c->without_data)
        (void)printf("  --data DIR               the data folder, unless a "
                     "file of settings names it\n");
}

/* ---- Running ---- */

static int run_command(const struct options *o, const struct command *c)
{
    struct problem p = {0};
    log_open(STDERR_FILENO, o->log_level);
    if (process_harden(&p) != OK || c->run(o, &p) != OK) {
        say(&p);
        if (p.kind == PROBLEM_DAMAGED)
            (void)dprintf(
                STDERR_FILENO,
                "sottod: do not go on with a damaged store: restore a "
                "backup (sottod restore --from DIR --replace), and "
                "see DIAGNOSTICS in sottod(8)\n");
        return p.kind == PROBLEM_USAGE ? EXIT_USAGE : EXIT_FAILED;
    }
    if (fflush(stdout) == 0 && ferror(stdout) == 0)
        return EXIT_OK;
    (void)dprintf(STDERR_FILENO,
                  "sottod: what it printed could not all be written\n");
    return EXIT_FAILED;
}

/* Refuses what the command cannot take. */
static int check_and_run(struct options *o, const struct command *c,
                         char **words)
{
    if (o->data == NULL && !c->without_data)
        return usage("--data DIR", "is missing");
    if (c->word != NULL && words[0] == NULL)
        return usage(c->word, "is missing after the command");
    if (c->word != NULL)
        o->word = *words++;
    if (words[0] != NULL)
        return usage(words[0], "is one word too many");
    for (size_t i = COMMON_SWITCHES; i < switch_table.count; i++) {
        if (is_given(o, &switches[i]) && !takes(c, switches[i].name))
            return usage(switches[i].name, "is no option of this command");
    }
    return run_command(o, c);
}

int commands_main(char **words)
{
    CLEANUP(options_clear) struct options o = {0};
    struct problem p = {0};
    if (options_read(&switch_table, words, &o, &p) != OK) {
        say(&p);
        return EXIT_USAGE;
    }
    if (o.version) {
        (void)printf("sottod %s\n", SOTTO_VERSION);
        return EXIT_OK;
    }
    const struct command *c = find_command(&words);
    if (o.help) {
        print_help(c);
        return EXIT_OK;
    }
    if (c == NULL)
        return usage(words[0], "is no command");
    return check_and_run(&o, c, words);
}
