/* SPDX-License-Identifier: Apache-2.0 */
/* The operator's tools beside a running server, and what people see of it. */
#include "support/people.h"
#include "sys/folder.h"
#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOOKS_MAX 100
#define START_MS  20000 /* only a failure takes so long */

static struct people town; /* alice, bob and a server, for all tests */

/* Receives until `words` came. */
static bool receives(const char *who, const char *words)
{
    for (int i = 0; i < LOOKS_MAX; i++) {
        if (AS(&town, who, "recv") == 0 && strstr(town.last.out, words) != NULL)
            return true;
    }
    return people_printed(&town, words); /* shows what there is instead */
}

/* --- accounts --- */

static void the_list_says_what_the_design_allows(void)
{
    CHECK_UINT((unsigned)OPERATE(&town, "account", "list"), 0);
    CHECK(people_printed(&town, "name\taccount\tregistered\tlast_used\tdevices"
                                "\tstate\nalice\t"));
    char name[16];
    char id[80];
    char made[16];
    char used[16];
    char devices[8];
    char state[16];
    const char *line = strstr(town.last.out, "\nbob\t");
    CHECK(line != NULL);
    CHECK_UINT((unsigned)sscanf(line, " %15s %79s %15s %15s %7s %15s", name, id,
                                made, used, devices, state),
               6);
    CHECK_UINT(strlen(id), 64);
    CHECK(strlen(made) == 10 && strcmp(made, used) == 0);
    CHECK(strcmp(devices, "1") == 0 && strcmp(state, "enabled") == 0);
}

static void a_disabled_account_is_told_so_and_comes_back(void)
{
    CLEANUP(program_clear) struct program p = {.typing = -1};
    CHECK_UINT(people_register(&town, "dan"), OK);
    CHECK_UINT(people_register(&town, "eve"), OK);
    CHECK_UINT((unsigned)AS(&town, "dan", "send", "alice", "hello"), 0);
    CHECK(receives("alice", "dan: hello"));
    CHECK_UINT(people_start(&town, &p, "dan",
                            (const char *[]){"recv", "--follow", NULL}),
               OK);
    CHECK_UINT((unsigned)OPERATE(&town, "account", "disable", "dan"), 0);
    CHECK(people_printed(&town, "dan is disabled\n"));
    CHECK_UINT((unsigned)OPERATE(&town, "account", "list"), 0);
    CHECK(people_printed(&town, "\tdisabled\n"));
    CHECK(program_says(&p, "has disabled this account: ask them"));
    CHECK_UINT((unsigned)AS(&town, "eve", "send", "dan", "are you there?"), 1);
    CHECK(people_complained(&town, "has disabled the account"));

    CHECK_UINT((unsigned)OPERATE(&town, "account", "enable", "dan"), 0);
    CHECK_UINT((unsigned)AS(&town, "eve", "send", "dan", "and now?"), 0);
    if (p.pid > 0) /* 0, when it has ended, would be all of us */
        (void)kill(p.pid, SIGTERM);
    (void)program_wait(&p);
    CHECK(receives("dan", "eve: and now?"));
}

static void a_deleted_account_is_told_so(void)
{
    char code[80];
    CHECK_UINT(people_register(&town, "fred"), OK);
    CHECK_UINT((unsigned)OPERATE(&town, "account", "delete", "fred"), 0);
    CHECK(people_printed(&town, "fred is deleted\n"));
    CHECK_UINT((unsigned)OPERATE(&town, "account", "list"), 0);
    CHECK(strstr(town.last.out, "fred") == NULL);
    CHECK(AS(&town, "fred", "recv") != 0 ||
          people_complained(&town, "has deleted this account"));
    CHECK(people_complained(&town, "has deleted this account"));
    CHECK_UINT((unsigned)OPERATE(&town, "legal-export", "fred"), 0);
    CHECK(people_printed(&town, "name of a deleted account"));
    CHECK_UINT(people_invite(&town, code), OK);
    CHECK_UINT((unsigned)AS(&town, "thief", "init", "--server",
                            town.server_name, "--handle", "fred", "--invite",
                            code),
               1);
    CHECK(people_complained(&town, "the handle is taken"));
    CHECK_UINT((unsigned)OPERATE(&town, "account", "delete", "fred"), 1);
    CHECK(people_complained(&town, "nobody is called \"fred\""));
}

