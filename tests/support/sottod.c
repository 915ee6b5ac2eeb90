/* SPDX-License-Identifier: Apache-2.0 */
#include "support/sottod.h"

#include "server/store_pg.h"
#include "sys/clock.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 20000
#define ARGS_MAX    32

enum err sottod_prepare(struct sottod *s)
{
    return sottod_prepare_in(s, "/tmp");
}

enum err sottod_prepare_in(struct sottod *s, const char *place)
{
    *s = (struct sottod){.out = -1};
    int len = snprintf(s->dir, sizeof s->dir, "%s/sotto-e2e-XXXXXX", place);
    if (len < 0 || (size_t)len >= sizeof s->dir || mkdtemp(s->dir) == NULL) {
        s->dir[0] = '\0';
        return ERR_IO;
    }
    (void)snprintf(s->data, sizeof s->data, "%s/data", s->dir);
    const char *store = getenv("SOTTO_TEST_STORE");
    return store != NULL ? store_pg_erase(store, NULL) : OK;
}

/* The store is in the data folder, or where $SOTTO_TEST_STORE says. */
static void add_store(char **argv)
{
    const char *store = getenv("SOTTO_TEST_STORE");
    size_t count = 0;
    while (argv[count] != NULL)
        count++;
    if (store == NULL || count + 2 > ARGS_MAX)
        return;
    argv[count] = strdup("--store");
    argv[count + 1] = strdup(store);
}

static enum err spawn(struct sottod *s, const char *const *args)
{
    const char *program = getenv("SOTTOD");
    char *argv[ARGS_MAX + 2] = {NULL};
    int out[2];
    assert(s->pid == 0); /* else nobody would stop it */
    if (program == NULL || pipe2(out, O_CLOEXEC) != 0)
        return ERR_IO;
    argv[0] = strdup(program);
    for (size_t i = 0; i < ARGS_MAX && args[i] != NULL; i++)
        argv[i + 1] = strdup(args[i]);
    add_store(argv);
    s->output_len = 0;
    s->output[0] = '\0';
    s->pid = fork();
    if (s->pid == 0) {
        (void)dup2(out[1], STDOUT_FILENO);
        (void)dup2(out[1], STDERR_FILENO);
        (void)execv(program, argv);
        _exit(127);
    }
    for (size_t i = 0; argv[i] != NULL; i++)
        free(argv[i]);
    (void)close(out[1]);
    if (s->out >= 0)
        (void)close(s->out);
    s->out = out[0];
    return s->pid > 0 ? OK : ERR_IO;
}

/* Reads what comes within `ms`; false at the end of the output. */
static bool hear(struct sottod *s, int ms)
{
    struct pollfd p = {.fd = s->out, .events = POLLIN};
    size_t room = sizeof s->output - 1 - s->output_len;
    if (room == 0 || poll(&p, 1, ms) <= 0)
        return true;
    ssize_t n = read(s->out, s->output + s->output_len, room);
    if (n <= 0)
        return false;
    s->output_len += (size_t)n;
    s->output[s->output_len] = '\0';
    return true;
}

void sottod_listen(struct sottod *s)
{
    for (size_t before = SIZE_MAX; before != s->output_len;) {
        before = s->output_len;
        if (!hear(s, 20))
            return;
    }
}

/* Waits for the end of the process. */
static int reap(struct sottod *s)
{
    uint64_t end = clock_mono_ms() + PATIENCE_MS;
    int status = 0;
    while (clock_mono_ms() < end) {
        if (waitpid(s->pid, &status, WNOHANG) == s->pid) {
            s->pid = 0;
            sottod_listen(s);
            return WIFEXITED(status) ? WEXITSTATUS(status)
                                     : 128 + WTERMSIG(status);
        }
        if (!hear(s, 5))
            (void)poll(NULL, 0, 5);
    }
    return -1;
}

int sottod_run(struct sottod *s, const char *const *args)
{
    return spawn(s, args) == OK ? reap(s) : -1;
}

void sottod_said(const struct sottod *s, const char *label, char *out,
                 size_t size)
{
    const char *at = strstr(s->output, label);
    size_t len = 0;
    if (at != NULL) {
        at += strlen(label);
        len = strcspn(at, "\n");
    }
    if (len >= size)
        len = size - 1;
    if (len > 0)
        memcpy(out, at, len);
    out[len] = '\0';
}

/* The child of the server's process. */
static pid_t child_of(pid_t pid)
{
    char path[64];
    char text[64] = {0};
    (void)snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid,
                   (int)pid);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return 0;
    if (fgets(text, sizeof text, f) == NULL)
        text[0] = '\0';
    (void)fclose(f);
    return (pid_t)strtol(text, NULL, 10);
}

enum err sottod_start(struct sottod *s, const char *const *options)
{
    const char *args[ARGS_MAX + 1] = {"--data", s->data, "--listen",
                                      "127.0.0.1:0", NULL};
    char address[NET_NAME_TEXT];
    size_t count = 4;
    for (size_t i = 0; options != NULL && options[i] != NULL; i++)
        if (count < ARGS_MAX)
            args[count++] = options[i];
    TRY(spawn(s, args));
    uint64_t end = clock_mono_ms() + PATIENCE_MS;
    while (strstr(s->output, "listening on ") == NULL ||
           strchr(strstr(s->output, "listening on "), '\n') == NULL) {
        if (!hear(s, 100)) {
            (void)reap(s);
            return ERR_STATE;
        }
        if (clock_mono_ms() > end)
            return ERR_IO;
    }
    sottod_said(s, "listening on ", address, sizeof address);
    s->net_pid = child_of(s->pid);
    return net_name_parse(address, &s->address, NULL);
}

int sottod_stop(struct sottod *s, int signal)
{
    if (s->pid == 0 || kill(s->pid, signal) != 0)
        return -1;
    return reap(s);
}

static int remove_one(const char *path, const struct stat *st, int type,
                      struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void sottod_clear(struct sottod *s)
{
    if (s->pid > 0)
        (void)sottod_stop(s, SIGKILL);
    if (s->out >= 0 && s->dir[0] != '\0')
        (void)close(s->out);
    if (s->dir[0] != '\0')
        (void)nftw(s->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    *s = (struct sottod){.out = -1};
}
