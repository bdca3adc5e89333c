// SPDX-License-Identifier: GPL-2.0

#include <net/arp.h>
#include <net/dst.h>
#include <net/neighbour.h>
#include <net/route.h>

/* Of its own, because what takes an address of the stack costs the fast way a canary. */
static noinline int fep_helper_ipv4_forward_slow(struct sk_buff *skb, struct dst_entry *dst,
						 __be32 daddr)
{
	const struct rtable *rt = dst_rtable(dst);
	__be32 nexthop = rt_nexthop(rt, daddr);

	/* A route that encapsulates does so in its output function. */
	if (dst->lwtstate)
		return dst_output(dev_net(skb->dev), NULL, skb);
	if (rt->rt_gw_family == AF_INET6)
		return neigh_xmit(NEIGH_ND_TABLE, skb->dev, &rt->rt_gw6, skb);
	return neigh_xmit(NEIGH_ARP_TABLE, skb->dev, &nexthop, skb);
}

/* Sends through the neighbour of the route's next hop, as ip_finish_output2() does. */
notrace int __flatten fep_helper_ipv4_forward(struct sk_buff *skb, struct dst_entry *dst, __be32 daddr)
{
	const struct rtable *rt = dst_rtable(dst);
	const struct neighbour *neigh;

	if (!fep_helper_skb_forward_prepare(skb, dst))
		return -ENOMEM;
	if (likely(!dst->lwtstate && rt->rt_gw_family != AF_INET6)) {
		__be32 nexthop = rt_nexthop(rt, daddr);

		neigh = __ipv4_neigh_lookup_noref(skb->dev, (__force u32)nexthop);
		if (likely(neigh && READ_ONCE(neigh->nud_state) & NUD_CONNECTED &&
			   READ_ONCE(neigh->hh.hh_len)))
			return neigh_hh_output(&neigh->hh, skb);
	}
	return fep_helper_ipv4_forward_slow(skb, dst, daddr);
}
