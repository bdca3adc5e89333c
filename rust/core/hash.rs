// SPDX-License-Identifier: GPL-2.0

//! The keyed hash of a client.

use crate::packet::Protocol;

/// The secret key of [`client_hash`]: random, one for each network namespace, never shown.
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

/// The hash of a client: SipHash-1-3 of one 64-bit word, its low half.
///
/// A route is found by its client alone, from requests (the packet's source) and from replies (its
/// destination), so the two directions of a flow have one hash (F3). Clients choose their address
/// and port, so without a key they could choose to collide.
#[inline]
pub const fn client_hash(key: &HashKey, protocol: Protocol, address: u32, port: u16) -> u32 {
    /// The last block of SipHash: eight bytes were hashed.
    const LENGTH: u64 = 8 << 56;
    let [k0, k1] = key.0;
    // CAST: widening; `u64::from` is not const.
    let word = (protocol.number() as u64) << 48 | (port as u64) << 32 | address as u64;
    let [v0, v1, v2, v3] = round([
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573 ^ word,
    ]);
    let [v0, v1, v2, v3] = round([v0 ^ word, v1, v2, v3 ^ LENGTH]);
    let [v0, v1, v2, v3] = round(round(round([v0 ^ LENGTH, v1, v2 ^ 0xff, v3])));
    // CAST: the low half is meant.
    (v0 ^ v1 ^ v2 ^ v3) as u32
}
