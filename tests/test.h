/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A test is a void function; a failed CHECK reports and returns from it, so
 * CLEANUP still runs. Results are TAP on standard output.
 */
#pragma once

#include "base/bytes.h"

#include <stdbool.h>
#include <stddef.h>

struct test {
    const char *name;
    void (*run)(void);
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define TEST(f)      {#f, f}
#define TEST_MAIN(tests) \
    int main(void) { return test_run(tests, COUNT(tests)); }

#define CHECK(cond)                                         \
    do {                                                    \
        if (!test_check((cond), __FILE__, __LINE__, #cond)) \
            return;                                         \
    } while (0)
#define CHECK_UINT(got, want)                                          \
    do {                                                               \
        if (!test_check_uint((got), (want), __FILE__, __LINE__, #got)) \
            return;                                                    \
    } while (0)
#define CHECK_BYTES(got, want)                                          \
    do {                                                                \
        if (!test_check_bytes((got), (want), __FILE__, __LINE__, #got)) \
            return;                                                     \
    } while (0)

/* The bytes of a string literal, without its final NUL. */
#define LIT(s) ((struct bytes){(const uint8_t *)(s), sizeof(s) - 1})

int test_run(const struct test *tests, size_t count);
bool test_check(bool ok, const char *file, int line, const char *what);
bool test_check_uint(uint64_t got, uint64_t want, const char *file, int line,
                     const char *what);
bool test_check_bytes(struct bytes got, struct bytes want, const char *file,
                      int line, const char *what);

/* The folder of the published test vectors: $SOTTO_VECTORS, else vectors/ in
 * this checkout (scripts/vectors fetches it), else ../shared/vectors. */
const char *test_vectors_folder(void);
