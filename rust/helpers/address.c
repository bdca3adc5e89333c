// SPDX-License-Identifier: GPL-2.0

#include <linux/etherdevice.h>
#include <linux/ipv6.h>
#include <net/addrconf.h>
#include <net/ip6_route.h>
#include <net/ndisc.h>
#include <net/route.h>

unsigned int fep_helper_ipv4_address_type(struct net *net, __be32 addr)
{
	return inet_addr_type(net, addr);
}

/* Another one after each change of routes and addresses. */
unsigned int fep_helper_ipv4_generation(struct net *net)
{
	return rt_genid_ipv4(net);
}

bool fep_helper_ipv6_enabled(void)
{
	return ipv6_mod_enabled();
}

bool fep_helper_ipv6_address_is_local(struct net *net, const struct in6_addr *addr)
{
	return ipv6_chk_addr(net, addr, NULL, 0);
}

/* Whether the neighbour of the route's next hop has sent the packet, on the way that it would take. */
bool fep_helper_ipv4_is_from(const struct sk_buff *skb, struct dst_entry *dst, __be32 daddr)
{
	struct net_device *dev = dst_dev_rcu(dst);
	const struct neighbour *neigh;

	if (likely(skb->dev != dev) || dev->type != ARPHRD_ETHER ||
	    !skb_mac_header_was_set(skb))
		return false;
	neigh = __ipv4_neigh_lookup_noref(dev, (__force u32)rt_nexthop(dst_rtable(dst), daddr));
	return neigh && ether_addr_equal_unaligned(neigh->ha, eth_hdr(skb)->h_source);
}

bool fep_helper_ipv6_is_from(const struct sk_buff *skb, struct dst_entry *dst,
			     const struct in6_addr *daddr)
{
	struct net_device *dev = dst_dev_rcu(dst);
	const struct neighbour *neigh;

	if (likely(skb->dev != dev) || dev->type != ARPHRD_ETHER ||
	    !skb_mac_header_was_set(skb))
		return false;
	neigh = __ipv6_neigh_lookup_noref(dev, rt6_nexthop(dst_rt6_info(dst), daddr));
	return neigh && ether_addr_equal_unaligned(neigh->ha, eth_hdr(skb)->h_source);
}
