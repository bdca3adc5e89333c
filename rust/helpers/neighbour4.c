// SPDX-License-Identifier: GPL-2.0

#include <net/arp.h>
#include <net/dst.h>
#include <net/neighbour.h>
#include <net/route.h>

/* By the neighbour layer, whatever the packet and the route. */
static noinline int fep_helper_ipv4_forward_any(struct sk_buff *skb, struct dst_entry *dst,
						 __be32 daddr)
{
	const struct rtable *rt = dst_rtable(dst);
	__be32 nexthop = rt_nexthop(rt, daddr);

	if (!fep_helper_skb_forward_prepare(skb, dst))
		return -ENOMEM;
	if (likely(!dst->lwtstate && rt->rt_gw_family != AF_INET6) &&
	    fep_helper_neigh_push(skb, __ipv4_neigh_lookup_noref(skb->dev, (__force u32)nexthop)))
		return dev_queue_xmit(skb);
	/* A route that encapsulates does so in its output function. */
	if (dst->lwtstate)
		return dst_output(dev_net(skb->dev), NULL, skb);
	/* What waits for its neighbour would be sent by the route again: to the packet's own address. */
	skb_dst_drop(skb);
	if (rt->rt_gw_family == AF_INET6)
		return neigh_xmit(NEIGH_ND_TABLE, skb->dev, &rt->rt_gw6, skb);
	return neigh_xmit(NEIGH_ARP_TABLE, skb->dev, &nexthop, skb);
}

/*
 * Sends through the neighbour of the route's next hop, as ip_finish_output2() does. All calls are at an
 * end, so that the fast way saves no registers.
 */
notrace int __flatten fep_helper_ipv4_forward(struct sk_buff *skb, struct dst_entry *dst, __be32 daddr)
{
	const struct rtable *rt = dst_rtable(dst);
	struct net_device *dev = dst_dev_rcu(dst);
	const struct neighbour *neigh;

	if (likely(fep_helper_skb_is_plain(skb, dev) && !dst->lwtstate &&
		   rt->rt_gw_family != AF_INET6)) {
		neigh = __ipv4_neigh_lookup_noref(dev, (__force u32)rt_nexthop(rt, daddr));
		if (likely(fep_helper_neigh_push(skb, neigh))) {
			fep_helper_skb_leave(skb, dst, dev);
			return dev_queue_xmit(skb);
		}
	}
	return fep_helper_ipv4_forward_any(skb, dst, daddr);
}
