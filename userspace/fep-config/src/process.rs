// SPDX-License-Identifier: GPL-2.0

//! `[service.process]`: the server process of a service, which the agents start and stop
//! (requirement F10). What is run is configured at each node, in its agent's file.

use std::time::Duration;

use crate::node::{name, names, Node};
use crate::reader::Section;
use crate::service::Member;

/// A server process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its key in the files of the agents.
    pub name: String,
    /// It has to be ready after so long.
    pub start_timeout: Duration,
    /// It has to have ended so long after it was told to.
    pub stop_timeout: Duration,
    /// The nodes that may be given one, by name; none of them is a node of the service already.
    pub candidates: Vec<String>,
    /// All nodes have to be overloaded for so long before another is started.
    pub start_after: Duration,
    /// Load has to be low for so long before one is taken away.
    pub stop_after: Duration,
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl Process {
    pub(crate) fn read(
        mut section: Section<'_>,
        nodes: &[Node],
        members: &[Member],
    ) -> Option<Self> {
        let found = name(&mut section, "name");
        let mut time = |key, otherwise| {
            section
                .duration(key, Duration::from_millis(100)..=seconds(3600))
                .unwrap_or(otherwise)
        };
        let (start_timeout, stop_timeout) = (
            time("start_timeout", seconds(30)),
            time("stop_timeout", seconds(30)),
        );
        let (start_after, stop_after) = (
            time("start_after", seconds(10)),
            time("stop_after", seconds(60)),
        );
        let process = Self {
            name: found?,
            start_timeout,
            stop_timeout,
            candidates: candidates(&mut section, nodes, members),
            start_after,
            stop_after,
        };
        section.finish();
        Some(process)
    }
}

/// The nodes that the file names; else all that have an agent and are not nodes of the service.
fn candidates(section: &mut Section<'_>, nodes: &[Node], members: &[Member]) -> Vec<String> {
    let is_member = |name: &str| members.iter().any(|member| member.node == name);
    if !section.has("candidates") {
        let free = nodes
            .iter()
            .filter(|node| node.agent && !is_member(&node.name));
        return free.map(|node| node.name.clone()).collect();
    }
    let found = names(section, "candidates", nodes);
    for name in &found {
        if is_member(name) {
            section.wrong(
                "candidates",
                format_args!("{name} is a node of the service already"),
            );
        }
        if nodes.iter().any(|node| node.name == *name && !node.agent) {
            section.wrong("candidates", format_args!("node {name} has no agent"));
        }
    }
    found
}
