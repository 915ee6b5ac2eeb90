/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenSSL's headers, in the one way they can be included beside base/err.h:
 * they declare a type ERR_STATE, which is an error code of ours.
 */
#pragma once

#define ERR_STATE openssl_err_state
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#undef ERR_STATE
