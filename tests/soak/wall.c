/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded into the server by soak.py: the wall clock is ahead by as many
 * seconds as the file $SOAK_WALL holds, an int64_t that may change at any time.
 * The file is mapped before the server locks itself in, and its processes share
 * the mapping. The clock that timers go by stays as it is, as when an operator
 * sets the date.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

typedef int clock_function(clockid_t clock, struct timespec *out);

static const volatile int64_t *ahead;
static clock_function *real;

/* Whatever is wrong here, the test must not pass for it. */
__attribute__((constructor)) static void map_wall(void)
{
    if (ahead != NULL)
        return;
    const char *path = getenv("SOAK_WALL");
    int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *map = fd >= 0
                    ? mmap(NULL, sizeof *ahead, PROT_READ, MAP_SHARED, fd, 0)
                    : MAP_FAILED;
    *(void **)&real = dlsym(RTLD_NEXT, "clock_gettime");
    if (map == MAP_FAILED || real == NULL)
        abort();
    (void)close(fd);
    ahead = map;
}

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name) */
__attribute__((visibility("default"))) int clock_gettime(clockid_t clock,
                                                         struct timespec *out)
{
    map_wall(); /* another library's constructor may have come first */
    int status = real(clock, out);
    if (status == 0 && clock == CLOCK_REALTIME)
        out->tv_sec += *ahead;
    return status;
}
