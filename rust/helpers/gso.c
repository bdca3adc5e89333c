// SPDX-License-Identifier: GPL-2.0

#include <net/gso.h>

bool fep_helper_skb_gso_fits(const struct sk_buff *skb, unsigned int mtu)
{
	return skb_is_gso(skb) && skb_gso_validate_network_len(skb, mtu);
}
