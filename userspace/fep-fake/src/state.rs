// SPDX-License-Identifier: GPL-2.0

//! The configuration, and the rules that need it.

use fep_core::validate::{change, Change, Node, NodePattern, Service};
use fep_uapi::{
    BackendRecord, DeviceRecord, Endpoint, Method, Op, Reason, RouteRecord, ServiceId,
    ServiceRecord, Status, Traffic, ABI_MAJOR, ABI_MINOR, BACKENDS_MAX, COUNTERS, DEVICES_MAX,
    DEVICE_NAME_LEN, FAMILY_IPV6, SERVICES_MAX, STATE_FAILED, TIMEOUTS,
};

/// All that the kernel holds.
#[derive(Clone, Debug)]
pub struct State {
    /// Devices that there are, attached or not.
    pub present: Vec<String>,
    /// Attached devices.
    pub attached: Vec<String>,
    /// Services.
    pub entries: Vec<ServiceEntry>,
    /// Allocated routes.
    pub routes: Vec<RouteRecord>,
    /// Their limit.
    pub limit: u32,
    /// Generation of the configuration.
    pub generation: u64,
    /// Counters of the namespace.
    pub counters: [u64; COUNTERS],
    /// Version of the ABI. Minor version 0 has neither IPv6 nor methods.
    pub abi: (u32, u32),
}

/// A service.
#[derive(Clone, Debug)]
pub struct ServiceEntry {
    /// Its name.
    pub service: Service,
    /// Code of its scheduler.
    pub scheduler: u32,
    /// Its timeouts.
    pub timeouts: [u32; TIMEOUTS],
    /// Its counters.
    pub counters: [u64; COUNTERS],
    /// Its nodes.
    pub backends: Vec<Backend>,
}

/// A back-end node.
#[derive(Clone, Debug)]
pub struct Backend {
    /// Its name.
    pub node: Node,
    /// Its weight.
    pub weight: u32,
    /// Code of its method.
    pub method: u32,
    /// Whether it is marked failed.
    pub failed: bool,
    /// Its priority.
    pub priority: u32,
    /// Its load as reported.
    pub load: u32,
    /// Its traffic.
    pub traffic: Traffic,
}

impl Default for State {
    fn default() -> Self {
        Self {
            present: Vec::new(),
            attached: Vec::new(),
            entries: Vec::new(),
            routes: Vec::new(),
            limit: 1 << 20,
            generation: 1,
            counters: [0; COUNTERS],
            abi: (ABI_MAJOR, ABI_MINOR),
        }
    }
}

fn count(of: usize) -> u32 {
    u32::try_from(of).unwrap_or(u32::MAX)
}

fn reaches(of: usize, most: u32) -> bool {
    count(of) >= most
}

/// What the rules of ABI 1.0 have against an operation that those of today allow.
fn known_to_the_first_version(op: &Op) -> Result<(), Reason> {
    if op.method != 0 {
        return Err(Reason::ReservedNotZero);
    }
    if [op.service.family, op.backend.family].contains(&FAMILY_IPV6) {
        return Err(Reason::FamilyUnsupported);
    }
    Ok(())
}

