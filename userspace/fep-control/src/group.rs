// SPDX-License-Identifier: GPL-2.0

//! The state table of a group of servers, and which of them is the best (D2, D3, D5).

use std::collections::BTreeMap;
use std::time::Duration;

use fep_core::rank::{best, lead, Rank};
use serde::Serialize;

/// One row of a state table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Whether it answered in time.
    pub running: bool,
    /// Its load as last answered; only compared.
    pub load: u32,
    /// Its priority; the lower number comes first.
    pub priority: u32,
}

/// The servers that hold the same content, with what is known of each.
#[derive(Clone, Debug)]
pub struct Group<S> {
    limit: Duration,
    servers: BTreeMap<S, Server>,
}

#[derive(Clone, Debug)]
struct Server {
    priority: u32,
    load: Option<u32>,
    /// When it was asked, if it has not answered since.
    asked: Option<Duration>,
}

impl<S: Copy + Ord> Group<S> {
    /// A group of servers with their priorities. One that does not answer within `limit` is not
    /// running.
    pub fn new(limit: Duration, servers: impl IntoIterator<Item = (S, u32)>) -> Self {
        let servers = servers.into_iter().map(|(server, priority)| {
            let server_state = Server {
                priority,
                load: None,
                asked: None,
            };
            (server, server_state)
        });
        Self {
            limit,
            servers: servers.collect(),
        }
    }

    /// Who is to be asked: the servers of this group and no others (D5).
    pub fn servers(&self) -> impl Iterator<Item = S> + '_ {
        self.servers.keys().copied()
    }

    /// The server was asked at `now`.
    pub fn asked(&mut self, server: S, now: Duration) {
        if let Some(server) = self.servers.get_mut(&server) {
            // An older question that was not answered says more.
            server.asked.get_or_insert(now);
        }
    }

    /// The server answered. An answer after the limit says that it runs again.
    pub fn answered(&mut self, server: S, load: u32) {
        if let Some(server) = self.servers.get_mut(&server) {
            server.load = Some(load);
            server.asked = None;
        }
    }

    /// The state table at `now`. A server that never answered is not running.
    pub fn table(&self, now: Duration) -> BTreeMap<S, Row> {
        let row = |server: &Server| Row {
            running: server.load.is_some()
                && server
                    .asked
                    .is_none_or(|asked| now.saturating_sub(asked) <= self.limit),
            load: server.load.unwrap_or(0),
            priority: server.priority,
        };
        self.servers
            .iter()
            .map(|(&name, server)| (name, row(server)))
            .collect()
    }
}

/// The running server with the least load, of equal loads the one with the better priority (D3). This
/// is the order of the filter's scheduler `optimal`.
pub fn optimal<S: Copy + Ord>(table: &BTreeMap<S, Row>) -> Option<S> {
    let mut ranks: Vec<Rank> = (0..)
        .zip(table.values())
        .filter(|(_, row)| row.running)
        .map(|(index, row)| Rank {
            load: row.load,
            priority: row.priority,
            index,
        })
        .collect();
    lead(&mut ranks);
    let index = best(&ranks, |_| true)?;
    table.keys().nth(usize::try_from(index).ok()?).copied()
}

/// The groups by the class of content that they hold (D5).
pub type Groups<S> = BTreeMap<String, Group<S>>;

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(1);
    const NOW: Duration = Duration::from_secs(10);

    fn group(rows: &[(&'static str, u32, u32)]) -> Group<&'static str> {
        let servers = rows.iter().map(|&(server, _, priority)| (server, priority));
        let mut group = Group::new(LIMIT, servers);
        for &(server, load, _) in rows {
            group.asked(server, NOW);
            group.answered(server, load);
        }
        group
    }

    #[test]
    fn the_worked_examples_of_d3() {
        let loads = [("master", 60, 1), ("A", 20, 2), ("B", 50, 3), ("C", 70, 4)];
        assert_eq!(optimal(&group(&loads).table(NOW)), Some("A"));
        let tie = [("master", 60, 1), ("B", 20, 3), ("A", 20, 2), ("C", 70, 4)];
        assert_eq!(optimal(&group(&tie).table(NOW)), Some("A"));
        let better = [("master", 60, 1), ("B", 20, 2), ("A", 20, 3), ("C", 70, 4)];
        assert_eq!(optimal(&group(&better).table(NOW)), Some("B"));
        let two = [("B", 50, 3), ("C", 70, 4)];
        assert_eq!(optimal(&group(&two).table(NOW)), Some("B"));
    }

    #[test]
    fn the_worked_examples_of_d5() {
        let groups: Groups<&str> = [
            ("music", group(&[("master", 99, 1)])),
            ("stills", group(&[("A", 80, 2)])),
            ("films", group(&[("B", 50, 3), ("C", 70, 4)])),
        ]
        .into_iter()
        .map(|(class, group)| (class.to_owned(), group))
        .collect();
        let best = |class: &str| optimal(&groups[class].table(NOW));
        assert_eq!(best("music"), Some("master"), "it is the only one");
        assert_eq!(best("stills"), Some("A"));
        assert_eq!(best("films"), Some("B"));
        let asked: Vec<&str> = groups["films"].servers().collect();
        assert_eq!(asked, ["B", "C"]);
    }

    #[test]
    fn no_answer_within_the_limit_is_not_running() {
        let mut group = group(&[("A", 20, 1), ("B", 50, 2)]);
        group.asked("A", NOW);
        assert_eq!(optimal(&group.table(NOW + LIMIT)), Some("A"));
        let late = NOW + LIMIT + Duration::from_millis(1);
        // Asking again does not give it more time.
        group.asked("A", late);
        assert!(!group.table(late)[&"A"].running);
        assert_eq!(optimal(&group.table(late)), Some("B"));
        group.answered("A", 20);
        assert_eq!(optimal(&group.table(late)), Some("A"));
        let silent = Group::new(LIMIT, [("A", 1)]);
        assert_eq!(optimal(&silent.table(NOW)), None);
    }
}
