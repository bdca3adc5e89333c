// SPDX-License-Identifier: GPL-2.0

//! Tables of a file, read key by key; every mistake is kept, and reading goes on.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::str::FromStr;
use std::time::Duration;

use toml::de::{DeTable, DeValue};
use toml::Spanned;

use crate::{daemon, node, service, Config, Problem};

/// Reads a whole file.
pub(crate) fn read(text: &str) -> Result<Config, Vec<Problem>> {
    let log = Log::new(text);
    let table = match DeTable::parse(text) {
        Ok(table) => table,
        Err(error) => {
            let start = error.span().map_or(0, |span| span.start);
            log.add(start, "", error.message());
            return Err(log.into_problems());
        }
    };
    let mut top = Section::top(&log, table.get_ref());
    let daemon = daemon::Daemon::read(&mut top);
    let devices = top
        .has("devices")
        .then(|| top.parsed_list("devices", "a device is listed twice"));
    let limit = top.integer("limit", 1..=fep_uapi::ROUTES_LIMIT_MAX);
    let agents = top
        .section("agents")
        .map(|mut section| daemon::Agents::read(&mut section));
    let nodes = node::read_nodes(&mut top);
    let groups = node::read_groups(&mut top, &nodes);
    let load = service::load_rules(&mut top);
    let services = service::read_all(&mut top, &nodes, &groups, agents.is_some());
    top.finish();
    let config = Config {
        daemon,
        devices,
        limit,
        agents,
        nodes,
        groups,
        load,
        services,
    };
    match log.into_problems() {
        problems if problems.is_empty() => Ok(config),
        problems => Err(problems),
    }
}

/// Where mistakes are kept.
#[derive(Clone)]
pub(crate) struct Log(Rc<Inner>);

struct Inner {
    text: String,
    found: RefCell<Vec<(usize, Problem)>>,
}

impl Log {
    fn new(text: &str) -> Self {
        Self(Rc::new(Inner {
            text: text.to_owned(),
            found: RefCell::new(Vec::new()),
        }))
    }

    /// Keeps a mistake at an offset into the text.
    pub(crate) fn add(&self, start: usize, key: impl Into<String>, rule: impl Display) {
        let before = self.0.text.get(..start).unwrap_or(&self.0.text);
        let line = before.rsplit('\n').next().unwrap_or_default();
        self.0.found.borrow_mut().push((
            start,
            Problem {
                line: before.matches('\n').count() + 1,
                column: line.chars().count() + 1,
                key: key.into(),
                rule: rule.to_string(),
            },
        ));
    }

    fn into_problems(self) -> Vec<Problem> {
        let mut found = self.0.found.take();
        found.sort_by_key(|(start, _)| *start);
        found.into_iter().map(|(_, problem)| problem).collect()
    }
}

/// A table of the file.
pub(crate) struct Section<'a> {
    log: Log,
    table: &'a DeTable<'a>,
    /// The keys that lead to it, with a dot behind; empty for the file.
    path: String,
    /// Where it begins.
    start: usize,
    /// The keys that were asked for.
    known: BTreeSet<&'static str>,
}

impl<'a> Section<'a> {
    fn top(log: &Log, table: &'a DeTable<'a>) -> Self {
        Self {
            log: log.clone(),
            table,
            path: String::new(),
            start: 0,
            known: BTreeSet::new(),
        }
    }

    fn value(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.known.insert(key);
        self.table.get(key)
    }

    /// Whether the file has the key.
    pub(crate) fn has(&mut self, key: &'static str) -> bool {
        self.value(key).is_some()
    }

    /// Where a key's value begins, or the table where there is none.
    pub(crate) fn place(&self, key: &str) -> usize {
        self.table
            .get(key)
            .map_or(self.start, |value| value.span().start)
    }

    /// Keeps a mistake in the value of a key; of the table where it has no such key.
    pub(crate) fn wrong(&self, key: &str, rule: impl Display) {
        self.log
            .add(self.place(key), format!("{}{key}", self.path), rule);
    }