static void numbers_come_from_a_running_server(void)
{
    CHECK_UINT((unsigned)OPERATE(&town, "stats"), 0);
    CHECK(people_printed(&town, "accounts\t"));
    CHECK(people_printed(&town, "\texact\n"));
    CHECK(people_printed(&town, "channels.db_bytes\t"));
    CHECK(strstr(town.last.out, "alice") == NULL);
}

/* --- backup and restore --- */

/* A path in the town's folder; the last four are kept. */
static const char *at(const char *name)
{
    static char paths[4][PEOPLE_PATH_MAX];
    static unsigned next;
    return people_path(&town, name, paths[next++ % COUNT(paths)]);
}

/* Entries of the town's folder whose name begins so. */
static size_t count_names(const char *prefix)
{
    size_t count = 0;
    DIR *dir = opendir(town.server.dir);
    const struct dirent *e = NULL;
    while (dir != NULL && (e = readdir(dir)) != NULL)
        count += strncmp(e->d_name, prefix, strlen(prefix)) == 0;
    if (dir != NULL)
        (void)closedir(dir);
    return count;
}

static bool stopped(void)
{
    return town.server.pid == 0 || sottod_stop(&town.server, SIGTERM) == 0;
}

/* What clients do about it is in the end what a backup is for: they see that
 * the server has lost what came after it, and go on. */
static void a_restored_server_is_noticed_and_goes_on(void)
{
    CHECK_UINT((unsigned)AS(&town, "alice", "send", "bob", "before"), 0);
    CHECK(receives("bob", "alice: before"));
    CHECK_UINT((unsigned)OPERATE(&town, "backup", "--to", at("copy")), 0);
    CHECK(people_printed(&town, "copy: a backup, checked\n"));
    CHECK_UINT((unsigned)AS(&town, "alice", "send", "bob", "after"), 0);
    CHECK(receives("bob", "alice: after"));

    CHECK_UINT((unsigned)OPERATE(&town, "restore", "--from", at("copy")), 1);
    CHECK(people_complained(&town, "another process uses this folder"));
    CHECK(stopped());
    CHECK_UINT((unsigned)OPERATE(&town, "restore", "--from", at("copy")), 2);
    CHECK(people_complained(&town, "is not empty: with --replace"));
    CHECK_UINT(
        (unsigned)OPERATE(&town, "restore", "--from", at("copy"), "--replace"),
        0);
    CHECK(people_printed(&town, "what was there: /"));
    CHECK_UINT(count_names("data.old-"), 1);
    CHECK_UINT(count_names("data.new-"), 0);

    CHECK_UINT(people_serve(&town), OK);
    CHECK_UINT((unsigned)AS(&town, "alice", "recv"), 0);
    CHECK(people_complained(&town, "restored from an old copy"));
    CHECK(people_printed(&town, "begin a new conversation"));
    CHECK_UINT((unsigned)AS(&town, "alice", "send", "bob", "in the new one"),
               0);
    CHECK(receives("bob", "in the new one"));
}

