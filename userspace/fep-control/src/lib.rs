// SPDX-License-Identifier: GPL-2.0

//! What the load-adjust daemon decides, as state machines without a clock, a socket or randomness.
//!
//! Events go in with the time they happened at, decisions come out. The time is a [`Duration`]
//! since any fixed moment that never goes back; random numbers are arguments too. Each machine can
//! therefore be run in simulation, and has `check_invariants`, which panics where a rule is broken.
//!
//! [`Duration`]: std::time::Duration

#![forbid(unsafe_code)]

pub mod group;
pub mod health;
pub mod load;
pub mod maintenance;
pub mod passive;
pub mod plane;
pub mod pool;
pub mod presence;
pub mod process;
pub mod reconcile;
pub mod timer;
