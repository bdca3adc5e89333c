// SPDX-License-Identifier: GPL-2.0

//! The difference of two configurations turns the one into the other, and no more than that.

use std::collections::BTreeMap;

use fep_client::config::{Backend, Config, Priority, Service, Timeouts, Weight};
use fep_client::diff::diff;
use fep_client::{Change, Client, Method, NodeAddr, ServiceKey};
use fep_fake::FakeKernel;
use fep_uapi::{Scheduler, BACKENDS_MAX, DEVICES_MAX};
use proptest::collection::{btree_map, btree_set};
use proptest::prelude::*;

/// Addresses that may be VIPs or nodes, so that a node can take the place of a service.
fn address() -> impl Strategy<Value = u8> {
    1..6u8
}

/// Nodes of every service, by (host, port): weight and priority, whether failed, whether of method dr.
type Nodes = BTreeMap<(u8, u16), ((u32, u32), bool, bool)>;

/// A host of a family.
fn shown(v6: bool, host: u8) -> String {
    if v6 {
        format!("[2001:db8::{host}]")
    } else {
        format!("10.0.0.{host}")
    }
}

fn config() -> impl Strategy<Value = Config> {
    let node = ((0..4u32, 0..3u32), any::<bool>(), any::<bool>());
    let nodes = btree_map((address(), 80..83u16), node, 0..5);
    let services = btree_map(
        (any::<bool>(), address(), 80..83u16),
        (nodes, 0..2u32),
        0..6,
    );
    let devices = btree_set(0..3u8, 0..4);
    (services, devices, 1..3u32).prop_map(|(services, devices, limit)| {
        let vips: Vec<(bool, u8, u16)> = services.keys().copied().collect();
        let make = |((v6, host, port), (nodes, syn)): ((bool, u8, u16), (Nodes, u32))| {
            // What the kernel refuses: a node at the address of its service, or one that is one.
            let allowed = nodes
                .into_iter()
                .filter(|((node, on), _)| *node != host && !vips.contains(&(v6, *node, *on)));
            Service {
                key: format!("tcp/{}:{port}", shown(v6, host)).parse().unwrap(),
                scheduler: Scheduler::Wrr,
                timeouts: Timeouts {
                    syn,
                    ..Timeouts::default()
                },
                backends: allowed
                    .map(|((host, on), ((weight, priority), failed, dr))| Backend {
                        addr: format!("{}:{on}", shown(v6, host)).parse().unwrap(),
                        weight: Weight(weight),
                        // Another port would be refused.
                        method: if dr && on == port {
                            Method::DR
                        } else {
                            Method::NAT
                        },
                        priority: Priority(priority),
                        failed: Some(failed),
                    })
                    .collect(),
            }
        };
        let devices = devices.iter().map(|at| format!("eth{at}").parse().unwrap());
        Config {
            devices: Some(devices.collect()),
            limit: Some(limit),
            services: Some(services.clone().into_iter().map(make).collect()),
        }
    })
}

/// The same in an order of its own.
fn sorted(mut config: Config) -> Config {
    config.devices.iter_mut().for_each(|devices| devices.sort());
    if let Some(services) = &mut config.services {
        services.sort_by_key(|service| service.key);
        for service in services {
            service.backends.sort_by_key(|backend| backend.addr);
        }
    }
    config
}

fn kernel_with(config: &Config) -> Client {
    let kernel = FakeKernel::new(&["eth0", "eth1", "eth2"]);
    let mut client = Client::connect(Box::new(kernel)).unwrap();
    client.apply(config, false).unwrap();
    client
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn it_turns_the_one_into_the_other(first in config(), second in config()) {
        let mut client = kernel_with(&first);
        prop_assert_eq!(sorted(client.snapshot().unwrap().config()), sorted(first.clone()));
        let changes = diff(&first, &second);
        let done = client.apply(&second, false).unwrap();
        prop_assert_eq!(done.changes.len(), changes.len());
        prop_assert_eq!(sorted(client.snapshot().unwrap().config()), sorted(second.clone()));
        prop_assert!(diff(&second, &second).is_empty());
        prop_assert!(client.apply(&second, false).unwrap().changes.is_empty());
    }

    #[test]
    fn each_change_is_needed(first in config(), second in config()) {
        // Without any one of them the result is another, or is refused.
        let changes = diff(&first, &second);
        for without in 0..changes.len() {
            let mut client = kernel_with(&first);
            let mut rest = changes.clone();
            rest.remove(without);
            if rest.is_empty() || client.commit(rest, false, 0).is_ok() {
                let result = sorted(client.snapshot().unwrap().config());
                prop_assert_ne!(result, sorted(second.clone()), "{}", changes[without]);
            }
        }
    }

    #[test]
    fn the_order_of_a_file_does_not_matter(config in config()) {
        let mut other = config.clone();
        other.devices.iter_mut().for_each(|devices| devices.reverse());
        if let Some(services) = &mut other.services {
            services.reverse();
            services.iter_mut().for_each(|service| service.backends.reverse());
        }
        prop_assert!(diff(&config, &other).is_empty());
    }
}

fn service(key: &str, nodes: &[&str]) -> Service {
    let backends = nodes.iter().map(|node| Backend {
        addr: node.parse().unwrap(),
        weight: Weight::default(),
        method: Method::default(),
        priority: Priority::default(),
        failed: None,
    });
    Service {
        key: key.parse().unwrap(),
        scheduler: Scheduler::Wrr,
        timeouts: Timeouts::default(),
        backends: backends.collect(),
    }
}

fn services(services: Vec<Service>) -> Config {
    Config {
        services: Some(services),
        ..Config::default()
    }
}

fn texts(changes: &[Change]) -> Vec<String> {
    changes.iter().map(ToString::to_string).collect()
}