    /// A text.
    pub(crate) fn text(&mut self, key: &'static str) -> Option<String> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::String(text) if !text.is_empty() => return Some(text.clone().into_owned()),
            DeValue::String(_) => self.wrong(key, "is empty"),
            other => self.wrong(key, format_args!("is {}, not a text", kind(other))),
        }
        None
    }

    /// A text that has to be there.
    pub(crate) fn needed_text(&mut self, key: &'static str) -> Option<String> {
        if !self.has(key) {
            self.wrong(key, "is missing");
        }
        self.text(key)
    }

    /// A text that stands for something.
    pub(crate) fn parsed<T: FromStr<Err: Display>>(&mut self, key: &'static str) -> Option<T> {
        let text = self.text(key)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.wrong(key, error);
                None
            }
        }
    }

    /// The same, of a text that has to be there.
    pub(crate) fn needed<T: FromStr<Err: Display>>(&mut self, key: &'static str) -> Option<T> {
        if !self.has(key) {
            self.wrong(key, "is missing");
        }
        self.parsed(key)
    }

    /// An integer in a range.
    pub(crate) fn integer(&mut self, key: &'static str, range: RangeInclusive<u32>) -> Option<u32> {
        let value = self.value(key)?;
        let rule = format!(
            "is not an integer from {} to {}",
            range.start(),
            range.end()
        );
        if let DeValue::Integer(integer) = value.get_ref() {
            let number = i128::from_str_radix(integer.as_str(), integer.radix());
            let number = number.ok().and_then(|number| u32::try_from(number).ok());
            if let Some(number) = number.filter(|number| range.contains(number)) {
                return Some(number);
            }
        }
        self.wrong(key, rule);
        None
    }

    /// A duration in a range.
    pub(crate) fn duration(
        &mut self,
        key: &'static str,
        range: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let text = self.text(key)?;
        let (from, to) = (crate::shown(*range.start()), crate::shown(*range.end()));
        match humantime::parse_duration(&text) {
            Ok(duration) if range.contains(&duration) => return Some(duration),
            Ok(_) => self.wrong(key, format_args!("is not between {from} and {to}")),
            Err(error) => self.wrong(
                key,
                format_args!("\"{text}\" is not a duration such as \"800ms\" or \"5s\": {error}"),
            ),
        }
        None
    }

    /// Yes or no.
    pub(crate) fn flag(&mut self, key: &'static str) -> Option<bool> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::Boolean(value) => return Some(*value),
            other => self.wrong(key, format_args!("is {}, not true or false", kind(other))),
        }
        None
    }

    /// One of a few words.
    pub(crate) fn choice<T: Copy>(&mut self, key: &'static str, all: &[(&str, T)]) -> Option<T> {
        let text = self.text(key)?;
        let found = all.iter().find(|(name, _)| *name == text);
        if found.is_none() {
            let names: Vec<String> = all.iter().map(|(name, _)| format!("\"{name}\"")).collect();
            self.wrong(key, format_args!("is not one of {}", names.join(", ")));
        }
        found.map(|(_, value)| *value)
    }

    /// Texts, with the place of each.
    pub(crate) fn texts(&mut self, key: &'static str) -> Vec<(usize, String)> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let DeValue::Array(values) = value.get_ref() else {
            let found = kind(value.get_ref());
            self.wrong(key, format_args!("is {found}, not an array of texts"));
            return Vec::new();
        };
        let mut texts = Vec::new();
        for (at, value) in values.iter().enumerate() {
            let start = value.span().start;
            match value.get_ref() {
                DeValue::String(text) => texts.push((start, text.clone().into_owned())),
                other => self.log.add(
                    start,
                    format!("{}{key}[{at}]", self.path),
                    format_args!("is {}, not a text", kind(other)),
                ),
            }
        }
        texts
    }

    /// Texts that stand for something, each once.
    pub(crate) fn parsed_list<T: FromStr<Err: Display> + PartialEq>(
        &mut self,
        key: &'static str,
        twice: &str,
    ) -> Vec<T> {
        let mut values = Vec::new();
        for (start, text) in self.texts(key) {
            match text.parse() {
                Ok(value) if values.contains(&value) => self.wrong_at(start, key, twice),
                Ok(value) => values.push(value),
                Err(error) => self.wrong_at(start, key, error),
            }
        }
        values
    }

    /// Keeps a mistake at a place of a key's value.
    pub(crate) fn wrong_at(&self, start: usize, key: &str, rule: impl Display) {
        self.log.add(start, format!("{}{key}", self.path), rule);
    }

    /// A table in it.
    pub(crate) fn section(&mut self, key: &'static str) -> Option<Section<'a>> {
        let value = self.value(key)?;
        let path = format!("{}{key}", self.path);
        self.table_of(value, path)
    }

    /// An array of tables in it.
    pub(crate) fn sections(&mut self, key: &'static str) -> Vec<Section<'a>> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let DeValue::Array(values) = value.get_ref() else {
            let found = kind(value.get_ref());
            self.wrong(key, format_args!("is {found}, not an array of tables"));
            return Vec::new();
        };
        let number = |(at, value)| self.table_of(value, format!("{}{key}[{at}]", self.path));
        values.iter().enumerate().filter_map(number).collect()
    }

    fn table_of(&self, value: &'a Spanned<DeValue<'a>>, path: String) -> Option<Section<'a>> {
        let start = value.span().start;
        match value.get_ref() {
            DeValue::Table(table) => Some(Section {
                log: self.log.clone(),
                table,
                path: format!("{path}."),
                start,
                known: BTreeSet::new(),
            }),
            other => {
                let found = kind(other);
                self.log
                    .add(start, path, format_args!("is {found}, not a table"));
                None
            }
        }
    }

    /// Everything that may be in it was asked for: what is left is a mistake.
    pub(crate) fn finish(self) {
        for (key, _) in self.table.iter() {
            let name: &str = key.get_ref();
            if !self.known.contains(name) {
                let known: Vec<&str> = self.known.iter().copied().collect();
                self.log.add(
                    key.span().start,
                    format!("{}{name}", self.path),
                    format_args!("is not known here; known are {}", known.join(", ")),
                );
            }
        }
    }
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
