// SPDX-License-Identifier: GPL-2.0

//! Translation against scapy: replays the packets that `make_packets.py` wrote.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fep_core::address::Address;
use fep_core::packet::Parsed;
use fep_core::rewrite::{Coverage, Side, Translation};

use crate::any::of;

const PACKETS: &str = include_str!("../data/packets.txt");

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

/// Replays one line; returns the name of its case.
fn replay(line: &str) -> &str {
    let [name, side, address, port, coverage, input, expected] =
        line.split(' ').collect::<Vec<_>>()[..]
    else {
        panic!("{line}");
    };
    let side = match side {
        "source" => Side::Source,
        "destination" => Side::Destination,
        other => panic!("{other}"),
    };
    let coverage = match coverage {
        "full" => Coverage::Full,
        "partial" => Coverage::Partial,
        other => panic!("{other}"),
    };
    let address: IpAddr = address.parse().unwrap();
    let to = (side, address, port.parse().unwrap());
    let mut packet = bytes(input);
    match address {
        IpAddr::V4(_) => translate::<Ipv4Addr>(name, &mut packet, to, coverage),
        IpAddr::V6(_) => translate::<Ipv6Addr>(name, &mut packet, to, coverage),
    }
    assert_eq!(packet, bytes(expected), "{name}");
    name
}

/// Translates a packet, or an error about one.
fn translate<A: Address>(
    name: &str,
    bytes: &mut [u8],
    (side, address, port): (Side, IpAddr, u16),
    coverage: Coverage,
) {
    let to: (A, u16) = (of(address), port);
    match A::parse(bytes, bytes.len()) {
        Parsed::Packet(packet) => {
            assert!(!name.starts_with("icmp"), "{name}");
            assert!(A::header_is_intact(bytes, &packet), "{name}");
            let translation = match side {
                Side::Source => Translation::new(to, (packet.source, packet.source_port)),
                Side::Destination => {
                    Translation::new((packet.destination, packet.destination_port), to)
                }
            };
            let done = A::translate(bytes, &packet, side, &translation, coverage);
            assert!(done && A::header_is_intact(bytes, &packet), "{name}");
        }
        Parsed::Icmp => {
            assert!(name.starts_with("icmp"), "{name}");
            let error = A::parse_error(bytes, bytes.len()).unwrap();
            let done = A::translate_error(bytes, &error, side, to.0, to.1, coverage);
            assert!(done, "{name}");
        }
        other => panic!("{name}: {other:?}"),
    }
}

#[test]
fn packets_made_by_scapy() {
    let names: Vec<&str> = PACKETS
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(replay)
        .collect();
    // An empty or cut file is no success.
    assert!(names.len() > 700, "{}", names.len());
    for kind in [
        "tcp/rr/syn/partial",
        "udp/full/absent",
        "udp/after/ffff",
        "tcp/after/0000",
        "tcp6/hop/syn/partial",
        "udp6/all/absent",
        "udp6/after/ffff",
        "tcp6/after/0000",
        "icmp/unreachable/udp",
        "icmp6/too-big/tcp/all/partial",
    ] {
        assert!(names.iter().any(|name| name.starts_with(kind)), "no {kind}");
    }
}
