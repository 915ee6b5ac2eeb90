/* SPDX-License-Identifier: Apache-2.0 */
/* The client program as people and scripts meet it: each command, and what it
 * says when it is asked for something that cannot be. */
#include "support/people.h"
#include "test.h"

#include <jansson.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEXT_MAX  65536U
#define LOOKS_MAX 100 /* what others have to do first takes a few moments */

static struct people town; /* alice, bob, carol and a server, for all tests */

static void forget_json(json_t **j) { json_decref(*j); }

static bool there(const char *name)
{
    char path[PEOPLE_PATH_MAX];
    return access(people_path(&town, name, path), F_OK) == 0;
}

static size_t count(const char *text, const char *what)
{
    size_t n = 0;
    for (; (text = strstr(text, what)) != NULL; text += strlen(what))
        n++;
    return n;
}

/* Receives until `words` came. */
static bool receives(const char *who, const char *words)
{
    for (int i = 0; i < LOOKS_MAX; i++) {
        if (AS(&town, who, "recv") != 0)
            break;
        if (strstr(town.last.out, words) != NULL)
            return true;
    }
    return people_printed(&town, words); /* shows what there is instead */
}

static bool has_read_all(void)
{
    static const char *const names[] = {"alice", "bob", "carol"};
    for (size_t i = 0; i < COUNT(names); i++)
        if (AS(&town, names[i], "recv") != 0)
            return false;
    return true;
}

/* --- init --- */

static void init_shows_the_recovery_key_once(void)
{
    char code[80];
    char key[80] = "";
    CHECK_UINT(people_invite(&town, code), OK);
    CHECK_UINT((unsigned)AS(&town, "dora", "init", "--server", town.server_name,
                            "--handle", "dora", "--invite", code),
               0);
    CHECK(people_printed(&town, "Write it down"));
    CHECK(people_printed(&town, "Registered as dora."));
    const char *at = strstr(town.last.out, "\n    ");
    CHECK(at != NULL && sscanf(at, " %79[0-9A-Z-]", key) == 1);
    CHECK_UINT(strlen(key), 14 * 5 - 1);
    CHECK_UINT((unsigned)AS(&town, "dora", "status", "--json"), 0);
    CHECK(strstr(town.last.out, key) == NULL);
    CHECK_UINT((unsigned)AS(&town, "dora", "init", "--server", town.server_name,
                            "--handle", "dora", "--invite", code),
               2);
    CHECK(people_complained(&town, "has an account already"));
}

