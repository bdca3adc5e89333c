// SPDX-License-Identifier: GPL-2.0

#include <net/ip.h>
#include <net/neighbour.h>
#include <net/route.h>

/* An output route whose source address need not be one of ours. */
struct dst_entry *fep_helper_route_output(struct net *net, __be32 daddr, __be32 saddr)
{
	struct flowi4 fl4 = {
		.daddr = daddr,
		.saddr = saddr,
		.flowi4_flags = FLOWI_FLAG_ANYSRC,
	};
	struct rtable *rt = ip_route_output_key(net, &fl4);

	return IS_ERR(rt) ? ERR_CAST(rt) : &rt->dst;
}

unsigned int fep_helper_net_address_type(struct net *net, __be32 addr)
{
	return inet_addr_type(net, addr);
}

bool fep_helper_route_is_unicast(const struct dst_entry *dst)
{
	return dst_rtable(dst)->rt_type == RTN_UNICAST;
}

struct net_device *fep_helper_route_dev(const struct dst_entry *dst)
{
	return dst_dev_rcu(dst);
}

/* Routes an arriving packet as ip_rcv_finish() would, so that ICMP can answer it. */
int fep_helper_route_input(struct sk_buff *skb)
{
	const struct iphdr *iph = ip_hdr(skb);

	return ip_route_input_noref(skb, iph->daddr, iph->saddr, ip4h_dscp(iph), skb->dev);
}

/* Sends through the neighbour of the route's next hop, from skb->dev. */
int fep_helper_route_xmit(struct dst_entry *dst, struct sk_buff *skb, __be32 daddr)
{
	const struct rtable *rt = dst_rtable(dst);
	__be32 nexthop;

	/* A route that encapsulates does so in its output function. */
	if (dst->lwtstate)
		return dst_output(dev_net(skb->dev), NULL, skb);
	if (rt->rt_gw_family == AF_INET6)
		return neigh_xmit(NEIGH_ND_TABLE, skb->dev, &rt->rt_gw6, skb);

	nexthop = rt_nexthop(rt, daddr);
	return neigh_xmit(NEIGH_ARP_TABLE, skb->dev, &nexthop, skb);
}
