/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/draft.h"

#include "sys/folder.h"
#include "test.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A folder for the drafts of "copy", and a process that has made one. */
struct scene {
    char root[64];
    char place[FILE_PATH_MAX];
    char draft[FILE_PATH_MAX]; /* the other process's */
    pid_t pid;
};

static void end_other(struct scene *s)
{
    if (s->pid > 0) {
        (void)kill(s->pid, SIGKILL);
        (void)waitpid(s->pid, NULL, 0);
    }
    s->pid = 0;
}

static void scene_clear(struct scene *s)
{
    end_other(s);
    folder_remove(s->draft);
    folder_remove(s->root);
}

static const char *in(const char *folder, const char *name)
{
    static char paths[4][FILE_PATH_MAX];
    static unsigned next;
    char *path = paths[next++ % COUNT(paths)];
    if (file_path(folder, name, path, NULL) != OK)
        path[0] = '\0';
    return path;
}

/* What is in a draft: a file, and another in a folder. */
static bool fill(const char *folder)
{
    return file_write(in(folder, "one"), LIT("1"), NULL) == OK &&
           mkdir(in(folder, "blobs"), 0700) == 0 &&
           file_write(in(folder, "blobs/two"), LIT("2"), NULL) == OK;
}

/* Never returns. */
static void make_and_stay(const struct scene *s, bool whole, int said)
{
    struct draft d = {0};
    bool good = draft_make(s->place, &d, NULL) == OK && fill(d.path) &&
                (!whole || draft_whole(&d, NULL) == OK);
    if (write(said, good ? "y" : "n", 1) == 1)
        (void)pause();
    _exit(1);
}

static bool begin(struct scene *s, bool whole)
{
    int said[2];
    char answer = 'n';
    *s = (struct scene){.root = "/tmp/sotto-draft-XXXXXX"};
    if (mkdtemp(s->root) == NULL ||
        file_path(s->root, "copy", s->place, NULL) != OK || pipe(said) != 0)
        return false;
    s->pid = fork();
    if (s->pid == 0)
        make_and_stay(s, whole, said[1]);
    (void)snprintf(s->draft, sizeof s->draft, "%.100s.new-%ld", s->place,
                   (long)s->pid);
    bool told = read(said[0], &answer, 1) == 1 && answer == 'y';
    (void)close(said[0]);
    (void)close(said[1]);
    return told && file_exists(in(s->draft, "blobs/two"));
}

static void what_a_dead_process_left_is_removed_by_the_next(void)
{
    CLEANUP(scene_clear) struct scene s;
    CLEANUP(draft_clear) struct draft d = {0};
    CHECK(begin(&s, false));
    CHECK(draft_is(s.draft));
    end_other(&s);
    CHECK_UINT(draft_make(s.place, &d, NULL), OK);
    CHECK(!file_exists(s.draft));
    CHECK(draft_is(d.path));
}

static void what_another_works_on_stays(void)
{
    CLEANUP(scene_clear) struct scene s;
    CLEANUP(draft_clear) struct draft d = {0};
    CHECK(begin(&s, false));
    CHECK_UINT(draft_make(s.place, &d, NULL), OK);
    CHECK(file_exists(in(s.draft, "blobs/two")) && draft_is(s.draft));
}

static void what_is_whole_stays(void)
{
    CLEANUP(scene_clear) struct scene s;
    CLEANUP(draft_clear) struct draft d = {0};
    CHECK(begin(&s, true));
    end_other(&s);
    CHECK(!draft_is(s.draft));
    CHECK_UINT(draft_make(s.place, &d, NULL), OK);
    CHECK(file_exists(in(s.draft, "blobs/two")));
}

/* Each has a mark that nobody holds, or would be a draft if it had one. */
static void what_is_not_a_draft_of_the_place_stays(void)
{
    static const struct {
        const char *name;
        mode_t mode;
        const char *file;
    } others[] = {
        {"copy.new-1", 0700, "mine"},      {"copy.new-", 0700, DRAFT_MARK},
        {"copy.new-2x", 0700, DRAFT_MARK}, {"copy.old-2", 0700, DRAFT_MARK},
        {"cop.new-2", 0700, DRAFT_MARK},   {"copy2.new-2", 0700, DRAFT_MARK},
        {"copy.new-3", 0755, DRAFT_MARK},
    };
    CLEANUP(scene_clear) struct scene s;
    CLEANUP(draft_clear) struct draft d = {0};
    CHECK(begin(&s, true));
    for (size_t i = 0; i < COUNT(others); i++) {
        const char *path = in(s.root, others[i].name);
        CHECK(mkdir(path, 0700) == 0 && chmod(path, others[i].mode) == 0);
        CHECK_UINT(file_write(in(path, others[i].file), LIT(""), NULL), OK);
    }
    CHECK_UINT(draft_make(s.place, &d, NULL), OK);
    for (size_t i = 0; i < COUNT(others); i++) {
        const char *path = in(s.root, others[i].name);
        CHECK(file_exists(in(path, others[i].file)));
        folder_remove(path);
    }
}

/* Neither in the place of the draft, nor of its mark, nor in it. */
static void a_link_leads_nowhere(void)
{
    CLEANUP(scene_clear) struct scene s;
    CLEANUP(draft_clear) struct draft d = {0};
    CHECK(begin(&s, false));
    end_other(&s);
    CHECK(mkdir(in(s.root, "keep"), 0700) == 0 && fill(in(s.root, "keep")));
    CHECK_UINT(file_write(in(s.root, "keep/" DRAFT_MARK), LIT(""), NULL), OK);
    CHECK(symlink("keep", in(s.root, "copy.new-1")) == 0);
    CHECK(symlink("../keep", in(s.draft, "linked")) == 0);
    CHECK(symlink("../../keep/one", in(s.draft, "blobs/linked")) == 0);
    CHECK(mkdir(in(s.root, "copy.new-2"), 0700) == 0);
    CHECK(symlink("../keep/one", in(s.root, "copy.new-2/" DRAFT_MARK)) == 0);
    CHECK_UINT(draft_make(s.place, &d, NULL), OK);
    CHECK(!file_exists(s.draft));
    CHECK(file_exists(in(s.root, "keep/one")));
    CHECK(file_exists(in(s.root, "keep/blobs/two")));
    CHECK(file_exists(in(s.root, "keep/" DRAFT_MARK)));
    CHECK(file_exists(in(s.root, "copy.new-1/one")));
    CHECK(file_exists(in(s.root, "copy.new-2/" DRAFT_MARK)));
    folder_remove(in(s.root, "copy.new-2"));
    folder_remove(in(s.root, "keep"));
}

static void one_that_failed_leaves_nothing(void)
{
    CLEANUP(scene_clear) struct scene s;
    char path[FILE_PATH_MAX];
    CHECK(begin(&s, true));
    {
        CLEANUP(draft_clear) struct draft d = {0};
        CHECK_UINT(draft_make(in(s.root, "copy//"), &d, NULL), OK);
        CHECK(strcmp(d.place, s.place) == 0);
        CHECK(fill(d.path));
        memcpy(path, d.path, sizeof path);
    }
    CHECK(!file_exists(path));
}

static const struct test tests[] = {
    TEST(what_a_dead_process_left_is_removed_by_the_next),
    TEST(what_another_works_on_stays),
    TEST(what_is_whole_stays),
    TEST(what_is_not_a_draft_of_the_place_stays),
    TEST(a_link_leads_nowhere),
    TEST(one_that_failed_leaves_nothing),
};
TEST_MAIN(tests)
