// SPDX-License-Identifier: GPL-2.0

//! A snapshot for Prometheus, in its text format 0.0.4.

use std::fmt::Write;

use crate::{Agent, MemberState, NodeState, ProcessState, Snapshot};

/// Labels with their values.
type Labels<'a> = &'a [(&'a str, &'a str)];

/// Writes metrics, all samples of one together as the format wants it.
struct Writer(String);

impl Writer {
    /// Begins a metric.
    fn metric(&mut self, name: &str, help: &str) {
        self.typed(name, "gauge", help);
    }

    fn typed(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Adds a sample.
    fn sample(&mut self, name: &str, labels: Labels<'_>, value: impl std::fmt::Display) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            self.0.push(if at == 0 { '{' } else { ',' });
            let _ = write!(self.0, "{label}=\"{}\"", escaped(text));
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _ = writeln!(self.0, " {value}");
    }

    /// A metric of one sample.
    fn one(&mut self, name: &str, help: &str, value: impl std::fmt::Display) {
        self.metric(name, help);
        self.sample(name, &[], value);
    }
}

/// A label's value, as the format wants it.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

/// Thousandths as a fraction of one.
fn ratio(permille: u32) -> f64 {
    f64::from(permille) / 1000.0
}

/// Milliseconds as seconds.
fn seconds(millis: u64) -> String {
    format!("{}.{:03}", millis / 1000, millis % 1000)
}

/// A snapshot in the text format of Prometheus: content type `text/plain; version=0.0.4`.
pub fn metrics(snapshot: &Snapshot) -> String {
    let mut out = Writer(String::new());
    daemon(&mut out, snapshot);
    nodes(&mut out, snapshot);
    services(&mut out, snapshot);
    members(&mut out, snapshot);
    processes(&mut out, snapshot);
    out.0
}

fn daemon(out: &mut Writer, snapshot: &Snapshot) {
    let daemon = &snapshot.daemon;
    out.metric("fep_daemon_info", "The version of fepd; always 1.");
    out.sample("fep_daemon_info", &[("version", &daemon.version)], 1);
    out.one(
        "fep_daemon_uptime_seconds",
        "fepd runs for so long.",
        seconds(daemon.uptime_ms),
    );
    let problem = daemon
        .reload
        .as_ref()
        .and_then(|reload| reload.problem.as_ref());
    out.one(
        "fep_config_in_force",
        "1 if the configuration file as it was read last is in force, 0 if it was refused.",
        u8::from(problem.is_none()),
    );
    out.one(
        "fep_filter_in_sync",
        "1 if the filter took what it should hold.",
        u8::from(daemon.trouble.is_none()),
    );
    out.one(
        "fep_state_kept",
        "1 if the state file could be written.",
        u8::from(daemon.state_trouble.is_none()),
    );
    out.one(
        "fep_generation",
        "The generation of the filter's configuration.",
        daemon.generation,
    );
    out.one("fep_routes", "Allocated routes.", daemon.routes);
    out.one(
        "fep_routes_limit",
        "How many routes there may be.",
        daemon.routes_limit,
    );
}

fn nodes(out: &mut Writer, snapshot: &Snapshot) {
    out.metric(
        "fep_node_state",
        "1 for the state that a node is in, 0 for others.",
    );
    for node in &snapshot.nodes {
        for state in NodeState::ALL {
            let labels = [("node", node.name.as_str()), ("state", state.name())];
            out.sample("fep_node_state", &labels, u8::from(node.state == *state));
        }
    }
    out.metric("fep_node_routes", "Allocated routes to a node.");
    for node in &snapshot.nodes {
        out.sample("fep_node_routes", &[("node", &node.name)], node.routes);
    }
    out.metric("fep_node_agent_up", "1 if the agent of a node answers.");
    for node in snapshot
        .nodes
        .iter()
        .filter(|node| node.agent != Agent::None)
    {
        let up = u8::from(node.agent == Agent::Alive);
        out.sample("fep_node_agent_up", &[("node", &node.name)], up);
    }
    out.metric(
        "fep_node_load_ratio",
        "Load of a node as a share of what it can do, smoothed.",
    );
    for node in &snapshot.nodes {
        if let Some(load) = node.load_permille {
            out.sample("fep_node_load_ratio", &[("node", &node.name)], ratio(load));
        }
    }
}

fn services(out: &mut Writer, snapshot: &Snapshot) {
    out.metric("fep_service_routes", "Allocated routes of a service.");
    for service in &snapshot.services {
        let labels = [("service", service.service.as_str())];
        out.sample("fep_service_routes", &labels, service.routes);
    }
    out.metric(
        "fep_service_alarm",
        "1 if somebody should look at a service.",
    );
    for service in &snapshot.services {
        let labels = [("service", service.service.as_str())];
        out.sample(
            "fep_service_alarm",
            &labels,
            u8::from(service.alarm.is_some()),
        );
    }
    out.metric("fep_service_nodes", "Nodes of a service in a state.");
    for service in &snapshot.services {
        for state in MemberState::ALL {
            let of = service
                .members
                .iter()
                .filter(|member| member.state == *state);
            let labels = [
                ("service", service.service.as_str()),
                ("state", state.name()),
            ];
            out.sample("fep_service_nodes", &labels, of.count());
        }
    }
}

fn members(out: &mut Writer, snapshot: &Snapshot) {
    type Value = fn(&crate::Member) -> Option<String>;
    let metrics: [(&str, &str, Value); 7] = [
        (
            "fep_member_routes",
            "Allocated routes of a service to a node.",
            |member| Some(member.routes.to_string()),
        ),
        (
            "fep_member_weight",
            "Weight of a node in the configuration.",
            |member| Some(member.weight.to_string()),
        ),
        (
            "fep_member_weight_now",
            "Weight of a node in the filter.",
            |member| Some(member.weight_now.to_string()),
        ),
        (
            "fep_member_share_asked",
            "Share of a service's clients that a node should get.",
            |member| Some(ratio(member.asked_permille).to_string()),
        ),
        (
            "fep_member_share_achieved",
            "Share of a service's clients that a node got.",
            |member| Some(ratio(member.achieved_permille?).to_string()),
        ),
        (
            "fep_member_check_good",
            "1 if the last check of a node was good.",
            |member| Some(u8::from(member.check.as_ref()?.problem.is_none()).to_string()),
        ),
        (
            "fep_member_check_age_seconds",
            "Time since the last check of a node.",
            |member| Some(seconds(member.check.as_ref()?.age_ms)),
        ),
    ];
    for (name, help, value) in metrics {
        out.metric(name, help);
        for service in &snapshot.services {
            for member in &service.members {
                let labels = [
                    ("service", service.service.as_str()),
                    ("node", &member.node),
                    ("address", &member.address),
                ];
                if let Some(value) = value(member) {
                    out.sample(name, &labels, value);
                }
            }
        }
    }
}

fn processes(out: &mut Writer, snapshot: &Snapshot) {
    out.metric(
        "fep_process_instances",
        "Nodes on which a server process is in a state.",
    );
    for process in &snapshot.processes {
        for state in ProcessState::ALL {
            let of = process
                .instances
                .iter()
                .filter(|other| other.state == *state);
            let labels = [("process", process.name.as_str()), ("state", state.name())];
            out.sample("fep_process_instances", &labels, of.count());
        }
    }
    out.typed(
        "fep_process_restarts_total",
        "counter",
        "How often a server process was started again after it ended by itself.",
    );
    for process in &snapshot.processes {
        for instance in &process.instances {
            let labels = [("process", process.name.as_str()), ("node", &instance.node)];
            out.sample("fep_process_restarts_total", &labels, instance.restarts);
        }
    }
}
