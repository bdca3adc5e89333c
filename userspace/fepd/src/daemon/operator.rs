// SPDX-License-Identifier: GPL-2.0

//! What administrators ask for over the unix socket.

use std::time::Duration;

use fep_client::{NodeAddr, ServiceKey};
use fep_operator::{Answer, Call, Reason, Reload, Request};
use tracing::info;

use super::edit::Edit;
use super::view::View;
use super::work::{now, Daemon};

/// Why a request is refused.
type Refusal = (Reason, String);

/// The nodes that may have a process, and where each would serve.
type Candidates = Vec<(String, NodeAddr)>;

/// The result of a request: what is said when it is done, or why it is refused.
type Done = Result<Answer, Refusal>;

fn not_there(what: &str, name: &str) -> Refusal {
    (Reason::NotThere, format!("there is no {what} {name}"))
}

impl Daemon {
    /// Does what is asked for, and answers.
    pub(super) fn asked(&mut self, call: Call) {
        let done = match &call.request {
            Request::Snapshot => self.view(),
            Request::Reload => self
                .reload()
                .map_err(|text| (Reason::BadInput, text))
                .map(|()| Answer::DONE),
            Request::MaintenanceOn {
                node,
                limit_seconds,
            } => self.maintain(node, limit_seconds.map(Duration::from_secs)),
            Request::MaintenanceOff { node } => self.end_maintenance(node),
            Request::ProcessStart { process, node } => self.start(process, node.as_deref()),
            Request::ProcessStop { process, node } => self.stop(process, node),
            other => self.edit(other),
        };
        call.answer(match done {
            Ok(answer) => answer,
            Err((reason, message)) => Answer::refused(reason, message),
        });
    }

    fn view(&mut self) -> Done {
        let held = self
            .client
            .snapshot()
            .map_err(|error| (Reason::Filter, error.to_string()))?;
        let time = now();
        let daemon = fep_operator::Daemon {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_ms: millis(time.saturating_sub(self.began)),
            config: self.file.display().to_string(),
            reload: self.reloaded.as_ref().map(|(at, problem)| Reload {
                age_ms: millis(time.saturating_sub(*at)),
                problem: problem.clone(),
            }),
            trouble: self.trouble.clone(),
            state_trouble: self.state_trouble.clone(),
            generation: held.generation,
            routes: held.routes,
            routes_limit: held.routes_limit.into(),
        };
        let view = View {
            engine: &self.engine,
            agents: &self.agents,
            held: &held,
            now: time,
        };
        Ok(Answer::Snapshot(Box::new(view.snapshot(daemon))))
    }

    fn maintain(&mut self, name: &str, limit: Option<Duration>) -> Done {
        let config = self.engine.config();
        let node = config.node(name).ok_or_else(|| not_there("node", name))?;
        let address = node.address;
        let own = config
            .services
            .iter()
            .filter(|service| service.members.iter().any(|member| member.node == *name));
        let longest = own.map(|service| service.drain_timeout).max();
        let limit = limit.or(longest).unwrap_or_default();
        if !self.engine.plane_mut().maintain(address, limit, now()) {
            return Err((
                Reason::AlreadyThere,
                format!("node {name} is in maintenance already"),
            ));
        }
        info!(
            node = name,
            "maintenance begins, for {} s at most",
            limit.as_secs()
        );
        self.step(true);
        Ok(Answer::DONE)
    }

    fn end_maintenance(&mut self, name: &str) -> Done {
        let node = self
            .engine
            .config()
            .node(name)
            .ok_or_else(|| not_there("node", name))?;
        let address = node.address;
        if !self.engine.plane_mut().end_maintenance(address) {
            return Err((
                Reason::NotThere,
                format!("node {name} is in no maintenance"),
            ));
        }
        info!(node = name, "maintenance ends");
        self.step(true);
        Ok(Answer::DONE)
    }

    /// The service of a process, and where its candidates would serve.
    fn process(&self, name: &str) -> Result<(ServiceKey, Candidates), Refusal> {
        let config = self.engine.config();
        let mut services = config.services.iter();
        let service = services
            .find(|service| {
                service
                    .process
                    .as_ref()
                    .is_some_and(|process| process.name == name)
            })
            .ok_or_else(|| not_there("process", name))?;
        let candidates = service
            .process
            .iter()
            .flat_map(|process| &process.candidates);
        let place = |node: &fep_config::Node| NodeAddr {
            address: node.address,
            port: service.key.port,
        };
        let candidates =
            candidates.filter_map(|name| Some((name.clone(), place(config.node(name)?))));
        Ok((service.key, candidates.collect()))
    }

    fn start(&mut self, process: &str, node: Option<&str>) -> Done {
        let (service, candidates) = self.process(process)?;
        let plane = self.engine.plane();
        let runs = |addr: &NodeAddr| {
            let all = plane.processes(service);
            all.is_some_and(|all| all.state().instances.contains_key(addr))
        };
        let chosen = match node {
            Some(name) => candidates.iter().find(|(candidate, _)| candidate == name),
            None => candidates
                .iter()
                .filter(|(_, addr)| self.agents.has_link(addr.address) && !runs(addr))
                .min_by_key(|(_, addr)| plane.load(addr.address).and_then(|load| load.last())),
        };
        let Some((name, addr)) = chosen.cloned() else {
            let text = node.map_or_else(
                || format!("no node is left that may have process {process}"),
                |node| {
                    format!(
                        "node {node} may not have process {process}: it is none of its candidates"
                    )
                },
            );
            return Err((Reason::Rule, text));
        };
        let processes = self.engine.plane_mut().processes_mut(service);
        let begun = processes.is_some_and(|all| all.start_on(addr, now()).is_ok());
        if !begun {
            return Err((
                Reason::AlreadyThere,
                format!("process {process} is on node {name} already"),
            ));
        }
        info!(node = name, "process {process} is to start");
        self.step(true);
        Ok(Answer::Done { node: Some(name) })
    }

    fn stop(&mut self, process: &str, node: &str) -> Done {
        let (service, candidates) = self.process(process)?;
        let (_, addr) = candidates
            .into_iter()
            .find(|(candidate, _)| candidate == node)
            .ok_or_else(|| not_there("candidate node", node))?;
        let processes = self.engine.plane_mut().processes_mut(service);
        let begun = processes.is_some_and(|all| all.take_away(addr, now()).is_ok());
        if !begun {
            return Err((
                Reason::NotThere,
                format!("process {process} is not on node {node}, or is going already"),
            ));
        }
        info!(node, "process {process} is to stop");
        self.step(true);
        Ok(Answer::DONE)
    }

    /// Changes the file, and takes it: what is changed here outlives the daemon, and the file is all
    /// that there is.
    fn edit(&mut self, request: &Request) -> Done {
        let edited = Edit::of(&self.file, request)?;
        self.try_config(&edited.config)
            .map_err(|error| (Reason::Filter, error.to_string()))?;
        edited.write().map_err(|error| (Reason::Other, error))?;
        self.reload().map_err(|text| (Reason::BadInput, text))?;
        self.step(true);
        Ok(Answer::DONE)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
