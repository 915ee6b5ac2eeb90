/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/sandbox.h"
#include "sys/log.h"

#ifndef SOTTO_SANDBOX

bool sandbox_is_built(void) { return false; }
int sandbox_landlock(void) { return 0; }

enum err sandbox_enter(const struct sandbox *s, struct problem *p)
{
    (void)s, (void)p;
    log_warn("sandbox: not in force, as this build has a sanitizer");
    return OK;
}

#else

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

bool sandbox_is_built(void) { return true; }

/* ---- Landlock ---- */

/* What headers of older kernels lack; the kernel says which it knows. */
struct landlock_rights {
    uint64_t files;
    uint64_t tcp;   /* version 4 */
    uint64_t scope; /* version 6 */
};
#define FILES_V1 ((UINT64_C(1) << 13) - 1)
#define FILES_V2 (FILES_V1 | UINT64_C(1) << 13) /* move between folders */
#define FILES_V3 (FILES_V2 | UINT64_C(1) << 14) /* truncate */
#define FILES_V5 (FILES_V3 | UINT64_C(1) << 15) /* ioctl of devices */
#define TCP_ALL  (UINT64_C(1) << 0 | UINT64_C(1) << 1) /* bind, connect */
#define SCOPES   (UINT64_C(1) << 0 | UINT64_C(1) << 1) /* sockets, signals */

/* The store's files: no programs, devices or links. */
#define FILES_STORE                                                 \
    (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE | \
     LANDLOCK_ACCESS_FS_READ_DIR | LANDLOCK_ACCESS_FS_REMOVE_FILE | \
     LANDLOCK_ACCESS_FS_REMOVE_DIR | LANDLOCK_ACCESS_FS_MAKE_DIR |  \
     LANDLOCK_ACCESS_FS_MAKE_REG | UINT64_C(1) << 13 | UINT64_C(1) << 14)

int sandbox_landlock(void)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0,
                           LANDLOCK_CREATE_RULESET_VERSION);
    return version > 0 ? (int)version : 0;
}

static struct landlock_rights rights_of(int version, enum sandbox_kind kind)
{
    struct landlock_rights r = {.files = FILES_V1};
    if (version >= 2)
        r.files = FILES_V2;
    if (version >= 3)
        r.files = FILES_V3;
    if (version >= 4)
        r.tcp = TCP_ALL;
    if (version >= 5)
        r.files = FILES_V5;
    if (version >= 6 && kind == SANDBOX_NET) /* net is not below the store */
        r.scope = SCOPES;
    return r;
}

static size_t rights_size(int version)
{
    if (version >= 6)
        return sizeof(struct landlock_rights);
    return version >= 4 ? offsetof(struct landlock_rights, scope)
                        : offsetof(struct landlock_rights, tcp);
}

static enum err allow_folder(int rules, const char *folder, uint64_t rights,
                             struct problem *p)
{
    struct landlock_path_beneath_attr below = {
        .allowed_access = rights,
        .parent_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC)};
    if (below.parent_fd < 0)
        return problem_system(p, "cannot open %s", folder);
    enum err err = OK;
    if (syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH,
                &below, 0U) != 0)
        err = problem_system(p, "cannot keep %s in the sandbox", folder);
    (void)close(below.parent_fd);
    return err;
}

/* Version 4; older headers lack it. */
#define RULE_PORT   2U
#define TCP_CONNECT (UINT64_C(1) << 1)
struct landlock_port {
    uint64_t allowed;
    uint64_t port;
};

static enum err allow_port(int rules, uint16_t port, struct problem *p)
{
    const struct landlock_port rule = {TCP_CONNECT, port};
    if (syscall(SYS_landlock_add_rule, rules, RULE_PORT, &rule, 0U) != 0)
        return problem_system(p, "cannot keep port %u in the sandbox",
                              (unsigned)port);
    return OK;
}

