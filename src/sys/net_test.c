/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/net.h"

#include "test.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void reads_names_with_and_without_a_port(void)
{
    const struct {
        const char *text;
        const char *host;
        uint16_t port;
        const char *back;
    } cases[] = {
        {"example.org", "example.org", NET_PORT, "example.org:7470"},
        {"example.org:1", "example.org", 1, "example.org:1"},
        {"127.0.0.1:0", "127.0.0.1", 0, "127.0.0.1:0"},
        {"::1", "::1", NET_PORT, "[::1]:7470"},
        {"[::1]", "::1", NET_PORT, "[::1]:7470"},
        {"[::1]:65535", "::1", 65535, "[::1]:65535"},
        {"*:80", "*", 80, "*:80"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct net_name name = {0};
        char text[NET_NAME_TEXT];
        CHECK_UINT(net_name_parse(cases[i].text, &name, NULL), OK);
        CHECK(strcmp(name.host, cases[i].host) == 0);
        CHECK_UINT(name.port, cases[i].port);
        net_name_text(&name, text);
        CHECK(strcmp(text, cases[i].back) == 0);
    }
}

static void rejects_what_is_no_name(void)
{
    const char *const cases[] = {"",        ":1",     "h:",   "h:x",
                                 "h:65536", "h:-1",   "h:1x", "[::1",
                                 "[]:1",    "[::1]x", "h:+1", "[::1]:"};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct net_name name = {0};
        struct problem p = {0};
        CHECK_UINT(net_name_parse(cases[i], &name, &p), ERR_INVALID);
        CHECK_UINT(p.kind, PROBLEM_USAGE);
    }
}

static void connects_over_both_families(void)
{
    const char *const hosts[] = {"127.0.0.1", "::1", "localhost"};
    int listener = -1;
    CHECK_UINT(net_listen(&(struct net_name){.host = "*"}, 1, &listener, NULL),
               OK);
    struct net_name local = {0};
    CHECK_UINT(net_local(listener, &local), OK);
    CHECK(local.port != 0);
    for (size_t i = 0; i < COUNT(hosts); i++) {
        struct net_addresses found = {0};
        struct net_name name = {.port = local.port};
        (void)snprintf(name.host, sizeof name.host, "%s", hosts[i]);
        CHECK_UINT(net_resolve(&name, &found, NULL), OK);
        int fd = -1;
        CHECK_UINT(net_connect(&found.at[0], &fd, NULL), OK);
        struct pollfd wait = {.fd = fd, .events = POLLOUT};
        CHECK(poll(&wait, 1, 5000) == 1);
        CHECK_UINT(net_connected(fd, NULL), OK);
        int accepted = -1;
        CHECK_UINT(net_accept(listener, &accepted), OK);
        (void)close(accepted);
        (void)close(fd);
    }
    int none = -1;
    CHECK_UINT(net_accept(listener, &none), ERR_NOTFOUND);
    (void)close(listener);
}

static void says_that_a_port_is_in_use(void)
{
    int first = -1;
    int second = -1;
    struct net_name name = {.host = "127.0.0.1"};
    struct problem p = {0};
    CHECK_UINT(net_listen(&name, 1, &first, &p), OK);
    CHECK_UINT(net_local(first, &name), OK);
    CHECK(strcmp(name.host, "127.0.0.1") == 0);
    CHECK_UINT(net_listen(&name, 1, &second, &p), ERR_IO);
    CHECK(strstr(p.detail, "in use") != NULL);
    (void)close(first);
}

/* A port that is shared is still one server's. */
static void spreads_connections_over_its_sockets_only(void)
{
    enum {
        SOCKETS = 2,
        MANY = 64
    };
    int listeners[SOCKETS] = {-1, -1};
    int other[SOCKETS] = {-1, -1};
    int clients[MANY];
    unsigned taken[SOCKETS] = {0};
    struct net_name name = {.host = "127.0.0.1"};
    struct net_addresses found = {0};
    CHECK_UINT(net_listen(&name, SOCKETS, listeners, NULL), OK);
    CHECK_UINT(net_local(listeners[1], &name), OK);
    CHECK_UINT(net_listen(&name, 1, other, NULL), ERR_IO);
    CHECK_UINT(net_listen(&name, SOCKETS, other, NULL), ERR_IO);
    CHECK_UINT(net_resolve(&name, &found, NULL), OK);
    for (size_t i = 0; i < MANY; i++) {
        CHECK_UINT(net_connect(&found.at[0], &clients[i], NULL), OK);
        struct pollfd wait[SOCKETS] = {{listeners[0], POLLIN, 0},
                                       {listeners[1], POLLIN, 0}};
        CHECK(poll(wait, SOCKETS, 5000) == 1);
        size_t which = wait[1].revents != 0;
        int fd = -1;
        CHECK_UINT(net_accept(listeners[which], &fd), OK);
        taken[which]++;
        (void)close(fd);
    }
    CHECK(taken[0] > 0 && taken[1] > 0);
    for (size_t i = 0; i < MANY; i++)
        (void)close(clients[i]);
    for (size_t i = 0; i < SOCKETS; i++)
        (void)close(listeners[i]);
}

