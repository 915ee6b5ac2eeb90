/* SPDX-License-Identifier: Apache-2.0 */
#include "vectors.h"

#include "base/mem.h"
#include "test.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PATH_LEN 4096U
#define FILE_MAX ((size_t)1 << 26)

static void find(const char *path, char out[PATH_LEN])
{
    (void)snprintf(out, PATH_LEN, "%s/%s", test_vectors_folder(), path);
}

static bool packed(const char *path)
{
    size_t len = strlen(path);
    return len > 3 && strcmp(path + len - 3, ".gz") == 0;
}

static enum err read_file(FILE *f, struct buf *out)
{
    uint8_t chunk[PATH_LEN];
    size_t got = 0;
    do {
        got = fread(chunk, 1, sizeof(chunk), f);
        TRY(buf_append(out, (struct bytes){chunk, got}));
    } while (got == sizeof(chunk));
    return OK;
}

/* The path goes to the shell as a variable, so that it may be any. */
static enum err load_packed(const char *full, struct buf *out)
{
    if (setenv("VECTORS_FILE", full, 1) != 0)
        return ERR_IO;
    /* NOLINTNEXTLINE(cert-env33-c): a fixed command, over test data */
    FILE *f = popen("exec gzip -dc -- \"$VECTORS_FILE\"", "r");
    if (f == NULL)
        return ERR_IO;
    enum err err = read_file(f, out);
    return pclose(f) == 0 || err != OK ? err : ERR_IO;
}

static enum err load_text(const char *path, struct buf *out)
{
    char full[PATH_LEN];
    find(path, full);
    if (packed(path))
        return load_packed(full, out);
    FILE *f = fopen(full, "rb");
    if (f == NULL)
        return ERR_IO;
    enum err err = read_file(f, out);
    return fclose(f) == 0 || err != OK ? err : ERR_IO;
}

json_t *vectors_load(struct vectors *v, const char *path)
{
    CLEANUP(buf_clear) struct buf text = buf_new(FILE_MAX);
    json_error_t error = {.text = "cannot be read"};
    json_t *root = NULL;
    (void)v;
    if (load_text(path, &text) == OK)
        root = json_loadb((const char *)text.data, text.len, 0, &error);
    if (root == NULL)
        printf("# %s: %s\n", path, error.text);
    return root;
}

static void forget(struct vectors *v)
{
    for (size_t i = 0; i < v->block_count; i++)
        mem_free(v->blocks[i].data, v->blocks[i].len);
    v->block_count = 0;
}

void vectors_case(struct vectors *v, bool ok, const char *name, json_int_t id)
{
    v->executed++;
    if (!ok) {
        v->failed++;
        printf("# FAILED %s: %s %lld\n", v->file->path, name, (long long)id);
    }
    forget(v);
}

void vectors_skip(struct vectors *v, const char *reason, size_t count)
{
    size_t i = 0;
    while (i < v->reason_count && strcmp(v->reasons[i].text, reason) != 0)
        i++;
    assert(i < REASONS_MAX);
    if (i == v->reason_count)
        v->reason_count++;
    v->reasons[i].text = reason;
    v->reasons[i].count += count;
    forget(v);
}