static enum err without_landlock(enum sandbox_kind kind)
{
    if (kind != SANDBOX_NET) /* seccomp keeps net from files, but not this */
        log_warn("sandbox: this kernel has no Landlock, so the store is kept "
                 "to its folder by its user's rights alone");
    return OK;
}

static enum err restrict_files(const struct sandbox *s, struct problem *p)
{
    int version = sandbox_landlock();
    if (version == 0)
        return without_landlock(s->kind);
    const struct landlock_rights all = rights_of(version, s->kind);
    int rules = (int)syscall(SYS_landlock_create_ruleset, &all,
                             rights_size(version), 0U);
    if (rules < 0)
        return problem_system(p, "cannot set up the sandbox");
    enum err err = OK;
    if (s->folder != NULL)
        err = allow_folder(rules, s->folder, FILES_STORE & all.files, p);
    for (size_t i = 0; err == OK && i < SANDBOX_READ_MAX && s->read[i] != NULL;
         i++)
        err = allow_folder(rules, s->read[i], LANDLOCK_ACCESS_FS_READ_FILE, p);
    for (size_t i = 0;
         err == OK && all.tcp != 0 && i < SANDBOX_PORTS_MAX && s->ports[i] != 0;
         i++)
        err = allow_port(rules, s->ports[i], p);
    if (err == OK && syscall(SYS_landlock_restrict_self, rules, 0U) != 0)
        err = problem_system(p, "cannot enter the sandbox");
    (void)close(rules);
    return err;
}

/* ---- seccomp ---- */

/* Of a loop over sockets, and of the C library. */
static const int calls_both[] = {
    SCMP_SYS(brk),          SCMP_SYS(clock_gettime),
    SCMP_SYS(close),        SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_pwait),  SCMP_SYS(epoll_wait),
    SCMP_SYS(exit),         SCMP_SYS(exit_group),
    SCMP_SYS(futex),        SCMP_SYS(getpid),
    SCMP_SYS(getrandom),    SCMP_SYS(getsockopt),
    SCMP_SYS(gettid),       SCMP_SYS(gettimeofday),
    SCMP_SYS(madvise),      SCMP_SYS(mremap),
    SCMP_SYS(munmap),       SCMP_SYS(read),
    SCMP_SYS(readv),        SCMP_SYS(recvfrom),
    SCMP_SYS(recvmsg),      SCMP_SYS(restart_syscall),
    SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn), SCMP_SYS(sendmsg),
    SCMP_SYS(sendto),       SCMP_SYS(setsockopt),
    SCMP_SYS(shutdown),     SCMP_SYS(sysinfo),
    SCMP_SYS(write),        SCMP_SYS(writev),
};

static const int calls_net[] = {
    SCMP_SYS(accept4), SCMP_SYS(getpeername), SCMP_SYS(getsockname),
    SCMP_SYS(pread64), /* of what it has open: process_memory */
};

/* Of SQLite (that sleeps while another process has the lock), of the folder of
 * blobs, and to see net's end. */
static const int calls_store[] = {
    SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep),  SCMP_SYS(access),
    SCMP_SYS(faccessat),       SCMP_SYS(faccessat2), SCMP_SYS(fallocate),
    SCMP_SYS(fchmod),          SCMP_SYS(fchown),     SCMP_SYS(fcntl),
    SCMP_SYS(fdatasync),       SCMP_SYS(flock),      SCMP_SYS(fstat),
    SCMP_SYS(fsync),           SCMP_SYS(ftruncate),  SCMP_SYS(getcwd),
    SCMP_SYS(getdents64),      SCMP_SYS(geteuid),    SCMP_SYS(getuid),
    SCMP_SYS(lseek),           SCMP_SYS(lstat),      SCMP_SYS(mkdir),
    SCMP_SYS(mkdirat),         SCMP_SYS(newfstatat), SCMP_SYS(open),
    SCMP_SYS(openat),          SCMP_SYS(poll),       SCMP_SYS(ppoll),
    SCMP_SYS(pread64),         SCMP_SYS(pwrite64),   SCMP_SYS(readlink),
    SCMP_SYS(readlinkat),      SCMP_SYS(rename),     SCMP_SYS(renameat),
    SCMP_SYS(renameat2),       SCMP_SYS(rmdir),      SCMP_SYS(stat),
    SCMP_SYS(statfs),          SCMP_SYS(fstatfs),    SCMP_SYS(statx),
    SCMP_SYS(unlink),          SCMP_SYS(unlinkat),   SCMP_SYS(wait4),
    SCMP_SYS(waitid),
};

