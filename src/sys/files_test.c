/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/files.h"

#include "test.h"

#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY 65534

/* A folder for one test; removed with the files that a test makes. */
struct place {
    char folder[64];
    char file[FILE_PATH_MAX];
};

static struct place place_new(void)
{
    struct place p = {.folder = "/tmp/sotto-files-XXXXXX"};
    if (mkdtemp(p.folder) == NULL ||
        file_path(p.folder, "x", p.file, NULL) != OK)
        p.folder[0] = '\0';
    return p;
}

static void place_clear(struct place *p)
{
    (void)unlink(p->file);
    (void)rmdir(p->folder);
}

static unsigned mode_of(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 ? s.st_mode & 07777U : 0;
}

static void reads_what_it_wrote_and_replaces_it(void)
{
    CLEANUP(place_clear) struct place p = place_new();
    CLEANUP(buf_clear) struct buf b = buf_new(100);
    CHECK_UINT(file_write(p.file, LIT("first"), NULL), OK);
    CHECK_UINT(file_write(p.file, LIT("2nd"), NULL), OK);
    CHECK_UINT(mode_of(p.file), 0600);
    CHECK_UINT(file_read_private(p.file, &b, NULL), OK);
    CHECK_BYTES(buf_bytes(&b), LIT("2nd"));
    (void)unlink(p.file);
    CHECK(rmdir(p.folder) == 0); /* no temporary file is left */
}

static void says_why_a_file_does_not_open(void)
{
    CLEANUP(place_clear) struct place p = place_new();
    CLEANUP(buf_clear) struct buf b = buf_new(100);
    struct problem why = {0};
    CHECK_UINT(file_read(p.file, &b, &why), ERR_NOTFOUND);
    CHECK(!file_exists(p.file));
    CHECK_UINT(file_write(p.file, LIT("12345678"), NULL), OK);
    CHECK(file_exists(p.file));

    CLEANUP(buf_clear) struct buf small = buf_new(7);
    CHECK_UINT(file_read(p.file, &small, &why), ERR_LIMIT);
    CHECK_UINT(small.len, 0);

    CHECK_UINT(file_read(p.folder, &b, &why), ERR_IO);
    CHECK_UINT(file_write("/proc/nowhere", LIT("x"), &why), ERR_IO);
    CHECK(why.sys != 0);
}

static void refuses_keys_that_others_can_read(void)
{
    CLEANUP(place_clear) struct place p = place_new();
    CLEANUP(buf_clear) struct buf b = buf_new(100);
    struct problem why = {0};
    CHECK_UINT(file_write(p.file, LIT("key"), NULL), OK);
    CHECK(chmod(p.file, 0640) == 0);
    CHECK_UINT(file_read_private(p.file, &b, &why), ERR_IO);
    CHECK_UINT(why.kind, PROBLEM_PERMISSION);
    CHECK_UINT(file_read(p.file, &b, &why), OK);
}

/* How it goes for another user, whose group may read the file. */
static int read_as_another(const char *file, mode_t mode)
{
    int status = -1;
    pid_t pid = fork();
    if (pid == 0) {
        struct buf b = buf_new(100);
        if (chown(file, 0, NOBODY) != 0 || chmod(file, mode) != 0 ||
            setgroups(0, NULL) != 0 || setgid(NOBODY) != 0 ||
            setuid(NOBODY) != 0)
            _exit(100);
        _exit((int)file_read_private(file, &b, NULL));
    }
    return waitpid(pid, &status, 0) == pid && WIFEXITED(status)
               ? WEXITSTATUS(status)
               : -1;
}

static void a_group_may_read_what_root_gave_it(void)
{
    CLEANUP(place_clear) struct place p = place_new();
    if (geteuid() != 0)
        return; /* only root can try it */
    CHECK_UINT(file_write(p.file, LIT("x"), NULL), OK);
    CHECK(chmod(p.folder, 0711) == 0);
    CHECK_UINT((unsigned)read_as_another(p.file, 0640), OK);
    CHECK_UINT((unsigned)read_as_another(p.file, 0660), ERR_IO);
    CHECK_UINT((unsigned)read_as_another(p.file, 0644), ERR_IO);
}

static void makes_private_folders_only(void)
{
    CLEANUP(place_clear) struct place p = place_new();
    struct problem why = {0};
    CHECK_UINT(file_folder(p.file, &why), OK);
    CHECK_UINT(mode_of(p.file), 0700);
    CHECK_UINT(file_folder(p.file, &why), OK);
    CHECK(chmod(p.file, 0750) == 0);
    CHECK_UINT(file_folder(p.file, &why), ERR_IO);
    CHECK_UINT(why.kind, PROBLEM_PERMISSION);
    CHECK(rmdir(p.file) == 0);
    CHECK_UINT(file_write(p.file, LIT("x"), NULL), OK);
    CHECK_UINT(file_folder(p.file, &why), ERR_EXISTS);
}

static void a_lock_has_one_holder(void)
{
    CLEANUP(place_clear) struct place p = place_new();
    CLEANUP(file_lock_release) struct file_lock lock = {0};
    struct file_lock second = {0};
    struct problem why = {0};
    CHECK_UINT(file_lock_take(p.file, &lock, &why), OK);
    CHECK_UINT(file_lock_take(p.file, &second, &why), ERR_EXISTS);
    CHECK_UINT(why.kind, PROBLEM_LOCKED);
    file_lock_release(&lock);
    CHECK_UINT(file_lock_take(p.file, &lock, &why), OK);
}

static void a_lock_ends_with_its_process(void)
{
    CLEANUP(place_clear) struct place p = place_new();
    CLEANUP(file_lock_release) struct file_lock lock = {0};
    pid_t pid = fork();
    if (pid == 0)
        _exit(file_lock_take(p.file, &lock, NULL) == OK ? 0 : 1);
    int status = 1;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK_UINT((unsigned)status, 0);
    CHECK_UINT(file_lock_take(p.file, &lock, NULL), OK);
}

static const struct test tests[] = {
    TEST(reads_what_it_wrote_and_replaces_it),
    TEST(says_why_a_file_does_not_open),
    TEST(refuses_keys_that_others_can_read),
    TEST(a_group_may_read_what_root_gave_it),
    TEST(makes_private_folders_only),
    TEST(a_lock_has_one_holder),
    TEST(a_lock_ends_with_its_process),
};
TEST_MAIN(tests)