/* The keys and each message that was acknowledged before are in it. */
static void a_backup_restores_to_a_place_of_its_own(void)
{
    CLEANUP(sottod_clear) struct sottod other = {.out = -1};
    char before[100];
    char after[100];
    sottod_said(&town.server, "server key fingerprint: ", before,
                sizeof before);
    CHECK_UINT((unsigned)OPERATE(&town, "backup", "--to", at("two")), 0);
    CHECK_UINT(sottod_prepare(&other), OK);
    CHECK_UINT((unsigned)sottod_run(
                   &other, (const char *[]){"restore", "--from", at("two"),
                                            "--data", other.data, NULL}),
               0);
    CHECK_UINT(sottod_start(&other, NULL), OK);
    sottod_said(&other, "server key fingerprint: ", after, sizeof after);
    CHECK(before[0] != '\0' && strcmp(before, after) == 0);
    CHECK(strstr(other.output, "invite code") == NULL);
    CHECK_UINT((unsigned)sottod_stop(&other, SIGTERM), 0);
    CHECK_UINT((unsigned)sottod_run(&other, (const char *[]){"check", "--data",
                                                             other.data, NULL}),
               0);
}

static void a_backup_while_people_write_is_sound(void)
{
    CLEANUP(program_clear) struct program p = {.typing = -1};
    CHECK_UINT(
        people_start(&town, &p, "alice", (const char *[]){"chat", "bob", NULL}),
        OK);
    for (int i = 0; i < 3; i++) {
        char name[16];
        char line[64];
        for (int k = 0; k < 20; k++) {
            (void)snprintf(line, sizeof line, "line %d of %d\n", k, i);
            CHECK_UINT(program_type(&p, line), OK);
        }
        (void)snprintf(name, sizeof name, "busy-%d", i);
        CHECK_UINT((unsigned)OPERATE(&town, "backup", "--to", at(name)), 0);
        CHECK_UINT((unsigned)OPERATE(&town, "check", "--data", at(name)), 0);
    }
    CHECK(kill(p.pid, SIGTERM) == 0);
    (void)program_wait(&p);
}

static void a_backup_is_there_whole_or_not_at_all(void)
{
    struct stat s;
    const struct rlimit tight = {20000, RLIM_INFINITY};
    struct rlimit before;
    CHECK_UINT((unsigned)OPERATE(&town, "backup", "--to", at("copy")), 2);
    CHECK(people_complained(&town, "is there already: name a new folder"));
    CHECK(getrlimit(RLIMIT_FSIZE, &before) == 0);
    CHECK(setrlimit(RLIMIT_FSIZE, &tight) == 0); /* as if the disk were full */
    int status = OPERATE(&town, "backup", "--to", at("full"));
    CHECK(setrlimit(RLIMIT_FSIZE, &before) == 0);
    CHECK(status != 0);
    CHECK_UINT(count_names("full"), 0);
    CHECK(stat(at("copy"), &s) == 0 && (s.st_mode & 07777) == 0700);
    CHECK(stat(at("copy/server.key"), &s) == 0 && (s.st_mode & 07777) == 0600);
    CHECK(stat(at("copy/tls.key"), &s) == 0 && (s.st_mode & 07777) == 0600);
}

/* Kills a backup in the middle; false: it was quicker. */
static bool kill_backup(void)
{
    CLEANUP(program_clear) struct program p = {.typing = -1};
    const char *const argv[] = {
        getenv("SOTTOD"), "backup",   "--data", town.server.data,
        "--to",           at("dead"), NULL};
    char mark[64];
    folder_remove(at("dead")); /* of the one that was quicker */
    if (program_start(&p, argv, (struct bytes){0}) != OK)
        return false;
    (void)snprintf(mark, sizeof mark, "dead.new-%ld/unfinished", (long)p.pid);
    for (int i = 0; i < START_MS && access(at(mark), F_OK) != 0; i++)
        (void)poll(NULL, 0, 1);
    (void)kill(p.pid, SIGKILL);
    (void)program_wait(&p);
    return access(at(mark), F_OK) == 0;
}

static void a_backup_that_was_killed_is_cleared_away(void)
{
    bool killed = false;
    for (int i = 0; i < LOOKS_MAX && !killed; i++)
        killed = kill_backup();
    CHECK(killed && access(at("dead"), F_OK) != 0);
    CHECK_UINT(count_names("dead.new-"), 1);
    CHECK_UINT((unsigned)OPERATE(&town, "backup", "--to", at("dead")), 0);
    CHECK_UINT(count_names("dead.new-"), 0);
    CHECK_UINT((unsigned)OPERATE(&town, "check", "--data", at("dead")), 0);
}

