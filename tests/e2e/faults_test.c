/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can go wrong around the real programs: damaged, locked, old and full
 * stores, wrong keys, another server in the place of the known one. Each time
 * the person is told what happened and what to do, and nothing is lost.
 *
 * Every test begins with a copy of the same folder: a server, and alice and
 * bob, who have talked.
 */
#include "support/people.h"
#include "sys/files.h"
#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOOKS_MAX  100
#define DISK_SIZE  "6m"
#define ALL_PAGES  (1U << 18) /* more than a new profile has */
#define FILE_LIMIT 8192U      /* enough for what a program says */

static struct people town;
static bool mounts_are_own;

/* --- the place --- */

static bool stopped(int signal)
{
    int want = signal == SIGKILL ? 128 + SIGKILL : 0;
    return town.server.pid == 0 || sottod_stop(&town.server, signal) == want;
}

/* Brings everything back to where every test begins; the server runs. */
static bool begin(void)
{
    return stopped(SIGTERM) && people_copy(&town, "kept/data", "data") == OK &&
           people_copy(&town, "kept/alice", "alice") == OK &&
           people_copy(&town, "kept/bob", "bob") == OK &&
           people_serve(&town) == OK;
}

static bool prepare(void)
{
    char path[PEOPLE_PATH_MAX];
    return people_prepare(&town, (const char *[]){"alice", "bob", NULL}) ==
               OK &&
           AS(&town, "alice", "send", "bob", "hello") == 0 &&
           AS(&town, "bob", "recv") == 0 &&
           AS(&town, "bob", "send", "alice", "hello") == 0 &&
           AS(&town, "alice", "recv") == 0 && stopped(SIGTERM) &&
           mkdir(people_path(&town, "kept", path), 0700) == 0 &&
           people_copy(&town, "data", "kept/data") == OK &&
           people_copy(&town, "alice", "kept/alice") == OK &&
           people_copy(&town, "bob", "kept/bob") == OK;
}

static bool sends(const char *who, const char *to, const char *text)
{
    int status = AS(&town, who, "send", to, text);
    if (status != 0)
        printf("# not sent (%d): %s\n", status, town.last.error);
    return status == 0;
}

/* Receives until `words` came; what others do first takes a few moments. */
static bool receives(const char *who, const char *words)
{
    for (int i = 0; i < LOOKS_MAX && AS(&town, who, "recv") == 0; i++)
        if (strstr(town.last.out, words) != NULL)
            return true;
    return people_printed(&town, words);
}

/* How often a text is in the log of `who`. */
static size_t logged(const char *who, const char *with, const char *text)
{
    size_t n = 0;
    if (AS(&town, who, "log", with) != 0)
        return SIZE_MAX;
    for (const char *at = town.last.out; (at = strstr(at, text)) != NULL; at++)
        n++;
    return n;
}

