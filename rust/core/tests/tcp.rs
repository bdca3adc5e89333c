// SPDX-License-Identifier: GPL-2.0

//! The TCP tracker: every state against every kind of segment, and what holds for all of them.

use std::collections::BTreeMap;

use fep_core::packet::{Protocol, TcpFlags};
use fep_core::tcp::{Direction, Tracker};
use fep_uapi::RouteState;

const SEGMENTS: [&str; 16] = [
    ">S", ">SA", ">SF", ">A", ">PA", ">FA", ">F", ">R", ">RA", "<S", "<SA", "<A", "<FA", "<F",
    "<R", "<RA",
];

fn flags(letters: &str) -> TcpFlags {
    letters.chars().fold(TcpFlags(0), |flags, letter| {
        flags.with(match letter {
            'S' => TcpFlags::SYN,
            'A' => TcpFlags::ACK,
            'F' => TcpFlags::FIN,
            'R' => TcpFlags::RST,
            'P' => TcpFlags::PSH,
            other => panic!("no flag {other}"),
        })
    })
}

fn step(tracker: Tracker, segment: &str) -> Tracker {
    let (direction, letters) = segment.split_at(1);
    let direction = match direction {
        ">" => Direction::Request,
        "<" => Direction::Reply,
        other => panic!("no direction {other}"),
    };
    tracker.step(direction, flags(letters))
}

fn after(history: &str) -> Tracker {
    let begun = Tracker::begin(Protocol::Tcp, false);
    history.split_whitespace().fold(begun, step)
}

/// The same where only the client's segments are seen.
fn after_one_way(history: &str) -> Tracker {
    let begun = Tracker::begin(Protocol::Tcp, true);
    history.split_whitespace().fold(begun, step)
}

/// A SYN that the node answers with a reset is refused; nothing else is.
#[test]
fn only_the_nodes_reset_of_a_syn_refuses() {
    for one_way in [false, true] {
        for history in ["", "<SA", "<SA >A", "<SA >A >FA", "<R", ">R", "<R >S"] {
            for segment in SEGMENTS {
                let begun = Tracker::begin(Protocol::Tcp, one_way);
                let before = history.split_whitespace().fold(begun, step);
                let refused =
                    !one_way && matches!(history, "" | "<R >S") && matches!(segment, "<R" | "<RA");
                let direction = match segment.as_bytes()[0] {
                    b'>' => Direction::Request,
                    _ => Direction::Reply,
                };
                let found = before.is_refused(step(before, segment), direction);
                assert_eq!(found, refused, "{one_way} {history} {segment}");
            }
            let unanswered = !one_way && matches!(history, "" | "<R >S");
            let begun = Tracker::begin(Protocol::Tcp, one_way);
            let tracker = history.split_whitespace().fold(begun, step);
            assert_eq!(tracker.is_unanswered(), unanswered, "{one_way} {history}");
        }
    }
}

fn abbreviation(state: RouteState) -> &'static str {
    match state {
        RouteState::Udp => "Ud",
        RouteState::SynSent => "Ss",
        RouteState::SynReceived => "Sr",
        RouteState::Established => "Es",
        RouteState::FinWait => "Fw",
        RouteState::TimeWait => "Tw",
        RouteState::Closed => "Cl",
    }
}

