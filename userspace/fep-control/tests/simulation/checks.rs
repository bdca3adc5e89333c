// SPDX-License-Identifier: GPL-2.0

//! The rules that must hold in every run, checked from outside against the models.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use fep_client::change::Change;
use fep_client::diff::diff;
use fep_client::{NodeAddr, ServiceKey};
use fep_control::plane::{Action, Event, Notice};
use fep_control::pool::{AllDown, Verdict};
use fep_control::process::{Notice as Of, Report};

use crate::daemon::{Daemon, Done};
use crate::filter::{At, Filter};
use crate::world::World;
use crate::SECOND;

/// What is remembered of a run to judge the rest of it.
#[derive(Default)]
pub(crate) struct Checks {
    /// Good checks in a row.
    good: BTreeMap<At, u32>,
    /// Nodes marked failed, with the most good checks in a row that there were since.
    marked: BTreeMap<At, u32>,
    /// Starts that were ordered and neither became ready nor were taken back.
    open: BTreeMap<At, u64>,
    /// The node of each number.
    numbers: BTreeMap<(ServiceKey, u64), NodeAddr>,
    /// Processes that are ready, as far as was said.
    ready: BTreeSet<At>,
    /// Those that were since they were last ordered to stop.
    served: BTreeSet<At>,
    /// When the daemon was started last.
    pub(crate) restarted: u64,
    /// For so many ticks in a row up to now it has not changed the filter, and in all.
    pub(crate) hindered_now: u64,
    pub(crate) hindered: u64,
    /// Since when each process and each maintenance is on its way, in ticks without the lost ones.
    moving: BTreeMap<At, u64>,
    draining: BTreeMap<IpAddr, u64>,
    pub(crate) seen: Seen,
}

/// How often things happened, so that a simulation in which nothing does is noticed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) failed: u64,
    pub(crate) kept: u64,
    pub(crate) added: u64,
    pub(crate) removed: u64,
    pub(crate) not_started: u64,
    pub(crate) drained: u64,
    pub(crate) sorry: u64,
    pub(crate) kills: u64,
}

impl Seen {
    pub(crate) fn add(&mut self, other: Self) {
        self.failed += other.failed;
        self.kept += other.kept;
        self.added += other.added;
        self.removed += other.removed;
        self.not_started += other.not_started;
        self.drained += other.drained;
        self.sorry += other.sorry;
        self.kills += other.kills;
    }

    /// Everything has happened.
    pub(crate) fn check(&self) {
        let all = [
            self.failed,
            self.kept,
            self.added,
            self.removed,
            self.not_started,
            self.drained,
            self.sorry,
            self.kills,
        ];
        assert!(all.iter().all(|&many| many > 100), "{self:?}");
    }
}

impl Checks {
    /// The daemon was told this.
    pub(crate) fn event(&mut self, event: &Event) {
        match *event {
            Event::Checked {
                service,
                node,
                good,
            } => {
                let row = self.good.entry((service, node)).or_default();
                *row = if good { *row + 1 } else { 0 };
                if let Some(most) = self.marked.get_mut(&(service, node)) {
                    *most = (*most).max(*row);
                }
            }
            Event::Process {
                service,
                node,
                report,
            } => {
                if report == Report::Ready {
                    self.open.remove(&(service, node));
                    self.ready.insert((service, node));
                    self.served.insert((service, node));
                } else if report == Report::Failed {
                    self.open.remove(&(service, node));
                    self.ready.remove(&(service, node));
                }
            }
            _ => {}
        }
    }

