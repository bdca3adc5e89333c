// SPDX-License-Identifier: GPL-2.0

//! Every decision of the packet filter, and nothing else.
//!
//! The kernel module and the host tests compile the same source. Nothing here allocates, locks,
//! reads a clock or draws random numbers: time, keys and storage are arguments. Nothing here can
//! panic either, whatever the bytes of a packet or an ioctl are: in the kernel's receive path a
//! panic is an outage of the host.
//!
//! | Module | Decides |
//! |---|---|
//! | [`address`] | what the families differ in; all below is for both |
//! | [`packet`] | whether a packet is one the filter handles, and where its fields are |
//! | [`icmp`] | the same for ICMP errors, and the bytes that leave |
//! | [`hash`] | the hash bucket of a client |
//! | [`flow`] | whether a packet uses its route, replaces it, or allocates one |
//! | [`tcp`] | what a TCP segment does to the state of a route |
//! | [`timeout`] | when a route ends |
//! | [`wrr`], [`rank`], [`steer`] | which back-end node a new client is given |
//! | [`rewrite`], [`checksum`] | the bytes that leave |
//! | [`validate`] | whether a change of the configuration is acceptable |

#![cfg_attr(not(kernel), no_std)]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

#[cfg(test)]
extern crate std;

pub mod address;
pub mod checksum;
pub mod flow;
pub mod hash;
pub mod icmp;
mod icmp4;
mod icmp6;
mod identity;
mod ipv4;
mod ipv6;
pub mod packet;
pub mod rank;
pub mod rewrite;
mod rewrite4;
pub mod steer;
pub mod tcp;
pub mod timeout;
pub mod validate;
pub mod wrr;
