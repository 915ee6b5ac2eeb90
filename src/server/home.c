/* SPDX-License-Identifier: Apache-2.0 */
#include "server/home.h"

#include "crypto/sign.h"
#include "sys/folder.h"
#include "sys/tls.h"

#include <errno.h>
#include <unistd.h>

#define CERT_FILE "tls.crt"
#define TLS_FILE  "tls.key"
#define CERT_NAME "sotto" /* clients pin keys; a name would say nothing */

enum err home_lock(const char *dir, struct file_lock *out_lock,
                   struct problem *p)
{
    char path[FILE_PATH_MAX];
    TRY(file_path(dir, HOME_LOCK_FILE, path, p));
    return file_lock_take(path, out_lock, p);
}

enum err home_open(const char *dir, struct file_lock *out_lock,
                   struct problem *p)
{
    TRY(file_folder(dir, p));
    return home_lock(dir, out_lock, p);
}

enum err home_open_existing(const char *dir, struct file_lock *out_lock,
                            struct problem *p)
{
    char path[FILE_PATH_MAX];
    TRY(file_path(dir, HOME_KEY_FILE, path, p));
    if (!file_exists(path))
        return problem_set(p, ERR_NOTFOUND, PROBLEM_USAGE,
                           "%.100s is not the data folder of a sottod", dir);
    return home_lock(dir, out_lock, p);
}

static enum err make_server_key(const char *path, struct crypto *crypto,
                                const struct random *random,
                                struct secret *out_key, struct problem *p)
{
    CLEANUP(secret_clear) struct secret key = {0};
    CLEANUP(buf_clear) struct buf public_key = buf_new(SIGN_PUBLIC_MAX);
    if (sign_generate(crypto, SIGN_ED25519, random, &key, &public_key) != OK)
        return problem_set(p, ERR_NOMEM, PROBLEM_SYSTEM,
                           "cannot make a signing key");
    /* The one place where the key leaves the process: to its own file. */
    TRY(file_write(path, secret_expose(&key), p));
    secret_take(out_key, &key);
    return OK;
}

enum err home_server_key(const char *dir, struct crypto *crypto,
                         const struct random *random, struct secret *out_key,
                         struct problem *p)
{
    char path[FILE_PATH_MAX];
    CLEANUP(buf_clear) struct buf seed = buf_new(SECRET_MAX);
    TRY(file_path(dir, HOME_KEY_FILE, path, p));
    enum err err = file_read_private(path, &seed, p);
    if (err == ERR_NOTFOUND && random != NULL)
        return make_server_key(path, crypto, random, out_key, p);
    if (err == ERR_NOTFOUND)
        return problem_set(p, err, PROBLEM_DAMAGED,
                           "%.120s is lost: restore it from a backup; clients "
                           "trust no other key",
                           path);
    TRY(err);
    if (seed.len != sign_private_size(SIGN_ED25519))
        return problem_set(p, ERR_MALFORMED, PROBLEM_DAMAGED,
                           "%.150s is damaged: restore it from a backup", path);
    return secret_set(out_key, buf_bytes(&seed));
}

static enum err make_tls(const char *cert_path, const char *key_path,
                         struct problem *p)
{
    CLEANUP(buf_clear) struct buf cert = buf_new(TLS_PEM_MAX);
    CLEANUP(buf_clear) struct buf key = buf_new(TLS_PEM_MAX);
    if (tls_certificate_create(CERT_NAME, &cert, &key) != OK)
        return problem_set(p, ERR_NOMEM, PROBLEM_SYSTEM,
                           "cannot make a TLS certificate");
    /* The certificate last: when it is there, so is its key. */
    TRY(file_write(key_path, buf_bytes(&key), p));
    return file_write(cert_path, buf_bytes(&cert), p);
}

enum err home_tls(const char *dir, const char *cert_path, const char *key_path,
                  struct buf *cert, struct buf *key, struct problem *p)
{
    char own_cert[FILE_PATH_MAX];
    char own_key[FILE_PATH_MAX];
    if ((cert_path == NULL) != (key_path == NULL))
        return problem_set(p, ERR_INVALID, PROBLEM_USAGE,
                           "--cert and --key belong together: give both");
    if (cert_path == NULL) {
        TRY(file_path(dir, CERT_FILE, own_cert, p));
        TRY(file_path(dir, TLS_FILE, own_key, p));
        if (!file_exists(own_cert))
            TRY(make_tls(own_cert, own_key, p));
        cert_path = own_cert;
        key_path = own_key;
    }
    TRY(file_read(cert_path, cert, p));
    return file_read_private(key_path, key, p);
}

enum err home_copy(const char *from, const char *to, struct problem *p)
{
    static const char *const names[] = {HOME_KEY_FILE, CERT_FILE, TLS_FILE};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char source[FILE_PATH_MAX];
        char target[FILE_PATH_MAX];
        TRY(file_path(from, names[i], source, p));
        TRY(file_path(to, names[i], target, p));
        enum err err = file_copy(source, target, UINT64_MAX, p);
        if (err != OK && (i == 0 || err != ERR_NOTFOUND))
            return err;
    }
    return OK;
}
