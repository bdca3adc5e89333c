// SPDX-License-Identifier: GPL-2.0

#include "helpers.h"

#include "address.c"
#include "arrival.c"
#include "forward.c"
#include "gso.c"
#include "icmp.c"
#include "ipv4.c"
#include "ipv6.c"
#include "leave.c"
#include "neighbour4.c"
#include "neighbour6.c"
#include "net_namespace.c"
#include "netdevice.c"
#include "percpu.c"
#include "sched.c"
#include "skbuff.c"
#include "slab.c"
#include "workqueue.c"

/* The self-test build alone: FEP_SELFTEST=1. */
#ifdef FEP_SELFTEST
#include "selftest_fault.c"
#include "selftest_fault_lock.c"
#include "selftest_fault_state.c"
#include "selftest_shape.c"
#include "selftest_skb.c"
#endif
