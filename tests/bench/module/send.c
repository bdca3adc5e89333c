// SPDX-License-Identifier: GPL-2.0

/* Sends packets as pktgen does, straight to the driver, with references to none kept. */

#include <linux/ktime.h>
#include <linux/random.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>

#include "bench.h"

static int send_one(struct net_device *dev, struct sk_buff *skb)
{
	struct netdev_queue *queue = skb_get_tx_queue(dev, skb);
	netdev_tx_t said = NETDEV_TX_BUSY;

	local_bh_disable();
	HARD_TX_LOCK(dev, queue, smp_processor_id());
	if (!netif_xmit_frozen_or_drv_stopped(queue))
		said = netdev_start_xmit(skb, dev, queue, false);
	HARD_TX_UNLOCK(dev, queue);
	local_bh_enable();
	if (said == NETDEV_TX_OK)
		return 0;
	kfree_skb(skb);
	return -EBUSY;
}

int bench_send(struct net *net, const struct send_order *order, struct send_result *result)
{
	struct net_device *dev = dev_get_by_name(net, order->device);
	u32 address = 0, port = 0;
	int error = 0;
	u64 start;

	if (!dev)
		return -ENODEV;
	*result = (struct send_result) {};
	start = ktime_get_ns();
	while (result->sent < order->count && !error) {
		struct sk_buff *skb;

		if (order->random) {
			address = get_random_u32_below(order->addresses);
			port = get_random_u32_below(order->ports);
		}
		skb = bench_packet(dev, order, address, port);
		error = skb ? send_one(dev, skb) : -ENOMEM;
		if (error)
			break;
		result->sent++;
		if (++port == order->ports) {
			port = 0;
			address = address + 1 < order->addresses ? address + 1 : 0;
		}
		if (signal_pending(current))
			error = -EINTR;
		cond_resched();
	}
	result->nanoseconds = ktime_get_ns() - start;
	dev_put(dev);
	return error;
}
