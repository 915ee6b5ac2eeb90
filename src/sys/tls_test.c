/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/tls.h"

#include "base/mem.h"
#include "sys/openssl.h"
#include "test.h"

#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A server and a client over a socket pair. */
struct pair {
    int fds[2];
    struct tls_context *server_context;
    struct tls_context *client_context;
    struct tls *server;
    struct tls *client;
    struct buf cert;
    struct buf key;
};

static void pair_clear(struct pair *p)
{
    tls_free(&p->server);
    tls_free(&p->client);
    tls_context_free(&p->server_context);
    tls_context_free(&p->client_context);
    buf_clear(&p->cert);
    buf_clear(&p->key);
    for (int i = 0; i < 2; i++) {
        if (p->fds[i] > 0)
            (void)close(p->fds[i]);
        p->fds[i] = 0;
    }
}

/* Everything but the client's end. */
static enum err server_set_up(struct pair *p)
{
    p->cert = buf_new(TLS_PEM_MAX);
    p->key = buf_new(TLS_PEM_MAX);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p->fds) != 0)
        return ERR_IO;
    TRY(tls_certificate_create("localhost", &p->cert, &p->key));
    TRY(tls_server_create(buf_bytes(&p->cert), buf_bytes(&p->key),
                          &p->server_context, NULL));
    return tls_accept(p->server_context, p->fds[0], &p->server);
}

static enum err set_up(struct pair *p, const struct tls_peer *peer)
{
    TRY(server_set_up(p));
    TRY(tls_client_create(&p->client_context, NULL));
    return tls_connect(p->client_context, p->fds[1], peer, &p->client);
}

/* Lets both sides go on in turn; returns the first failure. */
static enum err shake(struct pair *p, struct problem *why)
{
    enum tls_step server = TLS_WANT_READ;
    enum tls_step client = TLS_WANT_READ;
    for (int i = 0; i < 10; i++) {
        if (client != TLS_DONE)
            TRY(tls_handshake(p->client, &client, why));
        if (server != TLS_DONE)
            TRY(tls_handshake(p->server, &server, why));
        if (client == TLS_DONE && server == TLS_DONE)
            return OK;
    }
    return ERR_STATE;
}

static const struct tls_peer by_hello = {.trust = TLS_TRUST_CALLER};

static void both_ends_share_an_exporter_of_this_connection(void)
{
    uint8_t seen[2][TLS_EXPORTER_SIZE];
    for (int i = 0; i < 2; i++) {
        CLEANUP(pair_clear) struct pair p = {0};
        uint8_t other[TLS_EXPORTER_SIZE];
        CHECK_UINT(set_up(&p, &by_hello), OK);
        CHECK_UINT(shake(&p, NULL), OK);
        CHECK_UINT(tls_exporter(p.server, seen[i]), OK);
        CHECK_UINT(tls_exporter(p.client, other), OK);
        CHECK(memcmp(seen[i], other, sizeof other) == 0);
    }
    CHECK(memcmp(seen[0], seen[1], sizeof seen[0]) != 0);
}

static void carries_bytes_until_goodbye(void)
{
    CLEANUP(pair_clear) struct pair p = {0};
    uint8_t got[100];
    size_t len = 0;
    enum tls_step step = TLS_DONE;
    CHECK_UINT(set_up(&p, &by_hello), OK);
    CHECK_UINT(shake(&p, NULL), OK);
    CHECK_UINT(tls_read(p.client, got, sizeof got, &len, &step), OK);
    CHECK_UINT(step, TLS_WANT_READ);
    CHECK_UINT(tls_write(p.server, LIT("hello"), &len, &step), OK);
    CHECK_UINT(step, TLS_DONE);
    CHECK_UINT(len, 5);
    CHECK_UINT(tls_read(p.client, got, 2, &len, &step), OK);
    CHECK_BYTES(((struct bytes){got, len}), LIT("he"));
    CHECK(tls_pending(p.client));
    CHECK_UINT(tls_read(p.client, got, sizeof got, &len, &step), OK);
    CHECK_BYTES(((struct bytes){got, len}), LIT("llo"));
    CHECK(!tls_pending(p.client));
    tls_goodbye(p.client);
    CHECK_UINT(tls_read(p.server, got, sizeof got, &len, &step), OK);
    CHECK_UINT(step, TLS_END);
}

