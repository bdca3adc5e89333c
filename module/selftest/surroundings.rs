// SPDX-License-Identifier: GPL-2.0

//! What depends on a namespace that the caller changes meanwhile: routes, neighbours, devices, hooks.
//!
//! The caller's namespace has the device `st0`; beyond it are 10.9.0.2 and 2001:db8:9::2.

use super::{because, check, File, Found, Test};
use core::net::{Ipv4Addr, Ipv6Addr};
use fep_net::{
    family::Family,
    foreign::ForeignHosts,
    netdev::{rtnl_lock, DeviceEvents, NetDevice},
    netns::{Net, Pernet, PernetId, PernetRegistration},
    nf::{Ingress, IngressHook},
    route::{reject, Fit, IcmpError, RouteCache},
    rx::RxContext,
    selftest::{packet, packets_alive, receive, sleep, softirq_lock, Other, Shape},
    skb::{RxSkb, Verdict},
    word::Word,
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{atomic::Relaxed, Arc, Mutex},
};

pub(super) const TESTS: &[(&str, Test)] = &[
    ("namespaces", |_, _| found(ALIVE.get())),
    ("device", device),
    ("hook_attach", attach),
    ("hook_detach", detach),
    ("hook_packets", |file, _| {
        Ok(file.surroundings.seen.get() as usize)
    }),
    ("hook_mode", mode),
    ("hooks", |file, _| Ok(file.surroundings.hooks.lock().len())),
    ("foreign4", foreign4),
    ("local4", |file, _| {
        Ok(usize::from(file.net.has_address(NEW)))
    }),
    ("route4", |file, _| {
        route(file, &file.surroundings.route4, FAR4)
    }),
    ("route6", |file, _| {
        route(file, &file.surroundings.route6, FAR6)
    }),
    ("send4", |file, shape| send4(file, shape)),
    ("send6", |file, shape| send6(file, shape)),
    ("shapes", |_, _| Ok(SHAPES.len())),
    ("packets", |_, _| found(packets_alive())),
];

const NEAR4: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const FAR4: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
const NEAR6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 1);
const FAR6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 2);
/// What the caller makes one of its own, and takes away again.
const NEW: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 77);
/// Of the datagrams that are sent.
const PORT: u16 = 4444;
/// Bytes of their payload.
const PAYLOAD: usize = 100;

/// Namespaces that have been made and have not ended.
static ALIVE: Word<i32> = Word::new(0);

fn found(count: i32) -> Found {
    usize::try_from(count).map_err(|_| "below zero")
}

/// A namespace's part of the self-test.
#[pin_data]
pub(super) struct Surroundings {
    route4: RouteCache<Ipv4Addr>,
    route6: RouteCache<Ipv6Addr>,
    foreign: ForeignHosts,
    #[pin]
    hooks: Mutex<KVec<Hook>>,
    seen: Word<u32>,
    mode: Word<usize>,
}

type Hook = Pin<KBox<IngressHook<Surroundings>>>;

impl Pernet for Surroundings {
    fn id() -> &'static PernetId {
        static ID: PernetId = PernetId::new();
        &ID
    }

    fn init(_net: &Net) -> Result<Arc<Self>> {
        let this = Arc::pin_init(
            try_pin_init!(Self {
                route4: RouteCache::new(),
                route6: RouteCache::new(),
                foreign: ForeignHosts::new()?,
                hooks <- new_mutex!(KVec::new()),
                seen: Word::new(0),
                mode: Word::new(0),
            }? Error),
            GFP_KERNEL,
        )?;
        ALIVE.atomic().add(1, Relaxed);
        Ok(this)
    }

    fn exit(&self) {
        let hooks = core::mem::take(&mut *self.hooks.lock());
        drop(hooks);
        ALIVE.atomic().add(-1, Relaxed);
    }
}

/// Lets go of a device that goes.
pub(super) struct Events;

impl DeviceEvents for Events {
    fn unregistering(dev: &NetDevice<'_>) {
        let Some(here) = PernetRegistration::<Surroundings>::get(dev.net()) else {
            return;
        };
        here.hooks.lock().retain(|hook| !hook.is_of(dev));
    }
}

