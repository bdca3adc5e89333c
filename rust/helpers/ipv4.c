// SPDX-License-Identifier: GPL-2.0

#include <net/dst.h>
#include <net/ip.h>
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

/*
 * Sends through the IP layer's output, which fragments, to the neighbour that leads to an address other
 * than the packet's: by a route that has it noted. Such a one is not kept, as it learns no path MTU.
 */
int fep_helper_ipv4_output(struct net *net, struct sk_buff *skb, struct dst_entry *dst, __be32 daddr)
{
	struct flowi4 fl4 = {
		.daddr = daddr,
		.flowi4_flags = FLOWI_FLAG_ANYSRC | FLOWI_FLAG_KNOWN_NH,
	};
	struct rtable *rt = ip_route_output_key(net, &fl4);

	if (IS_ERR(rt)) {
		kfree_skb_reason(skb, SKB_DROP_REASON_IP_OUTNOROUTES);
		return PTR_ERR(rt);
	}
	if (!fep_helper_skb_forward_prepare(skb, dst)) {
		ip_rt_put(rt);
		return -ENOMEM;
	}
	skb_dst_set(skb, &rt->dst);
	return dst_output(net, NULL, skb);
}
