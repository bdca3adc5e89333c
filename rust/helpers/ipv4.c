// SPDX-License-Identifier: GPL-2.0

#include <net/dst.h>
#include <net/icmp.h>
#include <net/ip.h>
#include <net/neighbour.h>
#include <net/route.h>

/* An output route whose source address need not be one of ours. */
struct dst_entry *fep_helper_ipv4_route_output(struct net *net, __be32 daddr, __be32 saddr)
{
	struct flowi4 fl4 = {
		.daddr = daddr,
		.saddr = saddr,
		.flowi4_flags = FLOWI_FLAG_ANYSRC,
	};
	struct rtable *rt = ip_route_output_key(net, &fl4);

	return IS_ERR(rt) || rt->rt_type == RTN_UNICAST ? (void *)rt :
		(dst_release(&rt->dst), NULL);
}

/* dst_check() and dst_mtu() of a cached route: 0 when it is no longer valid. */
notrace unsigned int fep_helper_ipv4_route_mtu(struct net *net, struct dst_entry *dst)
{
	const struct rtable *rt = dst_rtable(dst);

	if (READ_ONCE(dst->obsolete) != DST_OBSOLETE_FORCE_CHK ||
	    rt->rt_genid != rt_genid_ipv4(net))
		return 0;
	if (likely(!rt->rt_pmtu && !dst->lwtstate && !dst_metric_raw(dst, RTAX_MTU)))
		return READ_ONCE(dst_dev_rcu(dst)->mtu);
	return dst_mtu(dst);
}

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
