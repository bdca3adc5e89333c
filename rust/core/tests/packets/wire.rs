// SPDX-License-Identifier: GPL-2.0

//! IPv4 packets built from scratch, every checksum computed over the finished bytes.

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

/// A packet to be.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    pub(crate) protocol: u8,
    pub(crate) source: u32,
    pub(crate) destination: u32,
    pub(crate) source_port: u16,
    pub(crate) destination_port: u16,
    pub(crate) ttl: u8,
    pub(crate) id: u16,
    pub(crate) dont_fragment: bool,
    pub(crate) flags: u8,
    /// Whole words.
    pub(crate) ip_options: Vec<u8>,
    /// Whole words.
    pub(crate) tcp_options: Vec<u8>,
    pub(crate) payload: Vec<u8>,
    pub(crate) sum: Sum,
}

impl Wire {
    pub(crate) fn new(protocol: u8) -> Self {
        Self {
            protocol,
            source: 0x0a00_0001,
            destination: 0xc000_0201,
            source_port: 40_000,
            destination_port: 80,
            ttl: 64,
            id: 1,
            dont_fragment: true,
            flags: if protocol == 6 { 0x02 } else { 0 },
            ip_options: Vec::new(),
            tcp_options: Vec::new(),
            payload: Vec::new(),
            sum: Sum::Full,
        }
    }

    /// The packet's bytes.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let transport = self.transport();
        let header_len = 20 + self.ip_options.len();
        let total_len = u16::try_from(header_len + transport.len()).unwrap();
        let mut bytes = vec![0x40 | u8::try_from(header_len / 4).unwrap(), 0];
        bytes.extend(total_len.to_be_bytes());
        bytes.extend(self.id.to_be_bytes());
        bytes.extend([u8::from(self.dont_fragment) << 6, 0]);
        bytes.extend([self.ttl, self.protocol, 0, 0]);
        bytes.extend(self.source.to_be_bytes());
        bytes.extend(self.destination.to_be_bytes());
        bytes.extend(&self.ip_options);
        let checksum = !ones_sum(&bytes);
        bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
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

        let mut covered = self.source.to_be_bytes().to_vec();
        covered.extend(self.destination.to_be_bytes());
        covered.extend([0, self.protocol]);
        covered.extend(u16::try_from(bytes.len()).unwrap().to_be_bytes());
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
