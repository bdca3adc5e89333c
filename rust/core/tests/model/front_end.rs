// SPDX-License-Identifier: GPL-2.0

//! A front-end node in memory: it stores what the kernel module stores and leaves every decision to
//! `fep_core`, as the kernel module does.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fep_core::address::{check_ends, Address};
use fep_core::flow::{in_use, on_miss, on_reply, on_request, patience, OnMiss, OnReply, OnRequest};
use fep_core::hash::HashKey;
use fep_core::packet::{Packet, Parsed, Protocol};
use fep_core::rewrite::{Coverage, Side, Translation};
use fep_core::tcp::{Direction, Tracker};
use fep_core::timeout::{idle, stamp_due};
use fep_core::validate::{Node, Service};
use fep_core::wrr::next;
use fep_uapi::{Counter, Method};

use crate::table::Table;

/// Ticks per second.
pub(crate) const HZ: u32 = 250;

/// An address and a port.
pub(crate) type Client = (IpAddr, u16);

/// What became of a packet.
#[derive(Debug, PartialEq)]
pub(crate) enum Verdict {
    /// Translated and sent.
    Sent(Vec<u8>),
    /// Sent as it is: to the node, or where it was going.
    AsIs(Option<Node>),
    /// Passed on untouched, or dropped.
    Ended(Counter),
}

/// An allocated route.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    pub(crate) service: Service,
    pub(crate) client: Client,
    pub(crate) node: Node,
    method: Method,
    pub(crate) index: u32,
    tracker: u32,
    last_used: u32,
}

/// A packet, as far as it matters for finding its route.
struct Ends {
    protocol: Protocol,
    from: Client,
    to: Client,
}

impl Ends {
    fn of<A: Address>(packet: &Packet<A>) -> Self {
        Self {
            protocol: packet.protocol,
            from: (packet.source.into(), packet.source_port),
            to: (packet.destination.into(), packet.destination_port),
        }
    }
}

impl Route {
    pub(crate) fn tracker(&self) -> Tracker {
        Tracker::from_bits(self.tracker)
    }

    pub(crate) fn last_used(&self) -> u32 {
        self.last_used
    }

    /// Where its replies are from.
    fn replies_from(&self) -> Client {
        match self.method {
            Method::Nat => (self.node.address, self.node.port),
            Method::Dr => (self.service.address, self.service.port),
        }
    }

    /// Whether a packet that goes this way is one of the route.
    fn is_for(&self, ends: &Ends, way: Direction) -> bool {
        let service = (self.service.address, self.service.port);
        let (client, other) = match way {
            Direction::Request => (ends.from, ends.to == service),
            Direction::Reply => (ends.to, ends.from == self.replies_from()),
        };
        self.service.protocol == ends.protocol && self.client == client && other
    }

    /// The tracker whenever it changes, the time once a second.
    fn used(&mut self, tracker: Tracker, now: u32) {
        self.tracker = tracker.to_bits();
        if stamp_due(now, self.last_used, HZ) {
            self.last_used = now;
        }
    }
}

/// The front-end node.
pub(crate) struct FrontEnd {
    key: HashKey,
    pub(crate) limit: usize,
    pub(crate) tables: BTreeMap<Service, Table>,
    /// By the hash of the client.
    pub(crate) buckets: HashMap<u32, Vec<Route>>,
    pub(crate) count: usize,
    /// The way that the last packet went: tried first for the next.
    way: Direction,
}

fn opposite(way: Direction) -> Direction {
    match way {
        Direction::Request => Direction::Reply,
        Direction::Reply => Direction::Request,
    }
}

fn of<A: Address>((address, port): Client) -> (A, u16) {
    (A::from_ip(address).unwrap(), port)
}

impl FrontEnd {
    pub(crate) fn new(key: [u64; 4], limit: usize) -> Self {
        Self {
            key: HashKey::new(key),
            limit,
            tables: BTreeMap::new(),
            buckets: HashMap::new(),
            count: 0,
            way: Direction::Request,
        }
    }

    pub(crate) fn routes(&self) -> impl Iterator<Item = &Route> {
        self.buckets.values().flatten()
    }

    pub(crate) fn hash(&self, protocol: Protocol, client: Client) -> u32 {
        match client.0 {
            IpAddr::V4(address) => address.client_hash(&self.key, protocol, client.1),
            IpAddr::V6(address) => address.client_hash(&self.key, protocol, client.1),
        }
    }

    /// A packet from an attached device, of which `linear` bytes are linear so far.
    pub(crate) fn receive(
        &mut self,
        bytes: &[u8],
        linear: usize,
        coverage: Coverage,
        now: u32,
    ) -> Verdict {
        match bytes[0] >> 4 {
            4 => self.receive_ip::<Ipv4Addr>(bytes, linear, coverage, now),
            6 => self.receive_ip::<Ipv6Addr>(bytes, linear, coverage, now),
            _ => Verdict::Ended(Counter::PassForeign),
        }
    }

    fn receive_ip<A: Address>(
        &mut self,
        bytes: &[u8],
        mut linear: usize,
        coverage: Coverage,
        now: u32,
    ) -> Verdict {
        let (packet, tried) = match A::parse_plain(&bytes[..linear], bytes.len()) {
            Some(packet) => (packet, self.way),
            None => loop {
                match A::parse(&bytes[..linear], bytes.len()) {
                    Parsed::Packet(packet) => break (packet, Direction::Request),
                    Parsed::Need(need) => {
                        assert!(linear < need && need <= bytes.len());
                        linear = need;
                    }
                    Parsed::Icmp => return Verdict::Ended(Counter::PassForeign),
                    Parsed::Pass(counter) => return Verdict::Ended(counter),
                }
            },
        };
        match self.decide(&packet, bytes, tried, now) {
            Err(counter) => Verdict::Ended(counter),
            Ok((route, way)) => send(&route, way, &packet, bytes, coverage),
        }
    }

