// SPDX-License-Identifier: GPL-2.0

//! `[[node]]` and `[[group]]`: the back-end nodes, and which of them hold the same content.

use std::net::IpAddr;

use crate::daemon::port;
use crate::reader::Section;

/// A back-end node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name; also the name in its agent's certificate.
    pub name: String,
    /// Its address on the internal network.
    pub address: IpAddr,
    /// Whether it has an agent.
    pub agent: bool,
    /// The port of its agent, where it is not the one of all.
    pub agent_port: Option<u16>,
    /// Decides between nodes of equal load; the lower number comes first (requirement D3).
    pub priority: u32,
}

/// Nodes that hold the same content (requirement D5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// The names of its nodes.
    pub nodes: Vec<String>,
}

/// The longest name.
const NAME_LEN: usize = 63;

/// A name of a node, a group or a process, as certificates and commands can have it.
pub(crate) fn name(section: &mut Section<'_>, key: &'static str) -> Option<String> {
    let name = section.needed_text(key)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if name.len() > NAME_LEN || !name.chars().all(plain) || name.starts_with('-') {
        section.wrong(
            key,
            format_args!(
                "is not a name: up to {NAME_LEN} letters, digits, \"-\", \".\", \"_\", no \"-\" in front"
            ),
        );
        return None;
    }
    Some(name)
}

pub(crate) fn read_nodes(top: &mut Section<'_>) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    for mut section in top.sections("node") {
        let found = name(&mut section, "name");
        let address: Option<IpAddr> = section.needed("address");
        let node = Node {
            name: found.clone().unwrap_or_default(),
            address: address.unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED)),
            agent: section.flag("agent").unwrap_or(false),
            agent_port: port(&mut section, "agent_port"),
            priority: section
                .integer("priority", 0..=fep_uapi::PRIORITY_MAX)
                .unwrap_or(0),
        };
        if nodes
            .iter()
            .any(|other| found.is_some() && other.name == node.name)
        {
            section.wrong("name", format_args!("there is another node {}", node.name));
        }
        let same = nodes.iter().find(|other| other.address == node.address);
        if let (Some(address), Some(other)) = (address, same) {
            section.wrong(
                "address",
                format_args!("node {} has {address}, too", other.name),
            );
        }
        if address.is_some_and(|address| address.is_unspecified() || address.is_multicast()) {
            section.wrong("address", "is not the address of one node");
        }
        section.finish();
        if found.is_some() && address.is_some() {
            nodes.push(node);
        }
    }
    nodes
}

pub(crate) fn read_groups(top: &mut Section<'_>, nodes: &[Node]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for mut section in top.sections("group") {
        let found = name(&mut section, "name");
        let members = names(&mut section, "nodes", nodes);
        if members.is_empty() && !section.has("nodes") {
            section.wrong("nodes", "is missing");
        }
        if let Some(found) = found {
            if groups.iter().any(|other| other.name == found) {
                section.wrong("name", format_args!("there is another group {found}"));
            }
            groups.push(Group {
                name: found,
                nodes: members,
            });
        }
        section.finish();
    }
    groups
}

/// Names of nodes that there are, each once.
pub(crate) fn names(section: &mut Section<'_>, key: &'static str, nodes: &[Node]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (start, name) in section.texts(key) {
        if !nodes.iter().any(|node| node.name == name) {
            section.wrong_at(start, key, format_args!("there is no node \"{name}\""));
        } else if names.contains(&name) {
            section.wrong_at(start, key, format_args!("node {name} is listed twice"));
        } else {
            names.push(name);
        }
    }
    names
}
