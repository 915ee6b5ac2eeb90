/* SPDX-License-Identifier: Apache-2.0 */
/* The server program as an operator meets it. */
#include "crypto/crypto.h"
#include "proto/derive.h"
#include "proto/invite.h"
#include "support/netclient.h"
#include "support/sottod.h"
#include "sys/clock.h"
#include "sys/files.h"
#include "sys/sandbox.h"
#include "test.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATIENCE_MS 5000

static void crypto_clear(struct crypto **c) { crypto_free(c); }

static bool said(const struct sottod *s, const char *text)
{
    if (strstr(s->output, text) != NULL)
        return true;
    printf("# it said: %s\n", s->output);
    return false;
}

/* Waits until no process has this id any more. */
static bool gone(pid_t pid)
{
    uint64_t end = clock_mono_ms() + PATIENCE_MS;
    while (clock_mono_ms() < end) {
        if (pid <= 0 || (kill(pid, 0) != 0 && errno == ESRCH))
            return pid > 0;
        (void)poll(NULL, 0, 5);
    }
    return false;
}

static enum err overwrite(const struct sottod *s, const char *name,
                          struct bytes content)
{
    char path[FILE_PATH_MAX];
    TRY(file_path(s->data, name, path, NULL));
    return file_write(path, content, NULL);
}

/* ---- In good order ---- */

static void answers_a_signed_hello_on_both_lanes(void)
{
    CLEANUP(sottod_clear) struct sottod s = {.out = -1};
    CLEANUP(crypto_clear) struct crypto *crypto = NULL;
    CHECK_UINT(crypto_create(&crypto), OK);
    CHECK_UINT(sottod_prepare(&s), OK);
    CHECK_UINT(sottod_start(&s, NULL), OK);
    for (unsigned lane = LANE_IDENTIFIED; lane <= LANE_ANONYMOUS; lane++) {
        CLEANUP(netclient_close) struct netclient c = {0};
        CHECK_UINT(netclient_connect(&c, &s.address), OK);
        CHECK_UINT(netclient_hello(&c, (enum lane)lane, crypto), OK);
    }
    CHECK_UINT((unsigned)sottod_stop(&s, SIGTERM), 0);
}

static void the_first_invite_pins_the_servers_key(void)
{
    CLEANUP(sottod_clear) struct sottod s = {.out = -1};
    CLEANUP(crypto_clear) struct crypto *crypto = NULL;
    CLEANUP(netclient_close) struct netclient c = {0};
    char code[128];
    struct invite invite;
    struct answer a;
    uint8_t nonce[NONCE_SIZE] = {0};
    const struct request q = {.method = METHOD_HELLO,
                              .hello = {.version = PROTOCOL_VERSION,
                                        .lane = LANE_ANONYMOUS,
                                        .client_nonce = BYTES_ARRAY(nonce)}};
    CHECK_UINT(crypto_create(&crypto), OK);
    CHECK_UINT(sottod_prepare(&s), OK);
    CHECK_UINT(sottod_start(&s, NULL), OK);
    sottod_said(&s, "invite code: ", code, sizeof code);
    CHECK_UINT(invite_read(crypto, code, &invite), OK);
    CHECK_UINT(netclient_connect(&c, &s.address), OK);
    CHECK_UINT(netclient_ask(&c, &q, &a), OK);
    CHECK_UINT(a.status, STATUS_OK);
    CHECK_UINT(
        invite_pin_check(crypto, BYTES_ARRAY(invite.pin), a.hello.server_key),
        OK);
}

