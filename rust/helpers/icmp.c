// SPDX-License-Identifier: GPL-2.0

#include <linux/icmpv6.h>
#include <net/icmp.h>
#include <net/ip.h>
#include <net/route.h>

/*
 * Ahead of ip_rcv() the control block is not the IP layer's yet: give it one. And route the packet as
 * ip_rcv_finish() would: ICMP answers none that has no route.
 */
void fep_helper_icmp_send(struct sk_buff *skb, int type, int code, u32 info)
{
	const struct iphdr *iph = ip_hdr(skb);

	memset(IPCB(skb), 0, sizeof(*IPCB(skb)));
	if (!ip_route_input_noref(skb, iph->daddr, iph->saddr, ip4h_dscp(iph), skb->dev))
		icmp_send(skb, type, code, htonl(info));
}

void fep_helper_icmpv6_send(struct sk_buff *skb, u8 type, u8 code, u32 info)
{
	memset(IP6CB(skb), 0, sizeof(*IP6CB(skb)));
	IP6CB(skb)->iif = skb->dev->ifindex;
	icmpv6_send(skb, type, code, info);
}
