// SPDX-License-Identifier: GPL-2.0

//! What agents are asked and ordered, and what they say.

use std::net::IpAddr;

use fep_client::{NodeAddr, ServiceKey};
use fep_control::load::Permille;
use fep_control::plane::Event;
use fep_control::process::Report;
use fep_protocol::{
    FromAgent, ProcessState, ProcessStatus, ToAgent, FEATURE_CONNECTIONS, FEATURE_PROCESSES,
};
use tracing::{info, warn};

use super::work::{now, Daemon};
use crate::agents::Said;

impl Daemon {
    /// Asks the node's agent which of its routes are dead.
    pub(super) fn end_dead(&mut self, service: ServiceKey, node: NodeAddr) {
        if !self.agents.can(node.address, FEATURE_CONNECTIONS) {
            return;
        }
        let method = self.engine.method((service, node));
        match self
            .questions
            .about(&mut self.client, service, node, method)
        {
            Ok(messages) => {
                for message in messages {
                    if let ToAgent::Connections { id, .. } = message {
                        if !self.agents.order(node.address, message) {
                            self.questions.failed(node.address, id);
                        }
                    }
                }
            }
            Err(error) => warn!(%service, %node, "its routes: {error}"),
        }
    }

    /// Orders the node's agent to start or stop the process of a service. What does not reach it is
    /// ordered again.
    pub(super) fn order(&mut self, service: ServiceKey, node: NodeAddr, start: bool) {
        let Some(key) = self.engine.process(service) else {
            return;
        };
        if !self.agents.can(node.address, FEATURE_PROCESSES) {
            warn!(%node, "process {key}: its agent controls no processes");
            return;
        }
        self.orders += 1;
        let (id, key) = (self.orders, key.to_owned());
        let order = if start {
            ToAgent::ProcessStart { id, key }
        } else {
            ToAgent::ProcessStop { id, key }
        };
        self.agents.order(node.address, order);
    }

    /// The agent of a node said how a process is.
    fn process_is(&mut self, node: IpAddr, status: &ProcessStatus) {
        let report = match status.state {
            ProcessState::Stopped => Report::Stopped,
            ProcessState::Starting => Report::Starting,
            ProcessState::Ready => Report::Ready,
            ProcessState::Failed => Report::Failed,
            _ => return,
        };
        let Some(service) = self.engine.service_of(&status.key) else {
            return;
        };
        let node = NodeAddr {
            address: node,
            port: service.port,
        };
        info!(%node, "process {} is {:?} {}", status.key, report, status.why);
        let event = Event::Process {
            service,
            node,
            report,
        };
        self.engine.plane_mut().event(event, now());
    }

    /// A link to an agent said something.
    pub(super) fn heard(&mut self, node: IpAddr, said: Said) {
        if !self.agents.note(node, &said) {
            return; // a reload took it away meanwhile
        }
        let time = now();
        let plane = self.engine.plane_mut();
        match said {
            Said::Up { features } => {
                plane.event(Event::Heard(node), time);
                if features.iter().any(|name| name == FEATURE_PROCESSES) {
                    self.orders += 1;
                    let id = self.orders;
                    self.agents.order(node, ToAgent::ProcessList { id });
                }
            }
            Said::Down { .. } => {
                plane.event(Event::Lost(node), time);
                self.questions.lost(node);
            }
            Said::Message(FromAgent::Report { report, .. }) => {
                plane.event(Event::Load(node, permille(report.cpu_percent)), time);
            }
            Said::Message(FromAgent::Live { id, live }) => {
                plane.event(Event::Heard(node), time);
                let ended = self.questions.answered(&mut self.client, node, id, &live);
                match ended {
                    Ok(ended) if ended.deleted > 0 => {
                        info!(%node, routes = ended.deleted, "had no connection any more and are ended");
                    }
                    Ok(_) => {}
                    Err(error) => warn!(%node, "its dead routes: {error}"),
                }
            }
            Said::Message(FromAgent::ProcessChanged { process }) => self.process_is(node, &process),
            Said::Message(FromAgent::Processes { list, .. }) => {
                plane.event(Event::Heard(node), time);
                for process in &list {
                    self.process_is(node, process);
                }
            }
            Said::Message(FromAgent::Failed { id, why }) => {
                plane.event(Event::Heard(node), time);
                self.questions.failed(node, id);
                warn!(%node, "its agent: {why}");
            }
            Said::Message(_) => plane.event(Event::Heard(node), time),
        }
    }
}

/// A share in percent, as an agent says it, in thousandths.
fn permille(percent: f64) -> Permille {
    // Not a number is 0, and so is what is below it.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is within the bounds"
    )]
    let permille = (percent * 10.0).round().clamp(0.0, 1000.0) as Permille;
    permille
}
