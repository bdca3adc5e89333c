// SPDX-License-Identifier: GPL-2.0

/*
 * A QEMU plugin that counts how often each instruction of the guest's kernel runs.
 *
 * out=FILE: written at the end, a line "ADDRESS COUNT" (hexadecimal, decimal) for each instruction of each
 * translated block; an address may be in several.
 * The guest has one processor, so nothing is locked.
 *
 * The plugin interface is declared here as far as it is used, as its documentation has it: QEMU's
 * header is not in the distribution's packages.
 */

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define API_VERSION 4

struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef uint64_t plugin_id;

void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id,
					   void (*cb)(plugin_id, struct qemu_plugin_tb *));
void qemu_plugin_register_atexit_cb(plugin_id id, void (*cb)(plugin_id, void *), void *data);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t at);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
void qemu_plugin_register_vcpu_tb_exec_cb(struct qemu_plugin_tb *tb,
					  void (*cb)(unsigned int, void *), int flags, void *data);

EXPORT int qemu_plugin_version = API_VERSION;

/* A translated block: it runs from its first to its last instruction, but for faults. */
struct block {
	struct block *next;
	uint64_t count;
	size_t insns;
	uint64_t addresses[];
};

static struct block *blocks;
static const char *out;

static void executed(unsigned int cpu, void *block)
{
	(void)cpu;
	((struct block *)block)->count++;
}

static void translated(plugin_id id, struct qemu_plugin_tb *tb)
{
	size_t insns = qemu_plugin_tb_n_insns(tb);
	struct block *block;

	(void)id;
	/* The kernel's half of the address space. */
	if (!(qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(tb, 0)) >> 63))
		return;
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
		for (size_t at = 0; block->count && at < block->insns; at++)
			fprintf(file, "%" PRIx64 " %" PRIu64 "\n", block->addresses[at],
				block->count);
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
