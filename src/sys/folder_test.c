/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/folder.h"

#include "sys/files.h"
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A place with a folder "a" that has a file and a folder with another. */
struct place {
    char root[64];
    char a[FILE_PATH_MAX];
    char b[FILE_PATH_MAX];
};

static void place_clear(struct place *p)
{
    folder_remove(p->a);
    folder_remove(p->b);
    folder_remove(p->root);
}

/* A path below another one; the last four are kept. */
static const char *in(const char *folder, const char *name)
{
    static char paths[4][FILE_PATH_MAX];
    static unsigned next;
    char *path = paths[next++ % COUNT(paths)];
    if (file_path(folder, name, path, NULL) != OK)
        path[0] = '\0';
    return path;
}

static struct place place_new(void)
{
    struct place p = {.root = "/tmp/sotto-folder-XXXXXX"};
    if (mkdtemp(p.root) == NULL || file_path(p.root, "a", p.a, NULL) != OK ||
        file_path(p.root, "b", p.b, NULL) != OK || mkdir(p.a, 0700) != 0 ||
        mkdir(in(p.a, "blobs"), 0700) != 0 ||
        file_write(in(p.a, "one"), LIT("1"), NULL) != OK ||
        file_write(in(p.a, "blobs/two"), LIT("22"), NULL) != OK)
        p.root[0] = '\0';
    return p;
}

static bool holds(const char *path, struct bytes want)
{
    CLEANUP(buf_clear) struct buf b = buf_new(1U << 20);
    return file_read(path, &b, NULL) == OK && bytes_equal(buf_bytes(&b), want);
}

static ino_t inode(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 ? s.st_ino : 0;
}

static bool any_but_lock(const char *name) { return strcmp(name, "lock") != 0; }

static void note(void *ctx, uint64_t files) { *(uint64_t *)ctx = files; }

static void copies_files_and_a_folder_in_a_folder(void)
{
    CLEANUP(place_clear) struct place p = place_new();
    uint64_t files = 0;
    const struct folder_copy how = {any_but_lock, note, &files};
    struct stat s;
    CHECK(p.root[0] != '\0');
    CHECK_UINT(file_write(in(p.a, "lock"), LIT("x"), NULL), OK);
    CHECK(chmod(in(p.a, "one"), 0644) == 0);
    CHECK(mkdir(p.b, 0700) == 0);
    CHECK_UINT(folder_copy(p.a, p.b, &how, NULL), OK);
    CHECK(holds(in(p.b, "one"), LIT("1")));
    CHECK(holds(in(p.b, "blobs/two"), LIT("22")));
    CHECK(!file_exists(in(p.b, "lock")));
    CHECK_UINT(files, 2);
    CHECK(stat(in(p.b, "one"), &s) == 0 && (s.st_mode & 07777) == 0600);
    CHECK(inode(in(p.a, "one")) != inode(in(p.b, "one")));
}

static void copies_a_part_and_shares_a_whole(void)
{
    CLEANUP(place_clear) struct place p = place_new();
    static uint8_t large[300000];
    memset(large, 7, sizeof large);
    CHECK(p.root[0] != '\0');
    CHECK_UINT(file_write(in(p.a, "large"), BYTES_ARRAY(large), NULL), OK);
    CHECK_UINT(file_copy(in(p.a, "large"), in(p.a, "part"), 200001, NULL), OK);
    CHECK(holds(in(p.a, "part"), (struct bytes){large, 200001}));
    CHECK_UINT(file_link(in(p.a, "large"), in(p.a, "link"), NULL), OK);
    CHECK_UINT(inode(in(p.a, "large")), inode(in(p.a, "link")));
}

/* /proc is another file system. */
static void copies_where_a_link_cannot_be(void)
{
    CLEANUP(place_clear) struct place p = place_new();
    CLEANUP(buf_clear) struct buf b = buf_new(4096);
    CHECK(p.root[0] != '\0');
    CHECK_UINT(file_link("/proc/self/comm", in(p.a, "comm"), NULL), OK);
    CHECK_UINT(file_read(in(p.a, "comm"), &b, NULL), OK);
    CHECK(b.len > 0);
}

