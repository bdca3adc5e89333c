// SPDX-License-Identifier: GPL-2.0

#include <linux/if_vlan.h>
#include <linux/skbuff.h>

/*
 * 4 or 6: the version of an IP packet for this host, and of this device rather than of a VLAN on top
 * of it; else 0. A tag with VLAN 0 is a priority only (802.1p). Bit 3 of an ordinary packet: nobody
 * else has it or its data, it is no GSO packet, and its checksum is complete. From bit 8 on the lower
 * bits of the device's index.
 */
static inline unsigned int fep_helper_skb_kind(const struct sk_buff *skb)
{
	unsigned int kind = skb->skb_iif << 8;

	if (skb->pkt_type != PACKET_HOST ||
	    (skb_vlan_tag_present(skb) && skb_vlan_tag_get_id(skb) != 0))
		return kind;
	if (likely(!skb->cloned && skb->ip_summed != CHECKSUM_PARTIAL && !skb_is_gso(skb) &&
		   refcount_read(&skb->users) == 1))
		kind |= 8;
	if (skb->protocol == htons(ETH_P_IP))
		return kind | 4;
	return skb->protocol == htons(ETH_P_IPV6) ? kind | 6 : kind;
}

/* That, and what this_cpu_ptr() adds to a per-CPU pointer. */
notrace struct fep_helper_arrival fep_helper_arrival(const struct sk_buff *skb)
{
	struct fep_helper_arrival arrival = { fep_helper_skb_kind(skb), __my_cpu_offset };

	return arrival;
}

/*
 * Notes where the transport header is and makes the first bytes linear and writable. Returns -ENOMEM,
 * or the number of GSO segments (0: none), with bit 16 set when the checksum there is to be completed.
 */
int fep_helper_skb_prepare(struct sk_buff *skb, unsigned int writable, int transport)
{
	int segments = skb_is_gso(skb) ? max_t(u16, 1, skb_shinfo(skb)->gso_segs) : 0;

	if (unlikely(writable && (skb_headlen(skb) < writable || skb_cloned(skb))) &&
	    skb_ensure_writable(skb, writable))
		return -ENOMEM;
	skb_set_transport_header(skb, transport);
	if (skb->ip_summed == CHECKSUM_PARTIAL && skb_checksum_start_offset(skb) == transport)
		segments |= 1 << 16;
	return segments;
}

struct sk_buff *fep_helper_skb_share_check(struct sk_buff *skb)
{
	return skb_share_check(skb, GFP_ATOMIC);
}

int fep_helper_pskb_trim_rcsum(struct sk_buff *skb, unsigned int len)
{
	return pskb_trim_rcsum(skb, len);
}
