// SPDX-License-Identifier: GPL-2.0

#include "helpers.h"

#include "address.c"
#include "forward.c"
#include "gso.c"
#include "icmp.c"
#include "ipv4.c"
#include "ipv6.c"
#include "neighbour4.c"
#include "neighbour6.c"
#include "net_namespace.c"
#include "netdevice.c"
#include "percpu.c"
#include "sched.c"
#include "skbuff.c"
#include "slab.c"
#include "workqueue.c"