/// Rows: a history. Columns: the state after one more segment, in the order of `SEGMENTS`.
#[test]
fn table() {
    #[rustfmt::skip]
    let table = [
        // history            >S >SA >SF  >A >PA >FA  >F  >R >RA  <S <SA  <A <FA  <F  <R <RA
        ("",                 "Ss  Ss  Ss  Ss  Ss  Ss  Ss  Cl  Cl  Ss  Sr  Ss  Ss  Ss  Cl  Cl"),
        ("<SA",              "Sr  Sr  Sr  Es  Es  Fw  Sr  Cl  Cl  Sr  Sr  Sr  Fw  Sr  Cl  Cl"),
        ("<SA >A",           "Es  Es  Es  Es  Es  Fw  Es  Cl  Cl  Es  Es  Es  Fw  Es  Cl  Cl"),
        ("<SA >A >FA",       "Ss  Fw  Fw  Fw  Fw  Fw  Fw  Cl  Cl  Fw  Fw  Fw  Tw  Fw  Cl  Cl"),
        ("<SA >A <FA",       "Ss  Fw  Fw  Fw  Fw  Tw  Fw  Cl  Cl  Fw  Fw  Fw  Fw  Fw  Cl  Cl"),
        ("<SA >A <FA >FA",   "Ss  Tw  Tw  Tw  Tw  Tw  Tw  Cl  Cl  Tw  Tw  Tw  Tw  Tw  Cl  Cl"),
        ("<RA",              "Ss  Cl  Cl  Cl  Cl  Cl  Cl  Cl  Cl  Cl  Cl  Cl  Cl  Cl  Cl  Cl"),
        ("<SA <R",           "Ss  Cl  Cl  Cl  Cl  Cl  Cl  Cl  Cl  Cl  Cl  Cl  Cl  Cl  Cl  Cl"),
        ("<SA >A >R",        "Ss  Cl  Cl  Es  Es  Fw  Cl  Cl  Cl  Cl  Cl  Cl  Cl  Cl  Cl  Cl"),
        ("<SA >A <R",        "Ss  Cl  Cl  Es  Es  Fw  Cl  Cl  Cl  Cl  Cl  Cl  Cl  Cl  Cl  Cl"),
        ("<SA >A >FA <R",    "Ss  Cl  Cl  Fw  Fw  Fw  Cl  Cl  Cl  Cl  Cl  Cl  Cl  Cl  Cl  Cl"),
        ("<SA >A <FA >FA >R","Ss  Cl  Cl  Tw  Tw  Tw  Cl  Cl  Cl  Cl  Cl  Cl  Cl  Cl  Cl  Cl"),
    ];
    for (history, row) in table {
        let expected: Vec<&str> = row.split_whitespace().collect();
        assert_eq!(expected.len(), SEGMENTS.len());
        for (segment, expected) in SEGMENTS.iter().zip(expected) {
            let state = step(after(history), segment).state();
            assert_eq!(abbreviation(state), expected, "after {history:?} {segment}");
        }
    }
}

/// The same where the node answers directly: the client's segments alone move the state.
#[test]
fn one_way_table() {
    #[rustfmt::skip]
    let table = [
        // history            >S >SA >SF  >A >PA >FA  >F  >R >RA
        ("",                 "Sr  Sr  Sr  Es  Es  Tw  Sr  Cl  Cl"),
        (">A",               "Es  Es  Es  Es  Es  Tw  Es  Cl  Cl"),
        (">A >FA",           "Sr  Tw  Tw  Tw  Tw  Tw  Tw  Cl  Cl"),
        (">FA",              "Sr  Tw  Tw  Tw  Tw  Tw  Tw  Cl  Cl"),
        (">R",               "Sr  Cl  Cl  Cl  Cl  Cl  Cl  Cl  Cl"),
        (">A >R",            "Sr  Cl  Cl  Es  Es  Tw  Cl  Cl  Cl"),
        (">A >FA >R",        "Sr  Cl  Cl  Tw  Tw  Tw  Cl  Cl  Cl"),
        (">A >FA >S",        "Sr  Sr  Sr  Es  Es  Tw  Sr  Cl  Cl"),
        (">A >R >S >A",      "Es  Es  Es  Es  Es  Tw  Es  Cl  Cl"),
        (">A >R >S >R",      "Sr  Cl  Cl  Cl  Cl  Cl  Cl  Cl  Cl"),
    ];
    for (history, row) in table {
        let expected: Vec<&str> = row.split_whitespace().collect();
        let segments = SEGMENTS.iter().filter(|name| name.starts_with('>'));
        assert_eq!(expected.len(), segments.clone().count());
        for (segment, expected) in segments.zip(expected) {
            let tracker = step(after_one_way(history), segment);
            let state = abbreviation(tracker.state());
            assert_eq!(state, expected, "after {history:?} {segment}");
            // The client has closed or was reset: its next connection may go elsewhere.
            assert_eq!(tracker.ended(), ["Tw", "Cl"].contains(&expected));
        }
    }
}

