/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/process.h"

#include "test.h"

#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 5000

static int echo_once(void *ctx, int socket)
{
    struct pollfd wait = {.fd = socket, .events = POLLIN};
    char c = 0;
    (void)ctx;
    if (poll(&wait, 1, PATIENCE_MS) != 1 || read(socket, &c, 1) != 1)
        return 1;
    return write(socket, &c, 1) == 1 ? c : 1;
}

/* Ends when its parent's end of the socket closes. */
static int wait_for_parent(void *ctx, int socket)
{
    struct pollfd wait = {.fd = socket, .events = POLLIN};
    char c = 0;
    (void)ctx;
    if (poll(&wait, 1, PATIENCE_MS) != 1)
        return 1;
    return read(socket, &c, 1) == 0 ? 7 : 1;
}

static int die_of_a_signal(void *ctx, int socket)
{
    (void)ctx;
    (void)socket;
    (void)raise(SIGKILL);
    return 0;
}

static int harden(void *ctx, int socket)
{
    struct rlimit core = {1, 1};
    (void)ctx;
    (void)socket;
    if (process_harden(NULL) != OK)
        return 1;
    if (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0)
        return 2;
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
        return 3;
    if (getrlimit(RLIMIT_CORE, &core) != 0 || core.rlim_max != 0)
        return 4;
    return 0;
}

static void talks_to_its_child_and_gets_its_status(void)
{
    CLEANUP(process_end) struct child child = {0};
    CHECK_UINT(process_spawn(echo_once, NULL, &child, NULL), OK);
    int status = -1;
    CHECK_UINT(process_wait(&child, 0, &status), ERR_STATE);
    char c = 42;
    CHECK(write(child.socket, &c, 1) == 1);
    CHECK_UINT(process_wait(&child, PATIENCE_MS, &status), OK);
    CHECK_UINT((unsigned)status, 42);
    CHECK_UINT((unsigned)child.pid, 0);
}

static void a_child_sees_its_parent_go(void)
{
    CLEANUP(process_end) struct child child = {0};
    CHECK_UINT(process_spawn(wait_for_parent, NULL, &child, NULL), OK);
    (void)close(child.socket);
    child.socket = -1;
    int status = -1;
    CHECK_UINT(process_wait(&child, PATIENCE_MS, &status), OK);
    CHECK_UINT((unsigned)status, 7);
}

static void a_parent_sees_its_child_go(void)
{
    CLEANUP(process_end) struct child child = {0};
    CHECK_UINT(process_spawn(die_of_a_signal, NULL, &child, NULL), OK);
    struct pollfd wait = {.fd = child.socket, .events = POLLIN};
    char c = 0;
    CHECK(poll(&wait, 1, PATIENCE_MS) == 1);
    CHECK(read(child.socket, &c, 1) == 0);
    int status = -1;
    CHECK_UINT(process_wait(&child, PATIENCE_MS, &status), OK);
    CHECK_UINT((unsigned)status, 128 + SIGKILL);
}

static void ends_a_child_that_does_not_end(void)
{
    struct child child = {0};
    CHECK_UINT(process_spawn(wait_for_parent, NULL, &child, NULL), OK);
    pid_t pid = child.pid;
    process_end(&child);
    CHECK(kill(pid, 0) != 0);
    process_end(&child); /* does nothing */
}

static void hardening_closes_memory_to_others(void)
{
    CLEANUP(process_end) struct child child = {0};
    CHECK_UINT(process_spawn(harden, NULL, &child, NULL), OK);
    int status = -1;
    CHECK_UINT(process_wait(&child, PATIENCE_MS, &status), OK);
    CHECK_UINT((unsigned)status, 0);
}

static void raises_the_limit_of_descriptors(void)
{
    struct rlimit limit = {0, 0};
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    CHECK_UINT(process_descriptors(), limit.rlim_max);
}

static void tells_how_much_memory_is_in_use(void)
{
    const size_t size = 32U << 20;
    int fd = process_memory_open();
    uint64_t before = process_memory(fd);
    void *block = mmap(NULL, size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    uint64_t with = process_memory(fd);
    if (block != MAP_FAILED)
        (void)munmap(block, size);
    uint64_t after = process_memory(fd);
    (void)close(fd);
    CHECK(before > 0 && block != MAP_FAILED);
    CHECK(with - before > size / 2 && with - before < 2 * size);
    CHECK(with - after > size / 2);
    CHECK_UINT(process_memory(-1), 0);
}

static const struct test tests[] = {
    TEST(tells_how_much_memory_is_in_use),
    TEST(talks_to_its_child_and_gets_its_status),
    TEST(a_child_sees_its_parent_go),
    TEST(a_parent_sees_its_child_go),
    TEST(ends_a_child_that_does_not_end),
    TEST(hardening_closes_memory_to_others),
    TEST(raises_the_limit_of_descriptors),
};
TEST_MAIN(tests)