static void refuses_what_is_there_and_what_is_not(void)
{
    CLEANUP(place_clear) struct place p = place_new();
    struct problem why = {0};
    CHECK(p.root[0] != '\0');
    CHECK_UINT(file_copy(in(p.a, "none"), in(p.a, "x"), 1, &why), ERR_NOTFOUND);
    CHECK_UINT(file_copy(in(p.a, "one"), in(p.a, "blobs/two"), 1, &why),
               ERR_IO);
    CHECK(holds(in(p.a, "blobs/two"), LIT("22")));
    CHECK(symlink("one", in(p.a, "sly")) == 0);
    CHECK_UINT(file_copy(in(p.a, "sly"), in(p.a, "x"), 1, &why), ERR_IO);
    CHECK(!file_exists(in(p.a, "x")));
    CHECK(mkdir(in(p.a, "blobs/deep"), 0700) == 0);
    CHECK(unlink(in(p.a, "sly")) == 0);
    CHECK(mkdir(p.b, 0700) == 0);
    uint64_t files = 0;
    const struct folder_copy how = {any_but_lock, note, &files};
    CHECK_UINT(folder_copy(p.a, p.b, &how, &why), ERR_INVALID);
    CHECK(strstr(why.detail, "deep") != NULL);
    CHECK(rmdir(in(p.a, "blobs/deep")) == 0);
}

static void a_folder_comes_to_an_empty_place_only(void)
{
    CLEANUP(place_clear) struct place p = place_new();
    CHECK(p.root[0] != '\0');
    CHECK(folder_is_empty(p.b));
    CHECK(mkdir(p.b, 0700) == 0);
    CHECK(folder_is_empty(p.b) && !folder_is_empty(p.a));
    CHECK_UINT(file_write(in(p.b, "mine"), LIT("x"), NULL), OK);
    CHECK_UINT(folder_place(p.a, p.b, NULL), ERR_EXISTS);
    CHECK(holds(in(p.b, "mine"), LIT("x")) && holds(in(p.a, "one"), LIT("1")));
    CHECK(unlink(in(p.b, "mine")) == 0);
    CHECK_UINT(folder_place(p.a, p.b, NULL), OK);
    CHECK(holds(in(p.b, "one"), LIT("1")) && !file_exists(p.a));
}

static void two_folders_change_names(void)
{
    CLEANUP(place_clear) struct place p = place_new();
    CHECK(p.root[0] != '\0');
    CHECK(mkdir(p.b, 0700) == 0);
    CHECK_UINT(file_write(in(p.b, "mine"), LIT("x"), NULL), OK);
    CHECK_UINT(folder_exchange(p.a, p.b, in(p.root, "c"), NULL), OK);
    CHECK(holds(in(p.b, "one"), LIT("1")) && holds(in(p.a, "mine"), LIT("x")));
    CHECK(!file_exists(in(p.root, "c")));
    CHECK_UINT(folder_exchange(in(p.root, "no"), p.b, in(p.root, "c"), NULL),
               ERR_IO);
    CHECK(holds(in(p.b, "one"), LIT("1")));
}

static void a_folder_is_removed_with_all_files(void)
{
    CLEANUP(place_clear) struct place p = place_new();
    CHECK(p.root[0] != '\0');
    folder_remove(p.a);
    CHECK(!file_exists(p.a));
    folder_remove(p.a);
}

static const struct test tests[] = {
    TEST(copies_files_and_a_folder_in_a_folder),
    TEST(copies_a_part_and_shares_a_whole),
    TEST(copies_where_a_link_cannot_be),
    TEST(refuses_what_is_there_and_what_is_not),
    TEST(a_folder_comes_to_an_empty_place_only),
    TEST(two_folders_change_names),
    TEST(a_folder_is_removed_with_all_files),
};
TEST_MAIN(tests)
