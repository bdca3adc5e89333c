// SPDX-License-Identifier: GPL-2.0

#include <net/addrconf.h>
#include <net/dst.h>
#include <net/ip6_fib.h>
#include <net/ip6_route.h>

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
