// SPDX-License-Identifier: GPL-2.0

//! The configuration file: what it may hold, and where an error in it is.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use fep_protocol::Identity;
use serde::Deserialize;
use toml::Spanned;

use crate::process::spec::{self, Spec};

/// So many front-ends may be configured.
const FRONT_ENDS_MAX: usize = 64;

/// What the agent is configured to be.
#[derive(Debug)]
pub(crate) struct Config {
    /// The name of the node, which its certificate is for.
    pub(crate) node: String,
    /// Where front-ends connect to.
    pub(crate) listen: SocketAddr,
    /// The names of the front-ends, which their certificates are for.
    pub(crate) front_ends: Vec<String>,
    /// Whether connections of other network namespaces are looked for.
    pub(crate) namespaces: bool,
    /// Where the states of the processes are kept, and the processes, by their keys.
    pub(crate) state: Option<PathBuf>,
    pub(crate) processes: BTreeMap<String, Spec>,
    /// Certificates and key.
    pub(crate) identity: Identity,
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    node: Spanned<String>,
    listen: Spanned<String>,
    front_ends: Spanned<Vec<Spanned<String>>>,
    authority: Spanned<PathBuf>,
    certificate: Spanned<PathBuf>,
    key: Spanned<PathBuf>,
    #[serde(default = "yes")]
    namespaces: bool,
    state: Option<Spanned<PathBuf>>,
    #[serde(default)]
    process: BTreeMap<String, Spanned<spec::Written>>,
}

fn yes() -> bool {
    true
}

/// What is wrong with a configuration file: a line for each error, with file, line, key and rule.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Errors(Vec<String>);

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

/// Collects the errors of a file.
struct Checker<'a> {
    path: &'a Path,
    text: &'a str,
    errors: Vec<String>,
}

impl Checker<'_> {
    fn wrong(&mut self, at: usize, key: &str, rule: impl fmt::Display) {
        let line = 1 + self.text.bytes().take(at).filter(|&b| b == b'\n').count();
        let path = self.path.display();
        self.errors.push(format!("{path}:{line}: {key}: {rule}"));
    }

    fn name(&mut self, key: &str, name: &Spanned<String>) {
        let text = name.get_ref();
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if text.is_empty() || text.len() > 253 || !text.chars().all(fits) {
            let rule = "a name has 1 to 253 letters, digits, dots, dashes and underscores";
            self.wrong(name.span().start, key, format!("{text:?}: {rule}"));
        }
    }
}

impl Checker<'_> {
    fn processes(
        &mut self,
        written: BTreeMap<String, Spanned<spec::Written>>,
        state: bool,
    ) -> BTreeMap<String, Spec> {
        let mut specs = BTreeMap::new();
        for (name, process) in written {
            let at = process.span().start;
            let key = format!("process.{name}");
            self.name(&key, &Spanned::new(process.span(), name.clone()));
            if !state {
                self.wrong(
                    at,
                    &key,
                    "a file for its state must be configured as `state`",
                );
            }
            let wrong = |at, part: &str, rule| self.wrong(at, &format!("{key}.{part}"), rule);
            if let Some(spec) = process.into_inner().check(wrong) {
                specs.insert(name, spec);
            }
        }
        specs
    }
}

impl Config {
    /// Reads a file, and the certificates that it names.
    pub(crate) fn load(path: &Path) -> Result<Self, Errors> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Errors(vec![format!("{}: {error}", path.display())]))?;
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, Errors> {
        let mut checker = Checker {
            path,
            text,
            errors: Vec::new(),
        };
        let written: Written = match toml::from_str(text) {
            Ok(written) => written,
            Err(error) => {
                let at = error.span().map_or(0, |span| span.start);
                let key = key_at(text, at);
                checker.wrong(at, key, error.message());
                return Err(Errors(checker.errors));
            }
        };
        checker.name("node", &written.node);
        let listen = written.listen.get_ref().parse::<SocketAddr>();
        if listen.is_err() {
            let rule = "not an address and a port, such as 0.0.0.0:7600 or [::]:7600";
            let text = format!("{:?}: {rule}", written.listen.get_ref());
            checker.wrong(written.listen.span().start, "listen", text);
        }
        let front_ends = written.front_ends.get_ref();
        if front_ends.is_empty() || front_ends.len() > FRONT_ENDS_MAX {
            let rule = format!("{} names (1 to {FRONT_ENDS_MAX})", front_ends.len());
            checker.wrong(written.front_ends.span().start, "front_ends", rule);
        }
        for name in front_ends {
            checker.name("front_ends", name);
        }
        let beside = |file: &Spanned<PathBuf>| {
            path.parent()
                .map_or_else(|| file.get_ref().clone(), |dir| dir.join(file.get_ref()))
        };
        let state = written.state.as_ref().map(beside);
        let processes = checker.processes(written.process, state.is_some());
        let files = [&written.authority, &written.certificate, &written.key];
        let [authority, certificate, key] = files.map(beside);
        let identity = Identity::load(&authority, &certificate, &key);
        match &identity {
            Ok(identity) => {
                let names = identity.names();
                if !names.contains(written.node.get_ref()) {
                    let at = written.certificate.span().start;
                    let rule = format!("it is for {}, not for the node", names.join(", "));
                    checker.wrong(at, "certificate", rule);
                }
            }
            Err(error) => {
                let (at, key) = match error {
                    fep_protocol::Error::File { path, .. } if *path == authority => {
                        (written.authority.span().start, "authority")
                    }
                    fep_protocol::Error::File { path, .. } if *path == key => {
                        (written.key.span().start, "key")
                    }
                    _ => (written.certificate.span().start, "certificate"),
                };
                checker.wrong(at, key, error);
            }
        }
        match (listen, identity) {
            (Ok(listen), Ok(identity)) if checker.errors.is_empty() => Ok(Self {
                node: written.node.into_inner(),
                listen,
                front_ends: written
                    .front_ends
                    .into_inner()
                    .into_iter()
                    .map(Spanned::into_inner)
                    .collect(),
                namespaces: written.namespaces,
                state,
                processes,
                identity,
            }),
            _ => Err(Errors(checker.errors)),
        }
    }
}

