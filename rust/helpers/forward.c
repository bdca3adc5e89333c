// SPDX-License-Identifier: GPL-2.0

#include <linux/if_vlan.h>
#include <linux/skbuff.h>
#include <net/dst.h>
#include <net/ip.h>

/*
 * Makes a packet that was received one that leaves by a route: what ip_forward() and
 * skb_scrub_packet() undo of the way in, and room for the link-layer header. Frees it, and returns
 * false, when there is no memory for that. The route is not referenced: RCU keeps it, and who queues
 * the packet takes a reference.
 */
static inline bool fep_helper_skb_forward_prepare(struct sk_buff *skb, struct dst_entry *dst)
{
	struct net_device *dev = dst_dev_rcu(dst);

	if (unlikely(skb_cow_head(skb, LL_RESERVED_SPACE(dev)))) {
		kfree_skb_reason(skb, SKB_DROP_REASON_NOMEM);
		return false;
	}
	memset(skb->cb, 0, sizeof(struct inet_skb_parm));
	/* ICMP about it from here on would show the client translated headers. */
	skb->pkt_type = PACKET_OUTGOING;
	skb_orphan(skb);
	skb_dst_drop(skb);
	skb_clear_tstamp(skb);
	skb_forward_csum(skb);
	nf_reset_ct(skb);
	__vlan_hwaccel_clear_tag(skb);
	skb_dst_set_noref(skb, dst);
	skb->dev = dev;
	return true;
}

/* Sends a packet through the IP layer's output, which fragments it. */
int fep_helper_ip_output(struct net *net, struct sk_buff *skb, struct dst_entry *dst)
{
	if (!fep_helper_skb_forward_prepare(skb, dst))
		return -ENOMEM;
	return dst_output(net, NULL, skb);
}

unsigned int fep_helper_dst_mtu(const struct dst_entry *dst)
{
	return dst_mtu(dst);
}

void fep_helper_kfree_skb_netfilter(struct sk_buff *skb)
{
	kfree_skb_reason(skb, SKB_DROP_REASON_NETFILTER_DROP);
}
