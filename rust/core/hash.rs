// SPDX-License-Identifier: GPL-2.0

//! The keyed hash of a client, by folded multiplication.
//!
//! A route is found by its client alone, from requests (the packet's source) and from replies (its
//! destination), so the two directions of a flow have one hash (F3). Clients choose their address
//! and port, so without a key they could choose to collide.
//!
//! A round multiplies two words, each with 64 secret bits mixed in, and folds the two halves of the
//! product into one word; two rounds make a hash, of an IPv6 client three. That is some fifteen
//! instructions for IPv4, where SipHash-1-3 takes ninety. It is no pseudo-random function: who saw hashes could work out keys that
//! collide. Nobody outside does see them, and a key lasts as long as its network namespace.

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::packet::Protocol;

/// The secret key: random, one for each network namespace, never shown.
#[derive(Clone, Copy)]
pub struct HashKey([u64; 4]);

impl HashKey {
    /// A key of 256 random bits, of which two are not used.
    pub const fn new([a, b, c, d]: [u64; 4]) -> Self {
        // What words are multiplied by must not be even, or bits of theirs would be lost.
        Self([a, b | 1, c, d | 1])
    }
}

/// Multiplies, and folds the product.
#[inline(always)]
const fn fold(a: u64, b: u64) -> u64 {
    // CAST: widening, then the halves are meant.
    let product = (a as u128).wrapping_mul(b as u128);
    product as u64 ^ (product >> 64) as u64
}

/// An IPv4 client: address, port and protocol in one word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Client4(u64);

impl Client4 {
    /// The client at this address and port.
    #[inline(always)]
    pub(crate) const fn new(address: Ipv4Addr, protocol: Protocol, port: u16) -> Self {
        // CAST: widening, here and below; `u64::from` is not const.
        let address = u32::from_ne_bytes(address.octets()) as u64;
        let end = ((protocol.number() as u64) << 16) | port as u64;
        Self((end << 32) | address)
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
        let [a, b, c, d] = key.0;
        // CAST: the low half is meant.
        fold(fold(self.0 ^ a, b) ^ c, d) as u32
    }
}

/// An IPv6 client: its address in two words, port and protocol in a third.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Client6([u64; 3]);

