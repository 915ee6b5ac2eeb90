/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each call is made by a process of its own, three times: outside, where it
 * must not be refused (else the trial would show nothing), and in both
 * sandboxes. Arguments are wrong on purpose where a call would do harm: a
 * filter refuses before the kernel looks at them.
 */
#include "server/trial.h"
#include "sys/files.h"
#include "sys/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PLACE_MAX     256U
#define LANDLOCK_TCP  4 /* the version that knows ports */
#define DATABASE_PORT 9U

/* Made by the parent; read by the children. */
static char folder[PLACE_MAX];
static char inside[PLACE_MAX];
static char certs[PLACE_MAX]; /* where the store may read only */
static char cert[PLACE_MAX];

static bool file_opens(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);
    if (fd >= 0)
        (void)close(fd);
    return fd >= 0;
}

static bool read_of_others(void) { return file_opens("/etc/passwd", O_RDONLY); }
static bool list_of_others(void)
{
    return file_opens("/", O_RDONLY | O_DIRECTORY);
}
static bool file_inside(void)
{
    return file_opens(inside, O_RDWR | O_CREAT) && unlink(inside) == 0;
}
static bool read_of_a_certificate(void) { return file_opens(cert, O_RDONLY); }
static bool write_to_a_certificate(void) { return file_opens(cert, O_WRONLY); }
static bool a_socket(void) { return socket(AF_INET, SOCK_STREAM, 0) >= 0; }
static bool a_local_socket(void) { return socket(AF_UNIX, SOCK_DGRAM, 0) >= 0; }
static bool a_connection(void)
{
    return syscall(SYS_connect, -1, NULL, 0U) != 0 && errno == EBADF;
}
/* Nobody listens there: a kernel that lets the call through says so. */
static bool a_connection_to(uint16_t port)
{
    const struct sockaddr_in to = {.sin_family = AF_INET,
                                   .sin_port = htons(port),
                                   .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return fd >= 0 &&
           (connect(fd, (const struct sockaddr *)&to, sizeof to) == 0 ||
            errno == ECONNREFUSED);
}
static bool a_connection_to_its_port(void)
{
    return a_connection_to(DATABASE_PORT);
}
static bool a_connection_to_another(void)
{
    return a_connection_to(DATABASE_PORT + 1);
}
static bool a_local_stream(void)
{
    return socket(AF_UNIX, SOCK_STREAM, 0) >= 0;
}
static bool a_listener(void)
{
    return syscall(SYS_listen, -1, 1) != 0 && errno == EBADF;
}
static bool a_program(void)
{
    (void)syscall(SYS_execve, NULL, NULL, NULL);
    return errno == EFAULT;
}
static bool a_process(void)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    return pid > 0;
}
static bool a_signal(void) { return kill(getppid(), 0) == 0; }
static bool a_look_at_a_process(void)
{
    return ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0;
}
static bool memory_of_a_process(void)
{
    return process_vm_readv(getpid(), NULL, 0, NULL, 0, 0) == 0;
}
static bool new_code(void)
{
    return mmap(NULL, 1, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
                0) != MAP_FAILED;
}
static bool code_from_memory(void)
{
    void *page = mmap(NULL, 1, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return page != MAP_FAILED && mprotect(page, 1, PROT_READ | PROT_EXEC) == 0;
}
static bool a_nameless_file(void)
{
    return syscall(SYS_memfd_create, "x", 0U) >= 0;
}
static bool a_namespace(void) { return unshare(0) == 0; }
static bool a_key(void)
{
    (void)syscall(SYS_keyctl, -1);
    return errno == EOPNOTSUPP || errno == ENOSYS;
}
static bool an_unknown_call(void)
{
    (void)syscall(9999);
    return errno == ENOSYS;
}
static bool memory(void)
{
    return mmap(NULL, 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                -1, 0) != MAP_FAILED;
}
static bool chance(void)
{
    unsigned char byte = 0;
    return syscall(SYS_getrandom, &byte, 1, 0U) == 1;
}
static bool a_moment_of_sleep(void) { return usleep(1) == 0; }

enum {
    NET = 1U << SANDBOX_NET, /* where the call is allowed */
    STORE = 1U << SANDBOX_STORE | 1U << SANDBOX_DATABASE,
    DATABASE = 1U << SANDBOX_DATABASE,
};

static const struct trial {
    const char *what;
    bool (*call)(void);
    unsigned allowed;
    int landlock; /* its version that keeps the store from it; 0: seccomp */
} trials[] = {
    {"memory", memory, NET | STORE, 0},
    {"random numbers", chance, NET | STORE, 0},
    {"a moment of sleep", a_moment_of_sleep, STORE, 0},
    {"a file of the data folder", file_inside, STORE, 0},
    {"a certificate", read_of_a_certificate, STORE, 0},
    {"a change of a certificate", write_to_a_certificate, 0, 1},
    {"a file elsewhere", read_of_others, 0, 1},
    {"a folder elsewhere", list_of_others, 0, 1},
    {"a socket", a_socket, DATABASE, 0},
    {"a local stream", a_local_stream, DATABASE, 0},
    {"a local socket", a_local_socket, 0, 0},
    {"a connection", a_connection, DATABASE, 0},
    {"a connection to its database", a_connection_to_its_port, DATABASE, 0},
    {"a connection elsewhere", a_connection_to_another, 0, LANDLOCK_TCP},
    {"a listener", a_listener, 0, 0},
    {"a program", a_program, 0, 0},
    {"a process", a_process, 0, 0},
    {"a signal to another", a_signal, 0, 0},
    {"a debugger", a_look_at_a_process, 0, 0},
    {"memory of a process", memory_of_a_process, 0, 0},
    {"new code", new_code, 0, 0},
    {"code from memory", code_from_memory, 0, 0},
    {"a file without a name", a_nameless_file, 0, 0},
    {"a namespace", a_namespace, 0, 0},
    {"a key of the kernel", a_key, 0, 0},
    {"an unknown call", an_unknown_call, 0, 0},
};
#define TRIALS (sizeof trials / sizeof trials[0])

enum outcome {
    DONE,
    REFUSED,
    OTHER,
};

static const char *const outcome_text[] = {"done", "refused", "failed"};

/* In the child. No sandbox: `where` is NULL. */
static int attempt(const struct trial *t, const struct sandbox *where)
{
    struct problem p = {0};
    if (where != NULL && sandbox_enter(where, &p) != OK)
        return OTHER;
    errno = 0;
    if (t->call())
        return DONE;
    return errno == EPERM || errno == EACCES ? REFUSED : OTHER;
}

static enum outcome outcome_of(const struct trial *t,
                               const struct sandbox *where)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0)
        _exit(attempt(t, where));
    if (pid < 0 || waitpid(pid, &status, 0) != pid)
        return OTHER;
    if (WIFSIGNALED(status))
        return WTERMSIG(status) == SIGSYS ? REFUSED : OTHER;
    return WEXITSTATUS(status) <= REFUSED ? (enum outcome)WEXITSTATUS(status)
                                          : OTHER;
}

