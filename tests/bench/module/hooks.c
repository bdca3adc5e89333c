// SPDX-License-Identifier: GPL-2.0

/*
 * Hooks at a device's ingress that do as little as can be done: drop, send to another device as it is,
 * and translate one fixed address without any table (the "floor" of what a load balancer can cost).
 */

#include <linux/etherdevice.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/netfilter.h>
#include <linux/netfilter_netdev.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <net/checksum.h>
#include <net/ip.h>
#include <net/neighbour.h>

#include "bench.h"

#define HOOKS_MAX 4

struct hook {
	struct nf_hook_ops operations;
	struct net *net;
	struct net_device *out;
	struct hook_order order;
};

static struct hook hooks[HOOKS_MAX];
static unsigned int hooked;

static unsigned int on_drop(void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
{
	return NF_DROP;
}

static unsigned int on_redirect(void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
{
	struct hook *hook = priv;

	skb = skb_share_check(skb, GFP_ATOMIC);
	if (!skb)
		return NF_STOLEN;
	skb_push(skb, ETH_HLEN);
	skb->dev = hook->out;
	skb_clear_tstamp(skb);
	dev_queue_xmit(skb);
	return NF_STOLEN;
}

/* Where the checksum of TCP or UDP is, or NULL when there is none. */
static __sum16 *checksum_of(struct sk_buff *skb, u8 protocol, unsigned int at)
{
	struct udphdr *udp;

	if (protocol == IPPROTO_TCP)
		return &((struct tcphdr *)(skb->data + at))->check;
	udp = (struct udphdr *)(skb->data + at);
	return udp->check || skb->ip_summed == CHECKSUM_PARTIAL ? &udp->check : NULL;
}

static unsigned int headers_size(u8 protocol, unsigned int network)
{
	if (protocol == IPPROTO_TCP)
		return network + sizeof(struct tcphdr);
	return protocol == IPPROTO_UDP ? network + sizeof(struct udphdr) : 0;
}

static unsigned int sent_on(struct hook *hook, struct sk_buff *skb, int table)
{
	skb->dev = hook->out;
	skb_clear_tstamp(skb);
	skb_forward_csum(skb);
	neigh_xmit(table, hook->out, &hook->order.next_hop.in6, skb);
	return NF_STOLEN;
}

static unsigned int on_floor4(void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
{
	struct hook *hook = priv;
	__be32 from = hook->order.from.in6.s6_addr32[0], to = hook->order.to.in6.s6_addr32[0];
	unsigned int network = sizeof(struct iphdr), size;
	struct iphdr *ip = ip_hdr(skb);
	__be32 *address;
	__sum16 *check;

	if (skb->protocol != htons(ETH_P_IP) || skb_headlen(skb) < network || ip->ihl != 5)
		return NF_ACCEPT;
	address = hook->order.source ? &ip->saddr : &ip->daddr;
	size = headers_size(ip->protocol, network);
	if (*address != from || !size || skb_headlen(skb) < size || ip->ttl <= 1)
		return NF_ACCEPT;
	skb = skb_share_check(skb, GFP_ATOMIC);
	if (!skb)
		return NF_STOLEN;
	if (skb_ensure_writable(skb, size)) {
		kfree_skb(skb);
		return NF_STOLEN;
	}
	ip = ip_hdr(skb);
	check = checksum_of(skb, ip->protocol, network);
	if (check)
		inet_proto_csum_replace4(check, skb, from, to, true);
	csum_replace4(&ip->check, from, to);
	if (hook->order.source)
		ip->saddr = to;
	else
		ip->daddr = to;
	ip_decrease_ttl(ip);
	return sent_on(hook, skb, NEIGH_ARP_TABLE);
}

static unsigned int on_floor6(void *priv, struct sk_buff *skb, const struct nf_hook_state *state)
{
	struct hook *hook = priv;
	const struct in6_addr *from = &hook->order.from.in6, *to = &hook->order.to.in6;
	unsigned int network = sizeof(struct ipv6hdr), size;
	struct ipv6hdr *ip = ipv6_hdr(skb);
	__sum16 *check;

	if (skb->protocol != htons(ETH_P_IPV6) || skb_headlen(skb) < network)
		return NF_ACCEPT;
	size = headers_size(ip->nexthdr, network);
	if (!ipv6_addr_equal(hook->order.source ? &ip->saddr : &ip->daddr, from) || !size ||
	    skb_headlen(skb) < size || ip->hop_limit <= 1)
		return NF_ACCEPT;
	skb = skb_share_check(skb, GFP_ATOMIC);
	if (!skb)
		return NF_STOLEN;
	if (skb_ensure_writable(skb, size)) {
		kfree_skb(skb);
		return NF_STOLEN;
	}
	ip = ipv6_hdr(skb);
	check = checksum_of(skb, ip->nexthdr, network);
	if (check)
		inet_proto_csum_replace16(check, skb, from->s6_addr32, to->s6_addr32, true);
	if (hook->order.source)
		ip->saddr = *to;
	else
		ip->daddr = *to;
	ip->hop_limit--;
	return sent_on(hook, skb, NEIGH_ND_TABLE);
}

static nf_hookfn *function_of(const struct hook_order *order)
{
	switch (order->action) {
	case ACTION_DROP:
		return on_drop;
	case ACTION_REDIRECT:
		return on_redirect;
	case ACTION_FLOOR:
		return order->from.family == AF_INET ? on_floor4 : on_floor6;
	}
	return NULL;
}

int bench_hook(struct net *net, const struct hook_order *order)
{
	struct hook *hook = &hooks[hooked];
	struct net_device *dev;
	int error = -ENODEV;

	if (hooked == HOOKS_MAX)
		return -ENOSPC;
	dev = dev_get_by_name(net, order->device);
	if (!dev)
		return -ENODEV;
	hook->out = NULL;
	if (order->action != ACTION_DROP) {
		hook->out = dev_get_by_name(net, order->out);
		if (!hook->out)
			goto put;
	}
	hook->net = net;
	hook->order = *order;
	hook->operations = (struct nf_hook_ops) {
		.hook = function_of(order),
		.dev = dev,
		.priv = hook,
		.pf = NFPROTO_NETDEV,
		.hooknum = NF_NETDEV_INGRESS,
	};
	error = nf_register_net_hook(net, &hook->operations);
	if (error)
		goto put;
	hooked++;
	return 0;
put:
	dev_put(hook->out);
	dev_put(dev);
	return error;
}

/* The order's namespaces are still there: who made them undoes this first. */
void bench_unhook(void)
{
	while (hooked) {
		struct hook *hook = &hooks[--hooked];

		nf_unregister_net_hook(hook->net, &hook->operations);
		dev_put(hook->out);
		dev_put(hook->operations.dev);
	}
}
