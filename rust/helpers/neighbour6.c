// SPDX-License-Identifier: GPL-2.0

#include <net/dst.h>
#include <net/ip6_route.h>
#include <net/ndisc.h>
#include <net/neighbour.h>

static noinline int fep_helper_ipv6_forward_any(struct sk_buff *skb, struct dst_entry *dst,
						const struct in6_addr *nexthop)
{
	if (!fep_helper_skb_forward_prepare(skb, dst))
		return -ENOMEM;
	if (likely(!dst->lwtstate) &&
	    fep_helper_neigh_push(skb, __ipv6_neigh_lookup_noref(skb->dev, nexthop)))
		return dev_queue_xmit(skb);
	/* A route that encapsulates does so in its output function. */
	if (dst->lwtstate)
		return dst_output(dev_net(skb->dev), NULL, skb);
	/* What waits for its neighbour would be sent by the route again: to the packet's own address. */
	skb_dst_drop(skb);
	return neigh_xmit(NEIGH_ND_TABLE, skb->dev, nexthop, skb);
}

/* Sends through the neighbour of the route's next hop, as ip6_finish_output2() does. */
notrace int __flatten fep_helper_ipv6_forward(struct sk_buff *skb, struct dst_entry *dst,
				      const struct in6_addr *daddr)
{
	const struct in6_addr *nexthop = rt6_nexthop(dst_rt6_info(dst), daddr);
	struct net_device *dev = dst_dev_rcu(dst);
	const struct neighbour *neigh;

	if (likely(fep_helper_skb_is_plain(skb, dev) && !dst->lwtstate)) {
		neigh = __ipv6_neigh_lookup_noref(dev, nexthop);
		if (likely(fep_helper_neigh_push(skb, neigh))) {
			fep_helper_skb_leave(skb, dst, dev);
			return dev_queue_xmit(skb);
		}
	}
	return fep_helper_ipv6_forward_any(skb, dst, nexthop);
}
