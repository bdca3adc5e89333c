// SPDX-License-Identifier: GPL-2.0

//! When a route ends: idle times in ticks of a clock that wraps.
//!
//! Ticks are the kernel's jiffies, cut to 32 bits. An idle time is meaningful below 2^31 ticks (24
//! days at 1000 ticks per second); every route is looked at far more often than that.

use fep_uapi::{RouteState, TIMEOUTS, TIMEOUT_DEFAULTS};

/// The longest idle time that can be told from a time stamp of the future.
const IDLE_MAX: u32 = u32::MAX >> 1;

/// The timeouts of a service, in ticks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts {
    syn: u32,
    established: u32,
    closing: u32,
    reset: u32,
    udp: u32,
}

// `from_seconds` takes the array apart by position.
const _: () = assert!(
    fep_uapi::TIMEOUT_TCP_SYN == 0
        && fep_uapi::TIMEOUT_TCP_ESTABLISHED == 1
        && fep_uapi::TIMEOUT_TCP_CLOSING == 2
        && fep_uapi::TIMEOUT_TCP_RESET == 3
        && fep_uapi::TIMEOUT_UDP == 4
);

impl Timeouts {
    /// The timeouts of a service as the administrator set them: seconds, 0 for the default.
    ///
    /// Longer than 2^31 - 1 ticks is cut to that.
    pub const fn from_seconds(seconds: &[u32; TIMEOUTS], ticks_per_second: u32) -> Self {
        const fn ticks(seconds: u32, default: u32, ticks_per_second: u32) -> u32 {
            let seconds = if seconds == 0 { default } else { seconds };
            let ticks = seconds.saturating_mul(ticks_per_second);
            if ticks > IDLE_MAX {
                IDLE_MAX
            } else {
                ticks
            }
        }
        let [syn, established, closing, reset, udp] = *seconds;
        let default = TIMEOUT_DEFAULTS;
        Self {
            syn: ticks(syn, default[0], ticks_per_second),
            established: ticks(established, default[1], ticks_per_second),
            closing: ticks(closing, default[2], ticks_per_second),
            reset: ticks(reset, default[3], ticks_per_second),
            udp: ticks(udp, default[4], ticks_per_second),
        }
    }

    /// How long a route in this state may be idle, in ticks.
    #[inline]
    pub const fn of(&self, state: RouteState) -> u32 {
        match state {
            RouteState::Udp => self.udp,
            RouteState::SynSent | RouteState::SynReceived => self.syn,
            RouteState::Established => self.established,
            RouteState::FinWait | RouteState::TimeWait => self.closing,
            RouteState::Closed => self.reset,
        }
    }
}

/// How long ago `last_used` is, in ticks. A time stamp of the future (of another CPU whose clock is
/// a little ahead) is 0 ticks ago.
#[inline]
pub const fn idle(now: u32, last_used: u32) -> u32 {
    let ticks = now.wrapping_sub(last_used);
    if ticks > IDLE_MAX {
        0
    } else {
        ticks
    }
}

/// Whether a time stamp is at least a second old: worth one write to a shared cache line.
#[inline]
pub const fn stamp_due(now: u32, last_used: u32, ticks_per_second: u32) -> bool {
    idle(now, last_used) >= ticks_per_second
}
