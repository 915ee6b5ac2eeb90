/* SPDX-License-Identifier: Apache-2.0 */
/* OpenSSL has a type with the name of one of our error codes, so its headers
 * come in through here, under another name for theirs. */
#pragma once

#define ERR_STATE openssl_err_state
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#undef ERR_STATE
