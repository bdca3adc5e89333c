// SPDX-License-Identifier: GPL-2.0

//! When a route ends: idle times in ticks of a clock that wraps.
//!
//! Ticks are the kernel's jiffies, cut to 32 bits. An idle time is meaningful below 2^31 ticks (24
//! days at 1000 ticks per second); every route is looked at far more often than that.

use fep_uapi::{
    RouteState, TIMEOUTS, TIMEOUT_DEFAULTS, TIMEOUT_TCP_CLOSING, TIMEOUT_TCP_ESTABLISHED,
    TIMEOUT_TCP_RESET, TIMEOUT_TCP_SYN, TIMEOUT_UDP,
};

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

    /// The timeouts in ticks, in the order of the ABI: for storage that several CPUs share.
    pub const fn to_ticks(self) -> [u32; TIMEOUTS] {
        [
            self.syn,
            self.established,
            self.closing,
            self.reset,
            self.udp,
        ]
    }

    /// How long a route in this state may be idle, in ticks.
    #[inline]
    pub const fn of(&self, state: RouteState) -> u32 {
        match index(state) {
            TIMEOUT_TCP_SYN => self.syn,
            TIMEOUT_TCP_ESTABLISHED => self.established,
            TIMEOUT_TCP_CLOSING => self.closing,
            TIMEOUT_TCP_RESET => self.reset,
            _ => self.udp,
        }
    }
}

/// Which of a service's timeouts holds in a state, as an index into them.
#[inline]
pub const fn index(state: RouteState) -> usize {
    match state {
        RouteState::Udp => TIMEOUT_UDP,
        RouteState::SynSent | RouteState::SynReceived => TIMEOUT_TCP_SYN,
        RouteState::Established => TIMEOUT_TCP_ESTABLISHED,
        RouteState::FinWait | RouteState::TimeWait => TIMEOUT_TCP_CLOSING,
        RouteState::Closed => TIMEOUT_TCP_RESET,
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

/// The time stamp of a route that is watched: at least a second old, so that the next packet writes
/// another one. `None` where the route's `timeout` is too short for it to be made to look older.
#[inline]
pub const fn watched(now: u32, last_used: u32, timeout: u32, ticks_per_second: u32) -> Option<u32> {
    if timeout <= ticks_per_second.saturating_mul(2) {
        None
    } else if stamp_due(now, last_used, ticks_per_second) {
        Some(last_used)
    } else {
        Some(now.wrapping_sub(ticks_per_second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_stand_for_zero() {
        let defaults = Timeouts::from_seconds(&[0; TIMEOUTS], 250);
        assert_eq!(defaults, Timeouts::from_seconds(&TIMEOUT_DEFAULTS, 250));
        assert_eq!(defaults.of(RouteState::SynSent), 30 * 250);
    }

    #[test]
    fn each_state_has_its_timeout() {
        let timeouts = Timeouts::from_seconds(&[1, 2, 3, 4, 5], 10);
        for (state, ticks) in [
            (RouteState::SynSent, 10),
            (RouteState::SynReceived, 10),
            (RouteState::Established, 20),
            (RouteState::FinWait, 30),
            (RouteState::TimeWait, 30),
            (RouteState::Closed, 40),
            (RouteState::Udp, 50),
        ] {
            assert_eq!(timeouts.of(state), ticks, "{}", state.name());
        }
        assert_eq!(RouteState::ALL.len(), 7);
    }

    #[test]
    fn long_timeouts_are_cut() {
        let longest = Timeouts::from_seconds(&[fep_uapi::TIMEOUT_MAX; TIMEOUTS], 1000);
        assert_eq!(longest.of(RouteState::Udp), 864_000_000);
        for ticks_per_second in [3000, u32::MAX] {
            let cut = Timeouts::from_seconds(&[u32::MAX; TIMEOUTS], ticks_per_second);
            assert_eq!(cut.of(RouteState::Udp), i32::MAX as u32);
        }
    }

    #[test]
    fn idle_at_the_wrap() {
        for (now, last_used, ticks) in [
            (0, 0, 0),
            (5, 3, 2),
            (3, 5, 0),
            (0, u32::MAX, 1),
            (99, u32::MAX - 100, 200),
            (u32::MAX, 0, 0),
            (u32::MAX - 100, 99, 0),
            (i32::MAX as u32, 0, i32::MAX as u32),
            (1 << 31, 0, 0),
        ] {
            assert_eq!(idle(now, last_used), ticks, "{now:#x} - {last_used:#x}");
        }
    }

    #[test]
    fn use_of_a_watched_route_shows() {
        const HZ: u32 = 250;
        for last_used in [0, 1000, u32::MAX - 100, u32::MAX] {
            for ticks in [0, 1, HZ - 1, HZ, HZ + 1, 100 * HZ] {
                let now = last_used.wrapping_add(ticks);
                assert_eq!(watched(now, last_used, 2 * HZ, HZ), None);
                let stamp = watched(now, last_used, 2 * HZ + 1, HZ).unwrap();
                // Watching it again changes nothing, and it is at most a second older than before.
                assert_eq!(watched(now, stamp, 900 * HZ, HZ), Some(stamp));
                assert!(idle(now, stamp) <= HZ.max(ticks));
                // A packet at whatever time from now on writes another stamp.
                for later in [0, 1, HZ, 1 << 20] {
                    let then = now.wrapping_add(later);
                    assert!(stamp_due(then, stamp, HZ));
                    assert_ne!(then, stamp);
                }
            }
        }
    }

    #[test]
    fn stamp_due_after_a_second() {
        for last_used in [0, 1000, u32::MAX - 100, u32::MAX] {
            let due = |ticks| stamp_due(last_used.wrapping_add(ticks), last_used, 250);
            assert!(!due(0));
            assert!(!due(249));
            assert!(due(250));
            assert!(due(i32::MAX as u32));
            assert!(!stamp_due(last_used, last_used.wrapping_add(1), 250));
        }
    }
}