impl Ingress for Surroundings {
    fn receive<'a>(&self, cx: &'a RxContext<'_>, skb: RxSkb<'a>) -> Verdict<'a> {
        // UDP of IPv4 alone, so that the counts are the caller's.
        let mut header = [0; 20];
        if !skb
            .copy_head(&mut header)
            .is_some_and(|header| header[0] == 0x45 && header[9] == 17)
        {
            return Verdict::Pass(skb);
        }
        self.seen.atomic().add(1, Relaxed);
        match self.mode.get() {
            1 => Verdict::Consumed(skb.drop_packet()),
            2 => match skb.into_owned() {
                Ok(own) => {
                    Verdict::Consumed(reject::<Ipv4Addr>(cx, own, 20, IcmpError::TimeExceeded))
                }
                Err(consumed) => Verdict::Consumed(consumed),
            },
            3 => {
                sleep();
                Verdict::Pass(skb)
            }
            4 => {
                softirq_lock();
                Verdict::Pass(skb)
            }
            _ => Verdict::Pass(skb),
        }
    }
}

/// 0: packets pass, 1: they are dropped, 2: answered by ICMP; 3 sleeps, 4 takes a lock, which are faults.
fn mode(file: &File, mode: usize) -> Found {
    file.surroundings.mode.set(mode);
    file.surroundings.seen.set(0);
    Ok(0)
}

/// The index of `st0`, or 0.
fn device(file: &File, _: usize) -> Found {
    let rtnl = rtnl_lock();
    check(
        NetDevice::by_name(&file.net, c"no-such", &rtnl).is_none(),
        "a device that is not there",
    )?;
    let lo = NetDevice::by_name(&file.net, c"lo", &rtnl).ok_or("no loopback")?;
    check(
        lo.is_loopback() && !lo.is_vrf_port() && lo.ifindex() == 1,
        "another loopback",
    )?;
    let Some(dev) = NetDevice::by_name(&file.net, c"st0", &rtnl) else {
        return Ok(0);
    };
    check(!dev.is_loopback() && dev.name() == c"st0", "another device")?;
    Ok(dev.ifindex() as usize)
}

fn attach(file: &File, _: usize) -> Found {
    let rtnl = rtnl_lock();
    let dev = NetDevice::by_name(&file.net, c"st0", &rtnl).ok_or("no st0")?;
    let register = IngressHook::register(&dev, file.surroundings.clone(), 100);
    let hook = KBox::try_pin_init(register, GFP_KERNEL).map_err(|e| because("not attached", e))?;
    check(
        hook.is_of(&dev) && hook.ifindex() == dev.ifindex(),
        "attached elsewhere",
    )?;
    check(hook.device(&rtnl).name() == c"st0", "attached to another")?;
    let mut hooks = file.surroundings.hooks.lock();
    hooks.push(hook, GFP_KERNEL).map_err(|_| "no memory")?;
    Ok(0)
}

fn detach(file: &File, _: usize) -> Found {
    let hooks = core::mem::take(&mut *file.surroundings.hooks.lock());
    Ok(hooks.len())
}

/// Whether 10.9.0.77 is another host's, asked twice so that the second answer comes from the cache.
fn foreign4(file: &File, _: usize) -> Found {
    receive(&file.net, |cx| {
        let first = file.surroundings.foreign.contains(cx, NEW);
        let second = file.surroundings.foreign.contains(cx, NEW);
        check(first == second, "the cache differs")?;
        check(
            first == file.net.is_foreign_host(NEW),
            "and from what it caches",
        )?;
        Ok(usize::from(first))
    })
}

/// The MTU of the cached route, or 0 without one.
fn route<A: Family>(file: &File, cache: &RouteCache<A>, destination: A) -> Found {
    receive(&file.net, |cx| {
        Ok(cache
            .get(cx, destination, None)
            .map_or(0, |route| route.mtu()))
    })
}

const PLAIN: Shape = Shape {
    linear: usize::MAX,
    headroom: 128,
    tracked: false,
    cloned: false,
    shared: false,
    gso: 0,
    partial: None,
};

/// The shapes that can be sent, by their numbers.
const SHAPES: &[Shape] = &[
    PLAIN,
    Shape {
        tracked: true,
        ..PLAIN
    },
    Shape {
        headroom: 0,
        ..PLAIN
    },
    Shape {
        cloned: true,
        ..PLAIN
    },
    Shape {
        cloned: true,
        headroom: 0,
        ..PLAIN
    },
    Shape {
        shared: true,
        tracked: true,
        ..PLAIN
    },
    Shape { linear: 0, ..PLAIN },
    Shape {
        linear: 0,
        headroom: 0,
        ..PLAIN
    },
    Shape {
        linear: 30,
        cloned: true,
        ..PLAIN
    },
    Shape {
        linear: 30,
        shared: true,
        headroom: 0,
        ..PLAIN
    },
];