    /// The route of a packet and the way that it goes there; at first that is looked for which was
    /// right for the last packet.
    fn decide<A: Address>(
        &mut self,
        packet: &Packet<A>,
        bytes: &[u8],
        tried: Direction,
        now: u32,
    ) -> Result<(Route, Direction), Counter> {
        let ends = Ends::of(packet);
        for way in [tried, opposite(tried)] {
            let Some((hash, at)) = self.find(&ends, way) else {
                continue;
            };
            if way != tried {
                self.way = way;
            }
            return match self.use_route(hash, at, packet, way, now) {
                Some(route) => Ok((route, way)),
                None => self.miss(packet, &ends, bytes, now),
            };
        }
        self.miss(packet, &ends, bytes, now)
    }

    /// Where the route of a packet is, if it goes that way.
    fn find(&self, ends: &Ends, way: Direction) -> Option<(u32, usize)> {
        let client = match way {
            Direction::Request => ends.from,
            Direction::Reply => ends.to,
        };
        let hash = self.hash(ends.protocol, client);
        let mut bucket = self.buckets.get(&hash)?.iter();
        Some((hash, bucket.position(|route| route.is_for(ends, way))?))
    }

    /// Uses a route, if it is still good.
    fn use_route<A: Address>(
        &mut self,
        hash: u32,
        at: usize,
        packet: &Packet<A>,
        way: Direction,
        now: u32,
    ) -> Option<Route> {
        let (protocol, flags) = (packet.protocol, packet.tcp_flags);
        let bucket = self.buckets.get_mut(&hash).unwrap();
        let route = &mut bucket[at];
        let table = self.tables.get_mut(&route.service).unwrap();
        let view = table.view(route);
        let of = |state| table.timeouts.of(state);
        let (patience, idle) = (
            patience(view.draining, &table.timeouts.to_ticks()),
            idle(now, view.last_used),
        );
        if let Some(tracker) = in_use(view.tracker, view.live, idle, patience, of, way, flags) {
            route.used(tracker, now);
            return Some(route.clone());
        }
        let timeout_of = |state| table.timeouts.of(state);
        let tracker = match way {
            Direction::Request => match on_request(&view, protocol, flags, now, timeout_of) {
                OnRequest::Use { tracker } => tracker,
                OnRequest::Replace => {
                    let route = bucket.swap_remove(at);
                    table.backend(route.node).unwrap().routes -= 1;
                    self.count -= 1;
                    return None;
                }
            },
            Direction::Reply => match on_reply(&view, protocol, flags, now, timeout_of) {
                OnReply::Use { tracker } => tracker,
                OnReply::Ignore => return None,
            },
        };
        route.used(tracker, now);
        Some(route.clone())
    }

    /// A packet without a route: of a new client, of nobody, or too late.
    fn miss<A: Address>(
        &mut self,
        packet: &Packet<A>,
        ends: &Ends,
        bytes: &[u8],
        now: u32,
    ) -> Result<(Route, Direction), Counter> {
        check_ends(packet)?;
        let (protocol, flags) = (packet.protocol, packet.tcp_flags);
        let service = Service {
            protocol,
            address: ends.to.0,
            port: ends.to.1,
        };
        if !self.tables.contains_key(&service) {
            return Err(if self.is_node(protocol, ends.from) {
                Counter::DropStaleReply
            } else {
                Counter::PassNoService
            });
        }
        if let OnMiss::Pass(counter) = on_miss(protocol, flags) {
            return Err(counter);
        }
        let head = &bytes[..usize::from(packet.header_len)];
        if !A::header_is_intact(head, packet) {
            return Err(Counter::PassMalformed);
        }
        if self.count >= self.limit {
            return Err(Counter::DropTableFull);
        }
        let table = self.tables.get_mut(&service).unwrap();
        let index = next(&mut table.slots).ok_or(Counter::DropNoBackend)?;
        let mut backends = table.backends.iter_mut();
        let backend = backends.find(|backend| backend.index == index).unwrap();
        backend.routes += 1;
        self.count += 1;
        let route = Route {
            service,
            client: ends.from,
            node: backend.node,
            method: backend.method,
            index,
            tracker: Tracker::begin(protocol, backend.method == Method::Dr).to_bits(),
            last_used: now,
        };
        let hash = self.hash(protocol, ends.from);
        self.buckets.entry(hash).or_default().push(route.clone());
        Ok((route, Direction::Request))
    }

    /// Whether a node that packets are translated for answers from there.
    fn is_node(&self, protocol: Protocol, (address, port): Client) -> bool {
        let node = Node { address, port };
        let mut tables = self.tables.iter();
        tables.any(|(service, table)| {
            let is_it = |backend: &crate::table::Backend| {
                backend.node == node && backend.method == Method::Nat
            };
            service.protocol == protocol && table.backends.iter().any(is_it)
        })
    }
}

/// Sends a packet by its route.
fn send<A: Address>(
    route: &Route,
    way: Direction,
    packet: &Packet<A>,
    bytes: &[u8],
    coverage: Coverage,
) -> Verdict {
    if route.method == Method::Dr {
        return Verdict::AsIs((way == Direction::Request).then_some(route.node));
    }
    let service = of((route.service.address, route.service.port));
    let translation = Translation::<A>::new(service, of((route.node.address, route.node.port)));
    let side = match way {
        Direction::Request => Side::Destination,
        Direction::Reply => Side::Source,
    };
    let mut bytes = bytes.to_vec();
    let head = &mut bytes[..usize::from(packet.rewrite_len)];
    assert!(A::translate(head, packet, side, &translation, coverage));
    Verdict::Sent(bytes)
}