static void a_backup_that_is_damaged_changes_nothing(void)
{
    CHECK_UINT((unsigned)OPERATE(&town, "backup", "--to", at("bad")), 0);
    int fd = open(at("bad/channels.db"), O_WRONLY | O_CLOEXEC);
    CHECK(fd >= 0 && pwrite(fd, "junkjunkjunk", 12, 8192) == 12);
    CHECK(close(fd) == 0);
    CHECK(stopped());
    CHECK_UINT(
        (unsigned)OPERATE(&town, "restore", "--replace", "--from", at("bad")),
        1);
    CHECK(people_complained(&town, "channels.db"));
    CHECK_UINT(count_names("data.new-"), 0);
    CHECK_UINT(
        (unsigned)OPERATE(&town, "restore", "--replace", "--from", at("alice")),
        2);
    CHECK(people_complained(&town, "is no backup"));
    CHECK_UINT((unsigned)OPERATE(&town, "check"), 0);
    CHECK_UINT(people_serve(&town), OK);
    CHECK_UINT((unsigned)OPERATE(&town, "restore", "--from", at("data"),
                                 "--data", at("elsewhere")),
               1);
    CHECK(people_complained(&town, "another process uses this folder"));
}

static void a_database_is_backed_up_by_its_own_tools(void)
{
    CHECK_UINT((unsigned)OPERATE(&town, "backup", "--to", at("none")), 2);
    CHECK(people_complained(&town, "pg_dump"));
    CHECK_UINT(
        (unsigned)OPERATE(&town, "restore", "--replace", "--from", at("none")),
        2);
    CHECK(people_complained(&town, "pg_restore"));
}

static void numbers_come_from_a_database(void)
{
    CHECK_UINT((unsigned)OPERATE(&town, "stats"), 0);
    CHECK(people_printed(&town, "accounts\t"));
    CHECK(people_printed(&town, "entries\t"));
    CHECK(people_printed(&town, "blobs_bytes\t"));
    CHECK(people_printed(&town, "\ndatabase_bytes\t"));
    CHECK(people_printed(&town, "\nblobs\t"));
    CHECK(strstr(town.last.out, "alice") == NULL);
}

/* Of the files in the data folder. */
static const struct test file_tests[] = {
    TEST(a_restored_server_is_noticed_and_goes_on),
    TEST(a_backup_restores_to_a_place_of_its_own),
    TEST(a_backup_while_people_write_is_sound),
    TEST(a_backup_is_there_whole_or_not_at_all),
    TEST(a_backup_that_was_killed_is_cleared_away),
    TEST(a_backup_that_is_damaged_changes_nothing),
    TEST(numbers_come_from_a_running_server),
};

static const struct test database_tests[] = {
    TEST(a_database_is_backed_up_by_its_own_tools),
    TEST(numbers_come_from_a_database),
};

/* Of both stores. */
static const struct test tests[] = {
    TEST(the_list_says_what_the_design_allows),
    TEST(a_disabled_account_is_told_so_and_comes_back),
    TEST(a_deleted_account_is_told_so),
};

int main(void)
{
    if (people_prepare(&town, (const char *[]){"alice", "bob", NULL}) != OK) {
        printf("Bail out! no server or no profiles\n");
        people_clear(&town);
        return 1;
    }
    bool database = getenv("SOTTO_TEST_STORE") != NULL;
    const struct test *first = database ? database_tests : file_tests;
    size_t before = database ? COUNT(database_tests) : COUNT(file_tests);
    struct test all[COUNT(file_tests) + COUNT(tests)];
    memcpy(all, first, before * sizeof *all);
    memcpy(all + before, tests, sizeof tests);
    int result = test_run(all, before + COUNT(tests));
    people_clear(&town);
    return result;
}
