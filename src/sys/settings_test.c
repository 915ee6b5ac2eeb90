/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/settings.h"

#include "test.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct options {
    const char *listen;
    bool verbose;
    unsigned count;
};

static const struct setting table[] = {
    {"listen", "ADDRESS", "*", "where to listen", setting_text,
     offsetof(struct options, listen)},
    {"verbose", NULL, NULL, "say more", setting_flag,
     offsetof(struct options, verbose)},
    {"count", "N", NULL, "how many", setting_number,
     offsetof(struct options, count)},
};
static const struct settings settings = {table, COUNT(table)};

static void fills_in_fallbacks(void)
{
    struct options o = {0};
    char *args[] = {NULL};
    CHECK_UINT(settings_parse(&settings, args, &o, NULL), OK);
    CHECK(strcmp(o.listen, "*") == 0);
    CHECK(!o.verbose);
}

static void reads_both_forms_and_keeps_other_words(void)
{
    struct options o = {0};
    char words[][16] = {"one",       "--listen", "a:1", "--verbose",
                        "--count=3", "-",        "--",  "--verbose"};
    char *args[COUNT(words) + 1] = {NULL};
    for (size_t i = 0; i < COUNT(words); i++)
        args[i] = words[i];
    CHECK_UINT(settings_parse(&settings, args, &o, NULL), OK);
    CHECK(strcmp(o.listen, "a:1") == 0);
    CHECK(o.verbose);
    CHECK_UINT(o.count, 3);
    CHECK(strcmp(args[0], "one") == 0);
    CHECK(strcmp(args[1], "-") == 0);
    CHECK(strcmp(args[2], "--verbose") == 0);
    CHECK(args[3] == NULL);
}

static void refuses_what_it_does_not_know(void)
{
    const char *const cases[] = {
        "--lister=x", "--listenx=x", "-v",          "--count=x",
        "--count=-1", "--count=",    "--verbose=1", "--count=99999999999",
        "--listen", /* without its value */
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct options o = {0};
        struct problem p = {0};
        char word[32] = {0};
        char *args[] = {word, NULL};
        (void)snprintf(word, sizeof word, "%s", cases[i]);
        CHECK_UINT(settings_parse(&settings, args, &o, &p), ERR_INVALID);
        CHECK_UINT(p.kind, PROBLEM_USAGE);
        CHECK(p.detail[0] != '\0');
    }
}

static void help_names_every_setting(void)
{
    int fds[2];
    char text[4096] = {0};
    CHECK(pipe(fds) == 0);
    settings_help(&settings, fds[1]);
    CHECK(read(fds[0], text, sizeof text - 1) > 0);
    for (size_t i = 0; i < COUNT(table); i++)
        CHECK(strstr(text, table[i].name) != NULL &&
              strstr(text, table[i].help) != NULL);
    CHECK(strstr(text, "(default *)") != NULL);
}

static const struct test tests[] = {
    TEST(fills_in_fallbacks),
    TEST(reads_both_forms_and_keeps_other_words),
    TEST(refuses_what_it_does_not_know),
    TEST(help_names_every_setting),
};
TEST_MAIN(tests)
