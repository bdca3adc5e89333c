// SPDX-License-Identifier: GPL-2.0

//! The one's complement arithmetic of Internet checksums (RFC 1071, RFC 1624).
//!
//! Words are the `u16::from_ne_bytes` of their bytes throughout: the sum of words in either byte order
//! is the same sum, in that byte order (RFC 1071, 2 B).

use crate::address::Address;

/// Folds a sum of 16-bit words into 16 bits, adding the carries back (RFC 1071, 2).
///
/// The result is 0 only for 0: one's complement addition never turns anything else into +0.
#[inline]
pub const fn fold(sum: u32) -> u16 {
    // OVERFLOW: 0xffff + 0xffff, then 0xffff + 1, at most.
    let sum = (sum & 0xffff).wrapping_add(sum >> 16);
    let sum = (sum & 0xffff).wrapping_add(sum >> 16);
    // CAST: 0xffff at most after the second fold.
    sum as u16
}

/// The sum of two words, its carry added back.
#[inline(always)]
pub(crate) const fn add(a: u16, b: u16) -> u16 {
    // OVERFLOW: with a carry the sum is below 0xffff. CAST: `bool` is 0 or 1.
    let (sum, carry) = a.overflowing_add(b);
    sum.wrapping_add(carry as u16)
}

/// The folded, not inverted sum of a header of whole 32-bit words, at most 256 KiB.
#[inline]
pub(crate) fn sum_words(header: &[u8]) -> u16 {
    let words = header.chunks_exact(4);
    // OVERFLOW: 65536 times 32 bits at most.
    let sum = words.fold(0u64, |sum, word| match *word {
        [a, b, c, d] => sum.wrapping_add(u64::from(u32::from_ne_bytes([a, b, c, d]))),
        _ => sum,
    });
    // OVERFLOW: the halves of 48 bits, then of 33 bits. CAST: the lower 32 bits are meant.
    let sum = (sum & 0xffff_ffff).wrapping_add(sum >> 32);
    let sum = (sum & 0xffff_ffff).wrapping_add(sum >> 32);
    fold(sum as u32)
}

/// The folded, not inverted sum of `bytes`, which are at most 128 KiB; an odd last byte is padded
/// with a zero (RFC 1071, 4.1).
#[inline]
pub fn sum(bytes: &[u8]) -> u16 {
    let mut words = bytes.chunks_exact(2);
    // OVERFLOW: 65536 times 0xffff at most.
    let sum = words.by_ref().fold(0u32, |sum, word| match *word {
        [high, low] => sum.wrapping_add(u32::from(u16::from_ne_bytes([high, low]))),
        _ => sum,
    });
    let odd = match *words.remainder() {
        [high] => u32::from(u16::from_ne_bytes([high, 0])),
        _ => 0,
    };
    fold(sum.wrapping_add(odd))
}

/// The folded sum of a few words, each inverted if `inverted`.
#[inline]
pub(crate) fn sum_of<const N: usize>(words: [u16; N], inverted: bool) -> u16 {
    let mask = if inverted { u16::MAX } else { 0 };
    // OVERFLOW: no more words than an address has.
    fold(
        words
            .iter()
            .fold(0u32, |sum, word| sum.wrapping_add(u32::from(word ^ mask))),
    )
}

/// How a checksum changes because words that it covers do (RFC 1624, 3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Delta(u32);

impl Delta {
    /// No change.
    pub const NONE: Self = Self(0);

    /// With the word `old` replaced by `new`: ~m + m' of RFC 1624.
    ///
    /// A delta takes up to 32768 words.
    #[inline]
    pub const fn word(self, old: u16, new: u16) -> Self {
        // CAST: widening; `u32::from` is not const. OVERFLOW: 32768 * 2 * 0xffff < 2^32.
        Self(self.0.wrapping_add(!old as u32).wrapping_add(new as u32))
    }

    /// Both changes together: at most 32768 words.
    #[inline]
    pub const fn and(self, other: Self) -> Self {
        // OVERFLOW: As in `word`.
        Self(self.0.wrapping_add(other.0))
    }

    /// A change that was folded.
    #[inline(always)]
    pub(crate) const fn folded(sum: u16) -> Self {
        // CAST: widening.
        Self(sum as u32)
    }

    /// The change, folded.
    #[inline]
    pub(crate) const fn fold(self) -> u16 {
        fold(self.0)
    }

    /// With an address replaced by another.
    #[inline]
    pub fn address<A: Address>(self, old: A, new: A) -> Self {
        self.and(Self::folded(old.sum(true)))
            .and(Self::folded(new.sum(false)))
    }

