/* SPDX-License-Identifier: Apache-2.0 */
#include "served.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <time.h>

#define KIB         1024.0
#define SERVER_CORE 0
#define LOAD_CORE   1

static const char *const options[] = {
    "--no-limits",         "--pow-bits",  "1",
    "--open-registration", "--log-level", "error",
    "--net-processes",     "1",           NULL};

const char *served_place(void)
{
    const char *dir = getenv("BENCH_DIR");
    return dir != NULL ? dir : "/var/tmp";
}

const char *served_file_system(void)
{
    static const struct {
        unsigned long magic;
        const char *name;
    } known[] = {
        {0xef53, "ext4"},          {0x58465342, "xfs"},
        {0x9123683e, "btrfs"},     {0x01021994, "tmpfs (not durable)"},
        {0x794c7630, "overlayfs"}, {0x2fc12fc1, "zfs"},
    };
    struct statfs st;
    if (statfs(served_place(), &st) != 0)
        return "unknown";
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].magic == (unsigned long)st.f_type)
            return known[i].name;
    return "another";
}

static bool pin(pid_t pid, int core)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)core, &set);
    return sched_setaffinity(pid, sizeof set, &set) == 0;
}

enum err served_prepare(struct sottod *s, struct problem *p)
{
    if (getenv("SOTTOD") == NULL)
        return problem_set(p, ERR_NOTFOUND, PROBLEM_USAGE,
                           "$SOTTOD must name the server's program");
    enum err err = sottod_prepare_in(s, served_place());
    if (err != OK)
        return problem_set(p, err, PROBLEM_SYSTEM, "cannot make a folder in %s",
                           served_place());
    return OK;
}

enum err served_start(struct sottod *s, struct problem *p)
{
    enum err err = sottod_start(s, options);
    if (err != OK)
        return problem_set(p, err, PROBLEM_SYSTEM,
                           "cannot start the server in %s: %.100s",
                           served_place(), s->output);
    /* PostgreSQL has the first core for itself */
    int core = getenv("SOTTO_TEST_STORE") != NULL ? LOAD_CORE : SERVER_CORE;
    if (!pin(s->pid, core) || !pin(s->net_pid, core) || !pin(0, LOAD_CORE))
        printf("# the processes share their cores\n");
    return OK;
}

/* Seconds of processor time that a process has used. */
double served_cpu(pid_t pid)
{
    clockid_t clock = 0;
    struct timespec t = {0};
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) != 0)
        return 0;
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Bytes of memory that are the process's own. */
double served_memory(pid_t pid)
{
    static const char label[] = "RssAnon:";
    char path[64];
    char line[256];
    double bytes = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return 0;
    while (fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, label, sizeof label - 1) == 0)
            bytes = strtod(line + sizeof label - 1, NULL) * KIB;
    (void)fclose(f);
    return bytes;
}
