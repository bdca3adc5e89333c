// SPDX-License-Identifier: GPL-2.0

#include <net/gso.h>

unsigned int fep_helper_skb_gso_segs(const struct sk_buff *skb)
{
	return skb_is_gso(skb) ? max_t(u16, 1, skb_shinfo(skb)->gso_segs) : 0;
}

bool fep_helper_skb_gso_fits(const struct sk_buff *skb, unsigned int mtu)
{
	return skb_gso_validate_network_len(skb, mtu);
}
