// SPDX-License-Identifier: GPL-2.0

#include <linux/slab.h>

/* Deliberate faults of memory: each is for one detector, and harmless where there is none. */

/* Behind the compiler's back. */
static noinline u8 *fep_fault_memory(size_t size)
{
	u8 *memory = kmalloc(size, GFP_KERNEL);

	OPTIMIZER_HIDE_VAR(memory);
	return memory;
}

/* KASAN: slab-use-after-free; with slab poisoning: Poison overwritten. */
void fep_helper_fault_use_after_free(void)
{
	u8 *memory = fep_fault_memory(200);

	if (!memory)
		return;
	kfree(memory);
	OPTIMIZER_HIDE_VAR(memory);
	WRITE_ONCE(memory[100], 1);
}

/* KASAN: slab-out-of-bounds; with red zones: Right Redzone overwritten. */
void fep_helper_fault_out_of_bounds(void)
{
	u8 *memory = fep_fault_memory(192);

	if (!memory)
		return;
	WRITE_ONCE(memory[192], 1);
	kfree(memory);
}

/* kmemleak. */
void fep_helper_fault_leak(void)
{
	int i;

	/* One may still be found on the stack. */
	for (i = 0; i < 8; i++)
		fep_fault_memory(333);
}

/* UBSAN: shift-out-of-bounds. */
int fep_helper_fault_shift(int by)
{
	OPTIMIZER_HIDE_VAR(by);
	return 1 << by;
}
