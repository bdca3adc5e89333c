/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Inline functions and macros of the kernel's headers that Rust cannot call,
 * for rust/net alone: one forwarding function each, but where every packet
 * passes several are one.
 */
#ifndef FEP_HELPERS_H
#define FEP_HELPERS_H

#include <linux/jiffies.h>
#include <linux/netdevice.h>
#include <linux/netfilter.h>
#include <linux/skbuff.h>
#include <linux/slab.h>
#include <linux/workqueue.h>
#include <net/net_namespace.h>
#include <net/route.h>

/* address.c */
unsigned int fep_helper_ipv4_address_type(struct net *net, __be32 addr);
unsigned int fep_helper_ipv4_generation(struct net *net);
bool fep_helper_ipv6_enabled(void);
bool fep_helper_ipv6_address_is_local(struct net *net, const struct in6_addr *addr);
bool fep_helper_ipv4_is_from(const struct sk_buff *skb, struct dst_entry *dst, __be32 daddr);
bool fep_helper_ipv6_is_from(const struct sk_buff *skb, struct dst_entry *dst,
			     const struct in6_addr *daddr);

/* forward.c */
int fep_helper_ip_output(struct net *net, struct sk_buff *skb, struct dst_entry *dst);
unsigned int fep_helper_dst_mtu(const struct dst_entry *dst);
void fep_helper_kfree_skb_netfilter(struct sk_buff *skb);

/* gso.c */
int fep_helper_skb_special_fits(struct sk_buff *skb, unsigned int mtu, int transport);
bool fep_helper_skb_gso_fits(const struct sk_buff *skb, unsigned int mtu);

/* icmp.c */
void fep_helper_icmp_send(struct sk_buff *skb, int type, int code, u32 info);
void fep_helper_icmpv6_send(struct sk_buff *skb, u8 type, u8 code, u32 info);

/* ipv4.c */
struct dst_entry *fep_helper_ipv4_route_output(struct net *net, __be32 daddr, __be32 saddr);
unsigned int fep_helper_ipv4_route_mtu(struct net *net, struct dst_entry *dst);
int fep_helper_ipv4_output(struct net *net, struct sk_buff *skb, struct dst_entry *dst,
			   __be32 daddr);

/* ipv6.c */
struct dst_entry *fep_helper_ipv6_route_output(struct net *net, const struct in6_addr *daddr,
					       const struct in6_addr *saddr, u32 *cookie);
unsigned int fep_helper_ipv6_route_mtu(struct dst_entry *dst, u32 cookie);

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

/* neighbour4.c */
int fep_helper_ipv4_forward(struct sk_buff *skb, struct dst_entry *dst, __be32 daddr);

/* neighbour6.c */
int fep_helper_ipv6_forward(struct sk_buff *skb, struct dst_entry *dst,
			    const struct in6_addr *daddr);

/* net_namespace.c */
struct net *fep_helper_current_net(void);
void fep_helper_get_net(struct net *net);
void fep_helper_put_net(struct net *net);
void **fep_helper_net_slot(struct net *net, unsigned int id);
struct user_namespace *fep_helper_net_user_ns(struct net *net);

/* netdevice.c */
struct net_device *fep_helper_notifier_info_dev(void *info);
struct net *fep_helper_dev_net(struct net_device *dev);
bool fep_helper_netif_is_loopback(const struct net_device *dev);
bool fep_helper_netif_is_l3_slave(const struct net_device *dev);
int fep_helper_netdev_ifindex(const struct net_device *dev);
const char *fep_helper_netdev_name(const struct net_device *dev);
void fep_helper_dev_hold(struct net_device *dev);
void fep_helper_dev_put(struct net_device *dev);

/* percpu.c */
void __percpu *fep_helper_alloc_percpu(size_t size, size_t align);
void *fep_helper_per_cpu_ptr(void __percpu *ptr, unsigned int cpu);
bool fep_helper_cpu_possible(unsigned int cpu);

/* sched.c */
void fep_helper_cond_resched(void);
bool fep_helper_fatal_signal_pending(void);

/* arrival.c */
struct fep_helper_arrival {
	unsigned long kind;
	unsigned long cpu_offset;
};

struct fep_helper_arrival fep_helper_arrival(const struct sk_buff *skb);

/* skbuff.c */
int fep_helper_skb_prepare(struct sk_buff *skb, unsigned int writable, int transport);
struct sk_buff *fep_helper_skb_share_check(struct sk_buff *skb);
int fep_helper_pskb_trim_rcsum(struct sk_buff *skb, unsigned int len);

/* slab.c */
struct kmem_cache *fep_helper_kmem_cache_create(const char *name, unsigned int size);
void *fep_helper_kmem_cache_alloc(struct kmem_cache *cache);

/* workqueue.c */
void fep_helper_init_work(struct work_struct *work, work_func_t func);
bool fep_helper_queue_work(struct work_struct *work);
void fep_helper_init_delayed_work(struct delayed_work *work, work_func_t func);
bool fep_helper_queue_delayed_work(struct delayed_work *work, unsigned long delay);

#ifdef FEP_SELFTEST
/* selftest_skb.c */
int fep_helper_selftest_alive(void);
struct sk_buff *fep_helper_selftest_skb(struct net *net, const u8 *data, unsigned int len,
					unsigned int linear, unsigned int headroom, bool tracked);

/* selftest_shape.c */
unsigned long fep_helper_selftest_enter(void);
void fep_helper_selftest_leave(void);
void fep_helper_selftest_gso(struct sk_buff *skb, unsigned int size);
void fep_helper_selftest_partial(struct sk_buff *skb, int start, int offset);
struct sk_buff *fep_helper_selftest_clone(struct sk_buff *skb);
struct sk_buff *fep_helper_selftest_share(struct sk_buff *skb);

/* selftest_fault.c, selftest_fault_state.c, selftest_fault_lock.c */
void fep_helper_fault_use_after_free(void);
void fep_helper_fault_out_of_bounds(void);
void fep_helper_fault_leak(void);
int fep_helper_fault_shift(int by);
void fep_helper_fault_reference(void);
void fep_helper_fault_list(void);
void fep_helper_fault_object(void);
void fep_helper_fault_cache(void);
void fep_helper_fault_lock_inversion(void);
void fep_helper_fault_softirq_lock(void);
void fep_helper_fault_sleep(void);
bool fep_helper_fault_rcu(void);
void fep_helper_fault_race(void);
#endif

#endif