    /// The new value of a checksum field: HC' = ~(~HC + ~m + m'), equation 3 of RFC 1624.
    ///
    /// Unlike equation 2 it gives the same bits as a computation from scratch.
    #[inline]
    pub const fn update(self, checksum: u16) -> u16 {
        !self.update_sum(!checksum)
    }

    /// The new value of a field that holds a sum which is not inverted yet.
    #[inline]
    pub const fn update_sum(self, sum: u16) -> u16 {
        // CAST: widening. OVERFLOW: there is room for one more word; see `word`.
        fold(self.0.wrapping_add(sum as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// The sum by division instead of folding: n mod 0xffff, where only 0 is 0.
    fn plain(sum: u64) -> u16 {
        match sum % 0xffff {
            0 if sum > 0 => 0xffff,
            rest => u16::try_from(rest).unwrap(),
        }
    }

    #[test]
    fn fold_is_division_by_ffff() {
        for sum in (0..0x30000).chain((u32::MAX - 0x30000)..=u32::MAX) {
            assert_eq!(fold(sum), plain(u64::from(sum)), "{sum:#x}");
        }
    }

    #[test]
    fn add_is_a_folded_sum() {
        let corners = [0, 1, 2, 0x7fff, 0x8000, 0x8001, 0xfffd, 0xfffe, 0xffff];
        for a in (0..=u16::MAX).step_by(97).chain(corners) {
            for b in (0..=u16::MAX).step_by(101).chain(corners) {
                assert_eq!(
                    add(a, b),
                    plain(u64::from(a) + u64::from(b)),
                    "{a:#x} {b:#x}"
                );
            }
        }
    }

    #[test]
    fn sum_of_the_example_in_rfc_1071() {
        assert_eq!(
            sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]),
            u16::from_ne_bytes([0xdd, 0xf2])
        );
    }

    #[test]
    fn sum_of_no_of_odd_and_of_many_bytes() {
        assert_eq!(sum(&[]), 0);
        assert_eq!(sum(&[0xab]).to_ne_bytes(), [0xab, 0x00]);
        assert_eq!(sum(&[0x12, 0x34, 0x56]).to_ne_bytes(), [0x68, 0x34]);
        let bytes: Vec<u8> = (0..=255).cycle().take(131_071).collect();
        let words = bytes
            .chunks(2)
            .map(|word| u64::from(word[0]) * 256 + word.get(1).map_or(0, |&low| u64::from(low)));
        assert_eq!(sum(&bytes).to_be(), plain(words.sum()));
        assert_eq!(sum(&[0xff; 131_072]), 0xffff);
    }

    #[test]
    fn update_of_the_example_in_rfc_1624() {
        // Section 4: equation 2 of RFC 1141 gives 0xffff here, which is wrong.
        assert_eq!(Delta::NONE.word(0x5555, 0x3285).update(0xdd2f), 0x0000);
    }

    #[test]
    fn update_equals_computation_from_scratch() {
        // Every old and new value of a word against a rest that makes each sum occur.
        for rest in [1u16, 0x00ff, 0x7fff, 0x8000, 0xfffe, 0xffff] {
            for old in (0..=0xffffu16).step_by(251) {
                let before = !plain(u64::from(rest) + u64::from(old));
                for new in (0..=0xffffu16).step_by(257) {
                    let after = !plain(u64::from(rest) + u64::from(new));
                    let delta = Delta::NONE.word(old, new);
                    assert_eq!(delta.update(before), after, "{rest:#x} {old:#x} {new:#x}");
                    assert_eq!(delta.update_sum(!before), !after);
                }
            }
        }
    }

    #[test]
    fn address_is_its_words() {
        use core::net::{Ipv4Addr, Ipv6Addr};
        let words = |bytes: &[u8]| -> Vec<u16> {
            let words = bytes.chunks(2);
            words.map(|w| u16::from_ne_bytes([w[0], w[1]])).collect()
        };
        let by_words = |old: &[u8], new: &[u8]| {
            let pairs = words(old).into_iter().zip(words(new));
            pairs.fold(Delta::NONE, |delta, (old, new)| delta.word(old, new))
        };
        let (old, new) = (Ipv4Addr::new(1, 2, 3, 4), Ipv4Addr::new(255, 254, 253, 252));
        let delta = Delta::NONE.address(old, new);
        assert_eq!(delta.fold(), by_words(&old.octets(), &new.octets()).fold());
        let (old, new) = ("2001:db8::1", "fedc:ba98:7654:3210:ffff:ffff:ffff:ffff");
        let (old, new): (Ipv6Addr, Ipv6Addr) = (old.parse().unwrap(), new.parse().unwrap());
        let delta = Delta::NONE.address(old, new);
        assert_eq!(delta.fold(), by_words(&old.octets(), &new.octets()).fold());
    }
}
