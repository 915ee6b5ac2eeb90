/* SPDX-License-Identifier: Apache-2.0 */
/* The client program: options, and which command they are for. */
#include "cli/commands.h"
#include "sys/process.h"
#include "sys/settings.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const struct setting table[] = {
    {"profile", "DIR", NULL,
     "the profile's folder [$SOTTO_PROFILE, or ~/.sotto]", setting_text,
     offsetof(struct options, profile)},
    {"server", "HOST[:PORT]", NULL, "init: the home server", setting_text,
     offsetof(struct options, server)},
    {"handle", "NAME", NULL, "init: the name to be found by", setting_text,
     offsetof(struct options, handle)},
    {"invite", "CODE", NULL, "init: from whoever runs the server", setting_text,
     offsetof(struct options, invite)},
    {"fingerprint", "F", NULL, "init: trust the certificate with this SHA-256",
     setting_text, offsetof(struct options, fingerprint)},
    {"passphrase-file", "FILE", NULL,
     "init: protect the profile; later: open it", setting_text,
     offsetof(struct options, passphrase_file)},
    {"wait", "SECONDS", "15", "how long to wait for the server", setting_number,
     offsetof(struct options, wait)},
    {"json", NULL, NULL, "print JSON, one object a line", setting_flag,
     offsetof(struct options, json)},
    {"follow", NULL, NULL, "recv: go on until interrupted", setting_flag,
     offsetof(struct options, follow)},
    {"help", NULL, NULL, "show this", setting_flag,
     offsetof(struct options, help)},
    {"version", NULL, NULL, "show the version", setting_flag,
     offsetof(struct options, version)},
};
static const struct settings settings = {
    .table = table, .count = sizeof table / sizeof table[0]};

static void help(void)
{
    (void)printf("usage: sotto [options] command\n\n");
    for (size_t i = 0; i < command_count; i++) {
        char both[64];
        (void)snprintf(both, sizeof both, "%s %s", command_table[i].name,
                       command_table[i].arguments);
        (void)printf("  %-42s %s\n", both, command_table[i].help);
    }
    (void)printf("\noptions:\n");
    (void)fflush(stdout);
    settings_help(&settings, STDOUT_FILENO);
}

static int usage(const char *what)
{
    (void)fprintf(stderr, "sotto: %s; \"sotto --help\" shows how\n", what);
    return EXIT_USAGE;
}

static int run(const struct options *o, char **words)
{
    if (words[0] == NULL)
        return usage("what to do?");
    unsigned count = 0;
    while (words[1 + count] != NULL)
        count++;
    for (size_t i = 0; i < command_count; i++) {
        const struct command *c = &command_table[i];
        if (strcmp(words[0], c->name) != 0)
            continue;
        if (count < c->min || count > c->max)
            return usage("wrong number of words");
        return c->run(o, words + 1);
    }
    return usage("there is no such command");
}

int main(int argc, char **argv)
{
    struct options options = {0};
    struct problem p = {0};
    (void)argc;
    if (process_harden(&p) != OK ||
        settings_parse(&settings, argv + 1, &options, &p) != OK) {
        (void)fprintf(stderr, "sotto: %s\n", p.detail);
        return EXIT_USAGE;
    }
    if (options.help) {
        help();
        return EXIT_OK;
    }
    if (options.version) {
        (void)printf("sotto %s\n", SOTTO_VERSION);
        return EXIT_OK;
    }
    return run(&options, argv + 1);
}