/// What became of a packet: 0 sent, 1 dropped by whoever was to send it, 2 no route, 3 too large.
fn send<A: Family>(
    file: &File,
    cache: &RouteCache<A>,
    destination: A,
    bytes: &[u8],
    shape: usize,
) -> Found {
    let mut shape = *SHAPES.get(shape).ok_or("no such shape")?;
    shape.linear = shape.linear.min(bytes.len());
    receive(&file.net, |cx| {
        let (skb, other) = packet(cx, bytes, &shape).ok_or("no packet")?;
        let mut own = skb.into_owned().map_err(|_| "no memory")?;
        // CAST: A hundred and some.
        let headers = (bytes.len() - PAYLOAD) as u16;
        own.prepare(headers, headers - 8)
            .map_err(|_| "not prepared")?;
        let Some(route) = cache.get(cx, destination, None) else {
            return Ok(2);
        };
        check(
            !route.is_from_there(&own, destination),
            "it comes from there",
        )?;
        if route.fit(&own, true) != Fit::Fits {
            return Ok(3);
        }
        let sent = route.send(own, destination);
        unchanged(other, bytes)?;
        Ok(usize::from(sent.is_err()))
    })
}

fn unchanged(other: Option<Other<'_>>, bytes: &[u8]) -> Result<(), &'static str> {
    let same = other.is_none_or(|other| other.has(bytes, &mut [0; 200]));
    check(same, "another's bytes were changed")
}

/// A datagram's header and payload; the payload ends with the number of the shape.
fn datagram(at: &mut [u8], shape: usize, checksum: u16) {
    let len = (8 + PAYLOAD) as u16;
    at[..2].copy_from_slice(&PORT.to_be_bytes());
    at[2..4].copy_from_slice(&PORT.to_be_bytes());
    at[4..6].copy_from_slice(&len.to_be_bytes());
    at[6..8].copy_from_slice(&checksum.to_be_bytes());
    // CAST: A few shapes.
    at[8..].fill(shape as u8);
}

/// The Internet checksum (RFC 1071) of an even number of bytes, on top of a sum.
fn sum(bytes: &[u8], start: u32) -> u16 {
    let words = bytes.chunks(2);
    let total = words.fold(start, |sum, word| {
        sum + u32::from(word[0]) * 256 + word.get(1).map_or(0, |low| u32::from(*low))
    });
    let folded = (total & 0xffff) + (total >> 16);
    // CAST: The lower half is meant.
    !(((folded & 0xffff) + (folded >> 16)) as u16)
}

fn send4(file: &File, shape: usize) -> Found {
    let mut bytes = [0; 28 + PAYLOAD];
    bytes[0] = 0x45;
    bytes[3] = bytes.len() as u8;
    bytes[8] = 64;
    bytes[9] = 17;
    bytes[12..16].copy_from_slice(&NEAR4.octets());
    bytes[16..20].copy_from_slice(&FAR4.octets());
    let checksum = sum(&bytes[..20], 0);
    bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
    // Without a checksum of its own.
    datagram(&mut bytes[20..], shape, 0);
    send(file, &file.surroundings.route4, FAR4, &bytes, shape)
}

fn send6(file: &File, shape: usize) -> Found {
    let mut bytes = [0; 48 + PAYLOAD];
    let len = 8 + PAYLOAD as u32;
    bytes[0] = 0x60;
    bytes[5] = len as u8;
    bytes[6] = 17;
    bytes[7] = 64;
    bytes[8..24].copy_from_slice(&NEAR6.octets());
    bytes[24..40].copy_from_slice(&FAR6.octets());
    datagram(&mut bytes[40..], shape, 0);
    // The pseudo-header: the addresses, the length and the protocol.
    let checksum = sum(&bytes[8..], len + 17);
    bytes[46..48].copy_from_slice(&checksum.to_be_bytes());
    send(file, &file.surroundings.route6, FAR6, &bytes, shape)
}
