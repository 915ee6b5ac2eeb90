/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/net.h"

#include "sys/files.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG              4096
#define KEEPALIVE_IDLE_S     300
#define KEEPALIVE_INTERVAL_S 60
#define UNACKED_MAX_MS       60000
#define WIDE_SIZE            6U /* bytes of an IPv6 /48 */

/* ---- Names ---- */

static bool port_parse(const char *text, uint16_t *out_port)
{
    char *end = NULL;
    if (text[0] < '0' || text[0] > '9')
        return false;
    unsigned long value = strtoul(text, &end, 10);
    if (*end != '\0' || value > UINT16_MAX)
        return false;
    *out_port = (uint16_t)value;
    return true;
}

/* Splits "HOST", "HOST:PORT", "[HOST]:PORT"; `port` is NULL without one. */
static bool split(const char *text, size_t *out_skip, size_t *out_len,
                  const char **out_port)
{
    *out_port = NULL;
    *out_skip = 0;
    *out_len = strlen(text);
    if (text[0] == '[') {
        const char *end = strchr(text, ']');
        if (end == NULL || (end[1] != '\0' && end[1] != ':'))
            return false;
        *out_skip = 1;
        *out_len = (size_t)(end - text) - 1;
        *out_port = end[1] == ':' ? end + 2 : NULL;
        return true;
    }
    const char *colon = strchr(text, ':');
    if (colon == NULL || strchr(colon + 1, ':') != NULL)
        return true; /* no port, or a bare IPv6 address */
    *out_len = (size_t)(colon - text);
    *out_port = colon + 1;
    return true;
}

enum err net_name_parse(const char *text, struct net_name *out_name,
                        struct problem *p)
{
    struct net_name name = {.port = NET_PORT};
    size_t skip = 0;
    size_t len = 0;
    const char *port = NULL;
    if (!split(text, &skip, &len, &port) || len == 0 || len > NET_HOST_MAX ||
        (port != NULL && !port_parse(port, &name.port)))
        return problem_set(p, ERR_INVALID, PROBLEM_USAGE,
                           "\"%.100s\" is not HOST or HOST:PORT", text);
    memcpy(name.host, text + skip, len);
    *out_name = name;
    return OK;
}

void net_name_text(const struct net_name *name, char out[NET_NAME_TEXT])
{
    bool colons = strchr(name->host, ':') != NULL;
    (void)snprintf(out, NET_NAME_TEXT, "%s%s%s:%u", colons ? "[" : "",
                   name->host, colons ? "]" : "", (unsigned)name->port);
}

enum err net_resolve(const struct net_name *name,
                     struct net_addresses *out_addresses, struct problem *p)
{
    struct addrinfo hints = {.ai_family = AF_INET6,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_V4MAPPED | AI_ALL};
    struct addrinfo *list = NULL;
    int result = getaddrinfo(name->host, NULL, &hints, &list);
    if (result != 0)
        return problem_set(p, ERR_NOTFOUND, PROBLEM_NETWORK,
                           "cannot find the address of %.100s: %s", name->host,
                           gai_strerror(result));
    struct net_addresses found = {0};
    for (struct addrinfo *a = list; a != NULL; a = a->ai_next) {
        if (a->ai_addrlen != sizeof found.at[0] ||
            found.count == NET_ADDRESSES_MAX)
            continue;
        memcpy(&found.at[found.count], a->ai_addr, sizeof found.at[0]);
        found.at[found.count].sin6_port = htons(name->port);
        found.count++;
    }
    freeaddrinfo(list);
    if (found.count == 0)
        return problem_set(p, ERR_NOTFOUND, PROBLEM_NETWORK,
                           "%.100s has no address", name->host);
    *out_addresses = found;
    return OK;
}

enum err net_local(int fd, struct net_name *out_name)
{
    struct sockaddr_in6 a;
    socklen_t len = sizeof a;
    struct net_name name = {0};
    memset(&a, 0, sizeof a);
    if (getsockname(fd, (struct sockaddr *)&a, &len) != 0 ||
        a.sin6_family != AF_INET6)
        return ERR_IO;
    name.port = ntohs(a.sin6_port);
    const char *text =
        IN6_IS_ADDR_V4MAPPED(&a.sin6_addr)
            ? inet_ntop(AF_INET, &a.sin6_addr.s6_addr[12], name.host,
                        sizeof name.host)
            : inet_ntop(AF_INET6, &a.sin6_addr, name.host, sizeof name.host);
    if (text == NULL)
        return ERR_IO;
    *out_name = name;
    return OK;
}

/* ---- Sockets ---- */

/* All sockets are IPv6 ones that also carry IPv4. */
static int socket_new(void)
{
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int off = 0;
    if (fd >= 0)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    return fd;
}

/* Small messages must not wait for the answer to earlier ones, and a peer that
 * vanished must be noticed. */
static void tune(int fd)
{
    const struct {
        int level, name, value;
    } options[] = {
        {IPPROTO_TCP, TCP_NODELAY, 1},
        {SOL_SOCKET, SO_KEEPALIVE, 1},
        {IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S},
        {IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S},
        {IPPROTO_TCP, TCP_USER_TIMEOUT, UNACKED_MAX_MS},
    };
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
        (void)setsockopt(fd, options[i].level, options[i].name,
                         &options[i].value, sizeof options[i].value);
}

