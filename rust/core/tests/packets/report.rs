// SPDX-License-Identifier: GPL-2.0

//! ICMP errors built from scratch.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fep_core::rewrite::Side;

use crate::wire::{ipv4_header, ipv6_header, ones_sum, pseudo_header, Extension, Sum, Wire};

/// An ICMP error to be: an IP packet, the first bytes of its payload, and the quote.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) source: IpAddr,
    pub(crate) destination: IpAddr,
    pub(crate) ttl: u8,
    /// Of IPv4 alone.
    pub(crate) flags: u8,
    /// Of IPv4 alone.
    pub(crate) ip_options: Vec<u8>,
    /// Of IPv6 alone.
    pub(crate) extensions: Vec<Extension>,
    pub(crate) kind: u8,
    pub(crate) code: u8,
    pub(crate) rest: [u8; 4],
    pub(crate) quoted: Wire,
    /// Transport bytes that are quoted at most.
    pub(crate) quoted_len: usize,
    /// Link-layer padding.
    pub(crate) padding: usize,
    /// Of the message.
    pub(crate) sum: Sum,
}

impl Report {
    /// Fragmentation needed, or packet too big.
    pub(crate) fn about(quoted: Wire) -> Self {
        let (source, kind, code): (IpAddr, _, _) = match quoted.source {
            IpAddr::V4(_) => (Ipv4Addr::new(198, 51, 100, 1).into(), 3, 4),
            IpAddr::V6(_) => (Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 9).into(), 2, 0),
        };
        Self {
            source,
            destination: quoted.source,
            ttl: 61,
            flags: 0,
            ip_options: Vec::new(),
            extensions: Vec::new(),
            kind,
            code,
            rest: [0, 0, 5, 0x14],
            quoted,
            quoted_len: usize::MAX,
            padding: 0,
            sum: Sum::Full,
        }
    }

    /// Bytes up to the ICMP header.
    pub(crate) fn header_len(&self) -> usize {
        match self.source {
            IpAddr::V4(_) => 20 + self.ip_options.len(),
            IpAddr::V6(_) => {
                let extensions = self.extensions.iter();
                40 + extensions.map(|(_, body)| 2 + body.len()).sum::<usize>()
            }
        }
    }

    fn quote(&self) -> Vec<u8> {
        let mut bytes = self.quoted.bytes();
        let header_len = self.quoted.header_len();
        bytes.truncate(header_len.saturating_add(self.quoted_len));
        bytes
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.with_quote(&self.quote())
    }

    fn with_quote(&self, quote: &[u8]) -> Vec<u8> {
        let mut message = vec![self.kind, self.code, 0, 0];
        message.extend(self.rest);
        message.extend(quote);
        let ends = (self.source, self.destination);
        let (mut bytes, mut covered) = if self.source.is_ipv4() {
            let fields = (0xc0, 0x1234, self.flags, self.ttl, 1);
            let header = ipv4_header(fields, ends, &self.ip_options, message.len());
            (header, Vec::new())
        } else {
            let fields = (0x1234, self.ttl, 58);
            let header = ipv6_header(fields, ends, &self.extensions, message.len());
            (header, pseudo_header(ends, 58, message.len()))
        };
        let checksum = match self.sum {
            Sum::Partial => ones_sum(&covered),
            Sum::Full | Sum::Absent => {
                covered.extend(&message);
                !ones_sum(&covered)
            }
        };
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
        bytes.extend(message);
        bytes.extend(vec![0xee; self.padding]);
        bytes
    }

    /// The error that the translation ought to give.
    pub(crate) fn translated(&self, side: Side, address: IpAddr, port: u16) -> Vec<u8> {
        let mut report = self.clone();
        report.ttl -= 1;
        let quoted = &mut report.quoted;
        match side {
            Side::Source => {
                report.source = address;
                (quoted.destination, quoted.destination_port) = (address, port);
            }
            Side::Destination => {
                report.destination = address;
                (quoted.source, quoted.source_port) = (address, port);
            }
        }
        let mut quote = report.quote();
        if self.quoted.protocol == 6 && self.quoted_len == 17 {
            // Half a checksum stays as it is.
            *quote.last_mut().unwrap() = *self.quote().last().unwrap();
        }
        report.with_quote(&quote)
    }
}