/* Also that keys outlive the process, and that the invite is shown once. */
static void a_restart_keeps_the_identity(void)
{
    CLEANUP(sottod_clear) struct sottod s = {.out = -1};
    char before[2][FINGERPRINT_TEXT_MAX];
    char after[2][FINGERPRINT_TEXT_MAX];
    CHECK_UINT(sottod_prepare(&s), OK);
    CHECK_UINT(sottod_start(&s, NULL), OK);
    sottod_said(&s, "server key fingerprint: ", before[0], sizeof before[0]);
    sottod_said(&s, "certificate fingerprint: ", before[1], sizeof before[1]);
    CHECK(strlen(before[0]) == 95 && strlen(before[1]) == 95);
    CHECK_UINT((unsigned)sottod_stop(&s, SIGKILL), 128 + SIGKILL);
    CHECK_UINT(sottod_start(&s, NULL), OK);
    sottod_said(&s, "server key fingerprint: ", after[0], sizeof after[0]);
    sottod_said(&s, "certificate fingerprint: ", after[1], sizeof after[1]);
    CHECK(strcmp(before[0], after[0]) == 0);
    CHECK(strcmp(before[1], after[1]) == 0);
    CHECK(strstr(s.output, "invite code") == NULL);
}

static void sigterm_lets_clients_go_and_leaves_nothing(void)
{
    const int signals[] = {SIGTERM, SIGINT};
    for (size_t i = 0; i < COUNT(signals); i++) {
        CLEANUP(sottod_clear) struct sottod s = {.out = -1};
        CLEANUP(netclient_close) struct netclient c = {0};
        CLEANUP(netclient_close) struct netclient late = {0};
        CHECK_UINT(sottod_prepare(&s), OK);
        CHECK_UINT(sottod_start(&s, NULL), OK);
        CHECK_UINT(netclient_connect(&c, &s.address), OK);
        CHECK_UINT(netclient_hello(&c, LANE_ANONYMOUS, NULL), OK);
        pid_t store = s.pid;
        pid_t net = s.net_pid;
        CHECK(net > 0);
        uint64_t before = clock_mono_ms();
        CHECK_UINT((unsigned)sottod_stop(&s, signals[i]), 0);
        CHECK(clock_mono_ms() - before < 5000);
        CHECK_UINT(netclient_wait_closed(&c), OK);
        CHECK(gone(store) && gone(net));
        CHECK(netclient_connect(&late, &s.address) != OK);
    }
}

static void sigterm_to_the_network_process_ends_both(void)
{
    CLEANUP(sottod_clear) struct sottod s = {.out = -1};
    CHECK_UINT(sottod_prepare(&s), OK);
    CHECK_UINT(sottod_start(&s, NULL), OK);
    CHECK(kill(s.net_pid, SIGTERM) == 0);
    CHECK_UINT((unsigned)sottod_stop(&s, 0), 0);
}

static void the_port_file_names_the_port(void)
{
    CLEANUP(sottod_clear) struct sottod s = {.out = -1};
    CLEANUP(buf_clear) struct buf content = buf_new(100);
    char path[FILE_PATH_MAX];
    char want[16];
    CHECK_UINT(sottod_prepare(&s), OK);
    CHECK_UINT(file_path(s.dir, "port", path, NULL), OK);
    CHECK_UINT(sottod_start(&s, (const char *[]){"--port-file", path, NULL}),
               OK);
    uint64_t end = clock_mono_ms() + PATIENCE_MS;
    while (!file_exists(path) && clock_mono_ms() < end)
        (void)poll(NULL, 0, 5);
    CHECK_UINT(file_read(path, &content, NULL), OK);
    int len = snprintf(want, sizeof want, "%u\n", (unsigned)s.address.port);
    CHECK_BYTES(buf_bytes(&content),
                ((struct bytes){(const uint8_t *)want, (size_t)len}));
}

static void makes_invites_while_it_runs(void)
{
    CLEANUP(sottod_clear) struct sottod s = {.out = -1};
    CLEANUP(sottod_clear) struct sottod other = {.out = -1};
    CLEANUP(crypto_clear) struct crypto *crypto = NULL;
    char first[128];
    char second[128];
    struct invite invite;
    CHECK_UINT(crypto_create(&crypto), OK);
    CHECK_UINT(sottod_prepare(&s), OK);
    CHECK_UINT(sottod_prepare(&other), OK);
    CHECK_UINT(sottod_start(&s, NULL), OK);
    sottod_said(&s, "invite code: ", first, sizeof first);
    CHECK_UINT((unsigned)sottod_run(
                   &other, (const char *[]){"invite", "--data", s.data, NULL}),
               0);
    sottod_said(&other, "invite code: ", second, sizeof second);
    CHECK_UINT(invite_read(crypto, second, &invite), OK);
    CHECK(strcmp(first, second) != 0);
    CHECK_UINT((unsigned)sottod_stop(&s, SIGTERM), 0);
}