static enum err listen_address(const struct net_name *name,
                               struct sockaddr_in6 *out, struct problem *p)
{
    struct net_addresses addresses = {0};
    if (strcmp(name->host, "*") == 0) {
        *out = (struct sockaddr_in6){.sin6_family = AF_INET6,
                                     .sin6_port = htons(name->port),
                                     .sin6_addr = IN6ADDR_ANY_INIT};
        return OK;
    }
    TRY(net_resolve(name, &addresses, p));
    *out = addresses.at[0];
    return OK;
}

/* The first one takes the port for itself, so that no other program has it
 * already; then it is shared with the following. */
static enum err listener_bind(struct sockaddr_in6 *address, bool first,
                              int *out_fd)
{
    CLEANUP(fd_close) int fd = socket_new();
    socklen_t len = sizeof *address;
    int on = 1;
    if (fd < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        (!first &&
         setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) ||
        bind(fd, (const struct sockaddr *)address, sizeof *address) != 0 ||
        (first &&
         setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) ||
        getsockname(fd, (struct sockaddr *)address, &len) != 0)
        return ERR_IO;
    *out_fd = fd;
    fd = -1; /* handed over */
    return OK;
}

enum err net_listen(const struct net_name *name, size_t count, int *out_fds,
                    struct problem *p)
{
    char text[NET_NAME_TEXT];
    struct sockaddr_in6 address;
    size_t made = 0;
    enum err err = OK;
    net_name_text(name, text);
    TRY(listen_address(name, &address, p));
    while (err == OK && made < count) {
        err = listener_bind(&address, made == 0, &out_fds[made]);
        made += err == OK;
    }
    for (size_t i = 0; err == OK && i < count; i++)
        if (listen(out_fds[i], BACKLOG) != 0)
            err = ERR_IO;
    if (err == OK)
        return OK;
    err = problem_system(p, "cannot listen on %.100s", text);
    while (made > 0)
        fd_close(&out_fds[--made]);
    return err;
}

enum err net_accept(int listener, int *out_fd)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        tune(fd);
        *out_fd = fd;
        return OK;
    }
    switch (errno) {
    case EAGAIN:
        return ERR_NOTFOUND;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        return ERR_LIMIT;
    default:
        return ERR_IO; /* accept(2): errors of the new socket come up here */
    }
}

static uint64_t prefix_of(const struct in6_addr *a)
{
    uint64_t prefix = 0;
    size_t half = sizeof prefix;
    bool ipv4 = IN6_IS_ADDR_V4MAPPED(a);
    memcpy(&prefix, &a->s6_addr[ipv4 ? half : 0], half);
    return prefix;
}

/* What stands for an IPv4 address begins with this. */
static const uint8_t ipv4_head[] = {0, 0, 0xff, 0xff};

bool net_remote_wide(uint64_t remote, uint64_t *out_wide)
{
    uint8_t bytes[sizeof remote];
    memcpy(bytes, &remote, sizeof bytes);
    if (bytes_equal((struct bytes){bytes, sizeof ipv4_head},
                    BYTES_ARRAY(ipv4_head)))
        return false;
    memset(bytes + WIDE_SIZE, 0, sizeof bytes - WIDE_SIZE);
    memcpy(out_wide, bytes, sizeof *out_wide);
    return true;
}

uint64_t net_remote(int fd)
{
    struct sockaddr_in6 a;
    socklen_t len = sizeof a;
    memset(&a, 0, sizeof a);
    if (getpeername(fd, (struct sockaddr *)&a, &len) != 0 ||
        a.sin6_family != AF_INET6)
        return 0;
    return prefix_of(&a.sin6_addr);
}

enum err net_remote_parse(struct bytes text, uint64_t *out_remote)
{
    char name[INET6_ADDRSTRLEN + sizeof "::ffff:"] = "::ffff:";
    struct in6_addr a;
    char *at =
        memchr(text.data, ':', text.len) == NULL ? name + strlen(name) : name;
    if (text.len == 0 || text.len >= INET6_ADDRSTRLEN)
        return ERR_MALFORMED;
    memcpy(at, text.data, text.len);
    at[text.len] = '\0';
    if (inet_pton(AF_INET6, name, &a) != 1)
        return ERR_MALFORMED;
    *out_remote = prefix_of(&a);
    return OK;
}

enum err net_connect(const struct sockaddr_in6 *address, int *out_fd,
                     struct problem *p)
{
    CLEANUP(fd_close) int fd = socket_new();
    if (fd < 0)
        return problem_system(p, "cannot make a socket");
    tune(fd);
    if (connect(fd, (const struct sockaddr *)address, sizeof *address) != 0 &&
        errno != EINPROGRESS) {
        enum err err = problem_system(p, "cannot connect");
        if (p != NULL)
            p->kind = PROBLEM_NETWORK;
        return err;
    }
    *out_fd = fd;
    fd = -1; /* handed over */
    return OK;
}

enum err net_connected(int fd, struct problem *p)
{
    int result = 0;
    socklen_t len = sizeof result;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &result, &len) != 0)
        result = errno;
    if (result == 0)
        return OK;
    errno = result;
    enum err err = problem_system(p, "cannot connect");
    if (p != NULL)
        p->kind = PROBLEM_NETWORK;
    return err;
}
