// SPDX-License-Identifier: GPL-2.0

#include <linux/if_vlan.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/skbuff.h>
#include <linux/tcp.h>

/* 4 or 6: the version of an IP packet. */
static __always_inline unsigned int fep_helper_skb_version(const struct sk_buff *skb)
{
	if (skb->protocol == htons(ETH_P_IP))
		return 4;
	return skb->protocol == htons(ETH_P_IPV6) ? 6 : 0;
}

/*
 * Of a packet that is no ordinary one, bit 4 when it can be changed where it is all the same, if it has
 * neither options nor extension headers; bit 5 when its checksum is to be completed.
 */
static noinline struct fep_helper_arrival fep_helper_special(const struct sk_buff *skb)
{
	unsigned int version = fep_helper_skb_version(skb);
	int transport = version == 4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
	bool partial = skb->ip_summed == CHECKSUM_PARTIAL;
	struct fep_helper_arrival arrival = { skb->skb_iif << 8, __my_cpu_offset };

	if (skb->pkt_type != PACKET_HOST ||
	    (skb_vlan_tag_present(skb) && skb_vlan_tag_get_id(skb) != 0))
		return arrival;
	arrival.kind |= version;
	if (!skb->encapsulation && refcount_read(&skb->users) == 1 &&
	    !(partial && skb_checksum_start_offset(skb) != transport) &&
	    !(skb_cloned(skb) && !skb_clone_writable(skb, transport + sizeof(struct tcphdr))))
		arrival.kind |= (1 << 4) | (partial << 5);
	return arrival;
}

/*
 * 4 or 6: the version of an IP packet for this host, and of this device rather than of a VLAN on top
 * of it; else 0. A tag with VLAN 0 is a priority only (802.1p). Bit 3 of an ordinary packet: nobody
 * else has it or its data, it is no GSO packet, and its checksum is complete. From bit 8 on the lower
 * bits of the device's index. And what this_cpu_ptr() adds to a per-CPU pointer.
 */
notrace struct fep_helper_arrival fep_helper_arrival(const struct sk_buff *skb)
{
	struct fep_helper_arrival arrival = { skb->skb_iif << 8, __my_cpu_offset };

	if (unlikely(skb->cloned || skb->ip_summed == CHECKSUM_PARTIAL || skb_is_gso(skb) ||
		     refcount_read(&skb->users) != 1 || skb->pkt_type != PACKET_HOST ||
		     skb_vlan_tag_present(skb)))
		return fep_helper_special(skb);
	arrival.kind |= (1 << 3) | fep_helper_skb_version(skb);
	return arrival;
}