/// The key of the line at a place, as it is written.
fn key_at(text: &str, at: usize) -> &str {
    let start = text
        .get(..at)
        .and_then(|before| before.rfind('\n'))
        .map_or(0, |newline| newline + 1);
    let line = text.get(start..).and_then(|rest| rest.lines().next());
    match line.and_then(|line| line.split_once('=')) {
        Some((key, _)) if at > 0 => key.trim(),
        _ => "file",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(text: &str) -> String {
        let path = Path::new("/nowhere/bepd.toml");
        Config::parse(path, text).unwrap_err().to_string()
    }

    #[test]
    fn every_error_has_file_line_key_and_rule() {
        let found = errors(
            "node = \"node 1\"\nlisten = \"7600\"\nfront_ends = [\"fep-1\",\n \"\"]\n\
             authority = \"ca.pem\"\ncertificate = \"n.pem\"\nkey = \"n.key\"\n",
        );
        let lines: Vec<_> = found.lines().collect();
        assert_eq!(lines.len(), 4, "{found}");
        let name = "a name has 1 to 253 letters, digits, dots, dashes and underscores";
        assert_eq!(
            lines[0],
            format!("/nowhere/bepd.toml:1: node: \"node 1\": {name}")
        );
        assert!(lines[1].starts_with("/nowhere/bepd.toml:2: listen: \"7600\": not an address"));
        assert_eq!(
            lines[2],
            format!("/nowhere/bepd.toml:4: front_ends: \"\": {name}")
        );
        assert!(lines[3].starts_with("/nowhere/bepd.toml:5: authority: /nowhere/ca.pem: "));
    }

    #[test]
    fn errors_of_processes_are_placed() {
        let found = errors(
            "node = \"a\"\nlisten = \"[::]:1\"\nfront_ends = [\"f\"]\nauthority = \"c\"\n\
             certificate = \"c\"\nkey = \"c\"\n[process.\"w b\"]\ncommand = \"sh\"\n\
             user = \"no one\"\ngrace_ms = 0\nstop_signal = \"TERM\"\n\
             ready = { http = { address = \"[::1]:80\", path = \"a b\" } }\n",
        );
        for (line, key, rule) in [
            (7, "process.w b", "a name has"),
            (7, "process.w b", "a file for its state"),
            (8, "process.w b.command", "\"sh\": not the whole path"),
            (9, "process.w b.user", "\"no one\": no such user"),
            (10, "process.w b.grace_ms", "0 (1 to 3600000 ms)"),
            (11, "process.w b.stop_signal", "\"TERM\": no signal"),
            (12, "process.w b.ready", "http: \"a b\": not a path"),
        ] {
            let place = format!("/nowhere/bepd.toml:{line}: {key}: ");
            let told = |text: &str| text.starts_with(&place) && text.contains(rule);
            assert!(found.lines().any(told), "{place}{rule} in {found}");
        }
    }

    #[test]
    fn what_is_no_configuration_is_placed_too() {
        let found = errors("node = \"a\"\nlisten = 7600\n");
        assert!(
            found.starts_with("/nowhere/bepd.toml:2: listen: "),
            "{found}"
        );
        let found = errors("node = \"a\"\ncolour = \"red\"\n");
        assert!(
            found.starts_with("/nowhere/bepd.toml:2: colour: "),
            "{found}"
        );
        let found = errors("node = \"a\"\n");
        assert!(found.contains("listen"), "{found}");
    }
}
