// SPDX-License-Identifier: GPL-2.0

//! `[service.process]`: the server process of a service, which the agents start and stop
//! (requirement F10).

use std::collections::BTreeMap;
use std::time::Duration;

use crate::check::command;
use crate::daemon::port;
use crate::node::{name, names, Node};
use crate::reader::Section;
use crate::service::Member;

/// A server process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// What the agents know it by.
    pub name: String,
    /// What is run.
    pub run: Run,
    /// How one sees that it is ready.
    pub ready: Ready,
    /// It has to be ready after so long.
    pub start_timeout: Duration,
    /// It has so long from the signal to its end.
    pub grace: Duration,
    /// The nodes that may be given one, by name; none of them is a node of the service already.
    pub candidates: Vec<String>,
    /// All nodes have to be overloaded for so long before another is started.
    pub start_after: Duration,
    /// Load has to be low for so long before one is taken away.
    pub stop_after: Duration,
}

/// What is run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Run {
    /// A command.
    Command {
        /// The program and its arguments.
        argv: Vec<String>,
        /// Its environment.
        env: BTreeMap<String, String>,
        /// Who runs it; the agent's own user where there is none.
        user: Option<String>,
        /// The signal that ends it.
        signal: String,
    },
    /// A unit of systemd.
    Unit(String),
}

/// How one sees that a process is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ready {
    /// It is, once it runs.
    Running,
    /// It takes connections on a port.
    Tcp(u16),
    /// It answers a request for a path on a port.
    Http(u16, String),
    /// A command ends with status 0.
    Command(Vec<String>),
}

const SIGNALS: &[(&str, &str)] = &[
    ("TERM", "TERM"),
    ("QUIT", "QUIT"),
    ("INT", "INT"),
    ("HUP", "HUP"),
    ("USR1", "USR1"),
    ("USR2", "USR2"),
];

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl Process {
    pub(crate) fn read(
        mut section: Section<'_>,
        service_port: u16,
        nodes: &[Node],
        members: &[Member],
    ) -> Option<Self> {
        let found = name(&mut section, "name");
        let run = if section.has("unit") {
            if section.has("command") {
                section.wrong("unit", "and command exclude each other");
            }
            let unit = section.text("unit").unwrap_or_default();
            if !unit.ends_with(".service") {
                section.wrong("unit", "is not the name of a unit that ends with .service");
            }
            Run::Unit(unit)
        } else {
            Run::Command {
                argv: command(&mut section, "command"),
                env: environment(&mut section),
                user: section.text("user"),
                signal: section
                    .choice("stop_signal", SIGNALS)
                    .unwrap_or("TERM")
                    .to_owned(),
            }
        };
        let ready = Self::ready(&mut section, service_port);
        let mut time = |key, otherwise| {
            section
                .duration(key, Duration::from_millis(100)..=seconds(3600))
                .unwrap_or(otherwise)
        };
        let process = Self {
            name: found?,
            run,
            ready,
            start_timeout: time("start_timeout", seconds(30)),
            grace: time("grace", seconds(30)),
            start_after: time("start_after", seconds(10)),
            stop_after: time("stop_after", seconds(60)),
            candidates: candidates(&mut section, nodes, members),
        };
        section.finish();
        Some(process)
    }

    fn ready(section: &mut Section<'_>, service_port: u16) -> Ready {
        #[derive(Clone, Copy)]
        enum Word {
            Running,
            Tcp,
            Http,
            Command,
        }
        let words = [
            ("running", Word::Running),
            ("tcp", Word::Tcp),
            ("http", Word::Http),
            ("command", Word::Command),
        ];
        match section.choice("ready", &words).unwrap_or(Word::Tcp) {
            Word::Running => Ready::Running,
            Word::Tcp => Ready::Tcp(port(section, "ready_port").unwrap_or(service_port)),
            Word::Http => Ready::Http(
                port(section, "ready_port").unwrap_or(service_port),
                section.text("ready_path").unwrap_or_else(|| "/".to_owned()),
            ),
            Word::Command => Ready::Command(command(section, "ready_command")),
        }
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

/// `NAME=value` texts.
fn environment(section: &mut Section<'_>) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (start, text) in section.texts("env") {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                if all.insert(name.to_owned(), value.to_owned()).is_some() {
                    section.wrong_at(start, "env", format_args!("{name} is there twice"));
                }
            }
            _ => section.wrong_at(start, "env", format_args!("\"{text}\" is not NAME=VALUE")),
        }
    }
    all
}
