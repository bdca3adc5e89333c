// SPDX-License-Identifier: GPL-2.0

#include <net/gso.h>

/*
 * For a packet that goes as it is: notes where the transport header is, and returns the number of GSO
 * segments (0: none), or -1 when it does not fit the MTU.
 */
int fep_helper_skb_special_fits(struct sk_buff *skb, unsigned int mtu, int transport)
{
	if (skb->len > mtu && !(skb_is_gso(skb) && skb_gso_validate_network_len(skb, mtu)))
		return -1;
	skb_set_transport_header(skb, transport);
	return skb_is_gso(skb) ? max_t(u16, 1, skb_shinfo(skb)->gso_segs) : 0;
}

bool fep_helper_skb_gso_fits(const struct sk_buff *skb, unsigned int mtu)
{
	return skb_is_gso(skb) && skb_gso_validate_network_len(skb, mtu);
}
