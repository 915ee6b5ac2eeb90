/* SPDX-License-Identifier: Apache-2.0 */
/* A server gets another certificate while it runs. The files lie as certbot
 * lays them:
 *
 *     live/NAME/fullchain.pem, privkey.pem    links to the newest below
 *     archive/NAME/fullchain1.pem, privkey1.pem, fullchain2.pem, ...
 */
#include "support/netclient.h"
#include "support/sottod.h"
#include "sys/clock.h"
#include "sys/files.h"
#include "test.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATIENCE_MS 10000

struct acme {
    char cert[FILE_PATH_MAX]; /* the links */
    char key[FILE_PATH_MAX];
    uint8_t pin[TLS_FINGERPRINT_SIZE]; /* of the newest */
};

static enum err make_folder(const struct sottod *s, const char *name)
{
    char path[FILE_PATH_MAX];
    TRY(file_path(s->dir, name, path, NULL));
    return mkdir(path, 0700) == 0 ? OK : ERR_IO;
}

static enum err acme_prepare(struct acme *a, const struct sottod *s)
{
    static const char *const folders[] = {"acme", "acme/live", "acme/live/x",
                                          "acme/archive", "acme/archive/x"};
    for (size_t i = 0; i < COUNT(folders); i++)
        TRY(make_folder(s, folders[i]));
    TRY(file_path(s->dir, "acme/live/x/fullchain.pem", a->cert, NULL));
    return file_path(s->dir, "acme/live/x/privkey.pem", a->key, NULL);
}

static enum err point(const char *link, const char *what, unsigned number)
{
    char target[FILE_PATH_MAX];
    (void)snprintf(target, sizeof target, "../../archive/x/%s%u.pem", what,
                   number);
    (void)unlink(link);
    return symlink(target, link) == 0 ? OK : ERR_IO;
}

static enum err put(const struct sottod *s, const char *what, unsigned number,
                    struct bytes content)
{
    char path[FILE_PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/acme/archive/x/%s%u.pem", s->dir,
                   what, number);
    return file_write(path, content, NULL);
}

/* Makes the certificate with this number and points to it. */
static enum err acme_issue(struct acme *a, const struct sottod *s,
                           unsigned number)
{
    CLEANUP(buf_clear) struct buf cert = buf_new(TLS_PEM_MAX);
    CLEANUP(buf_clear) struct buf key = buf_new(TLS_PEM_MAX);
    TRY(tls_certificate_create("localhost", &cert, &key));
    TRY(put(s, "fullchain", number, buf_bytes(&cert)));
    TRY(put(s, "privkey", number, buf_bytes(&key)));
    TRY(point(a->cert, "fullchain", number));
    TRY(point(a->key, "privkey", number));
    return tls_fingerprint(buf_bytes(&cert), a->pin);
}

static enum err start(struct sottod *s, struct acme *a)
{
    TRY(sottod_prepare(s));
    TRY(acme_prepare(a, s));
    TRY(acme_issue(a, s, 1));
    return sottod_start(
        s, (const char *[]){"--cert", a->cert, "--key", a->key, NULL});
}

/* Sends the signal and waits until the server has said what came of it. */
static bool renew(struct sottod *s, const char *want)
{
    uint64_t end = clock_mono_ms() + PATIENCE_MS;
    size_t before = s->output_len;
    if (kill(s->pid, SIGHUP) != 0)
        return false;
    while (clock_mono_ms() < end) {
        sottod_listen(s);
        if (strstr(s->output + before, want) != NULL)
            return true;
        (void)poll(NULL, 0, 5);
    }
    printf("# it said: %s\n", s->output + before);
    return false;
}

static enum err ping(struct netclient *c)
{
    const struct request q = {.method = METHOD_PING};
    struct answer a;
    TRY(netclient_ask(c, &q, &a));
    return a.status == STATUS_OK ? OK : ERR_STATE;
}

