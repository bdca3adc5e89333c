// SPDX-License-Identifier: GPL-2.0

//! IPv4 and IPv6 packets built from scratch, every checksum computed over the finished bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What the transport checksum field is to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sum {
    /// The checksum.
    Full,
    /// Zero: a UDP packet without a checksum.
    Absent,
    /// The sum of the pseudo-header, not inverted (`CHECKSUM_PARTIAL`).
    Partial,
}

/// A packet to be, of the family that its addresses have.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    pub(crate) protocol: u8,
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    pub(crate) ttl: u8,
    /// In IPv6, the end of the flow label.
    pub(crate) id: u16,
    /// Of IPv4 alone.
    pub(crate) dont_fragment: bool,
    pub(crate) flags: u8,
    /// Of IPv4 alone: whole words.
    pub(crate) ip_options: Vec<u8>,
    /// Of IPv6 alone.
    pub(crate) extensions: Vec<Extension>,
    /// Whole words.
    pub(crate) tcp_options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    pub(crate) sum: Sum,
}

/// An extension header: its kind, and what follows next header and length, which is six more bytes
/// than a multiple of eight.
pub(crate) type Extension = (u8, Vec<u8>);

impl Wire {
    /// An IPv4 packet.
    pub(crate) fn new(protocol: u8) -> Self {
        Self {
            protocol,
            source: Ipv4Addr::new(10, 0, 0, 1).into(),
            destination: Ipv4Addr::new(192, 0, 2, 1).into(),
            source_port: 40_000,
            destination_port: 80,
            ttl: 64,
            id: 1,
            dont_fragment: true,
            flags: if protocol == 6 { 0x02 } else { 0 },
            ip_options: Vec::new(),
            extensions: Vec::new(),
            tcp_options: Vec::new(),
            payload: Vec::new(),
            sum: Sum::Full,
        }
    }

    /// An IPv6 packet.
    pub(crate) fn new6(protocol: u8) -> Self {
        Self {
            source: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1).into(),
            destination: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x201).into(),
            ..Self::new(protocol)
        }
    }

    /// Bytes up to the transport header.
    pub(crate) fn header_len(&self) -> usize {
        match self.source {
            IpAddr::V4(_) => 20 + self.ip_options.len(),
            IpAddr::V6(_) => {
                let extensions = self.extensions.iter();
                40 + extensions.map(|(_, body)| 2 + body.len()).sum::<usize>()
            }
        }
    }

    /// The packet's bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let transport = self.transport();
        let mut bytes = match self.source {
            IpAddr::V4(_) => {
                let flags = u8::from(self.dont_fragment) << 6;
                let fields = (0, self.id, flags, self.ttl, self.protocol);
                let ends = (self.source, self.destination);
                ipv4_header(fields, ends, &self.ip_options, transport.len())
            }
            IpAddr::V6(_) => {
                let fields = (self.id, self.ttl, self.protocol);
                let ends = (self.source, self.destination);
                ipv6_header(fields, ends, &self.extensions, transport.len())
            }
        };
        bytes.extend(transport);
        bytes
    }

    fn transport(&self) -> Vec<u8> {
        let mut bytes = self.source_port.to_be_bytes().to_vec();
        bytes.extend(self.destination_port.to_be_bytes());
        let at = if self.protocol == 6 {
            bytes.extend([1, 2, 3, 4, 5, 6, 7, 8]);
            let words = 5 + self.tcp_options.len() / 4;
            bytes.extend([u8::try_from(words << 4).unwrap(), self.flags]);
            bytes.extend([0xfa, 0xf0, 0, 0, 0, 0]);
            bytes.extend(&self.tcp_options);
            16
        } else {
            let len = u16::try_from(8 + self.payload.len()).unwrap();
            bytes.extend(len.to_be_bytes());
            bytes.extend([0, 0]);
            6
        };
        bytes.extend(&self.payload);

        let ends = (self.source, self.destination);
        let mut covered = pseudo_header(ends, self.protocol, bytes.len());
        let sum = match self.sum {
            Sum::Absent => 0,
            Sum::Partial => ones_sum(&covered),
            Sum::Full => {
                covered.extend(&bytes);
                match !ones_sum(&covered) {
                    0 if self.protocol == 17 => 0xffff,
                    checksum => checksum,
                }
            }
        };
        bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        bytes
    }
}

/// The bytes of an address.
pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// An IPv4 header, given (type of service, identification, flags, time to live, protocol).
pub(crate) fn ipv4_header(
    (service_type, id, flags, ttl, protocol): (u8, u16, u8, u8, u8),
    (source, destination): (IpAddr, IpAddr),
    options: &[u8],
    payload_len: usize,
) -> Vec<u8> {
    let header_len = 20 + options.len();
    let total_len = u16::try_from(header_len + payload_len).unwrap();
    let mut bytes = vec![0x40 | u8::try_from(header_len / 4).unwrap(), service_type];
    bytes.extend(total_len.to_be_bytes());
    bytes.extend(id.to_be_bytes());
    bytes.extend([flags, 0, ttl, protocol, 0, 0]);
    bytes.extend(octets(source));
    bytes.extend(octets(destination));
    bytes.extend(options);
    let checksum = !ones_sum(&bytes);
    bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

/// An IPv6 header with extension headers, given (end of the flow label, hop limit, protocol).
pub(crate) fn ipv6_header(
    (flow, hop_limit, protocol): (u16, u8, u8),
    (source, destination): (IpAddr, IpAddr),
    extensions: &[Extension],
    payload_len: usize,
) -> Vec<u8> {
    let mut behind = Vec::new();
    for (number, (_, body)) in extensions.iter().enumerate() {
        let next = extensions
            .get(number + 1)
            .map_or(protocol, |(kind, _)| *kind);
        assert_eq!(body.len() % 8, 6);
        behind.extend([next, u8::try_from(body.len() / 8).unwrap()]);
        behind.extend(body);
    }
    let payload_len = u16::try_from(behind.len() + payload_len).unwrap();
    let mut bytes = vec![0x6c, 0xa5];
    bytes.extend(flow.to_be_bytes());
    bytes.extend(payload_len.to_be_bytes());
    bytes.extend([
        extensions.first().map_or(protocol, |(kind, _)| *kind),
        hop_limit,
    ]);
    bytes.extend(octets(source));
    bytes.extend(octets(destination));
    bytes.extend(behind);
    bytes
}

/// What a transport checksum covers besides the transport (RFC 9293, 3.1; RFC 8200, 8.1).
pub(crate) fn pseudo_header(
    (source, destination): (IpAddr, IpAddr),
    protocol: u8,
    len: usize,
) -> Vec<u8> {
    let mut bytes = octets(source);
    bytes.extend(octets(destination));
    if source.is_ipv4() {
        bytes.extend([0, protocol]);
        bytes.extend(u16::try_from(len).unwrap().to_be_bytes());
    } else {
        bytes.extend(u32::try_from(len).unwrap().to_be_bytes());
        bytes.extend([0, 0, 0, protocol]);
    }
    bytes
}

/// The one's complement sum of bytes, by division.
pub(crate) fn ones_sum(bytes: &[u8]) -> u16 {
    let sum: u64 = bytes
        .chunks(2)
        .map(|word| u64::from(word[0]) * 256 + word.get(1).map_or(0, |&low| u64::from(low)))
        .sum();
    match sum % 0xffff {
        0 if sum > 0 => 0xffff,
        rest => u16::try_from(rest).unwrap(),
    }
}
