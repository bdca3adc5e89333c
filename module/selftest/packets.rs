// SPDX-License-Identifier: GPL-2.0

//! Packets of every shape: seen, made one's own, changed, cut and dropped.

use super::{check, File, Found, Test};
use fep_net::{
    rx::RxContext,
    selftest::{packet, packets_alive, receive, Other, Shape},
    skb::{OwnedSkb, RxSkb},
};

pub(super) const CASES: &[(&str, Test)] = &[
    ("skb_plain", |file, _| all(file, PLAIN)),
    ("skb_no_headroom", |file, _| {
        all(
            file,
            Shape {
                headroom: 0,
                ..PLAIN
            },
        )
    }),
    ("skb_cloned", |file, _| {
        all(
            file,
            Shape {
                cloned: true,
                ..PLAIN
            },
        )
    }),
    ("skb_shared", |file, _| {
        all(
            file,
            Shape {
                shared: true,
                ..PLAIN
            },
        )
    }),
    ("skb_paged", |file, _| {
        all(file, Shape { linear: 0, ..PLAIN })
    }),
    ("skb_paged_no_headroom", |file, _| {
        all(
            file,
            Shape {
                linear: 0,
                headroom: 0,
                ..PLAIN
            },
        )
    }),
    ("skb_split_header", |file, _| {
        all(
            file,
            Shape {
                linear: 30,
                ..PLAIN
            },
        )
    }),
    ("skb_paged_cloned", |file, _| {
        all(
            file,
            Shape {
                linear: 30,
                cloned: true,
                ..PLAIN
            },
        )
    }),
    ("skb_paged_shared", |file, _| {
        all(
            file,
            Shape {
                linear: 30,
                shared: true,
                ..PLAIN
            },
        )
    }),
    ("skb_partial", |file, _| {
        all(
            file,
            Shape {
                partial: Some((20, 16)),
                ..PLAIN
            },
        )
    }),
    ("skb_partial_cloned", |file, _| {
        all(
            file,
            Shape {
                partial: Some((20, 16)),
                cloned: true,
                ..PLAIN
            },
        )
    }),
    ("skb_gso", |file, _| all(file, GSO)),
    ("skb_gso_cloned", |file, _| {
        all(
            file,
            Shape {
                cloned: true,
                ..GSO
            },
        )
    }),
    ("skb_gso_paged", |file, _| {
        all(file, Shape { linear: 60, ..GSO })
    }),
    ("skb_gso_shared", |file, _| {
        all(
            file,
            Shape {
                linear: 60,
                shared: true,
                ..GSO
            },
        )
    }),
];

/// Bytes of a packet.
const LEN: usize = 1500;

/// A packet in one piece.
const PLAIN: Shape = Shape {
    linear: LEN,
    headroom: 64,
    tracked: true,
    cloned: false,
    shared: false,
    gso: 0,
    partial: None,
};

/// One that stands for three: 1460 bytes of payload, 500 in each.
const GSO: Shape = Shape {
    gso: 500,
    partial: Some((20, 16)),
    ..PLAIN
};

/// A packet that begins with the headers of TCP and IPv4, and whose every byte tells where it is.
fn bytes() -> [u8; LEN] {
    // CAST: The lower bits are meant.
    let mut bytes = core::array::from_fn(|at| (at % 251) as u8);
    bytes[0] = 0x45;
    bytes[9] = 6;
    bytes[32] = 0x50;
    bytes
}

/// One shape through everything that may be done with a packet.
fn all(file: &File, shape: Shape) -> Found {
    let bytes = bytes();
    let steps = [seen, passed_by, written, linearised, cut, in_place];
    for step in steps {
        receive(&file.net, |cx| {
            let Some((skb, other)) = packet(cx, &bytes, &shape) else {
                return Err("no packet");
            };
            step(cx, &shape, skb, &bytes)?;
            untouched(other, &bytes)
        })?;
    }
    check(packets_alive() == 0, "packets were freed too often, or not")?;
    Ok(0)
}

