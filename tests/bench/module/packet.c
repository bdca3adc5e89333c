// SPDX-License-Identifier: GPL-2.0

/* Makes the packets of the generator: as a network card would hand them over, checksums seen to be right. */

#include <linux/etherdevice.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <net/checksum.h>
#include <net/ip.h>
#include <net/ip6_checksum.h>

#include "bench.h"

/* A frame of 60 bytes in IPv4, as pktgen's: what is left of it behind the headers is payload. */
#define PAYLOAD_UDP 18
#define PAYLOAD_TCP 6

#define TTL 32

static void fill_udp(struct sk_buff *skb, const struct send_order *order, __be16 source, __be16 dest)
{
	struct udphdr *udp = skb_put(skb, sizeof(*udp));

	udp->source = source;
	udp->dest = dest;
	udp->len = htons(sizeof(*udp) + PAYLOAD_UDP);
	udp->check = 0;
	skb_put_zero(skb, PAYLOAD_UDP);
}

static void fill_tcp(struct sk_buff *skb, const struct send_order *order, __be16 source, __be16 dest)
{
	struct tcphdr *tcp = skb_put_zero(skb, sizeof(*tcp));

	tcp->source = source;
	tcp->dest = dest;
	tcp->seq = htonl(order->seq);
	tcp->ack_seq = htonl(order->ack);
	tcp->doff = sizeof(*tcp) / 4;
	tcp->window = htons(64000);
	((u8 *)tcp)[13] = order->flags;
	/* Neither of an opening nor of a closing packet. */
	if (!tcp->syn && !tcp->fin && !tcp->rst)
		skb_put_zero(skb, PAYLOAD_TCP);
}

static __sum16 *check_field(struct sk_buff *skb, const struct send_order *order)
{
	if (order->protocol == IPPROTO_TCP)
		return &tcp_hdr(skb)->check;
	return &udp_hdr(skb)->check;
}

static struct in6_addr counted(const struct address *first, u32 number)
{
	struct in6_addr found = first->in6;
	int word = first->family == AF_INET ? 0 : 3;

	found.s6_addr32[word] = htonl(ntohl(found.s6_addr32[word]) + number);
	return found;
}

static void fill_ip4(struct sk_buff *skb, const struct send_order *order, __be32 source, __be32 dest)
{
	struct iphdr *ip = ip_hdr(skb);
	unsigned int size = skb->len - sizeof(*ip);
	__sum16 *check = check_field(skb, order);

	*ip = (struct iphdr) {
		.version = 4,
		.ihl = 5,
		.tot_len = htons(skb->len),
		.frag_off = htons(IP_DF),
		.ttl = TTL,
		.protocol = order->protocol,
		.saddr = source,
		.daddr = dest,
	};
	ip_send_check(ip);
	if (order->checksum)
		*check = csum_tcpudp_magic(source, dest, size, order->protocol,
					   skb_checksum(skb, sizeof(*ip), size, 0));
}

static void fill_ip6(struct sk_buff *skb, const struct send_order *order, const struct in6_addr *source,
		     const struct in6_addr *dest)
{
	struct ipv6hdr *ip = ipv6_hdr(skb);
	unsigned int size = skb->len - sizeof(*ip);
	__sum16 *check = check_field(skb, order);

	*ip = (struct ipv6hdr) {
		.version = 6,
		.payload_len = htons(size),
		.nexthdr = order->protocol,
		.hop_limit = TTL,
		.saddr = *source,
		.daddr = *dest,
	};
	if (order->checksum)
		*check = csum_ipv6_magic(source, dest, size, order->protocol,
					 skb_checksum(skb, sizeof(*ip), size, 0));
}

struct sk_buff *bench_packet(struct net_device *dev, const struct send_order *order, u32 address, u32 port)
{
	bool four = order->fixed.family == AF_INET;
	struct in6_addr other = counted(&order->first, address);
	const struct in6_addr *source = order->reply ? &order->fixed.in6 : &other;
	const struct in6_addr *dest = order->reply ? &other : &order->fixed.in6;
	__be16 fixed = htons(order->fixed_port), counted = htons(order->first_port + port);
	__be16 from = order->reply ? fixed : counted, to = order->reply ? counted : fixed;
	struct sk_buff *skb;
	struct ethhdr *eth;

	skb = __netdev_alloc_skb(dev, LL_RESERVED_SPACE(dev) + 128, GFP_NOWAIT);
	if (!skb)
		return NULL;
	skb_reserve(skb, LL_RESERVED_SPACE(dev));
	skb_reset_network_header(skb);
	skb_put(skb, four ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));
	skb_set_transport_header(skb, skb->len);
	if (order->protocol == IPPROTO_TCP)
		fill_tcp(skb, order, from, to);
	else
		fill_udp(skb, order, from, to);
	if (four)
		fill_ip4(skb, order, source->s6_addr32[0], dest->s6_addr32[0]);
	else
		fill_ip6(skb, order, source, dest);
	eth = skb_push(skb, ETH_HLEN);
	ether_addr_copy(eth->h_dest, order->mac);
	ether_addr_copy(eth->h_source, dev->dev_addr);
	skb->protocol = four ? htons(ETH_P_IP) : htons(ETH_P_IPV6);
	eth->h_proto = skb->protocol;
	skb_reset_mac_header(skb);
	skb->dev = dev;
	skb->pkt_type = PACKET_HOST;
	skb->ip_summed = CHECKSUM_UNNECESSARY;
	return skb;
}
