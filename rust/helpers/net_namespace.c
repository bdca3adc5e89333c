// SPDX-License-Identifier: GPL-2.0

#include <linux/nsproxy.h>
#include <net/net_namespace.h>
#include <net/netns/generic.h>

struct net *fep_helper_current_net(void)
{
	return current->nsproxy->net_ns;
}

void fep_helper_get_net(struct net *net)
{
	get_net(net);
}

void fep_helper_put_net(struct net *net)
{
	put_net(net);
}

void **fep_helper_net_slot(struct net *net, unsigned int id)
{
	return net_generic(net, id);
}

struct user_namespace *fep_helper_net_user_ns(struct net *net)
{
	return net->user_ns;
}
