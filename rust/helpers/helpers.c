// SPDX-License-Identifier: GPL-2.0

#include "helpers.h"

#include "dst.c"
#include "forward.c"
#include "gso.c"
#include "icmp.c"
#include "if_vlan.c"
#include "net_namespace.c"
#include "netdevice.c"
#include "percpu.c"
#include "route.c"
#include "sched.c"
#include "skbuff.c"
#include "workqueue.c"
