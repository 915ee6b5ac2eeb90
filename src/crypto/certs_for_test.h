/* SPDX-License-Identifier: Apache-2.0 */
/* For tests: certification authorities and certificates made at run time. */
#pragma once

#include "base/buf.h"
#include "crypto/sign.h"

/* All authorities are valid from CERT_FROM to CERT_TO. */
#define CERT_FROM 1000000000U
#define CERT_TO   2000000000U
#define CERT_NOW  1500000000U

struct test_ca;

/* Makes an authority, signed by `issuer`, or by itself. */
MUST_USE enum err test_ca_create(const char *name, const struct test_ca *issuer,
                                 struct test_ca **out);
void test_ca_free(struct test_ca **ca);
/* Appends its certificate. */
MUST_USE enum err test_ca_der(const struct test_ca *ca, struct buf *out);
MUST_USE enum err test_ca_pem(const struct test_ca *ca, struct buf *out);

struct test_cert {
    const char *subject;
    const char *names; /* such as "DNS:a.example,email:b@example"; NULL: none */
    const char *usage; /* key usage; NULL: digitalSignature */
    uint64_t from, to; /* 0 and 0: as the authorities */
    enum sign_id alg;
    struct bytes public_key;
};
/* Appends a certificate that the authority gives to an end entity. */
MUST_USE enum err test_cert_make(const struct test_ca *ca,
                                 const struct test_cert *cert, struct buf *out);