    /// An interval of the daemon is done.
    pub(crate) fn interval(
        &mut self,
        done: &Done,
        daemon: &Daemon,
        filter: &Filter,
        world: &World,
        maintained: &BTreeSet<IpAddr>,
    ) {
        if let Some(changes) = &done.committed {
            self.committed(changes, daemon, filter);
            self.table(daemon, filter, maintained);
        }
        for action in &done.actions {
            match *action {
                Action::Start {
                    service,
                    node,
                    number,
                } => self.started(service, node, number),
                Action::Stop { service, node } => {
                    let at = (service, node);
                    self.open.remove(&at);
                    let alive = world.answers(at, true);
                    assert!(
                        !alive || filter.listed(at).is_none(),
                        "{node} is stopped with {} routes in the table",
                        filter.routes_of(at)
                    );
                    self.ready.remove(&at);
                    self.served.remove(&at);
                }
                Action::Tell(Notice::Process(_, notice)) => match notice {
                    Of::Added(_) => self.seen.added += 1,
                    Of::Removed(_) => self.seen.removed += 1,
                    Of::NotStarted(_) => self.seen.not_started += 1,
                    _ => {}
                },
                Action::Tell(Notice::Failed(..)) => self.seen.failed += 1,
                Action::Tell(_) | Action::EndDead { .. } => {}
            }
        }
    }

    fn started(&mut self, service: ServiceKey, node: NodeAddr, number: u64) {
        let first = *self.numbers.entry((service, number)).or_insert(node);
        assert_eq!(first, node, "start {number} is ordered of two nodes");
        let others = self
            .open
            .keys()
            .filter(|at| at.0 == service && at.1 != node);
        let unserved = others.filter(|at| !self.served.contains(at)).count();
        let again = self.served.contains(&(service, node));
        assert!(again || unserved == 0, "two starts for one need");
        self.open.insert((service, node), number);
    }

    fn committed(&mut self, changes: &[Change], daemon: &Daemon, filter: &Filter) {
        if let (Some(plane), false) = (&daemon.plane, changes.is_empty()) {
            let again = diff(&filter.config, &plane.wanted(daemon.now));
            assert_eq!(again, [], "a second commit has something");
        }
        for change in changes {
            match change {
                Change::BackendFail { service, backend } => {
                    let key = service.expect("of one service");
                    let port = backend.port.expect("of one port");
                    let address = backend.address;
                    self.marked.insert((key, NodeAddr { address, port }), 0);
                }
                Change::BackendRestore { service, backend } => {
                    let key = service.expect("of one service");
                    let port = backend.port.expect("of one port");
                    let address = backend.address;
                    let at = (key, NodeAddr { address, port });
                    let good = self.marked.remove(&at);
                    let rise = daemon.rules.services[&key].thresholds.rise;
                    let verdicts = daemon.plane.as_ref().map(|p| p.verdicts(key, daemon.now));
                    let kept = verdicts.is_none_or(|v| v[&at.1] == Verdict::Kept);
                    assert!(
                        kept || good.is_none_or(|good| good >= rise),
                        "{address} is back after {good:?} good checks in a row"
                    );
                }
                Change::BackendAdd {
                    service, backend, ..
                } => {
                    let at = (*service, *backend);
                    self.marked.remove(&at);
                    let own = daemon.rules.services[service].processes.as_ref();
                    if own.is_some_and(|own| own.candidates.contains_key(backend)) {
                        assert!(
                            self.ready.contains(&at),
                            "{backend} is added before it is ready"
                        );
                    }
                }
                Change::BackendDel { service, backend } => {
                    self.marked.remove(&(*service, *backend));
                }
                Change::BackendSet { .. } | Change::ServiceAdd { .. } => {}
                _ => panic!("{change:?}: more than nodes changed"),
            }
        }
    }

