// SPDX-License-Identifier: GPL-2.0

//! Which addresses were lately found to be other hosts', so that clients who come again and again are
//! not looked up each time.
//!
//! C header: [`include/net/route.h`](srctree/include/net/route.h)

use crate::{family::Family, rx::RxContext, word::Word};
use kernel::prelude::*;

/// Bits of the index of a slot.
const BITS: u32 = 10;

/// A cache of addresses that are other hosts', of one network namespace.
///
/// A slot holds one address, with the generation of the namespace's routing tables in which it was
/// looked up: a new local address, or any other route, ends all that is cached. Any CPU writes any slot,
/// whole, and only for an address that is not in it.
///
/// # Invariants
///
/// `slots` has `1 << BITS` elements.
pub struct ForeignHosts {
    slots: KVVec<Word<u64>>,
}

impl ForeignHosts {
    /// A cache that knows no address. Sleeps.
    pub fn new() -> Result<Self> {
        let count = 1usize << BITS;
        let mut slots = KVVec::with_capacity(count, GFP_KERNEL_ACCOUNT)?;
        for _ in 0..count {
            // No address and generation: 0.0.0.0 is nobody's.
            slots.push(Word::new(0), GFP_KERNEL_ACCOUNT)?;
        }
        // INVARIANT: As many as that.
        Ok(Self { slots })
    }

    /// Whether `address`, a unicast one, can be another host's: see
    /// [`Net::is_foreign_host`](crate::netns::Net::is_foreign_host).
    #[inline]
    pub fn contains<A: Family>(&self, cx: &RxContext<'_>, address: A) -> bool {
        // The generation is read before the lookup: what changes during that makes the result old.
        let Some(fact) = address.in_generation(cx.net()) else {
            return cx.net().is_foreign_host(address);
        };
        let slot = self.slots.get(slot_of(fact));
        if slot.is_some_and(|slot| slot.get() == fact) {
            return true;
        }
        let foreign = cx.net().is_foreign_host(address);
        if let Some(slot) = slot.filter(|_| foreign) {
            slot.set(fact);
        }
        foreign
    }
}

/// The slot of an address, the upper half of `fact`.
#[inline]
fn slot_of(fact: u64) -> usize {
    // CAST: The upper half is meant. 2^32 divided by the golden ratio spreads neighbours (Knuth, 6.4).
    let spread = ((fact >> 32) as u32).wrapping_mul(0x9e37_79b9);
    spread.wrapping_shr(32 - BITS) as usize
}
