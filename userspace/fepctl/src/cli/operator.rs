// SPDX-License-Identifier: GPL-2.0

//! The verbs that fepd is asked for: nodes, groups, server processes, the daemon itself.

use std::net::IpAddr;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::{number, seconds};

/// Verbs of nodes.
#[derive(Debug, Subcommand)]
pub enum Node {
    /// List the nodes: state, load, routes and what fepd does next
    List,
    /// Show a node, and how it is in each of its services
    Show {
        /// Name of the node
        #[arg(value_name = "NODE")]
        node: String,
    },
    /// Have fepd know another node
    Add {
        /// Name of the node, as in its agent's certificate
        #[arg(value_name = "NODE")]
        node: String,
        /// Its address on the internal network
        #[arg(value_name = "ADDRESS")]
        address: IpAddr,
        /// It has an agent
        #[arg(long)]
        agent: bool,
        /// Port of its agent, if not the one of all
        #[arg(long, value_name = "N", requires = "agent", value_parser = clap::value_parser!(u16).range(1..))]
        agent_port: Option<u16>,
        /// Decides between nodes of equal load: the lower number
        #[arg(long, value_name = "N", default_value = "0", value_parser = number)]
        priority: u32,
    },
    /// Have fepd forget a node that serves no service any more
    Del {
        /// Name of the node
        #[arg(value_name = "NODE")]
        node: String,
    },
    /// Take a node out of service without breaking a connection, or put it back
    #[command(subcommand)]
    Maintenance(Maintenance),
}

/// Verbs of maintenance.
#[derive(Debug, Subcommand)]
pub enum Maintenance {
    /// Give a node no new clients
    On {
        /// Name of the node
        #[arg(value_name = "NODE")]
        node: String,
        /// Call it over after so long, whatever connections are left; by default as configured
        #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=86_400))]
        limit: Option<u64>,
        /// Waiting.
        #[command(flatten)]
        wait: Wait,
    },
    /// Give a node its clients back
    Off {
        /// Name of the node
        #[arg(value_name = "NODE")]
        node: String,
    },
}

/// Verbs of groups.
#[derive(Debug, Subcommand)]
pub enum Group {
    /// Show the state table of groups: who runs, load, priority, and who is chosen
    Status {
        /// Only this one
        #[arg(value_name = "GROUP")]
        group: Option<String>,
    },
}

/// Verbs of server processes.
#[derive(Debug, Subcommand)]
pub enum Process {
    /// List the server processes and the nodes that they are on
    List,
    /// Start a server process on one more node
    Start {
        /// Name of the process
        #[arg(value_name = "PROCESS")]
        process: String,
        /// The node; the one with the least load unless given
        #[arg(value_name = "NODE")]
        node: Option<String>,
        /// Waiting.
        #[command(flatten)]
        wait: Wait,
    },
    /// Take a server process away from a node, once no client uses it there
    Stop {
        /// Name of the process
        #[arg(value_name = "PROCESS")]
        process: String,
        /// The node
        #[arg(value_name = "NODE")]
        node: String,
        /// Waiting.
        #[command(flatten)]
        wait: Wait,
    },
}

/// Verbs of the daemon.
#[derive(Debug, Subcommand)]
pub enum Daemon {
    /// Show how fepd is, and whether its file is in force
    Status,
    /// Have fepd read its file again
    Reload,
}

/// Whether to wait.
#[derive(Clone, Copy, Debug, Args)]
pub struct Wait {
    /// Wait until it is done, and say on standard error how far it is
    #[arg(long)]
    pub wait: bool,
    /// Wait no longer than this
    #[arg(long, value_name = "SECONDS", requires = "wait", default_value = "600", value_parser = seconds)]
    pub timeout: Duration,
}
