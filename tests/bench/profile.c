// SPDX-License-Identifier: GPL-2.0

/*
 * A QEMU plugin that counts how often each instruction of the guest's kernel runs, in two phases.
 *
 * The guest begins phase N by executing the instruction "nopl 0xfe900000 + N(%rax)"; phase 0, with
 * which it starts, is not counted.
 *
 * out=FILE: written at the end, a line "ADDRESS COUNT1 COUNT2" (hexadecimal, decimal) for each
 * instruction of each translated block that ran in a phase; an address may be in several.
 * The guest has one processor, so nothing is locked.
 */

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "qemu_plugin.h"

#define EXPORT __attribute__((visibility("default")))
#define PHASES 3

EXPORT int qemu_plugin_version = API_VERSION;

/* A translated block: it runs from its first to its last instruction, but for faults. */
struct block {
	struct block *next;
	uint64_t count[PHASES];
	size_t insns;
	uint64_t addresses[];
};

static struct block *blocks;
static const char *out;
static uintptr_t phase;

static void executed(unsigned int cpu, void *block)
{
	(void)cpu;
	((struct block *)block)->count[phase]++;
}

static void begun(unsigned int cpu, void *number)
{
	(void)cpu;
	phase = (uintptr_t)number;
}

/* Looks for the instructions that begin a phase. */
static void look_for_marks(struct qemu_plugin_tb *tb)
{
	static const unsigned char mark[] = { 0x0f, 0x1f, 0x80 }, rest[] = { 0x00, 0x90, 0xfe };

	for (size_t at = 0; at < qemu_plugin_tb_n_insns(tb); at++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, at);
		unsigned char code[7];

		if (qemu_plugin_insn_data(insn, code, sizeof(code)) == sizeof(code) &&
		    !memcmp(code, mark, sizeof(mark)) && code[3] < PHASES &&
		    !memcmp(code + 4, rest, sizeof(rest)))
			qemu_plugin_register_vcpu_insn_exec_cb(insn, begun, 0,
							       (void *)(uintptr_t)code[3]);
	}
}

static void translated(plugin_id id, struct qemu_plugin_tb *tb)
{
	size_t insns = qemu_plugin_tb_n_insns(tb);
	struct block *block;

	(void)id;
	/* The kernel's half of the address space is counted, programs make the marks. */
	if (!(qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(tb, 0)) >> 63)) {
		look_for_marks(tb);
		return;
	}
	/* Blocks never move: QEMU keeps pointers to them. */
	block = calloc(1, sizeof(*block) + insns * sizeof(block->addresses[0]));
	if (!block)
		abort();
	block->next = blocks;
	blocks = block;
	block->insns = insns;
	for (size_t at = 0; at < insns; at++)
		block->addresses[at] = qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(tb, at));
	qemu_plugin_register_vcpu_tb_exec_cb(tb, executed, 0, block);
}

static void ended(plugin_id id, void *data)
{
	FILE *file = fopen(out, "w");

	(void)id;
	(void)data;
	if (!file) {
		perror(out);
		return;
	}
	for (struct block *block = blocks; block; block = block->next)
		for (size_t at = 0; (block->count[1] || block->count[2]) && at < block->insns; at++)
			fprintf(file, "%" PRIx64 " %" PRIu64 " %" PRIu64 "\n", block->addresses[at],
				block->count[1], block->count[2]);
	fclose(file);
}

EXPORT int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
	(void)info;
	for (int at = 0; at < argc; at++)
		if (!strncmp(argv[at], "out=", 4))
			out = strdup(argv[at] + 4);
	if (!out) {
		fprintf(stderr, "profile: out=FILE is missing\n");
		return -1;
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_atexit_cb(id, ended, NULL);
	return 0;
}
