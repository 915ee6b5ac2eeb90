/* SPDX-License-Identifier: Apache-2.0 */
#include "test.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool failed;

bool test_check(bool ok, const char *file, int line, const char *what)
{
    if (!ok) {
        failed = true;
        printf("# %s:%d: %s\n", file, line, what);
    }
    return ok;
}

bool test_check_uint(uint64_t got, uint64_t want, const char *file, int line,
                     const char *what)
{
    if (test_check(got == want, file, line, what))
        return true;
    printf("#   got  %" PRIu64 " (0x%" PRIx64 ")\n", got, got);
    printf("#   want %" PRIu64 " (0x%" PRIx64 ")\n", want, want);
    return false;
}

static void print_hex(const char *label, struct bytes b)
{
    printf("#   %s %zu:", label, b.len);
    for (size_t i = 0; i < b.len; i++)
        printf(" %02x", b.data[i]);
    printf("\n");
}

bool test_check_bytes(struct bytes got, struct bytes want, const char *file,
                      int line, const char *what)
{
    bool same = got.len == want.len &&
                (got.len == 0 || memcmp(got.data, want.data, got.len) == 0);
    if (test_check(same, file, line, what))
        return true;
    print_hex("got ", got);
    print_hex("want", want);
    return false;
}

int test_run(const struct test *tests, size_t count)
{
    size_t bad = 0;
    /* By lines: a crash must not swallow them, nor a fork repeat them. */
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    printf("1..%zu\n", count);
    for (size_t i = 0; i < count; i++) {
        failed = false;
        tests[i].run();
        bad += failed;
        printf("%sok %zu - %s\n", failed ? "not " : "", i + 1, tests[i].name);
    }
    return bad > 0;
}

const char *test_vectors_folder(void)
{
    const char *named = getenv("SOTTO_VECTORS");
    if (named != NULL)
        return named;
    return access(SOURCE_ROOT "/vectors", R_OK) == 0 ? SOURCE_ROOT "/vectors"
                                                     : SOURCE_ROOT
               "/../shared/vectors";
}
