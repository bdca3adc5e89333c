// SPDX-License-Identifier: GPL-2.0

#include <linux/list.h>
#include <linux/refcount.h>
#include <linux/slab.h>
#include <linux/timer.h>

/* Deliberate faults of what keeps count of objects and of their states. */

/* refcount_t: underflow. */
void fep_helper_fault_reference(void)
{
	refcount_t count = REFCOUNT_INIT(1);

	if (refcount_dec_and_test(&count) && refcount_dec_and_test(&count))
		pr_info("selftest: no reference was counted\n");
}

/* list_del corruption. On kernels that take that for the end the caller is killed. */
void fep_helper_fault_list(void)
{
	struct list_head head, entry;

	INIT_LIST_HEAD(&head);
	list_add(&entry, &head);
	list_del(&entry);
	list_del(&entry);
}

static void fep_fault_timer(struct timer_list *timer)
{
}

/* ODEBUG: free active. The timer is stopped, so that it does no harm where nobody looks. */
void fep_helper_fault_object(void)
{
	struct timer_list *timer = kzalloc(sizeof(*timer), GFP_KERNEL);

	if (!timer)
		return;
	timer_setup(timer, fep_fault_timer, 0);
	mod_timer(timer, jiffies + 3600 * HZ);
#ifdef CONFIG_DEBUG_OBJECTS_TIMERS
	kfree(timer);
#else
	timer_delete_sync(timer);
	kfree(timer);
#endif
}

/* A cache that is destroyed while an object is left. */
void fep_helper_fault_cache(void)
{
	struct kmem_cache *cache = kmem_cache_create("fep_fault", 80, 0, SLAB_NO_MERGE, NULL);

	if (cache && kmem_cache_alloc(cache, GFP_KERNEL))
		kmem_cache_destroy(cache);
}
