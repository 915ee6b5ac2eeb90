/* SPDX-License-Identifier: Apache-2.0 */
#include "support/people.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ARGS_MAX 16

const char *people_path(const struct people *t, const char *name,
                        char out[PEOPLE_PATH_MAX])
{
    int len = snprintf(out, PEOPLE_PATH_MAX, "%s/%s", t->server.dir, name);
    assert(len > 0 && len < PEOPLE_PATH_MAX);
    return out;
}

/* The loopback network has more addresses than there are processes, so that
 * nobody takes the port while a server is being started again. */
static void choose_address(struct people *t)
{
    unsigned pid = (unsigned)getpid();
    (void)snprintf(t->listen, sizeof t->listen, "127.%u.%u.%u:0",
                   1 + (pid >> 16) % 254, (pid >> 8) & 255, pid & 255);
}

enum err people_serve(struct people *t)
{
    const char *const options[] = {"--listen", t->listen, "--pow-bits", "1",
                                   NULL};
    TRY(sottod_start(&t->server, options));
    char name[NET_NAME_TEXT];
    net_name_text(&t->server.address, name);
    (void)snprintf(t->listen, sizeof t->listen, "%.39s", name);
    (void)snprintf(t->server_name, sizeof t->server_name, "%.39s", name);
    return OK;
}

enum err people_prepare(struct people *t, const char *const *names)
{
    *t = (struct people){.last = {.typing = -1}};
    TRY(sottod_prepare(&t->server));
    choose_address(t);
    TRY(people_serve(t));
    for (; *names != NULL; names++)
        TRY(people_register(t, *names));
    return OK;
}

void people_clear(struct people *t)
{
    program_clear(&t->last);
    sottod_clear(&t->server);
}

int people_server_run(struct people *t, const char *command)
{
    return people_operate(t, (const char *const[]){command, NULL});
}

int people_operate(struct people *t, const char *const *args)
{
    const char *argv[ARGS_MAX] = {getenv("SOTTOD"), "--data", t->server.data};
    const char *store = getenv("SOTTO_TEST_STORE");
    size_t count = 3;
    for (; *args != NULL; count++) {
        assert(count < ARGS_MAX - 3);
        argv[count] = *args++;
    }
    if (store != NULL) {
        argv[count++] = "--store";
        argv[count] = store;
    }
    return program_run(&t->last, argv, (struct bytes){0});
}

enum err people_invite(struct people *t, char code[80])
{
    static const char label[] = "invite code: ";
    if (people_server_run(t, "invite") != 0 ||
        strncmp(t->last.out, label, sizeof label - 1) != 0)
        return ERR_IO;
    const char *at = t->last.out + sizeof label - 1;
    (void)snprintf(code, 80, "%.*s", (int)strcspn(at, "\n"), at);
    return OK;
}

static void arguments(const struct people *t, const char *who,
                      const char *const *args, char path[PEOPLE_PATH_MAX],
                      const char *argv[ARGS_MAX])
{
    size_t count = 0;
    argv[count++] = getenv("SOTTO");
    argv[count++] = "--profile";
    argv[count++] = people_path(t, who, path);
    for (; *args != NULL; args++) {
        assert(count < ARGS_MAX - 1);
        argv[count++] = *args;
    }
    argv[count] = NULL;
}

int people_run(struct people *t, const char *who, const char *const *args,
               const char *input)
{
    char path[PEOPLE_PATH_MAX];
    const char *argv[ARGS_MAX];
    arguments(t, who, args, path, argv);
    return program_run(&t->last, argv, bytes_str(input != NULL ? input : ""));
}

enum err people_start(struct people *t, struct program *p, const char *who,
                      const char *const *args)
{
    char path[PEOPLE_PATH_MAX];
    const char *argv[ARGS_MAX];
    arguments(t, who, args, path, argv);
    return program_start_typing(p, argv);
}

enum err people_register(struct people *t, const char *who)
{
    char code[80];
    TRY(people_invite(t, code));
    int status = AS(t, who, "init", "--server", t->server_name, "--handle", who,
                    "--invite", code);
    if (status == 0)
        return OK;
    printf("# %s cannot register: %s\n", who, t->last.error);
    return ERR_STATE;
}

enum err people_copy(struct people *t, const char *from, const char *to)
{
    char paths[2][PEOPLE_PATH_MAX];
    (void)people_path(t, from, paths[0]);
    (void)people_path(t, to, paths[1]);
    const char *const commands[][5] = {
        {"/bin/rm", "-rf", paths[1], NULL},
        {"/bin/cp", "-a", paths[0], paths[1], NULL},
    };
    for (size_t i = 0; i < 2; i++)
        if (program_run(&t->last, commands[i], (struct bytes){0}) != 0)
            return ERR_IO;
    return OK;
}

static bool says(const struct people *t, const char *where, const char *words)
{
    if (strstr(where, words) != NULL)
        return true;
    printf("# it did not say: %s\n# out: %.400s\n# error: %.400s\n", words,
           t->last.out, t->last.error);
    return false;
}

bool people_complained(const struct people *t, const char *words)
{
    return says(t, t->last.error, words);
}

bool people_printed(const struct people *t, const char *words)
{
    return says(t, t->last.out, words);
}