static void a_full_socket_makes_the_writer_wait(void)
{
    static const uint8_t block[8192];
    static uint8_t got[16384];
    CLEANUP(pair_clear) struct pair p = {0};
    size_t sent = 0;
    size_t received = 0;
    size_t len = 0;
    enum tls_step step = TLS_DONE;
    CHECK_UINT(set_up(&p, &by_hello), OK);
    CHECK_UINT(shake(&p, NULL), OK);
    for (;;) {
        CHECK_UINT(tls_write(p.server, (struct bytes){block, sizeof block},
                             &len, &step),
                   OK);
        if (step != TLS_DONE)
            break;
        sent += len;
        CHECK(sent < (64U << 20));
    }
    CHECK_UINT(step, TLS_WANT_WRITE);
    for (;;) {
        CHECK_UINT(tls_read(p.client, got, sizeof got, &len, &step), OK);
        if (step != TLS_DONE)
            break;
        received += len;
    }
    CHECK_UINT(received, sent);
    CHECK_UINT(
        tls_write(p.server, (struct bytes){block, sizeof block}, &len, &step),
        OK);
    CHECK_UINT(step, TLS_DONE);
}

static void a_pin_accepts_its_certificate_only(void)
{
    for (unsigned flip = 0; flip < 2; flip++) {
        CLEANUP(pair_clear) struct pair p = {0};
        struct problem why = {0};
        struct tls_peer pin = {.trust = TLS_TRUST_PIN};
        CHECK_UINT(server_set_up(&p), OK);
        CHECK_UINT(tls_fingerprint(buf_bytes(&p.cert), pin.pin), OK);
        pin.pin[31] ^= (uint8_t)flip;
        CHECK_UINT(tls_client_create(&p.client_context, NULL), OK);
        CHECK_UINT(tls_connect(p.client_context, p.fds[1], &pin, &p.client),
                   OK);
        CHECK_UINT(shake(&p, &why), flip ? ERR_AUTH : OK);
        CHECK_UINT(why.kind, flip ? PROBLEM_TRUST : PROBLEM_NONE);
    }
}

static void the_trust_store_refuses_a_self_signed_certificate(void)
{
    CLEANUP(pair_clear) struct pair p = {0};
    struct problem why = {0};
    const struct tls_peer peer = {.trust = TLS_TRUST_SYSTEM,
                                  .host = "localhost"};
    CHECK_UINT(set_up(&p, &peer), OK);
    CHECK_UINT(shake(&p, &why), ERR_AUTH);
    CHECK_UINT(why.kind, PROBLEM_TRUST);
    CHECK(strstr(why.detail, "not trusted") != NULL);
}

/* What a foreign client offers. */
struct foreign {
    int max_version;
    struct bytes protocols;
};

/* Shakes hands with a client made straight from OpenSSL. */
static enum err shake_foreign(struct pair *p, const struct foreign *f,
                              struct problem *why)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
    SSL *ssl = ctx != NULL ? SSL_new(ctx) : NULL;
    enum err err = ERR_NOMEM;
    if (ssl != NULL && SSL_set_fd(ssl, p->fds[1]) == 1 &&
        SSL_set_max_proto_version(ssl, f->max_version) == 1 &&
        (f->protocols.len == 0 ||
         SSL_set_alpn_protos(ssl, f->protocols.data,
                             (unsigned)f->protocols.len) == 0)) {
        enum tls_step step = TLS_WANT_READ;
        err = OK;
        for (int i = 0; i < 10 && err == OK && step != TLS_DONE; i++) {
            (void)SSL_connect(ssl);
            err = tls_handshake(p->server, &step, why);
        }
    }
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    return err;
}

static void refuses_old_tls_and_other_protocols(void)
{
    const struct {
        struct foreign client;
        enum err want;
        enum tls_protocol protocol;
    } cases[] = {
        {{TLS1_3_VERSION, LIT("\x07sotto/1")}, OK, TLS_SOTTO},
        {{TLS1_3_VERSION, LIT("\x02h2\x07sotto/1")}, OK, TLS_SOTTO},
        {{TLS1_3_VERSION, LIT("\x08http/1.1\x07sotto/1")}, OK, TLS_SOTTO},
        {{TLS1_3_VERSION, LIT("\x02h2\x08http/1.1")}, OK, TLS_HTTP},
        {{TLS1_3_VERSION, LIT("")}, OK, TLS_HTTP}, /* offers none */
        {{TLS1_2_VERSION, LIT("\x07sotto/1")}, ERR_IO, TLS_SOTTO},
        {{TLS1_2_VERSION, LIT("\x08http/1.1")}, ERR_IO, TLS_SOTTO},
        {{TLS1_3_VERSION, LIT("\x02h2")}, ERR_IO, TLS_SOTTO},
        {{TLS1_3_VERSION, LIT("\x07sotto/2")}, ERR_IO, TLS_SOTTO},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CLEANUP(pair_clear) struct pair p = {0};
        struct problem why = {0};
        CHECK_UINT(server_set_up(&p), OK);
        CHECK_UINT(shake_foreign(&p, &cases[i].client, &why), cases[i].want);
        CHECK((why.detail[0] == '\0') == (cases[i].want == OK));
        if (cases[i].want == OK)
            CHECK_UINT(tls_protocol(p.server), cases[i].protocol);
    }
}

