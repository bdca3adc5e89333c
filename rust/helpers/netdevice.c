// SPDX-License-Identifier: GPL-2.0

#include <linux/netdevice.h>

struct net_device *fep_helper_notifier_info_dev(void *info)
{
	return netdev_notifier_info_to_dev(info);
}

struct net *fep_helper_dev_net(struct net_device *dev)
{
	return dev_net(dev);
}

bool fep_helper_netif_is_loopback(const struct net_device *dev)
{
	return dev->flags & IFF_LOOPBACK;
}

bool fep_helper_netif_is_l3_slave(const struct net_device *dev)
{
	return netif_is_l3_slave(dev);
}

void fep_helper_dev_hold(struct net_device *dev)
{
	dev_hold(dev);
}

void fep_helper_dev_put(struct net_device *dev)
{
	dev_put(dev);
}

int fep_helper_netdev_ifindex(const struct net_device *dev)
{
	return dev->ifindex;
}

const char *fep_helper_netdev_name(const struct net_device *dev)
{
	return dev->name;
}
