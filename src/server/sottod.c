/* SPDX-License-Identifier: Apache-2.0 */
/* The server program: see sottod(8). */
#include "server/commands.h"

int main(int argc, char **argv)
{
    (void)argc;
    return commands_main(argv + 1);
}
