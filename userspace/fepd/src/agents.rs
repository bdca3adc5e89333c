// SPDX-License-Identifier: GPL-2.0

//! Links to the agents of the nodes: one for each, made again whenever it ends.

mod dead;
mod link;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use fep_config::Config;
use fep_protocol::{Error, FromAgent, Identity, ProcessStatus, Report, ToAgent};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tracing::{info, warn};

pub(crate) use dead::Questions;

/// So many messages of all agents wait to be taken; the links wait then.
const WAITING_MAX: usize = 1024;
/// So many orders wait for a link; what does not fit is ordered again later.
const ORDERS_MAX: usize = 64;

/// What comes from a link.
#[derive(Debug)]
pub(crate) enum Said {
    /// The link is there, and the agent can do this.
    Up {
        /// The agent's features.
        features: Vec<String>,
    },
    /// A message.
    Message(FromAgent),
    /// The link ended, or could not be made.
    Down {
        /// Why.
        why: String,
    },
}

/// The addresses of the nodes whose agents have a link.
#[derive(Clone, Debug, Default)]
pub(crate) struct Alive(Arc<Mutex<BTreeSet<IpAddr>>>);

impl Alive {
    /// Whether the node's agent has a link.
    pub(crate) fn has(&self, node: IpAddr) -> bool {
        let alive = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        alive.contains(&node)
    }

    fn set(&self, node: IpAddr, is: bool) {
        let mut alive = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if is {
            alive.insert(node);
        } else {
            alive.remove(&node);
        }
    }
}

/// All links.
#[derive(Debug)]
pub(crate) struct Agents {
    identity: Option<Arc<Identity>>,
    links: BTreeMap<IpAddr, Link>,
    alive: Alive,
    said: mpsc::Receiver<(IpAddr, Said)>,
    sender: mpsc::Sender<(IpAddr, Said)>,
}

#[derive(Debug)]
struct Link {
    name: String,
    at: SocketAddr,
    orders: mpsc::Sender<ToAgent>,
    task: JoinHandle<()>,
    features: Vec<String>,
    /// Why there is none, as it was logged last.
    why: Option<String>,
    report: Option<Report>,
    processes: BTreeMap<String, ProcessStatus>,
}

impl Link {
    fn has(&mut self, process: &ProcessStatus) {
        self.processes.insert(process.key.clone(), process.clone());
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Agents {
    /// Reads the certificates, and makes the links.
    pub(crate) fn new(config: &Config) -> Result<Self, Error> {
        let identity = match &config.agents {
            Some(agents) => Some(Arc::new(Identity::load(
                &agents.ca,
                &agents.certificate,
                &agents.key,
            )?)),
            None => None,
        };
        let (sender, said) = mpsc::channel(WAITING_MAX);
        let mut agents = Self {
            identity,
            links: BTreeMap::new(),
            alive: Alive::default(),
            said,
            sender,
        };
        agents.set(config);
        Ok(agents)
    }

    /// Has a link to each node that the configuration gives an agent. Those that did not change stay.
    pub(crate) fn set(&mut self, config: &Config) {
        let (Some(identity), Some(agents)) = (&self.identity, &config.agents) else {
            return;
        };
        let mut old = std::mem::take(&mut self.links);
        for node in config.nodes.iter().filter(|node| node.agent) {
            let port = node.agent_port.unwrap_or(agents.port);
            let at = SocketAddr::new(node.address, port);
            let same = |link: &Link| link.at == at && link.name == node.name;
            if let Some(link) = old.remove(&node.address).filter(same) {
                self.links.insert(node.address, link);
                continue;
            }
            self.alive.set(node.address, false);
            let (orders, taken) = mpsc::channel(ORDERS_MAX);
            let task = tokio::spawn(link::keep(link::Ends {
                at,
                name: node.name.clone(),
                identity: Arc::clone(identity),
                report: agents.report,
                orders: taken,
                said: self.sender.clone(),
            }));
            let link = Link {
                name: node.name.clone(),
                at,
                orders,
                task,
                features: Vec::new(),
                why: None,
                report: None,
                processes: BTreeMap::new(),
            };
            self.links.insert(node.address, link);
        }
        for node in old.keys() {
            self.alive.set(*node, false);
        }
    }

    /// Who has a link, for checks.
    pub(crate) fn alive(&self) -> Alive {
        self.alive.clone()
    }

    /// What the next link says. Never ends where there are none.
    pub(crate) async fn next(&mut self) -> (IpAddr, Said) {
        match self.said.recv().await {
            Some(said) => said,
            // It has a sender of its own.
            None => std::future::pending().await,
        }
    }

    /// Takes note of what a link said. Returns whether it is one of those that there are.
    pub(crate) fn note(&mut self, node: IpAddr, said: &Said) -> bool {
        let Some(link) = self.links.get_mut(&node) else {
            return false;
        };
        match said {
            Said::Up { features } => {
                info!(node = link.name, "its agent is there");
                link.features.clone_from(features);
                link.why = None;
                self.alive.set(node, true);
            }
            Said::Down { why } => {
                if link.why.as_ref() != Some(why) {
                    warn!(node = link.name, "no link to its agent: {why}");
                }
                link.features.clear();
                link.why = Some(why.clone());
                link.report = None;
                link.processes.clear();
                self.alive.set(node, false);
            }
            Said::Message(FromAgent::Report { report, .. }) => link.report = Some(report.clone()),
            Said::Message(FromAgent::ProcessChanged { process }) => link.has(process),
            Said::Message(FromAgent::Processes { list, .. }) => {
                for process in list {
                    link.has(process);
                }
            }
            Said::Message(_) => {}
        }
        true
    }

    /// Whether a node's agent has a link.
    pub(crate) fn has_link(&self, node: IpAddr) -> bool {
        self.alive.has(node)
    }

    /// Whether a node's agent can do something.
    pub(crate) fn can(&self, node: IpAddr, feature: &str) -> bool {
        let link = self.links.get(&node);
        link.is_some_and(|link| link.features.iter().any(|name| name == feature))
    }

    /// Why a process of a node is as it is; empty where there is nothing to say.
    pub(crate) fn process_why(&self, node: IpAddr, process: &str) -> String {
        let link = self.links.get(&node);
        let status = link.and_then(|link| link.processes.get(process));
        status.map(|status| status.why.clone()).unwrap_or_default()
    }

    /// Orders something of a node's agent. Returns whether it was passed on.
    pub(crate) fn order(&self, node: IpAddr, message: ToAgent) -> bool {
        let link = self.links.get(&node);
        link.is_some_and(|link| link.orders.try_send(message).is_ok())
    }
}
