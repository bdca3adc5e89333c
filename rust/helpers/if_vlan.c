// SPDX-License-Identifier: GPL-2.0

#include <linux/if_vlan.h>

/* A tag with VLAN 0 is a priority only (802.1p); the host takes such frames as untagged. */
bool fep_helper_skb_is_of_vlan(const struct sk_buff *skb)
{
	return skb_vlan_tag_present(skb) && skb_vlan_tag_get_id(skb) != 0;
}
