// SPDX-License-Identifier: GPL-2.0

//! The one's complement arithmetic of Internet checksums (RFC 1071, RFC 1624).
//!
//! Words are the `u16::from_be_bytes` of their bytes throughout.

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

/// The folded, not inverted sum of `bytes`, which are at most 128 KiB; an odd last byte is padded
/// with a zero (RFC 1071, 4.1).
#[inline]
pub fn sum(bytes: &[u8]) -> u16 {
    let mut words = bytes.chunks_exact(2);
    // OVERFLOW: 65536 times 0xffff at most.
    let sum = words.by_ref().fold(0u32, |sum, word| match *word {
        [high, low] => sum.wrapping_add(u32::from(u16::from_be_bytes([high, low]))),
        _ => sum,
    });
    let odd = match *words.remainder() {
        [high] => u32::from(high) << 8,
        _ => 0,
    };
    fold(sum.wrapping_add(odd))
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

    /// With the two words `old`, an address, replaced by `new`.
    #[inline]
    pub const fn address(self, old: u32, new: u32) -> Self {
        // CAST: the shift and the truncation take the two words apart.
        self.word((old >> 16) as u16, (new >> 16) as u16)
            .word(old as u16, new as u16)
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