/* What seccomp leaves to Landlock: files in the store, ports where there are
 * sockets at all. */
static bool by_landlock(const struct trial *t, enum sandbox_kind kind)
{
    return t->landlock > 0 && kind != SANDBOX_NET &&
           (t->landlock < LANDLOCK_TCP || kind == SANDBOX_DATABASE);
}

/* Whether it came out as it should. */
static bool try_in(const struct trial *t, const struct sandbox *where)
{
    static const char *const names[] = {"net", "store", "database"};
    enum outcome want = DONE;
    if (where != NULL && (t->allowed & 1U << where->kind) == 0)
        want = REFUSED;
    /* Without Landlock, the store's files are where its user's are. */
    if (where != NULL && by_landlock(t, where->kind) &&
        sandbox_landlock() < t->landlock)
        want = DONE;
    enum outcome got = outcome_of(t, where);
    (void)printf("%-8s %-28s %s%s\n",
                 where != NULL ? names[where->kind] : "outside", t->what,
                 outcome_text[got], got == want ? "" : "   <- WRONG");
    return got == want;
}

static size_t try_all(void)
{
    const struct sandbox net = {.kind = SANDBOX_NET};
    const struct sandbox store = {
        .kind = SANDBOX_STORE, .folder = folder, .read = {certs}};
    const struct sandbox database = {.kind = SANDBOX_DATABASE,
                                     .folder = folder,
                                     .read = {certs},
                                     .ports = {DATABASE_PORT}};
    const struct sandbox *const places[] = {NULL, &net, &store, &database};
    size_t wrong = 0;
    for (size_t k = 0; k < sizeof places / sizeof places[0]; k++)
        for (size_t i = 0; i < TRIALS; i++)
            wrong += !try_in(&trials[i], places[k]);
    return wrong;
}

static enum err make_folder(char path[PLACE_MAX], struct problem *p)
{
    const char *temp = getenv("TMPDIR"); /* NOLINT(concurrency-mt-unsafe) */
    (void)snprintf(path, PLACE_MAX, "%s/sottod-XXXXXX",
                   temp != NULL ? temp : "/tmp");
    if (mkdtemp(path) == NULL)
        return problem_system(p, "cannot make the folder %s", path);
    return OK;
}

enum err trial_run(struct problem *p)
{
    if (!sandbox_is_built())
        return problem_set(p, ERR_STATE, PROBLEM_SYSTEM,
                           "this build has no sandbox: it has a sanitizer");
    (void)printf("Landlock: %d, 0 is none\n", sandbox_landlock());
    TRY(make_folder(folder, p));
    TRY(make_folder(certs, p));
    (void)snprintf(inside, sizeof inside, "%.200s/file", folder);
    (void)snprintf(cert, sizeof cert, "%.200s/cert", certs);
    if (!file_opens(cert, O_WRONLY | O_CREAT))
        return problem_system(p, "cannot make the file %s", cert);
    (void)fflush(stdout); /* children must not print it again */
    size_t wrong = try_all();
    (void)unlink(cert);
    (void)rmdir(certs);
    (void)rmdir(folder);
    if (wrong > 0)
        return problem_set(p, ERR_STATE, PROBLEM_SYSTEM,
                           "the sandbox is not as it should be: %zu of the "
                           "lines above",
                           wrong);
    return OK;
}
