// SPDX-License-Identifier: GPL-2.0

#include <linux/bottom_half.h>
#include <linux/rcupdate.h>
#include <linux/skbuff.h>
#include <net/tcp.h>

/* The receive path, by hand: bottom halves off, RCU read side locked. Returns the CPU's offset. */
unsigned long fep_helper_selftest_enter(void)
{
	local_bh_disable();
	rcu_read_lock();
	return __my_cpu_offset;
}

void fep_helper_selftest_leave(void)
{
	rcu_read_unlock();
	local_bh_enable();
}

/* Makes it a GSO packet of TCP with IPv4, of so many bytes a segment. */
void fep_helper_selftest_gso(struct sk_buff *skb, unsigned int size)
{
	skb_shinfo(skb)->gso_size = size;
	skb_shinfo(skb)->gso_type = SKB_GSO_TCPV4;
	skb_shinfo(skb)->gso_segs = DIV_ROUND_UP(skb->len - 40, size);
	skb_set_transport_header(skb, 20);
}

/* The checksum of the transport header at `start` is to be completed. */
void fep_helper_selftest_partial(struct sk_buff *skb, int start, int offset)
{
	skb->ip_summed = CHECKSUM_PARTIAL;
	skb->csum_start = skb_headroom(skb) + start;
	skb->csum_offset = offset;
}

struct sk_buff *fep_helper_selftest_clone(struct sk_buff *skb)
{
	return skb_clone(skb, GFP_ATOMIC);
}

struct sk_buff *fep_helper_selftest_share(struct sk_buff *skb)
{
	return skb_get(skb);
}
