// SPDX-License-Identifier: GPL-2.0

#include <net/dst.h>

struct dst_entry *fep_helper_dst_check(struct dst_entry *dst)
{
	return dst_check(dst, 0);
}

unsigned int fep_helper_dst_mtu(const struct dst_entry *dst)
{
	return dst_mtu(dst);
}

int fep_helper_dst_output(struct net *net, struct sk_buff *skb)
{
	return dst_output(net, NULL, skb);
}
