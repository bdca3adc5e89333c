// SPDX-License-Identifier: GPL-2.0

//! Evidence of running in the receive path.

use crate::netns::Net;
use kernel::types::NotThreadSafe;

/// Evidence that the CPU is in the receive path of the network stack.
///
/// # Invariants
///
/// While a value exists, bottom halves are disabled on this CPU and the RCU read side is locked.
/// Hence the CPU cannot change, no other bottom half runs on it, and what was reachable through an
/// RCU-protected pointer stays allocated for the lifetime `'a`.
///
/// `cpu_offset` is what leads from a per-CPU pointer to this CPU's copy.
pub struct RxContext<'a> {
    net: &'a Net,
    cpu_offset: usize,
    _here: NotThreadSafe,
}

impl<'a> RxContext<'a> {
    /// The namespace that the packet arrived in.
    #[inline(always)]
    pub fn net(&self) -> &'a Net {
        self.net
    }

    /// What leads from a per-CPU pointer to this CPU's copy.
    #[inline(always)]
    pub(crate) fn cpu_offset(&self) -> usize {
        self.cpu_offset
    }

    /// Claims the receive path.
    ///
    /// # Safety
    ///
    /// The type's invariants must hold until the value is dropped, for this CPU's offset.
    #[inline(always)]
    pub(crate) unsafe fn new(net: &'a Net, cpu_offset: usize) -> Self {
        // INVARIANT: By the safety requirement.
        Self {
            net,
            cpu_offset,
            _here: NotThreadSafe,
        }
    }
}
