/* SPDX-License-Identifier: Apache-2.0 */
/* What goes to the terminal. Text of others never controls it. */
#pragma once

#include <jansson.h>
#include <stdio.h>

/* Writes text with control characters, and those that change the direction of
 * writing, as escapes. Line ends stay when `lines`. */
void show_text(FILE *to, const char *text, int lines);
/* One message as a line: "[time] sender: text". */
void show_message(FILE *to, const json_t *message, const char *where);
/* One JSON object a line. */
void show_json(FILE *to, const json_t *j);