static void an_export_of_nobody_says_so(void)
{
    CLEANUP(sottod_clear) struct sottod s = {.out = -1};
    CLEANUP(sottod_clear) struct sottod other = {.out = -1};
    CHECK_UINT(sottod_prepare(&s), OK);
    CHECK_UINT(sottod_prepare(&other), OK);
    CHECK_UINT(sottod_start(&s, NULL), OK);
    CHECK_UINT(
        (unsigned)sottod_run(&other, (const char *[]){"legal-export", "carol",
                                                      "--data", s.data, NULL}),
        1);
    CHECK(said(&other, "nobody is called \"carol\""));
}

static void check_finds_a_sound_store_sound(void)
{
    CLEANUP(sottod_clear) struct sottod s = {.out = -1};
    CHECK_UINT(sottod_prepare(&s), OK);
    CHECK_UINT(sottod_start(&s, NULL), OK);
    CHECK_UINT((unsigned)sottod_stop(&s, SIGTERM), 0);
    CHECK_UINT((unsigned)sottod_run(
                   &s, (const char *[]){"check", "--data", s.data, NULL}),
               0);
    CHECK(said(&s, "no fault found"));
}

/* Makes the number-th channel; STATUS_COUNT_ when there is no answer. */
static unsigned create_channel(struct netclient *c, struct crypto *crypto,
                               uint8_t number)
{
    const uint8_t id[ID_SIZE] = {number};
    const struct pow_task task = {POW_CHANNEL_CREATE, BYTES_ARRAY(id), 1};
    struct request q = {.method = METHOD_CHANNEL_CREATE,
                        .channel_create = {.channel = BYTES_ARRAY(id),
                                           .sub = BYTES_ARRAY(id),
                                           .cap_hash = BYTES_ARRAY(id)}};
    struct answer a;
    bool found = false;
    q.channel_create.pow.day =
        (uint32_t)(clock_wall_ms() / 1000 / SECONDS_OF_DAY);
    if (pow_solve(crypto, &task, 1000, &q.channel_create.pow, &found) != OK ||
        netclient_ask(c, &q, &a) != OK)
        return STATUS_COUNT_;
    return a.status;
}

static void without_limits_strangers_are_not_told_to_wait(void)
{
    const char *const options[][4] = {
        {"--pow-bits", "1", NULL},
        {"--pow-bits", "1", "--no-limits", NULL},
    };
    CLEANUP(crypto_clear) struct crypto *crypto = NULL;
    CHECK_UINT(crypto_create(&crypto), OK);
    for (size_t i = 0; i < COUNT(options); i++) {
        CLEANUP(sottod_clear) struct sottod s = {.out = -1};
        CLEANUP(netclient_close) struct netclient c = {0};
        CHECK_UINT(sottod_prepare(&s), OK);
        CHECK_UINT(sottod_start(&s, options[i]), OK);
        CHECK_UINT(netclient_connect(&c, &s.address), OK);
        CHECK_UINT(netclient_hello(&c, LANE_ANONYMOUS, NULL), OK);
        unsigned busy = 0;
        for (unsigned n = 0; n < 250; n++) { /* a minute may begin meanwhile */
            unsigned status = create_channel(&c, crypto, (uint8_t)n);
            CHECK(status == STATUS_OK || status == STATUS_BUSY);
            busy += status == STATUS_BUSY;
        }
        CHECK((busy > 0) == (i == 0));
    }
}

/* ---- In trouble ---- */