/* Overwrites `len` bytes at `offset`; cuts the file there when `len` is 0. */
static bool damage(const char *name, off_t offset, size_t len)
{
    char path[PEOPLE_PATH_MAX];
    static uint8_t junk[ALL_PAGES];
    memset(junk, 0xa5, sizeof junk);
    int fd = open(people_path(&town, name, path), O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && len <= sizeof junk &&
              (len > 0 ? pwrite(fd, junk, len, offset) == (ssize_t)len
                       : ftruncate(fd, offset) == 0);
    return close(fd) == 0 && ok;
}

/* The only files in a folder are these. */
static bool holds_only(const char *folder, const char *const *names)
{
    char path[PEOPLE_PATH_MAX];
    DIR *d = opendir(people_path(&town, folder, path));
    bool ok = d != NULL;
    for (const struct dirent *e; ok && (e = readdir(d)) != NULL;) {
        bool known = e->d_name[0] == '.';
        for (size_t i = 0; names[i] != NULL; i++)
            known = known || strcmp(names[i], e->d_name) == 0;
        if (!known)
            printf("# left behind in %s: %s\n", folder, e->d_name);
        ok = known;
    }
    if (d != NULL)
        (void)closedir(d);
    return ok;
}

static const char *const profile_files[] = {"client.db", "key", "lock", NULL};
static const char *const data_files[] = {
    "accounts.db", "inboxes.db", "channels.db", "blobs.db", "blobs",
    "lock",        "server.key", "tls.crt",     "tls.key",  NULL};

/* --- the profile --- */

static void a_profile_in_use_is_said(void)
{
    CLEANUP(program_clear) struct program p = {.typing = -1};
    CHECK(begin());
    CHECK_UINT(people_start(&town, &p, "bob",
                            (const char *[]){"recv", "--follow", NULL}),
               OK);
    CHECK(sends("alice", "bob", "are you there"));
    CHECK(program_says(&p, "are you there"));
    CHECK_UINT((unsigned)AS(&town, "bob", "status"), 1);
    CHECK(people_complained(&town, "another sotto uses this profile"));
    CHECK(people_complained(&town, "end it first, or choose another"));
    CHECK(kill(p.pid, SIGKILL) == 0);
    CHECK_UINT((unsigned)program_wait(&p), 128 + SIGKILL);
    CHECK_UINT((unsigned)AS(&town, "bob", "status"), 0); /* no stale lock */
}

static bool write_passphrase(const char *name, const char *text, mode_t mode)
{
    char path[PEOPLE_PATH_MAX];
    return file_write(people_path(&town, name, path), bytes_str(text), NULL) ==
               OK &&
           chmod(path, mode) == 0;
}

static void a_passphrase_opens_its_profile_only(void)
{
    char code[80];
    char right[PEOPLE_PATH_MAX];
    CHECK(begin());
    CHECK(write_passphrase("right", "correct horse\n", 0600));
    CHECK(write_passphrase("wrong", "battery staple\n", 0600));
    CHECK(write_passphrase("open", "correct horse\n", 0644));
    CHECK(write_passphrase("empty", "\n", 0600));
    (void)people_path(&town, "right", right);
    CHECK_UINT(people_invite(&town, code), OK);
    CHECK_UINT((unsigned)AS(&town, "pat", "init", "--server", town.server_name,
                            "--handle", "pat", "--invite", code,
                            "--passphrase-file", right),
               0);
    const struct {
        const char *file;
        int status;
        const char *words;
    } cases[] = {
        {"right", 0, ""},
        {"wrong", 1, "the passphrase is wrong"},
        {"open", 1, "can be read by others: chmod 600 it"},
        {"empty", 2, "holds no passphrase"},
        {"absent", 1, "No such file"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char path[PEOPLE_PATH_MAX];
        CHECK_UINT((unsigned)AS(&town, "pat", "status", "--passphrase-file",
                                people_path(&town, cases[i].file, path)),
                   (unsigned)cases[i].status);
        CHECK(people_complained(&town, cases[i].words));
        CHECK(strstr(town.last.error, "ERROR") == NULL); /* the library's own */
    }
    CHECK_UINT((unsigned)AS(&town, "pat", "status"), 2);
    CHECK(people_complained(&town, "give it with --passphrase-file"));
}

static void a_key_file_must_be_private_and_right(void)
{
    char path[PEOPLE_PATH_MAX];
    CHECK(begin());
    (void)people_path(&town, "bob/key", path);
    CHECK(chmod(path, 0640) == 0);
    CHECK_UINT((unsigned)AS(&town, "bob", "status"), 1);
    CHECK(people_complained(&town, "chmod 600 it"));
    CHECK(chmod(path, 0600) == 0);
    CHECK(damage("bob/key", 0, 1));
    CHECK_UINT((unsigned)AS(&town, "bob", "status"), 1);
    CHECK(people_complained(&town, "restore the folder from a copy"));
    CHECK(damage("bob/key", 7, 0));
    CHECK_UINT((unsigned)AS(&town, "bob", "status"), 1);
    CHECK(people_complained(&town, "restore it from a copy"));
    CHECK(unlink(path) == 0);
    CHECK_UINT((unsigned)AS(&town, "bob", "status"), 1);
    CHECK(people_complained(&town, "has lost its file \"key\""));
    CHECK(access(path, F_OK) != 0); /* no new one was made over it */
}

static void a_damaged_profile_is_said_and_a_copy_helps(void)
{
    const struct {
        off_t offset;
        size_t len; /* 0: cut there */
        const char *words;
    } cases[] = {
        {0, 64, "restore the folder from a copy"}, /* the salt */
        {2000, 1, "restore the folder from a copy"},
        {0, 0, "restore a backup"},
        {1000, 0, "restore the folder from a copy"},
        {20000, 0, "restore a backup"},
        {4096, ALL_PAGES, "restore a backup"}, /* but the first */
    };
    CHECK(begin());
    for (size_t i = 0; i < COUNT(cases); i++) {
        printf("# case %zu\n", i);
        CHECK_UINT(people_copy(&town, "kept/bob", "bob"), OK);
        CHECK(damage("bob/client.db", cases[i].offset, cases[i].len));
        int status = AS(&town, "bob", "log", "alice");
        CHECK(status == 1 || status == 2);
        CHECK(people_complained(&town, cases[i].words));
    }
    CHECK_UINT(people_copy(&town, "kept/bob", "bob"), OK);
    CHECK_UINT((unsigned)AS(&town, "bob", "status"), 0);
}

static void a_profile_from_an_old_copy_comes_back(void)
{
    CHECK(begin());
    CHECK_UINT(people_copy(&town, "bob", "old"), OK);
    CHECK(sends("bob", "alice", "sent once"));
    CHECK(receives("alice", "sent once"));
    CHECK(sends("alice", "bob", "read once"));
    CHECK(receives("bob", "read once"));
    CHECK_UINT(people_copy(&town, "old", "bob"), OK);

    CHECK_UINT((unsigned)AS(&town, "bob", "recv"), 0);
    CHECK(people_printed(&town, "store-old: this profile was restored from an "
                                "old copy"));
    CHECK_UINT(
        (unsigned)AS(&town, "bob", "send", "alice", "waits", "--wait", "1"), 3);
    CHECK(people_complained(&town, "another member"));
    CHECK(people_complained(&town, "queued"));
    CHECK(sends("alice", "bob", "welcome back"));
    CHECK(receives("bob", "rejoined"));
    CHECK(receives("alice", "waits"));
    CHECK(sends("bob", "alice", "and on"));
    CHECK(receives("alice", "and on"));
    CHECK_UINT(logged("alice", "bob", "sent once"), 1);
    CHECK_UINT(logged("alice", "bob", "waits"), 1);
    CHECK_UINT(logged("bob", "alice", "waits"), 1);
}

/* --- the server --- */

static void damaged_server_files_are_found(void)
{
    const struct {
        const char *name;
        off_t offset;
        size_t len;
        const char *words;
    } cases[] = {
        {"data/accounts.db", 0, 0, "accounts.db"},
        {"data/accounts.db", 4096, 4096, "accounts.db"},
        {"data/channels.db", 0, 100, "channels.db"},
        {"data/channels.db", 8192, 4096, "channels.db"},
        {"data/inboxes.db", 4096, 0, "inboxes.db"},
        {"data/blobs.db", 4096, 4096, "blobs.db"},
        {"data/server.key", 31, 0, "server.key"},
    };
    char path[PEOPLE_PATH_MAX];
    for (size_t i = 0; i < COUNT(cases); i++) {
        printf("# case %zu: %s\n", i, cases[i].name);
        CHECK(begin());
        CHECK(stopped(SIGTERM));
        CHECK_UINT((unsigned)people_server_run(&town, "check"), 0);
        CHECK(damage(cases[i].name, cases[i].offset, cases[i].len));
        CHECK_UINT((unsigned)people_server_run(&town, "check"), 1);
        CHECK(people_complained(&town, cases[i].words));
        CHECK(people_complained(&town, "restore"));
        /* A server that begins anew would forget everybody in silence. */
        CHECK(unlink(people_path(&town, cases[i].name, path)) == 0);
        CHECK(people_serve(&town) != OK);
        CHECK(strstr(town.server.output, "restore") != NULL);
    }
}

static void a_server_from_an_old_copy_is_noticed(void)
{
    CHECK(begin());
    CHECK_UINT(people_copy(&town, "data", "old"), OK);
    CHECK(sends("alice", "bob", "lost by the server"));
    CHECK(receives("bob", "lost by the server"));
    CHECK(stopped(SIGTERM));
    CHECK_UINT(people_copy(&town, "old", "data"), OK);
    CHECK_UINT(people_serve(&town), OK);
    CHECK_UINT((unsigned)AS(&town, "alice", "recv"), 0);
    CHECK(people_complained(&town, "restored from an old copy"));
    CHECK(people_printed(&town, "begin a new conversation"));
    CHECK(sends("alice", "bob", "in the new one"));
    CHECK(receives("bob", "in the new one"));
    CHECK(sends("bob", "alice", "heard"));
    CHECK(receives("alice", "heard"));
    CHECK_UINT(logged("bob", "alice", "in the new one"), 1);
}

static void another_server_in_its_place_gets_nothing(void)
{
    CLEANUP(sottod_clear) struct sottod other = {.out = -1};
    CHECK(begin());
    CHECK(stopped(SIGTERM));
    CHECK_UINT(sottod_prepare(&other), OK);
    CHECK_UINT(
        sottod_start(&other, (const char *[]){"--listen", town.listen, NULL}),
        OK);
    CHECK_UINT((unsigned)AS(&town, "alice", "send", "bob", "for bob only"), 3);
    CHECK(people_complained(&town, "has another key"));
    CHECK(people_complained(&town, "queued"));
    CHECK_UINT((unsigned)AS(&town, "alice", "recv"), 1);
    CHECK(people_complained(&town, "has another key"));
    CHECK_UINT((unsigned)sottod_stop(&other, SIGTERM), 0);
    CHECK_UINT(people_serve(&town), OK);
    CHECK_UINT((unsigned)AS(&town, "alice", "recv"), 0);
    CHECK(receives("bob", "for bob only"));
    CHECK_UINT(logged("bob", "alice", "for bob only"), 1);
}

static void without_a_server_messages_wait(void)
{
    CHECK(begin());
    CHECK(stopped(SIGKILL));
    CHECK_UINT((unsigned)AS(&town, "alice", "send", "bob", "patience"), 3);
    CHECK(people_complained(&town, "Connection refused"));
    CHECK(people_complained(&town, town.server_name));
    CHECK(people_complained(&town, "queued"));
    CHECK_UINT((unsigned)AS(&town, "alice", "status"), 0);
    CHECK(people_printed(&town, "ready, offline\nqueued   1"));
    CHECK_UINT((unsigned)AS(&town, "bob", "recv"), 1);
    CHECK(people_complained(&town, "Connection refused"));
    CHECK_UINT(people_serve(&town), OK);
    CHECK_UINT((unsigned)AS(&town, "alice", "recv"), 0);
    CHECK(receives("bob", "patience"));
    CHECK_UINT(logged("bob", "alice", "patience"), 1);
}

static void a_signal_leaves_nothing_behind(void)
{
    CLEANUP(program_clear) struct program p = {.typing = -1};
    CHECK(begin());
    CHECK_UINT(
        people_start(&town, &p, "bob", (const char *[]){"chat", "alice", NULL}),
        OK);
    CHECK(sends("alice", "bob", "last words"));
    CHECK(program_says(&p, "last words"));
    CHECK(kill(p.pid, SIGTERM) == 0);
    CHECK_UINT((unsigned)program_wait(&p), 0);
    CHECK(stopped(SIGTERM));
    CHECK(holds_only("bob", profile_files));
    CHECK(holds_only("alice", profile_files));
    CHECK(holds_only("data", data_files));
}

/* --- a full disk --- */

static bool tell_kernel(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        (void)close(fd);
    return ok;
}

/* Mounts of this process and its children only, so that none stays behind. Who
 * is not root may have them in a name space of users of its own. */
static bool own_mounts(void)
{
    char users[64];
    char groups[64];
    uid_t uid = geteuid();
    gid_t gid = getegid();
    (void)snprintf(users, sizeof users, "%u %u 1", uid, uid);
    (void)snprintf(groups, sizeof groups, "%u %u 1", gid, gid);
    if (unshare(uid == 0 ? CLONE_NEWNS : CLONE_NEWNS | CLONE_NEWUSER) != 0)
        return false;
    if (uid != 0 && (!tell_kernel("/proc/self/uid_map", users) ||
                     !tell_kernel("/proc/self/setgroups", "deny") ||
                     !tell_kernel("/proc/self/gid_map", groups)))
        return false;
    return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

/* A small disk of its own at `name`, with what was there. Where no disk can be
 * had, a limit of the file size stands for a full one. */
struct disk {
    const char *name;
    pid_t pid; /* whom the limit is for; 0: the programs started later */
    bool real;
};

static bool disk_make(struct disk *d)
{
    char path[PEOPLE_PATH_MAX];
    if (people_copy(&town, d->name, "moved") != OK)
        return false;
    d->real = mounts_are_own &&
              mount("tmpfs", people_path(&town, d->name, path), "tmpfs",
                    MS_NOSUID | MS_NODEV, "mode=700,size=" DISK_SIZE) == 0;
    if (!d->real) {
        printf("# no disk: a limit of the file size instead\n");
        return true;
    }
    const char *const argv[] = {
        "/bin/sh",       "-c", "cp -r --preserve=mode \"$0\"/moved/. \"$1\"",
        town.server.dir, path, NULL};
    return program_run(&town.last, argv, (struct bytes){0}) == 0;
}

static bool disk_fill(const struct disk *d)
{
    char path[PEOPLE_PATH_MAX];
    static const uint8_t block[4096];
    const struct rlimit limit = {FILE_LIMIT, RLIM_INFINITY};
    if (!d->real)
        return prlimit(d->pid, RLIMIT_FSIZE, &limit, NULL) == 0;
    (void)snprintf(path, sizeof path, "%s/%s/fill", town.server.dir, d->name);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    while (write(fd, block, sizeof block) > 0)
        ;
    return close(fd) == 0;
}

static bool disk_free(const struct disk *d)
{
    char path[PEOPLE_PATH_MAX];
    const struct rlimit none = {RLIM_INFINITY, RLIM_INFINITY};
    (void)snprintf(path, sizeof path, "%s/%s/fill", town.server.dir, d->name);
    return d->real ? unlink(path) == 0
                   : prlimit(d->pid, RLIMIT_FSIZE, &none, NULL) == 0;
}

static void disk_clear(struct disk *d)
{
    char path[PEOPLE_PATH_MAX];
    (void)disk_free(d);
    (void)stopped(SIGTERM);
    if (d->real)
        (void)umount2(people_path(&town, d->name, path), MNT_DETACH);
}

static void a_full_disk_of_the_client_loses_nothing(void)
{
    CHECK(begin());
    CLEANUP(disk_clear) struct disk disk = {.name = "bob"};
    CHECK(disk_make(&disk));
    CHECK(sends("alice", "bob", "for later"));
    CHECK(disk_fill(&disk));
    const struct {
        const char *args[4];
    } commands[] = {{{"recv"}}, {{"send", "alice", "no room"}}};
    for (size_t i = 0; i < COUNT(commands); i++) {
        CHECK_UINT((unsigned)people_run(&town, "bob", commands[i].args, NULL),
                   1);
        CHECK(people_complained(&town, "client.db"));
        CHECK(!disk.real || people_complained(&town, "free some space"));
    }
    CHECK(disk_free(&disk));
    CHECK(receives("bob", "for later"));
    CHECK(sends("bob", "alice", "room again"));
    CHECK(receives("alice", "room again"));
    CHECK_UINT(logged("bob", "alice", "for later"), 1);
    CHECK_UINT(logged("alice", "bob", "no room"), 0); /* it was told so */
}

static void a_full_disk_of_the_server_loses_nothing(void)
{
    char text[16];
    int sent = 0;
    CHECK(begin() && stopped(SIGTERM));
    CLEANUP(disk_clear) struct disk disk = {.name = "data"};
    CHECK(disk_make(&disk));
    CHECK_UINT(people_serve(&town), OK);
    disk.pid = town.server.pid;
    CHECK(disk_fill(&disk));
    int status = 0;
    for (; status == 0 && sent < 100; sent++) {
        (void)snprintf(text, sizeof text, "number %d.", sent);
        status = AS(&town, "alice", "send", "bob", text, "--wait", "1");
    }
    CHECK_UINT((unsigned)status, 3);
    CHECK(people_complained(&town, "queued"));
    sottod_listen(&town.server);
    CHECK(strstr(town.server.output, "cannot write") != NULL);
    CHECK(!disk.real || strstr(town.server.output, "free some space") != NULL);
    CHECK(disk_free(&disk));
    CHECK_UINT((unsigned)AS(&town, "alice", "recv"), 0);
    CHECK_UINT((unsigned)AS(&town, "bob", "recv"), 0);
    for (int i = 0; i < sent; i++) {
        (void)snprintf(text, sizeof text, "number %d.", i);
        CHECK_UINT(logged("bob", "alice", text), 1);
    }
    CHECK(stopped(SIGTERM));
    CHECK_UINT((unsigned)people_server_run(&town, "check"), 0);
}

static const struct test tests[] = {
    TEST(a_profile_in_use_is_said),
    TEST(a_passphrase_opens_its_profile_only),
    TEST(a_key_file_must_be_private_and_right),
    TEST(a_damaged_profile_is_said_and_a_copy_helps),
    TEST(a_profile_from_an_old_copy_comes_back),
    TEST(damaged_server_files_are_found),
    TEST(a_server_from_an_old_copy_is_noticed),
    TEST(another_server_in_its_place_gets_nothing),
    TEST(without_a_server_messages_wait),
    TEST(a_signal_leaves_nothing_behind),
    TEST(a_full_disk_of_the_client_loses_nothing),
    TEST(a_full_disk_of_the_server_loses_nothing),
};

int main(void)
{
    int result = 1;
    mounts_are_own = own_mounts();
    if (prepare())
        result = test_run(tests, COUNT(tests));
    else
        printf("Bail out! no server or no profiles\n");
    people_clear(&town);
    return result;
}
