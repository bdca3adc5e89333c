// SPDX-License-Identifier: GPL-2.0

#include <linux/skbuff.h>

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
