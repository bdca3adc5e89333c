// SPDX-License-Identifier: GPL-2.0

//! `[[service.check]]`: how the daemon sees whether a node answers.

use std::path::PathBuf;
use std::time::Duration;

use regex::bytes::Regex;

use crate::daemon::{absolute, port};
use crate::reader::Section;

/// A check of every node of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What is done.
    pub kind: Kind,
    /// The port, where it is not the one that the node serves on. Means nothing to `icmp`, `agent`
    /// and `command`.
    pub port: Option<u16>,
    /// A check without an answer for so long has failed.
    pub timeout: Duration,
}

/// What a check does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The node's agent answers.
    Agent,
    /// The node answers an echo request.
    Icmp,
    /// The node takes a TCP connection.
    Tcp,
    /// The node answers an HTTP request as it should.
    Http(Http),
    /// The node answers a datagram.
    Udp {
        /// What is sent.
        send: Vec<u8>,
        /// What the answer has in it; any answer will do where there is none.
        expect: Option<Pattern>,
    },
    /// A program ends with status 0.
    Command(Vec<String>),
}

/// An HTTP check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// Over TLS.
    pub tls: bool,
    /// Whether the node's certificate has to be good.
    pub verify: bool,
    /// The authorities that it may be signed by; `None` for those of the system.
    pub ca: Option<PathBuf>,
    /// What is asked for.
    pub path: String,
    /// The host that is asked for; the node's address where there is none.
    pub host: Option<String>,
    /// The statuses that are good.
    pub statuses: Statuses,
    /// What the body has in its first 64 KiB.
    pub body: Option<Pattern>,
}

/// Statuses of HTTP from one to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statuses {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

/// A regular expression over bytes.
#[derive(Clone, Debug)]
pub struct Pattern(pub Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl Kind {
    /// Its name in the file.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Icmp => "icmp",
            Self::Tcp => "tcp",
            Self::Http(Http { tls: false, .. }) => "http",
            Self::Http(_) => "https",
            Self::Udp { .. } => "udp",
            Self::Command(_) => "command",
        }
    }
}

/// How long a check may take unless the file says otherwise: with an interval of 800 ms and three
/// bad ones, a silent node is out within three seconds.
const TIMEOUT: Duration = Duration::from_millis(600);

#[derive(Clone, Copy)]
enum Word {
    Agent,
    Icmp,
    Tcp,
    Http,
    Https,
    Udp,
    Command,
}

const WORDS: &[(&str, Word)] = &[
    ("agent", Word::Agent),
    ("icmp", Word::Icmp),
    ("tcp", Word::Tcp),
    ("http", Word::Http),
    ("https", Word::Https),
    ("udp", Word::Udp),
    ("command", Word::Command),
];

impl Check {
    /// A TCP connection: what is checked where the file has no check.
    pub(crate) fn of_tcp() -> Self {
        Self {
            kind: Kind::Tcp,
            port: None,
            timeout: TIMEOUT,
        }
    }

    pub(crate) fn read(mut section: Section<'_>, agents: bool) -> Option<Self> {
        if !section.has("type") {
            section.wrong("type", "is missing");
        }
        let word = section.choice("type", WORDS);
        let kind = word.and_then(|word| Self::kind(&mut section, word, agents));
        let port = match word {
            Some(Word::Agent | Word::Icmp | Word::Command) => None,
            _ => port(&mut section, "port"),
        };
        let (least, most) = (Duration::from_millis(10), Duration::from_secs(60));
        let timeout = section.duration("timeout", least..=most).unwrap_or(TIMEOUT);
        // Without a type one cannot tell what belongs to it.
        if word.is_some() {
            section.finish();
        }
        Some(Self {
            kind: kind?,
            port,
            timeout,
        })
    }

    fn kind(section: &mut Section<'_>, word: Word, agents: bool) -> Option<Kind> {
        Some(match word {
            Word::Agent => {
                if !agents {
                    section.wrong("type", "is \"agent\", but the file has no [agents]");
                }
                Kind::Agent
            }
            Word::Icmp => Kind::Icmp,
            Word::Tcp => Kind::Tcp,
            Word::Http => Kind::Http(Http::read(section, false)),
            Word::Https => Kind::Http(Http::read(section, true)),
            Word::Udp => Kind::Udp {
                send: section.needed_text("send").unwrap_or_default().into_bytes(),
                expect: pattern(section, "expect"),
            },
            Word::Command => Kind::Command(command(section, "command")),
        })
    }
}

impl Http {
    fn read(section: &mut Section<'_>, tls: bool) -> Self {
        let path = section.text("path").unwrap_or_else(|| "/".to_owned());
        if !path.starts_with('/') || path.contains(|c: char| c.is_ascii_control() || c == ' ') {
            section.wrong(
                "path",
                "is not a path of HTTP: it begins with / and has no space",
            );
        }
        let host = section.text("host");
        if host
            .iter()
            .any(|host| host.contains(|c: char| c.is_ascii_control() || c == ' '))
        {
            section.wrong("host", "is not a host");
        }
        let statuses = section.text("status").and_then(|text| {
            let statuses = Statuses::of(&text);
            if statuses.is_none() {
                section.wrong(
                    "status",
                    "is not a status such as \"200\", or two such as \"200-399\"",
                );
            }
            statuses
        });
        let verify = tls && section.flag("verify").unwrap_or(true);
        Self {
            tls,
            verify,
            ca: if tls { absolute(section, "ca") } else { None },
            path,
            host,
            statuses: statuses.unwrap_or(Statuses {
                first: 200,
                last: 399,
            }),
            body: pattern(section, "body"),
        }
    }
}

impl Statuses {
    fn of(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let [first, last] = [first, last].map(|text| text.trim().parse::<u16>().ok());
        let (first, last) = (first?, last?);
        ((100..=599).contains(&first) && (first..=599).contains(&last))
            .then_some(Self { first, last })
    }

    /// Whether a status is good.
    pub fn contains(&self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }
}

fn pattern(section: &mut Section<'_>, key: &'static str) -> Option<Pattern> {
    let text = section.text(key)?;
    match Regex::new(&text) {
        Ok(regex) => Some(Pattern(regex)),
        Err(error) => {
            // The last line says what is wrong, those before show where.
            let said = error.to_string();
            let last = said.lines().last().unwrap_or_default();
            section.wrong(key, format_args!("is not a regular expression: {last}"));
            None
        }
    }
}

/// A program by its whole path, and its arguments.
pub(crate) fn command(section: &mut Section<'_>, key: &'static str) -> Vec<String> {
    if !section.has(key) {
        section.wrong(key, "is missing");
    }
    let words: Vec<String> = section
        .texts(key)
        .into_iter()
        .map(|(_, text)| text)
        .collect();
    if section.has(key)
        && !words
            .first()
            .is_some_and(|program| program.starts_with('/'))
    {
        section.wrong(
            key,
            "does not begin with a program by its path from the root",
        );
    }
    words
}
