/* SPDX-License-Identifier: Apache-2.0 */
/* The operator's tools beside a running server, and what people see of it. */
#include "support/people.h"
#include "test.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOKS_MAX 100

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
    int result = test_run(tests, COUNT(tests));
    people_clear(&town);
    return result;
}
