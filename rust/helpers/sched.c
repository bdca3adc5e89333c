// SPDX-License-Identifier: GPL-2.0

#include <linux/sched/signal.h>

void fep_helper_cond_resched(void)
{
	cond_resched();
}

bool fep_helper_fatal_signal_pending(void)
{
	return fatal_signal_pending(current);
}
