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

    /// Both changes together: at most 32768 words.
    #[inline]
    pub const fn and(self, other: Self) -> Self {
        // OVERFLOW: As in `word`.
        Self(self.0.wrapping_add(other.0))
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
    fn sum_of_the_example_in_rfc_1071() {
        assert_eq!(
            sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]),
            0xddf2
        );
    }

    #[test]
    fn sum_of_no_of_odd_and_of_many_bytes() {
        assert_eq!(sum(&[]), 0);
        assert_eq!(sum(&[0xab]), 0xab00);
        assert_eq!(sum(&[0x12, 0x34, 0x56]), 0x1234 + 0x5600);
        let bytes: Vec<u8> = (0..=255).cycle().take(131_071).collect();
        let words = bytes
            .chunks(2)
            .map(|word| u64::from(word[0]) * 256 + word.get(1).map_or(0, |&low| u64::from(low)));
        assert_eq!(sum(&bytes), plain(words.sum()));
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
    fn address_is_two_words() {
        assert_eq!(
            Delta::NONE.address(0x0102_0304, 0xfffe_fdfc),
            Delta::NONE.word(0x0102, 0xfffe).word(0x0304, 0xfdfc)
        );
    }
}
