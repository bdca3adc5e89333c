// SPDX-License-Identifier: GPL-2.0

//! The keyed hash of a client: SipHash-1-3, its low half.
//!
//! A route is found by its client alone, from requests (the packet's source) and from replies (its
//! destination), so the two directions of a flow have one hash (F3). Clients choose their address
//! and port, so without a key they could choose to collide.
//!
//! The message is the address, the port in native byte order and the protocol's number: seven bytes
//! for IPv4, nineteen for IPv6, so that the length, which SipHash puts into the last byte of the last
//! word, costs no word of its own.

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::packet::Protocol;

/// The secret key: random, one for each network namespace, never shown.
#[derive(Clone, Copy)]
pub struct HashKey(pub [u64; 2]);

/// One round of SipHash.
#[inline(always)]
const fn round([v0, v1, v2, v3]: [u64; 4]) -> [u64; 4] {
    let v0 = v0.wrapping_add(v1);
    let v1 = v1.rotate_left(13) ^ v0;
    let v0 = v0.rotate_left(32);
    let v2 = v2.wrapping_add(v3);
    let v3 = v3.rotate_left(16) ^ v2;
    let v0 = v0.wrapping_add(v3);
    let v3 = v3.rotate_left(21) ^ v0;
    let v2 = v2.wrapping_add(v1);
    let v1 = v1.rotate_left(17) ^ v2;
    let v2 = v2.rotate_left(32);
    [v0, v1, v2, v3]
}

/// SipHash-1-3 of a message with its padding, the low half.
#[inline(always)]
const fn hash<const N: usize>(key: &HashKey, words: [u64; N]) -> u32 {
    let [k0, k1] = key.0;
    let mut state = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    let mut rest: &[u64] = &words;
    while let [word, behind @ ..] = rest {
        state = block(state, *word);
        rest = behind;
    }
    let [v0, v1, v2, v3] = state;
    let [v0, v1, v2, v3] = round(round(round([v0, v1, v2 ^ 0xff, v3])));
    // CAST: the low half is meant.
    (v0 ^ v1 ^ v2 ^ v3) as u32
}

/// Hashes one word.
#[inline(always)]
const fn block([v0, v1, v2, v3]: [u64; 4], word: u64) -> [u64; 4] {
    let [v0, v1, v2, v3] = round([v0, v1, v2, v3 ^ word]);
    [v0 ^ word, v1, v2, v3]
}

/// An IPv4 client: its message with the length, one word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Client4(u64);

impl Client4 {
    const LENGTH: u64 = 7 << 56;

    /// The client at this address and port.
    #[inline(always)]
    pub(crate) const fn new(address: Ipv4Addr, protocol: Protocol, port: u16) -> Self {
        // CAST: widening, here and below; `u64::from` is not const.
        let address = u32::from_ne_bytes(address.octets()) as u64;
        let end = ((protocol.number() as u64) << 16) | port as u64;
        Self(Self::LENGTH | (end << 32) | address)
    }

    /// Its address and port.
    #[inline(always)]
    pub(crate) const fn end(self) -> (Ipv4Addr, u16) {
        // CAST: the parts are meant.
        let [a, b, c, d] = (self.0 as u32).to_ne_bytes();
        (Ipv4Addr::new(a, b, c, d), (self.0 >> 32) as u16)
    }

    /// Its hash.
    #[inline(always)]
    pub(crate) const fn hash(self, key: &HashKey) -> u32 {
        hash(key, [self.0])
    }
}

/// An IPv6 client: its message with the length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Client6([u64; 3]);

impl Client6 {
    const LENGTH: u64 = 19 << 56;