/* Net takes it a moment after the store has said so. */
static enum err connect_soon(const struct sottod *s, const uint8_t *pin)
{
    enum err err = ERR_AUTH;
    for (int i = 0; i < 100 && err == ERR_AUTH; i++) {
        CLEANUP(netclient_close) struct netclient c = {0};
        err = netclient_connect_pinned(&c, &s->address, pin);
        if (err == ERR_AUTH)
            (void)poll(NULL, 0, 10);
    }
    return err;
}

static void a_new_certificate_serves_new_clients(void)
{
    CLEANUP(sottod_clear) struct sottod s = {.out = -1};
    CLEANUP(netclient_close) struct netclient old = {0};
    struct acme a;
    CHECK_UINT(start(&s, &a), OK);
    CHECK_UINT(netclient_connect_pinned(&old, &s.address, a.pin), OK);
    CHECK_UINT(netclient_hello(&old, LANE_ANONYMOUS, NULL), OK);
    for (unsigned number = 2; number <= 4; number++) {
        uint8_t before[TLS_FINGERPRINT_SIZE];
        CLEANUP(netclient_close) struct netclient c = {0};
        memcpy(before, a.pin, sizeof before);
        CHECK_UINT(acme_issue(&a, &s, number), OK);
        CHECK(renew(&s, "certificate read"));
        CHECK_UINT(connect_soon(&s, a.pin), OK);
        CHECK_UINT(netclient_connect_pinned(&c, &s.address, before), ERR_AUTH);
        CHECK_UINT(ping(&old), OK);
    }
    CHECK_UINT((unsigned)sottod_stop(&s, SIGTERM), 0);
}

static void a_bad_certificate_changes_nothing(void)
{
    CLEANUP(sottod_clear) struct sottod s = {.out = -1};
    CLEANUP(netclient_close) struct netclient old = {0};
    struct acme a;
    uint8_t good[TLS_FINGERPRINT_SIZE];
    CHECK_UINT(start(&s, &a), OK);
    memcpy(good, a.pin, sizeof good);
    CHECK_UINT(netclient_connect(&old, &s.address), OK);
    CHECK_UINT(netclient_hello(&old, LANE_ANONYMOUS, NULL), OK);
    CHECK_UINT(acme_issue(&a, &s, 2), OK);
    CHECK_UINT(put(&s, "fullchain", 3, LIT("rubbish")), OK);
    const struct {
        unsigned cert, key;
        const char *want;
    } cases[] = {
        {3, 2, "the TLS certificate does not read"},
        {2, 3, "cannot open"},
        {4, 2, "cannot open"},
        {2, 1, "the TLS key is not the certificate's"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(netclient_close) struct netclient c = {0};
        CHECK_UINT(point(a.cert, "fullchain", cases[i].cert), OK);
        CHECK_UINT(point(a.key, "privkey", cases[i].key), OK);
        CHECK(renew(&s, cases[i].want));
        CHECK(renew(&s, "keeps its certificate"));
        CHECK_UINT(netclient_connect_pinned(&c, &s.address, good), OK);
        CHECK_UINT(ping(&old), OK);
    }
    CHECK_UINT(point(a.key, "privkey", 2), OK);
    CHECK(renew(&s, "certificate read"));
    CHECK_UINT(connect_soon(&s, a.pin), OK);
}

/* A terminal that closes, or a unit, sends it to both. */
static void the_network_process_goes_on(void)
{
    CLEANUP(sottod_clear) struct sottod s = {.out = -1};
    CLEANUP(netclient_close) struct netclient c = {0};
    struct acme a;
    CHECK_UINT(start(&s, &a), OK);
    CHECK_UINT(netclient_connect(&c, &s.address), OK);
    CHECK_UINT(netclient_hello(&c, LANE_ANONYMOUS, NULL), OK);
    CHECK(kill(s.net_pid, SIGHUP) == 0);
    CHECK(renew(&s, "certificate read"));
    CHECK_UINT(ping(&c), OK);
}

static const struct test tests[] = {
    TEST(a_new_certificate_serves_new_clients),
    TEST(a_bad_certificate_changes_nothing),
    TEST(the_network_process_goes_on),
};
TEST_MAIN(tests)
