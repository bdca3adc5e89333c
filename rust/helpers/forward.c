// SPDX-License-Identifier: GPL-2.0

#include <linux/if_vlan.h>
#include <linux/skbuff.h>
#include <net/dst.h>
#include <net/ip.h>

void fep_helper_skb_dst_set_noref(struct sk_buff *skb, struct dst_entry *dst)
{
	skb_dst_set_noref(skb, dst);
}

void fep_helper_skb_set_transport_header(struct sk_buff *skb, int offset)
{
	skb_set_transport_header(skb, offset);
}

void fep_helper_skb_set_dev(struct sk_buff *skb, struct net_device *dev)
{
	skb->dev = dev;
}

/* What ip_forward() and skb_scrub_packet() undo of the way in. */
void fep_helper_skb_forward_reset(struct sk_buff *skb)
{
	memset(skb->cb, 0, sizeof(struct inet_skb_parm));
	/* ICMP about it from here on would show the client translated headers. */
	skb->pkt_type = PACKET_OUTGOING;
	skb_orphan(skb);
	skb_dst_drop(skb);
	skb_clear_tstamp(skb);
	skb_forward_csum(skb);
	nf_reset_ct(skb);
	__vlan_hwaccel_clear_tag(skb);
}

void fep_helper_kfree_skb_netfilter(struct sk_buff *skb)
{
	kfree_skb_reason(skb, SKB_DROP_REASON_NETFILTER_DROP);
}