impl State {
    /// Applies an operation; returns how many routes it deleted.
    pub(crate) fn apply(&mut self, op: &Op) -> Result<u64, Reason> {
        if self.abi.1 == 0 {
            known_to_the_first_version(op)?;
        }
        match change(op)? {
            Change::DeviceAttach { name } => self.attach(name)?,
            Change::DeviceDetach { name } => {
                let at = self
                    .attached
                    .iter()
                    .position(|device| device.as_bytes() == name);
                self.attached.remove(at.ok_or(Reason::DeviceNotAttached)?);
            }
            Change::ServiceAdd {
                service,
                scheduler,
                timeouts,
            } => {
                if self.entry(service).is_ok() {
                    return Err(Reason::ServiceExists);
                }
                if self.is_node(service) {
                    return Err(Reason::BackendIsVip);
                }
                if reaches(self.entries.len(), SERVICES_MAX) {
                    return Err(Reason::TooManyServices);
                }
                self.entries.push(ServiceEntry {
                    service,
                    scheduler: scheduler.code(),
                    timeouts,
                    counters: [0; COUNTERS],
                    backends: Vec::new(),
                });
            }
            Change::ServiceSet {
                service,
                scheduler,
                timeouts,
            } => {
                let entry = self.entry(service)?;
                entry.scheduler = scheduler.code();
                entry.timeouts = timeouts;
            }
            Change::ServiceDel { service } => {
                self.entry(service)?;
                self.entries.retain(|entry| entry.service != service);
                let id = ServiceId::from(service);
                return Ok(self.delete_routes(|service, _| *service == id));
            }
            Change::BackendAdd {
                service,
                backend,
                weight,
                method,
            } => {
                self.add_backend(service, backend, weight, method)?;
            }
            Change::BackendSet {
                service,
                backend,
                weight,
            } => {
                self.backend(service, backend)?.weight = weight;
            }
            Change::BackendDel { service, backend } => {
                self.backend(service, backend)?;
                self.entry(service)?
                    .backends
                    .retain(|entry| entry.node != backend);
                let (id, node) = (ServiceId::from(service), Endpoint::from(backend));
                return Ok(
                    self.delete_routes(|service, backend| (*service, *backend) == (id, node))
                );
            }
            Change::BackendFail { service, backend } => return self.mark(service, backend, true),
            Change::BackendRestore { service, backend } => {
                return self.mark(service, backend, false);
            }
            Change::LimitSet { limit } => self.limit = limit,
            Change::BackendPriority {
                service,
                backend,
                priority,
            } => self.backend(service, backend)?.priority = priority,
            Change::BackendLoad {
                service,
                backend,
                load,
            } => self.report_load(service, backend, load)?,
        }
        Ok(0)
    }

    fn attach(&mut self, name: &[u8]) -> Result<(), Reason> {
        if name == b"lo" {
            return Err(Reason::DeviceUnsuitable);
        }
        let mut present = self.present.iter();
        let device = present
            .find(|device| device.as_bytes() == name)
            .ok_or(Reason::NoSuchDevice)?;
        if self.attached.contains(device) {
            return Err(Reason::DeviceAttached);
        }
        if reaches(self.attached.len(), DEVICES_MAX) {
            return Err(Reason::TooManyDevices);
        }
        self.attached.push(device.clone());
        Ok(())
    }

    fn entry(&mut self, service: Service) -> Result<&mut ServiceEntry, Reason> {
        let mut entries = self.entries.iter_mut();
        let found = entries.find(|entry| entry.service == service);
        found.ok_or(Reason::NoSuchService)
    }

    /// Whether a node of any service has that protocol, address and port.
    fn is_node(&self, vip: Service) -> bool {
        let node = Node {
            address: vip.address,
            port: vip.port,
        };
        self.entries.iter().any(|entry| {
            let nodes = &mut entry.backends.iter().map(|backend| backend.node);
            entry.service.protocol == vip.protocol && nodes.any(|other| other == node)
        })
    }

    fn backend(&mut self, service: Service, node: Node) -> Result<&mut Backend, Reason> {
        self.entry(service)?
            .backends
            .iter_mut()
            .find(|backend| backend.node == node)
            .ok_or(Reason::NoSuchBackend)
    }

    fn add_backend(
        &mut self,
        service: Service,
        node: Node,
        weight: u32,
        method: Method,
    ) -> Result<(), Reason> {
        let vip = Service {
            protocol: service.protocol,
            address: node.address,
            port: node.port,
        };
        if self.entry(vip).is_ok() {
            return Err(Reason::BackendIsVip);
        }
        if self.backend(service, node).is_ok() {
            return Err(Reason::BackendExists);
        }
        let entry = self.entry(service)?;
        if reaches(entry.backends.len(), BACKENDS_MAX) {
            return Err(Reason::TooManyBackends);
        }
        entry.backends.push(Backend {
            node,
            weight,
            method: method.code(),
            failed: false,
            priority: 0,
            load: 0,
            traffic: Traffic::default(),
        });
        Ok(())
    }