/* Of libpq, to connect again. */
static const int calls_database[] = {
    SCMP_SYS(connect),
    SCMP_SYS(getsockname),
    SCMP_SYS(getpeername),
};

static int allow_all(scmp_filter_ctx filter, const int *calls, size_t count)
{
    int failed = 0;
    for (size_t i = 0; failed == 0 && i < count; i++)
        failed = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 0);
    return failed;
}
#define ALLOW(filter, calls) \
    allow_all(filter, calls, sizeof(calls) / sizeof((calls)[0]))

/* Memory that is never a program; signals to ourselves (abort) and children. */
static int allow_bounded(scmp_filter_ctx filter, const struct sandbox *s)
{
    const struct scmp_arg_cmp no_code =
        SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0);
    const struct scmp_arg_cmp own =
        SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid());
    int failed =
        seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, no_code);
    if (failed == 0)
        failed = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1,
                                  no_code);
    if (failed == 0)
        failed =
            seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, own);
    for (size_t i = 0; failed == 0 && i < s->child_count; i++)
        failed = seccomp_rule_add(
            filter, SCMP_ACT_ALLOW, SCMP_SYS(kill), 1,
            SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)s->children[i]));
    return failed;
}

/* Streams, local or of the internet. */
static int allow_streams(scmp_filter_ctx filter)
{
    static const unsigned families[] = {AF_UNIX, AF_INET, AF_INET6};
    const scmp_datum_t type = ~(scmp_datum_t)(SOCK_CLOEXEC | SOCK_NONBLOCK);
    int failed = ALLOW(filter, calls_database);
    for (size_t i = 0; failed == 0 && i < sizeof families / sizeof families[0];
         i++)
        failed =
            seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 2,
                             SCMP_A0(SCMP_CMP_EQ, families[i]),
                             SCMP_A1(SCMP_CMP_MASKED_EQ, type, SOCK_STREAM));
    return failed;
}

static enum err restrict_calls(const struct sandbox *s, struct problem *p)
{
    bool net = s->kind == SANDBOX_NET;
    scmp_filter_ctx filter =
        seccomp_init(net ? SCMP_ACT_KILL_PROCESS : SCMP_ACT_ERRNO(EPERM));
    if (filter == NULL)
        return problem_set(p, ERR_NOMEM, PROBLEM_SYSTEM,
                           "out of memory for the sandbox");
    int failed = ALLOW(filter, calls_both);
    if (failed == 0)
        failed = net ? ALLOW(filter, calls_net) : ALLOW(filter, calls_store);
    if (failed == 0 && s->kind == SANDBOX_DATABASE)
        failed = allow_streams(filter);
    if (failed == 0)
        failed = allow_bounded(filter, s);
    if (failed == 0)
        failed = seccomp_load(filter);
    seccomp_release(filter);
    if (failed == 0)
        return OK;
    errno = -failed;
    return problem_system(p, "cannot enter the sandbox: the kernel has no "
                             "seccomp filters for us");
}

enum err sandbox_enter(const struct sandbox *s, struct problem *p)
{
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return problem_system(p, "cannot give up new privileges");
    TRY(restrict_files(s, p));
    return restrict_calls(s, p);
}

#endif
