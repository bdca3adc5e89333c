// SPDX-License-Identifier: GPL-2.0

//! Translation against scapy: replays the packets that `make_packets.py` wrote.

use std::net::Ipv4Addr;

use fep_core::packet::{header_checksum_ok, parse, Parsed};
use fep_core::rewrite::{translate, Coverage, Side};

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
    let address = u32::from(address.parse::<Ipv4Addr>().unwrap());

    let mut packet_bytes = bytes(input);
    let Parsed::Packet(packet) = parse(&packet_bytes, packet_bytes.len()) else {
        panic!("{name}: not parsed");
    };
    assert!(header_checksum_ok(&packet_bytes, &packet), "{name}");
    let port = port.parse().unwrap();
    assert!(translate(
        &mut packet_bytes,
        &packet,
        side,
        address,
        port,
        coverage
    ));
    assert_eq!(packet_bytes, bytes(expected), "{name}");
    assert!(header_checksum_ok(&packet_bytes, &packet), "{name}");
    name
}

#[test]
fn packets_made_by_scapy() {
    let names: Vec<&str> = PACKETS
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(replay)
        .collect();
    // An empty or cut file is no success.
    assert!(names.len() > 250, "{}", names.len());
    for kind in [
        "tcp/rr/syn/partial",
        "udp/full/absent",
        "udp/after/ffff",
        "tcp/after/0000",
    ] {
        assert!(names.iter().any(|name| name.starts_with(kind)), "no {kind}");
    }
}
