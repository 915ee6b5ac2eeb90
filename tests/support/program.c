/* SPDX-License-Identifier: Apache-2.0 */
#include "support/program.h"

#include "base/mem.h"
#include "sys/clock.h"

#include <assert.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 30000U
#define POLL_MS     5

static void child(const struct program *p, int input, const char *const *argv)
{
    (void)dup2(input, STDIN_FILENO);
    (void)dup2(p->fds[0], STDOUT_FILENO);
    (void)dup2(p->fds[1], STDERR_FILENO);
    /* execv promises not to write there, but its type cannot say so. */
    union {
        const char *const *given;
        char *const *wanted;
    } words = {argv};
    (void)execv(argv[0], words.wanted);
    _exit(127);
}

/* Takes `input`, the end that the program reads. */
static enum err spawn(struct program *p, const char *const *argv, int input)
{
    for (size_t i = 0; i < 2; i++)
        p->fds[i] = memfd_create("said", MFD_CLOEXEC);
    p->pid = argv[0] != NULL ? fork() : -1;
    if (p->pid == 0)
        child(p, input, argv);
    (void)close(input);
    return p->pid > 0 ? OK : ERR_IO;
}

static enum err open_typing(struct program *p, int *out_input)
{
    int ends[2];
    program_clear(p);
    if (pipe2(ends, O_CLOEXEC) != 0 ||
        fcntl(ends[1], F_SETPIPE_SZ, (int)PROGRAM_INPUT_MAX) < 0)
        return ERR_IO;
    p->typing = ends[1];
    *out_input = ends[0];
    return OK;
}

enum err program_start_typing(struct program *p, const char *const *argv)
{
    int input = -1;
    TRY(open_typing(p, &input));
    return spawn(p, argv, input);
}

enum err program_start(struct program *p, const char *const *argv,
                       struct bytes input)
{
    int end = -1;
    assert(input.len < PROGRAM_INPUT_MAX); /* a pipe takes it all at once */
    TRY(open_typing(p, &end));
    bool written = input.len == 0 || write(p->typing, input.data, input.len) ==
                                         (ssize_t)input.len;
    (void)close(p->typing);
    p->typing = -1;
    TRY(spawn(p, argv, end));
    return written ? OK : ERR_IO;
}

enum err program_type(struct program *p, const char *text)
{
    size_t len = strlen(text);
    return write(p->typing, text, len) == (ssize_t)len ? OK : ERR_IO;
}

/* All that one output has taken so far. */
static char *all(int fd)
{
    struct stat s;
    size_t size = fstat(fd, &s) == 0 ? (size_t)s.st_size : 0;
    char *text = calloc(size + 1, 1);
    if (text != NULL && size > 0 && pread(fd, text, size, 0) < 0)
        text[0] = '\0';
    return text;
}

static void listen_all(struct program *p)
{
    free(p->out);
    free(p->error);
    p->out = all(p->fds[0]);
    p->error = all(p->fds[1]);
    assert(p->out != NULL && p->error != NULL);
}

static bool ended(struct program *p, int *out_status)
{
    int status = 0;
    if (waitpid(p->pid, &status, WNOHANG) != p->pid)
        return false;
    p->pid = 0;
    *out_status =
        WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    return true;
}

bool program_says(struct program *p, const char *text)
{
    uint64_t end = clock_mono_ms() + PATIENCE_MS;
    int status = 0;
    for (bool last = false; !last; (void)poll(NULL, 0, POLL_MS)) {
        last = p->pid == 0 || ended(p, &status) || clock_mono_ms() > end;
        listen_all(p);
        if (strstr(p->out, text) != NULL || strstr(p->error, text) != NULL)
            return true;
    }
    return false;
}

int program_wait(struct program *p)
{
    uint64_t end = clock_mono_ms() + PATIENCE_MS;
    int status = -1;
    while (p->pid > 0 && !ended(p, &status) && clock_mono_ms() < end)
        (void)poll(NULL, 0, POLL_MS);
    listen_all(p);
    return status;
}

int program_run(struct program *p, const char *const *argv, struct bytes input)
{
    return program_start(p, argv, input) == OK ? program_wait(p) : -1;
}

void program_clear(struct program *p)
{
    if (p->pid > 0) {
        (void)kill(p->pid, SIGKILL);
        (void)waitpid(p->pid, NULL, 0);
    }
    for (size_t i = 0; i < 2; i++)
        if (p->fds[i] > 0)
            (void)close(p->fds[i]);
    if (p->typing > 0)
        (void)close(p->typing);
    free(p->out);
    free(p->error);
    *p = (struct program){.typing = -1};
}
