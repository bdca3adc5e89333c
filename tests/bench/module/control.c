// SPDX-License-Identifier: GPL-2.0

/*
 * What fep is measured against and with: hooks that do as little as possible, and a generator for what
 * pktgen has not got.
 *
 * One file, fep_bench/control in debugfs. What is written is an order of words for the writer's
 * network namespace; the write ends when it is done. Reading gives the result of the last one.
 *
 *   unhook
 *   drop device=f0
 *   redirect device=f0 out=f1
 *   floor device=f0 out=f1 from=ADDRESS to=ADDRESS next_hop=ADDRESS [source=1]
 *   send device=c0 mac=MAC protocol=6|17 fixed=ADDRESS fixed_port=N first=ADDRESS first_port=N
 *        addresses=N ports=N count=N [reply=1] [random=1] [checksum=1] [flags=N seq=N ack=N]
 */

#include <linux/debugfs.h>
#include <linux/hex.h>
#include <linux/inet.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/nsproxy.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "bench.h"

#define ORDER_MAX 1024
#define BETWEEN "\n "

static struct dentry *folder;
static DEFINE_MUTEX(lock);
static struct send_result last;

/* The value of a word KEY=VALUE, or NULL. */
static const char *value_of(const char *word, const char *key)
{
	size_t length = strlen(key);

	return !strncmp(word, key, length) && word[length] == '=' ? word + length + 1 : NULL;
}

static int read_address(const char *text, struct address *address)
{
	memset(address, 0, sizeof(*address));
	if (in4_pton(text, -1, (u8 *)&address->in6, -1, NULL))
		address->family = AF_INET;
	else if (in6_pton(text, -1, (u8 *)&address->in6, -1, NULL))
		address->family = AF_INET6;
	else
		return -EINVAL;
	return 0;
}

static int hook_word(struct hook_order *order, const char *word)
{
	const char *value;

	value = value_of(word, "device");
	if (value)
		return strscpy(order->device, value) < 0 ? -EINVAL : 0;
	value = value_of(word, "out");
	if (value)
		return strscpy(order->out, value) < 0 ? -EINVAL : 0;
	value = value_of(word, "source");
	if (value)
		return kstrtobool(value, &order->source);
	value = value_of(word, "from");
	if (value)
		return read_address(value, &order->from);
	value = value_of(word, "to");
	if (value)
		return read_address(value, &order->to);
	value = value_of(word, "next_hop");
	if (value)
		return read_address(value, &order->next_hop);
	return -EINVAL;
}

static int send_word(struct send_order *order, const char *word)
{
	const struct {
		const char *key;
		void *to;
		int size;
	} numbers[] = {
		{ "protocol", &order->protocol, sizeof(order->protocol) },
		{ "reply", &order->reply, 0 },
		{ "random", &order->random, 0 },
		{ "checksum", &order->checksum, 0 },
		{ "fixed_port", &order->fixed_port, sizeof(order->fixed_port) },
		{ "first_port", &order->first_port, sizeof(order->first_port) },
		{ "addresses", &order->addresses, sizeof(order->addresses) },
		{ "ports", &order->ports, sizeof(order->ports) },
		{ "count", &order->count, sizeof(order->count) },
		{ "flags", &order->flags, sizeof(order->flags) },
		{ "seq", &order->seq, sizeof(order->seq) },
		{ "ack", &order->ack, sizeof(order->ack) },
	};
	const char *value;

	for (size_t at = 0; at < ARRAY_SIZE(numbers); at++) {
		value = value_of(word, numbers[at].key);
		if (!value)
			continue;
		switch (numbers[at].size) {
		case 0:
			return kstrtobool(value, numbers[at].to);
		case 1:
			return kstrtou8(value, 0, numbers[at].to);
		case 2:
			return kstrtou16(value, 0, numbers[at].to);
		default:
			return kstrtou32(value, 0, numbers[at].to);
		}
	}
	value = value_of(word, "device");
	if (value)
		return strscpy(order->device, value) < 0 ? -EINVAL : 0;
	value = value_of(word, "mac");
	if (value)
		return mac_pton(value, order->mac) ? 0 : -EINVAL;
	value = value_of(word, "fixed");
	if (value)
		return read_address(value, &order->fixed);
	value = value_of(word, "first");
	if (value)
		return read_address(value, &order->first);
	return -EINVAL;
}

static int obey_hook(struct net *net, enum action action, char *rest)
{
	struct hook_order order = { .action = action };
	char *word;
	int error;

	while ((word = strsep(&rest, BETWEEN))) {
		error = *word ? hook_word(&order, word) : 0;
		if (error)
			return error;
	}
	return bench_hook(net, &order);
}

static int obey_send(struct net *net, char *rest)
{
	struct send_order order = { .addresses = 1, .ports = 1 };
	char *word;
	int error;

	while ((word = strsep(&rest, BETWEEN))) {
		error = *word ? send_word(&order, word) : 0;
		if (error)
			return error;
	}
	if (!order.addresses || !order.ports || order.fixed.family != order.first.family)
		return -EINVAL;
	return bench_send(net, &order, &last);
}

static int obey(struct net *net, char *text)
{
	char *verb = strsep(&text, BETWEEN);

	if (!strcmp(verb, "unhook")) {
		bench_unhook();
		return 0;
	}
	if (!strcmp(verb, "drop"))
		return obey_hook(net, ACTION_DROP, text);
	if (!strcmp(verb, "redirect"))
		return obey_hook(net, ACTION_REDIRECT, text);
	if (!strcmp(verb, "floor"))
		return obey_hook(net, ACTION_FLOOR, text);
	if (!strcmp(verb, "send"))
		return obey_send(net, text);
	return -EINVAL;
}

static ssize_t control_write(struct file *file, const char __user *from, size_t size, loff_t *at)
{
	char *text;
	int error;

	if (size > ORDER_MAX)
		return -EINVAL;
	text = memdup_user_nul(from, size);
	if (IS_ERR(text))
		return PTR_ERR(text);
	mutex_lock(&lock);
	error = obey(current->nsproxy->net_ns, text);
	mutex_unlock(&lock);
	kfree(text);
	return error ?: size;
}

static ssize_t control_read(struct file *file, char __user *to, size_t size, loff_t *at)
{
	char text[64];
	int length;

	mutex_lock(&lock);
	length = scnprintf(text, sizeof(text), "sent %u nanoseconds %llu\n", last.sent, last.nanoseconds);
	mutex_unlock(&lock);
	return simple_read_from_buffer(to, size, at, text, length);
}

static const struct file_operations control_operations = {
	.owner = THIS_MODULE,
	.read = control_read,
	.write = control_write,
};

static int __init bench_init(void)
{
	folder = debugfs_create_dir("fep_bench", NULL);
	debugfs_create_file("control", 0600, folder, NULL, &control_operations);
	return 0;
}

static void __exit bench_exit(void)
{
	debugfs_remove(folder);
	bench_unhook();
}

module_init(bench_init);
module_exit(bench_exit);
MODULE_DESCRIPTION("What fep is measured against and with");
MODULE_LICENSE("GPL");