    fn mark(
        &mut self,
        service: Option<Service>,
        pattern: NodePattern,
        failed: bool,
    ) -> Result<u64, Reason> {
        if let Some(service) = service {
            self.entry(service)?;
        }
        let mut found = false;
        let mut deleted = 0;
        for at in 0..self.entries.len() {
            let entry = &mut self.entries[at];
            if service.is_some_and(|service| service != entry.service) {
                continue;
            }
            let id = ServiceId::from(entry.service);
            let mut hit = Vec::new();
            for backend in &mut entry.backends {
                if pattern.matches(&backend.node) {
                    backend.failed = failed;
                    hit.push(Endpoint::from(backend.node));
                }
            }
            found |= !hit.is_empty();
            if failed {
                deleted +=
                    self.delete_routes(|service, backend| *service == id && hit.contains(backend));
            }
        }
        if found {
            Ok(deleted)
        } else {
            Err(Reason::NoSuchBackend)
        }
    }

    /// Deletes routes; returns how many.
    pub(crate) fn delete_routes(&mut self, which: impl Fn(&ServiceId, &Endpoint) -> bool) -> u64 {
        let before = self.routes.len();
        self.routes
            .retain(|route| !which(&route.service, &route.backend));
        u64::from(count(before - self.routes.len()))
    }

    pub(crate) fn status(&self) -> Status {
        let mut version = [0; 32];
        version[..5].copy_from_slice(b"0.1.0");
        Status {
            abi_major: self.abi.0,
            abi_minor: self.abi.1,
            version,
            generation: self.generation,
            routes: count(self.routes.len()).into(),
            routes_limit: self.limit,
            buckets: 1024,
            services: count(self.entries.len()),
            backends: count(self.backends().count()),
            devices: count(self.attached.len()),
            counters: self.counters,
            ..Status::default()
        }
    }

    pub(crate) fn devices(&self) -> impl Iterator<Item = DeviceRecord> + '_ {
        (2..).zip(&self.attached).map(|(ifindex, device)| {
            let mut name = [0; DEVICE_NAME_LEN];
            name[..device.len()].copy_from_slice(device.as_bytes());
            DeviceRecord {
                ifindex,
                name,
                ..DeviceRecord::default()
            }
        })
    }

    pub(crate) fn services(&self) -> impl Iterator<Item = ServiceRecord> + '_ {
        self.entries.iter().map(|entry| {
            let service = ServiceId::from(entry.service);
            let routes = self.routes.iter().filter(|route| route.service == service);
            ServiceRecord {
                service,
                scheduler: entry.scheduler,
                backends: count(entry.backends.len()),
                timeouts: entry.timeouts,
                routes: count(routes.count()).into(),
                traffic: entry.backends.iter().fold(Traffic::default(), sum),
                counters: entry.counters,
                ..ServiceRecord::default()
            }
        })
    }

    pub(crate) fn backends(&self) -> impl Iterator<Item = BackendRecord> + '_ {
        self.entries.iter().flat_map(move |entry| {
            let service = ServiceId::from(entry.service);
            entry.backends.iter().map(move |backend| {
                let node = Endpoint::from(backend.node);
                let routes = self.routes.iter();
                let routes =
                    routes.filter(|route| (route.service, route.backend) == (service, node));
                BackendRecord {
                    service,
                    backend: node,
                    weight: backend.weight,
                    state: if backend.failed { STATE_FAILED } else { 0 },
                    routes: count(routes.count()).into(),
                    traffic: backend.traffic,
                    method: backend.method,
                    ..BackendRecord::default()
                }
            })
        })
    }
}

fn sum(all: Traffic, backend: &Backend) -> Traffic {
    let one = &backend.traffic;
    Traffic {
        connections: all.connections + one.connections,
        packets_in: all.packets_in + one.packets_in,
        packets_out: all.packets_out + one.packets_out,
        bytes_in: all.bytes_in + one.bytes_in,
        bytes_out: all.bytes_out + one.bytes_out,
    }
}
