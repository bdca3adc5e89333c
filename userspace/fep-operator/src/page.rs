// SPDX-License-Identifier: GPL-2.0

//! A snapshot as a page for people: one file of HTML without script or anything from elsewhere.

use std::fmt::Write;

use crate::{Check, Group, Member, Node, Process, Service, Snapshot};

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:15px/1.45 system-ui,sans-serif;margin:1.5rem auto;max-width:72rem;padding:0 1rem}\
h1{font-size:1.4rem}h2{font-size:1.1rem;margin:1.6rem 0 .3rem}\
table{border-collapse:collapse;width:100%}\
th,td{padding:.2rem .6rem;text-align:left;border-bottom:1px solid #8884;vertical-align:top}\
th{font-weight:600;color:#777}.n{text-align:right;font-variant-numeric:tabular-nums}\
.good{color:#197a35}.warn{color:#a06000}.bad{color:#c0261c;font-weight:600}.alarm{border-left:4px solid #c0261c;padding:.3rem .8rem}\
@media(prefers-color-scheme:dark){.good{color:#5cc77a}.warn{color:#e0a040}.bad{color:#ff7b72}}\
@media(max-width:40rem){table{display:block;overflow-x:auto}}";

/// A text inside HTML, in an element or in an attribute's quotes.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // Not of HTML's characters.
            '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{7f}'..='\u{9f}' => {
                safe.push('\u{fffd}');
            }
            other => safe.push(other),
        }
    }
    safe
}

/// How good a state is, by its name.
fn class(state: &str) -> &'static str {
    match state {
        "up" | "ready" | "alive" | "done" | "good" => "good",
        "failed" | "kept" | "late" => "bad",
        "idle" | "none" | "stopped" => "",
        _ => "warn",
    }
}

/// A cell.
enum Cell<'a> {
    Text(&'a str),
    /// A state, and why.
    State(&'a str, &'a str),
    Number(String),
}

struct Page(String);

impl Page {
    // Writing to a string does not fail.
    fn heading(&mut self, text: &str) {
        let _ = writeln!(self.0, "<h2>{}</h2>", escaped(text));
    }

    fn alarm(&mut self, text: &str) {
        let _ = writeln!(self.0, "<p class=\"alarm bad\">{}</p>", escaped(text));
    }

    fn note(&mut self, text: &str) {
        let _ = writeln!(self.0, "<p>{}</p>", escaped(text));
    }

    /// A table; the headings that begin with `#` are of numbers.
    fn table<'a>(&mut self, headings: &[&str], rows: impl IntoIterator<Item = Vec<Cell<'a>>>) {
        self.0.push_str("<table>\n<thead><tr>");
        for heading in headings {
            let _ = match heading.strip_prefix('#') {
                Some(number) => write!(self.0, "<th scope=\"col\" class=\"n\">{number}</th>"),
                None => write!(self.0, "<th scope=\"col\">{heading}</th>"),
            };
        }
        self.0.push_str("</tr></thead>\n<tbody>\n");
        for row in rows {
            self.0.push_str("<tr>");
            for cell in row {
                let _ = match cell {
                    Cell::Text(text) => write!(self.0, "<td>{}</td>", escaped(text)),
                    Cell::Number(text) => {
                        write!(self.0, "<td class=\"n\">{}</td>", escaped(&text))
                    }
                    Cell::State(state, why) => {
                        let rest = if why.is_empty() { "" } else { ": " };
                        let class = class(state);
                        write!(
                            self.0,
                            "<td><span class=\"{class}\">{}</span>{rest}{}</td>",
                            escaped(state),
                            escaped(why)
                        )
                    }
                };
            }
            self.0.push_str("</tr>\n");
        }
        self.0.push_str("</tbody>\n</table>\n");
    }
}

fn percent(permille: Option<u32>) -> Cell<'static> {
    Cell::Number(permille.map_or_else(String::new, |permille| {
        format!("{}.{} %", permille / 10, permille % 10)
    }))
}

