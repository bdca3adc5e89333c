/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Inline functions and macros of the kernel's headers that Rust cannot call:
 * one forwarding function each, for rust/net alone.
 */
#ifndef FEP_HELPERS_H
#define FEP_HELPERS_H

#include <linux/jiffies.h>
#include <linux/netdevice.h>
#include <linux/netfilter.h>
#include <linux/skbuff.h>
#include <linux/workqueue.h>
#include <net/net_namespace.h>
#include <net/route.h>

/* dst.c */
struct dst_entry *fep_helper_dst_check(struct dst_entry *dst);
unsigned int fep_helper_dst_mtu(const struct dst_entry *dst);
int fep_helper_dst_output(struct net *net, struct sk_buff *skb);

/* forward.c */
void fep_helper_skb_dst_set_noref(struct sk_buff *skb, struct dst_entry *dst);
void fep_helper_skb_set_transport_header(struct sk_buff *skb, int offset);
void fep_helper_skb_set_dev(struct sk_buff *skb, struct net_device *dev);
void fep_helper_skb_forward_reset(struct sk_buff *skb);
void fep_helper_kfree_skb_netfilter(struct sk_buff *skb);

/* gso.c */
unsigned int fep_helper_skb_gso_segs(const struct sk_buff *skb);
bool fep_helper_skb_gso_fits(const struct sk_buff *skb, unsigned int mtu);

/* icmp.c */
void fep_helper_icmp_send(struct sk_buff *skb, int type, int code, __be32 info);

/* if_vlan.c */
bool fep_helper_skb_is_of_vlan(const struct sk_buff *skb);

/* Constants that bindgen cannot see. */
static const u32 FEP_CONST_TICKS_PER_SECOND = HZ;
static const unsigned int FEP_CONST_ADDRESS_LOCAL = RTN_LOCAL;
static const unsigned int FEP_CONST_ADDRESS_UNICAST = RTN_UNICAST;
static const int FEP_CONST_XMIT_CN = NET_XMIT_CN;
static const unsigned int FEP_CONST_ACCEPT = NF_ACCEPT;
static const unsigned int FEP_CONST_STOLEN = NF_STOLEN;
static const unsigned int FEP_CONST_NETDEV_INGRESS = NF_NETDEV_INGRESS;
static const unsigned int FEP_CONST_PF_NETDEV = NFPROTO_NETDEV;
static const unsigned long FEP_CONST_EVENT_UNREGISTER = NETDEV_UNREGISTER;

/* net_namespace.c */
struct net *fep_helper_current_net(void);
void fep_helper_get_net(struct net *net);
unsigned int fep_helper_net_address_type(struct net *net, __be32 addr);
void fep_helper_put_net(struct net *net);
void **fep_helper_net_slot(struct net *net, unsigned int id);
struct user_namespace *fep_helper_net_user_ns(struct net *net);

/* netdevice.c */
struct net_device *fep_helper_notifier_info_dev(void *info);
struct net *fep_helper_dev_net(struct net_device *dev);
unsigned int fep_helper_ll_reserved_space(struct net_device *dev);
bool fep_helper_netif_is_loopback(const struct net_device *dev);
bool fep_helper_netif_is_l3_slave(const struct net_device *dev);
int fep_helper_netdev_ifindex(const struct net_device *dev);
const char *fep_helper_netdev_name(const struct net_device *dev);
void fep_helper_dev_hold(struct net_device *dev);
void fep_helper_dev_put(struct net_device *dev);

/* percpu.c */
void __percpu *fep_helper_alloc_percpu(size_t size, size_t align);
void *fep_helper_this_cpu_ptr(void __percpu *ptr);
void *fep_helper_per_cpu_ptr(void __percpu *ptr, unsigned int cpu);
bool fep_helper_cpu_possible(unsigned int cpu);

/* route.c */
struct dst_entry *fep_helper_route_output(struct net *net, __be32 daddr, __be32 saddr);
bool fep_helper_route_is_unicast(const struct dst_entry *dst);
struct net_device *fep_helper_route_dev(const struct dst_entry *dst);
int fep_helper_route_input(struct sk_buff *skb);
int fep_helper_route_xmit(struct dst_entry *dst, struct sk_buff *skb, __be32 daddr);

/* sched.c */
void fep_helper_cond_resched(void);
bool fep_helper_fatal_signal_pending(void);

/* skbuff.c */
bool fep_helper_skb_is_ipv4(const struct sk_buff *skb);
bool fep_helper_skb_is_host(const struct sk_buff *skb);
bool fep_helper_skb_csum_partial(const struct sk_buff *skb, int start);
struct sk_buff *fep_helper_skb_share_check(struct sk_buff *skb);
int fep_helper_pskb_trim_rcsum(struct sk_buff *skb, unsigned int len);
int fep_helper_skb_cow_head(struct sk_buff *skb, unsigned int headroom);

/* workqueue.c */
void fep_helper_init_delayed_work(struct delayed_work *work, work_func_t func);
bool fep_helper_queue_delayed_work(struct delayed_work *work, unsigned long delay);

#endif
