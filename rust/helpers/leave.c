// SPDX-License-Identifier: GPL-2.0

#include <linux/if_vlan.h>
#include <linux/netdevice.h>
#include <linux/skbuff.h>
#include <net/dst.h>
#include <net/neighbour.h>

/* Whether fep_helper_skb_leave() does all that fep_helper_skb_forward_prepare() does for a packet. */
static __always_inline bool fep_helper_skb_is_plain(const struct sk_buff *skb,
						    const struct net_device *dev)
{
	return !skb->cloned && skb_headroom(skb) >= LL_RESERVED_SPACE(dev) &&
	       !((unsigned long)skb->destructor | (unsigned long)skb->sk | skb->_skb_refdst |
		 skb_get_nfct(skb));
}

/* The same for a plain packet that goes to its neighbour at once, where nobody asks for its cb. */
static __always_inline void fep_helper_skb_leave(struct sk_buff *skb, struct dst_entry *dst,
						 struct net_device *dev)
{
	skb->pkt_type = PACKET_OUTGOING;
	skb_clear_tstamp(skb);
	skb_forward_csum(skb);
	__vlan_hwaccel_clear_tag(skb);
	skb_dst_set_noref(skb, dst);
	skb->dev = dev;
}

/*
 * Puts a neighbour's link-layer header in front of a packet with room for HH_DATA_MOD bytes, unless it
 * is longer than that or not there: neigh_hh_output() up to where it sends.
 */
static __always_inline bool fep_helper_neigh_push(struct sk_buff *skb, const struct neighbour *neigh)
{
	unsigned int len, seq;

	if (!neigh || !(READ_ONCE(neigh->nud_state) & NUD_CONNECTED))
		return false;
	do {
		seq = read_seqbegin(&neigh->hh.hh_lock);
		len = READ_ONCE(neigh->hh.hh_len);
		memcpy(skb->data - HH_DATA_MOD, neigh->hh.hh_data, HH_DATA_MOD);
	} while (read_seqretry(&neigh->hh.hh_lock, seq));
	if (unlikely(len - 1 >= HH_DATA_MOD))
		return false;
	__skb_push(skb, len);
	return true;
}