static void a_second_server_on_the_folder_is_refused(void)
{
    CLEANUP(sottod_clear) struct sottod s = {.out = -1};
    CLEANUP(sottod_clear) struct sottod second = {.out = -1};
    CHECK_UINT(sottod_prepare(&s), OK);
    CHECK_UINT(sottod_prepare(&second), OK);
    CHECK_UINT(sottod_start(&s, NULL), OK);
    const char *const commands[][6] = {
        {"--data", s.data, "--listen", "127.0.0.1:0", NULL},
        {"check", "--data", s.data, NULL},
    };
    for (size_t i = 0; i < COUNT(commands); i++) {
        CHECK_UINT((unsigned)sottod_run(&second, commands[i]), 1);
        CHECK(said(&second, "another process uses this folder"));
    }
    CHECK_UINT((unsigned)sottod_stop(&s, SIGTERM), 0);
}

static void a_port_in_use_is_said(void)
{
    CLEANUP(sottod_clear) struct sottod s = {.out = -1};
    CLEANUP(sottod_clear) struct sottod second = {.out = -1};
    char address[NET_NAME_TEXT];
    CHECK_UINT(sottod_prepare(&s), OK);
    CHECK_UINT(sottod_prepare(&second), OK);
    CHECK_UINT(sottod_start(&s, NULL), OK);
    net_name_text(&s.address, address);
    CHECK_UINT((unsigned)sottod_run(
                   &second, (const char *[]){"--data", second.data, "--listen",
                                             address, NULL}),
               1);
    CHECK(said(&second, "in use"));
    CHECK(said(&second, address));
}

static void a_folder_that_is_no_good_is_said(void)
{
    CLEANUP(sottod_clear) struct sottod s = {.out = -1};
    CHECK_UINT(sottod_prepare(&s), OK);
    CHECK_UINT((unsigned)sottod_run(
                   &s, (const char *[]){"--data", "/proc/sotto", "--listen",
                                        "127.0.0.1:0", NULL}),
               1);
    CHECK(said(&s, "cannot make the folder"));

    CHECK(mkdir(s.data, 0700) == 0 && chmod(s.data, 0755) == 0);
    CHECK_UINT(sottod_start(&s, NULL), ERR_STATE);
    CHECK(said(&s, "open to others"));

    CHECK(chmod(s.data, 0700) == 0);
    CHECK_UINT((unsigned)sottod_run(
                   &s, (const char *[]){"check", "--data", s.data, NULL}),
               2);
    CHECK(said(&s, "not the data folder"));
}

