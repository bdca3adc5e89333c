// SPDX-License-Identifier: GPL-2.0

//! Safe abstractions over the kernel's networking that the `kernel` crate lacks.
//!
//! All hand-written `unsafe` of the project is below this folder. Nothing here knows what fep
//! decides: it is written as if for upstream, and a user of it writes no `unsafe`.
//!
//! # Contexts
//!
//! Functions say where they may run by what they take:
//!
//! - `&RxContext` ([`rx`]): the receive path. Bottom halves are off, the RCU read side is locked;
//!   nothing may sleep.
//! - `&rcu::Guard`: any context with the RCU read side locked; nothing may sleep.
//! - neither: process context that may sleep, unless the function says otherwise.

mod buckets;
pub mod chardev;
pub mod family;
pub mod foreign;
pub mod group;
pub mod lock;
pub mod netdev;
pub mod netns;
pub mod nf;
pub mod percpu;
pub mod random;
pub mod rcu;
mod resize;
pub mod route;
pub mod rx;
#[cfg(fep_selftest)]
pub mod selftest;
pub mod skb;
pub mod slab;
pub mod table;
pub mod time;
mod walk;
pub mod word;
pub mod work;

/// The bindgen delta. Not to be used outside this crate.
mod bindings {
    #![allow(
        clippy::all,
        clippy::cast_lossless,
        clippy::ptr_as_ptr,
        clippy::ref_as_ptr,
        clippy::undocumented_unsafe_blocks,
        dead_code,
        improper_ctypes,
        missing_docs,
        non_camel_case_types,
        non_snake_case,
        non_upper_case_globals,
        unreachable_pub,
        unsafe_op_in_unsafe_fn,
        unused_imports
    )]
    pub(crate) use kernel::bindings::*;
    mod delta {
        include!(env!("FEP_BINDINGS"));
    }
    pub(crate) use delta::*;
}