static void says_that_nobody_listens(void)
{
    int listener = -1;
    int fd = -1;
    struct net_name name = {.host = "127.0.0.1"};
    struct problem p = {0};
    CHECK_UINT(net_listen(&name, 1, &listener, &p), OK);
    CHECK_UINT(net_local(listener, &name), OK);
    (void)close(listener);
    struct net_addresses found = {0};
    CHECK_UINT(net_resolve(&name, &found, &p), OK);
    enum err err = net_connect(&found.at[0], &fd, &p);
    if (err == OK) {
        struct pollfd wait = {.fd = fd, .events = POLLOUT};
        CHECK(poll(&wait, 1, 5000) == 1);
        err = net_connected(fd, &p);
        (void)close(fd);
    }
    CHECK_UINT(err, ERR_IO);
    CHECK_UINT(p.kind, PROBLEM_NETWORK);
    CHECK(strstr(p.detail, "refused") != NULL);
}

static void a_remote_in_text_is_that_of_a_socket(void)
{
    const struct {
        struct bytes text;
        enum err err;
        struct bytes want; /* in memory */
    } cases[] = {
        {LIT("1.2.3.4"), OK, LIT("\0\0\xff\xff\1\2\3\4")},
        {LIT("::ffff:1.2.3.4"), OK, LIT("\0\0\xff\xff\1\2\3\4")},
        {LIT("2001:db8:1:2:3:4:5:6"), OK, LIT("\x20\1\x0d\xb8\0\1\0\2")},
        {LIT("::1"), OK, LIT("\0\0\0\0\0\0\0\0")},
        {LIT(""), ERR_MALFORMED, LIT("")},
        {LIT("unknown"), ERR_MALFORMED, LIT("")},
        {LIT("1.2.3.4:5"), ERR_MALFORMED, LIT("")},
        {LIT("[::1]"), ERR_MALFORMED, LIT("")},
        {LIT("1.2.3"), ERR_MALFORMED, LIT("")},
        {LIT("1.2.3.4.5.6.7.8.9.1.2.3.4.5.6.7.8.9.1.2.3.4.5.6"), ERR_MALFORMED,
         LIT("")},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint64_t remote = 7;
        CHECK_UINT(net_remote_parse(cases[i].text, &remote), cases[i].err);
        if (cases[i].err == OK)
            CHECK_BYTES(((struct bytes){(uint8_t *)&remote, sizeof remote}),
                        cases[i].want);
        else
            CHECK_UINT(remote, 7);
    }
}

static void a_wide_remote_is_that_of_its_neighbours(void)
{
    uint64_t a = 0;
    uint64_t b = 0;
    uint64_t other = 0;
    uint64_t ipv4 = 0;
    CHECK_UINT(net_remote_parse(LIT("2001:db8:1:2::1"), &a), OK);
    CHECK_UINT(net_remote_parse(LIT("2001:db8:1:ffff::1"), &b), OK);
    CHECK_UINT(net_remote_parse(LIT("2001:db8:2::1"), &other), OK);
    CHECK_UINT(net_remote_parse(LIT("192.0.2.1"), &ipv4), OK);
    CHECK(a != b);
    CHECK(net_remote_wide(a, &a) && net_remote_wide(b, &b));
    CHECK(net_remote_wide(other, &other));
    CHECK(a == b && a != other);
    CHECK(!net_remote_wide(ipv4, &ipv4));
}

static const struct test tests[] = {
    TEST(a_remote_in_text_is_that_of_a_socket),
    TEST(a_wide_remote_is_that_of_its_neighbours),
    TEST(reads_names_with_and_without_a_port),
    TEST(rejects_what_is_no_name),
    TEST(connects_over_both_families),
    TEST(says_that_a_port_is_in_use),
    TEST(spreads_connections_over_its_sockets_only),
    TEST(says_that_nobody_listens),
};
TEST_MAIN(tests)
