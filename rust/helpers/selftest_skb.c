// SPDX-License-Identifier: GPL-2.0

#include <linux/ip.h>
#include <linux/rcupdate.h>
#include <linux/skbuff.h>
#include <linux/tcp.h>

/* Packets made for the self-test that nobody has freed yet. */
static atomic_t fep_selftest_alive;

static void fep_selftest_freed(struct sk_buff *skb)
{
	atomic_dec(&fep_selftest_alive);
}

int fep_helper_selftest_alive(void)
{
	return atomic_read(&fep_selftest_alive);
}

/*
 * A packet for this host with `len` bytes of `data`, the first `linear` of them in the buffer's head
 * and the others, at most a page, in a fragment. It has `headroom` bytes and is tracked if asked for.
 */
struct sk_buff *fep_helper_selftest_skb(struct net *net, const u8 *data, unsigned int len,
					unsigned int linear, unsigned int headroom, bool tracked)
{
	struct sk_buff *skb = alloc_skb(headroom + linear, GFP_ATOMIC);
	struct page *page = len > linear ? alloc_page(GFP_ATOMIC) : NULL;

	if (!skb || (len > linear && !page)) {
		kfree_skb(skb);
		if (page)
			put_page(page);
		return NULL;
	}
	skb_reserve(skb, headroom);
	skb_put(skb, linear);
	if (page)
		skb_add_rx_frag(skb, 0, page, 0, len - linear, PAGE_SIZE);
	skb_store_bits(skb, 0, data, len);
	skb_reset_network_header(skb);
	skb->protocol = (data[0] >> 4) == 6 ? htons(ETH_P_IPV6) : htons(ETH_P_IP);
	skb->pkt_type = PACKET_HOST;
	skb->dev = net->loopback_dev;
	skb->skb_iif = net->loopback_dev->ifindex;
	if (tracked) {
		atomic_inc(&fep_selftest_alive);
		skb->destructor = fep_selftest_freed;
	}
	return skb;
}