static int nibble(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

struct bytes vectors_decode(struct vectors *v, const char *hex, size_t digits)
{
    size_t len = digits / 2;
    if (len == 0)
        return (struct bytes){0};
    assert(digits % 2 == 0 && v->block_count < BLOCKS_MAX);
    uint8_t *data = mem_alloc(len);
    assert(data != NULL);
    for (size_t i = 0; i < len; i++) {
        int high = nibble(hex[2 * i]);
        int low = nibble(hex[2 * i + 1]);
        assert(high >= 0 && low >= 0);
        data[i] = (uint8_t)(high << 4 | low);
    }
    v->blocks[v->block_count].data = data;
    v->blocks[v->block_count].len = len;
    v->block_count++;
    return (struct bytes){data, len};
}

struct bytes vectors_hex(struct vectors *v, const json_t *object,
                         const char *key)
{
    const char *hex = vectors_text(object, key);
    return vectors_decode(v, hex, strlen(hex));
}

struct bytes vectors_line(struct vectors *v, struct bytes text, const char *key)
{
    size_t key_len = strlen(key);
    const char *at = (const char *)text.data;
    const char *end = at + text.len;
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (stop == NULL)
            stop = end;
        if ((size_t)(stop - at) > key_len + 3 &&
            memcmp(at, key, key_len) == 0 &&
            memcmp(at + key_len, " = ", 3) == 0)
            return vectors_decode(v, at + key_len + 3,
                                  (size_t)(stop - at) - key_len - 3);
        at = stop + (stop < end);
    }
    return (struct bytes){0};
}

json_int_t vectors_int(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

const char *vectors_text(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL ? text : "";
}

bool vectors_flag(const json_t *test, const char *flag)
{
    const json_t *flags = json_object_get(test, "flags");
    for (size_t i = 0; i < json_array_size(flags); i++) {
        const char *f = json_string_value(json_array_get(flags, i));
        if (f != NULL && strcmp(f, flag) == 0)
            return true;
    }
    return false;
}

static void give(void *ctx, uint8_t *out, size_t len)
{
    struct vectors_random *r = ctx;
    assert(len <= r->rest.len);
    memcpy(out, r->rest.data, len);
    r->rest.data += len;
    r->rest.len -= len;
}

struct random vectors_random(struct vectors_random *r)
{
    return (struct random){.fill = give, .ctx = r};
}

static enum err run_file(struct vectors *v, const struct vectors_file *file)
{
    CLEANUP(buf_clear) struct buf text = buf_new(FILE_MAX);
    if (file->run_text != NULL) {
        TRY(load_text(file->path, &text));
        file->run_text(v, buf_bytes(&text));
    } else {
        json_t *root = vectors_load(v, file->path);
        if (root == NULL)
            return ERR_IO;
        if (file->not_ours != NULL) {
            size_t count = (size_t)vectors_int(root, "numberOfTests");
            vectors_skip(v, file->not_ours, count);
        } else {
            file->run_json(v, root);
        }
        json_decref(root);
    }
    return OK;
}

static bool report(const struct vectors *v, size_t number, enum err err)
{
    size_t skipped = 0;
    for (size_t i = 0; i < v->reason_count; i++)
        skipped += v->reasons[i].count;
    bool ok = err == OK && v->failed == 0 && v->executed + skipped > 0;
    printf("%sok %zu - %s: %zu executed, %zu failed, %zu not ours\n",
           ok ? "" : "not ", number, v->file->path, v->executed, v->failed,
           skipped);
    for (size_t i = 0; i < v->reason_count; i++)
        printf("#   not ours: %zu %s\n", v->reasons[i].count,
               v->reasons[i].text);
    return ok;
}

int vectors_main(const struct vectors_file *files, size_t count)
{
    char folder[PATH_LEN];
    struct stat st;
    find("", folder);
    if (stat(folder, &st) != 0) {
        const char *ci = getenv("CI");
        printf("1..0 # SKIP no test vectors in %s: run scripts/vectors, or "
               "set SOTTO_VECTORS\n",
               folder);
        return ci != NULL && strcmp(ci, "true") == 0;
    }

    CLEANUP(crypto_free) struct crypto *c = NULL;
    if (crypto_create(&c) != OK)
        return 1;
    size_t bad = 0;
    printf("1..%zu\n", count);
    for (size_t i = 0; i < count; i++) {
        struct vectors v = {.c = c, .file = &files[i]};
        enum err err = run_file(&v, &files[i]);
        bad += !report(&v, i + 1, err);
        forget(&v);
    }
    return bad > 0;
}