fn untouched(other: Option<Other<'_>>, bytes: &[u8; LEN]) -> Result<(), &'static str> {
    let Some(other) = other else { return Ok(()) };
    let mut buffer = [0; LEN];
    check(
        other.has(bytes, &mut buffer),
        "another's bytes were changed",
    )
}

type Step<T = ()> = Result<T, &'static str>;

fn seen(_cx: &RxContext<'_>, shape: &Shape, skb: RxSkb<'_>, bytes: &[u8; LEN]) -> Step {
    let arrival = skb.arrival();
    let plain = !shape.cloned && !shape.shared && shape.gso == 0 && shape.partial.is_none();
    check(arrival.ip_version() == 4, "not seen to be IPv4")?;
    check(arrival.is_ordinary() == plain, "ordinary, or not")?;
    if !plain {
        // The head of a clone is everybody's.
        let special = !shape.shared && !shape.cloned;
        check(arrival.is_special() == special, "special, or not")?;
    }
    check(
        skb.len() == LEN && !skb.is_empty(),
        "another length than it has",
    )?;
    check(skb.head() == &bytes[..shape.linear], "another head")?;
    let mut buffer = [0; LEN];
    check(
        skb.copy_head(&mut buffer).is_some_and(|copy| copy == bytes),
        "another copy",
    )?;
    check(
        skb.copy_head(&mut [0; LEN + 1]).is_none(),
        "more copied than there is",
    )
}

/// Dropped as it came.
fn passed_by(_cx: &RxContext<'_>, _shape: &Shape, skb: RxSkb<'_>, _bytes: &[u8; LEN]) -> Step {
    let _ = skb.drop_packet();
    Ok(())
}

fn own(skb: RxSkb<'_>) -> Step<OwnedSkb<'_>> {
    skb.into_owned().map_err(|_| "no memory to own it")
}

/// Headers changed.
fn written(_cx: &RxContext<'_>, shape: &Shape, skb: RxSkb<'_>, bytes: &[u8; LEN]) -> Step {
    let mut skb = own(skb)?;
    let prepared = skb.prepare(40, 20).map_err(|_| "not prepared")?;
    let segments = if shape.gso == 0 { 0 } else { 3 };
    check(prepared.gso_segments() == segments, "other segments")?;
    check(
        prepared.checksum_is_partial() == shape.partial.is_some(),
        "partial checksum, or not",
    )?;
    let head = skb.head_mut();
    check(head == &bytes[..40], "another header")?;
    head.fill(0xa5);
    check(
        skb.prepare(u16::MAX, 20).is_err(),
        "more prepared than there is",
    )?;
    let again = skb.writable(LEN).ok_or("not writable")?;
    check(
        again[..40].iter().all(|byte| *byte == 0xa5) && again[40..] == bytes[40..],
        "other bytes after a change",
    )
}

/// All in one piece.
fn linearised(_cx: &RxContext<'_>, _shape: &Shape, skb: RxSkb<'_>, bytes: &[u8; LEN]) -> Step {
    let mut skb = own(skb)?;
    check(skb.writable(LEN + 1).is_none(), "more than there is")?;
    let all = skb.writable(LEN).ok_or("not writable")?;
    check(all == bytes, "other bytes in one piece")?;
    all.fill(0x5a);
    let _ = skb.drop_packet();
    Ok(())
}

/// Cut, to where it is linear and to where it is not.
fn cut(_cx: &RxContext<'_>, shape: &Shape, skb: RxSkb<'_>, bytes: &[u8; LEN]) -> Step {
    let mut skb = own(skb)?;
    if shape.gso != 0 {
        return Ok(());
    }
    skb.trim(LEN + 1).map_err(|_| "not trimmed to more")?;
    for len in [LEN, 1000, 61, 40] {
        skb.trim(len).map_err(|_| "not trimmed")?;
        check(skb.len() == len, "another length when trimmed")?;
        let rest = skb.writable(len).ok_or("not writable when trimmed")?;
        check(rest == &bytes[..len], "other bytes when trimmed")?;
    }
    Ok(())
}

/// What the fast path does: headers changed where they are, if they may be.
fn in_place(_cx: &RxContext<'_>, shape: &Shape, skb: RxSkb<'_>, bytes: &[u8; LEN]) -> Step {
    let arrival = skb.arrival();
    let linear = shape.linear >= 40;
    if arrival.is_special() {
        let segments = if shape.gso == 0 { 0 } else { 3 };
        check(
            skb.special_segments(LEN, 1500, 20) == Some(segments),
            "other segments, in place",
        )?;
        check(
            skb.special_segments(LEN - 1, 1500, 20).is_none(),
            "another length, in place",
        )?;
    }
    let skb = match skb.into_writable::<false>(40) {
        Ok(mut own) => {
            check(
                arrival.is_ordinary() && linear,
                "changed what is not ordinary",
            )?;
            own.head_mut().fill(0xa5);
            return Ok(());
        }
        Err(skb) => skb,
    };
    check(
        !arrival.is_ordinary() || !linear,
        "ordinary, but not writable",
    )?;
    let skb = match skb.into_writable::<true>(40) {
        Ok(mut own) => {
            check(
                arrival.is_special() && linear,
                "changed what is not special",
            )?;
            own.head_mut().fill(0xa5);
            return Ok(());
        }
        Err(skb) => skb,
    };
    check(
        !arrival.is_special() || !linear,
        "special, but not writable",
    )?;
    check(skb.len() == bytes.len(), "another length when it came back")
}
