/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/log.h"

#include "test.h"

#include <string.h>
#include <unistd.h>

static struct bytes logged(int fd, uint8_t *out, size_t cap)
{
    ssize_t n = read(fd, out, cap);
    return (struct bytes){out, n > 0 ? (size_t)n : 0};
}

static void writes_a_line_with_its_level(void)
{
    int fds[2];
    uint8_t out[4096];
    CHECK(pipe(fds) == 0);
    log_open(fds[1], LOG_LEVEL_INFO);
    log_debug("net: hidden");
    log_warn("net: full connections=%d", 7);
    CHECK_BYTES(logged(fds[0], out, sizeof out),
                LIT("warn net: full connections=7\n"));
}

static void a_peers_text_cannot_make_lines(void)
{
    int fds[2];
    uint8_t out[4096];
    CHECK(pipe(fds) == 0);
    log_open(fds[1], LOG_LEVEL_DEBUG);
    log_debug("net: name=%s", "x\nerror core: y\x1b");
    CHECK_BYTES(logged(fds[0], out, sizeof out),
                LIT("debug net: name=x error core: y \n"));
}

static void cuts_long_lines(void)
{
    int fds[2];
    uint8_t out[4096];
    CHECK(pipe(fds) == 0);
    log_open(fds[1], LOG_LEVEL_DEBUG);
    log_info("%02000d", 1);
    struct bytes line = logged(fds[0], out, sizeof out);
    CHECK(line.len > 500 && line.len <= 1024);
    CHECK_UINT(line.data[line.len - 1], '\n');
}

static void reads_level_names(void)
{
    enum log_level level = LOG_LEVEL_INFO;
    CHECK_UINT(log_level_parse("error", &level), OK);
    CHECK_UINT(level, LOG_LEVEL_ERROR);
    CHECK_UINT(log_level_parse("loud", &level), ERR_INVALID);
    CHECK_UINT(level, LOG_LEVEL_ERROR);
}

static const struct test tests[] = {
    TEST(writes_a_line_with_its_level),
    TEST(a_peers_text_cannot_make_lines),
    TEST(cuts_long_lines),
    TEST(reads_level_names),
};
TEST_MAIN(tests)
