// SPDX-License-Identifier: GPL-2.0

//! `[daemon]` and `[agents]`: what fepd itself needs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::reader::Section;

/// The daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// The unix socket for fepctl.
    pub socket: PathBuf,
    /// The file that keeps what has to outlive the daemon.
    pub state: PathBuf,
    /// Where metrics and the status page are; `None` for nowhere.
    pub http: Option<SocketAddr>,
}

/// How the agents on the nodes are reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agents {
    /// The certificate of the authority that signs all others.
    pub ca: PathBuf,
    /// The front-end's certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The port of an agent unless its node says otherwise.
    pub port: u16,
    /// How often an agent reports its load.
    pub report: Duration,
}

/// The port of an agent.
pub(crate) const AGENT_PORT: u16 = 7600;

impl Daemon {
    pub(crate) fn read(top: &mut Section<'_>) -> Self {
        let mut daemon = Self {
            socket: "/run/fep/fepd.sock".into(),
            state: "/var/lib/fep/fepd.json".into(),
            http: None,
        };
        let Some(mut section) = top.section("daemon") else {
            return daemon;
        };
        for (key, path) in [("socket", &mut daemon.socket), ("state", &mut daemon.state)] {
            if let Some(named) = absolute(&mut section, key) {
                *path = named;
            }
        }
        daemon.http = section.parsed("http");
        let remote = section.flag("http_beyond_loopback").unwrap_or(false);
        if daemon.http.is_some_and(|http| !http.ip().is_loopback()) && !remote {
            section.wrong(
                "http",
                "is not a loopback address; anybody who reaches it sees the state of the cluster: \
                 http_beyond_loopback = true allows it",
            );
        }
        section.finish();
        daemon
    }
}

impl Agents {
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        let mut file = |key| {
            if !section.has(key) {
                section.wrong(key, "is missing");
            }
            absolute(section, key).unwrap_or_default()
        };
        let (ca, certificate, key) = (file("ca"), file("certificate"), file("key"));
        let (least, most) = (Duration::from_millis(100), Duration::from_secs(60));
        Self {
            ca,
            certificate,
            key,
            port: port(section, "port").unwrap_or(AGENT_PORT),
            report: section
                .duration("report", least..=most)
                .unwrap_or(Duration::from_secs(1)),
        }
    }
}

/// A file by its whole path: the daemon has no folder that one could rely on.
pub(crate) fn absolute(section: &mut Section<'_>, key: &'static str) -> Option<PathBuf> {
    let path = PathBuf::from(section.text(key)?);
    if path.is_absolute() {
        return Some(path);
    }
    section.wrong(key, "is not a path from the root, such as /etc/fep/file");
    None
}

/// A port.
pub(crate) fn port(section: &mut Section<'_>, key: &'static str) -> Option<u16> {
    let port = section.integer(key, 1..=u16::MAX.into())?;
    u16::try_from(port).ok()
}
