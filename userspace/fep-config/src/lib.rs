// SPDX-License-Identifier: GPL-2.0

//! fepd's configuration file, `fep.toml`: what it may say, and every mistake in it at once.
//!
//! [`Config::parse`] is the only way in: what it returns has been checked as a whole, so that the
//! daemon needs no second look. A mistake names the file, the line and column, the key and the rule
//! (`docs/fep-toml.md` lists them).

#![forbid(unsafe_code)]

mod check;
mod daemon;
mod node;
mod process;
mod reader;
mod service;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fep_client::{DeviceName, NodeAddr};

pub use check::{Check, Http, Kind, Pattern, Statuses};
pub use daemon::{Agents, Daemon};
pub use node::{Group, Node};
pub use process::Process;
pub use service::{Member, Service};

/// A configuration that has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What the daemon itself needs.
    pub daemon: Daemon,
    /// The devices that the filter is attached to; `None` leaves them as they are.
    pub devices: Option<Vec<DeviceName>>,
    /// The limit of the allocated-route table; `None` leaves it as it is.
    pub limit: Option<u32>,
    /// How agents are reached; `None` where there are none.
    pub agents: Option<Agents>,
    /// The back-end nodes.
    pub nodes: Vec<Node>,
    /// Groups of nodes that hold the same content (requirement D5).
    pub groups: Vec<Group>,
    /// When the ratio of a node changes with its load.
    pub load: fep_control::load::Rules,
    /// The services.
    pub services: Vec<Service>,
}

/// Something that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The key, with the keys around it: `service[2].health.fall`. Empty for the file as a whole.
    pub key: String,
    /// The rule that is broken.
    pub rule: String,
}

/// All that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems {
    /// The file.
    pub file: PathBuf,
    /// The problems, in the order of the file; one at least.
    pub problems: Vec<Problem>,
}

/// Why a file was not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be read.
    #[error("{}: {source}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It has mistakes.
    #[error(transparent)]
    Wrong(#[from] Problems),
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            if at > 0 {
                writeln!(f)?;
            }
            let Problem {
                line,
                column,
                key,
                rule,
            } = problem;
            write!(f, "{}:{line}:{column}: ", self.file.display())?;
            if !key.is_empty() {
                write!(f, "{key}: ")?;
            }
            f.write_str(rule)?;
        }
        Ok(())
    }
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// [`Error::Unreadable`], or [`Error::Wrong`] with every mistake in it.
    pub fn load(file: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(file).map_err(|source| Error::Unreadable {
            file: file.to_owned(),
            source,
        })?;
        Ok(Self::parse(file, &text)?)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    ///
    /// Every mistake in it.
    pub fn parse(file: &Path, text: &str) -> Result<Self, Problems> {
        reader::read(text).map_err(|problems| Problems {
            file: file.to_owned(),
            problems,
        })
    }

    /// The node of a name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.nodes.iter().find(|node| node.name == name)
    }

    /// What the filter holds when every node is well and nothing was decided yet.
    pub fn filter(&self) -> fep_client::Config {
        fep_client::Config {
            devices: self.devices.clone(),
            limit: self.limit,
            services: Some(self.services.iter().map(Service::filter).collect()),
        }
    }
}

/// A duration as the file writes it: `800ms`, `3s`, `1m 30s`.
pub fn shown(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// The address of a node on a port.
pub(crate) fn on(address: std::net::IpAddr, port: u16) -> NodeAddr {
    NodeAddr { address, port }
}
