// SPDX-License-Identifier: GPL-2.0

#include <net/addrconf.h>
#include <net/dst.h>
#include <net/ip6_fib.h>
#include <net/ip6_route.h>
#include <net/ndisc.h>
#include <net/neighbour.h>

/* An output route whose source address need not be one of ours. */
struct dst_entry *fep_helper_ipv6_route_output(struct net *net, const struct in6_addr *daddr,
					       const struct in6_addr *saddr, u32 *cookie)
{
	struct flowi6 fl6 = {
		.daddr = *daddr,
		.saddr = *saddr,
		.flowi6_flags = FLOWI_FLAG_ANYSRC,
	};
	struct dst_entry *dst = ip6_route_output(net, NULL, &fl6);
	const struct rt6_info *rt = dst_rt6_info(dst);

	if (dst->error || rt->rt6i_flags & (RTF_REJECT | RTF_LOCAL | RTF_ANYCAST)) {
		dst_release(dst);
		return NULL;
	}
	*cookie = rt6_get_cookie(rt);
	return dst;
}

/* dst_check() and dst_mtu() of a cached route: 0 when it is no longer valid. */
notrace unsigned int fep_helper_ipv6_route_mtu(struct dst_entry *dst, u32 cookie)
{
	const struct inet6_dev *idev;
	unsigned int mtu;

	if (!dst_check(dst, cookie))
		return 0;
	mtu = dst_metric_raw(dst, RTAX_MTU);
	idev = __in6_dev_get(dst_dev_rcu(dst));
	if (unlikely(mtu || !idev || dst->lwtstate))
		return dst_mtu(dst);
	return READ_ONCE(idev->cnf.mtu6);
}

static noinline int fep_helper_ipv6_forward_slow(struct sk_buff *skb, struct dst_entry *dst,
						 const struct in6_addr *nexthop)
{
	/* A route that encapsulates does so in its output function. */
	if (dst->lwtstate)
		return dst_output(dev_net(skb->dev), NULL, skb);
	return neigh_xmit(NEIGH_ND_TABLE, skb->dev, nexthop, skb);
}

/* Sends through the neighbour of the route's next hop, as ip6_finish_output2() does. */
notrace int __flatten fep_helper_ipv6_forward(struct sk_buff *skb, struct dst_entry *dst,
				      const struct in6_addr *daddr)
{
	const struct in6_addr *nexthop = rt6_nexthop(dst_rt6_info(dst), daddr);
	const struct neighbour *neigh;

	if (!fep_helper_skb_forward_prepare(skb, dst))
		return -ENOMEM;
	if (likely(!dst->lwtstate)) {
		neigh = __ipv6_neigh_lookup_noref(skb->dev, nexthop);
		if (likely(neigh && READ_ONCE(neigh->nud_state) & NUD_CONNECTED &&
			   READ_ONCE(neigh->hh.hh_len)))
			return neigh_hh_output(&neigh->hh, skb);
	}
	return fep_helper_ipv6_forward_slow(skb, dst, nexthop);
}
