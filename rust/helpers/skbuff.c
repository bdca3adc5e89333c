// SPDX-License-Identifier: GPL-2.0

#include <linux/skbuff.h>

bool fep_helper_skb_is_ipv4(const struct sk_buff *skb)
{
	return skb->protocol == htons(ETH_P_IP);
}

bool fep_helper_skb_is_host(const struct sk_buff *skb)
{
	return skb->pkt_type == PACKET_HOST;
}

bool fep_helper_skb_csum_partial(const struct sk_buff *skb, int start)
{
	return skb->ip_summed == CHECKSUM_PARTIAL && skb_checksum_start_offset(skb) == start;
}

struct sk_buff *fep_helper_skb_share_check(struct sk_buff *skb)
{
	return skb_share_check(skb, GFP_ATOMIC);
}

int fep_helper_pskb_trim_rcsum(struct sk_buff *skb, unsigned int len)
{
	return pskb_trim_rcsum(skb, len);
}

int fep_helper_skb_cow_head(struct sk_buff *skb, unsigned int headroom)
{
	return skb_cow_head(skb, headroom);
}
