// SPDX-License-Identifier: GPL-2.0

#include <linux/slab.h>

/* Objects of one cache line get one to themselves; others lie as densely as they may. */
struct kmem_cache *fep_helper_kmem_cache_create(const char *name, unsigned int size)
{
	unsigned int align = size == L1_CACHE_BYTES ? size : 0;

	return kmem_cache_create(name, size, align, SLAB_NO_MERGE, NULL);
}

void *fep_helper_kmem_cache_alloc(struct kmem_cache *cache)
{
	return kmem_cache_alloc(cache, GFP_ATOMIC | __GFP_NOWARN);
}