    /// The client at this address and port.
    #[inline(always)]
    pub(crate) const fn new(address: Ipv6Addr, protocol: Protocol, port: u16) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = address.octets();
        // CAST: widening.
        Self([
            u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
            u64::from_ne_bytes([i, j, k, l, m, n, o, p]),
            Self::LENGTH | ((protocol.number() as u64) << 16) | port as u64,
        ])
    }

    /// Its address and port.
    #[inline(always)]
    pub(crate) const fn end(self) -> (Ipv6Addr, u16) {
        let [upper, lower, end] = self.0;
        let [a, b, c, d, e, f, g, h] = upper.to_ne_bytes();
        let [i, j, k, l, m, n, o, p] = lower.to_ne_bytes();
        let address = u128::from_be_bytes([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]);
        // CAST: the lower part is meant.
        (Ipv6Addr::from_bits(address), end as u16)
    }

    /// Its hash.
    #[inline(always)]
    pub(crate) const fn hash(self, key: &HashKey) -> u32 {
        hash(key, self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::vec::Vec;

    /// SipHash-c-d of any message, after the paper (Aumasson and Bernstein, 2012).
    fn siphash(c: usize, d: usize, key: [u64; 2], message: &[u8]) -> u64 {
        fn sipround(v: &mut [u64; 4]) {
            v[0] = v[0].wrapping_add(v[1]);
            v[2] = v[2].wrapping_add(v[3]);
            v[1] = v[1].rotate_left(13);
            v[3] = v[3].rotate_left(16);
            v[1] ^= v[0];
            v[3] ^= v[2];
            v[0] = v[0].rotate_left(32);
            v[2] = v[2].wrapping_add(v[1]);
            v[0] = v[0].wrapping_add(v[3]);
            v[1] = v[1].rotate_left(17);
            v[3] = v[3].rotate_left(21);
            v[1] ^= v[2];
            v[3] ^= v[0];
            v[2] = v[2].rotate_left(32);
        }
        let mut v = [b"somepseu", b"dorandom", b"lygenera", b"tedbytes"]
            .map(|text| u64::from_be_bytes(*text));
        for (i, word) in v.iter_mut().enumerate() {
            *word ^= key[i % 2];
        }
        let mut padded = message.to_vec();
        while padded.len() % 8 != 7 {
            padded.push(0);
        }
        padded.push(u8::try_from(message.len() % 256).unwrap());
        for block in padded.chunks(8) {
            let word = u64::from_le_bytes(block.try_into().unwrap());
            v[3] ^= word;
            (0..c).for_each(|_| sipround(&mut v));
            v[0] ^= word;
        }
        v[2] ^= 0xff;
        (0..d).for_each(|_| sipround(&mut v));
        v[0] ^ v[1] ^ v[2] ^ v[3]
    }

    #[test]
    fn reference_gives_the_published_vector() {
        // The paper's appendix A: SipHash-2-4, key 00..0f, message 00..0e.
        let key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        let message: Vec<u8> = (0..15).collect();
        assert_eq!(siphash(2, 4, key, &message), 0xa129_ca61_49be_45e5);
    }

    #[test]
    fn reference_agrees_with_the_standard_library() {
        use std::hash::{DefaultHasher, Hasher};
        // Rust's default hasher is SipHash-1-3 with key 0.
        for message in [&b"1234567"[..], b"1234567890123456789"] {
            let mut hasher = DefaultHasher::new();
            hasher.write(message);
            assert_eq!(siphash(1, 3, [0; 2], message), hasher.finish());
        }
    }

    #[test]
    fn client_hash_is_siphash_1_3() {
        for i in 0..2000u64 {
            let noise = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let key = [noise.rotate_left(7), !noise.rotate_left(31)];
            let protocol = [Protocol::Tcp, Protocol::Udp][usize::from(i % 2 == 1)];
            let address = Ipv4Addr::from((noise >> 32) as u32);
            let port = (noise >> 16) as u16;
            let key = HashKey(key);
            let end = [&port.to_le_bytes()[..], &[protocol.number()]].concat();
            let message = [&address.octets()[..], &end].concat();
            let expected = siphash(1, 3, key.0, &message) as u32;
            let client = Client4::new(address, protocol, port);
            assert_eq!(client.hash(&key), expected);
            assert_eq!(client.end(), (address, port));

            let address = Ipv6Addr::from(u128::from(noise) * u128::from(!noise));
            let message = [&address.octets()[..], &end].concat();
            let expected = siphash(1, 3, key.0, &message) as u32;
            let client = Client6::new(address, protocol, port);
            assert_eq!(client.hash(&key), expected);
            assert_eq!(client.end(), (address, port));
        }
    }

    #[test]
    fn one_clients_ports_spread_over_the_buckets() {
        let key = HashKey([1, 2]);
        let buckets: BTreeSet<u32> = (1..=4096)
            .map(|port| {
                Client4::new(Ipv4Addr::new(192, 168, 0, 1), Protocol::Tcp, port).hash(&key) >> 20
            })
            .collect();
        // 4096 balls into 4096 bins fill 63 % of them: 2589, with a deviation of 31.
        assert!((2400..2780).contains(&buckets.len()), "{}", buckets.len());
    }
}
