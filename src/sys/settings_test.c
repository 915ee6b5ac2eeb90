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
    bool help;
};

static const struct setting table[] = {
    {"listen", "ADDRESS", "*", "where to listen", setting_text,
     offsetof(struct options, listen)},
    {"verbose", NULL, NULL, "say more", setting_flag,
     offsetof(struct options, verbose)},
    {"count", "N", NULL, "how many", setting_number,
     offsetof(struct options, count)},
};
static const struct setting switch_rows[] = {
    {"help", NULL, NULL, "say how", setting_flag,
     offsetof(struct options, help)},
};
static const struct settings switches = {.table = switch_rows,
                                         .count = COUNT(switch_rows)};
static const struct settings settings = {table, COUNT(table), &switches};

/* Reads first the arguments and then a file with this text. */
static enum err read_both(char **args, const char *text, struct buf *file,
                          struct setting_values *v, struct problem *p)
{
    TRY(settings_args(&settings, args, v, p));
    TRY(buf_append(file, bytes_str(text)));
    TRY(settings_file(&settings, "x.conf", file, v, p));
    return settings_fallbacks(&settings, v, p);
}

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
        "--lister=x", "--listenx=x",  "-v",          "--count=x",
        "--count=-1", "--count=",     "--verbose=1", "--count=99999999999",
        "--verbose=", "--help=maybe", "--listen", /* without its value */
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

static void a_file_gives_what_the_command_line_does_not(void)
{
    CLEANUP(buf_clear) struct buf file = buf_new(1000);
    struct options o = {0};
    struct setting_values v = {.out = &o};
    char word[] = "--count=3";
    char *args[] = {word, NULL};
    CHECK_UINT(read_both(args,
                         "# comment\n\n  listen =\ta = # b \r\n"
                         "verbose=yes\ncount = 5",
                         &file, &v, NULL),
               OK);
    CHECK(strcmp(o.listen, "a = # b") == 0);
    CHECK(o.verbose);
    CHECK_UINT(o.count, 3);
    CHECK_UINT(v.row[0].source, SETTING_FILE);
    CHECK_UINT(v.row[2].source, SETTING_ARGUMENT);
}

static void a_flag_of_a_file_can_be_taken_back(void)
{
    CLEANUP(buf_clear) struct buf file = buf_new(1000);
    struct options o = {0};
    struct setting_values v = {.out = &o};
    char word[] = "--verbose=no";
    char *args[] = {word, NULL};
    CHECK_UINT(read_both(args, "verbose = yes\n", &file, &v, NULL), OK);
    CHECK(!o.verbose);
    CHECK(strcmp(o.listen, "*") == 0);
    CHECK_UINT(v.row[0].source, SETTING_FALLBACK);
}

static void a_file_that_is_wrong_is_refused_with_its_line(void)
{
    const struct {
        const char *text, *words;
    } cases[] = {
        {"lister = x\n", "x.conf:1: no setting is called \"lister\""},
        {"\n\nlisten x\n", "x.conf:3: write it as NAME = VALUE"},
        {"listen = a\nlisten = a\n", "x.conf:2: listen is set twice"},
        {"count = x", "x.conf:1: \"x\" is not a number"},
        {"verbose = on\n", "x.conf:1: \"on\" is neither yes nor no"},
        {"listen =  \n", "x.conf:1: listen needs a value: ADDRESS"},
        {" = a\n", "x.conf:1: no setting is called \"\""},
        {"help = yes\n", "x.conf:1: no setting is called \"help\""},
    };
    char word[] = "--count=3"; /* what it hides is looked at, too */
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(buf_clear) struct buf file = buf_new(1000);
        struct options o = {0};
        struct setting_values v = {.out = &o};
        struct problem p = {0};
        char *args[] = {word, NULL};
        CHECK_UINT(read_both(args, cases[i].text, &file, &v, &p), ERR_INVALID);
        CHECK_UINT(p.kind, PROBLEM_USAGE);
        if (strstr(p.detail, cases[i].words) == NULL)
            printf("# it said: %s\n", p.detail);
        CHECK(strstr(p.detail, cases[i].words) != NULL);
    }
}

static void a_file_that_is_no_text_is_refused(void)
{
    CLEANUP(buf_clear) struct buf file = buf_new(1000);
    static const uint8_t zero[] = "listen = a\0b\n";
    struct options o = {0};
    struct setting_values v = {.out = &o};
    struct problem p = {0};
    CHECK_UINT(buf_append(&file, BYTES_ARRAY(zero)), OK);
    CHECK_UINT(settings_file(&settings, "x.conf", &file, &v, &p), ERR_INVALID);
    CHECK(strstr(p.detail, "zero byte") != NULL);
}

/* What is shown is a file that gives the same again. */
static void shows_what_is_in_force_as_a_file(void)
{
    CLEANUP(buf_clear) struct buf file = buf_new(1000);
    CLEANUP(buf_clear) struct buf again = buf_new(4096);
    struct options o = {0};
    struct options o2 = {0};
    struct setting_values v = {.out = &o};
    struct setting_values v2 = {.out = &o2};
    char word[] = "--verbose";
    char *args[] = {word, NULL};
    char text[4096] = {0};
    int fds[2];
    CHECK_UINT(read_both(args, "count = 7\n", &file, &v, NULL), OK);
    CHECK(pipe(fds) == 0);
    settings_show(&settings, &v, "x.conf", fds[1]);
    CHECK(read(fds[0], text, sizeof text - 1) > 0);
    CHECK(strcmp(text, "# from the command line\nverbose = yes\n"
                       "# x.conf\ncount = 7\n# defaults\nlisten = *\n") == 0);
    CHECK_UINT(buf_append(&again, bytes_str(text)), OK);
    CHECK_UINT(settings_file(&settings, "y", &again, &v2, NULL), OK);
    CHECK(o2.verbose && o2.count == 7 && strcmp(o2.listen, "*") == 0);
}

static const struct test tests[] = {
    TEST(a_file_gives_what_the_command_line_does_not),
    TEST(a_flag_of_a_file_can_be_taken_back),
    TEST(a_file_that_is_wrong_is_refused_with_its_line),
    TEST(a_file_that_is_no_text_is_refused),
    TEST(shows_what_is_in_force_as_a_file),
    TEST(fills_in_fallbacks),
    TEST(reads_both_forms_and_keeps_other_words),
    TEST(refuses_what_it_does_not_know),
    TEST(help_names_every_setting),
};
TEST_MAIN(tests)
