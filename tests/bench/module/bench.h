/* SPDX-License-Identifier: GPL-2.0 */
#ifndef FEP_BENCH_H
#define FEP_BENCH_H

#include <linux/in6.h>
#include <linux/netdevice.h>
#include <linux/skbuff.h>

/* An address of either family; an IPv4 one is in the first word. */
struct address {
	int family;
	struct in6_addr in6;
};

/* What a hook at a device's ingress is to do. */
enum action {
	ACTION_DROP,
	ACTION_REDIRECT,
	ACTION_FLOOR,
};

struct hook_order {
	char device[IFNAMSIZ];
	char out[IFNAMSIZ];
	enum action action;
	/* Translate the source, not the destination. */
	bool source;
	struct address from, to, next_hop;
};

int bench_hook(struct net *net, const struct hook_order *order);
void bench_unhook(void);

/* What to send. The fixed end is one address and port; the other end is many. */
struct send_order {
	char device[IFNAMSIZ];
	u8 mac[ETH_ALEN];
	u8 protocol;
	/* The fixed end is the source. */
	bool reply;
	bool random;
	bool checksum;
	struct address fixed, first;
	u16 fixed_port, first_port;
	u32 addresses, ports, count;
	/* TCP alone */
	u8 flags;
	u32 seq, ack;
};

struct send_result {
	u64 nanoseconds;
	u32 sent;
};

int bench_send(struct net *net, const struct send_order *order, struct send_result *result);

/* The packet of one client, given by the numbers of its address and port. */
struct sk_buff *bench_packet(struct net_device *dev, const struct send_order *order, u32 address, u32 port);

#endif
