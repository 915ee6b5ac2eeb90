/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of sottod, and serving among them. */
#pragma once

/* Runs what the command line says, up to its NULL; returns the exit status. */
int commands_main(char **words);