/// A time as people say it.
fn shown(millis: u64) -> String {
    let seconds = millis / 1000;
    match seconds {
        0..=9 => format!("{seconds}.{} s", millis % 1000 / 100),
        10..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// A snapshot as one page of HTML in UTF-8, which loads itself again every five seconds.
pub fn status_page(snapshot: &Snapshot) -> String {
    let daemon = &snapshot.daemon;
    let mut page = Page(format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <meta http-equiv=\"refresh\" content=\"5\">\n<title>fep</title>\n<style>{STYLE}</style>\n\
         </head>\n<body>\n<h1>fep</h1>\n"
    ));
    page.note(&format!(
        "fepd {}, runs for {}; {} of {} routes; generation {}; {}",
        daemon.version,
        shown(daemon.uptime_ms),
        daemon.routes,
        daemon.routes_limit,
        daemon.generation,
        daemon.config
    ));
    if let Some(trouble) = &daemon.trouble {
        page.alarm(&format!("The filter is not as it should be: {trouble}"));
    }
    if let Some(trouble) = &daemon.state_trouble {
        page.alarm(&format!("The state is not kept: {trouble}"));
    }
    if let Some(problem) = daemon
        .reload
        .as_ref()
        .and_then(|last| last.problem.as_ref())
    {
        page.alarm(&format!("The configuration was refused: {problem}"));
    }
    page.heading("Nodes");
    nodes(&mut page, &snapshot.nodes);
    for service in &snapshot.services {
        services(&mut page, service);
    }
    for group in &snapshot.groups {
        groups(&mut page, group);
    }
    for process in &snapshot.processes {
        processes(&mut page, process);
    }
    page.0.push_str("</body>\n</html>\n");
    page.0
}

fn nodes(page: &mut Page, nodes: &[Node]) {
    let headings = [
        "Node", "Address", "State", "Agent", "#Load", "#Routes", "Next",
    ];
    let rows = nodes.iter().map(|node| {
        vec![
            Cell::Text(&node.name),
            Cell::Text(&node.address),
            Cell::State(node.state.name(), &node.why),
            Cell::State(node.agent.name(), ""),
            percent(node.load_permille),
            Cell::Number(node.routes.to_string()),
            Cell::Text(node.next.as_deref().unwrap_or_default()),
        ]
    });
    page.table(&headings, rows);
}

fn services(page: &mut Page, service: &Service) {
    page.heading(&service.service);
    if let Some(alarm) = &service.alarm {
        page.alarm(alarm);
    }
    let headings = [
        "Node",
        "Serves at",
        "State",
        "#Weight",
        "#Asked",
        "#Achieved",
        "#Routes",
        "Check",
        "#Ago",
        "Next",
    ];
    page.table(&headings, service.members.iter().map(member));
}

fn member(member: &Member) -> Vec<Cell<'_>> {
    let check = match &member.check {
        None => Cell::Text(""),
        Some(Check { problem: None, .. }) => Cell::State("good", ""),
        Some(Check {
            problem: Some(why), ..
        }) => Cell::State("failed", why),
    };
    let age = member.check.as_ref().map(|check| shown(check.age_ms));
    vec![
        Cell::Text(&member.node),
        Cell::Text(&member.address),
        Cell::State(member.state.name(), &member.why),
        Cell::Number(format!("{} / {}", member.weight_now, member.weight)),
        percent(Some(member.asked_permille)),
        percent(member.achieved_permille),
        Cell::Number(member.routes.to_string()),
        check,
        Cell::Number(age.unwrap_or_default()),
        Cell::Text(member.next.as_deref().unwrap_or_default()),
    ]
}

fn groups(page: &mut Page, group: &Group) {
    page.heading(&format!("Group {}", group.name));
    let rows = group.nodes.iter().map(|node| {
        let best = group.best.as_ref() == Some(&node.node);
        vec![
            Cell::Text(&node.node),
            Cell::State(if node.running { "up" } else { "failed" }, ""),
            percent(node.load_permille),
            Cell::Number(node.priority.to_string()),
            Cell::Text(if best { "gets the next client" } else { "" }),
        ]
    });
    page.table(&["Node", "Running", "#Load", "#Priority", ""], rows);
}

fn processes(page: &mut Page, process: &Process) {
    page.heading(&format!("Process {} of {}", process.name, process.service));
    let rows = process.instances.iter().map(|instance| {
        vec![
            Cell::Text(&instance.node),
            Cell::State(instance.state.name(), &instance.why),
            Cell::Number(instance.restarts.to_string()),
            Cell::Text(instance.next.as_deref().unwrap_or_default()),
        ]
    });
    page.table(&["Node", "State", "#Restarts", "Next"], rows);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_safe_in_elements_and_in_quotes() {
        assert_eq!(
            escaped("<a b=\"c\" d='e'>&"),
            "&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;"
        );
    }
}
