/* SPDX-License-Identifier: Apache-2.0 */
/* Linked without what hardening_test.py asks of the programs: its control. */
int main(void) { return 0; }