static void refuses_what_is_not_tls(void)
{
    CLEANUP(pair_clear) struct pair p = {0};
    enum tls_step step = TLS_DONE;
    struct problem why = {0};
    CHECK_UINT(server_set_up(&p), OK);
    CHECK(write(p.fds[1], "GET / HTTP/1.1\r\n\r\n", 18) == 18);
    CHECK_UINT(tls_handshake(p.server, &step, &why), ERR_IO);
    CHECK_UINT(why.kind, PROBLEM_NETWORK);
}

static void notices_a_peer_that_leaves_half_way(void)
{
    CLEANUP(pair_clear) struct pair p = {0};
    enum tls_step step = TLS_DONE;
    CHECK_UINT(set_up(&p, &by_hello), OK);
    CHECK_UINT(tls_handshake(p.client, &step, NULL), OK);
    CHECK_UINT(tls_handshake(p.server, &step, NULL), OK);
    CHECK_UINT(step, TLS_WANT_READ);
    tls_free(&p.client);
    (void)close(p.fds[1]);
    p.fds[1] = 0;
    CHECK_UINT(tls_handshake(p.server, &step, NULL), ERR_IO);
}

static void a_cut_connection_is_not_a_goodbye(void)
{
    CLEANUP(pair_clear) struct pair p = {0};
    uint8_t got[10];
    size_t len = 0;
    enum tls_step step = TLS_DONE;
    CHECK_UINT(set_up(&p, &by_hello), OK);
    CHECK_UINT(shake(&p, NULL), OK);
    (void)close(p.fds[1]);
    p.fds[1] = 0;
    CHECK_UINT(tls_read(p.server, got, sizeof got, &len, &step), ERR_IO);
}

static void refuses_keys_that_do_not_fit(void)
{
    CLEANUP(buf_clear) struct buf cert = buf_new(TLS_PEM_MAX);
    CLEANUP(buf_clear) struct buf key = buf_new(TLS_PEM_MAX);
    CLEANUP(buf_clear) struct buf other = buf_new(TLS_PEM_MAX);
    CLEANUP(buf_clear) struct buf unused = buf_new(TLS_PEM_MAX);
    CLEANUP(tls_context_free) struct tls_context *context = NULL;
    struct problem why = {0};
    CHECK_UINT(tls_certificate_create("a", &cert, &key), OK);
    CHECK_UINT(tls_certificate_create("b", &unused, &other), OK);
    CHECK(tls_server_create(buf_bytes(&cert), buf_bytes(&other), &context,
                            &why) != OK);
    CHECK(why.detail[0] != '\0');
    CHECK_UINT(
        tls_server_create(buf_bytes(&cert), LIT("no key"), &context, &why),
        ERR_MALFORMED);
    CHECK_UINT(
        tls_server_create(LIT("no cert"), buf_bytes(&key), &context, &why),
        ERR_MALFORMED);
    CHECK(context == NULL);
}

static void a_certificate_holds_for_ten_years(void)
{
    CLEANUP(buf_clear) struct buf pem = buf_new(TLS_PEM_MAX);
    CLEANUP(buf_clear) struct buf key = buf_new(TLS_PEM_MAX);
    CHECK_UINT(tls_certificate_create("host.example", &pem, &key), OK);
    BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.len);
    X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    BIO_free(bio);
    CHECK(cert != NULL);
    int days = 0;
    int seconds = 0;
    int ok = ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(cert));
    int verified = X509_verify(cert, X509_get0_pubkey(cert));
    X509_free(cert);
    CHECK(ok == 1 && days >= 3650);
    CHECK(verified == 1);
}

static void survives_each_allocation_failure(void)
{
    enum err err = ERR_NOMEM;
    for (unsigned n = 0; err != OK; n++) {
        CLEANUP(pair_clear) struct pair p = {0};
        mem_fail_after(n);
        err = set_up(&p, &by_hello);
        CHECK(err == OK || err == ERR_NOMEM);
    }
}

static const struct test tests[] = {
    TEST(both_ends_share_an_exporter_of_this_connection),
    TEST(carries_bytes_until_goodbye),
    TEST(a_full_socket_makes_the_writer_wait),
    TEST(a_pin_accepts_its_certificate_only),
    TEST(the_trust_store_refuses_a_self_signed_certificate),
    TEST(refuses_old_tls_and_other_protocols),
    TEST(refuses_what_is_not_tls),
    TEST(notices_a_peer_that_leaves_half_way),
    TEST(a_cut_connection_is_not_a_goodbye),
    TEST(refuses_keys_that_do_not_fit),
    TEST(a_certificate_holds_for_ten_years),
    TEST(survives_each_allocation_failure),
};

int main(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    return test_run(tests, COUNT(tests));
}
