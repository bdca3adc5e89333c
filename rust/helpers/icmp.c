// SPDX-License-Identifier: GPL-2.0

#include <net/icmp.h>
#include <net/ip.h>

/* Ahead of ip_rcv() the control block is not the IP layer's yet: give it one. */
void fep_helper_icmp_send(struct sk_buff *skb, int type, int code, __be32 info)
{
	memset(IPCB(skb), 0, sizeof(*IPCB(skb)));
	icmp_send(skb, type, code, info);
}