    /// The filter's table after a commit.
    fn table(&mut self, daemon: &Daemon, filter: &Filter, maintained: &BTreeSet<IpAddr>) {
        for service in filter.config.services.iter().flatten() {
            let key = service.key;
            let rules = &daemon.rules.services[&key];
            let sorry = rules.sorry.as_ref().map(|node| node.addr);
            let (mut base, mut out, mut usable, mut all_out) = (0_usize, 0, false, true);
            for node in &service.backends {
                let failed = node.failed == Some(true);
                if failed {
                    assert_eq!(
                        filter.routes_of((key, node.addr)),
                        0,
                        "routes of a failed node"
                    );
                }
                usable |= node.weight.0 > 0 && !failed;
                if Some(node.addr) == sorry {
                    self.seen.sorry += u64::from(node.weight.0 > 0);
                } else if !maintained.contains(&node.addr.address) && node.weight.0 > 0 {
                    base += 1;
                    out += usize::from(failed);
                    all_out &= failed;
                }
            }
            let most = base * rules.pool.max_ejected_percent as usize / 100;
            let most = most.max(usize::from(base > 1));
            let refused = rules.pool.all_down == AllDown::Refuse && all_out;
            assert!(out <= most || refused, "{out} of {base} nodes are out");
            assert!(
                usable || (sorry.is_none() && (refused || base == 0)),
                "nobody serves {key}: {:?}, in maintenance {maintained:?}",
                service.backends
            );
        }
    }

    /// A client was given a node whose server has not answered since `since`.
    pub(crate) fn lost_client(&mut self, at: At, since: u64, tick: u64, daemon: &Daemon) {
        let from = since.max(self.restarted);
        // What was decided when the filter was busy is not in force yet.
        if tick - from <= 3 * SECOND + 1 || self.hindered_now > 0 {
            return;
        }
        let plane = daemon.plane.as_ref().expect("it lives");
        let verdict = plane.verdicts(at.0, daemon.now).get(&at.1).copied();
        assert_eq!(
            verdict,
            Some(Verdict::Kept),
            "{} does not answer since tick {since}, and gets a client at {tick}",
            at.1
        );
        self.seen.kept += 1;
    }

    /// Nothing is on its way for longer than all its limits together.
    pub(crate) fn sequences(&mut self, tick: u64, daemon: &Daemon) {
        let Some(plane) = &daemon.plane else { return };
        let worked = tick - self.hindered;
        let mut moving = BTreeMap::new();
        for (&key, rules) in &daemon.rules.services {
            let Some(processes) = plane.processes(key) else {
                continue;
            };
            let own = &rules.processes.as_ref().expect("it has rules").rules;
            let whole = own.ready_within * own.tries
                + own.retry_max * own.tries
                + own.drain_within
                + own.stop_within;
            for (&node, known) in &processes.state().instances {
                use fep_control::process::Phase;
                let rests = matches!(
                    known.phase,
                    Phase::Serving { .. } | Phase::Stopping { late: true, .. }
                );
                if !rests {
                    let since = *self.moving.get(&(key, node)).unwrap_or(&worked);
                    let gone =
                        crate::TICK * u32::try_from(worked.saturating_sub(since)).expect("short");
                    assert!(
                        gone <= whole,
                        "{node} is on its way for {gone:?}: {known:?}"
                    );
                    moving.insert((key, node), since);
                }
            }
        }
        self.moving = moving;
    }

    /// A maintenance that was ordered to end within a time has ended.
    pub(crate) fn maintenance(&mut self, tick: u64, limit: u64, daemon: &Daemon) {
        let Some(plane) = &daemon.plane else { return };
        let worked = tick - self.hindered;
        let ordered: Vec<IpAddr> = self.draining.keys().copied().collect();
        for address in ordered {
            let parts = plane.maintenance(address, daemon.now);
            let draining = parts
                .iter()
                .flatten()
                .any(|(_, _, state, _)| *state == fep_control::maintenance::State::Draining);
            if !draining {
                self.draining.remove(&address);
                self.seen.drained += 1;
                continue;
            }
            let since = self.draining[&address];
            assert!(
                worked.saturating_sub(since) <= limit + 2,
                "the maintenance of {address} goes on"
            );
        }
    }

    pub(crate) fn maintenance_began(&mut self, address: IpAddr, tick: u64) {
        self.draining.insert(address, tick - self.hindered);
    }

    /// The clock began again, so what waits for a time waits once more.
    pub(crate) fn rebooted(&mut self) {
        self.moving.clear();
        self.marked.clear();
        self.draining.clear();
    }
}
