/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/tls.h"

#include "sys/openssl.h"

#include <string.h>

#define YEARS_10_DAYS 3652
#define SERIAL_BITS   127 /* positive, at most 20 bytes (RFC 5280, 4.1.2.2) */
#define BACKDATE_S    (-24L * 3600) /* clients' clocks may be behind */

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

static void bn_free(BIGNUM **number)
{
    BN_free(*number);
    *number = NULL;
}

static bool set_serial(X509 *cert)
{
    CLEANUP(bn_free) BIGNUM *serial = BN_new();
    return serial != NULL &&
           BN_rand(serial, SERIAL_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) ==
               1 &&
           BN_to_ASN1_INTEGER(serial, X509_get_serialNumber(cert)) != NULL;
}

static bool set_name(X509 *cert, const char *name)
{
    X509_NAME *subject = X509_get_subject_name(cert);
    return X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                                      (const unsigned char *)name, -1, -1,
                                      0) == 1 &&
           X509_set_issuer_name(cert, subject) == 1;
}

static bool add_extension(X509 *cert, int nid, const char *value)
{
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    bool added = e != NULL && X509_add_ext(cert, e, -1) == 1;
    X509_EXTENSION_free(e);
    return added;
}

static bool fill(X509 *cert, EVP_PKEY *key, const char *name)
{
    return X509_set_version(cert, X509_VERSION_3) == 1 && set_serial(cert) &&
           X509_gmtime_adj(X509_getm_notBefore(cert), BACKDATE_S) != NULL &&
           X509_time_adj_ex(X509_getm_notAfter(cert), YEARS_10_DAYS, 0, NULL) !=
               NULL &&
           set_name(cert, name) && X509_set_pubkey(cert, key) == 1 &&
           add_extension(cert, NID_basic_constraints, "critical,CA:FALSE") &&
           add_extension(cert, NID_key_usage, "critical,digitalSignature") &&
           add_extension(cert, NID_ext_key_usage, "serverAuth") &&
           X509_sign(cert, key, EVP_sha256()) > 0;
}

static enum err copy_out(BIO *bio, struct buf *out)
{
    char *data = NULL;
    long len = BIO_get_mem_data(bio, &data);
    if (len <= 0)
        return ERR_NOMEM;
    size_t start = out->len;
    TRY(buf_extend(out, (size_t)len));
    memcpy(out->data + start, data, (size_t)len);
    return OK;
}

enum err tls_certificate_create(const char *name, struct buf *cert_pem,
                                struct buf *key_pem)
{
    CLEANUP(pkey_free) EVP_PKEY *key = EVP_EC_gen("P-256");
    CLEANUP(x509_free) X509 *cert = X509_new();
    CLEANUP(bio_free) BIO *cert_bio = BIO_new(BIO_s_mem());
    CLEANUP(bio_free) BIO *key_bio = BIO_new(BIO_s_secmem());
    if (key == NULL || cert == NULL || cert_bio == NULL || key_bio == NULL)
        return ERR_NOMEM;
    if (!fill(cert, key, name))
        return ERR_INVALID;
    if (PEM_write_bio_X509(cert_bio, cert) != 1 ||
        PEM_write_bio_PrivateKey(key_bio, key, NULL, NULL, 0, NULL, NULL) != 1)
        return ERR_NOMEM;
    TRY(copy_out(cert_bio, cert_pem));
    return copy_out(key_bio, key_pem);
}

enum err tls_fingerprint(struct bytes cert_pem,
                         uint8_t out[TLS_FINGERPRINT_SIZE])
{
    if (cert_pem.len > TLS_PEM_MAX)
        return ERR_LIMIT;
    CLEANUP(bio_free)
    BIO *bio = BIO_new_mem_buf(cert_pem.data, (int)cert_pem.len);
    if (bio == NULL)
        return ERR_NOMEM;
    CLEANUP(x509_free) X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    unsigned int len = 0;
    if (cert == NULL)
        return ERR_MALFORMED;
    return X509_digest(cert, EVP_sha256(), out, &len) == 1 ? OK : ERR_NOMEM;
}
