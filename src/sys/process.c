/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIGNAL_STATUS 128
#define STATM_TEXT    256

static int pid_open(pid_t pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0U); /* closed on exec */
}

enum err process_spawn(int (*run)(void *ctx, int socket), void *ctx,
                       struct child *out_child, struct problem *p)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0,
                   pair) != 0)
        return problem_system(p, "cannot make a socket pair");
    pid_t pid = fork();
    if (pid == 0) {
        (void)close(pair[0]);
        _exit(run(ctx, pair[1])); /* the parent's exit handlers are its own */
    }
    if (pid < 0) {
        enum err err = problem_system(p, "cannot start a process");
        (void)close(pair[0]);
        (void)close(pair[1]);
        return err;
    }
    (void)close(pair[1]);
    struct child child = {pid, pid_open(pid), pair[0]};
    if (child.pid_fd < 0) {
        enum err err = problem_system(p, "cannot watch a process");
        process_end(&child);
        return err;
    }
    *out_child = child;
    return OK;
}

static int status_of(int wait_status)
{
    return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status)
                                  : SIGNAL_STATUS + WTERMSIG(wait_status);
}

void process_forget(struct child *child)
{
    if (child->pid_fd >= 0)
        (void)close(child->pid_fd);
    if (child->socket >= 0)
        (void)close(child->socket);
    *child = (struct child){0};
}

bool process_has_ended(const struct child *child, int timeout_ms)
{
    struct pollfd poll_fd = {.fd = child->pid_fd, .events = POLLIN};
    return poll(&poll_fd, 1, timeout_ms) > 0;
}

enum err process_wait(struct child *child, int timeout_ms, int *out_status)
{
    int status = 0;
    if (!process_has_ended(child, timeout_ms) ||
        waitpid(child->pid, &status, WNOHANG) != child->pid)
        return ERR_STATE;
    *out_status = status_of(status);
    process_forget(child);
    return OK;
}

void process_end(struct child *child)
{
    if (child->pid == 0)
        return;
    (void)kill(child->pid, SIGKILL);
    while (waitpid(child->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    process_forget(child);
}

enum err process_harden(struct problem *p)
{
    const struct rlimit none = {0, 0};
    if (setrlimit(RLIMIT_CORE, &none) != 0)
        return problem_system(p, "cannot turn off core dumps");
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0)
        return problem_system(p, "cannot close the memory to others");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return problem_system(p, "cannot give up new privileges");
    /* What these would kill us for, write() reports too. */
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR ||
        signal(SIGXFSZ, SIG_IGN) == SIG_ERR)
        return problem_system(p, "cannot ignore signals");
    return OK;
}

uint64_t process_descriptors(void)
{
    struct rlimit limit = {0, 0};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur;
}

int process_memory_open(void)
{
    return open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
}

/* proc(5), statm: size, resident, shared, ... in pages. */
uint64_t process_memory(int fd)
{
    char text[STATM_TEXT] = "";
    if (fd < 0 || pread(fd, text, sizeof text - 1, 0) <= 0)
        return 0;
    char *at = text;
    (void)strtoull(at, &at, 10);
    uint64_t resident = strtoull(at, &at, 10);
    uint64_t shared = strtoull(at, &at, 10);
    return resident > shared
               ? (resident - shared) * (uint64_t)sysconf(_SC_PAGESIZE)
               : 0;
}
