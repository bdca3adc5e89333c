// SPDX-License-Identifier: GPL-2.0

#include <linux/bottom_half.h>
#include <linux/kernel.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/spinlock.h>

/* Deliberate faults of context and locks. */

static DEFINE_SPINLOCK(fep_fault_first);
static DEFINE_SPINLOCK(fep_fault_second);
static DEFINE_SPINLOCK(fep_fault_softirq);
static int __rcu *fep_fault_pointer;
static unsigned long fep_fault_word;

/* lockdep: possible circular locking dependency detected. */
void fep_helper_fault_lock_inversion(void)
{
	spin_lock(&fep_fault_first);
	spin_lock(&fep_fault_second);
	spin_unlock(&fep_fault_second);
	spin_unlock(&fep_fault_first);
	spin_lock(&fep_fault_second);
	spin_lock(&fep_fault_first);
	spin_unlock(&fep_fault_first);
	spin_unlock(&fep_fault_second);
}

/* lockdep: inconsistent lock state. To be called with bottom halves on, then from a softirq. */
void fep_helper_fault_softirq_lock(void)
{
	spin_lock(&fep_fault_softirq);
	spin_unlock(&fep_fault_softirq);
}

/* DEBUG_ATOMIC_SLEEP: sleeping function called from invalid context. To be called in a hook. */
void fep_helper_fault_sleep(void)
{
	might_sleep();
}

/* PROVE_RCU: suspicious RCU usage. To be called outside of a read-side critical section. */
bool fep_helper_fault_rcu(void)
{
	return rcu_dereference(fep_fault_pointer);
}

/* KCSAN: data-race. To be called by two processes at once. */
void fep_helper_fault_race(void)
{
	int i;

	for (i = 0; i < 1000000; i++) {
		fep_fault_word++;
		barrier();
	}
}