static void damaged_files_are_said(void)
{
    static const uint8_t junk[8192] = {1, 2, 3};
    const struct {
        const char *name;
        struct bytes content;
        const char *words;
    } cases[] = {
        {"server.key", {junk, 31}, "server.key is damaged"},
        {"tls.key", {junk, 100}, "TLS key does not read"},
        {"tls.crt", {junk, 100}, "TLS certificate does not read"},
        {"channels.db", {junk, sizeof junk}, "channels.db"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(sottod_clear) struct sottod s = {.out = -1};
        CHECK_UINT(sottod_prepare(&s), OK);
        CHECK_UINT(sottod_start(&s, NULL), OK);
        CHECK_UINT((unsigned)sottod_stop(&s, SIGTERM), 0);
        CHECK_UINT(overwrite(&s, cases[i].name, cases[i].content), OK);
        CHECK_UINT(sottod_start(&s, NULL), ERR_STATE);
        CHECK(said(&s, cases[i].words));
    }
}

static void a_key_that_others_can_read_is_refused(void)
{
    CLEANUP(sottod_clear) struct sottod s = {.out = -1};
    char path[FILE_PATH_MAX];
    CHECK_UINT(sottod_prepare(&s), OK);
    CHECK_UINT(sottod_start(&s, NULL), OK);
    CHECK_UINT((unsigned)sottod_stop(&s, SIGTERM), 0);
    CHECK_UINT(file_path(s.data, "server.key", path, NULL), OK);
    CHECK(chmod(path, 0644) == 0);
    CHECK_UINT(sottod_start(&s, NULL), ERR_STATE);
    CHECK(said(&s, "chmod 600"));
}

static void wrong_words_are_refused(void)
{
    CLEANUP(sottod_clear) struct sottod s = {.out = -1};
    CHECK_UINT(sottod_prepare(&s), OK);
    const struct {
        const char *args[6];
        const char *words;
    } cases[] = {
        {{"--listen", "x", NULL}, "--data DIR is missing"},
        {{"fly", "--data", s.data, NULL}, "fly is no command"},
        {{"--dat", s.data, NULL}, "unknown option --dat"},
        {{"--data", s.data, "--listen", "a:b", NULL}, "not HOST or HOST:PORT"},
        {{"--log-level", "loud", NULL}, "no log level"},
        {{"legal-export", "--data", s.data, NULL}, "NAME is missing"},
        {{"check", "now", "--data", s.data, NULL}, "now is one word too many"},
        {{"--pow-bits", "0", NULL}, "from 1 to 26"},
        {{"--pow-bits", "27", NULL}, "from 1 to 26"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CHECK_UINT((unsigned)sottod_run(&s, cases[i].args), 2);
        CHECK(said(&s, cases[i].words));
    }
    CHECK(!file_exists(s.data));
}

static void when_one_process_dies_the_other_ends(void)
{
    for (int i = 0; i < 2; i++) {
        CLEANUP(sottod_clear) struct sottod s = {.out = -1};
        CHECK_UINT(sottod_prepare(&s), OK);
        CHECK_UINT(sottod_start(&s, NULL), OK);
        pid_t net = s.net_pid;
        if (i == 0) { /* net is killed: the store says so */
            CHECK(kill(net, SIGKILL) == 0);
            CHECK_UINT((unsigned)sottod_stop(&s, 0), 1);
            CHECK(said(&s, "network process"));
        } else {
            CHECK_UINT((unsigned)sottod_stop(&s, SIGKILL), 128 + SIGKILL);
        }
        CHECK(gone(net));
        CHECK_UINT(sottod_start(&s, NULL), OK); /* and nothing is in the way */
    }
}

/* Says hello and works for the right to create a channel. */
static enum err earn_channel(struct netclient *c, struct crypto *crypto,
                             struct request *q)
{
    static const uint8_t nonce[NONCE_SIZE];
    const struct request hello = {
        .method = METHOD_HELLO,
        .hello = {.version = PROTOCOL_VERSION,
                  .lane = LANE_ANONYMOUS,
                  .client_nonce = {nonce, sizeof nonce}}};
    struct answer a;
    bool found = false;
    TRY(netclient_ask(c, &hello, &a));
    if (a.status != STATUS_OK)
        return ERR_STATE;
    struct pow *pow = &q->channel_create.pow;
    pow->day = (uint32_t)(a.hello.time / SECONDS_OF_DAY);
    const struct pow_task task = {POW_CHANNEL_CREATE, q->channel_create.channel,
                                  a.hello.pow_bits};
    while (!found)
        TRY(pow_solve(crypto, &task, 1U << 16, pow, &found));
    return OK;
}

/* A limit of the file size stands for a full disk: writes fail, the server
 * stays up, and nothing of what it refused is there. */
static void a_full_disk_makes_clients_wait(void)
{
    CLEANUP(sottod_clear) struct sottod s = {.out = -1};
    CLEANUP(crypto_clear) struct crypto *crypto = NULL;
    CLEANUP(netclient_close) struct netclient c = {0};
    const struct rlimit tight = {1, RLIM_INFINITY};
    const struct rlimit wide = {RLIM_INFINITY, RLIM_INFINITY};
    static const uint8_t ids[3][ID_SIZE] = {{1}, {2}, {3}};
    struct request create = {
        .method = METHOD_CHANNEL_CREATE,
        .channel_create = {.channel = BYTES_ARRAY(ids[0]),
                           .sub = BYTES_ARRAY(ids[1]),
                           .cap_hash = BYTES_ARRAY(ids[2])}};
    struct answer a;
    CHECK_UINT(crypto_create(&crypto), OK);
    CHECK_UINT(sottod_prepare(&s), OK);
    CHECK_UINT(sottod_start(&s, NULL), OK);
    CHECK_UINT(netclient_connect(&c, &s.address), OK);
    CHECK_UINT(earn_channel(&c, crypto, &create), OK);

    CHECK(prlimit(s.pid, RLIMIT_FSIZE, &tight, NULL) == 0);
    CHECK_UINT(netclient_ask(&c, &create, &a), OK);
    CHECK_UINT(a.status, STATUS_BUSY);
    CHECK(a.detail > 0); /* when to retry */
    sottod_listen(&s);
    CHECK(said(&s, "cannot write"));

    CHECK(prlimit(s.pid, RLIMIT_FSIZE, &wide, NULL) == 0);
    CHECK_UINT(netclient_ask(&c, &create, &a), OK);
    CHECK_UINT(a.status, STATUS_OK);
    CHECK_UINT((unsigned)sottod_stop(&s, SIGTERM), 0);
}

/* ---- Settings ---- */

/* Writes the file of settings and returns its name. */
static const char *settings_of(const struct sottod *s, const char *text,
                               char path[FILE_PATH_MAX])
{
    if (file_path(s->dir, "sottod.conf", path, NULL) != OK ||
        file_write(path, bytes_str(text), NULL) != OK)
        path[0] = '\0';
    return path;
}

static void a_file_gives_the_settings(void)
{
    CLEANUP(sottod_clear) struct sottod s = {.out = -1};
    char path[FILE_PATH_MAX];
    char text[2 * FILE_PATH_MAX];
    CHECK_UINT(sottod_prepare(&s), OK);
    (void)snprintf(text, sizeof text,
                   "# mine\ndata = %s\nlisten = 127.0.0.1:0\npow-bits = 3\n",
                   s.data);
    settings_of(&s, text, path);
    CHECK_UINT(
        (unsigned)sottod_run(&s, (const char *[]){"config", "--config", path,
                                                  "--listen=*", NULL}),
        0);
    CHECK(said(&s, "\ndata = /"));
    CHECK(said(&s, "from the command line\nlisten = *\n"));
    CHECK(said(&s, "pow-bits = 3\n"));
    CHECK(said(&s, "# defaults\n"));
    CHECK(!file_exists(s.data)); /* to look changes nothing */
    CHECK_UINT(sottod_start(&s, (const char *[]){"--config", path, NULL}), OK);
    CHECK_UINT((unsigned)sottod_stop(&s, SIGTERM), 0);
    CHECK_UINT((unsigned)sottod_run(
                   &s, (const char *[]){"check", "--config", path, NULL}),
               0);
    CHECK(said(&s, "no fault found"));
}

static void a_file_of_settings_that_is_wrong_is_refused(void)
{
    CLEANUP(sottod_clear) struct sottod s = {.out = -1};
    char path[FILE_PATH_MAX];
    const struct {
        const char *text;
        mode_t mode;
        int status;
        const char *words;
    } cases[] = {
        {"listen = a\nlissten = b\n", 0600, 2,
         "sottod.conf:2: no setting is called \"lissten\""},
        {"pow-bits = 99\n", 0600, 2, "sottod.conf:1: \"99\" is no number"},
        {"log-level = info\n", 0622, 2, "chmod go-w"},
        {"store = postgresql://u:word@h/db\n", 0644, 2, "chmod 600"},
        {"store = host=h password=word\n", 0644, 2, "chmod 600"},
    };
    CHECK_UINT(sottod_prepare(&s), OK);
    for (size_t i = 0; i < COUNT(cases); i++) {
        settings_of(&s, cases[i].text, path);
        CHECK(chmod(path, cases[i].mode) == 0);
        CHECK(sottod_run(&s, (const char *[]){"--config", path, "--data",
                                              s.data, NULL}) ==
              cases[i].status);
        CHECK(said(&s, cases[i].words));
    }
    CHECK_UINT((unsigned)sottod_run(&s, (const char *[]){"config", "--config",
                                                         "/nowhere", NULL}),
               2);
    CHECK(said(&s, "cannot open /nowhere"));
}

static void a_password_is_not_shown(void)
{
    CLEANUP(sottod_clear) struct sottod s = {.out = -1};
    static const char *const stores[] = {"postgresql://u:sesame@h/db",
                                         "host=h password=sesame"};
    CHECK_UINT(sottod_prepare(&s), OK);
    for (size_t i = 0; i < COUNT(stores); i++) {
        CHECK_UINT((unsigned)sottod_run(
                       &s, (const char *[]){"config", "--config=", "--store",
                                            stores[i], NULL}),
                   0);
        CHECK(said(&s, "store = (not shown"));
        CHECK(strstr(s.output, "sesame") == NULL);
    }
}

static enum err read_page(const char *variable, struct buf *page)
{
    const char *path = getenv(variable);
    if (path == NULL)
        return ERR_NOTFOUND;
    TRY(file_read(path, page, NULL));
    return buf_append(page, (struct bytes){(const uint8_t *)"", 1});
}

/* The page's item of this name, up to the next one; false: there is none. */
static bool find_item(const struct buf *page, const char *macro,
                      const char *name, char out[4096])
{
    char head[128];
    int len = snprintf(head, sizeof head, "\n.It %s%s", macro, name);
    const char *at = (const char *)page->data;
    for (at = strstr(at, head); at != NULL; at = strstr(at + 1, head)) {
        const char *end = strstr(at + 1, "\n.It ");
        if (at[len] != ' ' && at[len] != '\n')
            continue;
        size_t size = end != NULL ? (size_t)(end - at) : strlen(at);
        size = size < 4095 ? size : 4095;
        memcpy(out, at, size);
        out[size] = '\0';
        return true;
    }
    printf("# not in the man page: %s\n", name);
    return false;
}

/* One table drives parser, help and man pages (STYLE rule 22); the page also
 * gives each value that is in force when nothing is said. */
static void the_man_page_has_every_setting_and_its_default(void)
{
    CLEANUP(sottod_clear) struct sottod s = {.out = -1};
    CLEANUP(buf_clear) struct buf page = buf_new(1U << 16);
    char item[4096];
    unsigned count = 0;
    CHECK_UINT(read_page("SOTTOD_CONF_MAN", &page), OK);
    CHECK_UINT(sottod_prepare(&s), OK);
    CHECK_UINT(
        (unsigned)sottod_run(&s, (const char *[]){"config", "--config=", NULL}),
        0);
    for (char *line = s.output; *line != '\0'; count++) {
        char name[64] = {0};
        char value[64] = {0};
        char *end = line + strcspn(line, "\n");
        bool unset = sscanf(line, "# %63[a-z-] = ", name) == 1 &&
                     line[2 + strlen(name) + 1] == '=';
        if (unset || sscanf(line, "%63[a-z-] = %63[^\n]", name, value) == 2) {
            CHECK(find_item(&page, "Cm ", name, item));
            CHECK(unset || strstr(item, value) != NULL);
        }
        line = *end != '\0' ? end + 1 : end;
    }
    CHECK(count >= 9);
}

static void the_man_page_names_every_option(void)
{
    CLEANUP(sottod_clear) struct sottod s = {.out = -1};
    CLEANUP(buf_clear) struct buf page = buf_new(1U << 16);
    CLEANUP(buf_clear) struct buf settings = buf_new(1U << 16);
    char item[4096];
    unsigned count = 0;
    CHECK_UINT(read_page("SOTTOD_MAN", &page), OK);
    CHECK_UINT(read_page("SOTTOD_CONF_MAN", &settings), OK);
    CHECK_UINT(sottod_prepare(&s), OK);
    CHECK_UINT((unsigned)sottod_run(&s, (const char *[]){"--help", NULL}), 0);
    for (char *at = strstr(s.output, "\n  --"); at != NULL;
         at = strstr(at + 1, "\n  --")) {
        char name[64] = {0};
        CHECK(sscanf(at, "\n  --%63[a-z-]", name) == 1);
        CHECK(find_item(&page, "Fl -", name, item) ||
              find_item(&settings, "Cm ", name, item));
        count++;
    }
    CHECK(count >= 12);
}

static void each_command_has_its_own_help(void)
{
    CLEANUP(sottod_clear) struct sottod s = {.out = -1};
    const char *const commands[] = {"backup", "check",        "config",
                                    "invite", "legal-export", "restore",
                                    "stats",  "self-test"};
    CHECK_UINT(sottod_prepare(&s), OK);
    for (size_t i = 0; i < COUNT(commands); i++) {
        char words[64];
        CHECK_UINT((unsigned)sottod_run(
                       &s, (const char *[]){commands[i], "--help", NULL}),
                   0);
        (void)snprintf(words, sizeof words, "usage: sottod %s", commands[i]);
        CHECK(said(&s, words));
    }
}

/* ---- The sandbox ---- */

/* A line of /proc/PID/status. */
static bool has_status(pid_t pid, const char *line)
{
    char path[64];
    char text[4096];
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return false;
    size_t len = fread(text, 1, sizeof text - 1, f);
    (void)fclose(f);
    text[len] = '\0';
    return strstr(text, line) != NULL;
}

/* The store enters it after it has said that it listens. */
static bool enters_sandbox(pid_t pid)
{
    uint64_t end = clock_mono_ms() + PATIENCE_MS;
    while (!has_status(pid, "\nSeccomp:\t2\n") && clock_mono_ms() < end)
        (void)poll(NULL, 0, 5);
    return has_status(pid, "\nSeccomp:\t2\n");
}

static void both_processes_are_in_a_sandbox(void)
{
    CLEANUP(sottod_clear) struct sottod s = {.out = -1};
    CHECK_UINT(sottod_prepare(&s), OK);
    CHECK_UINT(sottod_start(&s, NULL), OK);
    const pid_t pids[] = {s.pid, s.net_pid};
    for (size_t i = 0; i < COUNT(pids); i++) {
        CHECK(has_status(pids[i], "\nNoNewPrivs:\t1\n"));
        CHECK(!sandbox_is_built() || enters_sandbox(pids[i]));
    }
}

/* It finds by itself whether a call that is not refused would be seen. */
static void the_sandbox_refuses_what_it_must(void)
{
    CLEANUP(sottod_clear) struct sottod s = {.out = -1};
    CHECK_UINT(sottod_prepare(&s), OK);
    int status = sottod_run(&s, (const char *[]){"self-test", NULL});
    CHECK_UINT((unsigned)status, sandbox_is_built() ? 0 : 1);
    CHECK(said(&s, sandbox_is_built() ? "store    a program"
                                      : "this build has no sandbox"));
    CHECK(strstr(s.output, "WRONG") == NULL);
}

static const struct test tests[] = {
    TEST(answers_a_signed_hello_on_both_lanes),
    TEST(the_first_invite_pins_the_servers_key),
    TEST(a_restart_keeps_the_identity),
    TEST(sigterm_lets_clients_go_and_leaves_nothing),
    TEST(sigterm_to_the_network_process_ends_both),
    TEST(the_port_file_names_the_port),
    TEST(makes_invites_while_it_runs),
    TEST(an_export_of_nobody_says_so),
    TEST(check_finds_a_sound_store_sound),
    TEST(without_limits_strangers_are_not_told_to_wait),
    TEST(a_second_server_on_the_folder_is_refused),
    TEST(a_port_in_use_is_said),
    TEST(a_folder_that_is_no_good_is_said),
    TEST(damaged_files_are_said),
    TEST(a_key_that_others_can_read_is_refused),
    TEST(wrong_words_are_refused),
    TEST(when_one_process_dies_the_other_ends),
    TEST(a_full_disk_makes_clients_wait),
    TEST(both_processes_are_in_a_sandbox),
    TEST(the_sandbox_refuses_what_it_must),
    TEST(a_file_gives_the_settings),
    TEST(a_file_of_settings_that_is_wrong_is_refused),
    TEST(a_password_is_not_shown),
    TEST(the_man_page_has_every_setting_and_its_default),
    TEST(the_man_page_names_every_option),
    TEST(each_command_has_its_own_help),
};
TEST_MAIN(tests)
