/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/tls.h"

#include "base/mem.h"
#include "sys/openssl.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <string.h>

/* The protocols that we speak, as the ALPN extension encodes them, the best
 * first; a client speaks that one only. */
static const unsigned char protocols[] = "\x07sotto/1"
                                         "\x08http/1.1";
#define PROTOCOLS_LEN (sizeof protocols - 1)
#define CLIENT_LEN    (1U + protocols[0])

struct tls_context {
    SSL_CTX *ctx;
};

struct tls {
    SSL *ssl;
    bool client;
    bool up;
    bool broken; /* after a fatal error OpenSSL must not be asked again */
    struct tls_peer peer; /* client; `host` is not kept */
};

/* OpenSSL's newest reason for a failure, or a general one. */
static const char *reason(void)
{
    const char *text = ERR_reason_error_string(ERR_peek_last_error());
    return text != NULL ? text : "the TLS library failed";
}

/* ---- Contexts ---- */

/* RFC 7301, section 3.2: no common protocol ends the handshake. */
static int choose_protocol(SSL *ssl, const unsigned char **out,
                           unsigned char *out_len, const unsigned char *offered,
                           unsigned int offered_len, void *arg)
{
    unsigned char *chosen = NULL;
    (void)ssl;
    (void)arg;
    if (SSL_select_next_proto(&chosen, out_len, protocols, PROTOCOLS_LEN,
                              offered, offered_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static enum err context_create(const SSL_METHOD *method,
                               struct tls_context **out_context,
                               struct problem *p)
{
    ERR_clear_error();
    CLEANUP(tls_context_free) struct tls_context *c = mem_alloc(sizeof *c);
    if (c == NULL)
        return problem_set(p, ERR_NOMEM, PROBLEM_SYSTEM, "out of memory");
    c->ctx = SSL_CTX_new(method);
    if (c->ctx == NULL ||
        SSL_CTX_set_min_proto_version(c->ctx, TLS1_3_VERSION) != 1)
        return problem_set(p, ERR_NOMEM, PROBLEM_SYSTEM, "%s", reason());
    SSL_CTX_set_mode(c->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                 SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                 SSL_MODE_RELEASE_BUFFERS);
    /* Takes a whole record, or several, with one system call. */
    SSL_CTX_set_read_ahead(c->ctx, 1);
    SSL_CTX_set_session_cache_mode(c->ctx, SSL_SESS_CACHE_OFF);
    *out_context = c;
    c = NULL; /* handed over */
    return OK;
}

static void bio_free(BIO **bio)
{
    (void)BIO_free(*bio);
    *bio = NULL;
}

static void x509_free(X509 **cert)
{
    X509_free(*cert);
    *cert = NULL;
}

static void pkey_free(EVP_PKEY **key)
{
    EVP_PKEY_free(*key);
    *key = NULL;
}

static BIO *bio_of(struct bytes pem)
{
    return pem.len <= TLS_PEM_MAX ? BIO_new_mem_buf(pem.data, (int)pem.len)
                                  : NULL;
}

/* The first certificate is ours, the others lead to the root. */
static enum err use_chain(SSL_CTX *ctx, struct bytes pem)
{
    CLEANUP(bio_free) BIO *bio = bio_of(pem);
    if (bio == NULL)
        return ERR_LIMIT;
    CLEANUP(x509_free) X509 *leaf = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    if (leaf == NULL || SSL_CTX_use_certificate(ctx, leaf) != 1)
        return ERR_MALFORMED;
    for (;;) {
        X509 *next = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        if (next == NULL)
            break;
        if (SSL_CTX_add0_chain_cert(ctx, next) != 1) {
            X509_free(next);
            return ERR_NOMEM;
        }
    }
    ERR_clear_error(); /* the end of the file is reported as one */
    return OK;
}

/* Keeps OpenSSL from asking for a passphrase on the terminal. */
/* NOLINTNEXTLINE(readability-non-const-parameter): pem_password_cb says so */
static int no_passphrase(char *buf, int size, int writing, void *arg)
{
    (void)buf;
    (void)size;
    (void)writing;
    (void)arg;
    return -1;
}

static enum err use_key(SSL_CTX *ctx, struct bytes pem)
{
    CLEANUP(bio_free) BIO *bio = bio_of(pem);
    if (bio == NULL)
        return ERR_LIMIT;
    CLEANUP(pkey_free)
    EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    if (key == NULL)
        return ERR_MALFORMED;
    return SSL_CTX_use_PrivateKey(ctx, key) == 1 &&
                   SSL_CTX_check_private_key(ctx) == 1
               ? OK
               : ERR_INVALID;
}

enum err tls_server_create(struct bytes cert_pem, struct bytes key_pem,
                           struct tls_context **out_context, struct problem *p)
{
    CLEANUP(tls_context_free) struct tls_context *c = NULL;
    TRY(context_create(TLS_server_method(), &c, p));
    enum err err = use_chain(c->ctx, cert_pem);
    if (err != OK)
        return problem_set(p, err, PROBLEM_DAMAGED,
                           "the TLS certificate does not read: %s", reason());
    err = use_key(c->ctx, key_pem);
    if (err != OK)
        return problem_set(p, err, PROBLEM_DAMAGED,
                           err == ERR_INVALID
                               ? "the TLS key is not the certificate's: %s"
                               : "the TLS key does not read: %s",
                           reason());
    /* Tickets cost memory and link a client's connections to each other. */
    (void)SSL_CTX_set_num_tickets(c->ctx, 0);
    SSL_CTX_set_options(c->ctx, SSL_OP_NO_TICKET);
    SSL_CTX_set_alpn_select_cb(c->ctx, choose_protocol, NULL);
    *out_context = c;
    c = NULL; /* handed over */
    return OK;
}

enum err tls_client_create(struct tls_context **out_context, struct problem *p)
{
    CLEANUP(tls_context_free) struct tls_context *c = NULL;
    TRY(context_create(TLS_client_method(), &c, p));
    /* Returns 0 for success, unlike the rest. */
    if (SSL_CTX_set_alpn_protos(c->ctx, protocols, CLIENT_LEN) != 0 ||
        SSL_CTX_set_default_verify_paths(c->ctx) != 1)
        return problem_set(p, ERR_NOMEM, PROBLEM_SYSTEM, "%s", reason());
    *out_context = c;
    c = NULL; /* handed over */
    return OK;
}

void tls_context_free(struct tls_context **context)
{
    if (*context == NULL)
        return;
    SSL_CTX_free((*context)->ctx);
    mem_free(*context, sizeof **context);
    *context = NULL;
}

/* ---- Connections ---- */

static enum err connection_create(struct tls_context *context, int fd,
                                  struct tls **out_tls)
{
    CLEANUP(tls_free) struct tls *t = mem_alloc(sizeof *t);
    if (t == NULL)
        return ERR_NOMEM;
    t->ssl = SSL_new(context->ctx);
    if (t->ssl == NULL || SSL_set_fd(t->ssl, fd) != 1)
        return ERR_NOMEM;
    *out_tls = t;
    t = NULL; /* handed over */
    return OK;
}

enum err tls_accept(struct tls_context *context, int fd, struct tls **out_tls)
{
    TRY(connection_create(context, fd, out_tls));
    SSL_set_accept_state((*out_tls)->ssl);
    return OK;
}

static bool is_address(const char *host)
{
    struct in6_addr any;
    return inet_pton(AF_INET, host, &any) == 1 ||
           inet_pton(AF_INET6, host, &any) == 1;
}

/* RFC 6066, section 3: addresses are not sent as server names. */
static enum err expect_host(SSL *ssl, const struct tls_peer *peer)
{
    char name[TLSEXT_MAXLEN_host_name + 1]; /* the macro wants it writable */
    size_t len = strlen(peer->host);
    bool address = is_address(peer->host);
    if (len >= sizeof name)
        return ERR_INVALID;
    memcpy(name, peer->host, len + 1);
    if (!address && SSL_set_tlsext_host_name(ssl, name) != 1)
        return ERR_INVALID;
    if (peer->trust != TLS_TRUST_SYSTEM)
        return OK;
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    int set = address ? X509_VERIFY_PARAM_set1_ip_asc(param, peer->host)
                      : X509_VERIFY_PARAM_set1_host(param, peer->host, 0);
    return set == 1 ? OK : ERR_INVALID;
}

enum err tls_connect(struct tls_context *context, int fd,
                     const struct tls_peer *peer, struct tls **out_tls)
{
    assert(peer->trust != TLS_TRUST_SYSTEM || peer->host != NULL);
    CLEANUP(tls_free) struct tls *t = NULL;
    TRY(connection_create(context, fd, &t));
    SSL_set_connect_state(t->ssl);
    t->client = true;
    t->peer = *peer;
    t->peer.host = NULL;
    /* A pin is compared after the handshake; nothing is sent before. */
    SSL_set_verify(t->ssl,
                   peer->trust == TLS_TRUST_SYSTEM ? SSL_VERIFY_PEER
                                                   : SSL_VERIFY_NONE,
                   NULL);
    if (peer->host != NULL)
        TRY(expect_host(t->ssl, peer));
    *out_tls = t;
    t = NULL; /* handed over */
    return OK;
}

void tls_free(struct tls **tls)
{
    if (*tls == NULL)
        return;
    SSL_free((*tls)->ssl);
    mem_free(*tls, sizeof **tls);
    *tls = NULL;
}

/* Sorts what an SSL_ call returned: a step to wait for, or a failure. */
static enum err step_of(struct tls *t, int result, enum tls_step *out_step)
{
    switch (SSL_get_error(t->ssl, result)) {
    case SSL_ERROR_NONE:
        *out_step = TLS_DONE;
        return OK;
    case SSL_ERROR_WANT_READ:
        *out_step = TLS_WANT_READ;
        return OK;
    case SSL_ERROR_WANT_WRITE:
        *out_step = TLS_WANT_WRITE;
        return OK;
    case SSL_ERROR_ZERO_RETURN:
        *out_step = TLS_END;
        return OK;
    default:
        t->broken = true;
        return ERR_IO;
    }
}

enum tls_protocol tls_protocol(const struct tls *tls)
{
    const unsigned char *chosen = NULL;
    unsigned int len = 0;
    SSL_get0_alpn_selected(tls->ssl, &chosen, &len);
    if (len == CLIENT_LEN - 1 && CRYPTO_memcmp(chosen, protocols + 1, len) == 0)
        return TLS_SOTTO;
    return TLS_HTTP;
}

static enum err check_protocol(const struct tls *t, struct problem *p)
{
    if (!t->client || tls_protocol(t) == TLS_SOTTO)
        return OK;
    return problem_set(p, ERR_IO, PROBLEM_NETWORK,
                       "the other side does not speak sotto/1");
}

static enum err check_pin(const struct tls *t, struct problem *p)
{
    uint8_t seen[TLS_FINGERPRINT_SIZE];
    unsigned int len = 0;
    if (t->peer.trust != TLS_TRUST_PIN)
        return OK;
    CLEANUP(x509_free) X509 *cert = SSL_get1_peer_certificate(t->ssl);
    if (cert != NULL && X509_digest(cert, EVP_sha256(), seen, &len) == 1 &&
        len == sizeof seen &&
        CRYPTO_memcmp(seen, t->peer.pin, sizeof seen) == 0)
        return OK;
    return problem_set(p, ERR_AUTH, PROBLEM_TRUST,
                       "the server's certificate is not the expected one");
}

static enum err handshake_failed(const struct tls *t, struct problem *p)
{
    long verdict = SSL_get_verify_result(t->ssl);
    if (t->client && t->peer.trust == TLS_TRUST_SYSTEM && verdict != X509_V_OK)
        return problem_set(p, ERR_AUTH, PROBLEM_TRUST,
                           "the server's certificate is not trusted: %s",
                           X509_verify_cert_error_string(verdict));
    if (ERR_peek_last_error() != 0)
        return problem_set(p, ERR_IO, PROBLEM_NETWORK, "TLS: %s", reason());
    return problem_set(p, ERR_IO, PROBLEM_NETWORK,
                       "the other side closed during the TLS handshake");
}

enum err tls_handshake(struct tls *tls, enum tls_step *out_step,
                       struct problem *p)
{
    assert(!tls->broken);
    ERR_clear_error();
    int result = SSL_do_handshake(tls->ssl);
    enum tls_step step = TLS_DONE;
    if (step_of(tls, result, &step) != OK || step == TLS_END)
        return handshake_failed(tls, p);
    if (step == TLS_DONE) {
        TRY(check_protocol(tls, p));
        TRY(check_pin(tls, p));
        tls->up = true;
    }
    *out_step = step;
    return OK;
}

enum err tls_read(struct tls *tls, uint8_t *data, size_t cap, size_t *out_len,
                  enum tls_step *out_step)
{
    assert(tls->up && !tls->broken);
    ERR_clear_error();
    size_t len = 0;
    int result = SSL_read_ex(tls->ssl, data, cap, &len);
    TRY(step_of(tls, result, out_step));
    *out_len = len;
    return OK;
}

enum err tls_write(struct tls *tls, struct bytes data, size_t *out_len,
                   enum tls_step *out_step)
{
    assert(tls->up && !tls->broken);
    assert(data.len > 0);
    ERR_clear_error();
    size_t len = 0;
    int result = SSL_write_ex(tls->ssl, data.data, data.len, &len);
    TRY(step_of(tls, result, out_step));
    *out_len = len;
    return OK;
}

bool tls_pending(const struct tls *tls) { return SSL_has_pending(tls->ssl); }

void tls_goodbye(struct tls *tls)
{
    if (!tls->up || tls->broken)
        return;
    ERR_clear_error();
    (void)SSL_shutdown(tls->ssl);
}

enum err tls_exporter(const struct tls *tls, uint8_t out[TLS_EXPORTER_SIZE])
{
    assert(tls->up);
    /* RFC 8446, section 7.5: no context and an empty one are the same. */
    if (SSL_export_keying_material(
            tls->ssl, out, TLS_EXPORTER_SIZE, TLS_EXPORTER_LABEL,
            sizeof TLS_EXPORTER_LABEL - 1, NULL, 0, 0) != 1)
        return ERR_IO;
    return OK;
}
