/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What fep_net needs of the C side beyond kernel::bindings. bindgen.sh turns it
 * into a delta: only the items it lists, everything else by the kernel crate's
 * own types.
 */

#include <linux/netdevice.h>
#include <linux/netfilter.h>
#include <linux/netfilter_netdev.h>
#include <linux/rtnetlink.h>
#include <net/dst.h>
#include <net/icmp.h>
#include <net/ip.h>
#include <net/neighbour.h>
#include <net/net_namespace.h>
#include <net/route.h>

#include "../helpers/helpers.h"
