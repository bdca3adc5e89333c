// SPDX-License-Identifier: GPL-2.0

//! Any configuration, of both families and both methods: what `dump` prints `apply` takes, and
//! nothing changes.

mod common;

use common::Place;
use fep_client::config::{Backend, Config, Priority, Service, Timeouts, Weight};
use fep_client::file::to_toml;
use fep_client::{Client, DeviceName, Method, NodeAddr, ServiceKey};
use fep_uapi::Scheduler;
use proptest::collection::{btree_map, btree_set};
use proptest::prelude::*;

/// Whether the service is TCP, whether IPv6, and its port.
type Name = (bool, bool, u16);

/// A node's host (a byte for IPv4, more for IPv6) and what it has.
type Node = ((u16, u16), (u16, u16, bool, Option<bool>));

fn key((tcp, v6, port): Name) -> ServiceKey {
    let protocol = if tcp { "tcp" } else { "udp" };
    let vip = if v6 { "[2001:db8::10]" } else { "10.0.0.100" };
    format!("{protocol}/{vip}:{port}").parse().unwrap()
}

fn backend(
    (_, v6, service): Name,
    ((host, port), (weight, priority, dr, failed)): Node,
) -> Backend {
    let [high, low] = host.to_be_bytes();
    Backend {
        addr: NodeAddr {
            address: if v6 {
                [0xfd00, u16::from(low), 0, 0, 0, 0, u16::from(high), host].into()
            } else {
                [10, 1, high, low].into()
            },
            port: if dr { service } else { port },
        },
        weight: Weight(weight.into()),
        priority: Priority(priority.into()),
        method: if dr { Method::DR } else { Method::NAT },
        failed,
    }
}

fn config() -> impl Strategy<Value = Config> {
    let backends = (
        any::<u16>(),
        any::<u16>(),
        any::<bool>(),
        any::<Option<bool>>(),
    );
    let nodes = btree_map((any::<u16>(), 1..=u16::MAX), backends, 0..6);
    let timeouts = prop::array::uniform5(0..=864_000u32);
    let name = (any::<bool>(), any::<bool>(), 1..=u16::MAX);
    let services = btree_map(name, (nodes, timeouts), 0..6);
    let devices = btree_set(prop::sample::select(vec!["eth0", "eth1"]), 0..3);
    (services, devices, 1..=1u32 << 27).prop_map(|(services, devices, limit)| {
        let services = services.into_iter().map(|(name, (nodes, timeouts))| {
            let mut backends: Vec<Backend> =
                nodes.into_iter().map(|node| backend(name, node)).collect();
            backends.sort_by_key(|backend| backend.addr);
            backends.dedup_by_key(|backend| backend.addr);
            Service {
                key: key(name),
                scheduler: Scheduler::Wrr,
                timeouts: Timeouts::from_abi(timeouts),
                backends,
            }
        });
        let devices = devices.into_iter();
        Config {
            devices: Some(
                devices
                    .map(|name| name.parse::<DeviceName>().unwrap())
                    .collect(),
            ),
            limit: Some(limit),
            services: Some(services.collect()),
        }
    })
}

proptest! {
    #[test]
    fn any_dump_changes_nothing(first in config(), second in config()) {
        let place = Place::new();
        for config in [first, second] {
            // Not by way of a file: what a file cannot say would then not be there.
            let mut client = Client::connect(Box::new(place.kernel.clone())).unwrap();
            client.apply(&config, false).unwrap();
            let file = place.pipe(&["apply", "-f", "-"], &to_toml(&config)).ok();
            prop_assert_eq!(file, "nothing to do\n");
            for format in [&["dump"][..], &["dump", "--json"]] {
                let dump = place.run(format).ok();
                let again = place.pipe(&["apply", "-f", "-"], &dump).ok();
                prop_assert_eq!(again, "nothing to do\n");
                let other = Place::new();
                other.pipe(&["apply", "-f", "-"], &dump).ok();
                prop_assert_eq!(other.run(format).ok(), dump);
            }
        }
    }
}