/* What cannot be registered leaves nothing that would be in the way. */
static void a_failed_init_says_why_and_keeps_nothing(void)
{
    char good[80];
    char used[80];
    CHECK_UINT(people_invite(&town, used), OK);
    CHECK_UINT((unsigned)AS(&town, "fred", "init", "--server", town.server_name,
                            "--handle", "fred", "--invite", used),
               0);
    CHECK_UINT(people_invite(&town, good), OK);
    char *server = town.server_name;
    static const char wrong[] = "00112233445566778899aabbccddeeff"
                                "00112233445566778899aabbccddeeff";
    const struct {
        const char *args[8];
        int status;
        const char *words;
    } cases[] = {
        {{"--handle", "eve"}, 2, "init needs --server HOST[:PORT]"},
        {{"--server", server}, 2, "init needs --handle NAME"},
        {{"--server", "a:b:c", "--handle", "eve"}, 2, "HOST[:PORT]"},
        {{"--server", server, "--handle", "E V E", "--invite", good},
         2,
         "a handle has 1 to 32"},
        {{"--server", server, "--handle", "eve", "--invite", "1234"},
         2,
         "mistyped"},
        {{"--server", server, "--handle", "eve", "--invite", used},
         1,
         "ask for another one"},
        {{"--server", server, "--handle", "bob", "--invite", good},
         1,
         "the handle is taken: choose another one"},
        {{"--server", server, "--handle", "eve"}, 1, "--fingerprint"},
        {{"--server", server, "--handle", "eve", "--fingerprint", "12:34"},
         2,
         "the fingerprint is mistyped"},
        {{"--server", server, "--handle", "eve", "--fingerprint", wrong},
         1,
         "not the expected one"},
        {{"--server", "127.0.0.1:1", "--handle", "eve", "--invite", good},
         1,
         "check the address"},
        {{"--server", "no.invalid", "--handle", "eve", "--invite", good},
         1,
         "check the address"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *args[10] = {"init"};
        for (size_t k = 0; cases[i].args[k] != NULL; k++)
            args[k + 1] = cases[i].args[k];
        printf("# case %zu: %s\n", i, cases[i].words);
        CHECK_UINT((unsigned)people_run(&town, "eve", args, NULL),
                   (unsigned)cases[i].status);
        CHECK(people_complained(&town, cases[i].words));
        CHECK(strstr(town.last.out, "recovery key") == NULL);
        CHECK(!there("eve/client.db") && !there("eve/key"));
    }
    CHECK_UINT(people_register(&town, "eve"), OK);
}

/* --- messages --- */

static void sends_by_argument_and_from_input(void)
{
    CHECK(has_read_all());
    CHECK_UINT((unsigned)AS(&town, "alice", "send", "bob", "by argument"), 0);
    CHECK_UINT((unsigned)AS_TYPING(&town, "alice", "from input\nin two lines\n",
                                   "send", "bob"),
               0);
    CHECK(receives("bob", "in two lines\n"));
    CHECK(people_printed(&town, "alice: by argument\n"));
    CHECK(people_printed(&town, "alice: from input\n    in two lines\n"));
    CHECK_UINT((unsigned)AS(&town, "bob", "recv"), 0);
    CHECK(town.last.out[0] == '\0'); /* it was marked as read */
}

static void json_is_an_object_a_line(void)
{
    CHECK(has_read_all());
    CHECK_UINT((unsigned)AS(&town, "alice", "send", "bob", "say \"{\" \x7f é"),
               0);
    CHECK_UINT((unsigned)AS(&town, "alice", "send", "bob", "two\nlines"), 0);
    CHECK_UINT((unsigned)AS(&town, "bob", "recv", "--json"), 0);
    static const char *const texts[] = {"say \"{\" \x7f é", "two\nlines"};
    const char *at = town.last.out;
    for (size_t i = 0; i < COUNT(texts); i++) {
        size_t len = strcspn(at, "\n");
        CLEANUP(forget_json) json_t *j = json_loadb(at, len, 0, NULL);
        CHECK(json_is_object(j));
        const char *text = json_string_value(json_object_get(j, "text"));
        CHECK(text != NULL && strcmp(text, texts[i]) == 0);
        at += len + 1;
    }
    CHECK(*at == '\0');
}

static void follow_shows_what_comes_until_a_signal(void)
{
    static const int signals[] = {SIGTERM, SIGINT};
    for (size_t i = 0; i < COUNT(signals); i++) {
        CLEANUP(program_clear) struct program p = {.typing = -1};
        CHECK(has_read_all());
        CHECK_UINT(people_start(&town, &p, "bob",
                                (const char *[]){"recv", "--follow", NULL}),
                   OK);
        CHECK_UINT((unsigned)AS(&town, "alice", "send", "bob", "first"), 0);
        CHECK(program_says(&p, "alice: first\n"));
        CHECK_UINT((unsigned)AS(&town, "alice", "send", "bob", "second"), 0);
        CHECK(program_says(&p, "alice: second\n"));
        CHECK(kill(p.pid, signals[i]) == 0);
        CHECK_UINT((unsigned)program_wait(&p), 0);
        CHECK(!there("bob/client.db-wal") && !there("bob/client.db-shm"));
        CHECK(!there("bob/key.new"));
    }
}

static void two_people_chat_through_pipes(void)
{
    CLEANUP(program_clear) struct program a = {.typing = -1};
    CLEANUP(program_clear) struct program b = {.typing = -1};
    CHECK(has_read_all());
    CHECK_UINT(
        people_start(&town, &a, "alice", (const char *[]){"chat", "bob", NULL}),
        OK);
    CHECK_UINT(
        people_start(&town, &b, "bob", (const char *[]){"chat", "alice", NULL}),
        OK);
    CHECK_UINT(program_type(&a, "hello\n"), OK);
    CHECK(program_says(&b, "alice: hello\n"));
    CHECK_UINT(program_type(&b, "hello yourself\n\nand on\n"), OK);
    CHECK(program_says(&a, "bob: and on\n"));
    CHECK_UINT(count(a.out, "bob: "), 2); /* no empty line was sent */
    CHECK(kill(b.pid, SIGTERM) == 0);
    CHECK_UINT((unsigned)program_wait(&b), 0);
}

static void chat_sends_a_last_line_without_its_end(void)
{
    CHECK(has_read_all());
    CHECK_UINT((unsigned)AS_TYPING(&town, "alice", "one\ntwo", "chat", "bob"),
               0);
    CHECK(receives("bob", "alice: two\n"));
    CHECK(people_printed(&town, "alice: one\n"));
}

static void control_characters_do_nothing(void)
{
    CHECK(has_read_all());
    /* U+202E, in bytes: it would turn this file's own text around. */
    static const unsigned char turn[] = {0xe2, 0x80, 0xae, 0};
    char text[64];
    (void)snprintf(text, sizeof text, "red \x1b[31m bell \a back \r%s end",
                   (const char *)turn);
    CHECK_UINT((unsigned)AS(&town, "alice", "send", "bob", text), 0);
    CHECK(receives("bob", "red \\u{1b}[31m bell \\u{7} back \\u{d}\\u{202e}"));
    CHECK(strchr(town.last.out, '\x1b') == NULL);
    CHECK(strchr(town.last.out, '\a') == NULL);
    CHECK_UINT((unsigned)AS(&town, "bob", "log", "alice", "--json"), 0);
    CHECK(strchr(town.last.out, '\x1b') == NULL);
}

static void texts_have_a_limit(void)
{
    static char text[TEXT_MAX + 3];
    CHECK(has_read_all());
    memset(text, 'x', TEXT_MAX + 1);
    CHECK_UINT((unsigned)AS_TYPING(&town, "alice", text, "send", "bob"), 2);
    CHECK(people_complained(&town, "longer than 65536 bytes"));
    text[TEXT_MAX + 1] = '\n';
    CHECK_UINT((unsigned)AS_TYPING(&town, "alice", text, "chat", "bob"), 0);
    CHECK(people_complained(&town, "longer than 65536 bytes"));
    text[TEXT_MAX] = '\0';
    CHECK_UINT((unsigned)AS_TYPING(&town, "alice", text, "send", "bob"), 0);
    CHECK_UINT((unsigned)AS(&town, "bob", "recv"), 0);
    CHECK_UINT(count(town.last.out, "alice: "), 1);
    CHECK(people_printed(&town, text));
}

static void what_is_no_text_is_refused(void)
{
    const struct {
        const char *text;
        const char *words;
    } cases[] = {{"", "there is no text"},
                 {"\n\n", "there is no text"},
                 {"\xff\xfe", "not UTF-8"}};
    CHECK(has_read_all());
    for (size_t i = 0; i < COUNT(cases); i++) {
        CHECK_UINT(
            (unsigned)AS_TYPING(&town, "alice", cases[i].text, "send", "bob"),
            2);
        CHECK(people_complained(&town, cases[i].words));
    }
    CLEANUP(program_clear) struct program p = {.typing = -1};
    char path[PEOPLE_PATH_MAX];
    const char *const argv[] = {
        getenv("SOTTO"), "--profile", people_path(&town, "alice", path),
        "send",          "bob",       NULL};
    CHECK_UINT((unsigned)program_run(&p, argv, LIT("zero\0byte")), 2);
    CHECK(strstr(p.error, "zero byte") != NULL);
    CHECK_UINT((unsigned)AS(&town, "bob", "recv"), 0);
    CHECK(town.last.out[0] == '\0');
}

static void an_unknown_handle_is_said(void)
{
    CHECK_UINT((unsigned)AS(&town, "alice", "send", "nobody", "hello"), 1);
    CHECK(people_complained(&town, "nobody has this handle"));
    CHECK_UINT((unsigned)AS(&town, "alice", "send", "no body", "hello"), 2);
    CHECK(people_complained(&town, "not a valid name"));
    CHECK_UINT((unsigned)AS(&town, "alice", "log", "stranger"), 2);
    CHECK(people_complained(&town, "there is no such conversation"));
    CHECK(has_read_all());
}

static void the_log_is_the_same_for_both(void)
{
    const char *const logs[] = {"alice", "bob"};
    CHECK_UINT((unsigned)AS(&town, "alice", "send", "bob", "logged 1"), 0);
    CHECK(receives("bob", "logged 1"));
    CHECK_UINT((unsigned)AS(&town, "bob", "send", "alice", "logged 2"), 0);
    CHECK(receives("alice", "logged 2"));
    for (size_t i = 0; i < 2; i++) {
        CHECK_UINT((unsigned)AS(&town, logs[i], "log", logs[1 - i]), 0);
        const char *first = strstr(town.last.out, "alice: logged 1\n");
        CHECK(first != NULL && strstr(first, "bob: logged 2\n") != NULL);
    }
}

static void status_says_who_and_what_waits(void)
{
    CHECK_UINT((unsigned)AS(&town, "alice", "status"), 0);
    CHECK(people_printed(&town, "handle   alice@"));
    CHECK(people_printed(&town, "ready, online"));
    CHECK(people_printed(&town, "queued   0"));
    CHECK_UINT((unsigned)AS(&town, "alice", "status", "--json"), 0);
    CLEANUP(forget_json) json_t *j = json_loads(town.last.out, 0, NULL);
    CHECK(json_is_true(json_object_get(j, "online")));
}

/* --- groups --- */

static void a_group_grows_and_shrinks(void)
{
    CHECK(has_read_all());
    CHECK_UINT((unsigned)AS(&town, "alice", "group", "create", "friends"), 0);
    CHECK_UINT((unsigned)AS(&town, "alice", "group", "add", "friends", "bob"),
               0);
    CHECK_UINT((unsigned)AS(&town, "alice", "group", "add", "friends", "carol"),
               0);
    CHECK_UINT((unsigned)AS(&town, "alice", "send", "friends", "hi all"), 0);
    CHECK(receives("bob", "(friends) alice: hi all\n"));
    CHECK(receives("carol", "(friends) alice: hi all\n"));
    CHECK_UINT((unsigned)AS(&town, "carol", "group", "list", "friends"), 0);
    CHECK_UINT(count(town.last.out, "\n"), 3);
    CHECK(receives("alice", "friends"));

    CHECK_UINT(
        (unsigned)AS(&town, "alice", "group", "remove", "friends", "carol"), 0);
    CHECK(receives("carol", "this device was removed"));
    CHECK_UINT((unsigned)AS(&town, "alice", "send", "friends", "without carol"),
               0);
    CHECK(receives("bob", "without carol"));
    CHECK_UINT((unsigned)AS(&town, "carol", "recv"), 0);
    CHECK(town.last.out[0] == '\0');

    /* Who leaves is let go by another member. */
    CHECK_UINT((unsigned)AS(&town, "bob", "group", "leave", "friends"), 0);
    CHECK(receives("alice", "member-left: bob"));
    CHECK(receives("bob", "this device was removed"));
    CHECK_UINT((unsigned)AS(&town, "alice", "group", "list", "friends"), 0);
    CHECK_UINT(count(town.last.out, "\n"), 1);
}

static void groups_complain_clearly(void)
{
    const struct {
        const char *args[4];
        int status;
        const char *words;
    } cases[] = {
        {{"create", "team"}, 0, NULL},
        {{"create", "team"}, 2, "already: choose another name"},
        {{"create", ""}, 2, "missing"},
        {{"create"}, 2, "group create NAME"},
        {{"fly", "team"}, 2, "group create NAME"},
        {{"add", "nosuch", "bob"}, 2, "there is no such conversation"},
        {{"add", "team", "nobody"}, 1, "nobody has this handle"},
        {{"remove", "team", "bob"}, 2, "no such"},
        {{"leave", "nosuch"}, 2, "there is no such conversation"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const char *args[6] = {"group"};
        for (size_t k = 0; k < 4 && cases[i].args[k] != NULL; k++)
            args[k + 1] = cases[i].args[k];
        printf("# case %zu\n", i);
        CHECK_UINT((unsigned)people_run(&town, "alice", args, NULL),
                   (unsigned)cases[i].status);
        CHECK(cases[i].words == NULL ||
              people_complained(&town, cases[i].words));
    }
}

/* Two people may each add somebody to a group of the same name. */
static void groups_of_one_name_go_by_their_number(void)
{
    CHECK(has_read_all());
    const char *const founders[] = {"alice", "bob"};
    for (size_t i = 0; i < 2; i++) {
        CHECK_UINT((unsigned)AS(&town, founders[i], "group", "create", "twins"),
                   0);
        CHECK_UINT(
            (unsigned)AS(&town, founders[i], "group", "add", "twins", "carol"),
            0);
    }
    CHECK_UINT((unsigned)AS(&town, "carol", "recv"), 0);
    CHECK_UINT((unsigned)AS(&town, "carol", "send", "twins", "which?"), 2);
    CHECK(people_complained(&town, "#2"));
    CHECK_UINT((unsigned)AS(&town, "carol", "group", "list"), 0);
    const char *line = strstr(town.last.out, "twins\t#");
    CHECK(line != NULL);
    const char *digits = strchr(line, '#') + 1;
    char who[16];
    (void)snprintf(who, sizeof who, "#%.*s", (int)strspn(digits, "0123456789"),
                   digits);
    CHECK_UINT((unsigned)AS(&town, "carol", "send", who, "this one"), 0);
    CHECK(receives("alice", "carol: this one"));
}

/* --- wrong use --- */

static void wrong_use_shows_the_way(void)
{
    const struct {
        const char *args[5];
        const char *words;
    } cases[] = {
        {{"fly"}, "there is no such command; \"sotto --help\" shows how"},
        {{NULL}, "\"sotto --help\" shows how"},
        {{"send"}, "wrong number of words"},
        {{"send", "a", "b", "c"}, "wrong number of words"},
        {{"status", "--colour"}, "unknown option --colour"},
        {{"status", "--wait"}, "--wait needs a value"},
        {{"status", "--wait", "long"}, "is not a number"},
        {{"status", "--json=1"}, "\"1\" is neither yes nor no"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CHECK_UINT((unsigned)people_run(&town, "alice", cases[i].args, NULL),
                   2);
        CHECK(people_complained(&town, cases[i].words));
        CHECK(town.last.out[0] == '\0');
    }
}

static void help_names_every_command(void)
{
    static const char *const commands[] = {"init", "send",  "recv",  "chat",
                                           "log",  "group", "status"};
    for (size_t i = 0; i < COUNT(commands); i++) {
        char word[16];
        (void)snprintf(word, sizeof word, "\n  %s", commands[i]);
        CHECK_UINT((unsigned)AS(&town, "none", commands[i], "--help"), 0);
        CHECK(people_printed(&town, word));
        CHECK(!there("none"));
    }
}

static const struct test tests[] = {
    TEST(init_shows_the_recovery_key_once),
    TEST(a_failed_init_says_why_and_keeps_nothing),
    TEST(sends_by_argument_and_from_input),
    TEST(json_is_an_object_a_line),
    TEST(follow_shows_what_comes_until_a_signal),
    TEST(two_people_chat_through_pipes),
    TEST(chat_sends_a_last_line_without_its_end),
    TEST(control_characters_do_nothing),
    TEST(texts_have_a_limit),
    TEST(what_is_no_text_is_refused),
    TEST(an_unknown_handle_is_said),
    TEST(the_log_is_the_same_for_both),
    TEST(status_says_who_and_what_waits),
    TEST(a_group_grows_and_shrinks),
    TEST(groups_complain_clearly),
    TEST(groups_of_one_name_go_by_their_number),
    TEST(wrong_use_shows_the_way),
    TEST(help_names_every_command),
};

int main(void)
{
    if (people_prepare(&town,
                       (const char *[]){"alice", "bob", "carol", NULL}) != OK) {
        printf("Bail out! no server or no profiles\n");
        people_clear(&town);
        return 1;
    }
    int result = test_run(tests, COUNT(tests));
    people_clear(&town);
    return result;
}
