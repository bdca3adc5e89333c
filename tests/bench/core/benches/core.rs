// SPDX-License-Identifier: GPL-2.0

//! What the decisions about a packet cost by themselves, by the clock.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::hint::black_box;

use criterion::{criterion_group, criterion_main, BenchmarkId, Criterion};
use fep_core::address::Address;
use fep_core::hash::HashKey;
use fep_core::packet::Protocol;
use fep_core::rewrite::{Coverage, Side, Translation};
use fep_core::wrr::{build, next, Slot};

/// A UDP packet of 18 bytes of data from a client to a VIP, without checksums.
fn packet4() -> Vec<u8> {
    let mut bytes = vec![
        0x45, 0, 0, 46, 0, 0, 0x40, 0, 64, 17, 0, 0, 198, 51, 100, 7, 192, 0, 2, 10,
    ];
    bytes.extend([0x9c, 0x41, 0, 53, 0, 26, 0, 0]);
    bytes.extend([0; 18]);
    bytes
}

/// The same over IPv6.
fn packet6() -> Vec<u8> {
    let mut bytes = vec![0x60, 0, 0, 0, 0, 26, 17, 64];
    bytes.extend(Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 7).octets());
    bytes.extend(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10).octets());
    bytes.extend([0x9c, 0x41, 0, 53, 0, 26, 0x12, 0x34]);
    bytes.extend([0; 18]);
    bytes
}

fn family<A: Address>(c: &mut Criterion, name: &str, bytes: Vec<u8>, service: A, node: A) {
    let mut group = c.benchmark_group(name);
    group.bench_function("parse", |b| {
        b.iter(|| A::parse_plain(black_box(&bytes), black_box(bytes.len())))
    });
    let packet = A::parse_plain(&bytes, bytes.len()).expect("a plain packet");
    let key = HashKey::new([1, 2, 3, 4]);
    group.bench_function("hash", |b| {
        b.iter(|| {
            let (source, port) = black_box((packet.source, packet.source_port));
            source.client_hash(&key, Protocol::Udp, port)
        })
    });
    let translation = Translation::new((service, 53), (node, 53));
    let mut changed = bytes.clone();
    group.bench_function("translate", |b| {
        b.iter(|| {
            changed.copy_from_slice(&bytes);
            let side = Side::Destination;
            A::translate(
                &mut changed,
                black_box(&packet),
                side,
                &translation,
                Coverage::Full,
            )
        })
    });
    group.finish();
}

fn families(c: &mut Criterion) {
    let v4 = |text: &str| text.parse::<Ipv4Addr>().expect("an address");
    let v6 = |text: &str| text.parse::<Ipv6Addr>().expect("an address");
    family(c, "ipv4", packet4(), v4("192.0.2.10"), v4("10.0.0.11"));
    family(
        c,
        "ipv6",
        packet6(),
        v6("2001:db8::10"),
        v6("2001:db8:2::11"),
    );
    assert!(Ipv4Addr::from_ip(IpAddr::V4(v4("10.0.0.1"))).is_some());
}

fn schedulers(c: &mut Criterion) {
    let mut group = c.benchmark_group("wrr");
    for nodes in [1u32, 4, 64, 4096] {
        let mut slots: Vec<Slot> = (0..nodes)
            .map(|n| Slot {
                weight: 1 + n % 7,
                done: 0,
                index: n,
            })
            .collect();
        build(&mut slots);
        group.bench_with_input(BenchmarkId::from_parameter(nodes), &nodes, |b, _| {
            b.iter(|| next(black_box(&mut slots)))
        });
    }
    group.finish();
}

criterion_group!(core, families, schedulers);
criterion_main!(core);