impl Client6 {
    /// The client at this address and port.
    #[inline(always)]
    pub(crate) const fn new(address: Ipv6Addr, protocol: Protocol, port: u16) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = address.octets();
        // CAST: widening.
        Self([
            u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
            u64::from_ne_bytes([i, j, k, l, m, n, o, p]),
            ((protocol.number() as u64) << 16) | port as u64,
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
        let [upper, lower, end] = self.0;
        let [a, b, c, d] = key.0;
        // CAST: the low half is meant.
        fold(fold(fold(upper ^ a, lower ^ b) ^ end, b) ^ c, d) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;
    use std::vec::Vec;

    /// Any sequence of keys, the same at each run.
    fn keys() -> impl Iterator<Item = HashKey> {
        let mut state = 0x0123_4567_89ab_cdefu64;
        let mut next = move || {
            // xorshift64* (Vigna, 2016).
            state ^= state >> 12;
            state ^= state << 25;
            state ^= state >> 27;
            state.wrapping_mul(0x2545_f491_4f6c_dd1d)
        };
        core::iter::repeat_with(move || HashKey::new([next(), next(), next(), next()]))
    }

    fn v4(address: u32, port: u16) -> Client4 {
        Client4::new(Ipv4Addr::from(address), Protocol::Tcp, port)
    }

    fn v6(address: u128, port: u16) -> Client6 {
        Client6::new(Ipv6Addr::from(address), Protocol::Tcp, port)
    }

    #[test]
    fn clients_come_back_out() {
        for i in 0..2000u64 {
            let noise = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let protocol = [Protocol::Tcp, Protocol::Udp][usize::from(i % 2 == 1)];
            let port = (noise >> 16) as u16;
            let address = Ipv4Addr::from((noise >> 32) as u32);
            let client = Client4::new(address, protocol, port);
            assert_eq!(client.end(), (address, port));
            let address = Ipv6Addr::from(u128::from(noise) * u128::from(!noise));
            let client = Client6::new(address, protocol, port);
            assert_eq!(client.end(), (address, port));
        }
    }

    #[test]
    fn hashes_are_those_of_the_definition() {
        // In the high-school way, digit by digit of 32 bits.
        fn fold(a: u64, b: u64) -> u64 {
            const MASK: u64 = 0xffff_ffff;
            let (a1, a0, b1, b0) = (a >> 32, a & MASK, b >> 32, b & MASK);
            let low = a0 * b0;
            let middle = a1 * b0 + (low >> 32);
            let other = a0 * b1 + (middle & MASK);
            let high = a1 * b1 + (middle >> 32) + (other >> 32);
            high ^ ((other << 32) | (low & MASK))
        }
        for key in keys().take(500) {
            let [a, b, c, d] = key.0;
            assert!(b % 2 == 1 && d % 2 == 1);
            let client = v4(0xc000_0207, 40001);
            let word = u64::from(u32::from_ne_bytes([192, 0, 2, 7])) | (40001 << 32) | (6 << 48);
            let expected = fold(fold(word ^ a, b) ^ c, d) as u32;
            assert_eq!(client.hash(&key), expected);
            let client = v6(0x2001_0db8_0000_0001_0000_0000_0000_0002, 40001);
            let upper = u64::from_ne_bytes([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 1]);
            let lower = u64::from_ne_bytes([0, 0, 0, 0, 0, 0, 0, 2]);
            let address = fold(upper ^ a, lower ^ b);
            let expected = fold(fold(address ^ (40001 | (6 << 16)), b) ^ c, d) as u32;
            assert_eq!(client.hash(&key), expected);
        }
    }

    /// Every bit of a client changes every bit of its hash for about half of the keys.
    fn avalanche(bits: usize, hash: impl Fn(Option<usize>, &HashKey) -> u32) {
        const KEYS: usize = 4000;
        let mut changed = vec![[0usize; 32]; bits];
        for key in keys().take(KEYS) {
            let before = hash(None, &key);
            for (bit, counts) in changed.iter_mut().enumerate() {
                let change = before ^ hash(Some(bit), &key);
                for (at, count) in counts.iter_mut().enumerate() {
                    *count += ((change >> at) & 1) as usize;
                }
            }
        }
        // Half of 4,000, with a deviation of 32.
        for (bit, counts) in changed.iter().enumerate() {
            for count in counts {
                assert!((1800..2200).contains(count), "bit {bit}: {counts:?}");
            }
        }
    }

    #[test]
    fn every_bit_counts() {
        avalanche(48, |flip, key| {
            let flip = flip.map_or(0, |bit| 1u64 << bit);
            v4(0xc633_6407 ^ flip as u32, 40001 ^ (flip >> 32) as u16).hash(key)
        });
        avalanche(144, |flip, key| {
            let address = flip.filter(|bit| *bit < 128).map_or(0, |bit| 1u128 << bit);
            let port = flip
                .filter(|bit| *bit >= 128)
                .map_or(0, |bit| 1u16 << (bit - 128));
            v6(
                0x2001_0db8_0000_0001_0000_0000_0000_0007 ^ address,
                40001 ^ port,
            )
            .hash(key)
        });
    }

    /// Clients who follow a pattern fill the buckets as chance would: how full the fullest of 4,096
    /// buckets is with 4,096 clients, and how many are empty.
    fn spread(of: impl Fn(u32) -> u32, what: &str) {
        let mut buckets: Vec<u32> = vec![0; 4096];
        for client in 0..4096 {
            buckets[(of(client) >> 20) as usize] += 1;
        }
        let fullest = buckets.iter().max().unwrap();
        let empty = buckets.iter().filter(|count| **count == 0).count();
        // Chance leaves 1,507 empty, with a deviation of 20; and more than 12 in a bucket is one in a
        // million tables.
        assert!(*fullest <= 12, "{what}: {fullest} in a bucket");
        assert!((1380..1640).contains(&empty), "{what}: {empty} are empty");
    }

    #[test]
    fn patterns_spread() {
        for key in keys().take(50) {
            spread(|n| v4(0xc0a8_0001, n as u16).hash(&key), "ports");
            spread(|n| v4(0x0a00_0000 + n, 40000).hash(&key), "addresses");
            spread(|n| v4(n << 20, 40000).hash(&key), "networks");
            spread(|n| v4((n << 16) | n, n as u16).hash(&key), "all at once");
            spread(|n| v4(n >> 6, (n & 63) as u16 * 1024).hash(&key), "steps");
            spread(|n| v6(u128::from(n), 40000).hash(&key), "hosts");
            spread(|n| v6(u128::from(n) << 64, 40000).hash(&key), "prefixes");
            spread(|n| v6(1 << 96, n as u16).hash(&key), "ports of IPv6");
            spread(
                |n| v6((u128::from(n) << 96) | (u128::from(n) << 32), 40000).hash(&key),
                "both halves",
            );
        }
    }
}