#[test]
fn removals_come_last() {
    let before = services(vec![
        service("tcp/10.0.0.1:80", &["10.1.0.2:80"]),
        service("tcp/10.0.0.2:80", &[]),
    ]);
    let after = services(vec![
        service("tcp/10.0.0.1:80", &["10.1.0.3:80"]),
        service("tcp/10.0.0.3:80", &[]),
    ]);
    assert_eq!(
        texts(&diff(&before, &after)),
        [
            "service add tcp/10.0.0.3:80 scheduler wrr",
            "backend add tcp/10.0.0.1:80 10.1.0.3:80 weight 1",
            "backend del tcp/10.0.0.1:80 10.1.0.2:80",
            "service del tcp/10.0.0.2:80",
        ]
    );
}

#[test]
fn a_service_whose_address_a_node_takes_goes_first() {
    let before = services(vec![service("tcp/10.0.0.2:80", &[])]);
    let after = services(vec![service("tcp/10.0.0.1:80", &["10.0.0.2:80"])]);
    assert_eq!(
        texts(&diff(&before, &after)),
        [
            "service del tcp/10.0.0.2:80",
            "service add tcp/10.0.0.1:80 scheduler wrr",
            "backend add tcp/10.0.0.1:80 10.0.0.2:80 weight 1",
        ]
    );
}

/// A service of one node.
fn one_node(method: Method, failed: Option<bool>) -> Config {
    let mut service = service("tcp/[2001:db8::10]:80", &["[2001:db8::2]:80"]);
    service.backends[0].method = method;
    service.backends[0].failed = failed;
    services(vec![service])
}

#[test]
fn another_method_is_another_node() {
    let (nat, dr) = (one_node(Method::NAT, None), one_node(Method::DR, None));
    assert_eq!(
        texts(&diff(&nat, &dr)),
        [
            "backend del tcp/[2001:db8::10]:80 [2001:db8::2]:80",
            "backend add tcp/[2001:db8::10]:80 [2001:db8::2]:80 weight 1 method dr \
             (was nat, its routes end)",
        ]
    );
    assert_eq!(
        texts(&diff(&dr, &nat))[1],
        "backend add tcp/[2001:db8::10]:80 [2001:db8::2]:80 weight 1 method nat \
         (was dr, its routes end)"
    );
}

#[test]
fn a_mark_outlives_another_method() {
    let failed = one_node(Method::NAT, Some(true));
    for (wish, marked) in [(None, true), (Some(true), true), (Some(false), false)] {
        let desired = one_node(Method::DR, wish);
        let changes = diff(&failed, &desired);
        assert_eq!(changes.len(), if marked { 3 } else { 2 }, "{wish:?}");
        let mut client = kernel_with(&failed);
        client.apply(&desired, false).unwrap();
        let backend = &client.snapshot().unwrap().services[0].backends[0];
        assert_eq!((backend.failed, backend.method), (marked, Method::DR));
    }
    let desired = one_node(Method::DR, Some(true));
    assert_eq!(diff(&one_node(Method::NAT, Some(false)), &desired).len(), 3);
}

#[test]
fn a_full_service_has_room_for_another_method() {
    let mut full = service("tcp/10.0.0.1:80", &[]);
    full.backends = (1..=BACKENDS_MAX)
        .map(|at| {
            let [_, _, c, d] = at.to_be_bytes();
            Backend {
                addr: NodeAddr {
                    address: [10, 1, c, d].into(),
                    port: 80,
                },
                weight: Weight::default(),
                priority: Priority::default(),
                method: Method::NAT,
                failed: None,
            }
        })
        .collect();
    let mut after = full.clone();
    after.backends[7].method = Method::DR;
    let mut client = kernel_with(&services(vec![full]));
    let done = client.apply(&services(vec![after]), false).unwrap();
    assert!(matches!(
        done.changes[..],
        [Change::BackendDel { .. }, Change::BackendAdd { .. }]
    ));
}

#[test]
fn room_is_made_where_there_is_none() {
    let nodes = |from: u32| {
        let node = |at: u32| {
            let [_, _, c, d] = at.to_be_bytes();
            NodeAddr {
                address: [10, 1, c, d].into(),
                port: 80,
            }
            .to_string()
        };
        (from..from + BACKENDS_MAX).map(node).collect::<Vec<_>>()
    };
    let full = |from| {
        let nodes = nodes(from);
        let nodes: Vec<&str> = nodes.iter().map(String::as_str).collect();
        services(vec![service("tcp/10.0.0.1:80", &nodes)])
    };
    let (before, after) = (full(1), full(2));
    let mut client = kernel_with(&before);
    let done = client.apply(&after, false).unwrap();
    assert!(matches!(
        done.changes[..],
        [Change::BackendDel { .. }, Change::BackendAdd { .. }]
    ));

    let devices = |from: u32| Config {
        devices: Some(
            (from..from + DEVICES_MAX)
                .map(|at| format!("d{at}").parse().unwrap())
                .collect(),
        ),
        ..Config::default()
    };
    let changes = diff(&devices(1), &devices(2));
    assert!(matches!(
        changes[..],
        [Change::DeviceDetach(_), Change::DeviceAttach(_)]
    ));
}

#[test]
fn a_place_is_found_for_each_change() {
    let after = services(vec![service(
        "tcp/10.0.0.1:80",
        &["10.1.0.2:80", "10.1.0.3:80"],
    )]);
    let changes = diff(&Config::default(), &after);
    assert!(changes
        .iter()
        .all(|change| after.place_of(change).is_some()));
    let key: ServiceKey = "tcp/10.0.0.9:80".parse().unwrap();
    assert_eq!(after.place_of(&Change::ServiceDel(key)), None);
}