#[test]
fn connections_from_begin_to_end() {
    for (history, expected) in [
        // Repeated, as when the node or the network is slow.
        (">S >S <SA <SA >S >A", RouteState::Established),
        // Refused.
        ("<RA", RouteState::Closed),
        // The client closes first; the node; both at once.
        ("<SA >A >PA <PA >FA <A <FA >A", RouteState::TimeWait),
        ("<SA >A <FA >A >FA <A", RouteState::TimeWait),
        ("<SA >A >FA <FA >A <A", RouteState::TimeWait),
        // Half closed for long, the other side still sends.
        ("<SA >A >FA <A <PA >A <PA >A", RouteState::FinWait),
        // The client's port again, after each kind of end.
        ("<SA >A <FA >FA <A >S <SA >A", RouteState::Established),
        ("<RA >S <SA >A", RouteState::Established),
        ("<SA >A >R >S <SA >A", RouteState::Established),
        // A forged reset in the middle, from "the client" and from "the node".
        ("<SA >A >R >PA <A", RouteState::Established),
        ("<SA >A <R >A <PA", RouteState::Established),
        // A genuine reset of the node: what the client had under way is answered with resets.
        ("<SA >A <R >PA <R >PA <R", RouteState::Closed),
        // A restarted connection has nothing of the old one: its reset stands.
        ("<SA >A <FA >FA >S <RA >A", RouteState::Closed),
    ] {
        assert_eq!(after(history).state(), expected, "{history:?}");
    }
}

/// Every tracker that any segments lead to, each with a history.
fn reachable(begun: Tracker) -> BTreeMap<u32, Vec<(Direction, u8)>> {
    let mut found = BTreeMap::from([(begun.to_bits(), Vec::new())]);
    let mut queue = vec![begun];
    while let Some(tracker) = queue.pop() {
        for direction in [Direction::Request, Direction::Reply] {
            for flags in 0..=u8::MAX {
                let next = tracker.step(direction, TcpFlags(flags));
                let mut history = found[&tracker.to_bits()].clone();
                history.push((direction, flags));
                if found.insert(next.to_bits(), history).is_none() {
                    queue.push(next);
                }
            }
        }
    }
    found
}

#[test]
fn what_holds_for_every_tracker() {
    let both_ways = reachable(Tracker::begin(Protocol::Tcp, false));
    let one_way = reachable(Tracker::begin(Protocol::Tcp, true));
    for reachable in [&both_ways, &one_way] {
        assert!((8..40).contains(&reachable.len()), "{}", reachable.len());
    }
    // Neither becomes the other.
    assert!(both_ways.keys().all(|bits| !one_way.contains_key(bits)));
    let beginning = |bits| {
        if one_way.contains_key(&bits) {
            RouteState::SynReceived
        } else {
            RouteState::SynSent
        }
    };
    for &bits in both_ways.keys().chain(one_way.keys()) {
        let tracker = Tracker::from_bits(bits);
        assert_eq!(tracker.to_bits(), bits);
        assert_ne!(tracker.state(), RouteState::Udp);
        assert_ne!(bits, Tracker::UDP.to_bits());
        for direction in [Direction::Request, Direction::Reply] {
            for raw in 0..=u8::MAX {
                let flags = TcpFlags(raw);
                let next = tracker.step(direction, flags);
                if flags.contains(TcpFlags::RST) {
                    assert_eq!(next.state(), RouteState::Closed);
                }
                // PSH, URG, ECE and CWR decide nothing.
                let bare = TcpFlags(raw & 0b1_0111);
                assert_eq!(next, tracker.step(direction, bare));
                // A segment twice is a segment once.
                if !flags.opens() {
                    assert_eq!(next.step(direction, flags), next);
                }
                // Only the client's SYN leads back to the beginning.
                if next.state() == beginning(bits) && tracker.ended() {
                    assert!(direction == Direction::Request && flags.opens());
                }
                if next.state() == RouteState::SynSent && next != tracker {
                    assert!(direction == Direction::Request && flags.opens());
                }
            }
        }
    }
}

#[test]
fn udp_has_no_states() {
    assert_eq!(Tracker::begin(Protocol::Udp, false), Tracker::UDP);
    assert_eq!(Tracker::begin(Protocol::Udp, true), Tracker::UDP);
    assert_eq!(Tracker::UDP.to_bits(), 0);
    assert_eq!(Tracker::UDP.state(), RouteState::Udp);
    for direction in [Direction::Request, Direction::Reply] {
        for flags in 0..=u8::MAX {
            assert_eq!(Tracker::UDP.step(direction, TcpFlags(flags)), Tracker::UDP);
        }
    }
}

#[test]
fn meaningless_bits_are_dropped() {
    assert_eq!(Tracker::from_bits(u32::MAX), Tracker::from_bits(0x7f));
    assert_ne!(Tracker::from_bits(0x7f), Tracker::from_bits(0x3f));
    assert_eq!(Tracker::from_bits(0xffff_ff80), Tracker::UDP);
}
